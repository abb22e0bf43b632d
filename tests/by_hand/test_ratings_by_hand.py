"""Intraclass correlations, kappa, alpha, AC1 and r_wg on a handful of ratings, with the arithmetic in comments."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from implstats import load_example
from implstats.ratings.alpha import gwet_ac1, krippendorff_alpha
from implstats.ratings.bounds import within_group_bounds
from implstats.ratings.icc import icc
from implstats.ratings.kappa import kappa
from implstats.ratings.profile import rating_profile
from implstats.ratings.within_group import within_group_agreement

ROLES = {"item": "item", "rater": "rater", "score": "score"}


def long(**raters: list[object]) -> pd.DataFrame:
    """Return one row an item and rater of lists of scores."""
    wide = pd.DataFrame(raters).rename_axis("item").reset_index()
    return wide.melt("item", var_name="rater", value_name="score")


THREE = long(a=[1, 3, 5], b=[2, 4, 9])


@pytest.mark.parametrize(
    ("form", "value"),
    [
        # The mean is 4.  Items have means 1.5, 3.5, 7: 2 (2.5^2 + .5^2 + 3^2) = 31 on 2 df, mean square 15.5.
        # Raters have means 3 and 5: 3 (1 + 1) = 6 on 1 df.  In all 9 + 4 + 1 + 0 + 1 + 25 = 40, so that 3 are left on
        # 2 df, mean square 1.5.  Within items, whoever rated: 6 + 3 = 9 on 3 df, mean square 3.
        ("1", (15.5 - 3) / (15.5 + 3)),
        ("k", (15.5 - 3) / 15.5),
        ("C,1", (15.5 - 1.5) / (15.5 + 1.5)),
        ("C,k", (15.5 - 1.5) / 15.5),
        ("A,1", (15.5 - 1.5) / (15.5 + 1.5 + 2 * (6 - 1.5) / 3)),
        ("A,k", (15.5 - 1.5) / (15.5 + (6 - 1.5) / 3)),
    ],
)
def test_six_intraclass_correlations(form: str, value: float) -> None:
    assert icc(THREE, **ROLES, form=form).estimate == pytest.approx(value, rel=1e-14)


def test_the_f_test_and_the_interval_of_consistency() -> None:
    row = icc(THREE, **ROLES, form="C,1", level=0.9).tidy().iloc[0]
    assert row["statistic"] == pytest.approx(15.5 / 1.5)
    assert (row["df_num"], row["df"]) == (2, 2)
    # F with 2 and 2 df is beyond x with probability 1 / (1 + x): p = 1 / (1 + 31/3) = 3/34, and 19 cuts off 5 %.
    assert row["p_value"] == pytest.approx(3 / 34)
    low, high = 31 / 3 / 19, 31 / 3 * 19
    assert row["conf_low"] == pytest.approx((low - 1) / (low + 1))
    assert row["conf_high"] == pytest.approx((high - 1) / (high + 1))


def test_teams_with_members_of_their_own() -> None:
    # Team x 1, 3 (mean 2), team y 5, 6, 7 (mean 6), team z 4: six ratings, mean 26/6.
    frame = pd.DataFrame({"item": list("xxyyyz"), "rater": range(6), "score": [1, 3, 5, 6, 7, 4]})
    mean = 26 / 6
    between = (2 * (2 - mean) ** 2 + 3 * (6 - mean) ** 2 + (4 - mean) ** 2) / 2
    within = (2 + 2) / 3
    k0 = (6 - (4 + 9 + 1) / 6) / 2
    result = icc(frame, **ROLES, form="1")
    assert result.estimate == pytest.approx((between - within) / (between + (k0 - 1) * within))
    assert "items have 1 to 3 ratings (k0 = 1.833): the interval is approximate" in result.header()


def test_kappa_of_two_raters() -> None:
    # Both yes 20, both no 15, yes and no 5, no and yes 10: agreement .7; by chance .5 x .6 + .5 x .4 = .5.
    first, second = [1] * 25 + [0] * 25, [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    result = kappa(long(a=first, b=second), **ROLES)
    assert result.parts == {"agreement": pytest.approx(0.7), "agreement_expected": pytest.approx(0.5)}
    assert result.estimate == pytest.approx(0.4)
    # Fleiss, Cohen & Everitt 1969, equation 13, in fiftieths.
    diagonal = 0.4 * (1 - 1.1 * 0.6) ** 2 + 0.3 * (1 - 0.9 * 0.6) ** 2
    # Shares of a: .5, .5; of b: .6, .4.  Yes of a with no of b weighs (b yes + a no) = 1.1, the other cell .9.
    beside = 0.6**2 * (0.1 * (0.6 + 0.5) ** 2 + 0.2 * (0.4 + 0.5) ** 2)
    variance = (diagonal + beside - (0.4 - 0.5 * 0.6) ** 2) / (0.5**2 * 50)
    assert result.std_error == pytest.approx(math.sqrt(variance))


def test_weights_take_distances_in_the_unit_of_the_scores() -> None:
    # Of 1, 2 and 5, the pair (1, 2) is 1/4 apart, (2, 5) is 3/4.  Seen: 1-1, 2-2, 5-5, 1-2: mean distance 1/16.
    # By chance: a has shares 1/2 of 1, 1/4 of 2, 1/4 of 5, b 1/4, 1/2, 1/4:
    # 1-2 (1/2 x 1/2 + 1/4 x 1/4) x 1/4 + 2-5 (1/4 x 1/4 + 1/4 x 1/2) x 3/4 + 1-5 (1/2 x 1/4 + 1/4 x 1/4) x 1
    # = 5/64 + 9/64 + 12/64 = 26/64.
    result = kappa(long(a=[1, 2, 5, 1], b=[1, 2, 5, 2]), **ROLES, weights="linear")
    assert result.estimate == pytest.approx(1 - (1 / 16) / (26 / 64))


def test_kappa_of_three_raters() -> None:
    # x x x, x x y, y y y, y y x: agreeing pairs 1, 1/3, 1, 1/3; either category half of the time.
    frame = long(a=list("xxyy"), b=list("xxyy"), c=list("xyyx"))
    result = kappa(frame, **ROLES)
    assert result.estimate == pytest.approx((2 / 3 - 1 / 2) / (1 / 2))
    # Linearised: (agreeing - 1/2) / (1/2) = 1, -1/3, 1, -1/3, as both categories are equally frequent; mean 1/3.
    assert result.std_error == pytest.approx(math.sqrt(4 * (2 / 3) ** 2 / (4 * 3)))


@pytest.mark.parametrize("metric", ["nominal", "ordinal", "interval"])
def test_alpha_of_three_items(metric: str) -> None:
    # 1-1, 2-2, 1-2: of 6 ratings 2 differ from the other of their item, 1/3; of 30 ordered pairs of any two 18, .6.
    result = krippendorff_alpha(long(a=[1, 2, 1], b=[1, 2, 2]), **ROLES, metric=metric, rng=1)
    assert result.estimate == pytest.approx(1 - (1 / 3) / 0.6)


def test_ac1_of_three_items() -> None:
    # Agreement 2/3; both categories half of the time, so by chance (1/4 + 1/4) / (2 - 1) = 1/2.
    # Linearised: 1, 1, -1 around 1/3: variance (4/9 + 4/9 + 16/9) / (3 x 2) = 4/9.
    result = gwet_ac1(long(a=[1, 2, 1], b=[1, 2, 2]), **ROLES)
    assert (result.estimate, result.std_error) == (pytest.approx(1 / 3), pytest.approx(2 / 3))


def test_r_wg_of_one_and_of_two_items() -> None:
    # On 1 to 5 chance has the variance (25 - 1) / 12 = 2.
    # Item p: 4, 4, 5, 4, variance 1/4.  Item q: 3, 4, 5, 4, variance 2/3.  Their mean is 11/24, 11/48 of 2.
    frame = pd.DataFrame({"item": ["p"] * 4 + ["q"] * 4, "rater": [1, 2, 3, 4] * 2, "score": [4, 4, 5, 4, 3, 4, 5, 4]})
    table = within_group_agreement(frame, rater="rater", score="score", item="item", scale=(1, 5)).tidy()
    assert table["quantity"].tolist() == ["r_wg", "r_wg", "r_wg(j)", "r*_wg(j)"]
    expected = [7 / 8, 2 / 3, 2 * 37 / (2 * 37 + 11), 37 / 48]
    assert table["estimate"].tolist() == pytest.approx(expected)
    assert table["rating"].tolist() == pytest.approx([4.25, 4, 4.125, 4.125])


def test_r_wg_of_more_spread_than_chance() -> None:
    # 1, 5, 1, 5: variance 16/3, so r_wg is 1 - 8/3; r_wg(j) of two such items is 0 by its rule, r*_wg(j) as it is.
    frame = pd.DataFrame({"item": ["p"] * 4 + ["q"] * 4, "rater": [1, 2, 3, 4] * 2, "score": [1, 5] * 4})
    table = within_group_agreement(frame, rater="rater", score="score", item="item", scale=(1, 5)).tidy()
    assert table["estimate"].tolist() == pytest.approx([-5 / 3, -5 / 3, 0, -5 / 3])
    # Taken against a variance of 8, it is 1 - 2/3, and 2 x 1/3 / (2 x 1/3 + 2/3) = 1/2.
    table = within_group_agreement(frame, rater="rater", score="score", item="item", scale=(1, 5), null=8).tidy()
    assert table["estimate"].tolist() == pytest.approx([1 / 3, 1 / 3, 1 / 2, 1 / 3])


def test_half_steps_have_the_variance_of_nine_values() -> None:
    # 1, 1.5, ..., 5: (81 - 1) / 12 / 4 = 5/3; scores 2.5 and 3 have variance 1/8.
    frame = pd.DataFrame({"rater": ["a", "b"], "score": [2.5, 3]})
    found = within_group_agreement(frame, rater="rater", score="score", scale=(1, 5), step=0.5)
    assert found.tidy()["estimate"].tolist() == pytest.approx([1 - (1 / 8) / (5 / 3)])


@pytest.mark.parametrize(
    ("n", "mean", "low", "high", "least", "most"),
    [
        # 11 of three is the only sum that rounds to 3.7: 3, 4, 4, variance 1/3.
        (3, 3.7, 3, 4, 5 / 6, 5 / 6),
        # 1 and 5 and two that sum to 6: 1 and 5 (variance 16/3) up to 3 and 3 (8/3).
        (4, 3.0, 1, 5, 1 - 8 / 3, 1 - 4 / 3),
        # All the same.
        (12, 4.0, 4, 4, 1, 1),
        # 4.25 rounds to 4.2 by some rules and to 4.3 by others: 3, 4, 5, 5 has it, and 17 is the only sum.
        (4, 4.2, 3, 5, 1 - (11 / 12) / 2, 1 - (11 / 12) / 2),
    ],
)
def test_bounds_from_a_mean_and_a_range(n: int, mean: float, low: int, high: int, least: float, most: float) -> None:
    frame = pd.DataFrame({"m": [mean], "l": [low], "h": [high]})
    row = within_group_bounds(frame, mean="m", low="l", high="h", raters=n, scale=(1, 5)).tidy().iloc[0]
    assert (row["bound_low"], row["bound_high"]) == (pytest.approx(least), pytest.approx(most))


def test_the_published_cases_have_bounds() -> None:
    # Case B of the team statement: twelve scores of 4 and 5 with mean 4.5, so six of each: variance 12 / 4 / 11.
    frame = load_example("case_ratings")
    table = within_group_bounds(
        frame, mean="mean", low="low", high="high", raters=12, scale=(1, 5), group="case", item="statement"
    ).tidy()
    row = table[(table["item"] == "team") & (table["group"] == "B")].iloc[0]
    assert (row["bound_low"], row["bound_high"]) == (pytest.approx(1 - 3 / 22), pytest.approx(1 - 3 / 22))
    assert len(table) == 28
    assert (table["bound_low"] <= table["bound_high"]).all()
    # Only of two means the range admits more spread than chance: therapists in case A, organisation in case G.
    assert table.loc[table["bound_low"] < 0, ["item", "group"]].to_numpy().tolist() == [
        ["organisation", "G"],
        ["therapist", "A"],
    ]


def test_level_means_of_the_published_ratings() -> None:
    # Organisation before: 7 + 6 + 7 + 7 + 6 + 5 + 7 = 45 over 7; during: 4 + 2.5 + 4 + 2.5 + 2 + 3 + 1 = 19 over 7.
    # Team: 67 and 25 over 11 (6/7 is 6.5, 5/6 is 5.5).  Therapist: 17 and 7.5 over 3.  All: 129 and 51.5 over 21.
    frame = load_example("adherence_consensus")
    profile = rating_profile(frame, item="item", level="level", score=["pre_reorg", "reorg"], scale=(1, 7))
    table = profile.tidy()
    means = table[table["quantity"] == "mean"].pivot_table("estimate", "level", "group", sort=False)
    expected = {
        "organisation": (6.43, 2.71),
        "team": (6.09, 2.27),
        "therapist": (5.67, 2.50),
        "all levels": (6.14, 2.45),
    }
    for level, (before, during) in expected.items():
        assert means.loc[level].round(2).tolist() == [before, during]
    differences = table[table["quantity"] == "difference"].set_index("level")["estimate"]
    assert differences["organisation"] == pytest.approx((19 - 45) / 7)
    assert differences["all levels"] == pytest.approx((51.5 - 129) / 21)
