"""What every simulated study is asked: the cohorts' changes, all studies fitted at once; or a function of its frame."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats._core.covariance import STRUCTURES
from implstats._core.marginal import ByVisit, Covariance
from implstats._core.replicates import Inferred, Studies, fit_all, random_effects, studies
from implstats.design import growth_design
from implstats.design.course import GrowthDesign, random_columns
from implstats.errors import ConvergenceError, DataError
from implstats.growth.retained import fieller
from implstats.results import intervals
from implstats.simulate.programme_scenario import ProgrammeScenario
from implstats.simulate.programmes import simulate_programmes
from implstats.simulate.scenario import Scenario
from implstats.simulate.truth import improvement
from implstats.simulate.visits import draw_studies, simulate_visits

__all__ = ["Analysis", "CohortAnalysis", "OwnAnalysis", "Quantity", "cohort_analysis"]

Floats = NDArray[np.float64]
AnyScenario = Scenario | ProgrammeScenario

WORDS = ("mmrm", "growth")
# Patients of a cohort in the study that the columns are read off.
SHOWN = 30
# A quantile of t at which every set is unbounded, and its squares are still numbers.
FARTHEST = 1e60


@dataclass(frozen=True)
class Quantity:
    """What a study estimates, and what is true of it (nan where that is unknown)."""

    name: str
    truth: float
    cohort: Hashable = None
    reference: Hashable = None
    time: float | None = None

    def label(self) -> dict[str, Any]:
        """Return what tells it apart in a table."""
        more = {"cohort": self.cohort, "reference": self.reference, "time": self.time} if self.cohort else {}
        return {"quantity": self.name} | more


class Analysis(ABC):
    """What is done with simulated studies."""

    @abstractmethod
    def quantities(self) -> tuple[Quantity, ...]:
        """Return what a study estimates."""

    @abstractmethod
    def in_words(self) -> str:
        """Return how."""

    @abstractmethod
    def run(self, scenario: AnyScenario, count: int, level: float, source: np.random.Generator) -> Floats:
        """Return estimate, width, found and covers of some studies, (4, quantities, count)."""


@dataclass(frozen=True)
class OwnAnalysis(Analysis):
    """A function of the frame, called once a study."""

    function: Callable[[pd.DataFrame], Any]
    null: float
    truth: float | None

    def quantities(self) -> tuple[Quantity, ...]:
        """Return the one thing that the function estimates."""
        return (Quantity("analysis", math.nan if self.truth is None else self.truth),)

    def in_words(self) -> str:
        """Return the function's name."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def run(self, scenario: AnyScenario, count: int, level: float, source: np.random.Generator) -> Floats:
        """Return estimate, width, found and covers, (4, 1, count)."""
        draw: Any = simulate_visits if isinstance(scenario, Scenario) else simulate_programmes
        return np.stack([self._one(draw(scenario, rng=source), level) for _ in range(count)], axis=-1)[:, None]

    def _one(self, frame: pd.DataFrame, level: float) -> Floats:
        try:
            answer = self.function(frame)
        except (ConvergenceError, DataError):
            return np.full(4, np.nan)
        row = _one_row(answer)
        low, high = row["conf_low"], row["conf_high"]
        if not math.isnan(row["p_value"]):
            found = float(row["p_value"] < 1 - level)
        else:
            found = math.nan if math.isnan(low) else float(not low <= self.null <= high)
        known = self.truth is not None and not math.isnan(low)
        covers = float(low <= self.truth <= high) if known and self.truth is not None else math.nan
        width = high - low if math.isfinite(high - low) else math.nan
        return np.array([row["estimate"], width, found, covers])


def _number(value: Any) -> float:
    return math.nan if value is None or value is pd.NA else float(value)


def _one_row(answer: Any) -> dict[str, float]:
    """Return the numbers of a function's answer, nan for those that it does not give."""
    if isinstance(answer, pd.DataFrame) and len(answer) == 1:
        answer = answer.iloc[0]
    if not isinstance(answer, Mapping | pd.Series):
        raise DataError(
            f"analysis: returned a {type(answer).__name__}; return one row: a mapping, a Series or a table of one row "
            "with p_value, or conf_low and conf_high"
        )
    row = {name: _number(answer.get(name)) for name in ("estimate", "p_value", "conf_low", "conf_high")}
    if all(math.isnan(row[name]) for name in ("p_value", "conf_low")):
        raise DataError("analysis: returned neither p_value nor conf_low and conf_high; they say what a study found")
    return row


@dataclass(frozen=True, eq=False)
class CohortAnalysis(Analysis):
    """The difference of the cohorts' changes, and the improvement retained, by MMRM or growth model.

    Attributes
    ----------
    outcome, at, kind, by_cohort : what is analysed, when, and how.
    cohorts : the cohorts, the reference first.
    design : a study's design, for its columns.
    X : (cohorts, visits, p) columns of every cohort and visit.
    rows : (cohorts, p) contrasts that give every cohort's improvement.
    truths : (cohorts,) the true improvements.
    """

    outcome: str
    at: float
    kind: str
    by_cohort: bool
    cohorts: tuple[Hashable, ...]
    design: GrowthDesign
    X: Floats
    rows: Floats
    truths: Floats

    def quantities(self) -> tuple[Quantity, ...]:
        """Return every other cohort's difference from the reference, and what it retains."""
        reference, *others = self.cohorts
        found = []
        for k, name in enumerate(others, start=1):
            change, start = float(self.truths[k]), float(self.truths[0])
            share = change / start if start > 0 else math.nan
            found += [Quantity("difference", change - start, name, reference, self.at)]
            found += [Quantity("retained", share, name, reference, self.at)]
        return tuple(found)

    def in_words(self) -> str:
        """Return the model."""
        what = f"{self.design.formula}, REML, Satterthwaite's df"
        if self.kind == "growth":
            return f"growth model {what}"
        which = "one for every cohort" if self.by_cohort else "common to the cohorts"
        return f"MMRM {what}; unstructured covariance, {which}"

    def run(self, scenario: AnyScenario, count: int, level: float, source: np.random.Generator) -> Floats:
        """Return estimate, width, found and covers, (4, quantities, count); all studies are fitted together."""
        assert isinstance(scenario, Scenario)
        y = draw_studies(scenario, count, source)[self.outcome]
        cohort = np.repeat(np.arange(len(scenario.patients)), list(scenario.patients.values()))
        drawn = studies(self.X, cohort, y)
        found = fit_all(drawn, *self._covariance(drawn), self.rows)
        parts = [part for k in range(1, len(self.rows)) for part in self._compared(found, k, level)]
        out = np.stack(parts, axis=1)
        # Without an error of the difference a study says nothing, whatever else came out.
        out[:, :, ~found.good | np.isnan(out[1, ::2]).any(axis=0)] = np.nan
        return out

    def _covariance(self, drawn: Studies) -> tuple[Covariance, Floats]:
        """Return the covariance of visits, and parameters to start from, in the studies' unit."""
        m = self.X.shape[1]
        if self.kind == "mmrm":
            groups = len(self.X) if self.by_cohort else 1
            group = drawn.group if self.by_cohort else np.zeros_like(drawn.group)
            structure = STRUCTURES["unstructured"](m)
            start = np.tile(structure.free((np.eye(m) + 1) / 2), groups)
            return ByVisit(structure, groups, drawn.seen, group), start
        Z = random_columns(self.design.terms[0].effects, self.design, np.array(self.design.times))
        roots = np.tril_indices(Z.shape[1])
        start = np.where(roots[0] == roots[1], 0.5, 0.0)
        return random_effects(Z / np.sqrt((Z**2).mean(axis=0)), drawn.seen), np.append(start, math.log(0.3))

    def _compared(self, found: Inferred, k: int, level: float) -> list[Floats]:
        """Return estimate, width, found and covers, (4, studies), of the difference and of the ratio."""
        count, cohorts = found.estimate.shape
        weights = np.zeros((count, cohorts))
        weights[:, k], weights[:, 0] = 1.0, -1.0
        estimate, std_error, df = found.of(weights)
        low, high = intervals(estimate, std_error, df, level)
        truth = self.truths[k] - self.truths[0]
        excludes, covers = (low > 0) | (high < 0), (low <= truth) & (truth <= high)
        difference = np.stack([estimate, high - low, excludes, covers]).astype(float)
        return [difference, self._retained(found, weights, k, level)]

    def _retained(self, found: Inferred, weights: Floats, k: int, level: float) -> Floats:
        top, below = found.estimate[:, k], found.estimate[:, 0]
        # What could not be fitted is left out by the caller.
        with np.errstate(divide="ignore", invalid="ignore"):
            weights[:, 0] = -top / below
        t = intervals(np.zeros(len(top)), np.ones(len(top)), found.of(weights)[2], level)[1]
        t = np.minimum(t, FARTHEST)
        share = self.truths[k] / self.truths[0] if self.truths[0] > 0 else math.nan
        out = np.full((4, len(top)), np.nan)
        for b, V in enumerate(found.covariance):
            # Where the reference did not improve there is nothing to retain.
            if not below[b] > 0:
                out[2:, b] = 0.0
                continue
            shape, low, high = fieller(top[b], below[b], V[k, k], V[k, 0], V[0, 0], t[b])

            def inside(value: float, shape: str = shape, low: float = low, high: float = high) -> bool:
                return low <= value <= high if shape != "outside" else value <= low or value >= high

            width = high - low if shape == "bounded" else math.nan
            out[:, b] = top[b] / below[b], width, not inside(1.0), inside(share)
        return out


def cohort_analysis(
    scenario: AnyScenario,
    kind: str,
    outcome: str | None,
    at: float | None,
    shape: str,
    by_cohort: bool,
    faults: Faults,
) -> CohortAnalysis:
    """Return the analysis that a word stands for; what cannot be analysed together is recorded."""
    faults.ask(_check.one_of, "analysis", kind, WORDS)
    faults.settle()
    if not isinstance(scenario, Scenario):
        faults.add(
            "analysis",
            kind,
            "not for programmes",
            "give a function, as lambda frame: ist.fit_cox(frame, ...).tidy().iloc[0]",
        )
        faults.settle()
    assert isinstance(scenario, Scenario)
    name = next(iter(scenario.outcomes)) if outcome is None else outcome
    if name not in scenario.outcomes:
        faults.add("outcome", outcome, f"not in the scenario{_check.nearest(outcome, scenario.outcomes)}")
        faults.settle()
    when = scenario.visits[-1] if at is None else faults.ask(_check.number, "at", at)
    truth = scenario.outcomes[name]
    own = "give a function that fits what the study will"
    if scenario.jitter:
        faults.add("analysis", kind, "visits of the scenario are not at fixed times (jitter)", own)
    if truth.therapist_sd or truth.therapist_slope_sd:
        faults.add("analysis", kind, "therapists of the scenario differ", own + ", with groups='therapist'")
    if len(scenario.patients) < 2:
        faults.say("scenario.patients: one cohort; a comparison takes two")
    if when is not None and kind == "mmrm" and when not in scenario.visits:
        faults.add("at", at, "no visit of the scenario", "an MMRM has means at visits only")
    elif when is not None and when <= scenario.visits[0]:
        faults.add("at", at, "not after the first visit", "nothing has changed by then")
    faults.settle()
    shown = simulate_visits(
        replace(scenario, patients=dict.fromkeys(scenario.patients, SHOWN), dropout=None, missed=0.0), rng=1
    )
    design = growth_design(
        shown,
        outcome=name,
        time="month",
        patient="patient",
        cohort="cohort",
        reference=scenario.reference,
        baseline=float(scenario.visits[0]),
        shape="visits" if kind == "mmrm" else shape,
        adjust=None,
        random="none" if kind == "mmrm" else "auto",
        groups=None,
        missing="drop",
        time_unit=None,
    )
    if design.shape.word == "visits" and when not in design.times:
        faults.add("at", at, "no visit of the scenario", "say shape='linear' for a time between visits")
        faults.settle()
    order = [design.cohorts.index(c) for c in scenario.patients]
    times = np.array(design.times)
    X = np.stack([design.rows(np.full(len(times), c), times) for c in order])
    ends = np.array([when, scenario.visits[0]], dtype=float)
    pairs = [design.rows(np.full(2, c), ends) for c in order]
    rows = truth.sign * np.stack([pair[0] - pair[1] for pair in pairs])
    first = float(scenario.visits[0])
    truths = np.array([truth.sd * improvement(truth.d[c], first, np.array([when]))[0] for c in scenario.patients])
    return CohortAnalysis(name, float(when), kind, by_cohort, tuple(scenario.patients), design, X, rows, truths)
