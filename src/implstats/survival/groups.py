"""One event and the groups that are compared: other causes are refused, and each group's follow-up is counted."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from implstats import _check
from implstats._check import Faults
from implstats._core.events import Curve, crossing, kaplan_meier
from implstats.design.spells import SpellRoles, Spells, spells
from implstats.tables import is_few

__all__ = [
    "Group",
    "entry_in_words",
    "follow_up_in_words",
    "groups_of",
    "listed",
    "name_of",
    "one_event",
    "write",
]

# Censoring is called unequal where groups' median follow-ups differ by this factor, or their shares by this much.
UNEQUAL_FOLLOW_UP, UNEQUAL_SHARE = 1.25, 0.10


@dataclass(frozen=True, eq=False, slots=True)
class Group:
    """What a group's curve rests on.

    Attributes
    ----------
    label, name : level of `by`, "all" without it; and how sentences call it.
    rows, events, censored : int, counts of rows whatever they weigh.
    cut_short : int, rows censored before the last time that every group reaches.
    first, last : float, when its first row comes under observation and its last one leaves.
    curve : Kaplan-Meier of the event.
    follow_up : Kaplan-Meier of being censored, events taken as cutting it short (reverse Kaplan-Meier).
    """

    label: Any
    name: str
    rows: int
    events: int
    censored: int
    cut_short: int
    first: float
    last: float
    curve: Curve
    follow_up: Curve

    @property
    def median_follow_up(self) -> float:
        """Half would have been followed at least as long, had nobody had the event; NaN if it is not reached."""
        return crossing(self.follow_up.time, self.follow_up.survival, 0.5)


def one_event(frame: pd.DataFrame, roles: SpellRoles, missing: str, faults: Faults) -> Spells:
    """Return the spells of a single kind of event; causes that compete are refused."""
    column = _check.frame(frame).get(roles.event) if isinstance(roles.event, Hashable) else None
    if column is not None and roles.censored is None and column.nunique() > 2:
        labels = sorted(column.dropna().unique().tolist(), key=str)
        if any(label not in (0, 1) for label in labels):
            _refuse_causes(roles.event, labels, faults)
    found = spells(frame, roles, missing=missing, faults=faults)
    if len(found.causes) > 1:
        _refuse_causes(roles.event, found.causes, faults)
    return found


def _refuse_causes(event: Hashable, labels: Sequence[Any], faults: Faults) -> None:
    shown = ", ".join(_check.show(v) for v in labels[:4]) + (", ..." if len(labels) > 4 else "")
    faults.add(
        "event",
        event,
        f"holds {shown}, and Kaplan-Meier knows one event: to it the other causes would be censoring",
        "use cumulative_incidence, or make a column of 0 and 1 for the end that counts",
    )
    faults.settle()


def listed(labels: Sequence[Any]) -> str:
    """Return labels as a sentence names them."""
    words = [str(v) for v in labels]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def name_of(label: Any, by: Hashable | None) -> str:
    """Return what a sentence calls a group: its label, after the column's name where it is a number."""
    return label if isinstance(label, str) else f"{by} {_check.show(label)}"


def groups_of(found: Spells, by: Hashable | None) -> tuple[Group, ...]:
    """Return each group's counts and curves."""
    labels = found.groups if found.groups != ("",) else ("all",)
    rows = [found.group == g for g in range(len(labels))]
    common = min(found.exit[own].max() for own in rows)
    groups = []
    for label, own in zip(labels, rows, strict=True):
        entry, exit_, event, weight = found.entry[own], found.exit[own], found.event[own], found.weight[own]
        groups.append(
            Group(
                label,
                name_of(label, by),
                len(exit_),
                int((event > 0).sum()),
                int((event == 0).sum()),
                int(((event == 0) & (exit_ < common)).sum()),
                float(entry.min()),
                float(exit_.max()),
                kaplan_meier(entry, exit_, event, weight),
                kaplan_meier(entry, exit_, (event == 0).astype(np.intp), weight),
            )
        )
    return tuple(groups)


def follow_up_in_words(groups: Sequence[Group], least: int = 1) -> list[str]:
    """Return how many of each group were censored early, and how unlike their follow-up is, if it is.

    Numbers of 1 to `least` - 1 are not told.
    """
    if len(groups) < 2:
        return []
    common = min(g.last for g in groups)
    shares = [g.cut_short / g.rows for g in groups]
    told = [
        f"under {least} in {g.name}"
        if is_few(g.cut_short, least)
        else f"{g.cut_short} of {g.rows} in {g.name} ({100 * share:.0f} %)"
        for g, share in zip(groups, shares, strict=True)
    ]
    lines = [f"censored before {write(common)}, the last time that every group reaches: {', '.join(told)}"]
    times = [g.last if math.isnan(g.median_follow_up) else g.median_follow_up for g in groups]
    if max(times) > UNEQUAL_FOLLOW_UP * min(times) or max(shares) > min(shares) + UNEQUAL_SHARE:
        followed = ", ".join(f"{write(t)} in {g.name}" for g, t in zip(groups, times, strict=True))
        lines.append(
            f"censoring is unequal (followed for {followed}): what is late in time rests on few rows of the group "
            f"that was followed less, and no comparison holds beyond {write(common)}"
        )
    return lines


def entry_in_words(found: Spells, groups: Sequence[Group]) -> list[str]:
    """Return what delayed entry and weights do to the numbers."""
    lines = []
    late = [f"{g.name} at {write(g.first)}" for g in groups if g.first > 0]
    if found.delayed:
        lines.append("rows count as at risk from their entry on: what is shown holds for those who get that far")
    if late:
        lines.append(
            f"nobody is under observation before the first entry ({', '.join(late)}); until then survival is 1"
        )
    for g in groups:
        empty = np.flatnonzero(g.curve.survival == 0)
        if len(empty) and g.curve.time[empty[0]] < g.last:
            when = write(float(g.curve.time[empty[0]]))
            lines.append(
                f"{g.name}: all who were at risk at {when} had the event, so survival is 0 from then on, and says "
                "nothing of those who entered later"
            )
    if found.weighted:
        lines.append(
            f"numbers at risk, events and censored are sums of weights, {write(float(found.weight.sum()))} in all"
        )
        if any(g.curve.influence is not None for g in groups):
            lines.append("weights are not whole numbers: standard errors are the infinitesimal jackknife's, by row")
    return lines


def write(value: float) -> str:
    """Write a time for a sentence."""
    return "not reached" if math.isnan(value) else f"{value:.6g}"
