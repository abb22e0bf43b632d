"""Which model an outcome gets, and why: an MMRM where visits are few and fixed, a growth model elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from implstats import _check
from implstats._check import Faults
from implstats.design import GrowthDesign, growth_design
from implstats.design.time import FIXED_VISITS, Shape
from implstats.errors import ConvergenceError, DataError
from implstats.growth.cohorts import CohortModel
from implstats.growth.fit import GrowthResult, growth_result
from implstats.growth.mmrm import mmrm_design, mmrm_result

__all__ = [
    "BESIDE",
    "DEFAULT_DF",
    "MODELS",
    "OWN_COVARIANCE",
    "Choice",
    "Reason",
    "boundary_words",
    "choose",
    "fit_outcome",
]
__all__ += ["refuse", "straightness"]

Say = Callable[[Any], str]

MODELS = ("auto", "mmrm", "growth")
# Held its level where Satterthwaite's fell short: small, unequal cohorts with drop-out (tests/simulation/table.md).
DEFAULT_DF = "kenward-roger"
COVARIANCE = "unstructured"
BESIDE = ("interruption", "moderators", "patient_weights")
"""Roles of columns that a model may have beside outcome, time, patient, cohort and covariates."""
OWN_COVARIANCE = 20
"""Patients that every cohort must have, so that each gets a covariance of its own."""
_NUMBERS = {1: "one", 2: "two", 3: "three", 4: "four"}
_NOT_MMRM = ("shape", "groups", "time_unit", "interruption", "moderators")
_SIMPLER = "say model='growth', or ask fit_mmrm with a simpler covariance="


@dataclass(frozen=True)
class Reason:
    """Why something was chosen; names stand apart from the words, so that a report can put its labels in."""

    words: str
    names: tuple[Any, ...] = ()

    def __call__(self, say: Say = str) -> str:
        """Return the reason, every column and cohort as `say` calls it."""
        return self.words.format(*map(say, self.names))


@dataclass(frozen=True)
class Choice:
    """The model of one outcome, and why it is this one.

    Attributes
    ----------
    model : {"mmrm", "growth"}
    because : Reason
    course : str
        Of a growth model: its shape of time.
    by_cohort : bool
        Of an MMRM: whether every cohort has a covariance of its own.
    covariance : Reason or None
        Of an MMRM: whose covariance it is, and why.
    """

    model: str
    because: Reason
    course: str = ""
    by_cohort: bool = False
    covariance: Reason | None = None

    def in_words(self, say: Say = str) -> str:
        """Return the model and why; `say` gives columns and cohorts their labels."""
        course = "visits as categories" if self.course == "visits" else f"{self.course} time"
        name = "MMRM" if self.model == "mmrm" else f"growth model ({course})"
        return f"{name}, because {self.why(say)}"

    def why(self, say: Say = str) -> str:
        """Return why this model, and whose covariance it has."""
        parts = [self.because, self.covariance] if self.covariance else [self.because]
        return "; ".join(part(say) for part in parts)


def refuse(model: Any, roles: Mapping[str, Any], df: str, faults: Faults) -> None:
    """Record an unknown model, what an MMRM cannot do beside, and what does not go with weights of patients."""
    faults.ask(_check.one_of, "model", model, MODELS)
    if roles["patient_weights"] is not None:
        if _named(roles["groups"]):
            faults.add("groups", roles["groups"], "not with patient_weights=", "leave one of the two out")
        if df != "normal":
            said = "not defined with patient_weights=, whose standard errors come from the spread between patients"
            faults.add("df", df, said, "say df='normal'")
    if model == "mmrm":
        _refuse_roles(roles, faults)


def _refuse_roles(roles: Mapping[str, Any], faults: Faults) -> None:
    """Record what an MMRM that is asked for has not."""
    shape = roles["shape"]
    course = isinstance(shape, Shape) or (isinstance(shape, str) and shape in ("linear", "quadratic", "log"))
    asked = {
        "groups": ("has no random effects", "them", _named(roles["groups"])),
        "shape": ("has a mean for every visit", "a course", course),
        "interruption": ("has no course that could be interrupted", "it", roles["interruption"] is not None),
        "moderators": ("has no scores that change depends on", "them", _named(roles["moderators"])),
    }
    for name, (has, what, given) in asked.items():
        if given:
            said = f"an MMRM {has}, and {name}={_check.show(roles[name])} asks for {what}"
            faults.add("model", "mmrm", said, f"say model='growth', or leave {name}= out")


def choose(frame: pd.DataFrame, outcome: str, model: str, roles: Mapping[str, Any]) -> tuple[GrowthDesign, Choice]:
    """Return the design of an outcome's growth model, and which model it gets; nothing is fitted.

    Parameters
    ----------
    frame, outcome
        One row per patient and visit; the outcome's column.
    model : {"auto", "mmrm", "growth"}
    roles : mapping
        The other arguments of `growth_design`.
    """
    design = growth_design(frame, outcome=outcome, random="auto", **roles)
    if model == "mmrm":
        _refuse_design(design)
        return design, _mmrm(design, Reason("it was asked for"))
    against = Reason("it was asked for") if model == "growth" else _against_mmrm(design, roles)
    if against is not None:
        return design, Choice("growth", against, design.shape.word)
    fixed = len(design.times) - bool(design.sample.added)
    visits = f"there {'is' if fixed == 1 else 'are'} {_NUMBERS[fixed]} fixed visit{'s' * (fixed != 1)}"
    return design, _mmrm(design, Reason(f"{visits} beside the baseline column" if design.sample.added else visits))


def _named(groups: Any) -> tuple[Any, ...]:
    return () if groups is None else tuple(groups) if isinstance(groups, list | tuple) else (groups,)


def _refuse_design(design: GrowthDesign) -> None:
    """Refuse an MMRM that was asked for where there are no visits, or too little to tell their covariance."""
    asked = "model='mmrm'"
    if design.time_unit:
        raise DataError(
            f"{asked}: {design.time} is read from dates, which are no fixed visits; put them in windows with "
            "visits_from_dates, or say model='growth'"
        )
    if not design.times:
        count = len(np.unique(design.t))
        raise DataError(f"{asked}: {count} distinct times of {design.time} are no fixed visits; say model='growth'")
    gap = _gap(design)
    if gap is not None:
        raise DataError(f"{asked}: its covariance cannot be estimated, as {gap()}; {_SIMPLER}")


def _against_mmrm(design: GrowthDesign, roles: Mapping[str, Any]) -> Reason | None:
    """Return why "auto" takes no MMRM, None if it does."""
    groups, shape = _named(roles["groups"]), roles["shape"]
    if groups:
        listed = " and ".join(["{}"] * len(groups))
        return Reason(f"random effects of {listed} were asked for, which an MMRM has not", groups)
    if roles["interruption"] is not None:
        return Reason("an interruption by {} was asked for, which an MMRM has not", (roles["interruption"],))
    if scores := _named(roles["moderators"]):
        listed = " and ".join(["{}"] * len(scores))
        return Reason(f"change was asked to depend on {listed}, which it cannot in an MMRM", scores)
    if not isinstance(shape, str) or shape not in ("auto", "visits"):
        return Reason("a course over time was asked for")
    if design.time_unit:
        return Reason("times were read from dates, which are no fixed visits")
    count = len(np.unique(design.t)) - bool(design.sample.added)
    if count > FIXED_VISITS:
        beside = " beside the baseline column" if design.sample.added else ""
        return Reason(f"there are {count} distinct times{beside}; an MMRM is for {_NUMBERS[FIXED_VISITS]} at most")
    gap = _gap(design)
    return None if gap is None else Reason(f"the covariance of an MMRM cannot be estimated: {gap.words}", gap.names)


def _mmrm(design: GrowthDesign, because: Reason) -> Choice:
    """Return an MMRM, with a covariance for every cohort if each can carry one."""
    for name in design.cohorts:
        count = design.sample.patients[name]
        few = Reason(f"{{}} has {count} patient{'s' * (count != 1)}, fewer than {OWN_COVARIANCE}", (name,))
        gap = few if count < OWN_COVARIANCE else _gap(design, name)
        if gap is not None:
            return Choice(
                "mmrm", because, covariance=Reason(f"one covariance for all cohorts, as {gap.words}", gap.names)
            )
    own = Reason(f"every cohort has a covariance of its own, as each has {OWN_COVARIANCE} patients or more")
    return Choice("mmrm", because, by_cohort=True, covariance=own)


def _gap(design: GrowthDesign, cohort: Any = None) -> Reason | None:
    """Return which two visits no patient (of a cohort) has both of: an unstructured covariance cannot be estimated."""
    rows = np.ones(len(design.t), dtype=bool)
    if cohort is not None:
        rows = design.cohort_codes == design.cohorts.index(cohort)
    _, patient = np.unique(design.patient_codes[rows], return_inverse=True)
    seen = np.zeros((int(patient.max()) + 1, len(design.times)))
    seen[patient, np.searchsorted(design.times, design.t[rows])] = 1
    apart = np.argwhere(seen.T @ seen == 0).tolist()
    if not apart:
        return None
    # On the diagonal stands a visit that nobody made, which says more than a pair.
    one, other = min(apart, key=lambda pair: (pair[0] != pair[1], pair))
    first, second = (_check.show(design.times[k]) for k in (one, other))
    of, name = ("", ()) if cohort is None else (" of {}", (cohort,))
    where = f"{{}} {first}" if one == other else f"both {{}} {first} and {second}"
    return Reason(f"no patient{of} was seen at {where}", (*name, design.time))


def fit_outcome(
    frame: pd.DataFrame, outcome: str, better: str, model: str, roles: Mapping[str, Any], call: Mapping[str, Any]
) -> tuple[CohortModel, Choice]:
    """Return the fit of an outcome's model, and which it is and why.

    "auto" takes the next simpler model where one cannot be fitted (a covariance for all cohorts, then the growth model
    with visits as categories), and the choice says so; "mmrm" raises.
    """
    design, choice = choose(frame, outcome, model, roles)
    told = dict(call) | {"outcome": outcome, "better": better}
    # A weighted restricted likelihood is not defined.
    method = "reml" if roles["patient_weights"] is None else "ml"
    if choice.model == "mmrm":
        visits = mmrm_design(frame, outcome=outcome, **{k: v for k, v in roles.items() if k not in _NOT_MMRM})
    while choice.model == "mmrm":
        try:
            return mmrm_result(visits, better, method, COVARIANCE, choice.by_cohort, told), choice
        except (DataError, ConvergenceError) as error:
            if model == "mmrm" and not choice.by_cohort:
                raise _asked_for(error) from None
            choice = _simpler(choice, error, design)
    return growth_result(design, better, method, told), choice


def _simpler(choice: Choice, error: Exception, design: GrowthDesign) -> Choice:
    """Return what stands in for an MMRM that could not be fitted."""
    how = "did not converge" if isinstance(error, ConvergenceError) else "could not be estimated"
    if choice.by_cohort:
        common = Reason(f"one covariance for all cohorts, as one for each {how}")
        return Choice("mmrm", choice.because, covariance=common)
    return Choice("growth", Reason(f"an MMRM {how}"), design.shape.word)


def _asked_for(error: DataError | ConvergenceError) -> DataError | ConvergenceError:
    if isinstance(error, DataError):
        return error
    return ConvergenceError(f"model='mmrm': the fit did not converge; {_SIMPLER}", error.record)


def boundary_words(fit: CohortModel) -> list[str]:
    """Return which variances are zero and which correlations are one; an MMRM has none."""
    return fit.boundary if isinstance(fit, GrowthResult) else []


def straightness(fit: CohortModel) -> str:
    """Return how a growth model's straight lines fare, in words; empty for any other model."""
    return fit.straightness if isinstance(fit, GrowthResult) else ""
