"""Intervals from draws: against scipy's, against sums by hand, and sets of ratios against Fieller's."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from implstats.growth.resampled import Jackknife, Resampled, ends
from implstats.growth.retained import Angles, RetainedImprovement

Floats = np.ndarray
SKEWED = np.random.default_rng(3).exponential(size=14)
OTHER = np.random.default_rng(4).exponential(3, size=9)
# Whole numbers, so that many draws have the estimate's own mean.
TIED = np.array([0.0, 0, 1, 1, 2, 8])


def one_stratum(left_out: Floats) -> Jackknife:
    return Jackknife(left_out[:, None], np.zeros(len(left_out), dtype=np.intp))


def test_percentiles_are_order_statistics() -> None:
    # 999 draws: the share of 2.5 % is reached with the 25th, that of 97.5 % with the 975th.
    draws = np.random.default_rng(1).permutation(999)[:, None] + 1.0
    assert [float(v[0]) for v in ends(np.array([500.0]), draws, None, 0.95, "percentile")] == [25, 975]
    assert [float(v[0]) for v in ends(np.array([500.0]), draws, None, 0.5, "percentile")] == [250, 750]


def share(draws: Floats, value: float) -> float:
    """Return the share of draws that scipy's line between order statistics puts below a value."""
    ordered = np.sort(draws)
    return float(np.interp(value, ordered, np.arange(len(ordered))) / (len(ordered) - 1))


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("data", [(SKEWED,), (SKEWED, OTHER), (TIED,)], ids=["one sample", "difference", "ties"])
def test_bca_takes_the_shares_that_scipy_takes_of_the_same_draws(data: tuple[Floats, ...], level: float) -> None:
    def statistic(*samples: Floats, axis: int = -1) -> Any:
        means = [s.mean(axis=axis) for s in samples]
        return means[0] - (means[1] if len(means) > 1 else 0)

    found = stats.bootstrap(
        data, statistic, method="BCa", n_resamples=2999, confidence_level=level, rng=np.random.default_rng(5)
    )
    draws = found.bootstrap_distribution
    parts = [[*data[:k], np.delete(data[k], i), *data[k + 1 :]] for k in range(len(data)) for i in range(len(data[k]))]
    stratum = np.repeat(np.arange(len(data)), [len(d) for d in data])
    jackknife = Jackknife(np.array([[statistic(*part)] for part in parts]), stratum)
    low, high = ends(np.array([statistic(*data)]), draws[:, None], jackknife, level, "bca")
    # Scipy draws a line between order statistics, here the next one is taken.
    for mine, scipys in ((low, found.confidence_interval.low), (high, found.confidence_interval.high)):
        if data[0] is TIED:
            assert mine[0] in (draws[draws <= scipys].max(), draws[draws >= scipys].min())
        else:
            assert mine[0] == np.quantile(draws, share(draws, float(scipys)), method="inverted_cdf")


def test_acceleration_of_a_mean_by_hand() -> None:
    # Values 0, 0, 3: without each 1.5, 1.5, 0, whose mean is 1. Influence 2/3 (1 - 1.5) = -1/3, -1/3, 2/3: cubes add up
    # to 6/27, squares to 6/9, and a = (6/27) / (6 (6/9)^1.5).
    (a,) = one_stratum(np.array([1.5, 1.5, 0.0])).acceleration()
    assert a == pytest.approx((6 / 27) / (6 * (6 / 9) ** 1.5))
    # A mean's is a sixth of the skewness over the root of n.
    left_out = (SKEWED.sum() - SKEWED) / (len(SKEWED) - 1)
    assert one_stratum(left_out).acceleration()[0] == pytest.approx(stats.skew(SKEWED) / (6 * math.sqrt(len(SKEWED))))


def test_acceleration_sums_over_strata_each_around_its_own_mean() -> None:
    # Difference of the means of (0, 0, 3) and (0, 6). Influences -1/3, -1/3, 2/3 of the first, as above. Without a
    # value of the second it is 3 below or above the mean of both: (2 - 1) / 2 of that is 3/2, -3/2, whose cubes cancel.
    x, y = np.array([0.0, 0.0, 3.0]), np.array([0.0, 6.0])
    left_out = np.r_[(x.sum() - x) / 2 - y.mean(), x.mean() - (y.sum() - y)]
    (a,) = Jackknife(left_out[:, None], np.array([0, 0, 0, 1, 1])).acceleration()
    assert a == pytest.approx((6 / 27) / (6 * (6 / 9 + 9 / 2) ** 1.5))
    # Around one mean of all it would be another number.
    assert a != pytest.approx(one_stratum(left_out).acceleration()[0])


def test_without_any_influence_there_is_no_acceleration() -> None:
    assert one_stratum(np.full(5, 2.0)).acceleration().tolist() == [0.0]


@pytest.mark.parametrize("kind", ["percentile", "bca"])
def test_draws_may_be_infinite(kind: str) -> None:
    draws = np.r_[np.full(10, -np.inf), np.arange(179.0), np.full(10, np.inf)][:, None]
    jackknife = one_stratum(np.arange(4.0))
    low, high = ends(np.array([89.0]), draws, jackknife, 0.95, kind)
    assert [low[0], high[0]] == [-np.inf, np.inf]
    low, high = ends(np.array([89.0]), draws, jackknife, 0.5, kind)
    assert [low[0], high[0]] == pytest.approx([39, 139], abs=1)


@pytest.mark.parametrize("estimate", [-1.0, 100.0])
def test_an_estimate_beyond_all_draws_stays_within_them(estimate: float) -> None:
    draws = np.random.default_rng(1).normal(size=(99, 1))
    low, high = ends(np.array([estimate]), draws, one_stratum(SKEWED), 0.95, "bca")
    assert draws.min() <= low[0] <= high[0] <= draws.max()


def table(**options: Any) -> Resampled:
    draws = np.column_stack([np.arange(1.0, 100), np.arange(99.0) ** 2])
    jackknife = Jackknife(np.column_stack([SKEWED, -SKEWED]), np.zeros(14, dtype=np.intp))
    given = {"interval": "percentile", "level": 0.9, "notes": ("a note",)} | options
    return Resampled({}, "Title", {"term": ("a", "b")}, np.array([50.0, 9.0]), draws, jackknife, **given)


def test_a_table_of_draws() -> None:
    made = table()
    tidy = made.tidy()
    assert list(tidy.columns) == ["term", "estimate", "std_error", "conf_low", "conf_high"]
    assert tidy["std_error"].tolist() == pytest.approx(made.draws.std(axis=0, ddof=1).tolist())
    assert tidy["conf_low"].tolist() == [5, 16]
    assert tidy["conf_high"].tolist() == [95, 94**2]
    assert made.tidy(level=0.5)["conf_low"].tolist() == [25, 24**2]
    assert made.header() == ["Title (90% percentile intervals from 99 draws)", "a note"]
    assert table(interval="bca", level=0.995).header()[0] == "Title (99.5% BCa intervals from 99 draws)"
    with pytest.raises(ValueError, match="read-only"):
        made.draws[0, 0] = 1.0


CASES = {
    # change, reference's change, and their standard errors: how sure is the denominator?
    "bounded": (0.5, 1.0, 0.1, 0.2),
    "outside": (1.0, 0.3, 0.2, 0.25),
    "outside, other side": (-1.0, 0.3, 0.2, 0.25),
    "unbounded": (0.05, 0.05, 0.3, 0.3),
}


def ratio(name: str, as_: str, interval: str = "percentile") -> tuple[RetainedImprovement, RetainedImprovement]:
    """Return Fieller's result, and the same with 19,999 normal draws; normal changes have no acceleration."""
    a, b, se_a, se_b = CASES[name]
    V = np.array([[se_a**2, 0.3 * se_a * se_b], [0.3 * se_a * se_b, se_b**2]])
    labels = pd.DataFrame({"cohort": ["during"], "reference": ["before"], "time": [36.0]})
    values = (np.array([a]), np.array([b]), V[None], np.array([np.inf]))
    base = RetainedImprovement({}, labels, *values, "fieller", as_, 0.95, "month")
    pairs = np.random.default_rng(1).multivariate_normal([a, b], V, size=19_999)[:, None]
    moved = 0.01 * np.linalg.cholesky(V) @ np.array([[1, -1, 0, 0], [0, 0, 1, -1]])
    left_out = (np.array([[a], [b]]) + moved).T[:, None]
    return base, base.with_draws(Angles(pairs, left_out, np.zeros(4, dtype=np.intp), interval))


@pytest.mark.parametrize("interval", ["percentile", "bca"])
@pytest.mark.parametrize("name", CASES)
def test_sets_of_normal_draws_are_near_fiellers(name: str, interval: str) -> None:
    base, drawn = ratio(name, "retained", interval)
    fieller, found = (r.tidy().iloc[0] for r in (base, drawn))
    assert found["set"] == fieller["set"] == name.split(",")[0]
    # On the scale of directions, on which 0.02 is five Monte Carlo errors of a quantile.
    ends_of = [np.arctan([row["conf_low"], row["conf_high"]]) for row in (found, fieller)]
    np.testing.assert_allclose(ends_of[0], ends_of[1], atol=0.02 if interval == "percentile" else 0.04)
    assert found["std_error"] == fieller["std_error"]
    assert drawn.method == "bootstrap"
    assert "95% bootstrap sets" in drawn.header()[0]


def holds(row: Any, value: float) -> bool:
    inside = row["conf_low"] <= value <= row["conf_high"]
    beyond = value <= row["conf_low"] or value >= row["conf_high"]
    return {"bounded": inside, "outside": beyond, "unbounded": True}[row["set"]]


@pytest.mark.parametrize("name", [n for n in CASES if CASES[n][0] > 0])
def test_times_as_effective_is_the_inverse_set(name: str) -> None:
    retained, times = (ratio(name, as_)[1].tidy().iloc[0] for as_ in ("retained", "times"))
    grid = np.tan(np.linspace(-1.57, 1.57, 400))
    assert [holds(retained, v) for v in grid] == [holds(times, 1 / v) for v in grid]
    assert any(holds(retained, v) for v in grid)
    assert (retained["set"] == "unbounded") == all(holds(retained, v) for v in grid)


def test_a_share_of_no_improvement_is_none() -> None:
    labels = pd.DataFrame({"cohort": ["during"], "reference": ["before"], "time": [36.0]})
    pairs = np.random.default_rng(1).normal(size=(99, 1, 2))
    for as_, change, reference in (("retained", 1.0, -0.1), ("retained", 1.0, 0.0), ("times", -0.1, 1.0)):
        values = (np.array([change]), np.array([reference]), np.eye(2)[None], np.array([9.0]))
        base = RetainedImprovement({}, labels, *values, "fieller", as_, 0.95, "month")
        row = base.with_draws(Angles(pairs, None, np.zeros(0, dtype=np.intp), "percentile")).tidy().iloc[0]
        assert row["set"] == "none"
        assert np.isnan([row[c] for c in ("estimate", "std_error", "conf_low", "conf_high")]).all()
