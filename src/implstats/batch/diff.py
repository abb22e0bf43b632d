"""Two runs compared: which answers moved from one to the other, how far, and whether data, plan or version did it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from implstats import _check
from implstats.batch.blocks import on_one_line
from implstats.batch.causes import BY_SD, CAUSES, DATA, UNTOLD
from implstats.batch.cells import ALL
from implstats.batch.folder import write_csv
from implstats.batch.gathered import POOLED
from implstats.batch.looks import ELSEWHERE, Look, analyses, different
from implstats.batch.moves import APPEARED, CORRECTED, DISAPPEARED, Moves
from implstats.batch.past import NAMES, NUMBERS, PLACE, POOLED_SITE, PastRun, read_run
from implstats.batch.store import KIND as BATCH
from implstats.batch.store import written
from implstats.errors import PlanError
from implstats.results import Result
from implstats.tables import write_number

__all__ = ["RunComparison", "compare_runs", "write_moves"]

SHOWN = 10
"""Cells whose move is printed."""
_SIDES = ("old", "new")
_STATUS = ("status_old", "status_new")
_WORDS = (*NAMES, "moved", "why", "reading", *_STATUS)
_COLUMNS = (
    *PLACE,
    *("moved", "why", "shift"),
    *(f"{name}_{side}" for name in NUMBERS for side in _SIDES),
    *_STATUS,
    "reading",
)
_BY = {why: "untold" if why == UNTOLD else f"by_{why.split()[0]}" for why in CAUSES}


@dataclass(frozen=True, eq=False, repr=False)
class RunComparison(Result):
    """What moved between two runs of plans.

    Attributes
    ----------
    rows : tuple of mapping
        One row a quantity that moved, or a cell that appeared, disappeared or changed its status.
    cells : mapping
        "old" and "new" -> how many cells each run has; of a plan without sites, tables of an outcome.
    looks : mapping
        "old" and "new" -> the looks at the data that each folder knows of.
    notes : tuple of str
        What else a reader must know.
    """

    rows: tuple[Mapping[str, Any], ...]
    cells: Mapping[str, int]
    looks: Mapping[str, tuple[Look, ...]]
    notes: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether nothing moved."""
        return not self.rows

    def tidy(self) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a quantity that moved, or a cell that is in one run only or whose status is another.

        `moved` says what did: estimate, interval, n, corrected p-value, status, appeared, disappeared. `why` is data,
        plan, version, several of them, nothing known (all three are the same: another machine or library computed it),
        or cannot be told; `reading` says what differs. `shift` is the move in halves of the old interval's width.
        """
        frame = pd.DataFrame(list(self.rows), columns=list(_COLUMNS))
        for name in _COLUMNS:
            frame[name] = frame[name].fillna("").astype(object) if name in _WORDS else frame[name].astype(float)
        always = {"site", "analysis", "outcome", "quantity"}
        empty = [name for name in PLACE if name not in always and frame[name].isin(["", np.nan]).all()]
        return frame.drop(columns=empty)

    def glance(self) -> pd.DataFrame:
        """Return one row: cells of both runs, how many moved, appeared and disappeared, why, and looks at the data."""
        cells, whole = self._cells(), Counter(row["moved"] for row in self.rows if "quantity" not in row)
        alone = {name: whole[name] for name in (APPEARED, DISAPPEARED)}
        made = {f"cells_{side}": self.cells[side] for side in _SIDES}
        made |= {"moved": len(cells) - sum(alone.values())} | alone
        made |= {name: Counter(cells.values())[why] for why, name in _BY.items()}
        made |= {f"looks_{side}": len(self.looks[side]) for side in _SIDES}
        return pd.DataFrame([made])

    def _cells(self) -> dict[tuple[str, ...], str]:
        """Return every cell of `rows` -> why it moved; effects over all sites are none."""
        return {_cell(row): row["why"] for row in reversed(self.rows) if row["site"] != POOLED_SITE}

    def header(self) -> list[str]:
        """Return how much moved and why, effects whose interval crossed 0, and how often the data were looked at."""
        lines = [self._counted(), *self._whys(), *self._crossed(), *self.notes, self._looked()]
        left = len(self.rows) - len(self._largest())
        return lines + (
            [f"below: the largest move of a cell each; {left} more rows in tidy(), and in the file of --out"]
            if left
            else []
        )

    def _counted(self) -> str:
        row = self.glance().iloc[0]
        names = " and ".join(on_one_line(repr(self.call[side])) for side in _SIDES)
        if self.same:
            return f"runs {names}: nothing moved, all {row['cells_new']} cells are the same"
        pooled = sum(one["site"] == POOLED_SITE for one in self.rows)
        beyond = f"; {pooled} effects {POOLED_SITE} moved" if pooled else ""
        alone = f"{row[APPEARED]} appeared, {row[DISAPPEARED]} disappeared"
        return f"runs {names}: {row['moved']} of {row['cells_old']} cells moved, {alone}{beyond}"

    def _whys(self) -> list[str]:
        """Return how many cells moved for which cause, and how many by the data of other sites."""
        whys = Counter(self._cells().values())
        if not whys:
            return []
        by_sd = len({_cell(row) for row in self.rows if row["reading"].startswith(f"{DATA}: {BY_SD}")})
        beside = f"; {by_sd} of them have the rows that they had, and moved by the SD of all sites" if by_sd else ""
        return ["why, in cells: " + ", ".join(f"{why} {whys[why]}" for why in CAUSES if whys[why]) + beside]

    def _crossed(self) -> list[str]:
        """Return which effects have an interval that excluded 0 and holds it now, or the other way round."""
        lines = []
        for excluded, words in ((True, "excluded 0 and holds it now"), (False, "held 0 and excludes it now")):
            found = [_name(row) for row in self.rows if _excludes_zero(row) == (excluded, not excluded)]
            more = f" and {len(found) - _check.SHOWN} more" if len(found) > _check.SHOWN else ""
            if found:
                lines.append(f"interval {words}: {'; '.join(found[: _check.SHOWN])}{more}")
        return lines

    def _looked(self) -> str:
        every = different([look for side in _SIDES for look in self.looks[side]])
        states = len({look.data for look in every if look.known})
        least = "" if all(look.known for look in every) else "at least "
        known = " and ".join(f"{len(self.looks[side])} in {side.upper()}" for side in _SIDES)
        return (
            f"looks at the data: {known}, {least}{len(every)} in all (a plan on the same data counts once), with "
            f"{least}{len(analyses(every))} different analyses of an outcome, on {least}{states} "
            f"{'state' if states == 1 else 'states'} of the data. {ELSEWHERE}"
        )

    def _largest(self) -> list[Mapping[str, Any]]:
        """Return the largest move of every cell, of those that moved most; another status stands first."""
        first: dict[tuple[str, ...], Mapping[str, Any]] = {}
        for row in sorted(self.rows, key=_size, reverse=True):
            first.setdefault(_cell(row), row)
        return list(first.values())[:SHOWN]

    def _shown(self) -> pd.DataFrame:
        columns = ["what", "moved", *_SIDES, "why"]
        rows = [
            {"what": _name(row), "moved": row["moved"], "why": row["why"]}
            | {side: _number(row, side) for side in _SIDES}
            for row in self._largest()
        ]
        return pd.DataFrame(rows, columns=columns)

    def __repr__(self) -> str:
        return super().__repr__().rpartition("\n\n")[0] if self.same else super().__repr__()


def _cell(row: Mapping[str, Any]) -> tuple[str, ...]:
    return row["site"], row["analysis"], row["outcome"]


def _name(row: Mapping[str, Any]) -> str:
    """Return what a row is about, in words that a terminal can show."""
    cell = ", ".join(row[name] for name in ("analysis", "outcome", "site") if row[name] not in ("", ALL))
    inner = [row.get(name) for name in PLACE if name not in ("site", "analysis", "outcome", "reference")]
    told = ", ".join(write_number(part, "time") for part in inner if part not in (None, "") and part == part)
    return on_one_line(f"{cell}: {told}" if told else cell)


def _number(row: Mapping[str, Any], side: str) -> str:
    """Return an estimate with its interval and count, or the status of a cell."""
    if "quantity" not in row:
        return str(row.get(f"status_{side}") or "not there")
    if row["moved"] == (APPEARED if side == "old" else DISAPPEARED):
        return "not there"
    numbers = {name: row[f"{name}_{side}"] for name in NUMBERS}
    value, low, high = (write_number(numbers[name]) for name in ("estimate", "conf_low", "conf_high"))
    told = f"{value} [{low}, {high}]"
    if CORRECTED in row["moved"]:
        told += f", p {write_number(numbers['p_corrected'], 'p_corrected')}"
    return f"{told}, n {numbers['n']:g}" if row["n_old"] != row["n_new"] and numbers["n"] > 0 else told


def _size(row: Mapping[str, Any]) -> tuple[bool, float]:
    """Return how much a row moved, for ordering: another status, then the shift."""
    shift = abs(row.get("shift", np.nan))
    return row["moved"] == "status", float(shift) if np.isfinite(shift) else -1.0


def _excludes_zero(row: Mapping[str, Any]) -> tuple[bool, ...] | None:
    """Return whether the old and the new interval of an effect leave 0 out; None for what is no effect."""
    ends = [(row.get(f"conf_low_{side}", np.nan), row.get(f"conf_high_{side}", np.nan)) for side in _SIDES]
    if row.get("quantity") not in POOLED or np.isnan(ends).any():
        return None
    return tuple(not low <= 0 <= high for low, high in ends)


def compare_runs(old: str | Path, new: str | Path, *, tolerance: float = 1e-6) -> RunComparison:
    """Which answers moved from one run of a plan to another, and was it the data, the plan or the version?

    Parameters
    ----------
    old, new : str or path
        Folders that `run_plan` or `implstats run` wrote: two batches, or two runs of a study or of survival analyses.
    tolerance : float
        Numbers that differ by no more than this, in halves of the old interval's width, count as the same (where there
        is no interval, and of corrected p-values: as a share of the larger number). 0 counts every last digit.

    Returns
    -------
    RunComparison
        `tidy()` has one row a quantity that moved.

    Raises
    ------
    PlanError
        If a folder holds no run, one that was stopped before its end, or tables that are not as the run left them; or
        if one is a batch and the other is not.
    DataError
        If the tolerance is not a number of 0 or more.

    Notes
    -----
    Cells are matched by analysis, outcome and site, their quantities by cohorts, terms and times. Every cell holds
    hashes of its rows, of what was asked and of the version: what of these differs is `why`. Rows count as changed data
    only where the data file is another one; the same file that is read otherwise is a changed plan. Effects over all
    sites, and corrected p-values, move with other cells and have the causes of these.

    A look is a plan on one state of the data. A folder knows the looks of its own runs alone; how many there were
    elsewhere is not known here.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import implstats as ist
    >>> import pandas as pd
    >>> scores = {"case": [1, 1, 2, 2, 3, 3], "rater": ["a", "b"] * 3, "score": [1, 2, 4, 4, 6, 5]}
    >>> ratings = pd.DataFrame(scores)
    >>> plan = '''
    ... [batch]
    ... level = 0.95
    ... [[batch.analysis]]
    ... name = "agreement"
    ... kind = "ratings"
    ... file = "ratings.csv"
    ... item = "case"
    ... rater = "rater"
    ... score = "score"
    ... '''
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     place = Path(folder)
    ...     ratings.to_csv(place / "ratings.csv", index=False)
    ...     for name, level in (("old", "0.95"), ("new", "0.9")):
    ...         text = (place / "plan.toml").write_text(plan.replace("0.95", level))
    ...         done = ist.run_plan(place / "plan.toml", out=place / name)
    ...     moved = ist.compare_runs(place / "old", place / "new").tidy()
    >>> moved[["analysis", "moved", "why", "reading"]].to_dict("records")
    [{'analysis': 'agreement', 'moved': 'interval', 'why': 'plan', 'reading': 'plan: level 0.95 to 0.9'}]
    """
    runs = {"old": read_run(old, "old"), "new": read_run(new, "new")}
    tolerance = _check.number("tolerance", tolerance, least=0)
    if runs["old"].kind != runs["new"].kind:
        which = "a batch of cells, and {} is none" if runs["new"].kind == BATCH else "no batch of cells, and {} is one"
        raise PlanError(f"new={str(new)!r}: {which.format(repr(str(old)))}; name two of one kind")
    moves = Moves(runs["old"], runs["new"], tolerance)
    return RunComparison(
        {"old": str(old), "new": str(new), "tolerance": tolerance},
        tuple(moves.rows),
        {side: len(places) for side, places in moves.places.items()},
        {side: run.looks for side, run in runs.items()},
        tuple(_notes(moves, runs, tolerance)),
    )


def _notes(moves: Moves, runs: Mapping[str, PastRun], tolerance: float) -> Iterator[str]:
    """Yield what counts as the same though it is not, and which files are not as their run left them."""
    if moves.within:
        yield f"{moves.within} quantities differ by {tolerance:g} of half their interval's width or less: the same here"
    for side, run in runs.items():
        if run.doubts:
            more = f" and {len(run.doubts) - _check.SHOWN} more" if len(run.doubts) > _check.SHOWN else ""
            files = ", ".join(run.doubts[: _check.SHOWN]) + more
            yield f"{side.upper()}: not as the run left it: {files}; why such a cell moved cannot be told"


def write_moves(found: RunComparison, out: str | Path) -> None:
    """Write every move to a CSV; a file that is there is overwritten only if it holds moves itself."""
    path, shown = Path(out), f"out={str(out)!r}"
    if not path.parent.is_dir() or path.is_dir():
        raise PlanError(f"{shown}: not a file in a folder that is there; name one, as --out moves.csv")
    if any(path.resolve().is_relative_to(Path(str(found.call[side])).resolve()) for side in _SIDES):
        raise PlanError(f"{shown}: lies in the folder of a run; name a file elsewhere")
    if path.exists() and not _holds_moves(path):
        raise PlanError(f"{shown}: there already, and no table of moves; name another file")
    written(path, partial(write_csv, found.tidy()))


def _holds_moves(path: Path) -> bool:
    """Return whether the first line of a file is that of a table of moves."""
    with path.open("rb") as file:
        first = file.readline(10_000).decode("utf-8", "replace").strip().split(",")
    return set(first) <= set(_COLUMNS) and {"moved", "why"} <= set(first)
