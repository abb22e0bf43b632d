"""Reliable change worked out by hand, and held to the numbers of the papers it is from."""

from __future__ import annotations

import math

import pandas as pd
import pytest

import implstats as ist
from implstats.change import cut_off

ROLES = {"outcome": "score", "time": "week", "patient": "id", "cohort": "era", "reference": "before"}


def visits(pairs: dict[str, list[tuple[float, float]]]) -> pd.DataFrame:
    """Return two visits of every patient; `pairs` has start and end of each, by cohort."""
    rows = []
    for era, values in pairs.items():
        for k, (start, end) in enumerate(values):
            rows += [(f"{era} {k}", era, 0, start), (f"{era} {k}", era, 12, end)]
    return pd.DataFrame(rows, columns=["id", "era", "week", "score"])


def test_the_example_of_jacobson_and_truax() -> None:
    # Their Table 1: SD 7.5 before treatment, reliability .80; a client goes from 32.5 to 47.5. SE = 7.5 sqrt(.2) =
    # 3.35, S_diff = 3.35 sqrt(2) = 4.74, RC = 15 / 4.74 = 3.16. With means 40 and 60 and both SDs 7.5, c = 50: the
    # client is reliably better, and has not passed the cut-off.
    frame = visits({"before": [(32.5, 47.5), (40, 39)], "during": [(40, 58), (45, 44)]})
    norms = {"dysfunctional": (40, 7.5), "functional": (60, 7.5)}
    found = ist.reliable_change(frame, **ROLES, end=12, better="higher", reliability=0.80, sd=7.5, **norms)
    assert found.std_error == pytest.approx(7.5 * math.sqrt(2 * 0.2), rel=1e-12)
    assert round(found.std_error, 2) == 4.74
    assert found.cutoff == 50
    client = found.patients().iloc[0]
    assert round(client["rci"], 2) == 3.16
    # 40 -> 58: 18 / 4.74 = 3.79 and from below 50 to above it.
    assert found.patients()["category"].tolist() == ["improved", "unchanged", "recovered", "unchanged"]


def test_the_cut_off_is_as_many_sds_from_either_mean() -> None:
    # (5 x 40 + 10 x 70) / (5 + 10) = 60: one patients' SD (20 / 10 = 2) above 40, and 10 / 5 = 2 below 70.
    assert cut_off((40, 10), (70, 5)) == 60


def test_the_pooled_sd_by_hand() -> None:
    # Starts 10, 14 (sum of squares 8) and 20, 22, 24 (8): 16 over 3 df; r .75 gives SD sqrt(16/3) x sqrt(.5).
    frame = visits({"before": [(10, 9), (14, 14)], "during": [(20, 20), (22, 21), (24, 23)]})
    found = ist.reliable_change(frame, **ROLES, end=12, better="lower", reliability=0.75)
    assert found.sd == pytest.approx(math.sqrt(16 / 3), rel=1e-12)
    assert found.std_error == pytest.approx(math.sqrt(16 / 3) * math.sqrt(0.5), rel=1e-12)
    alone = ist.reliable_change(frame, **ROLES, end=12, better="lower", reliability=0.75, sd="reference")
    assert alone.sd == pytest.approx(math.sqrt(8), rel=1e-12)


def test_shares_have_wilsons_intervals_and_differences_newcombes() -> None:
    # Newcombe 1998 (Statistics in Medicine 17, 873), Table II, comparison (a): 56/70 - 48/80 = .2, method 10 gives
    # .0524 to .3339. Wilson's interval of 56/70: (56 + z^2/2 +- z sqrt(56 x 14 / 70 + z^2/4)) / (70 + z^2).
    yes, no = (10.0, 0.0), (10.0, 10.0)
    frame = visits({"before": [yes] * 48 + [no] * 32, "during": [yes] * 56 + [no] * 14})
    found = ist.reliable_change(frame, **ROLES, end=12, better="lower", reliability=0.8, sd=2.0).tidy()
    improved = found[found["category"] == "improved"].set_index(["quantity", "cohort"])
    z = 1.959963984540054
    half = z * math.sqrt(56 * 14 / 70 + z**2 / 4)
    share = improved.loc[("share", "during")]
    assert share["conf_low"] == pytest.approx((56 + z**2 / 2 - half) / (70 + z**2), rel=1e-12)
    assert share["conf_high"] == pytest.approx((56 + z**2 / 2 + half) / (70 + z**2), rel=1e-12)
    gap = improved.loc[("difference", "during")]
    assert gap["estimate"] == pytest.approx(0.2)
    assert [round(gap["conf_low"], 4), round(gap["conf_high"], 4)] == [0.0524, 0.3339]
