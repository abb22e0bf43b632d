"""Fine & Gray's model: what goes with a higher or lower cumulative incidence of one cause, beside the others."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats._check import Faults
from implstats._core import finegray
from implstats._core.convergence import Convergence
from implstats._core.structure import AliasedError
from implstats.design.spells import SpellRoles, Spells, spells
from implstats.errors import ConvergenceError, DataError
from implstats.results import Estimates, Result, Sample, intervals, lock
from implstats.survival.competing import asks_for_censored, cause_of
from implstats.survival.groups import listed
from implstats.survival.hazard_words import FEW_EVENTS
from implstats.survival.profiles import log_hazards, no_finite_estimate, profile_rows, references, same_for_everybody
from implstats.survival.times import asked

__all__ = ["FineGrayResult", "fit_fine_gray"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class FineGrayResult(Result):
    """Log subdistribution hazard ratios of one cause, with robust standard errors.

    Attributes
    ----------
    spells : Spells
        The rows, read-only arrays.
    cause : value of the event column
        The cause whose incidence is modelled.
    fit : FineGray
        What the engine found.
    """

    spells: Spells
    cause: Any
    fit: finegray.FineGray

    def __post_init__(self) -> None:
        lock(self.fit)

    @property
    def params(self) -> pd.Series:
        """The log subdistribution hazard ratios."""
        return pd.Series(self.fit.beta.copy(), index=list(self.spells.names), name="estimate")

    @property
    def vcov(self) -> pd.DataFrame:
        """Their robust covariance."""
        names = list(self.spells.names)
        return pd.DataFrame(self.fit.vcov.copy(), index=names, columns=names)

    @property
    def loglik(self) -> float:
        """The log pseudo-likelihood; its differences are no likelihood-ratio tests."""
        return self.fit.loglik

    @property
    def sample(self) -> Sample:
        """Rows, and what was dropped."""
        return self.spells.sample

    @property
    def convergence(self) -> Convergence:
        """How the fit ended."""
        return self.fit.convergence

    def tidy(self, *, level: float = 0.95, hazard_ratio: bool = False) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a term: its log subdistribution hazard ratio with interval and test.

        Parameters
        ----------
        level : float
            Level of the intervals, between 0 and 1.
        hazard_ratio : bool
            Gives estimate, std_error and both ends as hazard ratios.
        """
        _check.flag("hazard_ratio", hazard_ratio)
        beta, error = self.fit.beta, np.sqrt(np.diag(self.fit.vcov))
        labels = {"term": list(self.spells.names), "reference": list(self.references.values())}
        out = Estimates({}, "", labels, beta, error, np.full(len(beta), np.inf), tests=True, level=level).tidy()
        if hazard_ratio:
            out[["estimate", "conf_low", "conf_high"]] = np.exp(out[["estimate", "conf_low", "conf_high"]])
            out["std_error"] *= out["estimate"]
        return out

    @property
    def references(self) -> Mapping[str, Any]:
        """Term -> the level that it is compared with; empty for a number or an interaction."""
        return references(self.spells)

    def tests(self) -> pd.DataFrame:
        """Return Wald's test that all terms are zero; a pseudo-likelihood has no likelihood-ratio test."""
        beta, vcov = self.fit.beta, self.fit.vcov
        error = np.sqrt(np.diag(vcov))
        z, correlation = beta / error, vcov / np.outer(error, error)
        statistic = float(z @ np.linalg.pinv(correlation, rcond=1e-12, hermitian=True) @ z)
        # Scores of clusters add up to 0: fewer clusters than that leave some combinations of terms without a variance.
        clusters = len(self.spells.clusters) if self.spells.cluster is not None else len(self.spells.exit)
        df = float(min(len(beta), clusters - 1))
        p_value = float(special.chdtrc(df, statistic))
        return pd.DataFrame([{"test": "Wald", "statistic": statistic, "df": df, "p_value": p_value}])

    def glance(self) -> pd.DataFrame:
        """Return one row: how rows ended, log pseudo-likelihoods at the estimates and at zero, Wald's statistic."""
        (censored, events, competing), p = self._counts(), len(self.fit.beta)
        row: dict[str, Any] = {"rows": self.sample.rows, "events": events, "competing": competing, "censored": censored}
        row |= {"parameters": p, "events_per_parameter": events / p}
        row |= {"loglik": self.loglik, "loglik_null": self.fit.loglik_null, "wald": self.tests()["statistic"][0]}
        return pd.DataFrame([row | {"converged": self.convergence.converged}])

    def _counts(self) -> list[int]:
        return [int(n) for n in np.bincount(_kind(self.spells, self.cause), minlength=3)]

    def augment(self) -> pd.DataFrame:
        """Return one row an observation, on the caller's index: its roles, and its log hazard ratio.

        The log hazard ratio is that against the mean of every column over the rows.
        """
        out = pd.DataFrame({str(k): v for k, v in self.spells.roles.items()})
        out.index = self.spells.labels
        return out.assign(log_hazard=(self.spells.X - self.fit.sets.shift) @ self.fit.beta)

    def predict(
        self, newdata: pd.DataFrame | None = None, *, level: float = 0.95, hazard_ratio: bool = False
    ) -> pd.DataFrame:
        """Return the log hazard ratio of each row of new data against the mean of every column over the rows used.

        Parameters
        ----------
        newdata : pandas.DataFrame, optional
            Columns of the terms; by default the rows of the fit.
        level : float
        hazard_ratio : bool
            Gives hazard ratios in place of their logarithms.
        """
        _check.flag("hazard_ratio", hazard_ratio)
        frame = self.augment().drop(columns="log_hazard") if newdata is None else _check.frame(newdata, "newdata")
        X = (self.spells.X if newdata is None else self.spells.rows_of(frame)) - self.fit.sets.shift
        return frame.assign(**log_hazards(X, self.fit.beta, self.fit.vcov, level, ratio=hazard_ratio))

    def baseline(self) -> pd.DataFrame:
        """Return one row a time of the cause: the cumulative subdistribution hazard where every column has its mean."""
        return pd.DataFrame({"time": self.fit.time, "estimate": np.cumsum(self.fit.hazard)})

    def incidence_at(
        self, profile: Mapping[Hashable, Any] | pd.DataFrame, times: Any, *, level: float = 0.95
    ) -> pd.DataFrame:
        """Return the predicted cumulative incidence of each profile by some times.

        Parameters
        ----------
        profile : pandas.DataFrame, or mapping of column to value
            One row a profile: columns of the terms.
        times : number or list of numbers
            In the unit of the duration, up to its last time.
        level : float
            Level of the intervals, between 0 and 1.

        Notes
        -----
        1 - exp(-H), H the cumulative subdistribution hazard; intervals are symmetric in log H. The variance counts the
        coefficients, the baseline, and the censoring distribution. Before the first event there is no interval.
        """
        when, last = asked(times), float(self.spells.exit.max())
        if when[-1] > last:
            raise DataError(f"times={_check.show(when[-1])}: beyond the last time, {_check.show(last)}")
        frame = profile_rows(profile)
        rows = [finegray.prediction(self.fit, x, when, self.spells.cluster) for x in self.spells.rows_of(frame)]
        hazard, error = (np.concatenate(parts) for parts in zip(*rows, strict=True))
        with np.errstate(divide="ignore", invalid="ignore"):
            center, width = np.log(hazard), error / hazard
        low, high = (-np.expm1(-np.exp(x)) for x in intervals(center, width, np.full(len(width), np.inf), level))
        out = frame.loc[frame.index.repeat(len(when))].reset_index(drop=True)
        parts = {
            "estimate": -np.expm1(-hazard),
            "std_error": np.exp(-hazard) * error,
            "conf_low": low,
            "conf_high": high,
        }
        return out.assign(time=np.tile(when, len(frame)), **parts)

    def header(self) -> list[str]:
        """Return model, what was counted, what standard errors rest on, and what a reader must know."""
        found, p = self.spells, len(self.fit.beta)
        censored, events, competing = self._counts()
        others = f" ({listed([c for c in found.causes if c != self.cause])})" if competing else ""
        counted = f"{events} {self.cause}, {competing} other causes{others}, {censored} censored; "
        counted += f"{events / p:.3g} events per parameter ({p} in all)"
        if events < FEW_EVENTS * p:
            counted += f": below {FEW_EVENTS}, estimates are biased away from 0 and intervals too narrow"
        record = self.convergence
        return [
            f"Fine-Gray model: subdistribution hazard of {self.cause} ({found.event_name}) over {found.duration}",
            counted,
            self._errors_in_words(),
            f"a ratio orders the incidence of {self.cause} (prognosis); what acts on it among those still at risk is "
            "the cause-specific hazard, fit_cox with cause= (aetiology)",
            "censoring is taken to be alike at all values of the terms: where groups were followed for unequally long, "
            "their ratio is biased (survival_curves and gray_test print each group's follow-up)",
            *found.notes,
            *found.sample.in_words(),
            f"{record.message} in {record.iterations} steps",
        ]

    def _errors_in_words(self) -> str:
        said = "standard errors are robust, and count what the estimated censoring distribution adds"
        if self.spells.cluster is None:
            return said
        k = len(self.spells.clusters)
        return f"{said}, from {k} clusters ({self.call['cluster']}){_check.few_clusters(k)}"


def _kind(found: Spells, cause: Any) -> NDArray[np.intp]:
    """Return 0 for censored, 1 for the cause, 2 for any other."""
    own = found.causes.index(cause) + 1
    return np.where(found.event == 0, 0, np.where(found.event == own, 1, 2)).astype(np.intp)


def fit_fine_gray(
    frame: pd.DataFrame,
    *,
    duration: Hashable,
    event: Hashable,
    cause: Any,
    censored: Any,
    terms: str | Sequence[Hashable],
    cluster: Hashable | None = None,
    reference: Mapping[Hashable, Any] | None = None,
    missing: str = "drop",
) -> FineGrayResult:
    """Which programmes are more likely to have stopped by any time, where they may also end otherwise?

    Proportional hazards of the subdistribution: who had another cause stays in the risk set, so that hazards add up to
    the cumulative incidence. Its ratios are for prognosis, as they order incidences; a covariate that only makes
    mergers more likely lowers the sub-hazard of stopping. For aetiology, what acts on the cause among those still at
    risk, fit the cause-specific hazard: `fit_cox` with `cause=`.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per programme or patient, followed from time 0; rows that enter late need other weights.
    duration, event : str
        Columns: time until the end of the spell or of observation, and what ended it.
    cause : value of the event column
        The cause of interest.
    censored : value of the event column
        What stands for no event; every other value is a cause.
    terms : list of columns, or patsy right-hand side
        Covariates that do not change over time.
    cluster : str, optional
        Column of clusters (organisation): rows of one may be alike in what the model leaves out.
    reference : mapping of column to level, optional
        The level that a category's others are compared with; by default the first.
    missing : {"drop", "raise"}
        Rows with a missing value are dropped and counted, or an error.

    Returns
    -------
    FineGrayResult

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question, all faults together; terms that cannot be told apart.
    ConvergenceError
        A coefficient without a finite estimate, by name: all or none of a group have the cause.

    Notes
    -----
    A row that another cause ended at s counts G(t) / G(s) at t, G the Kaplan-Meier estimate of not yet censored: that
    takes censoring for independent of the covariates. Ties as Breslow's. Estimates, pseudo-likelihood and standard
    errors are those of cmprsk::crr; survival::finegray counts events before censorings at one time, and differs where
    there are such ties.

    References
    ----------
    Fine & Gray 1999, DOI 10.1080/01621459.1999.10474144; Kawaguchi et al. 2021, DOI 10.32614/RJ-2021-010 (in linear
    time); Zhou et al. 2012, DOI 10.1093/biostatistics/kxr032 (clusters); Latouche et al. 2013, DOI
    10.1016/j.jclinepi.2012.09.017 (when to use which).

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.survival.fine_gray import fit_fine_gray
    >>> programmes = pd.DataFrame({"years": [1, 2, 3, 4, 5, 6, 2, 3, 5, 6],
    ...                            "status": ["stopped", "stopped", "merged", "stopped", "active", "active", "merged",
    ...                                       "active", "stopped", "active"],
    ...                            "support": [3, 2, 4, 3, 2, 6, 5, 4, 3, 5]})
    >>> found = fit_fine_gray(programmes, duration="years", event="status", cause="stopped", censored="active",
    ...                       terms=["support"])
    >>> found.tidy(hazard_ratio=True).round(3)[["term", "estimate", "conf_low", "conf_high"]]
          term  estimate  conf_low  conf_high
    0  support     0.444     0.213      0.925
    >>> found.incidence_at({"support": 3}, [2, 5]).round(3)[["time", "estimate", "conf_low", "conf_high"]]
       time  estimate  conf_low  conf_high
    0   2.0     0.213     0.076      0.516
    1   5.0     0.494     0.234      0.824
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    faults = Faults()
    asks_for_censored(event, censored, faults)
    if terms is None or (isinstance(terms, list | tuple) and not terms):
        faults.say(f"terms={_check.show(terms)}: no term is named; name a column, or use cumulative_incidence")
    roles = SpellRoles(duration, event, cluster=cluster, terms=terms, censored=censored, reference=reference or {})
    found = spells(frame, roles, missing=missing, faults=faults)
    cause_of(found, cause, faults)
    if found.cluster is not None and len(found.clusters) < 2:
        faults.add("cluster", cluster, "one cluster only", "leave it out")
    faults.settle()
    kind = _kind(found, cause)
    if not found.names:
        faults.add("terms", terms, "holds no column", "name one, or use cumulative_incidence")
    if len(found.names) > (events := int((kind == 1).sum())):
        faults.add("terms", terms, f"{len(found.names)} parameters for {events} events", "use fewer terms")
    faults.settle()
    try:
        fit = finegray.fit(found.X, found.exit, kind, found.cluster)
    except AliasedError as error:
        raise same_for_everybody(found, error.columns) from None
    except ConvergenceError as error:
        remedy = "merge categories, or fit the cause-specific hazard with fit_cox and penalty='firth'"
        raise no_finite_estimate(found, events, error, remedy) from None
    return FineGrayResult(call, found, cause, fit)
