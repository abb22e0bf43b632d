"""What stands behind the cells of a batch: each kind of analysis in a sentence, its source, and how its fits ended."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from implstats.batch.comparison_report import ABOUT, FREEDOM, REFERENCES
from implstats.batch.many import KINDS, Batch, Repeated
from implstats.batch.plan import Plan
from implstats.batch.survival_methods import SOURCES
from implstats.study.choice import DEFAULT_DF

__all__ = ["cited", "counted", "ended", "how"]

COHEN = "Cohen 1968, kappa with weights: doi 10.1037/h0026256"
JAMES = "James, Demaree and Wolf 1984, agreement within a group: doi 10.1037/0021-9010.69.1.85"
LITTLE = "Little 1993, pattern mixtures: doi 10.1080/01621459.1993.10594302"
CRO = "Cro et al. 2020, what if those who left fared worse: doi 10.1002/sim.8569"
MANTEL = "Harrington and Fleming 1982, the log-rank test: doi 10.1093/biomet/69.3.553"
MCGRAW = "McGraw and Wong 1996, intraclass correlations: doi 10.1037/1082-989X.1.1.30"
KRIPPENDORFF = "Krippendorff 2004, alpha: doi 10.1111/j.1468-2958.2004.tb00738.x"
GWET = "Gwet 2008, AC1: doi 10.1348/000711006X126600"
POOLED = (
    "IntHout et al. 2014, intervals of pooled effects: doi 10.1186/1471-2288-14-25",
    "Veroniki et al. 2016, the spread between sites: doi 10.1002/jrsm.1164",
)
MODELS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "mmrm": (f"a mixed model for repeated measures, {ABOUT['mmrm'].equation}", ABOUT["mmrm"].sources),
    "growth": (f"a growth model, {ABOUT['growth'].equation}", ABOUT["growth"].sources),
    "pattern_mixture": (
        "a mean course for those who stayed and one for those who left, each weighted by its share; those who left "
        "keep to the course of those who left",
        (LITTLE,),
    ),
    "tipping_point": (
        "missing visits of those who left imputed from the MMRM and made worse by delta SD, the results of the "
        "imputations combined by Rubin's rules",
        (CRO, *ABOUT["mmrm"].sources),
    ),
    "natural_change": (
        "the improvement retained once c, what would have come without treatment, is taken from both: "
        "(D1 - c) / (D0 - c)",
        (REFERENCES[2],),
    ),
    "survival": (
        "Cox's model, h(t) = h0(t) exp(x'b), h0 of any form",
        (SOURCES["cox"],),
    ),
    "rmst": ("the area under each group's Kaplan-Meier curve up to a common time", (SOURCES["rmst"],)),
    "logrank": ("events observed and expected in each group at every time of an event", (MANTEL,)),
    "ratings": ("mean squares of items, raters and rest", (MCGRAW,)),
    "kappa": ("agreement beyond what the raters' own shares would give", (COHEN,)),
    "krippendorff_alpha": ("1 - disagreement seen / disagreement by chance", (KRIPPENDORFF,)),
    "gwet_ac1": ("agreement beyond chance, chance being that of unsure raters", (GWET,)),
    "within_group_agreement": ("1 - variance seen / variance of raters who answer at random", (JAMES,)),
}


def how(batch: Batch) -> list[str]:
    """Return each analysis of the plan in a sentence, and what became of missed visits."""
    lines = [f"{one.name}: {MODELS[one.kind][0]}." for one in batch.analyses]
    if batch.outcomes:
        lines.append(
            "Patients who missed a visit count with those that they made: right where what was missed depends on what "
            "was seen before, unless the analysis says what else it assumes."
        )
    return lines


def cited(batch: Batch, pooled: bool) -> list[str]:
    """Return what the analyses of the plan rest on."""
    found = {line for one in batch.analyses for line in (*MODELS[one.kind][1], *_freedom(one))}
    if batch.outcomes:
        found |= set(REFERENCES)
    return sorted(found | (set(POOLED) if pooled else set()))


def _freedom(one: Repeated) -> list[str]:
    df = one.options.get("df", DEFAULT_DF if KINDS[one.kind].of_outcomes else None)
    return [FREEDOM[df]] if df in FREEDOM else []


def counted(records: Sequence[Mapping[str, Any]], plan: Plan) -> list[dict[str, str]]:
    """Return one row an analysis and outcome: how many sites answered, and how many people each of them rests on."""
    made = []
    for (name, outcome), cells in _of_each(records).items():
        told = [row["n"] for cell in cells for row in cell["rows"] if row.get("n") is not None]
        hidden = any("n" in row and row["n"] is None for cell in cells for row in cell["rows"])
        fewest = plan.privacy.few(1) if hidden else str(min(told, default=""))
        done = sum(cell["status"] == "done" for cell in cells)
        row = {"analysis": name, "outcome": plan.label(outcome), "cells": str(len(cells)), "with an answer": str(done)}
        made.append(row | {"n, the fewest": fewest, "n, the most": str(max(told, default=""))})
    return made


def ended(records: Sequence[Mapping[str, Any]], plan: Plan) -> list[dict[str, str]]:
    """Return one row an analysis and outcome: how its fits ended."""
    made = []
    for (name, outcome), cells in _of_each(records).items():
        done = [cell for cell in cells if cell["status"] == "done"]
        counts = {
            "converged": sum(bool(cell["converged"]) for cell in done),
            "a variance of zero": sum(bool(cell["boundary"]) for cell in done),
            "warned of": sum(bool(cell["warnings"]) for cell in done),
        }
        words = {what: f"{count} of {len(done)}" for what, count in counts.items()}
        made.append({"analysis": name, "outcome": plan.label(outcome), **words})
    return made


def _of_each(records: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], list[Mapping[str, Any]]]:
    """Return (analysis, outcome) -> its cells."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for record in records:
        found.setdefault((record["asked"]["analysis"], record["asked"]["outcome"]), []).append(record)
    return found
