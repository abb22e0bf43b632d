"""The report of a plan: the answers first, then what the data cannot say, the details of each part, and the sources."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from implstats.batch import markdown
from implstats.batch.part import Piece
from implstats.batch.plan import Plan

__all__ = ["report"]


def report(plan: Plan, pieces: Sequence[Piece], versions: Mapping[str, str]) -> str:
    """Return the report as Markdown."""
    parts = [f"# {markdown.safe(plan.title)}"]
    if plan.note:
        parts.append(f"**{markdown.safe(plan.note)}**")
    parts += ["## The answer", *_in_turn(pieces, {p.name: p.answer for p in pieces})]
    if len(pieces) == 1:
        parts += pieces[0].more
    parts += ["## What these data cannot say", *_limits(pieces)]
    for piece in pieces:
        if piece.more and len(pieces) > 1:
            # Its own headings stand under its name here.
            parts += [f"## {markdown.safe(piece.name)}", *(re.sub(r"^##(?= )", "###", block) for block in piece.more)]
        parts += piece.body
    parts += ["## Methods", *_in_turn(pieces, {p.name: p.methods for p in pieces})]
    files = [row for piece in pieces for row in piece.files]
    files.append(("manifest.json", "plan, versions, hashes of the data and of every file"))
    parts += ["## Files", markdown.table([{"File": file, "What": what} for file, what in files])]
    parts += ["## Software", markdown.said(", ".join(f"{name} {version}" for name, version in versions.items()) + ".")]
    parts += ["## References", markdown.bullets(sorted({line for piece in pieces for line in piece.sources}))]
    return "\n\n".join(parts) + "\n"


def _limits(pieces: Sequence[Piece]) -> list[str]:
    """Return what no piece can say, then what each of them cannot."""
    if len(pieces) == 1:
        return [markdown.bullets(pieces[0].limits)]
    common = [line for line in pieces[0].limits if all(line in piece.limits for piece in pieces)]
    own = {p.name: [line for line in p.limits if line not in common] for p in pieces}
    blocks = [markdown.bullets(common)] if common else []
    with_own = [piece for piece in pieces if own[piece.name]]
    return blocks + [
        block for p in with_own for block in (f"### {markdown.safe(p.name)}", markdown.bullets(own[p.name]))
    ]


def _in_turn(pieces: Sequence[Piece], blocks: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the blocks of every piece, under its name where there are several."""
    if len(pieces) == 1:
        return list(blocks[pieces[0].name])
    return [block for piece in pieces for block in (f"### {markdown.safe(piece.name)}", *blocks[piece.name])]
