"""Survival curves are drawn as the result gives them, with legible numbers at risk."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import same_color

from implstats.errors import DataError
from implstats.plot import style
from implstats.plot.survival import log_log, survival
from implstats.survival.curves import survival_curves

ROLES: dict[str, Any] = {"duration": "years", "event": "discontinued"}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(12)
    n = 80
    stops, end = rng.exponential(6, n), rng.uniform(1, 9, n)
    return pd.DataFrame(
        {
            "years": np.ceil(np.minimum(stops, end) * 4) / 4,
            "discontinued": (stops <= end).astype(int),
            "era": np.tile(["before", "during"], n // 2),
            "weight": rng.uniform(0.5, 2, n),
        }
    )


@pytest.fixture(scope="module")
def curves(frame: pd.DataFrame) -> Any:
    return survival_curves(frame, **ROLES, by="era")


def part(ax: Axes, gid: str) -> Any:
    (found,) = [a for a in [*ax.lines, *ax.collections] if a.get_gid() == gid]
    return found


def parts(ax: Axes, start: str) -> list[Any]:
    return [a for a in [*ax.lines, *ax.collections, *ax.texts] if str(a.get_gid()).startswith(start)]


def legend(ax: Axes) -> list[str]:
    return [t.get_text() for t in ax.get_legend().get_texts()]


def cells(ax: Axes, k: int) -> list[str]:
    return [t.get_text() for t in parts(ax, f"n: {k}")]


def heights(polygons: Any, x: float) -> tuple[float, float]:
    """Return the lowest and the highest point of a band just right of x."""
    inside = []
    for path in polygons.get_paths():
        line = path.vertices
        for (x0, y0), (x1, y1) in pairwise(line):
            if min(x0, x1) <= x < max(x0, x1):
                inside.append(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
    return min(inside), max(inside)


def test_lines_are_the_steps_of_tidy(curves: Any) -> None:
    ax = survival(curves)
    table = curves.tidy()
    for name, rows in table.groupby("group"):
        line = part(ax, f"survival: {name}")
        assert line.get_drawstyle() == "steps-post"
        np.testing.assert_array_equal(line.get_xdata(), [0, *rows["time"]])
        np.testing.assert_array_equal(line.get_ydata(), [1, *rows["estimate"]])


@pytest.mark.parametrize("level", [None, 0.5])
def test_bands_are_the_intervals_of_tidy(curves: Any, level: float | None) -> None:
    ax = survival(curves, level=level)
    for name, rows in curves.tidy(level=level).groupby("group"):
        band = part(ax, f"band: {name}")
        for row in rows.iloc[[1, 5, 9]].to_dict("records"):
            assert heights(band, row["time"] + 0.01) == pytest.approx((row["conf_low"], row["conf_high"]), abs=1e-9)
    assert legend(ax)[2] == f"{95 if level is None else 50} % interval"


def test_a_band_goes_on_until_its_line_falls_to_zero() -> None:
    table = pd.DataFrame({"years": [1.0, 2, 5], "discontinued": 1})
    made = survival_curves(table, **ROLES)
    band = part(survival(made), "band: all")
    row = made.tidy().iloc[1]
    assert heights(band, 4.9) == pytest.approx((row["conf_low"], row["conf_high"]))
    assert max(path.vertices[:, 0].max() for path in band.get_paths()) == 5.0


def test_censored_rows_are_marked_on_the_line(curves: Any, frame: pd.DataFrame) -> None:
    ax = survival(curves)
    for name, rows in curves.tidy().groupby("group"):
        left = rows[rows["censored"] > 0]
        np.testing.assert_array_equal(part(ax, f"censored: {name}").get_xdata(), left["time"])
        np.testing.assert_array_equal(part(ax, f"censored: {name}").get_ydata(), left["estimate"])
    assert legend(ax)[-1] == "censored"
    without = survival(curves, censored=False)
    assert parts(without, "censored") == []
    assert "censored" not in legend(without)
    assert "censored" not in legend(survival(survival_curves(frame.assign(discontinued=1), **ROLES, by="era")))


def test_numbers_at_risk_stand_under_their_time(curves: Any) -> None:
    ax = survival(curves)
    ticks = ax.get_xticks().tolist()
    table = curves.at_risk(ticks)
    for k, (_, rows) in enumerate(table.groupby("group", sort=False)):
        assert cells(ax, k) == [str(n) for n in rows["at_risk"]]
    assert [t.xy[0] for t in parts(ax, "n: 0")] == ticks
    assert "at risk" in [t.get_text() for t in ax.texts]
    assert parts(survival(curves, at_risk=False), "n: ") == []


def test_asked_times_are_the_ticks(curves: Any) -> None:
    ax = survival(curves, times=[0, 1, 5])
    assert ax.get_xticks().tolist() == [0, 1, 5]
    assert cells(ax, 1) == [str(n) for n in curves.at_risk([0, 1, 5]).query("group == 'during'")["at_risk"]]


def test_weights_at_risk_are_called_sums_and_written_short(frame: pd.DataFrame) -> None:
    ax = survival(survival_curves(frame, **ROLES, weights="weight"))
    assert "at risk, sum of weights" in [t.get_text() for t in ax.texts]
    assert cells(ax, 0)[0] == str(round(float(frame["weight"].sum()), 1))


@pytest.mark.parametrize("names", [["a", "b"], ["a", "programmes that started after the reorganisation"]])
def test_nothing_under_the_axis_overlaps(frame: pd.DataFrame, names: list[str]) -> None:
    # Many times, and numbers of five digits: what does not fit is left out.
    many = frame.assign(weight=10_000, era=frame["era"].map(dict(zip(["before", "during"], names, strict=True))))
    ax = survival(survival_curves(many, **ROLES, by="era", weights="weight"), times=np.arange(0, 8.5, 0.25).tolist())
    figure = ax.get_figure(root=True)
    figure.canvas.draw()
    texts = [t for t in ax.texts if t.get_text()]
    boxes = [t.get_window_extent() for t in texts]
    boxes += [t.get_window_extent() for t in ax.get_xticklabels()]
    for k, box in enumerate(boxes):
        assert not [j for j, other in enumerate(boxes[:k]) if box.overlaps(other)]
    assert len(ax.get_xticks()) > 3


def test_groups_differ_in_line_and_colour_and_the_first_is_solid(curves: Any) -> None:
    ax = survival(curves)
    for name, look in style.looks(["before", "during"]).items():
        assert same_color(part(ax, f"survival: {name}").get_color(), look.colour)
    assert part(ax, "survival: before").get_linestyle() == "-"
    assert part(ax, "survival: during").get_linestyle() != "-"
    assert legend(ax) == ["before", "during", "95 % interval", "censored"]


def test_units_are_in_the_labels(curves: Any, frame: pd.DataFrame) -> None:
    assert survival(curves).get_xlabel() == "years"
    labels = {"years": "Years since the start", "discontinued": "stopped", "before": "Before 2010"}
    ax = survival(curves, labels=labels)
    assert (ax.get_xlabel(), ax.get_ylabel().replace("\n", " ")) == (
        "Years since the start",
        "share without the event (stopped)",
    )
    assert legend(ax)[:2] == ["Before 2010", "during"]
    numbered = survival_curves(frame.assign(wave=frame["era"].eq("during") + 1), **ROLES, by="wave")
    assert legend(survival(numbered))[:2] == ["wave 1", "wave 2"]
    assert legend(survival(numbered, labels={2: "second"}))[:2] == ["wave 1", "second"]


def test_one_curve_needs_no_legend_of_its_own(frame: pd.DataFrame) -> None:
    assert legend(survival(survival_curves(frame, **ROLES))) == ["95 % interval", "censored"]


def test_drawn_into_given_axes(curves: Any) -> None:
    _, given = pyplot.subplots(layout="constrained")
    assert survival(curves, ax=given) is given
    assert len(pyplot.get_fignums()) == 1


def test_log_log_is_the_logarithm_of_the_cumulative_hazard(curves: Any) -> None:
    ax = log_log(curves)
    assert ax.get_xscale() == "log"
    for name, rows in curves.tidy().groupby("group"):
        inner = rows[(rows["estimate"] > 0) & (rows["estimate"] < 1)]
        line = part(ax, f"log-log: {name}")
        np.testing.assert_array_equal(line.get_xdata(), inner["time"])
        np.testing.assert_allclose(line.get_ydata(), np.log(-np.log(inner["estimate"])))
    assert legend(ax) == ["before", "during"]
    assert ax.get_xlabel() == "years (logarithmic scale)"
    low, high = ax.get_xlim()
    assert all(low <= t <= high for t in ax.get_xticks())


def test_proportional_hazards_are_a_constant_distance_apart() -> None:
    # Quantiles of two exponentials whose hazards are 1 and 3: log 3 apart at every time.
    share = (np.arange(400) + 0.5) / 400
    times = {"slow": -np.log(1 - share), "fast": -np.log(1 - share) / 3}
    frame = pd.concat([pd.DataFrame({"years": t, "discontinued": 1, "era": name}) for name, t in times.items()])
    ax = log_log(survival_curves(frame, **ROLES, by="era"))
    grid = np.array([0.1, 0.2, 0.5, 0.8])
    read = {
        name: np.interp(grid, part(ax, f"log-log: {name}").get_xdata(), part(ax, f"log-log: {name}").get_ydata())
        for name in times
    }
    np.testing.assert_allclose(read["fast"] - read["slow"], np.log(3), atol=0.03)


def test_a_group_without_a_logarithm_is_left_out(frame: pd.DataFrame) -> None:
    calm = frame.assign(discontinued=frame["discontinued"] * (frame["era"] == "before"))
    assert legend(log_log(survival_curves(calm, **ROLES, by="era"))) == ["before"]
    with pytest.raises(DataError, match=r"^log_log: no curve comes between 1 and 0"):
        log_log(survival_curves(frame.assign(discontinued=0), **ROLES))


def test_a_bad_argument_is_refused_before_anything_is_drawn(curves: Any) -> None:
    for bad in ({"level": 95}, {"times": "soon"}, {"at_risk": "yes"}, {"censored": 1}, {"labels": "years"}):
        with pytest.raises(DataError, match=f"^{next(iter(bad))}="):
            survival(curves, **bad)
    last = curves.tidy()["time"].max()
    with pytest.raises(DataError) as caught:
        survival(curves, times=[0, 50])
    assert str(caught.value) == f"times=50: outside of the follow-up, which runs from 0 to {last:g}"
    for draw in (survival, log_log):
        with pytest.raises(DataError) as caught:
            draw(curves.tidy())
        assert str(caught.value) == (
            f"{draw.__name__}: needs survival curves, not a DataFrame; draw what survival_curves returned"
        )
    assert pyplot.get_fignums() == []
