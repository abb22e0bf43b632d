"""Timed tasks of growth models: `python benchmarks/growth_tasks.py TASK FOLDER REPETITIONS`; prints JSON.

What R leaves out of its time (loading lme4) is left out here too: modules are loaded by a call on forty patients first.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from timing import report, timed

CALL = {"outcome": "bsi", "time": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}
FORMULA = "bsi ~ month * cohort"


def simulate(
    patients: int, *, shared: bool, visits: int = 5, unit: float = 1.0, seed: int = 1
) -> dict[str, np.ndarray]:
    """Return the visits of patients, a fifth of them missing (never the first), at shared or at irregular times.

    Time is in months, nine between visits; `unit` divides it (12: years, in which MixedLM converges).
    """
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients, dtype=np.int32), visits)
    month = np.tile(9.0 * np.arange(visits), patients)
    during = np.repeat((np.arange(patients) % 2).astype(np.int32), visits)
    if not shared:
        month = np.where(month == 0, 0.0, month + rng.uniform(-4.0, 4.0, month.size))
    u0, u1 = rng.normal(0, 1, (2, patients))
    level, slope = np.repeat(0.5 * u0, visits), np.repeat(0.015 * (-0.2 * u0 + np.sqrt(0.96) * u1), visits)
    bsi = 1.8 + level + (-0.022 + 0.009 * during + slope) * month + rng.normal(0, 0.35, month.size)
    kept = (month == 0) | (rng.random(month.size) >= 0.2 * visits / (visits - 1))
    return {"patient": patient[kept], "during": during[kept], "month": month[kept] / unit, "bsi": bsi[kept]}


def frame_of(columns: dict[str, np.ndarray]) -> pd.DataFrame:
    """Return the columns as a study has them: cohorts are words."""
    cohort = np.array(["before", "during"], dtype=object)[columns["during"]]
    return pd.DataFrame(
        {"patient": columns["patient"], "cohort": cohort, "month": columns["month"], "bsi": columns["bsi"]}
    )


def read(folder: Path) -> pd.DataFrame:
    """Return the table in a folder."""
    types = {"patient": np.int32, "during": np.int32, "month": np.float64, "bsi": np.float64}
    return frame_of({name: np.fromfile(folder / f"{name}.bin", dtype=kind) for name, kind in types.items()})


def grown(frame: pd.DataFrame) -> Any:
    """Return the growth model."""
    import implstats as ist

    return ist.fit_growth(frame, **CALL, baseline=0, better="lower", shape="linear", random="slope")


def grow(frame: pd.DataFrame) -> dict[str, Any]:
    """Fit, and make both tables of coefficients."""
    growth = grown(frame)
    growth.tidy(df="satterthwaite")
    table = growth.tidy(df="kenward-roger")
    return {"deviance": float(growth.glance()["deviance"].iloc[0]), "estimates": table["estimate"].tolist()}


def fit_growth(folder: Path, repetitions: int) -> dict[str, Any]:
    """Time `fit_growth` with Satterthwaite's and Kenward and Roger's tables."""
    frame = read(folder)
    grow(frame_of(simulate(40, shared=True)))
    seconds, answer = timed(lambda: grow(frame), repetitions)
    return {"seconds": seconds, **answer}


def bootstrap(folder: Path, repetitions: int) -> dict[str, Any]:
    """Time a thousand parametric bootstrap refits of a fitted growth model."""
    import implstats as ist

    growth = grown(read(folder))
    ist.bootstrap(grown(frame_of(simulate(40, shared=True))), n=20, kind="parametric", rng=1)
    seconds, boot = timed(lambda: ist.bootstrap(growth, n=1000, kind="parametric", rng=1), repetitions)
    return {"seconds": seconds, "refits": int(boot.glance()["n"].iloc[0]), "sds": boot.tidy()["std_error"].tolist()}


def influence(folder: Path, repetitions: int) -> dict[str, Any]:
    """Time the diagnosis of a fitted growth model, every patient left out in turn."""
    import implstats as ist

    growth = grown(read(folder))
    ist.diagnose(grown(frame_of(simulate(40, shared=True)))).influence()
    seconds, table = timed(lambda: ist.diagnose(growth).influence(), repetitions)
    # One row a patient and term, terms in the order of the model.
    estimates = ist.diagnose(growth).dfbetas()["estimate"].to_numpy().reshape(len(table), -1)
    return {"seconds": seconds, "refits": len(table), "estimates": estimates.tolist()}


def power(folder: Path, repetitions: int) -> dict[str, Any]:
    """Time a power curve of ten sample sizes, a thousand studies of each, on two workers, which are started within."""
    import implstats as ist

    # As lmer.R draws it: 1.2 SD of improvement before, .5 during, along straight lines; worse patients leave.
    truth = ist.OutcomeTruth(
        better="lower", mean=2.0, sd=0.5, residual_sd=0.3, slope_sd=0.008, d={"before": {36: 1.2}, "during": {36: 0.5}}
    )
    leaving = ist.DropOut(probability=0.15, per_sd=0.4)
    scenario = ist.Scenario(patients={"before": 1, "during": 1}, outcomes={"bsi": truth}, dropout=leaving)
    sizes = np.fromfile(folder / "sizes.bin", dtype=np.int32).tolist()
    asked = {"analysis": "growth", "shape": "linear", "replicates": 1000, "rng": 1, "workers": 2}
    seconds, curve = timed(lambda: ist.power(scenario, n=sizes, **asked), repetitions)
    difference = curve.estimate[:, 0]
    shares = curve.tidy().query("quantity == 'difference'")
    return {
        "seconds": seconds,
        "fits": int(np.isfinite(difference).sum()),
        "means": np.nanmean(difference, axis=1).tolist(),
        "sds": np.nanstd(difference, axis=1, ddof=1).tolist(),
        "power": shares["power"].tolist(),
    }


def mmrm(folder: Path, repetitions: int) -> dict[str, Any]:
    """Time `fit_mmrm` with its table of coefficients."""
    import implstats as ist

    roles = {k: v for k, v in CALL.items() if k != "time"}

    def fit(frame: pd.DataFrame) -> Any:
        model = ist.fit_mmrm(frame, **roles, visit="month", better="lower")
        return model, model.tidy()

    frame = read(folder)
    fit(frame_of(simulate(40, shared=True, visits=4)))
    seconds, (model, table) = timed(lambda: fit(frame), repetitions)
    deviance = float(model.glance()["deviance"].iloc[0])
    return {"seconds": seconds, "deviance": deviance, "estimates": table["estimate"].tolist()}


def ols(folder: Path, repetitions: int) -> dict[str, Any]:
    """Time statsmodels' ordinary least squares on the same fixed effects."""
    import statsmodels.formula.api as smf

    frame = read(folder)
    smf.ols(FORMULA, frame_of(simulate(40, shared=True))).fit()
    seconds, _ = timed(lambda: smf.ols(FORMULA, frame).fit(), repetitions)
    return {"seconds": seconds}


def mixedlm(folder: Path, repetitions: int) -> dict[str, Any]:
    """Time statsmodels' MixedLM on the same model."""
    import statsmodels.formula.api as smf

    frame = read(folder)

    def fit() -> Any:
        return smf.mixedlm(FORMULA, frame, groups="patient", re_formula="~ month").fit(reml=True)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        seconds, answer = timed(fit, repetitions)
    return {"seconds": seconds, "deviance": float(-2 * answer.llf), "converged": bool(answer.converged)}


def insteval(folder: Path, repetitions: int) -> dict[str, Any]:
    """Time the crossed model of InstEval by maximum likelihood; R wrote the table."""
    import implstats as ist

    frame = pd.DataFrame({k: np.fromfile(folder / f"{k}.bin", dtype=np.int32) for k in ["s", "d", "service", "y"]})
    frame = frame.astype({"y": float, "s": str, "d": str, "service": str})

    def fit() -> Any:
        return ist.fit_mixed(frame, formula="y ~ service + (1 | s) + (1 | d)", method="ml")

    seconds, answer = timed(fit, repetitions)
    return {"seconds": seconds, "deviance": float(answer.glance()["deviance"].iloc[0])}


TASKS = {
    "fit_growth": fit_growth,
    "bootstrap": bootstrap,
    "influence": influence,
    "power": power,
    "mmrm": mmrm,
    "ols": ols,
    "mixedlm": mixedlm,
    "insteval": insteval,
}

if __name__ == "__main__":
    report(TASKS)
