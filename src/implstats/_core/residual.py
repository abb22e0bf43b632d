"""Residuals that differ or hang together: rows are whitened, so that the mixed model's engine sees independent ones.

Var(e_t) = s2 ratio_t / precision_t; under AR(1) cor(e_t, e_u) = rho ** |position_t - position_u| within a series. With
x_t = x_t / sd_t and then (x_t - rho^D x_(t-1)) / sqrt(1 - rho^2D), D the gap, whitening takes one pass over the rows;
its log-determinant is added to the criterion. Pinheiro & Bates 2000, chapter 5 (DOI 10.1007/b98882).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from implstats._core import mixed
from implstats._core.covariance import between, unbounded
from implstats._core.criterion import evaluate
from implstats._core.mixed import Fit
from implstats._core.optimum import GOOD_DECREMENT, Climb
from implstats._core.structure import Block, LeastSquares, Problem, least_squares, prepare
from implstats.errors import ConvergenceError

__all__ = ["Residual", "deviance_of_scaling", "fit", "independent"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

STEP = 1e-4
NO_CORRELATION = 1e-4
EXTREME_RATIO = 1e-8
EXTREME_RHO = 1 - 1e-6


@dataclass(frozen=True, slots=True)
class Residual:
    """The structure of the residuals of n rows.

    Attributes
    ----------
    strata, levels : (n,) codes of rows that share a variance, and how many there are.
    precision : (n,) known precision of each row, 1 where nothing is known.
    series, position : (n,) codes and places along an AR(1) series, in steps; None without one.
    """

    strata: Ints
    levels: int
    precision: Floats
    series: Ints | None = None
    position: Floats | Ints | None = None

    @property
    def lowest(self) -> float:
        """The lower end of rho: a negative one has whole powers only."""
        whole = self.position is not None and np.issubdtype(self.position.dtype, np.integer)
        return -1.0 if whole else 0.0

    @property
    def plain(self) -> bool:
        """Whether nothing has to be estimated beside s2."""
        return self.levels == 1 and self.position is None

    @property
    def white(self) -> bool:
        """Whether rows are independent and alike as they are."""
        return self.plain and bool((self.precision == 1).all())

    def previous(self) -> tuple[Ints, Ints, Floats | Ints]:
        """Return the rows that follow another of their series, those that they follow, and the gaps."""
        assert self.series is not None
        assert self.position is not None
        order = np.lexsort((self.position, self.series))
        same = self.series[order[1:]] == self.series[order[:-1]]
        later, earlier = order[1:][same], order[:-1][same]
        return later, earlier, self.position[later] - self.position[earlier]


def independent(n: int) -> Residual:
    """Return the structure of residuals that are alike and independent."""
    return Residual(np.zeros(n, dtype=np.intp), 1, np.ones(n))


def _natural(residual: Residual, psi: Floats) -> tuple[Floats, float | None]:
    """Return variance ratios (levels,), the first 1, and rho."""
    ratios = np.exp(np.append(0.0, psi[: residual.levels - 1]))
    return ratios, None if residual.position is None else float(between(psi[-1], residual.lowest))


def _whitened(residual: Residual, columns: Floats, ratios: Floats, rho: float | None) -> tuple[Floats, float]:
    """Return whitened columns (n, k), and the log-determinant of what they were whitened of."""
    variance = ratios[residual.strata] / residual.precision
    white, logdet = columns / np.sqrt(variance)[:, None], float(np.log(variance).sum())
    if rho is not None:
        later, earlier, gap = residual.previous()
        power = rho**gap
        left = 1 - power**2
        moved = (white[later] - power[:, None] * white[earlier]) / np.sqrt(left)[:, None]
        white[later], logdet = moved, logdet + float(np.log(left).sum())
    return white, logdet


class _Whitening:
    """A mixed model at given ratios and rho."""

    def __init__(self, y: Floats, X: Floats, blocks: Sequence[Block], residual: Residual) -> None:
        self.blocks, self.residual = blocks, residual
        self.columns = np.column_stack([y, X, *(b.Z for b in blocks)])
        self.p = X.shape[1]

    def __call__(self, psi: Floats) -> tuple[Problem, float]:
        white, logdet = _whitened(self.residual, self.columns, *_natural(self.residual, psi))
        y, X, rest = white[:, 0], white[:, 1 : 1 + self.p], white[:, 1 + self.p :]
        blocks, start = [], 0
        for block in self.blocks:
            width = block.Z.shape[1]
            blocks.append(replace(block, Z=rest[:, start : start + width]))
            start += width
        return prepare(y, X, blocks), logdet


def deviance_of_scaling(problem: Problem, *, reml: bool) -> float:
    """Return what orthonormal columns of X take from the restricted criterion."""
    return 2 * float(np.log(np.diag(problem.Rx)).sum()) if reml else 0.0


def fit(
    y: Floats,
    X: Floats,
    blocks: Sequence[Block],
    residual: Residual,
    *,
    reml: bool = True,
    start: Sequence[Floats] | None = None,
    known: LeastSquares | None = None,
) -> tuple[Problem, Fit]:
    """Return the whitened problem and its fit, on the user's scale.

    `start` is L of a similar fit, `known` is `least_squares(y, X)`, from a caller who has them.

    Raises
    ------
    ConvergenceError
        When no certified optimum is reached; it carries the record.
    """
    if residual.white:
        problem = prepare(y, X, blocks, known)
        return problem, mixed.fit(problem, reml=reml, start=start)
    whitening = _Whitening(y, X, blocks, residual)
    if residual.plain:
        problem, logdet = whitening(np.zeros(0))
        found = mixed.fit(problem, reml=reml, start=start)
        return problem, replace(found, deviance=found.deviance + logdet)
    outer = _Profile(whitening, reml, start)
    climb = Climb(outer, _start(y, X, residual), len(y))
    climb.run()
    psi = climb.theta
    ratios, rho = _natural(residual, psi)
    if rho is not None and residual.lowest == 0.0 and rho < NO_CORRELATION:
        return _without_correlation(y, X, blocks, residual, reml)
    spread = ratios.min() / ratios.max()
    if climb.decrement > GOOD_DECREMENT or spread < EXTREME_RATIO or abs(rho or 0.0) > EXTREME_RHO:
        told = f"variance ratios {np.round(ratios, 6).tolist()}" + ("" if rho is None else f", rho {rho:.6f}")
        message = "the residuals' parameters ran to an edge"
        record = replace(outer.last.convergence, converged=False, message=message) if outer.last else None
        raise ConvergenceError(
            f"the fit did not converge: the residuals' parameters end at {told}; use a simpler residual=, or fewer "
            "random effects",
            {} if record is None else record.to_dict(),
        )
    problem, logdet = whitening(psi)
    found = mixed.fit(problem, reml=reml, start=outer.last.L if outer.last else start)
    record = replace(
        found.convergence,
        iterations=found.convergence.iterations + climb.iterations,
        evaluations=found.convergence.evaluations + climb.evaluations,
    )
    return problem, replace(found, deviance=found.deviance + logdet, ratios=ratios, rho=rho, convergence=record)


def _without_correlation(
    y: Floats, X: Floats, blocks: Sequence[Block], residual: Residual, reml: bool
) -> tuple[Problem, Fit]:
    problem, found = fit(y, X, blocks, replace(residual, series=None, position=None), reml=reml)
    record = replace(found.convergence, boundary=True, message="converged on the boundary")
    return problem, replace(found, rho=0.0, convergence=record)


def _start(y: Floats, X: Floats, residual: Residual) -> Floats:
    squares = least_squares(y, X)[0][:, -1] ** 2 * residual.precision
    counts = np.bincount(residual.strata, minlength=residual.levels)
    means = np.bincount(residual.strata, squares, residual.levels) / counts
    # Halfway to equal: part of the spread is the random effects'.
    psi = 0.5 * np.log(means[1:] / means[0]) if means.min() > 0 else np.zeros(residual.levels - 1)
    return psi if residual.position is None else np.append(psi, unbounded(np.array(0.3), residual.lowest))


class _Profile:
    """The criterion of the residuals' parameters, everything else at its best; the slope is the envelope's."""

    def __init__(self, whitening: _Whitening, reml: bool, start: Sequence[Floats] | None) -> None:
        self.whitening, self.reml, self.start = whitening, reml, start
        self.last: Fit | None = None

    def __call__(self, psi: Floats) -> tuple[float, Floats]:
        try:
            with np.errstate(all="ignore"):
                problem, logdet = self.whitening(psi)
                found = mixed.fit(problem, reml=self.reml, start=self.last.L if self.last else self.start)
                slope = np.array([self._along(psi, found, j) for j in range(len(psi))])
        except (ConvergenceError, np.linalg.LinAlgError, ValueError):
            return math.inf, np.zeros(len(psi))
        self.last = found
        return found.deviance + logdet, slope

    def _along(self, psi: Floats, found: Fit, j: int) -> float:
        ends = []
        for sign in (1.0, -1.0):
            moved = psi.copy()
            moved[j] += sign * STEP
            problem, logdet = self.whitening(moved)
            state = evaluate(problem, found.L, reml=self.reml, gradient=False)
            ends.append(state.deviance + deviance_of_scaling(problem, reml=self.reml) + logdet)
        return (ends[0] - ends[1]) / (2 * STEP)
