"""What the data say about a comparison of cohorts, before anything is fitted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from implstats import _check
from implstats.batch.comparison import Comparison
from implstats.batch.plan import Plan
from implstats.design import GrowthDesign, rhs
from implstats.errors import DataError, PlanError
from implstats.study.choice import BESIDE, Choice, choose, refuse

__all__ = ["CheckedComparison", "check_comparison", "with_dates"]


@dataclass(frozen=True, eq=False)
class CheckedComparison:
    """A comparison that can be carried out, with its data.

    Attributes
    ----------
    plan : Plan
    asked : Comparison
        What the plan asks for.
    frame : pandas.DataFrame
        The data as they were read.
    designs : mapping
        Outcome -> cohorts, times and rows of its model.
    choices : mapping
        Outcome -> which model it gets, if that can be fitted, and why.
    faults : mapping
        Outcome -> why it cannot be fitted; the other outcomes can.
    """

    plan: Plan
    asked: Comparison
    frame: pd.DataFrame
    designs: Mapping[str, GrowthDesign]
    choices: Mapping[str, Choice]
    faults: Mapping[str, str]

    @property
    def names(self) -> list[str]:
        """What can have a label: columns and cohorts."""
        return [*map(str, self.frame.columns), *map(str, self.frame[self.asked.roles.cohort].dropna().unique())]

    def in_words(self) -> list[str]:
        """Return what a run would do, one sentence a line."""
        plan, roles, asked = self.plan, self.asked.roles, self.asked.analysis
        some = next(iter(self.designs.values()))
        times = ", ".join(_check.show(t) for t in asked.at)
        others = ", ".join(plan.label(c) for c in some.cohorts[1:])
        since = f"{roles.time} {_check.show(some.baseline)}"
        if isinstance(roles.baseline, str):
            since = f"the column {roles.baseline}, as {since}"
        lines = [
            f"data: {self.asked.data.file}, {len(self.frame)} rows, {self.frame[roles.patient].nunique()} patients",
            f"compared: {others} with {plan.label(some.cohorts[0])}, at {roles.time} {times}, change since {since}",
        ]
        for name, better in self.asked.outcomes.items():
            what = f"outcome {name} ({plan.label(name)})" if name in plan.labels else f"outcome {name}"
            if name in self.faults:
                lines.append(f"{what}: cannot be fitted: {self.faults[name]}")
            else:
                choice = self.choices[name]
                formula = f"; {self.designs[name].formula}" if choice.model == "growth" else ""
                lines.append(f"{what}: {better} is better; {choice.in_words(plan.label)}{formula}")
        return lines


def check_comparison(plan: Plan, asked: Comparison, frame: pd.DataFrame) -> CheckedComparison:
    """Return what can be compared; a PlanError holds every fault."""
    faults = _check.Faults()
    _columns(asked, frame, faults)
    faults.settle(PlanError)
    frame = with_dates(frame, asked.roles.time, asked.roles.time_unit, faults)
    if asked.analysis.interruption is not None:
        frame = with_dates(frame, asked.analysis.interruption, asked.roles.time_unit, faults, "interruption")
    faults.settle(PlanError)
    designs: dict[str, GrowthDesign] = {}
    choices: dict[str, Choice] = {}
    wrong: dict[str, str] = {}
    for name in asked.outcomes:
        try:
            designs[name], choices[name] = _design(asked, frame, name)
        except DataError as error:
            wrong[name] = str(error)
    if not designs:
        for message in dict.fromkeys(line for told in wrong.values() for line in told.split("\n")):
            faults.say(message)
    faults.settle(PlanError)
    return CheckedComparison(plan, asked, frame, designs, choices, wrong)


def _columns(comparison: Comparison, frame: pd.DataFrame, faults: _check.Faults) -> None:
    roles, asked = comparison.roles, comparison.analysis
    _check.columns(frame, faults, patient=roles.patient, time=roles.time, cohort=roles.cohort)
    if isinstance(roles.baseline, str):
        _check.columns(frame, faults, baseline=roles.baseline)
        if len(comparison.outcomes) > 1:
            fault = f"one column cannot be the baseline of {len(comparison.outcomes)} outcomes"
            faults.add("baseline", roles.baseline, fault, "compare them one by one")
    for name in comparison.outcomes:
        _check.columns(frame, faults, outcomes=name)
    refuse(asked.model, vars(asked), asked.df, faults)
    for name in asked.groups or ():
        _check.columns(frame, faults, groups=name)
    for name in asked.moderators or ():
        _check.columns(frame, faults, moderators=name)
    _check.columns(frame, faults, interruption=asked.interruption, patient_weights=asked.patient_weights)
    if asked.adjust is not None:
        try:
            rhs.needed_columns(asked.adjust, frame.columns, "adjust")
        except DataError as error:
            faults.take(error)


def with_dates(
    frame: pd.DataFrame, time: str, unit: str | None, faults: _check.Faults, role: str = "time"
) -> pd.DataFrame:
    """Return the frame with a column of times as dates, if time is counted from dates."""
    column = frame[time]
    if pd.api.types.is_numeric_dtype(column.dtype):
        return frame
    days = pd.to_datetime(column, format="%Y-%m-%d", errors="coerce")
    bad = days.isna() & column.notna()
    if bad.any():
        first = column[bad].iloc[0]
        # The first line of a file names the columns, so row 0 stands on line 2.
        lines = _check.rows(int(k) + 2 for k in np.flatnonzero(bad.to_numpy())).replace("row", "line", 1)
        fault = f"the column holds text such as {first!r} ({lines})"
        remedy = "write numbers, or dates as YYYY-MM-DD with time_unit"
        if time in frame.attrs.get("implstats", {}).get("values", {}):
            remedy = 'these are labels of codes: write labels = "codes" under [data], or the columns that get labels'
        faults.add(role, time, fault, remedy)
    elif unit is None:
        faults.add(role, time, "the column holds dates, not numbers", 'write time_unit = "months" under [roles]')
    return frame.assign(**{time: days})


def _design(comparison: Comparison, frame: pd.DataFrame, name: str) -> tuple[GrowthDesign, Choice]:
    roles, asked = comparison.roles, comparison.analysis
    columns = {part: getattr(roles, part) for part in ("time", "patient", "cohort", "reference", "baseline")}
    options = {k: getattr(asked, k) for k in ("shape", "adjust", "groups", "missing", *BESIDE)}
    design, choice = choose(frame, name, asked.model, columns | options | {"time_unit": roles.time_unit})
    faults = _check.Faults()
    for t in asked.at:
        if t == design.baseline:
            faults.add("at", t, "this is the baseline; nothing has changed yet")
            continue
        try:
            design.seen_at([t], "at", range(len(design.cohorts)))
        except DataError as error:
            faults.take(error)
    faults.settle()
    return design, choice
