"""The Gaussian mixed model by profiled (restricted) maximum likelihood, from per-level sufficient statistics.

Criterion and gradient follow Bates et al. 2015 (DOI 10.18637/jss.v067.i01). With G = s2 L L' for each block,
W = L'A L + I, U = L W^-1 L', S = T - sum M'U M = [[Sxx, s], [s', Syy]], b = Sxx^-1 s, r2 = Syy - s'b:
d = sum log|W| + nu [1 + log(2 pi r2 / nu)] + (REML) log|Sxx|, and dd/dL = 2 D L with
D = sum (H - E Q E'), H = Z'V^-1 Z, E = Z'V^-1 [X y], Q = (nu/r2) v v' + (REML) diag(Sxx^-1, 0), v = [-b; 1].
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.optimize
import scipy.sparse as sp
from numpy.typing import NDArray

from implstats._core.convergence import Convergence
from implstats._core.structure import Block, Problem, Second, aliased, prepare
from implstats.errors import ConvergenceError

__all__ = ["Block", "Fit", "State", "aliased", "evaluate", "fit", "prepare", "random_effects"]

Floats = NDArray[np.float64]

NEWTON_STEPS = 30
RESTARTS = 12
GOOD_DECREMENT = 1e-7
PERFECT_DECREMENT = 1e-15
SMALL_VARIANCE = 1e-5
SAME_CRITERION = 1e-8


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
    Bt: tuple[sp.csr_array, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model.

    Attributes
    ----------
    reml : whether the criterion is the restricted one.
    L : per block, (q, rank) root of G / s2 in scaled columns.
    G : per block, (q, q) covariance of its random effects on the user's scale.
    sigma2 : residual variance.
    beta, vcov : (p,), (p, p) fixed effects and (X'V^-1 X)^-1 on the user's scale.
    deviance : -2 log-likelihood (restricted under REML) on the user's scale.
    nu : n under ML, n - p under REML.
    state : the model at the optimum, for inference.
    convergence : how the fit ended.
    """

    reml: bool
    L: tuple[Floats, ...]
    G: tuple[Floats, ...]
    sigma2: float
    beta: Floats
    vcov: Floats
    deviance: float
    nu: int
    state: State
    convergence: Convergence


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


def _first_root(problem: Problem, L: Sequence[Floats]) -> Floats:
    return np.asarray(scipy.linalg.block_diag(*[L[b] for b in problem.first])) if len(problem.first) > 1 else L[problem.first[0]]


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
                    at = second.component[i[here]]
                    root[at, second.place[i[here]], second.place[j[here]]] = L[b][r, k]
    return roots


def spread(second: Second, C: sp.csr_array) -> list[Floats]:
    """Return a sparse (m, m) matrix that connects only columns of one component, dense per bucket."""
    coo = C.tocoo()
    i, j = coo.coords
    dense = [np.zeros((len(b.members), b.members.shape[1], b.members.shape[1])) for b in second.buckets]
    for where, D in enumerate(dense):
        here = second.bucket[i] == where
        D[second.component[i[here]], second.place[i[here]], second.place[j[here]]] = coo.data[here]
    return dense


def gather(second: Second, dense: Sequence[Floats], i: NDArray[np.intp], j: NDArray[np.intp]) -> Floats:
    """Return the entries (i, j) of a matrix that is dense per bucket."""
    out = np.empty(len(i))
    for where, D in enumerate(dense):
        here = second.bucket[i] == where
        out[here] = D[second.component[i[here]], second.place[i[here]], second.place[j[here]]]
    return out


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
            product = second.B[r].T @ (sp.diags_array(Un[r, s]) @ second.B[s])
            C = C - (product if r == s else product + product.T)
    dense = spread(second, sp.csr_array(C))
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
        K2.append(
            lam[:, :, None] * inverse * lam[:, None, :] if simple else root @ inverse @ np.swapaxes(root, 1, 2)
        )
    return logdet, K2, dense, R


def evaluate(problem: Problem, L: Sequence[Floats], *, reml: bool, gradient: bool = True) -> State:
    """Return the criterion at G = s2 L L', with its derivatives if `gradient`."""
    p, second = problem.p, problem.second
    A, M = problem.A, problem.Mc
    root = _first_root(problem, L)
    r1 = root.shape[1]
    W = np.tensordot(root, np.tensordot(A, root, (1, 0)), (0, 0)).transpose(0, 2, 1)
    W[np.arange(r1), np.arange(r1)] += 1.0
    inverse, logdets = sweep(W)
    U = np.tensordot(root, np.tensordot(inverse, root, (1, 1)), (1, 0)).transpose(0, 2, 1)
    logdet = float(problem.counts @ logdets)
    whole = len(problem.schedule_c) == A.shape[2] and M.shape[2] == A.shape[2] and problem.M is M
    Un = U if whole and np.array_equal(problem.schedule_c, np.arange(A.shape[2])) else U[:, :, problem.schedule_c]
    UM = np.einsum("rsn,scn->rcn", Un, M)
    S = problem.T - sum(M[r] @ UM[r].T for r in range(len(A)))
    K2: list[Floats] = []
    C2: list[Floats] = []
    R2, Bt = np.zeros((0, p + 1)), ()
    if second is not None:
        more, K2, C2, R2 = _eliminate_second(problem, second, L, U, UM)
        logdet += more
        K2R = times(second, K2, R2)
        S = S - R2.T @ K2R
    S = (S + S.T) / 2
    factor = scipy.linalg.cho_factor(S[:p, :p], lower=True, check_finite=False)
    b = scipy.linalg.cho_solve(factor, S[:p, p], check_finite=False)
    Sxx_inverse = scipy.linalg.cho_solve(factor, np.eye(p), check_finite=False)
    r2 = float(S[p, p] - S[:p, p] @ b)
    nu = problem.n - p if reml else problem.n
    deviance = logdet + nu * (1 + math.log(2 * math.pi * r2 / nu))
    if reml:
        deviance += 2 * float(np.log(np.diag(factor[0])).sum())
    if not gradient:
        return State(deviance, (), b, Sxx_inverse, r2, U, tuple(K2), tuple(C2), R2, Bt)

    v = np.append(-b, 1.0)
    Q = (nu / r2) * np.outer(v, v)
    if reml:
        Q[:p, :p] += Sxx_inverse
    AU = np.einsum("rsk,stk->rtk", A, U)
    H = A - np.einsum("rsk,stk->rtk", AU, A)
    Hsum = np.tensordot(H, problem.counts, (2, 0))
    E = M - np.einsum("rsn,scn->rcn", A if Un is U else A[:, :, problem.schedule_c], UM)
    if second is not None:
        Bt = first_to_second(problem, second, AU)
        for r in range(len(A)):
            E[r] -= (Bt[r] @ K2R).T
            for s in range(r + 1):
                cross = (Bt[r].T @ Bt[s]).tocoo()
                lost = float(gather(second, K2, *cross.coords) @ cross.data)
                Hsum[r, s] -= lost
                Hsum[s, r] -= lost if r != s else 0.0
    D1 = Hsum - np.einsum("rcn,scn->rs", np.einsum("cd,rdn->rcn", Q, E), E)
    D: list[Floats] = [np.zeros((0, 0))] * len(problem.sizes)
    for b_ in problem.first:
        D[b_] = D1[problem.columns(b_), problem.columns(b_)]
    if second is not None:
        E2 = R2 - times(second, C2, K2R)
        for offset, b_ in zip(second.offsets, problem.second_blocks, strict=True):
            q, levels = problem.sizes[b_], problem.levels[b_]
            e = E2[offset : offset + q * levels].reshape(levels, q, -1)
            D[b_] = _level_sum(second, C2, K2, offset, q, levels) - np.einsum("lrc,cd,lsd->rs", e, Q, e)
    return State(deviance, tuple(D), b, Sxx_inverse, r2, U, tuple(K2), tuple(C2), R2, tuple(Bt))


def first_to_second(problem: Problem, second: Second, AU: Floats) -> tuple[sp.csr_array, ...]:
    """Return Z_1'V_1^-1 Z_2 per coefficient of the first factor, sparse (N, m)."""
    AUn = AU[:, :, problem.schedule]
    return tuple(
        sp.csr_array(
            second.B[r] - sum(sp.diags_array(AUn[r, s]) @ second.B[s] for s in range(len(AU)))  # type: ignore[operator]
        )
        for r in range(len(AU))
    )


def _level_sum(
    second: Second, C2: Sequence[Floats], K2: Sequence[Floats], offset: int, q: int, levels: int
) -> Floats:
    """Return the sum over levels of the (q, q) diagonal blocks of C2 - C2 K2 C2."""
    total = np.zeros((q, q))
    columns = offset + np.arange(levels) * q
    for where, (C, K) in enumerate(zip(C2, K2, strict=True)):
        KC = K @ C
        for r in range(q):
            i = columns[second.bucket[columns] == where] + r
            at, left = second.component[i], second.place[i]
            for s in range(q):
                right = second.place[i - r + s]
                total[r, s] += (C[at, left, right] - np.einsum("ij,ij->i", C[at, left], KC[at, :, right])).sum()
    return total


class _Climb:
    """One minimisation over the free entries of L: BFGS to come near, Newton to arrive."""

    def __init__(self, problem: Problem, L: Sequence[Floats], reml: bool) -> None:
        self.problem, self.reml = problem, reml
        self.shapes = [root.shape for root in L]
        self.free = [
            np.tril(np.ones(s, dtype=bool)) if s[0] == s[1] else np.ones(s, dtype=bool) for s in self.shapes
        ]
        self.evaluations = self.iterations = 0
        self.theta = np.concatenate([root[f] for root, f in zip(L, self.free, strict=True)])
        self.decrement = self.gradient = 0.0

    def roots(self, theta: Floats) -> list[Floats]:
        L, start = [], 0
        for shape, free in zip(self.shapes, self.free, strict=True):
            root = np.zeros(shape)
            root[free] = theta[start : start + free.sum()]
            start += int(free.sum())
            L.append(root)
        return L

    def __call__(self, theta: Floats) -> tuple[float, Floats]:
        self.evaluations += 1
        L = self.roots(theta)
        with np.errstate(all="ignore"):
            try:
                state = evaluate(self.problem, L, reml=self.reml)
            except (np.linalg.LinAlgError, ValueError):
                return math.inf, np.zeros_like(theta)
        slope = np.concatenate([(2 * D @ root)[f] for D, root, f in zip(state.D, L, self.free, strict=True)])
        if not math.isfinite(state.deviance) or not np.isfinite(slope).all():
            return math.inf, np.zeros_like(theta)
        return state.deviance, slope

    def run(self) -> None:
        if len(self.theta) == 0:
            return
        with np.errstate(all="ignore"):
            near = scipy.optimize.minimize(
                self, self.theta, jac=True, method="BFGS", options={"gtol": 1e-3, "maxiter": 400}
            )
        self.iterations += int(near.nit)
        self.theta = np.asarray(near.x)
        self._newton()

    def _hessian(self, theta: Floats, slope: Floats) -> Floats:
        H = np.empty((len(theta), len(theta)))
        for j in range(len(theta)):
            step = 1e-5 * max(1.0, abs(theta[j]))
            moved = theta.copy()
            moved[j] += step
            H[j] = (self(moved)[1] - slope) / step
        return (H + H.T) / 2

    def _newton(self) -> None:
        value, slope = self(self.theta)
        for _ in range(NEWTON_STEPS):
            w, V = np.linalg.eigh(self._hessian(self.theta, slope))
            used = np.abs(w) > 1e-9 * max(np.abs(w).max(), 1e-300)
            along = V.T @ slope
            step = -V[:, used] @ (along[used] / np.abs(w[used]))
            self.decrement = float(0.5 * (along[used] ** 2 / np.abs(w[used])).sum())
            self.gradient = float(np.abs(slope).max())
            if self.decrement < PERFECT_DECREMENT:
                return
            size = 1.0
            while size > 1e-6:
                moved, moved_slope = self(self.theta + size * step)
                if moved < value or (moved < value + 1e-9 and np.abs(moved_slope).max() < np.abs(slope).max()):
                    break
                size /= 4
            else:
                return
            self.iterations += 1
            self.theta, value, slope = self.theta + size * step, moved, moved_slope


def _reduced(root: Floats) -> Floats:
    """Return a root (q, r) without the directions whose variance is negligible."""
    w, V = np.linalg.eigh(root @ root.T)
    kept = w > SMALL_VARIANCE
    return np.asarray(V[:, kept] * np.sqrt(w[kept]))


def _squared(root: Floats, direction: Floats | None = None, variance: float = 0.0) -> Floats:
    """Return a lower-triangular root of L L' (+ variance x direction direction')."""
    columns = [root] if direction is None else [root, math.sqrt(variance) * direction[:, None]]
    R = np.linalg.qr(np.column_stack([*columns, np.zeros((len(root), len(root)))]).T, mode="r")
    return np.asarray(R.T[:, : len(root)])


def _escape(problem: Problem, L: list[Floats], D: Sequence[Floats], reml: bool, value: float) -> list[Floats] | None:
    """Return roots with a lower criterion off a false boundary, or None where the boundary is certified.

    At a root of deficient rank the criterion is stationary in L whatever its slope in G; it is a minimum only if
    N'D N >= 0 on the null space N of L L'.
    """
    for b, root in enumerate(L):
        q, r = root.shape
        if r == q:
            continue
        N = scipy.linalg.null_space(root.T) if r else np.eye(q)
        w, V = np.linalg.eigh(N.T @ D[b] @ N)
        if w[0] >= 0:
            continue
        trials = []
        for variance in 10.0 ** np.arange(-6, 2):
            moved = [*L]
            moved[b] = _squared(root, N @ V[:, 0], variance)
            trials.append((evaluate(problem, moved, reml=reml, gradient=False).deviance, moved))
        best, moved = min(trials, key=lambda trial: trial[0])
        if best < value - SAME_CRITERION:
            return moved
    return None


def fit(problem: Problem, *, reml: bool = True, start: Sequence[Floats] | None = None) -> Fit:
    """Return the fitted model; `start` is L of a similar fit.

    Raises
    ------
    ConvergenceError
        When no certified optimum is reached; it carries the record.
    """
    L = [np.eye(q) for q in problem.sizes] if start is None else [_squared(root) for root in start]
    evaluations = iterations = restarts = 0
    while True:
        climb = _Climb(problem, L, reml)
        climb.run()
        L = climb.roots(climb.theta)
        evaluations, iterations = evaluations + climb.evaluations, iterations + climb.iterations
        state = evaluate(problem, L, reml=reml)
        reduced = [_reduced(root) if len(root) else root for root in L]
        if any(a.shape != b.shape for a, b in zip(reduced, L, strict=True)):
            reduced = [a if a.shape != b.shape else b for a, b in zip(reduced, L, strict=True)]
            lower = _Climb(problem, reduced, reml)
            lower.run()
            evaluations, iterations = evaluations + lower.evaluations, iterations + lower.iterations
            reduced = lower.roots(lower.theta)
            state_reduced = evaluate(problem, reduced, reml=reml)
            if state_reduced.deviance <= state.deviance + SAME_CRITERION:
                climb, L, state = lower, reduced, state_reduced
        away = _escape(problem, L, state.D, reml, state.deviance)
        if away is None or restarts == RESTARTS:
            break
        L, restarts = [_squared(root) for root in away], restarts + 1

    boundary = any(root.shape[1] < root.shape[0] for root in L)
    good = away is None and math.isfinite(state.deviance) and climb.decrement < GOOD_DECREMENT and state.r2 > 0
    message = "converged on the boundary" if boundary else "converged"
    if not good:
        message = "no certified optimum" if away is None else "the criterion still falls off a false boundary"
    record = Convergence(
        good, boundary, message, iterations, evaluations, restarts, climb.gradient, climb.decrement
    )
    if not good:
        raise ConvergenceError(
            f"the fit did not converge: {message} after {iterations} steps and {restarts} restarts, "
            f"decrement {climb.decrement:.1e}; simplify the random effects, or look for a model that fits perfectly",
            record.to_dict(),
        )
    return _on_user_scale(problem, L, state, reml, record)


def _on_user_scale(problem: Problem, L: list[Floats], state: State, reml: bool, record: Convergence) -> Fit:
    nu = problem.n - problem.p if reml else problem.n
    sigma2 = state.r2 / nu
    inverse = scipy.linalg.solve_triangular(problem.Rx, np.eye(problem.p)) if problem.p else np.zeros((0, 0))
    G = []
    for root, Rz in zip(L, problem.Rz, strict=True):
        back = scipy.linalg.solve_triangular(Rz, root) if root.shape[1] else np.zeros((len(root), 0))
        G.append(sigma2 * back @ back.T)
    constant = 2 * float(np.log(np.diag(problem.Rx)).sum()) if reml else 0.0
    return Fit(
        reml,
        tuple(L),
        tuple(G),
        sigma2,
        problem.beta0 + inverse @ state.b,
        sigma2 * inverse @ state.Sxx_inverse @ inverse.T,
        state.deviance + constant,
        nu,
        state,
        record,
    )


def random_effects(problem: Problem, fit: Fit) -> list[tuple[Floats, Floats]]:
    """Return, per block, the predicted random effects (levels, q) and their conditional SDs, on the user's scale."""
    state, second = fit.state, problem.second
    A, U, M = problem.A, state.U, problem.M
    v = np.append(-state.b, 1.0)
    AU = np.einsum("rsk,stk->rtk", A, U)
    H = (A - np.einsum("rsk,stk->rtk", AU, A))[:, :, problem.schedule]
    UM = np.einsum("rsn,scn->rcn", U[:, :, problem.schedule], M)
    h = np.einsum("rcn,c->rn", M - np.einsum("rsn,scn->rcn", A[:, :, problem.schedule], UM), v)
    if second is not None:
        K2Rv = times(second, state.K2, state.R2 @ v[:, None])
        K2 = _sparse(second, state.K2)
        for r in range(len(A)):
            h[r] -= (state.Bt[r] @ K2Rv)[:, 0]
            through = state.Bt[r] @ K2
            for s in range(len(A)):
                H[r, s] -= np.asarray(through.multiply(state.Bt[s]).sum(axis=1)).ravel()
    out: list[tuple[Floats, Floats]] = [(np.zeros(0), np.zeros(0))] * len(problem.sizes)
    for b in problem.first:
        c = problem.columns(b)
        out[b] = _predicted(fit, problem, b, h[c].T, H[c, c].transpose(2, 0, 1))
    if second is not None:
        h2 = ((state.R2 @ v[:, None]) - times(second, state.C2, K2Rv))[:, 0]
        for offset, b in zip(second.offsets, problem.second_blocks, strict=True):
            q, levels = problem.sizes[b], problem.levels[b]
            H2 = np.empty((levels, q, q))
            products = [K @ C for K, C in zip(state.K2, state.C2, strict=True)]
            for r in range(q):
                for s in range(q):
                    i = offset + np.arange(levels) * q
                    for where, (C, KC) in enumerate(zip(state.C2, products, strict=True)):
                        here = second.bucket[i] == where
                        at = second.component[i[here]]
                        left, right = second.place[i[here] + r], second.place[i[here] + s]
                        H2[here, r, s] = C[at, left, right] - np.einsum("ij,ij->i", C[at, left], KC[at, :, right])
            out[b] = _predicted(fit, problem, b, h2[offset : offset + q * levels].reshape(levels, q), H2)
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
    spread_ = LL - np.einsum("rs,lst,tu->lru", LL, H, LL)
    variance = np.einsum("ar,lrs,as->la", inverse, spread_, inverse) * fit.sigma2
    return effects, np.sqrt(np.maximum(variance, 0.0))
