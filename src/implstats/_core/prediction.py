"""Random effects and outcomes predicted by a fitted mixed model, and how sure they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from implstats._core.criterion import level_blocks, multiply, times
from implstats._core.inference import LARGEST_COMPONENT, components, largest_component
from implstats._core.mixed import Fit
from implstats._core.structure import Problem, Second

__all__ = ["covariance_of_prediction", "random_effects"]

Floats = NDArray[np.float64]


def random_effects(problem: Problem, fit: Fit) -> list[tuple[Floats, Floats]]:
    """Return, per block, the predicted random effects (levels, q) and their conditional SDs, on the user's scale."""
    state, second = fit.state, problem.second
    A, U, M = problem.A, state.U, problem.M
    v = np.append(-state.b, 1.0)
    AU = multiply(A, U)
    H = (A - multiply(AU, A))[:, :, problem.schedule]
    Mv = np.tensordot(M, v, (1, 0))[:, None, :]
    h = (Mv - multiply(AU[:, :, problem.schedule], Mv))[:, 0]
    if second is not None:
        K2Rv = times(second, state.K2, state.R2 @ v[:, None])
        K2 = _sparse(second, state.K2)
        for r in range(len(A)):
            h[r] -= (state.Bt[r] @ K2Rv)[:, 0]
            through = sp.csr_array(state.Bt[r]) @ K2
            for s in range(len(A)):
                H[r, s] -= np.asarray(through.multiply(sp.csr_array(state.Bt[s])).sum(axis=1)).ravel()
    out: list[tuple[Floats, Floats]] = [(np.zeros(0), np.zeros(0))] * len(problem.sizes)
    for b in problem.first:
        c = problem.columns(b)
        out[b] = _predicted(fit, problem, b, h[c].T, H[c, c].transpose(2, 0, 1))
    if second is not None:
        h2 = ((state.R2 @ v[:, None]) - times(second, state.C2, K2Rv))[:, 0]
        for b, H2 in level_blocks(problem, second, state):
            effects = h2[second.columns(problem, b)].reshape(len(H2), problem.sizes[b])
            out[b] = _predicted(fit, problem, b, effects, H2)
    return out


def _sparse(second: Second, dense: Sequence[Floats]) -> sp.csr_array:
    i, j, data = [], [], []
    for bucket, D in zip(second.buckets, dense, strict=True):
        here = (bucket.members[:, :, None] >= 0) & (bucket.members[:, None, :] >= 0)
        left = np.broadcast_to(bucket.members[:, :, None], here.shape)
        right = np.broadcast_to(bucket.members[:, None, :], here.shape)
        i.append(left[here])
        j.append(right[here])
        data.append(D[here])
    m = len(second.bucket)
    return sp.csr_array((np.concatenate(data), (np.concatenate(i), np.concatenate(j))), shape=(m, m))


def _predicted(fit: Fit, problem: Problem, b: int, h: Floats, H: Floats) -> tuple[Floats, Floats]:
    """Return G Z'V^-1 (y - X b) and the root of the diagonal of G - G Z'V^-1 Z G for one block."""
    LL = fit.L[b] @ fit.L[b].T
    inverse = scipy.linalg.solve_triangular(problem.Rz[b], np.eye(len(LL)))
    effects = h @ LL @ inverse.T
    left = LL - np.einsum("rs,lst,tu->lru", LL, H, LL)
    variance = np.einsum("ar,lrs,as->la", inverse, left, inverse) * fit.sigma2
    return effects, np.sqrt(np.maximum(variance, 0.0))


def covariance_of_prediction(
    problem: Problem, fit: Fit, X: Floats, Z: list[Floats], values: list[NDArray[np.intp]], *, new: bool
) -> Floats:
    """Return the variance of x'b + z'u as predicted, row by row; b and u are both uncertain (Henderson 1975).

    Parameters
    ----------
    X : (n, p) on the user's scale.
    Z, values : per block (n, q), and the level of each row, -1 for one that was not in the fit.
    new : whether levels that were not in the fit add their random effects' variance.
    """
    xs = scipy.linalg.solve_triangular(problem.Rx, X.T, trans="T").T
    order = [*problem.first, *problem.second_blocks]
    LL = [root @ root.T for root in fit.L]
    variance = np.zeros(len(X))
    shares: list[Floats] = [np.zeros((0, 0))] * len(order)
    for b in range(len(order)):
        zs = scipy.linalg.solve_triangular(problem.Rz[b], Z[b].T, trans="T").T
        known = values[b] >= 0
        prior = np.einsum("nq,qr,nr->n", zs, LL[b], zs)
        variance += np.where(known | new, prior, 0.0)
        shares[b] = np.where(known[:, None], zs @ LL[b], 0.0)
    if problem.second is None:
        A, U = problem.A, fit.state.U
        AU = multiply(A, U)
        level = values[order[0]]
        schedule = problem.schedule[level]
        H = (A - multiply(AU, A))[:, :, schedule]
        M = problem.M[:, : problem.p, level]
        E = M - multiply(AU[:, :, schedule], M)
        k = np.column_stack([shares[b] for b in order])
        variance -= np.einsum("nr,rsn,ns->n", k, H, k)
        xs = xs - np.einsum("nr,rcn->nc", k, E)
    else:
        if (size := largest_component(problem, problem.second)) > LARGEST_COMPONENT:
            raise ValueError(f"{size} random effects are connected by crossed groups; their covariance is too large")
        effects = [(b, r) for b in order for r in range(problem.sizes[b])]
        for component in components(problem, problem.second, fit):
            parts = []
            for (b, r), rows, levels in zip(effects, component.rows, component.levels, strict=True):
                place = np.full(problem.levels[b] + 1, -1)
                place[levels] = rows
                at = place[values[b]]
                used = np.flatnonzero(at >= 0)
                parts.append((shares[b][used, r], used, at[used]))
            data, i, j = (np.concatenate(v) for v in zip(*parts, strict=True))
            touched, local = np.unique(i, return_inverse=True)
            K = sp.csr_array((data, (local, j)), shape=(len(touched), len(component.H)))
            variance[touched] -= np.asarray(K.multiply(K @ component.H).sum(axis=1)).ravel()
            xs[touched] -= K @ component.E[:, : problem.p]
    variance += np.einsum("np,pq,nq->n", xs, fit.state.Sxx_inverse, xs)
    return np.asarray(np.maximum(variance, 0.0) * fit.sigma2)
