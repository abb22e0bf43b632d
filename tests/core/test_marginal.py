"""The marginal criterion by pattern: its sums, its slope, many data sets at once, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implstats._core import marginal
from implstats._core.covariance import STRUCTURES
from implstats._core.marginal import ByVisit, Patterns, complex_step, criterion, evaluate, fit, prepare, products
from implstats.errors import ConvergenceError

FEW = settings(derandomize=True, deadline=None, max_examples=5)
SIGMA = np.array([[2.0, 0.9, 0.5], [0.9, 1.5, 0.8], [0.5, 0.8, 1.8]])


class Study:
    """Patients with up to three visits, who miss some."""

    def __init__(self, seed: int, patients: int = 40, sigma: np.ndarray = SIGMA) -> None:
        rng = np.random.default_rng(seed)
        seen = rng.random((patients, 3)) > 0.25
        seen[:, 0] = True
        y = rng.normal(size=(patients, 3)) @ np.linalg.cholesky(sigma).T
        self.patient, self.place = np.nonzero(seen)
        self.y = 10 + y[seen]
        n = len(self.y)
        self.X = np.column_stack([np.ones(n), self.place == 1, self.place == 2, rng.normal(size=n)]).astype(float)
        _, first, self.pattern = np.unique(seen @ [1, 2, 4], return_index=True, return_inverse=True)
        self.seen = seen[first]

    def patterns(self, **options: float) -> Patterns:
        return prepare(self.y, self.X, self.patient, self.place, 3, self.pattern, **options)

    def covariance(self, word: str = "unstructured") -> ByVisit:
        return ByVisit(STRUCTURES[word](3), 1, self.seen, np.zeros(len(self.seen), dtype=np.intp))


def test_products_are_the_sums_over_patients() -> None:
    study = Study(1)
    patterns = study.patterns()
    for k in range(len(study.seen)):
        mine = patterns.M[:, :, study.pattern == k]
        np.testing.assert_allclose(patterns.C[k], np.einsum("apn,bqn->abpq", mine, mine), atol=1e-10)
    np.testing.assert_allclose(products(patterns.M, study.pattern, len(study.seen)), patterns.C, atol=1e-10)
    assert patterns.counts.tolist() == np.bincount(study.pattern).tolist()


def test_the_unit_of_y_is_its_residuals_spread() -> None:
    study = Study(2)
    residual = study.y - study.X @ np.linalg.lstsq(study.X, study.y)[0]
    patterns = study.patterns()
    assert patterns.scale == pytest.approx(np.sqrt((residual**2).mean()))
    rows = patterns.M[study.place, :, study.patient]
    np.testing.assert_allclose(rows[:, -1] * patterns.scale, residual, atol=1e-10)
    np.testing.assert_allclose(rows[:, :-1] @ patterns.Rx, study.X, atol=1e-12)
    assert study.patterns(scale=2.0).scale == 2.0


@pytest.mark.parametrize("reml", [True, False])
def test_criterion_and_fixed_effects(reml: bool) -> None:
    study = Study(3)
    patterns = study.patterns(scale=1.0)
    V = study.covariance().matrices(np.array(SIGMA[np.tril_indices(3)]))
    found = evaluate(patterns.C, patterns.counts, patterns.n - 4 * reml, V[None], reml=reml)
    dense = SIGMA[study.place[:, None], study.place] * (study.patient[:, None] == study.patient)
    W = np.linalg.inv(dense)
    Q = np.linalg.solve(patterns.Rx.T, study.X.T).T
    beta = np.linalg.solve(Q.T @ W @ Q, Q.T @ W @ study.y)
    r = study.y - Q @ beta
    value = np.linalg.slogdet(dense)[1] + r @ W @ r + (patterns.n - 4 * reml) * np.log(2 * np.pi)
    value += np.linalg.slogdet(Q.T @ W @ Q)[1] if reml else 0.0
    assert found.value[0] == pytest.approx(value, abs=1e-9)
    np.testing.assert_allclose(found.b[0] + patterns.Rx @ patterns.beta0, beta, atol=1e-10)
    np.testing.assert_allclose(found.Sxx_inverse[0], np.linalg.inv(Q.T @ W @ Q), rtol=1e-9)


@given(seed=st.integers(0, 100), reml=st.booleans(), word=st.sampled_from(list(STRUCTURES)))
@FEW
def test_slope(seed: int, reml: bool, word: str) -> None:
    study = Study(seed)
    patterns, covariance = study.patterns(), study.covariance(word)
    many = criterion(patterns.C, patterns.counts, patterns.n - 4 * reml, covariance, reml=reml)
    r = len(covariance.structure.free(SIGMA))
    u = np.random.default_rng(seed).normal(scale=0.5, size=r)
    steps = np.concatenate([u + 1e-5 * np.eye(r), u - 1e-5 * np.eye(r)])
    value = many(steps)[0]
    np.testing.assert_allclose(many(u[None])[1][0], (value[:r] - value[r:]) / 2e-5, rtol=1e-5, atol=1e-6)


def test_many_data_sets_at_once() -> None:
    study = Study(4)
    patterns, covariance = study.patterns(), study.covariance()
    rng = np.random.default_rng(5)
    weights = rng.integers(1, 4, size=(3, len(study.pattern))).astype(float)
    C = np.stack([products(patterns.M * np.sqrt(w), study.pattern, len(study.seen)) for w in weights])
    counts = np.stack([np.bincount(study.pattern, w) for w in weights])
    nu = (weights @ np.bincount(study.patient)) - 4
    u = rng.normal(scale=0.3, size=(3, 6))
    value, slope, _ = criterion(C, counts, nu, covariance, reml=True)(u)
    for k in range(3):
        one = criterion(C[k], counts[k], nu[k], covariance, reml=True)(u[[k]])
        assert one[0][0] == pytest.approx(value[k], rel=1e-12)
        np.testing.assert_allclose(one[1][0], slope[k], rtol=1e-9)


def test_a_singular_covariance_is_infinitely_bad_and_does_not_stop_the_others() -> None:
    study = Study(6)
    patterns, covariance = study.patterns(), study.covariance()
    many = criterion(patterns.C, patterns.counts, patterns.n - 4, covariance, reml=True)
    good = np.zeros(6)
    bad = np.where(covariance.structure.diagonal, -400.0, 1.0)  # type: ignore[attr-defined]
    huge = np.where(covariance.structure.diagonal, 800.0, 0.0)  # type: ignore[attr-defined]
    value, slope, _ = many(np.stack([good, bad, huge]))
    assert np.isfinite(value[0])
    assert value[0] == pytest.approx(many(good[None])[0][0])
    assert np.isinf(value[1:]).all()
    assert np.array_equal(slope[1:], np.zeros((2, 6)))


@pytest.mark.parametrize("start", ["near", "far", "one variance tiny"])
def test_it_ends_in_the_same_place_wherever_it_starts(start: str) -> None:
    study = Study(7)
    patterns, covariance = study.patterns(), study.covariance()
    u = {
        "near": np.zeros(6),
        "far": np.array([3.0, -2, 3, 2, 1, -3]),
        "one variance tiny": np.array([0, 0, -4.0, 0, 0, 0]),
    }
    found = fit(patterns, covariance, u[start])
    best = fit(patterns, covariance, covariance.structure.free(SIGMA))
    assert found.deviance == pytest.approx(best.deviance, abs=1e-7)
    assert found.convergence.converged
    np.testing.assert_allclose(found.phi, best.phi, rtol=1e-4)


def test_a_singular_optimum_is_refused_and_says_so() -> None:
    # The second visit is twice the first: the better, the closer the covariance comes to singular.
    study = Study(8)
    level = np.random.default_rng(9).normal(size=40)[study.patient]
    study.y = np.where(study.place == 1, 2 * level, np.where(study.place == 0, level, study.y))
    with pytest.raises(ConvergenceError, match="the covariance of the visits is singular") as caught:
        fit(study.patterns(), study.covariance(), np.zeros(6))
    assert caught.value.record["converged"] is False
    assert caught.value.record["message"] == "the covariance of the visits is singular"


def test_a_covariance_that_no_pattern_shows_whole_is_judged_whole() -> None:
    # Every patient has two of three visits. Each pair is far from singular, but no covariance has all three of these
    # correlations: the optimum lies on the edge.
    sigma = np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.5], [-0.9, 0.5, 1.0]])
    assert np.linalg.eigvalsh(sigma)[0] < 0
    rng, pairs = np.random.default_rng(1), np.array([[0, 1], [0, 2], [1, 2]])
    pattern = np.arange(90) % 3
    place = pairs[pattern].ravel()
    y = np.concatenate([np.linalg.cholesky(sigma[np.ix_(j, j)]) @ rng.normal(size=2) for j in pairs[pattern]])
    X = np.column_stack([place == k for k in range(3)]).astype(float)
    seen = np.array([[k in pair for k in range(3)] for pair in pairs])
    patterns = prepare(y, X, np.repeat(np.arange(90), 2), place, 3, pattern)
    covariance = ByVisit(STRUCTURES["unstructured"](3), 1, seen, np.zeros(3, dtype=np.intp))
    with pytest.raises(ConvergenceError, match="singular"):
        fit(patterns, covariance, np.zeros(6))


def test_complex_step_has_no_step_size() -> None:
    at = np.array([1e-8, 3.0, 1e8])
    slope = complex_step(lambda x: x**3, at)
    np.testing.assert_allclose(slope, np.diag(3 * at**2), rtol=1e-15)
    assert marginal.STEP < 1e-20
