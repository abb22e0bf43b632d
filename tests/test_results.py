"""What every result inherits: intervals, rounding for readers, escaping, and the way through JSON and pickle."""

from __future__ import annotations

import copy
import json
import math
import pickle
import re
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pandas.testing import assert_frame_equal
from scipy import stats

from implstats import __version__, results, tables
from implstats.errors import DataError
from implstats.results import Estimates, Result, Sample
from implstats.tables import read_tables

finite = st.floats(allow_nan=False, allow_infinity=False, width=64)


def made(**changed: Any) -> Estimates:
    """Return three estimates, one of them without degrees of freedom to speak of."""
    given_: dict[str, Any] = {
        "call": {"outcome": "bsi", "at": [18, 36]},
        "title": "Mean of bsi",
        "labels": pd.DataFrame({"cohort": ["before", "before", "during"], "time": [0.0, 18.0, 18.5]}),
        "estimate": [2.0, 1.25, -0.5],
        "std_error": [0.5, 0.25, 0.125],
        "df": [10.0, 57.25, np.inf],
        "notes": ("Covariates are at their mean.",),
    }
    return Estimates(**given_ | changed)


# ---- read-only arrays ----------------------------------------------------------------------------------------------


@given(arrays.arrays(float, arrays.array_shapes(max_dims=2), elements=finite))
def test_a_frozen_array_is_equal_and_read_only(array: np.ndarray) -> None:
    out = results.frozen(array)
    assert np.array_equal(out, array)
    with pytest.raises(ValueError, match="read-only"):
        out.flat[0] = 1.0


@pytest.mark.parametrize(
    "owner",
    [
        np.arange(3.0),
        pd.Series(np.arange(3.0)),
        pd.DataFrame({"x": np.arange(3.0)}),
        pytest.param(np.arange(3.0)[:], id="view"),
    ],
)
def test_changing_the_owner_later_changes_nothing(owner: Any) -> None:
    out = results.frozen(owner)
    if isinstance(owner, np.ndarray):
        owner[0] = 99.0
    else:
        owner.iloc[0] = 99.0
    assert out.flat[0] == 0.0


def test_a_read_only_view_of_what_others_can_write_is_copied() -> None:
    owner = np.arange(3.0)
    view = owner[:]
    view.setflags(write=False)
    out = results.frozen(view)
    owner[0] = 99.0
    assert out[0] == 0.0


def test_freezing_does_not_lock_the_array_it_was_given() -> None:
    owner = np.arange(3.0)
    results.frozen(owner)
    owner[0] = 1.0


def test_freezing_takes_a_type() -> None:
    assert results.frozen([1, 2], float).dtype == np.float64


# ---- intervals and p-values ----------------------------------------------------------------------------------------


@given(finite.filter(lambda x: abs(x) < 1e6), st.floats(1e-6, 1e6), st.floats(0.5, 1e6), st.floats(0.01, 0.999))
def test_intervals_are_those_of_t(estimate: float, se: float, df: float, level: float) -> None:
    low, high = results.intervals(np.array([estimate]), np.array([se]), np.array([df]), level)
    reach = stats.t.ppf(0.5 + level / 2, df) * se
    np.testing.assert_allclose([low[0], high[0]], [estimate - reach, estimate + reach], rtol=1e-6, atol=1e-9 * reach)


def test_infinite_df_is_the_normal() -> None:
    low, high = results.intervals(np.zeros(1), np.ones(1), np.array([np.inf]), 0.95)
    np.testing.assert_allclose([low[0], high[0]], [-1.959963984540054, 1.959963984540054], rtol=1e-12)
    np.testing.assert_allclose(results.p_values(np.array([1.959963984540054]), np.array([np.inf])), 0.05, rtol=1e-12)


def test_p_values_are_two_sided() -> None:
    p = results.p_values(np.array([2.0, -2.0, 0.0]), np.array([10.0, 10.0, 3.0]))
    np.testing.assert_allclose(p, [2 * stats.t.sf(2, 10), 2 * stats.t.sf(2, 10), 1.0], rtol=1e-12)


def test_unknown_df_give_no_interval_and_no_p_value() -> None:
    df = np.array([np.nan])
    assert np.isnan(results.intervals(np.zeros(1), np.ones(1), df, 0.95)).all()
    assert np.isnan(results.p_values(np.ones(1), df)).all()


def test_a_level_that_is_none_is_refused() -> None:
    with pytest.raises(DataError, match=r"^level=95: not between 0 and 1; 0\.95 gives 95 % intervals$"):
        made().tidy(level=95)


# ---- numbers for readers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "column", "written"),
    [
        (1.23456, "estimate", "1.235"),
        (-0.0123456, "estimate", "-0.01235"),
        (123.456, "estimate", "123.5"),
        (12345.6, "estimate", "12346"),
        (1234567.0, "estimate", "1.235e+06"),
        (0.00012345, "estimate", "1.234e-04"),
        (0.0, "estimate", "0"),
        (-0.0, "estimate", "0"),
        (math.nan, "estimate", ""),
        (None, "error", ""),
        (pd.NA, "estimate", ""),
        (math.inf, "df", "inf"),
        (-math.inf, "conf_low", "-inf"),
        (57.25, "df", "57.2"),
        (0.0004, "p_value", "<.001"),
        (0.0, "p_value", "<.001"),
        (0.04567, "p_corrected", ".046"),
        (0.9999, "p_value", "1.000"),
        (1.0, "p_value", "1.000"),
        (18.0, "time", "18"),
        (18.5, "time", "18.50"),
        (7, "n", "7"),
        (np.int64(7), "n", "7"),
        (True, "converged", "yes"),
        (np.bool_(False), "boundary", "no"),
        ("before", "cohort", "before"),
    ],
)
def test_a_cell_is_rounded_for_reading(value: object, column: str, written: str) -> None:
    assert tables.write_number(value, column) == written


@given(finite.filter(lambda x: abs(x) < 1e308))
def test_a_cell_keeps_three_digits_and_its_sign(value: float) -> None:
    text = tables.write_number(value, "estimate")
    assert math.isclose(float(text), value, rel_tol=6e-4, abs_tol=0)
    assert len(text) <= 11


# ---- printed forms -------------------------------------------------------------------------------------------------


def test_the_printed_form() -> None:
    assert repr(made()) == (
        "Mean of bsi (95% intervals)\n"
        "Covariates are at their mean.\n"
        "\n"
        "cohort   time  estimate  std_error    df  conf_low  conf_high\n"
        "before      0     2.000     0.5000  10.0    0.8859      3.114\n"
        "before     18     1.250     0.2500  57.2    0.7494      1.751\n"
        "during  18.50   -0.5000     0.1250   inf   -0.7450    -0.2550"
    )


@pytest.mark.parametrize(("level", "written"), [(0.9, "90"), (0.95, "95"), (0.975, "97.5"), (0.999, "99.9")])
def test_the_header_names_the_level_that_was_used(level: float, written: str) -> None:
    (number,) = re.findall(r"\(([\d.]+) ?% intervals\)$", made(level=level).header()[0])
    assert number == written


HOSTILE = "<script>alert('x')</script>|&_%\\"


@pytest.fixture
def hostile() -> Estimates:
    labels = pd.DataFrame({"cohort": [HOSTILE, "before", "a\nb"], "time": [0.0, 18.0, 36.0]})
    return made(labels=labels, title=f"Mean of {HOSTILE}", notes=(HOSTILE,))


def test_html_is_escaped(hostile: Estimates) -> None:
    text = hostile._repr_html_()
    assert "<script" not in text
    assert text.count("&lt;script&gt;") == 3


def test_markdown_is_escaped_in_header_and_table(hostile: Estimates) -> None:
    text = hostile.to_markdown()
    assert "<script" not in text
    rows = [line for line in text.split("\n") if line.startswith("| ")]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [8] * 5


def test_latex_is_escaped(hostile: Estimates) -> None:
    row = next(line for line in hostile.to_latex().split("\n") if "script" in line)
    assert len(re.findall(r"(?<!\\)&", row)) == 6
    assert r"\&\_\%\textbackslash{}" in row
    # In LaTeX's default encoding these print as other characters.
    assert not re.search(r"[<>|]", row)


def test_a_line_break_in_a_name_does_not_break_the_printed_table(hostile: Estimates) -> None:
    table = repr(hostile).split("\n\n")[-1]
    assert len(table.split("\n")) == 4


def test_latex_is_a_tabular() -> None:
    lines = made().to_latex().split("\n")
    assert lines[0] == r"\begin{tabular}{lrrrrrr}"
    assert lines[2] == r"cohort & time & estimate & std\_error & df & conf\_low & conf\_high \\"
    assert lines[-1] == r"\end{tabular}"
    assert len(lines) == 4 + 3 + 2


def test_markdown_is_a_table_under_its_header() -> None:
    lines = made().to_markdown().split("\n")
    assert lines[:3] == ["Mean of bsi (95% intervals)  ", "Covariates are at their mean.  ", ""]
    assert lines[4] == "| :--- | ---: | ---: | ---: | ---: | ---: | ---: |"
    assert len(lines) == 3 + 2 + 3


# ---- estimates -----------------------------------------------------------------------------------------------------


def test_tidy_computes_intervals_when_they_are_asked_for() -> None:
    table = made().tidy(level=0.9)
    assert list(table.columns) == ["cohort", "time", "estimate", "std_error", "df", "conf_low", "conf_high"]
    np.testing.assert_allclose(table["conf_high"][0], 2 + stats.t.ppf(0.95, 10) * 0.5)
    assert_frame_equal(made(level=0.9).tidy(), table)


def test_tests_add_statistic_and_p_value() -> None:
    table = made(tests=True).tidy()
    assert list(table.columns)[4:] == ["df", "statistic", "p_value", "conf_low", "conf_high"]
    np.testing.assert_allclose(table["statistic"], [4.0, 5.0, -4.0])
    np.testing.assert_allclose(table["p_value"][0], 2 * stats.t.sf(4, 10))


def test_a_standard_error_of_zero_warns_of_nothing() -> None:
    table = made(tests=True, std_error=[0.0, 0.0, 1.0], estimate=[1.0, 0.0, 1.0]).tidy()
    assert table["statistic"][0] == math.inf
    assert math.isnan(table["p_value"][1])


def test_glance_is_one_row() -> None:
    assert made().glance().to_dict("records") == [{"n": 3}]


def test_columns_are_in_the_list_and_the_list_explains_itself() -> None:
    assert set(made(tests=True).tidy()) <= set(results.COLUMNS)
    assert all(meaning and name == name.lower() for name, meaning in results.COLUMNS.items())
    with pytest.raises(TypeError):
        results.COLUMNS["new"] = "x"  # type: ignore[index]


def test_nothing_can_be_set() -> None:
    with pytest.raises(FrozenInstanceError):
        made().level = 0.9  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        made().estimate[0] = 9.0


def test_what_it_was_made_from_can_change_later() -> None:
    labels = pd.DataFrame({"cohort": ["a", "b", "c"], "time": [0.0, 18.0, 36.0]}, index=[5, 6, 7])
    call = {"outcome": "bsi"}
    estimate = np.array([1.0, 2.0, 3.0])
    one = made(labels=labels, call=call, estimate=estimate)
    printed = repr(one)
    labels.iloc[0, 0] = "changed"
    call["outcome"] = "changed"
    estimate[0] = 99.0
    assert repr(one) == printed
    assert one.call == {"outcome": "bsi"}


def test_labels_handed_out_can_be_changed() -> None:
    one = made()
    printed = repr(one)
    table = one.tidy()
    table.iloc[0, 0] = "changed"
    assert repr(one) == printed


@pytest.mark.parametrize("again", [lambda r: pickle.loads(pickle.dumps(r)), copy.deepcopy, copy.copy])
def test_copies_are_equal_and_read_only(again: Any) -> None:
    one = made()
    other = again(one)
    assert repr(other) == repr(one)
    assert not any(getattr(other, name).flags.writeable for name in ("estimate", "std_error", "df"))


@dataclass(frozen=True, eq=False, repr=False)
class _Nested(Estimates):
    inner: Any = None


def test_arrays_inside_are_locked_again_too() -> None:
    # The class cannot be looked up by name here, so the state goes the way that pickle sends it.
    state = copy.deepcopy(made().__getstate__()) | {"inner": {"draws": (np.arange(3.0), (np.arange(2.0),))}}
    other = object.__new__(_Nested)
    other.__setstate__(state)
    assert not other.inner["draws"][0].flags.writeable
    assert not other.inner["draws"][1][0].flags.writeable


# ---- JSON ----------------------------------------------------------------------------------------------------------


def through_json(result: Result) -> dict[str, Any]:
    return json.loads(json.dumps(result.to_dict(), allow_nan=False))


def test_the_record_names_what_made_it() -> None:
    record = through_json(made())
    assert list(record) == ["schema", "implstats", "kind", "call", "header", "tables"]
    assert record["schema"] == results.SCHEMA
    assert record["implstats"] == __version__
    assert record["kind"] == "Estimates"
    assert record["call"] == {"outcome": "bsi", "at": [18, 36]}
    assert list(record["tables"]) == ["tidy", "glance"]


@given(arrays.arrays(float, 3), arrays.arrays(float, 3, elements=st.floats(0, 1e300)), st.booleans())
def test_any_number_comes_back(estimate: np.ndarray, std_error: np.ndarray, tests: bool) -> None:
    with np.errstate(all="ignore"):
        one = made(estimate=estimate, std_error=std_error, tests=tests)
        table = one.tidy()
        glance = one.glance()
        tables = read_tables(through_json(one))
    assert_frame_equal(tables["tidy"], table, check_exact=True)
    assert_frame_equal(tables["glance"], glance, check_exact=True)


@given(st.lists(st.one_of(st.text(), st.none()), min_size=3, max_size=3))
def test_any_label_comes_back(cohorts: list[str | None]) -> None:
    one = made(labels=pd.DataFrame({"cohort": pd.Series(cohorts, dtype=object), "n": [1, 2, 3], "set": True}))
    assert_frame_equal(read_tables(through_json(one))["tidy"], one.tidy(), check_exact=True)


@pytest.mark.parametrize("dtype", ["object", "category", "string"])
def test_labels_of_every_text_type_come_back_as_they_were(dtype: str) -> None:
    labels = pd.DataFrame({"cohort": pd.Series(["before", "before", "during"], dtype=dtype)})
    one = made(labels=labels)
    assert_frame_equal(read_tables(through_json(one))["tidy"], one.tidy(), check_exact=True, check_categorical=False)


def test_a_table_without_rows_comes_back() -> None:
    one = made(labels=pd.DataFrame({"cohort": pd.Series([], dtype=object)}), estimate=[], std_error=[], df=[])
    assert_frame_equal(read_tables(through_json(one))["tidy"], one.tidy())


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (np.float64(1.5), 1.5),
        (np.bool_(True), True),
        (math.nan, None),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (pd.NaT, None),
        (pd.NA, None),
        (np.datetime64("NaT"), None),
        (pd.Timestamp("2016-03-01"), "2016-03-01T00:00:00"),
        ({18: (15, 24)}, {"18": [15, 24]}),
        (np.array([1.0, np.nan]), [1.0, None]),
        (pd.DataFrame({"a": [1]}), [{"a": 1}]),
        (pd.Series([1.0, 2.0]), [1.0, 2.0]),
        (frozenset({"b", "a", "c"}), ["a", "b", "c"]),
    ],
)
def test_what_json_can_hold(value: object, written: object) -> None:
    assert tables.plain(value) == written


# ---- sample --------------------------------------------------------------------------------------------------------


def test_a_sample_in_words() -> None:
    sample = Sample(
        given=300,
        rows=280,
        dropped={"bsi is missing": 18, "age is missing": 2, "time is missing": 0},
        groups={"patient": 120, "site": 1},
        patients={"before": 70, "during": 50},
        seen=(("before", 0.0, 70), ("during", 0.0, 50)),
    )
    assert sample.in_words() == [
        "280 rows of 300 given; 120 patients, 1 site",
        "patients: before 70, during 50",
        "dropped: 18 bsi is missing, 2 age is missing",
    ]
    assert_frame_equal(
        sample.visits(), pd.DataFrame({"cohort": ["before", "during"], "time": [0.0, 0.0], "n": [70, 50]})
    )


def test_a_sample_that_lost_nothing_says_so() -> None:
    assert Sample(given=10, rows=10).in_words() == ["10 rows of 10 given", "dropped: none"]


def test_rows_made_from_a_baseline_column_are_counted() -> None:
    assert Sample(given=10, rows=14, added=4).in_words()[0] == "14 rows (10 given, 4 added from the baseline column)"


def test_irregular_times_have_no_table_of_visits() -> None:
    assert list(Sample(given=1, rows=1).visits().columns) == ["cohort", "time", "n"]


def test_a_result_must_say_what_it_is() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Result({})  # type: ignore[abstract]


def test_the_list_of_names_exists() -> None:
    assert all(hasattr(results, name) for name in results.__all__)
