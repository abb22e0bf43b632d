"""Every patient and every cluster left out in turn, and the model refitted without it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implstats._core import residual
from implstats._core.structure import Block
from implstats.design import Design, GrowthDesign
from implstats.errors import ConvergenceError
from implstats.growth.mmrm import MMRMResult
from implstats.growth.models import MixedResult
from implstats.growth.refits import Refits
from implstats.results import lock

__all__ = ["Deletions", "left_out", "units"]

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

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        lock((self.rows, self.beta))

    def cooks_distance(self, beta: Floats, vcov: Floats) -> Floats:
        """Return how far the fixed effects move together without each level, in units of their covariance, (L,)."""
        change = self.beta - beta
        return np.asarray((change * np.linalg.solve(vcov, change.T).T).sum(axis=1) / len(beta))

    def dfbetas(self, beta: Floats, vcov: Floats) -> Floats:
        """Return how far each level pulls every fixed effect, in standard errors, (L, p)."""
        return np.asarray((beta - self.beta) / np.sqrt(np.diag(vcov)))


def units(refits: Refits) -> str:
    """Return the name of what is left out one by one: the patient's column, or the largest grouping factor."""
    design = refits.design
    if isinstance(design, GrowthDesign):
        return str(design.patient)
    return max(design.terms, key=lambda term: len(term.levels)).group


def left_out(result: MixedResult | MMRMResult) -> tuple[Deletions, ...]:
    """Return the fits without each patient, then without each level of every other grouping factor."""
    refits = Refits(result)
    design, unit = refits.design, refits.patient_of_row
    counts = np.bincount(unit, minlength=len(refits.patients))
    own = np.arange(len(refits.patients))
    found = [Deletions(units(refits), tuple(refits.patients), counts, _weighted(refits, own, own))]
    others = {term.group: term for term in design.terms if term.group != found[0].group}
    for group, term in others.items():
        counts = np.bincount(term.of_row, minlength=len(term.levels))
        cluster = np.empty(len(own), dtype=np.intp)
        cluster[unit] = term.of_row
        nested = np.array_equal(cluster[unit], term.of_row)
        left = np.flatnonzero([_estimable(design, term.of_row != k) for k in range(len(counts))])
        beta = np.full((len(counts), design.X.shape[1]), np.nan)
        beta[left] = _weighted(refits, cluster, left) if nested else _without_rows(result, term.of_row, left)
        found.append(Deletions(group, tuple(term.levels), counts, beta))
    return tuple(found)


def _estimable(design: Design, kept: NDArray[np.bool_]) -> bool:
    """Return whether every grouping factor keeps two levels, as a variance between groups takes."""
    return all(len(np.unique(term.of_row[kept])) > 1 for term in design.terms)


def _weighted(refits: Refits, cluster: Ints, left: Ints) -> Floats:
    """Return the fixed effects without the patients of each cluster in `left`."""
    size = max(1, HELD // len(cluster))
    found = []
    for part in np.array_split(left, -(-len(left) // size)) if len(left) else []:
        draws = refits.weighted((cluster != part[:, None]).astype(float))
        found.append(np.where(draws.good[:, None], draws.beta, np.nan))
    return np.concatenate(found) if found else np.zeros((0, refits.design.X.shape[1]))


def _without_rows(result: MixedResult | MMRMResult, codes: Ints, left: Ints) -> Floats:
    """Return the fixed effects without the rows of each level in `left`, where patients meet several levels."""
    assert isinstance(result, MixedResult)
    return np.array([_fitted(result, codes != k) for k in left.tolist()]).reshape(len(left), -1)


def _fitted(result: MixedResult, kept: NDArray[np.bool_]) -> Floats:
    design, structure = result.design, result.design.noise.structure
    nothing = np.full(design.X.shape[1], np.nan)
    strata = structure.strata[kept]
    if len(np.unique(strata)) < structure.levels:
        return nothing
    rest = replace(
        structure,
        strata=strata,
        precision=structure.precision[kept],
        series=None if structure.series is None else structure.series[kept],
        position=None if structure.position is None else structure.position[kept],
    )
    blocks = [_block(term.of_row[kept], term.Z[kept]) for term in design.terms]
    start = [root if root.shape[1] else 0.1 * np.eye(len(root)) for root in result.fit.L]
    try:
        return residual.fit(design.y[kept], design.X[kept], blocks, rest, reml=result.fit.reml, start=start)[1].beta
    except (ConvergenceError, ValueError, np.linalg.LinAlgError):
        return nothing


def _block(codes: Ints, Z: Floats) -> Block:
    levels, values = np.unique(codes, return_inverse=True)
    return Block(values.astype(np.intp), len(levels), Z)
