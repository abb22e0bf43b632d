"""Who was treated before, across or after a change: cohorts from dates, by a stated rule for those who straddle it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults, show
from implstats.cohorts.days import EPOCH, Treatments, times_of_rows, treatments
from implstats.design.time import UNIT_DAYS
from implstats.errors import DataError
from implstats.results import Result, frozen

__all__ = ["RULES", "SIDES", "CohortAssignment", "assign_cohorts", "check_rule"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

RULES = ("exclude", "third", "by_start", "exposure")
NAMES = ("before", "during", "straddling")
# Codes of where a treatment lay, in the order of time.
SIDES = ("before", "across", "after")
BEFORE, ACROSS, AFTER = range(3)


@dataclass(frozen=True, eq=False, repr=False)
class CohortAssignment(Result):
    """Where every patient's treatment lay in time, and the cohort that this makes.

    Attributes
    ----------
    straddlers : {"exclude", "third", "by_start", "exposure"}
        The rule for those whose treatment lay on both sides of the change.
    names : tuple
        The cohorts: before the change, during what came with it, and those who straddle it.
    unit : str
        Unit of times.
    treatment : Treatments
        The days of every patient.
    since : numpy.ndarray or None
        Time of each row since the change.
    """

    straddlers: str
    names: tuple[Any, Any, Any]
    unit: str
    treatment: Treatments
    since: Floats | None = None

    @property
    def side(self) -> Ints:
        """Where each patient's treatment lay: 0 before the change, 1 across it, 2 after it."""
        return self.treatment.side

    @property
    def cohort(self) -> pd.Series:
        """The cohort of each row, on the caller's index; missing for who was left out.

        Raises
        ------
        DataError
            Under "exposure", which makes none.
        """
        if self.straddlers == "exposure":
            raise DataError(
                "straddlers='exposure': nobody is in a cohort; put .change_time into the frame for "
                "fit_growth(interruption=), or say straddlers='third'"
            )
        made = self._made()
        present = dict.fromkeys(made[np.unique(self.side)])
        order = [name for name in present if name is not None]
        values = pd.Categorical(made[self.side][self.treatment.of_row], categories=order)
        return pd.Series(values, index=self.treatment.labels, name="cohort")

    def _made(self) -> NDArray[Any]:
        """Return the cohort that each side makes, None for none."""
        before, during, straddling = self.names
        across = {"third": straddling, "by_start": before}.get(self.straddlers)
        made = np.full(3, None, dtype=object)
        if self.straddlers != "exposure":
            made[BEFORE], made[ACROSS], made[AFTER] = before, across, during
        return made

    @property
    def exposure(self) -> pd.Series:
        """The share of each row's patient's treatment time that came after the change."""
        return self._on_rows(self.treatment.exposure).rename("exposure")

    @property
    def change_time(self) -> pd.Series:
        """The time from the patient's start to the change, negative if it came first; missing if treatment was over."""
        time = self.treatment.until_change / UNIT_DAYS[self.unit]
        return self._on_rows(np.where(self.side == BEFORE, np.nan, time)).rename("change_time")

    @property
    def since_change(self) -> pd.Series:
        """The time of each row since the patient's change, negative before it; missing if treatment was over by then.

        Raises
        ------
        DataError
            Without `time=`.
        """
        if self.since is None:
            raise DataError("time=None: no column says when each row was; name it in assign_cohorts")
        return pd.Series(self.since, index=self.treatment.labels, name="since_change").copy()

    def _on_rows(self, values: Floats) -> pd.Series:
        return pd.Series(values[self.treatment.of_row], index=self.treatment.labels)

    def patients(self) -> pd.DataFrame:
        """Return one row a patient: the days of treatment and change, where it lay, its exposure and its cohort.

        `running` says of whom no end was known, so that the end is that of the study.
        """
        found = self.treatment
        days = {"start": found.started, "end": found.ended, "change_date": found.changed}
        return pd.DataFrame(
            {"patient": list(found.patients)}
            | {name: EPOCH + pd.to_timedelta(values, unit="D") for name, values in days.items()}
            | {
                "running": found.running,
                "treatment": np.array(SIDES, dtype=object)[found.side],
                "exposure": found.exposure,
                "cohort": self._made()[found.side],
            }
        )

    def tidy(self) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a side of the change: the cohort that it makes, its patients, rows, and mean exposure."""
        found, rows = self.treatment, []
        for side, (word, name) in enumerate(zip(SIDES, self._made(), strict=True)):
            inside = found.side == side
            rows.append(
                {
                    "treatment": word,
                    "cohort": "" if name is None else str(name),
                    "patients": int(inside.sum()),
                    "rows": int(inside[found.of_row].sum()),
                    "exposure": float(found.exposure[inside].mean()) if inside.any() else np.nan,
                }
            )
        return pd.DataFrame(rows)

    def glance(self) -> pd.DataFrame:
        """Return one row: patients, rows, and how many patients straddle the change."""
        found = self.treatment
        return pd.DataFrame(
            {
                "patients": [len(found.side)],
                "rows": [len(found.of_row)],
                "straddlers": [int((found.side == ACROSS).sum())],
                "exposure": [float(found.exposure.mean())],
            }
        )

    def header(self) -> list[str]:
        """Return the date, who straddles it, what the rule makes of them, and what the dates leave open."""
        found, across = self.treatment, self.side == ACROSS
        dates = sorted({_date(day) for day in (found.changed.min(), found.changed.max())})
        n = int(across.sum())
        lines = [
            f"Cohorts by the change on {' to '.join(dates)}: {n} of {len(across)} patients were in treatment on both "
            f"sides of it (straddlers='{self.straddlers}')"
        ]
        if n:
            lines.append(self._rule_in_words(float(found.exposure[across].mean())))
        if found.running.any():
            lines.append(f"{int(found.running.sum())} without an end: taken as in treatment until the end of the study")
        if not found.ends_known:
            lines.append("end=None: who straddles the change is not known; all are taken by their start")
        return [*lines, *self._outside()]

    def _rule_in_words(self, mean: float) -> str:
        late = f"on average {100 * mean:.0f} % of their treatment time came after it"
        return {
            "exclude": "these are in no cohort, and left out of what is fitted to cohorts",
            "third": f"these are a cohort of their own, {self.names[2]}; {late}",
            "by_start": f"these are with {self.names[0]}, by their start, though {late}",
            "exposure": f"{late}; nobody is in a cohort: change_time goes to fit_growth(interruption=)",
        }[self.straddlers]

    def _outside(self) -> list[str]:
        """Return what is to be said if the change lies outside what was observed."""
        found = self.treatment
        if (found.side == AFTER).all():
            return [f"the change lies before every treatment (the first began on {_date(found.started.min())})"]
        if (found.side == BEFORE).all():
            last = found.started.max() if not found.ends_known else found.ended.max()
            word = "began" if not found.ends_known else "ended"
            return [f"the change lies after every treatment (the last {word} on {_date(last)})"]
        return []


def _date(day: float) -> str:
    return f"{EPOCH + pd.Timedelta(days=day):%Y-%m-%d}"


def check_rule(straddlers: Any, end: Any, faults: Faults) -> None:
    """Record an unknown rule, and one that cannot do without the ends of treatments."""
    known = faults.ask(_check.one_of, "straddlers", straddlers, RULES)
    if end is None and known not in (None, "by_start"):
        remedy = "name the column with the last day of treatment, or say straddlers='by_start'"
        faults.say(f"end=None: who straddles the change takes the end of treatment; {remedy}")


def _three_names(names: Any, faults: Faults) -> tuple[Any, Any, Any]:
    good = isinstance(names, list | tuple) and len(names) in (2, 3)
    whole = (*names, *NAMES[len(names) :]) if good else NAMES
    if not good or len(set(map(str, whole))) < 3 or not all(map(_is_name, whole)):
        faults.add("names", names, "not two or three different names", f"write names={show(NAMES)}")
        return NAMES
    return whole


def _is_name(name: Any) -> bool:
    return isinstance(name, Hashable) and not pd.isna(np.asarray(name, dtype=object)).any()


def assign_cohorts(
    frame: pd.DataFrame,
    *,
    start: str,
    end: str | None = None,
    change: Any,
    straddlers: str,
    study_end: Any = None,
    patient: str | None = None,
    time: str | None = None,
    unit: str = "months",
    names: Sequence[Hashable] = NAMES,
) -> CohortAssignment:
    """Who was treated before a change, who after it, and what becomes of those who were in treatment on both sides?

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per patient; or several, with `patient=`, if the dates are the same in all of them.
    start, end : str
        Columns with the first and the last day of treatment: datetimes, dates, or text as YYYY-MM-DD; times of day are
        ignored. A missing end is a treatment that goes on. Without `end=` only the rule "by_start" can be had.
    change : date or str
        The day of the change, the first on which it is in force: one date for all, or a column (one a site).
    straddlers : {"exclude", "third", "by_start", "exposure"}
        What becomes of patients who started before that day and ended after it; there is no default. They are in no
        cohort; in a third; with those who started before; or nobody is in a cohort and everyone carries an exposure
        and a change time, for `fit_growth(interruption=)`.
    study_end : date or str, optional
        The last day on which it is known who was still in treatment, one for all or a column: asked for if an end is
        missing. Today's date is never taken.
    patient : str, optional
        Column that tells patients apart; None: every row is a patient.
    time : str, optional
        Column with the time of each row, for `since_change`: numbers in `unit` since the start, or dates.
    unit : {"months", "weeks", "days", "years"}
        Unit of `change_time` and `since_change`; months of 30.4375 days, years of 365.25.
    names : two or three values
        What the cohorts are called: before, during, and straddling.

    Returns
    -------
    CohortAssignment
        `cohort`, `exposure`, `change_time` and `since_change` are Series on the frame's index; `tidy()` counts the
        groups, and `implstats.plot.cohorts` draws every treatment against the change.

    Raises
    ------
    DataError
        Dates that cannot be read, an end before its start, a missing end without `study_end=`, dates that change within
        a patient; all faults together, with rows.

    Notes
    -----
    Treatment that ended by the day of the change lay before it, treatment that started on or after that day lay after
    it. Exposure is the share of the days from start to end that came after the change. No rule is free: leaving
    straddlers out keeps brief treatments among the last before the change, `by_start` dilutes the difference, a third
    group needs enough patients, and exposure trusts that what the change does begins with it.

    Examples
    --------
    >>> import pandas as pd
    >>> import implstats as ist
    >>> treated = pd.DataFrame(
    ...     {
    ...         "admitted": ["2008-03-01", "2009-07-01", "2010-02-15"],
    ...         "ended": ["2009-09-01", "2010-07-01", "2011-08-15"],
    ...     }
    ... )
    >>> found = ist.assign_cohorts(treated, start="admitted", end="ended", change="2010-01-01", straddlers="third")
    >>> list(found.cohort)
    ['before', 'straddling', 'during']
    >>> found.exposure.round(2).tolist()
    [0.0, 0.5, 1.0]
    """
    call = {k: v for k, v in locals().items() if k != "frame"} | {"change": str(change), "names": list(names)}
    call["study_end"] = None if study_end is None else str(study_end)
    faults = Faults()
    check_rule(straddlers, end, faults)
    faults.ask(_check.one_of, "unit", unit, list(UNIT_DAYS))
    three = _three_names(names, faults)
    _check.frame(frame)
    _check.columns(frame, faults, start=start, end=end, patient=patient, time=time)
    faults.settle()
    found = treatments(frame, start, end, change, study_end, patient, faults)
    when = None if time is None else times_of_rows(frame, time, found, UNIT_DAYS[unit], faults)
    faults.settle()
    since = None
    if when is not None:
        over = found.side[found.of_row] == BEFORE
        since = frozen(np.where(over, np.nan, when - found.until_change[found.of_row] / UNIT_DAYS[unit]))
    return CohortAssignment(call, straddlers, three, unit, found, since)
