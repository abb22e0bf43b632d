"""Kaplan-Meier curves: what share is still without the event, when, and on how many that rests."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats._check import Faults
from implstats._core.events import INTERVALS, Curve, crossing, intervals, step
from implstats.design.spells import SpellRoles, Spells
from implstats.errors import DataError
from implstats.results import Result, Sample, lock
from implstats.survival import second_opinion
from implstats.survival.groups import Group, entry_in_words, follow_up_in_words, groups_of, one_event, write
from implstats.survival.rates import rates_between, stretches
from implstats.survival.rmst import RMST, restricted_means
from implstats.survival.times import asked, at_risk, round_times

__all__ = ["SurvivalCurves", "survival_curves"]

Floats = NDArray[np.float64]

MEDIAN = "0.5 asks for the median"


@dataclass(frozen=True, eq=False, repr=False)
class SurvivalCurves(Result):
    """The Kaplan-Meier curve of every group: the share that is still without the event.

    Attributes
    ----------
    spells : Spells
        Who was at risk from when to when; read-only arrays.
    groups : tuple of Group
        What each curve rests on, and the curve.
    interval : str
        The scale of the intervals: log, log-log, plain, logit or arcsine.
    level : float
        The level of the printed intervals.
    """

    spells: Spells
    groups: tuple[Group, ...]
    interval: str
    level: float

    def __post_init__(self) -> None:
        lock(self.groups)

    @property
    def duration(self) -> str:
        """The column of times; its unit is that of every time here."""
        return self.spells.duration

    @property
    def event(self) -> str:
        """The column that says whether the event was seen."""
        return self.spells.event_name

    @property
    def sample(self) -> Sample:
        """Rows, and what was dropped."""
        return self.spells.sample

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a group and distinct time: who was at risk, what happened, and the share that is left.

        Where the share is 0 it has no standard error and no interval; where it is 1, both ends are 1.
        """
        z = _normal(self.level if level is None else level)
        parts = []
        for k, g in enumerate(self.groups):
            part, curve = self._part(k, g.curve.time, z), g.curve
            part.insert(3, "events", self._counted(curve.events))
            part.insert(4, "censored", self._counted(curve.censored))
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def at(self, times: Any, *, level: float | None = None) -> pd.DataFrame:
        """Return the share without the event at some times; nothing (NaN) beyond a group's last time.

        Parameters
        ----------
        times : number or list of numbers
            In the unit of the duration.
        level : float, optional
            Level of the intervals; by default the one asked for when the curves were made.
        """
        when, z = asked(times), _normal(self.level if level is None else level)
        return pd.concat([self._part(k, when, z) for k in range(len(self.groups))], ignore_index=True)

    def _part(self, k: int, times: Floats, z: float) -> pd.DataFrame:
        group, curve = self.groups[k], self.groups[k].curve
        survival = step(curve.time, curve.survival, times, 1.0)
        log_sd = np.sqrt(step(curve.time, curve.log_variance, times, 0.0))
        survival[(times > group.last) & (survival > 0)] = np.nan
        log_sd[~(survival > 0)] = np.nan
        low, high = intervals(survival, log_sd, self.interval, z)
        return pd.DataFrame(
            {
                "group": [group.label] * len(times),
                "time": times,
                "at_risk": self._counted(at_risk(self.spells, k, times)),
                "estimate": survival,
                "std_error": survival * log_sd,
                "conf_low": low,
                "conf_high": high,
            }
        )

    def at_risk(self, times: Any) -> pd.DataFrame:
        """Return how many are at risk just before some times, and how many had the event or were censored by then.

        At risk at t: entered before t, or at 0 where t is 0, and not gone before t. Events and censorings at t count
        as seen by then. Sums of weights where there are any.
        """
        when, parts = asked(times), []
        for k, g in enumerate(self.groups):
            part = pd.DataFrame({"group": [g.label] * len(when), "time": when})
            part["at_risk"] = self._counted(at_risk(self.spells, k, when))
            for column, values in (("cumulative_events", g.curve.events), ("cumulative_censored", g.curve.censored)):
                part[column] = self._counted(step(g.curve.time, np.cumsum(values), when, 0.0))
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def _counted(self, values: Floats) -> NDArray[Any]:
        whole = bool((self.spells.weight == np.floor(self.spells.weight)).all())
        return values.round().astype(np.int64) if whole else values

    def rates(self, breaks: Any = None, *, level: float | None = None) -> pd.DataFrame:
        """Return events per unit of time at risk in each stretch of time: in which years is the risk highest?

        One row a group and stretch, from after `start` up to and including `end`: how many were at risk just after the
        start, events, time at risk (`exposure`), their ratio and its interval. Where a group spent no time at risk, no
        rate is known (NaN). Sums of weights where there are any.

        Parameters
        ----------
        breaks : list of two or more numbers, optional
            The ends of the stretches, in the unit of the duration; by default whole units up to the last time, or round
            steps where these would be one or more than 40.
        level : float, optional
            Level of the intervals; by default the one asked for when the curves were made.

        Notes
        -----
        The rate is taken as constant within a stretch, and time at risk as given: events are then Poisson, and the
        interval is Garwood's exact one, which holds its level with few events and has an upper end where there are
        none. With weights that are no whole numbers it is Fay and Feuer's, which is the same where weights are 1.

        References
        ----------
        Garwood 1936, DOI 10.1093/biomet/28.3-4.437; Fay & Feuer 1997, DOI
        10.1002/(SICI)1097-0258(19970415)16:7<791::AID-SIM500>3.0.CO;2-#.

        Examples
        --------
        >>> import pandas as pd
        >>> from implstats.survival.curves import survival_curves
        >>> years = pd.DataFrame({"years": [0.5, 1.5, 2.0, 2.0], "stopped": [0, 1, 1, 0]})
        >>> survival_curves(years, duration="years", event="stopped").rates().round(3).drop(columns="group")
           start  end  at_risk  events  exposure  estimate  conf_low  conf_high
        0    0.0  1.0        4       0       3.5       0.0     0.000      1.054
        1    1.0  2.0        3       2       2.5       0.8     0.097      2.890
        """
        between = stretches(breaks, max(g.last for g in self.groups))
        wide, parts = self.level if level is None else level, []
        for k, g in enumerate(self.groups):
            part = rates_between(self.spells, k, between, wide)
            part.insert(0, "group", [g.label] * len(part))
            parts.append(part)
        table = pd.concat(parts, ignore_index=True)
        return table.assign(**{c: self._counted(table[c].to_numpy()) for c in ("at_risk", "events")})

    def quantile(self, p: Any = 0.5, *, level: float | None = None) -> pd.DataFrame:
        """Return when a share p has had the event, with its interval; NaN where curve or band does not come so low.

        Where the curve lies flat at exactly 1 - p that is the middle of the flat part, and the ends are where the
        interval's ends cross 1 - p, as in R's survfit.

        Parameters
        ----------
        p : number or list of numbers between 0 and 1
            0.5 is the median.
        level : float, optional
            Level of the intervals; by default the one asked for when the curves were made.
        """
        return self._quantiles([g.curve for g in self.groups], p, level)

    def follow_up(self, p: Any = 0.5, *, level: float | None = None) -> pd.DataFrame:
        """Return how long rows were followed: the time by which a share p was censored, events set aside.

        The quantile of the reverse Kaplan-Meier curve, in which censoring is the event and events cut it short.
        """
        return self._quantiles([g.follow_up for g in self.groups], p, level)

    def _quantiles(self, curves: Sequence[Curve], p: Any, level: float | None) -> pd.DataFrame:
        z, shares, rows = _normal(self.level if level is None else level), _shares(p), []
        for g, curve in zip(self.groups, curves, strict=True):
            low, high = intervals(curve.survival, np.sqrt(curve.log_variance), self.interval, z)
            for share in shares:
                ends = (crossing(curve.time, line, share) for line in (curve.survival, low, high))
                rows.append((g.label, share, *ends))
        return pd.DataFrame(rows, columns=["group", "share", "estimate", "conf_low", "conf_high"])

    def rmst(self, tau: float | None = None, *, reference: Any = None, level: float | None = None) -> RMST:
        """Return each group's mean time up to tau, and how groups differ in it; see `rmst`."""
        faults = Faults()
        wide = faults.ask(_check.level, self.level if level is None else level)
        call = dict(self.call) | {"tau": tau, "reference": reference, "level": wide}
        return restricted_means(call, self.spells, self.groups, tau, reference, wide, faults)

    def glance(self) -> pd.DataFrame:
        """Return one row: rows used, and how many of them ended with the event or censored."""
        total = {name: [sum(getattr(g, name) for g in self.groups)] for name in ("rows", "events", "censored")}
        return pd.DataFrame(total)

    def header(self) -> list[str]:
        """Return what was counted per group, medians, how long each was followed, and what a reader must know."""
        by = self.call.get("by")
        head = f"Kaplan-Meier: share without the event ({self.event}) over {self.duration}" + (
            f", by {by}" if by else ""
        )
        lines = [f"{head} ({100 * self.level:.10g}% {self.interval} intervals)"]
        medians = self.quantile().to_dict("records")
        lines += [_in_words(g, row) for g, row in zip(self.groups, medians, strict=True)]
        none = [g.name for g in self.groups if not g.events]
        if none:
            lines.append(f"no event: {', '.join(none)}; survival stays 1, and its interval says nothing")
        lines += [*follow_up_in_words(self.groups), *entry_in_words(self.spells, self.groups), *self.spells.notes]
        return [*lines, *self.sample.in_words()]

    def cross_check(self) -> pd.DataFrame:
        """Return every share and standard error next to lifelines'."""
        return second_opinion.kaplan_meier(self.spells, self.tidy(), [g.label for g in self.groups])

    def _shown(self) -> pd.DataFrame:
        return self.at(round_times(max(g.last for g in self.groups)))

    def _tables(self) -> dict[str, pd.DataFrame]:
        return super()._tables() | {"median": self.quantile(), "follow_up": self.follow_up(), "rates": self.rates()}


def _normal(level: float) -> float:
    return float(special.ndtri(0.5 + _check.level(level) / 2))


def _shares(p: Any) -> list[float]:
    shares = [_check.number("p", value, remedy=MEDIAN) for value in (p if np.ndim(p) else [p])]
    for share in shares:
        if not 0 < share < 1:
            raise DataError(f"p={_check.show(share)}: not between 0 and 1; {MEDIAN}")
    return shares


def _in_words(group: Group, median: dict[Hashable, Any]) -> str:
    share = 100 * group.censored / group.rows
    middle = write(median["estimate"])
    if math.isnan(median["estimate"]):
        middle = f"not reached (the curve ends at {group.curve.survival[-1]:.2f})"
    if not math.isnan(median["conf_low"]):
        middle += f", interval {write(median['conf_low'])} to {write(median['conf_high'])}"
    return (
        f"{group.name}: {group.rows} row{'s' * (group.rows > 1)}, {group.events} with the event, {group.censored} "
        f"censored ({share:.0f} %); median {middle}; follow-up: median {write(group.median_follow_up)} (reverse "
        f"Kaplan-Meier), longest {write(group.last)}"
    )


def survival_curves(
    frame: pd.DataFrame,
    *,
    duration: Hashable,
    event: Hashable,
    by: Hashable | None = None,
    entry: Hashable | None = None,
    weights: Hashable | None = None,
    censored: Any = None,
    interval: str = "log",
    level: float = 0.95,
    missing: str = "drop",
) -> SurvivalCurves:
    """What share of programmes still runs, or of patients still comes, after so long?

    Kaplan and Meier's estimate per group: at every event time survival falls by the share of those at risk who have the
    event. It takes those who are censored for no different from those who are followed on.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per programme or patient; several where a row's group or weight changes over time.
    duration, event : str
        Columns: time until the event or the end of observation, and 1 for an event, 0 for none. Times that differ by
        rounding only are ties; an event comes before a censoring at the same time.
    by : str, optional
        Column with the groups, each of which gets its curve.
    entry : str, optional
        Column: when a row comes under observation (delayed entry); it is at risk after that time.
    weights : str, optional
        Column of case weights. Whole ones stand for as many rows; with others, standard errors are the infinitesimal
        jackknife's.
    censored : value of the event column, optional
        What stands for no event, where the column does not hold 0 and 1.
    interval : {"log", "log-log", "plain", "logit", "arcsine"}
        The scale on which an interval is symmetric; with 40 rows "log-log" covers best where the curve is high.
    level : float
        Level of the intervals, between 0 and 1.
    missing : {"drop", "raise"}
        Rows with a missing value are dropped and counted, or an error.

    Returns
    -------
    SurvivalCurves

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question, all faults together; several causes among them, which
        `cumulative_incidence` takes.

    Notes
    -----
    S(t) is the product over event times up to t of (1 - d / n); the variance of log S(t) is Greenwood's, the sum of
    d / (n (n - d)).

    References
    ----------
    Kaplan & Meier 1958, DOI 10.2307/2281868; Schemper & Smith 1996, DOI 10.1016/0197-2456(96)00075-X (follow-up).

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.survival.curves import survival_curves
    >>> years = pd.DataFrame({"years": [2, 3, 4, 6, 1, 2, 2, 5], "stopped": [1, 0, 1, 0, 1, 1, 0, 1],
    ...                       "era": ["before"] * 4 + ["during"] * 4})
    >>> curves = survival_curves(years, duration="years", event="stopped", by="era")
    >>> curves.at([1, 2]).round(3)[["group", "time", "at_risk", "estimate"]]
        group  time  at_risk  estimate
    0  before   1.0        4      1.00
    1  before   2.0        4      0.75
    2  during   1.0        4      0.75
    3  during   2.0        3      0.50
    >>> curves.quantile()["estimate"].tolist()
    [4.0, 3.5]
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    faults = Faults()
    faults.ask(_check.one_of, "interval", interval, INTERVALS)
    faults.ask(_check.level, level)
    roles = SpellRoles(duration, event, entry=entry, weights=weights, by=by, censored=censored)
    found = one_event(frame, roles, missing, faults)
    return SurvivalCurves(call, found, groups_of(found, by), interval, level)
