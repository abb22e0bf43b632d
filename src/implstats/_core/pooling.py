"""Estimates of several studies: how far their truths are spread, by what the sampling errors leave unexplained."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

__all__ = ["generalised_q", "moments", "profile", "share", "typical"]

Floats = NDArray[np.float64]


def generalised_q(tau2: float, y: Floats, v: Floats) -> float:
    """Return the weighted sum of squares around the pooled mean, chi-square with k - 1 df at the true tau^2."""
    w = 1 / (v + tau2)
    return float(w @ (y - (w @ y) / w.sum()) ** 2)


def moments(y: Floats, v: Floats) -> float:
    """Return DerSimonian & Laird's tau^2 (1986, DOI 10.1016/0197-2456(86)90046-2), 0 where it would be negative."""
    w = 1 / v
    return max(0.0, float((generalised_q(0.0, y, v) - (len(y) - 1)) / (w.sum() - (w @ w) / w.sum())))


def solved(target: float, y: Floats, v: Floats) -> float:
    """Return the tau^2 at which the generalised Q has come down to a target, 0 where it starts below."""
    if generalised_q(0.0, y, v) <= target:
        return 0.0
    # Q is at most this even if every mean were the worst, so the root lies below.
    high = float(((y - y.mean()) ** 2).sum()) / target
    return float(optimize.brentq(lambda t: generalised_q(t, y, v) - target, 0.0, high, xtol=1e-14 * high, rtol=1e-14))


def profile(y: Floats, v: Floats, level: float) -> tuple[float, float, float]:
    """Return Paule & Mandel's tau^2 and its Q-profile interval (Viechtbauer 2007, DOI 10.1002/sim.2514)."""
    df, tail = len(y) - 1, (1 - level) / 2
    low, high = (float(special.chdtri(df, p)) for p in (tail, 1 - tail))
    return solved(df, y, v), solved(low, y, v), solved(high, y, v)


def typical(v: Floats) -> float:
    """Return the sampling variance of a typical study (Higgins & Thompson 2002, DOI 10.1002/sim.1186)."""
    w = 1 / v
    return float((len(v) - 1) * w.sum() / (w.sum() ** 2 - w @ w))


def share(tau2: float, v: Floats) -> float:
    """Return I^2, the share of a typical study's variance that is not sampling error."""
    return tau2 / (tau2 + typical(v)) if math.isfinite(tau2) else 1.0
