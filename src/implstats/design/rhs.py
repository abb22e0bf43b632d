"""Right-hand sides: text or column names to design columns, behind an allow-list; the only patsy import.

No text of a user's is ever run. patsy splits a right-hand side into fragments without evaluating them; each fragment's
syntax tree is translated into the few nodes below or refused, and those nodes are computed here, on arrays.
"""

from __future__ import annotations

import ast
import math
import re
import tokenize
import unicodedata
import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import Any, NoReturn, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from patsy import (
    INTERCEPT,
    EvalEnvironment,
    LookupFactor,
    ModelDesc,
    NAAction,
    PatsyError,
    Term,
    bs,
    build_design_matrices,
    cc,
    cr,
    design_matrix_builders,
)
from patsy.parse_formula import parse_formula

from implstats import _check
from implstats._check import Faults, nearest, show
from implstats.errors import DataError

__all__ = ["Encoding", "MixedFormula", "RandomSpec", "encode", "needed_columns", "parse_mixed"]

LONGEST = 4000
DEEPEST = 25
MOST_TERMS = 500
MOST_LEVELS = 1000
MOST_CELLS = 500_000_000

_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "C": ("levels",),
    "bs": ("df", "knots", "degree", "include_intercept", "lower_bound", "upper_bound"),
    "cr": ("df", "knots", "lower_bound", "upper_bound", "center"),
    "cc": ("df", "knots", "lower_bound", "upper_bound", "center"),
    "center": (),
    "standardize": ("center", "rescale", "ddof"),
    "log": (),
    "sqrt": (),
    "exp": (),
    "I": (),
    "Q": (),
}
_SPLINES: Mapping[str, Callable[..., Any]] = {"bs": bs, "cr": cr, "cc": cc}
_LARGEST = {"df": 100, "degree": 10, "ddof": 1000}
_ALLOWED = f"allowed are columns, 0, 1, + - : * / **, and {' '.join(_OPTIONS)}"
_ARITHMETIC: Mapping[type[ast.operator], Callable[..., Any]] = {
    ast.Add: np.add,
    ast.Sub: np.subtract,
    ast.Mult: np.multiply,
    ast.Div: np.divide,
    ast.Pow: np.power,
}
_REFUSED: Mapping[type[ast.AST], str] = {
    ast.Attribute: "reads an attribute",
    ast.Subscript: "takes a part of something",
    ast.JoinedStr: "is a string, which only Q(...) takes",
    ast.Lambda: "defines a function",
    ast.ListComp: "is a comprehension",
    ast.SetComp: "is a comprehension",
    ast.DictComp: "is a comprehension",
    ast.GeneratorExp: "is a comprehension",
    ast.Compare: "is a comparison",
    ast.NamedExpr: "is an assignment",
    ast.Starred: "unpacks its argument",
    ast.Await: "is not a term",
}


# ---- what a fragment may be ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Column:
    name: Hashable


@dataclass(frozen=True)
class _Number:
    value: float


@dataclass(frozen=True)
class _Arithmetic:
    operation: Callable[..., Any]
    parts: tuple[_Node, ...]


@dataclass(frozen=True)
class _Call:
    function: str
    argument: _Node
    options: tuple[tuple[str, Any], ...] = ()


_Node: TypeAlias = _Column | _Number | _Arithmetic | _Call


@dataclass(frozen=True)
class _Factor:
    node: _Node
    text: str = field(compare=False)


def _columns_of(node: _Node) -> list[Hashable]:
    if isinstance(node, _Column):
        return [node.name]
    parts = node.parts if isinstance(node, _Arithmetic) else (node.argument,) if isinstance(node, _Call) else ()
    return [name for part in parts for name in _columns_of(part)]


@dataclass(frozen=True)
class _Model:
    intercept: bool
    terms: tuple[tuple[_Factor, ...], ...]

    @property
    def columns(self) -> list[Hashable]:
        return list(dict.fromkeys(c for term in self.terms for f in term for c in _columns_of(f.node)))


# ---- text, before anything is parsed ---------------------------------------------------------------------------------

_QUOTED = re.compile(r'"(?:\\.|[^"\\\n])*"|' + r"'(?:\\.|[^'\\\n])*'|`[^`]*`")


def _short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def _cite(argument: str, text: str) -> str:
    return f"{argument}={show(_short(text.strip()))}"


def _scan(text: str, argument: str) -> tuple[str, str]:
    """Return the text with `odd name` as Q('odd name') and single spaces, and a copy with every string blanked."""
    cite = _cite(argument, text)
    if len(text) > LONGEST:
        raise DataError(
            f"{cite}: {len(text)} characters, more than {LONGEST}; name plain columns in a list, or make new columns"
        )
    code: list[str] = []
    mask: list[str] = []
    after = 0
    for found in [*_QUOTED.finditer(text), None]:
        outside = re.sub(r"\s+", " ", text[after : found.start() if found else None])
        if any(mark in outside for mark in "\"'`\\"):
            raise DataError(f'{cite}: a quote or backtick is not closed; write Q("odd name") or `odd name`')
        code.append(outside)
        mask.append(outside)
        if found is not None:
            quoted = found.group()
            piece = f"Q({quoted[1:-1]!r})" if quoted[0] == "`" else quoted
            code.append(piece)
            mask.append("Q(" + "q" * (len(piece) - 3) + ")" if quoted[0] == "`" else "q" * len(piece))
            after = found.end()
    whole = "".join(code)
    if '"""' in whole or "'''" in whole:
        raise DataError(f'{cite}: three quotes in a row; write Q("odd name") or `odd name`')
    depth = 0
    for mark in "".join(mask):
        depth += (mark in "([{") - (mark in ")]}")
        if depth < 0:
            raise DataError(f"{cite}: unbalanced parentheses; a ')' closes nothing")
        if depth > DEEPEST:
            raise DataError(f"{cite}: more than {DEEPEST} nested parentheses; make a new column first")
    if depth:
        raise DataError(f"{cite}: unbalanced parentheses; a '(' is not closed")
    return whole, "".join(mask)


def _syntax(code: str) -> ast.expr:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(code.strip(), mode="eval").body


_UNREADABLE = (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError)


def _quoted_name(node: ast.AST) -> str | None:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Q":
        given = node.args[0] if len(node.args) == 1 and not node.keywords else None
        if isinstance(given, ast.Constant) and isinstance(given.value, str):
            return given.value
    return None


def _name(code: str) -> str | None:
    """Return the column that the text names, `site` or `Q("odd name")`; None for any other text."""
    code = code.strip()
    if code.isidentifier():
        return code
    try:
        return _quoted_name(_syntax(code))
    except _UNREADABLE:
        return None


# ---- text to fragments -----------------------------------------------------------------------------------------------


def _bound(tree: Any) -> float:
    """Return no fewer terms than the tree expands to, so that a product of many columns is refused in time."""
    if not tree.args:
        return 1
    left = _bound(tree.args[0])
    if tree.type == "**":
        try:
            power = int(tree.args[1].token.extra)
        except (TypeError, ValueError):
            power = 1
        size = math.ceil(min(left, MOST_TERMS + 1))
        return float(sum(math.comb(size, k) for k in range(1, min(size, max(power, 1)) + 1)))
    right = _bound(tree.args[1]) if len(tree.args) > 1 else 0.0
    if tree.type == "*":
        return left + right + left * right
    return left * right if tree.type == ":" else left + right


def _height(tree: Any) -> int:
    highest, todo = 0, [(tree, 1)]
    while todo:
        node, height = todo.pop()
        highest = max(highest, height)
        todo.extend((part, height + 1) for part in node.args)
    return highest


def _fragments(text: str, argument: str) -> tuple[bool, list[tuple[str, ...]]]:
    """Return whether there is an intercept, and the factors of each term, as text that is not yet checked."""
    code, mask = _scan(text, argument)
    cite = _cite(argument, text)
    if not code.strip():
        raise DataError(f"{cite}: no term is named; name a column, or leave it out")
    if "~" in mask:
        raise DataError(f"{cite}: a ~ within a right-hand side; leave out what stands before it")
    if "|" in mask:
        raise DataError(f"{cite}: a | within a right-hand side; random terms belong in a formula of fit_mixed")
    try:
        tree = parse_formula(code)
        few = _height(tree) <= 200 and _bound(tree) <= MOST_TERMS
        terms = ModelDesc.from_formula(tree).rhs_termlist if few else []
    except PatsyError as error:
        raise DataError(f"{cite}: not a right-hand side ({_short(error.message, 90)}); {_ALLOWED}") from None
    except (*_UNREADABLE, tokenize.TokenError, AssertionError, IndexError):
        raise DataError(f"{cite}: not a right-hand side; {_ALLOWED}") from None
    if not few:
        raise DataError(f"{cite}: too many terms; name plain columns in a list, or write fewer products")
    return INTERCEPT in terms, [tuple(f.code for f in term.factors) for term in terms if term != INTERCEPT]


# ---- fragments to nodes: the allow-list ------------------------------------------------------------------------------


class _RefusedError(Exception):
    """A fragment that is not allowed: the sentence that says so."""


class _Reader:
    """Translate fragments into nodes; whatever has no node is refused."""

    def __init__(self, columns: Iterable[Hashable]) -> None:
        self.columns = list(columns)
        self._known = set(self.columns)
        # Python reads identifiers in Unicode's compatibility form: the micro sign becomes the Greek mu.
        self._folded = {unicodedata.normalize("NFKC", c): c for c in self.columns if isinstance(c, str)}

    def factor(self, code: str) -> _Factor:
        if code.isidentifier():
            node: _Node = self._column(code)
            return _Factor(node, str(_columns_of(node)[0]))
        try:
            tree = _syntax(code)
            if _quoted_name(tree) is None and not isinstance(tree, ast.Call):
                self._refuse(tree, code, code)
            node = self._node(tree, code, 0)
        except RecursionError:
            raise _RefusedError(f"{show(_short(code, 40))} is nested too deeply; make a new column first") from None
        except _UNREADABLE:
            raise _RefusedError(f"{show(_short(code, 40))} is not a term; {_ALLOWED}{self._hint(code)}") from None
        return _Factor(node, str(node.name) if isinstance(node, _Column) else code)

    def _hint(self, code: str) -> str:
        if code in self._known:
            return f"; there is a column of that name: write Q({code!r}), or name it in a list"
        return ""

    def _refuse(self, tree: ast.AST, code: str, fragment: str | None = None) -> NoReturn:
        text = fragment or ast.get_source_segment(code, tree) or code
        why = _REFUSED.get(type(tree), "is not a term")
        if isinstance(tree, ast.Constant) and isinstance(tree.value, str | bytes):
            why = "is a string, which only Q(...) takes"
        if isinstance(tree, ast.BinOp | ast.UnaryOp) and type(getattr(tree, "op", None)) in (*_ARITHMETIC, ast.USub):
            why = "is arithmetic, which stands within I(...)"
        raise _RefusedError(f"{show(_short(text, 40))} {why}; {_ALLOWED}{self._hint(code)}")

    def _column(self, name: str) -> _Column:
        if name in self._known:
            return _Column(name)
        if unicodedata.normalize("NFKC", name) in self._folded:
            return _Column(self._folded[unicodedata.normalize("NFKC", name)])
        raise _RefusedError(f"no such column {show(_short(name, 40))}{nearest(name, self.columns)}")

    def _node(self, tree: ast.AST, code: str, depth: int) -> _Node:
        if depth > 4 * DEEPEST:
            raise RecursionError
        if isinstance(tree, ast.Name):
            return self._column(tree.id)
        if isinstance(tree, ast.Constant) and type(tree.value) in (int, float):
            return _Number(float(tree.value))  # type: ignore[arg-type]
        if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub | ast.UAdd):
            part = self._node(tree.operand, code, depth + 1)
            return _Arithmetic(np.negative if isinstance(tree.op, ast.USub) else np.positive, (part,))
        if isinstance(tree, ast.BinOp) and type(tree.op) in _ARITHMETIC:
            left, right = self._node(tree.left, code, depth + 1), self._node(tree.right, code, depth + 1)
            return _Arithmetic(_ARITHMETIC[type(tree.op)], (left, right))
        if isinstance(tree, ast.Call):
            return self._call(tree, code, depth)
        return self._refuse(tree, code)

    def _call(self, tree: ast.Call, code: str, depth: int) -> _Node:
        here = show(_short(ast.get_source_segment(code, tree) or code, 40))
        function = tree.func.id if isinstance(tree.func, ast.Name) else None
        if function is None:
            self._refuse(tree.func, code)
        if function not in _OPTIONS:
            raise _RefusedError(f"{here} calls {function}; {_ALLOWED}")
        if function == "Q":
            name = _quoted_name(tree)
            if name is None:
                raise _RefusedError(f'{here} is not a quoted name; write Q("odd name")')
            return self._column(name)
        if function in ("C", *_SPLINES) and depth:
            raise _RefusedError(f"{here} stands within something else; {function}(...) is a term of its own")
        if not tree.args or (function == "C" and len(tree.args) > 1):
            raise _RefusedError(f"{here} takes one column; write {function}(column)")
        argument = self._node(tree.args[0], code, depth + 1)
        if function == "C" and not isinstance(argument, _Column):
            raise _RefusedError(f"{here} holds more than a column; make a new column first")
        if not _columns_of(argument):
            raise _RefusedError(f"{here} names no column; {_ALLOWED}")
        return _Call(function, argument, self._options(function, tree, here))

    def _options(self, function: str, tree: ast.Call, here: str) -> tuple[tuple[str, Any], ...]:
        known = _OPTIONS[function]
        extra = len(tree.args) - 1
        if extra > len(known):
            raise _RefusedError(f"{here} has too many arguments; {function} takes {', '.join(('a column', *known))}")
        given: dict[str, Any] = {}
        for option, value in [
            *zip(known, tree.args[1:], strict=False),
            *((k.arg, k.value) for k in tree.keywords),
        ]:
            if option not in known:
                raise _RefusedError(f"{here} has an unknown option{nearest(option, known)}")
            if option in given:
                raise _RefusedError(f"{here} gives {option} twice")
            given[option] = _option(option, value, here)
        return tuple((k, v) for k, v in sorted(given.items()) if v is not None)


def _literal(tree: ast.AST) -> Any:
    """Return the number, truth value, None, or tuple of numbers that the syntax writes out; raise for anything else."""
    if isinstance(tree, ast.Constant) and (tree.value is None or type(tree.value) in (int, float, bool)):
        return tree.value
    if isinstance(tree, ast.UnaryOp) and isinstance(tree.op, ast.USub) and isinstance(tree.operand, ast.Constant):
        if type(tree.operand.value) in (int, float):
            return -tree.operand.value  # type: ignore[operator]
    elif isinstance(tree, ast.List | ast.Tuple) and len(tree.elts) <= MOST_LEVELS:
        values = tuple(_literal(part) for part in tree.elts)
        if all(type(v) in (int, float) for v in values):
            return values
    raise ValueError


def _option(option: str, tree: ast.AST, here: str) -> Any:
    try:
        value = _literal(tree)
    except ValueError:
        value = ()
    if value is None:
        return None
    if option in ("knots", "levels"):
        value = tuple(float(v) for v in value) if isinstance(value, tuple) else ()
        good, wanted = bool(value) and all(map(math.isfinite, value)), "a list of numbers"
    elif option in ("include_intercept", "center", "rescale"):
        good, wanted = isinstance(value, bool), "True or False"
    elif option in _LARGEST:
        good = type(value) is int and 0 <= value <= _LARGEST[option]
        wanted = f"a whole number from 0 to {_LARGEST[option]}"
    else:
        good, wanted = type(value) in (int, float) and math.isfinite(value), "a number"
    if not good:
        raise _RefusedError(f"{here} needs {wanted} as {option}")
    return value


def _model(rhs: object, columns: Iterable[Hashable], argument: str) -> _Model:
    """Return the checked model of a right-hand side, or raise one DataError with every fault found."""
    reader = _Reader(columns)
    faults = Faults()
    if rhs is None:
        return _Model(True, ())
    if not isinstance(rhs, str):
        if not isinstance(rhs, list | tuple | pd.Index | np.ndarray):
            raise DataError(f"{argument}={show(rhs)}: neither a list of column names nor a right-hand side")
        named = list(dict.fromkeys(_hashable(c, argument) for c in rhs))
        known = set(reader.columns)
        for column in named:
            if column not in known:
                faults.say(f"{argument}={show(column)}: no such column{nearest(column, reader.columns)}")
        faults.settle()
        return _Model(True, tuple((_Factor(_Column(c), str(c)),) for c in named))
    intercept, terms = _fragments(rhs, argument)
    read: dict[str, _Factor] = {}
    for code in dict.fromkeys(code for term in terms for code in term):
        try:
            read[code] = reader.factor(code)
        except _RefusedError as refused:
            faults.say(f"{_cite(argument, rhs)}: {refused}")
    faults.settle()
    kept: dict[frozenset[_Factor], tuple[_Factor, ...]] = {}
    for term in terms:
        factors = tuple(dict.fromkeys(read[code] for code in term))
        kept.setdefault(frozenset(factors), factors)
    return _Model(intercept, tuple(sorted(kept.values(), key=len)))


def _hashable(name: object, argument: str) -> Hashable:
    if not isinstance(name, Hashable):
        raise DataError(f"{argument}={show(name)}: not a column name")
    return name


# ---- columns ---------------------------------------------------------------------------------------------------------


class _Table(dict[Hashable, Any]):
    """Columns as numbers, or as Categoricals of level positions, with the levels and the rows' labels beside them."""

    def __init__(self, argument: str, labels: Sequence[Hashable] | pd.Index) -> None:
        super().__init__()
        self.argument = argument
        self.labels = labels
        self.levels: dict[Hashable, tuple[Any, ...]] = {}

    def at(self, wrong: NDArray[np.bool_]) -> str:
        return _check.rows([self.labels[i] for i in np.flatnonzero(wrong).tolist()])

    def put(self, column: Hashable, values: NDArray[Any], levels: tuple[Any, ...] | None) -> None:
        if levels is None:
            self[column] = values
        else:
            self[column] = _categorical(values, len(levels))
            self.levels[column] = levels

    def finite(self, column: Hashable, values: NDArray[Any]) -> None:
        """Refuse missing and infinite numbers, and codes of -1, which mark a missing label."""
        absent = values < 0 if values.dtype.kind == "i" else np.isnan(values)
        if absent.any():
            raise DataError(f"{self.argument}={show(column)}: missing in {self.at(absent)}; drop these rows first")
        if values.dtype.kind == "f" and np.isinf(values).any():
            raise DataError(
                f"{self.argument}={show(column)}: infinite in {self.at(np.isinf(values))}; correct or drop these rows"
            )


def _not_finite(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows hold a number that is not finite."""
    return np.asarray(~np.isfinite(values).reshape(len(values), -1).all(axis=1), dtype=np.bool_)


def _categorical(codes: NDArray[Any], count: int) -> pd.Categorical[Any]:
    return pd.Categorical.from_codes(codes, categories=pd.RangeIndex(count))


def _numeric(series: pd.Series) -> NDArray[np.float64]:
    return np.asarray(series.to_numpy(dtype=float, na_value=np.nan), dtype=np.float64)


def _is_number(series: pd.Series) -> bool:
    return pd.api.types.is_numeric_dtype(series.dtype) and not pd.api.types.is_complex_dtype(series.dtype)


def _read(series: pd.Series, column: Hashable, argument: str) -> tuple[NDArray[Any], tuple[Any, ...] | None]:
    """Return a column as float64 and None, or as level positions and the levels that occur."""
    dtype = series.dtype
    cite = f"{argument}={show(column)}"
    if isinstance(dtype, pd.CategoricalDtype):
        codes = np.asarray(series.cat.codes, dtype=np.int64)
        known = list(dtype.categories)
    elif pd.api.types.is_bool_dtype(dtype):
        truth = _numeric(series)
        codes = np.where(np.isnan(truth), -1, truth).astype(np.int64)
        known = [False, True]
    elif _is_number(series):
        return _numeric(series), None
    elif dtype.kind in "mM" or isinstance(dtype, pd.PeriodDtype):
        raise DataError(f"{cite}: dates, not numbers; make a column of days or years since a fixed day first")
    else:
        codes, unique = pd.factorize(series.to_numpy(dtype=object))
        known = list(unique)
        if not all(isinstance(v, str) for v in known) and not all(isinstance(v, bool | np.bool_) for v in known):
            odd = next(v for v in known if not isinstance(v, str))
            raise DataError(
                f"{cite}: holds {show(odd)}, which is no text; make the column numbers with astype(float) "
                "or text with astype(str)"
            )
        order = np.argsort(np.asarray(known, dtype=object), kind="stable")
        rank = np.empty(len(known) + 1, dtype=np.int64)
        rank[order], rank[-1] = np.arange(len(known)), -1
        codes, known = rank[codes], [known[i] for i in order]
    seen = np.bincount(codes[codes >= 0], minlength=len(known)) > 0
    rank = np.append(np.cumsum(seen) - 1, -1)
    return rank[codes], tuple(v for v, here in zip(known, seen, strict=True) if here)


def _few_levels(levels: Sequence[Any], cite: str) -> None:
    if len(levels) == 1:
        raise DataError(f"{cite}: only one level ({show(levels[0])}) is left; drop it")
    if len(levels) > MOST_LEVELS:
        raise DataError(
            f"{cite}: {len(levels)} levels, more than {MOST_LEVELS}; make it a random effect, or group levels"
        )


def _positions(values: Any, levels: Sequence[Any]) -> NDArray[np.int64]:
    """Return each value's position among the levels, -1 where it is none of them."""
    known = pd.Index(np.asarray([*levels, None], dtype=object)[:-1], dtype=object)
    if isinstance(values, pd.Series) and isinstance(values.dtype, pd.CategoricalDtype):
        among = np.append(known.get_indexer(np.asarray(values.dtype.categories, dtype=object)), -1)
        return np.asarray(among[np.asarray(values.cat.codes)], dtype=np.int64)
    plain = values.to_numpy(dtype=object) if isinstance(values, pd.Series) else np.asarray(values, dtype=object)
    return np.asarray(known.get_indexer(plain), dtype=np.int64)


def _label(level: object) -> str:
    return show(level) if isinstance(level, int | float | np.generic) else str(level)


# ---- factors as patsy asks for them ----------------------------------------------------------------------------------


class _Lookup(LookupFactor):  # type: ignore[misc]
    """A plain column: patsy's own factor, under a name that no other factor can have."""

    @property
    def varname(self) -> Hashable:
        return self._varname  # type: ignore[no-any-return]

    def name(self) -> str:
        return repr(self._varname)

    def shown(self) -> str:
        return str(self._varname)


class _Transform:
    """A transformed column: learns levels, knots and means once, and remembers them."""

    origin = None

    def __init__(self, factor: _Factor) -> None:
        self.factor = factor

    def name(self) -> str:
        return self.factor.text

    def shown(self) -> str:
        return self.factor.text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Transform) and self.factor == other.factor

    def __hash__(self) -> int:
        return hash(self.factor)

    def memorize_passes_needed(self, state: dict[str, Any], eval_env: Any) -> int:
        state["learned"] = {}
        return 1

    def memorize_chunk(self, state: dict[str, Any], which_pass: int, data: _Table) -> None:
        _Evaluation(self.factor.text, data, state["learned"], learn=True).value(self.factor.node)

    def memorize_finish(self, state: dict[str, Any], which_pass: int) -> None:
        return None

    def eval(self, memorize_state: dict[str, Any], data: _Table) -> Any:
        return _Evaluation(self.factor.text, data, memorize_state["learned"], learn=False).value(self.factor.node)


class _Evaluation:
    """Compute a node on a table; with `learn`, take levels, knots and means from it."""

    def __init__(self, text: str, table: _Table, learned: dict[_Node, Any], *, learn: bool) -> None:
        self.table = table
        self.learned = learned
        self.learn = learn
        self.cite = f"{table.argument}={show(_short(text))}"

    def value(self, node: _Node) -> Any:
        if isinstance(node, _Call) and node.function == "C":
            return self._levels(node)
        with np.errstate(all="ignore"):
            out = self._spline(node) if isinstance(node, _Call) and node.function in _SPLINES else self._numbers(node)
        wrong = _not_finite(out)
        if wrong.any():
            raise DataError(f"{self.cite}: not a finite number in {self.table.at(wrong)}; correct or drop these rows")
        return out

    def _numbers(self, node: _Node) -> NDArray[np.float64]:
        if isinstance(node, _Number):
            return np.asarray(node.value)
        if isinstance(node, _Arithmetic):
            return np.asarray(node.operation(*(self._numbers(part) for part in node.parts)))
        if isinstance(node, _Call):
            return self._function(node, self._numbers(node.argument))
        values = self.table[node.name]
        if not isinstance(values, pd.Categorical):
            return np.asarray(values)
        levels = self.table.levels[node.name]
        if not all(isinstance(v, bool | np.bool_) for v in levels):
            raise DataError(f"{self.cite}: {show(node.name)} holds categories, not numbers; name it without a function")
        truth: NDArray[np.float64] = np.asarray(levels, dtype=np.float64)[values.codes]
        return truth

    def _function(self, node: _Call, x: NDArray[np.float64]) -> NDArray[np.float64]:
        options = dict(node.options)
        named = " and ".join(show(c) for c in dict.fromkeys(_columns_of(node)))
        if node.function in ("log", "sqrt"):
            wrong = np.asarray(~(x > 0) if node.function == "log" else ~(x >= 0), dtype=np.bool_)
            if wrong.any():
                bound = "above 0" if node.function == "log" else "at least 0"
                raise DataError(
                    f"{self.cite}: {node.function} needs values {bound}, and that of {named} is not in "
                    f"{self.table.at(wrong)}; shift or leave out that column"
                )
            return np.log(x) if node.function == "log" else np.sqrt(x)
        if node.function == "exp":
            return np.exp(x)
        if node.function in ("center", "standardize"):
            if self.learn and node not in self.learned:
                freedom = len(x) - options.get("ddof", 0)
                mean = float(x.mean())
                self.learned[node] = mean, math.sqrt(float(((x - mean) ** 2).sum()) / freedom) if freedom > 0 else 0.0
            mean, spread = self.learned[node]
            out = x - mean if options.get("center", True) else x
            if node.function == "center" or not options.get("rescale", True):
                return out
            if not spread > 1e-13 * abs(mean):
                raise DataError(f"{self.cite}: {named} does not vary; drop it")
            return np.asarray(out / spread)
        return x

    def _spline(self, node: _Node) -> NDArray[np.float64]:
        assert isinstance(node, _Call)
        x = self._numbers(node.argument)
        wrong = _not_finite(x)
        if wrong.any():
            raise DataError(f"{self.cite}: not a finite number in {self.table.at(wrong)}; correct or drop these rows")
        options = dict(node.options)
        if node.function != "bs":
            options["constraints"] = "center" if options.pop("center", True) else None
        if self.learn and node not in self.learned:
            made = _SPLINES[node.function].__patsy_stateful_transform__()  # type: ignore[attr-defined]
            try:
                made.memorize_chunk(x, **options)
                made.memorize_finish()
            except ValueError as error:
                why = re.sub(r"np\.\w+\(([^()]*)\)", r"\1", str(error)).rstrip(".")
                raise DataError(f"{self.cite}: {why}; write {node.function}(column, df=4)") from None
            low, high = options.get("lower_bound", x.min()), options.get("upper_bound", x.max())
            self.learned[node] = made, float(low), float(high)
        made, low, high = self.learned[node]
        outside = (x < low) | (x > high)
        if node.function == "bs" and outside.any():
            raise DataError(
                f"{self.cite}: outside {show(low)} to {show(high)} in {self.table.at(outside)}; "
                "a spline says nothing beyond its range"
            )
        return np.asarray(made.transform(x, **options), dtype=np.float64)

    def _levels(self, node: _Call) -> pd.Categorical[Any]:
        assert isinstance(node.argument, _Column)
        column = node.argument.name
        values = self.table[column]
        is_labels = isinstance(values, pd.Categorical)
        plain = np.asarray(self.table.levels[column], dtype=object)[values.codes] if is_labels else values
        if self.learn and node not in self.learned:
            wanted = dict(node.options).get("levels")
            levels: tuple[Any, ...] = self.table.levels[column] if is_labels else tuple(np.unique(values).tolist())
            if wanted is not None:
                unnamed = [v for v in levels if v not in wanted]
                if unnamed:
                    raise DataError(f"{self.cite}: {show(unnamed[0])} is a value of {show(column)}, but not in levels")
                levels = tuple(v for v in dict.fromkeys(wanted) if v in levels)
            _few_levels(levels, self.cite)
            self.learned[node] = levels
        levels = self.learned[node]
        codes = _positions(plain, levels)
        if (codes < 0).any():
            first = int(np.flatnonzero(codes < 0)[0])
            raise DataError(_unseen(column, plain[first], self.table.labels[first], levels))
        return _categorical(codes, len(levels))


def _unseen(column: Hashable, value: object, label: object, levels: Sequence[Any]) -> str:
    known = ", ".join(show(v) for v in levels[:8]) + (", ..." if len(levels) > 8 else "")
    return f"{column}={show(value)}: a level that the fit has not seen, in row {show(label)}; it knows {known}"


# ---- the design ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Design:
    """patsy's DesignInfo with its columns in R's order: by the number of factors, then as written."""

    info: Any
    order: NDArray[np.intp]
    names: list[str]
    spans: list[tuple[tuple[_Factor, ...], slice]]
    levels: dict[Hashable, tuple[Any, ...]]

    def matrix(self, table: _Table, rows: int) -> NDArray[np.float64]:
        if self.order.size * rows > MOST_CELLS:
            raise DataError(
                f"{table.argument}: {self.order.size} columns on {rows} rows are too many; leave out products, or "
                "make a factor with many levels a random effect"
            )
        if rows == 0 or not self.info.factor_infos:
            return np.ones((rows, len(self.names)))
        made = build_design_matrices([self.info], table, NA_action=NAAction("raise", NA_types=[]))[0]
        out = np.ascontiguousarray(np.asarray(made)[:, self.order])
        wrong = _not_finite(out)
        if wrong.any():
            name = self.names[int(np.flatnonzero(~np.isfinite(out).all(axis=0))[0])]
            raise DataError(
                f"{table.argument}={show(name)}: not a finite number in {table.at(wrong)}; rescale a column"
            )
        return out


def _build(model: _Model, table: _Table, intercept: bool) -> _Design:
    def patsy_factor(factor: _Factor) -> Any:
        return _Lookup(factor.node.name) if isinstance(factor.node, _Column) else _Transform(factor)

    of_term = {Term([patsy_factor(f) for f in term]): term for term in model.terms}
    first = [INTERCEPT] if model.intercept else []
    info = design_matrix_builders([[*first, *of_term]], lambda: iter([table]), EvalEnvironment([{}]))[0]

    levels = dict(table.levels)
    labels: dict[Any, list[str]] = {}
    for factor, details in info.factor_infos.items():
        if details.type == "categorical":
            if isinstance(factor, _Transform):
                found = details.state["learned"][factor.factor.node]
                levels[_columns_of(factor.factor.node)[0]] = found
            else:
                found = table.levels[factor.varname]
            labels[factor] = [_label(v) for v in found]

    def written(subterm: Any) -> list[str]:
        pieces = []
        for factor in subterm.factors:
            if factor in labels:
                columns = subterm.contrast_matrices[factor].matrix.shape[1]
                shown = labels[factor][len(labels[factor]) - columns :]
                pieces.append([f"{factor.shown()}[{label}]" for label in shown])
            else:
                count = info.factor_infos[factor].num_columns
                pieces.append(
                    [factor.shown()] if count == 1 else [f"{factor.shown()}[{j}]" for j in range(1, count + 1)]
                )
        return [":".join(reversed(c)) for c in product(*reversed(pieces))]

    order: list[int] = []
    names: list[str] = []
    spans: list[tuple[tuple[_Factor, ...], slice]] = []
    if model.intercept and intercept:
        order.append(info.term_slices[INTERCEPT].start)
        names.append("(Intercept)")
        spans.append(((), slice(0, 1)))
    for term, factors in of_term.items():
        where = info.term_slices[term]
        spans.append((factors, slice(len(order), len(order) + where.stop - where.start)))
        order.extend(range(where.start, where.stop))
        names.extend(name for subterm in info.term_codings[term] for name in written(subterm))
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"{table.argument}: two columns of the design are named {show(twice)}; rename one in the frame")
    return _Design(info, np.asarray(order, dtype=np.intp), names, spans, levels)


@dataclass(frozen=True, eq=False, repr=False)
class Encoding:
    """How the columns of a design were coded, so that new rows are coded the same way.

    Remembers levels, knots and means of the rows that it was made from. It can be pickled: it holds the right-hand side
    and read-only copies of the columns, and rebuilds what patsy needs when it is asked for.

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
    _values: dict[Hashable, tuple[NDArray[Any], tuple[Any, ...] | None]]
    _cache: dict[str, _Design] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Encoding({', '.join(self.names)})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cache": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for values, _ in state["_values"].values():
            values.setflags(write=False)
        self.__dict__.update(state)

    def _design(self) -> _Design:
        if "design" not in self._cache:
            table = _Table(self.argument, range(len(next(iter(self._values.values()), ((), None))[0])))
            for column, (values, levels) in self._values.items():
                table.put(column, values, levels)
            self._cache["design"] = _build(_model(self.rhs, self.columns, self.argument), table, self.intercept)
        return self._cache["design"]

    def apply(self, newdata: pd.DataFrame) -> NDArray[np.float64]:
        """Return the design's columns for new rows, coded as the rows of the fit were.

        Parameters
        ----------
        newdata : pandas.DataFrame
            One row for each row wanted; it needs the columns in `columns`, without missing values.

        Returns
        -------
        numpy.ndarray
            Shape (rows of newdata, len(names)).

        Raises
        ------
        DataError
            A column is missing, holds a level that the fit has not seen, or is not a number where the fit had numbers.
        """
        faults = Faults()
        for column in self.columns:
            if column not in newdata.columns:
                faults.say(f"newdata: no column {show(column)}{nearest(column, newdata.columns)}")
        faults.settle()
        table = _Table("newdata", newdata.index)
        for column in self.columns:
            try:
                self._align(table, column, newdata[column])
            except DataError as error:
                faults.take(error)
        faults.settle()
        return self._design().matrix(table, len(newdata))

    def _align(self, table: _Table, column: Hashable, series: pd.Series) -> None:
        _, levels = self._values[column]
        if levels is None:
            if not _is_number(series):
                raise DataError(f"newdata={show(column)}: not numbers, as in the fit; convert with astype(float)")
            values: NDArray[Any] = _numeric(series)
        else:
            absent = series.isna().to_numpy()
            table.finite(column, np.where(absent, -1, 0))
            values = _positions(series, levels)
            if (values < 0).any():
                first = int(np.flatnonzero(values < 0)[0])
                raise DataError(_unseen(column, series.iloc[first], series.index[first], levels))
        table.finite(column, values)
        table.put(column, values, levels)

    def average(self, fixed: Mapping[Hashable, Any] | None = None) -> NDArray[np.float64]:
        """Return the row of marginal means: numbers at their mean, factor levels weighted equally.

        Parameters
        ----------
        fixed : mapping, optional
            Column -> value at which to hold it instead.

        Returns
        -------
        numpy.ndarray
            Shape (len(names),).

        Notes
        -----
        A transform is evaluated at the mean of its column, `I(age ** 2)` at the squared mean age; an interaction of
        factors averages over the grid of all combinations of their levels. Both as R's emmeans does.

        Raises
        ------
        DataError
            `fixed` names a column that is not used, or a level that is not known.
        """
        design = self._design()
        held = dict(fixed or {})
        for column in held:
            if column not in self.columns:
                raise DataError(f"fixed={show(column)}: no such column{nearest(column, self.columns)}")
        done: dict[tuple[Hashable, ...], NDArray[np.float64]] = {}
        out = np.empty(len(self.names))
        for factors, where in design.spans:
            used = dict.fromkeys(c for f in factors for c in _columns_of(f.node))
            free = tuple(c for c in used if c in self.levels and c not in held)
            if free not in done:
                done[free] = self._over(design, free, held)
            out[where] = done[free][where]
        return out

    def _over(self, design: _Design, free: tuple[Hashable, ...], held: dict[Hashable, Any]) -> NDArray[np.float64]:
        """Return the mean row over the grid of the levels of `free`; others are held, at their mean, or first."""
        cells = math.prod(len(self.levels[c]) for c in free)
        if cells * max(1, len(self.names)) > MOST_CELLS:
            raise DataError(f"{self.argument}: {cells} combinations of levels are too many; hold a column fixed")
        table = _Table(self.argument, range(cells))
        repeats = cells
        for column in (*free, *(c for c in self.columns if c not in free)):
            values, coded = self._values[column]
            levels = self.levels.get(column)
            if column in free:
                assert levels is not None
                repeats //= len(levels)
                positions = np.tile(np.repeat(np.arange(len(levels)), repeats), cells // (repeats * len(levels)))
            elif column in held and levels is not None:
                positions = np.repeat(_positions([held[column]], levels), cells)
                if (positions < 0).any():
                    raise DataError(
                        f"fixed={show(held[column])}: no level of {show(column)}{nearest(held[column], levels)}"
                    )
            else:
                positions = np.zeros(cells, dtype=np.int64)
            if coded is not None:
                table.put(column, positions, coded)
            elif levels is not None:
                table.put(column, np.asarray(levels, dtype=float)[positions], None)
            else:
                at = _check.number(f"fixed[{show(column)}]", held[column]) if column in held else float(values.mean())
                table.put(column, np.full(cells, at), None)
        return np.asarray(design.matrix(table, cells).mean(axis=0))


def needed_columns(
    rhs: str | Sequence[Hashable] | None, columns: Iterable[Hashable], argument: str = "adjust"
) -> list[Hashable]:
    """List the columns that a right-hand side uses, if everything in it is allowed.

    Parameters
    ----------
    rhs : str, sequence of column names, or None
        A right-hand side such as `"age + C(site)"`, or plain columns as a list.
    columns : iterable
        The columns that there are.
    argument : str
        Name of the argument, for messages.

    Returns
    -------
    list
        The columns used, each once, in the order of the terms.

    Raises
    ------
    DataError
        With every fault: a name that is no column (the nearest is named), a fragment outside the allow-list (quoted),
        text that is no right-hand side, too long, or too deeply nested.

    Examples
    --------
    >>> needed_columns("age * sex + log(dose)", ["age", "sex", "dose", "bsi"])
    ['age', 'sex', 'dose']
    """
    return _model(rhs, columns, argument).columns


def encode(
    frame: pd.DataFrame, rhs: str | Sequence[Hashable] | None, *, argument: str = "adjust", intercept: bool = False
) -> tuple[NDArray[np.float64], list[str], Encoding]:
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
    points, categoricals in their own order without the levels that do not occur. Columns are ordered as in R: by the
    number of factors in a term, then as written. `cr` and `cc` are centred (mgcv's sum-to-zero constraint), so that
    they can stand beside an intercept; `center=False` gives the unconstrained basis.

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
    table = _Table(argument, frame.index)
    stored: dict[Hashable, tuple[NDArray[Any], tuple[Any, ...] | None]] = {}
    faults = Faults()
    for column in model.columns:
        try:
            values, levels = _read(frame[column], column, argument)
            table.finite(column, values)
            if levels is not None:
                _few_levels(levels, f"{argument}={show(column)}")
        except DataError as error:
            faults.take(error)
            continue
        values = values.copy()
        values.setflags(write=False)
        stored[column] = values, levels
        table.put(column, values, levels)
    faults.settle()
    design = _build(model, table, intercept)
    array = design.matrix(table, len(frame))
    kept = rhs if rhs is None or isinstance(rhs, str) else tuple(rhs)
    encoding = Encoding(
        argument, kept, intercept, tuple(design.names), tuple(model.columns), design.levels, stored, {"design": design}
    )
    return array, list(design.names), encoding


# ---- formulas of mixed models ----------------------------------------------------------------------------------------


def _written(name: str) -> str:
    return name if name.isidentifier() else f"`{name}`"


@dataclass(frozen=True)
class RandomSpec:
    """One random term: the columns that vary, and by what.

    Attributes
    ----------
    columns : str
        Right-hand side with its intercept written out: `1 + month`, `0 + dose`.
    group : tuple of str
        Columns that together name a group; two or more are their interaction.
    correlated : bool
        Whether the columns' effects may correlate; False for `||`.
    """

    columns: str
    group: tuple[str, ...]
    correlated: bool = True

    @property
    def text(self) -> str:
        """The term as lme4 writes it."""
        return f"({self.columns} {'|' if self.correlated else '||'} {':'.join(map(_written, self.group))})"


@dataclass(frozen=True)
class MixedFormula:
    """A mixed model's formula, taken apart.

    Attributes
    ----------
    outcome : str
        Column of the outcome.
    fixed : str
        Right-hand side of the fixed part.
    random : tuple of RandomSpec
        Random terms, nested ones expanded.
    text : str
        The formula as given, with single spaces.
    """

    outcome: str
    fixed: str
    random: tuple[RandomSpec, ...]
    text: str


def _segments(mask: str, start: int) -> list[tuple[str, int, int]]:
    """Return sign, start and stop of each part that + and - join outside parentheses."""
    found: list[tuple[str, int, int]] = []
    depth, sign, since = 0, "+", start
    for i in range(start, len(mask)):
        depth += (mask[i] in "([{") - (mask[i] in ")]}")
        if depth == 0 and mask[i] in "+-":
            if mask[since:i].strip():
                found.append((sign, since, i))
                sign, since = mask[i], i + 1
            elif since == start or sign == "+":
                sign, since = mask[i], i + 1
    return [*found, (sign, since, len(mask))] if mask[since:].strip() else found


def _bars(mask: str) -> list[tuple[int, int]]:
    """Return where | or || stand outside parentheses."""
    depth, found = 0, []
    for at in re.finditer(r"\|\|?|[()\[\]{}]", mask):
        if at.group()[0] == "|":
            found += [at.span()] if depth == 0 else []
        else:
            depth += 1 if at.group() in "([{" else -1
    return found


def _inside(code: str, mask: str) -> tuple[str, str] | None:
    """Return what a random term's own parentheses hold; None if this is no random term."""
    start, stop = len(mask) - len(mask.lstrip()), len(mask.rstrip())
    if not (mask[start:].startswith("(") and mask[:stop].endswith(")")):
        return None
    inner = mask[start + 1 : stop - 1]
    depth = 0
    for mark in inner:
        depth += (mark in "([{") - (mark in ")]}")
        if depth < 0:
            return None
    return (code[start + 1 : stop - 1], inner) if _bars(inner) else None


def _split(code: str, mask: str, mark: str) -> list[tuple[str, str]]:
    cuts = [-1, *(i for i, m in enumerate(mask) if m == mark), len(mask)]
    return [(code[a + 1 : b], mask[a + 1 : b]) for a, b in pairwise(cuts)]


def _random(code: str, mask: str, cite: str) -> list[RandomSpec]:
    """Return the random terms that one pair of parentheses writes: several for (1 | a/b)."""
    here = show(f"({_short(code.strip(), 40)})")
    bars = _bars(mask)
    if len(bars) > 1:
        raise DataError(f"{cite}: more than one | in {here}; write a random term for each, joined by +")
    start, stop = bars[0]
    left, right = code[:start].strip(), code[stop:].strip()
    if not left:
        raise DataError(f"{cite}: nothing before the | in {here}; write 1 for a random intercept")
    if not right:
        raise DataError(f"{cite}: no group after the | in {here}; name a column, as in (1 | patient)")
    intercept, terms = _fragments(left, "formula")
    columns = " + ".join(["1" if intercept else "0", *(":".join(term) for term in terms)])
    if columns == "0":
        raise DataError(f"{cite}: no random effect in {here}; write 1 for a random intercept")
    specs: list[RandomSpec] = []
    group: tuple[str, ...] = ()
    for part, part_mask in _split(code[stop:], mask[stop:], "/"):
        for piece, _ in _split(part, part_mask, ":"):
            name = _name(piece)
            if name is None:
                raise DataError(
                    f"{cite}: the group {show(_short(right, 40))} is an expression; make it a column first "
                    "(a:b and a/b of columns are allowed)"
                )
            if name in group:
                raise DataError(
                    f"{cite}: {show(name)} stands twice in the group {show(_short(right, 40))}; name it once"
                )
            group = (*group, name)
        specs.append(RandomSpec(columns, group, stop - start == 1))
    return specs


def parse_mixed(formula: str) -> MixedFormula:
    """Take a formula in lme4's syntax apart, without evaluating any of it.

    Parameters
    ----------
    formula : str
        `outcome ~ fixed + (columns | group) + ...`. `(t | g)` has a random intercept, `(0 + t | g)` has none,
        `(t || g)` has no correlation, `(1 | a/b)` is `(1 | a) + (1 | a:b)`. Odd names stand in backticks or `Q("...")`.

    Returns
    -------
    MixedFormula
        Nothing in it has been evaluated, and its columns have not been looked up yet.

    Raises
    ------
    DataError
        No `~`, no outcome or one that is an expression, no random term, parentheses that do not match, a group that is
        empty or an expression, a random effect that occurs twice.

    Examples
    --------
    >>> parse_mixed("bsi ~ month * cohort + (month | patient) + (1 | site/therapist)").random[0]
    RandomSpec(columns='1 + month', group=('patient',), correlated=True)
    """
    if not isinstance(formula, str):
        raise DataError(f"formula={show(formula)}: not text; write 'bsi ~ month + (1 + month | patient)'")
    cite = _cite("formula", formula)
    code, mask = _scan(formula, "formula")
    if "~" not in mask:
        raise DataError(f"{cite}: no ~; write outcome ~ terms + (1 | patient)")
    if mask.count("~") > 1:
        raise DataError(f"{cite}: more than one ~; write outcome ~ terms + (1 | patient)")
    tilde = mask.index("~")
    left = code[:tilde].strip()
    if not left:
        raise DataError(f"{cite}: no outcome before the ~; name its column there")
    outcome = _name(left)
    if outcome is None:
        raise DataError(
            f"{cite}: the outcome {show(_short(left, 40))} is an expression; transform it in the frame first, and name "
            "the new column"
        )
    random: list[RandomSpec] = []
    fixed = ""
    for sign, start, stop in _segments(mask, tilde + 1):
        inside = _inside(code[start:stop], mask[start:stop])
        if inside is None:
            if "|" in mask[start:stop]:
                raise DataError(
                    f"{cite}: {show(_short(code[start:stop].strip(), 40))} mixes a | with other terms; random terms "
                    "stand alone in parentheses, joined by +"
                )
            fixed += (f" {sign} " if fixed else "-" if sign == "-" else "") + code[start:stop].strip()
        elif sign == "-":
            raise DataError(f"{cite}: a random term cannot be subtracted; leave it out")
        else:
            random += _random(*inside, cite)
    if not random:
        raise DataError(f"{cite}: no random term; add one such as (1 | patient)")
    once: set[tuple[tuple[str, ...], str]] = set()
    for spec in random:
        for effect in spec.columns.split(" + "):
            key = (tuple(sorted(spec.group)), effect)
            if effect != "0" and key in once:
                what = "intercept" if effect == "1" else f"effect of {effect}"
                raise DataError(
                    f"{cite}: the random {what} of {':'.join(spec.group)} occurs twice; keep one, with 0 + in the other"
                )
            once.add(key)
    return MixedFormula(outcome, fixed or "1", tuple(random), re.sub(r"\s+", " ", formula.strip()))
