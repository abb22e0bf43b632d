"""Rates of events per exposure (turnover, incidents, complaints, absence): of each cohort, and against each other."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats._core.poisson import rate_interval, ratio_interval
from implstats.design.frames import codes, drop_missing, numeric
from implstats.design.mixed import no_missing_ids
from implstats.design.ratings import one_column_each
from implstats.errors import DataError
from implstats.rates.spread import Counts, LogRates, log_rates
from implstats.results import Result, Sample, frozen

__all__ = ["RateComparison", "compare_rates"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

METHODS = ("auto", "exact", "quasi", "negative-binomial", "robust")
_WORDS = {
    "exact": "exact intervals, which take events as independent of each other",
    "quasi": "quasi-Poisson intervals (log scale, variance = dispersion x mean)",
    "negative-binomial": "negative binomial intervals (log scale, variance = mean + alpha mean^2)",
    "robust": "cluster-robust intervals (log scale)",
    "wider": "the wider of exact and quasi-Poisson ends",
}


@dataclass(frozen=True, eq=False, repr=False)
class RateComparison(Result):
    """Events per exposure of every cohort, and their ratio to the reference's.

    Attributes
    ----------
    names : tuple of str
        The columns of events and exposure.
    cohorts : tuple
        The cohorts, the reference first.
    events, exposure, rows : numpy.ndarray
        Of each cohort: sums, and how many rows they are sums of.
    dispersion : float
        Pearson's chi-square of the rows / its degrees of freedom; nan where every cohort is one row. 1 if events are
        independent at one rate.
    method : str
        How intervals are made: "exact", "quasi", "negative-binomial", "robust", or "wider" (of the first two).
    logs : LogRates or None
        What intervals on the log scale are made of.
    per : float
        Rates are per so many units of exposure.
    level : float
    sample : Sample
    notes : tuple of str
    """

    names: tuple[str, str]
    cohorts: tuple[Any, ...]
    events: Floats
    exposure: Floats
    rows: Ints
    dispersion: float
    method: str
    logs: LogRates | None
    per: float
    level: float
    sample: Sample
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("events", "exposure", "rows"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return each cohort's rate, then its ratio to the reference's; `bounds` says at which sides it is bounded.

        Without events in one cohort a ratio has one bound, without any in both there is no ratio.
        """
        level = self.level if level is None else _check.level(level)
        rows = [self._row(c, None, level) for c in range(len(self.cohorts))]
        return pd.DataFrame([*rows, *(self._row(c, 0, level) for c in range(1, len(self.cohorts)))])

    def _row(self, c: int, against: int | None, level: float) -> dict[str, Any]:
        own, contrast = (float(self.events[c]), float(self.exposure[c])), np.zeros(len(self.cohorts))
        contrast[c] = 1.0
        if against is None:
            unit, reference, none = self.per, "", False
            estimate, ends = own[0] / own[1], rate_interval(*own, level)
            bounds = "both" if own[0] else "upper"
        else:
            contrast[against] = -1.0
            other = float(self.events[against]), float(self.exposure[against])
            unit, reference, none = 1.0, self.cohorts[against], not own[0] and not other[0]
            estimate = math.nan if none else (own[0] / own[1]) / (other[0] / other[1]) if other[0] else math.inf
            ends = ratio_interval(*own, *other, level)
            bounds = {(0, 0): "none", (1, 0): "lower", (0, 1): "upper"}.get((own[0] > 0, other[0] > 0), "both")
        method = "exact"
        if self.logs is not None and bounds == "both":
            method = self.method
            estimate, low, high = self.logs.interval(contrast, level)
            ends = (min(low, ends[0]), max(high, ends[1])) if method == "wider" else (low, high)
        return {
            "quantity": "rate" if against is None else "ratio",
            "cohort": self.cohorts[c],
            "reference": reference,
            "events": int(own[0]),
            "exposure": own[1],
            "estimate": unit * estimate,
            "conf_low": unit * ends[0],
            "conf_high": unit * ends[1],
            "bounds": bounds,
            "method": method,
        }

    def glance(self) -> pd.DataFrame:
        """Return one row: rows, events, exposure, dispersion, and how intervals are made."""
        return pd.DataFrame(
            {
                "rows": [int(self.rows.sum())],
                "events": [int(self.events.sum())],
                "exposure": [float(self.exposure.sum())],
                "dispersion": [self.dispersion],
                "method": [self.method],
            }
        )

    def header(self) -> list[str]:
        """Return what is counted per what, how intervals are made and why, and what zeros mean."""
        events, exposure = self.names
        unit = exposure if self.per == 1 else f"{_check.show(self.per)} of {exposure}"
        lines = [
            f"Rates of {events} per {unit}, and their ratio to the rate of {self.cohorts[0]} "
            f"({100 * self.level:.10g}% intervals)",
            f"{_WORDS[self.method]}{self.logs.more if self.logs else ''}",
            *self.notes,
        ]
        none = [str(name) for name, n in zip(self.cohorts, self.events, strict=True) if n == 0]
        if none:
            tail = 100 * (1 + self.level) / 2
            lines.append(
                f"no events in {', '.join(none)}: what is left is one bound of {tail:.10g}% confidence, exact for "
                "independent events; that none was seen does not say that none can be"
            )
        return [*lines, *self.sample.in_words()]


def _chosen(counts: Counts, method: str) -> tuple[str, list[str]]:
    """Return how intervals are made, and what is said of overdispersion."""
    dispersion, df = counts.dispersion()
    if df < 1:
        why = "one row a cohort" if counts.events.any() else "no event was seen"
        return ("exact" if method == "auto" else method), [f"{why}: whether events come in clusters cannot be seen"]
    over = dispersion > 1
    line = f"dispersion of rows {dispersion:.3g} on {df} df (1: independent events at one rate in each cohort)"
    if method == "auto":
        if counts.cluster is not None:
            return "robust", [line]
        line += ": exact intervals would be too narrow" if over else ": no more than independent events have"
        return ("wider" if over else "exact"), [line]
    if method == "exact" and over:
        line += ": if rows are units that differ, exact intervals are too narrow; method='quasi' widens them"
    if method == "quasi" and not over:
        line += ": taken as 1"
    return method, [line]


def _several_clusters(counts: Counts, cluster: Hashable | None) -> None:
    """Refuse cohorts whose events are all in one cluster: its residuals add up to 0, and so would the variance."""
    assert counts.cluster is not None
    for c, name in enumerate(counts.cohorts):
        inside = counts.cohort == c
        if counts.events[inside].any() and len(np.unique(counts.cluster[inside])) < 2:
            raise DataError(
                f"cluster={_check.show(cluster)}: {_check.show(name)} has one cluster only, which shows no spread "
                "between clusters; leave cluster= out, and say in words that its rows hang together"
            )


def _counted(frame: pd.DataFrame, call: Mapping[str, Any]) -> tuple[Counts, Sample]:
    """Return the rows that are used; every fault of the columns is reported together."""
    _check.frame(frame)
    faults = Faults()
    roles = {k: call[k] for k in ("events", "exposure", "cohort", "cluster")}
    _check.columns(frame, faults, **roles)
    for argument, allowed in (("method", METHODS), ("missing", ("drop", "raise"))):
        faults.ask(_check.one_of, argument, call[argument], allowed)
    faults.ask(_check.number, "per", call["per"], above=0)
    faults.ask(_check.level, call["level"])
    if call["cluster"] is None and call["method"] == "robust":
        faults.add("method", "robust", "nothing says which rows hang together", "name the column in cluster=")
    if call["cluster"] is not None and call["method"] not in ("auto", "robust"):
        faults.add("cluster", call["cluster"], f"method={call['method']!r} does not use it", "say method='robust'")
    faults.settle()
    one_column_each({name: column for name, column in roles.items() if column is not None}, faults)
    faults.settle()
    events, exposure = (numeric(frame, k, call[k], faults) for k in ("events", "exposure"))
    for argument, values, bad, fault, remedy in (
        ("events", events, (events < 0) | (events != np.floor(events)), "no count", "give whole numbers of 0 or more"),
        ("exposure", exposure, exposure <= 0, "not above 0", "leave out rows in which nothing could happen"),
    ):
        bad &= ~np.isnan(values)
        if bad.any():
            faults.add(argument, call[argument], f"{fault} in {_check.rows(frame.index[bad])}", remedy)
    ids = {} if call["cluster"] is None else {"cluster": call["cluster"]}
    no_missing_ids(frame, faults, **ids)
    faults.settle()
    masks = {f"{call[k]} missing": frame[call[k]].isna().to_numpy() for k in ("events", "exposure", "cohort")}
    kept, dropped = drop_missing(masks, call["missing"], frame.index)
    if not kept.any():
        raise DataError(f"events={_check.show(call['events'])}: no row has all its columns; {', '.join(dropped)}")
    coded = codes(frame.loc[kept, call["cohort"]])
    levels, reference = coded.levels, call["reference"]
    if len(levels) < 2:
        only = _check.show(levels[0])
        raise DataError(f"cohort={_check.show(call['cohort'])}: one cohort only ({only}); a comparison takes two")
    if reference not in levels:
        raise DataError(f"reference={_check.show(reference)}: no such cohort{_check.nearest(reference, levels)}")
    order = sorted(range(len(levels)), key=lambda k: levels[k] != reference)
    place = np.argsort(order)[coded.of_row]
    cluster = None if call["cluster"] is None else codes(frame.loc[kept, call["cluster"]]).of_row
    cohorts = tuple(levels[k] for k in order)
    counts = Counts(events[kept], exposure[kept], place, cluster, cohorts)
    return counts, Sample(len(frame), int(kept.sum()), dropped)


def compare_rates(
    frame: pd.DataFrame,
    *,
    events: str,
    exposure: str,
    cohort: str,
    reference: Any,
    cluster: Hashable | None = None,
    method: str = "auto",
    per: float = 1,
    level: float = 0.95,
    missing: str = "drop",
) -> RateComparison:
    """How often does something happen in each cohort, per exposure, and how many times as often as in the reference?

    Staff who leave per staff-year, incidents per 1,000 bed-days, complaints per patient, days of absence per day due.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per cohort; or several, one per unit, month or team.
    events, exposure, cohort : str
        Columns: a count, how much time (or how many people) it was counted over, and the cohort.
    reference : value of the cohort column
        The cohort that the others are compared with.
    cluster : str, optional
        Column with what hangs together (the team whose months are rows); two or more of them in every cohort.
    method : {"auto", "exact", "quasi", "negative-binomial", "robust"}
        "exact": Poisson, of sums; a ratio from the binomial given both counts. The others need several rows per cohort
        and take the variance between them into account: "quasi" multiplies it by Pearson's dispersion (never below 1),
        "negative-binomial" lets rates differ between rows, "robust" needs `cluster`. "auto": exact for one row a
        cohort and where the dispersion is at most 1, else the wider of exact and quasi ends; robust with `cluster`.
    per : float
        Rates are per so many units of exposure (1000).
    level : float
        Level of the intervals.
    missing : {"drop", "raise"}
        Rows with a missing value are dropped and counted, or an error.

    Returns
    -------
    RateComparison

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question, all faults together.
    ConvergenceError
        No maximum of the negative binomial likelihood.

    Notes
    -----
    Rates are sums of events over sums of exposure (not under "negative-binomial", which weighs rows otherwise).
    Intervals beside the exact ones are on the log scale, with t of the residual or clusters' degrees of freedom.
    Without events in a cohort they are exact whatever the method, and bounded at one side. Cohorts that follow each
    other differ in calendar time as well.

    References
    ----------
    Garwood 1936, DOI 10.1093/biomet/28.3-4.437; Przyborowski & Wilenski 1940, DOI 10.1093/biomet/31.3-4.313; of
    overdispersion: McCullagh & Nelder 1989, DOI 10.1201/9780203753736.

    Examples
    --------
    >>> import pandas as pd
    >>> import implstats as ist
    >>> staff = pd.DataFrame({"era": ["before", "during"], "left": [4, 11], "years": [52.5, 48.0]})
    >>> found = ist.compare_rates(staff, events="left", exposure="years", cohort="era", reference="before")
    >>> found.tidy()[["quantity", "cohort", "estimate", "conf_low", "conf_high"]].round(3)
      quantity  cohort  estimate  conf_low  conf_high
    0     rate  before     0.076     0.021      0.195
    1     rate  during     0.229     0.114      0.410
    2    ratio  during     3.008     0.891     12.952
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    counts, sample = _counted(frame, call)
    chosen, notes = _chosen(counts, method)
    dispersion, df = counts.dispersion()
    if chosen != "exact" and df < 1 and counts.events.any():
        raise DataError(f"method={method!r}: one row a cohort tells no variance between rows; say method='exact'")
    if chosen == "robust":
        _several_clusters(counts, cluster)
    logs = None
    if chosen != "exact" and counts.events.any():
        logs = log_rates(counts, "quasi" if chosen == "wider" else chosen)
    return RateComparison(
        call,
        (str(events), str(exposure)),
        counts.cohorts,
        counts.of_cohort(counts.events),
        counts.of_cohort(counts.exposure),
        np.bincount(counts.cohort, minlength=len(counts.cohorts)),
        dispersion,
        chosen,
        logs,
        float(per),
        level,
        sample,
        tuple(notes),
    )
