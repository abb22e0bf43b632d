"""What a report is made of, whichever way it is written: headings, sentences, lists, tables, pictures, equations."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from implstats.tables import is_few

__all__ = [
    "MIN_COUNT",
    "Block",
    "Equations",
    "Figure",
    "Heading",
    "Items",
    "Sources",
    "Table",
    "Text",
    "deeper",
    "on_one_line",
]

# Fewer people than this could be recognised by those who know the place.
MIN_COUNT = 5
UNTOLD = "not told"
TURNING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@dataclass(frozen=True)
class Heading:
    """A heading: 2 opens a section, 3 a part of one."""

    words: str
    level: int = 2


@dataclass(frozen=True)
class Text:
    """A paragraph; what is `strong` stands in front of the rest."""

    words: str
    strong: str = ""


@dataclass(frozen=True)
class Items:
    """Sentences as a list."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Sources:
    """What is cited, each with its DOI at the end: "Cox 1972, hazard ratios: doi 10.1111/..."."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Equations:
    """What is computed, as (its name, the equation)."""

    lines: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Figure:
    """A picture of the folder by its name without ending, its words; or why there is none."""

    name: str
    words: str
    missing: str = ""


@dataclass(frozen=True)
class Table:
    """A table of text and counts.

    Attributes
    ----------
    rows : sequence of mapping
        Column -> text or count; every row has the same columns.
    caption : str
        What it shows, with units.
    people : sequence of str
        Columns that count people; `shown` hides those of 1 to `least` - 1.
    balance : sequence of str
        Columns of which one can be had from the others by subtraction: where one is hidden, so is the first of the
        others that counts anything, in all rows.
    least : int
    """

    rows: Sequence[Mapping[str, object]]
    caption: str
    people: Sequence[str] = ()
    balance: Sequence[str] = ()
    least: int = MIN_COUNT

    @property
    def columns(self) -> list[str]:
        """The columns, from left to right."""
        return list(self.rows[0])

    @property
    def right(self) -> list[bool]:
        """Whether each column holds counts, which are set to the right."""
        return [all(isinstance(row[c], int) for row in self.rows) for c in self.columns]

    def shown(self) -> list[list[str]]:
        """Return the cells as readers see them: few people are told as few."""
        few = [[c for c in self.people if is_few(row[c], self.least)] for row in self.rows]
        untold = {c for row, hidden in zip(self.rows, few, strict=True) for c in self._beside(row, hidden)}
        return [
            [f"under {self.least}" if c in hidden else UNTOLD if c in untold else str(row[c]) for c in self.columns]
            for row, hidden in zip(self.rows, few, strict=True)
        ]

    def _beside(self, row: Mapping[str, object], hidden: Sequence[str]) -> list[str]:
        """Return the column that must be hidden too, so that subtraction does not give away the only hidden one."""
        if len([c for c in self.balance if c in hidden]) != 1:
            return []
        return [c for c in self.balance if c not in hidden and row[c]][:1]


Block = Heading | Text | Items | Sources | Equations | Figure | Table


def deeper(block: Block) -> Block:
    """Return a block that stands under one more heading."""
    return replace(block, level=block.level + 1) if isinstance(block, Heading) else block


def on_one_line(text: object) -> str:
    """Return text without line breaks, control characters, and those that turn the direction of what follows."""
    words = " ".join(str(text).split())
    return "".join(c for c in words if unicodedata.category(c) != "Cc" and unicodedata.bidirectional(c) not in TURNING)
