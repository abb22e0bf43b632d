"""What fit_growth makes of a study: the shape, the visits that are not there, the baseline, the groups, the header."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import BoundaryWarning, DataError

Fit = Callable[..., Any]
Make = Callable[..., pd.DataFrame]
MONTH = 30.4375

SHAPES = {
    "linear": "linear",
    "quadratic": "quadratic",
    "log": "log",
    "visits": "visits",
    "piecewise": ist.Piecewise([6]),
    "spline": ist.NaturalSpline(2),
    "spline with knots": ist.NaturalSpline(2, (0, 6, 18)),
}


def without(frame: pd.DataFrame, cohort: str, month: float) -> pd.DataFrame:
    """Return the frame without a cohort's visits at one time."""
    return frame[~((frame["cohort"] == cohort) & (frame["month"] == month))]


def sited(frame: pd.DataFrame, sizes: tuple[float, ...] = (-1.5, -0.5, 0.0, 0.7, 1.4)) -> pd.DataFrame:
    """Return the frame with sites that differ in level, and in how much worse the second cohort changed."""
    at = frame["site"].map(dict(zip("ABCDE", sizes, strict=True)))
    gap = frame["site"].map(dict(zip("ABCDE", (0.03, -0.04, 0.05, -0.03, 0.0), strict=True)))
    return frame.assign(score=frame["score"] + at + gap * frame["month"] * (frame["cohort"] == "during"))


class TestShape:
    def test_auto_takes_visits_up_to_four_times(self, make: Make, fit: Fit) -> None:
        assert fit(make(times=(0, 6, 12, 18))).design.shape.word == "visits"

    def test_auto_takes_lines_beyond_four_times(self, make: Make, fit: Fit) -> None:
        assert fit(make(times=(0, 3, 6, 12, 18))).design.shape.word == "linear"

    def test_auto_takes_lines_for_irregular_times(self, study_frame: pd.DataFrame, fit: Fit) -> None:
        shifted = study_frame["month"] + (study_frame["month"] > 0) * (study_frame["patient"] % 7) / 10
        result = fit(study_frame.assign(month=shifted))
        assert result.design.shape.word == "linear"
        assert result.times == []
        assert result.time_range == (0.0, pytest.approx(18.6))
        assert result.sample.visits().empty
        assert any("too many distinct times" in line for line in result.header())

    @pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
    @pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES.keys())
    def test_every_shape_fits_answers_and_predicts(self, study_frame: pd.DataFrame, fit: Fit, shape: Any) -> None:
        result = fit(study_frame, shape=shape)
        assert result.convergence.converged
        assert np.isfinite(result.tidy()[["estimate", "std_error", "df", "p_value"]].to_numpy()).all()
        means = result.means(at=[0, 6, 18]).tidy()
        observed = study_frame.groupby(["cohort", "month"])["score"].mean()
        assert [observed[c, t] for c, t in zip(means["cohort"], means["time"], strict=True)] == pytest.approx(
            means["estimate"].tolist(), abs=0.35
        )
        assert len(result.effect_sizes(at=18).tidy()) == 3
        assert len(result.retained_improvement(at=18).tidy()) == 1
        again = result.predict(study_frame)
        np.testing.assert_allclose(again["estimate"], result.augment()["fitted"], atol=1e-10)
        assert (again["conf_low"] < again["estimate"]).all()

    def test_visits_and_a_spline_through_all_of_them_say_the_same(self, study_frame: pd.DataFrame, fit: Fit) -> None:
        visits, curve = fit(study_frame), fit(study_frame, shape=ist.NaturalSpline(3))
        for one, other in zip(
            visits.means().tidy().to_dict("records"), curve.means().tidy().to_dict("records"), strict=True
        ):
            assert one["estimate"] == pytest.approx(other["estimate"], abs=1e-7)
            assert one["std_error"] == pytest.approx(other["std_error"], rel=1e-6)

    def test_log_remembers_the_first_time_after_zero(self, make: Make, fit: Fit) -> None:
        result = fit(make(times=(0, 3, 9, 18), seed=2), shape="log", random="intercept")
        assert result.design.shape.h == 3
        assert result.formula.startswith("score ~ log(1 + month/3) * cohort")

    def test_two_visits_lie_on_a_line(self, make: Make, fit: Fit) -> None:
        result = fit(make(times=(0, 18)), shape="linear", random="intercept")
        assert "two visits lie on a line" in result.header()


@pytest.fixture(scope="module")
def cut(study_frame: pd.DataFrame, fit: Fit) -> Any:
    return fit(without(study_frame, "during", 18))


@pytest.fixture(scope="module")
def cut_reference(study_frame: pd.DataFrame, fit: Fit) -> Any:
    return fit(without(study_frame, "before", 18))


class TestEmptyCells:
    """A cohort that was not seen at a visit has no mean there, and says so; the other times stand."""

    @pytest.mark.parametrize("ask", ["means", "contrasts", "effect_sizes", "retained_improvement", "changes"])
    def test_refused_for_that_time_and_answered_for_others(self, cut: Any, ask: str) -> None:
        with pytest.raises(DataError, match="at=18: cohort 'during' has no visit at this time; its last is at 12"):
            getattr(cut, ask)(at=[12, 18])
        assert set(getattr(cut, ask)(at=[6, 12]).tidy()["time"]) == {6, 12}

    @pytest.mark.parametrize("ask", ["means", "contrasts", "effect_sizes", "retained_improvement", "changes"])
    def test_the_reference_may_be_the_one_that_lacks_it(self, cut_reference: Any, ask: str) -> None:
        with pytest.raises(DataError, match="at=18: cohort 'before' has no visit at this time; its last is at 12"):
            getattr(cut_reference, ask)(at=18)
        assert set(getattr(cut_reference, ask)(at=[6, 12]).tidy()["time"]) == {6, 12}

    @pytest.mark.parametrize("ask", ["contrasts", "effect_sizes", "retained_improvement", "changes"])
    def test_without_times_the_answer_keeps_to_visits_of_all_cohorts(
        self, cut: Any, cut_reference: Any, ask: str
    ) -> None:
        assert set(getattr(cut, ask)().tidy()["time"]) == {6, 12}
        assert set(getattr(cut_reference, ask)().tidy()["time"]) == {6, 12}

    def test_without_times_no_mean_rests_on_nobody(self, cut: Any, cut_reference: Any) -> None:
        assert (cut.means().tidy()["n"] > 0).all()
        assert (cut_reference.means().tidy()["n"] > 0).all()

    def test_the_means_at_the_other_times_are_near_those_of_the_whole_study(
        self, cut_reference: Any, by_visit: Any
    ) -> None:
        one, other = (r.means(at=[0, 6, 12]).tidy()["estimate"].to_numpy() for r in (cut_reference, by_visit))
        np.testing.assert_allclose(one, other, atol=1e-6)

    def test_the_header_says_which_cohort_lacks_which_visit(self, cut: Any) -> None:
        assert any("during" in line and "18" in line and "no visit" in line for line in cut.header())

    def test_only_the_cohort_that_lacks_it_is_left_out_of_three(self, make: Make, fit: Fit) -> None:
        result = fit(without(make(("before", "during", "after")), "after", 18))
        with pytest.raises(DataError, match="cohort 'after' has no visit"):
            result.contrasts(at=18)
        assert len(result.contrasts(at=12).tidy()) == 4

    def test_a_curve_goes_on_and_says_that_it_does(self, study_frame: pd.DataFrame, fit: Fit) -> None:
        line = fit(without(study_frame, "during", 18), shape="linear")
        assert line.last_seen == {"before": 18.0, "during": 12.0}
        means = line.means(at=[12, 18, 24]).tidy()
        flags = dict(zip(zip(means["cohort"], means["time"], strict=True), means["extrapolated"], strict=True))
        assert flags == {
            ("before", 12.0): False,
            ("before", 18.0): False,
            ("before", 24.0): True,
            ("during", 12.0): False,
            ("during", 18.0): True,
            ("during", 24.0): True,
        }
        assert line.contrasts(at=[12, 18]).tidy()["extrapolated"].tolist() == [False, True, False, True]
        assert line.effect_sizes(at=18).tidy().set_index(["quantity", "cohort"])["extrapolated"].to_dict() == {
            ("d", "before"): False,
            ("d", "during"): True,
            ("difference", "during"): True,
        }

    def test_a_difference_from_a_reference_that_was_not_seen_is_extrapolated(
        self, study_frame: pd.DataFrame, fit: Fit
    ) -> None:
        line = fit(without(study_frame, "before", 18), shape="linear")
        table = line.effect_sizes(at=18).tidy()
        assert table.loc[table["quantity"] == "difference", "extrapolated"].tolist() == [True]

    def test_before_the_first_visit_is_extrapolated_too(self, by_line: Any) -> None:
        assert by_line.means(at=-3).tidy()["extrapolated"].all()


@pytest.fixture(scope="module")
def three(make: Make, fit: Fit) -> Any:
    return fit(make(("before", "during", "after")))


class TestThreeCohorts:
    def test_the_reference_comes_first_then_the_others_in_order(self, three: Any) -> None:
        assert three.cohorts == ("before", "after", "during")
        assert three.reference == "before"

    def test_each_is_compared_with_the_reference(self, three: Any) -> None:
        table = three.contrasts(at=18).tidy()
        assert table[["cohort", "reference", "quantity"]].to_numpy().tolist() == [
            ["after", "before", "level"],
            ["after", "before", "change"],
            ["during", "before", "level"],
            ["during", "before", "change"],
        ]
        means = three.means(at=[0, 18]).tidy().set_index(["cohort", "time"])["estimate"]
        change = {c: means[c, 18] - means[c, 0] for c in three.cohorts}
        found = table[table["quantity"] == "change"].set_index("cohort")["estimate"]
        assert found["after"] == pytest.approx(change["after"] - change["before"])
        assert found["during"] == pytest.approx(change["during"] - change["before"])

    def test_another_reference_turns_the_sign(self, make: Make, fit: Fit, three: Any) -> None:
        turned = fit(make(("before", "during", "after")), reference="during")
        assert turned.cohorts == ("during", "after", "before")
        one = three.contrasts(at=18).tidy().set_index(["cohort", "quantity"])
        other = turned.contrasts(at=18).tidy().set_index(["cohort", "quantity"])
        assert other.loc[("before", "change"), "estimate"] == pytest.approx(-one.loc[("during", "change"), "estimate"])
        assert other.loc[("before", "change"), "p_value"] == pytest.approx(one.loc[("during", "change"), "p_value"])

    def test_a_categorical_keeps_its_own_order_and_forgets_unused_levels(self, make: Make, fit: Fit) -> None:
        frame = make(("before", "during", "after"))
        order = ["later", "after", "during", "before"]
        result = fit(frame.assign(cohort=pd.Categorical(frame["cohort"], categories=order)))
        assert result.cohorts == ("before", "after", "during")
        assert result.sample.patients == {"before": 25, "after": 25, "during": 25}

    def test_a_cohort_that_lost_all_its_rows_is_not_forgotten(self, make: Make, fit: Fit) -> None:
        frame = make(("before", "during", "after"))
        with pytest.raises(DataError, match="'after' has no row with all its columns"):
            fit(frame.assign(score=frame["score"].where(frame["cohort"] != "after")))


@pytest.fixture(scope="module")
def dated(study_frame: pd.DataFrame) -> pd.DataFrame:
    first = pd.Timestamp("2008-01-07") + pd.to_timedelta(study_frame["patient"] * 11, unit="D")
    return study_frame.assign(month=first + pd.to_timedelta(study_frame["month"] * MONTH, unit="D"))


class TestDates:
    def test_months_from_each_patients_first_visit_equal_numeric_months(
        self, dated: pd.DataFrame, fit: Fit, by_line: Any
    ) -> None:
        result = fit(dated, time_unit="months", shape="linear")
        np.testing.assert_allclose(result.params, by_line.params, rtol=1e-7)
        np.testing.assert_allclose(result.tidy()["p_value"], by_line.tidy()["p_value"], rtol=1e-6)
        np.testing.assert_allclose(result.augment()["month"], by_line.augment()["month"])

    @pytest.mark.parametrize(("unit", "days"), [("days", 1), ("weeks", 7), ("years", 365.25)])
    def test_another_unit_is_another_scale(
        self, dated: pd.DataFrame, fit: Fit, by_line: Any, unit: str, days: float
    ) -> None:
        result = fit(dated, time_unit=unit, shape="linear")
        assert result.params["month"] == pytest.approx(by_line.params["month"] * days / MONTH)
        assert result.tidy()["p_value"].to_numpy() == pytest.approx(by_line.tidy()["p_value"].to_numpy())

    def test_a_date_that_is_missing_is_a_row_that_is_dropped(self, dated: pd.DataFrame, fit: Fit) -> None:
        result = fit(dated.assign(month=dated["month"].where(dated.index != 5)), time_unit="months", shape="linear")
        assert result.sample.dropped == {"month missing": 1}

    def test_the_origin_is_the_first_visit_also_where_its_outcome_is_missing(
        self, dated: pd.DataFrame, fit: Fit
    ) -> None:
        holes = dated.assign(score=dated["score"].where(dated.index != 4))
        result = fit(holes, time_unit="months", shape="linear")
        assert result.augment().loc[[5, 6, 7], "month"].tolist() == [6, 12, 18]


@pytest.fixture(scope="module")
def with_column(study_frame: pd.DataFrame) -> pd.DataFrame:
    start = study_frame[study_frame["month"] == 0].set_index("patient")["score"]
    return study_frame.assign(pre=study_frame["patient"].map(start)).query("month > 0")


class TestBaselineColumn:
    def test_it_is_the_visit_at_zero(self, study_frame: pd.DataFrame, with_column: pd.DataFrame, fit: Fit) -> None:
        one, other = fit(with_column, baseline="pre", adjust=["age"]), fit(study_frame, adjust=["age"])
        pd.testing.assert_frame_equal(one.tidy(), other.tidy(), rtol=1e-6)
        pd.testing.assert_frame_equal(one.retained_improvement().tidy(), other.retained_improvement().tidy(), rtol=1e-6)
        assert one.baseline == 0

    def test_the_header_names_it_and_counts_its_rows(self, with_column: pd.DataFrame, fit: Fit) -> None:
        header = "\n".join(fit(with_column, baseline="pre").header())
        assert "200 rows (150 given, 50 added from the baseline column)" in header
        assert "change is counted from month 0 (column 'pre')" in header

    def test_a_patient_without_a_value_keeps_the_other_visits(self, with_column: pd.DataFrame, fit: Fit) -> None:
        holes = with_column.assign(pre=with_column["pre"].where(with_column["patient"] != 3))
        result = fit(holes, baseline="pre")
        assert result.sample.dropped == {"pre missing": 1}
        assert result.sample.rows == 199
        assert (result.augment()["patient"] == 3).sum() == 3

    def test_a_value_on_one_row_is_enough(self, with_column: pd.DataFrame, fit: Fit) -> None:
        once = with_column.assign(pre=with_column["pre"].where(with_column["month"] == 12))
        one, other = fit(once, baseline="pre"), fit(with_column, baseline="pre")
        pd.testing.assert_frame_equal(one.tidy(), other.tidy())

    def test_another_time_than_the_first_can_be_the_baseline(self, study_frame: pd.DataFrame, fit: Fit) -> None:
        result = fit(study_frame, baseline=6)
        assert "change is counted from month 6" in "\n".join(result.header())
        change = result.contrasts(at=18).tidy().query("quantity == 'change'")["estimate"].item()
        means = result.means().tidy().set_index(["cohort", "time"])["estimate"]
        by_hand = (means["during", 18] - means["during", 6]) - (means["before", 18] - means["before", 6])
        assert change == pytest.approx(by_hand)


class TestGroups:
    @pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
    def test_clusters_with_both_cohorts_have_a_difference_of_their_own(
        self, study_frame: pd.DataFrame, fit: Fit
    ) -> None:
        result = fit(sited(study_frame), groups="site")
        assert result.formula.endswith(
            "(1 + month | patient) + (1 | site) + (0 + month | site) + (0 + month | site:cohort)"
        )
        note = "5 of 5 sites hold several cohorts; each has its own change, and its own cohort difference in change"
        assert note in result.header()
        assert result.variances()["group"].tolist().count("site") == 2
        assert result.variances()["group"].tolist().count("site:cohort") == 1
        assert result.sample.groups == {"patient": 50, "site": 5}

    def test_fewer_than_three_of_them_assume_the_same_difference(self, study_frame: pd.DataFrame, fit: Fit) -> None:
        frame = sited(study_frame)
        moved = frame["site"].where(
            (frame["cohort"] == "before") | frame["site"].isin(["A", "B"]), "late " + frame["site"]
        )
        result = fit(frame.assign(site=moved), groups=["site"])
        assert "assumes the same cohort difference at every site (2 of 8 hold several cohorts)" in result.header()
        assert "site:cohort" not in result.formula

    def test_none_of_them_compares_between_sites(self, study_frame: pd.DataFrame, fit: Fit) -> None:
        frame = sited(study_frame)
        result = fit(frame.assign(site=frame["cohort"] + frame["site"]), groups="site")
        assert "no site holds several cohorts, so cohorts are compared between sites" in result.header()

    @pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
    def test_ignoring_the_sites_gives_another_standard_error(self, study_frame: pd.DataFrame, fit: Fit) -> None:
        frame = sited(study_frame)
        with_sites, without_sites = fit(frame, groups="site"), fit(frame)
        change = [r.contrasts(at=18).tidy().query("quantity == 'change'") for r in (with_sites, without_sites)]
        assert change[0]["std_error"].item() > 1.2 * change[1]["std_error"].item()
        assert change[0]["df"].item() < 10 < change[1]["df"].item()

    def test_without_groups_nothing_is_said_of_them(self, by_visit: Any) -> None:
        assert not any("hold several cohorts" in line for line in by_visit.header())

    @pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
    def test_two_factors(self, study_frame: pd.DataFrame, fit: Fit) -> None:
        frame = sited(study_frame)
        ward = frame["patient"] % 7
        frame = frame.assign(ward=ward, score=frame["score"] + ward.map(dict(enumerate([0, 1, -1, 2, -2, 0.5, -0.5]))))
        result = fit(frame, groups=["site", "ward"])
        assert result.sample.groups == {"patient": 50, "site": 5, "ward": 7}
        assert sum("hold several cohorts" in line for line in result.header()) == 2


class TestRandom:
    def test_uncorrelated_has_two_variances_and_no_correlation(self, study_frame: pd.DataFrame, fit: Fit) -> None:
        table = fit(study_frame, random="uncorrelated").variances()
        assert table["effect"].tolist() == ["(Intercept)", "month", ""]
        assert table["correlation"].isna().all()

    def test_slope_has_a_correlation(self, by_visit: Any) -> None:
        table = by_visit.variances()
        assert table["effect"].tolist() == ["(Intercept)", "month", "(Intercept)", ""]
        assert table["group"].iloc[-1] == "Residual"
        assert -1 < table["correlation"].iloc[2] < 1

    def test_uncorrelated_equals_a_formula_with_two_bars(self, study_frame: pd.DataFrame, fit: Fit) -> None:
        one = fit(study_frame, shape="linear", random="uncorrelated")
        other = ist.fit_mixed(study_frame, formula="score ~ month * cohort + (month || patient)")
        assert one.loglik == pytest.approx(other.loglik)
        np.testing.assert_allclose(one.params, other.params, rtol=1e-7)

    def test_intercept_has_one_variance(self, study_frame: pd.DataFrame, fit: Fit) -> None:
        assert fit(study_frame, random="intercept").variances()["effect"].tolist() == ["(Intercept)", ""]

    def test_ml_is_ml(self, study_frame: pd.DataFrame, fit: Fit, by_visit: Any) -> None:
        result = fit(study_frame, method="ml")
        assert result.method == "ML"
        assert "(ML)" in result.header()[0]
        assert result.glance()["sigma"].item() < by_visit.glance()["sigma"].item() * 1.001
        assert result.glance()["parameters"].item() == 8 + 3 + 1


class TestSample:
    def test_missing_rows_are_counted_by_reason_and_said(self, study_frame: pd.DataFrame, fit: Fit) -> None:
        holes = study_frame.assign(
            score=study_frame["score"].where(~study_frame.index.isin([3, 7, 11])),
            month=study_frame["month"].astype(float).where(study_frame.index != 20),
            age=study_frame["age"].astype(float).where(~study_frame.index.isin([3, 30, 31])),
            cohort=study_frame["cohort"].where(study_frame.index != 40),
        )
        result = fit(holes, adjust=["age"])
        assert result.sample.dropped == {
            "score missing": 3,
            "month missing": 1,
            "cohort missing": 1,
            "age missing": 2,
        }
        assert result.sample.given == 200
        assert result.sample.rows == 193
        header = "\n".join(result.header())
        assert "193 rows of 200 given; 50 patients" in header
        assert "dropped: 3 score missing, 1 month missing, 1 cohort missing, 2 age missing" in header

    def test_nothing_dropped_is_said_too(self, by_visit: Any) -> None:
        assert "dropped: none" in by_visit.header()

    def test_visits_per_cohort_and_time(self, study_frame: pd.DataFrame, fit: Fit) -> None:
        result = fit(study_frame.drop(index=[3, 7]))
        table = result.sample.visits()
        assert table["n"].tolist() == [25, 25, 25, 23, 25, 25, 25, 25]
        means = result.means().tidy()
        assert means["n"].tolist() == table["n"].tolist()

    def test_a_patient_who_is_dropped_is_not_counted(self, study_frame: pd.DataFrame, fit: Fit) -> None:
        result = fit(study_frame.assign(score=study_frame["score"].where(study_frame["patient"] > 2)))
        assert result.sample.patients == {"before": 23, "during": 25}
        assert result.glance()["patients"].item() == 48

    def test_an_empty_list_of_covariates_is_none(self, study_frame: pd.DataFrame, fit: Fit, by_visit: Any) -> None:
        assert fit(study_frame, adjust=[]).formula == by_visit.formula


class TestHeader:
    def test_a_line_tests_itself_against_visits(self, by_line: Any) -> None:
        (line,) = [text for text in by_line.header() if "against visits as categories" in text]
        assert line.startswith("straight lines against visits as categories: F(4, ")
        assert line.endswith("a small p speaks against lines, a large one does not prove them")

    def test_that_test_sees_a_bend(self, make: Make, fit: Fit) -> None:
        frame = make()
        bent = frame.assign(score=frame["score"] - 0.4 * (frame["month"] > 0))
        header = "\n".join(fit(bent, shape="linear", random="uncorrelated").header())
        assert "p < .001" in header

    def test_that_test_equals_the_visits_own_joint_test_of_the_curvature(
        self, study_frame: pd.DataFrame, fit: Fit, by_line: Any, by_visit: Any
    ) -> None:
        bend = [{"month[6]": -2, "month[12]": 1}, {"month[6]": -3, "month[18]": 1}]
        bends = [*bend, *({f"{t}:cohort[during]": w for t, w in b.items()} for b in bend)]
        table = by_visit.joint_test(bends)
        (line,) = [text for text in by_line.header() if "against visits" in text]
        assert f"= {table['statistic'].item():.2f}," in line
        assert f"p = {table['p_value'].item():.3f}" in line

    def test_it_names_model_baseline_direction_and_end(self, by_visit: Any) -> None:
        header = by_visit.header()
        assert header[0] == "Growth model: score ~ factor(month) * cohort + (1 + month | patient) (REML)"
        assert "month: visits (0, 6, 12, 18); change is counted from month 0; lower is better" in header
        assert any(line.startswith("converged in ") for line in header)

    def test_without_a_direction_none_is_said(self, study_frame: pd.DataFrame, fit: Fit) -> None:
        assert "is better" not in "\n".join(fit(study_frame, better=None).header())


@pytest.fixture(scope="module")
def flat(make: Make) -> pd.DataFrame:
    """Patients whose slopes do not differ."""
    rng = np.random.default_rng(1)
    frame = make()
    level = frame["patient"].map(dict(zip(range(1, 51), rng.normal(size=50), strict=True)))
    return frame.assign(score=level - 0.05 * frame["month"] + rng.normal(scale=0.5, size=len(frame)))


class TestBoundary:
    def test_it_is_warned_of_exactly_once_in_the_users_own_line(self, flat: pd.DataFrame, fit: Fit) -> None:
        with pytest.warns(BoundaryWarning) as caught:
            result = ist.fit_growth(
                flat,
                outcome="score",
                time="month",
                patient="patient",
                cohort="cohort",
                reference="before",
                better="lower",
                random="uncorrelated",
            )
        assert len(caught) == 1
        assert caught[0].filename == __file__
        assert "the variance of month between patients is 0" in str(caught[0].message)
        assert result.convergence.boundary
        assert result.convergence.converged
        assert any("the variance of month between patients is 0" in line for line in result.header())
        # Questions do not warn again: the settings of this run make any warning an error.
        repr(result), result.tidy(df="kenward-roger"), result.effect_sizes(), result.predict()

    def test_the_general_door_warns_once_too(self, flat: pd.DataFrame) -> None:
        with pytest.warns(BoundaryWarning) as caught:
            ist.fit_mixed(flat, formula="score ~ month * cohort + (month || patient)")
        assert len(caught) == 1
        assert caught[0].filename == __file__

    def test_comparing_cohorts_never_warns(self, flat: pd.DataFrame) -> None:
        roles = {"time": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}
        study = ist.compare_cohorts(flat, outcomes={"score": "lower"}, at=[12, 18], model="growth", **roles)
        assert study.glance()["boundary"].item()
        assert any("is 0" in line or "is -1" in line or "is 1" in line for line in study.header())
        study.overall(draws=20, rng=1)
