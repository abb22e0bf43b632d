"""Right-hand sides: text or column names to design columns, and the coding of new rows; the only patsy import.

patsy splits a right-hand side into fragments without evaluating them, `allowlist` checks each and writes it anew, and
patsy evaluates what was written anew, where nothing but the functions below is in reach.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import patsy
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults, nearest, show
from implstats.design.allowlist import ALLOWED, UNREADABLE, AllowList, RefusedError, cite, hide_names, show_names
from implstats.design.frames import codes
from implstats.errors import DataError

__all__ = ["Encoding", "encode", "needed_columns"]

Floats: TypeAlias = NDArray[np.float64]
Values: TypeAlias = "Floats | pd.Categorical[Any]"
Table: TypeAlias = "dict[str, Values]"

MOST_LEVELS = 1000


class _Standardize:
    """What patsy's `standardize` does, without its loop over the rows."""

    def memorize_chunk(self, x: Floats) -> None:
        self.mean, self.sd = x.mean(axis=0), x.std(axis=0)

    def memorize_finish(self) -> None:
        pass

    def transform(self, x: Floats) -> Floats:
        return np.asarray((x - self.mean) / self.sd)


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "bs": patsy.bs,
    "cr": patsy.cr,
    "cc": patsy.cc,
    "center": patsy.center,
    "standardize": patsy.stateful_transform(_Standardize),
    "log": np.log,
    "sqrt": np.sqrt,
    "exp": np.exp,
    "I": np.asarray,
}


@dataclass(frozen=True)
class _Model:
    """A checked right-hand side: its terms, the text of each factor, and the column and role of each variable."""

    intercept: bool
    terms: list[Any]
    texts: Mapping[Any, str]
    variables: Mapping[str, tuple[Hashable, bool]]

    @property
    def columns(self) -> list[Hashable]:
        return list(dict.fromkeys(column for column, _ in self.variables.values()))


def _model(rhs: object, columns: Iterable[Hashable], argument: str) -> _Model:
    """Return the checked model of a right-hand side, or raise one DataError with every fault found."""
    if isinstance(rhs, str):
        return _from_text(rhs, columns, argument)
    if rhs is not None and not isinstance(rhs, list | tuple | pd.Index | np.ndarray):
        raise DataError(f"{argument}={show(rhs)}: neither a list of column names nor a right-hand side")
    named = [] if rhs is None else list(rhs)
    known = list(columns)
    faults = Faults()
    for column in named:
        if not isinstance(column, Hashable) or column not in known:
            faults.say(f"{argument}={show(column)}: no such column{nearest(column, known)}")
    faults.settle()
    variables = {f"x{i}": (column, False) for i, column in enumerate(dict.fromkeys(named))}
    texts = {patsy.LookupFactor(variable): str(column) for variable, (column, _) in variables.items()}
    return _Model(True, [patsy.Term([factor]) for factor in texts], texts, variables)


def _from_text(text: str, columns: Iterable[Hashable], argument: str) -> _Model:
    here = cite(argument, text)
    hidden, names = hide_names(text, argument)
    intercept, terms = _fragments(hidden, here)
    allow = AllowList(columns, names)
    factors: dict[str, Any] = {}
    faults = Faults()
    for fragment in dict.fromkeys(f for term in terms for f in term):
        try:
            factors[fragment] = _factor(allow.rewrite(fragment), show_names(fragment, names))
        except RefusedError as error:
            faults.say(f"{here}: {error}")
    faults.settle()
    texts = {factor: names.get(f) or show_names(f, names) for f, factor in reversed(factors.items())}
    unique = dict.fromkeys(patsy.Term([factors[f] for f in term]) for term in terms)
    in_order = sorted(unique, key=lambda term: len(term.factors))
    return _Model(intercept, in_order, texts, {variable: column for column, variable in allow.variables.items()})


def _factor(code: str, text: str) -> Any:
    if code.isidentifier():
        return patsy.LookupFactor(code)
    return patsy.EvalFactor(code, origin=patsy.Origin(text, 0, len(text)))


def _fragments(hidden: str, here: str) -> tuple[bool, list[tuple[str, ...]]]:
    """Return whether there is an intercept, and the factors of each term, as text that is not yet checked."""
    if not hidden:
        raise DataError(f"{here}: no term is named; name a column, or leave it out")
    if "~" in hidden:
        raise DataError(f"{here}: a ~ within a right-hand side; leave out what stands before it")
    try:
        terms = patsy.ModelDesc.from_formula(hidden).rhs_termlist
    except patsy.PatsyError as error:
        raise DataError(f"{here}: not a right-hand side ({error.message}); {ALLOWED}") from None
    except UNREADABLE:
        raise DataError(f"{here}: not a right-hand side; {ALLOWED}") from None
    return patsy.INTERCEPT in terms, [tuple(f.code for f in term.factors) for term in terms if term.factors]


def _numbers(series: pd.Series[Any], here: str) -> Floats:
    values = np.array(pd.to_numeric(series, errors="coerce").to_numpy(dtype=float, na_value=np.nan))
    wrong = ~np.isfinite(values)
    if wrong.any():
        where = _check.rows(series.index[wrong])
        raise DataError(f"{here}: not a finite number in {where}; correct or drop these rows")
    return values


def _no_missing(series: pd.Series[Any], here: str) -> None:
    absent = series.isna().to_numpy()
    if absent.any():
        raise DataError(f"{here}: missing in {_check.rows(series.index[absent])}; drop these rows first")


def _read(series: pd.Series[Any], here: str, *, levels: bool) -> Values:
    """Return a column as numbers, or as a Categorical of the levels that occur."""
    kind = series.dtype
    _no_missing(series, here)
    if kind.kind in "mM" or isinstance(kind, pd.PeriodDtype):
        raise DataError(f"{here}: dates, not numbers; make a column of days or years since a fixed day first")
    levels = levels or isinstance(kind, pd.CategoricalDtype)
    if not levels and pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind):
        return _numbers(series, here)
    coded = codes(series)
    odd = [] if levels else [v for v in coded.levels if not isinstance(v, str | bool | np.bool_)]
    if odd:
        remedy = "make the column numbers with astype(float) or text with astype(str)"
        raise DataError(f"{here}: holds {show(odd[0])}, which is no text; {remedy}")
    commas = [v for v in coded.levels if isinstance(v, str) and re.fullmatch(r"[+-]?\d+,\d+", v)]
    if commas and not levels and all(re.fullmatch(r"[+-]?\d+(,\d+)?", v) for v in coded.levels):
        fault = (
            f"the column holds text such as {show(next(v for v in series if ',' in v))} ({_check.rows(series.index)})"
        )
        raise DataError(f"{here}: {fault}; read it with decimal=',' or mend it")
    if len(coded.levels) == 1:
        raise DataError(f"{here}: only one level ({show(coded.levels[0])}) is left; drop it")
    if len(coded.levels) > MOST_LEVELS:
        remedy = "make it a random effect, or group levels"
        raise DataError(f"{here}: {len(coded.levels)} levels, more than {MOST_LEVELS}; {remedy}")
    return pd.Categorical.from_codes(coded.of_row, categories=pd.Index(coded.levels))


def _read_alike(series: pd.Series[Any], column: Hashable, fitted: Values) -> Values:
    """Return a column of new rows, read as that of the fit was."""
    here = f"newdata={show(column)}"
    _no_missing(series, here)
    if not isinstance(fitted, pd.Categorical):
        return _numbers(series, here)
    found = fitted.categories.get_indexer(pd.Index(series.to_numpy(dtype=object), dtype=object))
    if (found < 0).any():
        first = int(np.flatnonzero(found < 0)[0])
        known = ", ".join(show(v) for v in fitted.categories[:8]) + (", ..." if len(fitted.categories) > 8 else "")
        fault = f"a level that the fit has not seen, in row {show(series.index[first])}"
        raise DataError(f"{column}={show(series.iloc[first])}: {fault}; it knows {known}")
    return pd.Categorical.from_codes(found, categories=fitted.categories)


@dataclass(frozen=True)
class _Part:
    """One factor's share in a design column: a column of a contrast matrix, or of what the factor evaluates to."""

    factor: Any
    column: int
    name: str
    contrasts: Floats | None


@dataclass(frozen=True)
class _Design:
    """patsy's design with its columns in R's order: by the number of factors in a term, then as written."""

    model: _Model
    info: Any
    order: list[int]
    columns: list[tuple[_Part, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(":".join(part.name for part in parts) or "(Intercept)" for parts in self.columns)

    def matrix(self, table: Table, argument: str, labels: pd.Index[Any]) -> Floats:
        """Return the design's columns for the rows of a table, C-contiguous."""
        if len(labels) == 0 or not self.info.factor_infos:
            return np.ones((len(labels), len(self.order)))
        keep = patsy.NAAction("raise", NA_types=[])
        build = patsy.build_design_matrices
        made = _evaluate(argument, lambda: build([self.info], table, NA_action=keep)[0])
        out = np.take(np.asarray(made), self.order, axis=1)
        wrong = ~np.isfinite(out)
        if wrong.any():
            name, where = self.names[int(wrong.any(axis=0).argmax())], _check.rows(labels[wrong.any(axis=1)])
            raise DataError(f"{argument}={show(name)}: not a finite number in {where}; correct or drop these rows")
        return out


def _evaluate(argument: str, make: Callable[[], Any]) -> Any:
    """Return what patsy makes; what goes wrong inside a transform is a fault of the data or of its options."""
    try:
        with np.errstate(all="ignore"):
            return make()
    except (patsy.PatsyError, *UNREADABLE) as error:
        cause = error.__cause__ or error
        fault = "values beyond the spline's range" if isinstance(cause, NotImplementedError) else str(cause)
        where = getattr(error, "origin", None)
        here = f"{argument}={show(where.code)}" if where else argument
        raise DataError(f"{here}: {fault}; look at the data and the options, as in bs(age, df=4)") from None


def _design(model: _Model, table: Table, argument: str, intercept: bool) -> _Design:
    for factor in model.texts:
        for variable in re.findall(r"\bx\d+\b", getattr(factor, "code", "")):
            if isinstance(table[variable], pd.Categorical):
                here, column = f"{argument}={show(model.texts[factor])}", show(model.variables[variable][0])
                raise DataError(f"{here}: {column} holds categories, not numbers; name it without a function")
    first = [patsy.INTERCEPT] if model.intercept else []
    scope = patsy.EvalEnvironment([_FUNCTIONS])
    build = patsy.design_matrix_builders
    info = _evaluate(argument, lambda: build([[*first, *model.terms]], lambda: iter([table]), scope)[0])
    order: list[int] = []
    columns: list[tuple[_Part, ...]] = []
    for term in [*(first if intercept else []), *model.terms]:
        order.extend(range(info.term_slices[term].start, info.term_slices[term].stop))
        for subterm in info.term_codings[term]:
            # As patsy and R count: the first factor runs fastest.
            slowest_first = product(*(_parts(subterm, f, info, model.texts[f]) for f in reversed(subterm.factors)))
            columns.extend(tuple(reversed(combination)) for combination in slowest_first)
    return _Design(model, info, order, columns)


def _parts(subterm: Any, factor: Any, info: Any, text: str) -> list[_Part]:
    details = info.factor_infos[factor]
    if details.type == "categorical":
        contrasts = np.asarray(subterm.contrast_matrices[factor].matrix)
        labels = [v if isinstance(v, str) else show(v) for v in details.categories][-contrasts.shape[1] :]
        return [_Part(factor, j, f"{text}[{label}]", contrasts) for j, label in enumerate(labels)]
    several = details.num_columns > 1
    return [_Part(factor, j, f"{text}[{j + 1}]" if several else text, None) for j in range(details.num_columns)]


@dataclass(frozen=True, eq=False, repr=False)
class Encoding:
    """How the columns of a design were coded, so that new rows are coded the same way.

    Remembers levels, knots and means of the rows that it was made from. It can be pickled: it holds the right-hand side
    and copies of the columns, and rebuilds what patsy needs when it is asked for.

    Attributes
    ----------
    argument : str
        Name of the argument that messages cite.
    rhs : str, tuple or None
        The right-hand side as it was given.
    intercept : bool
        Whether an intercept of the right-hand side is among the columns.
    names : tuple of str
        Names of the design's columns.
    columns : tuple
        Columns of the frame that are used.
    levels : dict
        Column -> levels, the reference first, for every column that is coded as a factor.
    """

    argument: str
    rhs: str | tuple[Hashable, ...] | None
    intercept: bool
    names: tuple[str, ...]
    columns: tuple[Hashable, ...]
    levels: dict[Hashable, tuple[Any, ...]]
    _table: Table
    _built: list[_Design] = field(default_factory=list)

    def __repr__(self) -> str:
        return f"Encoding({', '.join(self.names)})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_built": []}

    def _design(self) -> _Design:
        if not self._built:
            model = _model(self.rhs, self.columns, self.argument)
            self._built.append(_design(model, self._table, self.argument, self.intercept))
        return self._built[0]

    def apply(self, newdata: pd.DataFrame) -> Floats:
        """Return the design's columns for new rows, coded as the rows of the fit were.

        Raises DataError if a column is missing, holds a level that the fit has not seen, or is not a number where the
        fit had numbers.
        """
        faults = Faults()
        for column in self.columns:
            if column not in newdata.columns:
                faults.say(f"newdata: no column {show(column)}{nearest(column, newdata.columns)}")
        faults.settle()
        design = self._design()
        table: Table = {}
        for name, (column, _) in design.model.variables.items():
            try:
                table[name] = _read_alike(newdata[column], column, self._table[name])
            except DataError as error:
                faults.take(error)
        faults.settle()
        return design.matrix(table, "newdata", newdata.index)

    def average(self, fixed: Mapping[Hashable, Any] | None = None) -> Floats:
        """Return the row of marginal means: numbers at their mean, factor levels weighted equally.

        `fixed` holds columns at a value instead. As in R's emmeans, a transform is evaluated at the mean of its column,
        `I(age ** 2)` at the squared mean age, and an interaction of factors averages over the grid of their levels.
        """
        held = dict(fixed or {})
        for column in held:
            if column not in self.columns:
                raise DataError(f"fixed={show(column)}: no such column{nearest(column, self.columns)}")
        design = self._design()
        at: dict[str, Floats] = {}
        for name, (column, _) in design.model.variables.items():
            values = self._table[name]
            if not isinstance(values, pd.Categorical):
                value = _check.number(f"fixed[{show(column)}]", held[column]) if column in held else values.mean()
                at[name] = np.array([value], dtype=float)
                continue
            known = list(values.categories)
            if column in held and held[column] not in known:
                raise DataError(f"fixed={show(held[column])}: no level of {show(column)}{nearest(held[column], known)}")
            weights = [level == held[column] if column in held else 1 / len(known) for level in known]
            at[name] = np.asarray(weights, dtype=float)

        def share(part: _Part) -> float:
            value = part.factor.eval(design.info.factor_infos[part.factor].state, at)
            return float((np.ravel(value) if part.contrasts is None else value @ part.contrasts)[part.column])

        with np.errstate(all="ignore"):
            return np.array([np.prod([share(part) for part in parts]) for parts in design.columns], dtype=float)


def needed_columns(
    rhs: str | Sequence[Hashable] | None, columns: Iterable[Hashable], argument: str = "adjust"
) -> list[Hashable]:
    """List the columns that a right-hand side uses, each once, in the order of the terms.

    Raises DataError with every fault: a name that is not among `columns` (the nearest is named), a fragment outside the
    allow-list (quoted), text that is no right-hand side, or too long, or too deeply nested.

    Examples
    --------
    >>> needed_columns("age * sex + log(dose)", ["age", "sex", "dose", "bsi"])
    ['age', 'sex', 'dose']
    """
    return _model(rhs, columns, argument).columns


def encode(
    frame: pd.DataFrame, rhs: str | Sequence[Hashable] | None, *, argument: str = "adjust", intercept: bool = False
) -> tuple[Floats, list[str], Encoding]:
    """Turn rows into the columns of a design, as a right-hand side says.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row an observation, without missing values in the columns used.
    rhs : str, sequence of column names, or None
        Plain columns as a list (any name will do), or a right-hand side: columns, `0`, `1`, `+ - : * / **`, and
        `C bs cr cc center standardize log sqrt exp I Q`. `Q("odd name")` or backticks quote a column's name.
    argument : str
        Name of the argument, for messages.
    intercept : bool
        Whether the intercept is returned as a column, if the right-hand side has one. Without it the coding is the
        same: the intercept is somewhere else in the model.

    Returns
    -------
    array : numpy.ndarray
        Shape (n, k), C-contiguous.
    names : list of str
        As R writes them: `(Intercept)`, `age`, `sex[m]`, `month:cohort[during]`, `bs(age, df=4)[1]`.
    encoding : Encoding
        Codes new rows the same way.

    Raises
    ------
    DataError
        As `needed_columns`; also for dates, mixed objects, one level only, too many levels, and values that are
        missing, infinite, or outside what a transform takes.

    Notes
    -----
    Text, truth values and categoricals are treatment coded against their first level: text in the order of its code
    points, categoricals in their own order without the levels that do not occur. `C(site)` codes numbers that way.
    Columns are ordered as in R: by the number of factors in a term, then as written. `cr` and `cc` are centred (mgcv's
    sum-to-zero constraint), so that they can stand beside an intercept.

    Examples
    --------
    >>> import pandas as pd
    >>> people = pd.DataFrame({"age": [30, 40, 50], "sex": ["f", "m", "f"]})
    >>> array, names, encoding = encode(people, "age * sex", intercept=True)
    >>> names
    ['(Intercept)', 'age', 'sex[m]', 'age:sex[m]']
    >>> encoding.average().tolist()
    [1.0, 40.0, 0.5, 20.0]
    """
    model = _model(rhs, frame.columns, argument)
    table: Table = {}
    faults = Faults()
    for name, (column, levels) in model.variables.items():
        try:
            table[name] = _read(frame[column], f"{argument}={show(column)}", levels=levels)
        except DataError as error:
            faults.take(error)
    faults.settle()
    design = _design(model, table, argument, intercept)
    array = design.matrix(table, argument, frame.index)
    coded = {
        column: tuple(values.categories)
        for name, (column, _) in model.variables.items()
        if isinstance(values := table[name], pd.Categorical)
    }
    given = rhs if rhs is None or isinstance(rhs, str) else tuple(rhs)
    encoding = Encoding(argument, given, intercept, design.names, tuple(model.columns), coded, table, [design])
    return array, list(design.names), encoding
