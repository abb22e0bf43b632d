"""Hazards in discrete time against R (glm, sandwich, coxph): discrete.json; no R needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats.survival.discrete import fit_discrete_hazard

HERE = Path(__file__).resolve().parent
REFERENCE = json.loads((HERE / "discrete.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in REFERENCE["cases"]}


@pytest.fixture
def rule(held: Any) -> Any:
    """Return the comparison under this file's rules."""
    return held(REFERENCE["rules"])


def table(name: str) -> pd.DataFrame:
    frame = pd.read_csv(HERE / "data" / f"{name}.csv")
    if name == "lung":
        frame = frame[frame["ph.ecog"].notna() & frame["inst"].notna()]
        return frame.assign(period=np.ceil(frame["time"] / 90), happened=frame["status"] - 1)
    return frame.assign(period=frame["quarter"], happened=frame["status"] == "stopped")


@cache
def fitted(name: str) -> Any:
    case = CASES[name]
    terms = case["terms"].replace("ph.ecog", "Q('ph.ecog')")
    options = {k: case[k] for k in ("link", "baseline", "degree", "df", "entry", "weights", "cluster") if k in case}
    reference = {"era": "before"} if "era" in terms else None
    return fit_discrete_hazard(
        table(case["data"]), duration="period", event="happened", terms=terms, reference=reference, **options
    )


def ours(case: Mapping[str, Any], term: str) -> str:
    """Return implstats' name of a term that R named."""
    if term.startswith("factor(t)"):
        return f"period[{term[9:]}]"
    if term.startswith("I(t^"):
        return f"period^{term[4:-1]}".removesuffix("^1")
    parts = [f"era[{p[3:]}]" if p.startswith("era") else p for p in term.split(":")]
    return ":".join(parts)


@pytest.mark.parametrize("name", CASES)
def test_estimates_and_standard_errors(rule: Any, name: str) -> None:
    case = CASES[name]
    theirs = pd.DataFrame([row | {"term": ours(case, row["term"])} for row in case["rows"]])
    rule.table(fitted(name).tidy(), theirs, ["term"], {"estimate": "fixed", "std_error": "std_error"})
    if case["baseline"] != "spline":
        assert len(theirs) == len(fitted(name).params)


@pytest.mark.parametrize("name", CASES)
def test_likelihood_and_number_of_rows(rule: Any, name: str) -> None:
    rule.value("loglik", fitted(name).loglik, CASES[name]["loglik"])
    case = CASES[name]
    entry = table(case["data"])[case["entry"]] if "entry" in case else 0
    assert (table(case["data"])["period"] - entry).sum() == case["person_periods"]


@pytest.mark.parametrize("name", CASES)
def test_hazard_of_a_profile(rule: Any, name: str) -> None:
    case, link = CASES[name], CASES[name]["link"]
    found = fitted(name).hazard(case["profile"], case["hazard"]["time"])
    rule.all(
        (f"{name}, period {t}", rule.fault("hazard", mine, theirs))
        for t, mine, theirs in zip(found["time"], found["estimate"], case["hazard"]["estimate"], strict=True)
    )
    # The interval's half width on the scale of the link is the standard error there, times the normal quantile.
    scale = {"cloglog": lambda h: np.log(-np.log1p(-h)), "logit": lambda h: np.log(h / (1 - h))}[link]
    width = (scale(found["conf_high"]) - scale(found["conf_low"])) / (2 * 1.959963984540054)
    rule.all(
        (f"{name}, period {t}", rule.fault("hazard", mine, theirs))
        for t, mine, theirs in zip(found["time"], width, case["hazard"]["link_se"], strict=True)
    )


def test_cloglog_is_near_the_cox_model_of_the_times_behind_the_periods() -> None:
    cox = REFERENCE["cox"]
    found = fitted("lung").tidy().set_index("term").loc[cox["terms"]]
    apart = np.abs(found["estimate"] - cox["days"]) / found["std_error"]
    assert apart.max() < 0.2


def test_logit_is_near_the_exact_partial_likelihood_of_the_periods() -> None:
    cox = REFERENCE["cox"]
    found = fitted("lung logit").tidy().set_index("term").loc[cox["terms"]]
    apart = np.abs(found["estimate"] - cox["exact"]) / found["std_error"]
    assert apart.max() < 0.1
