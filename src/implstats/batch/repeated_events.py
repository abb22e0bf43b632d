"""Analyses of programmes and raters that a batch repeats: a Cox model, and an intraclass correlation."""

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
from implstats.design.ratings import ratings
from implstats.ratings import icc
from implstats.survival import fit_cox

__all__ = ["Agreement", "Hazards"]

Asked = Mapping[str, Any]

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
_OF_RATINGS = {
    "item": kinds.text,
    "rater": kinds.text,
    "score": kinds.text,
    "form": kinds.word("1", "k", "A,1", "A,k", "C,1", "C,k"),
    "missing": kinds.word("drop", "raise"),
}
_RATINGS_NEED = {
    "item": "name the column with what is rated",
    "rater": "name the column with who rated it",
    "score": "name the column with the score",
}


class Hazards(Repeatable):
    """A Cox model of the event, or of each cause: log hazard ratios, which can be pooled."""

    keys = _OF_HAZARDS
    needed = _HAZARDS_NEED

    def outcomes(self, named: Sequence[str], options: Mapping[str, Any]) -> Sequence[str]:
        """Return the event."""
        return [str(options["event"])]

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
        spells, rows, ends = checked.asked, [], []
        for cause in checked.causes:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                fit = fit_cox(checked.frame, cause=cause, **{k: getattr(spells, k) for k in _MODEL})
            head = fit.glance().iloc[0]
            ends.append((bool(head["converged"]), bool(head["boundary"])))
            for row in fit.tidy(level=asked["level"]).to_dict("records"):
                made = {k: row[k] for k in ("term", "reference", "estimate", "std_error", "df", "p_value")}
                made |= {"conf_low": row["conf_low"], "conf_high": row["conf_high"], "cause": cause}
                rows.append({"quantity": "log hazard ratio", **made, "n": int(head["rows"]), "events": head["events"]})
        return Answer(rows, all(c for c, _ in ends), any(b for _, b in ends))


class Agreement(Repeatable):
    """An intraclass correlation."""

    keys = _OF_RATINGS
    needed = _RATINGS_NEED

    def outcomes(self, named: Sequence[str], options: Mapping[str, Any]) -> Sequence[str]:
        """Return the score."""
        return [str(options["score"])]

    def columns(self, asked: Asked, known: Sequence[Hashable], faults: Faults) -> dict[str, Hashable | None]:
        """Return item, rater and score."""
        return {k: asked["options"][k] for k in ("item", "rater", "score")}

    def check(self, frame: pd.DataFrame, asked: Asked) -> None:
        """Refuse rows that are no ratings."""
        roles, faults = {k: asked["options"][k] for k in ("item", "rater", "score")}, Faults()
        ratings(frame, **roles, missing=asked["options"].get("missing", "drop"), faults=faults, numbers=True)
        faults.settle()

    def answer(self, frame: pd.DataFrame, asked: Asked) -> Answer:
        """Return the coefficient; it has an interval but no standard error, and is not pooled."""
        found = icc(frame, level=asked["level"], **asked["options"])
        row = found.tidy().iloc[0]
        made = {k: row[k] for k in ("estimate", "df", "conf_low", "conf_high")}
        return Answer([{"quantity": f"ICC({found.form})", **made, "n": found.sample.rows}])
