"""Intraclass correlations as a user meets them: forms, levels, what is dropped, what is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from implstats.ratings.icc import icc

ROLES: dict[str, Any] = {"item": "case", "rater": "expert", "score": "score"}
SCORES = {"a": [9, 6, 8, 7, 10, 6], "b": [2, 1, 4, 1, 5, 2], "c": [5, 3, 6, 2, 6, 4], "d": [8, 2, 8, 6, 9, 7]}


def frame() -> pd.DataFrame:
    wide = pd.DataFrame(SCORES).rename_axis("case").reset_index()
    return wide.melt("case", var_name="expert", value_name="score")


def test_forms_are_those_of_the_layout() -> None:
    assert icc(frame(), **ROLES).forms()["form"].tolist() == ["A,1", "A,k", "C,1", "C,k"]
    assert icc(frame(), **ROLES, form="k").forms()["form"].tolist() == ["1", "k"]


def test_level_can_be_asked_for_later() -> None:
    result = icc(frame(), **ROLES, level=0.9)
    pd.testing.assert_frame_equal(result.tidy(level=0.95), icc(frame(), **ROLES).tidy())
    wide, narrow = (result.tidy(level=level).iloc[0] for level in (0.99, 0.5))
    assert wide["conf_low"] < narrow["conf_low"] < result.estimate < narrow["conf_high"] < wide["conf_high"]


def test_the_analysis_of_variance_is_there() -> None:
    table = icc(frame(), **ROLES).mean_squares()
    assert table["source"].tolist() == ["items", "raters", "error"]
    assert table["df"].tolist() == [5, 3, 15]
    assert table["mean_square"].round(2).tolist() == [11.24, 32.49, 1.02]  # Shrout & Fleiss 1979, table 3
    one = icc(frame(), **ROLES, form="1").mean_squares()
    assert (one["source"].tolist(), one["df"].tolist()) == (["items", "within items"], [5, 18])
    assert one["mean_square"].round(2).tolist() == [11.24, 6.26]


def test_items_that_a_rater_did_not_rate_are_left_out_and_counted() -> None:
    gap = frame().assign(score=lambda t: t["score"].where((t["case"] != 2) | (t["expert"] != "b")))
    result = icc(gap, **ROLES)
    whole = icc(frame()[frame()["case"] != 2], **ROLES)
    pd.testing.assert_frame_equal(result.tidy(), whole.tidy())
    assert result.header()[-1] == "dropped: 1 score missing, 3 of items that some rater did not rate"
    assert result.sample.rows == 20
    assert result.glance().to_dict("records") == [{"rows": 20, "items": 5, "raters": 4}]


def test_members_of_teams_need_no_names_of_their_own() -> None:
    # Whether members are numbered within teams or over all of them, they are other people.
    rng = np.random.default_rng(2)
    size = np.array([3, 4, 5, 3, 6])
    team = np.repeat(np.arange(5), size)
    table = pd.DataFrame({"case": team, "score": rng.normal(size=5)[team] + rng.normal(size=len(team))})
    within, over = (table.assign(expert=names) for names in (table.groupby("case").cumcount(), np.arange(len(table))))
    pd.testing.assert_frame_equal(icc(within, **ROLES, form="1").tidy(), icc(over, **ROLES, form="1").tidy())


def test_scores_may_be_text_that_is_numbers_and_nullable() -> None:
    expected = icc(frame(), **ROLES).tidy()
    for kind in ("str", "Int64", "float32"):
        pd.testing.assert_frame_equal(icc(frame().astype({"score": kind}), **ROLES).tidy(), expected)


def test_below_zero_is_said() -> None:
    against = pd.DataFrame({"case": [1, 2, 3] * 2, "expert": ["a"] * 3 + ["b"] * 3, "score": [1, 2, 3, 3, 2, 1.5]})
    result = icc(against, **ROLES, form="C,1")
    assert result.estimate < 0
    assert "below 0: ratings of one item differ more than items do" in result.header()


def test_the_frame_is_not_kept_or_changed() -> None:
    given = frame()
    result = icc(given, **ROLES)
    before = result.tidy()
    pd.testing.assert_frame_equal(given, frame())
    given["score"] = 0
    pd.testing.assert_frame_equal(result.tidy(), before)
