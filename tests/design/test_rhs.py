"""Right-hand sides: what is allowed, what is refused and how, and the columns that come out."""

from __future__ import annotations

import builtins
import pickle
from decimal import Decimal

import numpy as np
import pandas as pd
import patsy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from implstats.design import rhs
from implstats.errors import DataError

ODD = "__import__('os').system('true')"
ALLOWED = "allowed are columns, 0, 1, + - : * / **, and C bs cr cc center standardize log sqrt exp I Q"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = 60
    return pd.DataFrame(
        {
            "age": rng.uniform(20, 60, n),
            "month": np.tile([0, 18, 36], n // 3),
            "sex": rng.choice(["m", "f"], n),
            "cohort": pd.Categorical(rng.choice(["during", "before"], n), categories=["before", "during", "after"]),
            "flag": rng.random(n) < 0.5,
            "site": rng.integers(1, 4, n),
            "odd name": rng.normal(size=n),
            "a.b": rng.normal(size=n),
            "class": rng.normal(size=n),
            "log": rng.normal(size=n),
            "C": rng.normal(size=n),
            "I": rng.normal(size=n),
            "größe": rng.normal(size=n),
            "µg": rng.normal(size=n),
            ODD: rng.normal(size=n),
        },
        index=[f"r{i}" for i in range(n)],
    )


# ---- refusals --------------------------------------------------------------------------------------------------------

REFUSED = {
    "age.__class__": f"'age.__class__' reads an attribute; {ALLOWED}",
    "age + C(sex).data": f"'C(sex).data' reads an attribute; {ALLOWED}",
    "sex[0]": f"'sex[0]' takes a part of something; {ALLOWED}",
    "'abc'": f"\"'abc'\" is a string, which only Q(...) takes; {ALLOWED}",
    "log('age')": f"\"'age'\" is a string, which only Q(...) takes; {ALLOWED}",
    "I(f'{age}')": f"\"f'{{age}}'\" is a string, which only Q(...) takes; {ALLOWED}",
    "I(b'x')": f"\"b'x'\" is a string, which only Q(...) takes; {ALLOWED}",
    "Q('age', 'sex')": "\"Q('age', 'sex')\" is not a quoted name; write Q(\"odd name\")",
    "Q(age)": "'Q(age)' is not a quoted name; write Q(\"odd name\")",
    "I(lambda: age)": f"'lambda: age' defines a function; {ALLOWED}",
    "[x for x in age]": f"'[x for x in age]' is a comprehension; {ALLOWED}",
    "I((x for x in age))": f"'(x for x in age)' is a comprehension; {ALLOWED}",
    "open('x')": f"\"open('x')\" calls open; {ALLOWED}",
    "eval(age)": f"'eval(age)' calls eval; {ALLOWED}",
    "I(age)(3)": f"'I(age)' is not a term; {ALLOWED}",
    "age < 3": f"'age < 3' is a comparison; {ALLOWED}",
    "I((age := 3))": f"'age:=3' is an assignment; {ALLOWED}",
    "I(*age)": f"'*age' unpacks its argument; {ALLOWED}",
    "I(**age)": "'I(**age)' takes one column; write I(column)",
    "bs(age, **sex)": "'bs(age, **sex)' has an unknown option; there are 'df', 'knots', 'degree', 'include_intercept', "
    "'lower_bound', 'upper_bound'",
    "I(age % 2)": f"'age % 2' is not a term; {ALLOWED}",
    "age and sex": f"'age and sex' is not a term; {ALLOWED}",
    "I(age * True)": f"'True' is not a term; {ALLOWED}",
    "I(age * 1j)": f"'1j' is not a term; {ALLOWED}",
    "0x1": f"'0x1' is not a term; {ALLOWED}",
    "age sex": f"'age sex' is not a term; {ALLOWED}",
    "I(1)": f"'I(1)' names no column; {ALLOWED}",
    "C()": "'C()' takes one column; write C(column)",
    "C(age + 1)": "'C(age + 1)' holds more than a column; make a new column first",
    "C(sex, Sum)": "'C(sex, Sum)' takes one column; write C(column)",
    "I(C(sex))": "'C(sex)' stands within something else; C(...) is a term of its own",
    "log(bs(age, df=4))": "'bs(age, df=4)' stands within something else; bs(...) is a term of its own",
    "bs(age, dg=4)": "'bs(age, dg=4)' has an unknown option; there are 'df', 'knots', 'degree', 'include_intercept', "
    "'lower_bound', 'upper_bound'",
    "bs(age, 4, df=5)": "'bs(age, 4, df=5)' gives df twice",
    "bs(age, df='4')": "\"bs(age, df='4')\" needs a whole number from 0 to 100 as df",
    "bs(age, df=10**9)": "'bs(age, df=10 ** 9)' needs a whole number from 0 to 100 as df",
    "bs(age, knots=age)": "'bs(age, knots=age)' needs a list of numbers as knots",
    "standardize(age, center=3)": "'standardize(age, center=3)' needs True or False as center",
    "I(age, 3)": "'I(age, 3)' has too many arguments; I takes a column",
    "a.b": f"'a.b' reads an attribute; {ALLOWED}; there is a column of that name: write Q('a.b'), or name it in a list",
    ODD: f"\"__import__('os').system\" reads an attribute; {ALLOWED}; there is a column of that name: "
    f"write Q({ODD!r}), or name it in a list",
    "agee": "no such column 'agee'; did you mean 'age'?",
    "log(agee)": "no such column 'agee'; did you mean 'age'?",
    "~ age": "a ~ within a right-hand side; leave out what stands before it",
    "age | sex": "a | within a right-hand side; random terms belong in a formula of fit_mixed",
    "": "no term is named; name a column, or leave it out",
    "(age": "unbalanced parentheses; a '(' is not closed",
    "age)": "unbalanced parentheses; a ')' closes nothing",
    "age '": 'a quote or backtick is not closed; write Q("odd name") or `odd name`',
    "`age": 'a quote or backtick is not closed; write Q("odd name") or `odd name`',
    "age \\": 'a quote or backtick is not closed; write Q("odd name") or `odd name`',
    'age + """sex': 'a quote or backtick is not closed; write Q("odd name") or `odd name`',
    'age """a"': 'three quotes in a row; write Q("odd name") or `odd name`',
    "age + 2": f"not a right-hand side (numbers besides '0' and '1' are only allowed with **); {ALLOWED}",
    "age ** 1.5": f"not a right-hand side ('**' requires a positive integer); {ALLOWED}",
    "age:1": f"not a right-hand side (intercept term cannot interact with anything else); {ALLOWED}",
    "-age": f"not a right-hand side (Unary minus can only be applied to 1 or 0); {ALLOWED}",
    "age +": f"not a right-hand side (expected a noun, but instead the expression ended); {ALLOWED}",
    "age # sex": f"not a right-hand side (comments are not allowed); {ALLOWED}",
    "(age + sex + cohort + flag + site + month + log + I(age) + exp(age) + C + I)**11": "too many terms; name plain "
    "columns in a list, or write fewer products",
}


@pytest.mark.parametrize("text", REFUSED)
def test_refused_by_the_allow_list(frame: pd.DataFrame, text: str) -> None:
    shown = text if len(text) <= 60 else text[:57] + "..."
    with pytest.raises(DataError) as caught:
        rhs.needed_columns(text, frame.columns)
    assert str(caught.value) == f"adjust={shown!r}: {REFUSED[text]}"


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
    ("text", "message"),
    [
        ("(" * 500 + "age" + ")" * 500, "more than 25 nested parentheses; make a new column first"),
        ("age+" * 2500, "10000 characters, more than 4000; name plain columns in a list, or make new columns"),
        ("+".join(["age"] * 900), "too many terms; name plain columns in a list, or write fewer products"),
        ("I(" + "-" * 3000 + "age)", None),
        ("I(" + "1+" * 1800 + "age)", None),
        ("-" * 3000 + "1", None),
        ("age" + " ** 2" * 500, None),
        ("9" * 3999, None),
        ("I(age * " + "9" * 3900 + ")", None),
    ],
)
def test_too_deep_or_too_long(frame: pd.DataFrame, text: str, message: str | None) -> None:
    with pytest.raises(DataError) as caught:
        rhs.encode(frame, text)
    if message:
        assert str(caught.value).endswith(f"...': {message}")
    assert len(str(caught.value)) < 400


DATA_FAULTS = [
    ("log(month)", "adjust='log(month)': log needs values above 0, and that of 'month' is not in rows 'r0', 'r3', 'r6' "
     "and 17 more; shift or leave out that column"),
    ("sqrt(month - 1)", "adjust='sqrt(month - 1)': sqrt needs values at least 0, and that of 'month' is not in rows "
     "'r0', 'r3', 'r6' and 17 more; shift or leave out that column"),
    ("I(1 / month)", "adjust='I(1 / month)': not a finite number in rows 'r0', 'r3', 'r6' and 17 more; correct or drop "
     "these rows"),
    ("log(sex)", "adjust='log(sex)': 'sex' holds categories, not numbers; name it without a function"),
    ("standardize(month * 0)", "adjust='standardize(month * 0)': 'month' does not vary; drop it"),
    ("C(site, levels=[1, 2])", "adjust='C(site, levels=[1, 2])': 3 is a value of 'site', but not in levels"),
    ("bs(month)", "adjust='bs(month)': must specify either df or knots; write bs(column, df=4)"),
    ("bs(month, df=1)", "adjust='bs(month, df=1)': df=1 is too small for degree=3 and include_intercept=False; must be "
     ">= 3; write bs(column, df=4)"),
    ("bs(month, df=4, upper_bound=20)", "adjust='bs(month, df=4, upper_bound=20)': outside 0 to 20 in rows 'r2', 'r5', "
     "'r8' and 17 more; a spline says nothing beyond its range"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), DATA_FAULTS)
def test_values_that_a_transform_cannot_take(frame: pd.DataFrame, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        rhs.encode(frame, text)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["f", "f", "f"], "adjust='x': only one level ('f') is left; drop it"),
        (pd.Categorical(["f", "f", "f"], categories=["f", "m"]), "adjust='x': only one level ('f') is left; drop it"),
        ([True, True, True], "adjust='x': only one level (True) is left; drop it"),
        (pd.to_datetime(["2020-01-01"] * 3), "adjust='x': dates, not numbers; make a column of days or years since a "
         "fixed day first"),
        ([Decimal(1), Decimal(2), Decimal(3)], "adjust='x': holds Decimal('1'), which is no text; make the column "
         "numbers with astype(float) or text with astype(str)"),
        (pd.Series([1, "a", "b"], dtype=object), "adjust='x': holds 1, which is no text; make the column numbers with "
         "astype(float) or text with astype(str)"),
        ([1.0, np.inf, 2.0], "adjust='x': infinite in row 1; correct or drop these rows"),
        ([1.0, 2.0, np.nan], "adjust='x': missing in row 2; drop these rows first"),
        (["a", None, "b"], "adjust='x': missing in row 1; drop these rows first"),
    ],
)  # fmt: skip
def test_columns_that_cannot_be_coded(values: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        rhs.encode(pd.DataFrame({"x": values}), ["x"])
    assert str(caught.value) == message


def test_too_many_levels() -> None:
    with pytest.raises(DataError) as caught:
        rhs.encode(pd.DataFrame({"patient": [f"p{i}" for i in range(1200)]}), "patient")
    assert str(caught.value) == (
        "adjust='patient': 1200 levels, more than 1000; make it a random effect, or group levels"
    )


# ---- columns ---------------------------------------------------------------------------------------------------------

NAMES = {
    "age": ["(Intercept)", "age"],
    "age * sex": ["(Intercept)", "age", "sex[m]", "age:sex[m]"],
    "age * sex + site": ["(Intercept)", "age", "sex[m]", "site", "age:sex[m]"],
    "sex + month * cohort": ["(Intercept)", "sex[m]", "month", "cohort[during]", "month:cohort[during]"],
    "0 + sex": ["sex[f]", "sex[m]"],
    "sex - 1": ["sex[f]", "sex[m]"],
    "sex / age": ["(Intercept)", "sex[m]", "sex[f]:age", "sex[m]:age"],
    "(age + site):cohort": [
        "(Intercept)", "age:cohort[before]", "age:cohort[during]", "site:cohort[before]", "site:cohort[during]"
    ],
    "(age + sex + flag) ** 2 - flag": [
        "(Intercept)", "age", "sex[m]", "age:sex[m]", "age:flag[True]", "sex[f]:flag[True]", "sex[m]:flag[True]"
    ],
    "C(site)": ["(Intercept)", "C(site)[2]", "C(site)[3]"],
    "C(site, levels=[3, 2, 1])": ["(Intercept)", "C(site, levels=[3, 2, 1])[2]", "C(site, levels=[3, 2, 1])[1]"],
    'age:Q("odd name") + `a.b`': ["(Intercept)", "a.b", "age:odd name"],
    "class + log + log(age) + C(C)": None,
    "I + I(I)": ["(Intercept)", "I", "I(I)"],
    "größe + µg": ["(Intercept)", "größe", "µg"],
    "age + age + Q('age')": ["(Intercept)", "age"],
    "bs(age, df=3)": ["(Intercept)", "bs(age, df=3)[1]", "bs(age, df=3)[2]", "bs(age, df=3)[3]"],
    "1": ["(Intercept)"],
    "0": [],
}  # fmt: skip


@pytest.mark.parametrize("text", NAMES)
def test_names_as_r_writes_them(frame: pd.DataFrame, text: str) -> None:
    array, names, encoding = rhs.encode(frame, text, intercept=True)
    assert array.shape == (len(frame), len(names))
    assert list(encoding.names) == names
    if NAMES[text] is not None:
        assert names == NAMES[text]
    without, fewer, _ = rhs.encode(frame, text)
    assert fewer == [n for n in names if n != "(Intercept)"]
    np.testing.assert_array_equal(without, array[:, len(names) - len(fewer) :])


SAFE = [
    "age",
    "age * sex",
    "0 + sex + flag",
    "sex * cohort * flag",
    "sex:cohort + age:sex - 1",
    "month * cohort + sex - cohort",
    "C(site) * age",
    "I(age ** 2) + I(-age / 3 + 2 * site - 1)",
    "center(age) + standardize(age) + standardize(site, ddof=1) + log(age) + exp(age / 50) + sqrt(site)",
    "center(log(age)) * sex",
    "bs(age, df=5) + bs(age, 4, degree=2)",
    "bs(age, knots=[30, 45], lower_bound=0, upper_bound=100, include_intercept=True) - 1",
    "Q('odd name') + Q('a.b'):sex",
    "sex / (age + site)",
]


@pytest.mark.parametrize("text", SAFE)
def test_the_columns_are_those_of_patsy(frame: pd.DataFrame, text: str) -> None:
    array, _, encoding = rhs.encode(frame, text, intercept=True)
    plain = frame.rename(columns={"log": "log_", "C": "C_", "I": "I_"})
    plain["cohort"] = plain["cohort"].cat.remove_unused_categories()
    expected = patsy.dmatrix(
        text, plain, eval_env=patsy.EvalEnvironment([{"log": np.log, "exp": np.exp, "sqrt": np.sqrt}])
    )
    ours = array[:, np.lexsort(np.round(array, 8))]
    theirs = np.asarray(expected)[:, np.lexsort(np.round(np.asarray(expected), 8))]
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)
    np.testing.assert_array_equal(encoding.apply(frame), array)
    np.testing.assert_allclose(encoding.apply(frame.iloc[5:9]), array[5:9], rtol=1e-12)


@pytest.mark.parametrize("kind", ["cr", "cc"])
def test_cubic_splines_are_centred(frame: pd.DataFrame, kind: str) -> None:
    array, _, encoding = rhs.encode(frame, f"{kind}(age, df=4)", intercept=True)
    assert np.linalg.matrix_rank(array) == 5
    expected = patsy.dmatrix(f"{kind}(age, df=4, constraints='center')", frame)
    np.testing.assert_allclose(array, np.asarray(expected), atol=1e-12)
    free, _, _ = rhs.encode(frame, f"{kind}(age, df=4, center=False)", intercept=True)
    np.testing.assert_allclose(free, np.asarray(patsy.dmatrix(f"{kind}(age, df=4)", frame)), atol=1e-12)
    np.testing.assert_allclose(encoding.apply(frame.iloc[:3]), array[:3])


def test_any_column_can_be_named_in_a_list(frame: pd.DataFrame) -> None:
    wide = frame.assign(**{"a:b": 1.5}).rename(columns={"site": 7})
    columns = [ODD, 7, "class", "log", "C", "I", "odd name", "größe", "a:b"]
    assert rhs.needed_columns(columns, wide.columns) == columns
    array, names, _ = rhs.encode(wide, columns)
    assert names == [str(c) for c in columns]
    np.testing.assert_array_equal(array, wide[columns].to_numpy(dtype=float))
    assert rhs.encode(wide, f"`{ODD}`")[1] == [ODD]


def test_nothing_named_gives_no_columns(frame: pd.DataFrame) -> None:
    for nothing in (None, [], ()):
        assert rhs.needed_columns(nothing, frame.columns) == []
        array, names, encoding = rhs.encode(frame, nothing)
        assert (array.shape, names) == ((60, 0), [])
        assert encoding.apply(frame).shape == (60, 0)
        assert encoding.average().shape == (0,)
    array, names, _ = rhs.encode(frame, None, intercept=True)
    assert (array.tolist(), names) == ([[1.0]] * 60, ["(Intercept)"])


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (pd.array([1, 2, 4], dtype="Int64"), ["x"]),
        (pd.array([1.5, 2, 4], dtype="Float64"), ["x"]),
        (np.array([1, 2, 4], dtype=np.int8), ["x"]),
        (pd.array([True, False, True], dtype="boolean"), ["x[True]"]),
        (np.array([True, False, True], dtype=object), ["x[True]"]),
        (pd.array(["b", "a", "c"], dtype="string"), ["x[b]", "x[c]"]),
        (pd.Categorical(["b", "a", "c"], categories=["c", "z", "b", "a"]), ["x[b]", "x[a]"]),
        (pd.Categorical([3.0, 1.0, 2.5]), ["x[2.5]", "x[3]"]),
        (pd.Categorical(["T.a", "T.b", "T.a"]), ["x[T.b]"]),
    ],
)
def test_kinds_of_columns(values: object, names: list[str]) -> None:
    frame = pd.DataFrame({"x": values})
    array, found, encoding = rhs.encode(frame, "x")
    assert found == names
    np.testing.assert_array_equal(encoding.apply(frame), array)
    assert array.dtype == np.float64


def test_two_columns_of_one_name_are_refused() -> None:
    frame = pd.DataFrame({"a": [1.0, 2, 3], "b": [2.0, 1, 5], "a:b": [0.0, 1, 0]})
    with pytest.raises(
        DataError, match=r"^adjust: two columns of the design are named 'a:b'; rename one in the frame$"
    ):
        rhs.encode(frame, "`a:b` + a:b")


# ---- new rows --------------------------------------------------------------------------------------------------------


def test_new_rows_are_coded_as_the_fit_was(frame: pd.DataFrame) -> None:
    _, names, encoding = rhs.encode(frame, "center(age) + sex + cohort + C(site)")
    new = pd.DataFrame({"age": [30.0], "sex": ["f"], "cohort": ["during"], "site": [2]}, index=["new"])
    assert dict(zip(names, encoding.apply(new)[0], strict=True)) == pytest.approx(
        {"center(age)": 30 - frame["age"].mean(), "sex[m]": 0, "cohort[during]": 1, "C(site)[2]": 1, "C(site)[3]": 0}
    )
    assert encoding.apply(new.iloc[:0]).shape == (0, 5)
    assert encoding.levels == {"sex": ("f", "m"), "cohort": ("before", "during"), "site": (1.0, 2.0, 3.0)}
    reordered = new.assign(cohort=pd.Categorical(["during"], categories=["during", "other"]))
    np.testing.assert_array_equal(encoding.apply(reordered), encoding.apply(new))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sex": "x"}, "sex='x': a level that the fit has not seen, in row 'new'; it knows 'f', 'm'"),
        ({"cohort": "after"}, "cohort='after': a level that the fit has not seen, in row 'new'; it knows 'before', "
         "'during'"),
        ({"site": 9}, "site=9: a level that the fit has not seen, in row 'new'; it knows 1, 2, 3"),
        ({"sex": None}, "newdata='sex': missing in row 'new'; drop these rows first"),
        ({"age": np.nan}, "newdata='age': missing in row 'new'; drop these rows first"),
        ({"age": "old"}, "newdata='age': not numbers, as in the fit; convert with astype(float)"),
        ({"age": 90.0}, "newdata='bs(age, df=4, lower_bound=0, upper_bound=80)': outside 0 to 80 in row 'new'; a "
         "spline says nothing beyond its range"),
    ],
)  # fmt: skip
def test_new_rows_that_the_fit_does_not_know(frame: pd.DataFrame, change: dict[str, object], message: str) -> None:
    _, _, encoding = rhs.encode(frame, "bs(age, df=4, lower_bound=0, upper_bound=80) + sex + cohort + C(site)")
    row = {"age": 30.0, "sex": "f", "cohort": "during", "site": 2} | change
    with pytest.raises(DataError) as caught:
        encoding.apply(pd.DataFrame(row, index=["new"]))
    assert str(caught.value) == message


def test_new_rows_without_a_column(frame: pd.DataFrame) -> None:
    _, _, encoding = rhs.encode(frame, "age + sex")
    with pytest.raises(DataError) as caught:
        encoding.apply(pd.DataFrame({"Sex": ["f"]}))
    assert (
        str(caught.value) == "newdata: no column 'age'; there are 'Sex'\nnewdata: no column 'sex'; did you mean 'Sex'?"
    )


def test_average_by_hand() -> None:
    # mean age 40; sexes weigh 1/2 each although f is more frequent; sites 1/3 each.
    frame = pd.DataFrame({"age": [20.0, 30, 40, 70], "sex": ["f", "f", "f", "m"], "site": [1, 2, 3, 3]})
    _, names, encoding = rhs.encode(frame, "I(age ** 2) + age * sex + C(site):sex + log(age)", intercept=True)
    average = dict(zip(names, encoding.average(), strict=True))
    assert average["(Intercept)"] == 1
    assert average["I(age ** 2)"] == pytest.approx(1600)
    assert average["age"] == pytest.approx(40)
    assert average["log(age)"] == pytest.approx(np.log(40))
    assert average["sex[m]"] == pytest.approx(1 / 2)
    assert average["age:sex[m]"] == pytest.approx(20)
    assert average["C(site)[2]:sex[f]"] == pytest.approx(1 / 6)
    held = dict(zip(names, encoding.average({"sex": "m", "age": 10}), strict=True))
    assert held["sex[m]"] == 1
    assert held["age:sex[m]"] == pytest.approx(10)
    assert held["C(site)[3]:sex[m]"] == pytest.approx(1 / 3)
    with pytest.raises(DataError, match=r"^fixed='agee': no such column; did you mean 'age'\?$"):
        encoding.average({"agee": 1})
    with pytest.raises(DataError, match=r"^fixed='x': no level of 'sex'; there are 'f', 'm'$"):
        encoding.average({"sex": "x"})


@pytest.mark.parametrize("text", [*SAFE, ["sex", ODD], None])
def test_an_encoding_survives_pickling(frame: pd.DataFrame, text: str | list[str] | None) -> None:
    _, _, encoding = rhs.encode(frame, text, intercept=True)
    again = pickle.loads(pickle.dumps(encoding))
    assert again.names == encoding.names
    np.testing.assert_array_equal(again.apply(frame), encoding.apply(frame))
    np.testing.assert_array_equal(again.average(), encoding.average())
    assert not any(values.flags.writeable for values, _ in again._values.values())


def test_later_changes_of_the_frame_change_nothing(frame: pd.DataFrame) -> None:
    mine = frame.copy()
    array, _, encoding = rhs.encode(mine, "age + center(age)")
    mine["age"] = 0.0
    mine.loc[:, "month"] = 1
    np.testing.assert_allclose(encoding.average(), [frame["age"].mean(), 0], atol=1e-12)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(encoding)).apply(frame), array)


# ---- formulas of mixed models ----------------------------------------------------------------------------------------


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
        ("y ~ (1 | g) - 1", "y", "-1", ["(1 | g)"]),
        ("y ~ 0 + x + (1 | g) + z", "y", "0 + x + z", ["(1 | g)"]),
        ("y ~ x + log(z) +\n   (poly + I(t ** 2) | g)", "y", "x + log(z)", ["(1 + poly + I(t ** 2) | g)"]),
        ("`odd y` ~ `a|b` + (1 | `odd g`)", "odd y", "Q('a|b')", ["(1 | `odd g`)"]),
        ('Q("y~") ~ x + (1 | Q("g/h"))', "y~", "x", ["(1 | `g/h`)"]),
    ],
)
def test_formulas(formula: str, outcome: str, fixed: str, random: list[str]) -> None:
    parsed = rhs.parse_mixed(formula)
    assert (parsed.outcome, parsed.fixed, [r.text for r in parsed.random]) == (outcome, fixed, random)
    assert parsed.text == " ".join(formula.split())


def test_what_a_formula_holds() -> None:
    parsed = rhs.parse_mixed("y ~ (t || batch/cask)")
    assert parsed.random == (
        rhs.RandomSpec("1 + t", ("batch",), False),
        rhs.RandomSpec("1 + t", ("batch", "cask"), False),
    )


BAD_FORMULAS = {
    "y": "no ~; write outcome ~ terms + (1 | patient)",
    "y ~ x ~ (1 | g)": "more than one ~; write outcome ~ terms + (1 | patient)",
    "~ x + (1 | g)": "no outcome before the ~; name its column there",
    "log(y) ~ (1 | g)": "the outcome 'log(y)' is an expression; transform it in the frame first, and name "
    "the new column",
    "y ~ x": "no random term; add one such as (1 | patient)",
    "y ~ ": "no random term; add one such as (1 | patient)",
    "y ~ (x + (1 | g)": "unbalanced parentheses; a '(' is not closed",
    "y ~ x) + (1 | g)": "unbalanced parentheses; a ')' closes nothing",
    "y ~ (1 | )": "no group after the | in '(1 |)'; name a column, as in (1 | patient)",
    "y ~ ( | g)": "nothing before the | in '(| g)'; write 1 for a random intercept",
    "y ~ (0 | g)": "no random effect in '(0 | g)'; write 1 for a random intercept",
    "y ~ (1 | log(g))": "the group 'log(g)' is an expression; make it a column first (a:b and a/b of "
    "columns are allowed)",
    "y ~ (1 | a + b)": "the group 'a + b' is an expression; make it a column first (a:b and a/b of "
    "columns are allowed)",
    "y ~ (1 | a:a)": "'a' stands twice in the group 'a:a'; name it once",
    "y ~ (1 | a | b)": "more than one | in '(1 | a | b)'; write a random term for each, joined by +",
    "y ~ x | g": "'x | g' mixes a | with other terms; random terms stand alone in parentheses, joined by +",
    "y ~ a*(1 | g)": "'a*(1 | g)' mixes a | with other terms; random terms stand alone in parentheses, joined by +",
    "y ~ ((1 | g))": "'((1 | g))' mixes a | with other terms; random terms stand alone in parentheses, joined by +",
    "y ~ x - (1 | g)": "a random term cannot be subtracted; leave it out",
    "y ~ (1 | g) + (t | g)": "the random intercept of g occurs twice; keep one, with 0 + in the other",
    "`y ~ (1 | g)": 'a quote or backtick is not closed; write Q("odd name") or `odd name`',
}


@pytest.mark.parametrize("formula", BAD_FORMULAS)
def test_bad_formulas(formula: str) -> None:
    with pytest.raises(DataError) as caught:
        rhs.parse_mixed(formula)
    assert str(caught.value) == f"formula={formula.strip()!r}: {BAD_FORMULAS[formula]}"


def test_a_formula_is_text() -> None:
    with pytest.raises(DataError, match=r"^formula=3: not text; write 'bsi ~ month \+ \(1 \+ month \| patient\)'$"):
        rhs.parse_mixed(3)  # type: ignore[arg-type]


# ---- nothing is ever run ---------------------------------------------------------------------------------------------

PIECES = [
    "age", "sex", "site", "cohort", "sentinel", "sentinel()", "__import__('os')", ".sentinel", "__class__", ODD,
    "`age`",    "C", "bs", "cr", "log", "I", "Q", "center", "df=4", "knots=[1]", "'age'", '"',
    "'", "`", "(", ")", "[", "]",
    "{", "}",     "+", "-", "*", "**", "/", ":", ":=", "|", "||", "~", ",", ".", "=", "lambda",
    "for", "in", "if", "else",
    "f'{sentinel()}'",     "0", "1", "2", "1e999", "1j", " ", "\n", "\\", "#", ";", "@", "%", "<",
    "\x00", "\u00a0", "ﬁ", "€", "await", "None",
]  # fmt: skip
TEXTS = st.lists(st.sampled_from(PIECES), max_size=14).map("".join) | st.text(max_size=30)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS, tail=TEXTS)
def test_text_is_never_run(frame: pd.DataFrame, text: str, tail: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(builtins, "sentinel", lambda: ran.append("sentinel"), raising=False)
        for name in ("eval", "exec", "open"):
            patch.setattr(builtins, name, lambda *a, **k: ran.append("builtin"))
        for attempt in (lambda: rhs.encode(frame, text), lambda: rhs.parse_mixed(text + "~" + tail + "+(1|g)")):
            try:
                attempt()
            except DataError:
                pass
            except Exception as error:
                ran.append(repr(error))
    assert ran == []
