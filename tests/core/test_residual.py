"""Whitening of residuals that differ or hang together, and the profile of their parameters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implstats._core import mixed
from implstats._core.residual import Residual, _natural, _Profile, _whitened, _Whitening, fit, independent
from implstats._core.structure import Block, prepare
from implstats._core.written import identified
from implstats.errors import ConvergenceError

FEW = settings(derandomize=True, deadline=None, max_examples=6)


class Rows:
    """Patients with rows in no order, whose gaps are whole or not."""

    def __init__(self, seed: int, *, whole: bool = True, patients: int = 12, rho: float = 0.5) -> None:
        rng = np.random.default_rng(seed)
        codes = np.repeat(np.arange(patients), rng.integers(2, 6, patients))
        n = len(codes)
        position = rng.permuted(np.tile(np.arange(10), (patients, 1)), axis=1)[codes, np.arange(n) % 10]
        # Within a patient no position comes twice.
        key = np.unique(codes * 10 + position)
        codes, position = rng.permutation(np.column_stack([key // 10, key % 10])).T
        n = len(codes)
        self.position = position if whole else position + rng.uniform(0, 0.9, n)
        self.codes, self.n, self.patients = codes, n, patients
        self.strata, self.precision = rng.integers(0, 3, n), rng.uniform(0.5, 3.0, n)
        self.strata[:3] = range(3)
        self.X = np.column_stack([np.ones(n), position])
        V = self.dense(np.array([1.0, 0.5, 2.0]), None)
        same = codes[:, None] == codes
        V = (
            np.sqrt(np.outer(np.diag(V), np.diag(V)))
            * rho ** np.abs(np.subtract.outer(self.position, self.position))
            * same
        )
        self.y = self.X @ [3.0, -0.2] + rng.normal(size=patients)[codes] + np.linalg.cholesky(V) @ rng.normal(size=n)

    def residual(self, kind: str) -> Residual:
        series = {"series": self.codes, "position": self.position} if "ar1" in kind else {}
        strata = (self.strata, 3) if "strata" in kind else (np.zeros(self.n, dtype=np.intp), 1)
        precision = self.precision if "precision" in kind else np.ones(self.n)
        return Residual(*strata, precision, **series)

    def dense(self, ratios: np.ndarray, rho: float | None) -> np.ndarray:
        variance = ratios[self.strata] / self.precision
        if rho is None:
            return np.diag(variance)
        gaps = np.abs(np.subtract.outer(self.position, self.position))
        same = self.codes[:, None] == self.codes
        return np.where(same, np.sqrt(np.outer(variance, variance)) * np.where(same, rho**gaps, 0.0), 0.0)

    def blocks(self) -> Sequence[Block]:
        return [Block(self.codes, self.patients, np.ones((self.n, 1)))]


@pytest.mark.parametrize(("whole", "rho"), [(True, 0.6), (True, -0.6), (False, 0.6), (True, None)])
def test_whitening_makes_an_identity(whole: bool, rho: float | None) -> None:
    rows = Rows(1, whole=whole)
    ratios = np.array([1.0, 0.3, 2.5])
    structure = rows.residual("strata precision" + (" ar1" if rho is not None else ""))
    white, logdet = _whitened(structure, np.eye(rows.n), ratios, rho)
    V = rows.dense(ratios, rho)
    np.testing.assert_allclose(white @ V @ white.T, np.eye(rows.n), atol=1e-12)
    assert logdet == pytest.approx(np.linalg.slogdet(V)[1], abs=1e-10)


def test_rows_follow_each_other_in_time_within_their_series() -> None:
    structure = Residual(
        np.zeros(5, dtype=np.intp), 1, np.ones(5), np.array([1, 0, 1, 0, 1]), np.array([5, 2, 1, 7, 3])
    )
    later, earlier, gap = structure.previous()
    assert list(zip(later.tolist(), earlier.tolist(), gap.tolist(), strict=True)) == [(3, 1, 5), (4, 2, 2), (0, 4, 2)]


def test_negative_correlations_need_whole_gaps() -> None:
    whole, odd = Rows(1).residual("ar1"), Rows(1, whole=False).residual("ar1")
    assert (whole.lowest, odd.lowest) == (-1.0, 0.0)
    for u in (-30.0, 0.0, 30.0):
        assert -1 <= _natural(whole, np.array([u]))[1] <= 1  # type: ignore[operator]
        assert 0 <= _natural(odd, np.array([u]))[1] <= 1  # type: ignore[operator]
    assert whole.plain is odd.plain is False
    assert independent(4).plain


def test_alike_and_independent_is_the_plain_engine() -> None:
    rows = Rows(2)
    plain = mixed.fit(prepare(rows.y, rows.X, rows.blocks()))
    _, found = fit(rows.y, rows.X, rows.blocks(), independent(rows.n))
    assert found.deviance == pytest.approx(plain.deviance, abs=1e-12)
    np.testing.assert_allclose(found.beta, plain.beta, rtol=1e-12)


@given(seed=st.integers(0, 100), reml=st.booleans(), kind=st.sampled_from(["strata", "ar1", "precision ar1"]))
@FEW
def test_slope_of_the_profile(seed: int, reml: bool, kind: str) -> None:
    rows = Rows(seed)
    structure = rows.residual(kind)
    profile = _Profile(_Whitening(rows.y, rows.X, rows.blocks(), structure), reml, None)
    psi = np.random.default_rng(seed).normal(scale=0.5, size=structure.levels - 1 + (structure.position is not None))
    slope = profile(psi)[1]
    for j in range(len(psi)):
        step = 1e-3 * np.eye(len(psi))[j]
        assert slope[j] == pytest.approx((profile(psi + step)[0] - profile(psi - step)[0]) / 2e-3, abs=2e-4)


@pytest.mark.parametrize("kind", ["strata", "ar1", "strata precision"])
def test_order_of_the_rows(kind: str) -> None:
    rows = Rows(3, patients=30)
    one = fit(rows.y, rows.X, rows.blocks(), rows.residual(kind))[1]
    order = np.random.default_rng(1).permutation(rows.n)
    for name in ("codes", "position", "strata", "precision", "X", "y"):
        setattr(rows, name, getattr(rows, name)[order])
    other = fit(rows.y, rows.X, rows.blocks(), rows.residual(kind))[1]
    assert other.deviance == pytest.approx(one.deviance, abs=1e-8)
    np.testing.assert_allclose(other.ratios, one.ratios, rtol=1e-5)
    np.testing.assert_allclose(other.beta, one.beta, rtol=1e-7)


def test_a_correlation_at_its_lower_end_is_said_to_be_zero() -> None:
    at_zero = 0
    for seed in range(8):
        rows = Rows(seed, whole=False, rho=1e-6, patients=30)
        _, found = fit(rows.y, rows.X, rows.blocks(), rows.residual("ar1"))
        _, without = fit(rows.y, rows.X, rows.blocks(), rows.residual(""))
        assert found.deviance <= without.deviance + 1e-8
        if found.rho == 0.0:
            at_zero += 1
            assert found.deviance == pytest.approx(without.deviance, abs=1e-9)
            assert found.convergence.message == "converged on the boundary"
    assert 1 < at_zero < 8


def test_a_variance_that_runs_to_zero_is_refused() -> None:
    # One stratum has no error at all.
    rows = Rows(5)
    rng = np.random.default_rng(1)
    rows.y = (
        rows.X @ [3.0, -0.2]
        + rng.normal(size=12)[rows.codes]
        + np.where(rows.strata == 1, 0.0, 0.5) * rng.normal(size=rows.n)
    )
    with pytest.raises(ConvergenceError, match="the residuals' parameters end at variance ratios") as caught:
        fit(rows.y, rows.X, rows.blocks(), rows.residual("strata"))
    assert caught.value.record["converged"] is False


@pytest.mark.parametrize(
    ("visits", "q", "kind", "wanted"),
    [
        (2, 1, "ar1", False),
        (2, 1, "by visit", True),
        (3, 1, "ar1", True),
        (3, 1, "by visit", True),
        (2, 2, "by visit", False),
        (3, 2, "by visit", True),
        (3, 2, "ar1", True),
        (2, 2, "by group", False),
        (2, 1, "by group", True),
    ],
)
def test_what_the_visits_can_tell(visits: int, q: int, kind: str, wanted: bool) -> None:
    # Two visits show three numbers, three show six (and AR(1) with a level of its own takes three of them).
    codes, t = np.repeat(np.arange(8), visits), np.tile(np.arange(visits), 8)
    Z = np.column_stack([np.ones(len(t)), t])[:, :q]
    strata = {"ar1": 0 * t, "by visit": t, "by group": codes % 2}[kind]
    series = {"series": codes, "position": t} if kind == "ar1" else {}
    structure = Residual(strata, int(strata.max()) + 1, np.ones(len(t)), **series)
    assert identified([Block(codes, 8, Z)], structure) is wanted


def test_identified_in_units_that_are_too_large_to_write_out() -> None:
    codes = np.repeat(np.arange(700), 2)
    one = np.ones((1400, 1))
    structure = Residual(codes % 2, 2, np.ones(1400))
    assert identified([Block(codes, 700, one), Block(codes // 700, 1, one)], structure)
