"""Studies fitted together give what each gives on its own, through the public doors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats._core.covariance import STRUCTURES
from implstats._core.marginal import ByVisit
from implstats._core.replicates import fit_all, random_effects, studies
from implstats.design.growth import random_columns

SCENARIO = ist.Scenario(
    patients={"before": 26, "during": 22},
    outcomes={
        "bsi": ist.OutcomeTruth(
            better="lower",
            mean=2.0,
            sd=0.5,
            residual_sd=0.3,
            slope_sd=0.01,
            d={"before": {12: 0.6, 36: 1.2}, "during": {36: 0.5}},
        )
    },
    visits=(0, 6, 18, 36),
    dropout=ist.DropOut(probability=0.15, per_sd=0.4),
    missed=0.05,
)
ROLES = {"outcome": "bsi", "patient": "patient", "cohort": "cohort", "reference": "before"}
TIMES = np.array(SCENARIO.visits, dtype=float)
STUDIES = 6
MODELS: dict[str, Any] = {
    "linear, slope": lambda f, reml: ist.fit_growth(f, time="month", shape="linear", method=reml, **ROLES),
    "visits, intercept": lambda f, reml: ist.fit_growth(f, time="month", random="intercept", method=reml, **ROLES),
    "mmrm": lambda f, reml: ist.fit_mmrm(f, visit="month", method=reml, **ROLES),
    "mmrm per cohort": lambda f, reml: ist.fit_mmrm(f, visit="month", by_cohort=True, method=reml, **ROLES),
}


def outcomes(frame: pd.DataFrame) -> np.ndarray:
    y = np.full((48, len(TIMES)), np.nan)
    y[frame["patient"] - 1, np.searchsorted(TIMES, frame["month"])] = frame["bsi"]
    return y


@pytest.mark.filterwarnings("ignore::implstats.BoundaryWarning")
@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("model", MODELS)
def test_estimates_errors_and_df_are_those_of_single_fits(model: str, method: str) -> None:
    frames = [ist.simulate_visits(SCENARIO, rng=seed) for seed in range(STUDIES)]
    fits = [MODELS[model](frame, method) for frame in frames]
    design = fits[0].design
    X = np.stack([design.rows(np.full(len(TIMES), c), TIMES) for c in (0, 1)])
    drawn = studies(X, np.repeat([0, 1], [26, 22]), np.stack([outcomes(frame) for frame in frames]))
    if "mmrm" in model:
        groups = 2 if "cohort" in model else 1
        structure = STRUCTURES["unstructured"](len(TIMES))
        covariance: Any = ByVisit(structure, groups, drawn.seen, drawn.group if groups == 2 else 0 * drawn.group)
        start = np.tile(structure.free((np.eye(4) + 1) / 2), groups)
    else:
        Z = random_columns(design.terms[0].effects, design, TIMES)
        covariance = random_effects(Z / np.sqrt((Z**2).mean(axis=0)), drawn.seen)
        start = np.array([0.5, 0.0, 0.5, -1.0] if Z.shape[1] == 2 else [0.5, -1.0])
    rows = np.stack([X[c, -1] - X[c, 0] for c in (0, 1)])
    found = fit_all(drawn, covariance, start, rows, reml=method == "reml")
    assert found.good.all()
    estimate, std_error, df = found.of(np.tile([-1.0, 1.0], (STUDIES, 1)))
    for k, fit in enumerate(fits):
        expected = fit.contrasts(at=[36]).tidy().set_index("quantity").loc["change"]
        assert estimate[k] == pytest.approx(expected["estimate"], abs=1e-5 * expected["std_error"])
        assert std_error[k] == pytest.approx(expected["std_error"], rel=1e-5)
        if fit.convergence.boundary:
            continue
        assert df[k] == pytest.approx(expected["df"], rel=1e-3)
