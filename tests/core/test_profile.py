"""Profile-likelihood intervals of variances: by hand where the profile is closed, else against dense likelihoods."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize
from scipy import stats

from implstats._core import mixed, profile
from implstats._core.mixed import Fit
from implstats._core.structure import Block, Problem, prepare
from implstats.errors import ConvergenceError

RISE = float(stats.chi2.ppf(0.95, 1))


class Data:
    """Rows small enough for n x n matrices."""

    def __init__(self, y: np.ndarray, X: np.ndarray, blocks: Sequence[Block]) -> None:
        self.y, self.X, self.blocks = y, X, list(blocks)

    def fitted(self, reml: bool) -> tuple[Problem, Fit]:
        problem = prepare(self.y, self.X, self.blocks)
        return problem, mixed.fit(problem, reml=reml)

    def deviance(self, G: Sequence[np.ndarray], s2: float, reml: bool) -> float:
        """Return -2 log-likelihood from the covariance of all rows."""
        V = s2 * np.eye(len(self.y))
        for block, g in zip(self.blocks, G, strict=True):
            V += block.Z @ g @ block.Z.T * (block.codes[:, None] == block.codes)
        W = np.linalg.inv(V)
        info = self.X.T @ W @ self.X
        r = self.y - self.X @ np.linalg.solve(info, self.X.T @ W @ self.y)
        nu = len(self.y) - (self.X.shape[1] if reml else 0)
        restricted = np.linalg.slogdet(info)[1] if reml else 0.0
        return float(np.linalg.slogdet(V)[1] + restricted + r @ W @ r + nu * math.log(2 * math.pi))


def intercepts() -> Data:
    rng = np.random.default_rng(1)
    codes = np.repeat(np.arange(7), [3, 4, 2, 5, 3, 4, 3])
    X = np.column_stack([np.ones(len(codes)), rng.normal(size=len(codes))])
    y = X @ [2.0, 1.0] + 1.5 * rng.normal(size=7)[codes] + rng.normal(size=len(codes))
    return Data(y, X, [Block(codes, 7, np.ones((len(codes), 1)))])


def slopes(seed: int = 3, slope_sd: float = 0.6) -> Data:
    rng = np.random.default_rng(seed)
    codes, t = np.repeat(np.arange(8), 4), np.tile(np.arange(4.0), 8)
    X = np.column_stack([np.ones(32), t])
    u = rng.normal(size=(8, 2)) * [1.0, slope_sd]
    return Data(X @ [5.0, -1.0] + np.einsum("nq,nq->n", X, u[codes]) + rng.normal(size=32), X, [Block(codes, 8, X)])


def crossed() -> Data:
    rng = np.random.default_rng(5)
    patient, rater = np.repeat(np.arange(8), 4), np.tile(np.arange(4), 8)
    t = rng.normal(size=32)
    Z = np.column_stack([np.ones(32), t])
    y = rng.normal(size=8)[patient] + np.einsum("nq,nq->n", Z, rng.normal(size=(4, 2))[rater]) + rng.normal(size=32)
    return Data(y, Z, [Block(patient, 8, Z[:, :1]), Block(rater, 4, Z)])


def apart() -> Data:
    """Return an intercept and a slope of the same patients without a correlation."""
    data = slopes(4)
    return Data(data.y, data.X, [replace(data.blocks[0], Z=data.X[:, :1]), replace(data.blocks[0], Z=data.X[:, 1:])])


MADE: dict[str, Callable[[], Data]] = {"intercepts": intercepts, "slopes": slopes, "crossed": crossed, "apart": apart}


def covariances(data: Data, place: np.ndarray) -> list[np.ndarray]:
    """Return one covariance a block: exponentials of its SDs' logarithms and a tangent for a correlation."""
    G, start = [], 0
    for block in data.blocks:
        q = block.Z.shape[1]
        sds = np.exp(place[start : start + q])
        r = math.tanh(place[start + q]) if q == 2 else 0.0
        G.append(np.diag(sds) @ (np.eye(q) + r * (1 - np.eye(q))) @ np.diag(sds))
        start += q * (q + 1) // 2
    return G


def lowest(data: Data, reml: bool, held: int, log_sd: float) -> float:
    """Return the dense criterion at one SD, minimal over everything else; the residual's is the last coordinate."""
    sizes = [b.Z.shape[1] for b in data.blocks]

    def at(free: np.ndarray) -> float:
        place = np.insert(free, held, log_sd)
        return data.deviance(covariances(data, place), math.exp(2 * place[-1]), reml)

    ends = []
    for sd in (0.3, 1.0):
        start = [v for q in sizes for v in [math.log(sd)] * q + [0.0] * (q == 2)] + [0.0]
        end = scipy.optimize.minimize(at, np.delete(start, held), method="BFGS", options={"gtol": 1e-7})
        ends.append(float(end.fun))
    return min(ends)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", MADE)
def test_a_dense_likelihood_has_risen_by_the_quantile_at_every_end(name: str, reml: bool) -> None:
    data = MADE[name]()
    problem, fit = data.fitted(reml)
    blocks, residual = profile.intervals(problem, fit, 0.95)
    place, crossings = 0, 0
    for own in [*blocks, residual[None]]:
        for low, high in own:
            for end in (v for v in (low, high) if v > 0):
                rise = lowest(data, reml, place, math.log(end) / 2) - fit.deviance
                assert rise == pytest.approx(RISE, abs=2e-5)
                crossings += 1
            place += 1
        place += len(own) == 2
    assert crossings >= 4


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", MADE)
def test_the_gradient_is_that_of_the_criterion(name: str, reml: bool) -> None:
    problem, fit = MADE[name]().fitted(reml)
    for held in [(len(problem.sizes) - 1, problem.sizes[-1] - 1), None]:
        along = profile._Profile(problem, fit, held)
        rise, slope = along(along.seen[along.estimate][1])
        assert rise == pytest.approx(0.0, abs=1e-9)
        assert np.abs(slope).max() < 1e-3
        place = along.seen[along.estimate][1] + np.random.default_rng(2).normal(scale=0.3, size=len(slope))
        steps = 1e-6 * np.eye(len(place))
        differences = [(along(place + h)[0] - along(place - h)[0]) / 2e-6 for h in steps]
        np.testing.assert_allclose(along(place)[1], differences, rtol=1e-6, atol=1e-6)


class OneWay:
    """Balanced groups: -2 log-likelihood (restricted) is two separate chi-square likelihoods, of s2 and of s2 + n v."""

    def __init__(self, between: float) -> None:
        self.groups, self.each = 6, 5
        rng = np.random.default_rng(9)
        codes = np.repeat(np.arange(6), 5)
        y = between * np.repeat([-1.2, 0.3, 0.9, -0.4, 1.1, -0.7], 5) + rng.normal(size=30)
        means = y.reshape(6, 5).mean(axis=1)
        self.within = float(((y - means[codes]) ** 2).sum())
        self.between = 5 * float(((means - y.mean()) ** 2).sum())
        self.data = Data(y, np.ones((30, 1)), [Block(codes, 6, np.ones((30, 1)))])

    def deviance(self, v: float, s2: float) -> float:
        """Return the criterion up to a constant: 24 df within groups, 5 between."""
        total = s2 + self.each * v
        return 24 * math.log(s2) + self.within / s2 + 5 * math.log(total) + self.between / total


def test_balanced_groups_give_the_residuals_closed_interval() -> None:
    # As long as s2 stays below the mean square between groups, v takes up s2 + 5 v and s2 has the profile of a
    # chi-square with 24 df: 24 [log(s2 / MSE) + MSE / s2 - 1], whose two crossings are roots of one equation.
    made = OneWay(1.0)
    mse, msb = made.within / 24, made.between / 5
    ends = [
        scipy.optimize.brentq(lambda x: 24 * (math.log(x / mse) + mse / x - 1) - RISE, *where, xtol=1e-14)
        for where in ((mse / 10, mse), (mse, mse * 10))
    ]
    assert ends[1] < msb
    _, residual = profile.intervals(*made.data.fitted(True), 0.95)
    np.testing.assert_allclose(residual, ends, rtol=1e-7)


def test_balanced_groups_give_the_closed_profile_of_their_variance() -> None:
    made = OneWay(1.0)
    mse, msb = made.within / 24, made.between / 5
    best = made.deviance((msb - mse) / 5, mse)
    blocks, _ = profile.intervals(*made.data.fitted(True), 0.95)
    for v in blocks[0][0]:
        over = scipy.optimize.minimize_scalar(
            lambda s2, v=v: made.deviance(v, s2), bounds=(mse / 3, mse * 3), method="bounded", options={"xatol": 1e-10}
        )
        assert over.fun - best == pytest.approx(RISE, abs=1e-7)


@pytest.mark.parametrize(("between", "zero_belongs"), [(0.0, True), (0.45, True), (1.0, False)])
def test_zero_belongs_to_the_interval_where_the_model_without_groups_does(between: float, zero_belongs: bool) -> None:
    # Without groups s2 is the pooled mean square on 29 df.
    made = OneWay(between)
    mse, msb = made.within / 24, made.between / 5
    pooled = (made.within + made.between) / 29
    best = made.deviance(0.0, pooled) if msb <= mse else made.deviance((msb - mse) / 5, mse)
    assert (made.deviance(0.0, pooled) - best <= RISE) == zero_belongs
    problem, fit = made.data.fitted(True)
    assert fit.convergence.boundary == (msb <= mse)
    blocks, residual = profile.intervals(problem, fit, 0.95)
    low, high = blocks[0][0]
    assert (low == 0.0) == zero_belongs
    assert fit.G[0][0, 0] < high < math.inf
    assert 0 < residual[0] < fit.sigma2 < residual[1]


def test_a_residual_that_takes_up_the_groups_variance_is_profiled_through_its_zero() -> None:
    # Above the mean square between groups v stays 0, and s2 has the profile of all 29 df.
    made = OneWay(0.45)
    mse, msb = made.within / 24, made.between / 5
    assert msb > mse
    best = made.deviance((msb - mse) / 5, mse)
    _, residual = profile.intervals(*made.data.fitted(True), 0.95)
    assert residual[1] > msb
    assert made.deviance(0.0, residual[1]) - best == pytest.approx(RISE, abs=1e-7)


@pytest.mark.parametrize("reml", [True, False])
def test_a_correlation_of_one_does_not_hold_the_profile_on_its_boundary(reml: bool) -> None:
    data = slopes(5, slope_sd=0.0)
    problem, fit = data.fitted(reml)
    assert fit.L[0].shape == (2, 1)
    blocks, _ = profile.intervals(problem, fit, 0.95)
    low, high = blocks[0][1]
    assert low == 0.0
    assert lowest(data, reml, 1, math.log(high) / 2) - fit.deviance == pytest.approx(RISE, abs=2e-5)


def test_units_of_outcome_and_time_scale_the_ends_and_an_origin_moves_no_slope() -> None:
    data = slopes()
    blocks, residual = profile.intervals(*data.fitted(True), 0.95)
    tenfold = Data(10 * data.y, data.X, data.blocks)
    more, more_residual = profile.intervals(*tenfold.fitted(True), 0.95)
    np.testing.assert_allclose(more[0], 100 * blocks[0], rtol=1e-6)
    np.testing.assert_allclose(more_residual, 100 * residual, rtol=1e-6)
    years = np.column_stack([data.X[:, 0], 2020 + data.X[:, 1] / 12])
    moved, moved_residual = profile.intervals(
        *Data(data.y, years, [replace(data.blocks[0], Z=years)]).fitted(True), 0.95
    )
    np.testing.assert_allclose(moved[0][1], 144 * blocks[0][1], rtol=1e-6)
    np.testing.assert_allclose(moved_residual, residual, rtol=1e-6)


def test_a_higher_level_gives_a_wider_interval_around_the_estimate() -> None:
    problem, fit = slopes().fitted(True)
    narrow, wide = (profile.intervals(problem, fit, level) for level in (0.5, 0.95))
    estimates = [np.diag(fit.G[0]), np.array([fit.sigma2])]
    for inner, outer, estimate in zip(
        (narrow[0][0], narrow[1][None]), (wide[0][0], wide[1][None]), estimates, strict=True
    ):
        assert (outer[:, 0] < inner[:, 0]).all()
        assert (inner[:, 0] < estimate).all()
        assert (estimate < inner[:, 1]).all()
        assert (inner[:, 1] < outer[:, 1]).all()


def test_a_variance_that_the_fixed_effects_take_up_has_no_upper_end() -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(5), 4)
    data = Data(rng.normal(size=20), np.eye(5)[codes], [Block(codes, 5, np.ones((20, 1)))])
    blocks, residual = profile.intervals(*data.fitted(True), 0.95)
    assert blocks[0].tolist() == [[0.0, math.inf]]
    assert np.isfinite(residual).all()


def test_an_optimum_that_a_profile_undercuts_is_an_error() -> None:
    problem, fit = slopes().fitted(True)
    false = replace(fit, state=replace(fit.state, deviance=fit.state.deviance + 1))
    with pytest.raises(ConvergenceError, match="better fit") as caught:
        profile.intervals(problem, false, 0.95)
    assert caught.value.record == fit.convergence.to_dict()


def test_a_point_that_is_not_reached_is_an_error_with_its_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(profile, "GOOD_DECREMENT", 0.0)
    with pytest.raises(ConvergenceError, match="cannot be followed") as caught:
        profile.intervals(*slopes().fitted(True), 0.95)
    assert caught.value.record["converged"] is False
    assert caught.value.record["evaluations"] > 0
