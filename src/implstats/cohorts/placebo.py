"""Falsification: the same comparison at dates on which nothing changed, among patients treated before the change."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from implstats import _check, _parallel
from implstats._check import Faults, show
from implstats.cohorts.assign import ACROSS, AFTER, BEFORE, NAMES, CohortAssignment, assign_cohorts, check_rule
from implstats.errors import BoundaryWarning, ConvergenceError, DataError
from implstats.growth import fit_growth
from implstats.reading.spells import EPOCH, one_day
from implstats.results import Estimates

__all__ = ["PlaceboChanges", "placebo_changes"]

COHORT, CHANGE = "cohort", "change_time"
OURS = {"frame", "cohort", "reference", "interruption", "outcome", "time", "patient"}


@dataclass(frozen=True, eq=False, repr=False)
class PlaceboChanges(Estimates):
    """The estimate at the true date of a change, and at false ones."""

    def header(self) -> list[str]:
        """Return what was compared, how the false dates fare beside the true one, and what that cannot tell."""
        table, lines = self.tidy(), super().header()
        for _, part in table.groupby(["quantity", "time"], sort=False, dropna=False):
            real, false = part[~part["placebo"]].iloc[0], part[part["placebo"] & (part["error"] == "")]
            what = str(real["quantity"])
            if not pd.isna(real["time"]):
                what += f" at {self.call['time']} {show(real['time'])}"
            lines.append(f"{what}: {real['estimate']:.3g} at the true date; {_range(false)}")
        if failed := sorted(set(table.loc[table["error"] != "", "change_date"])):
            lines.append(f"no estimate at {', '.join(failed)}: see the column error")
        return [
            *lines,
            "false dates that show as much as the true one speak against the change as the reason; false dates that "
            "do not leave open what else came at the true date",
        ]

    def _shown(self) -> pd.DataFrame:
        table = self.tidy().drop(columns=["statistic", "df"])
        return table if (table["error"] != "").any() else table.drop(columns="error")


def _range(false: pd.DataFrame) -> str:
    if false.empty:
        return "none at false ones"
    low, high = false["estimate"].min(), false["estimate"].max()
    beyond = int(((false["conf_low"] > 0) | (false["conf_high"] < 0)).sum())
    return f"{low:.3g} to {high:.3g} at {len(false)} false ones, where {beyond} of {len(false)} intervals exclude zero"


@dataclass(frozen=True)
class _Question:
    """What is fitted at every date."""

    dates: Mapping[str, Any]
    fit: Mapping[str, Any]
    at: Sequence[float]
    df: str

    def answer(self, frame: pd.DataFrame, date: Any, placebo: bool) -> list[dict[str, Any]]:
        """Return one row a quantity and time; what could not be fitted at a false date says why."""
        found = assign_cohorts(frame, **self.dates, change=date)
        exposed = found.straddlers == "exposure"
        side = np.where(found.side == ACROSS, {"by_start": BEFORE}.get(found.straddlers, ACROSS), found.side)
        counts = np.bincount(side, minlength=3)
        label = {"n": int(counts[ACROSS if exposed else AFTER]), "n_reference": int(counts[BEFORE])}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", BoundaryWarning)
                table = self._interruption(frame, found) if exposed else self._contrasts(frame, found)
        except (DataError, ConvergenceError) as error:
            if not placebo:
                raise
            nothing = {"estimate": np.nan, "std_error": np.nan, "df": np.nan, "error": str(error).replace("\n", "; ")}
            asked = [("level", np.nan), ("slope", np.nan)] if exposed else [("change", t) for t in self.at]
            return [{"quantity": q, "time": t} | label | nothing for q, t in asked]
        return [{str(k): v for k, v in row.items()} | label | {"error": ""} for row in table.to_dict("records")]

    def _interruption(self, frame: pd.DataFrame, found: CohortAssignment) -> pd.DataFrame:
        model = fit_growth(frame.assign(**{CHANGE: found.change_time}), interruption=CHANGE, **self.fit)
        return model.interruption(df=self.df).tidy().assign(time=np.nan)

    def _contrasts(self, frame: pd.DataFrame, found: CohortAssignment) -> pd.DataFrame:
        cohort = found.cohort.astype(object)
        used = frame.assign(**{COHORT: cohort})[cohort.notna()]
        if len(used) == 0:
            raise DataError("straddlers='exclude': everybody was in treatment on both sides of the date")
        model = fit_growth(used, cohort=COHORT, reference=found.names[0], **self.fit)
        table = model.contrasts(list(self.at), df=self.df).tidy()
        chosen: pd.DataFrame = table[(table["quantity"] == "change") & (table["cohort"] == found.names[1])]
        return chosen


def placebo_changes(
    frame: pd.DataFrame,
    *,
    start: str,
    end: str,
    change: Any,
    false_changes: Sequence[Any],
    straddlers: str,
    outcome: str,
    time: str,
    patient: str,
    at: Any,
    study_end: Any = None,
    level: float = 0.95,
    df: str = "auto",
    fit: Mapping[str, Any] | None = None,
    workers: int = 1,
) -> PlaceboChanges:
    """Does the comparison find a difference at dates on which nothing changed?

    Cohorts are made at every false date by the same rule, from patients whose treatment was over by the true one, and
    the growth model is fitted anew.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per patient and visit.
    start, end, straddlers, study_end
        As in `assign_cohorts`.
    change : date or str
        The day of the true change, or a column with it.
    false_changes : list of dates
        Days before it.
    outcome, time, patient : str
        Columns, as in `fit_growth`.
    at : time or list of times
        When cohorts are compared: by their change since the baseline. Of the rule "exposure", which makes no cohorts,
        the level and slope of the interruption are given instead.
    level : float
        Level of the intervals.
    df : {"auto", "satterthwaite", "kenward-roger", "normal"}
    fit : mapping of argument to value, optional
        Other arguments of `fit_growth`: {"shape": "linear", "adjust": ["age"]}.
    workers : int
        Processes.

    Returns
    -------
    PlaceboChanges
        One row a date and time, the true one first; `implstats.plot.placebo` draws them.

    Raises
    ------
    DataError
        Arguments or dates that cannot answer the question. A false date at which nothing can be fitted is a row that
        says why.

    Notes
    -----
    Each estimate has its own, mostly smaller, number of patients: read the intervals. Close false dates share most of
    their patients. Who started late and was done before the true change was treated briefly; where treatments
    last long beside the years before the change, this makes differences of its own.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> found = ist.placebo_changes(
    ...     visits, start="admitted", end="ended", change="2010-01-01", false_changes=["2006-01-01", "2006-07-01"],
    ...     straddlers="by_start", outcome="bsi", time="month", patient="patient", at=36,
    ... )
    >>> found.tidy()[["change_date", "placebo", "n", "n_reference"]]
      change_date  placebo   n  n_reference
    0  2010-01-01    False  68           76
    1  2006-01-01     True  32           44
    2  2006-07-01     True  14           62
    """
    call = {k: v for k, v in locals().items() if k not in ("frame", "workers")}
    call |= {"change": str(change), "false_changes": [str(d) for d in _several(false_changes)]}
    call["study_end"] = None if study_end is None else str(study_end)
    faults = Faults()
    check_rule(straddlers, end, faults)
    more = fit if isinstance(fit, Mapping) else {}
    if fit is not None and not isinstance(fit, Mapping):
        faults.add("fit", fit, "not a mapping of arguments", "write fit={'shape': 'linear'}")
    _arguments(more, faults)
    times = faults.ask(_check.at, at) or []
    faults.ask(_check.level, level)
    faults.settle()
    dates = {"start": start, "end": end, "straddlers": straddlers, "study_end": study_end, "patient": patient}
    whole = assign_cohorts(frame, **dates, change=change, names=NAMES)
    false = _false_days(whole, false_changes, faults)
    early = frame[(whole.side == BEFORE)[whole.treatment.of_row]]
    if early.empty:
        faults.add(
            "change", str(change), "nobody's treatment was over by then", "there is nobody to try false dates on"
        )
    faults.settle()
    roles = {"outcome": outcome, "time": time, "patient": patient}
    question = _Question(dates, {**roles, **more}, times, df)
    tasks = [(question, frame, change, False), *((question, early, day, True) for day in false)]
    answers = _parallel.run(_Question.answer, tasks, workers)
    real = " to ".join(sorted({f"{day:%Y-%m-%d}" for day in whole.patients()["change_date"].agg(["min", "max"])}))
    rows = []
    for day, answer in zip([real, *false], answers, strict=True):
        rows += [{"change_date": day, "placebo": day != real} | row for row in answer]
    return _placebo(call, outcome, rows, level, len(np.unique(early[patient])))


def _arguments(fit: Mapping[str, Any], faults: Faults) -> None:
    """Record what is no argument of fit_growth, and what is said otherwise."""
    allowed = set(inspect.signature(fit_growth).parameters) - OURS
    for word in fit:
        if word in OURS:
            faults.say(f"fit[{show(word)}]: is made or said otherwise; leave it out")
        elif word not in allowed:
            faults.say(f"fit[{show(word)}]: no argument of fit_growth{_check.nearest(word, allowed)}")


def _several(given: Any) -> list[Any]:
    """Return the dates of a list, none of what is no list."""
    return [] if isinstance(given, str) or not isinstance(given, Iterable) else list(given)


def _false_days(whole: CohortAssignment, given: Sequence[Any], faults: Faults) -> list[str]:
    """Return the false dates in order, as text; each lies before every true one."""
    first = whole.patients()["change_date"].min()
    if not _several(given):
        faults.add("false_changes", given, "not a list of dates", "write false_changes=['2006-01-01', '2007-01-01']")
        return []
    days = []
    for one in _several(given):
        day = one_day("false_changes", one, "not a date", "write dates as YYYY-MM-DD", faults)
        when = EPOCH + pd.Timedelta(days=0 if np.isnan(day) else day)
        if when >= first:
            faults.add("false_changes", one, f"not before the true change, {first:%Y-%m-%d}", "give an earlier day")
        days.append(f"{when:%Y-%m-%d}")
    return sorted(set(days))


def _placebo(
    call: Mapping[str, Any], outcome: str, rows: list[dict[str, Any]], level: float, early: int
) -> PlaceboChanges:
    table = pd.DataFrame(rows)
    labels = ["change_date", "placebo", "quantity", "time", "n", "n_reference", "error"]
    estimate, std_error, freedom = (table[name].to_numpy(float) for name in ("estimate", "std_error", "df"))
    title = f"{outcome} after a date minus before it, at the true change and at false ones"
    notes = (f"false dates: among {early} patients whose treatment was over by the true one",)
    return PlaceboChanges(call, title, table[labels], estimate, std_error, freedom, notes, tests=True, level=level)
