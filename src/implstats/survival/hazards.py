"""The result of a Cox model: hazard ratios, tests, residuals, and the survival of a profile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats._core import concordance, cox, firth, frailty, martingale
from implstats._core.convergence import Convergence
from implstats.design.spells import Spells
from implstats.errors import DataError
from implstats.results import Estimates, Sample, lock
from implstats.survival import hazard_words
from implstats.survival.hazard_profiles import Fitted, HazardProfiles
from implstats.survival.profiles import references
from implstats.survival.proportional import ProportionalHazards, proportional

__all__ = ["CoxResult"]

Floats = NDArray[np.float64]

RESIDUALS = ("martingale", "deviance", "score", "dfbeta", "dfbetas", "schoenfeld", "scaled_schoenfeld")


@dataclass(frozen=True, eq=False, repr=False)
class CoxResult(HazardProfiles):
    """A fitted Cox model: how the hazard differs with each term, and how sure that is.

    Attributes
    ----------
    spells : Spells
        Who was at risk from when to when; read-only arrays.
    happened : numpy.ndarray
        Whether a row has the event whose hazard is modelled.
    model : Model
        The same as the engine takes it.
    fit : Fit
        The optimum of the (penalised) likelihood.
    robust : numpy.ndarray or None
        Covariance of the coefficients from sums over clusters.
    """

    spells: Spells
    happened: NDArray[np.bool_]
    model: cox.Model
    fit: Fitted
    robust: Floats | None

    def __post_init__(self) -> None:
        lock((self.happened, self.model, self.fit, self.robust))

    @property
    def terms(self) -> tuple[str, ...]:
        """The names of the coefficients."""
        return self.spells.names

    @property
    def events(self) -> int:
        """How many rows have the event."""
        return int(self.happened.sum())

    @property
    def sample(self) -> Sample:
        """Rows, and what was dropped."""
        return self.spells.sample

    @property
    def convergence(self) -> Convergence:
        """How the fit ended."""
        return self.fit.convergence

    @property
    def loglik(self) -> float:
        """The log partial likelihood; with frailty the marginal one."""
        return self.fit.loglik

    @property
    def null_loglik(self) -> float:
        """The log partial likelihood where all coefficients are 0 (and without frailty)."""
        return self._plain.null_loglik

    @property
    def theta(self) -> float:
        """The variance of the frailty; NaN without one."""
        return self.fit.theta if isinstance(self.fit, frailty.Fit) else math.nan

    @property
    def penalty(self) -> str | float | None:
        """The penalty that was asked for."""
        penalty: str | float | None = self.call["penalty"]
        return penalty

    @property
    def weighs_patients(self) -> bool:
        """Whether patients count more or less than once, so that the likelihood is none of the sample's."""
        return self.call["patient_weights"] is not None

    @property
    def params(self) -> pd.Series:
        """The log hazard ratios."""
        return pd.Series(self.fit.beta.copy(), index=list(self.terms), name="estimate")

    @property
    def vcov(self) -> pd.DataFrame:
        """The covariance of the coefficients: robust where there are clusters."""
        return self._named(self._covariance)

    @property
    def naive_vcov(self) -> pd.DataFrame:
        """The inverse information, which takes rows to be independent."""
        return self._named(self.fit.vcov)

    def _named(self, matrix: Floats) -> pd.DataFrame:
        return pd.DataFrame(matrix.copy(), index=list(self.terms), columns=list(self.terms))

    @property
    def _plain(self) -> cox.Fit | firth.Fit:
        return self.fit.without if isinstance(self.fit, frailty.Fit) else self.fit

    # Tables -----------------------------------------------------------------------------------------------------------

    def tidy(self, *, level: float = 0.95, hazard_ratio: bool = False) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a term: its log hazard ratio with interval and test.

        Under penalty="firth" the ends of an interval, and the statistic (a signed root), come from the profile of the
        penalised likelihood.

        Parameters
        ----------
        level : float
            Level of the intervals, between 0 and 1.
        hazard_ratio : bool
            Gives estimate, std_error and both ends as hazard ratios.
        """
        _check.flag("hazard_ratio", hazard_ratio)
        error = np.sqrt(np.diag(self._covariance))
        labels = {"term": list(self.terms), "reference": list(self.references.values())}
        if self.robust is not None and not self.weighs_patients:
            labels["std_error_naive"] = np.sqrt(np.diag(self.fit.vcov)).tolist()
        no_df = np.full(len(error), np.inf)
        out = Estimates({}, "", labels, self.fit.beta, error, no_df, tests=True, level=level).tidy()
        if isinstance(self.fit, firth.Fit):
            out[["conf_low", "conf_high"]] = [profile.interval(level) for profile in self._profiles]
            tests = np.array([profile.p_value() for profile in self._profiles])
            out["statistic"], out["p_value"] = np.sign(self.fit.beta) * np.sqrt(tests[:, 0]), tests[:, 1]
        if hazard_ratio:
            out[["estimate", "conf_low", "conf_high"]] = np.exp(out[["estimate", "conf_low", "conf_high"]])
            errors = [c for c in ("std_error", "std_error_naive") if c in out]
            out[errors] = out[errors].mul(out["estimate"], axis=0)
        return out

    @cached_property
    def _profiles(self) -> list[firth.Profile]:
        """The profile of every coefficient under Firth's penalty: each remembers where it has been."""
        assert isinstance(self.fit, firth.Fit)
        return [firth.Profile(self.model, self.fit, j) for j in range(len(self.terms))]

    @property
    def references(self) -> Mapping[str, Any]:
        """Term -> the level that it is compared with; empty for a number or an interaction."""
        return references(self.spells)

    def tests(self) -> pd.DataFrame:
        """Return one row a test of all terms together: are all coefficients 0?

        Likelihood ratio and score test take rows to be independent; with clusters the Wald test does not, and a robust
        score test stands beside it; with patient_weights these two alone are given. With frailty the first row tests
        its variance, of which 0 is the smallest possible: the p-value is half that of chi-square on 1 df.
        """
        rows, p = [], float(len(self.terms))
        fit = self.fit
        if isinstance(fit, frailty.Fit):
            rows.append(("frailty variance", fit.statistic, 1.0, fit.p_value))
        elif isinstance(fit, firth.Fit):
            rows.append(_chi_square("penalised likelihood ratio", 2 * (fit.penalised - fit.null_penalised), p))
        elif not self.weighs_patients:
            rows.append(_chi_square("likelihood ratio", 2 * (fit.loglik - fit.null_loglik), fit.parameters))
        # Scores add up to 0 over clusters, so fewer of them than terms leave combinations without a variance.
        clusters = math.inf if self.robust is None else len(self.spells.clusters)
        rows.append(_chi_square("Wald", self._wald(), min(p, clusters - 1)))
        if isinstance(fit, cox.Fit) and not fit.penalty.any():
            if not self.weighs_patients:
                rows.append(_chi_square("score", fit.score_statistic, p))
            if self.robust is not None:
                rows.append(_chi_square("robust score", self._robust_score, min(p, clusters)))
        return pd.DataFrame(rows, columns=["test", "statistic", "df", "p_value"])

    def _wald(self) -> float:
        # In standard errors, since a covariance in the units of the terms may look singular.
        error = np.sqrt(np.diag(self._covariance))
        z, correlation = self.fit.beta / error, self._covariance / np.outer(error, error)
        return float(z @ np.linalg.pinv(correlation, rcond=1e-12, hermitian=True) @ z)

    @cached_property
    def _robust_score(self) -> float:
        null = cox.evaluate(self.model, np.zeros(len(self.terms)))
        shares = martingale.score_residuals(self.model, null) * self.model.risk.weight[:, None]
        assert self.spells.cluster is not None
        sums = martingale.cluster_sums(shares, self.spells.cluster[self.model.risk.row])
        total = sums.sum(axis=0)
        return float(total @ np.linalg.pinv(sums.T @ sums, rcond=1e-12, hermitian=True) @ total)

    @cached_property
    def _concordance(self) -> concordance.Concordance:
        if isinstance(self.fit, frailty.Fit):
            score = self.fit.state.eta + self.fit.state.shift
        else:
            score = self.model.X @ (self.fit.beta * self.model.scale)
        cluster = self.spells.cluster if self.robust is not None else None
        return concordance.concordance(self.model.risk, score, cluster)

    def glance(self) -> pd.DataFrame:
        """Return one row about the whole model: counts, likelihoods, tests of all terms, concordance."""
        tests = self.tests().set_index("test")
        first = tests.index[0]
        p = len(self.terms)
        found = {
            "rows": len(self.happened),
            "events": self.events,
            "parameters": p,
            "events_per_parameter": self.events / p,
            "loglik": self.loglik,
            "loglik_null": self.null_loglik,
            "aic": math.nan if self.weighs_patients else 2 * self._degrees - 2 * self.loglik,
            "likelihood_ratio": math.nan if self.weighs_patients else tests.loc[first, "statistic"],
            "wald": tests.loc["Wald", "statistic"],
            "score": tests["statistic"].get("score", math.nan),
            "concordance": self._concordance.estimate,
            "concordance_se": self._concordance.std_error,
            "theta": self.theta,
            "converged": self.convergence.converged,
            "boundary": self.convergence.boundary,
        }
        return pd.DataFrame([found])

    @property
    def _degrees(self) -> float:
        if isinstance(self.fit, cox.Fit):
            return self.fit.parameters
        return len(self.terms) + isinstance(self.fit, frailty.Fit)

    def frailties(self) -> pd.DataFrame:
        """Return one row a group: its events, those expected at frailty 1, and its estimated hazard ratio.

        Raises
        ------
        DataError
            Without frailty=.
        """
        if not isinstance(self.fit, frailty.Fit):
            raise DataError("frailties: the model has no frailty; fit it with frailty= and the column of the groups")
        columns = {"group": list(self.spells.clusters), "events": self.fit.events, "expected": self.fit.expected}
        return pd.DataFrame(columns | {"estimate": self.fit.frailty})

    # What is left unexplained -----------------------------------------------------------------------------------------

    def proportional_hazards(self, transform: str = "km") -> ProportionalHazards:
        """Return tests of whether log hazard ratios change over time, a term and all terms.

        Parameters
        ----------
        transform : {"km", "log", "identity", "rank"}
            The scale of time on which a change would be linear: 1 - Kaplan-Meier, log time, time, or its rank.
        """
        if self.weighs_patients:
            raise DataError(
                "proportional_hazards: not defined with patient_weights=; look at "
                "residuals('scaled_schoenfeld'), or fit without them"
            )
        return proportional(self.spells, self.happened, self.model, self._state, self.fit.beta, self.call, transform)

    def residuals(self, kind: str = "martingale") -> pd.DataFrame:
        """Return one row an observation on the caller's index (of Schoenfeld's: one an event, by stratum and time).

        Parameters
        ----------
        kind : {"martingale", "deviance", "score", "dfbeta", "dfbetas", "schoenfeld", "scaled_schoenfeld"}
            Events less expected events; the same made more symmetric; a row's share of the score; what a coefficient
            would change without the row, also in (naive) standard errors; at an event, covariates less their mean at
            risk, also scaled so that they scatter around the coefficient at that time.
        """
        _check.one_of("kind", kind, RESIDUALS)
        state, names, labels = self._state, list(self.terms), self.spells.labels
        if kind in ("martingale", "deviance"):
            left = martingale.martingale(self.model, state)
            values = left if kind == "martingale" else martingale.deviance(left, self.happened)
            return pd.DataFrame({kind: values}, index=labels)
        if self.model.exact is not None:
            raise DataError(f"kind={_check.show(kind)}: not defined for ties='exact'; fit with ties='efron'")
        if kind.endswith("schoenfeld"):
            row, values = martingale.schoenfeld(self.model, state)
            if kind == "scaled_schoenfeld":
                values = self.fit.beta + self.events * values @ self.fit.vcov
            out = pd.DataFrame(values, index=labels[row], columns=names)
            out.insert(0, "time", self.spells.exit[row])
            return out
        values = self.model.risk.to_rows(martingale.score_residuals(self.model, state)) * self.model.scale
        if kind != "score":
            values = values @ self.fit.vcov * self.spells.weight[:, None]
        if kind == "dfbetas":
            values = values / np.sqrt(np.diag(self.fit.vcov))
        return pd.DataFrame(values, index=labels, columns=names)

    def augment(self) -> pd.DataFrame:
        """Return one row an observation, on the caller's index: its roles, log hazard ratio and residuals.

        The log hazard ratio is that against the mean of every column over the rows.
        """
        out = pd.DataFrame({str(k): v for k, v in self.spells.roles.items()})
        out.index = self.spells.labels
        out["log_hazard"] = (self.spells.X - self.spells.X.mean(axis=0)) @ self.fit.beta
        for kind in ("martingale", "deviance"):
            out[kind] = self.residuals(kind)[kind]
        return out

    def e_value(self, *, level: float = 0.95) -> pd.DataFrame:
        """Return how strong an unmeasured confounder would have to be to explain each hazard ratio away.

        An E-value is the risk ratio by which it would have to go with both the term and the event, beyond the other
        terms; `e_value_limit` is that of the end of the interval nearer to 1, and 1 where the interval holds 1. Hazard
        ratios are taken as those of a common event (above 15 % by the end); of a number, they are per unit.

        References
        ----------
        VanderWeele & Ding 2017, DOI 10.7326/M16-2607; VanderWeele 2017, DOI 10.1007/s10654-017-0337-0.
        """
        table = self.tidy(level=level, hazard_ratio=True)[["term", "reference", "estimate", "conf_low", "conf_high"]]
        return hazard_words.with_e_values(table)

    def cross_check(self) -> pd.DataFrame:
        """Return every coefficient and the log-likelihood next to lifelines'.

        Raises
        ------
        DataError
            Where lifelines has no such model, or takes minutes for it.
        """
        from implstats.survival.second_opinion_cox import coxph

        return coxph(self)

    def header(self) -> list[str]:
        """Return what was modelled, on what, what a reader must know, and how the fit ended."""
        return hazard_words.header(self)

    def _tables(self) -> dict[str, pd.DataFrame]:
        return {"tidy": self.tidy(), "glance": self.glance(), "tests": self.tests()}


def _chi_square(name: str, statistic: float, df: float) -> tuple[str, float, float, float]:
    return name, statistic, df, float(special.chdtrc(df, max(statistic, 0.0)))
