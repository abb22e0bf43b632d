"""Cohorts from dates: every rule by hand, whatever the dates are written in, and the exact words of refusals."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError

CHANGE = "2010-01-01"
ROLES: dict[str, Any] = {"start": "admitted", "end": "ended", "change": CHANGE}
# Over on the day of the change; across it, 90 of 360 days after it; started on that day; a day long, and on that day.
FRAME = pd.DataFrame(
    {
        "admitted": ["2009-01-01", "2009-04-06", "2010-01-01", "2009-12-31", "2010-01-01"],
        "ended": ["2010-01-01", "2010-04-01", "2010-12-31", "2009-12-31", "2010-01-01"],
    },
    index=["over", "across", "after", "brief", "brief after"],
)
COHORTS = {
    "exclude": ["before", None, "during", "before", "during"],
    "third": ["before", "straddling", "during", "before", "during"],
    "by_start": ["before", "before", "during", "before", "during"],
}


@pytest.mark.parametrize("rule", COHORTS)
def test_every_rule_by_hand(rule: str) -> None:
    found = ist.assign_cohorts(FRAME, straddlers=rule, **ROLES)
    assert found.cohort.astype(object).where(found.cohort.notna(), None).tolist() == COHORTS[rule]
    assert found.cohort.index.equals(FRAME.index)
    # Categories stand in the order of time.
    assert list(found.cohort.cat.categories) == [
        c for c in ("before", "straddling", "during") if c in set(COHORTS[rule])
    ]


@pytest.mark.parametrize("rule", [*COHORTS, "exposure"])
def test_exposure_and_change_time_by_hand(rule: str) -> None:
    found = ist.assign_cohorts(FRAME, straddlers=rule, unit="days", **ROLES)
    assert found.exposure.tolist() == [0, 0.25, 1, 0, 1]
    # Days from the start to the change: 270 of the one across it; none where treatment was over.
    assert found.change_time.tolist()[1:3] == [270, 0]
    assert found.change_time.isna().tolist() == [True, False, False, True, False]
    table = found.tidy().set_index("treatment")
    assert table["patients"].tolist() == [2, 1, 2]
    assert table["exposure"].tolist() == [0, 0.25, 1]
    assert found.glance()["straddlers"].iloc[0] == 1


def test_exposure_makes_no_cohorts() -> None:
    found = ist.assign_cohorts(FRAME, straddlers="exposure", **ROLES)
    assert found.tidy()["cohort"].tolist() == ["", "", ""]
    with pytest.raises(DataError, match=r"^straddlers='exposure': nobody is in a cohort; put \.change_time into"):
        _ = found.cohort


WRITTEN = {
    "text": lambda d: d,
    "text with a time of day": lambda d: d + "T23:59:59",
    "dates": lambda d: d.map(datetime.date.fromisoformat),
    "datetimes": pd.to_datetime,
    "timestamps with a time of day": lambda d: pd.to_datetime(d) + pd.Timedelta("15h"),
    "timestamps and text": lambda d: pd.Series([pd.Timestamp(d.iloc[0]), *d.iloc[1:]], d.index, dtype=object),
}


@pytest.mark.parametrize("kind", WRITTEN)
def test_dates_can_be_written_in_many_ways(kind: str) -> None:
    frame = FRAME.apply(WRITTEN[kind])
    for change in (CHANGE, datetime.date(2010, 1, 1), pd.Timestamp("2010-01-01 08:00"), np.datetime64("2010-01-01")):
        found = ist.assign_cohorts(frame, **(ROLES | {"change": change}), straddlers="third")
        assert found.cohort.tolist() == COHORTS["third"]


def visits() -> pd.DataFrame:
    """Return three visits each of three patients: before, across and after."""
    rows = FRAME.iloc[:3].reset_index(drop=True).assign(patient=["a", "b", "c"])
    return rows.loc[rows.index.repeat(3)].assign(month=[0, 6, 12] * 3).reset_index(drop=True)


def test_rows_of_patients_and_the_time_since_the_change() -> None:
    frame = visits()
    found = ist.assign_cohorts(frame, straddlers="third", patient="patient", time="month", **ROLES)
    assert found.tidy()[["patients", "rows"]].to_numpy().tolist() == [[1, 3]] * 3
    assert found.cohort.tolist() == ["before"] * 3 + ["straddling"] * 3 + ["during"] * 3
    since = 270 / 30.4375
    expected = [np.nan] * 3 + [0 - since, 6 - since, 12 - since] + [0, 6, 12]
    np.testing.assert_allclose(found.since_change, expected)
    np.testing.assert_allclose(found.change_time.iloc[3:6], since)
    dated = frame.assign(seen=pd.to_datetime(frame["admitted"]) + pd.to_timedelta(frame["month"] * 30, unit="D"))
    days = ist.assign_cohorts(dated, straddlers="third", patient="patient", time="seen", unit="days", **ROLES)
    assert days.since_change.tolist()[3:] == [-270, -90, 90, 0, 180, 360]
    with pytest.raises(DataError, match=r"^time=None: no column says when each row was"):
        _ = ist.assign_cohorts(frame, straddlers="third", patient="patient", **ROLES).since_change


def test_a_missing_end_goes_on_until_the_stated_end_of_the_study() -> None:
    frame = FRAME.iloc[:3].assign(ended=["2010-01-01", None, None])
    with pytest.raises(DataError) as caught:
        ist.assign_cohorts(frame, straddlers="exclude", **ROLES)
    assert str(caught.value) == (
        "end='ended': missing in rows 'across', 'after'; say study_end=, the last day on which it is known who was "
        "still in treatment"
    )
    found = ist.assign_cohorts(frame, straddlers="exclude", study_end="2010-04-01", **ROLES)
    assert found.exposure.tolist() == [0, 0.25, 1]
    assert "2 without an end: taken as in treatment until the end of the study" in found.header()
    assert found.patients()["running"].tolist() == [False, True, True]
    with pytest.raises(DataError) as caught:
        ist.assign_cohorts(frame, straddlers="exclude", study_end="2009-12-31", **ROLES)
    assert str(caught.value) == (
        "study_end='2009-12-31': before admitted in row 'after', which have no end; give a later day"
    )
    # Those who are known to have ended do not care when the study did.
    known = ist.assign_cohorts(FRAME, straddlers="exclude", study_end="2009-06-01", **ROLES)
    assert known.exposure.tolist() == [0, 0.25, 1, 0, 1]


def test_without_ends_there_is_the_start_alone() -> None:
    found = ist.assign_cohorts(FRAME, start="admitted", change=CHANGE, straddlers="by_start")
    assert found.cohort.tolist() == COHORTS["by_start"]
    assert found.exposure.isna().tolist() == [True, True, False, True, False]
    assert "end=None: who straddles the change is not known; all are taken by their start" in found.header()


def test_sites_can_have_changes_of_their_own() -> None:
    frame = FRAME.iloc[:3].assign(date=["2009-06-01", "2010-06-01", "2010-06-01"])
    found = ist.assign_cohorts(frame, **(ROLES | {"change": "date"}), straddlers="third")
    assert found.cohort.tolist() == ["straddling", "before", "straddling"]
    assert found.header()[0].startswith("Cohorts by the change on 2009-06-01 to 2010-06-01: 2 of 3 patients")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("2001-01-01", "the change lies before every treatment (the first began on 2009-01-01)"),
        ("2019-01-01", "the change lies after every treatment (the last ended on 2010-12-31)"),
    ],
)
def test_a_change_outside_what_was_observed_is_said(change: str, words: str) -> None:
    found = ist.assign_cohorts(FRAME, **(ROLES | {"change": change}), straddlers="exclude")
    assert words in found.header()
    assert found.cohort.unique().tolist() in (["before"], ["during"])


def test_cohorts_have_the_names_that_they_are_given() -> None:
    found = ist.assign_cohorts(FRAME, straddlers="third", names=("PRE", "REORG"), **ROLES)
    assert found.cohort.tolist()[:3] == ["PRE", "straddling", "REORG"]
    found = ist.assign_cohorts(FRAME, straddlers="third", names=(0, 2, 1), **ROLES)
    assert found.cohort.tolist()[:3] == [0, 1, 2]
    assert "a cohort of their own, 1;" in found.header()[1]


def test_the_frame_is_left_alone_and_the_result_knows_nothing_of_it() -> None:
    frame = visits()
    kept = frame.copy()
    found = ist.assign_cohorts(frame, straddlers="third", patient="patient", time="month", **ROLES)
    text = repr(found)
    pd.testing.assert_frame_equal(frame, kept)
    frame["admitted"] = "2020-01-01"
    for mine in (found.since_change, found.cohort, found.exposure, found.change_time):
        mine.iloc[0] = np.nan
    assert repr(found) == text
    assert found.cohort.notna().all()


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no rule": ({}, {"straddlers": None}, "straddlers=None: unknown option; there are 'exclude', 'third', 'by_start',"),
    "another rule": ({}, {"straddlers": "excluded"}, "straddlers='excluded': unknown option; did you mean 'exclude'?"),
    "unparsable": (
        {"admitted": ["2009-01-01", "6.4.2009", "2010-01-01", "31/12/2009", "2010-01-01"]},
        {},
        "start='admitted': '6.4.2009' is not a date as YYYY-MM-DD, in rows 'across', 'brief'; write dates as",
    ),
    "no such day": (
        {"ended": ["2010-02-30", *FRAME["ended"].iloc[1:]]},
        {},
        "end='ended': '2010-02-30' is not a date as YYYY-MM-DD, in row 'over'",
    ),
    "never started": (
        {"admitted": [None, *FRAME["admitted"].iloc[1:]]},
        {},
        "start='admitted': missing in row 'over'; give the date; who never started is in no cohort",
    ),
    "end before start": (
        {"ended": ["2008-01-01", *FRAME["ended"].iloc[1:]]},
        {},
        "end='ended': before admitted in row 'over'; correct one of the two dates",
    ),
    "time zone": (
        {"ended": pd.to_datetime(FRAME["ended"]).dt.tz_localize("Europe/Amsterdam")},
        {},
        "end='ended': has a time zone; drop it with .dt.tz_localize(None)",
    ),
    "change in a time zone": (
        {},
        {"change": pd.Timestamp(CHANGE, tz="UTC")},
        "change='2010-01-01 00:00:00+00:00': has a time zone; give its day, by .date()",
    ),
    "change is no date": ({}, {"change": "1/1/2010"}, "change='1/1/2010': neither a column nor a date as YYYY-MM-DD"),
    "no change": ({}, {"change": None}, "change=None: neither a column nor a date as YYYY-MM-DD"),
    "rule without ends": (
        {},
        {"end": None, "straddlers": "third"},
        "end=None: who straddles the change takes the end of treatment; name the column with the last day of "
        "treatment, or say straddlers='by_start'",
    ),
    "columns": ({}, {"start": "admited"}, "start='admited': no such column; did you mean 'admitted'?"),
    "unit": ({}, {"unit": "month"}, "unit='month': unknown option; did you mean 'months'?"),
    "names": ({}, {"names": ("a", "a")}, "names=('a', 'a'): not two or three different names; write names="),
    "within a patient": (
        {"patient": ["a", "a", "b", "c", "d"]},
        {"patient": "patient"},
        "start='admitted': changes within a patient (row 'across'); give each patient one date",
    ),
    "nobody's row": (
        {"patient": ["a", None, "b", "c", "d"]},
        {"patient": "patient"},
        "patient='patient': missing in row",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason(case: str) -> None:
    columns, options, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        ist.assign_cohorts(FRAME.assign(**columns), **(ROLES | {"straddlers": "exclude"} | options))
    assert message in str(caught.value)


def test_the_rule_has_no_default() -> None:
    with pytest.raises(TypeError, match="straddlers"):
        ist.assign_cohorts(FRAME, **ROLES)


def test_faults_come_together() -> None:
    frame = FRAME.assign(ended=["x", *FRAME["ended"].iloc[1:]], admitted=["y", *FRAME["admitted"].iloc[1:]])
    with pytest.raises(DataError) as caught:
        ist.assign_cohorts(frame, straddlers="exclude", **ROLES)
    assert len(str(caught.value).splitlines()) == 2


def test_it_goes_straight_into_the_models() -> None:
    frame = ist.load_example("reorganisation")
    roles = {"start": "admitted", "end": "ended", "change": CHANGE, "patient": "patient"}
    found = ist.assign_cohorts(frame, straddlers="exclude", **roles)
    # Nobody straddles it there, and the cohorts are those of the example.
    assert (found.cohort == frame["cohort"]).all()
    fit = {"outcome": "bsi", "time": "month", "patient": "patient", "cohort": "era", "reference": "before"}
    result = ist.fit_growth(frame.assign(era=found.cohort), **fit)
    assert result.sample.patients == {"before": 76, "during": 68}


@pytest.mark.parametrize("names", [[None, "during"], ["before", float("nan")], [["before"], "during"]])
def test_a_cohort_has_a_name(names: list[Any]) -> None:
    """A missing name would leave its patients out of what is fitted, without a word."""
    with pytest.raises(DataError, match=r"^names=.*: not two or three different names"):
        ist.assign_cohorts(FRAME, straddlers="exclude", names=names, **ROLES)
