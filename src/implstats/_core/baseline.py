"""The hazard that a Cox model leaves unsaid: its baseline by stratum, and survival of a given profile with its error.

At covariates x the cumulative hazard is e^{x'b} L0(t); its variance is e^{2x'b} [sum h / denominator^2 + mu'V mu] with
mu = sum (x - mean) h / denominator over the steps up to t (Tsiatis 1981, DOI 10.1214/aos/1176345322).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implstats._core.cox import Model, State
from implstats._core.martingale import mean_steps
from implstats._core.risk import Ints

__all__ = ["Baseline", "baseline"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Baseline:
    """Running sums over the event times of each stratum, at the covariates' centre.

    Attributes
    ----------
    time, stratum : (K,) event times, stratum after stratum.
    hazard, variance : (K,) cumulative hazard, and its variance were the coefficients known.
    mean : (K, p) running sum of hazard x covariates' mean, on the scaled columns.
    center, scale : (p,) of the covariates.
    beta : (p,) coefficients of the scaled columns.
    """

    time: Floats
    stratum: Ints
    hazard: Floats
    variance: Floats
    mean: Floats
    center: Floats
    scale: Floats
    beta: Floats

    def at(self, X: Floats, stratum: Ints, times: Floats, vcov: Floats) -> tuple[Floats, Floats]:
        """Return the cumulative hazard of every profile at every time and its standard error, (m, q) each.

        Parameters
        ----------
        X, stratum : (m, p), (m,) profiles on the user's scale, and the stratum that each is in.
        times : (q,)
        vcov : (p, p) covariance of the coefficients, on the user's scale.
        """
        hazard, error = np.zeros((2, len(X), len(times)))
        V = vcov * np.outer(self.scale, self.scale)
        for m, x in enumerate((X - self.center) / self.scale):
            own = np.flatnonzero(self.stratum == stratum[m])
            reached = np.searchsorted(self.time[own], times, side="right")
            known = reached > 0
            k = own[reached[known] - 1]
            ratio = np.exp(x @ self.beta)
            mu = x * self.hazard[k, None] - self.mean[k]
            hazard[m, known] = ratio * self.hazard[k]
            error[m, known] = ratio * np.sqrt(self.variance[k] + np.einsum("kp,pq,kq->k", mu, V, mu))
        return hazard, error


def baseline(model: Model, state: State, beta: Floats) -> Baseline:
    """Return the baseline at coefficients beta (p,) of the scaled columns, where `state` is."""
    risk = model.risk
    # Hazards were computed with the largest log hazard ratio of each stratum taken off.
    unit = np.exp(-state.shift[risk.spans[:-1]])[np.searchsorted(risk.stratum[risk.spans[:-1]], risk.group_stratum)]
    parts = state.hazard * unit, state.second * (unit / state.S0) ** 2, mean_steps(model, state)[0] * unit[:, None]
    hazard, variance, mean = (np.zeros_like(part) for part in parts)
    for stratum in np.unique(risk.group_stratum):
        own = risk.group_stratum == stratum
        for part, total in zip(parts, (hazard, variance, mean), strict=True):
            total[own] = np.cumsum(part[own], axis=0)
    return Baseline(risk.time, risk.group_stratum, hazard, variance, mean, model.center, model.scale, beta)
