"""E-values: how strongly something unmeasured must go with exposure and outcome to explain an association away."""

from __future__ import annotations

import math

__all__ = ["e_value", "risk_ratio", "stands_for"]


def risk_ratio(hazard_ratio: float) -> float:
    """Return the risk ratio that a hazard ratio stands for when the outcome is common, inverted where it is below 1.

    VanderWeele 2017, DOI 10.1007/s10654-017-0337-0.
    """
    ratio = max(hazard_ratio, 1 / hazard_ratio)
    return math.expm1(-math.sqrt(ratio) * math.log(2)) / math.expm1(-math.sqrt(1 / ratio) * math.log(2))


def e_value(risk_ratio: float) -> float:
    """Return the E-value of a risk ratio of at least 1 (VanderWeele & Ding 2017, DOI 10.7326/M16-2607)."""
    return risk_ratio + math.sqrt(risk_ratio * (risk_ratio - 1))


def stands_for(estimate: float, kind: str, *, common: bool) -> float:
    """Return the risk ratio of at least 1 that an estimate stands for, inverted where it is protective.

    An odds ratio of a common outcome by its square root, a standardised difference by exp(.91 d) (VanderWeele & Ding
    2017); ratios of a rare outcome are taken for risk ratios.
    """
    if kind == "d":
        return math.exp(0.91 * abs(estimate))
    if kind == "hazard_ratio" and common:
        return risk_ratio(estimate)
    ratio = max(estimate, 1 / estimate)
    return math.sqrt(ratio) if kind == "odds_ratio" and common else ratio
