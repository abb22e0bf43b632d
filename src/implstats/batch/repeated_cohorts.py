"""Analyses of cohorts that a batch repeats: an MMRM, a growth model, and the mixture over patterns of drop-out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from implstats._check import Faults
from implstats.batch import kinds
from implstats.batch.comparison import NEEDED, SECTIONS
from implstats.batch.repeatable import Answer, Repeatable, of_terms
from implstats.growth import CohortModel
from implstats.sensitivity import pattern_mixture
from implstats.study.choice import DEFAULT_DF, boundary_words, choose, fit_outcome, refuse

__all__ = ["Cohorts", "PatternMixture", "baseline_sd"]

Asked = Mapping[str, Any]

_ANALYSIS = SECTIONS["analysis"]
_OF_MIXTURES = {"at": kinds.above(0), "adjust": _ANALYSIS["adjust"]}
_COLUMNS = ("estimate", "std_error", "df", "conf_low", "conf_high", "p_value", "set", "sd", "extrapolated")


class _OfCohorts(Repeatable):
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
        for k, name in enumerate(options.get("groups") or ()):
            found[f"groups[{k}]"] = name
        return found | of_terms("adjust", options.get("adjust"), known, faults)


class Cohorts(_OfCohorts):
    """An MMRM or a growth model: d of every cohort, their difference, and the improvement retained."""

    needed = NEEDED["analysis"]

    def __init__(self, model: str) -> None:
        self.model = model
        names = {"at", "adjust", "df", "missing"} | ({"shape", "groups"} if model == "growth" else set())
        self.keys = {name: kind for name, kind in _ANALYSIS.items() if name in names}

    def _roles(self, asked: Asked) -> dict[str, Any]:
        options = {"shape": "auto", "adjust": None, "groups": None, "missing": "drop"}
        return {**asked["roles"], **{k: asked["options"].get(k, v) for k, v in options.items()}}

    def check(self, frame: pd.DataFrame, asked: Asked) -> None:
        """Refuse rows that give no design, and times that were not observed."""
        roles, faults = self._roles(asked), Faults()
        refuse(self.model, roles["shape"], roles["groups"], faults)
        faults.settle()
        design, _ = choose(frame, asked["outcome"], self.model, roles)
        for t in asked["options"]["at"]:
            if t == design.baseline:
                faults.add("at", t, "this is the baseline; nothing has changed yet")
            else:
                faults.ask(design.seen_at, [t], "at", range(len(design.cohorts)))
        faults.settle()

    def answer(self, frame: pd.DataFrame, asked: Asked) -> Answer:
        """Return d, differences with the p-value of the difference in change, and what is retained."""
        fit, _ = fit_outcome(frame, asked["outcome"], asked["better"], self.model, self._roles(asked), {})
        times = asked["options"]["at"]
        how = {"df": asked["options"].get("df", DEFAULT_DF), "level": asked["level"]}
        effects = fit.effect_sizes(times, sd=asked["sd"], **how).tidy()
        contrasts = fit.contrasts(times, **how).tidy().to_dict("records")
        tests = {(r["cohort"], r["time"]): r["p_value"] for r in contrasts if r["quantity"] == "change"}
        kept = fit.retained_improvement(times, **how).tidy().assign(quantity="retained")
        count, rows = _patients(fit), []
        for row in [*effects.to_dict("records"), *kept.to_dict("records")]:
            place = row["cohort"], row["time"]
            made = {"quantity": row["quantity"], "cohort": row["cohort"], "reference": row["reference"]}
            made |= {"time": row["time"]} | {k: row[k] for k in _COLUMNS if k in row}
            if row["quantity"] == "difference":
                made["p_value"] = tests[place]
            made |= {"n": count(*place), "n_reference": count(row["reference"], row["time"])}
            rows.append(made)
        end = fit.convergence
        boundary = end.boundary or bool(boundary_words(fit))
        return Answer(rows, end.converged, boundary, fit.design.shape.one_direction)


def _patients(fit: CohortModel) -> Any:
    """Return what counts a cohort's patients at a time; without fixed visits, its patients."""
    seen = fit.sample.visits()
    found = {(r["cohort"], r["time"]): int(r["n"]) for r in seen.to_dict("records")} if fit.times else {}
    return lambda cohort, time: found.get((cohort, time), fit.sample.patients[cohort] if not found else 0)


class PatternMixture(_OfCohorts):
    """Improvements averaged over those who stayed and those who left, in SDs."""

    keys = _OF_MIXTURES

    def check(self, frame: pd.DataFrame, asked: Asked) -> None:
        """Refuse rows that give no design."""
        choose(frame, asked["outcome"], "growth", self._roles(asked))

    def _roles(self, asked: Asked) -> dict[str, Any]:
        return {**asked["roles"], "shape": "linear", "groups": None, "adjust": None, "missing": "drop"}

    def answer(self, frame: pd.DataFrame, asked: Asked) -> Answer:
        """Return improvements and their difference divided by the SD of the batch, and what is retained."""
        roles = {k: v for k, v in asked["roles"].items() if k != "time_unit"}
        found = pattern_mixture(
            frame, outcome=asked["outcome"], better=asked["better"], level=asked["level"], **roles, **asked["options"]
        )
        rows = []
        for row in found.tidy().to_dict("records"):
            unit = 1.0 if row["quantity"] == "retained" else asked["sd"]
            made = {str(k): value for k, value in row.items()}
            made |= {k: row[k] / unit for k in ("estimate", "std_error", "conf_low", "conf_high")}
            made["quantity"] = "d" if row["quantity"] == "change" else row["quantity"]
            if row["quantity"] != "difference":
                made["p_value"] = None
            counts = dict(zip(found.cohorts, found.counts.sum(axis=1), strict=True))
            made |= {"n": int(counts[row["cohort"]]), "n_reference": int(counts[row["reference"]])}
            rows.append(made | ({"sd": asked["sd"]} if unit != 1.0 else {}))
        end = found.growth.convergence
        return Answer(rows, end.converged, end.boundary)


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
