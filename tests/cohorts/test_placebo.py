"""False dates of a change: who is compared there, what is found where nothing changed, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError

ROLES: dict[str, Any] = {
    "start": "admitted",
    "end": "ended",
    "change": "2010-01-01",
    "outcome": "y",
    "time": "month",
    "patient": "patient",
    "at": 12,
    "fit": {"shape": "linear"},
}
FALSE = ["2007-01-01", "2008-01-01"]


def made(n: int = 90, seed: int = 2, effect: float = 0.08) -> pd.DataFrame:
    """Return a year's treatment of patients admitted from 2005 to 2011; `effect` comes off the monthly fall in 2010."""
    rng = np.random.default_rng(seed)
    admitted = pd.Timestamp("2005-01-01") + pd.to_timedelta(np.arange(n) * (2500 // n), unit="D")
    change = (pd.Timestamp("2010-01-01") - admitted).days.to_numpy() / 30.4375
    t = np.tile([0.0, 3, 6, 9, 12], (n, 1))
    y = 3 - (0.12 + rng.normal(0, 0.02, (n, 1))) * t + rng.normal(0, 0.4, (n, 1)) + rng.normal(0, 0.2, t.shape)
    y += effect * np.maximum(t - np.maximum(change, 0)[:, None], 0)
    frame = pd.DataFrame({"patient": np.repeat(np.arange(n), 5), "month": t.ravel(), "y": y.ravel()})
    frame["admitted"] = np.repeat(admitted, 5)
    frame["ended"] = frame["admitted"] + pd.to_timedelta(365, unit="D")
    return frame


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return made()


@pytest.fixture(scope="module")
def found(frame: pd.DataFrame) -> Any:
    return ist.placebo_changes(frame, false_changes=FALSE, straddlers="exclude", **ROLES)


def test_the_true_date_is_the_comparison_itself(frame: pd.DataFrame, found: Any) -> None:
    cohorts = ist.assign_cohorts(
        frame, start="admitted", end="ended", change="2010-01-01", straddlers="exclude", patient="patient"
    ).cohort
    fit = {"outcome": "y", "time": "month", "patient": "patient", "shape": "linear", "reference": "before"}
    result = ist.fit_growth(frame.assign(era=cohorts)[cohorts.notna()], cohort="era", **fit)
    row = found.tidy().iloc[0]
    expected = result.contrasts([12]).tidy().query("quantity == 'change'").iloc[0]
    for column in ("estimate", "std_error", "df", "conf_low", "conf_high"):
        assert row[column] == pytest.approx(expected[column])
    assert (row["change_date"], row["placebo"]) == ("2010-01-01", False)
    assert (row["n"], row["n_reference"]) == (result.sample.patients["during"], result.sample.patients["before"])


def test_false_dates_rest_on_patients_treated_before_the_change(frame: pd.DataFrame, found: Any) -> None:
    early = frame[frame["ended"] <= "2010-01-01"]
    for day, row in zip(FALSE, found.tidy().iloc[1:].to_dict("records"), strict=True):
        one = early.groupby("patient").first()
        assert row["placebo"]
        assert row["n"] == (one["admitted"] >= day).sum()
        assert row["n_reference"] == (one["ended"] <= day).sum()
    # What was treated after the change cannot matter to them.
    spoilt = frame.assign(y=frame["y"].where(frame["ended"] <= "2010-01-01", frame["y"] + frame["month"] ** 2))
    again = ist.placebo_changes(spoilt, false_changes=FALSE, straddlers="exclude", **ROLES).tidy()
    pd.testing.assert_frame_equal(again.iloc[1:], found.tidy().iloc[1:])
    assert again["estimate"].iloc[0] != found.tidy()["estimate"].iloc[0]


def test_an_effect_shows_at_the_true_date_and_not_at_false_ones(found: Any) -> None:
    table = found.tidy()
    # 12 months at .08.
    assert table["conf_low"].iloc[0] < 0.96 < table["conf_high"].iloc[0]
    assert table["conf_low"].iloc[0] > 0
    assert (table["conf_low"].iloc[1:] < 0).all()
    assert (table["conf_high"].iloc[1:] > 0).all()
    text = " ".join(found.header())
    assert "at 2 false ones, where 0 of 2 intervals exclude zero" in text
    assert "leave open what else came at the true date" in text


@pytest.mark.parametrize("rule", ["third", "by_start"])
def test_other_rules_compare_the_same_cohorts(frame: pd.DataFrame, rule: str) -> None:
    table = ist.placebo_changes(frame, false_changes=FALSE, straddlers=rule, **ROLES).tidy()
    assert len(table) == 3
    assert table["quantity"].tolist() == ["change"] * 3
    # Across a date within the years there is a year's patients, 13 or 14 of them.
    counts = table[["n", "n_reference"]].sum(axis=1)
    everybody = [90, *[int((made().groupby("patient").first()["ended"] <= "2010-01-01").sum())] * 2]
    assert ((everybody - counts).between(13, 14) if rule == "third" else everybody == counts).all()


def test_exposure_gives_level_and_slope(frame: pd.DataFrame) -> None:
    found = ist.placebo_changes(frame, false_changes=FALSE, straddlers="exposure", **ROLES)
    table = found.tidy()
    assert table["quantity"].tolist() == ["level", "slope"] * 3
    slope = table[table["quantity"] == "slope"]
    assert slope["conf_low"].iloc[0] < 0.08 < slope["conf_high"].iloc[0]
    assert ((slope["conf_low"] < 0) & (slope["conf_high"] > 0)).tolist() == [False, True, True]
    assert "slope: 0.0" in " ".join(found.header())


def test_a_date_without_an_answer_says_why(frame: pd.DataFrame) -> None:
    found = ist.placebo_changes(frame, false_changes=["2001-01-01", *FALSE], straddlers="exclude", **ROLES)
    row = found.tidy().iloc[1]
    assert np.isnan(row["estimate"])
    assert row["error"] == "cohort='cohort': one cohort only ('during'); a comparison takes two"
    assert "no estimate at 2001-01-01: see the column error" in found.header()
    assert "one cohort only" in repr(found)


def test_sites_can_have_changes_of_their_own_and_labels_can_repeat(frame: pd.DataFrame) -> None:
    dates = np.where(frame["patient"] % 2, "2010-01-01", "2009-07-01")
    sites = frame.assign(date=dates).set_index(np.zeros(len(frame), dtype=int))
    roles = {"straddlers": "third"} | ROLES | {"change": "date"}
    table = ist.placebo_changes(sites, false_changes=FALSE, **roles).tidy()
    assert table["change_date"].tolist() == ["2009-07-01 to 2010-01-01", *FALSE]
    assert table["placebo"].tolist() == [False, True, True]
    assert (table["error"] == "").all()
    with pytest.raises(DataError, match=r"not before the true change, 2009-07-01; give an earlier day$"):
        ist.placebo_changes(sites, false_changes=["2009-08-01"], **roles)


def test_workers_do_not_matter(frame: pd.DataFrame, found: Any) -> None:
    both = ist.placebo_changes(frame, false_changes=FALSE, straddlers="exclude", workers=2, **ROLES)
    pd.testing.assert_frame_equal(both.tidy(), found.tidy())


def test_dates_come_in_order_and_once(frame: pd.DataFrame, found: Any) -> None:
    again = ist.placebo_changes(frame, false_changes=[*FALSE[::-1], FALSE[0]], straddlers="exclude", **ROLES)
    pd.testing.assert_frame_equal(again.tidy(), found.tidy())


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "not before": (
        {"false_changes": ["2010-06-01"]},
        "false_changes='2010-06-01': not before the true change, 2010-01-01; give an earlier day",
    ),
    "no date": ({"false_changes": ["1.1.2007"]}, "false_changes='1.1.2007': not a date as YYYY-MM-DD; write dates as"),
    "no list": (
        {"false_changes": "2007-01-01"},
        "false_changes='2007-01-01': not a list of dates; write false_changes=",
    ),
    "none": ({"false_changes": []}, "false_changes=[]: not a list of dates"),
    "cohort": ({"fit": {"cohort": "era"}}, "fit['cohort']: is made or said otherwise; leave it out"),
    "word": ({"fit": {"adjusts": "age"}}, "fit['adjusts']: no argument of fit_growth; did you mean 'adjust'?"),
    "rule": ({"straddlers": "all"}, "straddlers='all': unknown option"),
    "nobody before": (
        {"change": "2005-01-01", "false_changes": ["2004-01-01"]},
        "change='2005-01-01': nobody's treatment was over by then; there is nobody to try false dates on",
    ),
    "no such column": ({"end": "left"}, "end='left': no such column"),
    "no dates": ({"false_changes": None}, "false_changes=None: not a list of dates"),
    "no mapping": ({"fit": ["shape"]}, "fit=['shape']: not a mapping of arguments; write fit={'shape': 'linear'}"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason(frame: pd.DataFrame, case: str) -> None:
    options, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        ist.placebo_changes(frame, **({"false_changes": FALSE, "straddlers": "exclude"} | ROLES | options))
    assert message in str(caught.value)


def test_a_comparison_that_cannot_be_made_at_the_true_date_is_refused(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"^outcome='z': no such column"):
        ist.placebo_changes(frame, false_changes=FALSE, straddlers="exclude", **(ROLES | {"outcome": "z"}))


def test_false_dates_may_be_an_index_of_dates(frame: pd.DataFrame, found: Any) -> None:
    again = ist.placebo_changes(frame, false_changes=pd.to_datetime(FALSE), straddlers="exclude", **ROLES)
    pd.testing.assert_frame_equal(again.tidy(), found.tidy())
