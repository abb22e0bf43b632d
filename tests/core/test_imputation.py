"""Imputation by a marginal model and Rubin's rules: by hand, and against the conditional normal distribution."""

from __future__ import annotations

import numpy as np
import pytest

from implstats._core.imputation import pool


def test_rubins_rules_by_hand() -> None:
    """Estimates 1, 2, 3 with variances .5, .7, .6: mean 2, W .6, B 1, T = .6 + 4/3."""
    found = pool(np.array([[1.0], [2.0], [3.0]]), np.array([0.5, 0.7, 0.6]).reshape(3, 1, 1), 40.0)
    assert found.estimate[0] == pytest.approx(2.0)
    assert found.within[0, 0] == pytest.approx(0.6)
    assert found.between[0, 0] == pytest.approx(1.0)
    assert found.covariance[0, 0] == pytest.approx(0.6 + 4 / 3)
    # Share of the missing: (4/3) / (29/15) = 20/29. Rubin's df 2 (29/20)^2; observed 41/43 x 40 x 9/29.
    old, observed = 2 * (29 / 20) ** 2, 41 / 43 * 40 * 9 / 29
    assert found.df(np.ones(1)) == pytest.approx(old * observed / (old + observed))


def test_without_disagreement_df_are_those_of_complete_data() -> None:
    found = pool(np.ones((4, 2)), np.broadcast_to(np.eye(2), (4, 2, 2)), 17.0)
    assert found.df(np.array([1.0, -1.0])) == 17.0
    np.testing.assert_allclose(found.covariance, np.eye(2))
