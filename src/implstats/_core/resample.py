"""The same levels of the first factor with other weights: what a bootstrap of patients refits, without the rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from implstats._core.structure import Problem, compress, level_sums

__all__ = ["Reweighting", "reweighting"]

Floats = NDArray[np.float64]

LOST = 1e-9


@dataclass(frozen=True, slots=True)
class Reweighting:
    """A problem with one grouping factor, and each level's share of what the weights multiply.

    Attributes
    ----------
    problem : the problem with every weight 1.
    T : (N, p + 1, p + 1) [X y]'[X y] of each level.
    rows : (N,) rows of each level.
    """

    problem: Problem
    T: Floats
    rows: Floats

    def __call__(self, weights: Floats) -> Problem:
        """Return the problem in which level i counts weights[i] times."""
        problem = self.problem
        T = np.tensordot(weights, self.T, 1)
        # X is orthonormal under weights of 1, so a small eigenvalue is a column that these weights have lost.
        if problem.p and np.linalg.eigvalsh(T[:-1, :-1])[0] < LOST:
            raise np.linalg.LinAlgError("a column of X is empty, or a combination of others, under these weights")
        kept = np.flatnonzero(weights > 0)
        schedule = problem.schedule[kept]
        M = problem.M[:, :, kept] * np.sqrt(weights[kept])
        Mc, schedule_c = compress(M, schedule, problem.A.shape[2])
        return replace(
            problem,
            n=int(weights @ self.rows),
            counts=np.bincount(problem.schedule, weights, problem.A.shape[2]).astype(float),
            schedule=schedule,
            M=M,
            Mc=Mc,
            schedule_c=schedule_c,
            T=T,
        )


def reweighting(problem: Problem, y: Floats, X: Floats, codes: NDArray[np.intp]) -> Reweighting:
    """Return a problem of one grouping factor, ready for other weights of its levels."""
    assert problem.second is None
    N, p = len(problem.schedule), problem.p
    XY = np.column_stack([np.linalg.solve(problem.Rx.T, X.T).T, y - X @ problem.beta0])
    sums = level_sums(codes, N)
    T = np.empty((N, p + 1, p + 1))
    for r in range(p + 1):
        for s in range(r + 1):
            T[:, r, s] = T[:, s, r] = sums(XY[:, r] * XY[:, s])
    return Reweighting(problem, T, np.bincount(codes, minlength=N).astype(float))
