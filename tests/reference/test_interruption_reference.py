"""Interruptions in treatment against lme4, lmerTest and pbkrtest with their columns written out; no R needed."""

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
REFERENCE = json.loads((HERE / "interruption.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in REFERENCE["cases"]}
WAYS = [
    (name, way) for name, case in CASES.items() for way in ("satterthwaite", "kenward-roger") if way in case["fixed"]
]
TERMS = {"level": "change[level]", "slope": "change[slope]", "I(month^2)": "month^2"}


@cache
def fitted(name: str) -> Any:
    """Return our growth model of a case."""
    return ist.fit_growth(pd.read_csv(HERE / "data" / "interruption.csv"), **CASES[name]["call"])


def ours(term: str) -> str:
    """Return implstats' name of a term that R named."""
    parts = []
    for part in term.split(":"):
        name = part.replace("eraduring", "era[during]")
        name = f"month[{name.removeprefix('factor(month)')}]" if name.startswith("factor(month)") else name
        parts.append(TERMS.get(name, name))
    return ":".join(parts)


@pytest.mark.parametrize("name", CASES)
def test_criterion_is_no_higher_than_the_reference(name: str) -> None:
    reference, rule = CASES[name]["criterion"], REFERENCE["rules"]["criterion"]
    value = fitted(name).fit.deviance
    assert value <= reference["value"] + rule["below"]
    if reference["optimum"]:
        assert value >= reference["value"] - rule["within"]


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_every_term_with_its_error_and_df(name: str, way: str, held: Any) -> None:
    rows = pd.DataFrame(CASES[name]["fixed"][way])
    rows["term"] = rows["term"].map(ours)
    assert set(rows["term"]) == set(fitted(name).design.names)
    held(REFERENCE["rules"]).table(fitted(name).tidy(df=way), rows, ["term"], CASES[name]["fixed"]["rules"])


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_the_interruption_is_its_two_terms(name: str, way: str, held: Any) -> None:
    rows = pd.DataFrame(CASES[name]["fixed"][way]).rename(columns={"term": "quantity"})
    rows = rows[rows["quantity"].isin(["level", "slope"])]
    held(REFERENCE["rules"]).table(
        fitted(name).interruption(df=way).tidy(), rows, ["quantity"], CASES[name]["fixed"]["rules"]
    )


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_means_with_the_change_minus_without(name: str, way: str, held: Any) -> None:
    reference = CASES[name]["differences"]
    found = fitted(name).interrupted_means([9, 15, 24], change=9, df=way).tidy()
    found = found[(found["quantity"] == "difference") & (found["cohort"] != "during")].assign(since=found["time"] - 9)
    assert np.isfinite(found["df"]).all()
    held(REFERENCE["rules"]).table(found, pd.DataFrame(reference[way]), ["since"], reference["rules"])
