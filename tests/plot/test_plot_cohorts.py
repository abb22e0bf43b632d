"""Treatments against a change: every patient has a line, straddlers show, and nothing runs into anything."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.dates import date2num, num2date

import implstats as ist
from implstats.errors import DataError
from implstats.plot import style

CHANGE = "2010-01-01"


def made(n: int = 40, running: int = 2) -> pd.DataFrame:
    """Return treatments of one to three years from 2005 to 2012; the first few have no end."""
    start = pd.Timestamp("2005-01-01") + pd.to_timedelta(np.arange(n) * (2700 // n), unit="D")
    end = pd.Series(start + pd.to_timedelta(365 + 365 * (np.arange(n) % 3), unit="D"))
    end.iloc[:running] = pd.NaT
    return pd.DataFrame({"admitted": start, "ended": end})


def found(rule: str, frame: pd.DataFrame | None = None, **options: Any) -> Any:
    frame = made() if frame is None else frame
    roles = {"start": "admitted", "end": "ended", "change": CHANGE, "study_end": "2016-01-01"} | options
    return ist.assign_cohorts(frame, straddlers=rule, **roles)


def lines(ax: Axes) -> dict[str, Any]:
    """Return the lines of each group: gid -> collection."""
    return {c.get_gid(): c for c in ax.collections if isinstance(c, LineCollection)}


@pytest.mark.parametrize("rule", ["exclude", "third", "by_start"])
def test_every_patient_has_a_line_from_start_to_end(rule: str) -> None:
    result = found(rule)
    ax = ist.plot.cohorts(result)
    drawn = np.concatenate([np.array(c.get_segments()) for c in lines(ax).values()])
    drawn = drawn[np.argsort(drawn[:, 0, 1])]
    table = result.patients().sort_values(["start", "end"])
    np.testing.assert_allclose(drawn[:, 0, 0], date2num(table["start"]))
    np.testing.assert_allclose(drawn[:, 1, 0], date2num(table["end"]))
    # The first to start stands at the top.
    assert drawn[:, 0, 1].tolist() == list(range(40))
    assert ax.yaxis_inverted()


def test_cohorts_differ_in_colour_and_line_style_and_who_is_in_none_is_grey() -> None:
    third = lines(ist.plot.cohorts(found("third")))
    assert list(third) == ["treatments: before", "treatments: straddling", "treatments: during"]
    assert len({to_hex(c.get_color()[0]) for c in third.values()}) == 3
    assert len({str(c.get_linestyle()) for c in third.values()}) == 3
    out = lines(ist.plot.cohorts(found("exclude")))["treatments: in no cohort"]
    assert to_hex(out.get_color()[0]) == style.FAINT


@pytest.mark.parametrize("rule", ["exclude", "third", "by_start", "exposure"])
def test_straddlers_and_open_treatments_are_marked(rule: str) -> None:
    result = found(rule)
    ax = ist.plot.cohorts(result)
    marks = {line.get_gid(): line for line in ax.lines}
    table = result.patients().sort_values(["start", "end"]).reset_index(drop=True)
    across = marks["in treatment on both sides"]
    assert list(across.get_ydata()) == table.index[table["treatment"] == "across"].tolist()
    assert {f"{num2date(x):%Y-%m-%d}" for x in across.get_xdata()} == {CHANGE}
    assert len(marks["no end known"].get_xdata()) == 2
    words = [t.get_text() for t in ax.get_legend().get_texts()]
    assert f"in treatment on both sides ({result.glance()['straddlers'].iloc[0]})" in words
    assert "no end known (2)" in words


def test_exposure_parts_the_lines_at_the_change() -> None:
    result = found("exposure")
    ax = ist.plot.cohorts(result)
    before, after = (np.array(c.get_segments()) for c in lines(ax).values())
    day = date2num(pd.Timestamp(CHANGE))
    assert before[:, 1, 0].max() == day == after[:, 0, 0].min()
    length = (result.patients()["end"] - result.patients()["start"]).dt.days.sum()
    assert np.diff(before[:, :, 0]).sum() + np.diff(after[:, :, 0]).sum() == pytest.approx(length)


def test_the_change_is_a_line_with_its_date_unless_there_are_several() -> None:
    ax = ist.plot.cohorts(found("third"))
    assert [t.get_text() for t in ax.texts if t.get_gid() == "change"] == ["change: 2010-01-01"]
    several = made().assign(date=["2009-01-01", "2010-01-01"] * 20)
    ax = ist.plot.cohorts(found("third", several, change="date"))
    assert not [t for t in ax.texts if t.get_gid() == "change"]
    assert {f"{num2date(x):%Y}" for x in ax.lines[0].get_xdata()} == {"2009", "2010"}


def test_without_ends_there_are_points() -> None:
    ax = ist.plot.cohorts(found("by_start", end=None, study_end=None))
    assert not lines(ax)
    assert sum(len(line.get_xdata()) for line in ax.lines if "treatments" in str(line.get_gid())) == 40
    assert ax.get_xlabel() == "treatment, from admitted"


@pytest.mark.parametrize("n", [6, 40, 400])
def test_nothing_runs_into_anything(n: int) -> None:
    labels = {"before": "Before the reorganisation (2004-2009)", "admitted": "admission to the day hospital"}
    ax = ist.plot.cohorts(found("third", made(n)), labels=labels)
    figure = ax.get_figure(root=True)
    figure.canvas.draw()
    boxes = [t.get_window_extent() for t in ax.get_xticklabels() if t.get_text() and t.get_visible()]
    assert len(boxes) >= 3
    assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))
    assert ax.get_legend().get_window_extent().y0 >= ax.get_window_extent().y1
    assert ax.get_legend().get_window_extent().x1 <= figure.bbox.width
    assert figure.get_size_inches()[1] <= 7.5
    widths = {float(c.get_linewidth()[0]) for c in lines(ax).values()}
    assert 0.5 <= min(widths) <= max(widths) <= 3


@pytest.fixture(scope="module")
def placebo(visits: Any) -> Any:
    roles = {"start": "admitted", "end": "ended", "outcome": "bsi", "time": "month", "patient": "patient"}
    false = ["2003-01-01", "2005-01-01", "2006-01-01"]
    return ist.placebo_changes(
        visits, change=CHANGE, false_changes=false, straddlers="by_start", at=[18, 36], fit={"shape": "linear"}, **roles
    )


def test_false_dates_stand_under_the_true_one(placebo: Any) -> None:
    ax = ist.plot.placebo(placebo, labels={"bsi": "Symptoms (BSI, 0-4)"})
    rows = [t.get_text() for t in ax.texts if t.get_gid() == "row"]
    assert rows == ["2010-01-01, the change", "2005-01-01", "2006-01-01"] * 2
    table = placebo.tidy()
    drawn = [line.get_xdata()[0] for line in ax.lines if str(line.get_gid()).startswith("estimate")]
    np.testing.assert_allclose(np.sort(drawn), np.sort(table["estimate"].dropna()))
    assert [t.get_text() for t in ax.texts if t.get_gid() == "outcome"] == ["change at month 18", "change at month 36"]
    # Where nobody stands on one side there is no estimate, and that is said.
    absent = [t.get_text() for t in ax.texts if t.get_gid() == "absent"]
    assert sorted(absent) == ["76, 0"] * 2 + ["no estimate"] * 2
    assert ax.get_xlabel() == "change of Symptoms (BSI, 0-4) after minus before the date"


def test_level_and_slope_have_a_picture_each() -> None:
    frame = made(60, running=0).assign(patient=range(60))
    rng = np.random.default_rng(1)
    rows = frame.loc[frame.index.repeat(4)].assign(month=[0, 4, 8, 12] * 60)
    rows["y"] = rng.normal(0, 0.3, 240) + np.repeat(rng.normal(0, 0.5, 60), 4) - 0.05 * rows["month"]
    result = ist.placebo_changes(
        rows.reset_index(drop=True),
        start="admitted",
        end="ended",
        change=CHANGE,
        false_changes=["2008-01-01"],
        straddlers="exposure",
        outcome="y",
        time="month",
        patient="patient",
        at=12,
        fit={"shape": "linear", "random": "intercept"},
    )
    shown = result.tidy().set_index("quantity")["estimate"]
    for quantity, label in (
        ("level", "level of y from the date on"),
        ("slope", "slope of y since the date, per unit of"),
    ):
        ax = ist.plot.placebo(result, quantity=quantity)
        drawn = [line.get_xdata()[0] for line in ax.lines if str(line.get_gid()).startswith("estimate")]
        np.testing.assert_allclose(drawn, shown[quantity])
        assert ax.get_xlabel().startswith(label)
    with pytest.raises(DataError, match=r"^quantity='change': unknown option; there are 'level', 'slope'$"):
        ist.plot.placebo(result, quantity="change")
