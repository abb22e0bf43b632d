"""What a user's word for the residuals becomes: strata, places along a series, precisions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from implstats._check import Faults
from implstats.design.frames import Codes, codes
from implstats.design.residual import (
    ResidualTerms,
    autoregressive,
    by_level,
    parse_residual,
    precision_of,
    with_precision,
)
from implstats.errors import DataError


@pytest.mark.parametrize(
    ("text", "kind", "columns"),
    [
        ("iid", "iid", ()),
        ("by(cohort)", "by", ("cohort",)),
        ("  by( my cohort )  ", "by", ("my cohort",)),
        ("ar1(month | patient)", "ar1", ("month", "patient")),
        ("ar1(day of study|patient id)", "ar1", ("day of study", "patient id")),
    ],
)
def test_words_of_fit_mixed(text: str, kind: str, columns: tuple[str, ...]) -> None:
    assert parse_residual(text) == (kind, columns)


@pytest.mark.parametrize(
    "text", ["ar1", "by", "by()", "by(a, b)(c)", "ar1(month)", "ar1(| patient)", "AR1(a | b)", "by(a | b)", ""]
)
def test_words_that_are_none(text: str) -> None:
    with pytest.raises(DataError, match="write 'iid', 'by\\(column\\)' or 'ar1\\(time \\| group\\)'"):
        parse_residual(text)


@pytest.mark.parametrize("value", [None, 3, ["iid"]])
def test_no_text_at_all(value: object) -> None:
    with pytest.raises(DataError, match=r"^residual="):
        parse_residual(value)  # type: ignore[arg-type]


def test_by_level() -> None:
    coded = codes(pd.Series(["b", "a", "b", "a", "b", "a"]))
    terms = by_level("by_cohort", "cohort", coded)
    assert terms.levels == ("a", "b")
    assert terms.structure.strata.tolist() == [1, 0, 1, 0, 1, 0]
    assert terms.names() == ["cohort[a]", "cohort[b]"]
    assert terms.in_words() == "residuals: a variance for every cohort"
    assert terms.strata(["b", "a"], "newdata").tolist() == [1, 0]
    with pytest.raises(DataError, match="newdata: no residual variance is known for cohort='c'; there are 'a', 'b'"):
        terms.strata(["a", "c"], "newdata")


def test_by_level_of_numbers() -> None:
    terms = by_level("by_visit", "month", Codes(np.repeat([0, 1, 2], 3), [0.0, 18.0, 36.5]))
    assert terms.names() == ["month[0]", "month[18]", "month[36.5]"]
    assert terms.strata([36.5, 0], "newdata").tolist() == [2, 0]


@pytest.mark.parametrize(("levels", "wrong"), [(["a"] * 5, "one level"), (["a"] * 5 + ["b"] * 2, "2 rows, too few")])
def test_too_few_levels_or_rows(levels: list[str], wrong: str) -> None:
    with pytest.raises(DataError, match=f"^residual='by\\(g\\)': .*{wrong}.*; say residual='iid'"):
        by_level("by(g)", "g", codes(pd.Series(levels)))


def series(patients: list[int], times: list[float], group: str = "patient") -> ResidualTerms:
    t = np.array(times, dtype=float)
    return autoregressive("ar1", "month", t, group, codes(pd.Series(patients)), pd.RangeIndex(len(t)))


def test_whole_gaps_are_counted_in_steps_from_each_patients_first_row() -> None:
    # Gaps 6, 12 and 18; the second patient starts at odds with the first.
    terms = series([1, 1, 1, 2, 2], [0, 6, 18, 1.5, 19.5])
    assert terms.step == 6
    assert terms.structure.position is not None
    assert np.issubdtype(terms.structure.position.dtype, np.integer)
    assert terms.structure.position.tolist() == [0, 1, 3, 0, 3]
    assert terms.structure.lowest == -1
    assert terms.in_words() == "residuals: AR(1) along month, in steps of 6"


def test_order_of_the_rows_and_origin_of_time_do_not_matter() -> None:
    one, other = series([1, 2, 1, 2], [0, 0, 4, 8]), series([2, 1, 2, 1], [1e6 + 8, 1e6, 1e6, 1e6 + 4])
    assert one.step == other.step == 4
    assert one.structure.position is not None
    assert other.structure.position is not None
    gaps = [np.diff(x.structure.position)[0] for x in (series([1, 1], [0, 4]), series([1, 1], [1e6, 1e6 + 4]))]
    assert gaps == [1, 1]
    assert one.structure.position.tolist() == [0, 0, 1, 2]
    assert other.structure.position.tolist() == [2, 0, 0, 1]


def test_whole_up_to_rounding() -> None:
    # Thirds of a month are no binary fractions.
    terms = series([1] * 4, [0, 1 / 3, 2 / 3, 3])
    assert terms.step == pytest.approx(1 / 3)
    assert terms.structure.position.tolist() == [0, 1, 2, 9]  # type: ignore[union-attr]


def test_fractional_gaps_have_a_step_that_is_typical() -> None:
    # Two visits a minute apart must not make a step whose correlation is 1 to all digits.
    terms = series([1, 1, 1, 1, 2, 2], [0, 1.1, 1.1007, 2.3, 0, 0.9])
    assert terms.step == pytest.approx(np.median([1.1, 0.0007, 1.1993, 0.9]))
    assert terms.structure.lowest == 0
    position = terms.structure.position
    assert position is not None
    np.testing.assert_allclose(np.diff(position[:4]) * terms.step, [1.1, 0.0007, 1.1993])


def test_whole_gaps_of_very_many_steps_are_fractions() -> None:
    # Timestamps in days, to the second: nobody means rho to the power of millions.
    terms = series([1, 1, 1, 2, 2], [0, 1 / 86400, 30, 0, 31])
    assert terms.step > 1
    assert terms.structure.lowest == 0


def test_series_that_cannot_be() -> None:
    with pytest.raises(DataError, match=r"^residual='ar1': no patient has two rows; say residual='iid'$"):
        series([1, 2, 3], [0, 6, 12])
    with pytest.raises(DataError, match=r"^residual='ar1': two rows of one ward at the same month \(row 2\); keep one"):
        series([1, 1, 1], [0, 6, 6], group="ward")


def test_precision() -> None:
    frame = pd.DataFrame({"k": [1.0, 2.5, 4.0]})
    faults = Faults()
    values = precision_of(frame, "k", faults)
    assert not faults
    terms = with_precision(by_level("by(g)", "g", codes(pd.Series(list("aaabbb")))), "k", np.tile(values, 2))
    assert terms.structure.precision.tolist() == [1.0, 2.5, 4.0] * 2
    assert terms.in_words() == "residuals: a variance for every g; known precision k"


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan])
def test_a_precision_is_positive(wrong: float) -> None:
    faults = Faults()
    precision_of(pd.DataFrame({"k": [1.0, wrong, 2.0]}), "k", faults)
    with pytest.raises(DataError, match=r"^precision='k': missing, zero or negative in row 1; it is 1 / variance"):
        faults.settle()


def test_a_precision_is_asked_of_rows_that_are_used() -> None:
    # A mean of no ratings: no outcome, and 0 or nothing as its precision.
    faults = Faults()
    precision_of(pd.DataFrame({"k": [1.0, 0.0, np.nan]}), "k", faults, np.array([True, False, False]))
    assert not faults
