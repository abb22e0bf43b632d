"""Patients who leave at different times may change differently: effects within each pattern, averaged over patterns."""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats.design.frames import codes
from implstats.errors import BoundaryWarning, DataError
from implstats.growth import GrowthResult, fit_growth
from implstats.results import Result, frozen, intervals
from implstats.sensitivity.compared import combination, retained

__all__ = ["PatternMixture", "pattern_mixture"]

Floats = NDArray[np.float64]

# A cell of a cohort and pattern needs so many patients with a change of their own.
FEWEST = 5
STAYED, LEFT = "stayed", "left"


@dataclass(frozen=True, eq=False, repr=False)
class PatternMixture(Result):
    """Cohorts' improvements averaged over patterns of drop-out.

    Attributes
    ----------
    growth : GrowthResult
        The model with a line for every cohort and pattern.
    cohorts, patterns : tuple
        The cohorts, the reference first; the patterns, from those who stayed.
    counts : numpy.ndarray
        (cohorts, patterns) patients.
    once : int
        Patients of the pattern "left" with one visit only.
    time : float
    change : numpy.ndarray
        (cohorts, patterns) improvement since the baseline, positive is better.
    covariance : numpy.ndarray
        (cohorts x patterns, cohorts x patterns)
    level : float
    """

    growth: GrowthResult
    cohorts: tuple[Any, ...]
    patterns: tuple[str, ...]
    counts: Floats
    once: int
    time: float
    change: Floats
    covariance: Floats
    level: float

    def __post_init__(self) -> None:
        for name in ("counts", "change", "covariance"):
            object.__setattr__(self, name, frozen(getattr(self, name), float))

    @property
    def shares(self) -> Floats:
        """The share of each pattern within its cohort, (cohorts, patterns)."""
        return frozen(self.counts / self.counts.sum(axis=1, keepdims=True))

    def averaged(self) -> tuple[Floats, Floats]:
        """Return every cohort's improvement over its patterns, and their covariance with that of the shares."""
        shares, n = self.shares, self.counts.sum(axis=1)
        C, P = shares.shape
        weights = np.zeros((C, C * P))
        for c in range(C):
            weights[c, c * P : (c + 1) * P] = shares[c]
        # The shares are estimated too: multinomial within each cohort.
        mean = (shares * self.change).sum(axis=1)
        multinomial = ((shares * self.change**2).sum(axis=1) - mean**2) / n
        return mean, weights @ self.covariance @ weights.T + np.diag(multinomial)

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return one row an answer: each cohort's averaged change, differences from the reference, what is retained."""
        level = self.level if level is None else _check.level(level)
        both = *self.averaged(), _normal, level
        each, rows = np.eye(len(self.cohorts)), []
        for c, cohort in enumerate(self.cohorts):
            label = {"cohort": cohort, "reference": self.cohorts[0], "time": self.time}
            rows.append({"quantity": "change"} | label | combination(each[c], *both))
            if c:
                rows.append({"quantity": "difference"} | label | combination(each[c] - each[0], *both))
                rows.append({"quantity": "retained"} | label | retained(c, *both))
        return pd.DataFrame(rows)

    def within(self, *, level: float | None = None) -> pd.DataFrame:
        """Return one row a cohort and pattern: patients, share, and the improvement within it."""
        level = self.level if level is None else _check.level(level)
        error = np.sqrt(np.diag(self.covariance)).reshape(self.change.shape)
        rows = []
        for c, cohort in enumerate(self.cohorts):
            low, high = intervals(self.change[c], error[c], np.full(len(self.patterns), np.inf), level)
            for k, pattern in enumerate(self.patterns):
                row = {"cohort": cohort, "pattern": pattern, "n": int(self.counts[c, k]), "share": self.shares[c, k]}
                row |= {"estimate": self.change[c, k], "std_error": error[c, k]}
                rows.append(row | {"conf_low": low[k], "conf_high": high[k]})
        return pd.DataFrame(rows)

    def glance(self) -> pd.DataFrame:
        """Return one row: patients, patterns, and the share that left."""
        left = float(self.counts[:, 1:].sum() / self.counts.sum())
        return pd.DataFrame([{"patients": int(self.counts.sum()), "patterns": len(self.patterns), "share_left": left}])

    def header(self) -> list[str]:
        """Return what was averaged, and what it rests on."""
        counted = "; ".join(
            f"{c}: " + ", ".join(f"{p} {n:.0f}" for p, n in zip(self.patterns, self.counts[k], strict=True))
            for k, c in enumerate(self.cohorts)
        )
        lines = [
            f"Pattern mixture of {self.growth.outcome} at {_check.show(self.time)}: a straight line for every cohort "
            "and pattern of drop-out, improvements averaged over the patterns of each cohort",
            f"patients: {counted}",
            "lines of those who left are drawn on beyond their last visit: that is the assumption",
        ]
        lines += self.growth.boundary
        if self.once:
            lines.append(
                f"{self.once} of those who left came once only, and count with the line of the others who left"
            )
        return lines

    def _tables(self) -> dict[str, pd.DataFrame]:
        return {"tidy": self.tidy(), "within": self.within(), "glance": self.glance()}


def _normal(weights: Floats) -> float:
    """Return the degrees of freedom of every combination."""
    return math.inf


def pattern_mixture(
    frame: pd.DataFrame,
    *,
    outcome: str,
    time: str,
    patient: str,
    cohort: str,
    reference: Any,
    better: str,
    at: float | None = None,
    baseline: float = 0,
    adjust: str | Sequence[str] | None = None,
    level: float = 0.95,
    method: str = "reml",
) -> PatternMixture:
    """Does the cohorts' comparison hold if patients who left changed along another line than those who stayed?

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per patient and visit.
    outcome, time, patient, cohort : str
        Columns; time is a number.
    reference : value of the cohort column
        The cohort that the others are compared with.
    better : {"lower", "higher"}
        Direction of improvement.
    at : float, optional
        The time to compare at; by default the last observed one.
    baseline : float
        Time that change is counted from.
    adjust : list of columns, or patsy right-hand side, optional
        Covariates.
    level : float
        Level of the intervals.
    method : {"reml", "ml"}

    Returns
    -------
    PatternMixture
        `tidy()` has the averaged answers, `within()` those of each pattern.

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question: nobody left, or a cohort has fewer than five patients with
        two visits in a pattern.

    Notes
    -----
    A patient who was seen at the last observed time stayed, everybody else left. Within a pattern what is missing is
    taken as missing at random, so that of those who left rests on their straight line (Hedeker & Gibbons 1997). The
    averaged change is sum of share x change; its variance is share' V share plus the multinomial variance of the
    shares, (sum share change^2 - mean^2) / patients. Intervals are normal.

    References
    ----------
    Little 1993, DOI 10.1080/01621459.1993.10594302; Hedeker & Gibbons 1997, DOI 10.1037/1082-989X.2.1.64.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> mixture = ist.pattern_mixture(visits, outcome="bsi", time="month", patient="patient", cohort="cohort",
    ...                               reference="before", better="lower")
    >>> mixture.within()[["cohort", "pattern", "n"]]
       cohort pattern   n
    0  before  stayed  62
    1  before    left  14
    2  during  stayed  49
    3  during    left  19
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    faults = Faults()
    faults.ask(_check.one_of, "better", better, ("lower", "higher"))
    faults.ask(_check.level, level)
    _check.frame(frame)
    _check.columns(frame, faults, outcome=outcome, time=time, patient=patient, cohort=cohort)
    faults.settle()
    if not frame.index.is_unique:
        frame = frame.reset_index(drop=True)
    # The plain model first: it says what is wrong with the data in the user's words.
    roles: dict[str, Any] = {
        "outcome": outcome,
        "time": time,
        "patient": patient,
        "baseline": baseline,
        "adjust": adjust,
    }
    roles |= {"better": better, "method": method, "shape": "linear"}
    plain = _quietly(frame, cohort=cohort, reference=reference, **roles)
    last = plain.time_range[1]
    when = last if at is None else _check.number("at", at)
    seen = frame.loc[plain.design.labels]
    person = codes(seen[patient], ordered=False)
    visits = np.bincount(person.of_row)
    stays = np.zeros(len(visits), dtype=bool)
    np.maximum.at(stays, person.of_row, seen[time].to_numpy(float) == last)
    names = plain.cohorts
    of_patient = np.zeros(len(visits), dtype=np.intp)
    of_patient[person.of_row] = [names.index(c) for c in seen[cohort]]
    counts = _counted(of_patient, stays, visits, names)
    cell = [f"{c} | {STAYED if s else LEFT}" for c, s in zip(seen[cohort], stays[person.of_row], strict=True)]
    cells = [f"{c} | {pattern}" for c in names for pattern in (STAYED, LEFT)]
    fitted = _quietly(seen.assign(**{str(cohort): cell}), cohort=cohort, reference=cells[0], **roles)
    order = [fitted.cohorts.index(name) for name in cells]
    rows = np.vstack([fitted.improvement_rows([when])[k] for k in order])
    change = (rows @ fitted.params.to_numpy()).reshape(len(names), 2)
    covariance = rows @ fitted.vcov.to_numpy() @ rows.T
    once = int(((visits == 1) & ~stays).sum())
    return PatternMixture(call, fitted, names, (STAYED, LEFT), counts, once, when, change, covariance, level)


def _quietly(frame: pd.DataFrame, **roles: Any) -> GrowthResult:
    """Return a growth model; the header says of a variance at zero, once."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BoundaryWarning)
        return fit_growth(frame, **roles)


def _counted(of_patient: NDArray[np.intp], stays: NDArray[np.bool_], visits: Any, names: Sequence[Hashable]) -> Floats:
    """Return patients by cohort and pattern, or refuse: nobody left, or too few to draw a line through."""
    if stays.all():
        raise DataError(
            "pattern_mixture: nobody left before the last visit, so there is one pattern only; use fit_growth"
        )
    counts = np.zeros((len(names), 2))
    for c, name in enumerate(names):
        for k, which in enumerate((stays, ~stays)):
            mine = which & (of_patient == c)
            counts[c, k] = mine.sum()
            able = int((mine & (visits > 1)).sum())
            if able < FEWEST:
                raise DataError(
                    f"cohort {_check.show(name)}: {able} patients who {(STAYED, LEFT)[k]} have two visits or more, too "
                    f"few for a line of their own ({FEWEST}); use tipping_point"
                )
    return counts
