"""Entries of a table of ratings: one row an item and group; what stands between two values is read by a stated rule."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats.design.frames import drop_missing
from implstats.design.ratings import COMPOSITE, one_column_each

__all__ = ["RULES", "Entries", "entries"]

Floats = NDArray[np.float64]

# How an entry between two values is read: how far from the lower to the higher, and in words.
RULES = {"midpoint": (0.5, "the midpoint of the two"), "lower": (0.0, "the lower"), "upper": (1.0, "the higher")}


@dataclass(frozen=True, eq=False)
class Entries:
    """The ratings that are used.

    Attributes
    ----------
    table : columns level, item, group, value, and composite, whether the entry stood between two values.
    labels : the caller's index of its rows.
    given : entries before any was dropped.
    dropped : reason -> entries.
    """

    table: pd.DataFrame
    labels: pd.Index
    given: int
    dropped: dict[str, int]


def entries(
    frame: pd.DataFrame,
    *,
    item: Hashable,
    level: Hashable,
    score: Hashable | Sequence[Hashable],
    group: Hashable | None,
    composite: str,
    missing: str,
    faults: Faults,
) -> Entries:
    """Return one row an item and group, of a long table or of one with a column for every group."""
    wide = isinstance(score, list)
    columns = list(score) if isinstance(score, list) else [score]
    if wide and group is not None:
        faults.add("group", group, "goes with one column of ratings", "leave it out, or name one score=")
    if not wide and group is None:
        faults.say(
            "group=None: no groups are named; name their column, or one column of ratings a group in score=[...]"
        )
    if not columns:
        faults.add("score", score, "no column of ratings is named", "write score=['before', 'during']")
    about = {"item": item, "level": level, "group": group}
    _check.columns(frame, faults, **about)
    for column in columns:
        _check.columns(frame, faults, score=column)
    faults.settle()
    roles = {name: column for name, column in about.items() if column is not None}
    one_column_each(roles | {f"score[{k}]" if wide else "score": c for k, c in enumerate(columns)}, faults)
    faults.settle()
    parts = [_part(frame, item, level, frame[group] if group is not None else c, frame[c]) for c in columns]
    long = pd.concat(parts, ignore_index=True)
    labels = frame.index.append([frame.index] * (len(columns) - 1))
    masks = {f"{name} missing": long[name].isna().to_numpy() for name in ("item", "level", "group", "score")}
    kept, dropped = drop_missing(masks, missing, labels)
    if not kept.any():
        faults.add("score", score, "no row has item, level, group and rating", ", ".join(dropped))
    faults.settle()
    used, labels = long[kept].reset_index(drop=True), labels[kept]
    value, between = _read(used.pop("score"), labels, score, composite, faults)
    return Entries(used.assign(value=value, composite=between), labels, len(long), dropped)


def _part(frame: pd.DataFrame, item: Hashable, level: Hashable, group: Any, score: pd.Series) -> pd.DataFrame:
    columns = {"level": frame[level], "item": frame[item], "group": group, "score": score.astype(object)}
    return pd.DataFrame(columns, index=frame.index)


def _read(
    column: pd.Series, labels: pd.Index, score: object, composite: str, faults: Faults
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return entries as numbers, and which stood between two values."""
    found = column.astype(str).str.extract(COMPOSITE).astype(float).to_numpy()
    between = ~np.isnan(found).any(axis=1)
    value = pd.to_numeric(column.mask(between), errors="coerce").to_numpy(dtype=float, copy=True)
    bad = ~between & ~np.isfinite(value)
    if bad.any():
        said = f"holds {_check.show(column[bad].iloc[0])}, which is no rating ({_check.rows(labels[bad])})"
        faults.add("score", score, said, "write 3, or 2/3 for between 2 and 3")
    if between.any() and composite == "raise":
        said = f"{_check.show(column[between].iloc[0])} stands between two values ({_check.rows(labels[between])})"
        faults.add("composite", composite, said, "composite='midpoint' reads 2/3 as 2.5")
    ends = np.sort(found[between], axis=1)
    way = RULES[composite][0] if composite in RULES else np.nan
    value[between] = ends[:, 0] + way * (ends[:, 1] - ends[:, 0])
    return value, between
