"""Person-period rows: who was at risk in which period, alike rows counted together; and the baseline over periods."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats.design.spells import Spells
from implstats.design.time import NaturalSpline, Shape, resolve
from implstats.errors import DataError
from implstats.results import frozen

__all__ = ["BASELINES", "Baseline", "PersonPeriods", "baseline_of", "check_options", "person_periods"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

BASELINES = ("free", "polynomial", "spline")
DEGREE, SPLINE_DF = 2, 3
MOST_CELLS = 20_000_000


@dataclass(frozen=True, eq=False, slots=True)
class PersonPeriods:
    """Binomial counts: rows that are alike in terms and cluster are one kind, counted in every period.

    Attributes
    ----------
    X : (m, p) terms of every kind.
    cluster : (m,) cluster of every kind, or None.
    kind_of_row : (n,) kind of each row of the spells.
    kind, period : (r,) of every count.
    at_risk, events : (r,) sums of weights.
    """

    X: Floats
    cluster: Ints | None
    kind_of_row: Ints
    kind: Ints
    period: Ints
    at_risk: Floats
    events: Floats

    @property
    def periods(self) -> Ints:
        """The periods in which anybody was at risk."""
        return frozen(np.unique(self.period))

    def by_period(self) -> tuple[Floats, Floats]:
        """Return how many were at risk in each of the periods, and how many had the event."""
        where = np.searchsorted(self.periods, self.period)
        return _sums(where, self.at_risk), _sums(where, self.events)


def _sums(code: Ints, weight: Floats, size: int = 0) -> Floats:
    return np.asarray(np.bincount(code, weight, minlength=size), dtype=float)


def person_periods(found: Spells, entry_name: Hashable | None, faults: Faults) -> PersonPeriods:
    """Return the counts; times that are no whole numbers, or more periods than can be counted, are refused."""
    for argument, name, times in (("duration", found.duration, found.exit), ("entry", entry_name, found.entry)):
        if (odd := times != np.rint(times)).any():
            fault = f"not a whole number of periods in {_check.rows(found.labels[odd])}"
            faults.add(argument, name, fault, "number the periods from 1: numpy.ceil of a time is its period")
    faults.settle()
    entry, exit_, happened = found.entry.astype(np.intp), found.exit.astype(np.intp), found.event > 0
    own = found.X if found.cluster is None else np.column_stack([found.cluster, found.X])
    kinds, of_row = np.zeros((1, 0)), np.zeros(len(exit_), dtype=np.intp)
    if own.shape[1]:
        kinds, of_row = np.unique(own, axis=0, return_inverse=True)
        of_row = of_row.ravel()
    size = len(kinds), int(exit_.max()) + 2
    if size[0] * size[1] > MOST_CELLS:
        raise DataError(
            f"duration={_check.show(found.duration)}: {size[1] - 2} periods for {size[0]} kinds of rows are too "
            "many to count; count time in longer periods, or leave time continuous"
        )

    def counted(at: Ints, weight: Floats) -> Floats:
        return _sums(of_row * size[1] + at, weight, size[0] * size[1]).reshape(size)

    ones = np.ones(len(exit_))
    present = np.cumsum(counted(entry + 1, ones) - counted(exit_ + 1, ones), axis=1) > 0
    kind, period = np.nonzero(present)
    at_risk = np.cumsum(counted(entry + 1, found.weight) - counted(exit_ + 1, found.weight), axis=1)[present]
    events = counted(exit_, found.weight * happened)[present]
    # Sums of weights that cancel leave rounding behind.
    at_risk = np.where(np.isclose(at_risk, events, rtol=1e-12, atol=0), events, at_risk)
    cluster = None if found.cluster is None else kinds[:, 0].astype(np.intp)
    X = kinds if found.cluster is None else kinds[:, 1:]
    return PersonPeriods(X, cluster, of_row, kind, period, at_risk, events)


@dataclass(frozen=True)
class Baseline:
    """How the hazard of the reference runs over the periods.

    Attributes
    ----------
    kind : free (a parameter for every period), polynomial or spline.
    time : name of the duration.
    periods : those that the columns are for.
    certain : period -> hazard, of a free baseline, where nobody (0) or everybody (1) at risk had the event. A parameter
        there would be infinite; the likelihood of these periods is 1 whatever the terms are, so they are left out.
    degree : of the polynomial.
    spline : the natural spline, or None.
    """

    kind: str
    time: str
    periods: tuple[int, ...]
    certain: Mapping[int, float] = field(default_factory=dict)
    degree: int = 0
    spline: Shape | None = None

    def columns(self, period: NDArray[Any]) -> Floats:
        """Return the baseline's columns at some periods."""
        t = np.asarray(period, dtype=float)
        if self.kind == "free":
            return np.asarray(t[:, None] == np.array(self.periods), dtype=float)
        if self.spline is not None:
            return np.column_stack([np.ones(len(t)), self.spline.columns(t)])
        return np.asarray(t[:, None] ** np.arange(self.degree + 1))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        if self.kind == "free":
            return tuple(f"{self.time}[{k}]" for k in self.periods)
        if self.spline is not None:
            return ("(Intercept)", *self.spline.names(self.time))
        powers = (self.time if k == 1 else f"{self.time}^{k}" for k in range(1, self.degree + 1))
        return ("(Intercept)", *powers)

    def known(self, period: NDArray[Any]) -> Floats:
        """Return the hazard of periods in which it is certain, NaN elsewhere."""
        return np.array([self.certain.get(int(k), np.nan) for k in period], dtype=float)

    def in_words(self) -> str:
        """Return what the baseline is."""
        if self.kind == "free":
            return f"a parameter for each of {len(self.periods)} periods"
        if self.spline is not None:
            return f"a natural spline of {self.time} with {len(self.names) - 1} df"
        return f"a polynomial of {self.time}, degree {self.degree}" if self.degree else "the same in every period"

    def certain_in_words(self) -> list[str]:
        """Return what is certain, if anything is."""
        lines = []
        for hazard, what in ((0, "no event"), (1, "only events")):
            which = [str(k) for k, h in self.certain.items() if h == hazard]
            if which:
                listed = ", ".join(which[:8]) + (", ..." if len(which) > 8 else "")
                lines.append(
                    f"{what} in period{'s' if len(which) > 1 else ''} {listed} of {self.time}: the hazard there is "
                    f"{hazard}, without a standard error, and says nothing about the terms"
                )
        return lines


def check_options(baseline: Any, degree: Any, df: Any, faults: Faults) -> None:
    """Record options of another baseline, and numbers that no baseline can have."""
    for argument, value, own, least in (("degree", degree, "polynomial", 0), ("df", df, "spline", 2)):
        if value is not None and baseline != own:
            faults.add(argument, value, f"goes with baseline={own!r}", "leave it out")
        elif value is not None:
            remedy = "baseline='polynomial', degree=1 is a straight line" if argument == "df" else ""
            faults.ask(_check.whole, argument, value, least=least, remedy=remedy)


def baseline_of(kind: str, degree: Any, df: Any, found: Spells, counts: PersonPeriods) -> Baseline:
    """Return the baseline with what it takes from the data; one that these cannot carry is refused."""
    periods = tuple(counts.periods.tolist())
    if kind == "free":
        return _free(found, counts)
    if kind == "polynomial":
        degree = DEGREE if degree is None else degree
        if degree >= len(periods):
            raise DataError(f"degree={degree}: {len(periods)} periods carry at most degree={len(periods) - 1}")
        return Baseline(kind, found.duration, periods, degree=degree)
    spline = resolve(NaturalSpline(SPLINE_DF if df is None else df), np.array(periods, dtype=float))
    return Baseline(kind, found.duration, periods, spline=spline)


def _free(found: Spells, counts: PersonPeriods) -> Baseline:
    at_risk, events = counts.by_period()
    share = np.where(events >= at_risk, 1.0, np.where(events == 0, 0.0, np.nan))
    own = np.isnan(share)
    if not own.any():
        raise DataError(
            f"duration={_check.show(found.duration)}: in every period nobody or everybody at risk had the event, so "
            "that no hazard can be estimated; say baseline='polynomial', or make periods longer or shorter"
        )
    certain = dict(zip(counts.periods[~own].tolist(), share[~own].tolist(), strict=True))
    return Baseline("free", found.duration, tuple(counts.periods[own].tolist()), certain)
