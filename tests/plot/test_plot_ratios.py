"""A forest of ratios has the numbers of the result on a logarithmic scale, and names what is compared with what."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes

import implstats as ist
from implstats.errors import DataError
from implstats.plot import style
from implstats.plot.ratios import hazard_ratios

ROLES: dict[str, Any] = {"duration": "years", "event": "discontinued"}
STATUS: dict[str, Any] = {"duration": "years", "event": "status", "censored": "active"}
TERMS = "era + country + support"


@pytest.fixture(scope="module")
def programmes() -> pd.DataFrame:
    frame = ist.load_example("programmes")
    return frame.assign(year=np.ceil(frame["years"]))


@pytest.fixture(scope="module")
def cox(programmes: pd.DataFrame) -> Any:
    return ist.fit_cox(programmes, **ROLES, terms=TERMS, cluster="organisation")


@pytest.fixture(scope="module")
def weibull(programmes: pd.DataFrame) -> Any:
    return ist.fit_parametric(programmes, **ROLES, terms=TERMS)


def line(ax: Axes, gid: str) -> Any:
    (found,) = [a for a in ax.lines if a.get_gid() == gid]
    return found


def said(ax: Axes, gid: str) -> list[str]:
    return [t.get_text() for t in ax.texts if t.get_gid() == gid]


def drawn_as(ax: Axes, table: pd.DataFrame, suffix: str = "") -> None:
    """Hold every line to the logarithms of a table of ratios, and the numbers beside them to the ratios."""
    for row in table.to_dict("records"):
        ends = line(ax, f"interval: {row['term']}{suffix}").get_xdata()
        np.testing.assert_allclose(line(ax, f"estimate: {row['term']}{suffix}").get_xdata(), np.log(row["estimate"]))
        np.testing.assert_allclose(np.exp(ends), [row["conf_low"], row["conf_high"]])
        low, high = style.number(row["conf_low"]), style.number(row["conf_high"])
        assert f"{style.number(row['estimate'])} [{low}, {high}]" in said(ax, "number")


def test_hazard_ratios_of_a_cox_model(cox: Any) -> None:
    ax = hazard_ratios(cox, level=0.9)
    drawn_as(ax, cox.tidy(level=0.9, hazard_ratio=True))
    assert said(ax, "head") == ["ratio [90 % interval]"]
    assert ax.get_xlabel() == "hazard ratio of discontinued (logarithmic scale)"
    assert said(ax, "direction") == ["← lower hazard", "higher hazard →"]


def test_a_level_is_named_with_the_one_it_is_compared_with(programmes: pd.DataFrame, cox: Any) -> None:
    assert said(hazard_ratios(cox), "row") == [
        "era: late against early",
        "country: B against A",
        "country: C against A",
        "support, per unit",
    ]
    other = ist.fit_cox(programmes, **ROLES, terms=["era"], reference={"era": "late"})
    assert said(hazard_ratios(other), "row") == ["era: early against late"]
    wave = programmes.assign(wave=(programmes["era"] == "late") + 1)
    coded = ist.fit_cox(wave, **ROLES, terms="C(wave) + era:support")
    assert said(hazard_ratios(coded), "row")[0] == "wave: 2 against 1"
    assert "per unit" not in " ".join(said(hazard_ratios(coded), "row")[1:])


def test_labels_are_the_readers_words(cox: Any) -> None:
    labels = {
        "era": "Started",
        "late": "after 2008",
        "early": "before",
        "support": "Support (1-7)",
        "country[B]": "Bee",
    }
    ax = hazard_ratios(cox, labels=labels | {"discontinued": "stopping"})
    assert said(ax, "row")[:2] == ["Started: after 2008 against before", "Bee"]
    assert said(ax, "row")[-1] == "Support (1-7)"
    assert ax.get_xlabel().startswith("hazard ratio of stopping")


def test_ticks_are_ratios_in_the_place_of_their_logarithm(cox: Any) -> None:
    ax = hazard_ratios(cox)
    words = [t.get_text() for t in ax.get_xticklabels()]
    np.testing.assert_allclose(np.exp(ax.get_xticks()), [float(w) for w in words], rtol=1e-6)
    assert "1" in words
    assert len(words) > 2


def test_a_narrow_range_has_ticks_too() -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"years": rng.exponential(5, 4000), "stopped": 1, "x": rng.normal(size=4000)})
    ax = hazard_ratios(ist.fit_cox(frame, duration="years", event="stopped", terms=["x"]))
    assert len(ax.get_xticks()) > 2


def test_sub_hazard_ratios_are_called_that(programmes: pd.DataFrame) -> None:
    model = ist.fit_fine_gray(programmes, **STATUS, cause="stopped", terms=TERMS)
    ax = hazard_ratios(model)
    drawn_as(ax, model.tidy(hazard_ratio=True))
    assert ax.get_xlabel().replace("\n", " ") == "subdistribution hazard ratio of stopped (logarithmic scale)"
    assert said(ax, "direction") == ["← lower incidence", "higher incidence →"]


@pytest.mark.parametrize(("link", "kind", "side"), [("cloglog", "hazard", "hazard"), ("logit", "odds", "odds")])
def test_a_discrete_model_has_the_ratio_of_its_link(programmes: pd.DataFrame, link: str, kind: str, side: str) -> None:
    roles = {"duration": "year", "event": "discontinued", "terms": TERMS}
    model = ist.fit_discrete_hazard(programmes, **roles, link=link, baseline="spline")
    ax = hazard_ratios(model)
    drawn_as(ax, model.tidy(**{f"{kind}_ratio": True}))
    assert len(said(ax, "row")) == 4
    assert ax.get_xlabel().startswith(f"{kind} ratio of discontinued")
    assert said(ax, "direction")[0] == f"← lower {side}"


def test_a_parametric_model_has_time_ratios_or_hazard_ratios(weibull: Any) -> None:
    ax = hazard_ratios(weibull)
    drawn_as(ax, weibull.tidy(time_ratio=True))
    assert ax.get_xlabel() == "time ratio of years (logarithmic scale)"
    assert said(ax, "direction") == ["← shorter times", "longer times →"]
    ax = hazard_ratios(weibull, ratio="hazard")
    drawn_as(ax, weibull.tidy(hazard_ratio=True))
    assert ax.get_xlabel() == "hazard ratio of discontinued (logarithmic scale)"


def test_several_models_stand_under_every_term(programmes: pd.DataFrame, cox: Any, weibull: Any) -> None:
    crude = ist.fit_cox(programmes, **ROLES, terms=["era"])
    ax = hazard_ratios({"crude": crude, "adjusted": cox, "Weibull": weibull}, ratio="hazard")
    drawn_as(ax, crude.tidy(hazard_ratio=True), ", crude")
    drawn_as(ax, cox.tidy(hazard_ratio=True), ", adjusted")
    drawn_as(ax, weibull.tidy(hazard_ratio=True), ", Weibull")
    assert said(ax, "outcome") == [
        "era: late against early",
        "country: B against A",
        "country: C against A",
        "support, per unit",
    ]
    assert said(ax, "row") == ["crude", "adjusted", "Weibull"] + ["adjusted", "Weibull"] * 3
    marks = {name: line(ax, f"estimate: era[late], {name}").get_marker() for name in ("crude", "adjusted", "Weibull")}
    assert len(set(marks.values())) == 3


def test_cause_specific_and_sub_hazards_may_stand_side_by_side(programmes: pd.DataFrame) -> None:
    one = ist.fit_cox(programmes, **STATUS, cause="stopped", terms=TERMS)
    other = ist.fit_fine_gray(programmes, **STATUS, cause="stopped", terms=TERMS)
    label = hazard_ratios({"cause-specific": one, "Fine-Gray": other}).get_xlabel().replace("\n", " ")
    assert label == "hazard ratio or subdistribution hazard ratio of stopped (logarithmic scale)"


def test_an_interval_that_leaves_the_frame_has_an_arrow_head() -> None:
    # A programme that is alone of its kind and never stops has no lower end; the other terms are told well.
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"years": rng.exponential(5, 400) + 0.01, "stopped": 1})
    frame[["a", "b", "c"]] = rng.normal(size=(400, 3))
    frame["alone"] = (frame.index == 0).astype(int)
    frame.loc[0, ["years", "stopped"]] = [2, 0]
    model = ist.fit_cox(frame, duration="years", event="stopped", terms="a + b + c + alone", penalty="firth")
    ax = hazard_ratios(model)
    low = np.log(model.tidy(hazard_ratio=True)["conf_low"].iloc[-1])
    assert low < ax.get_xlim()[0]
    heads = {a.get_marker(): a.get_xdata()[0] for a in ax.lines if a.get_gid() == "cut"}
    assert heads["<"] == ax.get_xlim()[0]


def test_seven_programmes_of_which_three_stopped() -> None:
    frame = pd.DataFrame({"years": [1.5, 2.0, 4.5, 5, 6, 7.5, 8], "discontinued": [1, 0, 1, 0, 1, 0, 0]})
    frame["era"] = ["early"] * 3 + ["late"] * 4
    model = ist.fit_cox(frame, **ROLES, terms="era", penalty="firth")
    ax = hazard_ratios(model)
    drawn_as(ax, model.tidy(hazard_ratio=True))
    ax.get_figure(root=True).canvas.draw()
    boxes = [t.get_window_extent() for t in ax.get_xticklabels()]
    assert not [k for k in range(1, len(boxes)) if boxes[k].overlaps(boxes[k - 1])]


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ({}, {}, "hazard_ratios: an empty mapping; name at least one result"),
        ({1: None}, {}, "hazard_ratios: the name 1 is not a text"),
        ("cox", {"ratio": "time"}, "ratio='time': time ratios are those of a parametric model; leave it out"),
        ("cox", {"ratio": "odds"}, "ratio='odds': unknown option; there are 'hazard', 'time'"),
        ("cox", {"level": 95}, "level=95: not between 0 and 1; 0.95 gives 95 % intervals"),
        (
            "both",
            {},
            "hazard_ratios: 'Cox' has hazard ratios, 'Weibull' has time ratios; draw ratios of one kind "
            "(ratio='hazard' for Weibull models)",
        ),
        (
            "wrong",
            {},
            "hazard_ratios: needs a model with hazard ratios or time ratios, not a DataFrame; draw what fit_cox, "
            "fit_fine_gray, fit_discrete_hazard or fit_parametric returned",
        ),
    ],
)
def test_what_has_no_such_ratios_is_refused(
    given: Any, options: dict[str, Any], message: str, cox: Any, weibull: Any
) -> None:
    made = {"cox": cox, "both": {"Cox": cox, "Weibull": weibull}, "wrong": {"a": cox.tidy()}}
    with pytest.raises(DataError) as caught:
        hazard_ratios(made[given] if isinstance(given, str) else given, **options)
    assert str(caught.value) == message
    assert pyplot.get_fignums() == []


def test_other_distributions_have_no_hazard_ratio(programmes: pd.DataFrame) -> None:
    model = ist.fit_parametric(programmes, **ROLES, terms="era", distribution="log-normal")
    with pytest.raises(DataError, match=r"^hazard_ratio=True: hazards are not proportional"):
        hazard_ratios(model, ratio="hazard")


def test_drawn_into_given_axes(cox: Any) -> None:
    _, given = pyplot.subplots(layout="constrained")
    assert hazard_ratios(cox, ax=given) is given
    assert len(pyplot.get_fignums()) == 1
