"""A design without some of its rows: every array cut, groups numbered anew, and the sample counted again."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from implstats import _check
from implstats.design.growth import GrowthDesign
from implstats.design.mixed import Design, RandomTerm
from implstats.design.residual import ResidualTerms
from implstats.errors import DataError
from implstats.results import Sample

__all__ = ["keep_rows"]

Ints = NDArray[np.intp]
Rows = NDArray[np.bool_]
D = TypeVar("D", bound=Design)


def keep_rows(design: D, kept: Rows) -> D:
    """Return the design of the rows that are kept, (n,) of True and False; columns stay what they are.

    Refuses what leaves a cohort empty, or a grouping factor with one level.
    """
    n = len(design.y)
    changed: dict[str, Any] = {}
    for one in fields(design):
        value = getattr(design, one.name)
        if isinstance(value, np.ndarray) and len(value) == n:
            changed[one.name] = value[kept]
    changed |= {
        "labels": design.labels[kept],
        "roles": {name: values[kept] for name, values in design.roles.items()},
        "terms": tuple(_term(term, kept) for term in design.terms),
        "noise": _noise(design.noise, kept),
        "sample": replace(design.sample, rows=int(kept.sum())),
    }
    if isinstance(design, GrowthDesign):
        changed |= _cohorts(design, kept)
    return replace(design, **changed)


def _renumbered(codes: Ints, kept: Rows) -> tuple[Ints, Ints]:
    """Return the codes that are left, and those of the rows that are kept, numbered without gaps."""
    left, values = np.unique(codes[kept], return_inverse=True)
    return left, values.astype(np.intp)


def _term(term: RandomTerm, kept: Rows) -> RandomTerm:
    left, of_row = _renumbered(term.of_row, kept)
    if len(left) < 2:
        raise DataError(f"{term.group}: one level is left; a variance between groups takes two")
    return replace(term, of_row=of_row, levels=[term.levels[k] for k in left.tolist()], Z=term.Z[kept])


def _noise(noise: ResidualTerms, kept: Rows) -> ResidualTerms:
    structure = noise.structure
    left, strata = _renumbered(structure.strata, kept)
    cut = replace(
        structure,
        strata=strata,
        levels=len(left),
        precision=structure.precision[kept],
        series=None if structure.series is None else structure.series[kept],
        position=None if structure.position is None else structure.position[kept],
    )
    return replace(noise, structure=cut, levels=tuple(noise.levels[k] for k in left.tolist()) if noise.levels else ())


def _cohorts(design: GrowthDesign, kept: Rows) -> dict[str, Any]:
    """Return what a growth design says of its cohorts and patients, for the rows that are kept."""
    cohort, t = design.cohort_codes[kept], design.t[kept]
    gone = [name for k, name in enumerate(design.cohorts) if not (cohort == k).any()]
    if gone:
        raise DataError(f"cohort={_check.show(gone[0])}: nobody is left")
    patients, of_row = _renumbered(design.patient_codes, kept)
    weight = design.weight
    if weight is not None:
        rows = np.bincount(of_row)
        weight = weight[patients] * (rows.sum() / (weight[patients] @ rows))
    groups = {"patient": len(patients)}
    groups |= {
        g: len(np.unique(term.of_row[kept])) for term in design.terms if (g := term.group) in design.sample.groups
    }
    sample = _sample(design, groups, cohort, of_row, t)
    return {"patient_codes": of_row, "weight": weight, "sample": sample}


def _sample(design: GrowthDesign, groups: dict[str, int], cohort: Ints, patient: Ints, t: Any) -> Sample:
    counts = {c: len(np.unique(patient[cohort == k])) for k, c in enumerate(design.cohorts)}
    place = {c: k for k, c in enumerate(design.cohorts)}
    seen = tuple((c, v, int(((cohort == place[c]) & (t == v)).sum())) for c, v, _ in design.sample.seen)
    return replace(design.sample, rows=len(t), groups=groups, patients=counts, seen=seen)
