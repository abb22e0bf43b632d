"""Patients drawn from a scenario: what a study would see, visit by visit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats.design.time import MONTH_DAYS
from implstats.errors import DataError
from implstats.simulate.parts import words
from implstats.simulate.scenario import Scenario, own_variance
from implstats.simulate.truth import improvement

__all__ = ["simulate_visits"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]


def simulate_visits(scenario: Scenario, *, rng: int | np.random.Generator | None = None) -> pd.DataFrame:
    """Show what a study would see, if this scenario were true.

    Parameters
    ----------
    scenario : Scenario
        The cohorts, visits and true effects.
    rng : None, int or numpy.random.Generator
        Source of randomness: a seed gives the same patients again, None new ones each time.

    Returns
    -------
    pandas.DataFrame
        One row per patient and visit, in the order of patients and times: patient (1, 2, ...), cohort, admitted, ended,
        end_reason, therapist, month, one column per outcome, age (years at admission), sex. After a patient has left
        there are no rows; an outcome that was not recorded at a visit is NaN. Who stays to the last planned visit has
        `ended` on that day, and who leaves on a day between the last visit seen and the next planned one.

    Raises
    ------
    DataError
        If `scenario` is no Scenario or `rng` none of the three.

    Notes
    -----
    The complete outcomes are drawn first and drop-out last: the same seed under another drop-out gives the same
    patients and values. Months have 30.4375 days.

    References
    ----------
    Rubin, D. B. (1976). Inference and missing data. Biometrika, 63, 581-592. DOI 10.1093/biomet/63.3.581

    Examples
    --------
    >>> from implstats import simulate_visits
    >>> from implstats.simulate import REORGANISATION
    >>> visits = simulate_visits(REORGANISATION, rng=2017)
    >>> visits.groupby("cohort")["patient"].nunique().to_dict()
    {'before': 76, 'during': 68}
    """
    if not isinstance(scenario, Scenario):
        raise DataError(f"scenario: a {type(scenario).__name__} is not a Scenario; make one with Scenario(...)")
    source = _check.generator(rng)
    drawn = _patients(scenario, source)
    values = _outcomes(scenario, source, drawn)
    gaps = (len(drawn.cohort), len(scenario.visits) - 1)
    recorded = {name: np.ones(drawn.times.shape, dtype=bool) for name in values}
    for seen in recorded.values():
        seen[:, 1:] = source.random(gaps) >= scenario.missed
    observed = {name: np.where(recorded[name], y, np.nan) for name, y in values.items()}
    last = _last_visit(scenario, source.random(gaps), drawn.cohort, observed)

    here = np.arange(len(scenario.visits)) <= last[:, None]
    row = np.nonzero(here)[0]
    columns: dict[str, Any] = {"patient": row + 1, "cohort": words(list(scenario.patients), drawn.cohort)[row]}
    if scenario.admission is not None:
        admitted, ended = _calendar(scenario, source, drawn, last)
        columns |= {"admitted": admitted[row], "ended": ended[row]}
        columns["end_reason"] = words(["dropped out", "completed"], last == gaps[1])[row]
    if scenario.therapists:
        width = max(len(str(scenario.therapists)), 2)
        names = [f"T{i + 1:0{width}d}" for i in range(scenario.therapists)]
        columns["therapist"] = words(names, drawn.therapist)[row]
    whole = not scenario.jitter and all(float(v).is_integer() for v in scenario.visits)
    columns["month"] = drawn.times[here].astype(np.int64 if whole else float)
    columns |= {name: y[here] for name, y in observed.items()}
    columns |= {"age": drawn.age[row], "sex": words(["male", "female"], drawn.female)[row]}
    return pd.DataFrame(columns)


@dataclass(frozen=True)
class _Patients:
    """Who is in the study, one entry a patient; `times` are patients x visits, as they take place."""

    cohort: Ints
    age: Ints
    female: NDArray[np.bool_]
    therapist: Ints
    times: Floats


def _patients(scenario: Scenario, source: np.random.Generator) -> _Patients:
    cohort = np.repeat(np.arange(len(scenario.patients)), list(scenario.patients.values()))
    n = len(cohort)
    age = source.integers(scenario.age[0], scenario.age[1] + 1, n)
    female = source.random(n) < scenario.female
    therapist = source.integers(0, max(scenario.therapists, 1), n)
    times = np.tile(np.asarray(scenario.visits, dtype=float), (n, 1))
    if scenario.jitter:
        times[:, 1:] += source.uniform(-scenario.jitter, scenario.jitter, (n, times.shape[1] - 1))
    return _Patients(cohort, age, female, therapist, times)


def _outcomes(scenario: Scenario, source: np.random.Generator, drawn: _Patients) -> dict[str, Floats]:
    """Return the complete outcomes, patients x visits, before anyone is missing."""
    n, waves = drawn.times.shape
    elapsed = drawn.times - scenario.visits[0]
    clusters = (max(scenario.therapists, 1), len(scenario.patients))
    shapes: list[tuple[int, ...]] = [(n,), (n,), (n, waves), clusters[:1], clusters]
    share = scenario.correlation
    common = [source.standard_normal(shape) for shape in shapes] if share else [0.0] * len(shapes)
    age = drawn.age - (scenario.age[0] + scenario.age[1]) / 2
    sex = drawn.female - scenario.female
    out: dict[str, Floats] = {}
    for name, truth in scenario.outcomes.items():
        own = [source.standard_normal(shape) for shape in shapes]
        mixed = zip(common, own, strict=True)
        level, slope, residual, cluster, cluster_slope = (np.sqrt(share) * c + np.sqrt(1 - share) * o for c, o in mixed)
        r = truth.correlation
        change = truth.slope_sd * (r * level + np.sqrt(1 - r * r) * slope)
        change = change + truth.therapist_slope_sd * cluster_slope[drawn.therapist, drawn.cohort]
        start = np.sqrt(own_variance(scenario, truth)) * level + truth.therapist_sd * cluster[drawn.therapist]
        y = truth.sign * (start[:, None] + change[:, None] * elapsed + truth.residual_sd * residual)
        y += truth.mean + (truth.age * age + truth.sex * sex)[:, None]
        for code, label in enumerate(scenario.patients):
            mine = drawn.cohort == code
            y[mine] += truth.sign * truth.sd * improvement(truth.d[label], scenario.visits[0], drawn.times[mine])
        out[name] = y
    return out


def _last_visit(scenario: Scenario, chance: Floats, cohort: Ints, observed: Mapping[str, Floats]) -> Ints:
    """Return the index of the last visit that each patient comes to."""
    n, gaps = chance.shape
    last = np.full(n, gaps)
    rule = scenario.dropout
    if rule is None:
        return last
    name = next(iter(observed)) if rule.outcome is None else rule.outcome
    truth = scenario.outcomes[name]
    p = [rule.probability[c] if isinstance(rule.probability, Mapping) else rule.probability for c in scenario.patients]
    with np.errstate(divide="ignore"):
        base = (np.log(p) - np.log1p(-np.asarray(p)))[cohort]
    seen = observed[name][:, 0]
    for visit in range(gaps):
        now = observed[name][:, visit]
        seen = np.where(np.isnan(now), seen, now)
        worse = -truth.sign * (seen - truth.mean) / truth.sd
        leaves = chance[:, visit] < 1 / (1 + np.exp(-(base + rule.per_sd * worse)))
        last = np.where((last == gaps) & leaves, visit, last)
    return last


def _calendar(
    scenario: Scenario, source: np.random.Generator, drawn: _Patients, last: Ints
) -> tuple[NDArray[np.datetime64], NDArray[np.datetime64]]:
    """Return the days of admission and of the end of treatment."""
    assert scenario.admission is not None
    windows = [np.array(scenario.admission[c], dtype="datetime64[D]") for c in scenario.patients]
    first = np.array([w[0] for w in windows])[drawn.cohort]
    length = np.array([(w[1] - w[0]).astype(int) + 1 for w in windows])[drawn.cohort]
    n, waves = drawn.times.shape
    admitted = first + np.floor(source.random(n) * length).astype("timedelta64[D]")
    share = source.random(n)
    left = drawn.times[np.arange(n), last]
    planned = np.asarray(scenario.visits)[np.minimum(last + 1, waves - 1)]
    until = np.where(last == waves - 1, left, left + share * np.maximum(planned - left, 0.0))
    days = np.rint((until - scenario.visits[0]) * MONTH_DAYS).astype("timedelta64[D]")
    return admitted.astype("datetime64[ns]"), (admitted + days).astype("datetime64[ns]")
