"""What scenarios and draws share: checks of a probability and of two dates, and words for codes."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from datetime import date
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults

__all__ = ["probability", "window", "words"]


def probability(faults: Faults, argument: str, value: object, *, one: bool = True) -> None:
    """Record what is no probability; without `one`, 1 itself is none either."""
    number = faults.ask(_check.number, argument, value, least=0)
    if number is not None and (number > 1 or (number == 1 and not one)):
        faults.add(argument, value, "more than 1" if one else "not below 1")


def window(faults: Faults, argument: str, value: object) -> tuple[date, date] | None:
    """Return a first and a last day, or record that there are none."""
    try:
        first, last = (date.fromisoformat(day) for day in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        first, last = date.max, date.min
    if first > last:
        faults.add(argument, value, "not a first and a last day", "write ('2004-01-01', '2006-12-31')")
        return None
    return first, last


def words(labels: Sequence[Hashable], codes: NDArray[Any]) -> NDArray[Any]:
    """Return the label of every code."""
    table = np.empty(len(labels), dtype=object)
    table[:] = labels
    return np.asarray(table[codes.astype(np.int64)])
