"""Every notebook stands as it was made: in step with its text, giving its outputs again, each term defined once."""

from __future__ import annotations

import functools
import re
import runpy
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat")
for needed in ("jupytext", "nbclient", "ipykernel"):
    pytest.importorskip(needed)

ROOT = Path(__file__).resolve().parents[1]
BUILD = SimpleNamespace(**runpy.run_path(str(ROOT / "notebooks" / "build.py")))
TEXTS = {str(text.relative_to(BUILD.HERE).with_suffix("")): text for text in BUILD.texts()}
LESSONS = [name for name in TEXTS if "/" not in name]

NUMBER = re.compile(r"[-−]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
ABILITIES = "**After this notebook you can**"
# An address in memory, a time of the day, a place on somebody's machine.
OF_THIS_MACHINE = re.compile(r"0x[0-9a-fA-F]{6,}|\b\d\d:\d\d:\d\d\b|site-packages|/tmp/|/home/|/root/|/Users/|[A-Z]:\\")


@pytest.fixture(params=TEXTS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=LESSONS)
def lesson(request: pytest.FixtureRequest) -> str:
    return request.param


@functools.cache
def committed(name: str) -> Any:
    return nbformat.read(TEXTS[name].with_suffix(".ipynb"), as_version=4)


@functools.cache
def again(name: str) -> tuple[Any, float]:
    """Execute a notebook, once however many tests ask; return it with the seconds that took."""
    started = time.perf_counter()
    done = BUILD.executed(BUILD.notebook_of(TEXTS[name]), at=TEXTS[name].parent)
    return done, time.perf_counter() - started


def words(name: str) -> str:
    """Return the prose of a notebook."""
    return "\n\n".join(cell.source for cell in committed(name).cells if cell.cell_type == "markdown")


def section(name: str, title: str) -> str:
    """Return what stands under a heading, up to the next of its level."""
    found = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", words(name), flags=re.MULTILINE | re.DOTALL)
    assert found, f"{name} has no section '## {title}'"
    return found[1]


def outputs(notebook: Any) -> list[list[dict[str, str]]]:
    """Return for every code cell its outputs, one mapping of kind to text each; of a picture only that it is there."""

    def kinds(output: Any) -> dict[str, str]:
        if output.output_type == "stream":
            return {output.name: output.text}
        assert output.output_type in ("display_data", "execute_result"), output.output_type
        return {kind: data if kind.startswith("text/") else "" for kind, data in sorted(output.data.items())}

    return [[kinds(output) for output in cell.outputs] for cell in notebook.cells if cell.cell_type == "code"]


def said(notebook: Any) -> list[str]:
    """Return every text among the outputs."""
    return [text for cell in outputs(notebook) for output in cell for text in output.values()]


def same_number(old: str, new: str) -> bool:
    """Return whether numbers agree to a thousandth, or to the last place that is printed; whole ones exactly."""
    old, new = old.replace("−", "-"), new.replace("−", "-")
    if "." not in old:
        return old == new
    mantissa, _, power = old.lower().partition("e")
    last_place = 10.0 ** (int(power or 0) - len(mantissa.partition(".")[2]))
    return abs(float(new) - float(old)) <= max(1e-3 * abs(float(old)), 1.01 * last_place)


def differences(old: str, new: str) -> list[str]:
    """Return how a text differs from what it was: in a number, or in words whatever the blanks between them."""
    was, now = ([" ".join(part.split()) for part in NUMBER.split(text)] for text in (old, new))
    if was != now:
        return [f"was\n{old}\nis\n{new}"]
    pairs = zip(NUMBER.findall(old), NUMBER.findall(new), strict=True)
    return [f"was {a}, is {b} in\n{new}" for a, b in pairs if not same_number(a, b)]


def test_numbers_may_differ_by_a_thousandth_and_words_not_at_all() -> None:
    assert differences("d  0.4321, n 20", "d 0.4323, n 20") == []
    assert differences("-0.00 and p 0.031", "0.00 and p 0.030") == []
    assert differences("1.234e-05", "1.235e-05") == []
    assert len(differences("d 0.4321", "d 0.4341")) == 1
    assert len(differences("n 2000", "n 2001")) == 1
    assert len(differences("d 0.43", "g 0.43")) == 1
    assert len(differences("one 1", "one 1 two 2")) == 1


def test_every_lesson_has_its_answers_and_every_text_its_notebook() -> None:
    assert LESSONS
    assert sorted(TEXTS) == sorted(LESSONS + [f"answers/{name}" for name in LESSONS])
    made = [path.relative_to(BUILD.HERE).with_suffix("") for path in BUILD.HERE.rglob("[0-9]*.ipynb")]
    assert sorted(map(str, made)) == sorted(TEXTS)


def test_a_notebook_says_what_its_text_says(name: str) -> None:
    text, made = BUILD.notebook_of(TEXTS[name]), committed(name)
    asked = f"run: python notebooks/build.py {TEXTS[name].stem}"
    assert [dict(cell.metadata) for cell in made.cells] == [dict(cell.metadata) for cell in text.cells], asked
    for was, now in zip(made.cells, text.cells, strict=True):
        assert (was.cell_type, was.id, was.source) == (now.cell_type, now.id, now.source), asked
    assert made.metadata == text.metadata


def test_a_notebook_gives_its_outputs_again(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    made, (fresh, seconds) = committed(name), again(name)
    with capsys.disabled():
        sys.stdout.write(f" {name}: {seconds:.1f} s ")
    before, after = outputs(made), outputs(fresh)
    assert [[sorted(output) for output in cell] for cell in before] == [
        [sorted(output) for output in cell] for cell in after
    ]
    found = [line for old, new in zip(said(made), said(fresh), strict=True) for line in differences(old, new)]
    assert not found, "\n\n".join(found)


def test_outputs_hold_nothing_of_the_machine_they_were_made_on(name: str) -> None:
    for cell in outputs(committed(name)):
        for output in cell:
            assert "stderr" not in output, output
            assert not [text for text in output.values() if OF_THIS_MACHINE.search(text)]
    assert all("execution" not in cell.metadata for cell in committed(name).cells)


def test_a_notebook_opens_fast_on_a_code_host(name: str) -> None:
    assert TEXTS[name].with_suffix(".ipynb").stat().st_size < 400_000


def test_a_lesson_has_its_parts_in_order(lesson: str) -> None:
    title, *_ = committed(lesson).cells
    assert title.source.startswith("# ")
    text = words(lesson)
    assert len(re.findall("^# ", text, flags=re.MULTILINE)) == 1
    headings = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    last = ["Exercises", "How to report it"] + ["References"] * ("doi" in text.lower())
    assert headings[-len(last) :] == last
    assert 0 <= text.find(ABILITIES) < text.index(f"## {headings[0]}")
    abilities = text[text.index(ABILITIES) :].partition("\n## ")[0]
    assert 3 <= len(re.findall(r"^- ", abilities, flags=re.MULTILINE)) <= 5


def test_a_lesson_shows_a_picture(lesson: str) -> None:
    assert any("image/png" in output for cell in outputs(committed(lesson)) for output in cell)


def test_a_report_takes_its_numbers_from_the_results(lesson: str) -> None:
    cells = committed(lesson).cells
    (head,) = [k for k, cell in enumerate(cells) if re.search("^## How to report it$", cell.source, re.MULTILINE)]
    assert len(NUMBER.findall(" ".join(said(SimpleNamespace(cells=cells[head:]))))) >= 3


def test_exercises_are_numbered_and_each_is_answered(lesson: str) -> None:
    exercises = section(lesson, "Exercises")
    numbers = re.findall(r"^(\d+)\. ", exercises, flags=re.MULTILINE)
    assert numbers == [str(k) for k in range(1, len(numbers) + 1)]
    assert 4 <= len(numbers) <= 6
    assert f"(answers/{lesson}.ipynb)" in exercises
    assert re.findall(r"^## (\d+)\b", words(f"answers/{lesson}"), flags=re.MULTILINE) == numbers


def test_the_list_of_lessons_names_them_all() -> None:
    listed = re.findall(r"\((\d\d\w+)\.ipynb\)", (BUILD.HERE / "README.md").read_text(encoding="utf-8"))
    assert listed == LESSONS


def test_links_between_notebooks_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", words(name))
    assert links
    assert [link for link in links if not (TEXTS[name].parent / link).is_file()] == []


def test_each_term_is_defined_once() -> None:
    bold = [term for name in TEXTS for term in re.findall(r"\*\*(.+?)\*\*", words(name).replace(ABILITIES, ""))]
    assert bold
    assert [term for term, times in Counter(" ".join(term.lower().split()) for term in bold).items() if times > 1] == []
