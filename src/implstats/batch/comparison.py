"""The sections `[roles]`, `[outcomes]` and `[analysis]` of a plan: cohorts of patients that are compared."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from implstats import _check
from implstats.batch import kinds
from implstats.batch.data import DATA, Data
from implstats.batch.kinds import Kind
from implstats.batch.repeatable import of_terms
from implstats.study.choice import DEFAULT_DF, MODELS

__all__ = ["SECTIONS", "Analysis", "Comparison", "Roles", "read_comparison", "read_outcomes", "section"]


@dataclass(frozen=True)
class Roles:
    """The section `[roles]`: what the columns are, as `compare_cohorts` takes them."""

    patient: str
    time: str
    cohort: str
    reference: Any
    baseline: float | str = 0
    time_unit: str | None = None


@dataclass(frozen=True)
class Analysis:
    """The section `[analysis]`: times and choices, as `compare_cohorts` takes them; draws and seed of the bootstrap."""

    at: Sequence[float]
    model: str = "auto"
    shape: str = "auto"
    adjust: Sequence[str] | str | None = None
    groups: Sequence[str] | None = None
    interruption: str | None = None
    moderators: Sequence[str] | None = None
    patient_weights: str | None = None
    margin: float | None = None
    correction: str = "holm"
    sd: str | float = "baseline"
    df: str = DEFAULT_DF
    level: float = 0.95
    missing: str = "drop"
    draws: int = 999
    seed: int = 1


@dataclass(frozen=True)
class Comparison:
    """A comparison of cohorts: the sections of the same names, and outcome -> "lower" or "higher" (which is better)."""

    data: Data
    roles: Roles
    outcomes: Mapping[str, str]
    analysis: Analysis

    def columns(self, frame: pd.DataFrame) -> dict[str, Hashable | None]:
        """Return role -> column, of what the table has."""
        found: dict[str, Hashable | None] = {
            k: getattr(self.roles, k) for k in ("patient", "time", "cohort", "baseline")
        }
        found |= {f"outcomes[{k}]": name for k, name in enumerate(self.outcomes)}
        found |= {k: getattr(self.analysis, k) for k in ("interruption", "patient_weights")}
        for role in ("groups", "moderators"):
            found |= {f"{role}[{k}]": name for k, name in enumerate(getattr(self.analysis, role) or ())}
        return found | of_terms("adjust", self.analysis.adjust, list(frame.columns), _check.Faults())


SECTIONS: Mapping[str, Mapping[str, Kind]] = {
    "data": DATA,
    "roles": {
        "patient": kinds.text,
        "time": kinds.text,
        "cohort": kinds.text,
        "reference": kinds.one,
        "baseline": kinds.number_or_text,
        "time_unit": kinds.word("days", "weeks", "months", "years"),
    },
    "analysis": {
        "at": kinds.times,
        "model": kinds.word(*MODELS),
        "shape": kinds.word("auto", "linear", "quadratic", "log", "visits"),
        "adjust": kinds.terms,
        "groups": kinds.texts,
        "interruption": kinds.text,
        "moderators": kinds.texts,
        "patient_weights": kinds.text,
        "margin": kinds.above(0),
        "correction": kinds.word("holm", "bonferroni", "fdr_bh", "none"),
        "sd": kinds.word_or_above(0, "baseline", "reference", "own", "model"),
        "df": kinds.word("satterthwaite", "kenward-roger", "normal"),
        "level": kinds.level,
        "missing": kinds.word("drop", "raise"),
        "draws": kinds.whole(20),
        "seed": kinds.whole(0),
    },
}
NEEDED: Mapping[str, Mapping[str, str]] = {
    "data": {"file": 'write file = "visits.csv"'},
    "roles": {
        "patient": "name the column that tells patients apart",
        "time": "name the column with the time of the visit",
        "cohort": "name the column with the cohort",
        "reference": 'name the cohort that the others are compared with, as reference = "before"',
    },
    "analysis": {"at": "name the times to compare at, as at = [18, 36]"},
}


def read_comparison(
    record: Mapping[str, Any], data: Mapping[str, Any], homes: Mapping[str, str], faults: _check.Faults
) -> Comparison | None:
    """Return the comparison of a plan whose section `[data]` was read already, None with faults."""
    made = {name: section(name, record.get(name), homes, faults) for name in ("roles", "analysis")}
    outcomes = read_outcomes(record.get("outcomes"), faults)
    if faults:
        return None
    if "patient_weights" in made["analysis"]:
        made["analysis"].setdefault("df", "normal")
    return Comparison(Data(**data), Roles(**made["roles"]), outcomes, Analysis(**made["analysis"]))


def section(
    name: str, given: object, homes: Mapping[str, str], faults: _check.Faults, *, optional: bool = False
) -> dict[str, Any]:
    """Return the values of a section of the plan; where it is optional, so are its keys."""
    if given is None:
        faults.say(f"[{name}]: missing; it needs {', '.join(NEEDED[name])}")
        return {}
    if not isinstance(given, dict):
        faults.add(name, given, "not a section", f"write [{name}] on a line of its own, and its keys below")
        return {}
    return kinds.section(f"[{name}]", given, SECTIONS[name], {} if optional else NEEDED[name], homes, faults)


def read_outcomes(given: object, faults: _check.Faults) -> dict[str, str]:
    """Return outcome -> which way is better, as the section `[outcomes]` says."""
    remedy = 'write for example bsi = "lower", if lower is better'
    if given is None:
        faults.say(f"[outcomes]: missing; {remedy}")
        return {}
    if not isinstance(given, dict) or not given:
        faults.add("[outcomes]", given, "names no outcome", remedy)
        return {}
    for name, better in given.items():
        if better not in ("lower", "higher"):
            faults.add(
                f"[outcomes] {name}", better, "not a direction", 'write "lower" or "higher", whichever is better'
            )
    return given
