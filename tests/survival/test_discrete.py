"""Hazards in discrete time: by hand, against plain person-period rows, what must not change them, and every refusal."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special

from implstats.errors import ConvergenceError, DataError
from implstats.reading.split import split_spells
from implstats.survival.discrete import DiscreteHazardResult, fit_discrete_hazard

Z = 1.959963984540054
# Ten programmes: in year 1 two of ten stop, in year 2 two of seven, in year 3 none of three, in year 4 one of one.
YEARS = [1, 1, 1, 2, 2, 2, 2, 3, 3, 4]
STOPPED = [1, 1, 0, 1, 1, 0, 0, 0, 0, 1]


def few(**changed: Any) -> pd.DataFrame:
    made = {"year": YEARS, "stopped": STOPPED, "org": list("aabbccddee")}
    return pd.DataFrame(made | changed, index=range(50, 60))


def many(n: int = 240, seed: int = 3) -> pd.DataFrame:
    """Return programmes whose log hazard falls with support and is higher during the reorganisation."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "id": range(n),
            "org": rng.integers(0, 40, n),
            "era": rng.choice(["after", "before", "during"], n),
            "support": rng.integers(1, 8, n),
            "start": rng.integers(0, 3, n),
            "copies": rng.integers(1, 4, n),
        }
    )
    eta = -1.6 - 0.15 * (frame["support"] - 4) + 0.6 * (frame["era"] == "during")
    lasts = np.ceil(rng.exponential(1 / np.exp(eta)))
    study = rng.integers(3, 9, n)
    frame["year"] = frame["start"] + np.minimum(lasts, study)
    frame["stopped"] = (lasts <= study).astype(int)
    return frame


def fit(frame: pd.DataFrame | None = None, **options: Any) -> DiscreteHazardResult:
    given = {"duration": "year", "event": "stopped"} | options
    return fit_discrete_hazard(few() if frame is None else frame, **given)


MANY = many()
# After year 9 nobody stopped: a free baseline has no parameter there.
WITHIN = MANY[MANY["start"] < 9].assign(
    year=MANY["year"].clip(upper=9), stopped=MANY["stopped"].where(MANY["year"] <= 9, 0)
)
DESIGN: dict[str, Any] = {"terms": "era + support", "entry": "start", "reference": {"era": "before"}}


def person_periods(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row a person and period, written out by another function of ours."""
    rows = split_spells(frame, duration="year", event="stopped", entry="start", id="id", at=range(1, 12))
    return rows.assign(t=rows["year"])


# By hand


@pytest.mark.parametrize("link", ["cloglog", "logit"])
def test_without_terms_hazards_are_shares(link: str) -> None:
    found = fit(link=link)
    table = found.hazard().set_index("time")
    np.testing.assert_allclose(table["estimate"], [2 / 10, 2 / 7, 0, 1], rtol=1e-12)
    # The delta method gives back the binomial standard error, sqrt(p (1 - p) / n).
    np.testing.assert_allclose(
        table["std_error"].iloc[:2], [np.sqrt(0.2 * 0.8 / 10), np.sqrt(2 / 7 * 5 / 7 / 7)], rtol=1e-9
    )
    assert table.loc[[3, 4], ["std_error", "conf_low", "conf_high"]].isna().all(axis=None)
    assert found.loglik == pytest.approx(2 * np.log(0.2) + 8 * np.log(0.8) + 2 * np.log(2 / 7) + 5 * np.log(5 / 7))
    assert list(found.params.index) == ["year[1]", "year[2]"]


@pytest.mark.parametrize("link", ["cloglog", "logit"])
def test_without_terms_survival_is_kaplan_meiers_and_its_error_greenwoods(link: str) -> None:
    table = fit(link=link).survival_at(None, [0, 1, 2, 3, 4]).set_index("time")
    np.testing.assert_allclose(table["estimate"], [1, 0.8, 0.8 * 5 / 7, 0.8 * 5 / 7, 0], rtol=1e-12)
    greenwood = np.sqrt(2 / (10 * 8) + 2 / (7 * 5))
    np.testing.assert_allclose(
        table["std_error"].iloc[:4], [0, 0.8 * np.sqrt(2 / 80), *[0.8 * 5 / 7 * greenwood] * 2], rtol=1e-9
    )
    assert np.isnan(table.loc[4, "std_error"])
    # log(-log S) +/- z se(log S) / |log S|
    estimate, reach = 0.8 * 5 / 7, np.exp(Z * greenwood / -np.log(0.8 * 5 / 7))
    assert table.loc[2, "conf_low"] == pytest.approx(estimate**reach)
    assert table.loc[2, "conf_high"] == pytest.approx(estimate ** (1 / reach))
    assert tuple(table.loc[0, ["conf_low", "conf_high"]]) == (1, 1)


def test_two_groups_in_one_period_by_hand() -> None:
    # Six of twenty stop before, twelve of twenty-four during.
    frame = pd.DataFrame({"year": 1, "era": ["before"] * 20 + ["during"] * 24})
    frame["stopped"] = [1] * 6 + [0] * 14 + [1] * 12 + [0] * 12
    logit = fit(frame, terms="era", link="logit").tidy(odds_ratio=True).iloc[0]
    assert logit["estimate"] == pytest.approx((12 / 12) / (6 / 14))
    log_se = np.sqrt(1 / 6 + 1 / 14 + 1 / 12 + 1 / 12)
    assert logit["std_error"] == pytest.approx(logit["estimate"] * log_se)
    assert logit["conf_high"] == pytest.approx(logit["estimate"] * np.exp(Z * log_se))
    cloglog = fit(frame, terms="era").tidy(hazard_ratio=True).iloc[0]
    assert cloglog["estimate"] == pytest.approx(np.log(1 / 2) / np.log(14 / 20))
    assert cloglog["p_value"] == pytest.approx(2 * special.ndtr(-abs(cloglog["statistic"])))


def test_prentice_and_gloecklers_likelihood_has_its_maximum_here() -> None:
    frame = WITHIN.assign(during=WITHIN["era"] == "during")
    last = int(frame["year"].max())

    def minus_loglik(theta: np.ndarray) -> float:
        rise = np.exp(theta[0] * frame["during"] + theta[1] * frame["support"]).to_numpy()
        grown = np.concatenate([[0.0], np.cumsum(np.exp(theta[2:]))])
        ends = grown[frame["year"].astype(int)], grown[frame["year"].astype(int) - 1]
        before = rise * (ends[1] - grown[frame["start"]])
        lasted = rise * (ends[0] - grown[frame["start"]])
        return -float(np.where(frame["stopped"] == 1, np.log(np.exp(-before) - np.exp(-lasted)), -lasted).sum())

    found = fit(frame, terms="during + support", entry="start")
    assert len(found.params) == 2 + last
    assert minus_loglik(found.params.to_numpy()) == pytest.approx(-found.loglik, rel=1e-12)
    best, steps = found.params.to_numpy(), 2e-5 * np.eye(len(found.params))
    slope = [(minus_loglik(best + step) - minus_loglik(best - step)) / 4e-5 for step in steps]
    np.testing.assert_allclose(slope, 0, atol=1e-5)


# Against plain rows


@pytest.mark.parametrize("link", ["cloglog", "logit"])
@pytest.mark.parametrize(("baseline", "options"), [("polynomial", {"degree": 2}), ("spline", {"df": 3}), ("free", {})])
def test_counts_give_what_every_single_row_gives(link: str, baseline: str, options: dict[str, int]) -> None:
    rows = person_periods(MANY)
    counted = fit(MANY, link=link, baseline=baseline, **options, **DESIGN)
    single = fit(rows, link=link, baseline=baseline, id="id", **options, **DESIGN)
    assert counted.sample.rows == len(MANY)
    assert single.sample.rows == len(rows)
    np.testing.assert_allclose(single.params, counted.params, rtol=1e-8)
    np.testing.assert_allclose(single.vcov, counted.vcov, rtol=1e-8)
    assert single.loglik == pytest.approx(counted.loglik, rel=1e-12)


@pytest.mark.parametrize("link", ["cloglog", "logit"])
def test_the_likelihood_and_its_errors_written_out(link: str) -> None:
    rows = person_periods(MANY)
    dummies = [rows["era"] == "after", rows["era"] == "during", rows["support"], np.ones(len(rows)), rows["t"]]
    X = np.column_stack(dummies).astype(float)
    found = fit(MANY, link=link, baseline="polynomial", degree=1, cluster="org", **DESIGN)
    eta = X @ found.params.to_numpy()
    h = special.expit(eta) if link == "logit" else -np.expm1(-np.exp(eta))
    dh = h * (1 - h) if link == "logit" else np.exp(eta - np.exp(eta))
    y = rows["stopped"].to_numpy()
    assert found.loglik == pytest.approx((y * np.log(h) + (1 - y) * np.log(1 - h)).sum(), rel=1e-12)
    score = X * ((y - h) * dh / (h * (1 - h)))[:, None]
    np.testing.assert_allclose(score.sum(axis=0), 0, atol=1e-7)
    bread = np.linalg.inv(X.T @ (X * (dh**2 / (h * (1 - h)))[:, None]))
    by_org = pd.DataFrame(score).groupby(rows["org"].to_numpy()).sum().to_numpy()
    np.testing.assert_allclose(found.vcov, bread @ by_org.T @ by_org @ bread, rtol=1e-7)
    np.testing.assert_allclose(found.tidy()["std_error_naive"], np.sqrt(np.diag(bread)), rtol=1e-7)
    np.testing.assert_allclose(fit(MANY, link=link, baseline="polynomial", degree=1, **DESIGN).vcov, bread, rtol=1e-7)


@pytest.mark.parametrize("baseline", ["free", "polynomial"])
def test_errors_of_hazard_and_survival_are_the_delta_methods(baseline: str) -> None:
    found = fit(WITHIN, baseline=baseline, **DESIGN)
    profile = {"era": "during", "support": 5}
    tables = found.hazard(profile), found.survival_at(profile)

    def moved(step: np.ndarray) -> list[np.ndarray]:
        other = pickle.loads(pickle.dumps(found))
        object.__setattr__(other.fit, "beta", found.fit.beta + step)
        return [t["estimate"].to_numpy() for t in (other.hazard(profile), other.survival_at(profile))]

    steps = np.eye(len(found.params)) * 1e-5
    for k, table in enumerate(tables):
        slopes = np.column_stack([(moved(s)[k] - moved(-s)[k]) / 2e-5 for s in steps])
        se = np.sqrt(np.einsum("tq,qr,tr->t", slopes, found.vcov.to_numpy(), slopes))
        np.testing.assert_allclose(table["std_error"], se, rtol=1e-6)
        assert table["estimate"].between(table["conf_low"], table["conf_high"], inclusive="neither").all()


def test_residuals_sum_to_zero_over_any_group_that_is_a_term() -> None:
    found = fit(MANY, link="logit", **DESIGN).augment()
    assert list(found.columns)[-2:] == ["expected", "martingale"]
    assert list(found.index) == list(MANY.index)
    np.testing.assert_allclose(found["martingale"], MANY["stopped"] - found["expected"])
    np.testing.assert_allclose(found.groupby("era")["martingale"].sum(), 0, atol=1e-8)
    np.testing.assert_allclose((found["martingale"] * MANY["support"]).sum(), 0, atol=1e-7)


def test_what_is_certain_is_expected_in_full() -> None:
    # The last of them: shares 1/5 and 2/7 of the first two years, nothing in the third, and certainly in the fourth.
    expected = fit().augment()["expected"]
    assert expected.iloc[-1] == pytest.approx(2 / 10 + 2 / 7 + 0 + 1)
    assert expected.sum() == pytest.approx(sum(STOPPED))


# What must not change it


def close(a: DiscreteHazardResult, b: DiscreteHazardResult) -> None:
    np.testing.assert_allclose(a.params, b.params, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(a.vcov, b.vcov, rtol=1e-7, atol=1e-10)
    assert a.loglik == pytest.approx(b.loglik, rel=1e-10)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_order_of_rows_and_names_of_clusters_do_not_matter(seed: int) -> None:
    shuffled = MANY.sample(frac=1, random_state=seed)
    shuffled["org"] = (7 * shuffled["org"] + 3).astype(str)
    close(fit(shuffled, cluster="org", **DESIGN), fit(MANY, cluster="org", **DESIGN))


def test_duplicated_rows_are_weights() -> None:
    copies = MANY.loc[MANY.index.repeat(MANY["copies"])]
    close(fit(MANY, weights="copies", cluster="org", **DESIGN), fit(copies, cluster="org", **DESIGN))


def test_weights_that_are_no_whole_numbers_scale_the_likelihood() -> None:
    plain, half = fit(MANY, **DESIGN), fit(MANY.assign(w=0.3), weights="w", **DESIGN)
    np.testing.assert_allclose(half.params, plain.params, rtol=1e-8)
    np.testing.assert_allclose(half.vcov, plain.vcov / 0.3, rtol=1e-8)
    assert half.loglik == pytest.approx(0.3 * plain.loglik)


@pytest.mark.parametrize("baseline", ["polynomial", "spline"])
def test_units_of_terms_and_of_periods_do_not_matter(baseline: str) -> None:
    moved = MANY.assign(support=1e6 * MANY["support"], year=MANY["year"] + 2000, start=MANY["start"] + 2000)
    then, now = fit(MANY, baseline=baseline, **DESIGN), fit(moved, baseline=baseline, **DESIGN)
    assert now.loglik == pytest.approx(then.loglik, rel=1e-9)
    assert now.params["support"] * 1e6 == pytest.approx(then.params["support"], rel=1e-5)
    np.testing.assert_allclose(now.hazard()["estimate"], then.hazard()["estimate"], rtol=1e-5)


def test_the_other_reference_level_turns_the_sign() -> None:
    frame = MANY[MANY["era"] != "after"]
    a, b = (fit(frame, terms="era", entry="start", reference={"era": r}) for r in ("before", "during"))
    assert a.params["era[during]"] == pytest.approx(-b.params["era[before]"])
    assert a.loglik == pytest.approx(b.loglik)


def test_a_saturated_polynomial_is_the_free_baseline() -> None:
    free, curve = fit(WITHIN, **DESIGN), fit(WITHIN, baseline="polynomial", degree=8, **DESIGN)
    np.testing.assert_allclose(free.params[:3], curve.params[:3], rtol=1e-6)
    np.testing.assert_allclose(free.hazard()["estimate"], curve.hazard()["estimate"], rtol=1e-6)


# What it says


def test_profiles() -> None:
    found = fit(MANY, **DESIGN)
    frame = pd.DataFrame({"era": ["before", "during"], "support": [4.0, 4.0]}, index=["x", "y"])
    both = found.hazard(frame, [2, 1])
    assert both[["era", "support", "time"]].to_numpy().tolist() == [
        ["before", 4, 1],
        ["before", 4, 2],
        ["during", 4, 1],
        ["during", 4, 2],
    ]
    one = found.hazard({"era": "during", "support": 4}, [1, 2])
    np.testing.assert_array_equal(one["estimate"], both["estimate"][2:])
    # Proportional: cumulative hazards differ by the hazard ratio.
    total = np.log(found.survival_at(frame, 5)["estimate"])
    assert total[1] / total[0] == pytest.approx(np.exp(found.params["era[during]"]))
    average = found.hazard(None, 1)
    assert list(average) == ["time", "estimate", "std_error", "conf_low", "conf_high"]
    eta = found.params @ [1 / 3, 1 / 3, MANY["support"].mean(), 1, *[0] * (len(found.params) - 4)]
    assert average["estimate"][0] == pytest.approx(-np.expm1(-np.exp(eta)))


def test_intervals_follow_the_level() -> None:
    found = fit(MANY, **DESIGN)
    wide, narrow = found.tidy(level=0.99), found.tidy(level=0.5)
    assert (wide["conf_low"] < narrow["conf_low"]).all()
    assert found.hazard(None, 1, level=0.5)["conf_high"][0] < found.hazard(None, 1)["conf_high"][0]
    assert found.survival_at(None, 1, level=0.5)["conf_low"][0] > found.survival_at(None, 1)["conf_low"][0]


def test_the_table_names_reference_levels() -> None:
    found = fit(MANY, baseline="polynomial", degree=0, **(DESIGN | {"terms": "era * support"})).tidy()
    assert found[["term", "reference"]].to_numpy().tolist() == [
        ["era[after]", "before"],
        ["era[during]", "before"],
        ["support", ""],
        ["era[after]:support", ""],
        ["era[during]:support", ""],
        ["(Intercept)", ""],
    ]
    assert fit(MANY, terms="C(copies)", entry="start", baseline="polynomial").tidy()["reference"].tolist()[:3] == [
        1,
        1,
        "",
    ]


def test_at_risk_and_glance() -> None:
    found = fit()
    assert found.at_risk()[["time", "at_risk", "events"]].to_numpy().tolist() == [
        [1, 10, 2],
        [2, 7, 2],
        [3, 3, 0],
        [4, 1, 1],
    ]
    row = found.glance().iloc[0]
    assert tuple(row[["rows", "events", "censored", "parameters"]]) == (10, 5, 5, 2)
    assert row["aic"] == pytest.approx(4 - 2 * found.loglik)
    late = fit(few(start=[0] * 7 + [2, 2, 3]), entry="start", baseline="polynomial", degree=0)
    assert late.at_risk()["at_risk"].tolist() == [7, 4, 2, 1]


def test_the_header_counts() -> None:
    lines = fit(few(x=[0, 1] * 5), terms="x", cluster="org").header()
    assert lines[0] == "Hazard of stopped per period of year (cloglog, baseline: a parameter for each of 2 periods)"
    assert lines[1] == "exp(estimate) of a term is its hazard ratio"
    assert lines[2] == (
        "5 events, 5 censored; 21 person-periods in 21 counts; 3 parameters, 1.67 events per parameter; below 10, "
        "estimates lean away from 0"
    )
    assert lines[3] == (
        "standard errors are cluster-robust (Lin and Wei's sandwich), 5 clusters; with 50 or fewer they come out too "
        "small"
    )
    assert lines[4].startswith("no event in period 3 of year: the hazard there is 0, without a standard error")
    assert lines[5].startswith("only events in period 4 of year: the hazard there is 1, without a standard error")
    assert "odds ratio" in fit(few(x=[0, 1] * 5), terms="x", link="logit").header()[1]


def test_rows_that_are_dropped_are_counted() -> None:
    found = fit(few(stopped=[1, 1, None, 1, 1, 0, 0, 0, 0, 1]))
    assert dict(found.sample.dropped) == {"stopped missing": 1}
    assert "dropped: 1 stopped missing" in found.header()


@pytest.mark.parametrize("how", ["made", "unpickled"])
def test_its_arrays_are_read_only(how: str) -> None:
    found = fit(MANY, cluster="org", **DESIGN)
    found = pickle.loads(pickle.dumps(found)) if how == "unpickled" else found
    for array in (found.fit.beta, found.fit.vcov, found.counts.events, found.counts.X, found.spells.exit):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    table = found.params
    table.iloc[0] = 0
    assert found.params.iloc[0] != 0


# Every refusal

Row = tuple[str, Callable[[], Any], str]
UNSEEN = "no period in which anybody was at risk; there are 1 to 4"

FAULTS: list[Row] = [
    ("link", lambda: fit(link="loglog"), "link='loglog': unknown option; did you mean 'cloglog'?"),
    (
        "baseline",
        lambda: fit(baseline="poly"),
        "baseline='poly': unknown option; there are 'free', 'polynomial', 'spline'",
    ),
    ("degree elsewhere", lambda: fit(degree=2), "degree=2: goes with baseline='polynomial'; leave it out"),
    ("df elsewhere", lambda: fit(baseline="polynomial", df=2), "df=2: goes with baseline='spline'; leave it out"),
    ("degree", lambda: fit(baseline="polynomial", degree=-1), "degree=-1: less than 0"),
    (
        "df",
        lambda: fit(baseline="spline", df=1),
        "df=1: less than 2; baseline='polynomial', degree=1 is a straight line",
    ),
    ("high degree", lambda: fit(baseline="polynomial", degree=4), "degree=4: 4 periods carry at most degree=3"),
    ("high df", lambda: fit(baseline="spline", df=4), "df=4: 4 distinct times carry at most df=3"),
    (
        "fractions",
        lambda: fit(few(year=[0.5, *YEARS[1:]])),
        "duration='year': not a whole number of periods in row 50; number the periods from 1: numpy.ceil of a time is "
        "its period",
    ),
    (
        "entry in fractions",
        lambda: fit(few(start=[0.5] * 2 + [0] * 8), entry="start"),
        "entry='start': not a whole number of periods in rows 50, 51; number the periods from 1: numpy.ceil of a time "
        "is its period",
    ),
    (
        "no event",
        lambda: fit(few(stopped=0)),
        "event='stopped': no event in any row; without events there is nothing to model",
    ),
    (
        "causes",
        lambda: fit(few(stopped=["stopped", "merged", "active"] * 3 + ["active"]), censored="active"),
        "event='stopped': 2 causes ('merged', 'stopped'), and this model knows one; make a column of 0 and 1 for the "
        "end that counts, or use cumulative_incidence",
    ),
    (
        "certain throughout",
        lambda: fit(few(year=1, stopped=1)),
        "duration='year': in every period nobody or everybody at risk had the event, so that no hazard can be "
        "estimated; say baseline='polynomial', or make periods longer or shorter",
    ),
    (
        "aliased",
        lambda: fit(MANY.assign(twice=2 * MANY["support"]), terms="support + twice", entry="start"),
        "'twice': a linear combination of the other terms and the baseline, or empty; drop it, or merge the categories",
    ),
    (
        "aliased with the baseline",
        lambda: fit(few(calendar=YEARS), terms="0 + C(org)", baseline="polynomial", degree=0),
        "'C(org)[e]': a linear combination of the other terms and the baseline, or empty; drop it, or merge the "
        "categories",
    ),
    (
        "too many periods",
        lambda: fit(few(year=[5_000_000, *YEARS[1:]], x=range(10)), terms="x"),
        "duration='year': 5000000 periods for 10 kinds of rows are too many to count; count time in longer periods, or "
        "leave time continuous",
    ),
    (
        "odds of cloglog",
        lambda: fit(MANY, **DESIGN).tidy(odds_ratio=True),
        "odds_ratio=True: exp(estimate) is the hazard ratio here; ask for the other, or fit with link='logit'",
    ),
    (
        "ratio of nothing",
        lambda: fit().tidy(hazard_ratio=True),
        "terms=None: there is no ratio without terms; see hazard() for the baseline",
    ),
    ("beyond", lambda: fit().hazard(None, 5), f"times=5: {UNSEEN}"),
    ("zero", lambda: fit().hazard(None, 0), f"times=0: {UNSEEN}"),
    ("between", lambda: fit().survival_at(None, [1, 2.5]), f"times=2.5: {UNSEEN}"),
    (
        "before anybody",
        lambda: fit(few(start=1, year=[y + 1 for y in YEARS]), entry="start").survival_at(None, 3),
        "times=1: no period in which anybody was at risk; there are 2 to 5",
    ),
    ("level", lambda: fit().tidy(level=95), "level=95: not between 0 and 1; 0.95 gives 95 % intervals"),
    (
        "several",
        lambda: fit(duration="yeer", link="log", degree=1),
        "link='log': unknown option; did you mean 'logit'?\ndegree=1: goes with baseline='polynomial'; leave it out\n"
        "duration='yeer': no such column; did you mean 'year'?",
    ),
]


@pytest.mark.parametrize(("call", "message"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_every_fault_in_its_words(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value) == message


SEPARATION = (
    "the likelihood is highest at an infinite estimate, since it tells events from non-events apart (separation); "
)
FIRTH = "merge its categories, leave it out, or use fit_cox with penalty='firth'"


@pytest.mark.parametrize("link", ["cloglog", "logit"])
@pytest.mark.parametrize("baseline", ["free", "polynomial"])
def test_a_level_without_events_is_named(link: str, baseline: str) -> None:
    frame = MANY.assign(stopped=MANY["stopped"].where(MANY["era"] != "after", 0))
    with pytest.raises(ConvergenceError) as caught:
        fit(frame, link=link, baseline=baseline, **DESIGN)
    assert str(caught.value) == f"'era[after]': {SEPARATION}{FIRTH}"
    assert caught.value.record == {"separated": ["era[after]"]}


def test_a_number_that_tells_events_apart_is_named() -> None:
    frame = few(year=1, x=[10 * s + y for s, y in zip(STOPPED, range(10), strict=True)])
    with pytest.raises(ConvergenceError, match=r"^'x': the likelihood is highest at an infinite estimate"):
        fit(frame, terms="x", baseline="polynomial", degree=0)


def test_a_baseline_that_bends_to_infinity_is_named() -> None:
    frame = pd.DataFrame({"year": [1, 2, 2, 3, 3, 3], "stopped": [1, 0, 0, 0, 0, 0]})
    with pytest.raises(ConvergenceError) as caught:
        fit(frame, baseline="polynomial", degree=1)
    assert str(caught.value).endswith("(separation); use a simpler baseline")


def test_seven_programmes_of_which_three_stopped_give_an_answer() -> None:
    # At risk 7 + 6 + 5 + 3 + 2 years, three of which saw a programme stop.
    frame = pd.DataFrame({"year": [1, 2, 3, 3, 4, 5, 5], "stopped": [1, 1, 0, 1, 0, 0, 0]})
    found = fit(frame, baseline="polynomial", degree=0)
    assert found.hazard(None, 1)["estimate"][0] == pytest.approx(3 / 23)
    assert "3 events, 4 censored; 23 person-periods" in " ".join(found.header())
    assert "below 10, estimates lean away from 0" in " ".join(found.header())


def test_a_maximum_that_irls_leaps_past_is_found() -> None:
    # From its own start IRLS runs off to 1e14 here, in R's glm as in statsmodels; the likelihood is concave.
    frame = pd.DataFrame(
        {
            "year": [3, 1, 1, 4, 4, 2, 4],
            "stopped": [1, 1, 1, 1, 1, 0, 0],
            "support": [0.6, -0.1, 0.3, -1.1, -1.7, -1.7, -0.4],
        }
    )
    model = fit(frame, terms=["support"])

    def fall(b: Any) -> float:
        found = 0.0
        for year, stopped, support in frame.itertuples(index=False):
            for period in set(range(1, year + 1)) - {2}:
                rate = np.exp(b[0] * support + b[{1: 1, 3: 2, 4: 3}[period]])
                found += np.log(-np.expm1(-rate)) if stopped and period == year else -rate
        return -found

    best = optimize.minimize(fall, np.zeros(4), method="BFGS", options={"gtol": 1e-8})
    np.testing.assert_allclose(model.params, best.x, atol=1e-5)
    assert model.loglik == pytest.approx(-best.fun, abs=1e-9)


def test_origin_and_unit_of_a_term_leave_its_test() -> None:
    # As a budget in cents, and a day counted from year 1.
    plain = fit(WITHIN, terms=["support"]).tidy().iloc[0]
    for moved in (WITHIN["support"] * 1e9, WITHIN["support"] * 1e-9, WITHIN["support"] + 733_000):
        other = fit(WITHIN.assign(moved=moved), terms=["moved"]).tidy().iloc[0]
        assert other["statistic"] == pytest.approx(plain["statistic"], rel=1e-5)
