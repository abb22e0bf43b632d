"""What must not depend on how the same histories and activities are written down: order, cuts, names, unit of time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implstats.phases import phase_progress, state_occupation
from implstats.simulate import PhaseScenario, simulate_phases

FEW = settings(derandomize=True, deadline=None, max_examples=12)
ROLES: dict[str, Any] = {"id": "id", "state": "is", "start": "from", "stop": "to", "next_state": "then", "by": "era"}
LOG: dict[str, Any] = {"programme": "programme", "phase": "phase", "activity": "activity", "date": "date"}
seeds = st.integers(0, 10_000)


def histories(seed: int, n: int = 24) -> pd.DataFrame:
    """Return programmes that stop and start again in two eras, some of them seen late, with ties."""
    rng = np.random.default_rng(seed)
    rows = []
    for k in range(n):
        t, state, last = float(rng.integers(0, 2)), "active", float(rng.integers(9, 16))
        while True:
            end = t + float(rng.integers(1, 8))
            then = {"active": "stopped", "stopped": "restarted", "restarted": "stopped"}[state]
            rows.append(
                [f"p{k:02d}", "early" if k % 2 else "late", state, t, min(end, last), then if end < last else None]
            )
            if end >= last:
                break
            t, state = end, then
    return pd.DataFrame(rows, columns=["id", "era", "is", "from", "to", "then"])


def activities(seed: int) -> pd.DataFrame:
    scenario = PhaseScenario(
        programmes={"a": 6, "b": 5}, accrual=("2010-01-01", "2011-12-31"), closing="2012-12-31", scheme=["x", "y", "z"],
        activities=[3, 4, 2], wait=[20, 60, 90], stopping=[0.2, 0.2, 0.1], skipping=0.1, early=0.3,
    )  # fmt: skip
    return simulate_phases(scenario, rng=seed)


def same(one: pd.DataFrame, other: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(one, other, rtol=1e-10, atol=1e-12)


@FEW
@given(seeds)
def test_rows_in_another_order_say_the_same(seed: int) -> None:
    frame = histories(seed)
    mixed = frame.sample(frac=1, random_state=seed)
    one, other = state_occupation(frame, **ROLES), state_occupation(mixed, **ROLES)
    same(one.tidy(), other.tidy())
    same(one.time_in_states(6).tidy(), other.time_in_states(6).tidy())


@FEW
@given(seeds)
def test_rows_cut_in_two_say_the_same(seed: int) -> None:
    frame = histories(seed)
    long = frame["to"] - frame["from"] > 1
    cut = frame["from"] + np.floor((frame["to"] - frame["from"]) / 2) + 0.25
    first = frame[long].assign(to=cut[long], then=None)
    rest = frame[long].assign(**{"from": cut[long]})
    split = pd.concat([frame[~long], first, rest], ignore_index=True)
    one, other = state_occupation(frame, **ROLES), state_occupation(split, **ROLES)
    same(one.tidy(), other.tidy())
    same(one.moves(), other.moves())
    assert other.sample.rows > one.sample.rows


@FEW
@given(seeds, st.sampled_from([0.001, 12.0, 365.25]))
def test_time_in_another_unit_scales_times_alone(seed: int, factor: float) -> None:
    frame = histories(seed)
    scaled = frame.assign(**{"from": frame["from"] * factor, "to": frame["to"] * factor})
    one, other = state_occupation(frame, **ROLES), state_occupation(scaled, **ROLES)
    same(one.tidy().assign(time=lambda t: t["time"] * factor), other.tidy())
    mean = one.time_in_states(6).tidy()[["estimate", "std_error"]] * factor
    same(mean, other.time_in_states(6 * factor).tidy()[["estimate", "std_error"]])


@FEW
@given(seeds)
def test_probabilities_add_up_and_mean_times_add_up_to_tau(seed: int) -> None:
    found = state_occupation(histories(seed), **ROLES)
    np.testing.assert_allclose(found.tidy().groupby(["group", "time"])["estimate"].sum(), 1, atol=1e-12)
    np.testing.assert_allclose(found.time_in_states(5.5).tidy().groupby("group")["estimate"].sum(), 5.5, rtol=1e-12)


@FEW
@given(seeds)
def test_states_and_ids_by_other_names_say_the_same(seed: int) -> None:
    frame = histories(seed)
    names = {"active": 3, "stopped": 1, "restarted": 2}
    other = frame.assign(**{"is": frame["is"].map(names), "then": frame["then"].map(names), "id": frame["id"] + "!"})
    one = state_occupation(frame, **ROLES, states=["stopped", "restarted", "active"])
    same(one.tidy().drop(columns="state"), state_occupation(other, **ROLES).tidy().drop(columns="state"))


@FEW
@given(seeds)
def test_a_group_alone_says_what_it_says_beside_the_other(seed: int) -> None:
    frame = histories(seed)
    both = state_occupation(frame, **ROLES).tidy()
    alone = state_occupation(frame[frame["era"] == "late"], **ROLES).tidy()
    same(both[both["group"] == "late"].reset_index(drop=True), alone)


@FEW
@given(seeds)
def test_a_history_twice_gives_the_same_probabilities_and_smaller_errors(seed: int) -> None:
    frame = histories(seed)
    twice = pd.concat([frame, frame.assign(id=frame["id"] + " again")], ignore_index=True)
    one, other = (state_occupation(rows, **ROLES).tidy() for rows in (frame, twice))
    np.testing.assert_allclose(one["estimate"], other["estimate"], atol=1e-12)
    np.testing.assert_allclose(one["std_error"], other["std_error"] * np.sqrt(2), atol=1e-12)


@FEW
@given(seeds)
def test_activities_in_another_order_say_the_same(seed: int) -> None:
    frame = activities(seed)
    options: dict[str, Any] = {
        "scheme": ["x", "y", "z"],
        "stopped": "stopped",
        "by": "group",
        "study_end": "2012-12-31",
    }
    one = phase_progress(frame, **LOG, **options)
    mixed = frame.sample(frac=1, random_state=seed)
    other = phase_progress(mixed, **LOG, **options)
    order = ["programme", "phase"]
    same(one.tidy().sort_values(order, ignore_index=True), other.tidy().sort_values(order, ignore_index=True))
    same(one.summary(), other.summary())


@FEW
@given(seeds, st.integers(-4000, 4000))
def test_dates_moved_by_the_same_days_say_the_same(seed: int, days: int) -> None:
    frame, by = activities(seed), pd.Timedelta(days=days)
    moved = frame.assign(date=frame["date"] + by, stopped=frame["stopped"] + by)
    end = pd.Timestamp("2012-12-31")
    options: dict[str, Any] = {"scheme": ["x", "y", "z"], "stopped": "stopped"}
    one = phase_progress(frame, **LOG, **options, study_end=end)
    other = phase_progress(moved, **LOG, **options, study_end=end + by)
    same(one.tidy(), other.tidy())
    same(one.histories(), other.histories())


def test_units_of_durations_are_those_of_days() -> None:
    frame = activities(3)
    options: dict[str, Any] = {"scheme": ["x", "y", "z"], "stopped": "stopped", "study_end": "2012-12-31"}
    days, years = (phase_progress(frame, **LOG, **options, unit=unit).tidy() for unit in ("days", "years"))
    for column in ("first", "last", "duration", "so_far"):
        np.testing.assert_allclose(days[column], years[column] * 365.25, rtol=1e-12)
    assert days["duration"].dropna().map(float.is_integer).all()
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(days["duration"], years["duration"])
