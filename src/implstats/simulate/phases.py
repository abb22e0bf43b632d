"""Implementations drawn from a scenario: when each programme did each activity of each phase, or gave up."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats._parallel import generators, seed_of
from implstats.errors import DataError
from implstats.simulate.parts import words
from implstats.simulate.phase_scenario import PhaseScenario

__all__ = ["simulate_phases"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# Every part is drawn from a generator of its own: another scenario with the same seed keeps the parts that it shares.
STARTED, WAITED, SKIPPED, SWAPPED, GAVE_UP = range(5)


def simulate_phases(scenario: PhaseScenario, *, rng: int | np.random.Generator | None = None) -> pd.DataFrame:
    """Show which activities a study would see done, and when, if this scenario were true.

    Parameters
    ----------
    scenario : PhaseScenario
        The programmes, their phases and activities, and what becomes of them.
    rng : None, int or numpy.random.Generator
        Source of randomness: a seed gives the same programmes again, None new ones each time.

    Returns
    -------
    pandas.DataFrame
        One row per programme and activity: programme (P01, ...), group, phase (its number from 1), activity (1a, 1b,
        ...), date (missing: not done by the closing day), stopped (the day on which the programme gave up; missing: it
        did not).

    Raises
    ------
    DataError
        If `scenario` is no PhaseScenario.

    Examples
    --------
    >>> from implstats.simulate import PHASES, simulate_phases
    >>> log = simulate_phases(PHASES, rng=2011)
    >>> log.groupby("group")["programme"].nunique().to_dict()
    {'alone': 20, 'coached': 20}
    """
    if not isinstance(scenario, PhaseScenario):
        kind = type(scenario).__name__
        raise DataError(f"scenario: a {kind} is not a PhaseScenario; make one with PhaseScenario(...)")
    seed = seed_of(rng)
    group = np.repeat(np.arange(len(scenario.programmes)), list(scenario.programmes.values()))
    phase = np.repeat(np.arange(len(scenario.phases)), scenario.activities)
    slower = np.array([scenario.slower.get(label, 1.0) for label in scenario.programmes])[group]
    began = _first_days(scenario, len(group), seed)
    day = began[:, None] + np.cumsum(_waits(scenario, phase, slower, seed), axis=1)
    stop, done = _given_up(scenario, phase, day, slower, seed)
    day = _swapped(scenario, phase, day, seed)
    first = np.diff(phase, prepend=-1) > 0
    done &= first | (generators(seed, SKIPPED).random(day.shape) >= scenario.skipping)
    closing = _day(scenario.closing)
    day = np.where(done & (day <= closing), day, np.nan)
    stop = np.where(stop <= closing, stop, np.nan)
    return _table(scenario, group, phase, day, stop)


def _day(text: str) -> float:
    return float((pd.Timestamp(text) - pd.Timestamp(0)).days)


def _first_days(scenario: PhaseScenario, n: int, seed: int) -> Floats:
    low, high = (_day(text) for text in scenario.accrual)
    return np.asarray(low + np.floor(generators(seed, STARTED).random(n) * (high - low + 1)))


def _waits(scenario: PhaseScenario, phase: Ints, slower: Floats, seed: int) -> Floats:
    """Return the whole days from the activity before to each activity; 0 for the very first."""
    mean = np.array(scenario.wait)[phase]
    chance = generators(seed, WAITED).standard_exponential((len(slower), len(phase)))
    days = np.maximum(np.ceil(chance * mean * slower[:, None]), 1.0)
    days[:, 0] = 0.0
    return np.asarray(days)


def _given_up(
    scenario: PhaseScenario, phase: Ints, day: Floats, slower: Floats, seed: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return the day on which each programme gives up, infinite if it does not, and what it has done by then."""
    count = np.array(scenario.activities)
    chance, share, pause = generators(seed, GAVE_UP).random((3, len(day), len(count)))
    gives_up = chance < np.array(scenario.stopping)
    row, where = np.arange(len(day)), gives_up.argmax(axis=1)
    some = 1 + np.floor(share[row, where] * np.maximum(count[where] - 1, 1)).astype(np.intp)
    number = np.where(gives_up.any(axis=1), np.append(0, np.cumsum(count))[where] + some, len(phase))
    rest = np.maximum(np.ceil(-np.log1p(-pause[row, where]) * np.array(scenario.wait)[where] * slower), 1.0)
    stop = np.where(gives_up.any(axis=1), day[row, number - 1] + rest, np.inf)
    return stop, np.arange(len(phase)) < number[:, None]


def _swapped(scenario: PhaseScenario, phase: Ints, day: Floats, seed: int) -> Floats:
    """Return the days after some neighbours on both sides of a phase's end have changed places."""
    ends = np.flatnonzero(np.diff(phase) > 0)
    out = day.copy()
    swap = generators(seed, SWAPPED).random((len(day), len(ends))) < scenario.early
    # The very first activity stays first: it is the programme's origin.
    for end, which in zip(ends[ends > 0], swap[:, ends > 0].T, strict=True):
        out[which, end], out[which, end + 1] = out[which, end + 1], out[which, end].copy()
    return out


def _table(scenario: PhaseScenario, group: Ints, phase: Ints, day: Floats, stop: Floats) -> pd.DataFrame:
    n, width = len(group), max(len(str(len(group))), 2)
    number = np.concatenate([np.arange(k) for k in scenario.activities])
    names = [f"{k + 1}{_letters(i)}" for k, i in zip(phase, number, strict=True)]
    return pd.DataFrame(
        {
            "programme": np.repeat([f"P{m + 1:0{width}d}" for m in range(n)], len(phase)),
            "group": np.repeat(words(list(scenario.programmes), group), len(phase)),
            "phase": np.tile(phase + 1, n),
            "activity": np.tile(names, n),
            "date": _dates(day.ravel()),
            "stopped": _dates(np.repeat(stop, len(phase))),
        }
    )


def _dates(day: Floats) -> NDArray[np.datetime64]:
    """Return days since 1970-01-01 as dates; nan is no date."""
    known = ~np.isnan(day)
    out = np.full(len(day), np.datetime64("NaT", "D"))
    out[known] = day[known].astype(np.int64).astype("datetime64[D]")
    return out.astype("datetime64[ns]")


def _letters(i: int) -> str:
    """Return a, b, ..., z, aa, ab, ... for 0, 1, ..."""
    return (_letters(i // 26 - 1) if i >= 26 else "") + chr(ord("a") + i % 26)
