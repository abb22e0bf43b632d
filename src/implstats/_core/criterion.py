"""The profiled (restricted) likelihood of a Gaussian mixed model, and its slope, from sufficient statistics.

Criterion and gradient follow Bates et al. 2015 (DOI 10.18637/jss.v067.i01). With G = s2 L L' for each block,
W = L'A L + I, U = L W^-1 L', S = T - sum M'U M = [[Sxx, s], [s', Syy]], b = Sxx^-1 s, r2 = Syy - s'b:
d = sum log|W| + nu [1 + log(2 pi r2 / nu)] + (REML) log|Sxx|, and dd/dL = 2 D L with
D = sum (H - E Q E'), H = Z'V^-1 Z, E = Z'V^-1 [X y], Q = (nu/r2) v v' + (REML) diag(Sxx^-1, 0), v = [-b; 1].
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from implstats._core.structure import Problem, Second

__all__ = ["State", "evaluate", "first_to_second", "level_blocks", "multiply", "scaled", "spread", "sweep", "times"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class State:
    """The model at one value of the parameters, in scaled columns, V in units of s2.

    Attributes
    ----------
    deviance : the criterion, without the constant of the scaling.
    D : per block, half the derivative of the criterion with respect to G / s2; empty if not asked for.
    b : (p,) change of the fixed effects from least squares, in orthonormal columns.
    Sxx_inverse, r2 : (X'V^-1 X)^-1 and the generalised residual sum of squares.
    U : (q, q, K) L W^-1 L' of each schedule.
    K2 : per bucket of second factors, Lambda W^-1 Lambda', (c, s, s).
    C2, R2 : Z_2'V_1^-1 Z_2 per bucket, and Z_2'V_1^-1 [X y] (m, p + 1); V_1 has the first factor only.
    Bt : per coefficient of the first factor, Z_1'V_1^-1 Z_2.
    """

    deviance: float
    D: tuple[Floats, ...]
    b: Floats
    Sxx_inverse: Floats
    r2: float
    U: Floats
    K2: tuple[Floats, ...]
    C2: tuple[Floats, ...]
    R2: Floats
    Bt: tuple[Any, ...]


def sweep(W: Floats) -> tuple[Floats, Floats]:
    """Return inverse and log-determinant of symmetric W (r, r, K) with eigenvalues of one or more, all K at once."""
    V, logdet = W.copy(), np.zeros(W.shape[2])
    for k in range(len(V)):
        d = V[k, k].copy()
        logdet += np.log(d)
        V[k, k] = 1.0
        V[k] /= d
        for i in range(len(V)):
            if i != k:
                f = V[i, k].copy()
                V[i, k] = 0.0
                V[i] -= f * V[k]
    return V, logdet


def multiply(U: Floats, M: Floats) -> Floats:
    """Return U_k M_k for U (q, r, K) and M (r, c, K), all K at once; for tiny matrices this beats einsum."""
    out: Floats = U[:, 0, None, :] * M[0]
    for s in range(1, len(M)):
        out += U[:, s, None, :] * M[s]
    return out


def _first_root(problem: Problem, L: Sequence[Floats]) -> Floats:
    return (
        np.asarray(scipy.linalg.block_diag(*[L[b] for b in problem.first]))
        if len(problem.first) > 1
        else L[problem.first[0]]
    )


def _second_roots(problem: Problem, second: Second, L: Sequence[Floats]) -> list[Floats]:
    """Return Lambda of the second factors, dense per bucket (c, s, s)."""
    roots = [np.zeros((len(b.members), b.members.shape[1], b.members.shape[1])) for b in second.buckets]
    for offset, b in zip(second.offsets, problem.second_blocks, strict=True):
        q = problem.sizes[b]
        columns = offset + np.arange(problem.levels[b]) * q
        for r in range(q):
            for k in range(L[b].shape[1]):
                i, j = columns + r, columns + k
                for where, root in enumerate(roots):
                    here = second.bucket[i] == where
                    at = second.slot[i[here]]
                    root[at, second.place[i[here]], second.place[j[here]]] = L[b][r, k]
    return roots


Rows = sp.csr_array | Floats


def scaled(u: Floats, B: Rows) -> Rows:
    """Return B with row i multiplied by u[i]."""
    if isinstance(B, np.ndarray):
        return u[:, None] * B
    data = B.data * np.repeat(u, np.diff(B.indptr))
    return sp.csr_array((data, B.indices, B.indptr), shape=B.shape)


def spread(second: Second, C: Any) -> list[Floats]:
    """Return a (m, m) matrix that connects only columns of one component, dense per bucket."""
    shapes = [(len(b.members), b.members.shape[1], b.members.shape[1]) for b in second.buckets]
    if isinstance(C, np.ndarray):
        both = [(b.members[:, :, None] >= 0) & (b.members[:, None, :] >= 0) for b in second.buckets]
        return [
            np.where(here, C[b.members[:, :, None], b.members[:, None, :]], 0.0)
            for b, here in zip(second.buckets, both, strict=True)
        ]
    coo = C.tocoo()
    i, j = coo.coords
    dense = [np.zeros(shape) for shape in shapes]
    for where, D in enumerate(dense):
        here = slice(None) if len(dense) == 1 else second.bucket[i] == where
        D[second.slot[i[here]], second.place[i[here]], second.place[j[here]]] = coo.data[here]
    return dense


def times(second: Second, dense: Sequence[Floats], R: Floats) -> Floats:
    """Return (matrix that is dense per bucket) @ R, R (m, c)."""
    out = np.zeros_like(R)
    for bucket, D in zip(second.buckets, dense, strict=True):
        present = bucket.members >= 0
        part = np.where(present[:, :, None], R[bucket.members], 0.0)
        out[bucket.members[present]] = (D @ part)[present]
    return out


def _eliminate_second(
    problem: Problem, second: Second, L: Sequence[Floats], U: Floats, UM: Floats
) -> tuple[float, list[Floats], list[Floats], Floats]:
    """Return log-determinant, K2, C2 and R2 after the first factor is eliminated."""
    q = len(problem.A)
    Un = U[:, :, problem.schedule]
    C, R = second.C, second.R.copy()
    for r in range(q):
        R -= second.B[r].T @ UM[r].T
        for s in range(r + 1):
            product = second.B[r].T @ scaled(Un[r, s], second.B[s])
            C = C - (product if r == s else product + product.T)
    dense = spread(second, C)
    logdet, K2 = 0.0, []
    simple = all(problem.sizes[b] == 1 for b in problem.second_blocks)
    for root, D in zip(_second_roots(problem, second, L), dense, strict=True):
        if simple:
            lam = np.einsum("css->cs", root)
            W = lam[:, :, None] * D * lam[:, None, :]
        else:
            W = np.swapaxes(root, 1, 2) @ D @ root
        W[:, np.arange(W.shape[1]), np.arange(W.shape[1])] += 1.0
        logdet += float(np.linalg.slogdet(W)[1].sum())
        inverse = np.linalg.inv(W)
        K2.append(lam[:, :, None] * inverse * lam[:, None, :] if simple else root @ inverse @ np.swapaxes(root, 1, 2))
    return logdet, K2, dense, R


def evaluate(problem: Problem, L: Sequence[Floats], *, reml: bool, gradient: bool = True) -> State:
    """Return the criterion at G = s2 L L', with its derivatives if `gradient`."""
    p, second = problem.p, problem.second
    A, M = problem.A, problem.Mc
    root = _first_root(problem, L)
    r1 = root.shape[1]
    # Levels stay the last axis in memory: everything that follows runs along it.
    W = np.ascontiguousarray(np.tensordot(root, np.tensordot(root, A, (0, 1)), (0, 1)))
    W[np.arange(r1), np.arange(r1)] += 1.0
    inverse, logdets = sweep(W)
    U = np.ascontiguousarray(np.tensordot(root, np.tensordot(root, inverse, (1, 1)), (1, 1)))
    logdet = float(problem.counts @ logdets)
    UM = multiply(U if _each_its_own(problem) else U[:, :, problem.schedule_c], M)
    S = problem.T - sum(M[r] @ UM[r].T for r in range(len(A)))
    K2: list[Floats] = []
    C2: list[Floats] = []
    R2 = np.zeros((0, p + 1))
    if second is not None:
        more, K2, C2, R2 = _eliminate_second(problem, second, L, U, UM)
        logdet += more
        S = S - R2.T @ times(second, K2, R2)
    S = (S + S.T) / 2
    factor = scipy.linalg.cho_factor(S[:p, :p], lower=True, check_finite=False)
    b = scipy.linalg.cho_solve(factor, S[:p, p], check_finite=False)
    Sxx_inverse = scipy.linalg.cho_solve(factor, np.eye(p), check_finite=False)
    r2 = float(S[p, p] - S[:p, p] @ b)
    if r2 <= 0:
        raise np.linalg.LinAlgError("no residual variance is left")
    nu = problem.n - p if reml else problem.n
    deviance = logdet + nu * (1 + math.log(2 * math.pi * r2 / nu))
    if reml:
        deviance += 2 * float(np.log(np.diag(factor[0])).sum())
    state = State(deviance, (), b, Sxx_inverse, r2, U, tuple(K2), tuple(C2), R2, ())
    return _with_slopes(problem, state, UM, reml) if gradient else state


def _with_slopes(problem: Problem, state: State, UM: Floats, reml: bool) -> State:
    """Return the state with D = sum (H - E Q E') of each block."""
    A, M, p, second = problem.A, problem.Mc, problem.p, problem.second
    v = np.append(-state.b, 1.0)
    Q = ((problem.n - p if reml else problem.n) / state.r2) * np.outer(v, v)
    if reml:
        Q[:p, :p] += state.Sxx_inverse
    AU = multiply(A, state.U)
    Hsum = np.tensordot(A - multiply(AU, A), problem.counts, (2, 0))
    E = M - multiply(A if _each_its_own(problem) else A[:, :, problem.schedule_c], UM)
    Bt: tuple[Rows, ...] = ()
    D: list[Floats] = [np.zeros((0, 0))] * len(problem.sizes)
    if second is not None:
        K2R = times(second, state.K2, state.R2)
        Bt = first_to_second(problem, second, AU)
        for r in range(len(A)):
            E[r] -= (Bt[r] @ K2R).T
            for s in range(r + 1):
                cross = spread(second, Bt[r].T @ Bt[s])
                lost = sum(float(np.vdot(K, c)) for K, c in zip(state.K2, cross, strict=True))
                Hsum[r, s] -= lost
                Hsum[s, r] -= lost if r != s else 0.0
        E2 = state.R2 - times(second, state.C2, K2R)
        for b, H2 in level_blocks(problem, second, state):
            e = E2[second.columns(problem, b)].reshape(len(H2), problem.sizes[b], -1)
            D[b] = H2.sum(axis=0) - np.einsum("lrc,cd,lsd->rs", e, Q, e)
    flat = E.reshape(len(A) * (p + 1), -1)
    D1 = Hsum - np.einsum("cd,rdsc->rs", Q, (flat @ flat.T).reshape(len(A), p + 1, len(A), p + 1))
    for b in problem.first:
        D[b] = D1[problem.columns(b), problem.columns(b)]
    return replace(state, D=tuple(D), Bt=Bt)


def _each_its_own(problem: Problem) -> bool:
    """Return whether every level has a schedule of its own, so that nothing need be looked up."""
    order = problem.schedule_c
    return problem.Mc.shape[2] == problem.A.shape[2] and bool((order[:-1] < order[1:]).all())


def first_to_second(problem: Problem, second: Second, AU: Floats) -> tuple[Rows, ...]:
    """Return Z_1'V_1^-1 Z_2 per coefficient of the first factor, (N, m)."""
    AUn = AU[:, :, problem.schedule]
    out = []
    for r in range(len(AU)):
        B = second.B[r]
        for s in range(len(AU)):
            B = B - scaled(AUn[r, s], second.B[s])
        out.append(B)
    return tuple(out)


def level_blocks(problem: Problem, second: Second, state: State) -> Iterator[tuple[int, Floats]]:
    """Give, per block of the second factors, the (levels, q, q) diagonal blocks of C2 - C2 K2 C2."""
    KC = [K @ C for K, C in zip(state.K2, state.C2, strict=True)]
    for offset, b in zip(second.offsets, problem.second_blocks, strict=True):
        q, first = problem.sizes[b], offset + np.arange(problem.levels[b]) * problem.sizes[b]
        blocks = np.empty((len(first), q, q))
        for where, (C, through) in enumerate(zip(state.C2, KC, strict=True)):
            here = second.bucket[first] == where
            at = second.slot[first[here]]
            for r in range(q):
                for s in range(q):
                    left, right = second.place[first[here] + r], second.place[first[here] + s]
                    lost = np.einsum("ij,ij->i", C[at, left], through[at, :, right])
                    blocks[here, r, s] = C[at, left, right] - lost
        yield b, blocks
