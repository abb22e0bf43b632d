"""Every patient and every cluster left out in turn, and the model refitted without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implstats._core import residual
from implstats._core.structure import Block
from implstats.design import Design, GrowthDesign
from implstats.errors import ConvergenceError
from implstats.growth.cohorts import CohortModel
from implstats.growth.mmrm import MMRMResult
from implstats.growth.models import MixedResult
from implstats.growth.refits import Refits
from implstats.results import lock

__all__ = ["Deletions", "left_out", "retained_at_the_end", "share_retained", "unit_name"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# Numbers (deletions x patients) of weights that are held at once.
HELD = 4_000_000


@dataclass(frozen=True, eq=False)
class Deletions:
    """Fits without each level of a grouping factor.

    Attributes
    ----------
    group : str
        The grouping factor.
    levels : tuple
        What was left out, one fit each.
    rows : (L,) rows of each level.
    beta : (L, p) fixed effects without it, nan where the rest could not be fitted.
    """

    group: str
    levels: tuple[Any, ...]
    rows: Ints
    beta: Floats

    def __post_init__(self) -> None:
        lock((self.rows, self.beta))

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__dict__.update(state)
        lock((self.rows, self.beta))

    def cooks_distance(self, beta: Floats, vcov: Floats) -> Floats:
        """Return how far the fixed effects move together without each level, in units of their covariance, (L,)."""
        change = self.beta - beta
        return np.asarray((change * np.linalg.solve(vcov, change.T).T).sum(axis=1) / len(beta))

    def dfbetas(self, beta: Floats, vcov: Floats) -> Floats:
        """Return how far each level pulls every fixed effect, in standard errors, (L, p)."""
        return np.asarray((beta - self.beta) / np.sqrt(np.diag(vcov)))


def unit_name(design: Design) -> str:
    """Return what is left out one by one: the patient's column, or the grouping factor with the most levels."""
    if isinstance(design, GrowthDesign):
        return str(design.patient)
    return max(design.terms, key=lambda term: len(term.levels)).group


def left_out(result: MixedResult | MMRMResult) -> tuple[Deletions, ...]:
    """Return the fits without each patient, then without each level of every other grouping factor."""
    refits = Refits(result)
    design, unit = refits.design, refits.patient_of_row
    factors = {unit_name(design): (unit, refits.patients)}
    for term in design.terms:
        factors.setdefault(term.group, (term.of_row, term.levels))
    found = []
    for group, (codes, levels) in factors.items():
        beta = np.full((len(levels), design.X.shape[1]), np.nan)
        left = _estimable(design, codes, len(levels))
        cluster = np.empty(len(refits.patients), dtype=np.intp)
        cluster[unit] = codes
        nested = np.array_equal(cluster[unit], codes)
        beta[left] = _weighted(refits, cluster, left) if nested else _without_rows(result, codes, left)
        found.append(Deletions(group, tuple(levels), np.bincount(codes, minlength=len(levels)), beta))
    return tuple(found)


def _estimable(design: Design, codes: Ints, count: int) -> Ints:
    """Return what can be left out: grouping factors keep two levels, and every residual variance keeps rows."""
    structure = design.noise.structure
    good = _lost(structure.strata, structure.levels, codes, count) == 0
    for term in design.terms:
        good &= len(term.levels) - _lost(term.of_row, len(term.levels), codes, count) > 1
    return np.flatnonzero(good)


def _lost(values: Ints, levels: int, codes: Ints, count: int) -> Ints:
    """Return how many levels have all their rows in each of `count` groups of rows."""
    low, high = np.full(levels, count), np.full(levels, -1)
    np.minimum.at(low, values, codes)
    np.maximum.at(high, values, codes)
    return np.bincount(low[low == high], minlength=count)


def _weighted(refits: Refits, cluster: Ints, left: Ints) -> Floats:
    """Return the fixed effects without the patients of each cluster in `left`."""
    found = [np.empty((0, refits.design.X.shape[1]))]
    size = max(1, HELD // len(cluster))
    for start in range(0, len(left), size):
        draws = refits.weighted((cluster != left[start : start + size, None]).astype(float))
        found.append(np.where(draws.good[:, None], draws.beta, np.nan))
    return np.concatenate(found)


def _without_rows(result: MixedResult | MMRMResult, codes: Ints, left: Ints) -> Floats:
    """Return the fixed effects without the rows of each level in `left`, of which patients have several."""
    assert isinstance(result, MixedResult)
    fits = [_refitted(result, codes != k) for k in left.tolist()]
    return np.array(fits).reshape(len(left), -1)


def _refitted(result: MixedResult, kept: NDArray[np.bool_]) -> Floats:
    design, structure = result.design, result.design.noise.structure
    rest = replace(
        structure,
        strata=structure.strata[kept],
        precision=structure.precision[kept],
        series=None if structure.series is None else structure.series[kept],
        position=None if structure.position is None else structure.position[kept],
    )
    blocks = [_block(term.of_row[kept], term.Z[kept]) for term in design.terms]
    start = [root if root.shape[1] else 0.1 * np.eye(len(root)) for root in result.fit.L]
    try:
        return residual.fit(design.y[kept], design.X[kept], blocks, rest, reml=result.fit.reml, start=start)[1].beta
    except (ConvergenceError, ValueError, np.linalg.LinAlgError):
        return np.full(design.X.shape[1], np.nan)


def _block(codes: Ints, Z: Floats) -> Block:
    levels, values = np.unique(codes, return_inverse=True)
    return Block(values.astype(np.intp), len(levels), Z)


def retained_at_the_end(answers: CohortModel) -> Iterator[tuple[Any, float, Floats, Floats]]:
    """Yield each cohort, the last visit, and the contrasts that are its improvement until then and the reference's."""
    last = float(max(answers.changes(df="normal").tidy()["time"]))
    rows = [row[0] for row in answers.improvement_rows([last])]
    for cohort, row in zip(answers.cohorts[1:], rows[1:], strict=True):
        yield cohort, last, row, rows[0]


def share_retained(beta: Floats, row: Floats, reference: Floats) -> Floats:
    """Return the improvement retained at each beta (L, p), nan where the reference does not improve."""
    change = beta @ reference
    return np.asarray(beta @ row / np.where(change > 0, change, np.nan))
