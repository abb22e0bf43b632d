"""Text of users in Markdown: nothing in it is a tag, a link or a heading, and no cell breaks its table."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence

__all__ = ["bullets", "image", "safe", "said", "table"]


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
    columns = list(rows[0])
    right = [all(isinstance(row[c], int) for row in rows) for c in columns]

    def line(cells: Sequence[object]) -> str:
        return "| " + " | ".join(safe(cell).replace("|", "\\|") for cell in cells) + " |"

    rule = "| " + " | ".join("---:" if numbers else ":---" for numbers in right) + " |"
    return "\n".join([line(columns), rule, *(line([row[c] for c in columns]) for row in rows)])


def bullets(lines: Sequence[str]) -> str:
    """Write sentences as a list."""
    return "\n".join(f"- {said(line)}" for line in lines)


def image(words: str, file: str) -> str:
    """Write a picture, with words for readers who cannot see it."""
    return f"![{safe(words).replace('[', '(').replace(']', ')')}]({file})"
