"""Timed tasks of Cox models: `python benchmarks/survival_tasks.py TASK FOLDER REPETITIONS`; prints JSON.

All sides do the same: from a frame to the table of coefficients, the tests of all of them, and the concordance. Modules
are loaded, as R's packages are, by a call on few rows first.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from timing import report, timed

COVARIATES = [f"x{j}" for j in range(10)]
EFFECTS = np.array([0.3, -0.2, 0.1, 0.0, 0.15, 0.4, -0.3, 0.2, 0.0, -0.1])
LONGEST, DISTINCT = 8.0, 200
ROLES: dict[str, dict[str, str]] = {
    "plain": {},
    "entry": {"entry": "entry"},
    "cluster": {"cluster": "group"},
    "frailty": {"frailty": "group"},
}


def simulate(
    rows: int, *, tied: bool = False, late: bool = False, groups: int = 1000, seed: int = 1
) -> dict[str, np.ndarray]:
    """Return spells with five covariates that are normal and five that are 0 or 1, in groups that share a frailty.

    About 60 % have the event. Times are all different, or `tied` at 200 values; `late` rows enter at any time up to 2.
    """
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, len(COVARIATES)))
    X[:, 5:] = X[:, 5:] > 0.3
    group = rng.integers(0, groups, rows).astype(np.int32)
    ratio = np.exp(X @ EFFECTS) * rng.gamma(10.0, 0.1, groups)[group]
    entry = rng.uniform(0.0, 2.0, rows) if late else np.zeros(rows)
    until, censored = rng.exponential(5.0 / ratio), rng.uniform(1.0, LONGEST, rows)
    time = entry + np.minimum(until, censored)
    if tied:
        time = np.ceil(time * DISTINCT / LONGEST) * LONGEST / DISTINCT
    spells = {"time": time, "entry": entry, "event": (until <= censored).astype(np.int32), "group": group}
    return spells | dict(zip(COVARIATES, np.ascontiguousarray(X.T), strict=True))


def read(folder: Path) -> pd.DataFrame:
    """Return the spells in a folder."""
    whole = ("event", "group")
    kinds = {name: np.int32 if name in whole else np.float64 for name in ("time", "entry", *whole, *COVARIATES)}
    return pd.DataFrame({name: np.fromfile(folder / f"{name}.bin", dtype=kind) for name, kind in kinds.items()})


def fit(frame: pd.DataFrame, roles: Mapping[str, str]) -> Any:
    """Return the model, its coefficients, its tests and its row of numbers."""
    import implstats as ist

    model = ist.fit_cox(frame, duration="time", event="event", terms=COVARIATES, **roles)
    return model, model.tidy(), model.tests(), model.glance()


def ours(task: str, folder: Path, repetitions: int) -> dict[str, Any]:
    """Time `fit_cox` with everything that it says of the model."""
    frame, roles = read(folder), ROLES[task]
    fit(frame.iloc[:500], roles)
    seconds, (model, table, tests, row) = timed(lambda: fit(frame, roles), repetitions)
    return {
        "seconds": seconds,
        "loglik": model.loglik,
        "estimates": table["estimate"].tolist(),
        "std_errors": table["std_error"].tolist(),
        "tests": tests["statistic"].tolist(),
        "concordance": row[["concordance", "concordance_se"]].iloc[0].tolist(),
    } | ({"theta": model.theta} if "frailty" in roles else {})


def lifelines(task: str, folder: Path, repetitions: int) -> dict[str, Any]:
    """Time lifelines' CoxPHFitter with its table, its one test of all coefficients, and its concordance."""
    from lifelines import CoxPHFitter

    column = {"entry": {"entry_col": "entry"}, "cluster": {"cluster_col": "group"}}[task]
    frame = read(folder)[[*COVARIATES, "time", "event", *column.values()]]

    def call(rows: pd.DataFrame) -> Any:
        fitter = CoxPHFitter().fit(rows, "time", "event", **column)
        return fitter, fitter.summary, fitter.log_likelihood_ratio_test(), fitter.concordance_index_

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        call(frame.iloc[:500])
        seconds, (fitter, table, _, _) = timed(lambda: call(frame), repetitions)
    return {
        "seconds": seconds,
        "loglik": float(fitter.log_likelihood_),
        "estimates": table["coef"].tolist(),
        "std_errors": table["se(coef)"].tolist(),
    }


TASKS = {task: lambda folder, count, task=task: ours(task, folder, count) for task in ROLES}
TASKS |= {f"lifelines {task}": lambda folder, count, task=task: lifelines(task, folder, count) for task in ROLES}

if __name__ == "__main__":
    report(TASKS)
