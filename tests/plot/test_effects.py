"""A forest has one line an estimate, and the numbers beside it are the numbers of the result."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes

import implstats as ist
from implstats import plot
from implstats.errors import DataError
from implstats.plot import style
from implstats.plot.effects import _share
from implstats.plot.forest import term_words

ROLES = {"outcome": "bsi", "time": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}


@pytest.fixture(scope="module")
def categories(visits: Any) -> Any:
    return ist.fit_growth(visits, **ROLES, better="lower")


@pytest.fixture(scope="module")
def three(visits: Any) -> Any:
    """Return a growth model of three cohorts, the third with no visit at 36 months."""
    frame = visits.copy()
    patients = frame.loc[frame["cohort"] == "during", "patient"].unique()
    after = frame["patient"].isin(patients[: len(patients) // 2])
    frame["cohort"] = frame["cohort"].astype(str).where(~after, "later")
    return frame[~((frame["cohort"] == "later") & (frame["month"] == 36))]


def _lines(ax: Axes, start: str) -> dict[str, Any]:
    found = [line for line in ax.lines if str(line.get_gid()).startswith(start)]
    return {str(line.get_gid()).removeprefix(start): line for line in found}


def _said(ax: Axes, gid: str) -> list[str]:
    return [t.get_text() for t in ax.texts if t.get_gid() == gid]


def _numbers(table: Any) -> list[str]:
    ends = table[["estimate", "conf_low", "conf_high"]].to_numpy()
    return [style.with_interval(*row) for row in ends]


def test_a_growth_result_has_a_line_for_every_estimate(categories: Any) -> None:
    ax = plot.effect_forest(categories, level=0.9)
    table = categories.effect_sizes(level=0.9).tidy().sort_values("time", kind="stable")
    assert len(_said(ax, "row")) == len(_lines(ax, "estimate: ")) == len(table) == 6
    assert sorted(_said(ax, "number")) == sorted(_numbers(table))
    drawn = _lines(ax, "estimate: ")
    spans = _lines(ax, "interval: ")
    for row in table.to_dict("records"):
        gid = f"{row['quantity']}: bsi, {row['cohort']}, {row['time']:g}"
        assert drawn[gid].get_xdata()[0] == row["estimate"]
        np.testing.assert_allclose(spans[gid].get_xdata(), [row["conf_low"], row["conf_high"]])
    assert _said(ax, "head") == ["d [90 % interval]", "improvement retained"]


def test_numbers_stand_beside_their_own_line(categories: Any) -> None:
    ax = plot.effect_forest(categories)
    heights = {t.xy[1]: t.get_text() for t in ax.texts if t.get_gid() == "number"}
    rows = {t.xy[1] for t in ax.texts if t.get_gid() == "row"}
    for line in _lines(ax, "estimate: ").values():
        (y,) = line.get_ydata()
        assert y in rows
        assert heights[y].startswith(style.number(line.get_xdata()[0]))


def test_a_study_has_a_line_for_every_estimate(study: Any) -> None:
    ax = plot.effect_forest(study)
    table = study.tidy()
    assert len(_said(ax, "row")) == 3 * len(table)
    expected = []
    for row in table.to_dict("records"):
        for word in ("d_reference", "d", "d_difference"):
            expected.append(style.with_interval(row[word], row[f"{word}_low"], row[f"{word}_high"]))
    assert _said(ax, "number") == expected
    shares = [f"{100 * r:.0f} % [{100 * a:.0f}, {100 * b:.0f}]" for r, a, b in
              table[["retained", "retained_low", "retained_high"]].to_numpy()]  # fmt: skip
    assert _said(ax, "retained") == shares
    assert _said(ax, "outcome") == ["bsi", "sipp"]
    assert _said(ax, "time") == ["month 18", "month 36"] * 2


def test_a_study_and_its_growth_result_agree(study: Any) -> None:
    alone = plot.effect_forest(study.fits["bsi"], at=[18, 36], df=study.df)
    together = plot.effect_forest(study)
    assert _said(together, "number")[:6] == _said(alone, "number")
    assert _said(together, "retained")[:2] == _said(alone, "retained")


def test_zero_and_the_directions_are_marked(categories: Any) -> None:
    ax = plot.effect_forest(categories)
    (zero,) = _lines(ax, "zero").values()
    assert list(zero.get_xdata()) == [0, 0]
    assert _said(ax, "direction") == ["← worse", "better →"]
    low, high = ax.get_xlim()
    assert low < 0 < high
    ax.get_figure(root=True).canvas.draw()
    worse, better = (t.get_window_extent() for t in ax.texts if t.get_gid() == "direction")
    assert worse.x1 < ax.transData.transform((0, 0))[0] < better.x0


def test_the_axis_names_the_sd_and_the_start(categories: Any, study: Any) -> None:
    def words(ax: Axes) -> str:
        return ax.get_xlabel().replace("\n", " ")

    assert words(plot.effect_forest(categories)) == "improvement since the baseline (d, in SDs)"
    assert "in SDs of the model" in words(plot.effect_forest(categories, sd="model"))
    assert "in units of 0.5" in words(plot.effect_forest(categories, sd=0.5))
    assert words(plot.effect_forest(study)) == "improvement since the baseline (d, in SDs)"


def test_a_long_time_label_is_not_repeated(visits: Any, study: Any) -> None:
    long, short = {"month": "Months since the start"}, {"month": "Month"}
    assert _said(plot.effect_forest(study, labels=long), "time") == ["month 18", "month 36"] * 2
    assert _said(plot.effect_forest(study, labels=short, at=36), "time") == ["Month 36"] * 2
    dates = visits.assign(seen=pd.Timestamp("2010-01-01") + pd.to_timedelta(visits["month"] * 7, unit="D"))
    weeks = ist.fit_growth(dates, **ROLES | {"time": "seen"}, better="lower", time_unit="weeks")
    assert _said(plot.effect_forest(weeks, labels={"seen": "Weeks since the start"}), "time") == [
        "18 weeks",
        "36 weeks",
    ]


def test_at_chooses_times(categories: Any, study: Any) -> None:
    assert _said(plot.effect_forest(categories, at=36), "time") == ["month 36"]
    assert _said(plot.effect_forest(study, at=18), "time") == ["month 18"] * 2
    with pytest.raises(DataError, match=r"^at=12: not a time of this study; it compares \[18, 36\]$"):
        plot.effect_forest(study, at=12)


def test_a_study_keeps_its_own_sd_and_df(study: Any) -> None:
    with pytest.raises(DataError, match=r"^sd='own': a study has its own; .*\ndf='normal': a study has its own"):
        plot.effect_forest(study, sd="own", df="normal")


def test_without_a_direction_there_is_no_forest(visits: Any) -> None:
    with pytest.raises(DataError, match="better="):
        plot.effect_forest(ist.fit_growth(visits, **ROLES))
    assert pyplot.get_fignums() == []


def test_the_share_can_be_left_out(categories: Any) -> None:
    ax = plot.effect_forest(categories, retained=False)
    assert _said(ax, "retained") == []
    assert _said(ax, "head") == ["d [95 % interval]"]


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"share": 0.374, "share_low": 0.118, "share_high": 0.702, "set": "bounded"}, "37 % [12, 70]"),
        ({"share": 0.374, "share_low": -0.2, "share_high": 0.702, "set": "bounded"}, "37 % [−20, 70]"),
        ({"share": 0.374, "share_low": -np.inf, "share_high": np.inf, "set": "unbounded"}, "37 %, not bounded"),
        ({"share": 0.374, "share_low": -3.0, "share_high": 5.0, "set": "outside"}, "37 %, not bounded"),
    ],
)
def test_a_share_is_a_percentage_or_says_why_not(row: dict[str, Any], text: str) -> None:
    assert _share(row | {"improved": True}) == text
    assert _share(row | {"improved": False}) == "reference did not improve"


@pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
def test_an_unbounded_set_is_said_in_words(visits: Any) -> None:
    rng = np.random.default_rng(5)
    found = set()
    for _ in range(12):
        frame = visits[visits["patient"].isin(rng.permutation(visits["patient"].unique())[:24])].copy()
        frame["bsi"] = rng.normal(2.0, 0.5, len(frame))
        result = ist.fit_growth(frame, **ROLES, better="lower", random="intercept")
        kept = result.retained_improvement().tidy()
        ax = plot.effect_forest(result)
        ax.get_figure(root=True).canvas.draw()
        for text, shape, gain in zip(
            _said(ax, "retained"), kept["set"], result.retained_improvement().change_reference, strict=True
        ):
            if gain > 0 and shape != "bounded":
                assert re.fullmatch(r"−?\d+ %, not bounded", text)
            found.add(text.split("%")[-1])
        pyplot.close("all")
    assert ", not bounded" in found
    assert "reference did not improve" in found


@pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
def test_a_visit_that_a_cohort_never_had_is_not_drawn(three: Any) -> None:
    ax = plot.effect_forest(ist.fit_growth(three, **ROLES, better="lower", shape="visits"))
    drawn = _lines(ax, "estimate: ")
    assert "d: bsi, later, 18" in drawn
    assert [g for g in drawn if ", 36" in g] == []
    assert len(drawn) == 5


@pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
def test_beyond_the_data_a_line_says_extrapolated(three: Any) -> None:
    growth = ist.fit_growth(three, **ROLES, better="lower", shape="linear")
    rows = [r.replace("\n", " ") for r in _said(plot.effect_forest(growth, at=[18, 36]), "row")]
    assert [r for r in rows if "extrapolated" in r] == [
        "later (extrapolated)",
        "difference: later minus before (extrapolated)",
    ]


def test_a_failed_outcome_says_so(visits: Any) -> None:
    study = ist.compare_cohorts(
        visits.assign(flat=3.0), outcomes={"flat": "lower", "bsi": "lower"}, time="month", patient="patient",
        cohort="cohort", reference="before", at=[36],
    )  # fmt: skip
    ax = plot.effect_forest(study)
    assert len(_said(ax, "row")) == 3
    (why,) = _said(ax, "note")
    assert why.startswith("no model:")


def test_an_endless_interval_is_cut_with_an_arrow_head(categories: Any) -> None:
    effects = categories.effect_sizes()
    wide = np.array([1.0, 1.0, 1.0, 1.0, 1e4, 1.0]) * effects.std_error
    stretched = dataclasses.replace(effects, std_error=wide)

    class Wide(ist.GrowthResult):
        def effect_sizes(self, *args: Any, **options: Any) -> Any:
            return stretched

    result = Wide(**{f.name: getattr(categories, f.name) for f in dataclasses.fields(categories)})
    ax = plot.effect_forest(result)
    assert [line.get_marker() for line in ax.lines if line.get_gid() == "cut"] == ["<", ">"]
    assert ax.get_xlim()[1] < 10
    ends = np.concatenate([line.get_xdata() for line in _lines(ax, "interval: ").values()])
    assert (ends.min(), ends.max()) == ax.get_xlim()
    assert sorted(_said(ax, "number")) == sorted(_numbers(stretched.tidy()))
    ax.get_figure(root=True).canvas.draw()


# Coefficients --------------------------------------------------------------------------------------------------------


def test_coefficients_are_the_tidy_table(mixed: Any) -> None:
    ax = plot.coefficients(mixed, level=0.8, df="normal", scale="outcome")
    table = mixed.tidy(level=0.8, df="normal").iloc[1:]
    assert _said(ax, "number") == _numbers(table)
    drawn, spans = _lines(ax, "estimate: "), _lines(ax, "interval: ")
    assert list(drawn) == table["term"].tolist()
    for row in table.to_dict("records"):
        assert drawn[row["term"]].get_xdata()[0] == row["estimate"]
        np.testing.assert_allclose(spans[row["term"]].get_xdata(), [row["conf_low"], row["conf_high"]])


def test_the_intercept_is_drawn_on_request(mixed: Any) -> None:
    assert "(Intercept)" not in _lines(plot.coefficients(mixed), "estimate: ")
    ax = plot.coefficients(mixed, intercept=True)
    assert "(Intercept)" in _lines(ax, "estimate: ")
    assert _said(ax, "row")[0] == "intercept"


def test_terms_of_very_different_size_are_drawn_by_their_standard_error(mixed: Any) -> None:
    ax = plot.coefficients(mixed)
    assert "divided by its standard error" in ax.get_xlabel().replace("\n", " ")
    table = mixed.tidy().set_index("term")
    for term, line in _lines(ax, "estimate: ").items():
        assert line.get_xdata()[0] == pytest.approx(table.loc[term, "statistic"])
    assert _said(ax, "number") == _numbers(table.iloc[1:])
    assert plot.coefficients(mixed, scale="outcome").get_xlabel() == "estimate in units of bsi (95 % intervals)"


def test_terms_of_like_size_are_drawn_as_they_are(categories: Any) -> None:
    assert plot.coefficients(categories).get_xlabel() == "estimate in units of bsi (95 % intervals)"


@pytest.mark.parametrize(
    ("term", "text"),
    [
        ("(Intercept)", "intercept"),
        ("month", "Months"),
        ("month[18]:cohort[during]", "Months 18 × Cohort During 2010"),
        ("cohort[during]", "Cohort During 2010"),
        ("bs(age, df=3)[1]", "bs(age, df=3)[1]"),
        ("log(1 + month/18):cohort[a:b]", "log(1 + month/18) × Cohort a:b"),
    ],
)
def test_terms_are_written_for_people(term: str, text: str) -> None:
    assert term_words(term, {"month": "Months", "cohort": "Cohort", "during": "During 2010"}) == text


def test_a_bad_argument_is_refused(mixed: Any, visits: Any) -> None:
    for bad in ({"level": 2}, {"scale": "log"}, {"intercept": "yes"}, {"df": "kenward"}):
        with pytest.raises(DataError, match=f"^{next(iter(bad))}="):
            plot.coefficients(mixed, **bad)
    alone = ist.fit_mixed(visits, formula="bsi ~ 1 + (1 | patient)")
    with pytest.raises(DataError, match="no fixed effect beside the intercept; say intercept=True"):
        plot.coefficients(alone)
    assert len(_said(plot.coefficients(alone, intercept=True), "row")) == 1


@pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
def test_a_study_of_curves_says_extrapolated_too(visits: Any) -> None:
    frame = visits.copy()
    # Two more visits make straight lines of what would be categories; the second cohort ends at 20 months.
    late = frame[frame["month"] == 18].assign(month=20.0)
    early = frame[frame["month"] == 18].assign(month=9.0)
    frame = pd.concat([frame, late, early], ignore_index=True)
    frame = frame[~((frame["cohort"] == "during") & (frame["month"] == 36))]
    study = ist.compare_cohorts(
        frame, outcomes={"bsi": "lower"}, time="month", patient="patient", cohort="cohort", reference="before",
        at=[18, 36],
    )  # fmt: skip
    rows = [r for r in _said(plot.effect_forest(study), "row") if "extrapolated" in r]
    assert rows == ["during (extrapolated)", "difference (extrapolated)"]
