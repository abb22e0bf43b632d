"""Hazards in discrete time: the chance of the event in each period, and how it differs between programmes."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats._check import Faults
from implstats._core.convergence import Convergence
from implstats.design.spells import SpellRoles, Spells, spells
from implstats.errors import DataError
from implstats.results import Estimates, Result, Sample, intervals, lock
from implstats.survival.binomial import LINKS, BinomialFit, fit_counts, hazard_of, rate_of, slope_of
from implstats.survival.hazard_words import FEW_EVENTS, recurrence_in_words
from implstats.survival.periods import (
    BASELINES,
    Baseline,
    PersonPeriods,
    baseline_of,
    check_options,
    person_periods,
)
from implstats.survival.profiles import beside, one_kind_of_event, profiles_of, references

__all__ = ["DiscreteHazardResult", "fit_discrete_hazard"]

Floats = NDArray[np.float64]

RATIOS = {"cloglog": "hazard ratio", "logit": "odds ratio of the event in a period"}


@dataclass(frozen=True, eq=False, repr=False)
class DiscreteHazardResult(Result):
    """A fitted hazard in discrete time.

    Attributes
    ----------
    spells : Spells
        Who was at risk from when to when; read-only arrays.
    counts : PersonPeriods
        At risk and events of every kind of row and period.
    baseline : Baseline
        How the hazard runs over the periods.
    link : {"cloglog", "logit"}
    fit : BinomialFit
        Coefficients of the terms, then of the baseline, and their covariance.
    """

    spells: Spells
    counts: PersonPeriods
    baseline: Baseline
    link: str
    fit: BinomialFit

    def __post_init__(self) -> None:
        lock((self.counts, self.fit))

    @property
    def names(self) -> tuple[str, ...]:
        """The coefficients: the terms', then the baseline's."""
        return (*self.spells.names, *self.baseline.names)

    @property
    def params(self) -> pd.Series:
        """The coefficients, on the scale of the link."""
        return pd.Series(self.fit.beta.copy(), index=list(self.names), name="estimate")

    @property
    def vcov(self) -> pd.DataFrame:
        """Their covariance."""
        return pd.DataFrame(self.fit.vcov.copy(), index=list(self.names), columns=list(self.names))

    @property
    def loglik(self) -> float:
        """The log-likelihood of the person-period rows."""
        return self.fit.loglik

    @property
    def sample(self) -> Sample:
        """Rows, and what was dropped."""
        return self.spells.sample

    @property
    def convergence(self) -> Convergence:
        """How the fit ended."""
        return self.fit.convergence

    def tidy(  # type: ignore[override]
        self, *, level: float = 0.95, hazard_ratio: bool = False, odds_ratio: bool = False
    ) -> pd.DataFrame:
        """Return one row a coefficient, with its interval and test; `reference` is what a category is compared with.

        Parameters
        ----------
        level : float
            Level of the intervals, between 0 and 1.
        hazard_ratio, odds_ratio : bool
            The terms alone, as exp(estimate): under cloglog a hazard ratio, under logit the odds ratio of the event
            within a period. The test stays that of a ratio of 1.
        """
        ratio = self._ratio(hazard_ratio, odds_ratio)
        error = np.sqrt(np.diag(self.fit.vcov))
        compared = references(self.spells)
        labels = {"term": list(self.names), "reference": [compared.get(name, "") for name in self.names]}
        if self.spells.cluster is not None:
            labels["std_error_naive"] = np.sqrt(np.diag(self.fit.naive_vcov)).tolist()
        out = Estimates(
            {}, "", labels, self.fit.beta, error, np.full(len(error), np.inf), tests=True, level=level
        ).tidy()
        if ratio:
            out = out.iloc[: len(self.spells.names)].copy()
            out[["estimate", "conf_low", "conf_high"]] = np.exp(out[["estimate", "conf_low", "conf_high"]])
            errors = [c for c in ("std_error", "std_error_naive") if c in out]
            out[errors] = out[errors].mul(out["estimate"], axis=0)
        return out

    def _ratio(self, hazard_ratio: bool, odds_ratio: bool) -> bool:
        """Return whether ratios are asked for; the other link's are refused."""
        for argument, asked, link in (("hazard_ratio", hazard_ratio, "cloglog"), ("odds_ratio", odds_ratio, "logit")):
            if _check.flag(argument, asked) and link != self.link:
                remedy = f"ask for the other, or fit with link={link!r}"
                raise DataError(f"{argument}=True: exp(estimate) is the {RATIOS[self.link]} here; {remedy}")
        if (hazard_ratio or odds_ratio) and not self.spells.names:
            raise DataError("terms=None: there is no ratio without terms; see hazard() for the baseline")
        return hazard_ratio or odds_ratio

    def glance(self) -> pd.DataFrame:
        """Return one row about the whole model: sizes, likelihood, criteria."""
        events, k = int((self.spells.event > 0).sum()), len(self.names)
        return pd.DataFrame(
            {
                "rows": [self.sample.rows],
                "events": [events],
                "censored": [self.sample.rows - events],
                "parameters": [k],
                "events_per_parameter": [events / k],
                "loglik": [self.loglik],
                "aic": [2 * k - 2 * self.loglik],
                "converged": [self.convergence.converged],
            }
        )

    def at_risk(self) -> pd.DataFrame:
        """Return for every period how many were at risk, how many had the event, and their share."""
        at_risk, events = self.counts.by_period()
        table = {"time": self.counts.periods, "at_risk": at_risk, "events": events, "estimate": events / at_risk}
        return pd.DataFrame(table)

    def hazard(self, profile: Any = None, times: Any = None, *, level: float = 0.95) -> pd.DataFrame:
        """Return the chance of the event in each period, of those at risk in it.

        Parameters
        ----------
        profile : mapping of column to value, or DataFrame, optional
            Whose hazard; by default one whose numbers are the mean of the rows, and who is an equal share of every
            level of a category.
        times : period or list of periods, optional
            By default every period in which anybody was at risk.
        level : float
            Level of the intervals, which are symmetric on the scale of the link. Where a free baseline saw nobody or
            everybody have the event there is none.
        """
        frame, rows = profiles_of(self.spells, profile)
        periods = self.counts.periods if times is None else self._seen(_check.at(times, "times"))
        design = self._design(rows, periods)
        eta, se = design @ self.fit.beta, self._se(design)
        low, high = intervals(eta, se, np.full(len(eta), math.inf), level)
        hazard = hazard_of(eta, self.link)
        table = {"estimate": hazard, "std_error": slope_of(eta, self.link) * (1 - hazard) * se}
        table |= {"conf_low": hazard_of(low, self.link), "conf_high": hazard_of(high, self.link)}
        known = np.tile(self.baseline.known(periods), len(frame))
        for name, values in table.items():
            table[name] = np.where(np.isnan(known), values, known if name == "estimate" else math.nan)
        return beside(frame, periods, "time", table)

    def survival_at(self, profile: Any = None, times: Any = None, *, level: float = 0.95) -> pd.DataFrame:
        """Return the share without the event by the end of some periods.

        Parameters
        ----------
        profile
            As for `hazard`.
        times : period or list of periods, optional
            0 is the start. By default every period in which anybody was at risk.
        level : float
            Level of the intervals, which are symmetric in log(-log S).

        Notes
        -----
        S(t) is the product over periods up to t of one minus the hazard; its variance is the delta method's.
        """
        frame, rows = profiles_of(self.spells, profile)
        asked = np.array(self.counts.periods if times is None else _check.at(times, "times"), dtype=float)
        last = max(self._seen([k for k in asked.tolist() if k != 0]), default=0)
        path = self._seen(list(range(1, int(last) + 1)))
        until = np.array([[k <= t for k in path] for t in asked], dtype=float).reshape(len(asked), len(path))
        z = special.ndtri(0.5 + _check.level(level) / 2)
        parts = [self._survival(row, path, until, z) for row in rows]
        table = pd.concat(parts, ignore_index=True)
        return beside(frame, asked, "time", {str(name): table[name] for name in table})

    def _survival(self, row: Floats, path: NDArray[Any], until: Floats, z: float) -> pd.DataFrame:
        """Return the share without the event, from the periods passed through until each time."""
        design, known = self._design(row[None, :], path), self.baseline.known(path)
        eta = np.where(np.isnan(known), design @ self.fit.beta, -math.inf)
        total = until @ rate_of(eta, self.link)
        slope = until @ (slope_of(eta, self.link)[:, None] * design)
        se = self._se(slope)
        reach = np.exp(z * se / np.where(total > 0, total, 1.0))
        out = pd.DataFrame({"estimate": np.exp(-total), "std_error": np.exp(-total) * se})
        out["conf_low"], out["conf_high"] = np.exp(-total * reach), np.exp(-total / reach)
        gone = until @ (known == 1) > 0
        out.loc[gone, "estimate"] = 0.0
        out.loc[gone, ["std_error", "conf_low", "conf_high"]] = math.nan
        return out

    def augment(self) -> pd.DataFrame:
        """Return one row an observation, on the caller's index: its roles, events expected of it, and the residual.

        `martingale` is the event (0 or 1) minus the sum of the row's hazards over its periods.
        """
        periods = np.arange(1, int(self.spells.exit.max()) + 1)
        eta = (self.counts.X @ self.fit.beta[: len(self.spells.names)])[:, None]
        eta = eta + (self.baseline.columns(periods) @ self.fit.beta[len(self.spells.names) :])[None, :]
        known = self.baseline.known(periods)[None, :]
        hazard = np.where(np.isnan(known), hazard_of(eta, self.link), known)
        total = np.cumsum(np.column_stack([np.zeros(len(eta)), hazard]), axis=1)
        kind = self.counts.kind_of_row
        entry, exit_ = self.spells.entry.astype(np.intp), self.spells.exit.astype(np.intp)
        out = pd.DataFrame({str(k): v for k, v in self.spells.roles.items()})
        out.index = self.spells.labels
        out["expected"] = total[kind, exit_] - total[kind, entry]
        out["martingale"] = (self.spells.event > 0) - out["expected"]
        return out

    def _design(self, rows: Floats, periods: NDArray[Any]) -> Floats:
        """Return the columns of every row in every period, row by row."""
        over = self.baseline.columns(periods)
        return np.column_stack([np.repeat(rows, len(periods), axis=0), np.tile(over, (len(rows), 1))])

    def _se(self, design: Floats) -> Floats:
        return np.asarray(np.sqrt(np.maximum(np.einsum("nq,qr,nr->n", design, self.fit.vcov, design), 0.0)))

    def _seen(self, times: list[float]) -> NDArray[Any]:
        """Return periods in which anybody was at risk; others are refused, since nothing is known of them."""
        seen = self.counts.periods
        for t in times:
            if t not in seen:
                gaps = "" if len(seen) == seen[-1] - seen[0] + 1 else ", with gaps"
                raise DataError(
                    f"times={_check.show(t)}: no period in which anybody was at risk; there are {seen[0]} to "
                    f"{seen[-1]}{gaps}"
                )
        return np.array(times, dtype=np.intp)

    def header(self) -> list[str]:
        """Return the model, what it rests on, and what a reader must know."""
        events, k = int((self.spells.event > 0).sum()), len(self.names)
        head = f"Hazard of {self.spells.event_name} per period of {self.spells.duration}"
        lines = [f"{head} ({self.link}, baseline: {self.baseline.in_words()})"]
        if self.spells.names:
            lines.append(f"exp(estimate) of a term is its {RATIOS[self.link]}")
        lines += [self._events_in_words(events, k), *self._errors_in_words()]
        lines += [*self.baseline.certain_in_words(), *self.spells.notes]
        return [*lines, *self.sample.in_words(), self.convergence.message]

    def _events_in_words(self, events: int, k: int) -> str:
        rows = f"{self.counts.at_risk.sum():.10g} person-periods in {len(self.counts.kind)} counts"
        each = f"{events / k:.3g} events per parameter"
        few = f"; below {FEW_EVENTS}, estimates lean away from 0" if events < FEW_EVENTS * k else ""
        return f"{events} events, {self.sample.rows - events} censored; {rows}; {k} parameters, {each}{few}"

    def _errors_in_words(self) -> list[str]:
        clusters = len(self.spells.clusters)
        if self.spells.cluster is None:
            return recurrence_in_words(self.spells, self.call["id"], self.spells.event > 0)
        few = _check.few_clusters(clusters)
        return [f"standard errors are cluster-robust (Lin and Wei's sandwich), {clusters} clusters{few}"]


def fit_discrete_hazard(
    frame: pd.DataFrame,
    *,
    duration: Hashable,
    event: Hashable,
    terms: Any = None,
    entry: Hashable | None = None,
    id: Hashable | None = None,
    cluster: Hashable | None = None,
    weights: Hashable | None = None,
    censored: Any = None,
    reference: Mapping[Hashable, Any] | None = None,
    link: str = "cloglog",
    baseline: str = "free",
    degree: int | None = None,
    df: int | None = None,
    missing: str = "drop",
) -> DiscreteHazardResult:
    """How likely is the event in each period, and what makes it more or less likely?

    For times that are known by period only: years of a programme, quarters of claims. Every row counts once in each
    period in which it is at risk.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per programme or patient; several, with `entry` and `id`, where terms change over time.
    duration, event : str
        Columns: the period in which the row ended, a whole number from 1 on; and 1 for an event, 0 for none. A row is
        taken as at risk for the whole of its last period.
    terms : list of columns, or patsy right-hand side, optional
        What the hazard depends on; none of them: the baseline alone.
    entry : str, optional
        Column: periods that had passed before the row came under observation.
    id : str, optional
        Column that names the programme; its rows must not overlap.
    cluster : str, optional
        Column whose levels are independent of each other, such as the organisation: cluster-robust standard errors.
    weights : str, optional
        Column of case weights.
    censored : value of the event column, optional
        What stands for no event, where the column does not hold 0 and 1.
    reference : mapping of column to level, optional
        The level that each category is compared with; by default its first.
    link : {"cloglog", "logit"}
        Complementary log-log: proportional hazards of the time behind the periods. Logit: proportional odds of the
        event within a period.
    baseline : {"free", "polynomial", "spline"}
        A parameter for every period with events and others at risk (elsewhere its hazard is 0 or 1, as Kaplan and
        Meier's); a polynomial of the period; a natural spline with knots at quantiles of the periods.
    degree : int, optional
        Of the polynomial, 2 by default; 0 is a hazard that does not change.
    df : int, optional
        Columns of the spline beside the constant, 2 or more, 3 by default.
    missing : {"drop", "raise"}
        Rows with a missing value are dropped and counted, or an error.

    Returns
    -------
    DiscreteHazardResult

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question, all faults together: several causes, no event, periods that
        are no whole numbers, terms that are combinations of others.
    ConvergenceError
        A term that tells events from non-events apart (separation), by name: no finite estimate is best.

    Notes
    -----
    g(h_it) = a_t + x_i b for the hazard h of row i in period t. Standard errors rest on the expected information; with
    `cluster`, on sum_c U_c U_c' between its inverses, without a factor for small numbers.

    References
    ----------
    Prentice & Gloeckler 1978, DOI 10.2307/2529588; Singer & Willett 1993, DOI 10.3102/10769986018002155; Lin & Wei
    1989, DOI 10.1080/01621459.1989.10478874; Konis 2007 (separation), thesis, University of Oxford.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.survival.discrete import fit_discrete_hazard
    >>> years = pd.DataFrame({"year": [1, 2, 2, 3, 3, 3, 1, 1, 2, 2, 3, 3], "era": ["before"] * 6 + ["during"] * 6,
    ...                       "stopped": [1, 1, 0, 1, 0, 0, 1, 1, 1, 1, 1, 0]})
    >>> fit = fit_discrete_hazard(years, duration="year", event="stopped", terms="era")
    >>> fit.tidy(hazard_ratio=True)[["term", "estimate"]].round(2)
              term  estimate
    0  era[during]      2.35
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    faults = Faults()
    for argument, value, allowed in (("link", link, LINKS), ("baseline", baseline, BASELINES)):
        faults.ask(_check.one_of, argument, value, allowed)
    check_options(baseline, degree, df, faults)
    roles = SpellRoles(
        duration, event, entry, id, cluster, weights=weights, terms=terms, censored=censored, reference=reference or {}
    )
    found = spells(frame, roles, missing=missing, faults=faults)
    one_kind_of_event(found, event, faults)
    counts = person_periods(found, entry, faults)
    course = baseline_of(baseline, degree, df, found, counts)
    return DiscreteHazardResult(call, found, counts, course, link, fit_counts(found, counts, course, link))
