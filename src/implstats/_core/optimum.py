"""The minimum of a smooth criterion: BFGS to come near, Newton on differences of the gradient to arrive."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

__all__ = ["GOOD_DECREMENT", "NEAR", "SAME_CRITERION", "Climb"]

Floats = NDArray[np.float64]

NEWTON_STEPS = 30
# Slope of the criterion per row at which BFGS hands over to Newton.
NEAR = 1e-4
# In units of -2 log-likelihood: what a further step may still promise, and what counts as no difference.
GOOD_DECREMENT = 1e-7
PERFECT_DECREMENT = 1e-15
SAME_CRITERION = 1e-8


class Climb:
    """One minimisation of a criterion (-2 log-likelihood) of n rows.

    Parameters
    ----------
    criterion : gives the value and the gradient; an infinite value where there is none.
    start : (k,) where to begin.
    n : rows, the size of the criterion.
    """

    def __init__(self, criterion: Callable[[Floats], tuple[float, Floats]], start: Floats, n: int) -> None:
        self.criterion, self.theta, self.n = criterion, start, n
        self.evaluations = self.iterations = 0
        self.decrement = self.gradient = 0.0

    def __call__(self, theta: Floats) -> tuple[float, Floats]:
        """Return value and gradient, counted."""
        self.evaluations += 1
        return self.criterion(theta)

    def run(self, *, near: bool = False) -> None:
        """Minimise; from a start that is near, Newton alone arrives."""
        if len(self.theta) == 0:
            return
        if near:
            self._newton()
            if self.decrement < GOOD_DECREMENT:
                return

        def per_row(theta: Floats) -> tuple[float, Floats]:
            value, slope = self(theta)
            return value / self.n, slope / self.n

        with np.errstate(all="ignore"):
            end = scipy.optimize.minimize(
                per_row, self.theta, jac=True, method="BFGS", options={"gtol": NEAR, "maxiter": 400}
            )
        self.iterations += int(end.nit)
        self.theta = np.asarray(end.x)
        self._newton()

    def hessian(self, theta: Floats, slope: Floats) -> Floats:
        """Return the second derivatives at theta from forward differences of the gradient."""
        H = np.empty((len(theta), len(theta)))
        for j in range(len(theta)):
            step = 1e-5 * max(1.0, abs(theta[j]))
            moved = theta.copy()
            moved[j] += step
            H[j] = (self(moved)[1] - slope) / step
        return (H + H.T) / 2

    def _newton(self) -> None:
        value, slope = self(self.theta)
        curvature: tuple[Floats, Floats] | None = None
        for _ in range(NEWTON_STEPS):
            fresh = curvature is None
            w, V = curvature = curvature or _eigen(self.hessian(self.theta, slope))
            used = np.abs(w) > 1e-9 * max(np.abs(w).max(), 1e-300)
            along = V[:, used].T @ slope
            self.decrement = float(0.5 * (along**2 / np.abs(w[used])).sum())
            self.gradient = float(np.abs(slope).max())
            if self.decrement < PERFECT_DECREMENT:
                return
            found = self._along(-V[:, used] @ (along / np.abs(w[used])), value, slope)
            if found is None and fresh:
                return
            if found is None:
                curvature = None
                continue
            self.iterations += 1
            # Close to the optimum the old curvature still serves.
            if np.abs(found[2]).max() > 0.05 * np.abs(slope).max():
                curvature = None
            self.theta, value, slope = found

    def _along(self, step: Floats, value: float, slope: Floats) -> tuple[Floats, float, Floats] | None:
        """Return the parameters, criterion and slope a step further, shortened until they are better; None if never."""
        for shorter in range(10):
            theta = self.theta + step / 4**shorter
            moved, moved_slope = self(theta)
            level = moved < value + SAME_CRITERION / 10 and np.abs(moved_slope).max() < np.abs(slope).max()
            if moved < value or level:
                return theta, moved, moved_slope
        return None


def _eigen(H: Floats) -> tuple[Floats, Floats]:
    w, V = np.linalg.eigh(H)
    return w, V
