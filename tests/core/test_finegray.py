"""Fine & Gray's model: by hand on a few rows, against risk sets written out one by one, and what must not matter."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest

from implstats._core.finegray import FineGray, fit, influence, prediction
from implstats._core.structure import AliasedError
from implstats.errors import ConvergenceError


def drawn(seed: int, n: int = 90, p: int = 3, *, ties: bool = True) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return X, exit and event (0 censored, 1 the cause, 2 another), with many ties or none."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p))
    X[:, 0] = rng.random(n) < 0.4
    time = rng.exponential(np.exp(-0.5 * X[:, 0] + 0.3 * X[:, 1]))
    exit_ = np.ceil(8 * time) if ties else time
    return X, exit_, rng.choice(3, n, p=[0.3, 0.4, 0.3])


# By hand -------------------------------------------------------------------------------------------------------------


def test_without_censoring_who_had_another_cause_stays_for_good() -> None:
    # With u = exp(b): at 1 the risk set is all four, 2 u + 2; at 3 it is rows 3 and 4, and row 2, which another cause
    # took at 2: u + 2. The likelihood u / [(2 u + 2) (u + 2)] is largest at u^2 = 2.
    found = fit(np.array([[1.0], [0], [0], [1]]), np.array([1.0, 2, 3, 4]), np.array([1, 2, 1, 2]))
    assert found.beta[0] == pytest.approx(math.log(2) / 2, abs=1e-12)
    u = math.sqrt(2)
    assert found.loglik == pytest.approx(math.log(u / (2 * u + 2) / (u + 2)), abs=1e-12)
    assert found.loglik_null == pytest.approx(-math.log(4 * 3), abs=1e-12)
    assert found.time.tolist() == [1, 3]
    # The hazard is that at the mean of x, 1/2.
    assert found.hazard == pytest.approx([u**0.5 / (2 * u + 2), u**0.5 / (u + 2)], rel=1e-12)
    assert prediction(found, np.zeros(1), np.array([3.5]))[0] == pytest.approx(1 / (2 * u + 2) + 1 / (u + 2), rel=1e-12)


def test_censoring_lowers_the_weight_of_who_had_another_cause() -> None:
    # At 3 one of three is censored, so at 4 row 2 counts G(4) / G(2) = 2/3: u / [(2 u + 3) (u + 1 + 2/3)] is largest at
    # u^2 = 5/2.
    found = fit(np.array([[1.0], [0], [0], [0], [1]]), np.array([1.0, 2, 3, 4, 5]), np.array([1, 2, 0, 1, 0]))
    assert found.beta[0] == pytest.approx(math.log(2.5) / 2, abs=1e-12)
    u = math.sqrt(2.5)
    assert found.hazard == pytest.approx([u**0.4 / (2 * u + 3), u**0.4 / (u + 5 / 3)], rel=1e-12)


# Written out ---------------------------------------------------------------------------------------------------------


@dataclass
class Dense:
    """Every row's weight in every risk set: n x K matrices."""

    X: np.ndarray
    exit_: np.ndarray
    event: np.ndarray

    def __post_init__(self) -> None:
        t, s = self.exit_, self.event
        self.censorings = [u for u in np.unique(t) if ((t == u) & (s == 0)).any()]
        self.times = np.unique(t[s == 1])
        own, at = np.array([self.G(u) for u in t]), np.array([self.G(u) for u in self.times])
        self.w = np.where(t[:, None] >= self.times, 1.0, np.where((s == 2)[:, None], at / own[:, None], 0.0))
        self.dN = ((t[:, None] == self.times) & (s == 1)[:, None]).astype(float)

    def G(self, u: float) -> float:
        t, s = self.exit_, self.event
        return math.prod(1 - ((t == c) & (s == 0)).sum() / (t >= c).sum() for c in self.censorings if c < u)

    def at(self, beta: np.ndarray) -> None:
        self.r = np.exp(self.X @ beta)
        self.S0 = self.r @ self.w
        self.mean = (self.w * self.r[:, None]).T @ self.X / self.S0[:, None]
        self.d = self.dN.sum(axis=0)
        self.dM = self.dN - self.w * self.r[:, None] * (self.d / self.S0)
        self.loglik = float((self.X @ beta) @ self.dN.sum(axis=1) - self.d @ np.log(self.S0))
        centred = self.X[:, None, :] - self.mean
        self.eta = np.einsum("ik,ikj->ij", self.dM, centred)
        met = self.w * self.r[:, None] * (self.d / self.S0)
        self.information = np.einsum("ik,ikj,ikl->jl", met, centred, centred)

    def through_censoring(self, of_event: np.ndarray) -> np.ndarray:
        """Return psi: of_event (n, K, m) is what a row's dM at an event adds to the statistic."""
        t, s = self.exit_, self.event
        psi = np.zeros((len(t), of_event.shape[2]))
        for u in self.censorings:
            q = np.zeros(of_event.shape[2])
            for i in np.flatnonzero((s == 2) & (t < u)):
                later = self.times >= u
                q -= self.dM[i, later] @ of_event[i, later]
            Y, c = (t >= u).sum(), ((t == u) & (s == 0)).sum()
            for i in np.flatnonzero(t >= u):
                psi[i] += q / Y * (float(t[i] == u and s[i] == 0) - c / Y)
        return psi


@pytest.mark.parametrize("ties", [True, False])
def test_it_is_what_risk_sets_written_out_give(ties: bool) -> None:
    X, exit_, event = drawn(1, ties=ties)
    found, dense = fit(X, exit_, event), Dense(X, exit_, event)
    dense.at(found.beta)
    assert dense.eta.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-10)
    assert found.loglik == pytest.approx(dense.loglik, rel=1e-13)
    assert found.information == pytest.approx(dense.information, rel=1e-10)
    assert found.hazard == pytest.approx(math.exp(X.mean(axis=0) @ found.beta) * dense.d / dense.S0, rel=1e-10)
    psi = dense.through_censoring(X[:, None, :] - dense.mean)
    moved = (dense.eta + psi) @ np.linalg.inv(dense.information)
    assert found.moved == pytest.approx(moved, rel=1e-8, abs=1e-12)
    assert found.vcov == pytest.approx(moved.T @ moved, rel=1e-9)
    dense.at(np.zeros(3))
    assert found.loglik_null == pytest.approx(dense.loglik, rel=1e-13)


@pytest.mark.parametrize("ties", [True, False])
def test_predictions_have_the_influence_written_out(ties: bool) -> None:
    X, exit_, event = drawn(2, ties=ties)
    found, dense = fit(X, exit_, event), Dense(X, exit_, event)
    dense.at(found.beta)
    x = np.array([1.0, 0.5, -0.3])
    times = np.quantile(exit_, [0.0, 0.3, 0.8])
    hazard, error = prediction(found, x, times)
    for k, t in enumerate(times):
        until = (dense.times <= t).astype(float)
        lift = math.exp(x @ found.beta)
        assert hazard[k] == pytest.approx(lift * (until * dense.d / dense.S0).sum(), rel=1e-12)
        of_event = np.broadcast_to((until / dense.S0)[:, None], (len(X), len(until), 1))
        own = (dense.dM * (until / dense.S0)).sum(axis=1) + dense.through_censoring(of_event)[:, 0]
        slope = ((until * dense.d / dense.S0)[:, None] * (x - dense.mean)).sum(axis=0)
        assert error[k] == pytest.approx(np.linalg.norm(lift * (own + found.moved @ slope)), rel=1e-9)


def test_standard_errors_are_those_of_leaving_rows_out() -> None:
    X, exit_, event = drawn(3, 400, 2, ties=False)
    found = fit(X, exit_, event)
    x, times = np.array([0.0, 1.0]), np.quantile(exit_, [0.25, 0.75])
    betas, hazards = [], []
    for i in range(400):
        rest = np.arange(400) != i
        without = fit(X[rest], exit_[rest], event[rest])
        betas.append(without.beta)
        hazards.append(prediction(without, x, times)[0])
    for draws, error in ((betas, np.sqrt(np.diag(found.vcov))), (hazards, prediction(found, x, times)[1])):
        # The jackknife's own errors are a little larger, by terms of the order 1 / n.
        jackknife = np.sqrt(((np.array(draws) - np.mean(draws, axis=0)) ** 2).sum(axis=0))
        assert error == pytest.approx(jackknife, rel=0.02)


# What must not matter ------------------------------------------------------------------------------------------------


def same(a: FineGray, b: FineGray) -> None:
    assert b.beta == pytest.approx(a.beta, rel=1e-8, abs=1e-10)
    assert b.vcov == pytest.approx(a.vcov, rel=1e-7, abs=1e-12)
    assert b.loglik == pytest.approx(a.loglik, rel=1e-12)


def test_the_order_of_rows_and_any_rising_clock_do_not_matter() -> None:
    X, exit_, event = drawn(4)
    found = fit(X, exit_, event)
    order = np.random.default_rng(4).permutation(len(X))
    other = fit(X[order], np.log(exit_[order]) + 7, event[order])
    same(found, other)
    assert other.hazard == pytest.approx(found.hazard, rel=1e-8)
    assert other.moved == pytest.approx(found.moved[order], rel=1e-7, abs=1e-10)


def test_units_and_origins_of_the_columns_do_not_matter() -> None:
    X, exit_, event = drawn(5)
    found = fit(X, exit_, event)
    scale = np.array([1.0, 1e-3, 1e6])
    other = fit(X * scale + np.array([0.0, 2015.0, -3e6]), exit_, event)
    assert other.beta * scale == pytest.approx(found.beta, rel=1e-6)
    assert other.vcov * np.outer(scale, scale) == pytest.approx(found.vcov, rel=1e-6, abs=1e-9)
    x, times = X[0], np.array([3.0, 9.0])
    ours, theirs = prediction(found, x, times), prediction(other, x * scale + np.array([0.0, 2015.0, -3e6]), times)
    assert theirs[0] == pytest.approx(ours[0], rel=1e-6)
    assert theirs[1] == pytest.approx(ours[1], rel=1e-6)


def test_a_turned_sign_turns_the_coefficient() -> None:
    X, exit_, event = drawn(6)
    same(fit(X, exit_, event), replace(turned := fit(-X, exit_, event), beta=-turned.beta))


def test_clusters_of_one_row_are_rows_and_repeated_rows_are_clusters() -> None:
    X, exit_, event = drawn(7)
    n = len(X)
    found = fit(X, exit_, event)
    alone = fit(X, exit_, event, np.random.default_rng(7).permutation(n))
    assert alone.vcov == pytest.approx(found.vcov, rel=1e-12)
    twice = fit(np.tile(X, (2, 1)), np.tile(exit_, 2), np.tile(event, 2), np.tile(np.arange(n), 2))
    # Every risk set doubles, and with it the influence of a pair stays what it was of one.
    assert twice.beta == pytest.approx(found.beta, rel=1e-9)
    assert twice.vcov == pytest.approx(found.vcov, rel=1e-9)


def test_without_other_causes_censoring_tells_nothing() -> None:
    X, exit_, event = drawn(8)
    found = fit(X, exit_, np.minimum(event, 1))
    eta, psi = influence(found.sets, found.sets.root @ found.beta)
    assert eta.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)
    assert np.array_equal(psi, np.zeros_like(psi))


# What has no answer --------------------------------------------------------------------------------------------------


def test_a_coefficient_that_runs_away_is_named() -> None:
    X = np.column_stack([[0.1, 0.4, 0.5, 0.2, 0.3, 0.6, 0.2, 0.1], [1.0, 1, 1, 1, 0, 0, 0, 0]])
    with pytest.raises(ConvergenceError, match="column 1 runs away") as raised:
        fit(X, np.array([1.0, 3, 2, 4, 5, 6, 7, 8]), np.array([1, 1, 1, 1, 2, 0, 2, 0]))
    assert raised.value.record["columns"] == [1]
    assert raised.value.record["converged"] is False


@pytest.mark.parametrize(
    ("column", "found"),
    [(np.ones(90), [3]), ("sum", [3])],
    ids=["constant", "sum of others"],
)
def test_a_column_without_information_of_its_own_is_named(column: object, found: list[int]) -> None:
    X, exit_, event = drawn(9)
    extra = X[:, 0] + 2 * X[:, 1] if isinstance(column, str) else column
    with pytest.raises(AliasedError) as raised:
        fit(np.column_stack([X, extra]), exit_, event)
    assert raised.value.columns == found


def test_events_of_the_last_row_alone_say_nothing() -> None:
    with pytest.raises(AliasedError):
        fit(np.arange(5.0)[:, None], np.arange(1.0, 6), np.array([0, 0, 0, 0, 1]))
