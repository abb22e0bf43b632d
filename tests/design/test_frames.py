"""Columns to arrays: codes, numbers, elapsed time, dropped rows, repeated pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats._check import Faults
from implstats.design.frames import codes, drop_missing, elapsed, no_codes, numeric, one_spelling, repeated
from implstats.errors import DataError


def said(faults: Faults) -> str:
    """Return what has been recorded, or nothing."""
    try:
        faults.settle()
    except DataError as error:
        return str(error)
    return ""


def read(values: Any, argument: str = "outcome") -> tuple[list[float], str]:
    """Return a column as numbers, and what was wrong with it."""
    faults = Faults()
    frame = pd.DataFrame({"x": values})
    return numeric(frame, argument, "x", faults).tolist(), said(faults)


CODED: dict[str, tuple[Any, list[Any]]] = {
    "text": (["b", "a", "b"], ["a", "b"]),
    "numbers": ([10, 9, 10], [9, 10]),
    "truth values": ([True, False, True], [False, True]),
    "fractions": ([0.5, -1.0, 0.5], [-1.0, 0.5]),
    "mixed": (["b", 1, "b"], [1, "b"]),
    "string": (pd.array(["b", "a", "b"], dtype="string"), ["a", "b"]),
    "Int64": (pd.array([10, 9, 10], dtype="Int64"), [9, 10]),
    "boolean": (pd.array([True, False, True], dtype="boolean"), [False, True]),
    "categorical in its own order": (pd.Categorical(["b", "a", "b"], categories=["b", "a"]), ["b", "a"]),
    "categorical with unused levels": (pd.Categorical(["b", "a", "b"], categories=["z", "a", "b"]), ["a", "b"]),
    "dates": (pd.to_datetime(["2009-01-01", "2008-01-01", "2009-01-01"]), list(pd.to_datetime(["2008", "2009"]))),
}


@pytest.mark.parametrize(("values", "levels"), CODED.values(), ids=CODED.keys())
def test_codes_stand_for_sorted_levels(values: Any, levels: list[Any]) -> None:
    coded = codes(pd.Series(values))
    assert coded.levels == levels
    assert [coded.levels[k] for k in coded.of_row] == list(pd.Series(values))
    assert coded.of_row.dtype == np.intp


@pytest.mark.parametrize("values", [[3, 1, 2], ["c", "a", "b"], [2.5, 1.5, 0.5]])
def test_codes_may_keep_the_order_of_appearance(values: list[Any]) -> None:
    coded = codes(pd.Series(values), ordered=False)
    assert coded.levels == values
    assert coded.of_row.tolist() == [0, 1, 2]


NUMBERS: dict[str, tuple[Any, list[float]]] = {
    "int": ([1, 2], [1.0, 2.0]),
    "float": ([1.5, np.nan], [1.5, np.nan]),
    "truth values": ([True, False], [1.0, 0.0]),
    "Int64": (pd.array([1, None], dtype="Int64"), [1.0, np.nan]),
    "Float64": (pd.array([1.5, None], dtype="Float64"), [1.5, np.nan]),
    "boolean": (pd.array([True, None], dtype="boolean"), [1.0, np.nan]),
    "text": (["1.5", " 2 "], [1.5, 2.0]),
    "text with a gap": (["1.5", None], [1.5, np.nan]),
    "string": (pd.array(["1.5", None], dtype="string"), [1.5, np.nan]),
    "objects": (pd.Series([1, None], dtype=object), [1.0, np.nan]),
    "categorical": (pd.Categorical([3, 1]), [3.0, 1.0]),
}


@pytest.mark.parametrize(("values", "expected"), NUMBERS.values(), ids=NUMBERS.keys())
def test_numbers_of_any_type(values: Any, expected: list[float]) -> None:
    found, fault = read(values)
    np.testing.assert_array_equal(found, expected)
    assert fault == ""


FAULTY: dict[str, tuple[Any, str]] = {
    "decimal comma": (
        ["1,5", "2,0"],
        "the column holds text such as '1,5' (rows 0, 1); read it with decimal=',' or mend it",
    ),
    "word": (["1.5", "none"], "the column holds text such as 'none' (row 1); make it numeric, missing as NaN"),
    "dates": (pd.to_datetime(["2008-01-07"] * 2), "the column holds dates, not numbers; give a number"),
    "infinite": ([1.0, -np.inf], "infinite in row 1; mend the value or set it missing"),
    "empty": ([np.nan, np.nan], "every value is missing; look at the file or name another column"),
    "empty objects": ([None, None], "every value is missing; look at the file or name another column"),
}


@pytest.mark.parametrize(("values", "fault"), FAULTY.values(), ids=FAULTY.keys())
def test_what_is_no_number_is_a_fault(values: Any, fault: str) -> None:
    found, recorded = read(values)
    assert len(found) == 2
    assert recorded == f"outcome='x': {fault}"


def test_dates_as_time_are_told_of_units() -> None:
    assert read(pd.to_datetime(["2008-01-07"] * 2), "time")[1].endswith(
        "say time_unit='months' (or days, weeks, years)"
    )


def test_numbers_are_a_copy() -> None:
    frame = pd.DataFrame({"x": [1.0, 2.0], "y": [3.0, 4.0]})
    values = numeric(frame, "outcome", "x", Faults())
    frame.loc[:, "x"] = 0.0
    assert values.tolist() == [1.0, 2.0]


class TestElapsed:
    @staticmethod
    def frame(**changed: Any) -> pd.DataFrame:
        days = pd.to_datetime(["2008-03-01", "2008-01-31", "2008-01-01", "2009-01-01"])
        return pd.DataFrame({"patient": ["b", "b", "a", "a"], "day": days}).assign(**changed)

    @pytest.mark.parametrize(
        ("unit", "expected"),
        [
            ("days", [30, 0, 0, 366]),
            ("weeks", [30 / 7, 0, 0, 366 / 7]),
            ("months", [30 / 30.4375, 0, 0, 366 / 30.4375]),
            ("years", [30 / 365.25, 0, 0, 366 / 365.25]),
        ],
    )
    def test_it_counts_from_each_patients_first_visit(self, unit: str, expected: list[float]) -> None:
        faults = Faults()
        np.testing.assert_allclose(elapsed(self.frame(), "day", "patient", unit, faults), expected)
        assert said(faults) == ""

    def test_hours_count(self) -> None:
        frame = self.frame(
            day=pd.to_datetime(["2008-01-02 12:00", "2008-01-01 00:00", "2008-01-01 00:00", "2008-01-01 06:00"])
        )
        np.testing.assert_allclose(elapsed(frame, "day", "patient", "days", Faults()), [1.5, 0, 0, 0.25])

    def test_a_time_zone_changes_nothing(self) -> None:
        frame = self.frame()
        zoned = frame.assign(day=frame["day"].dt.tz_localize("UTC"))
        one, other = (elapsed(f, "day", "patient", "days", Faults()) for f in (frame, zoned))
        np.testing.assert_allclose(one, other)

    def test_a_missing_date_is_missing(self) -> None:
        frame = self.frame()
        holes = frame.assign(day=frame["day"].where(frame.index != 1))
        np.testing.assert_array_equal(elapsed(holes, "day", "patient", "days", Faults()), [0, np.nan, 0, 366])

    @pytest.mark.parametrize("dtype", [object, "string", "category", "Int64"])
    def test_ids_of_any_type(self, dtype: Any) -> None:
        ids = pd.Series([2, 2, 1, 1]) if dtype == "Int64" else pd.Series(["b", "b", "a", "a"])
        frame = self.frame(patient=ids.astype(dtype))
        assert elapsed(frame, "day", "patient", "days", Faults()).tolist() == [30, 0, 0, 366]

    def test_an_index_that_repeats(self) -> None:
        frame = self.frame().set_axis([0, 0, 0, 0])
        assert elapsed(frame, "day", "patient", "days", Faults()).tolist() == [30, 0, 0, 366]

    def test_numbers_pass_through(self) -> None:
        frame = self.frame(day=[0, 18, 36, 54])
        assert elapsed(frame, "day", "patient", None, Faults()).tolist() == [0, 18, 36, 54]

    def test_dates_without_a_unit_are_a_fault(self) -> None:
        faults = Faults()
        elapsed(self.frame(), "day", "patient", None, faults)
        assert said(faults).startswith("time='day': the column holds dates, not numbers")

    def test_text_with_a_unit_is_a_fault(self) -> None:
        faults = Faults()
        elapsed(self.frame(day="2008-01-07"), "day", "patient", "months", faults)
        assert said(faults).endswith("convert it with pandas.to_datetime")

    def test_an_unknown_unit(self) -> None:
        faults = Faults()
        assert np.isnan(elapsed(self.frame(), "day", "patient", "month", faults)).all()
        assert said(faults) == "time_unit='month': unknown option; did you mean 'months'?"

    def test_numbers_with_a_unit_are_a_fault(self) -> None:
        faults = Faults()
        elapsed(self.frame(day=[0, 18, 36, 54]), "day", "patient", "months", faults)
        assert said(faults) == "time_unit='months': goes with dates, and 'day' holds numbers; leave it out"


class TestDropMissing:
    LABELS = pd.Index(["p", "q", "r", "s"])
    MASKS = {  # noqa: RUF012
        "score missing": np.array([True, False, True, False]),
        "age missing": np.array([True, True, False, False]),
        "sex missing": np.zeros(4, dtype=bool),
    }

    def test_a_row_counts_once_under_its_first_reason(self) -> None:
        kept, dropped = drop_missing(self.MASKS, "drop", self.LABELS)
        assert kept.tolist() == [False, False, False, True]
        assert dropped == {"score missing": 2, "age missing": 1}

    def test_raising_names_every_reason_and_row(self) -> None:
        with pytest.raises(DataError) as caught:
            drop_missing(self.MASKS, "raise", self.LABELS)
        assert str(caught.value) == (
            "missing='raise': score missing in rows 'p', 'r'; age missing in rows 'p', 'q'; "
            "drop these rows yourself or say missing='drop'"
        )

    def test_nothing_missing_raises_nothing(self) -> None:
        kept, dropped = drop_missing({"score missing": np.zeros(4, dtype=bool)}, "raise", self.LABELS)
        assert kept.all()
        assert dropped == {}

    def test_no_reason_drops_nothing(self) -> None:
        kept, dropped = drop_missing({}, "drop", self.LABELS)
        assert kept.tolist() == [True] * 4
        assert dropped == {}


@pytest.mark.parametrize("many", [3, 10_000_000], ids=["counted", "sorted"])
@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([0, 0, 1, 1], [0, 1, 0, 1], []),
        ([0, 0, 1, 0], [0, 1, 0, 1], [3]),
        ([1, 0, 1, 1], [2, 2, 2, 2], [2, 3]),
        ([2, 1, 0], [0, 1, 2], []),
        ([0], [0], []),
    ],
)
def test_repeated_pairs(first: list[int], second: list[int], expected: list[int], many: int) -> None:
    found = repeated(np.array(first), np.array(second), (many, 3))
    assert found.tolist() == expected


def complaint(check: Any, values: Any) -> str:
    """Return what a check of a whole column says."""
    faults, frame = Faults(), pd.DataFrame({"x": values})
    more = (frame["x"].to_numpy(float),) if check is no_codes else ()
    check(frame, "outcome", "x", *more, faults)
    return said(faults)


def test_codes_for_missing_far_from_all_other_values_are_named() -> None:
    assert complaint(no_codes, [1.5, 999, np.nan, 2.5, -9]) == (
        "outcome='x': -9, 999 in rows 1, 4, all others from 1.5 to 2.5; a code for missing: set it missing, as "
        "read_data(missing_codes=[-9, 999]) does; a value: say what can be, as read_data(ranges={'x': (-9, 999)}) does"
    )


@pytest.mark.parametrize(
    "values",
    [
        [1.5, 5, 2.5],
        [90, 99, 120],
        [0, 99, 50],
        [99, 99],
        [np.nan, 99],
        [1, 1, 99],
        [18, 55, 99],
        [np.inf, np.inf, 99],
        [-1, 0, 1, -9],
    ],
)
def test_what_may_be_a_value_is_none(values: list[float]) -> None:
    assert complaint(no_codes, values) == ""


def test_a_range_that_a_table_carries_says_what_is_a_value() -> None:
    days = pd.DataFrame({"x": [1, 14, 99, 999]})
    days.attrs["implstats"] = {"ranges": {"x": (0, 365)}}
    faults = Faults()
    no_codes(days, "outcome", "x", days["x"].to_numpy(float), faults)
    assert said(faults).startswith("outcome='x': 999 in row 3, all others from 1 to 99; ")
    days.attrs["implstats"] = {"ranges": {"x": (0, 1000)}}
    no_codes(days, "outcome", "x", days["x"].to_numpy(float), left := Faults())
    assert said(left) == ""


def test_words_that_differ_in_capitals_or_blanks_are_named_the_commonest_first() -> None:
    assert complaint(one_spelling, ["a b", "A  b", "c", "a b", None, "C "]) == (
        "outcome='x': 'a b' and 'A  b'; 'c' and 'C ' differ in capitals or blanks only (rows 1, 5); "
        "spell each one way, or give one another name if they are not the same"
    )


@pytest.mark.parametrize(
    "values",
    [["a", "b", None], ["1", 1], [1, 2], ["f", "female"], ["Weiss", "Weiß"], pd.Categorical(["a"], ["a", "A"])],
)
def test_other_words_are_other_words(values: Any) -> None:
    assert complaint(one_spelling, values) == ""
