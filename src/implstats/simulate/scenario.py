"""A study whose truth is known: its cohorts, its visits, its outcomes, and who leaves."""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from implstats import _check
from implstats._check import Faults, nearest, show
from implstats.errors import DataError
from implstats.simulate.parts import probability, window
from implstats.simulate.truth import DropOut, OutcomeTruth, improvement

__all__ = ["Scenario", "own_variance"]

RESERVED = ("patient", "cohort", "admitted", "ended", "end_reason", "therapist", "month", "age", "sex")


@dataclass(frozen=True)
class Scenario:
    """A study whose truth is known: its cohorts, visits, outcomes, and who leaves.

    Parameters
    ----------
    patients : mapping of cohort to int
        Patients per cohort; the first cohort is the reference.
    outcomes : mapping of str to OutcomeTruth
        The outcomes and what is true of each.
    visits : sequence of float
        Planned times of the visits in months, increasing; the first is the baseline, at which nobody is missing.
    jitter : float
        Visits after the first take place up to so many months before or after their planned time (uniform);
        0 keeps them on it.
    therapists : int
        Number of therapists, who treat patients of every cohort; 0 leaves the column out.
    dropout : DropOut, optional
        Who leaves, and stays away; None: nobody.
    missed : float
        Probability that one outcome is not recorded at one visit after the first, completely at random.
    correlation : float
        Correlation, after turning every outcome so that higher is better, of the random parts of any two outcomes
        of one patient: 0 or more, less than 1.
    age : pair of int
        Youngest and oldest age at admission in whole years; every year between them is equally likely.
    female : float
        Probability that a patient is a woman.
    admission : mapping of cohort to pair of ISO dates, optional
        First and last day of admission per cohort, every day equally likely; None leaves the columns `admitted`,
        `ended` and `end_reason` out.

    Raises
    ------
    DataError
        If the fields contradict each other or cannot be, all faults together.

    Notes
    -----
    With u, v the patient's own level and slope, a, b the therapist's, x the centred age and sex, and s = 1 if higher is
    better, else -1, the outcome at time t of a patient in cohort c is ::

        y = mean + s * sd * d_c(t) + x'beta + u + a + (v + b) * (t - first visit) + e

    so that d_c(t) is exactly the true improvement since the first visit divided by the true SD at the first visit.
    The variance of u is sd^2 less the variances of a, e and x'beta; values are not clipped to any scale.

    Examples
    --------
    >>> from implstats.simulate import OutcomeTruth, Scenario
    >>> scenario = Scenario(
    ...     patients={"before": 70, "during": 60},
    ...     outcomes={
    ...         "bsi": OutcomeTruth(
    ...             better="lower", mean=2.0, sd=0.5, residual_sd=0.3,
    ...             d={"before": {18: 0.95, 36: 1.2}, "during": {18: 0.35, 36: 0.5}},
    ...         )
    ...     },
    ... )
    >>> scenario.truth(at=[36])
      outcome  cohort  time    d  mean   sd
    0     bsi  before  36.0  1.2  1.40  0.5
    1     bsi  during  36.0  0.5  1.75  0.5
    """

    patients: Mapping[Hashable, int]
    outcomes: Mapping[str, OutcomeTruth]
    visits: Sequence[float] = (0, 18, 36)
    jitter: float = 0.0
    therapists: int = 0
    dropout: DropOut | None = None
    missed: float = 0.0
    correlation: float = 0.0
    age: tuple[int, int] = (18, 55)
    female: float = 0.7
    admission: Mapping[Hashable, tuple[str, str]] | None = None

    def __post_init__(self) -> None:
        faults = Faults()
        self._check_sizes(faults)
        visits = self._check_visits(faults)
        self._check_outcomes(faults, visits)
        self._check_leaving(faults)
        faults.settle()
        object.__setattr__(self, "patients", {c: int(n) for c, n in self.patients.items()})
        object.__setattr__(self, "outcomes", dict(self.outcomes))
        object.__setattr__(self, "visits", visits)
        object.__setattr__(self, "age", tuple(self.age))
        if self.admission is not None:
            object.__setattr__(self, "admission", {c: (w[0], w[1]) for c, w in self.admission.items()})

    def _check_sizes(self, faults: Faults) -> None:
        if not isinstance(self.patients, Mapping) or not self.patients:
            remedy = "write patients={'before': 70, 'during': 60}"
            faults.add("patients", self.patients, "not a number per cohort", remedy)
            faults.settle()
        for cohort, n in self.patients.items():
            faults.ask(_check.whole, f"patients[{show(cohort)}]", n)
        faults.ask(_check.whole, "therapists", self.therapists, least=0)
        probability(faults, "female", self.female)
        try:
            youngest, oldest = (_check.whole("age", age, least=0) for age in self.age)
        except (DataError, TypeError, ValueError):
            youngest, oldest = 1, 0
        if youngest > oldest:
            faults.add("age", self.age, "not a youngest and an oldest age in whole years", "write age=(18, 55)")

    def _check_visits(self, faults: Faults) -> tuple[float, ...]:
        try:
            times = [_check.number("visits", v) for v in self.visits]
        except (DataError, TypeError):
            times = []
        gap = min((b - a for a, b in itertools.pairwise(times)), default=0.0)
        if gap <= 0:
            faults.add("visits", self.visits, "not at least two increasing times", "write visits=(0, 18, 36)")
            faults.settle()
        jitter = faults.ask(_check.number, "jitter", self.jitter, least=0)
        if jitter and gap <= 2 * jitter:
            remedy = f"keep it below half the smallest gap, {gap / 2:g}"
            faults.add("jitter", self.jitter, "visits could change places", remedy)
        return tuple(times)

    def _check_outcomes(self, faults: Faults, visits: tuple[float, ...]) -> None:
        probability(faults, "correlation", self.correlation, one=False)
        if not isinstance(self.outcomes, Mapping) or not self.outcomes:
            faults.add("outcomes", self.outcomes, "not an OutcomeTruth per outcome")
            faults.settle()
        for name, truth in self.outcomes.items():
            here = f"outcomes[{show(name)}]"
            if not isinstance(truth, OutcomeTruth):
                faults.add(here, truth, "not an OutcomeTruth")
                faults.settle()
            if name in RESERVED:
                faults.say(f"{here}: {show(name)} is the name of another column; choose another")
            if not self.therapists and (truth.therapist_sd or truth.therapist_slope_sd):
                faults.say(f"{here}: therapists differ, but therapists=0; give their number")
            self._check_improvement(truth, here, visits, faults)
            if not faults and own_variance(self, truth) < 0:
                fault = "smaller than residual, therapists, age and sex together; raise it or lower them"
                faults.say(f"{here}.sd={show(truth.sd)}: {fault}")

    def _check_improvement(self, truth: OutcomeTruth, here: str, visits: tuple[float, ...], faults: Faults) -> None:
        for cohort in self.patients:
            if cohort not in truth.d:
                faults.say(f"{here}.d: nothing for the cohort {show(cohort)}; name its improvement")
        for cohort, at in truth.d.items():
            if cohort not in self.patients:
                faults.say(f"{here}.d: no such cohort as {show(cohort)}{nearest(cohort, self.patients)}")
            elif min(at) < visits[0] or max(at) < visits[-1] or at.get(visits[0], 0) != 0:
                ends = f"0 at the first visit and reach the last, {show(visits[-1])}"
                faults.say(f"{here}.d[{show(cohort)}]: must be {ends}")

    def _check_leaving(self, faults: Faults) -> None:
        probability(faults, "missed", self.missed, one=False)
        if isinstance(self.dropout, DropOut):
            name, chances = self.dropout.outcome, self.dropout.probability
            if name is not None and name not in self.outcomes:
                faults.say(f"dropout.outcome={show(name)}: no such outcome{nearest(name, self.outcomes)}")
            apart = set(self.patients) ^ set(chances) if isinstance(chances, Mapping) else set()
            if apart:
                named = ", ".join(sorted(map(show, apart)))
                faults.say(f"dropout.probability: must name every cohort of patients= and no other; look at {named}")
        elif self.dropout is not None:
            faults.add("dropout", self.dropout, "not a DropOut")
        if self.admission is None:
            return
        if not isinstance(self.admission, Mapping) or set(self.admission) != set(self.patients):
            faults.add("admission", self.admission, "not a pair of dates for every cohort")
            return
        for cohort, days in self.admission.items():
            window(faults, f"admission[{show(cohort)}]", days)

    @property
    def reference(self) -> Hashable:
        """The cohort that the others are compared with: the first one."""
        return next(iter(self.patients))

    def truth(self, at: Sequence[float] | float | None = None) -> pd.DataFrame:
        """Tell how much each cohort truly improves, and how spread the patients are.

        Parameters
        ----------
        at : float or sequence of float, optional
            Times in months; None: every planned visit.

        Returns
        -------
        pandas.DataFrame
            Columns outcome, cohort, time, d (improvement since the first visit / SD at the first visit), mean,
            sd (total SD at that time), without rounding.

        Examples
        --------
        >>> from implstats.simulate import REORGANISATION
        >>> REORGANISATION.truth(at=36)[["outcome", "cohort", "d"]]
          outcome  cohort    d
        0     bsi  before  1.2
        1     bsi  during  0.5
        2    sipp  before  1.4
        3    sipp  during  0.6
        """
        times = np.asarray(self.visits if at is None else _check.at(at), dtype=float)
        parts = []
        for name, truth in self.outcomes.items():
            elapsed = times - self.visits[0]
            own = np.sqrt(own_variance(self, truth)) * truth.correlation * truth.slope_sd
            slopes = truth.slope_sd**2 + truth.therapist_slope_sd**2
            sd = np.sqrt(truth.sd**2 + 2 * own * elapsed + slopes * elapsed**2)
            for cohort in self.patients:
                d = improvement(truth.d[cohort], self.visits[0], times)
                columns = {"time": times, "d": d, "mean": truth.mean + truth.sign * truth.sd * d, "sd": sd}
                parts.append(pd.DataFrame({"outcome": name, "cohort": cohort, **columns}))
        return pd.concat(parts, ignore_index=True)


def own_variance(scenario: Scenario, truth: OutcomeTruth) -> float:
    """Return the variance of the patients' own level: what therapists, age, sex and the residual leave of sd^2."""
    ages = scenario.age[1] - scenario.age[0] + 1
    spread = truth.age**2 * (ages**2 - 1) / 12 + truth.sex**2 * scenario.female * (1 - scenario.female)
    return float(truth.sd**2 - truth.residual_sd**2 - truth.therapist_sd**2 - spread)
