"""Pages that are made of what the project holds already: names, dictionaries, records of tests, notebooks.

Everything is written to `generated/` and `notebooks/`, which git ignores; what would not change is left alone.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import records

import implstats
from implstats.results import COLUMNS, Result

ROOT = Path(__file__).resolve().parent.parent
TYPE = re.compile(r"^(:type [^:]+: )([^*`]+)$")
EXAMPLE = re.compile(r"(^```pycon\n.*?)\n+^```", re.DOTALL | re.MULTILINE)
BACKTICKED = re.compile(r"(?<![:`\w])`([^`]+)`(?![`_])")
TITLES = {
    "study": "Cohorts, all outcomes at once",
    "growth": "Growth models, MMRM, and questions to them",
    "survival": "Programmes that stop",
    "ratings": "Ratings, and how far raters agree",
    "cohorts": "Who is in which cohort, and were they alike",
    "sensitivity": "What if assumptions do not hold",
    "change": "Reliable change of patients",
    "rates": "Events per exposure",
    "combine": "Several programmes together",
    "phases": "Phases of implementation",
    "simulate": "Studies whose truth is known, and power",
    "reading": "A study's files",
    "design": "Shapes of change over time",
    "plot": "Pictures",
    "batch": "Plans",
    "examples": "Loading bundled data",
    "results": "What all results share",
    "errors": "Errors and warnings",
}


def write(docs: Path) -> None:
    """Write every page that is made."""
    made = docs / "generated"
    for room, names in rooms().items():
        put(made / "api" / f"{room}.md", api_page(room, names))
    parts = made / "parts"
    put(parts / "api.md", api_list())
    put(
        parts / "rooms.md",
        "\n".join(["```{toctree}", ":hidden:", ":caption: Rooms", "", *map(page_of, rooms()), "```", ""]),
    )
    put(parts / "columns.md", words(["column", "what it holds"], COLUMNS.items()))
    put(parts / "data.md", "\n".join(dictionaries()))
    put(parts / "parity.md", "\n".join(records.parity(ROOT / "tests" / "reference")))
    put(parts / "coverage.md", "\n".join(records.coverage(ROOT / "tests" / "simulation")))
    for name in ("table", "survival_table", "tools_table"):
        put(made / f"simulation_{name}.md", (ROOT / "tests" / "simulation" / f"{name}.md").read_text(encoding="utf-8"))
    notebooks(ROOT / "notebooks", docs / "notebooks")


def put(path: Path, text: str) -> None:
    """Write a file if that changes it."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def words(head: Sequence[str], body: Iterable[Sequence[Any]]) -> str:
    """Return a Markdown table of words."""
    return "\n".join([*records.table(head, body, len(head)), ""])


# Names ----------------------------------------------------------------------------------------------------------------


def rooms() -> dict[str, list[str]]:
    """Return the public names by the room they live in, pictures included, functions first."""
    homes = implstats._ROOMS | {"plot": tuple(importlib.import_module("implstats.plot").__all__)}
    return {room: sorted(homes[room], key=lambda name: (not name[0].islower(), name.lower())) for room in TITLES}


def where(room: str, name: str) -> str:
    """Return how users write a name."""
    return f"implstats.plot.{name}" if room == "plot" else f"implstats.{name}"


def value_of(room: str, name: str) -> Any:
    """Return what a name stands for."""
    return getattr(implstats.plot if room == "plot" else implstats, name)


def page_of(room: str) -> str:
    """Return where a room's page is, as the page that lists them writes it."""
    return f"../generated/api/{room}"


def label(room: str, name: str) -> str:
    """Return what links point to; labels know no capitals, so a class has a word of its own."""
    return f"api-{room}-{'class-' if inspect.isclass(value_of(room, name)) else ''}{name.lower()}"


def makers(value: type) -> list[str]:
    """Return the public functions that return a class."""
    found = ((room, name) for room, names in rooms().items() for name in names)
    functions = [(room, name) for room, name in found if inspect.isfunction(value_of(room, name))]
    return [
        where(room, name)
        for room, name in functions
        if inspect.signature(value_of(room, name)).return_annotation == value.__name__
    ]


def api_page(room: str, names: Sequence[str]) -> str:
    """Return a page with every public name of a room."""
    lines = [f"# {TITLES[room]}", ""]
    for name in names:
        value = value_of(room, name)
        lines += [f"({label(room, name)})=", f"## `{name}`", "", "```{eval-rst}"]
        lines += [*directive(where(room, name), value), "```", ""]
        if inspect.isclass(value) and "Examples" not in (value.__doc__ or ""):
            made = " and ".join(f"{{py:func}}`{maker}`" for maker in makers(value))
            lines += [f"An example stands at {made}, which returns it.", ""]
    return "\n".join(lines)


def directive(name: str, value: Any) -> list[str]:
    """Return what asks Sphinx for a name's docstring; what all results share is told once, of `Result`."""
    if not inspect.isclass(value):
        return [f".. autofunction:: {name}"]
    if issubclass(value, Exception):
        return [f".. autoexception:: {name}"]
    lines = [f".. autoclass:: {name}", "   :members:"]
    return lines if value is Result else [*lines, "   :inherited-members: Result"]


def hide_how_results_are_made(
    app: Any, what: str, name: str, value: Any, options: Any, signature: str, returned: str
) -> tuple[str, str] | None:
    """Leave a result's constructor out: results come from functions."""
    return ("", "") if what == "class" and issubclass(value, Result) else None


def link_names(app: Any, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Make public names between backticks links, and whatever else stands between them code, but in examples.

    A parameter's type is set in italics, or Sphinx would take the word `time` in it for whatever it knows by that name.
    """
    code = False
    for k, line in enumerate(lines):
        code = line.startswith((">>> ", "... ")) or (code and bool(line.strip()))
        lines[k] = line if code else BACKTICKED.sub(linked, TYPE.sub(r"\1*\2*", line))


def linked(found: re.Match[str]) -> str:
    """Return one name as a link or as code."""
    name = found[1].removesuffix("()").removeprefix("implstats.")
    public = name in implstats._HOME or name.removeprefix("plot.") in implstats.plot.__all__
    return f":py:obj:`{found[1]} <implstats.{name}>`" if public else f"``{found[1]}``"


def api_list() -> str:
    """Return the list of all public names, each with the question it answers."""
    lines = []
    for room, names in rooms().items():
        lines += [f"## {TITLES[room]}", ""]
        body = []
        for name in names:
            first = (inspect.getdoc(value_of(room, name)) or "").split("\n\n")[0].replace("\n", " ")
            shown = f"plot.{name}" if room == "plot" else name
            body.append([f"[`{shown}`](#{label(room, name)})", first])
        lines.append(words(["name", "what it is for"], body))
    return "\n".join(lines)


def close_examples(app: Any, page: str, source: list[str]) -> None:
    """Leave out the empty line after examples: it tells doctest where an output ends, and readers nothing."""
    source[0] = EXAMPLE.sub(r"\1\n```", source[0])


# Data -----------------------------------------------------------------------------------------------------------------


def dictionaries() -> Iterator[str]:
    """Yield the dictionary of every bundled table."""
    for name in implstats.list_examples()["name"]:
        said = implstats.describe_example(name)
        yield f"## {name}\n\n{said['title']}. {said['rows']} rows."
        yield f"Source: {said['source']}. Licence: {said['licence']}.\n"
        yield words(["column", "what it is", "unit", "values", "better"], map(column, said["columns"]))
        yield "\n".join(f"- {note}" for note in said.get("notes", ())) + "\n"
        if said.get("truth"):
            known = ", ".join(f"`{name}`" for name in said["truth"])
            yield f'What is true of it stands in `ist.describe_example("{name}")["truth"]`: {known}.\n'


def column(said: Mapping[str, Any]) -> list[str]:
    """Return a column as a row of its dictionary."""
    values = said["type"]
    if said.get("levels"):
        values = ", ".join(map(str, said["levels"]))
    elif said.get("range"):
        values = f"{said['type']}, {said['range'][0]} to {said['range'][1]}"
    return [f"`{said['name']}`", said["label"], said["unit"] or "", values, said.get("better") or ""]


# Notebooks ------------------------------------------------------------------------------------------------------------


def notebooks(source: Path, target: Path) -> None:
    """Copy the notebooks with their outputs, and write the page that lists them."""
    found = sorted(source.glob("[0-9]*.ipynb"))
    answers = sorted((source / "answers").glob("[0-9]*.ipynb"))
    for file in [*found, *answers]:
        put(target / file.relative_to(source), file.read_text(encoding="utf-8"))
    kept = {target / file.relative_to(source) for file in [*found, *answers]}
    for stale in set(target.rglob("*.ipynb")) - kept:
        stale.unlink()
    tree = ["```{toctree}", ":maxdepth: 1", "", *(file.stem for file in found), "```", ""]
    hidden = [
        "```{toctree}",
        ":maxdepth: 1",
        ":caption: Answers",
        "",
        *(f"answers/{file.stem}" for file in answers),
        "```",
    ]
    put(target / "index.md", "\n".join([INTRODUCTION, *tree, *(hidden if answers else [])]) + "\n")


INTRODUCTION = """# Notebooks

Eight lessons on bundled data, each under twenty seconds, to be read in order or one by one. They are shown here with
their outputs, and run anywhere: the files are in the folder `notebooks/` of the project. Each says first what one can
do after it, and ends with exercises, whose answers stand apart, and with a paragraph for a report. A term is defined
once, in bold, where it comes first. What to teach with which: [](../teaching.md).
"""
