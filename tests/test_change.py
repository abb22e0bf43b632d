"""Reliable change: who counts, who is counted as missing, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError

ROLES: dict[str, Any] = {"outcome": "bsi", "time": "month", "patient": "patient", "cohort": "cohort"}
ROLES |= {"reference": "before", "end": 36, "better": "lower", "reliability": 0.9}


def asked(frame: pd.DataFrame, **options: Any) -> Any:
    return ist.reliable_change(frame, **(ROLES | options))


def test_shares_are_of_those_seen_at_both_times(visits: pd.DataFrame) -> None:
    found = asked(visits, cutoff=0.8)
    wide = visits.pivot_table(index="patient", columns="month", values="bsi", dropna=False)
    cohort = visits.drop_duplicates("patient").set_index("patient")["cohort"]
    shares = found.tidy().query("quantity == 'share'")
    for name in ("before", "during"):
        own = wide[cohort.reindex(wide.index) == name]
        part = shares[shares["cohort"] == name]
        assert set(part["patients"]) == {int(own[[0, 36]].notna().all(axis=1).sum())}
        assert set(part["missing"]) == {int((own[0].notna() & own[36].isna()).sum())}
        assert part["n"].sum() == part["patients"].iloc[0]
        assert part["estimate"].sum() == pytest.approx(1)
        change = (own[0] - own[36]).dropna() / found.std_error
        assert part.set_index("category")["n"]["deteriorated"] == (change < -1.96).sum()
        assert part["n"].iloc[:2].sum() == (change > 1.96).sum()
    assert "14 more had no end" in found.header()[3]


def test_the_direction_turns_improvement_into_deterioration(visits: pd.DataFrame) -> None:
    lower, higher = asked(visits).patients(), asked(visits, better="higher").patients()
    np.testing.assert_allclose(lower["rci"], -higher["rci"])
    swap = {"improved": "deteriorated", "deteriorated": "improved"}
    assert lower["category"].tolist() == [swap.get(c, c) for c in higher["category"]]


def test_rows_and_reference_do_not_matter_to_shares(visits: pd.DataFrame) -> None:
    found = asked(visits, cutoff=0.8).tidy().set_index(["quantity", "cohort", "category"])
    mixed = asked(visits.sample(frac=1, random_state=1), cutoff=0.8, reference="during").tidy()
    mixed = mixed.set_index(["quantity", "cohort", "category"])
    shares = found.loc["share"]
    pd.testing.assert_frame_equal(shares, mixed.loc["share"].reindex(shares.index))
    gap, other = found.loc["difference"].loc["during"], mixed.loc["difference"].loc["before"]
    np.testing.assert_allclose(gap["estimate"], -other["estimate"])
    np.testing.assert_allclose(gap["conf_low"], -other["conf_high"])


def test_who_began_on_the_healthy_side_cannot_recover() -> None:
    frame = pd.DataFrame(
        {
            "patient": np.repeat(range(4), 2),
            "cohort": np.repeat(["before", "before", "during", "during"], 2),
            "month": [0, 36] * 4,
            "bsi": [0.7, 0.1, 2.0, 0.5, 2.0, 0.8, 2.0, 0.3],
        }
    )
    found = asked(frame, sd=0.5, cutoff=0.8)
    # The third ends at the cut-off, not beyond it.
    assert found.patients()["category"].tolist() == ["improved", "recovered", "improved", "recovered"]
    assert "1 were below it at the start, and could not recover" in found.header()[2]


def test_without_a_cut_off_nobody_recovers(visits: pd.DataFrame) -> None:
    found = asked(visits)
    assert set(found.tidy()["category"]) == {"improved", "unchanged", "deteriorated"}
    assert found.header()[2].startswith("no cut-off is known")


def test_an_end_without_a_start_counts_nowhere(visits: pd.DataFrame) -> None:
    gone = visits[~((visits["patient"] == 1) & (visits["month"] == 0))]
    found, whole = asked(gone, sd=0.5), asked(visits, sd=0.5)
    assert found.glance()["patients"].iloc[0] == whole.glance()["patients"].iloc[0] - 1
    assert "1 patients have an end and no start, and count nowhere" in found.header()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"end": 30}, "end=30: no row at this time of 'month'; there are 0, 18, 36"),
        ({"end": 0}, "end=0: is the start; name a later time"),
        ({"better": "up"}, "better='up': unknown option; there are 'lower', 'higher'"),
        (
            {"reliability": 1.0},
            "reliability=1: not below 1; a share between 0 and 1, from the instrument's manual",
        ),
        ({"sd": "own"}, "sd='own': unknown option; there are 'baseline', 'reference'"),
        ({"sd": 0}, "sd=0: not above 0"),
        (
            {"cutoff": 1.0, "functional": (0.3, 0.3)},
            "cutoff=1: functional= gives another; leave one of them out",
        ),
        (
            {"dysfunctional": (2, 0.5)},
            "dysfunctional=(2, 0.5): a cut-off takes two populations; give functional= too",
        ),
        ({"functional": 0.3}, "functional=0.3: not a mean and an SD; write functional=(0.3, 0.4)"),
        (
            {"functional": (3.0, 0.3), "dysfunctional": (2, 0.5)},
            "functional=(3, 0.3): its mean is not on the better side of the patients' mean 2, and lower is better; "
            "check better=, or the norm's scale",
        ),
        ({"outcome": "bsj", "level": 2}, "outcome='bsj': no such column; did you mean 'bsi'?\nlevel=2: not between "),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_cannot_be_is_refused(visits: pd.DataFrame, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        asked(visits, **options)
    assert str(caught.value).startswith(message)


def test_a_cohort_that_nobody_followed_is_refused(visits: pd.DataFrame) -> None:
    gone = visits[(visits["cohort"] == "before") | (visits["month"] < 36)]
    with pytest.raises(DataError, match=r"^cohort='cohort': nobody of 'during' was seen at start and end$"):
        asked(gone)


def test_an_outcome_alike_for_all_at_the_start_has_no_sd() -> None:
    frame = pd.DataFrame({"patient": [1, 1, 2, 2], "cohort": ["before"] * 2 + ["during"] * 2, "month": [0, 36] * 2})
    with pytest.raises(DataError, match=r"^sd='baseline': the outcome does not vary at the start"):
        asked(frame.assign(bsi=[2.0, 1.0, 2.0, 1.5]))
