"""A study without a gap between its cohorts, some of it in treatment on both sides: `mended_reorganisation.csv`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats.cohorts import assign_cohorts
from implstats.design.time import MONTH_DAYS
from implstats.simulate.reorganisation import REORGANISATION
from implstats.simulate.truth import DropOut, OutcomeTruth, improvement
from implstats.simulate.visits import simulate_visits

__all__ = ["CHANGE", "THROUGH_CHANGE", "simulate_through_change"]

Floats = NDArray[np.float64]

CHANGE = "2010-01-01"
# Who has work improves by so many SDs more than who has not, and fewer have it after the change: a confounder.
WORK: Mapping[float, float] = {18.0: 0.3, 36.0: 0.4}
WORKING = {"before": 0.65, "during": 0.4}
# Visits take place within so many days up to the planned day.
EARLY_DAYS = 20

# Its true effects are those of REORGANISATION; patients start so far from the ends of both scales that nothing has to
# be clipped, and leave completely at random, so that a change of course midway does not alter who is seen.
THROUGH_CHANGE = replace(
    REORGANISATION,
    patients={"before": 110, "during": 60},
    outcomes={
        name: replace(truth, mean=mean)
        for (name, truth), mean in zip(REORGANISATION.outcomes.items(), (2.3, 2.2), strict=True)
    },
    therapists=8,
    dropout=DropOut({"before": 0.08, "during": 0.12}),
    missed=0.03,
    admission={"before": ("2005-01-01", "2009-12-31"), "during": ("2010-01-01", "2012-12-31")},
)


def simulate_through_change(*, rng: int | np.random.Generator | None = None) -> pd.DataFrame:
    """Show what a study would see that admits patients without a pause, before and after a change.

    Parameters
    ----------
    rng : None, int or numpy.random.Generator
        Source of randomness: a seed gives the same patients again.

    Returns
    -------
    pandas.DataFrame
        One row per patient and visit: patient (P001, P002, ...), cohort (before, straddling, during), admitted, ended,
        end_reason, therapist, visited (the day), month (planned), bsi, sipp, age, sex, work (yes, no). Outcomes are
        rounded to two places.

    Notes
    -----
    Who was admitted before the change and is seen after it improves until then as the cohort before, from then on by
    the steps of the cohort during.

    Examples
    --------
    >>> from implstats.simulate import simulate_through_change
    >>> visits = simulate_through_change(rng=2010)
    >>> visits.groupby("cohort")["patient"].nunique().to_dict()
    {'before': 49, 'during': 60, 'straddling': 61}
    """
    source = _check.generator(rng)
    visits = simulate_visits(THROUGH_CHANGE, rng=source)
    patients = visits.drop_duplicates("patient")
    chance = patients["cohort"].map(WORKING).to_numpy()
    works = (source.random(len(patients)) < chance)[visits["patient"] - 1]
    month = visits["month"].to_numpy(float)
    for name, truth in THROUGH_CHANGE.outcomes.items():
        gained = _bend(visits, truth) + (works - 0.5) * improvement(WORK, THROUGH_CHANGE.visits[0], month)
        visits[name] = (visits[name] + truth.sign * truth.sd * gained).round(2)
    early = np.where(month > 0, source.integers(0, EARLY_DAYS + 1, len(visits)), 0)
    days = pd.to_timedelta(np.rint(month * MONTH_DAYS) - early, unit="D")
    visits.insert(list(visits).index("month"), "visited", visits["admitted"] + days)
    visits["work"] = np.where(works, "yes", "no")
    found = assign_cohorts(visits, start="admitted", end="ended", change=CHANGE, straddlers="third", patient="patient")
    return visits.assign(cohort=found.cohort.astype(str), patient=visits["patient"].map("P{:03d}".format))


def _bend(visits: pd.DataFrame, truth: OutcomeTruth) -> Floats:
    """Return what the change adds to the improvement of those who were admitted before it, in SDs."""
    start, month = THROUGH_CHANGE.visits[0], visits["month"].to_numpy(float)
    until = (pd.Timestamp(CHANGE) - visits["admitted"]).dt.days.to_numpy() / MONTH_DAYS
    crossed = (visits["cohort"] == "before").to_numpy() & (until < month)

    def step(cohort: str) -> Floats:
        course = truth.d[cohort]
        return improvement(course, start, month) - improvement(course, start, until)

    return np.asarray(np.where(crossed, step("during") - step("before"), 0.0))
