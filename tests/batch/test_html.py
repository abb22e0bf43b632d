"""The report as one page: the answer first, nothing unescaped, nothing loaded, and the numbers of the tables."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import implstats as ist
from implstats.batch import read_plan, run_plan
from implstats.batch import run as room
from implstats.batch.blocks import Block, Equations, Figure, Heading, Items, Sources, Table, Text, on_one_line
from implstats.batch.checklists import checklists
from implstats.batch.page import page
from implstats.batch.plan import Plan
from implstats.examples import example_files

ALONE = {"meta", "img", "wbr", "br", "hr", "link", "input"}
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
HOSTILE = [
    '"><script>alert(1)</script>',
    "<img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "x" * 200,
    "\u05e9\u05dc\u05d5\u05dd \u202eabc",
]


class Seen(HTMLParser):
    """What a browser sees: tags with attributes, headings, tables, and the text of each section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[tuple[tuple[str, ...], str]] = []
        self.tables: list[list[list[str]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ALONE:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        words = data.replace("\u00a0", " ")
        self.said.append((tuple(self.open), words))
        if self.open and self.open[-1] in ("th", "td"):
            self.tables[-1][-1][-1] += words

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def words(self, *inside: str) -> str:
        """Return the text within tags of some names."""
        return " ".join("".join(w for tags, w in self.said if set(inside) <= set(tags)).split())

    def headings(self) -> list[str]:
        found = [w.strip() for tags, w in self.said if tags and tags[-1] == "h2"]
        return [heading for heading in found if heading]

    def table(self, *columns: str) -> list[dict[str, str]]:
        """Return the rows of the tables that have some columns."""
        found = [table for table in self.tables if set(columns) <= set(table[0])]
        assert found, columns
        return [dict(zip(table[0], row, strict=True)) for table in found for row in table[1:]]


def example(folder: Path, name: str) -> Path:
    """Put an example into a folder, with few draws."""
    for path in example_files(name)[::2]:
        text = path.read_text(encoding="utf-8").replace("draws = 999", "draws = 20")
        (folder / path.name).write_text(text, encoding="utf-8")
    return folder / f"{name}.toml"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    return run_plan(example(folder, "reorganisation"), out=folder / "results")


@pytest.fixture(scope="module")
def programmes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("programmes")
    patch = pytest.MonkeyPatch()
    patch.setattr(room, "_draw", lambda part, folder: [])
    out = run_plan(example(folder, "programmes"), out=folder / "results")
    patch.undo()
    return out


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_draw", lambda part, folder: [])


@pytest.fixture(scope="module")
def text(done: Path) -> str:
    return (done / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def seen(text: str) -> Seen:
    return Seen(text)


def attributes(seen: Seen) -> Iterator[tuple[str, str, str]]:
    """Yield every (tag, attribute, value)."""
    for tag, given in seen.tags:
        for name, value in given.items():
            yield tag, name, value or ""


def safe(seen: Seen, text: str) -> None:
    """Nothing runs, nothing is loaded, and every tag is closed."""
    assert seen.open == []
    assert not {"script", "iframe", "object", "embed", "link", "base", "form", "input"} & {tag for tag, _ in seen.tags}
    assert [a["content"] for a in seen.of("meta") if a.get("http-equiv") == "Content-Security-Policy"] == [POLICY]
    for tag, name, value in attributes(seen):
        assert not name.startswith("on"), (tag, name)
        if name == "href":
            assert value.startswith(("#section-", "https://doi.org/10.")), value
        elif name in ("src", "srcset", "data", "action", "style", "background"):
            assert tag == "img", (tag, name)
            assert re.match(r"data:image/(svg\+xml|png);base64,[A-Za-z0-9+/=]+$", value), value[:80]
    (style,) = re.findall(r"<style>(.*?)</style>", text, flags=re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style


# The page ------------------------------------------------------------------------------------------------------------


def test_the_page_is_well_formed_and_alone(seen: Seen, text: str) -> None:
    safe(seen, text)
    assert seen.of("html") == [{"lang": "en"}]
    assert len(seen.of("h1")) == 1
    assert seen.words("h1") == "Outcome of treatment before and during a reorganisation"
    assert len(seen.of("caption")) == len(seen.of("table")) == len(seen.tables) > 10
    assert {a.get("scope") for a in seen.of("th")} == {"col"}
    levels = [int(tag[1]) for tag, _ in seen.tags if re.fullmatch("h[1-6]", tag)]
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))


def test_pictures_are_in_the_page(seen: Seen, done: Path) -> None:
    assert len(seen.of("img")) == len(seen.of("figure")) == len(seen.of("figcaption")) == 5
    for image in seen.of("img"):
        assert len(image["alt"] or "") > 40
    first = (seen.of("img")[0]["src"] or "").partition(",")[2]
    assert base64.b64decode(first) == (done / "trajectories.svg").read_bytes()


def test_the_answer_comes_first(seen: Seen, study: Any) -> None:
    headings = seen.headings()
    assert headings[:2] == ["The answer", "What these data cannot say"]
    order = ["Symptom severity (BSI, 0-4)", "Who was analysed", "Can the models be believed?"]
    order += [
        "What if the assumptions do not hold?",
        "Methods",
        "Software",
        "References",
        "Checklists for a publication",
    ]
    assert [h for h in headings if h in order] == order
    words = seen.words("main")
    labels = read_plan(example_files("reorganisation")[2]).labels
    for sentence in study.in_words({k: v for k, v in labels.items() if k != "month"})[:3]:
        assert words.index(sentence) < words.index("What these data cannot say")


def test_methods_have_equations_versions_and_references(seen: Seen) -> None:
    assert "y(i, t) = mean of i's cohort at t" in seen.words("dl", "code")
    assert f"implstats {ist.__version__}, python 3." in seen.words("main")
    cited = {a["href"] for a in seen.of("a")}
    assert {"https://doi.org/10.1002/pmh.1381", "https://doi.org/10.1136/bmj.i6795"} <= cited


# The numbers ---------------------------------------------------------------------------------------------------------


def shown(row: pd.Series, *names: str, decimals: int = 2) -> str:
    """Write a number of a CSV with its interval as readers see it."""
    value, low, high = (f"{row[name]:.{decimals}f}" for name in names)
    return f"{value} [{low}, {high}]"


def test_means_and_effects_are_those_of_the_csv(seen: Seen, done: Path) -> None:
    told = seen.table("Cohort", "Mean (SE)", "Improvement", "d")
    assert len(told) == 12
    for k, outcome in enumerate(("bsi", "sipp")):
        means = pd.read_csv(done / f"{outcome}_means.csv")
        effects = pd.read_csv(done / f"{outcome}_effect_sizes.csv").query("quantity == 'd'")
        for row in told[6 * k : 6 * k + 6]:
            month = float(row["Months since the start of treatment"])
            here = f"time == {month} and cohort == '{row['Cohort'].lower()}'"
            (mean,) = means.query(here).to_dict("records")
            assert row["Mean (SE)"] == f"{mean['estimate']:.2f} ({mean['std_error']:.2f})"
            own = effects.query(here)
            assert row["d"] == (shown(own.iloc[0], "estimate", "conf_low", "conf_high") if month else "")


def test_comparisons_are_those_of_the_csv(seen: Seen, done: Path) -> None:
    table = pd.read_csv(done / "comparison.csv")
    told = seen.table("Compared", "Difference in d", "Improvement retained")
    for (_, row), cells in zip(table.iterrows(), told, strict=True):
        assert cells["Difference in d"] == shown(row, "d_difference", "d_difference_low", "d_difference_high")
        share = [f"{100 * row[k]:.0f} %" for k in ("retained", "retained_low", "retained_high")]
        assert cells["Improvement retained"] == f"{share[0]} [{share[1]}, {share[2]}]"


def test_doubts_are_those_of_the_csv(seen: Seen, done: Path) -> None:
    natural = pd.read_csv(done / "natural_change.csv")
    cells = [row[f"{c} SD"] for row in seen.table("0.1 SD") for c in ("0", "0.1", "0.2", "0.3")]
    for cell, (_, row) in zip(cells, natural.iterrows(), strict=True):
        share = [f"{100 * row[k]:.0f} %" for k in ("estimate", "conf_low", "conf_high")]
        assert cell == f"{share[0]} [{share[1]}, {share[2]}]"
    table = pd.read_csv(done / "tipping_point.csv").set_index(["outcome", "group", "delta_sd"])
    for k, cells_of in enumerate(seen.table("Worse by")):
        for column, group in (("All cohorts worse", "all cohorts"), ("Only Before worse", "reference")):
            part = table.loc[(("bsi", "sipp")[k // 4], group)].iloc[k % 4]
            assert cells_of[column] == shown(part, "estimate", "conf_low", "conf_high")
    values = pd.read_csv(done / "e_values.csv")
    assert [row["E-value"] for row in seen.table("E-value")] == [f"{v:.2f}" for v in values["e_value"]]
    readings = pd.read_csv(done / "readings.csv")
    assert [row["Seen"] for row in seen.table("Looked at", "Seen")] == [f"{v:.2f}" for v in readings["statistic"]]


def test_the_doubts_are_what_the_functions_say(done: Path, study: Any) -> None:
    found = ist.tipping_point(
        study.fits["bsi"], at=36, worse="before", deltas=[study.tidy()["sd"][0]], imputations=20, rng=2017
    ).tidy()
    table = pd.read_csv(done / "tipping_point.csv").query("outcome == 'bsi' and group == 'reference' and delta_sd == 1")
    assert table["estimate"].item() == pytest.approx(found["estimate"][0], abs=1e-12)
    diagnosis = ist.diagnose(study.fits["sipp"], influence=False).tidy()
    readings = pd.read_csv(done / "readings.csv").query("outcome == 'sipp'")
    assert readings["statistic"].tolist() == pytest.approx(diagnosis["statistic"].tolist(), abs=1e-12)


@pytest.mark.usefixtures("undrawn")
def test_what_cannot_be_tried_is_said_or_left_out(tmp_path: Path) -> None:
    plan = example(tmp_path, "reorganisation")
    text = plan.read_text(encoding="utf-8").replace('model = "auto"', 'model = "growth"')
    plan.write_text(text.replace('sd = "baseline"', 'sd = "own"'), encoding="utf-8")
    out = run_plan(plan, out=tmp_path / "results")
    seen = Seen((out / "report.html").read_text(encoding="utf-8"))
    assert "This could not be computed: sd='own'" in seen.words("main", "p")
    # Visits after drop-out are imputed under an MMRM, and there is none.
    assert "Patients who left" not in seen.words("h3")
    assert not (out / "natural_change.csv").exists()
    assert not (out / "tipping_point.csv").exists()
    assert "conditional residuals: skewness" in seen.words("td")
    assert "z(i, t)'u(i)" in seen.words("code")


@pytest.mark.usefixtures("undrawn")
def test_an_outcome_that_nobody_left_does_not_hide_the_others(tmp_path: Path) -> None:
    plan = example(tmp_path, "reorganisation")
    frame = ist.load_example("reorganisation")
    stayed = frame.groupby("patient")["month"].transform("size") == 3
    # Of the reference everybody stayed; of the other cohort some left.
    frame = frame[stayed | (frame["cohort"] == "during")]
    for outcome in ("bsi", "sipp"):
        frame[outcome] = frame[outcome].fillna(frame[outcome].mean())
    frame.to_csv(tmp_path / "reorganisation.csv", index=False)
    seen = Seen((run_plan(plan, out=tmp_path / "results") / "report.html").read_text(encoding="utf-8"))
    rows = seen.table("Worse by")
    assert len(rows) == 8
    assert {row["Only Before worse"] for row in rows} == {""}
    assert all(row["All cohorts worse"].startswith("-0.") for row in rows)
    assert "Only Before worse: worse='before': nobody of 'before' left before the last visit" in seen.words("li")


def test_survival_tables_are_those_of_the_csv(programmes: Path) -> None:
    text = (programmes / "report.html").read_text(encoding="utf-8")
    seen = Seen(text)
    safe(seen, text)
    ratios = pd.read_csv(programmes / "Programmes_that_stopped_hazard_ratios.csv").query("model == 'adjusted'")
    told = seen.table("Hazard ratio, adjusted", "E-value")[: len(ratios)]
    for cells, (_, row) in zip(told, ratios.iterrows(), strict=True):
        assert cells["Hazard ratio, adjusted"] == shown(row, "estimate", "conf_low", "conf_high")
        assert cells["E-value"] == f"{row['e_value']:.2f}"
    tests = pd.read_csv(programmes / "Programmes_that_stopped_proportional_hazards.csv").query("model == 'adjusted'")
    told = seen.table("Chi-square", "df")[: len(tests)]
    assert [row["Chi-square"] for row in told] == [f"{v:.2f}" for v in tests["statistic"]]
    assert "S(t) = product over times" in seen.words("code")


# People --------------------------------------------------------------------------------------------------------------


def test_few_people_are_told_as_few() -> None:
    rows = [{"Visit": f"v{n}", "Patients": n, "Rows": n} for n in (0, 1, 4, 5)]
    table = Table(rows, "Seen", people=("Patients",))
    assert table.shown() == [["v0", "0", "0"], ["v1", "under 5", "1"], ["v4", "under 5", "4"], ["v5", "5", "5"]]
    assert table.right == [False, True, True]


@pytest.mark.usefixtures("undrawn")
def test_nobody_is_named_and_few_are_hidden(tmp_path: Path) -> None:
    plan = example(tmp_path, "reorganisation")
    plan.write_text(plan.read_text(encoding="utf-8").replace('# groups = ["the', 'groups = ["the'), encoding="utf-8")
    frame = ist.load_example("reorganisation")
    frame["patient"] = "Jansen" + frame["patient"].astype(str)
    frame["therapist"] = "Dr Visser" + frame["therapist"].astype(str)
    # Of the later cohort three were seen at the last visit.
    last = (frame["cohort"] == "during") & (frame["month"] == 36)
    frame = frame[~last | frame["patient"].isin(frame.loc[last, "patient"].unique()[:3])]
    frame.to_csv(tmp_path / "reorganisation.csv", index=False)
    out = run_plan(plan, out=tmp_path / "results")
    for name in ("report.html", "report.md", "tables.tex", "readings.csv"):
        text = (out / name).read_text(encoding="utf-8")
        assert "Jansen" not in text, name
        assert "Visser" not in text, name
    told = Seen((out / "report.html").read_text(encoding="utf-8")).table("Patients seen")
    late = [row["Patients seen"] for row in told if list(row.values())[:2] == ["36", "During"]]
    assert late == ["under 5", "under 5"]
    assert "| 36 | During | under 5 |" in (out / "report.md").read_text(encoding="utf-8")


@pytest.mark.usefixtures("undrawn")
def test_a_reason_names_no_patient(tmp_path: Path) -> None:
    """A patient with two rows at a time, of which one has no SIPP: the BSI cannot be analysed."""
    plan = example(tmp_path, "reorganisation")
    frame = ist.load_example("reorganisation")
    frame["patient"] = "Jansen" + frame["patient"].astype(str)
    frame.loc[len(frame)] = {**frame.loc[1].to_dict(), "sipp": float("nan")}
    frame.to_csv(tmp_path / "reorganisation.csv", index=False)
    out = run_plan(plan, out=tmp_path / "results")
    assert "has two rows at month=18 (row 388)" in (out / "report.html").read_text(encoding="utf-8")
    for file in out.iterdir():
        assert b"Jansen" not in file.read_bytes(), file.name


# Hostile names -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("undrawn")
def test_hostile_names(tmp_path: Path) -> None:
    table = ist.load_example("reorganisation")
    table["cohort"] = table["cohort"].map({"before": HOSTILE[0], "during": HOSTILE[4]})
    table["a<b>\"'"] = table["bsi"]
    plan = read_plan(example(tmp_path, "reorganisation"))
    table.to_csv(tmp_path / "reorganisation.csv", index=False)
    asked = plan.comparison
    assert asked is not None
    roles = replace(asked.roles, reference=HOSTILE[0])
    data = replace(asked.data, ranges=None)
    asked = replace(asked, roles=roles, data=data, outcomes={"a<b>\"'": "lower", "sipp": "higher"})
    labels = {"sipp": HOSTILE[3], "month": HOSTILE[1]}
    plan = replace(plan, comparison=asked, title=HOSTILE[2], note=HOSTILE[0], labels=labels, record={})
    text = (run_plan(plan, out=tmp_path / "results") / "report.html").read_text(encoding="utf-8")
    seen = Seen(text)
    safe(seen, text)
    assert seen.words("h1") == HOSTILE[2]
    assert seen.words("header").endswith(HOSTILE[0])
    assert f"{HOSTILE[1]} 36" in seen.words("main") or HOSTILE[1] in seen.words("th")
    assert HOSTILE[3] in seen.headings() or HOSTILE[3] in seen.words("h2")
    assert "\u202e" not in text
    assert "\u05e9\u05dc\u05d5\u05dd abc" in seen.words("td")
    # No word is longer than a line: browsers may break it.
    assert max(len(word) for tags, said in seen.said if "td" in tags or "th" in tags for word in said.split()) <= 24


def hostile_blocks(word: str) -> list[Block]:
    return [
        Heading(word),
        Heading(word, 3),
        Text(word, strong=word),
        Items([word]),
        Sources([f"{word}: doi 10.1000/{word}", word]),
        Equations([(word, word)]),
        Figure("none", word, missing=word),
        Figure("not_there", word),
        Table([{word: word, "n": 3}], word),
    ]


@pytest.mark.parametrize("word", HOSTILE)
def test_no_block_lets_markup_through(word: str, tmp_path: Path) -> None:
    text = page(tmp_path, Plan(title=word, note=word), hostile_blocks(word))
    seen = Seen(text)
    safe(seen, text)
    plain = on_one_line(word)
    for tag in ("h1", "h2", "h3", "strong", "li", "dt", "code", "caption", "th", "td"):
        assert plain in seen.words(tag), tag
    assert "\u202e" not in seen.words("main")


# Checklists ----------------------------------------------------------------------------------------------------------


def test_checklists_have_every_item_and_name_sections_that_are_there(seen: Seen) -> None:
    lists = [table for table in seen.tables if table[0] == ["Item", "Asks for", "In this report"]]
    numbers = [list(dict.fromkeys(int(re.sub(r"\D", "", row[0])) for row in table[1:])) for table in lists]
    assert numbers == [list(range(1, 23)), list(range(1, 28)), list(range(1, 9))]
    there = {*seen.headings(), "the section of each outcome"}
    named = {where for table in lists for row in table[1:] for where in row[2].split("; ")}
    assert {where.removesuffix(" (numbers only)").removesuffix(" (limits only)") for where in named} <= there | {"open"}
    assert "open" in named


def test_checklists_of_survival_have_no_mixed_model() -> None:
    names = [block.caption for block in checklists(["survival"]) if isinstance(block, Table)]
    assert [name.split(",")[0] for name in names] == ["STROBE", "StaRI"]
