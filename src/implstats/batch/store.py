"""The folder of a batch: every cell one file that is whole or not there, and what is done is found again."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from implstats import _check
from implstats.batch.cells import Cell
from implstats.batch.folder import LEFT_BY_SYSTEMS, MANIFEST, digest, folder_to_write, settle
from implstats.errors import PlanError
from implstats.tables import plain

__all__ = ["CELLS", "FIGURES", "KIND", "Store", "find_store", "written"]

KIND = "implstats batch"
CELLS, FIGURES = "cells", "figures"
_PART = ".implstats-"
OURS = {MANIFEST, CELLS, FIGURES, "cells.csv", "cells.parquet", "pooled.csv", "report.md", "report.html"}


def written(path: Path, write: Callable[[Path], None]) -> None:
    """Let a file be written under another name beside its place, and put it there when it is whole and on the disk."""
    part = path.with_name(f"{_PART}{secrets.token_hex(6)}{path.suffix}")
    try:
        write(part)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    settle(path.parent)


def _json(record: Mapping[str, Any]) -> Callable[[Path], None]:
    text = json.dumps(plain(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return lambda path: _write(path, text)


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


@dataclass(frozen=True)
class Store:
    """The folder of a batch."""

    folder: Path

    def open(self) -> None:
        """Make the folders that are not there."""
        for name in (CELLS, FIGURES):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        for folder in (self.folder, self.folder.parent):
            settle(folder)

    def place(self, cell: Cell) -> Path:
        """Return the file of a cell."""
        return self.folder / CELLS / cell.file

    def put(self, cell: Cell, record: Mapping[str, Any]) -> None:
        """Write a cell."""
        written(self.place(cell), _json({"kind": "implstats cell", "key": cell.key} | dict(record)))

    def get(self, cell: Cell) -> dict[str, Any] | None:
        """Return what is known of a cell; None if it is not there, not whole, or of other data or another plan."""
        try:
            record = json.loads(self.place(cell).read_text(encoding="utf-8"))
            return dict(record) if record["key"] == cell.key and record["status"] in ("done", "failed") else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def text(self, name: str, text: str) -> None:
        """Write a text beside the cells."""
        written(self.folder / name, lambda path: _write(path, text))

    def manifest(self, record: Mapping[str, Any]) -> None:
        """Write the manifest, with every file that is there now."""
        files = sorted(file for file in self.folder.rglob("*") if file.is_file() and file.name != MANIFEST)
        named = [{**digest(file), "name": file.relative_to(self.folder).as_posix()} for file in files]
        written(self.folder / MANIFEST, _json({"kind": KIND, **record, "files": named}))

    def keep(self, cells: list[Cell]) -> None:
        """Take away cells of earlier data or plans, and what a stopped run left half written."""
        wanted = {cell.file for cell in cells}
        for file in [*self.folder.rglob(f"{_PART}*"), *(self.folder / CELLS).glob("[!.]*.json")]:
            if _half(file) or file.name not in wanted:
                file.unlink()


def find_store(out: str | Path) -> Store:
    """Return the folder of a batch, which need not be there yet; one that holds anything else is refused."""
    target = folder_to_write(out)
    if target.exists():
        _refuse_foreign(target, f"out={str(out)!r}")
    return Store(target)


def _refuse_foreign(target: Path, shown: str) -> None:
    there = [file for file in target.iterdir() if file.name not in LEFT_BY_SYSTEMS and not _half(file)]
    # The folders come first and the manifest after: a run may have been stopped in between.
    begun = all(file.name in (CELLS, FIGURES) and file.is_dir() and not any(file.iterdir()) for file in there)
    ours = begun or _is_ours(target / MANIFEST)
    foreign = sorted(f.name for f in there if not ours or f.name not in OURS or f.is_symlink())
    if foreign:
        named = ", ".join(foreign[: _check.SHOWN]) + (", ..." if len(foreign) > _check.SHOWN else "")
        raise PlanError(
            f"{shown}: holds what no batch of implstats wrote ({named}); name a folder that is new or empty"
        )


def _half(file: Path) -> bool:
    return file.name.startswith(_PART)


def _is_ours(manifest: Path) -> bool:
    try:
        return bool(json.loads(manifest.read_text(encoding="utf-8"))["kind"] == KIND)
    except (OSError, ValueError, KeyError, TypeError):
        return False
