"""Residuals standardised by the model, and the cohorts and visits whose spread is compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implstats import _check
from implstats.design import Design, GrowthDesign
from implstats.errors import DataError
from implstats.growth.mmrm import MMRMResult
from implstats.growth.models import MixedResult

__all__ = ["cells", "studentised", "whitened"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# Numbers of covariances that are held at once.
HELD = 4_000_000
EXACT = 1e-8


def studentised(result: MixedResult) -> Floats:
    """Return conditional residuals over their standard errors; nan for a row that the model fits by necessity.

    With P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1 the residuals are R P y, and R P R = R - Var(predicted - true).
    """
    variance = result._residual_sd**2
    try:
        left = variance - result.predict()["std_error"].to_numpy() ** 2
    except DataError:
        # Too many crossed levels for exact errors of prediction; the residual's SD is a little too large a measure.
        left = variance
    free = left > EXACT * variance
    residual = result.augment()["residual"].to_numpy()
    return np.where(free, residual / np.sqrt(np.where(free, left, 1.0)), np.nan)


def whitened(result: MixedResult | MMRMResult, unit: Ints) -> Floats:
    """Return L_i^-1 (y_i - X_i b) with L_i L_i' = V_i, the rows of each unit in the order of their times."""
    design = result.design
    position = design.noise.structure.position
    if isinstance(design, GrowthDesign):
        position = design.t
    order = np.lexsort((np.arange(len(unit)) if position is None else position, unit))
    counts = np.bincount(unit)
    first = np.cumsum(counts) - counts
    residual = design.y - design.X @ result.fit.beta
    out = np.empty(len(unit))
    for m in np.unique(counts).tolist():
        same = np.flatnonzero(counts == m)
        for part in np.array_split(same, -(-len(same) * m * m // HELD)):
            rows = order[first[part][:, None] + np.arange(m)]
            root = np.linalg.cholesky(_covariance(result, rows))
            out[rows] = np.linalg.solve(root, residual[rows][:, :, None])[:, :, 0]
    return out


def _covariance(result: MixedResult | MMRMResult, rows: Ints) -> Floats:
    """Return V_i of units that have as many rows each, (units, m, m), given their rows (units, m)."""
    if isinstance(result, MMRMResult):
        design = result.design
        place = np.searchsorted(np.array(design.times), design.t)[rows]
        group = design.cohort_codes[rows[:, :1, None]] if result.by_cohort else 0
        return np.asarray(result.sigmas[group, place[:, :, None], place[:, None, :]])
    structure, sd = result.design.noise.structure, result._residual_sd[rows]
    correlation = np.broadcast_to(np.eye(rows.shape[1]), (*rows.shape, rows.shape[1]))
    if result.fit.rho and structure.series is not None and structure.position is not None:
        gap = np.abs(_across(structure.position[rows], np.subtract))
        correlation = np.where(_across(structure.series[rows], np.equal), result.fit.rho**gap, 0.0)
    V = sd[:, :, None] * sd[:, None, :] * correlation
    for term, G in zip(result.design.terms, result.fit.G, strict=True):
        Z = term.Z[rows]
        V += _across(term.of_row[rows], np.equal) * (Z @ G @ np.swapaxes(Z, 1, 2))
    return V


def _across(values: NDArray[Any], compare: np.ufunc) -> NDArray[Any]:
    """Return what a comparison says of every two rows of each unit, (units, m, m)."""
    return np.asarray(compare(values[:, :, None], values[:, None, :]))


def cells(design: Design) -> Iterator[tuple[str, Any, NDArray[np.bool_]]]:
    """Yield the rows of each cohort, then those of each visit (each third of the times, if they are irregular)."""
    if not isinstance(design, GrowthDesign):
        return
    for c, cohort in enumerate(design.cohorts):
        yield str(design.cohort), cohort, design.cohort_codes == c
    if design.times:
        for t in design.times:
            yield str(design.time), _check.show(t), design.t == t
        return
    ends = np.quantile(design.t, [0, 1 / 3, 2 / 3, 1])
    third = np.searchsorted(ends[1:3], design.t)
    for k in range(3):
        yield str(design.time), f"{ends[k]:.4g} to {ends[k + 1]:.4g}", third == k
