"""Spells cut where circumstances change: the pieces before and after, and person-period rows."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats.design.frames import drop_missing, numeric
from implstats.design.spells import SAME_TIME, SpellRoles, spells
from implstats.design.time import UNIT_DAYS
from implstats.reading.spells import day_of_each_row, days_or_nothing, one_day
from implstats.reading.values import whole_numbers

__all__ = ["split_spells"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]


def split_spells(
    frame: pd.DataFrame,
    *,
    duration: str,
    event: str,
    entry: str | None = None,
    id: str | None = None,
    censored: Any = None,
    at: Any = None,
    at_column: str | None = None,
    start: str | None = None,
    unit: str | None = None,
    label: str = "period",
) -> pd.DataFrame:
    """Cut spells at given times, so that what holds before and after can differ.

    Two uses: a covariate that changes, such as a reorganisation (one time, by `at` or `at_column`), and person-period
    rows (every year, ``at=range(1, 10)``).

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per spell.
    duration, event : str
        Columns with the time of exit, and with 0 and 1 or causes.
    entry : str, optional
        Column with the time of entry. None: everybody enters at 0, and the new rows get a column named "entry".
    id : str, optional
        The column that names the programme; its rows must not overlap.
    censored : value of the event column, optional
        With causes, the value that stands for no event.
    at : number, list of numbers, date, or list of dates, optional
        Where to cut: times since the start, the same for all; or days, which need `start` and `unit`.
    at_column : str, optional
        Column with each row's own time to cut at, or day with `start` and `unit`; missing: this row is not cut.
    start : str, optional
        Column with the day on which the row's time is 0.
    unit : {"days", "weeks", "months", "years"}, optional
        Unit of the durations, with `start`.
    label : str
        Name of the new column: how many of the times lie at or before the start of the piece. For one reorganisation it
        is 0 before and 1 after.

    Returns
    -------
    pandas.DataFrame
        One row per piece, the pieces of a row in order of time and with its index label. Only the last piece of a spell
        has its event; time at risk and number of events stay what they were. Rows without duration, event or entry are
        left out; ``attrs["implstats"]["split"]`` counts them, and how many spells were cut.

    Raises
    ------
    DataError
        As every survival model: negative times, events that are neither 0 nor 1, overlapping rows of one id; and dates
        that cannot be read. All faults together, with rows.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.reading.split import split_spells
    >>> spells = pd.DataFrame({"programme": ["a", "b"], "years": [3.5, 2.0], "stopped": [1, 0], "change": [2.5, None]})
    >>> split_spells(spells, duration="years", event="stopped", at_column="change", label="reorganised")
      programme  years  stopped  change  entry  reorganised
    0         a    2.5        0     2.5    0.0            0
    0         a    3.5        1     2.5    2.5            1
    1         b    2.0        0     NaN    0.0            0
    """
    frame = _check.frame(frame)
    faults = Faults()
    _check.columns(frame, faults, duration=duration, event=event, entry=entry, id=id, at_column=at_column, start=start)
    _one_way(at, at_column, start, unit, faults)
    if label in frame.columns:
        faults.add("label", label, "already a column", "choose another name")
    elif entry is None and label == "entry":
        faults.add("label", label, "the name of the new column of entries", "choose another name")
    if entry is None and "entry" in frame.columns:
        faults.add("entry", None, "there is a column 'entry'", "say entry='entry', or rename the column")
    faults.settle()
    lacking = {f"{c} missing": frame[c].isna().to_numpy() for c in (duration, event, entry) if c is not None}
    whole, dropped = drop_missing(lacking, "drop", frame.index)
    used = frame.loc[whole] if whole.any() else frame
    cuts = _cuts(used, at, at_column, start, unit, faults)
    faults.ask(spells, used, SpellRoles(duration, event, entry, id, censored=censored))
    faults.settle()
    stop = numeric(used, "duration", duration, faults)
    begin = np.zeros(len(used)) if entry is None else numeric(used, "entry", entry, faults)
    rows, begin, stop, passed, last = _pieces(begin, stop, cuts)
    out = used.iloc[rows].copy()
    out[entry or "entry"], out[duration], out[label] = whole_numbers(begin), whole_numbers(stop), passed
    out[event] = _events(used[event], rows, last, censored)
    counts = {"given": len(frame), **dropped, "cut": len(np.unique(rows[~last])), "pieces": len(out)}
    out.attrs["implstats"] = {**frame.attrs.get("implstats", {}), "split": counts}
    return out


def _one_way(at: Any, at_column: str | None, start: str | None, unit: str | None, faults: Faults) -> None:
    """Record a call that names no time, two kinds of time, or a day without its origin."""
    if (at is None) == (at_column is None):
        fault = "no time is named" if at is None else "at_column= names a time too"
        faults.add("at", at, fault, "write at=[18, 36], or at_column= and a column")
    if (start is None) != (unit is None):
        argument, value, other = ("start", start, "unit") if unit is None else ("unit", unit, "start")
        faults.add(argument, value, f"goes with {other}=", "days become times by both, and numbers need neither")
    if unit is not None:
        faults.ask(_check.one_of, "unit", unit, list(UNIT_DAYS))


def _cuts(
    frame: pd.DataFrame, at: Any, at_column: str | None, start: str | None, unit: str | None, faults: Faults
) -> Floats:
    """Return the times at which each row is cut, (rows, times) in increasing order; NaN for none."""
    if start is None or unit is None:
        return _times(frame, at, at_column, faults)
    zero = day_of_each_row(frame, "start", start, faults)
    if at_column is not None:
        days = days_or_nothing(frame, "at_column", at_column, faults)[:, None]
    else:
        given = [at] if isinstance(at, str) or not isinstance(at, Iterable) else list(at)
        remedy = "with start=, give at= as days"
        days = np.unique([one_day("at", day, "not a date", remedy, faults) for day in given])[None, :]
    return np.asarray((days - zero[:, None]) / UNIT_DAYS[unit])


def _times(frame: pd.DataFrame, at: Any, at_column: str | None, faults: Faults) -> Floats:
    """Return times that were given as numbers; days are refused, for want of their origin."""
    remedy = "with days, say start= and unit= too"
    if at_column is not None:
        if pd.api.types.is_numeric_dtype(frame[at_column].dtype):
            return numeric(frame, "at_column", at_column, faults)[:, None]
        faults.add("at_column", at_column, "the column holds no numbers", remedy)
        return np.full((len(frame), 1), np.nan)
    first = next(iter(at), None) if isinstance(at, list | tuple) else at
    if isinstance(first, str | date | np.datetime64):
        faults.add("at", at, "not a time since the start", remedy)
        return np.full((len(frame), 1), np.nan)
    times = faults.ask(_check.at, at) or [np.nan]
    return np.broadcast_to(np.array(times, dtype=float), (len(frame), len(times)))


def _pieces(entry: Floats, exit_: Floats, cuts: Floats) -> tuple[Ints, Floats, Floats, Ints, Bools]:
    """Return for every piece its row, begin and end, how many cuts have passed, and whether it is its row's last."""
    distinct = np.unique(np.concatenate([entry, exit_]))
    # What rounding could make equal to an end of the spell leaves no piece.
    near = 2 * SAME_TIME * max(1.0, float(distinct.mean()))
    inside = (cuts > entry[:, None] + near) & (cuts < exit_[:, None] - near)
    rows = np.concatenate([np.arange(len(entry)), np.nonzero(inside)[0]])
    begin = np.concatenate([entry, cuts[inside]])
    order = np.lexsort((begin, rows))
    rows, begin = rows[order], begin[order]
    last = np.append(rows[1:] != rows[:-1], True)
    stop = np.where(last, exit_[rows], np.append(begin[1:], np.nan))
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    passed = (cuts <= entry[:, None] + near).sum(axis=1)[rows] + place
    return rows, begin, stop, passed, last


def _events(values: pd.Series[Any], rows: Ints, last: Bools, censored: Any) -> Any:
    """Return the event of every piece: the row's own for its last, no event for the others."""
    nothing = 0 if censored is None else censored
    if pd.api.types.is_bool_dtype(values.dtype):
        nothing = False
    elif isinstance(values.dtype, pd.CategoricalDtype) and nothing not in values.cat.categories:
        values = values.cat.add_categories([nothing])
    out = values.array.take(rows)
    out[~last] = nothing
    return out
