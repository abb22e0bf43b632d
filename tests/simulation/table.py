"""The committed table, made of results.json and the sentences of reasons.toml."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
LOWEST, HIGHEST = 93.5, 96.5
TESTED = ("level", "change", "difference in d")
WORDS = {"satterthwaite": "Satterthwaite", "kenward-roger": "Kenward-Roger"}


@dataclass(frozen=True)
class Outside:
    """A number of the table that leaves the range."""

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


def rows(results: Mapping[str, Any], *, bootstrap: bool) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield cell, model and the model's record per truth."""
    for name, cell in results["cells"].items():
        if name.endswith("bootstrap") != bootstrap:
            continue
        for model in next(iter(cell["truths"].values()))["models"]:
            yield name, model, {truth: record["models"][model] for truth, record in cell["truths"].items()}


def coverages(methods: Mapping[str, Any], name: str) -> dict[str, float]:
    """Return the coverage of each quantity, with that of the delta method where there is one."""
    found = {what: record["coverage"] for what, record in methods[name].items()}
    if (delta := methods.get(name.replace("fieller", "delta"))) not in (None, methods[name]):
        found["retained, Fieller"], found["retained, delta"] = found.pop("retained"), delta["retained"]["coverage"]
    return found


@dataclass(frozen=True)
class Line:
    """A row of a table of coverage; record and sets are those of the effect."""

    cell: str
    model: str
    method: str
    values: dict[str, float]
    record: Mapping[str, Any]
    sets: Mapping[str, int]


def lines(results: Mapping[str, Any], *, bootstrap: bool) -> Iterator[Line]:
    """Yield every row: what is covered in per cent, and without bootstrap what is rejected under the null."""
    for cell, model, truths in rows(results, bootstrap=bootstrap):
        record = truths["effect"]
        for name, quantities in record["methods"].items():
            if name.endswith("delta"):
                continue
            method = WORDS.get(name.removesuffix(", fieller"), name.replace("bca", "BCa"))
            values = coverages(record["methods"], name)
            if not bootstrap:
                null = truths["null"]["methods"][name]
                values |= {f"type I, {what}": 100 - null[what]["coverage"] for what in TESTED}
            yield Line(cell, model, method, values, record, quantities["retained"]["sets"])


def within(what: str, value: float) -> bool:
    """Return whether a coverage, or one less a type-I error, is within the range."""
    return LOWEST <= (100 - value if what.startswith("type I") else value) <= HIGHEST


def outside(results: Mapping[str, Any]) -> list[Outside]:
    """Return every number that leaves the range; of a type-I error, as the coverage it leaves."""
    return [
        Outside(line.cell, line.model, line.method, what, 100 - value if what.startswith("type I") else value)
        for bootstrap in (False, True)
        for line in lines(results, bootstrap=bootstrap)
        for what, value in line.values.items()
        if not within(what, value)
    ]


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    """Return a Markdown table."""
    rule = ["---" if k < 3 else "---:" for k in range(len(head))]
    return ["| " + " | ".join(line) + " |" for line in [head, rule, *body]]


def shown(what: str, value: float) -> str:
    return f"{value:.1f}" if within(what, value) else f"**{value:.1f}**"


def coverage_table(results: Mapping[str, Any], *, bootstrap: bool) -> list[str]:
    """Return coverage and type-I error, in per cent; bold is outside the range."""
    body, head = [], []
    for line in lines(results, bootstrap=bootstrap):
        open_sets = 100 * (line.sets["outside"] + line.sets["unbounded"]) / sum(line.sets.values())
        numbers = [shown(what, value) for what, value in line.values.items()]
        counts = [f"{open_sets:.1f}", str(line.sets["none"]), str(line.record["boundary"]), str(line.record["failed"])]
        body.append([line.cell.removesuffix(", bootstrap"), line.model, line.method, *numbers, *counts])
        head = ["patients", "model", "draws, interval" if bootstrap else "df", *line.values]
    return table([*head, "open sets %", "no share", "boundary", "failed"], body)


def bias_table(results: Mapping[str, Any]) -> list[str]:
    """Return bias with its Monte Carlo error; of improvement retained, whose mean need not exist, of the median."""
    body, head = [], []
    for cell, model, truths in rows(results, bootstrap=False):
        found = truths["effect"]["methods"]["satterthwaite, fieller"]
        row = []
        for what, record in found.items():
            kind = "median_bias" if what == "retained" else "bias"
            row.append(f"{record[kind]:+.3f} ({record[f'{kind}_error']:.3f})")
        body.append([cell, model, *row])
        head = ["patients", "model", *found]
    return table(head, body)


def sentences() -> dict[str, Any]:
    """Return what is recommended, and why numbers leave the range."""
    return tomllib.loads((HERE / "reasons.toml").read_text(encoding="utf-8"))


def reason_of(one: Outside, reasons: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the number of the first sentence that speaks of a number outside the range."""
    return next((k for k, reason in enumerate(reasons) if one.matches(reason)), None)


def explained(results: Mapping[str, Any]) -> list[str]:
    """Return the numbers outside the range with the sentence that speaks of them, those of a model together."""
    reasons, together = sentences()["reason"], {}
    for one in outside(results):
        found = reason_of(one, reasons)
        why = "No sentence yet." if found is None else reasons[found]["why"]
        value = 100 - one.value if one.what.startswith("type I") else one.value
        methods = together.setdefault((one.cell, one.model, why), {})
        methods.setdefault(one.method, []).append(f"{one.what} {value:.4g}")
    out = []
    for (cell, model, why), methods in together.items():
        numbers = "; ".join(f"{method}: {', '.join(values)}" for method, values in methods.items())
        out.append(f"- **{cell}; {model}.** {why} {numbers}.")
    return out


def error(replicates: int) -> str:
    return f"{100 * math.sqrt(0.95 * 0.05 / replicates):.2f}"


def markdown(results: Mapping[str, Any]) -> str:
    """Return the whole table."""
    head = results["header"]
    sizes, versions = head["replicates"], ", ".join(f"{k} {v}" for k, v in head["versions"].items())
    text = [
        "# Bias, coverage and type-I error on known truth",
        "",
        f"Date {head['date']}; {versions}; seed {head['seed']}; {sizes['formulas']:,} replicates, with bootstrap "
        f"{sizes['bootstrap']:,} of {sizes['draws']} draws. Monte Carlo error of a coverage or type-I error of 95 % or "
        f"5 %: {error(sizes['formulas'])} and {error(sizes['bootstrap'])} percentage points. "
        f"Bold leaves {LOWEST} to {HIGHEST} % (type-I error: 3.5 to 6.5 %) before rounding. "
        "README.md says what is drawn and asked.",
        "",
        "## Coverage of 95 % intervals, and type-I error, per cent",
        "",
        *coverage_table(results, bootstrap=False),
        "",
        "## Coverage of bootstrap intervals, per cent",
        "",
        *coverage_table(results, bootstrap=True),
        "",
        "## Bias (Monte Carlo error)",
        "",
        *bias_table(results),
        "",
        "## What the library recommends, and defaults to",
        "",
        *(f"- {sentence}" for sentence in sentences()["recommended"]),
        "",
        f"## What leaves {LOWEST} to {HIGHEST} %, and why",
        "",
        *explained(results),
        "",
    ]
    return "\n".join(text)
