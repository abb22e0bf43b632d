"""The twelve faults of broken_reorganisation: where they are, who sees them, what they do, and how they are mended."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.examples import example_files
from implstats.simulate import FAULTS, plant_faults

RANGES = {"bsi": (0, 4), "sipp": (1, 4), "month": (0, 36)}
BETTER = {"bsi": "lower", "sipp": "higher"}
DATES: dict[str, Any] = {"start": "admitted", "end": "ended", "change": "2010-01-01", "patient": "patient"}
KEY = {fault["name"]: fault for fault in ist.describe_example("mended_reorganisation")["truth"]["faults"]}


@cache
def _mended() -> pd.DataFrame:
    return ist.load_example("mended_reorganisation")


def _with(*faults: str) -> pd.DataFrame:
    """Return the true data with these faults only."""
    return plant_faults(_mended(), *faults)


def _rows(spans: str) -> list[int]:
    """Return the row labels that the key writes as `3, 7-9`."""
    ends = [[int(end) for end in span.split("-")] for span in spans.split(", ")]
    return [row for span in ends for row in range(span[0], span[-1] + 1)]


def _compared(visits: pd.DataFrame, *outcomes: str, **more: Any) -> ist.CohortComparison:
    roles: dict[str, Any] = {"time": "month", "patient": "patient", "cohort": "cohort", "reference": "before", "at": 36}
    asked = {outcome: BETTER[outcome] for outcome in outcomes}
    return ist.compare_cohorts(visits[visits["cohort"] != "straddling"], outcomes=asked, **roles, **more)


def _difference(outcome: str) -> Callable[[pd.DataFrame], float]:
    return lambda visits: float(_compared(visits, outcome).tidy()["d_difference"].iloc[0])


def _straddling(visits: pd.DataFrame) -> int:
    day = pd.Timestamp("2010-01-01")
    return int(visits["patient"][(visits["admitted"] < day) & (visits["ended"] > day)].nunique())


def _mean_at_the_end(visits: pd.DataFrame) -> float:
    return float(visits["sipp"][(visits["cohort"] == "during") & (visits["month"] == 36)].mean())


# What the key's "quantity" says in words; the wrong numbers are those of a table program, which refuses nothing.
QUANTITIES: dict[str, Callable[[pd.DataFrame], float]] = {
    "twice": len,
    "weeks": _difference("bsi"),
    "two numbers": _difference("bsi"),
    "impossible date": lambda v: v["patient"][pd.to_datetime(v["admitted"], errors="coerce").notna()].nunique(),
    "swapped dates": _straddling,
    "spellings": lambda v: v["patient"][v["sex"] == "female"].nunique(),
    "changing cohort": lambda v: len(v[["patient", "cohort"]].drop_duplicates()),
    "straddlers": _difference("bsi"),
    "commas": lambda v: pd.to_numeric(v["bsi"], errors="coerce").count(),
    "slip": _difference("bsi"),
    "codes": _mean_at_the_end,
    "direction": _difference("sipp"),
}


def _refusal(visits: pd.DataFrame, *outcomes: str, **more: Any) -> str:
    with pytest.raises(ist.DataError) as caught:
        _compared(visits, *(outcomes or BETTER), **more)
    return str(caught.value)


def test_there_are_twelve_of_which_some_are_refused_some_asked_for_and_some_unseen() -> None:
    assert set(KEY) == set(FAULTS) == set(QUANTITIES)
    assert [fault["number"] for fault in KEY.values()] == list(range(1, 13))
    counted = pd.Series([fault["library"] for fault in KEY.values()]).value_counts()
    assert counted.to_dict() == {"refused": 7, "asked": 3, "unseen": 2}


def _as_written(visits: pd.DataFrame) -> pd.DataFrame:
    """Return every cell as the exports write it, missing ones empty."""
    dated = visits.select_dtypes("datetime").columns
    text = visits.assign(**{day: visits[day].dt.strftime("%Y-%m-%d") for day in dated})
    return (
        text.astype(object)
        .map(lambda cell: f"{cell:g}" if isinstance(cell, float) else str(cell))
        .mask(visits.isna(), "")
    )


@pytest.mark.parametrize("name", KEY)
def test_each_fault_is_where_the_key_says(name: str) -> None:
    planted = _as_written(_with(name))
    changed = (planted != _as_written(_mended()).reindex(planted.index)).any(axis=1)
    assert list(planted.index[changed]) == _rows(KEY[name]["rows"])


@pytest.mark.parametrize("name", KEY)
def test_each_fault_changes_what_the_key_says_by_as_much(name: str) -> None:
    true, wrong = QUANTITIES[name](_mended()), QUANTITIES[name](_with(name))
    assert KEY[name]["true"] == pytest.approx(true, abs=2e-4)
    assert KEY[name]["wrong"] == pytest.approx(wrong, abs=2e-4)
    assert abs(true - wrong) > 0.005


def test_the_file_has_all_twelve_in_these_rows() -> None:
    raw = ist.load_example("broken_reorganisation")
    written, clean = _as_written(raw), _as_written(_mended()).reindex(raw.index)
    changed = (written != clean).any(axis=1)
    assert set(raw.index[changed]) == {row for fault in KEY.values() for row in _rows(fault["rows"])}


def _said(call: Callable[[], Any]) -> list[str]:
    """Return the faults that a call is refused for."""
    with pytest.raises(ist.DataError) as caught:
        call()
    return str(caught.value).split("\n")


def test_the_file_is_refused_by_its_reader_with_lines_once_it_is_said_what_can_be() -> None:
    said = _said(lambda: ist.read_data(example_files("broken_reorganisation")[0], ranges=RANGES))
    remedy = "correct it, or name it in missing_codes"
    assert said == [
        f"ranges['month']=(0, 36): 78, 156 in lines 9, 10, 18 and 34 more, outside the range; {remedy}",
        "ranges['bsi']=(0, 4): '2,81', '2,47', '2,04' in lines 42, 43, 44 and 46 more, not a number; " + remedy,
        f"ranges['bsi']=(0, 4): '-9' in lines 151, 163, 164 and 5 more, outside the range; {remedy}",
        f"ranges['sipp']=(1, 4): 999 in lines 83, 192, 205 and 7 more, outside the range; {remedy}",
    ]


def test_the_raw_table_is_refused_with_rows() -> None:
    raw = ist.load_example("broken_reorganisation")
    assert _said(lambda: _compared(raw, *BETTER, adjust="age + sex")) == [
        "outcome='bsi': the column holds text such as '2,81' (rows 40, 41, 42 and 46 more); read it with decimal=',' "
        "or mend it",
        "adjust='sex': 'female' and 'Female'; 'Male' and 'male' differ in capitals or blanks only (rows 6, 7, 8 and "
        "109 more); spell each one way, or give one another name if they are not the same",
        "outcome='sipp': 999 in rows 81, 190, 203 and 7 more, all others from 1.16 to 3.79; a code for missing: set it "
        "missing, as read_data(missing_codes=[999]) does; a value: say what can be, as "
        "read_data(ranges={'sipp': (1.16, 999)}) does",
    ]
    assert _said(lambda: ist.assign_cohorts(raw, **DATES, straddlers="third")) == [
        "start='admitted': '2005-06-31' is not a date as YYYY-MM-DD, in rows 231, 232, 233; write dates as YYYY-MM-DD"
    ]


REFUSED: dict[str, tuple[Callable[[pd.DataFrame], Any], str]] = {
    "twice": (
        lambda v: _compared(v, "bsi"),
        "patient='patient': patient 'P009' has two rows at month=18 (rows 469, 470, 471 and 1 more); keep one row per "
        "patient and visit",
    ),
    "impossible date": (
        lambda v: ist.assign_cohorts(v, **DATES, straddlers="third"),
        "start='admitted': '2005-06-31' is not a date as YYYY-MM-DD, in rows 231, 232, 233; write dates as YYYY-MM-DD",
    ),
    "swapped dates": (
        lambda v: ist.assign_cohorts(v, **DATES, straddlers="third"),
        "end='ended': before admitted in rows 59, 60, 61 and 5 more; correct one of the two dates",
    ),
    "spellings": (
        lambda v: _compared(v, "bsi", adjust="sex"),
        "adjust='sex': 'female' and 'Female'; 'Male' and 'male' differ in capitals or blanks only (rows 9, 10, 11 and "
        "62 more); spell each one way, or give one another name if they are not the same",
    ),
    "changing cohort": (
        lambda v: _compared(v, "bsi"),
        "cohort='cohort': patient 'P128' is in more than one cohort (rows 350, 351); give each patient one cohort",
    ),
    "commas": (
        lambda v: _compared(v, "bsi"),
        "outcome='bsi': the column holds text such as '2,81' (rows 40, 41, 42 and 31 more); read it with decimal=',' "
        "or mend it",
    ),
    "codes": (
        lambda v: _compared(v, "sipp"),
        "outcome='sipp': 999 in rows 190, 227, 309 and 3 more, all others from 1.16 to 3.66; a code for missing: set "
        "it missing, as read_data(missing_codes=[999]) does; a value: say what can be, as "
        "read_data(ranges={'sipp': (1.16, 999)}) does",
    ),
}


@pytest.mark.parametrize("name", [name for name, fault in KEY.items() if fault["library"] == "refused"])
def test_these_are_refused_by_whoever_uses_the_column(name: str) -> None:
    call, message = REFUSED[name]
    assert _said(lambda: call(_with(name))) == [message]


PROPENSITY: dict[str, Any] = {"cohort": "cohort", "reference": "before", "patient": "patient"}
DOORS: dict[str, tuple[Callable[[pd.DataFrame], Any], str]] = {
    "balance_table": (lambda v: ist.balance_table(v, **PROPENSITY, covariates=["sex"]), "covariates='sex': 'female' "),
    "propensity_weights": (lambda v: ist.propensity_weights(v, **PROPENSITY, covariates="sex"), "covariates='sex': "),
    "assign_cohorts": (
        lambda v: ist.assign_cohorts(v, **DATES, straddlers="third"),
        "patient='patient': 'P002' and 'p002 ' differ in capitals or blanks only (row 4); spell each one way, or "
        "give one another name if they are not the same",
    ),
    "fit_mixed, groups": (
        lambda v: ist.fit_mixed(v, formula="sipp ~ month + (1 | patient)"),
        "formula='patient': 'P002' and 'p002 ' differ in capitals or blanks only (row 4); spell each one way, or "
        "give one another name if they are not the same",
    ),
    "fit_mixed, outcome": (
        lambda v: ist.fit_mixed(v, formula="sipp ~ month + (1 | therapist)"),
        "outcome='sipp': 999 in rows 81, 190, 203 and 6 more, ",
    ),
}


@pytest.mark.parametrize("door", DOORS)
def test_other_doors_refuse_them_too(door: str) -> None:
    visits, (call, said) = _with("spellings", "codes"), DOORS[door]
    if "p002" in said:
        visits.loc[4, "patient"] = "p002 "
    assert any(line.startswith(said) for line in _said(lambda: call(visits)))


ACCEPTED = [name for name, fault in KEY.items() if fault["library"] != "refused"]


@pytest.mark.parametrize("name", ACCEPTED)
def test_these_are_fitted_without_a_word(name: str) -> None:
    study = _compared(_with(name), *BETTER)
    assert study.errors == {}
    assert study.tidy()["d_difference"].notna().all()


def _problems(table: pd.DataFrame, folder: Path) -> list[str]:
    table.to_csv(folder / "visits.csv", index=False)
    return _said(lambda: ist.read_data(folder / "visits.csv", ranges=RANGES))


def test_these_are_shown_once_one_asks(tmp_path: Path) -> None:
    assert _problems(_with("slip"), tmp_path)[0].startswith("ranges['bsi']=(0, 4): 19.7 in line 375, outside the range")
    assert _problems(_with("weeks"), tmp_path)[0].startswith("ranges['month']=(0, 36): 78, 156 in lines 9, 10, 18 and ")
    found = ist.assign_cohorts(_with("straddlers"), **DATES, straddlers="third")
    assert found.glance()["straddlers"].item() == KEY["swapped dates"]["true"] == 61
    by_days = ist.visits_from_dates(
        _with("weeks"), patient="patient", date="visited", origin="admitted", windows={18: (15, 21), 36: (33, 39)},
        time="planned",
    )  # fmt: skip
    assert by_days["planned"].tolist() == _mended()["month"].tolist()


def test_those_that_are_unseen_show_by_counting_and_by_looking_therapist_by_therapist() -> None:
    first = _with("two numbers").groupby("patient")["month"].min()
    assert list(first.index[first > 0]) == ["P171", "P172"]
    together = _with("direction").groupby("therapist")[["bsi", "sipp"]].corr().xs("bsi", level=1)["sipp"]
    assert list(together.index[together > 0]) == ["T05"]
    assert (together.drop("T05") < -0.2).all()


def test_after_the_twelve_mends_the_data_are_the_true_ones_and_so_are_the_answers() -> None:
    known = {"visits": ist.load_example("broken_reorganisation"), "ist": ist}
    for fault in KEY.values():
        exec(fault["code"], known)
    visits: Any = known["visits"]
    mended = visits.assign(**{day: pd.to_datetime(visits[day]) for day in ("admitted", "ended")})
    pd.testing.assert_frame_equal(mended, _mended(), check_exact=True)
    answers = [_compared(frame, *BETTER, adjust="age + sex").tidy() for frame in (mended, _mended())]
    pd.testing.assert_frame_equal(*answers, check_exact=True)


@pytest.mark.parametrize("name", KEY)
def test_the_answers_of_the_notebook_mend_as_the_key_does(name: str) -> None:
    text = (Path(__file__).resolve().parents[1] / "notebooks" / "answers" / "07_before_or_during.md").read_text("utf-8")
    assert " ".join(KEY[name]["code"].split()) in " ".join(text.split())


@pytest.mark.parametrize("name", KEY)
def test_the_answer_is_that_of_the_true_data_only_when_every_fault_is_mended(name: str) -> None:
    known: dict[str, Any] = {"visits": _with(name), "ist": ist}
    assert not known["visits"].astype(str).equals(_mended().astype(str))
    exec(KEY[name]["code"], known)
    visits = known["visits"]
    visits = visits.assign(**{day: pd.to_datetime(visits[day]) for day in ("admitted", "ended")})
    pd.testing.assert_frame_equal(visits, _mended(), check_exact=True)
    np.testing.assert_equal(QUANTITIES[name](visits), QUANTITIES[name](_mended()))
