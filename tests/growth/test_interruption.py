"""Interruptions in treatment: the same as explicit columns, what does not matter, who is met, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError

ROLES: dict[str, Any] = {"outcome": "y", "time": "month", "patient": "patient", "better": "lower", "shape": "linear"}
COHORTS = {"cohort": "era", "reference": "before"}


def made(n: int = 60, seed: int = 4, jump: float = 0.4, bend: float = 0.03) -> pd.DataFrame:
    """Return patients treated for two years before, across or after a change, all with their own slopes."""
    rng = np.random.default_rng(seed)
    change = 36.0 - np.arange(n) * 72 / n
    change = np.where(change >= 24, np.nan, change)
    t = np.tile(np.arange(0, 25, 4.0), (n, 1))
    when = np.where(np.isnan(change), np.inf, change)[:, None]
    y = 2 + rng.normal(0, 0.5, (n, 1)) - (0.05 + rng.normal(0, 0.02, (n, 1))) * t + rng.normal(0, 0.25, t.shape)
    y += jump * ((t >= when) & (when > 0)) + bend * np.maximum(t - np.maximum(when, 0), 0)
    k = t.shape[1]
    return pd.DataFrame(
        {
            "patient": np.repeat(np.arange(n), k),
            "month": t.ravel(),
            "y": y.ravel(),
            "change": np.repeat(change, k),
            "era": np.repeat(np.where(change <= 0, "during", "before"), k),
            "age": np.repeat(rng.integers(20, 60, n), k),
            "w": np.repeat(rng.uniform(0.5, 2, n), k),
        }
    )


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return made()


def explicit(frame: pd.DataFrame, own: bool) -> pd.DataFrame:
    """Return the frame with the two columns written out; `own`: of those treated wholly after the change, too."""
    met = (frame["month"] >= frame["change"]) & (own | (frame["change"] > 0))
    since = (frame["month"] - frame["change"].clip(lower=0)).clip(lower=0).fillna(0)
    return frame.assign(level=met.astype(float), slope=since.where(met, 0.0))


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize("cohorts", [False, True])
def test_it_is_the_model_with_explicit_columns(frame: pd.DataFrame, cohorts: bool, method: str) -> None:
    result = ist.fit_growth(frame, interruption="change", method=method, **ROLES, **(COHORTS if cohorts else {}))
    course = "month * era" if cohorts else "month"
    formula = f"y ~ {course} + level + slope + (1 + month | patient)"
    other = ist.fit_mixed(explicit(frame, not cohorts), formula=formula, method=method)
    assert result.fit.deviance == pytest.approx(other.fit.deviance, abs=1e-7)
    mine = result.interruption().tidy()
    theirs = other.tidy().set_index("term").loc[["level", "slope"]]
    for column in ("estimate", "std_error", "df", "conf_low", "p_value"):
        np.testing.assert_allclose(mine[column], theirs[column], rtol=1e-4)
    assert list(result.predict()["estimate"]) == pytest.approx(list(other.predict()["estimate"]), abs=1e-6)


def test_the_likelihood_is_that_of_all_rows_written_out(frame: pd.DataFrame) -> None:
    small = frame[frame["patient"] % 3 == 0]
    result = ist.fit_growth(small, interruption="change", **ROLES)
    X = explicit(small, True)[["month", "level", "slope"]].to_numpy()
    X = np.column_stack([np.ones(len(X)), X])
    Z = np.column_stack([np.ones(len(small)), small["month"]])
    same = small["patient"].to_numpy()[:, None] == small["patient"].to_numpy()
    V = same * (Z @ result.fit.G[0] @ Z.T) + result.fit.sigma2 * np.eye(len(small))
    W = np.linalg.inv(V)
    P = np.linalg.inv(X.T @ W @ X)
    beta = P @ X.T @ W @ small["y"].to_numpy()
    np.testing.assert_allclose(result.params, beta, rtol=1e-6)
    np.testing.assert_allclose(result.vcov, P, rtol=1e-6, atol=1e-12)
    rest = small["y"].to_numpy() - X @ beta
    log = np.linalg.slogdet(V)[1] - np.linalg.slogdet(P)[1] + (len(small) - 4) * np.log(2 * np.pi)
    assert result.fit.deviance == pytest.approx(log + rest @ W @ rest, abs=1e-6)


def test_time_can_be_shifted_with_the_change(frame: pd.DataFrame) -> None:
    one = ist.fit_growth(frame, interruption="change", **ROLES)
    moved = frame.assign(month=frame["month"] + 7, change=frame["change"] + 7)
    other = ist.fit_growth(moved, interruption="change", baseline=7, **ROLES)
    pd.testing.assert_frame_equal(one.interruption().tidy(), other.interruption().tidy(), rtol=1e-5)
    a = one.interrupted_means([12, 24], change=8).tidy()
    b = other.interrupted_means([19, 31], change=15).tidy()
    np.testing.assert_allclose(a["estimate"], b["estimate"], rtol=1e-6)
    assert a["extrapolated"].tolist() == b["extrapolated"].tolist()


def test_the_unit_of_time_scales_the_slope_alone(frame: pd.DataFrame) -> None:
    one = ist.fit_growth(frame, interruption="change", **ROLES).interruption().tidy()
    years = frame.assign(month=frame["month"] / 12, change=frame["change"] / 12)
    other = ist.fit_growth(years, interruption="change", **ROLES).interruption().tidy()
    np.testing.assert_allclose(other["estimate"], one["estimate"] * [1, 12], rtol=1e-5)
    np.testing.assert_allclose(other["statistic"], one["statistic"], rtol=1e-4)


def test_names_order_and_what_lies_beyond_do_not_matter(frame: pd.DataFrame) -> None:
    one = ist.fit_growth(frame, interruption="change", **ROLES).interruption().tidy()
    coded = frame.assign(patient="p" + frame["patient"].astype(str)).sample(frac=1, random_state=1)
    # A change long after the last visit is as good as none, one long before the start as good as at the start.
    coded["change"] = coded["change"].fillna(900.0).where(coded["change"].isna() | (coded["change"] > 0), -900.0)
    other = ist.fit_growth(coded, interruption="change", **ROLES).interruption().tidy()
    pd.testing.assert_frame_equal(one, other, rtol=1e-5)


def test_dates_are_counted_as_time_is(frame: pd.DataFrame) -> None:
    start = pd.Timestamp("2008-01-01")
    one = frame.assign(month=(frame["month"] * 30).round(), change=(frame["change"] * 30).round())
    dated = one.assign(**{k: start + pd.to_timedelta(one[k], unit="D") for k in ("month", "change")})
    a = ist.fit_growth(one, interruption="change", **ROLES)
    b = ist.fit_growth(dated, interruption="change", time_unit="days", **ROLES)
    np.testing.assert_allclose(a.params, b.params, rtol=1e-6)


def test_a_baseline_column_takes_the_change_along(frame: pd.DataFrame) -> None:
    start = frame[frame["month"] == 0].set_index("patient")["y"]
    later = frame[frame["month"] > 0].assign(pre=lambda f: f["patient"].map(start))
    one = ist.fit_growth(frame, interruption="change", **ROLES)
    other = ist.fit_growth(later, interruption="change", baseline="pre", **ROLES)
    pd.testing.assert_frame_equal(one.interruption().tidy(), other.interruption().tidy(), rtol=1e-5)


def test_patients_can_be_weighted(frame: pd.DataFrame) -> None:
    weights = {"method": "ml", "patient_weights": "w"}
    plain = ist.fit_growth(frame, interruption="change", method="ml", **ROLES)
    even = ist.fit_growth(frame.assign(w=2.0), interruption="change", **weights, **ROLES)
    np.testing.assert_allclose(even.params, plain.params, rtol=1e-5)
    # Beside cohorts that nobody's whole treatment makes, the change is two covariates, with the same sandwich.
    halves = explicit(frame[(frame["change"] > 0) | frame["change"].isna()], own=True)
    halves["half"] = np.where(halves["patient"] % 2, "a", "b")
    both = {"cohort": "half", "reference": "a"} | weights | ROLES
    table = ist.fit_growth(halves, interruption="change", **both).interruption().tidy()
    other = ist.fit_growth(halves, adjust=["level", "slope"], **both).tidy().set_index("term").loc[["level", "slope"]]
    np.testing.assert_allclose(table[["estimate", "std_error"]], other[["estimate", "std_error"]], rtol=1e-5)
    assert np.isinf(table["df"]).all()


def test_other_answers_are_about_the_course_without_the_change(frame: pd.DataFrame) -> None:
    result = ist.fit_growth(frame, interruption="change", **ROLES, **COHORTS)
    without = result.interrupted_means([12, 24], change=6).tidy().query("quantity == 'without'")
    means = result.means([12, 24]).tidy()
    # The cohort that was treated wholly after the change could not meet it.
    assert set(without["cohort"]) == {"before"}
    np.testing.assert_allclose(without["estimate"], means.query("cohort == 'before'")["estimate"])
    assert result.retained_improvement([24]).tidy()["set"].tolist() == ["bounded"]
    assert result.last_seen == {"before": 24.0, "during": 24.0}


def test_means_that_nobody_showed_without_the_change_are_extrapolated(frame: pd.DataFrame) -> None:
    across = frame[(frame["change"] > 0) & (frame["change"] < 12)]
    result = ist.fit_growth(across, interruption="change", **ROLES)
    assert result.last_seen["all patients"] < 12
    table = result.interrupted_means([4, 24], change=11).tidy().set_index(["quantity", "time"])["extrapolated"]
    assert not table["without", 4]
    assert table["without", 24]
    assert not table["with", 24]


def test_it_is_put_in_words(frame: pd.DataFrame) -> None:
    one = " ".join(repr(ist.fit_growth(frame, interruption="change", **ROLES)).split())
    assert "y ~ month + I(month >= change) + pmax(month - change, 0) + (1 + month | patient)" in one
    # Changes at 36, 34.8, ..., 1.2, 0, ...: 11 from month 24 on, which is never, 19 above 0, and 30 of 0 or less.
    assert "19 patients seen before and after it, 30 treated wholly after it, 11 seen without it only" in one
    assert "its level is also how those treated wholly after it differed at their start" in one
    both = " ".join(repr(ist.fit_growth(frame, interruption="change", **ROLES, **COHORTS)).split())
    assert "treated wholly after it differed" not in both


def test_new_rows_meet_the_change_when_they_say_so(frame: pd.DataFrame) -> None:
    result = ist.fit_growth(frame, interruption="change", **ROLES, **COHORTS)
    new = pd.DataFrame({"month": [24.0, 24.0], "era": "before", "change": [np.nan, 12.0], "patient": -1})
    never, met = result.predict(new)["estimate"]
    level, slope = result.interruption().tidy()["estimate"]
    assert met - never == pytest.approx(level + 12 * slope)
    with pytest.raises(DataError, match=r"^newdata='change': not on the side of the start .* row 1; give each row"):
        result.predict(new.assign(change=[np.nan, -3.0]))
    with pytest.raises(DataError, match=r"^newdata: no column 'change'"):
        result.predict(new.drop(columns="change"))
    one = ist.fit_growth(frame, interruption="change", **ROLES)
    assert len(one.predict(new.drop(columns="era"))) == 2


def test_it_goes_along_with_bootstrap_diagnosis_and_comparison(frame: pd.DataFrame) -> None:
    one = ist.fit_growth(frame, interruption="change", method="ml", **ROLES)
    boot = ist.bootstrap(one, n=40, rng=1)
    rows = boot.tidy().set_index("term")
    ratio = rows["std_error"] / one.tidy().set_index("term")["std_error"]
    assert ratio.loc[["change[level]", "change[slope]"]].between(0.6, 1.7).all()
    diagnosis = ist.diagnose(one)
    assert len(diagnosis.influence()) == 60
    assert "retained_change" not in diagnosis.influence()
    none = ist.fit_growth(frame, interruption="change", **(ROLES | {"shape": "quadratic", "method": "ml"}))
    assert ist.compare_models(one, none).tidy()["df"].iloc[1] == 1
    for ask in (one.contrasts, one.retained_improvement, boot.contrasts, boot.retained_improvement):
        with pytest.raises(DataError, match=r"^cohort=None: all patients are on one course, so there are no cohorts"):
            ask(at=[24])
    assert one.changes([24]).tidy()["cohort"].tolist() == ["all patients"]
    assert len(boot.effect_sizes(24).tidy()) == len(one.trends().tidy()) == 1


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no such column": ({"interruption": "chang"}, "interruption='chang': no such column; did you mean 'change'?"),
    "no numbers": ({"interruption": "era"}, "interruption='era': the column holds text such as 'before'"),
    "of the visit": (
        {"interruption": "moving"},
        "interruption='moving': changes within a patient (rows 1, 2, 3 and 357 more); give each patient one time, in "
        "all rows",
    ),
    "the time itself": (
        {"interruption": "month"},
        "time='month': is named as interruption= too; each role has a column of its own",
    ),
    "nobody": (
        {"interruption": "late"},
        "interruption='late': no patient has visits before and after the change; compare cohorts without it, by "
        "assign_cohorts",
    ),
    "one time after": (
        {"interruption": "same"},
        "interruption='same': every visit after the change comes 3 after it, so a level and a slope cannot be told "
        "apart; fit_mixed takes a column with the level alone",
    ),
    "never": ({"interruption": "none"}, "interruption='none': every value is missing"),
    "mixed cohort": (
        {"interruption": "change", "cohort": "half", "reference": "a"},
        "interruption='change': cohort 'a' holds patients treated wholly after the change (31) and others (1); give "
        "those a cohort of their own, or leave cohort= out",
    ),
    "reference alone": (
        {"interruption": "change", "reference": "before"},
        "reference='before': goes with cohort=; name the column, or leave it out",
    ),
    "neither": ({}, "cohort=None: no such column; there are 'patient'"),
    "variance by cohort": (
        {"interruption": "change", "residual": "by_cohort"},
        "residual='by_cohort': there are no cohorts; name them by cohort=, or say residual='iid'",
    ),
    "another zone": (
        {"interruption": "zoned", "time": "seen", "time_unit": "months"},
        "interruption='zoned': not in the time zone of 'seen'; give both the same, or none, with .dt.tz_localize",
    ),
    "dates without a unit": (
        {"interruption": "dated", "time": "seen"},
        "time='seen': the column holds dates, not numbers; say time_unit='months'",
    ),
    "not as time is": (
        {"interruption": "change", "time": "seen", "time_unit": "months"},
        "interruption='change': no dates, but 'seen' holds dates; give the date of the change",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason(frame: pd.DataFrame, case: str) -> None:
    options, message = REFUSED[case]
    more = frame.assign(
        moving=frame["month"] / 2,
        late=99.0,
        same=np.where(frame["patient"] % 2, 21.0, np.nan),
        none=np.nan,
        half=np.where(frame["patient"] % 2, "a", "b"),
        seen=pd.Timestamp("2008-01-01") + pd.to_timedelta(frame["month"] * 30, unit="D"),
    )
    more["dated"] = pd.Timestamp("2009-01-01")
    more["zoned"] = more["dated"].dt.tz_localize("UTC")
    with pytest.raises(DataError) as caught:
        ist.fit_growth(more, **(ROLES | options))
    assert message in str(caught.value)


def test_what_was_not_fitted_is_not_answered(frame: pd.DataFrame) -> None:
    plain = ist.fit_growth(frame, **ROLES, **COHORTS)
    with pytest.raises(DataError, match=r"^interruption=None: no change in treatment was fitted"):
        plain.interruption()
    result = ist.fit_growth(frame, interruption="change", **ROLES)
    with pytest.raises(DataError, match=r"^change=0: not after the baseline, 0$"):
        result.interrupted_means([12], change=0)
