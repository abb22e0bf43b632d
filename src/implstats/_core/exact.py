"""The exact partial likelihood of tied events: the set that had them, among all sets of that size at risk (Cox 1972).

The sum over all sets of d among the first i rows is E_d(i) = E_d(i - 1) + r_i E_{d-1}(i - 1), so E_d is a running sum
of r E_{d-1}, read off wherever a risk set ends; its first and second derivatives are running sums likewise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implstats._core.risk import Risk, running_sums

__all__ = ["Exact", "TooManyTiesError", "exact_blocks"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# Sums over sets are this large at most before they leave the range of floating-point numbers.
LARGEST = 1e250


class TooManyTiesError(ValueError):
    """Tied sets so large that sums over all sets of their size are no longer numbers."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that join the risk set one after the other.

    Attributes
    ----------
    rows : (m,) spells in the order in which they join, the latest to leave first.
    reach, size : (g,) how many of them are at risk, and how many have the event, in each group of tied events.
    """

    rows: Ints
    reach: Ints
    size: Ints


@dataclass(frozen=True, slots=True)
class Exact:
    """What the exact likelihood needs beside the covariates.

    Attributes
    ----------
    blocks : sequences of nested risk sets.
    events : (D,) spells with an event.
    largest : most events in one tied set.
    """

    blocks: tuple[Block, ...]
    events: Ints
    largest: int

    def evaluate(self, X: Floats, b: Floats) -> tuple[float, Floats, Floats]:
        """Return log-likelihood, score and information at b.

        Raises
        ------
        TooManyTiesError
            When sums over sets leave the range of floating-point numbers.
        """
        eta = X @ b
        loglik, score = float(eta[self.events].sum()), X[self.events].sum(axis=0)
        information = np.zeros((X.shape[1],) * 2)
        # Where a sum underflows the log-likelihood is NaN, which no step is better than.
        with np.errstate(all="ignore"):
            for block in self.blocks:
                log_sum, mean, covariance = _block(block, X[block.rows], eta[block.rows])
                loglik, score, information = loglik - log_sum, score - mean, information + covariance
        return loglik, score, information


def exact_blocks(risk: Risk) -> Exact:
    """Return the nested risk sets: one sequence a stratum, or one a group where spells enter late."""
    events = np.flatnonzero(risk.event)
    size = np.bincount(risk.last[events] - 1, minlength=len(risk.time))
    return Exact(tuple(_blocks(risk, size)), events, int(size.max()))


def _blocks(risk: Risk, size: Ints) -> Iterator[Block]:
    starts = np.searchsorted(risk.group_stratum, np.arange(risk.strata + 1))
    late = risk.first > starts[risk.stratum]
    for begin, end in zip(risk.spans[:-1], risk.spans[1:], strict=True):
        rows = np.arange(begin, end)[::-1]
        stratum = risk.stratum[begin]
        groups = np.arange(starts[stratum], starts[stratum + 1])
        if not late[rows].any():
            yield Block(rows, end - np.searchsorted(risk.last[begin:end], groups + 1) - begin, size[groups])
            continue
        for group in groups:
            there = rows[(risk.first[rows] <= group) & (risk.last[rows] > group)]
            yield Block(there, np.array([len(there)]), size[group : group + 1])


def _block(block: Block, X: Floats, eta: Floats) -> tuple[float, Floats, Floats]:
    """Return the sum of log E_d over the groups, and its first and (with a minus) second derivatives."""
    m, p = X.shape
    shift = float(eta.max())
    r = np.exp(eta - shift)
    E, G, H = np.ones(m + 1), np.zeros((m + 1, p)), np.zeros((m + 1, p, p))
    log_sum, mean, covariance = 0.0, np.zeros(p), np.zeros((p, p))
    for d in range(1, int(block.size.max()) + 1):
        # Each row joins every set of d - 1 among those before it.
        e, g, h = E[:-1], G[:-1], H[:-1]
        cross = X[:, :, None] * g[:, None, :]
        squares = X[:, :, None] * X[:, None, :] * e[:, None, None]
        H = running_sums(r[:, None, None] * (h + cross + cross.transpose(0, 2, 1) + squares))
        G = running_sums(r[:, None] * (g + X * e[:, None]))
        E = running_sums(r * e)
        if E[-1] > LARGEST:
            raise TooManyTiesError(f"{int(block.size.max())} tied events among {m} at risk")
        here = block.reach[block.size == d]
        if len(here) == 0:
            continue
        first = G[here] / E[here, None]
        log_sum += float(np.log(E[here]).sum()) + d * shift * len(here)
        mean += first.sum(axis=0)
        covariance += (H[here] / E[here, None, None]).sum(axis=0) - first.T @ first
    return log_sum, mean, covariance
