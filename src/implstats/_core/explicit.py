"""Satterthwaite and Kenward-Roger where V is written out: MMRM, and mixed models whose residuals are not alike.

Patients that share a pattern share V (m, m) and its derivatives; Kenward & Roger 1997 (DOI 10.2307/2533558) with the
term of second derivatives, R_jk, where V is not linear in phi.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implstats._core.inference import Derived, Inference, conclude, inverse, slopes
from implstats._core.marginal import Covariance, MarginalFit, Patterns, complex_step

__all__ = ["derived", "infer_marginal", "second_derivatives"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Numbers = NDArray[Any]

LARGEST = 4_000_000
STEP = 1e-5


def second_derivatives(function: Callable[[Numbers], Numbers], at: Floats) -> Floats:
    """Return d2V/dphi2 (J, J, ...): central differences of exact first derivatives."""
    rows = []
    for k in range(len(at)):
        step = np.zeros(len(at))
        step[k] = STEP * max(abs(float(at[k])), STEP)
        rows.append((complex_step(function, at + step) - complex_step(function, at - step)) / (2 * step[k]))
    bend = np.stack(rows)
    return np.asarray((bend + np.swapaxes(bend, 0, 1)) / 2)


def derived(
    M: Floats, pattern: Ints, counts: Floats, V: Floats, dV: Floats, d2V: Floats | None, residual: Floats
) -> Derived:
    """Return what inference needs of the derivatives of V.

    Parameters
    ----------
    M : (m, p + 1, N) [X y] of patients, or of what stands for them.
    pattern, counts : (N,) and (K,) pattern of each, and the patients of each pattern.
    V, dV, d2V : (K, m, m), (J, K, m, m), (J, J, K, m, m); None where V is linear.
    residual : (p + 1,) v with [X y] v = y - X b.
    """
    J, m, p1 = len(dV), len(M), M.shape[1]
    W = np.linalg.inv(V)
    WV = W @ dV
    F, Q = np.zeros((J, p1, p1)), np.zeros((J, p1, J, p1))
    R = None if d2V is None else np.zeros((J, J, p1, p1))
    size = max(1, LARGEST // (J * m * p1))
    for start in range(0, len(pattern), size):
        which = pattern[start : start + size]
        # Patients first, so that every product is one of stacks of matrices.
        Y = W[which] @ M[:, :, start : start + size].transpose(2, 0, 1)
        E = dV[:, which] @ Y
        F += np.einsum("nap,jnaq->jpq", Y, E, optimize=True)
        WE = W[which] @ E
        left, right = (x.transpose(0, 3, 1, 2).reshape(J * p1, -1) for x in (E, WE))
        Q += (left @ right.T).reshape(J, p1, J, p1)
        if R is not None and d2V is not None:
            for j in range(J):
                for k in range(J):
                    if np.any(d2V[j, k]):
                        R[j, k] += np.einsum("nap,nab,nbq->pq", Y, d2V[j, k][which], Y, optimize=True)
    v, Qs = residual, Q.transpose(0, 2, 1, 3)
    tau = np.einsum("k,jkaa->j", counts, WV)
    t = np.einsum("jkab,lkba->jl", counts[:, None, None] * WV, WV, optimize=True)
    found = (F[:, :-1, :-1], F[:, :-1] @ v, v @ F @ v, tau, t, Qs[:, :, :-1, :-1], v @ Qs @ v)
    if R is None or d2V is None:
        return Derived(*found)
    tau2 = np.einsum("k,kab,jlkba->jl", counts, W, d2V, optimize=True)
    return Derived(*found, R[:, :, :-1, :-1], tau2, v @ R @ v)


def infer_marginal(patterns: Patterns, covariance: Covariance, fit: MarginalFit) -> Inference:
    """Return what tests and intervals of a marginal model need; phi is natural, in units of scale^2."""
    dV = complex_step(covariance.matrices, fit.phi)
    d2V = None if covariance.linear else second_derivatives(covariance.matrices, fit.phi)
    v = np.append(-fit.b, 1.0)
    found = derived(patterns.Mc, patterns.pattern_c, patterns.counts, fit.V, dV, d2V, v)
    A = 2 * inverse(slopes(fit.reml, fit.P0, found)[0])
    return conclude(fit.reml, patterns.scale**2, patterns.Rx, fit.P0, found, A, (), ())
