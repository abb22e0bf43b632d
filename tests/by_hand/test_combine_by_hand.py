"""Effects of programmes combined, and E-values, worked out by hand and held to published numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats._core import pooling

METHODS = ("paule-mandel", "dersimonian-laird", "fixed")


def combined(y: list[float], se: list[float], **options: Any) -> Any:
    return ist.combine_programmes(pd.DataFrame({"y": y, "se": se}), estimate="y", std_error="se", **options)


def mean(found: Any) -> Any:
    return found.tidy().query("quantity == 'mean'").iloc[0]


@pytest.mark.parametrize("method", METHODS[:2])
def test_two_programmes_by_hand(method: str) -> None:
    # Effects 0 and 1, variances .04: Q = (.25 + .25) / .04 = 12.5 on 1 df. At tau^2 it is .5 / (.04 + tau^2), 1 at
    # .46; DerSimonian-Laird: (12.5 - 1) / (50 - 1250 / 50) = .46 too. The mean is .5, its SE sqrt(.5 / 2) = .5.
    found = combined([0.0, 1.0], [0.2, 0.2], method=method)
    told = found.heterogeneity().iloc[0]
    assert told["statistic"] == pytest.approx(12.5, rel=1e-12)
    assert told["tau2"] == pytest.approx(0.46, rel=1e-12)
    # I^2 = .46 / .5; at the ends of the interval Q is 5.0239 and .00098207, chi-square's 97.5th and 2.5th percentile.
    assert told["i2"] == pytest.approx(0.92, rel=1e-12)
    assert told["tau2_low"] == pytest.approx(0.5 / 5.023886187314888 - 0.04, rel=1e-9)
    assert told["tau2_high"] == pytest.approx(0.5 / 0.0009820691171752583 - 0.04, rel=1e-9)
    # Hartung and Knapp's factor is Q at tau^2 / 1 = 1; t(1, .975) = 12.7062.
    row = mean(found)
    assert row["estimate"] == pytest.approx(0.5, rel=1e-12)
    assert row["conf_high"] == pytest.approx(0.5 + 12.706204736174698 * 0.5, rel=1e-9)
    assert set(found.tidy()["quantity"]) == {"programme", "mean"}


def test_a_negative_estimate_of_the_spread_is_zero() -> None:
    # .10, .11, .12 with SE 1: Q = .0002, far below 2 df, so DerSimonian-Laird's formula gives -.9999. Taken as 0 the SE
    # of the mean is sqrt(1/3) = .577; statsmodels goes on with -.9999, and says .0058.
    found = combined([0.10, 0.11, 0.12], [1.0, 1.0, 1.0], method="dersimonian-laird", interval="normal")
    assert found.tau2 == 0
    assert mean(found)["std_error"] == pytest.approx(math.sqrt(1 / 3), rel=1e-12)
    assert mean(found)["conf_high"] == pytest.approx(0.11 + 1.959963984540054 * math.sqrt(1 / 3), rel=1e-12)
    # Hartung and Knapp's factor is .0002 / 2: their interval is absurdly short, the modified one is not.
    short, guarded = (mean(combined([0.10, 0.11, 0.12], [1.0] * 3, interval=how)) for how in ("hksj", "modified-hksj"))
    assert short["std_error"] == pytest.approx(math.sqrt(1 / 3) * math.sqrt(0.0001), rel=1e-9)
    assert guarded["std_error"] == pytest.approx(math.sqrt(1 / 3), rel=1e-12)


def test_paule_and_mandel_solve_their_equation() -> None:
    rng = np.random.default_rng(3)
    solved = 0
    for _ in range(200):
        k = int(rng.integers(2, 12))
        y, v = rng.normal(0, 0.5, k), rng.uniform(0.01, 0.5, k)
        tau2 = pooling.profile(y, v, 0.95)[0]
        if tau2:
            solved += 1
            assert pooling.generalised_q(tau2, y, v) == pytest.approx(k - 1, rel=1e-9)
        else:
            assert pooling.generalised_q(0.0, y, v) <= k - 1
    assert solved > 50


def test_limits_stand_for_standard_errors() -> None:
    z = 1.6448536269514722
    frame = pd.DataFrame({"y": [0.2, 0.5], "l": [0.2 - z * 0.1, 0.5 - z * 0.3], "u": [0.2 + z * 0.1, 0.5 + z * 0.3]})
    found = ist.combine_programmes(frame, estimate="y", lower="l", upper="u", limits=0.90)
    np.testing.assert_allclose(found.std_error, [0.1, 0.3], rtol=1e-12)


def test_a_prediction_is_wider_than_the_mean() -> None:
    found = combined([0.1, 0.5, 0.9], [0.1, 0.1, 0.1])
    table = found.tidy().set_index("quantity")
    half = table.loc["prediction", "conf_high"] - table.loc["prediction", "estimate"]
    # t(1, .975) sqrt(tau^2 + SE^2)
    assert half == pytest.approx(12.706204736174698 * math.sqrt(found.tau2 + table.loc["mean", "std_error"] ** 2))
    assert math.isnan(table.loc["prediction", "std_error"])


def test_e_values_are_the_published_ones() -> None:
    # VanderWeele & Ding 2017: risk ratio 3.9 (1.8 to 8.7) has E-values 7.26 and 3.0.
    row = ist.e_value(3.9, lower=1.8, upper=8.7, kind="risk_ratio").tidy().iloc[0]
    assert [round(row["e_value"], 2), round(row["e_value_limit"], 1)] == [7.26, 3.0]
    # The same of a protective ratio, its limits swapped.
    other = ist.e_value(1 / 3.9, lower=1 / 8.7, upper=1 / 1.8, kind="risk_ratio").tidy().iloc[0]
    assert other["e_value"] == pytest.approx(row["e_value"])
    assert other["e_value_limit"] == pytest.approx(row["e_value_limit"])


def test_e_value_of_a_hazard_ratio() -> None:
    # HR .56, common outcome: 1/.56 = 1.786; (1 - .5^1.336) / (1 - .5^.748) = 1.492; 1.492 + sqrt(1.492 x .492) = 2.350.
    row = ist.e_value(0.56, kind="hazard_ratio").tidy().iloc[0]
    assert round(row["e_value"], 3) == 2.350
    assert math.isnan(row["e_value_limit"])
    rare = ist.e_value(0.56, kind="hazard_ratio", common=False).tidy().iloc[0]
    assert rare["e_value"] == pytest.approx(1 / 0.56 + math.sqrt(1 / 0.56 * (1 / 0.56 - 1)))


def test_e_values_of_odds_ratios_and_differences() -> None:
    # OR 4 of a common outcome: RR 2, E = 2 + sqrt(2) = 3.414; d 1: RR e^.91 = 2.484.
    assert ist.e_value(4, kind="odds_ratio").tidy()["e_value"].iloc[0] == pytest.approx(2 + math.sqrt(2))
    ratio = math.exp(0.91)
    row = ist.e_value(-1, lower=-1.8, upper=0.1, kind="d").tidy().iloc[0]
    assert row["risk_ratio"] == pytest.approx(ratio)
    assert row["e_value"] == pytest.approx(ratio + math.sqrt(ratio * (ratio - 1)))
    assert row["e_value_limit"] == 1
