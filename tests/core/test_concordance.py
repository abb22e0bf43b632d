"""Concordance where there are many rows: counted by halves, and compared pair by pair with numpy's outer products."""

from __future__ import annotations

import numpy as np
import pytest

from implstats._core import concordance
from implstats._core.risk import risk_sets


def drawn(n: int, *, late: bool, weighted: bool, seed: int) -> tuple[np.ndarray, ...]:
    """Return entry, exit, event, weight, stratum and score; times are tied in part, and so are scores."""
    rng = np.random.default_rng(seed)
    exit = rng.integers(1, 60, n).astype(float)
    entry = np.where(rng.random(n) < 0.5, np.floor(exit * rng.random(n)), 0.0) if late else np.zeros(n)
    weight = rng.uniform(0.5, 2.0, n) if weighted else np.full(n, 3.0)
    return entry, exit, rng.random(n) < 0.6, weight, rng.integers(0, 3, n), np.round(rng.normal(size=n), 1)


def from_all_pairs(*spells: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Return the weights of concordant, discordant and tied pairs, their share, and its jackknife error."""
    entry, exit, event, weight, stratum, score = spells
    outlives = (exit > exit[:, None]) | ((exit == exit[:, None]) & ~event)
    pair = event[:, None] & outlives & (entry < exit[:, None]) & (stratum == stratum[:, None])
    higher, lower = score[:, None] > score, score[:, None] < score
    weights = [pair * kind * np.outer(weight, weight) for kind in (higher, lower, ~higher & ~lower)]
    total = np.array([w.sum() for w in weights])
    share = (total[0] + total[2] / 2) / total.sum()
    influence = (weights[0] + weights[2] / 2 - share * sum(weights)) / total.sum()
    each = influence.sum(axis=0) + influence.sum(axis=1)
    return total, share, float(np.sqrt(each @ each))


# One row past a power of two, few enough to be compared one by one, and in between.
@pytest.mark.parametrize("n", [7, 16, 257, 1000])
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_halves_count_what_all_pairs_do(n: int, late: bool, weighted: bool) -> None:
    spells = drawn(n, late=late, weighted=weighted, seed=n)
    entry, exit, event, weight, stratum, score = spells
    risk = risk_sets(entry if late else None, exit, event, weight, stratum)
    found = concordance.concordance(risk, score[risk.row])
    total, share, error = from_all_pairs(*spells)
    assert (found.concordant, found.discordant, found.tied) == pytest.approx(tuple(total), rel=1e-11)
    assert found.estimate == pytest.approx(share, rel=1e-11)
    assert found.std_error == pytest.approx(error, rel=1e-10)


def test_without_a_pair_there_is_no_concordance() -> None:
    risk = risk_sets(None, np.array([1.0, 1.0]), np.array([True, True]), np.ones(2), np.zeros(2, dtype=int))
    found = concordance.concordance(risk, np.array([0.0, 1.0]))
    assert np.isnan(found.estimate)
    assert found.tied == 0
