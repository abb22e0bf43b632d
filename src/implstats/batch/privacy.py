"""What must not leave the data: patients are numbered, names of staff are masked, small numbers are left empty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

__all__ = ["masked", "without_small"]

COUNTS = ("n", "n_reference", "events")


def masked(frame: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """Return the frame in which the values of some columns are numbers, in the order in which they come.

    Every message, warning and label that an analysis makes of such a frame can only tell these numbers.
    """
    numbers = {}
    for name in names:
        codes, _ = pd.factorize(frame[name])
        numbers[name] = pd.Series(codes + 1, index=frame.index).where(frame[name].notna())
    return frame.assign(**numbers)


def without_small(row: Mapping[str, Any], least: int) -> dict[str, Any]:
    """Return a row in which a count of 1 to least - 1 is empty; none at all tells of nobody and stays."""
    small = [k for k in COUNTS if row.get(k) is not None and 0 < row[k] < least]
    return {**row, **dict.fromkeys(small)}
