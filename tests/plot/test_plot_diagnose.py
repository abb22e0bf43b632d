"""Quantiles and influence are drawn as the diagnosis gives them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.text import Text
from scipy import stats

import implstats as ist
from implstats.errors import DataError
from implstats.growth.diagnose import diagnose
from implstats.plot.diagnose import influence, quantiles

ROLES = {"outcome": "bsi", "patient": "patient", "cohort": "cohort", "reference": "before", "better": "lower"}


@pytest.fixture(scope="module")
def diagnosis(growth: Any) -> Any:
    return diagnose(growth)


@pytest.fixture(scope="module")
def clustered(visits: Any) -> Any:
    frame = visits.assign(therapist=visits["therapist"].replace({"T01": "$t_1$ of the day hospital in the city"}))
    with pytest.warns(ist.BoundaryWarning):
        fit = ist.fit_mixed(frame, formula="bsi ~ month * cohort + (1 | patient) + (1 | therapist)")
    return diagnose(fit)


def _line(ax: Axes, gid: str) -> Any:
    (found,) = [line for line in ax.lines if line.get_gid() == gid]
    return found


def _texts(ax: Axes, gid: str) -> list[str]:
    return [t.get_text() for t in ax.texts if t.get_gid() == gid]


def test_quantiles_are_those_of_the_diagnosis(diagnosis: Any) -> None:
    axes = quantiles(diagnosis)
    rows, effects = diagnosis.residuals(), diagnosis.random_effects()
    expected = [rows["student_residual"], rows["whitened_residual"]]
    expected += [effects.loc[effects["effect"] == e, "std_effect"] for e in ("(Intercept)", "month")]
    assert len(axes) == len(expected)
    for ax, values in zip(axes, expected, strict=True):
        points = next(np.asarray(c.get_offsets()) for c in ax.collections if c.get_gid() is None)
        np.testing.assert_allclose(points[:, 1], np.sort(values))
        np.testing.assert_allclose(points[:, 0], stats.norm.ppf((np.arange(len(values)) + 0.5) / len(values)))
        assert ax.get_title(loc="left").endswith(f"({len(values)})")
        assert "(SDs), 95 % band" in ax.get_xlabel().replace("\n", " ")
        x, y = _line(ax, "line").get_data()
        np.testing.assert_allclose(x, y)


def test_the_band_holds_each_point_of_normal_samples_with_its_level(diagnosis: Any) -> None:
    ax = quantiles(diagnosis, level=0.8)[0]
    (band,) = [c for c in ax.collections if c.get_gid() == "band"]
    outline = band.get_paths()[0].vertices
    n = len(diagnosis.residuals())
    draws = np.sort(np.random.default_rng(2).normal(size=(2000, n)), axis=1)
    for k in (0, 20, n // 2, n - 1):
        at = stats.norm.ppf((k + 0.5) / n)
        ends = outline[np.isclose(outline[:, 0], at), 1]
        inside = np.mean((draws[:, k] > ends.min()) & (draws[:, k] < ends.max()))
        assert inside == pytest.approx(0.8, abs=0.03)


def test_points_outside_the_band_are_counted(visits: Any) -> None:
    frame = visits.copy()
    frame["bsi"] += np.random.default_rng(1).exponential(2.0, len(frame))
    fit = ist.fit_mmrm(frame, visit="month", **ROLES)
    (ax,) = quantiles(fit)
    values = np.sort(diagnose(fit, influence=False).residuals()["whitened_residual"])
    k = np.arange(1, len(values) + 1)
    p = stats.beta.cdf(stats.norm.cdf(values), k, len(values) + 1 - k)
    outside = 100 * np.mean((p < 0.025) | (p > 0.975))
    assert outside > 30
    assert _texts(ax, "outside") == [f"{outside:.0f} % of points outside the band"]
    assert ax.get_title(loc="left") == f"Marginal residuals ({len(values)})"


def test_the_ten_most_influential_are_named(diagnosis: Any) -> None:
    (ax,) = influence(diagnosis, labels={"patient": "Patient", 61: "Anna"})
    table = diagnosis.influence().sort_values("cooks_distance", ascending=False)
    top = table.head(10)
    np.testing.assert_allclose(_line(ax, "named").get_xdata(), top["cooks_distance"])
    np.testing.assert_allclose(_line(ax, "others").get_xdata(), table["cooks_distance"].iloc[10:])
    shown = [t.get_text() for t in ax.get_yticklabels()]
    assert shown == ["Anna" if v == 61 else str(v) for v in top["level"]] + ["134 others"]
    assert "Anna" in shown
    kept = diagnosis.retained().set_index("level")["retained"].loc[top["level"]]
    assert _texts(ax, "retained") == [f"{100 * share:.0f} %" for share in kept]
    whole = diagnosis.result.retained_improvement(at=36).tidy()["estimate"].iloc[0]
    assert _texts(ax, "head") == [f"improvement retained\nat month 36, without\n(with all: {100 * whole:.0f} %)"]
    assert ax.get_title(loc="left") == "Patient: 144 left out in turn"


def test_the_edge_of_the_region_is_drawn_where_the_axis_holds_it(diagnosis: Any, clustered: Any) -> None:
    (far,) = influence(diagnosis)
    assert [line for line in far.lines if line.get_gid() == "bar"] == []
    label = far.get_xlabel().replace("\n", " ")
    assert label == "Cook's distance (no unit); 10 % confidence region of the fixed effects up to 0.27, beyond the axis"
    patients, therapists = influence(clustered)
    bar = clustered.tidy().set_index(["kind", "quantity"]).loc[("therapist", "Cook's distance"), "threshold"]
    assert set(_line(therapists, "bar").get_xdata()) == {bar}
    assert therapists.get_xlim()[1] > bar
    assert therapists.get_xlabel().endswith("(broken line)")
    assert patients.get_title(loc="left") == "patient: 144 left out in turn"


def test_clusters_have_a_panel_and_no_others(clustered: Any) -> None:
    _, ax = influence(clustered)
    table = clustered.influence().query("group == 'therapist'").sort_values("cooks_distance", ascending=False)
    shown = [t.get_text() for t in ax.get_yticklabels()]
    assert shown == [r"\$t_1\$ of the day hospital in …" if "$" in v else v for v in table["level"]]
    assert _texts(ax, "retained") == []
    assert not any("others" in name for name in shown)


def test_who_could_not_be_left_out_is_counted(visits: Any) -> None:
    frame = visits.assign(referred=(visits["patient"] == 3).astype(float))
    (ax,) = influence(ist.fit_mmrm(frame, visit="month", adjust=["referred"], **ROLES))
    assert ax.get_title(loc="left") == "patient: 143 left out in turn, 1 could not be"


def test_a_share_that_cannot_be_named_is_a_dash(visits: Any) -> None:
    frame = visits.copy()
    frame.loc[frame["cohort"] == "before", "bsi"] += 0.0161 * frame["month"]
    fit = ist.fit_growth(frame, time="month", shape="linear", **ROLES)
    found = diagnose(fit)
    (ax,) = influence(found)
    top = found.influence().sort_values("cooks_distance", ascending=False).head(10)["level"]
    kept = found.retained().set_index("level")["retained"].loc[top]
    assert kept.isna().any()
    assert [cell == "–" for cell in _texts(ax, "retained")] == kept.isna().tolist()
    missing = int(found.retained()["retained"].isna().sum())
    reading = found.tidy().query("quantity == 'improvement retained'")["reading"]
    assert all(text.endswith(f"; for {missing} of 144 no share can be named") for text in reading)


def test_texts_do_not_run_into_each_other(clustered: Any, diagnosis: Any) -> None:
    for axes in (influence(clustered), influence(diagnosis), quantiles(diagnosis)):
        figure = axes[0].get_figure(root=True)
        figure.canvas.draw()
        texts = [t for ax in axes for t in [ax.xaxis.label, ax.yaxis.label, *ax.get_children()]]
        texts = [t for t in texts if isinstance(t, Text) and t.get_text()]
        texts += [t for ax in axes if ax.get_lines()[0].get_gid() == "named" for t in ax.get_yticklabels()]
        boxes = [(t.get_text(), t.get_window_extent()) for t in texts]
        assert [(a, b) for k, (a, x) in enumerate(boxes) for b, y in boxes[:k] if x.overlaps(y)] == []
        assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 + 1 for _, box in boxes)
        assert min(t.get_fontsize() for t in texts) >= 8
        pyplot.close(figure)


def test_pictures_of_a_result_are_those_of_its_diagnosis(growth: Any, diagnosis: Any) -> None:
    for draw, gid in ((quantiles, "line"), (influence, "named")):
        one, other = draw(growth)[0], draw(diagnosis)[0]
        np.testing.assert_allclose(_line(one, gid).get_data(), _line(other, gid).get_data())


def test_names_are_shown_and_never_parsed(clustered: Any) -> None:
    for axes in (influence(clustered), quantiles(clustered, labels={"therapist": "$x_1$"})):
        axes[0].get_figure(root=True).canvas.draw()
        texts = [t for ax in axes for t in ax.findobj(Text)]
        assert [t.get_text() for t in texts if t._preprocess_math(t.get_text())[1] is not False] == []


def test_given_axes_are_drawn_into(diagnosis: Any, clustered: Any) -> None:
    grid = pyplot.subplots(2, 2, figsize=(9, 9))[1]
    assert list(quantiles(diagnosis, ax=grid)) == list(grid.ravel())
    pair = pyplot.subplots(1, 2)[1]
    assert list(influence(clustered, ax=pair)) == list(pair)
    with pytest.raises(DataError, match=r"^ax: 2 Axes for 1 grouping factors; give one for each grouping factor$"):
        influence(diagnosis, ax=pair)


def test_what_cannot_be_drawn_is_refused(growth: Any) -> None:
    for draw in (quantiles, influence):
        with pytest.raises(DataError, match=rf"^{draw.__name__}: needs a fitted .* model, not a list; draw what fit_"):
            draw([1, 2])
        with pytest.raises(DataError, match=r"^labels='bsi': not a mapping"):
            draw(growth, labels="bsi")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"^level=95: not between 0 and 1"):
        quantiles(growth, level=95)
    with pytest.raises(DataError, match=r"^influence=False: nobody was left out"):
        influence(diagnose(growth, influence=False))
    assert pyplot.get_fignums() == []
