"""How a fit ends: its record, its errors, its arrays."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from implstats._core import mixed
from implstats._core.convergence import Convergence
from implstats._core.inference import Inference, infer
from implstats._core.structure import Block, Problem, prepare
from implstats.errors import ConvergenceError, ImplstatsError


def problem(seed: int = 0, *, noise: float = 1.0, slope: bool = True) -> Problem:
    rng = np.random.default_rng(seed)
    codes, t = np.repeat(np.arange(15), 4), np.tile(np.arange(4.0), 15)
    X = np.column_stack([np.ones(60), t])
    u = rng.normal(size=(15, 2)) * [1.0, 0.8 * slope]
    y = X @ [5.0, -1.0] + np.einsum("nq,nq->n", X, u[codes]) + noise * rng.normal(size=60)
    return prepare(y, X, [Block(codes, 15, X if slope else X[:, :1])])


def test_record_of_a_good_end() -> None:
    fit = mixed.fit(problem())
    record = fit.convergence
    assert record.converged
    assert not record.boundary
    assert record.message == "converged"
    assert 0 <= record.decrement < 1e-7
    assert record.gradient < 1e-2
    assert record.evaluations >= record.iterations > 0
    assert record.restarts == 0
    assert json.loads(json.dumps(record.to_dict())) == record.to_dict()
    with pytest.raises(FrozenInstanceError):
        record.converged = False  # type: ignore[misc]


def test_record_of_an_end_on_the_boundary() -> None:
    rng = np.random.default_rng(2)
    codes = np.repeat(np.arange(6), 4)
    one = np.ones((24, 1))
    y = np.tile([-1.0, 1, -1, 1], 6) + 0.01 * rng.normal(size=24)
    fit = mixed.fit(prepare(y, one, [Block(codes, 6, one)]))
    assert fit.convergence.converged
    assert fit.convergence.boundary
    assert fit.convergence.message == "converged on the boundary"
    assert fit.L[0].shape == (1, 0)
    assert fit.G[0].tolist() == [[0.0]]


@pytest.mark.parametrize("slope", [True, False])
@pytest.mark.parametrize("reml", [True, False])
def test_no_residual_is_an_error_with_its_record(slope: bool, reml: bool) -> None:
    with pytest.raises(ConvergenceError, match="did not converge") as caught:
        mixed.fit(problem(noise=0.0, slope=slope), reml=reml)
    error = caught.value
    assert isinstance(error, ImplstatsError)
    assert set(error.record) == set(Convergence.__dataclass_fields__)
    assert error.record["converged"] is False
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is ConvergenceError
        assert str(again) == str(error)
        assert dict(again.record) == dict(error.record)


def test_an_error_without_a_record_has_an_empty_one() -> None:
    assert dict(ConvergenceError("no").record) == {}


@pytest.mark.parametrize("reml", [True, False])
def test_a_start_changes_the_way_not_the_end(reml: bool) -> None:
    whole = problem(4)
    fit = mixed.fit(whole, reml=reml)
    for start in (fit.L, [np.eye(2) * 30], [np.eye(2) * 0.01], [np.array([[1.0], [0.5]])], [np.zeros((2, 2))]):
        again = mixed.fit(whole, reml=reml, start=start)
        assert again.deviance == pytest.approx(fit.deviance, abs=1e-8)
        np.testing.assert_allclose(again.G[0], fit.G[0], rtol=1e-4)
    near = mixed.fit(whole, reml=reml, start=fit.L)
    assert near.convergence.evaluations <= fit.convergence.evaluations


def test_two_fits_are_bit_for_bit_the_same() -> None:
    one, other = mixed.fit(problem(5)), mixed.fit(problem(5))
    assert one.deviance == other.deviance
    np.testing.assert_array_equal(one.beta, other.beta)
    np.testing.assert_array_equal(one.G[0], other.G[0])


def test_maximum_likelihood_has_no_kenward_roger() -> None:
    whole = problem(6)
    found = infer(whole, mixed.fit(whole, reml=False))
    assert isinstance(found, Inference)
    assert found.PA is None
    assert found.w is None
    std_error, df = found.contrasts(np.eye(2), "normal")
    assert np.isinf(df).all()
    assert (std_error > 0).all()


def test_covariances_are_symmetric_and_positive() -> None:
    whole = problem(9)
    fit = mixed.fit(whole)
    for matrix in (fit.vcov, fit.G[0], infer(whole, fit).covariance(np.eye(2), "kenward-roger")):
        np.testing.assert_allclose(matrix, matrix.T, rtol=1e-10)
        assert np.linalg.eigvalsh(matrix)[0] > 0
    # Kenward and Roger's covariance is the larger one.
    extra = infer(whole, fit).covariance(np.eye(2), "kenward-roger") - fit.vcov
    assert np.linalg.eigvalsh(extra)[0] > -1e-10


def test_too_many_connected_effects_are_refused_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    from implstats._core import inference

    rng = np.random.default_rng(8)
    codes, rater = np.repeat(np.arange(10), 4), np.tile(np.arange(4), 10)
    one = np.ones((40, 1))
    y = rng.normal(size=40) + rng.normal(size=10)[codes] + rng.normal(size=4)[rater]
    whole = prepare(y, one, [Block(codes, 10, one), Block(rater, 4, one)])
    fit = mixed.fit(whole)
    infer(whole, fit)
    monkeypatch.setattr(inference, "LARGEST_COMPONENT", 13)
    with pytest.raises(ValueError, match="14 random effects are connected"):
        infer(whole, fit)
