"""Growth models and mixed models whose residuals differ, hang together, or are known: what they say and refuse."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist

ROLES: dict[str, Any] = {"outcome": "score", "time": "month", "patient": "patient", "cohort": "cohort"}
ROLES |= {"reference": "before", "better": "lower", "random": "intercept"}


@cache
def study(patients: int = 60, seed: int = 2) -> pd.DataFrame:
    """Return two cohorts, the second twice as noisy, with AR(1) noise and a number of ratings a row."""
    rng = np.random.default_rng(seed)
    t = np.array([0.0, 6, 12, 24])
    root = np.linalg.cholesky(0.5 ** np.abs(np.subtract.outer(t, t) / 6))
    cohort = np.repeat(["before", "during"], patients // 2)
    e = (rng.normal(size=(patients, 4)) @ root.T) * np.where(cohort == "before", 0.5, 1.0)[:, None]
    y = 5 - 0.05 * t + rng.normal(size=(patients, 1)) + e
    frame = pd.DataFrame({"patient": np.repeat(np.arange(patients), 4), "month": np.tile(t, patients)})
    frame = frame.assign(cohort=np.repeat(cohort, 4), score=y.ravel(), ratings=rng.integers(1, 5, 4 * patients) * 1.0)
    return frame.assign(site=np.repeat(np.arange(patients) % 6, 4), shift=frame.index % 3)


def growth(frame: pd.DataFrame | None = None, **options: Any) -> Any:
    return ist.fit_growth(study() if frame is None else frame, **(ROLES | options))


@cache
def fitted(**options: Any) -> Any:
    return growth(**options)


def test_variances_name_every_stratum_and_the_step() -> None:
    assert fitted().variances()["effect"].tolist() == ["(Intercept)", ""]
    table = fitted(residual="by_cohort").variances()
    assert table["group"].tolist() == ["patient", "Residual", "Residual"]
    assert table["effect"].tolist() == ["(Intercept)", "cohort[before]", "cohort[during]"]
    assert table["sd"][2] / table["sd"][1] == pytest.approx(2, rel=0.25)
    table = fitted(residual="by_visit").variances()
    assert table["effect"].tolist()[1:] == ["month[0]", "month[6]", "month[12]", "month[24]"]
    table = fitted(residual="ar1").variances()
    assert table.iloc[-1][["group", "effect", "other"]].tolist() == ["Residual", "month", "6 apart"]
    assert table["correlation"].iloc[-1] == fitted(residual="ar1").fit.rho
    assert np.isnan(table["variance"].iloc[-1])


@pytest.mark.parametrize(("word", "more"), [("iid", 0), ("by_cohort", 1), ("by_visit", 3), ("ar1", 1)])
def test_every_variance_and_rho_is_a_parameter(word: str, more: int) -> None:
    glance = fitted(residual=word).glance().iloc[0]
    assert glance["parameters"] == 8 + 2 + more
    assert glance["aic"] == pytest.approx(glance["deviance"] + 2 * glance["parameters"])
    # More parameters describe the same rows at least as well.
    assert glance["deviance"] <= fitted().glance().iloc[0]["deviance"] + 1e-8


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"residual": "by_cohort"}, "residuals: a variance for every cohort"),
        ({"residual": "ar1"}, "residuals: AR(1) along month, in steps of 6"),
        ({"precision": "ratings"}, "residuals: known precision ratings"),
        (
            {"precision": "ratings", "residual": "by_visit"},
            "residuals: a variance for every month; known precision ratings",
        ),
    ],
)
def test_the_header_says_what_is_assumed(options: dict[str, str], words: str) -> None:
    assert words in fitted(**options).header()
    assert not any(line.startswith("residuals:") for line in fitted().header())


def test_the_general_door_fits_the_same_model() -> None:
    formula = "score ~ C(month) * cohort + (1 | patient)"
    pairs = {"by_cohort": "by(cohort)", "by_visit": "by(month)", "ar1": "ar1(month | patient)"}
    for word, text in pairs.items():
        other = ist.fit_mixed(study(), formula=formula, residual=text)
        assert other.fit.deviance == pytest.approx(fitted(residual=word).fit.deviance, abs=1e-7)
    other = ist.fit_mixed(study(), formula=formula, precision="ratings")
    assert other.fit.deviance == pytest.approx(fitted(precision="ratings").fit.deviance, abs=1e-7)


def test_precision_of_one_changes_nothing() -> None:
    other = growth(study().assign(one=1.0), precision="one")
    pd.testing.assert_frame_equal(other.tidy(), fitted().tidy(), rtol=1e-9)
    assert other.fit.deviance == pytest.approx(fitted().fit.deviance, abs=1e-10)


def test_augment_divides_by_each_rows_own_spread() -> None:
    for options in (
        {"residual": "by_cohort"},
        {"precision": "ratings"},
        {"residual": "by_visit", "precision": "ratings"},
    ):
        result = fitted(**options)
        rows, table = result.augment(), result.variances().query("group == 'Residual'")
        sd = table["sd"].to_numpy()
        code = {
            "by_cohort": study()["cohort"] == "during",
            "by_visit": study()["month"].map({0: 0, 6: 1, 12: 2, 24: 3}),
        }
        own = sd[code[options["residual"]].astype(int)] if "residual" in options else sd[0]
        own = own / np.sqrt(study()["ratings"]) if "precision" in options else own
        np.testing.assert_allclose(rows["std_residual"], rows["residual"] / own)


def test_prediction_intervals_have_the_new_rows_variance() -> None:
    new = study().head(1).assign(patient="new")
    result = fitted(residual="by_cohort")
    own = [
        result.predict(new.assign(cohort=c), interval="prediction")["std_error"].item() ** 2
        - result.predict(new.assign(cohort=c))["std_error"].item() ** 2
        for c in ("before", "during")
    ]
    table = result.variances()["variance"]
    np.testing.assert_allclose(own, [table[0] + table[1], table[0] + table[2]], rtol=1e-6)
    result = fitted(precision="ratings")
    wide, narrow = (result.predict(new.assign(ratings=k), interval="prediction")["std_error"].item() for k in (1, 4))
    assert wide**2 - narrow**2 == pytest.approx(result.fit.sigma2 * 3 / 4, rel=1e-6)


def test_the_models_variance_at_the_baseline() -> None:
    table = fitted(residual="by_cohort").variances()["variance"]
    assert fitted(residual="by_cohort").model_variance() == pytest.approx(table[0] + (table[1] + table[2]) / 2)
    table = fitted(residual="by_visit").variances()["variance"]
    assert fitted(residual="by_visit").model_variance() == pytest.approx(table[0] + table[1])
    # With known precisions: the mean over the rows that are there.
    result = fitted(precision="ratings")
    share = (1 / study().query("month == 0")["ratings"]).mean()
    wanted = result.fit.G[0][0, 0] + result.fit.sigma2 * share
    assert result.model_variance() == pytest.approx(wanted)
    assert result.r2()["r2_conditional"].item() < 1


def test_sites_that_connect_more_rows_than_can_be_written_out_are_fitted() -> None:
    rng = np.random.default_rng(1)
    frame = study(720).assign(site=lambda f: f["patient"] % 2)
    frame["score"] += rng.normal(size=2)[frame["site"]]
    formula = "score ~ month * cohort + (1 | patient) + (1 | site)"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ist.BoundaryWarning)
        result = ist.fit_mixed(frame, formula=formula, residual="by(cohort)")
    assert result.fit.ratios[1] == pytest.approx(4, rel=0.2)
    assert np.isinf(result.tidy(df="normal")["df"]).all()
    with pytest.raises(ist.DataError, match=r"1440 rows are connected .* use df='normal'"):
        result.tidy()
    assert "inf" in str(result)


@pytest.mark.parametrize("gap", [1e-1, 1e-4, 1e-6])
def test_two_visits_close_together_do_not_move_the_df(gap: float) -> None:
    # One patient has a visit twice within a moment: one row more or less among 240.
    rng = np.random.default_rng(4)
    odd = study().assign(month=lambda f: f["month"] + np.where(f["month"] > 0, rng.uniform(-1.5, 1.5, len(f)), 0.0))
    one = growth(odd, residual="ar1", shape="linear")
    twin = odd.loc[[5]].assign(month=odd["month"][5] + gap, score=odd["score"][5] + 0.02 * np.sqrt(gap))
    other = growth(pd.concat([odd, twin]), residual="ar1", shape="linear")
    np.testing.assert_allclose(other.tidy()["df"], one.tidy()["df"], rtol=0.15)
    np.testing.assert_allclose(other.tidy()["std_error"], one.tidy()["std_error"], rtol=0.1)


def test_a_long_diary_whose_residuals_swing_back() -> None:
    # Gaps of more than 100 steps with a negative correlation; an independent check of the df by dropping the far rows.
    rng = np.random.default_rng(5)
    day = np.r_[np.arange(12), 120 + np.arange(4)].astype(float)
    root = np.linalg.cholesky((-0.8) ** np.abs(np.subtract.outer(day, day)).astype(int))
    y = rng.normal(size=(30, 1)) + rng.normal(size=(30, 16)) @ root.T
    frame = pd.DataFrame({"patient": np.repeat(np.arange(30), 16), "month": np.tile(day, 30), "score": y.ravel()})
    frame["cohort"] = np.where(frame["patient"] % 2, "during", "before")
    result = growth(frame, residual="ar1", shape="linear")
    assert result.fit.rho == pytest.approx(-0.8, abs=0.05)
    for way in ("satterthwaite", "kenward-roger"):
        df = result.tidy(df=way).set_index("term")["df"]
        # The cohorts' difference is one between 30 patients; slopes are told within them.
        assert df["cohort[during]"] == pytest.approx(28, rel=0.15)
        assert 100 < df["month"] < 500
    ratio = result.tidy(df="kenward-roger")["std_error"] / result.tidy()["std_error"]
    assert ratio.between(1, 1.02).all()


def test_a_group_that_changes_along_a_series_is_refused() -> None:
    # Whitening would subtract the random effect of one rater from that of another.
    with pytest.raises(ist.DataError, match=r"residual='ar1\(month \| patient\)': shift changes along a series"):
        ist.fit_mixed(study(), formula="score ~ month + (1 | patient) + (1 | shift)", residual="ar1(month | patient)")
    with pytest.raises(ist.DataError, match="residual='ar1': shift changes along a series"):
        growth(groups="shift", residual="ar1")


def test_rows_without_an_outcome_need_no_precision() -> None:
    gone = study()["month"].eq(12) & (study()["patient"] % 3 == 0)
    lost = study().assign(score=study()["score"].mask(gone))
    for ratings in (study()["ratings"], study()["ratings"].mask(gone), study()["ratings"].where(~gone, 0.0)):
        result = growth(lost.assign(ratings=ratings), precision="ratings")
        assert result.sample.dropped == {"score missing": int(gone.sum())}
        other = ist.fit_mixed(
            lost.assign(ratings=ratings), formula="score ~ C(month) * cohort + (1 | patient)", precision="ratings"
        )
        assert other.fit.deviance == pytest.approx(result.fit.deviance, abs=1e-7)


def test_new_data_without_the_residuals_column() -> None:
    result = ist.fit_mixed(study(), formula="score ~ month + (1 | patient)", residual="by(cohort)", precision="ratings")
    result.predict(study().drop(columns=["cohort", "ratings"]))
    with pytest.raises(ist.DataError) as caught:
        result.predict(study().drop(columns=["cohort", "ratings"]), interval="prediction")
    lines = str(caught.value).split("\n")
    assert [line.split(";")[0] for line in lines] == ["newdata: no column 'cohort'", "newdata: no column 'ratings'"]


def test_a_warning_of_the_boundary_is_given_once() -> None:
    rng = np.random.default_rng(3)
    e = rng.normal(size=(60, 4))
    e = (e - e.mean(axis=1, keepdims=True)).ravel()
    flat = study().assign(score=e * np.where(study()["cohort"] == "before", 1.0, 2.0))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = growth(flat, residual="by_cohort")
        result.tidy()
        result.tidy(df="kenward-roger")
        result.predict(flat, interval="prediction")
    assert [w.category for w in caught] == [ist.BoundaryWarning]
    assert result.boundary == ["the variance of (Intercept) between patients is 0"]
    assert caught[0].filename == __file__
