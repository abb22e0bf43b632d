"""A batch carried out: every cell checked, those that are not done yet analysed, and all of them gathered."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from implstats import _check, _parallel
from implstats.batch.blocks import Figure
from implstats.batch.cell_pictures import ENDINGS
from implstats.batch.cells import BASELINE, Cell, Cells, cells_of
from implstats.batch.cells_check import checked
from implstats.batch.cells_report import BatchWords, contents_of_batch, report_of_batch
from implstats.batch.checklists import checklists
from implstats.batch.folder import digest, file_names, versions, write_csv
from implstats.batch.gathered import WORDS, Gathered, Pool, gather
from implstats.batch.looks import Look, Looks, look_at, looks_in
from implstats.batch.made_of import fingerprint, source_of
from implstats.batch.many import Batch
from implstats.batch.page import page
from implstats.batch.plan import Plan
from implstats.batch.store import FIGURES, Store, find_store, written
from implstats.batch.work import DRAWN, carried_out, failed
from implstats.errors import ImplstatsError
from implstats.results import SCHEMA

__all__ = ["BatchRun", "Told", "carry_out_batch"]

# What is no question to the data: names, and what concerns pictures and small numbers.
UNASKED = ("analysis", "site", "figures", "min_count")
Told = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class BatchRun:
    """What a batch left behind.

    Attributes
    ----------
    folder : pathlib.Path
    found : Gathered
    words : BatchWords
    """

    folder: Path
    found: Gathered
    words: BatchWords

    @property
    def errors(self) -> dict[str, str]:
        """Cell -> why it has no answer."""
        return self.found.errors

    def on_screen(self) -> str:
        """Return the answer for a terminal."""
        return "\n".join([self.words.counted(), *self.words.effects()])


def carry_out_batch(
    plan: Plan,
    batch: Batch,
    *,
    out: str | Path,
    workers: int = 1,
    resume: bool = False,
    cluster: str | None = None,
    told: Told | None = None,
) -> BatchRun:
    """Write every cell to its own file as soon as it is done, then all of them to one table."""
    workers = _check.whole("workers", workers, remedy="1 does all work in this process")
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with _parallel.starting("implstats.batch.work", workers, cluster):
        cells = cells_of(plan, batch)
        plan = replace(plan, labels=cells.labels)
        wanted = {cell.key: cell for cell in cells.cells}
        store = find_store(out)
        known = {key: store.get(cell) for key, cell in wanted.items()} if resume else {}
        todo = [cell for key, cell in wanted.items() if not _is_done(store, cell, known.get(key) or {})]
        about = _of_plan(plan, batch, cells)
        looks = looks_in(store.folder, _look(batch, cells, about["sources"], started))
    wrong = checked(todo, len(wanted), workers, cluster)
    record = {"schema": SCHEMA, "started": started, **about, "looks": looks.records()}
    with _told_what_stays(store, cells):
        store.open()
        store.manifest(record)
        for cell in todo:
            if cell.key in wrong:
                store.put(cell, failed(cell, wrong[cell.key]))
        for cell, answer in carried_out([c for c in todo if c.key not in wrong], workers, cluster, told):
            _keep(store, cell, dict(answer))
        return _gathered(plan, batch, cells, store, looks, record)


def _keep(store: Store, cell: Cell, record: dict[str, Any]) -> None:
    """Write the pictures of a cell, then its record: where that is there, they are."""
    for name, content in record.pop(DRAWN, {}).items():
        written(store.folder / FIGURES / f"{cell.stem}_{name}", partial(_put, content))
    store.put(cell, record)


def _put(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _is_done(store: Store, cell: Cell, record: Mapping[str, Any]) -> bool:
    """Return whether an earlier run has left the answer of a cell with all its pictures."""
    there = all((store.folder / FIGURES / file).is_file() for file in _pictures(cell, record))
    return record.get("status") == "done" and there


def _pictures(cell: Cell, record: Mapping[str, Any]) -> list[str]:
    """Return the files of a cell's pictures."""
    names = [name for name, why in record.get("pictures", {}).items() if not why]
    return [f"{cell.stem}_{name}.{ending}" for name in names for ending in ENDINGS]


@contextmanager
def _told_what_stays(store: Store, cells: Cells) -> Iterator[None]:
    """Let an error that ends a run, or the user who stops it, say how many cells are done."""
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        done = sum(store.get(cell) is not None for cell in cells.cells)
        error.add_note(f"{done} of {len(cells.cells)} cells are done and stay; --resume goes on with the others")
        raise


def _gathered(
    plan: Plan, batch: Batch, cells: Cells, store: Store, looks: Looks, record: Mapping[str, Any]
) -> BatchRun:
    """Rebuild tables, pictures, report and manifest from the files of the cells."""
    store.keep(list(cells.cells))
    records = [
        store.get(cell) or failed(cell, "its file cannot be read; run again with --resume") for cell in cells.cells
    ]
    found = gather(cells.cells, records, batch.family, batch.level)
    for name, table in (("cells", found.table), ("pooled", found.pooled())):
        written(store.folder / f"{name}.csv", partial(write_csv, table))
    _parquet(found.table, store.folder / "cells.parquet")
    words = BatchWords(plan, batch, found, cells.sds, looks)
    drawn = _draw(words, store.folder / FIGURES) if plan.figures != "none" else []
    own = [file for cell, known in zip(cells.cells, records, strict=True) for file in _pictures(cell, known)]
    _clear(store.folder / FIGURES, {*own, *(f"{Path(f.name).name}.{end}" for f in drawn for end in ENDINGS)})
    blocks = contents_of_batch(words, drawn, cells.without_site, versions())
    store.text("report.md", report_of_batch(plan, blocks))
    lists = checklists(["cells of cohorts" if batch.outcomes else "cells"])
    store.text("report.html", page(store.folder, plan, [*blocks, *lists]))
    told = {"cells": len(records), "failed": len(found.errors), "errors": found.errors}
    store.manifest({**record, "result": told})
    return BatchRun(store.folder, found, words)


def _of_plan(plan: Plan, batch: Batch, cells: Cells) -> dict[str, Any]:
    digests = {path: digest(path) for path in dict.fromkeys(plan.where(one.data) for one in batch.analyses)}
    return {
        "versions": versions(),
        "system": platform.platform(),
        "inputs": list(digests.values()),
        "sources": {one.name: source_of(one.data, digests[plan.where(one.data)]["sha256"]) for one in batch.analyses},
        "plan": {"file": plan.path.name if plan.path else None, "as_read": plan.record or _spelled(plan, batch)},
        "family": list(batch.family),
        "sd": cells.sds,
        "rows_without_site": plan.privacy.row(cells.without_site, cells.without_site),
    }


def _look(batch: Batch, cells: Cells, sources: Mapping[str, Any], started: str) -> Look:
    """Return what this run asks, whatever its analyses and sites are called, for the history of its folder."""
    asked = {}
    for cell in cells.cells:
        name, outcome = cell.asked["analysis"], cell.asked["outcome"]
        own = {k: v for k, v in cell.asked.items() if k not in UNASKED}
        if own.get("sd_source") == BASELINE:
            own["sd"] = BASELINE
        asked[name, outcome] = own | {"by": batch.by, "read": sources[name]["read"]}
    family = sorted(fingerprint(one) for (name, _), one in asked.items() if name in batch.family)
    return look_at(sources.values(), asked.values(), family, started)


def _spelled(plan: Plan, batch: Batch) -> dict[str, Any]:
    """Return a plan that was made in Python as a file would write it."""
    return {"figures": plan.figures, "privacy": asdict(plan.privacy), **asdict(batch)}


def _parquet(table: pd.DataFrame, path: Path) -> None:
    """Write the table as Parquet too, if pyarrow is there."""
    if find_spec("pyarrow") is None:
        path.unlink(missing_ok=True)
        return
    kinds = dict.fromkeys(WORDS, "string") | {"extrapolated": "boolean"}
    written(path, lambda part: table.astype(kinds).to_parquet(part, index=False))


def _clear(folder: Path, wanted: Set[str]) -> None:
    """Take away pictures of earlier data or plans."""
    for file in folder.iterdir():
        if file.name not in wanted:
            file.unlink()


def _draw(words: BatchWords, folder: Path) -> list[Figure]:
    """Draw a forest of the sites for every effect of the family, of several times at the last."""
    family = words.batch.family
    last = {_effect(pool): pool for pool in words.found.pools if pool.place["analysis"] in family}
    names = file_names(last)
    return [_forest(pool, names[effect], words, folder) for effect, pool in last.items()]


def _effect(pool: Pool) -> str:
    """Return an effect in words that name its file; those at several times are one."""
    parts = [pool.place[k] for k in ("analysis", "outcome", "cause", "term", "cohort")]
    return " ".join(["forest", *(str(part) for part in parts if isinstance(part, str) and part)])


def _forest(pool: Pool, name: str, words: BatchWords, folder: Path) -> Figure:
    from implstats import plot
    from implstats.plot.style import save

    place = f"{FIGURES}/{name}"
    if pool.combined is None:
        return Figure(place, "", pool.error)
    try:
        labels = {"programme": "site", **words.plan.labels, pool.combined.effect: words.axis(pool)}
        axes = plot.programmes(pool.combined, labels=labels)
    except ImplstatsError as error:
        return Figure(place, "", str(error))
    for ending in ENDINGS:
        written(folder / f"{name}.{ending}", partial(save, axes))
    row = pool.row()
    said = f"{row['estimate']:.2f} ({row['conf_low']:.2f} to {row['conf_high']:.2f}) over {row['sites']} sites"
    return Figure(place, f"{words.axis(pool)}, at every site, with intervals; mean {said}.")
