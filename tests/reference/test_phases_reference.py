"""States over time against survival::survfit: phases.json beside this file, no R needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from implstats.phases import StateOccupation, state_occupation

HERE = Path(__file__).resolve().parent
REFERENCE = json.loads((HERE / "phases.json").read_text(encoding="utf-8"))
NAMES = {"id": "id", "state": "was", "start": "from", "stop": "to", "next_state": "then"}


def histories(case: dict[str, Any]) -> pd.DataFrame:
    """Return the stretches of a case; a futime of zero is no stretch, and R's script leaves such rows out too."""
    frame = pd.read_csv(HERE / "data" / f"{case['data']}.csv", keep_default_na=False)
    if case["data"] == "histories":
        return frame.rename(
            columns={"programme": "id", "start": "from", "stop": "to", "state": "was", "next_state": "then"}
        )
    frame = frame[frame[case["duration"]] > 0]
    then = frame[case["event"]].replace("censored", "none")
    return frame.assign(id=range(len(frame)), was="waiting", then=then, **{"from": 0, "to": frame[case["duration"]]})


def answered(case: dict[str, Any]) -> StateOccupation:
    return state_occupation(histories(case), **NAMES, censored="none", by=case.get("by"), interval=case["interval"])


@pytest.fixture
def near(held: Any) -> Any:
    return held(REFERENCE["rules"])


@pytest.mark.parametrize("case", REFERENCE["occupation"], ids=lambda case: case["name"])
def test_probabilities_errors_and_intervals_are_survfits(near: Any, case: dict[str, Any]) -> None:
    found = answered(case)
    compared = 0
    for group in case["groups"]:
        for row in group["rows"]:
            reference = pd.DataFrame({k: row[k] for k in ("time", "at_risk", "estimate", "std_error", "low", "high")})
            reference = reference.rename(columns={"low": "conf_low", "high": "conf_high"})
            # survfit has steps at some ends of split rows too, at which nothing changes.
            table = found.at(row["time"])
            mine = table[(table["group"] == group["group"]) & (table["state"] == row["state"])]
            rules = {"at_risk": "estimate", "estimate": "estimate"}
            near.table(mine, reference, ["time"], rules, scale=lambda _: 0.0)
            # Where a probability is 0 or 1, rounding decides what R says of its error and interval.
            inner = reference[(reference["estimate"] > 1e-9) & (reference["estimate"] < 1 - 1e-9)]
            if len(inner):
                rules = {"std_error": "std_error", "conf_low": "interval", "conf_high": "interval"}
                near.table(mine, inner, ["time"], rules, scale=lambda _: 0.0)
                compared += len(inner)
    assert compared > 30


@pytest.mark.parametrize("case", REFERENCE["occupation"], ids=lambda case: case["name"])
def test_mean_times_in_states_and_their_errors_are_survfits(near: Any, case: dict[str, Any]) -> None:
    table = answered(case).time_in_states(case["tau"]).tidy().set_index(["group", "state"])
    for group in case["groups"]:
        for row in group["rows"]:
            mine = table.loc[(group["group"], row["state"])]
            near.value("mean", mine["estimate"], row["mean"])
            near.value("std_error", mine["std_error"], row["mean_error"])


def test_the_reference_holds_what_is_hard() -> None:
    """Late entry, ties, split rows, returns, and groups whose states differ at the start."""
    (case,) = (c for c in REFERENCE["occupation"] if c["name"] == "histories by era")
    frame = histories(case)
    first = frame.groupby("id")["from"].min()
    assert (first > 0).sum() > 10
    assert frame["to"].duplicated().sum() > 100
    following = frame.shift(-1)
    split = (frame["id"] == following["id"]) & (frame["then"] == "none") & (frame["was"] == following["was"])
    assert split.sum() > 10
    assert (frame["then"] == "restarted").sum() > 30
    late = next(group for group in case["groups"] if group["group"] == "late")
    assert 0.1 < late["initial"]["stopped"] < 0.4
