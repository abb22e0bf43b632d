"""Four programmes and their states, and two and their activities, with the arithmetic in comments."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from implstats.phases import phase_progress, state_occupation

# a stays. b stops at 2 and starts again at 4. c stops at 3 and is lost at 3.5. d merges at 4.
FOUR = pd.DataFrame(
    [
        ("a", "active", 0, 6, None),
        ("b", "active", 0, 2, "stopped"),
        ("b", "stopped", 2, 4, "restarted"),
        ("b", "restarted", 4, 6, None),
        ("c", "active", 0, 3, "stopped"),
        ("c", "stopped", 3, 3.5, None),
        ("d", "active", 0, 4, "merged"),
        ("d", "merged", 4, 6, None),
        ("e", "never started", None, None, None),
    ],
    columns=["programme", "state", "start", "stop", "then"],
)
ROLES = {"id": "programme", "state": "state", "start": "start", "stop": "stop", "next_state": "then"}
ORDER = ["active", "stopped", "restarted", "merged"]


def test_probabilities_are_products_of_shares_that_move() -> None:
    found = state_occupation(FOUR, **ROLES, states=ORDER)
    table = found.at([0, 2, 3, 4]).pivot_table(index="time", columns="state", values="estimate")[ORDER]
    # At 2: 1 of 4 active stops. At 3: 1 of 3. At 4: 1 of 2 active merges, and the only one who is still seen stopped
    # starts again, so that all of the stopped half moves, c's quarter with it.
    expected = [[1, 0, 0, 0], [3 / 4, 1 / 4, 0, 0], [1 / 2, 1 / 2, 0, 0], [1 / 4, 0, 1 / 2, 1 / 4]]
    np.testing.assert_allclose(table, expected, atol=1e-15)
    assert found.at_risk(4)["at_risk"].tolist() == [2, 1, 0, 0]
    assert found.moves()[["state", "next_state", "n"]].to_numpy().tolist() == [
        ["active", "stopped", 2],
        ["active", "merged", 1],
        ["stopped", "restarted", 1],
    ]


def test_standard_errors_are_sums_of_squared_influences() -> None:
    table = state_occupation(FOUR, **ROLES, states=ORDER).at([3, 4]).set_index(["time", "state"])["std_error"]
    # Until 3 nobody is lost: influences are (1 - 1/2) / 4 of a and d, (0 - 1/2) / 4 of b and c on "active".
    assert table[3, "active"] == pytest.approx(math.sqrt(4 / 64))
    # At 4 "active" halves: a and d have 1/16, b and c -1/16; a, at risk and staying, adds (1/2) / 2 x 1/2 = 1/8, and d,
    # who moves, 1/8 - 1/4. Sum of squares: (3/16)^2 + 3 (1/16)^2.
    assert table[4, "active"] == pytest.approx(math.sqrt(12 / 256))
    assert table[4, "merged"] == pytest.approx(math.sqrt(12 / 256))
    # "restarted" takes over the influences of "stopped", -1/8, 1/8, 1/8, -1/8; b alone was at risk, and moved.
    assert table[4, "restarted"] == pytest.approx(math.sqrt(4 / 64))


def test_mean_times_are_areas() -> None:
    table = state_occupation(FOUR, **ROLES, states=ORDER).time_in_states(6).tidy().set_index("state")
    # Active: 2 x 1 + 1 x 3/4 + 1 x 1/2 + 2 x 1/4.
    assert table["estimate"].tolist() == pytest.approx([3.75, 0.75, 1, 0.5])
    # Of "active" no time is lost from sight: 6, 2, 3 and 4, so the error is that of a mean, over n and not n - 1.
    assert table.loc["active", "std_error"] == pytest.approx(np.std([6, 2, 3, 4]) / 2)


def test_who_never_started_is_counted_and_nothing_else() -> None:
    with_e, without = (state_occupation(frame, **ROLES) for frame in (FOUR, FOUR[:-1]))
    pd.testing.assert_frame_equal(with_e.tidy(), without.tidy())
    assert with_e.glance()["never_observed"][0] == 1
    assert "4 histories" in with_e.header()[1]
    assert with_e.header()[1].endswith("; 1 never started: no time in any state")
    assert with_e.sample.dropped == {"never under observation (never started)": 1}


# Activities ----------------------------------------------------------------------------------------------------------

# north: plan on day 0 and 30, do on 20 (before the second of plan) and 50, keep never.
# south: plan on day 0 only, gives up on day 45.
LOG = pd.DataFrame(
    {
        "site": ["north"] * 5 + ["south"] * 5,
        "phase": ["plan", "plan", "do", "do", "keep"] * 2,
        "what": ["p1", "p2", "d1", "d2", "k1"] * 2,
        "on": ["2020-01-01", "2020-01-31", "2020-01-21", "2020-02-20", None, "2021-03-01", None, None, None, None],
        "gave_up": [None] * 5 + ["2021-04-15"] * 5,
    }
)
COLUMNS = {"programme": "site", "phase": "phase", "activity": "what", "date": "on", "stopped": "gave_up"}


def test_durations_shares_and_the_furthest_phase() -> None:
    found = phase_progress(LOG, **COLUMNS, scheme=["plan", "do", "keep"], unit="days")
    table = found.tidy()
    assert table["status"].tolist() == ["complete", "complete", "not begun", "stopped", "not begun", "not begun"]
    assert table["proportion"].tolist() == [1, 1, 0, 0.5, 0, 0]
    assert table["first"][[0, 1, 3]].tolist() == [0, 20, 0]
    assert table["duration"][[0, 1, 3]].tolist() == [30, 30, 0]
    assert table["so_far"].tolist()[3] == 45
    assert table["so_far"].isna().sum() == 5
    assert table["early"].tolist() == [0, 1, 0, 0, 0, 0]
    whole = found.programmes()
    assert whole["furthest"].tolist() == ["do", "plan"]
    assert whole["proportion"].tolist() == [0.8, 0.2]
    assert whole["duration"].tolist() == [50, 0]


def test_a_summary_takes_unfinished_phases_as_at_least_so_long() -> None:
    found = phase_progress(LOG, **COLUMNS, scheme=["plan", "do", "keep"], unit="days").summary().set_index("phase")
    # plan took 30 days in north, in south at least 45: survival is a half from 30 on, to 45 at least: their middle.
    assert found.loc["plan", "duration"] == 37.5
    assert found.loc["plan", "duration_low"] == 30
    assert math.isnan(found.loc["plan", "duration_high"])
    assert found.loc["plan", ["complete", "stopped", "furthest"]].tolist() == [1, 1, 1]
    assert found.loc["plan", "proportion"] == 0.75


def test_histories_are_of_the_furthest_phase_begun() -> None:
    found = phase_progress(LOG, **COLUMNS, scheme=["plan", "do", "keep"], unit="days", study_end="2021-04-20")
    rows = found.histories()[["programme", "state", "start", "stop", "next_state"]].to_numpy().tolist()
    assert rows == [
        ["north", "plan", 0, 20, "do"],
        ["north", "do", 20, 475, None],
        ["south", "plan", 0, 45, "stopped"],
        ["south", "stopped", 45, 50, None],
    ]
