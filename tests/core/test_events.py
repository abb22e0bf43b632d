"""Risk tables, Kaplan-Meier, restricted means and log-rank counts against their definitions, row by row."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from implstats._core import events
from implstats._core.events import (
    INTERVALS,
    compare,
    crossing,
    intervals,
    kaplan_meier,
    quadratic,
    restricted_mean,
    risk_table,
    step,
    trend,
    weigh,
)

Z = 1.959963984540054


def rows(seed: int, n: int = 40, *, delayed: bool = True, weighted: str = "") -> dict[str, Any]:
    """Return tied spells of three groups and two strata, some entering late."""
    rng = np.random.default_rng(seed)
    exit_ = rng.integers(2, 12, n).astype(float)
    entry = np.maximum(exit_ - rng.integers(1, 12, n), 0.0) if delayed else np.zeros(n)
    weight = {"": np.ones(n), "whole": rng.integers(1, 4, n) * 1.0, "part": rng.uniform(0.3, 2.0, n)}[weighted]
    event = (rng.random(n) < 0.6).astype(np.intp)
    return {
        "entry": entry,
        "exit_": exit_,
        "event": event,
        "weight": weight,
        "group": rng.integers(0, 3, n),
        "stratum": rng.integers(0, 2, n),
    }


CASES = [
    pytest.param(seed, delayed, weighted, id=f"{seed} {'delayed' if delayed else 'from 0'} {weighted}")
    for seed, delayed, weighted in itertools.product((1, 2), (False, True), ("", "whole", "part"))
]


def curve_of(given: dict[str, Any], **changed: Any) -> events.Curve:
    given = given | changed
    return kaplan_meier(given["entry"], given["exit_"], given["event"], given["weight"])


@pytest.mark.parametrize(("seed", "delayed", "weighted"), CASES)
def test_at_risk_is_everyone_who_entered_before_and_has_not_left(seed: int, delayed: bool, weighted: str) -> None:
    d = rows(seed, delayed=delayed, weighted=weighted)
    table = risk_table(d["entry"], d["exit_"], d["event"], d["weight"], d["stratum"])
    distinct = {(int(s), float(t)) for s, t in zip(d["stratum"], d["exit_"], strict=True)}
    assert list(zip(table.cell.tolist(), table.time.tolist(), strict=True)) == sorted(distinct)
    for k, (s, t) in enumerate(sorted(distinct)):
        here = d["stratum"] == s
        risk = here & (d["entry"] < t) & (d["exit_"] >= t)
        now = here & (d["exit_"] == t)
        assert table.at_risk[k] == pytest.approx(d["weight"][risk].sum(), rel=1e-12)
        assert table.events[k] == pytest.approx(d["weight"][now & (d["event"] == 1)].sum(), rel=1e-12)
        assert table.censored[k] == pytest.approx(d["weight"][now & (d["event"] == 0)].sum(), abs=1e-12)
        assert table.emptied[k] == ((risk == (now & (d["event"] == 1))).all())


@pytest.mark.parametrize(("seed", "delayed", "weighted"), CASES)
def test_kaplan_meier_is_the_product_and_its_variance_greenwoods(seed: int, delayed: bool, weighted: str) -> None:
    d = rows(seed, delayed=delayed, weighted=weighted)
    found = curve_of(d)
    survival, total = 1.0, 0.0
    for k, t in enumerate(sorted(set(d["exit_"].tolist()))):
        n = d["weight"][(d["entry"] < t) & (d["exit_"] >= t)].sum()
        k_events = d["weight"][(d["exit_"] == t) & (d["event"] == 1)].sum()
        survival *= 1 - k_events / n
        total += k_events / (n * (n - k_events)) if n - k_events > 1e-9 else 0.0
        assert found.survival[k] == pytest.approx(survival, rel=1e-12, abs=1e-15)
        assert found.shares[: k + 1].sum() == pytest.approx(total, rel=1e-12)
        if weighted != "part":
            assert found.log_variance[k] == pytest.approx(total, rel=1e-12)
    assert (found.influence is None) is (weighted != "part")


def by_weight(d: dict[str, Any], value: Any, step_size: float = 1e-5) -> np.ndarray:
    """Return the derivative of a value in the logarithm of every row's weight, by central differences."""
    out = []
    for i in range(len(d["weight"])):
        up, down = d["weight"].copy(), d["weight"].copy()
        up[i] *= 1 + step_size
        down[i] *= 1 - step_size
        out.append((value(up) - value(down)) / (2 * step_size))
    return np.array(out)


@pytest.mark.parametrize("delayed", [False, True])
def test_fractional_weights_have_the_infinitesimal_jackknife(delayed: bool) -> None:
    d = rows(3, delayed=delayed, weighted="part")
    found = curve_of(d)
    for k in np.flatnonzero(found.survival > 0):
        influence = by_weight(d, lambda w, k=k: math.log(curve_of(d, weight=w).survival[k]))
        assert found.log_variance[k] == pytest.approx(np.sum(influence**2), rel=1e-7, abs=1e-15)
    for tau in (5.0, 7.5, 10.0):
        influence = by_weight(d, lambda w, tau=tau: restricted_mean(curve_of(d, weight=w), tau)[0])
        assert restricted_mean(found, tau)[1] == pytest.approx(np.sum(influence**2), rel=1e-7)


@pytest.mark.parametrize("delayed", [False, True])
def test_whole_weights_are_repeated_rows(delayed: bool) -> None:
    d = rows(4, delayed=delayed, weighted="whole")
    times = d["weight"].astype(int)
    again = {k: np.repeat(v, times) for k, v in d.items()} | {"weight": np.ones(times.sum())}
    one, other = curve_of(d), curve_of(again)
    for name in ("time", "at_risk", "events", "censored", "survival", "log_variance"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-12)
    assert restricted_mean(one, 8.0) == pytest.approx(restricted_mean(other, 8.0), rel=1e-12)


def test_all_at_risk_are_told_by_counts_not_by_sums_of_weights() -> None:
    # In floating point 0.1 + 0.2 + 0.3 is not 0.3 + 0.2 + 0.1: sums would leave a sliver of survival.
    weight = np.array([0.1, 0.2, 0.3, 0.7])
    found = kaplan_meier(np.zeros(4), np.array([2.0, 2, 2, 1]), np.array([1, 1, 1, 0]), weight)
    assert found.survival.tolist() == [1.0, 0.0]
    assert np.isfinite(found.log_variance).all()


@pytest.mark.parametrize("seed", [5, 6])
def test_a_restricted_mean_is_the_area_and_its_variance_the_sum(seed: int) -> None:
    d = rows(seed)
    found = curve_of(d)
    for tau in (0.5, 2.0, 6.3, float(d["exit_"].max())):
        grid = np.linspace(0, tau, 200_001)
        height = step(found.time, found.survival, grid[:-1] + np.diff(grid) / 2, 1.0)
        mean, variance = restricted_mean(found, tau)
        assert mean == pytest.approx(height.mean() * tau, rel=2e-5)
        total = 0.0
        for t, share in zip(found.time, found.shares, strict=True):
            if t <= tau:
                total += share * (height[grid[:-1] >= t].sum() * tau / 200_000) ** 2
        assert variance == pytest.approx(total, rel=5e-4, abs=1e-15)


def test_without_censoring_the_restricted_mean_is_the_mean_of_the_cut_times() -> None:
    # Greenwood's sum is then the plain variance of a mean, with n for n - 1.
    time = np.array([1.0, 2, 2, 4, 7, 7, 9, 12])
    mean, variance = restricted_mean(kaplan_meier(np.zeros(8), time, np.ones(8, dtype=int), np.ones(8)), 8.0)
    cut = np.minimum(time, 8.0)
    assert mean == pytest.approx(cut.mean(), rel=1e-14)
    assert variance == pytest.approx(cut.var() / 8, rel=1e-12)


@pytest.mark.parametrize("kind", INTERVALS)
def test_an_interval_is_symmetric_on_its_scale(kind: str) -> None:
    scale = {
        "log": np.log,
        "log-log": lambda s: np.log(-np.log(s)),
        "plain": lambda s: s,
        "logit": lambda s: np.log(s / (1 - s)),
        "arcsine": lambda s: np.arcsin(np.sqrt(s)),
    }[kind]
    s, sd = np.array([0.35, 0.6, 0.8]), np.array([0.2, 0.1, 0.05])
    low, high = intervals(s, sd, kind, Z)
    np.testing.assert_allclose(scale(low) + scale(high), 2 * scale(s), rtol=1e-12)
    small = 1e-6
    slope = (scale(s + small) - scale(s - small)) / (2 * small)
    np.testing.assert_allclose(np.abs(scale(high) - scale(s)), np.abs(slope) * Z * s * sd, rtol=1e-8)
    assert ((low < s) & (s < high)).all()


@pytest.mark.parametrize("kind", INTERVALS)
def test_intervals_stay_within_0_and_1_and_say_nothing_at_0(kind: str) -> None:
    s, sd = np.array([1.0, 0.999, 0.5, 0.001, 0.0]), np.array([0.0, 2.0, 3.0, 5.0, 5.0])
    low, high = intervals(s, sd, kind, 3.0)
    assert (low[0], high[0]) == (1.0, 1.0)
    assert np.isnan([low[-1], high[-1]]).all()
    assert ((low[:-1] >= 0) & (high[:-1] <= 1) & (low[:-1] <= s[:-1]) & (s[:-1] <= high[:-1])).all()


def test_a_quantile_is_where_the_curve_crosses_and_the_middle_where_it_lies_flat() -> None:
    time = np.array([1.0, 2.0, 4.0, 6.0, 9.0])
    falls = np.array([0.8, 0.5, 0.5, 0.2, 0.2])
    assert crossing(time, falls, 0.1) == 1.0
    assert crossing(time, falls, 0.5) == (2 + 6) / 2
    assert crossing(time, falls, 0.6) == 6.0
    # Flat to the end at exactly 1 - p: the middle between the fall and the last time.
    assert crossing(time, falls, 0.8) == (6 + 9) / 2
    assert math.isnan(crossing(time, falls, 0.81))
    # 0.1 + 0.2 is not 0.3, but near enough to have reached it.
    assert crossing(time, 1 - np.array([0.1, 0.1 + 0.2, 0.9, 0.9, 0.9]), 0.3) == (2 + 4) / 2
    assert math.isnan(crossing(time, np.array([0.9, 0.6, np.nan, np.nan, np.nan]), 0.5))


def tables(d: dict[str, Any], weights: Any, rho: float, gamma: float) -> tuple[np.ndarray, ...]:
    """Return observed, expected and covariance from a table of groups by event at every event time."""
    observed, expected, covariance = np.zeros(3), np.zeros(3), np.zeros((3, 3))
    for s in (0, 1):
        here, survival = d["stratum"] == s, 1.0
        for t in sorted(set(d["exit_"][here & (d["event"] == 1)].tolist())):
            risk = here & (d["entry"] < t) & (d["exit_"] >= t)
            now = risk & (d["exit_"] == t) & (d["event"] == 1)
            n, k = int(risk.sum()), int(now.sum())
            members, deaths = (np.bincount(d["group"][mask], minlength=3) for mask in (risk, now))
            w = {"logrank": 1.0, "wilcoxon": n, "tarone-ware": n**0.5}.get(
                weights, survival**rho * (1 - survival) ** gamma
            )
            observed += w * deaths
            expected += w * k * members / n
            # The covariance of a hypergeometric draw, from its definition by pairs of rows.
            if n > 1:
                both = k * (k - 1) / (n * (n - 1))
                pairs = both * (np.outer(members, members) - np.diag(members)) + np.diag(k / n * members)
                covariance += w**2 * (pairs - (k / n) ** 2 * np.outer(members, members))
            survival *= 1 - k / n
    return observed, expected, covariance


KINDS = [
    ("logrank", 0, 0),
    ("wilcoxon", 0, 0),
    ("tarone-ware", 0, 0),
    ("fleming-harrington", 1, 0),
    ("fleming-harrington", 0.5, 2),
]


@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize(("weights", "rho", "gamma"), KINDS)
def test_one_pass_gives_what_a_table_at_every_event_time_gives(
    weights: str, rho: float, gamma: float, delayed: bool
) -> None:
    d = rows(7, delayed=delayed)
    arrays = (d[k] for k in ("entry", "exit_", "event", "group", "stratum"))
    found = compare(*arrays, 3, weigh(weights, rho, gamma))
    observed, expected, covariance = tables(d, weights, rho, gamma)
    np.testing.assert_allclose(found.observed, observed, rtol=1e-12)
    np.testing.assert_allclose(found.expected, expected, rtol=1e-12)
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-11, atol=1e-13)
    assert found.informative.tolist() == [0, 1]
    assert found.covariance.sum(axis=0) == pytest.approx(0, abs=1e-10)
    # Whichever group is left out, the statistic is the same.
    u = found.observed - found.expected
    statistic, df = quadratic(u, found.covariance)
    assert df == 2
    for left_out in range(3):
        kept = [g for g in range(3) if g != left_out]
        assert statistic == pytest.approx(u[kept] @ np.linalg.solve(covariance[np.ix_(kept, kept)], u[kept]), rel=1e-9)


def test_two_scores_are_the_two_group_test() -> None:
    d = rows(8)
    two = np.minimum(d["group"], 1)
    found = compare(d["entry"], d["exit_"], d["event"], two, d["stratum"], 2, weigh("logrank"))
    u = found.observed - found.expected
    plain = quadratic(u, found.covariance)
    for scores in ([0, 1], [5, 2], [-1, 100]):
        assert trend(u, found.covariance, np.array(scores, dtype=float)) == pytest.approx(plain, rel=1e-10)


def test_groups_that_never_meet_are_not_compared() -> None:
    # a and b are at risk up to 3, c and d enter after it: two comparisons, not three.
    entry = np.array([0.0] * 6 + [3.0] * 6)
    exit_ = np.array([1.0, 2, 3, 1, 2, 2, 4, 5, 6, 4, 4, 5])
    event = np.array([1, 1, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1])
    group = np.repeat([0, 1, 2, 3], 3)
    found = compare(entry, exit_, event, group, np.zeros(12, dtype=int), 4, weigh("logrank"))
    u = found.observed - found.expected
    statistic, df = quadratic(u, found.covariance)
    first = u[0] ** 2 / found.covariance[0, 0]
    second = u[2] ** 2 / found.covariance[2, 2]
    assert df == 2
    assert statistic == pytest.approx(first + second, rel=1e-10)
    # Scores that differ only between those who never met have nothing to go by.
    assert trend(u, found.covariance, np.array([0.0, 0, 1, 1])) == (0.0, 0)
    assert trend(u, found.covariance, np.array([0.0, 1, 1, 1])) == (pytest.approx(first, rel=1e-10), 1)


def test_nothing_is_left_to_chance_where_all_at_risk_have_the_event() -> None:
    exit_ = np.array([5.0, 5, 5, 5])
    found = compare(
        np.zeros(4), exit_, np.ones(4, dtype=int), np.array([0, 0, 1, 1]), np.zeros(4, dtype=int), 2, weigh("logrank")
    )
    assert not found.covariance.any()
    assert len(found.informative) == 0
    assert quadratic(found.observed - found.expected, found.covariance) == (0.0, 0)
