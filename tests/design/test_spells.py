"""Spells: what every role becomes, which times are the same, several rows of one id, and the words of every fault."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable
from dataclasses import fields
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implstats._check import Faults
from implstats.design.spells import SAME_TIME, SpellRoles, Spells, spells
from implstats.errors import DataError

COLUMNS = "there are 'id', 'years', 'stopped', 'status', 'since', 'era', 'country', 'barrier', ..."
LABELS = "neither 0 nor 1; with causes, say censored=, the value that stands for no event"
WHOLE = "(rows 10, 20, 30 and 3 more); make it numeric, missing as NaN"
STATUS = ["active", "stopped", "merged", "stopped", "active", "stopped"]


def programmes(**changed: Any) -> pd.DataFrame:
    """Return six programmes, one row each, with columns replaced; the labels of the rows are not their places."""
    made = {
        "id": list("abcdef"),
        "years": [4.0, 1.5, 3.0, 2.0, 5.0, 2.5],
        "stopped": [0, 1, 0, 1, 0, 1],
        "status": STATUS,
        "since": [1.0, 0.0, 0.5, 0.0, 2.0, 0.0],
        "era": ["before", "during", "before", "during", "after", "after"],
        "country": ["NL", "NL", "UK", "UK", "NL", "UK"],
        "barrier": [2.0, 6.0, 3.5, 5.0, 1.0, 4.0],
        "copies": [1.0, 2.0, 1.0, 1.0, 3.0, 0.5],
        "site": [1, 1, 2, 2, 3, 3],
    }
    return pd.DataFrame(made | changed, index=range(10, 70, 10))


def rows_of_id(rows: list[tuple[str, float, float, int]]) -> pd.DataFrame:
    """Return rows of (id, entry, exit, event)."""
    return pd.DataFrame(rows, columns=["id", "since", "years", "stopped"])


def read(frame: pd.DataFrame | None = None, *, missing: str = "drop", **roles: Any) -> Spells:
    named = SpellRoles(**({"duration": "years", "event": "stopped"} | roles))
    return spells(programmes() if frame is None else frame, named, missing=missing)


def in_order(frame: pd.DataFrame, **roles: Any) -> Spells:
    return read(frame, entry="since", id="id", **roles)


def test_duration_and_event_alone() -> None:
    s = read()
    np.testing.assert_array_equal(s.exit, programmes()["years"])
    np.testing.assert_array_equal(s.event, programmes()["stopped"])
    for nothing in (s.entry, s.stratum, s.group):
        np.testing.assert_array_equal(nothing, 0)
    np.testing.assert_array_equal(s.weight, 1)
    assert (s.duration, s.event_name, s.causes) == ("years", "stopped", ("event",))
    assert (s.delayed, s.weighted, s.cluster, s.clusters, s.strata, s.groups) == (False, False, None, [], ("",), ("",))
    assert s.person.tolist() == s.persons == list(range(6))
    assert (s.X.shape, s.names, s.encoding, dict(s.levels), s.notes) == ((6, 0), (), None, {}, ())
    assert s.labels.tolist() == [10, 20, 30, 40, 50, 60]
    assert (s.sample.given, s.sample.rows, dict(s.sample.dropped), dict(s.sample.groups)) == (6, 6, {}, {})


def test_every_role() -> None:
    s = read(entry="since", id="id", cluster="site", strata=("country",), weights="copies", by="era", terms="barrier")
    np.testing.assert_array_equal(s.entry, programmes()["since"])
    np.testing.assert_array_equal(s.weight, programmes()["copies"])
    np.testing.assert_array_equal(s.X[:, 0], programmes()["barrier"])
    assert (s.delayed, s.weighted, s.persons, s.clusters) == (True, True, list("abcdef"), [1, 2, 3])
    assert s.cluster is not None
    assert (s.person.tolist(), s.cluster.tolist()) == ([0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 2, 2])
    assert (s.strata, s.stratum.tolist()) == (("NL", "UK"), [0, 0, 1, 1, 0, 1])
    assert (s.groups, s.group.tolist()) == (("after", "before", "during"), [1, 2, 1, 2, 0, 0])
    assert list(s.roles) == ["id", "site", "country", "era", "barrier", "years", "stopped"]
    assert list(s.roles["era"]) == programmes()["era"].tolist()
    assert dict(s.sample.groups) == {"id": 6, "site": 3}


def test_a_column_may_have_two_roles_that_do_not_meet() -> None:
    s = read(id="id", cluster="id", by="era", strata=("era",), terms=["era"])
    assert dict(s.sample.groups) == {"id": 6}
    assert s.groups == s.strata


@pytest.mark.parametrize(
    "values",
    [
        [0, 1, 0, 1, 0, 1],
        [0.0, 1.0] * 3,
        [False, True] * 3,
        pd.array([0, 1] * 3, dtype="Int64"),
        pd.Categorical([0, 1] * 3),
    ],
    ids=["int", "float", "truth values", "Int64", "categorical"],
)
def test_events_of_any_type(values: Any) -> None:
    assert read(programmes(stopped=values)).event.tolist() == [0, 1] * 3


def test_causes_are_counted_from_one_in_sorted_order() -> None:
    s = read(event="status", censored="active")
    assert s.causes == ("merged", "stopped")
    assert s.event.tolist() == [0, 2, 1, 2, 0, 2]


def test_causes_of_a_categorical_keep_its_order() -> None:
    status = pd.Categorical(STATUS, ["stopped", "active", "merged", "never"])
    assert read(programmes(status=status), event="status", censored="active").causes == ("stopped", "merged")


def test_causes_may_be_numbers() -> None:
    s = read(programmes(stopped=[0, 1, 2, 1, 0, 9]), censored=0)
    assert (s.causes, s.event.tolist()) == ((1, 2, 9), [0, 1, 2, 1, 0, 3])


def test_nobody_with_an_event_is_for_the_model_to_judge() -> None:
    assert read(programmes(stopped=0)).event.tolist() == [0] * 6
    assert read(programmes(status="active"), event="status", censored="active").causes == ("event",)


def test_strata_are_the_combinations_that_occur() -> None:
    s = read(strata=("country", "era"))
    assert s.strata == ("NL, after", "NL, before", "NL, during", "UK, after", "UK, before", "UK, during")
    assert read(programmes().iloc[:3], strata=("country", "site")).strata == ("NL, 1", "UK, 2")
    assert [s.strata[k] for k in s.stratum] == [
        f"{c}, {e}" for c, e in zip(*map(programmes().get, ("country", "era")), strict=True)
    ]


# Which times are the same


def as_r_has_it(times: np.ndarray) -> np.ndarray:
    """Return R's aeqSurv, step by step: sorted distinct times, those near the one before, findInterval."""
    distinct = sorted(set(times.tolist()))
    mean = sum(abs(t) for t in distinct) / len(distinct)
    cuts = [distinct[0]]
    for before, after in itertools.pairwise(distinct):
        if not (after - before <= 1.4901161193847656e-08 or (after - before) / mean <= 1.4901161193847656e-08):
            cuts.append(after)
    return np.array([max(c for c in cuts if c <= t) for t in times])


def test_near_ties_are_one_time_and_are_counted() -> None:
    s = read(programmes(years=[0.3, 0.1 + 0.2, 1, 1 + 1e-9, 1 + 1e-6, 2]))
    assert s.exit.tolist() == [0.3, 0.3, 1, 1, 1 + 1e-6, 2]
    assert s.notes == ("2 times that differ by rounding only are taken as equal",)


def test_near_ties_of_entry_and_exit_meet() -> None:
    s = in_order(rows_of_id([("a", 0, 0.1 + 0.2, 0), ("a", 0.3, 1, 1), ("b", 0, 2, 0)]))
    assert s.exit[0] == s.entry[1] == 0.3
    assert not any("gap" in note for note in s.notes)


@given(
    st.lists(st.integers(1, 6), min_size=2, max_size=8),
    st.lists(st.integers(0, 5), min_size=8, max_size=8),
    st.sampled_from([1e-3, 1.0, 1e7]),
)
@settings(max_examples=60, deadline=None)
def test_near_ties_as_r_merges_them(whole: list[int], rounding: list[int], unit: float) -> None:
    near = np.array(rounding[: len(whole)]) * SAME_TIME * 0.4
    times = unit * (np.array(whole) + near)
    frame = pd.DataFrame({"since": 0.0, "years": times, "stopped": 1})
    expected = as_r_has_it(np.append(0.0, times))[1:]
    np.testing.assert_array_equal(read(frame, entry="since").exit, expected)


# Several rows of one id


def test_rows_that_follow_each_other_are_one_id() -> None:
    s = in_order(rows_of_id([("a", 2, 3, 1), ("b", 0, 1, 0), ("a", 0, 2, 0)]))
    assert (s.persons, s.person.tolist(), s.notes) == (["a", "b"], [0, 1, 0], ())


def test_gaps_are_counted_by_id() -> None:
    s = in_order(rows_of_id([("a", 0, 1, 0), ("a", 2, 3, 0), ("a", 4, 5, 1), ("b", 0, 1, 0), ("b", 1.5, 2, 0)]))
    assert s.notes == ("2 ids with gaps between rows; nobody is at risk within a gap",)


def test_events_that_recur_are_counted_by_id() -> None:
    s = in_order(rows_of_id([("a", 0, 1, 1), ("a", 1, 3, 1), ("a", 3, 5, 0), ("b", 0, 1, 1)]))
    assert s.notes == ("1 id at risk again after an event (recurrent events)",)


@given(st.permutations(range(5)))
@settings(max_examples=20, deadline=None)
def test_overlaps_are_found_in_any_order_of_rows(order: list[int]) -> None:
    frame = rows_of_id([("a", 0, 9, 0), ("a", 2, 3, 0), ("a", 9, 10, 1), ("b", 0, 1, 0), ("b", 1, 2, 0)]).iloc[order]
    with pytest.raises(DataError, match=r"^id='id': rows of 'a' overlap \(row 1\); one id is at risk once at a time$"):
        in_order(frame)


# Reference levels and new rows


@pytest.mark.parametrize(
    ("reference", "names"),
    [
        ({}, ("era[before]", "era[during]", "country[UK]")),
        ({"era": "before"}, ("era[after]", "era[during]", "country[UK]")),
        ({"era": "during", "country": "UK"}, ("era[after]", "era[before]", "country[NL]")),
    ],
)
def test_reference_levels_are_chosen_and_remembered(reference: dict[str, str], names: tuple[str, ...]) -> None:
    s = read(terms="era + country", reference=reference)
    assert s.names == names
    assert dict(s.levels) == {"era": "after", "country": "NL"} | reference
    for j, name in enumerate(names):
        column, level = name[:-1].split("[")
        np.testing.assert_array_equal(s.X[:, j], programmes()[column] == level)


def test_the_reference_of_truth_values_and_of_categoricals() -> None:
    frame = programmes(
        trained=[True, False] * 3, era=pd.Categorical(programmes()["era"].tolist(), ["during", "before", "after"])
    )
    assert read(frame, terms=["trained"], reference={"trained": True}).names == ("trained[False]",)
    assert dict(read(frame, terms=["era"]).levels) == {"era": "during"}
    assert read(frame, terms=["era"], reference={"era": "after"}).names == ("era[during]", "era[before]")


def test_new_rows_are_coded_as_the_rows_of_the_fit() -> None:
    s = read(terms="era * barrier", reference={"era": "before"})
    np.testing.assert_array_equal(s.rows_of(programmes()), s.X)
    new = pd.DataFrame({"era": ["during", "before"], "barrier": [2, 3]})
    assert s.names == ("era[after]", "era[during]", "barrier", "era[after]:barrier", "era[during]:barrier")
    np.testing.assert_array_equal(s.rows_of(new), [[0, 1, 2, 0, 2], [0, 0, 3, 0, 0]])
    assert read().rows_of(new).shape == (2, 0)


def test_new_rows_with_an_unseen_level_are_refused() -> None:
    with pytest.raises(
        DataError, match=r"^era='later': a level that the fit has not seen, in row 0; it knows 'before', "
    ):
        read(terms="era", reference={"era": "before"}).rows_of(pd.DataFrame({"era": ["later"]}))


# Missing rows


def test_missing_rows_are_counted_by_their_first_reason() -> None:
    gone = {
        "years": [np.nan, 1, 3, 2, 5, 2.5],
        "stopped": [np.nan, 1, 0, None, 0, 1],
        "barrier": [1, 2, 3, 4, 5, np.nan],
    }
    s = read(programmes(**gone), terms="barrier", by="era")
    assert dict(s.sample.dropped) == {"years missing": 1, "stopped missing": 1, "barrier missing": 1}
    assert (s.sample.given, s.sample.rows, s.labels.tolist()) == (6, 3, [20, 30, 50])


@pytest.mark.parametrize("role", ["entry", "weights", "by", "strata"])
def test_a_missing_value_in_any_role_is_counted(role: str) -> None:
    column = {"entry": "since", "weights": "copies", "by": "era", "strata": "country"}[role]
    frame = programmes()
    frame.loc[20, column] = None
    s = read(frame, **{role: (column,) if role == "strata" else column})
    assert dict(s.sample.dropped) == {f"{column} missing": 1}
    assert s.sample.rows == 5


# The words of every fault

Row = tuple[str, Callable[[], Any], str]

FAULTS: list[Row] = [
    ("misspelt", lambda: read(duration="year"), "duration='year': no such column; did you mean 'years'?"),
    ("nothing named", lambda: read(event=None), f"event=None: no such column; {COLUMNS}"),
    ("strata", lambda: read(strata=("era", "contry")), "strata='contry': no such column; did you mean 'country'?"),
    (
        "terms",
        lambda: read(terms="era + barier"),
        "terms='era + barier': no such column 'barier'; did you mean 'barrier'?",
    ),
    (
        "two roles",
        lambda: read(event="years"),
        "duration='years': is named as event= too; each role has a column of its own",
    ),
    (
        "event among the terms",
        lambda: read(terms=["stopped"]),
        "terms=['stopped']: 'stopped' is the event; leave it out of the terms",
    ),
    (
        "name of a result",
        lambda: read(programmes(time=0.5), entry="time"),
        "entry='time': results give a column of this name; rename yours",
    ),
    (
        "reference of no term",
        lambda: read(reference={"era": "after"}),
        "reference={'era': 'after'}: 'era' is not among the terms; name a term",
    ),
    (
        "reference no level",
        lambda: read(terms="era", reference={"era": "befor"}),
        "reference={'era': 'befor'}: no level of 'era'; did you mean 'before'?",
    ),
    (
        "text",
        lambda: read(programmes(years=["4", "1,5", "3", "2", "5", "x"])),
        "duration='years': the column holds text such as '1,5' (rows 20, 60); read it with decimal=',' or mend it",
    ),
    (
        "infinite",
        lambda: read(programmes(years=[4, np.inf, 3, 2, 5, 2])),
        "duration='years': infinite in row 20; mend the value or set it missing",
    ),
    (
        "infinite covariate",
        lambda: read(programmes(barrier=[4, np.inf, 3, 2, 5, 2]), terms="barrier"),
        "terms='barrier': infinite in row 20; mend the value or set it missing",
    ),
    (
        "all missing",
        lambda: read(programmes(years=np.nan)),
        "duration='years': every value is missing; look at the file or name another column",
    ),
    (
        "no complete row",
        lambda: read(programmes(stopped=np.nan)),
        "duration='years': no row has all its columns; stopped missing",
    ),
    (
        "missing, raise",
        lambda: read(programmes(years=[np.nan, 1, 3, 2, 5, 2.5]), missing="raise"),
        "missing='raise': years missing in row 10; drop these rows yourself or say missing='drop'",
    ),
    (
        "missing id",
        lambda: read(programmes(id=["a", None, "c", "d", "e", "f"]), id="id"),
        "id='id': missing in row 20; fill it in, or drop these rows",
    ),
    (
        "one cluster spelled in two ways",
        lambda: read(programmes(site=["Ost", "Ost", "ost ", "West", "West", "West"]), cluster="site", id="id"),
        "cluster='site': 'Ost' and 'ost ' differ in capitals or blanks only (row 30); spell each one way, or give one "
        "another name if they are not the same",
    ),
    (
        "missing cluster",
        lambda: read(programmes(site=[1, None, 2, 2, 3, 3]), cluster="site", id="id"),
        "cluster='site': missing in row 20; fill it in, or drop these rows",
    ),
    (
        "event not 0 or 1",
        lambda: read(programmes(stopped=[0, 1, 2, 1, 2, 0])),
        f"event='stopped': holds 2 (rows 30, 50), {LABELS}",
    ),
    (
        "causes without censored",
        lambda: read(event="status"),
        f"event='status': holds 'active' (rows 10, 50), {LABELS}",
    ),
    (
        "censored is nobody's",
        lambda: read(event="status", censored="activ"),
        "censored='activ': no row of status has it; did you mean 'active'?",
    ),
    (
        "negative",
        lambda: read(programmes(years=[4, -1, 3, 2, 5, 2])),
        "duration='years': negative in row 20; count time from the start",
    ),
    (
        "negative entry",
        lambda: read(programmes(since=[0, -1, 0, 0, 0, -2]), entry="since"),
        "entry='since': negative in rows 20, 60; count time from the start",
    ),
    (
        "time zero",
        lambda: read(programmes(years=[4, 0, 3, 2, 5, 2])),
        "duration='years': zero in row 20; who never started was never at risk: count them apart",
    ),
    (
        "entry at exit",
        lambda: read(programmes(since=[4, 0, 9, 0, 0, 0]), entry="since"),
        "entry='since': not before years in rows 10, 30; a spell ends after it starts",
    ),
    (
        "entry a rounding before exit",
        lambda: read(programmes(since=[4 - 1e-9, 0, 0, 0, 0, 0]), entry="since"),
        "entry='since': not before years in row 10; a spell ends after it starts",
    ),
    (
        "weight zero",
        lambda: read(programmes(copies=[1, 0, -1, 1, 1, 1]), weights="copies"),
        "weights='copies': zero or negative in rows 20, 30; leave these rows out",
    ),
    (
        "several rows without entry",
        lambda: read(programmes(id=list("aacdef")), id="id"),
        "id='id': rows of 'a' overlap (row 20); with several rows, give entry=",
    ),
    (
        "rows that overlap",
        lambda: in_order(rows_of_id([("a", 0, 2, 0), ("a", 1, 3, 1), ("b", 0, 1, 0)])),
        "id='id': rows of 'a' overlap (row 1); one id is at risk once at a time",
    ),
    ("option", lambda: read(missing="keep"), "missing='keep': unknown option; there are 'drop', 'raise'"),
    (
        "no frame",
        lambda: read({"years": [1]}),
        "frame: a dict is not a pandas DataFrame; give one row per patient and visit",
    ),  # type: ignore[arg-type]
    ("no rows", lambda: read(programmes().iloc[:0]), "frame: no rows; check the filter or the file that made it"),
    (
        "many groups",
        lambda: read(pd.DataFrame({"years": range(1, 31), "stopped": 1, "site": range(30)}), by="site"),
        "by='site': 30 different values; name the column with the groups",
    ),
    (
        "many causes",
        lambda: read(pd.DataFrame({"years": range(1, 31), "stopped": range(30)}), censored=0),
        "event='stopped': 29 causes; name the column of what ended the spell",
    ),
    (
        "several columns misspelt",
        lambda: read(duration="yeers", event="stoped", entry="sinc", cluster="sit"),
        "duration='yeers': no such column; did you mean 'years'?\n"
        "event='stoped': no such column; did you mean 'stopped'?\n"
        "entry='sinc': no such column; did you mean 'since'?\ncluster='sit': no such column; did you mean 'site'?",
    ),
    (
        "several columns of text",
        lambda: read(programmes(years="x", copies="y"), weights="copies"),
        f"duration='years': the column holds text such as 'x' {WHOLE}\n"
        f"weights='copies': the column holds text such as 'y' {WHOLE}",
    ),
    (
        "several faults of the data",
        lambda: read(
            programmes(years=[4, 0, 3, 2, 5, 2], stopped=[0, 3, 0, 1, 0, 1], copies=[1, 1, 0, 1, 1, 1]),
            weights="copies",
        ),
        f"event='stopped': holds 3 (row 20), {LABELS}\n"
        "duration='years': zero in row 20; who never started was never at risk: count them apart\n"
        "weights='copies': zero or negative in row 30; leave these rows out",
    ),
]


@pytest.mark.parametrize(("call", "message"), [row[1:] for row in FAULTS], ids=[row[0] for row in FAULTS])
def test_every_fault_in_its_words(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        call()
    assert str(caught.value) == message


def test_faults_of_the_call_are_reported_with_those_of_the_data() -> None:
    faults = Faults()
    faults.add("ties", "efon", "unknown option", "did you mean 'efron'?")
    with pytest.raises(DataError) as caught:
        spells(programmes(), SpellRoles("year", "stopped"), faults=faults)
    said = str(caught.value).split("\n")
    assert [line.split("=")[0] for line in said] == ["ties", "duration"]


# Read-only, and apart from the caller's frame


@pytest.mark.parametrize("how", ["made", "unpickled"])
def test_its_arrays_are_read_only(how: str) -> None:
    s = read(entry="since", id="id", cluster="site", weights="copies", by="era", terms="barrier + era")
    if how == "unpickled":
        s = pickle.loads(pickle.dumps(s))
        np.testing.assert_array_equal(s.rows_of(programmes()), s.X)
    arrays = [value for f in fields(s) if isinstance(value := getattr(s, f.name), np.ndarray)]
    assert len(arrays) == 9
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_the_callers_frame_stays_writable_and_apart() -> None:
    frame = programmes()
    s = read(frame, entry="since", weights="copies", terms="barrier + era")
    before = pickle.dumps([s.exit, s.entry, s.weight, s.X, list(s.roles["barrier"])])
    frame.loc[:, ["years", "since", "copies", "barrier"]] = 99.0
    assert pickle.dumps([s.exit, s.entry, s.weight, s.X, list(s.roles["barrier"])]) == before


def test_events_as_nullable_truth_values() -> None:
    assert read(programmes(stopped=pd.array([False, True] * 3, dtype="boolean"))).event.tolist() == [0, 1] * 3


def test_the_reference_of_a_column_whose_name_is_no_text() -> None:
    s = read(programmes().rename(columns={"era": 7}), terms=[7], reference={7: "during"})
    assert s.names == ("7[after]", "7[before]")


def test_numbers_as_categories_have_a_named_reference() -> None:
    assert dict(read(terms="C(site)").levels) == {"site": 1}


def test_everybody_may_have_had_an_event() -> None:
    status = pd.Categorical(["stopped", "merged"] * 3, ["active", "merged", "stopped"])
    assert read(programmes(status=status), event="status", censored="active").event.tolist() == [2, 1] * 3


def test_without_entry_times_zero_is_none_of_the_times() -> None:
    # R: aeqSurv(Surv(c(1e6, 1e6 + .014), c(1, 1))) gives 1e6 twice; with 0 among the times the mean would be too low.
    frame = pd.DataFrame({"years": [1e6, 1e6 + 0.014], "stopped": 1})
    assert read(frame).exit.tolist() == [1e6, 1e6]


@pytest.mark.parametrize("role", ["by", "id", "cluster", "strata"])
def test_nobody_is_grouped_by_the_event(role: str) -> None:
    with pytest.raises(
        DataError, match=f"^{role}='stopped': is named as event= too; each role has a column of its own$"
    ):
        read(**{role: ("stopped",) if role == "strata" else "stopped"})


def test_negative_durations_and_entries_are_reported_together() -> None:
    with pytest.raises(DataError) as caught:
        read(programmes(years=[-1, 2, 3, 4, 5, 6], since=[-2, 0, 0, 0, 0, 0]), entry="since")
    assert [line.split("=")[0] for line in str(caught.value).split("\n")] == ["duration", "entry"]
