"""One Gaussian model fitted to many versions of its data at once: other weights of its patients, or other outcomes.

All versions climb together: BFGS from the fit's optimum and curvature, one batched evaluation for every step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implstats._core.marginal import Covariance, Patterns, criterion

__all__ = ["Refitted", "Sums", "batches", "climb", "refit"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

STEPS = 60
HALVINGS = 12
ARRIVED = 1e-9
GOOD = 1e-6
FLAT = 1e-6
# Numbers that one batch may hold.
BATCH = 3_000_000


@dataclass(frozen=True, slots=True)
class Sums:
    """What a fit's patients add to C, so that others' weights and outcomes need no rows.

    Attributes
    ----------
    patterns : the data of the fit.
    rest : (N, p + 1, p + 1) [X y]'[X y] of the rows that carry noise alone, or None; they are the last pattern.
    rest_rows : (N,) how many these are.
    rows : (N,) rows of each patient.
    """

    patterns: Patterns
    rows: Floats
    rest: Floats | None = None
    rest_rows: Floats | None = None

    @property
    def size(self) -> int:
        """How many numbers one version holds."""
        return int(np.prod(self.patterns.C.shape))

    def weighted(self, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """Return C (B, K, m, m, p + 1, p + 1), counts (B, K) and rows (B,) for weights (B, N)."""
        data = self.patterns
        m, p1, _ = data.M.shape
        K = len(data.counts)
        C = np.zeros((len(weights), K, (m * p1) ** 2))
        counts = np.zeros((len(weights), K))
        inner = K - (self.rest is not None)
        order = np.argsort(data.pattern, kind="stable")
        ends = np.cumsum(np.bincount(data.pattern, minlength=K))
        for k in range(inner):
            mine = order[ends[k - 1] if k else 0 : ends[k]]
            flat = data.M[:, :, mine].reshape(m * p1, -1)
            w = weights[:, mine]
            for start in range(0, len(mine), size := max(1, BATCH // (m * p1) ** 2)):
                part = slice(start, start + size)
                each = flat[:, None, part] * flat[None, :, part]
                C[:, k] += w[:, part] @ each.reshape((m * p1) ** 2, -1).T
            counts[:, k] = w.sum(axis=1)
        C = C.reshape(-1, K, m, p1, m, p1).transpose(0, 1, 2, 4, 3, 5)
        if self.rest is not None and self.rest_rows is not None:
            C[:, -1, 0, 0] = np.tensordot(weights, self.rest, 1)
            counts[:, -1] = weights @ self.rest_rows
        return np.ascontiguousarray(C), counts, weights @ self.rows

    def redrawn(self, outcomes: Floats, xy: Floats, yy: Floats) -> Floats:
        """Return C (B, ...) for other outcomes.

        Parameters
        ----------
        outcomes : (m, N, B) in the patterns' places and unit, zero where nothing was seen.
        xy, yy : (p, B), (B,) X'y and y'y over all rows, for those that carry noise alone.
        """
        data = self.patterns
        p1 = data.M.shape[1]
        B, K, p = outcomes.shape[2], len(data.counts), p1 - 1
        C = np.broadcast_to(data.C, (B, *data.C.shape)).copy()
        order = np.argsort(data.pattern, kind="stable")
        ends = np.cumsum(np.bincount(data.pattern, minlength=K))
        inner = K - (self.rest is not None)
        for k in range(inner):
            mine = order[ends[k - 1] if k else 0 : ends[k]]
            X, Y = data.M[:, :p, mine], outcomes[:, mine]
            cross = np.tensordot(Y, X, (1, 2)).transpose(1, 0, 2, 3)
            C[:, k, :, :, p, :p] = cross
            C[:, k, :, :, :p, p] = np.swapaxes(cross, 1, 2)
            C[:, k, :, :, p, p] = np.einsum("anb,cnb->bac", Y, Y, optimize=True)
        if self.rest is not None:
            within = np.einsum("bkaai->bi", C[:, :inner, :, :, p, :p])
            C[:, -1, 0, 0, p, :p] = C[:, -1, 0, 0, :p, p] = xy.T - within
            C[:, -1, 0, 0, p, p] = yy - np.einsum("bkaa->b", C[:, :inner, :, :, p, p])
        return C


@dataclass(frozen=True, slots=True)
class Refitted:
    """Many fits: what each found, in orthonormal columns and the patterns' unit.

    Attributes
    ----------
    u, b, value : (B, r), (B, p), (B,) free parameters, fixed effects and criterion.
    D : (B, K, m, m) the criterion's slope in every V.
    good : (B,) whether the climb arrived.
    """

    u: Floats
    b: Floats
    value: Floats
    D: Floats
    good: NDArray[np.bool_]


At = Callable[[Ints, Floats], tuple[Floats, Floats]]


def climb(at: At, start: Floats, curvature: Floats) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Minimise many criteria at once by BFGS.

    Parameters
    ----------
    at : gives values (b,) and gradients (b, r) of the versions named, at parameters (b, r).
    start : (B, r) where each begins.
    curvature : (r, r) or (B, r, r) second derivatives there, roughly.

    Returns
    -------
    u, value, good : (B, r), (B,), (B,) where each ended, and whether it arrived.
    """
    B, r = start.shape
    u = start.copy()
    w, vectors = np.linalg.eigh(curvature)
    inverse = 1 / np.maximum(np.abs(w), FLAT * np.abs(w).max(axis=-1, keepdims=True))
    H = np.broadcast_to((vectors * inverse[..., None, :]) @ np.swapaxes(vectors, -1, -2), (B, r, r)).copy()
    value, slope = at(np.arange(B), u)
    good, active = np.zeros(B, dtype=bool), np.isfinite(value)
    for _ in range(STEPS):
        rows = np.flatnonzero(active)
        if not len(rows):
            break
        step = -np.einsum("bij,bj->bi", H[rows], slope[rows])
        promise = -np.einsum("bi,bi->b", step, slope[rows])
        arrived = promise / 2 < ARRIVED
        good[rows[arrived]] = True
        active[rows[arrived]] = False
        rows, step, promise = rows[~arrived], step[~arrived], promise[~arrived]
        if not len(rows):
            break
        moved, new_value, new_slope, found = _along(at, rows, u[rows], step, value[rows], promise)
        lost = rows[~found]
        active[lost], good[lost] = False, promise[~found] / 2 < GOOD
        rows, moved, new_slope = rows[found], moved[found], new_slope[found]
        H[rows] = _updated(H[rows], moved - u[rows], new_slope - slope[rows])
        u[rows], value[rows], slope[rows] = moved, new_value[found], new_slope
    return u, value, good & np.isfinite(value)


def refit(
    C: Floats, counts: Floats, nu: Floats, covariance: Covariance, start: Floats, curvature: Floats, *, reml: bool
) -> Refitted:
    """Return the optimum for every version; `start` (r,) and `curvature` (r, r) are those of the fit to the data."""

    def at(rows: Ints, where: Floats) -> tuple[Floats, Floats]:
        each = counts if counts.ndim == 1 else counts[rows]
        return criterion(C[rows], each, nu[rows], covariance, reml=reml)(where)[:2]

    u, value, good = climb(at, np.tile(start, (len(C), 1)), curvature)
    with np.errstate(all="ignore"):
        end = criterion(C, counts, nu, covariance, reml=reml)(u)[2]
    return Refitted(u, end.b, value, end.D, good)


def _along(
    at: At, rows: Ints, u: Floats, step: Floats, value: Floats, promise: Floats
) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """Return where each version goes along its step, shortened until the criterion falls."""
    moved, new_value, new_slope = u.copy(), value.copy(), np.zeros_like(u)
    length, waiting = np.ones(len(rows)), np.arange(len(rows))
    for _ in range(HALVINGS):
        trial = u[waiting] + length[waiting, None] * step[waiting]
        f, g = at(rows[waiting], trial)
        falls = f <= value[waiting] - 1e-4 * length[waiting] * promise[waiting]
        done = waiting[falls]
        moved[done], new_value[done], new_slope[done] = trial[falls], f[falls], g[falls]
        waiting = waiting[~falls]
        if not len(waiting):
            break
        length[waiting] *= 0.35
    found = np.ones(len(rows), dtype=bool)
    found[waiting] = False
    return moved, new_value, new_slope, found


def _updated(H: Floats, step: Floats, turn: Floats) -> Floats:
    """Return the BFGS update of every inverse curvature; one without positive curvature along its step stays."""
    along = np.einsum("bi,bi->b", step, turn)
    usable = along > 1e-12 * np.linalg.norm(step, axis=1) * np.linalg.norm(turn, axis=1)
    rho = np.where(usable, 1 / np.where(usable, along, 1.0), 0.0)[:, None, None]
    left = np.eye(H.shape[1]) - rho * step[:, :, None] * turn[:, None, :]
    new = left @ H @ np.swapaxes(left, 1, 2) + rho * step[:, :, None] * step[:, None, :]
    return np.where(usable[:, None, None], new, H)


def batches(total: int, size: int) -> Iterator[slice]:
    """Give the versions in batches that memory holds, each version of `size` numbers."""
    many = max(1, BATCH // max(1, size))
    for start in range(0, total, many):
        yield slice(start, min(total, start + many))
