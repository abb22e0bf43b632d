"""Competing risks against cmprsk and survival: competing.json beside this file, no R needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats._core.finegray import influence
from implstats.survival.competing import cumulative_incidence
from implstats.survival.fine_gray import FineGrayResult, fit_fine_gray
from implstats.survival.gray import gray_test

HERE = Path(__file__).resolve().parent
REFERENCE = json.loads((HERE / "competing.json").read_text(encoding="utf-8"))
ROLES = ("duration", "event", "censored", "by", "entry", "weights", "strata", "rho", "cause", "terms")


def cases(kind: str) -> Any:
    return pytest.mark.parametrize("case", REFERENCE[kind], ids=lambda case: case["name"])


def rows_of(case: dict[str, Any]) -> pd.DataFrame:
    """Return the table of a case; a futime of zero is no spell, and R's script leaves such rows out too."""
    frame = pd.read_csv(HERE / "data" / f"{case['data']}.csv")
    return frame[frame[case["duration"]] > 0]


def roles(case: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {k: case[k] for k in ROLES if k in case} | more


@pytest.fixture
def near(held: Any) -> Any:
    return held(REFERENCE["rules"])


def incidences(near: Any, case: dict[str, Any], rules: dict[str, str]) -> None:
    got = cumulative_incidence(rows_of(case), **roles(case)).tidy()
    got["variance"] = got["std_error"] ** 2
    for row in case["rows"]:
        reference = pd.DataFrame({k: v for k, v in row.items() if k not in ("group", "cause")})
        mine = got[(got["group"] == row["group"]) & (got["cause"] == row["cause"])]
        near.table(mine, reference, ["time"], rules, scale=lambda _: 0.0)


@cases("incidence")
def test_incidences_and_aalens_variances_are_those_of_cuminc(near: Any, case: dict[str, Any]) -> None:
    incidences(near, case, {"estimate": "estimate", "variance": "variance"})


@cases("survfit")
def test_incidences_with_entry_and_weights_are_those_of_survfit(near: Any, case: dict[str, Any]) -> None:
    # survfit's standard errors are the infinitesimal jackknife, as ours are with weights that are no numbers of rows;
    # its numbers at risk are rows, whatever they weigh.
    more = {"std_error": "std_error"} if "weights" in case else {"at_risk": "estimate"}
    incidences(near, case, {"estimate": "estimate", "event_free": "estimate"} | more)


@cases("gray")
def test_grays_tests_are_those_of_cuminc(near: Any, case: dict[str, Any]) -> None:
    test = gray_test(rows_of(case), **roles(case))
    for row in case["rows"]:
        assert test.df[row["cause"]] == row["df"]
        near.value("statistic", test.statistic[row["cause"]], row["statistic"])
        near.value("p_value", test.p_value[row["cause"]], row["p_value"])
        alone = gray_test(rows_of(case), **roles(case, cause=row["cause"]))
        near.value("statistic", alone.statistic[row["cause"]], row["statistic"])


def fitted(case: dict[str, Any], **more: Any) -> FineGrayResult:
    return fit_fine_gray(rows_of(case), **roles(case, **more))


def terms_as_r_names_them(result: FineGrayResult) -> list[str]:
    return [name.replace("[", "").replace("]", "") for name in result.params.index]


def covariances(near: Any, got: np.ndarray, reference: Any) -> None:
    expected = np.array(reference)
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    for place in np.ndindex(*expected.shape):
        near.value("coefficient_se", got[place], expected[place], scale[place])


@cases("fine_gray")
def test_coefficients_and_their_robust_covariance_are_those_of_crr(near: Any, case: dict[str, Any]) -> None:
    found = fitted(case)
    assert terms_as_r_names_them(found) == case["terms_r"]
    assert found.sample.rows == case["n"]
    errors = np.sqrt(np.diag(case["vcov"]))
    for got, reference, error in zip(found.params, case["estimate"], errors, strict=True):
        near.value("coefficient", got, reference, error)
    covariances(near, found.vcov.to_numpy(), case["vcov"])
    near.value("loglik", found.loglik, case["loglik"])
    near.value("loglik", found.glance()["loglik_null"][0], case["loglik_null"])


@cases("fine_gray")
def test_the_baseline_and_predictions_are_those_of_crr(near: Any, case: dict[str, Any]) -> None:
    found = fitted(case)
    # Theirs is where every column is 0, ours where it has its mean.
    zero = found.baseline()
    zero["cumulative_hazard"] = zero["estimate"] * np.exp(-found.spells.X.mean(axis=0) @ found.params.to_numpy())
    near.table(zero, pd.DataFrame(case["baseline"]), ["time"], {"cumulative_hazard": "hazard"}, lambda _: 0.0)
    profile = dict(case["profile"]["row"][0])
    got = found.incidence_at(profile, case["profile"]["time"])
    for estimate, reference in zip(got["estimate"], case["profile"]["incidence"], strict=True):
        near.value("hazard", estimate, reference)


@pytest.mark.parametrize("case", [c for c in REFERENCE["fine_gray"] if "survival" in c], ids=lambda c: c["name"])
def test_finegray_and_coxph_agree_but_for_what_the_censoring_distribution_adds(near: Any, case: dict[str, Any]) -> None:
    found = fitted(case, cluster=case["cluster"])
    fit, reference = found.fit, case["survival"]
    for got, value, error in zip(fit.beta, reference["estimate"], np.sqrt(np.diag(fit.vcov)), strict=True):
        near.value("coefficient", got, value, error)
    eta = np.empty_like(fit.moved)
    eta[fit.sets.order] = influence(fit.sets, fit.sets.root @ fit.beta)[0] @ fit.sets.root
    moved = eta @ np.linalg.inv(fit.information)
    covariances(near, moved.T @ moved, reference["without_censoring"])
    assert found.spells.cluster is not None
    total = pd.DataFrame(moved).groupby(np.asarray(found.spells.cluster)).sum().to_numpy()
    covariances(near, total.T @ total, reference["clustered"])
