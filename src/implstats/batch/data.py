"""The section `[data]` of a plan: which file holds a table, and the table as it is read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from implstats import _check
from implstats.batch import kinds
from implstats.batch.kinds import Kind
from implstats.errors import DataError, PlanError
from implstats.reading import read_data
from implstats.reading.labelled import PROGRAMS

__all__ = ["DATA", "Data", "is_there", "read", "readable"]


@dataclass(frozen=True)
class Data:
    """The table, and how to read it (as `read_data` takes it)."""

    file: str
    separator: str = ","
    decimal: str = "."
    missing_codes: Sequence[Any] | Mapping[str, Sequence[Any]] | None = None
    ranges: Mapping[str, tuple[float, float]] | None = None
    labels: str | Sequence[str] = "values"


DATA: Mapping[str, Kind] = {
    "file": kinds.text,
    "separator": lambda name, value, faults: value if value == " " else kinds.text(name, value, faults),
    "decimal": kinds.word(".", ","),
    "missing_codes": kinds.codes,
    "ranges": kinds.ranges,
    "labels": kinds.word_or_texts("values", "codes"),
}
_SHORT = 60
"""Letters of a column's label that fit a heading and an axis."""
_ENDINGS = (".csv", ".tsv", *PROGRAMS)


def is_there(name: str, folder: Path, file: object, faults: _check.Faults) -> None:
    """Record a fault if a plan's file is not in the plan's folder; `name` is the key as shown."""
    if not isinstance(file, str):
        return
    path = folder / file
    if path.is_file():
        return
    if path.is_dir():
        faults.add(name, file, "a folder, not a file")
        return
    there = [f.name for f in path.parent.iterdir() if f.suffix.lower() in _ENDINGS] if path.parent.is_dir() else []
    near = _check.nearest(path.name, sorted(there)) if there else "; a relative path starts at the plan's folder"
    faults.say(f"{name}={_check.show(file)}: no such file{near}")


def readable(frames: Iterable[pd.DataFrame], labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels with those that files of SPSS and Stata give their columns, if short; the plan's own go first."""
    found: dict[str, str] = {}
    for frame in frames:
        found |= frame.attrs.get("implstats", {}).get("labels", {})
    return {name: label for name, label in found.items() if len(label) <= _SHORT} | dict(labels)


def read(data: Data, path: Path, name: str) -> pd.DataFrame:
    """Return a plan's table; what is wrong with the file is said of the key, as it is shown."""
    try:
        return read_data(
            path,
            separator=data.separator,
            decimal=data.decimal,
            missing_codes=data.missing_codes,
            ranges=data.ranges,
            labels=data.labels,
        )
    except DataError as error:
        shown = f"{name}={_check.show(data.file)}"
        raise PlanError(str(error).replace(f"path={str(path)!r}", shown)) from None
