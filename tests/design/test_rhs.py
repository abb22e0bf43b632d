"""Right-hand sides: the columns that come out, their names, and the coding of new rows."""

from __future__ import annotations

import pickle
import time
from decimal import Decimal

import numpy as np
import pandas as pd
import patsy
import pytest

from implstats.design import rhs
from implstats.errors import DataError

ODD = "__import__('os').system('true')"


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


DATA_FAULTS = [
    ("log(month)", "adjust='log(month)': not a finite number in rows 'r0', 'r3', 'r6' and 17 more; correct or drop "
     "these rows"),
    ("age + age:sqrt(month - 1)", "adjust='age:sqrt(month - 1)': not a finite number in rows 'r0', 'r3', 'r6' and 17 "
     "more; correct or drop these rows"),
    ("I(1 / month)", "adjust='I(1 / month)': not a finite number in rows 'r0', 'r3', 'r6' and 17 more; correct or drop "
     "these rows"),
    ("log(sex)", "adjust='log(sex)': 'sex' holds categories, not numbers; name it without a function"),
    ("I(C(age))", "adjust='I(C(age))': 'age' holds categories, not numbers; name it without a function"),
    ("standardize(month * 0)", "adjust='standardize(month * 0)': not a finite number in rows 'r0', 'r1', 'r2' and 57 "
     "more; correct or drop these rows"),
    ("I((0 - 1) ** 0.5 * age)", "adjust: Cannot cast ufunc 'multiply' output from dtype('complex128') to "
     "dtype('float64') with casting rule 'same_kind'; look at the data and the options, as in bs(age, df=4)"),
    ("I(age * 10 ** 400)", "adjust='I(age * 10 ** 400)': (34, 'Numerical result out of range'); look at the data and "
     "the options, as in bs(age, df=4)"),
    ("bs(month)", "adjust: must specify either df or knots; look at the data and the options, as in "
     "bs(age, df=4)"),
    ("bs(month, df=1)", "adjust: df=1 is too small for degree=3 and include_intercept=False; must be "
     ">= 3; look at the data and the options, as in bs(age, df=4)"),
    ("bs(month, df=4, upper_bound=20)", "adjust='bs(month, df=4, upper_bound=20)': values beyond the spline's range; "
     "look at the data and the options, as in bs(age, df=4)"),
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
        ([1.0, np.inf, 2.0], "adjust='x': not a finite number in row 1; correct or drop these rows"),
        ([1.0, 2.0, np.nan], "adjust='x': missing in row 2; drop these rows first"),
        (["1,5", "2", "-3,25"], "adjust='x': the column holds text such as '1,5' (rows 0, 1, 2); read it with "
         "decimal=',' or mend it"),
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
    'age:Q("odd name") + `a.b`': ["(Intercept)", "a.b", "age:odd name"],
    "class + log + exp(log) + I(C)": ["(Intercept)", "class", "log", "exp(log)", "I(C)"],
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
    "center(age) + standardize(age) + log(age) + exp(age / 50) + sqrt(site)",
    "center(log(age)) * sex",
    "bs(age, df=5) + bs(age, df=4, degree=2)",
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
        ({"age": "old"}, "newdata='age': not a finite number in row 'new'; correct or drop these rows"),
        ({"age": 90.0}, "newdata='bs(age, df=4, lower_bound=0, upper_bound=80)': values beyond the spline's range; "
         "look at the data and the options, as in bs(age, df=4)"),
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


def test_text_on_many_rows_is_quick() -> None:
    rng = np.random.default_rng(1)
    many = pd.DataFrame({"age": rng.normal(size=420_000), "sex": rng.choice(["m", "f"], 420_000)})
    many["site"] = rng.choice([f"site {i}" for i in range(30)], len(many))
    start = time.perf_counter()
    rhs.encode(many, "age * sex + site + standardize(age)")
    assert time.perf_counter() - start < 2.0
    start = time.perf_counter()
    rhs.encode(many, ["age"])
    assert time.perf_counter() - start < 0.2


@pytest.mark.parametrize("text", [*SAFE, ["sex", ODD], None])
def test_an_encoding_survives_pickling(frame: pd.DataFrame, text: str | list[str] | None) -> None:
    _, _, encoding = rhs.encode(frame, text, intercept=True)
    again = pickle.loads(pickle.dumps(encoding))
    assert again.names == encoding.names
    np.testing.assert_array_equal(again.apply(frame), encoding.apply(frame))
    np.testing.assert_array_equal(again.average(), encoding.average())


def test_later_changes_of_the_frame_change_nothing(frame: pd.DataFrame) -> None:
    mine = frame.copy()
    array, _, encoding = rhs.encode(mine, "age + center(age)")
    mine["age"] = 0.0
    mine.loc[:, "month"] = 1
    np.testing.assert_allclose(encoding.average(), [frame["age"].mean(), 0], atol=1e-12)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(encoding)).apply(frame), array)
