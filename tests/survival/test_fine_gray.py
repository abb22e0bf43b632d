"""Fine & Gray's model as users call it: tables, words, predictions, what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats.errors import ConvergenceError, DataError
from implstats.survival.competing import cumulative_incidence
from implstats.survival.fine_gray import FineGrayResult, fit_fine_gray

ROLES = {"duration": "quarter", "event": "status", "censored": "running", "cause": "stopped"}
TERMS = "era + support"


@pytest.fixture(scope="module")
def quarters() -> pd.DataFrame:
    """Return 180 simulated programmes; copy before changing."""
    return pd.read_csv(Path(__file__).resolve().parents[1] / "reference" / "data" / "quarters.csv")


@pytest.fixture(scope="module")
def fitted(quarters: pd.DataFrame) -> FineGrayResult:
    return fit_fine_gray(quarters, **ROLES, terms=TERMS)


def test_one_row_a_term_with_its_reference_level(fitted: FineGrayResult) -> None:
    table = fitted.tidy()
    assert table["term"].tolist() == ["era[before]", "era[during]", "support"]
    assert table["reference"].tolist() == ["after", "after", ""]
    assert table["estimate"].tolist() == fitted.params.tolist()
    assert table["std_error"].tolist() == np.sqrt(np.diag(fitted.vcov)).tolist()
    middle = (table["conf_low"] + table["conf_high"]) / 2
    assert middle.to_numpy() == pytest.approx(table["estimate"].to_numpy())


def test_ratios_keep_the_tests_of_their_logarithms(fitted: FineGrayResult) -> None:
    logs, ratios = fitted.tidy(level=0.9), fitted.tidy(level=0.9, hazard_ratio=True)
    for column in ("estimate", "conf_low", "conf_high"):
        assert ratios[column].to_numpy() == pytest.approx(np.exp(logs[column].to_numpy()))
    assert ratios["std_error"].to_numpy() == pytest.approx((ratios["estimate"] * logs["std_error"]).to_numpy())
    assert ratios[["statistic", "p_value"]].equals(logs[["statistic", "p_value"]])


def test_another_reference_level_turns_the_sign(quarters: pd.DataFrame, fitted: FineGrayResult) -> None:
    other = fit_fine_gray(quarters, **ROLES, terms=TERMS, reference={"era": "during"})
    assert other.tidy()["reference"].tolist() == ["during", "during", ""]
    assert other.params["era[after]"] == pytest.approx(-fitted.params["era[during]"], rel=1e-9)
    assert other.loglik == pytest.approx(fitted.loglik, rel=1e-12)


def test_glance_counts_what_ended_rows(quarters: pd.DataFrame, fitted: FineGrayResult) -> None:
    row = fitted.glance().iloc[0]
    counts = quarters["status"].value_counts()
    assert row["events"] == counts["stopped"]
    assert row["competing"] == counts["merged"] + counts["moved"]
    assert row["censored"] == counts["running"]
    assert row["events_per_parameter"] == 27
    beta, vcov = fitted.params.to_numpy(), fitted.vcov.to_numpy()
    assert row["wald"] == pytest.approx(beta @ np.linalg.solve(vcov, beta))
    assert fitted.tests()["df"].tolist() == [3]
    assert row["loglik"] > row["loglik_null"]


def test_augment_keeps_the_callers_index(quarters: pd.DataFrame) -> None:
    frame = quarters.set_index(quarters.index * 2 + 5)
    result = fit_fine_gray(frame, **ROLES, terms=TERMS)
    table = result.augment()
    assert table.index.equals(frame.index)
    difference = table["log_hazard"] - result.spells.X @ result.params.to_numpy()
    assert difference.to_numpy() == pytest.approx(np.full(len(frame), difference.iloc[0]))
    assert table["log_hazard"].mean() == pytest.approx(0, abs=1e-12)


def test_predictions_of_a_profile(fitted: FineGrayResult) -> None:
    table = fitted.incidence_at({"era": "during", "support": 3.0}, [0, 4, 8, 16])
    assert table.columns.tolist()[:4] == ["era", "support", "time", "estimate"]
    assert table["estimate"][0] == 0
    assert table["estimate"].is_monotonic_increasing
    assert table.iloc[0][["conf_low", "conf_high"]].isna().all()
    inner = table.iloc[1:4]
    assert ((inner["conf_low"] < inner["estimate"]) & (inner["estimate"] < inner["conf_high"])).all()
    scale = inner[["conf_low", "estimate", "conf_high"]].map(lambda p: np.log(-np.log1p(-p)))
    assert (scale["estimate"] - scale["conf_low"]).to_numpy() == pytest.approx(
        (scale["conf_high"] - scale["estimate"]).to_numpy()
    )
    baseline = fitted.baseline().set_index("time")["estimate"]
    ratio = fitted.predict(pd.DataFrame({"era": ["during"], "support": [3.0]}), hazard_ratio=True)["estimate"][0]
    assert table["estimate"][2] == pytest.approx(1 - np.exp(-ratio * baseline[8]), rel=1e-10)
    with pytest.raises(DataError, match="times=17: beyond the last time, 16"):
        fitted.incidence_at({"era": "during", "support": 3.0}, [4, 17])
    with pytest.raises(DataError, match="profile='support': several values"):
        fitted.incidence_at({"era": "during", "support": [3.0, 5.0]}, 4)


def test_predicted_ratios_are_against_the_mean_of_every_column(fitted: FineGrayResult) -> None:
    rows = fitted.predict()
    assert rows["estimate"].tolist() == fitted.augment()["log_hazard"].tolist()
    pair = fitted.predict(pd.DataFrame({"era": ["after", "after"], "support": [3.0, 4.0]}))
    assert pair["estimate"][1] - pair["estimate"][0] == pytest.approx(fitted.params["support"])
    x = fitted.spells.X[0] - fitted.spells.X.mean(axis=0)
    assert rows["std_error"][0] == pytest.approx(np.sqrt(x @ fitted.vcov.to_numpy() @ x))
    ratios = fitted.predict(hazard_ratio=True, level=0.8)
    assert np.log(ratios["conf_high"] / ratios["estimate"]).to_numpy() == pytest.approx(
        np.log(ratios["estimate"] / ratios["conf_low"]).to_numpy()
    )


def test_several_profiles_are_told_apart(fitted: FineGrayResult) -> None:
    profiles = pd.DataFrame(
        {"era": ["before", "during"], "support": [3.0, 5.0]},
    )
    table = fitted.incidence_at(profiles, [4, 8])
    assert table["era"].tolist() == ["before", "before", "during", "during"]
    assert table["time"].tolist() == [4, 8, 4, 8]
    alone = fitted.incidence_at(profiles.iloc[1:], [4, 8])
    assert alone["conf_high"].tolist() == table["conf_high"].tolist()[2:]


def test_a_model_of_groups_predicts_near_their_incidence(quarters: pd.DataFrame) -> None:
    # A two-group model is almost saturated, and its intervals are about as wide as those without a model.
    result = fit_fine_gray(quarters, **ROLES, terms=["region"])
    free = cumulative_incidence(quarters, duration="quarter", event="status", censored="running", by="region").at(8)
    for region in ("north", "south"):
        model = result.incidence_at({"region": region}, 8).iloc[0]
        row = free[(free["group"] == region) & (free["cause"] == "stopped")].iloc[0]
        assert model["estimate"] == pytest.approx(row["estimate"], abs=row["std_error"])
        assert model["std_error"] == pytest.approx(row["std_error"], rel=0.25)


def test_clusters_change_standard_errors_only(quarters: pd.DataFrame, fitted: FineGrayResult) -> None:
    clustered = fit_fine_gray(quarters, **ROLES, terms=TERMS, cluster="provider")
    assert clustered.params.equals(fitted.params)
    moved = pd.DataFrame(fitted.fit.moved).groupby(quarters["provider"].to_numpy()).sum().to_numpy()
    assert clustered.vcov.to_numpy() == pytest.approx(moved.T @ moved, rel=1e-12)
    profile = {"era": "during", "support": 3.0}
    pairs = (r.incidence_at(profile, 8).iloc[0] for r in (clustered, fitted))
    mine, alone = pairs
    assert mine["estimate"] == alone["estimate"]
    assert mine["std_error"] != alone["std_error"]
    lines = " ".join(clustered.header())
    assert "from 24 clusters (provider); with 50 or fewer they come out too small" in lines


def test_fewer_clusters_than_terms_carry_fewer_df(quarters: pd.DataFrame) -> None:
    # Scores add up to 0 over three clusters, so that their sandwich knows two directions.
    three = quarters.assign(region=np.arange(len(quarters)) % 3, size=np.arange(len(quarters)) % 7)
    model = fit_fine_gray(three, **ROLES, terms=["era", "support", "size"], cluster="region")
    assert np.linalg.matrix_rank(model.vcov.to_numpy(), tol=1e-12) == 2
    assert model.tests()["df"].tolist() == [2.0]


@pytest.mark.parametrize("unit", [1e8, 1e-8])
def test_units_of_terms_leave_walds_test(quarters: pd.DataFrame, fitted: FineGrayResult, unit: float) -> None:
    moved = fit_fine_gray(quarters.assign(support=quarters["support"] * unit), **ROLES, terms=TERMS)
    assert moved.params["support"] * unit == pytest.approx(fitted.params["support"], rel=1e-6)
    assert moved.tests()["statistic"][0] == pytest.approx(fitted.tests()["statistic"][0], rel=1e-6)


def test_the_header_counts_and_says_what_the_ratio_is_for(fitted: FineGrayResult) -> None:
    lines = fitted.header()
    assert lines[0] == "Fine-Gray model: subdistribution hazard of stopped (status) over quarter"
    assert lines[1] == "81 stopped, 38 other causes (merged and moved), 61 censored; 27 events per parameter (3 in all)"
    assert any("prognosis" in line and "aetiology" in line for line in lines)
    assert lines[-1].startswith("converged in ")


def test_few_events_are_said(quarters: pd.DataFrame) -> None:
    result = fit_fine_gray(quarters, **ROLES | {"cause": "moved"}, terms=["support", "training"])
    assert result.header()[1].endswith(
        "6 events per parameter (2 in all): below 10, estimates are biased away from 0 and intervals too narrow"
    )


def test_it_is_saved_and_read_back(fitted: FineGrayResult) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    assert repr(again) == repr(fitted)
    assert not again.fit.moved.flags.writeable
    assert not fitted.fit.sets.Z.flags.writeable


def test_one_cause_alone_is_coxs_model(quarters: pd.DataFrame) -> None:
    frame = quarters.assign(ended=(quarters["status"] != "running").astype(int))
    result = fit_fine_gray(frame, duration="quarter", event="ended", censored=0, cause=1, terms=["support"])
    # Breslow's score, from risk sets that lose whoever had the event.
    x, t, d = (frame[c].to_numpy(dtype=float) for c in ("support", "quarter", "ended"))
    r = np.exp(x * result.params["support"])
    score = sum(x[i] - (r * x)[t >= t[i]].sum() / r[t >= t[i]].sum() for i in np.flatnonzero(d))
    assert score == pytest.approx(0, abs=1e-8)
    assert "0 other causes, " in result.header()[1]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"cause": "stoped"}, "cause='stoped': no cause in status; did you mean 'stopped'?"),
        ({"cause": "running"}, "cause='running': no cause in status; there are 'merged', 'moved', 'stopped'"),
        ({"censored": None}, "censored=None: what stands for no event in 'status' is not named; name that value"),
        ({"terms": None}, "terms=None: no term is named; name a column, or use cumulative_incidence"),
        ({"terms": []}, "terms=[]: no term is named; name a column, or use cumulative_incidence"),
        ({"terms": "1"}, "terms='1': holds no column; name one, or use cumulative_incidence"),
        ({"terms": "era + suport"}, "terms='era + suport': no such column 'suport'"),
        ({"reference": {"era": "never"}}, "reference={'era': 'never'}: no level of 'era'"),
        ({"cluster": "one"}, "cluster='one': one cluster only; leave it out"),
    ],
)
def test_what_is_refused(quarters: pd.DataFrame, more: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as raised:
        fit_fine_gray(quarters.assign(one="here"), **ROLES | {"terms": TERMS} | more)
    assert str(raised.value).startswith(message)


def test_more_terms_than_events_are_refused(quarters: pd.DataFrame) -> None:
    few = quarters[quarters["status"] != "moved"].head(12)
    kept = few["status"].where(few["status"] != "merged", "running").to_numpy()
    kept[np.flatnonzero(kept == "stopped")[1:]] = "running"
    with pytest.raises(DataError, match=r"terms=.*: 2 parameters for 1 events; use fewer terms"):
        fit_fine_gray(few.assign(status=kept), **ROLES, terms=["support", "training"])


def test_terms_that_cannot_be_told_apart_are_named(quarters: pd.DataFrame) -> None:
    frame = quarters.assign(double=2 * quarters["support"], flat=1.0)
    with pytest.raises(DataError, match=r"'double', 'flat': the same for everybody at risk at every event"):
        fit_fine_gray(frame, **ROLES, terms=["support", "double", "flat"])


def test_seven_programmes_of_which_three_stopped_give_no_infinite_ratio() -> None:
    frame = pd.DataFrame(
        {
            "years": [1, 2, 3, 4, 5, 6, 7],
            "status": ["stopped", "stopped", "stopped", "merged", "active", "active", "active"],
            "support": ["low", "low", "low", "high", "low", "high", "high"],
        }
    )
    with pytest.raises(ConvergenceError, match=r"'support\[low\]': no finite estimate; with 3 events"):
        fit_fine_gray(frame, duration="years", event="status", cause="stopped", censored="active", terms=["support"])
