"""What a user's text may say: the allow-list on the syntax tree that stands under every formula.

A fragment of a formula may hold columns, numbers, arithmetic and a few functions, and nothing else. A fragment that
passes is written anew, with `x0`, `x1`, ... for its columns, and only what was written anew is ever evaluated.
"""

from __future__ import annotations

import ast
import re
import tokenize
import unicodedata
from collections.abc import Hashable, Iterable, Mapping

from implstats._check import nearest, show
from implstats.errors import DataError

__all__ = ["ALLOWED", "OPTIONS", "UNREADABLE", "AllowList", "RefusedError", "cite", "hide_names", "show_names"]

LONGEST = 4000
# Function -> its options. Beside these there are C(column) and Q("odd name"), which only name a column.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "bs": ("df", "knots", "degree", "include_intercept", "lower_bound", "upper_bound"),
    "cr": ("df", "knots", "lower_bound", "upper_bound"),
    "cc": ("df", "knots", "lower_bound", "upper_bound"),
    "center": (),
    "standardize": (),
    "log": (),
    "sqrt": (),
    "exp": (),
    "I": (),
}
ALLOWED = f"allowed are columns, 0, 1, + - : * / **, and C {' '.join(OPTIONS)} Q"
# What parsing any text at all, however deep or odd, may raise.
UNREADABLE = (
    *(SyntaxError, tokenize.TokenError, ValueError, TypeError, ArithmeticError),
    *(RecursionError, MemoryError, AssertionError, IndexError),
)

_QUOTED = re.compile(r"""\bQ\(\s*(?:'([^'\\\n]*)'|"([^"\\\n]*)")\s*\)|`([^`]*)`""")


def cite(argument: str, text: str) -> str:
    """Return `argument='text'`, as messages begin."""
    return f"{argument}={show(_short(text.strip(), 60))}"


def _short(text: str, most: int = 40) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."


def hide_names(text: str, argument: str) -> tuple[str, dict[str, str]]:
    """Return the text with an identifier for every Q("odd name") and `odd name`, and what each stands for."""
    if len(text) > LONGEST:
        raise DataError(f"{cite(argument, text)}: longer than {LONGEST} characters; name plain columns in a list")
    names: dict[str, str] = {}

    def identifier(found: re.Match[str]) -> str:
        hidden = f"_quoted_{len(names)}_"
        names[hidden] = next(name for name in found.groups() if name is not None)
        return hidden

    hidden = " ".join(_QUOTED.sub(identifier, text).split())
    if "`" in hidden:
        raise DataError(f"{cite(argument, text)}: a backtick is not closed; write `odd name`")
    return hidden, names


def show_names(text: str, names: Mapping[str, str]) -> str:
    """Return the text with its odd names back in place, as Q('odd name')."""
    return re.sub(r"_quoted_\d+_", lambda found: f"Q({names[found[0]]!r})" if found[0] in names else found[0], text)


class RefusedError(Exception):
    """A fragment is not allowed; the message says which part of it."""


class AllowList(ast.NodeTransformer):
    """Write fragments anew, with `x0`, `x1`, ... for columns; a syntax node without a method here is refused.

    Attributes
    ----------
    columns : the columns that there are.
    names : identifier -> the odd name that it stands for.
    variables : (column, whether C(...) makes it a factor) -> `x0`, `x1`, ...
    """

    def __init__(self, columns: Iterable[Hashable], names: Mapping[str, str]) -> None:
        self.columns = list(columns)
        self.names = names
        self.variables: dict[tuple[Hashable, bool], str] = {}
        # Python reads identifiers in Unicode's compatibility form: the micro sign becomes the Greek mu.
        self._known = {unicodedata.normalize("NFKC", c): c for c in self.columns if isinstance(c, str)}

    def rewrite(self, fragment: str) -> str:
        """Return the code to evaluate for a fragment: one variable alone, or an expression of several."""
        if fragment.isidentifier():
            return self.variable(self._column(fragment))
        try:
            tree = self.visit(ast.parse(fragment, mode="eval").body)
            code = ast.unparse(tree)
        except RefusedError as error:
            there = f"; for the column of that name write Q({fragment!r})" if fragment in self.columns else ""
            raise RefusedError(f"{error}{there}") from None
        except UNREADABLE:
            raise RefusedError(f"{self._show(fragment)} is not a term; {ALLOWED}") from None
        if not any(isinstance(node, ast.Name) and node.id not in OPTIONS for node in ast.walk(tree)):
            raise RefusedError(f"{self._show(fragment)} names no column; {ALLOWED}")
        return code

    def variable(self, column: Hashable, *, levels: bool = False) -> str:
        """Return the variable that stands for a column; with `levels`, for its levels, whatever it holds."""
        return self.variables.setdefault((column, levels), f"x{len(self.variables)}")

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Refuse whatever is not visited below."""
        raise RefusedError(f"{self._show(node)} is not allowed; {ALLOWED}")

    def visit_Name(self, node: ast.Name) -> ast.AST:
        """Allow a column."""
        return ast.Name(self.variable(self._column(node.id)), ast.Load())

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """Allow a number, as a float: in whole numbers 9 ** 9 ** 9 would never end."""
        if type(node.value) not in (int, float):
            return self.generic_visit(node)
        return ast.Constant(float(node.value))  # type: ignore[arg-type]

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        """Allow a sign."""
        if not isinstance(node.op, ast.USub | ast.UAdd):
            return self.generic_visit(node)
        return ast.UnaryOp(node.op, self.visit(node.operand))

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """Allow arithmetic."""
        if not isinstance(node.op, ast.Add | ast.Sub | ast.Mult | ast.Div | ast.Pow):
            return self.generic_visit(node)
        return ast.BinOp(self.visit(node.left), node.op, self.visit(node.right))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Allow a function of the list, of one argument, with its own options written out as numbers."""
        function = node.func.id if isinstance(node.func, ast.Name) else ""
        if function not in ("C", *OPTIONS):
            return self.generic_visit(node)
        if len(node.args) != 1:
            raise RefusedError(f"{self._show(node)} takes one column; options need their name, as in bs(age, df=4)")
        known = OPTIONS.get(function, ())
        for option in node.keywords:
            if option.arg not in known:
                raise RefusedError(f"{self._show(node)} has an unknown option{nearest(option.arg, known)}")
            if not _is_written_out(option.value):
                raise RefusedError(f"{self._show(node)}: {option.arg} takes a number, a list of them, True or False")
        if function == "C":
            if not isinstance(node.args[0], ast.Name):
                raise RefusedError(f"{self._show(node)} holds more than a column; make a new column first")
            return ast.Name(self.variable(self._column(node.args[0].id), levels=True), ast.Load())
        # Centred, since the basis as it is sums to one, as the intercept beside it does.
        centred = [ast.keyword("constraints", ast.Constant("center"))] if function in ("cr", "cc") else []
        return ast.Call(ast.Name(function, ast.Load()), [self.visit(node.args[0])], [*node.keywords, *centred])

    def _column(self, name: str) -> Hashable:
        name = self.names.get(name, name)
        if name in self.columns:
            return name
        if unicodedata.normalize("NFKC", name) in self._known:
            return self._known[unicodedata.normalize("NFKC", name)]
        raise RefusedError(f"no such column {show(name)}{nearest(name, self.columns)}")

    def _show(self, part: str | ast.AST) -> str:
        text = part if isinstance(part, str) else ast.unparse(part)
        return show(_short(show_names(text, self.names)))


def _is_written_out(tree: ast.expr) -> bool:
    try:
        value = ast.literal_eval(tree)
    except UNREADABLE:
        return False
    return all(isinstance(v, int | float) for v in (value if isinstance(value, list | tuple) else [value]))
