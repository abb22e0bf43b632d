"""How often the model ranks two rows rightly: Harrell's concordance, with its infinitesimal jackknife, in O(n log n).

A pair counts where one row has an event while the other is at risk and goes on. How many of a stretch of rows have a
lower rank is found for all stretches at once, bit by bit of the rank: a wavelet matrix (Claude, Navarro & Ordonez 2015,
DOI 10.1016/j.is.2014.06.002).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implstats._core.martingale import cluster_sums
from implstats._core.risk import Ints, Risk

__all__ = ["Concordance", "concordance"]

Floats = NDArray[np.float64]

# Scores nearer to each other than this share of their range are ties: equal rows may differ in the last digit.
SAME_SCORE = 1e-10


@dataclass(frozen=True, slots=True)
class Concordance:
    """Share of comparable pairs in which the row with the event first had the higher score; ties count half.

    Attributes
    ----------
    estimate, std_error : float
    concordant, discordant, tied : float, weighted numbers of pairs.
    """

    estimate: float
    std_error: float
    concordant: float
    discordant: float
    tied: float


def concordance(risk: Risk, score: Floats, cluster: Ints | None = None) -> Concordance:
    """Return the concordance of a score (n,) of the spells, high for early events.

    Parameters
    ----------
    cluster : (N,) codes of the caller's rows; rows that hang together are taken out together.
    """
    rank = _ranks(score)
    first, later = _as_first(risk, rank), _as_later(risk, rank)
    weight, counts = risk.weight, first + later
    concordant, discordant, tied = (weight * first).sum(axis=1)
    pairs = concordant + discordant + tied
    if not pairs > 0:
        return Concordance(np.nan, np.nan, 0.0, 0.0, 0.0)
    somers = (concordant - discordant) / pairs
    influence = weight * (counts[0] - counts[1] - somers * counts.sum(axis=0)) / pairs
    if cluster is not None:
        influence = cluster_sums(influence[:, None], cluster[risk.row])[:, 0]
    error = float(np.sqrt(influence @ influence)) / 2
    return Concordance(float(somers + 1) / 2, error, float(concordant), float(discordant), float(tied))


def _ranks(score: Floats) -> Ints:
    order = np.argsort(score)
    gaps = np.diff(score[order]) > SAME_SCORE * np.ptp(score)
    rank = np.empty(len(score), dtype=np.intp)
    rank[order] = np.concatenate([[0], np.cumsum(gaps)])
    return rank


def _as_first(risk: Risk, rank: Ints) -> Floats:
    """Return for every spell the weight at risk at its own event with a lower, a higher and the same rank, (3, n)."""
    event = np.flatnonzero(risk.event)
    group = risk.last[event] - 1
    beyond = np.searchsorted(risk.group_stratum, risk.group_stratum[group], side="right")
    # The events of a group come first among those that leave with it: they are not compared with each other.
    key = 2 * risk.last + ~risk.event
    stays = np.argsort(key, kind="stable")
    begin = np.searchsorted(key[stays], 2 * group + 3)
    end = np.searchsorted(key[stays], 2 * beyond + 2)
    out = _compared(rank[stays], risk.weight[stays], begin, end, rank[event])
    comes = np.argsort(risk.first, kind="stable")
    begin = np.searchsorted(risk.first[comes], group + 1)
    end = np.searchsorted(risk.first[comes], beyond)
    if (begin < end).any():
        out -= _compared(rank[comes], risk.weight[comes], begin, end, rank[event])
    full = np.zeros((3, len(rank)))
    full[:, event] = out
    return full


def _as_later(risk: Risk, rank: Ints) -> Floats:
    """Return for every spell the weight of events that it outlives, with a higher, a lower and the same rank."""
    event = np.flatnonzero(risk.event)
    group = risk.last[event] - 1
    begin = np.searchsorted(group, risk.first)
    end = np.searchsorted(group, risk.last - risk.event)
    lower, higher, same = _compared(rank[event], risk.weight[event], begin, end, rank)
    return np.stack([higher, lower, same])


def _compared(rank: Ints, weight: Floats, begin: Ints, end: Ints, asked: Ints) -> Floats:
    """Return the weight of items begin <= k < end whose rank is below, above and equal to the one asked for, (3, q)."""
    alike = bool((weight == weight[0]).all())
    everything = np.diff(_running(weight)[np.stack([begin, end])], axis=0)[0]
    below = np.zeros(len(asked))
    # Half as many bytes are moved about.
    rank, asked, stretch = rank.astype(np.int32), asked.astype(np.int32), np.stack([begin, end]).astype(np.int32)
    for bit in reversed(range(int(max(rank.max(), asked.max())).bit_length())):
        one, up = (rank & (1 << bit)).astype(bool), (asked & (1 << bit)).astype(bool)
        zeros = _running(~one, np.int32)
        before = zeros[stretch]
        found = np.diff(before if alike else _running(np.where(one, 0.0, weight))[stretch], axis=0)[0]
        below += found * up
        # Items with a 0 move to the front, those with a 1 behind them; the stretch follows the bit asked for.
        stretch = np.where(up, zeros[-1] + stretch - before, before)
        order = np.concatenate([np.flatnonzero(~one), np.flatnonzero(one)])
        rank, weight = rank[order], weight if alike else weight[order]
    if alike:
        below *= weight[0]
    same = np.diff(_running(weight)[stretch], axis=0)[0]
    return np.stack([below, everything - below - same, same])


def _running(values: NDArray[Any], kind: Any = None) -> NDArray[Any]:
    out = np.zeros(len(values) + 1, dtype=kind or values.dtype)
    np.cumsum(values, out=out[1:])
    return out
