"""Parametric survival of exact, censored, interval-censored and left-truncated times: its likelihood and the optimum.

The log of time less x'b has a distribution of its own (accelerated failure time). It is known by its log survival and
log density at u = log t - x'b, with their derivatives; everything else follows from these.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from implstats._core.convergence import Convergence
from implstats._core.optimum import GOOD_DECREMENT, NEAR, Climb
from implstats.errors import ConvergenceError

__all__ = ["Family", "Fit", "LocationScale", "Spline", "Times", "contributions", "fit"]

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

STEP = 1e-5
LOG_ROOT_TWO_PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True, eq=False, slots=True)
class Parts:
    """Values at n times with their derivatives.

    Attributes
    ----------
    value : (n,)
    by_time : (n,) derivative by u.
    by_shape : (n, k) derivatives by the parameters of the distribution.
    """

    value: Floats
    by_time: Floats
    by_shape: Floats


class Family(ABC):
    """A distribution of u = log t - x'b with k parameters."""

    size: int

    @abstractmethod
    def log_survival(self, u: Floats, shape: Floats) -> Parts:
        """Return log S."""

    @abstractmethod
    def log_density(self, u: Floats, shape: Floats) -> Parts:
        """Return the log density of u."""


@dataclass(frozen=True)
class LocationScale(Family):
    """u = location + scale x W with W of one of three kinds; the parameters are the location and the log of the scale.

    Attributes
    ----------
    kind : weibull (smallest extreme value), log-normal (normal) or log-logistic (logistic).
    """

    kind: str
    size = 2

    def log_survival(self, u: Floats, shape: Floats) -> Parts:
        """Return log S."""
        z = (u - shape[0]) * np.exp(-shape[1])
        if self.kind == "weibull":
            value = slope = -np.exp(z)
        elif self.kind == "log-logistic":
            value, slope = -np.logaddexp(0.0, z), -special.expit(z)
        else:
            value = special.log_ndtr(-z)
            slope = -np.exp(-0.5 * z**2 - LOG_ROOT_TWO_PI - value)
        by_time = slope * np.exp(-shape[1])
        return Parts(value, by_time, np.column_stack([-by_time, -z * slope]))

    def log_density(self, u: Floats, shape: Floats) -> Parts:
        """Return the log density of u."""
        z = (u - shape[0]) * np.exp(-shape[1])
        if self.kind == "weibull":
            value, slope = z - np.exp(z), 1 - np.exp(z)
        elif self.kind == "log-logistic":
            value, slope = z - 2 * np.logaddexp(0.0, z), 1 - 2 * special.expit(z)
        else:
            value, slope = -0.5 * z**2 - LOG_ROOT_TWO_PI, -z
        by_time = slope * np.exp(-shape[1])
        return Parts(value - shape[1], by_time, np.column_stack([-by_time, -z * slope - 1]))


@dataclass(frozen=True)
class Spline(Family):
    """The log cumulative hazard is a natural cubic spline of u; its parameters are a constant and one a column.

    Attributes
    ----------
    knots : in u, outer ones included; two knots are the Weibull distribution.
    """

    knots: tuple[float, ...]

    @property
    def size(self) -> int:  # type: ignore[override]
        """The number of parameters."""
        return len(self.knots)

    def basis(self, u: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the columns at u (n, k), and their first and second derivatives."""
        knots = np.array(self.knots)
        first, before, last = knots[0], knots[-2], knots[-1]
        columns = [np.ones_like(u), u - first]
        slopes = [np.zeros_like(u), np.ones_like(u)]
        bends = [np.zeros_like(u), np.zeros_like(u)]
        width = (last - first) ** 2
        over = {k: np.maximum(u - k, 0.0) for k in knots}
        for knot in knots[:-2]:
            shares = (
                (knot, 1.0),
                (before, -(last - knot) / (last - before)),
                (last, (before - knot) / (last - before)),
            )
            columns.append(sum(w * over[k] ** 3 for k, w in shares) / width)
            slopes.append(sum(w * 3 * over[k] ** 2 for k, w in shares) / width)
            bends.append(sum(w * 6 * over[k] for k, w in shares) / width)
        return np.column_stack(columns), np.column_stack(slopes), np.column_stack(bends)

    def log_survival(self, u: Floats, shape: Floats) -> Parts:
        """Return log S."""
        columns, slopes, _ = self.basis(u)
        hazard = np.exp(columns @ shape)
        return Parts(-hazard, -hazard * (slopes @ shape), -hazard[:, None] * columns)

    def log_density(self, u: Floats, shape: Floats) -> Parts:
        """Return the log density of u; NaN where the spline falls, which no cumulative hazard does."""
        columns, slopes, bends = self.basis(u)
        level, slope = columns @ shape, slopes @ shape
        hazard = np.exp(level)
        value = level + np.log(np.where(slope > 0, slope, np.nan)) - hazard
        by_time = slope + (bends @ shape) / slope - hazard * slope
        return Parts(value, by_time, columns * (1 - hazard)[:, None] + slopes / slope[:, None])


@dataclass(frozen=True, eq=False, slots=True)
class Times:
    """What is known of each row's log time.

    Attributes
    ----------
    lower, upper : (n,) it lies between them; equal where it is known, upper infinite where it is censored, lower minus
        infinity where it may have been at once.
    entry : (n,) log of the entry, minus infinity where the row was there from the start.
    weight : (n,)
    """

    lower: Floats
    upper: Floats
    entry: Floats
    weight: Floats

    def exact(self) -> Bools:
        """Return which times are known."""
        return np.asarray(self.lower == self.upper)


@dataclass(frozen=True, eq=False, slots=True)
class Fit:
    """The optimum.

    Attributes
    ----------
    b : (p,) coefficients of X as given.
    shape : (k,) parameters of the distribution of log t - (x - center)'b.
    center : (p,) means of the columns over the events.
    vcov : (p + k, p + k) inverse of the observed information.
    scores : (n, p + k) each row's share of the score, weights left out.
    loglik : of the times themselves, not of their logarithms.
    convergence : how the search ended.
    """

    b: Floats
    shape: Floats
    center: Floats
    vcov: Floats
    scores: Floats
    loglik: float
    convergence: Convergence


def contributions(family: Family, times: Times, eta: Floats, shape: Floats) -> Parts:
    """Return each row's log-likelihood (of its log time) with its derivatives by u and by the parameters."""
    n, k = len(eta), len(shape)
    value, by_time, by_shape = np.zeros(n), np.zeros(n), np.zeros((n, k))
    known = times.exact()
    at = family.log_density(times.lower[known] - eta[known], shape)
    value[known], by_time[known], by_shape[known] = at.value, at.by_time, at.by_shape
    before, after = (_log_survival(family, t, eta, shape, ~known) for t in (times.lower, times.upper))
    # log(S1 - S2), with the shares of S1 and of S2 in its derivatives.
    ratio = np.exp(after.value - before.value)
    value[~known] = before.value + np.log1p(-ratio)
    first, second = 1 / (1 - ratio), ratio / (1 - ratio)
    by_time[~known] = first * before.by_time - second * after.by_time
    by_shape[~known] = first[:, None] * before.by_shape - second[:, None] * after.by_shape
    late = np.isfinite(times.entry)
    there = _log_survival(family, times.entry, eta, shape, late)
    value[late] -= there.value
    by_time[late] -= there.by_time
    by_shape[late] -= there.by_shape
    return Parts(value, by_time, by_shape)


def _log_survival(family: Family, log_time: Floats, eta: Floats, shape: Floats, rows: Bools) -> Parts:
    """Return log S of some rows: 0 at the start, minus infinity (with no derivative) for ever."""
    t = log_time[rows]
    value, by_time, by_shape = np.where(t > 0, -np.inf, 0.0), np.zeros(len(t)), np.zeros((len(t), len(shape)))
    inside = np.isfinite(t)
    found = family.log_survival(t[inside] - eta[rows][inside], shape)
    value[inside], by_time[inside], by_shape[inside] = found.value, found.by_time, found.by_shape
    return Parts(value, by_time, by_shape)


def fit(family: Family, times: Times, X: Floats, start: Floats) -> Fit:
    """Return the optimum, from a start (b, shape); a search that does not arrive raises ConvergenceError."""
    p = X.shape[1]
    ended = np.isfinite(times.upper)
    # Over the events, which stay what they are when rows are split.
    center, scale = np.average(X[ended], axis=0, weights=times.weight[ended]), X.std(axis=0)
    Z = (X - center) / scale

    def scores(theta: Floats) -> tuple[Floats, Floats]:
        found = contributions(family, times, Z @ theta[:p], theta[p:])
        return found.value, np.column_stack([-Z * found.by_time[:, None], found.by_shape])

    def criterion(theta: Floats) -> tuple[float, Floats]:
        with np.errstate(all="ignore"):
            value, score = scores(theta)
            total, slope = float(-2 * times.weight @ value), -2 * times.weight @ score
        good = math.isfinite(total) and bool(np.isfinite(slope).all())
        return (total, slope) if good else (math.inf, np.zeros_like(theta))

    climb = Climb(criterion, np.concatenate([start[:p] * scale, start[p:]]), len(X))
    climb.run(near=True)
    good = climb.decrement < GOOD_DECREMENT and math.isfinite(criterion(climb.theta)[0])
    # Where a scale shrinks for ever its direction is too flat beside the others to be climbed, but not level.
    good = good and climb.gradient < NEAR * len(X)
    hessian = _hessian(criterion, climb.theta) / 2
    curved = bool(np.linalg.eigvalsh(hessian)[0] > 0)
    vcov = np.asarray(np.linalg.inv(hessian) if curved else np.full_like(hessian, np.nan), dtype=float)
    # A curvature that is lost in the rounding of a larger one leaves a variance below 0.
    good = good and bool((np.diag(vcov) > 0).all())
    message = "the likelihood has its maximum here" if good else "no maximum of the likelihood was found"
    record = Convergence(
        good, False, message, climb.iterations, climb.evaluations, 0, climb.gradient / 2, climb.decrement
    )
    if not good:
        raise ConvergenceError(message, record.to_dict())
    back = np.concatenate([1 / scale, np.ones(len(start) - p)])
    value, score = scores(climb.theta)
    loglik = float(times.weight @ (value - np.where(times.exact(), times.lower, 0.0)))
    theta = climb.theta * back
    return Fit(theta[:p], theta[p:], center, vcov * np.outer(back, back), score / back, loglik, record)


def _hessian(criterion: Callable[[Floats], tuple[float, Floats]], theta: Floats) -> Floats:
    """Return the second derivatives from central differences of the gradient."""
    H = np.empty((len(theta), len(theta)))
    for j in range(len(theta)):
        step = np.zeros(len(theta))
        step[j] = STEP * max(1.0, abs(theta[j]))
        H[j] = (criterion(theta + step)[1] - criterion(theta - step)[1]) / (2 * step[j])
    return (H + H.T) / 2
