"""What a comparison of cohorts found out, and the sentences and rounded numbers that readers get of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from implstats import _check
from implstats.batch.comparison import Comparison
from implstats.batch.plan import Plan
from implstats.study import CohortComparison, Overall
from implstats.study.choice import straightness
from implstats.tables import to_text, write_number

__all__ = ["CORRECTION", "Answers", "fixed", "joined", "places", "retained", "short_p", "shown_time", "with_interval"]

CORRECTION = {"holm": "Holm", "bonferroni": "Bonferroni", "fdr_bh": "Benjamini-Hochberg", "none": "not corrected"}


@dataclass(frozen=True, eq=False)
class Answers:
    """Everything that a comparison found out.

    Attributes
    ----------
    plan : Plan
    asked : Comparison
        What the plan asks for.
    frame : pandas.DataFrame
        The data as they were read.
    study : CohortComparison
    overall : Overall or None
        The mean over outcomes; None if there is one outcome only, or with the reason in `no_overall`.
    tables : mapping
        Outcome -> kind -> table.
    files : mapping
        Outcome -> its name in files.
    """

    plan: Plan
    asked: Comparison
    frame: pd.DataFrame
    study: CohortComparison
    overall: Overall | None
    no_overall: str
    tables: Mapping[str, Mapping[str, pd.DataFrame]]
    files: Mapping[str, str]

    @property
    def labels(self) -> dict[Any, str]:
        """What readers see, by column and by cohort (a cohort may be a number)."""
        cohorts = {c: self.plan.labels[str(c)] for c in self.study.cohorts if str(c) in self.plan.labels}
        return dict(self.plan.labels) | cohorts

    @property
    def words(self) -> dict[Any, str]:
        """The same for sentences, where "month 36" reads better than "Months since the start of treatment 36"."""
        time = self.asked.roles.time
        return {k: v for k, v in self.labels.items() if k != time or " " not in v}

    @property
    def level(self) -> str:
        """The level of the intervals, as a percentage."""
        return f"{100 * self.study.level:.10g}%"

    def when(self, t: float) -> str:
        """Return a time in a sentence: month 36."""
        time = self.asked.roles.time
        return f"{self.words.get(time, time)} {_check.show(t)}"

    @cached_property
    def table(self) -> pd.DataFrame:
        """The comparison, one row an outcome, cohort and time."""
        return self.study.tidy()

    def rows(self, outcome: str | None = None) -> list[dict[str, Any]]:
        """Return the rows of the comparison, of one outcome or of all that could be analysed."""
        table = self.table
        kept = table[
            (table["error"] == "") & (table["outcome"].isin(self.study.fits if outcome is None else [outcome]))
        ]
        return [{str(k): v for k, v in row.items()} for row in kept.to_dict("records")]

    def answer(self) -> list[str]:
        """Return the sentences about the last time."""
        return self._at(max(self.study.at))

    def other_times(self) -> list[str]:
        """Return what is to be said of each other time, the latest first."""
        last, *others = sorted(self.study.at, reverse=True)
        first, told = self.answer(), []
        for t in others:
            said = self._at(t, last)
            for sentence in [s for s in first if s in said]:
                said.remove(sentence)
            told.append(" ".join(said))
        return told

    def _at(self, *times: float) -> list[str]:
        fitted = {name: better for name, better in self.study.outcomes.items() if name in self.study.fits}
        # No sentence has a p-value, so none is corrected.
        part = replace(self.study, at=list(times), outcomes=fitted, errors={}, correction="none")
        return part.in_words(self.words)

    def over_outcomes(self) -> list[str]:
        """Return the mean over outcomes in sentences, the last time first; none if there is no such mean."""
        if self.overall is None:
            return []
        count = len(self.overall.outcomes)
        every = "both outcomes" if count == 2 else f"all {count} outcomes"
        found = {(r["quantity"], r["cohort"], r["time"]): r for r in self.overall.tidy().to_dict("records")}
        told = []
        for t in sorted(self.study.at, reverse=True):
            sizes, kept = [], []
            for cohort in self.study.cohorts:
                d, name = found["d", cohort, t], f"cohort {self._quoted(cohort)}"
                ends = f"{fixed(d['conf_low'], 2)} to {fixed(d['conf_high'], 2)}"
                sizes.append(f"{fixed(d['estimate'], 2)} SD in {name} ({self.level} interval {ends})")
                share = found.get(("retained", cohort, t))
                # A share of an improvement that may be none has no meaning.
                if share and found["d", self.study.reference, t]["conf_low"] > 0:
                    ends = f"{_percent(share['conf_low'])} to {_percent(share['conf_high'])}"
                    kept.append(f"{name} kept {_percent(share['estimate'])} ({self.level} interval {ends})")
            beyond = any(found["d", cohort, t]["extrapolated"] for cohort in self.study.cohorts)
            when = f"{self.when(t)} (extrapolated)" if beyond else self.when(t)
            line = f"Over {every} together, at {when}, the mean improvement was {joined(sizes)}"
            told.append(f"{line}: {'; '.join(kept)}." if kept else f"{line}.")
        return told

    def _quoted(self, cohort: Any) -> str:
        word = self.plan.label(cohort)
        return f'"{word}"' if " " in word else word

    def curves(self) -> list[str]:
        """Return what a reader must know of models that read every time off a line or a curve."""
        told = []
        for name, fit in self.study.fits.items():
            word = fit.design.shape.word
            if word != "visits":
                course = "a straight line" if word == "linear" else f"a curve ({word} in time)"
                told.append(
                    f"{self.plan.label(name)} was modelled as {course} for each cohort, and every time is read off it: "
                    "compare the means with the observed ones in the picture and the table."
                )
        return told

    def what_sd_is(self) -> str:
        """Return what an SD is, in points of each scale."""
        sizes = {r["outcome"]: f"{r['sd']:.3g} points of {self.plan.label(r['outcome'])}" for r in self.rows()}
        points = "" if self.study.sd == "own" else f", here {joined(list(sizes.values()))}"
        return (
            f"An SD is the spread between patients{points}; it makes improvements on different scales comparable. "
            "A positive number is improvement, whichever way the scale runs."
        )

    def picture(self, name: str, outcome: str) -> str:
        """Return what a picture shows, for readers who cannot see it."""
        time = self.plan.label(self.asked.roles.time)
        cohorts = " and ".join(self.plan.label(c) for c in self.study.cohorts)
        if name == "trajectories":
            ways = []
            for key, tables in self.tables.items():
                means = tables["means"]
                for cohort in self.study.cohorts:
                    values = means.loc[means["cohort"] == cohort, "estimate"].to_numpy()
                    way = f"from {values[0]:.3g} to {values[-1]:.3g}"
                    ways.append(f"{self.plan.label(key)}, {self.plan.label(cohort)}: {way}")
            return f"Estimated mean of each cohort over {time}, with {self.level} intervals. {'; '.join(ways)}."
        if name == "effect_forest":
            return f"Standardised improvement d of {cohorts}, and their difference, with {self.level} intervals."
        if name == "missingness":
            return f"Share of patients of {cohorts} who were seen, over {time}."
        if name == "residuals":
            return (
                f"Residuals of the model of {self.plan.label(outcome)}: against fitted values, and against the normal."
            )
        if name == "quantiles":
            return f"Quantiles of the residuals of {self.plan.label(outcome)} against those of the normal, with a band."
        if name == "coefficients":
            return f"Fixed effects of the model of {self.plan.label(outcome)}, with {self.level} intervals."
        group = self.plan.label(name.removeprefix("effects_of_"))
        return f"How far each {group} lies from the mean of all in {self.plan.label(outcome)}, with 95% intervals."

    def on_screen(self) -> str:
        """Return the answer for a terminal: sentences, then the table."""
        p = "p" if self.study.correction == "none" else f"p ({CORRECTION[self.study.correction]})"
        shown = [
            {
                "outcome": self.plan.label(row["outcome"]),
                self.asked.roles.time: shown_time(row),
                "cohort": self.plan.label(row["cohort"]),
                "d": fixed(row["d"], 2),
                "d of reference": fixed(row["d_reference"], 2),
                "difference": with_interval(row, "d_difference", 2),
                "retained": retained(row),
                p: short_p(row["p_corrected"]),
            }
            for row in self.rows()
        ]
        lines = [*self.answer(), *self.over_outcomes()[:1], *self.curves()]
        lines += [f"{line}." for line in self.study.models(self.words)]
        straight = {self.plan.label(name): straightness(fit) for name, fit in self.study.fits.items()}
        lines += [f"{name}: {said}." for name, said in straight.items() if said]
        return "\n\n".join([*lines, to_text(pd.DataFrame(shown))])


def joined(parts: Sequence[str]) -> str:
    """Return parts as a sentence lists them: a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def places(sd: float) -> int:
    """Return decimals so that rounding moves a value by at most a fiftieth of the SD."""
    return max(0, math.ceil(-math.log10(0.04 * sd))) if sd > 0 and math.isfinite(sd) else 2


def fixed(value: float, decimals: int) -> str:
    """Write a number with a fixed number of decimals, never as -0."""
    text = f"{value:.{decimals}f}"
    return text[1:] if text.startswith("-") and float(text) == 0 else text


def with_interval(row: Mapping[str, Any], word: str, decimals: int) -> str:
    """Write a number of a row with its interval: 0.90 [0.69, 1.11]."""
    value, low, high = (fixed(row[f"{word}{end}"], decimals) for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"


def short_p(value: float) -> str:
    """Write a p-value to three places; a very small one in words, since < opens a tag in Markdown."""
    return "below .001" if value < 0.001 else write_number(float(value), "p_value")


def _percent(value: float) -> str:
    return f"{fixed(100 * value, 0)} %"


def shown_time(row: Mapping[str, Any]) -> str:
    """Write a row's time for a table, and whether it lies beyond what was observed."""
    return _check.show(row["time"]) + (" (extrapolated)" if row["extrapolated"] else "")


def retained(row: Mapping[str, Any]) -> str:
    """Write the improvement retained with its confidence set, in words where the set is no interval."""
    if row["change_reference"] <= 0:
        return "none to name: the reference did not improve"
    share, low, high = (_percent(row[k]) for k in ("retained", "retained_low", "retained_high"))
    if row["retained_set"] == "bounded":
        return f"{share} [{low}, {high}]"
    if row["retained_set"] == "outside":
        return f"{share}, with no bounds: only {low} to {high} is excluded"
    return "cannot be named: no value is excluded"
