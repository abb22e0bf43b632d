"""Growth models: how cohorts of patients change over time, and the general door to any mixed model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats._check import Faults
from implstats._core import residual as residuals
from implstats._core.structure import aliased
from implstats.design import GrowthDesign, growth_design, mixed_design
from implstats.design.course import random_columns
from implstats.design.growth import BETTER, RANDOM
from implstats.design.residual import RESIDUALS
from implstats.design.time import Linear, Log, Visits
from implstats.errors import ConvergenceError, DataError
from implstats.growth.fixed import METHODS, check_weights
from implstats.growth.interruption import Interrupted
from implstats.growth.models import MixedResult, blocks_of, fit_design, inference_of, warn_boundary
from implstats.growth.moderation import Moderated
from implstats.results import Estimates

__all__ = ["GrowthResult", "fit_growth", "fit_mixed", "growth_result"]

Floats = NDArray[np.float64]

MISSING = ("drop", "raise")
LACK_OF_FIT_TIMES = 12


@dataclass(frozen=True, eq=False, repr=False)
class GrowthResult(MixedResult, Interrupted, Moderated):
    """A fitted growth model: what every mixed model can say, and the questions about cohorts.

    Attributes
    ----------
    design : GrowthDesign
    better : {"lower", "higher"} or None
        Direction of improvement.
    """

    design: GrowthDesign
    better: str | None

    def model_variance(self) -> float:
        """Return the outcome's total variance at the baseline under the model; the mean over patients if it differs."""
        residual = self.fit.sigma2 * float(self.baseline_share() @ self.fit.ratios)
        return residual + sum(float(z @ G @ z) for z, G in zip(self.baseline_z(), self.fit.G, strict=True))

    def baseline_share(self) -> Floats:
        """Return what multiplies each stratum's variance in the mean residual variance at the baseline."""
        structure, start = self.design.noise.structure, self.design.t == self.baseline
        weight = np.bincount(structure.strata[start], 1 / structure.precision[start], len(self.fit.ratios))
        return np.asarray(weight / start.sum())

    def baseline_z(self) -> list[Floats]:
        """Return every random term's columns at the baseline."""
        start = np.array([self.baseline])
        return [random_columns(term.effects, self.design, start)[0] for term in self.design.terms]

    def _model_variance(self) -> tuple[float, float]:
        self.refuse_weights("sd='model'")
        return self.model_variance(), self._inference.variance_of(self.baseline_z(), self._uncertain_share())

    def _uncertain_share(self) -> Floats:
        return np.append(self.baseline_share(), np.zeros(int(bool(self.fit.rho))))

    def trends(self, at: Any = None, *, level: float = 0.95, df: str = "auto") -> Estimates:
        """Return every cohort's slope per unit of time, and its difference from the reference.

        Parameters
        ----------
        at : time or list of times, optional
            Where a curve's slope is taken; a straight line has one. By default the baseline.
        level, df
            As for `means`.

        Raises
        ------
        DataError
            For visits as categories, which have no slope.
        """
        design = self.design
        if isinstance(design.shape, Visits):
            raise DataError("shape='visits': categories have no slope; ask contrasts(), or fit shape='linear'")
        times = [design.baseline] if at is None else _check.at(at)
        design.seen_at(times, "at", range(len(self.cohorts)))
        times = times[:1] if isinstance(design.shape, Linear) else times
        step = 1e-5 * (self.time_range[1] - self.time_range[0])
        step = min(step, 0.1 * design.shape.h) if isinstance(design.shape, Log) else step
        after, before = np.array(times) + step, np.array(times) - step

        def slopes(cohort: int) -> Floats:
            rise = self._mean_rows(cohort, after.tolist()) - self._mean_rows(cohort, before.tolist())
            return np.asarray(rise / (after - before)[:, None])

        labels, rows = [], []
        for c, name in enumerate(self.cohorts):
            labels += [
                {"quantity": "slope", "cohort": name, "reference": self.reference, "time": t}
                | {"extrapolated": self.extrapolated(c, t)}
                for t in times
            ]
            rows.append(slopes(c))
        for c, name in enumerate(self.cohorts[1:], start=1):
            labels += [
                {"quantity": "difference", "cohort": name, "reference": self.reference, "time": t}
                | {"extrapolated": self.extrapolated(c, t) or self.extrapolated(0, t)}
                for t in times
            ]
            rows.append(slopes(c) - slopes(0))
        title = f"Slope of {self.outcome} per unit of {self.time}"
        return self._estimates(title, labels, np.vstack(rows), df, level, tests=True)

    @cached_property
    def straightness(self) -> str:
        """How straight lines fare against visits as categories, in words; empty for any other shape."""
        design = self.design
        if not isinstance(design.shape, Linear) or self._weighted:
            return ""
        if not 2 < len(design.times) <= LACK_OF_FIT_TIMES:
            few = len(design.times) == 2
            return "two visits lie on a line" if few else "the line is not tested: too many distinct times for visits"
        inner = design.times[1:-1]
        extra = [design.t == v for v in inner]
        columns = [e & (design.cohort_codes == c) for e in extra for c in range(len(self.cohorts))]
        X = np.column_stack([design.X, *(c.astype(float) for c in columns)])
        kept = [j for j in range(X.shape[1]) if j not in aliased(X)]
        rows, X = np.eye(len(kept))[design.X.shape[1] :], X[:, kept]
        try:
            problem, fit = residuals.fit(design.y, X, blocks_of(design), design.noise.structure, reml=self.fit.reml)
            inference = inference_of(design, X, problem, fit)
            statistic, numerator, denominator, _ = inference.joint(fit.beta, rows, "satterthwaite")
        except (ValueError, ConvergenceError, np.linalg.LinAlgError):
            return "the line is not tested: the model with visits as categories could not be judged"
        if not denominator > 0:
            return "the line is not tested: there are too few patients"
        p_value = float(special.fdtrc(numerator, denominator, statistic))
        p = "< .001" if p_value < 0.001 else f"= {p_value:.3f}"
        return (
            f"straight lines against visits as categories: F({numerator}, {denominator:.1f}) = "
            f"{statistic:.2f}, p {p}; a small p speaks against lines, a large one does not prove them"
        )

    def header(self) -> list[str]:
        """Return model, sample, time, how the fit ended, and the choices that were made."""
        head, *rest = super().header()
        lines = [head.replace("Mixed model", "Growth model", 1), *rest[:-1], self.times_in_words(), rest[-1]]
        return [*lines, *(n for n in (*self.design.notes, self._asked_apart(), self.straightness) if n)]

    def _asked_apart(self) -> str:
        """Return which questions beside those about cohorts the model answers."""
        design, said = self.design, []
        if design.moderators is not None:
            said.append("moderation() has what a point of a score changes")
        if design.interruption is not None:
            said.append("interruption() has the level and slope that begin with it")
        return "; ".join(said)


def growth_result(design: GrowthDesign, better: str | None, method: str, call: dict[str, Any]) -> GrowthResult:
    """Return the fit of a design, without a warning of its boundary."""
    problem, fit = fit_design(design, method)
    return GrowthResult(call, design, problem, fit, better)


def fit_growth(
    frame: pd.DataFrame,
    *,
    outcome: str,
    time: str,
    patient: str,
    cohort: str | None = None,
    reference: Any = None,
    baseline: float | str = 0,
    better: str | None = None,
    shape: Any = "auto",
    adjust: str | Sequence[str] | None = None,
    random: str = "slope",
    groups: str | Sequence[str] | None = None,
    residual: str = "iid",
    precision: str | None = None,
    patient_weights: str | None = None,
    interruption: str | None = None,
    moderators: str | Sequence[str] | None = None,
    method: str = "reml",
    missing: str = "drop",
    time_unit: str | None = None,
) -> GrowthResult:
    """Do cohorts of patients change differently over time, and by how much?

    Fits y = X b + Z u + e with time x cohort as fixed effects, patients as random effects, by REML or ML. Kenward and
    Roger's adjustment counts the second derivatives of AR(1), their R_jk; elsewhere V is linear and R_jk is zero.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per patient and visit.
    outcome, time, patient, cohort : str
        Columns. Time is a number in the user's unit, or a date (see `time_unit`).
        The cohort can be left out with `interruption=` or `moderators=`: then all patients are on one course.
    reference : value of the cohort column
        The cohort that the others are compared with.
    baseline : float or str
        Time that change is counted from; or a column with the value before treatment, which becomes the visit at 0.
    better : {"lower", "higher"}, optional
        Direction of improvement; effect sizes and improvement retained ask for it.
    shape : {"auto", "linear", "quadratic", "log", "visits"}, Piecewise or NaturalSpline
        The course over time, one for every cohort; "auto": visits as categories up to four fixed times (a baseline
        column not counted), else linear.
    adjust : list of columns, or patsy right-hand side, optional
        Covariates of the level, alike at all times: how cohorts differ in change they leave as it is, for which there
        are `moderators=` or `patient_weights=`.
    random : {"slope", "intercept", "uncorrelated"}
        What varies between patients; the slope is on time (on log(1 + t/h) under shape="log").
    groups : column or list of columns, optional
        Random intercepts beside the patient's (site, therapist). Where three or more hold several cohorts, each also
        has its own change, and its own cohort difference in change.
    residual : {"iid", "by_cohort", "by_visit", "ar1"}
        Alike and independent; a variance for every cohort, or every visit; or a correlation that falls with the time
        between two visits of a patient, rho ** (gap / step), the step being the smallest gap (the median one, if the
        longest is 1,000 times as long): continuous-time AR(1). Patients' own levels and slopes keep one covariance;
        where cohorts differ in these too, `fit_mmrm(by_cohort=True)`.
    precision : str, optional
        Column with the known precision of each row: its residual variance is sigma^2 / precision (the number of
        ratings that a mean is of). Not for propensity weights, which weigh patients.
    patient_weights : str, optional
        Column with one positive weight per patient, which multiplies the patient's log-likelihood; `propensity_weights`
        makes them. Needs method="ml"; standard errors are the sandwich over patients, with normal intervals, and take
        the weights as known. Their scale does not matter. Not for precisions, which weigh rows.
    interruption : str, optional
        Column with the time at which circumstances changed for the patient, counted as `time` is (a date, if `time` is
        one), the same in all rows of a patient, missing for never: `assign_cohorts(...).change_time`. Adds a level from
        then on and a slope since then, which `interruption()` returns; every other answer is about the course without
        the change. At or before the baseline the whole treatment came after it: with `cohort=` such patients are a
        cohort of their own, whose effects say how they differ; without, level and slope are theirs too, the slope
        counted from the baseline.
    moderators : column or list of columns, optional
        Scores on which change may depend, one value a patient: the rating of a programme's adherence, say
        (`RatingProfile.exposure`). Each adds itself and its product with time, the same in all cohorts; `moderation()`
        has what a point of it changes. Every other answer holds scores at their mean over patients. Name the column of
        what was rated in `groups=`: errors are then between these, each with its own change.
    method : {"reml", "ml"}
    missing : {"drop", "raise"}
        Rows with a missing outcome, time or covariate are dropped and counted, or an error.
    time_unit : {"days", "weeks", "months", "years"}, optional
        Reads a date column as time since each patient's first visit; a month has 30.4375 days.

    Returns
    -------
    GrowthResult

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question, all faults together.
    ConvergenceError
        No certified optimum; carries the record.

    Notes
    -----
    Likelihood methods hold under drop-out that depends on what was observed (missing at random). Cohorts that follow
    each other differ in calendar time, referral and staff as well: the model cannot separate these. An interruption
    compares patients with themselves: what else came at the same time is in its level and slope too, and so is a bend
    of the course that `shape=` leaves out. Programmes that were rated differently differ in other things as well: what
    goes with a score need not come from it.

    References
    ----------
    Laird & Ware 1982, DOI 10.2307/2529876; Bates et al. 2015, DOI 10.18637/jss.v067.i01; of the residuals: Pinheiro &
    Bates 2000, DOI 10.1007/b98882; interrupted time series: Wagner et al. 2002, DOI
    10.1046/j.1365-2710.2002.00430.x.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> growth = ist.fit_growth(visits, outcome="bsi", time="month", patient="patient", cohort="cohort",
    ...                         reference="before", better="lower")
    >>> growth.formula
    'bsi ~ factor(month) * cohort + (1 + month | patient)'

    Does change depend on age? In units of the outcome, up to month 36:

    >>> growth = ist.fit_growth(visits, outcome="bsi", time="month", patient="patient", cohort="cohort",
    ...                         reference="before", shape="linear", moderators="age")
    >>> growth.moderation(at=[36]).tidy().round(3)[["moderator", "quantity", "estimate", "std_error"]]
      moderator   quantity  estimate  std_error
    0       age  per point    -0.003      0.004
    1       age     per sd    -0.028      0.043
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    faults = Faults()
    if better is not None:
        faults.ask(_check.one_of, "better", better, BETTER)
    for argument, value, allowed in (
        ("random", random, RANDOM),
        ("residual", residual, RESIDUALS),
        ("method", method, METHODS),
        ("missing", missing, MISSING),
    ):
        faults.ask(_check.one_of, argument, value, allowed)
    check_weights(patient_weights, method, faults)
    plain = {"groups": (groups, None), "residual": (residual, "iid"), "precision": (precision, None)}
    for argument, (given, usual) in plain.items() if patient_weights is not None else ():
        if given != usual:
            remedy = f"leave {argument}= out, or fit_mmrm with patient_weights="
            faults.add(argument, given, "not with patient_weights=", remedy)
    design = growth_design(
        frame,
        faults=faults,
        outcome=outcome,
        time=time,
        patient=patient,
        cohort=cohort,
        reference=reference,
        baseline=baseline,
        shape=shape,
        adjust=adjust,
        random=random,
        groups=groups,
        missing=missing,
        time_unit=time_unit,
        residual=residual,
        precision=precision,
        patient_weights=patient_weights,
        interruption=interruption,
        moderators=moderators,
    )
    result = growth_result(design, better, method, call)
    warn_boundary(result)
    return result


def fit_mixed(
    frame: pd.DataFrame,
    *,
    formula: str,
    residual: str = "iid",
    precision: str | None = None,
    method: str = "reml",
    missing: str = "drop",
) -> MixedResult:
    """What does any linear mixed model say, written in lme4's syntax?

    Parameters
    ----------
    frame : pandas.DataFrame
    formula : str
        `y ~ x * z + (1 + x | g)`; `(x || g)` for no correlation, `(1 | a/b)` for b within a, several factors nested
        or crossed. The fixed part takes columns, numbers, `+ : * ** -` and C, bs, cr, cc, center, standardize, log,
        sqrt, exp, I, Q.
    residual : str
        "iid"; "by(column)", a variance for every level of a column; or "ar1(time | group)", a correlation that falls
        with the time between two rows of a group, rho ** (gap / step), the step being the smallest gap (the median
        one, if the longest is 1,000 times as long).
    precision : str, optional
        Column with the known precision of each row: its residual variance is sigma^2 / precision.
    method : {"reml", "ml"}
    missing : {"drop", "raise"}
        Rows with a missing value in a column of the formula are dropped and counted, or an error.

    Returns
    -------
    MixedResult

    Raises
    ------
    DataError
        Formula or data that cannot be fitted, all faults together.
    ConvergenceError
        No certified optimum; carries the record.

    References
    ----------
    Bates et al. 2015, DOI 10.18637/jss.v067.i01.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> fit = ist.fit_mixed(visits, formula="bsi ~ month * cohort + (1 + month | patient)")
    >>> list(fit.params.index)
    ['(Intercept)', 'month', 'cohort[during]', 'month:cohort[during]']
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    faults = Faults()
    faults.ask(_check.one_of, "method", method, METHODS)
    faults.ask(_check.one_of, "missing", missing, MISSING)
    faults.settle()
    design = mixed_design(frame, formula, missing, residual, precision)
    problem, fit = fit_design(design, method)
    result = MixedResult(call, design, problem, fit)
    warn_boundary(result)
    return result
