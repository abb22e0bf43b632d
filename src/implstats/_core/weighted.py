"""Patients who count more or less than once: each one's log-likelihood times its weight, and errors from their spread.

With weights w the fixed effects have the covariance H^-1 (sum w^2 s s') H^-1, s = X'V^-1 (y - X b) of a patient and
H = sum w X'V^-1 X (White 1982, DOI 10.2307/1912526; Liang & Zeger 1986, DOI 10.1093/biomet/73.1.13).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from implstats._core import mixed
from implstats._core.criterion import evaluate, multiply
from implstats._core.marginal import MarginalFit, Patterns
from implstats._core.structure import Block, LeastSquares, Problem, least_squares, level_sums, prepare

__all__ = ["fit_mixed", "of_rows", "robust_marginal"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


def of_rows(y: Floats, X: Floats, patient: Ints, weight: Floats) -> LeastSquares:
    """Return least squares of rows times the root weight (N,) of their patient."""
    root = np.sqrt(weight)[patient]
    return least_squares(y * root, X * root[:, None])


def fit_mixed(y: Floats, X: Floats, blocks: Sequence[Block], weight: Floats) -> tuple[Problem, mixed.Fit]:
    """Return the problem without weights, and the weighted maximum-likelihood fit with its robust covariance.

    All blocks are of one grouping factor, whose levels have the weights (N,).

    Raises
    ------
    ConvergenceError
        When no certified optimum is reached; it carries the record.
    """
    codes, N = blocks[0].codes, blocks[0].levels
    known = of_rows(y, X, codes, weight)
    weighted = prepare(y, X, blocks, known, weight)
    found = mixed.fit(weighted, reml=False)
    # Rows already carry the root of their weight, so what is summed here is w s.
    v = np.append(-found.state.b, 1.0)
    total = level_sums(codes, N)
    scores = np.stack([total(column * (known[0] @ v)) for column in known[0].T[:-1]], axis=1)
    through = multiply(found.state.U[:, :, weighted.schedule], np.tensordot(weighted.M, v, (1, 0))[:, None])[:, 0]
    scores -= np.einsum("rcn,rn->nc", weighted.M[:, :-1], through)
    vcov = _sandwich(scores, found.state.Sxx_inverse, weighted.Rx)
    plain = prepare(y, X, blocks)
    # Predictions of patients read their rows, without weights, at the weighted estimates.
    state = replace(
        evaluate(plain, found.L, reml=False),
        b=plain.Rx @ (found.beta - plain.beta0),
        Sxx_inverse=plain.Rx @ vcov @ plain.Rx.T / found.sigma2,
    )
    return plain, replace(found, vcov=vcov, state=state)


def robust_marginal(patterns: Patterns, fit: MarginalFit) -> Floats:
    """Return the robust covariance of a weighted marginal fit's fixed effects, on the user's scale."""
    v = np.append(-fit.b, 1.0)
    W = np.linalg.inv(fit.V)[patterns.pattern]
    M = patterns.M
    scores = np.einsum("acn,nab,bdn,d->nc", M[:, :-1], W, M, v, optimize=True)
    return patterns.scale**2 * _sandwich(scores, fit.P0, patterns.Rx)


def _sandwich(scores: Floats, bread: Floats, Rx: Floats) -> Floats:
    """Return the covariance on the user's scale of weighted scores (N, p) in orthonormal columns."""
    back = scipy.linalg.solve_triangular(Rx, np.eye(len(Rx)))
    root = scores @ bread @ back.T
    return np.asarray(root.T @ root)
