"""The result of a parametric model: time ratios, and survival, hazard and quantiles of a profile."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize, special

from implstats import _check
from implstats._core import parametric
from implstats._core.convergence import Convergence
from implstats._core.parametric import Family, Fit, Spline, Times
from implstats.design.spells import Spells
from implstats.errors import DataError
from implstats.results import Estimates, Result, Sample, lock
from implstats.survival.hazard_words import FEW_EVENTS, recurrence_in_words
from implstats.survival.profiles import beside, profiles_of, references
from implstats.survival.shapes import shape_in_words
from implstats.survival.times import asked as asked_times
from implstats.survival.times import round_times

__all__ = ["ParametricResult"]

Floats = NDArray[np.float64]

# So far from the middle of the log times nothing is left of any distribution.
FAR = 200.0


@dataclass(frozen=True, eq=False, repr=False)
class ParametricResult(Result):
    """A fitted distribution of times whose logarithm shifts with the terms.

    Attributes
    ----------
    spells : Spells
        Who was at risk from when to when; read-only arrays.
    times : Times
        What is known of each row's log time.
    family : Family
        The distribution.
    fit : Fit
        The optimum of the likelihood.
    robust : numpy.ndarray or None
        Covariance from sums over clusters.
    """

    spells: Spells
    times: Times
    family: Family
    fit: Fit
    robust: Floats | None

    def __post_init__(self) -> None:
        lock((self.times, self.fit, self.robust))

    @property
    def distribution(self) -> str:
        """The distribution of the times."""
        return str(self.call["distribution"])

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters: the terms', then the distribution's."""
        if not isinstance(self.family, Spline):
            return (*self.spells.names, "(Intercept)", "log(scale)")
        more = (f"log(time) spline {k}" for k in range(2, self.family.size))
        return (*self.spells.names, "(Intercept)", "log(time)", *more)

    @property
    def events(self) -> int:
        """How many rows have the event, at a known time or within an interval."""
        return int((self.spells.event > 0).sum())

    @property
    def params(self) -> pd.Series:
        """The parameters; those of terms are changes of log time."""
        return pd.Series(self._to_names @ self._theta, index=list(self.names), name="estimate")

    @property
    def vcov(self) -> pd.DataFrame:
        """Their covariance: robust where there are clusters."""
        return self._named(self._covariance)

    @property
    def naive_vcov(self) -> pd.DataFrame:
        """The inverse of the observed information, which takes rows to be independent."""
        return self._named(self.fit.vcov)

    @property
    def loglik(self) -> float:
        """The log-likelihood of the times."""
        return self.fit.loglik

    @property
    def aic(self) -> float:
        """Akaike's criterion, to compare distributions on the same rows."""
        return 2 * len(self.names) - 2 * self.loglik

    @property
    def sample(self) -> Sample:
        """Rows, and what was dropped."""
        return self.spells.sample

    @property
    def convergence(self) -> Convergence:
        """How the fit ended."""
        return self.fit.convergence

    @property
    def _theta(self) -> Floats:
        return np.concatenate([self.fit.b, self.fit.shape])

    @property
    def _covariance(self) -> Floats:
        return self.fit.vcov if self.robust is None else self.robust

    @property
    def _to_names(self) -> Floats:
        """The matrix from parameters of centred columns to those that are named: an intercept where columns are 0."""
        out = np.eye(len(self.names))
        if not isinstance(self.family, Spline):
            out[len(self.fit.b), : len(self.fit.b)] = -self.fit.center
        return out

    def _named(self, matrix: Floats) -> pd.DataFrame:
        values = self._to_names @ matrix @ self._to_names.T
        return pd.DataFrame(values, index=list(self.names), columns=list(self.names))

    def tidy(  # type: ignore[override]
        self, *, level: float = 0.95, time_ratio: bool = False, hazard_ratio: bool = False
    ) -> pd.DataFrame:
        """Return one row a parameter, with its interval and test; `reference` is what a category is compared with.

        Parameters
        ----------
        level : float
            Level of the intervals, between 0 and 1.
        time_ratio : bool
            The terms alone, as exp(estimate): by what factor times are longer.
        hazard_ratio : bool
            The terms alone, as hazard ratios exp(-estimate / scale); of the Weibull distribution only.
        """
        if _check.flag("time_ratio", time_ratio) and _check.flag("hazard_ratio", hazard_ratio):
            raise DataError("time_ratio=True: hazard_ratio=True too; ask for one of them")
        if (time_ratio or hazard_ratio) and not self.spells.names:
            raise DataError("terms=None: there is no ratio without terms; see survival_at() and quantile()")
        change = self._hazard_ratio() if hazard_ratio else None
        estimate = self.params.to_numpy() if change is None else change[0]
        matrices = [self._covariance, self.fit.vcov]
        moved = [(self._to_names if change is None else change[1]) for _ in matrices]
        error, naive = (np.sqrt(np.diag(J @ m @ J.T)) for J, m in zip(moved, matrices, strict=True))
        names, compared = self.spells.names if hazard_ratio else self.names, references(self.spells)
        labels: dict[str, Any] = {"term": list(names), "reference": [compared.get(n, "") for n in names]}
        if self.robust is not None:
            labels["std_error_naive"] = naive.tolist()
        out = Estimates({}, "", labels, estimate, error, np.full(len(error), np.inf), tests=True, level=level).tidy()
        if time_ratio or hazard_ratio:
            out = out.iloc[: len(self.spells.names)].copy()
            out[["estimate", "conf_low", "conf_high"]] = np.exp(out[["estimate", "conf_low", "conf_high"]])
            errors = [c for c in ("std_error", "std_error_naive") if c in out]
            out[errors] = out[errors].mul(out["estimate"], axis=0)
        return out

    def _hazard_ratio(self) -> tuple[Floats, Floats]:
        """Return log hazard ratios and their derivatives by the parameters."""
        if self.distribution != "weibull":
            raise DataError(
                f"hazard_ratio=True: hazards are not proportional under distribution={self.distribution!r}; "
                "ask for time_ratio=True, or fit_cox"
            )
        p, scale = len(self.fit.b), math.exp(self.fit.shape[1])
        return -self.fit.b / scale, np.column_stack([-np.eye(p) / scale, np.zeros(p), self.fit.b / scale])

    def glance(self) -> pd.DataFrame:
        """Return one row about the whole model; among distributions of the same rows, less AIC is better."""
        found = {
            "model": self.distribution,
            "rows": self.sample.rows,
            "events": self.events,
            "censored": self.sample.rows - self.events,
            "parameters": len(self.names),
            "events_per_parameter": self.events / len(self.names),
            "loglik": self.loglik,
            "aic": self.aic,
            "converged": self.convergence.converged,
        }
        return pd.DataFrame([found])

    # Profiles ---------------------------------------------------------------------------------------------------------

    def survival_at(self, profile: Any = None, times: Any = None, *, level: float = 0.95) -> pd.DataFrame:
        """Return the share without the event at some times, with an interval symmetric in log(-log S).

        Parameters
        ----------
        profile : mapping of column to value, or DataFrame, optional
            Whose; by default one whose numbers are the mean of the rows, and who is an equal share of every level of a
            category.
        times : number or list of numbers, optional
            In the unit of the duration, by default round ones; `extrapolated` marks those beyond the last time seen.
        level : float
            Level of the intervals, between 0 and 1.
        """
        frame, asked, rows, u = self._at(profile, times)
        start = np.isneginf(u)
        with np.errstate(over="ignore", invalid="ignore"):
            found = self.family.log_survival(np.where(start, 0.0, u), self.fit.shape)
            error = self._error(self._slope(found, rows) / found.value[:, None])
            reach = np.exp(_normal(level) * error)
            table = {"estimate": np.exp(found.value), "std_error": -np.exp(found.value) * found.value * error}
            table |= {"conf_low": np.exp(found.value * reach), "conf_high": np.exp(found.value / reach)}
        whole = {name: np.where(start, 0.0 if name == "std_error" else 1.0, v) for name, v in table.items()}
        return self._table(frame, asked, whole)

    def hazard(self, profile: Any = None, times: Any = None, *, level: float = 0.95) -> pd.DataFrame:
        """Return events per unit of time among those still without one, at some times; intervals on the log scale.

        Parameters
        ----------
        profile, times, level
            As for `survival_at`; times are above 0.
        """
        frame, asked, rows, u = self._at(profile, times)
        if asked[0] == 0:
            raise DataError("times=0: a hazard need not be finite there; ask for a time above 0")
        there, now = self.family.log_survival(u, self.fit.shape), self.family.log_density(u, self.fit.shape)
        error = self._error(self._slope(now, rows) - self._slope(there, rows))
        hazard = np.exp(now.value - there.value) / np.tile(asked, len(frame))
        reach = np.exp(_normal(level) * error)
        table = {"estimate": hazard, "std_error": hazard * error}
        return self._table(frame, asked, table | {"conf_low": hazard / reach, "conf_high": hazard * reach})

    def quantile(self, profile: Any = None, p: Any = 0.5, *, level: float = 0.95) -> pd.DataFrame:
        """Return the time by which a share p has had the event, with an interval on the log scale.

        Parameters
        ----------
        profile, level
            As for `survival_at`.
        p : number or list of numbers between 0 and 1
            0.5 is the median.
        """
        shares = _check.at(p, "p")
        if outside := [s for s in shares if not 0 < s < 1]:
            raise DataError(f"p={_check.show(outside[0])}: not between 0 and 1; 0.5 asks for the median")
        frame, X = self._profiles(profile)
        u = np.tile([self._where(math.log1p(-s)) for s in shares], len(frame))
        rows = np.repeat(X, len(shares), axis=0)
        found = self.family.log_survival(u, self.fit.shape)
        slope = np.column_stack([rows, -found.by_shape / found.by_time[:, None]])
        time, error = np.exp(u + rows @ self.fit.b), self._error(slope)
        reach = np.exp(_normal(level) * error)
        table = {"estimate": time, "std_error": time * error, "conf_low": time / reach, "conf_high": time * reach}
        return beside(frame, shares, "share", table | {"extrapolated": time > self._last})

    def _where(self, log_survival: float) -> float:
        """Return u at which log S has a value."""

        def above(u: float) -> float:
            with np.errstate(over="ignore", invalid="ignore"):
                value = float(self.family.log_survival(np.array([u]), self.fit.shape).value[0])
            return max(value, -FAR) - log_survival

        middle = float(np.mean(self.times.lower[np.isfinite(self.times.lower)]))
        return float(optimize.brentq(above, middle - FAR, middle + FAR, xtol=1e-13))

    @property
    def _last(self) -> float:
        return float(self.spells.exit.max())

    def _profiles(self, profile: Any) -> tuple[pd.DataFrame, Floats]:
        frame, X = profiles_of(self.spells, profile)
        return frame, X - self.fit.center

    def _at(self, profile: Any, times: Any) -> tuple[pd.DataFrame, Floats, Floats, Floats]:
        """Return profiles, times, and for every pair the centred columns and u."""
        asked = np.array(round_times(self._last)) if times is None else asked_times(times)
        frame, X = self._profiles(profile)
        rows = np.repeat(X, len(asked), axis=0)
        with np.errstate(divide="ignore"):
            return frame, asked, rows, np.tile(np.log(asked), len(frame)) - rows @ self.fit.b

    def _slope(self, found: parametric.Parts, rows: Floats) -> Floats:
        return np.column_stack([-rows * found.by_time[:, None], found.by_shape])

    def _error(self, slope: Floats) -> Floats:
        return np.asarray(np.sqrt(np.maximum(np.einsum("nq,qr,nr->n", slope, self._covariance, slope), 0.0)))

    def _table(self, frame: pd.DataFrame, times: Floats, columns: Mapping[str, Floats]) -> pd.DataFrame:
        out = beside(frame, times, "time", columns)
        return out.assign(extrapolated=out["time"] > self._last)

    # The rows ---------------------------------------------------------------------------------------------------------

    def augment(self) -> pd.DataFrame:
        """Return one row an observation, on the caller's index: its roles, expected events and martingale residual.

        `martingale` is the event minus the events expected over the row's time at risk; where the time lies in an
        interval, minus those expected given that it does (Farrington 2000, DOI 10.1111/j.0006-341X.2000.00473.x).
        """
        out = pd.DataFrame({str(k): v for k, v in self.spells.roles.items()})
        out.index = self.spells.labels
        out["expected"] = self._expected()
        out["martingale"] = (self.spells.event > 0) - out["expected"]
        return out

    def _expected(self) -> Floats:
        """Return -E[log S(T)] over what is known of T, less that of the entry; one more where T lies in an interval."""
        eta, known = (self.spells.X - self.fit.center) @ self.fit.b, self.times.exact()

        def hazard(at: Floats) -> Floats:
            with np.errstate(invalid="ignore", over="ignore"):
                found = -self.family.log_survival(at - eta, self.fit.shape).value
            return np.where(np.isneginf(at), 0.0, np.where(np.isposinf(at), np.inf, found))

        low, high, entry = hazard(self.times.lower), hazard(self.times.upper), hazard(self.times.entry)
        first, second = np.exp(-low), np.exp(-high)
        with np.errstate(invalid="ignore", divide="ignore"):
            between = 1 - (first * low - np.where(second > 0, second * high, 0.0)) / -(first - second)
        inside = np.isfinite(self.times.upper)
        return np.where(known | ~inside, low, between) - entry

    def cross_check(self) -> pd.DataFrame:
        """Return every parameter and the log-likelihood next to lifelines'.

        Raises
        ------
        DataError
            Where lifelines has no such model.
        """
        from implstats.survival.second_opinion_parametric import aft

        return aft(self)

    def header(self) -> list[str]:
        """Return what was modelled, on what, what the shape says, and what a reader must know."""
        what = f"{self.distribution} distribution" if not isinstance(self.family, Spline) else self._spline_in_words()
        lines = [f"Parametric model of {self.spells.duration} until {self.spells.event_name}: {what}"]
        if self.spells.names:
            lines.append("exp(estimate) of a term is a time ratio: by what factor times are longer")
        lines += [self._events_in_words(), *self._shape_in_words()]
        if self.spells.delayed:
            lines.append("rows are at risk from their entry on: the model holds for those who get that far")
        if self.robust is not None:
            number = len(self.spells.clusters)
            few = _check.few_clusters(number)
            lines.append(f"standard errors are robust, from {number} clusters ({self.call['cluster']}){few}")
        lines += recurrence_in_words(self.spells, self.call["id"], self.spells.event > 0)
        return [*lines, *self.spells.notes, *self.sample.in_words(), self.convergence.message]

    def _spline_in_words(self) -> str:
        return f"log cumulative hazard a natural spline of log time with {self.family.size - 1} df"

    def _events_in_words(self) -> str:
        between = int((np.isfinite(self.times.upper) & ~self.times.exact()).sum())
        each = self.events / len(self.names)
        told = f" ({between} of them known by an interval)" if between else ""
        few = f"; below {FEW_EVENTS}, intervals are too narrow" if each < FEW_EVENTS else ""
        censored = self.sample.rows - self.events
        return f"{self.events} events{told}, {censored} censored; {each:.3g} events per parameter{few}"

    def _shape_in_words(self) -> list[str]:
        k = len(self.fit.b)
        return shape_in_words(self.distribution, self.family, self.fit.shape, self._covariance[k:, k:], self._seen)

    @property
    def _seen(self) -> tuple[float, float]:
        """The first and the last time at which a row of an event ended."""
        ends = self.spells.exit[self.spells.event > 0]
        return float(ends.min()), float(ends.max())


def _normal(level: float) -> float:
    return float(special.ndtri(0.5 + _check.level(level) / 2))
