"""What the cells of survival models share: rows of estimate, standard error, both ends and p-value, by name."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from cell import LEVEL, TRUTHS, Cell, accuracy, coverage

from implstats.results import intervals, p_values

# Log hazard ratios of the treatment and of a covariate.
EFFECTS = {"effect": (-0.7, 0.5), "null": (0.0, 0.0)}
TERMS = ("treatment", "covariate")
NOTHING = float("nan")
Rows = Mapping[str, Sequence[float]]


class SurvivalCell(Cell):
    """A kind of study of times; `ways` says of what each model speaks, and in how many ways."""

    truths: tuple[str, ...] = TRUTHS
    ways: Mapping[str, Mapping[str, tuple[str, ...]]]

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self.ways)

    def methods(self, model: str) -> tuple[str, ...]:
        return tuple(self.ways[model])

    def asked(self, model: str, method: str) -> tuple[str, ...]:
        return self.ways[model][method]

    @property
    def quantities(self) -> tuple[str, ...]:
        named = (what for methods in self.ways.values() for asked in methods.values() for what in asked)
        return tuple(dict.fromkeys(named))

    def counted(self, frame: pd.DataFrame) -> dict[str, float]:
        return {"programmes": float(len(frame)), "events": float(frame["stopped"].sum())}

    @abstractmethod
    def said(self, model: str, frame: pd.DataFrame) -> tuple[Mapping[str, Rows], bool]:
        """Return method -> quantity -> row, and whether a variance is on its boundary."""

    def answer(self, model: str, frame: pd.DataFrame, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
        found, boundary = self.said(model, frame)
        values = np.full((len(self.methods(model)), len(self.quantities), 5), np.nan)
        for j, method in enumerate(self.methods(model)):
            for what, row in found[method].items():
                values[j, self.quantities.index(what)] = row
        return values, boundary

    def summary(self, values: np.ndarray, truth: float) -> dict[str, Any]:
        estimate, p_value = values[:, 0], values[:, 4]
        answered = values[~np.isnan(estimate) | ~np.isnan(p_value)]
        out: dict[str, Any] = {"truth": truth, "answered": len(answered)}
        if not np.isnan(estimate).all():
            out |= accuracy(answered[:, 0], truth)
        if not np.isnan(values[:, 2]).all():
            held = (answered[:, 2] <= truth) & (truth <= answered[:, 3])
            out |= coverage(answered[:, :4], truth, held)
        if not np.isnan(p_value).all():
            out["rejected"] = 100 * float((answered[:, 4] < 1 - LEVEL).mean())
        return out


def rows(names: Sequence[str], estimate: Any, error: Any, df: float = np.inf) -> Rows:
    """Return the row of every name, by the normal distribution or by t."""
    estimate, error, df = (np.broadcast_to(np.asarray(v, dtype=float), len(names)) for v in (estimate, error, df))
    ends = intervals(estimate, error, df, LEVEL)
    return dict(zip(names, np.column_stack([estimate, error, *ends, p_values(estimate / error, df)]), strict=True))


def tabled(table: pd.DataFrame, names: Sequence[str]) -> Rows:
    """Return the row of every name as the library's table has them."""
    columns = table[["estimate", "std_error", "conf_low", "conf_high", "p_value"]].to_numpy()
    return dict(zip(names, columns, strict=True))


def of_test(name: str, p_value: float, estimate: float = NOTHING) -> Rows:
    """Return the row of a test, which has no interval."""
    return {name: (estimate, NOTHING, NOTHING, NOTHING, p_value)}
