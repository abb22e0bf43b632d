"""What the data say about a plan, before anything is fitted."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import pandas as pd

from implstats import _check
from implstats.batch.cells_check import CheckedBatch, check_batch
from implstats.batch.comparison import Comparison
from implstats.batch.comparison_check import CheckedComparison, check_comparison
from implstats.batch.data import Data, read, readable
from implstats.batch.plan import Plan
from implstats.batch.survival import Survival
from implstats.batch.survival_check import CheckedSurvival, check_survival
from implstats.errors import PlanError

__all__ = ["Checked", "check_plan"]


@dataclass(frozen=True, eq=False)
class Checked:
    """A plan that can be carried out, with its data.

    Attributes
    ----------
    plan : Plan
    comparison : CheckedComparison or None
    survival : tuple of CheckedSurvival
    batch : CheckedBatch or None
    """

    plan: Plan
    comparison: CheckedComparison | None
    survival: tuple[CheckedSurvival, ...]
    batch: CheckedBatch | None = None

    @property
    def parts(self) -> list[CheckedComparison | CheckedSurvival]:
        """The comparison and the survival analyses."""
        return [*([self.comparison] if self.comparison else []), *self.survival]

    @property
    def faults(self) -> Mapping[str, str]:
        """Outcome or cell -> why it cannot be fitted; everything else can."""
        if self.batch is not None:
            return self.batch.faults
        return {} if self.comparison is None else self.comparison.faults

    def in_words(self) -> list[str]:
        """Return what a run would do, one sentence a line."""
        parts = [*self.parts, *([self.batch] if self.batch else [])]
        return [self.plan.title, *(line for part in parts for line in part.in_words())]


def check_plan(plan: Plan) -> Checked:
    """Tell whether the data can answer a plan; every fault is reported together.

    Parameters
    ----------
    plan : Plan

    Returns
    -------
    Checked
        With the data, and the outcomes that cannot be fitted although others can.

    Raises
    ------
    PlanError
        If the data cannot be read, a role names no column, a time was not observed, options do not go together, or no
        outcome can be fitted.

    Examples
    --------
    >>> from implstats.batch import check_plan, read_plan
    >>> from implstats.examples import example_files
    >>> checked = check_plan(read_plan(example_files("reorganisation")[2]))
    >>> checked.in_words()[2]
    'compared: During with Before, at month 18, 36, change since month 0'
    """
    if plan.batch is not None:
        return Checked(plan, None, (), check_batch(plan, plan.batch))
    faults = _check.Faults()
    frames = _frames(plan, faults)
    plan = replace(plan, labels=readable(frames.values(), plan.labels))
    comparison, survival = None, []
    if plan.comparison is not None and (frame := frames.get(repr(plan.comparison.data))) is not None:
        try:
            comparison = check_comparison(plan, plan.comparison, _without_names(plan, plan.comparison, frame))
        except PlanError as error:
            faults.take(error)
    for asked in plan.survival:
        if (frame := frames.get(repr(asked.data))) is not None:
            try:
                survival.append(check_survival(plan, asked, _without_names(plan, asked, frame)))
            except PlanError as error:
                faults.take(error)
    checked = Checked(plan, comparison, tuple(survival))
    if frames:
        known = [name for frame in frames.values() for name in frame.columns]
        plan.privacy.check(known, [part.asked.columns(part.frame) for part in checked.parts], faults)
    if not faults:
        _labels(checked, faults)
    faults.settle(PlanError)
    return checked


def _frames(plan: Plan, faults: _check.Faults) -> dict[str, pd.DataFrame]:
    """Return every table of a plan, each read once; one that cannot be read is a fault.

    Where ranges are at fault, the table is still there for what else is wrong with the plan to be told in one go.
    """
    wanted: dict[str, tuple[str, Data]] = {}
    if plan.comparison is not None:
        wanted[repr(plan.comparison.data)] = ("[data] file", plan.comparison.data)
    for asked in plan.survival:
        wanted.setdefault(repr(asked.data), (f"{asked.shown} file", asked.data))
    frames = {}
    for key, (name, data) in wanted.items():
        try:
            frames[key] = read(data, plan.where(data), name)
        except PlanError as error:
            faults.take(error)
            with suppress(PlanError):
                frames[key] = read(replace(data, ranges=None), plan.where(data), name)
    return frames


def _without_names(plan: Plan, asked: Comparison | Survival, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame in which patients and staff are numbers."""
    return plan.privacy.masked(asked.columns(frame), frame)


def _labels(checked: Checked, faults: _check.Faults) -> None:
    known = [name for part in checked.parts for name in part.names]
    what = "neither a column nor a " + ("value of one" if checked.survival else "cohort")
    for name in checked.plan.labels:
        if name not in known:
            faults.say(f"[labels] {name}: {what}{_check.nearest(name, known)}")
