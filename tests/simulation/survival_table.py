"""The committed table of survival models, made of survival_results.json and the sentences of survival_reasons.toml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from table import HIGHEST, LOWEST, Outside, closing, coverage, error, rests_on, sentences, shown, table, within

REASONS = Path(__file__).resolve().parent / "survival_reasons.toml"


@dataclass(frozen=True)
class Line:
    """A row of the table: what a method says of one quantity, where there is an effect and where there is none."""

    cell: str
    model: str
    method: str
    what: str
    effect: Mapping[str, Any]
    null: Mapping[str, Any]
    boundary: str
    replicates: int

    @property
    def section(self) -> str:
        return self.cell.split(", ")[0]

    def held(self) -> Iterator[tuple[str, float]]:
        """Yield what is held to the range: the coverage under the effect, and rejections where there is nothing."""
        if "coverage" in self.effect:
            yield self.what, self.effect["coverage"]
        for record in (self.effect, self.null):
            if record.get("truth") == 0 and "rejected" in record:
                yield f"type I, {self.what}", record["rejected"]

    def columns(self) -> dict[str, str]:
        """Return the row, "" where there is nothing to say."""
        record = self.effect
        studies = [part for part in (self.effect, self.null) if part]
        missing = [self.replicates - part["answered"] for part in studies]
        row = {"study": self.cell.removeprefix(f"{self.section}, "), "model": self.model, "method": self.method}
        row |= {"of": self.what} | dict.fromkeys(("truth", "bias", "median bias", "SE / SD", "covers"), "")
        if "bias" in record:
            row["truth"] = f"{record['truth']:.3f}"
            row |= {kind: _biased(record, kind) for kind in ("bias", "median bias")}
        if "coverage" in record:
            row["SE / SD"] = f"{record['mean_std_error'] / record['sd']:.2f}"
            row["covers"] = shown(self.what, record["coverage"])
        row |= {"rejects, null": _rejects(self.what, self.null), "rejects, effect": _rejects(self.what, self.effect)}
        row["no answer"] = ", ".join(map(str, missing)) if any(missing) else ""
        return row | {"boundary": self.boundary}


def _biased(record: Mapping[str, Any], kind: str) -> str:
    key = kind.replace(" ", "_")
    return f"{record[key]:+.3f} ({record[f'{key}_error']:.3f})"


def _rejects(what: str, record: Mapping[str, Any]) -> str:
    if "rejected" not in record:
        return ""
    return shown(f"type I, {what}", record["rejected"]) if record["truth"] == 0 else f"{record['rejected']:.1f}"


def lines(results: Mapping[str, Any]) -> Iterator[Line]:
    """Yield every row."""
    for cell, record in results["cells"].items():
        truths = record["truths"]
        for model, effect in truths["effect"]["models"].items():
            null = truths["null"]["models"][model] if "null" in truths else {"methods": {}, "boundary": 0}
            both = (effect["boundary"], null["boundary"])
            boundary = ", ".join(map(str, both)) if any(both) else ""
            for method, asked in effect["methods"].items():
                for what, said in asked.items():
                    other = null["methods"].get(method, {}).get(what, {})
                    yield Line(cell, model, method, what, said, other, boundary, record["replicates"])


def outside(results: Mapping[str, Any]) -> list[Outside]:
    """Return every number that leaves the range."""
    return [
        Outside(line.cell, line.model, line.method, what, coverage(what, value))
        for line in lines(results)
        for what, value in line.held()
        if not within(what, value)
    ]


def counts(results: Mapping[str, Any], section: str) -> list[str]:
    """Return who is in the studies of a section, on average."""
    out = []
    for cell, record in results["cells"].items():
        if cell.split(", ")[0] == section:
            parts = [{k: v for k, v in truth.items() if k != "models"} for truth in record["truths"].values()]
            said = (", ".join(f"{value:.4g} {what}" for what, value in part.items()) for part in parts)
            named = (f"{truth}: {text}" for truth, text in zip(record["truths"], said, strict=True))
            out.append(f"- {cell.removeprefix(f'{section}, ')}: {'; '.join(named)}.")
    return out


def sections(results: Mapping[str, Any]) -> Iterator[str]:
    """Yield the table of each kind of study."""
    every = list(lines(results))
    for section in dict.fromkeys(line.section for line in every):
        body = [line.columns() for line in every if line.section == section]
        head = [name for name in body[0] if any(row[name] for row in body)]
        yield from (f"## {section}", "", *counts(results, section), "")
        yield from table(head, [[row[name] for name in head] for row in body], words=4)
        yield ""


def markdown(results: Mapping[str, Any]) -> str:
    """Return the whole table."""
    size = results["header"]["replicates"]["studies"]
    text = [
        "# Survival: bias, coverage and type-I error on known truth",
        "",
        f"{rests_on(results['header'])}; {size:,} replicates. Monte Carlo error of a coverage or type-I error of 95 % "
        f"or 5 %: {error(size)} percentage points. Bold leaves {LOWEST} to {HIGHEST} % (type-I error: 3.5 to 6.5 %) "
        "before rounding. `covers` and `rejects` are per cent; bias, with its Monte Carlo error, is that under the "
        "effect; two counts are those under effect and null. README.md says what is drawn and asked.",
        "",
        *sections(results),
        *closing(sentences(REASONS), outside(results)),
    ]
    return "\n".join(text)
