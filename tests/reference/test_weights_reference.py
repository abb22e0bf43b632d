"""Weighted patients against coxph's robust variance, and least squares with sandwich's: weights.json, no R needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import implstats as ist

HERE = Path(__file__).resolve().parent
REFERENCE = json.loads((HERE / "weights.json").read_text(encoding="utf-8"))
HAZARDS = {case["name"]: case for case in REFERENCE["hazards"]}
COURSES = {case["name"]: case for case in REFERENCE["cases"]}


def weighted(name: str, person: str | None) -> pd.DataFrame:
    """Return a table with the weights that R made: by row, by number, or by order."""
    frame = pd.read_csv(HERE / "data" / f"{name}.csv")
    who = pd.Series(range(1, len(frame) + 1))
    if person is not None:
        who = frame[person] if person == "id" else pd.Series(pd.factorize(frame[person])[0] + 1)
    return frame.assign(w=0.4 + (who * 7 % 11) / 5)


@pytest.mark.parametrize("name", HAZARDS)
def test_hazards_are_coxphs_with_its_robust_errors(name: str, held: Any) -> None:
    case = HAZARDS[name]
    frame = weighted(case["data"], case["call"].get("id"))
    fit = ist.fit_cox(frame, terms=case["terms"], ties=case["ties"], patient_weights="w", **case["call"])
    held(REFERENCE["rules"]).table(fit.tidy(), pd.DataFrame(case["fixed"]["rows"]), ["term"], case["fixed"]["rules"])


@pytest.mark.parametrize("name", COURSES)
def test_complete_visits_are_least_squares_with_a_sandwich(name: str, held: Any) -> None:
    frame = weighted("orthodont", "Subject")
    roles: dict[str, Any] = {"outcome": "distance", "patient": "Subject", "cohort": "Sex", "reference": "Male"}
    roles |= {"baseline": 8, "method": "ml", "patient_weights": "w"}
    if name == "growth":
        fit: Any = ist.fit_growth(frame, time="age", shape="linear", random="intercept", **roles)
    else:
        fit = ist.fit_mmrm(frame, visit="age", **roles)
    rows = pd.DataFrame(COURSES[name]["fixed"]["rows"])
    visits = rows["term"].str.replace(r"factor\(age\)(\d+)", r"age[\1]", regex=True)
    rows["term"] = visits.str.replace("SexFemale", "Sex[Female]")
    assert set(rows["term"]) == set(fit.design.names)
    held(REFERENCE["rules"]).table(fit.tidy(), rows, ["term"], COURSES[name]["fixed"]["rules"])
