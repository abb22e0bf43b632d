"""Which state is one in, and when: Aalen-Johansen estimates over any states, with the jackknife of whole histories.

Symbols: S states, N people (programmes, patients) with one history each; p the probabilities of the states, H = I + A
the matrix of moves at a time, U (N, S) the infinitesimal jackknife: what the weight of a history does to p. A row is at
risk after `entry` and up to `exit`, as in events.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Histories", "Occupation", "at_risk", "mean_times", "occupation"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Histories:
    """One row a stretch of time that somebody spent in a state; nobody is in two states at once.

    Attributes
    ----------
    entry, exit : (n,) times.
    state, then : (n,) codes of the state, and of the one that followed at `exit`; -1 where none was seen to follow.
    person : (n,) codes from 0 to N - 1.
    states : int, how many there are.
    """

    entry: Floats
    exit: Floats
    state: Ints
    then: Ints
    person: Ints
    states: int


@dataclass(frozen=True, slots=True, eq=False)
class Occupation:
    """Probabilities of the states just after every distinct exit time.

    Attributes
    ----------
    time : (T,)
    at_risk : (T, S) in each state just before the time.
    moves : (S, S) how often each state followed each.
    initial, initial_variance : (S,) until the first move.
    probability, variance : (T, S)
    """

    time: Floats
    at_risk: Ints
    moves: Ints
    initial: Floats
    initial_variance: Floats
    probability: Floats
    variance: Floats


def occupation(rows: Histories) -> Occupation:
    """Return the probability of every state after every time at which a row ends, with its variance.

    Aalen & Johansen 1978: p(t) is p(0) times the product of H(s) over the times s up to t. The variance is the sum over
    people of squared influences, as in survival::survfit; it takes people, not rows, as independent.
    """
    time = np.unique(rows.exit)
    initial, U = _start(rows)
    steps = [(-np.inf, initial, np.sum(U**2, axis=0))]
    steps += [(s, p, np.sum(U**2, axis=0)) for s, p, U in _walk(rows, initial, U)]
    last = np.searchsorted([s for s, _, _ in steps], time, side="right") - 1
    return Occupation(
        time,
        at_risk(rows, time),
        _moves(rows, rows.then >= 0),
        initial,
        steps[0][2],
        np.array([p for _, p, _ in steps])[last],
        np.array([variance for _, _, variance in steps])[last],
    )


def mean_times(rows: Histories, tau: float) -> tuple[Floats, Floats]:
    """Return the mean time from 0 to tau in every state, which add up to tau, and its variance."""
    p, U = _start(rows)
    mean, influence, since = np.zeros(rows.states), np.zeros_like(U), 0.0
    for s, after, changed in _walk(rows, p, U):
        until = min(s, tau)
        mean, influence = mean + (until - since) * p, influence + (until - since) * U
        p, U, since = after, changed, until
    mean, influence = mean + (tau - since) * p, influence + (tau - since) * U
    return mean, np.sum(influence**2, axis=0)


def _start(rows: Histories) -> tuple[Floats, Floats]:
    """Return the shares of the states among those at risk at the first move, and what each person does to them."""
    moved = rows.then >= 0
    first = rows.exit[moved].min() if moved.any() else rows.exit.max()
    here = (rows.entry < first) & (first <= rows.exit)
    inside = np.eye(rows.states)[rows.state[here]]
    p = inside.mean(axis=0)
    U = np.zeros((int(rows.person.max()) + 1, rows.states))
    U[rows.person[here]] = (inside - p) / here.sum()
    return p, U


def _walk(rows: Histories, p: Floats, U: Floats) -> Iterator[tuple[float, Floats, Floats]]:
    """Yield every time at which somebody moves, with p and U just after it.

    H moves what was known before; the weight of a person at risk in j changes row j of A by (own moves - A_j) / n_j.
    """
    for s in np.unique(rows.exit[rows.then >= 0]):
        here = (rows.entry < s) & (s <= rows.exit)
        moved = here & (rows.exit == s) & (rows.then >= 0)
        n = np.bincount(rows.state[here], minlength=rows.states)
        share = np.divide(1.0, n, out=np.zeros(rows.states), where=n > 0)
        moves = _moves(rows, moved)
        A = moves * share[:, None]
        np.fill_diagonal(A, -moves.sum(axis=1) * share)
        size = p * share
        U = U + U @ A
        U[rows.person[here]] -= (size[:, None] * A)[rows.state[here]]
        U[rows.person[moved], rows.then[moved]] += size[rows.state[moved]]
        U[rows.person[moved], rows.state[moved]] -= size[rows.state[moved]]
        p = p + p @ A
        yield float(s), p, U


def _moves(rows: Histories, which: NDArray[np.bool_]) -> Ints:
    cell = rows.state[which] * rows.states + rows.then[which]
    return np.bincount(cell, minlength=rows.states**2).reshape(rows.states, rows.states)


def at_risk(rows: Histories, time: Floats) -> Ints:
    """Return how many are in each state just before each time (at 0: by then), (T, S)."""
    columns = []
    for state in range(rows.states):
        own = rows.state == state
        entry, exit_ = np.sort(rows.entry[own]), np.sort(rows.exit[own])
        came = np.where(time == 0, np.searchsorted(entry, time, "right"), np.searchsorted(entry, time, "left"))
        columns.append(came - np.searchsorted(exit_, time, "left"))
    return np.column_stack(columns)
