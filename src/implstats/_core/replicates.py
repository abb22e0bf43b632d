"""Many studies of one design at once: their fits, and Satterthwaite's inference about contrasts, from outcomes alone.

Planned visits are common, so that patients are told apart by their cohort and the visits that were seen; every study
enters through the sums of products of each such pattern, as in `marginal`, and all of them climb together.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implstats._core.many import batches, climb, refit
from implstats._core.marginal import Covariance, criterion
from implstats._core.written import Written

__all__ = ["Inferred", "Studies", "fit_all", "random_effects", "studies"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

STEP = 1e-4
# Directions of the parameters so much flatter than the steepest one have no variance of their own.
FLAT = 1e-8


@dataclass(frozen=True, slots=True)
class Studies:
    """The sufficient statistics of B studies.

    Attributes
    ----------
    X : (G, m, p) columns of every cohort and visit, of similar size.
    scale : (p,) what the columns were divided by.
    unit : what outcomes were divided by, after their mean was taken off.
    pattern : (B, N) pattern of every patient.
    seen, group : (K, m), (K,) visits and cohort of each pattern.
    y : (B, N, m) outcomes in that unit, zero where nothing was seen.
    """

    X: Floats
    scale: Floats
    unit: float
    pattern: Ints
    seen: NDArray[np.bool_]
    group: Ints
    y: Floats

    def sums(self, part: slice) -> tuple[Floats, Floats, Floats]:
        """Return C (b, K, m, m, p + 1, p + 1), counts (b, K) and rows (b,) of some studies."""
        y, K, (m, p) = self.y[part], len(self.group), self.X.shape[1:]
        b, N, _ = y.shape
        place = (self.pattern[part] + K * np.arange(b)[:, None]).ravel()
        flat = y.reshape(b * N, m)

        def total(column: Floats) -> Floats:
            return np.asarray(np.bincount(place, column, b * K).reshape(b, K))

        counts = total(np.ones(b * N))
        X = self.X[self.group] * self.seen[:, :, None]
        C = np.empty((b, K, m, m, p + 1, p + 1))
        C[..., :p, :p] = counts[..., None, None, None, None] * np.einsum("kap,kcq->kacpq", X, X)
        for a in range(m):
            cross = total(flat[:, a])[..., None, None] * X
            C[:, :, a, :, p, :p], C[:, :, :, a, :p, p] = cross, cross
            for c in range(a + 1):
                C[:, :, a, c, p, p] = C[:, :, c, a, p, p] = total(flat[:, a] * flat[:, c])
        return C, counts, counts @ self.seen.sum(axis=1).astype(float)


def studies(X: Floats, cohort: Ints, y: Floats) -> Studies:
    """Return the studies; X (G, m, p) by cohort and visit, cohort (N,), y (B, N, m) with nan where nothing was seen."""
    B, N, m = y.shape
    there = ~np.isnan(y)
    key = (there @ (1 << np.arange(m))) + (cohort << m)
    kinds, pattern = np.unique(key, return_inverse=True)
    seen = (kinds[:, None] >> np.arange(m)) & 1 == 1
    scale = np.sqrt((X**2).mean(axis=(0, 1)))
    unit = float(np.nanstd(y))
    centred = np.where(there, (y - np.nanmean(y)) / unit, 0.0)
    return Studies(X / scale, scale, unit, pattern.reshape(B, N), seen, (kinds >> m).astype(np.intp), centred)


def random_effects(Z: Floats, seen: NDArray[np.bool_]) -> Written:
    """Return V = Z G Z' + s2 I of every pattern for one term of random effects, Z (m, q)."""
    q, m = Z.shape[1], len(Z)
    both = seen[:, :, None] & seen[:, None, :]
    parts = []
    for r in range(q):
        for s in range(r + 1):
            part = np.outer(Z[:, r], Z[:, s])
            parts.append(both * (part if r == s else part + part.T))
    parts.append(np.eye(m) * seen[:, None, :])
    return Written((q,), np.stack(parts).astype(float), np.eye(m) * ~seen[:, None, :], None, None, 0.0)


@dataclass(frozen=True, slots=True)
class Inferred:
    """What every study found about contrasts, in the user's unit.

    Attributes
    ----------
    estimate : (B, k)
    covariance : (B, k, k)
    slopes : (B, r, k, k) derivatives of that covariance to the free parameters.
    spread : (B, r, r) covariance of the free parameters' estimates.
    good : (B,) whether the fit arrived.
    """

    estimate: Floats
    covariance: Floats
    slopes: Floats
    spread: Floats
    good: NDArray[np.bool_]

    def of(self, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Return estimate, standard error and Satterthwaite's df of one combination a study, weights (B, k)."""
        variance = np.einsum("bk,bkl,bl->b", weights, self.covariance, weights)
        slope = np.einsum("bk,brkl,bl->br", weights, self.slopes, weights)
        uncertain = np.einsum("br,brs,bs->b", slope, self.spread, slope)
        # A fit that did not arrive may leave a variance below 0.
        with np.errstate(divide="ignore", invalid="ignore"):
            df = np.where(uncertain > 0, 2 * variance**2 / uncertain, np.inf)
            std_error = np.sqrt(variance)
        return np.einsum("bk,bk->b", weights, self.estimate), std_error, df


def fit_all(drawn: Studies, covariance: Covariance, start: Floats, rows: Floats, *, reml: bool = True) -> Inferred:
    """Return what REML (or ML) says in every study about contrasts, rows (k, p) whose weights leave the mean alone."""
    B, (m, p), K = len(drawn.y), drawn.X.shape[1:], len(drawn.group)
    begin, bent = _together(drawn, covariance, start, reml)
    found = [
        _part(drawn, part, covariance, begin, bent, rows / drawn.scale, reml)
        for part in batches(B, K * (m * (p + 1)) ** 2)
    ]
    estimate, variance, slopes, spread, good = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return Inferred(estimate * drawn.unit, variance * drawn.unit**2, slopes * drawn.unit**2, spread, good)


def _together(drawn: Studies, covariance: Covariance, start: Floats, reml: bool) -> tuple[Floats, Floats]:
    """Return where the fit of all studies as one ends, and the curvature there for one of them."""
    B, (m, p), K = len(drawn.y), drawn.X.shape[1:], len(drawn.group)
    C, counts, total = np.zeros((1, K, m, m, p + 1, p + 1)), np.zeros((1, K)), np.zeros(1)
    for part in batches(B, K * (m * (p + 1)) ** 2):
        each = drawn.sums(part)
        C, counts, total = C + each[0].sum(axis=0), counts + each[1].sum(axis=0), total + each[2].sum()
    whole = criterion(C, counts, total - p if reml else total, covariance, reml=reml)

    def at(rows: Ints, u: Floats) -> tuple[Floats, Floats]:
        return whole(u)[:2]

    def curved(u: Floats) -> Floats:
        steps = STEP * np.eye(len(u))
        H = np.stack([(whole((u + h)[None])[1][0] - whole((u - h)[None])[1][0]) / (2 * STEP) for h in steps])
        return np.asarray((H + H.T) / 2)

    u = climb(at, start[None], curved(start))[0][0]
    return u, curved(u) / B


def _part(
    drawn: Studies, part: slice, covariance: Covariance, start: Floats, bent: Floats, rows: Floats, reml: bool
) -> tuple[Floats, Floats, Floats, Floats, NDArray[np.bool_]]:
    C, counts, total = drawn.sums(part)
    nu = total - drawn.X.shape[2] if reml else total
    found = refit(C, counts, nu, covariance, start, bent, reml=reml)
    at = criterion(C, counts, nu, covariance, reml=reml)

    def variance(inverse: Floats) -> Floats:
        return np.asarray(np.einsum("kp,bpq,lq->bkl", rows, inverse, rows, optimize=True))

    r = len(start)
    H, slopes = np.empty((len(C), r, r)), np.empty((len(C), r, len(rows), len(rows)))
    for j in range(r):
        step = np.zeros(r)
        step[j] = STEP
        (_, up, above), (_, down, below) = at(found.u + step), at(found.u - step)
        H[:, j] = (up - down) / (2 * STEP)
        slopes[:, j] = (variance(above.Sxx_inverse) - variance(below.Sxx_inverse)) / (2 * STEP)
    end = at(found.u)[2]
    w, vectors = np.linalg.eigh((H + np.swapaxes(H, 1, 2)) / 2)
    inverse = np.where(w > FLAT * w[:, -1:], 2 / np.where(w > 0, w, 1.0), 0.0)
    spread = (vectors * inverse[:, None, :]) @ np.swapaxes(vectors, 1, 2)
    return found.b @ rows.T, variance(end.Sxx_inverse), slopes, spread, found.good
