"""Analyses of sensitivity that a batch repeats: what if those who left differ, or some improvement came by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from implstats._check import Faults, one_of
from implstats.batch import kinds
from implstats.batch.comparison import NEEDED, SECTIONS
from implstats.batch.repeatable import Answer
from implstats.batch.repeated_cohorts import OfCohorts
from implstats.growth import MMRMResult
from implstats.sensitivity import natural_change, pattern_mixture, tipping_point
from implstats.study.choice import boundary_words, choose, fit_outcome

__all__ = ["NaturalChange", "PatternMixture", "TippingPoint"]

Asked = Mapping[str, Any]

_ANALYSIS = SECTIONS["analysis"]
_OF_MIXTURES = {"at": kinds.above(0), "adjust": _ANALYSIS["adjust"]}
_OF_TIPPING = {
    **_OF_MIXTURES,
    "missing": _ANALYSIS["missing"],
    "deltas": kinds.times,
    "worse": kinds.several,
    "imputations": kinds.whole(5),
    "seed": kinds.whole(0),
}
_MODEL = ("at", "model", "shape", "adjust", "groups", "df", "missing", "patient_weights")
_OF_NATURAL = {**{name: _ANALYSIS[name] for name in _MODEL}, "over": kinds.times, "source": kinds.text}
_NUMBERS = ("estimate", "std_error", "conf_low", "conf_high")
# What is assumed unless the plan says otherwise, in SDs.
_WORSE, _NATURAL = (0.0, 0.25, 0.5, 1.0), (0.0, 0.1, 0.2, 0.3)
_IMPUTATIONS, _SEED = 20, 1


class PatternMixture(OfCohorts):
    """Improvements averaged over those who stayed and those who left, in SDs."""

    keys = _OF_MIXTURES

    def check(self, frame: pd.DataFrame, asked: Asked) -> None:
        """Refuse rows that give no design."""
        choose(frame, asked["outcome"], "growth", self.roles(asked) | {"shape": "linear", "adjust": None})

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


class TippingPoint(OfCohorts):
    """The difference in change, had patients who left fared worse than those like them who stayed, under an MMRM."""

    keys = _OF_TIPPING

    def check(self, frame: pd.DataFrame, asked: Asked) -> None:
        """Refuse rows that give no MMRM, a time that is no visit, and cohorts that are not there."""
        at = asked["options"].get("at")
        design, _ = self.checked(frame, asked, "mmrm", [] if at is None else [at])
        faults = Faults()
        for cohort in asked["options"].get("worse", ()):
            faults.ask(one_of, "worse", cohort, design.cohorts)
        faults.settle()

    def answer(self, frame: pd.DataFrame, asked: Asked) -> Answer:
        """Return the difference in SDs and what is retained at every delta, and where the conclusion turns.

        The p-values of one hypothesis under several assumptions are no family, so there are none.
        """
        options, sd = asked["options"], asked["sd"]
        fit, _ = fit_outcome(frame, asked["outcome"], asked["better"], "mmrm", self.roles(asked), {})
        assert isinstance(fit, MMRMResult)
        found = tipping_point(
            fit,
            at=options.get("at"),
            deltas=[sd * delta for delta in options.get("deltas", _WORSE)],
            worse=options.get("worse"),
            imputations=options.get("imputations", _IMPUTATIONS),
            rng=options.get("seed", _SEED),
            level=asked["level"],
        )
        deltas = dict(zip(found.deltas.tolist(), sorted(options.get("deltas", _WORSE)), strict=True))
        rows = []
        for row in found.tidy().to_dict("records"):
            unit = sd if row["quantity"] == "difference" else 1.0
            made = {str(k): row[k] for k in ("quantity", "cohort", "reference", "time", "df", "set") if k in row}
            made |= {k: row[k] / unit for k in _NUMBERS} | {"delta_sd": deltas[row["delta"]]}
            made |= {"n": fit.sample.patients[row["cohort"]], "n_reference": fit.sample.patients[row["reference"]]}
            rows.append(made | ({"sd": sd} if row["quantity"] == "difference" else {}))
        turns = found.turns().query("quantity == 'difference'")
        for row in turns.to_dict("records"):
            place = {"quantity": "tipping point", "cohort": row["cohort"], "reference": found.cohorts[0]}
            rows.append(place | {"time": found.time, "estimate": row["delta"] / sd, "sd": sd})
        end = fit.convergence
        return Answer(rows, end.converged, end.boundary)


class NaturalChange(OfCohorts):
    """The improvement retained, if some of the improvement had come without treatment."""

    keys = _OF_NATURAL
    needed = NEEDED["analysis"]

    def check(self, frame: pd.DataFrame, asked: Asked) -> None:
        """Refuse rows that give no design, and times that were not observed."""
        self.checked(frame, asked, asked["options"].get("model", "auto"), asked["options"]["at"])

    def answer(self, frame: pd.DataFrame, asked: Asked) -> Answer:
        """Return what is retained at every natural change, in the SD of the batch."""
        options, sd = asked["options"], asked["sd"]
        model = options.get("model", "auto")
        fit, _ = fit_outcome(frame, asked["outcome"], asked["better"], model, self.roles(asked), {})
        found = natural_change(
            fit,
            over=[sd * natural for natural in options.get("over", _NATURAL)],
            unit="outcome",
            source=options.get("source", ""),
            at=options["at"],
            df=self.df(asked),
            level=asked["level"],
        )
        over = dict(zip(found.over, sorted(options.get("over", _NATURAL)), strict=True))
        rows = []
        for row in found.tidy().to_dict("records"):
            made = {str(k): row[k] for k in ("cohort", "reference", "time", "estimate", "conf_low", "conf_high", "set")}
            counts = {"n": fit.sample.patients[row["cohort"]], "n_reference": fit.sample.patients[fit.reference]}
            rows.append({"quantity": "retained", "natural": over[row["natural"]], **made, **counts})
        end = fit.convergence
        return Answer(rows, end.converged, end.boundary or bool(boundary_words(fit)))
