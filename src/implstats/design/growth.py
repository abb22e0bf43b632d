"""Frame to design for a growth model: cohorts x time, adjusted for covariates, patients and clusters as random effects."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats.design import rhs
from implstats.design.frames import Codes, codes, drop_missing, elapsed, numeric, repeated
from implstats.design.mixed import Design, RandomTerm, no_missing_ids
from implstats.design.time import Shape, Visits, resolve
from implstats.errors import DataError
from implstats.results import Sample

__all__ = ["RANDOM", "GrowthDesign", "growth_design"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

RANDOM = ("intercept", "slope", "uncorrelated")
BETTER = ("lower", "higher")
MANY_TIMES = 20
CLUSTERS_FOR_DIFFERENCE = 3


@dataclass(frozen=True, eq=False)
class GrowthDesign(Design):
    """The design of a growth model.

    Attributes
    ----------
    time, patient, cohort : columns.
    cohorts : the cohorts, the reference first.
    baseline : time that change is counted from.
    shape : the time basis.
    t, cohort_codes, patient_codes : (n,) time, cohort and patient of each row.
    adjust, average : the covariates' encoding, and their row of marginal means; None and empty without covariates.
    times : the distinct times, if there are few.
    cells : (cohort, time) that hold no visit (visits as categories).
    last_seen : cohort -> last observed time.
    notes : what the header must say about choices that were made.
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
    times: tuple[float, ...] = field(kw_only=True)
    cells: frozenset[tuple[int, float]] = field(kw_only=True)
    last_seen: Mapping[Any, float] = field(kw_only=True)
    notes: tuple[str, ...] = field(kw_only=True)

    def rows(self, cohort: Ints, t: Floats, covariates: Floats | None = None) -> Floats:
        """Return X for cohort codes and times; covariates default to their marginal means."""
        basis = self.shape.columns(t)
        dummies = _dummies(cohort, len(self.cohorts))
        if covariates is None:
            covariates = np.broadcast_to(self.average, (len(t), len(self.average)))
        return _columns(basis, dummies, covariates, _crossed(self.cells, self.shape, len(self.cohorts)))

    def fixed_rows(self, frame: pd.DataFrame) -> Floats:
        """Return X for new data."""
        cohort, t = self._read(frame)
        covariates = None if self.adjust is None else self.adjust.apply(frame)
        return self.rows(cohort, t, covariates)

    def random_rows(self, frame: pd.DataFrame, term: int) -> Floats:
        """Return Z of one term for new data."""
        cohort, t = self._read(frame)
        return _random_columns(self.terms[term].effects, self, cohort, t)

    def _read(self, frame: pd.DataFrame) -> tuple[Ints, Floats]:
        faults = Faults()
        _check.columns(frame, faults, time=self.time, cohort=self.cohort)
        faults.settle()
        t = numeric(frame, "time", self.time, faults)
        faults.settle()
        known = {c: k for k, c in enumerate(self.cohorts)}
        cohort = np.array([known.get(c, -1) for c in frame[self.cohort].tolist()], dtype=np.intp)
        if (cohort < 0).any():
            wrong = frame[self.cohort][cohort < 0].iloc[0]
            raise DataError(f"cohort={_check.show(wrong)}: not in the fit{_check.nearest(wrong, self.cohorts)}")
        return cohort, t


def _dummies(cohort: Ints, count: int) -> Floats:
    return (cohort[:, None] == np.arange(1, count)).astype(float)


def _crossed(cells: frozenset[tuple[int, float]], shape: Shape, cohorts: int) -> list[tuple[int, int]]:
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


def _columns(basis: Floats, dummies: Floats, covariates: Floats, crossed: Sequence[tuple[int, int]]) -> Floats:
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


def _random_columns(effects: Sequence[str], design: Any, cohort: Ints, t: Floats) -> Floats:
    slope = design.shape.slope(t)
    name = design.shape.slope_name(str(design.time))
    columns = {"(Intercept)": np.ones(len(t)), name: slope}
    if any(":" in e for e in effects):
        since = slope - design.shape.slope(np.array([design.baseline]))
        for k in range(1, len(design.cohorts)):
            columns[_difference_name(name, design.cohort, design.cohorts[k])] = since * (cohort == k)
    return np.column_stack([columns[e] for e in effects])


def _difference_name(slope: str, cohort: Hashable, level: Any) -> str:
    return f"{slope}:{cohort}[{level}]"


def growth_design(
    frame: pd.DataFrame,
    *,
    outcome: Hashable,
    time: Hashable,
    patient: Hashable,
    cohort: Hashable,
    reference: Any,
    baseline: Any,
    shape: Any,
    adjust: Any,
    random: str,
    groups: Any,
    missing: str,
    time_unit: str | None,
) -> GrowthDesign:
    """Return the design of a growth model, with every fault of arguments and data reported together."""
    _check.frame(frame)
    faults = Faults()
    groups = [] if groups is None else [groups] if isinstance(groups, str) else list(groups)
    from_column = not isinstance(baseline, int | float | np.number)
    _check.columns(frame, faults, outcome=outcome, time=time, patient=patient, cohort=cohort)
    for name in groups:
        _check.columns(frame, faults, groups=name)
    if from_column:
        _check.columns(frame, faults, baseline=baseline)
    try:
        covariates = [] if adjust is None else rhs.needed_columns(adjust, frame.columns, "adjust")
    except DataError as error:
        faults.take(error)
    faults.settle()
    for name in covariates:
        if name in (outcome, time, cohort, patient):
            faults.add("adjust", adjust, f"{_check.show(name)} has a role of its own", "use fit_mixed for other formulas")
    no_missing_ids(frame, faults, patient=patient)
    faults.settle()

    given, added = len(frame), 0
    t = elapsed(frame, time, patient, time_unit, faults)
    faults.settle()
    if from_column:
        frame, t, added = _with_baseline(
            frame, t, outcome, time, patient, cohort, baseline, [*covariates, *groups], faults
        )
        baseline = 0.0
    baseline = float(baseline)
    y = numeric(frame, "outcome", outcome, faults)
    masks = {f"{outcome} missing": np.isnan(y), f"{time} missing": np.isnan(t)}
    for name in dict.fromkeys([cohort, *covariates, *groups]):
        if pd.api.types.is_float_dtype(frame[name].dtype):
            numeric(frame, "groups" if name in groups else "cohort" if name == cohort else "adjust", name, faults)
        masks[f"{name} missing"] = frame[name].isna().to_numpy()
    faults.settle()
    kept, dropped = drop_missing(masks, missing, frame.index)
    if not kept.any():
        raise DataError(f"outcome={_check.show(outcome)}: no row has all its columns; {', '.join(dropped)}")
    if not kept.all():
        frame, y, t = frame.loc[kept], y[kept], t[kept]
    patients, cohorts = codes(frame[patient], ordered=False), _reference_first(codes(frame[cohort]), reference, cohort)
    counts = np.bincount(patients.values, minlength=len(patients.levels))
    where, distinct = pd.factorize(t, sort=True)
    _check_rows(frame, outcome, time, patient, cohort, y, t, where, patients, cohorts, faults)
    if not np.any(t == baseline):
        faults.add(
            "baseline",
            baseline,
            f"no visit at this time; the first is at {_check.show(float(distinct[0]))}",
            f"say baseline={_check.show(float(distinct[0]))}, or name a column with the value before treatment",
        )
    if counts.max() == 1:
        faults.add("patient", patient, "every patient has one visit", "change takes two visits or more")
    elif random != "intercept" and counts.max() < 3:
        faults.add("random", random, "no patient has three visits", "say random='intercept'")
    faults.settle()
    form = resolve(shape, np.asarray(distinct, dtype=float))
    cells = _empty_cells(form, where, np.asarray(distinct), cohorts, baseline)
    X, names, encoding, average = _fixed(frame, form, t, time, cohort, cohorts, adjust, cells)
    last = {c: float(t[cohorts.values == k].max()) for k, c in enumerate(cohorts.levels)}
    few = len(distinct) <= MANY_TIMES
    seen: tuple[tuple[Hashable, float, int], ...] = ()
    if few:
        table = np.bincount(
            cohorts.values * len(distinct) + where, minlength=len(cohorts.levels) * len(distinct)
        ).reshape(len(cohorts.levels), -1)
        seen = tuple((c, float(v), int(table[k, j])) for k, c in enumerate(cohorts.levels) for j, v in enumerate(distinct))
    cohort_of = np.empty(len(patients.levels), dtype=np.intp)
    cohort_of[patients.values] = cohorts.values
    per_cohort = np.bincount(cohort_of, minlength=len(cohorts.levels))
    design = GrowthDesign(
        str(outcome),
        y,
        X,
        tuple(names),
        (),
        frame.index,
        {c: frame[c].array.copy() for c in [patient, cohort]} | {time: t, outcome: y},
        "",
        Sample(given, len(y), dropped, {}, dict(zip(cohorts.levels, per_cohort.tolist(), strict=True)), seen, added),
        time=time,
        patient=patient,
        cohort=cohort,
        cohorts=tuple(cohorts.levels),
        baseline=baseline,
        shape=form,
        t=t,
        cohort_codes=cohorts.values,
        patient_codes=patients.values,
        adjust=encoding,
        average=average,
        times=tuple(float(v) for v in distinct) if few else (),
        cells=cells,
        last_seen=last,
        notes=(),
    )
    terms, notes = _random(design, frame, patients, groups, random)
    if len(patients.levels) < X.shape[1]:
        raise DataError(
            f"patient={_check.show(patient)}: {len(patients.levels)} patients for {X.shape[1]} fixed effects; "
            "use a simpler shape or fewer covariates"
        )
    sizes = {"patient": len(patients.levels)} | {t.group: len(t.levels) for t in terms if t.group != str(patient)}
    return replace(
        design,
        terms=tuple(terms),
        notes=tuple(notes),
        sample=replace(design.sample, groups=sizes),
        formula=_formula(design, adjust, terms),
    )


def _with_baseline(
    frame: pd.DataFrame,
    t: Floats,
    outcome: Hashable,
    time: Hashable,
    patient: Hashable,
    cohort: Hashable,
    baseline: Hashable,
    others: Sequence[Hashable],
    faults: Faults,
) -> tuple[pd.DataFrame, Floats, int]:
    """Return the frame with one row more a patient: the baseline column as the visit at time 0."""
    if np.any(t == 0):
        faults.add(
            "baseline", baseline, f"there are visits at {time}=0 already ({_check.rows(frame.index[t == 0])})", "say baseline=0"
        )
    numeric(frame, "baseline", baseline, faults)
    per_patient = frame.groupby(patient, observed=True, sort=False)[baseline]
    varying = per_patient.nunique() > 1
    if varying.any():
        who = varying.index[varying.to_numpy()][0]
        faults.add("baseline", baseline, f"patient {_check.show(who)} has several values", "a baseline has one a patient")
    faults.settle()
    names = list(dict.fromkeys([patient, cohort, *others]))
    first = frame.drop_duplicates(patient)
    values = per_patient.first().reindex(first[patient]).to_numpy(dtype=float)
    start = first[names].assign(**{str(outcome): values}) if isinstance(outcome, str) else first[names]
    rest = frame[[*names, outcome]]
    both = pd.concat([start, rest])
    return both, np.concatenate([np.zeros(len(first)), t]), len(first)


def _reference_first(cohorts: Codes, reference: Any, cohort: Hashable) -> Codes:
    if len(cohorts.levels) == 1:
        raise DataError(
            f"cohort={_check.show(cohort)}: one cohort only ({_check.show(cohorts.levels[0])}); a comparison takes two"
        )
    if reference not in cohorts.levels:
        raise DataError(
            f"reference={_check.show(reference)}: no such cohort{_check.nearest(reference, cohorts.levels)}"
        )
    if len(cohorts.levels) > MANY_TIMES:
        raise DataError(
            f"cohort={_check.show(cohort)}: {len(cohorts.levels)} different values; name the column with the cohorts"
        )
    k = cohorts.levels.index(reference)
    order = [k, *(j for j in range(len(cohorts.levels)) if j != k)]
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = np.arange(len(order))
    return Codes(rank[cohorts.values], [cohorts.levels[j] for j in order])


def _check_rows(
    frame: pd.DataFrame,
    outcome: Hashable,
    time: Hashable,
    patient: Hashable,
    cohort: Hashable,
    y: Floats,
    t: Floats,
    where: Ints,
    patients: Codes,
    cohorts: Codes,
    faults: Faults,
) -> None:
    if np.ptp(y) == 0:
        faults.add("outcome", outcome, f"constant at {_check.show(float(y[0]))}", "there is nothing to explain")
    twice = repeated(patients.values, where, (len(patients.levels), int(where.max()) + 1))
    if len(twice):
        who = patients.levels[patients.values[twice[0]]]
        faults.add(
            "patient",
            patient,
            f"patient {_check.show(who)} has two rows at {time}={_check.show(float(t[twice[0]]))} "
            f"({_check.rows(frame.index[twice])})",
            "keep one row per patient and visit",
        )
    cohort_of = np.empty(len(patients.levels), dtype=np.intp)
    cohort_of[patients.values] = cohorts.values
    changed = np.flatnonzero(cohort_of[patients.values] != cohorts.values)
    if len(changed):
        who = patients.levels[patients.values[changed[0]]]
        faults.add(
            "cohort",
            cohort,
            f"patient {_check.show(who)} is in more than one cohort ({_check.rows(frame.index[changed])})",
            "give each patient one cohort",
        )


def _empty_cells(
    shape: Shape, where: Ints, distinct: Floats, cohorts: Codes, baseline: float
) -> frozenset[tuple[int, float]]:
    if not isinstance(shape, Visits):
        return frozenset()
    table = np.bincount(cohorts.values * len(distinct) + where, minlength=len(cohorts.levels) * len(distinct))
    empty = np.argwhere(table.reshape(len(cohorts.levels), -1) == 0)
    cells = frozenset((int(c), float(distinct[k])) for c, k in empty)
    for c, when in sorted(cells):
        if when in (baseline, float(distinct[0])):
            raise DataError(
                f"baseline={_check.show(when)}: cohort {_check.show(cohorts.levels[c])} has no visit at this time; "
                "its change cannot be counted"
            )
    return cells


def _fixed(
    frame: pd.DataFrame,
    shape: Shape,
    t: Floats,
    time: Hashable,
    cohort: Hashable,
    cohorts: Codes,
    adjust: Any,
    cells: frozenset[tuple[int, float]],
) -> tuple[Floats, list[str], rhs.Encoding | None, Floats]:
    encoding: rhs.Encoding | None = None
    covariates, covariate_names, average = np.zeros((len(t), 0)), [], np.zeros(0)
    if adjust is not None:
        covariates, covariate_names, encoding = rhs.encode(frame, adjust, argument="adjust")
        average = encoding.average()
    crossed = _crossed(cells, shape, len(cohorts.levels))
    basis_names = shape.names(str(time))
    cohort_names = [f"{cohort}[{c}]" for c in cohorts.levels[1:]]
    X = _columns(shape.columns(t), _dummies(cohorts.values, len(cohorts.levels)), covariates, crossed)
    names = ["(Intercept)", *basis_names, *cohort_names, *covariate_names]
    names += [f"{basis_names[k]}:{cohort_names[c - 1]}" for k, c in crossed]
    return X, names, encoding, average


def _random(
    design: GrowthDesign, frame: pd.DataFrame, patients: Codes, groups: Sequence[Hashable], random: str
) -> tuple[list[RandomTerm], list[str]]:
    slope = design.shape.slope_name(str(design.time))
    parts = {"intercept": [("(Intercept)",)], "slope": [("(Intercept)", slope)]}
    parts["uncorrelated"] = [("(Intercept)",), (slope,)]
    terms, notes = [], []

    def term(name: Hashable, coded: Codes, effects: tuple[str, ...]) -> RandomTerm:
        Z = _random_columns(effects, design, design.cohort_codes, design.t)
        return RandomTerm(str(name), (name,), effects, coded.values, coded.levels, Z)

    for effects in parts[random]:
        terms.append(term(design.patient, patients, effects))
    for name in groups:
        coded = codes(frame[name])
        if len(coded.levels) < 2:
            raise DataError(
                f"groups={_check.show(name)}: one {name} only; a variance between {name}s takes at least two"
            )
        if len(coded.levels) >= len(patients.levels):
            raise DataError(
                f"groups={_check.show(name)}: as many {name}s as patients; its variance cannot be told from the patients'"
            )
        terms.append(term(name, coded, ("(Intercept)",)))
        both = np.zeros((len(coded.levels), len(design.cohorts)), dtype=bool)
        both[coded.values, design.cohort_codes] = True
        mixed = int((both.sum(axis=1) > 1).sum())
        if mixed >= CLUSTERS_FOR_DIFFERENCE:
            for level in design.cohorts[1:]:
                terms.append(term(name, coded, (_difference_name(slope, design.cohort, level),)))
            notes.append(f"{mixed} of {len(coded.levels)} {name}s hold several cohorts; each has its own cohort difference in change")
        elif mixed:
            notes.append(f"assumes the same cohort difference at every {name} ({mixed} of {len(coded.levels)} hold several cohorts)")
        else:
            notes.append(f"no {name} holds several cohorts, so cohorts are compared between {name}s")
    return terms, notes


def _formula(design: GrowthDesign, adjust: Any, terms: Sequence[RandomTerm]) -> str:
    fixed = [f"{design.shape.formula(str(design.time))} * {design.cohort}"]
    if adjust is not None:
        fixed.append(adjust.strip() if isinstance(adjust, str) else " + ".join(map(str, adjust)))
    parts = []
    for term in terms:
        effects = [("1" if e == "(Intercept)" else e) for e in term.effects]
        effects = effects if effects[0] == "1" else ["0", *effects]
        parts.append(f"({' + '.join(effects)} | {term.group})")
    return f"{design.outcome} ~ {' + '.join([*fixed, *parts])}"
