"""V of a mixed model written out by pattern: for residuals that are not alike, and for many data sets at once.

A unit is what random effects and AR(1) series connect: a patient, or with crossed factors a whole component. With
independent residuals and one grouping factor a unit's rows can be rotated so that its q random effects meet q rows
only, and the others are noise: then V is (q, q), however many visits there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from implstats._core.covariance import between, powers, unbounded
from implstats._core.explicit import derived, second_derivatives
from implstats._core.inference import Inference, conclude, phi_covariance, slopes
from implstats._core.marginal import Patterns, complex_step, evaluate, prepare, products
from implstats._core.mixed import Fit
from implstats._core.residual import Residual, independent
from implstats._core.structure import Block, Problem, distinct, level_sums

__all__ = [
    "LARGEST_UNIT",
    "Written",
    "free",
    "identified",
    "infer_written",
    "natural",
    "rotated",
    "scaled_blocks",
    "written",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Numbers = NDArray[Any]

LARGEST_UNIT = 1_000
EMPTY_DIRECTION = 1e-10
# Variances relative to the residual's: what counts as none, and what such a direction gets as a start.
NO_VARIANCE, SOME_VARIANCE = 1e-4, 0.05
# A root with a smaller diagonal, or a smaller correlation, may stand on a false boundary, where the criterion is flat;
# it starts from LIFT.
FLAT, LIFT = 1e-2, 0.1


@dataclass(frozen=True, slots=True)
class Written:
    """V of every pattern as a function of phi = (vech of every block's G, residual variances, rho).

    Attributes
    ----------
    sizes : q of every block.
    parts : (J, K, m, m) what multiplies each phi but rho, and under AR(1) the residual variance.
    absent : (K, m, m) identity at places that a pattern has not.
    gaps, along : (K, m, m) distance within a series and the root of what multiplies the residual variance; AR(1) only.
    lowest : lower end of rho.
    """

    sizes: tuple[int, ...]
    parts: Floats
    absent: Floats
    gaps: NDArray[Any] | None
    along: Floats | None
    lowest: float

    @property
    def linear(self) -> bool:
        """Whether V is linear in phi."""
        return self.gaps is None

    @property
    def pairs(self) -> list[tuple[int, int, int]]:
        """The (block, row, column) of each phi that is a covariance of random effects."""
        return [(b, r, s) for b, q in enumerate(self.sizes) for r in range(q) for s in range(r + 1)]

    def natural(self, u: Numbers) -> Numbers:
        """Return phi (..., J) of u: lower roots of every G, log residual variances, and an unbounded rho."""
        out, start = [], 0
        for q in self.sizes:
            rows, columns = np.tril_indices(q)
            root = np.zeros((*u.shape[:-1], q, q), dtype=u.dtype)
            root[..., rows, columns] = u[..., start : start + len(rows)]
            out.append((root @ np.swapaxes(root, -1, -2))[..., rows, columns])
            start += len(rows)
        if self.gaps is None:
            return np.concatenate([*out, np.exp(u[..., start:])], axis=-1)
        rho = between(u[..., -1:], self.lowest)
        return np.concatenate([*out, np.exp(u[..., start : start + 1]), rho], axis=-1)

    def lifted(self, u: Floats) -> Floats:
        """Return u (..., r) off every boundary."""
        diagonal = [r == s for _, r, s in self.pairs]
        roots = np.array([*diagonal, *[False] * (u.shape[-1] - len(diagonal))])
        off = np.where(roots & (np.abs(u) < FLAT), LIFT, u)
        if self.gaps is not None and self.lowest == 0:
            flat, lift = unbounded(np.array([FLAT, LIFT]), self.lowest)
            off[..., -1] = np.where(off[..., -1] < flat, lift, off[..., -1])
        return off

    def matrices(self, phi: Numbers) -> Numbers:
        """Return V (..., K, m, m)."""
        V = np.tensordot(phi[..., : len(self.parts)], self.parts, (-1, 0)) + self.absent
        if self.gaps is None or self.along is None:
            return np.asarray(V)
        rho = phi[..., -1, None]
        return np.asarray(V + phi[..., -2, None, None, None] * self.along * powers(rho, self.gaps))


def scaled_blocks(problem: Problem, blocks: Sequence[Block]) -> list[Floats]:
    """Return every block's Z in the engine's scaled columns."""
    return [b.Z @ scipy.linalg.solve_triangular(R, np.eye(len(R))) for b, R in zip(blocks, problem.Rz, strict=True)]


def natural(fit: Fit) -> Floats:
    """Return phi of a fit, in scaled columns and units of its residual variance."""
    pairs = [(root @ root.T)[r, s] for root in fit.L for r in range(len(root)) for s in range(r + 1)]
    return np.array([*pairs, *fit.ratios, *([] if not fit.rho else [fit.rho])])


def free(fit: Fit, lowest: float) -> Floats:
    """Return u near a fit, with some variance in every direction, so that another data set can find its own."""
    u: list[float] = []
    for root in fit.L:
        w, vectors = np.linalg.eigh(root @ root.T)
        some = np.where(w > NO_VARIANCE, w, SOME_VARIANCE)
        lower = np.linalg.cholesky((vectors * some) @ vectors.T)
        u += lower[np.tril_indices(len(lower))].tolist()
    u += np.log(fit.ratios).tolist()
    return np.array(u + ([] if fit.rho is None else [float(unbounded(np.array(fit.rho or LIFT), lowest))]))


def _units(blocks: Sequence[Block], residual: Residual, n: int) -> tuple[Ints, int]:
    """Return the unit of every row: rows that share a level of any factor, or a series."""
    factors = [(b.codes, b.levels) for b in blocks]
    if residual.series is not None:
        factors.append((residual.series, int(residual.series.max()) + 1))
    if all(np.array_equal(codes, factors[0][0]) for codes, _ in factors):
        return factors[0]
    before = np.cumsum([0, *(levels for _, levels in factors)])
    columns = np.concatenate([codes + start for (codes, _), start in zip(factors, before, strict=False)])
    rows = np.tile(np.arange(n), len(factors))
    meet = sp.csr_array((np.ones(len(rows)), (rows, columns)), shape=(n, int(before[-1])))
    graph: Any = sp.block_array([[None, meet], [meet.T, None]])  # type: ignore[arg-type]
    count, label = connected_components(graph, directed=False)
    return label[:n].astype(np.intp), int(count)


def written(
    y: Floats, X: Floats, blocks: Sequence[Block], Z: Sequence[Floats], residual: Residual, scale: float | None = None
) -> tuple[Patterns, Written, Ints, Ints]:
    """Return units as patterns, V as a function of phi, and every row's unit and place; Z are scaled columns.

    Raises
    ------
    ValueError
        When a unit has more than `LARGEST_UNIT` rows.
    """
    n = len(y)
    unit, units = _units(blocks, residual, n)
    position = np.zeros(n) if residual.position is None else np.asarray(residual.position, dtype=float)
    first = np.full(units, np.inf)
    np.minimum.at(first, unit, position)
    signature = np.column_stack([*Z, residual.strata, residual.precision, position - first[unit]])
    # Rows in one order, so that units with the same visits look the same.
    order = np.lexsort((*signature.T, unit))
    unit_of, counts = unit[order], np.bincount(unit, minlength=units)
    m = int(counts.max())
    if m > LARGEST_UNIT:
        raise ValueError(
            f"{m} rows are connected by the groups; above {LARGEST_UNIT} these df are not computed with residuals of "
            "this kind; use df='normal'"
        )
    place = np.arange(n) - (np.cumsum(counts) - counts)[unit_of]
    same = [_local(b.codes[order], unit_of, place, units, m) for b in blocks]
    series = same[0] if residual.series is None else _local(residual.series[order], unit_of, place, units, m)
    padded = np.zeros((units, m, signature.shape[1]))
    padded[unit_of, place] = signature[order]
    seen = np.arange(m) < counts[:, None]
    everything = np.concatenate([padded.reshape(units, -1), seen, *same, series], axis=1)
    where, pattern = distinct(np.ascontiguousarray(everything.T))
    patterns = prepare(y[order], X[order], unit_of, place, m, pattern, scale=scale)
    sizes = [z.shape[1] for z in Z]
    covariance = _covariance(padded[where], seen[where], [s[where] for s in same], series[where], sizes, residual)
    back = np.empty(n, dtype=np.intp)
    back[order] = place
    return patterns, covariance, unit, back


def _local(codes: Ints, unit: Ints, place: Ints, units: int, m: int) -> Floats:
    """Return each place's level as the first place of its unit that has the level, -1 where there is no row."""
    out = np.full((units, m), -1.0)
    _, index = np.unique(np.column_stack([unit, codes]), axis=0, return_inverse=True)
    first = np.full(int(index.max()) + 1, m)
    np.minimum.at(first, index, place)
    out[unit, place] = first[index]
    return out


def _covariance(
    signature: Floats,
    seen: NDArray[np.bool_],
    same: Sequence[Floats],
    series: Floats,
    sizes: Sequence[int],
    residual: Residual,
) -> Written:
    both = seen[:, :, None] & seen[:, None, :]
    parts, start = [], 0
    for local, q in zip(same, sizes, strict=True):
        together = both & (local[:, :, None] == local[:, None, :])
        z = signature[:, :, start : start + q]
        for r in range(q):
            for s in range(r + 1):
                part = z[:, :, None, r] * z[:, None, :, s]
                parts.append(np.where(together, part if r == s else part + z[:, :, None, s] * z[:, None, :, r], 0.0))
        start += q
    strata, precision, position = (signature[:, :, start + k] for k in range(3))
    m = seen.shape[1]
    with np.errstate(divide="ignore"):
        share = np.where(seen, 1 / np.where(seen, precision, 1.0), 0.0)
    absent = np.eye(m) * ~seen[:, None, :]
    if residual.position is None:
        parts += [np.eye(m) * np.where(strata == c, share, 0.0)[:, None, :] for c in range(residual.levels)]
        return Written(tuple(sizes), np.stack(parts), absent, None, None, 0.0)
    together = both & (series[:, :, None] == series[:, None, :])
    gaps = np.abs(position[:, :, None] - position[:, None, :]) * together
    if residual.lowest < 0:
        gaps = np.rint(gaps).astype(int)
    along = np.where(together, np.sqrt(share[:, :, None] * share[:, None, :]), 0.0)
    return Written(tuple(sizes), np.stack(parts), absent, gaps, along, residual.lowest)


def rotated(
    y: Floats, X: Floats, blocks: Sequence[Block], problem: Problem, scale: float
) -> tuple[Patterns, Written, Floats, Floats, Floats]:
    """Return a mixed model of one factor and independent residuals with q places a patient, and the noise beside them.

    Parameters
    ----------
    y, X, blocks : the rows, whitened if they have known precisions.
    problem : their sufficient statistics.
    scale : the unit of y.

    Returns
    -------
    patterns, written : the last pattern is that of rows that carry noise alone.
    rest, rest_rows : (N, p + 1, p + 1), (N,) [X y]'[X y] of the noise of every patient, and how many rows it is.
    loadings : (n, q) weight of every row at its patient's q places.
    """
    codes, N = blocks[0].codes, blocks[0].levels
    XY = np.column_stack([np.linalg.solve(problem.Rx.T, X.T).T, (y - X @ problem.beta0) / scale])
    a, vectors = np.linalg.eigh(problem.A.transpose(2, 0, 1))
    seen = a > EMPTY_DIRECTION * a.max(axis=1, keepdims=True)
    inverse = np.where(seen, 1 / np.sqrt(np.where(seen, a, 1.0)), 0.0)
    loadings = np.einsum(
        "nq,nqr->nr",
        np.column_stack(scaled_blocks(problem, blocks)),
        (vectors * inverse[:, None])[problem.schedule[codes]],
    )
    sums = level_sums(codes, N)
    q, p1, K = a.shape[1], XY.shape[1], len(a)
    M = np.stack([[sums(loadings[:, r] * XY[:, c]) for c in range(p1)] for r in range(q)])
    rest = np.empty((N, p1, p1))
    for r in range(p1):
        for s in range(r + 1):
            rest[:, r, s] = rest[:, s, r] = sums(XY[:, r] * XY[:, s]) - (M[:, r] * M[:, s]).sum(axis=0)
    C = np.zeros((K + 1, q, q, p1, p1))
    C[:-1], C[-1, 0, 0] = products(M, problem.schedule, K), rest.sum(axis=0)
    counts = np.append(problem.counts, float(len(y) - problem.counts @ seen.sum(axis=1)))
    data = Patterns(
        problem.n, problem.p, problem.Rx, problem.beta0, scale, M, problem.schedule, counts, M, problem.schedule, C
    )
    signature = np.zeros((K + 1, q, q + 3))
    signature[:-1, :, :q], signature[:, :, q + 1] = (
        np.swapaxes(vectors * np.sqrt(np.where(seen, a, 0.0))[:, None], 1, 2),
        1.0,
    )
    places = np.concatenate([seen, np.arange(q)[None] == 0])
    local = np.where(places, 0.0, -1.0)
    sizes = [b.Z.shape[1] for b in blocks]
    covariance = _covariance(signature, places, [local] * len(blocks), local, sizes, independent(1))
    rest_rows = np.bincount(codes, minlength=N) - seen.sum(axis=1)[problem.schedule]
    return data, covariance, rest, rest_rows.astype(float), loadings


def identified(blocks: Sequence[Block], residual: Residual) -> bool:
    """Return whether the visits can tell the residuals' parameters from the random effects' covariances."""
    n = len(residual.strata)
    Z = [b.Z / np.sqrt((b.Z**2).mean(axis=0)) for b in blocks]
    try:
        _, covariance, _, _ = written(np.zeros(n), np.ones((n, 1)), blocks, Z, residual, scale=1.0)
    except ValueError:
        # Too many rows hang together to be written out; whether the fit arrives has to tell.
        return True
    roots = [np.eye(q)[np.tril_indices(q)] for q in covariance.sizes]
    phi = np.concatenate([*roots, np.ones(residual.levels), [] if covariance.gaps is None else [0.5]])
    slope = complex_step(covariance.matrices, phi).reshape(len(phi), -1)
    return int(np.linalg.matrix_rank(slope / np.linalg.norm(slope, axis=1, keepdims=True), tol=1e-7)) == len(phi)


def infer_written(
    y: Floats, X: Floats, blocks: Sequence[Block], residual: Residual, problem: Problem, fit: Fit
) -> Inference:
    """Return what tests and intervals of a mixed model need when its residuals are not alike.

    Raises
    ------
    ValueError
        When crossed groups connect more than `LARGEST_UNIT` rows.
    """
    if fit.rho == 0.0:
        residual = Residual(residual.strata, residual.levels, residual.precision)
    Z = scaled_blocks(problem, blocks)
    patterns, covariance, _, _ = written(y, X, blocks, Z, residual, scale=math.sqrt(fit.sigma2))
    phi = natural(fit)
    V = covariance.matrices(phi)
    nu = patterns.n - patterns.p if fit.reml else patterns.n
    found = evaluate(patterns.C, patterns.counts, nu, V[None], reml=fit.reml)
    P0 = found.Sxx_inverse[0]
    dV = complex_step(covariance.matrices, phi)
    d2V = None if covariance.linear else second_derivatives(covariance.matrices, phi)
    sums = derived(patterns.Mc, patterns.pattern_c, patterns.counts, V, dV, d2V, np.append(-found.b[0], 1.0))
    A = phi_covariance(fit, *slopes(fit.reml, P0, sums), covariance.pairs)
    return conclude(fit.reml, fit.sigma2, patterns.Rx, P0, sums, A, tuple(covariance.pairs), problem.Rz)
