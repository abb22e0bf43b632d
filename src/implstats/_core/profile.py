"""Profile-likelihood intervals of variances: how far one may move while the others do their best to make up for it.

Venzon & Moolgavkar 1988 (DOI 10.2307/2347496): the interval of a standard deviation holds the values at which the
criterion, minimal over everything else, has risen by less than the chi-square(1) quantile. The residual variance s2 is
a parameter of its own here: with d, r2 and nu of criterion.py and rho = r2 / (nu s2),
d(G, s2) = d(G / s2) + nu (rho - 1 - log rho). The coordinates are the triangles T of G = T T', and log s. To hold one
standard deviation, the scaled columns of its block are turned so that T[0, 0] is proportional to it; zero is then a
point like any other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy.linalg
import scipy.optimize
from numpy.typing import NDArray
from scipy import special

from implstats._core.convergence import Convergence
from implstats._core.criterion import State, evaluate, multiply, times
from implstats._core.mixed import Fit
from implstats._core.optimum import GOOD_DECREMENT, Climb
from implstats._core.structure import Problem
from implstats.errors import ConvergenceError

__all__ = ["intervals"]

Floats = NDArray[np.float64]

# How much lower than the fitted optimum a profile may come before the optimum is called false.
LOWER = 1e-5
# A root with a smaller diagonal may stand on a false boundary, where the criterion is flat; it starts from LIFT.
FLAT, LIFT = 1e-2, 0.1
# In units of the residual SD, or of its logarithm for the residual itself: where an end is called infinite.
FARTHEST, FARTHEST_LOG = 1e4, 15.0
# Of a crossing, in the same units.
PRECISION = 1e-9


def intervals(problem: Problem, fit: Fit, level: float) -> tuple[list[Floats], Floats]:
    """Return both ends of every variance's interval, on the user's scale: (q, 2) per block, and (2,) of the residual.

    A lower end is 0 where the model without that variance lies within the interval; an upper end is infinite where the
    data set no bound.

    Raises
    ------
    ConvergenceError
        When a point of a profile is not reached, or lies below the fitted optimum.
    """
    rise = float(special.chdtri(1, 1 - level))
    blocks = [
        np.array([_Profile(problem, fit, (b, k)).interval(rise) for k in range(q)]) for b, q in enumerate(problem.sizes)
    ]
    return blocks, np.array(_Profile(problem, fit, None).interval(rise))


class _Profile:
    """The criterion, minimal over all coordinates but one; roots and s are in units of the fitted residual SD.

    Parameters
    ----------
    held : block and column of the standard deviation that is held, None for the residual's.
    """

    def __init__(self, problem: Problem, fit: Fit, held: tuple[int, int] | None) -> None:
        self.problem, self.fit, self.residual = problem, fit, held is None
        self.triangles = [np.tri(q, dtype=bool) for q in problem.sizes]
        self.turns = [np.eye(q) for q in problem.sizes]
        self.unit, self.spread = 1.0, math.sqrt(0.5 / fit.nu)
        self.held = sum(int(t.sum()) for t in self.triangles)
        if held is not None:
            block, column = held
            self.held = sum(int(t.sum()) for t in self.triangles[:block])
            to_user = scipy.linalg.solve_triangular(problem.Rz[block], np.eye(len(fit.G[block]))[column], trans="T")
            self.turns[block] = np.linalg.qr(np.column_stack([to_user, self.turns[block]]))[0]
            self.unit, self.spread = float(np.linalg.norm(to_user)), math.sqrt(0.5 / problem.levels[block])
        roots = [_triangle(turn.T @ root) for turn, root in zip(self.turns, fit.L, strict=True)]
        best = np.concatenate([*(root[t] for root, t in zip(roots, self.triangles, strict=True)), [0.0]])
        self.estimate = float(best[self.held])
        self.seen = {self.estimate: (0.0, best)}

    def interval(self, rise: float) -> tuple[float, float]:
        """Return the two variances between which the criterion has risen by less than `rise`."""
        low, high = (self._end(direction, math.sqrt(rise)) for direction in (-1, 1))
        if self.residual:
            low, high = math.exp(low), math.exp(high)
        scale = self.unit**2 * self.fit.sigma2
        return scale * low**2, scale * high**2

    def _end(self, direction: int, height: float) -> float:
        """Return where the root of the rise reaches a height: steps outward, then the crossing between the last two."""
        inside = self.estimate
        step = height * self.spread * (1.0 if self.residual else max(inside, LIFT))
        farthest = FARTHEST_LOG if self.residual else FARTHEST * max(inside, 1.0)
        while step < farthest:
            outside = self.estimate + direction * step
            if not self.residual:
                outside = max(outside, 0.0)
            reached = self._root(outside)
            if reached > height:
                low, high = min(inside, outside), max(inside, outside)
                return float(scipy.optimize.brentq(lambda c: self._root(c) - height, low, high, xtol=PRECISION))
            if not self.residual and outside == 0:
                return 0.0
            inside = outside
            step *= min(max(1.1 * height / max(reached, 0.1 * height), 1.5), 4.0)
        return direction * math.inf

    def _root(self, value: float) -> float:
        """Return the root of how far the criterion has risen where the held coordinate has a value."""
        if value not in self.seen:
            nearest = min(self.seen, key=lambda other: abs(other - value))
            self.seen[value] = self._minimum(value, self.seen[nearest][1])
        rise = self.seen[value][0]
        if rise < -LOWER:
            record = self.fit.convergence.to_dict()
            raise ConvergenceError("a profile came upon a better fit than the fitted model", record)
        return math.sqrt(max(rise, 0.0))

    def _minimum(self, value: float, start: Floats) -> tuple[float, Floats]:
        """Return the rise of the criterion at a held value, and where the other coordinates then are."""

        def others(free: Floats) -> tuple[float, Floats]:
            rise, slope = self(np.insert(free, self.held, value))
            return rise, np.delete(slope, self.held)

        climb = Climb(others, np.delete(self._lifted(start), self.held), self.problem.n)
        climb.run(near=True)
        if not climb.decrement < GOOD_DECREMENT:
            message, steps = "a profile of a variance cannot be followed", (climb.iterations, climb.evaluations)
            record = Convergence(False, value == 0, message, *steps, 0, climb.gradient, climb.decrement)
            raise ConvergenceError(message, record.to_dict())
        return others(climb.theta)[0], np.insert(climb.theta, self.held, value)

    def _roots(self, place: Floats) -> list[Floats]:
        roots, start = [], 0
        for triangle in self.triangles:
            root = np.zeros(triangle.shape)
            root[triangle] = place[start : start + triangle.sum()]
            start += int(triangle.sum())
            roots.append(root)
        return roots

    def _lifted(self, place: Floats) -> Floats:
        """Return a start off every boundary, as a root that is zero would stay so whatever the slope in G."""
        roots = self._roots(place)
        for root in roots:
            diagonal = np.diag(root)
            np.fill_diagonal(root, np.where(np.abs(diagonal) < FLAT, LIFT, diagonal))
        return np.concatenate([*(root[t] for root, t in zip(roots, self.triangles, strict=True)), place[-1:]])

    def __call__(self, place: Floats) -> tuple[float, Floats]:
        """Return how far the criterion lies above the optimum at all coordinates, and its gradient."""
        problem, fit = self.problem, self.fit
        size, roots = math.exp(place[-1]), self._roots(place)
        L = [turn @ root / size for turn, root in zip(self.turns, roots, strict=True)]
        try:
            state = evaluate(problem, L, reml=fit.reml)
        except (np.linalg.LinAlgError, ValueError):
            return math.inf, np.zeros_like(place)
        rho = state.r2 / (fit.nu * size**2 * fit.sigma2)
        rise = state.deviance - fit.state.deviance + fit.nu * (rho - 1 - math.log(rho))
        more = fit.nu / state.r2 * (1 - rho)
        slopes = [2 * (D + more * R) @ root for D, R, root in zip(state.D, _squares(problem, state), L, strict=True)]
        along = [(turn.T @ slope)[t] / size for turn, slope, t in zip(self.turns, slopes, self.triangles, strict=True)]
        shrink = 2 * fit.nu * (1 - rho) - sum(float(np.vdot(s, root)) for s, root in zip(slopes, L, strict=True))
        return rise, np.concatenate([*along, [shrink]])


def _triangle(root: Floats) -> Floats:
    """Return the lower triangle T with T T' = root root', its diagonal not negative."""
    q = len(root)
    R = np.atleast_2d(np.linalg.qr(np.column_stack([root, np.zeros((q, q))]).T, mode="r"))[:q]
    return np.asarray(R.T * np.where(np.diag(R) < 0, -1.0, 1.0))


def _squares(problem: Problem, state: State) -> Sequence[Floats]:
    """Return, per block, the sum of e e' over its levels, e = Z'V^-1 (y - X b): minus the slope of r2 in G / s2."""
    v, second = np.append(-state.b, 1.0), problem.second
    m = np.einsum("rcn,c->rn", problem.Mc, v)
    AU = multiply(problem.A, state.U)[:, :, problem.schedule_c]
    e = m - multiply(AU, m[:, None])[:, 0]
    squares: list[Floats] = [np.zeros((0, 0))] * len(problem.sizes)
    if second is not None:
        m2 = (state.R2 @ v)[:, None]
        back = times(second, state.K2, m2)
        e -= np.array([(B @ back)[:, 0] for B in state.Bt])
        e2 = m2 - times(second, state.C2, back)
        for b in problem.second_blocks:
            own = e2[second.columns(problem, b)].reshape(-1, problem.sizes[b])
            squares[b] = own.T @ own
    for b in problem.first:
        own = e[problem.columns(b)]
        squares[b] = own @ own.T
    return squares
