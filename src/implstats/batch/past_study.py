"""A study or survival analyses that were written, read back: tables with intervals, each a cell of one outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from implstats.batch import folder as folders
from implstats.batch.cells import ALL
from implstats.batch.past import Made, PastRun, Place, Reader, uniform

__all__ = ["read_study"]

COMPARISON = "comparison"
# What another table has too, or at every single event.
TOLD_ELSEWHERE = ("contrasts", "effect_sizes", "retained", "hazard_ratios", "curves", "incidence")
# Quantity -> its column in the table of a comparison, to which _low and _high are put.
QUANTITIES = {
    "change": "change",
    "change of the reference": "change_reference",
    "d": "d",
    "d of the reference": "d_reference",
    "difference": "d_difference",
    "retained": "retained",
}


def read_study(files: Reader) -> PastRun:
    """Return a run of a comparison, of survival analyses, or of both."""
    manifest = files.manifest
    parts = {name: Made.of(part, part.get("source", {})) for name, part in manifest.get("parts", {}).items()}
    outcomes, survival = manifest.get("outcomes", {}), manifest["survival"]
    rows: list[pd.DataFrame] = []
    made: dict[Place, Made] = {}
    for analysis, frame in _tables(files, outcomes, survival):
        rows.append(uniform(frame.assign(site=ALL, analysis=analysis, status="done")))
    rows.append(uniform(pd.DataFrame(_statuses(outcomes, COMPARISON) + _statuses(survival, "survival"))))
    table = pd.concat(rows, ignore_index=True)
    for place in table[["site", "analysis", "outcome"]].drop_duplicates().itertuples(index=False, name=None):
        part = parts.get(place[2] if place[2] in survival else COMPARISON)
        if part is not None:
            made[place] = part
    return PastRun(folders.KIND, table, made, manifest)


def _statuses(told: Mapping[str, Any], analysis: str) -> list[dict[str, str]]:
    """Return one row an outcome or survival analysis: whether it has an answer, and why not."""
    rows = []
    for name, one in told.items():
        why = one.get("error", "; ".join(f"{what}: {fault}" for what, fault in one.get("errors", {}).items()))
        row = {"site": ALL, "analysis": analysis, "outcome": name, "status": str(one["status"]), "error": str(why)}
        rows.append(row)
    return rows


def _tables(
    files: Reader, outcomes: Mapping[str, Any], survival: Mapping[str, Any]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield the name of every table that has intervals, and the table with its outcome."""
    owners = {f"{one['file']}_": name for told in (outcomes, survival) for name, one in told.items()}
    for name in files.names():
        stem, _, ending = name.rpartition(".")
        if ending != "csv" or "/" in stem or "\\" in stem:
            continue
        if stem == COMPARISON:
            yield COMPARISON, _long(files.table(name))
            continue
        own = max((start for start in owners if stem.startswith(start)), key=len, default="")
        kind = stem.removeprefix(own)
        if kind in TOLD_ELSEWHERE:
            continue
        frame = files.table(name)
        if {"estimate", "conf_low", "conf_high"} <= set(frame.columns):
            yield kind, frame.assign(outcome=owners[own]) if own else frame


def _long(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table of a comparison with one row a quantity; outcomes without an answer have none."""
    answered = table[table["error"].isna()]
    parts = []
    for quantity, column in QUANTITIES.items():
        part = answered[["outcome", "cohort", "reference", "time", "n", "n_reference"]].assign(quantity=quantity)
        ends = {"estimate": column, "conf_low": f"{column}_low", "conf_high": f"{column}_high"}
        part = part.assign(**{name: answered[source] for name, source in ends.items()})
        if quantity == "difference":
            part = part.assign(p_corrected=answered["p_corrected"])
        if quantity == "retained":
            part = part.assign(set=answered["retained_set"])
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
