"""Kaplan-Meier, log-rank tests and restricted means against R's survival: curves.json beside this file, no R needed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats.survival.curves import survival_curves
from implstats.survival.logrank import logrank
from implstats.survival.rmst import rmst

HERE = Path(__file__).resolve().parent
REFERENCE = json.loads((HERE / "curves.json").read_text(encoding="utf-8"))
TOLERANCE = REFERENCE["rules"]["fixed"]["tolerance"]
ROLES = ("duration", "event", "censored", "by", "entry", "weights", "strata")
LUNG = {"duration": "time", "event": "status", "censored": 1}


def named(kind: str) -> Any:
    return pytest.mark.parametrize("case", REFERENCE["cases"][kind], ids=lambda case: str(case["name"]))


def frame_of(case: dict[str, Any]) -> pd.DataFrame:
    written = REFERENCE["frames"].get(case["data"])
    return pd.DataFrame(written) if written is not None else pd.read_csv(HERE / "data" / f"{case['data']}.csv")


def roles_of(case: dict[str, Any], *others: str) -> dict[str, Any]:
    # 0 stands for no event without being named.
    return {k: case[k] for k in (*ROLES, *others) if k in case and (k, case[k]) != ("censored", 0)}


def numbers(values: Any) -> np.ndarray:
    return np.array([np.nan if v is None else v for v in np.atleast_1d(values)], dtype=float)


def same(got: Iterable[float], reference: Any) -> None:
    np.testing.assert_allclose(np.asarray(list(got), dtype=float), numbers(reference), rtol=TOLERANCE, atol=1e-14)


@named("curves")
def test_curves_with_five_intervals_are_those_of_survfit(case: dict[str, Any]) -> None:
    for kind in case["groups"][0]["intervals"]:
        curves = survival_curves(frame_of(case), **roles_of(case), interval=kind, level=case.get("level", 0.95))
        for group in case["groups"]:
            rows = curves.at(np.atleast_1d(group["time"]).tolist())
            rows = rows[rows["group"] == group["group"]]
            same(rows["estimate"], group["survival"])
            inside = (rows["estimate"] > 0).to_numpy()
            same(rows["std_error"][inside], numbers(group["std_error"])[inside])
            low, high = (numbers(group["intervals"][kind][end]) for end in ("low", "high"))
            # survfit has no log-log, logit and arcsine interval where survival is 1, and one of no width where it is 0
            # and weights are fractional; here both ends are 1, and there are none.
            sure = np.isnan(low) & (rows["estimate"] == 1).to_numpy()
            gone = (rows["estimate"] == 0).to_numpy()
            for column, end in (("conf_low", low), ("conf_high", high)):
                same(rows[column], np.where(sure, 1.0, np.where(gone, np.nan, end)))


@named("curves")
def test_quantiles_and_their_ends_are_those_of_survfit(case: dict[str, Any]) -> None:
    curves = survival_curves(frame_of(case), **roles_of(case), level=case.get("level", 0.95))
    for group in case["groups"]:
        of = group["quantiles"]
        rows = curves.quantile(of["share"])
        rows = rows[rows["group"] == group["group"]]
        for column, ends in (("estimate", "estimate"), ("conf_low", "low"), ("conf_high", "high")):
            same(rows[column], of[ends])
        back = curves.follow_up()
        same(
            back.loc[back["group"] == group["group"], ["estimate", "conf_low", "conf_high"]].iloc[0], group["follow_up"]
        )


@named("curves")
def test_numbers_at_risk_and_what_was_seen_by_then(case: dict[str, Any]) -> None:
    curves = survival_curves(frame_of(case), **roles_of(case))
    for group in case["groups"]:
        rows = curves.at_risk(np.atleast_1d(group["time"]).tolist())
        rows = rows[rows["group"] == group["group"]]
        same(rows["at_risk"], group["at_risk"])
        same(rows["cumulative_events"], group["events"])
        same(rows["cumulative_censored"], group["censored"])


@named("means")
def test_restricted_means_their_differences_and_ratios(case: dict[str, Any]) -> None:
    table = rmst(frame_of(case), **roles_of(case, "tau")).tidy().set_index(["quantity", "group"])
    for group in case["groups"]:
        same(table.loc[("rmst", group["group"]), ["estimate", "std_error"]], [group["mean"], group["error"]])
    for other in case["compared"]:
        for quantity in ("difference", "ratio"):
            same(table.loc[(quantity, other["group"]), ["estimate", "conf_low", "conf_high"]], other[quantity])
    assert len(table) == len(case["groups"]) + 2 * len(case["compared"])


@named("tests")
def test_the_log_rank_family(case: dict[str, Any]) -> None:
    answer = case["answer"]
    test = logrank(frame_of(case), **roles_of(case, "weights", "rho", "gamma", "trend"))
    assert test.labels == tuple(answer["group"]) or list(map(str, test.labels)) == answer["group"]
    same([test.statistic, test.p_value], [answer["statistic"], answer["p_value"]])
    assert test.df == answer["df"]
    same(test.observed, answer["observed"])
    same(test.expected, answer["expected"])
    same(test.covariance.ravel(), np.ravel(answer["covariance"]))


# What METHODS.md prints, beside the fixtures that R made --------------------------------------------------------------


@pytest.fixture(scope="module")
def lung() -> pd.DataFrame:
    return pd.read_csv(HERE / "data" / "lung.csv")


@pytest.mark.parametrize(
    ("interval", "low", "high"),
    [
        ("log", 0.344722, 0.485838),
        ("log-log", 0.338714, 0.478381),
        ("arcsine", 0.340191, 0.480140),
    ],
)
def test_lung_survival_at_a_year(lung: pd.DataFrame, interval: str, low: float, high: float) -> None:
    row = survival_curves(lung, **LUNG, interval=interval).at(365).iloc[0]
    assert (row["estimate"], row["std_error"]) == pytest.approx((0.40924162, 0.03582364), abs=5e-9)
    assert (row["conf_low"], row["conf_high"]) == pytest.approx((low, high), abs=5e-7)


def test_lung_medians(lung: pd.DataFrame) -> None:
    table = survival_curves(lung, **LUNG, by="sex").quantile()
    assert table.drop(columns=["group", "share"]).to_numpy().tolist() == [[270, 212, 310], [426, 348, 550]]


def test_lung_and_veteran_log_rank(lung: pd.DataFrame) -> None:
    assert logrank(lung, **LUNG, by="sex").statistic == pytest.approx(10.326742, abs=5e-7)
    weighted = logrank(lung, **LUNG, by="sex", weights="fleming-harrington", rho=1)
    assert weighted.statistic == pytest.approx(12.714151, abs=5e-7)
    assert logrank(lung, **LUNG, by="sex", strata="inst").statistic == pytest.approx(8.524467, abs=5e-7)
    veteran = pd.read_csv(HERE / "data" / "veteran.csv")
    test = logrank(veteran, duration="time", event="status", by="celltype")
    assert (test.statistic, test.df) == (pytest.approx(25.403700, abs=5e-7), 3)


def test_lung_restricted_means(lung: pd.DataFrame) -> None:
    table = rmst(lung, **LUNG, by="sex", tau=500).tidy().set_index("quantity")
    assert table.loc["rmst", "estimate"].tolist() == pytest.approx([278.7632, 360.9110], abs=5e-5)
    assert table.loc["rmst", "std_error"].tolist() == pytest.approx([14.3546, 16.8010], abs=5e-5)
    ends = ["estimate", "conf_low", "conf_high"]
    assert table.loc["difference", ends].tolist() == pytest.approx([82.148, 38.836, 125.459], abs=5e-4)
    assert table.loc["ratio", ends].tolist() == pytest.approx([1.2947, 1.1300, 1.4834], abs=5e-5)
