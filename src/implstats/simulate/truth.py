"""What is true of one outcome, and who leaves: the two halves of a scenario."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults, show

__all__ = ["DropOut", "OutcomeTruth", "improvement"]


@dataclass(frozen=True)
class OutcomeTruth:
    """What is true of one outcome: its level, its spread, and how much each cohort improves.

    Parameters
    ----------
    better : {"lower", "higher"}
        Which way is improvement.
    mean : float
        Mean at the first visit, in every cohort, in units of the outcome.
    sd : float
        Total standard deviation between patients at the first visit, in every cohort (SD0). Therapists, age, sex and
        the residual are within it; the patients' own spread is what they leave.
    d : mapping of cohort to mapping of time to float
        Improvement since the first visit in units of `sd`, positive is better, for example
        ``{"before": {18: 0.95, 36: 1.2}, "during": {18: 0.35, 36: 0.5}}``. It is 0 at the first visit and runs
        straight from one named time to the next.
    residual_sd : float
        Standard deviation of one measurement around the patient's own line, in units of the outcome.
    slope_sd : float
        Standard deviation between patients of the change per month, in units of the outcome.
    correlation : float
        Correlation of a patient's own level at the first visit with the own change per month.
    therapist_sd : float
        Standard deviation between therapists of the level of their patients.
    therapist_slope_sd : float
        Standard deviation between therapists of the change per month of their patients, drawn anew in each cohort:
        the cohort difference then varies from therapist to therapist.
    age : float
        Difference in level per year of age.
    sex : float
        Difference in level of women from men.

    Raises
    ------
    DataError
        If a value cannot be, all faults together.

    Examples
    --------
    >>> from implstats.simulate import OutcomeTruth
    >>> OutcomeTruth(better="lower", mean=2.0, sd=0.5, d={"before": {36: 1.2}}, residual_sd=0.3).better
    'lower'
    """

    better: str
    mean: float
    sd: float
    d: Mapping[Hashable, Mapping[float, float]]
    residual_sd: float
    slope_sd: float = 0.0
    correlation: float = 0.0
    therapist_sd: float = 0.0
    therapist_slope_sd: float = 0.0
    age: float = 0.0
    sex: float = 0.0

    def __post_init__(self) -> None:
        faults = Faults()
        faults.ask(_check.one_of, "better", self.better, ["lower", "higher"])
        faults.ask(_check.number, "sd", self.sd, above=0)
        for name in ("mean", "age", "sex"):
            faults.ask(_check.number, name, getattr(self, name))
        for name in ("residual_sd", "slope_sd", "therapist_sd", "therapist_slope_sd"):
            faults.ask(_check.number, name, getattr(self, name), least=0)
        r = faults.ask(_check.number, "correlation", self.correlation)
        if r is not None and not -1 <= r <= 1:
            faults.add("correlation", self.correlation, "not between -1 and 1")
        if not isinstance(self.d, Mapping) or not all(isinstance(v, Mapping) and v for v in self.d.values()):
            faults.add("d", self.d, "not improvements per cohort and time", "write d={'before': {18: 0.95, 36: 1.2}}")
        else:
            for cohort, at in self.d.items():
                for time, value in at.items():
                    faults.ask(_check.number, f"time of d[{show(cohort)}]", time)
                    faults.ask(_check.number, f"d[{show(cohort)}][{show(time)}]", value)
        faults.settle()
        sorted_d = {c: {float(t): float(at[t]) for t in sorted(at)} for c, at in self.d.items()}
        object.__setattr__(self, "d", sorted_d)

    @property
    def sign(self) -> float:
        """1 if a higher value is better, -1 if a lower one is."""
        return 1.0 if self.better == "higher" else -1.0


@dataclass(frozen=True)
class DropOut:
    """Who leaves: the chance to be gone at the next visit, given the last value seen (missing at random).

    At every visit but the last, a patient of cohort c leaves before the next one with probability
    ``1 / (1 + exp(-(log(p_c / (1 - p_c)) + per_sd * z)))``, where z is how many `sd` the last observed value of
    `outcome` is worse than the true mean at the first visit.

    Parameters
    ----------
    probability : float, or mapping of cohort to float
        p_c, at z = 0: 0 or more, less than 1.
    outcome : str, optional
        The outcome that it hangs on; None is the first one.
    per_sd : float
        Log odds per standard deviation worse; 0 is missing completely at random.

    Raises
    ------
    DataError
        If a value cannot be.

    Examples
    --------
    >>> from implstats.simulate import DropOut
    >>> DropOut({"before": 0.1, "during": 0.2}, outcome="bsi", per_sd=0.4).per_sd
    0.4
    """

    probability: float | Mapping[Hashable, float]
    outcome: str | None = None
    per_sd: float = 0.0

    def __post_init__(self) -> None:
        faults = Faults()
        faults.ask(_check.number, "per_sd", self.per_sd)
        chances = {"probability": self.probability}
        if isinstance(self.probability, Mapping):
            chances = {f"probability[{show(cohort)}]": p for cohort, p in self.probability.items()}
        for argument, p in chances.items():
            value = faults.ask(_check.number, argument, p, least=0)
            if value is not None and value >= 1:
                faults.add(argument, p, "not below 1")
        faults.settle()
        if isinstance(self.probability, Mapping):
            object.__setattr__(self, "probability", dict(self.probability))


def improvement(d: Mapping[float, float], start: float, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return d at the times: straight from (start, 0) through the named times, the last piece carried on."""
    knots = np.array([start, *(t for t in d if t > start)])
    heights = np.array([0.0, *(d[t] for t in d if t > start)])
    beyond = (heights[-1] - heights[-2]) / (knots[-1] - knots[-2]) * np.maximum(times - knots[-1], 0.0)
    return np.asarray(np.interp(times, knots, heights) + beyond)
