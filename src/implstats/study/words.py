"""A comparison of cohorts in sentences: the answer, what the design cannot separate, and the methods."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from implstats import _check
from implstats.growth import CohortModel, MMRMResult
from implstats.study.choice import straightness

if TYPE_CHECKING:
    from implstats.study.compare import CohortComparison

__all__ = ["Words"]

VISITS = (
    ": every cohort has a mean of its own at every visit, no course between visits is assumed, a patient who missed "
    "visits counts with those that were made, and the covariance of a patient's visits is unstructured"
)
CORRECTION = {"holm": "Holm", "bonferroni": "Bonferroni", "fdr_bh": "Benjamini and Hochberg"}


@dataclass(frozen=True)
class Words:
    """Sentences about a comparison; `labels` are words to use in place of outcome, time and cohort names."""

    study: CohortComparison
    labels: Mapping[str, str]

    def __call__(self, name: Any) -> str:
        """Return the label of a name, or the name; the unit in brackets at a label's end is for tables and axes."""
        label = self.labels.get(str(name), str(name))
        return re.sub(r"(?<=\S)\s*\([^()]*\)$", "", label)

    @property
    def _interval(self) -> str:
        return f"{100 * self.study.level:.10g}% interval"

    def answer(self) -> list[str]:
        """Return three sentences for the last time, then what the other times say, then what failed."""
        study, table, said = self.study, self.study.tidy(), []
        for cohort in study.cohorts[1:]:
            for t in sorted(study.at, reverse=True):
                rows = table[(table["time"] == t) & (table["cohort"] == cohort)].to_dict("records")
                said += self._time(rows, first=t == max(study.at))
        said += self._leaving_out()
        return said + [f"{self(name)} could not be analysed: {why}" for name, why in study.errors.items()]

    def _leaving_out(self) -> list[str]:
        """Return of what these improvements are none, so that they are not taken for what was seen."""
        design, parts = self.study.first.design, []
        if design.moderators is not None:
            parts.append(f"at the mean of {_joined(map(self, design.moderators.columns))}")
        if design.interruption is not None:
            change = self._quoted(design.interruption.column)
            parts.append(f"without what began at {change} (a step, and another course since), which is told apart")
        return [f"These improvements are {_joined(parts)}."] if parts else []

    def _time(self, rows: Sequence[Mapping[Any, Any]], *, first: bool) -> list[str]:
        study = self.study
        cohort, reference = (f"cohort {self._quoted(rows[0][k])}" for k in ("cohort", "reference"))
        when = f"{self(study.time)} {_check.show(rows[0]['time'])}"
        when += " (extrapolated)" if any(r["extrapolated"] for r in rows) else ""
        sizes = [_sizes([(r[k], self(r["outcome"])) for r in rows]) for k in ("d_reference", "d")]
        said = [f"At {when}, {reference} had {sizes[0]}; {cohort} had {sizes[1]}."]
        if first:
            gaps = _joined(
                f"{_two(r['d_difference'])} SD in {self(r['outcome'])} "
                f"({self._interval} {_two(r['d_difference_low'])} to {_two(r['d_difference_high'])})"
                for r in rows
            )
            said.append(f"The difference ({cohort} minus {reference}; below zero is less improvement) is {gaps}.")
        named = [r for r in rows if r["change_reference"] > 0]
        if named:
            kept = f"{cohort} kept {_joined(self._kept(r) for r in named)} of the improvement of {reference}."
            said.append(f"C{kept[1:]}" if first else f"At {when}, {kept}")
        without = [self(r["outcome"]) for r in rows if r["change_reference"] <= 0]
        if without:
            said.append(f"At {when}, no share can be named in {_joined(without)}: the reference did not improve.")
        if study.margin is not None:
            verdicts = "; ".join(f"{self(r['outcome'])}: {r['against_margin']}" for r in rows)
            said.append(f"At {when}, against a margin of {study.margin:g} SD: {verdicts}.")
        return said

    def _quoted(self, name: Any) -> str:
        return f'"{self(name)}"' if " " in self(name) else self(name)

    def _kept(self, row: Mapping[Any, Any]) -> str:
        name = self(row["outcome"])
        share, low, high = (f"{100 * row[k]:.0f} %" for k in ("retained", "retained_low", "retained_high"))
        if row["retained_set"] == "bounded":
            return f"{share} in {name} ({self._interval} {low} to {high})"
        if row["retained_set"] == "outside":
            return f"{share} in {name} (not bounded: only {low} to {high} is excluded)"
        return f"a share that the data do not bound in {name} (no value is excluded)"

    def limits(self) -> list[str]:
        """Return what this design cannot separate, whatever the numbers."""
        study = self.study
        names = " or ".join(self._quoted(c) for c in study.cohorts)
        clusters = [t.group for t in study.first.design.terms if t.group != str(study.first.patient)]
        said = [
            f"Unless patients were assigned to {names} by chance, cohorts that follow each other differ in calendar "
            "time, referral and staff as well as in the organisation; the difference may come from any of these.",
            "No group went untreated, so the improvement retained counts change that would have happened without "
            "treatment in both cohorts.",
            "Patients who stopped coming are represented by those who were alike on what had been observed. If those "
            "who left did worse for reasons that were not observed, the improvements are too large.",
        ]
        if not clusters:
            said.append(
                "The analysis sees one place: it cannot tell this organisation's change from what would be found "
                "elsewhere."
            )
        notes = [(name, note) for name, f in study.fits.items() for note in (*f.design.notes, straightness(f)) if note]
        for note in dict.fromkeys(note for _, note in notes):
            where = [self(name) for name, one in notes if one == note]
            about = "" if len(where) == len(study.fits) else f"{', '.join(where)}: "
            said.append(f"{about}{note[0].upper()}{note[1:]}.")
        return said

    def models(self) -> list[str]:
        """Return which model each outcome got, and why."""
        chosen = {name: choice.in_words(self) for name, choice in self.study.choices.items()}
        shared = {words: [self(name) for name in chosen if chosen[name] == words] for words in chosen.values()}
        return [f"{_joined(names)}: {words}" for words, names in shared.items()]

    def methods(self) -> str:
        """Return a paragraph for a methods section."""
        from implstats import __version__

        study, fit = self.study, self.study.first
        sd = {
            "baseline": "standard deviation observed at the baseline, pooled over cohorts",
            "reference": f"baseline standard deviation of {self(study.reference)}",
            "own": "cohort's own baseline standard deviation",
            "model": "model's standard deviation at the baseline",
        }.get(str(study.sd), f"standard deviation {study.sd}")
        df = {"satterthwaite": "Satterthwaite's", "kenward-roger": "Kenward and Roger's", "normal": "no (normal)"}[
            study.df
        ]
        corrected = (
            "were not corrected"
            if study.correction == "none"
            else f"were corrected over outcomes and times ({CORRECTION[study.correction]})"
        )
        baseline = f"{self(study.time)} {_check.show(fit.baseline)}"
        if fit.design.sample.added:
            baseline += f" (column {self._quoted(fit.call.get('baseline'))})"
        counts = "" if not isinstance(study.sd, str) else ", and its interval counts the uncertainty of that SD"
        change = (
            f"Change was counted from {baseline}; d is the change divided by the {sd}, positive where patients improved"
            f"{counts}."
        )
        return (
            f"{' '.join(self._analyses())} {change} Intervals are {100 * study.level:.10g}% with {df} "
            "degrees of freedom. Improvement retained is the change of a cohort divided by that of "
            f"{self(study.reference)}, with Fieller's confidence set. P-values of the difference in "
            f"change {corrected}. Rows with missing values were left out, which is valid if they are missing at random "
            f"given what was observed. Computed with implstats {__version__}."
        )

    def _analyses(self) -> list[str]:
        """Return how the outcomes were analysed, and why so; one text a model."""
        study = self.study
        kinds = {name: (*self._analysis(fit), study.choices[name].why(self)) for name, fit in study.fits.items()}
        said = []
        for kind in dict.fromkeys(kinds.values()):
            model, likelihood, properties, why = kind
            names = [name for name in kinds if kinds[name] == kind]
            who = f"{_joined(map(self, names))} {'was' if len(names) == 1 else 'were'}"
            who = "Each outcome was" if len(names) == len(kinds) else who
            formulas = "; ".join(study.fits[name].formula for name in names)
            said.append(
                f"{who} analysed with {model}, fitted by {likelihood} ({formulas}){properties}. "
                f"This model was chosen because {why}."
            )
        return said

    def _analysis(self, fit: CohortModel) -> tuple[str, str, str]:
        """Return the kind of a model, what was maximised, and what is to be said after its formula."""
        likelihood, weights = "restricted maximum likelihood", fit.call.get("patient_weights")
        if weights is not None:
            likelihood = (
                f"maximum likelihood with patients weighted by {self(weights)}, its standard errors from the spread "
                "between patients"
            )
        if isinstance(fit, MMRMResult):
            return "a mixed model for repeated measures (MMRM)", likelihood, VISITS
        word = fit.design.shape.word
        shape = "visits as categories" if word == "visits" else f"{word} time"
        groups = dict.fromkeys(t.group for t in fit.design.terms if len(t.columns) == 1 and t.group != str(fit.patient))
        random = _joined(["patients", *(f"{g}s" for g in groups)])
        kind = f"a linear mixed model, {shape} by cohort as fixed effects and {random} as random effects"
        return kind, likelihood, self._beside(fit)

    def _beside(self, fit: CohortModel) -> str:
        """Return what a growth model has beside its courses."""
        said = ""
        if fit.design.interruption is not None:
            change = self(fit.design.interruption.column)
            said += f"; from {change} on, a patient has a level and a slope of its own, which effects leave out"
        if fit.design.moderators is not None:
            scores = _joined(map(self, fit.design.moderators.columns))
            said += f"; change depends on {scores}, and effects are those at the mean"
        return said


def _two(value: float) -> str:
    """Write two decimals, and never minus zero."""
    return f"{round(value, 2) + 0.0:.2f}"


def _sizes(found: Sequence[tuple[float, str]]) -> str:
    if all(round(d, 2) >= 0 for d, _ in found):
        return "improved by " + _joined(f"{_two(d)} SD in {name}" for d, name in found)
    words = [("improved by", d) if round(d, 2) >= 0 else ("got worse by", -d) for d, _ in found]
    return _joined(f"{way} {_two(d)} SD in {name}" for (way, d), (_, name) in zip(words, found, strict=True))


def _joined(parts: Iterable[str]) -> str:
    listed = list(parts)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"
