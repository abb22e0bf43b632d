"""Frame to histories: who was in which state from when to when, and what was seen to follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults, show
from implstats._core.occupation import Histories
from implstats.design.frames import codes, numeric
from implstats.design.spells import same_times
from implstats.results import Sample, lock

__all__ = ["StateRoles", "States", "read_states"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Bools = NDArray[np.bool_]

NOTHING = -1
MANY_STATES = 20


@dataclass(frozen=True)
class StateRoles:
    """Which column plays which part; `censored` stands for "nothing was seen to follow" (None: a missing value)."""

    id: Any
    state: Any
    start: Any
    stop: Any
    next_state: Any
    censored: Any = None
    by: Any = None
    order: Sequence[Any] | None = None


@dataclass(frozen=True, eq=False)
class States:
    """Validated histories as read-only arrays, group by group, never the user's frame.

    Attributes
    ----------
    labels : the states; their codes are their places.
    groups : the groups, ("all",) without `by`.
    histories : of every group; people are numbered within it.
    people : how many of every group were under observation.
    never : per group, how many never were, by their state.
    sample : rows, and what was counted apart.
    notes : what the header must say.
    """

    labels: tuple[Any, ...]
    groups: tuple[Any, ...]
    histories: tuple[Histories, ...]
    people: tuple[int, ...]
    never: tuple[Mapping[Any, int], ...]
    sample: Sample
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        lock(self.histories)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        lock(self.histories)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows under observation, by id and time; `names` are the ids that `who` counts."""

    index: pd.Index
    names: list[Any]
    who: Ints
    entry: Floats
    exit: Floats
    state: Ints
    then: Ints
    group: Ints


def read_states(frame: pd.DataFrame, roles: StateRoles, faults: Faults) -> States:
    """Return the histories; faults of arguments and data are reported together with those given."""
    _check.frame(frame)
    _columns_exist(frame, roles, faults)
    entry, exit_ = (numeric(frame, argument, getattr(roles, argument), faults) for argument in ("start", "stop"))
    faults.settle()
    seen = ~(np.isnan(entry) & np.isnan(exit_))
    _nothing_missing(frame, roles, seen, entry, exit_, faults)
    faults.settle()
    group, groups = _groups(frame, roles, seen, faults)
    rows, labels = _by_id_and_time(frame, roles, seen, entry, exit_, group, faults)
    faults.settle()
    notes = _one_after_the_other(rows, roles, faults)
    faults.settle()
    whole, of_stretch = _joined(rows, len(labels))
    parts = tuple(_part(whole, of_stretch == g) for g in range(len(groups)))
    never = tuple(_counted(frame, roles, ~seen & (group == g)) for g in range(len(groups)))
    gone = {f"never under observation ({label})": n for label, n in _counted(frame, roles, ~seen).items()}
    sample = Sample(len(frame), int(seen.sum()), gone, {str(roles.id): len(rows.names)})
    people = tuple(len(np.unique(part.person)) for part in parts)
    return States(labels, groups, parts, people, never, sample, tuple(notes))


def _columns_exist(frame: pd.DataFrame, roles: StateRoles, faults: Faults) -> None:
    named = {k: getattr(roles, k) for k in ("id", "state", "start", "stop", "next_state", "by")}
    for argument in (k for k, v in named.items() if v is None and k != "by"):
        faults.say(f"{argument}=None: no such column{_check.nearest('', frame.columns)}")
    named = {k: v for k, v in named.items() if v is not None}
    _check.columns(frame, faults, **named)
    if len(set(map(show, named.values()))) < len(named):
        faults.say(f"{', '.join(named)}: one column is named twice; each role has a column of its own")
    faults.settle()


def _nothing_missing(
    frame: pd.DataFrame, roles: StateRoles, seen: Bools, entry: Floats, exit_: Floats, faults: Faults
) -> None:
    """Record missing values: a history with a hole would be another history."""
    remedy = "fill it in; rows without start and stop stand for what was never under observation"
    wanted = {"id": roles.id, "state": roles.state, "by": roles.by}
    masks = {k: frame[v].isna().to_numpy() for k, v in wanted.items() if v is not None}
    masks |= {"start": seen & np.isnan(entry), "stop": seen & np.isnan(exit_)}
    if roles.censored is not None:
        masks["next_state"] = seen & frame[roles.next_state].isna().to_numpy()
    for argument, mask in masks.items():
        if mask.any():
            faults.add(argument, getattr(roles, argument), f"missing in {_check.rows(frame.index[mask])}", remedy)
    if not seen.any():
        faults.add("start", roles.start, "missing in every row: nobody was under observation")


def _by_id_and_time(
    frame: pd.DataFrame,
    roles: StateRoles,
    seen: Bools,
    entry: Floats,
    exit_: Floats,
    group: Ints,
    faults: Faults,
) -> tuple[_Rows, tuple[Any, ...]]:
    """Return the rows under observation in order, times that differ by rounding only made equal; and the states."""
    rows = frame.loc[seen]
    times = same_times(np.concatenate([entry[seen], exit_[seen]]))
    start, stop = times[: len(rows)], times[len(rows) :]
    if (early := start < 0).any():
        where = _check.rows(rows.index[early])
        faults.add("start", roles.start, f"negative in {where}", "count time from a first start")
    if (empty := stop <= start).any():
        where = _check.rows(rows.index[empty])
        faults.add("stop", roles.stop, f"not after {roles.start} in {where}", "a state lasts for some time")
    state, then, labels = _coded(rows, roles, faults)
    ids = codes(rows[roles.id], ordered=False)
    o = np.lexsort((start, ids.of_row))
    whole = _Rows(rows.index[o], ids.levels, ids.of_row[o], start[o], stop[o], state[o], then[o], group[seen][o])
    return whole, labels


def _coded(rows: pd.DataFrame, roles: StateRoles, faults: Faults) -> tuple[Ints, Ints, tuple[Any, ...]]:
    """Return codes of the states and of what followed, and the states: those that somebody was in or came to."""
    none = rows[roles.next_state].isna() if roles.censored is None else rows[roles.next_state] == roles.censored
    nothing = none.to_numpy(dtype=bool)
    was, came = codes(rows[roles.state]), codes(rows[roles.next_state][~nothing])
    if roles.censored is not None and not nothing.any():
        near = _check.nearest(roles.censored, came.levels)
        faults.add("censored", roles.censored, f"no row of {roles.next_state} has it{near}")
    if roles.censored in was.levels:
        faults.add("censored", roles.censored, f"is a state in {roles.state} too", "name what no state is called")
    labels = _in_order(rows, roles, list(dict.fromkeys([*was.levels, *came.levels])), faults)
    if len(labels) > MANY_STATES:
        faults.add("state", roles.state, f"{len(labels)} different states", "name the column of the state")
    place = {label: k for k, label in enumerate(labels)}
    state = np.array([place[v] for v in was.levels], dtype=np.intp)[was.of_row]
    then = np.full(len(rows), NOTHING, dtype=np.intp)
    if came.levels:
        then[~nothing] = np.array([place[v] for v in came.levels], dtype=np.intp)[came.of_row]
    if (same := then == state).any():
        where = _check.rows(rows.index[same])
        faults.add(
            "next_state", roles.next_state, f"is the row's own state in {where}", "a state that goes on is censored"
        )
    return state, then, labels


def _in_order(rows: pd.DataFrame, roles: StateRoles, found: list[Any], faults: Faults) -> tuple[Any, ...]:
    """Return the states in the order asked for, else in that of a categorical column, else as they sort."""
    if roles.order is None:
        column = rows[roles.state]
        declared = list(column.cat.categories) if isinstance(column.dtype, pd.CategoricalDtype) else []
        return tuple(sorted(found, key=lambda label: declared.index(label) if label in declared else len(declared)))
    order = list(roles.order) if isinstance(roles.order, list | tuple) else []
    if len(order) != len(found) or set(order) != set(found):
        faults.add("states", roles.order, "not every state once", f"write states={show(found)} in your order")
        return tuple(found)
    return tuple(order)


def _one_after_the_other(rows: _Rows, roles: StateRoles, faults: Faults) -> list[str]:
    """Record rows of one id that overlap or contradict each other, and say how many ids have gaps."""
    this = np.flatnonzero(rows.who[1:] == rows.who[:-1])
    following = this + 1

    def complain(bad: Bools, argument: str, fault: str, remedy: str) -> None:
        if bad.any():
            k = int(this[bad][0])
            whose = f"{show(rows.names[rows.who[k]])} ({_check.rows(rows.index[[k, k + 1]])})"
            faults.add(argument, getattr(roles, argument), f"{fault} of {whose}", remedy)

    known = np.where(rows.then[this] == NOTHING, rows.state[this], rows.then[this])
    other = rows.state[following] != known
    gap = rows.entry[following] > rows.exit[this]
    over = rows.entry[following] < rows.exit[this]
    complain(over, "id", "overlapping rows", "nobody is in two states at once")
    complain(~gap & ~over & other, "next_state", "is not the state of the next row", "correct one of the two rows")
    lost = "when it changed is not known: give a row for the time between"
    complain(gap & other, "state", "changes between rows with a gap", lost)
    gaps = len(np.unique(rows.who[this[gap]]))
    plural = "s" * (gaps > 1)
    return [f"{gaps} {roles.id}{plural} with gaps between rows; nobody is at risk within a gap"] if gaps else []


def _joined(rows: _Rows, states: int) -> tuple[Histories, Ints]:
    """Return the histories, rows between which the state went on made one; and the group of each stretch."""
    this = np.flatnonzero(rows.who[1:] == rows.who[:-1])
    goes_on = np.zeros(len(rows.who), dtype=bool)
    goes_on[this] = (rows.then[this] == NOTHING) & (rows.entry[this + 1] == rows.exit[this])
    begins = np.append(True, ~goes_on[:-1])
    stretches = Histories(
        rows.entry[begins], rows.exit[~goes_on], rows.state[begins], rows.then[~goes_on], rows.who[begins], states
    )
    return stretches, rows.group[begins]


def _groups(frame: pd.DataFrame, roles: StateRoles, seen: Bools, faults: Faults) -> tuple[Ints, tuple[Any, ...]]:
    """Return the group of every row; an id that changes its group is a fault."""
    if roles.by is None:
        return np.zeros(len(frame), dtype=np.intp), ("all",)
    found = codes(frame[roles.by])
    several = frame.groupby(roles.id, observed=True)[roles.by].transform("nunique").to_numpy() > 1
    if several.any():
        where = _check.rows(frame.index[several])
        faults.add(
            "by", roles.by, f"changes within one {roles.id} ({where})", "a group is what somebody is in throughout"
        )
    for g, label in enumerate(found.levels):
        if not seen[found.of_row == g].any():
            faults.add("by", roles.by, f"nobody of {show(label)} was under observation", "leave that group out")
    return found.of_row, tuple(found.levels)


def _part(whole: Histories, own: Bools) -> Histories:
    person = np.unique(whole.person[own], return_inverse=True)[1]
    entry, exit_ = whole.entry[own], whole.exit[own]
    return Histories(entry, exit_, whole.state[own], whole.then[own], person.astype(np.intp), whole.states)


def _counted(frame: pd.DataFrame, roles: StateRoles, which: Bools) -> dict[Any, int]:
    counts: Any = frame[roles.state][which].value_counts(sort=False)
    return {label: int(n) for label, n in counts.items() if n}
