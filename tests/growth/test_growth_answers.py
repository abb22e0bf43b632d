"""What a fitted growth model answers: levels and df, ratios and their words, shares of variance, a second opinion."""

from __future__ import annotations

import json
import math
import pickle
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import implstats as ist
from implstats.errors import DataError
from implstats.growth.retained import RetainedImprovement
from implstats.tables import read_tables

Fit = Callable[..., Any]
Make = Callable[..., pd.DataFrame]


def ratio(change: float, other: float, variances: tuple[float, float] = (0.01, 0.01), **options: Any) -> Any:
    """Return the improvement retained of one cohort, from two changes and their variances, with 50 df."""
    given = {"method": "fieller", "as_": "retained", "level": 0.95, "time": "month"} | options
    return RetainedImprovement(
        {"made": "by hand"},
        pd.DataFrame({"cohort": ["during"], "reference": ["before"], "time": [18.0]}),
        np.array([change]),
        np.array([other]),
        np.diag(variances)[None],
        np.array([50.0]),
        **given,
    )


class TestLevelsAndDf:
    def test_a_wider_level_is_a_wider_interval_by_the_t_quantiles(self, by_visit: Any) -> None:
        wide, narrow = by_visit.tidy(level=0.99), by_visit.tidy(level=0.8)
        for table, level in ((wide, 0.99), (narrow, 0.8)):
            half = stats.t.ppf(0.5 + level / 2, table["df"]) * table["std_error"]
            np.testing.assert_allclose(table["conf_high"] - table["estimate"], half)
            np.testing.assert_allclose(table["estimate"] - table["conf_low"], half)
        assert (wide["p_value"] == narrow["p_value"]).all()

    def test_df_options(self, by_visit: Any) -> None:
        normal, satterthwaite, kenward = (by_visit.tidy(df=df) for df in ("normal", "satterthwaite", "kenward-roger"))
        assert np.isinf(normal["df"]).all()
        assert satterthwaite["df"].between(1, 200).all()
        assert kenward["df"].between(1, 200).all()
        assert (kenward["std_error"] >= satterthwaite["std_error"] * (1 - 1e-9)).all()
        np.testing.assert_allclose(normal["std_error"], satterthwaite["std_error"])
        assert (normal["p_value"] <= satterthwaite["p_value"]).all()

    @pytest.mark.parametrize("ask", ["means", "contrasts", "changes", "effect_sizes", "retained_improvement"])
    def test_every_answer_takes_level_and_df(self, by_visit: Any, ask: str) -> None:
        wide = getattr(by_visit, ask)(at=18, level=0.99, df="normal")
        narrow = getattr(by_visit, ask)(at=18, level=0.8, df="normal")
        assert np.isinf(wide.tidy()["df"]).all()
        width = [(r.tidy()["conf_high"] - r.tidy()["conf_low"]).to_numpy() for r in (wide, narrow)]
        assert (width[0] > width[1]).all()
        pd.testing.assert_frame_equal(narrow.tidy(level=0.99), wide.tidy())
        assert "99%" in wide.header()[0]

    def test_contrasts_agree_with_the_coefficients(self, by_visit: Any) -> None:
        table = by_visit.contrasts(at=18).tidy().set_index("quantity")
        terms = by_visit.tidy().set_index("term")
        shared = ["estimate", "std_error", "df", "p_value"]
        np.testing.assert_allclose(
            table.loc["change", shared].to_numpy(dtype=float),
            terms.loc["month[18]:cohort[during]", shared].to_numpy(dtype=float),
            rtol=1e-8,
        )

    def test_trends_are_the_slopes_of_a_line(self, by_line: Any) -> None:
        table = by_line.trends().tidy()
        params = by_line.params
        expected = [params["month"], params["month"] + params["month:cohort[during]"], params["month:cohort[during]"]]
        np.testing.assert_allclose(table["estimate"], expected, rtol=1e-6)
        assert table["quantity"].tolist() == ["slope", "slope", "difference"]

    def test_a_contrast_by_hand(self, by_line: Any) -> None:
        table = by_line.contrast({"month": 18, "month:cohort[during]": 18}, name="change of during").tidy()
        change = by_line.changes(at=18).tidy().set_index("cohort").loc["during", "estimate"]
        assert table["estimate"].item() == pytest.approx(-change)
        assert table["term"].item() == "change of during"

    def test_a_joint_test_of_one_term_is_its_t_test(self, by_line: Any) -> None:
        terms = by_line.tidy().set_index("term")
        table = by_line.joint_test(["month"])
        assert table["statistic"].item() == pytest.approx(terms.loc["month", "statistic"] ** 2)
        assert table["p_value"].item() == pytest.approx(terms.loc["month", "p_value"])


class TestEffectSizes:
    def test_d_is_the_improvement_over_the_sd(self, by_visit: Any) -> None:
        d = by_visit.effect_sizes(at=18, sd=2.0).tidy().query("quantity == 'd'").set_index("cohort")["estimate"]
        change = by_visit.changes(at=18).tidy().set_index("cohort")["estimate"]
        np.testing.assert_allclose(d, change.reindex(d.index) / 2)

    def test_a_known_sd_adds_no_uncertainty(self, by_visit: Any) -> None:
        known = by_visit.effect_sizes(at=18, sd=1.0).tidy().query("quantity == 'd'")
        change = by_visit.changes(at=18).tidy()
        np.testing.assert_allclose(known["std_error"], change["std_error"])
        sd = by_visit.effect_sizes(at=18).tidy()["sd"].iloc[0]
        estimated = by_visit.effect_sizes(at=18).tidy().query("quantity == 'd'")
        assert (estimated["std_error"] > change["std_error"].to_numpy() / sd).all()

    def test_every_sd_names_itself(self, study_frame: pd.DataFrame, by_visit: Any) -> None:
        start = study_frame[study_frame["month"] == 0].groupby("cohort")["score"]
        pooled = math.sqrt(start.var().mean())
        tables = {sd: by_visit.effect_sizes(at=18, sd=sd) for sd in ("baseline", "reference", "own", "model")}
        for sd, result in tables.items():
            assert set(result.tidy()["sd_source"]) == {sd}
        assert tables["baseline"].tidy()["sd"].tolist() == pytest.approx([pooled] * 3)
        assert tables["reference"].tidy()["sd"].tolist() == pytest.approx([start.std()["before"]] * 3)
        own = tables["own"].tidy().query("quantity == 'd'").set_index("cohort")["sd"]
        assert own.to_dict() == pytest.approx(start.std().to_dict())
        variances = by_visit.variances()
        model = variances["variance"].iloc[0] + variances["variance"].iloc[-1]
        assert tables["model"].tidy()["sd"].tolist() == pytest.approx([math.sqrt(model)] * 3)
        assert "observed at the baseline, pooled over cohorts" in tables["baseline"].header()[1]
        assert "of before at the baseline" in tables["reference"].header()[1]

    def test_the_direction_turns_the_sign(self, study_frame: pd.DataFrame, fit: Fit, by_visit: Any) -> None:
        higher = fit(study_frame, better="higher")
        one, other = (r.effect_sizes(at=18).tidy() for r in (by_visit, higher))
        np.testing.assert_allclose(one["estimate"], -other["estimate"])
        assert (one.query("quantity == 'd'")["estimate"] > 0).all()
        # Seen the other way both cohorts got worse, and there is no improvement to share.
        assert by_visit.retained_improvement(at=18).tidy()["set"].tolist() == ["bounded"]
        none = higher.retained_improvement(at=18).tidy()
        assert none["set"].tolist() == ["none"]
        assert none[["estimate", "std_error", "conf_low", "conf_high"]].isna().all(axis=None)

    def test_the_difference_is_the_difference(self, by_visit: Any) -> None:
        table = by_visit.effect_sizes(at=18).tidy()
        d = table.query("quantity == 'd'").set_index("cohort")["estimate"]
        gap = table.query("quantity == 'difference'")["estimate"].item()
        assert gap == pytest.approx(d["during"] - d["before"])


class TestRetained:
    def test_it_is_the_ratio_of_the_changes(self, by_visit: Any) -> None:
        change = by_visit.changes(at=18).tidy().set_index("cohort")["estimate"]
        table = by_visit.retained_improvement(at=18).tidy()
        assert table["estimate"].item() == pytest.approx(change["during"] / change["before"])
        assert table["set"].item() == "bounded"

    def test_times_is_the_inverse_ends_and_all(self, by_visit: Any) -> None:
        one = by_visit.retained_improvement(at=[12, 18]).tidy()
        other = by_visit.retained_improvement(at=[12, 18], as_="times").tidy()
        np.testing.assert_allclose(other["estimate"], 1 / one["estimate"])
        np.testing.assert_allclose(other["conf_low"], 1 / one["conf_high"])
        np.testing.assert_allclose(other["conf_high"], 1 / one["conf_low"])

    def test_an_end_of_fiellers_set_is_a_ratio_that_a_t_test_just_excludes(self, by_visit: Any) -> None:
        table = by_visit.retained_improvement(at=18, df="normal").tidy()
        for end in (table["conf_low"].item(), table["conf_high"].item()):
            row = by_visit.contrast({"month[18]": 1 - end, "month[18]:cohort[during]": 1}, df="normal").tidy()
            assert row["p_value"].item() == pytest.approx(0.05)

    def test_delta_is_symmetric_and_close_where_the_reference_changed_much(self, by_visit: Any) -> None:
        delta = by_visit.retained_improvement(at=18, method="delta").tidy()
        fieller = by_visit.retained_improvement(at=18).tidy()
        assert delta["conf_high"].item() - delta["estimate"].item() == pytest.approx(
            delta["estimate"].item() - delta["conf_low"].item()
        )
        assert delta["conf_low"].item() == pytest.approx(fieller["conf_low"].item(), abs=0.05)
        assert delta["set"].item() == "bounded"

    def test_bounded_in_words(self) -> None:
        (said,) = ratio(0.5, 1.0).in_words()
        assert re.fullmatch(
            r"at month 18: during kept 50 % of the improvement of before \(95% interval \d+ % to \d+ %\)\.", said
        )

    def test_the_level_is_said(self) -> None:
        assert "(80% interval " in ratio(0.5, 1.0, level=0.8).in_words()[0]
        assert "(80% Fieller sets)" in ratio(0.5, 1.0, level=0.8).header()[0]

    def test_outside_in_words(self) -> None:
        made = ratio(1.0, 0.15)
        assert made.tidy()["set"].item() == "outside"
        (said,) = made.in_words()
        assert "the data exclude only the values between" in said
        assert "too uncertain for an interval" in said

    def test_unbounded_in_words(self) -> None:
        made = ratio(0.05, 0.1)
        table = made.tidy()
        assert table["set"].item() == "unbounded"
        assert np.isneginf(table["conf_low"].item())
        assert np.isposinf(table["conf_high"].item())
        assert "no value is excluded" in made.in_words()[0]

    @pytest.mark.parametrize("change", [0.5, -0.5])
    def test_a_reference_that_did_not_improve_has_nothing_to_keep_a_share_of(self, change: float) -> None:
        (said,) = ratio(change, -0.4).in_words()
        assert said == "at month 18: before did not improve, so there is nothing to keep a share of."

    def test_times_in_words(self) -> None:
        assert (
            ratio(0.5, 1.0, as_="times").in_words()[0].startswith("at month 18: before improved 2.00 times as much as")
        )

    def test_times_of_a_cohort_that_got_worse_is_not_a_number_of_times(self) -> None:
        (said,) = ratio(-0.5, 1.0, as_="times").in_words()
        assert "-" not in said
        assert "during did not improve" in said

    def test_the_header_says_what_the_ratio_cannot_tell(self, by_visit: Any) -> None:
        header = by_visit.retained_improvement(at=18).header()
        assert header[1].startswith("There is no untreated group: ")

    def test_a_time_beyond_what_was_seen_is_marked(self, by_line: Any) -> None:
        made = by_line.retained_improvement(at=[18, 24])
        assert made.tidy()["extrapolated"].tolist() == [False, True]

    def test_no_verdict_is_read_off_a_p_value(self, by_visit: Any, by_line: Any) -> None:
        answers = [by_visit.contrasts(), by_visit.effect_sizes(), by_visit.retained_improvement(), by_visit, by_line]
        text = " ".join(" ".join(answer.header()) for answer in answers).lower()
        for verdict in ("significant", "no effect", "no difference", "assumption", "reject"):
            assert verdict not in text


class TestVariance:
    def test_shares_lie_between_zero_and_one_in_order(self, by_visit: Any, by_line: Any) -> None:
        for result in (by_visit, by_line):
            r2 = result.r2().iloc[0]
            assert 0 < r2["r2_marginal"] < r2["r2_conditional"] < 1
            assert 0 < result.icc()["icc"].item() < 1

    def test_a_random_intercepts_icc_is_its_share(self, study_frame: pd.DataFrame, fit: Fit) -> None:
        result = fit(study_frame, random="intercept")
        between, within = result.variances()["variance"]
        assert result.icc()["icc"].item() == pytest.approx(between / (between + within))

    def test_random_effects_are_one_row_a_patient_and_effect(self, by_visit: Any) -> None:
        table = by_visit.random_effects(level=0.9)
        assert len(table) == 2 * 50
        assert set(table["effect"]) == {"(Intercept)", "month"}
        assert table.groupby("effect")["estimate"].mean().abs().max() < 1e-6
        half = stats.norm.ppf(0.95) * table["std_error"]
        np.testing.assert_allclose(table["conf_high"], table["estimate"] + half)

    def test_glance_adds_up(self, by_visit: Any) -> None:
        row = by_visit.glance().iloc[0]
        assert row["parameters"] == 8 + 3 + 1
        assert row["deviance"] == pytest.approx(-2 * by_visit.loglik)
        assert row["aic"] == pytest.approx(row["deviance"] + 2 * 12)
        assert row["bic"] == pytest.approx(row["deviance"] + 12 * math.log(200))
        assert row["rows"] == 200
        assert row["patients"] == 50


class TestCrossCheck:
    @pytest.mark.parametrize("random", ["intercept", "slope", "uncorrelated"])
    def test_statsmodels_agrees(self, study_frame: pd.DataFrame, fit: Fit, random: str) -> None:
        result = fit(study_frame, shape="linear", random=random)
        table = result.cross_check().set_index("term")
        terms = table.drop(index="deviance")
        np.testing.assert_allclose(terms["estimate"], result.params)
        np.testing.assert_allclose(terms["estimate_other"], terms["estimate"], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(terms["std_error_other"], terms["std_error"], rtol=1e-3)
        assert abs(table.loc["deviance", "difference"]) < 1e-3
        np.testing.assert_allclose(table["difference"], table["estimate"] - table["estimate_other"])

    def test_ml_too(self, study_frame: pd.DataFrame, fit: Fit) -> None:
        table = fit(study_frame, shape="linear", method="ml").cross_check().set_index("term")
        assert abs(table.loc["deviance", "difference"]) < 1e-3

    def test_it_refuses_several_groups_with_a_reason(self, study_frame: pd.DataFrame) -> None:
        formula = "score ~ month + (1 | patient) + (1 | age)"
        result = ist.fit_mixed(study_frame, formula=formula)
        with pytest.raises(DataError, match="takes one grouping factor; this model has several"):
            result.cross_check()


class TestKeeping:
    def test_pickled_it_answers_the_same(self, by_visit: Any, study_frame: pd.DataFrame) -> None:
        again = pickle.loads(pickle.dumps(by_visit))
        pd.testing.assert_frame_equal(again.tidy(df="kenward-roger"), by_visit.tidy(df="kenward-roger"))
        pd.testing.assert_frame_equal(again.effect_sizes().tidy(), by_visit.effect_sizes().tidy())
        pd.testing.assert_frame_equal(again.predict(study_frame), by_visit.predict(study_frame))
        assert again.header() == by_visit.header()

    @pytest.mark.parametrize("shape", ["log", ist.Piecewise([6]), ist.NaturalSpline(2)], ids=["log", "bent", "spline"])
    def test_pickled_with_its_shape_and_covariates(self, study_frame: pd.DataFrame, fit: Fit, shape: Any) -> None:
        result = fit(study_frame, shape=shape, adjust="bs(age, df=4) + sex", random="intercept")
        again = pickle.loads(pickle.dumps(result))
        pd.testing.assert_frame_equal(again.predict(study_frame), result.predict(study_frame))
        pd.testing.assert_frame_equal(again.means(at=[3, 18]).tidy(), result.means(at=[3, 18]).tidy())

    @pytest.mark.parametrize("ask", ["means", "contrasts", "effect_sizes", "retained_improvement"])
    def test_every_answer_goes_through_json(self, by_visit: Any, ask: str) -> None:
        made = getattr(by_visit, ask)()
        record = json.loads(json.dumps(made.to_dict(), allow_nan=False))
        pd.testing.assert_frame_equal(read_tables(record)["tidy"], made.tidy(), check_exact=True)

    @pytest.mark.parametrize("cohorts", [(1, 2), (False, True), (1.5, 2.5)], ids=["int", "bool", "float"])
    def test_cohorts_that_are_no_text_go_through_json(self, make: Make, fit: Fit, cohorts: tuple[Any, Any]) -> None:
        made = fit(make(cohorts), reference=cohorts[0]).contrasts()
        record = json.loads(json.dumps(made.to_dict(), allow_nan=False))
        assert read_tables(record)["tidy"]["cohort"].tolist() == made.tidy()["cohort"].tolist()
