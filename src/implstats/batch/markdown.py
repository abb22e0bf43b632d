"""Text of users in Markdown: nothing in it is a tag, a link or a heading, and no cell breaks its table."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence

from implstats.batch.blocks import Block, Equations, Figure, Heading, Items, Sources, Table, Text

__all__ = ["bullets", "image", "safe", "said", "table", "written"]


def written(block: Block) -> str:
    """Write a block of a report."""
    match block:
        case Heading():
            return f"{'#' * block.level} {safe(block.words)}"
        case Text():
            words = said(block.words) if not block.strong else safe(block.words)
            return f"**{safe(block.strong)}** {words}".rstrip() if block.strong else words
        case Items() | Sources():
            return bullets(block.lines)
        case Equations():
            return "\n".join(f"- {said(name)}: `{equation}`" for name, equation in block.lines)
        case Figure():
            if block.missing:
                return said(f"There is no picture {block.name}: {block.missing}")
            return image(block.words, f"{block.name}.png")
        case Table():
            return _lines(block.columns, block.right, block.shown())


def safe(text: object) -> str:
    """Return text on one line in which Markdown sees no tag, emphasis, code, link, formula or heading."""
    line = " ".join(str(text).split()).replace("\\", "\\\\").replace("`", "\\`").replace("](", "]\\(")
    line = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", line)
    line = re.sub(r"\*(?=\S)|(?<=\S)\*|\$|~(?=~)", lambda m: "\\" + m.group(), line)
    # A sign between spaces is a sign (p < .001) and stays readable as it is.
    return re.sub(r"&(?=[#A-Za-z])|<(?! )|(?<! )>|>(?! )", lambda m: html.escape(m.group()), line)


def said(text: object) -> str:
    """Return text that can begin a paragraph or an item: `safe`, and its first sign opens no heading or list."""
    return re.sub(r"^(?=[#>+=-])", r"\\", safe(text))


def table(rows: Sequence[Mapping[str, object]]) -> str:
    """Write a table of text and counts; columns of counts are set to the right."""
    return written(Table(rows, ""))


def _lines(columns: Sequence[str], right: Sequence[bool], rows: Sequence[Sequence[str]]) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(safe(cell).replace("|", "\\|") for cell in cells) + " |"

    rule = "| " + " | ".join("---:" if counts else ":---" for counts in right) + " |"
    return "\n".join([line(columns), rule, *map(line, rows)])


def bullets(lines: Sequence[str]) -> str:
    """Write sentences as a list."""
    return "\n".join(f"- {said(line)}" for line in lines)


def image(words: str, file: str) -> str:
    """Write a picture, with words for readers who cannot see it."""
    return f"![{safe(words).replace('[', '(').replace(']', ')')}]({file})"
