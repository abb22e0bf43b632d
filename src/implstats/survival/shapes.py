"""What the shape of a fitted distribution says about the hazard over time, in one sentence."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import special

from implstats._core.parametric import Family

__all__ = ["hazard_over", "shape_in_words", "turning_points"]

Floats = NDArray[np.float64]

GRID = 2001
# Rises and falls of the hazard by less than this share are not told.
TOLD = 0.01
AT_MEAN = "at the terms' means over the events"


def shape_in_words(
    distribution: str, family: Family, shape: Floats, covariance: Floats, seen: tuple[float, float]
) -> list[str]:
    """Return a sentence about the hazard between the first and the last event, with the shape's 95% interval."""
    course = _course(family, shape, seen)
    if distribution == "spline":
        return [f"hazard {AT_MEAN}, between the first and the last event: {course}"]
    if distribution == "log-normal":
        return [f"a log-normal hazard always rises and then falls; between the first and the last event it {course}"]
    half = special.ndtri(0.975) * math.sqrt(covariance[1, 1])
    k, low, high = (math.exp(-shape[1] + side) for side in (0.0, -half, half))
    said = f"shape (1 / scale) {k:.3g}, 95% interval {low:.3g} to {high:.3g}"
    if distribution == "weibull":
        means = "the hazard rises over time" if low > 1 else "the hazard falls over time" if high < 1 else ""
        return [f"{said}: {means or 'it holds 1, at which the hazard neither rises nor falls'}"]
    means = "the hazard rises and then falls" if low > 1 else "the hazard falls from the start" if high < 1 else ""
    open_ = "it holds 1, below which the hazard falls from the start, and above which it rises first"
    return [f"{said}: {means or open_}; {AT_MEAN}, between the first and the last event, it {course}"]


def hazard_over(family: Family, shape: Floats, time: Floats) -> Floats:
    """Return the hazard where columns have their mean."""
    u = np.log(time)
    return np.exp(family.log_density(u, shape).value - family.log_survival(u, shape).value) / time


def turning_points(time: Floats, hazard: Floats) -> list[tuple[float, bool]]:
    """Return where the hazard stops to rise (True) or to fall (False), turns too small to tell left out."""
    points: list[tuple[float, bool]] = []
    extreme, where, rising = hazard[0], time[0], None
    for t, h in zip(time, hazard, strict=True):
        if rising is None and abs(h - extreme) > TOLD * extreme:
            rising = bool(h > extreme)
        if rising is None or (h >= extreme) == rising:
            extreme, where = (h, t) if rising is not None else (extreme, where)
        elif abs(h - extreme) > TOLD * extreme:
            points.append((float(where), rising))
            extreme, where, rising = h, t, not rising
    return [*points, (float(time[-1]), bool(rising))] if rising is not None else []


def _course(family: Family, shape: Floats, seen: tuple[float, float]) -> str:
    """Return how the hazard runs between two times: `rises until 3.2, falls until 10`."""
    time = np.geomspace(seen[0], seen[1], GRID) if seen[1] > seen[0] else np.array([seen[0]])
    turns = turning_points(time, hazard_over(family, shape, time))
    if not turns:
        return "stays much the same"
    return ", ".join(f"{'rises' if rising else 'falls'} until {t:.3g}" for t, rising in turns)
