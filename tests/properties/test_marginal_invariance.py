"""MMRM and residual structures: what must not depend on how the same study is written down."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import implstats as ist

FEW = settings(derandomize=True, deadline=None, max_examples=3)
ROLES: dict[str, Any] = {"outcome": "bsi", "patient": "patient", "cohort": "cohort", "reference": "before"}
WAYS = ["satterthwaite", "kenward-roger"]
WORDS = ["unstructured", "toeplitz", "ar1", "compound-symmetry", "heterogeneous-ar1"]
NUMBERS = ["estimate", "std_error", "df", "conf_low", "conf_high"]
# How a model is asked for: an MMRM, or a growth model with residuals of its own.
MODELS: dict[str, dict[str, Any]] = {word: {"covariance": word} for word in WORDS}
MODELS |= {"unstructured, by cohort": {"covariance": "unstructured", "by_cohort": True}}
MODELS |= {"ar1, by cohort": {"covariance": "ar1", "by_cohort": True}}
MODELS |= {f"residual {word}": {"residual": word, "random": "intercept"} for word in ("by_cohort", "by_visit", "ar1")}
MODELS |= {"precision": {"precision": "ratings"}}


def fit(frame: pd.DataFrame, name: str, **options: Any) -> Any:
    given = ROLES | {"better": "lower"} | MODELS[name] | options
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ist.BoundaryWarning)
        if "covariance" in given:
            return ist.fit_mmrm(frame, visit="month", **given)
        return ist.fit_growth(frame, time="month", **({"shape": "visits"} | given))


@pytest.fixture(params=MODELS, scope="module")
def name(request: pytest.FixtureRequest) -> str:
    """Return every model in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def study(cohorts: Callable[..., pd.DataFrame]) -> Callable[..., pd.DataFrame]:
    """Return a maker of studies of four visits with drop-out and ratings."""

    def made(seed: int, **options: Any) -> pd.DataFrame:
        frame = cohorts(seed, **({"patients": 30, "times": (0, 6, 12, 24)} | options))
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=len(frame)) * np.where(frame["cohort"] == "during", 0.8, 0.3)
        return frame.assign(bsi=frame["bsi"] + noise, ratings=rng.integers(1, 5, len(frame)).astype(float))

    return made


def answers(result: Any, at: list[float], way: str) -> dict[str, pd.DataFrame]:
    return {
        "contrasts": result.contrasts(at, df=way).tidy(),
        "changes": result.changes(at, df=way).tidy(),
        "d of the model": result.effect_sizes(at, sd="model", df=way).tidy(),
        "retained": result.retained_improvement(at, df=way).tidy(),
    }


def same(one: Any, other: Any, at: list[float], then: list[float] | None = None, rel: float = 1e-5) -> None:
    for way in WAYS if one.method == "REML" else WAYS[:1]:
        theirs = answers(other, at if then is None else then, way)
        for what, frame in answers(one, at, way).items():
            for column in NUMBERS:
                size = 1.0 if column == "df" else float(np.abs(frame["std_error"]).max())
                np.testing.assert_allclose(
                    theirs[what][column], frame[column], rtol=rel, atol=rel * size, err_msg=f"{what}, {column}"
                )


@given(seed=st.integers(0, 1000))
@FEW
def test_order_of_the_rows_and_names_of_the_patients(study: Callable[..., pd.DataFrame], name: str, seed: int) -> None:
    frame = study(seed)
    rng = np.random.default_rng(seed)
    patients = frame["patient"].unique()
    names = pd.Series(rng.permutation([f"x{k}" for k in range(len(patients))]), index=patients)
    mixed = frame.assign(patient=frame["patient"].map(names)).sample(frac=1, random_state=seed)
    one, other = fit(frame, name), fit(mixed, name)
    assert other.fit.deviance == pytest.approx(one.fit.deviance, abs=1e-7)
    same(one, other, [12, 24])
    np.testing.assert_allclose(other.augment()["fitted"].sort_index(), one.augment()["fitted"], rtol=1e-6)


def test_other_reference_turns_the_sign(study: Callable[..., pd.DataFrame], name: str) -> None:
    frame = study(1)
    one, other = (fit(frame, name, reference=c) for c in ("before", "during"))
    assert other.fit.deviance == pytest.approx(one.fit.deviance, abs=1e-7)
    for way in WAYS:
        a, b = one.contrasts([24], df=way).tidy(), other.contrasts([24], df=way).tidy()
        np.testing.assert_allclose(b["estimate"], -a["estimate"], rtol=1e-6)
        np.testing.assert_allclose(b[["std_error", "df"]], a[["std_error", "df"]], rtol=1e-5)
    ours, theirs = (r.variances()["variance"].dropna().sort_values() for r in (one, other))
    np.testing.assert_allclose(theirs, ours, rtol=1e-4)


@pytest.mark.parametrize("unit", [1e-8, -2.5, 1e8])
def test_unit_of_the_outcome(study: Callable[..., pd.DataFrame], name: str, unit: float) -> None:
    # -2 l of a + b y is that of y plus 2 nu log|b|, nu = n - p: the density of a linear map.
    frame = study(2)
    better = "lower" if unit > 0 else "higher"
    one, other = fit(frame, name), fit(frame.assign(bsi=3 * unit + unit * frame["bsi"]), name, better=better)
    nu = len(frame) - 8
    assert other.fit.deviance == pytest.approx(one.fit.deviance + 2 * nu * np.log(abs(unit)), abs=1e-5)
    for way in WAYS:
        a, b = one.contrasts([24], df=way).tidy(), other.contrasts([24], df=way).tidy()
        np.testing.assert_allclose(b["estimate"], unit * a["estimate"], rtol=1e-6)
        np.testing.assert_allclose(b[["df", "p_value"]], a[["df", "p_value"]], rtol=1e-4)
        for question in ("d of the model", "retained"):
            left, right = (answers(r, [24], way)[question]["conf_high"] for r in (one, other))
            np.testing.assert_allclose(right, left, rtol=1e-4)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("by_cohort", [False, True])
def test_visits_are_an_order_not_a_distance(study: Callable[..., pd.DataFrame], word: str, by_cohort: bool) -> None:
    frame = study(3)
    numbered = frame.assign(month=frame["month"].map({0.0: 0, 6.0: 1, 12.0: 2, 24.0: 3}))
    one, other = (fit(f, word, by_cohort=by_cohort) for f in (frame, numbered))
    assert other.fit.deviance == pytest.approx(one.fit.deviance, abs=1e-8)
    same(one, other, [12, 24], [2, 3])
    np.testing.assert_allclose(other.covariance()["covariance"], one.covariance()["covariance"], rtol=1e-6)


@pytest.mark.parametrize(("factor", "shift"), [(1e-3, 0.0), (7.0, -40.0), (1e5, 3e6)])
def test_unit_and_origin_of_time_leave_rho_per_step(
    study: Callable[..., pd.DataFrame], factor: float, shift: float
) -> None:
    frame = study(4)
    moved = frame.assign(month=frame["month"] * factor + shift)
    one, other = fit(frame, "residual ar1"), fit(moved, "residual ar1", baseline=shift)
    assert other.fit.rho == pytest.approx(one.fit.rho, rel=1e-5)
    same(one, other, [12, 24], [12 * factor + shift, 24 * factor + shift])
    assert other.variances()["other"].iloc[-1] == f"{6 * factor:g} apart"


def test_unit_of_the_precision(study: Callable[..., pd.DataFrame]) -> None:
    # Precisions are known up to a factor: it moves the variance of a row of precision 1, and nothing else.
    frame = study(5)
    one = fit(frame, "precision")
    for factor in (1e-12, 1e-3, 1e12):
        other = fit(frame.assign(ratings=frame["ratings"] * factor), "precision")
        assert other.fit.deviance == pytest.approx(one.fit.deviance, abs=1e-6)
        assert other.fit.sigma2 == pytest.approx(one.fit.sigma2 * factor, rel=1e-6)
        same(one, other, [12, 24])


def test_every_patient_twice(study: Callable[..., pd.DataFrame], name: str) -> None:
    # Under ML the log-likelihood doubles: the same estimates, half their covariance, and twice Satterthwaite's df.
    frame = study(6)
    both = pd.concat([frame, frame.assign(patient=frame["patient"] + "'")], ignore_index=True)
    one, other = (fit(f, name, method="ml") for f in (frame, both))
    assert other.fit.deviance == pytest.approx(2 * one.fit.deviance, abs=1e-6)
    np.testing.assert_allclose(other.params, one.params, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(other.vcov, one.vcov / 2, rtol=1e-4, atol=1e-6)
    a, b = one.contrasts([24]).tidy(), other.contrasts([24]).tidy()
    np.testing.assert_allclose(b["df"], 2 * a["df"], rtol=1e-3)


def test_better_flips_the_sign_of_improvement_alone(study: Callable[..., pd.DataFrame], name: str) -> None:
    frame = study(7)
    one, other = (fit(frame, name, better=b) for b in ("lower", "higher"))
    a, b = (r.effect_sizes([12, 24], sd="model").tidy() for r in (one, other))
    np.testing.assert_allclose(b["estimate"], -a["estimate"], rtol=1e-12)
    np.testing.assert_allclose(b["std_error"], a["std_error"], rtol=1e-12)
    pd.testing.assert_frame_equal(one.tidy(), other.tidy())


def test_pickled_and_unpickled(study: Callable[..., pd.DataFrame], name: str) -> None:
    one = fit(study(8), name)
    one.tidy()
    for result in (one, fit(study(8), name)):
        other = pickle.loads(pickle.dumps(result))
        for way in WAYS:
            pd.testing.assert_frame_equal(other.tidy(df=way), one.tidy(df=way))
        pd.testing.assert_frame_equal(other.variances(), one.variances())
        with pytest.raises(ValueError, match="read-only"):
            other.design.y[0] = 1.0
        with pytest.raises(ValueError, match="read-only"):
            other.fit.beta[0] = 1.0


def test_the_callers_frame_is_left_alone(study: Callable[..., pd.DataFrame], name: str) -> None:
    frame = study(9)
    kept = frame.copy(deep=True)
    result = fit(frame, name)
    before = result.tidy()
    result.predict(frame, interval="prediction")
    pd.testing.assert_frame_equal(frame, kept)
    frame.loc[:, "bsi"] = 0.0
    frame.loc[:, "ratings"] = 9.0
    pd.testing.assert_frame_equal(result.tidy(), before)
    assert result.augment()["residual"].abs().sum() > 0


@given(seed=st.integers(0, 1000))
@FEW
def test_a_patient_without_an_outcome_changes_nothing(study: Callable[..., pd.DataFrame], name: str, seed: int) -> None:
    frame = study(seed)
    empty = frame.iloc[:3].assign(patient="nobody", bsi=np.nan)
    one, other = fit(frame, name), fit(pd.concat([frame, empty], ignore_index=True), name)
    same(one, other, [24])
    assert other.sample.dropped == {"bsi missing": 3}
