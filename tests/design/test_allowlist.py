"""What a user's text may say: everything else is refused in words, and nothing else is ever evaluated."""

from __future__ import annotations

import ast
import builtins
import re

import numpy as np
import pandas as pd
import patsy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from implstats.design import allowlist, formula, rhs
from implstats.errors import DataError

ODD = "__import__('os').system('true')"
ALLOWED = "allowed are columns, 0, 1, + - : * / **, and C bs cr cc center standardize log sqrt exp I Q"
NOT = f"is not allowed; {ALLOWED}"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    numbers = ["age", "site", "odd name", "a.b", "log", "C", "µg", "x0", "sentinel", ODD]
    made = pd.DataFrame({name: rng.uniform(1, 9, 40) for name in numbers})
    return made.assign(sex=rng.choice(["m", "f"], 40), cohort=rng.choice(["before", "during"], 40))


REFUSED = {
    "age.__class__": f"'age.__class__' {NOT}",
    "__builtins__": "no such column '__builtins__'; there are 'age', 'site', 'odd name', 'a.b', 'log', 'C', 'µg', "
    "'x0', ...",
    "age + C(sex).data": f"'C(sex).data' {NOT}",
    "sex[0]": f"'sex[0]' {NOT}",
    "'abc'": f"\"'abc'\" {NOT}",
    "log('age')": f"\"'age'\" {NOT}",
    "I(f'{age}')": f"\"f'{{age}}'\" {NOT}",
    "I(b'x')": f"\"b'x'\" {NOT}",
    "Q('age', 'sex')": f"\"Q('age', 'sex')\" {NOT}",
    "Q(age)": f"'Q(age)' {NOT}",
    "I(lambda: age)": f"'lambda: age' {NOT}",
    "[x for x in age]": f"'[x for x in age]' {NOT}",
    "I((x for x in age))": f"'(x for x in age)' {NOT}",
    "open('x')": f"\"open('x')\" {NOT}",
    "eval(age)": f"'eval(age)' {NOT}",
    "I(age)(3)": f"'I(age)(3)' {NOT}",
    "age < 3": f"'age < 3' {NOT}",
    "age | sex": f"'age | sex' {NOT}",
    "I((age := 3))": f"'(age := 3)' {NOT}",
    "I(*age)": f"'*age' {NOT}",
    "I(age if sex else 2)": f"'age if sex else 2' {NOT}",
    "I(age % 2)": f"'age % 2' {NOT}",
    "age and sex": f"'age and sex' {NOT}",
    "I(age * True)": f"'True' {NOT}",
    "I(age * 1j)": f"'1j' {NOT}",
    "age sex": f"'age sex' is not a term; {ALLOWED}",
    "0x1": f"'0x1' names no column; {ALLOWED}",
    "I(1)": f"'I(1)' names no column; {ALLOWED}",
    "I(**age)": "'I(**age)' takes one column; options need their name, as in bs(age, df=4)",
    "C()": "'C()' takes one column; options need their name, as in bs(age, df=4)",
    "log(age, site)": "'log(age, site)' takes one column; options need their name, as in bs(age, df=4)",
    "log(age, out=site)": "'log(age, out=site)' has an unknown option; there are none",
    "bs(age, **sex)": "'bs(age, **sex)' has an unknown option; there are 'df', 'knots', 'degree', 'include_intercept', "
    "'lower_bound', 'upper_bound'",
    "bs(age, deg=4)": "'bs(age, deg=4)' has an unknown option; did you mean 'degree'?",
    "bs(age, df='4')": "\"bs(age, df='4')\": df takes a number, a list of them, True or False",
    "bs(age, df=10**9)": "'bs(age, df=10 ** 9)': df takes a number, a list of them, True or False",
    "bs(age, knots=age)": "'bs(age, knots=age)': knots takes a number, a list of them, True or False",
    "C(age + 1)": "'C(age + 1)' holds more than a column; make a new column first",
    "a.b": f"'a.b' {NOT}; for the column of that name write Q('a.b')",
    ODD: f"\"__import__('os').system('true')\" {NOT}; for the column of that name write Q({ODD!r})",
    "agee": "no such column 'agee'; did you mean 'age'?",
    "log(agee)": "no such column 'agee'; did you mean 'age'?",
    "Q('odd nam')": "no such column 'odd nam'; did you mean 'odd name'?",
    "~ age": "a ~ within a right-hand side; leave out what stands before it",
    "": "no term is named; name a column, or leave it out",
    "`age": "a backtick is not closed; write `odd name`",
    "(age": f"not a right-hand side (Unmatched '('); {ALLOWED}",
    "age)": f"not a right-hand side (missing '(' or extra ')'); {ALLOWED}",
    "age '": f"not a right-hand side (error tokenizing input (maybe an unclosed string?)); {ALLOWED}",
    "age + 2": f"not a right-hand side (numbers besides '0' and '1' are only allowed with **); {ALLOWED}",
    "age ** 1.5": f"not a right-hand side ('**' requires a positive integer); {ALLOWED}",
    "age:1": f"not a right-hand side (intercept term cannot interact with anything else); {ALLOWED}",
    "-age": f"not a right-hand side (Unary minus can only be applied to 1 or 0); {ALLOWED}",
    "age +": f"not a right-hand side (expected a noun, but instead the expression ended); {ALLOWED}",
    "age # sex": f"not a right-hand side (comments are not allowed); {ALLOWED}",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused_by_the_allow_list(frame: pd.DataFrame, text: str) -> None:
    with pytest.raises(DataError) as caught:
        rhs.needed_columns(text, frame.columns)
    assert str(caught.value) == f"adjust={text!r}: {REFUSED[text]}"


def test_all_faults_together(frame: pd.DataFrame) -> None:
    with pytest.raises(DataError) as caught:
        rhs.needed_columns("agee + sexx", frame.columns, "terms")
    assert str(caught.value) == (
        "terms='agee + sexx': no such column 'agee'; did you mean 'age'?\n"
        "terms='agee + sexx': no such column 'sexx'; did you mean 'sex'?"
    )
    with pytest.raises(DataError, match=r"^adjust='agee': no such column; did you mean 'age'\?$"):
        rhs.needed_columns(["sex", "agee"], frame.columns)
    with pytest.raises(DataError, match=r"^adjust=3: neither a list of column names nor a right-hand side$"):
        rhs.needed_columns(3, frame.columns)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "I(" * 1300 + "age" + ")" * 1300,
        "age+" * 2500,
        "+".join(["age"] * 900),
        "I(" + "-" * 3000 + "age)",
        "I(" + "1+" * 1800 + "age)",
        "-" * 3000 + "1",
        "age" + " ** 2" * 500,
        "9" * 3999,
        "I(age * " + "9" * 3900 + ")",
        "I(age * 9 ** 9 ** 9 ** 9)",
    ],
)
def test_too_deep_too_long_or_too_large(frame: pd.DataFrame, text: str) -> None:
    with pytest.raises(DataError) as caught:
        rhs.encode(frame, text)
    assert len(str(caught.value)) < 400


def test_odd_names_are_hidden_and_come_back() -> None:
    text, names = allowlist.hide_names("age:`a|b` +\n Q('c ~ d') + Q(\"it's\")", "adjust")
    assert text == "age:_quoted_0_ + _quoted_1_ + _quoted_2_"
    assert names == {"_quoted_0_": "a|b", "_quoted_1_": "c ~ d", "_quoted_2_": "it's"}
    assert allowlist.show_names(text, names) == "age:Q('a|b') + Q('c ~ d') + Q(\"it's\")"


def test_what_is_evaluated_was_written_anew(frame: pd.DataFrame) -> None:
    allow = allowlist.AllowList(frame.columns, {"_quoted_0_": ODD})
    assert allow.rewrite("_quoted_0_") == "x0"
    assert allow.rewrite("log(_quoted_0_ + 2 * log)") == "log(x0 + 2.0 * x1)"
    assert allow.rewrite("cr(sqrt(x0), df=4)") == "cr(sqrt(x2), df=4, constraints='center')"
    assert allow.rewrite("C(C)") == "x3"
    assert allow.rewrite("I(µg - 1)") == "I(x4 - 1.0)"
    assert allow.variables == {
        (ODD, False): "x0",
        ("log", False): "x1",
        ("x0", False): "x2",
        ("C", True): "x3",
        ("µg", False): "x4",
    }


def test_functions_are_those_of_the_list() -> None:
    assert set(rhs._FUNCTIONS) == set(allowlist.OPTIONS)


PIECES = [
    "age", "sex", "site", "cohort", "sentinel", "sentinel()", "__import__('os')", ".sentinel", "__class__", ODD,
    "`age`", "C", "bs", "cr", "log", "I", "Q", "center", "df=4", "knots=[1]", "'age'", '"', "'", "`", "(", ")", "[",
    "]", "{", "}", "+", "-", "*", "**", "/", ":", ":=", "|", "||", "~", ",", ".", "=", "lambda", "for", "in", "if",
    "else", "f'{sentinel()}'", "0", "1", "2", "1e999", "1j", " ", "\n", "\\", "#", ";", "@", "%", "<", "\x00", "\u00a0",
    "ﬁ", "€", "await", "None",
]  # fmt: skip
CALLS = st.sampled_from(["log(age)", "I(age ** 2)", "center(site)", "cr(age, df=4)", "C(site)", "standardize(log)"])
TEXTS = st.lists(st.sampled_from(PIECES) | CALLS, max_size=14).map("".join) | st.text(max_size=30)
SAFE_NAMES = re.compile(rf"x\d+|_patsy_stobj\d+__\w+__|{'|'.join(allowlist.OPTIONS)}")


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS, tail=TEXTS)
def test_text_is_never_run(frame: pd.DataFrame, text: str, tail: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    evaluated: list[str] = []
    evaluate = patsy.EvalEnvironment.eval

    def recorded(self, code, *given, **options):
        evaluated.append(code)
        return evaluate(self, code, *given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "sentinel", lambda: ran.append("sentinel"), raising=False)
        patch.setattr(builtins, "open", lambda *a, **k: ran.append("open"))
        patch.setattr(patsy.EvalEnvironment, "eval", recorded)
        for attempt in (lambda: rhs.encode(frame, text), lambda: formula.parse_mixed(text + "~" + tail + "+(1|g)")):
            try:
                attempt()
            except DataError:
                pass
            except Exception as error:
                ran.append(repr(error))
    assert ran == []
    for node in (node for code in evaluated for node in ast.walk(ast.parse(code))):
        if isinstance(node, ast.Name):
            assert SAFE_NAMES.fullmatch(node.id)
        elif isinstance(node, ast.Attribute):
            assert node.attr in ("transform", "memorize_chunk")
        elif isinstance(node, ast.Constant):
            assert type(node.value) in (int, float, bool) or node.value == "center"
