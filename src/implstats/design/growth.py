"""Frame to design for a growth model: cohorts x time, covariates, patients and clusters as random effects."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats._core.residual import independent
from implstats.design import rhs
from implstats.design.course import (
    GrowthDesign,
    cohort_columns,
    crossed_with_cohorts,
    random_columns,
    since_name,
    with_cohorts,
)
from implstats.design.frames import Codes, codes, several
from implstats.design.interruption import interrupted
from implstats.design.mixed import RandomTerm
from implstats.design.moderators import Rated, crossed, moderated
from implstats.design.residual import ResidualTerms, autoregressive, by_level, with_precision
from implstats.design.time import FIXED_VISITS, Shape, Visits, resolve
from implstats.design.visits import EVERYBODY, MANY_TIMES, CheckedVisits, Roles, checked_visits
from implstats.errors import DataError
from implstats.results import Sample

__all__ = ["RANDOM", "GrowthDesign", "growth_design"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

RANDOM = ("intercept", "slope", "uncorrelated")
BETTER = ("lower", "higher")
CLUSTERS_FOR_DIFFERENCE = 3
# What augment() calls the cohort where none was named.
NO_COLUMN = "cohort"


def growth_design(
    frame: pd.DataFrame,
    *,
    outcome: Hashable,
    time: Hashable,
    patient: Hashable,
    cohort: Hashable | None,
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
    interruption: Hashable | None = None,
    moderators: Any = None,
    time_argument: str = "time",
    faults: Faults | None = None,
) -> GrowthDesign:
    """Return the design of a growth model; faults of arguments and data are reported together with those given.

    `random` is a word of `RANDOM`, "auto" (a slope where patients have three visits), or "none" (a marginal model).
    """
    _check.frame(frame)
    faults = faults or Faults()
    clusters, scores = several(groups), several(moderators)
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
        clusters,
        time_argument,
        precision,
        patient_weights,
        interruption,
        scores,
    )
    if cohort is None and residual == "by_cohort":
        faults.add("residual", residual, "there are no cohorts", "name them by cohort=, or say residual='iid'")
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
        _shown(visits, roles),
        "",
        _sample(visits, few),
        time=time,
        patient=patient,
        cohort=NO_COLUMN if cohort is None else cohort,
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
        notes=(),
        weight=_weight(visits, roles),
        noise=_noise(visits, roles, residual),
    )
    grouped = {name: codes(visits.frame[name]) for name in clusters}
    design, scored, rated = _moderated(design, visits, roles, grouped)
    design, met = _interrupted(design, visits, roles)
    terms, notes = _random(design, patients, grouped, random, rated)
    notes += scored + met
    if design.weight is not None:
        notes.append(_weights_in_words(design, patient_weights))
    for c, when in sorted(cells):
        notes.append(f"{cohorts.levels[c]} has no visit at {time} {_check.show(when)}")
    if len(patients.levels) < len(design.names):
        raise DataError(
            f"patient={_check.show(patient)}: {len(patients.levels)} patients for {len(design.names)} fixed effects; "
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


def _shown(visits: CheckedVisits, roles: Roles) -> dict[Hashable, Any]:
    """Return what augment() shows of each row."""
    named = [roles.patient] if roles.cohort is None else [roles.patient, roles.cohort]
    shown: dict[Hashable, Any] = {c: visits.frame[c].array.copy() for c in named}
    if roles.cohort is None:
        shown[NO_COLUMN] = np.full(len(visits.t), EVERYBODY, dtype=object)
    shown |= {roles.time: visits.t, roles.outcome: visits.y}
    shown |= {name: visits.frame[name].array.copy() for name in roles.moderators}
    return shown if roles.interruption is None else shown | {roles.interruption: visits.change}


def _moderated(
    design: GrowthDesign, visits: CheckedVisits, roles: Roles, groups: Mapping[Hashable, Codes]
) -> tuple[GrowthDesign, list[str], frozenset[Rated]]:
    """Return the design with scores and scores x time, what the header says, and which groups were rated."""
    if not roles.moderators:
        return design, [], frozenset()
    found, scores, words, rated = moderated(visits.frame, roles.moderators, visits.patients, visits.cohorts, groups)
    more = replace(
        design,
        X=np.column_stack([design.X, found.rows(scores, design.shape.columns(visits.t))]),
        names=(*design.names, *found.names(design.shape.names(str(roles.time)))),
        moderators=found,
    )
    return more, words, rated


def _interrupted(design: GrowthDesign, visits: CheckedVisits, roles: Roles) -> tuple[GrowthDesign, list[str]]:
    """Return the design with the level and slope of an interruption, and what the header says of it."""
    if roles.interruption is None or visits.change is None:
        return design, []
    known = (roles.interruption, visits.t, visits.change, visits.baseline, visits.cohorts, visits.patients)
    interruption, words = interrupted(*known)
    met = replace(
        design,
        X=np.column_stack([design.X, interruption.columns(visits.t, visits.change, visits.cohorts.of_row)]),
        names=(*design.names, *interruption.names()),
        interruption=interruption,
        change=visits.change,
    )
    return met, [words]


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
    crossed = crossed_with_cohorts(cells, shape, len(cohorts.levels))
    basis_names = shape.names(str(roles.time))
    cohort_names = [f"{roles.cohort}[{c}]" for c in cohorts.levels[1:]]
    X = with_cohorts(shape.columns(visits.t), cohort_columns(cohorts.of_row, len(cohorts.levels)), covariates, crossed)
    names = ["(Intercept)", *basis_names, *cohort_names, *covariate_names]
    names += [f"{basis_names[k]}:{cohort_names[c - 1]}" for k, c in crossed]
    return X, names, encoding, average


def _random(
    design: GrowthDesign, patients: Codes, groups: Mapping[Hashable, Codes], random: str, rated: frozenset[Rated]
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
        pairs = crossed(coded, Codes(design.cohort_codes, list(design.cohorts)))
        Z = random_columns(effects, design, design.t)
        return RandomTerm(f"{name}:{design.cohort}", (name, design.cohort), effects, pairs.of_row, pairs.levels, Z)

    for effects in parts[random]:
        terms.append(term(design.patient, patients, effects))
    for name, coded in groups.items():
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
            since = (since_name(design),)
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
        elif len(design.cohorts) > 1:
            notes.append(f"no {name} holds several cohorts, so cohorts are compared between {name}s")
        # What a score does to change is judged by how the changes of those rated differ beside it.
        for by_cohort, own in ((False, term), (True, within)):
            if (name, by_cohort) in rated and mixed < CLUSTERS_FOR_DIFFERENCE:
                terms.append(own(name, coded, (since_name(design),)))
                notes.append(f"each {name} has its own change" + " in each cohort" * by_cohort)
    return terms, notes


def _formula(design: GrowthDesign, adjust: Any, terms: Sequence[RandomTerm]) -> str:
    course = design.shape.formula(str(design.time))
    fixed = [f"{course} * {design.cohort}" if len(design.cohorts) > 1 else course]
    if adjust is not None:
        fixed.append(adjust.strip() if isinstance(adjust, str) else " + ".join(map(str, adjust)))
    if design.moderators is not None:
        fixed.append(design.moderators.formula(course))
    if design.interruption is not None:
        fixed.append(design.interruption.formula(design.time))
    parts = []
    for term in terms:
        effects = [("1" if e == "(Intercept)" else e) for e in term.effects]
        effects = effects if effects[0] == "1" else ["0", *effects]
        parts.append(f"({' + '.join(effects)} | {term.group})")
    return f"{design.outcome} ~ {' + '.join([*fixed, *parts])}"
