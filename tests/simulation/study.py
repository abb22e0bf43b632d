"""Bias, coverage and type-I error on known truth: `python tests/simulation/study.py --write [--workers 2]`.

Without --write the table is printed only. A run that was interrupted goes on where it stopped (results.partial.json).
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import implstats as ist
from implstats import _parallel
from implstats.errors import BoundaryWarning, ConvergenceError, DataError
from implstats.results import intervals

HERE = Path(__file__).resolve().parent
SEED = 20_170_381
REPLICATES, BOOTSTRAP_REPLICATES, DRAWS, CHUNK = 2_000, 500, 399, 25
LEVEL, LAST = 0.95, 36.0
VISITS = np.array([0.0, 18.0, LAST])
COHORTS = ("before", "during")

START, SD = 2.0, 0.5
# Improvement at the last visit in units of SD: an effect, and the same course in both cohorts.
TRUTHS = {"effect": (0.9, 0.4), "null": (0.9, 0.9)}
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
class Cell:
    """One kind of study: its patients, who leaves, the truth, and the models that are fitted to it."""

    name: str
    sizes: tuple[int, int]
    leave: bool
    models: tuple[str, ...]
    spread: tuple[float, float] = (1.0, 1.0)
    covariance: np.ndarray = field(default_factory=lambda: SLOPE)
    share_at_18: float = 0.75
    kinds: tuple[str, ...] = ()
    truths: tuple[str, ...] = ("effect", "null")

    @property
    def replicates(self) -> int:
        return BOOTSTRAP_REPLICATES if self.kinds else REPLICATES

    @property
    def methods(self) -> tuple[str, ...]:
        formulas = tuple(f"{df}, {ratio}" for df in DFS for ratio in ("fieller", "delta"))
        if not self.kinds:
            return formulas
        # The formulas again, on the studies that are drawn from: what is chance befalls both.
        return formulas[::2] + tuple(f"{kind}, {interval}" for kind in self.kinds for interval in INTERVALS)

    def means(self, truth: str) -> np.ndarray:
        """Return the mean of every cohort and visit."""
        course = np.array([0.0, self.share_at_18, 1.0])
        return START - SD * np.outer(TRUTHS[truth], course)

    def truth_of(self, truth: str) -> dict[str, float]:
        """Return what is estimated; the SD is the pooled one's population value, each variance weighted by n - 1."""
        df = np.array(self.sizes) - 1
        sd = math.sqrt(self.covariance[0, 0] * float(df @ np.square(self.spread)) / float(df.sum()))
        first, second = (SD * d for d in TRUTHS[truth])
        values = (first - second, first - second, first / sd, second / sd, (second - first) / sd, second / first)
        return dict(zip(QUANTITIES, values, strict=True))


def cells() -> list[Cell]:
    """Return every cell of the study."""
    usual, unequal = ("MMRM, common", "MMRM, per cohort", "growth"), tuple(MODELS)[:4]
    found = []
    for leave in (False, True):
        end = "drop-out" if leave else "complete"
        for n in (20, 40, 100):
            found.append(Cell(f"{n} + {n}, {end}", (n, n), leave, usual))
        wide = Cell(f"60 + 20, SD ratio 1.5, {end}", (60, 20), leave, unequal, spread=(1.0, 1.5))
        found += [wide, Cell(f"40 + 40, {end}, linear", (40, 40), leave, ("growth, linear",), share_at_18=0.5)]
    found.append(Cell("40 + 40, drop-out, bent", (40, 40), True, ("MMRM, common", "growth"), covariance=BENT))
    both = {"kinds": ("patients", "parametric"), "models": ("MMRM, per cohort", "growth"), "truths": ("effect",)}
    usable = [cell for cell in found if not cell.name.endswith(("linear", "bent"))]
    return found + [replace(cell, name=f"{cell.name}, bootstrap", **both) for cell in usable]


def draw(cell: Cell, truth: str, rng: np.random.Generator) -> pd.DataFrame:
    """Return one study, one row per patient and visit that was made."""
    cohort = np.repeat([0, 1], cell.sizes)
    noise = rng.standard_normal((len(cohort), len(VISITS))) @ np.linalg.cholesky(cell.covariance).T
    score = cell.means(truth)[cohort] + np.array(cell.spread)[cohort, None] * noise
    stays = np.ones(score.shape, dtype=bool)
    if cell.leave:
        odds = np.exp(LEAVING[0] + LEAVING[1] * (score[:, :-1] - START) / SD)
        stays[:, 1:] = np.cumprod(rng.random(odds.shape) >= odds / (1 + odds), axis=1)
    patient, visit = np.nonzero(stays)
    names = np.array(COHORTS, dtype=object)[cohort[patient]]
    return pd.DataFrame({"patient": patient, "cohort": names, "month": VISITS[visit], "score": score[patient, visit]})


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


def chunk(cell: Cell, truth: str, replicates: Sequence[int]) -> dict[str, Any]:
    """Return what every model says in some replicates: (replicates, methods, quantities, 5), nan where it failed."""
    shape = (len(replicates), len(cell.methods), len(QUANTITIES), 5)
    said = {model: np.full(shape, np.nan) for model in cell.models}
    boundary = dict.fromkeys(cell.models, 0)
    key = zlib.crc32(cell.name.removesuffix(", bootstrap").encode())
    place, seen = list(TRUTHS).index(truth), 0.0
    for k, replicate in enumerate(replicates):
        frame = draw(cell, truth, _parallel.generators(SEED, key, place, replicate))
        seen += float((frame["month"] == LAST).sum()) / sum(cell.sizes)
        for m, model in enumerate(cell.models):
            rng = _parallel.generators(SEED, key, place, replicate, m)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", BoundaryWarning)
                try:
                    fit = MODELS[model](frame)
                    found = list(by_formula(fit))
                    said[model][k] = [*found[::2], *by_bootstrap(fit, cell.kinds, rng)] if cell.kinds else found
                except (ConvergenceError, DataError):
                    continue
            boundary[model] += fit.convergence.boundary
    return {"said": said, "boundary": boundary, "seen": seen}


def covers(truth: float, low: np.ndarray, high: np.ndarray, kind: np.ndarray) -> np.ndarray:
    """Return which sets hold the truth; two rays hold what is not between them, "none" holds nothing."""
    within = (low <= truth) & (truth <= high)
    return np.where(kind == SETS.index("outside"), (truth <= low) | (truth >= high), within & ~np.isnan(low))


def summary(values: np.ndarray, truth: float) -> dict[str, Any]:
    """Return bias, coverage and sets of one quantity, values (replicates, 5)."""
    estimate, std_error, low, high, kind = values[~np.isnan(values[:, 4])].T
    n, held, given = len(kind), covers(truth, low, high, kind), ~np.isnan(estimate)
    spread = float(np.subtract(*np.quantile(estimate[given], [0.75, 0.25]))) / 1.349
    bounded = kind == 0
    return {
        "truth": truth,
        "bias": float(estimate[given].mean()) - truth,
        "bias_error": float(estimate[given].std(ddof=1)) / math.sqrt(n),
        "median_bias": float(np.median(estimate[given])) - truth,
        "median_bias_error": math.sqrt(math.pi / 2 / n) * spread,
        "sd": float(estimate[given].std(ddof=1)),
        "mean_std_error": float(std_error[given].mean()),
        "coverage": 100 * float(held.mean()),
        "coverage_error": 100 * math.sqrt(float(held.mean() * (1 - held.mean())) / n),
        "above": 100 * float((~held & bounded & (low > truth)).mean()),
        "below": 100 * float((~held & bounded & (high < truth)).mean()),
        "sets": {word: int((kind == j).sum()) for j, word in enumerate(SETS)},
    }


def run_cell(cell: Cell, replicates: int, workers: int) -> dict[str, Any]:
    """Return the record of a cell, the same for any number of workers."""
    out: dict[str, Any] = {"replicates": replicates, "truths": {}}
    for truth in cell.truths:
        tasks = [(cell, truth, range(k, min(k + CHUNK, replicates))) for k in range(0, replicates, CHUNK)]
        parts = _parallel.run(chunk, tasks, workers)
        values = cell.truth_of(truth)
        record: dict[str, Any] = {"seen_last": sum(p["seen"] for p in parts) / replicates, "models": {}}
        for model in cell.models:
            said = np.concatenate([p["said"][model] for p in parts])
            methods: dict[str, dict[str, Any]] = {}
            for j, method in enumerate(cell.methods):
                # Only the ratio differs between Fieller's set and the delta method.
                asked = QUANTITIES[-1:] if method.endswith("delta") else QUANTITIES
                methods[method] = {q: summary(said[:, j, QUANTITIES.index(q)], values[q]) for q in asked}
            record["models"][model] = {
                "failed": int(np.isnan(said[:, 0, 0, 0]).sum()),
                "boundary": sum(int(p["boundary"][model]) for p in parts),
                "methods": methods,
            }
        out["truths"][truth] = record
    return out


def rounded(value: Any) -> Any:
    """Return a record with six significant digits."""
    if isinstance(value, Mapping):
        return {k: rounded(v) for k, v in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def written(results: Mapping[str, Any]) -> str:
    """Return the results as JSON, one line a cell."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(record)}" for name, record in results["cells"].items())
    return f'{{"header": {json.dumps(results["header"])},\n"cells": {{\n{lines}\n}}}}\n'


def header(replicates: int | None) -> dict[str, Any]:
    """Return what a run rests on."""
    packages = ("implstats", "numpy", "scipy", "pandas")
    versions = {"python": platform.python_version()}
    versions |= {p: ist.__version__ if p == "implstats" else metadata.version(p) for p in packages}
    sizes = {"formulas": replicates or REPLICATES, "bootstrap": replicates or BOOTSTRAP_REPLICATES, "draws": DRAWS}
    return {"versions": versions, "seed": SEED, "replicates": sizes}


def study(chosen: Sequence[Cell], replicates: int | None, workers: int, partial: Path | None) -> dict[str, Any]:
    """Return the record of every chosen cell; finished cells are kept in `partial` until all are done."""
    done: dict[str, Any] = {"header": header(replicates), "cells": {}}
    if partial is not None and partial.exists():
        earlier = json.loads(partial.read_text(encoding="utf-8"))
        done = earlier if earlier["header"] == done["header"] else done
    for cell in chosen:
        if cell.name not in done["cells"]:
            print(cell.name, file=sys.stderr, flush=True)
            done["cells"][cell.name] = rounded(run_cell(cell, replicates or cell.replicates, workers))
            if partial is not None:
                partial.write_text(json.dumps(done), encoding="utf-8")
    done["header"]["date"] = date.today().isoformat()
    return done


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study."""
    from table import markdown

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write results.json and table.md")
    parser.add_argument("--replicates", type=int, help="instead of 2,000, and 500 with bootstrap")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", help="cells whose name contains this")
    asked = parser.parse_args(arguments)
    if asked.write and asked.replicates:
        parser.error("a rough run is printed, not written; leave out --write or --replicates")
    chosen = [cell for cell in cells() if asked.only is None or asked.only in cell.name]
    partial = HERE / "results.partial.json" if asked.write and asked.only is None else None
    results = study(chosen, asked.replicates, asked.workers, partial)
    path = HERE / "results.json"
    if asked.write and asked.only is not None:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        results["cells"] = earlier["cells"] | results["cells"]
    if not asked.write:
        print(markdown(results))
        return
    path.write_text(written(results), encoding="utf-8")
    (HERE / "table.md").write_text(markdown(results), encoding="utf-8")
    if partial is not None:
        partial.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
