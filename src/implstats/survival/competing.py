"""Several causes that can end a spell: the probability that each has done so by some time."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats._check import Faults
from implstats._core.competing import Incidence, aalen_johansen
from implstats._core.events import INTERVALS, intervals, step
from implstats.design.spells import SpellRoles, Spells, spells
from implstats.results import Result, Sample, lock
from implstats.survival.groups import Group, entry_in_words, follow_up_in_words, groups_of, listed, write
from implstats.survival.times import asked, at_risk, round_times

__all__ = ["CumulativeIncidence", "asks_for_censored", "cause_of", "counts_in_words", "cumulative_incidence"]

Floats = NDArray[np.float64]

# How far apart incidence and 1 - Kaplan-Meier must be to be worth a sentence.
APART = 0.005


@dataclass(frozen=True, eq=False, repr=False)
class CumulativeIncidence(Result):
    """The probability, per group and cause, that a spell has ended by some time and that this cause ended it.

    Attributes
    ----------
    spells : Spells
        Who was at risk from when to when; read-only arrays.
    groups : tuple of Group
        What each group rests on; its curve is the probability that nothing has ended the spell yet.
    estimates : tuple of Incidence
        One a group.
    interval : str
        The scale of the intervals: log, log-log, plain, logit or arcsine.
    level : float
        The level of the printed intervals.
    """

    spells: Spells
    groups: tuple[Group, ...]
    estimates: tuple[Incidence, ...]
    interval: str
    level: float

    def __post_init__(self) -> None:
        lock((self.groups, self.estimates))

    @property
    def duration(self) -> str:
        """The column of times; its unit is that of every time here."""
        return self.spells.duration

    @property
    def event(self) -> str:
        """The column that says what ended a spell."""
        return self.spells.event_name

    @property
    def causes(self) -> tuple[Any, ...]:
        """What can end a spell."""
        return self.spells.causes

    @property
    def sample(self) -> Sample:
        """Rows, and what was dropped."""
        return self.spells.sample

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a group, cause and distinct time; the estimates of all causes and `event_free` add up to 1.

        Where an estimate is 0 it has no interval.
        """
        return self._stacked([e.time for e in self.estimates], level, counts=True)

    def at(self, times: Any, *, level: float | None = None) -> pd.DataFrame:
        """Return the incidence of every cause by some times; nothing (NaN) beyond a group's last time.

        Parameters
        ----------
        times : number or list of numbers
            In the unit of the duration.
        level : float, optional
            Level of the intervals; by default the one asked for when the estimates were made.
        """
        return self._stacked([asked(times)] * len(self.groups), level, counts=False)

    def _stacked(self, times: Sequence[Floats], level: float | None, *, counts: bool) -> pd.DataFrame:
        z = float(special.ndtri(0.5 + _check.level(self.level if level is None else level) / 2))
        parts = [
            self._part(g, k, times[g], z, counts=counts)
            for g in range(len(self.groups))
            for k in range(len(self.causes))
        ]
        return pd.concat(parts, ignore_index=True)

    def _part(self, g: int, k: int, times: Floats, z: float, *, counts: bool) -> pd.DataFrame:
        own = self.estimates[g]
        estimate = step(own.time, own.incidence[:, k], times, 0.0)
        error = np.sqrt(step(own.time, own.variance[:, k], times, 0.0))
        event_free = step(own.time, own.event_free, times, 1.0)
        unseen = (times > self.groups[g].last) & (event_free > 0)
        estimate[unseen] = error[unseen] = event_free[unseen] = np.nan
        log_sd = np.divide(error, estimate, out=np.zeros(len(times)), where=estimate > 0)
        low, high = intervals(estimate, log_sd, self.interval, z)
        columns = {"group": [self.groups[g].label] * len(times), "cause": [self.causes[k]] * len(times), "time": times}
        columns["at_risk"] = self._counted(at_risk(self.spells, g, times))
        if counts:
            columns["events"], columns["censored"] = self._counted(own.events[:, k]), self._counted(own.censored)
        columns |= {"estimate": estimate, "std_error": error, "conf_low": low, "conf_high": high}
        return pd.DataFrame(columns | {"event_free": event_free})

    def at_risk(self, times: Any) -> pd.DataFrame:
        """Return how many are at risk just before some times, and how many each cause, or censoring, had ended by then.

        At risk at t: entered before t, or at 0 where t is 0, and not gone before t. Events and censorings at t count
        as seen by then. Sums of weights where there are any.
        """
        when, parts = asked(times), []
        for g, (group, own) in enumerate(zip(self.groups, self.estimates, strict=True)):
            present = self._counted(at_risk(self.spells, g, when))
            gone = self._counted(step(own.time, np.cumsum(own.censored), when, 0.0))
            for k, cause in enumerate(self.causes):
                had = self._counted(step(own.time, np.cumsum(own.events[:, k]), when, 0.0))
                columns = {"group": [group.label] * len(when), "cause": [cause] * len(when), "time": when}
                columns |= {"at_risk": present, "cumulative_events": had, "cumulative_censored": gone}
                parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True)

    def _counted(self, values: Floats) -> NDArray[Any]:
        whole = bool((self.spells.weight == np.floor(self.spells.weight)).all())
        return values.round().astype(np.int64) if whole else values

    def glance(self) -> pd.DataFrame:
        """Return one row: rows used, and how many of them ended with an event of any cause or censored."""
        total = {name: [sum(getattr(g, name) for g in self.groups)] for name in ("rows", "events", "censored")}
        return pd.DataFrame(total)

    def header(self) -> list[str]:
        """Return what was counted per group, how long each was followed, and what a reader must know."""
        by = self.call.get("by")
        what = f"Cumulative incidence of {listed(self.causes)} ({self.event}), over {self.duration}"
        scale = f"{100 * self.level:.10g}% {self.interval} intervals"
        lines = [f"{what}{f', by {by}' if by else ''} ({scale})"]
        for g, group in enumerate(self.groups):
            lines.append(counts_in_words(self.spells, g, group, f"; {_followed(group)}"))
            unseen = [c for c, events in zip(self.causes, self.estimates[g].events.T, strict=True) if not events.any()]
            if unseen:
                lines.append(f"{group.name}: nobody had {listed(unseen)}; 0 there has no interval")
        lines += [*follow_up_in_words(self.groups), *entry_in_words(self.spells, self.groups), *self._naive()]
        return [*lines, *self.spells.notes, *self.sample.in_words()]

    def _naive(self) -> list[str]:
        """Return what 1 - Kaplan-Meier would make of the group and cause where it is farthest off in the end.

        The end is the last time that every group reaches: beyond, one row more or less moves it by anything.
        """
        worst, said, end = APART, [], min(g.last for g in self.groups)
        for group, own in zip(self.groups, self.estimates, strict=True):
            until = own.time <= end
            wrong = 1 - np.prod(1 - own.events[until] / own.at_risk[until, None], axis=0)
            right = own.incidence[until][-1] if until.any() else np.zeros(len(self.causes))
            k = int(np.argmax(wrong - right))
            if wrong[k] - right[k] > worst:
                worst = wrong[k] - right[k]
                where = f"{group.name}: " if len(self.groups) > 1 else ""
                said = [
                    f"1 - Kaplan-Meier would take other causes for censoring, and say {wrong[k]:.3f} for "
                    f"{right[k]:.3f} ({where}{self.causes[k]} by {write(float(end))}): it answers for a world in which "
                    "nothing else ends a spell"
                ]
        return said

    def _shown(self) -> pd.DataFrame:
        return self.at(round_times(max(g.last for g in self.groups)))


def counts_in_words(found: Spells, g: int, group: Group, more: str = "") -> str:
    """Return how many rows of a group each cause, or censoring, ended."""
    counts = np.bincount(found.event[found.group == g], minlength=len(found.causes) + 1)
    ended = ", ".join(f"{n} {cause}" for n, cause in zip(counts[1:], found.causes, strict=True))
    share = 100 * group.censored / group.rows
    return f"{group.name}: {group.rows} rows, {ended}, {group.censored} censored ({share:.0f} %){more}"


def _followed(group: Group) -> str:
    median = write(group.median_follow_up)
    return f"followed for {median} (median, reverse Kaplan-Meier), {write(group.last)} at most"


def cumulative_incidence(
    frame: pd.DataFrame,
    *,
    duration: Hashable,
    event: Hashable,
    censored: Any,
    by: Hashable | None = None,
    entry: Hashable | None = None,
    weights: Hashable | None = None,
    interval: str = "log-log",
    level: float = 0.95,
    missing: str = "drop",
) -> CumulativeIncidence:
    """How many programmes have stopped by some time, and how many have ended otherwise, as by a merger?

    Aalen and Johansen's estimate per group and cause. Who was merged cannot stop any more, and is no longer at risk;
    who is censored is taken for no different from those who are followed on. `1 - Kaplan-Meier` of one cause would
    take both for the same, and so say too much: what would happen if nothing else could end a spell.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per programme or patient.
    duration, event : str
        Columns: time until the end of the spell or of observation, and what ended it. Times that differ by rounding
        only are ties; an event comes before a censoring at the same time.
    censored : value of the event column
        What stands for no event; every other value is a cause.
    by : str, optional
        Column with the groups, each of which gets its estimates.
    entry : str, optional
        Column: when a row comes under observation (delayed entry); it is at risk after that time.
    weights : str, optional
        Column of case weights. Whole ones stand for as many rows; with others, standard errors are the infinitesimal
        jackknife's.
    interval : {"log-log", "log", "plain", "logit", "arcsine"}
        The scale of the incidence on which an interval is symmetric.
    level : float
        Level of the intervals, between 0 and 1.
    missing : {"drop", "raise"}
        Rows with a missing value are dropped and counted, or an error.

    Returns
    -------
    CumulativeIncidence

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question, all faults together.

    Notes
    -----
    F_k(t) is the sum over times up to t of S(just before) d_k / n, with S the Kaplan-Meier estimate of no event of any
    cause: exact under ties. The variance is Aalen's, as in cmprsk. Log-log intervals are symmetric in log(-log F), as
    in survfit; for those of 1 - F look at `survival_curves`.

    References
    ----------
    Aalen & Johansen 1978, https://www.jstor.org/stable/4615704; Aalen 1978, DOI 10.1214/aos/1176344247; Gray 1988, DOI
    10.1214/aos/1176350951.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.survival.competing import cumulative_incidence
    >>> programmes = pd.DataFrame({"years": [1, 2, 2, 3, 4, 5, 5, 6],
    ...                            "status": ["stopped", "merged", "stopped", "active", "merged", "stopped", "active",
    ...                                       "active"]})
    >>> found = cumulative_incidence(programmes, duration="years", event="status", censored="active")
    >>> found.at(5).round(3)[["cause", "at_risk", "estimate", "event_free"]]
         cause  at_risk  estimate  event_free
    0   merged        3     0.281       0.313
    1  stopped        3     0.406       0.313
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    faults = Faults()
    faults.ask(_check.one_of, "interval", interval, INTERVALS)
    faults.ask(_check.level, level)
    asks_for_censored(event, censored, faults)
    roles = SpellRoles(duration, event, entry=entry, weights=weights, by=by, censored=censored)
    found = spells(frame, roles, missing=missing, faults=faults)
    groups = groups_of(found, by)
    rows = [found.group == g for g in range(len(groups))]
    estimates = (
        aalen_johansen(found.entry[own], found.exit[own], found.event[own], found.weight[own], len(found.causes))
        for own in rows
    )
    return CumulativeIncidence(call, found, groups, tuple(estimates), interval, level)


def asks_for_censored(event: Hashable, censored: Any, faults: Faults) -> None:
    """Record a fault if nothing is said to stand for no event."""
    if censored is None:
        faults.say(f"censored=None: what stands for no event in {_check.show(event)} is not named; name that value")


def cause_of(found: Spells, cause: Any, faults: Faults) -> int:
    """Return the code of a cause, 0 with a fault if there is no event, or no cause of this name."""
    if not found.event.any():
        faults.add("event", found.event_name, "no event in any row", "without events nothing can be compared")
        return 0
    if cause not in found.causes:
        faults.add("cause", cause, f"no cause in {found.event_name}{_check.nearest(cause, found.causes)}")
        return 0
    return found.causes.index(cause) + 1
