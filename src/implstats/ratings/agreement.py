"""A coefficient of agreement beyond chance, with its interval: what kappa, AC1 and alpha return."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats.design.ratings import RatingDesign
from implstats.errors import DataError
from implstats.results import Result, Sample, frozen, intervals

__all__ = ["Agreement", "need_variety"]


@dataclass(frozen=True, eq=False, repr=False)
class Agreement(Result):
    """How far raters agree beyond what chance would give: 1 always, 0 as chance has it, below 0 less than that.

    Attributes
    ----------
    name : str
        The coefficient: "kappa", "weighted kappa", "Fleiss' kappa", "AC1" or "alpha".
    estimate : float
    std_error : float
        Over items; of alpha, the standard deviation of the draws.
    df : float
        Of the interval's t distribution; inf is the normal one.
    draws : numpy.ndarray
        Of alpha, the coefficient in items drawn with replacement; else empty.
    parts : mapping
        What it is made of: agreement and agreement_expected, or disagreement and disagreement_expected.
    categories : tuple
        What a rater could give.
    level : float
        Level of the printed interval.
    sample : Sample
    notes : tuple of str
    """

    name: str
    estimate: float
    std_error: float
    df: float
    draws: NDArray[np.float64]
    parts: Mapping[str, float]
    categories: tuple[Any, ...]
    level: float
    sample: Sample
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "draws", frozen(self.draws, float))

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return one row: the coefficient, its standard error and its interval, which ends at 1."""
        low, high = self._ends(self.level if level is None else _check.level(level))
        row = {"quantity": self.name, "estimate": self.estimate, "std_error": self.std_error}
        return pd.DataFrame([row | {"conf_low": low, "conf_high": min(high, 1.0)}])

    def _ends(self, level: float) -> tuple[float, float]:
        if len(self.draws):
            tails = (1 - level) / 2, (1 + level) / 2
            low, high = np.quantile(self.draws, tails, method="inverted_cdf")
        else:
            center, error, df = (np.array([v]) for v in (self.estimate, self.std_error, self.df))
            (low,), (high,) = intervals(center, error, df, level)
        return float(low), float(high)

    def glance(self) -> pd.DataFrame:
        """Return one row: what the coefficient is made of, and the ratings that it rests on."""
        counts = {f"{unit}s": count for unit, count in self.sample.groups.items()}
        return pd.DataFrame([{**self.parts, "rows": self.sample.rows, **counts, "categories": len(self.categories)}])

    def header(self) -> list[str]:
        """Return the coefficient, on which scale, and what a reader must know."""
        head = f"Agreement on {self.call['score']} beyond chance: {self.name} ({100 * self.level:.10g}% interval)"
        scale = ", ".join(_check.show(c) for c in self.categories[:12])
        more = ", ..." if len(self.categories) > 12 else ""
        notes = list(self.notes)
        if self.std_error < 1e-12:
            notes.append("no disagreement was seen, hence a standard error of 0; it does not say that none can be")
        return [head, *notes, f"categories: {scale}{more}", *self.sample.in_words()]


def need_variety(found: RatingDesign, score: object, remedy: str) -> None:
    """Refuse ratings that are all the same: chance alone would give as much agreement."""
    used: Sequence[int] = np.unique(found.category).tolist()
    if len(used) == 1:
        only = _check.show(found.categories[used[0]])
        raise DataError(f"score={_check.show(score)}: every rating is {only}, so nothing is beyond chance; {remedy}")
