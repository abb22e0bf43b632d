"""States over time: what is refused and in which words, what the header says, and what the tables hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError
from implstats.phases import state_occupation

ROLES: dict[str, Any] = {"id": "id", "state": "is", "start": "from", "stop": "to", "next_state": "then"}


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = [
        ("a", "on", 0, 3, "off"),
        ("a", "off", 3, 6, None),
        ("b", "on", 0, 2, "off"),
        ("b", "off", 2, 5, "on"),
        ("b", "on", 5, 7, None),
        ("c", "on", 1, 4, None),
    ]
    return pd.DataFrame(rows, columns=["id", "is", "from", "to", "then"]).assign(era=["x", "x", "y", "y", "y", "y"])


def refused(frame: pd.DataFrame, **options: Any) -> str:
    with pytest.raises(DataError) as found:
        state_occupation(frame, **ROLES | options)
    return str(found.value)


FILL = "fill it in; rows without start and stop stand for what was never under observation"
CHANGES: dict[str, tuple[int, dict[str, Any], str]] = {
    "overlap": (
        3,
        {"from": 1},
        "id='id': overlapping rows of 'b' (rows 2, 3); nobody is in two states at once",
    ),
    "another state at once": (
        3,
        {"is": "merged"},
        "next_state='then': is not the state of the next row of 'b' (rows 2, 3); correct one of the two rows",
    ),
    "changed in a gap": (
        4,
        {"from": 5.5, "is": "off"},
        "state='is': changes between rows with a gap of 'b' (rows 3, 4); when it changed is not known: give a row for "
        "the time between",
    ),
    "no length": (5, {"to": 1}, "stop='to': not after from in row 5; a state lasts for some time"),
    "before 0": (5, {"from": -1}, "start='from': negative in row 5; count time from a first start"),
    "its own state": (
        0,
        {"then": "on"},
        "next_state='then': is the row's own state in row 0; a state that goes on is censored",
    ),
    "no start": (
        5,
        {"from": np.nan},
        "start='from': missing in row 5; " + FILL,
    ),
    "no state": (
        5,
        {"is": None},
        "state='is': missing in row 5; " + FILL,
    ),
    "another group": (
        1,
        {"era": "y"},
        "by='era': changes within one id (rows 0, 1); a group is what somebody is in throughout",
    ),
}


@pytest.mark.parametrize("what", CHANGES)
def test_data_that_cannot_be_are_refused(frame: pd.DataFrame, what: str) -> None:
    row, change, message = CHANGES[what]
    frame = frame.astype({"from": float, "to": float})
    for column, value in change.items():
        frame.loc[row, column] = value
    options = {"by": "era"} if what == "another group" else {}
    assert refused(frame, **options) == message


def test_arguments_that_cannot_be_are_refused_together(frame: pd.DataFrame) -> None:
    said = refused(frame, state="iss", interval="probit", level=2).split("\n")
    assert said == [
        "interval='probit': unknown option; there are 'log', 'log-log', 'plain', 'logit', 'arcsine'",
        "level=2: not between 0 and 1; 0.95 gives 95 % intervals",
        "state='iss': no such column; did you mean 'is'?",
    ]
    assert refused(frame, stop="from").startswith("id, state, start, stop, next_state: one column is named twice")
    assert refused(frame, censored="none").startswith("next_state='then': missing in rows 1, 4, 5")
    filled = frame.fillna({"then": "none"})
    assert refused(filled, censored="nobody") == (
        "censored='nobody': no row of then has it; there are 'none', 'off', 'on'"
    )
    assert refused(frame, states=["on"]).startswith("states=['on']: not every state once; write states=['off', 'on']")
    assert refused(frame.assign(to="later")).startswith("stop='to': the column holds text such as 'later'")
    nobody = frame.assign(**{"from": np.nan, "to": np.nan})
    assert "every value is missing" in refused(nobody)


def test_a_group_in_which_nobody_was_seen_is_refused(frame: pd.DataFrame) -> None:
    more = pd.DataFrame({"id": ["d"], "is": ["never"], "era": ["z"]})
    said = refused(pd.concat([frame, more], ignore_index=True), by="era")
    assert said == "by='era': nobody of 'z' was under observation; leave that group out"


def test_the_header_tells_what_a_reader_must_know(frame: pd.DataFrame) -> None:
    head = state_occupation(frame, **ROLES, by="era").header()
    assert head == [
        "Probability of each is over time, by era (Aalen-Johansen; 95% logit intervals)",
        "x: 1 history, 1 on to off, up to 6",
        "y: 2 histories, 1 off to on, 1 on to off, up to 7",
        "standard errors: infinitesimal jackknife by id, which takes whole histories as independent",
        "6 rows of 6 given; 3 ids",
        "dropped: none",
    ]


def test_gaps_late_entry_and_mixed_starts_are_said(frame: pd.DataFrame) -> None:
    frame = frame.astype({"from": float})
    frame.loc[4, "from"] = 6.0
    frame.loc[[0, 2, 5], "from"] = [0.5, 1, 1]
    frame.loc[5, "is"] = "off"
    said = "\n".join(state_occupation(frame, **ROLES).header())
    assert "1 id with gaps between rows; nobody is at risk within a gap" in said
    assert "nobody is under observation before 0.5; until then nothing changes" in said
    assert "begins with the shares of those under observation before the first change: off 0.33, on 0.67" in said


def test_nobody_is_at_risk_within_a_gap(frame: pd.DataFrame) -> None:
    frame.loc[4, "from"] = 6
    found = state_occupation(frame, **ROLES)
    counts = found.at_risk([5.5, 6.5]).set_index(["state", "time"])["at_risk"]
    assert counts.to_dict() == {("off", 5.5): 1, ("off", 6.5): 0, ("on", 5.5): 0, ("on", 6.5): 1}


def test_a_state_in_which_nobody_is_followed_any_more_is_said() -> None:
    rows = [("a", "on", 0, 2, "off"), ("a", "off", 2, 3, None), ("b", "on", 0, 9, None), ("c", "on", 0, 1, "off")]
    rows += [("c", "off", 1, 2.5, "on"), ("c", "on", 2.5, 9, None)]
    frame = pd.DataFrame(rows, columns=["id", "is", "from", "to", "then"])
    said = "\n".join(state_occupation(frame, **ROLES).header())
    assert "nobody is under observation in off after 3; what is shown of it stands still" in said


def test_tables_hold_nothing_beyond_follow_up_and_no_interval_of_nothing(frame: pd.DataFrame) -> None:
    found = state_occupation(frame, **ROLES, times=[0, 4, 8])
    table = found.tidy().set_index(["state", "time"])
    assert table.loc[("on", 8.0), ["estimate", "std_error"]].isna().all()
    assert table.loc[("off", 0.0), "estimate"] == 0
    assert np.isnan(table.loc[("off", 0.0), "conf_low"])
    inside = table.loc[("on", 4.0)]
    assert 0 < inside["conf_low"] < inside["estimate"] < inside["conf_high"] < 1
    wide, narrow = (found.tidy(level=level).set_index(["state", "time"]).loc[("on", 4.0)] for level in (0.99, 0.5))
    assert wide["conf_low"] < inside["conf_low"] < narrow["conf_low"]


def test_states_keep_the_order_of_a_categorical_column_or_the_one_asked_for(frame: pd.DataFrame) -> None:
    assert state_occupation(frame, **ROLES).states == ("off", "on")
    ordered = frame.assign(**{"is": pd.Categorical(frame["is"], ["on", "waiting", "off"])})
    assert state_occupation(ordered, **ROLES).states == ("on", "off")
    assert state_occupation(frame, **ROLES, states=["on", "off"]).states == ("on", "off")


def test_tau_must_be_within_everybodys_follow_up(frame: pd.DataFrame) -> None:
    found = state_occupation(frame, **ROLES, by="era")
    assert found.time_in_states().tidy().groupby("group")["estimate"].sum().tolist() == pytest.approx([6, 6])
    with pytest.raises(DataError, match=r"^tau=6\.5: beyond the follow-up of x, which ends at 6; choose tau up to 6$"):
        found.time_in_states(6.5)
    with pytest.raises(DataError, match=r"^tau=0: not above 0$"):
        found.time_in_states(0)


def test_times_that_differ_by_rounding_are_ties(frame: pd.DataFrame) -> None:
    third = frame.assign(**{"from": frame["from"] / 3, "to": frame["to"] / 3})
    third.loc[3, "from"] = third.loc[2, "to"] + 1e-12
    found = state_occupation(third, **ROLES)
    assert found.sample.rows == 6
    assert found.glance()["events"][0] == 3


def test_progress_goes_on_into_occupation() -> None:
    log = ist.load_example("programme_phases")
    roles = {"programme": "programme", "phase": "phase", "activity": "activity", "date": "date", "stopped": "stopped"}
    progress = ist.phase_progress(log, **roles, scheme="sic", by="group", study_end="2018-12-31")
    found = state_occupation(
        progress.histories(),
        id="programme",
        state="state",
        start="start",
        stop="stop",
        next_state="next_state",
        by="group",
    )
    assert found.states == (*progress.phases, "stopped")
    gave_up = log.drop_duplicates("programme").groupby("group")["stopped"].count()
    last = found.at(40).query("state == 'stopped'").set_index("group")["estimate"]
    # Everybody is followed for 40 months and more, so that the probability is the share.
    np.testing.assert_allclose(last, gave_up / 20)
