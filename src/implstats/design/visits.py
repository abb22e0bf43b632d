"""A study's visits, checked: one row per patient and visit, one cohort per patient, a baseline to count from."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats.design import rhs
from implstats.design.frames import (
    Codes,
    all_missing,
    codes,
    drop_missing,
    elapsed,
    first_rows,
    no_codes,
    numeric,
    one_spelling,
    repeated,
    varying,
)
from implstats.design.interruption import change_times
from implstats.design.mixed import no_missing_ids
from implstats.design.residual import precision_of
from implstats.errors import DataError

__all__ = ["EVERYBODY", "MANY_TIMES", "CheckedVisits", "Roles", "checked_visits"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

MANY_TIMES = 20
MANY_LEVELS = 10
EVERYBODY = "all patients"
RESERVED = ("fitted", "fixed", "residual", "std_residual", "estimate", "std_error", "conf_low", "conf_high")


@dataclass(frozen=True)
class Roles:
    """Which column plays which part; without a cohort all patients are one."""

    outcome: Hashable
    time: Hashable
    patient: Hashable
    cohort: Hashable | None
    reference: Any
    baseline: Any
    adjust: Any
    groups: tuple[Hashable, ...]
    time_argument: str = "time"
    precision: Hashable | None = None
    patient_weights: Hashable | None = None
    interruption: Hashable | None = None
    moderators: tuple[Hashable, ...] = ()


@dataclass(frozen=True, eq=False)
class CheckedVisits:
    """The rows that are used, as arrays.

    Attributes
    ----------
    frame : the used rows.
    y, t : (n,) outcome and time.
    where, distinct : (n,) index of each row's time among the sorted distinct times.
    patients, cohorts : codes, the reference cohort first.
    baseline : the time that change is counted from.
    given, dropped, added : rows in the frame, dropped by reason, and made from a baseline column.
    weight : (N,) weight of each patient, ones without `patient_weights`.
    change : (n,) time of each patient's own change, nan for none; None without `interruption`.
    """

    frame: pd.DataFrame
    y: Floats
    t: Floats
    where: Ints
    distinct: Floats
    patients: Codes
    cohorts: Codes
    baseline: float
    given: int
    dropped: Mapping[str, int]
    added: int
    weight: Floats
    change: Floats | None

    def cohort_of_patient(self) -> Ints:
        """Return the cohort code of each patient."""
        out = np.empty(len(self.patients.levels), dtype=np.intp)
        out[self.patients.of_row] = self.cohorts.of_row
        return out

    def most(self) -> int:
        """Return the largest number of visits of any patient."""
        return int(np.bincount(self.patients.of_row).max())

    def seen(self) -> Ints:
        """Return the number of visits per cohort and distinct time."""
        shape = (len(self.cohorts.levels), len(self.distinct))
        counts = np.bincount(self.cohorts.of_row * shape[1] + self.where, minlength=shape[0] * shape[1])
        return np.asarray(counts.reshape(shape), dtype=np.intp)


def checked_visits(
    frame: pd.DataFrame, roles: Roles, faults: Faults, *, missing: str, time_unit: str | None, random: str
) -> CheckedVisits:
    """Return the visits that are used; every fault of a stage (columns, values, rows) is reported together."""
    from_column = not isinstance(roles.baseline, int | float | np.number)
    covariates = _columns_exist(frame, roles, from_column, faults)
    no_missing_ids(frame, faults, patient=roles.patient)
    one_spelling(frame, "patient", roles.patient, faults)
    faults.settle()

    given, added, baseline = len(frame), 0, roles.baseline
    _no_numbers_as_text(frame, "adjust", covariates, faults)
    _no_numbers_as_text(frame, "moderators", roles.moderators, faults)
    t = elapsed(frame, roles.time, roles.patient, time_unit, faults, roles.time_argument)
    if roles.precision is not None:
        precision_of(frame, roles.precision, faults, frame[roles.outcome].notna().to_numpy())
    change = None
    if roles.interruption is not None:
        change = change_times(frame, roles.interruption, roles.time, roles.patient, time_unit, faults)
    faults.settle()
    if from_column:
        if change is not None:
            of_patient = change[first_rows(codes(frame[roles.patient], ordered=False).of_row)]
            change = np.concatenate([of_patient, change])
        frame, t, added = _with_baseline(frame, t, roles, covariates, faults)
        baseline = 0.0
    y = numeric(frame, "outcome", roles.outcome, faults)
    no_codes(frame, "outcome", roles.outcome, y, faults)
    start = np.arange(len(y)) < added
    masks = {
        f"{roles.baseline} missing": np.isnan(y) & start,
        f"{roles.outcome} missing": np.isnan(y) & ~start,
        f"{roles.time} missing": np.isnan(t),
    }
    weights = [] if roles.patient_weights is None else [roles.patient_weights]
    for argument, names in (
        ("cohort", [] if roles.cohort is None else [roles.cohort]),
        ("adjust", covariates),
        ("groups", roles.groups),
        ("moderators", roles.moderators),
        ("patient_weights", weights),
    ):
        for name in names:
            gone = masks[f"{name} missing"] = frame[name].isna().to_numpy()
            if gone.all():
                all_missing(frame, argument, name, faults)
            elif not pd.api.types.is_numeric_dtype(frame[name].dtype):
                one_spelling(frame, argument, name, faults)
            elif argument in ("adjust", "moderators"):
                no_codes(frame, argument, name, numeric(frame, argument, name, faults), faults)
            elif pd.api.types.is_float_dtype(frame[name].dtype):
                numeric(frame, argument, name, faults)
    faults.settle()
    kept, dropped = drop_missing(masks, missing, frame.index)
    if not kept.any():
        raise DataError(f"outcome={_check.show(roles.outcome)}: no row has all its columns; {', '.join(dropped)}")
    if not kept.all():
        _refuse_lost_cohorts(frame, kept, roles)
        frame, y, t = frame.loc[kept], y[kept], t[kept]
        change = None if change is None else change[kept]
    patients = codes(frame[roles.patient], ordered=False)
    cohorts = Codes(np.zeros(len(y), dtype=np.intp), [EVERYBODY])
    if roles.cohort is not None:
        cohorts = _reference_first(codes(frame[roles.cohort]), roles)
    where, distinct = pd.factorize(t, sort=True)
    weight = _patient_weights(frame, roles, patients, faults)
    visits = CheckedVisits(
        frame,
        y,
        t,
        where,
        np.asarray(distinct),
        patients,
        cohorts,
        float(baseline),
        given,
        dropped,
        added,
        weight,
        change,
    )
    _rows_agree(visits, roles, random, faults)
    faults.settle()
    return visits


def _refuse_lost_cohorts(frame: pd.DataFrame, kept: NDArray[np.bool_], roles: Roles) -> None:
    if roles.cohort is None:
        return
    code, levels = pd.factorize(frame[roles.cohort])
    lost = [levels[k] for k in set(code[code >= 0]) - set(code[kept])]
    if lost:
        raise DataError(
            f"cohort={_check.show(roles.cohort)}: {_check.show(min(lost, key=str))} has no row with all its "
            "columns; leave it out of the frame, or the column that it lacks"
        )


def _patient_weights(frame: pd.DataFrame, roles: Roles, patients: Codes, faults: Faults) -> Floats:
    """Return the weight of each patient; one that changes within a patient, or is not positive, is a fault."""
    count = len(patients.levels)
    if roles.patient_weights is None:
        return np.ones(count)
    values = numeric(frame, "patient_weights", roles.patient_weights, faults)
    of_patient = np.ones(count)
    of_patient[patients.of_row] = values
    for wrong, fault, remedy in (
        (~(values > 0), "zero or negative", "leave these patients out, or look at how the weights were made"),
        (of_patient[patients.of_row] != values, "changes within a patient", "give each patient one weight"),
    ):
        if not faults and wrong.any():
            said = f"{fault} in {_check.rows(frame.index[wrong])}"
            faults.add("patient_weights", roles.patient_weights, said, remedy)
    return of_patient


def _columns_exist(frame: pd.DataFrame, roles: Roles, from_column: bool, faults: Faults) -> list[Hashable]:
    """Return the covariates' columns; a role that names no column, or another role's, is a fault."""
    named = {
        "outcome": roles.outcome,
        "cohort": roles.cohort,
        roles.time_argument: roles.time,
        "patient": roles.patient,
    }
    if roles.cohort is None and (roles.interruption is not None or roles.moderators):
        del named["cohort"]
        if roles.reference is not None:
            faults.add("reference", roles.reference, "goes with cohort=", "name the column, or leave it out")
    for argument, name in named.items():
        if name is None:
            faults.say(f"{argument}=None: no such column{_check.nearest('', frame.columns)}")
    order = ("outcome", roles.time_argument, "patient", "cohort")
    optional = {
        "precision": roles.precision,
        "patient_weights": roles.patient_weights,
        "interruption": roles.interruption,
    }
    _check.columns(frame, faults, **{k: named[k] for k in order if k in named}, **optional)
    if from_column and roles.precision is not None:
        faults.add("precision", roles.precision, "the visit made from the baseline column has none", "give it as a row")
    for name in roles.groups:
        _check.columns(frame, faults, groups=name)
    for name in roles.moderators:
        _check.columns(frame, faults, moderators=name)
    if roles.baseline is None or isinstance(roles.baseline, bool):
        remedy = "say baseline=0, or name a column with the value before treatment"
        faults.add("baseline", roles.baseline, "neither a time nor a column", remedy)
    elif from_column:
        _check.columns(frame, faults, baseline=roles.baseline)
    covariates = (
        faults.ask(rhs.needed_columns, roles.adjust, frame.columns, "adjust") if roles.adjust is not None else []
    )
    faults.settle()
    _roles_differ(roles, named | {k: v for k, v in optional.items() if v is not None}, covariates, faults)
    return list(covariates)


def _roles_differ(roles: Roles, named: dict[str, Hashable], covariates: list[Hashable], faults: Faults) -> None:
    lists = {"groups": roles.groups, "moderators": roles.moderators}
    parts = [*((argument, name) for argument, names in lists.items() for name in names), *named.items()]
    for k, (argument, name) in enumerate(parts):
        if name in RESERVED:
            faults.add(argument, name, "augment() and predict() give a column of this name", "rename yours")
        for other, also in parts[k + 1 :]:
            if name == also and other == argument:
                faults.add(argument, name, "named twice", "name it once")
            elif name == also:
                faults.add(argument, name, f"is named as {other}= too", "each role has a column of its own")
    for name in covariates:
        if name in (*named.values(), *roles.moderators):
            faults.add(
                "adjust", roles.adjust, f"{_check.show(name)} has a role of its own", "use fit_mixed for other formulas"
            )
    faults.settle()


def _with_baseline(
    frame: pd.DataFrame, t: Floats, roles: Roles, covariates: Sequence[Hashable], faults: Faults
) -> tuple[pd.DataFrame, Floats, int]:
    """Return the frame with one row more a patient: the baseline column as the visit at time 0."""
    column, patient = roles.baseline, roles.patient
    if np.any(t == 0):
        already = f"there are visits at {roles.time}=0 already ({_check.rows(frame.index[t == 0])})"
        faults.add("baseline", column, already, "say baseline=0")
    elif np.any(t < 0):
        early = f"there are visits before {roles.time}=0, where it would stand ({_check.rows(frame.index[t < 0])})"
        faults.add("baseline", column, early, "count time from the start of treatment")
    values = pd.Series(numeric(frame, "baseline", column, faults))
    faults.settle()
    patients = codes(frame[patient], ordered=False)
    grouped = values.groupby(patients.of_row)
    varying = np.flatnonzero((grouped.max() - grouped.min()).to_numpy() > 0)
    if len(varying):
        who = _check.show(patients.levels[varying[0]])
        faults.add("baseline", column, f"patient {who} has several values", "a baseline has one a patient")
    faults.settle()
    weights = [] if roles.patient_weights is None else [roles.patient_weights]
    cohort = [] if roles.cohort is None else [roles.cohort]
    names = list(dict.fromkeys([patient, *cohort, *covariates, *roles.groups, *roles.moderators, *weights]))
    # What else is known at the start is what the earliest visit says.
    order = np.lexsort((t, patients.of_row))
    earliest = order[np.flatnonzero(np.diff(patients.of_row[order], prepend=-1))]
    start = frame[names].iloc[earliest].copy()
    start[roles.outcome] = grouped.first().to_numpy()
    both = pd.concat([start, frame[[*names, roles.outcome]]])
    return both, np.concatenate([np.zeros(len(start)), t]), len(start)


def _no_numbers_as_text(frame: pd.DataFrame, argument: str, covariates: Sequence[Hashable], faults: Faults) -> None:
    """Record covariates of many levels that are numbers in quotes: each would become a category."""
    for name in covariates:
        column = frame[name].dropna()
        if pd.api.types.is_numeric_dtype(column.dtype) or isinstance(column.dtype, pd.CategoricalDtype):
            continue
        if column.nunique() <= MANY_LEVELS or not column.map(lambda v: isinstance(v, str)).all():
            continue
        if pd.to_numeric(column, errors="coerce").notna().all():
            said = f"the column holds numbers as text, such as {column.iloc[0]!r} ({_check.rows(column.index)})"
            category = f"say C({name}) for categories" if argument == "adjust" else "a pandas Categorical"
            faults.add(argument, name, said, f"make it numeric, or {category}")


def _reference_first(cohorts: Codes, roles: Roles) -> Codes:
    levels = cohorts.levels
    if len(levels) == 1:
        only = _check.show(levels[0])
        raise DataError(f"cohort={_check.show(roles.cohort)}: one cohort only ({only}); a comparison takes two")
    if len(levels) > MANY_TIMES:
        raise DataError(
            f"cohort={_check.show(roles.cohort)}: {len(levels)} different values; name the column with the cohorts"
        )
    if roles.reference not in levels:
        raise DataError(
            f"reference={_check.show(roles.reference)}: no such cohort{_check.nearest(roles.reference, levels)}"
        )
    k = levels.index(roles.reference)
    order = [k, *(j for j in range(len(levels)) if j != k)]
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = np.arange(len(order))
    return Codes(rank[cohorts.of_row], [levels[j] for j in order])


def _rows_agree(visits: CheckedVisits, roles: Roles, random: str, faults: Faults) -> None:
    """Record what rows say against each other: repeated visits, changing cohorts, too few visits, no baseline."""
    y, t, patients = visits.y, visits.t, visits.patients
    if np.ptp(y) == 0:
        constant = f"constant at {_check.show(float(y[0]))}"
        faults.add("outcome", roles.outcome, constant, "there is nothing to explain")
    twice = repeated(patients.of_row, visits.where, (len(patients.levels), len(visits.distinct)))
    if len(twice):
        who = _check.show(patients.levels[patients.of_row[twice[0]]])
        when = f"{roles.time}={_check.show(float(t[twice[0]]))}"
        rows = _check.rows(visits.frame.index[twice])
        remedy = "keep one row per patient and visit"
        faults.add("patient", roles.patient, f"patient {who} has two rows at {when} ({rows})", remedy)
    changed = np.flatnonzero(visits.cohort_of_patient()[patients.of_row] != visits.cohorts.of_row)
    if len(changed):
        who = _check.show(patients.levels[patients.of_row[changed[0]]])
        rows = _check.rows(visits.frame.index[changed])
        remedy = "give each patient one cohort"
        faults.add("cohort", roles.cohort, f"patient {who} is in more than one cohort ({rows})", remedy)
    for name in roles.moderators:
        values = codes(visits.frame[name], ordered=False).of_row.astype(float)
        if (other := varying(values, patients.of_row)).any():
            said = f"changes within a patient ({_check.rows(visits.frame.index[other])})"
            faults.add("moderators", name, said, "give each patient one value, in all rows")
    if not np.any(t == visits.baseline):
        first = _check.show(float(visits.distinct[0]))
        remedy = f"say baseline={first}, or name a column with the value before treatment"
        faults.add("baseline", visits.baseline, f"no visit at this time; the first is at {first}", remedy)
    most = visits.most()
    if most == 1:
        faults.add("patient", roles.patient, "every patient has one visit", "change takes two visits or more")
    elif random in ("slope", "uncorrelated") and most < 3:
        faults.add("random", random, "no patient has three visits", "say random='intercept'")
