"""Which items of the LEVEL, StaRI and STROBE checklists a report fills, and which are left to its authors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from implstats.batch.blocks import Block, Heading, Items, Sources, Table, Text

__all__ = ["checklists"]

ANSWER, LIMITS, WHO = "The answer", "What these data cannot say", "Who was analysed"
BELIEVED, DOUBTS, METHODS = "Can the models be believed?", "What if the assumptions do not hold?", "Methods"
OPEN = "open"
OF_COHORTS = "cells of cohorts"


@dataclass(frozen=True)
class Asked:
    """An item of a checklist in short, and the section that fills it, by what a report holds."""

    number: str
    asks: str
    comparison: str = ""
    survival: str = ""
    cells: str = ""

    def filled(self, kinds: Iterable[str]) -> str:
        """Return the sections that fill it in a report of such analyses."""
        sections = {"comparison": self.comparison, "survival": self.survival}
        sections |= dict.fromkeys(("cells", OF_COHORTS), self.cells)
        found = [where for kind, where in sections.items() if kind in kinds and where]
        return "; ".join(dict.fromkeys(found)) or OPEN


STROBE = (
    Asked("1", "design named in title or abstract; balanced summary"),
    Asked("2", "background and reasons"),
    Asked("3", "aims and hypotheses stated beforehand"),
    Asked("4", "key elements of the design"),
    Asked("5", "setting, places, dates of recruitment and follow-up"),
    Asked("6", "who was eligible, how selected, how followed"),
    Asked("7", "outcomes, exposures, confounders defined"),
    Asked("8", "how each variable was measured, alike in all groups"),
    Asked("9", "what was done about bias"),
    Asked("10", "how the size of the study was arrived at"),
    Asked("11", "how numbers were used, how groups were cut", METHODS, METHODS, METHODS),
    Asked("12a", "statistical methods and control of confounding", METHODS, METHODS, METHODS),
    Asked("12b", "subgroups and interactions"),
    Asked("12c", "missing data", METHODS, METHODS),
    Asked("12d", "loss to follow-up", f"{METHODS}; {LIMITS}", LIMITS),
    Asked("12e", "sensitivity analyses", DOUBTS, "E-values under What goes with it"),
    Asked("13a", "numbers at each stage (here from the data file on)", WHO, WHO),
    Asked("13b", "why people are not in at each stage (here: missing values)", WHO, WHO),
    Asked("13c", "flow diagram (here as a table)", WHO, WHO),
    Asked("14a", "who the participants are"),
    Asked("14b", "missing values of each variable", WHO, WHO),
    Asked("14c", "length of follow-up", WHO, "Mean and median times"),
    Asked("15", "outcomes over time", "the section of each outcome", "Shares over time", ANSWER),
    Asked("16a", "estimates with precision, and what was adjusted for", ANSWER, "What goes with it", ANSWER),
    Asked("16b", "where numbers were cut into categories"),
    Asked("16c", "relative risks as absolute ones", "", "Shares over time"),
    Asked("17", "other analyses", DOUBTS, "Do hazard ratios change over time?"),
    Asked("18", "key results", ANSWER, ANSWER, ANSWER),
    Asked("19", "limits, with direction and size of bias", f"{LIMITS}; {DOUBTS}", LIMITS, f"{LIMITS} (in words only)"),
    Asked("20", "careful interpretation beside other evidence"),
    Asked("21", "to whom the results apply"),
    Asked("22", "funding"),
)
STARI = (
    Asked("1", "title names an implementation study and its method"),
    Asked("2", "abstract names strategy, intervention, outcomes"),
    Asked("3", "the problem that is to be solved"),
    Asked("4", "reasons for strategy and intervention, what is known of them"),
    Asked("5", "aims, of implementation and of the intervention apart"),
    Asked("6", "design, and changes to the protocol"),
    Asked("7", "context: what helps and hinders"),
    Asked("8", "sites, and the population with its criteria"),
    Asked("9", "description of the strategy and of the intervention"),
    Asked("10", "subgroups for further tasks, nested studies"),
    Asked("11", "outcomes set beforehand, and how they were assessed"),
    Asked("12", "aims and outcomes of a process evaluation"),
    Asked("13", "how costs were measured"),
    Asked("14", "reasons for the sample size"),
    Asked("15", "methods of analysis and why they were chosen", METHODS, METHODS, METHODS),
    Asked("16", "subgroups set beforehand"),
    Asked("17", "share recruited, and who they are", *[f"{WHO} (numbers only)"] * 3),
    Asked("18", "outcomes of strategy and intervention", ANSWER, ANSWER, ANSWER),
    Asked("19", "data on the process"),
    Asked("20", "resources and costs"),
    Asked("21", "how representative subgroups were, and their outcomes"),
    Asked("22", "fidelity to plan, and adaptation"),
    Asked("23", "changes of context during the study"),
    Asked("24", "harms and unintended effects"),
    Asked("25", "findings, strengths and limits, other studies", *[f"{LIMITS} (limits only)"] * 3),
    Asked("26", "what follows for policy, practice and research"),
    Asked("27", "approvals, ethics, registration, funding, interests"),
)
LEVEL = (
    Asked("1a", "abstract says that data and analysis have levels"),
    Asked("1b", "abstract names the levels, and whether intercepts alone or slopes too are random"),
    Asked("2", "why the design and the analysis have levels"),
    Asked("3", "at which level outcome and predictors are measured"),
    Asked("4a", "diagram of the levels"),
    Asked("4b", "why the analysis is at its level"),
    Asked(
        "5a",
        "members of each level, and how they were selected",
        f"{WHO} (numbers only)",
        cells=f"{WHO} (numbers only)",
    ),
    Asked("5b", "follow-up and spacing of times", "the section of each outcome"),
    Asked("5c", "patterns of missing values, imbalance", WHO),
    Asked("6a", "equation with random effects", METHODS, cells=METHODS),
    Asked("6b", "variables and their levels", METHODS),
    Asked("7a", "sample size, with ICC or variance partition and inflation at each level"),
    Asked("7b", "where the ICC that it rests on comes from"),
    # The list goes on; what follows could not be read, and nothing is put in its place.
    Asked("8a", "statistical methods", f"{METHODS}; {BELIEVED}", cells=f"{METHODS}; {BELIEVED}"),
)
LISTS = {
    "STROBE, cohort studies": ("von Elm et al. 2007, STROBE: doi 10.1371/journal.pmed.0040296", STROBE),
    "StaRI, implementation studies": ("Pinnock et al. 2017, StaRI: doi 10.1136/bmj.i6795", STARI),
    "LEVEL, mixed models, items 1 to 8a (to the methods; later ones are not listed here)": (
        "Monsalves et al. 2020, LEVEL: doi 10.1186/s12874-019-0876-8",
        LEVEL,
    ),
}


def checklists(kinds: Iterable[str]) -> list[Block]:
    """Return the checklists: what a report of such analyses fills, and what is open.

    Analyses are "comparison", "survival", and of a batch "cells of cohorts" or "cells".
    """
    kinds, cited, tables, counted = set(kinds), [], list[Block](), []
    for name, (source, items) in LISTS.items():
        if items is LEVEL and not {"comparison", OF_COHORTS} & kinds:
            continue
        rows = [{"Item": item.number, "Asks for": item.asks, "In this report": item.filled(kinds)} for item in items]
        filled = sum(row["In this report"] != OPEN for row in rows)
        counted.append(
            f"{name}: {filled} of {len(rows)} rows point to a section of this report, {len(rows) - filled} are open."
        )
        tables.append(Table(rows, f"{name}: where each item is"))
        cited.append(source)
    told = (
        "An analysis can fill only what data can show. Items that are open are for the authors: setting, recruitment, "
        "measures, the strategy and its costs, ethics and funding. The items are given here in short words of our own; "
        "the checklists themselves are the authority. That a section is named does not say that it suffices."
    )
    return [Heading("Checklists for a publication"), Text(told), Items(counted), *tables, Sources(cited)]
