"""Schoenfeld residuals are drawn as the test has them, with the smooth that least squares give and the test's p."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from scipy.interpolate import CubicSpline
from statsmodels.api import OLS

import implstats as ist
from implstats.errors import DataError
from implstats.plot.proportional import schoenfeld

ROLES: dict[str, Any] = {"duration": "years", "event": "discontinued"}


@pytest.fixture(scope="module")
def veteran() -> Any:
    frame = pd.read_csv(Path(__file__).resolve().parents[1] / "reference" / "data" / "veteran.csv")
    return ist.fit_cox(frame, duration="time", event="status", terms="celltype + karno")


@pytest.fixture(scope="module")
def programmes() -> pd.DataFrame:
    return ist.load_example("programmes")


def part(ax: Axes, gid: str) -> Any:
    (found,) = [a for a in [*ax.lines, *ax.collections] if a.get_gid() == gid]
    return found


def words(ax: Axes) -> str:
    return " ".join([ax.get_title(loc="left"), ax.get_xlabel(), ax.get_ylabel(), *(t.get_text() for t in ax.texts)])


def natural(t: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Return a basis of natural splines: those that are 1 at one knot and 0 at the others."""
    return np.column_stack([CubicSpline(knots, row, bc_type="natural")(t) for row in np.eye(len(knots))])


def test_every_column_has_a_panel_with_its_residuals_and_its_coefficient(veteran: Any) -> None:
    axes = schoenfeld(veteran)
    rows = veteran.proportional_hazards().residuals()
    assert len(axes) == 4
    for ax, column in zip(axes, veteran.terms, strict=True):
        points = np.asarray(part(ax, "residuals").get_offsets())
        np.testing.assert_allclose(points, rows[["transformed_time", column]])
        assert list(part(ax, "fitted").get_ydata()) == [veteran.params[column]] * 2
        assert f"fitted\n{veteran.params[column]:.2f}"[:9].replace("-", "−") in words(ax)


def test_the_smooth_is_a_natural_spline_by_least_squares(veteran: Any) -> None:
    # statsmodels fits another basis of the same splines.
    ax = schoenfeld(veteran, level=0.9)[-1]
    rows = veteran.proportional_hazards().residuals()
    g = rows["transformed_time"].to_numpy()
    knots = np.quantile(np.unique(g), [0, 1 / 3, 2 / 3, 1])
    fit = OLS(rows["karno"].to_numpy(), natural(g, knots)).fit()
    line = part(ax, "smooth")
    wanted = fit.get_prediction(natural(np.asarray(line.get_xdata()), knots)).summary_frame(alpha=0.1)
    np.testing.assert_allclose(line.get_ydata(), wanted["mean"], rtol=1e-8)
    corners = np.vstack([path.vertices for path in part(ax, "band: smooth").get_paths()])
    for k in (0, -1):
        here = corners[np.isclose(corners[:, 0], line.get_xdata()[k]), 1]
        np.testing.assert_allclose([here.min(), here.max()], wanted[["mean_ci_lower", "mean_ci_upper"]].iloc[k])
    assert "smooth with 90 % band" in ax.get_xlabel().replace("\n", " ")


def test_a_title_has_the_test_of_its_term(veteran: Any) -> None:
    table = veteran.proportional_hazards().tidy().set_index("term")
    titles = [ax.get_title(loc="left").splitlines() for ax in schoenfeld(veteran)]
    p = table.loc["celltype", "p_value"]
    assert [title[0] for title in titles] == ["celltype large", "celltype smallcell", "celltype squamous", "karno"]
    assert [title[1] for title in titles[:3]] == [f"change of celltype, 3 df: p = {p:.3f}"] * 3
    assert table.loc["karno", "p_value"] < 0.001
    assert titles[3][1] == "change over time: p < 0.001"


def test_no_words_say_that_anything_holds(programmes: pd.DataFrame) -> None:
    model = ist.fit_cox(programmes, **ROLES, terms="era + support")
    text = " ".join(words(ax) for ax in schoenfeld(model)).lower()
    assert not [word for word in ("assumption", "holds", "proportional", "violat", "significant") if word in text]


@pytest.mark.parametrize("transform", ["km", "log", "identity", "rank"])
def test_ticks_are_times_where_the_test_has_them(veteran: Any, transform: str) -> None:
    ax = schoenfeld(veteran, transform=transform)[0]
    rows = veteran.proportional_hazards(transform).residuals().sort_values("time")
    places = np.interp([float(t.get_text()) for t in ax.get_xticklabels()], rows["time"], rows["transformed_time"])
    np.testing.assert_allclose(ax.get_xticks(), places)
    assert len(places) > 2
    assert ("spaced as" in ax.get_xlabel()) == (transform != "identity")
    ax.get_figure(root=True).canvas.draw()
    boxes = [t.get_window_extent() for t in ax.get_xticklabels()]
    assert not [k for k in range(1, len(boxes)) if boxes[k].overlaps(boxes[k - 1])]


def test_a_test_alone_can_be_drawn(veteran: Any) -> None:
    one, other = schoenfeld(veteran, transform="log"), schoenfeld(veteran.proportional_hazards("log"))
    for ax, same in zip(one, other, strict=True):
        np.testing.assert_allclose(part(ax, "fitted").get_ydata(), part(same, "fitted").get_ydata(), rtol=1e-6)
        np.testing.assert_array_equal(part(ax, "smooth").get_ydata(), part(same, "smooth").get_ydata())


def test_a_true_change_is_seen() -> None:
    # The hazard ratio is 4 in the first year and 1/2 after it.
    rng = np.random.default_rng(8)
    n = 3000
    x = np.arange(n) % 2
    first = rng.exponential(1 / np.where(x == 1, 0.8, 0.2))
    later = 1 + rng.exponential(1 / np.where(x == 1, 0.1, 0.2))
    stops = np.where(first < 1, first, later)
    frame = pd.DataFrame({"years": np.minimum(stops, 6), "discontinued": (stops < 6).astype(int), "x": x})
    (ax,) = schoenfeld(ist.fit_cox(frame, **ROLES, terms=["x"]), transform="identity")
    assert ax.get_title(loc="left") == "x\nchange over time: p < 0.001"
    line = part(ax, "smooth")
    assert line.get_ydata()[0] > np.log(2) > 0 > line.get_ydata()[-1]


@pytest.mark.parametrize(("events", "columns"), [(3, 0), (9, 0), (10, 2), (15, 3), (40, 4)])
def test_the_smooth_has_no_more_columns_than_events_carry(events: int, columns: int) -> None:
    rng = np.random.default_rng(events)
    frame = pd.DataFrame({"years": rng.permutation(60) + 1.0, "discontinued": 0, "x": rng.normal(size=60)})
    frame.loc[rng.permutation(60)[:events], "discontinued"] = 1
    model = ist.fit_cox(frame, **ROLES, terms=["x"])
    (ax,) = schoenfeld(model)
    if columns == 0:
        assert "too few events for a smooth" in words(ax)
        assert not [a for a in ax.lines if a.get_gid() == "smooth"]
        return
    x, y = (np.asarray(v) for v in part(ax, "smooth").get_data())
    g = model.proportional_hazards().residuals()["transformed_time"].unique()
    knots = np.quantile(np.sort(g), np.linspace(0, 1, columns))
    if columns == 2:
        wanted = np.polyval(np.polyfit(x, y, 1), x)
    else:
        basis = natural(x, knots)
        wanted = basis @ np.linalg.lstsq(basis, y, rcond=None)[0]
    np.testing.assert_allclose(y, wanted, atol=1e-8)


def test_labels_are_the_readers_words(programmes: pd.DataFrame) -> None:
    model = ist.fit_cox(programmes, **ROLES, terms="country + support")
    labels = {"country": "Country", "support": "Support (1-7)", "years": "Years since the start"}
    axes = schoenfeld(model, labels=labels)
    assert axes[0].get_title(loc="left").startswith("Country B\nchange of Country, 2 df: p = ")
    assert axes[2].get_title(loc="left").startswith("Support (1-7)\n")
    assert axes[2].get_xlabel().startswith("Years since the start")


def test_drawn_into_given_axes(veteran: Any) -> None:
    figure, given = pyplot.subplots(2, 2, layout="constrained")
    assert list(schoenfeld(veteran, ax=given)) == list(given.ravel())
    assert pyplot.get_fignums() == [figure.number]


def test_what_has_no_such_test_is_refused(veteran: Any, programmes: pd.DataFrame) -> None:
    firth = ist.fit_cox(programmes, **ROLES, terms="era", penalty="firth")
    weighted = ist.fit_cox(programmes, **ROLES, terms="era", weights="support").proportional_hazards()
    for result, options, message in (
        (firth, {}, "proportional_hazards: a penalised fit has no score of 0 to test from; fit without penalty="),
        (
            weighted,
            {},
            "schoenfeld: the test of a weighted fit does not say what was fitted; draw what fit_cox returned",
        ),
        (veteran, {"transform": "sqrt"}, "transform='sqrt': unknown option; there are 'km', 'log', 'identity', 'rank'"),
        (
            veteran.proportional_hazards(),
            {"transform": "log"},
            "transform='log': the test has its own; draw the result of fit_cox",
        ),
        ([1], {}, "schoenfeld: needs a Cox model or its test, not a list; draw what fit_cox returned"),
    ):
        with pytest.raises(DataError) as caught:
            schoenfeld(result, **options)
        assert str(caught.value) == message
    assert pyplot.get_fignums() == []
