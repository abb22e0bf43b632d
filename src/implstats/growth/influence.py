"""Every patient and every cluster left out in turn, and the model refitted without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implstats._core import residual
from implstats.design import Design, GrowthDesign
from implstats.design.without import keep_rows
from implstats.errors import ConvergenceError
from implstats.growth.cohorts import CohortModel
from implstats.growth.mmrm import MMRMResult
from implstats.growth.models import MixedResult, blocks_of
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
    design = refits.design
    factors = {unit_name(design): (refits.patient_of_row, refits.patients)}
    for term in design.terms:
        factors.setdefault(term.group, (term.of_row, term.levels))
    found = []
    for group, (codes, levels) in factors.items():
        beta = np.full((len(levels), design.X.shape[1]), np.nan)
        left = _estimable(design, codes, len(levels))
        weighted = left[_by_weights(refits, codes, len(levels))[left]]
        beta[weighted] = _weighted(refits, codes, weighted)
        for k in np.setdiff1d(left, weighted).tolist():
            beta[k] = _without_rows(result, codes != k)
        found.append(Deletions(group, tuple(levels), np.bincount(codes, minlength=len(levels)), beta))
    return tuple(found)


def _estimable(design: Design, codes: Ints, count: int) -> Ints:
    """Return what can be left out: every grouping factor keeps two levels, as a variance between groups takes."""
    good = np.ones(count, dtype=bool)
    for term in design.terms:
        good &= len(term.levels) - _lost(term.of_row, len(term.levels), codes, count) > 1
    return np.flatnonzero(good)


def _by_weights(refits: Refits, codes: Ints, count: int) -> NDArray[np.bool_]:
    """Return which levels hold whole patients, and no residual variance of their own: those are left out by weights."""
    unit, structure = refits.patient_of_row, refits.design.noise.structure
    split = np.zeros(len(refits.patients), dtype=np.intp)
    split[unit] = codes
    whole = np.array_equal(split[unit], codes)
    return np.asarray((_lost(structure.strata, structure.levels, codes, count) == 0) & whole)


def _lost(values: Ints, levels: int, codes: Ints, count: int) -> Ints:
    """Return how many levels have all their rows in each of `count` groups of rows."""
    low, high = np.full(levels, count), np.full(levels, -1)
    np.minimum.at(low, values, codes)
    np.maximum.at(high, values, codes)
    return np.bincount(low[low == high], minlength=count)


def _weighted(refits: Refits, codes: Ints, left: Ints) -> Floats:
    """Return the fixed effects without the patients of each level in `left`."""
    cluster = np.empty(len(refits.patients), dtype=np.intp)
    cluster[refits.patient_of_row] = codes
    found = [np.empty((0, refits.design.X.shape[1]))]
    size = max(1, HELD // len(cluster))
    for start in range(0, len(left), size):
        draws = refits.weighted((cluster != left[start : start + size, None]).astype(float))
        found.append(np.where(draws.good[:, None], draws.beta, np.nan))
    return np.concatenate(found)


def _without_rows(result: MixedResult | MMRMResult, kept: NDArray[np.bool_]) -> Floats:
    """Return the fixed effects of the rows that are kept, nan where they cannot be fitted."""
    assert isinstance(result, MixedResult)
    start = [root if root.shape[1] else 0.1 * np.eye(len(root)) for root in result.fit.L]
    try:
        rest = keep_rows(result.design, kept)
        blocks, structure = blocks_of(rest), rest.noise.structure
        return residual.fit(rest.y, rest.X, blocks, structure, reml=result.fit.reml, start=start)[1].beta
    except (ConvergenceError, ValueError, np.linalg.LinAlgError):
        return np.full(result.design.X.shape[1], np.nan)


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
