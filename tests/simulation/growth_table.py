"""The committed table of growth models, made of results.json and the sentences of reasons.toml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from table import HIGHEST, LOWEST, Outside, closing, coverage, error, rests_on, sentences, shown, table, within

REASONS = Path(__file__).resolve().parent / "reasons.toml"
TESTED = ("level", "change", "difference in d")
WORDS = {"satterthwaite": "Satterthwaite", "kenward-roger": "Kenward-Roger"}


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


def outside(results: Mapping[str, Any]) -> list[Outside]:
    """Return every number that leaves the range."""
    return [
        Outside(line.cell, line.model, line.method, what, coverage(what, value))
        for bootstrap in (False, True)
        for line in lines(results, bootstrap=bootstrap)
        for what, value in line.values.items()
        if not within(what, value)
    ]


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


def markdown(results: Mapping[str, Any]) -> str:
    """Return the whole table."""
    sizes = results["header"]["replicates"]
    text = [
        "# Bias, coverage and type-I error on known truth",
        "",
        f"{rests_on(results['header'])}; {sizes['formulas']:,} replicates, with bootstrap "
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
        *closing(sentences(REASONS), outside(results)),
    ]
    return "\n".join(text)
