"""All cells of a batch in one table, p-values corrected once over a declared family, and effects pooled over sites."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from implstats.batch.cells import ALL, Cell
from implstats.combine import CombinedProgrammes, combine_programmes
from implstats.errors import ImplstatsError

__all__ = ["POOLED", "WORDS", "Gathered", "Pool", "gather"]

POOLED = ("difference", "log hazard ratio", "rmst difference")
"""What sites are compared and pooled in: effects, each with a standard error."""
_TESTED = (*POOLED, "log-rank test")
_PLACE = ["analysis", "outcome", "quantity", "cause", "term", "cohort", "reference", "time", "delta_sd"]
_NAMES = ("site", "analysis", "kind", "outcome", "quantity", "cause", "term", "cohort", "reference")
WORDS = (*_NAMES, "set", "warnings", "status", "error")
"""Columns of the table of all cells that hold text."""
_ORDER = [
    *_NAMES,
    "time",
    "delta_sd",
    "natural",
    "estimate",
    "std_error",
    "statistic",
    "df",
    "conf_low",
    "conf_high",
    "set",
    "p_value",
    "p_holm",
    "p_fdr_bh",
]
_ORDER += ["sd", "extrapolated", "n", "n_reference", "events", "converged", "boundary", "warnings", "status", "error"]
_POOLED_ORDER = [*_PLACE, "sites", "estimate", "std_error", "df", "conf_low", "conf_high", "prediction_low"]
_POOLED_ORDER += ["prediction_high", "tau2", "tau2_low", "tau2_high", "i2", "i2_low", "i2_high", "error"]
_CORRECTIONS = {"p_holm": "holm", "p_fdr_bh": "fdr_bh"}


@dataclass(frozen=True, eq=False)
class Pool:
    """One effect over the sites: which one, and the sites combined, or why they cannot be.

    Attributes
    ----------
    place : mapping
        analysis, outcome, quantity, cause, term, cohort, reference, time, delta_sd.
    combined : CombinedProgrammes or None
    error : str
    """

    place: Mapping[str, Any]
    combined: CombinedProgrammes | None
    error: str = ""

    def row(self) -> dict[str, Any]:
        """Return its row of the table of pooled effects."""
        head = dict(self.place)
        if self.combined is None:
            return head | {"error": self.error}
        table = self.combined.tidy().set_index("quantity")
        mean, spread = table.loc["mean"], self.combined.heterogeneity().iloc[0]
        made: dict[str, Any] = {"sites": len(self.combined.names)}
        made |= {k: mean[k] for k in ("estimate", "std_error", "df", "conf_low", "conf_high")}
        if "prediction" in table.index:
            beyond = table.loc["prediction"]
            made |= {"prediction_low": beyond["conf_low"], "prediction_high": beyond["conf_high"]}
        made |= {k: spread[k] for k in ("tau2", "tau2_low", "tau2_high", "i2", "i2_low", "i2_high")}
        return head | made | {"error": ""}


@dataclass(frozen=True, eq=False)
class Gathered:
    """What a batch found.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a quantity of a cell; a cell without an answer is a row with its error.
    pools : sequence of Pool
    records : sequence of mapping
        What is known of every cell, in the order of the cells.
    """

    table: pd.DataFrame
    pools: Sequence[Pool]
    records: Sequence[Mapping[str, Any]]

    @property
    def errors(self) -> dict[str, str]:
        """Cell -> why it has no answer."""
        parts = ("analysis", "outcome", "site")
        return {", ".join(r["asked"][p] for p in parts): r["error"] for r in self.records if r["status"] == "failed"}

    def pooled(self) -> pd.DataFrame:
        """Return one row an effect, over all sites."""
        return pd.DataFrame([pool.row() for pool in self.pools], columns=_POOLED_ORDER)


def gather(
    cells: Sequence[Cell], records: Sequence[Mapping[str, Any]], family: Sequence[str], level: float
) -> Gathered:
    """Return all cells in one table, and what their sites show together."""
    rows = [row for record in records for row in _rows(record)]
    table = pd.DataFrame(rows)
    table = _corrected(table.reindex(columns=[*_ORDER, "one_direction"]), family)
    pools = _pools(table, level) if any(cell.asked["site"] != ALL for cell in cells) else []
    return Gathered(table[_ORDER], pools, records)


def _rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    head = {k: record["asked"][k] for k in ("site", "analysis", "kind", "outcome")}
    head |= {k: record[k] for k in ("converged", "boundary", "status", "error", "one_direction")}
    head["warnings"] = "; ".join(record["warnings"])
    return [head | _numbers(row) for row in record["rows"]] or [head]


def _numbers(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of a record with infinities as numbers, as JSON cannot hold them."""
    infinite = {"Infinity": np.inf, "-Infinity": -np.inf}
    return {k: infinite.get(v, v) if isinstance(v, str) and k not in WORDS else v for k, v in row.items()}


def _corrected(table: pd.DataFrame, family: Sequence[str]) -> pd.DataFrame:
    """Return the table with p-values corrected over the family; along a straight line all times are one hypothesis."""
    from statsmodels.stats.multitest import multipletests

    p = pd.to_numeric(table["p_value"]).to_numpy(dtype=float)
    counts = table["analysis"].isin(family) & table["quantity"].isin(_TESTED) & np.isfinite(p)
    found = {name: np.full(len(table), np.nan) for name in _CORRECTIONS}
    if counts.any():
        which = table.loc[counts, ["site", *_PLACE]].astype(object)
        which["time"] = which["time"].where(table.loc[counts, "one_direction"] != True, 0.0)  # noqa: E712
        code, _ = pd.factorize(pd.Series([repr(tuple(row)) for row in which.to_numpy()]))
        first = np.unique(code, return_index=True)[1]
        for name, method in _CORRECTIONS.items():
            found[name][counts] = multipletests(p[counts][first], method=method)[1][code]
    return table.assign(**found)


def _pools(table: pd.DataFrame, level: float) -> list[Pool]:
    """Return every effect that two sites or more have, pooled over them."""
    effects = table[table["quantity"].isin(POOLED)]
    made = []
    for place, rows in effects.groupby(_PLACE, sort=False, dropna=False):
        named = dict(zip(_PLACE, place, strict=True))
        if len(rows) == 1:
            made.append(Pool(named, None, f"{rows['site'].item()} alone has an answer, and pooling takes two sites"))
            continue
        try:
            found = combine_programmes(
                rows.astype({"estimate": float, "std_error": float}),
                estimate="estimate",
                std_error="std_error",
                programme="site",
                effect=_effect(named),
                level=level,
            )
            made.append(Pool(named, found))
        except ImplstatsError as error:
            made.append(Pool(named, None, str(error)))
    return made


def _effect(place: Mapping[str, Any]) -> str:
    """Return what an effect is, with its unit."""
    if place["quantity"] == "difference":
        return f"difference in d, in SDs ({place['cohort']} - {place['reference']})"
    if place["quantity"] == "rmst difference":
        return f"difference in mean time ({place['cohort']} - {place['reference']})"
    return f"log hazard ratio ({place['term']})"
