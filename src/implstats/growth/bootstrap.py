"""Draws of patients, with replacement within each cohort, and the growth models refitted to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implstats._core import mixed
from implstats._core.resample import Reweighting, reweighting
from implstats._core.structure import Block, prepare
from implstats.errors import ConvergenceError
from implstats.growth.fit import GrowthResult

__all__ = ["effect_size_draws"]

Floats = NDArray[np.float64]


def effect_size_draws(
    fits: Mapping[str, GrowthResult], at: Sequence[float], sd: str | float, draws: int, rng: np.random.Generator
) -> tuple[Floats, int]:
    """Return d of each outcome, cohort and time in draws of patients, and how many draws could not be fitted.

    A patient comes with all of its outcomes, so the outcomes' correlation is kept.

    Returns
    -------
    draws : (draws that could be fitted, outcomes, cohorts, times)
    """
    patients: dict[Any, int] = {}
    for fit in fits.values():
        levels = fit.design.terms[0].levels
        cohort_of = np.empty(len(levels), dtype=np.intp)
        cohort_of[fit.design.patient_codes] = fit.design.cohort_codes
        patients |= {v: c for v, c in zip(levels, cohort_of.tolist(), strict=True) if v not in patients}
    names = list(patients)
    stratum = np.array([patients[name] for name in names])
    weights = np.zeros((draws, len(names)), dtype=np.int32)
    for c in np.unique(stratum):
        here = np.flatnonzero(stratum == c)
        weights[:, here] = rng.multinomial(len(here), np.full(len(here), 1 / len(here)), size=draws)
    where = {name: k for k, name in enumerate(names)}
    refits = [_Refit(fit, at, sd, [where[v] for v in fit.design.terms[0].levels]) for fit in fits.values()]
    found, failed = [], 0
    for w in weights:
        try:
            found.append([refit(w) for refit in refits])
        except (ConvergenceError, ValueError, np.linalg.LinAlgError):
            failed += 1
    return np.array(found), failed


class _Refit:
    """One outcome's model, ready to be fitted to other weights of the same patients."""

    def __init__(self, result: GrowthResult, at: Sequence[float], sd: str | float, order: Sequence[int]) -> None:
        self.result, self.sd, self.order = result, sd, np.array(order)
        self.rows = result.improvement_rows(at)
        design = result.design
        self.products: Reweighting | None = None
        if result.problem.second is None:
            self.products = reweighting(result.problem, design.y, design.X, design.terms[0].of_row)
        start = design.t == design.baseline
        self.baseline = [
            (design.patient_codes[start & (design.cohort_codes == c)], design.y[start & (design.cohort_codes == c)])
            for c in range(len(design.cohorts))
        ]

    def __call__(self, weights: NDArray[np.int32]) -> Floats:
        w = weights[self.order].astype(float)
        reml = self.result.fit.reml
        start = [root if root.shape[1] else np.eye(len(root)) * 0.1 for root in self.result.fit.L]
        if self.products is not None:
            problem = self.products(w)
            fit = mixed.fit(problem, reml=reml, start=start)
        else:
            problem, fit = self._rebuilt(w, start)
        change = np.array([rows @ fit.beta for rows in self.rows])
        return np.asarray(change / self._sds(w, fit)[:, None])

    def _rebuilt(self, w: Floats, start: Sequence[Floats]) -> tuple[Any, mixed.Fit]:
        """Return the fit to the rows of the drawn patients, each draw of a patient a patient of its own."""
        design = self.result.design
        copies = np.repeat(np.arange(len(w)), w.astype(int))
        order = np.argsort(design.patient_codes, kind="stable")
        counts = np.bincount(design.patient_codes, minlength=len(w))
        first = np.cumsum(counts) - counts
        rows = np.concatenate([order[first[k] : first[k] + counts[k]] for k in copies])
        own = np.repeat(np.arange(len(copies)), counts[copies])
        blocks = []
        for term in design.terms:
            if term.group == str(design.patient):
                blocks.append(Block(own, len(copies), term.Z[rows]))
            else:
                levels, values = np.unique(term.of_row[rows], return_inverse=True)
                blocks.append(Block(values, len(levels), term.Z[rows]))
        problem = prepare(design.y[rows], design.X[rows], blocks)
        return problem, mixed.fit(problem, reml=self.result.fit.reml, start=start)

    def _sds(self, w: Floats, fit: mixed.Fit) -> Floats:
        if not isinstance(self.sd, str):
            return np.full(len(self.baseline), float(self.sd))
        if self.sd == "model":
            return np.full(len(self.baseline), np.sqrt(replace(self.result, fit=fit).model_variance()))
        drawn = [(w[codes], y) for codes, y in self.baseline]
        drawn = drawn[:1] if self.sd == "reference" else drawn
        if min(k.sum() for k, _ in drawn) < 2:
            raise ValueError("a cohort has fewer than two baseline values in this draw")
        squares = np.array([float(k @ (y - k @ y / k.sum()) ** 2) for k, y in drawn])
        dfs = np.array([k.sum() - 1 for k, _ in drawn])
        chosen = squares.sum(keepdims=True) / dfs.sum() if self.sd == "baseline" else squares / dfs
        if chosen.min() <= 0:
            raise ValueError("the outcome does not vary at the baseline in this draw")
        return np.asarray(np.sqrt(np.broadcast_to(chosen, (len(self.baseline),))))
