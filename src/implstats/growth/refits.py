"""The same model fitted to many versions of its data: patients weighted or left out, or other outcomes.

With one grouping factor, and for MMRM, all versions climb together on sufficient statistics; with several factors each
is fitted from its rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from implstats._core import residual as residuals
from implstats._core.many import Refitted, Sums, batches, refit
from implstats._core.marginal import SINGULAR, Covariance, Patterns, complex_step, criterion, smallest
from implstats._core.mixed import Fit
from implstats._core.structure import Block, level_sums
from implstats._core.written import Written, free, rotated, scaled_blocks, written
from implstats.design import GrowthDesign
from implstats.errors import ConvergenceError
from implstats.growth.fit import GrowthResult
from implstats.growth.mmrm import MMRMResult
from implstats.growth.models import MixedResult, blocks_of

__all__ = ["Draws", "Refits", "Together", "curvature"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

SMALL_VARIANCE = 1e-5
SMALL_CORRELATION = 1e-3
FALSE_SLOPE = 1e-3
LOST = 1e-9
STEP = 1e-5


@dataclass(frozen=True, slots=True)
class Draws:
    """What many fits found, on the user's scale.

    Attributes
    ----------
    beta : (B, p) fixed effects.
    deviance : (B,) -2 log-likelihood (restricted under REML).
    variances : (B, k) in the order of the result's variances().
    total : (B,) the outcome's total variance at the baseline under the model, nan without one.
    good : (B,) whether each was fitted.
    """

    beta: Floats
    deviance: Floats
    variances: Floats
    total: Floats
    good: NDArray[np.bool_]

    @staticmethod
    def together(parts: Sequence[Draws]) -> Draws:
        """Return all draws of several."""
        return Draws(*(np.concatenate([getattr(part, name) for part in parts]) for name in Draws.__slots__))


class Refits:
    """A result, ready to be fitted to other versions of its data."""

    def __init__(self, result: MixedResult | MMRMResult) -> None:
        self.result, self.design = result, result.design
        self.reml = result.fit.reml
        design = self.design
        if isinstance(design, GrowthDesign):
            self.patient_of_row, count = design.patient_codes, int(design.patient_codes.max()) + 1
            self.patients = _first_values(design.roles[design.patient], design.patient_codes, count)
            self.cohort_of = np.empty(count, dtype=np.intp)
            self.cohort_of[design.patient_codes] = design.cohort_codes
        else:
            largest = max(design.terms, key=lambda term: len(term.levels))
            self.patient_of_row, self.patients = largest.of_row, list(largest.levels)
            self.cohort_of = np.zeros(len(self.patients), dtype=np.intp)

    @cached_property
    def road(self) -> Together | None:
        """The road on which all versions climb together, where there is one."""
        if isinstance(self.result, MMRMResult):
            return _of_mmrm(self.result)
        groups = {term.group for term in self.design.terms}
        structure = self.design.noise.structure
        series = structure.series is None or np.array_equal(structure.series, self.design.terms[0].of_row)
        return _of_mixed(self.result) if len(groups) == 1 and series else None

    def weighted(self, weights: NDArray[Any]) -> Draws:
        """Return the fits in which patient i counts weights[b, i] times, weights (B, N)."""
        weights = np.asarray(weights, dtype=float)
        if (road := self.road) is None:
            return Draws.together([self._rebuilt(w) for w in weights])
        found = [road.weighted(weights[part]) for part in batches(len(weights), road.sums.size)]
        return self._finished(road, found, lambda b: self._rebuilt(weights[b]))

    def redrawn(self, outcomes: Floats) -> Draws:
        """Return the fits of the same rows with other outcomes (n, B)."""
        if (road := self.road) is None:
            return Draws.together([self._refitted(y) for y in outcomes.T])
        fixed = self.design.X @ self.result.fit.beta
        parts = batches(outcomes.shape[1], road.sums.size)
        found = [road.redrawn(outcomes[:, part] - fixed[:, None]) for part in parts]
        return self._finished(road, found, lambda b: self._refitted(outcomes[:, b]))

    def _finished(self, road: Together, found: Sequence[tuple[Draws, Floats]], alone: Any) -> Draws:
        """Return the draws; those that stopped at a false boundary, or not at all, are fitted one by one."""
        draws = Draws.together([part for part, _ in found])
        false = np.concatenate([mark for _, mark in found]) > 0
        if road.mixed is None:
            return draws
        parts = [np.array(getattr(draws, name)) for name in Draws.__slots__]
        for b in np.flatnonzero(~draws.good | false):
            single = alone(int(b))
            for whole, name in zip(parts, Draws.__slots__, strict=True):
                whole[b] = getattr(single, name)[0]
        return Draws(*parts)

    def _rebuilt(self, weights: Floats) -> Draws:
        """Return the fit to the rows of the patients drawn, each draw of a patient a patient of its own."""
        design, structure = self.design, self.design.noise.structure
        whole = np.rint(weights).astype(int)
        assert np.array_equal(whole, weights), "several factors take whole weights only"
        copies = np.repeat(np.arange(len(whole)), whole)
        order = np.argsort(self.patient_of_row, kind="stable")
        counts = np.bincount(self.patient_of_row, minlength=len(whole))
        first = np.cumsum(counts) - counts
        rows = np.concatenate([order[first[k] : first[k] + counts[k]] for k in copies])
        own = np.repeat(np.arange(len(copies)), counts[copies])

        def recoded(codes: Ints) -> tuple[Ints, int]:
            if np.array_equal(codes, self.patient_of_row):
                return own, len(copies)
            pairs = len(np.unique(np.column_stack([codes, self.patient_of_row]), axis=0))
            # What lies within the unit that is drawn is drawn with it.
            within = pairs == len(np.unique(codes))
            copy = own * (int(codes.max()) + 1) if within else 0
            levels, values = np.unique(codes[rows] + copy, return_inverse=True)
            return values.astype(np.intp), len(levels)

        blocks = [Block(*recoded(term.of_row), term.Z[rows]) for term in design.terms]
        drawn = replace(
            structure,
            strata=structure.strata[rows],
            precision=structure.precision[rows],
            series=None if structure.series is None else recoded(structure.series)[0],
            position=None if structure.position is None else structure.position[rows],
        )
        return self._single(design.y[rows], design.X[rows], blocks, drawn)

    def _refitted(self, y: Floats) -> Draws:
        return self._single(y, self.design.X, blocks_of(self.design), self.design.noise.structure)

    def _single(self, y: Floats, X: Floats, blocks: Sequence[Block], structure: residuals.Residual) -> Draws:
        result = self.result
        assert isinstance(result, MixedResult)
        start = [root if root.shape[1] else np.eye(len(root)) * 0.1 for root in result.fit.L]
        try:
            fit = residuals.fit(y, X, blocks, structure, reml=self.reml, start=start)[1]
        except (ConvergenceError, ValueError, np.linalg.LinAlgError):
            nothing = np.full((1, X.shape[1]), np.nan)
            gone = np.full(1, np.nan)
            return Draws(nothing, gone, np.full((1, len(result.variances())), np.nan), gone, np.zeros(1, dtype=bool))
        there = replace(result, fit=fit)
        total = there.model_variance() if isinstance(there, GrowthResult) else np.nan
        return Draws(
            fit.beta[None], np.array([fit.deviance]), _variances(there)[None], np.array([total]), np.ones(1, dtype=bool)
        )

    def simulate(self, draws: int, rng: np.random.Generator) -> Floats:
        """Return outcomes drawn from the fitted model, (n, draws)."""
        fixed = (self.design.X @ self.result.fit.beta)[:, None]
        if isinstance(self.result, MMRMResult):
            return fixed + _visits_drawn(self.result, draws, rng)
        out = np.broadcast_to(fixed, (len(fixed), draws)).copy()
        for term, G in zip(self.design.terms, self.result.fit.G, strict=True):
            w, vectors = np.linalg.eigh(G)
            root = vectors * np.sqrt(np.maximum(w, 0.0))
            effects = rng.standard_normal((len(term.levels), draws, len(root))) @ root.T
            out += np.einsum("nq,ndq->nd", term.Z, effects[term.of_row])
        return out + self._noise(draws, rng)

    def _noise(self, draws: int, rng: np.random.Generator) -> Floats:
        fit, structure = self.result.fit, self.design.noise.structure
        assert isinstance(fit, Fit)
        sd = np.sqrt(fit.sigma2 * fit.ratios[structure.strata] / structure.precision)[:, None]
        white = rng.standard_normal((len(sd), draws))
        if not fit.rho:
            return sd * white
        later, earlier, gap = structure.previous()
        power = (fit.rho**gap)[:, None]
        # Rows come in the order of their series, so each finds the one before it done.
        for k in range(len(later)):
            white[later[k]] = power[k] * white[earlier[k]] + np.sqrt(1 - power[k] ** 2) * white[later[k]]
        return sd * white


def _first_values(values: Any, codes: Ints, count: int) -> list[Any]:
    first = np.full(count, len(codes))
    np.minimum.at(first, codes, np.arange(len(codes)))
    return [values[k] for k in first.tolist()]


def _visits_drawn(result: MMRMResult, draws: int, rng: np.random.Generator) -> Floats:
    design, roots = result.design, np.linalg.cholesky(result.sigmas)
    place = np.searchsorted(np.array(design.times), design.t)
    patients, visits = int(design.patient_codes.max()) + 1, roots.shape[1]
    white = rng.standard_normal((patients, visits, draws))
    group = design.cohort_codes if result.by_cohort else np.zeros(len(design.t), dtype=np.intp)
    return np.asarray(np.einsum("nv,nvd->nd", roots[group, place], white[design.patient_codes]))


def _variances(result: MixedResult) -> Floats:
    table = result.variances()
    return np.where(table["variance"].isna(), table["correlation"], table["variance"]).astype(float)


@dataclass(frozen=True)
class Together:
    """A fit and its sufficient statistics, ready for many versions at once.

    Attributes
    ----------
    result, sums, covariance : the fit, its patients' share of C, and V as a function of the parameters.
    start, curvature : where every climb begins, and the criterion's second derivatives there.
    constants : (N,) what each patient adds to the criterion by known precisions.
    places : the sparse matrix (m N, n) that takes rows to the patterns' places.
    white : (n,) what rows are multiplied by first.
    mixed : V of a mixed model, None for MMRM.
    """

    result: MixedResult | MMRMResult
    sums: Sums
    covariance: Covariance
    start: Floats
    curvature: Floats
    constants: Floats
    places: Any
    white: Floats
    mixed: Written | None

    def weighted(self, weights: Floats) -> tuple[Draws, Floats]:
        """Return the draws, and which of them stopped at a false boundary."""
        C, counts, rows = self.sums.weighted(weights)
        # X is orthonormal under weights of 1: a small eigenvalue is a column that these weights have lost.
        p = C.shape[-1] - 1
        lost = np.linalg.eigvalsh(np.einsum("bkaapq->bpq", C)[:, :p, :p])[:, 0] < LOST if p else np.zeros(len(C), bool)
        C[lost], counts[lost] = self.sums.patterns.C, self.sums.patterns.counts
        draws, false = self._drawn(C, counts, rows, self.sums.patterns.beta0, weights @ self.constants)
        return replace(draws, good=draws.good & ~lost), false

    def redrawn(self, errors: Floats) -> tuple[Draws, Floats]:
        """Return the same for outcomes that differ from the fitted mean by `errors` (n, B)."""
        data = self.sums.patterns
        e = errors * (self.white / data.scale)[:, None]
        m, _, N = data.M.shape
        outcomes = np.asarray(self.places @ e).reshape(m, N, -1)
        X = np.linalg.solve(data.Rx.T, (self.result.design.X * self.white[:, None]).T)
        C = self.sums.redrawn(outcomes, X @ e, np.einsum("nb,nb->b", e, e))
        B = e.shape[1]
        constants = np.full(B, float(self.constants.sum()))
        return self._drawn(C, data.counts, np.full(B, float(data.n)), self.result.fit.beta, constants)

    def _drawn(
        self, C: Floats, counts: Floats, rows: Floats, center: Floats, constants: Floats
    ) -> tuple[Draws, Floats]:
        data, reml = self.sums.patterns, self.result.fit.reml
        nu = rows - data.p if reml else rows
        found = refit(C, counts, nu, self.covariance, self.start, self.curvature, reml=reml)
        beta = center + data.scale * scipy.linalg.solve_triangular(data.Rx, found.b.T).T
        deviance = found.value + constants + 2 * nu * np.log(data.scale)
        deviance += 2 * float(np.log(np.diag(data.Rx)).sum()) if reml else 0.0
        phi = self.covariance.natural(found.u)
        variances, total = self._on_user_scale(phi)
        good = found.good
        if isinstance(self.result, MMRMResult):
            # As in a fit of its own: without a bound the criterion falls for ever towards a singular covariance.
            good = good & (smallest(self.result.structure().sigmas(phi)) > SINGULAR)
        return Draws(beta, deviance, variances, total, good), self._false(found, phi)

    def _false(self, found: Refitted, phi: Floats) -> Floats:
        """Return 1 where a variance stopped at zero though the criterion falls towards more of it."""
        false = np.zeros(len(phi))
        if self.mixed is None:
            return false
        slope = np.tensordot(found.D, self.mixed.parts, ([1, 2, 3], [1, 2, 3]))
        residual = phi[:, len(self.mixed.pairs)]
        for b, q in enumerate(self.mixed.sizes):
            index = [(j, r, s) for j, (block, r, s) in enumerate(self.mixed.pairs) if block == b]
            G, D = np.zeros((len(phi), q, q)), np.zeros((len(phi), q, q))
            for j, r, s in index:
                G[:, r, s] = G[:, s, r] = phi[:, j]
                D[:, r, s] = D[:, s, r] = slope[:, j] / (1 if r == s else 2)
            w, vectors = np.linalg.eigh(G)
            N = vectors * (w < SMALL_VARIANCE * residual[:, None])[:, None]
            lowest = np.linalg.eigvalsh(np.swapaxes(N, 1, 2) @ D @ N)[:, 0]
            false[lowest * residual < -FALSE_SLOPE] = 1.0
        if self.mixed.gaps is not None and self.mixed.lowest == 0:
            near = phi.copy()
            near[:, -1] = SMALL_CORRELATION
            turn = np.einsum("bkij,bkij->b", found.D, complex_step(self.mixed.matrices, near)[-1])
            false[(phi[:, -1] < SMALL_CORRELATION) & (turn < -FALSE_SLOPE)] = 1.0
        return false

    def _on_user_scale(self, phi: Floats) -> tuple[Floats, Floats]:
        """Return the variance rows (B, k), and the total variance at the baseline."""
        scale2 = self.sums.patterns.scale**2
        if isinstance(self.result, MMRMResult):
            sigmas = self.result.structure().sigmas(phi)
            rows = np.einsum("bgvv->bgv", sigmas).reshape(len(phi), -1)
            return scale2 * rows, scale2 * np.asarray(self.result.baseline_variance(phi))
        assert self.mixed is not None
        result, columns, total, start = self.result, [], np.zeros(len(phi)), 0
        z = result.baseline_z() if isinstance(result, GrowthResult) else None
        for b, (q, R) in enumerate(zip(self.mixed.sizes, result.problem.Rz, strict=True)):
            G = np.zeros((len(phi), q, q))
            for r in range(q):
                for s in range(r + 1):
                    G[:, r, s] = G[:, s, r] = phi[:, start]
                    start += 1
            back = scipy.linalg.solve_triangular(R, np.eye(q))
            G = scale2 * back @ G @ back.T
            columns += [G[:, k, k] for k in range(q)]
            with np.errstate(divide="ignore", invalid="ignore"):
                columns += [G[:, k, j] / np.sqrt(G[:, j, j] * G[:, k, k]) for j in range(q) for k in range(j)]
            if z is not None:
                total += np.einsum("r,brs,s->b", z[b], G, z[b])
        strata = scale2 * phi[:, start : start + len(result.fit.ratios)]
        columns += list(strata.T)
        if result.fit.rho is not None:
            columns.append(phi[:, -1])
        share = result.baseline_share() if isinstance(result, GrowthResult) else np.full(strata.shape[1], np.nan)
        return np.column_stack(columns), total + strata @ share


def _of_mmrm(result: MMRMResult) -> Together:
    data, design, structure = result.patterns, result.design, result.structure()
    patients, visits = data.M.shape[2], data.M.shape[0]
    place = np.searchsorted(np.array(design.times), design.t)
    n = len(design.y)
    rows = np.bincount(design.patient_codes, minlength=patients).astype(float)
    places = sp.csr_array(
        (np.ones(n), (place * patients + design.patient_codes, np.arange(n))), shape=(visits * patients, n)
    )
    bent = curvature(data, structure, result.fit.u, result.fit.reml)
    return Together(
        result,
        Sums(data, rows),
        structure,
        result.fit.u,
        bent,
        np.zeros(patients),
        places,
        np.ones(n),
        None,
    )


def _of_mixed(result: MixedResult) -> Together:
    design, fit, structure = result.design, result.fit, result.design.noise.structure
    blocks, codes = blocks_of(design), design.terms[0].of_row
    n, N = len(design.y), len(design.terms[0].levels)
    sums_of = level_sums(codes, N)
    counts, scale = np.bincount(codes, minlength=N).astype(float), float(np.sqrt(fit.sigma2))
    if structure.plain:
        white = np.sqrt(structure.precision)
        whitened = [replace(b, Z=b.Z * white[:, None]) for b in blocks]
        data, covariance, rest, rest_rows, loadings = rotated(
            design.y * white, design.X * white[:, None], whitened, result.problem, scale
        )
        q = loadings.shape[1]
        places = sp.csr_array(
            (loadings.T.ravel(), (np.repeat(np.arange(q) * N, n) + np.tile(codes, q), np.tile(np.arange(n), q))),
            shape=(q * N, n),
        )
        sums = Sums(data, counts, rest, rest_rows)
        constants = sums_of(-np.log(structure.precision))
    else:
        data, covariance, unit, place = written(
            design.y, design.X, blocks, scaled_blocks(result.problem, blocks), structure, scale=scale
        )
        white = np.ones(n)
        places = sp.csr_array((np.ones(n), (place * N + unit, np.arange(n))), shape=(data.M.shape[0] * N, n))
        sums, constants = Sums(data, counts), np.zeros(N)
    lowest = structure.lowest if structure.position is not None else 0.0
    start = free(fit, lowest)
    bent = curvature(data, covariance, start, fit.reml)
    return Together(result, sums, covariance, start, bent, constants, places, white, covariance)


def curvature(data: Patterns, covariance: Covariance, u: Floats, reml: bool) -> Floats:
    """Return the second derivatives of the criterion at u, by differences of the gradient, all at once."""
    r = len(u)
    moved = np.vstack([u[None], u + STEP * np.eye(r), u - STEP * np.eye(r)])
    nu = data.n - data.p if reml else data.n
    slope = criterion(data.C, data.counts, nu, covariance, reml=reml)(moved)[1]
    H = (slope[1 : r + 1] - slope[r + 1 :]) / (2 * STEP)
    return np.asarray((H + H.T) / 2)
