"""The edge of what data can answer, for every function of survival: one exact message each, or an honest answer."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import BoundaryWarning, ConvergenceError, DataError

STATUS = ["stopped", "active", "merged", "active", "stopped", "active", "stopped", "merged"]


def programmes(**changed: Any) -> pd.DataFrame:
    """Return eight programmes with every role, columns replaced."""
    made: dict[str, Any] = {
        "years": [3.0, 2.0, 5.0, 4.0, 1.0, 6.0, 7.0, 2.5],
        "period": [3, 2, 5, 4, 1, 6, 7, 3],
        "stopped": [1, 0, 1, 0, 1, 0, 1, 1],
        "status": STATUS,
        "support": [1.0, 2, 3, 1, 2, 5, 4, 2],
        "era": ["before", "before", "during", "during", "before", "during", "before", "during"],
        "country": ["NL", "NL", "NL", "NL", "UK", "UK", "UK", "UK"],
        "id": list("abcdefgh"),
        "since": 0.0,
        "copies": 1.0,
    }
    return pd.DataFrame(made | changed)


# Every function with the roles that it has ----------------------------------------------------------------------------

ONE = {"duration": "years", "event": "stopped"}
CAUSES = {"duration": "years", "event": "status", "censored": "active"}
TERMS = {"terms": ["support"]}
LATE, COPIES, WITHIN = {"entry": "since"}, {"weights": "copies"}, {"strata": "country"}
FUNCTIONS: dict[str, tuple[Callable[..., Any], dict[str, Any], dict[str, Any]]] = {
    "survival_curves": (ist.survival_curves, ONE | {"by": "era"}, LATE | COPIES),
    "rmst": (ist.rmst, ONE | {"by": "era"}, LATE | COPIES),
    "logrank": (ist.logrank, ONE | {"by": "era"}, LATE | WITHIN),
    "fit_cox": (ist.fit_cox, ONE | TERMS, LATE | COPIES | WITHIN | {"id": "id"}),
    "fit_cox Breslow": (ist.fit_cox, ONE | TERMS | {"ties": "breslow"}, LATE | COPIES | WITHIN | {"id": "id"}),
    "fit_cox exact": (ist.fit_cox, ONE | TERMS | {"ties": "exact"}, LATE | WITHIN | {"id": "id"}),
    "fit_cox Firth": (ist.fit_cox, ONE | TERMS | {"penalty": "firth"}, LATE | COPIES | WITHIN | {"id": "id"}),
    "fit_cox frailty": (ist.fit_cox, ONE | TERMS | {"frailty": "country"}, LATE | {"id": "id"}),
    "fit_cox cause": (ist.fit_cox, CAUSES | TERMS | {"cause": "stopped"}, LATE | COPIES | WITHIN | {"id": "id"}),
    "fit_discrete_hazard": (
        ist.fit_discrete_hazard,
        {"duration": "period", "event": "stopped", "baseline": "polynomial", "degree": 0} | TERMS,
        LATE | COPIES | {"id": "id"},
    ),
    "fit_parametric": (ist.fit_parametric, ONE | TERMS, LATE | COPIES | {"id": "id"}),
    "cumulative_incidence": (ist.cumulative_incidence, CAUSES | {"by": "era"}, LATE | COPIES),
    "gray_test": (ist.gray_test, CAUSES | {"by": "era"}, WITHIN),
    "fit_fine_gray": (ist.fit_fine_gray, CAUSES | TERMS | {"cause": "stopped"}, {}),
}
EVERY = tuple(FUNCTIONS)
COX = tuple(name for name in EVERY if name.startswith("fit_cox"))
MODELS = tuple(name for name in EVERY if name.startswith("fit_"))
OF_CAUSES = ("fit_cox cause", "cumulative_incidence", "gray_test", "fit_fine_gray")
TESTS = ("logrank", "gray_test")


def with_role(*roles: str) -> tuple[str, ...]:
    """Return the functions that have these roles."""
    return tuple(name for name, (_, _, options) in FUNCTIONS.items() if set(roles) <= set(options))


def answer(name: str, frame: pd.DataFrame, *roles: str, **changed: Any) -> Any:
    """Return what a function answers, asked with some of its further roles."""
    function, always, options = FUNCTIONS[name]
    return function(frame, **always | {role: options[role] for role in roles} | changed)


def answer_or_reason(name: str, frame: pd.DataFrame, *roles: str, **changed: Any) -> Any:
    """Return what a function answers, or the error that says why it does not."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BoundaryWarning)
            return answer(name, frame, *roles, **changed)
    except (DataError, ConvergenceError) as error:
        return error


# One exact message each -----------------------------------------------------------------------------------------------

Refused = tuple[str, pd.DataFrame, tuple[str, ...], dict[str, Any], Mapping[tuple[str, ...], str]]

HAZARD, COMPARED, MODELLED = (
    f"no event in any row; without events {what}"
    for what in ("there is no hazard to compare", "nothing can be compared", "there is nothing to model")
)
SAME = "'support': the same for everybody at risk at every event, or a linear combination of the other terms"
ALIASED = "'twice': the same for everybody at risk at every event, or a linear combination of the other terms"
ALIAS: dict[tuple[str, ...], str] = {
    (*COX, "fit_fine_gray"): "{}: the same for everybody at risk at every event, or a linear combination of the other "
    "terms; drop it, or merge categories",
    ("fit_discrete_hazard",): "{}: a linear combination of the other terms and the baseline, or empty; drop it, or "
    "merge the categories",
    ("fit_parametric",): "{}: a linear combination of the other terms, or empty; drop it, or merge the categories",
}
TOGETHER = programmes(years=3.0, period=3, stopped=1, status=["stopped"] * 7 + ["active"])
OVERLAP = programmes(id=list("aabcdefg"), since=[0, 1, 0, 0, 0, 0, 0, 0.0])
SINGLE_COX = tuple(name for name in COX if name not in ("fit_cox frailty", "fit_cox cause"))
REFUSED: list[Refused] = [
    (
        "no events",
        programmes(stopped=0, status="active"),
        (),
        {},
        {
            tuple(n for n in COX if n != "fit_cox cause"): f"event='stopped': {HAZARD}",
            ("fit_cox cause",): f"event='status': {HAZARD}",
            ("fit_discrete_hazard", "fit_parametric"): f"event='stopped': {MODELLED}",
            ("logrank",): f"event='stopped': {COMPARED}",
            ("gray_test", "fit_fine_gray"): f"event='status': {COMPARED}",
            ("rmst",): "event='stopped': no event up to 6, so every mean is that time and nothing can be compared",
        },
    ),
    (
        "all events at one time",
        TOGETHER,
        (),
        {},
        {
            tuple(n for n in COX if n != "fit_cox cause"): "event='stopped': all 8 events are at 3, of all who were at "
            "risk; nobody is left to compare them with",
            ("logrank",): "event='stopped': all events are at one time, of all who were at risk; their order says "
            "nothing of groups",
            ("fit_parametric",): "event='stopped': all 8 events are at 3, the last time of all rows; how far times "
            "spread cannot be told",
        },
    ),
    (
        "one group",
        programmes(era="before"),
        (),
        {},
        {TESTS: "by='era': one group only ('before'); a test compares two or more"},
    ),
    (
        "one level",
        programmes(era="before"),
        (),
        {"terms": ["era"]},
        {MODELS: "terms='era': only one level ('before') is left; drop it"},
    ),
    (
        "a constant",
        programmes(support=4.0),
        (),
        {},
        {names: said.format("'support'") for names, said in ALIAS.items()},
    ),
    (
        "aliased columns",
        programmes(twice=[2.0, 4, 6, 2, 4, 10, 8, 4]),
        (),
        {"terms": ["support", "twice"]},
        {names: said.format("'twice'") for names, said in ALIAS.items()},
    ),
    (
        "a risk set of one",
        programmes().iloc[[1, 5]].assign(stopped=[0, 1], status=["active", "stopped"]),
        (),
        {},
        {
            (
                *SINGLE_COX,
                "fit_cox frailty",
            ): "event='stopped': the only event is at 6, of all who were at risk; nobody is left to compare them with",
            ("fit_cox cause",): "event='status': the only event is at 6, of all who were at risk; nobody is left to "
            "compare them with",
            ("fit_fine_gray",): f"{SAME}; drop it, or merge categories",
            ("fit_parametric",): "event='stopped': the only event is at 6, the last time of all rows; how far times "
            "spread cannot be told",
            ("logrank",): "event='stopped': all events are at one time, of all who were at risk; their order says "
            "nothing of groups",
            ("gray_test",): "cause='stopped': never were two groups at risk at one of its events and anybody left; "
            "leave it out, or look at by= and strata=",
            ("rmst",): "event='stopped': no event up to 2, so every mean is that time and nothing can be compared",
        },
    ),
    (
        "entry not before exit",
        programmes(since=[3.0, 0, 0, 0, 0, 0, 0, 0]),
        ("entry",),
        {},
        {
            tuple(
                n for n in with_role("entry") if n != "fit_discrete_hazard"
            ): "entry='since': not before years in row 0; a spell ends after it starts",
            ("fit_discrete_hazard",): "entry='since': not before period in row 0; a spell ends after it starts",
        },
    ),
    (
        "negative entry",
        programmes(since=[-1.0, 0, 0, 0, 0, 0, 0, 0]),
        ("entry",),
        {},
        {with_role("entry"): "entry='since': negative in row 0; count time from the start"},
    ),
    (
        "negative times",
        programmes(years=[-1.0, 2, 5, 4, 1, 6, 7, 2.5]),
        (),
        {"duration": "years"},
        {EVERY: "duration='years': negative in row 0; count time from the start"},
    ),
    (
        "times of zero",
        programmes(years=[0.0, 2, 5, 4, 1, 6, 7, 2.5]),
        (),
        {"duration": "years"},
        {EVERY: "duration='years': zero in row 0; who never started was never at risk: count them apart"},
    ),
    (
        "every time missing",
        programmes(years=np.nan),
        (),
        {"duration": "years"},
        {EVERY: "duration='years': every value is missing; look at the file or name another column"},
    ),
    (
        "missing times, to be complained of",
        programmes(years=[np.nan, 2, 5, 4, 1, 6, 7, 2.5]),
        (),
        {"duration": "years", "missing": "raise"},
        {EVERY: "missing='raise': years missing in row 0; drop these rows yourself or say missing='drop'"},
    ),
    (
        "an unknown option",
        programmes(),
        (),
        {"missing": "dorp"},
        {EVERY: "missing='dorp': unknown option; did you mean 'drop'?"},
    ),
    (
        "an unknown column",
        programmes(),
        (),
        {"duration": "yaers"},
        {EVERY: "duration='yaers': no such column; did you mean 'years'?"},
    ),
    (
        "labels without censored=",
        programmes(),
        (),
        {"event": "status", "censored": None},
        {
            ("survival_curves", "rmst", "logrank"): "event='status': holds 'active', 'merged', 'stopped', and "
            "Kaplan-Meier knows one event: to it the other causes would be censoring; use cumulative_incidence, or "
            "make a column of 0 and 1 for the end that counts",
            (*COX, "fit_discrete_hazard", "fit_parametric"): "event='status': holds 'active' (rows 1, 3, 5), neither 0 "
            "nor 1; with causes, say censored=, the value that stands for no event",
            ("cumulative_incidence", "gray_test", "fit_fine_gray"): "censored=None: what stands for no event in "
            "'status' is not named; name that value",
        },
    ),
    (
        "nobody has the label of no event",
        programmes(),
        (),
        {"event": "status", "censored": "running"},
        {
            EVERY: "censored='running': no row of status has it; there are 'active', 'merged', 'stopped'; if nobody is "
            "censored, make the column a pandas Categorical that has this level too"
        },
    ),
    (
        "a slip in the label of no event",
        programmes(),
        (),
        {"event": "status", "censored": "activ"},
        {EVERY: "censored='activ': no row of status has it; did you mean 'active'?"},
    ),
    (
        "rows of one id that overlap",
        OVERLAP,
        ("entry", "id"),
        {},
        {with_role("entry", "id"): "id='id': rows of 'a' overlap (row 1); one id is at risk once at a time"},
    ),
    (
        "rows of one id without entries",
        OVERLAP,
        ("id",),
        {},
        {with_role("id"): "id='id': rows of 'a' overlap (row 1); with several rows, give entry="},
    ),
    (
        "weights of zero",
        programmes(copies=[0.0, 1, 1, 1, 1, 1, 1, 1]),
        ("weights",),
        {},
        {with_role("weights"): "weights='copies': zero or negative in row 0; leave these rows out"},
    ),
    (
        "case weights of a test that weighs event times",
        programmes(),
        (),
        {"weights": "copies"},
        {
            ("logrank",): "weights='copies': a column, and this test knows no case weights: it weighs event times; "
            "repeat rows, or see the score tests of fit_cox with weights= and cluster="
        },
    ),
]
TABLE = [
    pytest.param(name, frame, roles, changed, message, id=f"{situation}: {name}")
    for situation, frame, roles, changed, messages in REFUSED
    for names, message in messages.items()
    for name in names
]


@pytest.mark.parametrize(("name", "frame", "roles", "changed", "message"), TABLE)
def test_what_cannot_be_answered_has_one_message(
    name: str, frame: pd.DataFrame, roles: tuple[str, ...], changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        answer(name, frame, *roles, **changed)
    assert str(caught.value) == message


def test_periods_that_hold_events_only_have_no_hazard() -> None:
    with pytest.raises(ConvergenceError) as caught:
        answer("fit_discrete_hazard", TOGETHER, terms=["era"], degree=1)
    assert str(caught.value) == (
        "'(Intercept)', 'period': the likelihood is highest at an infinite estimate, since it tells events from "
        "non-events apart (separation); use a simpler baseline"
    )


# Honest answers -------------------------------------------------------------------------------------------------------


def test_without_events_survival_stays_one_and_says_nothing() -> None:
    found = answer("survival_curves", programmes(stopped=0))
    assert found.tidy()["estimate"].eq(1).all()
    assert "no event: before, during; survival stays 1, and its interval says nothing" in found.header()
    incidence = answer("cumulative_incidence", programmes(status="active"))
    assert incidence.tidy()["estimate"].eq(0).all()
    assert incidence.tidy()["conf_high"].isna().all()


def test_a_median_that_is_not_reached_is_no_number() -> None:
    late = programmes(stopped=[1, 0, 0, 0, 1, 0, 0, 0])
    found = answer("survival_curves", late, by=None)
    assert found.quantile()["estimate"].isna().all()
    assert "median not reached (the curve ends at 0.70)" in found.header()[1]


SILENT = ("no event in NL: its rows say nothing of the terms", "1 of 2 strata compare nothing: no event")


@pytest.mark.parametrize("name", [name for name in with_role("strata") if name != "fit_cox cause"])
def test_a_stratum_without_events_is_said_and_says_nothing(name: str) -> None:
    silent = programmes(stopped=[0, 0, 0, 0, 1, 1, 0, 1], status=["active"] * 5 + ["stopped", "active", "stopped"])
    within = answer(name, silent, "strata")
    without = answer(name, silent.iloc[4:])
    assert any(SILENT[name in TESTS] in line for line in within.header())
    if name in TESTS:
        np.testing.assert_allclose(within.statistic, without.statistic, rtol=1e-12)
    else:
        assert within.params["support"] == pytest.approx(without.params["support"], rel=1e-9)
        assert within.tidy()["std_error"][0] == pytest.approx(without.tidy()["std_error"][0], rel=1e-9)


def test_a_frailty_whose_variance_goes_to_zero_is_the_plain_model() -> None:
    alike = pd.concat([programmes()] * 2, ignore_index=True).assign(pair=[*"abcdefgh", *"bcdefgha"])
    with pytest.warns(BoundaryWarning, match=r"^frailty='pair': its variance is 0$"):
        found = answer("fit_cox frailty", alike, frailty="pair")
    plain = answer("fit_cox", alike)
    assert found.theta == 0
    assert found.params["support"] == pytest.approx(plain.params["support"], rel=1e-9)
    assert found.tidy()["std_error"][0] == pytest.approx(plain.tidy()["std_error"][0], rel=1e-6)
    assert found.loglik == pytest.approx(plain.loglik, rel=1e-12)


@pytest.mark.parametrize("name", with_role("entry", "id"))
def test_gaps_between_rows_of_one_id_are_counted(name: str) -> None:
    gapped = programmes(id=list("aabcdefg"), since=[0.0, 2, 0, 0, 0, 0, 0, 0]).assign(
        years=[1.0, 3, 5, 4, 1, 6, 7, 2.5], period=[1, 3, 5, 4, 1, 6, 7, 3], stopped=[0, 1, 0, 1, 1, 0, 1, 1]
    )
    gapped["status"] = np.where(gapped["stopped"] == 1, "stopped", "active")
    found = answer_or_reason(name, gapped, "entry", "id")
    assert "1 id with gaps between rows; nobody is at risk within a gap" in found.header()


@pytest.mark.parametrize("name", ["fit_cox", "fit_discrete_hazard", "fit_parametric"])
def test_events_that_recur_are_taken_for_independent_unless_clusters_are_named(name: str) -> None:
    twice = programmes(id=list("aabcdefg"), since=[0.0, 3, 0, 0, 0, 0, 0, 0]).assign(
        years=[3.0, 5, 5, 4, 1, 6, 7, 2.5], period=[3, 5, 5, 4, 1, 6, 7, 3], stopped=[1, 1, 1, 0, 1, 0, 1, 1]
    )
    said = "recurrent events: rows of one id are taken as independent; say cluster='id'"
    assert said in answer(name, twice, "entry", "id").header()
    assert said not in answer(name, twice, "entry", "id", cluster="id").header()


@pytest.mark.parametrize("name", EVERY)
def test_a_missing_time_is_dropped_and_counted(name: str) -> None:
    column = "period" if name == "fit_discrete_hazard" else "years"
    found = answer_or_reason(name, programmes(**{column: [np.nan, 2, 5, 4, 1, 6, 7, 3]}))
    assert f"dropped: 1 {column} missing" in found.header()


@pytest.mark.parametrize("labels", [[1, 2] * 4, [1.0, 2.0] * 4, pd.Categorical(["a", "b"] * 4, ["on", "a", "b"])])
def test_nobody_need_be_censored(labels: Any) -> None:
    none = "on" if isinstance(labels, pd.Categorical) else 0
    found = answer("cumulative_incidence", programmes(status=labels), censored=none, by=None)
    assert found.tidy()["censored"].eq(0).all()
    # Four of each cause end all eight.
    assert found.at(7)["estimate"].tolist() == pytest.approx([0.5, 0.5])


# Seven programmes, three of which stopped -----------------------------------------------------------------------------

SEVEN = {"apart": [1.0, 2, 3, 4, 5, 6, 7], "tied": [1.0, 1, 2, 2, 3, 3, 4]}
THREE = [(0, 1, 3), (0, 2, 4), (4, 5, 6)]
RATIOS = tuple(name for name in EVERY if name not in ("fit_cox frailty", "fit_cox cause"))
# What the refusals may say: why, by name of the term or of the groups.
REASONS = (
    "no finite estimate; with 3 events the likelihood rises for ever",
    "no finite estimates; with 3 events the likelihood rises for ever",
    "no finite estimate; the likelihood rises for ever, as where one group has no event",
    "no finite estimates; the likelihood rises for ever, as where one group has no event",
    "the likelihood is highest at an infinite estimate",
    "no maximum of the likelihood was found",
    "the same for everybody at risk at every event",
    "a linear combination of the other terms",
    "no event while two groups were at risk and not all of them had it",
    "never were two groups at risk at one of its events and anybody left",
    "no event up to ",
)


def seven(times: str, stopped: tuple[int, ...], *patterns: tuple[int, ...]) -> pd.DataFrame:
    """Return seven programmes with a column a pattern: `a`, `b`; one that did not stop was merged."""
    frame = pd.DataFrame({"years": SEVEN[times], "stopped": 0})
    frame.loc[list(stopped), "stopped"] = 1
    rest = np.flatnonzero(frame["stopped"] == 0)
    frame["status"] = np.where(frame["stopped"] == 1, "stopped", "active")
    frame.loc[rest[1], "status"] = "merged"
    for name, pattern in zip("ab", patterns, strict=False):
        frame[name] = np.where(np.array(pattern) == 1, "during", "before")
    return frame


def finite(name: str, found: Any, terms: list[str]) -> bool:
    """Return whether every number of an answer is one, and no ratio is beyond belief."""
    table = found.tidy()
    if name in ("survival_curves", "cumulative_incidence"):
        return bool(table["estimate"].between(0, 1).all())
    if name in TESTS:
        return bool(np.isfinite(table["statistic"]).all() and table["p_value"].between(0, 1).all())
    if name == "rmst":
        return bool(np.isfinite(table[["estimate", "std_error", "conf_low", "conf_high"]]).all(axis=None))
    numbers = table.iloc[: len(terms)][["estimate", "std_error", "conf_low", "conf_high"]]
    ordered = (numbers["conf_low"] < numbers["estimate"]) & (numbers["estimate"] < numbers["conf_high"])
    return bool(np.isfinite(numbers).all(axis=None) and (numbers["estimate"].abs() < 10).all() and ordered.all())


def answers(name: str, frame: pd.DataFrame, terms: list[str]) -> bool:
    """Return whether there is an answer, a finite one; a refusal must name its reason."""
    asked = {"terms": terms} if name in MODELS else {"by": terms[0]}
    found = answer_or_reason(name, frame, duration="years", **asked)
    if not isinstance(found, DataError | ConvergenceError):
        assert finite(name, found, terms), found.tidy().to_string()
        return True
    assert any(reason in str(found) for reason in REASONS), str(found)
    if name in COX and isinstance(found, ConvergenceError):
        assert name != "fit_cox Firth"
        assert "penalty='firth' gives" in str(found)
    return False


def rises_for_ever(frame: pd.DataFrame) -> bool:
    """Return whether all events, or none, have what others at risk have not: then no ratio is too large, or small."""
    during, least, most = frame["a"] == "during", [], []
    for _, row in frame[frame["stopped"] == 1].iterrows():
        at_risk = during[frame["years"] >= row["years"]]
        if 0 < at_risk.sum() < len(at_risk):
            least.append(row["a"] == "before")
            most.append(row["a"] == "during")
    return bool(least) and (all(least) or all(most))


def test_every_way_to_split_seven_programmes_has_an_answer_or_a_reason() -> None:
    # The first one is "before": another name for both groups is no other case.
    refused = 0
    for times, stopped in itertools.product(SEVEN, THREE[:1]):
        for rest in itertools.product((0, 1), repeat=6):
            if any(rest):
                frame = seven(times, stopped, (0, *rest))
                given = {name: answers(name, frame, ["a"]) for name in RATIOS}
                assert given["survival_curves"]
                assert given["fit_cox Firth"] == given["logrank"]
                for name in ("fit_cox", "fit_cox Breslow"):
                    assert given[name] == (given["logrank"] and not rises_for_ever(frame))
                refused += not given["fit_cox"]
    assert refused > 20


def two_splits(step: int) -> Iterator[pd.DataFrame]:
    """Yield every so many of all pairs of splits, for both kinds of times and all the sets that stopped."""
    splits = [(0, *rest) for rest in itertools.product((0, 1), repeat=6) if any(rest)]
    pairs = itertools.product(SEVEN, THREE, itertools.combinations(splits, 2))
    for times, stopped, pair in itertools.islice(pairs, 7, None, step):
        yield seven(times, stopped, *pair)


@pytest.mark.parametrize("name", [name for name in RATIOS if name in MODELS])
def test_two_splits_of_seven_programmes_have_an_answer_or_a_reason(name: str) -> None:
    given = [answers(name, frame, ["a", "b"]) for frame in two_splits(601 if name == "fit_cox Firth" else 151)]
    assert len(given) > 15
    assert 0 < sum(given) < len(given)
