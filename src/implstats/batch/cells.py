"""What a cell of a batch is: one analysis of one outcome at one site, its rows of data, and the key it is known by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from implstats import _check
from implstats.batch.comparison_check import with_dates
from implstats.batch.data import read, readable
from implstats.batch.folder import file_names
from implstats.batch.made_of import fingerprint, fingerprint_of_rows, made_of
from implstats.batch.many import KINDS, Batch, Repeated
from implstats.batch.plan import Plan
from implstats.batch.repeated_cohorts import baseline_sd
from implstats.errors import DataError, PlanError
from implstats.tables import plain

__all__ = ["ALL", "BASELINE", "Cell", "Cells", "cells_of"]

ALL = "all"
"""The site of a batch that has none."""
BASELINE = "baseline"
"""The SD of an outcome that was found in the data of all sites."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One analysis of one outcome at one site.

    Attributes
    ----------
    asked : mapping
        What is asked, as JSON can hold it: site, analysis, kind, outcome, roles, options, sd, level, min_count.
    frame : pandas.DataFrame
        The rows of the site, in the columns that the analysis needs.
    masked : tuple of str
        Columns whose values no message may tell.
    """

    asked: Mapping[str, Any]
    frame: pd.DataFrame
    masked: tuple[str, ...]

    @cached_property
    def made_of(self) -> dict[str, Any]:
        """Rows, SD, what is asked and the version, told apart: what of it differs says why an answer moved."""
        ranges = self.frame.attrs.get("implstats", {}).get("ranges")
        asked = {"asked": self.asked, "masked": self.masked, "ranges": ranges}
        if self.asked.get("sd_source") == BASELINE:
            asked["asked"] = {k: v for k, v in self.asked.items() if k != "sd"}
            return made_of(fingerprint_of_rows(self.frame), asked, self.asked["sd"])
        return made_of(fingerprint_of_rows(self.frame), asked)

    @cached_property
    def key(self) -> str:
        """A hash of the rows, of what is asked, and of the version: as long as it stays, the answer does."""
        return fingerprint(self.made_of)

    @property
    def file(self) -> str:
        """The name of its file."""
        return f"{self.stem}.json"

    @property
    def stem(self) -> str:
        """What the names of its files begin with, safe whatever site and outcome are called."""
        words = " ".join(self.asked[part] for part in ("analysis", "outcome", "site"))
        return f"{file_names([words])[words]}_{self.key[:16]}"

    @property
    def in_words(self) -> str:
        """The cell as messages name it."""
        return f"{self.asked['analysis']}, {self.asked['outcome']}, {self.asked['site']}"


@dataclass(frozen=True, eq=False)
class Cells:
    """All cells of a plan.

    Attributes
    ----------
    cells : tuple of Cell
        By analysis, outcome and site.
    sds : mapping
        Outcome -> what d is divided by, at every site.
    without_site : mapping
        File -> rows that name no site, and are in no cell.
    names : tuple of str
        What can have a label.
    labels : mapping
        Those of the plan, and of columns that have one in their file.
    """

    cells: tuple[Cell, ...]
    sds: Mapping[str, float]
    without_site: Mapping[str, int]
    names: tuple[str, ...]
    labels: Mapping[str, str]


def cells_of(plan: Plan, batch: Batch) -> Cells:
    """Return every cell of a plan; a PlanError holds every fault of the plan against its data.

    What one site's rows cannot answer is no fault of the plan: its cells fail on their own.
    """
    faults = _check.Faults()
    frames = _frames(plan, batch, faults)
    plan = replace(plan, labels=readable(frames.values(), plan.labels))
    sds = _sds(batch, frames, faults)
    named = list(batch.outcomes)
    wanted = [(one, name) for one in batch.analyses for name in KINDS[one.kind].outcomes(named, one.options)]
    wrong: list[str] = []
    columns = [_columns(batch, one, outcome, frames.get(repr(one.data)), wrong) for one, outcome in wanted]
    for line in dict.fromkeys(wrong):
        faults.say(line)
    _labels(plan, frames, batch, faults)
    if frames:
        roles = {"by": batch.by, "cohort": None if batch.roles is None else batch.roles.cohort}
        plan.privacy.check([name for frame in frames.values() for name in frame.columns], [roles], faults)
    if batch.by is not None:
        for frame in frames.values():
            _check.columns(frame, faults, by=batch.by)
    faults.settle(PlanError)
    found: list[Cell] = []
    sites = {name: _sites(frame, batch.by) for name, frame in frames.items()}
    for (one, outcome), roles in zip(wanted, columns, strict=True):
        needed = list(dict.fromkeys(name for name in roles.values() if name is not None))
        hidden = plan.privacy.hidden(roles, frames[repr(one.data)])
        for site, frame in sites[repr(one.data)].items():
            asked = _asked(batch, one, outcome, sds) | _shown(plan) | {"site": site}
            found.append(Cell(asked, frame[needed], hidden))
    lost = {one.data.file: _nowhere(frames[repr(one.data)], batch.by) for one in batch.analyses}
    return Cells(tuple(found), sds, {k: n for k, n in lost.items() if n}, tuple(_names(frames, batch)), plan.labels)


def _frames(plan: Plan, batch: Batch, faults: _check.Faults) -> dict[str, pd.DataFrame]:
    """Return every table, each read once, dates of the time column as dates."""
    frames: dict[str, pd.DataFrame] = {}
    first: dict[str, Repeated] = {}
    for one in batch.analyses:
        first.setdefault(repr(one.data), one)
    for key, one in first.items():
        try:
            frames[key] = read(one.data, plan.where(one.data), f"[batch.analysis {one.name}] file")
        except PlanError as error:
            faults.take(error)
    for one in batch.analyses:
        if (frame := frames.get(repr(one.data))) is not None and KINDS[one.kind].of_outcomes:
            frames[repr(one.data)] = _dated(frame, batch, one, faults)
    return frames


def _dated(frame: pd.DataFrame, batch: Batch, one: Repeated, faults: _check.Faults) -> pd.DataFrame:
    """Return a table with the times of an analysis as dates, if they are counted from dates."""
    assert batch.roles is not None
    times: dict[str, str | None] = {"time": batch.roles.time, "interruption": one.options.get("interruption")}
    for role, name in times.items():
        if name is not None and name in frame:
            frame = with_dates(frame, name, batch.roles.time_unit, faults, role)
    return frame


def _columns(
    batch: Batch, one: Repeated, outcome: str, frame: pd.DataFrame | None, faults: list[str]
) -> dict[str, Any]:
    """Return role -> column of an analysis; one that is not there is a fault."""
    if frame is None:
        return {}
    here = _check.Faults()
    roles = KINDS[one.kind].columns(_asked(batch, one, outcome, {}), list(frame.columns), here)
    for role, name in roles.items():
        _check.columns(frame, here, **{role.split("[")[0]: name})
    try:
        here.settle()
    except DataError as error:
        faults.extend(f"[batch.analysis {one.name}] {line}" for line in str(error).split("\n"))
    return roles


def _asked(batch: Batch, one: Repeated, outcome: str, sds: Mapping[str, float]) -> dict[str, Any]:
    asked: dict[str, Any] = {"analysis": one.name, "kind": one.kind, "outcome": outcome, "options": one.options}
    if KINDS[one.kind].of_outcomes and batch.roles is not None:
        asked |= {"roles": asdict(batch.roles), "better": batch.outcomes[outcome], "sd": sds.get(outcome)}
        asked["sd_source"] = BASELINE if isinstance(batch.sd, str) else "plan"
    told: dict[str, Any] = plain(asked | {"level": batch.level})
    return told


def _shown(plan: Plan) -> dict[str, Any]:
    """Return what else an answer depends on: which numbers are told, and its pictures, if every cell has them."""
    told: dict[str, Any] = {"min_count": plan.privacy.min_count}
    if plan.figures == "all":
        told["figures"] = {"individual_lines": plan.privacy.individual_lines, "labels": dict(plan.labels)}
    return told


def _sds(batch: Batch, frames: Mapping[str, pd.DataFrame], faults: _check.Faults) -> dict[str, float]:
    """Return one SD an outcome: with the SD of a site, d of two sites could not be compared."""
    if not isinstance(batch.sd, str):
        return dict(batch.sd)
    using = [one for one in batch.analyses if KINDS[one.kind].of_outcomes]
    frame = frames.get(repr(using[0].data)) if using else None
    roles = {} if batch.roles is None else asdict(batch.roles)
    needed = {roles.get("patient"), roles.get("time"), roles.get("cohort")}
    found: dict[str, float] = {}
    if frame is None or not needed <= set(frame.columns):
        return found
    if roles["time_unit"] is not None and roles["baseline"] != 0 and not isinstance(roles["baseline"], str):
        faults.say('[batch] sd="baseline": with dates the baseline must be 0, the first visit; or give the SDs')
        return found
    for outcome in batch.outcomes:
        column = roles["baseline"] if isinstance(roles["baseline"], str) else outcome
        if column in frame:
            found[outcome] = baseline_sd(frame, roles, outcome)
            if not found[outcome] > 0:
                faults.say(f"[batch] sd='baseline': {outcome} has no spread at the baseline; give the SD as a number")
    return found


def _sites(frame: pd.DataFrame, by: str | None) -> dict[str, pd.DataFrame]:
    """Return site -> its rows, in the order of the sites' names."""
    frame = frame.copy(deep=False)
    # What is told beside a table is copied with every column that is taken of it; models ask for these two only.
    told = {k: v for k, v in frame.attrs.get("implstats", {}).items() if k in ("ranges", "values") and v}
    frame.attrs = {"implstats": told} if told else {}
    if by is None:
        return {ALL: frame}
    parts = {_word(value): rows for value, rows in frame.groupby(by, sort=False)}
    return dict(sorted(parts.items()))


def _word(value: Any) -> str:
    return value if isinstance(value, str) else _check.show(value)


def _nowhere(frame: pd.DataFrame, by: str | None) -> int:
    return 0 if by is None else int(frame[by].isna().sum())


def _names(frames: Mapping[str, pd.DataFrame], batch: Batch, *, all_text: bool = True) -> list[str]:
    """Return what can have a label: columns, analyses, sites and cohorts, and what else is text."""
    names = [one.name for one in batch.analyses]
    compared = {batch.by, batch.roles.cohort if batch.roles is not None else None}
    for frame in frames.values():
        names += map(str, frame.columns)
        for column in frame.columns:
            if column in compared or (all_text and not pd.api.types.is_numeric_dtype(frame[column].dtype)):
                names += map(_word, frame[column].dropna().unique()[:1000])
    return names


def _labels(plan: Plan, frames: Mapping[str, pd.DataFrame], batch: Batch, faults: _check.Faults) -> None:
    known, offered = _names(frames, batch), _names(frames, batch, all_text=False)
    for name in plan.labels if frames else ():
        if name not in known:
            faults.say(f"[labels] {name}: neither a column nor a value of one{_check.nearest(name, offered)}")
