"""Log-rank tests as users meet them: one row, a table of what was observed, sentences, and refusals."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from implstats.errors import DataError
from implstats.survival.logrank import logrank
from implstats.tables import read_tables

ROLES: dict[str, Any] = {"duration": "years", "event": "discontinued"}
WEIGHTS = "'logrank', 'wilcoxon', 'tarone-ware', 'fleming-harrington'"
HARRINGTON = "rho=1 looks at early differences, gamma=1 at late ones"


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    n = 80
    support = np.tile([1, 2, 3, 4], n // 4)
    stops = np.ceil(rng.exponential(3 + support, n) * 2) / 2
    end = np.ceil(rng.uniform(1, 10, n) * 2) / 2
    return pd.DataFrame(
        {
            "years": np.minimum(stops, end),
            "discontinued": (stops <= end).astype(int),
            "support": support,
            "era": np.where(rng.random(n) < 0.5, "before", "during"),
            "country": rng.choice(["NL", "UK", "DE"], n),
        }
    )


def test_a_test_is_one_row_with_a_table_beside_it(frame: pd.DataFrame) -> None:
    test = logrank(frame, **ROLES, by="support")
    assert test.tidy().to_dict("records") == [
        {"test": "log-rank test", "statistic": test.statistic, "df": 3, "p_value": test.p_value}
    ]
    table = test.table()
    assert table["group"].tolist() == [1, 2, 3, 4]
    assert table["rows"].tolist() == [20] * 4
    assert table["events"].tolist() == frame.groupby("support")["discontinued"].sum().tolist()
    assert table["observed"].tolist() == table["events"].tolist()
    assert table["expected"].sum() == pytest.approx(table["observed"].sum())
    assert test.glance().to_dict("records") == [{"rows": 80, "events": int(frame["discontinued"].sum())}]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"weights": "wilcoxon"}, "Wilcoxon (Gehan) test"),
        ({"weights": "fleming-harrington", "gamma": 1}, "Fleming-Harrington (rho 0, gamma 1) test"),
        ({"strata": ["country", "era"]}, "log-rank test, stratified by country, era"),
        (
            {"weights": "tarone-ware", "trend": True, "strata": "country"},
            "Tarone-Ware trend test, stratified by country",
        ),
    ],
)
def test_the_name_says_what_was_tested(frame: pd.DataFrame, options: dict[str, Any], name: str) -> None:
    test = logrank(frame, **ROLES, by="support", **options)
    assert test.test == name
    assert test.header()[0].startswith(
        f"{name[0].upper()}{name[1:]}: chi-square {test.statistic:.4g} on {test.df} df, p "
    )


def test_the_header_never_says_that_there_is_no_difference(frame: pd.DataFrame) -> None:
    test = logrank(frame, **ROLES, by="era")
    assert "p < .001" in logrank(pd.concat([frame.assign(era="x", years=0.5), frame]), **ROLES, by="era").header()[0]
    assert test.header()[1] == "every event counts alike; differences that change sign over time cancel"
    assert not [line for line in test.header() if "no effect" in line or "no difference" in line]


def test_a_trend_is_on_one_df_whatever_the_scores_origin_and_unit(frame: pd.DataFrame) -> None:
    one = logrank(frame, **ROLES, by="support", trend=True)
    other = logrank(frame, **ROLES, by="support", trend={1: 10, 2: 12, 3: 14, 4: 16})
    assert one.df == other.df == 1
    assert other.statistic == pytest.approx(one.statistic, rel=1e-10)
    assert (
        "scores: support 1 0, support 2 1, support 3 2, support 4 3; groups with higher ones had fewer events than "
        in (one.header()[2] + " ")
    )
    turned = logrank(frame, **ROLES, by="support", trend={1: 3, 2: 2, 3: 1, 4: 0})
    assert turned.statistic == pytest.approx(one.statistic, rel=1e-10)
    assert "had more events than expected" in turned.header()[2]
    assert logrank(frame, **ROLES, by="support", trend=False).df == 3


def test_strata_that_compare_nothing_are_counted(frame: pd.DataFrame) -> None:
    # One stratum without an event, one with a single group.
    extra = pd.DataFrame(
        {
            "years": [1.0, 2, 3, 4],
            "discontinued": [0, 0, 1, 1],
            "support": 1,
            "era": ["before", "during", "before", "before"],
            "country": ["US", "US", "FR", "FR"],
        }
    )
    plain = logrank(frame, **ROLES, by="era", strata="country")
    more = logrank(pd.concat([frame, extra]), **ROLES, by="era", strata="country")
    assert more.statistic == pytest.approx(plain.statistic, rel=1e-12)
    assert "2 of 5 strata compare nothing: no event, or one group at risk" in more.header()
    assert not [line for line in plain.header() if "compare nothing" in line]


def test_groups_that_never_meet_lower_the_degrees_of_freedom() -> None:
    frame = pd.DataFrame(
        {
            "years": [1.0, 2, 3, 4, 5, 6, 7, 8],
            "discontinued": 1,
            "from": [0.0] * 4 + [4.0] * 4,
            "g": list("ababcdcd"),
        }
    )
    test = logrank(frame, **ROLES, by="g", entry="from")
    assert test.df == 2
    assert "2 df for 4 groups: some were never at risk together with the others" in test.header()


def test_arrays_are_read_only_and_the_result_goes_through_json(frame: pd.DataFrame) -> None:
    test = logrank(frame, **ROLES, by="support", trend={1: 0, 2: 1, 3: 5, 4: 6})
    for result in (test, pickle.loads(pickle.dumps(test))):
        with pytest.raises(ValueError, match="read-only"):
            result.observed[0] = 1
    record = json.loads(json.dumps(test.to_dict(), allow_nan=False))
    tables = read_tables(record)
    assert_frame_equal(tables["tidy"], test.tidy(), check_exact=True)
    assert_frame_equal(tables["table"], test.table(), check_exact=True)


BAD: list[tuple[str, Callable[[pd.DataFrame], Any], str]] = [
    (
        "no groups",
        lambda f: logrank(f, **ROLES, by=None),
        "by=None: no groups are named; name the column with the groups to compare",
    ),
    (
        "one group",
        lambda f: logrank(f.assign(era="before"), **ROLES, by="era"),
        "by='era': one group only ('before'); a test compares two or more",
    ),
    (
        "no events",
        lambda f: logrank(f.assign(discontinued=0), **ROLES, by="era"),
        "event='discontinued': no event in any row; without events nothing can be compared",
    ),
    (
        "all events at one time",
        lambda f: logrank(f.assign(years=4.0, discontinued=1), **ROLES, by="era"),
        "event='discontinued': all events are at one time, of all who were at risk; their order says nothing of groups",
    ),
    (
        "strata that are the groups",
        lambda f: logrank(f.assign(country=f["era"]), **ROLES, by="era", strata="country"),
        "event='discontinued': no event while two groups were at risk and not all of them had it; look at entry= and "
        "strata=",
    ),
    (
        "late weights where all events are first",
        lambda f: logrank(
            f.assign(years=4 + f["discontinued"] * -1.0), **ROLES, by="era", weights="fleming-harrington", gamma=1
        ),
        "event='discontinued': every event has weight 0; choose other weights",
    ),
    (
        "an unknown weight, and powers beside it",
        lambda f: logrank(f, **ROLES, by="era", weights="fh", rho=1),
        f"weights='fh': unknown option; there are {WEIGHTS}\n"
        "rho=1: goes with weights='fleming-harrington'; leave it out, or say so",
    ),
    (
        "no power",
        lambda f: logrank(f, **ROLES, by="era", weights="fleming-harrington"),
        f"weights='fleming-harrington': neither rho= nor gamma= is given; {HARRINGTON}",
    ),
    (
        "a negative power",
        lambda f: logrank(f, **ROLES, by="era", weights="fleming-harrington", rho=-1),
        f"rho=-1: less than 0; {HARRINGTON}",
    ),
    (
        "a power that is text",
        lambda f: logrank(f, **ROLES, by="era", weights="fleming-harrington", rho="1"),
        f"rho='1': not a number; {HARRINGTON}",
    ),
    (
        "a list of scores",
        lambda f: logrank(f, **ROLES, by="support", trend=[0, 1, 2, 3]),
        "trend=[0, 1, 2, 3]: neither True nor a mapping of group to score; write trend={1: 0, 4: 1}",
    ),
    (
        "a group without a score",
        lambda f: logrank(f, **ROLES, by="support", trend={1: 0, 2: 1, 3: 2}),
        "trend={1: 0, 2: 1, 3: 2}: no score for 4; give every group one",
    ),
    (
        "equal scores",
        lambda f: logrank(f, **ROLES, by="era", trend={"before": 1, "during": 1}),
        "trend={'before': 1, 'during': 1}: every group has the same score; a trend needs two that differ",
    ),
    (
        "scores that are none",
        lambda f: logrank(f, **ROLES, by="era", trend={"before": "low", "during": np.inf}),
        "trend['before']='low': not a number\ntrend['during']=inf: not a finite number",
    ),
    (
        "causes",
        lambda f: logrank(f.assign(discontinued=f["support"]), **ROLES, by="era"),
        "event='discontinued': holds 1, 2, 3, 4, and Kaplan-Meier knows one event: to it the other causes would be "
        "censoring; use cumulative_incidence, or make a column of 0 and 1 for the end that counts",
    ),
    (
        "a misspelt stratum",
        lambda f: logrank(f, **ROLES, by="era", strata=["country", "suport"]),
        "strata='suport': no such column; did you mean 'support'?",
    ),
]


@pytest.mark.parametrize(("what", "call", "message"), BAD, ids=[row[0] for row in BAD])
def test_what_cannot_be_answered_is_refused(
    frame: pd.DataFrame, what: str, call: Callable[[pd.DataFrame], Any], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        call(frame)
    assert str(caught.value) == message
