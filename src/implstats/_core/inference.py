"""What a mixed model's variances being estimated costs: Satterthwaite, Fai-Cornelius and Kenward-Roger.

Sources: Kenward & Roger 1997 (DOI 10.2307/2533558); Fai & Cornelius 1996 (DOI 10.1080/00949659608811740);
Kuznetsova et al. 2017 (DOI 10.18637/jss.v082.i13). With independent residuals phi = (vech G of each block, s2), and
V = sum phi_j V_j is linear in phi, so Kenward and Roger's R_jk is zero; `explicit.py` has the other residuals and MMRM.
Everything is in units of the residual variance: s2 = 1 here, G is G / s2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from implstats._core.criterion import first_to_second, multiply, times
from implstats._core.mixed import Fit
from implstats._core.structure import Problem, Second

__all__ = ["LARGEST_COMPONENT", "Component", "Derived", "Inference", "components", "conclude", "infer", "inverse"]
__all__ += ["largest_component", "phi_covariance", "slopes"]

Floats = NDArray[np.float64]

LARGEST_COMPONENT = 5_000


@dataclass(frozen=True, slots=True)
class Inference:
    """Everything that tests and intervals of linear contrasts need, in orthonormal columns of X.

    Attributes
    ----------
    reml : whether the fit is restricted; Kenward-Roger needs it.
    sigma2 : the unit, the residual variance.
    Rx : (p, p) l of the user's scale becomes Rx^-T l.
    P0 : (p, p) (X'V^-1 X)^-1.
    F : (J, p, p) X'V^-1 V_j V^-1 X; the last is that of s2 (the last ones, of the residual's parameters).
    A : (J, J) covariance of the estimates of phi, zero along directions at the boundary.
    PA, w : (p, p), (J, J) Kenward-Roger's adjusted covariance and inverse expected information (REML only).
    pairs : (block, row, column) of each phi but the last.
    Rz : per block the triangle that takes scaled to user's columns.
    """

    reml: bool
    sigma2: float
    Rx: Floats
    P0: Floats
    F: Floats
    A: Floats
    PA: Floats | None
    w: Floats | None
    pairs: tuple[tuple[int, int, int], ...]
    Rz: tuple[Floats, ...]

    def contrasts(self, rows: Floats, df: str) -> tuple[Floats, Floats]:
        """Return standard errors and df of each row of contrasts (k, p) on the user's scale."""
        L = self._scaled(rows)
        middle, spread = self._parts(df)
        std_error = np.sqrt(np.maximum(np.einsum("kp,pq,kq->k", L, middle, L), 0.0) * self.sigma2)
        if df == "normal":
            return std_error, np.full(len(L), np.inf)
        # Kenward and Roger's df of one row, 2 / A2, is Satterthwaite's with the expected information.
        return std_error, self._df(L, spread)

    def _parts(self, df: str) -> tuple[Floats, Floats]:
        """Return the covariance of the fixed effects, and that of phi, which a method works with."""
        if df != "kenward-roger":
            return self.P0, self.A
        assert self.PA is not None, "Kenward and Roger's method is one of REML"
        assert self.w is not None
        return self.PA, self.w

    def _df(self, L: Floats, spread: Floats) -> Floats:
        """Return 2 (l'P0 l)^2 / (g'spread g) of each row, g_j = l'P0 F_j P0 l; spread is the covariance of phi."""
        PL = L @ self.P0
        variance = np.einsum("kp,kp->k", PL, L)
        slopes = np.einsum("kp,jpq,kq->kj", PL, self.F, PL)
        uncertain = np.einsum("kj,ji,ki->k", slopes, spread, slopes)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(uncertain > 0, 2 * variance**2 / uncertain, np.inf)

    def covariance(self, rows: Floats, df: str) -> Floats:
        """Return the covariance of contrasts (k, p) on the user's scale: Kenward-Roger's adjusted one, or P0."""
        L = self._scaled(rows)
        return np.asarray(L @ self._parts(df)[0] @ L.T) * self.sigma2

    def joint(self, beta: Floats, rows: Floats, df: str) -> tuple[float, int, float, float]:
        """Return F (scaled under Kenward-Roger), its numerator and denominator df, and the scale, for all rows = 0."""
        L = self._scaled(rows)
        # Singular values of L P0^(1/2) keep twice the digits of the eigenvalues of L P0 L'.
        half = L @ np.linalg.cholesky(self.P0)
        sizes = np.linalg.norm(half, axis=1, keepdims=True)
        rank = int(np.linalg.matrix_rank(half / np.where(sizes > 0, sizes, 1.0)))
        estimate = rows @ beta / np.sqrt(self.sigma2)
        if df == "kenward-roger":
            return self._joint_kr(
                L / np.where(sizes > 0, sizes, 1.0), estimate / np.where(sizes[:, 0] > 0, sizes[:, 0], 1.0), rank
            )
        U, s, _ = np.linalg.svd(half, full_matrices=False)
        U, s = U[:, :rank], s[:rank]
        statistic = float((((U.T @ estimate) / s) ** 2).mean())
        if df == "normal":
            return statistic, rank, np.inf, 1.0
        each = self._df(U.T @ L, self.A)
        if rank == 1:
            return statistic, 1, float(each[0]), 1.0
        total = float((each[each > 2] / (each[each > 2] - 2)).sum())
        return statistic, rank, 2 * total / (total - rank) if total > rank else 0.0, 1.0

    def _joint_kr(self, L: Floats, estimate: Floats, q: int) -> tuple[float, int, float, float]:
        assert self.PA is not None
        assert self.w is not None
        middle = np.linalg.pinv(L @ self.P0 @ L.T, rcond=1e-12, hermitian=True)
        T = L.T @ middle @ L
        TPFP = [T @ self.P0 @ F @ self.P0 for F in self.F]
        traces = np.array([np.trace(x) for x in TPFP])
        A1 = float(traces @ self.w @ traces)
        A2 = float(sum(self.w[j, k] * np.sum(a * b.T) for j, a in enumerate(TPFP) for k, b in enumerate(TPFP)))
        statistic = float(estimate @ np.linalg.pinv(L @ self.PA @ L.T, rcond=1e-12, hermitian=True) @ estimate) / q
        if A2 <= 0:
            return statistic, q, np.inf, 1.0
        B = (A1 + 6 * A2) / (2 * q)
        g = ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
        c = np.array([g, q - g, q + 2 - g]) / (3 * q + 2 * (1 - g))
        mean = 1 / (1 - A2 / q)
        variance = (2 / q) * (1 + c[0] * B) / ((1 - c[1] * B) ** 2 * (1 - c[2] * B))
        rho = variance / (2 * mean**2)
        m = 4 + (q + 2) / (q * rho - 1)
        scale = m / (mean * (m - 2))
        return scale * statistic, q, float(m), float(scale)

    def variance_of(self, rows: list[Floats], residual: Floats) -> float:
        """Return the variance of the estimate of a total variance.

        Parameters
        ----------
        rows : z of each block on the user's scale, for z'G z.
        residual : derivative of the residual variance (or of V itself) with respect to the parameters after G's.
        """
        g = np.append(np.zeros(len(self.pairs)), residual)
        for j, (b, r, s) in enumerate(self.pairs):
            z = scipy.linalg.solve_triangular(self.Rz[b], rows[b], trans="T")
            g[j] = z[r] * z[s] * (1 if r == s else 2)
        return float(g @ self.A @ g) * self.sigma2**2

    def _scaled(self, rows: Floats) -> Floats:
        return np.asarray(scipy.linalg.solve_triangular(self.Rx, rows.T, trans="T").T)


@dataclass(slots=True)
class _Sums:
    """Sums over patients (or components), a..d running over the coefficients of all blocks.

    tr[a, b, c, d] = sum H_ab H_cd over levels; F[a, :, b, :] = sum E_a E_b'; Q[a, b, c, d] = sum E_a H_bc E_d'.
    """

    t: Floats
    F: Floats
    Q: Floats
    tau: Floats


def _first_only(problem: Problem, fit: Fit) -> _Sums:
    A, M, U = problem.A, problem.Mc, fit.state.U
    q, p1 = len(A), problem.p + 1
    AU = multiply(A, U)
    H = A - multiply(AU, A)
    Hn = H[:, :, problem.schedule_c]
    E = M - multiply(AU[:, :, problem.schedule_c], M)
    flat = H.reshape(q * q, -1)
    t = ((flat * problem.counts) @ flat.T).reshape(q, q, q, q)
    rows = E.reshape(q * p1, -1)
    F = (rows @ rows.T).reshape(q, p1, q, p1)
    Q = np.empty((q, q, q, q, p1, p1))
    for b in range(q):
        for c in range(b + 1):
            product = ((rows * Hn[b, c]) @ rows.T).reshape(q, p1, q, p1).transpose(0, 2, 1, 3)
            Q[:, b, c, :] = product
            Q[:, c, b, :] = product
    return _Sums(t, F, Q, np.tensordot(H, problem.counts, (2, 0)))


def _dense(x: Any) -> Floats:
    return np.asarray(x if isinstance(x, np.ndarray) else x.toarray())


@dataclass(frozen=True, slots=True)
class Component:
    """One connected component: each coefficient's rows (one a level) and their levels; H and E, V in units of s2."""

    rows: list[NDArray[np.intp]]
    levels: list[NDArray[np.intp]]
    H: Floats
    E: Floats


def components(problem: Problem, second: Second, fit: Fit) -> Iterator[Component]:
    A, U, M, state = problem.A, fit.state.U, problem.M, fit.state
    q, p1 = len(A), problem.p + 1
    AU = multiply(A, U)
    H1 = A - multiply(AU, A)
    E1 = M - multiply(AU[:, :, problem.schedule], M)
    Bt = first_to_second(problem, second, AU)
    K2R = times(second, state.K2, state.R2)
    for r in range(q):
        E1[r] -= (Bt[r] @ K2R).T
    E2 = state.R2 - times(second, state.C2, K2R)
    order = np.argsort(second.first_component, kind="stable")
    ends = np.cumsum(np.bincount(second.first_component, minlength=second.component_of.max() + 1))
    effect_of = np.empty(len(second.component_of), dtype=np.intp)
    level_of = np.empty(len(second.component_of), dtype=np.intp)
    before = sum(problem.sizes[b] for b in problem.first)
    for offset, b in zip(second.offsets, problem.second_blocks, strict=True):
        size = problem.sizes[b] * problem.levels[b]
        effect_of[offset : offset + size] = before + np.tile(np.arange(problem.sizes[b]), problem.levels[b])
        level_of[offset : offset + size] = np.repeat(np.arange(problem.levels[b]), problem.sizes[b])
        before += problem.sizes[b]
    for bucket, K, C in zip(second.buckets, state.K2, state.C2, strict=True):
        for c, members in enumerate(bucket.members):
            columns = members[members >= 0]
            m = len(columns)
            name = second.component_of[columns[0]]
            mine = order[ends[name - 1] if name else 0 : ends[name]]
            k1 = len(mine)
            size = q * k1 + m
            K2, C2 = K[c, :m, :m], C[c, :m, :m]
            Bd = np.concatenate([_dense(x[mine][:, columns]) for x in Bt])
            H = np.empty((size, size))
            BK = Bd @ K2
            H[: q * k1, : q * k1] = -BK @ Bd.T
            for r in range(q):
                for s in range(q):
                    i = np.arange(k1)
                    H[r * k1 + i, s * k1 + i] += H1[r, s, problem.schedule[mine]]
            H[: q * k1, q * k1 :] = Bd - BK @ C2
            H[q * k1 :, : q * k1] = H[: q * k1, q * k1 :].T
            H[q * k1 :, q * k1 :] = C2 - C2 @ K2 @ C2
            E = np.concatenate([*(E1[r][:, mine].T for r in range(q)), E2[columns]]).reshape(size, p1)
            places = [np.flatnonzero(effect_of[columns] == a) for a in range(q, before)]
            rows = [r * k1 + np.arange(k1) for r in range(q)] + [q * k1 + place for place in places]
            yield Component(rows, [mine] * q + [level_of[columns[place]] for place in places], H, E)


def _all_factors(problem: Problem, second: Second, fit: Fit) -> _Sums:
    effects = sum(problem.sizes)
    p1 = problem.p + 1
    order = [*problem.first, *problem.second_blocks]
    block = np.repeat(np.arange(len(order)), [problem.sizes[b] for b in order])
    t = np.zeros((effects,) * 4)
    F = np.zeros((effects, p1, effects, p1))
    Q = np.zeros((effects,) * 4 + (p1, p1))
    tau = np.zeros((effects, effects))
    same = [(a, b) for a in range(effects) for b in range(effects) if block[a] == block[b]]
    for component in components(problem, second, fit):
        rows, H, E = component.rows, component.H, component.E
        part = {(a, b): H[np.ix_(rows[a], rows[b])] for a in range(effects) for b in range(effects)}
        for a, b in same:
            F[a, :, b, :] += E[rows[a]].T @ E[rows[b]]
            tau[a, b] += np.trace(part[a, b])
            for c, d in same:
                Q[a, b, c, d] += E[rows[a]].T @ part[b, c] @ E[rows[d]]
                t[d, a, b, c] += float(np.sum(part[a, d] * part[b, c]))
    return _Sums(t, F, Q, tau)


def largest_component(problem: Problem, second: Second) -> int:
    """Return the number of random effects in the largest connected component."""
    size = np.bincount(second.component_of)
    first = np.bincount(second.first_component, minlength=len(size)) * len(problem.A)
    return int((size + first).max())


def infer(problem: Problem, fit: Fit) -> Inference:
    """Return what tests and intervals need.

    Raises
    ------
    ValueError
        When crossed factors connect more than `LARGEST_COMPONENT` random effects.
    """
    if problem.second is None:
        sums = _first_only(problem, fit)
    else:
        if (size := largest_component(problem, problem.second)) > LARGEST_COMPONENT:
            raise ValueError(
                f"{size} random effects are connected by crossed groups; "
                f"above {LARGEST_COMPONENT} these df are not computed; use df='normal'"
            )
        sums = _all_factors(problem, problem.second, fit)
    order = [*problem.first, *problem.second_blocks]
    start = dict(zip(order, np.cumsum([0, *(problem.sizes[b] for b in order)]), strict=False))
    pairs = [(b, r, s) for b in range(len(problem.sizes)) for r in range(problem.sizes[b]) for s in range(r + 1)]
    places = [(int(start[b]) + r, int(start[b]) + s) for b, r, s in pairs]
    return _assemble(problem, fit, sums, pairs, places)


def _assemble(
    problem: Problem, fit: Fit, sums: _Sums, pairs: list[tuple[int, int, int]], places: list[tuple[int, int]]
) -> Inference:
    n, p = problem.n, problem.p
    P0 = fit.state.Sxx_inverse
    v = np.append(-fit.state.b, 1.0) / np.sqrt(fit.sigma2)
    J = len(pairs)
    entries = [[(r, s)] if r == s else [(r, s), (s, r)] for r, s in places]
    G = np.array([(fit.L[b] @ fit.L[b].T)[r, s] for b, r, s in pairs])
    F = np.zeros((J + 1, p, p))
    f = np.zeros((J + 1, p))
    m, tau = np.zeros(J + 1), np.zeros(J + 1)
    t = np.zeros((J + 1, J + 1))
    Q = np.zeros((J + 1, J + 1, p, p))
    g = np.zeros((J + 1, J + 1))
    for j, ej in enumerate(entries):
        full = np.sum([sums.F[a, :, b, :] for a, b in ej], axis=0)
        F[j], f[j], m[j] = full[:p, :p], full[:p] @ v, v @ full @ v
        tau[j] = sum(sums.tau[b, a] for a, b in ej)
        for k, ek in enumerate(entries):
            t[j, k] = sum(sums.t[d, a, b, c] for a, b in ej for c, d in ek)
            whole = np.sum([sums.Q[a, b, c, d] for a, b in ej for c, d in ek], axis=0)
            Q[j, k], g[j, k] = whole[:p, :p], v @ whole @ v
    # The last row, that of s2 = 1, follows from sum phi_j V_j = V.
    F[J] = np.linalg.inv(P0) - np.tensordot(G, F[:J], 1)
    f[J] = -(G @ f[:J])
    m[J] = fit.state.r2 / fit.sigma2 - G @ m[:J]
    tau[J] = n - G @ tau[:J]
    for j in range(J):
        t[j, J] = t[J, j] = tau[j] - G @ t[j, :J]
        Q[j, J] = F[j] - np.tensordot(G, Q[j, :J], 1)
        Q[J, j] = Q[j, J].T
        g[j, J] = g[J, j] = m[j] - G @ g[j, :J]
    t[J, J] = tau[J] - G @ t[J, :J]
    Q[J, J] = F[J] - np.tensordot(G, Q[J, :J], 1)
    g[J, J] = m[J] - G @ g[J, :J]
    derived = Derived(F, f, m, tau, t, Q, g)
    A = phi_covariance(fit, *slopes(fit.reml, P0, derived), pairs)
    return conclude(fit.reml, fit.sigma2, problem.Rx, P0, derived, A, tuple(pairs), problem.Rz)


@dataclass(frozen=True, slots=True)
class Derived:
    """What the derivatives V_j of V with respect to phi make of the data, E = V^-1 X, h = V^-1 (y - X b).

    Attributes
    ----------
    F, f, m : E'V_j E (J, p, p), E'V_j h (J, p), h'V_j h (J,).
    tau, t : tr(V^-1 V_j) (J,), tr(V^-1 V_j V^-1 V_k) (J, J).
    Q, g : E'V_j V^-1 V_k E (J, J, p, p), h'V_j V^-1 V_k h (J, J).
    R, tau2, m2 : E'V_jk E, tr(V^-1 V_jk), h'V_jk h of the second derivatives, None where V is linear in phi.
    """

    F: Floats
    f: Floats
    m: Floats
    tau: Floats
    t: Floats
    Q: Floats
    g: Floats
    R: Floats | None = None
    tau2: Floats | None = None
    m2: Floats | None = None


def _projected(P0: Floats, derived: Derived) -> Floats:
    """Return tr(P V_j P V_k), P = V^-1 - V^-1 X P0 X'V^-1."""
    P0F = np.einsum("pq,jqr->jpr", P0, derived.F)
    return np.asarray(derived.t - 2 * np.einsum("pq,jkqp->jk", P0, derived.Q) + np.einsum("jpq,kqp->jk", P0F, P0F))


def slopes(reml: bool, P0: Floats, derived: Derived) -> tuple[Floats, Floats]:
    """Return second and first derivatives of -2 l with respect to phi."""
    d = derived
    hessian = 2 * (d.g - d.f @ P0 @ d.f.T) - (_projected(P0, d) if reml else d.t)
    if d.R is not None and d.tau2 is not None and d.m2 is not None:
        hessian = hessian + d.tau2 - d.m2 - (np.einsum("pq,jkqp->jk", P0, d.R) if reml else 0.0)
    slope = (d.tau - np.einsum("pq,jqp->j", P0, d.F) if reml else d.tau) - d.m
    return hessian, slope


def conclude(
    reml: bool,
    sigma2: float,
    Rx: Floats,
    P0: Floats,
    derived: Derived,
    A: Floats,
    pairs: tuple[tuple[int, int, int], ...],
    Rz: tuple[Floats, ...],
) -> Inference:
    """Return what tests need, given the covariance A of phi; with Kenward and Roger's adjustment under REML."""
    PA = w = None
    if reml:
        w = inverse(_projected(P0, derived) / 2)
        F, Q = derived.F, derived.Q
        lost = np.einsum("jk,jkpq->pq", w, Q - np.einsum("jpq,qr,krs->jkps", F, P0, F))
        if derived.R is not None:
            lost = lost - np.einsum("jk,jkpq->pq", w, derived.R) / 4
        PA = P0 + 2 * P0 @ ((lost + lost.T) / 2) @ P0
    return Inference(reml, sigma2, Rx, P0, derived.F, A, PA, w, pairs, Rz)


def inverse(S: Floats) -> Floats:
    """Return the pseudo-inverse of a symmetric matrix whose rows may differ in scale by many orders."""
    size = np.sqrt(np.abs(np.diag(S)))
    size[size == 0] = 1.0
    return np.asarray(np.linalg.pinv(S / np.outer(size, size), rcond=1e-13, hermitian=True) / np.outer(size, size))


def phi_covariance(fit: Fit, hessian: Floats, slope: Floats, pairs: list[tuple[int, int, int]]) -> Floats:
    """Return 2 Hess^-1 of -2 l over the covariances of the fitted rank, phi = (vech G of each block, the residual's).

    At the boundary the criterion has a slope across the boundary, so the second derivative of G with respect to its
    root enters; directions without variance are left out, which is the reduced model's answer.
    """
    index = {pair: j for j, pair in enumerate(pairs)}
    count = len(hessian)
    jacobian, curvature = [], []
    for b, root in enumerate(fit.L):
        q, r = root.shape
        D = np.zeros((q, q))
        for i in range(q):
            for j in range(i + 1):
                D[i, j] = D[j, i] = slope[index[b, i, j]] / (1 if i == j else 2)
        units = [(i, c) for c in range(r) for i in range(q)]
        J = np.zeros((count, len(units)))
        for u, (i, c) in enumerate(units):
            E = np.zeros((q, r))
            E[i, c] = 1.0
            change = E @ root.T + root @ E.T
            for a in range(q):
                for d in range(a + 1):
                    J[index[b, a, d], u] = change[a, d]
        bend = np.array([[2 * D[i, j] if c == d else 0.0 for j, d in units] for i, c in units]).reshape(
            len(units), len(units)
        )
        # Rotations of the root leave G as it is: r (r - 1) / 2 directions are no parameters.
        free = q * r - r * (r - 1) // 2
        _, _, Vt = np.linalg.svd(J, full_matrices=True)
        basis = Vt[:free].T if len(units) else np.zeros((0, 0))
        jacobian.append(J @ basis)
        curvature.append(basis.T @ bend @ basis)
    residual = np.eye(count)[:, len(pairs) :]
    J_all = np.column_stack([*jacobian, residual])
    bend_all = scipy.linalg.block_diag(*curvature, np.zeros((residual.shape[1],) * 2))
    reduced = J_all.T @ hessian @ J_all + bend_all
    return np.asarray(2 * J_all @ inverse(reduced) @ J_all.T)
