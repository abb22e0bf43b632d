"""The report as one page that needs nothing else: for a browser without a network, a printer, or a letter."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from implstats.batch.appendix import write_tables
from implstats.batch.blocks import Block, Figure, Heading, Sources, Table, on_one_line
from implstats.batch.checklists import checklists
from implstats.batch.part import Piece
from implstats.batch.plan import Plan
from implstats.batch.report import contents

__all__ = ["page", "write_page"]

PAGE = "report.html"
# Drawings with many points are smaller as PNG.
LARGEST_DRAWING = 400_000
WIDEST = 24
DOI = re.compile(r"(.*): doi (10\.\S+)")
UNITS = re.compile(r"(?<=\d) (?=(%|SD)(\W|$))")
NUMBERS = re.compile(r"[-\d][^A-Za-z]{0,27}")


def write_page(
    folder: Path, plan: Plan, pieces: Sequence[Piece], versions: Mapping[str, str], looked: str = ""
) -> None:
    """Write the report with the pictures of its folder, and its tables for LaTeX and Word."""
    blocks = [*contents(pieces, versions, looked), *checklists(piece.kind for piece in pieces)]
    (folder / PAGE).write_text(page(folder, plan, blocks), encoding="utf-8", newline="\n")
    shown = [block for piece in pieces for block in (*piece.answer, *piece.more, *piece.body)]
    write_tables([block for block in shown if isinstance(block, Table)], folder)


def page(folder: Path, plan: Plan, blocks: Sequence[Block]) -> str:
    """Return blocks under the title of a plan as HTML: no script, nothing loaded, and no name becomes markup."""
    made = Environment(
        loader=PackageLoader("implstats.batch"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"words": _words, "one_line": on_one_line, "is_number": _is_number}
    sections = list(_sections(folder, blocks))
    return made.get_template("report.html.jinja").render(title=plan.title, note=plan.note, sections=sections)


def _sections(folder: Path, blocks: Sequence[Block]) -> Iterator[dict[str, Any]]:
    """Yield the sections that headings of the second level open, with tables and pictures numbered throughout."""
    starts = [k for k, block in enumerate(blocks) if isinstance(block, Heading) and block.level == 2]
    numbers = {Table: 0, Figure: 0}
    for start, end in zip(starts, [*starts[1:], len(blocks)], strict=True):
        views = []
        for block in blocks[start + 1 : end]:
            number = None
            if isinstance(block, Table) or (isinstance(block, Figure) and not block.missing):
                numbers[type(block)] += 1
                number = numbers[type(block)]
            views.append(_view(folder, block, number))
        yield {"id": f"section-{starts.index(start) + 1}", "heading": blocks[start], "blocks": views}


def _view(folder: Path, block: Block, number: int | None) -> dict[str, Any]:
    """Return what the template needs of a block."""
    view: dict[str, Any] = {"kind": type(block).__name__, "block": block, "number": number}
    if isinstance(block, Figure):
        view |= {"source": _embedded(folder, block.name), "caption": _first_sentence(block.words)}
    if isinstance(block, Sources):
        view["sources"] = [_source(line) for line in block.lines]
    return view


def _embedded(folder: Path, name: str) -> str:
    """Return a picture of the folder as part of the page; empty if it is not there."""
    drawing, points = folder / f"{name}.svg", folder / f"{name}.png"
    if drawing.exists() and drawing.stat().st_size <= LARGEST_DRAWING:
        return f"data:image/svg+xml;base64,{base64.b64encode(drawing.read_bytes()).decode()}"
    return f"data:image/png;base64,{base64.b64encode(points.read_bytes()).decode()}" if points.exists() else ""


def _first_sentence(words: str) -> str:
    return words.partition(". ")[0].rstrip(".") + "."


def _source(line: str) -> tuple[str, str]:
    """Return what is cited, and its DOI."""
    found = DOI.fullmatch(line)
    return (found[1], found[2]) if found else (line, "")


def _words(text: object) -> Markup:
    """Return text for readers: a word that is too long for a line can be broken, a number stays with its unit."""
    words = (re.findall(f".{{1,{WIDEST}}}", word) for word in on_one_line(text).split())
    line = Markup(" ").join(Markup("<wbr>").join(parts) for parts in words)
    return Markup(UNITS.sub("\u00a0", line))


def _is_number(cell: str) -> bool:
    """Return whether a cell is a number, or one with its interval, which shall stay on one line."""
    return NUMBERS.fullmatch(cell) is not None
