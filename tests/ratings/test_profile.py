"""Profiles of agreed ratings: how entries are read, what is compared, and what they may be used for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats import describe_example, fit_growth, load_example
from implstats.errors import DataError
from implstats.ratings.profile import rating_profile

ROLES: dict[str, Any] = {"item": "item", "level": "level"}
STUDY: dict[str, Any] = {"time": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return load_example("adherence_consensus")


def sites() -> pd.DataFrame:
    """Return three programmes, one of them without a rating."""
    frame = pd.DataFrame({"level": ["team", "team", "staff"] * 3, "item": ["a", "b", "a"] * 3})
    frame["site"] = np.repeat(["north", "south", "west"], 3)
    return frame.assign(score=[1, 2, 3, 4, "4/5", 6, 7, None, 5])


@pytest.mark.parametrize(("rule", "read"), [("midpoint", 2.5), ("lower", 2.0), ("upper", 3.0)])
def test_entries_between_two_values_are_read_by_the_rule(table: pd.DataFrame, rule: str, read: float) -> None:
    profile = rating_profile(table, **ROLES, score=["pre_reorg", "reorg"], composite=rule)
    rows = profile.ratings().set_index(["item", "group"])
    assert rows.loc[("Continuity in management", "reorg"), "rating"] == read
    assert rows["composite"].sum() == 11
    words = {"midpoint": "the midpoint of the two", "lower": "the lower", "upper": "the higher"}
    assert profile.header()[1] == f"11 entries stand between two values; each is read as {words[rule]}"


def test_the_rule_is_the_one_that_the_dictionary_gives(table: pd.DataFrame) -> None:
    assert any("2/3" in note and "2.5" in note for note in describe_example("adherence_consensus")["notes"])
    profile = rating_profile(table, **ROLES, score=["pre_reorg", "reorg"])
    assert profile.rule == "midpoint"


def test_an_entry_may_name_the_higher_value_first() -> None:
    frame = pd.DataFrame({"level": "x", "item": ["a", "b"], "before": ["3 / 2", "4.5"], "during": [2, "1/2"]})
    profile = rating_profile(frame, **ROLES, score=["before", "during"])
    assert profile.scores.tolist() == [[2.5, 2], [4.5, 1.5]]


def test_one_column_a_group_is_the_same_as_one_row_a_group(table: pd.DataFrame) -> None:
    wide = rating_profile(table, **ROLES, score=["pre_reorg", "reorg"])
    long = table.melt(["level", "item"], var_name="cohort", value_name="rating")
    other = rating_profile(long, **ROLES, group="cohort", score="rating")
    pd.testing.assert_frame_equal(wide.tidy(), other.tidy())
    pd.testing.assert_frame_equal(wide.ratings(), other.ratings())
    assert wide.header()[-2:] == ["42 rows of 42 given; 21 items, 2 groups", "dropped: none"]


def test_the_reference_comes_first(table: pd.DataFrame) -> None:
    profile = rating_profile(table, **ROLES, score=["pre_reorg", "reorg"], reference="reorg")
    assert profile.groups == ("reorg", "pre_reorg")
    rows = profile.tidy().query("quantity == 'difference'")
    assert rows["reference"].tolist() == ["reorg"] * 4
    assert (rows["estimate"] > 0).all()


def test_an_item_of_the_same_name_in_two_levels_is_two_items() -> None:
    profile = rating_profile(sites(), **ROLES, group="site", score="score")
    assert list(zip(profile.levels, profile.items, strict=True)) == [("team", "a"), ("team", "b"), ("staff", "a")]


def test_differences_are_of_items_that_both_groups_have() -> None:
    profile = rating_profile(sites(), **ROLES, group="site", score="score")
    rows = profile.tidy().set_index(["quantity", "level", "group"])
    assert rows.loc[("mean", "team", "north"), "estimate"] == 1.5
    assert rows.loc[("mean", "team", "west"), ["n", "estimate"]].tolist() == [1, 7]
    assert rows.loc[("difference", "team", "west"), ["n", "estimate"]].tolist() == [1, 6]
    assert rows.loc[("difference", "all levels", "south"), "estimate"] == pytest.approx((3 + 2.5 + 3) / 3)
    assert "1 items were not rated in every group; differences are of items that both groups have" in profile.header()
    assert "dropped: 1 score missing" in profile.header()


def test_three_programmes_give_a_covariate() -> None:
    profile = rating_profile(sites(), **ROLES, group="site", score="score")
    visits = pd.DataFrame({"place": ["south", "north", None, "west", "south"]}, index=list("abcde"))
    rating = profile.exposure(visits, group="place", level="team")
    assert rating.name == "rating"
    assert rating.index.tolist() == list("abcde")
    np.testing.assert_array_equal(rating, [4.25, 1.5, np.nan, 7, 4.25])
    np.testing.assert_allclose(profile.exposure(visits, group="place"), [14.5 / 3, 2, np.nan, 6, 14.5 / 3])


def test_two_groups_ratings_are_no_covariate_whoever_writes_them_down(visits: pd.DataFrame) -> None:
    by_hand = visits.assign(adherence=visits["cohort"].map({"before": 6.14, "during": 2.45}))
    with pytest.raises(DataError, match=r"^'adherence': a linear combination of the other terms"):
        fit_growth(by_hand, outcome="bsi", adjust="adherence", **STUDY)


def test_levels_keep_the_order_of_the_table_or_of_their_categories() -> None:
    frame = sites().assign(level=lambda t: pd.Categorical(t["level"], ["staff", "team"]))
    assert rating_profile(frame, **ROLES, group="site", score="score").levels == ("staff", "team", "team")


def test_no_agreement_is_promised(table: pd.DataFrame) -> None:
    profile = rating_profile(table, **ROLES, score=["pre_reorg", "reorg"])
    assert "one agreed value per item has no agreement to report" in profile.header()[2]
    assert not {"std_error", "conf_low"} & set(profile.tidy())


def test_no_level_is_called_like_the_mean_over_levels(table: pd.DataFrame) -> None:
    frame = table.assign(level=table["level"].replace("team", "all levels"))
    with pytest.raises(
        DataError, match=r"^level='level': 'all levels' \(rows .*\) is what the mean over levels is called"
    ):
        rating_profile(frame, **ROLES, score=["pre_reorg", "reorg"])
