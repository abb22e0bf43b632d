"""How far each programme has come: durations of phases, shares of activities done, and the furthest phase."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults, show
from implstats._core.events import crossing, kaplan_meier
from implstats.design.time import UNIT_DAYS
from implstats.errors import DataError
from implstats.phases.activities import Activities, ActivityRoles, activities, earliest
from implstats.phases.histories import histories
from implstats.phases.schemes import NOT_BEGUN, STOPPED, named_phases
from implstats.results import Result, frozen
from implstats.survival.groups import name_of

__all__ = ["STATUSES", "PhaseProgress", "phase_progress"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

STATUSES = ("complete", "passed", "open", STOPPED, "skipped", NOT_BEGUN)
COMPLETE, PASSED, OPEN, STOPPED_HERE, SKIPPED, UNBEGUN = range(6)
NOBODY_FURTHER = "none"


@dataclass(frozen=True, eq=False, repr=False)
class PhaseProgress(Result):
    """Phases of every programme: what was done of each, how long it took, and how it stands.

    Attributes
    ----------
    found : Activities
        The activities; read-only arrays.
    unit : str
        Unit of times and durations.
    """

    found: Activities
    unit: str

    @property
    def phases(self) -> tuple[Any, ...]:
        """The phases in their order."""
        return self.found.phases

    @property
    def groups(self) -> tuple[Any, ...]:
        """The groups; "all" where there are none."""
        return self.found.groups

    def _tally(self, which: Any) -> Ints:
        """Return how many rows of some kind there are, (programmes, phases)."""
        shape = len(self.found.programmes), len(self.phases)
        return np.bincount(self._cell[which], minlength=shape[0] * shape[1]).reshape(shape)

    @property
    def _cell(self) -> Ints:
        return np.asarray(self.found.programme * len(self.phases) + self.found.phase)

    @cached_property
    def activities(self) -> Ints:
        """Activities of each programme and phase."""
        return frozen(self._tally(slice(None)))

    @cached_property
    def done(self) -> Ints:
        """How many of them were done."""
        return frozen(self._tally(self.found.done))

    def _extreme(self, sign: float) -> Floats:
        shape = len(self.found.programmes), len(self.phases)
        day = sign * earliest(sign * self.found.day, self._cell, shape[0] * shape[1]).reshape(shape)
        return frozen((day - self.found.origin[:, None]) / UNIT_DAYS[self.unit])

    @cached_property
    def first(self) -> Floats:
        """When the first activity of each programme and phase was done, since the programme's origin; nan for none."""
        return self._extreme(1.0)

    @cached_property
    def last(self) -> Floats:
        """When the last one was done."""
        return self._extreme(-1.0)

    @cached_property
    def early(self) -> Ints:
        """Activities of each programme and phase that were done before one of an earlier phase."""
        before = np.fmax.accumulate(np.where(np.isnan(self.last), -np.inf, self.last), axis=1)
        before = np.column_stack([np.full(len(before), -np.inf), before[:, :-1]])
        time = (self.found.day - self.found.origin[self.found.programme]) / UNIT_DAYS[self.unit]
        return frozen(self._tally(time < before[self.found.programme, self.found.phase]))

    @cached_property
    def status(self) -> Ints:
        """How each programme's phase stands, as a place in STATUSES."""
        begun = self.done > 0
        later = np.zeros_like(begun)
        later[:, :-1] = np.logical_or.accumulate(begun[:, :0:-1], axis=1)[:, ::-1]
        stopped = ~np.isnan(self.found.stopped)[:, None] & np.ones_like(begun)
        conditions = [begun & (self.done == self.activities), begun & later, begun & stopped, begun, later]
        return frozen(np.select(conditions, [COMPLETE, PASSED, STOPPED_HERE, OPEN, SKIPPED], UNBEGUN), np.intp)

    @property
    def furthest(self) -> Ints:
        """The furthest phase of each programme in which something was done, as a place; -1 for none."""
        reached = np.where(self.done > 0, np.arange(len(self.phases)), -1)
        return frozen(reached.max(axis=1))

    def _since_origin(self, day: Floats) -> Floats:
        return np.asarray((day - self.found.origin) / UNIT_DAYS[self.unit])

    @property
    def so_far(self) -> Floats:
        """Time from the first activity of an open phase to the end of the study, of a stopped one to the stop."""
        until = np.where(self.status == STOPPED_HERE, self._stop[:, None], self._since_origin(self.found.last)[:, None])
        return frozen(np.where(np.isin(self.status, (OPEN, STOPPED_HERE)), until - self.first, np.nan))

    @property
    def _stop(self) -> Floats:
        return self._since_origin(self.found.stopped)

    def tidy(self) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a programme and phase: how it stands, what was done, from when to when, and how long it took.

        `duration` runs from the first to the last activity that was done; `so_far`, of phases that are not finished, to
        the end of the study or the day the programme stopped.
        """
        programmes, phases = len(self.found.programmes), len(self.phases)
        activities = np.where(self.activities > 0, self.activities, np.nan)
        columns = {
            "programme": np.repeat(_objects(self.found.programmes), phases),
            "group": np.repeat(_objects(self.groups)[self.found.group], phases),
            "phase": np.tile(_objects(self.phases), programmes),
            "status": _objects(STATUSES)[self.status.ravel()],
            "done": self.done.ravel(),
            "activities": self.activities.ravel(),
            "proportion": (self.done / activities).ravel(),
            "first": self.first.ravel(),
            "last": self.last.ravel(),
            "duration": (self.last - self.first).ravel(),
            "so_far": self.so_far.ravel(),
            "early": self.early.ravel(),
        }
        return pd.DataFrame(columns)

    def programmes(self) -> pd.DataFrame:
        """Return one row a programme: its furthest phase, what was done, how long it took, and when it stopped."""
        names = _objects((*self.phases, NOBODY_FURTHER))
        done, count = self.done.sum(axis=1), self.activities.sum(axis=1)
        first, last = np.fmin.reduce(self.first, axis=1), np.fmax.reduce(self.last, axis=1)
        columns = {
            "programme": list(self.found.programmes),
            "group": list(_objects(self.groups)[self.found.group]),
            "furthest": list(names[self.furthest]),
            "done": done,
            "activities": count,
            "proportion": done / count,
            "first": first,
            "last": last,
            "duration": last - first,
            "stop": self._stop,
            "early": self.early.sum(axis=1),
        }
        return pd.DataFrame(columns)

    def summary(self) -> pd.DataFrame:
        """Return one row a group and phase: how it stands in how many programmes, the mean share done, and durations.

        `duration` is the median time from the first to the last activity, with the quartiles, by Kaplan-Meier: phases
        that are open or stopped count as at least so long. Missing where so many are unfinished that it is not reached.
        """
        rows = [self._of_group(g, k) for g in range(len(self.groups)) for k in range(len(self.phases))]
        return pd.DataFrame(rows)

    def _of_group(self, g: int, k: int) -> dict[str, Any]:
        own = self.found.group == g
        status = self.status[own, k]
        count, done = self.activities[own, k], self.done[own, k]
        counts = {word.replace(" ", "_"): int((status == code).sum()) for code, word in enumerate(STATUSES)}
        low, middle, high = _quartiles((self.last - self.first)[own, k], self.so_far[own, k])
        return {
            "group": self.groups[g],
            "phase": self.phases[k],
            "programmes": int(own.sum()),
            **counts,
            "furthest": int((self.furthest[own] == k).sum()),
            "proportion": float((done[count > 0] / count[count > 0]).mean()) if (count > 0).any() else np.nan,
            "duration": middle,
            "duration_low": low,
            "duration_high": high,
        }

    def histories(self) -> pd.DataFrame:
        """Return one row a programme and stretch of time, for `state_occupation`: the furthest phase begun by then.

        After its stop a programme is in the state "stopped"; before its first activity, where `start=` was given, in
        "not begun". `next_state` is missing where nothing was seen to follow until the end of the study.

        Raises
        ------
        DataError
            Without dates or without `study_end=`.
        """
        return histories(self.found, self.first, UNIT_DAYS[self.unit])

    def glance(self) -> pd.DataFrame:
        """Return one row: programmes, their activities, how many were done, early, and how many programmes stopped."""
        done, count = int(self.done.sum()), int(self.activities.sum())
        columns = {
            "programmes": [len(self.found.programmes)],
            "activities": [count],
            "done": [done],
            "proportion": [done / count],
            "early": [int(self.early.sum())],
            "stopped": [int((~np.isnan(self.found.stopped)).sum())],
        }
        return pd.DataFrame(columns)

    def header(self) -> list[str]:
        """Return what was done in all, how far each group came, and what stands unfinished or out of order."""
        whole, call = self.glance().iloc[0], self.call
        since = "each programme's first activity" if call["start"] is None else str(call["start"])
        timed = f"; times in {self.unit} since {since}" if self.found.dated else ""
        lines = [
            f"Phases of implementation ({len(self.phases)}): {whole['programmes']:.0f} programmes did "
            f"{whole['done']:.0f} of {whole['activities']:.0f} activities ({100 * whole['proportion']:.0f} %){timed}"
        ]
        lines += [self._came(g) for g in range(len(self.groups))]
        return [*lines, *self._unfinished(), *self._disorder()]

    def _came(self, g: int) -> str:
        own = self.found.group == g
        reached = self.furthest[own]
        parts = [f"{label} {n}" for k, label in enumerate(self.phases) if (n := int((reached == k).sum()))]
        parts += [f"nothing done {n}"] if (n := int((reached < 0).sum())) else []
        stopped = int((~np.isnan(self.found.stopped[own])).sum())
        more = f"; {stopped} stopped" if stopped else ""
        name = name_of(self.groups[g], self.call["by"])
        return f"{name}: {int(own.sum())} programmes, by furthest phase: {', '.join(parts)}{more}"

    def _unfinished(self) -> Iterator[str]:
        counts = np.bincount(self.status.ravel(), minlength=len(STATUSES))
        if counts[OPEN]:
            yield f"open phases (unfinished, no later one begun, the programme not stopped): {counts[OPEN]}"
        if counts[STOPPED_HERE]:
            yield f"phases cut short by the programme's stop: {counts[STOPPED_HERE]}"
        if counts[PASSED] or counts[SKIPPED]:
            yield f"of phases before the furthest, {counts[PASSED]} were left unfinished and {counts[SKIPPED]} skipped"
        undated = int(((self.done > 0) & np.isnan(self.first)).sum()) if self.found.dated else 0
        if undated:
            yield f"phases whose activities were all done on unknown days, without a duration: {undated}"

    def _disorder(self) -> Iterator[str]:
        early = self.early.sum(axis=1)
        if early.any():
            some = int((early > 0).sum())
            whose = f"{early.sum()}, of {some} programme{'s' if some > 1 else ''}"
            yield f"activities done before one of an earlier phase: {whose}; counted, not corrected"
        absent = [str(phase) for phase, n in zip(self.phases, self.activities.sum(axis=0), strict=True) if not n]
        if absent:
            yield f"phases without any activity in the data: {', '.join(absent)}"
        count = self.activities.sum(axis=1)
        if count.min() < count.max():
            yield f"programmes have {count.min()} to {count.max()} activities; each share is of the programme's own"

    def _tables(self) -> dict[str, pd.DataFrame]:
        return super()._tables() | {"programmes": self.programmes(), "summary": self.summary()}

    def _shown(self) -> pd.DataFrame:
        table = self.summary()
        empty = [word for word in table.columns[3:9] if not table[word].any()]
        return table.drop(columns=[*empty, *([] if len(self.groups) > 1 else ["group"])])


def _objects(labels: Sequence[Any]) -> NDArray[Any]:
    out = np.empty(len(labels), dtype=object)
    out[:] = labels
    return out


def _quartiles(known: Floats, so_far: Floats) -> list[float]:
    """Return the quartiles of durations, those of unfinished phases being longer than they are so far."""
    ended = np.isnan(so_far) & ~np.isnan(known)
    length = np.where(ended, known, so_far)
    length, event = length[~np.isnan(length)], ended[~np.isnan(length)]
    if not len(length):
        return [np.nan] * 3
    # A phase of one activity takes no time: at risk from before 0.
    curve = kaplan_meier(np.full(len(length), -1.0), length, event.astype(np.intp), np.ones(len(length)))
    return [crossing(curve.time, curve.survival, share) for share in (0.25, 0.5, 0.75)]


def phase_progress(
    frame: pd.DataFrame,
    *,
    programme: Hashable,
    phase: Hashable,
    activity: Hashable,
    scheme: str | Sequence[Any],
    date: Hashable | None = None,
    done: Hashable | None = None,
    start: Any = None,
    stopped: Hashable | None = None,
    study_end: Any = None,
    by: Hashable | None = None,
    unit: str = "months",
) -> PhaseProgress:
    """How far has each programme come, how much of each phase did it do, and how long did that take?

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per programme and activity, those that were not done included: the shares are of them.
    programme, phase, activity : str
        Columns: whose activity it is, the phase that it belongs to (by name, or by number from 1), and its name.
    scheme : {"mip", "make-it-happen", "sic"} or list
        The phases in their order. mip: pre-implementation, implementation, sustainability. make-it-happen: onboarding,
        design, build, train, evaluate (the paper names the first, and tells what is done in the others). sic: the eight
        Stages of Implementation Completion. Or your own.
    date : str, optional
        Column with the day on which an activity was done: datetimes, dates, or text as YYYY-MM-DD; missing: not done.
    done : str, optional
        Column of 1 (done) and 0, where days are not known, or not of all: then a missing date says nothing.
    start : str or date, optional
        The day from which a programme's time counts, a column or one date; by default its first activity.
    stopped : str, optional
        Column with the day on which the programme gave up; missing: it did not.
    study_end : str or date, optional
        The last day on which it is known what was done, a column or one date: asked for if a phase is open. Today's
        date is never taken.
    by : str, optional
        Column with the groups of programmes.
    unit : {"months", "weeks", "days", "years"}
        Unit of times and durations; months of 30.4375 days, years of 365.25.

    Returns
    -------
    PhaseProgress
        `tidy()` has a row per programme and phase, `programmes()` per programme, `summary()` per group and phase;
        `histories()` goes to `state_occupation`, and `implstats.plot.phases` draws a line per programme.

    Raises
    ------
    DataError
        Phases that the scheme does not have, dates that cannot be read, an activity twice or after the programme's
        stop; all faults together, with rows.

    Notes
    -----
    The duration of a phase runs from its first to its last activity that was done, the proportion is activities done /
    activities, the furthest phase is the last in which anything was done (Chamberlain et al. 2011). A phase is complete
    (all done), passed (not all, and a later phase has begun), stopped (not all, and the programme stopped), open (not
    all, so far), skipped (nothing, and a later one has begun) or not begun. Phases may overlap, and activities may be
    done out of order: these are counted.

    References
    ----------
    Chamberlain, Brown & Saldana 2011, DOI 10.1186/1748-5908-6-116 (the eight stages). Make it Happen: DOI
    10.1186/s43058-024-00610-y.

    Examples
    --------
    >>> import pandas as pd
    >>> import implstats as ist
    >>> log = pd.DataFrame(
    ...     {
    ...         "programme": ["north"] * 4 + ["south"] * 4,
    ...         "phase": ["pre-implementation", "pre-implementation", "implementation", "sustainability"] * 2,
    ...         "activity": ["decided", "funded", "first patient", "own trainer"] * 2,
    ...         "day": ["2020-01-06", "2020-07-06", "2020-09-01", None, "2020-03-02", None, None, None],
    ...     }
    ... )
    >>> columns = {"programme": "programme", "phase": "phase", "activity": "activity", "date": "day"}
    >>> found = ist.phase_progress(log, **columns, scheme="mip", study_end="2020-12-31")
    >>> found.programmes()[["programme", "furthest", "proportion"]]
      programme            furthest  proportion
    0     north      implementation        0.75
    1     south  pre-implementation        0.25
    >>> found.tidy().loc[[0, 3], ["programme", "status", "duration", "so_far"]].round(2)
      programme    status  duration  so_far
    0     north  complete      5.98     NaN
    3     south      open      0.00    9.99
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    call |= {k: None if call[k] is None else str(call[k]) for k in ("start", "study_end")}
    faults = Faults()
    faults.ask(_check.one_of, "unit", unit, list(UNIT_DAYS))
    phases = faults.ask(named_phases, scheme)
    faults.settle()
    roles = ActivityRoles(programme, phase, activity, date, done, start, stopped, study_end, by)
    found = PhaseProgress(call, activities(frame, roles, phases, faults), unit)
    _end_is_known(found)
    return found


def _end_is_known(found: PhaseProgress) -> None:
    """Refuse open phases of which nobody said until when they are known to be open."""
    lost = ((found.status == OPEN) & np.isnan(found.found.last)[:, None]).any(axis=1)
    if found.found.dated and lost.any():
        names = [name for name, gone in zip(found.found.programmes, lost, strict=True) if gone]
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        raise DataError(
            f"study_end=None: a phase is open in {', '.join(map(show, names[:3]))}{more}; say the last day on which it "
            "is known what was done; today's date is never taken"
        )
