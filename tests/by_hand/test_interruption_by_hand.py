"""A change in treatment that came to all at the same visit: level and slope are contrasts of four visits' means."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import implstats as ist

# Four patients, visits at 0, 1, 2, 3, the change at 2. The visits' means are 10, 8, 7, 3; patients lie -3, -1, 1, 3 off
# them, and around that is a rest that sums to zero over the patients of a visit and over the visits of a patient.
MEANS = np.array([10.0, 8.0, 7.0, 3.0])
LEVELS = np.array([-3.0, -1.0, 1.0, 3.0])
REST = np.array([[1.0, -1, 1, -1], [-1, 1, 0, 0], [0, 0, -1, 1], [0, 0, 0, 0]])
FRAME = pd.DataFrame(
    {
        "patient": np.repeat(list("abcd"), 4),
        "visit": np.tile([0, 1, 2, 3], 4),
        "y": (MEANS + LEVELS[:, None] + REST).ravel(),
        "change": 2.0,
    }
)
ROLES = {"outcome": "y", "time": "visit", "patient": "patient", "interruption": "change", "random": "intercept"}


def found(**options: object) -> ist.GrowthResult:
    return ist.fit_growth(FRAME, shape="linear", **(ROLES | options))


def test_level_and_slope_are_contrasts_of_the_visits() -> None:
    # With one design for every patient the fit goes through the four means. The line of the first two falls by 2 a
    # visit and is at 6 at visit 2, where the mean is 7: level 1. From there on the mean falls by 4: slope -4 - (-2).
    table = found().interruption().tidy().set_index("quantity")
    assert table["estimate"].to_dict() == pytest.approx({"level": 1.0, "slope": -2.0})
    # s2 = sum of squares of the rest / ((4 - 1)(4 - 1)) = (4 + 2 + 2) / 9 on 9 df. The contrasts are 1, -2, 1, 0 and
    # 1, -1, -1, 1 of the visits: variances 6 s2 / 4 and 4 s2 / 4, in which patients' levels cancel.
    assert table["std_error"].to_dict() == pytest.approx({"level": np.sqrt(4 / 3), "slope": np.sqrt(8 / 9)}, rel=1e-6)
    assert table["df"].tolist() == pytest.approx([9, 9], rel=1e-5)


def test_means_go_on_without_the_change_and_turn_with_it() -> None:
    table = found().interrupted_means([0, 1, 2, 3], change=2).tidy().set_index(["quantity", "time"])["estimate"]
    assert table["without"].tolist() == pytest.approx([10, 8, 6, 4])
    assert table["with"].tolist() == pytest.approx([10, 8, 7, 3])
    # Had it come at visit 1: 1 more there, then -2 a visit: 8 + 1, 6 + 1 - 2, 4 + 1 - 4.
    earlier = found().interrupted_means([1, 2, 3], change=1).tidy().query("quantity == 'with'")
    assert earlier["estimate"].tolist() == pytest.approx([9, 5, 1])
    # Nobody was seen more than one visit after the change.
    assert earlier["extrapolated"].tolist() == [False, False, True]


def test_those_who_never_met_it_and_those_treated_wholly_after_it() -> None:
    # Patients e to h go on as a to d began; i to l were treated wholly after the change: 1 higher, 2 steeper.
    straight = MEANS[0] - 2 * np.arange(4) + LEVELS[:, None] + REST
    after = straight + 1 - 2 * np.arange(4)
    rows = [FRAME.assign(era="before")]
    for who, change, era, y in (("efgh", np.nan, "before", straight), ("ijkl", -1.0, "during", after)):
        rows.append(FRAME.assign(patient=np.repeat(list(who), 4), y=y.ravel(), change=change, era=era))
    frame = pd.concat(rows, ignore_index=True)
    # On one course all agree with level 1 and slope -2, the slope of i to l counted from their start.
    one = ist.fit_growth(frame, shape="linear", **ROLES)
    assert one.interruption().tidy()["estimate"].tolist() == pytest.approx([1, -2])
    # Beside cohorts i to l say nothing of it: their start, now 1 + 2 higher, and their slope are the cohort's.
    frame.loc[frame["era"] == "during", "y"] += 2.0
    both = ist.fit_growth(frame, shape="linear", cohort="era", reference="before", **ROLES)
    assert both.interruption().tidy()["estimate"].tolist() == pytest.approx([1, -2])
    assert both.params["era[during]"] == pytest.approx(3)
    assert both.params["visit:era[during]"] == pytest.approx(-2)
