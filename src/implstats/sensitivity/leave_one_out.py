"""Sites, therapists or programmes left out one by one: does the answer rest on any one of them?"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats.design.frames import Codes, codes
from implstats.design.without import keep_rows
from implstats.errors import ConvergenceError, DataError
from implstats.growth import CohortModel, GrowthResult, MMRMResult, RetainedImprovement
from implstats.growth.fit import growth_result
from implstats.growth.fixed import DF
from implstats.growth.mmrm import mmrm_result
from implstats.results import Estimates, Result
from implstats.sensitivity.asked import asked
from implstats.study import CohortComparison

__all__ = ["LeaveOneOut", "leave_one_out"]

MOST = 200
"""Levels above which every one is not fitted again."""
_KEYS = ["outcome", "time", "cohort", "quantity"]


@dataclass(frozen=True)
class Part:
    """What one outcome says without one level.

    Attributes
    ----------
    outcome : the outcome.
    level : what was left out; None if nothing was.
    patients : patients with rows there.
    effects, retained : the answers of the others; None if they could not be fitted.
    error : why not.
    """

    outcome: str
    level: Any
    patients: int
    effects: Estimates | None = None
    retained: RetainedImprovement | None = None
    error: str = ""

    def table(self, level: float) -> pd.DataFrame:
        """Return one row a cohort, time and quantity."""
        if self.effects is None or self.retained is None:
            return pd.DataFrame({"error": [self.error]})
        effects = self.effects.tidy(level=level).query("quantity == 'difference'").assign(set="bounded")
        return pd.concat([effects, self.retained.tidy(level=level).assign(quantity="retained")]).assign(error="")


@dataclass(frozen=True, eq=False, repr=False)
class LeaveOneOut(Result):
    """The difference in d and the improvement retained, with all and without each level of a factor.

    Attributes
    ----------
    by : str
        The factor.
    parts : tuple of Part
        For each outcome: with all, then without each level.
    time : str
        The time column.
    level : float
        The level of the printed intervals.
    """

    by: str
    parts: tuple[Part, ...]
    time: str
    level: float

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return one row an outcome, level left out ("" for none), time, cohort and quantity.

        `difference` is in d, the cohort's minus the reference's; `retained` is the improvement retained. `n` counts the
        patients with rows at the level; a level without which there is no fit is a row with its error.
        """
        level = self.level if level is None else _check.level(level)
        tables = []
        for part in self.parts:
            table = part.table(level)
            table["outcome"], table["group"], table["n"] = part.outcome, self.by, part.patients
            table["level"] = pd.Series(
                ["" if part.level is None else part.level] * len(table), table.index, dtype=object
            )
            tables.append(table)
        out = pd.concat(tables, ignore_index=True)
        columns = ["outcome", "group", "level", "n", "time", "cohort", "reference", "quantity"]
        return out[[*columns, "estimate", "conf_low", "conf_high", "set", "error"]]

    def glance(self) -> pd.DataFrame:
        """Return one row: what was left out, how many levels, and how many could not be."""
        left = [part for part in self.parts if part.level is not None]
        failed = sum(bool(part.error) for part in left)
        return pd.DataFrame({"group": [self.by], "n": [len({str(part.level) for part in left})], "failed": [failed]})

    def header(self) -> list[str]:
        """Return what was left out, and how far each answer moved."""
        count = self.glance()["n"].iloc[0]
        lines = [f"{count} levels of {self.by} left out one by one ({100 * self.level:.10g}% intervals)"]
        lines += self.in_words()
        return [*lines, *(f"{p.outcome} without {_check.show(p.level)}: {p.error}" for p in self.parts if p.error)]

    def in_words(self) -> list[str]:
        """Return one sentence an answer: how small and how large it gets when a level is left out."""
        said = []
        for key, part in self.tidy().query("error == ''").groupby(_KEYS, sort=False):
            whole, rest = part[part["level"] == ""].iloc[0], part[part["level"] != ""].dropna(subset="estimate")
            if rest.empty or np.isnan(whole["estimate"]):
                continue
            outcome, time, cohort, quantity = key
            write = _percent if quantity == "retained" else _number
            low, high = (rest.iloc[k] for k in (int(rest["estimate"].argmin()), int(rest["estimate"].argmax())))
            what = "improvement retained" if quantity == "retained" else "difference in d"
            ends = " to ".join(f"{write(row['estimate'])} (without {row['level']})" for row in (low, high))
            where = f"{outcome} at {self.time} {_check.show(time)}, {cohort}"
            line = f"{where}: {what} {write(whole['estimate'])} with all, {ends}"
            said.append(line + self._turned(whole, rest, 1.0 if quantity == "retained" else 0.0))
        return said

    def _turned(self, whole: pd.Series, rest: pd.DataFrame, null: float) -> str:
        """Return without which levels the interval holds equality where it did not, or no longer does."""

        def holds(row: Any) -> Any:
            return (row["conf_low"] <= null) & (row["conf_high"] >= null) | (row["set"] != "bounded")

        other = rest.loc[holds(rest) != holds(whole), "level"].tolist()
        same = f"; its interval {'holds' if holds(whole) else 'excludes'} {null:g}"
        return f"{same}, as without every one" if not other else f"{same}, but not without {', '.join(map(str, other))}"


def _number(value: float) -> str:
    return f"{value:.2f}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _coded(fit: CohortModel, by: Hashable, frame: pd.DataFrame | None) -> Codes:
    """Return the level of each row of a fit: of its own grouping factors, or of a column of the frame."""
    for term in fit.design.terms:
        if term.columns == (by,):
            return Codes(term.of_row, list(term.levels))
    if by == fit.patient:
        return codes(pd.Series(fit.design.roles[by]))
    argument = f"by={_check.show(by)}"
    if frame is None:
        raise DataError(f"{argument}: no grouping factor of {fit.formula}; give frame=, the rows that were fitted")
    if by not in frame.columns:
        raise DataError(f"{argument}: no such column{_check.nearest(by, frame.columns)}")
    labels = fit.design.labels
    if not frame.index.is_unique or not labels.isin(frame.index).all():
        raise DataError("frame: its index does not tell the fitted rows apart; give the frame that was fitted")
    if fit.patient in frame.columns and not _same_patients(fit, frame):
        raise DataError(
            f"frame: by its index, {_check.show(fit.patient)} is not that of the fitted rows; give the frame that was "
            "fitted, not one sorted and numbered anew"
        )
    values = frame[by].reindex(labels)
    empty = values.isna() | (values.astype(object) == "")
    if empty.any():
        raise DataError(f"{argument}: missing in {_check.rows(labels[empty])}; fill it in")
    return codes(values)


def _same_patients(fit: CohortModel, frame: pd.DataFrame) -> bool:
    """Return whether the frame's index finds the patients of the fitted rows."""
    given = frame[fit.patient].reindex(fit.design.labels).astype(object).to_numpy()
    fitted = pd.Series(fit.design.roles[fit.patient]).astype(object).to_numpy()
    return bool((given == fitted).all())


def _refitted(fit: CohortModel, kept: NDArray[np.bool_]) -> CohortModel:
    """Return the same model of the rows that are kept."""
    design, method, call = keep_rows(fit.design, kept), fit.method.lower(), dict(fit.call)
    if isinstance(fit, MMRMResult):
        return mmrm_result(design, fit.better, method, fit.covariance_word, fit.by_cohort, call)
    return growth_result(design, fit.better, method, call)


def _parts(name: str, fit: CohortModel, coded: Codes, at: Sequence[float], sd: str | float, df: str) -> Iterator[Part]:
    patients = fit.design.patient_codes

    def answers(level: Any, count: int, model: CohortModel) -> Part:
        return Part(name, level, count, model.effect_sizes(at, sd=sd, df=df), model.retained_improvement(at, df=df))

    yield answers(None, len(np.unique(patients)), fit)
    for k, level in enumerate(coded.levels):
        rows = coded.of_row == k
        count = len(np.unique(patients[rows]))
        try:
            yield answers(level, count, _refitted(fit, ~rows))
        except (DataError, ConvergenceError) as error:
            yield Part(name, level, count, error=str(error))


def leave_one_out(
    result: CohortComparison | GrowthResult | MMRMResult,
    *,
    by: Hashable,
    frame: pd.DataFrame | None = None,
    at: Any = None,
    sd: str | float | None = None,
    df: str | None = None,
    level: float = 0.95,
) -> LeaveOneOut:
    """Does the answer rest on any one site, therapist or programme?

    Every level of a factor is left out in turn, and the same model fitted again without its rows: the difference in d
    and the improvement retained that the others show.

    Parameters
    ----------
    result : CohortComparison, GrowthResult or MMRMResult
        What `compare_cohorts`, `fit_growth` or `fit_mmrm` returned, with the direction that is better.
    by : str
        The factor: a grouping factor of the model (`groups=`), or a column of `frame`.
    frame : pandas.DataFrame, optional
        The frame that was fitted, for a column that the model does not know; rows are found by its index, and must be
        of the same patients.
    at : time or list of times, optional
        By default the last time of the study, or the last visit.
    sd : {"baseline", "reference", "own", "model"} or float, optional
        Of a growth result: the SD that effects are divided by, that of the patients who are left. A study has its own.
    df : {"satterthwaite", "kenward-roger", "normal"}, optional
        By default the study's, or "satterthwaite" ("normal" with patient_weights).
    level : float
        Level of the intervals.

    Returns
    -------
    LeaveOneOut

    Raises
    ------
    DataError
        If the result holds no cohorts, or the factor cannot be found, or has one level or more than 200 (`diagnose`
        leaves out every patient).

    Notes
    -----
    Variances are estimated anew each time. A study keeps the model that it chose with all. That no single level makes
    the answer does not say that several together do not; and a factor with few levels is left with fewer.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> growth = ist.fit_growth(visits, outcome="bsi", time="month", patient="patient", cohort="cohort",
    ...                         reference="before", better="lower")
    >>> found = ist.leave_one_out(growth, by="therapist", frame=visits)
    >>> found.tidy().query("quantity == 'difference'")[["level", "n", "estimate"]].head(3).round(2)
      level    n  estimate
    0        144     -0.62
    2   T01   13     -0.55
    4   T02   14     -0.69
    """
    call = {k: v for k, v in locals().items() if k not in ("result", "frame")}
    faults = Faults()
    faults.ask(_check.level, level)
    if df is not None:
        faults.ask(_check.one_of, "df", df, DF)
    given = asked("leave_one_out", result, sd, df, faults)
    if frame is not None:
        faults.ask(_check.frame, frame)
    faults.settle()
    first = next(iter(given.fits.values()))
    seen = given.times or first.changes(df="normal").labels["time"]
    times = [max(seen)] if at is None else _check.at(at)
    parts: list[Part] = []
    for name, fit in given.fits.items():
        coded = _coded(fit, by, frame)
        if not 2 <= len(coded.levels) <= MOST:
            some = "one level" if len(coded.levels) == 1 else f"{len(coded.levels)} levels"
            raise DataError(f"by={_check.show(by)}: {some}; leaving out takes 2 to {MOST} (diagnose() for patients)")
        parts += _parts(name, fit, coded, times, given.sd, given.df)
    return LeaveOneOut(call, str(by), tuple(parts), str(first.time), level)
