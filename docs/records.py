"""Tables of what tests and simulations found, from the records that are committed beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

LOWEST, HIGHEST = 93.5, 96.5
# Ours against ours is a test of the library, and no comparison with another program.
OURS_WITH_OURS = "test_growth_model_is_the_mixed_model_of_the_same_formula"
REFERENCES = {
    "growth": "Growth models and mixed models",
    "mmrm": "MMRM",
    "residual": "Residuals that differ or hang together",
    "profile": "Profile intervals of variances, likelihood ratios",
    "interruption": "Interruptions in treatment",
    "moderation": "Moderators of change",
    "weights": "Weighted patients",
    "curves": "Curves, log-rank tests, restricted means",
    "cox": "Cox models",
    "competing": "Competing causes",
    "discrete": "Hazards in discrete time",
    "parametric": "Parametric times",
    "phases": "Phases of implementation",
    "rates": "Rates, and programmes combined",
    "ratings": "Agreement of raters",
}
FAMILIES = {
    "results": "Growth models and MMRM",
    "survival_results": "Programmes that stop",
    "tools_results": "Where the plain comparison is wrong",
}


def load(path: Path) -> Any:
    """Return a record."""
    return json.loads(path.read_text(encoding="utf-8"))


def table(head: Sequence[str], body: Iterable[Sequence[Any]], words: int) -> list[str]:
    """Return a Markdown table whose first columns are words and the others numbers."""
    rule = ["---" if k < words else "---:" for k in range(len(head))]
    lines = [[str(cell).replace("|", "\\|") for cell in line] for line in [head, rule, *body]]
    return [f"| {' | '.join(line)} |" for line in lines]


# Other programs -------------------------------------------------------------------------------------------------------


def parity(folder: Path) -> Iterator[str]:
    """Yield, for each file of references, what is compared with what, how many numbers, and the largest difference."""
    tests = load(folder / "parity.json")["tests"]
    compared = {name: rows(tests[f"test_{name}_reference.py"]) for name in REFERENCES}
    total = sum(row[1] for body in compared.values() for row in body)
    yield f"**{total:,} numbers** are compared in {sum(map(len, compared.values()))} tests.\n"
    for name, title in REFERENCES.items():
        yield f"## {title}\n"
        yield f"`{name}.json`: {programs(load(folder / f'{name}.json')['software'])}.\n"
        shown = [(what, f"{values:,}", *map(power, off)) for what, values, *off in compared[name]]
        yield from table(
            ["compared", "numbers", "largest relative difference", "largest absolute difference"], shown, 1
        )
        yield ""


def rows(tests: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, int, float | None, float | None]]:
    """Return each test in words, with how many numbers it compares and how far they are off."""
    kept = {test: one for test, one in tests.items() if test != OURS_WITH_OURS}
    return [
        (test.removeprefix("test_").replace("_", " "), one["values"], one.get("relative"), one.get("absolute"))
        for test, one in kept.items()
    ]


def programs(software: Mapping[str, str]) -> str:
    """Return the programs that a reference comes from, R last."""
    named = [f"{name} {version}" for name, version in software.items() if name not in ("R", "jsonlite")]
    return ", ".join([*named, software["R"].split(" Patched")[0].removesuffix(" version")])


def power(off: float | None) -> str:
    """Return a difference as its order of magnitude and first digit."""
    return "" if off is None else "0" if off == 0 else f"{off:.0e}"


# Known truth ----------------------------------------------------------------------------------------------------------


def coverage(folder: Path) -> Iterator[str]:
    """Yield, for each family of simulated studies, how often 95 % intervals held the truth."""
    for name, title in FAMILIES.items():
        found = load(folder / f"{name}.json")
        sizes = " and ".join(f"{size:,}" for size in sorted(set(repeated(found["cells"])), reverse=True))
        yield f"## {title}\n"
        yield f"{len(found['cells'])} kinds of studies of {sizes} draws each; seed {found['header']['seed']}.\n"
        yield from table(["study", "model", "intervals", "lowest, %", "highest, %", "outside"], held(found["cells"]), 2)
        yield ""


def repeated(cells: Mapping[str, Any]) -> Iterator[int]:
    """Yield how often each kind of study was drawn."""
    for cell in cells.values():
        yield cell["replicates"]


def held(cells: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Yield, for each kind of study and each model, its coverages over all methods and quantities."""
    for study, cell in cells.items():
        found: dict[str, list[float]] = {}
        for truth in cell["truths"].values():
            for model, record in truth["models"].items():
                said = [of for method in record["methods"].values() for of in method.values()]
                found.setdefault(model, []).extend(of["coverage"] for of in said if "coverage" in of)
        for model, values in found.items():
            if values:
                outside = sum(not LOWEST <= value <= HIGHEST for value in values)
                yield [study, model, len(values), f"{min(values):.1f}", f"{max(values):.1f}", outside]
