"""Pictures of natural change, of sites left out and of programmes combined draw what their results say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

import implstats as ist
from implstats import plot
from implstats.errors import DataError
from implstats.plot.sensitivity import FARTHEST


@pytest.fixture(scope="module")
def natural(study: Any) -> Any:
    return ist.natural_change(study, over=[0, 0.3, 1.2], source="a review")


@pytest.fixture(scope="module")
def without(study: Any, visits: pd.DataFrame) -> Any:
    return ist.leave_one_out(study, by="therapist", frame=visits)


def drawn(ax: Axes, gid: str) -> list[Any]:
    """Return lines and bands of an id."""
    return [a for a in (*ax.lines, *ax.collections) if (a.get_gid() or "") == gid]


def texts(ax: Axes, gid: str) -> list[str]:
    return [t.get_text() for t in ax.texts if t.get_gid() == gid]


def test_the_line_is_the_share_retained(natural: Any) -> None:
    axes = plot.natural_change(natural)
    assert len(axes) == 2
    for ax, name in zip(axes, natural.fits, strict=True):
        (line,) = drawn(ax, "share: during")
        c, share = line.get_data()
        assert {0.0, 0.3, 1.2} <= set(c)
        table = natural.tidy(over=c)
        rows = table[(table["outcome"] == name) & (table["time"] == 36)]
        np.testing.assert_allclose(share, 100 * rows["estimate"], equal_nan=True)
        assert "natural change assumed in both cohorts (SDs; a review)" in " ".join(ax.get_xlabel().split())


def test_the_band_is_the_set_and_open_ends_reach_the_edge(natural: Any) -> None:
    ax = plot.natural_change(natural)[0]
    rows = natural.tidy().query("outcome == 'bsi' and time == 36").set_index("natural")
    (band,) = drawn(ax, "band: during")
    points = np.concatenate([p.vertices for p in band.get_paths()])
    ends = 100 * rows.loc[0.0, ["conf_low", "conf_high"]].to_numpy(float)
    at_zero = points[points[:, 0] == 0][:, 1]
    np.testing.assert_allclose([at_zero.min(), at_zero.max()], ends)
    turn = natural.turning_points().query("outcome == 'bsi' and time == 36 and turn == 'reference'").iloc[0]
    assert points[:, 0].max() <= turn["conf_low"]
    bottom, top = ax.get_ylim()
    reached = [p.vertices for one in drawn(ax, "open: during") for p in one.get_paths()]
    assert min(v[:, 1].min() for v in reached) == pytest.approx(bottom)
    assert max(v[:, 1].max() for v in reached) >= top - 1e-9
    assert min(v[:, 0].min() for v in reached) >= turn["conf_low"]
    # Beyond the reference's improvement nothing is left to share.
    (grey,) = [one for one in drawn(ax, "none") if one.get_paths()]
    assert min(p.vertices[:, 0].min() for p in grey.get_paths()) >= turn["estimate"]


def test_triangles_stand_where_conclusions_turn(natural: Any) -> None:
    ax = plot.natural_change(natural, at=18)[1]
    turns = natural.turning_points().query("outcome == 'sipp' and time == 18").set_index("turn")["conf_low"]
    for gid, turn in (("nothing", "share"), ("unbounded", "reference")):
        assert [line.get_xdata()[0] for line in drawn(ax, gid)] == [pytest.approx(turns[turn])]
    words = [t.get_text() for t in ax.get_legend().get_texts()]
    assert "from here on 0 % is not excluded" in words
    assert "set without a bound" in words


def test_a_short_range_names_only_what_it_shows(growth: Any) -> None:
    (ax,) = plot.natural_change(ist.natural_change(growth, over=[0, 0.05], unit="outcome"))
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["during", "95 % set"]
    assert drawn(ax, "nothing") == drawn(ax, "unbounded") == []
    assert "(bsi)" in ax.get_xlabel()


def test_only_times_of_the_result_can_be_drawn(natural: Any) -> None:
    with pytest.raises(DataError, match=r"^at=30: unknown option"):
        plot.natural_change(natural, at=30)


@pytest.mark.parametrize(("quantity", "unit"), [("difference", 1), ("retained", 100)])
def test_every_level_has_its_line(without: Any, quantity: str, unit: int) -> None:
    ax = plot.leave_one_out(without, quantity=quantity)
    table = without.tidy().query("quantity == @quantity")
    rows = texts(ax, "row")
    assert rows == ["with all" if v == "" else f"without {v}" for v in table["level"]]
    points = [line.get_xdata()[0] for line in ax.lines if (line.get_gid() or "").startswith("estimate")]
    np.testing.assert_allclose(points, unit * table["estimate"])
    whole = [line.get_xdata()[0] for line in drawn(ax, "whole")]
    np.testing.assert_allclose(whole, unit * table.query("level == ''")["estimate"])
    assert texts(ax, "outcome") == ["bsi", "sipp"]


def test_times_and_cohorts_are_headings_where_there_are_several(study: Any, visits: pd.DataFrame) -> None:
    found = ist.leave_one_out(study, by="therapist", frame=visits, at=[18, 36])
    ax = plot.leave_one_out(found, labels={"during": "In 2010", "bsi": "BSI"})
    assert texts(ax, "outcome")[:2] == ["BSI, month 18, In 2010", "BSI, month 36, In 2010"]


def test_of_many_levels_those_that_move_it_most_are_drawn(visits: pd.DataFrame) -> None:
    roles = {"time": "month", "patient": "patient", "cohort": "cohort", "reference": "before", "better": "lower"}
    growth = ist.fit_growth(visits, outcome="bsi", shape="linear", random="intercept", **roles)
    frame = visits.assign(pair=visits["patient"].astype(int) % 48)
    found = ist.leave_one_out(growth, by="pair", frame=frame)
    ax = plot.leave_one_out(found)
    table = found.tidy().query("quantity == 'difference'")
    moved = (table["estimate"] - table["estimate"].iloc[0]).abs().iloc[1:]
    nearest = table["level"].iloc[1:][moved.rank() > len(moved) - FARTHEST]
    assert texts(ax, "row")[1:] == [f"without {v}" for v in nearest]
    assert texts(ax, "note") == [f"{48 - FARTHEST} others move it less"]


def test_a_forest_of_programmes_has_the_mean_and_the_next_one() -> None:
    frame = pd.DataFrame({"d": [0.1, 0.4, -0.3], "se": [0.1, 0.2, 0.1], "of": ["A", "B", "C"]})
    found = ist.combine_programmes(frame, estimate="d", std_error="se", programme="of", effect="difference in d")
    ax = plot.programmes(found, labels={"A": "Amsterdam", "difference in d": "difference (SDs)"})
    assert texts(ax, "row") == ["Amsterdam", "B", "C", "mean of all", "a next programme"]
    table = found.tidy()
    ends = [line.get_xdata() for line in ax.lines if (line.get_gid() or "").startswith("interval")]
    low, high = ax.get_xlim()
    np.testing.assert_allclose(ends, np.clip(table[["conf_low", "conf_high"]], low, high))
    assert sum(int(text.split()[0]) for text in texts(ax, "weight")) in (99, 100, 101)
    assert ax.get_xlabel() == "difference (SDs)"


def test_a_forest_of_sites_speaks_of_sites() -> None:
    frame = pd.DataFrame({"d": [0.1, 0.4, -0.3], "se": [0.1, 0.2, 0.1]})
    found = ist.combine_programmes(frame, estimate="d", std_error="se")
    ax = plot.programmes(found, labels={"programme": "site"})
    assert texts(ax, "row")[-1] == "a next site"
    assert texts(ax, "note")[0].startswith("spread between sites: tau² ")


def test_numbers_and_heads_do_not_run_into_each_other() -> None:
    frame = pd.DataFrame({"d": [0.1, 0.4, -0.3], "se": [0.1, 0.2, 0.1]})
    ax = plot.programmes(ist.combine_programmes(frame, estimate="d", std_error="se"))
    ax.get_figure(root=True).canvas.draw()
    heads = [t.get_window_extent() for t in ax.texts if t.get_gid() == "head"]
    assert heads[0].x1 < heads[1].x0


def test_one_value_is_no_course(study: Any) -> None:
    with pytest.raises(DataError, match=r"^natural_change: one natural change is no course"):
        plot.natural_change(ist.natural_change(study, over=0.3))
