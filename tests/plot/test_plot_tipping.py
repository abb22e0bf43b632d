"""The picture of a tipping point draws what its result says, and points at turns inside the axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats import plot
from implstats.errors import DataError


@pytest.fixture(scope="module")
def tipped(visits: pd.DataFrame) -> Any:
    roles = {"visit": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}
    mmrm = ist.fit_mmrm(visits, outcome="bsi", better="lower", **roles)
    return ist.tipping_point(mmrm, deltas=[-1.1, -0.5, 0, 0.5, 3], imputations=10, rng=1)


@pytest.mark.parametrize("quantity", ["difference", "retained"])
def test_line_and_band_are_the_table(tipped: Any, quantity: str) -> None:
    ax = plot.tipping(tipped, quantity=quantity)
    rows = tipped.tidy().query("quantity == @quantity")
    line = next(one for one in ax.lines if one.get_gid() == "estimate")
    np.testing.assert_allclose(line.get_xydata(), rows[["delta", "estimate"]])
    band = np.vstack([path.vertices for path in ax.collections[0].get_paths()])
    bounded = rows[rows["set"] == "bounded"]
    assert set(np.round(bounded["conf_low"], 9)) <= set(np.round(band[:, 1], 9))
    # A set of two rays has no band: the whole height is hatched, and the axis keeps to what has two ends.
    assert band[:, 0].max() == bounded["delta"].max()
    hatched = [one for one in ax.collections if one.get_gid() == "unbounded"]
    assert len(hatched) == (quantity == "retained")
    low, high = ax.get_ylim()
    assert low < bounded["conf_low"].min() < bounded["conf_high"].max() < high
    assert high - low < 1.2 * max(bounded["conf_high"].max() - bounded["conf_low"].min(), 1)


def test_every_turn_has_an_arrow_and_its_words_stay_inside(tipped: Any) -> None:
    ax = plot.tipping(tipped)
    turns = tipped.turns().query("quantity == 'difference'")
    arrows = [text for text in ax.texts if text.get_gid() == "turn"]
    assert len(turns) == 1
    np.testing.assert_allclose([arrow.xy[0] for arrow in arrows], turns["delta"])
    ax.figure.canvas.draw()
    frame = ax.get_window_extent()
    for arrow in arrows:
        # The box of the words, without the arrow.
        words = super(type(arrow), arrow).get_window_extent()
        assert frame.x0 <= words.x0
        assert words.x1 <= frame.x1
        # Legible also where the estimate's line passes behind them.
        assert arrow.get_bbox_patch().get_facecolor()[:3] == (1.0, 1.0, 1.0)


def test_one_delta_is_no_course(visits: pd.DataFrame, tipped: Any) -> None:
    roles = {"visit": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}
    mmrm = ist.fit_mmrm(visits, outcome="bsi", better="lower", **roles)
    with pytest.raises(DataError, match=r"^tipping: one delta is no course; say tipping_point\(deltas="):
        plot.tipping(ist.tipping_point(mmrm, deltas=[0], imputations=5, rng=1))
    with pytest.raises(DataError, match=r"^quantity='share': unknown option"):
        plot.tipping(tipped, quantity="share")
