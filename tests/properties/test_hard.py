"""Data that break optimisers: the answer is right, or it is refused with a record; never a wrong number."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import implstats as ist
from implstats._core import mixed
from implstats._core.inference import infer
from implstats._core.structure import Block, prepare
from implstats.growth.refits import Refits

Floats = NDArray[np.float64]
ROWS = np.array([[1.0, 0], [0, 1], [1, 2]])
KR = "kenward-roger"


def patients(seed: int, N: int = 12, *, least: int = 3) -> tuple[Floats, NDArray[np.intp], np.random.Generator]:
    rng = np.random.default_rng(seed)
    visits = [np.arange(k) for k in rng.integers(least, 6, N)]
    codes = np.repeat(np.arange(N), [len(v) for v in visits])
    return np.concatenate(visits).astype(float), codes, rng


def with_intercepts(seed: int, ratio: float, *, slope: bool) -> tuple[Floats, Floats, list[Block]]:
    t, codes, rng = patients(seed)
    X = np.column_stack([np.ones(len(t)), t])
    Z = X if slope else X[:, :1]
    u = rng.normal(size=(12, Z.shape[1])) * np.sqrt(ratio)
    y = X @ [1.0, 2.0] + np.einsum("nq,nq->n", Z, u[codes]) + rng.normal(size=len(t))
    return y, X, [Block(codes, 12, Z)]


@pytest.mark.parametrize("slope", [False, True])
@pytest.mark.parametrize("ratio", [1e-6, 1e-3, 1e3, 1e5, 1e6, 1e7])
def test_variance_ratios(dense: Any, ratio: float, slope: bool) -> None:
    y, X, blocks = with_intercepts(4, ratio, slope=slope)
    problem = prepare(y, X, blocks)
    fit = mixed.fit(problem)
    model = dense(y, X, blocks, True)
    phi = model.phi(fit.G, fit.sigma2)
    assert fit.deviance == pytest.approx(model.criterion(phi), abs=1e-5)
    np.testing.assert_allclose(fit.vcov, model.vcov(phi), rtol=1e-5, atol=1e-8 * np.abs(fit.vcov).max())
    std_error, df = infer(problem, fit).contrasts(ROWS, KR)
    wanted = model.kenward_roger(phi)[0]
    np.testing.assert_allclose(std_error, np.sqrt(np.einsum("kp,pq,kq->k", ROWS, wanted, ROWS)), rtol=1e-5)
    np.testing.assert_allclose(df, [model.kenward_roger_test(phi, row[None])[1] for row in ROWS], rtol=1e-4)
    if ratio >= 1e3:
        # So far from noise every patient counts as one observation of each random effect.
        between = [0, 2] if not slope else [0, 1, 2]
        np.testing.assert_allclose(infer(problem, fit).contrasts(ROWS, "satterthwaite")[1][between], 11, rtol=2e-3)


@pytest.mark.parametrize("ratio", [1e9, 1e11, 1e14, 1e20])
def test_variance_ratios_without_digits_are_right_or_refused(dense: Any, ratio: float) -> None:
    for slope in (False, True):
        y, X, blocks = with_intercepts(4, ratio, slope=slope)
        try:
            problem = prepare(y, X, blocks)
            fit = mixed.fit(problem)
        except ist.ConvergenceError:
            continue
        df = infer(problem, fit).contrasts(ROWS[:1], KR)[1]
        assert df[0] == pytest.approx(11, rel=1e-2)


@pytest.mark.parametrize("formula", ["y ~ t + (1 | g)", "y ~ t + (1 + t | g)"])
@pytest.mark.parametrize("line", [(3.0, 2.0), (0.1, 0.3), (1e6, -7.7)])
def test_an_exact_line_is_refused(formula: str, line: tuple[float, float]) -> None:
    # Nothing is left for the residual: every number after the line's own would be rounding.
    frame = pd.DataFrame({"g": np.repeat([f"g{k}" for k in range(10)], 4), "t": np.tile(np.arange(4.0), 10)})
    frame["y"] = line[0] + line[1] * frame["t"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ist.BoundaryWarning)
        with pytest.raises((ist.ConvergenceError, ist.DataError)):
            ist.fit_mixed(frame, formula=formula)


@pytest.mark.parametrize("slope", [False, True])
def test_exact_lines_of_every_patient_are_refused(slope: bool) -> None:
    t, codes, rng = patients(1)
    u = rng.normal(size=(12, 2)) * [1.0, float(slope)]
    frame = pd.DataFrame({"g": codes.astype(str), "t": t, "y": 3 + 2 * t + u[codes, 0] + u[codes, 1] * t})
    with pytest.raises(ist.ConvergenceError) as caught:
        ist.fit_mixed(frame, formula="y ~ t + (1 + t | g)" if slope else "y ~ t + (1 | g)")
    assert caught.value.record["converged"] is False
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), dict(again.record)) == (str(caught.value), dict(caught.value.record))


@pytest.mark.parametrize("noise", [1e-2, 1e-3])
def test_nearly_exact_lines_are_fitted(dense: Any, noise: float) -> None:
    t, codes, rng = patients(2)
    X = np.column_stack([np.ones(len(t)), t])
    y = X @ [3.0, 2.0] + np.einsum("nq,nq->n", X, rng.normal(size=(12, 2))[codes]) + noise * rng.normal(size=len(t))
    blocks = [Block(codes, 12, X)]
    fit = mixed.fit(prepare(y, X, blocks))
    # Within patients: residual sum of squares of their own lines over its df.
    own = sum(float(np.linalg.lstsq(X[codes == k], y[codes == k], rcond=None)[1][0]) for k in range(12))
    assert fit.sigma2 == pytest.approx(own / (len(t) - 24), rel=1e-2)
    model = dense(y, X, blocks, True)
    assert fit.deviance == pytest.approx(model.criterion(model.phi(fit.G, fit.sigma2)), abs=1e-5)


@pytest.mark.parametrize("offset", [1e8, -1e10])
def test_an_outcome_far_from_zero(offset: float) -> None:
    y, X, blocks = with_intercepts(7, 1.0, slope=True)
    # What the offset's last digit leaves of y, so that both fits see the same numbers.
    kept = (y + offset) - offset
    one, other = mixed.fit(prepare(kept, X, blocks)), mixed.fit(prepare(y + offset, X, blocks))
    assert other.deviance == pytest.approx(one.deviance, abs=1e-4)
    assert other.beta[1] == pytest.approx(one.beta[1], rel=1e-5)
    assert other.beta[0] - offset == pytest.approx(one.beta[0], abs=abs(offset) * 1e-14)
    np.testing.assert_allclose(other.vcov, one.vcov, rtol=1e-4)


def test_covariates_of_very_different_scales() -> None:
    y, X, blocks = with_intercepts(8, 1.0, slope=True)
    rng = np.random.default_rng(8)
    more = rng.normal(size=(len(y), 3))
    plain = np.column_stack([X, more])
    scales = np.array([1, 1, 1e-8, 1e8, 1e16])
    one, other = mixed.fit(first := prepare(y, plain, blocks)), mixed.fit(second := prepare(y, plain * scales, blocks))
    np.testing.assert_allclose(other.beta * scales, one.beta, rtol=1e-7)
    assert other.deviance == pytest.approx(one.deviance + 2 * np.log(1e16), abs=1e-7)
    for way in ("satterthwaite", KR):
        a, b = (infer(p, f).contrasts(np.eye(5), way) for p, f in ((first, one), (second, other)))
        np.testing.assert_allclose(b[0] * scales, a[0], rtol=1e-6)
        np.testing.assert_allclose(b[1], a[1], rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-9, 1e-6, 1e3, 1e6, 1e9])
@pytest.mark.parametrize("way", ["satterthwaite", KR])
def test_a_joint_test_does_not_know_the_unit_of_its_terms(scale: float, way: str) -> None:
    y, X, blocks = with_intercepts(9, 1.0, slope=True)
    X = np.column_stack([X, X[:, 1] ** 2])
    rows = np.eye(3)[1:]
    answers = []
    for c in (1.0, scale):
        problem = prepare(y, X * [1, c, c * c], blocks)
        fit = mixed.fit(problem)
        answers.append(infer(problem, fit).joint(fit.beta, rows, way))
    one, other = answers
    assert other[1] == one[1] == 2
    assert other[0] == pytest.approx(one[0], rel=1e-5)
    if way == KR:
        assert other[2:] == pytest.approx(one[2:], rel=1e-5)


def test_two_patients_have_one_df() -> None:
    t = np.tile(np.arange(10.0), 2)
    codes = np.repeat([0, 1], 10)
    rng = np.random.default_rng(3)
    X = np.column_stack([np.ones(20), t])
    y = X @ [3.0, 1.0] + np.array([-2.0, 2.0])[codes] + np.array([-1.0, 1.0])[codes] * t + rng.normal(size=20)
    problem = prepare(y, X, [Block(codes, 2, X)])
    fit = mixed.fit(problem)
    # Two balanced lines: the mean of two has one df, on whichever boundary the covariance of two lines lies.
    assert fit.convergence.boundary
    np.testing.assert_allclose(infer(problem, fit).contrasts(np.eye(2), "satterthwaite")[1], 1, rtol=0.5)
    lines = np.array([np.polyfit(t[:10], y[codes == k], 1)[::-1] for k in (0, 1)])
    np.testing.assert_allclose(fit.beta, lines.mean(axis=0), rtol=1e-8)


def test_unidentified_variances_are_refused() -> None:
    # Two visits each, random intercept and slope: three moments for four variances; the residual is any number.
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"g": np.repeat([f"g{k}" for k in range(18)], 2), "t": np.tile([0.0, 9.0], 18)})
    u = rng.normal(size=(18, 2))[np.repeat(np.arange(18), 2)]
    frame["y"] = 10 + frame["t"] + 3 * u[:, 0] + u[:, 1] * frame["t"] + rng.normal(size=36)
    with pytest.raises((ist.DataError, ist.ConvergenceError)):
        ist.fit_mixed(frame, formula="y ~ t + (1 + t | g)")


def test_two_variances_from_one_contrast_are_refused() -> None:
    frame = pd.DataFrame({"y": [250.0, 258, 222], "t": [0.0, 1, 0], "g": ["a", "a", "b"]})
    with pytest.raises((ist.DataError, ist.ConvergenceError)):
        ist.fit_mixed(frame, formula="y ~ t + (1 | g)")


def test_many_schedules_and_single_visits(dense: Any) -> None:
    rng = np.random.default_rng(6)
    visits = [np.sort(rng.choice(np.arange(8.0), size=rng.integers(1, 6), replace=False)) for _ in range(60)]
    codes = np.repeat(np.arange(60), [len(v) for v in visits])
    t = np.concatenate(visits)
    X = np.column_stack([np.ones(len(t)), t])
    u = rng.normal(size=(60, 2)) * [1.0, 0.4]
    y = X @ [1.0, 0.4] + np.einsum("nq,nq->n", X, u[codes]) + rng.normal(size=len(t))
    blocks = [Block(codes, 60, X)]
    problem = prepare(y, X, blocks)
    assert problem.A.shape[2] > 30
    fit = mixed.fit(problem)
    model = dense(y, X, blocks, True)
    phi = model.phi(fit.G, fit.sigma2)
    assert fit.deviance == pytest.approx(model.criterion(phi), abs=1e-8)
    assert np.abs(model.gradient(phi) * model.phi_of_scale(phi)).max() < 1e-4
    found = infer(problem, fit)
    np.testing.assert_allclose(
        found.contrasts(ROWS, "satterthwaite")[1], [model.satterthwaite(phi, row) for row in ROWS], rtol=2e-4
    )
    np.testing.assert_allclose(
        found.contrasts(ROWS, KR)[1], [model.kenward_roger_test(phi, row[None])[1] for row in ROWS], rtol=1e-6
    )


def test_weights_that_lose_a_column_are_refused(small: Callable[..., Any]) -> None:
    # A draw of patients may hold none of the only patients that a column rests on: no number can come of it.
    for seed in range(40):
        y, X, blocks = small("slope", seed)
        frame = pd.DataFrame(
            {"y": y, "t": X[:, 1], "own": (blocks[0].codes == 3) * X[:, 1], "patient": blocks[0].codes}
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ist.BoundaryWarning)
            method = "reml" if seed % 2 == 0 else "ml"
            fit = ist.fit_mixed(frame, formula="y ~ t + own + (1 + t | patient)", method=method)
        weights = np.ones((2, blocks[0].levels))
        weights[1, 3], weights[1, 5] = 0, 2
        draws = Refits(fit).weighted(weights)
        assert draws.good.tolist() == [True, False], f"seed {seed}: {draws.beta}"
        np.testing.assert_allclose(draws.deviance[0], fit.fit.deviance, atol=1e-6)
