"""Programmes combined: what does not matter to the answer, what is said, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.meta_analysis import combine_effects

import implstats as ist
from implstats.errors import DataError

EFFECTS = pd.DataFrame(
    {
        "clinic": ["A", "B", "C", "D", "E"],
        "d": [-0.62, -0.10, -0.35, 0.44, -0.9],
        "se": [0.17, 0.21, 0.12, 0.25, 0.3],
        "low": [-0.95, -0.51, -0.59, -0.05, -1.49],
        "high": [-0.29, 0.31, -0.11, 0.93, -0.31],
    }
)
ROLES = {"estimate": "d", "std_error": "se", "programme": "clinic"}


def asked(frame: pd.DataFrame = EFFECTS, **options: Any) -> Any:
    return ist.combine_programmes(frame, **(ROLES | options))


@pytest.mark.parametrize("method", ["paule-mandel", "dersimonian-laird", "fixed"])
def test_statsmodels_says_the_same_where_its_spread_is_right(method: str) -> None:
    found = asked(method=method)
    way = "dl" if method == "dersimonian-laird" else "pm"
    more = {"atol": 1e-10, "maxiter": 500} if way == "pm" else {}
    other = combine_effects(EFFECTS["d"].to_numpy(), EFFECTS["se"].to_numpy() ** 2, method_re=way, **more)
    kind = "fe" if method == "fixed" else "re"
    mean = found.tidy().query("quantity == 'mean'").iloc[0]
    assert mean["estimate"] == pytest.approx(getattr(other, f"mean_effect_{kind}"), rel=1e-7)
    assert mean["std_error"] == pytest.approx(getattr(other, f"sd_eff_w_{kind}_hksj"), rel=1e-7)


@pytest.mark.parametrize("method", ["paule-mandel", "dersimonian-laird", "fixed"])
def test_scale_shift_and_order_do_not_matter(method: str) -> None:
    one = asked(method=method)
    moved = EFFECTS.assign(d=3 - 1000 * EFFECTS["d"], se=1000 * EFFECTS["se"]).iloc[[3, 0, 4, 1, 2]]
    other = asked(moved, method=method)
    columns = ["estimate", "conf_high", "conf_low"]
    before, after = one.tidy().iloc[5:][columns], other.tidy().iloc[5:][["estimate", "conf_low", "conf_high"]]
    np.testing.assert_allclose(3 - 1000 * before.to_numpy(float), after.to_numpy(float), rtol=1e-9)
    assert other.heterogeneity()["i2"].iloc[0] == pytest.approx(one.heterogeneity()["i2"].iloc[0], rel=1e-9)


def test_a_missing_effect_is_dropped_and_counted() -> None:
    found = asked(EFFECTS.assign(d=EFFECTS["d"].where(EFFECTS["clinic"] != "B")))
    assert found.tidy()["programme"].tolist() == ["A", "C", "D", "E", "", ""]
    assert found.header()[-1] == "dropped: 1 d missing"
    assert found.header()[2].startswith("4 programmes tell little of their spread")


def test_agreement_beyond_chance_is_said() -> None:
    alike = EFFECTS.assign(d=[0.30, 0.31, 0.30, 0.32, 0.31])
    assert "interval='modified-hksj' guards against it" in asked(alike).header()[0]
    assert "guards" not in asked().header()[0]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({}, {"std_error": None}, "std_error=None: standard errors or both limits are needed, not both of these"),
        (
            {},
            {"lower": "low", "upper": "high"},
            "std_error='se': standard errors or both limits are needed, not both of these",
        ),
        ({"se": 0.0}, {}, "std_error='se': not above 0 in rows 0, 1, 2 and 2 more"),
        (
            {"low": 0.0},
            {"std_error": None, "lower": "low", "upper": "high"},
            "lower='low': with upper= it does not enclose the estimate in rows 0, 1, 2 and 1 more; check the rows",
        ),
        (
            {"high": 1.5},
            {"std_error": None, "lower": "low", "upper": "high"},
            "lower='low': with upper= lopsided around the estimate in rows 0, 1, 2 and 2 more; give logarithms of "
            "ratios and of their limits",
        ),
        ({}, {"method": "reml"}, "method='reml': unknown option"),
        ({}, {"estimate": "e", "interval": "t"}, "estimate='e': no such column"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        asked(EFFECTS.assign(**change), **options)
    assert str(caught.value).startswith(message)


def test_two_effects_of_one_programme_are_refused() -> None:
    with pytest.raises(DataError, match=r"^programme='clinic': 'A' has several effects, which are not independent"):
        asked(EFFECTS.assign(clinic=["A", "B", "A", "C", "D"]))


def test_one_programme_is_no_more_than_itself() -> None:
    with pytest.raises(DataError, match=r"^estimate='d': 1 programme; combining takes two$"):
        asked(EFFECTS.head(1))


def test_a_column_plays_one_part_and_limits_are_finite() -> None:
    frame = pd.DataFrame({"d": [0.2, 0.5], "low": [-np.inf, 0.1], "high": [0.4, 0.9]})
    with pytest.raises(
        DataError, match=r"^std_error='d': is named as estimate= too; each role has a column of its own"
    ):
        ist.combine_programmes(frame, estimate="d", std_error="d")
    with pytest.raises(DataError, match=r"^lower='low': infinite in row 0"):
        ist.combine_programmes(frame, estimate="d", lower="low", upper="high")


def test_effects_of_programmes_come_from_their_own_models() -> None:
    """Six sites with true differences of -.35 in change, spread by .1: fitted one by one, then combined."""
    rows = []
    for site in range(6):
        late = 0.5 + 0.2 * np.random.default_rng(site).standard_normal()
        truth = ist.OutcomeTruth("lower", 2.0, 0.5, {"before": {12: 1.2}, "during": {12: late}}, residual_sd=0.3)
        scenario = ist.Scenario({"before": 60, "during": 60}, {"bsi": truth}, visits=(0, 12))
        visits = ist.simulate_visits(scenario, rng=100 + site)
        fit = ist.fit_mmrm(visits, outcome="bsi", visit="month", patient="patient", cohort="cohort", reference="before")
        row = fit.contrasts(at=[12]).tidy().set_index("quantity").loc["change"]
        rows.append({"site": f"site {site}", "estimate": row["estimate"], "std_error": row["std_error"]})
    found = ist.combine_programmes(
        pd.DataFrame(rows), estimate="estimate", std_error="std_error", programme="site", effect="difference in change"
    ).tidy()
    pooled = found.set_index("quantity").loc["mean"]
    # Better is lower, so the second cohort's smaller improvement is a positive difference.
    assert pooled["conf_low"] < 0.35 < pooled["conf_high"]
