"""Weighted patients: against the likelihood written out, against repeated patients, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError

ROLES = {"outcome": "bsi", "patient": "patient", "cohort": "cohort", "reference": "before", "better": "lower"}
MODELS: dict[str, Any] = {
    "growth": lambda frame, **more: ist.fit_growth(frame, time="month", shape="linear", **ROLES, **more),
    "intercept": lambda frame, **more: ist.fit_growth(
        frame, time="month", shape="visits", random="intercept", adjust=["age"], **ROLES, **more
    ),
    "mmrm": lambda frame, **more: ist.fit_mmrm(frame, visit="month", **ROLES, **more),
    "mmrm per cohort": lambda frame, **more: ist.fit_mmrm(
        frame, visit="month", covariance="ar1", by_cohort=True, **ROLES, **more
    ),
}


@pytest.fixture(scope="module")
def visits() -> pd.DataFrame:
    frame = ist.load_example("reorganisation")
    weights = np.random.default_rng(11).integers(1, 5, frame["patient"].nunique())
    return frame.assign(w=frame["patient"].map(dict(zip(frame["patient"].unique(), weights, strict=True))))


def covariance(result: Any, rows: np.ndarray) -> np.ndarray:
    """Return V of some rows of a patient, from what the result says of its variances."""
    design = result.design
    if isinstance(result, ist.MMRMResult):
        place = np.searchsorted(design.times, design.t[rows])
        group = design.cohort_codes[rows[0]] if result.by_cohort else 0
        return result.sigmas[group][np.ix_(place, place)]
    Z = design.terms[0].Z[rows]
    return Z @ result.fit.G[0] @ Z.T + result.fit.sigma2 * np.eye(len(rows))


@pytest.mark.parametrize("model", MODELS)
def test_likelihood_estimates_and_errors_are_those_written_out(visits: pd.DataFrame, model: str) -> None:
    result = MODELS[model](visits, patient_weights="w", method="ml")
    design = result.design
    p = len(result.params)
    H, total, deviance, scores = np.zeros((p, p)), np.zeros((p, p)), 0.0, np.zeros(p)
    for i, w in enumerate(design.weight):
        rows = np.flatnonzero(design.patient_codes == i)
        V, X = covariance(result, rows), design.X[rows]
        e = design.y[rows] - X @ result.params.to_numpy()
        s = X.T @ np.linalg.solve(V, e)
        H += w * X.T @ np.linalg.solve(V, X)
        total += w**2 * np.outer(s, s)
        scores += w * s
        deviance += w * (np.linalg.slogdet(V)[1] + e @ np.linalg.solve(V, e) + len(rows) * np.log(2 * np.pi))
    inverse = np.linalg.inv(H)
    assert result.loglik == pytest.approx(-deviance / 2, rel=1e-12)
    np.testing.assert_allclose(inverse @ scores / np.sqrt(np.diag(inverse)), 0, atol=1e-8)
    expected = inverse @ total @ inverse
    scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
    np.testing.assert_allclose(result.vcov.to_numpy() / scale, expected / scale, atol=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_whole_weights_are_repeated_patients(visits: pd.DataFrame, model: str) -> None:
    copies = [visits[visits["w"] > k].assign(patient=lambda f, k=k: f["patient"] + 10_000 * k) for k in range(4)]
    repeated = MODELS[model](pd.concat(copies), method="ml")
    weighted = MODELS[model](visits, patient_weights="w", method="ml")
    se = np.sqrt(np.diag(repeated.vcov))
    np.testing.assert_allclose((weighted.params - repeated.params) / se, 0, atol=2e-5)
    sd = "variance" if "mmrm" in model else "sd"
    old, new = repeated.variances()[sd].dropna(), weighted.variances()[sd].dropna()
    np.testing.assert_allclose(new, old, rtol=2e-5)
    # Repeated patients look like more information than there is.
    assert (np.diag(weighted.vcov) > np.diag(repeated.vcov)).all()


@pytest.mark.parametrize("model", MODELS)
def test_the_scale_of_weights_does_not_matter(visits: pd.DataFrame, model: str) -> None:
    one = MODELS[model](visits, patient_weights="w", method="ml")
    other = MODELS[model](visits.assign(w=visits["w"] * 0.037), patient_weights="w", method="ml")
    np.testing.assert_allclose(other.params, one.params, rtol=1e-6)
    np.testing.assert_allclose(other.vcov, one.vcov, rtol=1e-5, atol=1e-12)
    assert other.loglik == pytest.approx(one.loglik, rel=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_equal_weights_leave_the_estimates_alone(visits: pd.DataFrame, model: str) -> None:
    plain = MODELS[model](visits, method="ml")
    equal = MODELS[model](visits.assign(w=3.0), patient_weights="w", method="ml")
    np.testing.assert_allclose(equal.params, plain.params, rtol=1e-6)
    assert equal.loglik == pytest.approx(plain.loglik, rel=1e-9)
    ratio = np.sqrt(np.diag(equal.vcov) / np.diag(plain.vcov))
    assert ((ratio > 0.7) & (ratio < 1.4)).all()


def test_balanced_visits_are_means_with_errors_by_hand() -> None:
    """Two cohorts, two visits, everybody seen: means are weighted means, and their errors those of weighted means."""
    y = {"a": [1.0, 2.0, 4.0], "b": [3.0, 5.0]}
    w = {"a": [1.0, 2.0, 1.0], "b": [1.0, 3.0]}
    change = {"a": [1.0, -1.0, 0.5], "b": [2.0, 1.0]}
    rows = [
        {"id": f"{c}{k}", "cohort": c, "t": t, "y": y[c][k] + t * change[c][k], "w": w[c][k]}
        for c in y
        for k in range(len(y[c]))
        for t in (0, 1)
    ]
    fit = ist.fit_growth(
        pd.DataFrame(rows),
        outcome="y",
        time="t",
        patient="id",
        cohort="cohort",
        reference="a",
        random="intercept",
        patient_weights="w",
        method="ml",
    )
    # Change of a: (1 - 2 + .5) / 4 = -.125; of b: (2 + 3) / 4 = 1.25.
    found = fit.contrasts(at=[1]).tidy().set_index("quantity").loc["change"]
    assert found["estimate"] == pytest.approx(1.375)
    # Squared error of a weighted mean: sum w^2 (x - mean)^2 / (sum w)^2.
    a = (1.125**2 + 4 * 0.875**2 + 0.625**2) / 16
    b = (0.75**2 + 9 * 0.25**2) / 16
    assert found["std_error"] == pytest.approx(np.sqrt(a + b))
    assert found["df"] == np.inf


def test_answers_are_normal_and_the_header_says_what_weights_leave(visits: pd.DataFrame) -> None:
    result = MODELS["growth"](visits, patient_weights="w", method="ml")
    assert np.isinf(result.effect_sizes(at=[36]).tidy()["df"]).all()
    assert np.isinf(result.retained_improvement(at=[36]).tidy()["df"]).all()
    text = " ".join(repr(result).split())
    cohort = result.design.cohort_codes[np.unique(result.design.patient_codes, return_index=True)[1]]
    w = result.design.weight[cohort == 0]
    assert f"before {w.sum() ** 2 / (w @ w):.1f} of {len(w)}" in text
    assert "take the weights as known" in text
    assert np.isnan(result.glance().loc[0, "aic"])


def test_a_weighted_sd_is_that_of_repeated_patients_but_for_its_df(visits: pd.DataFrame) -> None:
    result = MODELS["growth"](visits, patient_weights="w", method="ml")
    start = visits[visits["month"] == 0].dropna(subset="bsi")
    squares, worth = 0.0, 0.0
    for _, part in start.groupby("cohort"):
        w = part["w"].to_numpy()
        n = w.sum() ** 2 / (w @ w)
        mean = np.average(part["bsi"], weights=w)
        squares += n * np.average((part["bsi"] - mean) ** 2, weights=w)
        worth += n - 1
    assert result.effect_sizes(at=[36]).tidy()["sd"].iloc[0] == pytest.approx(np.sqrt(squares / worth))


def test_known_patients_are_predicted_from_their_own_rows(visits: pd.DataFrame) -> None:
    plain = MODELS["growth"](visits, method="ml")
    equal = MODELS["growth"](visits.assign(w=3.0), patient_weights="w", method="ml")
    np.testing.assert_allclose(equal.predict()["estimate"], plain.predict()["estimate"], rtol=1e-6)
    np.testing.assert_allclose(
        equal.random_effects()["estimate"], plain.random_effects()["estimate"], rtol=1e-5, atol=1e-9
    )


REFUSED = {
    "reml": (
        {"patient_weights": "w"},
        "method='reml': a weighted restricted likelihood is not defined; say method='ml'",
    ),
    "groups": (
        {"patient_weights": "w", "method": "ml", "groups": "therapist"},
        "groups='therapist': not with patient_weights=; leave groups= out, or fit_mmrm with patient_weights=",
    ),
    "residual": (
        {"patient_weights": "w", "method": "ml", "residual": "ar1"},
        "residual='ar1': not with patient_weights=; leave residual= out, or fit_mmrm with patient_weights=",
    ),
    "zero": (
        {"patient_weights": "zero", "method": "ml"},
        "patient_weights='zero': zero or negative in rows 0, 1, 2; leave these patients out, or look at how the "
        "weights were made",
    ),
    "changing": (
        {"patient_weights": "month", "method": "ml"},
        "time='month': is named as patient_weights= too; each role has a column of its own",
    ),
    "by visit": (
        {"patient_weights": "age_now", "method": "ml"},
        "patient_weights='age_now': changes within a patient in rows 0, 1, 3 and 235 more; give each patient one "
        "weight",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason(visits: pd.DataFrame, case: str) -> None:
    options, message = REFUSED[case]
    frame = visits.assign(zero=np.where(visits.index < 3, 0.0, 1.0), age_now=visits["age"] + visits["month"] / 12)
    with pytest.raises(DataError) as caught:
        ist.fit_growth(frame, time="month", **ROLES, **options)
    assert message in str(caught.value)


def test_small_sample_df_and_likelihoods_are_refused(visits: pd.DataFrame) -> None:
    result = MODELS["mmrm"](visits, patient_weights="w", method="ml")
    with pytest.raises(DataError, match="df='satterthwaite': not defined with patient_weights="):
        result.means(df="satterthwaite")
    for what, ask in {
        "bootstrap": lambda: ist.bootstrap(result, n=199, rng=1),
        "diagnose": lambda: ist.diagnose(result),
        "compare_models": lambda: ist.compare_models(result, MODELS["mmrm"](visits, method="ml")),
        "cross_check": result.cross_check,
        "variances": lambda: result.variances(level=0.95),
        "sd='model'": lambda: result.effect_sizes(at=[36], sd="model"),
    }.items():
        with pytest.raises(DataError, match=r"not defined with patient_weights=; fit without them") as caught:
            ask()
        assert what in str(caught.value)


def test_missing_weights_are_dropped_and_counted(visits: pd.DataFrame) -> None:
    frame = visits.assign(w=visits["w"].where(visits["patient"] != visits["patient"].iloc[0]).astype(float))
    result = MODELS["growth"](frame, patient_weights="w", method="ml")
    assert result.sample.dropped["w missing"] == int((visits["patient"] == visits["patient"].iloc[0]).sum())
