"""The small kernels under the criterion, and one evaluation by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp

from implstats._core.criterion import evaluate, multiply, scaled, spread, sweep, times
from implstats._core.structure import Block, prepare


@pytest.mark.parametrize("r", [0, 1, 2, 3, 5])
def test_sweep_inverts_every_matrix_at_once(r: int) -> None:
    rng = np.random.default_rng(r)
    root = rng.normal(size=(r, r, 7)) * 10.0 ** rng.uniform(-3, 3, 7)
    W = np.einsum("abk,cbk->ack", root, root) + np.eye(r)[:, :, None]
    given = W.copy()
    inverse, logdet = sweep(W)
    np.testing.assert_array_equal(W, given)
    for k in range(7):
        np.testing.assert_allclose(inverse[:, :, k] @ W[:, :, k], np.eye(r), atol=1e-7)
        assert logdet[k] == pytest.approx(np.linalg.slogdet(W[:, :, k])[1] if r else 0.0, rel=1e-9, abs=1e-12)


def test_multiply_is_a_matrix_product_for_every_level() -> None:
    rng = np.random.default_rng(1)
    U, M = rng.normal(size=(3, 2, 5)), rng.normal(size=(2, 4, 5))
    np.testing.assert_allclose(multiply(U, M), np.einsum("rsk,sck->rck", U, M), rtol=1e-13)


def test_scaled_multiplies_rows_dense_or_sparse() -> None:
    B = np.array([[1.0, 0, 2], [0, 0, 0], [0, 3, 4]])
    u = np.array([2.0, 5, -1])
    wanted = [[2, 0, 4], [0, 0, 0], [0, -3, -4]]
    np.testing.assert_array_equal(scaled(u, B), wanted)
    np.testing.assert_array_equal(scaled(u, sp.csr_array(B)).toarray(), wanted)


def test_spread_and_times_use_only_what_is_connected() -> None:
    # Patients 0 and 1 meet groups 0 and 3, patient 2 meets 1, patients 3 and 4 meet 2, 4 and 5.
    codes = np.array([0, 0, 1, 2, 3, 3, 3, 4])
    group = np.array([0, 3, 0, 1, 2, 4, 5, 2], dtype=np.intp)
    rows = np.concatenate([codes, codes])
    groups = np.concatenate([group, group])
    one = np.ones((16, 1))
    problem = prepare(np.random.default_rng(0).normal(size=16), one, [Block(rows, 5, one), Block(groups, 6, one)])
    second = problem.second
    # The six groups are the factor with most levels; the five patients come second.
    assert second is not None
    assert problem.first == (1,)
    C = np.asarray(second.C)
    R = np.arange(10.0).reshape(5, 2)
    for form in (C, sp.csr_array(C)):
        np.testing.assert_allclose(times(second, spread(second, form), R), C @ R, rtol=1e-12)


@pytest.mark.parametrize("reml", [True, False])
def test_one_evaluation_by_hand(reml: bool) -> None:
    # Two patients, two visits, mean only; y = 0, 2, 3, 7. G / s2 = 1: each V / s2 = [[2, 1], [1, 2]], |V| = 3,
    # V^-1 = [[2, -1], [-1, 2]] / 3; X'V^-1X = 2 x 2/3 = 4/3; b = mean = 3.
    # r = -3, -1, 0, 4: r'V^-1 r = 2 (9 + 1 - 3)/3 + 2 (0 + 16 - 0)/3 = 14/3 + 32/3 = 46/3.
    y = np.array([0.0, 2, 3, 7])
    one = np.ones((4, 1))
    problem = prepare(y, one, [Block(np.array([0, 0, 1, 1]), 2, one)])
    root = problem.Rz[0] @ np.eye(1)
    state = evaluate(problem, [root], reml=reml)
    nu = 3 if reml else 4
    wanted = 2 * math.log(3) + nu * (1 + math.log(2 * math.pi * 46 / 3 / nu)) + reml * math.log(4 / 3)
    constant = 2 * math.log(problem.Rx[0, 0]) * reml
    assert state.deviance + constant == pytest.approx(wanted, rel=1e-12)
    assert state.r2 == pytest.approx(46 / 3, rel=1e-12)
    assert evaluate(problem, [root], reml=reml, gradient=False).D == ()
