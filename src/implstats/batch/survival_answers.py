"""What a survival analysis found out: curves or incidences, how groups compare, and a model for every cause."""

from __future__ import annotations

import math
import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from implstats import _check
from implstats.batch.plan import Plan
from implstats.batch.survival import Survival
from implstats.batch.survival_check import CheckedSurvival
from implstats.results import Result
from implstats.survival import (
    RMST,
    CoxResult,
    CumulativeIncidence,
    FineGrayResult,
    GrayTest,
    LogRank,
    ProportionalHazards,
    SurvivalCurves,
)
from implstats.survival.groups import Group, name_of
from implstats.survival.hazard_words import bases

__all__ = ["ADJUSTED", "UNADJUSTED", "Model", "SurvivalAnswers", "risk_column", "short"]

UNADJUSTED, ADJUSTED = "unadjusted", "adjusted"


@dataclass(frozen=True, eq=False)
class Model:
    """A Cox model of one cause, and what goes with it.

    Attributes
    ----------
    cause : value of the event column, None for the only event
    level : float
        Of the intervals.
    kind : str
        "unadjusted" (the groups alone) or "adjusted" (the terms of the plan).
    cox : CoxResult
    check : ProportionalHazards or None
        Whether its hazard ratios change over time; None with the reason in `check_words`.
    check_words : str
        What must be known of the check, or why there is none.
    fine_gray : FineGrayResult or None
        The same terms for the incidence of the cause, if the plan asks for it.
    """

    cause: Any
    level: float
    kind: str
    cox: CoxResult
    check: ProportionalHazards | None
    check_words: str
    fine_gray: FineGrayResult | None

    @cached_property
    def ratios(self) -> pd.DataFrame:
        """Hazard ratios with intervals and E-values, one row a term; under Firth's penalty each is a profile."""
        table = self.cox.tidy(level=self.level, hazard_ratio=True)
        return table.join(self.cox.e_value(level=self.level)[["e_value", "e_value_limit"]])

    @property
    def rows(self) -> list[dict[Hashable, Any]]:
        """The rows of the ratios."""
        return self.ratios.to_dict("records")

    def named(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table with the model's cause and kind in front."""
        names: dict[str, Any] = {} if self.cause is None else {"cause": [self.cause] * len(table)}
        return pd.concat([pd.DataFrame(names | {"model": [self.kind] * len(table)}), table], axis=1)

    def levels(self, column: str | None) -> dict[str, str]:
        """Return the term of each level of a column, empty where it is a number or part of an interaction."""
        found = bases(self.cox.terms)
        mixed = any(
            ":" in base and column in base.replace("C(", "").replace(")", "").split(":") for base in found.values()
        )
        own = {term: base for term, base in found.items() if base in (column, f"C({column})") and base != term}
        return {} if mixed else {term: term[len(base) + 1 : -1] for term, base in own.items()}


@dataclass(frozen=True, eq=False)
class SurvivalAnswers:
    """Everything that a survival analysis found out.

    Attributes
    ----------
    checked : CheckedSurvival
        What was asked, and the data.
    file : str
        What its files begin with.
    curves, logrank, rmst : SurvivalCurves, LogRank, RMST or None
        Of one kind of event: the share without it, and how groups compare.
    incidence, gray : CumulativeIncidence, GrayTest or None
        The same of several causes.
    risks : mapping
        Cause -> curves that take other causes for censoring; only their rates are told.
    models : tuple of Model
    errors : mapping
        What could not be computed -> why.
    """

    checked: CheckedSurvival
    file: str
    curves: SurvivalCurves | None
    logrank: LogRank | None
    rmst: RMST | None
    incidence: CumulativeIncidence | None
    gray: GrayTest | None
    risks: Mapping[Any, SurvivalCurves]
    models: tuple[Model, ...]
    errors: Mapping[str, str]

    @property
    def plan(self) -> Plan:
        """The plan."""
        return self.checked.plan

    @property
    def asked(self) -> Survival:
        """The section of the plan."""
        return self.checked.asked

    @property
    def groups(self) -> tuple[Group, ...]:
        """What each group rests on."""
        found = self.curves or self.incidence
        assert found is not None
        return found.groups

    @property
    def labels(self) -> dict[Any, str]:
        """What readers see, by column, group, cause or level (which may be numbers)."""
        plan, found = self.plan, self.checked.spells
        values = {*found.groups, *found.causes}
        own = {value: plan.labels[str(value)] for value in values if str(value) in plan.labels}
        causes = {risk_column(self.asked.event, c): plan.label(c) for c in self.risks if c is not None}
        return dict(plan.labels) | own | causes

    @property
    def level(self) -> str:
        """The level of the intervals, as a percentage."""
        return f"{100 * self.asked.level:.10g}%"

    @property
    def split(self) -> bool:
        """Whether a programme or patient has several rows, so that the end of a row says little."""
        return len(self.checked.spells.persons) < len(self.checked.spells.exit)

    def models_of(self, cause: Any) -> list[Model]:
        """Return the models of a cause, the fullest last."""
        return [model for model in self.models if model.cause == cause]

    def file_of(self, kind: str, cause: Any = None) -> str:
        """Return the name of a picture's file; the k-th cause has the k in it, since any text can be a cause's name."""
        number = "" if cause is None else f"_{list(self.risks).index(cause) + 1}"
        return f"{self.file}_{kind}{number}"

    def word(self, key: Any, default: str) -> str:
        """Return what sentences call rows, their event, a cause, or those without it."""
        words = {str(k): str(v) for k, v in self.asked.words.items()}
        return words.get(str(key), default)

    def group(self, label: Any) -> str:
        """Return what sentences call a group."""
        name = name_of(label, self.asked.by)
        word = self.labels.get(label)
        return name if word is None else quoted(word)

    def span(self, value: float) -> str:
        """Return a length of time in words: 5 years, 1 year."""
        unit = self.checked.unit
        if value == 1 and unit.endswith("s") and " " not in unit:
            unit = unit[:-1]
        return f"{_check.show(value)} {unit}"

    @property
    def decimals(self) -> int:
        """Decimals of a length of time, so that rounding moves it by less than a hundredth of the follow-up."""
        return max(0, 2 - math.floor(math.log10(max(g.last for g in self.groups))))

    def shares(self) -> pd.DataFrame:
        """Return the share without the event, or of each cause, at the asked times, and what it rests on."""
        found = self.curves or self.incidence
        assert found is not None
        keys = ["group", "time"] if self.incidence is None else ["group", "cause", "time"]
        counts = found.at_risk(list(self.asked.at))
        return found.at(list(self.asked.at), level=self.asked.level).merge(
            counts.drop(columns="at_risk"), on=keys, validate="one_to_one"
        )

    def rates(self) -> pd.DataFrame:
        """Return events per time at risk in every stretch of time, by cause where there are several."""
        parts = []
        for cause, curves in self.risks.items():
            table = curves.rates(level=self.asked.level)
            if cause is not None:
                table.insert(0, "cause", [cause] * len(table))
            parts.append(table)
        return pd.concat(parts, ignore_index=True)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return every table at full precision, by the end of its file's name."""
        level, found = self.asked.level, {"shares": self.shares(), "rates": self.rates()}
        if self.curves is not None:
            found |= {"curves": self.curves.tidy(), "medians": self.curves.quantile()}
        if self.incidence is not None:
            found["incidence"] = self.incidence.tidy()
        tests: dict[str, Result | None] = {"logrank": self.logrank, "rmst": self.rmst, "gray": self.gray}
        found |= {name: result.tidy() for name, result in tests.items() if result is not None}
        models = {
            "hazard_ratios": [m.named(m.ratios) for m in self.models],
            "coefficients": [m.named(m.cox.tidy(level=level)) for m in self.models],
            "proportional_hazards": [m.named(m.check.tidy()) for m in self.models if m.check],
            "models": [m.named(m.cox.glance()) for m in self.models],
            "fine_gray": [
                m.named(m.fine_gray.tidy(level=level, hazard_ratio=True)) for m in self.models if m.fine_gray
            ],
        }
        return found | {name: pd.concat(parts, ignore_index=True) for name, parts in models.items() if parts}

    def record(self) -> dict[str, Any]:
        """Return every result as JSON can hold it."""
        parts: dict[str, Result | None] = {"curves": self.curves, "logrank": self.logrank, "rmst": self.rmst}
        parts |= {"incidence": self.incidence, "gray": self.gray}
        told: dict[str, Any] = {"name": self.asked.name, "errors": dict(self.errors)}
        told |= {name: result.to_dict() for name, result in parts.items() if result is not None}
        told["models"] = []
        for model in self.models:
            one: dict[str, Any] = {"cause": model.cause, "model": model.kind, "cox": model.cox.to_dict()}
            one |= {"check": model.check.to_dict()} if model.check else {"no_check": model.check_words}
            told["models"].append(one | ({"fine_gray": model.fine_gray.to_dict()} if model.fine_gray else {}))
        return told

    def ends(self) -> tuple[pd.DataFrame, bool]:
        """Return the group and the end (0, or the number of the cause) of each programme or patient, and True.

        Where one has several events, or is in several groups, those of each row, and False.
        """
        spells = self.checked.spells
        rows = pd.DataFrame({"person": spells.person, "group": spells.group, "end": spells.event})
        persons = rows.groupby("person")
        one_group = persons["group"].min() == persons["group"].max()
        once = bool(one_group.all() and ((rows["end"] > 0).groupby(rows["person"]).sum() < 2).all())
        return (persons.max() if once else rows), once


def short(label: str) -> str:
    """Return a label without the unit in brackets at its end, which is for tables and axes."""
    return re.sub(r"(?<=\S)\s*\([^()]*\)$", "", label)


def quoted(label: str) -> str:
    """Return a label for a sentence, in quotes where it is several words."""
    word = short(label)
    return f'"{word}"' if " " in word else word


def risk_column(event: str, cause: Any) -> str:
    """Return the name of a column that is 1 where a cause ended a row."""
    return f"{event}: {cause}"
