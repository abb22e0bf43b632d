"""Files of SPSS and Stata are read as their authors meant them (labels, missing values, dates), or refused in words."""

from __future__ import annotations

import datetime as dt
import os
import pickle
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats import __main__ as command
from implstats.errors import DataError
from implstats.examples import example_files
from implstats.reading import read_data

pyreadstat = pytest.importorskip("pyreadstat")

CODES = {"before": 1.0, "during": 2.0}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(path: str, **options: Any) -> str:
    with pytest.raises(DataError) as error:
        read_data(path, **options)
    return str(error.value)


def told(frame: pd.DataFrame) -> Any:
    return frame.attrs["implstats"]


# Labels


@pytest.mark.parametrize("ending", [".sav", ".zsav", ".dta", ".SAV"])
def test_codes_become_labels_where_every_value_has_one(here: Path, ending: str) -> None:
    name = f"study{ending}"
    write: Callable[..., None] = pyreadstat.write_dta if ending == ".dta" else pyreadstat.write_sav
    write(
        pd.DataFrame({"sex": [2, 1, 2], "quality": [1, 4, 7], "age": [31, 40, 28]}),
        name,
        column_labels={"sex": "Sex of the patient", "quality": "Quality (1-7)"},
        variable_value_labels={"sex": {1: "male", 2: "female"}, "quality": {1: "very poor", 7: "excellent"}},
    )
    frame = read_data(name)
    assert frame["sex"].tolist() == ["female", "male", "female"]
    assert frame["quality"].tolist() == [1, 4, 7]
    assert frame["quality"].dtype == frame["age"].dtype == "int64"
    assert told(frame)["labels"] == {"sex": "Sex of the patient", "quality": "Quality (1-7)"}
    assert told(frame)["values"]["quality"] == {1: "very poor", 7: "excellent"}
    assert read_data(name, labels="codes")["sex"].tolist() == [2, 1, 2]
    assert read_data(name, labels=["quality"])["sex"].tolist() == [2, 1, 2]
    assert read_data(name, labels=["sex"])["sex"].tolist() == ["female", "male", "female"]


def test_labels_of_text_and_of_blanks(here: Path) -> None:
    frame = pd.DataFrame({"sex": ["m ", "f"], "site": [1, 2]})
    labels = {"sex": {"m": " male", "f": "female"}, "site": {1: "Utrecht", 2: "  "}}
    pyreadstat.write_sav(frame, "a.sav", variable_value_labels=labels)
    read = read_data("a.sav")
    assert read["sex"].tolist() == ["male", "female"]
    assert read["site"].tolist() == [1, 2]


def test_hostile_labels_stay_text(here: Path) -> None:
    labels = {1: "=1+1", 2: "<script>alert(1)</script>", 3: "a\nb", 4: "{{ 7 * 7 }}"}
    pyreadstat.write_sav(
        pd.DataFrame({"site": [1, 2, 3, 4]}),
        "a.sav",
        column_labels={"site": "<b>Site</b>\n\tof care"},
        variable_value_labels={"site": labels},
    )
    read = read_data("a.sav")
    assert read["site"].tolist() == list(labels.values())
    assert told(read)["labels"] == {"site": "<b>Site</b> of care"}


def test_two_codes_of_one_label_are_not_thrown_together(here: Path) -> None:
    labels = {"seen": {1: "yes", 2: "yes ", 3: "no"}}
    pyreadstat.write_sav(pd.DataFrame({"seen": [1, 2, 3]}), "a.sav", variable_value_labels=labels)
    fault = "labels: 1 and 2 of 'seen' are both called 'yes'; say labels='codes', or name the columns whose labels"
    assert refused("a.sav") == f"{fault} you want"
    assert read_data("a.sav", labels="codes")["seen"].tolist() == [1, 2, 3]


# Missing values


def test_missing_values_that_spss_declares_are_missing_and_counted(here: Path) -> None:
    frame = pd.DataFrame(
        {"bsi": [1.5, 999, -5, np.nan, 0], "sex": [1, 2, 9, 9, 1], "name": ["x", "a", "b", "", "x"], "id": range(5)}
    )
    pyreadstat.write_sav(
        frame,
        "a.sav",
        missing_ranges={"bsi": [999, {"lo": -99, "hi": -1}], "sex": [9], "name": ["x"]},
        variable_value_labels={"sex": {1: "male", 2: "female", 9: "refused"}},
    )
    read = read_data("a.sav", ranges={"bsi": (0, 4)})
    np.testing.assert_array_equal(read["bsi"], [1.5, np.nan, np.nan, np.nan, 0])
    assert read["sex"].tolist()[:2] == ["male", "female"]
    assert read["sex"].isna().tolist() == [False, False, True, True, False]
    assert read["name"].isna().tolist() == [True, False, False, True, True]
    assert told(read)["missing_codes"] == {"bsi": 2, "sex": 2, "name": 2}


def test_missing_values_of_stata_are_missing_and_counted(here: Path) -> None:
    frame = pd.DataFrame({"sex": pd.Series([1, 2, "a", "z", None], dtype=object), "x": [0.5, 1, 2, 3, np.nan]})
    labels = {"sex": {1: "male", 2: "female", "a": "refused"}}
    pyreadstat.write_dta(frame, "a.dta", missing_user_values={"sex": ["a", "z"]}, variable_value_labels=labels)
    read = read_data("a.dta")
    assert read["sex"].tolist()[:2] == ["male", "female"]
    assert read["sex"].isna().tolist() == [False, False, True, True, True]
    assert told(read)["missing_codes"] == {"sex": 2}
    np.testing.assert_array_equal(read_data("a.dta", labels="codes")["sex"], [1, 2, np.nan, np.nan, np.nan])


def test_codes_of_the_user_hold_for_codes_and_for_labels(here: Path) -> None:
    labels = {"sex": {1: "male", 2: "female", 9: "unknown"}}
    pyreadstat.write_sav(pd.DataFrame({"sex": [1, 2, 9], "bsi": [1, 99, 2]}), "a.sav", variable_value_labels=labels)
    for codes in ({"sex": [9], "bsi": [99]}, {"sex": ["unknown"], "bsi": [99]}):
        read = read_data("a.sav", missing_codes=codes)
        assert read["sex"].tolist()[:2] == ["male", "female"]
        assert read["sex"].isna().tolist() == [False, False, True]
        assert read["bsi"].isna().tolist() == [False, True, False]
        assert told(read)["missing_codes"] == {"sex": 1, "bsi": 1}


def test_ranges_name_the_row_counted_from_one(here: Path) -> None:
    pyreadstat.write_sav(pd.DataFrame({"bsi": [1, 5, 2]}), "a.sav")
    fault = "ranges['bsi']=(0, 4): 5 in row 2, outside the range; correct it, or name it in missing_codes"
    assert refused("a.sav", ranges={"bsi": (0, 4)}) == fault


# Kinds of values


@pytest.mark.parametrize("ending", [".sav", ".dta"])
def test_dates_are_dates(here: Path, ending: str) -> None:
    day, moment = dt.date(2009, 3, 14), dt.datetime(2009, 3, 14, 15, 9)
    frame = pd.DataFrame({"start": [day, None], "seen": [moment, None], "id": [1, 2]})
    (pyreadstat.write_dta if ending == ".dta" else pyreadstat.write_sav)(frame, f"a{ending}")
    read = read_data(f"a{ending}")
    assert read["start"].dtype == read["seen"].dtype == "datetime64[ns]"
    assert read["start"].tolist() == [pd.Timestamp(day), pd.NaT]
    assert read["seen"].tolist() == [pd.Timestamp(moment), pd.NaT]


def test_a_date_at_the_end_of_time_is_a_date(here: Path) -> None:
    frame = pd.DataFrame({"end": [dt.date(9999, 12, 31), dt.date(2009, 3, 14)], "at": [dt.time(9, 30), dt.time(7)]})
    pyreadstat.write_sav(frame, "a.sav")
    read = read_data("a.sav")
    assert pd.api.types.is_datetime64_any_dtype(read["end"].dtype)
    assert read["end"].astype(str).tolist() == ["9999-12-31", "2009-03-14"]
    assert read["at"].tolist() == ["09:30:00", "07:00:00"]


def test_text_is_without_padding_and_empty_columns_are_missing(here: Path) -> None:
    frame = pd.DataFrame({"id": ["007  ", "12   "], "note": ["  ", ""], "none": [np.nan, np.nan], "big": [1e17, 2]})
    pyreadstat.write_sav(frame, "a.sav")
    read = read_data("a.sav")
    assert read["id"].tolist() == ["007", "12"]
    assert read["note"].isna().all()
    assert read["none"].isna().all()
    assert read["big"].dtype == "float64"


@pytest.mark.parametrize("version", [114, 117, 118])
def test_stata_of_before_and_after_unicode(here: Path, version: int) -> None:
    frame = pd.DataFrame({"place": ["Genève", "Köln"], "kind": pd.Categorical(["ambulatório", "é"])})
    frame.to_stata("a.dta", version=version, write_index=False, variable_labels={"place": "Ort (Größe)"})
    raw = Path("a.dta").read_bytes()
    assert ("Genève".encode("latin-1") in raw) == (version < 118)
    read = read_data("a.dta")
    assert read["place"].tolist() == ["Genève", "Köln"]
    assert read["kind"].tolist() == ["ambulatório", "é"]
    assert told(read)["labels"] == {"place": "Ort (Größe)"}


# What is refused


def test_files_that_are_not_what_their_name_says(here: Path) -> None:
    frame = pd.DataFrame({"id": [1, 2], "x": [200.5, 1]})
    pyreadstat.write_sav(frame, "a.sav")
    pyreadstat.write_dta(frame, "b.dta")
    shutil.copyfile("a.sav", "a.dta")
    shutil.copyfile("b.dta", "b.sav")
    Path("c.sav").write_text("id,bsi\n1,2\n", encoding="utf-8")
    Path("d.csv").write_bytes(Path("a.sav").read_bytes() + b"\xff")
    Path("e.sav").write_bytes(b"")
    Path("f.xlsx").write_bytes(b"PK\x03\x04")
    Path("g.csv").write_bytes(b"PK\x03\x04\xff")
    Path("h.por").write_bytes(b"")
    said = {
        "a.dta": "not a file of Stata, whatever its name says, but one of SPSS; let its name end with '.sav'",
        "b.sav": "not a file of SPSS, whatever its name says, but one of Stata; let its name end with '.dta'",
        "c.sav": "not a file of SPSS, whatever its name says; a text file's name ends with '.csv'",
        "d.csv": "a file of SPSS, not text; let its name end with '.sav'",
        "e.sav": "the file is empty",
        "f.xlsx": "a workbook, which is not read; save the sheet as CSV in UTF-8",
        "g.csv": "a workbook, not text; save the sheet as CSV in UTF-8",
        "h.por": "a portable file of SPSS, which is not read; save it as .sav, which tells what is declared missing",
    }
    assert {name: refused(name) for name in said} == {name: f"path={name!r}: {why}" for name, why in said.items()}


@pytest.mark.parametrize("name", ["a.sav", "a.zsav", "a.dta"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.9999])
def test_a_file_that_is_not_whole(here: Path, name: str, share: float) -> None:
    frame = pd.DataFrame({"id": range(300), "x": np.linspace(0, 1, 300), "name": [f"é{k}" for k in range(300)]})
    if name == "a.dta":
        pyreadstat.write_dta(frame, name)
    else:
        pyreadstat.write_sav(frame, name, compress=name == "a.zsav")
    raw = Path(name).read_bytes()
    Path(name).write_bytes(raw[: int(share * len(raw))])
    program = "Stata" if name == "a.dta" else "SPSS"
    said = refused(name)
    assert said.startswith(f"path={name!r}: cannot be read as a file of {program} (")
    assert said.endswith(f"it may not be whole: open it in {program}, and save it anew")


@pytest.mark.parametrize("name", ["a.sav", "a.dta"])
def test_a_file_that_brings_its_reader_down(here: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def dies(file: Path, **how: Any) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    frame = pd.DataFrame({"sex": [1.0]})
    (pyreadstat.write_sav if name == "a.sav" else pyreadstat.write_dta)(frame, name)
    monkeypatch.setattr(pyreadstat, "read_sav", dies)
    monkeypatch.setattr(pyreadstat, "read_dta", dies)
    assert (
        "(the process that read it died, of damaged bytes or for want of memory); it may not be whole: open it in S"
        in refused(name)
    )
    monkeypatch.undo()
    monkeypatch.chdir(here)
    assert read_data(name)["sex"].tolist() == [1]


def test_no_rows_and_labels_that_cannot_be(here: Path) -> None:
    pyreadstat.write_sav(pd.DataFrame({"sex": pd.Series([], dtype=float)}), "none.sav")
    pyreadstat.write_sav(pd.DataFrame({"sex": [1.0]}), "a.sav")
    assert refused("none.sav") == "path='none.sav': no rows"
    assert refused("a.sav", labels="value") == "labels='value': unknown option; did you mean 'values'?"
    assert refused("a.sav", labels=["sexe"]) == "labels=['sexe']: no column 'sexe'; did you mean 'sex'?"
    assert refused("a.sav", labels=3).startswith("labels=3: neither a word nor a list of columns; write labels='codes'")
    assert refused("b.sav") == "path='b.sav': no such file; did you mean 'a.sav'?"


def test_without_the_extra_it_says_what_to_type(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pyreadstat.write_sav(pd.DataFrame({"sex": [1.0]}), "a.sav")
    monkeypatch.setattr("implstats.reading.labelled.find_spec", lambda name: None)
    assert refused("a.sav") == "path='a.sav': needs pyreadstat; pip install 'implstats[spss]'"


# The same study


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the bundled study as text, as SPSS and as Stata hold it, and a plan for each."""
    folder = tmp_path_factory.mktemp("studies")
    data, _, plan = example_files("reorganisation")
    visits = read_data(data)
    visits["bsi"] = visits["bsi"].mask(visits.index % 40 == 3)
    visits.to_csv(folder / "study.csv", index=False)
    coded = visits.assign(cohort=visits["cohort"].map(CODES))
    for column in ("admitted", "ended"):
        coded[column] = pd.to_datetime(coded[column], format="%Y-%m-%d").dt.date
    about: dict[str, Any] = {
        "column_labels": {"bsi": "Severity of symptoms", "sipp": "Functioning", "month": "Month"},
        "variable_value_labels": {"cohort": {code: word for word, code in CODES.items()}, "bsi": {0: "none"}},
    }
    spss = coded.assign(bsi=coded["bsi"].fillna(999))
    pyreadstat.write_sav(spss, folder / "study.sav", missing_ranges={"bsi": [999]}, **about)
    stata = coded.assign(bsi=coded["bsi"].astype(object).where(coded["bsi"].notna(), "b"))
    about["variable_value_labels"]["bsi"]["b"] = "not asked"
    pyreadstat.write_dta(stata, folder / "study.dta", missing_user_values={"bsi": ["b"]}, **about)
    text = plan.read_text(encoding="utf-8").replace('sipp = "higher"\n', "")
    text = text[: text.index("[labels]")]
    for ending in ("csv", "sav", "dta"):
        made = text.replace('file = "reorganisation.csv"', f'file = "study.{ending}"')
        (folder / f"{ending}.toml").write_text(made, encoding="utf-8")
    return folder


@pytest.mark.parametrize("ending", ["sav", "dta"])
def test_the_same_study_reads_alike(studies: Path, ending: str) -> None:
    text, labelled = read_data(studies / "study.csv"), read_data(studies / f"study.{ending}")
    for column in ("admitted", "ended"):
        text[column] = pd.to_datetime(text[column], format="%Y-%m-%d")
    pd.testing.assert_frame_equal(text, labelled)
    assert told(labelled)["missing_codes"] == {"bsi": text["bsi"].isna().sum()} == {"bsi": 16}


def test_the_same_study_has_the_same_answers(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for ending in ("csv", "sav", "dta"):
        assert command.main(["run", str(studies / f"{ending}.toml"), "--out", str(studies / ending)]) == 0
    capsys.readouterr()
    tables = sorted(file.name for file in (studies / "csv").glob("*.csv"))
    assert "comparison.csv" in tables
    for name in tables:
        first = (studies / "csv" / name).read_bytes()
        assert first == (studies / "sav" / name).read_bytes() == (studies / "dta" / name).read_bytes(), name
    report = (studies / "sav" / "report.html").read_text(encoding="utf-8")
    assert "Severity of symptoms" in report
    assert "set to missing: Severity of symptoms 16" in report
    assert "Severity of symptoms" not in (studies / "csv" / "report.html").read_text(encoding="utf-8")


def test_a_plan_takes_codes_in_place_of_labels(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (studies / "sav.toml").read_text(encoding="utf-8")
    changed = text.replace('reference = "before"', "reference = 1").replace("[data]", '[data]\nlabels = "codes"')
    (studies / "codes.toml").write_text(changed, encoding="utf-8")
    assert command.main(["check", str(studies / "codes.toml")]) == 0
    assert "compared: 2 with 1" in capsys.readouterr().out
    wrong = text.replace("[data]", '[data]\nlabels = "code"')
    (studies / "codes.toml").write_text(wrong, encoding="utf-8")
    assert command.main(["check", str(studies / "codes.toml")]) == 2
    assert "[data] labels='code': unknown option; did you mean 'codes'?" in capsys.readouterr().err


def test_numbers_that_are_labelled_throughout_are_found_out(studies: Path, capsys: pytest.CaptureFixture[str]) -> None:
    visits, _ = pyreadstat.read_sav(studies / "study.sav")
    labels = {"cohort": {1: "before", 2: "during"}, "month": {0: "start", 18: "18 months", 36: "end"}}
    pyreadstat.write_sav(visits, studies / "labelled.sav", variable_value_labels=labels)
    text = (studies / "sav.toml").read_text(encoding="utf-8").replace("study.sav", "labelled.sav")
    (studies / "labelled.toml").write_text(text, encoding="utf-8")
    assert command.main(["check", str(studies / "labelled.toml")]) == 2
    said = 'these are labels of codes: write labels = "codes" under [data], or the columns that get labels'
    assert said in capsys.readouterr().err
    listed = text.replace("[data]", '[data]\nlabels = ["cohort"]')
    (studies / "labelled.toml").write_text(listed, encoding="utf-8")
    assert command.main(["check", str(studies / "labelled.toml")]) == 0
    with pytest.raises(DataError, match="these are labels of codes: read it with labels='codes', or name the columns"):
        ist.fit_growth(
            read_data(studies / "labelled.sav"),
            outcome="bsi",
            time="month",
            patient="patient",
            cohort="cohort",
            reference="before",
        )


def test_labels_are_not_copied_with_every_table(here: Path) -> None:
    pyreadstat.write_sav(pd.DataFrame({"sex": [1.0]}), "a.sav", variable_value_labels={"sex": {1: "male"}})
    frame = read_data("a.sav")
    assert told(frame[["sex"]])["values"] is told(frame)["values"]
    again = pickle.loads(pickle.dumps(frame))
    assert told(again) == told(frame)


def test_reading_leaves_the_file_alone(here: Path) -> None:
    pyreadstat.write_sav(pd.DataFrame({"sex": [1.0]}), "a.sav")
    before = os.stat("a.sav").st_mtime_ns
    read_data("a.sav")
    assert os.stat("a.sav").st_mtime_ns == before
    assert sorted(file.name for file in here.iterdir()) == ["a.sav"]
