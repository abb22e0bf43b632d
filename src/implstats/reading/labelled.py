"""A study's SPSS or Stata file as a table: labels in place of codes, declared missing values empty, dates as dates."""

from __future__ import annotations

import datetime as dt
from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from implstats import _parallel
from implstats._check import Faults, nearest, one_of, show
from implstats.errors import DataError
from implstats.reading.values import Rules, read_rules

__all__ = ["PROGRAMS", "Labels", "not_text", "read_labelled", "refuse_others"]

Labels: TypeAlias = str | Sequence[str]

PROGRAMS = {".sav": "SPSS", ".zsav": "SPSS", ".dta": "Stata"}
"""Ending of a file's name -> the program that writes such files."""
_WORKBOOK = ("a workbook", "save the sheet as CSV in UTF-8")
_OTHERS = {
    ".xlsx": _WORKBOOK,
    ".xls": _WORKBOOK,
    ".ods": _WORKBOOK,
    ".por": ("a portable file of SPSS", "save it as .sav, which tells what is declared missing"),
    ".sas7bdat": ("a file of SAS", "save the table as CSV in UTF-8"),
}
# How files begin. Of Stata 8 to 12, the version's number and the order of bytes.
_BEGINS = {b"$FL2": "SPSS", b"$FL3": "SPSS", b"<stata_dta>": "Stata", b"PK\x03\x04": "workbook"}
_BEGINS |= {bytes([version, order]): "Stata" for version in range(0x71, 0x74) for order in (1, 2)}
_END = b"</stata_dta>"
_VALUES, _CODES = "values", "codes"


class _Kept(dict[str, Any]):
    """Labels that tables share: pandas copies what a table has beside its columns at every step, and these are many."""

    def __deepcopy__(self, memo: object) -> _Kept:
        return self


def refuse_others(file: Path, here: str) -> None:
    """Refuse what is known by its name and not read."""
    if file.suffix.lower() in _OTHERS:
        what, remedy = _OTHERS[file.suffix.lower()]
        raise DataError(f"{here}: {what}, which is not read; {remedy}")


def not_text(head: bytes) -> str:
    """Return what is to be said of a file that begins so and is no text; nothing if that is not known."""
    found = _what_it_is(head)
    if found in PROGRAMS.values():
        return f"a file of {found}, not text; let its name end with {_ending(found)!r}"
    return f"{_WORKBOOK[0]}, not text; {_WORKBOOK[1]}" if found else ""


def _what_it_is(head: bytes) -> str:
    """Return which program wrote a file that begins so, or "workbook"; nothing if it may be text."""
    return next((program for begin, program in _BEGINS.items() if head.startswith(begin)), "")


def _ending(program: str) -> str:
    return next(ending for ending, other in PROGRAMS.items() if other == program)


def read_labelled(file: Path, here: str, labels: Any, missing_codes: object, ranges: object) -> pd.DataFrame:
    """Return the table of an SPSS or Stata file; `here` is the path as complaints name it."""
    table, declared, about = _read(file, here)
    header = list(table.columns)
    faults = Faults()
    wanted = _wanted(labels, header, faults)
    rules = read_rules(missing_codes, ranges, header, faults)
    columns, counts = {}, {}
    for name in header:
        words = _meanings(about.variable_value_labels.get(name)) if name in wanted else {}
        columns[name], replaced = _column(name, table[name], words, rules, faults)
        if replaced + declared[name]:
            counts[name] = int(replaced + declared[name])
    faults.settle()
    frame = pd.DataFrame(columns).reset_index(drop=True)
    named = {name: " ".join(label.split()) for name, label in about.column_names_to_labels.items() if label}
    frame.attrs["implstats"] = {
        "missing_codes": counts,
        "ranges": dict(rules.ranges),
        "labels": _Kept(named),
        "values": _Kept({name: dict(given) for name, given in about.variable_value_labels.items()}),
    }
    return frame


def _read(file: Path, here: str) -> tuple[pd.DataFrame, dict[str, int], Any]:
    """Return the values, how many of each column the file declares as missing, and what it says of its columns."""
    if find_spec("pyreadstat") is None:
        raise DataError(f"{here}: needs pyreadstat; pip install 'implstats[spss]'")
    import pyreadstat

    program = PROGRAMS[file.suffix.lower()]
    _refuse_ends(file, program, here)
    read = partial(pyreadstat.read_sav if program == "SPSS" else pyreadstat.read_dta, file)
    # Read again as written: what is there now and was not before is declared as missing.
    as_written = partial(read, user_missing=True, disable_datetime_conversion=True)
    try:
        (table, about), (raw, _) = _parallel.apart(read, as_written)
    except _parallel.LostError:
        raise _broken(here, program, "the process that read it died, of damaged bytes or for want of memory") from None
    except Exception as error:
        # What a reader makes of damaged bytes can be any error.
        raise _broken(here, program, f"{error}".strip().rstrip(".!")) from None
    if table.empty:
        raise DataError(f"{here}: no rows")
    table.index = pd.RangeIndex(1, len(table) + 1)
    raw.index = table.index
    return table, {name: int(_declared(table[name], raw[name], program).sum()) for name in table.columns}, about


def _broken(here: str, program: str, why: str) -> DataError:
    remedy = f"it may not be whole: open it in {program}, and save it anew"
    return DataError(f"{here}: cannot be read as a file of {program} ({why}); {remedy}")


def _refuse_ends(file: Path, program: str, here: str) -> None:
    """Refuse a file that does not begin as the program's do, and one of Stata 13 or later that lacks its end."""
    with file.open("rb") as opened:
        head = opened.read(16)
        opened.seek(max(0, file.stat().st_size - len(_END)))
        end = opened.read()
    found = _what_it_is(head)
    if found == program:
        # What comes last are labels, which would be missing without a word.
        if head.startswith(b"<") and end != _END:
            raise _broken(here, program, "its end is missing")
        return
    if not head:
        raise DataError(f"{here}: the file is empty")
    remedy = f"; {_WORKBOOK[1]}" if found else "; a text file's name ends with '.csv'"
    if found in PROGRAMS.values():
        remedy = f", but one of {found}; let its name end with {_ending(found)!r}"
    raise DataError(f"{here}: not a file of {program}, whatever its name says{remedy}")


def _declared(values: pd.Series[Any], raw: pd.Series[Any], program: str) -> pd.Series[bool]:
    """Return which values the file declares as missing; those of Stata are letters, .a to .z."""
    there = raw.notna() if program == "SPSS" else raw.map(lambda v: isinstance(v, str)).astype(bool)
    return values.isna() & there


def _wanted(labels: Any, header: Sequence[str], faults: Faults) -> list[str]:
    """Return the columns whose labels are asked for."""
    if isinstance(labels, str):
        return list(header) if faults.ask(one_of, "labels", labels, (_VALUES, _CODES)) == _VALUES else []
    if not isinstance(labels, list | tuple):
        faults.add("labels", labels, "neither a word nor a list of columns", "write labels='codes', or labels=['sex']")
        return []
    for name in labels:
        if name not in header:
            faults.add("labels", labels, f"no column {show(name)}{nearest(name, header)}")
    return list(labels)


def _meanings(given: Mapping[Hashable, str] | None) -> dict[Hashable, str]:
    """Return code -> label, without padding; a label of blanks is none."""
    found = {code.strip() if isinstance(code, str) else code: label.strip() for code, label in (given or {}).items()}
    return {code: label for code, label in found.items() if label}


def _column(
    name: str, given: pd.Series[Any], meanings: Mapping[Hashable, str], rules: Rules, faults: Faults
) -> tuple[pd.Series[Any], int]:
    """Return a column as analyses take it, and how many missing codes of the user's were replaced."""
    column, replaced = rules.apply(name, _typed(given), faults)
    column = _labelled(name, column, meanings, faults)
    coded = column.isin(rules.words(name))
    return column.mask(coded) if coded.any() else column, replaced + int(coded.sum())


def _typed(given: pd.Series[Any]) -> pd.Series[Any]:
    """Return whole numbers as such, text without padding, and dates as dates; what is empty is missing."""
    if given.notna().sum() == 0:
        return pd.Series(np.nan, index=given.index)
    # A column of Stata's with missing values of several kinds holds numbers as objects.
    given = given.infer_objects()
    if pd.api.types.is_numeric_dtype(given.dtype):
        whole = given.notna().all() and (given == np.rint(given)).all() and given.abs().max() < 2**53
        return given.astype("int64") if whole else given.astype(float)
    if given.dtype != object:
        return given
    first = given.dropna().iloc[0]
    if isinstance(first, dt.date):
        return _dates(given)
    if not isinstance(first, str):
        return given.where(given.isna(), given.astype(str))
    text = given.str.strip()
    text = text.mask(text == "")
    return text if text.notna().any() else pd.Series(np.nan, index=given.index)


def _dates(given: pd.Series[Any]) -> pd.Series[Any]:
    """Return dates; in whole seconds if any lies beyond the years 1678 to 2261, as 9999-12-31 does."""
    seconds = pd.Series(np.array(given.where(given.notna(), None), dtype="datetime64[s]"), index=given.index)
    near = seconds.dropna().between(pd.Timestamp(1678, 1, 1).as_unit("s"), pd.Timestamp(2261, 12, 31).as_unit("s"))
    return seconds.astype("datetime64[ns]") if near.all() else seconds


def _labelled(name: str, column: pd.Series[Any], meanings: Mapping[Hashable, str], faults: Faults) -> pd.Series[Any]:
    """Return labels in place of codes if every value has one; a scale of which only the ends do stays numbers."""
    codes = column.dropna().unique().tolist()
    if not codes or pd.api.types.is_datetime64_any_dtype(column.dtype) or not set(codes) <= set(meanings):
        return column
    words: dict[str, Any] = {}
    for code in sorted(codes):
        if words.setdefault(meanings[code], code) != code:
            both = f"{show(words[meanings[code]])} and {show(code)} of {show(name)}"
            remedy = "say labels='codes', or name the columns whose labels you want"
            faults.say(f"labels: {both} are both called {show(meanings[code])}; {remedy}")
    return column.map(meanings).astype(object)
