"""A study's file as a table, text here: every cell as it was written, or a complaint that names the line."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from implstats import _check
from implstats._check import Faults, nearest, show
from implstats.errors import DataError
from implstats.reading.labelled import PROGRAMS, Labels, not_text, read_labelled, refuse_others
from implstats.reading.values import Codes, Ranges, read_rules

__all__ = ["read_data"]


def read_data(
    path: str | os.PathLike[str],
    *,
    separator: str = ",",
    decimal: str = ".",
    missing_codes: Codes | None = None,
    ranges: Ranges | None = None,
    labels: Labels = "values",
) -> pd.DataFrame:
    r"""Tell what a file holds, read without guessing.

    Parameters
    ----------
    path : str or path
        A text file in UTF-8 whose first line names the columns; or, with the extra ``spss``, a file of SPSS (``.sav``,
        ``.zsav``) or Stata (``.dta``).
    separator : str
        Of a text file, one character between the cells: ``","``, ``";"`` or ``"\t"``.
    decimal : {".", ","}
        Of a text file, the decimal sign of numbers.
    missing_codes : sequence, or mapping of column to sequence, optional
        Values that stand for "missing", for example ``[999]``. A list holds for every column, the patients' ids among
        them: where a code may be a value, name the columns, ``{"bsi": [999]}``. Those that a file of SPSS or Stata
        declares are missing without being named.
    ranges : mapping of column to (low, high), optional
        The values that can be, both ends included, for example ``{"bsi": (0, 4)}``. They also settle what a model would
        take for a code: it refuses 99 days among stays of 1 to 30 days, unless ``{"days": (0, 365)}`` says what can be.
    labels : {"values", "codes"} or list of columns
        Of a file of SPSS or Stata. "values": where every value of a column has a label, labels stand in place of codes;
        a scale of which only the ends have one stays numbers. A list does so in these columns only: a rating or a time
        that is labelled throughout would become text. "codes": nowhere.

    Returns
    -------
    pandas.DataFrame
        One row a line; lines without a filled cell, and unnamed columns without one, are what spreadsheets leave at the
        ends of a table, and are no part of it. A column is numeric if every cell is a number; else it is text. An empty
        cell is missing, and so is NA or NaN in a column of numbers. A column in which a number starts with 0, such as
        007, stays text.
        ``frame.attrs["implstats"]["missing_codes"]`` counts the codes that were replaced, per column, declared ones
        among them, and ``["ranges"]`` holds the ranges; for a table that was not read from a file write
        ``frame.attrs["implstats"] = {"ranges": {"days": (0, 365)}}``. Of a file of SPSS or Stata, ``["labels"]`` has
        the label of each column and ``["values"]`` those of its codes; text is without padding, and dates are dates.

    Raises
    ------
    DataError
        If the file is missing, empty or not UTF-8, has the wrong separator or decimal sign, lines of unequal length, or
        a value outside its range (the message names the line, or the row counted from 1); if it is not whole, or of
        another program than its name says, or the extra is not installed; if two codes have the same label.

    Notes
    -----
    Files of SPSS and Stata are read by pyreadstat in a process of its own, which takes half a second: its C library can
    be brought down by damaged bytes, and that is a DataError. Damaged bytes can be wrong numbers, too: name `ranges`.

    Examples
    --------
    >>> from implstats import read_data
    >>> from implstats.examples import example_files
    >>> visits = read_data(example_files("reorganisation")[0], ranges={"bsi": (0, 4), "sipp": (1, 4)})
    >>> visits.shape
    (388, 11)
    """
    faults = Faults()
    if not isinstance(separator, str) or len(separator) != 1 or separator in '"\r\n':
        faults.add("separator", separator, "not one character", "give ',', ';' or '\\t'")
    if decimal not in (".", ","):
        faults.add("decimal", decimal, "not a decimal sign", "give '.' or ','")
    if separator == decimal:
        faults.add("decimal", decimal, "the same as separator=", "one of the two must differ")
    faults.settle()
    file = _file(path)
    if file.suffix.lower() in PROGRAMS:
        return read_labelled(file, _shown(path), labels, missing_codes, ranges)
    header, rows, lines = _cells(file, _shown(path), separator)
    rules = read_rules(missing_codes, ranges, header, faults)
    columns: dict[str, pd.Series[Any]] = {}
    counts: dict[str, int] = {}
    for name, cells in zip(header, zip(*rows, strict=True), strict=True):
        text = pd.Series([cell.strip() for cell in cells], index=lines, dtype="str")
        coded = text.isin(rules.words(name))
        values = _typed(name, text.mask(coded | (text == "")), decimal, faults)
        columns[name], replaced = rules.apply(name, values, faults, _lines, decimal)
        if replaced + coded.sum():
            counts[name] = int(replaced + coded.sum())
    faults.settle()
    frame = pd.DataFrame(columns).reset_index(drop=True)
    frame.attrs["implstats"] = {"missing_codes": counts, "ranges": dict(rules.ranges)}
    return frame


def _shown(path: str | os.PathLike[str]) -> str:
    return f"path={str(path)!r}"


def _file(path: str | os.PathLike[str]) -> Path:
    """Return the path of a file that is there and may be read."""
    if not isinstance(path, str | os.PathLike):
        raise DataError(f"path={show(path)}: not the path of a file")
    file, here = Path(path), _shown(path)
    if file.is_dir():
        raise DataError(f"{here}: a folder, not a file")
    if not file.is_file():
        there = sorted(f.name for f in file.parent.glob(f"*{file.suffix}"))
        raise DataError(f"{here}: no such file{nearest(file.name, there)}")
    refuse_others(file, here)
    return file


def _text(file: Path, here: str) -> str:
    """Return what the file holds, or say why it cannot be read."""
    raw = file.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if said := not_text(raw):
            raise DataError(f"{here}: {said}") from None
        line = raw.count(b"\n", 0, error.start) + 1
        fault = f"not UTF-8: byte 0x{raw[error.start]:02x} at position {error.start} (line {line})"
        raise DataError(f"{here}: {fault}; save the table as CSV in UTF-8") from None


def _cells(file: Path, here: str, separator: str) -> tuple[list[str], list[list[str]], list[int]]:
    """Return the header, the rows, and the line on which each row ends."""
    text = _text(file, here)
    if not text.strip():
        raise DataError(f"{here}: the file is empty")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        found = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise DataError(f"{here}: line {reader.line_num} cannot be read, {error}; look for a stray quote") from None
    if not found:
        raise DataError(f"{here}: the file is empty")
    width = max(k + 1 for _, row in found for k, cell in enumerate(row) if cell.strip())
    lines, (first, *rows) = [line for line, _ in found[1:]], [row[:width] for _, row in found]
    header = [name.strip() for name in first]
    _check_header(header, here, separator)
    if not rows:
        raise DataError(f"{here}: a first line with names and no rows")
    uneven = [line for line, row in zip(lines, rows, strict=True) if len(row) != len(header)]
    if uneven:
        remedy = "quote cells that hold the separator"
        raise DataError(f"{here}: not {len(header)} cells, as in the first line, in {_lines(uneven)}; {remedy}")
    return header, rows, lines


def _check_header(header: list[str], here: str, separator: str) -> None:
    for other in (",", ";", "\t", "|"):
        if len(header) == 1 and other != separator and other in header[0]:
            fault = f"the file has one column, {header[0]!r}, which holds {other!r}"
            raise DataError(f"separator={show(separator)}: {fault}; give separator={other!r}")
    faults = Faults()
    if "" in header:
        faults.say(f"{here}: column {header.index('') + 1} has no name in the first line; name it")
    for name in dict.fromkeys(n for n in header if n and header.count(n) > 1):
        faults.say(f"{here}: the column {name!r} occurs twice; rename or drop one")
    faults.settle()


def _lines(lines: Iterable[Hashable]) -> str:
    return _check.rows(lines).replace("row", "line", 1)


def _typed(name: str, text: pd.Series[Any], decimal: str, faults: Faults) -> pd.Series[Any]:
    """Return the column as numbers if every cell is one, else as text."""
    cells = text.dropna()
    if _all_numbers(cells, decimal):
        points = text if decimal == "." else text.str.replace(decimal, ".", regex=False)
        return pd.to_numeric(points, errors="coerce")
    other = "," if decimal == "." else "."
    if _all_numbers(cells, other):
        first = cells[cells.str.contains(other, regex=False)]
        kind = "comma" if other == "," else "point"
        fault = f"{name!r} holds numbers with a decimal {kind}, such as {first.iloc[0]!r} ({_lines(first.index[:1])})"
        faults.add("decimal", decimal, fault, f"give decimal={other!r}")
    return text


def _all_numbers(cells: pd.Series[Any], decimal: str) -> bool:
    """Return whether every cell is a number, or a word for a missing one; 007, or an id of 20 digits, is a code."""
    sign = re.escape(decimal)
    number = rf"NA|NaN|nan|[+-]?(?!0[0-9])([0-9]{{1,18}}({sign}[0-9]*)?|{sign}[0-9]+)([eE][+-]?[0-9]{{1,2}})?"
    return all(map(re.compile(number).fullmatch, cells))
