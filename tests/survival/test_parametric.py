"""Parametric models of times: what must hold of them, how their answers hang together, and every refusal."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implstats.errors import ConvergenceError, DataError
from implstats.reading.split import split_spells
from implstats.survival.lifetimes import ParametricResult
from implstats.survival.parametric import fit_parametric
from implstats.survival.shapes import turning_points

Z = 1.959963984540054
DISTRIBUTIONS = ["weibull", "log-normal", "log-logistic", "spline"]
each = pytest.mark.parametrize("distribution", DISTRIBUTIONS)


def many(n: int = 200, seed: int = 5) -> pd.DataFrame:
    """Return programmes that last longer with support, seen once a year, some of them from later on."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "id": range(n),
            "org": rng.integers(0, 35, n),
            "era": rng.choice(["after", "before", "during"], n),
            "support": rng.integers(1, 8, n),
            "copies": rng.integers(1, 4, n),
            "since": np.round(rng.uniform(0, 1, n) * rng.integers(0, 2, n), 3),
        }
    )
    log_time = 0.8 + 0.12 * frame["support"] - 0.4 * (frame["era"] == "during")
    lasts = np.exp(log_time + 0.6 * np.log(rng.exponential(size=n)))
    study = rng.uniform(2, 9, n)
    frame["years"] = np.round(frame["since"] + 0.01 + np.minimum(lasts, study), 3)
    frame["stopped"] = (lasts <= study).astype(int)
    frame["active"] = np.maximum(np.floor(frame["years"]), frame["since"])
    frame["gone"] = np.ceil(frame["years"]).where(frame["stopped"] == 1)
    frame.loc[frame["stopped"] == 0, "active"] = frame["years"]
    return frame


MANY = many()
DESIGN: dict[str, Any] = {"terms": "era + support", "reference": {"era": "before"}}
KNOWN = {"duration": "years", "event": "stopped"}
BETWEEN = {"lower": "active", "upper": "gone"}


def fit(frame: pd.DataFrame | None = None, **options: Any) -> ParametricResult:
    given = options if "lower" in options or "duration" in options else KNOWN | options
    return fit_parametric(MANY if frame is None else frame, **given)


@cache
def fitted(distribution: str, between: bool = False) -> ParametricResult:
    return fit(distribution=distribution, **(BETWEEN if between else KNOWN), **DESIGN)


def close(a: ParametricResult, b: ParametricResult, tolerance: float = 1e-6) -> None:
    np.testing.assert_allclose(a.params, b.params, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(a.vcov, b.vcov, rtol=100 * tolerance, atol=tolerance)
    assert a.loglik == pytest.approx(b.loglik, rel=1e-9)


# What must not change it


@each
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_order_of_rows_does_not_matter(distribution: str, seed: int) -> None:
    close(fit(MANY.sample(frac=1, random_state=seed), distribution=distribution, **DESIGN), fitted(distribution))


@each
@pytest.mark.parametrize("unit", [1 / 365.25, 12.0])
def test_units_of_time_and_of_terms_do_not_matter(distribution: str, unit: float) -> None:
    moved = MANY.assign(years=MANY["years"] * unit, support=1000 * MANY["support"] + 2000)
    then, now = fitted(distribution), fit(moved, distribution=distribution, **DESIGN)
    events = MANY["stopped"].sum()
    assert now.loglik == pytest.approx(then.loglik - events * np.log(unit), rel=1e-9)
    assert now.params["support"] * 1000 == pytest.approx(then.params["support"], rel=1e-6)
    np.testing.assert_allclose(now.quantile()["estimate"], unit * then.quantile()["estimate"], rtol=1e-6)


@each
def test_duplicated_rows_are_weights(distribution: str) -> None:
    copies = MANY.loc[MANY.index.repeat(MANY["copies"])]
    weighted = fit(weights="copies", cluster="org", distribution=distribution, **DESIGN)
    if distribution == "spline":
        # Knots are quantiles of the events, which copies move.
        assert weighted.loglik == pytest.approx(fit(copies, distribution=distribution, **DESIGN).loglik, abs=0.5)
        return
    close(weighted, fit(copies, cluster="org", distribution=distribution, **DESIGN))


@each
def test_split_spells_give_the_same_fit(distribution: str) -> None:
    whole = fit(entry="since", distribution=distribution, **DESIGN)
    pieces = split_spells(MANY, **KNOWN, entry="since", id="id", at=[1, 2.5, 4])
    split = fit(pieces, entry="since", id="id", distribution=distribution, **DESIGN)
    assert split.sample.rows > whole.sample.rows
    close(split, whole)


@each
def test_intervals_of_no_length_are_known_times(distribution: str) -> None:
    frame = MANY.assign(low=MANY["years"], high=MANY["years"].where(MANY["stopped"] == 1))
    close(fit(frame, lower="low", upper="high", distribution=distribution, **DESIGN), fitted(distribution), 1e-12)


@each
def test_short_intervals_are_nearly_known_times(distribution: str) -> None:
    frame = MANY.assign(
        low=MANY["years"] - 5e-4 * MANY["stopped"], high=(MANY["years"] + 5e-4).where(MANY["stopped"] == 1)
    )
    found = fit(frame, lower="low", upper="high", distribution=distribution, **DESIGN)
    np.testing.assert_allclose(found.params[:3], fitted(distribution).params[:3], atol=2e-3)


def test_the_weibull_is_a_spline_with_one_column() -> None:
    line, weibull = fit(distribution="spline", df=1, **DESIGN), fitted("weibull")
    assert line.loglik == pytest.approx(weibull.loglik, rel=1e-12)
    assert line.params["log(time)"] == pytest.approx(np.exp(-weibull.params["log(scale)"]))
    np.testing.assert_allclose(line.params[:3], weibull.params[:3], rtol=1e-6)


def test_the_other_reference_level_turns_the_sign() -> None:
    frame = MANY[MANY["era"] != "after"]
    for distribution in DISTRIBUTIONS:
        a, b = (fit(frame, terms="era", reference={"era": r}, distribution=distribution) for r in ("before", "during"))
        assert a.params["era[during]"] == pytest.approx(-b.params["era[before]"], rel=1e-6)
        assert a.loglik == pytest.approx(b.loglik)


def test_robust_errors_of_repeated_rows_are_those_of_one() -> None:
    once, twice = fit(cluster="id", **DESIGN), fit(pd.concat([MANY, MANY]), cluster="id", **DESIGN)
    np.testing.assert_allclose(once.vcov, twice.vcov, rtol=1e-5)
    np.testing.assert_allclose(twice.naive_vcov, once.naive_vcov / 2, rtol=1e-5)
    np.testing.assert_allclose(once.fit.scores.sum(axis=0), 0, atol=1e-5)
    table = once.tidy()
    np.testing.assert_allclose(table["std_error"], np.sqrt(np.diag(once.vcov)))
    np.testing.assert_allclose(table["std_error_naive"], np.sqrt(np.diag(once.naive_vcov)))


# How its answers hang together


@each
@pytest.mark.parametrize("between", [False, True])
def test_hazard_survival_and_quantiles_agree(distribution: str, between: bool) -> None:
    found, h = fitted(distribution, between), 1e-5
    profile, times = pd.DataFrame({"era": ["during", "before"], "support": [2, 6]}), [0.5, 2.0, 5.0]
    assert list(found.hazard(profile, times)["era"]) == ["during"] * 3 + ["before"] * 3
    later, sooner = (found.survival_at(profile, [t + side for t in times])["estimate"] for side in (h, -h))
    slope = -(np.log(later) - np.log(sooner)) / (2 * h)
    np.testing.assert_allclose(found.hazard(profile, times)["estimate"], slope, rtol=1e-6)
    medians = found.quantile(profile, [0.25, 0.5])
    for k, p in enumerate([0.25, 0.5]):
        row = profile.iloc[[1]]
        assert found.survival_at(row, medians["estimate"][2 + k])["estimate"][0] == pytest.approx(1 - p)
    # Accelerated: the same factor at every share.
    factor = np.exp(4 * found.params["support"] - found.params["era[during]"])
    np.testing.assert_allclose(medians["estimate"][2:].to_numpy() / medians["estimate"][:2], factor, rtol=1e-9)


@each
def test_errors_are_the_delta_methods(distribution: str) -> None:
    found, profile = fitted(distribution), {"era": "during", "support": 2}
    asked: list[Callable[[ParametricResult], pd.DataFrame]] = [
        lambda m: m.survival_at(profile, [0.5, 3]),
        lambda m: m.hazard(profile, [0.5, 3]),
        lambda m: m.quantile(profile, [0.2, 0.6]),
    ]
    p = len(found.fit.b)

    def moved(step: np.ndarray, ask: Callable[[ParametricResult], pd.DataFrame]) -> np.ndarray:
        other = pickle.loads(pickle.dumps(found))
        object.__setattr__(other.fit, "b", found.fit.b + step[:p])
        object.__setattr__(other.fit, "shape", found.fit.shape + step[p:])
        return ask(other)["estimate"].to_numpy()

    steps = 1e-5 * np.eye(p + len(found.fit.shape))
    for ask in asked:
        table = ask(found)
        slopes = np.column_stack([(moved(s, ask) - moved(-s, ask)) / 2e-5 for s in steps])
        error = np.sqrt(np.einsum("tq,qr,tr->t", slopes, found.fit.vcov, slopes))
        np.testing.assert_allclose(table["std_error"], error, rtol=1e-6)
        assert table["estimate"].between(table["conf_low"], table["conf_high"], inclusive="neither").all()
    hazard = found.hazard(profile, 2).iloc[0]
    assert hazard["conf_high"] / hazard["estimate"] == pytest.approx(
        np.exp(Z * hazard["std_error"] / hazard["estimate"])
    )


def test_survival_at_the_start_and_far_away() -> None:
    found = fitted("log-normal").survival_at(None, [0, 1e9])
    assert found[["estimate", "std_error", "conf_low", "conf_high"]].iloc[0].tolist() == [1, 0, 1, 1]
    assert found["estimate"][1] == pytest.approx(0, abs=1e-10)
    assert found["extrapolated"].tolist() == [False, True]


@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize("entry", [None, "since"])
def test_residuals_sum_to_zero_under_weibull(between: bool, entry: str | None) -> None:
    options = (BETWEEN if between else KNOWN) | ({} if entry is None else {"entry": entry})
    found = fit(**options, **DESIGN).augment()
    assert list(found.index) == list(MANY.index)
    np.testing.assert_allclose(found["martingale"], MANY["stopped"] - found["expected"])
    assert found["martingale"].sum() == pytest.approx(0, abs=1e-5)
    np.testing.assert_allclose(found.groupby("era")["martingale"].sum(), 0, atol=1e-5)


def test_ratios() -> None:
    found = fitted("weibull")
    plain, times, hazards = found.tidy(), found.tidy(time_ratio=True), found.tidy(hazard_ratio=True)
    assert plain["term"].tolist() == ["era[after]", "era[during]", "support", "(Intercept)", "log(scale)"]
    assert plain["reference"].tolist() == ["before", "before", "", "", ""]
    np.testing.assert_allclose(times["estimate"], np.exp(plain["estimate"][:3]))
    np.testing.assert_allclose(times["conf_low"], np.exp(plain["conf_low"][:3]))
    scale = np.exp(found.params["log(scale)"])
    np.testing.assert_allclose(hazards["estimate"], np.exp(-plain["estimate"][:3] / scale))
    late, soon = (found.hazard({"era": e, "support": 3}, [1, 4])["estimate"] for e in ("during", "before"))
    np.testing.assert_allclose(late / soon, hazards["estimate"][1])
    # d(-b / s) = -db / s + (b / s) d log s
    v, b = found.vcov.to_numpy(), plain["estimate"][2]
    log_se = np.sqrt(v[2, 2] / scale**2 + (b / scale) ** 2 * v[4, 4] - 2 * b / scale**2 * v[2, 4])
    assert hazards["std_error"][2] == pytest.approx(hazards["estimate"][2] * log_se)


def test_aic_prefers_the_distribution_that_made_the_data() -> None:
    table = pd.concat([fitted(d).glance() for d in DISTRIBUTIONS], ignore_index=True)
    assert table["model"].tolist() == DISTRIBUTIONS
    assert table.sort_values("aic")["model"].iloc[0] == "weibull"
    assert (table["events"] + table["censored"] == table["rows"]).all()
    np.testing.assert_allclose(table["aic"], 2 * table["parameters"] - 2 * table["loglik"])


@each
def test_lifelines_says_the_same(distribution: str) -> None:
    pytest.importorskip("lifelines")
    found = fitted(distribution).cross_check()
    apart = np.abs(found["difference"]) / found["std_error"].fillna(1)
    assert apart.max() < 1e-4
    np.testing.assert_allclose(found["std_error_other"].dropna(), found["std_error"].dropna(), rtol=1e-4)
    assert found["term"].iloc[-1] == "loglik"


@pytest.mark.parametrize("distribution", ["weibull", "log-logistic"])
def test_lifelines_says_the_same_of_late_entries_and_intervals(distribution: str) -> None:
    pytest.importorskip("lifelines")
    for found in (fit(entry="since", distribution=distribution, **DESIGN), fitted(distribution, True)):
        table = found.cross_check()
        assert (np.abs(table["difference"]) / table["std_error"].fillna(1)).max() < 1e-4


# What it says


def test_turning_points_by_hand() -> None:
    time = np.arange(1.0, 8.0)
    assert turning_points(time, np.array([1, 2, 3, 2, 1, 2, 3.0])) == [(3, True), (5, False), (7, True)]
    assert turning_points(time, np.array([3, 2, 1, 1, 1, 1, 1.0])) == [(7, False)]
    assert turning_points(time, np.full(7, 2.0)) == []
    # A dip of less than a hundredth is not told.
    assert turning_points(time, np.array([1, 2, 3, 2.99, 3.5, 4, 5.0])) == [(7, True)]


def shape_line(found: ParametricResult) -> str:
    return next(line for line in found.header()[2:] if "hazard" in line)


def drawn(shape: float, n: int = 400) -> pd.DataFrame:
    """Return times with a Weibull's quantiles, none of them censored."""
    return pd.DataFrame({"years": (-np.log1p(-(np.arange(n) + 0.5) / n)) ** (1 / shape), "stopped": 1})


@pytest.mark.parametrize(
    ("shape", "says"),
    [(2.0, "the hazard rises over time"), (0.5, "the hazard falls over time"), (1.0, "neither rises nor falls")],
)
def test_the_weibull_shape_in_words(shape: float, says: str) -> None:
    line = shape_line(fit(drawn(shape)))
    assert says in line
    assert line.startswith(f"shape (1 / scale) {shape:.3g}"[:20])


def test_the_other_shapes_in_words() -> None:
    assert "a log-normal hazard always rises and then falls" in shape_line(fitted("log-normal"))
    logistic = pd.DataFrame({"years": [((k + 0.5) / (299.5 - k)) ** 0.4 for k in range(300)], "stopped": 1})
    line = shape_line(fit(logistic, distribution="log-logistic"))
    assert "the hazard rises and then falls; at the terms' means over the events" in line
    # Shape k = 2.5 and location 0: the peak is at (k - 1) ** (1 / k).
    assert f"rises until {1.5**0.4:.2f}" in line
    assert "the hazard falls from the start" in shape_line(
        fit(logistic.assign(years=logistic["years"] ** 3), distribution="log-logistic")
    )


def test_a_spline_shows_two_peaks() -> None:
    rng = np.random.default_rng(2)
    # Risk is high around year 2 and year 5, as in Swales 2012.
    grid = np.linspace(0, 8, 8001)[1:]
    hazard = 0.03 + 0.5 * np.exp(-((grid - 2) ** 2) / 0.1) + 0.6 * np.exp(-((grid - 5) ** 2) / 0.2)
    total = np.cumsum(hazard) * 0.001
    years = np.interp(rng.exponential(size=1500), total, grid, right=8.0)
    found = fit(pd.DataFrame({"years": years, "stopped": (years < 8).astype(int)}), distribution="spline", df=7)
    risk = found.hazard(None, [1, 2, 3.5, 5, 7])["estimate"].to_numpy()
    assert risk[1] > 3 * risk[0]
    assert risk[1] > 3 * risk[2]
    assert risk[3] > 3 * risk[2]
    assert risk[3] > 3 * risk[4]
    assert shape_line(found).count("rises until") >= 2


def test_the_header_counts() -> None:
    lines = fit(cluster="org", entry="since", **BETWEEN, **DESIGN).header()
    events = int(MANY["stopped"].sum())
    assert lines[0] == "Parametric model of active to gone until gone known: weibull distribution"
    assert lines[1] == "exp(estimate) of a term is a time ratio: by what factor times are longer"
    assert lines[2].startswith(f"{events} events ({events} of them known by an interval), {200 - events} censored; ")
    assert lines[4] == "rows are at risk from their entry on: the model holds for those who get that far"
    assert lines[5] == "standard errors are robust, from 35 clusters (org); with 50 or fewer they come out too small"
    assert "200 rows of 200 given; 35 orgs" in lines


def test_missing_values_are_counted_and_other_rows_keep_their_intervals() -> None:
    frame = MANY.assign(support=MANY["support"].where(MANY["id"] >= 10))
    found = fit(frame, **BETWEEN, **DESIGN)
    assert dict(found.sample.dropped) == {"support missing": 10}
    close(found, fit(MANY[MANY["id"] >= 10], **BETWEEN, **DESIGN), 1e-9)


@pytest.mark.parametrize("how", ["made", "unpickled"])
def test_its_arrays_are_read_only(how: str) -> None:
    found = fit(cluster="org", **DESIGN)
    found = pickle.loads(pickle.dumps(found)) if how == "unpickled" else found
    for array in (found.fit.b, found.fit.scores, found.times.lower, found.robust, found.spells.exit):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    assert found.tidy()["estimate"].tolist() == found.params.tolist()


def test_seven_programmes_of_which_three_stopped_give_an_answer() -> None:
    frame = pd.DataFrame({"years": [1.5, 2.2, 3, 3.4, 4, 5, 5], "stopped": [1, 1, 0, 1, 0, 0, 0]})
    found = fit(frame)
    assert 0 < found.survival_at(None, 5)["conf_low"][0] < found.survival_at(None, 5)["conf_high"][0] < 1
    assert "3 events, 4 censored; 1.5 events per parameter; below 10, intervals are too narrow" in found.header()


# Every refusal


def few(**changed: Any) -> pd.DataFrame:
    made = {"years": [1.0, 2, 3, 4, 5, 6], "stopped": [1, 0, 1, 1, 0, 1], "low": [0.0, 2, 2, 3, 5, 5]}
    made |= {"high": [1.0, np.nan, 3, 4, np.nan, 6], "x": [1.0, 2, 1, 3, 2, 5], "since": 0.0}
    return pd.DataFrame(made | changed, index=range(70, 76))


def bounded(**changed: Any) -> ParametricResult:
    return fit(few(**changed), lower="low", upper="high")


LISTED = "there are 'years', 'stopped', 'low', 'high', 'x', 'since'"
OTHER_WAY = "lower= and upper= say when the event was; leave it out"
FAULTS: list[tuple[str, Callable[[], Any], str]] = [
    (
        "distribution",
        lambda: fit(few(), distribution="gamma"),
        "distribution='gamma': unknown option; there are 'weibull', 'log-normal', 'log-logistic', 'spline'",
    ),
    ("df elsewhere", lambda: fit(few(), df=2), "df=2: goes with distribution='spline'; leave it out"),
    ("df", lambda: fit(few(), distribution="spline", df=0), "df=0: less than 1"),
    (
        "too many knots",
        lambda: fit(few(years=[1.0, 2, 2, 2, 2, 2]), distribution="spline", df=3),
        "df=3: the 2 different times of events carry fewer knots; use a smaller df",
    ),
    (
        "nothing",
        lambda: fit_parametric(few()),
        f"duration=None: no such column; {LISTED}\nevent=None: no such column; {LISTED}",
    ),
    (
        "one end",
        lambda: fit_parametric(few(), lower="low"),
        "lower='low': goes with upper=; last known active, and first known inactive",
    ),
    (
        "both ways",
        lambda: fit_parametric(few(), duration="years", event="stopped", lower="low", upper="high"),
        f"duration='years': {OTHER_WAY}\nevent='stopped': {OTHER_WAY}",
    ),
    (
        "column",
        lambda: fit_parametric(few(), lower="lo", upper="high"),
        "lower='lo': no such column; did you mean 'low'?",
    ),
    (
        "text",
        lambda: bounded(low="a"),
        "lower='low': the column holds text such as 'a' (rows 70, 71, 72 and 3 more); make it numeric, missing as NaN",
    ),
    (
        "missing lower",
        lambda: bounded(low=[0, np.nan, 2, 3, 5, 5]),
        "lower='low': missing in row 71; 0 says that it may have stopped at once",
    ),
    (
        "negative lower",
        lambda: bounded(low=[-1.0, 2, 2, 3, 5, 5]),
        "lower='low': negative in row 70; count time from the start",
    ),
    (
        "upper before lower",
        lambda: bounded(high=[1, np.nan, 1, 2, np.nan, 6]),
        "upper='high': before low in rows 72, 73; the first time known inactive comes after the last active",
    ),
    (
        "nothing known",
        lambda: bounded(low=[0.0, 0, 2, 3, 5, 5]),
        "lower='low': zero, and high missing in row 71; nothing is known of these; leave them out",
    ),
    (
        "at once",
        lambda: bounded(high=[0, np.nan, 3, 4, np.nan, 6]),
        "upper='high': zero or negative in row 70; count time from the start",
    ),
    (
        "entry after lower",
        lambda: fit_parametric(few(since=[0, 0, 2.5, 0, 0, 0]), lower="low", upper="high", entry="since"),
        "entry='since': after low in row 72; a row that was known to be active was under observation",
    ),
    (
        "no event",
        lambda: fit(few(stopped=0)),
        "event='stopped': no event in any row; without events there is nothing to model",
    ),
    (
        "no event between",
        lambda: fit_parametric(few(high=[np.nan] * 5 + [7]).iloc[1:5], lower="low", upper="high"),
        "upper='high': every value is missing; look at the file or name another column",
    ),
    (
        "causes",
        lambda: fit(few(stopped=["merged", "active", "stopped"] * 2), censored="active"),
        "event='stopped': 2 causes ('merged', 'stopped'), and this model knows one; make a column of 0 and 1 for the "
        "end that counts, or use cumulative_incidence",
    ),
    (
        "aliased",
        lambda: fit(few(twice=[2.0, 4, 2, 6, 4, 10]), terms="x + twice"),
        "'twice': a linear combination of the other terms, or empty; drop it, or merge the categories",
    ),
    (
        "constant",
        lambda: fit(few(), terms="since + x"),
        "'since': a linear combination of the other terms, or empty; drop it, or merge the categories",
    ),
    (
        "ratio of nothing",
        lambda: fit(few()).tidy(time_ratio=True),
        "terms=None: there is no ratio without terms; see survival_at() and quantile()",
    ),
    (
        "two ratios",
        lambda: fitted("weibull").tidy(time_ratio=True, hazard_ratio=True),
        "time_ratio=True: hazard_ratio=True too; ask for one of them",
    ),
    (
        "hazard ratio",
        lambda: fitted("log-normal").tidy(hazard_ratio=True),
        "hazard_ratio=True: hazards are not proportional under distribution='log-normal'; ask for time_ratio=True, or "
        "fit_cox",
    ),
    ("negative time", lambda: fit(few()).survival_at(None, -1), "times=-1: negative; time counts from the start"),
    (
        "hazard at 0",
        lambda: fit(few()).hazard(None, [0, 1]),
        "times=0: a hazard need not be finite there; ask for a time above 0",
    ),
    ("p", lambda: fit(few()).quantile(None, [0.5, 1]), "p=1: not between 0 and 1; 0.5 asks for the median"),
    (
        "cross-check of clusters",
        lambda: fit(cluster="org", **DESIGN).cross_check(),
        "cross_check: lifelines' robust errors know no clusters here; compare with a fit without cluster=",
    ),
    (
        "cross-check of a spline",
        lambda: fitted("spline", True).cross_check(),
        "cross_check: lifelines' spline takes the logarithm of a time of 0; compare a fit without these",
    ),
    (
        "several",
        lambda: fit(few(), distribution="weibul", df=2, entry="sinc"),
        "distribution='weibul': unknown option; did you mean 'weibull'?\n"
        "df=2: goes with distribution='spline'; leave it out\nentry='sinc': no such column; did you mean 'since'?",
    ),
]


@pytest.mark.parametrize(("call", "message"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_every_fault_in_its_words(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value) == message


@each
def test_a_level_without_events_is_named(distribution: str) -> None:
    frame = MANY.assign(stopped=MANY["stopped"].where(MANY["era"] != "after", 0))
    with pytest.raises(ConvergenceError) as caught:
        fit(frame, distribution=distribution, **DESIGN)
    assert str(caught.value) == (
        "'era[after]': no finite estimate; the likelihood rises for ever, as where one group has no event; merge "
        "categories, leave it out, or use fit_cox with penalty='firth'"
    )
    assert caught.value.record == {"terms": ["era[after]"]}


@each
def test_terms_that_run_away_together_are_named(distribution: str) -> None:
    # Nobody stopped where neither came: both effects and the intercept fall together, and nothing holds them.
    rows = [
        (3, 0, 0, 0),
        (5, 0, 0, 0),
        (1, 1, 1, 0),
        (2, 1, 1, 0),
        (4, 0, 1, 0),
        (2, 1, 0, 1),
        (3, 1, 0, 1),
        (6, 0, 0, 1),
    ]
    frame = pd.DataFrame(rows, columns=["years", "stopped", "moved", "merged"]).astype({"years": float})
    frame = pd.concat([frame, frame.assign(years=frame["years"] * 1.3)], ignore_index=True)
    with pytest.raises(ConvergenceError) as caught:
        fit_parametric(
            frame, duration="years", event="stopped", terms=["moved", "merged"], distribution=distribution,
            **({"df": 2} if distribution == "spline" else {}),
        )  # fmt: skip
    assert str(caught.value).startswith("'moved', 'merged': no finite estimates; the likelihood rises for ever")
    assert caught.value.record == {"terms": ["moved", "merged"]}


@pytest.mark.parametrize("distribution", ["weibull", "log-normal", "log-logistic"])
def test_events_that_end_every_level_have_no_maximum(distribution: str) -> None:
    # Before: 4, the last of its rows; during: 3 twice, the last of theirs. A distribution without width has both.
    frame = pd.DataFrame({"years": [1, 1, 2, 4, 2, 3, 3.0], "stopped": [0, 0, 0, 1, 0, 1, 1]})
    frame["era"] = ["before"] * 4 + ["during"] * 3
    with pytest.raises(ConvergenceError) as caught:
        fit_parametric(frame, duration="years", event="stopped", terms=["era"], distribution=distribution)
    said = "no maximum of the likelihood was found; use fewer terms, or another distribution"
    assert str(caught.value) == f"distribution='{distribution}': {said}"


@pytest.mark.parametrize(
    ("active", "gone"),
    [
        # One visit, at 2: who had stopped by then, and who had not.
        ([0, 0, 2, 2], [2, 2, None, None]),
        ([0, 0, 0, 0], [1, 2, 4, 3]),
        ([1, 1, 1, 2], [2, 2, 2, None]),
        ([1, 2, 0, 2], [3, 3, 2, 5]),
    ],
)
def test_intervals_that_one_time_is_within_say_nothing_of_spread(active: list[float], gone: list[float | None]) -> None:
    frame = pd.DataFrame({"active": active, "gone": gone})
    with pytest.raises(DataError) as caught:
        fit_parametric(frame, lower="active", upper="gone")
    assert str(caught.value) == (
        "upper='gone': one time lies within what is known of every row; how far times spread cannot be told; report "
        "the share that was still active at each visit"
    )


def test_intervals_that_one_line_passes_through_say_nothing_of_spread() -> None:
    frame = pd.DataFrame({"active": [1, 2, 3, 4, 5], "gone": [2, 3, 4, 5, None], "size": [10, 20, 30, 40, 50.0]})
    fit_parametric(frame, lower="active", upper="gone")
    with pytest.raises(DataError, match="one time, given the terms, lies within what is known of every row"):
        fit_parametric(frame, lower="active", upper="gone", terms="log(size)")
