"""Visits that were not seen, drawn from what a marginal model says of them given those that were; and Rubin's rules.

Proper imputation (Rubin 1987, DOI 10.1002/9780470316696): every draw has variances and fixed effects of its own, drawn
from their large-sample distribution. Degrees of freedom: Barnard & Rubin 1999, DOI 10.1093/biomet/86.4.948.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from implstats._core.many import batches, refit
from implstats._core.marginal import ByVisit, MarginalFit, Patterns, criterion, evaluate, prepare

__all__ = ["Pooled", "completed", "pool", "refit_completed"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

# Directions of the parameters so much flatter than the steepest one are not drawn along.
FLAT = 1e-8


def completed(
    patterns: Patterns,
    covariance: ByVisit,
    fit: MarginalFit,
    curvature: Floats,
    y: Floats,
    X: Floats,
    group: Ints,
    draws: int,
    rng: np.random.Generator,
) -> Floats:
    """Return outcomes (draws, N, m) with every visit that was not seen drawn given those that were.

    Parameters
    ----------
    patterns, covariance, fit : the fitted model, covariance by pattern of its patients.
    curvature : (r, r) second derivatives of the criterion at fit.u.
    y : (N, m) with nan where nothing was seen.
    X : (N, m, p) on the user's scale.
    group : (N,) whose covariance each patient has.
    """
    nu = patterns.n - patterns.p if fit.reml else patterns.n
    w, vectors = np.linalg.eigh(curvature)
    root = vectors * np.where(w > FLAT * w[-1], np.sqrt(2 / np.where(w > 0, w, 1.0)), 0.0)
    u = fit.u + rng.standard_normal((draws, len(fit.u))) @ root.T
    phi = covariance.natural(u)
    found = evaluate(patterns.C, patterns.counts, nu, covariance.matrices(phi), reml=fit.reml)
    spread = np.einsum("bij,bj->bi", np.linalg.cholesky(found.Sxx_inverse), rng.standard_normal(found.b.shape))
    inverse = scipy.linalg.solve_triangular(patterns.Rx, np.eye(patterns.p))
    beta = patterns.beta0 + patterns.scale * (found.b + spread) @ inverse.T
    mean = np.einsum("nmp,bp->bnm", X, beta, optimize=True)
    sigma = np.asarray(covariance.sigmas(phi)) * patterns.scale**2
    out = np.where(np.isnan(y), 0.0, y) + np.zeros((draws, 1, 1))
    seen = ~np.isnan(y)
    key = seen @ (1 << np.arange(y.shape[1])) + (group << y.shape[1])
    for kind in np.unique(key):
        who = np.flatnonzero(key == kind)
        known, lost = np.flatnonzero(seen[who[0]]), np.flatnonzero(~seen[who[0]])
        if not len(lost):
            continue
        V = sigma[:, group[who[0]]]
        # What a lost visit has in common with the known ones, and what is left of its own.
        load = np.linalg.solve(V[:, known[:, None], known], V[:, known[:, None], lost])
        left = V[:, lost[:, None], lost] - np.swapaxes(V[:, known[:, None], lost], 1, 2) @ load
        white = rng.standard_normal((draws, len(who), len(lost)))
        error = white @ np.swapaxes(np.linalg.cholesky(left), 1, 2)
        rest = out[:, who[:, None], known] - mean[:, who[:, None], known]
        out[:, who[:, None], lost] = mean[:, who[:, None], lost] + rest @ load + error
    return out


def refit_completed(
    y: Floats, X: Floats, structure: ByVisit, group: Ints, u: Floats, curvature: Floats, rows: Floats, *, reml: bool
) -> tuple[Floats, Floats, Bools]:
    """Return estimates (B, k) and covariances (B, k, k) of contrasts, rows (k, p), in complete outcomes (B, N, m).

    `structure` is a covariance of all visits, one pattern a group; u and curvature are where its fits begin.
    """
    B, N, m = y.shape
    p = X.shape[2]
    place = np.tile(np.arange(m), N)
    patient = np.repeat(np.arange(N), m)
    data = prepare(y[0].ravel(), X.reshape(-1, p), patient, place, m, group)
    K = len(data.counts)
    C = np.broadcast_to(data.C, (B, *data.C.shape)).copy()
    outcomes = (y - (X @ data.beta0)) / data.scale
    for k in range(K):
        mine = np.flatnonzero(group == k)
        cross = np.einsum("bna,cpn->bacp", outcomes[:, mine], data.M[:, :p, mine], optimize=True)
        C[:, k, :, :, p, :p] = cross
        C[:, k, :, :, :p, p] = np.swapaxes(cross, 1, 2)
        C[:, k, :, :, p, p] = np.swapaxes(outcomes[:, mine], 1, 2) @ outcomes[:, mine]
    nu = np.full(B, float(data.n - p if reml else data.n))
    inverse = scipy.linalg.solve_triangular(data.Rx, np.eye(p))
    scaled = rows @ inverse
    estimate, variance, good = np.empty((B, len(rows))), np.empty((B, len(rows), len(rows))), np.empty(B, dtype=bool)
    for part in batches(B, int(np.prod(data.C.shape))):
        found = refit(C[part], data.counts, nu[part], structure, u, curvature, reml=reml)
        end = criterion(C[part], data.counts, nu[part], structure, reml=reml)(found.u)[2]
        estimate[part] = rows @ data.beta0 + data.scale * found.b @ scaled.T
        variance[part] = data.scale**2 * np.einsum("kp,bpq,lq->bkl", scaled, end.Sxx_inverse, scaled, optimize=True)
        good[part] = found.good
    return estimate, variance, good


@dataclass(frozen=True, slots=True)
class Pooled:
    """Several completed data sets as one answer.

    Attributes
    ----------
    estimate, covariance : (k,), (k, k) mean over imputations, and total covariance.
    within, between : (k, k) its two parts.
    draws : number of imputations.
    complete_df : degrees of freedom that complete data would have.
    """

    estimate: Floats
    covariance: Floats
    within: Floats
    between: Floats
    draws: int
    complete_df: float

    def df(self, weights: Floats) -> float:
        """Return Barnard and Rubin's degrees of freedom of one combination."""
        total = float(weights @ self.covariance @ weights)
        extra = (1 + 1 / self.draws) * float(weights @ self.between @ weights)
        if total <= 0 or extra <= 0:
            return self.complete_df
        share = extra / total
        old = (self.draws - 1) / share**2
        observed = (self.complete_df + 1) / (self.complete_df + 3) * self.complete_df * (1 - share)
        return old * observed / (old + observed)


def pool(estimate: Floats, variance: Floats, complete_df: float) -> Pooled:
    """Return Rubin's rules: estimate (D, k) and variance (D, k, k) of D completed data sets."""
    D = len(estimate)
    mean = estimate.mean(axis=0)
    apart = estimate - mean
    between = apart.T @ apart / (D - 1)
    within = variance.mean(axis=0)
    return Pooled(mean, within + (1 + 1 / D) * between, within, between, D, complete_df)
