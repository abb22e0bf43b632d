"""Bias, coverage and type-I error on known truth: `python tests/simulation/study.py --write [--workers 2]`.

Names of families (growth, survival, tools) run these alone. Without --write the tables are printed only. A run that was
interrupted goes on where it stopped (results.partial.json, survival_results.partial.json, ...).
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import growth_cells
import growth_table
import numpy as np
import survival_cells
import survival_table
import tools_cells
import tools_table
from cell import TRUTHS, Cell

import implstats as ist
from implstats import _parallel
from implstats.errors import BoundaryWarning, ConvergenceError, DataError

HERE = Path(__file__).resolve().parent
SEED, CHUNK = 20_170_381, 25


@dataclass(frozen=True)
class Family:
    """Cells that share a table, and the names of its files."""

    cells: Callable[[], list[Cell]]
    sizes: Callable[[int | None], dict[str, int]]
    markdown: Callable[[Mapping[str, Any]], str]
    results: Path
    table: Path

    @property
    def partial(self) -> Path:
        return self.results.with_suffix(".partial.json")


FAMILIES = {
    "growth": Family(
        growth_cells.cells,
        growth_cells.sizes,
        growth_table.markdown,
        HERE / "results.json",
        HERE / "table.md",
    ),
    "survival": Family(
        survival_cells.cells,
        survival_cells.sizes,
        survival_table.markdown,
        HERE / "survival_results.json",
        HERE / "survival_table.md",
    ),
    "tools": Family(
        tools_cells.cells,
        tools_cells.sizes,
        tools_table.markdown,
        HERE / "tools_results.json",
        HERE / "tools_table.md",
    ),
}


def chunk(cell: Cell, truth: str, replicates: Sequence[int]) -> dict[str, Any]:
    """Return what every model says in some replicates, (replicates, methods, quantities, 5), nan where it failed."""
    n, q = len(replicates), len(cell.quantities)
    said = {model: np.full((n, len(cell.methods(model)), q, 5), np.nan) for model in cell.models}
    boundary, failed = (dict.fromkeys(cell.models, 0) for _ in range(2))
    counted: Counter[str] = Counter()
    place = TRUTHS.index(truth)
    for k, replicate in enumerate(replicates):
        frame = cell.draw(truth, _parallel.generators(SEED, cell.key, place, replicate))
        counted.update(cell.counted(frame))
        for m, model in enumerate(cell.models):
            rng = _parallel.generators(SEED, cell.key, place, replicate, m)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", BoundaryWarning)
                try:
                    said[model][k], on_boundary = cell.answer(model, frame, rng)
                    boundary[model] += on_boundary
                except (ConvergenceError, DataError):
                    failed[model] += 1
    return {"said": said, "failed": failed, "boundary": boundary, "counted": counted}


def run_cell(cell: Cell, replicates: int, workers: int) -> dict[str, Any]:
    """Return the record of a cell, the same for any number of workers."""
    out: dict[str, Any] = {"replicates": replicates, "truths": {}}
    for truth in cell.truths:
        tasks = [(cell, truth, range(k, min(k + CHUNK, replicates))) for k in range(0, replicates, CHUNK)]
        parts = _parallel.run(chunk, tasks, workers)
        record: dict[str, Any] = {k: sum(p["counted"][k] for p in parts) / replicates for k in parts[0]["counted"]}
        out["truths"][truth] = record | {"models": {m: of_model(cell, truth, m, parts) for m in cell.models}}
    return out


def of_model(cell: Cell, truth: str, model: str, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the record of one model: what every method says of every quantity."""
    said, true = np.concatenate([p["said"][model] for p in parts]), cell.truth_of(truth, model)
    counts = {what: sum(int(p[what][model]) for p in parts) for what in ("failed", "boundary")}
    methods: dict[str, dict[str, Any]] = {}
    for j, method in enumerate(cell.methods(model)):
        places = {q: cell.quantities.index(q) for q in cell.asked(model, method)}
        methods[method] = {q: cell.summary(said[:, j, k], true[q]) for q, k in places.items()}
    return counts | {"methods": methods}


def rounded(value: Any) -> Any:
    """Return a record with six significant digits."""
    if isinstance(value, Mapping):
        return {k: rounded(v) for k, v in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def written(results: Mapping[str, Any]) -> str:
    """Return the results as JSON, one line a cell."""
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(record)}" for name, record in results["cells"].items())
    return f'{{"header": {json.dumps(results["header"])},\n"cells": {{\n{lines}\n}}}}\n'


def header(sizes: Mapping[str, int]) -> dict[str, Any]:
    """Return what a run rests on."""
    packages = ("implstats", "numpy", "scipy", "pandas")
    versions = {"python": platform.python_version()}
    versions |= {p: ist.__version__ if p == "implstats" else metadata.version(p) for p in packages}
    return {"versions": versions, "seed": SEED, "replicates": dict(sizes)}


def study(
    family: Family, chosen: Sequence[Cell], replicates: int | None, workers: int, partial: Path | None
) -> dict[str, Any]:
    """Return the record of every chosen cell; finished cells are kept in `partial` until all are done."""
    done: dict[str, Any] = {"header": header(family.sizes(replicates)), "cells": {}}
    if partial is not None and partial.exists():
        earlier = json.loads(partial.read_text(encoding="utf-8"))
        done = earlier if earlier["header"] == done["header"] else done
    for cell in chosen:
        if cell.name not in done["cells"]:
            print(cell.name, file=sys.stderr, flush=True)
            done["cells"][cell.name] = rounded(run_cell(cell, replicates or cell.replicates, workers))
            if partial is not None:
                partial.write_text(json.dumps(done), encoding="utf-8")
    done["header"]["date"] = date.today().isoformat()
    return done


def run_family(family: Family, asked: argparse.Namespace) -> None:
    """Run the cells that are asked for; print their table, or write it."""
    chosen = [cell for cell in family.cells() if asked.only is None or asked.only in cell.name]
    if not chosen:
        return
    partial = family.partial if asked.write and asked.only is None else None
    results = study(family, chosen, asked.replicates, asked.workers, partial)
    if not asked.write:
        print(family.markdown(results))
        return
    if asked.only is not None:
        earlier = json.loads(family.results.read_text(encoding="utf-8"))
        found = earlier["cells"] | results["cells"]
        results["cells"] = {cell.name: found[cell.name] for cell in family.cells() if cell.name in found}
    family.results.write_text(written(results), encoding="utf-8")
    family.table.write_text(family.markdown(results), encoding="utf-8")
    if partial is not None:
        partial.unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="*", metavar="family", help=f"one of {', '.join(FAMILIES)}; by default all")
    parser.add_argument("--write", action="store_true", help="write the results and the table of each family")
    parser.add_argument("--replicates", type=int, help="instead of 2,000, and 500 with bootstrap")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", help="cells whose name contains this")
    asked = parser.parse_args(arguments)
    if asked.write and asked.replicates:
        parser.error("a rough run is printed, not written; leave out --write or --replicates")
    if unknown := set(asked.families) - set(FAMILIES):
        parser.error(f"no such family: {', '.join(sorted(unknown))}; there are {', '.join(FAMILIES)}")
    for name in asked.families or FAMILIES:
        run_family(FAMILIES[name], asked)


if __name__ == "__main__":
    main()
