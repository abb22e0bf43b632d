"""A survival analysis carried out: estimates, tests and models by what the plan names, tables, results and pictures."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from implstats.batch.folder import File
from implstats.batch.part import Figure, Part, Picture, Piece
from implstats.batch.survival_answers import ADJUSTED, UNADJUSTED, Model, SurvivalAnswers, risk_column
from implstats.batch.survival_check import CheckedSurvival
from implstats.batch.survival_report import piece
from implstats.batch.survival_words import Words
from implstats.design import rhs
from implstats.design.frames import codes
from implstats.errors import BoundaryWarning, ImplstatsError
from implstats.survival import (
    CoxResult,
    GrayTest,
    LogRank,
    ProportionalHazards,
    SurvivalCurves,
    cumulative_incidence,
    fit_cox,
    fit_fine_gray,
    gray_test,
    logrank,
    survival_curves,
)

__all__ = ["AnalysedSurvival", "analyse_survival"]

T = TypeVar("T")

LOG_LOG = "Log cumulative hazard of each group over the logarithm of time: parallel where hazards keep their ratio."


@dataclass(frozen=True, eq=False)
class AnalysedSurvival(Part):
    """A survival analysis of a plan, carried out.

    Attributes
    ----------
    answers : SurvivalAnswers
    """

    answers: SurvivalAnswers

    @property
    def errors(self) -> Mapping[str, str]:
        """What could not be computed, and why."""
        return {f"{self.answers.asked.name}, {what}": why for what, why in self.answers.errors.items()}

    def on_screen(self) -> str:
        """Return the answer in sentences, and what the data cannot say."""
        words = Words(self.answers)
        return "\n\n".join([self.answers.asked.name, *words.answer(), *words.cautions()])

    def files(self) -> list[File]:
        """Return every table, and all results in one record."""
        name = self.answers.file
        made = [File(f"{name}_{kind}", table) for kind, table in self.answers.tables().items()]
        return [*made, File(name, self.answers.record())]

    def to_draw(self) -> list[Picture]:
        """Return the curves or incidences; for every cause, its rates over time, hazard ratios and their check."""
        from implstats import plot

        answers, labels, words = self.answers, self.answers.labels, Words(self.answers)
        plan, made = answers.plan, list[Picture]()
        if plan.figures == "none":
            return made
        few = {"min_count": plan.privacy.min_count}

        def add(kind: str, cause: Any, said: str, draw: Callable[..., Any], result: Any, **options: Any) -> None:
            name = answers.file_of(kind, cause)
            made.append(Picture(name, said, partial(draw, result, labels=labels, **options)))

        if answers.curves is not None:
            add("survival", None, words.of_curves(), plot.survival, answers.curves, **few)
        if answers.incidence is not None:
            add("incidence", None, words.of_curves(), plot.incidence, answers.incidence, **few)
        level = answers.asked.level
        for cause, risk in answers.risks.items():
            add("rates", cause, words.of_rates(cause), plot.hazard, risk, per=words.per(), **few)
            models = answers.models_of(cause)
            if models:
                fits = {model.kind: model.cox for model in models}
                shown = fits if len(fits) > 1 else models[0].cox
                add("ratios", cause, words.of_ratios(cause), plot.hazard_ratios, shown, level=level)
            if models and models[-1].check is not None:
                add("check", cause, words.of_check(cause), plot.schoenfeld, models[-1].check, level=level)
        if plan.figures == "all" and answers.curves is not None and answers.asked.by is not None:
            add("log_log", None, LOG_LOG, plot.log_log, answers.curves)
        if plan.figures == "all" and answers.incidence is not None:
            add("stacked", None, words.of_curves(), plot.incidence, answers.incidence, stacked=True, **few)
        return made

    def piece(self, figures: Sequence[Figure]) -> Piece:
        """Return what the report says."""
        return piece(self.answers, figures)

    def record(self) -> dict[str, Any]:
        """Return the name of files and the status."""
        answers = self.answers
        told: dict[str, Any] = {"file": answers.file, "status": "failed" if answers.errors else "done"}
        return {"survival": {answers.asked.name: told | ({"errors": dict(answers.errors)} if answers.errors else {})}}


def analyse_survival(checked: CheckedSurvival, file: str) -> AnalysedSurvival:
    """Return every answer of a survival analysis; what has none has its reason in `errors`."""
    asked, frame, errors = checked.asked, checked.frame, dict[str, str]()
    roles: dict[str, Any] = {k: getattr(asked, k) for k in ("duration", "event", "censored", "missing")}
    at_risk: dict[str, Any] = {"entry": asked.entry, "weights": asked.weights}
    with warnings.catch_warnings():
        # A frailty of variance 0 is told in the report.
        warnings.simplefilter("ignore", BoundaryWarning)
        models = [model for cause in checked.causes for model in _models(checked, cause, roles | at_risk, errors)]
    curves = incidence = means = None
    if checked.several:
        incidence = cumulative_incidence(frame, **roles, **at_risk, by=asked.by, level=asked.level)
        risks = {cause: _risk(checked, cause, at_risk) for cause in checked.causes}
    else:
        curves = survival_curves(frame, **roles, **at_risk, by=asked.by, level=asked.level)
        risks = {None: curves}
        means = _tried("mean time", errors, lambda: curves.rmst(asked.tau))
    logranks, grays = _test(checked, roles, errors)
    found = SurvivalAnswers(checked, file, curves, logranks, means, incidence, grays, risks, tuple(models), errors)
    return AnalysedSurvival(found)


def _tried(what: str, errors: dict[str, str], compute: Callable[[], T]) -> T | None:
    """Return what is computed; what cannot be has its reason among the errors."""
    try:
        return compute()
    except ImplstatsError as error:
        errors[what] = str(error)
        return None


def _test(
    checked: CheckedSurvival, roles: Mapping[str, Any], errors: dict[str, str]
) -> tuple[LogRank | None, GrayTest | None]:
    """Return the log-rank test of groups, or with several causes Gray's."""
    asked, frame = checked.asked, checked.frame
    if asked.by is None or checked.untested:
        return None, None
    options: dict[str, Any] = {**roles, "by": asked.by, "strata": asked.strata}
    if checked.several:
        return None, _tried("Gray's test", errors, lambda: gray_test(frame, **options))
    return _tried("log-rank test", errors, lambda: logrank(frame, **options, entry=asked.entry)), None


def _risk(checked: CheckedSurvival, cause: Any, at_risk: Mapping[str, Any]) -> SurvivalCurves:
    """Return the curves of one cause, others taken for censoring: their rates are those of the cause."""
    asked, ended = checked.asked, checked.frame[checked.asked.event]
    name = risk_column(asked.event, cause)
    frame = checked.frame.assign(**{name: np.where(ended.isna(), np.nan, ended == cause)})
    roles: dict[str, Any] = {"duration": asked.duration, "event": name, "by": asked.by, "missing": asked.missing}
    return survival_curves(frame, **roles, **at_risk, level=asked.level)


def _models(checked: CheckedSurvival, cause: Any, roles: Mapping[str, Any], errors: dict[str, str]) -> list[Model]:
    """Return the models of a cause: of the groups alone, and of the terms."""
    asked, found = checked.asked, []
    of = "" if cause is None else f" of {checked.plan.label(cause)}"
    wanted = _wanted(checked)
    for kind, (terms, frame) in wanted.items():
        options = {**roles, "terms": terms, "cause": cause, "id": asked.id, "cluster": asked.cluster}
        fit = partial(fit_cox, frame, **options, strata=asked.strata, frailty=asked.frailty)
        cox = _tried(f"{kind} Cox model{of}", errors, partial(fit, ties=asked.ties, penalty=asked.penalty))
        if cox is None:
            continue
        fine_gray = None
        if asked.fine_gray and kind == list(wanted)[-1]:
            known = {k: v for k, v in options.items() if k not in ("id", "entry", "weights")}
            fine_gray = _tried(f"Fine-Gray model{of}", errors, partial(fit_fine_gray, frame, **known))
        found.append(Model(cause, asked.level, kind, cox, *_proportional(cox, fit), fine_gray))
    return found


def _wanted(checked: CheckedSurvival) -> dict[str, tuple[Any, pd.DataFrame]]:
    """Return kind of model -> its terms and its data."""
    asked, frame = checked.asked, checked.frame
    wanted: dict[str, tuple[Any, pd.DataFrame]] = {}
    if asked.by is not None:
        # Groups are categories, though their names may be numbers.
        groups = pd.Categorical(frame[asked.by], codes(frame[asked.by].dropna()).levels)
        wanted[UNADJUSTED] = ([asked.by], frame.assign(**{asked.by: groups}))
    if asked.terms is None:
        return wanted
    columns = rhs.needed_columns(asked.terms, frame.columns, "terms")
    if list(columns) == [asked.by] and not pd.api.types.is_numeric_dtype(frame[asked.by].dtype):
        return wanted
    return wanted | {ADJUSTED: (asked.terms, frame)}


def _proportional(cox: CoxResult, fit: Callable[..., CoxResult]) -> tuple[ProportionalHazards | None, str]:
    """Return the check of a model, and what must be known of it: a penalised or exact fit has none of its own."""
    asked = {"its penalty": cox.penalty is not None, "its exact likelihood": cox.call["ties"] == "exact"}
    without = " and ".join(name for name, given in asked.items() if given)
    try:
        if not without:
            return cox.proportional_hazards(), ""
        check = fit(ties="efron", penalty=None).proportional_hazards()
        return check, f"The check is that of the same model without {without}."
    except ImplstatsError as error:
        return None, str(error)
