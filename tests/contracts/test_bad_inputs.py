"""What implstats says to every bad input: one row a mistake with its whole message, *argument=value: fault; remedy*."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError

ROLES: dict[str, Any] = {"time": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}
PATIENTS = 24
LISTED = "there are 'patient', 'cohort', 'month', 'age', 'sex', 'site', 'pre', 'score', ..."
TRANSFORMS = "allowed are columns, 0, 1, + - : * / **, and C bs cr cc center standardize log sqrt exp I Q"
DIRECTION = "say better='lower' or better='higher' in the call that fitted score, so that improvement has a sign"
WHOLE_TABLE = "rows 0, 1, 2 and 69 more"
OWN_ROLE = "each role has a column of its own"
NO_VISIT = "no visit at this time; there are 0, 18, 36"
IN_PERCENT = "not between 0 and 1; 0.95 gives 95 % intervals"
ALIASED = "a linear combination of the other terms, or empty; drop it, or merge the categories"
MARGIN = "it is the size of a difference in d"
NO_MAPPING = "no outcome with its direction; write outcomes={'bsi': 'lower'}"


def frame(**changed: Any) -> pd.DataFrame:
    """Return 24 patients at months 0, 18 and 36, half of them in either cohort, with columns replaced."""
    rng = np.random.default_rng(11)
    n = PATIENTS
    start, slope = rng.normal(size=n), rng.normal(scale=0.03, size=n)
    made = pd.DataFrame(
        {
            "patient": np.repeat(np.arange(1, n + 1), 3),
            "cohort": np.repeat(["before", "during"], 3 * n // 2),
            "month": np.tile([0, 18, 36], n),
            "age": np.repeat(rng.integers(20, 60, n), 3),
            "sex": np.repeat(np.tile(["f", "m"], n // 2), 3),
            "site": np.repeat(np.tile(["A", "B", "C", "D"], n // 4), 3),
            "pre": np.repeat(rng.normal(2, 1, n).round(2), 3),
        }
    )
    drift = 3 + np.repeat(start, 3) + (np.repeat(slope, 3) - 0.03) * made["month"]
    made["score"] = (drift + rng.normal(scale=0.3, size=3 * n)).round(2)
    made["other"] = (made["score"] + rng.normal(scale=0.3, size=3 * n)).round(2)
    return made.assign(**changed)


def put(column: str, rows: list[int], value: Any) -> pd.DataFrame:
    """Return the frame with a value put into some rows of a column."""
    made = frame()
    kind = object if isinstance(value, str) else float
    kept = made[column].astype(object if isinstance(made[column].iloc[0], str) else kind)
    kept.iloc[rows] = value
    return made.assign(**{column: kept})


def repeated() -> pd.DataFrame:
    """Return the frame with one visit of patient 2 given twice."""
    return pd.concat([frame(), frame().iloc[[4]]], ignore_index=True)


def dated(**changed: Any) -> pd.DataFrame:
    """Return the frame with dates in place of months."""
    days = pd.to_timedelta(frame()["month"] * 30.4375, unit="D")
    return frame(month=pd.Timestamp("2008-01-07") + days, **changed)


def later() -> pd.DataFrame:
    """Return the frame without its visits at month 0."""
    return frame().query("month > 0")


def short() -> pd.DataFrame:
    """Return the frame without the last visit of the second cohort."""
    return frame().query("cohort == 'before' or month < 36")


def comma(numbers: pd.Series) -> pd.Series:
    """Return numbers as a spreadsheet with decimal commas writes them."""
    return numbers.astype(float).astype(str).str.replace(".", ",")


def growth(data: Any = None, **options: Any) -> Any:
    return ist.fit_growth(frame() if data is None else data, **({"outcome": "score"} | ROLES | options))


def study(data: Any = None, **options: Any) -> Any:
    given = {"outcomes": {"score": "lower"}, "at": 36} | ROLES | options
    return ist.compare_cohorts(frame() if data is None else data, **given)


def mixed(formula: Any, data: Any = None, **options: Any) -> Any:
    return ist.fit_mixed(frame() if data is None else data, formula=formula, **options)


@cache
def fitted(**options: Any) -> Any:
    """Return a good fit, to ask bad questions of."""
    return growth(**({"better": "lower"} | options))


@cache
def compared() -> Any:
    return study()


Row = tuple[str, Callable[[], Any], str]

COLUMNS: list[Row] = [
    ("misspelt", lambda: growth(outcome="scor"), "outcome='scor': no such column; did you mean 'score'?"),
    ("capitals", lambda: growth(outcome="SCORE"), "outcome='SCORE': no such column; did you mean 'score'?"),
    ("unlike any", lambda: growth(patient="id"), f"patient='id': no such column; {LISTED}"),
    ("nothing named", lambda: growth(outcome=None), f"outcome=None: no such column; {LISTED}"),
    ("list for one", lambda: growth(outcome=["score"]), "outcome=['score']: no such column; did you mean 'score'?"),
    (
        "several misspelt",
        lambda: growth(time="mnth", cohort="cohrt"),
        "time='mnth': no such column; did you mean 'month'?\ncohort='cohrt': no such column; did you mean 'cohort'?",
    ),
    ("groups", lambda: growth(groups=["site", "ward"]), f"groups='ward': no such column; {LISTED}"),
    ("groups a number", lambda: growth(groups=3), f"groups=3: no such column; {LISTED}"),
    ("adjust", lambda: growth(adjust=["agee"]), "adjust='agee': no such column; did you mean 'age'?"),
    (
        "adjust, as text",
        lambda: growth(adjust="sex + agee"),
        "adjust='sex + agee': no such column 'agee'; did you mean 'age'?",
    ),
    ("baseline column", lambda: growth(baseline="prae"), "baseline='prae': no such column; did you mean 'pre'?"),
    ("outcomes", lambda: study(outcomes={"scor": "lower"}), "outcomes='scor': no such column; did you mean 'score'?"),
    (
        "outcome is time",
        lambda: growth(outcome="month"),
        f"outcome='month': is named as time= too; {OWN_ROLE}",
    ),
    ("cohort is patient", lambda: growth(cohort="patient"), f"cohort='patient': is named as patient= too; {OWN_ROLE}"),
    (
        "outcome of a study is patient",
        lambda: study(outcomes={"patient": "lower"}),
        f"outcome='patient': is named as patient= too; {OWN_ROLE}",
    ),
    ("groups is cohort", lambda: growth(groups="cohort"), f"groups='cohort': is named as cohort= too; {OWN_ROLE}"),
    ("groups is patient", lambda: growth(groups="patient"), f"groups='patient': is named as patient= too; {OWN_ROLE}"),
    ("groups twice", lambda: growth(groups=["site", "site"]), "groups='site': named twice; name it once"),
    (
        "adjust for a role",
        lambda: growth(adjust=["age", "cohort"]),
        "adjust=['age', 'cohort']: 'cohort' has a role of its own; use fit_mixed for other formulas",
    ),
    (
        "outcome named as a column of the answer",
        lambda: growth(frame().rename(columns={"score": "fitted"}), outcome="fitted"),
        "outcome='fitted': augment() and predict() give a column of this name; rename yours",
    ),
]

FRAMES: list[Row] = [
    (
        "records",
        lambda: growth(frame().to_dict("records")),
        "frame: a list is not a pandas DataFrame; give one row per patient and visit",
    ),
    (
        "path",
        lambda: study("visits.csv"),
        "frame: a str is not a pandas DataFrame; give one row per patient and visit",
    ),
    ("empty", lambda: growth(frame().head(0)), "frame: no rows; check the filter or the file that made it"),
    (
        "column twice",
        lambda: growth(pd.concat([frame(), frame()[["score"]]], axis=1)),
        "frame: the column 'score' occurs twice; rename or drop one",
    ),
]

PATIENTS_AND_VISITS: list[Row] = [
    (
        "same visit twice",
        lambda: growth(repeated()),
        "patient='patient': patient 2 has two rows at month=18 (row 72); keep one row per patient and visit",
    ),
    (
        "same visit twice, in a study",
        lambda: study(repeated(), outcomes={"score": "lower", "other": "higher"}),
        "patient='patient': patient 2 has two rows at month=18 (row 72); keep one row per patient and visit",
    ),
    (
        "one visit each",
        lambda: growth(frame().query("month == 0")),
        "patient='patient': every patient has one visit; change takes two visits or more",
    ),
    (
        "missing id",
        lambda: growth(put("patient", [3, 4], np.nan)),
        "patient='patient': missing in rows 3, 4; fill the ids in, or drop these rows yourself",
    ),
    (
        "missing id in a formula",
        lambda: mixed("score ~ month + (1 | patient)", put("patient", [3], np.nan)),
        "patient='patient': missing in row 3; fill the ids in, or drop these rows yourself",
    ),
    (
        "no id at all",
        lambda: growth(frame(patient=np.nan)),
        "patient='patient': every value is missing; look at the file or name another column",
    ),
    (
        "fewer patients than parameters",
        lambda: growth(frame().query("patient in [1, 2, 13, 14]"), adjust=["age", "sex"]),
        "patient='patient': 4 patients for 8 fixed effects; use a simpler shape or fewer covariates",
    ),
    (
        "fewer rows than parameters",
        lambda: mixed("score ~ month * age * sex + (1 | patient)", frame().head(6)),
        "6 rows for 8 fixed effects; use fewer terms",
    ),
    (
        "no patient with three visits",
        lambda: growth(frame().query("month < 36")),
        "random='slope': no patient has three visits; say random='intercept'",
    ),
    (
        "no patient with three visits, once missing outcomes are gone",
        lambda: growth(frame(score=frame()["score"].where(frame()["month"] < 36)), random="uncorrelated"),
        "random='uncorrelated': no patient has three visits; say random='intercept'",
    ),
    (
        "no patient with three visits, in a formula",
        lambda: mixed("score ~ month + (1 + month | patient)", frame().query("month < 36")),
        "formula='score ~ month + (1 + month | patient)': no patient has more rows than its 2 random effects; "
        "write (1 | patient)",
    ),
]

COHORTS: list[Row] = [
    (
        "one cohort",
        lambda: growth(frame().query("cohort == 'before'")),
        "cohort='cohort': one cohort only ('before'); a comparison takes two",
    ),
    (
        "changes within a patient",
        lambda: growth(put("cohort", [4], "during")),
        "cohort='cohort': patient 2 is in more than one cohort (row 4); give each patient one cohort",
    ),
    (
        "no such reference",
        lambda: growth(reference="befor"),
        "reference='befor': no such cohort; did you mean 'before'?",
    ),
    ("no reference", lambda: study(reference=None), "reference=None: no such cohort; there are 'before', 'during'"),
    (
        "reference of another type",
        lambda: growth(frame(cohort=(frame()["cohort"] == "during") * 1), reference="0"),
        "reference='0': no such cohort; did you mean 0?",
    ),
    (
        "all missing",
        lambda: growth(frame(cohort=None)),
        "cohort='cohort': every value is missing; look at the file or name another column",
    ),
    (
        "too many",
        lambda: growth(frame(cohort=frame()["patient"].astype(str)), reference="1"),
        "cohort='cohort': 24 different values; name the column with the cohorts",
    ),
    (
        "no outcome in one of them",
        lambda: growth(frame(score=frame()["score"].where(frame()["cohort"] == "before"))),
        "cohort='cohort': 'during' has no row with all its columns; "
        "leave it out of the frame, or the column that it lacks",
    ),
]

OUTCOMES: list[Row] = [
    (
        "infinite",
        lambda: growth(put("score", [4, 9], np.inf)),
        "outcome='score': infinite in rows 4, 9; mend the value or set it missing",
    ),
    (
        "constant",
        lambda: growth(frame(score=1.5)),
        "outcome='score': constant at 1.5; there is nothing to explain",
    ),
    (
        "constant, in a formula",
        lambda: mixed("score ~ month + (1 | patient)", frame(score=2.0)),
        "outcome='score': constant at 2; there is nothing to explain",
    ),
    (
        "without error",
        lambda: growth(frame(score=2 - 0.5 * frame()["month"])),
        "outcome='score': the model fits it perfectly, so there is no error to judge by; look at how it was made",
    ),
    (
        "without error within patients",
        lambda: growth(frame(score=frame()["patient"] - 0.1 * frame()["month"])),
        "outcome='score': the model fits it perfectly, so there is no error to judge by; look at how it was made",
    ),
    (
        "all missing",
        lambda: study(frame(score=np.nan)),
        "outcome='score': every value is missing; look at the file or name another column",
    ),
    (
        "decimal comma",
        lambda: growth(frame(score=comma(frame()["score"]))),
        f"outcome='score': the column holds text such as '3,42' ({WHOLE_TABLE}); read it with decimal=',' or mend it",
    ),
    (
        "code for missing",
        lambda: growth(put("score", [4], "n/a")),
        "outcome='score': the column holds text such as 'n/a' (row 4); make it numeric, missing as NaN",
    ),
    (
        "dates",
        lambda: growth(frame(score=pd.Timestamp("2008-01-07"))),
        "outcome='score': the column holds dates, not numbers; give a number",
    ),
    (
        "missing where missing is an error",
        lambda: growth(put("score", [4, 9], np.nan), missing="raise"),
        "missing='raise': score missing in rows 4, 9; drop these rows yourself or say missing='drop'",
    ),
    (
        "missing where missing is an error, by column",
        lambda: mixed(
            "score ~ age + (1 | patient)",
            put("score", [4], np.nan).assign(age=put("age", [4, 8], np.nan)["age"]),
            missing="raise",
        ),
        "missing='raise': score missing in row 4; age missing in rows 4, 8; "
        "drop these rows yourself or say missing='drop'",
    ),
    (
        "no row complete",
        lambda: growth(
            frame(
                score=frame()["score"].where(frame()["month"] == 0),
                age=frame()["age"].where(frame()["month"] > 0),
            ),
            adjust=["age"],
        ),
        "outcome='score': no row has all its columns; score missing, age missing",
    ),
]

TIMES: list[Row] = [
    (
        "dates without a unit",
        lambda: growth(dated()),
        "time='month': the column holds dates, not numbers; say time_unit='months' (or days, weeks, years)",
    ),
    (
        "dates as text",
        lambda: growth(frame(month="2008-01-07"), time_unit="months"),
        "time='month': time_unit= goes with dates, and this column is text; convert it with pandas.to_datetime",
    ),
    (
        "unit of numbers",
        lambda: growth(time_unit="months"),
        "time_unit='months': goes with dates, and 'month' holds numbers; leave it out",
    ),
    (
        "no such unit",
        lambda: growth(dated(), time_unit="month"),
        "time_unit='month': unknown option; did you mean 'months'?",
    ),
    (
        "no date at all",
        lambda: growth(frame(month=pd.Series(pd.NaT, index=range(72), dtype="datetime64[ns]")), time_unit="months"),
        "time='month': every value is missing; look at the file or name another column",
    ),
    (
        "text",
        lambda: growth(frame(month="m" + frame()["month"].astype(str))),
        f"time='month': the column holds text such as 'm0' ({WHOLE_TABLE}); make it numeric, missing as NaN",
    ),
    (
        "infinite",
        lambda: growth(put("month", [4], np.inf)),
        "time='month': infinite in row 4; mend the value or set it missing",
    ),
    (
        "missing where missing is an error",
        lambda: growth(put("month", [4], np.nan), missing="raise"),
        "missing='raise': month missing in row 4; drop these rows yourself or say missing='drop'",
    ),
]

BASELINES: list[Row] = [
    (
        "no visit then",
        lambda: growth(baseline=-1),
        "baseline=-1: no visit at this time; the first is at 0; "
        "say baseline=0, or name a column with the value before treatment",
    ),
    (
        "no visit then, and too few",
        lambda: growth(later()),
        "baseline=0: no visit at this time; the first is at 18; "
        "say baseline=18, or name a column with the value before treatment\n"
        "random='slope': no patient has three visits; say random='intercept'",
    ),
    (
        "nothing",
        lambda: growth(baseline=None),
        "baseline=None: neither a time nor a column; say baseline=0, or name a column with the value before treatment",
    ),
    (
        "truth value",
        lambda: growth(baseline=True),
        "baseline=True: neither a time nor a column; say baseline=0, or name a column with the value before treatment",
    ),
    (
        "column varies within a patient",
        lambda: growth(put("pre", [4], 9.0).query("month > 0"), baseline="pre", random="intercept"),
        "baseline='pre': patient 2 has several values; a baseline has one a patient",
    ),
    (
        "column, with visits at 0",
        lambda: growth(baseline="pre"),
        "baseline='pre': there are visits at month=0 already (rows 0, 3, 6 and 21 more); say baseline=0",
    ),
    (
        "column, with visits before 0",
        lambda: growth(frame(month=frame()["month"] - 9), baseline="pre"),
        "baseline='pre': there are visits before month=0, where it would stand (rows 0, 3, 6 and 21 more); "
        "count time from the start of treatment",
    ),
    (
        "column of text",
        lambda: growth(put("pre", [4], "?").query("month > 0"), baseline="pre", random="intercept"),
        "baseline='pre': the column holds text such as '?' (row 4); make it numeric, missing as NaN",
    ),
    (
        "column all missing",
        lambda: growth(frame(pre=np.nan).query("month > 0"), baseline="pre", random="intercept"),
        "baseline='pre': every value is missing; look at the file or name another column",
    ),
    (
        "column missing where missing is an error",
        lambda: growth(
            put("pre", [3, 4, 5], np.nan).query("month > 0"), baseline="pre", random="intercept", missing="raise"
        ),
        "missing='raise': pre missing in row 4; drop these rows yourself or say missing='drop'",
    ),
    (
        "one column for two outcomes",
        lambda: study(later(), outcomes={"score": "lower", "other": "lower"}, baseline="pre"),
        "baseline='pre': one column cannot be the baseline of 2 outcomes; compare them one by one",
    ),
    (
        "cohort without a visit then",
        lambda: growth(frame().query("cohort == 'before' or month > 0")),
        "baseline=0: cohort 'during' has no visit at this time; its change cannot be counted",
    ),
]

SHAPES: list[Row] = [
    ("misspelt", lambda: growth(shape="linaer"), "shape='linaer': unknown option; did you mean 'linear'?"),
    (
        "misspelt, in a study",
        lambda: study(shape="quadratc"),
        "shape='quadratc': unknown option; did you mean 'quadratic'?",
    ),
    (
        "a number",
        lambda: growth(shape=3),
        "shape=3: not a shape; write one of 'auto', 'linear', 'quadratic', 'log', 'visits', Piecewise or NaturalSpline",
    ),
    (
        "log of negative times",
        lambda: growth(frame(month=frame()["month"] - 18), shape="log", baseline=-18),
        "shape='log': there are times below zero; count time from the start of treatment",
    ),
    (
        "parabola through two times",
        lambda: growth(frame().query("month < 36"), shape="quadratic", random="intercept"),
        "shape='quadratic': 2 distinct times carry a straight line at most; say shape='linear'",
    ),
    (
        "knot outside",
        lambda: growth(shape=ist.Piecewise([18, 40])),
        "knots=[40]: not between the first and the last time, 0 and 36",
    ),
    (
        "more knots than times carry",
        lambda: growth(shape=ist.Piecewise([9, 12])),
        "knots=[9, 12]: 3 distinct times carry at most one knot",
    ),
    ("no knot", lambda: ist.Piecewise([]), "knots=[]: no time is named; write knots=[18, 36]"),
    ("knot without a value", lambda: ist.Piecewise([np.nan]), "knots=nan: not a finite number"),
    (
        "spline with more columns than times carry",
        lambda: growth(shape=ist.NaturalSpline(3)),
        "df=3: 3 distinct times carry at most df=2",
    ),
    ("spline of one column", lambda: ist.NaturalSpline(1), "df=1: less than 2; shape='linear' is the spline with df=1"),
    (
        "spline with too few knots",
        lambda: ist.NaturalSpline(3, (0, 36)),
        "knots=[0, 36]: a spline with df=3 has 4 knots",
    ),
    (
        "spline with its inner knot outside",
        lambda: growth(shape=ist.NaturalSpline(2, (0, 200, 300))),
        "knots=[200]: not between the first and the last time, 0 and 36",
    ),
]

COVARIATES: list[Row] = [
    (
        "multiple of another",
        lambda: growth(frame(twice=2 * frame()["age"]), adjust=["age", "twice"]),
        f"'twice': {ALIASED}",
    ),
    (
        "the cohort again",
        lambda: growth(frame(era=(frame()["cohort"] == "during") * 1.0), adjust=["era"]),
        f"'era': {ALIASED}",
    ),
    (
        "empty combination of categories",
        lambda: growth(frame(ward=np.where(frame()["site"].isin(["A", "B"]), "x", "y")), adjust="site * ward"),
        f"'ward[y]', 'site[B]:ward[y]', 'site[C]:ward[y]', 'site[D]:ward[y]': {ALIASED}",
    ),
    (
        "one category",
        lambda: growth(frame(sex="f"), adjust=["sex"]),
        "adjust='sex': only one level ('f') is left; drop it",
    ),
    (
        "infinite",
        lambda: growth(put("age", [4], np.inf), adjust=["age"]),
        "adjust='age': infinite in row 4; mend the value or set it missing",
    ),
    (
        "all missing",
        lambda: growth(frame(age=np.nan), adjust=["age"]),
        "adjust='age': every value is missing; look at the file or name another column",
    ),
    (
        "decimal comma",
        lambda: growth(frame(age=comma(frame()["age"] + 0.5)), adjust=["age"]),
        f"adjust='age': the column holds text such as '32,5' ({WHOLE_TABLE}); read it with decimal=',' or mend it",
    ),
    (
        "neither list nor text",
        lambda: growth(adjust=3),
        "adjust=3: neither a list of column names nor a right-hand side",
    ),
    (
        "numbers as text",
        lambda: growth(frame(age=frame()["age"].astype(str)), adjust=["age"]),
        f"adjust='age': the column holds numbers as text, such as '32' ({WHOLE_TABLE}); "
        "make it numeric, or say C(age) for categories",
    ),
    ("empty text", lambda: growth(adjust=""), "adjust='': no term is named; name a column, or leave it out"),
    (
        "code",
        lambda: growth(adjust="__import__('os').system('true')"),
        "adjust=\"__import__('os').system('true')\": \"__import__('os').system('true')\" is not allowed; " + TRANSFORMS,
    ),
]

CLUSTERS: list[Row] = [
    (
        "one site",
        lambda: growth(frame(site="A"), groups="site"),
        "groups='site': one site only; a variance between sites takes at least two",
    ),
    (
        "as many sites as patients",
        lambda: growth(frame(site=frame()["patient"]), groups="site"),
        "groups='site': as many sites as patients; its variance cannot be told from the patients'",
    ),
    (
        "a site for each cohort",
        lambda: growth(frame(site=frame()["cohort"].map({"before": "A", "during": "B"})), groups="site"),
        "groups='site': one site for each cohort; its variance cannot be told from the cohorts'",
    ),
]

FORMULAS: list[Row] = [
    (
        "no ~",
        lambda: mixed("score month + (1 | patient)"),
        "formula='score month + (1 | patient)': no ~; write outcome ~ terms + (1 | patient)",
    ),
    (
        "no random term",
        lambda: mixed("score ~ month"),
        "formula='score ~ month': no random term; add one such as (1 | patient)",
    ),
    (
        "no outcome",
        lambda: mixed("~ month + (1 | patient)"),
        "formula='~ month + (1 | patient)': no outcome before the ~; name its column there",
    ),
    (
        "open parenthesis",
        lambda: mixed("score ~ month + (1 | patient"),
        "formula='score ~ month + (1 | patient': unbalanced parentheses; close each that is opened",
    ),
    (
        "outcome misspelt",
        lambda: mixed("scor ~ month + (1 | patient)"),
        "formula='scor ~ month + (1 | patient)': the outcome 'scor' is no column; did you mean 'score'?",
    ),
    (
        "column misspelt",
        lambda: mixed("score ~ mnth + (1 | patient)"),
        "formula='score ~ mnth + (1 | patient)': no such column 'mnth'; did you mean 'month'?",
    ),
    (
        "column of a random term misspelt",
        lambda: mixed("score ~ month + (mnth | patient)"),
        "formula='score ~ month + (mnth | patient)': no such column 'mnth'; did you mean 'month'?",
    ),
    (
        "group misspelt",
        lambda: mixed("score ~ month + (1 | patien)"),
        "formula='score ~ month + (1 | patien)': the group 'patien' is no column; did you mean 'patient'?",
    ),
    (
        "forbidden call",
        lambda: mixed("score ~ np.log(age) + (1 | patient)"),
        "formula='score ~ np.log(age) + (1 | patient)': 'np.log(age)' is not allowed; " + TRANSFORMS,
    ),
    (
        "outcome transformed",
        lambda: mixed("log(score) ~ month + (1 | patient)"),
        "formula='log(score) ~ month + (1 | patient)': the outcome 'log(score)' is an expression; "
        "transform it in the frame first, and name the new column",
    ),
    (
        "outcome on both sides",
        lambda: mixed("score ~ month + score + (1 | patient)"),
        "formula='score ~ month + score + (1 | patient)': the outcome 'score' stands on both sides; "
        "leave it out on the right",
    ),
    (
        "term twice",
        lambda: mixed("score ~ month + (1 | patient) + (1 | patient)"),
        "formula='score ~ month + (1 | patient) + (1 | patient)': the random intercept of patient occurs twice; "
        "keep one, with 0 + in the other",
    ),
    (
        "a group for every row",
        lambda: mixed("score ~ month + (1 | row)", frame(row=range(72))),
        "formula='score ~ month + (1 | row)': every row is a row of its own; "
        "its variance cannot be told from the residual",
    ),
    (
        "a group of one level",
        lambda: mixed("score ~ month + (1 | site)", frame(site="A")),
        "formula='score ~ month + (1 | site)': site has one level; a variance between groups takes at least two",
    ),
    (
        "dates",
        lambda: mixed("score ~ month + (1 | patient)", dated()),
        "formula='month': dates, not numbers; make a column of days or years since a fixed day first",
    ),
    ("no text", lambda: mixed(3), "formula=3: not text; write 'bsi ~ month + (1 + month | patient)'"),
]

OPTIONS: list[Row] = [
    ("random", lambda: growth(random="slopes"), "random='slopes': unknown option; did you mean 'slope'?"),
    ("method", lambda: growth(method="rmel"), "method='rmel': unknown option; did you mean 'reml'?"),
    ("method, capitals", lambda: growth(method="REML"), "method='REML': unknown option; did you mean 'reml'?"),
    (
        "method of a formula",
        lambda: mixed("score ~ month + (1 | patient)", method="ols"),
        "method='ols': unknown option; there are 'reml', 'ml'",
    ),
    ("missing", lambda: growth(missing="dropp"), "missing='dropp': unknown option; did you mean 'drop'?"),
    ("better", lambda: growth(better="smaller"), "better='smaller': unknown option; there are 'lower', 'higher'"),
    ("better, capital", lambda: growth(better="Lower"), "better='Lower': unknown option; did you mean 'lower'?"),
    ("model of a study", lambda: study(model="mrmm"), "model='mrmm': unknown option; did you mean 'mmrm'?"),
    ("model no word", lambda: study(model=None), "model=None: unknown option; there are 'auto', 'mmrm', 'growth'"),
    (
        "MMRM with groups",
        lambda: study(model="mmrm", groups=["site", "sex"]),
        "model='mmrm': an MMRM has no random effects, and groups=['site', 'sex'] asks for them; "
        "say model='growth', or leave groups= out",
    ),
    (
        "MMRM with a course",
        lambda: study(model="mmrm", shape=ist.Piecewise([18])),
        "model='mmrm': an MMRM has a mean for every visit, and shape=Piecewise(knots=(18.0,)) asks for a course; "
        "say model='growth', or leave shape= out",
    ),
    (
        "MMRM of irregular times",
        lambda: study(frame(month=frame()["month"] + np.arange(72) / 100 * (frame()["month"] > 0)), model="mmrm"),
        "model='mmrm': 49 distinct times of month are no fixed visits; say model='growth'",
    ),
    (
        "MMRM of dates",
        lambda: study(dated(), model="mmrm", time_unit="months"),
        "model='mmrm': month is read from dates, which are no fixed visits; "
        "put them in windows with visits_from_dates, or say model='growth'",
    ),
    (
        "MMRM of visits that never meet",
        lambda: study(frame()[frame()["month"] != np.where(frame()["patient"] % 2, 18, 36)], model="mmrm"),
        "model='mmrm': its covariance cannot be estimated, as no patient was seen at both month 18 and 36; "
        "say model='growth', or ask fit_mmrm with a simpler covariance=",
    ),
    ("correction", lambda: study(correction="hlom"), "correction='hlom': unknown option; did you mean 'holm'?"),
    ("df of a study", lambda: study(df="kenward"), "df='kenward': unknown option; did you mean 'kenward-roger'?"),
    ("missing of a study", lambda: study(missing="keep"), "missing='keep': unknown option; there are 'drop', 'raise'"),
    ("sd of a study", lambda: study(sd="basline"), "sd='basline': unknown option; did you mean 'baseline'?"),
    (
        "sd",
        lambda: fitted().effect_sizes(sd="pooled"),
        "sd='pooled': unknown option; there are 'baseline', 'reference', 'own', 'model'",
    ),
    (
        "df",
        lambda: fitted().tidy(df="satterthwait"),
        "df='satterthwait': unknown option; did you mean 'satterthwaite'?",
    ),
    (
        "df of means",
        lambda: fitted().means(df="kr"),
        "df='kr': unknown option; there are 'auto', 'satterthwaite', 'kenward-roger', 'normal'",
    ),
    (
        "method of a ratio",
        lambda: fitted().retained_improvement(method="fiellar"),
        "method='fiellar': unknown option; did you mean 'fieller'?",
    ),
    (
        "as_",
        lambda: fitted().retained_improvement(as_="ratio"),
        "as_='ratio': unknown option; there are 'retained', 'times'",
    ),
    (
        "interval",
        lambda: fitted().predict(interval="predict"),
        "interval='predict': unknown option; did you mean 'prediction'?",
    ),
    (
        "new_levels",
        lambda: fitted().predict(new_levels="skip"),
        "new_levels='skip': unknown option; there are 'population', 'error'",
    ),
]

NUMBERS: list[Row] = [
    *[
        (f"level {shown}", lambda level=level: fitted().tidy(level=level), f"level={shown}: {IN_PERCENT}")
        for level, shown in [(0, "0"), (1, "1"), (95, "95"), (-0.5, "-0.5"), (True, "True"), ("95%", "'95%'")]
    ],
    ("level of a study", lambda: study(level=95), f"level=95: {IN_PERCENT}"),
    ("level of a study's table", lambda: compared().tidy(level=0), f"level=0: {IN_PERCENT}"),
    ("level of means", lambda: fitted().means(level=95), f"level=95: {IN_PERCENT}"),
    ("level of predictions", lambda: fitted().predict(level=95), f"level=95: {IN_PERCENT}"),
    ("level of random effects", lambda: fitted().random_effects(level=2), f"level=2: {IN_PERCENT}"),
    ("margin zero", lambda: study(margin=0), f"margin=0: not above 0; {MARGIN}"),
    ("margin negative", lambda: study(margin=-0.2), f"margin=-0.2: not above 0; {MARGIN}"),
    ("margin a word", lambda: study(margin="small"), f"margin='small': not a number; {MARGIN}"),
    ("sd negative", lambda: fitted().effect_sizes(sd=-1), "sd=-1: not above 0"),
    ("draws too few", lambda: compared().overall(draws=5), "draws=5: less than 20; 999 is a good number"),
    (
        "draws a word",
        lambda: compared().overall(draws="many"),
        "draws='many': not a whole number; 999 is a good number",
    ),
    (
        "rng a word",
        lambda: compared().overall(draws=20, rng="seed"),
        "rng='seed': neither a whole number of 0 or more nor a numpy Generator; rng=1 gives the same draws every time",
    ),
    (
        "rng negative",
        lambda: compared().overall(draws=20, rng=-1),
        "rng=-1: neither a whole number of 0 or more nor a numpy Generator; rng=1 gives the same draws every time",
    ),
]

DIRECTIONS: list[Row] = [
    ("effect size without one", lambda: fitted(better=None).effect_sizes(), f"better=None: {DIRECTION}"),
    (
        "improvement retained without one",
        lambda: fitted(better=None).retained_improvement(),
        f"better=None: {DIRECTION}",
    ),
    (
        "wrong in a study",
        lambda: study(outcomes={"score": "down"}),
        "outcomes={'score': 'down'}: not a direction; say 'lower' or 'higher', whichever is better",
    ),
    ("left out of a study", lambda: study(outcomes=["score"]), f"outcomes=['score']: {NO_MAPPING}"),
    ("no outcome", lambda: study(outcomes={}), f"outcomes={{}}: {NO_MAPPING}"),
]

QUESTIONS: list[Row] = [
    ("at no visit", lambda: fitted().means(at=20), f"at=20: {NO_VISIT}"),
    ("at no visit, in a study", lambda: study(at=[18, 99]), f"at=99: {NO_VISIT}"),
    ("at the baseline", lambda: fitted().effect_sizes(at=0), "at=0: this is the baseline; nothing has changed yet"),
    ("at the baseline, in a study", lambda: study(at=[0, 36]), "at=0: this is the baseline; nothing has changed yet"),
    (
        "at the baseline, overall",
        lambda: compared().overall(at=0),
        "at=0: this is the baseline; nothing has changed yet",
    ),
    (
        "beyond a cohort's last visit",
        lambda: growth(short(), better="lower").contrasts(at=36),
        "at=36: cohort 'during' has no visit at this time; its last is at 18",
    ),
    (
        "beyond a cohort's last visit, in a study",
        lambda: study(short()),
        "at=36: cohort 'during' has no visit at this time; its last is at 18",
    ),
    (
        "below zero on a log scale",
        lambda: fitted(shape="log").means(at=-40),
        "at=-40: below zero; shape='log' counts time from the start of treatment",
    ),
    ("no time", lambda: study(at=[]), "at=[]: no time is named; write at=[18, 36]"),
    ("time as text", lambda: study(at="36"), "at='36': not a time or a list of times; write at=[18, 36]"),
    ("time without a value", lambda: fitted(shape="linear").means(at=np.nan), "at=nan: not a finite number"),
    ("time a truth value", lambda: fitted().means(at=True), "at=True: not a number"),
    (
        "slope of categories",
        lambda: fitted().trends(),
        "shape='visits': categories have no slope; ask contrasts(), or fit shape='linear'",
    ),
    (
        "slope at no time",
        lambda: fitted(shape="linear").trends(at="first"),
        "at='first': not a time or a list of times; write at=[18, 36]",
    ),
    (
        "outcome that does not vary at the baseline",
        lambda: growth(
            frame(score=frame()["score"].where(frame()["month"] > 0, 3.0)), better="lower", random="intercept"
        ).effect_sizes(),
        "sd='baseline': the outcome does not vary at the baseline; say sd='model'",
    ),
    (
        "one value at the baseline",
        lambda: growth(
            frame(score=frame()["score"].where((frame()["month"] > 0) | (frame()["patient"] > 11))), better="lower"
        ).effect_sizes(sd="own"),
        "sd='own': cohort 'before' has 1 value at month=0; say sd='model', or give the SD of a norm group",
    ),
    (
        "Kenward-Roger without REML",
        lambda: fitted(method="ml").tidy(df="kenward-roger"),
        "df='kenward-roger': defined for method='reml' only; refit, or use df='satterthwaite'",
    ),
    (
        "unknown term",
        lambda: fitted().contrast({"month[19]": 1}),
        "term='month[19]': not in the model; did you mean 'month[18]'?",
    ),
    ("weight as text", lambda: fitted().contrast({"month[18]": "1"}), "weight='1': not a number"),
    (
        "terms without weights",
        lambda: fitted().contrast(["month[18]"]),
        "weights=['month[18]']: not a mapping from term to number; write {'month[18]': 1}",
    ),
    ("no weight", lambda: fitted().contrast({}), "weights={}: no term is named; write {'month[18]': 1}"),
    (
        "unknown term of a joint test",
        lambda: fitted().joint_test(["month[18]", "mont[36]"]),
        "term='mont[36]': not in the model; did you mean 'month[36]'?",
    ),
    (
        "term in place of a list",
        lambda: fitted().joint_test("month[18]"),
        "terms='month[18]': not a list of terms; write ['month[18]']",
    ),
    ("no term", lambda: fitted().joint_test([]), "terms=[]: no term is named; write ['month[18]']"),
    (
        "second opinion on several groups",
        lambda: mixed("score ~ month + (1 | patient) + (1 | sex)").cross_check(),
        "cross_check: MixedLM takes one grouping factor; this model has several",
    ),
]

NEW_DATA: list[Row] = [
    (
        "missing column",
        lambda: fitted(adjust="age").predict(frame().drop(columns="age")),
        "newdata: no column 'age'; there are 'patient', 'cohort', 'month', 'sex', 'site', 'pre', 'score', 'other'",
    ),
    (
        "missing columns, role and covariate",
        lambda: fitted(adjust="age").predict(frame()[["patient", "month"]]),
        "newdata: no column 'cohort'; there are 'patient', 'month'\n"
        "newdata: no column 'age'; there are 'patient', 'month'",
    ),
    (
        "unknown cohort",
        lambda: fitted().predict(frame(cohort="befor")),
        "cohort='befor': not in the fit; did you mean 'before'?",
    ),
    (
        "unknown level of a covariate",
        lambda: fitted(adjust="sex").predict(frame(sex="x")),
        "sex='x': a level that the fit has not seen, in row 0; it knows 'f', 'm'",
    ),
    (
        "unknown patient",
        lambda: fitted().predict(frame(patient=frame()["patient"] + 23), new_levels="error"),
        "newdata: patient not in the fit in rows 3, 4, 5 and 66 more; "
        "say new_levels='population' for the population's mean",
    ),
    ("no visit then", lambda: fitted().predict(frame(month=20)), f"month=20: {NO_VISIT}"),
    (
        "no visit of that cohort then",
        lambda: growth(short()).predict(frame()),
        "month=36: cohort 'during' has no visit at this time; its last is at 18",
    ),
    (
        "missing time",
        lambda: fitted(shape="linear").predict(put("month", [3], np.nan)),
        "newdata='month': missing in row 3; drop these rows first",
    ),
    (
        "missing covariate",
        lambda: fitted(adjust="age").predict(put("age", [3], np.nan)),
        "newdata='age': missing in row 3; drop these rows first",
    ),
    (
        "dates",
        lambda: growth(dated(), time_unit="months").predict(dated()),
        "newdata='month': dates, not numbers; give months since each patient's first visit",
    ),
    (
        "no frame",
        lambda: fitted().predict([1, 2]),
        "newdata: a list is not a pandas DataFrame; give one row per patient and visit",
    ),
    ("empty", lambda: fitted().predict(frame().head(0)), "newdata: no rows; check the filter or the file that made it"),
]

TOGETHER: list[Row] = [
    (
        "of the data",
        lambda: growth(pd.concat([put("cohort", [4], "during"), frame().iloc[[10]]], ignore_index=True), baseline=5),
        "patient='patient': patient 4 has two rows at month=18 (row 72); keep one row per patient and visit\n"
        "cohort='cohort': patient 2 is in more than one cohort (row 4); give each patient one cohort\n"
        "baseline=5: no visit at this time; the first is at 0; "
        "say baseline=0, or name a column with the value before treatment",
    ),
    (
        "of options and columns",
        lambda: growth(outcome="scor", random="slpoe", method="ols"),
        "random='slpoe': unknown option; did you mean 'slope'?\n"
        "method='ols': unknown option; there are 'reml', 'ml'\n"
        "outcome='scor': no such column; did you mean 'score'?",
    ),
    (
        "of a formula",
        lambda: mixed("scor ~ month + (1 | patien)"),
        "formula='scor ~ month + (1 | patien)': the outcome 'scor' is no column; did you mean 'score'?\n"
        "formula='scor ~ month + (1 | patien)': the group 'patien' is no column; did you mean 'patient'?",
    ),
    (
        "of outcomes",
        lambda: study(outcomes={"scor": "lower", "other": "up"}),
        "outcomes='scor': no such column; did you mean 'score'?\n"
        "outcomes={'other': 'up'}: not a direction; say 'lower' or 'higher', whichever is better",
    ),
    (
        "of a study",
        lambda: study(outcomes={"scor": "lower"}, df="kr", sd="basline", margin=-1, at="36", level=95),
        "outcomes='scor': no such column; did you mean 'score'?\n"
        "df='kr': unknown option; there are 'satterthwaite', 'kenward-roger', 'normal'\n"
        "sd='basline': unknown option; did you mean 'baseline'?\n"
        f"margin=-1: not above 0; {MARGIN}\n"
        "at='36': not a time or a list of times; write at=[18, 36]\n"
        f"level=95: {IN_PERCENT}",
    ),
]

TABLES = {
    "columns": COLUMNS,
    "frames": FRAMES,
    "patients and visits": PATIENTS_AND_VISITS,
    "cohorts": COHORTS,
    "outcomes": OUTCOMES,
    "times": TIMES,
    "baselines": BASELINES,
    "shapes": SHAPES,
    "covariates": COVARIATES,
    "clusters": CLUSTERS,
    "formulas": FORMULAS,
    "options": OPTIONS,
    "numbers": NUMBERS,
    "directions": DIRECTIONS,
    "questions": QUESTIONS,
    "new data": NEW_DATA,
    "together": TOGETHER,
}
ROWS = [(f"{table}: {name}", call, message) for table, rows in TABLES.items() for name, call, message in rows]


@pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
@pytest.mark.parametrize(("call", "message"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_message(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value) == message


def test_every_mistake_has_a_name_of_its_own_and_a_message_that_names_the_argument() -> None:
    names = [row[0] for row in ROWS]
    assert len(set(names)) == len(names)
    assert len(names) >= 30
    for name, _, message in ROWS:
        for line in message.split("\n"):
            assert "=" in line or line.startswith(("frame: ", "newdata: ", "cross_check: ", "'", "6 rows")), name
            assert line.endswith(", ...") or not line.endswith((".", ";", " ")), name


@pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
def test_the_frame_of_this_table_is_good() -> None:
    for made in (growth(), growth(adjust=["age", "sex"], groups="site"), growth(short()), compared()):
        assert len(made.tidy()) > 0
