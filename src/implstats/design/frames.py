"""A frame's columns as arrays, checked: outcome numbers, times, ids and cohorts; every fault in the user's words."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats.design.time import UNIT_DAYS
from implstats.errors import DataError

__all__ = ["Codes", "all_missing", "codes", "drop_missing", "elapsed", "first_rows", "nobodys", "numeric"]
__all__ += ["no_codes", "one_spelling", "plain", "repeated", "several", "varying"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# What exports write for "missing", where it can hardly be a value.
MISSING_CODES = (-9999.0, -999.0, -99.0, -9.0, 99.0, 999.0, 9999.0)
# How many times their own range the other values lie away from a code.
FAR = 2


@dataclass(frozen=True)
class Codes:
    """A column as integers; code k stands for levels[k]."""

    of_row: Ints
    levels: list[Any]


def codes(column: pd.Series, *, ordered: bool = True) -> Codes:
    """Return a column without missing values as codes; levels sorted (a categorical's own order) or as they appear."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        used = column.cat.remove_unused_categories()
        return Codes(used.cat.codes.to_numpy().astype(np.intp), list(used.cat.categories))
    values, levels = pd.factorize(column)
    if ordered and len(levels) > 1:
        try:
            order = np.argsort(np.asarray(levels), kind="stable")
        except TypeError:
            order = np.argsort(np.asarray([str(v) for v in levels]), kind="stable")
        rank = np.empty(len(order), dtype=np.intp)
        rank[order] = np.arange(len(order))
        values, levels = rank[values], levels[order]
    return Codes(
        np.asarray(values, dtype=np.intp),
        np.asarray(levels).tolist()
        if isinstance(levels.dtype, np.dtype) and levels.dtype.kind in "ifbO"
        else list(levels),
    )


def all_missing(frame: pd.DataFrame, argument: str, name: Hashable, faults: Faults) -> bool:
    """Return, and record, whether a column holds nothing."""
    nothing = bool(frame[name].isna().all())
    if nothing:
        faults.add(argument, name, "every value is missing", "look at the file or name another column")
    return nothing


def numeric(frame: pd.DataFrame, argument: str, name: Hashable, faults: Faults) -> Floats:
    """Return a column as floats, NaN where missing; text, dates and infinite values are recorded as faults."""
    column = frame[name]
    nothing = np.full(len(frame), np.nan)
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        remedies = {
            "time": "say time_unit='months' (or days, weeks, years)",
            "visit": "put them in windows with visits_from_dates",
        }
        remedy = remedies.get(argument, "give a number")
        faults.add(argument, name, "the column holds dates, not numbers", remedy)
        return nothing
    if isinstance(column.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(column.dtype):
        converted = pd.to_numeric(column.astype(object), errors="coerce")
        bad = converted.isna().to_numpy() & column.notna().to_numpy()
        if bad.any():
            first = column[bad].iloc[0]
            remedy = "read it with decimal=',' or mend it" if "," in str(first) else "make it numeric, missing as NaN"
            if name in frame.attrs.get("implstats", {}).get("values", {}):
                remedy = "these are labels of codes: read it with labels='codes', or name the columns that get labels"
            said = f"the column holds text such as {first!r} ({_check.rows(frame.index[bad])})"
            faults.add(argument, name, said, remedy)
            return nothing
        column = converted
    values = np.array(column.to_numpy(dtype=float, na_value=np.nan))
    infinite = np.isinf(values)
    if infinite.any():
        faults.add(
            argument, name, f"infinite in {_check.rows(frame.index[infinite])}", "mend the value or set it missing"
        )
    else:
        all_missing(frame, argument, name, faults)
    return values


def no_codes(frame: pd.DataFrame, argument: str, name: Hashable, values: Floats, faults: Faults) -> None:
    """Record codes for "missing", such as 999, that were left among values none of which comes anywhere near them.

    A range that was declared, as `read_data(ranges=)` does, says what is a value.
    """
    suspect = np.isin(values, MISSING_CODES) & ~_declared(frame, name, values)
    others = values[~suspect & np.isfinite(values)]
    if len(others) and others.min() < 0:  # differences: the best patient may have gained nine points
        suspect &= values > 0
    if not suspect.any() or not len(others) or np.ptp(others) == 0:
        return
    low, high = float(others.min()), float(others.max())
    far = suspect & (np.maximum(values - high, low - values) > FAR * (high - low))
    if far.any():
        named = ", ".join(_check.show(code) for code in np.unique(values[far]))
        bounds = f"{min(low, values[far].min()):g}, {max(high, values[far].max()):g}"
        faults.add(
            argument,
            name,
            f"{named} in {_check.rows(frame.index[far])}, all others from {low:g} to {high:g}",
            f"a code for missing: set it missing, as read_data(missing_codes=[{named}]) does; "
            f"a value: say what can be, as read_data(ranges={{{_check.show(name)}: ({bounds})}}) does",
        )


def _declared(frame: pd.DataFrame, name: Hashable, values: Floats) -> NDArray[np.bool_]:
    """Return which values lie in the range that the table carries for this column."""
    low, high = frame.attrs.get("implstats", {}).get("ranges", {}).get(name, (np.inf, -np.inf))
    return np.asarray((values >= low) & (values <= high))


def one_spelling(frame: pd.DataFrame, argument: str, name: Hashable, faults: Faults) -> None:
    """Record words that differ in capitals or blanks only: they would count as different patients or groups."""
    column = frame[name]
    if pd.api.types.is_numeric_dtype(column.dtype):
        return
    words = [word for word in column.unique() if isinstance(word, str)]
    if len({plain(word) for word in words}) == len(words):
        return
    counts = column.value_counts()
    spelled: dict[str, list[str]] = {}
    for word in (w for w in counts.index[counts > 0] if isinstance(w, str)):
        spelled.setdefault(plain(word), []).append(word)
    alike = [same for same in spelled.values() if len(same) > 1]
    few = "; ".join(" and ".join(map(_check.show, same)) for same in alike[: _check.SHOWN])
    rare = column.isin([word for same in alike for word in same[1:]]).to_numpy()
    said = f"{few} differ in capitals or blanks only ({_check.rows(frame.index[rare])})"
    faults.add(argument, name, said, "spell each one way, or give one another name if they are not the same")


def plain(word: str) -> str:
    """Return a word without what does not tell words apart: capitals and blanks."""
    return " ".join(word.split()).lower()


def elapsed(
    frame: pd.DataFrame, name: Hashable, patient: Hashable, unit: str | None, faults: Faults, argument: str = "time"
) -> Floats:
    """Return times as numbers; dates become time since each patient's first visit, in `unit`."""
    column = frame[name]
    if unit is not None and faults.ask(_check.one_of, "time_unit", unit, list(UNIT_DAYS)) is None:
        return np.full(len(frame), np.nan)
    if not pd.api.types.is_datetime64_any_dtype(column.dtype):
        if unit is not None and pd.api.types.is_numeric_dtype(column.dtype):
            faults.add("time_unit", unit, f"goes with dates, and {_check.show(name)} holds numbers", "leave it out")
        elif unit is not None and not pd.api.types.is_numeric_dtype(column.dtype):
            faults.add(
                "time",
                name,
                "time_unit= goes with dates, and this column is text",
                "convert it with pandas.to_datetime",
            )
            return np.full(len(frame), np.nan)
        return numeric(frame, argument, name, faults)
    if unit is None:
        return numeric(frame, argument, name, faults)
    all_missing(frame, argument, name, faults)
    first = column.groupby(frame[patient], observed=True).transform("min")
    days = (column - first).dt.total_seconds().to_numpy() / 86400.0
    return np.asarray(days / UNIT_DAYS[unit])


def drop_missing(
    masks: dict[str, NDArray[np.bool_]], missing: str, labels: pd.Index
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Return which rows stay and how many go by each reason; a row with several reasons counts under the first."""
    kept = np.ones(len(labels), dtype=bool)
    dropped = {}
    for why, mask in masks.items():
        gone = kept & mask
        if gone.any():
            dropped[why] = int(gone.sum())
            kept &= ~mask
    if missing == "raise" and dropped:
        told = "; ".join(f"{why} in {_check.rows(labels[mask])}" for why, mask in masks.items() if mask.any())
        raise DataError(f"missing='raise': {told}; drop these rows yourself or say missing='drop'")
    return kept, dropped


def first_rows(of_row: Ints) -> Ints:
    """Return the first row of every code."""
    return np.unique(of_row, return_index=True)[1]


def varying(values: Floats, of_row: Ints) -> NDArray[np.bool_]:
    """Return the rows whose value is not that of the first row of their code; missing ones are alike."""
    first = values[first_rows(of_row)][of_row]
    return np.asarray(~((values == first) | (np.isnan(values) & np.isnan(first))))


def repeated(first: Ints, second: Ints, sizes: Sequence[int]) -> NDArray[np.intp]:
    """Return the rows whose pair of codes has been seen before."""
    key = first * sizes[1] + second
    if sizes[0] * sizes[1] <= 20 * len(key) + 1000:
        if np.bincount(key, minlength=1).max(initial=0) < 2:
            return np.zeros(0, dtype=np.intp)
    elif np.all(np.diff(key) > 0):
        return np.zeros(0, dtype=np.intp)
    return np.flatnonzero(pd.Series(key).duplicated().to_numpy())


def several(columns: Hashable | Sequence[Hashable] | None) -> tuple[Hashable, ...]:
    """Return one column, a list of them or none as a tuple."""
    if columns is None:
        return ()
    return tuple(columns) if isinstance(columns, list | tuple) else (columns,)


def nobodys(column: pd.Series[Any], label: Any) -> tuple[str, str] | None:
    """Return fault and remedy of a label of no event that no row has; None where there is nothing to complain of.

    Everybody may have had an event: a categorical that knows the label says so, and so does 0 beside whole numbers
    above it. Any other label that is nobody's is more often a slip.
    """
    declared = isinstance(column.dtype, pd.CategoricalDtype) and label in column.cat.categories
    levels = codes(column.dropna()).levels
    counted = all(isinstance(v, int | float | np.number) and float(v).is_integer() and v > 0 for v in levels)
    zero = isinstance(label, int | float | np.number) and label == 0
    if label in levels or declared or (counted and zero):
        return None
    near = _check.nearest(label, levels)
    remedy = "if nobody is censored, make the column a pandas Categorical that has this level too"
    return f"no row of {column.name} has it{near}", "" if near.endswith("?") else remedy
