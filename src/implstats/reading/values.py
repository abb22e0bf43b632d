"""Which values of a column stand for "missing", and which can be at all."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from implstats import _check
from implstats._check import Faults, nearest, show

__all__ = ["Codes", "Ranges", "Rules", "is_range", "missing_ids", "read_rules", "whole_numbers"]

Codes: TypeAlias = Sequence[object] | Mapping[str, Sequence[object]]
Ranges: TypeAlias = Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Rules:
    """Column -> codes that stand for "missing", and column -> lowest and highest value that can be."""

    codes: Mapping[str, list[Any]]
    ranges: Mapping[str, tuple[float, float]]

    def words(self, column: str) -> list[str]:
        """Return the codes of a column that are text."""
        return [code for code in self.codes.get(column, []) if isinstance(code, str)]

    def numbers(self, column: str) -> list[Any]:
        """Return the codes of a column that are numbers."""
        return [code for code in self.codes.get(column, []) if not isinstance(code, str)]

    def apply(
        self,
        column: str,
        values: pd.Series[Any],
        faults: Faults,
        place: Callable[[Iterable[Hashable]], str] = _check.rows,
        decimal: str = ".",
    ) -> tuple[pd.Series[Any], int]:
        """Return the values with codes as missing, and how many there were; record what lies outside the range.

        `place` says where the labels of offending rows are; `decimal` is the sign in numbers that are still text, as
        all of a column are of which one cell is a word.
        """
        is_number = pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype)
        coded = values.isin(self.numbers(column))
        replaced = int(coded.sum()) if is_number else 0
        if replaced:
            values = values.mask(coded)
        if column in self.ranges:
            low, high = self.ranges[column]
            points = values if decimal == "." or is_number else values.str.replace(decimal, ".", regex=False)
            numbers = pd.to_numeric(points, errors="coerce")
            words = values.notna() & numbers.isna()
            outside = ~words & ~numbers.between(low, high) & ~numbers.isin(self.numbers(column))
            for wrong, fault in ((words, "not a number"), (outside, "outside the range")):
                if (wrong := wrong & values.notna()).any():
                    few = ", ".join(dict.fromkeys(show(v) for v in values[wrong].iloc[: _check.SHOWN]))
                    said = f"{few} in {place(values.index[wrong])}, {fault}"
                    faults.add(f"ranges[{show(column)}]", (low, high), said, "correct it, or name it in missing_codes")
        return values, replaced


def read_rules(missing_codes: object, ranges: object, columns: Sequence[str], faults: Faults) -> Rules:
    """Return the rules of a call, and record what is wrong with them."""
    rules = Rules(_codes(missing_codes, columns, faults), _ranges(ranges, columns, faults))
    for column, (low, high) in rules.ranges.items():
        for code in rules.codes.get(column, []):
            if not isinstance(code, str) and low <= code <= high:
                fault = f"inside the range of {show(column)}, {show((low, high))}"
                faults.add("missing_codes", code, fault, "it may be a value")
    return rules


def _codes(given: object, columns: Sequence[str], faults: Faults) -> dict[str, list[Any]]:
    if given is None:
        return {}
    named = isinstance(given, Mapping)
    out: dict[str, list[Any]] = {}
    for column, codes in given.items() if isinstance(given, Mapping) else [("", given)]:
        if named and column not in columns:
            faults.say(f"missing_codes: no column {show(column)}{nearest(column, columns)}")
        elif isinstance(codes, str) or not isinstance(codes, Iterable):
            faults.add("missing_codes", given, "not a list", "write missing_codes=[999]")
        else:
            out |= {name: list(codes) for name in ([column] if named else columns)}
    return out


def _ranges(given: object, columns: Sequence[str], faults: Faults) -> dict[str, tuple[float, float]]:
    if not isinstance(given, Mapping | None):
        faults.add("ranges", given, "not a range per column", "write ranges={'bsi': (0, 4)}")
        return {}
    out = {}
    for column, bounds in (given or {}).items():
        if column not in columns:
            faults.say(f"ranges: no column {show(column)}{nearest(column, columns)}")
        elif not is_range(bounds):
            faults.add(f"ranges[{show(column)}]", bounds, "not a low and a high value", "write (0, 4)")
        else:
            out[column] = (bounds[0], bounds[1])
    return out


def is_range(value: Any) -> bool:
    """Tell whether this is a low and a high number."""
    try:
        low, high = value
        return bool(float(low) <= float(high))
    except (TypeError, ValueError):
        return False


def missing_ids(frame: pd.DataFrame, patient: str, faults: Faults) -> None:
    """Record rows that name no patient."""
    empty = frame[patient].isna().to_numpy()
    if empty.any():
        where = _check.rows(frame.index[empty])
        faults.add("patient", patient, f"missing in {where}", "give each row its patient, or drop the rows yourself")


def whole_numbers(times: Any) -> Any:
    """Return times as whole numbers if all are."""
    array = np.asarray(times, dtype=float)
    return array.astype(np.int64) if (array == np.rint(array)).all() else array
