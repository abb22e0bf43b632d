"""How often the model ranks two rows rightly: Harrell's concordance, with its infinitesimal jackknife, in O(n log n).

A pair counts where one row has an event while the other is at risk and goes on. With all rows in order of their scores,
a pair is concordant where its times are in inverse order. Inverse pairs are counted by halves: those of an earlier with
a later half of the times by one running sum, then those within each half likewise.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from implstats._core.martingale import cluster_sums
from implstats._core.risk import Ints, Risk, running_sums, tally

__all__ = ["Concordance", "concordance"]

Floats = NDArray[np.float64]
# Weights, or (32-bit) numbers of rows where all weights are equal: these are added up much faster.
Amounts = NDArray[np.float64] | NDArray[np.int32]

# Scores nearer to each other than this share of their range are ties: equal rows may differ in the last digit.
SAME_SCORE = 1e-10
# Among so few items every pair is looked at.
FEW = 8


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
    weight, alike = risk.weight, bool((risk.weight == risk.weight[0]).all())
    units = np.ones(len(score), dtype=np.int32) if alike else weight
    first, later = (counts * (weight[0] if alike else 1.0) for counts in _counts(risk, score, units))
    concordant, tied, pairs = first @ weight
    if not pairs > 0:
        return Concordance(np.nan, np.nan, 0.0, 0.0, 0.0)
    share = (concordant + tied / 2) / pairs
    own_concordant, own_tied, own_pairs = first + later
    influence = weight * (own_concordant + own_tied / 2 - share * own_pairs) / pairs
    if cluster is not None:
        influence = cluster_sums(influence[:, None], cluster[risk.row])[:, 0]
    error = float(np.sqrt(influence @ influence))
    return Concordance(float(share), error, float(concordant), float(pairs - concordant - tied), float(tied))


def _ranks(score: Floats, stratum: Ints) -> Ints:
    """Return the ranks of the scores, equal ones alike, of every stratum above those of the one before."""
    order = np.argsort(score)
    order = order[np.argsort(stratum[order], kind="stable")] if stratum[-1] > 0 else order
    gaps = (np.diff(score[order]) > SAME_SCORE * np.ptp(score)) | (np.diff(stratum[order]) > 0)
    rank = np.empty(len(score), dtype=np.intp)
    rank[order] = np.concatenate([[0], np.cumsum(gaps)])
    return rank


def _counts(risk: Risk, score: Floats, weight: Amounts) -> tuple[Floats, Floats]:
    """Return the weight of the rows that outlive each one's event, and of the events that each outlives, (3, n) each.

    That is of those in concordant pairs with it, in tied ones, and in all.
    """
    n, event, here = len(score), risk.event, risk.last - 1
    late = np.flatnonzero(risk.first > np.searchsorted(risk.group_stratum, np.arange(risk.strata))[risk.stratum])
    # The events of a group come first among those that leave with it: they are not compared with each other. Who enters
    # after an event leaves after it as well, and is taken off again.
    time = np.concatenate([2 * risk.last + ~event, 2 * risk.first[late] + 1])
    rank = _ranks(score, risk.stratum)
    rank = np.concatenate([rank, rank[late]])
    order = np.argsort(rank * (time.max() + 1) + time)
    rank, time = rank[order], time[order]
    leaves = np.concatenate([weight, -weight[late]])[order]
    happens = np.concatenate([weight * event, np.zeros_like(weight[late])])[order]
    found = np.array([*_inverse(time, happens, leaves), *_alike(rank, time, happens, leaves)])
    found = np.take(found, np.argsort(order), axis=1)
    first, later = found[::2, :n] * event, found[1::2, :n]
    later[:, late] -= found[1::2, n:]
    deaths = tally(here, weight * event, len(risk.time))
    others = event * (risk.sums(weight.astype(float)) - deaths)[here], risk.seen(deaths) - event * deaths[here]
    return np.vstack([first, others[0]]), np.vstack([later, others[1]])


def _alike(rank: Ints, time: Ints, happens: Amounts, leaves: Amounts) -> tuple[Amounts, Amounts]:
    """Return for every item, in order of rank and time, what leaves later and what happens earlier at its own rank."""
    (begin, end), (here, beyond) = _runs(rank), _runs(rank * (time.max() + 1) + time)
    leaving, happening = running_sums(leaves), running_sums(happens)
    return leaving[end] - leaving[beyond], happening[here] - happening[begin]


def _runs(values: Ints) -> tuple[Ints, Ints]:
    """Return where the run of equal values that each one is in begins, and where it ends."""
    edges = np.concatenate([[0], np.flatnonzero(np.diff(values)) + 1, [len(values)]])
    size = np.diff(edges)
    return np.repeat(edges[:-1], size), np.repeat(edges[1:], size)


def _inverse(time: Ints, happens: Amounts, leaves: Amounts) -> tuple[Amounts, Amounts]:
    """Return for every item what leaves later among those before it, and what happens earlier among those after it."""
    n = len(time)
    depth = max((n // FEW).bit_length() - 1, 0)
    width = -(-n // 2**depth)
    # Items are known by their place in time, so that what is near in time is near in memory; places up to a multiple
    # of 2^depth weigh nothing.
    place = np.arange(width << depth)
    by_time = np.argsort(time * n + place[:n])
    place[by_time] = place[:n].copy()
    happens, leaves = (np.concatenate([x[by_time], np.zeros(len(place) - n, x.dtype)]) for x in (happens, leaves))
    before, after = np.zeros_like(leaves), np.zeros_like(happens)
    item, k = place, np.arange(len(place) // 2)
    for level in range(depth):
        half = len(place) >> (level + 1)
        later = (item.reshape(-1, 2 * half) >= np.arange(half, len(item), 2 * half)[:, None]).ravel()
        first, second = np.flatnonzero(~later), np.flatnonzero(later)
        early, late = item[first], item[second]
        leaving, happening = running_sums(leaves[late]), running_sums(happens[early])
        # Before the k-th early item there are first - k late ones, and the other way round.
        before[early] += (leaving[first - k].reshape(-1, half) - leaving[:-1:half, None]).ravel()
        after[late] += (happening[half::half, None] - happening[second - k].reshape(-1, half)).ravel()
        item = np.stack([early.reshape(-1, half), late.reshape(-1, half)], axis=1).ravel()
    item = np.ascontiguousarray(item.reshape(-1, width).T)
    for total, few in zip((before, after), _among_few(item, happens[item], leaves[item]), strict=True):
        total[item] += few
    return before[place[:n]], after[place[:n]]


def _among_few(time: Ints, happens: Amounts, leaves: Amounts) -> tuple[Amounts, Amounts]:
    """Return the same for many short sequences side by side, (width, m), pair by pair."""
    before, after = np.zeros_like(leaves), np.zeros_like(happens)
    for one, other in combinations(range(len(time)), 2):
        inverse = time[one] > time[other]
        before[other] += inverse * leaves[one]
        after[one] += inverse * happens[other]
    return before, after
