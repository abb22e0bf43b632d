"""The hazard is drawn as the result has it, with what it rests on under the axis."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes

import implstats as ist
from implstats.errors import DataError
from implstats.plot.hazard import BEYOND, hazard

ROLES: dict[str, Any] = {"duration": "years", "event": "discontinued"}


@pytest.fixture(scope="module")
def programmes() -> pd.DataFrame:
    frame = ist.load_example("programmes")
    return frame.assign(year=np.ceil(frame["years"]))


@pytest.fixture(scope="module")
def curves(programmes: pd.DataFrame) -> Any:
    return ist.survival_curves(programmes, **ROLES, by="era")


@pytest.fixture(scope="module")
def discrete(programmes: pd.DataFrame) -> Any:
    return ist.fit_discrete_hazard(programmes, duration="year", event="discontinued", terms="era + support")


@pytest.fixture(scope="module")
def parametric(programmes: pd.DataFrame) -> Any:
    return ist.fit_parametric(programmes, **ROLES, terms="era", distribution="spline", df=3, id="programme")


ERAS = pd.DataFrame({"era": ["early", "late"], "support": [4.0, 4.0]})


def part(ax: Axes, gid: str) -> Any:
    (found,) = [a for a in [*ax.lines, *ax.collections] if a.get_gid() == gid]
    return found


def legend(ax: Axes) -> list[str]:
    return [t.get_text() for t in ax.get_legend().get_texts()]


def cells(ax: Axes, k: int = 0) -> list[str]:
    return [t.get_text() for t in ax.texts if t.get_gid() == f"n: {k}"]


def said(ax: Axes) -> list[str]:
    return [t.get_text() for t in ax.texts]


def test_rates_stand_in_the_middle_of_their_stretch(curves: Any) -> None:
    ax = hazard(curves, times=range(8))
    table = curves.rates(range(8))
    for name, rows in table.groupby("group"):
        line = part(ax, f"hazard: {name}")
        np.testing.assert_array_equal(line.get_ydata(), rows["estimate"])
        assert (abs(line.get_xdata() - (rows["start"] + rows["end"]) / 2) < 0.2).all()
        for segment, row in zip(part(ax, f"bars: {name}").get_segments(), rows.to_dict("records"), strict=True):
            assert segment[0][1] == row["conf_low"]
            assert segment[1][1] == min(row["conf_high"], BEYOND * table["estimate"].max())
    assert [t.get_text() for t in ax.get_xticklabels()] == [f"{k}–{k + 1}" for k in range(7)]


def test_the_risk_in_years_two_and_five_is_a_peak(programmes: pd.DataFrame) -> None:
    # The scenario behind the example has peaks in its second and its fifth year.
    ax = hazard(ist.survival_curves(programmes, **ROLES), times=range(8))
    height = np.asarray(part(ax, "hazard: all").get_ydata())
    assert [k + 1 for k in range(1, 6) if height[k] > max(height[k - 1], height[k + 1])] == [2, 5]
    assert ax.get_ylim()[1] < 3 * height.max()


def test_groups_differ_in_line_marker_and_place(curves: Any) -> None:
    ax = hazard(curves)
    early, late = part(ax, "hazard: early"), part(ax, "hazard: late")
    assert early.get_linestyle() == "-" != late.get_linestyle()
    assert early.get_marker() != late.get_marker()
    assert early.get_color() != late.get_color()
    assert (np.asarray(early.get_xdata()) < np.asarray(late.get_xdata())).all()
    assert legend(ax) == ["early", "late", "95 % interval", "goes on beyond the axis"]


def test_a_long_interval_is_cut_with_an_arrow_head(curves: Any) -> None:
    ax = hazard(curves)
    table = curves.rates()
    top = BEYOND * table["estimate"].max()
    beyond = table[(table["group"] == "late") & (table["conf_high"] > top)]
    assert len(part(ax, "cut: late").get_xdata()) == len(beyond) > 0
    short = hazard(curves, times=[0, 3, 6])
    assert part(short, "cut: late").get_xdata().size == 0
    assert "goes on beyond the axis" not in legend(short)


def test_events_and_time_at_risk_stand_under_their_stretch(curves: Any) -> None:
    ax = hazard(curves, times=[0, 2, 5, 10])
    rows = curves.rates([0, 2, 5, 10]).groupby("group")
    for k, (_, own) in enumerate(rows):
        wanted = [f"{e}/{t:.0f}" if t else "–" for e, t in own[["events", "exposure"]].itertuples(index=False)]
        assert cells(ax, k) == wanted
    assert [t.xy[0] for t in ax.texts if t.get_gid() == "n: 0"] == [1, 3.5, 7.5]
    assert "events / years at risk" in said(ax)
    assert cells(hazard(curves, at_risk=False)) == []


def test_where_nobody_was_at_risk_there_is_no_point(curves: Any) -> None:
    ax = hazard(curves)
    assert np.isnan(part(ax, "hazard: late").get_ydata()[-1])
    assert cells(ax, 1)[-1] == "–"


def test_units_are_worded_from_the_columns(curves: Any, programmes: pd.DataFrame, parametric: Any) -> None:
    assert hazard(curves).get_ylabel() == "discontinued per year at risk"
    labels = {"discontinued": "stopped", "years": "Years since the start"}
    ax = hazard(curves, per="programme-year", labels=labels)
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("stopped per programme-year", "Years since the start")
    assert "events / programme-years" in said(ax)
    other = programmes.rename(columns={"years": "duration"})
    ax = hazard(ist.survival_curves(other, duration="duration", event="discontinued"))
    assert ax.get_ylabel().replace("\n", " ") == "discontinued per unit of duration at risk"
    assert "events / time at risk" in said(ax)
    assert hazard(parametric).get_ylabel().replace("\n", " ") == "hazard: discontinued per programme-year"


def test_weights_are_said(programmes: pd.DataFrame) -> None:
    weighted = programmes.assign(weight=programmes["support"] / 4)
    ax = hazard(ist.survival_curves(weighted, **ROLES, weights="weight"), times=[0, 2, 4])
    assert "events / years at risk, sums of weights" in said(ax)
    assert len(legend(ax)) == 1


def test_without_events_there_are_upper_ends(programmes: pd.DataFrame) -> None:
    ax = hazard(ist.survival_curves(programmes.assign(discontinued=0), **ROLES), times=[0, 2, 4])
    assert list(part(ax, "hazard: all").get_ydata()) == [0, 0]
    assert all(segment[1][1] > 0 for segment in part(ax, "bars: all").get_segments())


def test_seven_programmes_of_which_three_stopped() -> None:
    frame = pd.DataFrame({"years": [1.5, 2.0, 4.5, 5, 6, 7.5, 8], "discontinued": [1, 0, 1, 0, 1, 0, 0]})
    ax = hazard(ist.survival_curves(frame, **ROLES))
    assert cells(ax) == ["0/7", "1/6.5", "0/5", "0/5", "1/4.5", "1/3", "0/2", "0/1.5"]
    # Nearly all intervals are wider than the picture, and it says so.
    assert len(part(ax, "cut: all").get_xdata()) == 7
    assert "goes on beyond the axis" in legend(ax)


def test_a_discrete_model_is_drawn_by_period(discrete: Any) -> None:
    ax = hazard(discrete, profile=ERAS, times=range(1, 9))
    table = discrete.hazard(ERAS, list(range(1, 9)))
    for k, era in enumerate(["early", "late"]):
        rows = table[table["era"] == era]
        np.testing.assert_array_equal(part(ax, f"hazard: {k}").get_ydata(), rows["estimate"])
        assert (abs(part(ax, f"hazard: {k}").get_xdata() - rows["time"]) < 0.2).all()
    assert legend(ax)[:2] == ["era early", "era late"]
    seen = discrete.at_risk().head(8)
    assert cells(ax) == [f"{e:.0f}/{n:.0f}" for e, n in seen[["events", "at_risk"]].itertuples(index=False)]
    assert "events / at risk, all rows" in said(ax)
    assert [t.get_text() for t in ax.get_xticklabels()] == [str(k) for k in range(1, 9)]
    assert ax.get_ylabel().replace("\n", " ") == "share of those at risk with the event (discontinued) in each year"


def test_a_model_by_default_is_that_of_the_mean_row(discrete: Any, programmes: pd.DataFrame) -> None:
    ax = hazard(discrete)
    np.testing.assert_array_equal(part(ax, "hazard: 0").get_ydata(), discrete.hazard()["estimate"])
    assert legend(ax)[0] == "mean of the rows"
    alone = ist.fit_discrete_hazard(programmes, duration="year", event="discontinued", baseline="spline")
    assert "mean of the rows" not in legend(hazard(alone))


def test_a_profile_is_named_in_the_readers_words(discrete: Any) -> None:
    labels = {"era": "Started", "late": "after 2008", "support": "Support (1-7)"}
    ax = hazard(discrete, profile={"era": "late", "support": 4.5}, labels=labels)
    assert legend(ax)[0] == "Started after 2008, Support (1-7) 4.5"


def test_a_parametric_model_is_a_line_with_a_band(parametric: Any, programmes: pd.DataFrame) -> None:
    ax = hazard(parametric, profile=ERAS[["era"]], times=[1, 10], level=0.8)
    for k, era in enumerate(["early", "late"]):
        line = part(ax, f"hazard: {k}")
        x = np.asarray(line.get_xdata())
        assert (x[0], x[-1]) == (1, 10)
        rows = parametric.hazard({"era": era}, x.tolist(), level=0.8)
        np.testing.assert_allclose(line.get_ydata(), rows["estimate"])
        corners = np.vstack([path.vertices for path in part(ax, f"band: {k}").get_paths()])
        last = corners[corners[:, 0] == 10, 1]
        assert (last.min(), last.max()) == pytest.approx(tuple(rows[["conf_low", "conf_high"]].iloc[-1]))
    assert part(ax, "hazard: 0").get_linestyle() != part(ax, "hazard: 1").get_linestyle()
    assert legend(ax) == ["era early", "era late", "80 % interval"]


def test_rows_at_risk_stand_under_a_line(parametric: Any, programmes: pd.DataFrame) -> None:
    ax = hazard(parametric)
    ticks = ax.get_xticks().tolist()
    assert cells(ax) == [str(int((programmes["years"] >= t).sum())) for t in ticks]
    assert "at risk" in said(ax)
    first, last = part(ax, "hazard: 0").get_xdata()[[0, -1]]
    assert first == programmes.loc[programmes["discontinued"] == 1, "years"].min()
    assert last == programmes["years"].max()


def test_what_ended_between_visits_counts_as_at_risk_until_the_later_one() -> None:
    visits = pd.DataFrame({"active": [0, 1, 2, 2, 3, 5, 1, 4], "gone": [1, 2, 4, None, 5, None, 3, 6]})
    ax = hazard(ist.fit_parametric(visits, lower="active", upper="gone"))
    assert "at risk at the most" in said(ax)
    assert cells(ax)[0] == "8"
    assert ax.get_ylabel().replace("\n", " ") == "hazard: events per unit of time at risk"


def test_a_hazard_that_is_infinite_at_the_start_leaves_the_rest_legible(programmes: pd.DataFrame) -> None:
    early = programmes.assign(years=programmes["years"].where(programmes.index % 5 > 0, 0.001))
    ax = hazard(ist.fit_parametric(early, **ROLES))
    heights = np.asarray(part(ax, "hazard: 0").get_ydata())
    assert ax.get_ylim()[1] <= 1.05 * BEYOND * heights.max()


@pytest.mark.parametrize("which", ["curves", "discrete", "parametric"])
def test_nothing_under_the_axis_overlaps(which: str, request: pytest.FixtureRequest) -> None:
    ax = hazard(request.getfixturevalue(which))
    figure = ax.get_figure(root=True)
    figure.canvas.draw()
    texts = [t.get_window_extent() for t in ax.texts if t.get_text()]
    ticks = [t.get_window_extent() for t in ax.get_xticklabels()]
    for boxes in (texts, ticks):
        for k, box in enumerate(boxes):
            assert not [j for j, other in enumerate(boxes[:k]) if box.overlaps(other)]
    assert len(ticks) > 3


def test_drawn_into_given_axes(curves: Any) -> None:
    _, given = pyplot.subplots(layout="constrained")
    assert hazard(curves, ax=given) is given
    assert len(pyplot.get_fignums()) == 1


@pytest.mark.parametrize(
    ("which", "options", "message"),
    [
        (
            "curves",
            {"profile": {"era": "late"}},
            "profile={'era': 'late'}: curves have groups; say by= in survival_curves",
        ),
        ("curves", {"times": [3]}, "times=3: one time is neither a stretch nor a line; write times=[0, 1, 2]"),
        ("curves", {"per": 5}, "per=5: not a text; write per='programme-year'"),
        ("curves", {"at_risk": 1}, "at_risk=1: not True or False"),
        ("curves", {"level": 95}, "level=95: not between 0 and 1"),
        ("discrete", {"times": [30]}, "times=30: no period in which anybody was at risk; there are 1 to 16"),
        ("parametric", {"times": 3}, "times=3: one time is neither a stretch nor a line; write times=[0, 1, 2]"),
    ],
)
def test_a_bad_argument_is_refused_before_anything_is_drawn(
    which: str, options: dict[str, Any], message: str, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(DataError) as caught:
        hazard(request.getfixturevalue(which), **options)
    assert str(caught.value).startswith(message)
    assert pyplot.get_fignums() == []


def test_what_has_no_hazard_is_refused(curves: Any) -> None:
    with pytest.raises(DataError) as caught:
        hazard(curves.rates())
    assert str(caught.value) == (
        "hazard: needs survival curves, or a discrete or parametric model, not a DataFrame; draw what survival_curves, "
        "fit_discrete_hazard or fit_parametric returned"
    )
