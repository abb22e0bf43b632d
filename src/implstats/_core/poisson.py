"""Exact intervals of Poisson rates and of their ratios."""

from __future__ import annotations

import math

from scipy import special

__all__ = ["rate_interval", "ratio_interval"]


def rate_interval(events: float, exposure: float, level: float) -> tuple[float, float]:
    """Return the exact interval of a Poisson rate (Garwood 1936); its lower end is 0 without events."""
    tail = (1 - level) / 2
    low = special.gammaincinv(events, tail) if events else 0.0
    return float(low) / exposure, float(special.gammainccinv(events + 1, tail)) / exposure


def ratio_interval(events: float, exposure: float, other: float, of: float, level: float) -> tuple[float, float]:
    """Return the exact interval of a ratio of rates, from the binomial of one count given the sum of both.

    Given all events, those of the first cohort are binomial with odds ratio x exposure / of; Clopper and Pearson's
    ends of that probability become ends of the ratio. Without events in one of them it is open at one side.
    """
    tail, odds = (1 - level) / 2, of / exposure
    low, high = 0.0, math.inf
    if events:
        p = float(special.betaincinv(events, other + 1, tail))
        low = p / (1 - p) * odds
    if other:
        p = float(special.betainccinv(events + 1, other, tail))
        high = p / (1 - p) * odds
    return low, high
