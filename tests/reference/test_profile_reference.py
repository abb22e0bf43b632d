"""Profile intervals of variances, and likelihood ratios, against R: profile.json beside this file, no R needed."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats._core.profile import intervals
from implstats.growth.compare import compare_models

HERE = Path(__file__).resolve().parent
REFERENCE = json.loads((HERE / "profile.json").read_text(encoding="utf-8"))
RULES = REFERENCE["rules"]
CASES = {case["name"]: case for case in REFERENCE["cases"]}


def fitted(data: str, formula: str, method: str) -> Any:
    """Return our fit; a variance at zero is what some cases are about."""
    frame = pd.read_csv(HERE / "data" / f"{data}.csv")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ist.BoundaryWarning)
        return ist.fit_mixed(frame, formula=formula, method=method)


def ours(case: dict[str, Any]) -> dict[tuple[str, int], tuple[float, float]]:
    """Return both ends of every SD by group and place, the residual last."""
    result = fitted(case["data"], case["formula"], case["method"])
    blocks, residual = intervals(result.problem, result.fit, case["level"])
    ends = {
        (term.group, k): tuple(np.sqrt(own))
        for term, block in zip(result.design.terms, blocks, strict=True)
        for k, own in enumerate(block)
    }
    return ends | {("Residual", 0): tuple(np.sqrt(residual))}


@pytest.mark.parametrize("name", CASES)
def test_the_ends_are_where_rs_profile_crosses(name: str) -> None:
    case = CASES[name]
    found = ours(case)
    assert len(found) == len(case["rows"])
    places: dict[str, int] = {}
    for row in case["rows"]:
        place = places.get(row["group"], 0)
        places[row["group"]] = place + 1
        reference = (row["low"], row["high"])
        assert found[row["group"], place] == pytest.approx(reference, rel=RULES["sd"]["tolerance"], abs=0)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if "lme4" in case])
def test_the_ends_are_those_of_lme4s_confint(name: str) -> None:
    case = CASES[name]
    for (low, high), row in zip(ours(case).values(), case["lme4"], strict=True):
        assert (low, high) == pytest.approx((row["low"], row["high"]), rel=RULES["lme4"]["tolerance"], abs=0)


@pytest.mark.parametrize("reference", REFERENCE["comparisons"], ids=lambda r: r["name"])
def test_likelihood_ratios_are_those_of_anova(reference: dict[str, Any]) -> None:
    small, big = (fitted(reference["data"], reference[size], "ml") for size in ("small", "big"))
    table = compare_models(big, small).tidy()
    near = RULES["criterion"]["tolerance"]
    assert table["parameters"].tolist() == reference["parameters"]
    assert table["loglik"].tolist() == pytest.approx(reference["loglik"], abs=near, rel=0)
    assert table["aic"].tolist() == pytest.approx(reference["aic"], abs=near, rel=0)
    assert table["bic"].tolist() == pytest.approx(reference["bic"], abs=near, rel=0)
    assert table["statistic"][1] == pytest.approx(reference["statistic"], abs=near, rel=0)
    assert table["df"][1] == reference["df"]
    if table["reference_distribution"][1].startswith("chi2"):
        assert table["p_value"][1] == pytest.approx(reference["p_value"], rel=RULES["p_value"]["tolerance"])
