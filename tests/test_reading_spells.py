"""Dated spells are counted up to a stated end of study, and cut without losing time at risk or an event."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implstats.design.spells import SpellRoles, spells
from implstats.errors import DataError
from implstats.reading.spells import spells_from_dates
from implstats.reading.split import split_spells

ISO = "neither a column nor a date as YYYY-MM-DD"
LABELS = "neither 0 nor 1; with causes, say censored=, the value that stands for no event"
START = [
    ("stopped", "2010-01-01", "2012-01-01", "stopped"),
    ("active", "2011-01-01", None, None),
    ("stopped later", "2012-01-01", "2016-06-01", "merged"),
    ("never started", None, None, None),
    ("started later", "2015-03-01", None, None),
    ("on the last day", "2014-12-31", "2015-01-01", "merged"),
    ("lost", "2013-01-01", "2014-01-01", "active"),
]


def programmes(**changed: Any) -> pd.DataFrame:
    """Return seven programmes with what happened to them; the labels of the rows are not their places."""
    made = pd.DataFrame(START, columns=["programme", "started", "ended", "status"], index=range(10, 80, 10))
    return made.assign(**changed)


def dated(frame: pd.DataFrame | None = None, **options: Any) -> pd.DataFrame:
    given = {"start": "started", "end": "ended", "study_end": "2015-01-01", "unit": "days"} | options
    return spells_from_dates(programmes() if frame is None else frame, **given)


def report(frame: pd.DataFrame, name: str = "spells") -> dict[str, int]:
    """Return what was counted, without what was not found."""
    return {why: k for why, k in frame.attrs["implstats"][name].items() if k}


def put(column: str, label: int, value: Any) -> pd.DataFrame:
    frame = programmes()
    frame.loc[label, column] = value
    return frame


# From dates to durations


def test_durations_and_events_by_hand() -> None:
    found = dated()
    # 2010 and 2011 have 365 days; 2012 has 366; from 2011 to 2015 there are 1461.
    assert found["duration"].tolist() == [730, 1461, 1096, 1, 365]
    assert found["event"].tolist() == [1, 0, 0, 1, 1]
    assert found["entry"].tolist() == [0] * 5
    assert found.index.tolist() == [10, 20, 30, 60, 70]
    assert found["programme"].tolist() == [name for name, *_ in START if name not in ("never started", "started later")]


def test_what_was_left_out_and_censored_is_counted() -> None:
    assert report(dated()) == {
        "given": 7,
        "kept": 5,
        "never started": 1,
        "started at or after the end of the study": 1,
        "still running at the end of the study": 1,
        "ended after the end of the study": 1,
    }


@pytest.mark.parametrize(("unit", "days"), [("days", 1), ("weeks", 7), ("months", 30.4375), ("years", 365.25)])
def test_units(unit: str, days: float) -> None:
    np.testing.assert_allclose(dated(unit=unit)["duration"] * days, dated()["duration"], rtol=1e-15)


@pytest.mark.parametrize(
    "read",
    [
        pd.to_datetime,
        lambda column: pd.to_datetime(column).dt.date,
        lambda column: pd.to_datetime(column) + pd.Timedelta(hours=13),
        lambda column: column.map(lambda text: f"{text}T08:30:00", na_action="ignore"),
        lambda column: column.astype("string"),
    ],
    ids=["timestamps", "dates", "with a time of day", "text with a time of day", "string"],
)
@pytest.mark.parametrize("last", ["2015-01-01", dt.date(2015, 1, 1), pd.Timestamp("2015-01-01 23:00")])
def test_dates_of_any_type(read: Callable[[pd.Series], pd.Series], last: Any) -> None:
    frame = programmes()
    frame = frame.assign(started=read(frame["started"]), ended=read(frame["ended"]))
    columns = ["entry", "duration", "event"]
    pd.testing.assert_frame_equal(dated(frame, study_end=last)[columns], dated()[columns])


def test_the_end_of_study_may_be_each_rows_own() -> None:
    seen = ["2012-01-01", "2011-03-01", "2013-01-01", "2015-01-01", "2016-01-01", "2015-01-01", "2013-06-01"]
    found = dated(programmes(seen=seen), study_end="seen")
    assert found["duration"].tolist() == [730, 59, 366, 306, 1, 151]
    assert found["event"].tolist() == [1, 0, 0, 0, 1, 0]


def test_an_end_on_the_last_day_of_the_study_is_an_event_and_one_day_later_is_not() -> None:
    assert dated(put("ended", 10, "2015-01-01"))["event"].tolist()[0] == 1
    assert dated(put("ended", 10, "2015-01-02"))["event"].tolist()[0] == 0


def test_causes_are_kept_and_what_ran_on_has_none() -> None:
    found = dated(event="status", censored="active")
    assert found["event"].tolist() == ["stopped", "active", "active", "merged", "active"]
    assert spells(found, SpellRoles("duration", "event", censored="active")).causes == ("merged", "stopped")


def test_who_never_started_may_say_so() -> None:
    found = dated(put("status", 40, "never started"), event="status", censored="active")
    assert found["event"].tolist() == ["stopped", "active", "active", "merged", "active"]


def test_causes_of_a_categorical_keep_their_order() -> None:
    status = pd.Categorical(programmes()["status"], ["stopped", "merged", "active"])
    found = dated(programmes(status=status), event="status", censored="active")
    assert list(found["event"].cat.categories) == ["stopped", "merged", "active"]


@pytest.mark.parametrize("kind", [float, object, "Int64", "boolean"])
def test_events_as_numbers(kind: Any) -> None:
    stopped = pd.Series([1, 0, 1, None, None, 1, 0], index=programmes().index, dtype=object).astype(kind)
    found = dated(programmes(stopped=stopped), event="stopped")["event"]
    assert found.tolist() == [1, 0, 0, 1, 0]
    assert found.dtype == np.int64


def test_an_event_that_is_missing_stays_missing() -> None:
    assert dated(programmes(stopped=[None, 0, 1, None, None, 1, 0]), event="stopped")["event"].isna().tolist()[0]


def test_delayed_entry() -> None:
    found = dated(observed_from="2012-06-01")
    assert found[["entry", "duration", "event"]].to_numpy().tolist() == [
        [517, 1461, 0],
        [152, 1096, 0],
        [0, 1, 1],
        [0, 365, 1],
    ]
    assert report(found)["over before observation began"] == 1


def test_observation_may_begin_with_each_row() -> None:
    since = ["2010-07-01", "2010-01-01", "2014-12-31", "2010-01-01", "2010-01-01", "2010-01-01", "2014-01-01"]
    found = dated(programmes(since=since), observed_from="since")
    assert found["entry"].tolist() == [181, 0, 1095, 0]
    assert report(found)["over before observation began"] == 1


def test_a_restart_enters_at_the_time_since_the_first_start() -> None:
    frame = programmes(programme=list("abacdef"), started=programmes()["started"].fillna("2014-01-01"))
    found = dated(frame, id="programme")
    rows = dict(zip(found.index, found[["entry", "duration"]].to_numpy().tolist(), strict=True))
    assert rows[10] == [0, 730]
    assert rows[30] == [730, 1826]
    assert spells(found, SpellRoles("duration", "event", "entry", "programme")).sample.groups == {"programme": 5}


def test_same_day_counts_as_a_part_of_a_day_when_asked() -> None:
    found = dated(put("ended", 70, "2013-01-01"), same_day=0.5)
    assert found["duration"].tolist() == [730, 1461, 1096, 1, 0.5]
    assert report(found)["ended on the day they started"] == 1


def test_a_start_on_the_last_day_of_the_study_was_never_at_risk() -> None:
    frame = put("started", 20, "2015-01-01")
    assert 20 not in dated(frame).index
    assert report(dated(frame))["started at or after the end of the study"] == 2


def test_the_frame_is_not_changed_and_names_can_be_chosen() -> None:
    frame = programmes().assign(event="x")
    before = frame.copy()
    found = dated(frame, columns=("from", "days", "stopped"))
    pd.testing.assert_frame_equal(frame, before)
    assert list(found)[-3:] == ["from", "days", "stopped"]
    assert frame.attrs == {}


FAULTS: list[tuple[str, Callable[[], Any], str]] = [
    ("column", lambda: dated(start="startd"), "start='startd': no such column; did you mean 'started'?"),
    ("unit", lambda: dated(unit="year"), "unit='year': unknown option; did you mean 'years'?"),
    ("no end of study", lambda: dated(study_end=None), f"study_end=None: {ISO}; today's date is never taken"),
    (
        "end of study",
        lambda: dated(study_end="01/01/2015"),
        f"study_end='01/01/2015': {ISO}; there are 'programme', 'started', 'ended', 'status'",
    ),
    ("observed_from", lambda: dated(observed_from=2012), f"observed_from=2012: {ISO}; today's date is never taken"),
    (
        "observed_from missing",
        lambda: dated(
            programmes(since="2012-01-01").assign(since=lambda f: f["since"].where(f.index > 10)), observed_from="since"
        ),
        "observed_from='since': missing in row 10; give the date, or drop the rows yourself",
    ),
    (
        "not a date",
        lambda: dated(put("ended", 10, "1/2/2012")),
        "end='ended': '1/2/2012' is not a date as YYYY-MM-DD, in row 10; write dates as YYYY-MM-DD",
    ),
    (
        "time zone",
        lambda: dated(programmes(started=pd.Timestamp("2012-01-01", tz="UTC"))),
        "start='started': has a time zone; drop it with .dt.tz_localize(None)",
    ),
    (
        "end before start",
        lambda: dated(put("ended", 70, "2012-12-31")),
        "end='ended': before started in row 70; correct one of the two dates",
    ),
    (
        "same day",
        lambda: dated(put("ended", 70, "2013-01-01")),
        "end='ended': on the day of started in row 70; say same_day=0.5 to count half a day, or drop who never really "
        "started",
    ),
    (
        "same_day",
        lambda: dated(same_day=2),
        "same_day=2: more than a day; 0.5 counts half a day",
    ),
    (
        "end without start",
        lambda: dated(put("ended", 40, "2013-01-01")),
        "start='started': missing in row 40, which ended; give the date; who never started has no end",
    ),
    (
        "event without end",
        lambda: dated(put("status", 20, "stopped"), event="status", censored="active"),
        "event='status': an event in row 20, which have no end; give the date, or the value of no event",
    ),
    (
        "causes without censored",
        lambda: dated(event="status"),
        f"event='status': holds 'stopped' (row 10), {LABELS}",
    ),
    (
        "censored is nobody's",
        lambda: dated(programmes(status=programmes()["status"].fillna("active")), event="status", censored="activ"),
        "censored='activ': no row of status has it; did you mean 'active'?\n"
        "event='status': an event in rows 20, 50, which have no end; give the date, or the value of no event",
    ),
    (
        "censored without event",
        lambda: dated(censored="active"),
        "censored='active': goes with event=, the column of what ended the spell; leave it out",
    ),
    (
        "names",
        lambda: dated(columns=("a", "b")),
        "columns=('a', 'b'): not three names; write columns=('entry', 'duration', 'event')",
    ),
    (
        "one column twice",
        lambda: dated(end="started", same_day=0.5),
        "end='started': is named as start= too; each role has a column of its own",
    ),
    (
        "a name is taken",
        lambda: dated(columns=("entry", "ended", "event")),
        "columns='ended': already a column; choose another name",
    ),
    (
        "rows of one id",
        lambda: dated(programmes(programme=list("ababcde")).fillna({"started": "2014-01-01"}), id="programme"),
        "id='programme': rows of 'b' overlap (row 40); one id runs once at a time; look for a missing end",
    ),
    (
        "missing id",
        lambda: dated(put("programme", 20, None), id="programme"),
        "id='programme': missing in row 20; fill it in, or drop these rows",
    ),
    (
        "nobody at risk",
        lambda: dated(study_end="2009-01-01"),
        "start='started': no row was at risk within the study: 1 never started, 6 started at or after the end of the "
        "study",
    ),
    (
        "several",
        lambda: dated(programmes(ended=["x", None, "2011-01-01", None, None, None, "y"]), study_end="soon"),
        "end='ended': 'x' is not a date as YYYY-MM-DD, in rows 10, 70; write dates as YYYY-MM-DD\n"
        f"study_end='soon': {ISO}; there are 'programme', 'started', 'ended', 'status'",
    ),
    (
        "several of the order",
        lambda: dated(programmes(ended=["2009-01-01", None, "2012-01-01", "2013-01-01", None, None, None])),
        "start='started': missing in row 40, which ended; give the date; who never started has no end\n"
        "end='ended': before started in row 10; correct one of the two dates\n"
        "end='ended': on the day of started in row 30; say same_day=0.5 to count half a day, or drop who never really "
        "started",
    ),
]


@pytest.mark.parametrize(("call", "message"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_every_fault_in_its_words(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value) == message


# Cutting


def three(**changed: Any) -> pd.DataFrame:
    made = {"id": list("abc"), "since": [0.0, 1.0, 0.0], "years": [3.0, 4.0, 1.5], "stopped": [1, 0, 1]}
    return pd.DataFrame(made | {"change": [2.0, np.nan, 9.0]} | changed, index=[7, 8, 9])


def cut(frame: pd.DataFrame | None = None, **options: Any) -> pd.DataFrame:
    given = {"duration": "years", "event": "stopped", "entry": "since", "id": "id"} | options
    return split_spells(three() if frame is None else frame, **given)


def shown(frame: pd.DataFrame) -> list[list[Any]]:
    return frame[["id", "since", "years", "stopped", "period"]].to_numpy(dtype=object).tolist()


def test_person_period_rows_by_hand() -> None:
    assert shown(cut(at=[1, 2, 3])) == [
        ["a", 0, 1, 0, 0],
        ["a", 1, 2, 0, 1],
        ["a", 2, 3, 1, 2],
        ["b", 1, 2, 0, 1],
        ["b", 2, 3, 0, 2],
        ["b", 3, 4, 0, 3],
        ["c", 0, 1, 0, 0],
        ["c", 1, 1.5, 1, 1],
    ]


def test_pieces_keep_their_rows_label_and_are_counted() -> None:
    found = cut(at=2)
    assert found.index.tolist() == [7, 7, 8, 8, 9]
    assert report(found, "split") == {"given": 3, "cut": 2, "pieces": 5}


def test_each_row_may_have_its_own_time() -> None:
    found = cut(at_column="change", label="period")
    assert shown(found) == [["a", 0, 2, 0, 0], ["a", 2, 3, 1, 1], ["b", 1, 4, 0, 0], ["c", 0, 1.5, 1, 0]]


def test_a_change_before_the_spell_leaves_it_whole_and_after() -> None:
    assert shown(cut(at=1, label="period"))[2:] == [["b", 1, 4, 0, 1], ["c", 0, 1, 0, 0], ["c", 1, 1.5, 1, 1]]


def test_a_day_becomes_each_rows_own_time() -> None:
    started = pd.to_datetime(["2010-01-01", "2009-01-01", "2013-01-01"])
    found = cut(three(started=started), at="2012-01-01", start="started", unit="years")
    # 2010-2011 have 730 days, 2009-2011 1095; c started afterwards.
    np.testing.assert_allclose(found["years"], [730 / 365.25, 3, 1095 / 365.25, 4, 1.5], rtol=1e-15)
    assert found["period"].tolist() == [0, 1, 0, 1, 1]
    days = three(started=started, change=["2012-01-01", None, "2012-01-01"])
    own = cut(days, at_column="change", start="started", unit="years")
    np.testing.assert_array_equal(own["years"], found["years"].to_numpy()[[0, 1, 3, 4]])
    assert own["period"].tolist() == [0, 1, 0, 1]


def test_several_days_in_any_order() -> None:
    frame = three(started="2010-01-01")
    one = cut(frame, at=["2012-01-01", dt.date(2011, 1, 1), "2012-01-01"], start="started", unit="years")
    assert one["period"].tolist() == [0, 1, 2, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("values", "kept"),
    [
        ([True, False, True], [False, True, False, False, True]),
        (pd.array([1, 0, 1], dtype="Int64"), [0, 1, 0, 0, 1]),
        (pd.Categorical([1, 1, 1]), [0, 1, 0, 1, 1]),
    ],
)
def test_events_of_any_type_are_only_the_last_pieces(values: Any, kept: list[Any]) -> None:
    frame = three(stopped=values)
    if isinstance(values, pd.Categorical):
        assert cut(frame, at=2)["stopped"].tolist() == kept
        return
    found = cut(frame, at=2)["stopped"]
    assert found.tolist() == kept
    assert found.dtype == frame["stopped"].dtype


def test_causes_are_only_the_last_pieces() -> None:
    frame = three(stopped=["merged", "active", "stopped"])
    assert cut(frame, at=2, censored="active")["stopped"].tolist() == [
        "active",
        "merged",
        "active",
        "active",
        "stopped",
    ]


def test_without_entry_there_is_a_new_column() -> None:
    found = split_spells(three().drop(columns="since"), duration="years", event="stopped", at=2)
    assert found["entry"].tolist() == [0, 2, 0, 2, 0]
    read = spells(found, SpellRoles("years", "stopped", "entry", "id"))
    assert (read.sample.groups, read.notes) == ({"id": 3}, ())


def test_a_cut_within_rounding_of_an_end_makes_no_piece() -> None:
    found = cut(three(since=[0.1 + 0.2, 1.0, 0.0]), at=[0.3, 3 - 1e-9, 1.5 + 1e-9])
    assert found["years"].tolist() == [1.5 + 1e-9, 3, 1.5 + 1e-9, 3 - 1e-9, 4, 0.3, 1.5]
    assert found["period"].tolist() == [1, 2, 1, 2, 3, 0, 1]


def test_rows_without_times_are_left_out_and_counted() -> None:
    found = cut(three(years=[np.nan, 4.0, 1.5], stopped=[1, 0, None]), at=2)
    assert set(found["id"]) == {"b"}
    assert report(found, "split") == {"given": 3, "years missing": 1, "stopped missing": 1, "cut": 1, "pieces": 2}


def test_the_report_of_the_dates_is_kept() -> None:
    frame = dated()
    found = split_spells(frame, duration="duration", event="event", entry="entry", at=[365])
    assert report(found) == report(frame)
    assert "split" not in frame.attrs["implstats"]


def hundredths(low: float, high: float) -> st.SearchStrategy[float]:
    """Return times that are apart by more than rounding, or the same."""
    return st.integers(round(100 * low), round(100 * high)).map(lambda k: k / 100)


@given(
    st.lists(st.tuples(hundredths(0, 5), hundredths(0.01, 5), st.booleans()), min_size=1, max_size=6),
    st.lists(hundredths(0, 10), min_size=1, max_size=5),
)
@settings(max_examples=80, deadline=None)
def test_time_at_risk_and_events_are_conserved(rows: list[tuple[float, float, bool]], at: list[float]) -> None:
    frame = pd.DataFrame(rows, columns=["since", "years", "stopped"]).assign(id=range(len(rows)))
    frame["years"] += frame["since"]
    found = cut(frame, at=at)
    pieces = found.groupby("id")
    time = (found["years"] - found["since"]).groupby(found["id"]).sum()
    np.testing.assert_allclose(time, frame["years"] - frame["since"], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(pieces["stopped"].sum(), frame["stopped"])
    np.testing.assert_array_equal(pieces["since"].first(), frame["since"])
    np.testing.assert_array_equal(pieces["years"].last(), frame["years"])
    assert (found["since"] < found["years"]).all()
    joined = (found["years"].shift() == found["since"]) | (found["id"] != found["id"].shift())
    assert joined.all()
    inside = found["period"].to_numpy() == (np.unique(at)[None, :] <= found["since"].to_numpy()[:, None]).sum(axis=1)
    assert inside.all()


SPLITS: list[tuple[str, Callable[[], Any], str]] = [
    ("no time", lambda: cut(), "at=None: no time is named; write at=[18, 36], or at_column= and a column"),
    (
        "two times",
        lambda: cut(at=2, at_column="change"),
        "at=2: at_column= names a time too; write at=[18, 36], or at_column= and a column",
    ),
    (
        "start alone",
        lambda: cut(at=2, start="change"),
        "start='change': goes with unit=; days become times by both, and numbers need neither",
    ),
    (
        "unit alone",
        lambda: cut(at=2, unit="years"),
        "unit='years': goes with start=; days become times by both, and numbers need neither",
    ),
    ("unit", lambda: cut(at=2, unit="year", start="change"), "unit='year': unknown option; did you mean 'years'?"),
    (
        "a day without start",
        lambda: cut(at="2012-01-01"),
        "at='2012-01-01': not a time since the start; with days, say start= and unit= too",
    ),
    (
        "a column of days without start",
        lambda: cut(three(change="2012-01-01"), at_column="change"),
        "at_column='change': the column holds no numbers; with days, say start= and unit= too",
    ),
    ("no number", lambda: cut(at=[1, None]), "at=None: not a number"),
    (
        "a number with start",
        lambda: cut(three(started="2010-01-01"), at=[2], start="started", unit="years"),
        "at=2: not a date as YYYY-MM-DD; with start=, give at= as days",
    ),
    ("label", lambda: cut(at=2, label="id"), "label='id': already a column; choose another name"),
    (
        "label of entries",
        lambda: cut(at=2, entry=None, label="entry"),
        "label='entry': the name of the new column of entries; choose another name",
    ),
    (
        "entry",
        lambda: cut(three(entry=0), at=2, entry=None),
        "entry=None: there is a column 'entry'; say entry='entry', or rename the column",
    ),
    (
        "overlap",
        lambda: cut(three(id="a"), at=2),
        "id='id': rows of 'a' overlap (rows 9, 8); one id is at risk once at a time",
    ),
    ("causes", lambda: cut(three(stopped=["x", "y", "z"]), at=2), f"event='stopped': holds 'x' (row 7), {LABELS}"),
    (
        "several",
        lambda: cut(three(years="x", change="y"), at_column="change"),
        "at_column='change': the column holds no numbers; with days, say start= and unit= too\n"
        "duration='years': the column holds text such as 'x' (rows 7, 8, 9); make it numeric, missing as NaN",
    ),
    (
        "all missing",
        lambda: cut(three(stopped=np.nan), at=2),
        "duration='years': no row has all its columns; stopped missing",
    ),
]


@pytest.mark.parametrize(("call", "message"), [row[1:] for row in SPLITS], ids=[row[0] for row in SPLITS])
def test_every_fault_of_a_cut_in_its_words(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value) == message


@pytest.mark.parametrize("labels", [pd.Categorical(["stopped", "merged"], ["active", "merged", "stopped"]), [1, 2]])
def test_every_spell_may_have_ended(labels: Any) -> None:
    frame = pd.DataFrame({"started": "2010-01-01", "ended": ["2011-01-01", "2012-01-01"], "status": labels})
    none = 0 if isinstance(labels, list) else "active"
    found = spells_from_dates(
        frame, start="started", end="ended", study_end="2015-01-01", unit="days", event="status", censored=none
    )
    assert found["event"].tolist() == list(labels)
