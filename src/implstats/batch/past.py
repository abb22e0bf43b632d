"""A run that was written, read back from its folder: its numbers, what they were made of, and the looks at its data."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from implstats.batch import folder as folders
from implstats.batch.folder import MANIFEST, read_csv
from implstats.batch.gathered import WORDS
from implstats.batch.looks import Look, looks_of
from implstats.batch.store import KIND as BATCH
from implstats.errors import PlanError

__all__ = ["NAMES", "NUMBERS", "PLACE", "POOLED_SITE", "Made", "PastRun", "Place", "Reader", "read_run", "uniform"]

Place = tuple[str, str, str]
"""A cell: site, analysis, outcome."""
NAMES = ("site", "analysis", "outcome", "quantity", "kind", "model", "cause", "term", "group", "cohort", "reference")
PLACE = (*NAMES, "time", "start", "end", "share", "delta_sd", "natural")
"""What tells one quantity of a run from another; columns of text, then of numbers."""
NUMBERS = ("estimate", "conf_low", "conf_high", "n", "n_reference", "events", "p_corrected")
POOLED_SITE = "over all sites"
"""The site of effects that are pooled over sites."""
_CELL = re.compile(r"cells/[A-Za-z0-9_-]+\.json")


@dataclass(frozen=True)
class Made:
    """What an answer was made of.

    Attributes
    ----------
    rows, question : str
        Fingerprints of its rows, and of what was asked.
    sd : float or None
        The SD of an outcome that was found in rows of other sites too.
    version : str
    asked : mapping
        What was asked.
    file : str
        Hash of the data file.
    read : mapping
        How the file was read.
    """

    rows: str
    question: str
    sd: float | None
    version: str
    asked: Mapping[str, Any]
    file: str
    read: Mapping[str, Any]

    @classmethod
    def of(cls, record: Mapping[str, Any], source: Mapping[str, Any]) -> Made | None:
        """Return what a record says of its making; None if it was written before that was said."""
        try:
            made = record["made_of"]
            told = made["rows"], made["asked"], made["sd"], made["version"]
            return cls(*told, dict(record["asked"]), str(source["sha256"]), dict(source["read"]))
        except (KeyError, TypeError, ValueError):
            return None


@dataclass(frozen=True, eq=False)
class PastRun:
    """A run that was written.

    Attributes
    ----------
    kind : str
        What its manifest calls it.
    table : pandas.DataFrame
        One row a quantity, with the columns PLACE, NUMBERS, set, status and error.
    made : mapping
        Cell -> what it was made of; cells of which that cannot be told are not there.
    manifest : mapping
    doubts : sequence of str
        Files that are not as the run left them.
    """

    kind: str
    table: pd.DataFrame
    made: Mapping[Place, Made]
    manifest: Mapping[str, Any]
    doubts: Sequence[str] = ()

    @property
    def looks(self) -> tuple[Look, ...]:
        """The looks at its data that its folder knows of."""
        return looks_of(self.manifest)

    @property
    def versions(self) -> dict[str, str]:
        """The software that it was computed with, and the system."""
        told = self.manifest.get("versions")
        known = {str(k): str(v) for k, v in told.items()} if isinstance(told, Mapping) else {}
        return known | {"system": str(self.manifest.get("system", ""))}


class Reader:
    """Reads files of a folder that are as its run left them; what is not is refused, or told.

    Attributes
    ----------
    folder : pathlib.Path
    manifest : mapping
    """

    def __init__(self, folder: Path, manifest: Mapping[str, Any]) -> None:
        self.folder, self.manifest = folder, manifest
        self._hashes = {str(file["name"]): file["sha256"] for file in manifest["files"]}

    def names(self) -> list[str]:
        """Return the files that the run wrote."""
        return list(self._hashes)

    def whole(self, name: str) -> bytes | None:
        """Return a file; None if it is not as the run left it."""
        try:
            raw = (self.folder / name).read_bytes()
        except OSError:
            return None
        return raw if hashlib.sha256(raw).hexdigest() == self._hashes.get(name) else None

    def table(self, name: str) -> pd.DataFrame:
        """Return a table, its text as text; one that is not as the run left it is refused."""
        if self.whole(name) is None:
            raise PlanError(f"{name} is not there, or not as the run left it; run the plan again to have it whole")
        return read_csv(self.folder / name, (*NAMES, *WORDS))


def uniform(frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows with the columns of every run: what is missing is "" in words, and nan in numbers."""
    words = (*NAMES, "set", "status", "error")
    made: dict[str, Any] = {}
    for name in (*PLACE, *NUMBERS, "set", "status", "error"):
        column = frame[name] if name in frame else pd.Series(np.nan, index=frame.index)
        if name in words:
            made[name] = column.astype(object).where(column.notna(), "").astype(str)
        else:
            made[name] = pd.to_numeric(column, errors="coerce").astype(float)
    return pd.DataFrame(made).reset_index(drop=True)


def read_run(folder: str | Path, argument: str) -> PastRun:
    """Return the run of a folder; one that holds none that is whole is refused."""
    from implstats.batch.past_study import read_study

    shown, path = f"{argument}={str(folder)!r}", Path(folder)
    if not path.is_dir():
        raise PlanError(f"{shown}: {'a file, not a folder' if path.exists() else 'no such folder'}")
    readers: Mapping[str, Callable[[Reader], PastRun]] = {BATCH: _read_batch, folders.KIND: read_study}
    try:
        manifest = json.loads((path / MANIFEST).read_text(encoding="utf-8"))
        read = readers[manifest["kind"]]
    except (OSError, ValueError, KeyError, TypeError):
        remedy = "name the DIR of `implstats run PLAN.toml --out DIR`"
        raise PlanError(f"{shown}: holds no run of implstats (no {MANIFEST} that a run wrote); {remedy}") from None
    try:
        return read(Reader(path, manifest))
    except PlanError as error:
        raise PlanError(f"{shown}: {error}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        why = f"{type(error).__name__}: {error}"
        raise PlanError(f"{shown}: its files do not fit together ({why}); run the plan again") from None


def _read_batch(files: Reader) -> PastRun:
    """Return a batch: numbers from its table of all cells, what they were made of from the files of the cells."""
    if "result" not in files.manifest:
        raise PlanError("the run was stopped before its end; `implstats run PLAN.toml --out DIR --resume` goes on")
    rows = files.table("cells.csv").drop(columns="kind").rename(columns={"p_holm": "p_corrected"})
    # A test has no estimate: what moves is its statistic.
    rows["estimate"] = rows["estimate"].fillna(rows["statistic"])
    pooled = files.table("pooled.csv").rename(columns={"sites": "n"}).assign(site=POOLED_SITE, status="done")
    made: dict[Place, Made] = {}
    doubts = []
    sources = files.manifest.get("sources", {})
    for name in filter(_CELL.fullmatch, files.names()):
        raw = files.whole(name)
        if raw is None:
            doubts.append(name)
            continue
        record = json.loads(raw)
        asked = record["asked"]
        if (one := Made.of(record, sources.get(asked["analysis"], {}))) is not None:
            made[str(asked["site"]), str(asked["analysis"]), str(asked["outcome"])] = one
    table = pd.concat([uniform(rows), uniform(pooled)], ignore_index=True)
    return PastRun(BATCH, table, made, files.manifest, doubts)
