"""What a Cox model leaves unexplained: martingale, deviance, score and Schoenfeld residuals, and the robust covariance.

Lin & Wei 1989 (DOI 10.1080/01621459.1989.10478874): a row's score residual is what it adds to the score in its own
event, less what it took part in while it was at risk. Both are differences of running sums over the event times, so
all of them cost O(n p).
"""

from __future__ import annotations

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

from implstats._core.cox import Model, State
from implstats._core.risk import Ints, tally

__all__ = ["cluster_sums", "deviance", "martingale", "mean_steps", "sandwich", "schoenfeld", "score_residuals"]

Floats = NDArray[np.float64]


def martingale(model: Model, state: State) -> Floats:
    """Return events less expected events of the caller's rows, (N,)."""
    return model.risk.to_rows(model.risk.event - state.r * state.A)


def deviance(residual: Floats, event: NDArray[np.bool_]) -> Floats:
    """Return martingale residuals made more symmetric (Therneau, Grambsch & Fleming 1990, 10.1093/biomet/77.1.147)."""
    expected = event - residual
    gain = np.where(event, -np.log(np.where(event, expected, 1.0)), 0.0)
    return np.asarray(np.sign(residual) * np.sqrt(np.maximum(2 * (gain - residual), 0.0)))


def mean_steps(state: State) -> tuple[Floats, Floats]:
    """Return the sums over a group's steps of (h / denominator) mean, times 1 and times f: (K, p) each."""
    one, f, ff = (state.second / state.S0)[:, :, None]
    if state.N is None:
        return one * state.M, np.zeros((1, 1))
    return one * state.M - f * state.N, f * state.M - ff * state.N


def _mean_at_events(state: State, weight: Floats) -> Floats:
    """Return the covariates' mean in every group, averaged over its steps, (K, p); weight (K,) is the steps' sum."""
    share = state.S0 / weight
    means = (share * state.hazard)[:, None] * state.M
    if state.N is not None:
        means -= (share * state.own)[:, None] * state.N
    return np.asarray(means)


def _step_weight(model: Model) -> Floats:
    return tally(model.steps.group, model.steps.weight, len(model.risk.time))


def score_residuals(model: Model, state: State) -> Floats:
    """Return each spell's share of the score on the scaled columns, unweighted, (n, p)."""
    risk, X = model.risk, model.X
    rising, sharing = mean_steps(state)
    means = risk.seen(rising)
    if state.N is not None:
        means[risk.event] -= risk.own(sharing)
    out = X * state.A[:, None]
    np.subtract(means, out, out=out)
    out *= state.r[:, None]
    out[risk.event] += X[risk.event] - risk.own(_mean_at_events(state, _step_weight(model)))
    return out


def cluster_sums(values: Floats, cluster: Ints) -> Floats:
    """Return the sum of each column of values (n, m) within every cluster."""
    n, clusters = len(values), int(cluster.max()) + 1
    return np.asarray(scipy.sparse.csr_matrix((np.ones(n), (cluster, np.arange(n))), shape=(clusters, n)) @ values)


def sandwich(model: Model, state: State, vcov: Floats, cluster: Ints) -> Floats:
    """Return the covariance of the coefficients that holds whatever hangs together within clusters, (p, p).

    Parameters
    ----------
    vcov : (p, p) inverse information, on the user's scale.
    cluster : (N,) codes of the caller's rows.
    """
    L = score_residuals(model, state) * model.risk.weight[:, None]
    D = cluster_sums(L, cluster[model.risk.row]) @ (vcov * model.scale[:, None])
    return np.asarray(D.T @ D)


def schoenfeld(model: Model, state: State) -> tuple[Ints, Floats]:
    """Return the caller's row of every event, by stratum and time, and covariates less their mean at risk, (D, p)."""
    risk = model.risk
    mean = risk.own(_mean_at_events(state, _step_weight(model)))
    return risk.row[risk.event], (model.X[risk.event] - mean) * model.scale
