"""Covariances of a patient's visits: unstructured, Toeplitz, AR(1), compound symmetry, heterogeneous AR(1).

Each has natural parameters phi, in which Kenward and Roger's adjustment is taken (variances and covariances, where the
matrix is linear in them; else variances and a correlation), and free parameters u without bounds, in which it is
optimised. Every function accepts leading axes and complex numbers, so that derivatives are exact by complex steps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["STRUCTURES", "Structure", "between", "powers", "unbounded"]

Floats = NDArray[np.float64]
Numbers = NDArray[Any]

EDGE = 1e-6


def between(u: Numbers, low: float) -> Numbers:
    """Return a number between `low` and 1 of any number."""
    return low + (1 - low) * (np.tanh(u / 2) + 1) / 2


def unbounded(value: Numbers, low: float) -> Numbers:
    """Return the number that `between` takes to `value`, kept away from both ends."""
    share = np.clip((value - low) / (1 - low), EDGE, 1 - EDGE)
    return np.asarray(np.log(share / (1 - share)))


def powers(rho: Numbers, gaps: NDArray[Any]) -> Numbers:
    """Return rho ** gaps, (...) and (m, m) to (..., m, m); a negative rho only has whole powers."""
    base = rho[..., None, None]
    if not np.issubdtype(gaps.dtype, np.integer):
        return np.asarray(np.exp(gaps * np.log(base)))
    # By squares: a high power of a negative number through its logarithm would lose the imaginary part.
    return np.asarray((base * base) ** (gaps // 2) * base ** (gaps % 2))


class Structure(ABC):
    """The covariance of m visits."""

    word: str
    linear: bool
    """Whether the matrix is linear in phi, so that Kenward and Roger's R_jk is zero."""

    def __init__(self, visits: int) -> None:
        self.visits = visits
        self.gaps = np.abs(np.subtract.outer(np.arange(visits), np.arange(visits)))

    @abstractmethod
    def natural(self, u: Numbers) -> Numbers:
        """Return phi (..., J) of u (..., J)."""

    @abstractmethod
    def matrix(self, phi: Numbers) -> Numbers:
        """Return the covariance (..., m, m)."""

    @abstractmethod
    def free(self, sigma: Floats) -> Floats:
        """Return the u whose matrix is near a positive definite one: where a fit starts."""

    def _variance(self, sigma: Floats) -> float:
        return float(np.diag(sigma).mean())

    def _correlation(self, sigma: Floats) -> Floats:
        sd = np.sqrt(np.diag(sigma))
        return np.asarray(sigma / np.outer(sd, sd))


class Unstructured(Structure):
    """A variance for every visit and a covariance for every pair; phi is the lower triangle, row by row."""

    word, linear = "unstructured", True

    def __init__(self, visits: int) -> None:
        super().__init__(visits)
        self.rows, self.columns = np.tril_indices(visits)
        self.diagonal = self.rows == self.columns

    def natural(self, u: Numbers) -> Numbers:
        root = np.zeros((*u.shape[:-1], self.visits, self.visits), dtype=u.dtype)
        root[..., self.rows, self.columns] = np.where(self.diagonal, np.exp(np.where(self.diagonal, u, 0.0)), u)
        return np.asarray((root @ np.swapaxes(root, -1, -2))[..., self.rows, self.columns])

    def matrix(self, phi: Numbers) -> Numbers:
        sigma = np.zeros((*phi.shape[:-1], self.visits, self.visits), dtype=phi.dtype)
        sigma[..., self.rows, self.columns] = phi
        sigma[..., self.columns, self.rows] = phi
        return sigma

    def free(self, sigma: Floats) -> Floats:
        root = np.linalg.cholesky(sigma)[self.rows, self.columns]
        return np.where(self.diagonal, np.log(np.where(self.diagonal, root, 1.0)), root)


class Toeplitz(Structure):
    """One variance, and one covariance for every distance in visits; phi is the first row."""

    word, linear = "toeplitz", True

    def natural(self, u: Numbers) -> Numbers:
        # Durbin-Levinson: any partial correlations within (-1, 1) give a positive definite matrix.
        partial = np.tanh(u[..., 1:] / 2)
        rho = [np.ones_like(u[..., 0])]
        weights: list[Numbers] = []
        left = np.ones_like(u[..., 0])
        for k in range(self.visits - 1):
            rho.append(sum((w * r for w, r in zip(weights, reversed(rho[1:]), strict=True)), partial[..., k] * left))
            last = partial[..., k]
            weights = [w - last * v for w, v in zip(weights, reversed(weights), strict=True)] + [last]
            left = left * (1 - last**2)
        return np.asarray(np.exp(u[..., :1]) * np.stack(rho, axis=-1))

    def matrix(self, phi: Numbers) -> Numbers:
        return np.asarray(phi[..., self.gaps])

    def free(self, sigma: Floats) -> Floats:
        # Shrunk towards independence, so that the averaged bands are positive definite.
        rho = 0.9 * np.array([np.diag(self._correlation(sigma), k).mean() for k in range(self.visits)])
        rho[0] = 1.0
        while np.linalg.eigvalsh(rho[self.gaps])[0] < EDGE:
            rho[1:] *= 0.7
        partial, weights = [], np.zeros(0)
        for k in range(1, self.visits):
            last = (rho[k] - weights @ rho[k - 1 : 0 : -1]) / (1 - weights @ rho[1:k])
            weights = np.append(weights - last * weights[::-1], last)
            partial.append(2 * np.arctanh(np.clip(last, EDGE - 1, 1 - EDGE)))
        return np.array([np.log(self._variance(sigma)), *partial])


class Autoregressive(Structure):
    """AR(1): one variance, and a correlation that is a power of the distance in visits; phi = (variance, rho)."""

    word, linear = "ar1", False

    def natural(self, u: Numbers) -> Numbers:
        return np.concatenate([np.exp(u[..., :1]), np.tanh(u[..., 1:] / 2)], axis=-1)

    def matrix(self, phi: Numbers) -> Numbers:
        return np.asarray(phi[..., 0, None, None] * powers(phi[..., 1], self.gaps))

    def free(self, sigma: Floats) -> Floats:
        rho = float(np.diag(self._correlation(sigma), 1).mean())
        return np.array([np.log(self._variance(sigma)), 2 * np.arctanh(0.9 * rho)])


class CompoundSymmetry(Structure):
    """One variance and one covariance; phi = (variance, covariance)."""

    word, linear = "compound-symmetry", True

    @property
    def _low(self) -> float:
        return -1 / (self.visits - 1)

    def natural(self, u: Numbers) -> Numbers:
        variance = np.exp(u[..., :1])
        return np.concatenate([variance, variance * between(u[..., 1:], self._low)], axis=-1)

    def matrix(self, phi: Numbers) -> Numbers:
        same = self.gaps == 0
        return np.asarray(np.where(same, phi[..., 0, None, None], phi[..., 1, None, None]))

    def free(self, sigma: Floats) -> Floats:
        rho = self._correlation(sigma)[self.gaps > 0].mean()
        return np.array([np.log(self._variance(sigma)), float(unbounded(0.9 * rho, self._low))])


class HeterogeneousAutoregressive(Structure):
    """AR(1) correlations, and a variance for every visit; phi = (variances, rho)."""

    word, linear = "heterogeneous-ar1", False

    def natural(self, u: Numbers) -> Numbers:
        return np.concatenate([np.exp(u[..., :-1]), np.tanh(u[..., -1:] / 2)], axis=-1)

    def matrix(self, phi: Numbers) -> Numbers:
        sd = np.sqrt(phi[..., :-1])
        return np.asarray(sd[..., :, None] * sd[..., None, :] * powers(phi[..., -1], self.gaps))

    def free(self, sigma: Floats) -> Floats:
        rho = float(np.diag(self._correlation(sigma), 1).mean())
        return np.append(np.log(np.diag(sigma)), 2 * np.arctanh(0.9 * rho))


STRUCTURES: dict[str, type[Structure]] = {
    s.word: s for s in (Unstructured, Toeplitz, Autoregressive, CompoundSymmetry, HeterogeneousAutoregressive)
}
