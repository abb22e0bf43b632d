"""What the property tests share: small problems of every structure, and the same model with n x n matrices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
from numpy.typing import NDArray

from implstats._core.structure import Block

Floats = NDArray[np.float64]
TINY = 1e-30


class Dense:
    """The Gaussian mixed model written with n x n matrices, as in the papers; phi = (vech G of each block, s2).

    Everything is a plain function of phi that also takes complex numbers, so that one derivative is exact (complex
    step) and a second is a central difference of it.
    """

    def __init__(self, y: Floats, X: Floats, blocks: Sequence[Block], reml: bool) -> None:
        self.y, self.X, self.reml = y, X, reml
        self.n, self.p = X.shape
        self.Z = []
        for b in blocks:
            Z = np.zeros((self.n, b.levels, b.Z.shape[1]))
            Z[np.arange(self.n), b.codes] = b.Z
            self.Z.append(Z)
        self.sizes = [b.Z.shape[1] for b in blocks]
        self.pairs = [(b, r, s) for b, q in enumerate(self.sizes) for r in range(q) for s in range(r + 1)]
        self.Vj = []
        for b, r, s in self.pairs:
            one = self.Z[b][:, :, r] @ self.Z[b][:, :, s].T
            self.Vj.append(one if r == s else one + one.T)
        self.Vj.append(np.eye(self.n))

    def phi(self, G: Sequence[Floats], s2: float) -> Floats:
        return np.array([G[b][r, s] for b, r, s in self.pairs] + [s2])

    def V(self, phi: NDArray[Any]) -> NDArray[Any]:
        return sum(x * V for x, V in zip(phi, self.Vj, strict=True))

    def criterion(self, phi: NDArray[Any]) -> Any:
        """Return -2 l (restricted under REML), the fixed effects profiled out."""
        V = self.V(phi)
        inverse = np.linalg.inv(V)
        XVX = self.X.T @ inverse @ self.X
        P = inverse - inverse @ self.X @ np.linalg.solve(XVX, self.X.T @ inverse)
        value = self._logdet(V) + self.y @ P @ self.y
        if self.reml:
            value = value + self._logdet(XVX)
        return value + (self.n - self.p * self.reml) * np.log(2 * np.pi)

    @staticmethod
    def _logdet(V: NDArray[Any]) -> Any:
        sign, value = np.linalg.slogdet(V)
        return value + 1j * np.angle(sign) if np.iscomplexobj(V) else value

    def phi_of_scale(self, phi: Floats) -> Floats:
        """Return a step for each phi."""
        place = {pair: j for j, pair in enumerate(self.pairs)}
        squares = [phi[place[b, r, r]] * phi[place[b, s, s]] for b, r, s in self.pairs]
        return np.append(np.sqrt(squares), phi[-1])

    def gradient(self, phi: Floats) -> Floats:
        out = np.empty(len(phi))
        for j in range(len(phi)):
            step = np.zeros(len(phi), dtype=complex)
            step[j] = 1j * TINY
            out[j] = self.criterion(phi + step).imag / TINY
        return out

    def hessian(self, phi: Floats) -> Floats:
        """Return the observed second derivatives of -2 l in phi, by differences of the first."""
        size = 1e-5 * self.phi_of_scale(phi)
        H = np.empty((len(phi), len(phi)))
        for j, h in enumerate(size):
            step = np.zeros(len(phi))
            step[j] = h
            H[j] = (self.gradient(phi + step) - self.gradient(phi - step)) / (2 * h)
        return (H + H.T) / 2

    def vcov(self, phi: NDArray[Any]) -> NDArray[Any]:
        return np.linalg.inv(self.X.T @ np.linalg.solve(self.V(phi), self.X))

    def beta(self, phi: Floats) -> Floats:
        return self.vcov(phi) @ self.X.T @ np.linalg.solve(self.V(phi), self.y)

    def satterthwaite(self, phi: Floats, row: Floats) -> float:
        A = 2 * np.linalg.inv(self.hessian(phi))
        slope = np.empty(len(phi))
        for j in range(len(phi)):
            step = np.zeros(len(phi), dtype=complex)
            step[j] = 1j * TINY
            slope[j] = (row @ self.vcov(phi + step) @ row).imag / TINY
        return float(2 * (row @ self.vcov(phi) @ row) ** 2 / (slope @ A @ slope))

    def fai_cornelius(self, phi: Floats, rows: Floats) -> tuple[float, float]:
        """Return F and its denominator df."""
        w, Q = np.linalg.eigh(rows @ self.vcov(phi) @ rows.T)
        directions = Q.T @ rows
        t2 = (directions @ self.beta(phi)) ** 2 / w
        each = np.array([self.satterthwaite(phi, d) for d in directions])
        E = (each[each > 2] / (each[each > 2] - 2)).sum()
        return float(t2.mean()), float(2 * E / (E - len(rows)))

    def kenward_roger(self, phi: Floats) -> tuple[Floats, Floats, list[Floats]]:
        """Return Phi_A, W and the P_i, as Kenward and Roger 1997 write them (section 2; R_ij = 0)."""
        inverse = np.linalg.inv(self.V(phi))
        Phi = self.vcov(phi)
        J = len(phi)
        dS = [-inverse @ V @ inverse for V in self.Vj]
        P = [self.X.T @ d @ self.X for d in dS]
        Sigma = self.V(phi)
        Q = [[self.X.T @ dS[i] @ Sigma @ dS[j] @ self.X for j in range(J)] for i in range(J)]
        information = np.empty((J, J))
        for i in range(J):
            for j in range(J):
                information[i, j] = 0.5 * (
                    np.trace(dS[i] @ Sigma @ dS[j] @ Sigma) - np.trace(2 * Phi @ Q[i][j] - Phi @ P[i] @ Phi @ P[j])
                )
        # Units are taken out before the inverse.
        d = 1 / np.sqrt(np.diag(information))
        W = d[:, None] * np.linalg.inv(d[:, None] * information * d) * d
        Lambda = sum(W[i, j] * (Q[i][j] - P[i] @ Phi @ P[j]) for i in range(J) for j in range(J))
        return Phi + 2 * Phi @ Lambda @ Phi, W, P

    def kenward_roger_test(self, phi: Floats, rows: Floats) -> tuple[float, float, float]:
        """Return lambda F, m and lambda of Kenward and Roger 1997, section 3, rows = L'."""
        PhiA, W, P = self.kenward_roger(phi)
        Phi, ell, J = self.vcov(phi), len(rows), len(phi)
        Theta = rows.T @ np.linalg.inv(rows @ Phi @ rows.T) @ rows
        A1 = A2 = 0.0
        for i in range(J):
            for j in range(J):
                a, b = Theta @ Phi @ P[i] @ Phi, Theta @ Phi @ P[j] @ Phi
                A1 += W[i, j] * np.trace(a) * np.trace(b)
                A2 += W[i, j] * np.trace(a @ b)
        B = (A1 + 6 * A2) / (2 * ell)
        g = ((ell + 1) * A1 - (ell + 4) * A2) / ((ell + 2) * A2)
        c1, c2, c3 = (x / (3 * ell + 2 * (1 - g)) for x in (g, ell - g, ell + 2 - g))
        E = 1 / (1 - A2 / ell)
        V = (2 / ell) * (1 + c1 * B) / ((1 - c2 * B) ** 2 * (1 - c3 * B))
        rho = V / (2 * E**2)
        m = 4 + (ell + 2) / (ell * rho - 1)
        scale = m / (E * (m - 2))
        estimate = rows @ self.beta(phi)
        F = estimate @ np.linalg.inv(rows @ PhiA @ rows.T) @ estimate / ell
        return float(scale * F), float(m), float(scale)

    def random_effects(self, G: Sequence[Floats], s2: float) -> list[tuple[Floats, Floats]]:
        phi = self.phi(G, s2)
        inverse = np.linalg.inv(self.V(phi))
        h = inverse @ (self.y - self.X @ self.beta(phi))
        out = []
        for Z, g in zip(self.Z, G, strict=True):
            u = np.einsum("nlq,n->lq", Z, h) @ g
            H = np.einsum("nlq,nm,mlr->lqr", Z, inverse, Z)
            conditional = g - np.einsum("ab,lbc,cd->lad", g, H, g)
            out.append((u, np.sqrt(np.maximum(np.einsum("lqq->lq", conditional), 0))))
        return out

    def henderson(self, G: Sequence[Floats], s2: float) -> Floats:
        """Return the covariance of (b, u - u_hat) from the inverse of Henderson's mixed model equations."""
        Z = np.column_stack([z.reshape(self.n, -1) for z in self.Z])
        prior = scipy.linalg.block_diag(
            *[np.kron(np.eye(z.shape[1]), np.linalg.inv(g)) for z, g in zip(self.Z, G, strict=True)]
        )
        XZ = np.column_stack([self.X, Z])
        left = XZ.T @ XZ / s2
        left[self.p :, self.p :] += prior
        return np.linalg.inv(left)


def _small(structure: str, seed: int) -> tuple[Floats, Floats, list[Block]]:
    """Return y, X and the blocks of a small unbalanced data set whose variances are not near zero."""
    rng = np.random.default_rng(seed)
    patients = 14
    schedules = [np.array([0.0, 1, 2, 4]), np.array([0.0, 1, 2]), np.array([0.0, 2, 4]), np.array([0.0, 1, 2, 3, 4])]
    visits = [schedules[k] for k in rng.integers(0, 4, patients)]
    if structure == "one visit":
        visits = [v[:1] if i % 3 == 0 else v for i, v in enumerate(visits)]
    if structure == "irregular":
        visits = [np.sort(rng.uniform(0, 4, len(v))) for v in visits]
    codes = np.repeat(np.arange(patients), [len(v) for v in visits])
    t = np.concatenate(visits)
    n = len(t)
    cohort = (codes % 2).astype(float)
    X = np.column_stack([np.ones(n), t, cohort, t * cohort])
    site, rater = codes // 4, rng.permutation(np.arange(n) % 4)
    one = np.ones((n, 1))
    slope, parabola = np.column_stack([one, t]), np.column_stack([one, t, t**2])
    patient = {
        "quadratic": [Block(codes, patients, parabola)],
        "uncorrelated": [Block(codes, patients, one), Block(codes, patients, t[:, None])],
        "nested": [Block(codes, patients, one), Block(site, 4, one)],
        "crossed": [Block(codes, patients, one), Block(rater, 4, one)],
        "site slopes": [Block(site, 4, slope), Block(codes, patients, one)],
        "sites beside a slope": [Block(codes, patients, slope), Block(site, 4, one)],
        "three factors": [Block(codes, patients, slope), Block(site, 4, one), Block(rater, 4, one)],
        "uncorrelated and sites": [
            Block(codes, patients, one),
            Block(codes, patients, t[:, None]),
            Block(site, 4, one),
            Block(site, 4, t[:, None]),
        ],
        "intercept": [Block(codes, patients, one)],
    }
    blocks = patient.get(structure, [Block(codes, patients, slope)])
    y = X @ np.array([3.0, -0.5, 0.4, 0.3]) + rng.normal(size=n)
    for b in blocks:
        q = b.Z.shape[1]
        root = np.diag([1.5, 0.9, 0.5][:q]) if q > 1 or b.Z.std() == 0 else np.array([[0.9]])
        y += np.einsum("nq,nq->n", b.Z, (rng.normal(size=(b.levels, q)) @ root)[b.codes])
    return y, X, blocks


STRUCTURES = (
    "intercept",
    "slope",
    "quadratic",
    "irregular",
    "one visit",
    "uncorrelated",
    "nested",
    "crossed",
    "site slopes",
    "sites beside a slope",
    "three factors",
    "uncorrelated and sites",
)


@pytest.fixture(scope="session")
def dense() -> type[Dense]:
    """Return the n x n model."""
    return Dense


@pytest.fixture(scope="session")
def small() -> Callable[[str, int], tuple[Floats, Floats, list[Block]]]:
    """Return a maker of small data sets."""
    return _small


@pytest.fixture(params=STRUCTURES, scope="session")
def structure(request: pytest.FixtureRequest) -> str:
    """Return every structure of random effects in turn."""
    return str(request.param)


def _cohorts(seed: int, *, patients: int = 24, times: Sequence[float] = (0, 6, 12, 18, 24)) -> pd.DataFrame:
    """Return a small study with drop-out, a covariate and a site; lower is better."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(patients):
        cohort = "during" if i % 2 else "before"
        u = rng.multivariate_normal([0, 0], [[1.0, 0.01], [0.01, 0.004]])
        age, sex = float(rng.integers(20, 60)), "f" if rng.random() < 0.5 else "m"
        last = len(times) - (int(rng.integers(1, 3)) if rng.random() < 0.2 else 0)
        for t in times[:last]:
            slope = -0.12 if cohort == "before" else -0.06
            y = 8 + slope * t + 0.01 * age + u[0] + u[1] * t + rng.normal(scale=0.7)
            rows.append((f"p{i:02d}", cohort, float(t), y, age, sex, f"s{i % 5}"))
    return pd.DataFrame(rows, columns=["patient", "cohort", "month", "bsi", "age", "sex", "site"])


@pytest.fixture(scope="session")
def cohorts() -> Callable[..., pd.DataFrame]:
    """Return a maker of small studies."""
    return _cohorts
