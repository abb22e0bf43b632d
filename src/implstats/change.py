"""Change in single patients: who changed by more than errors of measurement explain, and who became healthy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats.design.growth import BETTER
from implstats.design.time import listed
from implstats.design.visits import CheckedVisits, Roles, checked_visits
from implstats.errors import DataError
from implstats.results import Result, Sample, frozen

__all__ = ["ReliableChange", "cut_off", "reliable_change"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Norm = tuple[float, float]

CATEGORIES = ("recovered", "improved", "unchanged", "deteriorated")
SDS = ("baseline", "reference")
_WHOSE = {"baseline": "observed at the start, pooled over cohorts", "reference": "of the reference at the start"}


def cut_off(dysfunctional: Norm, functional: Norm) -> float:
    """Return where a score is as many SDs from the mean of patients as from that of a healthy population.

    Criterion c of Jacobson & Truax 1991: (SD0 M1 + SD1 M0) / (SD0 + SD1), M0 and SD0 of the functional population,
    M1 and SD1 of the dysfunctional one.
    """
    (mean1, sd1), (mean0, sd0) = dysfunctional, functional
    return (sd0 * mean1 + sd1 * mean0) / (sd0 + sd1)


@dataclass(frozen=True, eq=False, repr=False)
class ReliableChange(Result):
    """Reliable change of every patient, and what shares of each cohort recovered, improved, stayed or got worse.

    Attributes
    ----------
    outcome, time : str
        Columns.
    better : {"lower", "higher"}
    between : tuple of float
        The two times that are compared.
    cohorts, ids : tuple
        The cohorts, the reference first; and the patients.
    cohort_of, before, after : numpy.ndarray
        Of every patient: code of the cohort, outcome at the start and at the end, nan where it was not measured.
    sd, reliability, criterion : float
        What the index is made of, and how large it must be.
    sd_source : str
        Whose SD it is.
    cutoff : float
        Where the healthy side begins; nan if nothing was said of it.
    cutoff_source : str
    sample : Sample
    level : float
        The level of the printed intervals.
    """

    outcome: str
    time: str
    better: str
    between: tuple[float, float]
    cohorts: tuple[Any, ...]
    ids: tuple[Any, ...]
    cohort_of: Ints
    before: Floats
    after: Floats
    sd: float
    sd_source: str
    reliability: float
    criterion: float
    cutoff: float
    cutoff_source: str
    sample: Sample
    level: float

    def __post_init__(self) -> None:
        for name in ("cohort_of", "before", "after"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    @property
    def std_error(self) -> float:
        """The standard error of a difference of two measurements, SD sqrt(2 (1 - r)), in units of the outcome."""
        return self.sd * math.sqrt(2 * (1 - self.reliability))

    @property
    def categories(self) -> tuple[str, ...]:
        """What can become of a patient; recovery is among it only where a cut-off is known."""
        return CATEGORIES[1:] if math.isnan(self.cutoff) else CATEGORIES

    def patients(self) -> pd.DataFrame:
        """Return one row a patient: both values, the change (positive is better), the index, and the category."""
        sign = -1.0 if self.better == "lower" else 1.0
        change = sign * (self.after - self.before)
        index = change / self.std_error
        crossed = (sign * (self.before - self.cutoff) <= 0) & (sign * (self.after - self.cutoff) > 0)
        up = index > self.criterion
        which = np.select([up & crossed, up, index < -self.criterion, np.isnan(change)], [0, 1, 3, 4], default=2)
        words = np.array([*CATEGORIES, ""], dtype=object)
        return pd.DataFrame(
            {
                "patient": list(self.ids),
                "cohort": [self.cohorts[c] for c in self.cohort_of],
                "start": self.before,
                "end": self.after,
                "change": change,
                "rci": index,
                "category": words[which],
            }
        )

    def _counts(self) -> tuple[Ints, Ints, Ints]:
        """Return, per cohort: patients by category, patients with both values, patients without an end."""
        table = self.patients()["category"].to_numpy()
        rows = range(len(self.cohorts))
        counts = [[int(((table == k) & (self.cohort_of == c)).sum()) for k in self.categories] for c in rows]
        lost = ~np.isnan(self.before) & np.isnan(self.after)
        both = np.array(counts).sum(axis=1)
        return np.array(counts), both, np.bincount(self.cohort_of[lost], minlength=len(self.cohorts))

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return each cohort's shares with Wilson's intervals, then differences from the reference with Newcombe's.

        Shares are of the patients with both values (`patients`); `missing` had a start and no end.
        """
        alpha = 1 - (self.level if level is None else _check.level(level))
        counts, both, lost = self._counts()
        rows: list[dict[str, Any]] = []
        for c, name in enumerate(self.cohorts):
            for k, category in enumerate(self.categories):
                low, high = _share_interval(counts[c, k], both[c], alpha)
                row = {"quantity": "share", "cohort": name, "reference": "", "category": category, "n": counts[c, k]}
                row |= {"patients": both[c], "missing": lost[c], "estimate": counts[c, k] / both[c]}
                rows.append(row | {"conf_low": low, "conf_high": high})
        for c, name in enumerate(self.cohorts[1:], start=1):
            for k, category in enumerate(self.categories):
                first, second = (counts[c, k], both[c]), (counts[0, k], both[0])
                low, high = _difference_interval(*first, *second, alpha)
                row = {"quantity": "difference", "cohort": name, "reference": self.cohorts[0], "category": category}
                row |= {"n": counts[c, k], "patients": both[c], "missing": lost[c]}
                row |= {"estimate": first[0] / first[1] - second[0] / second[1]}
                rows.append(row | {"conf_low": low, "conf_high": high})
        return pd.DataFrame(rows)

    def glance(self) -> pd.DataFrame:
        """Return one row: patients with both values and without an end, the SD, and the error of a difference."""
        _, both, lost = self._counts()
        return pd.DataFrame(
            {"patients": [both.sum()], "missing": [lost.sum()], "sd": [self.sd], "std_error": [self.std_error]}
        )

    def header(self) -> list[str]:
        """Return how change is judged, by which numbers, and who could not be judged."""
        start, end = map(_check.show, self.between)
        _, both, lost = self._counts()
        sizes = ", ".join(
            f"{name} {n} ({k} more had no end)" for name, n, k in zip(self.cohorts, both, lost, strict=True)
        )
        lines = [
            f"Reliable change in {self.outcome} ({self.better} is better), {self.time} {start} to {end} "
            f"({100 * self.level:.10g}% intervals: Wilson's, of differences Newcombe's)",
            f"index = improvement / (SD sqrt(2 (1 - r))) = improvement / {self.std_error:.4g}, reliable beyond "
            f"{self.criterion:.4g}: SD {self.sd:.4g} {self.sd_source}, reliability r {self.reliability:.4g}",
            self._cutoff_in_words(),
            f"patients with both values: {sizes}; shares leave those without an end out, whatever became of them",
        ]
        if never := int((np.isnan(self.before) & ~np.isnan(self.after)).sum()):
            lines.append(f"{never} patients have an end and no start, and count nowhere")
        return [*lines, *self.sample.in_words()]

    def _cutoff_in_words(self) -> str:
        if math.isnan(self.cutoff):
            return "no cut-off is known, so nobody is called recovered; improved: reliably better"
        sign = -1.0 if self.better == "lower" else 1.0
        healthy = int((sign * (self.before - self.cutoff) > 0)[~np.isnan(self.after)].sum())
        side = "below" if self.better == "lower" else "above"
        line = f"recovered: reliably better and from the other side to {side} {self.cutoff:.4g} ({self.cutoff_source})"
        beyond = f"{healthy} were {side} it at the start, and could not recover; " if healthy else ""
        return f"{line}; {beyond}improved: reliably better without that"


def _share_interval(count: int, total: int, alpha: float) -> tuple[float, float]:
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(count, total, alpha=alpha, method="wilson")
    # Rounding leaves 1e-17 where the formula gives 0 or 1.
    return (float(low) if count else 0.0), (float(high) if count < total else 1.0)


def _difference_interval(count: int, total: int, other: int, of: int, alpha: float) -> tuple[float, float]:
    from statsmodels.stats.proportion import confint_proportions_2indep

    low, high = confint_proportions_2indep(count, total, other, of, method="newcomb", compare="diff", alpha=alpha)
    return float(low), float(high)


def _norm(argument: str, value: Any, faults: Faults) -> Norm | None:
    """Return the mean and SD of a norm group."""
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 2:
        faults.add(argument, value, "not a mean and an SD", f"write {argument}=(0.3, 0.4)")
        return None
    mean = faults.ask(_check.number, argument, value[0], remedy="the first is the mean")
    sd = faults.ask(_check.number, argument, value[1], above=0, remedy="the second is the SD")
    return None if mean is None or sd is None else (mean, sd)


def _times_are_seen(frame: pd.DataFrame, time: str, faults: Faults, **asked: Any) -> None:
    """Record a time that no row has."""
    if faults or not pd.api.types.is_numeric_dtype(frame[time].dtype):
        return
    seen = sorted(frame[time].dropna().unique().tolist())
    for argument, value in asked.items():
        if faults.ask(_check.number, argument, value) is not None and value not in seen:
            faults.add(argument, value, f"no row at this time of {_check.show(time)}; there are {listed(seen)}")


def _values(visits: CheckedVisits, when: float) -> Floats:
    """Return every patient's outcome at a time, nan without one."""
    out = np.full(len(visits.patients.levels), np.nan)
    rows = visits.t == when
    out[visits.patients.of_row[rows]] = visits.y[rows]
    return out


def _observed(before: Floats, cohort_of: Ints, cohorts: Sequence[int]) -> Norm:
    """Return the mean of the outcome at the start, and its SD pooled within cohorts."""
    groups = [before[(cohort_of == c) & ~np.isnan(before)] for c in cohorts]
    df = sum(len(g) for g in groups) - len(groups)
    square = sum(float(((g - g.mean()) ** 2).sum()) for g in groups if len(g))
    mean = float(np.concatenate(groups).mean())
    return mean, math.sqrt(square / df) if df > 0 else 0.0


def _healthy_side(functional: Norm | None, dysfunctional: Norm, cutoff: float | None, better: str) -> tuple[float, str]:
    """Return where the healthy side begins, and where that is from."""
    if cutoff is not None:
        return cutoff, "as given"
    if functional is None:
        return math.nan, ""
    if (functional[0] > dysfunctional[0]) != (better == "higher"):
        raise DataError(
            f"functional={_check.show(functional)}: its mean is not on the better side of the patients' mean "
            f"{dysfunctional[0]:.4g}, and {better} is better; check better=, or the norm's scale"
        )
    norms = " and ".join(f"{mean:.4g} (SD {sd:.4g})" for mean, sd in (dysfunctional, functional))
    return cut_off(dysfunctional, functional), f"criterion c between the means {norms}"


def _checked(frame: pd.DataFrame, call: Mapping[str, Any]) -> tuple[Norm | None, Norm | None]:
    """Return the norms of the healthy and of patients; every fault of the arguments is reported together."""
    _check.frame(frame)
    faults = Faults()
    _check.columns(frame, faults, **{k: call[k] for k in ("outcome", "time", "patient", "cohort")})
    _times_are_seen(frame, call["time"], faults, start=call["start"], end=call["end"])
    if call["start"] == call["end"]:
        faults.add("end", call["end"], "is the start", "name a later time")
    faults.ask(_check.one_of, "better", call["better"], BETTER)
    faults.ask(_check.one_of, "missing", call["missing"], ("drop", "raise"))
    faults.ask(_check.level, call["level"])
    faults.ask(_check.number, "criterion", call["criterion"], above=0)
    reliability, remedy = call["reliability"], "a share between 0 and 1, from the instrument's manual"
    if faults.ask(_check.number, "reliability", reliability, above=0, remedy=remedy) is not None and reliability >= 1:
        faults.add("reliability", reliability, "not below 1", remedy)
    if isinstance(call["sd"], str):
        faults.ask(_check.one_of, "sd", call["sd"], SDS)
    else:
        faults.ask(_check.number, "sd", call["sd"], above=0)
    if call["cutoff"] is not None:
        faults.ask(_check.number, "cutoff", call["cutoff"])
        if call["functional"] is not None:
            faults.add("cutoff", call["cutoff"], "functional= gives another", "leave one of them out")
    if call["dysfunctional"] is not None and call["functional"] is None:
        faults.add("dysfunctional", call["dysfunctional"], "a cut-off takes two populations", "give functional= too")
    norms = _norm("functional", call["functional"], faults), _norm("dysfunctional", call["dysfunctional"], faults)
    faults.settle()
    return norms


def reliable_change(
    frame: pd.DataFrame,
    *,
    outcome: str,
    time: str,
    patient: str,
    cohort: str,
    reference: Any,
    start: float = 0,
    end: float,
    better: str,
    reliability: float,
    sd: str | float = "baseline",
    cutoff: float | None = None,
    functional: Norm | None = None,
    dysfunctional: Norm | None = None,
    criterion: float = 1.96,
    level: float = 0.95,
    missing: str = "drop",
) -> ReliableChange:
    """How many patients of each cohort changed by more than errors of measurement explain, and how many recovered?

    A patient's index is the improvement divided by the standard error of a difference of two measurements (Jacobson and
    Truax 1991, as corrected by Christensen and Mendoza 1986): SD sqrt(2 (1 - r)).

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per patient and visit.
    outcome, time, patient, cohort : str
        Columns.
    reference : value of the cohort column
        The cohort that the others are compared with.
    start, end : float
        The two times that are compared, in the unit of the time column.
    better : {"lower", "higher"}
        Direction of improvement.
    reliability : float
        r of the outcome's instrument, between 0 and 1. Retest reliability over a short time, or internal consistency;
        the second is mostly higher, and calls more patients changed.
    sd : {"baseline", "reference"} or float
        "baseline": observed at the start, pooled over cohorts; "reference": of the reference at the start; or the SD of
        a norm group, which makes the index comparable between studies.
    cutoff : float, optional
        Where the healthy side begins, in units of the outcome.
    functional : (mean, SD), optional
        Of a healthy population, in place of `cutoff`: criterion c, (SD0 M1 + SD1 M0) / (SD0 + SD1), as many SDs from
        the one mean as from the other.
    dysfunctional : (mean, SD), optional
        Of patients, for `functional`; by default what was observed at the start (of the reference for sd="reference",
        else of all).
    criterion : float
        How large an index is called reliable; 1.96 is passed by 5 % of patients in whom nothing changes.
    level : float
        Level of the intervals of shares.
    missing : {"drop", "raise"}
        Rows with a missing outcome or time are dropped and counted, or an error. A patient without an end is counted,
        and in no share.

    Returns
    -------
    ReliableChange
        Shares in `tidy()`; `patients()` has every patient's index and category.

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question, all faults together.

    Notes
    -----
    Recovered: reliably better, on the unhealthy side (or at the cut-off) at the start and beyond it at the end;
    improved: reliably better without that; deteriorated: reliably worse. Shares are of patients seen at both times: if
    those who stay away do worse, shares flatter, and more so in the cohort that lost more. A share counts heads and
    wastes what means tell; it stands beside `compare_cohorts`, not in its place.

    References
    ----------
    Jacobson & Truax 1991, DOI 10.1037/0022-006X.59.1.12; Christensen & Mendoza 1986, DOI 10.1016/S0005-7894(86)80060-0;
    Newcombe 1998, DOI 10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> found = ist.reliable_change(visits, outcome="bsi", time="month", patient="patient", cohort="cohort",
    ...                             reference="before", end=36, better="lower", reliability=0.9, cutoff=0.8)
    >>> found.tidy().query("quantity == 'share'")[["cohort", "category", "n", "patients"]]
       cohort      category   n  patients
    0  before     recovered   4        62
    1  before      improved  34        62
    2  before     unchanged  24        62
    3  before  deteriorated   0        62
    4  during     recovered   0        49
    5  during      improved  16        49
    6  during     unchanged  30        49
    7  during  deteriorated   3        49
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    healthy, ill = _checked(frame, call)
    roles = Roles(outcome, time, patient, cohort, reference, float(start), None, ())
    visits = checked_visits(frame, roles, Faults(), missing=missing, time_unit=None, random="none")
    of_patient = visits.cohort_of_patient()
    before, after = _values(visits, start), _values(visits, end)
    for c, name in enumerate(visits.cohorts.levels):
        if not (~np.isnan(before + after) & (of_patient == c)).any():
            raise DataError(f"cohort={_check.show(cohort)}: nobody of {_check.show(name)} was seen at start and end")
    whose = [0] if sd == "reference" else range(len(visits.cohorts.levels))
    observed = _observed(before, of_patient, whose)
    spread, source = (observed[1], _WHOSE[sd]) if isinstance(sd, str) else (float(sd), "as given")
    if spread == 0:
        raise DataError(f"sd={_check.show(sd)}: the outcome does not vary at the start; give the SD of a norm group")
    edge, edge_source = _healthy_side(healthy, ill or observed, cutoff, better)
    counted = dict(zip(visits.cohorts.levels, np.bincount(of_patient).tolist(), strict=True))
    sample = Sample(visits.given, len(visits.y), visits.dropped, {}, counted)
    return ReliableChange(
        call,
        outcome,
        time,
        better,
        (float(start), float(end)),
        tuple(visits.cohorts.levels),
        tuple(visits.patients.levels),
        of_patient,
        before,
        after,
        spread,
        source,
        float(reliability),
        float(criterion),
        edge,
        edge_source,
        sample,
        level,
    )
