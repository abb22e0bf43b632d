"""What an MMRM says of itself, and that it never gives a number which the visits do not carry."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import implstats as ist

ROLES: dict[str, Any] = {"outcome": "score", "visit": "month", "patient": "patient", "cohort": "cohort"}
ROLES |= {"reference": "before", "better": "lower"}
WORDS = ("unstructured", "toeplitz", "ar1", "compound-symmetry", "heterogeneous-ar1")


@cache
def study(
    correlation: float = 0.6, each: int = 20, seed: int = 3, times: tuple[int, ...] = (0, 18, 36)
) -> pd.DataFrame:
    """Return two cohorts at fixed visits, complete."""
    rng = np.random.default_rng(seed)
    m = len(times)
    sigma = np.full((m, m), correlation) + (1 - correlation) * np.eye(m)
    y = 5 + rng.normal(size=(2 * each, m)) @ np.linalg.cholesky(sigma).T
    cohort = np.repeat(["before", "during"], each)
    y -= np.outer(np.where(cohort == "before", 1.0, 0.5), np.array(times) / max(times))
    frame = pd.DataFrame({"patient": np.repeat(np.arange(2 * each), m), "month": np.tile(times, 2 * each)})
    frame["cohort"] = np.repeat(cohort, m)
    sex = np.repeat(rng.choice(["f", "m"], 2 * each), m)
    return frame.assign(score=y.ravel(), age=np.repeat(rng.normal(40, 9, 2 * each), m), sex=sex)


def mmrm(frame: pd.DataFrame | None = None, **options: Any) -> Any:
    return ist.fit_mmrm(study() if frame is None else frame, **(ROLES | options))


@cache
def fitted(**options: Any) -> Any:
    return mmrm(**options)


def holes(seed: int = 1, share: float = 0.2) -> pd.DataFrame:
    frame = study()
    keep = (np.random.default_rng(seed).random(len(frame)) > share) | (frame["month"] == 0)
    return frame[keep]


def test_it_has_the_terms_and_the_answers_of_a_growth_model() -> None:
    options = {"outcome": "score", "patient": "patient", "cohort": "cohort", "reference": "before", "better": "lower"}
    growth = ist.fit_growth(study(), time="month", shape="visits", random="intercept", adjust=["age", "sex"], **options)
    result = fitted(adjust="age + sex")
    assert list(result.params.index) == list(growth.params.index)
    assert list(result.params.index) == [
        *["(Intercept)", "month[18]", "month[36]", "cohort[during]", "age", "sex[m]"],
        *["month[18]:cohort[during]", "month[36]:cohort[during]"],
    ]
    for question in ("means", "contrasts", "changes", "effect_sizes", "retained_improvement"):
        ours, theirs = (getattr(r, question)(at=[36]).tidy() for r in (result, growth))
        assert list(ours.columns) == list(theirs.columns)
        assert len(ours) == len(theirs)


@pytest.mark.parametrize("word", WORDS)
def test_formula_header_and_sizes(word: str) -> None:
    short = {
        "unstructured": "us",
        "toeplitz": "toep",
        "ar1": "ar1",
        "compound-symmetry": "cs",
        "heterogeneous-ar1": "ar1h",
    }
    count = {"unstructured": 6, "toeplitz": 3, "ar1": 2, "compound-symmetry": 2, "heterogeneous-ar1": 4}[word]
    for by_cohort in (False, True):
        result = fitted(covariance=word, by_cohort=by_cohort)
        inside = "cohort/patient" if by_cohort else "patient"
        assert result.formula == f"score ~ factor(month) * cohort + {short[word]}(month | {inside})"
        glance = result.glance().iloc[0]
        assert (glance["rows"], glance["patients"]) == (120, 40)
        assert glance["parameters"] == 6 + count * (1 + by_cohort)
        assert glance["aic"] == pytest.approx(glance["deviance"] + 2 * glance["parameters"])
        header = "\n".join(result.header())
        assert ("one for every cohort" if by_cohort else "common to the cohorts") in header
        assert "month: visits (0, 18, 36); change is counted from month 0; lower is better" in header
        json.dumps(result.to_dict())


def test_covariance_and_variances_are_tables_of_the_visits() -> None:
    common, own = fitted(), fitted(by_cohort=True)
    table = common.covariance()
    assert list(table.columns) == ["cohort", "time", "other", "covariance", "correlation"]
    assert len(table) == 9
    assert len(own.covariance()) == 18
    assert set(common.covariance()["cohort"]) == {""}
    assert list(own.variances()["cohort"].unique()) == ["before", "during"]
    square = table["covariance"].to_numpy().reshape(3, 3)
    assert np.array_equal(square, square.T)
    assert np.sqrt(np.diag(square)).tolist() == pytest.approx(common.variances()["sd"].tolist())
    assert table["correlation"].to_numpy().reshape(3, 3).diagonal().tolist() == pytest.approx([1, 1, 1])


def test_augment_and_predict_keep_the_callers_index() -> None:
    frame = holes().set_index(pd.Index([f"row {k}" for k in range(len(holes()))]))
    result = mmrm(frame, by_cohort=True)
    rows = result.augment()
    assert list(rows.index) == list(frame.index)
    np.testing.assert_allclose(rows["residual"], frame["score"] - rows["fixed"])
    sd = result.variances().set_index(["cohort", "time"])["sd"]
    wanted = [r / sd[c, float(t)] for r, c, t in zip(rows["residual"], frame["cohort"], frame["month"], strict=True)]
    np.testing.assert_allclose(rows["std_residual"], wanted)
    mean = result.predict(frame).loc["row 0"]
    own = result.predict(frame, interval="prediction").loc["row 0"]
    assert own["std_error"] == pytest.approx(np.hypot(mean["std_error"], sd["before", 0.0]))
    assert (mean["conf_high"] - mean["conf_low"]) / 2 == pytest.approx(
        stats.t.ppf(0.975, mean["df"]) * mean["std_error"]
    )


def test_standard_deviation_of_the_model_is_that_of_the_baseline() -> None:
    sd = fitted().variances()["sd"][0]
    d = fitted().effect_sizes([36], sd="model").tidy().query("quantity == 'd'")["estimate"].to_numpy()
    change = fitted().changes([36]).tidy()["estimate"].to_numpy()[:2]
    # Changes are counted as improvements already.
    np.testing.assert_allclose(d[:2], change / sd, rtol=1e-6)


def test_baseline_as_a_column_is_baseline_as_a_row() -> None:
    frame = study()
    start = frame[frame["month"] == 0].set_index("patient")["score"]
    later = frame[frame["month"] > 0].assign(pre=lambda f: f["patient"].map(start))
    one, other = mmrm(frame), mmrm(later, baseline="pre")
    pd.testing.assert_frame_equal(one.tidy(), other.tidy(), rtol=1e-6)


def test_a_cohort_without_the_last_visit_keeps_its_others() -> None:
    frame = study().query("cohort == 'before' or month < 36")
    result = mmrm(frame)
    assert "during has no visit at month 36" in result.header()
    assert "month[36]:cohort[during]" not in result.params.index
    with pytest.raises(ist.DataError, match="at=36: cohort 'during' has no visit at this time; its last is at 18"):
        result.contrasts([36])


def test_drop_out_is_counted_and_moves_the_means_towards_what_came_before() -> None:
    # Those who start high leave: the observed mean at 36 is too low, the likelihood's is nearer to the truth.
    frame = study(each=200)
    start = frame["patient"].map(frame[frame["month"] == 0].set_index("patient")["score"])
    gone = (start > 5.3) & (frame["month"] == 36)
    result = mmrm(frame.assign(score=frame["score"].mask(gone)))
    assert result.sample.dropped == {"score missing": int(gone.sum())}
    whole = mmrm(frame).means([36]).tidy()["estimate"]
    seen = frame[(frame["month"] == 36) & ~gone].groupby("cohort")["score"].mean().to_numpy()
    found = result.means([36]).tidy()["estimate"]
    assert (np.abs(found - whole) < 0.5 * np.abs(seen - whole)).all()


@pytest.mark.parametrize("correlation", [0.9, 0.99, 0.999])
@pytest.mark.parametrize("way", ["satterthwaite", "kenward-roger"])
def test_df_of_complete_data_however_high_the_correlation(correlation: float, way: str) -> None:
    result = mmrm(study(correlation))
    np.testing.assert_allclose(result.tidy(df=way)["df"], 38.0, rtol=1e-4)


@pytest.mark.parametrize("word", ["unstructured", "toeplitz", "compound-symmetry"])
@pytest.mark.parametrize("correlation", [1 - 1e-7, 1 - 1e-9])
def test_visits_that_say_the_same_are_refused_in_words(word: str, correlation: float) -> None:
    with pytest.raises(ist.ConvergenceError, match="the covariance of the visits is singular"):
        mmrm(study(correlation), covariance=word)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
def test_units_of_the_outcome(scale: float) -> None:
    one, other = fitted(), mmrm(study().assign(score=study()["score"] * scale))
    np.testing.assert_allclose(other.tidy()["df"], one.tidy()["df"], rtol=1e-6)
    np.testing.assert_allclose(other.tidy()["std_error"], one.tidy()["std_error"] * scale, rtol=1e-7)


@pytest.mark.parametrize("ratio", [1e-2, 30.0])
def test_a_visit_in_a_spread_of_its_own(ratio: float) -> None:
    frame = study()
    frame = frame.assign(score=frame["score"] * np.where(frame["month"] == 18, ratio, 1.0))
    table = mmrm(frame).variances()["sd"].to_numpy() / fitted().variances()["sd"].to_numpy()
    np.testing.assert_allclose(table, [1, ratio, 1], rtol=1e-4)


def test_three_patients_a_cohort() -> None:
    result = mmrm(study(each=3))
    np.testing.assert_allclose(result.tidy()["df"], 4.0, rtol=1e-4)


@pytest.mark.parametrize("word", ["unstructured", "heterogeneous-ar1", "toeplitz"])
def test_a_visit_of_one_patient_carries_no_variance(word: str) -> None:
    # Its cohort's mean there takes all it says; a number for its error would be the optimiser's start.
    frame = study()
    for kept in ([0], [0, 20]):
        with pytest.raises(ist.DataError, match=f"covariance='{word}': .* month=36"):
            mmrm(frame[(frame["month"] < 36) | frame["patient"].isin(kept)], covariance=word)


def test_structures_with_one_variance_borrow_it_for_a_visit_of_one_patient() -> None:
    frame = study()
    result = mmrm(frame[(frame["month"] < 36) | (frame["patient"] == 0)], covariance="ar1")
    row = result.tidy().set_index("term").loc["month[36]"]
    assert 0.5 < row["std_error"] < 3
    assert 5 < row["df"] < 100


def test_a_cohort_of_one_patient() -> None:
    frame = study()
    frame = frame[(frame["cohort"] == "before") | (frame["patient"] == 20)]
    # A common covariance is the other cohort's: 19 df, and an error that knows there is one patient.
    row = mmrm(frame).contrasts([36]).tidy().query("quantity == 'level'").iloc[0]
    assert row["df"] == pytest.approx(19, rel=1e-4)
    sd = mmrm(frame).variances()["sd"][2]
    assert row["std_error"] == pytest.approx(sd * np.sqrt(1 + 1 / 20), rel=1e-5)
    for word in WORDS:
        with pytest.raises(ist.DataError):
            mmrm(frame, covariance=word, by_cohort=True)
