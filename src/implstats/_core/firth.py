"""Firth's penalised likelihood for Cox's model, l + log|I| / 2: finite where the likelihood itself runs away.

Heinze & Schemper 2001 (DOI 10.1111/j.0006-341X.2001.00114.x). The penalty's slope is a third moment in every risk set,
sum h E[(x - m)'V (x - m) (x_j - m_j)] / 2 with V = I^-1. Expanded, the products of rows with means become differences
of running sums, as the information does, so no risk set is gone through on its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from scipy import special

from implstats._core.convergence import Convergence
from implstats._core.cox import PERFECT, Model, State, aliased, evaluate, inverse
from implstats._core.martingale import mean_steps
from implstats._core.optimum import GOOD_DECREMENT, Climb
from implstats._core.structure import AliasedError
from implstats.errors import ConvergenceError

__all__ = ["Fit", "Profile", "fit"]

Floats = NDArray[np.float64]

SCORING = 12
# How far an end of an interval is looked for, in standard errors.
FARTHEST = 1e3
# The smallest step that is tried on the way, in standard errors.
NEAREST = 1e-6


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model on the user's scale.

    Attributes
    ----------
    beta, vcov : (p,), (p, p) coefficients, and the inverse of the information without the penalty's curvature.
    loglik, null_loglik : log partial likelihood at beta and at zero.
    penalised, null_penalised : the same with the penalty (on the scaled columns).
    convergence : how the fit ended.
    """

    beta: Floats
    vcov: Floats
    loglik: float
    null_loglik: float
    penalised: float
    null_penalised: float
    convergence: Convergence


def penalised_at(model: Model, b: Floats) -> tuple[float, Floats, Floats, float]:
    """Return the penalised log-likelihood, its slope, the information, and the plain log-likelihood at b (scaled)."""
    state = evaluate(model, b)
    with np.errstate(all="ignore"):
        sign, size = np.linalg.slogdet(state.information)
        try:
            slope = state.score + _slope(model, state, inverse(state.information)) / 2
        except (np.linalg.LinAlgError, ValueError):
            sign, slope = 0, np.zeros_like(b)
    if not (sign > 0 and math.isfinite(state.loglik) and np.isfinite(slope).all()):
        return -math.inf, np.zeros_like(b), state.information, state.loglik
    return state.loglik + float(size) / 2, slope, state.information, state.loglik


def _slope(model: Model, state: State, V: Floats) -> Floats:
    """Return the derivative of log|I|."""
    risk, steps, X = model.risk, model.steps, model.X
    wr = risk.weight * state.r
    XV = X @ V
    g = np.einsum("ij,ij->i", XV, X)
    rising, sharing = mean_steps(model, state)
    means = risk.seen(rising)
    means[steps.row] -= sharing[steps.place]
    mixed = g * state.A - 2 * np.einsum("ij,ij->i", XV, means)
    # The means of x and of g in every group, and in every step of the tied ones, whose fractions come off both.
    mean, mean_g = state.M, risk.sums(wr * g) / state.S0
    alone = steps.weight.copy()
    alone[steps.tied] = 0.0
    own = (steps.own @ np.column_stack([wr, wr * g]) / state.S0[steps.tied, None])[steps.place]
    group, f = steps.tied[steps.place], steps.fraction
    relative = 1 / (1 - f * own[:, 0])
    tied_mean = (mean[group] - f[:, None] * state.N[steps.place]) * relative[:, None]
    tied_g = (mean_g[group] - f * own[:, 1]) * relative
    third = (wr * mixed) @ X
    for weight, m, mg in ((alone, mean, mean_g), (steps.share, tied_mean, tied_g)):
        third += (weight * (2 * np.einsum("ij,jk,ik->i", m, V, m) - mg)) @ m
    return np.asarray(third)


def _maximum(model: Model, start: Floats, free: NDArray[np.intp]) -> tuple[Floats, Convergence]:
    """Return where the penalised likelihood is largest in the free coefficients.

    Scoring steps take the information for the curvature; where the penalty bends the likelihood as well, Newton steps
    on differences of the slope arrive.
    """
    b, here, evaluations = start, penalised_at(model, start), 1
    for iteration in range(SCORING):
        score = here[1][free]
        step = np.zeros_like(b)
        step[free] = np.linalg.solve(here[2][np.ix_(free, free)], score)
        decrement, gradient = float(score @ step[free]) / 2, float(np.abs(score).max(initial=0.0))
        if decrement < PERFECT:
            return b, Convergence(True, False, "converged", iteration, evaluations, 0, gradient, decrement)
        evaluations += 1
        further = penalised_at(model, b + step)
        if not further[0] > here[0]:
            break
        b, here = b + step, further

    def criterion(values: Floats) -> tuple[float, Floats]:
        moved = b.copy()
        moved[free] = values
        value, slope, _, _ = penalised_at(model, moved)
        return -2 * value, -2 * slope[free]

    climb = Climb(criterion, b[free], len(model.risk.row))
    climb.run(near=True)
    b = b.copy()
    b[free] = climb.theta
    if len(free) and climb.decrement < GOOD_DECREMENT:
        # Climbs end where the likelihood is flat to its last digits; the slope still has some.
        slope = climb(climb.theta)[1]
        b[free] -= np.linalg.solve(climb.hessian(climb.theta, slope), slope)
    counts = iteration + climb.iterations, evaluations + climb.evaluations
    record = Convergence(True, False, "converged", *counts, 0, climb.gradient, climb.decrement)
    if climb.decrement < GOOD_DECREMENT:
        return b, record
    raise ConvergenceError(
        f"the penalised fit did not converge after {counts[0]} steps, decrement {climb.decrement:.1e}; use fewer terms",
        replace(record, converged=False, message="no certified optimum").to_dict(),
    )


def fit(model: Model) -> Fit:
    """Return the fitted model.

    Raises
    ------
    AliasedError
        Columns that are constant in every risk set, or combinations of those before them.
    ConvergenceError
        When no maximum is reached.
    """
    p = len(model.scale)
    zero = np.zeros(p)
    null = penalised_at(model, zero)
    if columns := aliased(null[2], float(model.steps.weight.sum())):
        raise AliasedError("X", columns)
    b, record = _maximum(model, zero, np.arange(p))
    end = penalised_at(model, b)
    vcov = inverse(end[2]) / np.outer(model.scale, model.scale)
    return Fit(b / model.scale, vcov, end[3], null[3], end[0], null[0], record)


class Profile:
    """The penalised likelihood, largest over all coefficients but one.

    Parameters
    ----------
    model, fitted : what was fitted.
    held : column of the coefficient that is held.
    """

    def __init__(self, model: Model, fitted: Fit, held: int) -> None:
        self.model, self.fitted, self.held = model, fitted, held
        self.best = fitted.beta * model.scale
        self.error = math.sqrt(fitted.vcov[held, held]) * float(model.scale[held])
        self.free = np.delete(np.arange(len(self.best)), held)
        self.nearest = {float(self.best[held]): (0.0, self.best)}

    def fall(self, value: float) -> float:
        """Return how far 2 x the penalised log-likelihood falls if the coefficient has a (scaled) value, or inf."""
        if value not in self.nearest:
            start = self.nearest[min(self.nearest, key=lambda other: abs(other - value))][1].copy()
            start[self.held] = value
            if not math.isfinite(penalised_at(self.model, start)[0]):
                return math.inf
            try:
                b, _ = _maximum(self.model, start, self.free)
            except (ConvergenceError, np.linalg.LinAlgError):
                return math.inf
            self.nearest[value] = (2 * (self.fitted.penalised - penalised_at(self.model, b)[0]), b)
        return self.nearest[value][0]

    def interval(self, level: float) -> tuple[float, float]:
        """Return where the fall reaches the chi-square quantile, on the user's scale; infinite where it is not seen."""
        quantile, estimate = float(special.chdtri(1, 1 - level)), float(self.best[self.held])
        scale = float(self.model.scale[self.held])
        return self._end(-1, estimate, quantile) / scale, self._end(1, estimate, quantile) / scale

    def _end(self, direction: int, estimate: float, quantile: float) -> float:
        inside, step = estimate, math.sqrt(quantile) * self.error
        while NEAREST * self.error < step and abs(inside - estimate) < FARTHEST * self.error:
            outside = inside + direction * step
            fall = self.fall(outside)
            if math.isinf(fall):
                # Nothing is left of the information so far out, or of the digits that it has.
                step /= 2
                continue
            if fall > quantile:
                low, high = min(inside, outside), max(inside, outside)
                root = scipy.optimize.brentq(lambda c: self.fall(c) - quantile, low, high, xtol=1e-10 * self.error)
                return float(root)
            inside, step = outside, abs(outside - estimate) / 2
        return direction * math.inf

    def p_value(self) -> tuple[float, float]:
        """Return the penalised likelihood-ratio statistic of a coefficient of zero, and its p-value."""
        statistic = max(self.fall(0.0), 0.0)
        return statistic, float(special.chdtrc(1, statistic))
