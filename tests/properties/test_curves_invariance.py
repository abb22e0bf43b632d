"""What must not depend on how the same spells are written down: order, names, unit of time, repeated rows, cuts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implstats.survival.curves import survival_curves
from implstats.survival.logrank import logrank
from implstats.survival.rmst import rmst

FEW = settings(derandomize=True, deadline=None, max_examples=12)
ROLES: dict[str, Any] = {"duration": "stop", "event": "event"}
WEIGHTS: list[dict[str, Any]] = [
    {},
    {"weights": "wilcoxon"},
    {"weights": "tarone-ware"},
    {"weights": "fleming-harrington", "rho": 1, "gamma": 0.5},
    {"trend": True},
    {"strata": "region"},
]


def spells(seed: int, n: int = 45, ties: float = 2.0) -> pd.DataFrame:
    """Return spells of three groups in two regions, with ties, late entries and whole weights."""
    rng = np.random.default_rng(seed)
    stop = np.ceil(rng.exponential(4, n) * ties) / ties
    return pd.DataFrame(
        {
            "start": np.where(rng.random(n) < 0.5, 0.0, np.floor(stop * rng.uniform(0, 0.99, n) * ties) / ties),
            "stop": stop,
            "event": (rng.random(n) < 0.6).astype(int),
            "group": np.tile(["a", "b", "c"], n // 3),
            "region": rng.choice(["n", "s"], n),
            "weight": rng.integers(1, 4, n),
        }
    ).query("start < stop")


def numbers(result: Any) -> pd.DataFrame:
    return result.tidy().select_dtypes("number")


def same(one: Any, other: Any, rtol: float = 1e-10) -> None:
    pd.testing.assert_frame_equal(numbers(one), numbers(other), rtol=rtol, atol=1e-12)


def all_of(frame: pd.DataFrame, **options: Any) -> list[Any]:
    """Return curves, restricted means and every test of the spells; the tests know no case weights."""
    tau = float(frame.groupby("group")["stop"].max().min())
    made = [
        survival_curves(frame, **ROLES, by="group", **options),
        rmst(frame, **ROLES, by="group", tau=tau, **options),
    ]
    if "weights" not in options:
        made += [logrank(frame, **ROLES, by="group", **options, **more) for more in WEIGHTS]
    return made


@given(seed=st.integers(0, 1000), late=st.booleans())
@FEW
def test_order_of_the_rows(seed: int, late: bool) -> None:
    frame = spells(seed)
    options = {"entry": "start"} if late else {}
    shuffled = frame.sample(frac=1, random_state=seed)
    for one, other in zip(all_of(frame, **options), all_of(shuffled, **options), strict=True):
        same(one, other)


@given(seed=st.integers(0, 1000))
@FEW
def test_names_of_columns_groups_and_rows(seed: int) -> None:
    frame = spells(seed)
    renamed = frame.rename(columns={"stop": "years", "event": "ended", "group": "era"})
    renamed = renamed.assign(era=renamed["era"].map({"a": 10, "b": 20, "c": 30})).set_index("region", drop=False)
    one = survival_curves(frame, **ROLES, by="group")
    other = survival_curves(renamed, duration="years", event="ended", by="era")
    pd.testing.assert_frame_equal(one.tidy().drop(columns="group"), other.tidy().drop(columns="group"))
    assert logrank(renamed, duration="years", event="ended", by="era").statistic == pytest.approx(
        logrank(frame, **ROLES, by="group").statistic, rel=1e-12
    )


@given(seed=st.integers(0, 1000), unit=st.sampled_from([365.25, 1 / 12, 1e-5, 1e4]))
@FEW
def test_unit_of_time(seed: int, unit: float) -> None:
    frame = spells(seed)
    other = frame.assign(stop=frame["stop"] * unit, start=frame["start"] * unit)
    for one, two in zip(all_of(frame, entry="start"), all_of(other, entry="start"), strict=True):
        mine, theirs = one.tidy(), two.tidy()
        if "quantity" in mine:
            scaled = ["time", "estimate", "std_error", "conf_low", "conf_high"]
            mine.loc[mine["quantity"] != "ratio", scaled] *= unit
            mine.loc[mine["quantity"] == "ratio", "time"] *= unit
        elif "time" in mine:
            mine["time"] *= unit
        pd.testing.assert_frame_equal(mine, theirs, rtol=1e-9, atol=1e-12)
    quantiles = (survival_curves(f, **ROLES).quantile([0.25, 0.5]).iloc[:, 2:] for f in (frame, other))
    np.testing.assert_allclose(next(quantiles) * unit, next(quantiles), rtol=1e-9)


@given(seed=st.integers(0, 1000), late=st.booleans())
@FEW
def test_repeated_rows_are_whole_weights(seed: int, late: bool) -> None:
    frame = spells(seed)
    options = {"entry": "start"} if late else {}
    again = frame.loc[frame.index.repeat(frame["weight"])].reset_index(drop=True)
    for one, other in zip(all_of(frame, weights="weight", **options), all_of(again, **options), strict=False):
        same(one, other)


@given(seed=st.integers(0, 1000))
@FEW
def test_weights_in_another_unit_move_no_share_and_with_fractions_no_error(seed: int) -> None:
    # As numbers of rows, weights say how much was seen; as fractions, only how much each row counts beside the others.
    frame = spells(seed)
    frame = frame.assign(part=frame["weight"] / 7)
    other = frame.assign(part=frame["part"] * 0.3)
    for make in (survival_curves, rmst):
        one, two = (make(f, **ROLES, by="group", weights="part").tidy() for f in (frame, other))
        counted = [c for c in ("at_risk", "events", "censored") if c in one]
        pd.testing.assert_frame_equal(one.drop(columns=counted), two.drop(columns=counted), rtol=1e-9)


@given(seed=st.integers(0, 1000), cut=st.sampled_from([1.0, 2.5, 4.0]))
@FEW
def test_spells_cut_in_two_are_the_same_spells(seed: int, cut: float) -> None:
    frame = spells(seed)
    inside = (frame["start"] < cut) & (cut < frame["stop"])
    first = frame[inside].assign(stop=cut, event=0)
    second = frame[inside].assign(start=cut)
    pieces = pd.concat([frame[~inside], first, second], ignore_index=True)
    whole, cut_up = (all_of(f, entry="start") for f in (frame, pieces))
    times = sorted(frame["stop"].unique())
    one, other = (found[0].at(times).drop(columns="at_risk") for found in (whole, cut_up))
    pd.testing.assert_frame_equal(one, other, rtol=1e-10)
    for a, b in zip(whole[1:], cut_up[1:], strict=True):
        same(a, b)


@given(seed=st.integers(0, 1000))
@FEW
def test_a_year_added_before_anyone_can_stop_moves_times_only(seed: int) -> None:
    # Everyone is at risk for a year longer, and nobody stops in it: shares and tests stay, means are a year more.
    frame = spells(seed)
    later = frame.assign(stop=frame["stop"] + 1)
    one, other = survival_curves(frame, **ROLES, by="group"), survival_curves(later, **ROLES, by="group")
    pd.testing.assert_frame_equal(one.tidy().drop(columns="time"), other.tidy().drop(columns="time"))
    for more in WEIGHTS:
        same(logrank(frame, **ROLES, by="group", **more), logrank(later, **ROLES, by="group", **more))
    tau = float(frame.groupby("group")["stop"].max().min())
    means, more_means = one.rmst(tau).tidy(), other.rmst(tau + 1).tidy()
    np.testing.assert_allclose(means["estimate"][:3] + 1, more_means["estimate"][:3], rtol=1e-12)
    np.testing.assert_allclose(means["std_error"][:5], more_means["std_error"][:5], rtol=1e-10)


@given(seed=st.integers(0, 1000))
@FEW
def test_without_censoring_survival_is_the_share_that_is_left(seed: int) -> None:
    frame = spells(seed).assign(event=1)
    table = survival_curves(frame, **ROLES).tidy()
    left = np.array([(frame["stop"] > t).mean() for t in table["time"]])
    np.testing.assert_allclose(table["estimate"], left, rtol=1e-12, atol=1e-15)
    inner = left > 0
    binomial = np.sqrt(left * (1 - left) / len(frame))
    np.testing.assert_allclose(table["std_error"][inner], binomial[inner], rtol=1e-10)
