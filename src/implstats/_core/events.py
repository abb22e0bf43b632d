"""Time to an event: who was at risk when, Kaplan-Meier and its intervals, restricted means, the log-rank family.

A row is at risk after `entry` and up to `exit`: at time t if entry < t <= exit. Times that are equal are ties, and an
event at t comes before a censoring at t. Rows are sorted once and counted by searchsorted, so everything is O(n log n).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "INTERVALS",
    "Comparison",
    "Curve",
    "RiskTable",
    "compare",
    "crossing",
    "intervals",
    "kaplan_meier",
    "quadratic",
    "restricted_mean",
    "risk_table",
    "step",
    "trend",
    "weigh",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

INTERVALS = ("log", "log-log", "plain", "logit", "arcsine")
# A curve that comes so near to a height has reached it, as in R's quantile.survfit.
REACHED = float(np.sqrt(np.finfo(float).eps))
# A variance so small, beside those that it is made of, is zero: these groups were never compared with the others.
ZERO = 1e-10


# Who is at risk ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, slots=True)
class RiskTable:
    """Every distinct exit time of every cell (a group, a stratum), cells in order and times rising within them.

    Attributes
    ----------
    cell, time : (m,)
    at_risk, events, censored : (m,) sums of weights; at risk just before the time.
    emptied : (m,) whether all who are at risk have the event then, told from counts of rows, not from sums of weights.
    """

    cell: Ints
    time: Floats
    at_risk: Floats
    events: Floats
    censored: Floats
    emptied: NDArray[np.bool_]


class _Keys:
    """Rows of all cells on one scale of whole numbers: cell by cell, and within a cell by distinct exit time."""

    def __init__(self, entry: Floats, exit_: Floats, cell: Ints) -> None:
        self.times = np.unique(exit_)
        self.width = len(self.times) + 1
        self.leaves = cell * self.width + np.searchsorted(self.times, exit_)
        # The first exit time after the entry is the first at which the row is at risk.
        self.joins = cell * self.width + np.searchsorted(self.times, entry, side="right")

    def at_risk(self, at: Ints, weight: Floats, rows: NDArray[np.bool_] | slice = slice(None)) -> Floats:
        """Return the weight at risk at each key, of some of the rows."""
        joined = _below(self.joins[rows], weight[rows], at, "right")
        return np.asarray(joined - _below(self.leaves[rows], weight[rows], at, "left"))


def _below(keys: Ints, weight: Floats, at: Ints, side: str) -> Floats:
    """Return the sum of the weights whose key is up to (side "right") or below ("left") each of `at`."""
    order = np.argsort(keys, kind="stable")
    total = np.concatenate([[0.0], np.cumsum(weight[order])])
    return np.asarray(total[np.searchsorted(keys[order], at, side=side)])  # type: ignore[call-overload]


def _tally(place: Ints, weight: Floats, size: int) -> Floats:
    return np.asarray(np.bincount(place, weight, size), dtype=float)


def risk_table(entry: Floats, exit_: Floats, event: Ints, weight: Floats, cell: Ints) -> RiskTable:
    """Return who was at risk and what happened at every distinct exit time of every cell."""
    keys = _Keys(entry, exit_, cell)
    at, row = np.unique(keys.leaves, return_inverse=True)
    one, had = np.ones(len(exit_)), event > 0
    return RiskTable(
        at // keys.width,
        keys.times[at % keys.width],
        keys.at_risk(at, weight),
        _tally(row, weight * had, len(at)),
        _tally(row, weight * ~had, len(at)),
        keys.at_risk(at, one) == _tally(row, one * had, len(at)),
    )


# Kaplan-Meier --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, slots=True)
class Curve:
    """Kaplan-Meier of one group, at every distinct exit time.

    Attributes
    ----------
    time, at_risk, events, censored : (m,) see RiskTable.
    survival : (m,) just after each time.
    log_variance : (m,) variance of log survival; where survival is 0 it is that of the last time before.
    shares : (m,) Greenwood's terms d / (n (n - d)), 0 where d = n.
    influence : None, or with fractional weights what each row does to log survival (infinitesimal jackknife).
    """

    time: Floats
    at_risk: Floats
    events: Floats
    censored: Floats
    survival: Floats
    log_variance: Floats
    shares: Floats
    influence: Influence | None


@dataclass(frozen=True, eq=False, slots=True)
class Influence:
    """What the weight of a row does to log survival: nothing before it joins, then B - B(join), at last `final`.

    B is the sum of Greenwood's terms; `joins` and `leaves` are places among the curve's times.
    """

    joins: Ints
    leaves: Ints
    final: Floats
    weight: Floats


def kaplan_meier(entry: Floats, exit_: Floats, event: Ints, weight: Floats) -> Curve:
    """Return the Kaplan-Meier curve of all rows.

    Whole weights are repeated rows, and the variance is Greenwood's. Others are no numbers of rows, so the variance is
    the infinitesimal jackknife, each row's influence squared; survfit does the same.
    """
    cell = np.zeros(len(exit_), dtype=np.intp)
    table = risk_table(entry, exit_, event, weight, cell)
    n, d = table.at_risk, table.events
    left = np.where(table.emptied, 1.0, n - d)
    survival: Floats = np.cumprod(np.where(table.emptied, 0.0, left / n), dtype=float)
    shares = np.where(table.emptied, 0.0, d / (n * left))
    influence, variance = None, np.cumsum(shares)
    if np.any(weight != np.floor(weight)):
        influence = _influence(_Keys(entry, exit_, cell), event, weight, shares, np.where(table.emptied, np.inf, left))
        variance = _jackknife(influence, shares)
    return Curve(table.time, n, d, table.censored, survival, variance, shares, influence)


def _influence(keys: _Keys, event: Ints, weight: Floats, shares: Floats, left: Floats) -> Influence:
    B = np.concatenate([[0.0], np.cumsum(shares)])
    final = B[keys.leaves + 1] - B[keys.joins] - (event > 0) / left[keys.leaves]
    return Influence(keys.joins, keys.leaves, final, weight)


def _jackknife(influence: Influence, shares: Floats) -> Floats:
    """Return the sum of squared influences on log survival at every time: of rows that left, and of those at risk."""
    m, B = len(shares), np.cumsum(shares)
    square, start = influence.weight**2, np.concatenate([[0.0], B])[influence.joins]
    gone = np.cumsum(_tally(influence.leaves, square * influence.final**2, m))

    def present(values: Floats) -> Floats:
        return np.cumsum(_tally(influence.joins, values, m) - _tally(influence.leaves, values, m))

    there = B**2 * present(square) - 2 * B * present(square * start) + present(square * start**2)
    return np.asarray(gone + there.clip(0))


def step(time: Floats, values: Floats, at: Floats, before: float) -> Floats:
    """Return a step function at some times: the value at the last of its times that is not later."""
    place = np.searchsorted(time, at, side="right")
    return np.concatenate([[before], values])[place]


def intervals(survival: Floats, log_sd: Floats, kind: str, z: float) -> tuple[Floats, Floats]:
    """Return both ends of z standard errors about survival, taken on the scale that `kind` names, within 0 and 1.

    Where survival is 1 both ends are 1; where it is 0 there are none (NaN).
    """
    inner = (survival > 0) & (survival < 1)
    s = np.where(inner, survival, 0.5)
    width = z * np.where(inner, log_sd, 0.0)
    # Beyond what exp can hold an end is 0 or 1.
    with np.errstate(over="ignore"):
        ends = _ends(s, width, kind)
    edge = np.where(survival == 1, 1.0, np.nan)
    low, high = (np.where(inner, end, edge).clip(0, 1) for end in ends)
    return low, high


def _ends(s: Floats, width: Floats, kind: str) -> tuple[Floats, Floats]:
    if kind == "plain":
        return s - width * s, s + width * s
    if kind == "log":
        return s * np.exp(-width), s * np.exp(width)
    if kind == "log-log":
        reach = np.exp(-width / np.log(s))
        return s**reach, s ** (1 / reach)
    if kind == "logit":
        odds, reach = s / (1 - s), np.exp(width / (1 - s))
        return 1 / (1 + reach / odds), 1 / (1 + 1 / (odds * reach))
    angle, reach = np.arcsin(np.sqrt(s)), 0.5 * width * np.sqrt(s / (1 - s))
    return np.sin(np.maximum(angle - reach, 0)) ** 2, np.sin(np.minimum(angle + reach, np.pi / 2)) ** 2


def crossing(time: Floats, survival: Floats, p: float) -> float:
    """Return when a falling curve has lost the share p; NaN if it never does.

    Where it lies flat at exactly 1 - p that is the middle of the flat part, as in R's quantile.survfit.
    """
    lost = 1 - survival
    reached, past = np.flatnonzero(lost >= p - REACHED), np.flatnonzero(lost >= p + REACHED)
    if not len(reached):
        return float("nan")
    if len(past):
        return float(time[reached[0]] + time[past[0]]) / 2
    flat_to_the_end = abs(lost[-1] - p) < REACHED
    return float(time[reached[0]] + time[-1]) / 2 if flat_to_the_end else float("nan")


# Restricted mean -----------------------------------------------------------------------------------------------------


def restricted_mean(curve: Curve, tau: float) -> tuple[float, float]:
    """Return the mean time up to tau, the area under the curve, and its variance.

    The variance is the sum over event times t of [area from t to tau]^2 d / (n (n - d)), its term 0 where d = n; with
    fractional weights, that of the rows' influences.
    """
    ends = np.minimum(np.append(curve.time, tau), tau)
    height = np.concatenate([[1.0], curve.survival])
    pieces = height * np.diff(ends, prepend=0.0)
    area = np.cumsum(pieces)
    rest = area[-1] - area[:-1]
    if curve.influence is None:
        return float(area[-1]), float(np.sum(rest**2 * curve.shares))
    own = curve.influence
    B = np.concatenate([[0.0], np.cumsum(curve.shares)])
    risk = np.cumsum(pieces * B)
    while_there = risk[own.leaves] - risk[own.joins] - B[own.joins] * (area[own.leaves] - area[own.joins])
    return float(area[-1]), float(np.sum((own.weight * (while_there + own.final * rest[own.leaves])) ** 2))


# Log-rank family -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False, slots=True)
class Comparison:
    """Observed and expected events of k groups, each weighted over time, and the covariance of their difference.

    Attributes
    ----------
    observed, expected : (k,) sums over strata.
    covariance : (k, k) of observed - expected, given the margins at each event time.
    informative : codes of the strata in which two groups were at risk at an event.
    """

    observed: Floats
    expected: Floats
    covariance: Floats
    informative: Ints


def weigh(kind: str, rho: float = 0.0, gamma: float = 0.0) -> Callable[[Floats, Floats], Floats]:
    """Return the weight of an event time from its number at risk and the pooled survival just before it."""
    powers: dict[str, Callable[[Floats, Floats], Floats]] = {
        "logrank": lambda at_risk, survival: np.ones(len(at_risk)),
        "wilcoxon": lambda at_risk, survival: at_risk,
        "tarone-ware": lambda at_risk, survival: np.sqrt(at_risk),
        "fleming-harrington": lambda at_risk, survival: survival**rho * (1 - survival) ** gamma,
    }
    return powers[kind]


def compare(
    entry: Floats,
    exit_: Floats,
    event: Ints,
    group: Ints,
    stratum: Ints,
    groups: int,
    weights: Callable[[Floats, Floats], Floats],
) -> Comparison:
    """Return observed and expected events per group, with the hypergeometric covariance, in one pass over event times.

    At an event time with d events among n at risk, n_g of them in group g, group g expects d n_g / n of them; the
    covariance of its number with that of h is d (n - d) / (n - 1) [n_g / n (g = h) - n_g n_h / n^2].
    """
    one = np.ones(len(exit_))
    table = risk_table(entry, exit_, event, one, stratum)
    keys = _Keys(entry, exit_, stratum)
    died = table.events > 0
    before = _before(table)[died]
    n, d = table.at_risk[died], table.events[died]
    at = table.cell[died] * keys.width + np.searchsorted(keys.times, table.time[died])
    members = [group == g for g in range(groups)]
    share = np.column_stack([keys.at_risk(at, one, rows) for rows in members]) / n[:, None]
    place = np.searchsorted(at, keys.leaves)
    had = event > 0
    deaths = np.column_stack([_tally(place[rows & had], one[rows & had], len(at)) for rows in members])
    w, free = weights(n, before), d * (n - d) / np.maximum(n - 1, 1)
    mixed = (free > 0) & (share.max(axis=1) < 1)
    spread = np.where(mixed, w**2 * free, 0.0)
    covariance = np.diag(spread @ share) - (share * spread[:, None]).T @ share
    return Comparison(w @ deaths, w * d @ share, covariance, np.unique(table.cell[died][mixed]))


def _before(table: RiskTable) -> Floats:
    """Return each cell's Kaplan-Meier survival just before every time."""
    stays = np.where(table.emptied, 0.0, 1 - table.events / table.at_risk)
    out = np.ones(len(stays))
    starts = np.flatnonzero(np.diff(table.cell, prepend=-1))
    for start, stop in zip(starts, np.append(starts[1:], len(stays)), strict=True):
        out[start + 1 : stop] = np.cumprod(stays[start : stop - 1])
    return out


def quadratic(difference: Floats, covariance: Floats) -> tuple[float, int]:
    """Return difference' covariance^- difference and the rank of the covariance."""
    scale = np.sqrt(np.diag(covariance))
    used = scale > 0
    u = difference[used] / scale[used]
    values, vectors = np.linalg.eigh(covariance[np.ix_(used, used)] / np.outer(scale[used], scale[used]))
    kept = values > ZERO
    along = vectors[:, kept].T @ u
    return float(np.sum(along**2 / values[kept])), int(kept.sum())


def trend(difference: Floats, covariance: Floats, scores: Floats) -> tuple[float, int]:
    """Return (scores' difference)^2 over its variance, and 1; 0 and 0 if groups of unlike scores were never compared.

    Covariances of all groups sum to zero, so that the origin of the scores is free; centred ones lose no digits.
    """
    s = scores - scores.mean()
    variance = float(s @ covariance @ s)
    if variance <= ZERO * float(np.abs(s) @ np.abs(covariance) @ np.abs(s)):
        return 0.0, 0
    return float(s @ difference) ** 2 / variance, 1
