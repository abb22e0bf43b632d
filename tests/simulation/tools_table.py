"""The committed table of studies that a plain comparison gets wrong, made of tools_results.json and its sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tools_cells
from survival_table import counts
from table import HIGHEST, LOWEST, Outside, closing, error, rests_on, sentences, shown, table, within

REASONS = Path(__file__).resolve().parent / "tools_reasons.toml"


@dataclass(frozen=True)
class Line:
    """A row of the table: what a method says of one quantity, where there is an effect and where there is none."""

    cell: str
    model: str
    method: str
    what: str
    said: Mapping[str, Mapping[str, Any]]

    @property
    def section(self) -> str:
        return self.cell.split(", ")[0]

    @property
    def naive(self) -> bool:
        return self.method in NAIVE[self.cell]

    def held(self) -> Iterator[tuple[str, float]]:
        """Yield every coverage that is held to the range."""
        for truth, record in self.said.items():
            yield f"{self.what}, {truth}", record["coverage"]

    def columns(self) -> dict[str, str]:
        """Return the row."""
        row = {"study": self.cell.removeprefix(f"{self.section}, "), "model": self.model, "method": self.method}
        row |= {"is": "naive" if self.naive else "the tool", "of": self.what}
        for truth, record in self.said.items():
            row[f"truth, {truth}"] = f"{record['truth']:.3f}"
            row[f"bias, {truth}"] = f"{record['bias']:+.3f} ({record['bias_error']:.3f})"
            row[f"SE / SD, {truth}"] = f"{record['mean_std_error'] / record['sd']:.2f}"
            row[f"covers, {truth}"] = shown(self.what, record["coverage"])
        return row


NAIVE = {cell.name: cell.naive for cell in tools_cells.cells()}


def lines(results: Mapping[str, Any]) -> Iterator[Line]:
    """Yield every row."""
    for cell, record in results["cells"].items():
        truths = record["truths"]
        for model, effect in truths["effect"]["models"].items():
            for method, asked in effect["methods"].items():
                for what in asked:
                    said = {truth: part["models"][model]["methods"][method][what] for truth, part in truths.items()}
                    yield Line(cell, model, method, what, said)


def outside(results: Mapping[str, Any]) -> list[Outside]:
    """Return every coverage that leaves the range."""
    return [
        Outside(line.cell, line.model, line.method, what, value)
        for line in lines(results)
        for what, value in line.held()
        if not within(what, value)
    ]


def sections(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of each kind of study."""
    every = list(lines(results))
    for section in dict.fromkeys(line.section for line in every):
        body = [line.columns() for line in every if line.section == section]
        yield from (f"## {section}", "", *counts(results, section), "")
        yield from table(list(body[0]), [list(row.values()) for row in body], words=5)
        yield ""


def markdown(results: Mapping[str, Any]) -> str:
    """Return the whole table."""
    size = results["header"]["replicates"]["studies"]
    text = [
        "# Where the plain comparison is wrong, and the tool for it: bias and coverage on known truth",
        "",
        f"{rests_on(results['header'])}; {size:,} replicates. Monte Carlo error of a coverage of 95 %: {error(size)} "
        f"percentage points. Bold leaves {LOWEST} to {HIGHEST} % before rounding. `covers` is per cent, of 95 % "
        "intervals; bias stands with its Monte Carlo error. README.md says what is drawn and asked.",
        "",
        *sections(results),
        *closing(sentences(REASONS), outside(results)),
    ]
    return "\n".join(text)
