"""Kappa, alpha and AC1 as a user meets them: intervals, categories, gaps, what is said."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats.errors import DataError
from implstats.ratings.alpha import gwet_ac1, krippendorff_alpha
from implstats.ratings.kappa import kappa

ROLES: dict[str, Any] = {"item": "item", "rater": "rater", "score": "score"}


def scores(raters: int = 3, n: int = 20, seed: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    wide = np.clip(np.round(rng.normal(3, 1.2, (n, 1)) + rng.normal(0, 0.7, (n, raters))), 1, 5).astype(int)
    return pd.DataFrame(wide).rename_axis("item").reset_index().melt("item", var_name="rater", value_name="score")


def test_the_same_number_gives_the_same_draws_and_another_one_others() -> None:
    found = [krippendorff_alpha(scores(), **ROLES, metric="ordinal", draws=450, rng=rng) for rng in (1, 1, 2)]
    np.testing.assert_array_equal(found[0].draws, found[1].draws)
    assert not np.array_equal(found[0].draws, found[2].draws)
    # Draws come in blocks with generators of their own: the first block does not depend on how many follow.
    fewer = krippendorff_alpha(scores(), **ROLES, metric="ordinal", draws=200, rng=1)
    np.testing.assert_array_equal(found[0].draws[:200], fewer.draws)
    generator = krippendorff_alpha(scores(), **ROLES, metric="ordinal", draws=20, rng=np.random.default_rng(1))
    np.testing.assert_array_equal(generator.draws, found[0].draws[:20])
    assert generator.call["rng"] == "Generator"
    assert "without rng= the interval differs a little from call to call" in repr(
        krippendorff_alpha(scores(), **ROLES, metric="nominal", draws=20)
    )


def test_draws_are_items_drawn_with_replacement() -> None:
    # A draw is alpha of a table in which the items drawn stand as often as they were drawn: of four items, 35 tables.
    frame = scores(n=4).assign(score=lambda t: t["score"] + 0.1 * np.sqrt(t.index))
    values = []
    for drawn in itertools.combinations_with_replacement(range(4), 4):
        table = pd.concat([frame[frame["item"] == k].assign(item=place) for place, k in enumerate(drawn)])
        if len(set(table["score"])) > 1:
            values.append(krippendorff_alpha(table, **ROLES, metric="interval", draws=20, rng=1).estimate)
    found = krippendorff_alpha(frame, **ROLES, metric="interval", draws=400, rng=8)
    assert np.abs(found.draws[:, None] - np.array(values)).min(axis=1).max() < 1e-12
    assert len(np.unique(found.draws.round(10))) > 20


def test_ends_are_quantiles_of_the_draws_at_any_level() -> None:
    found = krippendorff_alpha(scores(), **ROLES, metric="nominal", draws=400, rng=5)
    row = found.tidy(level=0.8).iloc[0]
    ordered = np.sort(found.draws)
    assert (row["conf_low"], row["conf_high"]) == (ordered[39], ordered[359])
    assert row["std_error"] == found.draws.std(ddof=1)


@pytest.mark.parametrize("metric", ["nominal", "ordinal", "interval"])
def test_draws_in_which_all_is_the_same_are_counted(metric: str) -> None:
    # Four items of five are all 0.1: some draws hold nothing else.
    score = [0.1, 0.1, 0.1, 0.1, 0.7] * 2
    frame = pd.DataFrame({"item": [0, 1, 2, 3, 4] * 2, "rater": ["a"] * 5 + ["b"] * 5, "score": score})
    found = krippendorff_alpha(frame, **ROLES, metric=metric, draws=300, rng=1)
    assert found.estimate == pytest.approx(1, abs=1e-14)
    assert 250 > len(found.draws) > 150
    assert f"in {300 - len(found.draws)} more draws every rating was the same" in found.header()
    assert "no disagreement was seen, hence a standard error of 0; it does not say that none can be" in found.header()


def test_an_item_with_one_rating_is_left_out_of_alpha_and_kept_by_ac1() -> None:
    frame = scores()
    more = pd.concat([frame, pd.DataFrame({"item": [99], "rater": [0], "score": [5]})])
    alpha = krippendorff_alpha(more, **ROLES, metric="nominal", draws=20, rng=1)
    assert alpha.estimate == krippendorff_alpha(frame, **ROLES, metric="nominal", draws=20, rng=1).estimate
    assert alpha.header()[-1] == "dropped: 1 of items with one rating"
    ac1 = gwet_ac1(more, **ROLES)
    assert ac1.parts["agreement"] == gwet_ac1(frame, **ROLES).parts["agreement"]
    assert ac1.parts["agreement_expected"] != gwet_ac1(frame, **ROLES).parts["agreement_expected"]
    assert "1 items have one rating" in repr(ac1)


def test_categories_that_nobody_used_count_for_ac1_alone() -> None:
    frame, all_six = scores(), [1, 2, 3, 4, 5, 6]
    assert gwet_ac1(frame, **ROLES, categories=all_six).estimate > gwet_ac1(frame, **ROLES).estimate
    assert kappa(frame, **ROLES, categories=all_six).estimate == pytest.approx(kappa(frame, **ROLES).estimate)
    ordered = frame.assign(score=pd.Categorical(frame["score"], all_six, ordered=True))
    assert gwet_ac1(ordered, **ROLES).estimate == gwet_ac1(frame, **ROLES, categories=all_six).estimate
    unordered = frame.assign(score=pd.Categorical(frame["score"], all_six))
    assert gwet_ac1(unordered, **ROLES).estimate == gwet_ac1(frame, **ROLES).estimate


def test_one_category_of_two_agrees_by_chance_half_as_often() -> None:
    # Everybody says 1 of 1 and 2: AC1 is 1, where kappa and alpha are not defined.
    frame = pd.DataFrame({"item": [0, 1] * 2, "rater": list("aabb"), "score": 1})
    assert gwet_ac1(frame, **ROLES, categories=[1, 2]).estimate == 1
    with pytest.raises(DataError, match="every rating is 1, so nothing is beyond chance; alpha is not defined"):
        krippendorff_alpha(frame, **ROLES, metric="nominal")


def test_words_in_their_order_weigh_as_their_places() -> None:
    frame = scores(raters=2)
    words = dict(zip([1, 2, 3, 4, 5], ["none", "little", "some", "much", "full"], strict=True))
    named = frame.assign(score=frame["score"].map(words))
    for weights in ("linear", "quadratic"):
        one = kappa(frame, **ROLES, weights=weights, categories=[1, 2, 3, 4, 5]).tidy()
        other = kappa(named, **ROLES, weights=weights, categories=list(words.values())).tidy()
        pd.testing.assert_frame_equal(one, other)


def test_the_order_in_which_numbers_are_named_does_not_matter_to_weights() -> None:
    frame = scores(raters=2)
    for weights in ("linear", "quadratic"):
        one = kappa(frame, **ROLES, weights=weights).tidy()
        other = kappa(frame, **ROLES, weights=weights, categories=[3, 5, 1, 4, 2]).tidy()
        pd.testing.assert_frame_equal(one, other)


def test_items_with_fewer_ratings_are_left_out_of_kappa_and_counted() -> None:
    frame = scores().drop([0, 1])
    result = kappa(frame, **ROLES)
    whole = kappa(scores().query("item > 1"), **ROLES)
    assert result.estimate == whole.estimate
    assert result.header()[-1] == "dropped: 4 of items with fewer ratings than others"
    pair = kappa(scores(raters=2).drop([0, 1]), **ROLES)
    assert pair.header()[-1] == "dropped: 2 of items that one of the raters did not rate"


def test_an_interval_ends_at_one() -> None:
    frame = scores(raters=2, n=6)
    near = frame.assign(score=frame["item"] + 1).replace({"score": {6: 5}})
    near.loc[0, "score"] = 2
    for result in (kappa(near, **ROLES), gwet_ac1(near, **ROLES)):
        assert result.tidy()["conf_high"].tolist() == [1.0]
        assert result.estimate < 1


def test_glance_says_what_it_is_made_of() -> None:
    row = kappa(scores(), **ROLES).glance().iloc[0]
    assert (row["rows"], row["items"], row["raters"], row["categories"]) == (60, 20, 3, 5)
    k = (row["agreement"] - row["agreement_expected"]) / (1 - row["agreement_expected"])
    assert k == pytest.approx(kappa(scores(), **ROLES).estimate)
    row = krippendorff_alpha(scores(), **ROLES, metric="interval", draws=20, rng=1).glance().iloc[0]
    assert 1 - row["disagreement"] / row["disagreement_expected"] == pytest.approx(
        krippendorff_alpha(scores(), **ROLES, metric="interval", draws=20, rng=1).estimate
    )
