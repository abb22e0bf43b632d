"""Gamma frailty against the likelihood in which the frailties are integrated out, and at its boundary."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from scipy import special, stats

from implstats._core import cox, frailty
from implstats.errors import ConvergenceError


def made(
    seed: int, variance: float = 0.8, groups: int = 25, size: int = 5, late: bool = False
) -> tuple[np.ndarray, ...]:
    """Return entry, exit, event, X and group of rows that share frailties; no two exits are the same."""
    rng = np.random.default_rng(seed)
    n = groups * size
    group = rng.permutation(np.arange(n) % groups)
    shared = rng.gamma(1 / variance, variance, groups) if variance else np.ones(groups)
    X = np.column_stack([rng.normal(size=n), group % 2])
    time = rng.exponential(size=n) / (shared[group] * np.exp(X @ [0.7, -0.4]))
    end = rng.exponential(1.5, n)
    exit = np.minimum(time, end)
    return np.where(rng.random(n) < 0.5, exit / 3, 0.0) * late, exit, time <= end, X, group


def integrated(data: tuple[np.ndarray, ...], b: np.ndarray, theta: float) -> float:
    """Return the log-likelihood with the frailties integrated out, at the most likely jumps of the baseline.

    With jumps h_k at the event times: sum of log h and x'b over the events, and for each group
    ln G(nu + d) - ln G(nu) + nu ln nu - (nu + d) ln(nu + sum e^{x'b} H). The jumps are found by expectation and
    maximisation. Without frailty it is the partial log-likelihood less the number of events.
    """
    entry, exit, event, X, group = data
    nu, r = 1 / theta, np.exp(X @ b)
    times = np.sort(exit[event])
    at_risk = (entry[:, None] < times) & (exit[:, None] >= times)
    d = np.bincount(group, weights=event)
    expected = np.ones(len(d))
    for _ in range(3000):
        jumps = 1 / ((expected[group] * r)[:, None] * at_risk).sum(axis=0)
        hazard = np.bincount(group, weights=r * (at_risk @ jumps))
        expected = (d + nu) / (hazard + nu)
    terms = special.gammaln(nu + d) - special.gammaln(nu) + nu * np.log(nu) - (nu + d) * np.log(nu + hazard)
    return float(np.log(jumps).sum() + np.log(r)[event].sum() + terms.sum())


def fitted(data: tuple[np.ndarray, ...]) -> tuple[cox.Model, frailty.Fit]:
    entry, exit, event, X, group = data
    model = cox.prepare(entry if entry.any() else None, exit, event, X)
    return model, frailty.fit(model, group)


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_marginal_likelihood_is_that_with_the_frailties_integrated_out(seed: int, late: bool) -> None:
    data = made(seed, late=late)
    _, fit = fitted(data)
    assert fit.theta > 0.05
    events = data[2].sum()
    assert fit.loglik == pytest.approx(integrated(data, fit.beta, fit.theta) + events, abs=1e-7)
    for step in np.vstack([0.02 * np.eye(2), -0.02 * np.eye(2)]):
        assert integrated(data, fit.beta + step, fit.theta) + events < fit.loglik
    for factor in (0.97, 1.03):
        assert integrated(data, fit.beta, fit.theta * factor) + events < fit.loglik


@pytest.mark.parametrize("seed", [1, 2])
def test_the_variance_is_where_the_profile_is_flat(seed: int) -> None:
    data = made(seed)
    model, fit = fitted(data)

    def profile(theta: float) -> float:
        problem = frailty._Penalised(model, data[4][model.risk.row], np.zeros(2))
        problem.maximise(1 / theta)
        return problem.marginal(1 / theta)

    best = scipy.optimize.minimize_scalar(
        lambda t: -profile(t), bracket=(fit.theta / 2, fit.theta, 2 * fit.theta), tol=1e-10
    )
    assert fit.theta == pytest.approx(best.x, rel=1e-5)
    assert fit.loglik == pytest.approx(-best.fun, abs=1e-9)


def test_the_standard_errors_are_those_of_the_whole_penalised_information() -> None:
    data = made(3)
    _, fit = fitted(data)
    w, nu = np.log(fit.frailty), 1 / fit.theta
    indicators = np.eye(25)[data[4]]
    wide = cox.prepare(None, data[1], data[2], np.column_stack([data[3], indicators]))
    state = cox.evaluate(wide, np.concatenate([fit.beta, w]) * wide.scale)
    whole = state.information * np.outer(wide.scale, wide.scale)
    whole[2:, 2:] += np.diag(nu * np.exp(w))
    np.testing.assert_allclose(fit.vcov, np.linalg.inv(whole)[:2, :2], rtol=1e-8)
    np.testing.assert_allclose(state.score * wide.scale, np.concatenate([[0, 0], nu * (fit.frailty - 1)]), atol=1e-8)


def test_frailties_are_shrunken_and_have_mean_one() -> None:
    _, fit = fitted(made(4))
    nu = 1 / fit.theta
    np.testing.assert_allclose(fit.frailty, (fit.events + nu) / (fit.expected + nu), rtol=1e-8)
    assert fit.frailty.mean() == pytest.approx(1, rel=1e-9)


def test_its_test_is_half_a_chi_square() -> None:
    _, fit = fitted(made(5))
    assert fit.statistic == pytest.approx(2 * (fit.loglik - fit.without.loglik))
    assert fit.p_value == pytest.approx(stats.chi2.sf(fit.statistic, 1) / 2)


def test_no_variance_is_certified() -> None:
    """Rows dealt out to groups in their order of time share less than chance: the likelihood falls from 0 on."""
    entry, exit, event, X, _ = made(6, variance=0)
    group = np.empty(len(exit), dtype=np.intp)
    group[np.argsort(exit)] = np.arange(len(exit)) % 25
    model, fit = fitted((entry, exit, event, X, group))
    assert fit.theta == 0
    assert fit.convergence.boundary
    assert fit.slope < 0
    assert (fit.statistic, fit.p_value) == (0, 1)
    np.testing.assert_array_equal(fit.beta, fit.without.beta)
    np.testing.assert_array_equal(fit.vcov, fit.without.vcov)
    np.testing.assert_array_equal(fit.frailty, 1)
    # The slope at 0 is half the sum of squared (events - expected) less events.
    for theta in (0.001, 0.0001):
        problem = frailty._Penalised(model, group[model.risk.row], fit.beta * model.scale)
        problem.maximise(1 / theta)
        rise = (problem.marginal(1 / theta) - fit.loglik) / theta
        assert rise == pytest.approx(fit.slope, rel=0.1)


def test_a_group_that_sees_no_event_has_frailty_one() -> None:
    entry, exit, event, X, group = made(7)
    first = exit[event].min()
    more = (
        np.zeros(len(exit) + 2),
        np.append(exit, [first / 2, first / 3]),
        np.append(event, [False, False]),
        np.vstack([X, X[:2]]),
        np.append(group, [25, 25]),
    )
    _, one = fitted((entry, exit, event, X, group))
    _, other = fitted(more)
    assert other.theta == pytest.approx(one.theta, rel=1e-8)
    np.testing.assert_allclose(other.beta, one.beta, rtol=1e-7)
    assert (other.frailty[25], other.events[25], other.expected[25]) == (1, 0, 0)


def test_a_coefficient_that_runs_away_is_named_under_frailty_too() -> None:
    entry, exit, event, X, group = made(8)
    X = np.column_stack([X[:, 0], np.where(event, 1.0, np.arange(len(exit)) % 2)])
    with pytest.raises(ConvergenceError) as caught:
        fitted((entry, exit, event, X, group))
    assert caught.value.record["columns"] == [1]


def test_a_variance_that_runs_away_is_refused() -> None:
    """One group of 20,000 has all six events, each while everybody is at risk."""
    n = 40_000
    group = np.concatenate([np.zeros(6, dtype=np.intp), np.arange(n) % 20_000])
    exit = np.concatenate([np.arange(1.0, 7), np.full(n, 8.0)])
    X = np.random.default_rng(1).normal(size=(n + 6, 1))
    with pytest.raises(ConvergenceError, match="variance of the frailty runs away"):
        fitted((np.zeros(n + 6), exit, np.arange(n + 6) < 6, X, group))
