"""Patients whose true effects are known: what a study would see, visit by visit, under a stated scenario."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats.errors import DataError

__all__ = ["REORGANISATION", "DropOut", "OutcomeTruth", "Scenario", "simulate_visits"]

DAYS_A_MONTH = 30.4375


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
        faults = _check.Faults()
        _try(faults, _check.one_of, "better", self.better, ["lower", "higher"])
        _try(faults, _check.number, "sd", self.sd, above=0)
        for name in ("mean", "age", "sex"):
            _try(faults, _check.number, name, getattr(self, name))
        for name in ("residual_sd", "slope_sd", "therapist_sd", "therapist_slope_sd"):
            _try(faults, _check.number, name, getattr(self, name), least=0)
        r = _try(faults, _check.number, "correlation", self.correlation)
        if r is not None and not -1 <= r <= 1:
            faults.add("correlation", self.correlation, "not between -1 and 1")
        if not isinstance(self.d, Mapping) or not all(isinstance(v, Mapping) and v for v in self.d.values()):
            faults.add("d", self.d, "not improvements per cohort and time", "write d={'before': {18: 0.95, 36: 1.2}}")
        else:
            for cohort, at in self.d.items():
                for time, value in at.items():
                    _try(faults, _check.number, f"time of d[{_check.show(cohort)}]", time)
                    _try(faults, _check.number, f"d[{_check.show(cohort)}][{_check.show(time)}]", value)
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
        faults = _check.Faults()
        _try(faults, _check.number, "per_sd", self.per_sd)
        named = isinstance(self.probability, Mapping)
        for cohort, p in (
            self.probability.items() if isinstance(self.probability, Mapping) else [(None, self.probability)]
        ):
            argument = f"probability[{_check.show(cohort)}]" if named else "probability"
            value = _try(faults, _check.number, argument, p, least=0)
            if value is not None and value >= 1:
                faults.add(argument, p, "not below 1")
        faults.settle()
        if isinstance(self.probability, Mapping):
            object.__setattr__(self, "probability", dict(self.probability))


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
        faults = _check.Faults()
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

    def _check_sizes(self, faults: _check.Faults) -> None:
        if not isinstance(self.patients, Mapping) or not self.patients:
            faults.add(
                "patients", self.patients, "not a number per cohort", "write patients={'before': 70, 'during': 60}"
            )
        else:
            for cohort, n in self.patients.items():
                _try(faults, _check.whole, f"patients[{_check.show(cohort)}]", n)
        _try(faults, _check.whole, "therapists", self.therapists, least=0)
        _probability(faults, "female", self.female)
        good = (
            isinstance(self.age, Sequence)
            and len(self.age) == 2
            and all(isinstance(a, int | np.integer) for a in self.age)
        )
        if not good or not 0 <= self.age[0] <= self.age[1]:
            faults.add("age", self.age, "not a youngest and an oldest age in whole years", "write age=(18, 55)")

    def _check_visits(self, faults: _check.Faults) -> tuple[float, ...]:
        try:
            times = [_check.number("visits", v) for v in self.visits]
        except (DataError, TypeError):
            times = []
        gap = min((b - a for a, b in itertools.pairwise(times)), default=0.0)
        if gap <= 0:
            faults.add("visits", self.visits, "not at least two increasing times", "write visits=(0, 18, 36)")
        jitter = _try(faults, _check.number, "jitter", self.jitter, least=0)
        if jitter and 0 < gap <= 2 * jitter:
            faults.add(
                "jitter", self.jitter, "visits could change places", f"keep it below half the smallest gap, {gap / 2:g}"
            )
        return tuple(times)

    def _check_outcomes(self, faults: _check.Faults, visits: tuple[float, ...]) -> None:
        _probability(faults, "correlation", self.correlation, one=False)
        if not isinstance(self.outcomes, Mapping) or not self.outcomes:
            faults.add("outcomes", self.outcomes, "not an OutcomeTruth per outcome")
            return
        for name, truth in self.outcomes.items():
            where = f"outcomes[{_check.show(name)}]"
            if not isinstance(truth, OutcomeTruth):
                faults.add(where, truth, "not an OutcomeTruth")
                continue
            if name in _RESERVED:
                faults.say(f"{where}: {_check.show(name)} is the name of another column; choose another")
            if not self.therapists and (truth.therapist_sd or truth.therapist_slope_sd):
                faults.say(f"{where}: therapists differ, but therapists=0; give their number")
            if isinstance(self.patients, Mapping):
                for cohort in self.patients:
                    if cohort not in truth.d:
                        faults.say(f"{where}.d: nothing for the cohort {_check.show(cohort)}; name its improvement")
                for cohort, at in truth.d.items():
                    if cohort not in self.patients:
                        known = _check.nearest(cohort, self.patients)
                        faults.say(f"{where}.d: no such cohort as {_check.show(cohort)}{known}")
                    elif len(visits) > 1 and (min(at) < visits[0] or max(at) < visits[-1] or at.get(visits[0], 0) != 0):
                        ends = f"0 at the first visit and reach the last, {_check.show(visits[-1])}"
                        faults.say(f"{where}.d[{_check.show(cohort)}]: must be {ends}")
            if not faults and _own_variance(self, truth) < 0:
                faults.say(
                    f"{where}.sd={_check.show(truth.sd)}: smaller than residual, therapists, age and sex together; "
                    "raise it or lower them"
                )

    def _check_leaving(self, faults: _check.Faults) -> None:
        _probability(faults, "missed", self.missed, one=False)
        cohorts = list(self.patients) if isinstance(self.patients, Mapping) else []
        if self.dropout is not None and not isinstance(self.dropout, DropOut):
            faults.add("dropout", self.dropout, "not a DropOut")
        elif self.dropout is not None:
            name = self.dropout.outcome
            if name is not None and name not in self.outcomes:
                faults.say(f"dropout.outcome={_check.show(name)}: no such outcome{_check.nearest(name, self.outcomes)}")
            if isinstance(self.dropout.probability, Mapping):
                apart = set(cohorts) ^ set(self.dropout.probability)
                if apart:
                    named = ", ".join(sorted(map(_check.show, apart)))
                    faults.say(
                        f"dropout.probability: must name every cohort of patients= and no other; look at {named}"
                    )
        if self.admission is None:
            return
        if not isinstance(self.admission, Mapping) or set(self.admission) != set(cohorts):
            faults.add("admission", self.admission, "not a pair of dates for every cohort")
            return
        for cohort, window in self.admission.items():
            try:
                first, last = (date.fromisoformat(day) for day in window)
            except (TypeError, ValueError):
                first, last = date.max, date.min
            if first > last:
                faults.add(
                    f"admission[{_check.show(cohort)}]", window, "not a first and a last day",
                    "write ('2004-01-01', '2006-12-31')",
                )  # fmt: skip

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
            own = np.sqrt(_own_variance(self, truth)) * truth.correlation * truth.slope_sd
            slopes = truth.slope_sd**2 + truth.therapist_slope_sd**2
            sd = np.sqrt(truth.sd**2 + 2 * own * elapsed + slopes * elapsed**2)
            for cohort in self.patients:
                d = _improvement(truth.d[cohort], self.visits[0], times)
                columns = {"time": times, "d": d, "mean": truth.mean + truth.sign * truth.sd * d, "sd": sd}
                parts.append(pd.DataFrame({"outcome": name, "cohort": cohort, **columns}))
        return pd.concat(parts, ignore_index=True)


_RESERVED = ("patient", "cohort", "admitted", "ended", "end_reason", "therapist", "month", "age", "sex")


def simulate_visits(scenario: Scenario, *, rng: int | np.random.Generator | None = None) -> pd.DataFrame:
    """Show what a study would see, if this scenario were true.

    Parameters
    ----------
    scenario : Scenario
        The cohorts, visits and true effects.
    rng : None, int or numpy.random.Generator
        Source of randomness: a seed gives the same patients again, None new ones each time.

    Returns
    -------
    pandas.DataFrame
        One row per patient and visit, in the order of patients and times: patient (1, 2, ...), cohort, admitted, ended,
        end_reason, therapist, month, one column per outcome, age (years at admission), sex. After a patient has left
        there are no rows; an outcome that was not recorded at a visit is NaN. Who stays to the last planned visit has
        `ended` on that day, and who leaves on a day between the last visit seen and the next planned one.

    Raises
    ------
    DataError
        If `scenario` is no Scenario or `rng` none of the three.

    Notes
    -----
    The complete outcomes are drawn first and drop-out last: the same seed under another drop-out gives the same
    patients and values. Months have 30.4375 days.

    References
    ----------
    Rubin, D. B. (1976). Inference and missing data. Biometrika, 63, 581-592. DOI 10.1093/biomet/63.3.581

    Examples
    --------
    >>> from implstats import simulate_visits
    >>> from implstats.simulate import REORGANISATION
    >>> visits = simulate_visits(REORGANISATION, rng=2017)
    >>> visits.groupby("cohort")["patient"].nunique().to_dict()
    {'before': 76, 'during': 68}
    """
    faults = _check.Faults()
    if not isinstance(scenario, Scenario):
        faults.say(f"scenario: a {type(scenario).__name__} is not a Scenario; make one with Scenario(...)")
    source = _try(faults, _generator, rng)
    faults.settle()
    assert source is not None
    cohorts = list(scenario.patients)
    sizes = list(scenario.patients.values())
    n, waves = sum(sizes), len(scenario.visits)
    cohort = np.repeat(np.arange(len(cohorts)), sizes)

    age = source.integers(scenario.age[0], scenario.age[1] + 1, n)
    female = source.random(n) < scenario.female
    therapist = source.integers(0, max(scenario.therapists, 1), n)
    times = np.tile(np.asarray(scenario.visits, dtype=float), (n, 1))
    if scenario.jitter:
        times[:, 1:] += source.uniform(-scenario.jitter, scenario.jitter, (n, waves - 1))
    values = _outcomes(scenario, source, cohort=cohort, times=times, therapist=therapist, age=age, female=female)

    recorded = {name: np.ones((n, waves), dtype=bool) for name in values}
    for seen in recorded.values():
        seen[:, 1:] = source.random((n, waves - 1)) >= scenario.missed
    last = _last_visit(scenario, source.random((n, waves - 1)), cohort=cohort, values=values, recorded=recorded)
    here = np.arange(waves) <= last[:, None]

    row = np.nonzero(here)[0]
    columns: dict[str, Any] = {"patient": row + 1, "cohort": _words(cohorts, cohort)[row]}
    if scenario.admission is not None:
        admitted, ended = _calendar(scenario, source, cohort=cohort, times=times, last=last)
        columns |= {"admitted": admitted[row], "ended": ended[row]}
        columns["end_reason"] = _words(["dropped out", "completed"], last == waves - 1)[row]
    if scenario.therapists:
        width = len(str(scenario.therapists))
        names = [f"T{i + 1:0{max(width, 2)}d}" for i in range(scenario.therapists)]
        columns["therapist"] = _words(names, therapist)[row]
    month = times[here]
    whole = not scenario.jitter and all(float(v).is_integer() for v in scenario.visits)
    columns["month"] = month.astype(np.int64) if whole else month
    for name, y in values.items():
        columns[name] = np.where(recorded[name], y, np.nan)[here]
    columns |= {"age": age[row], "sex": _words(["male", "female"], female)[row]}
    return pd.DataFrame(columns)


def _outcomes(
    scenario: Scenario,
    source: np.random.Generator,
    *,
    cohort: NDArray[np.int64],
    times: NDArray[np.float64],
    therapist: NDArray[np.int64],
    age: NDArray[np.int64],
    female: NDArray[np.bool_],
) -> dict[str, NDArray[np.float64]]:
    """Return the complete outcomes, patients x visits, before anyone is missing."""
    n, waves = times.shape
    elapsed = times - scenario.visits[0]
    clusters = (max(scenario.therapists, 1), len(scenario.patients))
    shapes: list[tuple[int, ...]] = [(n,), (n,), (n, waves), clusters[:1], clusters]
    share = scenario.correlation
    common = [source.standard_normal(shape) for shape in shapes] if share else [0.0] * len(shapes)
    centred_age = age - (scenario.age[0] + scenario.age[1]) / 2
    centred_sex = female - scenario.female
    out: dict[str, NDArray[np.float64]] = {}
    for name, truth in scenario.outcomes.items():
        own = [source.standard_normal(shape) for shape in shapes]
        mixed = zip(common, own, strict=True)
        level, slope, residual, cluster, cluster_slope = (np.sqrt(share) * c + np.sqrt(1 - share) * o for c, o in mixed)
        r = truth.correlation
        change = truth.slope_sd * (r * level + np.sqrt(1 - r * r) * slope)
        change = change + truth.therapist_slope_sd * cluster_slope[therapist, cohort]
        start = np.sqrt(_own_variance(scenario, truth)) * level + truth.therapist_sd * cluster[therapist]
        y = truth.sign * (start[:, None] + change[:, None] * elapsed + truth.residual_sd * residual)
        y += truth.mean + (truth.age * centred_age + truth.sex * centred_sex)[:, None]
        for code, label in enumerate(scenario.patients):
            mine = cohort == code
            d = _improvement(truth.d[label], scenario.visits[0], times[mine])
            y[mine] += truth.sign * truth.sd * d
        out[name] = y
    return out


def _own_variance(scenario: Scenario, truth: OutcomeTruth) -> float:
    """Return the variance of the patients' own level: what therapists, age, sex and the residual leave of sd^2."""
    ages = scenario.age[1] - scenario.age[0] + 1
    spread = truth.age**2 * (ages**2 - 1) / 12 + truth.sex**2 * scenario.female * (1 - scenario.female)
    return float(truth.sd**2 - truth.residual_sd**2 - truth.therapist_sd**2 - spread)


def _improvement(d: Mapping[float, float], start: float, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return d at the times: straight from (start, 0) through the named times, the last piece carried on."""
    knots = np.array([start, *(t for t in d if t > start)])
    heights = np.array([0.0, *(d[t] for t in d if t > start)])
    beyond = (heights[-1] - heights[-2]) / (knots[-1] - knots[-2]) * np.maximum(times - knots[-1], 0.0)
    return np.asarray(np.interp(times, knots, heights) + beyond)


def _last_visit(
    scenario: Scenario,
    chance: NDArray[np.float64],
    *,
    cohort: NDArray[np.int64],
    values: Mapping[str, NDArray[np.float64]],
    recorded: Mapping[str, NDArray[np.bool_]],
) -> NDArray[np.int64]:
    """Return the index of the last visit that each patient comes to."""
    n, gaps = chance.shape
    last = np.full(n, gaps)
    rule = scenario.dropout
    if rule is None:
        return last
    name = next(iter(values)) if rule.outcome is None else rule.outcome
    truth = scenario.outcomes[name]
    p = [rule.probability[c] if isinstance(rule.probability, Mapping) else rule.probability for c in scenario.patients]
    with np.errstate(divide="ignore"):
        base = (np.log(p) - np.log1p(-np.asarray(p)))[cohort]
    seen = values[name][:, 0]
    for visit in range(gaps):
        seen = np.where(recorded[name][:, visit], values[name][:, visit], seen)
        worse = -truth.sign * (seen - truth.mean) / truth.sd
        leaves = chance[:, visit] < 1 / (1 + np.exp(-(base + rule.per_sd * worse)))
        last = np.where((last == gaps) & leaves, visit, last)
    return last


def _calendar(
    scenario: Scenario,
    source: np.random.Generator,
    *,
    cohort: NDArray[np.int64],
    times: NDArray[np.float64],
    last: NDArray[np.int64],
) -> tuple[NDArray[np.datetime64], NDArray[np.datetime64]]:
    """Return the days of admission and of the end of treatment."""
    assert scenario.admission is not None
    windows = [np.array(scenario.admission[c], dtype="datetime64[D]") for c in scenario.patients]
    first = np.array([w[0] for w in windows])[cohort]
    length = np.array([(w[1] - w[0]).astype(int) + 1 for w in windows])[cohort]
    admitted = first + np.floor(source.random(len(cohort)) * length).astype("timedelta64[D]")
    share = source.random(len(cohort))
    waves = times.shape[1]
    patient = np.arange(len(cohort))
    left = times[patient, last]
    planned = np.asarray(scenario.visits)[np.minimum(last + 1, waves - 1)]
    until = np.where(last == waves - 1, left, left + share * np.maximum(planned - left, 0.0))
    days = np.rint((until - scenario.visits[0]) * DAYS_A_MONTH).astype("timedelta64[D]")
    return admitted.astype("datetime64[ns]"), (admitted + days).astype("datetime64[ns]")


def _words(words: Sequence[Hashable], codes: NDArray[Any]) -> NDArray[Any]:
    table = np.empty(len(words), dtype=object)
    table[:] = words
    return np.asarray(table[codes.astype(np.int64)])


def _generator(rng: int | np.random.Generator | None) -> np.random.Generator:
    good = rng is None or isinstance(rng, np.random.Generator | int | np.integer)
    if not good or isinstance(rng, bool) or (isinstance(rng, int | np.integer) and rng < 0):
        raise DataError(f"rng={_check.show(rng)}: not None, a whole number of at least 0, or a numpy Generator")
    return np.random.default_rng(rng)


def _probability(faults: _check.Faults, argument: str, value: object, *, one: bool = True) -> None:
    number = _try(faults, _check.number, argument, value, least=0)
    if number is not None and (number > 1 or (number == 1 and not one)):
        faults.add(argument, value, "more than 1" if one else "not below 1")


def _try(faults: _check.Faults, check: Callable[..., Any], *values: Any, **bounds: Any) -> Any:
    """Return what the check returns, or record its fault and return None."""
    try:
        return check(*values, **bounds)
    except DataError as error:
        faults.take(error)
        return None


# The bundled example is one draw from this: its true effects lie inside the ranges that Bales et al. 2017 published,
# and its levels and spreads are so far from the ends of both scales that nothing has to be clipped.
REORGANISATION = Scenario(
    patients={"before": 76, "during": 68},
    outcomes={
        "bsi": OutcomeTruth(
            better="lower",
            mean=2.0,
            sd=0.5,
            d={"before": {18: 0.95, 36: 1.2}, "during": {18: 0.35, 36: 0.5}},
            residual_sd=0.26,
            slope_sd=0.008,
            correlation=-0.35,
            therapist_sd=0.08,
            age=-0.004,
            sex=0.1,
        ),
        "sipp": OutcomeTruth(
            better="higher",
            mean=2.3,
            sd=0.4,
            d={"before": {18: 1.1, 36: 1.4}, "during": {18: 0.45, 36: 0.6}},
            residual_sd=0.2,
            slope_sd=0.006,
            correlation=-0.35,
            therapist_sd=0.06,
            age=0.003,
            sex=0.05,
        ),
    },
    visits=(0, 18, 36),
    therapists=10,
    dropout=DropOut({"before": 0.1, "during": 0.15}, outcome="bsi", per_sd=0.5),
    missed=0.04,
    correlation=0.5,
    admission={"before": ("2004-01-01", "2006-12-31"), "during": ("2010-01-01", "2012-06-30")},
)
