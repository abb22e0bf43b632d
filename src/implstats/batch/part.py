"""A part of a plan that was carried out: what every kind of analysis gives to the folder, the report and the screen."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from implstats.batch import markdown
from implstats.batch.folder import File

__all__ = ["Figure", "Part", "Picture", "Piece", "drawn", "pictures"]


@dataclass(frozen=True)
class Picture:
    """A picture to draw: its file without ending, its words for readers who cannot see it, and what draws it."""

    name: str
    words: str
    draw: Callable[[], Any]


@dataclass(frozen=True)
class Figure:
    """A picture of the report: its file without ending, its words, or why there is none."""

    name: str
    words: str
    missing: str = ""


@dataclass(frozen=True)
class Piece:
    """What a part says in the report, in blocks of Markdown; of many pieces, like is put with like.

    Attributes
    ----------
    name : str
        Heading.
    answer : sequence of str
        The answer in plain sentences, and the picture that shows it.
    more : sequence of str
        What else is to be said before the details.
    limits : sequence of str
        Sentences: what these data cannot say.
    body : sequence of str
        Tables, pictures, and who was analysed.
    methods : sequence of str
        How it was done.
    files : sequence of (file, what it holds)
    sources : sequence of str
        What is cited.
    """

    name: str
    answer: Sequence[str]
    limits: Sequence[str]
    body: Sequence[str]
    methods: Sequence[str]
    files: Sequence[tuple[str, str]]
    sources: Sequence[str]
    more: Sequence[str] = field(default=())


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


def pictures(figures: Sequence[Figure], name: str) -> list[str]:
    """Return the picture of a name for the report, the reason why there is none, or nothing."""
    figure = next((f for f in figures if f.name == name), None)
    if figure is None:
        return []
    if figure.missing:
        return [markdown.said(f"There is no picture {name}: {figure.missing}")]
    return [markdown.image(figure.words, f"{name}.png")]


def drawn(figures: Sequence[Figure]) -> list[tuple[str, str]]:
    """Return the row of the list of files that names the pictures."""
    names = ", ".join(f"{figure.name}.png" for figure in figures if not figure.missing)
    return [(names, "the pictures; each also as .svg, which can be enlarged")] if names else []
