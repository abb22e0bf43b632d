"""Parametric models of times: Weibull, log-normal, log-logistic, spline; events known to the day or between visits."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import optimize

from implstats import _check
from implstats._check import Faults
from implstats._core.parametric import Family, Fit, LocationScale, Spline, Times, fit
from implstats._core.structure import aliased
from implstats.design.spells import SpellRoles, Spells
from implstats.errors import ConvergenceError, DataError
from implstats.survival.bounds import read_bounds
from implstats.survival.lifetimes import ParametricResult
from implstats.survival.separation import columns_that_run_away

__all__ = ["fit_parametric"]

Floats = NDArray[np.float64]

DISTRIBUTIONS = ("weibull", "log-normal", "log-logistic", "spline")
DF = 3
# A standard error, in scales of the distribution per standard deviation of its column, that makes one look twice.
UNSURE = 3.0
# Rows that are looked at first for a line through all.
FEW = 1000


def fit_parametric(
    frame: pd.DataFrame,
    *,
    duration: Hashable | None = None,
    event: Hashable | None = None,
    lower: Hashable | None = None,
    upper: Hashable | None = None,
    terms: Any = None,
    distribution: str = "weibull",
    df: int | None = None,
    entry: Hashable | None = None,
    id: Hashable | None = None,
    cluster: Hashable | None = None,
    weights: Hashable | None = None,
    censored: Any = None,
    reference: Mapping[Hashable, Any] | None = None,
    missing: str = "drop",
) -> ParametricResult:
    """How long do programmes last, by what factor longer with each term, and does their risk rise or fall over time?

    Log time shifts with the terms and has a distribution of its own (accelerated failure time).

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per programme or patient.
    duration, event : str, optional
        Columns: time until the event or the end of observation, and 1 for an event, 0 for none.
    lower, upper : str, optional
        In place of these, for events between two visits (interval censoring): when a programme was last known to be
        active (0: it may have stopped at once), and when it was first known to be inactive (missing: it was active when
        last seen). Equal: the time is known.
    terms : list of columns, or patsy right-hand side, optional
        What times depend on; none of them: the distribution alone.
    distribution : {"weibull", "log-normal", "log-logistic", "spline"}
        "spline": the log of the cumulative hazard is a natural spline of log time, for hazards with several peaks.
        Compare `aic`.
    df : int, optional
        Columns of the spline, 3 by default; df + 1 knots stand at quantiles of the log times of events. 1 is Weibull.
    entry : str, optional
        Column: when a row comes under observation (delayed entry, left truncation).
    id : str, optional
        Column that names the programme; its rows must not overlap.
    cluster : str, optional
        Column whose levels are independent of each other, such as the organisation: robust standard errors.
    weights : str, optional
        Column of case weights.
    censored : value of the event column, optional
        What stands for no event, where the column does not hold 0 and 1.
    reference : mapping of column to level, optional
        The level that each category is compared with; by default its first.
    missing : {"drop", "raise"}
        Rows with a missing value are dropped and counted, or an error.

    Returns
    -------
    ParametricResult

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question, all faults together: several causes, no event, intervals that
        hold no time, terms that are combinations of others.
    ConvergenceError
        No maximum of the likelihood, or a term without a finite estimate, by name.

    Notes
    -----
    An event at t adds log f(t), an interval log(S(l) - S(u)), censoring log S(t), and delayed entry takes away log
    S(entry). Standard errors rest on the observed information. Where rows of one id have terms that change, the hazard
    at a time is that of somebody who always had the terms of that time. The spline's terms count from their means over
    the events.

    References
    ----------
    Kalbfleisch & Prentice 2002, DOI 10.1002/9781118032985; Royston & Parmar 2002, DOI 10.1002/sim.1203; Crowther,
    Royston & Clements 2023, DOI 10.1093/biostatistics/kxac009.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.survival.parametric import fit_parametric
    >>> visits = pd.DataFrame({"active": [0, 1, 2, 2, 3, 5, 1, 4], "gone": [1, 2, 4, None, 5, None, 3, 6]})
    >>> model = fit_parametric(visits, lower="active", upper="gone")
    >>> model.quantile().round(2)
       share  estimate  std_error  conf_low  conf_high  extrapolated
    0    0.5      2.99       0.81      1.76       5.07         False
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    faults = Faults()
    faults.ask(_check.one_of, "distribution", distribution, DISTRIBUTIONS)
    if df is not None and distribution != "spline":
        faults.add("df", df, "goes with distribution='spline'", "leave it out")
    elif df is not None:
        faults.ask(_check.whole, "df", df)
    roles = SpellRoles(
        duration, event, entry, id, cluster, weights=weights, terms=terms, censored=censored, reference=reference or {}
    )
    found, times = read_bounds(frame, roles, lower, upper, missing, faults)
    if repeated := [j - 1 for j in aliased(np.column_stack([np.ones(len(found.X)), found.X])) if j > 0]:
        wrong = ", ".join(_check.show(found.names[j]) for j in repeated)
        raise DataError(f"{wrong}: a linear combination of the other terms, or empty; drop it, or merge the categories")
    _check_spread(found, times, f"upper={_check.show(upper)}" if event is None else f"event={_check.show(event)}")
    made = ParametricResult(call, found, times, *_fitted(found, times, distribution, DF if df is None else df), None)
    if found.cluster is None:
        return made
    shares = pd.DataFrame(made.fit.scores * found.weight[:, None]).groupby(found.cluster).sum().to_numpy()
    root = shares @ made.fit.vcov
    return replace(made, robust=root.T @ root)


def _fitted(found: Spells, times: Times, distribution: str, df: int) -> tuple[Family, Fit]:
    """Return the distribution and its fit, from the exponential distribution that has the mean of the times."""
    mean = math.log(found.weight @ (found.exit - found.entry) / found.weight[found.event > 0].sum())
    family: Family = LocationScale(distribution)
    start = np.array([mean, 0.0])
    if distribution == "spline":
        knots = _knots(found, times, df)
        family = Spline(knots)
        start = np.concatenate([[knots[0] - mean, 1.0], np.zeros(df - 1)])
    try:
        best = fit(family, times, found.X, np.concatenate([np.zeros(found.X.shape[1]), start]))
    except ConvergenceError as error:
        _check_finite(found, times)
        raise ConvergenceError(
            f"distribution={distribution!r}: {error}; {_remedy(distribution)}", error.record
        ) from None
    if _unsure(found, best, family):
        _check_finite(found, times)
    if isinstance(family, Spline):
        _check_rise(found, times, family, best, df)
    return family, best


def _check_spread(found: Spells, times: Times, asked: str) -> None:
    """Refuse rows that all agree with one time: the narrower the distribution, the likelier they are.

    Known times are those of all events and the last of all rows; intervals, such as no row's excludes one time, or one
    line in the terms.
    """
    ended = np.isfinite(times.upper)
    last, unknown = times.upper[ended].max(), "how far times spread cannot be told"
    if (times.lower[ended] == last).all() and times.lower.max() == last:
        when = _check.show(float(found.exit[ended][0]))
        what = "the only event is" if ended.sum() == 1 else f"all {int(ended.sum())} events are"
        raise DataError(f"{asked}: {what} at {when}, the last time of all rows; {unknown}")
    if (times.lower[ended] == times.upper[ended]).all():
        return
    # A few rows mostly tell that no line passes through them all.
    if all(_one_line(found.X[:rows], times.lower[:rows], times.upper[:rows]) for rows in (FEW, len(found.X))):
        line, remedy = (", given the terms,", "use fewer terms, or ") if found.names else ("", "")
        remedy += "report the share that was still active at each visit"
        raise DataError(f"{asked}: one time{line} lies within what is known of every row; {unknown}; {remedy}")


def _one_line(X: Floats, lower: Floats, upper: Floats) -> bool:
    """Return whether some line in the columns passes between both ends of every row, or through them."""
    rows = np.column_stack(
        [(X - X.mean(axis=0)) / np.where(np.ptp(X, axis=0) > 0, X.std(axis=0), 1.0), np.ones(len(X))]
    )
    above, below = np.isfinite(lower), np.isfinite(upper)
    found = optimize.linprog(
        np.zeros(rows.shape[1]),
        A_ub=np.vstack([-rows[above], rows[below]]),
        b_ub=np.concatenate([-lower[above], upper[below]]),
        bounds=(None, None),
        method="highs",
    )
    return bool(found.status == 0)


def _remedy(distribution: str) -> str:
    return "use a smaller df" if distribution == "spline" else "use fewer terms, or another distribution"


def _knots(found: Spells, times: Times, df: int) -> tuple[float, ...]:
    """Return knots at quantiles of the log times of events, those of intervals taken in their middle."""
    ended = np.isfinite(times.upper)
    middle = np.log((np.exp(times.lower[ended]) + np.exp(times.upper[ended])) / 2)
    knots = np.quantile(middle, np.linspace(0, 1, df + 1))
    if (np.diff(knots) <= 0).any():
        different = len(np.unique(middle))
        raise DataError(f"df={df}: the {different} different times of events carry fewer knots; use a smaller df")
    return tuple(knots.tolist())


def _unsure(found: Spells, best: Fit, family: Family) -> bool:
    """Return whether a term's standard error is so large that its estimate may be on its way to infinity."""
    error = np.sqrt(np.diag(best.vcov))[: len(found.names)] * found.X.std(axis=0)
    scale = math.exp(best.shape[1]) if isinstance(family, LocationScale) else 1 / best.shape[1]
    return bool((error > UNSURE * scale).any())


def _check_finite(found: Spells, times: Times) -> None:
    """Refuse terms without a finite estimate: some rows become ever likelier along them, and the others stay."""
    rows = np.column_stack([found.X, np.ones(len(found.X))])
    on, over = np.isposinf(times.upper), np.isneginf(times.lower)
    away = columns_that_run_away(np.vstack([rows[on], -rows[over]]), rows[~on & ~over])
    if terms := [found.names[j] for j in away if j < len(found.names)]:
        wrong = ", ".join(map(_check.show, terms))
        raise ConvergenceError(
            f"{wrong}: no finite estimate{'s' * (len(terms) > 1)}; the likelihood rises for ever, as where one group "
            "has no event; merge categories, leave it out, or use fit_cox with penalty='firth'",
            {"terms": terms},
        )


def _check_rise(found: Spells, times: Times, family: Spline, best: Fit, df: int) -> None:
    """Refuse a spline that falls anywhere between the rows' own times: a cumulative hazard never does."""
    eta = (found.X - best.center) @ best.b
    ends = np.concatenate([(t - eta)[np.isfinite(t)] for t in (times.lower, times.upper, times.entry)])
    u = np.linspace(ends.min(), ends.max(), 1001)
    falls = family.basis(u)[1] @ best.shape <= 0
    if falls.any():
        when = f"{math.exp(u[falls][0]):.3g}"
        raise ConvergenceError(
            f"df={df}: the fitted hazard is negative at {when} {found.duration}; use a smaller df", {"time": when}
        )
