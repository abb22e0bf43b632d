"""A part of a plan that was carried out: what every kind of analysis gives to the folder, the report and the screen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from implstats.batch.blocks import Block, Figure
from implstats.batch.folder import File

__all__ = ["Figure", "Part", "Picture", "Piece", "drawn", "pictures"]


@dataclass(frozen=True)
class Picture:
    """A picture to draw: its file without ending, its words for readers who cannot see it, and what draws it."""

    name: str
    words: str
    draw: Callable[[], Any]


@dataclass(frozen=True)
class Piece:
    """What a part says in the report, in blocks; of many pieces, like is put with like.

    Attributes
    ----------
    name : str
        Heading.
    answer : sequence of Block
        The answer in plain sentences, and the picture that shows it.
    limits : sequence of str
        Sentences: what these data cannot say.
    body : sequence of Block
        Tables, pictures, who was analysed, what was looked at, and how far the answer rests on what cannot be seen.
    methods : sequence of Block
        How it was done.
    files : sequence of (file, what it holds)
    sources : sequence of str
        What is cited.
    kind : {"comparison", "survival"}
        What was analysed, for the checklists.
    more : sequence of Block
        What else is to be said before the details.
    """

    name: str
    answer: Sequence[Block]
    limits: Sequence[str]
    body: Sequence[Block]
    methods: Sequence[Block]
    files: Sequence[tuple[str, str]]
    sources: Sequence[str]
    kind: str
    more: Sequence[Block] = field(default=())


class Part(ABC):
    """An analysis that was carried out."""

    @property
    @abstractmethod
    def errors(self) -> Mapping[str, str]:
        """What could not be analysed, and why; the rest stands."""

    @abstractmethod
    def on_screen(self) -> str:
        """Return the answer for a terminal: sentences, then tables."""

    @abstractmethod
    def files(self) -> list[File]:
        """Return the tables and results to write."""

    @abstractmethod
    def to_draw(self) -> list[Picture]:
        """Return the pictures to draw."""

    @abstractmethod
    def piece(self, figures: Sequence[Figure]) -> Piece:
        """Return what the report says."""

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """Return what the manifest says: a name of files and a status for every outcome or question."""


def pictures(figures: Sequence[Figure], name: str) -> list[Figure]:
    """Return the picture of a name for the report, or nothing."""
    return [figure for figure in figures if figure.name == name]


def drawn(figures: Sequence[Figure]) -> list[tuple[str, str]]:
    """Return the row of the list of files that names the pictures."""
    names = ", ".join(f"{figure.name}.png" for figure in figures if not figure.missing)
    return [(names, "the pictures; each also as .svg, which can be enlarged")] if names else []
