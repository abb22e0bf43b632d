"""Kaplan-Meier, restricted means and log-rank tests on six rows, with the arithmetic in comments."""

from __future__ import annotations

import math
from fractions import Fraction

import pandas as pd
import pytest

from implstats.survival.curves import survival_curves
from implstats.survival.logrank import logrank
from implstats.survival.rmst import rmst

SIX = pd.DataFrame({"years": [1, 1, 6, 6, 8, 9], "stopped": [1, 0, 1, 1, 0, 1], "era": ["during"] * 3 + ["before"] * 3})
ROLES = {"duration": "years", "event": "stopped"}


def test_survival_is_a_product_of_shares_that_stay() -> None:
    # At 1: 6 at risk, 1 stops.  At 6: 4 at risk, 2 stop.  At 8 one of 2 is censored.  At 9 the last one stops.
    table = survival_curves(SIX, **ROLES).tidy()
    assert table["time"].tolist() == [1, 6, 8, 9]
    assert table["at_risk"].tolist() == [6, 4, 2, 1]
    assert table["events"].tolist() == [1, 2, 0, 1]
    assert table["censored"].tolist() == [1, 0, 1, 0]
    after = Fraction(5, 6) * Fraction(2, 4)
    assert table["estimate"].tolist() == pytest.approx([5 / 6, after, after, 0])
    # Greenwood: 1/(6 x 5) = 1/30, then + 2/(4 x 2) = 17/60; at 9 nobody is left, and there is no standard error.
    error = [5 / 6 * math.sqrt(1 / 30), 5 / 12 * math.sqrt(17 / 60), 5 / 12 * math.sqrt(17 / 60)]
    assert table["std_error"].tolist()[:3] == pytest.approx(error)
    assert table[["std_error", "conf_low", "conf_high"]].iloc[3].isna().all()
    # On the log scale: 5/6 exp(-+1.96 x .18257), cut at 1.
    assert table["conf_low"][0] == pytest.approx(5 / 6 * math.exp(-1.959963985 * math.sqrt(1 / 30)))
    assert table["conf_high"][0] == 1.0


def test_the_median_is_where_survival_passes_a_half() -> None:
    # 5/6 before 6, 5/12 from then on.
    assert survival_curves(SIX, **ROLES).quantile(0.5)["estimate"].tolist() == [6]
    # One of four a year: survival is exactly a half between 2 and 3.
    even = pd.DataFrame({"years": [1, 2, 3, 4], "stopped": 1})
    assert survival_curves(even, **ROLES).quantile(0.5)["estimate"].tolist() == [2.5]


def test_follow_up_is_the_median_of_the_curve_of_being_censored() -> None:
    # Censored: 1 of 6 at risk at 1, and 1 of 2 at 8: 5/6, then 5/12 < 1/2.
    assert survival_curves(SIX, **ROLES).follow_up()["estimate"].tolist() == [8]


def test_a_row_that_enters_late_is_not_at_risk_before() -> None:
    late = SIX.assign(start=[0, 0, 1, 3, 6, 7])
    # At 1: the first two rows, one stops (entry at 1 is too late for 1).  At 6: rows 3 and 4 (entry at 6 is too late),
    # both stop: survival 0, although two enter later.
    table = survival_curves(late, **ROLES, entry="start").tidy()
    assert table["at_risk"].tolist() == [2, 2, 2, 1]
    assert table["estimate"].tolist() == [0.5, 0, 0, 0]


def test_the_restricted_mean_is_the_area_under_the_steps() -> None:
    # To 8: 1 x 1 + 5 x 5/6 + 2 x 5/12 = 6.  Its variance: at 1 the area left is 5, 25/30; at 6 it is 5/6, 25/36 / 4.
    row = rmst(SIX, **ROLES, tau=8).tidy().iloc[0]
    assert row["estimate"] == pytest.approx(6)
    assert row["std_error"] ** 2 == pytest.approx(25 / 30 + 25 / 144)
    # To 9: 5/12 more.  At 9 all at risk stop, and the term with n = d is 0.
    row = rmst(SIX, **ROLES, tau=9).tidy().iloc[0]
    assert row["estimate"] == pytest.approx(6 + 5 / 12)
    assert row["std_error"] ** 2 == pytest.approx((65 / 12) ** 2 / 30 + (15 / 12) ** 2 / 4)


def test_difference_and_ratio_of_restricted_means() -> None:
    # To 6: before, nobody stops before 6, so 6 with no spread.  During: at 1 one of 3 stops, then 2/3 for 5 years:
    # 1 + 10/3 = 13/3; the area left at 1 is 10/3, and 1/(3 x 2) of its square 100/54.
    table = rmst(SIX, **ROLES, by="era", tau=6).tidy().set_index("quantity")
    assert table.loc["rmst", "estimate"].tolist() == pytest.approx([6, 13 / 3])
    assert table.loc["rmst", "std_error"].tolist() == pytest.approx([0, math.sqrt(100 / 54)])
    assert table.loc["difference", "estimate"] == pytest.approx(13 / 3 - 6)
    assert table.loc["ratio", "estimate"] == pytest.approx(13 / 18)
    # The error of the ratio's logarithm is that of the mean over the mean.
    reach = 1.959963985 * math.sqrt(100 / 54) / (13 / 3)
    assert table.loc["ratio", "conf_high"] == pytest.approx(13 / 18 * math.exp(reach))


@pytest.mark.parametrize(
    ("options", "statistic"),
    [
        # During, at 1: 3 of 6 at risk, 1 event: 1 - 1/2, variance 1/4.  At 6: 1 of 4 at risk, 2 events, 1 its own:
        # 1 - 1/2, variance 2 x 2/3 x 1/4 x 3/4 = 1/4.  At 9 one row is at risk.  (1/2 + 1/2)^2 / (1/4 + 1/4) = 2.
        ({}, 2),
        # Weights 6 and 4: (6/2 + 4/2)^2 / (36/4 + 16/4).
        ({"weights": "wilcoxon"}, 25 / 13),
        # Their roots: ((sqrt 6 + 2)/2)^2 / (10/4).
        ({"weights": "tarone-ware"}, (math.sqrt(6) + 2) ** 2 / 10),
        # Survival just before: 1 and 5/6.  (1/2 + 5/12)^2 / ((1 + 25/36)/4) = (121/144) / (61/144).
        ({"weights": "fleming-harrington", "rho": 1}, 121 / 61),
        # One less it: 0 and 1/6, so that only the second event time counts: (1/12)^2 / (1/144).
        ({"weights": "fleming-harrington", "gamma": 1}, 1),
    ],
)
def test_log_rank_tests_sum_over_event_times(options: dict[str, object], statistic: float) -> None:
    assert logrank(SIX, **ROLES, by="era", **options).statistic == pytest.approx(statistic)


def test_strata_are_compared_within_and_added_up() -> None:
    # Stratum x holds rows 1, 4, 5: at 1, 1 of 3 during: 1 - 1/3, variance 2/9; at 6 only "before" is left.
    # Stratum y holds rows 2, 3, 6: at 6, 1 of 2 during: 1 - 1/2, variance 1/4; at 9 one row.
    frame = SIX.assign(country=["x", "y", "y", "x", "x", "y"])
    test = logrank(frame, **ROLES, by="era", strata="country")
    assert test.expected.tolist() == pytest.approx([2 / 3 + 1 + 1 / 2 + 1, 1 / 3 + 1 / 2])
    assert test.statistic == pytest.approx((2 / 3 + 1 / 2) ** 2 / (2 / 9 + 1 / 4))


def test_a_trend_weighs_groups_by_their_scores() -> None:
    # a, b, c stop at 1, 2, 3, scored 0, 1, 2.  At 1 the scores at risk have mean 1 and variance 2/3, at 2 (b and c)
    # mean 3/2 and variance 1/4: ((0 - 1) + (1 - 3/2))^2 / (2/3 + 1/4) = 27/11.
    frame = pd.DataFrame({"years": [1, 2, 3], "stopped": 1, "support": ["a", "b", "c"]})
    test = logrank(frame, **ROLES, by="support", trend=True)
    assert (test.statistic, test.df) == (pytest.approx(27 / 11), 1)
