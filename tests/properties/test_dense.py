"""The engine against the same model with n x n matrices: criterion, gradient, estimates, predictions, df."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from implstats._core import mixed
from implstats._core.criterion import evaluate
from implstats._core.inference import infer
from implstats._core.many import Sums, refit
from implstats._core.prediction import covariance_of_prediction, random_effects
from implstats._core.residual import deviance_of_scaling
from implstats._core.structure import Block, Problem, prepare
from implstats._core.written import free, rotated
from implstats.growth.refits import curvature

Floats = NDArray[np.float64]
FEW = settings(derandomize=True, deadline=None, max_examples=6)
ROWS = np.array([[0.0, 1, 0, 0], [0, 0, 1, 2], [1, 3, 0, 0], [0.5, 0.2, -1, 1]])


def roots(problem: Problem, rng: np.random.Generator, ranks: list[int] | None = None) -> list[Floats]:
    """Return random roots L in scaled columns; of full rank they are lower triangular."""
    out = []
    for b, q in enumerate(problem.sizes):
        r = q if ranks is None else ranks[b]
        L = rng.normal(size=(q, r))
        out.append(np.tril(L) if r == q else L)
    return out


def on_user_scale(problem: Problem, L: list[Floats], s2: float) -> list[Floats]:
    back = [np.linalg.solve(R, root) for R, root in zip(problem.Rz, L, strict=True)]
    return [s2 * x @ x.T for x in back]


def constant(problem: Problem, reml: bool) -> float:
    return 2 * float(np.log(np.diag(problem.Rx)).sum()) if reml else 0.0


def ranks_of(problem: Problem, rng: np.random.Generator) -> list[int]:
    return [int(rng.integers(0, q + 1)) for q in problem.sizes]


@pytest.mark.parametrize("reml", [True, False])
@given(seed=st.integers(0, 10_000), deficient=st.booleans())
@FEW
def test_criterion_and_estimates_at_any_theta(
    dense: Any, small: Callable[..., Any], structure: str, reml: bool, seed: int, deficient: bool
) -> None:
    y, X, blocks = small(structure, seed)
    rng = np.random.default_rng(seed)
    problem = prepare(y, X, blocks)
    L = roots(problem, rng, ranks_of(problem, rng) if deficient else None)
    state = evaluate(problem, L, reml=reml)
    s2 = state.r2 / (problem.n - problem.p * reml)
    model = dense(y, X, blocks, reml)
    phi = model.phi(on_user_scale(problem, L, s2), s2)
    assert state.deviance + constant(problem, reml) == pytest.approx(model.criterion(phi), abs=1e-8)
    beta = problem.beta0 + np.linalg.solve(problem.Rx, state.b)
    np.testing.assert_allclose(beta, model.beta(phi), rtol=1e-8, atol=1e-9)
    inverse = np.linalg.inv(problem.Rx)
    np.testing.assert_allclose(s2 * inverse @ state.Sxx_inverse @ inverse.T, model.vcov(phi), rtol=1e-8, atol=1e-10)
    # The residual variance is profiled: moving it alone can only raise the criterion.
    for factor in (0.999, 1.001):
        assert model.criterion(phi * factor) > model.criterion(phi)


@pytest.mark.parametrize("reml", [True, False])
@given(seed=st.integers(0, 10_000), deficient=st.booleans())
@FEW
def test_gradient_is_the_slope_of_the_criterion(
    small: Callable[..., Any], structure: str, reml: bool, seed: int, deficient: bool
) -> None:
    y, X, blocks = small(structure, seed)
    rng = np.random.default_rng(seed + 1)
    problem = prepare(y, X, blocks)
    L = roots(problem, rng, ranks_of(problem, rng) if deficient else None)
    state = evaluate(problem, L, reml=reml)
    for b, root in enumerate(L):
        for index in np.ndindex(root.shape):
            values = []
            for step in (-2e-5, -1e-5, 1e-5, 2e-5):
                moved = [x.copy() for x in L]
                moved[b][index] += step
                values.append(evaluate(problem, moved, reml=reml, gradient=False).deviance)
            slope = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / 12e-5
            assert (2 * state.D[b] @ root)[index] == pytest.approx(slope, rel=1e-6, abs=2e-6)
        # Also in G itself, across the boundary: D is half the derivative with respect to L L'.
        z = rng.normal(size=len(root))
        h = 1e-7
        wide = [x if k != b else np.column_stack([x, np.sqrt(h) * z]) for k, x in enumerate(L)]
        R = np.linalg.qr(np.column_stack([wide[b], np.zeros((len(z), len(z)))]).T, mode="r").T[:, : len(z)]
        wide[b] = R
        forward = (evaluate(problem, wide, reml=reml, gradient=False).deviance - state.deviance) / h
        assert z @ state.D[b] @ z == pytest.approx(forward, rel=1e-4, abs=1e-4)


def fitted(small: Callable[..., Any], structure: str, *, reml: bool = True, first: int = 0) -> tuple[Any, ...]:
    """Return the first data set whose fit is inside the parameter space."""
    for seed in range(first, first + 60):
        y, X, blocks = small(structure, seed)
        problem = prepare(y, X, blocks)
        fit = mixed.fit(problem, reml=reml)
        if not fit.convergence.boundary and all(np.linalg.cond(g) < 1e4 and g.max() > 0.02 for g in fit.G):
            return y, X, blocks, problem, fit
    raise AssertionError("no data set with positive variances")


@pytest.mark.parametrize("reml", [True, False])
def test_optimum_is_stationary_and_lower_than_its_surroundings(
    dense: Any, small: Callable[..., Any], structure: str, reml: bool
) -> None:
    y, X, blocks, problem, fit = fitted(small, structure, reml=reml)
    model = dense(y, X, blocks, reml)
    phi = model.phi(fit.G, fit.sigma2)
    assert fit.deviance == pytest.approx(model.criterion(phi), abs=1e-8)
    assert np.abs(model.gradient(phi) * model.phi_of_scale(phi)).max() < 2e-5
    np.testing.assert_allclose(fit.beta, model.beta(phi), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(fit.vcov, model.vcov(phi), rtol=1e-8, atol=1e-11)
    rng = np.random.default_rng(5)
    for _ in range(50):
        other = evaluate(problem, roots(problem, rng), reml=reml, gradient=False)
        assert other.deviance + constant(problem, reml) >= fit.deviance - 1e-9


@pytest.mark.parametrize("reml", [True, False])
def test_random_effects_are_best_linear_unbiased(
    dense: Any, small: Callable[..., Any], structure: str, reml: bool
) -> None:
    y, X, blocks, problem, fit = fitted(small, structure, reml=reml)
    model = dense(y, X, blocks, reml)
    for (u, sd), (mine, my_sd) in zip(
        model.random_effects(fit.G, fit.sigma2), random_effects(problem, fit), strict=True
    ):
        np.testing.assert_allclose(mine, u, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(my_sd, sd, rtol=1e-8, atol=1e-9)


def test_prediction_errors_are_hendersons(dense: Any, small: Callable[..., Any], structure: str) -> None:
    y, X, blocks, problem, fit = fitted(small, structure)
    model = dense(y, X, blocks, True)
    C = model.henderson(fit.G, fit.sigma2)
    rng = np.random.default_rng(8)
    k = 9
    x = rng.normal(size=(k, X.shape[1]))
    Z = [rng.normal(size=(k, b.Z.shape[1])) for b in blocks]
    values = [rng.integers(-1, b.levels, k) for b in blocks]
    for b in problem.first:
        values[b] = values[problem.first[0]]
    for new in (False, True):
        wanted = []
        for i in range(k):
            parts, extra = [x[i]], 0.0
            for b, block in enumerate(blocks):
                z = np.zeros((block.levels, block.Z.shape[1]))
                if values[b][i] >= 0:
                    z[values[b][i]] = Z[b][i]
                elif new:
                    extra += Z[b][i] @ fit.G[b] @ Z[b][i]
                parts.append(z.ravel())
            whole = np.concatenate(parts)
            wanted.append(whole @ C @ whole + extra)
        got = covariance_of_prediction(problem, fit, x, Z, values, new=new)
        np.testing.assert_allclose(got, wanted, rtol=1e-8)


@pytest.mark.parametrize("reml", [True, False])
def test_satterthwaite_uses_the_observed_information(
    dense: Any, small: Callable[..., Any], structure: str, reml: bool
) -> None:
    y, X, blocks, problem, fit = fitted(small, structure, reml=reml)
    model = dense(y, X, blocks, reml)
    phi = model.phi(fit.G, fit.sigma2)
    found = infer(problem, fit)
    std_error, df = found.contrasts(ROWS, "satterthwaite")
    np.testing.assert_allclose(std_error, np.sqrt(np.einsum("kp,pq,kq->k", ROWS, model.vcov(phi), ROWS)), rtol=1e-8)
    np.testing.assert_allclose(df, [model.satterthwaite(phi, row) for row in ROWS], rtol=2e-4)
    statistic, numerator, denominator, _ = found.joint(fit.beta, ROWS[:2], "satterthwaite")
    F, wanted = model.fai_cornelius(phi, ROWS[:2])
    assert numerator == 2
    assert statistic == pytest.approx(F, rel=1e-7)
    assert denominator == pytest.approx(wanted, rel=2e-4)


def test_kenward_roger_as_the_paper_writes_it(dense: Any, small: Callable[..., Any], structure: str) -> None:
    y, X, blocks, problem, fit = fitted(small, structure)
    model = dense(y, X, blocks, True)
    phi = model.phi(fit.G, fit.sigma2)
    found = infer(problem, fit)
    PhiA, W, _ = model.kenward_roger(phi)
    np.testing.assert_allclose(found.covariance(np.eye(4), "kenward-roger"), PhiA, rtol=1e-6, atol=1e-9)
    # w belongs to the covariances of the scaled columns: G = R^-1 (scaled G) R^-T, which is linear.
    J = len(phi)
    T = np.eye(J)
    for j, (b, r, s) in enumerate(model.pairs):
        unit = np.zeros((model.sizes[b],) * 2)
        unit[r, s] = unit[s, r] = 1.0
        back = np.linalg.solve(problem.Rz[b], np.linalg.solve(problem.Rz[b], unit).T)
        for i, (c, u, v) in enumerate(model.pairs):
            T[i, j] = back[u, v] if c == b else 0.0
    scale = np.sqrt(np.outer(np.diag(W), np.diag(W)))
    # ... and to an outcome in units of the residual SD.
    assert np.abs((fit.sigma2**2 * T @ found.w @ T.T - W) / scale).max() < 1e-5
    std_error, df = found.contrasts(ROWS, "kenward-roger")
    for row, se, m in zip(ROWS, std_error, df, strict=True):
        F, wanted, scale = model.kenward_roger_test(phi, row[None])
        assert m == pytest.approx(wanted, rel=1e-6)
        assert scale == pytest.approx(1.0, abs=1e-9)
        assert (row @ fit.beta / se) ** 2 == pytest.approx(F, rel=1e-6)
    for rows in (ROWS[:2], ROWS[:3]):
        statistic, numerator, denominator, scale = found.joint(fit.beta, rows, "kenward-roger")
        F, wanted, wanted_scale = model.kenward_roger_test(phi, rows)
        assert numerator == len(rows)
        assert denominator == pytest.approx(wanted, rel=1e-6)
        assert scale == pytest.approx(wanted_scale, rel=1e-6)
        assert statistic == pytest.approx(F, rel=1e-6)


def test_joint_test_of_one_row_and_of_repeated_rows(small: Callable[..., Any]) -> None:
    *_, problem, fit = fitted(small, "slope")
    found = infer(problem, fit)
    for way in ("satterthwaite", "kenward-roger", "normal"):
        se, df = found.contrasts(ROWS[:1], way)
        for rows in (ROWS[:1], np.vstack([ROWS[:1], -2 * ROWS[:1]])):
            statistic, numerator, denominator, _ = found.joint(fit.beta, rows, way)
            assert numerator == 1
            assert statistic == pytest.approx((ROWS[0] @ fit.beta / se[0]) ** 2, rel=1e-8)
            assert denominator == pytest.approx(df[0], rel=1e-8)


@pytest.mark.parametrize("name", ["intercept", "slope", "uncorrelated", "one visit"])
@pytest.mark.parametrize("reml", [True, False])
def test_compressed_shared_and_separate_schedules_are_one_model(
    small: Callable[..., Any], name: str, reml: bool
) -> None:
    y, X, blocks = small(name, 3)
    # Forty times the patients, so that whole schedules are compressed; the outcome differs between copies.
    rng = np.random.default_rng(3)
    copies = 40
    many = []
    for b in blocks:
        codes = np.concatenate([b.codes + k * b.levels for k in range(copies)])
        many.append(Block(codes, copies * b.levels, np.tile(b.Z, (copies, 1))))
    y = np.tile(y, copies) + rng.normal(size=len(y) * copies)
    problem = prepare(y, np.tile(X, (copies, 1)), many)
    assert problem.A.shape[2] < 10
    assert problem.Mc.shape[2] < problem.M.shape[2]
    plain = replace(problem, Mc=problem.M, schedule_c=problem.schedule)
    N = len(problem.schedule)
    separate = replace(
        plain,
        A=np.ascontiguousarray(problem.A[:, :, problem.schedule]),
        counts=np.ones(N),
        schedule=np.arange(N),
        schedule_c=np.arange(N),
    )
    L = roots(problem, rng)
    wanted = evaluate(problem, L, reml=reml)
    fit = mixed.fit(problem, reml=reml)
    one = infer(problem, fit)
    for other in (plain, separate):
        state = evaluate(other, L, reml=reml)
        assert state.deviance == pytest.approx(wanted.deviance, rel=1e-12)
        for a, b in zip(state.D, wanted.D, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8)
        refit = mixed.fit(other, reml=reml)
        assert refit.deviance == pytest.approx(fit.deviance, abs=1e-8)
        np.testing.assert_allclose(refit.vcov, fit.vcov, rtol=1e-5)
        np.testing.assert_allclose(
            infer(other, refit).contrasts(ROWS, "satterthwaite")[1], one.contrasts(ROWS, "satterthwaite")[1], rtol=1e-4
        )


@pytest.mark.parametrize("name", ["intercept", "slope", "quadratic", "uncorrelated", "irregular", "one visit"])
@pytest.mark.parametrize("reml", [True, False])
def test_weights_of_patients_are_copies_of_patients(small: Callable[..., Any], name: str, reml: bool) -> None:
    y, X, blocks, problem, fit = fitted(small, name, reml=reml)
    rng = np.random.default_rng(2)
    levels = blocks[0].levels
    weights = rng.multinomial(levels, np.full(levels, 1 / levels)).astype(float)
    scale = float(np.sqrt(fit.sigma2))
    data, covariance, rest, rest_rows, _ = rotated(y, X, blocks, problem, scale)
    sums = Sums(data, np.bincount(blocks[0].codes, minlength=levels).astype(float), rest, rest_rows)
    C, counts, rows_of = sums.weighted(np.stack([np.ones(levels), weights]))
    nu = rows_of - problem.p if reml else rows_of
    start = free(fit, 0.0)
    found = refit(C, counts, nu, covariance, start, curvature(data, covariance, start, reml), reml=reml)
    constant = 2 * nu * np.log(scale) + (deviance_of_scaling(problem, reml=reml))
    assert found.good.all()

    taken, codes = [], []
    for i in np.repeat(np.arange(levels), weights.astype(int)):
        rows = np.flatnonzero(blocks[0].codes == i)
        codes.append(np.full(len(rows), len(codes)))
        taken.append(rows)
    rows, own = np.concatenate(taken), np.concatenate(codes)
    copied = prepare(y[rows], X[rows], [Block(own, len(taken), b.Z[rows]) for b in blocks])
    literal = mixed.fit(copied, reml=reml)
    deviance = found.value + constant
    assert deviance[0] == pytest.approx(fit.deviance, abs=1e-7)
    # Never below the certified optimum; above it only where a variance stopped at zero, which Refits looks into.
    assert deviance[1] >= literal.deviance - 1e-7
    beta = problem.beta0 + scale * np.linalg.solve(problem.Rx, found.b[1])
    phi = covariance.natural(found.u)[1]
    assert nu[1] == literal.nu
    if deviance[1] < literal.deviance + 1e-6:
        assert scale**2 * phi[-1] == pytest.approx(literal.sigma2, rel=1e-3)
        np.testing.assert_allclose(beta, literal.beta, rtol=1e-3, atol=1e-3)
    else:
        assert literal.convergence.restarts


def test_satterthwaite_at_the_boundary_is_that_of_the_reduced_model(small: Callable[..., Any]) -> None:
    # Where the fitted covariance has no slope variance, df are those of the model without a slope.
    for seed in range(200):
        y, X, blocks = small("slope", seed)
        flat = X @ np.linalg.lstsq(X, y, rcond=None)[0]
        noise = np.random.default_rng(seed).normal(size=len(y))
        y = flat + noise
        whole = mixed.fit(problem := prepare(y, X, blocks))
        if any(root.shape[1] for root in whole.L):
            continue
        df = infer(problem, whole).contrasts(ROWS, "satterthwaite")[1]
        np.testing.assert_allclose(df, len(y) - 4, rtol=1e-6)
        ols = np.linalg.lstsq(X, y, rcond=None)[0]
        np.testing.assert_allclose(whole.beta, ols, rtol=1e-8, atol=1e-9)
        s2 = ((y - X @ ols) ** 2).sum() / (len(y) - 4)
        np.testing.assert_allclose(whole.vcov, s2 * np.linalg.inv(X.T @ X), rtol=1e-8)
        return
    raise AssertionError("no data set without any variance between patients")


def test_unconnected_components_have_sites_of_any_size(dense: Any) -> None:
    # Sites of one, two and seven patients: padded places must not count.
    rng = np.random.default_rng(11)
    sizes = [1, 2, 7, 3]
    site_of = np.repeat(np.arange(4), sizes)
    codes = np.repeat(np.arange(13), 3)
    site, t = site_of[codes], np.tile([0.0, 1, 2], 13)
    X = np.column_stack([np.ones(39), t])
    blocks = [Block(codes, 13, np.ones((39, 1))), Block(site, 4, X.copy())]
    y = X @ [1.0, 2.0] + rng.normal(size=39) + rng.normal(size=13)[codes] + rng.normal(size=4)[site] * (1 + t)
    problem = prepare(y, X, blocks)
    L = [np.array([[0.7]]), np.array([[0.9, 0.0], [0.3, 0.5]])]
    state = evaluate(problem, L, reml=True)
    s2 = state.r2 / 37
    model = dense(y, X, blocks, True)
    phi = model.phi(on_user_scale(problem, L, s2), s2)
    assert state.deviance + constant(problem, True) == pytest.approx(model.criterion(phi), abs=1e-9)
    assert scipy.linalg.norm(model.beta(phi) - problem.beta0 - np.linalg.solve(problem.Rx, state.b)) < 1e-10


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", ["slope", "quadratic", "sites beside a slope"])
def test_satterthwaite_with_a_correlation_of_one(dense: Any, small: Callable[..., Any], name: str, reml: bool) -> None:
    # G = k k' has rank one: the parameters are k and s2 (and the site's variance), and the criterion may have a slope
    # across the boundary, which differentiation in k counts and differentiation in G would not.
    seen = 0
    for seed in range(40):
        y, X, blocks = small(name, seed)
        rng = np.random.default_rng(seed)
        q = blocks[0].Z.shape[1]
        level = blocks[0].Z @ np.array([1.0, 0.4, 0.05])[:q]
        y = X @ [3.0, -0.5, 0.4, 0.3] + rng.normal(size=blocks[0].levels)[blocks[0].codes] * level
        y = y + rng.normal(size=len(y)) + sum(rng.normal(size=b.levels)[b.codes] for b in blocks[1:])
        problem = prepare(y, X, blocks)
        fit = mixed.fit(problem, reml=reml)
        if fit.L[0].shape[1] != 1 or any(root.shape[1] == 0 for root in fit.L):
            continue
        seen += 1
        model = dense(y, X, blocks, reml)
        w, V = np.linalg.eigh(fit.G[0])
        start = np.concatenate([V[:, -1] * np.sqrt(w[-1]), *(g[0] for g in fit.G[1:]), [fit.sigma2]])

        def phi(kappa: NDArray[Any], q: int = q, model: Any = model) -> NDArray[Any]:
            k = kappa[:q]
            first = [k[r] * k[s] for _, r, s in model.pairs[: q * (q + 1) // 2]]
            return np.array([*first, *kappa[q:]])

        def slope(kappa: Floats, value: Callable[..., Any], phi: Any = phi) -> Floats:
            out = np.empty(len(kappa))
            for j in range(len(kappa)):
                step = np.zeros(len(kappa), dtype=complex)
                step[j] = 1e-30j
                out[j] = value(phi(kappa + step)).imag / 1e-30
            return out

        H = np.empty((len(start),) * 2)
        for j in range(len(start)):
            h = np.zeros(len(start))
            h[j] = 1e-5 * max(abs(start[j]), 0.1)
            H[j] = (slope(start + h, model.criterion) - slope(start - h, model.criterion)) / (2 * h[j])
        A = 2 * np.linalg.inv((H + H.T) / 2)
        df = infer(problem, fit).contrasts(ROWS, "satterthwaite")[1]
        for row, found in zip(ROWS, df, strict=True):
            g = slope(start, lambda p, row=row, model=model: row @ model.vcov(p) @ row)
            wanted = 2 * (row @ model.vcov(phi(start)) @ row) ** 2 / (g @ A @ g)
            assert found == pytest.approx(wanted, rel=1e-3)
        if seen == 3:
            return
    assert seen


@pytest.mark.parametrize("name", ["slope", "quadratic", "sites beside a slope", "nested"])
def test_kenward_roger_at_the_boundary_keeps_every_covariance(dense: Any, small: Callable[..., Any], name: str) -> None:
    seen = 0
    for seed in range(20):
        y, X, blocks = small(name, seed)
        y = X @ np.linalg.lstsq(X, y, rcond=None)[0] + np.random.default_rng(seed).normal(size=len(y))
        problem = prepare(y, X, blocks)
        fit = mixed.fit(problem)
        if not fit.convergence.boundary:
            continue
        seen += 1
        model = dense(y, X, blocks, True)
        phi = model.phi(fit.G, fit.sigma2)
        std_error, df = infer(problem, fit).contrasts(ROWS, "kenward-roger")
        wanted = model.kenward_roger(phi)[0]
        np.testing.assert_allclose(std_error, np.sqrt(np.einsum("kp,pq,kq->k", ROWS, wanted, ROWS)), rtol=1e-6)
        np.testing.assert_allclose(df, [model.kenward_roger_test(phi, row[None])[1] for row in ROWS], rtol=1e-5)
    assert seen > 3
