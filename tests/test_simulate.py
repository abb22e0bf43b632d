"""Scenarios hold their truth exactly, draws approach it, and the random source is the caller's."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from implstats.errors import DataError
from implstats.simulate import REORGANISATION, DropOut, OutcomeTruth, Scenario, simulate_visits

D = {"a": {12: 0.5, 24: 1.0}, "b": {24: 0.2}}
BSI = OutcomeTruth(better="lower", mean=2.0, sd=0.5, d=D, residual_sd=0.3)


def scenario(**fields):
    return Scenario(**{"patients": {"a": 30, "b": 20}, "outcomes": {"bsi": BSI}, "visits": (0, 12, 24)} | fields)


def test_truth_is_exact():
    true = scenario().truth(at=[0, 6, 12, 18, 24]).set_index(["cohort", "time"])
    assert true.loc["a", "d"].tolist() == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert true.loc["b", "d"].tolist() == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2])
    assert true.loc["a", "mean"].tolist() == [2.0, 1.875, 1.75, 1.625, 1.5]
    assert (true["sd"] == 0.5).all()


def test_draws_approach_the_truth():
    many = {"before": 60_000, "during": 60_000}
    large = replace(REORGANISATION, patients=many, dropout=None, missed=0.0, therapists=5_000)
    visits = simulate_visits(large, rng=1)
    for outcome, true in large.truth().groupby("outcome"):
        seen = visits.groupby(["cohort", "month"])[outcome].agg(["mean", "std"])
        want = true.set_index(["cohort", "time"])
        np.testing.assert_allclose(seen["mean"], want["mean"], atol=0.008)
        np.testing.assert_allclose(seen["std"], want["sd"], rtol=0.01)
        start = visits[visits["month"] == 0].groupby("cohort")[outcome].mean()
        gain = (seen["mean"] - start.reindex(seen.index, level=0)) * large.outcomes[outcome].sign
        np.testing.assert_allclose(gain / large.outcomes[outcome].sd, want["d"], atol=0.02)


def test_random_parts_have_the_stated_spread():
    truth = OutcomeTruth(
        better="higher", mean=0.0, sd=2.0, d={"a": {24: 0.0}}, residual_sd=0.5, slope_sd=0.05, correlation=0.4,
        therapist_sd=1.0, age=0.05, sex=0.6,
    )  # fmt: skip
    one = Scenario(patients={"a": 100_000}, outcomes={"y": truth}, visits=(0, 12, 24), therapists=2_000)
    visits = simulate_visits(one, rng=3)
    wide = visits.pivot_table(index="patient", columns="month", values="y")
    first = visits[visits["month"] == 0].set_index("patient")
    assert wide[0].std() == pytest.approx(2.0, rel=0.02)
    assert first.groupby("therapist")["y"].mean().std() == pytest.approx(np.sqrt(1 + (4 - 1) / 50), rel=0.05)
    assert (wide[24] - wide[0]).var() == pytest.approx(24**2 * 0.05**2 + 2 * 0.5**2, rel=0.02)
    x = np.column_stack([np.ones(len(first)), first["age"], first["sex"] == "female"])
    assert np.linalg.lstsq(x, first["y"], rcond=None)[0][1:] == pytest.approx([0.05, 0.6], abs=0.05)


def test_outcomes_share_their_random_parts():
    pair = {"bsi": BSI, "sipp": OutcomeTruth(better="higher", mean=2.3, sd=0.4, d=D, residual_sd=0.2)}
    big = {"a": 40_000, "b": 40_000}
    first = simulate_visits(scenario(patients=big, outcomes=pair, correlation=0.6), rng=2).query("month == 0")
    own = np.sqrt((0.5**2 - 0.3**2) * (0.4**2 - 0.2**2)) + 0.3 * 0.2
    assert first["bsi"].corr(first["sipp"]) == pytest.approx(-0.6 * own / (0.5 * 0.4), abs=0.01)


def test_drop_out_hangs_on_the_last_value_seen():
    rule = DropOut({"a": 0.1, "b": 0.3}, per_sd=1.0)
    base = scenario(patients={"a": 50_000, "b": 50_000})
    full = simulate_visits(base, rng=4)
    seen = simulate_visits(replace(base, dropout=rule), rng=4)
    both = full.merge(seen, on=["patient", "month"], how="left", suffixes=("", "_seen"), indicator=True)
    kept = both["_merge"] == "both"
    pd.testing.assert_series_equal(both.loc[kept, "bsi"], both.loc[kept, "bsi_seen"], check_names=False)
    second = both[both["month"] == 12].assign(gone=~kept)
    z = (full.query("month == 0")["bsi"].to_numpy() - 2.0) / 0.5
    for cohort, p in rule.probability.items():
        here = (second["cohort"] == cohort).to_numpy()
        want = 1 / (1 + np.exp(-(np.log(p / (1 - p)) + z[here])))
        assert second["gone"].to_numpy()[here].mean() == pytest.approx(want.mean(), abs=0.006)
    last = seen.groupby("patient")["month"].max()
    assert seen.groupby("patient").size().equals(last.map({0: 1, 12: 2, 24: 3}).rename(None))


def test_missed_visits_stay_as_rows():
    visits = simulate_visits(scenario(patients={"a": 20_000, "b": 20_000}, missed=0.2), rng=5)
    assert len(visits) == 120_000
    share = visits.groupby("month")["bsi"].apply(lambda y: y.isna().mean())
    assert share.tolist() == pytest.approx([0.0, 0.2, 0.2], abs=0.01)


def test_irregular_times_keep_their_order_and_truth():
    visits = simulate_visits(scenario(patients={"a": 20_000, "b": 10}, jitter=3.0), rng=6)
    assert visits["month"].dtype.kind == "f"
    assert (visits.groupby("patient")["month"].diff().dropna() > 0).all()
    assert (visits.groupby("patient")["month"].first() == 0).all()
    a = visits[visits["cohort"] == "a"]
    slope = np.polyfit(a["month"], a["bsi"], 1)[0]
    assert slope == pytest.approx(-0.5 / 24, rel=0.03)


def test_calendar():
    visits = simulate_visits(replace(REORGANISATION, jitter=2.0), rng=7)
    ends = visits.groupby("patient").agg({"cohort": "first", "admitted": "first", "ended": "first", "month": "max"})
    low = ends["cohort"].map({"before": "2004-01-01", "during": "2010-01-01"})
    high = ends["cohort"].map({"before": "2006-12-31", "during": "2012-06-30"})
    assert ends["admitted"].between(pd.to_datetime(low), pd.to_datetime(high)).all()
    assert ((ends["ended"] - ends["admitted"]).dt.days >= np.floor(ends["month"] * 30.4375)).all()
    reason = visits.groupby("patient")["end_reason"].first()
    assert ((visits.groupby("patient").size() == 3) == (reason == "completed")).all()


def test_columns_hang_on_the_scenario():
    assert list(simulate_visits(scenario(), rng=1)) == ["patient", "cohort", "month", "bsi", "age", "sex"]
    assert list(simulate_visits(REORGANISATION, rng=1)) == [
        "patient", "cohort", "admitted", "ended", "end_reason", "therapist", "month", "bsi", "sipp", "age", "sex"
    ]  # fmt: skip


def test_random_source():
    again = simulate_visits(REORGANISATION, rng=np.random.default_rng(8))
    pd.testing.assert_frame_equal(simulate_visits(REORGANISATION, rng=8), again)
    assert not simulate_visits(REORGANISATION).equals(simulate_visits(REORGANISATION))
    source = np.random.default_rng(8)
    assert not simulate_visits(REORGANISATION, rng=source).equals(simulate_visits(REORGANISATION, rng=source))


def test_scenario_is_a_value():
    assert pickle.loads(pickle.dumps(REORGANISATION)) == REORGANISATION
    with pytest.raises(AttributeError):
        REORGANISATION.missed = 0.5
    assert REORGANISATION.reference == "before"


def test_therapists_differ_in_their_cohort_difference():
    truth = replace(BSI, therapist_slope_sd=0.02)
    visits = simulate_visits(
        scenario(patients={"a": 40_000, "b": 40_000}, outcomes={"bsi": truth}, therapists=400), rng=9
    )
    change = visits.pivot_table(index="therapist", columns=["cohort", "month"], values="bsi")
    gap = change["a", 24] - change["a", 0] - change["b", 24] + change["b", 0]
    assert gap.std() == pytest.approx(24 * 0.02 * np.sqrt(2), rel=0.12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: replace(BSI, better="less"), "better='less': unknown option; there are 'lower', 'higher'"),
        (lambda: replace(BSI, sd=0, residual_sd=-1), "sd=0: not above 0\nresidual_sd=-1: less than 0"),
        (lambda: replace(BSI, correlation=2), "correlation=2: not between -1 and 1"),
        (
            lambda: replace(BSI, d={"a": 1}),
            "d={'a': 1}: not improvements per cohort and time; write d={'before': {18: 0.95, 36: 1.2}}",
        ),
        (lambda: replace(BSI, d={"a": {18: np.inf}}), "d['a'][18]=inf: not a finite number"),
        (lambda: DropOut(1.0), "probability=1: not below 1"),
        (lambda: DropOut({"a": -0.1}, per_sd="x"), "per_sd='x': not a number\nprobability['a']=-0.1: less than 0"),
        (lambda: scenario(patients={"a": 0, "b": 2}), "patients['a']=0: less than 1"),
        (
            lambda: scenario(patients=30),
            "patients=30: not a number per cohort; write patients={'before': 70, 'during': 60}",
        ),
        (
            lambda: scenario(visits=(0, 24, 12)),
            "visits=(0, 24, 12): not at least two increasing times; write visits=(0, 18, 36)",
        ),
        (
            lambda: scenario(jitter=6),
            "jitter=6: visits could change places; keep it below half the smallest gap, 6",
        ),
        (
            lambda: scenario(visits=(0, 12, 36)),
            "outcomes['bsi'].d['a']: must be 0 at the first visit and reach the last, 36\n"
            "outcomes['bsi'].d['b']: must be 0 at the first visit and reach the last, 36",
        ),
        (
            lambda: scenario(patients={"a": 3, "c": 3}),
            "outcomes['bsi'].d: nothing for the cohort 'c'; name its improvement\n"
            "outcomes['bsi'].d: no such cohort as 'b'; there are 'a', 'c'",
        ),
        (lambda: scenario(outcomes={"bsi": 3}), "outcomes['bsi']=3: not an OutcomeTruth"),
        (lambda: scenario(outcomes={}), "outcomes={}: not an OutcomeTruth per outcome"),
        (
            lambda: scenario(outcomes={"age": BSI}),
            "outcomes['age']: 'age' is the name of another column; choose another",
        ),
        (
            lambda: scenario(outcomes={"bsi": replace(BSI, therapist_sd=0.1)}),
            "outcomes['bsi']: therapists differ, but therapists=0; give their number",
        ),
        (
            lambda: scenario(outcomes={"bsi": replace(BSI, residual_sd=0.6)}),
            "outcomes['bsi'].sd=0.5: smaller than residual, therapists, age and sex together; raise it or lower them",
        ),
        (
            lambda: scenario(dropout=DropOut(0.1, outcome="bsj")),
            "dropout.outcome='bsj': no such outcome; did you mean 'bsi'?",
        ),
        (lambda: scenario(dropout=0.1), "dropout=0.1: not a DropOut"),
        (
            lambda: scenario(dropout=DropOut({"a": 0.1})),
            "dropout.probability: must name every cohort of patients= and no other; look at 'b'",
        ),
        (lambda: scenario(missed=1, female=2), "female=2: more than 1\nmissed=1: not below 1"),
        (
            lambda: scenario(age=(50, 18)),
            "age=(50, 18): not a youngest and an oldest age in whole years; write age=(18, 55)",
        ),
        (
            lambda: scenario(admission={"a": ("2004-01-01", "2003-01-01"), "b": ("2004-01-01", "2004-01-01")}),
            "admission['a']=('2004-01-01', '2003-01-01'): not a first and a last day; "
            "write ('2004-01-01', '2006-12-31')",
        ),
        (lambda: simulate_visits({}, rng=1), "scenario: a dict is not a Scenario; make one with Scenario(...)"),
        (
            lambda: simulate_visits(scenario(), rng="seed"),
            "rng='seed': neither a whole number of 0 or more nor a numpy Generator; "
            "rng=1 gives the same draws every time",
        ),
        (
            lambda: simulate_visits(scenario(), rng=True),
            "rng=True: neither a whole number of 0 or more nor a numpy Generator; "
            "rng=1 gives the same draws every time",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(DataError) as error:
        make()
    assert str(error.value) == message
