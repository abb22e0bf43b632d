"""Numbers about residuals and influence put into words: what is marked is named, and nothing is called proven."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy  # Its stats take half a second to load, which waits until they are asked for.
from numpy.typing import NDArray
from scipy import special

__all__ = ["FEWEST", "Reading", "answered", "funnel", "furthest", "moved", "normality", "spreads"]

Floats = NDArray[np.float64]

# The bars; `diagnose` says what each stands for.
SKEWED = 0.5
TAILS = 1.0
STRAIGHT = 0.98
UNEQUAL = 1.5
FUNNEL = 0.2
ELLIPSOID = 0.10
CHANCE = 2.0
FEWEST = 5
NAMED = 3


@dataclass(frozen=True, slots=True)
class Reading:
    """One number and what it says; the fields are the columns of the table."""

    kind: str
    quantity: str
    n: int
    statistic: float
    threshold: float
    marked: bool
    reading: str


def _judged(
    name: tuple[str, str], n: int, statistic: float, bar: float, chance: float, words: tuple[str, str]
) -> Reading:
    """Return a reading that is marked if the number lies beyond its bar and beyond what chance reaches."""
    marked = abs(statistic) > max(bar, chance)
    said = words[0] if marked else words[1]
    if not marked and chance > bar:
        said = f"{n} values are too few to tell: chance alone reaches {chance:.2g}"
    return Reading(*name, n, statistic, max(bar, chance), bool(marked), said)


def normality(kind: str, what: str, values: Floats) -> list[Reading]:
    """Return skewness, tails and straightness of values that a normal distribution is assumed of."""
    n = len(values)
    skewness, tails = float(scipy.stats.skew(values)), float(scipy.stats.kurtosis(values))
    side = "right" if skewness > 0 else "left"
    weight = "heavy tails: more" if tails > 0 else "light tails: fewer"
    seen = f"was seen in {n} {what}, which does not prove"
    sides = (f"skewed to the {side}", f"no marked skewness {seen} symmetry")
    ends = (f"{weight} far values than a normal distribution has", f"no marked weight of the tails {seen} normality")
    return [
        _judged((kind, "skewness"), n, skewness, SKEWED, CHANCE * math.sqrt(6 / n), sides),
        _judged((kind, "excess kurtosis"), n, tails, TAILS, CHANCE * math.sqrt(24 / n), ends),
        _straightness(kind, values, f"no marked departure {seen} normality"),
    ]


def _straightness(kind: str, values: Floats, none: str) -> Reading:
    n, straight = len(values), float(scipy.stats.probplot(values)[1][2])
    # What one normal sample in 20 falls below; a curve through simulated samples of 10 to 1000.
    chance = 1 - (0.6 + 0.15 * math.log(n)) / n
    threshold = min(STRAIGHT, chance)
    if straight < threshold:
        none = "bends away from the normal distribution"
    elif chance < STRAIGHT:
        none = f"{n} values are too few to tell: chance alone goes down to {chance:.3f}"
    return Reading(kind, "quantile correlation", n, straight, threshold, straight < threshold, none)


def spreads(kind: str, by: str, groups: Sequence[tuple[Any, int, float]]) -> Reading:
    """Return the largest SD of any group (level, n, SD) over the smallest."""
    low, high = min(groups, key=lambda g: g[2]), max(groups, key=lambda g: g[2])
    pairs = len(groups) * (len(groups) - 1) // 2
    # Of all pairs of groups the most unequal is shown, so chance has as many tries.
    error = math.sqrt(sum(1 / (2 * (n - 1)) for _, n, _ in (low, high)))
    chance = math.exp(float(special.ndtri(1 - 0.025 / pairs)) * error)
    words = f"SD {high[2]:.2f} ({by} {high[0]}), {low[2]:.2f} ({by} {low[0]})"
    n = sum(count for _, count, _ in groups)
    none = f"no marked difference was seen in {n} residuals, which does not prove equal spread: {words}"
    return _judged(
        (kind, f"SD ratio by {by}"), n, high[2] / low[2], UNEQUAL, chance, (f"unequal spread: {words}", none)
    )


def funnel(kind: str, values: Floats, fitted: Floats) -> Reading:
    """Return the rank correlation of the size of residuals with the fitted value."""
    n, correlation = len(values), float(scipy.stats.spearmanr(np.abs(values), fitted).statistic)
    more = "larger" if correlation > 0 else "smaller"
    none = f"no marked funnel was seen in {n} residuals, which does not prove constant variance"
    words = (f"residuals are the larger, the {more} the fitted value", none)
    return _judged((kind, "size with fitted value"), n, correlation, FUNNEL, CHANCE / math.sqrt(n - 1), words)


def furthest(kind: str, values: Floats, names: NDArray[Any]) -> Reading:
    """Return the value furthest from zero, and how far that of normal values would be."""
    n, k = len(values), int(np.abs(values).argmax())
    reach = float(special.ndtri(1 - 0.025 / n))
    where = f"{names[k]} is {abs(values[k]):.1f} SDs {'above' if values[k] > 0 else 'below'} what is expected"
    normal = f"in one of 20 samples of {n} normal values one lies beyond {reach:.1f}"
    return _judged((kind, "largest"), n, float(values[k]), reach, 0.0, (f"{where}; {normal}",) * 2)


def moved(group: str, names: Sequence[str], distance: Floats, p: int) -> Reading:
    """Return who moves the p fixed effects most, and how far into their confidence region."""
    n, bar = int((~np.isnan(distance)).sum()), float(special.chdtri(p, 1 - ELLIPSOID)) / p
    if not n:
        return Reading(group, "Cook's distance", 0, math.nan, bar, False, f"without any {group} no model can be fitted")
    top = np.argsort(np.where(np.isnan(distance), math.inf, -distance), kind="stable")[: min(NAMED, n)]
    largest = float(distance[top[0]])
    who = ", ".join(f"{names[k]} ({distance[k]:.2g})" for k in top)
    edge = f"{100 * special.chdtr(p, p * largest):.2g} % confidence region"
    words = f"the fixed effects move most without {group} {who}; without the first, to the edge of their {edge}"
    words += f"; {len(distance) - n} could not be left out" if n < len(distance) else ""
    return Reading(group, "Cook's distance", n, largest, bar, largest > bar, words)


def answered(group: str, names: Sequence[str], whole: str, share: float, without: Floats, error: float) -> Reading:
    """Return how far a cohort's improvement retained moves when one is left out; `whole` says whose and when."""
    change = without - share
    largest = float(change[np.nanargmax(np.abs(change))])
    ends = [
        f"{100 * without[k]:.0f} % (without {names[k]})"
        for k in (int(np.nanargmin(without)), int(np.nanargmax(without)))
    ]
    words = f"{whole} kept {100 * share:.0f} %; with one {group} left out, {ends[0]} to {ends[1]}"
    n = int((~np.isnan(without)).sum())
    words += f"; for {len(without) - n} of {len(without)} no share can be named" if n < len(without) else ""
    return Reading(group, "improvement retained", n, largest, error, abs(largest) > error, words)
