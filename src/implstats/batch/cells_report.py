"""The report of a batch: what sites show together, who was analysed, how fits ended, and how it was done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from implstats import _check
from implstats.batch import markdown
from implstats.batch.blocks import Block, Figure, Heading, Items, Sources, Table, Text
from implstats.batch.cells_about import cited, counted, ended, how
from implstats.batch.comparison_answers import fixed, joined
from implstats.batch.gathered import Gathered, Pool
from implstats.batch.looks import Looks
from implstats.batch.many import Batch
from implstats.batch.plan import Plan
from implstats.batch.report import CANNOT_SAY

__all__ = ["BatchWords", "contents_of_batch", "report_of_batch"]

FILES = (
    ("cells.csv", "every number of every cell, at full precision, and how its fit ended"),
    ("pooled.csv", "every effect over the sites, with the spread between them"),
    ("cells/", "one file a cell, which a later run with --resume does not make again"),
    ("manifest.json", "plan, versions, hashes of the data and of every file, and the plans that were run here before"),
)
COUNTED = "Cells with an answer; n counts patients of a cohort seen at a time, or spells, or ratings"
UNSEEN = (
    "Residuals of single cells are not on this page. A variance of zero is a result: patients, or their courses, could "
    "not be told apart. A model in doubt is looked at alone, with a plan of one study for its site."
)


class BatchWords:
    """What a batch found, in sentences."""

    def __init__(self, plan: Plan, batch: Batch, found: Gathered, sds: Mapping[str, float], looks: Looks) -> None:
        self.plan, self.batch, self.found, self.sds, self.looks = plan, batch, found, sds, looks

    def counted(self) -> str:
        """Return how many cells have an answer."""
        done, every = len(self.found.records) - len(self.found.errors), len(self.found.records)
        return f"{done} of {every} cells have an answer; a cell is one analysis of one outcome at one site."

    def effects(self) -> list[str]:
        """Return one sentence an effect of the family, over the sites."""
        return [self._effect(pool) for pool in self.found.pools if pool.place["analysis"] in self.batch.family]

    def _effect(self, pool: Pool) -> str:
        place, row = pool.place, pool.row()
        head = f"{self.plan.label(place['outcome'])} ({place['analysis']})"
        if pool.combined is None:
            return f"{head}: not pooled over sites: {pool.error}."
        unit = " SD" if place["quantity"] == "difference" else ""
        numbers = f"{fixed(row['estimate'], 2)}{unit} ({self.level()} interval {self._ends(row, 'conf')})"
        who, whom = (self.plan.label(place[k]) for k in ("cohort", "reference"))
        if place["quantity"] == "difference":
            when = f"at {self.when(place['time'])}{_if(place)}"
            said = (
                f"{when}, the improvement of {who} minus that of {whom} was {numbers}; below zero is less improvement"
            )
        elif place["quantity"] == "rmst difference":
            said = f"the difference in mean time up to {_check.show(place['time'])} of {who} minus {whom} was {numbers}"
        else:
            said = f"the log hazard ratio of {self.plan.label(place['term'])} was {numbers}"
        line = f"{head}: over {row['sites']} sites, {said}"
        if np.isfinite(row.get("prediction_low", np.nan)):
            line += f"; that of a next site may lie between {self._ends(row, 'prediction')}"
        return f"{line}."

    def when(self, time: float) -> str:
        """Return a time with what it counts."""
        column = "" if self.batch.roles is None else f"{self.batch.roles.time} "
        return f"{column}{_check.show(time)}"

    def axis(self, pool: Pool) -> str:
        """Return what a forest shows, with its unit."""
        place = pool.place
        head = self.plan.label(place["outcome"])
        who, whom = (self.plan.label(place[k]) for k in ("cohort", "reference"))
        if place["quantity"] == "difference":
            return f"{head}: difference in d at {self.when(place['time'])}{_if(place)}, in SDs ({who} - {whom})"
        if place["quantity"] == "rmst difference":
            return f"{head}: difference in mean time up to {_check.show(place['time'])} ({who} - {whom})"
        return f"{head}: log hazard ratio of {self.plan.label(place['term'])}"

    def pooled(self) -> list[dict[str, str]]:
        """Return one row an effect that is pooled over sites, of all analyses."""
        rows = []
        for pool in self.found.pools:
            if pool.combined is None:
                continue
            row = pool.row()
            mean, beyond = f"{fixed(row['estimate'], 2)} {_bracketed(row, 'conf')}", _bracketed(row, "prediction")
            made = {"analysis": str(pool.place["analysis"]), "effect": self.axis(pool), "sites": str(row["sites"])}
            rows.append(made | {"mean": mean, "a next site": beyond, "tau²": f"{row['tau2']:.3g}"})
        return rows

    def unpooled(self) -> list[str]:
        """Return which analyses have numbers that this page does not tell, as they are not pooled over the sites."""
        told = {str(pool.place["analysis"]) for pool in self.found.pools if pool.combined is not None}
        names = dict.fromkeys(str(r["asked"]["analysis"]) for r in self.found.records if r["status"] == "done")
        left = [name for name in names if name not in told]
        return [f"Not pooled over the sites, and told cell by cell in cells.csv: {joined(left)}."] if left else []

    def warned(self) -> list[dict[str, str]]:
        """Return one row a cell that was warned of."""
        parts = ("analysis", "outcome", "site")
        return [
            {"cell": ", ".join(r["asked"][k] for k in parts), "said": "; ".join(r["warnings"])}
            for r in self.found.records
            if r["warnings"]
        ]

    def pictures(self) -> list[Block]:
        """Return which cells have pictures, and where; they stay outside the page, which would grow too long."""
        parts = ("analysis", "outcome", "site")
        rows = []
        for record in self.found.records:
            if asked := record.get("pictures"):
                there = joined([name for name, why in asked.items() if not why]) or "none"
                missing = [f"; no {name}: {why}" for name, why in asked.items() if why]
                cell = ", ".join(record["asked"][k] for k in parts)
                rows.append({"Cell": cell, "Pictures": "".join([there, *missing])})
        told = "They are in the folder figures, under the name that the cell has in the folder cells, as .png and .svg."
        return [Heading("Pictures of every cell"), Text(told), Table(rows, "Pictures of cells")] if rows else []

    def _ends(self, row: Mapping[str, Any], what: str) -> str:
        between = " and " if what == "prediction" else " to "
        return between.join(fixed(row[f"{what}_{end}"], 2) for end in ("low", "high"))

    def level(self) -> str:
        """Return the level of intervals in words."""
        return f"{100 * self.batch.level:.10g} %"

    def limits(self) -> list[str]:
        """Return what the design cannot say, whatever the numbers."""
        lines = []
        if self.batch.outcomes:
            lines = [
                "Cohorts were not drawn by lot: whatever else differed between them is in their difference.",
                "No group went untreated: what is compared is improvement, of which treatment is one cause.",
            ]
        if self.batch.by is not None:
            lines += [
                "That sites differ does not say why; and sites that take part may differ from those that do not.",
                "Sites are taken as independent: what they share (staff, a change of law) is in every one of them.",
            ]
        return [*lines, *self._leaving_out(), self.looks.in_words()]

    def _leaving_out(self) -> list[str]:
        """Return of which analyses the improvements are not those that were seen."""
        lines = []
        for one in self.batch.analyses:
            if (change := one.options.get("interruption")) is not None:
                began = f"what began at {self.plan.label(change)} (a step, and another course since)"
                lines.append(f"Improvements of {one.name} are without {began}, which cells.csv tells apart.")
            if scores := one.options.get("moderators"):
                mean = joined([self.plan.label(name) for name in scores])
                lines.append(
                    f"Improvements of {one.name} are at the mean of {mean}; cells.csv has what a point changes."
                )
        return lines

    def methods(self) -> list[str]:
        """Return how it was done: SDs, family, pooling, and what is left out."""
        lines = []
        if self.sds:
            given = joined([f"{fixed(sd, 3)} for {self.plan.label(name)}" for name, sd in self.sds.items()])
            where = "given in the plan" if not isinstance(self.batch.sd, str) else "at the baseline, over all sites"
            lines.append(
                f"d is divided by one SD an outcome, the same at every site and taken as known ({given}; {where}): by "
                "its own SD, a site whose patients are more alike would show a larger d for the same improvement."
            )
        lines += [
            f"p-values are corrected once over the family {joined(list(self.batch.family))}: by Holm (p_holm) and by "
            "Benjamini and Hochberg (p_fdr_bh). Other analyses have no corrected p-value.",
            "Effects are pooled over sites with random effects: tau² by Paule and Mandel, intervals by Hartung, Knapp, "
            "Sidik and Jonkman.",
            *self.plan.privacy.in_words(),
        ]
        return lines


def _if(place: Mapping[str, Any]) -> str:
    """Return what is assumed of patients who left, where something is."""
    delta = place["delta_sd"]
    return f", if those who left fared {_check.show(delta)} SD worse" if np.isfinite(delta) else ""


def _bracketed(row: Mapping[str, Any], what: str) -> str:
    """Return the ends of an interval, nothing where there is none."""
    ends = [row.get(f"{what}_{end}", np.nan) for end in ("low", "high")]
    return f"[{fixed(ends[0], 2)}, {fixed(ends[1], 2)}]" if np.isfinite(ends).all() else ""


def contents_of_batch(
    words: BatchWords, figures: Sequence[Figure], lost: Mapping[str, int], versions: Mapping[str, str]
) -> list[Block]:
    """Return everything under the title: the answer, effects, who was analysed, how fits ended, how it was done."""
    found = words.found
    few = words.plan.privacy.few
    rows = [f"{few(count)} rows of {file} name no site, and are in no cell." for file, count in lost.items()]
    made: list[Block] = [Heading("The answer"), Items([words.counted(), *rows, *words.effects()]), *figures]
    made += [Heading(CANNOT_SAY), Items(words.limits())]
    effects = words.pooled()
    if effects:
        level = words.level()
        made += [Heading("Effects over the sites"), Table(effects, f"Mean over the sites, with its {level} interval")]
    made += map(Text, words.unpooled())
    made += [Heading("Who was analysed"), Table(counted(found.records, words.plan), COUNTED)]
    if found.errors:
        failed = [{"cell": name, "why": why} for name, why in found.errors.items()]
        made += [Heading("Cells without an answer", 3), Table(failed, "Cells without an answer")]
    made += [
        Heading("Can the models be believed?"),
        Text(UNSEEN),
        Table(ended(found.records, words.plan), "How fits ended"),
    ]
    if warned := words.warned():
        made += [Heading("Warnings", 3), Table(warned, "What was warned of while cells were analysed")]
    made += words.pictures()
    files = [{"File": file, "What": what} for file, what in FILES]
    made += [Heading("Methods"), Items(how(words.batch)), *map(Text, words.methods())]
    made += [Heading("Files"), Table(files, "Files of this folder")]
    made += [Heading("Software"), Text(", ".join(f"{name} {version}" for name, version in versions.items()) + ".")]
    return [*made, Heading("References"), Sources(cited(words.batch, bool(effects)))]


def report_of_batch(plan: Plan, blocks: Sequence[Block]) -> str:
    """Return the report in Markdown."""
    head = [f"# {markdown.safe(plan.title)}", *([f"**{markdown.safe(plan.note)}**"] if plan.note else [])]
    return "\n\n".join([*head, *map(markdown.written, blocks)]) + "\n"
