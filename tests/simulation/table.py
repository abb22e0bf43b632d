"""What the committed tables share: Markdown, the range, and the sentences about numbers that leave it."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LOWEST, HIGHEST = 93.5, 96.5


@dataclass(frozen=True)
class Outside:
    """A number of the table that leaves the range; a type-I error as the coverage it leaves."""

    cell: str
    model: str
    method: str
    what: str
    value: float

    def matches(self, reason: Mapping[str, Any]) -> bool:
        """Return whether a sentence speaks of this number: every word list it gives must name a part of it."""
        parts = {"cells": self.cell, "models": self.model, "methods": self.method, "quantities": self.what}
        named = all(any(word in parts[key] for word in reason[key]) for key in parts if key in reason)
        return named and (("low" if self.value < LOWEST else "high") in reason.get("sides", ("low", "high")))


def coverage(what: str, value: float) -> float:
    """Return a coverage, or what a type-I error leaves of 100."""
    return 100 - value if what.startswith("type I") else value


def within(what: str, value: float) -> bool:
    """Return whether a coverage, or one less a type-I error, is within the range."""
    return LOWEST <= coverage(what, value) <= HIGHEST


def shown(what: str, value: float) -> str:
    return f"{value:.1f}" if within(what, value) else f"**{value:.1f}**"


def table(head: Sequence[str], body: Sequence[Sequence[str]], words: int = 3) -> list[str]:
    """Return a Markdown table, whose first columns are words and the others numbers."""
    rule = ["---" if k < words else "---:" for k in range(len(head))]
    return ["| " + " | ".join(line) + " |" for line in [head, rule, *body]]


def sentences(path: Path) -> dict[str, Any]:
    """Return what is recommended, and why numbers leave the range."""
    return tomllib.loads(path.read_text(encoding="utf-8"))


def reason_of(one: Outside, reasons: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the number of the first sentence that speaks of a number outside the range."""
    return next((k for k, reason in enumerate(reasons) if one.matches(reason)), None)


def explained(numbers: Iterable[Outside], reasons: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the numbers outside the range with the sentence that speaks of them, those of a model together."""
    together: dict[tuple[str, str, str], dict[str, list[str]]] = {}
    for one in numbers:
        found = reason_of(one, reasons)
        why = "No sentence yet." if found is None else reasons[found]["why"]
        methods = together.setdefault((one.cell, one.model, why), {})
        methods.setdefault(one.method, []).append(f"{one.what} {coverage(one.what, one.value):.4g}")
    out = []
    for (cell, model, why), methods in together.items():
        named = "; ".join(f"{method}: {', '.join(values)}" for method, values in methods.items())
        out.append(f"- **{cell}; {model}.** {why} {named}.")
    return out


def error(replicates: int) -> str:
    return f"{100 * math.sqrt(0.95 * 0.05 / replicates):.2f}"


def rests_on(head: Mapping[str, Any]) -> str:
    """Return when, with what and from which seed the numbers were computed."""
    versions = ", ".join(f"{k} {v}" for k, v in head["versions"].items())
    return f"Date {head['date']}; {versions}; seed {head['seed']}"


def closing(told: Mapping[str, Any], numbers: Iterable[Outside]) -> list[str]:
    """Return the last two parts of a table: what is recommended, and what leaves the range."""
    return [
        "## What the library recommends, and defaults to",
        "",
        *(f"- {sentence}" for sentence in told["recommended"]),
        "",
        f"## What leaves {LOWEST} to {HIGHEST} %, and why",
        "",
        *explained(numbers, told["reason"]),
        "",
    ]
