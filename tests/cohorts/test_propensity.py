"""Propensity weights: by hand on a two by two table, exact balance, statsmodels, and refusals by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st

import implstats as ist
from implstats.errors import DataError

ROLES = {"cohort": "cohort", "reference": "before"}


def drawn(seed: int, n: int = 200) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age, sex = rng.normal(40, 10, n), rng.choice(["f", "m"], n)
    later = rng.random(n) < 1 / (1 + np.exp(-(age - 40) / 12 - (sex == "m") * 0.7))
    return pd.DataFrame({"age": age, "sex": sex, "cohort": np.where(later, "during", "before")})


def test_one_binary_covariate_by_hand() -> None:
    """Of 10 women 4 are during, of 6 men 4: probabilities .4 and .667 exactly."""
    frame = pd.DataFrame(
        {"sex": ["f"] * 10 + ["m"] * 6, "cohort": ["during"] * 4 + ["before"] * 6 + ["during"] * 4 + ["before"] * 2}
    )
    expected = {
        "ate": [1 / 0.4, 1 / 0.6, 1.5, 3.0],
        "att": [1.0, 0.4 / 0.6, 1.0, 2.0],
        "overlap": [0.6, 0.4, 1 / 3, 2 / 3],
    }
    rows = [0, 4, 10, 14]
    for estimand, weights in expected.items():
        found = ist.propensity_weights(frame, covariates=["sex"], estimand=estimand, **ROLES)
        np.testing.assert_allclose(found.weights.iloc[rows], weights, rtol=1e-9)
        np.testing.assert_allclose(found.scores.iloc[rows], [0.4, 0.4, 2 / 3, 2 / 3], rtol=1e-9)
    stable = ist.propensity_weights(frame, covariates=["sex"], stabilised=True, **ROLES)
    np.testing.assert_allclose(stable.weights.iloc[rows], np.array(expected["ate"]) * 0.5, rtol=1e-9)
    # Women during: 4 x 2.5 = 10, men during: 4 x 1.5 = 6; worth 16^2 / (4 x 6.25 + 4 x 2.25).
    worth = ist.propensity_weights(frame, covariates=["sex"], **ROLES).effective().set_index("cohort")["effective_n"]
    assert worth["during"] == pytest.approx(256 / 34)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_overlap_weights_balance_every_term_exactly(seed: int) -> None:
    frame = drawn(seed)
    found = ist.propensity_weights(frame, covariates="age + sex + I(age**2)", estimand="overlap", **ROLES)
    table = ist.balance_table(
        frame.assign(square=frame["age"] ** 2), covariates=["age", "sex", "square"], weights=found.weights, **ROLES
    ).tidy()
    np.testing.assert_allclose(table.loc[table["weighted"], "std_difference"].dropna(), 0, atol=1e-7)


def test_coefficients_are_those_of_statsmodels_logit() -> None:
    frame = drawn(3)
    found = ist.propensity_weights(frame, covariates="age + sex", **ROLES)
    X = sm.add_constant(pd.DataFrame({"age": frame["age"], "sex[m]": (frame["sex"] == "m").astype(float)}))
    other = sm.Logit((frame["cohort"] == "during").astype(float), X).fit(disp=0)
    np.testing.assert_allclose(found.params, other.params, rtol=1e-6)
    np.testing.assert_allclose(found.tidy()["std_error"], other.bse, rtol=1e-6)
    assert found.loglik == pytest.approx(other.llf)


def test_swapping_cohorts_turns_scores_over_and_keeps_weights() -> None:
    frame = drawn(5)
    one = ist.propensity_weights(frame, covariates="age + sex", **ROLES)
    other = ist.propensity_weights(frame, covariates="age + sex", cohort="cohort", reference="during")
    np.testing.assert_allclose(one.scores, 1 - other.scores, atol=1e-9)
    np.testing.assert_allclose(one.weights, other.weights, rtol=1e-7)


def test_rows_of_a_patient_share_a_weight_and_missing_ones_have_none() -> None:
    frame = drawn(7).assign(id=range(200))
    frame.loc[3, "age"] = np.nan
    visits = pd.concat([frame, frame], ignore_index=True).sample(frac=1, random_state=1)
    found = ist.propensity_weights(visits, covariates="age + sex", patient="id", **ROLES)
    assert visits.assign(w=found.weights).groupby("id")["w"].nunique().drop(3).eq(1).all()
    assert visits.loc[found.weights.isna(), "id"].tolist() == [3, 3]
    assert "1 age missing" in repr(found)
    with pytest.raises(DataError, match="missing='raise': age missing in row"):
        ist.propensity_weights(visits, covariates="age + sex", patient="id", missing="raise", **ROLES)


def test_the_header_counts_patients_who_dominate() -> None:
    frame = drawn(9).assign(age=lambda f: f["age"] + np.where(f["cohort"] == "during", 25, 0))
    text = " ".join(repr(ist.propensity_weights(frame, covariates=["age"], **ROLES)).split())
    assert "the answer hangs on few patients; estimand='overlap' does not" in text


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "level": (
        lambda f: f.assign(care=np.where((f["cohort"] == "during") & (f.index < 50), "new", "old")),
        {"covariates": "age + care"},
        "covariates='care': 'new' occurs in 'during' only; leave these patients out, or the covariate; no weight makes "
        "cohorts alike there (positivity)",
    ),
    "range": (
        lambda f: f.assign(year=np.where(f["cohort"] == "during", 2012.0, 2008.0) + f.index % 2),
        {"covariates": ["year"]},
        "covariates='year': at most 2009 in 'before' and at least 2012 in 'during'; leave these patients out, or the "
        "covariate; no weight makes cohorts alike there (positivity)",
    ),
    "together": (
        lambda f: f.assign(a=np.where(f["cohort"] == "during", f["age"], -f["age"]), b=f["age"] * 1.0).assign(
            a=lambda g: g["a"] + 10 * g["b"]
        ),
        {"covariates": ["a", "b"]},
        "covariates=['a', 'b']: 'a', 'b' together tell the cohorts apart, so some patients can be in one cohort only "
        "(positivity); leave such patients out, or a covariate that decides the cohort",
    ),
    "estimand": (
        lambda f: f,
        {"covariates": ["age"], "estimand": "atte"},
        "estimand='atte': unknown option; did you mean 'att'?",
    ),
    "stabilised": (
        lambda f: f,
        {"covariates": ["age"], "estimand": "att", "stabilised": True},
        "stabilised=True: not for estimand='att'; its weights are bounded as they are",
    ),
    "three": (
        lambda f: f.assign(cohort=f["cohort"].where(f.index > 20, "after")),
        {"covariates": ["age"]},
        "cohort='cohort': 3 cohorts; keep the two to be compared",
    ),
    "aliased": (
        lambda f: f.assign(months=f["age"] * 12),
        {"covariates": ["age", "months"]},
        "'months': a linear combination of the other terms, or empty; drop it, or merge the categories",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_by_name(case: str) -> None:
    change, options, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        ist.propensity_weights(change(drawn(11)), **(ROLES | options))
    assert str(caught.value) == message


def test_weights_undo_measured_confounding_in_a_growth_model() -> None:
    """Older patients change less, and are more often treated later: the truth is no difference between cohorts."""
    rng = np.random.default_rng(4)
    people = drawn(13, 3000).assign(id=range(3000))
    change = -0.05 * (people["age"] - 40)
    frames = [
        people.assign(month=t, score=10 + t / 6 * change + rng.normal(0, 1, 3000) + rng.normal(0, 0.5, 3000))
        for t in (0, 6)
    ]
    visits = pd.concat(frames, ignore_index=True)
    roles = {"outcome": "score", "time": "month", "patient": "id", "random": "intercept", "method": "ml"} | ROLES
    found = ist.propensity_weights(visits, covariates="age + sex", patient="id", **ROLES)
    naive = ist.fit_growth(visits, **roles).contrasts(at=[6]).tidy().iloc[-1]
    right = ist.fit_growth(visits.assign(w=found.weights), patient_weights="w", **roles).contrasts(at=[6]).tidy()
    assert naive["conf_high"] < -0.1
    assert right.iloc[-1]["conf_low"] < 0 < right.iloc[-1]["conf_high"]
