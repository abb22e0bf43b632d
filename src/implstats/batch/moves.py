"""What moved between two runs: their tables laid side by side, one row a quantity that is not the same in both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats.batch.causes import PLAN, Cause, cause, joint, of_alone
from implstats.batch.past import NUMBERS, PLACE, POOLED_SITE, PastRun, Place

__all__ = ["APPEARED", "CORRECTED", "DISAPPEARED", "Moves"]

APPEARED, DISAPPEARED = "appeared", "disappeared"
CORRECTED = "corrected p-value"
_CELL = ["site", "analysis", "outcome"]
_SIDES = ("old", "new")
Bools = NDArray[np.bool_]


class Moves:
    """Two runs, and what moved between them.

    Attributes
    ----------
    rows : list of mapping
        One row a quantity, or a cell that is in one run only or changed its status.
    places : mapping
        "old" and "new" -> the cells of a run, without what is pooled over sites.
    within : int
        Quantities that differ by less than counts as a move.
    """

    def __init__(self, old: PastRun, new: PastRun, tolerance: float) -> None:
        self._old, self._new = old, new
        self.places = {side: _places(run) for side, run in zip(_SIDES, (old, new), strict=True)}
        self._causes: dict[Place, Cause] = {}
        cells = list(self._of_cells())
        quantities = self._of_quantities(tolerance)
        self.within = int(quantities["within"].sum())
        own = [_because(row, self._cause(_place(row))) for row in _records(quantities, "own")]
        pooled = [_because(row, self._cause_of_pooled(row)) for row in _records(quantities, "pooled")]
        corrected = [_because(row, self._cause_of_corrected()) for row in _records(quantities, "corrected")]
        self.rows = [*cells, *own, *pooled, *corrected]

    def _of_cells(self) -> Iterator[dict[str, Any]]:
        """Yield one row for every cell that is in one run only, or whose status is another."""
        old, new = self.places["old"], self.places["new"]
        for place in sorted({*old, *new}):
            if place not in old or place not in new:
                here, there = (self._new, self._old) if place in new else (self._old, self._new)
                self._causes[place] = of_alone(place, here, there)
                moved = APPEARED if place in new else DISAPPEARED
            elif old[place][0] != new[place][0]:
                moved = "status"
            else:
                continue
            told = {side: self.places[side].get(place, ("", "")) for side in _SIDES}
            why = self._cause(place)
            said = [error for _, error in told.values() if error]
            row = dict(zip(_CELL, place, strict=True)) | {"moved": moved, "why": why.why}
            row["reading"] = "; ".join([why.reading, *said])
            yield row | {f"status_{side}": status for side, (status, _) in told.items()}

    def _cause(self, place: Place) -> Cause:
        if place not in self._causes:
            self._causes[place] = cause(place, self._old, self._new)
        return self._causes[place]

    def _cause_of_pooled(self, row: Mapping[str, Any]) -> Cause:
        kin = [one for place, one in self._causes.items() if place[1:] == (row["analysis"], row["outcome"])]
        return joint(kin)

    def _cause_of_corrected(self) -> Cause:
        families = [run.manifest.get("family") for run in (self._old, self._new)]
        other = [Cause(PLAN, "another family of tests")] if families[0] != families[1] else []
        return joint([*self._causes.values(), *other])

    def _of_quantities(self, tolerance: float) -> pd.DataFrame:
        """Return one row a quantity of the cells that both runs have an answer of, with what moved."""
        both = {
            place
            for place, (status, _) in self.places["old"].items()
            if status == self.places["new"].get(place, ("", ""))[0]
        }
        frames = []
        for run in (self._old, self._new):
            table = run.table[run.table["quantity"].ne("") | run.table["term"].ne("") | run.table["estimate"].notna()]
            keep = [place in both or place[0] == POOLED_SITE for place in map(tuple, table[_CELL].to_numpy())]
            table = table[keep]
            frames.append(table.assign(copy=table.groupby(list(PLACE), dropna=False).cumcount()))
        merged = frames[0].merge(
            frames[1], on=[*PLACE, "copy"], how="outer", suffixes=("_old", "_new"), indicator="where", sort=False
        )
        return _compared(merged, tolerance)


def _places(run: PastRun) -> dict[Place, tuple[str, str]]:
    """Return cell -> status and error, without effects over all sites."""
    table = run.table[run.table["site"] != POOLED_SITE].drop_duplicates(_CELL, keep="last")
    rows = table[[*_CELL, "status", "error"]].itertuples(index=False, name=None)
    return {place[:3]: place[3:] for place in rows}


def _place(row: Mapping[str, Any]) -> Place:
    return row["site"], row["analysis"], row["outcome"]


def _because(row: Mapping[str, Any], why: Cause) -> dict[str, Any]:
    return {**row, "why": why.why, "reading": why.reading}


def _records(table: pd.DataFrame, group: str) -> list[dict[str, Any]]:
    rows = table[table["of"] == group].drop(columns=["of", "within", "copy", "where"])
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _compared(table: pd.DataFrame, tolerance: float) -> pd.DataFrame:
    """Return the rows with what moved, how far, and whose the cause is: the cell's own, of its sites, of its family."""
    half = (table["conf_high_old"] - table["conf_low_old"]).to_numpy() / 2
    width = np.where(np.isfinite(half) & (half > 0), half, np.nan)
    alone = table["where"].map({"left_only": DISAPPEARED, "right_only": APPEARED, "both": ""}).astype(str)
    apart = {name: _apart(table, name, width, tolerance) for name in NUMBERS}
    sets = (table["set_old"] != table["set_new"]).to_numpy()
    parts = {
        "estimate": apart["estimate"],
        "interval": apart["conf_low"] | apart["conf_high"] | sets,
        "n": apart["n"] | apart["n_reference"] | apart["events"],
        CORRECTED: apart["p_corrected"],
    }
    moved = [", ".join(name for name, which in parts.items() if which[k]) for k in range(len(table))]
    table = table.assign(moved=[lone or words for lone, words in zip(alone, moved, strict=True)])
    table["shift"] = (table["estimate_new"] - table["estimate_old"]) / width
    exact = np.logical_or.reduce([_apart(table, name, width, 0.0) for name in NUMBERS])
    table["within"] = exact & (table["moved"] == "")
    pooled = table["site"] == POOLED_SITE
    own = np.where(table["moved"] == CORRECTED, "corrected", "own")
    table["of"] = np.where(table["moved"] == "", "", np.where(pooled, "pooled", own))
    return table


def _apart(table: pd.DataFrame, name: str, width: NDArray[np.float64], tolerance: float) -> Bools:
    """Return whether numbers differ by more than the tolerance; counts at all."""
    old, new = table[f"{name}_old"].to_numpy(), table[f"{name}_new"].to_numpy()
    size = np.fmax(np.abs(old), np.abs(new))
    of_interval = name in ("estimate", "conf_low", "conf_high")
    scale = np.where(np.isfinite(width), width, size) if of_interval else size
    allowed = 0.0 if name in ("n", "n_reference", "events") else tolerance * scale
    with np.errstate(invalid="ignore"):
        near = np.isfinite(size) & (np.abs(new - old) <= allowed)
    return np.asarray(~((old == new) | (np.isnan(old) & np.isnan(new)) | near))
