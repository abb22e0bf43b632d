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
from implstats._core.risk import Ints

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


def mean_steps(model: Model, state: State) -> tuple[Floats, Floats]:
    """Return the sums over a group's steps of (h / denominator) mean, (K, p), and for tied ones times f, (G, p)."""
    tied = model.steps.tied
    f, ff = (state.cross / state.S0[tied])[:, :, None]
    rising = (state.second / state.S0)[:, None] * state.M
    rising[tied] -= f * state.N
    return rising, f * state.M[tied] - ff * state.N


def _mean_at_events(model: Model, state: State) -> Floats:
    """Return the covariates' mean at risk at every event, averaged over its group's steps, (D, p)."""
    tied, share = model.steps.tied, state.S0 / model.steps.weight
    means = (share * state.hazard)[:, None] * state.M
    means[tied] -= (share[tied] * state.own)[:, None] * state.N
    return model.risk.own(means)


def score_residuals(model: Model, state: State) -> Floats:
    """Return each spell's share of the score on the scaled columns, unweighted, (n, p)."""
    risk, X, steps = model.risk, model.X, model.steps
    rising, sharing = mean_steps(model, state)
    means = risk.seen(rising)
    means[steps.row] -= sharing[steps.place]
    means *= state.r[:, None]
    means += X * (risk.event - state.r * state.A)[:, None]
    means[np.flatnonzero(risk.event)] -= _mean_at_events(model, state)
    return means


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
    return risk.row[risk.event], (model.X[risk.event] - _mean_at_events(model, state)) * model.scale
