"""Formulas of mixed models in lme4's syntax, taken apart as text: outcome, fixed part, random terms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from implstats._check import show
from implstats.design.allowlist import cite, hide_names, show_names
from implstats.errors import DataError

__all__ = ["MixedFormula", "RandomSpec", "parse_mixed"]


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
        group = ":".join(name if name.isidentifier() else f"`{name}`" for name in self.group)
        return f"({self.columns} {'|' if self.correlated else '||'} {group})"


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
        Its right-hand sides have not been checked, and its columns not been looked up yet.

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
    text, names = hide_names(formula, "formula")
    try:
        outcome, fixed, random = _parse(text, names)
    except DataError as error:
        raise DataError(f"{cite('formula', formula)}: {error}") from None
    return MixedFormula(outcome, fixed, random, " ".join(formula.split()))


def _parse(text: str, names: Mapping[str, str]) -> tuple[str, str, tuple[RandomSpec, ...]]:
    if text.count("~") != 1:
        raise DataError(f"{'more than one' if '~' in text else 'no'} ~; write outcome ~ terms + (1 | patient)")
    if text.count("(") != text.count(")"):
        raise DataError("unbalanced parentheses; close each that is opened")
    left, right = text.split("~")
    if not left.strip():
        raise DataError("no outcome before the ~; name its column there")
    outcome = _name(left, names, "the outcome", "transform it in the frame first, and name the new column")
    fixed = ""
    random: list[RandomSpec] = []
    pieces = _split(right, "+-")
    for sign, piece in [*(p for p in pieces[:-1] if p[1]), pieces[-1]]:
        inside = _split(piece[1:-1], "|") if piece.startswith("(") and piece.endswith(")") else []
        if len(inside) > 1 and sign == "-":
            raise DataError("a random term cannot be subtracted; leave it out")
        if len(inside) > 1:
            random += _random([part for _, part in inside], show(show_names(piece, names)), names)
        elif "|" in piece:
            here = show(show_names(piece, names))
            raise DataError(f"{here} mixes a | with other terms; random terms stand alone in parentheses, joined by +")
        else:
            fixed += f" {sign or '+'} {piece}"
    if not random:
        raise DataError("no random term; add one such as (1 | patient)")
    _once(random)
    return outcome, show_names(fixed.removeprefix(" + ").strip(), names) or "1", tuple(random)


def _split(text: str, marks: str) -> list[tuple[str, str]]:
    """Return the pieces that the marks separate outside parentheses, each after its mark."""
    pieces = [["", ""]]
    depth = 0
    for letter in text:
        depth += (letter == "(") - (letter == ")")
        if letter in marks and depth == 0:
            pieces.append([letter, ""])
        else:
            pieces[-1][1] += letter
    return [(mark, piece.strip()) for mark, piece in pieces]


def _name(piece: str, names: Mapping[str, str], what: str, remedy: str) -> str:
    piece = piece.strip()
    if not piece.isidentifier():
        raise DataError(f"{what} {show(show_names(piece, names))} is an expression; {remedy}")
    return names.get(piece, piece)


def _random(parts: list[str], here: str, names: Mapping[str, str]) -> list[RandomSpec]:
    """Return the random terms that one pair of parentheses writes: several for (1 | a/b)."""
    effects, *between, groups = parts
    if between not in ([], [""]):
        raise DataError(f"more than one | in {here}; write a random term for each, joined by +")
    if not effects:
        raise DataError(f"nothing before the | in {here}; write 1 for a random intercept")
    if not groups:
        raise DataError(f"no group after the | in {here}; name a column, as in (1 | patient)")
    columns = show_names(_with_intercept(effects), names)
    if columns == "0":
        raise DataError(f"no random effect in {here}; write 1 for a random intercept")
    specs: list[RandomSpec] = []
    group: tuple[str, ...] = ()
    for _, part in _split(groups, "/"):
        for _, piece in _split(part, ":"):
            name = _name(piece, names, "the group", "make it a column first (a:b and a/b of columns are allowed)")
            if name in group:
                raise DataError(f"{show(name)} stands twice in a group of {here}; name it once")
            group = (*group, name)
        specs.append(RandomSpec(columns, group, correlated=not between))
    return specs


def _with_intercept(effects: str) -> str:
    """Return the effects with 1 or 0 in front, whichever holds: `t` is `1 + t`, and `t - 1` is `0 + t`."""
    intercept, others = True, ""
    for sign, piece in _split(effects, "+-"):
        if piece in ("0", "1"):
            intercept = (sign == "-") == (piece == "0")
        elif piece:
            others += f" {sign or '+'} {piece}"
    return ("1" if intercept else "0") + others


def _once(random: list[RandomSpec]) -> None:
    seen = set()
    for spec in random:
        for _, effect in _split(spec.columns, "+-"):
            if effect != "0" and (frozenset(spec.group), effect) in seen:
                what = "intercept" if effect == "1" else f"effect of {effect}"
                raise DataError(
                    f"the random {what} of {':'.join(spec.group)} occurs twice; keep one, with 0 + in the other"
                )
            seen.add((frozenset(spec.group), effect))
