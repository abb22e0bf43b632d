"""Residuals, random effects and missing visits are drawn as the result gives them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes

import implstats as ist
from implstats import plot
from implstats.errors import DataError

ROLES = {"outcome": "bsi", "time": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}


def _line(ax: Axes, gid: str) -> Any:
    (found,) = [line for line in ax.lines if line.get_gid() == gid]
    return found


def test_residuals_are_those_of_augment(mixed: Any) -> None:
    left, right = plot.residuals(mixed)
    rows = mixed.augment()
    np.testing.assert_allclose(left.collections[0].get_offsets(), rows[["fitted", "residual"]])
    points = np.asarray(right.collections[0].get_offsets())
    np.testing.assert_allclose(points[:, 1], np.sort(rows["std_residual"]))
    # Half of the normal quantiles lie on either side of zero, and 2.5 % beyond 1.96.
    np.testing.assert_allclose(points[:, 0], -points[::-1, 0], atol=1e-9)
    assert np.mean(points[:, 0] > 1.96) == pytest.approx(0.025, abs=0.003)
    assert set(_line(left, "zero").get_ydata()) == {0}


def test_the_smooth_line_is_the_mean_of_equal_groups(mixed: Any) -> None:
    left, _ = plot.residuals(mixed)
    x, y = _line(left, "smooth").get_data()
    rows = mixed.augment().sort_values("fitted", kind="stable")
    groups = np.array_split(rows["residual"].to_numpy(), len(x))
    np.testing.assert_allclose(y, [g.mean() for g in groups])
    assert (np.diff(x) > 0).all()
    assert np.average(y, weights=[len(g) for g in groups]) == pytest.approx(rows["residual"].mean())


def test_the_line_of_quantiles_passes_through_the_quartiles(mixed: Any) -> None:
    _, right = plot.residuals(mixed)
    x, y = _line(right, "line").get_data()
    standard = mixed.augment()["std_residual"]
    at = np.interp([-0.6744897501960817, 0.6744897501960817], x, y)
    np.testing.assert_allclose(at, np.quantile(standard, [0.25, 0.75]))


def test_units_are_on_the_axes(mixed: Any) -> None:
    left, _ = plot.residuals(mixed, labels={"bsi": "BSI (0-4)"})
    assert left.get_ylabel() == "residual, observed minus fitted"
    assert left.get_xlabel() == "fitted value of BSI (0-4)"


def test_a_caterpillar_is_the_random_effects_in_order(mixed: Any) -> None:
    axes = plot.random_effects(mixed, level=0.5)
    table = mixed.random_effects(level=0.5)
    assert len(axes) == 2
    for ax, effect in zip(axes, ("(Intercept)", "month"), strict=True):
        part = table[table["effect"] == effect].sort_values("estimate", kind="stable")
        points = _line(ax, "estimates")
        np.testing.assert_allclose(points.get_xdata(), part["estimate"])
        assert list(points.get_ydata()) == list(range(len(part)))
        (bars,) = [c for c in ax.collections if c.get_gid() == "intervals"]
        np.testing.assert_allclose([s[:, 0] for s in bars.get_segments()], part[["conf_low", "conf_high"]])
        low, high = ax.get_xlim()
        assert low <= part["conf_low"].min()
        assert part["conf_high"].max() <= high
    assert "50 % intervals" in axes[0].get_xlabel().replace("\n", " ")
    assert "per unit of month" in axes[1].get_xlabel().replace("\n", " ")


def test_few_levels_are_named_and_many_are_counted(visits: Any) -> None:
    few = visits[visits["patient"].isin(visits["patient"].unique()[::4])]
    few = few.assign(patient=["p$" + str(p) for p in few["patient"]])
    fit = ist.fit_mixed(few, formula="bsi ~ month + (1 | patient)")
    (ax,) = plot.random_effects(fit, labels={"p$1": "Anna"})
    table = fit.random_effects().sort_values("estimate", kind="stable")
    shown = [str(t.get_text()).replace(r"\$", "$") for t in ax.get_yticklabels()]
    assert shown == ["Anna" if v == "p$1" else v for v in table["level"]]
    ax.get_figure(root=True).canvas.draw()
    boxes = [t.get_window_extent() for t in ax.get_yticklabels()]
    assert [k for k, b in enumerate(boxes[1:]) if b.overlaps(boxes[k])] == []
    everyone = ist.fit_mixed(visits, formula="bsi ~ month + (1 | patient)")
    (ax,) = plot.random_effects(everyone)
    assert list(ax.get_yticks()) == []
    assert ax.get_ylabel() == f"{visits['patient'].nunique()} levels, in order of size"


@pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
def test_a_group_is_chosen_by_name(visits: Any) -> None:
    fit = ist.fit_mixed(visits, formula="bsi ~ month + (1 | patient) + (1 | therapist)")
    assert len(plot.random_effects(fit)) == 2
    (ax,) = plot.random_effects(fit, group="therapist")
    assert ax.get_title(loc="left") == "therapist: intercept"
    with pytest.raises(DataError, match=r"^group='therapists': no such factor; did you mean 'therapist'\?$"):
        plot.random_effects(fit, group="therapists")


@pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
def test_a_variance_of_zero_is_said(visits: Any) -> None:
    rng = np.random.default_rng(0)
    frame = visits.assign(noise=rng.normal(size=len(visits)))
    for _ in range(20):
        frame["noise"] = rng.normal(size=len(frame))
        fit = ist.fit_mixed(frame, formula="noise ~ month + (1 | patient)")
        if fit.variances()["variance"].iloc[0] == 0:
            break
    (ax,) = plot.random_effects(fit)
    assert [t.get_text() for t in ax.texts if t.get_gid() == "zero variance"] == ["all zero: so is their variance"]
    ax.get_figure(root=True).canvas.draw()


def test_missingness_is_the_share_seen(growth: Any) -> None:
    ax = plot.missingness(growth)
    seen = growth.sample.visits()
    for k, cohort in enumerate(growth.cohorts):
        n = seen.loc[seen["cohort"] == cohort, "n"].to_numpy()
        line = _line(ax, f"share: {cohort}")
        np.testing.assert_allclose(line.get_ydata(), 100 * n / growth.sample.patients[cohort])
        assert list(line.get_xdata()) == growth.times
        assert [int(t.get_text()) for t in ax.texts if t.get_gid() == f"n: {k}"] == n.tolist()
    lines = [_line(ax, f"share: {c}") for c in growth.cohorts]
    assert lines[0].get_linestyle() == "-" != lines[1].get_linestyle()
    assert ax.get_title(loc="left") == "Who was seen: bsi"
    assert [t.get_text() for t in ax.get_yticklabels()][-1] == "100 %"
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["before: 76 patients", "during: 68 patients"]


def test_missingness_of_a_study_has_a_panel_per_outcome(study: Any) -> None:
    axes = plot.missingness(study, labels={"bsi": "BSI"})
    assert [ax.get_title(loc="left") for ax in axes] == ["Who was seen: BSI", "Who was seen: sipp"]
    table = study.sample_table()
    for ax, outcome in zip(axes, ("bsi", "sipp"), strict=True):
        n = table.loc[(table["outcome"] == outcome) & (table["cohort"] == "during"), "n"]
        assert [int(t.get_text()) for t in ax.texts if t.get_gid() == "n: 1"] == n.tolist()


def test_irregular_times_step_down_as_patients_are_last_seen(visits: Any) -> None:
    frame = visits.copy()
    shift = np.random.default_rng(4).uniform(-3, 3, len(frame))
    frame["month"] = frame["month"] + np.where(frame["month"] > 0, shift, 0.0)
    growth = ist.fit_growth(frame, **ROLES)
    ax = plot.missingness(growth)
    rows = growth.augment()
    for cohort in growth.cohorts:
        last = np.sort(rows[rows["cohort"] == cohort].groupby("patient")["month"].max())
        line, marks = _line(ax, f"share: {cohort}"), _line(ax, f"marks: {cohort}")
        assert line.get_ydata()[0] == 100
        assert line.get_ydata()[-1] == pytest.approx(0)
        assert (np.diff(line.get_ydata()) < 0).all()
        for t, share in zip(*marks.get_data(), strict=True):
            assert share == pytest.approx(100 * np.mean(last >= t))
    assert "patients seen then or later" in [t.get_text() for t in ax.texts]


def test_a_level_is_checked(mixed: Any) -> None:
    with pytest.raises(DataError, match=r"^level=95: not between 0 and 1"):
        plot.random_effects(mixed, level=95)
    assert pyplot.get_fignums() == []
