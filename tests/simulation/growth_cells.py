"""Growth models and MMRM: cohorts before and during a reorganisation, with and without drop-out."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from cell import LEVEL, REPLICATES, TRUTHS, Cell, accuracy, coverage

import implstats as ist
from implstats.results import intervals

BOOTSTRAP_REPLICATES, DRAWS, LAST = 500, 399, 36.0
VISITS = np.array([0.0, 18.0, LAST])
COHORTS = ("before", "during")

START, SD = 2.0, 0.5
# Improvement at the last visit in units of SD: an effect, and the same course in both cohorts.
IMPROVED = {"effect": (0.9, 0.4), "null": (0.9, 0.9)}
# A random intercept and slope with residuals: both the growth model and the saturated one are right.
SLOPE = np.array([[0.25, 0.141, 0.132], [0.141, 0.25144, 0.16188], [0.132, 0.16188, 0.29176]])
# Spread that falls and rises again, and a last visit that hardly remembers the first: no random slope gives this.
BENT = np.array([[0.25, 0.14, 0.075], [0.14, 0.16, 0.14], [0.075, 0.14, 0.25]])
# Log odds of leaving after a visit: at the level START, and per SD above it (worse).
LEAVING = (-1.6, 0.8)

SETS = ("bounded", "outside", "unbounded", "none")
QUANTITIES = ("level", "change", "d before", "d during", "difference in d", "retained")
ROLES = {"outcome": "score", "patient": "patient", "cohort": "cohort", "reference": "before", "better": "lower"}
VISIT, TIME = ROLES | {"visit": "month"}, ROLES | {"time": "month"}

MODELS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "MMRM, common": lambda frame: ist.fit_mmrm(frame, **VISIT),
    "MMRM, per cohort": lambda frame: ist.fit_mmrm(frame, by_cohort=True, **VISIT),
    "growth": lambda frame: ist.fit_growth(frame, shape="visits", **TIME),
    "growth, by_cohort": lambda frame: ist.fit_growth(frame, shape="visits", residual="by_cohort", **TIME),
    "growth, linear": lambda frame: ist.fit_growth(frame, shape="linear", **TIME),
}
DFS, INTERVALS = ("satterthwaite", "kenward-roger"), ("bca", "percentile")


@dataclass(frozen=True)
class Growth(Cell):
    """Two cohorts of patients: how many, who leaves, and how much they improve."""

    name: str
    sizes: tuple[int, int]
    leave: bool
    models: tuple[str, ...]
    spread: tuple[float, float] = (1.0, 1.0)
    covariance: np.ndarray = field(default_factory=lambda: SLOPE)
    share_at_18: float = 0.75
    kinds: tuple[str, ...] = ()
    truths: tuple[str, ...] = TRUTHS

    @property
    def replicates(self) -> int:
        return BOOTSTRAP_REPLICATES if self.kinds else REPLICATES

    @property
    def key(self) -> int:
        # Bootstrap cells draw from the first studies of the cell of the same name.
        return zlib.crc32(self.name.removesuffix(", bootstrap").encode())

    @property
    def quantities(self) -> tuple[str, ...]:
        return QUANTITIES

    def methods(self, model: str) -> tuple[str, ...]:
        formulas = tuple(f"{df}, {ratio}" for df in DFS for ratio in ("fieller", "delta"))
        if not self.kinds:
            return formulas
        # The formulas again, on the studies that are drawn from: what is chance befalls both.
        return formulas[::2] + tuple(f"{kind}, {interval}" for kind in self.kinds for interval in INTERVALS)

    def asked(self, model: str, method: str) -> tuple[str, ...]:
        # Only the ratio differs between Fieller's set and the delta method.
        return QUANTITIES[-1:] if method.endswith("delta") else QUANTITIES

    def means(self, truth: str) -> np.ndarray:
        """Return the mean of every cohort and visit."""
        course = np.array([0.0, self.share_at_18, 1.0])
        return START - SD * np.outer(IMPROVED[truth], course)

    def truth_of(self, truth: str, model: str) -> dict[str, float]:
        """Return what is estimated; the SD is the pooled one's population value, each variance weighted by n - 1."""
        df = np.array(self.sizes) - 1
        sd = math.sqrt(self.covariance[0, 0] * float(df @ np.square(self.spread)) / float(df.sum()))
        first, second = (SD * d for d in IMPROVED[truth])
        values = (first - second, first - second, first / sd, second / sd, (second - first) / sd, second / first)
        return dict(zip(QUANTITIES, values, strict=True))

    def draw(self, truth: str, rng: np.random.Generator) -> pd.DataFrame:
        """Return one row per patient and visit that was made."""
        cohort = np.repeat([0, 1], self.sizes)
        noise = rng.standard_normal((len(cohort), len(VISITS))) @ np.linalg.cholesky(self.covariance).T
        score = self.means(truth)[cohort] + np.array(self.spread)[cohort, None] * noise
        stays = np.ones(score.shape, dtype=bool)
        if self.leave:
            odds = np.exp(LEAVING[0] + LEAVING[1] * (score[:, :-1] - START) / SD)
            stays[:, 1:] = np.cumprod(rng.random(odds.shape) >= odds / (1 + odds), axis=1)
        patient, visit = np.nonzero(stays)
        names = np.array(COHORTS, dtype=object)[cohort[patient]]
        columns = {"patient": patient, "cohort": names, "month": VISITS[visit], "score": score[patient, visit]}
        return pd.DataFrame(columns)

    def counted(self, frame: pd.DataFrame) -> dict[str, float]:
        return {"seen_last": float((frame["month"] == LAST).sum()) / sum(self.sizes)}

    def answer(self, model: str, frame: pd.DataFrame, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
        fit = MODELS[model](frame)
        found = list(by_formula(fit))
        said = [*found[::2], *by_bootstrap(fit, self.kinds, rng)] if self.kinds else found
        return np.array(said), fit.convergence.boundary

    def summary(self, values: np.ndarray, truth: float) -> dict[str, Any]:
        found = values[~np.isnan(values[:, 4])]
        kind = found[:, 4]
        held = covers(truth, found[:, 2], found[:, 3], kind)
        sets = {word: int((kind == j).sum()) for j, word in enumerate(SETS)}
        return accuracy(found[:, 0], truth) | coverage(found[:, :4], truth, held) | {"sets": sets}


def cells() -> list[Cell]:
    """Return every cell of the study."""
    usual, unequal = ("MMRM, common", "MMRM, per cohort", "growth"), tuple(MODELS)[:4]
    found = []
    for leave in (False, True):
        end = "drop-out" if leave else "complete"
        for n in (20, 40, 100):
            found.append(Growth(f"{n} + {n}, {end}", (n, n), leave, usual))
        wide = Growth(f"60 + 20, SD ratio 1.5, {end}", (60, 20), leave, unequal, spread=(1.0, 1.5))
        found += [wide, Growth(f"40 + 40, {end}, linear", (40, 40), leave, ("growth, linear",), share_at_18=0.5)]
    found.append(Growth("40 + 40, drop-out, bent", (40, 40), True, ("MMRM, common", "growth"), covariance=BENT))
    both = {"kinds": ("patients", "parametric"), "models": ("MMRM, per cohort", "growth"), "truths": ("effect",)}
    usable = [cell for cell in found if not cell.name.endswith(("linear", "bent"))]
    return [*found, *(replace(cell, name=f"{cell.name}, bootstrap", **both) for cell in usable)]


def sizes(replicates: int | None) -> dict[str, int]:
    """Return how many studies and draws the numbers rest on."""
    return {"formulas": replicates or REPLICATES, "bootstrap": replicates or BOOTSTRAP_REPLICATES, "draws": DRAWS}


def by_formula(fit: Any) -> Iterator[np.ndarray]:
    """Yield (quantities, 5) per method: estimate, standard error, both ends, and which kind of set."""
    for df in DFS:
        parts = []
        for table in (fit.contrasts([LAST], df=df), fit.effect_sizes([LAST], df=df)):
            low, high = intervals(table.estimate, table.std_error, table.df, LEVEL)
            parts.append(np.column_stack([table.estimate, table.std_error, low, high, np.zeros(len(low))]))
        ratio = fit.retained_improvement([LAST], df=df)
        for method in ("fieller", "delta"):
            yield np.vstack([*parts, of_ratio(replace(ratio, method=method))])


def by_bootstrap(fit: Any, kinds: Sequence[str], rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield the same per kind of draw and kind of interval."""
    columns = ["estimate", "std_error", "conf_low", "conf_high"]
    for kind in kinds:
        boot = ist.bootstrap(fit, n=DRAWS, rng=rng, kind=kind)
        for interval in INTERVALS:
            asked = (boot.contrasts([LAST], interval=interval), boot.effect_sizes([LAST], interval=interval))
            values = np.vstack([table.tidy()[columns].to_numpy() for table in asked])
            ratio = of_ratio(boot.retained_improvement([LAST], interval=interval))
            yield np.vstack([np.column_stack([values, np.zeros(len(values))]), ratio])


def of_ratio(ratio: Any) -> list[float]:
    row = ratio.tidy().iloc[0]
    return [row["estimate"], row["std_error"], row["conf_low"], row["conf_high"], SETS.index(row["set"])]


def covers(truth: float, low: np.ndarray, high: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Return which sets hold the truth; two rays hold what is not between them, "none" holds nothing."""
    within = (low <= truth) & (truth <= high)
    return np.where(kind == SETS.index("outside"), (truth <= low) | (truth >= high), within & ~np.isnan(low))
