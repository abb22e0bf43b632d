"""Cumulative incidence and Gray's test: by hand on a few rows, against sums written out, and what must not matter."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implstats._core.competing import Gray, Incidence, aalen_johansen, gray
from implstats._core.events import kaplan_meier


def incidence(exit_: Any, event: Any, *, entry: Any = None, weight: Any = None, causes: int = 2) -> Incidence:
    n = len(exit_)
    entry = np.zeros(n) if entry is None else np.asarray(entry, dtype=float)
    weight = np.ones(n) if weight is None else np.asarray(weight, dtype=float)
    return aalen_johansen(entry, np.asarray(exit_, dtype=float), np.asarray(event), weight, causes)


def tied(seed: int, n: int = 60, groups: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return exit, event, group and stratum of rows with many ties."""
    rng = np.random.default_rng(seed)
    exit_ = rng.integers(1, 12, n).astype(float)
    return exit_, rng.choice(3, n, p=[0.4, 0.35, 0.25]), rng.integers(0, groups, n), rng.integers(0, 2, n)


# Cumulative incidence ------------------------------------------------------------------------------------------------


def test_seven_rows_by_hand() -> None:
    # At 1: 7 at risk, one event of cause 1: F1 = 1/7, S = 6/7. At 2: 6 at risk, one event of each cause and one
    # censored, S = 6/7 * 4/6 = 4/7, F1 = F2 + 1/7 = 2/7. At 3 (3 at risk): one of cause 2: F2 = 1/7 + 4/7 / 3 = 1/3,
    # S = 8/21. At 4 (2 at risk) one is censored, at 5 the last one has cause 1: F1 = 2/7 + 8/21 = 2/3, S = 0.
    found = incidence([1, 2, 2, 2, 3, 4, 5], [1, 1, 2, 0, 2, 0, 1])
    assert found.time.tolist() == [1, 2, 3, 4, 5]
    assert found.at_risk.tolist() == [7, 6, 3, 2, 1]
    assert found.censored.tolist() == [0, 1, 0, 1, 0]
    expected = [(1, 7), (2, 7), (2, 7), (2, 7), (2, 3)], [(0, 1), (1, 7), (1, 3), (1, 3), (1, 3)]
    for k in range(2):
        assert found.incidence[:, k] == pytest.approx([float(Fraction(*f)) for f in expected[k]], abs=1e-15)
    assert found.event_free == pytest.approx([6 / 7, 4 / 7, 8 / 21, 8 / 21, 0], abs=1e-15)


def test_without_censoring_it_is_the_share_of_rows() -> None:
    event = np.array([1, 2, 2, 1, 2, 1, 2, 2])
    exit_ = np.array([1, 1, 2, 2, 2, 3, 4, 5])
    found = incidence(exit_, event)
    for k in (1, 2):
        share = [np.mean((event == k) & (exit_ <= t)) for t in found.time]
        assert found.incidence[:, k - 1] == pytest.approx(share, abs=1e-15)


def test_variance_of_three_rows_by_hand() -> None:
    # Cause 1 at 1 and 3, cause 2 at 2, three at risk at first: F = 1/3, 1/3, 2/3, S = 2/3, 1/3, 0. At t = 1, D = 0:
    # the variance is 1/9. At t = 2: still 1/9, as F has not risen since. At t = 3: from time 1, D = (2/3 - 1/3) / (2/3)
    # = 1/2: (1 - 1/2)^2 / 9; from time 2, D = (1/3) / (1/3) = 1, S(before)^2 / n^2 = (2/3)^2 / 4 = 1/9: 1/9; from time
    # 3, D = 0, S(before)^2 / n^2 = 1/9: 1/9. Together 1/36 + 2/9 = 1/4.
    found = incidence([1, 2, 3], [1, 2, 1])
    assert found.variance[:, 0] == pytest.approx([1 / 9, 1 / 9, 1 / 4], abs=1e-15)


def test_the_variance_is_the_sum_that_its_docstring_says() -> None:
    exit_, event, *_ = tied(1)
    found = incidence(exit_, event)
    before = np.append(1.0, found.event_free[:-1])

    def factor(d: float, n: float) -> float:
        return (n - d) / (n - 1) if d > 1 else 1.0

    for k in range(2):
        for t in range(len(found.time)):
            total = 0.0
            for s in range(t + 1):
                n, own = found.at_risk[s], found.events[s, k]
                other = found.events[s].sum() - own
                rise, left = found.incidence[t, k] - found.incidence[s, k], found.event_free[s]
                D = rise / left if left > 0 else 0.0
                terms = (1 - D) ** 2 * own * factor(own, n) + D**2 * other * factor(other, n)
                total += before[s] ** 2 / n**2 * terms
            assert found.variance[t, k] == pytest.approx(total, rel=1e-12)


rows = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3), st.integers(0, 5)), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None)
@given(rows)
def test_everything_adds_up_to_one(drawn: list[tuple[int, int, int]]) -> None:
    length, event, entry = (np.array(x) for x in zip(*drawn, strict=True))
    found = incidence(entry + length, event, entry=entry, causes=3)
    assert found.incidence.sum(axis=1) + found.event_free == pytest.approx(np.ones(len(found.time)), abs=1e-12)
    assert (np.diff(found.incidence, axis=0) >= 0).all()
    assert (found.variance >= 0).all()


@pytest.mark.parametrize("weights", ["none", "whole", "fractional"])
def test_one_cause_is_one_minus_kaplan_meier(weights: str) -> None:
    exit_, event, size, _ = tied(2)
    event, weight = np.minimum(event, 1), {"none": 1.0, "whole": size + 1.0, "fractional": size + 0.3}[weights]
    weight = weight * np.ones(len(exit_))
    entry = np.maximum(exit_ - 4, 0)
    curve = kaplan_meier(entry, exit_, event, weight)
    found = incidence(exit_, event, entry=entry, weight=weight, causes=1)
    assert found.incidence[:, 0] == pytest.approx(1 - curve.survival, abs=1e-14)
    if weights == "fractional":
        alive = curve.survival > 0
        variance = curve.survival[alive] ** 2 * curve.log_variance[alive]
        assert found.variance[alive, 0] == pytest.approx(variance, rel=1e-9)


def test_renamed_causes_change_places_only() -> None:
    exit_, event, *_ = tied(3)
    found, turned = incidence(exit_, event), incidence(exit_, np.array([0, 2, 1])[event])
    assert np.array_equal(found.incidence, turned.incidence[:, ::-1])
    assert np.array_equal(found.variance, turned.variance[:, ::-1])


@pytest.mark.parametrize("weighted", [False, True])
def test_the_order_of_rows_and_the_unit_of_time_do_not_matter(weighted: bool) -> None:
    exit_, event, size, _ = tied(4)
    weight = size + 0.4 if weighted else size + 1.0
    entry = np.maximum(exit_ - 5, 0)
    order = np.random.default_rng(4).permutation(len(exit_))
    found = incidence(exit_, event, entry=entry, weight=weight)
    other = incidence(12 * exit_[order], event[order], entry=12 * entry[order], weight=weight[order])
    assert other.time.tolist() == (12 * found.time).tolist()
    assert other.incidence == pytest.approx(found.incidence, rel=1e-13)
    assert other.variance == pytest.approx(found.variance, rel=1e-10)


def test_whole_weights_are_repeated_rows() -> None:
    exit_, event, size, _ = tied(5)
    entry = np.maximum(exit_ - 5, 0)
    times = size + 1
    weighted = incidence(exit_, event, entry=entry, weight=times)
    repeated = incidence(*(np.repeat(x, times) for x in (exit_, event)), entry=np.repeat(entry, times))
    assert weighted.at_risk.tolist() == repeated.at_risk.tolist()
    assert weighted.incidence == pytest.approx(repeated.incidence, rel=1e-13)
    assert weighted.variance == pytest.approx(repeated.variance, rel=1e-12)


@pytest.mark.parametrize("delayed", [False, True])
def test_fractional_weights_have_the_infinitesimal_jackknife(delayed: bool) -> None:
    exit_, event, size, _ = tied(6, 40)
    weight = 0.4 + 0.37 * size + np.linspace(0, 0.2, 40)
    entry = np.maximum(exit_ - 4, 0) if delayed else np.zeros(40)
    found = incidence(exit_, event, entry=entry, weight=weight)
    total = np.zeros_like(found.incidence)
    for i in range(40):
        step = np.zeros(40)
        step[i] = 1e-4
        up, down = (incidence(exit_, event, entry=entry, weight=weight + s * step).incidence for s in (1, -1))
        total += (weight[i] * (up - down) / 2e-4) ** 2
    # A derivative by differences; where nobody is left, rounding is all there is.
    assert found.variance == pytest.approx(total, rel=1e-5, abs=1e-12)


def test_split_rows_are_the_whole_rows() -> None:
    exit_, event, *_ = tied(7)
    cut = exit_ > 3
    whole = incidence(exit_, event)
    split = incidence(
        np.concatenate([np.minimum(exit_, 3), exit_[cut]]),
        np.concatenate([np.where(cut, 0, event), event[cut]]),
        entry=np.concatenate([np.zeros(len(exit_)), np.full(cut.sum(), 3.0)]),
    )
    assert split.time.tolist() == whole.time.tolist()
    assert split.incidence == pytest.approx(whole.incidence, rel=1e-14)
    assert split.variance == pytest.approx(whole.variance, rel=1e-14)


def test_weights_that_do_not_add_up_exactly_leave_nobody_behind() -> None:
    # 0.1 + 0.2 - 0.3 is not zero in binary; whoever is left must be counted, not subtracted.
    found = incidence([1, 2, 2, 3], [1, 2, 1, 0], weight=[0.7, 0.1, 0.2, 0.3], entry=[0, 0, 0, 2])
    assert found.event_free[1:].tolist() == [0, 0]
    assert np.isfinite(found.variance).all()


def test_lifelines_jitters_ties_and_so_misses_exact_fractions() -> None:
    from lifelines import AalenJohansenFitter

    exit_, event = np.array([1, 1, 1, 2, 2, 3]), np.array([1, 1, 2, 0, 1, 0])
    # Three of six at 1, two of them with cause 1; at 2, one of three.
    ours = incidence(exit_, event)
    assert ours.incidence[:2, 0] == pytest.approx([1 / 3, 1 / 3 + 1 / 2 / 3], abs=1e-15)
    with pytest.warns(Warning, match="[Tt]ie"):
        theirs = AalenJohansenFitter(seed=1, calculate_variance=False).fit(exit_, event, event_of_interest=1)
    times = theirs.cumulative_density_.index.to_numpy()
    assert not np.isin(times[times > 0], exit_).all(), "lifelines no longer moves tied times"
    assert abs(theirs.predict(1) - 1 / 3) > 0.1


# Gray's test ---------------------------------------------------------------------------------------------------------


def test_ten_rows_by_hand() -> None:
    # Group 0 stops (cause 1) at 1, 2 and 4, is merged at 3, and is censored at 5 and 6; group 1 is merged at 2,
    # censored at 3 and 6, and stops at 5. With R = Y (1 - F) / S just before: at 1: 6 and 4. At 2: 5 (1 - 1/6) / (5/6)
    # = 5, and 4. At 4: 3 (1 - 1/3) / (1/2) = 4, and 2 / (3/4) = 8/3. At 5: 2 (1 - 1/2) / (1/3) = 3, and 8/3.
    exit_ = np.array([1, 2, 3, 4, 5, 6, 2, 3, 5, 6.0])
    event = np.array([1, 1, 2, 1, 0, 0, 2, 0, 1, 0])
    found = gray(exit_, event, np.repeat([0, 1], [6, 4]), 2)
    expected = 6 / 10 + 5 / 9 + 4 / (4 + 8 / 3) + 3 / (3 + 8 / 3)
    assert found.observed.tolist() == [3, 1]
    assert found.expected == pytest.approx([expected, 4 - expected], rel=1e-14)


def test_covariance_of_one_event_by_hand() -> None:
    # One event of the cause among 2 + 3 at risk, and nothing before or after it: a is (1 - 2/5) 2 for group 0 with its
    # own h, and -2 * 3/5 with that of group 1; weights d / (h. h_r) are 1/10 and 1/15: 1.44 / 10 + 1.44 / 15 = 0.24.
    found = gray(np.array([1, 2, 2, 2, 2.0]), np.array([1, 0, 0, 0, 0]), np.array([0, 0, 1, 1, 1]), 2)
    assert found.covariance == pytest.approx(0.24 * np.array([[1, -1], [-1, 1]]), rel=1e-14)
    assert found.statistic == pytest.approx((1 - 2 / 5) ** 2 / 0.24, rel=1e-14)


def written_out(
    exit_: np.ndarray, event: np.ndarray, group: np.ndarray, groups: int, rho: float, least: float = 0.0
) -> np.ndarray:
    """Return Gray's covariance, term by term as section 3 of his paper has it."""
    times = np.unique(exit_[event > 0])
    S, F1 = np.ones(groups), np.zeros(groups)
    F0, record = 0.0, []
    for t in times:
        Y = np.array([((exit_ >= t) & (group == k)).sum() for k in range(groups)], dtype=float)
        d1, d2 = (np.array([((exit_ == t) & (group == k) & (event == j)).sum() for k in range(groups)]) for j in (1, 2))
        h = np.array([Y[k] / S[k] if Y[k] > 0 else 0.0 for k in range(groups)])
        before = S.copy(), F0
        for k in range(groups):
            if Y[k] > 0:
                F1[k] += S[k] * d1[k] / Y[k]
                S[k] *= 1 - (d1[k] + d2[k]) / Y[k]
        F0 += d1.sum() / h.sum()
        record.append((Y, d1.sum(), d2, h, *before, S.copy(), F0))
    a = np.zeros((len(times), groups, groups))
    for s, (_, _, _, h, _, F_before, _, _) in enumerate(record):
        for k in range(groups):
            for r in range(groups):
                a[s, k, r] = (1 - F_before) ** rho * h[k] * ((k == r) - h[r] / h.sum())
    rise = [d1 / (h.sum() * (1 - F_before)) for _, d1, _, h, _, F_before, _, _ in record]
    V = np.zeros((groups, groups))
    for s, (Y, d1, d2, h, S_before, _, S_after, F_after) in enumerate(record):
        for r in range(groups):
            if Y[r] == 0:
                continue
            later = sum((a[u, :, r] * rise[u] for u in range(s + 1, len(times))), np.zeros(groups))
            takes = (1 - F_after) / S_after[r] if S_after[r] > 0 else 0.0
            n = h.sum() * S_before[r]
            own = max((n - d1) / (n - 1), least) if d1 > 1 else 1.0
            other = (Y[r] - d2[r]) / (Y[r] - 1) if d2[r] > 1 else 1.0
            with_own = a[s, :, r] + (1 - takes) * later
            V += np.outer(with_own, with_own) * own * d1 / (h.sum() * h[r])
            V += np.outer(takes * later, takes * later) * other * d2[r] / h[r] ** 2
    return V


@pytest.mark.parametrize("rho", [0.0, 1.0, -0.5])
def test_the_covariance_is_the_papers_sum(rho: float) -> None:
    exit_, event, group, _ = tied(8)
    found = gray(exit_, event, group, 3, None, rho)
    assert found.covariance == pytest.approx(written_out(exit_, event, group, 3, rho), rel=1e-11)
    assert found.df == 2
    difference = (found.observed - found.expected)[:2]
    assert found.statistic == pytest.approx(difference @ np.linalg.solve(found.covariance[:2, :2], difference))


def same(a: Gray, b: Gray, order: Any = slice(None)) -> None:
    assert b.statistic == pytest.approx(a.statistic, rel=1e-10)
    assert b.observed[order] == pytest.approx(a.observed, rel=1e-12)
    assert b.expected[order] == pytest.approx(a.expected, rel=1e-12)


def test_renamed_groups_the_order_of_rows_and_the_unit_of_time_do_not_matter() -> None:
    exit_, event, group, stratum = tied(9)
    turn, order = np.array([2, 0, 1]), np.random.default_rng(9).permutation(len(exit_))
    found = gray(exit_, event, group, 3, stratum, 1.0)
    other = gray(exit_[order] / 7, event[order], turn[group[order]], 3, 1 - stratum[order], 1.0)
    same(found, other, turn)


def test_strata_add_up_and_one_with_a_single_group_adds_nothing() -> None:
    exit_, event, group, stratum = tied(10)
    both = gray(exit_, event, group, 3, stratum)
    parts = [gray(exit_[stratum == s], event[stratum == s], group[stratum == s], 3) for s in (0, 1)]
    assert both.covariance == pytest.approx(sum(p.covariance for p in parts), rel=1e-12)
    assert both.expected == pytest.approx(sum(p.expected for p in parts), rel=1e-12)
    alone = np.append(stratum, [2, 2, 2])
    more = gray(np.append(exit_, [1, 2, 3]), np.append(event, [1, 1, 2]), np.append(group, [1, 1, 1]), 3, alone)
    assert more.statistic == pytest.approx(both.statistic, rel=1e-12)


def test_groups_that_are_alike_have_a_statistic_of_zero() -> None:
    exit_, event, *_ = tied(11, 30)
    found = gray(np.tile(exit_, 2), np.tile(event, 2), np.repeat([0, 1], 30), 2)
    assert found.statistic == pytest.approx(0, abs=1e-20)


def test_a_group_that_is_never_at_risk_costs_a_df() -> None:
    exit_, event, group, _ = tied(12)
    found, without = gray(exit_, event, group, 4), gray(exit_, event, group, 3)
    assert (found.df, without.df) == (2, 2)
    assert found.statistic == pytest.approx(without.statistic, rel=1e-12)


def test_where_groups_end_at_different_times_the_pooled_incidence_stays_below_one() -> None:
    # Group 0 is over before group 1 begins to fail; the pooled incidence, an average with changing weights, would pass
    # one, and (1 - F)^0.5 would be no number.
    exit_ = np.concatenate([np.full(20, 1.0), np.full(20, 2.0), [3.0]])
    event = np.concatenate([np.ones(39, dtype=int), [0, 1]])
    group = np.repeat([0, 1], [20, 21])
    found = gray(exit_, event, group, 2, None, 0.5)
    assert math.isfinite(found.statistic)
    assert found.covariance[0, 0] > 0


@pytest.mark.parametrize(("own", "printed"), [(1, 0.235566902878744), (2, 0.486808226062211)])
def test_cmprsk_lets_events_at_one_time_take_variance_away(own: int, printed: float) -> None:
    # Group 0 has one row left when eight of group 1 have the cause at once. cmprsk 2.2-11 multiplies what they add by
    # (n - d) / (n - 1), where n is 2.05 at risk in effect: that is negative, and no share of a variance can be.
    exit_ = np.repeat([1.0, 5, 3, 4, 6], [19, 1, 8, 12, 1])
    event = np.repeat([1, 2, 1, 1, 2, 0, 1], [10, 9, 1, 8, 6, 6, 1])
    group, event = np.repeat([0, 1], [20, 21]), np.array([0, own, 3 - own])[event]
    found = gray(exit_, event, group, 2)
    theirs = written_out(exit_, event, group, 2, 0.0, least=-np.inf)[0, 0]
    assert (found.observed - found.expected)[0] ** 2 / theirs == pytest.approx(printed, rel=1e-12)
    assert found.covariance[0, 0] == pytest.approx(written_out(exit_, event, group, 2, 0.0)[0, 0], rel=1e-12)
    assert found.covariance[0, 0] > 1.1 * theirs


def test_under_the_null_the_score_has_the_variance_that_it_says() -> None:
    rng = np.random.default_rng(13)
    scores, variances = [], []
    for _ in range(600):
        n = 60
        t, c = rng.exponential(size=n), rng.exponential(2.0, size=n)
        event = np.where(t < c, 1 + (rng.random(n) < 0.4), 0)
        found = gray(np.minimum(t, c), event, rng.integers(0, 2, n), 2)
        scores.append((found.observed - found.expected)[0])
        variances.append(found.covariance[0, 0])
    # The standard error of a variance from 600 draws is 6 %.
    assert np.mean(scores) == pytest.approx(0, abs=3.5 * np.std(scores) / math.sqrt(600))
    assert np.var(scores) == pytest.approx(np.mean(variances), rel=0.2)
