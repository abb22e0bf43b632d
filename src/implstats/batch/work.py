"""A cell carried out: its rows and how its fit ended, or the reason why there are none; never an exception."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from implstats import _parallel
from implstats.batch.cell_pictures import drawn
from implstats.batch.cells import Cell
from implstats.batch.many import KINDS
from implstats.batch.privacy import Privacy, masked
from implstats.errors import ImplstatsError

__all__ = ["DRAWN", "carried_out", "carry_out_cell", "check_cell", "failed", "faults"]

DRAWN = "drawn"
"""Where a record that comes back from a worker has the files of its pictures; they do not stay in it."""


def faults(cells: Sequence[Cell], workers: int = 1, cluster: str | None = None) -> dict[str, str]:
    """Return key -> why the rows of a cell cannot be analysed; nothing is fitted."""
    checks = _parallel.finished(check_cell, [(cell,) for cell in cells], workers, cluster)
    found = {k: _lost(said) if isinstance(said, Exception) else said for k, said in checks}
    return {cell.key: found[k] for k, cell in enumerate(cells) if found[k]}


def check_cell(cell: Cell) -> str:
    """Return why the rows of a cell cannot be analysed; nothing if they can."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            KINDS[cell.asked["kind"]].check(masked(cell.frame, cell.masked), cell.asked)
    except ImplstatsError as error:
        return str(error)
    return ""


def carry_out_cell(cell: Cell) -> dict[str, Any]:
    """Return the record of a cell."""
    try:
        with warnings.catch_warnings(record=True) as heard:
            warnings.simplefilter("always")
            answer = KINDS[cell.asked["kind"]].answer(masked(cell.frame, cell.masked), cell.asked)
    except ImplstatsError as error:
        return failed(cell, str(error))
    except Exception as error:
        # A fault of ours: the other cells stand, and the row says what to report.
        return failed(cell, f"unexpected {type(error).__name__}: {error}; please report this")
    told_of = Privacy(min_count=cell.asked["min_count"])
    rows = [told_of.row(row) for row in answer.rows]
    told = {"status": "done", "error": "", "converged": answer.converged, "boundary": answer.boundary}
    said = list(dict.fromkeys(" ".join(str(w.message).split()) for w in heard))
    told |= {"warnings": said, "one_direction": answer.one_direction, "rows": rows}
    if "figures" in cell.asked:
        told["pictures"], told[DRAWN] = drawn(answer.results, cell.asked)
    return _head(cell) | told


def failed(cell: Cell, why: str) -> dict[str, Any]:
    """Return the record of a cell that has no answer."""
    told = {"status": "failed", "error": why, "converged": False, "boundary": False}
    return _head(cell) | told | {"warnings": [], "one_direction": False, "rows": []}


def _head(cell: Cell) -> dict[str, Any]:
    return {"made_of": cell.made_of, "asked": cell.asked}


def carried_out(
    cells: Sequence[Cell], workers: int, cluster: str | None, told: Callable[[int, int], None] | None = None
) -> Iterator[tuple[Cell, Mapping[str, Any]]]:
    """Yield every cell with its record, as they end; `told` hears how many are done."""
    tasks = [(cell,) for cell in cells]
    for count, (k, record) in enumerate(_parallel.finished(carry_out_cell, tasks, workers, cluster), start=1):
        cell = cells[k]
        yield cell, failed(cell, _lost(record)) if isinstance(record, Exception) else record
        if told is not None:
            told(count, len(cells))


def _lost(error: Exception) -> str:
    return f"its process ended before it was done ({type(error).__name__}); it may have been out of memory"
