"""The log-rank test and its relatives: do groups have the event at different rates, early, late or throughout?"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats._check import Faults
from implstats._core.events import Comparison, compare, quadratic, weigh
from implstats._core.events import trend as along
from implstats.design.frames import several
from implstats.design.spells import SpellRoles, Spells
from implstats.errors import DataError
from implstats.results import Result, Sample, frozen
from implstats.survival.groups import name_of, one_event

__all__ = ["LogRank", "logrank"]

Floats = NDArray[np.float64]

# What each weight of an event time is called, and where it looks.
TESTS = {
    "logrank": ("log-rank", "every event counts alike"),
    "wilcoxon": ("Wilcoxon (Gehan)", "an event counts as many as were at risk, so early ones count most"),
    "tarone-ware": ("Tarone-Ware", "an event counts the root of how many were at risk, so early ones count more"),
    "fleming-harrington": ("Fleming-Harrington", "an event counts S^rho (1 - S)^gamma, S the survival just before it"),
}
HARRINGTON = "rho=1 looks at early differences, gamma=1 at late ones"


@dataclass(frozen=True, eq=False, repr=False)
class LogRank(Result):
    """A comparison of groups' rates of the event over the whole of the follow-up.

    Attributes
    ----------
    statistic, df, p_value : float, int, float
        Chi-square, its degrees of freedom, and the probability of one as large where all groups have the same rates.
    test : str
        The name of the test, with its powers, strata or trend.
    labels : tuple
        The groups.
    rows, events : numpy.ndarray
        One count a group.
    observed, expected : numpy.ndarray
        Events per group, seen and expected were all rates the same, both weighted as the test weighs them.
    covariance : numpy.ndarray
        Of observed - expected.
    sample : Sample
    notes : tuple of str
    """

    statistic: float
    df: int
    p_value: float
    test: str
    labels: tuple[Any, ...]
    rows: NDArray[np.intp]
    events: NDArray[np.intp]
    observed: Floats
    expected: Floats
    covariance: Floats
    sample: Sample
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("rows", "events", "observed", "expected", "covariance"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    def tidy(self) -> pd.DataFrame:  # type: ignore[override]
        """Return one row: the test."""
        row = {"test": self.test, "statistic": self.statistic, "df": self.df, "p_value": self.p_value}
        return pd.DataFrame([row])

    def table(self) -> pd.DataFrame:
        """Return one row a group: rows, events, and events observed and expected as the test weighs them."""
        columns = {"group": list(self.labels), "rows": self.rows, "events": self.events}
        return pd.DataFrame(columns | {"observed": self.observed, "expected": self.expected})

    def glance(self) -> pd.DataFrame:
        """Return one row: rows used, and events."""
        return pd.DataFrame({"rows": [self.sample.rows], "events": [int(self.events.sum())]})

    def header(self) -> list[str]:
        """Return the test, what it weighs, and what a reader must know."""
        p = "p < .001" if self.p_value < 0.001 else f"p = {self.p_value:.3f}"
        first = f"{self.test}: chi-square {self.statistic:.4g} on {self.df} df, {p}"
        return [first[0].upper() + first[1:], *self.notes, *self.sample.in_words()]

    def _shown(self) -> pd.DataFrame:
        return self.table()

    def _tables(self) -> dict[str, pd.DataFrame]:
        return super()._tables() | {"table": self.table()}


def logrank(
    frame: pd.DataFrame,
    *,
    duration: Hashable,
    event: Hashable,
    by: Hashable,
    strata: Hashable | Sequence[Hashable] | None = None,
    entry: Hashable | None = None,
    weights: str = "logrank",
    rho: float | None = None,
    gamma: float | None = None,
    trend: Mapping[Any, float] | bool | None = None,
    censored: Any = None,
    missing: str = "drop",
) -> LogRank:
    """Do programmes of one kind stop at another rate than those of another, over the whole of the follow-up?

    At every event time each group is expected to have its share of the events, by its share of those at risk; the test
    sums what was observed less what was expected. Differences that change sign over time cancel.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per programme or patient.
    duration, event : str
        Columns: time until the event or the end of observation, and 1 for an event, 0 for none.
    by : str
        Column with the groups.
    strata : column or list of columns, optional
        Groups are compared within every stratum only, and the comparisons added up.
    entry : str, optional
        Column: when a row comes under observation (delayed entry).
    weights : {"logrank", "wilcoxon", "tarone-ware", "fleming-harrington"}
        What an event time counts: 1, the number n at risk in the stratum, the root of n, or S^rho (1 - S)^gamma with
        S the stratum's Kaplan-Meier estimate just before it, all groups together.
    rho, gamma : float, optional
        Powers of "fleming-harrington", 0 or more; one that is left out is 0. rho=1 is Peto and Peto's test.
    trend : True or mapping of group to score, optional
        Tests for rates that rise or fall with the scores, on 1 df; True scores the groups 0, 1, 2, ... in their order.
    censored : value of the event column, optional
        What stands for no event, where the column does not hold 0 and 1.
    missing : {"drop", "raise"}
        Rows with a missing value are dropped and counted, or an error.

    Returns
    -------
    LogRank

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question: one group, no event, never two groups at risk together.

    Notes
    -----
    Given who is at risk, the number of a group's events among d is hypergeometric; with n at risk, n_g and n_h of them
    in groups g and h, the covariance is d (n - d) / (n - 1) [n_g / n (g = h) - n_g n_h / n^2]. Choose the weights
    before seeing the curves: the smallest of several p-values is none.

    References
    ----------
    Mantel 1966, PMID 5910392; Harrington & Fleming 1982, DOI 10.1093/biomet/69.3.553; Tarone & Ware 1977, DOI
    10.1093/biomet/64.1.156; Tarone 1975, DOI 10.1093/biomet/62.3.679 (trend).

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.survival.logrank import logrank
    >>> years = pd.DataFrame({"years": [2, 3, 4, 6, 1, 2, 2, 5], "stopped": [1, 0, 1, 0, 1, 1, 0, 1],
    ...                       "era": ["before"] * 4 + ["during"] * 4})
    >>> test = logrank(years, duration="years", event="stopped", by="era")
    >>> test.table().round(3)
        group  rows  events  observed  expected
    0  before     4       2       2.0      2.81
    1  during     4       3       3.0      2.19
    >>> round(test.statistic, 4), test.df
    (0.5797, 1)
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    faults = Faults()
    powers = _powers(weights, rho, gamma, faults, _check.frame(frame).columns)
    if by is None:
        faults.say("by=None: no groups are named; name the column with the groups to compare")
    roles = SpellRoles(duration, event, entry=entry, by=by, strata=several(strata), censored=censored)
    found = one_event(frame, roles, missing, faults)
    if len(found.groups) < 2:
        faults.add("by", by, f"one group only ({_check.show(found.groups[0])})", "a test compares two or more")
    if not found.event.any():
        faults.add("event", event, "no event in any row", "without events nothing can be compared")
    scores = _scores(trend, found.groups, faults)
    faults.settle()
    k = len(found.groups)
    arrays = found.entry, found.exit, found.event, found.group, found.stratum
    result = compare(*arrays, k, weigh(weights, *powers))
    statistic, df = _statistic(result, scores)
    if df == 0:
        raise DataError(_nothing_compared(found, result))
    return LogRank(
        call,
        statistic,
        df,
        float(special.chdtrc(df, statistic)),
        _name(weights, powers, roles.strata, scores is not None),
        found.groups,
        np.bincount(found.group, minlength=k),
        np.bincount(found.group[found.event > 0], minlength=k),
        result.observed,
        result.expected,
        result.covariance,
        found.sample,
        tuple(_notes(weights, found, result, scores, df, by)),
    )


def _powers(
    weights: str, rho: float | None, gamma: float | None, faults: Faults, columns: Collection[Any]
) -> tuple[float, float]:
    if isinstance(weights, str) and weights in columns and weights not in TESTS:
        remedy = "repeat rows, or see the score tests of fit_cox with weights= and cluster="
        faults.add("weights", weights, "a column, and this test knows no case weights: it weighs event times", remedy)
    else:
        faults.ask(_check.one_of, "weights", weights, list(TESTS))
    powers = {"rho": 0.0, "gamma": 0.0}
    if weights == "fleming-harrington" and rho is None and gamma is None:
        faults.add("weights", weights, "neither rho= nor gamma= is given", HARRINGTON)
    for name, value in (("rho", rho), ("gamma", gamma)):
        if value is not None and weights != "fleming-harrington":
            faults.add(name, value, "goes with weights='fleming-harrington'", "leave it out, or say so")
        elif value is not None:
            powers[name] = faults.ask(_check.number, name, value, least=0, remedy=HARRINGTON) or 0.0
    return powers["rho"], powers["gamma"]


def _scores(trend: Any, groups: Sequence[Any], faults: Faults) -> Floats | None:
    """Return the score of every group, None without a trend."""
    if trend is None or trend is False:
        return None
    if trend is True:
        return np.arange(len(groups), dtype=float)
    if not isinstance(trend, Mapping):
        remedy = f"write trend={{{_check.show(groups[0])}: 0, {_check.show(groups[-1])}: 1}}"
        faults.add("trend", trend, "neither True nor a mapping of group to score", remedy)
        return None
    lacking = [g for g in groups if g not in trend]
    if lacking:
        faults.add("trend", dict(trend), f"no score for {_check.show(lacking[0])}", "give every group one")
        return None
    scores = [faults.ask(_check.number, f"trend[{_check.show(g)}]", trend[g]) for g in groups]
    if None not in scores and len(set(scores)) < 2:
        faults.add("trend", dict(trend), "every group has the same score", "a trend needs two that differ")
    return None if None in scores else np.array(scores)


def _statistic(result: Comparison, scores: Floats | None) -> tuple[float, int]:
    difference = result.observed - result.expected
    if scores is None:
        return quadratic(difference, result.covariance)
    return along(difference, result.covariance, scores)


def _nothing_compared(found: Spells, result: Comparison) -> str:
    event = _check.show(found.event_name)
    if len(result.informative):
        return f"event={event}: every event has weight 0; choose other weights"
    if len(np.unique(found.exit[found.event > 0])) == 1:
        return f"event={event}: all events are at one time, of all who were at risk; their order says nothing of groups"
    return (
        f"event={event}: no event while two groups were at risk and not all of them had it; look at entry= and strata="
    )


def _name(weights: str, powers: tuple[float, float], strata: Sequence[Hashable], trend: bool) -> str:
    name = TESTS[weights][0]
    if weights == "fleming-harrington":
        name += f" (rho {powers[0]:g}, gamma {powers[1]:g})"
    name += " trend test" if trend else " test"
    return name + (f", stratified by {', '.join(map(str, strata))}" if strata else "")


def _notes(weights: str, found: Spells, result: Comparison, scores: Floats | None, df: int, by: Hashable) -> list[str]:
    lines = [TESTS[weights][1] + "; differences that change sign over time cancel"]
    if scores is not None:
        told = ", ".join(f"{name_of(g, by)} {s:g}" for g, s in zip(found.groups, scores, strict=True))
        more = "more" if scores @ (result.observed - result.expected) > 0 else "fewer"
        lines.append(f"scores: {told}; groups with higher ones had {more} events than expected")
    elif df < len(found.groups) - 1:
        lines.append(f"{df} df for {len(found.groups)} groups: some were never at risk together with the others")
    silent = len(found.strata) - len(result.informative)
    if silent:
        lines.append(f"{silent} of {len(found.strata)} strata compare nothing: no event, or one group at risk")
    return [*lines, *found.notes]
