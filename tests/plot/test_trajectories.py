"""The picture of change over time shows the numbers of `means`, who they rest on, and where they are guesses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.colors import same_color

import implstats as ist
from implstats import plot
from implstats.errors import DataError
from implstats.plot import style

ROLES = {"outcome": "bsi", "time": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}


@pytest.fixture(scope="module")
def categories(visits: Any) -> Any:
    return ist.fit_growth(visits, **ROLES, better="lower")


@pytest.fixture(scope="module")
def shorter(visits: Any) -> Any:
    """Return visits of which one cohort has none at the last time."""
    return visits[~((visits["cohort"] == "during") & (visits["month"] == 36))]


@pytest.fixture(scope="module")
def irregular(visits: Any) -> Any:
    frame = visits.copy()
    shift = np.random.default_rng(4).uniform(-3, 3, len(frame))
    frame["month"] = frame["month"] + np.where(frame["month"] > 0, shift, 0.0)
    return ist.fit_growth(frame, **ROLES, better="lower")


def _part(ax: Axes, gid: str) -> Any:
    (found,) = [a for a in ax.get_children() if a.get_gid() == gid]
    return found


def _parts(ax: Axes, start: str) -> list[Any]:
    return [a for a in ax.get_children() if str(a.get_gid() or "").startswith(start)]


def _band(ax: Axes, gid: str, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    points = _part(ax, gid).get_paths()[0].vertices
    ends = [points[np.isclose(points[:, 0], t), 1] for t in at]
    return np.array([e.min() for e in ends]), np.array([e.max() for e in ends])


def _legend(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    return [] if legend is None else [t.get_text() for t in legend.get_texts()]


def _counts(ax: Axes, row: int) -> list[int]:
    return [int(t.get_text()) for t in ax.texts if t.get_gid() == f"n: {row}"]


def test_points_of_visits_are_the_means_with_their_intervals(categories: Any) -> None:
    ax = plot.trajectories(categories, level=0.9)
    table = categories.means(level=0.9).tidy()
    for cohort in categories.cohorts:
        rows = table[table["cohort"] == cohort]
        line, bars = _part(ax, f"mean: {cohort}"), _part(ax, f"bars: {cohort}")
        np.testing.assert_allclose(line.get_ydata(), rows["estimate"])
        np.testing.assert_allclose(line.get_xdata(), rows["time"], atol=1)
        drawn = np.array([segment[:, 1] for segment in bars.get_segments()])
        np.testing.assert_allclose(drawn, rows[["conf_low", "conf_high"]])
    assert "90 % interval" in _legend(ax)


def test_error_bars_of_one_visit_do_not_hide_each_other(categories: Any) -> None:
    ax = plot.trajectories(categories)
    x = [_part(ax, f"mean: {c}").get_xdata() for c in categories.cohorts]
    assert (np.abs(x[0] - x[1]) > 0.1).all()


def test_a_curve_is_the_means_on_a_fine_grid(growth: Any) -> None:
    ax = plot.trajectories(growth, df="normal")
    for cohort in growth.cohorts:
        line = _part(ax, f"mean: {cohort}")
        x = np.asarray(line.get_xdata(), dtype=float)
        assert len(x) > 100
        table = growth.means(x.tolist(), df="normal").tidy()
        rows = table[table["cohort"] == cohort]
        np.testing.assert_allclose(line.get_ydata(), rows["estimate"])
        low, high = _band(ax, f"band: {cohort}", x)
        np.testing.assert_allclose(low, rows["conf_low"])
        np.testing.assert_allclose(high, rows["conf_high"])
        marks = _part(ax, f"points: {cohort}")
        np.testing.assert_allclose(marks.get_xdata(), growth.times)


@pytest.mark.parametrize("shape", ["log", ist.NaturalSpline(2), ist.Piecewise([18])])
def test_every_curved_shape_is_drawn(visits: Any, shape: Any) -> None:
    result = ist.fit_growth(visits, **ROLES, shape=shape, random="intercept")
    ax = plot.trajectories(result)
    x = np.asarray(_part(ax, "mean: during").get_xdata(), dtype=float)
    table = result.means(x.tolist()).tidy()
    np.testing.assert_allclose(
        _part(ax, "mean: during").get_ydata(), table.loc[table["cohort"] == "during", "estimate"]
    )


def test_the_reference_is_solid_and_the_others_are_not(categories: Any) -> None:
    ax = plot.trajectories(categories)
    lines = {c: _part(ax, f"mean: {c}") for c in categories.cohorts}
    assert lines["before"].get_linestyle() == "-"
    assert lines["during"].get_linestyle() != "-"
    assert lines["before"].get_marker() != lines["during"].get_marker()
    assert not same_color(lines["before"].get_color(), lines["during"].get_color())


def test_patients_seen_stand_under_their_visit(categories: Any) -> None:
    ax = plot.trajectories(categories)
    seen = categories.sample.visits()
    for k, cohort in enumerate(categories.cohorts):
        assert _counts(ax, k) == seen.loc[seen["cohort"] == cohort, "n"].tolist()
    places = [t.xy[0] for t in ax.texts if t.get_gid() == "n: 0"]
    assert places == list(ax.get_xticks()) == categories.times


def test_a_cohort_that_was_not_seen_counts_zero(shorter: Any) -> None:
    ax = plot.trajectories(ist.fit_growth(shorter, **ROLES, shape="linear"))
    assert _counts(ax, 1)[-1] == 0


def test_irregular_times_count_who_was_seen_then_or_later(irregular: Any) -> None:
    assert irregular.times == []
    ax = plot.trajectories(irregular)
    rows = irregular.augment()
    last = rows[rows["cohort"] == "during"].groupby("patient")["month"].max()
    assert _counts(ax, 1) == [int((last >= t).sum()) for t in ax.get_xticks()]
    assert "patients seen then or later" in [t.get_text() for t in ax.texts]


@pytest.mark.parametrize(("better", "way"), [("lower", "down"), ("higher", "up")])
def test_the_arrow_points_to_the_better_end(visits: Any, better: str, way: str) -> None:
    result = ist.fit_growth(visits, **ROLES, better=better)
    ax = plot.trajectories(result)
    arrow = _part(ax, f"better: {way}")
    assert (arrow.xy[1] > arrow.xyann[1]) is (way == "up")
    assert [t.get_text() for t in ax.texts if t.get_gid() == "better"] == ["better"]
    low, high = ax.get_ylim()
    assert low < high


def test_without_a_direction_there_is_no_arrow(visits: Any) -> None:
    ax = plot.trajectories(ist.fit_growth(visits, **ROLES))
    assert _parts(ax, "better") == []


def test_beyond_the_last_visit_of_a_cohort_its_curve_is_hatched(shorter: Any) -> None:
    result = ist.fit_growth(shorter, **ROLES, shape="linear")
    ax = plot.trajectories(result)
    band = _part(ax, "extrapolated band: during")
    assert band.get_hatch() == "////"
    x = band.get_paths()[0].vertices[:, 0]
    assert (x.min(), x.max()) == (18.0, 36.0)
    beyond = _part(ax, "extrapolated: during")
    rows = result.means(np.asarray(beyond.get_xdata()).tolist()).tidy()
    np.testing.assert_allclose(beyond.get_ydata(), rows.loc[rows["cohort"] == "during", "estimate"])
    assert max(_part(ax, "mean: during").get_xdata()) == 18.0
    assert max(_part(ax, "points: during").get_xdata()) == 18.0
    assert _parts(ax, "extrapolated band: before") == []
    assert [w for w in _legend(ax) if w.startswith("extrapolated")] != []


def test_beyond_the_data_every_curve_is_hatched(growth: Any) -> None:
    ax = plot.trajectories(growth, at=[0, 18, 36, 48])
    assert len(_parts(ax, "extrapolated band")) == 2
    assert list(ax.get_xticks()) == [0, 18, 36, 48]
    assert _counts(ax, 0)[-1] == _counts(ax, 1)[-1] == 0


def test_within_the_data_nothing_is_hatched(growth: Any, irregular: Any) -> None:
    for result in (growth, irregular):
        ax = plot.trajectories(result)
        assert _parts(ax, "extrapolated") == []
        assert [w for w in _legend(ax) if w.startswith("extrapolated")] == []
    # Asked for, the sliver between the ends of two cohorts is drawn.
    ax = plot.trajectories(irregular, at=list(irregular.time_range))
    assert len(_parts(ax, "extrapolated band")) == 1


def test_a_visit_that_a_cohort_never_had_is_not_drawn(shorter: Any) -> None:
    ax = plot.trajectories(ist.fit_growth(shorter, **ROLES, shape="visits"))
    assert len(_part(ax, "mean: before").get_xdata()) == 3
    assert len(_part(ax, "mean: during").get_xdata()) == 2
    assert len(_part(ax, "bars: during").get_segments()) == 2


def test_labels_carry_the_unit(categories: Any) -> None:
    labels = {"bsi": "BSI (0-4)", "month": "Months since the start", "before": "Before 2010", "sipp": "not drawn"}
    ax = plot.trajectories(categories, labels=labels)
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("BSI (0-4)", "Months since the start")
    assert _legend(ax) == ["Before 2010", "during", "95 % interval"]


def test_a_date_axis_says_its_unit(visits: Any) -> None:
    frame = visits.copy()
    start = pd.Timestamp("2010-01-01")
    frame["seen"] = start + pd.to_timedelta((frame["month"] * 30.4375).round(), unit="D")
    roles = ROLES | {"time": "seen"}
    ax = plot.trajectories(ist.fit_growth(frame, **roles, time_unit="months", shape="linear"))
    assert ax.get_xlabel() == "seen, months since the first visit"


def test_spaghetti_is_every_patient(categories: Any) -> None:
    ax = plot.trajectories(categories, spaghetti=True)
    rows = categories.augment()
    for cohort in categories.cohorts:
        strands = _part(ax, f"patients: {cohort}").get_segments()
        part = rows[rows["cohort"] == cohort]
        assert len(strands) == part["patient"].nunique()
        assert sum(map(len, strands)) == len(part)
    low, high = ax.get_ylim()
    assert low <= rows["bsi"].min()
    assert rows["bsi"].max() <= high
    assert "one patient" in _legend(ax)
    assert "one patient" not in _legend(plot.trajectories(categories))


def test_spaghetti_of_many_is_a_sample_that_is_said(visits: Any) -> None:
    frame = pd.concat([visits.assign(patient=visits["patient"] + 1000 * k) for k in range(3)])
    ax = plot.trajectories(ist.fit_growth(frame, **ROLES), spaghetti=True)
    strands = _part(ax, "patients: before").get_segments()
    assert len(strands) == 150
    assert "one patient (of 150 per cohort)" in _legend(ax)


def test_observed_means_are_the_data(categories: Any, irregular: Any) -> None:
    ax = plot.trajectories(categories, observed=True)
    rows = categories.augment()
    for cohort in categories.cohorts:
        mean = rows[rows["cohort"] == cohort].groupby("month")["bsi"].mean()
        np.testing.assert_allclose(_part(ax, f"observed: {cohort}").get_ydata(), mean)
    with pytest.raises(DataError, match=r"^observed=True: times are irregular"):
        plot.trajectories(irregular, observed=True)


def test_many_visits_close_together_keep_their_labels_apart() -> None:
    from implstats.simulate import OutcomeTruth, Scenario, simulate_visits

    times = (0, 0.5, 1, 1.5, 2, 3, 36)
    truth = OutcomeTruth(better="lower", mean=2.0, sd=0.5, residual_sd=0.3, d={"a": {36: 1.0}, "b": {36: 0.5}})
    frame = simulate_visits(Scenario(patients={"a": 40, "b": 40}, outcomes={"y": truth}, visits=times), rng=2)
    result = ist.fit_growth(
        frame, outcome="y", time="month", patient="patient", cohort="cohort", reference="a", random="intercept",
        shape="visits",
    )  # fmt: skip
    ax = plot.trajectories(result)
    figure = ax.get_figure(root=True)
    figure.canvas.draw()
    for texts in (ax.get_xticklabels(), [t for t in ax.texts if t.get_gid() == "n: 0"]):
        boxes = [t.get_window_extent() for t in texts]
        assert [k for k, b in enumerate(boxes[1:]) if b.overlaps(boxes[k])] == []
    assert ax.get_xticks()[0] == 0
    assert ax.get_xticks()[-1] == 36
    assert {*ax.get_xticks(), *ax.get_xticks(minor=True)} == set(times)


def test_a_study_has_a_panel_per_outcome(study: Any) -> None:
    axes = plot.trajectories(study)
    assert len(axes) == 2
    assert [ax.get_ylabel() for ax in axes] == ["bsi", "sipp"]
    assert [len(_parts(ax, "better: ")) for ax in axes] == [1, 1]
    assert _part(axes[0], "better: down") is not None
    assert _part(axes[1], "better: up") is not None
    for ax in axes:
        assert _legend(ax) == ["before", "during", "95 % interval"]
    table = study.fits["sipp"].means(df=study.df).tidy()
    np.testing.assert_allclose(
        _part(axes[1], "mean: during").get_ydata(), table.loc[table["cohort"] == "during", "estimate"]
    )


def test_an_outcome_that_failed_has_a_panel_of_words(visits: Any) -> None:
    frame = visits.assign(flat=3.0)
    study = ist.compare_cohorts(
        frame, outcomes={"flat": "lower", "bsi": "lower"}, time="month", patient="patient", cohort="cohort",
        reference="before", at=[36],
    )  # fmt: skip
    for draw in (plot.trajectories, plot.missingness):
        axes = draw(study, labels={"flat": "Flat scale"})
        words = " ".join(t.get_text() for t in axes[0].texts).replace("\n", " ")
        assert words.startswith("Flat scale: no model.")
        assert "constant" in words
        assert _legend(axes[1]) != []
        pyplot.close("all")


def test_a_bad_argument_is_refused_before_anything_is_drawn(growth: Any) -> None:
    for bad in ({"level": 1.5}, {"at": "soon"}, {"spaghetti": "yes"}, {"observed": 1}, {"df": "kenward"}):
        with pytest.raises(DataError, match=f"^{next(iter(bad))}="):
            plot.trajectories(growth, **bad)
    assert pyplot.get_fignums() == []


def test_looks_of_a_picture_are_those_of_the_palette(categories: Any) -> None:
    ax = plot.trajectories(categories)
    for cohort, look in style.looks(categories.cohorts).items():
        assert same_color(_part(ax, f"mean: {cohort}").get_color(), look.colour)
