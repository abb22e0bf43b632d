"""From rows to sufficient statistics: aliased columns, schedules, compression, components."""

from __future__ import annotations

import numpy as np
import pytest

from implstats._core.structure import AliasedError, Block, aliased, compress, level_sums, prepare

RNG = np.random.default_rng(0)


def block(codes: object, Z: object) -> Block:
    values = np.asarray(codes, dtype=np.intp)
    columns = np.asarray(Z, dtype=float)
    return Block(values, int(values.max()) + 1, columns if columns.ndim == 2 else columns[:, None])


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ([[1, 1, 1, 1], [0, 1, 2, 3]], []),
        ([[1, 1, 1, 1], [0, 0, 0, 0], [0, 1, 2, 3]], [1]),
        ([[1, 1, 1, 1], [0, 1, 2, 3], [5, 7, 9, 11]], [2]),
        ([[0, 1, 2, 3], [0, 2, 4, 6], [1, 1, 1, 1], [1, 2, 3, 4]], [1, 3]),
        # More columns than rows: the last ones cannot be new.
        ([[1, 0], [0, 1], [1, 1], [1, 2]], [2, 3]),
        # A year is not a constant, and a unit is no reason.
        ([[1, 1, 1, 1], [2020, 2021, 2022, 2023]], []),
        ([[1, 1, 1, 1], [0, 1e-12, 2e-12, 4e-12], [0, 1e12, 0, 0]], []),
        ([[1, 1, 1, 1], [1.7e18, 1.7e18 + 2.6e15, 1.7e18 + 5.2e15, 1.7e18 + 7.8e15]], []),
        ([[3, 1, 2, 5]], []),
        ([[0, 0, 0, 0]], [0]),
    ],
)
def test_aliased_columns_are_those_after_what_they_repeat(columns: list[list[float]], found: list[int]) -> None:
    assert aliased(np.array(columns, dtype=float).T) == found


def test_aliased_does_not_depend_on_units() -> None:
    X = RNG.normal(size=(20, 4))
    X = np.column_stack([X, X @ [1.0, 2, 3, 4], RNG.normal(size=20)])
    for scale in (1e-150, 1e-8, 1.0, 1e8, 1e150):
        assert aliased(X * scale) == [4]
        assert aliased(X * [1, scale, 1, 1, 1, scale]) == [4]


def test_prepare_names_the_columns_of_X_and_of_each_block() -> None:
    t = np.array([0.0, 1, 2] * 4)
    codes = np.repeat(np.arange(4), 3)
    one = np.ones(12)
    y = RNG.normal(size=12)
    with pytest.raises(AliasedError) as caught:
        prepare(y, np.column_stack([one, t, 2 * t - 1]), [block(codes, one)])
    assert (caught.value.matrix, caught.value.columns) == ("X", [2])
    with pytest.raises(AliasedError) as caught:
        prepare(y, np.column_stack([one, t]), [block(codes, one), block(codes, np.column_stack([t, 3 * t]))])
    assert (caught.value.matrix, caught.value.columns) == (1, [1])
    assert "[1] of 1" in str(caught.value)


def test_prepare_keeps_the_sums_of_squares() -> None:
    rng = np.random.default_rng(3)
    n, N = 40, 12
    codes = np.concatenate([np.arange(N), rng.integers(0, N, n - N)])
    X = np.column_stack([np.ones(n), rng.normal(size=n), 1e6 + rng.normal(size=n)])
    Z = np.column_stack([np.ones(n), X[:, 1]])
    y = rng.normal(size=n) * 100
    problem = prepare(y, X, [block(codes, Z)])
    Q = X @ np.linalg.inv(problem.Rx)
    np.testing.assert_allclose(Q.T @ Q, np.eye(3), atol=1e-9)
    assert (np.diag(problem.Rx) > 0).all()
    assert np.allclose(np.tril(problem.Rx, -1), 0)
    beta, (rss,) = np.linalg.lstsq(X, y, rcond=None)[:2]
    np.testing.assert_allclose(problem.beta0, beta, rtol=1e-7)
    assert problem.T[3, 3] == pytest.approx(rss, rel=1e-9)
    Zs = Z @ np.linalg.inv(problem.Rz[0])
    np.testing.assert_allclose(Zs.T @ Zs / n, np.eye(2), atol=1e-10)
    for i in range(N):
        here = codes == i
        np.testing.assert_allclose(problem.A[:, :, problem.schedule[i]], Zs[here].T @ Zs[here], atol=1e-9)
        wanted = Zs[here].T @ np.column_stack([Q, y - X @ beta])[here]
        np.testing.assert_allclose(problem.M[:, :, i], wanted, atol=1e-6)
    assert problem.counts.sum() == N


def test_prepare_finds_the_schedules_that_patients_share() -> None:
    visits = [[0, 1, 2], [0, 1], [0, 1, 2], [0, 2], [0, 1, 2], [0, 1], [0, 1, 2], [0, 1]]
    t = np.concatenate(visits).astype(float)
    codes = np.repeat(np.arange(8), [len(v) for v in visits])
    X = np.column_stack([np.ones(len(t)), t])
    problem = prepare(RNG.normal(size=len(t)), X, [block(codes, X)])
    assert problem.A.shape == (2, 2, 3)
    assert sorted(problem.counts.tolist()) == [1, 3, 4]
    for i, one in enumerate(visits):
        for j, two in enumerate(visits):
            assert (problem.schedule[i] == problem.schedule[j]) == (one == two)
    # The order of a patient's rows must not make another schedule of the same visits a wrong one.
    order = np.random.default_rng(1).permutation(len(t))
    other = prepare(RNG.normal(size=len(t)), X[order], [block(codes[order], X[order])])
    for i in range(8):
        np.testing.assert_allclose(
            other.A[:, :, other.schedule[i]], problem.A[:, :, problem.schedule[i]], rtol=1e-10, atol=1e-10
        )


def test_the_factor_with_most_levels_is_eliminated_first() -> None:
    codes, site = np.repeat(np.arange(9), 3), np.repeat(np.arange(3), 9)
    one, t = np.ones(27), np.tile([0.0, 1, 2], 9)
    problem = prepare(RNG.normal(size=27), one[:, None], [block(site, one), block(codes, one), block(codes, t)])
    assert problem.first == (1, 2)
    assert problem.second_blocks == (0,)
    assert (problem.columns(1), problem.columns(2)) == (slice(0, 1), slice(1, 2))
    second = problem.second
    assert second is not None
    # Patients are nested in sites: each site is a component of its own.
    assert len(set(second.component_of.tolist())) == 3
    for i in range(9):
        assert second.first_component[i] == second.component_of[i // 3]


def test_crossed_levels_are_one_component() -> None:
    codes, rater = np.repeat(np.arange(6), 2), np.tile([0, 1], 6)
    one = np.ones(12)
    problem = prepare(RNG.normal(size=12), one[:, None], [block(codes, one), block(rater, one)])
    assert problem.second is not None
    assert len(set(problem.second.component_of.tolist())) == 1
    assert len(problem.second.buckets) == 1


@pytest.mark.parametrize("N", [3, 40, 400])
def test_compression_keeps_the_sum_of_products(N: int) -> None:
    rng = np.random.default_rng(N)
    M = rng.normal(size=(2, 3, N))
    schedule = rng.integers(0, 3, N)
    schedule[:3] = [0, 1, 2]
    short, index = compress(M, schedule, 3)
    for k in range(3):
        wanted, got = M[:, :, schedule == k].reshape(6, -1), short[:, :, index == k].reshape(6, -1)
        np.testing.assert_allclose(got @ got.T, wanted @ wanted.T, rtol=1e-10, atol=1e-10)
    assert short.shape[2] == (N if N == 3 else min(N, 18))


def test_sums_within_levels() -> None:
    x = np.array([1.0, 2, 4, 8, 16])
    assert level_sums(np.array([0, 0, 1, 2, 2]), 3)(x).tolist() == [3, 4, 24]
    assert level_sums(np.array([2, 0, 1, 0, 2]), 3)(x).tolist() == [10, 4, 17]
    with pytest.raises(AssertionError):
        level_sums(np.array([0, 0, 2]), 3)
