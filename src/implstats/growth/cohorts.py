"""The answers about cohorts read off a growth design: its times, who was seen when, and what its means are made of."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implstats import _check
from implstats.design import GrowthDesign
from implstats.design.time import Visits
from implstats.errors import DataError
from implstats.growth.answers import CohortAnswers
from implstats.growth.fixed import FixedEffects

__all__ = ["CohortModel"]

Floats = NDArray[np.float64]


class CohortModel(FixedEffects, CohortAnswers):
    """A fitted growth model or MMRM: both have cohorts x time as their fixed effects."""

    design: GrowthDesign

    @property
    def time(self) -> Hashable:
        """The time column."""
        return self.design.time

    @property
    def patient(self) -> Hashable:
        """The patient column."""
        return self.design.patient

    @property
    def cohort(self) -> Hashable:
        """The cohort column."""
        return self.design.cohort

    @property
    def cohorts(self) -> tuple[Any, ...]:
        """The cohorts, the reference first."""
        return self.design.cohorts

    @property
    def baseline(self) -> float:
        """The time that change is counted from."""
        return self.design.baseline

    @property
    def times(self) -> list[float]:
        """The observed times, empty if there are too many to be visits."""
        return list(self.design.times)

    @property
    def time_range(self) -> tuple[float, float]:
        """The first and the last observed time."""
        return float(self.design.t.min()), float(self.design.t.max())

    @property
    def last_seen(self) -> dict[Any, float]:
        """The last observed time of each cohort."""
        return dict(self.design.last_seen)

    def _mean_rows(self, cohort: int, times: Sequence[float]) -> Floats:
        return self.design.rows(np.full(len(times), cohort), np.asarray(times, dtype=float))

    def _times(self, at: Any, *, later: bool) -> list[float]:
        design = self.design
        if at is None:
            times = list(design.times) or [design.baseline, self.time_range[1]]
            if later:
                times = [t for t in times if not any(when == t for _, when in design.cells)]
            return [t for t in times if t > design.baseline] if later else times
        times = _check.at(at)
        if later and design.baseline in times:
            raise DataError(f"at={_check.show(design.baseline)}: this is the baseline; nothing has changed yet")
        design.seen_at(times, "at", range(len(self.cohorts)))
        return times

    def extrapolated(self, cohort: int, time: float) -> bool:
        """Return whether a time lies beyond what was observed of a cohort (its number, the reference is 0)."""
        name = self.cohorts[cohort]
        return not self.design.first_seen[name] <= time <= self.design.last_seen[name]

    def _seen(self, cohort: int, time: float) -> int:
        design = self.design
        if isinstance(design.shape, Visits):
            return int(np.sum((design.cohort_codes == cohort) & (design.t == time) & design.undisturbed))
        return design.sample.patients[self.cohorts[cohort]]

    def _empty(self, cohort: int, time: float) -> bool:
        return (cohort, time) in self.design.cells

    def _baseline_values(self, cohort: int) -> tuple[Floats, Floats]:
        design = self.design
        rows = (design.cohort_codes == cohort) & (design.t == design.baseline)
        weight = np.ones(rows.sum()) if design.weight is None else design.weight[design.patient_codes[rows]]
        return np.asarray(design.y[rows]), weight

    def improvement_rows(self, at: Sequence[float]) -> list[Floats]:
        """Return, per cohort, the contrasts (times, p) that give its improvement since the baseline."""
        return [self._sign() * self._change_rows(c, self._times(at, later=True)) for c in range(len(self.cohorts))]

    def times_in_words(self) -> str:
        """Return the shape of time and where change is counted from."""
        design = self.design
        change = f"change is counted from {self.time} {_check.show(self.baseline)}"
        if design.sample.added:
            change += f" (column {_check.show(self.call.get('baseline'))})"
        if self.better:
            change += f"; {self.better} is better"
        words = f"{self.time}: {design.shape.word}"
        if isinstance(design.shape, Visits):
            words += f" ({', '.join(_check.show(t) for t in design.shape.times)})"
        return f"{words}; {change}"
