"""Rates whose rows vary more than independent events do: quasi-Poisson, negative binomial, clusters; by statsmodels."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implstats import _check
from implstats.errors import ConvergenceError
from implstats.results import frozen, intervals

__all__ = ["Counts", "LogRates", "log_rates"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False, slots=True)
class LogRates:
    """Rates of the cohorts that had events, on the log scale.

    Attributes
    ----------
    rate : (C,) log of events per unit of exposure, -inf without events.
    vcov : (C, C) its covariance, nan without events.
    df : degrees of freedom of intervals.
    more : what else was estimated, in words.
    """

    rate: Floats
    vcov: Floats
    df: float
    more: str = ""

    def __post_init__(self) -> None:
        for name in ("rate", "vcov"):
            object.__setattr__(self, name, frozen(getattr(self, name), float))

    def interval(self, contrast: Floats, level: float) -> tuple[float, float, float]:
        """Return exp of a contrast of log rates, with its ends; nan where a cohort had no event."""
        used = np.flatnonzero(contrast)
        if not np.isfinite(self.rate[used]).all():
            return math.nan, math.nan, math.nan
        x = contrast[used]
        error = np.array([math.sqrt(x @ self.vcov[np.ix_(used, used)] @ x)])
        center = np.array([x @ self.rate[used]])
        low, high = intervals(center, error, np.array([self.df]), level)
        return float(np.exp(center[0])), float(np.exp(low[0])), float(np.exp(high[0]))


@dataclass(frozen=True)
class Counts:
    """The rows that are used: events, exposure, cohort, and what hangs together."""

    events: Floats
    exposure: Floats
    cohort: Ints
    cluster: Ints | None
    cohorts: tuple[Any, ...]

    def of_cohort(self, values: Floats) -> Floats:
        """Return the sum of a value of the rows, per cohort."""
        return np.asarray(np.bincount(self.cohort, values, len(self.cohorts)), dtype=float)

    def expected(self) -> Floats:
        """Return each row's events, were its cohort's rate the same in all rows."""
        return (self.of_cohort(self.events) / self.of_cohort(self.exposure))[self.cohort] * self.exposure

    def dispersion(self) -> tuple[float, int]:
        """Return Pearson's chi-square / df, and df; cohorts without events say nothing of it."""
        expected = self.expected()
        said = expected > 0
        df = int(said.sum()) - len(np.unique(self.cohort[said]))
        square = float(((self.events - expected)[said] ** 2 / expected[said]).sum())
        return (square / df if df > 0 else math.nan), df


def _refuse_no_spread(counts: Counts, method: str) -> None:
    """Refuse a negative binomial whose likelihood falls from alpha = 0 on: its slope there is sum (y - mu)^2 - y."""
    expected = counts.expected()
    if method == "negative-binomial" and float(((counts.events - expected) ** 2 - counts.events).sum()) <= 0:
        raise ConvergenceError(
            "method='negative-binomial': rows vary no more than independent events do, so alpha would be 0; say "
            "method='exact'",
            {},
        )


def log_rates(counts: Counts, method: str) -> LogRates:
    """Return log rates and their covariance by statsmodels, converted at this door."""
    from statsmodels.discrete.discrete_model import NegativeBinomial
    from statsmodels.genmod import families
    from statsmodels.genmod.generalized_linear_model import GLM

    size = len(counts.cohorts)
    some = counts.of_cohort(counts.events) > 0
    used, columns = some[counts.cohort], np.flatnonzero(some)
    y, X = counts.events[used], np.eye(size)[counts.cohort[used]][:, columns]
    offset = np.log(counts.exposure[used])
    dispersion, freedom = counts.dispersion()
    df, more = float(freedom), ""
    _refuse_no_spread(counts, method)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        if method == "negative-binomial":
            found = NegativeBinomial(y, X, offset=offset).fit(disp=0, maxiter=500, method="bfgs", gtol=1e-8)
            more = f", alpha {float(found.params[-1]):.4g}"
            df = math.inf
        else:
            model = GLM(y, X, family=families.Poisson(), offset=offset)
            options: dict[str, Any] = {"scale": max(dispersion, 1.0)}
            if method == "robust":
                assert counts.cluster is not None
                cluster = counts.cluster[used]
                number = len(np.unique(cluster))
                df, options = number - 1, {"cov_type": "cluster", "cov_kwds": {"groups": cluster}}
                more = f", from {number} clusters{_check.few_clusters(number)}"
            found = model.fit(tol=1e-12, maxiter=200, **options)
    k = len(columns)
    estimate, V = np.asarray(found.params)[:k], np.asarray(found.cov_params())[:k, :k]
    rate, vcov = np.full(size, -np.inf), np.full((size, size), np.nan)
    rate[columns], vcov[np.ix_(columns, columns)] = estimate, V
    return LogRates(rate, vcov, float(df), more)
