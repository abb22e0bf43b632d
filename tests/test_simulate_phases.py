"""Implementations hold their truth, draws approach it, and the bundled table has what it is for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats.errors import DataError
from implstats.examples import describe_example, load_example
from implstats.phases import SCHEMES, phase_progress
from implstats.simulate import PHASES, PhaseScenario, simulate_phases

FIELDS: dict[str, Any] = {
    "programmes": {"a": 4000, "b": 4000},
    "accrual": ("2010-01-01", "2010-12-31"),
    "closing": "2099-12-31",
    "scheme": ["x", "y", "z"],
    "activities": [4, 1, 3],
    "wait": [10, 3, 50],
    "stopping": [0.2, 0.1, 0.3],
}
ROLES = {"programme": "programme", "phase": "phase", "activity": "activity", "date": "date", "stopped": "stopped"}


def scenario(**fields: Any) -> PhaseScenario:
    return PhaseScenario(**FIELDS | fields)


def test_truth_is_exact() -> None:
    true = scenario(wait=[1 / np.log(2), 3, 50]).truth()
    assert true["begun"].tolist() == pytest.approx([1, 0.8, 0.72])
    assert true["finished"].tolist() == pytest.approx([0.8, 0.72, 0.504])
    # Whole days until an exponential time with a half-life of one day: 1 with probability 1/2, ..., on average 2.
    assert true["duration"][0] == pytest.approx(3 * 2)
    assert true["duration"][1] == 0


def test_draws_approach_the_truth() -> None:
    true = scenario().truth()
    found = phase_progress(simulate_phases(scenario(), rng=1), **ROLES, scheme=[1, 2, 3], unit="days")
    begun = (found.done > 0).mean(axis=0)
    finished = (found.tidy()["status"] == "complete").to_numpy().reshape(-1, 3)
    np.testing.assert_allclose(begun, true["begun"], atol=0.015)
    # Who gives up in a phase of one activity has done it.
    np.testing.assert_allclose(finished.mean(axis=0)[[0, 2]], true["finished"][[0, 2]], atol=0.015)
    assert finished[:, 1].mean() == begun[1]
    length = (found.last - found.first)[finished[:, 2]][:, 2]
    assert length.mean() == pytest.approx(true["duration"][2], rel=0.03)
    stops = ~np.isnan(found.found.stopped)
    assert stops.mean() == pytest.approx(1 - true["finished"].iloc[-1], abs=0.015)


def test_skipping_and_places_changed_are_as_often_as_stated() -> None:
    going_on = scenario(stopping=[0, 0, 0], skipping=0.2, early=0.3, activities=[3, 3, 3])
    log = simulate_phases(going_on, rng=2)
    done = log["date"].notna().to_numpy().reshape(-1, 9)
    assert done[:, [0, 3, 6]].all()
    np.testing.assert_allclose(done[:, [1, 2, 4, 5, 7, 8]].mean(axis=0), 0.8, atol=0.02)
    swapped = simulate_phases(replace(going_on, skipping=0.0), rng=2)["date"].to_numpy().reshape(-1, 9)
    np.testing.assert_allclose((swapped[:, [2, 5]] > swapped[:, [3, 6]]).mean(axis=0), 0.3, atol=0.02)
    assert (np.diff(np.sort(swapped, axis=1)) > np.timedelta64(0)).all()


def test_a_group_may_be_slower() -> None:
    log = simulate_phases(scenario(stopping=[0, 0, 0], wait=[100, 100, 100], slower={"b": 1.5}), rng=3)
    length = log.groupby(["group", "programme"])["date"].agg(lambda d: (d.max() - d.min()).days)
    means = length.groupby("group").mean()
    assert means["b"] / means["a"] == pytest.approx(1.5, rel=0.02)


def test_nothing_is_seen_after_the_closing_day() -> None:
    log = simulate_phases(scenario(closing="2011-01-31"), rng=4)
    assert log[["date", "stopped"]].max().max() <= pd.Timestamp("2011-01-31")
    full = simulate_phases(scenario(), rng=4)
    seen = log["date"].notna()
    pd.testing.assert_series_equal(log.loc[seen, "date"], full.loc[seen, "date"])
    assert (full.loc[~seen, "date"].dropna() > pd.Timestamp("2011-01-31")).all()


def test_the_same_seed_gives_the_same_programmes() -> None:
    one, again, other = (simulate_phases(PHASES, rng=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, again)
    assert not one["date"].equals(other["date"])
    # Parts are drawn apart: who gives up is the same when activities are skipped more often.
    more = simulate_phases(replace(PHASES, skipping=0.5), rng=1)
    pd.testing.assert_series_equal(one["stopped"], more["stopped"])


def test_scenarios_that_cannot_be_are_refused() -> None:
    with pytest.raises(DataError) as found:
        scenario(programmes={"a": 0}, closing="2010-06-30", skipping=1.0, slower={"c": 2}, wait=[1, 0, 1])
    assert str(found.value).split("\n") == [
        "programmes['a']=0: less than 1",
        "slower: no such group as 'c'; there are 'a'",
        "accrual=('2010-01-01', '2010-12-31'): goes on to the closing day, '2010-06-30'; end it before",
        "wait[1]=0: not above 0",
        "skipping=1: not below 1",
    ]
    with pytest.raises(DataError, match=r"^stopping=\[0\.1\]: not one value for each of 3 phases$"):
        scenario(stopping=[0.1])
    with pytest.raises(DataError, match=r"^scheme='sics': unknown option; did you mean 'sic'"):
        scenario(scheme="sics")
    with pytest.raises(DataError, match=r"^scenario: a dict is not a PhaseScenario"):
        simulate_phases({})  # type: ignore[arg-type]


# The bundled table ---------------------------------------------------------------------------------------------------


def test_the_stated_truth_is_the_scenarios() -> None:
    stated, true = describe_example("programme_phases")["truth"], PHASES.truth()
    assert list(stated["stopping"].values()) == list(PHASES.stopping)
    assert list(stated["wait"].values()) == list(PHASES.wait)
    assert list(stated["begun"].values()) == pytest.approx(true["begun"].tolist(), abs=5e-5)
    assert list(stated["finished"].values()) == pytest.approx(true["finished"].tolist(), abs=5e-5)
    assert list(stated["duration"].values()) == pytest.approx(true["duration"].tolist(), abs=0.05)
    assert (stated["skipping"], stated["early"]) == (PHASES.skipping, PHASES.early)
    assert stated["slower"] == {"coached": 1.0} | dict(PHASES.slower)
    assert true["phase"].tolist() == list(SCHEMES["sic"])


def test_the_bundled_table_can_be_analysed_and_has_what_it_is_for() -> None:
    log = load_example("programme_phases")
    found = phase_progress(log, **ROLES, scheme="sic", by="group", study_end="2018-12-31")
    whole = found.programmes()
    assert len(whole) == 40
    assert (whole["activities"] == 31).all()
    gave_up = whole[whole["stop"].notna()]
    assert gave_up["furthest"].isin(SCHEMES["sic"][:3]).sum() >= 10
    assert (whole["furthest"] == "competency").sum() >= 10
    assert (found.tidy()["status"] == "open").any()
    assert (found.tidy()["early"] > 0).any()
    assert abs((found.done[:, 3] > 0).mean() - PHASES.truth()["begun"][3]) < 0.2
