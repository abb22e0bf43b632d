"""The main job: several outcomes of the same cohorts, compared at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from implstats import _check
from implstats._check import Faults
from implstats.design.growth import BETTER
from implstats.errors import ConvergenceError, DataError
from implstats.growth.answers import SDS
from implstats.growth.cohorts import CohortModel
from implstats.growth.fit import MISSING
from implstats.growth.fixed import DF
from implstats.results import Result
from implstats.study.choice import BESIDE, DEFAULT_DF, Choice, boundary_words, fit_outcome, refuse, straightness
from implstats.study.overall import Overall, overall
from implstats.study.rows import CORRECTIONS, ORDER, answers, corrected, row
from implstats.study.words import Words

__all__ = ["CohortComparison", "compare_cohorts"]

_MODEL = ("time", "patient", "cohort", "reference", "baseline", "shape", "adjust", "groups", "missing", "time_unit")
_ROLES = _MODEL + BESIDE


@dataclass(frozen=True, eq=False, repr=False)
class CohortComparison(Result):
    """Several outcomes of the same cohorts: effect sizes, their difference, and the improvement retained.

    Attributes
    ----------
    fits : mapping of outcome to MMRMResult or GrowthResult
        Those that could be fitted.
    errors : mapping of outcome to str
        Why the others could not.
    choices : mapping of outcome to Choice
        Which model each has, and why.
    outcomes : mapping of outcome to {"lower", "higher"}
    at : list of float
        The times that are compared, in the unit of the time column.
    margin : float or None
        In SDs: the difference in d that would matter.
    correction, sd, df, level
        As in `compare_cohorts`.
    time : str
        The time column.
    """

    fits: Mapping[str, CohortModel]
    errors: Mapping[str, str]
    choices: Mapping[str, Choice]
    outcomes: Mapping[str, str]
    at: Sequence[float]
    margin: float | None
    correction: str
    sd: str | float
    df: str
    level: float
    time: str = field(default="")

    @property
    def first(self) -> CohortModel:
        """The first outcome's fit."""
        return next(iter(self.fits.values()))

    @property
    def reference(self) -> Any:
        """The cohort that the others are compared with."""
        return self.first.reference

    @property
    def cohorts(self) -> tuple[Any, ...]:
        """The cohorts, the reference first."""
        return self.first.cohorts

    @cached_property
    def _answers(self) -> dict[str, Any]:
        return {name: answers(fit, self.at, self.sd, self.df) for name, fit in self.fits.items()}

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return one row an outcome, time and cohort beside the reference; a failed outcome is a row with its error."""
        level = self.level if level is None else _check.level(level)
        rows = []
        for name in self.outcomes:
            head = {"outcome": name, "better": self.outcomes[name]}
            if name in self.errors:
                rows.append(head | {"error": self.errors[name]})
                continue
            tables = {k: made.tidy(level=level) for k, made in self._answers[name].items()}
            fit, head = self.fits[name], head | {"model": self.choices[name].model}
            for cohort in self.cohorts[1:]:
                rows += [head | row(fit, tables, cohort, t, self.margin) for t in self.at]
        out = pd.DataFrame(rows)
        out["error"] = out["error"].fillna("") if "error" in out else ""
        out["p_corrected"] = corrected(out, self.fits, self.correction) if "p_value" in out else np.nan
        return out[[c for c in ORDER if c in out.columns]]

    def glance(self) -> pd.DataFrame:
        """Return one row about the comparison: outcomes fitted, patients, rows."""
        return pd.DataFrame(
            {
                "n": [len(self.fits)],
                "patients": [max(sum(f.sample.patients.values()) for f in self.fits.values())],
                "rows": [sum(f.sample.rows for f in self.fits.values())],
                "converged": [all(f.convergence.converged for f in self.fits.values()) and not self.errors],
                "boundary": [any(f.convergence.boundary for f in self.fits.values())],
            }
        )

    def sample_table(self) -> pd.DataFrame:
        """Return the patients seen per outcome, cohort and time."""
        parts = [f.sample.visits().assign(outcome=name) for name, f in self.fits.items()]
        return pd.concat(parts, ignore_index=True)[["outcome", "cohort", "time", "n"]]

    def overall(
        self,
        *,
        at: Any = None,
        draws: int = 999,
        rng: int | np.random.Generator | None = None,
        level: float | None = None,
    ) -> Overall:
        """Return the mean d over the outcomes per cohort, and their ratio: the share of improvement retained overall.

        Patients are drawn with replacement within their cohort, each with all of its outcomes, and every outcome is
        fitted again; intervals are percentiles of the draws. Sites and therapists (`groups=`) are not drawn.

        Parameters
        ----------
        at : time or list of times, optional
            By default the times of the comparison.
        draws : int
            Number of draws; 999 take seconds for some hundred patients.
        rng : int, numpy.random.Generator or None
            The same number gives the same draws.
        level : float, optional

        References
        ----------
        Efron & Tibshirani 1993, An Introduction to the Bootstrap, DOI 10.1201/9780429246593.
        """
        times = list(self.at) if at is None else _check.at(at)
        return overall(self.fits, times, self.sd, draws, rng, self.level if level is None else _check.level(level))

    def in_words(self, labels: Mapping[str, str] | None = None) -> list[str]:
        """Return the answer in plain sentences: three for the last time, then what the other times say.

        Parameters
        ----------
        labels : mapping, optional
            Words to use in place of outcome, time and cohort names.
        """
        return Words(self, labels or {}).answer()

    def cannot_say(self, labels: Mapping[str, str] | None = None) -> list[str]:
        """Return what this design cannot separate, whatever the numbers."""
        return Words(self, labels or {}).limits()

    def models(self, labels: Mapping[str, str] | None = None) -> list[str]:
        """Return which model each outcome got, and why: "bsi and sipp: MMRM, because there are three fixed visits"."""
        return Words(self, labels or {}).models()

    def methods(self, labels: Mapping[str, str] | None = None) -> str:
        """Return a paragraph for a methods section."""
        return Words(self, labels or {}).methods()

    def header(self) -> list[str]:
        """Return what was compared, on whom, and how each fit ended."""
        fit = self.first
        counts = ", ".join(f"{c} {k}" for c, k in fit.sample.patients.items())
        start = f"{self.time} {_check.show(fit.baseline)}"
        if fit.design.sample.added:
            start += f" (column {_check.show(fit.call.get('baseline'))})"
        lines = [
            f"{', '.join(map(str, self.cohorts[1:]))} against {self.reference}: improvement since {start} in "
            f"{', '.join(self.outcomes)}, positive is better",
            f"patients: {counts}; intervals {100 * self.level:.10g}%; p-values are of the difference in change, "
            f"corrected: {self.correction}",
        ]
        lines += self.models()
        for name, one in self.fits.items():
            end = "; ".join(boundary_words(one))
            sds = sorted(set(self._answers[name]["d"].tidy()["sd"]))
            by = (
                f"d in SDs of {', '.join(f'{v:.3g}' for v in sds)} ({self.sd if isinstance(self.sd, str) else 'given'})"
            )
            how = one.convergence.message + (f": {end}" if end else "")
            lines.append(f"{name} ({self.outcomes[name]} is better; {by}): {one.formula}; {how}")
            lines += [f"{name}: {line}"] if (line := straightness(one)) else []
        lines += [f"{name}: {why}" for name, why in self.errors.items()]
        lines.append(
            "No group went untreated, and cohorts may differ in more than the organisation; cannot_say() has it in full"
        )
        return lines

    def _shown(self) -> pd.DataFrame:
        keep = [
            "outcome",
            "time",
            "cohort",
            "d_reference",
            "d",
            "d_difference",
            "d_difference_low",
            "d_difference_high",
        ]
        keep += ["retained", "retained_low", "retained_high", "retained_set", "p_corrected", "against_margin"]
        table = self.tidy()
        if "extrapolated" in table and table["extrapolated"].eq(True).any():
            keep.insert(3, "extrapolated")
        return table[[c for c in keep if c in table.columns]]

    def _tables(self) -> dict[str, pd.DataFrame]:
        return {"tidy": self.tidy(), "glance": self.glance(), "sample": self.sample_table()}


def compare_cohorts(
    frame: pd.DataFrame,
    *,
    outcomes: Mapping[str, str],
    time: str,
    patient: str,
    cohort: str,
    reference: Any,
    at: Any,
    baseline: float | str = 0,
    model: str = "auto",
    shape: Any = "auto",
    adjust: str | Sequence[str] | None = None,
    groups: str | Sequence[str] | None = None,
    interruption: str | None = None,
    moderators: str | Sequence[str] | None = None,
    patient_weights: str | None = None,
    margin: float | None = None,
    correction: str = "holm",
    sd: str | float = "baseline",
    df: str = DEFAULT_DF,
    level: float = 0.95,
    missing: str = "drop",
    time_unit: str | None = None,
) -> CohortComparison:
    """How much less well did a treatment work for the cohorts that were treated under other circumstances?

    Fits one model an outcome: an MMRM at up to four fixed visits, else a growth model. The header and `methods()` say
    which, and why.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per patient and visit.
    outcomes : mapping of column to {"lower", "higher"}
        Outcomes, and which way is better.
    time, patient, cohort : str
        Columns.
    reference : value of the cohort column
        The cohort that the others are compared with.
    at : time or list of times
        When the cohorts are compared.
    baseline : float or str
        Time that change is counted from, or a column with the value before treatment (it becomes the visit at 0).
    model : {"auto", "mmrm", "growth"}
        "mmrm": a mean for every cohort and visit and an unstructured covariance of the visits, one for each cohort
        where each has 20 patients or more, else one for all. "growth": random effects of patients, as in `fit_growth`.
        "auto": MMRM up to four fixed visits (a baseline column not counted), unless `groups` or a `shape` ask for what
        it has not, or it cannot be fitted; else the growth model.
    shape : {"auto", "linear", "quadratic", "log", "visits"}, Piecewise or NaturalSpline
        The course over time, as in `fit_growth`; "auto": visits as categories up to four fixed times, else linear. Any
        but "auto" and "visits" takes a growth model.
    adjust : list of columns, or patsy right-hand side, optional
    groups : column or list of columns, optional
        Random effects beside the patient's (site, therapist); they take a growth model.
    interruption : str, optional
        Column with the time at which circumstances changed for the patient; takes a growth model, of which
        `study.fits["bsi"].interruption()` is what it did. Effects are those of the course without it.
    moderators : column or list of columns, optional
        Scores that change may depend on; they take a growth model, whose `moderation()` has what a point changes.
        Effects are those at their mean.
    patient_weights : str, optional
        Column with one positive weight per patient, as of `propensity_weights`; models are then fitted by maximum
        likelihood. Goes with df="normal" and without `groups`; `overall()` is not defined.
    margin : float, optional
        Difference in d, in SDs, beyond which less improvement matters; adds where the interval lies against it.
    correction : {"holm", "bonferroni", "fdr_bh", "none"}
        Of the p-values of the difference in change, over outcomes, times and cohorts.
    sd : {"baseline", "reference", "own", "model"} or float
        What d is divided by.
    df : {"kenward-roger", "satterthwaite", "normal"}
        How degrees of freedom are found; Kenward and Roger's held the level of intervals best where cohorts were small,
        unequal and thinned by drop-out.
    level : float
    missing : {"drop", "raise"}
    time_unit : {"days", "weeks", "months", "years"}, optional
        Reads a date column as time since each patient's first visit.

    Returns
    -------
    CohortComparison
        An outcome that cannot be fitted is reported in `errors`; the others stand.

    Raises
    ------
    DataError
        Arguments that name nothing or cannot go together, or no outcome that can be fitted.

    Notes
    -----
    With no untreated group, the improvement retained is a ratio of changes, not of treatment effects.

    References
    ----------
    Bales et al. 2017, DOI 10.1002/pmh.1381; Feingold 2009, DOI 10.1037/a0014699; of the MMRM: Mallinckrodt et al. 2008,
    DOI 10.1177/009286150804200402.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> study = ist.compare_cohorts(visits, outcomes={"bsi": "lower", "sipp": "higher"}, time="month",
    ...                             patient="patient", cohort="cohort", reference="before", at=[18, 36])
    >>> study.tidy()[["outcome", "time", "d_reference", "d"]].round(1)
      outcome  time  d_reference    d
    0     bsi  18.0          0.9  0.4
    1     bsi  36.0          1.1  0.5
    2    sipp  18.0          1.0  0.5
    3    sipp  36.0          1.3  0.7
    """
    call = {k: dict(v) if isinstance(v, Mapping) else v for k, v in locals().items() if k != "frame"}
    roles = {k: call[k] for k in _ROLES}
    _check.frame(frame)
    faults = Faults()
    _check.columns(frame, faults, time=time, patient=patient, cohort=cohort)
    if not isinstance(outcomes, Mapping) or not outcomes:
        faults.add("outcomes", outcomes, "no outcome with its direction", "write outcomes={'bsi': 'lower'}")
    else:
        for name, better in outcomes.items():
            _check.columns(frame, faults, outcomes=name)
            if better not in BETTER:
                faults.add(
                    "outcomes", {name: better}, "not a direction", "say 'lower' or 'higher', whichever is better"
                )
    for argument, value, allowed in (
        ("correction", correction, CORRECTIONS),
        ("df", df, DF),
        ("missing", missing, MISSING),
    ):
        faults.ask(_check.one_of, argument, value, allowed)
    refuse(model, roles, df, faults)
    if isinstance(sd, str):
        faults.ask(_check.one_of, "sd", sd, SDS)
    else:
        faults.ask(_check.number, "sd", sd, above=0)
    if margin is not None:
        faults.ask(_check.number, "margin", margin, above=0, remedy="it is the size of a difference in d")
    times = faults.ask(_check.at, at)
    faults.ask(_check.level, level)
    if isinstance(outcomes, Mapping) and len(outcomes) > 1 and isinstance(baseline, str):
        fault = f"one column cannot be the baseline of {len(outcomes)} outcomes"
        faults.add("baseline", baseline, fault, "compare them one by one")
    faults.settle()
    fits: dict[str, CohortModel] = {}
    errors: dict[str, str] = {}
    choices: dict[str, Choice] = {}
    for name, better in outcomes.items():
        try:
            fit, choice = fit_outcome(frame, name, better, model, roles, call)
            # Asked now: a time or an SD that this outcome cannot serve is its error, not the table's.
            fit.effect_sizes(times, sd=sd, df=df)
            fits[name], choices[name] = fit, choice
        except (DataError, ConvergenceError) as error:
            errors[name] = str(error)
    if not fits:
        lines = (line for why in errors.values() for line in why.split("\n"))
        raise DataError("\n".join(dict.fromkeys(lines)))
    chosen = dict(outcomes), times, margin, correction, sd, df, level, str(time)
    return CohortComparison(call, fits, errors, choices, *chosen)
