"""MMRM against the same model with n x n matrices: every structure, common and by cohort, visits missing."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import implstats as ist
from implstats._core import marginal
from implstats._core.marginal import complex_step

Floats = NDArray[np.float64]
Numbers = NDArray[Any]
FEW = settings(derandomize=True, deadline=None, max_examples=3)
TIMES = (0.0, 6.0, 18.0, 36.0)
ROLES: dict[str, Any] = {"outcome": "bsi", "patient": "patient", "cohort": "cohort", "reference": "before"}
WORDS = ("unstructured", "toeplitz", "ar1", "compound-symmetry", "heterogeneous-ar1")
CASES = [(word, by_cohort) for word in WORDS for by_cohort in (False, True)]
TRUTH = np.array([[1.0, 0.6, 0.4, 0.3], [0.6, 1.5, 0.9, 0.7], [0.4, 0.9, 2.0, 1.3], [0.3, 0.7, 1.3, 2.2]])


@cache
def study(seed: int = 1, patients: int = 36) -> pd.DataFrame:
    """Return two cohorts that differ in spread, with a covariate, drop-out, and visits missed in between."""
    rng = np.random.default_rng(seed)
    root, rows = np.linalg.cholesky(TRUTH), []
    for i in range(patients):
        cohort, age = ("during" if i % 3 == 0 else "before"), float(rng.integers(20, 60))
        y = 5 + 0.02 * age - 0.05 * np.array(TIMES) + (1.4 if cohort == "during" else 1.0) * root @ rng.normal(size=4)
        seen = rng.random(4) > (0.0, 0.15, 0.2, 0.25)
        rows += [(f"p{i:02d}", cohort, t, v, age) for t, v, s in zip(TIMES, y, seen, strict=True) if s or t == 0]
    return pd.DataFrame(rows, columns=["patient", "cohort", "month", "bsi", "age"]).sample(frac=1, random_state=seed)


@cache
def fitted(word: str, by_cohort: bool, method: str = "reml", seed: int = 1) -> Any:
    options = {"covariance": word, "by_cohort": by_cohort, "method": method, "adjust": ["age"], "better": "lower"}
    return ist.fit_mmrm(study(seed), visit="month", **(ROLES | options))


def covariance(word: str, phi: Numbers) -> Numbers:
    """Return the 4 x 4 matrix of natural parameters, entry by entry."""
    V = np.empty((4, 4), dtype=phi.dtype)
    for j in range(4):
        for k in range(4):
            lag, low, high = abs(j - k), min(j, k), max(j, k)
            V[j, k] = {
                "unstructured": lambda low=low, high=high: phi[high * (high + 1) // 2 + low],
                "toeplitz": lambda lag=lag: phi[lag],
                "ar1": lambda lag=lag: phi[0] * phi[1] ** lag,
                "compound-symmetry": lambda lag=lag: phi[min(lag, 1)],
                "heterogeneous-ar1": lambda j=j, k=k, lag=lag: phi[4] ** lag * np.sqrt(phi[j] * phi[k]),
            }[word]()
    return V


def natural(word: str, sigma: Floats) -> Floats:
    """Return the natural parameters of a fitted matrix."""
    rho = sigma[0, 1] / np.sqrt(sigma[0, 0] * sigma[1, 1])
    return {
        "unstructured": sigma[np.tril_indices(4)],
        "toeplitz": sigma[0],
        "ar1": np.array([sigma[0, 0], rho]),
        "compound-symmetry": sigma[0, :2],
        "heterogeneous-ar1": np.append(np.diag(sigma), rho),
    }[word]


def written_out(dense: Any, result: Any, word: str, by_cohort: bool) -> tuple[Any, Floats]:
    """Return the n x n model of a result's rows, and the natural parameters at its estimate."""
    design = result.design
    place = np.searchsorted(TIMES, design.t)
    same = design.patient_codes[:, None] == design.patient_codes
    group = design.cohort_codes if by_cohort else np.zeros(len(place), dtype=int)
    count = 2 if by_cohort else 1

    class Model(dense):  # type: ignore[misc]
        def __init__(self) -> None:
            self.y, self.X, self.reml = design.y, design.X, result.fit.reml
            self.n, self.p = self.X.shape

        def V(self, phi: Numbers) -> Numbers:
            each = [covariance(word, part) for part in np.split(phi, count)]
            return np.where(same, np.stack(each)[group[:, None], place[:, None], place], 0.0)

        def phi_of_scale(self, phi: Floats) -> Floats:
            return np.maximum(np.abs(phi), 0.1)

        @cache  # noqa: B019
        def _hessian(self, phi: tuple[float, ...]) -> Floats:
            return super().hessian(np.array(phi))

        def hessian(self, phi: Floats) -> Floats:
            return self._hessian(tuple(phi))

        def kenward_roger(self, phi: Floats) -> tuple[Floats, Floats, list[Floats]]:
            """Return Phi_A, W and the P_i of Kenward and Roger 1997, section 2, R_ij included."""
            V, Phi = self.V(phi), self.vcov(phi)
            inverse, J = np.linalg.inv(V), len(phi)
            d = complex_step(lambda x: self.V(x), phi)
            P = [-self.X.T @ inverse @ dj @ inverse @ self.X for dj in d]
            PhiA, information = np.zeros((self.p, self.p)), np.empty((J, J))
            Q, R = np.empty((J, J, self.p, self.p)), np.zeros((J, J, self.p, self.p))
            for i in range(J):
                for j in range(J):
                    Q[i, j] = self.X.T @ inverse @ d[i] @ inverse @ d[j] @ inverse @ self.X
                    trace = np.trace(inverse @ d[i] @ inverse @ d[j])
                    information[i, j] = (trace - np.trace(2 * Phi @ Q[i, j] - Phi @ P[i] @ Phi @ P[j])) / 2
            if word in ("ar1", "heterogeneous-ar1"):
                for j in range(J):
                    step = np.zeros(J)
                    step[j] = 1e-5
                    bend = (complex_step(self.V, phi + step) - complex_step(self.V, phi - step)) / 2e-5
                    R[:, j] = self.X.T @ inverse @ bend @ inverse @ self.X
            W = np.linalg.inv(information)
            for i in range(J):
                for j in range(J):
                    PhiA += W[i, j] * (Q[i, j] - P[i] @ Phi @ P[j] - R[i, j] / 4)
            return Phi + 2 * Phi @ PhiA @ Phi, W, P

    return Model(), np.concatenate([natural(word, s) for s in result.sigmas])


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize(("word", "by_cohort"), CASES)
def test_criterion_and_estimates(dense: Any, word: str, by_cohort: bool, method: str) -> None:
    result = fitted(word, by_cohort, method)
    model, phi = written_out(dense, result, word, by_cohort)
    assert result.fit.deviance == pytest.approx(model.criterion(phi), abs=1e-8)
    np.testing.assert_allclose(result.params, model.beta(phi), rtol=1e-8)
    np.testing.assert_allclose(result.vcov, model.vcov(phi), rtol=1e-8, atol=1e-10)
    # At an optimum: no slope, and curvature upwards in every direction of the natural parameters.
    size = model.phi_of_scale(phi)
    assert np.abs(model.gradient(phi) * size).max() < 2e-4
    assert np.linalg.eigvalsh(model.hessian(phi) * np.outer(size, size))[0] > 0.1


@pytest.mark.parametrize(("word", "by_cohort"), CASES)
def test_no_point_is_lower_near_or_far(word: str, by_cohort: bool) -> None:
    result, rng = fitted(word, by_cohort), np.random.default_rng(3)
    patterns = result.patterns
    many = marginal.criterion(patterns.C, patterns.counts, result.fit.nu, result.structure(), reml=True)
    best, u = float(many(result.fit.u[None])[0][0]), result.fit.u
    for size in (1e-3, 0.03, 0.3, 1.0, 3.0):
        assert many(u + size * rng.normal(size=(200, len(u))))[0].min() > best
    assert many(2 * rng.normal(size=(200, len(u))))[0].min() > best


@pytest.mark.parametrize("method", ["reml", "ml"])
@pytest.mark.parametrize(("word", "by_cohort"), CASES)
def test_satterthwaite(dense: Any, word: str, by_cohort: bool, method: str) -> None:
    result = fitted(word, by_cohort, method)
    model, phi = written_out(dense, result, word, by_cohort)
    rows = np.vstack([np.eye(9)[[0, 3, 8]], result._change_rows(1, [36.0]) - result._change_rows(0, [36.0])])
    table = result.tidy()["df"].to_numpy()[[0, 3, 8]]
    wanted = [model.satterthwaite(phi, row) for row in rows]
    np.testing.assert_allclose(table, wanted[:3], rtol=2e-6)
    change = result.contrasts([36]).tidy().query("quantity == 'change'")["df"]
    assert change.item() == pytest.approx(wanted[3], rel=2e-6)
    names = list(result.params.index)
    joint = result.joint_test(names[-3:]).iloc[0]
    F, df = model.fai_cornelius(phi, np.eye(9)[-3:])
    assert joint["statistic"] == pytest.approx(F, rel=1e-7)
    assert joint["df"] == pytest.approx(df, rel=1e-5)


@pytest.mark.parametrize(("word", "by_cohort"), CASES)
def test_kenward_roger(dense: Any, word: str, by_cohort: bool) -> None:
    result = fitted(word, by_cohort)
    model, phi = written_out(dense, result, word, by_cohort)
    PhiA, _, _ = model.kenward_roger(phi)
    table = result.tidy(df="kenward-roger")
    np.testing.assert_allclose(table["std_error"], np.sqrt(np.diag(PhiA)), rtol=1e-7)
    for k in (0, 3, 8):
        assert table["df"][k] == pytest.approx(model.kenward_roger_test(phi, np.eye(9)[[k]])[1], rel=1e-6)
    F, df, _ = model.kenward_roger_test(phi, np.eye(9)[-3:])
    joint = result.joint_test(list(result.params.index)[-3:], df="kenward-roger").iloc[0]
    assert joint["statistic"] == pytest.approx(F, rel=1e-6)
    assert joint["df"] == pytest.approx(df, rel=1e-6)


@pytest.mark.parametrize("word", ["ar1", "heterogeneous-ar1"])
def test_second_derivatives_matter(dense: Any, word: str) -> None:
    # Without R_jk both sides would agree as well if neither had it: it moves the standard errors here.
    result = fitted(word, False)
    structure, fit = result.structure(), result.fit
    assert not structure.linear
    from implstats._core.explicit import derived, second_derivatives

    bend = second_derivatives(structure.matrices, fit.phi)
    v = np.append(-fit.b, 1.0)
    p = result.patterns
    sums = derived(p.Mc, p.pattern_c, p.counts, fit.V, complex_step(structure.matrices, fit.phi), bend, v)
    assert np.abs(sums.R).max() > 1e-3


@given(seed=st.integers(2, 60), case=st.sampled_from(CASES))
@FEW
def test_any_study(dense: Any, seed: int, case: tuple[str, bool]) -> None:
    word, by_cohort = case
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = fitted(word, by_cohort, "reml", seed)
    model, phi = written_out(dense, result, word, by_cohort)
    assert result.fit.deviance == pytest.approx(model.criterion(phi), abs=1e-8)
    assert result.tidy()["df"][8] == pytest.approx(model.satterthwaite(phi, np.eye(9)[8]), rel=1e-5)
    PhiA = model.kenward_roger(phi)[0]
    assert result.tidy(df="kenward-roger")["std_error"][8] == pytest.approx(float(np.sqrt(PhiA[8, 8])), rel=1e-6)


def test_variance_of_the_model_at_the_baseline(dense: Any) -> None:
    # Two cohorts with covariances of their own: the mean over patients, and its variance from the inverse Hessian.
    result = fitted("heterogeneous-ar1", True)
    model, phi = written_out(dense, result, "heterogeneous-ar1", True)
    share = np.array([24, 12]) / 36
    weights = np.zeros(10)
    weights[[0, 5]] = share
    assert result.model_variance() == pytest.approx(float(weights @ phi))
    found, uncertain = result._model_variance()
    assert found == pytest.approx(float(weights @ phi))
    A = 2 * np.linalg.inv(model.hessian(phi))
    assert uncertain == pytest.approx(float(weights @ A @ weights), rel=1e-5)
