"""Analyses of programmes that a batch repeats: a Cox model, mean times up to a common end, and the log-rank test."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from implstats._check import Faults
from implstats.batch import kinds
from implstats.batch.data import Data
from implstats.batch.repeatable import Answer, Repeatable, of_terms
from implstats.batch.survival import NEEDED, SURVIVAL, Survival
from implstats.batch.survival_check import CheckedSurvival, check_survival
from implstats.survival import cumulative_incidence, fit_cox, logrank, rmst, survival_curves
from implstats.survival.logrank import TESTS

__all__ = ["Hazards", "LogRank", "MeanTimes"]

Asked = Mapping[str, Any]

_NUMBERS = ("estimate", "std_error", "p_value", "conf_low", "conf_high")
# What goes to fit_cox as it stands in the plan.
_MODEL = [
    "duration",
    "event",
    "terms",
    "censored",
    "entry",
    "id",
    "cluster",
    "frailty",
    "strata",
    "weights",
    "penalty",
    "ties",
    "missing",
]
_OF_HAZARDS = {name: SURVIVAL[name] for name in (*_MODEL, "by", "reference", "causes")}
_HAZARDS_NEED = {name: NEEDED[name] for name in ("duration", "event")}
_COMMON = {name: SURVIVAL[name] for name in ("duration", "event", "by", "censored", "entry", "missing")}
_OF_MEANS = _COMMON | {name: SURVIVAL[name] for name in ("weights", "tau")} | {"reference": kinds.one}
_OF_TESTS = _COMMON | {"strata": SURVIVAL["strata"], "weights": kinds.word(*TESTS), "trend": kinds.flag}
_BY = {"by": "name the column with the groups to compare"}


class _OfSpells(Repeatable):
    """What analyses of one event share: it stands in the place of the outcome."""

    def outcomes(self, named: Sequence[str], options: Mapping[str, Any]) -> Sequence[str]:
        """Return the event."""
        return [str(options["event"])]

    def columns(self, asked: Asked, known: Sequence[Hashable], faults: Faults) -> dict[str, Hashable | None]:
        """Return duration, event, groups, and what else names a column."""
        options = asked["options"]
        found: dict[str, Hashable | None] = {k: options.get(k) for k in ("duration", "event", "by", "entry")}
        return found | of_terms("strata", options.get("strata"), known, faults)

    def check(self, frame: pd.DataFrame, asked: Asked) -> None:
        """Refuse rows that have no answer; finding it takes no longer than looking for a reason against it."""
        self.answer(frame, asked)


class MeanTimes(_OfSpells):
    """Mean times until the event up to a common end, and their differences, which can be pooled."""

    keys = _OF_MEANS
    needed = _HAZARDS_NEED | _BY

    def columns(self, asked: Asked, known: Sequence[Hashable], faults: Faults) -> dict[str, Hashable | None]:
        """Return the columns of spells, and that of case weights."""
        return super().columns(asked, known, faults) | {"weights": asked["options"].get("weights")}

    def answer(self, frame: pd.DataFrame, asked: Asked) -> Answer:
        """Return the mean of every group, differences and ratios, in the unit of the duration."""
        found = rmst(frame, level=asked["level"], **asked["options"])
        rows = []
        for row in found.tidy().to_dict("records"):
            made = {k: row[k] for k in ("reference", "time", *_NUMBERS)}
            quantity = "rmst" if row["quantity"] == "rmst" else f"rmst {row['quantity']}"
            rows.append({"quantity": quantity, "cohort": row["group"], **made, "n": found.sample.rows})
        return Answer(rows)


class LogRank(_OfSpells):
    """The log-rank test and its relatives: a chi-square, which has no size that could be pooled."""

    keys = _OF_TESTS
    needed = _HAZARDS_NEED | _BY

    def answer(self, frame: pd.DataFrame, asked: Asked) -> Answer:
        """Return one row."""
        found = logrank(frame, **asked["options"])
        row = {"quantity": "log-rank test", "term": found.test, "statistic": found.statistic, "df": found.df}
        counts = {"n": int(found.rows.sum()), "events": int(found.events.sum())}
        return Answer([row | {"p_value": found.p_value} | counts])


class Hazards(_OfSpells):
    """A Cox model of the event, or of each cause: log hazard ratios, which can be pooled."""

    keys = _OF_HAZARDS
    needed = _HAZARDS_NEED

    def columns(self, asked: Asked, known: Sequence[Hashable], faults: Faults) -> dict[str, Hashable | None]:
        """Return duration, event, groups, and what the model uses."""
        options = asked["options"]
        single = ("duration", "event", "by", "entry", "id", "cluster", "frailty", "weights")
        found: dict[str, Hashable | None] = {k: options.get(k) for k in single}
        for role in ("terms", "strata"):
            found |= of_terms(role, options.get(role), known, faults)
        if options.get("by") is None and options.get("terms") is None:
            faults.say("by: neither by nor terms is named; say what the hazard may depend on")
        return found

    def _checked(self, frame: pd.DataFrame, asked: Asked) -> CheckedSurvival:
        # A plan names this class among its kinds of analysis, so it cannot be imported before.
        from implstats.batch.plan import Plan

        options = {k: v for k, v in asked["options"].items() if k != "by" or "terms" not in asked["options"]}
        options.setdefault("terms", [options.get("by")])
        spells = Survival(asked["analysis"], Data(""), at=(), level=asked["level"], **options)
        return check_survival(Plan(), spells, frame)

    def check(self, frame: pd.DataFrame, asked: Asked) -> None:
        """Refuse rows and options that give no design."""
        self._checked(frame, asked)

    def answer(self, frame: pd.DataFrame, asked: Asked) -> Answer:
        """Return one row a term and cause."""
        checked = self._checked(frame, asked)
        spells, rows, ends, fits = checked.asked, [], [], list[Any]()
        for cause in checked.causes:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fit = fit_cox(checked.frame, cause=cause, **{k: getattr(spells, k) for k in _MODEL})
            head = fit.glance().iloc[0]
            fits.append(fit)
            ends.append((bool(head["converged"]), bool(head["boundary"])))
            for row in fit.tidy(level=asked["level"]).to_dict("records"):
                made = {k: row[k] for k in ("term", "reference", "estimate", "std_error", "df", "p_value")}
                made |= {"conf_low": row["conf_low"], "conf_high": row["conf_high"], "cause": cause}
                rows.append({"quantity": "log hazard ratio", **made, "n": int(head["rows"]), "events": head["events"]})
        seen = [_course(checked, asked), *fits] if "figures" in asked else []
        return Answer(rows, all(c for c, _ in ends), any(b for _, b in ends), results=seen)


def _course(checked: CheckedSurvival, asked: Asked) -> Any:
    """Return the curve of one kind of event, or the incidence of several."""
    roles = {k: getattr(checked.asked, k) for k in ("duration", "event", "censored", "entry", "weights", "missing")}
    estimate = cumulative_incidence if checked.several else survival_curves
    return estimate(checked.frame, **roles, by=asked["options"].get("by"), level=asked["level"])
