"""Fixed effects: estimates, intervals and tests of terms and of their combinations, for every growth model."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats._core.convergence import Convergence
from implstats._core.inference import Inference
from implstats.design import Design
from implstats.errors import DataError
from implstats.results import Estimates, Result, Sample

__all__ = ["DF", "METHODS", "FixedEffects", "check_weights"]

Floats = NDArray[np.float64]

DF = ("satterthwaite", "kenward-roger", "normal")
METHODS = ("reml", "ml")


class Fitted(Protocol):
    """What fixed effects need of an engine's record."""

    @property
    def reml(self) -> bool: ...
    @property
    def beta(self) -> Floats: ...
    @property
    def vcov(self) -> Floats: ...
    @property
    def deviance(self) -> float: ...
    @property
    def convergence(self) -> Convergence: ...


def check_weights(patient_weights: str | None, method: str, faults: _check.Faults) -> None:
    """Record REML with weights of patients: how many residual degrees of freedom they leave is not defined."""
    if patient_weights is not None and method == "reml":
        faults.add("method", method, "a weighted restricted likelihood is not defined", "say method='ml'")


class FixedEffects(Result):
    """What every fitted Gaussian model says about its fixed effects."""

    design: Design
    fit: Fitted

    @property
    @abstractmethod
    def _inference(self) -> Inference:
        """What tests and intervals need."""

    @abstractmethod
    def augment(self) -> pd.DataFrame:
        """Return one row an observation, on the caller's index: its roles, prediction and residual."""

    @abstractmethod
    def variances(self, *, level: float | None = None) -> pd.DataFrame:
        """Return the variances, one a row; with `level` also profile-likelihood intervals."""

    @abstractmethod
    def predict(
        self, newdata: pd.DataFrame | None = None, *, level: float = 0.95, interval: str = "confidence"
    ) -> pd.DataFrame:
        """Return the expected outcome of each row of new data, with its interval."""

    @property
    def _weighted(self) -> bool:
        """Whether patients count more or less than once, so that the likelihood is none of the sample's."""
        return self.design.weight is not None

    def refuse_weights(self, what: str) -> None:
        """Refuse what takes the likelihood for that of a sample."""
        if self._weighted:
            raise DataError(f"{what}: not defined with patient_weights=; fit without them")

    @property
    def outcome(self) -> str:
        """The outcome's column."""
        return self.design.outcome

    @property
    def formula(self) -> str:
        """The model as lme4 writes it."""
        return self.design.formula

    @property
    def method(self) -> str:
        """How it was estimated: REML or ML."""
        return "REML" if self.fit.reml else "ML"

    @property
    def sample(self) -> Sample:
        """Rows, groups, and what was dropped."""
        return self.design.sample

    @property
    def convergence(self) -> Convergence:
        """How the fit ended."""
        return self.fit.convergence

    @property
    def loglik(self) -> float:
        """The log-likelihood (restricted under REML)."""
        return -self.fit.deviance / 2

    @property
    def params(self) -> pd.Series:
        """The fixed effects."""
        return pd.Series(self.fit.beta.copy(), index=list(self.design.names), name="estimate")

    @property
    def vcov(self) -> pd.DataFrame:
        """The covariance of the fixed effects, (X'V^-1 X)^-1."""
        names = list(self.design.names)
        return pd.DataFrame(self.fit.vcov.copy(), index=names, columns=names)

    def _df(self, df: str) -> str:
        """Return how df are found: by default Satterthwaite's; a robust covariance of weighted patients has none."""
        _check.one_of("df", df, ("auto", *DF))
        if self._weighted:
            if df not in ("auto", "normal"):
                raise DataError(
                    f"df={df!r}: not defined with patient_weights=, whose standard errors come from the spread between "
                    "patients; say df='normal'"
                )
            return "normal"
        if df == "auto":
            return "satterthwaite"
        if df == "kenward-roger" and not self.fit.reml:
            raise DataError("df='kenward-roger': defined for method='reml' only; refit, or use df='satterthwaite'")
        return df

    def _estimate(self, rows: Floats) -> Floats:
        return np.asarray(rows @ self.fit.beta)

    def _linear(self, rows: Floats, df: str) -> tuple[Floats, Floats, Floats]:
        estimate = self._estimate(rows)
        if self._df(df) == "normal":
            variance = np.einsum("kp,pq,kq->k", rows, self.fit.vcov, rows)
            return estimate, np.sqrt(np.maximum(variance, 0.0)), np.full(len(rows), np.inf)
        std_error, freedom = self._inference.contrasts(rows, df)
        return estimate, std_error, freedom

    def _covariance(self, rows: Floats, df: str) -> Floats:
        if self._df(df) == "kenward-roger":
            return self._inference.covariance(rows, df)
        return np.asarray(rows @ self.fit.vcov @ rows.T)

    def tidy(self, *, level: float = 0.95, df: str = "auto") -> pd.DataFrame:  # type: ignore[override]
        """Return one row a fixed effect, with its interval and test.

        Parameters
        ----------
        level : float
            Level of the intervals, between 0 and 1.
        df : {"auto", "satterthwaite", "kenward-roger", "normal"}
            How degrees of freedom are found, by default Satterthwaite's (normal with patient_weights); Kenward-Roger
            also widens the standard errors and needs REML.

        References
        ----------
        Kuznetsova et al. 2017, DOI 10.18637/jss.v082.i13; Kenward & Roger 1997, DOI 10.2307/2533558.
        """
        p = len(self.design.names)
        estimate, std_error, freedom = self._linear(np.eye(p), df)
        labels = pd.DataFrame({"term": list(self.design.names)})
        return Estimates({}, "", labels, estimate, std_error, freedom, tests=True, level=level).tidy()

    def contrast(
        self, weights: Mapping[str, float], *, level: float = 0.95, df: str = "auto", name: str = "contrast"
    ) -> Estimates:
        """Return one linear combination of fixed effects with its interval and test.

        Parameters
        ----------
        weights : mapping of term to number
            Terms that are left out weigh nothing.
        level, df
            As for `tidy`.
        name : str
            What the row is called.
        """
        if not isinstance(weights, Mapping):
            raise DataError(
                f"weights={_check.show(weights)}: not a mapping from term to number; write {self._example(1)}"
            )
        if not weights:
            raise DataError(f"weights={{}}: no term is named; write {self._example(1)}")
        rows = self._weights([weights])
        estimate, std_error, freedom = self._linear(rows, df)
        title = " + ".join(f"{w:g} x {t}" for t, w in weights.items())
        labels = pd.DataFrame({"term": [name]})
        return Estimates(
            {"weights": dict(weights), "df": df}, title, labels, estimate, std_error, freedom, tests=True, level=level
        )

    def joint_test(self, terms: Sequence[str | Mapping[str, float]], *, df: str = "auto") -> pd.DataFrame:
        """Return one row: are these terms (or linear combinations of terms) all zero?

        Parameters
        ----------
        terms : list of term names, or of mappings from term to weight
        df : {"auto", "satterthwaite", "kenward-roger", "normal"}
            Fai and Cornelius' denominator (as lmerTest's, it depends a little on the units of the terms), Kenward and
            Roger's scaled F (which does not), or chi-square / df_num.
        """
        if isinstance(terms, str) or not isinstance(terms, Sequence):
            raise DataError(f"terms={_check.show(terms)}: not a list of terms; write {self._example()}")
        if not terms:
            raise DataError(f"terms=[]: no term is named; write {self._example()}")
        rows = self._weights([t if isinstance(t, Mapping) else {t: 1.0} for t in terms])
        df = self._df(df)
        statistic, numerator, denominator, _ = self._inference.joint(self.fit.beta, rows, df)
        p = (
            special.chdtrc(numerator, statistic * numerator)
            if math.isinf(denominator)
            else special.fdtrc(numerator, denominator, statistic)
            if denominator > 0
            else math.nan
        )
        return pd.DataFrame(
            {"statistic": [statistic], "df_num": [numerator], "df": [denominator], "p_value": [float(p)]}
        )

    def _example(self, weight: int | None = None) -> str:
        term = self.design.names[min(1, len(self.design.names) - 1)]
        return _check.show([term]) if weight is None else f"{{{_check.show(term)}: {weight}}}"

    def _weights(self, given: Sequence[Mapping[str, float]]) -> Floats:
        rows = np.zeros((len(given), len(self.design.names)))
        for k, weights in enumerate(given):
            for term, weight in weights.items():
                if term not in self.design.names:
                    raise DataError(
                        f"term={_check.show(term)}: not in the model{_check.nearest(term, self.design.names)}"
                    )
                rows[k, self.design.names.index(term)] = _check.number("weight", weight)
        return rows

    def _shown(self) -> pd.DataFrame:
        """Return the table to print: with normal intervals where no df can be computed."""
        try:
            return self.tidy()
        except DataError:
            return self.tidy(df="normal")

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON can hold it; adds formula, sample and convergence."""
        sample = self.sample
        more = {
            "formula": self.formula,
            "sample": {"given": sample.given, "rows": sample.rows, "added": sample.added}
            | {"dropped": dict(sample.dropped), "groups": {str(k): v for k, v in sample.groups.items()}}
            | {"patients": {str(k): v for k, v in sample.patients.items()}},
            "convergence": self.convergence.to_dict(),
        }
        return super().to_dict() | more
