"""Residuals that are not all alike against R (nlme, lmerTest, plain matrices): residual.json; no R needed."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist

HERE = Path(__file__).resolve().parent
REFERENCE = json.loads((HERE / "residual.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in REFERENCE["cases"]}
WAYS = ["satterthwaite", "kenward-roger"]
BY_WAY = [(name, way) for name, case in CASES.items() for way in WAYS if way in case["fixed"]]
COHORTS = [(name, way) for name, way in BY_WAY if "cohorts" in CASES[name]]
FACTORS = ["cohort", "Sex", "sex", "visit"]


@pytest.fixture
def rule(held: Any) -> Any:
    """Return the comparison under this file's rules."""
    return held(REFERENCE["rules"])


def table(case: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table that the reference was computed on."""
    frame = pd.read_csv(HERE / "data" / f"{case['data']}.csv", dtype={"Subject": str, "Mare": str})
    for name, levels in (case.get("levels") or {}).items():
        frame[name] = pd.Categorical(frame[name], categories=levels)
    for name, text in (case.get("compute") or {}).items():
        words = {"sin": np.sin, "cos": np.cos, **{column: frame[column] for column in frame.columns}}
        frame[name] = eval(text, {"__builtins__": {}}, words).astype(float)
    return frame


def ours(term: str) -> str:
    """Return implstats' name of a term that R named: `cohortduring` is `cohort[during]`."""
    parts = []
    for part in term.split(":"):
        factor = next((f for f in FACTORS if part.startswith(f) and part != f and "[" not in part), None)
        parts.append(f"{factor}[{part[len(factor) :]}]" if factor else part)
    return ":".join(parts)


def columns(reference: Mapping[str, Any]) -> pd.DataFrame:
    """Return a reference's table, its terms by our names."""
    frame = pd.DataFrame(reference)
    return frame.assign(term=[ours(t) for t in frame["term"]]) if "term" in frame else frame


@contextmanager
def boundary_allowed(case: Mapping[str, Any]) -> Iterator[None]:
    """Let a warning pass where the reference is on the boundary, and nowhere else."""
    with warnings.catch_warnings():
        if case["criterion"]["boundary"]:
            warnings.simplefilter("ignore", ist.BoundaryWarning)
        yield


@cache
def mixed(name: str) -> Any:
    """Return our fit of a case's formula."""
    case = CASES[name]
    ways = {k: case[k] for k in ("formula", "method", "residual", "precision") if k in case}
    with boundary_allowed(case):
        return ist.fit_mixed(table(case), **ways)


@cache
def growth(name: str) -> Any:
    """Return our growth model of a case's cohort question."""
    with boundary_allowed(CASES[name]):
        return ist.fit_growth(table(CASES[name]), **CASES[name]["cohorts"]["call"])


def residual_sd(name: str) -> float:
    """Return the largest of the reference's residual standard deviations."""
    frame = pd.DataFrame(CASES[name]["variances"]["table"])
    return float(frame.loc[frame["group"] == "Residual", "sd"].astype(float).max())


@pytest.mark.parametrize("name", CASES)
def test_criterion_is_no_higher_than_the_reference(name: str, rule: Any) -> None:
    case, ended = CASES[name], mixed(name).glance().iloc[0]
    assert case["criterion"]["optimum"]
    rule.value("criterion", float(ended["deviance"]), case["criterion"]["value"])
    assert ended["parameters"] == case["parameters"]
    assert bool(ended["boundary"]) == case["criterion"]["boundary"]
    if "nlme" in case:
        assert ended["deviance"] <= case["nlme"]["value"] + REFERENCE["rules"]["criterion"]["below"]


@pytest.mark.parametrize(("name", "way"), BY_WAY)
def test_fixed_effects_standard_errors_and_df(name: str, way: str, rule: Any) -> None:
    reference = CASES[name]["fixed"]
    rule.table(mixed(name).tidy(df=way), columns(reference[way]), ["term"], reference["rules"])


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if "lmer" in c])
def test_precision_is_what_lmer_calls_weights(name: str, rule: Any) -> None:
    reference = CASES[name]["lmer"]
    rule.table(mixed(name).tidy(), columns(reference["satterthwaite"]), ["term"], reference["rules"])


@pytest.mark.parametrize("name", CASES)
def test_covariance_of_the_fixed_effects(name: str, rule: Any) -> None:
    reference = np.array(CASES[name]["vcov"]["value"])
    terms = list(columns(CASES[name]["fixed"]["satterthwaite"])["term"])
    value = mixed(name).vcov.loc[terms, terms].to_numpy()
    size = np.sqrt(np.outer(np.diag(reference), np.diag(reference)))
    rule.matrix("vcov", value, reference, size)


@pytest.mark.parametrize("name", CASES)
def test_variances_and_correlations(name: str, rule: Any) -> None:
    reference = pd.DataFrame(CASES[name]["variances"]["table"]).astype({"sd": float, "correlation": float})
    got = mixed(name).variances()
    assert len(got) == len(reference)
    # Each standard deviation is held to its own size.
    rule.table(got, reference, ["group", "effect", "other"], CASES[name]["variances"]["rules"], lambda row: 0.0)


@pytest.mark.parametrize(
    ("name", "index", "way"), [(n, i, w) for n, w in BY_WAY for i in range(len(CASES[n].get("joint", [])))]
)
def test_several_coefficients_at_once(name: str, index: int, way: str, rule: Any) -> None:
    question = CASES[name]["joint"][index]
    reference = question[way]
    got = mixed(name).joint_test([ours(t) for t in question["terms"]], df=way).iloc[0]
    rule.value("statistic", float(got["statistic"]), reference["statistic"])
    rule.value("df", float(got["df_num"]), reference["df_num"])
    rule.value("df", float(got["df"]), reference["df_den"])
    assert float(got["p_value"]) == pytest.approx(reference["p_value"], rel=1e-3)


@pytest.mark.parametrize("name", CASES)
def test_fitted_values(name: str, rule: Any) -> None:
    reference, got, size = CASES[name]["fitted"], mixed(name).augment(), residual_sd(name)
    for column, key in {"fitted": "first", "fixed": "fixed"}.items():
        pairs = enumerate(zip(got[column], reference[key], strict=False))
        limit = reference["rules"][key]
        rule.all((f"row {i} {column}", rule.fault(limit, float(mine), value, size)) for i, (mine, value) in pairs)


@pytest.mark.parametrize(("name", "way"), COHORTS)
def test_means_contrasts_and_changes(name: str, way: str, rule: Any) -> None:
    case, result = CASES[name]["cohorts"], growth(name)
    reference, rules, at = case[way], case["rules"], case["at"]
    later = [t for t in at if t != case["call"]["baseline"]]
    rule.table(result.means(at=at, df=way).tidy(), pd.DataFrame(reference["means"]), ["cohort", "time"], rules)
    keys = ["cohort", "time", "quantity"]
    rule.table(result.contrasts(at=later, df=way).tidy(), pd.DataFrame(reference["contrasts"]), keys, rules)
    changes = pd.DataFrame(reference["changes"])
    changes["estimate"] *= {"lower": -1.0, "higher": 1.0}[case["call"]["better"]]
    rule.table(result.changes(at=later, df=way).tidy(), changes, ["cohort", "time"], rules)


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if "cohorts" in c])
def test_growth_model_is_the_mixed_model_of_the_same_formula(name: str, rule: Any) -> None:
    one, other = growth(name), mixed(name)
    rule.value("criterion", float(one.glance()["deviance"].iloc[0]), CASES[name]["criterion"]["value"])
    assert one.glance()["parameters"].iloc[0] == other.glance()["parameters"].iloc[0]
    reference = pd.DataFrame(CASES[name]["variances"]["table"]).astype({"sd": float, "correlation": float})
    residual = reference[reference["group"] == "Residual"]
    rules = CASES[name]["variances"]["rules"]
    rule.table(one.variances(), residual, ["group", "effect", "other"], rules, lambda row: 0.0)
