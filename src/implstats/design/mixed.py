"""Frame to design for any mixed model: fixed columns, random-effects terms, row labels, and the sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats._core.residual import independent
from implstats.design import rhs
from implstats.design.formula import RandomSpec, parse_mixed
from implstats.design.frames import all_missing, codes, drop_missing, no_codes, numeric, one_spelling
from implstats.design.residual import (
    ResidualTerms,
    autoregressive,
    by_level,
    parse_residual,
    precision_of,
    with_precision,
)
from implstats.errors import DataError
from implstats.results import Sample, lock

__all__ = ["Design", "MixedDesign", "RandomTerm", "mixed_design", "no_missing_ids"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class RandomTerm:
    """One random-effects term with a full covariance of its own.

    Attributes
    ----------
    group : str
        The grouping factor as the formula writes it, `batch:cask` for an interaction.
    columns : tuple
        The columns that make the factor.
    effects : tuple of str
        Names of the columns of Z.
    of_row : (n,) integers
        Level of each row.
    levels : list
        What each code stands for (a tuple for an interaction).
    Z : (n, q) numbers
    """

    group: str
    columns: tuple[Hashable, ...]
    effects: tuple[str, ...]
    of_row: Ints
    levels: list[Any]
    Z: Floats

    def find(self, frame: pd.DataFrame) -> Ints:
        """Return the code of each row of new data, -1 for a level that was not in the fit."""
        index = {level: k for k, level in enumerate(self.levels)}
        columns = [frame[c].tolist() for c in self.columns]
        keys = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
        return np.array([index.get(k, -1) for k in keys], dtype=np.intp)


@dataclass(frozen=True, eq=False)
class Design(ABC):
    """What a mixed model is fitted to; read-only arrays, never the user's frame.

    Attributes
    ----------
    outcome : name of the outcome column.
    y, X : (n,), (n, p).
    names : the p terms.
    terms : the random-effects terms.
    labels : the caller's index of the rows used.
    roles : column name -> values of the rows used, for augment().
    formula : the model as lme4 writes it.
    sample : rows, groups, and what was dropped.
    noise : how residuals differ and hang together.
    weight : (N,) how much each level of the only grouping factor counts, or None.
    """

    outcome: str
    y: Floats
    X: Floats
    names: tuple[str, ...]
    terms: tuple[RandomTerm, ...]
    labels: pd.Index
    roles: Mapping[Hashable, Any]
    formula: str
    sample: Sample
    noise: ResidualTerms = field(kw_only=True)
    weight: Floats | None = field(kw_only=True, default=None)

    @property
    def residual(self) -> str:
        """The residuals' structure in the user's word."""
        return self.noise.word

    def __post_init__(self) -> None:
        # The door made these arrays; nobody else holds them, so they are locked, not copied.
        lock(tuple(getattr(self, f.name) for f in fields(self)))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        lock(tuple(state.values()))

    @abstractmethod
    def fixed_rows(self, frame: pd.DataFrame) -> Floats:
        """Return X for new data."""

    @abstractmethod
    def random_rows(self, frame: pd.DataFrame, term: int) -> Floats:
        """Return Z of one term for new data."""


@dataclass(frozen=True, eq=False)
class MixedDesign(Design):
    """The design of a formula; remembers every encoding for new data."""

    fixed: rhs.Encoding = field(kw_only=True)
    random: tuple[rhs.Encoding, ...] = field(kw_only=True)

    def fixed_rows(self, frame: pd.DataFrame) -> Floats:
        """Return X for new data."""
        return self.fixed.apply(frame)

    def random_rows(self, frame: pd.DataFrame, term: int) -> Floats:
        """Return Z of one term for new data."""
        encoding = self.random[term]
        names = list(encoding.names)
        return encoding.apply(frame)[:, [names.index(e) for e in self.terms[term].effects]]


def no_missing_ids(frame: pd.DataFrame, faults: Faults, **ids: Hashable) -> None:
    """Record missing ids: a row whose patient is unknown is never dropped silently."""
    for argument, name in ids.items():
        gone = frame[name].isna().to_numpy()
        if not all_missing(frame, argument, name, faults) and gone.any():
            faults.add(
                argument,
                name,
                f"missing in {_check.rows(frame.index[gone])}",
                "fill the ids in, or drop these rows yourself",
            )


def mixed_design(
    frame: pd.DataFrame, formula: str, missing: str, residual: str = "iid", precision: Hashable | None = None
) -> MixedDesign:
    """Return the design of an lme4 formula, with every fault of frame and formula reported together."""
    _check.frame(frame)
    parsed = parse_mixed(formula)
    faults = Faults()
    found: tuple[str, tuple[str, ...]] | None = faults.ask(parse_residual, residual)
    kind, named = found or ("iid", ())
    for column in named:
        _check.columns(frame, faults, residual=column)
    _check.columns(frame, faults, precision=precision)
    if parsed.outcome not in frame.columns:
        faults.say(
            f"formula={_check.show(formula)}: the outcome {_check.show(parsed.outcome)} is no column"
            f"{_check.nearest(parsed.outcome, frame.columns)}"
        )
    needed: list[Hashable] = []
    for text in [parsed.fixed, *(spec.columns for spec in parsed.random)]:
        try:
            needed += [c for c in rhs.needed_columns(text, frame.columns, "formula") if c not in needed]
        except DataError as error:
            # The complaint is about the formula that the user wrote, not about its part.
            cited = (f"formula={_check.show(text)}", f"formula={_check.show(formula)}")
            faults.take(DataError(str(error).replace(*cited, 1)))
    if parsed.outcome in needed:
        faults.say(
            f"formula={_check.show(formula)}: the outcome {_check.show(parsed.outcome)} stands on both sides; "
            "leave it out on the right"
        )
    groups = list(dict.fromkeys(c for spec in parsed.random for c in spec.group))
    for group in groups:
        if group not in frame.columns:
            faults.say(
                f"formula={_check.show(formula)}: the group {_check.show(group)} is no column"
                f"{_check.nearest(group, frame.columns)}"
            )
    faults.settle()
    y = numeric(frame, "outcome", parsed.outcome, faults)
    no_codes(frame, "outcome", parsed.outcome, y, faults)
    no_missing_ids(frame, faults, **{name: name for name in map(str, groups)})
    for group in groups:
        one_spelling(frame, "formula", group, faults)
    for name in needed:
        if pd.api.types.is_numeric_dtype(frame[name].dtype) and not isinstance(frame[name].dtype, pd.CategoricalDtype):
            numeric(frame, "formula", name, faults)
    if kind == "ar1":
        numeric(frame, "residual", named[0], faults)
    known = precision_of(frame, precision, faults, ~np.isnan(y)) if precision is not None else None
    faults.settle()
    masks = {f"{parsed.outcome} missing": np.isnan(y)}
    columns = dict.fromkeys([*needed, *named])
    masks |= {f"{name} missing": frame[name].isna().to_numpy() for name in columns if name != parsed.outcome}
    kept, dropped = drop_missing(masks, missing, frame.index)
    if not kept.any():
        raise DataError(f"formula={_check.show(formula)}: no row has all its columns; {', '.join(dropped)}")
    used = frame if kept.all() else frame.loc[kept]
    y = y[kept]
    if np.ptp(y) == 0:
        raise DataError(
            f"outcome={_check.show(parsed.outcome)}: constant at {_check.show(y[0])}; there is nothing to explain"
        )
    X, names, fixed = rhs.encode(used, parsed.fixed, argument="formula", intercept=True)
    terms, encodings = _terms(used, parsed.random, formula)
    sample = Sample(len(frame), len(used), dropped, {t.group: len(t.levels) for t in terms})
    noise = _noise(used, kind, named, residual)
    if known is not None:
        noise = with_precision(noise, precision, known[kept])
    return MixedDesign(
        parsed.outcome,
        y,
        X,
        tuple(names),
        tuple(terms),
        used.index,
        {c: used[c].array.copy() for c in dict.fromkeys([parsed.outcome, *needed, *groups])},
        parsed.text,
        sample,
        noise=noise,
        fixed=fixed,
        random=tuple(encodings),
    )


def _noise(used: pd.DataFrame, kind: str, named: Sequence[str], residual: str) -> ResidualTerms:
    if kind == "by":
        return by_level(residual, named[0], codes(used[named[0]]))
    if kind == "ar1":
        t = used[named[0]].to_numpy(dtype=float)
        return autoregressive(residual, named[0], t, named[1], codes(used[named[1]]), used.index)
    return ResidualTerms("iid", independent(len(used)))


def _terms(
    used: pd.DataFrame, specs: Sequence[RandomSpec], formula: str
) -> tuple[list[RandomTerm], list[rhs.Encoding]]:
    terms, encodings = [], []
    for spec in specs:
        values, levels = _factor(used, spec.group)
        name = ":".join(map(str, spec.group))
        if len(levels) < 2:
            raise DataError(
                f"formula={_check.show(formula)}: {name} has one level; a variance between groups takes at least two"
            )
        if len(levels) == len(used):
            raise DataError(
                f"formula={_check.show(formula)}: every row is a {name} of its own; "
                "its variance cannot be told from the residual"
            )
        Z, effects, encoding = rhs.encode(used, spec.columns, argument="formula", intercept=True)
        parts = [range(len(effects))] if spec.correlated else _uncorrelated(effects)
        for part in parts:
            chosen = list(part)
            terms.append(RandomTerm(name, spec.group, tuple(effects[k] for k in chosen), values, levels, Z[:, chosen]))
            encodings.append(encoding)
    distinct = {term.group: term for term in terms}
    for name, other in combinations(distinct, 2):
        pairs = np.unique(np.column_stack([distinct[name].of_row, distinct[other].of_row]), axis=0)
        if len(pairs) == len(distinct[name].levels) == len(distinct[other].levels):
            raise DataError(f"formula={_check.show(formula)}: {name} and {other} are the same groups; drop one of them")
    for group in distinct:
        same = [term for term in terms if term.group == group]
        size = sum(len(term.effects) for term in same)
        if size > 1 and np.bincount(same[0].of_row).max() <= size:
            raise DataError(
                f"formula={_check.show(formula)}: no {group} has more rows than its {size} random effects; "
                f"write (1 | {group})"
            )
    return terms, encodings


def _uncorrelated(effects: Sequence[str]) -> list[list[int]]:
    """Return one part a column; the levels of one categorical stay together, as in lme4."""
    parts: dict[str, list[int]] = {}
    for k, name in enumerate(effects):
        parts.setdefault(name.split("[")[0] if "[" in name else name, []).append(k)
    return list(parts.values())


def _factor(used: pd.DataFrame, group: tuple[str, ...]) -> tuple[Ints, list[Any]]:
    coded = [codes(used[name]) for name in group]
    if len(coded) == 1:
        return coded[0].of_row, coded[0].levels
    key = coded[0].of_row
    for c in coded[1:]:
        key = key * len(c.levels) + c.of_row
    distinct, values = np.unique(key, return_inverse=True)
    levels = []
    for k in distinct.tolist():
        level: list[Any] = []
        for c in reversed(coded):
            k, r = divmod(k, len(c.levels))
            level.append(c.levels[r])
        levels.append(tuple(reversed(level)))
    return values.astype(np.intp), levels
