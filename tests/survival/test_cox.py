"""fit_cox as a user meets it: tables, words, small data, and lifelines beside it."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats.errors import BoundaryWarning, ConvergenceError, DataError
from implstats.survival.cox import fit_cox

# Tables --------------------------------------------------------------------------------------------------------------


def test_the_table_names_the_reference_level(cox: Any) -> None:
    table = cox.fit(terms="era * support + kind + C(copies)").tidy()
    assert dict(zip(table["term"], table["reference"], strict=True)) == {
        "era[during]": "before",
        "support": "",
        "kind[inpatient]": "day",
        "kind[outpatient]": "day",
        "C(copies)[2]": 1,
        "era[during]:support": "",
    }


def test_a_reference_level_can_be_chosen(cox: Any) -> None:
    table = cox.fit(terms=["kind"], reference={"kind": "outpatient"}).tidy()
    assert table["term"].tolist() == ["kind[day]", "kind[inpatient]"]
    assert table["reference"].tolist() == ["outpatient", "outpatient"]


def test_hazard_ratios_are_exponentials(cox: Any) -> None:
    logs, ratios = cox.fit().tidy(level=0.9), cox.fit().tidy(level=0.9, hazard_ratio=True)
    for column in ("estimate", "conf_low", "conf_high"):
        np.testing.assert_allclose(ratios[column], np.exp(logs[column]))
    np.testing.assert_allclose(ratios["std_error"], logs["std_error"] * np.exp(logs["estimate"]))
    assert ratios["p_value"].equals(logs["p_value"])


def test_intervals_follow_the_level(cox: Any) -> None:
    wide, narrow = cox.fit().tidy(level=0.99), cox.fit().tidy(level=0.5)
    assert (wide["conf_low"] < narrow["conf_low"]).all()
    half = (narrow["conf_high"] - narrow["conf_low"]) / 2
    np.testing.assert_allclose(half, 0.6744897501960817 * narrow["std_error"])


def test_clusters_give_robust_errors_beside_the_naive_ones(cox: Any) -> None:
    plain, robust = cox.fit(), cox.fit(cluster="organisation")
    assert robust.tidy()["std_error_naive"].equals(plain.tidy()["std_error"].rename("std_error_naive"))
    assert not np.allclose(robust.tidy()["std_error"], plain.tidy()["std_error"])
    assert robust.naive_vcov.equals(plain.vcov)
    assert robust.tests()["test"].tolist() == ["likelihood ratio", "Wald", "score", "robust score"]


def test_glance_counts(cox: Any) -> None:
    row = cox.fit().glance().iloc[0]
    assert (row["rows"], row["events"], row["parameters"]) == (240, cox.frame["stopped"].sum(), 2)
    assert row["events_per_parameter"] == row["events"] / 2
    assert row["aic"] == pytest.approx(4 - 2 * row["loglik"])
    assert row["likelihood_ratio"] == pytest.approx(2 * (row["loglik"] - row["loglik_null"]))
    assert 0.5 < row["concordance"] < 1


def test_augment_has_the_callers_index_and_roles(cox: Any) -> None:
    frame = cox.frame.set_index("programme")
    frame.loc["p003", "support"] = np.nan
    table = cox.fit(frame).augment()
    assert table.index.tolist() == [p for p in frame.index if p != "p003"]
    assert {"years", "stopped", "era", "support", "log_hazard", "martingale", "deviance"} <= set(table.columns)
    assert table["log_hazard"].mean() == pytest.approx(0, abs=1e-12)
    assert table["martingale"].sum() == pytest.approx(0, abs=1e-10)


def test_schoenfeld_residuals_carry_their_row_and_time(cox: Any) -> None:
    frame = cox.frame.set_index("programme")
    table = cox.fit(frame).residuals("schoenfeld")
    assert len(table) == frame["stopped"].sum()
    assert table["time"].equals(frame.loc[table.index, "years"].rename("time"))
    assert table[["era[during]", "support"]].sum().abs().max() < 1e-10


def test_dfbeta_is_near_what_leaving_out_does(cox: Any) -> None:
    frame = cox.frame
    result = cox.fit(frame)
    change = result.residuals("dfbeta")
    scaled = result.residuals("dfbetas")
    for row in (0, 50, 120):
        left = result.params - cox.fit(frame.drop(index=row)).params
        np.testing.assert_allclose(change.loc[row], left, atol=0.1 * result.tidy()["std_error"].max() / 10)
    np.testing.assert_allclose(scaled, change / result.tidy()["std_error"].to_numpy())


def test_predictions_are_against_the_mean(cox: Any) -> None:
    result = cox.fit()
    new = pd.DataFrame({"era": ["before", "during"], "support": [4.0, 4.0]})
    table = result.predict(new)
    assert table["estimate"][1] - table["estimate"][0] == pytest.approx(result.params["era[during]"])
    ratio = result.predict(new, hazard_ratio=True)
    np.testing.assert_allclose(ratio["estimate"], np.exp(table["estimate"]))
    np.testing.assert_allclose(result.predict()["estimate"], result.augment()["log_hazard"], atol=1e-12)


def test_survival_of_profiles_in_strata(cox: Any) -> None:
    result = cox.fit(strata="country")
    profile = pd.DataFrame({"era": ["before", "during"], "support": [4.0, 4.0]})
    every = result.survival_at(profile, [1, 3])
    assert every["stratum"].tolist() == ["DE", "DE", "NL", "NL", "UK", "UK"] * 2
    one = result.survival_at(profile.assign(country="NL"), [1, 3])
    np.testing.assert_allclose(one["estimate"], every.loc[every["stratum"] == "NL", "estimate"])
    assert (every["conf_low"] <= every["estimate"]).all()
    assert (every["conf_high"] <= 1).all()


def test_baseline_is_survival_at_the_mean(cox: Any) -> None:
    result = cox.fit(terms=["support"])
    base = result.baseline()
    times = base["time"].tolist()
    curve = result.survival_at(pd.DataFrame({"support": [cox.frame["support"].mean()]}), times)
    np.testing.assert_allclose(np.exp(-base["estimate"]), curve["estimate"], rtol=1e-12)
    np.testing.assert_allclose(base["std_error"] * curve["estimate"], curve["std_error"], rtol=1e-9)


def test_before_the_first_event_nobody_has_had_it(cox: Any) -> None:
    row = cox.fit().survival_at(pd.DataFrame({"era": ["before"], "support": [4.0]}), 0).iloc[0]
    assert (row["estimate"], row["std_error"], row["conf_low"], row["conf_high"]) == (1, 0, 1, 1)


def test_changes_over_time_are_tested_by_term(cox: Any) -> None:
    result = cox.fit(terms=["kind", "support"]).proportional_hazards("rank")
    table = result.tidy()
    assert table["term"].tolist() == ["kind", "support", "all terms"]
    assert table["df"].tolist() == [2, 1, 3]
    assert (result.statistic, result.df, result.p_value) == tuple(table.iloc[2][["statistic", "df", "p_value"]])
    residuals = result.residuals()
    assert residuals["transformed_time"].mean() == pytest.approx(0, abs=1e-9)
    assert list(residuals.columns[2:]) == ["kind[inpatient]", "kind[outpatient]", "support"]
    assert "a large one says that these events do not show any" in " ".join(result.header())


def test_a_cause_is_an_event_and_the_others_are_censoring(cox: Any) -> None:
    frame = cox.frame
    by_cause = cox.fit(frame, event="status", censored="active", cause="merged")
    by_hand = cox.fit(frame.assign(merged=(frame["status"] == "merged").astype(int)), event="merged")
    assert by_cause.params.equals(by_hand.params)
    assert by_cause.header()[0] == "Cox model: hazard of merged (status) over years (Efron's ties)"
    others = int((frame["status"] == "stopped").sum())
    assert by_cause.header()[2].startswith(
        f"{others} rows that stopped ended are taken for censored: a ratio compares "
    )


def test_e_values_of_a_ratio_above_and_below_one(cox: Any) -> None:
    table = cox.fit().e_value()
    assert table["term"].tolist() == ["era[during]", "support"]
    assert table["estimate"][0] > 1 > table["estimate"][1]
    assert (table["e_value"] > table["e_value_limit"]).all()
    assert (table["e_value_limit"] >= 1).all()


def test_frailties_are_shrunken_ratios_of_events(cox: Any) -> None:
    result = cox.fit(frailty="organisation")
    table, nu = result.frailties(), 1 / result.theta
    assert len(table) == 40
    np.testing.assert_allclose(table["estimate"], (table["events"] + nu) / (table["expected"] + nu), rtol=1e-8)
    assert table["estimate"].mean() == pytest.approx(1, rel=1e-8)
    assert result.glance()["theta"][0] == result.theta


@pytest.mark.parametrize(
    "options", [{}, {"cluster": "organisation"}, {"frailty": "organisation"}, {"penalty": "firth"}, {"ties": "exact"}]
)
def test_a_result_survives_pickling_and_cannot_be_changed(cox: Any, options: dict[str, Any]) -> None:
    result = cox.fit(**options)
    again = pickle.loads(pickle.dumps(result))
    assert repr(again) == repr(result)
    assert not again.fit.beta.flags.writeable
    assert not again.model.X.flags.writeable
    with pytest.raises(AttributeError):
        result.robust = None


# Words ---------------------------------------------------------------------------------------------------------------


def test_the_header_says_what_was_done(cox: Any) -> None:
    lines = cox.fit(strata="country", cluster="organisation", entry="since").header()
    events = cox.frame["stopped"].sum()
    assert lines[0] == "Cox model: hazard of stopped over years (Efron's ties)"
    assert lines[1] == f"{events} events in 240 rows; {events / 2:.3g} events per parameter (2 in all)"
    assert (
        lines[2]
        == "standard errors are robust, from 40 clusters (organisation); with 50 or fewer they come out too small"
    )
    assert lines[3] == "a baseline hazard for each of 3 strata (country)"
    assert lines[4] == "rows are at risk from their entry on: the model holds for those who get that far"
    assert lines[-1] == "converged in 4 steps"


def test_few_events_and_few_clusters_are_said(cox: Any) -> None:
    frame = cox.frame.iloc[:24]
    lines = cox.fit(frame, cluster="country").header()
    assert frame["stopped"].sum() == 15
    assert lines[1] == (
        "15 events in 24 rows; 7.5 events per parameter (2 in all): below 10, estimates are biased away "
        "from 0; penalty='firth' lessens that"
    )
    assert lines[2] == (
        "standard errors are robust, from 3 clusters (country); with 50 or fewer they come out too small"
    )


def test_a_stratum_without_events_is_named(cox: Any) -> None:
    frame = cox.frame
    frame.loc[frame["country"] == "UK", "stopped"] = 0
    line = cox.fit(frame, strata="country").header()[2]
    assert line == "a baseline hazard for each of 3 strata (country); no event in UK: its rows say nothing of the terms"
    np.testing.assert_allclose(
        cox.fit(frame, strata="country").params,
        cox.fit(frame[frame["country"] != "UK"], strata="country").params,
        rtol=1e-9,
    )


def test_events_with_nobody_else_at_risk_are_counted(cox: Any) -> None:
    frame = pd.DataFrame({"years": [1.0, 2, 3, 4, 5], "stopped": [1, 0, 1, 1, 1], "x": [1.0, 0, 0, 1, 0]})
    assert (
        cox.fit(frame, terms=["x"]).header()[2]
        == "1 of 4 event times with nobody else at risk, which say nothing of the terms"
    )


def test_recurrent_rows_are_named(cox: Any) -> None:
    frame = pd.DataFrame(
        {"who": ["a", "a", "b", "c", "d", "d"], "start": [0, 2, 0, 0, 0, 3], "years": [2, 5, 4, 6, 3, 7.0]}
    ).assign(stopped=[1, 1, 0, 1, 1, 0], x=[0.3, 0.1, 0.5, 0.2, 0.9, 0.4])
    lines = cox.fit(frame, terms=["x"], entry="start", id="who").header()
    assert "recurrent events: rows of one who are taken as independent; say cluster='who'" in lines
    assert "2 whos at risk again after an event (recurrent events)" in lines
    assert not any(
        "independent" in line for line in cox.fit(frame, terms=["x"], entry="start", id="who", cluster="who").header()
    )


def test_weights_are_named(cox: Any) -> None:
    frame = cox.frame.assign(part=0.5)
    said = "standard errors take them for counts of rows"
    assert cox.fit(weights="copies").header()[2] == f"weights sum to {frame['copies'].sum()}: {said}"
    assert cox.fit(frame, weights="part").header()[2] == f"weights sum to 120: {said}; others need cluster="
    assert cox.fit(frame, weights="part", cluster="country").header()[2] == "weights sum to 120"


def test_late_entry_with_frailty_is_named(cox: Any) -> None:
    said = "late entry: the frailty is taken as gamma distributed among groups as they are at entry"
    assert said in cox.fit(entry="since", frailty="organisation").header()
    assert said not in cox.fit(frailty="organisation").header()


def test_fewer_clusters_than_terms_cost_degrees_of_freedom(cox: Any) -> None:
    tests = cox.fit(terms="kind + era + support", cluster="country").tests().set_index("test")["df"]
    # Three clusters: scores add up to 0 at the optimum, not at 0.
    assert (tests["likelihood ratio"], tests["Wald"], tests["robust score"]) == (4, 2, 3)


def test_penalties_are_named(cox: Any) -> None:
    assert cox.fit(penalty="firth").header()[2].startswith("Firth's penalty: intervals and tests are from the profile")
    assert (
        cox.fit(penalty=2)
        .header()[2]
        .startswith("ridge penalty 2 per standard deviation: estimates are drawn towards 0")
    )


def test_frailty_on_its_boundary_warns_once_where_the_user_is(cox: Any) -> None:
    frame = cox.frame.sort_values("years").reset_index(drop=True).assign(pair=np.arange(240) % 8)
    with pytest.warns(BoundaryWarning, match="^frailty='pair': its variance is 0$") as caught:
        result = fit_cox(frame, duration="years", event="stopped", terms=["support"], frailty="pair")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    assert result.theta == 0
    assert "gamma frailty of pair (8 groups): variance 0, on its boundary" in " ".join(result.header())
    plain = cox.fit(frame, terms=["support"])
    assert result.params.equals(plain.params)
    assert result.loglik == plain.loglik
    assert result.tests()["p_value"][0] == 1
    assert len(result.survival_at(pd.DataFrame({"support": [4.0]}), 1)) == 1


# Small data ----------------------------------------------------------------------------------------------------------

SEVEN = pd.DataFrame({"years": [1.0, 2, 3, 4, 5, 6, 7], "stopped": [1, 1, 0, 1, 0, 0, 0], "era": list("ddddbbb")})


def test_seven_programmes_with_three_stopped_have_no_plain_estimate(cox: Any) -> None:
    with pytest.raises(ConvergenceError) as caught:
        cox.fit(SEVEN, terms=["era"])
    assert str(caught.value) == (
        "'era[d]': no finite estimate; with 3 events the likelihood rises for ever, as where one group has all the "
        "events or none; penalty='firth' gives a finite one, or merge categories"
    )
    assert caught.value.record["terms"] == ["era[d]"]
    assert not caught.value.record["converged"]


def test_seven_programmes_with_three_stopped_have_firths_answer(cox: Any) -> None:
    row = cox.fit(SEVEN, terms=["era"], penalty="firth").tidy(hazard_ratio=True).iloc[0]
    assert np.isfinite(row[["estimate", "std_error", "conf_low", "conf_high"]].astype(float)).all()
    assert row["conf_low"] < 1 < row["estimate"] < row["conf_high"]
    assert 0.01 < row["p_value"] < 0.2


def test_more_parameters_than_events_are_refused(cox: Any) -> None:
    frame = SEVEN.assign(a=[1, 3, 2, 5, 4, 6, 2.0], b=[2, 1, 5, 3, 4, 1, 1.0], c=[0, 1, 4, 2, 2, 1, 3.0])
    with pytest.raises(DataError) as caught:
        cox.fit(frame, terms=["era", "a", "b", "c"])
    assert str(caught.value) == (
        "terms=['era', 'a', 'b', 'c']: 4 parameters for 3 events; use fewer terms, or penalty='firth'"
    )


# lifelines -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"strata": "country"}, {"cluster": "organisation"}, {"terms": "era * support + kind"}]
)
def test_lifelines_agrees_where_it_is_right(cox: Any, options: dict[str, Any]) -> None:
    table = cox.fit(**options).cross_check()
    assert table["engine"].unique().tolist() == ["lifelines CoxPHFitter"]
    error = table["std_error"].fillna(1)
    assert (table["difference"].abs() < 1e-6 * error).all()
    assert table["term"].iloc[-1] == "loglik"
    if "cluster" not in options:
        np.testing.assert_allclose(table["std_error"], table["std_error_other"], rtol=1e-5)
