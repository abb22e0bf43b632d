"""What must not depend on how the same ratings are written down: order, names of raters and items, unit of scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from implstats.ratings.alpha import gwet_ac1, krippendorff_alpha
from implstats.ratings.bounds import within_group_bounds
from implstats.ratings.icc import icc
from implstats.ratings.kappa import kappa
from implstats.ratings.profile import rating_profile
from implstats.ratings.within_group import within_group_agreement

FEW = settings(derandomize=True, deadline=None, max_examples=15)
ROLES = {"item": "item", "rater": "rater", "score": "score"}
SEEDS = st.integers(0, 10_000)


def scores(seed: int, *, raters: int = 4, gaps: float = 0.0) -> pd.DataFrame:
    """Return ratings from 1 to 5 of twelve items, some of them not given."""
    rng = np.random.default_rng(seed)
    level = rng.normal(3, 1.2, (12, 1)) + rng.normal(0, 0.4, raters) + rng.normal(0, 0.7, (12, raters))
    wide = pd.DataFrame(np.clip(np.round(level), 1, 5).astype(int), columns=list("abcd")[:raters])
    long = wide.rename_axis("item").reset_index().melt("item", var_name="rater", value_name="score")
    kept = rng.random(len(long)) >= gaps
    kept[:24] = True
    return long[kept]


def same(one: Any, other: Any, rtol: float = 1e-9) -> None:
    a, b = (r.tidy().select_dtypes("number") for r in (one, other))
    pd.testing.assert_frame_equal(a, b, rtol=rtol, atol=1e-12)


def categorical(frame: pd.DataFrame, pair: pd.DataFrame, **options: Any) -> list[Any]:
    """Return every coefficient that takes categories as they are."""
    return [
        krippendorff_alpha(frame, **ROLES, metric="nominal", draws=60, rng=3, **options),
        gwet_ac1(frame, **ROLES, **options),
        kappa(pair, **ROLES, **options),
        kappa(scores(1), **ROLES),
    ]


def numerical(frame: pd.DataFrame, pair: pd.DataFrame) -> list[Any]:
    """Return every coefficient that takes scores as numbers."""
    whole = scores(int(frame["score"].sum()))
    return [
        *[icc(whole, **ROLES, form=form) for form in ("1", "A,1", "C,1")],
        icc(frame, **ROLES, form="1"),
        krippendorff_alpha(frame, **ROLES, metric="interval", draws=60, rng=3),
        krippendorff_alpha(frame, **ROLES, metric="ordinal", draws=60, rng=3),
        kappa(pair, **ROLES, weights="linear"),
        kappa(pair, **ROLES, weights="quadratic"),
    ]


@given(seed=SEEDS)
@FEW
def test_order_and_labels_of_rows(seed: int) -> None:
    frame, pair = scores(seed, gaps=0.2), scores(seed, raters=2)
    mixed = [f.sample(frac=1, random_state=seed).set_index("rater", drop=False) for f in (frame, pair)]
    for make in (categorical, numerical):
        for one, other in zip(make(frame, pair), make(*mixed), strict=True):
            same(one, other)
    groups = {"group": "item", "rater": "rater", "score": "score", "scale": (1, 5)}
    same(within_group_agreement(frame, **groups), within_group_agreement(mixed[0], **groups))


@given(seed=SEEDS, names=st.permutations(list("abcd")))
@FEW
def test_who_is_called_what(seed: int, names: list[str]) -> None:
    # Raters swap their names, and items get others in the same order, since draws are of items.
    frame, pair = scores(seed, gaps=0.2), scores(seed, raters=2)
    other = [
        f.assign(rater=f["rater"].map(dict(zip("abcd", names, strict=True))), item=[f"case {k:02d}" for k in f["item"]])
        for f in (frame, pair)
    ]
    for make in (categorical, numerical):
        for one, two in zip(make(frame, pair), make(*other), strict=True):
            same(one, two)


@given(seed=SEEDS, factor=st.sampled_from([-2.5, 0.01, 1e6]), shift=st.sampled_from([0.0, -7.0, 1e4]))
@FEW
def test_unit_and_origin_of_scores(seed: int, factor: float, shift: float) -> None:
    frame, pair = scores(seed, gaps=0.2), scores(seed, raters=2)
    for form in ("1", "A,1", "C,1"):
        whole = scores(seed)
        same(
            icc(whole, **ROLES, form=form), icc(whole.assign(score=shift + factor * whole["score"]), **ROLES, form=form)
        )
    other = frame.assign(score=shift + factor * frame["score"])
    for metric in ("interval", "ordinal", "nominal"):
        alphas = [krippendorff_alpha(f, **ROLES, metric=metric, draws=60, rng=3) for f in (frame, other)]
        same(*alphas)
    for weights in ("linear", "quadratic"):
        two = pair.assign(score=shift + factor * pair["score"])
        same(kappa(pair, **ROLES, weights=weights), kappa(two, **ROLES, weights=weights))
    if factor > 0:
        ends = (shift + factor, shift + 5 * factor)
        roles = {"group": "item", "rater": "rater", "score": "score"}
        one = within_group_agreement(frame, **roles, scale=(1, 5)).tidy()
        rescaled = within_group_agreement(other, **roles, scale=ends, step=factor).tidy()
        np.testing.assert_allclose(one["estimate"], rescaled["estimate"], rtol=1e-6, atol=1e-9)


@given(seed=SEEDS, places=st.permutations([1, 2, 3, 4, 5]))
@FEW
def test_names_of_categories(seed: int, places: list[int]) -> None:
    frame, pair = scores(seed, gaps=0.2), scores(seed, raters=2)
    words = dict(zip([1, 2, 3, 4, 5], [f"kind {k}" for k in places], strict=True))
    other = [f.assign(score=f["score"].map(words)) for f in (frame, pair)]
    for one, two in zip(categorical(frame, pair), categorical(*other), strict=True):
        same(one, two)


@given(seed=SEEDS)
@FEW
def test_only_the_order_matters_to_ordinal_alpha(seed: int) -> None:
    frame = scores(seed, gaps=0.2)
    stretched = frame.assign(score=frame["score"].map({1: -3.0, 2: 0.5, 3: 0.6, 4: 20.0, 5: 1e5}))
    options: dict[str, Any] = {"metric": "ordinal", "draws": 60, "rng": 3}
    same(krippendorff_alpha(frame, **ROLES, **options), krippendorff_alpha(stretched, **ROLES, **options))
    words = {k: "abcde"[5 - k] for k in range(1, 6)}
    named = frame.assign(score=frame["score"].map(words))
    same(
        krippendorff_alpha(frame, **ROLES, **options, categories=[1, 2, 3, 4, 5]),
        krippendorff_alpha(named, **ROLES, **options, categories=list("edcba")),
    )


@given(seed=SEEDS)
@FEW
def test_gaps_may_be_left_out_or_missing(seed: int) -> None:
    frame = scores(seed, gaps=0.25)
    grid = pd.MultiIndex.from_product([range(12), list("abcd")], names=["item", "rater"])
    full = frame.set_index(["item", "rater"]).reindex(grid).reset_index()
    for metric in ("nominal", "ordinal", "interval"):
        options: dict[str, Any] = {"metric": metric, "draws": 60, "rng": 3}
        same(krippendorff_alpha(frame, **ROLES, **options), krippendorff_alpha(full, **ROLES, **options))
    same(gwet_ac1(frame, **ROLES), gwet_ac1(full, **ROLES))


@given(seed=SEEDS)
@FEW
def test_with_two_categories_every_metric_is_the_same(seed: int) -> None:
    frame = scores(seed, gaps=0.2)
    two = frame.assign(score=(frame["score"] > 3).astype(int))
    assume(two["score"].nunique() == 2)
    found = [
        krippendorff_alpha(two, **ROLES, metric=m, draws=60, rng=3).estimate for m in ("nominal", "ordinal", "interval")
    ]
    assert found == pytest.approx([found[0]] * 3)


@given(seed=SEEDS)
@FEW
def test_alpha_comes_near_to_fleiss_with_many_items(seed: int) -> None:
    # alpha = 1 - (1 - kappa) (n - 1) / n, over n ratings without gaps.
    frame = scores(seed)
    fleiss, alpha = kappa(frame, **ROLES), krippendorff_alpha(frame, **ROLES, metric="nominal", draws=20, rng=1)
    assert alpha.estimate == pytest.approx(1 - (1 - fleiss.estimate) * (len(frame) - 1) / len(frame))


@given(given_scores=st.lists(st.integers(1, 7), min_size=2, max_size=15))
@settings(derandomize=True, deadline=None, max_examples=150)
def test_bounds_hold_what_they_are_bounds_of(given_scores: list[int]) -> None:
    n = len(given_scores)
    frame = pd.DataFrame({"rater": range(n), "score": given_scores})
    known = within_group_agreement(frame, rater="rater", score="score", scale=(1, 7)).tidy()["estimate"][0]
    table = pd.DataFrame({"m": [round(np.mean(given_scores), 1)], "l": [min(given_scores)], "h": [max(given_scores)]})
    row = within_group_bounds(table, mean="m", low="l", high="h", raters=n, scale=(1, 7)).tidy().iloc[0]
    assert row["bound_low"] - 1e-12 <= known <= row["bound_high"] + 1e-12


@given(seed=SEEDS)
@FEW
def test_a_profile_is_the_same_in_whatever_order_and_form(seed: int) -> None:
    rng = np.random.default_rng(seed)
    wide = pd.DataFrame({"level": rng.choice(["x", "y"], 9), "item": range(9), "before": rng.integers(1, 8, 9)})
    wide["during"] = rng.integers(1, 8, 9)
    roles = {"item": "item", "level": "level"}
    one = rating_profile(wide, **roles, score=["before", "during"]).tidy()
    long = wide.melt(["level", "item"], var_name="cohort", value_name="rating").sample(frac=1, random_state=seed)
    other = rating_profile(long, **roles, group="cohort", score="rating").tidy()
    keys = ["quantity", "level", "group"]
    pd.testing.assert_frame_equal(
        one.sort_values(keys, ignore_index=True), other.sort_values(keys, ignore_index=True), rtol=1e-12
    )
    swapped = rating_profile(long, **roles, group="cohort", score="rating", reference="during").tidy()
    gaps = [t.loc[t["quantity"] == "difference"].set_index("level")["estimate"] for t in (one, swapped)]
    pd.testing.assert_series_equal(gaps[0].sort_index(), -gaps[1].sort_index())
