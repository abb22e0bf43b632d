"""Restricted mean time: how long, on average, until the event or a common end, per group and compared."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats._core.events import restricted_mean
from implstats.design.spells import SpellRoles, Spells
from implstats.results import Result, Sample, frozen, intervals, p_values
from implstats.survival.groups import Group, entry_in_words, follow_up_in_words, groups_of, one_event, write

__all__ = ["RMST", "restricted_means", "rmst"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class RMST(Result):
    """Mean time up to tau until the event, in the unit of the duration: per group, and compared with a reference.

    Attributes
    ----------
    tau : float
        The end of what is averaged.
    labels : tuple
        The groups, the reference first.
    mean, variance : numpy.ndarray
        One value a group.
    level : float
        The level of the printed intervals.
    duration, event : str
        The columns.
    sample : Sample
    notes : tuple of str
    """

    tau: float
    labels: tuple[Any, ...]
    mean: Floats
    variance: Floats
    level: float
    duration: str
    event: str
    sample: Sample
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", frozen(self.mean, float))
        object.__setattr__(self, "variance", frozen(self.variance, float))

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return each group's restricted mean, then its difference from the reference, then its ratio to it.

        The ratio's interval and test are taken on the log scale; its standard error is on its own.
        """
        k, first = len(self.labels), self.labels[0]
        rest = list(self.labels[1:])
        estimate = [*self.mean, *(self.mean[1:] - self.mean[0]), *np.log(self.mean[1:] / self.mean[0])]
        relative = self.variance / self.mean**2
        variance = [*self.variance, *(self.variance[1:] + self.variance[0]), *(relative[1:] + relative[0])]
        center, error = np.array(estimate), np.sqrt(variance)
        asked = self.level if level is None else level
        normal = np.full(len(center), np.inf)
        low, high = intervals(center, error, normal, asked)
        with np.errstate(divide="ignore", invalid="ignore"):
            statistic = np.where(np.arange(len(center)) < k, np.nan, center / error)
        p_value = p_values(statistic, normal)
        ratios = slice(2 * k - 1, None)
        for ends in (center, low, high):
            ends[ratios] = np.exp(ends[ratios])
        error[ratios] *= center[ratios]
        return pd.DataFrame(
            {
                "quantity": ["rmst"] * k + ["difference"] * (k - 1) + ["ratio"] * (k - 1),
                "group": [*self.labels, *rest, *rest],
                "reference": [""] * k + [first] * (2 * k - 2),
                "time": self.tau,
                "estimate": center,
                "std_error": error,
                "statistic": statistic,
                "p_value": p_value,
                "conf_low": low,
                "conf_high": high,
            }
        )

    def glance(self) -> pd.DataFrame:
        """Return one row: tau, and the rows used."""
        return pd.DataFrame({"time": [self.tau], "rows": [self.sample.rows]})

    def header(self) -> list[str]:
        """Return what is averaged, up to when, on what, and what a reader must know."""
        head = f"Restricted mean time to {self.event}, in units of {self.duration}, up to tau = {write(self.tau)}"
        return [f"{head} ({100 * self.level:.10g}% intervals)", *self.notes, *self.sample.in_words()]


def restricted_means(
    call: dict[str, Any],
    found: Spells,
    groups: Sequence[Group],
    tau: float | None,
    reference: Any,
    level: float,
    faults: Faults,
) -> RMST:
    """Return every group's restricted mean up to a tau that all of them reach, the reference first."""
    labels = [g.label for g in groups]
    if reference is not None and reference not in labels:
        faults.add("reference", reference, f"no group has this name{_check.nearest(reference, labels)}")
    shortest = min(groups, key=lambda g: g.last)
    end = shortest.last if tau is None else faults.ask(_check.number, "tau", tau, above=0)
    if end is not None and end > shortest.last:
        whose = f"of {shortest.name}" if len(groups) > 1 else "of the last row"
        last = _check.show(shortest.last)
        faults.add("tau", tau, f"beyond the follow-up {whose}, which ends at {last}", f"choose tau up to {last}")
    if end is not None and not any(_events_by(g, end) for g in groups):
        fault = f"no event up to {write(end)}, so every mean is that time and nothing can be compared"
        argument, value = ("event", found.event_name) if tau is None else ("tau", tau)
        faults.add(argument, value, fault)
    faults.settle()
    ordered = sorted(groups, key=lambda g: reference is not None and g.label != reference)
    means = [restricted_mean(g.curve, float(end)) for g in ordered]
    notes = [*_notes(ordered, float(end)), *follow_up_in_words(ordered), *entry_in_words(found, ordered), *found.notes]
    return RMST(
        call,
        float(end),
        tuple(g.label for g in ordered),
        np.array([mean for mean, _ in means]),
        np.array([variance for _, variance in means]),
        level,
        found.duration,
        found.event_name,
        found.sample,
        tuple(notes),
    )


def _events_by(group: Group, end: float) -> float:
    return float(group.curve.events[group.curve.time <= end].sum())


def _notes(groups: Sequence[Group], end: float) -> list[str]:
    none = [g.name for g in groups if not _events_by(g, end)]
    if not none:
        return []
    return [
        f"no event up to tau: {', '.join(none)}; a standard error of 0 says that none was seen, not that none can be"
    ]


def rmst(
    frame: pd.DataFrame,
    *,
    duration: Hashable,
    event: Hashable,
    by: Hashable | None = None,
    tau: float | None = None,
    reference: Any = None,
    entry: Hashable | None = None,
    weights: Hashable | None = None,
    censored: Any = None,
    level: float = 0.95,
    missing: str = "drop",
) -> RMST:
    """How long until the event on average, up to a common end, and how do groups differ in that?

    The area under each group's Kaplan-Meier curve up to tau; differences and ratios need no proportional hazards.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per programme or patient.
    duration, event : str
        Columns: time until the event or the end of observation, and 1 for an event, 0 for none.
    by : str, optional
        Column with the groups.
    tau : float, optional
        The end of what is averaged, in the unit of `duration`; by default the last time that every group reaches.
    reference : value of the column `by`, optional
        The group that the others are compared with; by default the first.
    entry, weights : str, optional
        Columns: when a row comes under observation (delayed entry), and case weights.
    censored : value of the event column, optional
        What stands for no event, where the column does not hold 0 and 1.
    level : float
        Level of the intervals, between 0 and 1.
    missing : {"drop", "raise"}
        Rows with a missing value are dropped and counted, or an error.

    Returns
    -------
    RMST

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question: a tau beyond the follow-up of a group, no event.

    Notes
    -----
    Variance: the sum over event times t up to tau of [area from t to tau]^2 d / (n (n - d)), its term 0 where d = n;
    with fractional weights, the infinitesimal jackknife. Censoring may differ between groups, not depend on prognosis.

    References
    ----------
    Royston & Parmar 2013, DOI 10.1186/1471-2288-13-152; Uno et al. 2014, DOI 10.1200/JCO.2014.55.2208.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.survival.rmst import rmst
    >>> years = pd.DataFrame({"years": [2, 3, 4, 6, 1, 2, 2, 5], "stopped": [1, 0, 1, 0, 1, 1, 0, 1],
    ...                       "era": ["before"] * 4 + ["during"] * 4})
    >>> rmst(years, duration="years", event="stopped", by="era", tau=4).tidy()["estimate"].round(3).tolist()
    [3.5, 2.75, -0.75, 0.786]
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    faults = Faults()
    faults.ask(_check.level, level)
    roles = SpellRoles(duration, event, entry=entry, weights=weights, by=by, censored=censored)
    found = one_event(frame, roles, missing, faults)
    return restricted_means(call, found, groups_of(found, by), tau, reference, level, faults)
