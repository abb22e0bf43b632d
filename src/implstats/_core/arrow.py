"""The information of coefficients and of many groups' own log hazards, without ever writing it out.

It is multiplied into a vector in O(n) and solved by conjugate gradients. What is near its inverse is that of the arrow
which is left without the products of different groups: a p x p corner, a border, and a diagonal.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from implstats._core.cox import Model, State
from implstats._core.martingale import cluster_sums
from implstats._core.risk import Ints, tally

__all__ = ["Arrow"]

Floats = NDArray[np.float64]

# How much smaller than at the start the error must be, in the norm of the information: for a step, and for an answer.
STEP, ANSWER = 1e-7, 1e-13


class Arrow:
    """The information of (b, w), b on the scaled columns and w a log hazard of every group.

    Parameters
    ----------
    model, state : where the information is taken.
    group : (n,) codes of the spells.
    curvature : (G,) second derivative of the penalty on w.
    """

    def __init__(self, model: Model, state: State, group: Ints, curvature: Floats) -> None:
        self.model, self.state, self.group, self.curvature = model, state, group, curvature
        self.p = len(model.scale)
        self.wr = model.risk.weight * state.r
        self.diagonal = tally(group, self.wr * state.A, len(curvature)) + curvature
        self.border = cluster_sums(self._bent(model.X), group)
        corner = state.information - self.border.T @ (self.border / self.diagonal[:, None])
        self.corner = scipy.linalg.cho_factor(corner, lower=True)

    def _bent(self, values: Floats) -> Floats:
        """Return the derivative of each spell's expected events along changes of log hazards, (n,) or (n, m)."""
        risk, steps, state = self.model.risk, self.model.steps, self.state
        turned, tied = values.T, steps.tied
        weighted = (turned * self.wr).T
        f, ff = state.cross / state.S0[tied]
        M, N = risk.sums(weighted).T / state.S0, (steps.own @ weighted).T / state.S0[tied]
        rising = state.second / state.S0 * M
        rising[..., tied] -= f * N
        means = risk.seen(rising.T)
        means[steps.row] -= (f * M[..., tied] - ff * N).T[steps.place]
        return np.asarray((self.wr * (turned * state.A - means.T)).T)

    def times(self, vector: Floats) -> Floats:
        """Return the information times (b, w)."""
        X, b, w = self.model.X, vector[: self.p], vector[self.p :]
        bent = self._bent(X @ b + w[self.group])
        return np.concatenate([bent @ X, tally(self.group, bent, len(self.curvature)) + self.curvature * w])

    def _nearly(self, vector: Floats) -> Floats:
        """Return the solution for the arrow."""
        w = vector[self.p :] / self.diagonal
        b = scipy.linalg.cho_solve(self.corner, vector[: self.p] - self.border.T @ w)
        return np.concatenate([b, w - self.border @ b / self.diagonal])

    def solve(self, vector: Floats, precision: float = STEP) -> Floats:
        """Return the vector that the information turns into the one given."""
        x = self._nearly(vector)
        residual = vector - self.times(x)
        near = self._nearly(residual)
        direction, size = near, float(residual @ near)
        enough = precision**2 * float(vector @ x)
        for _ in range(2 * len(vector)):
            if size <= enough:
                break
            moved = self.times(direction)
            length = size / float(direction @ moved)
            x = x + length * direction
            residual = residual - length * moved
            near = self._nearly(residual)
            size, before = float(residual @ near), size
            direction = near + size / before * direction
        return np.asarray(x)

    def inverse(self) -> Floats:
        """Return the corner of the inverse that belongs to b, (p, p)."""
        units = np.eye(self.p, self.p + len(self.diagonal))
        corner = np.array([self.solve(unit, ANSWER)[: self.p] for unit in units])
        return np.asarray((corner + corner.T) / 2)
