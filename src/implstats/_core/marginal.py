"""The (restricted) likelihood of patients whose visits have a covariance V, by pattern, for many data sets at once.

A pattern is what patients share who have the same V: the visits that were seen, and the cohort if covariances differ.
Patients enter only through C_k = sum of M (x) M over the patients of pattern k, M = [X y] (m, p + 1). With W = V^-1,
S = sum_k <W_k, C_k> = [[Sxx, s], [s', Syy]], b = Sxx^-1 s and v = [-b; 1]:
d = sum counts log|V| + v'S v + (REML) log|Sxx| + nu log(2 pi), dd/dV_k = counts W - W <C_k, v v' + (REML) Sxx^-1> W.
Sources: Harville 1977 (DOI 10.1080/01621459.1977.10480998); Mallinckrodt et al. 2008 (DOI 10.1177/009286150804200402).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from implstats._core.convergence import Convergence
from implstats._core.covariance import Structure
from implstats._core.optimum import GOOD_DECREMENT, Climb
from implstats._core.structure import LeastSquares, compress, least_squares
from implstats.errors import ConvergenceError

__all__ = ["ByVisit", "Covariance", "Evaluated", "MarginalFit", "Patterns", "complex_step", "criterion"]
__all__ += ["SINGULAR", "evaluate", "fit", "prepare", "products", "smallest"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Numbers = NDArray[Any]

STEP = 1e-30
SINGULAR = 1e-5


class Covariance(Protocol):
    """How free parameters u make natural ones phi, and these the V of every pattern; over any leading axes."""

    @property
    def linear(self) -> bool:
        """Whether V is linear in phi."""

    def natural(self, u: Numbers) -> Numbers:
        """Return phi (..., J)."""

    def lifted(self, u: Floats) -> Floats:
        """Return u (..., r) off every boundary, as a root that is zero would stay so whatever the slope in V."""

    def matrices(self, phi: Numbers) -> Numbers:
        """Return V (..., K, m, m); places that a pattern has not are those of an identity."""


class ByVisit:
    """A structure of the visits, common or one per group; a pattern has the visits that it has seen."""

    def __init__(self, structure: Structure, groups: int, seen: NDArray[np.bool_], group: Ints) -> None:
        self.structure, self.groups, self.group = structure, groups, group
        self.both = seen[:, :, None] & seen[:, None, :]
        self.absent = np.eye(seen.shape[1]) * ~seen[:, None, :]

    @property
    def linear(self) -> bool:
        """Whether V is linear in phi."""
        return self.structure.linear

    def _each(self, values: Numbers) -> Numbers:
        return values.reshape(*values.shape[:-1], self.groups, -1)

    def natural(self, u: Numbers) -> Numbers:
        phi = self.structure.natural(self._each(u))
        return phi.reshape(*u.shape[:-1], -1)

    def lifted(self, u: Floats) -> Floats:
        return u

    def sigmas(self, phi: Numbers) -> Numbers:
        """Return the covariance of all visits of every group (..., G, m, m)."""
        return self.structure.matrix(self._each(phi))

    def matrices(self, phi: Numbers) -> Numbers:
        return np.where(self.both, self.sigmas(phi)[..., self.group, :, :], self.absent)


@dataclass(frozen=True, slots=True)
class Patterns:
    """The sufficient statistics of patients whose covariance is known by their pattern.

    Attributes
    ----------
    n, p : rows, fixed effects.
    Rx, beta0 : as in `structure.Problem`.
    scale : the unit of y: its residual's standard deviation under least squares.
    M : (m, p + 1, N) [X y] of every patient, zero where nothing was seen.
    pattern : (N,) pattern of every patient.
    counts : (K,) patients of every pattern, or their weight.
    Mc, pattern_c : the same, patients of a pattern compressed by QR.
    C : (K, m, m, p + 1, p + 1).
    """

    n: int
    p: int
    Rx: Floats
    beta0: Floats
    scale: float
    M: Floats
    pattern: Ints
    counts: Floats
    Mc: Floats
    pattern_c: Ints
    C: Floats


def products(M: Floats, pattern: Ints, K: int) -> Floats:
    """Return C_k, the sum of M (x) M over the patients of each pattern, (K, m, m, p + 1, p + 1)."""
    m, p1, _ = M.shape
    C = np.empty((K, m, m, p1, p1))
    order = np.argsort(pattern, kind="stable")
    ends = np.cumsum(np.bincount(pattern, minlength=K))
    for k in range(K):
        mine = order[ends[k - 1] if k else 0 : ends[k]]
        flat = M[:, :, mine].reshape(m * p1, -1)
        C[k] = (flat @ flat.T).reshape(m, p1, m, p1).transpose(0, 2, 1, 3)
    return C


def prepare(
    y: Floats,
    X: Floats,
    patient: Ints,
    place: Ints,
    places: int,
    pattern: Ints,
    scale: float | None = None,
    known: LeastSquares | None = None,
    weight: Floats | None = None,
) -> Patterns:
    """Return the sufficient statistics.

    Parameters
    ----------
    y, X : (n,), (n, p) of full column rank.
    patient : (n,) every row's patient, all present.
    place : (n,) which of the `places` visits a row is.
    pattern : (N,) every patient's pattern, all present.
    scale : the unit of y; by default its residual's standard deviation.
    known : `least_squares(y, X)`, from a caller who has it.
    weight : (N,) how often each patient counts; `known` is then that of rows times their patient's root weight.
    """
    XY, Rx, beta0 = least_squares(y, X) if known is None else known
    n, p = X.shape
    scale = float(np.sqrt(np.mean(XY[:, p] ** 2))) if scale is None else scale
    M = np.zeros((places, p + 1, len(pattern)))
    M[place, :, patient] = XY
    M[:, p] /= scale
    K = int(pattern.max()) + 1
    Mc, pattern_c = compress(M, pattern, K)
    counts = np.bincount(pattern, weight, K).astype(float)
    return Patterns(n, p, Rx, beta0, scale, M, pattern, counts, Mc, pattern_c, products(Mc, pattern_c, K))


@dataclass(frozen=True, slots=True)
class Evaluated:
    """B data sets or parameters at once: criterion, its derivative to every V, and the fixed effects."""

    value: Floats
    D: Floats
    b: Floats
    Sxx_inverse: Floats


def evaluate(C: Floats, counts: Floats, nu: Floats | int, V: Floats, *, reml: bool) -> Evaluated:
    """Return the criterion at V (B, K, m, m); C, counts and nu are common, or have a leading axis B too."""
    B, K, m, _ = V.shape
    p1 = C.shape[-1]
    p = p1 - 1
    sign, logdet = np.linalg.slogdet(V)
    # One singular version would stop the inversion of all.
    regular = (sign > 0).all(axis=1)
    W = np.linalg.inv(np.where(regular[:, None, None, None], V, np.eye(m)))
    flat = C.reshape(*C.shape[:-5], K * m * m, p1 * p1)
    S = (W.reshape(B, 1, -1) @ flat if C.ndim == 6 else W.reshape(B, -1) @ flat).reshape(B, p1, p1)
    sign, logdet_x = np.linalg.slogdet(S[:, :p, :p])
    regular &= sign > 0
    Sxx_inverse = np.linalg.inv(np.where(regular[:, None, None], S[:, :p, :p], np.eye(p)))
    b = (Sxx_inverse @ S[:, :p, p:])[:, :, 0]
    v = np.concatenate([-b, np.ones((B, 1))], axis=1)
    value = (counts * logdet).sum(axis=1) + np.einsum("bi,bij,bj->b", v, S, v) + nu * math.log(2 * math.pi)
    Q = v[:, :, None] * v[:, None, :]
    if reml:
        value = value + logdet_x
        Q[:, :p, :p] += Sxx_inverse
    weights = Q.reshape(B, -1)
    inner = (flat @ weights[:, :, None])[..., 0] if C.ndim == 6 else weights @ flat.T
    D = counts[..., None, None] * W - W @ inner.reshape(B, K, m, m) @ W
    return Evaluated(np.where(regular, value, np.inf), D, b, np.asarray(Sxx_inverse))


def complex_step(function: Callable[[Numbers], Numbers], at: Floats) -> Floats:
    """Return the derivatives (r, ...) of a function of (..., r) by complex steps, exact to rounding."""
    steps = []
    for j in range(at.shape[-1]):
        moved = at.astype(complex)
        moved[..., j] += STEP * 1j
        steps.append(function(moved).imag / STEP)
    return np.stack(steps)


def criterion(
    C: Floats, counts: Floats, nu: Floats | int, covariance: Covariance, *, reml: bool
) -> Callable[[Floats], tuple[Floats, Floats, Evaluated]]:
    """Return the function from u (B, r) to the criterion, its gradient (B, r), and the rest."""

    def matrices(u: Numbers) -> Numbers:
        return covariance.matrices(covariance.natural(u))

    def at(u: Floats) -> tuple[Floats, Floats, Evaluated]:
        with np.errstate(all="ignore"):
            found = evaluate(C, counts, nu, matrices(u), reml=reml)
            slope = np.einsum("bkij,rbkij->br", found.D, complex_step(matrices, u))
        lost = ~(np.isfinite(found.value) & np.isfinite(slope).all(axis=1))
        return np.where(lost, np.inf, found.value), np.where(lost[:, None], 0.0, slope), found

    return at


@dataclass(frozen=True, slots=True)
class MarginalFit:
    """A fitted marginal model.

    Attributes
    ----------
    reml : whether the criterion is the restricted one.
    u, phi : free and natural parameters, V in units of scale^2.
    V : (K, m, m) covariance of every pattern, in units of scale^2.
    beta, vcov : on the user's scale.
    deviance : -2 log-likelihood (restricted under REML) on the user's scale.
    nu : n under ML, n - p under REML.
    b, P0 : change from least squares, and (X'V^-1 X)^-1, in orthonormal columns and units of scale.
    convergence : how the fit ended.
    """

    reml: bool
    u: Floats
    phi: Floats
    V: Floats
    beta: Floats
    vcov: Floats
    deviance: float
    nu: int
    b: Floats
    P0: Floats
    convergence: Convergence


def fit(patterns: Patterns, covariance: ByVisit, start: Floats, *, reml: bool = True) -> MarginalFit:
    """Return the fitted model; `start` is u.

    Raises
    ------
    ConvergenceError
        When no optimum inside the parameters' range is reached; it carries the record.
    """
    nu = patterns.n - patterns.p if reml else patterns.n
    many = criterion(patterns.C, patterns.counts, nu, covariance, reml=reml)

    def one(u: Floats) -> tuple[float, Floats]:
        value, slope, _ = many(u[None])
        return float(value[0]), slope[0]

    climb = Climb(one, start, patterns.n)
    try:
        climb.run()
    except np.linalg.LinAlgError:
        climb.decrement = math.inf
    u = climb.theta
    phi = covariance.natural(u)
    V = covariance.matrices(phi)
    finite = bool(np.isfinite(V).all())
    ends = finite and climb.decrement < GOOD_DECREMENT
    flat = finite and bool(smallest(covariance.sigmas(phi)) < SINGULAR)
    message = "converged" if ends and not flat else "no optimum was reached"
    message = "the covariance of the visits is singular" if flat else message
    record = Convergence(
        ends and not flat, flat, message, climb.iterations, climb.evaluations, 0, climb.gradient, climb.decrement
    )
    if not record.converged:
        raise ConvergenceError(f"{message} after {climb.iterations} steps", record.to_dict())
    found = evaluate(patterns.C, patterns.counts, nu, V[None], reml=reml)
    inverse = scipy.linalg.solve_triangular(patterns.Rx, np.eye(patterns.p))
    P0 = found.Sxx_inverse[0]
    constant = 2 * nu * math.log(patterns.scale) + (2 * float(np.log(np.diag(patterns.Rx)).sum()) if reml else 0.0)
    return MarginalFit(
        reml,
        u,
        phi,
        V,
        patterns.beta0 + patterns.scale * inverse @ found.b[0],
        patterns.scale**2 * inverse @ P0 @ inverse.T,
        float(found.value[0]) + constant,
        nu,
        found.b[0],
        P0,
        record,
    )


def smallest(sigmas: Floats) -> Floats:
    """Return the smallest eigenvalue of any group's correlation matrix, (..., G, m, m) to (...)."""
    with np.errstate(all="ignore"):
        sd = np.sqrt(np.einsum("...ii->...i", sigmas))
        correlation = sigmas / (sd[..., :, None] * sd[..., None, :])
    known = np.isfinite(correlation).all(axis=(-2, -1), keepdims=True)
    return np.asarray(np.linalg.eigvalsh(np.where(known, correlation, 0.0)).min(axis=(-2, -1)))
