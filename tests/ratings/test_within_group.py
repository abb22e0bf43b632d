"""r_wg of groups and items, and bounds from published means, as a user meets them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats import describe_example, load_example
from implstats.ratings.bounds import within_group_bounds
from implstats.ratings.within_group import within_group_agreement

ROLES: dict[str, Any] = {"rater": "member", "score": "score", "scale": (1, 7)}


def climate() -> pd.DataFrame:
    """Return what the members of three teams say about three items."""
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        [(t, i, m) for t in "xyz" for i in (1, 2, 3) for m in range(5)], columns=["team", "q", "member"]
    )
    level = frame["team"].map({"x": 2.0, "y": 4, "z": 6}) + rng.normal(0, 0.8, len(frame))
    return frame.assign(score=level.round().clip(1, 7))


def test_every_group_and_item_has_its_variance() -> None:
    frame = climate()
    table = within_group_agreement(frame, **ROLES, group="team", item="q").tidy()
    assert table["quantity"].tolist() == (["r_wg"] * 3 + ["r_wg(j)", "r*_wg(j)"]) * 3
    single = table[table["quantity"] == "r_wg"].set_index(["group", "item"])
    spread = frame.groupby(["team", "q"])["score"].agg(["mean", "var", "size"])
    np.testing.assert_allclose(single["estimate"], 1 - spread["var"] / 4)  # (49 - 1) / 12 = 4
    np.testing.assert_allclose(single["sd"] ** 2, spread["var"])
    np.testing.assert_allclose(single["rating"], spread["mean"])
    assert (single["n"] == spread["size"]).all()
    several = table[table["quantity"] == "r*_wg(j)"]["estimate"]
    np.testing.assert_allclose(several, 1 - spread["var"].groupby("team").mean() / 4)


def test_groups_alone_and_items_alone() -> None:
    frame = climate()
    teams = within_group_agreement(frame[frame["q"] == 1], **ROLES, group="team").tidy()
    assert teams[["quantity", "group", "item"]].to_numpy().tolist() == [["r_wg", t, "score"] for t in "xyz"]
    one = within_group_agreement(frame[frame["team"] == "x"], **ROLES, item="q").tidy()
    assert one["group"].tolist() == ["all"] * 5


def test_who_has_one_rating_is_left_out_and_said() -> None:
    frame = climate()
    alone = frame[(frame["team"] != "x") | (frame["q"] != 2) | (frame["member"] == 0)]
    result = within_group_agreement(alone, **ROLES, group="team", item="q")
    assert "1 of 9 have one rating and are left out" in result.header()
    kept = result.tidy().query("group == 'x' and quantity == 'r_wg'")
    assert kept["item"].tolist() == [1, 3]
    assert result.sample.groups == {"group": 3, "item": 3, "rater": 5}


def test_camps_are_said() -> None:
    frame = pd.DataFrame({"member": range(6), "score": [1, 7, 1, 7, 1, 7]})
    result = within_group_agreement(frame, **ROLES)
    assert result.tidy()["estimate"][0] < 0
    assert "1 of 1 vary more than by chance (below 0): their raters fall into camps" in result.header()


def test_missing_ratings_are_dropped_and_counted() -> None:
    frame = climate()
    frame.loc[[0, 7], "score"] = np.nan
    result = within_group_agreement(frame, **ROLES, group="team", item="q")
    assert result.header()[-1] == "dropped: 2 score missing"
    assert result.tidy()["n"].tolist()[:2] == [4, 4]


def test_the_header_says_what_chance_is() -> None:
    result = within_group_agreement(climate(), **ROLES, group="team", item="q")
    assert result.header()[1] == "scale 1 to 7, 7 values; by chance the variance would be 4 (all values equally likely)"
    given = within_group_agreement(climate(), **ROLES, group="team", item="q", null=1.85)
    assert given.header()[1] == "scale 1 to 7, 7 values; by chance the variance would be 1.85 (as given)"


def test_more_decimals_of_a_mean_say_more() -> None:
    frame = pd.DataFrame({"mean": [4.1], "low": [3], "high": [5]})
    roles: dict[str, Any] = {"mean": "mean", "low": "low", "high": "high", "raters": 30, "scale": (1, 5)}
    rough, fine = (
        within_group_bounds(frame, **roles, decimals=d).tidy().iloc[0][["bound_low", "bound_high"]] for d in (1, 2)
    )
    assert rough["bound_low"] < fine["bound_low"] < fine["bound_high"] < rough["bound_high"]


def test_bounds_on_half_steps_are_those_on_twice_the_scale() -> None:
    halves = pd.DataFrame({"mean": [2.5], "low": [1.5], "high": [4.0]})
    wholes = pd.DataFrame({"mean": [5.0], "low": [3], "high": [8]})
    roles: dict[str, Any] = {"mean": "mean", "low": "low", "high": "high", "raters": 7}
    one = within_group_bounds(halves, **roles, scale=(1, 5), step=0.5, decimals=2).tidy()
    other = within_group_bounds(wholes, **roles, scale=(2, 10), decimals=2).tidy()
    pd.testing.assert_frame_equal(one.drop(columns="rating"), other.drop(columns="rating"))


def test_the_bundled_cases_are_read_on_the_scale_that_their_dictionary_states() -> None:
    described = describe_example("case_ratings")
    (mean,) = (c for c in described["columns"] if c["name"] == "mean")
    frame = load_example("case_ratings").assign(low=lambda t: t["low"].where(t.index != 3))
    result = within_group_bounds(
        frame,
        mean="mean",
        low="low",
        high="high",
        raters=12,
        scale=tuple(mean["range"]),
        group="case",
        item="statement",
    )
    assert result.scale.points == 5
    assert result.header()[-1] == "dropped: 1 low missing"
    assert result.glance().to_dict("records") == [{"rows": 27, "raters": 12}]


@pytest.mark.parametrize("name", ["determinants", "misimplementation"])
def test_the_other_tables_of_experts_say_what_they_are(name: str) -> None:
    described = describe_example(name)
    assert list(load_example(name)) == [c["name"] for c in described["columns"]]
    assert all(c["label"] for c in described["columns"])
