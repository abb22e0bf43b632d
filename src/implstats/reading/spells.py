"""Dated spells: how long each lasted, up to a stated end of study, and what ended it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults, nearest, show
from implstats.design.frames import nobodys
from implstats.design.time import UNIT_DAYS
from implstats.errors import DataError
from implstats.reading.dates import days_of
from implstats.reading.values import whole_numbers

__all__ = ["day_of_each_row", "days_or_nothing", "one_day", "spells_from_dates"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

EPOCH = pd.Timestamp("1970-01-01")


@dataclass(frozen=True)
class _Days:
    """The days of every row, NaN for none: start, end, the study's end, the beginning of observation."""

    started: Floats
    ended: Floats
    last: Floats
    since: Floats

    @property
    def running(self) -> Bools:
        """Which spells still ran at the study's end."""
        return np.asarray(np.isnan(self.ended) | (self.ended > self.last))

    @property
    def late(self) -> Bools:
        """Which spells started too late to be seen at all."""
        return np.asarray(self.started >= self.last)

    @property
    def same(self) -> Bools:
        """Which spells ended on the day they started."""
        return np.asarray((self.ended == self.started) & ~self.late)


def spells_from_dates(
    frame: pd.DataFrame,
    *,
    start: str,
    end: str,
    study_end: Any,
    unit: str,
    event: str | None = None,
    censored: Any = None,
    observed_from: Any = None,
    id: str | None = None,
    same_day: float | None = None,
    columns: tuple[str, str, str] = ("entry", "duration", "event"),
) -> pd.DataFrame:
    """Tell how long each spell lasted, and whether its end was seen before the study's end.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per spell: a programme from its start to its end, or each of its restarts.
    start, end : str
        Columns with the first and the last day: datetimes, dates, or text as YYYY-MM-DD. A missing start is a spell
        that never started; a missing end is one that still ran at the end of the study.
    study_end : date or str
        The last day on which it is known what still ran: one date for all, or a column. Today's date is never taken.
    unit : {"days", "weeks", "months", "years"}
        Unit of the new times: months of 30.4375 days, years of 365.25. Times of day are ignored.
    event : str, optional
        Column with what ended the spell: 0 and 1, or the causes. None: every end within the study is an event.
    censored : value of the event column, optional
        With causes, the value that stands for no event.
    observed_from : date or str, optional
        The day on which observation began, one for all or a column: who started earlier enters at that time, and what
        was over by then could not be seen (delayed entry).
    id : str, optional
        The column that names the programme. Its time then runs from its first start, so that a restart enters at the
        time since; rows of one id must not overlap. None: every row counts from its own start.
    same_day : float, optional
        How many days a spell counts that ends on the day it starts, such as 0.5; None refuses these rows.
    columns : tuple of three str
        Names of the new columns.

    Returns
    -------
    pandas.DataFrame
        The rows that were at risk, with time of entry, time of exit (duration) and event, in their order and index. An
        end after the study's end is censored there. ``attrs["implstats"]["spells"]`` counts who was left out: never
        started, started at or after the study's end, over before observation began; and who was censored and why.

    Raises
    ------
    DataError
        If a date cannot be read, an end lies before its start or belongs to no start, an event has no end, or rows of
        one id overlap; all faults together, with rows.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.reading.spells import spells_from_dates
    >>> programmes = pd.DataFrame(
    ...     {
    ...         "started": ["2008-01-01", "2009-07-01", "2011-01-01", None],
    ...         "stopped": ["2010-01-01", None, "2016-01-01", None],
    ...     }
    ... )
    >>> spells = spells_from_dates(programmes, start="started", end="stopped", study_end="2015-01-01", unit="days")
    >>> spells[["entry", "duration", "event"]]
       entry  duration  event
    0      0       731      1
    1      0      2010      0
    2      0      1461      0
    >>> spells.attrs["implstats"]["spells"]["never started"]
    1
    """
    frame = _check.frame(frame)
    faults = Faults()
    _check.columns(frame, faults, start=start, end=end, event=event, id=id)
    if start == end:
        faults.add("end", end, "is named as start= too", "each role has a column of its own")
    faults.ask(_check.one_of, "unit", unit, list(UNIT_DAYS))
    if same_day is not None:
        faults.ask(_part_of_a_day, same_day)
    _new_names(frame, columns, faults)
    faults.settle()
    days = _Days(
        days_or_nothing(frame, "start", start, faults),
        days_or_nothing(frame, "end", end, faults),
        day_of_each_row(frame, "study_end", study_end, faults),
        np.full(len(frame), np.nan)
        if observed_from is None
        else day_of_each_row(frame, "observed_from", observed_from, faults),
    )
    faults.settle()
    _check_order(frame, start, end, days, same_day, faults)
    happened = _events(frame, event, censored, days, faults)
    faults.settle()
    stopped = np.where(days.running, days.last, np.where(days.same, days.started + (same_day or 0), days.ended))
    zero = _first_start(frame, id, days, stopped, faults)
    faults.settle()
    entered = np.fmax(days.started, days.since)
    unseen = ~days.late & (entered >= stopped)
    kept = ~np.isnan(days.started) & ~days.late & ~unseen
    counts = _counts(days, kept, unseen)
    if not kept.any():
        left = ", ".join(f"{k} {why}" for why, k in list(counts.items())[2:5] if k)
        raise DataError(f"start={show(start)}: no row was at risk within the study: {left}")
    times = [whole_numbers((day - zero)[kept] / UNIT_DAYS[unit]) for day in (entered, stopped)]
    out = frame.loc[kept].assign(**dict(zip(columns, [*times, happened[kept]], strict=True)))
    out.attrs["implstats"] = {**frame.attrs.get("implstats", {}), "spells": counts}
    return out


def _counts(days: _Days, kept: Bools, unseen: Bools) -> dict[str, int]:
    """Return how many rows stayed, were left out, and ended otherwise than by their own end."""
    facts = {
        "given": np.ones_like(kept),
        "kept": kept,
        "never started": np.isnan(days.started),
        "started at or after the end of the study": days.late,
        "over before observation began": unseen & ~np.isnan(days.started),
        "still running at the end of the study": kept & np.isnan(days.ended),
        "ended after the end of the study": kept & (days.ended > days.last),
        "ended on the day they started": kept & days.same,
    }
    return {why: int(rows.sum()) for why, rows in facts.items()}


def _part_of_a_day(same_day: float) -> None:
    if _check.number("same_day", same_day, above=0, remedy="0.5 counts half a day") > 1:
        raise DataError(f"same_day={show(same_day)}: more than a day; 0.5 counts half a day")


def _new_names(frame: pd.DataFrame, columns: Any, faults: Faults) -> None:
    three = isinstance(columns, list | tuple) and len(columns) == 3 and all(isinstance(c, str) for c in columns)
    if not three or len(set(columns)) < 3:
        faults.add("columns", columns, "not three names", "write columns=('entry', 'duration', 'event')")
        return
    for name in columns:
        if name in frame.columns:
            faults.add("columns", name, "already a column", "choose another name")


def days_or_nothing(frame: pd.DataFrame, argument: str, column: Hashable, faults: Faults) -> Floats:
    """Return a column of dates as days, NaN where missing; what cannot be read is recorded."""
    given = frame[column].notna().to_numpy()
    out = np.full(len(frame), np.nan)
    out[given] = (days_of(frame[column][given], f"{argument}={show(column)}", faults) - EPOCH).dt.days
    return out


def day_of_each_row(frame: pd.DataFrame, argument: str, given: Any, faults: Faults) -> Floats:
    """Return the day of each row, from a column without missing values or one date for all."""
    if isinstance(given, Hashable) and given in frame.columns:
        return np.array((days_of(frame[given], f"{argument}={show(given)}", faults) - EPOCH).dt.days, dtype=float)
    remedy = nearest(given, frame.columns)[2:] if isinstance(given, str) else "today's date is never taken"
    return np.full(len(frame), one_day(argument, given, "neither a column nor a date", remedy, faults))


def one_day(argument: str, given: Any, fault: str, remedy: str, faults: Faults) -> float:
    """Return one date as a day, NaN after recording what is none."""
    try:
        said = Faults()
        day = days_of(pd.Series([given]), argument, said).iloc[0]
        said.settle()
    except (DataError, TypeError, ValueError):
        faults.add(argument, given, f"{fault} as YYYY-MM-DD", remedy)
        return float("nan")
    return float((day - EPOCH).days)


def _check_order(
    frame: pd.DataFrame, start: str, end: str, days: _Days, same_day: float | None, faults: Faults
) -> None:
    """Record ends without a start, ends before their start, and spells of no length."""
    lost = np.isnan(days.started) & ~np.isnan(days.ended)
    if lost.any():
        fault = f"missing in {_check.rows(frame.index[lost])}, which ended"
        faults.add("start", start, fault, "give the date; who never started has no end")
    if (early := days.ended < days.started).any():
        fault = f"before {start} in {_check.rows(frame.index[early])}"
        faults.add("end", end, fault, "correct one of the two dates")
    if days.same.any() and same_day is None:
        fault = f"on the day of {start} in {_check.rows(frame.index[days.same])}"
        faults.add("end", end, fault, "say same_day=0.5 to count half a day, or drop who never really started")


def _events(frame: pd.DataFrame, event: str | None, censored: Any, days: _Days, faults: Faults) -> Any:
    """Return what ended each spell, or no event where it ran on; 0 and 1 as numbers, causes as they were."""
    if event is None:
        if censored is not None:
            faults.add("censored", censored, "goes with event=, the column of what ended the spell", "leave it out")
        return np.where(days.running, 0, 1)
    values = frame[event].astype(object).to_numpy(copy=True)
    known = frame[event].notna().to_numpy()
    none = known & (frame[event] == (0 if censored is None else censored)).to_numpy(bool, na_value=False)
    if censored is None and (odd := known & ~none & ~(frame[event] == 1).to_numpy(bool, na_value=False)).any():
        first = values[odd][0]
        fault = f"holds {show(first)} ({_check.rows(frame.index[odd & (values == first)])}), neither 0 nor 1"
        faults.add("event", event, fault, "with causes, say censored=, the value that stands for no event")
        return values
    if censored is not None and known.all() and (wrong := nobodys(frame[event], censored)):
        faults.add("censored", censored, *wrong)
    dateless = known & ~none & np.isnan(days.ended) & ~np.isnan(days.started)
    if dateless.any():
        fault = f"an event in {_check.rows(frame.index[dateless])}, which have no end"
        faults.add("event", event, fault, "give the date, or the value of no event")
    values[days.running] = 0 if censored is None else censored
    if censored is None:
        return whole_numbers(values.astype(float))
    if isinstance(frame[event].dtype, pd.CategoricalDtype):
        order = dict.fromkeys([*frame[event].cat.categories, censored])
        return pd.Categorical(values, categories=list(order))
    return values


def _first_start(frame: pd.DataFrame, id: str | None, days: _Days, stopped: Floats, faults: Faults) -> Floats:
    """Return the day from which each row's time runs; rows of one id that overlap are recorded."""
    if id is None:
        return days.started
    if (gone := frame[id].isna().to_numpy()).any():
        faults.add("id", id, f"missing in {_check.rows(frame.index[gone])}", "fill it in, or drop these rows")
    rows = pd.DataFrame({"id": frame[id].to_numpy(), "start": days.started, "stop": stopped})
    within = rows[~np.isnan(days.started) & ~days.late].sort_values(["start", "stop"], kind="stable")
    over = within[within["start"] < within.groupby("id", observed=True)["stop"].shift()]
    if len(over):
        fault = f"rows of {show(over['id'].iloc[0])} overlap ({_check.rows(frame.index[over.index])})"
        faults.add("id", id, fault, "one id runs once at a time; look for a missing end")
    return rows.groupby("id", observed=True)["start"].transform("min").to_numpy(dtype=float)
