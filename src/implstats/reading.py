"""From a study's files to one row per patient and visit: nothing is guessed, and nothing is dropped without a count."""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats.errors import DataError

__all__ = ["read_data", "visits_from_dates", "visits_from_wide"]

DAYS = {"months": 30.4375, "weeks": 7.0, "days": 1.0, "years": 365.25}
SEPARATORS = {",": ",", ";": ";", "\t": "\\t", "|": "|"}
ISO = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?)?")
DAY_OR_MONTH = re.compile(r"(\d{1,2})[/.\-](\d{1,2})[/.\-](\d{2}|\d{4})")

Codes = Sequence[object] | Mapping[str, Sequence[object]]
Place = Callable[[Sequence[int]], str]
Ranges = Mapping[str, tuple[float, float]]


def read_data(
    path: str | os.PathLike[str],
    *,
    separator: str = ",",
    decimal: str = ".",
    missing_codes: Codes | None = None,
    ranges: Ranges | None = None,
) -> pd.DataFrame:
    r"""Tell what a file holds, read without guessing.

    Parameters
    ----------
    path : str or path
        A text file, .csv, .tsv or .txt, in UTF-8, whose first line names the columns.
    separator : str
        One character between the cells: ``","``, ``";"`` or ``"\t"``.
    decimal : {".", ","}
        The decimal sign of numbers.
    missing_codes : sequence, or mapping of column to sequence, optional
        Values that stand for "missing", for example ``[999]``. A list holds for every column of numbers, and a code in
        it that is text (``["unknown"]``) for every column; a mapping names the columns.
    ranges : mapping of column to (low, high), optional
        The values that can be, both ends included, for example ``{"bsi": (0, 4)}``.

    Returns
    -------
    pandas.DataFrame
        One row a line. A column is numeric if every cell is a number; else it is text. An empty cell is missing, and so
        is NA or NaN in a column of numbers. A column in which a number starts with 0, such as 007, stays text.
        ``frame.attrs["implstats"]["missing_codes"]`` counts the codes that were replaced, per column.

    Raises
    ------
    DataError
        If the file is missing, empty or not UTF-8, has the wrong separator or decimal sign, lines of unequal length, or
        a value outside its range; the message names the line.

    Examples
    --------
    >>> from implstats import read_data
    >>> from implstats.examples import example_files
    >>> visits = read_data(example_files("reorganisation")[0], ranges={"bsi": (0, 4), "sipp": (1, 4)})
    >>> visits.shape
    (388, 11)
    """
    faults = _check.Faults()
    if not isinstance(separator, str) or len(separator) != 1 or separator in '"\r\n':
        faults.add("separator", separator, "not one character", "give ',', ';' or '\\t'")
    _try(faults, _check.one_of, "decimal", decimal, [".", ","])
    if separator == decimal:
        faults.add("decimal", decimal, "the same as separator=", "one of the two must differ")
    text = _try(faults, _text, path)
    faults.settle()
    header, cells, lines = _cells(text, path, separator)
    place = _place(lines, "line")
    bounds = _bounds(ranges, header, faults)
    codes = _Codes.of(missing_codes, header, faults)
    frame = pd.DataFrame(
        {name: _column(name, cells[i], decimal, codes.words(name), faults, place) for i, name in enumerate(header)}
    )
    counts = codes.clear(frame, bounds, faults)
    _check_ranges(frame, bounds, faults, place)
    faults.settle()
    frame.attrs["implstats"] = {"missing_codes": counts}
    return frame


def visits_from_wide(
    frame: pd.DataFrame,
    *,
    patient: str,
    outcomes: Mapping[str, Mapping[float, str]],
    time: str = "month",
    keep: Sequence[str] | None = None,
    missing_codes: Codes | None = None,
    ranges: Ranges | None = None,
) -> pd.DataFrame:
    """Turn a table with one row per patient into one row per patient and visit.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per patient.
    patient : str
        The column that names the patient; every one occurs once.
    outcomes : mapping of str to mapping of time to column
        For each outcome, which column holds it at which time, for example
        ``{"bsi": {0: "bsi_t0", 18: "bsi_t18", 36: "bsi_t36"}}``.
    time : str
        Name of the new column of times.
    keep : sequence of str, optional
        Columns to repeat on every row of the patient, such as the cohort; None: all that hold no outcome.
    missing_codes : sequence, or mapping of outcome to sequence, optional
        Values of the outcomes that stand for "missing", for example ``[999]``.
    ranges : mapping of outcome to (low, high), optional
        The values that can be, both ends included.

    Returns
    -------
    pandas.DataFrame
        Columns patient, the kept ones, time, one per outcome; patients in the order of the frame, times increasing. A
        visit at which nothing was recorded has a row with missing outcomes: the fit counts it.
        ``attrs["implstats"]["missing_codes"]`` counts the codes that were replaced, per outcome.

    Raises
    ------
    DataError
        If a column is missing or holds text, a patient is missing or occurs twice, names clash, or a value lies outside
        its range; all faults together.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats import visits_from_wide
    >>> wide = pd.DataFrame({"id": [1, 2], "arm": ["a", "b"], "pre": [2.1, 1.8], "post": [1.2, 999]})
    >>> visits_from_wide(wide, patient="id", outcomes={"bsi": {0: "pre", 18: "post"}}, missing_codes=[999])
       id arm  month  bsi
    0   1   a      0  2.1
    1   1   a     18  1.2
    2   2   b      0  1.8
    3   2   b     18  NaN
    """
    frame = _check.frame(frame)
    faults = _check.Faults()
    _check.columns(frame, faults, patient=patient)
    sources = _sources(frame, outcomes, faults)
    used = [column for at in sources.values() for column in at.values()]
    if keep is None:
        kept = [c for c in frame.columns if c not in used and c != patient]
    else:
        kept = [keep] if isinstance(keep, str) else [c for c in keep if c != patient]
        for column in kept:
            _check.columns(frame, faults, keep=column)
    _check_names(faults, time, sources, [patient, *kept])
    if patient in frame.columns:
        _check_ids(frame, patient, faults, once=True)
    bounds = _bounds(ranges, list(sources), faults)
    codes = _Codes.of(missing_codes, list(sources), faults)
    times = sorted({t for at in sources.values() for t in at})
    values = pd.DataFrame(index=range(len(frame) * len(times)))
    for name, at in sources.items():
        table = np.full((len(frame), len(times)), np.nan)
        for t, column in at.items():
            table[:, times.index(t)] = _cells_as_numbers(frame[column], name, codes.words(name), faults)
        values[name] = table.ravel()
    counts = codes.clear(values, bounds, faults)
    for name, at in sources.items():
        within: dict[Hashable, tuple[float, float]] = {name: bounds[name]} if name in bounds else {}
        _check_ranges(values, within, faults, _place_wide(frame.index, [at.get(t) for t in times]))
    faults.settle()

    row = np.repeat(np.arange(len(frame)), len(times))
    visits = frame[[patient, *kept]].iloc[row].reset_index(drop=True)
    visits[time] = np.tile(_whole(times), len(frame))
    visits = pd.concat([visits, values], axis=1)
    visits.attrs["implstats"] = {"missing_codes": counts}
    return visits


def visits_from_dates(
    frame: pd.DataFrame,
    *,
    patient: str,
    date: str,
    origin: Any,
    unit: str = "months",
    windows: Mapping[float, tuple[float, float]] | None = None,
    time: str = "month",
    missing_codes: Codes | None = None,
    ranges: Ranges | None = None,
) -> pd.DataFrame:
    """Tell when each visit was, counted from the patient's own origin, and which planned visit it is.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per visit.
    patient : str
        The column that names the patient.
    date : str
        The column with the day of the visit: datetimes, dates, or text as YYYY-MM-DD. Other text is refused, since
        03/04/2020 has two readings.
    origin : str or date
        The column with the day from which the patient's time runs, such as the admission, the same on every row of a
        patient; or one date for all.
    unit : {"months", "weeks", "days", "years"}
        Unit of the new times: months of 30.4375 days, years of 365.25. Times of day are ignored.
    windows : mapping of time to (low, high), optional
        Planned visits, in `unit`: ``{18: (15, 24)}`` puts a visit from 15 to 24, both ends included, at 18; an end that
        two windows share belongs to the later one. None: every visit keeps its own time.
    time : str
        Name of the new column.
    missing_codes : sequence, or mapping of column to sequence, optional
        Values that stand for "missing" in columns of numbers, `patient` excepted.
    ranges : mapping of column to (low, high), optional
        The values that can be, both ends included.

    Returns
    -------
    pandas.DataFrame
        The frame with the new column, in its own order and index. With `windows`, a visit on the day of the origin is
        at 0 if no window says otherwise; a visit in no window is left out; of several visits of a patient in one window
        the nearest to the planned time stays, of two equally near the earlier. ``attrs["implstats"]["visits"]`` counts
        them all: given, kept, outside every window, not the nearest in their window.

    Raises
    ------
    DataError
        If a date cannot be read or is missing, a visit lies before the origin and in no window, a patient has two rows
        on one day or two origins, windows overlap, or a value lies outside its range; all faults together, with rows.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats import visits_from_dates
    >>> seen = pd.DataFrame(
    ...     {
    ...         "id": [1, 1, 1],
    ...         "admitted": "2020-01-06",
    ...         "seen": ["2020-01-06", "2021-06-14", "2021-08-30"],
    ...         "bsi": [2.1, 1.6, 1.4],
    ...     }
    ... )
    >>> visits = visits_from_dates(seen, patient="id", date="seen", origin="admitted", windows={18: (15, 24)})
    >>> visits[["id", "month", "bsi"]]
       id  month  bsi
    0   1      0  2.1
    1   1     18  1.6
    >>> visits.attrs["implstats"]["visits"]
    {'given': 3, 'kept': 2, 'outside every window': 0, 'not the nearest in their window': 1}
    """
    frame = _check.frame(frame)
    faults = _check.Faults()
    _check.columns(frame, faults, patient=patient, date=date)
    _try(faults, _check.one_of, "unit", unit, list(DAYS))
    plan = _windows(windows, faults)
    if time in frame.columns:
        faults.add("time", time, "already a column", "choose another name")
    if patient in frame.columns:
        _check_ids(frame, patient, faults)
    days = _dates(frame[date], "date", date, faults) if date in frame.columns else None
    start = _origin(frame, patient, origin, faults)
    others = [c for c in frame.columns if c not in (patient, date, origin)]
    bounds = _bounds(ranges, others, faults)
    codes = _Codes.of(missing_codes, others, faults)
    visits = frame.copy()
    counts = codes.clear(visits, bounds, faults)
    _check_ranges(visits, bounds, faults, _place(list(frame.index), "row"))
    faults.settle()
    assert days is not None
    assert start is not None

    twice = pd.DataFrame({"patient": frame[patient], "day": days}).duplicated(keep=False).to_numpy()
    if twice.any():
        faults.add("date", date, f"two rows of one patient on one day in {_check.rows(frame.index[twice])}", "keep one")
    elapsed = (days - start).dt.days.to_numpy(dtype=float) / DAYS[unit]
    at, put = elapsed.copy(), np.ones(len(frame), dtype=bool)
    if plan:
        lows = np.array([low for _, low, _ in plan])
        which = np.searchsorted(lows, elapsed, side="right") - 1
        highs = np.array([high for _, _, high in plan])
        put = (which >= 0) & (elapsed <= highs[np.maximum(which, 0)])
        at = np.where(put, np.array([t for t, _, _ in plan])[np.maximum(which, 0)], np.nan)
        at = np.where(~put & (elapsed == 0), 0.0, at)
        put |= elapsed == 0
    early = (elapsed < 0) & ~(put & bool(plan))
    if early.any():
        remedy = "correct the date or the origin, or give a window that reaches below 0"
        faults.add("date", date, f"before the origin in {_check.rows(frame.index[early])}", remedy)
    faults.settle()

    stays = put.copy()
    if plan:
        order = pd.DataFrame(
            {"patient": frame[patient].to_numpy(), "at": at, "away": np.abs(elapsed - at), "t": elapsed}
        )
        nearest = order[put].sort_values(["away", "t"], kind="stable").duplicated(["patient", "at"])
        stays[nearest.index[nearest.to_numpy()]] = False
    visits[time] = at
    visits = visits.loc[stays].copy()
    kept = visits[time].to_numpy(dtype=float)
    if plan or unit == "days":
        visits[time] = _whole(kept)
    visits.attrs["implstats"] = {
        "missing_codes": counts,
        "visits": {
            "given": len(frame),
            "kept": int(stays.sum()),
            "outside every window": int((~put).sum()),
            "not the nearest in their window": int((put & ~stays).sum()),
        },
    }
    return visits


def _text(path: object) -> str:
    if not isinstance(path, str | os.PathLike):
        raise DataError(f"path={_check.show(path)}: not the path of a file")
    file = Path(path)
    shown = f"path={str(file)!r}"
    if file.suffix.lower() not in (".csv", ".tsv", ".txt"):
        raise DataError(f"{shown}: not a .csv, .tsv or .txt file; save the table as CSV in UTF-8")
    if file.is_dir():
        raise DataError(f"{shown}: a folder, not a file")
    if not file.is_file():
        there = sorted(f.name for f in file.parent.glob(f"*{file.suffix}")) if file.parent.is_dir() else []
        raise DataError(f"{shown}: no such file{_check.nearest(file.name, there)}")
    raw = file.read_bytes()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        fault = f"not UTF-8: byte 0x{raw[error.start]:02x} at position {error.start} (line {line})"
        raise DataError(f"{shown}: {fault}; save the table as CSV in UTF-8") from None
    if "\0" in text:
        at = raw.index(b"\0")
        raise DataError(f"{shown}: not text: byte 0x00 at position {at}; save the table as CSV in UTF-8")
    if not text.strip("\ufeff \t\r\n"):
        raise DataError(f"{shown}: the file is empty")
    return text.removeprefix("\ufeff")


def _cells(text: str, path: object, separator: str) -> tuple[list[str], list[NDArray[Any]], list[int]]:
    """Return the header, the cells by column, and the line on which each row ends."""
    shown = f"path={str(path)!r}"
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    found: list[list[str]] = []
    lines: list[int] = []
    try:
        for row in reader:
            if row:
                found.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{shown}: line {reader.line_num} cannot be read, {error}; look for a stray quote") from None
    header = [name.strip() for name in found[0]]
    if len(header) == 1:
        for other, written in SEPARATORS.items():
            if other != separator and other in header[0]:
                fault = f"the file has one column, {header[0]!r}, which holds {written!r}".replace("\\\\", "\\")
                raise DataError(f"separator={_check.show(separator)}: {fault}; give separator='{written}'")
    faults = _check.Faults()
    blank = [i + 1 for i, name in enumerate(header) if not name]
    if blank:
        faults.say(f"{shown}: column {blank[0]} has no name in the first line; name it")
    for name in dict.fromkeys(n for n in header if n and header.count(n) > 1):
        faults.say(f"{shown}: the column {name!r} occurs twice; rename or drop one")
    body, lines = found[1:], lines[1:]
    if not body:
        faults.say(f"{shown}: a first line with names and no rows")
    uneven = [(line, len(row)) for row, line in zip(body, lines, strict=True) if len(row) != len(header)]
    if uneven:
        more = f" and {len(uneven) - 1} more" if len(uneven) > 1 else ""
        cells = "1 cell" if uneven[0][1] == 1 else f"{uneven[0][1]} cells"
        faults.say(
            f"{shown}: line {uneven[0][0]}{more}: {cells}, where the first line names {len(header)} columns; "
            "quote cells that hold the separator"
        )
    faults.settle()
    return header, list(np.array(body, dtype=object).T), lines


def _column(
    name: str, cells: NDArray[Any], decimal: str, words: list[str], faults: _check.Faults, place: Place
) -> pd.Series[Any]:
    """Return the column as numbers if every cell is one, else as text."""
    text = pd.Series(cells, dtype="str").str.strip()
    missing = (text == "") | text.isin(words)
    filled = text[~missing]
    maybe = filled[~filled.isin(["NA", "NaN", "nan"])]
    out = text.mask(missing)
    if maybe.empty:
        return pd.Series(np.nan, index=text.index)
    if maybe.str.match(r"[+-]?0\d").any():
        return out
    other = "," if decimal == "." else "."
    as_written = _numbers(maybe, decimal)
    if as_written is not None:
        if len(maybe) == len(text):
            return as_written
        return as_written.astype(float).reindex(text.index)
    swapped = _numbers(maybe, other)
    if swapped is not None:
        where = maybe[maybe.str.contains(other, regex=False)]
        if len(where):
            kind = "comma" if other == "," else "point"
            remedy = f"give decimal={other!r}"
            first = f"{where.iloc[0]!r} ({place([where.index[0]])})"
            fault = f"{name!r} holds numbers with a decimal {kind}, such as {first}"
            faults.add("decimal", decimal, fault, remedy)
    return out


def _numbers(text: pd.Series[Any], decimal: str) -> pd.Series[Any] | None:
    good = text.str.fullmatch(
        rf"[+-]?(\d+({re.escape(decimal)}\d*)?|{re.escape(decimal)}\d+)([eE][+-]?\d+)?|[+-]?[Ii]nf"
    )
    if not good.all():
        return None
    return pd.Series(pd.to_numeric(text.str.replace(decimal, ".", regex=False)), index=text.index)


def _place(labels: Sequence[Hashable], word: str) -> Place:
    """Return how the rows at some positions are called: by their label in the frame or their line in the file."""
    return lambda positions: _check.rows([labels[i] for i in positions]).replace("row", word, 1)


def _place_wide(labels: pd.Index[Any], columns: Sequence[str | None]) -> Place:
    """Return how positions of patient x visit are called in the table that has one column a visit."""

    def place(positions: Sequence[int]) -> str:
        row, wave = divmod(int(positions[0]), len(columns))
        more = f" and {len(positions) - 1} more" if len(positions) > 1 else ""
        return f"row {_check.show(labels[row])} of {_check.show(columns[wave])}{more}"

    return place


@dataclass(frozen=True)
class _Codes:
    """The missing codes of a call: for every column of numbers, or by column."""

    by_column: Mapping[str, Sequence[object]]
    named: bool

    @classmethod
    def of(cls, codes: object, columns: Sequence[str], faults: _check.Faults) -> _Codes:
        if codes is None:
            return cls({}, named=False)
        if isinstance(codes, Mapping):
            for column, given in codes.items():
                if column not in columns:
                    faults.say(f"missing_codes: no column {_check.show(column)}{_check.nearest(column, columns)}")
                elif isinstance(given, str) or not isinstance(given, Iterable):
                    faults.add(f"missing_codes[{_check.show(column)}]", given, "not a list", "write [999]")
            lists = {c: list(v) for c, v in codes.items() if isinstance(v, Iterable) and not isinstance(v, str)}
            return cls(lists, named=True)
        if isinstance(codes, str) or not isinstance(codes, Iterable):
            faults.add("missing_codes", codes, "not a list", "write missing_codes=[999]")
            return cls({}, named=False)
        every = list(codes)
        return cls(dict.fromkeys(columns, every), named=False)

    def words(self, column: str) -> list[str]:
        """Return the codes that are text."""
        return [c for c in self.by_column.get(column, ()) if isinstance(c, str)]

    def clear(
        self, frame: pd.DataFrame, bounds: Mapping[Hashable, tuple[float, float]], faults: _check.Faults
    ) -> dict[str, dict[str, int]]:
        """Replace the codes by NaN in place, and return how many there were per column."""
        counts: dict[str, dict[str, int]] = {}
        for column, given in self.by_column.items():
            if column not in frame.columns or not _numeric(frame[column]):
                continue
            values = frame[column]
            argument = f"missing_codes[{_check.show(column)}]" if self.named else "missing_codes"
            for code in given:
                hit = values == code
                if isinstance(code, str) or not hit.any():
                    continue
                low, high = bounds.get(column, (np.inf, -np.inf))
                below, above = float(code) - 1, float(code) + 1  # type: ignore[arg-type]
                if low <= float(code) <= high:  # type: ignore[arg-type]
                    fault = f"inside the range of {_check.show(column)}, {_check.show((low, high))}"
                    faults.add(argument, code, fault, "it may be a value")
                elif not self.named and (values == below).any() and (values == above).any():
                    fault = f"{_check.show(column)} also holds {_check.show(below)} and {_check.show(above)}"
                    remedy = (
                        f"it may be a value there; name the columns, missing_codes={{'bsi': [{_check.show(code)}]}}"
                    )
                    faults.add(argument, code, fault, remedy)
                else:
                    counts.setdefault(column, {})[_check.show(code)] = int(hit.sum())
                    frame[column] = frame[column].mask(hit)
        return counts


def _numeric(values: pd.Series[Any]) -> bool:
    return pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype)


def _is_range(value: Any) -> bool:
    pair = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2
    numbers = pair and all(isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in value)
    return bool(numbers and value[0] <= value[1])


def _bounds(ranges: object, columns: Sequence[Hashable], faults: _check.Faults) -> dict[Hashable, tuple[float, float]]:
    """Return the ranges that can be used, and record what is wrong with the others."""
    if ranges is None:
        return {}
    if not isinstance(ranges, Mapping):
        faults.add("ranges", ranges, "not a range per column", "write ranges={'bsi': (0, 4)}")
        return {}
    out = {}
    for column, bounds in ranges.items():
        if column not in columns:
            faults.say(f"ranges: no column {_check.show(column)}{_check.nearest(column, columns)}")
        elif not _is_range(bounds):
            faults.add(f"ranges[{_check.show(column)}]", bounds, "not a low and a high value", "write (0, 4)")
        else:
            out[column] = (bounds[0], bounds[1])
    return out


def _check_ranges(
    frame: pd.DataFrame, bounds: Mapping[Hashable, tuple[float, float]], faults: _check.Faults, place: Place
) -> None:
    """Record every column with text or with values outside its range."""
    for column, (low, high) in bounds.items():
        values = pd.to_numeric(frame[column], errors="coerce").to_numpy(dtype=float, na_value=np.nan)
        text = np.flatnonzero(frame[column].notna().to_numpy() & np.isnan(values))
        out = np.flatnonzero((values < low) | (values > high))
        for found, fault in ((text, "not a number"), (out, "outside the range")):
            if len(found):
                few = dict.fromkeys(_check.show(frame[column].iloc[i]) for i in found[: _check.SHOWN])
                fault = f"{', '.join(few)} in {place(found.tolist())}, {fault}"
                faults.add(
                    f"ranges[{_check.show(column)}]", (low, high), fault, "correct it, or name it in missing_codes"
                )


def _cells_as_numbers(
    values: pd.Series[Any], name: str, words: list[str], faults: _check.Faults
) -> NDArray[np.float64]:
    """Return the column as numbers, and record cells that are none."""
    values = values.mask(values.isin(words)) if words else values
    dated = pd.api.types.is_datetime64_any_dtype(values.dtype)
    numbers = pd.to_numeric(values.where(~values.isna()), errors="coerce")
    odd = values.notna().to_numpy() & (numbers.isna().to_numpy() | dated)
    if odd.any():
        first, where = _check.show(values[odd].iloc[0]), _check.rows(values.index[odd])
        column = _check.show(values.name)
        remedy = "correct it, or name it in missing_codes"
        faults.say(f"outcomes[{_check.show(name)}]: {first} in {where} of {column} is not a number; {remedy}")
    return np.full(len(values), np.nan) if dated else numbers.to_numpy(dtype=float, na_value=np.nan)


def _check_ids(frame: pd.DataFrame, patient: str, faults: _check.Faults, *, once: bool = False) -> None:
    empty = frame[patient].isna().to_numpy()
    if empty.any():
        remedy = "give each row its patient, or drop the rows yourself"
        faults.add("patient", patient, f"missing in {_check.rows(frame.index[empty])}", remedy)
    twice = frame[patient].duplicated(keep=False).to_numpy() & ~empty
    if once and twice.any():
        first = frame[patient].to_numpy()[twice][0]
        here = frame.index[twice & (frame[patient] == first).to_numpy()]
        faults.add(
            "patient", patient, f"{_check.show(first)} occurs in {_check.rows(here)}", "give one row per patient"
        )


def _check_names(
    faults: _check.Faults, time: str, sources: Mapping[str, Mapping[float, str]], others: Sequence[str]
) -> None:
    for name in sources:
        if name in others or name == time:
            faults.add("outcomes", name, "also the name of another column of the result", "choose another name")
    if time in others:
        faults.add("time", time, "also the name of another column of the result", "choose another name")


def _sources(
    frame: pd.DataFrame, outcomes: object, faults: _check.Faults
) -> dict[str, dict[float, str]]:  # fmt: skip
    """Return the column of every outcome and time, or record what is wrong with `outcomes`."""
    out: dict[str, dict[float, str]] = {}
    if (
        not isinstance(outcomes, Mapping)
        or not outcomes
        or not all(isinstance(v, Mapping) and v for v in outcomes.values())
    ):
        faults.add(
            "outcomes", outcomes, "not a column per outcome and time", "write {'bsi': {0: 'bsi_t0', 18: 'bsi_t18'}}"
        )
        return out
    seen: dict[str, str] = {}
    for name, at in outcomes.items():
        for t, column in at.items():
            where = f"outcomes[{_check.show(name)}][{_check.show(t)}]"
            when = _try(faults, _check.number, f"time of {where}", t)
            if column not in frame.columns:
                faults.say(f"{where}={_check.show(column)}: no such column{_check.nearest(column, frame.columns)}")
            elif column in seen:
                faults.say(
                    f"{where}={_check.show(column)}: already used by {seen[column]}; each column holds one visit"
                )
            seen.setdefault(column, where)
            if when is not None and column in frame.columns:
                out.setdefault(name, {})[when] = column
    return out


def _windows(windows: object, faults: _check.Faults) -> list[tuple[float, float, float]]:
    """Return (planned time, low, high) in order, or record what is wrong."""
    if windows is None:
        return []
    if not isinstance(windows, Mapping) or not windows:
        faults.add("windows", windows, "not a window per planned time", "write windows={18: (15, 24)}")
        return []
    plan = []
    for t, bounds in windows.items():
        if _try(faults, _check.number, "time of windows", t) is None:
            continue
        if not _is_range(bounds) or not bounds[0] <= t <= bounds[1]:
            argument = f"windows[{_check.show(t)}]"
            faults.add(argument, bounds, f"not a low and a high time around {_check.show(t)}", "write (15, 24)")
        else:
            plan.append((float(t), float(bounds[0]), float(bounds[1])))
    plan.sort(key=lambda w: w[1:])
    for (a, _, high), (b, low, _) in itertools.pairwise(plan):
        if low < high:
            faults.say(
                f"windows: those of {_check.show(a)} and {_check.show(b)} overlap from {_check.show(low)} to "
                f"{_check.show(high)}; end one where the other begins"
            )
    return plan


def _origin(frame: pd.DataFrame, patient: str, origin: object, faults: _check.Faults) -> pd.Series[Any] | None:
    """Return the origin of every row, or None after recording what is wrong."""
    if isinstance(origin, Hashable) and origin in frame.columns:
        start = _dates(frame[origin], "origin", origin, faults)
        if start is not None and patient in frame.columns:
            several = start.groupby(frame[patient].to_numpy()).transform("nunique") > 1
            if several.any():
                first = frame[patient].to_numpy()[several.to_numpy()][0]
                here = frame.index[(frame[patient] == first).to_numpy()]
                faults.add(
                    "origin", origin, f"changes within patient {_check.show(first)}, {_check.rows(here)}", "give one"
                )
        return start
    if isinstance(origin, str) and not origin[:1].isdigit():
        faults.say(f"origin={origin!r}: no such column{_check.nearest(origin, frame.columns)}")
        return None
    try:
        one = pd.Series([origin]).repeat(len(frame))
        if isinstance(origin, bool | int | float) or origin is None:
            raise TypeError
    except (TypeError, ValueError):
        faults.add("origin", origin, "neither a column nor a date", "write a column's name or '2020-01-06'")
        return None
    one.index = frame.index
    said = _check.Faults()
    start = _dates(one, "origin", origin, said)
    if said:
        faults.add(
            "origin", origin, "neither a column nor a date as YYYY-MM-DD", "write a column's name or '2020-01-06'"
        )
    return start


def _dates(values: pd.Series[Any], argument: str, name: Any, faults: _check.Faults) -> pd.Series[Any] | None:
    """Return days without time of day, or None after recording what cannot be read."""
    bare = values.dtype.kind
    if bare in "iufcb":
        faults.add(argument, name, "holds numbers, not dates", "write dates as YYYY-MM-DD")
        return None
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        faults.add(argument, name, "has a time zone", "drop it with .dt.tz_localize(None)")
        return None
    empty = values.isna().to_numpy()
    ok = True
    if empty.any():
        ok = False
        remedy = "give the date, or drop the rows yourself"
        faults.add(argument, name, f"missing in {_check.rows(values.index[empty])}", remedy)
    if bare == "M":
        return values.dt.normalize() if ok else None
    text = values[~empty].astype(str)
    iso = text.str.fullmatch(ISO.pattern).to_numpy(dtype=bool)
    days = pd.to_datetime(text.where(iso).str[:10], format="%Y-%m-%d", errors="coerce")
    bad = text[days.isna().to_numpy()]
    if len(bad):
        ok = False
        unclear = bad[[_two_readings(v) for v in bad]]
        if len(unclear):
            fault = f"{unclear.iloc[0]!r} has two readings, day first or month first, in {_check.rows(unclear.index)}"
            faults.add(argument, name, fault, "write dates as YYYY-MM-DD")
        rest = bad.drop(unclear.index) if bad.index.is_unique else bad[[not _two_readings(v) for v in bad]]
        if len(rest):
            fault = f"{rest.iloc[0]!r} is not a date as YYYY-MM-DD, in {_check.rows(rest.index)}"
            faults.add(argument, name, fault, "write dates as YYYY-MM-DD")
    return days if ok else None


def _two_readings(text: str) -> bool:
    found = DAY_OR_MONTH.fullmatch(text.strip())
    return found is not None and int(found[1]) != int(found[2]) and all(1 <= int(found[i]) <= 12 for i in (1, 2))


def _whole(times: Any) -> NDArray[Any]:
    """Return times as whole numbers if all are."""
    array = np.asarray(times, dtype=float)
    return array.astype(np.int64) if (array == np.rint(array)).all() else array


def _try(faults: _check.Faults, check: Callable[..., Any], *values: Any) -> Any:
    """Return what the check returns, or record its fault and return None."""
    try:
        return check(*values)
    except DataError as error:
        faults.take(error)
        return None
