"""Frame to spells: who was at risk from when to when, and what ended it; the one response of every survival model."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats.design import rhs
from implstats.design.frames import codes, drop_missing, nobodys, numeric, one_spelling, varying
from implstats.errors import DataError
from implstats.results import Sample, lock

__all__ = ["SpellRoles", "Spells", "same_times", "spells"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

MANY_GROUPS = 20
# Times that differ by less are the same time, as R's aeqSurv has it: absolutely, or relative to the mean time.
SAME_TIME = float(np.sqrt(np.finfo(float).eps))
RESERVED = (
    "estimate",
    "std_error",
    "conf_low",
    "conf_high",
    "martingale",
    "deviance",
    "expected",
    "log_hazard",
    "time",
)


@dataclass(frozen=True)
class SpellRoles:
    """Which column plays which part; `censored` is the label of no event, `reference` a level of each category."""

    duration: Hashable
    event: Hashable
    entry: Hashable | None = None
    id: Hashable | None = None
    cluster: Hashable | None = None
    strata: tuple[Hashable, ...] = ()
    weights: Hashable | None = None
    patient_weights: Hashable | None = None
    by: Hashable | None = None
    terms: Any = None
    censored: Any = None
    reference: Mapping[Hashable, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Spells:
    """Validated spells as read-only arrays, never the user's frame.

    Attributes
    ----------
    duration, event_name : columns of the end of a spell and of what ended it.
    entry, exit : (n,) at risk after `entry` and up to `exit`; entry is 0 where none was given.
    event : (n,) 0 for censored, k for causes[k - 1].
    causes : the causes, ("event",) where the column holds 0 and 1.
    delayed, weighted : whether entry times, and weights, were given.
    person, persons : (n,) codes of the id, and what they stand for; every row its own without an id.
    cluster, clusters : the same of the cluster; None and empty without.
    stratum, strata : (n,) codes of the strata, and their labels; zeros and one empty label without.
    group, groups : (n,) codes of `by`, and its labels.
    weight : (n,) case weights, or those of patients with a mean of 1.
    X, names, encoding : (n, p) columns of the terms, their names, and the coding of new rows.
    levels : categorical column -> its reference level.
    labels : the caller's index of the rows used.
    roles : column name -> values of the rows used.
    sample : rows, and what was dropped.
    notes : what the header must say.
    """

    duration: str
    event_name: str
    entry: Floats
    exit: Floats
    event: Ints
    causes: tuple[Any, ...]
    delayed: bool
    weighted: bool
    person: Ints
    persons: list[Any]
    cluster: Ints | None
    clusters: list[Any]
    stratum: Ints
    strata: tuple[Any, ...]
    group: Ints
    groups: tuple[Any, ...]
    weight: Floats
    X: Floats
    names: tuple[str, ...]
    encoding: rhs.Encoding | None
    levels: Mapping[Hashable, Any]
    labels: pd.Index
    roles: Mapping[Hashable, Any]
    sample: Sample
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        lock(tuple(getattr(self, f.name) for f in fields(self)))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        lock(tuple(state.values()))

    def rows_of(self, newdata: pd.DataFrame) -> Floats:
        """Return the columns of the terms for new rows."""
        if self.encoding is None:
            return np.zeros((len(newdata), 0))
        return self.encoding.apply(_releveled(newdata, self.levels))


def spells(frame: pd.DataFrame, roles: SpellRoles, *, missing: str = "drop", faults: Faults | None = None) -> Spells:
    """Return the spells that are used; faults of arguments and data are reported together with those given."""
    _check.frame(frame)
    faults = faults or Faults()
    faults.ask(_check.one_of, "missing", missing, ("drop", "raise"))
    covariates = _columns_exist(frame, roles, faults)
    values = {
        name: numeric(frame, name, column, faults)
        for name in ("duration", "entry", "weights", "patient_weights")
        if (column := getattr(roles, name)) is not None
    }
    for name in covariates:
        if pd.api.types.is_float_dtype(frame[name].dtype):
            numeric(frame, "terms", name, faults)
    faults.settle()
    used, values, dropped = _complete(frame, roles, covariates, values, missing)
    event, causes = _events(used, roles, faults)
    exit_, entry, merged = _times(used, roles, values, faults)
    person = _coded(used, roles.id)
    weight = _weights(used, roles, values, person[0], faults)
    faults.settle()
    notes = [f"{merged} times that differ by rounding only are taken as equal"] if merged else []
    notes += _rows_of_one(used, roles, person[0], entry, exit_, event, faults)
    faults.settle()
    groups = _groups(used, roles)
    strata = _strata(used, roles)
    cluster, clusters = _coded(used, roles.cluster) if roles.cluster is not None else (None, [])
    if cluster is None and roles.patient_weights is not None:
        cluster, clusters = person
    levels = _reference_levels(used, roles, covariates)
    X, encoding = np.zeros((len(used), 0)), None
    names: list[str] = []
    if roles.terms is not None:
        X, names, encoding = rhs.encode(_releveled(used, levels), roles.terms, argument="terms")
        levels = {column: known[0] for column, known in encoding.levels.items()}
    sizes = {str(roles.id): len(person[1])} if roles.id is not None else {}
    sizes |= {str(roles.cluster): len(clusters)} if roles.cluster is not None else {}
    named = dict.fromkeys(c for c in [roles.id, roles.cluster, *roles.strata, roles.by, *covariates] if c is not None)
    return Spells(
        str(roles.duration),
        str(roles.event),
        entry,
        exit_,
        event,
        causes,
        roles.entry is not None,
        roles.weights is not None or roles.patient_weights is not None,
        *person,
        cluster,
        clusters,
        *strata,
        *groups,
        weight,
        X,
        tuple(names),
        encoding,
        levels,
        used.index.copy(),
        {c: used[c].array.copy() for c in named} | {roles.duration: exit_, roles.event: used[roles.event].array.copy()},
        Sample(len(frame), len(used), dropped, sizes),
        tuple(notes),
    )


def _columns_exist(frame: pd.DataFrame, roles: SpellRoles, faults: Faults) -> list[Hashable]:
    """Return the columns of the terms; a role that names no column, or one that another role has, is a fault."""
    named = {"duration": roles.duration, "event": roles.event, "entry": roles.entry, "id": roles.id}
    named |= {"cluster": roles.cluster, "weights": roles.weights, "patient_weights": roles.patient_weights}
    named |= {"by": roles.by}
    for argument in ("duration", "event"):
        if named[argument] is None:
            faults.say(f"{argument}=None: no such column{_check.nearest('', frame.columns)}")
    _check.columns(frame, faults, **named)
    for column in roles.strata:
        _check.columns(frame, faults, strata=column)
    covariates: list[Hashable] = []
    if roles.terms is not None:
        covariates = list(faults.ask(rhs.needed_columns, roles.terms, frame.columns, "terms") or [])
    faults.settle()
    times = {k: named[k] for k in ("duration", "event", "entry", "weights", "patient_weights") if named[k] is not None}
    for argument, column in times.items():
        for other, also in times.items():
            if argument < other and column == also:
                faults.add(argument, column, f"is named as {other}= too", "each role has a column of its own")
        for other in ("id", "cluster", "by"):
            if column == named[other]:
                faults.add(other, column, f"is named as {argument}= too", "each role has a column of its own")
        if column in roles.strata:
            faults.add("strata", column, f"is named as {argument}= too", "each role has a column of its own")
        if column in covariates:
            faults.add("terms", roles.terms, f"{_check.show(column)} is the {argument}", "leave it out of the terms")
        if column in RESERVED and (argument, column) != ("duration", "time"):
            faults.add(argument, column, "results give a column of this name", "rename yours")
    labels = {
        "id": [roles.id],
        "cluster": [roles.cluster],
        "strata": roles.strata,
        "by": [roles.by],
        "terms": covariates,
    }
    for argument, columns in labels.items():
        for column in columns:
            if column in RESERVED:
                faults.add(argument, column, "results give a column of this name", "rename yours")
    if not isinstance(roles.reference, Mapping):
        faults.add("reference", roles.reference, "not a mapping", "write reference={'era': 'before'}")
        faults.settle()
    for column in roles.reference:
        if column not in covariates:
            faults.add(
                "reference", dict(roles.reference), f"{_check.show(column)} is not among the terms", "name a term"
            )
    faults.settle()
    return covariates


def _complete(
    frame: pd.DataFrame,
    roles: SpellRoles,
    covariates: Sequence[Hashable],
    values: Mapping[str, Floats],
    missing: str,
) -> tuple[pd.DataFrame, dict[str, Floats], Mapping[str, int]]:
    """Return the rows that have everything; a missing id or cluster is an error, whatever `missing` says."""
    faults = Faults()
    for argument, column in (("id", roles.id), ("cluster", roles.cluster)):
        if column is not None and (gone := frame[column].isna().to_numpy()).any():
            faults.add(
                argument, column, f"missing in {_check.rows(frame.index[gone])}", "fill it in, or drop these rows"
            )
    for argument, column in (("id", roles.id), ("cluster", roles.cluster), ("by", roles.by)):
        if column is not None:
            one_spelling(frame, argument, column, faults)
    faults.settle()
    wanted = [roles.duration, roles.event, roles.entry, roles.weights, roles.patient_weights, roles.by]
    columns = dict.fromkeys(c for c in [*wanted, *roles.strata, *covariates] if c is not None)
    masks = {f"{c} missing": frame[c].isna().to_numpy() for c in columns}
    kept, dropped = drop_missing(masks, missing, frame.index)
    if not kept.any():
        raise DataError(f"duration={_check.show(roles.duration)}: no row has all its columns; {', '.join(dropped)}")
    if kept.all():
        return frame, dict(values), dropped
    return frame.loc[kept], {k: v[kept] for k, v in values.items()}, dropped


def _events(used: pd.DataFrame, roles: SpellRoles, faults: Faults) -> tuple[Ints, tuple[Any, ...]]:
    """Return 0 for censored and k for the k-th cause, and the causes."""
    column = used[roles.event]
    coded = codes(column)
    if roles.censored is None:
        strange = [
            v for v in coded.levels if not (isinstance(v, bool | int | float | np.number | np.bool_) and v in (0, 1))
        ]
        if strange:
            rows = _check.rows(used.index[(column == strange[0]).to_numpy()])
            faults.add(
                "event",
                roles.event,
                f"holds {_check.show(strange[0])} ({rows}), neither 0 nor 1",
                "with causes, say censored=, the value that stands for no event",
            )
            return np.zeros(len(used), dtype=np.intp), ("event",)
        return np.array(coded.levels, dtype=np.intp)[coded.of_row], ("event",)
    if roles.censored not in coded.levels and (wrong := nobodys(column, roles.censored)):
        faults.add("censored", roles.censored, *wrong)
        return np.zeros(len(used), dtype=np.intp), ("event",)
    causes = [v for v in coded.levels if v != roles.censored]
    place = {v: k + 1 for k, v in enumerate(causes)} | {roles.censored: 0}
    if len(causes) > MANY_GROUPS:
        faults.add("event", roles.event, f"{len(causes)} causes", "name the column of what ended the spell")
    return np.array([place[v] for v in coded.levels], dtype=np.intp)[coded.of_row], tuple(causes) or ("event",)


def _times(
    used: pd.DataFrame, roles: SpellRoles, values: Mapping[str, Floats], faults: Faults
) -> tuple[Floats, Floats, int]:
    """Return exit and entry with near-ties merged, and how many distinct times that took away."""
    exit_ = values["duration"]
    entry = values.get("entry", np.zeros(len(exit_)))
    negative = {"duration": exit_ < 0, "entry": entry < 0}
    for argument, bad in negative.items():
        if bad.any():
            where = _check.rows(used.index[bad])
            faults.add(argument, getattr(roles, argument), f"negative in {where}", "count time from the start")
    if any(bad.any() for bad in negative.values()):
        return exit_, entry, 0
    times = np.concatenate([exit_, entry]) if roles.entry is not None else exit_
    merged = same_times(times)
    gone = len(np.unique(times)) - len(np.unique(merged))
    exit_, entry = merged[: len(entry)], merged[len(entry) :] if roles.entry is not None else entry
    empty = exit_ <= entry
    if empty.any() and roles.entry is None:
        rows = _check.rows(used.index[empty])
        faults.add(
            "duration", roles.duration, f"zero in {rows}", "who never started was never at risk: count them apart"
        )
    elif empty.any():
        rows = _check.rows(used.index[empty])
        faults.add("entry", roles.entry, f"not before {roles.duration} in {rows}", "a spell ends after it starts")
    return exit_, entry, gone


def same_times(times: Floats) -> Floats:
    """Return times in which those that differ by rounding only are the first of them."""
    distinct, where = np.unique(times, return_inverse=True)
    gaps = np.diff(distinct)
    near = (gaps <= SAME_TIME) | (gaps <= SAME_TIME * np.abs(distinct).mean())
    first = np.maximum.accumulate(np.where(np.append(True, ~near), np.arange(len(distinct)), 0))
    return np.asarray(distinct[first][where])


def _weights(
    used: pd.DataFrame, roles: SpellRoles, values: Mapping[str, Floats], person: Ints, faults: Faults
) -> Floats:
    """Return the weights of rows, those of patients with a mean of 1; one that is not positive is a fault."""
    argument = "weights" if roles.patient_weights is None else "patient_weights"
    column, weight = getattr(roles, argument), values.get(argument, np.ones(len(used)))
    if (weight <= 0).any():
        rows = _check.rows(used.index[weight <= 0])
        faults.add(argument, column, f"zero or negative in {rows}", "leave these rows out")
    if argument == "weights":
        return weight
    if (other := varying(weight, person)).any():
        rows = _check.rows(used.index[other])
        faults.add(argument, column, f"changes within one {roles.id} ({rows})", "give each one weight, in all rows")
    return np.asarray(weight / weight.mean())


def _coded(used: pd.DataFrame, column: Hashable | None) -> tuple[Ints, list[Any]]:
    if column is None:
        return np.arange(len(used)), list(range(len(used)))
    coded = codes(used[column], ordered=False)
    return coded.of_row, coded.levels


def _rows_of_one(
    used: pd.DataFrame, roles: SpellRoles, person: Ints, entry: Floats, exit_: Floats, event: Ints, faults: Faults
) -> list[str]:
    """Return what several rows of one id mean, in words; rows that overlap are a fault."""
    if roles.id is None:
        return []
    order = np.lexsort((entry, person))
    same = person[order[1:]] == person[order[:-1]]
    start, end = entry[order[1:]][same], exit_[order[:-1]][same]
    over = start < end
    if over.any():
        rows = order[1:][same][over]
        who = _check.show(used[roles.id].iloc[rows[0]])
        remedy = "one id is at risk once at a time" if roles.entry is not None else "with several rows, give entry="
        faults.add("id", roles.id, f"rows of {who} overlap ({_check.rows(used.index[rows])})", remedy)
    said = []
    if gaps := len(np.unique(person[order[1:]][same][start > end])):
        said.append(f"{gaps} {roles.id}{'s' * (gaps > 1)} with gaps between rows; nobody is at risk within a gap")
    again = len(np.unique(person[order[1:]][same][event[order[:-1]][same] > 0]))
    if again:
        said.append(f"{again} {roles.id}{'s' * (again > 1)} at risk again after an event (recurrent events)")
    return said


def _groups(used: pd.DataFrame, roles: SpellRoles) -> tuple[Ints, tuple[Any, ...]]:
    if roles.by is None:
        return np.zeros(len(used), dtype=np.intp), ("",)
    coded = codes(used[roles.by])
    if len(coded.levels) > MANY_GROUPS:
        raise DataError(
            f"by={_check.show(roles.by)}: {len(coded.levels)} different values; name the column with the groups"
        )
    return coded.of_row, tuple(coded.levels)


def _strata(used: pd.DataFrame, roles: SpellRoles) -> tuple[Ints, tuple[Any, ...]]:
    """Return codes of the combinations of strata that occur, and their labels."""
    if not roles.strata:
        return np.zeros(len(used), dtype=np.intp), ("",)
    parts = [codes(used[c]) for c in roles.strata]
    rows = np.column_stack([part.of_row for part in parts])
    distinct, code = np.unique(rows, axis=0, return_inverse=True)
    labels = [", ".join(str(p.levels[k]) for p, k in zip(parts, row, strict=True)) for row in distinct]
    return np.asarray(code, dtype=np.intp).ravel(), tuple(labels)


def _reference_levels(used: pd.DataFrame, roles: SpellRoles, covariates: Sequence[Hashable]) -> dict[Hashable, Any]:
    """Return the reference level of every categorical term: the one asked for, else the first."""
    found: dict[Hashable, Any] = {}
    faults = Faults()
    for column in covariates:
        if pd.api.types.is_numeric_dtype(used[column].dtype) and not pd.api.types.is_bool_dtype(used[column].dtype):
            if column in roles.reference:
                said = f"{_check.show(column)} is a number, which has no reference level"
                faults.add("reference", dict(roles.reference), said, "make it text: astype(str)")
            continue
        levels = codes(used[column]).levels
        found[column] = roles.reference.get(column, levels[0])
        if found[column] not in levels:
            near = _check.nearest(found[column], levels)
            faults.add("reference", dict(roles.reference), f"no level of {_check.show(column)}{near}")
    faults.settle()
    return found


def _releveled(frame: pd.DataFrame, levels: Mapping[Hashable, Any]) -> pd.DataFrame:
    """Return the frame with every category's reference level first."""
    out = frame
    for column, first in levels.items():
        if column not in frame.columns:
            continue
        known = codes(frame[column].dropna()).levels
        if known and known[0] != first and first in known:
            out = frame.copy(deep=False) if out is frame else out
            out[column] = pd.Categorical(frame[column], [first, *(v for v in known if v != first)])
    return out
