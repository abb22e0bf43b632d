"""Time bases: their columns by hand, what they span, their names, and what they take from the data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from implstats.design.time import (
    MONTH_DAYS,
    UNIT_DAYS,
    Linear,
    Log,
    NaturalSpline,
    Piecewise,
    Quadratic,
    Shape,
    Visits,
    resolve,
)
from implstats.errors import DataError

T = np.array([0.0, 6.0, 12.0, 18.0])

BY_HAND: dict[str, tuple[Shape, list[list[float]]]] = {
    "linear": (Linear(), [[0], [6], [12], [18]]),
    "quadratic": (Quadratic(), [[0, 0], [6, 36], [12, 144], [18, 324]]),
    "log": (Log(6.0), [[0], [np.log(2)], [np.log(3)], [np.log(4)]]),
    "visits": (Visits((0.0, 6.0, 12.0, 18.0)), [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    "piecewise": (Piecewise([6, 12]), [[0, 0, 0], [6, 0, 0], [12, 6, 0], [18, 12, 6]]),
}

RESOLVED: dict[str, Shape] = {
    **{name: shape for name, (shape, _) in BY_HAND.items()},
    "spline": NaturalSpline(2, (0, 6, 18)),
    "spline of three": NaturalSpline(3, (0, 6, 12, 18)),
}


@pytest.mark.parametrize(("shape", "columns"), BY_HAND.values(), ids=BY_HAND.keys())
def test_columns_by_hand(shape: Shape, columns: list[list[float]]) -> None:
    np.testing.assert_allclose(shape.columns(T), columns)


@pytest.mark.parametrize("shape", RESOLVED.values(), ids=RESOLVED.keys())
def test_names_and_columns_match_and_the_intercept_is_no_part(shape: Shape) -> None:
    columns = shape.columns(T)
    assert columns.shape == (4, len(shape.names("month")))
    assert len(set(shape.names("month"))) == columns.shape[1]
    assert all("month" in name for name in shape.names("month"))
    assert "month" in shape.formula("month")
    with_intercept = np.column_stack([np.ones(4), columns])
    assert np.linalg.matrix_rank(with_intercept) == with_intercept.shape[1]


@pytest.mark.parametrize("shape", RESOLVED.values(), ids=RESOLVED.keys())
def test_columns_are_new_arrays(shape: Shape) -> None:
    t = T.copy()
    shape.columns(t)[:] = -1
    np.testing.assert_array_equal(t, T)


def test_a_spline_is_harrells_by_hand() -> None:
    # Knots 0, 6, 18: (t - 0)+^3 - (t - 6)+^3 (18 - 0)/(18 - 6) + (t - 18)+^3 (6 - 0)/(18 - 6), over (18 - 0)^2.
    expected = [0.0, 216 / 324, (1728 - 1.5 * 216) / 324, (5832 - 1.5 * 1728) / 324]
    np.testing.assert_allclose(NaturalSpline(2, (0, 6, 18)).columns(T)[:, 1], expected)


def test_a_spline_is_straight_beyond_its_outer_knots() -> None:
    shape = NaturalSpline(2, (0, 6, 18))
    for t in (np.array([-9.0, -6.0, -3.0]), np.array([20.0, 25.0, 30.0])):
        np.testing.assert_allclose(np.diff(shape.columns(t), n=2, axis=0), 0, atol=1e-9)


def test_a_spline_is_smooth_at_its_knots() -> None:
    shape = NaturalSpline(2, (0, 6, 18))
    step = 1e-3
    for knot in (0.0, 6.0, 18.0):
        around = shape.columns(knot + step * np.arange(-2, 3))

        slopes = np.diff(around, axis=0) / step
        assert np.abs(slopes - slopes[0]).max() < 1e-2


def test_a_line_bends_at_its_knots_only() -> None:
    shape = Piecewise(9)
    assert shape.knots == (9.0,)
    columns = shape.columns(np.array([0.0, 4.0, 8.0, 9.0, 10.0, 14.0, 18.0]))
    assert columns[:, 1].tolist() == [0, 0, 0, 0, 1, 5, 9]


def test_knots_are_sorted_and_distinct() -> None:
    assert Piecewise([12, 6, 12]).knots == (6.0, 12.0)
    assert NaturalSpline(2, (18, 0, 6)).knots == (0.0, 6.0, 18.0)


def test_a_log_slope_is_on_the_log_scale_and_others_on_time() -> None:
    np.testing.assert_allclose(Log(6.0).slope(T), np.log1p(T / 6))
    assert Log(6.0).slope_name("month") == "log(1 + month/6)"
    for name, shape in RESOLVED.items():
        if name != "log":
            np.testing.assert_array_equal(shape.slope(T), T)
            assert shape.slope_name("month") == "month"


@pytest.mark.parametrize(
    ("given", "times", "expected"),
    [
        ("auto", [0, 6, 12, 18], Visits((0.0, 6.0, 12.0, 18.0))),
        ("auto", [0, 6], Visits((0.0, 6.0))),
        ("auto", [0, 3, 6, 12, 18], Linear()),
        ("linear", [0, 6], Linear()),
        ("quadratic", [0, 6, 12], Quadratic()),
        ("visits", [0, 1, 2, 3, 4, 5], Visits((0.0, 1.0, 2.0, 3.0, 4.0, 5.0))),
        ("log", [0, 3, 9], Log(3.0)),
        ("log", [2, 3, 9], Log(2.0)),
        (Piecewise([6]), [0, 6, 18], Piecewise([6])),
        (NaturalSpline(2), [0, 6, 18], NaturalSpline(2, (0, 6, 18))),
        (NaturalSpline(3), list(range(10)), NaturalSpline(3, (0, 3, 6, 9))),
        (NaturalSpline(2, (0, 5, 18)), [0, 6, 18], NaturalSpline(2, (0, 5, 18))),
    ],
)
def test_what_a_shape_takes_from_the_data(given: Any, times: list[float], expected: Shape) -> None:
    assert resolve(given, np.array(times, dtype=float)) == expected


def test_a_shape_is_not_changed_by_the_data_it_meets() -> None:
    asked = NaturalSpline(2)
    resolve(asked, T)
    assert asked.knots == ()


@pytest.mark.parametrize("given", [Piecewise([0]), Piecewise([18]), Piecewise([6, 30]), Piecewise([-3])])
def test_a_knot_outside_the_times_is_refused(given: Piecewise) -> None:
    with pytest.raises(DataError, match="not between the first and the last time, 0 and 18"):
        resolve(given, T)


def test_units() -> None:
    assert MONTH_DAYS == 30.4375
    assert UNIT_DAYS == {"days": 1.0, "weeks": 7.0, "months": 30.4375, "years": 365.25}
    assert 12 * UNIT_DAYS["months"] == UNIT_DAYS["years"]


def test_shapes_compare_by_value_and_cannot_be_changed() -> None:
    assert Piecewise([6]) == Piecewise((6.0,))
    assert hash(NaturalSpline(2)) == hash(NaturalSpline(2))
    with pytest.raises(AttributeError):
        Piecewise([6]).knots = (1.0,)  # type: ignore[misc]
