"""The distributions of parametric models: derivatives, what is left at both ends, and a likelihood written out."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from implstats._core.parametric import Family, LocationScale, Spline, Times, contributions, fit
from implstats.errors import ConvergenceError

FAMILIES: dict[str, tuple[Family, np.ndarray]] = {
    "weibull": (LocationScale("weibull"), np.array([1.2, -0.4])),
    "log-normal": (LocationScale("log-normal"), np.array([0.7, 0.3])),
    "log-logistic": (LocationScale("log-logistic"), np.array([1.0, -0.1])),
    "spline": (Spline((0.0, 0.8, 1.5, 2.4)), np.array([-2.0, 1.1, 0.5, -0.9])),
}
U = np.linspace(-1.5, 3.0, 10)
named = pytest.mark.parametrize("name", FAMILIES)


@named
@pytest.mark.parametrize("which", ["log_survival", "log_density"])
def test_derivatives_are_the_slopes(name: str, which: str) -> None:
    family, shape = FAMILIES[name]
    found, h = getattr(family, which)(U, shape), 1e-6
    by_time = (getattr(family, which)(U + h, shape).value - getattr(family, which)(U - h, shape).value) / (2 * h)
    np.testing.assert_allclose(found.by_time, by_time, rtol=1e-6, atol=1e-8)
    for j in range(family.size):
        step = h * (np.arange(family.size) == j)
        up, down = getattr(family, which)(U, shape + step), getattr(family, which)(U, shape - step)
        np.testing.assert_allclose(found.by_shape[:, j], (up.value - down.value) / (2 * h), rtol=1e-6, atol=1e-8)


@named
def test_the_density_is_what_survival_loses(name: str) -> None:
    family, shape = FAMILIES[name]
    lost = -np.exp(family.log_survival(U, shape).value) * family.log_survival(U, shape).by_time
    np.testing.assert_allclose(np.exp(family.log_density(U, shape).value), lost, rtol=1e-10)
    whole = integrate.quad(lambda u: float(np.exp(family.log_density(np.array([u]), shape).value[0])), -30, 6)[0]
    left = float(np.exp(family.log_survival(np.array([6.0]), shape).value[0]))
    assert whole + left == pytest.approx(1, abs=1e-7)


def test_distributions_are_those_of_scipy() -> None:
    t = np.exp(U)
    for name, theirs in {
        "weibull": stats.weibull_min(np.exp(0.4), scale=np.exp(1.2)),
        "log-normal": stats.lognorm(np.exp(0.3), scale=np.exp(0.7)),
        "log-logistic": stats.fisk(np.exp(0.1), scale=np.exp(1.0)),
    }.items():
        family, shape = FAMILIES[name]
        np.testing.assert_allclose(family.log_survival(U, shape).value, theirs.logsf(t), rtol=1e-12)
        np.testing.assert_allclose(family.log_density(U, shape).value - U, theirs.logpdf(t), rtol=1e-9)


def test_a_spline_is_natural_and_smooth() -> None:
    family = Spline((0.0, 0.8, 1.5, 2.4))
    outside = np.array([-3.0, -1.0, 3.0, 7.0])
    np.testing.assert_allclose(family.basis(outside)[2], 0, atol=1e-12)
    assert Spline((0.0, 1.0)).basis(U)[0].shape == (10, 2)
    for k in family.knots:
        around = np.array([k - 1e-9, k + 1e-9])
        for part in family.basis(around):
            np.testing.assert_allclose(part[0], part[1], atol=1e-7)


@named
def test_every_kind_of_row_written_out(name: str) -> None:
    family, shape = FAMILIES[name]

    def s(t: float) -> float:
        return float(np.exp(family.log_survival(np.array([np.log(t) - 0.3]), shape).value[0]))

    def f(t: float) -> float:
        return float(np.exp(family.log_density(np.array([np.log(t) - 0.3]), shape).value[0]))

    # Exact, censored, between, at once or later, exact and late, between and late.
    low, high = np.log([2.0, 3.0, 2.0, 1.0, 5.0, 3.0]), np.log([2.0, 1.0, 4.0, 1.5, 5.0, 4.0])
    low[3], high[1] = -np.inf, np.inf
    entry = np.log([1.0, 1.0, 1.0, 1.0, 2.5, 2.0])
    entry[:4] = -np.inf
    found = contributions(family, Times(low, high, entry, np.ones(6)), np.full(6, 0.3), shape).value
    expected = [f(2), s(3), s(2) - s(4), 1 - s(1.5), f(5) / s(2.5), (s(3) - s(4)) / s(2)]
    np.testing.assert_allclose(found, np.log(expected), rtol=1e-10)


@named
def test_scores_of_every_kind_of_row_are_slopes(name: str) -> None:
    family, shape = FAMILIES[name]
    low, high = np.log([2.0, 3.0, 2.0, 1.0, 5.0, 3.0]), np.log([2.0, 1.0, 4.0, 1.5, 5.0, 4.0])
    low[3], high[1] = -np.inf, np.inf
    times = Times(low, high, np.array([-np.inf] * 4 + [0.9, 0.6]), np.ones(6))
    eta, h = np.linspace(-0.2, 0.2, 6), 1e-6
    found = contributions(family, times, eta, shape)
    moved = [contributions(family, times, eta - side, shape).value for side in (h, -h)]
    np.testing.assert_allclose(found.by_time, (moved[0] - moved[1]) / (2 * h), rtol=1e-6, atol=1e-8)
    for j in range(family.size):
        step = h * (np.arange(family.size) == j)
        moved = [contributions(family, times, eta, shape + side * step).value for side in (1, -1)]
        np.testing.assert_allclose(found.by_shape[:, j], (moved[0] - moved[1]) / (2 * h), rtol=1e-6, atol=1e-8)


def test_a_likelihood_without_a_maximum_is_no_fit() -> None:
    same = np.zeros(4)
    with pytest.raises(ConvergenceError, match="no maximum of the likelihood was found") as caught:
        fit(
            LocationScale("weibull"),
            Times(same, same, same - np.inf, np.ones(4)),
            np.zeros((4, 0)),
            np.array([0.5, 0.0]),
        )
    assert caught.value.record["converged"] is False


def test_the_exponential_by_hand() -> None:
    # One knot too few for a bend: the Weibull distribution; with scale 1 its rate is events / time.
    time, event = np.array([1.0, 2.0, 4.0, 8.0]), np.array([True, False, True, True])
    log = np.log(time)
    times = Times(log, np.where(event, log, np.inf), np.full(4, -np.inf), np.ones(4))
    rate = 3 / 15
    at = contributions(LocationScale("weibull"), times, np.zeros(4), np.array([-np.log(rate), 0.0]))
    total = at.value.sum() - log[event].sum()
    assert total == pytest.approx(3 * np.log(rate) - rate * 15)
    assert at.by_shape[:, 0].sum() == pytest.approx(0, abs=1e-12)
    a = fit(LocationScale("weibull"), times, np.zeros((4, 0)), np.array([1.0, 0.0]))
    b = fit(Spline((0.0, 2.0)), times, np.zeros((4, 0)), np.array([-1.0, 1.0]))
    assert a.loglik == pytest.approx(b.loglik, rel=1e-12)
    assert b.shape[1] == pytest.approx(np.exp(-a.shape[1]))
    assert b.shape[0] == pytest.approx(-a.shape[0] * np.exp(-a.shape[1]))
