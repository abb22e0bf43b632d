"""Where the plain comparison is wrong: drop-out not at random, confounded cohorts, straddlers of a change."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import scipy.optimize
from cell import Cell
from scipy.special import expit
from survival_base import NOTHING, Rows, SurvivalCell

import implstats as ist

REPLICATES, IMPUTATIONS = 1_000, 20
COHORTS = ("before", "during")
# A score of which more is better: its level and SD at the start, what makes up the SD, and the slope's SD a month.
START, SD, LEVEL_SD, RESIDUAL_SD, SLOPE_SD = 2.0, 0.5, 0.4, 0.3, 0.008
ROLES = {"outcome": "score", "patient": "patient", "cohort": "cohort", "reference": "before", "better": "higher"}
VISIT, TIME = ROLES | {"visit": "month"}, ROLES | {"time": "month", "shape": "linear"}
DIFFERENCE = ("difference",)


class ToolCell(SurvivalCell):
    """A kind of study with a comparison that is wrong, the `naive` methods, and tools that are right."""

    naive: ClassVar[tuple[str, ...]]

    @property
    def replicates(self) -> int:
        return REPLICATES

    def counted(self, frame: pd.DataFrame) -> dict[str, float]:
        return {"visits": float(len(frame))}


@dataclass(frozen=True)
class NotAtRandom(ToolCell):
    """Patients leave by their last score; in one cohort those who left fare worse than those like them who stayed."""

    name: str
    per_cohort: int
    delta: float
    ways: ClassVar = {
        "fit_mmrm": {"missing at random": DIFFERENCE},
        "tipping_point": {"delta = 0": DIFFERENCE, "the true delta": DIFFERENCE},
    }
    naive: ClassVar = ("missing at random", "delta = 0")
    visits: ClassVar = np.array([0.0, 18.0, 36.0])
    leaving: ClassVar = (-1.6, 0.8)
    improved: ClassVar = 0.45
    truth_under: ClassVar = {"effect": -0.25, "null": 0.0}

    def draw(self, truth: str, rng: np.random.Generator) -> pd.DataFrame:
        cohort = np.repeat([0, 1], self.per_cohort)
        gained = np.array([self.improved, self.gained(truth)])[cohort]
        score = scores(gained / self.visits[-1], self.visits, rng)
        stays = np.ones(score.shape, dtype=bool)
        stays[:, 1:] = np.cumprod(rng.random(score[:, 1:].shape) >= self.leaves(score[:, :-1]), axis=1)
        # Whoever left fares delta worse from then on, which nobody sees.
        return long(cohort, self.visits, score, stays)

    def leaves(self, score: np.ndarray) -> np.ndarray:
        """Return the probability of leaving after a score."""
        return expit(self.leaving[0] - self.leaving[1] * (score - START) / SD)

    def gone(self, gained: float) -> float:
        """Return the share of a cohort that has left before the last visit; `gained` would be all its improvement."""
        V = covariance(self.visits)[:2, :2]
        z, weight = normal_nodes()
        first, second = np.meshgrid(z, z, indexing="ij")
        root = np.linalg.cholesky(V)
        mean = START + gained * self.visits[:2] / self.visits[-1]
        stay = 1 - self.leaves(mean[0] + root[0, 0] * first)
        stay *= 1 - self.leaves(mean[1] + root[1, 0] * first + root[1, 1] * second)
        return float(1 - weight @ stay @ weight)

    def gained(self, truth: str) -> float:
        """Return the improvement of the second cohort without its delta, which makes its true difference."""
        return _root(self, self.improved + self.truth_under[truth])

    def truth_of(self, truth: str, model: str) -> dict[str, float]:
        return {"difference": self.truth_under[truth]}

    def answer(self, model: str, frame: pd.DataFrame, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
        # Imputations have a generator of their own in every study.
        return super().answer(model, frame.assign(seed=rng.integers(2**31)), rng)

    def said(self, model: str, frame: pd.DataFrame) -> tuple[Mapping[str, Rows], bool]:
        fit = ist.fit_mmrm(frame, **VISIT)
        if model == "fit_mmrm":
            return {"missing at random": compared(fit, self.visits[-1])}, False
        deltas = {"delta = 0": 0.0, "the true delta": self.delta}
        options = {"worse": "during", "imputations": IMPUTATIONS, "rng": int(frame["seed"].iloc[0])}
        table = ist.tipping_point(fit, deltas=list(deltas.values()), **options).tidy()
        return {
            method: {"difference": of(table, quantity="difference", delta=delta)} for method, delta in deltas.items()
        }, False


@cache
def _root(cell: NotAtRandom, wanted: float) -> float:
    return scipy.optimize.brentq(lambda gained: gained - cell.delta * cell.gone(gained) - wanted, -2, 2)


@dataclass(frozen=True)
class AnotherLine(ToolCell):
    """Those who leave change along another line than those who stay, and more of one cohort leave."""

    name: str
    per_cohort: int
    ways: ClassVar = {
        "fit_growth": {"one line a cohort": DIFFERENCE},
        "pattern_mixture": {"a line for who left": DIFFERENCE},
    }
    naive: ClassVar = ("one line a cohort",)
    visits: ClassVar = np.array([0.0, 9.0, 18.0, 27.0, 36.0])
    leave: ClassVar = np.array([0.2, 0.45])
    # Improvement at the last visit of who stays and of who leaves, by cohort.
    improved: ClassVar = {
        "effect": np.array([[0.5, 0.1], [0.4, 0.0]]),
        "null": np.array([[0.5, 0.1], [0.6, 0.2]]),
    }

    def draw(self, truth: str, rng: np.random.Generator) -> pd.DataFrame:
        cohort = np.repeat([0, 1], self.per_cohort)
        left = rng.random(len(cohort)) < self.leave[cohort]
        gained = self.improved[truth][cohort, left.astype(int)]
        score = scores(gained / self.visits[-1], self.visits, rng)
        # The last of two, three or four visits, which hangs on nothing.
        last = np.where(left, rng.integers(1, 4, len(cohort)), 4)
        return long(cohort, self.visits, score, np.arange(5) <= last[:, None])

    def truth_of(self, truth: str, model: str) -> dict[str, float]:
        shares = np.column_stack([1 - self.leave, self.leave])
        before, during = (shares * self.improved[truth]).sum(axis=1)
        return {"difference": float(during - before)}

    def said(self, model: str, frame: pd.DataFrame) -> tuple[Mapping[str, Rows], bool]:
        if model == "fit_growth":
            fit = ist.fit_growth(frame, **TIME)
            return {"one line a cohort": compared(fit, self.visits[-1])}, fit.convergence.boundary
        roles = {k: v for k, v in TIME.items() if k != "shape"}
        mixture = ist.pattern_mixture(frame, **roles)
        found = {"difference": of(mixture.tidy(), quantity="difference")}
        return {"a line for who left": found}, mixture.growth.convergence.boundary


@dataclass(frozen=True)
class Confounded(ToolCell):
    """What a patient brings along (standard normal) goes with the cohort and with the improvement."""

    name: str
    patients: int
    ways: ClassVar = {
        "fit_mmrm": {
            "as they are": ("all", "as during", "overlap"),
            "adjust=": ("all", "as during", "overlap"),
            "weights, ate": ("all",),
            "weights, att": ("as during",),
            "weights, overlap": ("overlap",),
        }
    }
    naive: ClassVar = ("as they are", "adjust=")
    visits: ClassVar = np.array([0.0, 18.0, 36.0])
    # Log odds of the second cohort, and what improvement gains by one more of the covariate.
    odds: ClassVar = (-0.4, 0.8)
    gain: ClassVar = -0.15
    # The cohorts' difference in improvement: where the covariate is 0, and by one more of it.
    differs: ClassVar = {"effect": (-0.25, -0.10), "null": (0.0, 0.0)}

    def draw(self, truth: str, rng: np.random.Generator) -> pd.DataFrame:
        severity = rng.standard_normal(self.patients)
        cohort = (rng.random(self.patients) < self.score(severity)).astype(int)
        level, more = self.differs[truth]
        gained = 0.45 + self.gain * severity + cohort * (level + more * severity)
        score = scores(gained / self.visits[-1], self.visits, rng) - 0.15 * severity[:, None]
        frame = long(cohort, self.visits, score, np.ones(score.shape, dtype=bool))
        return frame.assign(severity=severity[frame["patient"]])

    def score(self, severity: np.ndarray) -> np.ndarray:
        """Return the true probability of the second cohort."""
        return expit(self.odds[0] + self.odds[1] * severity)

    def truth_of(self, truth: str, model: str) -> dict[str, float]:
        level, more = self.differs[truth]
        z, weight = normal_nodes()
        e = self.score(z)
        whom = {"all": weight, "as during": weight * e, "overlap": weight * e * (1 - e)}
        return {name: float(level + more * (w @ z) / w.sum()) for name, w in whom.items()}

    def said(self, model: str, frame: pd.DataFrame) -> tuple[Mapping[str, Rows], bool]:
        last, asked = self.visits[-1], self.ways["fit_mmrm"]["as they are"]
        plain = compared(ist.fit_mmrm(frame, **VISIT), last)["difference"]
        adjusted = compared(ist.fit_mmrm(frame, adjust=["severity"], **VISIT), last)["difference"]
        found = {"as they are": dict.fromkeys(asked, plain), "adjust=": dict.fromkeys(asked, adjusted)}
        for estimand, whom in (("ate", "all"), ("att", "as during"), ("overlap", "overlap")):
            found[f"weights, {estimand}"] = {whom: self.weighted(frame, estimand, last)}
        return found, False

    def weighted(self, frame: pd.DataFrame, estimand: str, last: float) -> tuple[float, ...]:
        weights = ist.propensity_weights(
            frame, cohort="cohort", reference="before", covariates=["severity"], patient="patient", estimand=estimand
        )
        return by_weights(frame.assign(weight=weights.weights), last)


def by_weights(frame: pd.DataFrame, last: float) -> tuple[float, ...]:
    """Return how much more the second cohort has improved, patients counting by their weight."""
    return compared(ist.fit_mmrm(frame, patient_weights="weight", method="ml", **VISIT), last)["difference"]


@dataclass(frozen=True)
class Straddlers(ToolCell):
    """A change on one day: some were treated before it, some after, and many on both sides of it."""

    name: str
    patients: int
    ways: ClassVar = {
        "fit_growth": {
            "by_start": DIFFERENCE,
            "exclude": DIFFERENCE,
            "third": DIFFERENCE,
            "by_start, interruption=": ("difference", "level", "slope a year"),
            "exposure, interruption=": ("level", "slope a year"),
        }
    }
    naive: ClassVar = ("by_start",)
    visits: ClassVar = np.arange(0.0, 25.0, 6.0)
    months_of_entry: ClassVar = 72
    change: ClassVar = pd.Timestamp("2009-01-01")
    day: ClassVar = 30.4375
    # From the change on: the score, at once and by every month of treatment.
    since: ClassVar = {"effect": (-0.1, -0.25 / 24), "null": (0.0, 0.0)}

    def draw(self, truth: str, rng: np.random.Generator) -> pd.DataFrame:
        entry = rng.integers(0, round(self.months_of_entry * self.day), self.patients)
        admitted = self.change - pd.to_timedelta(36 * self.day, "D").floor("D") + pd.to_timedelta(entry, "D")
        change = ((self.change - admitted) / pd.Timedelta(days=1)).to_numpy() / self.day
        level, slope = self.since[truth]
        score = scores(np.full(self.patients, 0.5 / 24), self.visits, rng)
        score += np.where(self.visits >= change[:, None], level, 0)
        score += slope * np.maximum(self.visits - np.maximum(change, 0)[:, None], 0)
        frame = long(np.zeros(self.patients, dtype=int), self.visits, score, np.ones(score.shape, dtype=bool))
        days = pd.DataFrame({"admitted": admitted, "ended": admitted + pd.Timedelta(days=math.ceil(24 * self.day))})
        return frame.drop(columns="cohort").join(days, on="patient")

    def counted(self, frame: pd.DataFrame) -> dict[str, float]:
        one = frame.drop_duplicates("patient")
        across = (one["admitted"] < self.change) & (one["ended"] > self.change)
        return {"straddlers": float(across.sum())}

    def truth_of(self, truth: str, model: str) -> dict[str, float]:
        level, slope = self.since[truth]
        return {"difference": 24 * slope, "level": level, "slope a year": 12 * slope}

    def said(self, model: str, frame: pd.DataFrame) -> tuple[Mapping[str, Rows], bool]:
        found: dict[str, Rows] = {}
        for rule in ("by_start", "exclude", "third"):
            made = self.assigned(frame, rule)
            kept = frame.assign(cohort=made.cohort).dropna(subset="cohort")
            found[rule] = compared(ist.fit_growth(kept, **TIME), self.visits[-1])
            if rule == "by_start":
                fit = ist.fit_growth(kept.assign(change=made.change_time), interruption="change", **TIME)
                found["by_start, interruption="] = compared(fit, self.visits[-1]) | interrupted(fit)
        alone = {k: v for k, v in TIME.items() if k not in ("cohort", "reference")}
        timed = frame.assign(change=self.assigned(frame, "exposure").change_time)
        found["exposure, interruption="] = interrupted(ist.fit_growth(timed, interruption="change", **alone))
        return found, False

    def assigned(self, frame: pd.DataFrame, rule: str) -> ist.CohortAssignment:
        days = {"start": "admitted", "end": "ended", "change": self.change, "patient": "patient"}
        return ist.assign_cohorts(frame, straddlers=rule, **days)


def of(table: pd.DataFrame, **where: Any) -> tuple[float, ...]:
    """Return the row of a table that has these values: estimate, standard error, both ends, and no test."""
    for column, value in where.items():
        table = table[table[column] == value]
    (found,) = table[["estimate", "std_error", "conf_low", "conf_high"]].to_numpy(dtype=float)
    return (*found, NOTHING)


def compared(fit: Any, at: float) -> dict[str, tuple[float, ...]]:
    """Return how much more the second cohort has improved by a time."""
    return {"difference": of(fit.contrasts([at]).tidy(), cohort="during", quantity="change")}


def interrupted(fit: Any) -> dict[str, tuple[float, ...]]:
    """Return what the change did at once, and by every year."""
    table = fit.interruption().tidy()
    by_month = of(table, quantity="slope")
    return {"level": of(table, quantity="level"), "slope a year": tuple(12 * value for value in by_month)}


def covariance(visits: np.ndarray) -> np.ndarray:
    """Return that of a patient's scores at some times: a random intercept and slope, and residuals."""
    alike = LEVEL_SD**2 + SLOPE_SD**2 * np.outer(visits, visits)
    return alike + RESIDUAL_SD**2 * np.eye(len(visits))


def scores(slope: np.ndarray, visits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the scores (patients, visits) of patients who improve along straight lines, each with a mean slope."""
    noise = rng.standard_normal((len(slope), len(visits))) @ np.linalg.cholesky(covariance(visits)).T
    return START + slope[:, None] * visits + noise


def long(cohort: np.ndarray, visits: np.ndarray, score: np.ndarray, seen: np.ndarray) -> pd.DataFrame:
    """Return one row per patient and visit that was made."""
    patient, visit = np.nonzero(seen)
    names = np.array(COHORTS, dtype=object)[cohort[patient]]
    columns = {"patient": patient, "cohort": names, "month": visits[visit], "score": score[patient, visit]}
    return pd.DataFrame(columns)


@cache
def normal_nodes() -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of an integral over the standard normal distribution."""
    z, weight = np.polynomial.hermite_e.hermegauss(60)
    return z, weight / math.sqrt(2 * math.pi)


def cells() -> list[Cell]:
    """Return every cell of the study."""
    return [
        NotAtRandom("Drop-out, not at random, 100 + 100", 100, 0.5 * SD),
        AnotherLine("Drop-out, another line, 100 + 100", 100),
        Confounded("Confounded cohorts, 200", 200),
        Straddlers("Straddlers, 150", 150),
    ]


def sizes(replicates: int | None) -> dict[str, int]:
    """Return how many studies the numbers rest on."""
    return {"studies": replicates or REPLICATES}
