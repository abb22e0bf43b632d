"""Compute the reference values again with R and compare: `python tests/reference/regenerate.py [--write] [NAME ...]`.

NAME is the name of an R script; without any, all of them. Without `--write` nothing is
changed; every number that moved by more than its tolerance is listed and the exit status is 1. With it, the json files
that were computed are replaced, and session.txt, which says what R and which packages there are.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PUBLISHED = ["dyestuff", "dyestuff2", "orthodont", "ovary", "oxboys", "pastes", "penicillin", "sleepstudy"]
PUBLISHED += ["bladder2", "heart", "kidney", "lung", "mgus2", "rats", "rossi", "transplant", "veteran"]
SCRIPTS = [
    "growth",
    "interruption",
    "profile",
    "mmrm",
    "moderation",
    "residual",
    "curves",
    "competing",
    "cox",
    "discrete",
    "elsewhere",
    "parametric",
    "phases",
    "rates",
    "ratings",
    "weights",
]
HOW_IT_ENDED = {"gradient", "curvature", "spread_over_starts", "above"}
# Section of a reference file, and quantity of a case, -> the rule that bounds it.
SECTIONS = {"comparisons": "criterion", "frailties": "theta", "firths": "firth", "ridges": "std_error", "cox": "fixed"}
SECTIONS |= {"hazards": "fixed"}
SECTIONS |= dict.fromkeys(("incidence", "survfit", "gray", "fine_gray"), "hazard")
QUANTITIES = {"criterion": "criterion", "nlme": "criterion", "joint": "statistic", "lme4": "lme4", "beta": "beta"}
QUANTITIES |= {"differences": "fixed"}
QUANTITIES |= dict.fromkeys(("random_effects", "variances", "covariances", "fitted"), "sd") | {"loglik": "loglik"}


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield every single value of a nested record with its path; lists of named things go by name, not position."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            name = inner.get("name") or inner.get("term") if isinstance(inner, dict) else None
            yield from leaves(inner, (*path, str(name or index)))
    else:
        yield path, value


def tolerance(path: tuple[str, ...], rules: dict[str, dict[str, Any]]) -> float:
    """Return how far a number may move between two runs of R: the tests' tolerance for it."""
    if HOW_IT_ENDED & set(path):
        return float("inf")
    if path[0] not in {"cases", *SECTIONS} or len(path) < 3:
        return 0.0
    if {"df", "df_den"} & set(path[-2:]) and "df" in rules:
        return float(rules["df"]["tolerance"])
    asked = SECTIONS.get(path[0]) or QUANTITIES.get(path[2])
    name = next(n for n in (asked, "fixed", "std_error", "sd") if n in rules)
    return float(rules[name].get("tolerance", rules[name].get("within")))


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return one line a value that is new, gone, or moved by more than its tolerance."""
    before, after = dict(leaves(old)), dict(leaves(new))
    lines = [f"gone: {' / '.join(path)}" for path in before.keys() - after.keys()]
    lines += [f"new: {' / '.join(path)}" for path in after.keys() - before.keys()]
    for path in before.keys() & after.keys():
        a, b = before[path], after[path]
        if isinstance(a, int | float) and isinstance(b, int | float) and not isinstance(a, bool):
            if abs(a - b) > tolerance(path, old["rules"]) * max(1.0, abs(a)):
                lines.append(f"moved: {' / '.join(path)}: {a!r} -> {b!r}")
        elif a != b:
            lines.append(f"changed: {' / '.join(path)}: {a!r} -> {b!r}")
    return sorted(lines)


def computed(rscript: str, name: str, folder: Path) -> list[str]:
    """Return what one script now says otherwise; its files are left in the folder."""
    out = folder / f"{name}.json"
    subprocess.run([rscript, str(HERE / f"{name}.R"), str(out)], check=True)
    old = HERE / f"{name}.json"
    if not old.exists():
        return [f"new: {name}.json"]
    pair = (json.loads(path.read_text(encoding="utf-8")) for path in (old, out))
    return [f"{name}: {line}" for line in differences(*pair)]


def main() -> int:
    """Run R, compare, and replace if asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(SCRIPTS)}; by default all")
    parser.add_argument("--write", action="store_true", help="replace what was computed")
    parser.add_argument("--rscript", default="Rscript", help="the Rscript command")
    options = parser.parse_args()
    if unknown := set(options.names) - set(SCRIPTS):
        parser.error(f"no such reference: {', '.join(sorted(unknown))}; choose from {', '.join(SCRIPTS)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for script in ("data", "session"):
            subprocess.run([options.rscript, str(HERE / f"{script}.R"), str(folder)], check=True)
        pairs = [(folder / f"{k}.csv", HERE / "data" / f"{k}.csv") for k in PUBLISHED]
        lines = [
            f"data: {b.name} is not what R's packages hold" for a, b in pairs if not filecmp.cmp(a, b, shallow=False)
        ]
        for script in options.names or SCRIPTS:
            lines += computed(options.rscript, script, folder)
        print("\n".join(lines) or "nothing moved by more than its tolerance")
        if options.write:
            for file in [*folder.glob("*.json"), *folder.glob("session.txt")]:
                shutil.copyfile(file, HERE / file.name)
    return 1 if lines and not options.write else 0


if __name__ == "__main__":
    sys.exit(main())
