"""Do log hazard ratios stay the same over time: the score test of covariates times a function of time.

Grambsch & Therneau 1994 (DOI 10.1093/biomet/81.3.515), with the exact information of the model that has x and g(t) x:
both have the same covariance in a risk set, so all four blocks are one matrix weighted by 1, g and g^2.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from implstats._core.cox import Model, State, products

__all__ = ["TRANSFORMS", "ScoreTest", "event_times", "kaplan_meier_before"]

Floats = NDArray[np.float64]

# Share of the information of a change over time that is left beside that of the hazard ratios: rounding, not data.
NOTHING_LEFT = 1e-10
TRANSFORMS = ("km", "log", "identity", "rank")


def kaplan_meier_before(entry: Floats | None, exit: Floats, event: NDArray[np.bool_], times: Floats) -> Floats:
    """Return the share that is event-free just before each time, over all strata and without weights."""
    when, count = np.unique(exit[event], return_counts=True)
    at_risk = len(exit) - np.searchsorted(np.sort(exit), when, side="left")
    if entry is not None:
        at_risk -= len(entry) - np.searchsorted(np.sort(entry), when, side="left")
    survival = np.concatenate([[1.0], np.cumprod(1 - count / at_risk)])
    return np.asarray(survival[np.searchsorted(when, times, side="left")])


def event_times(transform: str, entry: Floats | None, exit: Floats, event: NDArray[np.bool_], times: Floats) -> Floats:
    """Return g of each of the event times, centred at its mean over the events; one of `TRANSFORMS`.

    "km" is 1 - the Kaplan-Meier curve just before, "rank" the rank among all exits.
    """

    def scaled(t: Floats) -> Floats:
        if transform == "km":
            return 1 - kaplan_meier_before(entry, exit, event, t)
        if transform == "rank":
            return _ranks(exit, t)
        return np.log(t) if transform == "log" else t

    return scaled(times) - float(scaled(exit[event]).mean())


def _ranks(exit: Floats, times: Floats) -> Floats:
    leaving = np.sort(exit)
    below, upto = np.searchsorted(leaving, times, side="left"), np.searchsorted(leaving, times, side="right")
    return np.asarray((below + 1 + upto) / 2)


class ScoreTest:
    """The score and information of g(t) x beside x, at the fitted coefficients of x.

    Parameters
    ----------
    g : (K,) of every group, centred.
    """

    def __init__(self, model: Model, state: State, g: Floats) -> None:
        risk, X = model.risk, model.X
        events = risk.weight[risk.event] * risk.own(g)
        tied = model.steps.tied
        expected = (g * state.hazard * state.S0) @ state.M - (g[tied] * state.own * state.S0[tied]) @ state.N
        self.score = events @ X[risk.event] - expected
        blocks = [_information(model, state, g**power) for power in range(3)]
        self.information = np.block([blocks[:2], blocks[1:]])

    def test(self, columns: Sequence[int]) -> tuple[float, int, float]:
        """Return chi-square statistic, df and p-value of no change over time in the columns.

        Directions in which few events leave no information beside that of x take no df; without any left df is 0.
        """
        p = len(self.score)
        own = [p + j for j in columns]
        A, B, C = self.information[:p, :p], self.information[:p, own], self.information[np.ix_(own, own)]
        scale = np.sqrt(np.maximum(np.diag(C), 0.0))
        used = scale > 0
        left = (C - B.T @ np.linalg.solve(A, B))[np.ix_(used, used)] / np.outer(scale[used], scale[used])
        values, vectors = np.linalg.eigh(left)
        kept = values > NOTHING_LEFT
        if not kept.any():
            return np.nan, 0, np.nan
        along = vectors[:, kept].T @ (self.score[list(columns)][used] / scale[used])
        statistic, df = float(np.sum(along**2 / values[kept])), int(kept.sum())
        return statistic, df, float(special.chdtrc(df, statistic))


def _information(model: Model, state: State, weight: Floats) -> Floats:
    """Return the information with every group's share times a weight."""
    risk, X, steps = model.risk, model.X, model.steps
    A = risk.seen(weight * state.hazard)
    A[steps.row] -= (weight[steps.tied] * state.own)[steps.place]
    squares = X.T @ (X * (risk.weight * state.r * A)[:, None])
    second, cross = state.second * weight, state.cross * weight[steps.tied]
    return np.asarray(squares - products(state.M, state.N, steps.tied, second, cross))
