"""What must not leave the data: patients are numbered, names of staff are masked, small numbers are left empty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from implstats import _check
from implstats.batch import kinds
from implstats.batch.blocks import MIN_COUNT
from implstats.batch.folder import File
from implstats.batch.kinds import Kind
from implstats.design.frames import plain
from implstats.tables import is_few

__all__ = ["PRIVACY", "Privacy", "masked", "read_privacy"]

PATIENTS = ("patient", "id", "item")
STAFF = ("groups", "cluster", "frailty", "rater", "group")
# What is compared is named: without the names of its groups there is no answer.
COMPARED = ("cohort", "by", "event")
COUNTS = {"n", "n_reference", "rows", "patients", "count", "missing", "imputed", "shifted"}
COUNTS |= {"at_risk", "events", "censored", "competing", "cumulative_events", "cumulative_censored", "observed"}
# What would give a count away by one multiplication.
GIVES_AWAY = {"events": ("exposure", "events_per_parameter", "expected"), "at_risk": ("exposure",)}


@dataclass(frozen=True)
class Privacy:
    """The section `[privacy]` of a plan: who is not named, and which numbers are too small to be told.

    What holds for everything that a plan writes or says (tables, results, report, pictures, manifest, terminal):

    - the values of columns that tell patients apart, and of those that name staff, are replaced by numbers before
      anything is checked or fitted, so that no table, label, picture, warning or reason of a failure can tell them;
    - a number of patients, programmes or events of 1 to `min_count` - 1 is empty in CSV and null in JSON, "under 5" in
      the report and "<5" in pictures. 0 tells of nobody and stays. What is estimated stays too, also for a small group:
      the groups that a plan compares are its question. Rows that were dropped count as well, and where one such number
      could be had by subtraction within the same line of a table, a second one is hidden.

    What it does not cover:

    - what can be worked out from several numbers: a step of a survival curve times those at risk is its events, the
      rows used less the patients seen at every other visit are those of the visit that is hidden, and two reports on
      nearly the same patients may differ by one of them; an estimate of three patients with its standard error says
      nearly as much as their values;
    - names in columns that are covariates, unless `mask` names them, and sites of a batch, which are what is compared;
    - a value that a complaint quotes because its column cannot be read, such as text where numbers should be, and
      numbers in a complaint that says why there are too few;
    - the words of the plan itself, which the manifest repeats; and points of single patients in pictures of residuals,
      which have no names.

    Who holds the file can find a patient by the number, which counts them in the order of the file.

    Attributes
    ----------
    min_count : int
        The least number of patients, programmes or events that is told; 1 tells all.
    staff : {"masked", "named"}
    mask : sequence of str
        Further columns whose values are told as numbers.
    individual_lines : bool
        Whether pictures of courses have a thin line for every patient, without a name.
    """

    min_count: int = MIN_COUNT
    staff: str = "masked"
    mask: tuple[str, ...] = ()
    individual_lines: bool = False

    def hidden(self, roles: Mapping[str, Any], frame: pd.DataFrame) -> tuple[str, ...]:
        """Return the columns that are numbered, of those with a role ("groups[0]" is a role groups).

        A group that is compared keeps its name. So does a column of numbers that is a covariate too, a year for
        instance: in another order it would be another covariate.
        """
        private = (*PATIENTS, *(STAFF if self.staff == "masked" else ()))
        of = {role: (role.split("[")[0], name) for role, name in roles.items() if name is not None}
        wanted = [name for role, name in of.values() if role in private or name in self.mask]
        named = {name for role, name in of.values() if role in COMPARED}
        others = {name for role, name in of.values() if role not in (*PATIENTS, *STAFF)}
        return tuple(
            str(name)
            for name in dict.fromkeys(wanted)
            if name in frame.columns and name not in named and not (name in others and _is_number(frame[name]))
        )

    def masked(self, roles: Mapping[str, Any], frame: pd.DataFrame) -> pd.DataFrame:
        """Return the frame of an analysis without names of patients and staff."""
        return masked(frame, self.hidden(roles, frame))

    def check(self, columns: Sequence[Any], parts: Iterable[Mapping[str, Any]], faults: _check.Faults) -> None:
        """Record further columns that no table has, and those whose groups are compared."""
        compared = {roles.get(role) for roles in parts for role in COMPARED}
        for name in self.mask:
            if name not in columns:
                faults.say(f"[privacy] mask={name!r}: no such column{_check.nearest(name, columns)}")
            elif name in compared:
                faults.say(f"[privacy] mask={name!r}: its values are what is compared, and need their names")

    def is_few(self, count: Any) -> bool:
        """Return whether a count is too small to be told."""
        return is_few(count, self.min_count)

    def few(self, count: Any) -> str:
        """Return a count for a sentence: "under 5" where it is too small."""
        return f"under {self.min_count}" if self.is_few(count) else str(count)

    def in_words(self) -> list[str]:
        """Return what is not told, for the methods of a report."""
        patients = "Patients and programmes are numbered"
        staff = ", and so is staff." if self.staff == "masked" else "; staff is named, as the plan asks."
        if self.min_count == 1:
            return [f"{patients}{staff}"]
        return [f"Numbers of patients, programmes or events below {self.min_count} are not told. {patients}{staff}"]

    def shown(self, file: File) -> File:
        """Return a table or a record without small numbers."""
        if self.min_count == 1:
            return file
        if isinstance(file.content, pd.DataFrame):
            return File(file.name, self.table(file.content))
        return File(file.name, self._record(file.content))

    def table(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Return a table in which small numbers are empty."""
        made: dict[str, pd.Series] = {}
        for name in COUNTS.intersection(map(str, frame.columns)):
            if not _is_number(frame[name]):
                continue
            small = frame[name].between(0, self.min_count, inclusive="neither")
            for column in (name, *GIVES_AWAY.get(name, ())) if small.any() else ():
                if column in frame:
                    made[column] = _emptied(made.get(column, frame[column]), small)
        return frame.assign(**made)

    def row(self, row: Mapping[str, Any], counts: Iterable[str] = COUNTS) -> dict[str, Any]:
        """Return a row of a table in which small numbers are empty."""
        small = [name for name in counts if self.is_few(row.get(name))]
        gone = {column for name in small for column in (name, *GIVES_AWAY.get(name, ())) if column in row}
        return {**row, **dict.fromkeys(gone)}

    def _record(self, told: Any) -> Any:
        """Return a record without small numbers; the header of a result tells numbers in words, and goes."""
        if isinstance(told, list):
            return [self._record(one) for one in told]
        if not isinstance(told, Mapping):
            return told
        if set(told) == {"columns", "kinds", "rows"}:
            return self._of_json(told)
        return {name: self._record(value) for name, value in told.items() if name != "header"}

    def _of_json(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """Return a table as a record holds it; a column with an empty cell is one of floats."""
        rows = [self.row(row) for row in table["rows"]]
        kinds_of = {
            name: "float" if kind == "int64" and any(row[name] is None for row in rows) else kind
            for name, kind in zip(table["columns"], table["kinds"], strict=True)
        }
        return {**table, "kinds": list(kinds_of.values()), "rows": rows}


PRIVACY: Mapping[str, Kind] = {
    "min_count": kinds.whole(1),
    "staff": kinds.word("masked", "named"),
    "mask": kinds.texts,
    "individual_lines": kinds.flag,
}


def read_privacy(given: object, figures: object, homes: Mapping[str, str], faults: _check.Faults) -> Privacy:
    """Return the section `[privacy]` of a plan, which need not be there."""
    if not isinstance(given, dict):
        faults.add("privacy", given, "not a section", "write [privacy] on a line of its own, and its keys below")
        return Privacy()
    made = kinds.section("[privacy]", given, PRIVACY, {}, homes, faults)
    if made.get("individual_lines") is True and figures == "none":
        faults.say('[privacy] individual_lines=true: figures = "none" draws none; leave one of the two out')
    return Privacy() if faults else Privacy(**made | {"mask": tuple(made.get("mask") or ())})


def masked(frame: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """Return the frame in which the values of some columns are numbers, in the order in which they come.

    Every message, warning and label that an analysis makes of such a frame can only tell these numbers. Text stays
    text, as long for everyone so that it sorts as it counts, so that a category stays one. Words that differ in
    capitals or blanks only get one number, with blanks behind it: what refuses such words refuses these too.
    """
    numbers: dict[str, Any] = {}
    for name in names:
        codes, values = pd.factorize(frame[name])
        made: pd.Series[Any] = pd.Series(codes + 1, index=frame.index)
        if not _is_number(frame[name]):
            width = len(str(len(values)))
            numbered = [f"{number:0{width}d}{blanks}" for number, blanks in _numbered(values)]
            made = pd.Series(np.array(["", *numbered], dtype=object)[codes + 1], index=frame.index)
        numbers[name] = made if (codes >= 0).all() else made.where(codes >= 0)
    return frame.assign(**numbers)


def _numbered(values: Iterable[Any]) -> list[tuple[int, str]]:
    """Return the number of every value, and the blanks that tell it from other spellings of the same word."""
    spelled: dict[Any, list[int]] = {}
    made = []
    for number, value in enumerate(values, start=1):
        same = spelled.setdefault(plain(value) if isinstance(value, str) else value, [])
        same.append(number)
        made.append((same[0], " " * (len(same) - 1)))
    return made


def _is_number(column: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)


def _emptied(column: pd.Series, where: pd.Series) -> pd.Series:
    """Return a column that is empty in some rows, whole numbers as whole numbers."""
    whole = pd.api.types.is_integer_dtype(column.dtype)
    return (column.astype("Int64") if whole else column).mask(where)
