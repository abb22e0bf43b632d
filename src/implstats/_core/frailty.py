"""Gamma frailty: groups share a hazard ratio that varies between them with mean 1 and variance theta.

Given theta = 1 / nu, coefficients b and log frailties w maximise the penalised partial likelihood
l(b, w) + nu sum (w - e^w + 1); then e^w = (d + nu) / (Lambda + nu) in a group with d events, Lambda of them expected at
frailty 1. The marginal log-likelihood of theta is that maximum plus
sum [d + nu ln nu - (nu + d) ln(nu + d) + ln G(nu + d) - ln G(nu)]
(Therneau, Grambsch & Pankratz 2003, DOI 10.1198/1061860031365).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from implstats._core.arrow import Arrow
from implstats._core.convergence import Convergence
from implstats._core.cox import HALVINGS, NEWTON_STEPS, PERFECT, ROUNDING, SETTLED, Model, State, evaluate
from implstats._core.cox import Fit as CoxFit
from implstats._core.cox import fit as fit_cox
from implstats._core.risk import Ints, tally
from implstats.errors import ConvergenceError

__all__ = ["Fit", "fit"]

Floats = NDArray[np.float64]

# Variances that are looked at where the likelihood falls from zero on, and where the search ends.
BEYOND, LARGEST, SMALLEST = (0.1, 0.5, 2.0), 1e4, 1e-8
# Steps in the logarithm of the variance: how long at most, how short at the end.
LONGEST, SHORTEST = 2.0, 1e-10


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model on the user's scale.

    Attributes
    ----------
    beta, vcov : (p,), (p, p) coefficients, and the inverse penalised information at theta.
    theta : variance of the frailty.
    frailty : (G,) hazard ratio of every group.
    events, expected : (G,) of every group; expected at frailty 1.
    loglik : marginal log-likelihood.
    slope : derivative of the marginal log-likelihood with respect to theta, at zero.
    without : the fit without frailty.
    state : the model at the optimum.
    convergence : how the fit ended.
    """

    beta: Floats
    vcov: Floats
    theta: float
    frailty: Floats
    events: Floats
    expected: Floats
    loglik: float
    slope: float
    without: CoxFit
    state: State
    convergence: Convergence

    @property
    def statistic(self) -> float:
        """Likelihood ratio of theta = 0."""
        return 2 * max(self.loglik - self.without.loglik, 0.0)

    @property
    def p_value(self) -> float:
        """Its p-value where theta = 0: half the time 0, half the time chi-square on 1 df."""
        return 1.0 if self.theta == 0 else float(special.chdtrc(1, self.statistic)) / 2


class _Penalised:
    """The penalised partial likelihood of (b, w), and its maximum at one nu after the other.

    No coefficient runs away here that did not without frailty: where it would is a matter of covariates alone.

    Parameters
    ----------
    group : (n,) codes of the spells, every one of them present.
    b : (p,) where to begin, on the scaled columns.
    """

    def __init__(self, model: Model, group: Ints, b: Floats) -> None:
        self.model, self.group = model, group
        self.events = tally(group, model.risk.event, int(group.max()) + 1)
        self.b, self.w = b, np.zeros(len(self.events))
        self.state = evaluate(model, b)
        self.evaluations = self.iterations = 0
        self.decrement = self.gradient = 0.0

    def residual(self) -> Floats:
        """Return events less expected events of every group."""
        risk, state = self.model.risk, self.state
        return tally(self.group, risk.event - state.r * state.A, len(self.events))

    def move(self, step: Floats) -> tuple[Floats, Floats, State]:
        """Return b, w and the state a step further."""
        self.evaluations += 1
        b, w = self.b + step[: len(self.b)], self.w + step[len(self.b) :]
        return b, w, evaluate(self.model, b, w[self.group])

    def loglik(self, w: Floats, state: State, nu: float) -> float:
        """Return the penalised log-likelihood."""
        return state.loglik + nu * float((w - np.expm1(w)).sum())

    def arrow(self, nu: float) -> Arrow:
        """Return the penalised information."""
        return Arrow(self.model, self.state, self.group, nu * np.exp(self.w))

    def maximise(self, nu: float) -> Arrow:
        """Go to the maximum at nu; return the information there."""
        before = math.inf
        for _ in range(NEWTON_STEPS):
            arrow = self.arrow(nu)
            score = np.concatenate([self.state.score, self.residual() - nu * np.expm1(self.w)])
            step = arrow.solve(score)
            self.decrement, self.gradient = float(score @ step) / 2, float(np.abs(score).max())
            if self.decrement < PERFECT or (self.decrement < SETTLED and self.decrement > before / 4):
                return arrow
            before = self.decrement
            self.iterations += 1
            if not self._climb(step, nu):
                break
        raise ConvergenceError(
            f"the fit at a frailty variance of {1 / nu:.4g} did not converge; use fewer terms",
            self.failed("no certified optimum"),
        )

    def _climb(self, step: Floats, nu: float) -> bool:
        here = self.loglik(self.w, self.state, nu)
        for halving in range(HALVINGS):
            b, w, state = self.move(step / 2**halving)
            if self.loglik(w, state, nu) >= here - ROUNDING * (1 + abs(here)):
                self.b, self.w, self.state = b, w, state
                return True
        return False

    def record(self) -> Convergence:
        """Return how it ended."""
        counts = self.iterations, self.evaluations
        return Convergence(True, False, "converged", *counts, 0, self.gradient, self.decrement)

    def failed(self, message: str) -> dict[str, Any]:
        """Return how it did not end."""
        return replace(self.record(), converged=False, message=message).to_dict()

    def marginal(self, nu: float) -> float:
        """Return the marginal log-likelihood, at the maximum at nu."""
        d = self.events
        terms = d - nu * np.log1p(d / nu) - d * np.log(nu + d) + special.gammaln(nu + d) - special.gammaln(nu)
        return self.loglik(self.w, self.state, nu) + float(terms.sum())

    def slopes(self, nu: float) -> tuple[float, float, Floats]:
        """Return both derivatives of the marginal log-likelihood by log theta, and that of (b, w), maximised at nu."""
        arrow, d, excess = self.maximise(nu), self.events, np.expm1(self.w)
        moved = arrow.solve(np.concatenate([np.zeros(len(self.b)), -excess]))
        rise = self.w - excess - np.log1p(d / nu) + special.psi(nu + d) - special.psi(nu)
        bend = special.polygamma(1, nu + d) - special.polygamma(1, nu) + d / (nu * (nu + d))
        first, second = float(rise.sum()), float((bend - excess * moved[len(self.b) :]).sum())
        return -nu * first, nu * first + nu**2 * second, -nu * moved


def _search(problem: _Penalised, theta: float, low: float) -> float:
    """Return the theta at which the marginal log-likelihood is largest, by Newton steps in log theta within a bracket.

    `low` is a theta at which it rises.
    """
    high = math.inf
    while theta < LARGEST:
        first, second, moved = problem.slopes(1 / theta)
        low, high = (theta, high) if first > 0 else (low, theta)
        step = -first / second if second < 0 else math.copysign(LONGEST, first)
        step = min(max(step, -LONGEST), LONGEST)
        if abs(step) < SHORTEST:
            return theta
        further = theta * math.exp(step)
        if not low < further < high:
            further = (low + high) / 2 if low == 0 else math.sqrt(low * high)
        elif abs(step) < 1:
            problem.b, problem.w, problem.state = problem.move(step * moved)
        if further < SMALLEST or high - low < SHORTEST * high:
            return further
        theta = further
    raise ConvergenceError(
        "the variance of the frailty runs away: groups differ beyond measure; use strata= or cluster=",
        problem.failed("the variance runs away"),
    )


def _variance(problem: _Penalised, slope: float) -> float:
    """Return the most likely theta; 0 where the likelihood falls from there on, and where it looks further."""
    if slope > 0:
        expected = problem.events - problem.residual()
        # By moments: the variance of events - expected is expected + theta expected^2.
        return _search(problem, min(max(2 * slope / float(expected @ expected), 0.01), 2.0), 0.0)
    for theta in BEYOND:
        if problem.slopes(1 / theta)[0] > 0:
            return _search(problem, 2 * theta, theta)
    return 0.0


def fit(model: Model, group: Ints) -> Fit:
    """Return the fitted model.

    Parameters
    ----------
    model : of Efron's or Breslow's likelihood, weights of one.
    group : (N,) codes of the caller's rows.

    Raises
    ------
    AliasedError, ConvergenceError
        As `cox.fit`; also where the variance of the frailty runs away.
    """
    without = fit_cox(model)
    present, codes = np.unique(group[model.risk.row], return_inverse=True)
    start = without.beta * model.scale
    problem = _Penalised(model, codes, start)
    slope = float((problem.residual() ** 2 - problem.events).sum()) / 2
    theta = _variance(problem, slope)
    loglik, vcov = without.loglik, without.vcov
    if theta > SMALLEST:
        arrow = problem.maximise(1 / theta)
        loglik, vcov = problem.marginal(1 / theta), arrow.inverse() / np.outer(model.scale, model.scale)
    record = problem.record()
    if not loglik > without.loglik:
        theta, loglik, vcov = 0.0, without.loglik, without.vcov
        problem = _Penalised(model, codes, start)
        record = replace(without.convergence, boundary=True, message="converged on the boundary")
    # A group that sees no event tells nothing: its frailty is 1.
    frailty, events, expected = np.ones(group.max() + 1), *np.zeros((2, group.max() + 1))
    frailty[present], events[present] = np.exp(problem.w), problem.events
    expected[present] = (problem.events - problem.residual()) / frailty[present]
    beta = problem.b / model.scale
    return Fit(beta, vcov, theta, frailty, events, expected, loglik, slope, without, problem.state, record)
