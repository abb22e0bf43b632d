"""What the data say about the cells of a batch, before anything is fitted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from implstats.batch.cells import Cell, Cells, cells_of
from implstats.batch.many import Batch
from implstats.batch.plan import Plan
from implstats.batch.work import faults
from implstats.errors import PlanError

__all__ = ["CheckedBatch", "check_batch", "checked"]


@dataclass(frozen=True, eq=False)
class CheckedBatch:
    """A batch that can be carried out.

    Attributes
    ----------
    cells : Cells
    wrong : mapping
        Key of a cell -> why it cannot be analysed; the others can.
    """

    batch: Batch
    cells: Cells
    wrong: Mapping[str, str]

    @property
    def faults(self) -> dict[str, str]:
        """Cell -> why it cannot be analysed."""
        return {cell.in_words: self.wrong[cell.key] for cell in self.cells.cells if cell.key in self.wrong}

    def in_words(self) -> list[str]:
        """Return what a run would do, one sentence a line."""
        every = self.cells.cells
        sites = {cell.asked["site"] for cell in every}
        by = f"{len(sites)} values of {self.batch.by}" if self.batch.by else "all rows together"
        lines = [f"cells: {len(every)}: {len(self.batch.analyses)} analyses, {by}"]
        for one in self.batch.analyses:
            count = sum(cell.asked["analysis"] == one.name for cell in every)
            lines.append(f"analysis {one.name}: {one.kind} of {one.data.file}, {count} cells")
        lines += [f"d of {name} is in SDs of {sd:.3g}, at every site" for name, sd in self.cells.sds.items()]
        lines += [f"{file}: {n} rows name no {self.batch.by}" for file, n in self.cells.without_site.items()]
        return lines + [f"cell {name}: cannot be analysed: {why}" for name, why in self.faults.items()]


def check_batch(plan: Plan, batch: Batch) -> CheckedBatch:
    """Return what can be analysed; a PlanError if the plan is wrong, or no cell can be."""
    cells = cells_of(plan, batch)
    return CheckedBatch(batch, cells, checked(cells.cells, of=len(cells.cells)))


def checked(cells: Sequence[Cell], of: int, workers: int = 1, cluster: str | None = None) -> dict[str, str]:
    """Return key -> why a cell cannot be analysed; a PlanError if that is none of all."""
    wrong = faults(cells, workers, cluster)
    if len(wrong) == of:
        raise PlanError("\n".join(dict.fromkeys(line for why in wrong.values() for line in why.split("\n"))))
    return wrong
