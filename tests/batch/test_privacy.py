"""Whatever a plan writes or says: no patient, no staff, and no number of people so small that one is recognised."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats import __main__ as command
from implstats.batch import run_plan
from implstats.batch.blocks import Table
from implstats.batch.folder import File
from implstats.batch.privacy import COUNTS, Privacy, masked
from implstats.errors import PlanError
from implstats.results import COLUMNS
from implstats.tables import read_tables

Heard = pytest.CaptureFixture[str]
SECRETS = ("PATIENT-", "Recognisable")
ROLES = """\
[roles]
patient = "patient"
time = "month"
cohort = "cohort"
reference = "before"
"""
COMPARISON = f"""
figures = "all"
[data]
file = "table.csv"
{ROLES}
[outcomes]
bsi = "lower"
sipp = "higher"
[analysis]
at = [18, 36]
model = "growth"
shape = "linear"
groups = ["therapist"]
draws = 20
[privacy]
individual_lines = true
"""
SURVIVAL = """
figures = "all"
[data]
file = "table.csv"
[[survival]]
name = "Left"
duration = "months"
event = "left"
at = [12, 24]
by = "cohort"
terms = ["cohort", "age"]
id = "patient"
entry = "since"
cluster = "therapist"
[[survival]]
name = "Left or died"
duration = "months"
event = "end"
censored = "treated"
at = [12]
by = "cohort"
terms = ["cohort"]
id = "patient"
cluster = "therapist"
fine_gray = true
"""
BATCH = f"""
figures = "all"
[data]
file = "table.csv"
{ROLES}
[outcomes]
bsi = "lower"
[batch]
by = "site"
[[batch.analysis]]
name = "growth"
kind = "growth"
at = [18, 36]
shape = "linear"
groups = ["therapist"]
[[batch.analysis]]
name = "left"
kind = "survival"
file = "times.csv"
duration = "months"
event = "left"
by = "cohort"
frailty = "therapist"
[[batch.analysis]]
name = "agreement"
kind = "ratings"
file = "ratings.csv"
item = "patient"
rater = "therapist"
score = "score"
[privacy]
individual_lines = true
"""


def named(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose patients and therapists anybody would recognise."""
    patients = "PATIENT-" + frame["patient"].astype(str).str.zfill(3) + "-XYZ"
    return frame.assign(patient=patients, therapist="Dr. Recognisable-" + frame["therapist"].astype(str))


def visits() -> pd.DataFrame:
    """Return visits of two cohorts; three patients of the later one are seen at the end, and one has a gap."""
    frame = ist.load_example("reorganisation")
    late = frame.index[(frame["cohort"] == "during") & (frame["month"] == 36) & frame["bsi"].notna()]
    frame.loc[late[3:], ["bsi", "sipp"]] = np.nan
    return named(frame)


def times() -> pd.DataFrame:
    """Return times of 60 patients: of the later cohort 3 leave, and one dies."""
    source = np.random.default_rng(5)
    k = np.arange(60)
    frame = pd.DataFrame({"patient": k, "therapist": k % 7, "cohort": np.where(k < 40, "before", "during"), "since": 0})
    left = (k < 20) | np.isin(k, [41, 45, 50])
    end = np.where(left, "left", np.where(np.isin(k, [21, 42]), "died", "treated"))
    months = np.round(source.uniform(1, 36, len(k)), 2)
    return named(frame.assign(months=months, left=left.astype(int), end=end, age=source.integers(20, 60, len(k))))


def sites(folder: Path) -> pd.DataFrame:
    """Return visits of two sites, and put times and ratings of both beside the plan."""
    whole = ist.load_example("multisite")
    frame = named(whole[whole["site"].isin(["NL", "NO"])])
    late = frame.index[(frame["site"] == "NO") & (frame["cohort"] == "during") & (frame["month"] == 36)]
    twice = [times().assign(site=site) for site in ("NL", "NO")]
    pd.concat(twice).to_csv(folder / "times.csv", index=False)
    source = np.random.default_rng(7)
    rated = [
        {"patient": p, "therapist": t, "site": site, "score": p % 5 + source.normal(0, 0.5)}
        for site in ("NL", "NO")
        for p in range(12)
        for t in range(3)
    ]
    named(pd.DataFrame(rated)).to_csv(folder / "ratings.csv", index=False)
    return frame.drop(late[3:])


def laid(folder: Path, text: str, frame: pd.DataFrame) -> Path:
    frame.to_csv(folder / "table.csv", index=False)
    (folder / "plan.toml").write_text(text, encoding="utf-8")
    return folder / "plan.toml"


def contents(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield what can be read in every file, those in a Word file and a Parquet file too."""
    for file in folder.rglob("*"):
        if file.suffix == ".docx":
            with zipfile.ZipFile(file) as parts:
                yield file.name, "\n".join(parts.read(name).decode("utf-8", "replace") for name in parts.namelist())
        elif file.suffix == ".parquet":
            yield file.name, pd.read_parquet(file).to_csv()
        elif file.is_file():
            yield file.name, file.read_bytes().decode("utf-8", "replace")


def told(folder: Path, heard: str = "") -> list[tuple[str, str]]:
    """Return which file, or the screen, names somebody."""
    places = [*contents(folder), ("screen", heard), ("names", " ".join(map(str, folder.rglob("*"))))]
    return [(place, secret) for place, text in places for secret in SECRETS if secret in text]


def drawn(folder: Path) -> dict[str, list[str]]:
    """Return picture -> the texts in it: what is drawn as outlines stands in comments too."""
    return {
        file.name: re.findall(r"<!-- (.*?) -->", file.read_text("utf-8"), flags=re.DOTALL)
        for file in folder.rglob("*.svg")
    }


def under_axes(folder: Path) -> list[str]:
    """Return the numbers of people under the axes of all pictures."""
    found = []
    for file in folder.rglob("*.svg"):
        for group in file.read_text("utf-8").split('<g id="n: ')[1:]:
            found.append(re.findall(r"<!-- (.*?) -->", group)[0])
    return found


def small_counts(folder: Path) -> list[str]:
    """Return where a table or record tells a number of 1 to 4."""
    found = []
    for file in folder.rglob("*.csv"):
        table = pd.read_csv(file)
        for column in COUNTS & set(table.columns):
            values = pd.to_numeric(table[column], errors="coerce")
            found += [f"{file.name} {column} {v}" for v in values if 0 < v < 5]
    for file in folder.rglob("*.json"):
        found += [f"{file.name} {what}" for what in _small(json.loads(file.read_text("utf-8")))]
    return found


def _small(record: Any) -> Iterator[str]:
    for one in record if isinstance(record, list) else record.values() if isinstance(record, Mapping) else []:
        yield from _small(one)
    if isinstance(record, Mapping):
        yield from (f"{k} {v}" for k, v in record.items() if k in COUNTS and isinstance(v, int | float) and 0 < v < 5)


Plan = tuple[str, Callable[[Path], pd.DataFrame]]
PLANS: dict[str, Plan] = {
    "comparison": (COMPARISON, lambda folder: visits()),
    "survival": (SURVIVAL, lambda folder: times()),
    "batch": (BATCH, sites),
}


@pytest.fixture(scope="module", params=PLANS)
def done(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """Return the kind of a plan with all its pictures, and what it left behind."""
    folder = tmp_path_factory.mktemp(request.param)
    text, table = PLANS[request.param]
    return request.param, run_plan(laid(folder, text, table(folder)), out=folder / "out")


def test_nobody_is_named_in_any_file(done: tuple[str, Path]) -> None:
    kind, folder = done
    assert told(folder) == []
    endings = {file.suffix for file in folder.rglob("*.*")}
    assert endings >= {".csv", ".json", ".md", ".html", ".png", ".svg"}
    assert (".docx" in endings) == (kind != "batch")


def test_no_table_and_no_record_tells_a_small_number(done: tuple[str, Path]) -> None:
    kind, folder = done
    assert small_counts(folder) == []
    if kind == "comparison":
        sample = json.loads((folder / "comparison.json").read_text("utf-8"))["tables"]["sample"]["rows"]
        assert [row["n"] for row in sample if row["cohort"] == "during" and row["time"] == 36] == [None, None]
        return
    table = pd.read_csv(folder / {"survival": "Left_rates.csv", "batch": "cells.csv"}[kind])
    few = table["n" if kind == "batch" else "events"].isna()
    assert few.any()
    # What is estimated stays, also for few.
    assert table.loc[few, "estimate"].notna().all()


def test_the_report_tells_few_as_few(done: tuple[str, Path]) -> None:
    kind, folder = done
    text = (folder / "report.md").read_text("utf-8")
    if kind == "comparison":
        assert re.search(r"\| 36 \| during \| under 5 \| [\d.]+ \([\d.]+\) \|  \|", text)
    if kind == "survival":
        assert "Of 60 rows, 23 had the event; the other 37 had not when last seen." in text
        assert "| 12 months | left | during | 15 | under 5 |" in text
    assert "below 5 are not told" in text


def test_pictures_tell_few_as_few(done: tuple[str, Path]) -> None:
    _, folder = done
    numbers = under_axes(folder)
    assert "&lt;5" in numbers
    assert any(number.isdigit() and int(number) >= 5 for number in numbers)
    assert not {"1", "2", "3", "4"} & set(numbers)
    assert not [n for n in numbers if re.match(r"[1-4]/", n)]


def test_pictures_name_staff_by_numbers(done: tuple[str, Path]) -> None:
    kind, folder = done
    if kind == "comparison":
        assert {"01", "10"} <= set(drawn(folder)["effects_of_therapist_bsi.svg"])


def test_what_is_said_on_the_screen(tmp_path: Path, capsys: Heard) -> None:
    for kind, (text, table) in PLANS.items():
        (folder := tmp_path / kind).mkdir()
        plan = laid(
            folder,
            text.replace('figures = "all"', 'figures = "none"').replace("individual_lines = true", ""),
            table(folder),
        )
        assert command.main(["check", str(plan)]) == 0
        assert command.main(["run", str(plan), "--out", str(folder / "out")]) == 0
        heard = capsys.readouterr()
        assert told(folder / "out", heard.out + heard.err) == []
        assert ".png" not in " ".join(map(str, (folder / "out").rglob("*")))


def broken(kind: str, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the table with a fault in a patient's rows, in one site where there are several."""
    here = frame["site"] == "NO" if kind == "batch" else frame["patient"].notna()
    if kind == "survival":
        frame.loc[3, "since"] = 99
        return pd.concat([frame, frame.iloc[[5]].assign(months=99, cohort="during")])
    first = frame.index[here & (frame["month"] == 18)][0]
    frame.loc[first, "cohort"] = "during" if frame.loc[first, "cohort"] == "before" else "before"
    return pd.concat([frame, frame[here & frame["bsi"].notna()].iloc[[5]].assign(sipp=np.nan)])


@pytest.mark.parametrize("kind", PLANS)
def test_a_complaint_names_nobody(kind: str, tmp_path: Path, capsys: Heard) -> None:
    text, table = PLANS[kind]
    plan = laid(tmp_path, text, broken(kind, table(tmp_path)))
    for words in (["check", str(plan)], ["run", str(plan), "--out", str(tmp_path / "out")]):
        assert command.main(words) in (2, 3)
        heard = capsys.readouterr()
        assert "row" in heard.out + heard.err
        assert told(tmp_path / "out", heard.out + heard.err) == []


def respelled(kind: str, frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the table with one name in other capitals in one row, at one site where there are several."""
    here = frame.index[frame["site"] == "NO"] if kind == "batch" else frame.index
    frame.loc[here[1], column] = frame.loc[here[0], column].swapcase() + " "
    return frame


@pytest.mark.parametrize(
    ("kind", "column"), [("comparison", "patient"), ("comparison", "therapist"), ("batch", "patient")]
)
def test_a_name_spelled_in_two_ways_is_refused_and_not_told(
    kind: str, column: str, tmp_path: Path, capsys: Heard
) -> None:
    """Numbered as two names, a patient would silently count as two."""
    text, table = PLANS[kind]
    plan = laid(tmp_path, text, respelled(kind, table(tmp_path), column))
    assert command.main(["run", str(plan), "--out", str(tmp_path / "out")]) in (2, 3)
    heard = capsys.readouterr()
    assert f"{column}'" in heard.out + heard.err
    assert "differ in capitals or blanks only" in heard.out + heard.err
    assert told(tmp_path / "out", heard.out + heard.err) == []
    assert "RECOGNISABLE" not in (heard.out + heard.err).upper()
    assert "PATIENT-" not in (heard.out + heard.err).upper()


@pytest.mark.parametrize("kind", PLANS)
def test_what_a_fit_warns_of_names_nobody(kind: str, tmp_path: Path, capsys: Heard) -> None:
    """Separation, a group of one, and staff with nobody beside them: results, warnings and reasons."""
    text, table = PLANS[kind]
    frame = table(tmp_path)
    if kind == "survival":
        frame["left"] = np.where(frame["cohort"] == "during", 0, frame["left"])
        frame["therapist"] = frame["therapist"] + frame["patient"].str[-7:-4]
    else:
        frame = frame.groupby("patient").head(1) if kind == "comparison" else frame[frame["month"] < 18]
    plan = laid(tmp_path, text, frame)
    command.main(["run", str(plan), "--out", str(tmp_path / "out")])
    heard = capsys.readouterr()
    assert heard.out + heard.err
    assert told(tmp_path / "out", heard.out + heard.err) == []


def test_a_word_that_was_mistyped_gets_no_name_as_advice(tmp_path: Path) -> None:
    for kind, (text, table) in PLANS.items():
        (folder := tmp_path / kind).mkdir()
        wrong = '\n[labels]\n"PATIENT-001-X" = "P"\n"Dr. Recognisabl" = "D"\n'
        with pytest.raises(PlanError, match=r"\[labels\] PATIENT-001-X: ") as caught:
            run_plan(laid(folder, text + wrong, table(folder)), out=folder / "out")
        assert not [secret for secret in ("XYZ", "Recognisable") if secret in str(caught.value)], kind


def test_staff_is_named_if_asked_and_patients_never(tmp_path: Path) -> None:
    text = COMPARISON.replace("[privacy]", '[privacy]\nstaff = "named"')
    out = run_plan(laid(tmp_path, text, visits()), out=tmp_path / "out")
    assert "Dr. Recognisable-T01" in drawn(out)["effects_of_therapist_bsi.svg"]
    assert {secret for _, secret in told(out)} == {"Recognisable"}


def test_all_numbers_are_told_if_asked(tmp_path: Path) -> None:
    text = SURVIVAL.replace('figures = "all"', 'figures = "none"') + "[privacy]\nmin_count = 1\n"
    out = run_plan(laid(tmp_path, text, times()), out=tmp_path / "out")
    assert small_counts(out)
    report = (out / "report.md").read_text("utf-8")
    assert "Of 60 rows, 23 had the event (20 of 40 in before, 3 of 20 in during)" in report
    assert "are not told" not in report
    assert json.loads((out / "Left.json").read_text("utf-8"))["curves"]["header"]


def test_further_columns_are_masked_if_named(tmp_path: Path) -> None:
    text = COMPARISON.replace('groups = ["therapist"]', 'adjust = ["therapist"]').replace('"all"', '"none"')
    text = text.replace("individual_lines = true", "")
    open_ = run_plan(laid(tmp_path, text, visits()), out=tmp_path / "open")
    hidden = run_plan(laid(tmp_path, text + 'mask = ["therapist"]', visits()), out=tmp_path / "hidden")
    assert "bsi_coefficients.csv" in {place for place, _ in told(open_)}
    assert told(hidden) == []
    # The reference of the covariate is another one, and nothing else.
    one, other = (pd.read_csv(folder / "bsi_effect_sizes.csv") for folder in (open_, hidden))
    pd.testing.assert_frame_equal(one, other, rtol=1e-6)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("min_count = 0", "[privacy] min_count=0: less than 1"),
        ('staff = "hidden"', "[privacy] staff='hidden': unknown option"),
        ('mask = ["therapists"]', "[privacy] mask='therapists': no such column; did you mean 'therapist'?"),
        ('mask = ["cohort"]', "[privacy] mask='cohort': its values are what is compared, and need their names"),
        ("individual_lines = 1", "[privacy] individual_lines=1: neither true nor false"),
        ("level = 0.9", "[privacy] level: unknown key; it belongs under"),
    ],
)
def test_faults_of_the_section(line: str, words: str, tmp_path: Path) -> None:
    for kind, (text, table) in PLANS.items():
        (folder := tmp_path / kind).mkdir()
        bare = text.replace("[privacy]\nindividual_lines = true\n", "")
        with pytest.raises(PlanError) as caught:
            run_plan(laid(folder, f"{bare}\n[privacy]\n{line}\n", table(folder)), out=folder / "out")
        assert words in str(caught.value)


def test_keys_in_the_wrong_place_are_sent_home(tmp_path: Path) -> None:
    for old, home in (("min_count = 5", "under [privacy]"), ('figures = "none"', "above the first section")):
        name = old.split(" ")[0]
        text = BATCH.replace("[batch]\n", f"[batch]\n{old}\n", 1)
        with pytest.raises(PlanError, match=re.escape(f"[batch] {name}: unknown key; it belongs {home}")):
            run_plan(laid(tmp_path, text, sites(tmp_path)), out=tmp_path / "out")


# By hand -------------------------------------------------------------------------------------------------------------


def test_counts_are_words_of_results() -> None:
    assert set(COLUMNS) >= COUNTS


def test_names_become_numbers_in_their_order() -> None:
    frame = pd.DataFrame({"who": ["Zoe", "Abe", None, "Zoe"], "code": [900, 7, 900, 8], "other": list("abcd")})
    made = masked(frame, ["who", "code"])
    assert made["who"].tolist()[:2] == ["1", "2"]
    assert made["who"].isna().tolist() == [False, False, True, False]
    assert made["who"].iloc[3] == "1"
    assert made["code"].tolist() == [1, 2, 1, 3]
    assert made["other"].tolist() == list("abcd")
    assert masked(pd.DataFrame({"who": ["Zoe", "Abe", "zoe ", "ZOE", "Cy"]}), ["who"])["who"].tolist() == [
        "1",
        "2",
        "1 ",
        "1  ",
        "5",
    ]
    assert masked(pd.DataFrame({"who": [f"n{k}" for k in range(12)]}), ["who"])["who"].tolist()[0] == "01"


def test_a_covariate_that_is_a_number_keeps_its_values() -> None:
    """A year that clusters and trends is no name; text is one in every place but where it is compared."""
    frame = pd.DataFrame({"year": [2001, 2002], "doctor": ["A", "B"], "era": ["x", "y"]})
    hidden = Privacy().hidden
    assert hidden({"cluster": "year", "terms[0]": "year"}, frame) == ()
    assert hidden({"cluster": "year"}, frame) == ("year",)
    assert hidden({"cluster": "doctor", "terms[0]": "doctor"}, frame) == ("doctor",)
    assert hidden({"cluster": "doctor", "by": "doctor"}, frame) == ()
    assert hidden({"cluster": "doctor", "id": "era"}, frame) == ("doctor", "era")
    assert hidden({"group": "doctor", "item": "era", "score": "year"}, frame) == ("doctor", "era")
    assert Privacy(staff="named").hidden({"cluster": "doctor", "id": "era"}, frame) == ("era",)
    assert Privacy(mask=("era",)).hidden({"terms[0]": "era", "strata[0]": "doctor"}, frame) == ("era",)


def test_small_numbers_and_what_gives_them_away() -> None:
    table = pd.DataFrame({"events": [0, 3, 7], "exposure": [4.0, 30.0, 70.0], "estimate": [0.0, 0.1, 0.1]})
    made = Privacy().table(table)
    assert made["events"].tolist() == [0, pd.NA, 7]
    assert made["exposure"].isna().tolist() == [False, True, False]
    assert made["estimate"].tolist() == [0.0, 0.1, 0.1]
    watched = pd.DataFrame({"at_risk": [2, 20], "events": [0, 0], "exposure": [20.0, 190.0]})  # ten months each
    assert Privacy().table(watched)["exposure"].isna().tolist() == [True, False]
    assert Privacy(min_count=1).shown(File("f", table)).content is table
    assert Privacy(min_count=3).table(table).equals(table)


def test_a_record_without_small_numbers_still_reads_as_tables() -> None:
    years = pd.DataFrame({"years": range(1, 11), "event": [1, 0] * 5, "era": ["x"] * 6 + ["y"] * 4})
    found = ist.survival_curves(years, duration="years", event="event", by="era")
    record = Privacy().shown(File("f", found.to_dict())).content
    assert isinstance(record, Mapping)
    assert "header" not in record
    tidy = read_tables(record)["tidy"]
    assert tidy["at_risk"].dropna().min() >= 5
    np.testing.assert_array_equal(tidy["estimate"], found.tidy()["estimate"])


def test_a_second_number_is_hidden_where_one_could_be_had_by_subtraction() -> None:
    rows = [
        {"Used": "curves", "File": 100, "Lost: a": 0, "Lost: b": 0, "Left": 100},
        {"Used": "model", "File": 100, "Lost: a": 2, "Lost: b": 0, "Left": 98},
    ]
    table = Table(rows, "flow", people=["Lost: a", "Lost: b"], balance=["Lost: a", "Lost: b", "File"])
    assert table.shown() == [
        ["curves", "not told", "0", "0", "100"],
        ["model", "not told", "under 5", "0", "98"],
    ]
    rows[1] |= {"Lost: b": 10, "Left": 88}
    assert table.shown()[1] == ["model", "100", "under 5", "not told", "88"]
