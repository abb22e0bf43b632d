"""Ratings as arrays: codes, counts, tables, and the items that are left."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats._check import Faults
from implstats.design.ratings import RatingDesign, ratings
from implstats.errors import DataError


def made(frame: pd.DataFrame | None = None, **options: Any) -> RatingDesign:
    given = pd.DataFrame({"i": ["y", "x", "y", "x", "z"], "r": [2, 2, 1, 1, 1], "s": ["b", "a", "b", "c", "a"]})
    roles = {"item": "i", "rater": "r", "score": "s", "missing": "drop", "faults": Faults()} | options
    return ratings(given if frame is None else frame, **roles)


def test_labels_are_sorted_and_rows_stay_where_they_are() -> None:
    found = made()
    assert (found.items, found.raters, found.categories) == (("x", "y", "z"), (1, 2), ("a", "b", "c"))
    assert found.item.tolist() == [1, 0, 1, 0, 2]
    assert found.counts().tolist() == [[1, 0, 1], [0, 2, 0], [1, 0, 0]]
    assert found.table().tolist() == [[2, 0], [1, 1], [0, -1]]
    assert not found.ordered
    assert not found.numbers


def test_left_items_are_coded_anew_and_the_others_counted() -> None:
    found = made().of(np.array([True, False, True]), "of a reason")
    assert (found.items, found.raters) == (("x", "z"), (1, 2))
    assert found.counts().tolist() == [[1, 0, 1], [1, 0, 0]]
    assert found.sample.dropped == {"of a reason": 2}
    assert found.sample.groups == {"item": 2, "rater": 2}
    alone = made().of(np.array([False, False, True]), "of a reason")
    assert alone.raters == (1,)


def test_arrays_are_read_only() -> None:
    for found in (made(), made().of(np.array([True, True, False]), "why")):
        with pytest.raises(ValueError, match="read-only"):
            found.item[0] = 9


def test_numbers_are_asked_for() -> None:
    frame = pd.DataFrame({"i": [0, 0, 1, 1], "r": [0, 1, 0, 1], "s": ["1", "2.5", "2.5", "10"]})
    found = made(frame, numbers=True)
    assert found.categories == (1.0, 2.5, 10.0)
    assert found.ordered
    assert found.worth.tolist() == [1, 2.5, 10]
    assert made(frame).categories == ("1", "10", "2.5")


def test_numbers_have_an_order_whatever_the_type_of_their_column() -> None:
    frame = pd.DataFrame({"i": [0, 0, 1, 1], "r": [0, 1, 0, 1], "s": pd.Series([3, 1, 2, 2], dtype=object)})
    assert made(frame).ordered
    assert not made(frame.assign(s=[True, False, True, True])).ordered
    assert made(frame.assign(s=pd.Categorical(list("abab"), list("ba"), ordered=True))).categories == ("b", "a")


@pytest.mark.parametrize("role", ["item", "rater", "score"])
def test_one_word_spelled_in_two_ways_is_refused(role: str) -> None:
    column = {"item": "i", "rater": "r", "score": "s"}[role]
    frame = pd.DataFrame({"i": list("xxyy"), "r": list("abab"), "s": list("cdcd")})
    other = frame.assign(**{column: frame[column].where(frame.index < 3, frame[column].str.upper() + " ")})
    with pytest.raises(DataError, match=rf"^{role}='{column}': .* differ in capitals or blanks only \(row 3\); spell"):
        made(other)
