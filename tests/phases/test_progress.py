"""Phases of programmes: schemes, how a phase stands, what is refused and in which words, and what the header says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats.errors import DataError
from implstats.phases import SCHEMES, PhaseProgress, phase_progress

ROLES: dict[str, Any] = {"programme": "site", "phase": "phase", "activity": "what", "date": "on", "scheme": list("xyz")}
WHAT = {"x1": "x", "x2": "x", "y1": "y", "y2": "y", "z1": "z"}


def log(**days: list[str | None]) -> pd.DataFrame:
    """Return a row for every activity of every site; days in the order of WHAT."""
    rows = [(site, WHAT[what], what, day) for site, own in days.items() for what, day in zip(WHAT, own, strict=True)]
    return pd.DataFrame(rows, columns=["site", "phase", "what", "on"])


WHOLE = ["2020-01-01", "2020-01-11", "2020-01-21", "2020-02-01", "2020-02-11"]


def progress(frame: pd.DataFrame, **options: Any) -> PhaseProgress:
    return phase_progress(frame, **ROLES | {"unit": "days"} | options)


def refused(frame: pd.DataFrame, **options: Any) -> str:
    with pytest.raises(DataError) as found:
        progress(frame, **options)
    return str(found.value)


# Schemes -------------------------------------------------------------------------------------------------------------


def test_named_schemes_have_three_five_and_eight_phases() -> None:
    assert {name: len(phases) for name, phases in SCHEMES.items()} == {"mip": 3, "make-it-happen": 5, "sic": 8}
    assert SCHEMES["sic"][0] == "engagement"
    assert SCHEMES["sic"][-1] == "competency"
    with pytest.raises(TypeError):
        SCHEMES["mine"] = ("a", "b")  # type: ignore[index]


def test_phases_go_by_name_or_by_number() -> None:
    frame = log(a=WHOLE)
    named = progress(
        frame.assign(phase=frame["phase"].map(dict(zip("xyz", SCHEMES["mip"], strict=True)))), scheme="mip"
    )
    numbered = progress(frame.assign(phase=frame["phase"].map({"x": 1, "y": 2, "z": 3})), scheme="mip")
    pd.testing.assert_frame_equal(named.tidy(), numbered.tidy())
    # Where phases are numbers themselves, a number is a name.
    own = progress(frame.assign(phase=frame["phase"].map({"x": 3, "y": 1, "z": 2})), scheme=[3, 1, 2])
    assert own.tidy()["phase"].tolist() == [3, 1, 2]
    assert own.tidy()["done"].tolist() == [2, 2, 1]


def test_schemes_and_phases_that_cannot_be_are_refused() -> None:
    frame = log(a=WHOLE)
    assert refused(frame, scheme="sik") == (
        "scheme='sik': unknown option; did you mean 'sic'?; or give your own phases in order, as a list"
    )
    assert refused(frame, scheme=["x"]) == "scheme=['x']: not two or more different phases in their order"
    assert refused(frame, scheme=["x", "y", "y"]).endswith("not two or more different phases in their order")
    assert refused(frame, scheme=["x", "stopped"]) == (
        "scheme=['x', 'stopped']: 'stopped' is the state of programmes that are in no phase; rename the phase"
    )
    assert (
        refused(frame, scheme=["x", "y", "zz"])
        == "phase='phase': 'z' (row 4) is no phase of the scheme; did you mean 'zz'?"
    )
    assert "'x' (rows 0, 1) is no phase of the scheme" in refused(frame, scheme="mip")


# How phases stand ----------------------------------------------------------------------------------------------------


def test_how_a_phase_stands() -> None:
    days = {
        "all": WHOLE,
        "left_out": ["2020-01-01", None, "2020-01-21", "2020-02-01", None],
        "leapt": ["2020-01-01", "2020-01-11", None, None, "2020-02-11"],
        "begun": ["2020-01-01", None, None, None, None],
        "nothing": [None] * 5,
    }
    found = progress(log(**days), study_end="2020-03-01")
    stands = found.tidy().groupby("programme", sort=False)["status"].apply(list).to_dict()
    assert stands == {
        "all": ["complete"] * 3,
        "left_out": ["passed", "complete", "not begun"],
        "leapt": ["complete", "skipped", "complete"],
        "begun": ["open", "not begun", "not begun"],
        "nothing": ["not begun"] * 3,
    }
    assert found.programmes()["furthest"].tolist() == ["z", "y", "z", "x", "none"]
    assert found.programmes()["proportion"].tolist() == [1, 0.6, 0.6, 0.2, 0]
    open_ = found.tidy().query("status == 'open'").iloc[0]
    assert (open_["duration"], open_["so_far"]) == (0, 60)
    # Of phases that a programme has left, the duration is known, whatever was left out.
    assert found.tidy().query("status == 'passed'")["so_far"].isna().all()


def test_a_stop_closes_what_is_unfinished() -> None:
    frame = log(a=["2020-01-01", None, None, None, None]).assign(gave_up="2020-01-15")
    found = progress(frame, stopped="gave_up")
    assert found.tidy()["status"].tolist() == ["stopped", "not begun", "not begun"]
    assert found.tidy()["so_far"][0] == 14
    assert found.glance()["stopped"][0] == 1


def test_days_need_not_be_known() -> None:
    frame = log(a=WHOLE, b=["2020-01-01", None, None, None, None]).assign(done=[1] * 5 + [1, 1, 1, 0, 0])
    found = progress(frame, done="done", study_end="2020-03-01")
    assert found.tidy()["proportion"].tolist() == [1, 1, 1, 1, 0.5, 0]
    assert "phases whose activities were all done on unknown days, without a duration: 1" in found.header()
    without = phase_progress(frame, programme="site", phase="phase", activity="what", done="done", scheme=list("xyz"))
    assert without.tidy()["duration"].isna().all()
    assert without.programmes()["furthest"].tolist() == ["z", "y"]
    with pytest.raises(DataError, match=r"^date=None: who is in which phase until when is not known"):
        without.histories()


def test_order_is_counted_and_not_an_error() -> None:
    found = progress(log(a=["2020-01-01", "2020-03-01", "2020-01-21", "2020-03-01", "2020-01-02"]))
    # y1 before x2 (y2 on the same day is not before), z1 before both x2 and y2.
    assert found.tidy()["early"].tolist() == [0, 1, 1]
    assert found.glance()["early"][0] == 2
    assert (
        found.header()[-1]
        == "activities done before one of an earlier phase: 2, of 1 programme; counted, not corrected"
    )


def test_what_the_data_lack_is_said() -> None:
    frame = log(a=WHOLE, b=WHOLE)
    said = progress(frame[:-2], scheme=[*"xyz", "w"], study_end="2020-03-01").header()
    assert "phases without any activity in the data: w" in said
    assert "programmes have 3 to 5 activities; each share is of the programme's own" in said
    found = progress(frame[:-2], scheme=[*"xyz", "w"], study_end="2020-03-01").tidy()
    assert found["proportion"].isna().sum() == 3


def test_time_counts_from_the_day_named() -> None:
    frame = log(a=WHOLE, b=["2020-01-01", "2020-01-11", "2020-01-21", "2020-02-01", "2020-02-11"])
    found = progress(frame.assign(signed=["2019-12-31"] * 5 + ["2019-12-22"] * 5), start="signed")
    assert found.tidy()["first"].tolist() == [1, 21, 42, 10, 30, 51]
    one = progress(frame, start="2019-12-31", study_end="2020-12-31")
    assert one.tidy()["first"].tolist() == [1, 21, 42] * 2
    assert one.histories()["state"].tolist() == ["not begun", "x", "y", "z"] * 2


def test_of_two_phases_begun_on_one_day_the_later_counts() -> None:
    found = progress(
        log(a=["2020-01-01", "2020-01-11", "2020-01-01", "2020-02-01", "2020-02-11"]), study_end="2020-03-01"
    )
    assert found.histories()[["state", "start", "stop"]].to_numpy().tolist() == [["y", 0, 41], ["z", 41, 60]]


def test_a_programme_that_never_began_has_no_time_in_any_state() -> None:
    rows = progress(log(a=WHOLE, b=[None] * 5), study_end="2020-03-01").histories()
    assert rows[rows["programme"] == "b"][["state", "start"]].isna().to_numpy().tolist() == [[False, True]]
    # Where its time is known to have begun, it is in no phase until the end of the study.
    rows = progress(log(a=WHOLE, b=[None] * 5), study_end="2020-03-01", start="2019-12-31").histories()
    assert rows[rows["programme"] == "b"][["state", "start", "stop"]].to_numpy().tolist() == [["not begun", 0, 61]]


def test_groups_are_summarised_apart() -> None:
    frame = log(a=WHOLE, b=WHOLE, c=[None] * 5).assign(group=["u"] * 5 + ["v"] * 10)
    table = progress(frame, by="group").summary().set_index(["group", "phase"])
    assert table.loc[("u", "z"), "furthest"] == 1
    assert table.loc[("v", "z"), ["programmes", "complete", "not_begun", "proportion"]].tolist() == [2, 1, 1, 0.5]
    assert table.loc[("v", "x"), "duration"] == 10
    assert "v: 2 programmes, by furthest phase: z 1, nothing done 1" in progress(frame, by="group").header()


def test_results_share_nothing_with_the_frame() -> None:
    frame = log(a=WHOLE)
    found = progress(frame)
    before = found.tidy()
    frame["on"] = None
    pd.testing.assert_frame_equal(found.tidy(), before)


# Refused -------------------------------------------------------------------------------------------------------------


def test_an_open_phase_asks_for_the_end_of_the_study() -> None:
    said = refused(log(a=["2020-01-01", None, None, None, None], b=WHOLE))
    assert said == (
        "study_end=None: a phase is open in 'a'; say the last day on which it is known what was done; today's date is "
        "never taken"
    )


def test_data_that_cannot_be_are_refused() -> None:
    frame = log(a=WHOLE)
    late = refused(frame, study_end="2020-01-31").split("; ")
    assert late[0] == "date='on': after study_end='2020-01-31' in rows 3, 4"
    assert late[1] == "correct one of the two, or leave the activity's date empty"
    assert refused(frame.assign(end="2020-02-01"), stopped="end").startswith("date='on': after stopped='end' in row 4;")
    assert refused(frame, start="2020-01-05") == "date='on': before start='2020-01-05' in row 0; time counts from there"
    assert refused(frame.assign(on=["01/02/2020"] * 5)).startswith(
        "date='on': '01/02/2020' is not a date as YYYY-MM-DD"
    )
    assert refused(pd.concat([frame, frame[:1]], ignore_index=True)) == (
        "activity='what': twice in one programme (rows 0, 5); one row per programme and activity"
    )
    assert refused(log(a=WHOLE, b=WHOLE).assign(phase=[*"xxyyz", *"xyyyz"])).startswith(
        "activity='what': in different phases (rows 1, 6)"
    )
    assert refused(frame.assign(done=[1, 1, 1, 0, 1]), done="done") == (
        "done='done': 0 in row 3, which have a date; correct one of the two"
    )
    assert refused(frame.assign(done=[1, 1, 1, "yes", 1]), done="done").startswith(
        "done='done': neither 0 nor 1 in row 3"
    )
    assert refused(frame, by="what").startswith("by='what': changes within a programme (rows 1, 2, 3 and 1 more)")
    ends = frame.assign(end=["2021-01-01"] * 4 + [None])
    assert refused(ends, stopped="end") == "stopped='end': changes within a programme (row 4); give each one date"
    gone = frame.assign(site=["a", None, "a", "a", "a"], phase=["x", "x", None, "y", "z"])
    assert refused(gone).split("\n") == [
        "programme='site': missing in row 1; fill the ids in, or drop these rows yourself",
        "phase='phase': missing in row 2; fill it in",
    ]


def test_arguments_that_cannot_be_are_refused_together() -> None:
    frame = log(a=WHOLE)
    assert (
        refused(frame, unit="fortnights", scheme="sick").split("\n")[0].startswith("unit='fortnights': unknown option")
    )
    assert refused(frame, activity="whom", date="one").split("\n") == [
        "activity='whom': no such column; there are 'site', 'phase', 'what', 'on'",
        "date='one': no such column; did you mean 'on'?",
    ]
    assert refused(frame, date=None).startswith(
        "date=None: name the column with the day each activity was done, or done="
    )


def test_medians_are_missing_where_too_few_have_finished() -> None:
    days = {f"p{k}": ["2020-01-01", None, None, None, None] for k in range(3)} | {"all": WHOLE}
    table = progress(log(**days), study_end="2020-06-01").summary()
    assert np.isnan(table["duration"][0])
    assert table["duration_low"][0] == pytest.approx((10 + 152) / 2)
