"""Events per time at risk: how often the event happens in each stretch of time, among those who are still at risk."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats.design.spells import Spells
from implstats.errors import DataError
from implstats.survival.times import asked, round_times

__all__ = ["rates_between", "stretches"]

Floats = NDArray[np.float64]

# More whole units of time than this are too many to tell apart; round steps take their place.
MOST_STRETCHES = 40


def stretches(breaks: Any, last: float) -> Floats:
    """Return the times between which events are counted; without any, whole units of time up to the last one."""
    if breaks is None:
        size = 1.0 if 1 < last <= MOST_STRETCHES else round_times(last)[0]
        return np.asarray(size * np.arange(math.ceil(last / size - 1e-9) + 1))
    given = asked(breaks, "breaks")
    if len(given) < 2:
        raise DataError(f"breaks={_check.show(given[0])}: one time bounds no stretch of time; write breaks=[0, 1, 2]")
    if given[0] >= last:
        shown = _check.show(given.tolist())
        raise DataError(f"breaks={shown}: nobody was at risk then; the last time is {_check.show(last)}")
    return given


def rates_between(found: Spells, group: int, breaks: Floats, level: float) -> pd.DataFrame:
    """Return events, time at risk and their ratio with its interval, of one group between each two breaks.

    At risk just after a break: entered by then, and gone later.
    """
    own = found.group == group
    entry, exit_, weight = found.entry[own], found.exit[own], found.weight[own]
    between = list(pairwise(breaks.tolist()))
    place, size = np.searchsorted(breaks, exit_) - 1, len(between)
    seen = (found.event[own] > 0) & (place >= 0) & (place < size)
    events, squares = (np.bincount(place[seen], weight[seen] ** power, size).astype(float) for power in (1, 2))
    exposure = np.array([weight @ (np.clip(exit_, a, b) - np.clip(entry, a, b)) for a, b in between])
    heaviest = np.array([weight.max(where=(entry < b) & (exit_ > a), initial=0.0) for a, b in between])
    if not (weight != np.floor(weight)).any():
        squares, heaviest = events, np.ones(size)
    low, high = poisson_ends(events, squares, heaviest, level)
    table = {
        "start": breaks[:-1],
        "end": breaks[1:],
        "at_risk": np.array([weight.sum(where=(entry <= a) & (exit_ > a)) for a, _ in between]),
        "events": events,
        "exposure": exposure,
    }
    some = np.where(exposure > 0, exposure, np.nan)
    return pd.DataFrame(table | {"estimate": events / some, "conf_low": low / some, "conf_high": high / some})


def poisson_ends(events: Floats, squares: Floats, heaviest: Floats, level: float) -> tuple[Floats, Floats]:
    """Return both ends for the expected sum of weights of events, from that sum and the sum of squared weights.

    Fay and Feuer's gamma interval; where every weight is 1 it is Garwood's exact one of a Poisson count.
    """
    tail = (1 - _check.level(level)) / 2
    some = np.where(events > 0, events, 1.0)
    spread = np.where(events > 0, squares, 1.0)
    low = np.where(events > 0, spread / some * special.gammaincinv(some**2 / spread, tail), 0.0)
    more, wider = events + heaviest, squares + heaviest**2
    there = heaviest > 0
    more, wider = np.where(there, more, 1.0), np.where(there, wider, 1.0)
    return low, np.asarray(wider / more * special.gammaincinv(more**2 / wider, 1 - tail))
