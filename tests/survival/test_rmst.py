"""Restricted means as users meet them: groups, differences, ratios, and no tau beyond what was followed."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from implstats.errors import DataError
from implstats.survival.curves import survival_curves
from implstats.survival.rmst import rmst
from implstats.tables import read_tables

ROLES: dict[str, Any] = {"duration": "years", "event": "discontinued"}


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(9)
    n = 90
    era = np.tile(["after", "before", "during"], n // 3)
    stops = rng.exponential(np.where(era == "during", 3.0, 6.0), n)
    end = rng.uniform(1, np.where(era == "during", 5.0, 9.0), n)
    return pd.DataFrame(
        {
            "years": np.minimum(stops, end).round(2) + 0.01,
            "discontinued": (stops <= end).astype(int),
            "era": era,
            "part": rng.uniform(0.5, 2, n),
        }
    )


def test_rows_are_groups_then_differences_then_ratios(frame: pd.DataFrame) -> None:
    table = rmst(frame, **ROLES, by="era", tau=3).tidy()
    assert table["quantity"].tolist() == ["rmst"] * 3 + ["difference"] * 2 + ["ratio"] * 2
    assert table["group"].tolist() == ["after", "before", "during", "before", "during", "before", "during"]
    assert table["reference"].tolist() == ["", "", "", "after", "after", "after", "after"]
    assert set(table["time"]) == {3.0}
    mean = table["estimate"][:3]
    assert table["estimate"][3:].tolist() == pytest.approx(
        [mean[1] - mean[0], mean[2] - mean[0], mean[1] / mean[0], mean[2] / mean[0]]
    )
    assert table.loc[:2, ["statistic", "p_value"]].isna().all().all()


def test_a_ratio_is_judged_on_the_log_scale(frame: pd.DataFrame) -> None:
    row = rmst(frame, **ROLES, by="era", tau=3).tidy().iloc[-1]
    error = row["std_error"] / row["estimate"]
    assert np.log(row["estimate"]) - np.log(row["conf_low"]) == pytest.approx(1.959963985 * error)
    assert np.log(row["conf_high"]) - np.log(row["estimate"]) == pytest.approx(1.959963985 * error)
    assert row["statistic"] == pytest.approx(np.log(row["estimate"]) / error)


def test_another_reference_turns_the_comparison_round(frame: pd.DataFrame) -> None:
    two = frame[frame["era"] != "after"]
    one = rmst(two, **ROLES, by="era").tidy().set_index("quantity")
    other = rmst(two, **ROLES, by="era", reference="during").tidy().set_index("quantity")
    assert other.loc["difference", "estimate"] == pytest.approx(-one.loc["difference", "estimate"])
    assert other.loc["difference", "std_error"] == pytest.approx(one.loc["difference", "std_error"])
    assert other.loc["ratio", "conf_low"] == pytest.approx(1 / one.loc["ratio", "conf_high"])


def test_by_default_tau_is_the_last_time_that_every_group_reaches(frame: pd.DataFrame) -> None:
    found = rmst(frame, **ROLES, by="era")
    assert found.tau == frame.groupby("era")["years"].max().min()
    assert f"up to tau = {found.tau:g}" in found.header()[0]
    assert found.glance().to_dict("records") == [{"time": found.tau, "rows": 90}]


@pytest.mark.parametrize("options", [{}, {"weights": "part"}])
def test_curves_give_the_same(frame: pd.DataFrame, options: dict[str, str]) -> None:
    curves = survival_curves(frame, **ROLES, by="era", **options)
    mine = curves.rmst(2.5, reference="before", level=0.9)
    assert_frame_equal(
        mine.tidy(), rmst(frame, **ROLES, by="era", tau=2.5, reference="before", level=0.9, **options).tidy()
    )
    assert mine.call["tau"] == 2.5


def test_one_group_has_no_difference(frame: pd.DataFrame) -> None:
    table = rmst(frame, **ROLES, tau=3).tidy()
    assert table["quantity"].tolist() == ["rmst"]
    assert table["group"].tolist() == ["all"]


def test_a_group_without_events_has_no_spread_and_the_header_says_why(frame: pd.DataFrame) -> None:
    calm = frame.assign(discontinued=frame["discontinued"] * (frame["era"] != "after"))
    found = rmst(calm, **ROLES, by="era", tau=3)
    assert found.tidy().loc[0, ["estimate", "std_error"]].tolist() == [3.0, 0.0]
    assert (
        "no event up to tau: after; a standard error of 0 says that none was seen, not that none can be"
        in found.header()
    )


def test_unequal_follow_up_is_said(frame: pd.DataFrame) -> None:
    assert [line for line in rmst(frame, **ROLES, by="era").header() if line.startswith("censoring is unequal")]


def test_arrays_are_read_only_and_the_result_goes_through_json(frame: pd.DataFrame) -> None:
    found = rmst(frame, **ROLES, by="era", tau=3)
    for result in (found, pickle.loads(pickle.dumps(found))):
        with pytest.raises(ValueError, match="read-only"):
            result.mean[0] = 1
    record = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert_frame_equal(read_tables(record)["tidy"], found.tidy(), check_exact=True)


BAD: list[tuple[str, Callable[[pd.DataFrame], Any], str]] = [
    (
        "tau beyond a group",
        lambda f: rmst(f, **ROLES, by="era", tau=8),
        "tau=8: beyond the follow-up of during, which ends at 4.21; choose tau up to 4.21",
    ),
    (
        "tau beyond the last row",
        lambda f: survival_curves(f, **ROLES).rmst(20),
        "tau=20: beyond the follow-up of the last row, which ends at 7.64; choose tau up to 7.64",
    ),
    (
        "tau before any event, and an unknown reference",
        lambda f: rmst(f, **ROLES, by="era", tau=0.01, reference="befor"),
        "reference='befor': no group has this name; did you mean 'before'?\n"
        "tau=0.01: no event up to 0.01, so every mean is that time and nothing can be compared",
    ),
    ("tau of 0", lambda f: rmst(f, **ROLES, tau=0), "tau=0: not above 0"),
    ("tau in words", lambda f: rmst(f, **ROLES, tau="3 years"), "tau='3 years': not a number"),
    (
        "no events",
        lambda f: rmst(f.assign(discontinued=0), **ROLES, by="era", tau=3),
        "tau=3: no event up to 3, so every mean is that time and nothing can be compared",
    ),
    (
        "a level in percent",
        lambda f: rmst(f, **ROLES, level=95),
        "level=95: not between 0 and 1; 0.95 gives 95 % intervals",
    ),
]


@pytest.mark.parametrize(("what", "call", "message"), BAD, ids=[row[0] for row in BAD])
def test_what_cannot_be_answered_is_refused(
    frame: pd.DataFrame, what: str, call: Callable[[pd.DataFrame], Any], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        call(frame)
    assert str(caught.value) == message
