"""Parametric models of times against R (survreg, and its likelihood written out): parametric.json; no R needed."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats.survival.parametric import fit_parametric

HERE = Path(__file__).resolve().parent
REFERENCE = json.loads((HERE / "parametric.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in REFERENCE["cases"]}
WITH_QUANTILES = [name for name, case in CASES.items() if "quantiles" in case]


@pytest.fixture
def rule(held: Any) -> Any:
    """Return the comparison under this file's rules."""
    return held(REFERENCE["rules"])


@cache
def fitted(name: str) -> Any:
    case = CASES[name]
    frame = pd.read_csv(HERE / "data" / f"{case['data']}.csv")
    options = {k: case[k] for k in ("terms", "distribution", "df", "entry", "weights") if k in case}
    if case["data"] == "lung":
        frame["dead"] = frame["status"] == 2
        return fit_parametric(frame, duration="time", event="dead", **options)
    options["reference"] = {"era": "before"}
    stopped = frame["status"] == "stopped"
    if not case["between"]:
        return fit_parametric(frame.assign(stopped=stopped), duration="quarter", event="stopped", **options)
    frame = frame.assign(active=frame["quarter"] - stopped, gone=frame["quarter"].where(stopped))
    return fit_parametric(frame, lower="active", upper="gone", **options)


def ours(term: str) -> str:
    """Return implstats' name of a term that R named."""
    return ":".join(f"era[{part[3:]}]" if part.startswith("era") else part for part in term.split(":"))


@pytest.mark.parametrize("name", CASES)
def test_estimates_and_standard_errors(rule: Any, name: str) -> None:
    theirs = pd.DataFrame([row | {"term": ours(row["term"])} for row in CASES[name]["rows"]])
    assert len(theirs) == len(fitted(name).params)
    rule.table(fitted(name).tidy(), theirs, ["term"], {"estimate": "fixed", "std_error": "std_error"})


@pytest.mark.parametrize("name", CASES)
def test_likelihood(rule: Any, name: str) -> None:
    rule.value("loglik", fitted(name).loglik, CASES[name]["loglik"])


@pytest.mark.parametrize("name", WITH_QUANTILES)
def test_quantiles_of_a_profile(rule: Any, name: str) -> None:
    theirs = CASES[name]["quantiles"]
    found = fitted(name).quantile(CASES[name]["profile"], theirs["p"])
    for column, limits in (("estimate", "fixed"), ("std_error", "std_error")):
        pairs = zip(found[column], theirs[column], theirs["p"], strict=True)
        rule.all((f"{column} at {p}", rule.fault(limits, a, b)) for a, b, p in pairs)


def test_the_published_row_of_the_lung_data() -> None:
    found = fitted("lung weibull")
    expected = {"(Intercept)": 6.27485306, "age": -0.01225703, "sex": 0.38208514}
    for term, value in expected.items():
        assert found.params[term] == pytest.approx(value, abs=5e-9)
    assert np.exp(found.params["log(scale)"]) == pytest.approx(0.75405095, abs=5e-9)
    assert found.loglik == pytest.approx(-1147.054431, abs=5e-7)
