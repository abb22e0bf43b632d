"""MMRM against R (nlme, emmeans, lmerTest, pbkrtest, plain matrices) and SAS: mmrm.json, fev_sas.csv; no R needed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist

HERE = Path(__file__).resolve().parent
REFERENCE = json.loads((HERE / "mmrm.json").read_text(encoding="utf-8"))
CASES = {case["name"]: case for case in REFERENCE["cases"]}
WAYS = ["satterthwaite", "kenward-roger"]
BY_WAY = [(name, way) for name, case in CASES.items() for way in WAYS if way in case["fixed"]]
SAS = pd.read_csv(HERE / "data" / "fev_sas.csv")
SAS_CASES = {"reml": "fev unstructured adjusted", "ml": "fev unstructured ml adjusted"}
FACTORS = {"sex", "race"}


@pytest.fixture
def rule(held: Any) -> Any:
    """Return the comparison under this file's rules."""
    return held(REFERENCE["rules"])


def table(case: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table that the reference was computed on."""
    frame = pd.read_csv(HERE / "data" / f"{case['data']}.csv", dtype={"Subject": str})
    for name, levels in (case.get("levels") or {}).items():
        frame[name] = pd.Categorical(frame[name], categories=levels)
    return frame[frame[case["visit"]] <= case["until"]] if "until" in case else frame


def ours(case: Mapping[str, Any], term: str) -> str:
    """Return implstats' name of a term that R named: `cohortduring` is `cohort[during]`."""
    factors = FACTORS | {case["visit"], case["cohort"]}
    parts = []
    for part in term.split(":"):
        factor = next((f for f in factors if part.startswith(f) and part != f), None)
        parts.append(f"{factor}[{part[len(factor) :]}]" if factor else part)
    return ":".join(parts)


def columns(case: Mapping[str, Any], reference: Mapping[str, Any]) -> pd.DataFrame:
    """Return a reference's table, its terms by our names."""
    frame = pd.DataFrame(reference)
    return frame.assign(term=[ours(case, t) for t in frame["term"]]) if "term" in frame else frame


@cache
def mmrm(name: str) -> Any:
    """Return our fit of a case."""
    case = CASES[name]
    roles = {k: case[k] for k in ("outcome", "visit", "patient", "cohort", "reference", "baseline", "better")}
    ways = {k: case[k] for k in ("covariance", "by_cohort", "method")}
    return ist.fit_mmrm(table(case), **roles, **ways, adjust=case.get("adjust"))


@pytest.mark.parametrize("name", CASES)
def test_criterion_is_no_higher_than_the_reference(name: str, rule: Any) -> None:
    case, ended = CASES[name], mmrm(name).glance().iloc[0]
    assert case["criterion"]["optimum"]
    rule.value("criterion", float(ended["deviance"]), case["criterion"]["value"])
    assert ended["parameters"] == case["parameters"]
    if "nlme" in case:
        assert ended["deviance"] <= case["nlme"]["value"] + REFERENCE["rules"]["criterion"]["below"]


@pytest.mark.parametrize(("name", "way"), BY_WAY)
def test_fixed_effects_standard_errors_and_df(name: str, way: str, rule: Any) -> None:
    reference = CASES[name]["fixed"]
    rule.table(mmrm(name).tidy(df=way), columns(CASES[name], reference[way]), ["term"], reference["rules"])


@pytest.mark.parametrize(
    ("name", "way"), [(n, w) for n, w in BY_WAY if "random_intercept" in CASES[n] and w in CASES[n]["random_intercept"]]
)
def test_compound_symmetry_is_lmers_random_intercept(name: str, way: str, rule: Any) -> None:
    reference = CASES[name]["random_intercept"]
    rule.table(mmrm(name).tidy(df=way), columns(CASES[name], reference[way]), ["term"], reference["rules"])


@pytest.mark.parametrize("name", CASES)
def test_covariance_of_the_fixed_effects(name: str, rule: Any) -> None:
    reference = np.array(CASES[name]["vcov"]["value"])
    terms = list(columns(CASES[name], CASES[name]["fixed"]["satterthwaite"])["term"])
    value = mmrm(name).vcov.loc[terms, terms].to_numpy()
    size = np.sqrt(np.outer(np.diag(reference), np.diag(reference)))
    rule.matrix("vcov", value, reference, size)


@pytest.mark.parametrize("name", CASES)
def test_covariance_of_the_visits(name: str, rule: Any) -> None:
    reference = pd.DataFrame(CASES[name]["covariances"]["table"])
    own = reference[reference["time"] == reference["other"]].set_index(["cohort", "time"])["covariance"]

    def scale(row: Mapping[str, Any]) -> float:
        return float(np.sqrt(own[row["cohort"], row["time"]] * own[row["cohort"], row["other"]]))

    rules = CASES[name]["covariances"]["rules"]
    rule.table(mmrm(name).covariance(), reference, ["cohort", "time", "other"], rules, scale)
    variances = own.rename("variance").reset_index()
    rule.table(mmrm(name).variances(), variances, ["cohort", "time"], {"variance": "sd"}, lambda row: 0.0)


@pytest.mark.parametrize(("name", "way"), BY_WAY)
def test_all_interactions_at_once(name: str, way: str, rule: Any) -> None:
    for question in CASES[name]["joint"]:
        reference = question[way]
        got = mmrm(name).joint_test([ours(CASES[name], t) for t in question["terms"]], df=way).iloc[0]
        rule.value("statistic", float(got["statistic"]), reference["statistic"])
        rule.value("df", float(got["df_num"]), reference["df_num"])
        rule.value("df", float(got["df"]), reference["df_den"])
        assert float(got["p_value"]) == pytest.approx(reference["p_value"], rel=1e-3)


@pytest.mark.parametrize(("name", "way"), BY_WAY)
def test_means_contrasts_and_changes(name: str, way: str, rule: Any) -> None:
    case, result = CASES[name], mmrm(name)
    reference, rules = case["cohorts"][way], case["cohorts"]["rules"]
    rule.table(result.means(df=way).tidy(), pd.DataFrame(reference["means"]), ["cohort", "time"], rules)
    keys = ["cohort", "time", "quantity"]
    rule.table(result.contrasts(df=way).tidy(), pd.DataFrame(reference["contrasts"]), keys, rules)
    changes = pd.DataFrame(reference["changes"])
    changes["estimate"] *= {"lower": -1.0, "higher": 1.0}[case["better"]]
    rule.table(result.changes(df=way).tidy(), changes, ["cohort", "time"], rules)


@pytest.mark.parametrize("name", CASES)
def test_expected_outcomes(name: str, rule: Any) -> None:
    reference, augmented = CASES[name]["fitted"], mmrm(name).augment()
    size = float(mmrm(name).variances()["sd"].min())
    values = augmented.loc[[row - 1 for row in reference["row"]], "fitted"]
    pairs = zip(reference["row"], values, reference["first"], strict=True)
    rule.all((f"row {row}", rule.fault("fixed", float(value), expected, size)) for row, value, expected in pairs)


@pytest.mark.parametrize("method", SAS_CASES)
def test_sas_proc_mixed_as_printed(method: str) -> None:
    """Estimates to the four decimals that SAS prints and where it stops; Satterthwaite's df as it rounds them."""
    result = mmrm(SAS_CASES[method])
    printed = SAS[(SAS["method"] == method) & (SAS["quantity"] == "coefficient")].set_index("term")
    got = result.tidy().set_index("term").loc[printed.index]
    assert len(printed) == len(result.params)
    assert got["estimate"].tolist() == pytest.approx(printed["estimate"].tolist(), abs=5e-4, rel=0)
    assert got["std_error"].tolist() == pytest.approx(printed["std_error"].tolist(), abs=2e-4, rel=0)
    assert got["df"].tolist() == pytest.approx(printed["df"].tolist(), abs=0.51, rel=0)


def test_sas_reaches_the_same_criterion_and_covariance() -> None:
    result = mmrm(SAS_CASES["reml"])
    sas = SAS[(SAS["method"] == "reml") & (SAS["covariance"] == "unstructured")]
    criterion = float(sas.loc[sas["quantity"] == "criterion", "estimate"].iloc[0])
    # The table has five decimals of what SAS was given.
    assert float(result.glance()["deviance"].iloc[0]) == pytest.approx(criterion, abs=1e-6)
    got = result.covariance().set_index(["time", "other"])["covariance"]
    for _, row in sas[sas["quantity"] == "covariance"].iterrows():
        one, other = (float(k) for k in row["term"].split())
        assert got[one, other] == pytest.approx(row["estimate"], rel=5e-4, abs=5e-3)
