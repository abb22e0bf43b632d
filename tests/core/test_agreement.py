"""Mean squares, disagreement and what a mean and a range allow, against the plain definition on small arrays."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from implstats._core.agreement import (
    FORMS,
    corrected,
    deviations,
    intraclass,
    of_categories,
    of_ranks,
    of_scores,
    one_way,
    two_way,
)


def table(seed: int, n: int = 8, k: int = 4) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, 1)) + 0.5 * rng.normal(size=k) + rng.normal(size=(n, k))


@pytest.mark.parametrize("seed", range(4))
def test_two_way_mean_squares_are_those_of_least_squares(seed: int) -> None:
    x = table(seed)
    n, k = x.shape
    rows, columns = np.repeat(np.eye(n), k, axis=0), np.tile(np.eye(k), (n, 1))

    def left(*parts: np.ndarray) -> float:
        X = np.column_stack([np.ones(n * k), *parts])
        fitted = X @ np.linalg.lstsq(X, x.ravel(), rcond=None)[0]
        return float(((x.ravel() - fitted) ** 2).sum())

    found = two_way(x)
    assert found.items == pytest.approx((left(columns) - left(rows, columns)) / (n - 1))
    assert found.raters == pytest.approx((left(rows) - left(rows, columns)) / (k - 1))
    assert found.error == pytest.approx(left(rows, columns) / ((n - 1) * (k - 1)))
    assert one_way(np.repeat(np.arange(n), k), x.ravel()).error == pytest.approx(left(rows) / (n * (k - 1)))


def test_a_mean_of_k_is_what_spearman_and_brown_say_of_one() -> None:
    for squares in (two_way(table(1)), one_way(np.repeat(np.arange(8), 4), table(1).ravel())):
        for one, mean in (("1", "k"), ("A,1", "A,k"), ("C,1", "C,k")):
            if FORMS[one][0] == np.isfinite(squares.raters):
                single, average = intraclass(one, squares, 0.95), intraclass(mean, squares, 0.95)
                for name in ("estimate", "low", "high"):
                    r = getattr(single, name)
                    assert getattr(average, name) == pytest.approx(4 * r / (1 + 3 * r))


def test_consistency_of_the_mean_is_cronbachs_alpha() -> None:
    x = table(2)
    alpha = 4 / 3 * (1 - x.var(axis=0, ddof=1).sum() / x.sum(axis=1).var(ddof=1))
    assert intraclass("C,k", two_way(x), 0.95).estimate == pytest.approx(alpha)


@pytest.mark.parametrize("form", ["A,1", "1"])
def test_intervals_cover_as_often_as_they_say(form: str) -> None:
    # The correlation is a half; of 2,000 studies 95 % has a standard error of half a percent.
    rng = np.random.default_rng(7)
    hits, item = 0, np.repeat(np.arange(15), 5)
    for _ in range(2000):
        if form == "A,1":
            score = rng.normal(size=(15, 1)) + 0.5 * rng.normal(size=5) + np.sqrt(0.75) * rng.normal(size=(15, 5))
            found = intraclass(form, two_way(score), 0.95)
        else:
            found = intraclass(form, one_way(item, rng.normal(size=15)[item] + rng.normal(size=75)), 0.95)
        hits += found.low <= 0.5 <= found.high
    assert hits / 2000 == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("form", ["A,1", "A,k", "C,1", "C,k"])
def test_raters_who_agree_exactly(form: str) -> None:
    x = np.tile(np.array([[0.1], [0.7], [1.3]]), (1, 3))
    found = intraclass(form, two_way(x), 0.95)
    assert (found.estimate, found.low, found.high) == (1, 1, 1)
    assert found.statistic == np.inf
    assert found.p_value == 0


def test_what_is_only_rounding_is_no_variance() -> None:
    x = np.tile(np.array([[0.1], [0.2], [0.4]]), (1, 5)) + 1e6
    squares = two_way(x)
    assert squares.raters == squares.error == 0
    assert squares.items > 0


def test_a_share_of_nothing_is_not_a_number() -> None:
    # Every rater gives every item the same, one more than the other: there is nothing to be consistent about.
    squares = two_way(np.array([[1.0, 2], [1, 2], [1, 2]]))
    assert np.isnan(intraclass("C,1", squares, 0.95).estimate)
    assert np.isnan(intraclass("C,1", squares, 0.95).low)
    assert intraclass("A,1", squares, 0.95).estimate == 0


def rows_of(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return item and category of every rating."""
    item, category = np.indices(counts.shape).reshape(2, -1)
    many = counts.ravel().astype(int)
    return np.repeat(item, many), np.repeat(category, many)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["categories", "ranks", "scores"])
def test_disagreement_in_versions_is_that_of_repeated_items(seed: int, kind: str) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 3, (6, 4)) + np.array([1.0, 0, 1, 0])
    times = rng.integers(0, 3, 6)
    times[0] += 1

    def measured(table: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if kind == "scores":
            item, category = rows_of(table)
            return of_scores(item, np.array([0.0, 1, 3, 7])[category], weights)
        return (of_ranks if kind == "ranks" else of_categories)(table, weights)

    weighted = measured(counts, times[None].astype(float))
    repeated = measured(np.repeat(counts, times, axis=0), np.ones((1, times.sum())))
    np.testing.assert_allclose(weighted, repeated, rtol=1e-12)


def test_scores_far_from_zero_cost_no_digits() -> None:
    item, category = rows_of(np.random.default_rng(5).integers(0, 3, (6, 4)) + 1)
    near, far = (of_scores(item, category + shift, np.ones((1, 6))) for shift in (0.0, 2.0**30))
    np.testing.assert_allclose(near, far, rtol=1e-12)


def test_agreement_that_chance_alone_would_give_is_not_a_number() -> None:
    found = corrected(np.array([[2.0, 0], [2, 0]]), "fleiss")
    assert np.isnan(found.estimate)
    assert (found.agreement, found.expected) == (1, 1)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_least_and_most_spread_are_those_of_all_samples(n: int) -> None:
    seen: dict[tuple[int, int, int], list[float]] = {}
    for scores in itertools.combinations_with_replacement(range(6), n):
        spread = float(((np.array(scores) - np.mean(scores)) ** 2).sum())
        seen.setdefault((sum(scores), scores[0], scores[-1]), []).append(spread)
    for low, high in itertools.combinations_with_replacement(range(6), 2):
        for total in range(n * 6):
            found = deviations(n, total, low, high)
            if (total, low, high) in seen:
                spreads = seen[total, low, high]
                assert found == (pytest.approx(min(spreads)), pytest.approx(max(spreads)))
            else:
                assert found is None
