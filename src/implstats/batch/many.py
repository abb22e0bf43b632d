"""The sections `[batch]` and `[[batch.analysis]]` of a plan: analyses that every site and every outcome gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from implstats import _check
from implstats.batch import kinds
from implstats.batch.comparison import Roles, read_outcomes, section
from implstats.batch.data import DATA, Data, is_there
from implstats.batch.kinds import Kind
from implstats.batch.repeatable import Repeatable
from implstats.batch.repeated_cohorts import Cohorts
from implstats.batch.repeated_events import Hazards, LogRank, MeanTimes
from implstats.batch.repeated_ratings import BeyondChance, Correlation, WithinGroups
from implstats.batch.repeated_sensitivity import NaturalChange, PatternMixture, TippingPoint

__all__ = ["BATCH", "KINDS", "Batch", "Repeated", "read_batch"]

KINDS: Mapping[str, Repeatable] = MappingProxyType(
    {
        "mmrm": Cohorts("mmrm"),
        "growth": Cohorts("growth"),
        "pattern_mixture": PatternMixture(),
        "tipping_point": TippingPoint(),
        "natural_change": NaturalChange(),
        "survival": Hazards(),
        "rmst": MeanTimes(),
        "logrank": LogRank(),
        "ratings": Correlation(),
        **{name: BeyondChance(name) for name in ("kappa", "krippendorff_alpha", "gwet_ac1")},
        "within_group_agreement": WithinGroups(),
    }
)


@dataclass(frozen=True)
class Repeated:
    """One `[[batch.analysis]]`: its name in the table, which of `KINDS` it is, its table, and its options."""

    name: str
    kind: str
    data: Data
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Batch:
    """Cells to analyse: every analysis, of every outcome where it takes outcomes, at every value of a column.

    Attributes
    ----------
    analyses : tuple of Repeated
    by : str or None
        The column whose values are the sites; None analyses all rows together.
    roles, outcomes
        As a comparison of cohorts has them; None and empty where no analysis takes them.
    sd : "baseline" or mapping
        What d is divided by: one SD an outcome, found over all sites or given.
    family : tuple of str
        The analyses whose p-values are corrected together.
    level : float
    """

    analyses: tuple[Repeated, ...]
    by: str | None = None
    roles: Roles | None = None
    outcomes: Mapping[str, str] = field(default_factory=dict)
    sd: str | Mapping[str, float] = "baseline"
    family: tuple[str, ...] = ()
    level: float = 0.95


def _sd(name: str, value: object, faults: _check.Faults) -> Any:
    """Return "baseline", or a number above 0 for every outcome."""
    if not isinstance(value, dict):
        return kinds.word("baseline")(name, value, faults)
    return {outcome: kinds.above(0)(f"{name} {outcome}", sd, faults) for outcome, sd in value.items()}


BATCH: Mapping[str, Kind] = {
    "by": kinds.text,
    "sd": _sd,
    "family": kinds.texts,
    "level": kinds.level,
}


def read_batch(
    record: Mapping[str, Any], folder: Path, data: Mapping[str, Any], homes: Mapping[str, str], faults: _check.Faults
) -> Batch | None:
    """Return the batch of a plan whose section `[data]` was read already, None with faults."""
    given = record["batch"]
    if not isinstance(given, dict):
        faults.add("batch", given, "not a section", "write [batch] on a line of its own, and its keys below")
        return None
    listed = given.get("analysis")
    if not isinstance(listed, list) or not listed or not all(isinstance(table, dict) for table in listed):
        faults.say("[[batch.analysis]]: missing; write one section for each analysis, with its name and kind")
        return None
    own = {key: value for key, value in given.items() if key != "analysis"}
    asked = kinds.section("[batch]", own, BATCH, {}, homes, faults)
    analyses = [_analysis(table, k, folder, data, homes, faults) for k, table in enumerate(listed, start=1)]
    names = [str(table.get("name")).strip().lower() for table in listed]
    for name in sorted({name for name in names if names.count(name) > 1}):
        faults.say(f"[[batch.analysis]] name={name!r}: several analyses have it; each needs one of its own")
    cohorts = _cohorts(record, listed, homes, faults)
    _family_and_sds(asked, [str(table.get("name")) for table in listed], cohorts.get("outcomes", {}), faults)
    if faults:
        return None
    made = tuple(one for one in analyses if one is not None)
    family = tuple(asked.pop("family", None) or (one.name for one in made))
    return Batch(made, family=family, **asked, **cohorts)


def _analysis(
    table: Mapping[str, Any],
    k: int,
    folder: Path,
    common: Mapping[str, Any],
    homes: Mapping[str, str],
    faults: _check.Faults,
) -> Repeated | None:
    """Return one analysis, with its own table or that of `[data]`."""
    shown = f"[batch.analysis {table.get('name', k)}]"
    name, kind = table.get("name"), table.get("kind")
    kinds.text(f"{shown} name", name, faults)
    if not isinstance(kind, str) or kind not in KINDS:
        faults.add(f"{shown} kind", kind, "no such kind of analysis", f"write one of {', '.join(KINDS)}")
        return None
    of_kind = KINDS[kind]
    keys = of_kind.keys if of_kind.of_outcomes else {**DATA, **of_kind.keys}
    rest = {key: value for key, value in table.items() if key not in ("name", "kind")}
    options = kinds.section(shown, rest, keys, of_kind.needed, homes, faults)
    own = {key: options.pop(key) for key in DATA if key in options}
    if "file" in own:
        is_there(f"{shown} file", folder, own["file"], faults)
        common = {key: common[key] for key in ("separator", "decimal") if key in common}
    elif own:
        faults.say(f"{shown} {next(iter(own))}: goes with a file of its own; name the file, or write it under [data]")
    elif "file" not in common:
        faults.say(f'{shown} file: missing; write file = "visits.csv" under [data], or here where there are several')
    return None if faults else Repeated(str(name), kind, Data(**{**common, **own}), options)


def _cohorts(
    record: Mapping[str, Any], listed: list[Mapping[str, Any]], homes: Mapping[str, str], faults: _check.Faults
) -> dict[str, Any]:
    """Return roles and outcomes, if an analysis takes them."""
    kinds_asked = [KINDS[str(t["kind"])] for t in listed if str(t.get("kind")) in KINDS]
    if not any(kind.of_outcomes for kind in kinds_asked):
        for name in ("roles", "outcomes"):
            if name in record:
                faults.say(f"[{name}]: no analysis takes it; leave it out, or add one of cohorts")
        return {}
    roles = section("roles", record.get("roles"), homes, faults)
    outcomes = read_outcomes(record.get("outcomes"), faults)
    if isinstance(roles.get("baseline"), str) and len(outcomes) > 1:
        fault = f"one column cannot be the baseline of {len(outcomes)} outcomes"
        faults.add("[roles] baseline", roles["baseline"], fault, "write a plan for each outcome")
    return {} if faults else {"roles": Roles(**roles), "outcomes": outcomes}


def _family_and_sds(
    asked: Mapping[str, Any], names: list[str], outcomes: Mapping[str, str], faults: _check.Faults
) -> None:
    """Record names that the plan has not, and an outcome that has no SD."""
    for name in asked.get("family") or ():
        if name not in names:
            faults.say(f"[batch] family={name!r}: no such analysis{_check.nearest(name, names)}")
    sds = asked.get("sd", "baseline")
    if isinstance(sds, dict) and set(sds) != set(outcomes):
        faults.add("[batch] sd", sds, "not one SD for every outcome", 'write each, or sd = "baseline"')
