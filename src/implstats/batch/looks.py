"""How often data were looked at: every plan that a folder saw, counted once for each state of the data."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from implstats.batch.folder import MANIFEST
from implstats.batch.made_of import fingerprint

__all__ = ["ELSEWHERE", "Look", "Looks", "analyses", "different", "look_at", "looks_in", "looks_of"]

ELSEWHERE = "What was run in other folders, or by other means, is not known here."


@dataclass(frozen=True)
class Look:
    """One plan on data as they were then; nothing is known of one that was not written down.

    Attributes
    ----------
    data, plan : str
        Fingerprints of the data files and of all that was asked; what concerns only words and pictures is not in it.
    analyses : tuple of str
        Fingerprints of what was asked, one for each analysis of an outcome.
    first : str
        When it was first begun.
    """

    data: str = ""
    plan: str = ""
    analyses: tuple[str, ...] = ()
    first: str = ""

    @property
    def known(self) -> bool:
        """Whether its run wrote down what it was."""
        return bool(self.data)

    def record(self) -> dict[str, Any]:
        """Return the look as a manifest holds it."""
        return {"first": self.first, "data": self.data, "plan": self.plan, "analyses": list(self.analyses)}


def look_at(files: Iterable[Mapping[str, Any]], asked: Iterable[Any], others: Any = None, started: str = "") -> Look:
    """Return the look of a run.

    Parameters
    ----------
    files : iterable of mapping
        The data files, each with its `sha256`.
    asked : iterable
        What each analysis asks of each outcome; what it is called is no part of the look.
    others : Any
        What else is asked, of all analyses together.
    started : str
        When the run was begun.
    """
    analyses = tuple(sorted({fingerprint(one) for one in asked}))
    data = fingerprint(sorted({str(file["sha256"]) for file in files}))
    return Look(data, fingerprint([analyses, others]), analyses, started)


@dataclass(frozen=True)
class Looks:
    """All looks that a folder knows of, the one of its last run among them.

    Attributes
    ----------
    every : tuple of Look
        In the order in which they were first begun.
    now : Look
    """

    every: tuple[Look, ...]
    now: Look

    def records(self) -> list[dict[str, Any]]:
        """Return the looks as a manifest holds them."""
        return [look.record() for look in self.every]

    def in_words(self) -> str:
        """Return how often the data were looked at, and what that means for the answers."""
        count = len(self.every)
        if count == 1:
            return f"No other plan was run in this folder, nor this one on other data. {ELSEWHERE}"
        same = sum(look.data == self.now.data for look in self.every)
        earlier = sum(look.known and look.data != self.now.data for look in self.every)
        unknown = count - same - earlier
        parts = [_counted(same, "plan was run on them as they are", "plans were run on them as they are")]
        if earlier:
            parts.append(_counted(earlier, "on an earlier state of them", "on earlier states of them"))
        if unknown:
            parts.append(_counted(unknown, "run did not write down its plan", "runs did not write down their plans"))
        asked, here = len(analyses(self.every)), len(self.now.analyses)
        least = "at least " if unknown else ""
        return (
            f"These data were looked at {least}{count} times in this folder, a plan that was run again counting once: "
            f"{', '.join(parts)}. In all {least}{asked} different analyses of an outcome were asked for; this report "
            f"has {here} of them. A plan that follows on results makes intervals and p-values promise more than they "
            f"keep. {ELSEWHERE}"
        )


def looks_in(folder: Path, now: Look) -> Looks:
    """Return what a folder knows of, and the look of the run that is about to begin."""
    try:
        earlier = looks_of(json.loads((folder / MANIFEST).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        earlier = ()
    return Looks(different([*earlier, now]), next((look for look in earlier if _same(look, now)), now))


def looks_of(manifest: Any) -> tuple[Look, ...]:
    """Return the looks of a manifest; a run that wrote none down is one of which nothing is known."""
    try:
        return tuple(_read(one) for one in manifest["looks"]) or (Look(),)
    except (KeyError, TypeError, AttributeError):
        return (Look(),)


def _read(record: Mapping[str, Any]) -> Look:
    return Look(
        str(record["data"]), str(record["plan"]), tuple(map(str, record["analyses"])), str(record.get("first", ""))
    )


def different(looks: Iterable[Look]) -> tuple[Look, ...]:
    """Return looks without those that ask the same of the same data; of unknown ones none is the same as another."""
    found: list[Look] = []
    for look in looks:
        if not any(_same(look, other) for other in found):
            found.append(look)
    return tuple(found)


def _same(one: Look, other: Look) -> bool:
    return one.known and (one.data, one.plan) == (other.data, other.plan)


def analyses(looks: Sequence[Look]) -> set[str]:
    """Return what was asked in any of some looks."""
    return {analysis for look in looks for analysis in look.analyses}


def _counted(number: int, one: str, several: str) -> str:
    return f"{number} {one if number == 1 else several}"
