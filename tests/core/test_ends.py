"""Ends of profile-likelihood intervals: against closed profiles, against the other road, and at every boundary."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import scipy.optimize
from scipy import stats

from implstats._core import ends, marginal, mixed, profile
from implstats._core.covariance import STRUCTURES
from implstats._core.ends import profile_ends
from implstats._core.many import climb
from implstats._core.marginal import ByVisit, Patterns, criterion
from implstats._core.mixed import Fit
from implstats._core.structure import Block, Problem, prepare
from implstats._core.written import Written, free, rotated
from implstats.growth.refits import curvature

Floats = np.ndarray
# Davies & Goldsmith 1972, Statistical Methods in Research and Production: yield of five samples of six batches.
DYESTUFF = np.array(
    [
        [1545, 1440, 1440, 1520, 1580],
        [1540, 1555, 1490, 1560, 1495],
        [1595, 1550, 1605, 1510, 1560],
        [1445, 1440, 1595, 1465, 1545],
        [1595, 1630, 1515, 1635, 1625],
        [1520, 1455, 1450, 1480, 1445],
    ],
    dtype=float,
)


def rise(level: float) -> float:
    return float(stats.chi2.ppf(level, 1))


def crossings(df: int, mean_square: float, level: float) -> list[float]:
    """Return both roots of df [log(x / MS) + MS / x - 1] = rise: the profile of a variance with df of its own."""

    def above(x: float) -> float:
        return df * (math.log(x / mean_square) + mean_square / x - 1) - rise(level)

    return [
        scipy.optimize.brentq(above, low * mean_square, high * mean_square, xtol=1e-14)
        for low, high in ((1e-6, 1), (1, 1e6))
    ]


def two_groups(n: tuple[int, int], seed: int) -> tuple[Patterns, ByVisit, list[tuple[int, float]]]:
    """Return two groups seen once, each with a mean and a variance of its own, and their df and mean squares."""
    rng = np.random.default_rng(seed)
    group = np.repeat([0, 1], n)
    y = rng.normal(size=sum(n)) * np.where(group, 30.0, 0.2)
    data = marginal.prepare(y, np.eye(2)[group], np.arange(sum(n)), np.zeros(sum(n), dtype=int), 1, group)
    structure = ByVisit(STRUCTURES["unstructured"](1), 2, np.ones((2, 1), dtype=bool), np.arange(2))
    return data, structure, [(k - 1, float(y[group == g].var(ddof=1))) for g, k in enumerate(n)]


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize("n", [(4, 40), (300, 9)])
def test_variances_of_their_own_have_closed_ends(n: tuple[int, int], level: float) -> None:
    data, structure, known = two_groups(n, 1)
    fit = marginal.fit(data, structure, np.zeros(2))
    bent = curvature(data, structure, fit.u, True)
    found = profile_ends(data, structure, fit.u, bent, np.eye(2), np.tile([0.0, np.inf], (2, 1)), level, reml=True)
    for own, (df, mean_square) in zip(data.scale**2 * found, known, strict=True):
        np.testing.assert_allclose(own, crossings(df, mean_square, level), rtol=1e-5)


class OneWay:
    """Equal groups: the criterion is that of two chi-squares, of s2 and of s2 + n v."""

    def __init__(self, y: Floats) -> None:
        self.groups, self.each = y.shape
        codes = np.repeat(np.arange(self.groups), self.each)
        self.within = float(((y - y.mean(axis=1)[:, None]) ** 2).sum())
        self.between = self.each * float(((y.mean(axis=1) - y.mean()) ** 2).sum())
        self.df = self.groups * (self.each - 1), self.groups - 1
        self.mse, self.msb = self.within / self.df[0], self.between / self.df[1]
        self.y, self.X = y.ravel(), np.ones((y.size, 1))
        self.blocks = [Block(codes, self.groups, self.X)]

    def deviance(self, v: float, s2: float) -> float:
        total = s2 + self.each * v
        return self.df[0] * math.log(s2) + self.within / s2 + self.df[1] * math.log(total) + self.between / total

    def best(self) -> float:
        if self.msb > self.mse:
            return self.deviance((self.msb - self.mse) / self.each, self.mse)
        return self.deviance(0.0, (self.within + self.between) / sum(self.df))

    def lowest(self, v: float) -> float:
        end = scipy.optimize.minimize_scalar(
            lambda log: self.deviance(v, math.exp(log)),
            bounds=(math.log(self.mse) - 2, math.log(self.mse) + 2),
            method="bounded",
            options={"xatol": 1e-10},
        )
        return float(end.fun)


def road(made: Any) -> tuple[Problem, Fit, Patterns, Written, Floats]:
    problem = prepare(made.y, made.X, made.blocks)
    fit = mixed.fit(problem)
    data, covariance = rotated(made.y, made.X, made.blocks, problem, math.sqrt(fit.sigma2))[:2]
    model = criterion(data.C, data.counts, data.n - data.p, covariance, reml=True)
    start = free(fit, 0.0)[None]
    u = climb(lambda rows, at: model(at)[:2], start, curvature(data, covariance, start[0], True))[0][0]
    return problem, fit, data, covariance, u


def of_variances(made: Any, level: float) -> tuple[Floats, Floats]:
    """Return the interval of the groups' variance and of the residuals', on the user's scale."""
    problem, _, data, covariance, u = road(made)
    slopes = np.array([[1 / float(problem.Rz[0][0, 0]) ** 2, 0.0], [0.0, 1.0]])
    found = profile_ends(
        data,
        covariance,
        u,
        curvature(data, covariance, u, True),
        slopes,
        np.tile([0.0, np.inf], (2, 1)),
        level,
        reml=True,
    )
    return tuple(data.scale**2 * found)


SHARES = np.array([-1.2, 0.3, 0.9, -0.4, 1.1, -0.7])


def made(between: float) -> OneWay:
    return OneWay(between * SHARES[:, None] + np.random.default_rng(9).normal(size=(6, 5)))


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("between", [0.0, 0.2, 0.45, 1.0, 5.0])
def test_equal_groups_have_the_closed_profile_of_their_variance(between: float, level: float) -> None:
    data = made(between)
    (low, high), _ = of_variances(data, level)
    assert data.lowest(high) - data.best() == pytest.approx(rise(level), abs=1e-4)
    if data.lowest(0.0) - data.best() <= rise(level):
        assert low == 0.0
    else:
        assert data.lowest(low) - data.best() == pytest.approx(rise(level), abs=1e-4)


@pytest.mark.parametrize("level", [0.5, 0.95])
@pytest.mark.parametrize("data", [OneWay(DYESTUFF), made(0.0), made(1.0)], ids=["dyestuff", "boundary", "inside"])
def test_both_roads_end_in_the_same_place(data: OneWay, level: float) -> None:
    groups, residual = of_variances(data, level)
    problem, fit = road(data)[:2]
    blocks, other = profile.intervals(problem, fit, level)
    np.testing.assert_allclose(groups, blocks[0][0], rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(residual, other, rtol=1e-5)


def test_dyestuff_has_the_lower_end_that_a_jump_to_zero_would_miss() -> None:
    # The first aim lies below zero, where without batches the criterion has risen by more than the quantile.
    data = OneWay(DYESTUFF)
    assert data.lowest(0.0) - data.best() > rise(0.95)
    (low, high), _ = of_variances(data, 0.95)
    assert [math.sqrt(low), math.sqrt(high)] == pytest.approx([15.657197, 101.066124], rel=1e-5)


def test_no_warning_escapes_where_a_step_overshoots() -> None:
    data, structure, _ = two_groups((4, 5), 1)
    fit = marginal.fit(data, structure, np.zeros(2))
    # A curvature so flat that first steps leave the range of floating point numbers.
    bent = 1e-3 * np.eye(2)
    profile_ends(data, structure, fit.u, bent, np.eye(2), np.tile([0.0, np.inf], (2, 1)), 0.95, reml=True)


def test_an_end_that_is_not_found_is_nan_and_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    data, structure, _ = two_groups((30, 40), 1)
    fit = marginal.fit(data, structure, np.zeros(2))
    monkeypatch.setattr(ends, "ROUNDS", 0)
    bent = curvature(data, structure, fit.u, True)
    found = profile_ends(data, structure, fit.u, bent, np.eye(2), np.tile([0.0, np.inf], (2, 1)), 0.95, reml=True)
    assert np.isnan(found).all()
