"""Scores on which change depends against lme4, lmerTest and pbkrtest, centred and crossed with time in R."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist

HERE = Path(__file__).resolve().parent
REFERENCE = json.loads((HERE / "moderation.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in REFERENCE["cases"]}
WAYS = [
    (name, way) for name, case in CASES.items() for way in ("satterthwaite", "kenward-roger") if way in case["fixed"]
]
TERMS = {"a": "adherence", "d": "drive", "day": "kind[day]", "home": "kind[home]", "I(month^2)": "month^2"}
TERMS |= {"eraduring": "era[during]"}


@cache
def fitted(name: str) -> Any:
    """Return our growth model of a case."""
    return ist.fit_growth(pd.read_csv(HERE / "data" / "moderation.csv"), **CASES[name]["call"])


def ours(term: str) -> str:
    """Return implstats' name of a term that R named."""
    parts = []
    for part in term.split(":"):
        visit = f"month[{part.removeprefix('factor(month)')}]"
        parts.append(visit if part.startswith("factor(month)") else TERMS.get(part, part))
    return ":".join(parts)


@pytest.mark.parametrize("name", CASES)
def test_criterion_is_no_higher_than_the_reference(name: str) -> None:
    reference, rule = CASES[name]["criterion"], REFERENCE["rules"]["criterion"]
    value = fitted(name).fit.deviance
    assert reference["value"] - rule["within"] <= value <= reference["value"] + rule["below"]


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_every_term_with_its_error_and_df(name: str, way: str, held: Any) -> None:
    rows = pd.DataFrame(CASES[name]["fixed"][way])
    rows["term"] = rows["term"].map(ours)
    assert set(rows["term"]) == set(fitted(name).design.names)
    held(REFERENCE["rules"]).table(fitted(name).tidy(df=way), rows, ["term"], CASES[name]["fixed"]["rules"])


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_what_a_point_changes(name: str, way: str, held: Any) -> None:
    reference = CASES[name]["differences"]
    found = fitted(name).moderation([24], df=way).tidy()
    found = found[found["quantity"] != "per sd"]
    assert np.isfinite(found["df"]).all()
    held(REFERENCE["rules"]).table(found, pd.DataFrame(reference[way]), ["moderator"], reference["rules"])
