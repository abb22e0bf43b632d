"""The optimum of the profiled likelihood of a mixed model, with a certificate at the boundary.

At a boundary the criterion is stationary in L whatever its slope in G = s2 L L', so an optimum is certified by D
(half the derivative with respect to L L'): D L = 0, and N'D N >= 0 on the null space N of L L'.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from implstats._core.convergence import Convergence
from implstats._core.criterion import State, evaluate
from implstats._core.optimum import GOOD_DECREMENT, SAME_CRITERION, Climb
from implstats._core.structure import Problem
from implstats.errors import ConvergenceError

__all__ = ["Fit", "fit"]

Floats = NDArray[np.float64]

RESTARTS = 12
# Variance, relative to the residual's, below which a direction is tried without.
SMALL_VARIANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model.

    Attributes
    ----------
    reml : whether the criterion is the restricted one.
    L : per block, (q, rank) root of G / s2 in scaled columns.
    G : per block, (q, q) covariance of its random effects on the user's scale.
    sigma2 : residual variance.
    beta, vcov : (p,), (p, p) fixed effects and (X'V^-1 X)^-1 on the user's scale.
    deviance : -2 log-likelihood (restricted under REML) on the user's scale.
    nu : n under ML, n - p under REML.
    state : the model at the optimum, for inference.
    convergence : how the fit ended.
    ratios : residual variance of every stratum, relative to sigma2.
    rho : correlation of residuals one step apart, None without AR(1).
    """

    reml: bool
    L: tuple[Floats, ...]
    G: tuple[Floats, ...]
    sigma2: float
    beta: Floats
    vcov: Floats
    deviance: float
    nu: int
    state: State
    convergence: Convergence
    ratios: Floats = field(default_factory=lambda: np.ones(1))
    rho: float | None = None


class _Roots:
    """The criterion as a function of the free entries of L."""

    def __init__(self, problem: Problem, L: Sequence[Floats], reml: bool) -> None:
        self.problem, self.reml = problem, reml
        self.shapes = [root.shape for root in L]
        self.free = [np.tril(np.ones(s, dtype=bool)) if s[0] == s[1] else np.ones(s, dtype=bool) for s in self.shapes]
        self.start = np.concatenate([root[f] for root, f in zip(L, self.free, strict=True)])

    def climb(self, *, near: bool) -> tuple[Climb, list[Floats]]:
        """Return the minimisation, carried out, and the roots where it ended."""
        climb = Climb(self, self.start, self.problem.n)
        climb.run(near=near)
        return climb, self.roots(climb.theta)

    def roots(self, theta: Floats) -> list[Floats]:
        L, start = [], 0
        for shape, free in zip(self.shapes, self.free, strict=True):
            root = np.zeros(shape)
            root[free] = theta[start : start + free.sum()]
            start += int(free.sum())
            L.append(root)
        return L

    def __call__(self, theta: Floats) -> tuple[float, Floats]:
        L = self.roots(theta)
        with np.errstate(all="ignore"):
            try:
                state = evaluate(self.problem, L, reml=self.reml)
            except (np.linalg.LinAlgError, ValueError):
                return math.inf, np.zeros_like(theta)
        slope = np.concatenate([(2 * D @ root)[f] for D, root, f in zip(state.D, L, self.free, strict=True)])
        if not math.isfinite(state.deviance) or not np.isfinite(slope).all():
            return math.inf, np.zeros_like(theta)
        return state.deviance, slope


def _reduced(root: Floats) -> Floats:
    """Return a root (q, r) without the directions whose variance is negligible."""
    w, V = np.linalg.eigh(root @ root.T)
    kept = w > SMALL_VARIANCE
    return np.asarray(V[:, kept] * np.sqrt(w[kept]))


def _square_root(root: Floats, direction: Floats | None = None, variance: float = 0.0) -> Floats:
    """Return a lower-triangular root of L L' (+ variance x direction direction')."""
    columns = [root] if direction is None else [root, math.sqrt(variance) * direction[:, None]]
    R = np.atleast_2d(np.linalg.qr(np.column_stack([*columns, np.zeros((len(root), len(root)))]).T, mode="r"))
    return np.asarray(R.T[:, : len(root)])


def _escape(problem: Problem, L: list[Floats], D: Sequence[Floats], reml: bool, value: float) -> list[Floats] | None:
    """Return roots with a lower criterion off a false boundary, or None where the boundary is certified.

    At a root of deficient rank the criterion is stationary in L whatever its slope in G; it is a minimum only if
    N'D N >= 0 on the null space N of L L'.
    """
    for b, root in enumerate(L):
        q, r = root.shape
        if r == q:
            continue
        N = scipy.linalg.null_space(root.T) if r else np.eye(q)
        w, V = np.linalg.eigh(N.T @ D[b] @ N)
        if w[0] >= 0:
            continue
        trials = []
        for variance in 10.0 ** np.arange(-6, 2):
            moved = [*L]
            moved[b] = _square_root(root, N @ V[:, 0], variance)
            trials.append((evaluate(problem, moved, reml=reml, gradient=False).deviance, moved))
        best, moved = min(trials, key=lambda trial: trial[0])
        if best < value - SAME_CRITERION:
            return moved
    return None


def fit(problem: Problem, *, reml: bool = True, start: Sequence[Floats] | None = None) -> Fit:
    """Return the fitted model; `start` is L of a similar fit.

    Raises
    ------
    ConvergenceError
        When no certified optimum is reached; it carries the record.
    """
    L = [np.eye(q) for q in problem.sizes] if start is None else [_square_root(root) for root in start]
    evaluations = iterations = restarts = 0
    while True:
        climb, L = _Roots(problem, L, reml).climb(near=start is not None and not restarts)
        evaluations, iterations = evaluations + climb.evaluations, iterations + climb.iterations
        state = evaluate(problem, L, reml=reml)
        reduced = [_reduced(root) if len(root) else root for root in L]
        if any(a.shape != b.shape for a, b in zip(reduced, L, strict=True)):
            reduced = [a if a.shape != b.shape else b for a, b in zip(reduced, L, strict=True)]
            lower, reduced = _Roots(problem, reduced, reml).climb(near=True)
            evaluations, iterations = evaluations + lower.evaluations, iterations + lower.iterations
            state_reduced = evaluate(problem, reduced, reml=reml)
            if state_reduced.deviance <= state.deviance + SAME_CRITERION:
                climb, L, state = lower, reduced, state_reduced
        away = _escape(problem, L, state.D, reml, state.deviance)
        if away is None or restarts == RESTARTS:
            break
        L, restarts = [_square_root(root) for root in away], restarts + 1

    boundary = any(root.shape[1] < root.shape[0] for root in L)
    good = away is None and math.isfinite(state.deviance) and climb.decrement < GOOD_DECREMENT
    message = "converged on the boundary" if boundary else "converged"
    if not good:
        message = "no certified optimum" if away is None else "the criterion still falls off a false boundary"
    record = Convergence(good, boundary, message, iterations, evaluations, restarts, climb.gradient, climb.decrement)
    if not good:
        raise ConvergenceError(
            f"the fit did not converge: {message} after {iterations} steps and {restarts} restarts, "
            f"decrement {climb.decrement:.1e}; simplify the random effects, or look for a model that fits perfectly",
            record.to_dict(),
        )
    return _on_user_scale(problem, L, state, reml, record)


def _on_user_scale(problem: Problem, L: list[Floats], state: State, reml: bool, record: Convergence) -> Fit:
    nu = problem.n - problem.p if reml else problem.n
    sigma2 = state.r2 / nu
    inverse = scipy.linalg.solve_triangular(problem.Rx, np.eye(problem.p)) if problem.p else np.zeros((0, 0))
    G = []
    for root, Rz in zip(L, problem.Rz, strict=True):
        back = scipy.linalg.solve_triangular(Rz, root) if root.shape[1] else np.zeros((len(root), 0))
        G.append(sigma2 * back @ back.T)
    constant = 2 * float(np.log(np.diag(problem.Rx)).sum()) if reml else 0.0
    return Fit(
        reml,
        tuple(L),
        tuple(G),
        sigma2,
        problem.beta0 + inverse @ state.b,
        sigma2 * inverse @ state.Sxx_inverse @ inverse.T,
        state.deviance + constant,
        nu,
        state,
        record,
    )
