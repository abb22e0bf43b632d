"""One row per patient, with a cohort: what cohorts are compared on before anything is said about outcomes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats.design.frames import codes, one_spelling

__all__ = ["People", "people"]

Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class People:
    """Patients and their cohorts.

    Attributes
    ----------
    frame : one row a patient.
    labels : the caller's index.
    of_row : (rows of the caller,) which patient each is.
    cohorts : the cohorts, the reference first.
    cohort : (patients,) code of each one's cohort.
    """

    frame: pd.DataFrame
    labels: pd.Index
    of_row: Ints
    cohorts: tuple[Any, ...]
    cohort: Ints

    def counts(self) -> dict[Any, int]:
        """Return the number of patients of each cohort."""
        return dict(zip(self.cohorts, np.bincount(self.cohort, minlength=len(self.cohorts)).tolist(), strict=True))


def people(
    frame: pd.DataFrame,
    *,
    cohort: Hashable,
    reference: Any,
    patient: Hashable | None,
    columns: Sequence[Hashable],
    faults: Faults,
) -> People:
    """Return the patients, or settle the faults: a column that changes within a patient, one cohort, no reference."""
    _check.frame(frame)
    _check.columns(frame, faults, cohort=cohort, patient=patient)
    faults.settle()
    for argument, name in (("cohort", cohort), ("patient", patient)):
        if name is not None and frame[name].isna().any():
            gone = _check.rows(frame.index[frame[name].isna()])
            faults.add(argument, name, f"missing in {gone}", "fill it in, or leave these rows out")
    for argument, name in (("cohort", cohort), ("patient", patient), *(("covariates", column) for column in columns)):
        if name is not None:
            one_spelling(frame, argument, name, faults)
    faults.settle()
    of_row, one = np.arange(len(frame)), frame
    if patient is not None:
        of_row = codes(frame[patient], ordered=False).of_row
        first = np.unique(of_row, return_index=True)[1]
        one = frame.iloc[first]
        for name in (cohort, *columns):
            same = _alike(frame[name], one[name].iloc[of_row])
            if not same.all():
                rows = _check.rows(frame.index[~same])
                remedy = "give the rows of one visit, as frame[frame['month'] == 0]"
                faults.add("patient", patient, f"{_check.show(name)} changes within a patient ({rows})", remedy)
        faults.settle()
    coded = codes(one[cohort])
    if len(coded.levels) == 1:
        faults.add("cohort", cohort, f"one cohort only ({_check.show(coded.levels[0])})", "a comparison takes two")
    elif reference not in coded.levels:
        faults.add("reference", reference, f"no such cohort{_check.nearest(reference, coded.levels)}")
    faults.settle()
    names = [reference, *(c for c in coded.levels if c != reference)]
    rank = np.array([names.index(level) for level in coded.levels])
    return People(one, frame.index, of_row, tuple(names), rank[coded.of_row])


def _alike(one: pd.Series, other: pd.Series) -> NDArray[np.bool_]:
    left, right = one.isna().to_numpy(), other.isna().to_numpy()
    equal = left & right
    known = ~left & ~right
    equal[known] = one.array[known].astype(object) == other.array[known].astype(object)
    return np.asarray(equal)
