"""The design of a growth model: its columns at any time and cohort, for new rows too, and which times it can answer."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats.design import rhs
from implstats.design.frames import numeric
from implstats.design.interruption import Interruption
from implstats.design.mixed import Design
from implstats.design.moderators import Moderators
from implstats.design.time import Log, Shape, Visits, listed
from implstats.errors import DataError
from implstats.results import frozen

__all__ = ["GrowthDesign", "cohort_columns", "crossed_with_cohorts", "random_columns", "since_name", "with_cohorts"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class GrowthDesign(Design):
    """The design of a growth model.

    Attributes
    ----------
    time, patient, cohort : columns.
    cohorts : the cohorts, the reference first; `EVERYBODY` alone where all patients are one.
    baseline : time that change is counted from.
    shape : the time basis.
    t, cohort_codes, patient_codes : (n,) time, cohort and patient of each row.
    adjust, average : the covariates' encoding, and their row of marginal means; None and empty without covariates.
    time_unit : unit of times that were read from dates, else None.
    times : the distinct times, if there are few.
    cells : (cohort, time) that hold no visit (visits as categories).
    notes : what the header must say about choices that were made.
    interruption : the change of circumstances in treatment, or None.
    change : (n,) when it came for each row's patient, nan for never; empty without one.
    moderators : the scores on which change may depend, or None.
    """

    time: Hashable = field(kw_only=True)
    patient: Hashable = field(kw_only=True)
    cohort: Hashable = field(kw_only=True)
    cohorts: tuple[Any, ...] = field(kw_only=True)
    baseline: float = field(kw_only=True)
    shape: Shape = field(kw_only=True)
    t: Floats = field(kw_only=True)
    cohort_codes: Ints = field(kw_only=True)
    patient_codes: Ints = field(kw_only=True)
    adjust: rhs.Encoding | None = field(kw_only=True)
    average: Floats = field(kw_only=True)
    time_unit: str | None = field(kw_only=True)
    times: tuple[float, ...] = field(kw_only=True)
    cells: frozenset[tuple[int, float]] = field(kw_only=True)
    notes: tuple[str, ...] = field(kw_only=True)
    interruption: Interruption | None = field(kw_only=True, default=None)
    change: Floats = field(kw_only=True, default_factory=lambda: np.zeros(0))
    moderators: Moderators | None = field(kw_only=True, default=None)

    @property
    def undisturbed(self) -> NDArray[np.bool_]:
        """Which rows tell of their cohort's own course: those before an interruption, and all without one."""
        if self.interruption is None:
            return frozen(np.ones(len(self.y), dtype=bool))
        return frozen(self.interruption.columns(self.t, self.change, self.cohort_codes)[:, 0] == 0)

    @cached_property
    def first_seen(self) -> Mapping[Any, float]:
        """The first time at which each cohort was seen undisturbed, nan for never."""
        return {c: float(seen.min()) if len(seen) else np.nan for c, seen in self._seen().items()}

    @cached_property
    def last_seen(self) -> Mapping[Any, float]:
        """The last such time."""
        return {c: float(seen.max()) if len(seen) else np.nan for c, seen in self._seen().items()}

    def _seen(self) -> dict[Any, Floats]:
        own = self.undisturbed
        return {c: self.t[own & (self.cohort_codes == k)] for k, c in enumerate(self.cohorts)}

    def rows(
        self,
        cohort: Ints,
        t: Floats,
        covariates: Floats | None = None,
        change: Floats | None = None,
        scores: Floats | None = None,
    ) -> Floats:
        """Return X for cohort codes and times.

        Covariates and scores default to their means, an interruption to never.
        """
        basis = self.shape.columns(t)
        dummies = cohort_columns(cohort, len(self.cohorts))
        if covariates is None:
            covariates = np.broadcast_to(self.average, (len(t), len(self.average)))
        X = with_cohorts(basis, dummies, covariates, crossed_with_cohorts(self.cells, self.shape, len(self.cohorts)))
        if self.moderators is not None:
            held = np.broadcast_to(self.moderators.centre, (len(t), len(self.moderators.centre)))
            X = np.column_stack([X, self.moderators.rows(held if scores is None else scores, basis)])
        if self.interruption is None:
            return X
        never = np.full(len(t), np.nan)
        return np.column_stack([X, self.interruption.columns(t, never if change is None else change, cohort)])

    def fixed_rows(self, frame: pd.DataFrame) -> Floats:
        """Return X for new data."""
        cohort, t = self.read(frame)
        covariates = None if self.adjust is None else self.adjust.apply(frame)
        change = None if self.interruption is None else self.interruption.read(frame, cohort)
        scores = None if self.moderators is None else self.moderators.encoding.apply(frame)
        return self.rows(cohort, t, covariates, change, scores)

    def random_rows(self, frame: pd.DataFrame, term: int) -> Floats:
        """Return Z of one term for new data."""
        _, t = self.read(frame)
        return random_columns(self.terms[term].effects, self, t)

    def read(self, frame: pd.DataFrame) -> tuple[Ints, Floats]:
        """Return cohort codes and times of new data."""
        faults = Faults()
        covariates = () if self.adjust is None else self.adjust.columns
        named = [self.time, *([self.cohort] if len(self.cohorts) > 1 else []), *covariates]
        named += [] if self.moderators is None else self.moderators.columns
        for name in [*named, *([] if self.interruption is None else [self.interruption.column])]:
            if name not in frame.columns:
                faults.say(f"newdata: no column {_check.show(name)}{_check.nearest(name, frame.columns)}")
        faults.settle()
        if pd.api.types.is_datetime64_any_dtype(frame[self.time].dtype):
            unit = f"{self.time_unit} since each patient's first visit" if self.time_unit else "numbers"
            faults.add("newdata", self.time, "dates, not numbers", f"give {unit}")
            faults.settle()
        t = numeric(frame, "newdata", self.time, faults)
        if np.isnan(t).any() and not faults:
            gone = _check.rows(frame.index[np.isnan(t)])
            faults.add("newdata", self.time, f"missing in {gone}", "drop these rows first")
        faults.settle()
        if len(self.cohorts) == 1:
            self.seen_at(np.unique(t).tolist(), str(self.time), [0])
            return np.zeros(len(t), dtype=np.intp), t
        known = {c: k for k, c in enumerate(self.cohorts)}
        cohort = np.array([known.get(c, -1) for c in frame[self.cohort].tolist()], dtype=np.intp)
        if (cohort < 0).any():
            wrong = frame[self.cohort][cohort < 0].iloc[0]
            raise DataError(f"cohort={_check.show(wrong)}: not in the fit{_check.nearest(wrong, self.cohorts)}")
        for c in range(len(self.cohorts)):
            self.seen_at(np.unique(t[cohort == c]).tolist(), str(self.time), [c])
        return cohort, t

    def seen_at(self, times: Sequence[float], argument: str, cohorts: Sequence[int]) -> None:
        """Refuse times that the shape has no answer for: no visit then, none of a cohort, or below 0 on a log."""
        for t in times:
            said = f"{argument}={_check.show(t)}"
            if isinstance(self.shape, Log) and t < 0:
                raise DataError(f"{said}: below zero; shape='log' counts time from the start of treatment")
            if not isinstance(self.shape, Visits):
                continue
            if t not in self.shape.times:
                raise DataError(f"{said}: no visit at this time; there are {listed(self.shape.times)}")
            gone = [self.cohorts[c] for c in cohorts if (c, t) in self.cells]
            if gone:
                raise DataError(
                    f"{said}: cohort {_check.show(gone[0])} has no visit at this time; "
                    f"its last is at {_check.show(self.last_seen[gone[0]])}"
                )


def cohort_columns(cohort: Ints, count: int) -> Floats:
    """Return a column of 0 and 1 for every cohort but the reference."""
    return np.asarray(cohort[:, None] == np.arange(1, count), dtype=float)


def crossed_with_cohorts(cells: frozenset[tuple[int, float]], shape: Shape, cohorts: int) -> list[tuple[int, int]]:
    """Return the (basis column, cohort) pairs that have a column; a cell without visits has none."""
    if not isinstance(shape, Visits):
        width = shape.columns(np.zeros(1)).shape[1]
        return [(k, c) for k in range(width) for c in range(1, cohorts)]
    pairs = []
    for k, time in enumerate(shape.times[1:]):
        seen = [c for c in range(cohorts) if (c, time) not in cells]
        # The first cohort that was seen at this time carries the time's own column.
        pairs += [(k, c) for c in seen[1:]]
    return pairs


def with_cohorts(basis: Floats, dummies: Floats, covariates: Floats, crossed: Sequence[tuple[int, int]]) -> Floats:
    """Return X: constant, time, cohorts, covariates, and time x cohort."""
    n, k = basis.shape
    c, a = dummies.shape[1], covariates.shape[1]
    X = np.empty((n, 1 + k + c + a + len(crossed)), order="F")
    X[:, 0] = 1.0
    X[:, 1 : 1 + k] = basis
    X[:, 1 + k : 1 + k + c] = dummies
    X[:, 1 + k + c : 1 + k + c + a] = covariates
    for j, (column, cohort) in enumerate(crossed):
        np.multiply(basis[:, column], dummies[:, cohort - 1], out=X[:, 1 + k + c + a + j])
    return X


def random_columns(effects: Sequence[str], design: GrowthDesign, t: Floats) -> Floats:
    """Return the columns of Z at times t; change since the baseline is zero at the baseline."""
    slope = design.shape.slope(t)
    name = design.shape.slope_name(str(design.time))
    columns = {since_name(design): slope - _slope_at_baseline(design), "(Intercept)": np.ones(len(t)), name: slope}
    return np.column_stack([columns[e] for e in effects])


def _slope_at_baseline(design: GrowthDesign) -> float:
    return float(design.shape.slope(np.array([design.baseline]))[0])


def since_name(design: GrowthDesign) -> str:
    """Return the name of time since the baseline, as a random slope sees it."""
    name, start = design.shape.slope_name(str(design.time)), _slope_at_baseline(design)
    return name if start == 0 else f"({name} - {start:g})"
