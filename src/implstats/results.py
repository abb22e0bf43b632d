"""What every result can do: a header in words, tidy tables at full precision, rounded only where people read them."""

from __future__ import annotations

import html
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check, tables

__all__ = ["COLUMNS", "SCHEMA", "Estimates", "Result", "Sample", "by_column", "frozen", "intervals", "lock"]

SCHEMA = 1

COLUMNS: Mapping[str, str] = MappingProxyType(
    {
        "term": "name of a model term, as the formula writes it",
        "estimate": "the estimate, in the unit that the table's title names",
        "std_error": "standard error of the estimate",
        "df": "denominator degrees of freedom (inf: normal); parameters more than the model above",
        "statistic": "estimate / std_error, the F or chi-square statistic, or the fall in -2 log-likelihood",
        "p_value": "two-sided p-value of estimate = 0; of the smaller model in a comparison",
        "p_corrected": "p-value after the correction for several outcomes, times and cohorts",
        "conf_low": "lower end of the confidence interval",
        "conf_high": "upper end of the confidence interval",
        "set": "confidence set: bounded, outside (two rays), unbounded (whole line), none (no improvement to share)",
        "outcome": "name of the outcome",
        "better": "direction of improvement: lower or higher",
        "cohort": "cohort",
        "reference": "cohort that it is compared with",
        "time": "time since the origin, in the unit of the time column",
        "quantity": "what is estimated: level, change, per point, per sd, d, difference, slope, with, without, ratio",
        "group": "grouping factor of a random effect, Residual, or the group of a curve or test",
        "level": "level of a grouping factor",
        "effect": "random effect within its group",
        "other": "second random effect of a correlation",
        "variance": "variance component, in squared units of the outcome",
        "sd": "standard deviation, in units of the outcome",
        "correlation": "correlation of two random effects",
        "covariance": "covariance of two visits, in squared units of the outcome",
        "model": "the model: its formula, or its kind (mmrm, growth)",
        "reference_distribution": "distribution that the p-value is taken from, or why there is none",
        "sd_source": "which standard deviation an effect size is divided by",
        "n": "number of observations or patients that the row rests on",
        "rows": "rows used",
        "patients": "patients used (levels of the largest factor, where the model knows no patients)",
        "groups": "levels of all grouping factors",
        "parameters": "fixed effects and variance parameters",
        "loglik": "log-likelihood (restricted under REML)",
        "deviance": "-2 x loglik",
        "aic": "Akaike's information criterion, 2 x parameters - 2 x loglik",
        "bic": "Bayes' information criterion, log(rows) x parameters - 2 x loglik",
        "sigma": "residual standard deviation, in units of the outcome",
        "r2_marginal": "share of variance that the fixed effects explain",
        "r2_conditional": "share of variance that fixed and random effects explain",
        "icc": "share of the variance around the fixed effects that lies between groups",
        "method": "estimation method (REML or ML); how intervals or a variance are made",
        "converged": "whether the optimiser ended at a certified optimum",
        "boundary": "whether a variance is certified as zero or a correlation as one",
        "fitted": "predicted outcome, random effects included",
        "fixed": "predicted outcome, random effects left out",
        "residual": "observed - fitted",
        "std_residual": "residual / sigma",
        "patient": "patient",
        "extrapolated": "whether the time lies beyond the cohort's observed times",
        "engine": "the other software of a cross-check",
        "estimate_other": "estimate by the other software",
        "std_error_other": "standard error by the other software",
        "df_num": "numerator degrees of freedom",
        "difference": "difference between two engines, or between two cohorts",
        "baseline_mean": "estimated mean at the baseline",
        "baseline_se": "standard error of the mean at the baseline",
        "mean": "estimated mean at the time of the row",
        "mean_se": "standard error of that mean",
        "change": "estimated improvement since the baseline, positive is better",
        "change_low": "lower end of its interval",
        "change_high": "upper end of its interval",
        "d": "standardised improvement since the baseline, positive is better",
        "d_low": "lower end of its interval",
        "d_high": "upper end of its interval",
        "d_difference": "d of the cohort minus d of the reference",
        "d_difference_low": "lower end of its interval",
        "d_difference_high": "upper end of its interval",
        "retained": "improvement retained: change of the cohort / change of the reference",
        "retained_low": "lower end of its confidence set",
        "retained_high": "upper end of its confidence set",
        "retained_set": "shape of its confidence set",
        "n_reference": "number of patients of the reference cohort that the row rests on",
        "baseline_mean_reference": "estimated mean of the reference at the baseline",
        "baseline_se_reference": "standard error of that mean",
        "mean_reference": "estimated mean of the reference at the time of the row",
        "mean_se_reference": "standard error of that mean",
        "change_reference": "estimated improvement of the reference since the baseline, positive is better",
        "change_reference_low": "lower end of its interval",
        "change_reference_high": "upper end of its interval",
        "d_reference": "standardised improvement of the reference since the baseline, positive is better",
        "d_reference_low": "lower end of its interval",
        "d_reference_high": "upper end of its interval",
        "against_margin": "where the interval of the difference lies against the margin",
        "error": "why there is no number",
        "at_risk": "number at risk just before the time, or just after the start of a stretch (sum of weights)",
        "events": "events at the time (in glance and counts: in all)",
        "censored": "rows censored at the time (in glance: in all)",
        "cumulative_events": "events up to and including the time",
        "cumulative_censored": "censored up to and including the time",
        "start": "time after which a stretch of time begins",
        "exposure": "time at risk or people that events are counted over; share of treatment after the change",
        "share": "share that has had the event by the time in the row; of the patients in it",
        "test": "name of the test",
        "observed": "events seen, as the test weighs them",
        "expected": "events expected, were all rates the same or over the row's time at risk",
        "cause": "what ended the spell",
        "event_free": "probability of no event of any cause yet",
        "competing": "rows that another cause ended",
        "events_per_parameter": "events / parameters",
        "loglik_null": "log-likelihood without the terms",
        "likelihood_ratio": "likelihood-ratio chi-square of all terms",
        "wald": "Wald chi-square of all terms",
        "score": "score chi-square of all terms",
        "concordance": "share of pairs whose order the model foresees",
        "concordance_se": "standard error of the concordance",
        "theta": "variance of the frailty",
        "std_error_naive": "standard error that takes rows as independent",
        "martingale": "event minus events expected",
        "kind": "kind of residual, random effect, or grouping factor that a read-out is about",
        "threshold": "what the statistic must exceed to be marked (correlation with normal quantiles: fall below)",
        "marked": "whether it does (in glance: how many do)",
        "reading": "what the number says, in words",
        "student_residual": "residual / its own standard error",
        "marginal_residual": "observed - fixed",
        "whitened_residual": "a patient's marginal residuals, made uncorrelated and of variance one by the model",
        "std_effect": "predicted random effect / SD that predictions should have",
        "cooks_distance": "change of all fixed effects without the level, in units of their covariance, / p",
        "dfbetas": "(estimate - estimate without the level) / standard error",
        "replicates": "simulated studies",
        "fitted_share": "share of simulated studies that could be fitted",
        "power": "share of simulated studies whose interval excludes no difference",
        "power_low": "lower end of its Monte Carlo interval",
        "power_high": "upper end of its Monte Carlo interval",
        "width": "median width of the intervals that have two ends",
        "bounded_share": "share of the fitted studies whose interval has two ends",
        "coverage": "share of the intervals that cover the truth",
        "truth": "what is true in the scenario",
        "median_estimate": "median estimate over the simulated studies",
        "delta": "how much worse visits after drop-out are than the model says, in units of the outcome",
        "delta_sd": "the same in standard deviations at the baseline",
        "end": "which end of the interval, or up to when a stretch of time lasts",
        "imputations": "completed data sets",
        "imputed": "visits that were imputed",
        "shifted": "imputed visits that were made worse",
        "turns": "how often a conclusion turns",
        "pattern": "pattern of drop-out",
        "patterns": "patterns of drop-out",
        "share_left": "share of the patients who left before the last visit",
        "retained_change": "improvement retained without the level, minus with it",
        "weighted": "whether patients are weighted",
        "missing": "patients without a value",
        "count": "patients or items that the row counts",
        "std_difference": "difference from the reference in standard deviations, of the values before weighting",
        "largest": "largest standardised difference",
        "largest_weighted": "the same after weighting",
        "marked_weighted": "how many are marked after weighting",
        "effective_n": "patients that the weighted ones are worth, (sum w)^2 / sum w^2",
        "largest_share": "share of a cohort's weight that its heaviest patient has",
        "score_low": "lowest probability of the other cohort",
        "score_high": "highest probability of the other cohort",
        "form": "form of the intraclass correlation, as McGraw and Wong name it",
        "item": "what was rated",
        "rating": "rating, or mean of ratings, in the unit of the scale",
        "raters": "raters",
        "items": "items that were rated",
        "categories": "categories that a rater could choose from",
        "agreement": "share of pairs of ratings of an item that agree (weighted: by how much)",
        "agreement_expected": "the same, were ratings given by chance",
        "disagreement": "mean distance of two ratings of an item, in the metric of the coefficient",
        "disagreement_expected": "the same of any two ratings",
        "bound_low": "the least that the published numbers allow",
        "bound_high": "the most that the published numbers allow",
        "category": "what became of a patient: recovered, improved, unchanged, deteriorated",
        "treatment": "where treatment lay: before, across or after the change",
        "straddlers": "patients who were in treatment on both sides of the change",
        "change_time": "when circumstances changed for the patient, in the unit of the time column",
        "change_date": "day of a true or false change, YYYY-MM-DD",
        "placebo": "whether nothing changed on that day",
        "bounds": "sides at which an interval is bounded: both, upper, lower, none (no ratio without events)",
        "dispersion": "Pearson's chi-square of rows / its degrees of freedom; 1 if events are independent",
        "programme": "programme",
        "weight": "share of the weights that the row has",
        "tau2": "variance of the programmes' true effects",
        "tau2_low": "lower end of its interval",
        "tau2_high": "upper end of its interval",
        "i2": "share of the estimates' variance that is not sampling error",
        "i2_low": "lower end of its interval",
        "i2_high": "upper end of its interval",
        "natural": "improvement assumed to come without treatment, in the unit of the assumption",
        "natural_low": "smallest of those assumed",
        "natural_high": "largest of those assumed",
        "failed": "how many could not be fitted",
        "risk_ratio": "risk ratio (of 1 or more) that an estimate stands for",
        "e_value": "risk ratio with exposure and outcome by which something unmeasured would explain the estimate away",
        "e_value_limit": "the same for the end of the interval nearer to no association",
        "state": "state that a programme is in",
        "never_observed": "programmes that were never under observation in any state",
        "phase": "phase of implementation",
        "status": "how a phase stands: complete, passed, open, stopped, skipped, not begun; of a cell: done or failed",
        "activities": "activities of the phase, or of all",
        "done": "activities that were done",
        "proportion": "done / activities",
        "first": "when the first activity was done, since the programme's origin",
        "last": "when the last one was done",
        "duration": "time from the first to the last activity that was done",
        "so_far": "time from the first activity of an unfinished phase to the end of study or the programme's stop",
        "early": "activities done before one of an earlier phase",
        "programmes": "number of programmes",
        "stopped": "how many of them stopped",
        "site": "site of a cell: a value of the column that a batch is repeated by",
        "analysis": "name of an analysis of a batch",
        "p_holm": "p-value corrected over the family of a batch by Holm",
        "p_fdr_bh": "p-value corrected over the family of a batch by Benjamini and Hochberg",
        "warnings": "what was warned of while a cell was analysed",
        "sites": "number of sites that are pooled",
        "prediction_low": "lower end of the interval in which the effect of a next site may lie",
        "prediction_high": "upper end of that interval",
        "moderator": "score (or level of a category) on which the change over time may depend",
        "value": "its value",
        "moved": "what is not the same in two runs: estimate, interval, n, status, appeared, ... (in glance: cells)",
        "why": "why: data, plan, version, several, nothing known, cannot be told",
        "shift": "new minus old estimate, in halves of the width of the old interval",
        "estimate_old": "estimate of the old run",
        "estimate_new": "estimate of the new run",
        "conf_low_old": "lower end of the interval in the old run",
        "conf_low_new": "lower end of the interval in the new run",
        "conf_high_old": "upper end of the interval in the old run",
        "conf_high_new": "upper end of the interval in the new run",
        "n_old": "n in the old run (over all sites: their number)",
        "n_new": "n in the new run (over all sites: their number)",
        "n_reference_old": "n_reference in the old run",
        "n_reference_new": "n_reference in the new run",
        "events_old": "events in the old run",
        "events_new": "events in the new run",
        "p_corrected_old": "corrected p-value in the old run",
        "p_corrected_new": "corrected p-value in the new run",
        "status_old": "status of a cell in the old run",
        "status_new": "status of a cell in the new run",
        "cells_old": "cells of the old run (of a study: tables of an outcome)",
        "cells_new": "cells of the new run",
        "appeared": "cells that only the new run has",
        "disappeared": "cells that only the old run has",
        "by_data": "cells that moved as the data changed",
        "by_plan": "cells that moved as the plan changed",
        "by_version": "cells that moved as the version changed",
        "by_several": "cells that moved as several of these changed",
        "by_nothing": "cells that moved though none of these changed",
        "untold": "cells of which that cannot be told",
        "looks_old": "looks at the data that the old run's folder knows of",
        "looks_new": "looks at the data that the new run's folder knows of",
    }
)


def frozen(array: Any, dtype: Any = None) -> NDArray[Any]:
    """Return the array, read-only; one that others can write to, themselves or through its base, is copied first."""
    if isinstance(array, np.ndarray) and (dtype is None or array.dtype == dtype) and _settled(array):
        return array
    out = np.array(array, dtype=dtype)
    out.setflags(write=False)
    return out


def _settled(array: Any) -> bool:
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    return array is None


def intervals(
    estimate: NDArray[np.float64], std_error: NDArray[np.float64], df: NDArray[np.float64], level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both ends of estimate +/- t(df) x std_error; infinite df gives the normal quantile."""
    from scipy import special

    upper = 0.5 + _check.level(level) / 2
    normal = np.isinf(df)
    t = np.where(normal, special.ndtri(upper), special.stdtrit(np.where(normal, 1.0, df), upper))
    return estimate - t * std_error, estimate + t * std_error


def p_values(statistic: NDArray[np.float64], df: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return two-sided p-values of t statistics; infinite df gives the normal ones."""
    from scipy import special

    normal = np.isinf(df)
    below = -np.abs(statistic)
    tail = np.where(normal, special.ndtr(below), special.stdtr(np.where(normal, 1.0, df), below))
    return np.asarray(2 * tail)


@dataclass(frozen=True, eq=False, repr=False)
class Result(ABC):
    """Base of every result: asks for `tidy()` and `header()`, gives the printed and the saved forms.

    Attributes
    ----------
    call : mapping
        The arguments that made the result, as JSON can hold them.

    Examples
    --------
    >>> from implstats import Result, load_example, survival_curves
    >>> curve = survival_curves(load_example("programmes"), duration="years", event="discontinued")
    >>> isinstance(curve, Result)
    True
    >>> curve.glance()
       rows  events  censored
    0   150      75        75
    >>> list(curve.to_dict())
    ['schema', 'implstats', 'kind', 'call', 'header', 'tables']
    """

    call: Mapping[str, Any]

    @abstractmethod
    def tidy(self, **options: Any) -> pd.DataFrame:
        """Return the main table, one row an estimate."""

    @abstractmethod
    def header(self) -> list[str]:
        """Return what was done, on what, and how it ended: one sentence a line."""

    def glance(self) -> pd.DataFrame:
        """Return one row about the whole result."""
        return pd.DataFrame({"n": [len(self.tidy())]})

    def _tables(self) -> dict[str, pd.DataFrame]:
        return {"tidy": self.tidy(), "glance": self.glance()}

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON can hold it: schema version, software version, call, header and tables.

        Missing numbers are None, infinite ones the words "Infinity" and "-Infinity". `implstats.tables.read_tables`
        gives the tables back as they were.
        """
        from implstats import __version__

        return {
            "schema": SCHEMA,
            "implstats": __version__,
            "kind": type(self).__name__,
            "call": tables.plain(self.call),
            "header": list(self.header()),
            "tables": {name: tables.to_records(frame) for name, frame in self._tables().items()},
        }

    def to_markdown(self) -> str:
        """Return header and table as Markdown."""
        lines = (f"{html.escape(line, quote=False)}  " for line in self.header())
        return "\n".join([*lines, "", tables.to_markdown(self._shown())])

    def to_latex(self) -> str:
        """Return the table as a LaTeX tabular."""
        return tables.to_latex(self._shown())

    def _shown(self) -> pd.DataFrame:
        return self.tidy()

    def __repr__(self) -> str:
        lines = [textwrap.fill(line, 118, subsequent_indent="  ") for line in self.header()]
        return "\n".join([*lines, "", tables.to_text(self._shown())])

    def _repr_html_(self) -> str:
        lines = "<br>".join(html.escape(line) for line in self.header())
        return f"<div><p>{lines}</p>{tables.to_html(self._shown())}</div>"

    def __getstate__(self) -> dict[str, Any]:
        return dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        for value in state.values():
            lock(value)
        self.__dict__.update(state)


def by_column(labels: Any) -> dict[str, tuple[Any, ...]]:
    """Return labels, one mapping a row or a DataFrame, as column -> one value a row."""
    if isinstance(labels, list):
        return {name: tuple(row[name] for row in labels) for name in next(iter(labels), ())}
    return {name: tuple(values) for name, values in dict(labels).items()}


def lock(value: Any) -> None:
    """Make every array within a value read-only, through tuples, mappings and dataclasses; lists hold plain values."""
    if isinstance(value, str | int | float):
        return
    if isinstance(value, np.ndarray):
        value.setflags(write=False)
    elif isinstance(value, tuple):
        for item in value:
            # The labels of rows and levels are many, and plain.
            if not isinstance(item, str | int | float):
                lock(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            lock(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for item in fields(value):
            lock(getattr(value, item.name))


@dataclass(frozen=True)
class Sample:
    """What a fit rests on: rows, patients, visits per cohort and time, and every dropped row by its reason.

    Attributes
    ----------
    given, rows : int
        Rows in the frame, and rows used.
    dropped : mapping
        Reason -> number of rows.
    groups : mapping
        Grouping factor -> number of levels used.
    patients : mapping
        Cohort -> number of patients (empty where the model knows no cohort).
    seen : tuple
        (cohort, time, patients) for every visit; empty when times are irregular.
    added : int
        Rows made from a baseline column.

    Examples
    --------
    >>> from implstats import fit_growth, load_example
    >>> growth = fit_growth(load_example("reorganisation"), outcome="bsi", time="month", patient="patient",
    ...                     cohort="cohort", reference="before")
    >>> growth.sample.in_words()
    ['382 rows of 388 given; 144 patients', 'patients: before 76, during 68', 'dropped: 6 bsi missing']
    >>> growth.sample.visits().head(3)
       cohort  time   n
    0  before   0.0  76
    1  before  18.0  70
    2  before  36.0  62
    """

    given: int
    rows: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    groups: Mapping[str, int] = field(default_factory=dict)
    patients: Mapping[Hashable, int] = field(default_factory=dict)
    seen: tuple[tuple[Hashable, float, int], ...] = ()
    added: int = 0

    def visits(self) -> pd.DataFrame:
        """Return the patients seen per cohort and time."""
        return pd.DataFrame(list(self.seen), columns=["cohort", "time", "n"])

    def in_words(self) -> list[str]:
        """Return the sample as sentences for a header."""
        units = ", ".join(f"{k} {name}s" if k != 1 else f"1 {name}" for name, k in self.groups.items())
        first = f"{self.rows} rows of {self.given} given" if not self.added else f"{self.rows} rows"
        if self.added:
            first += f" ({self.given} given, {self.added} added from the baseline column)"
        lines = [first + (f"; {units}" if units else "")]
        if self.patients:
            lines.append("patients: " + ", ".join(f"{c} {k}" for c, k in self.patients.items()))
        lost = ", ".join(f"{k} {why}" for why, k in self.dropped.items() if k)
        lines.append(f"dropped: {lost}" if lost else "dropped: none")
        return lines


@dataclass(frozen=True, eq=False, repr=False)
class Estimates(Result):
    """Estimates with standard errors and degrees of freedom; intervals are computed when they are asked for.

    Attributes
    ----------
    title : str
        The question that the table answers, with the unit.
    labels : mapping of column to tuple (given as a DataFrame, or as one mapping a row)
        What each row is about.
    estimate, std_error, df : numpy.ndarray
        One value a row.
    notes : sequence of str
        What a reader must know, printed under the title.
    tests : bool
        Whether estimate = 0 is a question: adds statistic and p_value.
    level : float
        The level of the printed intervals.

    Examples
    --------
    >>> from implstats import fit_growth, load_example
    >>> growth = fit_growth(load_example("reorganisation"), outcome="bsi", better="lower", time="month",
    ...                     patient="patient", cohort="cohort", reference="before")
    >>> means = growth.means(at=36)
    >>> means.tidy(level=0.90)[["cohort", "time", "estimate", "conf_low", "conf_high"]].round(2)
       cohort  time  estimate  conf_low  conf_high
    0  before  36.0      1.37      1.27       1.46
    1  during  36.0      1.90      1.79       2.00
    """

    title: str
    labels: Any
    estimate: NDArray[np.float64]
    std_error: NDArray[np.float64]
    df: NDArray[np.float64]
    notes: Sequence[str] = ()
    tests: bool = False
    level: float = 0.95

    def __post_init__(self) -> None:
        for name in ("estimate", "std_error", "df"):
            object.__setattr__(self, name, frozen(getattr(self, name), float))
        object.__setattr__(self, "labels", by_column(self.labels))
        object.__setattr__(self, "call", dict(self.call))

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return one row an estimate, with intervals at `level` (default: the level asked for when it was made)."""
        low, high = intervals(self.estimate, self.std_error, self.df, self.level if level is None else level)
        columns = {**self.labels, "estimate": self.estimate, "std_error": self.std_error, "df": self.df}
        if self.tests:
            with np.errstate(divide="ignore", invalid="ignore"):
                statistic = self.estimate / self.std_error
            columns |= {"statistic": statistic, "p_value": p_values(statistic, self.df)}
        return pd.DataFrame({**columns, "conf_low": low, "conf_high": high})

    def header(self) -> list[str]:
        """Return the title and the notes."""
        return [f"{self.title} ({100 * self.level:.10g}% intervals)", *self.notes]
