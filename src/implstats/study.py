"""The main job: several outcomes of the same cohorts, compared at once, and said in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats.design.growth import BETTER
from implstats.errors import ConvergenceError, DataError
from implstats.growth.answers import SDS
from implstats.growth.fit import MISSING, GrowthResult, growth_design, growth_result
from implstats.growth.models import DF
from implstats.results import Result, frozen

__all__ = ["CohortComparison", "Overall", "compare_cohorts"]

Floats = NDArray[np.float64]

CORRECTIONS = ("holm", "bonferroni", "fdr_bh", "none")
WORSE, NOT_WORSE, UNKNOWN = "worse by more than the margin", "not worse by more than the margin", "cannot tell"


@dataclass(frozen=True, eq=False, repr=False)
class Overall(Result):
    """The mean standardised improvement over the outcomes, per cohort, and the ratio of those means.

    Attributes
    ----------
    labels : mapping of column to tuple
        quantity, cohort, reference, time of each row.
    estimate : numpy.ndarray
        One value a row.
    draws : numpy.ndarray
        (draws, rows) the same in draws of patients.
    failed : int
        Draws that could not be fitted.
    outcomes : tuple of str
    level : float
    """

    labels: Mapping[str, tuple[Any, ...]]
    estimate: Floats
    draws: Floats
    failed: int
    outcomes: tuple[str, ...]
    level: float

    def __post_init__(self) -> None:
        for name in ("estimate", "draws"):
            object.__setattr__(self, name, frozen(getattr(self, name), float))

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a quantity, cohort and time, with percentile intervals."""
        tail = (1 - (self.level if level is None else _check.level(level))) / 2
        out = pd.DataFrame(self.labels)
        out["estimate"] = self.estimate
        out["conf_low"], out["conf_high"] = np.quantile(self.draws, [tail, 1 - tail], axis=0)
        return out

    def header(self) -> list[str]:
        """Return what is averaged, and how the intervals were made."""
        lost = f" ({self.failed} more could not be fitted)" if self.failed else ""
        lines = [
            f"Mean standardised improvement over {', '.join(self.outcomes)}, and the share of the reference's that is retained",
            f"{100 * self.level:.10g}% percentile intervals from {len(self.draws)} draws of patients within cohorts{lost}",
        ]
        reference = [
            k for k, (q, c) in enumerate(zip(self.labels["quantity"], self.labels["cohort"], strict=True))
            if q == "d" and c == self.labels["reference"][k]
        ]
        none = int((self.draws[:, reference] <= 0).any(axis=1).sum())
        if none:
            lines.append(f"in {none} draws the reference did not improve; there the share retained has no meaning")
        return lines


@dataclass(frozen=True, eq=False, repr=False)
class CohortComparison(Result):
    """Several outcomes of the same cohorts: effect sizes, their difference, and the improvement retained.

    Attributes
    ----------
    fits : mapping of outcome to GrowthResult
        Those that could be fitted.
    errors : mapping of outcome to str
        Why the others could not.
    outcomes : mapping of outcome to {"lower", "higher"}
    at : list of float
        The times that are compared, in the unit of the time column.
    margin : float or None
        In SDs: the difference in d that would matter.
    correction, sd, df, level
        As in `compare_cohorts`.
    """

    fits: Mapping[str, GrowthResult]
    errors: Mapping[str, str]
    outcomes: Mapping[str, str]
    at: Sequence[float]
    margin: float | None
    correction: str
    sd: str | float
    df: str
    level: float
    time: str = field(default="")

    @property
    def _first(self) -> GrowthResult:
        return next(iter(self.fits.values()))

    @property
    def reference(self) -> Any:
        """The cohort that the others are compared with."""
        return self._first.reference

    @property
    def cohorts(self) -> tuple[Any, ...]:
        """The cohorts, the reference first."""
        return self._first.cohorts

    @cached_property
    def _answers(self) -> dict[str, Any]:
        made = {}
        for name, fit in self.fits.items():
            at, df = list(self.at), self.df
            made[name] = {
                "means": fit.means([fit.baseline, *at], df=df),
                "changes": fit.changes(at, df=df),
                "contrasts": fit.contrasts(at, df=df),
                "d": fit.effect_sizes(at, sd=self.sd, df=df),
                "retained": fit.retained_improvement(at, df=df),
            }
        return made

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
            for cohort in self.cohorts[1:]:
                rows += [head | self._row(name, tables, cohort, t, level) for t in self.at]
        out = pd.DataFrame(rows)
        out["error"] = out["error"].fillna("") if "error" in out else ""
        out["p_corrected"] = self._corrected(out["p_value"]) if "p_value" in out else np.nan
        order = [c for c in _ORDER if c in out.columns]
        return out[order]

    def _row(self, name: str, tables: Mapping[str, pd.DataFrame], cohort: Any, t: float, level: float) -> dict[str, Any]:
        fit = self.fits[name]

        def one(table: str, **where: Any) -> pd.Series:
            frame = tables[table]
            for column, value in where.items():
                frame = frame[frame[column] == value]
            return frame.iloc[0]

        row: dict[str, Any] = {"time": t, "cohort": cohort, "reference": self.reference}
        for who, suffix in ((cohort, ""), (self.reference, "_reference")):
            start, then = (one("means", cohort=who, time=v) for v in (fit.baseline, t))
            change, d = one("changes", cohort=who, time=t), one("d", quantity="d", cohort=who, time=t)
            row |= {
                f"n{suffix}": int(then["n"]),
                f"baseline_mean{suffix}": start["estimate"],
                f"baseline_se{suffix}": start["std_error"],
                f"mean{suffix}": then["estimate"],
                f"mean_se{suffix}": then["std_error"],
            }
            for word, found in (("change", change), ("d", d)):
                row |= {
                    f"{word}{suffix}": found["estimate"],
                    f"{word}{suffix}_low": found["conf_low"],
                    f"{word}{suffix}_high": found["conf_high"],
                }
        gap = one("d", quantity="difference", cohort=cohort, time=t)
        kept = one("retained", cohort=cohort, time=t)
        row |= {
            "d_difference": gap["estimate"],
            "d_difference_low": gap["conf_low"],
            "d_difference_high": gap["conf_high"],
            "p_value": one("contrasts", quantity="change", cohort=cohort, time=t)["p_value"],
            "retained": kept["estimate"],
            "retained_low": kept["conf_low"],
            "retained_high": kept["conf_high"],
            "retained_set": kept["set"],
            "sd": one("d", quantity="d", cohort=cohort, time=t)["sd"],
            "sd_source": gap["sd_source"],
        }
        if self.margin is not None:
            row["against_margin"] = _against(gap["conf_low"], gap["conf_high"], self.margin)
        return row

    def _corrected(self, p: pd.Series) -> Floats:
        given = p.to_numpy(dtype=float)
        out = given.copy()
        known = np.isfinite(given)
        if self.correction != "none" and known.any():
            from statsmodels.stats.multitest import multipletests

            out[known] = multipletests(given[known], method=self.correction)[1]
        return out

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
        fitted again; intervals are percentiles of the draws.

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
        from implstats.growth.bootstrap import effect_size_draws

        times = list(self.at) if at is None else _check.at(at)
        _check.whole("draws", draws, least=20, remedy="999 is a good number")
        level = self.level if level is None else _check.level(level)
        found, failed = effect_size_draws(self.fits, times, self.sd, draws, np.random.default_rng(rng))
        if len(found) < draws / 2:
            raise ConvergenceError(f"overall: {failed} of {draws} draws could not be fitted; ask the outcomes one by one")
        point = np.zeros((len(self.cohorts), len(times)))
        for fit in self.fits.values():
            table = fit.effect_sizes(times, sd=self.sd, df="normal").tidy()
            point += table.loc[table["quantity"] == "d", "estimate"].to_numpy().reshape(point.shape) / len(self.fits)
        mean = found.mean(axis=1)
        labels, estimate, drawn = [], [], []
        for c, cohort in enumerate(self.cohorts):
            for k, t in enumerate(times):
                labels.append({"quantity": "d", "cohort": cohort, "reference": self.reference, "time": t})
                estimate.append(point[c, k])
                drawn.append(mean[:, c, k])
        for c, cohort in enumerate(self.cohorts[1:], start=1):
            for k, t in enumerate(times):
                labels.append({"quantity": "retained", "cohort": cohort, "reference": self.reference, "time": t})
                estimate.append(point[c, k] / point[0, k])
                drawn.append(mean[:, c, k] / mean[:, 0, k])
        call = {"at": times, "draws": draws, "rng": rng if isinstance(rng, int) else None, "level": level}
        columns = {c: tuple(row[c] for row in labels) for c in labels[0]}
        return Overall(call, columns, np.array(estimate), np.column_stack(drawn), failed, tuple(self.fits), level)

    def in_words(self, labels: Mapping[str, str] | None = None) -> list[str]:
        """Return the answer in plain sentences: three for the last time, then what the other times say.

        Parameters
        ----------
        labels : mapping, optional
            Words to use in place of outcome, time and cohort names.
        """
        table = self.tidy()
        say = _Words(labels or {}, self.time, self.level, self.margin)
        said = []
        for cohort in self.cohorts[1:]:
            for t in sorted(self.at, reverse=True):
                found = table[(table["time"] == t) & (table["cohort"] == cohort)].to_dict("records")
                said += say.answer(found, first=t == max(self.at))
        said += [f"{say(name)} could not be analysed: {why}" for name, why in self.errors.items()]
        return said

    def cannot_say(self, labels: Mapping[str, str] | None = None) -> list[str]:
        """Return what this design cannot separate, whatever the numbers."""
        say = _Words(labels or {}, self.time, self.level)
        names = ", ".join(say(c) for c in self.cohorts)
        clusters = [t.group for t in self._first.design.terms if t.group != str(self._first.patient)]
        said = [
            f"Patients were not assigned to {names} by chance. Cohorts that follow each other differ in calendar time, "
            "referral and staff as well as in the organisation; the difference may come from any of these.",
            "No group went untreated, so the improvement retained counts change that would have happened without "
            "treatment in both cohorts.",
            "Patients who stopped coming are represented by those who were alike on what had been observed. If the ones "
            "who left did worse for reasons that were not observed, the improvements are too large.",
        ]
        if not clusters:
            said.append(
                "The analysis sees one place: it cannot tell this organisation's change from what would be found elsewhere."
            )
        said += [f"{note[0].upper()}{note[1:]}." for note in dict.fromkeys(n for f in self.fits.values() for n in f.design.notes)]
        return said

    def methods(self, labels: Mapping[str, str] | None = None) -> str:
        """Return a paragraph for a methods section."""
        from implstats import __version__

        say, fit = _Words(labels or {}, self.time, self.level), self._first
        shape = "visits as categories" if fit.design.shape.word == "visits" else f"{fit.design.shape.word} time"
        sd = {
            "baseline": "standard deviation observed at the baseline, pooled over cohorts",
            "reference": f"baseline standard deviation of {say(self.reference)}",
            "own": "cohort's own baseline standard deviation",
            "model": "model's standard deviation at the baseline",
        }.get(str(self.sd), f"standard deviation {self.sd}")
        df = {"satterthwaite": "Satterthwaite's", "kenward-roger": "Kenward and Roger's", "normal": "no (normal)"}[self.df]
        formulas = "; ".join(f.formula for f in self.fits.values())
        corrected = "were not corrected" if self.correction == "none" else f"were corrected over outcomes and times ({self.correction})"
        baseline = f"{say(self.time)} {_check.show(fit.baseline)}"
        if fit.design.sample.added:
            baseline += f" (column {_check.show(fit.call.get('baseline'))})"
        return (
            f"Each outcome was analysed with a linear mixed model, {shape} by cohort as fixed effects and patients as "
            f"random effects, fitted by restricted maximum likelihood ({formulas}). Change was counted from {baseline}; d is the "
            f"change divided by the {sd}, positive where patients improved, and its interval counts the uncertainty of "
            f"that standard deviation. Intervals are {100 * self.level:.10g}% with {df} degrees of freedom. Improvement "
            f"retained is the change of a cohort divided by that of {say(self.reference)}, with Fieller's confidence set. "
            f"P-values of the difference in change {corrected}. Rows with missing values were left out, which is valid "
            f"if they are missing at random given what was observed. Computed with implstats {__version__}."
        )

    def header(self) -> list[str]:
        """Return what was compared, on whom, and how each fit ended."""
        fit = self._first
        counts = ", ".join(f"{c} {k}" for c, k in fit.sample.patients.items())
        start = f"{self.time} {_check.show(fit.baseline)}"
        if fit.design.sample.added:
            start += f" (column {_check.show(fit.call.get('baseline'))})"
        lines = [
            f"{', '.join(map(str, self.cohorts[1:]))} against {self.reference}: improvement since {start} in "
            f"{', '.join(self.outcomes)}, positive is better",
            f"patients: {counts}; intervals {100 * self.level:.10g}%; p of the difference in change, corrected: {self.correction}",
        ]
        for name, one in self.fits.items():
            end = "; ".join(one.boundary)
            lines.append(f"{name} ({self.outcomes[name]} is better): {one.formula}; {one.convergence.message}" + (f": {end}" if end else ""))
        lines += [f"{name}: {why}" for name, why in self.errors.items()]
        return lines

    def _shown(self) -> pd.DataFrame:
        keep = ["outcome", "time", "cohort", "d_reference", "d", "d_difference", "d_difference_low", "d_difference_high"]
        keep += ["retained", "retained_low", "retained_high", "retained_set", "p_corrected", "against_margin"]
        table = self.tidy()
        return table[[c for c in keep if c in table.columns]]

    def _tables(self) -> dict[str, pd.DataFrame]:
        return {"tidy": self.tidy(), "glance": self.glance(), "sample": self.sample_table()}


_ORDER = (
    "outcome better time cohort reference n n_reference baseline_mean baseline_se baseline_mean_reference "
    "baseline_se_reference mean mean_se mean_reference mean_se_reference change change_low change_high "
    "change_reference change_reference_low change_reference_high d d_low d_high d_reference d_reference_low "
    "d_reference_high d_difference d_difference_low d_difference_high p_value p_corrected retained retained_low "
    "retained_high retained_set sd sd_source against_margin error"
).split()


def _against(low: float, high: float, margin: float) -> str:
    if high < -margin:
        return WORSE
    return NOT_WORSE if low > -margin else UNKNOWN


@dataclass(frozen=True)
class _Words:
    """Sentences about the rows of one cohort and time."""

    labels: Mapping[str, str]
    time: str
    level: float
    margin: float | None = None

    @property
    def interval(self) -> str:
        return f"{100 * self.level:.10g}% interval"

    def __call__(self, name: Any) -> str:
        return self.labels.get(str(name), str(name))

    def answer(self, rows: Sequence[Mapping[str, Any]], *, first: bool) -> list[str]:
        if not rows:
            return []
        cohort, reference = (f"cohort {self(rows[0][k])}" for k in ("cohort", "reference"))
        when = f"{self(self.time)} {_check.show(rows[0]['time'])}"
        sizes = [_joined(f"{r[k]:.2f} SD in {self(r['outcome'])}" for r in rows) for k in ("d_reference", "d")]
        gaps = _joined(
            f"{r['d_difference']:.2f} SD in {self(r['outcome'])} "
            f"({self.interval} {r['d_difference_low']:.2f} to {r['d_difference_high']:.2f})"
            for r in rows
        )
        kept = _joined(self._kept(r) for r in rows)
        said = [f"At {when}, {reference} had improved by {sizes[0]}; {cohort} by {sizes[1]}."]
        if first:
            said.append(f"The difference ({cohort} minus {reference}; below zero is less improvement) is {gaps}.")
        said.append(f"C{cohort[1:]} kept {kept} of the improvement of {reference}.")
        if self.margin is not None:
            verdicts = "; ".join(f"{self(r['outcome'])}: {r['against_margin']}" for r in rows)
            said.append(f"Against a margin of {self.margin:g} SD: {verdicts}.")
        return said

    def _kept(self, row: Mapping[str, Any]) -> str:
        name = self(row["outcome"])
        if row["change_reference"] <= 0:
            return f"no share that can be named in {name} (the reference did not improve)"
        share, low, high = (100 * row[k] for k in ("retained", "retained_low", "retained_high"))
        if row["retained_set"] == "bounded":
            return f"{share:.0f} % in {name} ({self.interval} {low:.0f} % to {high:.0f} %)"
        if row["retained_set"] == "outside":
            return f"{share:.0f} % in {name} (not bounded: only {low:.0f} % to {high:.0f} % is excluded)"
        return f"{share:.0f} % in {name} (not bounded: no value is excluded)"


def _joined(parts: Any) -> str:
    listed = list(parts)
    return listed[0] if len(listed) == 1 else f"{', '.join(listed[:-1])} and {listed[-1]}"


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
    adjust: str | Sequence[str] | None = None,
    groups: str | Sequence[str] | None = None,
    margin: float | None = None,
    correction: str = "holm",
    sd: str | float = "baseline",
    df: str = "satterthwaite",
    level: float = 0.95,
    missing: str = "drop",
    time_unit: str | None = None,
) -> CohortComparison:
    """How much less well did a treatment work for the cohorts that were treated under other circumstances?

    Fits one growth model an outcome, visits as categories with a random slope up to four fixed times, else linear.

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
    adjust : list of columns, or patsy right-hand side, optional
    groups : column or list of columns, optional
        Random effects beside the patient's (site, therapist).
    margin : float, optional
        Difference in d, in SDs, beyond which less improvement matters; adds where the interval lies against it.
    correction : {"holm", "bonferroni", "fdr_bh", "none"}
        Of the p-values of the difference in change, over outcomes, times and cohorts.
    sd : {"baseline", "reference", "own", "model"} or float
        What d is divided by.
    df : {"satterthwaite", "kenward-roger", "normal"}
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
        Arguments that name nothing, or no outcome that can be fitted.

    Notes
    -----
    With no untreated group, the improvement retained is a ratio of changes, not of treatment effects.

    References
    ----------
    Bales et al. 2017, DOI 10.1002/pmh.1381; Feingold 2009, DOI 10.1037/a0014699.

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
    3    sipp  36.0          1.4  0.7
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    _check.frame(frame)
    faults = Faults()
    _check.columns(frame, faults, time=time, patient=patient, cohort=cohort)
    if not isinstance(outcomes, Mapping) or not outcomes:
        faults.add("outcomes", outcomes, "no outcome with its direction", "write outcomes={'bsi': 'lower'}")
    else:
        for name, better in outcomes.items():
            _check.columns(frame, faults, outcomes=name)
            if better not in BETTER:
                faults.add("outcomes", {name: better}, "not a direction", "say 'lower' or 'higher', whichever is better")
    for argument, value, allowed in (("correction", correction, CORRECTIONS), ("df", df, DF), ("missing", missing, MISSING)):
        try:
            _check.one_of(argument, value, allowed)
        except DataError as error:
            faults.take(error)
    faults.settle()
    if isinstance(sd, str):
        _check.one_of("sd", sd, SDS)
    else:
        _check.number("sd", sd, above=0)
    if margin is not None:
        _check.number("margin", margin, above=0, remedy="it is the size of a difference in d")
    times = _check.at(at)
    _check.level(level)
    fits: dict[str, GrowthResult] = {}
    errors: dict[str, str] = {}
    for name, better in outcomes.items():
        try:
            fit = _fit_one(
                frame, name, better, call, time, patient, cohort, reference, baseline, adjust, groups, missing, time_unit
            )
            fit.effect_sizes(times, sd=sd, df=df)
            fits[name] = fit
        except (DataError, ConvergenceError) as error:
            errors[name] = str(error)
    if not fits:
        raise DataError("\n".join(dict.fromkeys(errors.values())))
    return CohortComparison(
        call, fits, errors, dict(outcomes), times, margin, correction, sd, df, level, str(time)
    )


def _fit_one(
    frame: pd.DataFrame,
    outcome: str,
    better: str,
    call: Mapping[str, Any],
    time: str,
    patient: str,
    cohort: str,
    reference: Any,
    baseline: Any,
    adjust: Any,
    groups: Any,
    missing: str,
    time_unit: str | None,
) -> GrowthResult:
    visits = frame.loc[frame[outcome].notna(), patient].value_counts().max() + isinstance(baseline, str)
    design = growth_design(
        frame,
        outcome=outcome,
        time=time,
        patient=patient,
        cohort=cohort,
        reference=reference,
        baseline=baseline,
        shape="auto",
        adjust=adjust,
        random="slope" if visits > 2 else "intercept",
        groups=groups,
        missing=missing,
        time_unit=time_unit,
    )
    return growth_result(design, better, "reml", dict(call) | {"outcome": outcome, "better": better})
