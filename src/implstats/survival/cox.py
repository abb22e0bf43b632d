"""Cox models: which programmes stop sooner, at what hazard ratio, whatever the hazard does over time."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from implstats import _check
from implstats._check import Faults
from implstats._core import cox, firth, frailty
from implstats._core.exact import TooManyTiesError
from implstats._core.martingale import sandwich
from implstats._core.structure import AliasedError
from implstats.design.frames import several
from implstats.design.spells import SpellRoles, Spells, spells
from implstats.errors import BoundaryWarning, ConvergenceError, DataError
from implstats.survival.hazard_profiles import Fitted
from implstats.survival.hazards import CoxResult
from implstats.survival.profiles import no_finite_estimate, same_for_everybody

__all__ = ["do_not_go_together", "fit_cox"]

TIES = ("efron", "breslow", "exact")
# What cannot be had together, and why.
ONE_WAY = "both say how rows hang together"
PATIENT, WEIGHED = "patient_weights", "weighted patients have no likelihood to penalise"
APART = (
    ("frailty", "cluster", ONE_WAY, "leave one out"),
    ("frailty", "weights", "a group's frailty is made of whole rows", "repeat rows, or use cluster="),
    ("frailty", "penalty", "the frailty is a penalty of its own", "leave one out"),
    ("cluster", "penalty='firth'", "Firth's intervals are those of a likelihood of independent rows", "leave one out"),
    (PATIENT, "weights", "a row counts once", "multiply the columns, where one holds counts"),
    (PATIENT, "frailty", "weighted groups have no likelihood of what they share", "use cluster="),
    (PATIENT, "penalty", WEIGHED, "leave one out"),
    ("ties='exact'", PATIENT, "a set of patients has no weight", "use ties='efron'"),
    ("ties='exact'", "cluster", "its sandwich is not defined", "use ties='efron'"),
    ("ties='exact'", "weights", "a set of rows has no weight", "use ties='efron'"),
    ("ties='exact'", "frailty", "its likelihood has no groups", "use ties='efron'"),
    ("ties='exact'", "penalty='firth'", "its third moments are not had in linear time", "use ties='efron'"),
)


def fit_cox(
    frame: pd.DataFrame,
    *,
    duration: Hashable,
    event: Hashable,
    terms: str | Sequence[Hashable],
    entry: Hashable | None = None,
    id: Hashable | None = None,
    strata: Hashable | Sequence[Hashable] | None = None,
    cluster: Hashable | None = None,
    weights: Hashable | None = None,
    patient_weights: Hashable | None = None,
    frailty: Hashable | None = None,
    cause: Any = None,
    censored: Any = None,
    reference: Mapping[Hashable, Any] | None = None,
    ties: str = "efron",
    penalty: str | float | None = None,
    missing: str = "drop",
) -> CoxResult:
    """What goes with programmes stopping sooner, or patients dropping out sooner, and by what hazard ratio?

    Cox's proportional hazards: at any time the hazard of a row is h0(t) exp(x'b), with h0 left free.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per programme or patient; more rows, each with entry and duration, where a covariate changes over time.
    duration, event : str
        Columns: time until the event or the end of observation, and 1 for an event, 0 for none (or causes).
    terms : list of columns, or patsy right-hand side
        Covariates, as `leadership + support` or `era * training`.
    entry : str, optional
        Column: when a row comes under observation (delayed entry); it is at risk after that time.
    id : str, optional
        Column that says which rows are the same programme or patient.
    strata : column or list of columns, optional
        Every stratum has a baseline hazard of its own; the terms mean the same in all.
    cluster : str, optional
        Column with the organisations within which rows hang together: robust standard errors.
    weights : str, optional
        Column of case weights; a row of weight 2 stands for two rows.
    patient_weights : str, optional
        Column with one positive weight for each `id` (each row without it), as `propensity_weights` makes them.
        Standard errors are the sandwich over `id`, or over `cluster`, and take the weights as known. Their scale does
        not matter; tests of the likelihood and of proportional hazards, and survival by profile, are not given.
    frailty : str, optional
        Column with groups that share an unseen hazard ratio, gamma distributed with mean 1.
    cause : value of the event column, optional
        The cause whose hazard is modelled; the other causes are censoring (cause-specific hazard).
    censored : value of the event column, optional
        What stands for no event, where the column holds causes.
    reference : mapping of column to level, optional
        The level that a categorical term's others are compared with; by default its first.
    ties : {"efron", "breslow", "exact"}
        Events at the same time: Efron's or Breslow's approximation of an unknown order, or Cox's likelihood of times
        that are discrete ("exact": a logistic model, for small tied sets).
    penalty : "firth" or a positive number, optional
        Firth's penalty, for few events or groups without one; or ridge, penalty / 2 x the sum of squares of the
        coefficients per standard deviation.
    missing : {"drop", "raise"}
        Rows with a missing value are dropped and counted, or an error.

    Returns
    -------
    CoxResult

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question, all faults together.
    ConvergenceError
        A coefficient has no finite estimate; the message names its term.

    Notes
    -----
    Censoring must not tell of the hazard, given the terms. A hazard ratio compares those who are still at risk at a
    time; where a cause competes, that is not the risk of ever having the event (see `fit_fine_gray`).

    References
    ----------
    Cox 1972, DOI 10.1111/j.2517-6161.1972.tb00899.x; Efron 1977, DOI 10.1080/01621459.1977.10480613; Lin & Wei 1989,
    DOI 10.1080/01621459.1989.10478874; Heinze & Schemper 2001, DOI 10.1111/j.0006-341X.2001.00114.x; Therneau,
    Grambsch & Pankratz 2003, DOI 10.1198/1061860031365; weighted patients: Binder 1992, DOI 10.1093/biomet/79.1.139.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.survival.cox import fit_cox
    >>> years = pd.DataFrame({"years": [1, 1, 6, 6, 8, 9], "stopped": [1, 0, 1, 1, 0, 1],
    ...                       "era": ["during"] * 3 + ["before"] * 3})
    >>> model = fit_cox(years, duration="years", event="stopped", terms=["era"])
    >>> model.tidy().round(4)[["term", "reference", "estimate", "std_error"]]
              term reference  estimate  std_error
    0  era[during]    before    1.6769     1.2776

    Barriers that experts rated, and whether there are events enough for them:

    >>> from implstats import load_example
    >>> barriers = ["barrier_people", "barrier_organisation", "barrier_context"]
    >>> model = fit_cox(load_example("programmes"), duration="years", event="discontinued", terms=barriers)
    >>> model.header()[1]
    '75 events in 150 rows; 25 events per parameter (3 in all)'
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    faults = Faults()
    options = {"cluster": cluster, "weights": weights, "frailty": frailty, "ties": ties, "penalty": penalty}
    options |= {PATIENT: patient_weights}
    _check_options(options, faults)
    if terms is None or (isinstance(terms, list | tuple) and not terms):
        faults.say(f"terms={_check.show(terms)}: no term is named; name a column, or use survival_curves")
    roles = SpellRoles(
        duration=duration,
        event=event,
        entry=entry,
        id=id,
        cluster=cluster if frailty is None else frailty,
        strata=several(strata),
        weights=weights,
        patient_weights=patient_weights,
        terms=terms,
        censored=censored,
        reference=reference or {},
    )
    found = spells(frame, roles, missing=missing, faults=faults)
    happened = _events(found, cause, faults)
    if happened.any() and penalty is None and len(found.names) > happened.sum():
        few = f"{len(found.names)} parameters for {int(happened.sum())} events"
        faults.add("terms", terms, few, "use fewer terms, or penalty='firth'")
    if not found.names:
        faults.add("terms", terms, "leaves no column", "name one, or use survival_curves")
    for argument, column in (("cluster", cluster), ("frailty", frailty)):
        if column is not None and len(found.clusters) == 1:
            faults.add(argument, column, f"one group only ({_check.show(found.clusters[0])})", "leave it out")
    faults.settle()
    return _fitted(call, found, happened)


def _check_options(options: Mapping[str, Any], faults: Faults) -> None:
    """Record options that are none, and those that do not go together."""
    faults.ask(_check.one_of, "ties", options["ties"], TIES)
    penalty = options["penalty"]
    if isinstance(penalty, str):
        faults.ask(_check.one_of, "penalty", penalty, ("firth",))
    elif penalty is not None:
        faults.ask(_check.number, "penalty", penalty, above=0, remedy="penalty='firth' asks for Firth's")
    do_not_go_together(options, faults)


def do_not_go_together(options: Mapping[str, Any], faults: Faults) -> None:
    """Record options that cannot be had together, with the reason."""
    given = {name for name in ("cluster", "weights", PATIENT, "frailty", "penalty") if options.get(name) is not None}
    given |= {"penalty='firth'"} if options["penalty"] == "firth" else set()
    given |= {"ties='exact'"} if options["ties"] == "exact" else set()
    for one, other, why, remedy in APART:
        if {one, other} <= given:
            argument = one.split("=")[0]
            faults.add(argument, options[argument], f"does not go with {other}: {why}", remedy)


def _events(found: Spells, cause: Any, faults: Faults) -> Any:
    """Return which rows have the event whose hazard is modelled."""
    if not found.event.any():
        faults.add("event", found.event_name, "no event in any row", "without events there is no hazard to compare")
        faults.settle()
    several_causes = found.causes != ("event",)
    if several_causes and cause is None and len(found.causes) > 1:
        listed = ", ".join(_check.show(c) for c in found.causes)
        faults.add("event", found.event_name, f"holds the causes {listed}", "say which one with cause=")
        faults.settle()
    code = 1
    if cause is not None:
        if not several_causes:
            faults.add("cause", cause, f"{_check.show(found.event_name)} holds 0 and 1", "leave cause= out")
        elif cause not in found.causes:
            faults.add("cause", cause, f"no such cause{_check.nearest(cause, found.causes)}")
        else:
            code = found.causes.index(cause) + 1
    return found.event == code


def _fitted(call: Mapping[str, Any], found: Spells, happened: Any) -> CoxResult:
    """Return the fitted model; what the engine refuses is put in the user's words."""
    model = cox.prepare(
        found.entry if found.delayed else None,
        found.exit,
        happened,
        found.X,
        weight=found.weight if found.weighted else None,
        stratum=found.stratum,
        ties=call["ties"],
    )
    _somebody_left(model, found, happened)
    try:
        fit = _engine(model, found, call["penalty"], call["frailty"])
    except AliasedError as error:
        raise same_for_everybody(found, error.columns) from None
    except TooManyTiesError as error:
        raise DataError(f"ties='exact': {error}; use ties='efron'") from None
    except ConvergenceError as error:
        raise _unbounded(found, happened, call, error) from None
    robust = None
    if call["frailty"] is None and found.cluster is not None:
        at = cox.evaluate(model, fit.beta * model.scale)
        robust = sandwich(model, at, fit.vcov, found.cluster)
    result = CoxResult(dict(call), found, np.asarray(happened), model, fit, robust)
    if fit.convergence.boundary:
        warnings.warn(f"frailty={_check.show(call['frailty'])}: its variance is 0", BoundaryWarning, stacklevel=3)
    return result


def _somebody_left(model: cox.Model, found: Spells, happened: Any) -> None:
    """Refuse data in which nobody is at risk and goes on at any event: approximations of ties would answer 0."""
    risk = model.risk
    events = np.bincount(risk.last[risk.event] - 1, minlength=len(risk.time))
    if (risk.sums(np.ones(len(risk.row))) > events + 0.5).any():
        return
    argument, count = f"event={_check.show(found.event_name)}", int(happened.sum())
    what = "the only event is" if count == 1 else f"all {count} events are"
    when = f"{what} at {_check.show(risk.time[0])}, of all who were at risk"
    if len(risk.time) > 1:
        when = f"at all {len(risk.time)} event times, all who were at risk had the event"
    raise DataError(f"{argument}: {when}; nobody is left to compare them with")


def _engine(model: cox.Model, found: Spells, penalty: str | float | None, column: Hashable | None) -> Fitted:
    if column is not None and found.cluster is not None:
        return frailty.fit(model, found.cluster)
    if penalty == "firth":
        return firth.fit(model)
    if penalty is None:
        return cox.fit(model)
    return cox.fit(model, float(penalty) * found.X.var(axis=0, ddof=1))


def _unbounded(found: Spells, happened: Any, call: Mapping[str, Any], error: ConvergenceError) -> ConvergenceError:
    """Return the engine's complaint with the terms by name, and what to do."""
    plural = len(error.record.get("columns", ())) > 1
    remedy = f"penalty='firth' gives {'finite ones' if plural else 'a finite one'}"
    given = [k for k in ("frailty", "cluster") if call[k] is not None]
    remedy += f" without {given[0]}=, or merge categories" if given else ", or merge categories"
    return no_finite_estimate(found, int(happened.sum()), error, remedy)
