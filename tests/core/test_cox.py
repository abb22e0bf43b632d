"""Cox's partial likelihood and what is computed from it, against the same written out risk set by risk set."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from implstats._core import concordance, cox, firth, martingale, proportional
from implstats._core.arrow import Arrow
from implstats._core.baseline import baseline
from implstats._core.exact import TooManyTiesError
from implstats._core.structure import AliasedError
from implstats.errors import ConvergenceError

TINY = 1e-30


@dataclass(frozen=True)
class Data:
    """A few spells with ties, late entry, weights and strata, or without."""

    entry: np.ndarray
    exit: np.ndarray
    event: np.ndarray
    X: np.ndarray
    weight: np.ndarray
    stratum: np.ndarray

    def model(self, ties: str) -> cox.Model:
        entry = self.entry if self.entry.any() else None
        return cox.prepare(entry, self.exit, self.event, self.X, weight=self.weight, stratum=self.stratum, ties=ties)

    def groups(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the rows at risk and those with the event, stratum by stratum and time by time."""
        for s in np.unique(self.stratum):
            own = self.stratum == s
            for t in np.unique(self.exit[own & self.event]):
                at_risk = own & (self.entry < t) & (self.exit >= t)
                yield np.flatnonzero(at_risk), np.flatnonzero(own & self.event & (self.exit == t))

    def loglik(self, b: NDArray[Any], ties: str) -> Any:
        """Return the log partial likelihood, literally; also of complex coefficients."""
        eta, total = self.X @ b, 0.0 + 0.0 * b[0]
        wr = self.weight * np.exp(eta)
        for at_risk, events in self.groups():
            total = total + self.weight[events] @ eta[events]
            m = len(events)
            if ties == "exact":
                sets = [np.exp(eta[list(chosen)].sum()) for chosen in itertools.combinations(at_risk, m)]
                total = total - np.log(sum(sets))
                continue
            for k in range(m):
                less = k / m * wr[events].sum() if ties == "efron" else 0.0
                total = total - self.weight[events].mean() * np.log(wr[at_risk].sum() - less)
        return total

    def score(self, b: np.ndarray, ties: str) -> np.ndarray:
        """Return the derivative, by complex steps."""
        steps = 1j * TINY * np.eye(len(b))
        return np.array([np.imag(self.loglik(b + step, ties)) / TINY for step in steps])


def differences(function: Callable[[np.ndarray], Any], b: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Return central differences of a function, one row a coefficient."""
    moves = step * np.eye(len(b))
    return np.array([(function(b + move) - function(b - move)) / (2 * step) for move in moves])


def made(seed: int = 1, *, late: bool = True, weights: bool = True, strata: int = 2, n: int = 26) -> Data:
    rng = np.random.default_rng(seed)
    exit = rng.integers(2, 9, n).astype(float)
    entry = np.where(rng.random(n) < 0.4, exit - rng.integers(1, 3, n), 0.0) if late else np.zeros(n)
    X = np.column_stack([rng.normal(2, 3, n), rng.integers(0, 2, n)]).astype(float)
    weight = rng.uniform(0.3, 2, n) if weights else np.ones(n)
    return Data(entry, exit, rng.random(n) < 0.6, X, weight, rng.integers(0, strata, n))


CASES = [
    pytest.param(made(k, late=late, weights=weights, strata=strata), ties, id=f"{ties} {late=} {weights=} {strata=}")
    for k, (late, weights, strata) in enumerate(itertools.product([False, True], [False, True], [1, 3]))
    for ties in ("efron", "breslow", "exact")
    if not (ties == "exact" and weights)
]
BOTH = [case for case in CASES if case.values[1] != "exact"]


@pytest.mark.parametrize(("data", "ties"), CASES)
def test_likelihood_score_and_information_are_those_of_the_formula(data: Data, ties: str) -> None:
    model = data.model(ties)
    b = np.array([0.11, -0.7])
    loglik, score, information = cox.value_at(model, b * model.scale)
    assert loglik == pytest.approx(data.loglik(b, ties), rel=1e-12)
    np.testing.assert_allclose(score * model.scale, data.score(b, ties), rtol=1e-10, atol=1e-10)
    hessian = -differences(lambda at: data.score(at, ties), b)
    np.testing.assert_allclose(information * np.outer(model.scale, model.scale), hessian, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("data", "ties"), CASES)
def test_the_optimum_has_a_score_of_zero(data: Data, ties: str) -> None:
    fit = cox.fit(data.model(ties))
    np.testing.assert_allclose(data.score(fit.beta, ties), 0, atol=1e-9)
    hessian = -differences(lambda at: data.score(at, ties), fit.beta)
    np.testing.assert_allclose(fit.vcov, np.linalg.inv(hessian), rtol=1e-6)
    assert fit.null_loglik == pytest.approx(data.loglik(np.zeros(2), ties), rel=1e-12)
    assert fit.convergence.converged
    assert fit.convergence.iterations < 10


@pytest.mark.parametrize(("data", "ties"), BOTH)
def test_running_sums_are_those_of_the_members(data: Data, ties: str, monkeypatch: pytest.MonkeyPatch) -> None:
    few = data.model(ties)
    monkeypatch.setattr("implstats._core.risk.PAIRS", 0)
    many = data.model(ties)
    assert many.risk.running
    assert few.risk.running == (not few.risk.first.any())
    b = np.array([0.2, -0.5])
    one, other = cox.evaluate(few, b), cox.evaluate(many, b)
    for name in ("S0", "M", "A", "loglik", "score", "information"):
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-9, atol=1e-11)


def test_late_entry_of_a_huge_hazard_costs_no_digits() -> None:
    """A row of 10^17 times the others' hazard comes and goes: what is left of running sums would be rounding."""
    entry, exit = np.array([0, 0, 0, 0, 1.0, 0]), np.array([1.5, 2, 3, 4, 2.5, 5])
    event, X = np.array([1, 1, 1, 1, 0, 0], dtype=bool), np.array([[0.0], [1], [0], [1], [40], [0]])
    data = Data(entry, exit, event, X, np.ones(6), np.zeros(6, dtype=int))
    assert cox.value_at(data.model("efron"), np.ones(1) * data.model("efron").scale)[0] == pytest.approx(
        data.loglik(np.ones(1), "efron"), rel=1e-12
    )


def test_a_common_shift_of_huge_log_hazards_is_harmless() -> None:
    data = made(4)
    far = Data(data.entry, data.exit, data.event, data.X + np.array([1e6, 0]), data.weight, data.stratum)
    np.testing.assert_allclose(cox.fit(far.model("efron")).beta, cox.fit(data.model("efron")).beta, rtol=1e-7)


# Residuals -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "ties"), BOTH)
def test_score_residuals_are_what_a_weight_does_to_the_score(data: Data, ties: str) -> None:
    """A row's score residual is the derivative of the score by its weight, but for what Efron's mean weight shares."""
    model = data.model(ties)
    b = np.array([0.05, 0.4])
    state = cox.evaluate(model, b * model.scale)
    own = model.risk.to_rows(martingale.score_residuals(model, state)) * model.scale
    np.testing.assert_allclose(data.weight @ own, data.score(b, ties), rtol=1e-9, atol=1e-9)
    if ties == "efron":
        return

    def score(weight: np.ndarray) -> np.ndarray:
        return Data(data.entry, data.exit, data.event, data.X, weight, data.stratum).score(b, ties)

    np.testing.assert_allclose(own, differences(score, data.weight), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("data", "ties"), BOTH)
def test_martingale_residuals_sum_to_nothing_in_every_stratum(data: Data, ties: str) -> None:
    model = data.model(ties)
    state = cox.evaluate(model, cox.fit(model).beta * model.scale)
    left = martingale.martingale(model, state) * data.weight
    np.testing.assert_allclose(np.bincount(data.stratum, weights=left), 0, atol=1e-12)


@pytest.mark.parametrize(("data", "ties"), BOTH)
def test_martingale_residuals_are_minus_what_a_log_hazard_does(data: Data, ties: str) -> None:
    """The derivative of the log-likelihood by a row's own log hazard is its weighted martingale residual."""
    model = data.model(ties)
    b = np.array([0.05, 0.4])
    state = cox.evaluate(model, b * model.scale)
    wide = Data(
        data.entry, data.exit, data.event, np.column_stack([data.X, np.eye(len(data.exit))]), data.weight, data.stratum
    )
    slope = wide.score(np.concatenate([b, np.zeros(len(data.exit))]), ties)[2:]
    np.testing.assert_allclose(martingale.martingale(model, state) * data.weight, slope, rtol=1e-9, atol=1e-12)


def test_deviance_residuals_by_formula() -> None:
    left, event = np.array([0.4, -0.7, 0.0]), np.array([True, False, True])
    expected = [np.sqrt(-2 * (0.4 + np.log(0.6))), -np.sqrt(1.4), 0.0]
    np.testing.assert_allclose(martingale.deviance(left, event), expected, rtol=1e-12)


def test_one_cluster_a_row_gives_the_sum_of_squared_dfbetas() -> None:
    data = made(5)
    model = data.model("efron")
    fit = cox.fit(model)
    state = cox.evaluate(model, fit.beta * model.scale)
    D = model.risk.to_rows(martingale.score_residuals(model, state)) * model.scale @ fit.vcov * data.weight[:, None]
    np.testing.assert_allclose(
        martingale.sandwich(model, state, fit.vcov, np.arange(len(data.exit))), D.T @ D, rtol=1e-10
    )
    together = martingale.sandwich(model, state, fit.vcov, np.zeros(len(data.exit), dtype=np.intp))
    np.testing.assert_allclose(together, 0, atol=1e-18)


# Change over time ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "ties"), BOTH)
def test_the_change_over_time_is_tested_as_if_time_were_a_covariate(data: Data, ties: str) -> None:
    """The score test of g(t) x, with every risk set written out as a stratum of its own in which g is a number."""
    model = data.model(ties)
    fit = cox.fit(model)
    state = cox.evaluate(model, fit.beta * model.scale)
    entry = data.entry if data.entry.any() else None
    g = proportional.event_times("identity", entry, data.exit, data.event, model.risk.time)
    found = proportional.ScoreTest(model, state, g).test([0, 1])
    rows, events, sets, times = [], [], [], []
    for k, (at_risk, happened) in enumerate(data.groups()):
        rows.append(at_risk)
        events.append(np.isin(at_risk, happened))
        sets.append(np.full(len(at_risk), k))
        times.append(np.full(len(at_risk), data.exit[happened[0]] - data.exit[data.event].mean()))
    row, time = np.concatenate(rows), np.concatenate(times)
    X = np.column_stack([data.X[row], data.X[row] * time[:, None]])
    wide = Data(
        np.zeros(len(row)), np.ones(len(row)), np.concatenate(events), X, data.weight[row], np.concatenate(sets)
    )
    b = np.concatenate([fit.beta, np.zeros(2)])
    score = wide.score(b, ties)
    score[:2] = 0
    information = -differences(lambda at: wide.score(at, ties), b)
    assert found[0] == pytest.approx(score @ np.linalg.solve(information, score), rel=1e-5)
    assert found[1] == 2


def test_transforms_of_time_by_hand() -> None:
    exit, event = np.array([1.0, 2, 2, 4, 5]), np.array([True, True, False, True, False])
    times = np.array([1.0, 2, 4])
    before = proportional.kaplan_meier_before(None, exit, event, times)
    # S falls to 4/5 at 1, to 4/5 x 3/4 = 3/5 at 2, and is read just before each time.
    np.testing.assert_allclose(before, [1, 4 / 5, 3 / 5])
    # The third row comes at 1, the fifth at 3: at 1 three are at risk, at 2 three (rows 2, 3, 4), at 4 two.
    late = proportional.kaplan_meier_before(np.array([0, 0, 1, 0, 3.0]), exit, event, np.array([1.0, 2, 4, 6]))
    np.testing.assert_allclose(late, [1, 2 / 3, 2 / 3 * 2 / 3, 2 / 3 * 2 / 3 / 2])
    # Ranks among all exits: 1, 2.5, 4; those of the events have the mean 2.5.
    np.testing.assert_allclose(proportional.event_times("rank", None, exit, event, times), [-1.5, 0, 1.5])
    logs = np.log([1.0, 2, 4])
    np.testing.assert_allclose(proportional.event_times("log", None, exit, event, times), logs - logs.mean())


# Baseline ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "ties"), BOTH)
def test_cumulative_hazard_and_its_error_step_by_step(data: Data, ties: str) -> None:
    model = data.model(ties)
    fit = cox.fit(model)
    state = cox.evaluate(model, fit.beta * model.scale)
    made_ = baseline(model, state, fit.beta * model.scale)
    x = np.array([1.5, 1.0])
    wr = data.weight * np.exp(data.X @ fit.beta)
    for s in range(data.stratum.max() + 1):
        hazard = variance = 0.0
        mu = np.zeros(2)
        for at_risk, events in data.groups():
            if data.stratum[at_risk[0]] != s:
                continue
            for k in range(len(events)):
                share = k / len(events) if ties == "efron" else 0.0
                w = wr.copy()
                w[events] *= 1 - share
                increment = data.weight[events].mean() / w[at_risk].sum()
                hazard += increment
                variance += increment / w[at_risk].sum()
                mu += increment * (x - w[at_risk] @ data.X[at_risk] / w[at_risk].sum())
            ratio, t = np.exp(x @ fit.beta), data.exit[events[0]]
            found = made_.at(x[None, :], np.array([s]), np.array([t, 0.5]), fit.vcov)
            assert found[0][0, 0] == pytest.approx(ratio * hazard, rel=1e-9)
            assert found[1][0, 0] == pytest.approx(ratio * np.sqrt(variance + mu @ fit.vcov @ mu), rel=1e-9)
            assert found[0][0, 1] == found[1][0, 1] == 0


# Concordance ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("late", [False, True])
def test_concordance_and_its_error_from_all_pairs(seed: int, late: bool) -> None:
    data = made(seed, late=late, strata=2, n=40)
    score = np.round(data.X[:, 0])
    model = data.model("efron")
    cluster = np.arange(40) // 3
    found = concordance.concordance(model.risk, score[model.risk.row], cluster)
    counts = np.zeros((40, 3))
    total = np.zeros(3)
    for i, j in itertools.permutations(range(40), 2):
        t = data.exit[i]
        there = data.entry[j] < t and (data.exit[j] > t or (data.exit[j] == t and not data.event[j]))
        if not (data.event[i] and there and data.stratum[i] == data.stratum[j]):
            continue
        kind = 0 if score[i] > score[j] else 1 if score[i] < score[j] else 2
        counts[i, kind] += data.weight[j]
        counts[j, kind] += data.weight[i]
        total[kind] += data.weight[i] * data.weight[j]
    share = (total[0] + total[2] / 2) / total.sum()
    influence = data.weight * (counts[:, 0] + counts[:, 2] / 2 - share * counts.sum(axis=1)) / total.sum()
    by_cluster = np.bincount(cluster, weights=influence)
    assert found.estimate == pytest.approx(share, rel=1e-12)
    assert (found.concordant, found.discordant, found.tied) == pytest.approx(tuple(total), rel=1e-12)
    assert found.std_error == pytest.approx(np.sqrt(by_cluster @ by_cluster), rel=1e-10)


def test_scores_that_differ_by_rounding_are_tied() -> None:
    model = cox.prepare(None, np.array([1.0, 2, 3]), np.array([True, True, False]), np.array([[0.0], [1.0], [2.0]]))
    score = np.array([0.1 + 0.2, 0.3, 7.0])
    assert concordance.concordance(model.risk, score[model.risk.row]).tied == 1


# Exact ties ----------------------------------------------------------------------------------------------------------


def test_tied_sets_beyond_floating_point_are_refused() -> None:
    n = 2000
    X = np.random.default_rng(1).normal(size=(n, 1))
    exit = np.concatenate([np.ones(n // 2), np.full(n // 2, 2.0)])
    model = cox.prepare(None, exit, exit == 1, X, ties="exact")
    with pytest.raises(TooManyTiesError, match="1000 tied events among 2000 at risk"):
        cox.fit(model)


# No finite estimate --------------------------------------------------------------------------------------------------


KINDS = ["one group has all the events", "late", "strata", "always first", "a sum of two"]


def monotone(kind: str) -> tuple[Data, list[int]]:
    """Return data whose likelihood rises for ever, and the columns that run away."""
    data = made(7, late=kind == "late", weights=False, strata=3 if kind == "strata" else 1, n=40)
    event, x = data.event, data.X[:, 0]
    columns = [x, np.where(event, 1.0, np.arange(40) % 2)]
    runs = [1]
    if kind == "always first":
        event, columns = np.ones(40, dtype=bool), [x, -data.exit]
    elif kind == "a sum of two":
        other = np.random.default_rng(3).normal(size=40)
        columns, runs = [other, columns[1] - other], [0, 1]
    return Data(data.entry, data.exit, event, np.column_stack(columns), data.weight, data.stratum), runs


@pytest.mark.parametrize("ties", ["efron", "breslow", "exact"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_coefficient_that_runs_away_is_named(kind: str, ties: str) -> None:
    data, columns = monotone(kind)
    with pytest.raises(ConvergenceError) as caught:
        cox.fit(data.model(ties))
    assert sorted(caught.value.record["columns"]) == columns
    assert not caught.value.record["converged"]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_large_but_finite_coefficient_is_estimated(scale: float) -> None:
    """One event in a hundred contradicts the order of x: the estimate is large, and there is one."""
    n = 100
    x = np.arange(n, dtype=float)[::-1].copy()
    x[[40, 41]] = x[[41, 40]]
    data = Data(np.zeros(n), np.arange(1.0, n + 1), np.ones(n, bool), x[:, None] * scale, np.ones(n), np.zeros(n, int))
    fit = cox.fit(data.model("efron"))
    assert abs(data.score(fit.beta, "efron")[0]) * abs(fit.beta[0]) < 1e-8
    assert fit.beta[0] * scale > 0.5


def test_ridge_is_finite_where_the_likelihood_is_not() -> None:
    data, _ = monotone("one group has all the events")
    ridge = np.array([0.5, 2.0])
    fit = cox.fit(data.model("efron"), ridge)
    np.testing.assert_allclose(data.score(fit.beta, "efron"), ridge * fit.beta, rtol=1e-7)
    hessian = -differences(lambda at: data.score(at, "efron"), fit.beta)
    np.testing.assert_allclose(fit.vcov, np.linalg.inv(hessian + np.diag(ridge)), rtol=1e-6)
    assert fit.parameters == pytest.approx(np.trace(hessian @ fit.vcov), rel=1e-6)


# Aliased columns -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ties", ["efron", "breslow", "exact"])
def test_columns_that_tell_nothing_are_found(ties: str) -> None:
    data = made(8, weights=False)
    X = np.column_stack([data.X, data.X @ [2.0, -3.0] + 7, data.stratum, np.full(26, 5.0)])
    wide = Data(data.entry, data.exit, data.event, X, data.weight, data.stratum)
    with pytest.raises(AliasedError) as caught:
        cox.fit(wide.model(ties))
    assert caught.value.columns == [2, 3, 4]


def test_a_column_that_differs_only_among_rows_that_see_no_event_tells_nothing() -> None:
    exit, event = np.array([1.0, 2, 3, 4, 5, 6]), np.array([False, False, True, True, True, False])
    X = np.column_stack([[0, 1, 0, 0, 0, 0.0], [1, 0, 0, 1, 0, 1.0]])
    with pytest.raises(AliasedError) as caught:
        cox.fit(cox.prepare(None, exit, event, X))
    assert caught.value.columns == [0]


# Firth ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("data", "ties"), BOTH)
def test_firths_slope_is_that_of_its_likelihood(data: Data, ties: str) -> None:
    model = data.model(ties)
    b = np.array([0.2, -0.3])
    slope = differences(lambda at: firth.penalised_at(model, at)[0], b)
    np.testing.assert_allclose(firth.penalised_at(model, b)[1], slope, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_firth_is_finite_where_the_likelihood_is_not(kind: str, ties: str) -> None:
    data, columns = monotone(kind)
    model = data.model(ties)
    fit = firth.fit(model)
    np.testing.assert_allclose(firth.penalised_at(model, fit.beta * model.scale)[1], 0, atol=1e-8)
    profile = firth.Profile(model, fit, columns[-1])
    low, high = profile.interval(0.95)
    assert np.isfinite([low, high]).all()
    assert low < fit.beta[columns[-1]] < high
    for end in (low, high):
        assert profile.fall(end * model.scale[columns[-1]]) == pytest.approx(3.841458820694124, rel=1e-7)


def test_firth_names_aliased_columns() -> None:
    data = made(8)
    wide = Data(data.entry, data.exit, data.event, np.column_stack([data.X, data.X[:, 0]]), data.weight, data.stratum)
    with pytest.raises(AliasedError) as caught:
        firth.fit(wide.model("efron"))
    assert caught.value.columns == [2]


# The information of coefficients and groups ---------------------------------------------------------------------------


@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_the_arrow_multiplies_and_solves_like_the_whole_matrix(ties: str) -> None:
    data = made(9, weights=False, n=40)
    group = np.random.default_rng(4).integers(0, 6, 40)
    model = data.model(ties)
    indicators = Data(
        data.entry,
        data.exit,
        data.event,
        np.column_stack([data.X, np.eye(6)[group]]),
        data.weight,
        data.stratum,
    ).model(ties)
    b, w = np.array([0.1, 0.3]), np.linspace(-0.5, 0.5, 6)
    state = cox.evaluate(model, b, w[group][model.risk.row])
    whole = cox.evaluate(indicators, np.concatenate([b, w * indicators.scale[2:]])).information
    whole = whole * np.outer(indicators.scale, indicators.scale)
    whole[:2] /= model.scale[:, None]
    whole[:, :2] /= model.scale
    curvature = np.linspace(0.5, 2, 6)
    whole[2:, 2:] += np.diag(curvature)
    arrow = Arrow(model, state, group[model.risk.row], curvature)
    vector = np.linspace(-1, 2, 8)
    np.testing.assert_allclose(arrow.times(vector), whole @ vector, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(arrow.solve(vector, 1e-14), np.linalg.solve(whole, vector), rtol=1e-9)
    np.testing.assert_allclose(arrow.inverse(), np.linalg.inv(whole)[:2, :2], rtol=1e-9)
