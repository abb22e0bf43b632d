"""The picture of cumulative incidence shows the numbers of `tidy` and `at_risk`, per cause or stacked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes

from implstats.errors import DataError
from implstats.plot.incidence import HATCHES, incidence
from implstats.survival.competing import CumulativeIncidence, cumulative_incidence
from implstats.survival.curves import survival_curves

ROLES = {"duration": "quarter", "event": "status", "censored": "running"}
CAUSES = ["merged", "moved", "stopped"]


@pytest.fixture(scope="module")
def quarters() -> pd.DataFrame:
    return pd.read_csv(Path(__file__).resolve().parents[1] / "reference" / "data" / "quarters.csv")


@pytest.fixture(scope="module")
def alone(quarters: pd.DataFrame) -> CumulativeIncidence:
    return cumulative_incidence(quarters, **ROLES)


@pytest.fixture(scope="module")
def by_era(quarters: pd.DataFrame) -> CumulativeIncidence:
    return cumulative_incidence(quarters, **ROLES, by="era")


def _part(ax: Axes, gid: str) -> Any:
    (found,) = [a for a in ax.get_children() if a.get_gid() == gid]
    return found


def _legend(ax: Axes) -> list[str]:
    return [t.get_text() for t in ax.get_legend().get_texts()]


def _edges(ax: Axes, gid: str, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper edge of an area just after some times."""
    points = np.vstack([path.vertices for path in _part(ax, gid).get_paths()])
    lows, highs = [], []
    for t in at:
        here = points[np.isclose(points[:, 0], t), 1]
        later = points[np.isclose(points[:, 0], points[points[:, 0] > t, 0].min()), 1]
        both = [v for v in here if np.isclose(later, v).any()]
        lows.append(min(both))
        highs.append(max(both))
    return np.array(lows), np.array(highs)


def test_one_group_has_a_line_and_a_band_for_every_cause(alone: CumulativeIncidence) -> None:
    ax = incidence(alone, level=0.8)
    assert isinstance(ax, Axes)
    table = alone.tidy(level=0.8)
    for cause in CAUSES:
        rows = table[table["cause"] == cause]
        line = _part(ax, f"incidence: all, {cause}")
        assert line.get_drawstyle() == "steps-post"
        np.testing.assert_array_equal(line.get_xdata(), [0, *rows["time"]])
        np.testing.assert_array_equal(line.get_ydata(), [0, *rows["estimate"]])
        inner = rows[(rows["time"] > 2) & (rows["time"] < 16)]
        low, high = _edges(ax, f"band: all, {cause}", inner["time"].to_numpy())
        np.testing.assert_allclose(low, inner["conf_low"])
        np.testing.assert_allclose(high, inner["conf_high"])
    assert _legend(ax) == [*CAUSES, "80 % interval"]
    assert ax.get_ylabel() == "cumulative incidence (status)"


def test_groups_have_a_panel_for_every_cause(by_era: CumulativeIncidence) -> None:
    axes = incidence(by_era)
    assert [ax.get_ylabel() for ax in axes] == [f"cumulative incidence of {cause}" for cause in CAUSES]
    assert len({ax.get_ylim() for ax in axes}) == 1
    table = by_era.tidy()
    for ax, cause in zip(axes, CAUSES, strict=True):
        for era in ("after", "before", "during"):
            rows = table[(table["cause"] == cause) & (table["group"] == era)]
            np.testing.assert_array_equal(_part(ax, f"incidence: {era}, {cause}").get_ydata(), [0, *rows["estimate"]])
    looks = [(line.get_color(), line.get_linestyle()) for line in axes[0].get_lines()]
    assert len(set(looks)) == 3


def test_stacked_areas_add_up_to_one(by_era: CumulativeIncidence) -> None:
    axes = incidence(by_era, stacked=True)
    table = by_era.tidy()
    for ax, era in zip(axes, ("after", "before", "during"), strict=True):
        rows = table[(table["group"] == era) & (table["cause"] == "merged")]
        times = rows["time"].to_numpy()[:-1]
        below = np.zeros(len(times))
        for cause in CAUSES:
            own = table[(table["group"] == era) & (table["cause"] == cause)]["estimate"].to_numpy()[:-1]
            top = np.asarray(_part(ax, f"top: {era}, {cause}").get_ydata(), dtype=float)[1:-1]
            np.testing.assert_allclose(top, below + own)
            low, high = _edges(ax, f"area: {era}, {cause}", times[own > 0.01])
            np.testing.assert_allclose(low, below[own > 0.01])
            np.testing.assert_allclose(high, top[own > 0.01])
            below = top
        low, high = _edges(ax, f"free: {era}", times)
        np.testing.assert_allclose(high - low, rows["event_free"].to_numpy()[:-1])
        assert (high == 1).all()
        assert ax.get_ylabel() == f"share of spells ({era})"


def test_stacked_areas_differ_in_more_than_colour(alone: CumulativeIncidence) -> None:
    ax = incidence(alone, stacked=True)
    assert [_part(ax, f"area: all, {cause}").get_hatch() or "" for cause in CAUSES] == list(HATCHES[:3])
    assert _legend(ax) == ["no event yet", *CAUSES[::-1]]


@pytest.mark.parametrize("stacked", [False, True])
def test_numbers_at_risk_stand_under_their_times(by_era: CumulativeIncidence, stacked: bool) -> None:
    ax = incidence(by_era, stacked=stacked, times=[0, 8, 16])[0]
    table = by_era.at_risk([0, 8, 16])
    rows = table[(table["cause"] == "merged") & (table["group"] == "after")]
    assert [int(t.get_text()) for t in ax.texts if t.get_gid() == "n: 0"] == rows["at_risk"].tolist()
    assert len([t for t in ax.texts if str(t.get_gid()).startswith("n: ")]) == (3 if stacked else 9)
    assert "at risk" in [t.get_text() for t in ax.texts]
    without = incidence(by_era, stacked=stacked, at_risk=False)[0]
    assert not [t for t in without.texts if str(t.get_gid()).startswith("n: ")]


def test_sums_of_weights_are_called_that(quarters: pd.DataFrame) -> None:
    ax = incidence(cumulative_incidence(quarters, **ROLES, weights="share"), times=[0, 16])
    assert "at risk, sum of weights" in [t.get_text() for t in ax.texts]


def test_labels_are_the_readers_words(by_era: CumulativeIncidence) -> None:
    labels = {"quarter": "Quarters since the start", "stopped": "stopping for good", "after": "After 2010"}
    ax = incidence(by_era, labels=labels)[2]
    assert ax.get_xlabel() == "Quarters since the start"
    assert " ".join(ax.get_ylabel().split()) == "cumulative incidence of stopping for good"
    assert _legend(ax)[0] == "After 2010"


def test_it_draws_where_it_is_told_to(by_era: CumulativeIncidence) -> None:
    figure, own = pyplot.subplots(1, 3, layout="constrained")
    assert list(incidence(by_era, ax=own)) == list(own)
    assert pyplot.get_fignums() == [figure.number]
    with pytest.raises(DataError, match="ax: 1 Axes for 3 causes; give one for each cause"):
        incidence(by_era, ax=own[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stacked": 1}, "stacked=1: not True or False"),
        ({"times": [0, 17]}, "times=17: outside of the follow-up, which runs from 0 to 16"),
        ({"level": 2}, "level=2: not between 0 and 1"),
        ({"labels": "x"}, "labels='x': not a mapping"),
    ],
)
def test_what_is_refused(alone: CumulativeIncidence, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as raised:
        incidence(alone, **options)
    assert str(raised.value).startswith(message)


def test_another_result_is_refused(quarters: pd.DataFrame) -> None:
    curves = survival_curves(quarters.assign(e=(quarters["status"] == "stopped") * 1), duration="quarter", event="e")
    with pytest.raises(DataError, match="incidence: needs a cumulative incidence, not a SurvivalCurves"):
        incidence(curves)  # type: ignore[arg-type]
