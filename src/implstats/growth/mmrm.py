"""MMRM: a mean for every cohort and visit, and a covariance of the visits in place of random effects."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats._core import marginal
from implstats._core.covariance import STRUCTURES
from implstats._core.explicit import infer_marginal
from implstats._core.inference import Inference
from implstats._core.marginal import ByVisit, MarginalFit, Patterns, complex_step
from implstats._core.weighted import of_rows, robust_marginal
from implstats.design import GrowthDesign, growth_design
from implstats.design.growth import BETTER
from implstats.errors import ConvergenceError, DataError
from implstats.growth.cohorts import CohortModel
from implstats.growth.fixed import METHODS, check_weights
from implstats.growth.models import PERFECT, check_design
from implstats.results import frozen, intervals, lock

__all__ = ["COVARIANCES", "MMRMResult", "fit_mmrm", "mmrm_design", "mmrm_result"]

Floats = NDArray[np.float64]

COVARIANCES = tuple(STRUCTURES)
MISSING = ("drop", "raise")
SMALL_SD = 1e-4
VARIANCE_BY_VISIT = ("unstructured", "heterogeneous-ar1")
MOST_ROWS = 5_000
# As the R package mmrm abbreviates them.
_SHORT = {
    "unstructured": "us",
    "toeplitz": "toep",
    "ar1": "ar1",
    "compound-symmetry": "cs",
    "heterogeneous-ar1": "ar1h",
}
_WORDS = {
    "unstructured": "unstructured (a variance for every visit, a correlation for every pair)",
    "toeplitz": "Toeplitz (one variance, a correlation for every distance in visits)",
    "ar1": "AR(1) (one variance, correlations that are powers of the distance in visits)",
    "compound-symmetry": "compound symmetry (one variance, one correlation)",
    "heterogeneous-ar1": "heterogeneous AR(1) (a variance for every visit, correlations as AR(1))",
}


@dataclass(frozen=True, eq=False, repr=False)
class MMRMResult(CohortModel):
    """A fitted MMRM: cohort means at every visit, the covariance of the visits, and the questions about cohorts.

    Attributes
    ----------
    design : GrowthDesign
        The arrays that were fitted; never the user's frame.
    patterns : Patterns
        The sufficient statistics.
    fit : MarginalFit
        The optimum.
    covariance_word : str
        The covariance's structure.
    by_cohort : bool
        Whether every cohort has a covariance of its own.
    better : {"lower", "higher"} or None
        Direction of improvement.
    """

    design: GrowthDesign
    patterns: Patterns
    fit: MarginalFit
    covariance_word: str
    by_cohort: bool
    better: str | None

    def __post_init__(self) -> None:
        lock((self.design, self.patterns, self.fit))

    def structure(self) -> ByVisit:
        """How the parameters make the covariance of every pattern of visits."""
        return _structure(self.design, self.covariance_word, self.by_cohort)[0]

    @cached_property
    def _inference(self) -> Inference:
        return infer_marginal(self.patterns, self.structure(), self.fit)

    @property
    def sigmas(self) -> Floats:
        """The covariance of the visits (1 or cohorts, visits, visits), in squared units of the outcome."""
        return frozen(np.asarray(self.structure().sigmas(self.fit.phi)) * self.patterns.scale**2)

    @property
    def _names(self) -> tuple[Any, ...]:
        return self.cohorts if self.by_cohort else ("",)

    def covariance(self) -> pd.DataFrame:
        """Return the covariance and correlation of every two visits, one row a pair (and cohort, if they differ)."""
        times, rows = self.design.times, []
        for name, sigma in zip(self._names, self.sigmas, strict=True):
            sd = np.sqrt(np.diag(sigma))
            for j, t in enumerate(times):
                rows += [(name, t, other, sigma[j, k], sigma[j, k] / (sd[j] * sd[k])) for k, other in enumerate(times)]
        return pd.DataFrame(rows, columns=["cohort", "time", "other", "covariance", "correlation"])

    def variances(self, *, level: float | None = None) -> pd.DataFrame:
        """Return one row a visit (and cohort, if they differ): its variance and standard deviation.

        Parameters
        ----------
        level : float, optional
            Adds conf_low and conf_high of every sd, by profile likelihood (Venzon & Moolgavkar 1988, DOI
            10.2307/2347496).
        """
        rows = [
            (name, t, sigma[j, j], math.sqrt(sigma[j, j]))
            for name, sigma in zip(self._names, self.sigmas, strict=True)
            for j, t in enumerate(self.design.times)
        ]
        table = pd.DataFrame(rows, columns=["cohort", "time", "variance", "sd"])
        if level is None:
            return table
        self.refuse_weights("variances(level=)")
        from implstats.growth.profiles import with_intervals

        return with_intervals(self, table, level)

    def glance(self) -> pd.DataFrame:
        """Return one row about the whole model: sizes, likelihood, criteria, how it ended."""
        n, k, deviance = len(self.design.y), len(self.design.names) + len(self.fit.phi), self.fit.deviance
        return pd.DataFrame(
            {
                "rows": [n],
                "patients": [sum(self.sample.patients.values())],
                "parameters": [k],
                "loglik": [self.loglik],
                "deviance": [deviance],
                "aic": [math.nan if self._weighted else deviance + 2 * k],
                "bic": [math.nan if self._weighted else deviance + math.log(n) * k],
                "method": [self.method],
                "converged": [self.convergence.converged],
                "boundary": [self.convergence.boundary],
            }
        )

    def _variance_at(self, cohort: NDArray[np.intp], t: Floats) -> Floats:
        """Return the variance of each row, given its cohort's code and its time."""
        place = np.searchsorted(np.array(self.design.times), t)
        return np.asarray(self.sigmas[cohort if self.by_cohort else np.zeros_like(cohort), place, place])

    def augment(self) -> pd.DataFrame:
        """Return one row an observation, on the caller's index: its roles, expected outcome and residual."""
        fixed = self.design.X @ self.fit.beta
        out = pd.DataFrame({str(k): v for k, v in self.design.roles.items()})
        out.index = self.design.labels
        out["fitted"] = out["fixed"] = fixed
        out["residual"] = self.design.y - fixed
        out["std_residual"] = out["residual"] / np.sqrt(self._variance_at(self.design.cohort_codes, self.design.t))
        return out

    def predict(
        self, newdata: pd.DataFrame | None = None, *, level: float = 0.95, interval: str = "confidence"
    ) -> pd.DataFrame:
        """Return the expected outcome of each row of new data, with its interval.

        Parameters
        ----------
        newdata : pandas.DataFrame, optional
            Columns as in the fit; by default the rows of the fit.
        level : float
        interval : {"confidence", "prediction"}
            Of the expected outcome (Satterthwaite's df), or of an outcome of a new patient (normal).
        """
        _check.level(level)
        _check.one_of("interval", interval, ("confidence", "prediction"))
        frame = _check.frame(newdata, "newdata") if newdata is not None else None
        X = self.design.X if frame is None else self.design.fixed_rows(frame)
        estimate, std_error, df = self._linear(X, "auto")
        if interval == "prediction":
            cohort, t = (self.design.cohort_codes, self.design.t) if frame is None else self.design.read(frame)
            std_error, df = np.sqrt(std_error**2 + self._variance_at(cohort, t)), np.full(len(X), np.inf)
        low, high = intervals(estimate, std_error, df, level)
        out = self.augment().iloc[:, : len(self.design.roles)] if frame is None else frame.copy()
        return out.assign(estimate=estimate, std_error=std_error, df=df, conf_low=low, conf_high=high)

    def cross_check(self) -> pd.DataFrame:
        """Return every fixed effect, and the criterion, next to statsmodels' GLS under the same estimated covariance.

        Raises
        ------
        DataError
            Beyond 5,000 rows, whose covariance statsmodels takes as one matrix.
        """
        from implstats.growth.second_opinion import gls

        self.refuse_weights("cross_check")

        design = self.design
        if len(design.y) > MOST_ROWS:
            raise DataError(f"cross_check: {len(design.y)} rows; statsmodels takes their covariance as one matrix")
        place = np.searchsorted(np.array(design.times), design.t)
        group = design.cohort_codes if self.by_cohort else np.zeros(len(place), dtype=np.intp)
        together = design.patient_codes[:, None] == design.patient_codes
        V = np.where(together, self.sigmas[group[:, None], place[:, None], place], 0.0)
        return gls(design, self.fit, V)

    def model_variance(self) -> float:
        """Return the outcome's variance at the baseline under the model; the mean over patients if cohorts differ."""
        return float(self.baseline_variance(self.fit.phi)) * self.patterns.scale**2

    def baseline_variance(self, phi: NDArray[Any]) -> Any:
        """Return the variance at the baseline of parameters (..., J), in the engine's unit."""
        place = self.design.times.index(self.baseline)
        patients = np.array([self.sample.patients[c] for c in self.cohorts], dtype=float)
        share = patients / patients.sum() if self.by_cohort else np.ones(1)
        return self.structure().sigmas(phi)[..., place, place] @ share

    def _model_variance(self) -> tuple[float, float]:
        self.refuse_weights("sd='model'")
        slope = complex_step(self.baseline_variance, self.fit.phi)
        return self.model_variance(), self._inference.variance_of([], slope)

    def header(self) -> list[str]:
        """Return model, sample, covariance, time, and how the fit ended."""
        which = "one for every cohort" if self.by_cohort else "common to the cohorts"
        return [
            f"MMRM: {self.formula} ({self.method})",
            *self.sample.in_words(),
            f"covariance of the visits: {_WORDS[self.covariance_word]}, {which}",
            self.times_in_words(),
            f"{self.convergence.message} in {self.convergence.iterations} steps",
            *self.design.notes,
        ]

    def _tables(self) -> dict[str, pd.DataFrame]:
        return {"tidy": self._shown(), "glance": self.glance(), "covariance": self.covariance()}


def _structure(design: GrowthDesign, word: str, by_cohort: bool) -> tuple[ByVisit, NDArray[np.intp], NDArray[np.intp]]:
    """Return the covariance, the visit of every row, and the pattern of every patient."""
    visits, patients = len(design.times), int(design.patient_codes.max()) + 1
    place = np.searchsorted(np.array(design.times), design.t)
    seen = np.zeros((patients, visits), dtype=bool)
    seen[design.patient_codes, place] = True
    group = np.zeros(patients, dtype=np.intp)
    if by_cohort:
        group[design.patient_codes] = design.cohort_codes
    key = seen @ (1 << np.arange(visits)) + (group << visits)
    _, first, pattern = np.unique(key, return_index=True, return_inverse=True)
    groups = len(design.cohorts) if by_cohort else 1
    return ByVisit(STRUCTURES[word](visits), groups, seen[first], group[first]), place, pattern


def _refuse_unknown(design: GrowthDesign, word: str, by_cohort: bool) -> None:
    """Refuse a covariance that the visits say nothing of."""
    said = f"covariance={_check.show(word)}"
    visits = len(design.times)
    place = np.searchsorted(np.array(design.times), design.t)
    patients = int(design.patient_codes.max()) + 1
    for c, name in enumerate(design.cohorts if by_cohort else ("",)):
        rows = design.cohort_codes == c if by_cohort else np.ones(len(place), dtype=bool)
        seen = np.zeros((patients, visits), dtype=bool)
        seen[design.patient_codes[rows], place[rows]] = True
        who = f" of cohort {_check.show(name)}" if by_cohort else ""
        together = seen.T.astype(float) @ seen
        absent = np.argwhere(np.diag(together) == 0)
        if len(absent):
            raise DataError(
                f"by_cohort=True: cohort {_check.show(name)} has no visit at "
                f"{design.time}={_check.show(design.times[absent[0][0]])}; say by_cohort=False"
            )
        apart = np.argwhere(together == 0)
        if word == "unstructured" and len(apart):
            one, other = (_check.show(design.times[k]) for k in sorted(apart[0]))
            raise DataError(
                f"{said}: no patient{who} was seen at both {one} and {other}; say covariance='heterogeneous-ar1'"
            )
        count = int(seen.any(axis=1).sum())
        if count == 1:
            raise DataError(
                f"by_cohort=True: cohort {_check.show(name)} has one patient, too few for a covariance of its own; "
                "say by_cohort=False"
            )
        means = 1 if by_cohort else len(design.cohorts)
        if word == "unstructured" and count < visits + means:
            raise DataError(
                f"{said}: {count} patients{who} are too few for {visits} visits; "
                "say covariance='ar1' or 'compound-symmetry'"
            )


def _told(design: GrowthDesign, place: NDArray[np.intp], word: str, by_cohort: bool) -> bool:
    """Return whether every parameter has patients that tell of it, once every cohort has its mean at every visit."""
    visits, patients = len(design.times), int(design.patient_codes.max()) + 1
    cell = design.cohort_codes * visits + place
    # A row that is alone in its cohort and visit is its own mean.
    tells = np.bincount(cell)[cell] > 1
    for c in range(len(design.cohorts) if by_cohort else 1):
        rows = tells & (design.cohort_codes == c) if by_cohort else tells
        seen = np.zeros((patients, visits))
        seen[design.patient_codes[rows], place[rows]] = 1.0
        together = seen.T @ seen
        bands = np.array([np.diag(together, k).sum() for k in range(visits)])
        asked: dict[str, Floats] = {"unstructured": together, "heterogeneous-ar1": np.diag(together), "toeplitz": bands}
        if asked.get(word, bands[:1]).min() == 0 or bands[1:].sum() == 0:
            return False
    return True


def _refuse_constant(design: GrowthDesign, residual: Floats, place: NDArray[np.intp], by_cohort: bool) -> None:
    """Refuse a visit whose variance is zero: all patients of a cohort have the same outcome there."""
    visits = len(design.times)
    cell = place + (visits * design.cohort_codes if by_cohort else 0)
    squares = np.bincount(cell, residual**2)
    for k in np.flatnonzero((squares <= PERFECT * squares.sum()) & (np.bincount(cell) > 0)):
        who = f" in cohort {_check.show(design.cohorts[k // visits])}" if by_cohort else ""
        when = f"{design.time}={_check.show(design.times[k % visits])}"
        raise DataError(
            f"outcome={_check.show(design.outcome)}: no spread at {when}{who}; "
            "leave that visit out, or say covariance='compound-symmetry'"
        )


def mmrm_design(frame: pd.DataFrame, faults: Faults | None = None, **roles: Any) -> GrowthDesign:
    """Return the design of an MMRM: cohorts x visits as categories, and no random effects."""
    return growth_design(frame, faults=faults, shape="visits", random="none", groups=None, time_unit=None, **roles)


def mmrm_result(
    design: GrowthDesign, better: str | None, method: str, covariance: str, by_cohort: bool, call: dict[str, Any]
) -> MMRMResult:
    """Return the fit of a design."""
    _refuse_unknown(design, covariance, by_cohort)
    structure, place, pattern = _structure(design, covariance, by_cohort)
    count = structure.groups * len(structure.structure.free(np.eye(len(design.times))))
    known = check_design(design, count)
    inside = f"{design.cohort}/{design.patient}" if by_cohort else str(design.patient)
    design = replace(design, formula=f"{design.formula} + {_SHORT[covariance]}({design.time} | {inside})")
    patient, visits = design.patient_codes, len(design.times)
    weight = design.weight
    if weight is not None:
        known = of_rows(design.y, design.X, patient, weight)
    patterns = marginal.prepare(design.y, design.X, patient, place, visits, pattern, known=known, weight=weight)
    sigma = _moments(known[0][:, -1] / patterns.scale, patient, place, visits)
    start = np.tile(structure.structure.free(sigma), structure.groups)
    if not _told(design, place, covariance, by_cohort):
        rows = np.bincount(place, minlength=len(design.times))
        few = _check.show(design.times[int(rows.argmin())])
        raise DataError(
            f"covariance={_check.show(covariance)}: too few rows to tell all its variances and correlations, once "
            f"every cohort has its mean at every visit; leave out {design.time}={few}, which has {rows.min()}, "
            "or use a simpler covariance"
        )
    if covariance in VARIANCE_BY_VISIT:
        _refuse_constant(design, known[0][:, -1], place, by_cohort)
    try:
        fit = marginal.fit(patterns, structure, start, reml=method == "reml")
    except ConvergenceError as error:
        raise ConvergenceError(
            f"{design.formula}: the fit did not converge: {error}; use a simpler covariance=, or leave out visits that "
            "few patients have",
            error.record,
        ) from None
    if weight is not None:
        fit = replace(fit, vcov=robust_marginal(patterns, fit))
    return MMRMResult(call, design, patterns, fit, covariance, by_cohort, better)


def _moments(residual: Floats, patient: NDArray[np.intp], place: NDArray[np.intp], visits: int) -> Floats:
    """Return a positive definite covariance of least-squares residuals: where a fit starts."""
    table, seen = np.zeros((int(patient.max()) + 1, visits)), np.zeros((int(patient.max()) + 1, visits))
    table[patient, place], seen[patient, place] = residual, 1.0
    sigma = table.T @ table / np.maximum(seen.T @ seen, 1.0)
    sd = np.sqrt(np.diag(sigma))
    sd = np.maximum(sd, SMALL_SD * sd.max())
    w, vectors = np.linalg.eigh(sigma / np.outer(sd, sd))
    return np.asarray(np.outer(sd, sd) * ((vectors * np.maximum(w, 0.05)) @ vectors.T))


def fit_mmrm(
    frame: pd.DataFrame,
    *,
    outcome: str,
    visit: str,
    patient: str,
    cohort: str,
    reference: Any,
    baseline: float | str = 0,
    better: str | None = None,
    adjust: str | Sequence[str] | None = None,
    covariance: str = "unstructured",
    by_cohort: bool = False,
    patient_weights: str | None = None,
    method: str = "reml",
    missing: str = "drop",
) -> MMRMResult:
    """How do cohorts differ at fixed visits, with as little assumed about change and its spread as the visits allow?

    Fits y = X b + e with cohort x visit means and Cov(e) of a patient's visits of the given structure, by REML or ML.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per patient and visit.
    outcome, visit, patient, cohort : str
        Columns. Visits are numbers, in the user's unit (0, 18, 36 months); up to 20 distinct ones.
    reference : value of the cohort column
        The cohort that the others are compared with.
    baseline : float or str
        Visit that change is counted from; or a column with the value before treatment, which becomes the visit at 0.
    better : {"lower", "higher"}, optional
        Direction of improvement; effect sizes and improvement retained ask for it.
    adjust : list of columns, or patsy right-hand side, optional
        Covariates of the level, alike at all times: how cohorts differ in change they leave as it is, for which there
        are `patient_weights=` (or `fit_growth(moderators=)`).
    covariance : {"unstructured", "toeplitz", "ar1", "compound-symmetry", "heterogeneous-ar1"}
        Of a patient's visits. Distances are counted in visits, not in months.
    by_cohort : bool
        Whether every cohort has a covariance of its own: safer where cohorts differ in size and spread, and it takes
        about 20 patients in each.
    patient_weights : str, optional
        Column with one positive weight per patient, which multiplies the patient's log-likelihood; `propensity_weights`
        makes them. Needs method="ml"; standard errors are the sandwich over patients, with normal intervals, and take
        the weights as known. Their scale does not matter. Not for precisions, which weigh rows.
    method : {"reml", "ml"}
    missing : {"drop", "raise"}
        Rows with a missing outcome, visit or covariate are dropped and counted, or an error; a patient stays in with
        the visits that there are.

    Returns
    -------
    MMRMResult

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question, all faults together.
    ConvergenceError
        No optimum with a covariance of full rank; carries the record.

    Notes
    -----
    Unstructured, Toeplitz and compound-symmetric covariances are linear in their variances and covariances, so Kenward
    and Roger's term of second derivatives, R_jk, is zero; for both AR(1) it is taken, in variances and the correlation
    with the expected information, as pbkrtest does (SAS' DDFM=KR takes the observed one, which under drop-out gives
    fewer df). Likelihood methods hold under drop-out that depends on what was observed (missing at random).

    References
    ----------
    Mallinckrodt et al. 2008, DOI 10.1177/009286150804200402; Kenward & Roger 1997, DOI 10.2307/2533558.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> mmrm = ist.fit_mmrm(visits, outcome="bsi", visit="month", patient="patient", cohort="cohort",
    ...                     reference="before", better="lower")
    >>> mmrm.formula
    'bsi ~ factor(month) * cohort + us(month | patient)'
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    faults = Faults()
    if better is not None:
        faults.ask(_check.one_of, "better", better, BETTER)
    for argument, value, allowed in (
        ("covariance", covariance, COVARIANCES),
        ("method", method, METHODS),
        ("missing", missing, MISSING),
    ):
        faults.ask(_check.one_of, argument, value, allowed)
    faults.ask(_check.flag, "by_cohort", by_cohort)
    check_weights(patient_weights, method, faults)
    design = mmrm_design(
        frame,
        faults,
        outcome=outcome,
        time=visit,
        time_argument="visit",
        patient=patient,
        cohort=cohort,
        reference=reference,
        baseline=baseline,
        adjust=adjust,
        missing=missing,
        patient_weights=patient_weights,
    )
    return mmrm_result(design, better, method, covariance, by_cohort, call)
