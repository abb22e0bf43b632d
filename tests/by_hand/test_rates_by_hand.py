"""Rates, their ratios and their overdispersion, worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import pytest

import implstats as ist

ROLES = {"events": "n", "exposure": "t", "cohort": "era", "reference": "before"}


def rates(before: list[int], during: list[int], **options: Any) -> Any:
    """Return the comparison of rows that each stand for one unit of exposure."""
    frame = pd.DataFrame({"era": ["before"] * len(before) + ["during"] * len(during), "n": before + during, "t": 1.0})
    if "cluster" in options:
        frame["team"] = options["cluster"]
        options["cluster"] = "team"
    return ist.compare_rates(frame, **ROLES, **options)


def row(found: Any, quantity: str, cohort: str) -> Any:
    return found.tidy().query("quantity == @quantity and cohort == @cohort").iloc[0]


def test_no_event_leaves_one_bound() -> None:
    # P(0 events) = exp(-rate) = .025 at the upper end: rate = -log(.025) = 3.689.
    found = rates([0], [1])
    none = row(found, "rate", "before")
    assert (none["estimate"], none["conf_low"], none["bounds"]) == (0.0, 0.0, "upper")
    assert none["conf_high"] == pytest.approx(-math.log(0.025), rel=1e-12)
    # Of the one event the share of the cohort that had it is at least .025: odds .025 / .975; there is no upper end.
    ratio = row(found, "ratio", "during")
    assert ratio["conf_low"] == pytest.approx(0.025 / 0.975, rel=1e-12)
    assert (ratio["estimate"], ratio["conf_high"], ratio["bounds"]) == (math.inf, math.inf, "lower")


def test_the_other_way_round_the_ratio_has_an_upper_bound() -> None:
    ratio = row(rates([1], [0]), "ratio", "during")
    assert (ratio["estimate"], ratio["conf_low"], ratio["bounds"]) == (0.0, 0.0, "upper")
    assert ratio["conf_high"] == pytest.approx(0.975 / 0.025, rel=1e-12)


def test_without_any_event_there_is_no_ratio() -> None:
    found = rates([0], [0])
    ratio = row(found, "ratio", "during")
    assert math.isnan(ratio["estimate"])
    assert (ratio["conf_low"], ratio["conf_high"], ratio["bounds"]) == (0.0, math.inf, "none")
    assert any("no events in before, during" in line for line in found.header())


def test_one_event_each_by_clopper_and_pearson() -> None:
    # One of two: p^2 = .025 at the upper end of 1 - p, so p runs from 1 - sqrt(.975) to sqrt(.975).
    ratio = row(rates([1], [1]), "ratio", "during")
    p = math.sqrt(0.975)
    assert ratio["conf_high"] == pytest.approx(p / (1 - p), rel=1e-12)
    assert ratio["conf_low"] == pytest.approx((1 - p) / p, rel=1e-12)


def test_dispersion_by_hand() -> None:
    # Rates 3 and 2: squares (1 + 1) / 3 and (1 + 1) / 2 are 5/3, over 4 rows - 2 cohorts.
    found = rates([2, 4], [1, 3])
    assert found.dispersion == pytest.approx(5 / 6, rel=1e-12)
    assert (found.method, set(found.tidy()["method"])) == ("exact", {"exact"})


def test_quasi_poisson_by_hand() -> None:
    # Rates 4 and 8: squares 16/4 x 2 and 36/8 x 2 are 17 over 2 df, 8.5; log ratio log 2, SE sqrt(8.5 (1/8 + 1/16)),
    # t(2, .975) = 4.302653.
    found = rates([0, 8], [2, 14], method="quasi")
    assert found.dispersion == pytest.approx(8.5, rel=1e-12)
    ratio = row(found, "ratio", "during")
    half = 4.302652729911275 * math.sqrt(8.5 * (1 / 8 + 1 / 16))
    assert ratio["estimate"] == pytest.approx(2, rel=1e-9)
    assert ratio["conf_high"] == pytest.approx(2 * math.exp(half), rel=1e-8)
    assert ratio["conf_low"] == pytest.approx(2 * math.exp(-half), rel=1e-8)


def test_a_dispersion_below_one_narrows_nothing() -> None:
    # 5 and 5: all squares are 0; taken as 1, the SE of the log ratio is sqrt(1/10 + 1/10).
    found = rates([5, 5], [5, 5], method="quasi")
    half = 4.302652729911275 * math.sqrt(0.2)
    assert row(found, "ratio", "during")["conf_high"] == pytest.approx(math.exp(half), rel=1e-8)
    assert any(line.endswith("taken as 1") for line in found.header())


def test_clusters_by_hand() -> None:
    # Residuals of teams a, b in the first cohort: 0 - 4, 8 - 4; c, d in the second: 2 - 8, 14 - 8. Their share of the
    # log rates: -4/8, 4/8, -6/16, 6/16; squares sum to .5 and .28125; G/(G-1) x (n-1)/(n-k) = 4/3 x 3/2 = 2.
    found = rates([0, 8], [2, 14], cluster=["a", "b", "c", "d"])
    half = 3.182446305284263 * math.sqrt(2 * (0.5 + 0.28125))
    assert found.method == "robust"
    assert row(found, "ratio", "during")["conf_high"] == pytest.approx(2 * math.exp(half), rel=1e-8)


def test_overdispersion_takes_the_wider_ends() -> None:
    found, exact, quasi = (rates([0, 8], [2, 14], method=m) for m in ("auto", "exact", "quasi"))
    for quantity, cohort in (("rate", "before"), ("rate", "during"), ("ratio", "during")):
        wide, *both = (row(one, quantity, cohort) for one in (found, exact, quasi))
        assert wide["conf_low"] == min(one["conf_low"] for one in both)
        assert wide["conf_high"] == max(one["conf_high"] for one in both)
