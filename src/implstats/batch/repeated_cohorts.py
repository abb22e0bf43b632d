"""Analyses of cohorts that a batch repeats: an MMRM, and a growth model."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from implstats._check import Faults
from implstats.batch.comparison import NEEDED, SECTIONS
from implstats.batch.repeatable import Answer, Repeatable, of_terms
from implstats.design import GrowthDesign
from implstats.growth import CohortModel, GrowthResult
from implstats.study.choice import BESIDE, DEFAULT_DF, Choice, boundary_words, choose, fit_outcome, refuse

__all__ = ["Cohorts", "OfCohorts", "baseline_sd"]

Asked = Mapping[str, Any]

_ANALYSIS = SECTIONS["analysis"]
_OF_ANY = {"at", "adjust", "df", "missing", "patient_weights"}
_OF_GROWTH = {"shape", "groups", "interruption", "moderators"}
_UNASKED = {"shape": "auto", "adjust": None, "groups": None, "missing": "drop", **dict.fromkeys(BESIDE)}
_COLUMNS = ("estimate", "std_error", "df", "conf_low", "conf_high", "p_value", "set", "sd", "extrapolated")


class OfCohorts(Repeatable):
    """What analyses of `[outcomes]` share: the roles of `[roles]`, and covariates."""

    of_outcomes = True

    def outcomes(self, named: Sequence[str], options: Mapping[str, Any]) -> Sequence[str]:
        """Return those of the plan."""
        return named

    def columns(self, asked: Asked, known: Sequence[Hashable], faults: Faults) -> dict[str, Hashable | None]:
        """Return the outcome, the roles, and what is adjusted for."""
        roles, options = asked["roles"], asked["options"]
        found = {k: roles[k] for k in ("patient", "time", "cohort")} | {"outcomes": asked["outcome"]}
        if isinstance(roles["baseline"], str):
            found["baseline"] = roles["baseline"]
        found |= {k: options.get(k) for k in ("interruption", "patient_weights")}
        for role in ("groups", "moderators"):
            found |= {f"{role}[{k}]": name for k, name in enumerate(options.get(role) or ())}
        return found | of_terms("adjust", options.get("adjust"), known, faults)

    def roles(self, asked: Asked) -> dict[str, Any]:
        """Return what `fit_outcome` takes as roles."""
        return {**asked["roles"], **{k: asked["options"].get(k, v) for k, v in _UNASKED.items()}}

    def df(self, asked: Asked) -> str:
        """Return how degrees of freedom are found; weighted patients have none."""
        weighted = asked["options"].get("patient_weights") is not None
        return str(asked["options"].get("df", "normal" if weighted else DEFAULT_DF))

    def checked(
        self, frame: pd.DataFrame, asked: Asked, model: str, at: Sequence[float]
    ) -> tuple[GrowthDesign, Choice]:
        """Return the design; rows that give none are refused, and so are times that were not observed."""
        roles, faults = self.roles(asked), Faults()
        refuse(model, roles, self.df(asked), faults)
        faults.settle()
        design, choice = choose(frame, asked["outcome"], model, roles)
        for t in at:
            if t == design.baseline:
                faults.add("at", t, "this is the baseline; nothing has changed yet")
            else:
                faults.ask(design.seen_at, [t], "at", range(len(design.cohorts)))
        faults.settle()
        return design, choice


class Cohorts(OfCohorts):
    """An MMRM or a growth model: d of every cohort, their difference, and the improvement retained."""

    needed = NEEDED["analysis"]

    def __init__(self, model: str) -> None:
        self.model = model
        names = _OF_ANY | (_OF_GROWTH if model == "growth" else set())
        self.keys = {name: kind for name, kind in _ANALYSIS.items() if name in names}

    def check(self, frame: pd.DataFrame, asked: Asked) -> None:
        """Refuse rows that give no design, and times that were not observed."""
        self.checked(frame, asked, self.model, asked["options"]["at"])

    def answer(self, frame: pd.DataFrame, asked: Asked) -> Answer:
        """Return d, differences with the p-value of the difference in change, and what is retained."""
        fit, _ = fit_outcome(frame, asked["outcome"], asked["better"], self.model, self.roles(asked), {})
        times = asked["options"]["at"]
        how = {"df": self.df(asked), "level": asked["level"]}
        effects = fit.effect_sizes(times, sd=asked["sd"], **how).tidy()
        contrasts = _rows(fit.contrasts(times, **how).tidy())
        tests = {(r["cohort"], r["time"]): r["p_value"] for r in contrasts if r["quantity"] == "change"}
        kept = fit.retained_improvement(times, **how).tidy().assign(quantity="retained")
        count, rows = _patients(fit), []
        for row in [*_rows(effects), *_rows(kept)]:
            place = row["cohort"], row["time"]
            made = {"quantity": row["quantity"], "cohort": row["cohort"], "reference": row["reference"]}
            made |= {"time": row["time"]} | {k: row[k] for k in _COLUMNS if k in row}
            if row["quantity"] == "difference":
                made["p_value"] = tests[place]
            made |= {"n": count(*place), "n_reference": count(row["reference"], row["time"])}
            rows.append(made)
        rows += _beside(fit, times, how)
        end = fit.convergence
        boundary = end.boundary or bool(boundary_words(fit))
        return Answer(rows, end.converged, boundary, fit.design.shape.one_direction, [fit])


def _beside(fit: CohortModel, times: Sequence[float], how: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what a score changes in the change, and what a change of circumstances did, in points of the outcome."""
    found: dict[str, pd.DataFrame] = {}
    if isinstance(fit, GrowthResult) and fit.design.moderators is not None:
        found["moderation"] = fit.moderation(times, **how).tidy().rename(columns={"moderator": "term"})
    if isinstance(fit, GrowthResult) and fit.design.interruption is not None:
        found["interruption"] = fit.interruption(**how).tidy().assign(term=str(fit.design.interruption.column))
    n = sum(fit.sample.patients.values())
    kept = ("term", "time", *_COLUMNS)
    return [
        {"quantity": f"{name} {row['quantity']}"} | {k: row[k] for k in kept if k in row} | {"n": n}
        for name, table in found.items()
        for row in table.to_dict("records")
    ]


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a small table, for which `to_dict` takes several times as long."""
    columns = {str(name): table[name].tolist() for name in table.columns}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _patients(fit: CohortModel) -> Any:
    """Return what counts a cohort's patients at a time; without fixed visits, its patients."""
    found = {(cohort, time): count for cohort, time, count in fit.sample.seen} if fit.times else {}
    return lambda cohort, time: found.get((cohort, time), fit.sample.patients[cohort] if not found else 0)


def baseline_sd(frame: pd.DataFrame, roles: Mapping[str, Any], outcome: str) -> float:
    """Return the SD of an outcome at the baseline over all rows, patients together within their cohort; nan if none."""
    patient, cohort, baseline = roles["patient"], roles["cohort"], roles["baseline"]
    if isinstance(baseline, str):
        first, column = frame.drop_duplicates(patient), baseline
    elif roles["time_unit"] is not None:
        first, column = frame.sort_values(roles["time"]).drop_duplicates(patient), outcome
    else:
        first, column = frame[frame[roles["time"]] == baseline], outcome
    values = pd.to_numeric(first[column], errors="coerce").groupby(first[cohort])
    count, squares = values.count(), values.var(ddof=0)
    df = int(count.sum() - len(count))
    return float(np.sqrt((squares * count).sum() / df)) if df > 0 else float("nan")
