"""Programmes drawn from a scenario: its truth is got back from many of them, and the random source is the caller's."""

import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError
from implstats.simulate import PROGRAMMES, ProgrammeScenario, dropout_spells, simulate_programmes

ERAS = {"early": 80, "late": 60}
ACCRUAL = {"early": ("2001-01-01", "2006-12-31"), "late": ("2008-01-01", "2014-12-31")}
SPELLS = {"duration": "years", "event": "discontinued"}


def scenario(**fields):
    plain = {"programmes": ERAS, "accrual": ACCRUAL, "closing": "2016-12-31", "hazard": [0.04, 0.13, 0.06]}
    return ProgrammeScenario(**plain | fields)


def many(**fields):
    """Return the bundled scenario with 20,000 programmes in 1,000 organisations."""
    return replace(PROGRAMMES, programmes={"early": 10_000, "late": 10_000}, organisations=1_000, **fields)


def rate(events, exposure, true):
    """Compare events per year at risk with the true rate, within four standard errors."""
    assert abs(events / exposure - true) < 4 * true / np.sqrt(events)


def test_truth_is_what_was_stated():
    made = scenario(log_hazard_ratios={"era": {"late": np.log(0.5)}, "country": {"C": 0.1}, "support": -0.2})
    assert made.truth().to_dict("list") == {
        "term": ["era[late]", "country[B]", "country[C]", "support"],
        "log_hazard_ratio": [np.log(0.5), 0.0, 0.1, -0.2],
        "hazard_ratio": pytest.approx([0.5, 1.0, np.exp(0.1), np.exp(-0.2)]),
    }
    base = made.baseline([0, 0.5, 1, 2.5, 10])
    assert base["hazard"].tolist() == [0.04, 0.04, 0.04, 0.06, 0.06]
    cumulative = [0.0, 0.02, 0.04, 0.04 + 0.13 + 0.03, 0.04 + 0.13 + 8 * 0.06]
    np.testing.assert_allclose(-np.log(base["survival"]), cumulative, rtol=1e-12)


def test_cox_with_frailty_gets_the_truth_back():
    made = many()
    spells = simulate_programmes(made, rng=1)
    cox = ist.fit_cox(spells, **SPELLS, terms=list(made.log_hazard_ratios), frailty="organisation")
    table = cox.tidy().set_index("term")
    true = made.truth().set_index("term")["log_hazard_ratio"]
    assert set(table.index) == set(true.index)
    far = (table["estimate"] - true[table.index]) / table["std_error"]
    assert far.abs().max() < 3.5
    assert np.sum(far**2) < 31.3  # the 99.9 % point of chi-square with 11 degrees of freedom
    assert cox.glance()["theta"].item() == pytest.approx(made.frailty_variance, abs=0.06)


def test_without_frailty_cluster_errors_and_curves_hold_the_truth():
    made = many(frailty_variance=0.0, log_hazard_ratios={"era": {"late": -0.3}, "leadership": -0.25}, merging=0.0)
    spells = simulate_programmes(made, rng=2)
    cox = ist.fit_cox(spells, **SPELLS, terms="era + leadership", cluster="organisation").tidy().set_index("term")
    true = made.truth().set_index("term")["log_hazard_ratio"]
    assert ((cox["estimate"] - true[cox.index]) / cox["std_error"]).abs().max() < 3.5
    reference = spells[(spells["era"] == "early") & (spells["leadership"] == 4)]
    curve = ist.survival_curves(reference, **SPELLS).at(range(1, 11))
    gap = curve["estimate"].to_numpy() - made.baseline(range(1, 11))["survival"].to_numpy()
    assert (np.abs(gap) < 4 * curve["std_error"]).all()


def test_every_years_hazard_and_mergers():
    made = many(frailty_variance=0.0, log_hazard_ratios={})
    spells = simulate_programmes(made, rng=3)
    years = spells["years"].to_numpy()
    for k, true in enumerate(made.hazard[:-1]):
        ended = (years > k) & (years <= k + 1) & (spells["status"] == "stopped")
        rate(ended.sum(), np.clip(years - k, 0, 1).sum(), true)
    late = years > len(made.hazard) - 1
    exposure = (years[late] - len(made.hazard) + 1).sum()
    rate((late & (spells["status"] == "stopped")).sum(), exposure, made.hazard[-1])
    rate((spells["status"] == "merged").sum(), years.sum(), made.merging)


def test_restarts_come_at_their_rate_and_begin_anew():
    states = simulate_programmes(many(frailty_variance=0.0, log_hazard_ratios={}), rng=4, rows="states")
    length = states["stop"] - states["start"]
    off = states["state"] == "stopped"
    rate((states.loc[off, "next_state"] == "restarted").sum(), length[off].sum(), PROGRAMMES.restart)
    again = (states["state"] == "restarted").to_numpy()
    for k in (0, 1, 2):
        ended = again & (length > k) & (length <= k + 1) & (states["next_state"] == "stopped")
        rate(ended.sum(), np.clip(length[again] - k, 0, 1).sum(), PROGRAMMES.hazard[k])
    assert (states.groupby("programme").size() > 4).any()


def test_scores_are_binomial_and_alike_within_organisations():
    programmes = simulate_programmes(many(score_correlation=0.6), rng=5)
    share = programmes["support"].value_counts(normalize=True).sort_index()
    np.testing.assert_allclose(share, np.array([1, 6, 15, 20, 15, 6, 1]) / 64, atol=0.02)
    between = programmes.groupby("organisation")["support"].mean().var() / programmes["support"].var()
    assert between == pytest.approx(0.6 + 0.4 / 20, abs=0.05)
    alone = simulate_programmes(many(score_correlation=0.0), rng=5)
    assert alone.groupby("organisation")["support"].mean().var() / 1.5 == pytest.approx(1 / 20, abs=0.01)
    assert abs(programmes["support"].corr(programmes["leadership"])) < 0.05


def test_both_tables_are_of_the_same_draw():
    programmes = simulate_programmes(PROGRAMMES, rng=6)
    states = simulate_programmes(PROGRAMMES, rng=6, rows="states")
    first = states[states["state"] == "active"].reset_index(drop=True)
    assert (first["stop"] == programmes["years"]).all()
    assert (first["organisation"] == programmes["organisation"]).all()
    never = states[states["state"] == "never started"]
    assert never["era"].value_counts().to_dict() == {"late": 5, "early": 3}
    assert set(never["programme"]) == set(range(151, 159))


def test_who_never_starts_is_counted_by_spells_from_dates():
    states = simulate_programmes(PROGRAMMES, rng=6, rows="states")
    day = pd.Timestamp("2000-01-01") + pd.to_timedelta((states["start"] * 365.25).round(), unit="D")
    end = pd.Timestamp("2000-01-01") + pd.to_timedelta((states["stop"] * 365.25).round(), unit="D")
    dated = states.assign(begun=day, ended=end)[states["state"].isin(["active", "never started"])]
    spells = ist.spells_from_dates(dated, start="begun", end="ended", study_end="2030-01-01", unit="years")
    assert len(spells) == 150
    assert spells.attrs["implstats"]["spells"]["never started"] == 8


def test_random_source():
    again = simulate_programmes(PROGRAMMES, rng=np.random.default_rng(8))
    pd.testing.assert_frame_equal(simulate_programmes(PROGRAMMES, rng=8), again)
    assert simulate_programmes(PROGRAMMES, rng=8).to_csv() == again.to_csv()
    assert not simulate_programmes(PROGRAMMES).equals(simulate_programmes(PROGRAMMES))
    source = np.random.default_rng(8)
    assert not simulate_programmes(PROGRAMMES, rng=source).equals(simulate_programmes(PROGRAMMES, rng=source))


def test_what_scenarios_share_stays_the_same_under_a_seed():
    first = simulate_programmes(PROGRAMMES, rng=9)
    other = replace(PROGRAMMES, log_hazard_ratios={}, frailty_variance=1.0, merging=0.0, restart=0.0)
    fixed = ["programme", "country", "organisation", "era", "training", "started", "leadership", "barrier_context"]
    second = simulate_programmes(other, rng=9)
    pd.testing.assert_frame_equal(first[fixed], second[fixed])
    assert not first["years"].equals(second["years"])
    states = simulate_programmes(other, rng=9, rows="states")
    assert set(states["state"]) == {"active", "stopped", "never started"}


def test_extremes_are_drawn_too():
    strong = many(frailty_variance=500.0, merging=0.0)
    spells = simulate_programmes(strong, rng=10)
    assert (spells.groupby("organisation")["discontinued"].max() == 0).mean() > 0.9
    assert (spells["years"] > 0).all()
    brief = {"programmes": {"early": 1}, "accrual": {"early": ("2016-12-27", "2016-12-27")}, "organisations": 1}
    sudden = simulate_programmes(scenario(**brief, hazard=[1e6], restart=1e6), rng=11, rows="states")
    assert sudden["state"].tolist() == ["active", "stopped", "restarted", "stopped"]
    assert (sudden["stop"] - sudden["start"]).to_numpy() == pytest.approx(1 / 365.25)


def test_scenario_is_a_value():
    assert pickle.loads(pickle.dumps(PROGRAMMES)) == PROGRAMMES
    with pytest.raises(AttributeError):
        PROGRAMMES.merging = 0.5
    ratios = {"era": {"late": -0.3}}
    made = scenario(log_hazard_ratios=ratios)
    ratios["era"]["late"] = 9.0
    assert made.log_hazard_ratios["era"]["late"] == -0.3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: scenario(programmes=30),
            "programmes=30: not a number per era; write programmes={'early': 80, 'late': 60}",
        ),
        (
            lambda: scenario(programmes={"early": 0, "late": 2}, organisations=0, merging=-1),
            "programmes['early']=0: less than 1\norganisations=0: less than 1\nmerging=-1: less than 0",
        ),
        (
            lambda: scenario(never_started={"lat": 3}),
            "never_started: no such era as 'lat'; did you mean 'late'?",
        ),
        (lambda: scenario(never_started=3), "never_started=3: not a number per era; write never_started={'late': 4}"),
        (lambda: scenario(countries="A"), "countries='A': not a list of different words"),
        (lambda: scenario(training=["x", "x"]), "training=['x', 'x']: not a list of different words"),
        (lambda: scenario(closing="today"), "closing='today': not a day; write closing='2016-12-31'"),
        (lambda: scenario(accrual={"early": 1}), "accrual={'early': 1}: not a pair of dates for every era"),
        (
            lambda: scenario(closing="2014-12-31"),
            "accrual['late']=('2008-01-01', '2014-12-31'): goes on to the closing day, '2014-12-31'; end it before",
        ),
        (
            lambda: scenario(accrual=ACCRUAL | {"late": ("2008-01-01", "2007-01-01")}),
            "accrual['late']=('2008-01-01', '2007-01-01'): not a first and a last day; "
            "write ('2004-01-01', '2006-12-31')",
        ),
        (lambda: scenario(hazard=0.1), "hazard=0.1: not a hazard per year; write hazard=[0.04, 0.13, 0.06]"),
        (
            lambda: scenario(hazard=[0.1, 0, np.inf], score_correlation=1),
            "hazard[1]=0: not above 0\nhazard[2]=inf: not a finite number\nscore_correlation=1: not below 1",
        ),
        (
            lambda: scenario(log_hazard_ratios=3),
            "log_hazard_ratios=3: not a mapping; write log_hazard_ratios={'era': {'late': -0.3}, 'leadership': -0.25}",
        ),
        (
            lambda: scenario(log_hazard_ratios={"leader": -0.2, "support": "x", "era": 0.3}),
            "log_hazard_ratios: no such column as 'leader'; did you mean 'leadership'?\n"
            "log_hazard_ratios['support']='x': not a number\n"
            "log_hazard_ratios['era']=0.3: not a log hazard ratio per level",
        ),
        (
            lambda: scenario(log_hazard_ratios={"era": {"early": 0.1, "later": 0.2}}),
            "log_hazard_ratios['era']: no such level as 'later'; did you mean 'late'?\n"
            "log_hazard_ratios['era']['early']=0.1: that of the reference is 0; leave it out",
        ),
        (
            lambda: simulate_programmes({}, rng=1),
            "scenario: a dict is not a ProgrammeScenario; make one with ProgrammeScenario(...)",
        ),
        (
            lambda: simulate_programmes(PROGRAMMES, rng=1, rows="state"),
            "rows='state': unknown option; did you mean 'states'?",
        ),
        (
            lambda: simulate_programmes(PROGRAMMES, rng=-1),
            "rng=-1: neither a whole number of 0 or more nor a numpy Generator; rng=1 gives the same draws every time",
        ),
        (
            lambda: dropout_spells(pd.DataFrame({"patient": [1], "months": [0], "admitted": [0], "ended": [1]})),
            "month='month': no such column; did you mean 'months'?",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, message):
    with pytest.raises(DataError) as error:
        make()
    assert str(error.value) == message
