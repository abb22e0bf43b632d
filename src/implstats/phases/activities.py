"""Activities of programmes, read and checked: in which phase each is, whether and when it was done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults, show
from implstats.design.frames import codes
from implstats.design.mixed import no_missing_ids
from implstats.phases.schemes import place_of
from implstats.reading.spells import day_of_each_row, days_or_nothing
from implstats.results import lock

__all__ = ["Activities", "ActivityRoles", "activities"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class ActivityRoles:
    """Which column plays which part; days are columns, or one date for all."""

    programme: Any
    phase: Any
    activity: Any
    date: Any
    done: Any
    start: Any
    stopped: Any
    study_end: Any
    by: Any


@dataclass(frozen=True, eq=False)
class Activities:
    """Validated activities, one a row; days are counted from 1970-01-01.

    Attributes
    ----------
    phases : tuple, in their order.
    programmes, groups : tuple of labels.
    programme, phase : (rows,) codes.
    done : (rows,) bool.
    day : (rows,) when it was done; nan where it was not, or nobody knows.
    group, origin, stopped, last : (programmes,) code, the day from which its time counts, the day on which it stopped,
        and the last day of the study; nan for none.
    dated : whether there are dates at all.
    """

    phases: tuple[Any, ...]
    programmes: tuple[Any, ...]
    groups: tuple[Any, ...]
    programme: Ints
    phase: Ints
    done: Bools
    day: Floats
    group: Ints
    origin: Floats
    stopped: Floats
    last: Floats
    dated: bool

    def __post_init__(self) -> None:
        lock(tuple(self.__dict__.values()))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        lock(tuple(state.values()))


def activities(frame: pd.DataFrame, roles: ActivityRoles, phases: tuple[Any, ...], faults: Faults) -> Activities:
    """Return the activities; faults of arguments and data are reported together with those given."""
    _check.frame(frame)
    named = {k: getattr(roles, k) for k in ("programme", "phase", "activity", "date", "done", "stopped", "by")}
    _check.columns(frame, faults, **named)
    if roles.date is None and roles.done is None:
        faults.say("date=None: name the column with the day each activity was done, or done= for whether it was")
    faults.settle()
    no_missing_ids(frame, faults, programme=roles.programme)
    phase = _phases(frame, roles, phases, faults)
    day = np.full(len(frame), np.nan) if roles.date is None else days_or_nothing(frame, "date", roles.date, faults)
    done = _done(frame, roles, day, faults)
    faults.settle()
    _one_row_each(frame, roles, faults)
    found = codes(frame[roles.programme], ordered=False)
    programme, first = found.of_row, np.unique(found.of_row, return_index=True)[1]
    limits = _limits(frame, roles, day, faults)
    start, stopped, last = (_of_programme(frame, roles, *limit, programme, first, faults) for limit in limits.items())
    group, groups = _groups(frame, roles, programme, first, faults)
    faults.settle()
    origin = earliest(day, programme, len(first)) if roles.start is None else start
    names, dated = tuple(found.levels), roles.date is not None
    return Activities(phases, names, groups, programme, phase, done, day, group, origin, stopped, last, dated)


def _limits(frame: pd.DataFrame, roles: ActivityRoles, day: Floats, faults: Faults) -> dict[str, Floats]:
    """Return the days of each row from which time counts, of the programme's stop and of the end of the study.

    An activity outside of them is a fault.
    """
    nothing = np.full(len(frame), np.nan)
    found = {
        "start": nothing if roles.start is None else day_of_each_row(frame, "start", roles.start, faults),
        "stopped": nothing if roles.stopped is None else days_or_nothing(frame, "stopped", roles.stopped, faults),
        "study_end": nothing
        if roles.study_end is None
        else day_of_each_row(frame, "study_end", roles.study_end, faults),
    }
    for argument, limit in found.items():
        outside = day < limit if argument == "start" else day > limit
        if outside.any():
            word, remedy = "after", "correct one of the two, or leave the activity's date empty"
            if argument == "start":
                word, remedy = "before", "time counts from there"
            where = _check.rows(frame.index[outside])
            faults.add("date", roles.date, f"{word} {argument}={_word(roles, argument)} in {where}", remedy)
    return found


def _word(roles: ActivityRoles, argument: str) -> str:
    return show(str(getattr(roles, argument)))


def _of_programme(
    frame: pd.DataFrame, roles: ActivityRoles, argument: str, days: Floats, programme: Ints, first: Ints, faults: Faults
) -> Floats:
    """Return the day of each programme; one that changes within a programme is a fault."""
    own = days[first][programme]
    if (other := ~((days == own) | (np.isnan(days) & np.isnan(own)))).any():
        where = _check.rows(frame.index[other])
        faults.say(f"{argument}={_word(roles, argument)}: changes within a programme ({where}); give each one date")
    return np.asarray(days[first])


def earliest(day: Floats, cell: Ints, cells: int) -> Floats:
    """Return the first day of every cell; nan where there is none."""
    known = ~np.isnan(day)
    out = np.full(cells, np.inf)
    np.minimum.at(out, cell[known], day[known])
    return np.where(np.isinf(out), np.nan, out)


def _phases(frame: pd.DataFrame, roles: ActivityRoles, phases: tuple[Any, ...], faults: Faults) -> Ints:
    """Return the place of each row's phase; a phase that the scheme does not have is a fault."""
    column = frame[roles.phase]
    places = {label: place_of(label, phases) for label in column.dropna().unique()}
    for label in (k for k, place in places.items() if place < 0):
        where = _check.rows(frame.index[(column == label).to_numpy(bool, na_value=False)])
        fault = f"{show(label)} ({where}) is no phase of the scheme{_check.nearest(label, phases)}"
        faults.add("phase", roles.phase, fault)
    if (gone := column.isna().to_numpy()).any():
        faults.add("phase", roles.phase, f"missing in {_check.rows(frame.index[gone])}", "fill it in")
    return np.array([places.get(label, 0) for label in column], dtype=np.intp)


def _done(frame: pd.DataFrame, roles: ActivityRoles, day: Floats, faults: Faults) -> Bools:
    """Return what was done: what has a date, or what `done` says; a date of what was not done is a fault."""
    dated = ~np.isnan(day)
    if roles.done is None:
        return dated
    column = frame[roles.done]
    values = pd.to_numeric(column.astype(object), errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    if (odd := ~np.isin(values, (0, 1))).any():
        faults.add("done", roles.done, f"neither 0 nor 1 in {_check.rows(frame.index[odd])}", "1 for done, 0 for not")
    if (torn := dated & (values == 0)).any():
        fault = f"0 in {_check.rows(frame.index[torn])}, which have a date"
        faults.add("done", roles.done, fault, "correct one of the two")
    return np.asarray(values == 1)


def _one_row_each(frame: pd.DataFrame, roles: ActivityRoles, faults: Faults) -> None:
    """Record activities that a programme has twice, or that are in several phases."""
    if (gone := frame[roles.activity].isna().to_numpy()).any():
        faults.add("activity", roles.activity, f"missing in {_check.rows(frame.index[gone])}", "name it")
    twice = frame.duplicated([roles.programme, roles.activity], keep=False).to_numpy() & ~gone
    if twice.any():
        where = _check.rows(frame.index[twice])
        faults.add(
            "activity", roles.activity, f"twice in one programme ({where})", "one row per programme and activity"
        )
    several = frame.groupby(roles.activity, observed=True)[roles.phase].transform("nunique").to_numpy() > 1
    if several.any():
        where = _check.rows(frame.index[several])
        faults.add("activity", roles.activity, f"in different phases ({where})", "an activity belongs to one phase")


def _groups(
    frame: pd.DataFrame, roles: ActivityRoles, programme: Ints, first: Ints, faults: Faults
) -> tuple[Ints, tuple[Any, ...]]:
    if roles.by is None:
        return np.zeros(len(first), dtype=np.intp), ("all",)
    if (gone := frame[roles.by].isna().to_numpy()).any():
        faults.add("by", roles.by, f"missing in {_check.rows(frame.index[gone])}", "fill it in")
        faults.settle()
    found = codes(frame[roles.by])
    if (other := found.of_row != found.of_row[first][programme]).any():
        where = _check.rows(frame.index[other])
        faults.add(
            "by", roles.by, f"changes within a programme ({where})", "a group is what a programme is in throughout"
        )
    return found.of_row[first], tuple(found.levels)
