"""A profile of ratings is drawn as it stands: every item a dumbbell, every level its mean, nothing over anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import same_color

from implstats import load_example
from implstats.errors import DataError
from implstats.plot import style
from implstats.plot.ratings import ratings
from implstats.ratings.profile import RatingProfile, rating_profile

WORDS = {
    "rating": "Rating by consensus, 1 very poor to 7 excellent",
    "pre_reorg": "before the reorganisation",
    "reorg": "during the reorganisation",
    "team": "Team",
}


@pytest.fixture(scope="module")
def profile() -> RatingProfile:
    table = load_example("adherence_consensus")
    return rating_profile(table, item="item", level="level", score=["pre_reorg", "reorg"], scale=(1, 7))


def programmes(groups: int) -> RatingProfile:
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"item": list("abc") * groups, "level": ["x", "x", "y"] * groups})
    frame["site"] = np.repeat([f"site {k}" for k in range(groups)], 3)
    return rating_profile(
        frame.assign(score=rng.integers(1, 8, 3 * groups)), item="item", level="level", group="site", score="score"
    )


def part(ax: Axes, gid: str) -> Any:
    (found,) = [a for a in [*ax.lines, *ax.texts] if a.get_gid() == gid]
    return found


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    assert found is not None
    return [t.get_text() for t in found.get_texts()]


def test_every_item_is_a_line_from_one_rating_to_the_other(profile: RatingProfile) -> None:
    ax = ratings(profile)
    table = profile.ratings()
    for (level, item), rows in table.groupby(["level", "item"]):
        link = part(ax, f"link: {level}, {item}")
        assert list(link.get_xdata()) == [rows["rating"].min(), rows["rating"].max()]
        for row in rows.to_dict("records"):
            marker = part(ax, f"rating: {level}, {item}, {row['group']}")
            assert list(marker.get_xdata()) == [row["rating"]]
            assert list(marker.get_ydata()) == [link.get_ydata()[0]]
            assert same_color(marker.get_markerfacecolor(), marker.get_color())
    assert len([a for a in ax.lines if str(a.get_gid()).startswith("link")]) == 21 + 3


def test_above_its_items_stands_the_mean_of_a_level_in_hollow_markers(profile: RatingProfile) -> None:
    ax = ratings(profile)
    means = profile.tidy().query("quantity == 'mean' and level != 'all levels'")
    for row in means.to_dict("records"):
        marker = part(ax, f"mean: {row['level']}, {row['group']}")
        assert list(marker.get_xdata()) == [row["estimate"]]
        assert same_color(marker.get_markerfacecolor(), "white")
        assert part(ax, f"number: {row['level']}, {row['group']}").get_text() == f"{row['estimate']:.2f}"
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert [n for n, t in zip(names, ax.get_yticklabels(), strict=True) if t.get_fontweight() == "bold"] == [
        "organisation",
        "team",
        "therapist",
    ]
    assert names.index("organisation") == 0
    assert names[names.index("team") + 1] == "Well-balanced team composition"
    # From top to bottom.
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    assert list(ax.get_yticks()) == sorted(ax.get_yticks())


def test_the_axis_is_the_scale_with_its_unit(profile: RatingProfile) -> None:
    ax = ratings(profile)
    assert [t.get_text() for t in ax.get_xticklabels()] == list("1234567")
    assert ax.get_xlabel() == "rating (1 to 7)"
    ax = ratings(profile, labels=WORDS)
    assert ax.get_xlabel() == "Rating by consensus, 1 very poor to 7 excellent"
    assert legend(ax) == ["before the reorganisation", "during the reorganisation", "mean of the level"]
    assert "Team" in [t.get_text() for t in ax.get_yticklabels()]
    assert ratings(programmes(2)).get_xlabel() == "rating"


def test_a_rating_that_is_missing_is_a_dash_and_no_marker() -> None:
    frame = pd.DataFrame({"item": ["a", "b"], "level": "x", "before": [3, 4.5], "during": [np.nan, 2]})
    ax = ratings(rating_profile(frame, item="item", level="level", score=["before", "during"]))
    assert part(ax, "number: x, a, during").get_text() == "–"
    assert np.isnan(part(ax, "rating: x, a, during").get_xdata()).all()
    assert part(ax, "number: x, b, before").get_text() == "4.5"


@pytest.mark.parametrize(("groups", "columns"), [(1, 1), (3, 3), (4, 0)])
def test_numbers_stand_beside_few_groups(groups: int, columns: int) -> None:
    ax = ratings(programmes(groups))
    assert len([t for t in ax.texts if t.get_gid() == "head"]) == columns
    assert legend(ax) == [*[f"site {k}" for k in range(groups)], "mean of the level"]
    without = ratings(programmes(groups), numbers=False)
    assert list(without.texts) == []


def test_equal_ratings_of_many_groups_stand_apart() -> None:
    frame = pd.DataFrame({"item": "a", "level": "x", "site": list("pqrs"), "score": 4})
    ax = ratings(rating_profile(frame, item="item", level="level", group="site", score="score"))
    heights = {float(part(ax, f"rating: x, a, {s}").get_ydata()[0]) for s in "pqrs"}
    assert len(heights) == 4


@pytest.mark.parametrize(
    "words", [{}, WORDS, WORDS | {"reorg": "during the years of the reorganisation and the merger"}]
)
def test_nothing_runs_into_anything(profile: RatingProfile, words: dict[str, str]) -> None:
    ax = ratings(profile, labels=words)
    figure = ax.get_figure(root=True)
    figure.canvas.draw()
    found = ax.get_legend()
    assert found is not None
    texts = [*ax.texts, *ax.get_yticklabels(), *ax.get_xticklabels(), ax.xaxis.label]
    boxes = [t.get_window_extent() for t in texts if t.get_text()] + [found.get_window_extent()]
    for k, box in enumerate(boxes):
        assert not [j for j, other in enumerate(boxes[:k]) if box.overlaps(other)]
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width + 1
        assert box.y1 <= figure.bbox.height + 1
    plot = ax.get_window_extent()
    assert max(t.get_window_extent().x1 for t in ax.get_yticklabels()) < plot.x0
    assert plot.width / figure.dpi > 2.5


def test_groups_differ_in_marker_and_colour(profile: RatingProfile) -> None:
    ax = ratings(profile)
    item = profile.items[0]
    for group, look in style.looks(profile.groups).items():
        marker = part(ax, f"rating: organisation, {item}, {group}")
        assert (marker.get_marker(), marker.get_color()) == (look.marker, look.colour)


def test_it_draws_where_it_is_told_to(profile: RatingProfile) -> None:
    figure, own = pyplot.subplots(figsize=(10, 9), layout="constrained")
    assert ratings(profile, ax=own) is own
    assert pyplot.get_fignums() == [figure.number]


def test_another_result_is_refused() -> None:
    with pytest.raises(DataError, match=r"^ratings: needs a rating profile, not a DataFrame; draw what rating_profile"):
        ratings(pd.DataFrame())  # type: ignore[arg-type]
