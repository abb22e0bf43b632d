"""Who is at risk whenever events happen: spells in order of stratum and time, and sums over risk sets in linear time.

The event times of all strata stand in one row of K "groups", stratum after stratum. A spell (entry, exit] is at risk at
the groups first <= k < last, so a sum over all risk sets is a running sum of who comes and who leaves, and what happens
to a row while it is at risk is a difference of two values of a running sum over the groups.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import NDArray

__all__ = ["Risk", "Steps", "risk_sets", "running_sums", "tally"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

# With late entry or strata running sums subtract what has come or gone, which costs digits where hazards differ a lot:
# up to so many pairs of a spell and a risk set, sums are made of those at risk alone.
PAIRS = 1_000_000


def tally(place: Ints, weight: NDArray[np.generic], size: int) -> Floats:
    """Return the sum of the weights at each place 0, ..., size - 1."""
    return np.asarray(np.bincount(place, weight, size), dtype=float)


def running_sums(values: NDArray[Any]) -> NDArray[Any]:
    """Return the sums of the values (n, ...) before each, and at the end that of all, (n + 1, ...)."""
    out = np.zeros((len(values) + 1, *values.shape[1:]), dtype=values.dtype)
    np.cumsum(values, axis=0, out=out[1:])
    return out


@dataclass(frozen=True, slots=True)
class Steps:
    """The denominators of the partial likelihood, one a group; where m events are tied Efron has m.

    These are S0 less the fractions 0, 1/m, ..., (m - 1)/m of the events' own share in it, each for the events' mean
    weight; Breslow has S0 for the sum of their weights, as where there is one event.

    Attributes
    ----------
    weight : (K,) sum of the weights of a group's events.
    tied : (G,) groups with several events; none under Breslow.
    row : (D,) spells with a tied event.
    place : (D,) which of the tied groups each is in; they stand group after group.
    fraction, share : (D,) fraction and weight of each step of a tied group.
    own : (G, n) sums over a tied group's events.
    """

    weight: Floats
    tied: Ints
    row: Ints
    place: Ints
    fraction: Floats
    share: Floats
    own: scipy.sparse.csr_matrix


@dataclass(frozen=True, slots=True)
class Risk:
    """Spells that see at least one event of their stratum, in order of stratum and of the last group they see.

    Attributes
    ----------
    given : number of the caller's rows; those that see no event are left out of n.
    row : (n,) the caller's row of each spell.
    event, weight, stratum : (n,)
    first, last : (n,) groups at which a spell is at risk, first <= k < last; an event's own group is last - 1.
    time, group_stratum : (K,) event times, and their strata.
    strata : number of strata.
    spans : (m + 1,) where the spells of each stratum start that has any; n at the end.
    running : whether sums over risk sets are made as running sums over the groups.
    matrix : (K, n) who is at risk at group k; for running sums who is at risk at k and not at k + 1, less who comes
        only after k.
    """

    given: int
    row: Ints
    event: Bools
    weight: Floats
    stratum: Ints
    first: Ints
    last: Ints
    time: Floats
    group_stratum: Ints
    strata: int
    spans: Ints
    running: bool
    matrix: scipy.sparse.csr_matrix

    def sums(self, values: Floats) -> Floats:
        """Return the sum of values (n,) or (n, m) over every risk set, (K,) or (K, m)."""
        out = np.asarray(self.matrix @ values)
        if self.running:
            np.cumsum(out[::-1], axis=0, out=out[::-1])
        return out

    def seen(self, increments: Floats) -> Floats:
        """Return the sum of increments (K,) or (K, m) over the groups at which each spell is at risk."""
        if not self.running:
            return np.asarray(self.matrix.T @ increments)
        sums = running_sums(increments)
        out = np.take(sums, self.last, axis=0)
        if self.first.any():
            out -= np.take(sums, self.first, axis=0)
        return out

    def own(self, values: Floats) -> Floats:
        """Return, for every event among the spells in their order, the value of its own group."""
        return np.take(values, self.last[self.event] - 1, axis=0)

    def to_rows(self, values: Floats) -> Floats:
        """Return values (n,) or (n, m) in the caller's order; a row that sees no event has 0."""
        out = np.zeros((self.given, *values.shape[1:]))
        out[self.row] = values
        return out

    def highest(self, values: Floats) -> Floats:
        """Return the largest value (n,) among the spells of each spell's stratum."""
        return np.repeat(np.maximum.reduceat(values, self.spans[:-1]), np.diff(self.spans))

    def steps(self, ties: str) -> Steps:
        """Return the steps of "efron" or "breslow"."""
        events = np.flatnonzero(self.event)
        group = self.last[events] - 1
        count = np.bincount(group, minlength=len(self.time))
        weight = tally(group, self.weight[events], len(self.time))
        tied = np.flatnonzero(count > 1) if ties == "efron" else np.zeros(0, dtype=np.intp)
        # The events of a group stand together: spells are sorted by it.
        several = np.isin(group, tied)
        row, group = events[several], group[several]
        place = np.searchsorted(tied, group)
        size = count[tied]
        fraction = (np.arange(len(row)) - (np.cumsum(size) - size)[place]) / size[place]
        ends = np.concatenate([[0], np.cumsum(size)])
        own = scipy.sparse.csr_matrix((np.ones(len(row)), row, ends), shape=(len(tied), len(self.row)))
        return Steps(weight, tied, row, place, fraction, (weight[tied] / size)[place], own)


def risk_sets(entry: Floats | None, exit: Floats, event: Bools, weight: Floats, stratum: Ints) -> Risk:
    """Return who is at risk when.

    Parameters
    ----------
    entry : (n,) None where every spell starts before the first event.
    exit, event, weight : (n,) at least one event; times are tied where they are equal.
    stratum : (n,) codes 0, 1, ...
    """
    strata = int(stratum.max()) + 1
    order = np.argsort(exit)
    if strata > 1:
        narrow = stratum.astype(np.int16) if strata < 2**15 else stratum
        order = order[np.argsort(narrow[order], kind="stable")]
    time, happens, codes = exit[order], event[order], stratum[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (time[1:] != time[:-1]) | (codes[1:] != codes[:-1])
    moment = np.cumsum(new) - 1
    at_event = np.bincount(moment, weights=happens) > 0
    last = np.cumsum(at_event)[moment]
    groups = np.flatnonzero(new)[at_event]
    group_time, group_stratum = time[groups], codes[groups]
    first = np.searchsorted(group_stratum, np.arange(strata))[codes]
    if entry is not None:
        first = _late(entry[order], codes, group_time, group_stratum)
    sees = np.flatnonzero(first < last)
    first, last, codes = first[sees], last[sees], codes[sees]
    running = not first.any() or int((last - first).sum()) > PAIRS
    return Risk(
        given=len(exit),
        row=order[sees],
        event=happens[sees],
        weight=weight[order[sees]],
        stratum=codes,
        first=first,
        last=last,
        time=group_time,
        group_stratum=group_stratum,
        strata=strata,
        spans=np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1, [len(sees)]]),
        running=running,
        matrix=(_change if running else _members)(first, last, len(groups)),
    )


def _late(entry: Floats, codes: Ints, group_time: Floats, group_stratum: Ints) -> Ints:
    """Return the first group after each entry, among those of its own stratum and later ones."""
    if codes[-1] == 0:
        return _places(entry, group_time)
    times = np.unique(group_time)
    width = len(times) + 1
    keys = group_stratum * width + np.searchsorted(times, group_time, side="right")
    return _places(codes * width + _places(entry, times), keys)


def _places(asked: NDArray[Any], known: NDArray[Any]) -> Ints:
    """Return how many of the known values, in order, are up to each one asked for: fast, as neighbours come in turn."""
    order = np.argsort(asked)
    out = np.empty(len(asked), dtype=np.intp)
    out[order] = np.searchsorted(known, asked[order], side="right")
    return out


def _members(first: Ints, last: Ints, groups: int) -> scipy.sparse.csr_matrix:
    ends = np.concatenate([[0], np.cumsum(last - first)])
    group = np.arange(ends[-1]) - np.repeat(ends[:-1] - first, last - first)
    by_spell = scipy.sparse.csr_matrix((np.ones(ends[-1]), group, ends), shape=(len(first), groups))
    return scipy.sparse.csr_matrix(by_spell.T)


def _change(first: Ints, last: Ints, groups: int) -> scipy.sparse.csr_matrix:
    n = len(first)
    ends = np.searchsorted(last, np.arange(1, groups + 2))
    leaving = scipy.sparse.csr_matrix((np.ones(n), np.arange(n), ends), shape=(groups, n))
    late = np.flatnonzero(first > 0)
    if len(late) == 0:
        return leaving
    coming = scipy.sparse.csr_matrix((np.ones(len(late)), (first[late] - 1, late)), shape=(groups, n))
    return scipy.sparse.csr_matrix(leaving - coming)
