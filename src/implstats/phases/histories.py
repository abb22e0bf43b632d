"""From dated activities to histories: in which phase each programme was from when to when, and when it stopped."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats.errors import DataError
from implstats.phases.activities import Activities
from implstats.phases.schemes import NOT_BEGUN, STOPPED

__all__ = ["histories"]

Floats = NDArray[np.float64]

COLUMNS = ["programme", "group", "state", "start", "stop", "next_state"]


def histories(found: Activities, first: Floats, unit_days: float) -> pd.DataFrame:
    """Return one row a programme and stretch of time; `first` is when each phase of each programme began."""
    if not found.dated or np.isnan(found.last).any():
        missing = "study_end" if found.dated else "date"
        raise DataError(f"{missing}=None: who is in which phase until when is not known; say it in phase_progress")
    rows = []
    for m, programme in enumerate(found.programmes):
        whose = (programme, found.groups[found.group[m]])
        end, stop = ((day[m] - found.origin[m]) / unit_days for day in (found.last, found.stopped))
        if np.isnan(end):  # nothing was done, and nobody said when its time began
            rows.append((*whose, NOT_BEGUN, np.nan, np.nan, None))
        else:
            rows += [(*whose, *stretch) for stretch in _stretches(_steps(found.phases, first[m], stop), end)]
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.assign(state=pd.Categorical(table["state"], categories=[NOT_BEGUN, *found.phases, STOPPED]))


def _steps(phases: tuple[Any, ...], first: Floats, stop: float) -> list[tuple[float, Any]]:
    """Return when each state began, in order: a phase that begins after a later one has begun is no step back."""
    moves = sorted((float(t), k) for k, t in enumerate(first) if not np.isnan(t))
    steps: list[tuple[float, Any]] = [] if moves and moves[0][0] == 0 else [(0.0, NOT_BEGUN)]
    furthest = -1
    for t, k in moves:
        if k > furthest:
            steps, furthest = [*_before(steps, t), (t, phases[k])], k
    return steps if np.isnan(stop) else [*_before(steps, stop), (stop, STOPPED)]


def _before(steps: list[tuple[float, Any]], t: float) -> list[tuple[float, Any]]:
    """Return the steps before a time: of two at the same time the later phase counts."""
    return [step for step in steps if step[0] < t]


def _stretches(steps: list[tuple[float, Any]], end: float) -> Iterator[tuple[Any, float, float, Any]]:
    """Yield state, start, stop and what followed."""
    for (t, state), (until, then) in zip(steps, [*steps[1:], (end, None)], strict=True):
        if until > t:
            yield state, float(t), float(until), then
