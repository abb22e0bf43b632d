"""A draw of patients is the model of the rows of the drawn patients, each draw a patient of its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.growth.bootstrap import _Refit

ROLES = {"outcome": "bsi", "time": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}


def drawn(frame: pd.DataFrame, weights: dict[str, int]) -> pd.DataFrame:
    """Return the rows of every draw."""
    parts = [
        frame[frame["patient"] == name].assign(patient=f"{name}#{k}") for name, w in weights.items() for k in range(w)
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("groups", [None, "site"])
@pytest.mark.parametrize("sd", ["baseline", "own", "reference", "model", 2.0])
@pytest.mark.parametrize("shape", ["visits", "linear"])
def test_refit_of_a_draw(cohorts: Callable[..., pd.DataFrame], groups: str | None, sd: str | float, shape: str) -> None:
    frame = cohorts(11, patients=40, times=(0, 12, 24))
    options = {**ROLES, "better": "lower", "shape": shape, "groups": groups}
    rng = np.random.default_rng(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ist.BoundaryWarning)
        fit = ist.fit_growth(frame, **options)
        levels = fit.design.terms[0].levels
        refit = _Refit(fit, [12, 24], sd, range(len(levels)))
        for _ in range(3):
            weights = rng.multinomial(len(levels), np.full(len(levels), 1 / len(levels)))
            literal = ist.fit_growth(drawn(frame, dict(zip(levels, weights.tolist(), strict=True))), **options)
            table = literal.effect_sizes([12, 24], sd=sd, df="normal").tidy()
            wanted = table.loc[table["quantity"] == "d", "estimate"].to_numpy().reshape(2, 2)
            np.testing.assert_allclose(refit(weights.astype(float)), wanted, rtol=1e-4, atol=1e-5)
