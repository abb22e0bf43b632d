"""Numbers about residuals put into words: what is marked is named, and what is not is never called proven."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

__all__ = ["FEWEST", "Reading", "funnel", "furthest", "judged", "normality", "spreads"]

Floats = NDArray[np.float64]

SKEWED = 0.5
TAILS = 1.0
STRAIGHT = 0.98
UNEQUAL = 1.5
FUNNEL = 0.2
CHANCE = 2.0
FEWEST = 5


@dataclass(frozen=True, slots=True)
class Reading:
    """One number about one kind of residual; the fields are the columns of the table."""

    kind: str
    quantity: str
    n: int
    statistic: float
    threshold: float
    marked: bool
    reading: str


def judged(
    kind: str, quantity: str, n: int, statistic: float, bar: float, chance: float, departure: str, none: str
) -> Reading:
    """Return a reading that is marked if the statistic lies beyond the bar and beyond what chance reaches."""
    marked = abs(statistic) > max(bar, chance)
    if not marked and chance > bar:
        none = f"{n} values are too few to tell: chance alone reaches {chance:.2g}"
    return Reading(kind, quantity, n, statistic, max(bar, chance), bool(marked), departure if marked else none)


def normality(kind: str, what: str, values: Floats) -> list[Reading]:
    """Return skewness, tails and straightness of values that a normal distribution is assumed of."""
    n = len(values)
    skewness, tails = float(stats.skew(values)), float(stats.kurtosis(values))
    straight = float(stats.probplot(values)[1][2])
    side = "right" if skewness > 0 else "left"
    weight, more = ("heavy", "more") if tails > 0 else ("light", "fewer")
    unproven = f"in {n} {what}, which does not prove"
    found = [
        judged(
            kind,
            "skewness",
            n,
            skewness,
            SKEWED,
            CHANCE * math.sqrt(6 / n),
            f"skewed to the {side}",
            f"no marked skewness was seen {unproven} symmetry",
        ),
        judged(
            kind,
            "excess kurtosis",
            n,
            tails,
            TAILS,
            CHANCE * math.sqrt(24 / n),
            f"{weight} tails: {more} far values than a normal distribution has",
            f"no marked lightness or heaviness of the tails was seen {unproven} normality",
        ),
    ]
    # What one sample of normal values in 20 falls below, found by simulation for n from 10 to 1000.
    chance = 1 - (0.6 + 0.15 * math.log(n)) / n
    threshold = min(STRAIGHT, chance)
    words = f"no marked departure was seen {unproven} normality"
    if chance < STRAIGHT:
        words = f"{n} values are too few to tell: chance alone goes down to {chance:.3f}"
    if straight < threshold:
        words = "bends away from the normal distribution"
    found.append(Reading(kind, "quantile correlation", n, straight, threshold, straight < threshold, words))
    return found


def spreads(kind: str, by: str, groups: Sequence[tuple[Any, int, float]]) -> Reading:
    """Return the largest SD of any group (level, n, SD) over the smallest, with the words for it."""
    ordered = sorted(groups, key=lambda group: group[2])
    (low, n_low, small), (high, n_high, large) = ordered[0], ordered[-1]
    ratio, pairs = large / small, len(list(combinations(groups, 2)))
    # Of all pairs of groups the most unequal is shown.
    quantile = float(special.ndtri(1 - 0.025 / pairs))
    chance = math.exp(quantile * math.sqrt(1 / (2 * (n_low - 1)) + 1 / (2 * (n_high - 1))))
    words = f"SD {large:.2f} at {by} {high}, {small:.2f} at {by} {low}"
    n = sum(count for _, count, _ in groups)
    return judged(
        kind,
        f"SD ratio by {by}",
        n,
        ratio,
        UNEQUAL,
        chance,
        f"unequal spread: {words}",
        f"no marked difference was seen in {n} values, which does not prove equal spread: {words}",
    )


def funnel(kind: str, values: Floats, fitted: Floats) -> Reading:
    """Return the rank correlation of the size of residuals with the fitted value."""
    n = len(values)
    correlation = float(stats.spearmanr(np.abs(values), fitted).statistic)
    more = "larger" if correlation > 0 else "smaller"
    return judged(
        kind,
        "correlation of size with fitted",
        n,
        correlation,
        FUNNEL,
        CHANCE / math.sqrt(n - 1),
        f"residuals are the larger, the {more} the fitted value",
        f"no marked funnel was seen in {n} values, which does not prove constant variance",
    )


def furthest(kind: str, values: Floats, names: Sequence[str]) -> Reading:
    """Return the value furthest from zero, and how far that of normal values would be."""
    n, k = len(values), int(np.abs(values).argmax())
    reach = float(special.ndtri(1 - 0.025 / n))
    side = "above" if values[k] > 0 else "below"
    size = f"{names[k]} is {abs(values[k]):.1f} SDs {side} what is expected"
    normal = f"of {n} normal values one lies beyond {reach:.1f} in a sample of 20"
    return judged(
        kind, "largest", n, float(values[k]), reach, 0.0, f"{size}; {normal}", f"{size}, which is not unusual: {normal}"
    )
