"""lme4's syntax: what a formula is taken apart into, and which are refused."""

from __future__ import annotations

import pytest

from implstats.design import formula as formulas
from implstats.errors import DataError


@pytest.mark.parametrize(
    ("formula", "outcome", "fixed", "random"),
    [
        ("y ~ (1|g)", "y", "1", ["(1 | g)"]),
        ("y ~ a * b + (1 + t | g)", "y", "a * b", ["(1 + t | g)"]),
        ("y ~ t + (t | g)", "y", "t", ["(1 + t | g)"]),
        ("y ~ t + (t || g)", "y", "t", ["(1 + t || g)"]),
        ("y ~ t + (0 + t | g) + (1 | g)", "y", "t", ["(0 + t | g)", "(1 | g)"]),
        ("y ~ t + (t - 1 | g)", "y", "t", ["(0 + t | g)"]),
        ("y ~ (1 | a/b/c)", "y", "1", ["(1 | a)", "(1 | a:b)", "(1 | a:b:c)"]),
        ("y ~ (1 | batch:cask)", "y", "1", ["(1 | batch:cask)"]),
        ("y ~ (a + b):c + (1 | g) - a", "y", "(a + b):c - a", ["(1 | g)"]),
        ("y ~ (1 | g) - 1", "y", "- 1", ["(1 | g)"]),
        ("y ~ 0 + x + (1 | g) + z", "y", "0 + x + z", ["(1 | g)"]),
        ("y ~ x + log(z) +\n   (poly + I(t ** 2) | g)", "y", "x + log(z)", ["(1 + poly + I(t ** 2) | g)"]),
        ("`odd y` ~ `a|b` + (1 | `odd g`)", "odd y", "Q('a|b')", ["(1 | `odd g`)"]),
        ('Q("y~") ~ x + (1 | Q("g/h"))', "y~", "x", ["(1 | `g/h`)"]),
    ],
)
def test_formulas(formula: str, outcome: str, fixed: str, random: list[str]) -> None:
    parsed = formulas.parse_mixed(formula)
    assert (parsed.outcome, parsed.fixed, [r.text for r in parsed.random]) == (outcome, fixed, random)
    assert parsed.text == " ".join(formula.split())


def test_what_a_formula_holds() -> None:
    parsed = formulas.parse_mixed("y ~ (t || batch/cask)")
    assert parsed.random == (
        formulas.RandomSpec("1 + t", ("batch",), False),
        formulas.RandomSpec("1 + t", ("batch", "cask"), False),
    )


BAD_FORMULAS = {
    "y": "no ~; write outcome ~ terms + (1 | patient)",
    "y ~ x ~ (1 | g)": "more than one ~; write outcome ~ terms + (1 | patient)",
    "~ x + (1 | g)": "no outcome before the ~; name its column there",
    "log(y) ~ (1 | g)": "the outcome 'log(y)' is an expression; transform it in the frame first, and name "
    "the new column",
    "y ~ x": "no random term; add one such as (1 | patient)",
    "y ~ ": "no random term; add one such as (1 | patient)",
    "y ~ (x + (1 | g)": "unbalanced parentheses; close each that is opened",
    "y ~ x) + (1 | g)": "unbalanced parentheses; close each that is opened",
    "y ~ x) + ((1 | g)": "'x) + ((1 | g)' mixes a | with other terms; random terms stand alone in parentheses, "
    "joined by +",
    "y ~ (1 | )": "no group after the | in '(1 | )'; name a column, as in (1 | patient)",
    "y ~ ( | g)": "nothing before the | in '( | g)'; write 1 for a random intercept",
    "y ~ (0 | g)": "no random effect in '(0 | g)'; write 1 for a random intercept",
    "y ~ (1 | log(g))": "the group 'log(g)' is an expression; make it a column first (a:b and a/b of "
    "columns are allowed)",
    "y ~ (1 | a + b)": "the group 'a + b' is an expression; make it a column first (a:b and a/b of "
    "columns are allowed)",
    "y ~ (1 | a:a)": "'a' stands twice in a group of '(1 | a:a)'; name it once",
    "y ~ (1 | a | b)": "more than one | in '(1 | a | b)'; write a random term for each, joined by +",
    "y ~ x | g": "'x | g' mixes a | with other terms; random terms stand alone in parentheses, joined by +",
    "y ~ a*(1 | g)": "'a*(1 | g)' mixes a | with other terms; random terms stand alone in parentheses, joined by +",
    "y ~ ((1 | g))": "'((1 | g))' mixes a | with other terms; random terms stand alone in parentheses, joined by +",
    "y ~ x - (1 | g)": "a random term cannot be subtracted; leave it out",
    "y ~ (1 | g) + (t | g)": "the random intercept of g occurs twice; keep one, with 0 + in the other",
    "`y ~ (1 | g)": "a backtick is not closed; write `odd name`",
}


@pytest.mark.parametrize("formula", BAD_FORMULAS)
def test_bad_formulas(formula: str) -> None:
    with pytest.raises(DataError) as caught:
        formulas.parse_mixed(formula)
    assert str(caught.value) == f"formula={formula.strip()!r}: {BAD_FORMULAS[formula]}"


def test_a_formula_is_text() -> None:
    with pytest.raises(DataError, match=r"^formula=3: not text; write 'bsi ~ month \+ \(1 \+ month \| patient\)'$"):
        formulas.parse_mixed(3)  # type: ignore[arg-type]
