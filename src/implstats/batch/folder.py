"""The folder of a run: made whole or not at all, with names that are safe, and tables and results at full precision."""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import secrets
import shutil
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from implstats import _check
from implstats.errors import PlanError
from implstats.tables import plain

__all__ = ["KIND", "LEFT_BY_SYSTEMS", "MANIFEST", "File", "digest", "file_names", "folder_to_make", "folder_to_write"]
__all__ += ["read_csv", "settle", "staged", "versions", "write_csv", "write_json"]

MANIFEST = "manifest.json"
KIND = "implstats results"
# Names that a file of the folder has already, or that some systems keep for themselves.
TAKEN = {"comparison", "overall", "manifest", "report", "trajectories", "effect_forest", "missingness"}
TAKEN |= {"con", "prn", "aux", "nul", *(f"{port}{k}" for port in ("com", "lpt") for k in range(1, 10))}
# What a spreadsheet takes for the beginning of a formula.
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
LEFT_BY_SYSTEMS = {".DS_Store", "Thumbs.db", "desktop.ini"}


@dataclass(frozen=True, eq=False)
class File:
    """A file to write: a table, which becomes CSV, or a record, which becomes JSON."""

    name: str
    content: pd.DataFrame | Mapping[str, Any]

    def write(self, folder: Path) -> None:
        """Write it."""
        if isinstance(self.content, pd.DataFrame):
            write_csv(self.content, folder / f"{self.name}.csv")
        else:
            write_json(self.content, folder / f"{self.name}.json")


def folder_to_write(out: str | Path) -> Path:
    """Return a folder's full path, or refuse one that is a file, or lies where nothing can be written."""
    shown = f"out={str(out)!r}"
    target = Path(out).resolve()
    above = next(folder for folder in target.parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise PlanError(f"{shown}: nothing can be written to {str(above)!r}; name another folder")
    if target.exists() and not target.is_dir():
        raise PlanError(f"{shown}: a file, not a folder; name a folder that is new or empty")
    return target


def folder_to_make(out: str | Path) -> Path:
    """Return the folder to make, or refuse one that holds anything that no earlier run of ours wrote."""
    shown = f"out={str(out)!r}"
    target = folder_to_write(out)
    if not target.exists():
        return target
    there = {file.name for file in target.iterdir()} - LEFT_BY_SYSTEMS
    ours = _earlier(target / MANIFEST)
    foreign = sorted(there if ours is None else there - ours - {MANIFEST})
    if foreign:
        named = ", ".join(foreign[: _check.SHOWN]) + (", ..." if len(foreign) > _check.SHOWN else "")
        raise PlanError(f"{shown}: holds what implstats did not write ({named}); name a folder that is new or empty")
    return target


def _earlier(manifest: Path) -> set[str] | None:
    """Return the files that an earlier run of ours wrote, None if the folder is not ours."""
    try:
        told = json.loads(manifest.read_text(encoding="utf-8"))
        return {file["name"] for file in told["files"]} if told["kind"] == KIND else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Give a folder beside the target; it takes the target's name if all goes well, and is gone if not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(4)
    folder = target.with_name(f".{target.name}.{mark}.unfinished")
    folder.mkdir()
    try:
        yield folder
        if target.exists():
            old = target.with_name(f".{target.name}.{mark}.old")
            target.rename(old)
            try:
                folder.rename(target)
            except BaseException:
                old.rename(target)
                raise
            shutil.rmtree(old)
        else:
            folder.rename(target)
        settle(target.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def settle(folder: Path) -> None:
    """Wait until the names in a folder are on the disk: without it, a file that was put there may not outlive a crash.

    Windows opens no folder as a file and keeps its names in a journal; some network disks know no such wait.
    """
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(opened)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table at full precision; text that a spreadsheet would take for a formula gets a quote in front."""
    words = [c for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c].dtype)]
    tame = frame.assign(**{c: [_tame(v) for v in frame[c]] for c in words})
    tame.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")


def _tame(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


def read_csv(path: Path, words: Iterable[str]) -> pd.DataFrame:
    """Read a table that `write_csv` wrote, digit for digit; nothing but an empty cell is missing, in words too.

    Parameters
    ----------
    path : pathlib.Path
    words : iterable of str
        Columns that hold text, whatever it looks like.
    """
    found = pd.read_csv(
        path, dtype=dict.fromkeys(words, str), keep_default_na=False, na_values=[""], float_precision="round_trip"
    )
    text = [c for c in found.columns if not pd.api.types.is_numeric_dtype(found[c].dtype)]
    return found.assign(**{c: [_wild(v) for v in found[c]] for c in text})


def _wild(value: Any) -> Any:
    """Return text without the quote that `_tame` put in front."""
    return value[1:] if isinstance(value, str) and value[:1] == "'" and value[1:].startswith(FORMULAS) else value


def write_json(record: Mapping[str, Any], path: Path) -> None:
    """Write a record; numbers keep every digit."""
    text = json.dumps(plain(record), indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def digest(path: Path) -> dict[str, Any]:
    """Return a file's name, size and SHA-256."""
    raw = path.read_bytes()
    return {"name": path.name, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def versions() -> dict[str, str]:
    """Return what the numbers were computed with."""
    from implstats import __version__

    names = ("numpy", "scipy", "pandas", "statsmodels", "patsy", "matplotlib")
    return {"implstats": __version__, "python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in names
    }


def file_names(given: Iterable[str], others: Iterable[str] = ()) -> dict[str, str]:
    """Return name -> one that is safe in a path: letters, digits, - and _, no two (nor others) alike on any system."""
    found: dict[str, str] = {}
    taken = TAKEN | {name.lower() for name in others}
    for one in given:
        plainer = unicodedata.normalize("NFKD", str(one)).encode("ascii", "ignore").decode()
        stem = re.sub(r"[^A-Za-z0-9-]+", "_", plainer).strip("_-")[:60].rstrip("_-") or "outcome"
        name, k = stem, 1
        while name.lower() in taken:
            k += 1
            name = f"{stem}_{k}"
        taken.add(name.lower())
        found[one] = name
    return found
