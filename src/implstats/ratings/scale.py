"""The scale that raters had: its values, and how much ratings would vary by chance."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults

__all__ = ["Scale", "ends_of", "scale_of", "steps_of"]

Floats = NDArray[np.float64]
REMEDY = "write scale=(1, 7)"


@dataclass(frozen=True)
class Scale:
    """A scale of equal steps from low to high; `null` is the variance that ratings by chance would have."""

    low: float
    high: float
    step: float
    null: float | None = None

    @property
    def points(self) -> int:
        """How many values it has."""
        return round((self.high - self.low) / self.step) + 1

    @property
    def chance(self) -> float:
        """The variance by chance: as given, else that of all values being equally likely."""
        return (self.points**2 - 1) / 12 * self.step**2 if self.null is None else self.null

    def in_words(self) -> str:
        """Return the scale, and what chance is taken to be, for a header."""
        why = "all values equally likely" if self.null is None else "as given"
        ends = f"{_check.show(self.low)} to {_check.show(self.high)}"
        return f"scale {ends}, {self.points} values; by chance the variance would be {self.chance:.4g} ({why})"


def ends_of(given: Any, faults: Faults) -> tuple[float, float] | None:
    """Return the lowest and the highest value, or record what is wrong with them."""
    pair = list(given) if isinstance(given, tuple | list) else []
    if len(pair) != 2:
        faults.add("scale", given, "not the lowest and the highest value", REMEDY)
        return None
    low, high = (faults.ask(_check.number, "scale", value, remedy=REMEDY) for value in pair)
    if low is None or high is None:
        return None
    if low >= high:
        faults.add("scale", given, "the lowest value is not below the highest", REMEDY)
        return None
    return low, high


def scale_of(given: Any, step: Any, null: Any, faults: Faults) -> Scale | None:
    """Return the scale, or record what is wrong with it."""
    size = faults.ask(_check.number, "step", step, above=0, remedy="it is the distance of neighbouring values")
    chance = null if null is None else faults.ask(_check.number, "null", null, above=0, remedy="it is a variance")
    ends = ends_of(given, faults)
    if ends is None or size is None:
        return None
    steps = (ends[1] - ends[0]) / size
    if round(steps) < 1 or abs(steps - round(steps)) > 1e-9 * steps:
        said = f"does not lead from {_check.show(ends[0])} to {_check.show(ends[1])}"
        faults.add("step", step, said, "change it, or scale=")
        return None
    return Scale(*ends, size, chance)


def steps_of(scale: Scale, values: Floats, argument: str, column: Hashable, labels: pd.Index, faults: Faults) -> Floats:
    """Return scores as numbers of steps above the low end; those that are not on the scale are recorded."""
    found = np.round((values - scale.low) / scale.step)
    near = np.abs(scale.low + found * scale.step - values) <= 1e-9 * max(1.0, abs(scale.low), abs(scale.high))
    off = ~near | (found < 0) | (found >= scale.points)
    if off.any():
        said = f"{_check.show(values[off][0])} is not on the scale ({_check.rows(labels[off])})"
        faults.add(argument, column, said, "mend it, or say scale= and step=")
    return found
