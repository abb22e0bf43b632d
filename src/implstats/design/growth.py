"""Frame to design for a growth model: cohorts x time, covariates, patients and clusters as random effects."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats._core.residual import independent
from implstats.design import rhs
from implstats.design.frames import Codes, codes, numeric
from implstats.design.mixed import Design, RandomTerm
from implstats.design.residual import ResidualTerms, autoregressive, by_level, with_precision
from implstats.design.time import FIXED_VISITS, Log, Shape, Visits, listed, resolve
from implstats.design.visits import MANY_TIMES, CheckedVisits, Roles, checked_visits
from implstats.errors import DataError
from implstats.results import Sample

__all__ = ["RANDOM", "GrowthDesign", "growth_design"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

RANDOM = ("intercept", "slope", "uncorrelated")
BETTER = ("lower", "higher")
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
    time_unit : unit of times that were read from dates, else None.
    times : the distinct times, if there are few.
    cells : (cohort, time) that hold no visit (visits as categories).
    first_seen, last_seen : cohort -> first and last observed time.
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
    time_unit: str | None = field(kw_only=True)
    times: tuple[float, ...] = field(kw_only=True)
    cells: frozenset[tuple[int, float]] = field(kw_only=True)
    first_seen: Mapping[Any, float] = field(kw_only=True)
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
        cohort, t = self.read(frame)
        covariates = None if self.adjust is None else self.adjust.apply(frame)
        return self.rows(cohort, t, covariates)

    def random_rows(self, frame: pd.DataFrame, term: int) -> Floats:
        """Return Z of one term for new data."""
        _, t = self.read(frame)
        return random_columns(self.terms[term].effects, self, t)

    def read(self, frame: pd.DataFrame) -> tuple[Ints, Floats]:
        """Return cohort codes and times of new data."""
        faults = Faults()
        covariates = () if self.adjust is None else self.adjust.columns
        for name in (self.time, self.cohort, *covariates):
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


def _dummies(cohort: Ints, count: int) -> Floats:
    return np.asarray(cohort[:, None] == np.arange(1, count), dtype=float)


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


def random_columns(effects: Sequence[str], design: GrowthDesign, t: Floats) -> Floats:
    """Return the columns of Z at times t; change since the baseline is zero at the baseline."""
    slope = design.shape.slope(t)
    name = design.shape.slope_name(str(design.time))
    columns = {_since_name(design): slope - _slope_at_baseline(design), "(Intercept)": np.ones(len(t)), name: slope}
    return np.column_stack([columns[e] for e in effects])


def _slope_at_baseline(design: GrowthDesign) -> float:
    return float(design.shape.slope(np.array([design.baseline]))[0])


def _since_name(design: GrowthDesign) -> str:
    name, start = design.shape.slope_name(str(design.time)), _slope_at_baseline(design)
    return name if start == 0 else f"({name} - {start:g})"


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
    residual: str = "iid",
    precision: Hashable | None = None,
    patient_weights: Hashable | None = None,
    time_argument: str = "time",
    faults: Faults | None = None,
) -> GrowthDesign:
    """Return the design of a growth model; faults of arguments and data are reported together with those given.

    `random` is a word of `RANDOM`, "auto" (a slope where patients have three visits), or "none" (a marginal model).
    """
    _check.frame(frame)
    faults = faults or Faults()
    clusters = [] if groups is None else list(groups) if isinstance(groups, list | tuple) else [groups]
    if isinstance(adjust, list | tuple) and not adjust:
        adjust = None
    roles = Roles(
        outcome,
        time,
        patient,
        cohort,
        reference,
        baseline,
        adjust,
        tuple(clusters),
        time_argument,
        precision,
        patient_weights,
    )
    visits = checked_visits(frame, roles, faults, missing=missing, time_unit=time_unit, random=random)
    patients, cohorts, t = visits.patients, visits.cohorts, visits.t
    if random == "auto":
        random = "slope" if visits.most() > 2 else "intercept"
    dated = pd.api.types.is_datetime64_any_dtype(frame[time].dtype)
    if dated and isinstance(shape, str) and shape == "visits":
        raise DataError(
            "shape='visits': times read from dates are no fixed visits; put them in windows with visits_from_dates"
        )
    shape = "linear" if dated and isinstance(shape, str) and shape == "auto" else shape
    marginal = random == "none"
    if marginal and len(visits.distinct) > MANY_TIMES:
        raise DataError(
            f"{time_argument}={_check.show(time)}: {len(visits.distinct)} distinct visits; "
            "fit_growth takes irregular times"
        )
    form = resolve(shape, visits.distinct, FIXED_VISITS + bool(visits.added))
    cells = _empty_cells(form, visits, roles)
    X, names, encoding, average = _fixed(visits, form, roles, cells)
    few = len(visits.distinct) <= MANY_TIMES
    design = GrowthDesign(
        str(outcome),
        visits.y,
        X,
        tuple(names),
        (),
        visits.frame.index,
        {c: visits.frame[c].array.copy() for c in [patient, cohort]} | {time: t, outcome: visits.y},
        "",
        _sample(visits, few),
        time=time,
        patient=patient,
        cohort=cohort,
        cohorts=tuple(cohorts.levels),
        baseline=visits.baseline,
        shape=form,
        t=t,
        cohort_codes=cohorts.of_row,
        patient_codes=patients.of_row,
        adjust=encoding,
        average=average,
        time_unit=time_unit,
        times=tuple(visits.distinct.tolist()) if few else (),
        cells=cells,
        first_seen={c: float(t[cohorts.of_row == k].min()) for k, c in enumerate(cohorts.levels)},
        last_seen={c: float(t[cohorts.of_row == k].max()) for k, c in enumerate(cohorts.levels)},
        notes=(),
        weight=_weight(visits, roles),
        noise=_noise(visits, roles, residual),
    )
    terms, notes = _random(design, visits.frame, patients, clusters, random)
    if design.weight is not None:
        notes.append(_weights_in_words(design, patient_weights))
    for c, when in sorted(cells):
        notes.append(f"{cohorts.levels[c]} has no visit at {time} {_check.show(when)}")
    if len(patients.levels) < X.shape[1]:
        raise DataError(
            f"patient={_check.show(patient)}: {len(patients.levels)} patients for {X.shape[1]} fixed effects; "
            + ("use fewer visits or covariates" if marginal else "use a simpler shape or fewer covariates")
        )
    sizes = {"patient": len(patients.levels)} | {
        t.group: len(t.levels) for t in terms if len(t.columns) == 1 and t.group != str(patient)
    }
    return replace(
        design,
        terms=tuple(terms),
        notes=tuple(notes),
        sample=replace(design.sample, groups=sizes),
        formula=_formula(design, adjust, terms),
    )


def _noise(visits: CheckedVisits, roles: Roles, residual: str) -> ResidualTerms:
    terms = ResidualTerms("iid", independent(len(visits.y)))
    if residual == "by_cohort":
        terms = by_level(residual, roles.cohort, visits.cohorts)
    elif residual == "by_visit":
        if len(visits.distinct) > MANY_TIMES:
            raise DataError(f"residual='by_visit': {len(visits.distinct)} distinct times are no visits; say 'ar1'")
        terms = by_level(residual, roles.time, Codes(visits.where, visits.distinct.tolist()))
    elif residual == "ar1":
        terms = autoregressive(residual, roles.time, visits.t, roles.patient, visits.patients, visits.frame.index)
    if roles.precision is None:
        return terms
    return with_precision(terms, roles.precision, visits.frame[roles.precision].to_numpy(dtype=float))


def _weight(visits: CheckedVisits, roles: Roles) -> Floats | None:
    """Return the patients' weights, normalised so that weighted rows are as many as rows."""
    if roles.patient_weights is None:
        return None
    rows = np.bincount(visits.patients.of_row)
    return np.asarray(visits.weight * (rows.sum() / (visits.weight @ rows)))


def _weights_in_words(design: GrowthDesign, column: Hashable) -> str:
    """Return how many patients' worth of information each cohort's weights leave (Kish 1965)."""
    assert design.weight is not None
    cohort = np.empty(len(design.weight), dtype=np.intp)
    cohort[design.patient_codes] = design.cohort_codes
    left = []
    for c, name in enumerate(design.cohorts):
        w = design.weight[cohort == c]
        left.append(f"{name} {w.sum() ** 2 / (w @ w):.1f} of {len(w)}")
    return (
        f"patients weighted by {column}, effective numbers {', '.join(left)}; standard errors come from the spread "
        "between patients and take the weights as known"
    )


def _sample(visits: CheckedVisits, few: bool) -> Sample:
    levels = visits.cohorts.levels
    per_cohort = np.bincount(visits.cohort_of_patient(), minlength=len(levels)).tolist()
    table = visits.seen() if few else np.zeros((len(levels), 0), dtype=int)
    seen = tuple(
        (c, float(v), int(table[k, j])) for k, c in enumerate(levels) for j, v in enumerate(visits.distinct) if few
    )
    counted = dict(zip(levels, per_cohort, strict=True))
    return Sample(visits.given, len(visits.y), visits.dropped, {}, counted, seen, visits.added)


def _empty_cells(shape: Shape, visits: CheckedVisits, roles: Roles) -> frozenset[tuple[int, float]]:
    if not isinstance(shape, Visits):
        return frozenset()
    empty = np.argwhere(visits.seen() == 0)
    cells = frozenset((int(c), float(visits.distinct[k])) for c, k in empty)
    for c, when in sorted(cells):
        if when == float(visits.distinct[0]) != visits.baseline:
            said = "shape='visits'" if roles.time_argument == "time" else f"visit={_check.show(roles.time)}"
            remedy = ", or say shape='linear'" if roles.time_argument == "time" else ""
            raise DataError(
                f"{said}: cohort {_check.show(visits.cohorts.levels[c])} has no visit at "
                f"{roles.time}={_check.show(when)}, the first time; leave that time out{remedy}"
            )
        if when == visits.baseline:
            raise DataError(
                f"baseline={_check.show(when)}: cohort {_check.show(visits.cohorts.levels[c])} has no visit at this "
                "time; its change cannot be counted"
            )
    return cells


def _fixed(
    visits: CheckedVisits, shape: Shape, roles: Roles, cells: frozenset[tuple[int, float]]
) -> tuple[Floats, list[str], rhs.Encoding | None, Floats]:
    encoding: rhs.Encoding | None = None
    covariates, average = np.zeros((len(visits.t), 0)), np.zeros(0)
    covariate_names: list[str] = []
    if roles.adjust is not None:
        covariates, covariate_names, encoding = rhs.encode(visits.frame, roles.adjust, argument="adjust")
        average = encoding.average()
    cohorts = visits.cohorts
    crossed = _crossed(cells, shape, len(cohorts.levels))
    basis_names = shape.names(str(roles.time))
    cohort_names = [f"{roles.cohort}[{c}]" for c in cohorts.levels[1:]]
    X = _columns(shape.columns(visits.t), _dummies(cohorts.of_row, len(cohorts.levels)), covariates, crossed)
    names = ["(Intercept)", *basis_names, *cohort_names, *covariate_names]
    names += [f"{basis_names[k]}:{cohort_names[c - 1]}" for k, c in crossed]
    return X, names, encoding, average


def _random(
    design: GrowthDesign, frame: pd.DataFrame, patients: Codes, groups: Sequence[Hashable], random: str
) -> tuple[list[RandomTerm], list[str]]:
    slope = design.shape.slope_name(str(design.time))
    parts: dict[str, list[tuple[str, ...]]] = {
        "intercept": [("(Intercept)",)],
        "slope": [("(Intercept)", slope)],
        "uncorrelated": [("(Intercept)",), (slope,)],
        "none": [],
    }
    terms, notes = [], []

    def term(name: Hashable, coded: Codes, effects: tuple[str, ...]) -> RandomTerm:
        Z = random_columns(effects, design, design.t)
        return RandomTerm(str(name), (name,), effects, coded.of_row, coded.levels, Z)

    def within(name: Hashable, coded: Codes, effects: tuple[str, ...]) -> RandomTerm:
        """Return a term of each cohort within each cluster; it does not know which cohort is the reference."""
        pairs, of_row = np.unique(coded.of_row * len(design.cohorts) + design.cohort_codes, return_inverse=True)
        levels = [(coded.levels[k // len(design.cohorts)], design.cohorts[k % len(design.cohorts)]) for k in pairs]
        Z = random_columns(effects, design, design.t)
        both = (name, design.cohort)
        return RandomTerm(f"{name}:{design.cohort}", both, effects, of_row.astype(np.intp), levels, Z)

    for effects in parts[random]:
        terms.append(term(design.patient, patients, effects))
    for name in groups:
        coded = codes(frame[name])
        if len(coded.levels) < 2:
            raise DataError(
                f"groups={_check.show(name)}: one {name} only; a variance between {name}s takes at least two"
            )
        per_level = np.zeros((len(coded.levels), len(design.cohorts)), dtype=bool)
        per_level[coded.of_row, design.cohort_codes] = True
        if (per_level.sum(axis=0) == 1).all() and (per_level.sum(axis=1) == 1).all():
            raise DataError(
                f"groups={_check.show(name)}: one {name} for each cohort; its variance cannot be told from the cohorts'"
            )
        if len(coded.levels) >= len(patients.levels):
            raise DataError(
                f"groups={_check.show(name)}: as many {name}s as patients; "
                "its variance cannot be told from the patients'"
            )
        terms.append(term(name, coded, ("(Intercept)",)))
        mixed = int((per_level.sum(axis=1) > 1).sum())
        if mixed >= CLUSTERS_FOR_DIFFERENCE:
            since = (_since_name(design),)
            terms += [term(name, coded, since), within(name, coded, since)]
            notes.append(
                f"{mixed} of {len(coded.levels)} {name}s hold several cohorts; "
                "each has its own change, and its own cohort difference in change"
            )
        elif mixed:
            notes.append(
                f"assumes the same cohort difference at every {name} "
                f"({mixed} of {len(coded.levels)} hold several cohorts)"
            )
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
