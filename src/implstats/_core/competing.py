"""Several causes that end a spell: Aalen-Johansen cumulative incidence, and Gray's test between groups.

Symbols: n at risk just before a time t, d_k events of cause k at t, S the probability of no event yet, F_k the
cumulative incidence of cause k; "before" is a left limit. Rows are at risk after `entry` and up to `exit`, as in
events.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implstats._core.events import RiskTable, quadratic, risk_table

__all__ = ["Gray", "Incidence", "aalen_johansen", "gray"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


# Cumulative incidence ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Incidence:
    """Aalen-Johansen estimates of one group, just after every distinct exit time.

    Attributes
    ----------
    time, at_risk, censored : (T,) sums of weights; at risk just before the time.
    events : (T, K) sums of weights with each cause.
    event_free : (T,) probability of no event yet; with the incidences it adds up to one.
    incidence, variance : (T, K)
    """

    time: Floats
    at_risk: Floats
    censored: Floats
    events: Floats
    event_free: Floats
    incidence: Floats
    variance: Floats


def aalen_johansen(entry: Floats, exit_: Floats, event: Ints, weight: Floats, causes: int) -> Incidence:
    """Return the cumulative incidence of every cause, exact under ties; `event` is 0 for censored, k for cause k.

    Aalen & Johansen 1978: dF_k = S(before) d_k / n. Whole weights are repeated rows, and the variance is Aalen's.
    Others are no numbers of rows, so the variance is the infinitesimal jackknife, as in survfit.
    """
    table = risk_table(entry, exit_, event, weight, np.zeros(len(exit_), dtype=np.intp))
    place = np.searchsorted(table.time, exit_)
    cell = place * (causes + 1) + event
    ends = np.bincount(cell, weight, len(table.time) * (causes + 1)).astype(float)
    events = ends.reshape(-1, causes + 1)[:, 1:]
    S: Floats = np.cumprod(np.where(table.emptied, 0.0, 1 - table.events / table.at_risk), dtype=float)
    F: Floats = np.cumsum(_before(S, 1.0)[:, None] * events / table.at_risk[:, None], axis=0, dtype=float)
    if np.any(weight != np.floor(weight)):
        columns = [
            _jackknife(table, entry, place, event == k + 1, event > 0, weight, S, F[:, k], events[:, k])
            for k in range(causes)
        ]
    else:
        columns = [_aalen(table, S, F[:, k], events[:, k]) for k in range(causes)]
    return Incidence(table.time, table.at_risk, table.censored, events, S, F, np.column_stack(columns))


def _aalen(table: RiskTable, S: Floats, F: Floats, d: Floats) -> Floats:
    """Return Aalen's variance of an incidence, in the form of Gray 1988 and cmprsk.

    At each time s, with D = [F(t) - F(s)] / S(s): S(before)^2 / n^2 times (1 - D)^2 d c(d) + D^2 o c(o), summed over
    s <= t; o are events of other causes, and c(d) = (n - d) / (n - 1) where d > 1, else 1.
    """
    n, before = table.at_risk, _before(S, 1.0)
    own, other = (before**2 / n**2 * some * _tied(some, n) for some in (d, table.events - d))
    inverse = np.divide(1.0, S, out=np.zeros(len(S)), where=S > 0)
    D = F * inverse
    constant = np.cumsum((1 + D) ** 2 * own + D**2 * other)
    linear = np.cumsum(inverse * ((1 + D) * own + D * other))
    square = np.cumsum(inverse**2 * (own + other))
    return np.maximum(constant - 2 * F * linear + F**2 * square, 0.0)


def _jackknife(
    table: RiskTable,
    entry: Floats,
    leaves: Ints,
    own: NDArray[np.bool_],
    had: NDArray[np.bool_],
    weight: Floats,
    S: Floats,
    F: Floats,
    d: Floats,
) -> Floats:
    """Return the sum of squares of what each row's weight does to an incidence: of rows that left, and of those there.

    At a time u a row moves F(t) by S(before) / n dM_k - [F(t) - F(u)] / (n - d) dM, with dM its event less the share
    d / n that everybody at risk has; so by A - F(t) B, where A and B are sums over the times up to t.
    """
    n, T = table.at_risk, len(S)
    left = np.where(table.emptied, np.inf, n - table.events)
    size = _before(S, 1.0) / n
    A, B = (
        np.append(0.0, np.cumsum(x)) for x in (size * d / n + F / left * table.events / n, table.events / (n * left))
    )
    joins = np.searchsorted(table.time, entry, side="right")
    a = np.where(own, size[leaves], 0.0) + np.where(had, F[leaves] / left[leaves], 0.0) - A[leaves + 1] + A[joins]
    b = np.where(had, 1 / left[leaves], 0.0) - B[leaves + 1] + B[joins]

    def gone(values: Floats) -> Floats:
        return np.cumsum(np.bincount(leaves, values, T))

    def there(values: Floats) -> Floats:
        return np.cumsum(np.bincount(joins, values, T + 1)[:T] - np.bincount(leaves, values, T))

    w, H, start, step = weight**2, A[1:] - F * B[1:], A[joins], B[joins]
    variance = gone(w * a * a) - 2 * F * gone(w * a * b) + F**2 * gone(w * b * b)
    variance += H**2 * there(w) - 2 * H * (there(w * start) - F * there(w * step))
    variance += there(w * start**2) - 2 * F * there(w * start * step) + F**2 * there(w * step**2)
    return np.maximum(variance, 0.0)


# Gray's test ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Gray:
    """Gray's test of one cause.

    Attributes
    ----------
    observed, expected : (G,) events per group, seen and expected were all incidences alike; both weighted.
    covariance : (G, G) of observed - expected.
    statistic, df : chi-square; df is the rank of the covariance, fewer than groups - 1 if some were never compared.
    """

    observed: Floats
    expected: Floats
    covariance: Floats
    statistic: float
    df: int


def gray(exit_: Floats, event: Ints, group: Ints, groups: int, stratum: Ints | None = None, rho: float = 0.0) -> Gray:
    """Return Gray's 1988 test that the cumulative incidence of cause 1 is the same in all groups.

    Parameters
    ----------
    event : 0 censored, 1 the cause, 2 any other cause.
    stratum : groups are compared within strata, and scores and covariances added.
    rho : events at a time weigh (1 - F)^rho, F the incidence of the cause over all groups just before.
    """
    observed, expected, covariance = np.zeros(groups), np.zeros(groups), np.zeros((groups, groups))
    stratum = np.zeros(len(exit_), dtype=np.intp) if stratum is None else stratum
    # Strata without an event of the cause compare nothing.
    for s in np.unique(stratum[event == 1]):
        rows = stratum == s
        parts = _one_stratum(exit_[rows], event[rows], group[rows], groups, rho)
        observed, expected, covariance = observed + parts[0], expected + parts[1], covariance + parts[2]
    return Gray(observed, expected, covariance, *quadratic(observed - expected, covariance))


def _one_stratum(exit_: Floats, event: Ints, group: Ints, groups: int, rho: float) -> tuple[Floats, Floats, Floats]:
    """Return weighted events of the cause per group, observed and expected, and the covariance of their difference.

    Gray 1988, section 3: h_k = Y_k / S_k(before), and R_k = h_k (1 - F_k(before)) is the risk set of the cause, of
    whose d events group k expects R_k / R.; an event weighs L. The covariance sums, over groups r and times,
    (a + c) (a + c)' for events of the cause and c c' for others, with a_k = L h_k (1[k = r] - h_r / h.) and c what an
    event now does to the a's of later events; for ties with cmprsk's factor, which is not let below 0 here.
    """
    time, Y, own, other = _by_group(exit_, event, group, groups)
    alive = Y > 0
    at_risk = np.where(alive, Y, np.inf)
    S: Floats = np.cumprod(1 - (own + other) / at_risk, axis=0, dtype=float)
    S_before = np.where(alive, _before(S, 1.0), 1.0)
    F_before = _before(np.cumsum(S_before * own / at_risk, axis=0), 0.0)
    h = Y / S_before
    R = h * (1 - F_before)
    h_all, d = h.sum(axis=1), own.sum(axis=1)
    # An average over groups of which some are over already can pass one.
    free = np.maximum(1 - np.cumsum(d / h_all), 0.0)
    free_before = _before(free, 1.0)
    hazard = np.divide(d, h_all * free_before, out=np.zeros(len(time)), where=free_before > 0)
    L = free_before**rho
    expected = (L * d)[:, None] * R / R.sum(axis=1, keepdims=True)
    covariance = np.zeros((groups, groups))
    for r in range(groups):
        a = (L * h[:, r])[:, None] * ((np.arange(groups) == r) - h / h_all[:, None])
        run = np.cumsum(a * hazard[:, None], axis=0)
        later = run[-1] - run
        takes = np.divide(free, S[:, r], out=np.zeros(len(time)), where=S[:, r] > 0)[:, None]
        h_r = np.where(alive[:, r], h[:, r], np.inf)
        w_own = d / (h_all * h_r) * _tied(d, h_all * S_before[:, r])
        w_other = other[:, r] / h_r**2 * _tied(other[:, r], Y[:, r])
        first, second = a + (1 - takes) * later, takes * later
        covariance += (first * w_own[:, None]).T @ first + (second * w_other[:, None]).T @ second
    return L @ own, expected.sum(axis=0), covariance


def _by_group(exit_: Floats, event: Ints, group: Ints, groups: int) -> tuple[Floats, Floats, Floats, Floats]:
    """Return times with events, and at each of them (T, G) at risk, with the cause, and with another cause."""
    time, place = np.unique(exit_, return_inverse=True)
    cell = (place * groups + group) * 3 + event
    ends = np.bincount(cell, minlength=len(time) * groups * 3).reshape(-1, groups, 3).astype(float)
    Y = _from_here_on(ends.sum(axis=2))
    some = ends[:, :, 1:].any(axis=(1, 2))
    return time[some], Y[some], ends[some, :, 1], ends[some, :, 2]


def _from_here_on(x: Floats) -> Floats:
    return np.asarray(np.cumsum(x[::-1], axis=0)[::-1])


def _before(x: Floats, start: float) -> Floats:
    """Return the left limits of a step function along its first axis."""
    out = np.empty_like(x)
    out[:1], out[1:] = start, x[:-1]
    return out


def _tied(d: Floats, n: Floats) -> Floats:
    """Return the share of variance that d events at once have of d events one after another: (n - d) / (n - 1)."""
    share = np.divide(n - d, n - 1, out=np.where(d > 1, 0.0, 1.0), where=(d > 1) & (n > 1))
    return np.maximum(share, 0.0)
