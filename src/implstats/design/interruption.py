"""A change of circumstances in the midst of treatment: a level and a slope that begin at each patient's own time."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats.design.frames import Codes, codes, numeric, varying
from implstats.design.time import UNIT_DAYS
from implstats.errors import DataError

__all__ = ["Interruption", "change_times", "interrupted"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

BOTH, WHOLLY = "seen before and after it", "treated wholly after it"


@dataclass(frozen=True, eq=False)
class Interruption:
    """Where the change of circumstances is written down, and who never saw anything else.

    Attributes
    ----------
    column : the column with each patient's time of the change.
    baseline : the time that treatment starts.
    after : codes of the cohorts whose whole treatment came after the change: what is theirs is the cohort's.
    """

    column: Hashable
    baseline: float
    after: frozenset[int]

    def columns(self, t: Floats, change: Floats, cohort: Ints) -> Floats:
        """Return 1 from the change on, and the treatment time since, (n, 2); no change (nan) is never."""
        own = ~np.isin(cohort, list(self.after))
        # What lies before the start of treatment was in force from its start.
        since = t - np.maximum(change, self.baseline)
        level = own & (t >= change)
        slope = np.where(own & (since > 0), since, 0.0)
        return np.column_stack([level.astype(float), slope])

    def names(self) -> list[str]:
        """Return the names of the two columns."""
        return [f"{self.column}[level]", f"{self.column}[slope]"]

    def formula(self, time: Hashable) -> str:
        """Return the two columns as R writes them."""
        return f"I({time} >= {self.column}) + pmax({time} - {self.column}, 0)"

    def read(self, frame: pd.DataFrame, cohort: Ints) -> Floats:
        """Return the times of new data; a cohort that was on the other side of the change in the fit is refused."""
        faults = Faults()
        change = np.full(len(frame), np.nan)
        if frame[self.column].notna().any():
            change = numeric(frame, "newdata", self.column, faults)
        wrong = (change <= self.baseline) != np.isin(cohort, list(self.after))
        if self.after and wrong.any():
            said = f"not on the side of the start that its cohort was on in the fit, {_check.rows(frame.index[wrong])}"
            faults.add("newdata", self.column, said, "give each row the cohort of its change")
        faults.settle()
        return change


def change_times(
    frame: pd.DataFrame, name: Hashable, time: Hashable, patient: Hashable, unit: str | None, faults: Faults
) -> Floats:
    """Return each row's time of its patient's change, counted as `time` is; nan where there was none."""
    dated, by_date = (pd.api.types.is_datetime64_any_dtype(frame[column].dtype) for column in (name, time))
    values = np.full(len(frame), np.nan)
    if by_date and not dated:
        said = f"no dates, but {_check.show(time)} holds dates"
        faults.add("interruption", name, said, "give the date of the change")
    elif by_date and unit in UNIT_DAYS:
        values = _counted(frame, name, time, patient, faults) / UNIT_DAYS[unit]
    elif not by_date:
        values = numeric(frame, "interruption", name, faults)
    if (other := varying(values, codes(frame[patient], ordered=False).of_row)).any():
        said = f"changes within a patient ({_check.rows(frame.index[other])})"
        faults.add("interruption", name, said, "give each patient one time, in all rows")
    return values


def _counted(frame: pd.DataFrame, name: Hashable, time: Hashable, patient: Hashable, faults: Faults) -> Floats:
    """Return the days from each patient's first visit to the change."""
    first = frame[time].groupby(frame[patient], observed=True).transform("min")
    try:
        return np.asarray((frame[name] - first).dt.total_seconds() / 86400.0, dtype=float)
    except TypeError:
        said = f"not in the time zone of {_check.show(time)}"
        faults.add("interruption", name, said, "give both the same, or none, with .dt.tz_localize")
        return np.full(len(frame), np.nan)


def interrupted(
    column: Hashable, t: Floats, change: Floats, baseline: float, cohorts: Codes, patients: Codes
) -> tuple[Interruption, str]:
    """Return the interruption of checked visits, and who it met in words.

    With several cohorts, those treated wholly after the change must be cohorts of their own, so that level and slope
    are what happened to patients in treatment; some patient must have been seen on both sides.
    """
    found = Interruption(column, baseline, _whole(column, change, baseline, cohorts, patients))
    met = _who_met_it(t, change, baseline, patients)
    said = f"interruption={_check.show(column)}"
    if BOTH not in met:
        remedy = "compare cohorts without it, by assign_cohorts"
        raise DataError(f"{said}: no patient has visits before and after the change; {remedy}")
    level, since = found.columns(t, change, cohorts.of_row).T
    if np.ptp(late := since[level > 0]) == 0:
        raise DataError(
            f"{said}: every visit after the change comes {_check.show(float(late[0]))} after it, so a level and a "
            "slope cannot be told apart; fit_mixed takes a column with the level alone"
        )
    words = ", ".join(f"{n} {who}" for who, n in met.items()).replace(" ", " patients ", 1)
    if WHOLLY in met and not found.after:
        words += "; its level is also how those treated wholly after it differed at their start"
    return found, f"interruption at {column}: {words}"


def _who_met_it(t: Floats, change: Floats, baseline: float, patients: Codes) -> dict[str, int]:
    """Return how many patients were seen on which side of the change, without those of nobody."""

    def any_of(rows: Bools) -> Bools:
        return np.asarray(np.bincount(patients.of_row[rows], minlength=len(patients.levels)) > 0)

    wholly, before, behind = any_of(change <= baseline), any_of(t < change), any_of(t >= change)
    both, only = before & behind & ~wholly, behind & ~before & ~wholly
    groups = {BOTH: both, WHOLLY: wholly, "seen after it only": only, "seen without it only": ~(both | wholly | only)}
    return {who: int(inside.sum()) for who, inside in groups.items() if inside.any()}


def _whole(column: Hashable, change: Floats, baseline: float, cohorts: Codes, patients: Codes) -> frozenset[int]:
    """Return the cohorts treated wholly after the change; one that holds others as well is refused."""
    if len(cohorts.levels) == 1:
        return frozenset()
    whole = change <= baseline
    after = []
    for c, name in enumerate(cohorts.levels):
        inside = cohorts.of_row == c
        if not whole[inside].any():
            continue
        if not whole[inside].all():
            who = _check.show(patients.levels[patients.of_row[inside & whole][0]])
            other = _check.show(patients.levels[patients.of_row[inside & ~whole][0]])
            raise DataError(
                f"interruption={_check.show(column)}: cohort {_check.show(name)} holds patients treated wholly after "
                f"the change ({who}) and others ({other}); give those a cohort of their own, or leave cohort= out"
            )
        after.append(c)
    return frozenset(after)
