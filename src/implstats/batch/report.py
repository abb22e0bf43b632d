"""The report of a plan: the answers first, then what the data cannot say, the details of each part, and the sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from implstats.batch import appendix, markdown
from implstats.batch.blocks import Block, Heading, Items, Sources, Table, Text, deeper
from implstats.batch.part import Piece
from implstats.batch.plan import Plan

__all__ = ["CANNOT_SAY", "contents", "report"]

CANNOT_SAY = "What these data cannot say"
PAGE = ("report.html", "this report in one file with its pictures, for a browser, a printer or a letter")
MANIFEST = (
    "manifest.json",
    "plan, versions, hashes of the data and of every file, and the plans that were run here before",
)


def report(plan: Plan, pieces: Sequence[Piece], versions: Mapping[str, str], looked: str = "") -> str:
    """Return the report as Markdown."""
    parts = [f"# {markdown.safe(plan.title)}"]
    if plan.note:
        parts.append(f"**{markdown.safe(plan.note)}**")
    return "\n\n".join([*parts, *map(markdown.written, contents(pieces, versions, looked))]) + "\n"


def contents(pieces: Sequence[Piece], versions: Mapping[str, str], looked: str = "") -> list[Block]:
    """Return everything under the title, in the order in which it is read; `looked` is how often the data were seen."""
    made = [Heading("The answer"), *_in_turn(pieces, {p.name: p.answer for p in pieces})]
    made += [Heading(CANNOT_SAY), *_limits(pieces), *([Text(looked)] if looked else [])]
    for piece in pieces:
        if piece.more and len(pieces) > 1:
            # Its own headings stand under its name here.
            made += [Heading(piece.name), *map(deeper, piece.more)]
        else:
            made += piece.more
        made += piece.body
    made += [Heading("Methods"), *_in_turn(pieces, {p.name: p.methods for p in pieces})]
    files = [*(row for piece in pieces for row in piece.files), PAGE, *appendix.names().items(), MANIFEST]
    made += [Heading("Files"), Table([{"File": file, "What": what} for file, what in files], "Files of this folder")]
    made += [Heading("Software"), Text(", ".join(f"{name} {version}" for name, version in versions.items()) + ".")]
    return [*made, Heading("References"), Sources(sorted({line for piece in pieces for line in piece.sources}))]


def _limits(pieces: Sequence[Piece]) -> list[Block]:
    """Return what no piece can say, then what each of them cannot."""
    if len(pieces) == 1:
        return [Items(pieces[0].limits)]
    common = [line for line in pieces[0].limits if all(line in piece.limits for piece in pieces)]
    own = {p.name: [line for line in p.limits if line not in common] for p in pieces}
    made: list[Block] = [Items(common)] if common else []
    for piece in pieces:
        made += [Heading(piece.name, 3), Items(own[piece.name])] if own[piece.name] else []
    return made


def _in_turn(pieces: Sequence[Piece], blocks: Mapping[str, Sequence[Block]]) -> list[Block]:
    """Return the blocks of every piece, under its name where there are several."""
    if len(pieces) == 1:
        return list(blocks[pieces[0].name])
    return [block for piece in pieces for block in (Heading(piece.name, 3), *blocks[piece.name])]
