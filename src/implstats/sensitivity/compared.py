"""Cohorts' improvements and their covariance, turned into rows: a change, a difference, what is retained."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implstats.growth.retained import fieller
from implstats.results import intervals, p_values

__all__ = ["combination", "retained"]

Floats = NDArray[np.float64]


def combination(
    weights: Floats, change: Floats, covariance: Floats, df: Callable[[Floats], float], level: float
) -> dict[str, Any]:
    """Return estimate, error, df, test and interval of one linear combination of changes (cohorts,)."""
    estimate, error = float(weights @ change), math.sqrt(weights @ covariance @ weights)
    freedom = np.array([df(weights)])
    low, high = intervals(np.array([estimate]), np.array([error]), freedom, level)
    p = p_values(np.array([estimate / error]), freedom)
    row = {"estimate": estimate, "std_error": error, "df": float(freedom[0]), "p_value": float(p[0])}
    return row | {"conf_low": float(low[0]), "conf_high": float(high[0]), "set": "bounded"}


def retained(k: int, change: Floats, covariance: Floats, df: Callable[[Floats], float], level: float) -> dict[str, Any]:
    """Return the share of the first cohort's change that cohort k keeps, with its Fieller set."""
    top, below = float(change[k]), float(change[0])
    if below <= 0:
        names = ("estimate", "std_error", "df", "p_value", "conf_low", "conf_high")
        return dict.fromkeys(names, math.nan) | {"set": "none"}
    weights = np.eye(len(change))[k] - top / below * np.eye(len(change))[0]
    freedom = df(weights)
    t = float(intervals(np.zeros(1), np.ones(1), np.array([freedom]), level)[1][0])
    shape, low, high = fieller(top, below, covariance[k, k], covariance[k, 0], covariance[0, 0], t)
    row = {"estimate": top / below, "std_error": math.sqrt(weights @ covariance @ weights) / below, "df": freedom}
    return row | {"p_value": math.nan, "conf_low": low, "conf_high": high, "set": shape}
