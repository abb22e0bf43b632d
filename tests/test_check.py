"""Every complaint is worded here once: *argument=value: fault; remedy*, all faults of a call together."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from implstats import _check
from implstats._check import Faults
from implstats.errors import DataError, PlanError


def says(function: Any, *given_: Any, **named: Any) -> str:
    """Return the message of the DataError that a call raises."""
    with pytest.raises(DataError) as caught:
        function(*given_, **named)
    return str(caught.value)


# ---- writing values ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("bsi", "'bsi'"),
        ("it's", '"it\'s"'),
        (18, "18"),
        (18.0, "18"),
        (18.5, "18.5"),
        (-0.0, "0"),
        (1e300, "1e+300"),
        (math.nan, "nan"),
        (math.inf, "inf"),
        (np.float64(36.0), "36"),
        (np.int64(7), "7"),
        (np.str_("sipp"), "'sipp'"),
        (np.bool_(True), "True"),
        (True, "True"),
        (None, "None"),
        ([np.float64(18.0), 36], "[18, 36]"),
        ((15, 24.0), "(15, 24)"),
        ([], "[]"),
        (["a", ("b", 1.0)], "['a', ('b', 1)]"),
        (pd.Timestamp("2016-03-01"), "2016-03-01"),
        (pd.Timestamp("2016-03-01 12:30"), "2016-03-01 12:30:00"),
    ],
)
def test_a_value_is_written_as_the_user_would_type_it(value: object, written: str) -> None:
    assert _check.show(value) == written


@given(st.one_of(st.integers(), st.text(), st.booleans(), st.none(), st.floats(), st.lists(st.integers())))
def test_writing_a_value_never_fails_and_is_one_line(value: object) -> None:
    assert len(_check.show(value).splitlines()) == 1


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_written_reads_back(value: float) -> None:
    assert float(_check.show(value)) == value


@pytest.mark.parametrize(
    ("name", "known", "written"),
    [
        ("scor", ["score", "month"], "; did you mean 'score'?"),
        ("remll", ["reml", "ml"], "; did you mean 'reml'?"),
        ("xyz", ["patient", "cohort"], "; there are 'patient', 'cohort'"),
        ("xyz", list("abcdefghi"), "; there are 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', ..."),
        ("xyz", list("abcdefgh"), "; there are 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'"),
        ("xyz", [], "; there are none"),
    ],
)
def test_the_nearest_right_word_is_named(name: str, known: list[str], written: str) -> None:
    assert _check.nearest(name, known) == written


@pytest.mark.parametrize(
    ("labels", "written"),
    [
        ([4], "row 4"),
        ([4, 9], "rows 4, 9"),
        ([4, 9, 12], "rows 4, 9, 12"),
        (range(10), "rows 0, 1, 2 and 7 more"),
        (pd.Index(["p1", "p2"]), "rows 'p1', 'p2'"),
        ((k for k in (1, 2)), "rows 1, 2"),
        ([(1, "a")], "row (1, 'a')"),
    ],
)
def test_rows_are_named_by_their_labels(labels: Any, written: str) -> None:
    assert _check.rows(labels) == written


# ---- collecting faults ---------------------------------------------------------------------------------------------


def test_no_fault_raises_nothing() -> None:
    faults = Faults()
    faults.settle()
    assert not faults


def test_all_faults_are_raised_together_one_a_line() -> None:
    faults = Faults()
    faults.add("outcome", "bsi", "not a number in row 3", "give numbers")
    faults.add("baseline", 0.0, "no visit at this time")
    faults.say("no patient is in two cohorts")
    faults.take(ValueError("taken from further in"))
    assert faults
    assert says(faults.settle) == (
        "outcome='bsi': not a number in row 3; give numbers\n"
        "baseline=0: no visit at this time\n"
        "no patient is in two cohorts\n"
        "taken from further in"
    )


def test_faults_of_a_plan_are_a_plan_error() -> None:
    faults = Faults()
    faults.add("outcmes", {}, "unknown key", "did you mean 'outcomes'?")
    with pytest.raises(PlanError, match=r"^outcmes=\{\}: unknown key; did you mean 'outcomes'\?$"):
        faults.settle(PlanError)


@given(st.lists(st.text(alphabet="abc ", min_size=1), min_size=1, max_size=5))
def test_no_fault_is_lost_and_order_stays(sentences: list[str]) -> None:
    faults = Faults()
    for sentence in sentences:
        faults.say(sentence)
    assert says(faults.settle).split("\n") == sentences


# ---- frames and columns --------------------------------------------------------------------------------------------

FRAME = pd.DataFrame({"patient": [1, 1], "month": [0, 18], "score": [2.1, 1.4]})


def test_a_frame_is_returned_as_it_is() -> None:
    assert _check.frame(FRAME) is FRAME


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1]}, "frame: a dict is not a pandas DataFrame; give one row per patient and visit"),
        (FRAME["score"], "frame: a Series is not a pandas DataFrame; give one row per patient and visit"),
        (FRAME.iloc[:0], "frame: no rows; check the filter or the file that made it"),
        (
            pd.DataFrame([[1, 2, 3]], columns=["a", "b", "a"]),
            "frame: the column 'a' occurs twice; rename or drop one",
        ),
    ],
)
def test_what_is_no_frame_is_refused(value: object, message: str) -> None:
    assert says(_check.frame, value) == message


def test_a_frame_goes_by_the_name_of_its_argument() -> None:
    assert says(_check.frame, None, "newdata").startswith("newdata: a NoneType is not")


def test_every_role_without_a_column_is_named() -> None:
    faults = Faults()
    _check.columns(FRAME, faults, outcome="scor", time="month", groups=None, cohort="arm", patient=["patient"])
    assert says(faults.settle) == (
        "outcome='scor': no such column; did you mean 'score'?\n"
        "cohort='arm': no such column; there are 'patient', 'month', 'score'\n"
        "patient=['patient']: no such column; did you mean 'patient'?"
    )


def test_roles_that_are_columns_are_no_fault() -> None:
    faults = Faults()
    _check.columns(FRAME, faults, outcome="score", time="month", groups=None)
    assert not faults


def test_a_tuple_that_holds_a_list_is_no_column() -> None:
    faults = Faults()
    _check.columns(FRAME, faults, outcome=("score", ["month"]))
    assert says(faults.settle).startswith("outcome=('score', ['month']): no such column")


def test_a_column_that_is_a_number_is_not_offered_as_a_word() -> None:
    faults = Faults()
    _check.columns(FRAME.rename(columns={"month": 18}), faults, outcome="18")
    assert says(faults.settle) == "outcome='18': no such column; did you mean 18?"


# ---- options and numbers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["reml", "ml", None, 2])
def test_an_allowed_option_is_returned(value: object) -> None:
    assert _check.one_of("method", value, ["reml", "ml", None, 2]) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("REML", "method='REML': unknown option; did you mean 'reml'?"),
        ("rmel", "method='rmel': unknown option; did you mean 'reml'?"),
        (True, "method=True: unknown option; there are 'reml', 'ml'"),
        (["reml"], "method=['reml']: unknown option; did you mean 'reml'?"),
        (None, "method=None: unknown option; there are 'reml', 'ml'"),
    ],
)
def test_an_unknown_option_names_the_nearest(value: object, message: str) -> None:
    assert says(_check.one_of, "method", value, ["reml", "ml"]) == message


def test_a_word_out_of_an_array_is_a_word() -> None:
    assert _check.one_of("method", np.array(["reml"])[0], ["reml", "ml"]) == "reml"


def test_true_is_not_one() -> None:
    assert says(_check.one_of, "order", True, [1, 2]).startswith("order=True: unknown option")


@given(st.floats(min_value=0, max_value=1, exclude_min=True, exclude_max=True))
def test_a_level_between_0_and_1_is_returned(value: float) -> None:
    assert _check.level(value) == value
    assert type(_check.level(np.float64(value))) is float


@pytest.mark.parametrize(
    ("value", "written"),
    [(95, "95"), (0, "0"), (1, "1"), (1.0, "1"), (-0.9, "-0.9"), (math.nan, "nan"), ("0.9", "'0.9'"), (True, "True")],
)
def test_a_level_outside_is_refused(value: object, written: str) -> None:
    assert says(_check.level, value) == f"level={written}: not between 0 and 1; 0.95 gives 95 % intervals"


@given(st.one_of(st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False)))
def test_a_finite_number_is_returned(value: float) -> None:
    assert _check.number("margin", value) == value
    assert type(_check.number("margin", value)) is float


@pytest.mark.parametrize(
    ("value", "bounds", "message"),
    [
        ("3", {}, "margin='3': not a number"),
        (True, {}, "margin=True: not a number"),
        (np.bool_(True), {}, "margin=True: not a number"),
        (None, {"remedy": "0.2 is a small effect"}, "margin=None: not a number; 0.2 is a small effect"),
        (math.nan, {}, "margin=nan: not a finite number"),
        (-math.inf, {"above": 0}, "margin=-inf: not a finite number"),
        (0, {"above": 0}, "margin=0: not above 0"),
        (-0.5, {"least": 0, "remedy": "give a size"}, "margin=-0.5: less than 0; give a size"),
    ],
)
def test_what_is_no_such_number_is_refused(value: object, bounds: dict[str, Any], message: str) -> None:
    assert says(_check.number, "margin", value, **bounds) == message


def test_a_bound_is_above_or_at_least() -> None:
    assert _check.number("margin", 0, least=0) == 0
    assert _check.number("margin", 1e-9, above=0) == 1e-9


def test_a_number_too_large_for_a_float_is_refused() -> None:
    assert "not a finite number" in says(_check.number, "margin", 10**400)


@given(st.integers(1, 10**9))
def test_a_whole_number_is_returned(value: int) -> None:
    assert _check.whole("draws", value) == value
    assert type(_check.whole("draws", np.int64(value))) is int


@pytest.mark.parametrize(
    ("value", "named", "message"),
    [
        (0, {}, "draws=0: less than 1"),
        (-3, {"least": 0, "remedy": "999 is usual"}, "draws=-3: less than 0; 999 is usual"),
        (99.5, {}, "draws=99.5: not a whole number"),
        ("99", {"remedy": "999 is usual"}, "draws='99': not a whole number; 999 is usual"),
        (True, {}, "draws=True: not a whole number"),
    ],
)
def test_what_is_no_whole_number_is_refused(value: object, named: dict[str, Any], message: str) -> None:
    assert says(_check.whole, "draws", value, **named) == message


def test_999_point_0_is_whole() -> None:
    assert _check.whole("draws", 999.0) == 999


@pytest.mark.parametrize("value", [True, False, np.bool_(True)])
def test_a_truth_value_is_returned(value: object) -> None:
    assert _check.flag("spaghetti", value) is bool(value)


@pytest.mark.parametrize(("value", "written"), [("yes", "'yes'"), (1, "1"), (None, "None")])
def test_what_is_no_truth_value_is_refused(value: object, written: str) -> None:
    assert says(_check.flag, "spaghetti", value) == f"spaghetti={written}: not True or False"


# ---- times ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "times"),
    [
        (18, [18.0]),
        (np.int64(18), [18.0]),
        ([36, 18, 18.0], [18.0, 36.0]),
        ((0,), [0.0]),
        (np.array([18, 36]), [18.0, 36.0]),
        (pd.Series([36.0, 18.0], index=[7, 9]), [18.0, 36.0]),
        (range(3), [0.0, 1.0, 2.0]),
    ],
)
def test_times_are_a_sorted_list_of_distinct_numbers(value: object, times: list[float]) -> None:
    assert _check.at(value) == times
    assert all(type(t) is float for t in _check.at(value))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("18", "at='18': not a time or a list of times; write at=[18, 36]"),
        (None, "at=None: not a time or a list of times; write at=[18, 36]"),
        ([], "at=[]: no time is named; write at=[18, 36]"),
        ([18, "36"], "at='36': not a number"),
        ([18, math.nan], "at=nan: not a finite number"),
        (math.inf, "at=inf: not a finite number"),
        (True, "at=True: not a number"),
    ],
)
def test_what_is_no_time_is_refused(value: object, message: str) -> None:
    assert says(_check.at, value) == message


def test_an_array_without_dimensions_is_one_time() -> None:
    assert _check.at(np.array(18)) == [18.0]


def test_times_go_by_the_name_of_their_argument() -> None:
    assert says(_check.at, [], "times") == "times=[]: no time is named; write times=[18, 36]"


@given(st.lists(st.integers(-1000, 1000), min_size=1))
def test_times_are_those_given(value: list[int]) -> None:
    assert _check.at(value) == sorted({float(v) for v in value})
    assert _check.at(_check.at(value)) == _check.at(value)


def test_few_clusters_are_said_up_to_fifty() -> None:
    assert _check.few_clusters(50) == "; with 50 or fewer they come out too small"
    assert _check.few_clusters(51) == ""
