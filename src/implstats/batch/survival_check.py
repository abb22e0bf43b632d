"""What the data say about a survival analysis, before anything is fitted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from implstats import _check
from implstats.batch.survival import UNITS, Survival
from implstats.design import rhs
from implstats.design.frames import codes, several
from implstats.design.spells import SpellRoles, Spells, spells
from implstats.errors import DataError, PlanError
from implstats.survival.cox import do_not_go_together
from implstats.survival.hazard_words import FEW_EVENTS

if TYPE_CHECKING:
    from implstats.batch.plan import Plan

__all__ = ["CheckedSurvival", "check_survival"]

# What Fine and Gray's model cannot take into account.
NOT_FINE_GRAY = ("entry", "strata", "weights", "frailty")


@dataclass(frozen=True, eq=False)
class CheckedSurvival:
    """A survival analysis that can be carried out, with its data.

    Attributes
    ----------
    plan : Plan
    asked : Survival
        What the plan asks for.
    frame : pandas.DataFrame
        The data; a column with a reference is a category that begins with it.
    spells : Spells
        The rows that curves rest on: all that have their times and their group.
    modelled : Spells
        The rows that models rest on: those that have their covariates, cluster and strata too.
    """

    plan: Plan
    asked: Survival
    frame: pd.DataFrame
    spells: Spells
    modelled: Spells

    @property
    def several(self) -> bool:
        """Whether several causes can end a spell."""
        return len(self.spells.causes) > 1

    @property
    def causes(self) -> tuple[Any, ...]:
        """The causes that are modelled; None stands for the only event."""
        if not self.several:
            return (None,)
        return tuple(self.asked.causes or self.spells.causes)

    @property
    def all_causes(self) -> tuple[Any, ...]:
        """All causes; None stands for the only event."""
        return self.spells.causes if self.several else (None,)

    @property
    def untested(self) -> str:
        """What the test of groups has no version for: Gray's neither late entries nor weights, log-rank no weights."""
        if self.asked.weights is not None:
            return "weights"
        return "late entries" if self.several and self.asked.entry is not None else ""

    @property
    def unit(self) -> str:
        """What the duration counts, in the plural."""
        last = self.asked.duration.lower().rpartition("_")[2]
        return self.asked.unit or (last if last in UNITS else f"units of {self.plan.label(self.asked.duration)}")

    @property
    def names(self) -> list[str]:
        """What can have a label: columns, groups, causes, and levels of categories."""
        roles = {self.asked.by, self.asked.event, *self.modelled.levels} - {None}
        levels = {str(v) for c in roles if c in self.frame for v in self.frame[c].dropna().unique()[:1000]}
        return [*map(str, self.frame.columns), *sorted(levels)]

    def events(self, cause: Any) -> int:
        """Return the events that a model of a cause rests on."""
        code = 1 if cause is None else self.modelled.causes.index(cause) + 1
        return int((self.modelled.event == code).sum())

    def in_words(self) -> list[str]:
        """Return what a run would do, one sentence a line."""
        asked, plan, found = self.asked, self.plan, self.spells
        ended = np.bincount(found.event, minlength=len(found.causes) + 1)[1:]
        what = [plan.label(asked.event)] if not self.several else [plan.label(c) for c in found.causes]
        counts = ", ".join(f"{plan.privacy.few(n)} {word}" for n, word in zip(ended, what, strict=True))
        times = ", ".join(_check.show(t) for t in asked.at)
        lines = [f"survival {asked.name}: {asked.data.file}, {len(found.exit)} of {len(self.frame)} rows; {counts}"]
        kind = "incidence of each cause" if self.several else "share without the event"
        groups = f", by {asked.by} ({', '.join(plan.label(g) for g in found.groups)})" if asked.by else ""
        lines.append(f"{kind} at {times} {self.unit}{groups}")
        for cause in self.causes if self.modelled.names else ():
            of = "" if cause is None else f" of {plan.label(cause)}"
            each, p = self.events(cause) / len(self.modelled.names), len(self.modelled.names)
            few = f", below {FEW_EVENTS}" if each < FEW_EVENTS else ""
            terms = asked.terms if isinstance(asked.terms, str) else " + ".join(map(str, asked.terms or ()))
            lines.append(f"Cox model{of}: {terms}; {p} parameter{'s' * (p > 1)}, {each:.3g} events per parameter{few}")
        return lines


def check_survival(plan: Plan, asked: Survival, frame: pd.DataFrame) -> CheckedSurvival:
    """Return what can be analysed; a PlanError holds every fault."""
    faults = _check.Faults()
    _options(asked, faults)
    _references_exist(asked, frame, faults)
    found = modelled = None
    if not faults:
        frame = _releveled(asked, frame)
    # Rows that lack a covariate are in the curves, so the two are asked apart.
    for models in (False, True):
        try:
            made = spells(frame, _roles(asked, models=models), missing=asked.missing)
            found, modelled = (found, made) if models else (made, modelled)
        except DataError as error:
            faults.take(error)
    if found is not None and modelled is not None:
        _ends(asked, found, faults)
        _times(asked, found, faults)
        _models(asked, modelled, faults)
    try:
        faults.settle()
    except DataError as error:
        lines = dict.fromkeys(str(error).split("\n"))
        raise PlanError("\n".join(f"{asked.shown} {line}" for line in lines)) from None
    assert found is not None
    assert modelled is not None
    return CheckedSurvival(plan, asked, frame, found, modelled)


def _roles(asked: Survival, *, models: bool) -> SpellRoles:
    common: dict[str, Any] = {"entry": asked.entry, "id": asked.id, "weights": asked.weights}
    common["censored"] = asked.censored
    if not models:
        return SpellRoles(asked.duration, asked.event, by=asked.by, **common)
    cluster = asked.cluster if asked.frailty is None else asked.frailty
    return SpellRoles(
        asked.duration,
        asked.event,
        cluster=cluster,
        strata=several(asked.strata),
        terms=asked.terms,
        **common,
    )


def _options(asked: Survival, faults: _check.Faults) -> None:
    """Record options that do not go together, as `fit_cox` and `fit_fine_gray` have them."""
    do_not_go_together(vars(asked), faults)
    if not asked.fine_gray:
        return
    if asked.by is None and asked.terms is None:
        faults.say("fine_gray=true: neither by= nor terms= is named; say what the incidence may depend on")
    for argument in NOT_FINE_GRAY:
        if getattr(asked, argument) is not None:
            faults.say(f"fine_gray=true: Fine and Gray's model takes no {argument}; leave one of the two out")


def _references_exist(asked: Survival, frame: pd.DataFrame, faults: _check.Faults) -> None:
    known = {asked.by} - {None}
    if asked.terms is not None:
        try:
            known |= {str(c) for c in rhs.needed_columns(asked.terms, frame.columns, "terms")}
        except DataError:
            return  # said by `spells`
    for column, level in asked.reference.items():
        if column not in known:
            near = _check.nearest(column, sorted(map(str, known)))
            faults.add("reference", dict(asked.reference), f"{column!r} is neither by= nor among the terms{near}")
        elif column in frame and level not in (levels := codes(frame[column].dropna()).levels):
            near = _check.nearest(level, levels)
            faults.add("reference", dict(asked.reference), f"no row of {column!r} has {_check.show(level)}{near}")


def _releveled(asked: Survival, frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame in which a column with a reference is a category that begins with it."""
    made = {}
    for column, first in asked.reference.items():
        others = [v for v in codes(frame[column].dropna()).levels if v != first]
        made[column] = pd.Categorical(frame[column], [first, *others])
    return frame.assign(**made)


def _ends(asked: Survival, found: Spells, faults: _check.Faults) -> None:
    """Record faults of what ends spells."""
    if not found.event.any():
        faults.add("event", asked.event, "no event in any row", "without events there is nothing to analyse")
    several_causes = len(found.causes) > 1
    for cause in asked.causes or ():
        if asked.censored is None:
            faults.add("causes", cause, f"{_check.show(asked.event)} holds 0 and 1", "leave causes out")
        elif cause not in found.causes:
            faults.add("causes", cause, f"no cause in {asked.event}{_check.nearest(cause, found.causes)}")
    words = {"rows", "event", "still", *map(str, found.causes)}
    for key in asked.words:
        if key not in words:
            near = _check.nearest(key, sorted(words))
            faults.add("words", dict(asked.words), f"{key!r} is nothing that sentences name{near}")
    if several_causes and asked.tau is not None:
        faults.add(
            "tau", asked.tau, "several causes end a spell, and a mean time until which is not defined", "leave it out"
        )
    if asked.fine_gray and not several_causes:
        faults.say("fine_gray=true: one kind of event ends a spell; its Cox model says all, so leave fine_gray out")


def _times(asked: Survival, found: Spells, faults: _check.Faults) -> None:
    """Record times that nobody was followed to, and a group that stands alone."""
    last = float(found.exit.max())
    for t in asked.at:
        if t <= 0:
            faults.add("at", t, "not after the start", "name times above 0")
        elif t > last:
            faults.add("at", t, "nobody was followed so long", f"the longest follow-up is {_check.show(last)}")
    if asked.by is not None and len(found.groups) < 2:
        only = _check.show(found.groups[0])
        faults.add("by", asked.by, f"one group only ({only})", "leave it out, or name a column with two or more")
    if asked.by is not None and asked.by in several(asked.strata):
        faults.add(
            "strata", asked.by, "is named as by= too", "groups are compared within strata; leave one of the two out"
        )
    common = min(float(found.exit[found.group == g].max()) for g in range(len(found.groups)))
    if asked.tau is not None and asked.tau > common:
        said = f"beyond the follow-up of a group, which ends at {_check.show(common)}"
        faults.add("tau", asked.tau, said, f"choose tau up to {_check.show(common)}")


def _models(asked: Survival, found: Spells, faults: _check.Faults) -> None:
    """Record more parameters than events, and clusters that are one."""
    if asked.terms is not None and not found.names:
        faults.add("terms", asked.terms, "leaves no column", "name one, or leave terms out")
    for code, cause in enumerate(found.causes, start=1):
        events = int((found.event == code).sum())
        wanted = asked.penalty is None and cause in (asked.causes or found.causes)
        if wanted and 0 < events < len(found.names):
            of = f" of {_check.show(cause)}" if len(found.causes) > 1 else ""
            few = f"{len(found.names)} parameters for {events} events{of}"
            faults.add("terms", asked.terms, few, "use fewer terms, or penalty = 'firth'")
    for argument in ("cluster", "frailty"):
        column = getattr(asked, argument)
        if column is not None and len(found.clusters) == 1:
            faults.add(argument, column, f"one group only ({_check.show(found.clusters[0])})", "leave it out")
