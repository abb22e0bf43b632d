"""What MMRM and residual structures say to bad input: one row a mistake with its whole message."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import ConvergenceError, DataError

ROLES: dict[str, Any] = {"outcome": "score", "patient": "patient", "cohort": "cohort", "reference": "before"}
LISTED = "there are 'patient', 'cohort', 'month', 'site', 'ratings', 'pre', 'score'"
STRUCTURES = "there are 'unstructured', 'toeplitz', 'ar1', 'compound-symmetry', 'heterogeneous-ar1'"
NOT_HERE = "not known here; write 'iid', 'by(column)' or 'ar1(time | group)'"
NOT_TOLD = "with these visits it cannot be told from the random effects; use fewer random effects, or residual='iid'"
NOT_POSITIVE = "missing, zero or negative in {}; it is 1 / variance of a row's error"
TEXT = "the column holds text such as 'A' (rows 0, 1, 2 and 69 more); make it numeric, missing as NaN"
SIMPLER = "use a simpler covariance=, or leave out visits that few patients have"
MEANS = "too few rows to tell all its variances and correlations, once every cohort has its mean at every visit"


def frame(visits: tuple[float, ...] = (0, 18, 36), n: int = 24, **changed: Any) -> pd.DataFrame:
    """Return patients of two cohorts at fixed visits, with columns replaced."""
    rng, m = np.random.default_rng(11), len(visits)
    made = pd.DataFrame({"patient": np.repeat(np.arange(1, n + 1), m)})
    made["cohort"] = np.repeat(["before", "during"], m * n // 2)
    made["month"] = np.tile(visits, n)
    made["site"] = np.repeat(np.tile(["A", "B", "C", "D"], n // 4), m)
    made["ratings"] = np.tile([1.0, 2.0, 3.0], n * m // 3 + 1)[: n * m]
    made["pre"] = np.repeat(rng.normal(2, 1, n), m)
    made["score"] = 3 + np.repeat(rng.normal(size=n), m) + rng.normal(scale=0.5, size=n * m)
    return made.assign(**changed)


def put(column: str, rows: list[int], value: Any) -> pd.DataFrame:
    made = frame()
    made.loc[rows, column] = value
    return made


def mmrm(data: Any = None, **options: Any) -> Any:
    return ist.fit_mmrm(frame() if data is None else data, **({"visit": "month"} | ROLES | options))


def growth(data: Any = None, **options: Any) -> Any:
    given = {"time": "month", "random": "intercept"} | ROLES | options
    return ist.fit_growth(frame() if data is None else data, **given)


def mixed(data: Any = None, formula: str = "score ~ month + (1 | patient)", **options: Any) -> Any:
    return ist.fit_mixed(frame() if data is None else data, formula=formula, **options)


@cache
def fitted() -> Any:
    return mmrm()


def never_together(of: str = "") -> pd.DataFrame:
    made = frame()
    apart = (made["month"] == np.where(made["patient"] % 2, 18, 36)) & (made["cohort"].eq(of) | (of == ""))
    return made[~apart]


VISITS: dict[str, Callable[[], Any]] = {
    "visit='mnth': no such column; did you mean 'month'?": lambda: mmrm(visit="mnth"),
    f"visit=None: no such column; {LISTED}": lambda: mmrm(visit=None),
    "visit='month': the column holds text such as 'month 0' (rows 0, 1, 2 and 69 more); "
    "make it numeric, missing as NaN": lambda: mmrm(frame(month="month " + frame()["month"].astype(str))),
    "visit='month': the column holds dates, not numbers; put them in windows with visits_from_dates": lambda: mmrm(
        frame(month=pd.Timestamp("2008-01-07") + pd.to_timedelta(frame()["month"], unit="D"))
    ),
    "patient='patient': patient 2 has two rows at month=18 (row 72); keep one row per patient and visit": lambda: mmrm(
        pd.concat([frame(), frame().iloc[[4]]], ignore_index=True)
    ),
    "visit='month': 25 distinct visits; fit_growth takes irregular times": lambda: mmrm(
        frame(tuple(range(25)), 60), covariance="ar1"
    ),
    "patient='patient': 24 patients for 30 fixed effects; use fewer visits or covariates": lambda: mmrm(
        frame(tuple(range(15)))
    ),
    "visit='month': cohort 'during' has no visit at month=0, the first time; leave that time out": lambda: mmrm(
        frame().query("cohort == 'before' or month > 0"), baseline=18
    ),
    "month=20: no visit at this time; there are 0, 18, 36": lambda: fitted().predict(
        frame(month=20), interval="prediction"
    ),
}
COVARIANCES: dict[str, Callable[[], Any]] = {
    "covariance='unstructred': unknown option; did you mean 'unstructured'?": lambda: mmrm(covariance="unstructred"),
    "covariance='AR(1)': unknown option; did you mean 'ar1'?": lambda: mmrm(covariance="AR(1)"),
    f"covariance='us': unknown option; {STRUCTURES}": lambda: mmrm(covariance="us"),
    "by_cohort='yes': not True or False": lambda: mmrm(by_cohort="yes"),
    "by_cohort=1: not True or False": lambda: mmrm(by_cohort=1),
    "cohort='cohort': one cohort only ('before'); a comparison takes two": lambda: mmrm(frame().query("patient < 9")),
    "by_cohort=True: cohort 'during' has no visit at month=36; say by_cohort=False": lambda: mmrm(
        frame().query("cohort == 'before' or month < 36"), by_cohort=True
    ),
    "by_cohort=True: cohort 'during' has one patient, too few for a covariance of its own; "
    "say by_cohort=False": lambda: mmrm(frame().query("patient < 14"), covariance="ar1", by_cohort=True),
    "covariance='unstructured': no patient was seen at both 18 and 36; say covariance='heterogeneous-ar1'": lambda: (
        mmrm(never_together())
    ),
    "covariance='unstructured': no patient of cohort 'during' was seen at both 18 and 36; "
    "say covariance='heterogeneous-ar1'": lambda: mmrm(never_together("during"), by_cohort=True),
    "covariance='unstructured': 3 patients of cohort 'before' are too few for 3 visits; "
    "say covariance='ar1' or 'compound-symmetry'": lambda: mmrm(
        frame().query("patient in (1, 2, 3, 13, 14, 15)"), by_cohort=True
    ),
    f"covariance='unstructured': {MEANS}; leave out month=36, which has 1, or use a simpler covariance": lambda: mmrm(
        frame().query("month < 36 or patient == 1")
    ),
    "outcome='score': no spread at month=0; leave that visit out, or say covariance='compound-symmetry'": lambda: mmrm(
        frame(score=frame()["score"].where(frame()["month"] != 0, 2.0))
    ),
}
RESIDUALS: dict[str, Callable[[], Any]] = {
    "residual='AR(1)': unknown option; did you mean 'ar1'?": lambda: growth(residual="AR(1)"),
    "residual='by(cohort)': unknown option; did you mean 'by_cohort'?": lambda: growth(residual="by(cohort)"),
    f"residual='by_cohort': {NOT_HERE}": lambda: mixed(residual="by_cohort"),
    "residual=3: not text; write 'iid', 'by(column)' or 'ar1(time | group)'": lambda: mixed(residual=3),
    "residual='cohrt': no such column; did you mean 'cohort'?": lambda: mixed(residual="by(cohrt)"),
    "residual='mnth': no such column; did you mean 'month'?\n"
    "residual='patien': no such column; did you mean 'patient'?": lambda: mixed(residual="ar1(mnth | patien)"),
    f"residual='site': {TEXT}": lambda: mixed(residual="ar1(site | patient)"),
    "residual='by_visit': 25 distinct times are no visits; say 'ar1'": lambda: growth(
        frame(tuple(range(25))), shape="linear", residual="by_visit"
    ),
    "residual='by(site)': site has one level; say residual='iid'": lambda: mixed(frame(site="A"), residual="by(site)"),
    "residual='by_visit': month=48 has 2 rows, too few for a variance of its own; say residual='iid'": lambda: growth(
        put("month", [2, 5], 48), residual="by_visit"
    ),
    "residual='ar1(month | site)': two rows of one site at the same month (rows 12, 24, 36 and 57 more); "
    "keep one row per time": lambda: mixed(residual="ar1(month | site)"),
    "residual='ar1(month | row)': no row has two rows; say residual='iid'": lambda: mixed(
        frame(row=np.arange(72)), residual="ar1(month | row)"
    ),
    f"residual='ar1': {NOT_TOLD}": lambda: growth(frame((0, 18)), residual="ar1"),
    "residual='ar1(month | patient)': rater changes along a series (rows 1, 2, 4 and 45 more), "
    "which AR(1) does not take; leave rater out, or say residual='iid'": lambda: mixed(
        frame(rater=np.arange(72) % 5), "score ~ month + (1 | rater)", residual="ar1(month | patient)"
    ),
    "newdata: no residual variance is known for site='Z'; there are 'A', 'B', 'C', 'D'": lambda: mixed(
        residual="by(site)"
    ).predict(frame(site="Z"), interval="prediction"),
    "newdata: no column 'site'; there are 'patient', 'cohort', 'month', 'ratings', 'pre', 'score'": lambda: mixed(
        residual="by(site)"
    ).predict(frame().drop(columns="site"), interval="prediction"),
}
PRECISIONS: dict[str, Callable[[], Any]] = {
    "precision='ratngs': no such column; did you mean 'ratings'?": lambda: growth(precision="ratngs"),
    f"precision=2: no such column; {LISTED}": lambda: growth(precision=2.0),
    f"precision='ratings': {NOT_POSITIVE.format('row 4')}": lambda: growth(
        put("ratings", [4], 0.0), precision="ratings"
    ),
    f"precision='ratings': {NOT_POSITIVE.format('rows 4, 7')}": lambda: mixed(
        put("ratings", [4, 7], -1.0), precision="ratings"
    ),
    f"precision='ratings': {NOT_POSITIVE.format('row 5')}": lambda: growth(
        put("ratings", [5], np.nan), precision="ratings"
    ),
    "precision='ratings': infinite in row 4; mend the value or set it missing": lambda: growth(
        put("ratings", [4], np.inf), precision="ratings"
    ),
    f"precision='site': {TEXT}": lambda: growth(precision="site"),
    "time='month': is named as precision= too; each role has a column of its own": lambda: growth(precision="month"),
    "precision='ratings': the visit made from the baseline column has none; give it as a row": lambda: growth(
        frame().query("month > 0"), baseline="pre", precision="ratings"
    ),
}
TOGETHER: dict[str, Callable[[], Any]] = {
    "better='up': unknown option; there are 'lower', 'higher'\n"
    "covariance='toplitz': unknown option; did you mean 'toeplitz'?\n"
    "method='ols': unknown option; there are 'reml', 'ml'\n"
    "by_cohort='no': not True or False\n"
    "outcome='scor': no such column; did you mean 'score'?\n"
    "visit='mnth': no such column; did you mean 'month'?": lambda: mmrm(
        outcome="scor", visit="mnth", covariance="toplitz", by_cohort="no", method="ols", better="up"
    ),
    "random='slpe': unknown option; did you mean 'slope'?\n"
    "residual='ar2': unknown option; did you mean 'ar1'?\n"
    "time='mnth': no such column; did you mean 'month'?\n"
    "precision='ratngs': no such column; did you mean 'ratings'?": lambda: growth(
        time="mnth", residual="ar2", precision="ratngs", random="slpe"
    ),
    "residual='cohrt': no such column; did you mean 'cohort'?\n"
    "precision='ratngs': no such column; did you mean 'ratings'?\n"
    "formula='scor ~ (1 | patient)': the outcome 'scor' is no column; did you mean 'score'?": lambda: mixed(
        formula="scor ~ (1 | patient)", residual="by(cohrt)", precision="ratngs"
    ),
}
ROWS = VISITS | COVARIANCES | RESIDUALS | PRECISIONS | TOGETHER


@pytest.mark.parametrize("message", ROWS)
def test_message(message: str) -> None:
    with pytest.raises(DataError) as caught:
        ROWS[message]()
    assert str(caught.value) == message


def test_visits_that_say_the_same() -> None:
    twins = frame(
        (0, 18, 36, 37),
        score=lambda f: f.groupby("patient")["score"].transform(lambda s: s.iloc[[0, 1, 2, 2]].to_numpy()),
    )
    with pytest.raises(ConvergenceError) as caught:
        mmrm(twins)
    said, remedy = str(caught.value).split("; ", 1)
    assert said.startswith(
        "score ~ factor(month) * cohort + us(month | patient): the fit did not converge: "
        "the covariance of the visits is singular after "
    )
    assert remedy == SIMPLER
    assert caught.value.record["converged"] is False


def test_a_residual_variance_that_runs_to_zero() -> None:
    exact = frame(score=lambda f: np.where(f["cohort"] == "during", np.round(f["pre"], 3), f["score"]))
    with pytest.raises(ConvergenceError, match="the residuals' parameters end at variance ratios") as caught:
        growth(exact, residual="by_cohort", shape="linear")
    assert caught.value.record["converged"] is False
    assert caught.value.record["message"] == "the residuals' parameters ran to an edge"


def test_the_frame_of_these_tables_is_good() -> None:
    for made in (fitted(), mmrm(by_cohort=True), growth(residual="by_cohort"), growth(precision="ratings"), mixed()):
        assert len(made.tidy()) > 0
