"""Cohorts' improvements and their covariance, turned into rows: a change, a difference, what is retained."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implstats.growth.retained import fieller
from implstats.results import intervals, p_values

__all__ = ["apart", "combination", "retained"]

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
    weights = _minus(k, top / below, len(change))
    freedom = df(weights)
    t = _quantile(freedom, level)
    shape, low, high = fieller(top, below, covariance[k, k], covariance[k, 0], covariance[0, 0], t)
    row = {"estimate": top / below, "std_error": math.sqrt(weights @ covariance @ weights) / below, "df": freedom}
    return row | {"p_value": math.nan, "conf_low": low, "conf_high": high, "set": shape}


def apart(
    k: int, quantity: str, change: Floats, covariance: Floats, df: Callable[[Floats], float], level: float
) -> tuple[float, float]:
    """Return the ends of how much more cohort k changes than the first, by the degrees of freedom of a quantity.

    With those of "retained", 0 lies between them just where 1 is in the Fieller set, whatever its shape.
    """
    weights = of = _minus(k, 1.0, len(change))
    if quantity == "retained":
        if change[0] <= 0:
            return math.nan, math.nan
        of = _minus(k, float(change[k] / change[0]), len(change))
    reach = _quantile(df(of), level) * math.sqrt(weights @ covariance @ weights)
    return float(weights @ change) - reach, float(weights @ change) + reach


def _minus(k: int, share: float, cohorts: int) -> Floats:
    """Return the weights of cohort k's change less a share of the first one's."""
    weights = np.zeros(cohorts)
    weights[k], weights[0] = 1.0, -share
    return weights


def _quantile(df: float, level: float) -> float:
    return float(intervals(np.zeros(1), np.ones(1), np.array([df]), level)[1][0])
