"""What is asked at some times: the times themselves, who is at risk then, and round ones where nobody asked."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implstats import _check
from implstats.design.spells import Spells
from implstats.errors import DataError

__all__ = ["asked", "at_risk", "round_times"]

Floats = NDArray[np.float64]


def asked(times: Any, argument: str = "times") -> Floats:
    """Return times as a sorted array of distinct numbers, none of them negative."""
    values = _check.at(times, argument)
    if values[0] < 0:
        raise DataError(f"{argument}={_check.show(values[0])}: negative; time counts from the start")
    return np.array(values)


def at_risk(found: Spells, group: int, times: Floats) -> Floats:
    """Return the weight of a group that has entered before each time (at 0: by then) and has not left before it."""
    own = found.group == group
    entry, exit_, weight = found.entry[own], found.exit[own], found.weight[own]
    came, left = np.argsort(entry, kind="stable"), np.argsort(exit_, kind="stable")
    entered = np.concatenate([[0.0], np.cumsum(weight[came])])
    gone = np.concatenate([[0.0], np.cumsum(weight[left])])
    by_then = np.searchsorted(entry[came], times, side="right")
    inside = np.where(times == 0, by_then, np.searchsorted(entry[came], times, side="left"))
    return np.asarray(entered[inside] - gone[np.searchsorted(exit_[left], times, side="left")])


def round_times(last: float) -> list[float]:
    """Return the multiples of a round step, four to ten of them, up to the last time."""
    power = 10.0 ** math.floor(math.log10(last / 4))
    size = max(k for k in (1, 2, 2.5, 5) if k * power <= last / 4)
    return [round(size * power * k, 12) for k in range(1, int(last / (size * power) + 1e-9) + 1)]
