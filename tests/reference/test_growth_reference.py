"""Mixed and growth models against R (lme4, lmerTest, pbkrtest, emmeans): growth.json beside this file, no R needed."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist

HERE = Path(__file__).resolve().parent
REFERENCE = json.loads((HERE / "growth.json").read_text(encoding="utf-8"))
RULES = REFERENCE["rules"]
CASES = {case["name"]: case for case in REFERENCE["cases"]}
COHORT_CASES = [name for name, case in CASES.items() if "cohorts" in case]
WAYS = ["satterthwaite", "kenward-roger"]


def table(case: Mapping[str, Any]) -> pd.DataFrame:
    """Return the table that the reference was computed on."""
    frame = pd.read_csv(HERE / "data" / f"{case['data']}.csv")
    if "drop" in case:
        first, last, step = case["drop"]
        frame = frame.drop(index=range(first - 1, last, step))
    for name in ["Subject", "patient"]:
        if name in frame:
            frame[name] = frame[name].astype(str)
    for name, levels in (case.get("levels") or {}).items():
        frame[name] = pd.Categorical(frame[name], categories=levels)
    for name, rule in (case.get("compute") or {}).items():
        words = {"log": np.log, **{column: frame[column] for column in frame.columns}}
        frame[name] = eval(rule, {"__builtins__": {}}, words).astype(float)
    return frame


def ours(term: str) -> str:
    """Return implstats' name of a term that R named: `cohortduring` is `cohort[during]`; its own names stay."""
    if "[" in term:
        return term
    factors = {"cohort", "Sex", "sex", "visit"}
    parts = []
    for part in term.split(":"):
        factor = next((f for f in factors if part.startswith(f) and len(part) > len(f)), None)
        parts.append(f"{factor}[{part[len(factor) :]}]" if factor else part.replace("^", " ** "))
    return ":".join(parts)


def group_of(name: str) -> str:
    """Return a grouping factor's name without lme4's counter (`site.1`) and whatever order a nesting is written in."""
    return ":".join(sorted(re.split(r"[:.]", re.sub(r"\.\d+$", "", str(name)))))


def level_of(group: str, level: object) -> str:
    """Return a level's name in the order that `group_of` gives to the factors."""
    parts = dict(zip(re.sub(r"\.\d+$", "", str(group)).split(":"), str(level).split(":"), strict=True))
    return ":".join(parts[k] for k in sorted(parts))


def effect_of(name: object) -> str:
    """Return a random effect's name; missing is the empty string."""
    return "" if name is None or name is pd.NA or name != name else ours(str(name))


@cache
def mixed(name: str) -> Any:
    """Return our fit of a case's formula."""
    case = CASES[name]
    with warnings.catch_warnings():
        if case["criterion"].get("boundary"):
            warnings.simplefilter("ignore", ist.BoundaryWarning)
        return ist.fit_mixed(table(case), formula=case["formula"], method=case["method"])


@cache
def growth(name: str) -> Any:
    """Return our growth model of a case's cohort question."""
    case = CASES[name]
    call = dict(case["cohorts"]["call"])
    if isinstance(call["shape"], dict):
        call["shape"] = ist.Piecewise([call["shape"]["piecewise"]])
    with warnings.catch_warnings():
        if case["criterion"].get("boundary"):
            warnings.simplefilter("ignore", ist.BoundaryWarning)
        return ist.fit_growth(table(case), **call)


def joint(result: Any, terms: Iterable[str], way: str) -> Mapping[str, Any]:
    """Return our test of several terms at once: statistic, df_num, df, p_value."""
    return dict(result.joint_test([ours(t) for t in terms], df=way).iloc[0])


def per_cohort_slopes(result: Any, way: str) -> pd.DataFrame:
    """Return the slopes of the cohorts themselves, without their differences."""
    frame = result.trends(df=way).tidy()
    if "quantity" in frame:
        frame = frame[frame["quantity"] == "slope"]
    elif "reference" in frame:
        frame = frame[frame["reference"].isna() | (frame["reference"] == "")]
    return frame


def later(reference: Mapping[str, Any]) -> list[float]:
    """Return the times of a cohort question that lie after its baseline."""
    return [t for t in reference["at"] if t != reference["call"]["baseline"]]


def near(rule: str, value: float, reference: float, scale: float = 0.0) -> str:
    """Return what is wrong with a value under a rule of the reference file, or nothing."""
    limits = RULES[rule]
    if rule == "criterion":
        bad = value > reference + limits["below"]
    elif reference is None or not math.isfinite(reference):
        bad = math.isfinite(value)
    else:
        size = max(abs(reference), scale) if limits["kind"].startswith("relative") else 1.0
        bad = not abs(value - reference) <= limits["tolerance"] * size
    if not bad:
        return ""
    return f"{rule}: {value!r}, reference {reference!r}, difference {value - (reference or 0.0):.3g} ({limits['kind']})"


def complain(faults: Iterable[tuple[str, str]]) -> None:
    """Fail with every fault, each named."""
    lines = [f"{where}: {fault}" for where, fault in faults if fault]
    assert not lines, "\n" + "\n".join(lines)


def compare_rows(
    got: pd.DataFrame,
    rows: Iterable[Mapping[str, Any]],
    rules: Mapping[str, str],
    key: Callable[[Mapping[str, Any]], tuple[Any, ...]],
    scale: Callable[[Mapping[str, Any]], float] | None = None,
) -> None:
    """Compare each reference row with our row of the same key."""
    mine = {key(row): row for row in got.to_dict("records")}
    faults = []
    for row in rows:
        where = key(row)
        if where not in mine:
            faults.append((str(where), f"no such row among {list(mine)}"))
            continue
        size = scale(row) if scale else abs(row["std_error"])
        for column, rule in rules.items():
            faults.append((f"{where} {column}", near(rule, float(mine[where][column]), row[column], size)))
    complain(faults)


def coefficient_key(row: Mapping[str, Any]) -> tuple[str]:
    return (ours(row["term"]),)


def visit_key(row: Mapping[str, Any]) -> tuple[str, float]:
    return row["cohort"], float(row["time"])


@pytest.mark.parametrize("name", CASES)
def test_criterion_is_no_higher_than_the_reference(name: str) -> None:
    reference = CASES[name]["criterion"]
    value = float(mixed(name).glance()["deviance"].iloc[0])
    complain([(name, near("criterion", value, reference["value"]))])
    if reference["optimum"]:
        assert value >= reference["value"] - RULES["criterion"]["within"]


@pytest.mark.parametrize("name", CASES)
def test_boundary_is_said_where_there_is_one(name: str) -> None:
    case = CASES[name]
    expected = bool(case["criterion"].get("boundary"))
    assert bool(mixed(name).glance()["boundary"].iloc[0]) == expected
    if expected:
        with pytest.warns(ist.BoundaryWarning):
            ist.fit_mixed(table(case), formula=case["formula"], method=case["method"])


@pytest.mark.parametrize(("name", "way"), [(n, w) for n, c in CASES.items() for w in WAYS if w in c["fixed"]])
def test_fixed_effects_standard_errors_and_df(name: str, way: str) -> None:
    reference = CASES[name]["fixed"]
    compare_rows(mixed(name).tidy(df=way), reference[way], reference["rules"], coefficient_key)


@pytest.mark.parametrize("name", CASES)
def test_covariance_of_the_fixed_effects(name: str, held: Any) -> None:
    reference = np.array(CASES[name]["vcov"]["value"]).reshape(-1, len(CASES[name]["fixed"]["satterthwaite"]))
    terms = [ours(row["term"]) for row in CASES[name]["fixed"]["satterthwaite"]]
    value = mixed(name).vcov.loc[terms, terms].to_numpy()
    size = np.sqrt(np.outer(np.diag(reference), np.diag(reference)))
    held(RULES).matrix("vcov", value, reference, size)


@pytest.mark.parametrize("name", CASES)
def test_variances_and_correlations(name: str) -> None:
    reference = CASES[name]["variances"]

    def key(row: Mapping[str, Any]) -> tuple[str, str, str]:
        return group_of(row["group"]), effect_of(row["effect"]), effect_of(row["other"])

    rows = [row | {"sd": row.get("sd"), "correlation": row.get("correlation")} for row in reference["rows"]]
    got = mixed(name).variances()
    # lme4 gives a correlation of two effects of which one has no variance no meaning either: it is left out.
    rows = [row for row in rows if row["sd"] is not None or row["correlation"] is not None]
    # An effect on a far larger or smaller scale than the outcome has its own standard deviation as scale.
    compare_rows(got, rows, reference["rules"], key, lambda row: min(reference["sigma"], abs(row["sd"] or 1.0) or 1e9))


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if "random_effects" in c])
def test_random_effects(name: str) -> None:
    reference = CASES[name]["random_effects"]
    sds = {
        (group_of(row["group"]), effect_of(row["effect"])): row["sd"]
        for row in CASES[name]["variances"]["rows"]
        if row.get("sd") is not None
    }

    def key(row: Mapping[str, Any]) -> tuple[str, str, str]:
        return group_of(row["group"]), level_of(row["group"], row["level"]), effect_of(row["effect"])

    def scale(row: Mapping[str, Any]) -> float:
        return sds[group_of(row["group"]), effect_of(row["effect"])] or CASES[name]["variances"]["sigma"]

    compare_rows(mixed(name).random_effects(), reference["rows"], reference["rules"], key, scale)


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if "fitted" in c])
def test_fitted_values(name: str) -> None:
    reference, sigma = CASES[name]["fitted"], CASES[name]["variances"]["sigma"]
    got = mixed(name).augment()
    faults = []
    for column, key in {"fitted": "first", "fixed": "fixed"}.items():
        for i, value in enumerate(reference[key]):
            faults.append(
                (f"row {i} {column}", near(reference["rules"][key], float(got[column].iloc[i]), value, sigma))
            )
    complain(faults)


@pytest.mark.parametrize("name", [n for n, c in CASES.items() if "shares" in c])
def test_shares_of_variance(name: str) -> None:
    reference = CASES[name]["shares"]["value"]
    got = {**mixed(name).r2().iloc[0], **mixed(name).icc().iloc[0]}
    complain((key, near("share", float(got[key]), value)) for key, value in reference.items())


@pytest.mark.parametrize(
    ("name", "index", "way"),
    [(n, i, w) for n, c in CASES.items() for i, j in enumerate(c.get("joint", [])) for w in WAYS if w in j],
)
def test_several_coefficients_at_once(name: str, index: int, way: str) -> None:
    question = CASES[name]["joint"][index]
    reference, got = question[way], joint(mixed(name), question["terms"], way)
    faults = [
        ("statistic", near("statistic", float(got["statistic"]), reference["statistic"])),
        ("df_num", near("df", float(got["df_num"]), reference["df_num"])),
        ("df", near("df", float(got["df"]), reference["df_den"])),
    ]
    complain(faults)
    assert float(got["p_value"]) == pytest.approx(reference["p_value"], rel=1e-3)


def cohort_ways(needs: str = "means") -> list[tuple[str, str]]:
    """Return the cohort cases and df methods for which the reference has a table."""
    return [(n, w) for n in COHORT_CASES for w in WAYS if needs in CASES[n]["cohorts"].get(w, {})]


@pytest.mark.parametrize(("name", "way"), cohort_ways())
def test_marginal_means(name: str, way: str) -> None:
    reference = CASES[name]["cohorts"]
    got = growth(name).means(at=reference["at"], df=way).tidy()
    compare_rows(got, reference[way]["means"], reference["rules"], visit_key)


@pytest.mark.parametrize(("name", "way"), cohort_ways())
def test_contrasts_of_level_and_change(name: str, way: str) -> None:
    reference = CASES[name]["cohorts"]

    def key(row: Mapping[str, Any]) -> tuple[str, float, str]:
        return row["cohort"], float(row["time"]), row["quantity"]

    baseline = reference["call"]["baseline"]
    rows = [row for row in reference[way]["contrasts"] if row["time"] != baseline]
    got = growth(name).contrasts(at=later(reference), df=way).tidy()
    compare_rows(got, rows, reference["rules"], key)


@pytest.mark.parametrize(("name", "way"), cohort_ways())
def test_change_of_each_cohort(name: str, way: str) -> None:
    reference = CASES[name]["cohorts"]
    sign = {"lower": -1.0, "higher": 1.0}[reference["call"]["better"]]
    rows = [row | {"estimate": sign * row["estimate"]} for row in reference[way]["changes"]]
    at, result = later(reference), growth(name)
    compare_rows(result.changes(at=at, df=way).tidy(), rows, reference["rules"], visit_key)
    # An effect size by a known SD of 1 is the same change.
    sizes = result.effect_sizes(at=at, sd=1.0, df=way).tidy()
    compare_rows(sizes[sizes["quantity"] == "d"], rows, reference["rules"], visit_key)


@pytest.mark.parametrize(("name", "way"), cohort_ways("trends"))
def test_slope_of_each_cohort(name: str, way: str) -> None:
    reference = CASES[name]["cohorts"]
    got = per_cohort_slopes(growth(name), way)
    compare_rows(got, reference[way]["trends"], reference["rules"], lambda row: (row["cohort"],))


@pytest.mark.parametrize(("name", "way"), cohort_ways())
def test_improvement_retained_and_its_fieller_set(name: str, way: str) -> None:
    reference = CASES[name]["cohorts"]
    got = growth(name).retained_improvement(at=later(reference), method="fieller", df=way).tidy()
    rows = reference[way]["retained"]
    rules = {"estimate": "fixed", "df": "df", "conf_low": "statistic", "conf_high": "statistic"}
    compare_rows(got, rows, rules, visit_key, lambda row: 1.0)
    sets = {visit_key(row): row["set"] for row in got.to_dict("records")}
    assert sets == {visit_key(row): row["set"] for row in rows}


@pytest.mark.parametrize("name", COHORT_CASES)
def test_growth_model_is_the_mixed_model_of_the_same_formula(name: str) -> None:
    one, other = growth(name).glance().iloc[0], mixed(name).glance().iloc[0]
    assert one["parameters"] == other["parameters"]
    assert float(one["sigma"]) == pytest.approx(float(other["sigma"]), rel=1e-6)
    reference = CASES[name]["variances"]
    residual = growth(name).variances().iloc[-1]
    complain([("sigma", near("sd", float(residual["sd"]), reference["sigma"]))])
