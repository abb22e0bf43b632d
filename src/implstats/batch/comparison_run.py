"""A comparison of cohorts carried out: its models, tables, results and pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import pandas as pd

from implstats.batch.comparison_answers import Answers
from implstats.batch.comparison_check import CheckedComparison
from implstats.batch.comparison_doubts import Doubts
from implstats.batch.comparison_report import piece
from implstats.batch.folder import File, file_names
from implstats.batch.part import Figure, Part, Picture, Piece
from implstats.errors import ImplstatsError
from implstats.growth import CohortModel, GrowthResult, MMRMResult
from implstats.study import CohortComparison, compare_cohorts

__all__ = ["ComparedCohorts", "compare"]


@dataclass(frozen=True, eq=False)
class ComparedCohorts(Part):
    """The comparison of a plan, carried out.

    Attributes
    ----------
    answers : Answers
    """

    answers: Answers

    @property
    def errors(self) -> Mapping[str, str]:
        """Outcomes that could not be analysed, and why."""
        return self.answers.study.errors

    def on_screen(self) -> str:
        """Return the answer in sentences, then the table."""
        return self.answers.on_screen()

    @cached_property
    def _doubts(self) -> Doubts:
        return Doubts(self.answers)

    def files(self) -> list[File]:
        """Return the comparison, and tables and model of every outcome."""
        answers, study = self.answers, self.answers.study
        made = [File("comparison", answers.table), File("comparison", study.to_dict())]
        if answers.overall is not None:
            made.append(File("overall", answers.overall.tidy()))
        made += [File(name, table) for name, table in self._doubts.tables().items()]
        for outcome, tables in answers.tables.items():
            name = answers.files[outcome]
            made += [File(f"{name}_{kind}", table) for kind, table in tables.items()]
            made.append(File(name, study.fits[outcome].to_dict()))
        return made

    def to_draw(self) -> list[Picture]:
        """Return courses, effects, who was seen and every model's residuals; what else there is if asked for."""
        from implstats import plot

        answers, study, labels = self.answers, self.answers.study, self.answers.labels
        plan = answers.plan
        if plan.figures == "none":
            return []
        few: dict[str, Any] = {"labels": labels, "min_count": plan.privacy.min_count}
        lines = plan.privacy.individual_lines
        # A curve may pass by what was observed, which has means where visits are at the same times for all.
        curved = any(fit.design.shape.word != "visits" for fit in study.fits.values())
        observed = curved and all(fit.times for fit in study.fits.values())
        drawn = {
            "trajectories": lambda: plot.trajectories(study, df=study.df, observed=observed, spaghetti=lines, **few),
            "effect_forest": lambda: plot.effect_forest(study, labels=labels),
            "missingness": lambda: plot.missingness(study, **few),
        }
        made = [Picture(name, answers.picture(name, ""), draw) for name, draw in drawn.items()]
        for outcome, fit in study.fits.items():
            words = answers.picture("residuals", outcome)
            name = f"residuals_{answers.files[outcome]}"
            made.append(Picture(name, words, partial(plot.residuals, fit, labels=labels)))
            made += self._more(outcome, fit) if plan.figures == "all" else []
        return made

    def _more(self, outcome: str, fit: CohortModel) -> list[Picture]:
        """Return the pictures of a model that are drawn if all are asked for."""
        from implstats import plot

        answers, labels = self.answers, self.answers.labels
        made: dict[str, Callable[[], Any]] = {
            "quantiles": partial(plot.quantiles, fit, labels=labels),
            "coefficients": partial(plot.coefficients, fit, labels=labels),
        }
        for group in answers.asked.analysis.groups or ():
            made[f"effects_of_{group}"] = partial(plot.random_effects, fit, group=group, labels=self._of_columns())
        names = file_names(made)
        file = answers.files[outcome]
        return [Picture(f"{names[k]}_{file}", answers.picture(k, outcome), draw) for k, draw in made.items()]

    def _of_columns(self) -> dict[Any, str]:
        """Return the labels of columns: the number that stands for a therapist may be the name of a cohort."""
        columns = set(map(str, self.answers.frame.columns))
        return {name: label for name, label in self.answers.plan.labels.items() if name in columns}

    def piece(self, figures: Sequence[Figure]) -> Piece:
        """Return what the report says."""
        return piece(self.answers, self._doubts, figures)

    def record(self) -> dict[str, Any]:
        """Return the seed, and the name of files and the status of every outcome."""
        answers, errors = self.answers, self.errors
        outcomes = {
            name: {"file": answers.files[name], "status": "failed" if name in errors else "done"}
            | ({"error": errors[name]} if name in errors else {})
            for name in answers.asked.outcomes
        }
        return {"seed": answers.asked.analysis.seed, "outcomes": outcomes}


def compare(checked: CheckedComparison) -> ComparedCohorts:
    """Return every answer of a comparison; an outcome without one has its reason in `errors`."""
    comparison = checked.asked
    roles, asked = comparison.roles, comparison.analysis
    study = compare_cohorts(
        checked.frame,
        outcomes=comparison.outcomes,
        time=roles.time,
        patient=roles.patient,
        cohort=roles.cohort,
        reference=roles.reference,
        at=list(asked.at),
        baseline=roles.baseline,
        model=asked.model,
        shape=asked.shape,
        adjust=asked.adjust,
        groups=asked.groups,
        interruption=asked.interruption,
        moderators=asked.moderators,
        patient_weights=asked.patient_weights,
        margin=asked.margin,
        correction=asked.correction,
        sd=asked.sd,
        df=asked.df,
        level=asked.level,
        missing=asked.missing,
        time_unit=roles.time_unit,
    )
    overall, why = None, ""
    if len(study.fits) > 1:
        try:
            overall = study.overall(draws=asked.draws, rng=asked.seed)
        except ImplstatsError as error:
            why = str(error)
    tables = {name: _tables(study, fit) for name, fit in study.fits.items()}
    names = file_names(comparison.outcomes)
    return ComparedCohorts(Answers(checked.plan, comparison, checked.frame, study, overall, why, tables, names))


def _tables(study: CohortComparison, fit: CohortModel) -> dict[str, pd.DataFrame]:
    at = list(study.at)
    choices: dict[str, Any] = {"level": study.level, "df": study.df}
    seen = None if fit.times and not fit.design.cells else [fit.baseline, *at]
    tables = {
        "means": fit.means(seen, **choices).tidy(),
        "contrasts": fit.contrasts(at, **choices).tidy(),
        "effect_sizes": fit.effect_sizes(at, sd=study.sd, **choices).tidy(),
        "retained": fit.retained_improvement(at, **choices).tidy(),
        "coefficients": fit.tidy(**choices),
        "variances": fit.variances(),
    }
    if isinstance(fit, MMRMResult):
        return tables | {"covariance": fit.covariance()}
    assert isinstance(fit, GrowthResult)
    if fit.design.interruption is not None:
        tables["interruption"] = fit.interruption(**choices).tidy()
    if fit.design.moderators is not None:
        tables["moderation"] = fit.moderation(at, **choices).tidy()
    return tables
