"""Refits against the same models fitted one by one to frames without the patient, and at and near every boundary."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats._core import many
from implstats.growth.bootstrap import patient_weights
from implstats.growth.refits import Refits

pytestmark = pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")

ROLES: dict[str, Any] = {"outcome": "score", "patient": "patient", "cohort": "cohort", "reference": "before"}
ROLES |= {"better": "lower"}
# Of the climbs: what their last step may still promise, and what that leaves in the estimates.
NEAR = {"rtol": 2e-5, "atol": 2e-5}


@cache
def study(
    seed: int = 1,
    patients: int = 20,
    times: tuple[float, ...] = (0, 6, 12, 18),
    level: float = 1.0,
    slope: float = 0.06,
    rho: float = 0.0,
) -> pd.DataFrame:
    """Return two cohorts with drop-out; residuals are larger in one, and AR(1) by visit with a correlation of rho."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(patients):
        u, e, spread = rng.normal(size=2) * [level, slope], 0.0, 0.7 if i % 2 else 1.0
        last = len(times) - (int(rng.integers(1, 3)) if rng.random() < 0.3 else 0)
        for t in times[:last]:
            e = rho * e + np.sqrt(1 - rho**2) * rng.normal() if t else rng.normal()
            y = 8 - (0.06 if i % 2 else 0.12) * t + u[0] + u[1] * t + spread * e
            rows.append((f"p{i:02d}", "during" if i % 2 else "before", float(t), y, f"s{i % 5}", rng.uniform(0.5, 3)))
    frame = pd.DataFrame(rows, columns=["patient", "cohort", "month", "score", "site", "weight"])
    return frame.assign(rater=[f"r{k}" for k in rng.integers(0, 4, len(frame))])


def growth(**options: Any) -> Callable[[pd.DataFrame], Any]:
    return lambda frame: ist.fit_growth(frame, time="month", **(ROLES | {"shape": "linear"} | options))


def mixed(formula: str, **options: Any) -> Callable[[pd.DataFrame], Any]:
    return lambda frame: ist.fit_mixed(frame, formula=formula, **options)


def mmrm(covariance: str, **options: Any) -> Callable[[pd.DataFrame], Any]:
    return lambda frame: ist.fit_mmrm(frame, visit="month", covariance=covariance, **(ROLES | options))


IRREGULAR = (0, 4, 10.5, 18, 25)
Model = tuple[dict[str, Any], Callable[[pd.DataFrame], Any]]
MODELS: dict[str, Model] = {
    "slope": ({}, growth()),
    "visits": ({}, growth(shape="visits")),
    "intercept": ({}, growth(random="intercept")),
    "uncorrelated": ({}, growth(random="uncorrelated")),
    "ml": ({}, growth(method="ml")),
    "precision": ({}, growth(precision="weight")),
    "by cohort": ({"seed": 2}, growth(residual="by_cohort", precision="weight")),
    "by visit": ({}, growth(random="intercept", residual="by_visit", method="ml")),
    "ar1": ({"rho": 0.6}, growth(random="intercept", residual="ar1")),
    "ar1, fractional gaps": ({"times": IRREGULAR, "rho": 0.6}, growth(random="intercept", residual="ar1")),
    "formula": ({}, mixed("score ~ month * cohort + (1 + month | patient)")),
    "two blocks": ({}, mixed("score ~ month * cohort + (1 | patient) + (0 + month | patient)")),
    "sites": ({"patients": 25}, growth(groups="site")),
    "crossed": ({}, mixed("score ~ month + (1 | patient) + (1 | rater)", residual="by(cohort)")),
}
MODELS |= {
    f"{word}, by cohort {each}": ({"patients": 34}, mmrm(word, by_cohort=each))
    for word in ("unstructured", "toeplitz", "ar1", "compound-symmetry", "heterogeneous-ar1")
    for each in (False, True)
}


@cache
def fitted(name: str) -> tuple[pd.DataFrame, Callable[[pd.DataFrame], Any], Refits]:
    made, fit = MODELS[name]
    return study(**made), fit, Refits(fit(study(**made)))


def rows(result: Any) -> np.ndarray:
    """Return the numbers of variances(): a variance, or where there is none a correlation."""
    table = result.variances()
    values = table["variance"]
    return (values.fillna(table["correlation"]) if "correlation" in table else values).to_numpy(float)


def total(result: Any, whole: Any) -> float:
    """Return the variance at the baseline; where cohorts differ, they count as they do in the whole study."""
    if isinstance(result, ist.MMRMResult):
        share = np.array([whole.sample.patients[c] for c in whole.cohorts]) if result.by_cohort else np.ones(1)
        return float(result.sigmas[:, 0, 0] @ share / share.sum())
    start, structure = whole.design.t == 0, whole.design.noise.structure
    residual = float(result.fit.sigma2 * (result.fit.ratios[structure.strata] / structure.precision)[start].mean())
    return residual + sum(float(G[0, 0]) for t, G in zip(result.design.terms, result.fit.G, strict=True) if t.Z[0, 0])


@pytest.mark.parametrize("name", MODELS)
def test_a_patient_left_out_is_a_frame_without_the_patient(name: str) -> None:
    frame, fit, refits = fitted(name)
    N = len(refits.patients)
    draws = refits.weighted(1.0 - np.eye(N)[(left_out := [0, N // 2, N - 1])])
    assert draws.good.all()
    for b, k in enumerate(left_out):
        single = fit(frame[frame["patient"] != refits.patients[k]])
        np.testing.assert_allclose(draws.beta[b], single.fit.beta, **NEAR)
        assert draws.deviance[b] == pytest.approx(single.fit.deviance, abs=1e-7)
        np.testing.assert_allclose(draws.variances[b], rows(single), **NEAR)
        if isinstance(single, ist.MixedResult) and not isinstance(single, ist.GrowthResult):
            assert np.isnan(draws.total[b])
        else:
            assert draws.total[b] == pytest.approx(total(single, refits.result), **{"rel": 2e-5})


@pytest.mark.parametrize("name", MODELS)
def test_weights_of_one_give_the_fit_itself(name: str) -> None:
    _, _, refits = fitted(name)
    draws, result = refits.weighted(np.ones((1, len(refits.patients)))), refits.result
    assert draws.good.tolist() == [True]
    np.testing.assert_allclose(draws.beta[0], result.fit.beta, **NEAR)
    assert draws.deviance[0] == pytest.approx(result.fit.deviance, abs=1e-8)
    np.testing.assert_allclose(draws.variances[0], rows(result), **NEAR)


@pytest.mark.parametrize("fit", [growth(shape="visits"), mmrm("ar1"), growth(shape="visits", residual="by_cohort")])
def test_a_patient_who_alone_holds_a_visit_is_not_fitted_without_and_harms_nobody(fit: Callable[..., Any]) -> None:
    frame = study()
    last = frame[(frame["month"] == 18) & (frame["cohort"] == "before")].index
    refits = Refits(fit(frame.drop(last[1:])))
    draws = refits.weighted(1.0 - np.eye(20))
    assert [refits.patients[k] for k in np.flatnonzero(~draws.good)] == [frame["patient"][last[0]]]
    single = fit(frame.drop(last[1:])[lambda f: f["patient"] != "p03"])
    assert draws.deviance[refits.patients.index("p03")] == pytest.approx(single.fit.deviance, abs=1e-7)


def compared(refits: Refits, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far the versions' criteria lie above those of certified fits, one by one, and the fits' variances."""
    draws = refits.weighted(weights)
    assert draws.good.all()
    single = [refits._rebuilt(w) for w in weights]
    return draws.deviance - [s.deviance[0] for s in single], np.array([s.variances[0] for s in single])


@pytest.mark.parametrize(("random", "method"), [("slope", "reml"), ("slope", "ml"), ("uncorrelated", "reml")])
@pytest.mark.parametrize(("seed", "level", "boundary"), [(2, 1.0, True), (3, 1.0, False), (5, 0.0, True)])
def test_no_version_stops_above_its_certified_optimum(
    seed: int, level: float, boundary: bool, random: str, method: str
) -> None:
    # No patient's slope differs in truth, so many versions have their optimum at a variance of zero.
    refits = Refits(growth(random=random, method=method)(study(seed, 24, level=level, slope=0.0)))
    weights = np.random.default_rng(1).multinomial(24, np.full(24, 1 / 24), size=16).astype(float)
    above, certified = compared(refits, np.vstack([1.0 - np.eye(24)[::4], weights]))
    assert above.max() < 1e-6
    at_zero = certified[:, :2].min(axis=1) < 1e-12
    at_zero |= np.abs(np.nan_to_num(certified[:, 2])) > 1 - 1e-9
    assert at_zero.sum() > 2
    assert refits.result.convergence.boundary == boundary


@pytest.mark.parametrize("seed", [12, 20])
def test_a_fit_without_correlation_of_residuals_finds_it_in_other_versions(seed: int) -> None:
    frame = study(seed, 24, (0, 4, 10, 18, 25), slope=0.0)
    refits = Refits(growth(random="intercept", residual="ar1")(frame))
    assert refits.result.boundary == ["the correlation of residuals is 0"]
    weights = np.random.default_rng(1).multinomial(24, np.full(24, 1 / 24), size=12).astype(float)
    above, certified = compared(refits, weights)
    assert above.max() < 1e-5
    assert certified[:, -1].max() > 0.05


@pytest.mark.parametrize("random", ["slope", "uncorrelated"])
@pytest.mark.parametrize("root", [(0.0, 0.0), (1.0, 0.0), (0.0, 0.5)])
def test_a_climb_that_starts_on_a_false_boundary_is_seen_and_refitted(random: str, root: tuple[float, float]) -> None:
    refits, weights = Refits(growth(random=random)(study(seed=5, slope=0.15))), 1.0 - np.eye(20)[:4]
    road, true = refits.road, refits.weighted(weights)
    assert road is not None
    # Where a root is zero the criterion is flat along it, unless the curvature leads elsewhere.
    start = np.array([root[0], 0.0, root[1], 0.0] if random == "slope" else [*root, 0.0])
    stuck = replace(road, start=start, curvature=np.diag(np.diag(road.curvature)))
    draws, false = stuck.weighted(weights)
    assert (draws.deviance > true.deviance + 1).all()
    assert false.tolist() == [1.0] * 4
    refits.__dict__["road"] = stuck
    np.testing.assert_allclose(refits.weighted(weights).deviance, true.deviance, atol=1e-6)


@pytest.mark.parametrize("name", ["slope", "by cohort", "unstructured, by cohort True"])
def test_batches_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, refits = fitted(name)
    weights = 1.0 - np.eye(len(refits.patients))
    outcomes = refits.simulate(7, np.random.default_rng(1))
    whole = refits.weighted(weights), refits.redrawn(outcomes)
    monkeypatch.setattr(many, "BATCH", 3 * refits.road.sums.size)
    assert len(list(many.batches(7, refits.road.sums.size))) == 3
    for once, parts in zip(whole, (refits.weighted(weights), refits.redrawn(outcomes)), strict=True):
        np.testing.assert_allclose(parts.deviance, once.deviance, atol=1e-8)
        np.testing.assert_allclose(parts.variances, once.variances, **NEAR)


def copied(frame: pd.DataFrame, unit: str, names: list[str], weights: np.ndarray) -> pd.DataFrame:
    """Return the rows of the units drawn, each copy of a unit and of its patients under names of their own."""
    out = pd.concat(
        [
            frame[frame[unit] == n].assign(copy=f"#{k}")
            for n, w in zip(names, weights, strict=True)
            for k in range(int(w))
        ],
        ignore_index=True,
    )
    return out.assign(**{column: out[column] + out["copy"] for column in {unit, "patient"}})


def test_what_lies_within_the_unit_that_is_drawn_is_drawn_with_it() -> None:
    # Sites are drawn; the residuals' series are their patients, and two copies of a site have two of each.
    frame = study(patients=25, rho=0.6)
    fit = mixed("score ~ month + (1 | site)", residual="ar1(month | patient)")
    refits, weights = Refits(fit(frame)), np.array([[2.0, 1, 1, 1, 0]])
    draws, single = refits.weighted(weights), fit(copied(frame, "site", refits.patients, weights[0]))
    np.testing.assert_allclose(draws.beta[0], single.fit.beta, **NEAR)
    assert draws.deviance[0] == pytest.approx(single.fit.deviance, abs=1e-7)


def test_a_version_whose_covariance_is_singular_is_not_called_fitted() -> None:
    # Of six patients a cohort most draws hold too few for a covariance of their own, and the criterion has no bottom.
    frame, fit = study(6, 12, (0, 6, 12)), mmrm("unstructured", by_cohort=True)
    refits = Refits(fit(frame))
    weights = patient_weights(refits.cohort_of, 60, np.random.default_rng(3))
    draws = refits.weighted(weights)
    assert 5 < draws.good.sum() < 40
    for b in np.flatnonzero(draws.good):
        single = fit(copied(frame, "patient", refits.patients, weights[b]))
        assert draws.deviance[b] == pytest.approx(single.fit.deviance, abs=1e-6)


def test_a_model_without_cohorts_draws_from_one_stratum_and_one_with_cohorts_from_each() -> None:
    assert set(fitted("formula")[2].cohort_of.tolist()) == {0}
    assert fitted("slope")[2].cohort_of[:4].tolist() == [0, 1, 0, 1]
