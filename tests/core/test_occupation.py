"""States over time are Kaplan-Meier with two of them, cumulative incidence with several ends, and sum to one."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from implstats._core.occupation import Histories, mean_times, occupation
from implstats.survival.competing import cumulative_incidence
from implstats.survival.curves import survival_curves
from implstats.survival.rmst import rmst


def ends(seed: int, causes: int, late: bool = True) -> Histories:
    """Return one stretch a person: ties, censoring (-1), and late entry."""
    rng = np.random.default_rng(seed)
    n = 70
    exit_ = np.ceil(rng.exponential(5, n) * 2) / 2
    entry = np.where(rng.random(n) < 0.3, np.floor(exit_ * rng.uniform(0, 0.9, n)), 0.0) * late
    then = rng.integers(-1, causes, n)
    return Histories(
        entry, exit_, np.zeros(n, dtype=np.intp), np.where(then < 0, -1, then + 1), np.arange(n), causes + 1
    )


def frame_of(rows: Histories) -> pd.DataFrame:
    return pd.DataFrame({"from": rows.entry, "to": rows.exit, "ended": rows.then, "half": 0.5})


@pytest.mark.parametrize("seed", range(4))
def test_two_states_are_kaplan_meier(seed: int) -> None:
    rows = ends(seed, 1)
    frame = frame_of(rows).assign(had=(rows.then > 0).astype(int))
    curves = survival_curves(frame, duration="to", event="had", entry="from").tidy()
    found = occupation(rows)
    np.testing.assert_array_equal(found.time, curves["time"])
    np.testing.assert_allclose(found.probability[:, 0], curves["estimate"], atol=1e-14)
    np.testing.assert_array_equal(found.at_risk[:, 0], curves["at_risk"])
    mean, _ = mean_times(rows, 6.0)
    area = rmst(frame, duration="to", event="had", entry="from", tau=6.0).mean[0]
    assert mean[0] == pytest.approx(area, rel=1e-13)
    assert mean.sum() == pytest.approx(6.0, rel=1e-13)


@pytest.mark.parametrize("seed", range(4))
def test_several_ends_are_cumulative_incidence_and_its_jackknife(seed: int) -> None:
    rows = ends(seed, 3)
    # With weights that are no numbers of rows its errors are the jackknife's, whatever all weights are multiplied by.
    roles = {"duration": "to", "event": "ended", "censored": -1, "entry": "from", "weights": "half"}
    theirs = cumulative_incidence(frame_of(rows), **roles).tidy()
    found = occupation(rows)
    np.testing.assert_allclose(found.probability[:, 0], theirs.loc[theirs["cause"] == 1, "event_free"], atol=1e-14)
    for cause, table in theirs.groupby("cause"):
        np.testing.assert_allclose(found.probability[:, cause], table["estimate"], atol=1e-14)
        np.testing.assert_allclose(np.sqrt(found.variance[:, cause]), table["std_error"], rtol=1e-10, atol=1e-14)


def histories(seed: int, n: int = 25) -> Histories:
    """Return people who move between three states, the third of which ends everything."""
    rng = np.random.default_rng(seed)
    rows = []
    for person in range(n):
        t, state, last = float(rng.integers(0, 3)), int(rng.random() < 0.3), float(rng.integers(8, 20))
        while t < last:
            end, then = t + float(rng.integers(1, 7)), 2 if rng.random() < 0.15 else 1 - state
            if state == 2 or end > last:
                end, then = last, -1
            rows.append((t, end, state, then, person))
            t, state = end, then
            if then == -1:
                break
    entry, exit_, state, then, person = (np.array(column) for column in zip(*rows, strict=True))
    return Histories(entry, exit_, *(x.astype(np.intp) for x in (state, then, person)), 3)


def weighted(rows: Histories, weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return probabilities after every time at which somebody moves, written out with weights of people."""
    moved = rows.then >= 0
    times = np.unique(rows.exit[moved])
    w = weight[rows.person]
    here = (rows.entry < times[0]) & (times[0] <= rows.exit)
    p = np.bincount(rows.state[here], w[here], 3) / w[here].sum()
    out = []
    for s in times:
        H = np.eye(3)
        here = (rows.entry < s) & (s <= rows.exit)
        for j in range(3):
            inside = w[here & (rows.state == j)].sum()
            for k in range(3):
                if k != j and inside:
                    share = w[here & moved & (rows.exit == s) & (rows.state == j) & (rows.then == k)].sum() / inside
                    H[j, k] += share
                    H[j, j] -= share
        p = p @ H
        out.append(p)
    return np.array(out)


@pytest.mark.parametrize("seed", range(3))
def test_influences_are_derivatives_by_the_weight_of_a_person(seed: int) -> None:
    rows = histories(seed)
    n, step = int(rows.person.max()) + 1, 1e-5
    found = occupation(rows)
    at = np.isin(found.time, np.unique(rows.exit[rows.then >= 0]))
    np.testing.assert_allclose(found.probability[at], weighted(rows, np.ones(n)), atol=1e-13)
    variance = np.zeros_like(found.probability[at])
    for person in range(n):
        up, down = (weighted(rows, 1 + step * sign * (np.arange(n) == person)) for sign in (1, -1))
        variance += ((up - down) / (2 * step)) ** 2
    np.testing.assert_allclose(np.sqrt(found.variance[at]), np.sqrt(variance), atol=1e-8)


@pytest.mark.parametrize("seed", range(3))
def test_probabilities_and_mean_times_add_up(seed: int) -> None:
    rows = histories(seed)
    found = occupation(rows)
    np.testing.assert_allclose(found.probability.sum(axis=1), 1, atol=1e-13)
    assert found.probability.min() >= -1e-15
    mean, variance = mean_times(rows, 7.25)
    assert mean.sum() == pytest.approx(7.25, rel=1e-13)
    assert (variance > 0).all()


def test_without_a_move_the_shares_at_the_start_stay() -> None:
    rows = Histories(*(np.array(x, dtype=float) for x in ([0, 0, 1], [5, 5, 5])), *(
        np.array(x, dtype=np.intp) for x in ([0, 1, 1], [-1, -1, -1], [0, 1, 2])
    ), 2)  # fmt: skip
    found = occupation(rows)
    np.testing.assert_allclose(found.probability, [[1 / 3, 2 / 3]])
    np.testing.assert_allclose(found.variance, [[2 / 27, 2 / 27]])
