"""What every picture shares: numbers and names are written as they are, looks differ in grey, nothing is left open."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

import implstats as ist
from implstats import plot
from implstats.errors import DataError
from implstats.plot import style

HOSTILE = {"before": "$x_1$", "during": "_a_b%<&>$"}


@pytest.fixture(scope="module")
def hostile(visits: Any) -> Any:
    frame = visits.copy()
    frame["cohort"] = frame["cohort"].astype(str).map(HOSTILE)
    frame = frame.rename(columns={"bsi": "b$_s$i", "month": "$t_0$"})
    return ist.fit_growth(
        frame, outcome="b$_s$i", time="$t_0$", patient="patient", cohort="cohort", reference="$x_1$", better="lower"
    )


@pytest.mark.parametrize(
    ("estimate", "low", "high", "text"),
    [
        (0.949, 0.712, 1.188, "0.95 [0.71, 1.19]"),
        (-0.49, -0.771, -0.001, "−0.49 [−0.77, 0.00]"),
        (0.009, 0.0042, 0.0141, "0.009 [0.004, 0.014]"),
        (0.3, -math.inf, math.inf, "0.30 [−∞, ∞]"),
        (12345.6, 12000.2, 12699.9, "12346 [12000, 12700]"),
        (2e-6, 1e-6, 3e-6, "2.00e−06 [1.00e−06, 3.00e−06]"),
        (0.0, 0.0, 0.0, "0.00 [0.00, 0.00]"),
    ],
)
def test_an_estimate_is_written_with_its_interval(estimate: float, low: float, high: float, text: str) -> None:
    assert style.with_interval(estimate, low, high) == text


def test_times_are_written_as_people_write_them() -> None:
    assert [style.tick(t) for t in (18.0, 4.5, -3.0)] == ["18", "4.5", "−3"]


def test_looks_differ_in_line_style_marker_and_colour() -> None:
    found = style.looks(list("abcdefghij"))
    assert found["a"].dash == "-"
    assert [c for c, look in found.items() if look.dash == "-"] == ["a"]
    assert len({(look.dash, look.marker) for look in found.values()}) == len(found)
    first = [found[c] for c in "abc"]
    assert len({look.marker for look in first}) == len({look.dash for look in first}) == 3
    assert len({look.colour for look in first}) == 3


def test_every_colour_stands_out_from_white_paper() -> None:
    def luminance(colour: str) -> float:
        parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return float(np.dot(parts, [0.2126, 0.7152, 0.0722]))

    # Blue, vermillion and green, which most studies use, pass the 3 : 1 that graphics need.
    assert [c for c in style.COLOURS[:3] if 1.05 / (luminance(c) + 0.05) < 3] == []


@pytest.mark.parametrize("bold", [False, True])
def test_the_width_of_a_text_is_that_of_its_letters(bold: bool) -> None:
    font = FontProperties(weight="bold" if bold else "normal")
    for text in ("−0.55 [−0.60, −0.50]", "a next programme", "Ørsted (½) j&S@", "  set in"):
        extents = TextPath((0, 0), text, size=8, prop=font).get_extents()
        assert style.text_width(text, 8, bold=bold) == pytest.approx(extents.width, rel=1e-12)
    assert style.text_width("short\nlonger line", 8) == style.text_width("longer line", 8)
    assert style.text_width(" \n", 8) == 0.0


def test_dollars_are_drawn_not_read() -> None:
    assert style.literal("$x_1$") == r"\$x_1\$"
    figure, ax = pyplot.subplots()
    text = ax.text(0, 0, style.literal("$x_1$"))
    drawn, math_text = text._preprocess_math(text.get_text())
    assert (drawn, math_text) == ("$x_1$", False)
    pyplot.close(figure)


def _texts(axes: Any) -> list[Any]:
    found = []
    for ax in np.ravel(axes):
        found += ax.findobj(mpl.text.Text)
    return found


def _shown_by(name: str, growth: Any) -> Any:
    """Return what a picture draws: the growth model, or a result about cohorts of the same names."""
    if name == "balance":
        start = growth.augment().assign(**{"$x$": np.arange(len(growth.design.y)) % 7})
        roles = {"cohort": growth.cohort, "reference": growth.cohorts[0]}
        return ist.balance_table(start, covariates=["$x$", growth.outcome], **roles)
    if name in ("cohorts", "placebo"):
        return _dated(name, growth)
    if name == "ratings":
        table = pd.DataFrame({"$item$": ["_a_$1$", "$b$"], "level": ["$x$", "_y_"]})
        table[[*growth.cohorts]] = [[3.0, 4.0], [5.0, 2.5]]
        return ist.rating_profile(table, item="$item$", level="level", score=list(growth.cohorts))
    if name == "natural_change":
        return ist.natural_change(growth, over=[0, 0.4], source="$t_0$ _a_")
    if name == "leave_one_out":
        half = np.where(growth.design.patient_codes % 2, "$a_1$", "_b_")
        return ist.leave_one_out(growth, by="half", frame=pd.DataFrame({"half": half}, growth.design.labels))
    if name == "programmes":
        frame = pd.DataFrame({"d": [0.1, 0.4, 0.3], "se": [0.1, 0.2, 0.1], "of": ["$a_1$", "_b_", "c"]})
        return ist.combine_programmes(frame, estimate="d", std_error="se", programme="of", effect="$t_0$")
    if name == "phases":
        frame = pd.DataFrame({"id": [1, 1, 2], "is": ["$a_1$", "_b_", "$a_1$"], "from": [0, 2, 0], "$t$": [2, 5, 4]})
        frame = frame.assign(then=["_b_", None, None])
        roles = {"id": "id", "state": "is", "start": "from", "stop": "$t$", "next_state": "then"}
        return ist.state_occupation(frame, **roles)
    if name == "tipping":
        frame = growth.augment().drop(columns=["fitted", "fixed", "residual", "std_residual"])
        roles = {"outcome": growth.outcome, "visit": growth.time, "patient": growth.patient, "cohort": growth.cohort}
        fit = ist.fit_mmrm(frame, **roles, reference=growth.cohorts[0], better="lower")
        return ist.tipping_point(fit, imputations=5, rng=1)
    if name == "power":
        truth = ist.OutcomeTruth("lower", 2.0, 0.5, {c: {12: 1.0} for c in growth.cohorts}, residual_sd=0.3)
        return ist.power(
            ist.Scenario(dict.fromkeys(growth.cohorts, 9), {"y": truth}, visits=(0, 12)), n=18, replicates=9
        )
    if name not in ("survival", "log_log", "incidence", "hazard", "hazard_ratios", "schoenfeld"):
        return growth
    frame = pd.DataFrame({"$t_0$": [1.0, 2, 3, 4, 5, 6, 7, 8], "_e_": [1, 0, 1, 1, 0, 1, 1, 1]})
    frame["cohort"] = [*growth.cohorts] * 4
    if name in ("hazard_ratios", "schoenfeld"):
        return ist.fit_cox(frame, duration="$t_0$", event="_e_", terms=["cohort"])
    if name == "incidence":
        return ist.cumulative_incidence(frame, duration="$t_0$", event="_e_", censored=0, by="cohort")
    return ist.survival_curves(frame, duration="$t_0$", event="_e_", by="cohort")


def _dated(name: str, growth: Any) -> Any:
    """Return cohorts by date, or a comparison at a false one, of the same names."""
    frame = ist.load_example("reorganisation").rename(columns={"month": "$t_0$", "bsi": "b$_s$i", "ended": "$_end_$"})
    dates = {"start": "admitted", "end": "$_end_$", "change": "2010-01-01", "patient": "patient", "time": "$t_0$"}
    if name == "cohorts":
        return ist.assign_cohorts(frame, straddlers="third", names=growth.cohorts, **dates)
    fit = {"outcome": "b$_s$i", "at": [18, 36], "fit": {"shape": "linear"}}
    return ist.placebo_changes(frame, false_changes=["2006-01-01"], straddlers="by_start", **dates, **fit)


def _draw_all(growth: Any) -> Iterator[tuple[str, Any]]:
    """Yield every picture's name and axes, one open figure at a time."""
    for name in plot.__all__:
        yield name, getattr(plot, name)(_shown_by(name, growth))
        pyplot.close("all")


def test_hostile_names_are_shown_and_never_parsed(hostile: Any) -> None:
    for name, axes in _draw_all(hostile):
        figure = np.ravel(axes)[0].get_figure(root=True)
        figure.canvas.draw()
        texts = _texts(axes)
        read = [t.get_text() for t in texts if t._preprocess_math(t.get_text())[1] is not False]
        assert read == [], f"{name} reads names as formulas"
        shown = " ".join(str(t._preprocess_math(t.get_text())[0]) for t in texts)
        if name in ("trajectories", "effect_forest", "missingness", "hazard", "hazard_ratios"):
            assert all(c in shown for c in HOSTILE.values()), name
        pyplot.close(figure)


def test_no_text_is_smaller_than_eight_points(growth: Any) -> None:
    for name, axes in _draw_all(growth):
        sizes = [t.get_fontsize() for t in _texts(axes) if t.get_text() and t.get_visible()]
        assert min(sizes) >= 8, name


def test_settings_are_left_alone(growth: Any, study: Any) -> None:
    before = dict(mpl.rcParams)
    assert len(list(_draw_all(growth))) == len(plot.__all__)
    for name in ("trajectories", "effect_forest", "missingness"):
        getattr(plot, name)(study)
    assert dict(mpl.rcParams) == before


def test_a_call_opens_one_figure_and_returns_it(growth: Any) -> None:
    for name in plot.__all__:
        assert pyplot.get_fignums() == []
        axes = np.ravel(getattr(plot, name)(_shown_by(name, growth)))
        assert len(pyplot.get_fignums()) == 1, name
        assert {ax.get_figure(root=True).number for ax in axes} == set(pyplot.get_fignums())
        pyplot.close(axes[0].get_figure(root=True))


def test_drawing_into_given_axes_opens_nothing(growth: Any, study: Any) -> None:
    figure, grid = pyplot.subplots(2, 3, figsize=(15, 9), layout="constrained")
    one, two, three, four, five, six = grid.ravel()
    assert plot.trajectories(growth, ax=one) is one
    assert plot.effect_forest(growth, ax=two) is two
    assert plot.coefficients(growth, ax=three) is three
    assert plot.missingness(growth, ax=four) is four
    assert list(plot.residuals(growth, ax=[five, six])) == [five, six]
    assert pyplot.get_fignums() == [figure.number]
    figure.canvas.draw()
    figure, grid = pyplot.subplots(1, 2, figsize=(10, 5), layout="constrained")
    assert list(plot.random_effects(growth, ax=grid)) == list(grid)
    figure, grid = pyplot.subplots(2, 2, figsize=(12, 9), layout="constrained")
    assert list(plot.trajectories(study, ax=grid[0])) == list(grid[0])
    assert list(plot.missingness(study, ax=list(grid[1]))) == list(grid[1])
    figure.canvas.draw()


def test_axes_must_be_as_many_as_panels(growth: Any, study: Any) -> None:
    figure, ax = pyplot.subplots()
    with pytest.raises(DataError, match=r"^ax: 1 Axes for 2 outcomes; give one for each outcome$"):
        plot.trajectories(study, ax=ax)
    with pytest.raises(DataError, match=r"^ax: 1 Axes for 2 panels; give one for each panel$"):
        plot.residuals(growth, ax=[ax])
    with pytest.raises(DataError, match=r"^ax: a Figure is not matplotlib Axes"):
        plot.trajectories(growth, ax=figure)


def test_axes_of_a_subfigure_will_do(growth: Any) -> None:
    figure = pyplot.figure(figsize=(9, 5), layout="constrained")
    left, _ = figure.subfigures(1, 2)
    ax = left.subplots()
    assert plot.trajectories(growth, ax=ax) is ax
    figure.canvas.draw()


def test_figures_are_saved_and_closed(growth: Any, tmp_path: Path) -> None:
    paths = [tmp_path / "a.png", tmp_path / "a.svg", tmp_path / "a.pdf"]
    style.save(plot.residuals(growth), *paths)
    assert [p.read_bytes()[:4] for p in paths] == [b"\x89PNG", b"<?xm", b"%PDF"]
    assert b"<dc:date>" not in paths[1].read_bytes()
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("name", plot.__all__)
def test_a_wrong_result_is_refused(name: str) -> None:
    with pytest.raises(
        DataError, match=rf"^{name}: needs .*, not a list; .*(fit_|survival_curves|cumulative_incidence|returned)"
    ):
        getattr(plot, name)([1, 2])


@pytest.mark.parametrize("name", ["trajectories", "missingness", "effect_forest"])
def test_a_model_without_cohorts_is_refused(name: str, mixed: Any) -> None:
    with pytest.raises(DataError, match=rf"^{name}: needs a .* or a .*, not a MixedResult; draw what .* returned$"):
        getattr(plot, name)(mixed)


@pytest.mark.parametrize("name", plot.__all__)
def test_labels_are_checked(name: str, growth: Any) -> None:
    with pytest.raises(DataError, match=r"^labels='bsi': not a mapping; write labels=\{"):
        getattr(plot, name)(growth, labels="bsi")
    with pytest.raises(DataError, match=r"^labels\['bsi'\]=4: not a text$"):
        getattr(plot, name)(growth, labels={"bsi": 4})


@pytest.mark.parametrize("name", plot.__all__)
def test_only_the_result_is_positional(name: str) -> None:
    kinds = [p.kind for p in inspect.signature(getattr(plot, name)).parameters.values()]
    assert kinds[0] is inspect.Parameter.POSITIONAL_OR_KEYWORD
    assert set(kinds[1:]) == {inspect.Parameter.KEYWORD_ONLY}


def _overlaps(ax: Axes, gid: str) -> list[tuple[str, str]]:
    figure = ax.get_figure(root=True)
    assert figure is not None
    figure.canvas.draw()
    texts = [t for t in ax.texts if (t.get_gid() or "").startswith(gid) and t.get_text()]
    boxes = [(t.get_text(), t.get_window_extent()) for t in texts]
    return [(a, b) for k, (a, x) in enumerate(boxes) for b, y in boxes[:k] if x.overlaps(y)]


LONG = {
    "before": "Before the reorganisation (2004-2009)",
    "during": "During the reorganisation (2010-2012)",
    "bsi": "Brief Symptom Inventory, global severity",
    "month": "Months since the start of treatment in the day hospital",
}


def test_long_names_do_not_run_into_each_other(growth: Any) -> None:
    ax = plot.effect_forest(growth, labels=LONG)
    for gid in ("row", "number", "retained", "head", "n"):
        assert _overlaps(ax, gid) == []
    rows = [t.get_window_extent().x1 for t in ax.texts if t.get_gid() in ("row", "outcome", "time")]
    assert max(rows) < ax.get_window_extent().x0
    numbers = [t.get_window_extent() for t in ax.texts if t.get_gid() == "number"]
    shares = [t.get_window_extent().x0 for t in ax.texts if t.get_gid() == "retained"]
    assert max(b.x1 for b in numbers) < min(shares)
    assert min(b.x0 for b in numbers) > ax.get_window_extent().x1
    width = ax.get_figure(root=True).bbox.width
    assert all(t.get_window_extent().x0 >= 0 and t.get_window_extent().x1 <= width + 1 for t in ax.texts)
