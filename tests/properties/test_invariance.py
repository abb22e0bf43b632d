"""What must not depend on how the same study is written down: order, names, reference, units of time and outcome."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import implstats as ist

FEW = settings(derandomize=True, deadline=None, max_examples=4)
ROLES = {"outcome": "bsi", "time": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}
WAYS = ["satterthwaite", "kenward-roger"]
NUMBERS = ["estimate", "std_error", "df", "conf_low", "conf_high"]


@pytest.fixture(autouse=True, scope="module")
def _boundary_is_no_matter() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ist.BoundaryWarning)
        yield


def fit(frame: pd.DataFrame, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ist.BoundaryWarning)
        return ist.fit_growth(frame, **({**ROLES, "better": "lower", "shape": "linear"} | options))


def answers(result: Any, at: list[float], way: str) -> dict[str, pd.DataFrame]:
    return {
        "means": result.means(at, df=way).tidy(),
        "contrasts": result.contrasts(at, df=way).tidy(),
        "changes": result.changes(at, df=way).tidy(),
        "d": result.effect_sizes(at, df=way).tidy(),
        "d of the model": result.effect_sizes(at, sd="model", df=way).tidy(),
        "d of its own": result.effect_sizes(at, sd="own", df=way).tidy(),
        "retained": result.retained_improvement(at, df=way).tidy(),
    }


def same(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame], *, rel: float = 2e-6) -> None:
    for name, frame in one.items():
        for column in NUMBERS:
            size = 1.0 if column == "df" else float(np.abs(frame["std_error"]).max())
            np.testing.assert_allclose(
                other[name][column], frame[column], rtol=rel, atol=rel * size, err_msg=f"{name}, {column}"
            )


@given(seed=st.integers(0, 1000), shape=st.sampled_from(["linear", "visits", "quadratic"]))
@FEW
def test_order_of_the_rows(cohorts: Callable[..., pd.DataFrame], seed: int, shape: str) -> None:
    frame = cohorts(seed)
    mixed = frame.sample(frac=1, random_state=seed)
    one, other = (fit(f, shape=shape, adjust="age + sex") for f in (frame, mixed))
    same(answers(one, [12, 24], "satterthwaite"), answers(other, [12, 24], "satterthwaite"))
    assert other.fit.deviance == pytest.approx(one.fit.deviance, abs=1e-8)
    pd.testing.assert_frame_equal(
        other.augment().sort_index(), one.augment().sort_index(), rtol=1e-5, atol=1e-6, check_dtype=False
    )
    effects = [f.random_effects().set_index(["level", "effect"])["estimate"].sort_index() for f in (one, other)]
    pd.testing.assert_series_equal(*effects, rtol=1e-5, atol=1e-6)


@given(seed=st.integers(0, 1000))
@FEW
def test_names_of_patients_and_cohorts(cohorts: Callable[..., pd.DataFrame], seed: int) -> None:
    frame = cohorts(seed)
    names = dict(zip(frame["patient"].unique(), np.random.default_rng(seed).permutation(10_000)[:100], strict=False))
    renamed = frame.assign(
        patient=frame["patient"].map(names), cohort=frame["cohort"].map({"before": "z", "during": "a"})
    )
    one, other = fit(frame), fit(renamed, reference="z")
    for way in WAYS:
        same(answers(one, [12, 24], way), answers(other, [12, 24], way))


@given(seed=st.integers(0, 1000), shape=st.sampled_from(["linear", "visits"]))
@FEW
def test_other_reference_turns_the_sign(cohorts: Callable[..., pd.DataFrame], seed: int, shape: str) -> None:
    frame = cohorts(seed)
    one, other = fit(frame, shape=shape), fit(frame, shape=shape, reference="during")
    for way in WAYS:
        a, b = one.contrasts([12, 24], df=way).tidy(), other.contrasts([12, 24], df=way).tidy()
        np.testing.assert_allclose(a["estimate"], -b["estimate"], rtol=1e-6, atol=1e-8)
        np.testing.assert_allclose(a["conf_low"], -b["conf_high"], rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(a[["std_error", "df", "p_value"]], b[["std_error", "df", "p_value"]], rtol=2e-6)
        for sd in ("baseline", "own", "model"):
            a, b = (f.effect_sizes([12, 24], sd=sd, df=way).tidy() for f in (one, other))
            gaps = [x[x["quantity"] == "difference"] for x in (a, b)]
            np.testing.assert_allclose(gaps[0]["estimate"], -gaps[1]["estimate"], rtol=1e-6, atol=1e-8)
            np.testing.assert_allclose(gaps[0]["std_error"], gaps[1]["std_error"], rtol=2e-6)
            own = [x[x["quantity"] == "d"].sort_values(["cohort", "time"]) for x in (a, b)]
            np.testing.assert_allclose(own[0][NUMBERS], own[1][NUMBERS], rtol=2e-6, atol=1e-8)
        # The inverse of the ratio is the ratio of the other reference, set included.
        a = one.retained_improvement([12, 24], df=way, as_="times").tidy()
        b = other.retained_improvement([12, 24], df=way).tidy()
        assert a["set"].tolist() == b["set"].tolist()
        np.testing.assert_allclose(
            a[["estimate", "conf_low", "conf_high"]], b[["estimate", "conf_low", "conf_high"]], rtol=1e-5
        )
    assert other.fit.deviance == pytest.approx(one.fit.deviance, abs=1e-7)


@pytest.mark.parametrize("factor", [1e-3, 12.0, 1e6, 2629800e6])
@pytest.mark.parametrize(("shape", "columns"), [("linear", 2), ("quadratic", 6), ("log", 0), ("visits", 0)])
@pytest.mark.parametrize("random", ["slope", "uncorrelated"])
def test_unit_of_time(
    cohorts: Callable[..., pd.DataFrame], factor: float, shape: str, columns: int, random: str
) -> None:
    # REML's -2 l has log|X'V^-1 X|: a column of t times c adds 2 log c, one of t^2 adds 4 log c; with two cohorts
    # each stands there twice, so 2 columns of t give 4 log c, and 2 of t with 2 of t^2 give 12 log c.
    frame = cohorts(1)
    scaled = frame.assign(month=frame["month"] * factor)
    for method in ("reml", "ml"):
        one, other = (fit(f, shape=shape, method=method, random=random, adjust=["age"]) for f in (frame, scaled))
        constant = 2 * columns * np.log(factor) if method == "reml" else 0.0
        assert other.fit.deviance == pytest.approx(one.fit.deviance + constant, abs=1e-6)
        assert other.fit.sigma2 == pytest.approx(one.fit.sigma2, rel=1e-6)
        for way in WAYS if method == "reml" else WAYS[:1]:
            same(answers(one, [12, 24], way), answers(other, [12 * factor, 24 * factor], way), rel=5e-6)


# A parabola at 1e6 is left out: t^2 at 1e12 has no digits left for its bend.
@pytest.mark.parametrize(
    ("shape", "origin"),
    [
        (s, o)
        for s in ("linear", "quadratic", "visits")
        for o in (-24.0, 2020 * 12.0, 1e6)
        if (s, o) != ("quadratic", 1e6)
    ],
)
def test_origin_of_time(cohorts: Callable[..., pd.DataFrame], origin: float, shape: str) -> None:
    frame = cohorts(2)
    moved = frame.assign(month=frame["month"] + origin)
    for method in ("reml", "ml"):
        one = fit(frame, shape=shape, method=method)
        other = fit(moved, shape=shape, method=method, baseline=origin)
        # The shift is a triangular map of the columns with ones on the diagonal: no constant at all.
        assert other.fit.deviance == pytest.approx(one.fit.deviance, abs=1e-6)
        for way in WAYS if method == "reml" else WAYS[:1]:
            same(answers(one, [12, 24], way), answers(other, [12 + origin, 24 + origin], way), rel=2e-5)


@pytest.mark.parametrize("unit", [1e-9, 1e-6, 1e-3, -1.0, 1e3, 1e6, 1e9])
@pytest.mark.parametrize("random", ["intercept", "slope"])
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_unit_of_the_outcome(cohorts: Callable[..., pd.DataFrame], unit: float, random: str, method: str) -> None:
    # -2 l of a + b y is that of y plus 2 nu log|b|, nu = n - p (REML) or n (ML): the density of a linear map.
    frame = cohorts(3)
    other = fit(
        frame.assign(bsi=5 * unit + unit * frame["bsi"]),
        random=random,
        method=method,
        better="lower" if unit > 0 else "higher",
    )
    one = fit(frame, random=random, method=method)
    nu = len(frame) - 4 if method == "reml" else len(frame)
    assert other.fit.deviance == pytest.approx(one.fit.deviance + 2 * nu * np.log(abs(unit)), abs=1e-6)
    for way in WAYS if method == "reml" else WAYS[:1]:
        for name in ("d", "d of the model", "d of its own", "retained"):
            same({name: answers(one, [12, 24], way)[name]}, {name: answers(other, [12, 24], way)[name]}, rel=1e-5)
        a, b = one.contrasts([24], df=way).tidy(), other.contrasts([24], df=way).tidy()
        np.testing.assert_allclose(b["estimate"], unit * a["estimate"], rtol=1e-6)
        np.testing.assert_allclose(b[["df", "p_value"]], a[["df", "p_value"]], rtol=1e-4)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_unit_of_the_outcome_with_sites(cohorts: Callable[..., pd.DataFrame], unit: float) -> None:
    frame = cohorts(4)
    one, other = (fit(f, groups="site") for f in (frame, frame.assign(bsi=frame["bsi"] * unit)))
    for way in WAYS:
        a, b = one.contrasts([24], df=way).tidy(), other.contrasts([24], df=way).tidy()
        np.testing.assert_allclose(b["estimate"], unit * a["estimate"], rtol=1e-5)
        np.testing.assert_allclose(b[["df", "p_value"]], a[["df", "p_value"]], rtol=1e-3)


@given(seed=st.integers(0, 1000))
@FEW
def test_unit_and_origin_of_covariates(cohorts: Callable[..., pd.DataFrame], seed: int) -> None:
    frame = cohorts(seed)
    scale = 10.0 ** np.random.default_rng(seed).integers(-8, 9)
    one = fit(frame, adjust="age * sex")
    other = fit(frame.assign(age=1900 * scale + scale * frame["age"]), adjust="age * sex")
    for way in WAYS:
        same(answers(one, [12, 24], way), answers(other, [12, 24], way), rel=1e-5)


@given(seed=st.integers(0, 1000))
@FEW
def test_every_patient_twice(cohorts: Callable[..., pd.DataFrame], seed: int) -> None:
    # Under ML the log-likelihood doubles: the same estimates, and half their covariance.
    frame = cohorts(seed)
    both = pd.concat([frame, frame.assign(patient=frame["patient"] + "'")], ignore_index=True)
    one, other = fit(frame, method="ml"), fit(both, method="ml")
    assert other.fit.deviance == pytest.approx(2 * one.fit.deviance, abs=1e-6)
    np.testing.assert_allclose(other.params, one.params, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(other.vcov, one.vcov / 2, rtol=1e-4, atol=1e-7)
    assert other.fit.sigma2 == pytest.approx(one.fit.sigma2, rel=1e-5)
    np.testing.assert_allclose(other.fit.G[0], one.fit.G[0], atol=1e-5)
    # Observed information doubles as well, and with it Satterthwaite's df.
    a, b = one.contrasts([24]).tidy(), other.contrasts([24]).tidy()
    np.testing.assert_allclose(b["df"], 2 * a["df"], rtol=1e-3)


@given(seed=st.integers(0, 1000))
@FEW
def test_a_patient_without_an_outcome_changes_nothing(cohorts: Callable[..., pd.DataFrame], seed: int) -> None:
    frame = cohorts(seed)
    empty = frame.iloc[:3].assign(patient="nobody", bsi=np.nan)
    one, other = fit(frame), fit(pd.concat([frame, empty], ignore_index=True))
    same(answers(one, [24], "satterthwaite"), answers(other, [24], "satterthwaite"))
    assert other.sample.dropped == {"bsi missing": 3}


def test_order_of_the_rows_with_a_baseline_column(cohorts: Callable[..., pd.DataFrame]) -> None:
    frame = cohorts(6)
    start = frame[frame["month"] == 0].set_index("patient")["bsi"]
    later = frame[frame["month"] > 0].assign(pre=lambda f: f["patient"].map(start))
    options = {"baseline": "pre", "adjust": ["age"]}
    one = fit(later, **options)
    other = fit(later.iloc[::-1], **options)
    same(answers(one, [12, 24], "satterthwaite"), answers(other, [12, 24], "satterthwaite"))
    whole = fit(frame, adjust=["age"])
    same(answers(whole, [12, 24], "satterthwaite"), answers(one, [12, 24], "satterthwaite"))


@pytest.mark.parametrize("factor", [1e-3, 1e6])
def test_comparison_does_not_know_the_unit_of_time(cohorts: Callable[..., pd.DataFrame], factor: float) -> None:
    frame = cohorts(7, times=(0, 18, 36))
    scaled = frame.assign(month=frame["month"] * factor)
    call: dict[str, Any] = {k: v for k, v in ROLES.items() if k != "outcome"} | {"outcomes": {"bsi": "lower"}}
    one = ist.compare_cohorts(frame, at=[18, 36], **call)
    other = ist.compare_cohorts(scaled, at=[18 * factor, 36 * factor], **call)
    a, b = one.tidy(), other.tidy()
    columns = [c for c in a.columns if a[c].dtype.kind == "f" and c != "time"]
    np.testing.assert_allclose(b[columns], a[columns], rtol=1e-5, atol=1e-7)
    a, b = one.overall(draws=30, rng=4), other.overall(draws=30, rng=4)
    np.testing.assert_allclose(b.draws, a.draws, rtol=1e-4, atol=1e-5)


def test_order_of_the_rows_with_a_baseline_column_and_a_covariate_that_varies(
    cohorts: Callable[..., pd.DataFrame],
) -> None:
    # The visit at 0 takes a covariate of its own from somewhere: it must not be whichever row stands first.
    frame = cohorts(6)
    start = frame[frame["month"] == 0].set_index("patient")["bsi"]
    later = frame[frame["month"] > 0].assign(
        pre=lambda f: f["patient"].map(start), age=lambda f: f["age"] + np.sqrt(f["month"])
    )
    try:
        one = fit(later, baseline="pre", adjust=["age"])
    except ist.DataError:
        return
    other = fit(later.iloc[::-1], baseline="pre", adjust=["age"])
    same(answers(one, [12, 24], "satterthwaite"), answers(other, [12, 24], "satterthwaite"))


def test_other_reference_turns_the_sign_with_sites(cohorts: Callable[..., pd.DataFrame]) -> None:
    rng = np.random.default_rng(5)
    frame = cohorts(5, patients=120)
    site = frame["patient"].str[1:].astype(int) // 2 % 6
    during = frame["cohort"] == "during"
    own, gap = rng.normal(size=6)[site] * 0.06, rng.normal(size=6)[site] * 0.05
    frame = frame.assign(site=site, bsi=frame["bsi"] + (own + gap * during) * frame["month"])
    one, other = (fit(frame, groups="site", reference=c) for c in ("before", "during"))
    a, b = one.contrasts([24]).tidy(), other.contrasts([24]).tidy()
    np.testing.assert_allclose(a["p_value"], b["p_value"], rtol=1e-3)
    assert other.fit.deviance == pytest.approx(one.fit.deviance, abs=1e-5)
