"""Residuals that differ or hang together, and known precisions, against the same mixed model with n x n matrices."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import implstats as ist
from implstats._core.marginal import complex_step

Floats = NDArray[np.float64]
Numbers = NDArray[Any]
FEW = settings(derandomize=True, deadline=None, max_examples=4)
ROLES: dict[str, Any] = {"outcome": "bsi", "time": "month", "patient": "patient", "cohort": "cohort"}
ROLES |= {"reference": "before", "shape": "linear"}
ROWS = np.array([[0.0, 1, 0, 0], [0, 0, 1, 12], [0, 0, 0, 1]])


@cache
def study(times: str = "whole", rho: float = 0.5, seed: int = 1, between: float = 1.0) -> pd.DataFrame:
    """Return two cohorts of 7; residuals are AR(1) along time, larger in one cohort and at later visits."""
    rng = np.random.default_rng(seed)
    site, rater, rows = rng.normal(size=5), rng.normal(size=4), []
    for i in range(14):
        t = np.sort(rng.choice(np.arange(6), int(rng.integers(4, 6)), replace=False)) * 3.0
        t = t - t[0] if times == "whole" else t - t[0] + np.r_[0.0, np.cumsum(rng.uniform(0.1, 0.9, len(t) - 1))]
        gaps = np.abs(np.subtract.outer(t, t)) / 3
        root = np.linalg.cholesky(rho ** (np.rint(gaps).astype(int) if times == "whole" else gaps))
        k, r, during = rng.integers(1, 5, len(t)), rng.integers(0, 4, len(t)), i % 2
        e = (1 + during) * (1 + 0.05 * t) * (root @ rng.normal(size=len(t))) / np.sqrt(k)
        y = 8 - 0.1 * t + 0.05 * t * during + between * (rng.normal() + 0.12 * t * rng.normal())
        y = y + between * (site[i % 5] + 0.7 * rater[r]) + e
        cohort = "during" if during else "before"
        rows += [(f"p{i:02d}", cohort, *x, f"s{i % 5}") for x in zip(t, y, k, [f"r{v}" for v in r], strict=True)]
    return pd.DataFrame(rows, columns=["patient", "cohort", "month", "bsi", "ratings", "rater", "site"])


def growth(frame: pd.DataFrame, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ist.BoundaryWarning)
        return ist.fit_growth(frame, **(ROLES | options))


def mixed(frame: pd.DataFrame, formula: str, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ist.BoundaryWarning)
        return ist.fit_mixed(frame, formula=formula, **options)


FORMULA = "bsi ~ month * cohort + "
LEVEL, SERIES = {"random": "intercept"}, {"residual": "ar1", "random": "intercept"}


def coarse() -> pd.DataFrame:
    return study(seed=2).assign(phase=lambda f: np.where(f["month"] < 6, "a", np.where(f["month"] < 12, "b", "c")))


CASES: dict[str, Callable[[], Any]] = {
    "by cohort": lambda: growth(study(), residual="by_cohort"),
    "by cohort, ML": lambda: growth(study(), residual="by_cohort", method="ml"),
    "by cohort, uncorrelated": lambda: growth(study(), residual="by_cohort", random="uncorrelated"),
    "by cohort, sites": lambda: growth(study(seed=4), residual="by_cohort", groups="site", **LEVEL),
    "by cohort, raters": lambda: mixed(study(), FORMULA + "(1 | patient) + (1 | rater)", residual="by(cohort)"),
    "by visit": lambda: growth(study(), residual="by_visit", **LEVEL),
    "by a column": lambda: mixed(coarse(), FORMULA + "(1 + month | patient)", residual="by(phase)"),
    "whole gaps": lambda: growth(study(), **SERIES),
    "whole gaps, slopes": lambda: growth(study(seed=2), residual="ar1"),
    "whole gaps, ML": lambda: growth(study(), method="ml", **SERIES),
    "rho below zero": lambda: growth(study(rho=-0.6), **SERIES),
    "fractional gaps": lambda: growth(study("odd", seed=3), **SERIES),
    "AR(1), sites": lambda: growth(study(seed=6), groups="site", **SERIES),
    "AR(1) of patients, sites alone": lambda: mixed(study(), FORMULA + "(1 | site)", residual="ar1(month | patient)"),
    "precision": lambda: growth(study(seed=2), precision="ratings"),
    "precision, sites": lambda: growth(study(seed=6), precision="ratings", groups="site"),
    "precision by cohort": lambda: growth(study(), precision="ratings", residual="by_cohort"),
    "precision, AR(1)": lambda: growth(study(), precision="ratings", **SERIES),
    "no slopes at all": lambda: growth(study(between=0.0), residual="by_cohort"),
    "no level at all": lambda: growth(study(between=0.0, seed=3), residual="by_cohort", **LEVEL),
    "no level, AR(1)": lambda: growth(study(rho=0.7, between=0.0, seed=3), **SERIES),
    "rho at zero": lambda: growth(study("odd", rho=0.001), **SERIES),
}
NO_LEVEL = ["no level at all", "no level, AR(1)"]
BOUNDARY = [*NO_LEVEL, "no slopes at all", "rho at zero", "AR(1), sites"]
INSIDE = [name for name in CASES if name not in BOUNDARY]


@cache
def fitted(name: str) -> Any:
    return CASES[name]()


def written_out(dense: Any, result: Any) -> tuple[Any, Floats]:
    """Return the n x n model of a result's rows and phi = (G of every term, residual variances, rho)."""
    design, fit, noise = result.design, result.fit, result.design.noise
    residual, strata = noise.structure, noise.structure.levels
    share = np.sqrt(1 / residual.precision)

    class Model(dense):  # type: ignore[misc]
        def __init__(self) -> None:
            self.y, self.X, self.reml = design.y, design.X, fit.reml
            (self.n, self.p), self.pairs, self.parts = self.X.shape, [], []
            for b, term in enumerate(design.terms):
                same = term.of_row[:, None] == term.of_row
                for r in range(term.Z.shape[1]):
                    for s in range(r + 1):
                        part = np.outer(term.Z[:, r], term.Z[:, s])
                        self.pairs.append((b, r, s))
                        self.parts.append(same * (part if r == s else part + part.T))

        def V(self, phi: Numbers) -> Numbers:
            J = len(self.parts)
            V = sum((x * part for x, part in zip(phi[:J], self.parts, strict=True)), np.zeros((self.n, self.n)))
            error = np.diag(share * phi[J : J + strata][residual.strata] * share)
            if len(phi) > J + strata:
                t = np.asarray(design.roles[noise.time], dtype=float)
                gaps = np.abs(np.subtract.outer(t, t)) / noise.step
                if residual.lowest < 0:
                    gaps = np.rint(gaps).astype(int)
                same = residual.series[:, None] == residual.series
                error = np.where(same, phi[J] * np.outer(share, share) * phi[-1] ** gaps, 0.0)
            return V + error

        def phi_of_scale(self, phi: Floats) -> Floats:
            return np.maximum(np.abs(phi), 0.02)

        @cache  # noqa: B019
        def _hessian(self, phi: tuple[float, ...]) -> Floats:
            return super().hessian(np.array(phi))

        def hessian(self, phi: Floats) -> Floats:
            return self._hessian(tuple(phi))

        def kenward_roger(self, phi: Floats) -> tuple[Floats, Floats, list[Floats]]:
            """Return Phi_A, W and the P_i of Kenward and Roger 1997, section 2, R_ij included."""
            Phi, inverse, J = self.vcov(phi), np.linalg.inv(self.V(phi)), len(phi)
            d = complex_step(self.V, phi)
            E = [x @ inverse @ self.X for x in d]
            P = [-self.X.T @ inverse @ e for e in E]
            between = [[np.zeros((self.p, self.p))] * J for _ in range(J)]
            if noise.time is not None:
                for j in range(J):
                    step = 1e-5 * np.eye(J)[j]
                    bend = (complex_step(self.V, phi + step) - complex_step(self.V, phi - step)) / 2e-5
                    for i in range(J):
                        between[i][j] = self.X.T @ inverse @ bend[i] @ inverse @ self.X
            information, Q = np.empty((J, J)), np.empty((J, J, self.p, self.p))
            for i in range(J):
                for j in range(J):
                    Q[i, j] = self.X.T @ inverse @ d[i] @ inverse @ E[j]
                    trace = np.sum((inverse @ d[i]) * (inverse @ d[j]).T)
                    information[i, j] = (trace - np.trace(2 * Phi @ Q[i, j] - Phi @ P[i] @ Phi @ P[j])) / 2
            size = 1 / np.sqrt(np.diag(information))
            W = size[:, None] * np.linalg.inv(size[:, None] * information * size) * size
            total = np.zeros((self.p, self.p))
            for i in range(J):
                for j in range(J):
                    total += W[i, j] * (Q[i, j] - P[i] @ Phi @ P[j] - between[i][j] / 4)
            return Phi + 2 * Phi @ total @ Phi, W, P

    vech = [G[np.tril_indices(len(G))] for G in fit.G]
    phi = np.concatenate([*vech, fit.sigma2 * fit.ratios, [fit.rho] if fit.rho else []])
    return Model(), phi


@pytest.mark.parametrize("name", CASES)
def test_criterion_and_estimates(dense: Any, name: str) -> None:
    result = fitted(name)
    model, phi = written_out(dense, result)
    assert result.fit.deviance == pytest.approx(model.criterion(phi), abs=1e-8)
    np.testing.assert_allclose(result.params, model.beta(phi), rtol=1e-8)
    np.testing.assert_allclose(result.vcov, model.vcov(phi), rtol=1e-8, atol=1e-10)
    assert result.convergence.boundary == (name in BOUNDARY)
    # An optimum: no slope and curvature upwards; at a boundary no small step inside is lower.
    size = model.phi_of_scale(phi)
    if name in INSIDE:
        assert np.abs(model.gradient(phi) * size).max() < 5e-4
        assert np.linalg.eigvalsh(model.hessian(phi) * np.outer(size, size))[0] > 0
    for k in np.flatnonzero([r == s for _, r, s in model.pairs]):
        assert model.criterion(phi + 1e-4 * np.eye(len(phi))[k]) > result.fit.deviance - 1e-9


@pytest.mark.parametrize("name", [*INSIDE, "rho at zero"])
def test_satterthwaite(dense: Any, name: str) -> None:
    result = fitted(name)
    model, phi = written_out(dense, result)
    _, df = result._inference.contrasts(ROWS, "satterthwaite")
    np.testing.assert_allclose(df, [model.satterthwaite(phi, row) for row in ROWS], rtol=1e-4)
    F, wanted = model.fai_cornelius(phi, np.eye(4)[2:])
    joint = result.joint_test(list(result.params.index)[2:]).iloc[0]
    assert joint["statistic"] == pytest.approx(F, rel=1e-6)
    assert joint["df"] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("name", NO_LEVEL)
def test_satterthwaite_at_the_boundary_is_that_of_the_model_without_it(dense: Any, name: str) -> None:
    result = fitted(name)
    model, phi = written_out(dense, result)
    assert phi[0] == 0
    model.parts, model.pairs = [], []
    _, df = result._inference.contrasts(ROWS, "satterthwaite")
    np.testing.assert_allclose(df, [model.satterthwaite(phi[1:], row) for row in ROWS], rtol=1e-4)


@pytest.mark.parametrize("name", [name for name in CASES if not name.endswith("ML")])
def test_kenward_roger(dense: Any, name: str) -> None:
    result = fitted(name)
    model, phi = written_out(dense, result)
    PhiA = model.kenward_roger(phi)[0]
    std_error, df = result._inference.contrasts(ROWS, "kenward-roger")
    np.testing.assert_allclose(std_error, np.sqrt(np.einsum("kp,pq,kq->k", ROWS, PhiA, ROWS)), rtol=1e-6)
    np.testing.assert_allclose(df, [model.kenward_roger_test(phi, row[None])[1] for row in ROWS], rtol=1e-5)
    F, wanted, _ = model.kenward_roger_test(phi, np.eye(4)[2:])
    joint = result.joint_test(list(result.params.index)[2:], df="kenward-roger").iloc[0]
    assert joint["statistic"] == pytest.approx(F, rel=1e-6)
    assert joint["df"] == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize("name", ["by cohort", "AR(1), sites", "precision", "precision, AR(1)", "no level at all"])
def test_random_effects_are_predicted_from_the_same_v(dense: Any, name: str) -> None:
    model, phi = written_out(dense, result := fitted(name))
    h = np.linalg.solve(model.V(phi), model.y - model.X @ model.beta(phi))
    fitted_values = model.X @ model.beta(phi)
    for term, G in zip(result.design.terms, result.fit.G, strict=True):
        same = term.of_row[:, None] == term.of_row
        fitted_values = fitted_values + (same * (term.Z @ G @ term.Z.T)) @ h
    np.testing.assert_allclose(result.augment()["fitted"], fitted_values, rtol=1e-8)


@given(seed=st.integers(30, 60), odd=st.booleans())
@FEW
def test_no_rho_is_better(dense: Any, seed: int, odd: bool) -> None:
    # A coarse grid over all three parameters: a second valley would show.
    result = growth(study("odd" if odd else "whole", seed=seed), **SERIES)
    model, phi = written_out(dense, result)
    phi = phi if result.fit.rho else np.append(phi, 0.0)
    rhos = (0.05, 0.3, 0.6, 0.9, *((-0.3, -0.7) if not odd else ()))
    for rho, level, s2 in product(rhos, (0.0, 0.5, 2.0), (0.5, 1.0, 2.0)):
        other = np.array([level * max(phi[0], 0.1), s2 * phi[1], rho])
        assert model.criterion(other) > result.fit.deviance - 1e-7
