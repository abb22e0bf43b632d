"""The days of every patient's treatment and of the change, read and checked: an end that is missing is not guessed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults, show
from implstats.design.frames import Codes, codes, first_rows, numeric, one_spelling, varying
from implstats.design.mixed import no_missing_ids
from implstats.reading.spells import EPOCH, day_of_each_row, days_or_nothing
from implstats.results import frozen, lock

__all__ = ["EPOCH", "Treatments", "times_of_rows", "treatments"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Treatments:
    """Patients and their days, counted from 1970-01-01.

    Attributes
    ----------
    patients : tuple
        Who they are; the row, where every row is a patient.
    labels : pandas.Index
        The caller's index.
    of_row : (rows,) integers
        Which patient each row belongs to.
    started, ended, changed : (patients,) numbers
        First and last day of treatment (that of the study, where none was known; nan without ends), day of the change.
    running : (patients,) bool
        Who had no end.
    """

    patients: tuple[Any, ...]
    labels: pd.Index
    of_row: Ints
    started: Floats
    ended: Floats
    changed: Floats
    running: NDArray[np.bool_]

    def __post_init__(self) -> None:
        lock(tuple(self.__dict__.values()))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        lock(tuple(state.values()))

    @property
    def ends_known(self) -> bool:
        """Whether there are ends at all."""
        return not np.isnan(self.ended).all()

    @property
    def until_change(self) -> Floats:
        """Days from the start to the change, negative if the change came first."""
        return frozen(self.changed - self.started)

    @cached_property
    def side(self) -> Ints:
        """Whether treatment lay before the change (0), across it (1) or after it (2); without ends, by its start."""
        across = (self.started < self.changed) & (self.ended > self.changed)
        return frozen(np.where(self.started >= self.changed, 2, np.where(across, 1, 0)), np.intp)

    @cached_property
    def exposure(self) -> Floats:
        """Share of treatment time that came after the change; nan where neither start nor end tells."""
        length = self.ended - self.started
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.clip((self.ended - self.changed) / length, 0.0, 1.0)
        share = np.where(length == 0, 0.0, share)
        return frozen(np.where(self.started >= self.changed, 1.0, share))


def treatments(
    frame: pd.DataFrame, start: str, end: str | None, change: Any, study_end: Any, patient: str | None, faults: Faults
) -> Treatments:
    """Return the treatments, or settle the faults of their dates."""
    if patient is not None:
        no_missing_ids(frame, faults, patient=patient)
        one_spelling(frame, "patient", patient, faults)
        faults.settle()
    started = days_or_nothing(frame, "start", start, faults)
    if (never := frame[start].isna()).any():
        gone = _check.rows(frame.index[never])
        faults.add("start", start, f"missing in {gone}", "give the date; who never started is in no cohort")
    ended = np.full(len(frame), np.nan) if end is None else days_or_nothing(frame, "end", end, faults)
    changed = _given_days(frame, "change", change, faults)
    running = np.zeros(len(frame), dtype=bool) if end is None else frame[end].isna().to_numpy()
    last = _ends_of_study(frame, study_end, end, running, faults)
    faults.settle()
    if (early := ended < started).any():
        faults.add("end", end, f"before {start} in {_check.rows(frame.index[early])}", "correct one of the two dates")
    ended = np.where(running, last, ended)
    if (late := running & (last < started)).any():
        rows = _check.rows(frame.index[late])
        faults.say(f"study_end={_word(study_end)}: before {start} in {rows}, which have no end; give a later day")
    coded = Codes(np.arange(len(frame)), frame.index.tolist())
    if patient is not None:
        coded = codes(frame[patient], ordered=False)
    given = {
        "start": (start, started),
        "end": (end, ended),
        "change": (change, changed),
        "study_end": (study_end, last),
    }
    for argument, (column, days) in given.items():
        if (other := varying(days, coded.of_row)).any():
            rows = _check.rows(frame.index[other])
            faults.say(f"{argument}={_word(column)}: changes within a patient ({rows}); give each patient one date")
    faults.settle()
    who = first_rows(coded.of_row)
    days_of = (started[who], ended[who], changed[who], running[who])
    return Treatments(tuple(coded.levels), frame.index, coded.of_row, *days_of)


def _word(given: Any) -> str:
    return show(given if isinstance(given, str) else str(given))


def _given_days(frame: pd.DataFrame, argument: str, given: Any, faults: Faults) -> Floats:
    """Return the day of each row, from a column or one date; which day a time is depends on its zone."""
    if getattr(given, "tzinfo", None) is None:
        return day_of_each_row(frame, argument, given, faults)
    faults.say(f"{argument}={_word(given)}: has a time zone; give its day, by .date()")
    return np.full(len(frame), np.nan)


def _ends_of_study(
    frame: pd.DataFrame, study_end: Any, end: str | None, running: NDArray[np.bool_], faults: Faults
) -> Floats:
    """Return the study's last day for every row; a missing end without one is a fault."""
    if study_end is not None:
        return _given_days(frame, "study_end", study_end, faults)
    if running.any():
        remedy = "say study_end=, the last day on which it is known who was still in treatment"
        faults.add("end", end, f"missing in {_check.rows(frame.index[running])}", remedy)
    return np.full(len(frame), np.nan)


def times_of_rows(frame: pd.DataFrame, time: str, found: Treatments, unit_days: float, faults: Faults) -> Floats:
    """Return the time of each row since its patient's start, from numbers or dates."""
    if pd.api.types.is_numeric_dtype(frame[time].dtype):
        return numeric(frame, "time", time, faults)
    days = days_or_nothing(frame, "time", time, faults)
    return np.asarray((days - found.started[found.of_row]) / unit_days)
