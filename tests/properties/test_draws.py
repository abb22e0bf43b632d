"""Draws of patients are the model of the drawn rows, each draw a patient of its own; and so are other outcomes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import implstats as ist
from implstats.growth.bootstrap import effect_size_draws, patient_weights
from implstats.growth.refits import Refits

pytestmark = pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")

FEW = settings(derandomize=True, deadline=None, max_examples=2)
ROLES: dict[str, Any] = {"outcome": "bsi", "patient": "patient", "cohort": "cohort", "reference": "before"}
ROLES |= {"better": "lower"}
Frames = Callable[..., pd.DataFrame]
Fit = Callable[[pd.DataFrame], Any]


def growth(**options: Any) -> Fit:
    return lambda frame: ist.fit_growth(frame, time="month", **(ROLES | {"shape": "linear"} | options))


def mmrm(**options: Any) -> Fit:
    return lambda frame: ist.fit_mmrm(frame, visit="month", **(ROLES | options))


def mixed(formula: str, **options: Any) -> Fit:
    return lambda frame: ist.fit_mixed(frame, formula=formula, **options)


FITS: dict[str, Fit] = {
    "slope": growth(adjust="age + sex"),
    "visits": growth(shape="visits", random="uncorrelated", method="ml"),
    "precision": growth(precision="weight"),
    "by cohort": growth(residual="by_cohort", precision="weight"),
    "by visit": growth(random="intercept", residual="by_visit"),
    "ar1": growth(random="intercept", residual="ar1"),
    "sites": growth(groups="site", shape="visits"),
    "crossed": mixed("bsi ~ month * cohort + (1 + month | patient) + (1 | site)"),
    "mmrm": mmrm(),
    "mmrm by cohort": mmrm(covariance="heterogeneous-ar1", by_cohort=True, method="ml"),
}
# By whole days after an odd first gap, so that gaps are no multiples of the smallest.
FITS |= {"ar1, fractional gaps": growth(random="intercept", residual="ar1", precision="weight")}


def study(cohorts: Frames, name: str, seed: int = 1) -> pd.DataFrame:
    times = (0, 5, 12, 19.5) if "fractional" in name else (0, 6, 12, 18)
    frame = cohorts(seed, patients=30, times=times)
    rng = np.random.default_rng(seed)
    # Residuals that hang together, so that no correlation is at its boundary.
    noise = rng.normal(size=len(frame)).cumsum() * 0.6
    noise -= pd.Series(noise).groupby(frame["patient"]).transform("first").to_numpy()
    return frame.assign(weight=rng.uniform(0.5, 3, len(frame)), bsi=frame["bsi"] + noise)


def drawn(frame: pd.DataFrame, names: list[str], weights: np.ndarray) -> pd.DataFrame:
    """Return the rows of every draw."""
    parts = [
        frame[frame["patient"] == name].assign(patient=f"{name}#{k}")
        for name, w in zip(names, weights, strict=True)
        for k in range(int(w))
    ]
    return pd.concat(parts, ignore_index=True)


def rows(result: Any) -> np.ndarray:
    table = result.variances()
    values = table["variance"]
    return (values.fillna(table["correlation"]) if "correlation" in table else values).to_numpy(float)


def agree(draws: Any, b: int, single: Any) -> None:
    """Compare one of many fits with a fit of its own."""
    assert draws.good[b]
    np.testing.assert_allclose(draws.beta[b], single.fit.beta, rtol=2e-5, atol=2e-5)
    assert draws.deviance[b] == pytest.approx(single.fit.deviance, abs=1e-7)
    # A correlation of variances that are nearly zero is hardly known.
    np.testing.assert_allclose(draws.variances[b], rows(single), rtol=1e-4, atol=1e-4)


def together(refits: Refits, found: Any) -> None:
    """See to it that the versions climbed together: fits one by one, which serve where they fail, would hide faults."""
    if refits.road is not None:
        draws, false = found
        assert draws.good.all()
        assert not false.any()


@pytest.mark.parametrize("name", FITS)
@given(seed=st.integers(0, 1000))
@FEW
def test_whole_weights_are_copies_under_new_ids(cohorts: Frames, name: str, seed: int) -> None:
    frame = study(cohorts, name)
    refits = Refits(FITS[name](frame))
    weights = np.random.default_rng(seed).integers(0, 4, size=(2, 30))
    draws = refits.weighted(weights)
    together(refits, refits.road and refits.road.weighted(weights))
    for b in range(2):
        agree(draws, b, FITS[name](drawn(frame, refits.patients, weights[b])))


@pytest.mark.parametrize("name", FITS)
@given(seed=st.integers(0, 1000))
@FEW
def test_other_outcomes_are_a_frame_with_other_outcomes(cohorts: Frames, name: str, seed: int) -> None:
    frame = study(cohorts, name)
    result = FITS[name](frame)
    refits, rng = Refits(result), np.random.default_rng(seed)
    outcomes = 100 + refits.simulate(2, rng) + 0.2 * rng.normal(size=(len(frame), 2))
    draws = refits.redrawn(outcomes)
    errors = outcomes - result.augment()["fixed"].to_numpy()[:, None]
    together(refits, refits.road and refits.road.redrawn(errors))
    for b in range(2):
        agree(draws, b, FITS[name](frame.assign(bsi=pd.Series(outcomes[:, b], index=result.design.labels))))


def covariance(result: Any, frame: pd.DataFrame) -> np.ndarray:
    """Return Z G Z' + R of all rows, R from the frame's columns."""
    patient, month, cohort = (frame[c].to_numpy() for c in ("patient", "month", "cohort"))
    same = patient[:, None] == patient
    if isinstance(result, ist.MMRMResult):
        known = {(r.cohort, r.time, r.other): r.covariance for r in result.covariance().itertuples()}
        who = cohort if result.by_cohort else np.full(len(frame), "")
        pairs = [[known[c, t, u] for u in month] for c, t in zip(who, month, strict=True)]
        return np.where(same, pairs, 0.0)
    table = result.variances().query("group == 'Residual'")
    variance = {e: v for e, v in zip(table["effect"], table["variance"], strict=True) if v == v}
    names = {"": [""] * len(frame), "cohort": [f"cohort[{c}]" for c in cohort]}
    names["month"] = [f"month[{t:g}]" for t in month]
    column = next(iter(variance)).split("[")[0]
    sd = np.sqrt([variance[n] for n in names[column]])
    if result.design.noise.precision is not None:
        sd /= np.sqrt(frame["weight"].to_numpy())
    gaps = np.abs(month[:, None] - month) / result.design.noise.step
    V = np.outer(sd, sd) * (same * result.fit.rho**gaps if result.fit.rho else np.eye(len(sd)))
    for term, G in zip(result.design.terms, result.fit.G, strict=True):
        V += term.Z @ G @ term.Z.T * (term.of_row[:, None] == term.of_row)
    return V


@pytest.mark.parametrize("name", FITS)
def test_simulated_outcomes_have_the_models_mean_and_covariance(cohorts: Frames, name: str) -> None:
    frame = study(cohorts, name)
    result = FITS[name](frame)
    D, V = 4_000, covariance(result, frame)
    y = Refits(result).simulate(D, np.random.default_rng(3)) - result.augment()["fixed"].to_numpy()[:, None]
    # Monte Carlo errors: of a mean sqrt(V_ii / D), of a covariance sqrt((V_ii V_jj + V_ij^2) / D); of some 10,000
    # normal deviates the largest is about 4.
    variance = np.diag(V)
    assert np.abs(y.mean(axis=1) / np.sqrt(variance / D)).max() < 5
    error = np.sqrt((np.outer(variance, variance) + V**2) / D)
    assert np.abs((y @ y.T / D - V) / error).max() < 5
    # And a wrong covariance would be seen: correlations matter, not variances alone.
    assert np.abs((y @ y.T / D - np.diag(variance)) / error).max() > 10


@pytest.mark.parametrize("groups", [None, "site"])
@pytest.mark.parametrize("sd", ["baseline", "own", "reference", "model", 2.0])
@pytest.mark.parametrize("shape", ["visits", "linear"])
def test_effect_sizes_of_a_draw(cohorts: Frames, groups: str | None, sd: str | float, shape: str) -> None:
    frame = cohorts(11, patients=40, times=(0, 12, 24))
    fit = growth(shape=shape, groups=groups)
    result = fit(frame)
    refits = Refits(result)
    found, failed = effect_size_draws({"bsi": result}, [12, 24], sd, 3, np.random.default_rng(1))
    weights = patient_weights(refits.cohort_of, 3, np.random.default_rng(1))
    assert failed == 0
    for d, w in zip(found, weights, strict=True):
        table = fit(drawn(frame, refits.patients, w)).effect_sizes([12, 24], sd=sd, df="normal").tidy()
        wanted = table.loc[table["quantity"] == "d", "estimate"].to_numpy().reshape(2, 2)
        np.testing.assert_allclose(d[0], wanted, rtol=1e-4, atol=1e-5)


def test_strata_keep_their_sizes_and_every_patient_of_one_is_as_likely() -> None:
    stratum = np.array([0, 1, 1, 0, 1, 2])
    weights = patient_weights(stratum, 4000, np.random.default_rng(1))
    for c, size in ((0, 2), (1, 3), (2, 1)):
        assert set(weights[:, stratum == c].sum(axis=1).tolist()) == {size}
    # Binomial counts have the variance 1 - 1/size, so a mean of 4000 the Monte Carlo error of 0.013 at most.
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.06)
    np.testing.assert_allclose(weights.var(axis=0)[[0, 1, 5]], [1 / 2, 2 / 3, 0], atol=0.06)
