"""Implementations whose truth is known: how long activities take, where programmes give up, and what is skipped."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from implstats import _check
from implstats._check import Faults, show
from implstats.phases.schemes import named_phases
from implstats.simulate.parts import probability, window

__all__ = ["PhaseScenario"]


@dataclass(frozen=True)
class PhaseScenario:
    """Implementations whose truth is known: how long activities take, where programmes give up, and what is skipped.

    Parameters
    ----------
    programmes : mapping of group to int
        Programmes per group.
    accrual : pair of ISO dates
        First and last day on which programmes do their first activity, every day equally likely.
    closing : ISO date
        The last day of the study: what is done or given up later is not seen.
    scheme : str or sequence
        The phases, as `phase_progress` takes them.
    activities : sequence of int
        Activities of each phase.
    wait : sequence of float
        Mean days, above 0, from an activity of each phase to the next one; exponential, counted up to whole days.
    stopping : sequence of float
        Probability that a programme that begins a phase gives up in it: 0 or more, below 1.
    skipping : float
        Probability that an activity is never done; each phase's first is never skipped.
    early : float
        Probability that the last activity of a phase and the first of the next change places in time.
    slower : mapping of group to float
        What multiplies the waits of a group; 1 where it is not named.

    Raises
    ------
    DataError
        If the fields contradict each other or cannot be, all faults together.

    Notes
    -----
    A programme that gives up in a phase has done a number of its activities that is uniform from 1 to one less than all
    (1 if there is one), and gives up after one more wait.

    Examples
    --------
    >>> from implstats.simulate import PhaseScenario
    >>> scenario = PhaseScenario(
    ...     programmes={"all": 20}, accrual=("2010-01-01", "2012-12-31"), closing="2016-12-31", scheme="mip",
    ...     activities=[4, 6, 3], wait=[20, 30, 60], stopping=[0.2, 0.1, 0.0],
    ... )
    >>> scenario.truth().round(2)[["phase", "begun", "duration"]]
                    phase  begun  duration
    0  pre-implementation   1.00     61.51
    1      implementation   0.80    152.51
    2      sustainability   0.72    121.00
    """

    programmes: Mapping[Hashable, int]
    accrual: tuple[str, str]
    closing: str
    scheme: str | Sequence[Any]
    activities: Sequence[int]
    wait: Sequence[float]
    stopping: Sequence[float]
    skipping: float = 0.0
    early: float = 0.0
    slower: Mapping[Hashable, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        faults = Faults()
        self._check_programmes(faults)
        self._check_dates(faults)
        self._check_phases(faults)
        for name in ("skipping", "early"):
            probability(faults, name, getattr(self, name), one=False)
        faults.settle()
        for name, kind in (("activities", int), ("wait", float), ("stopping", float)):
            object.__setattr__(self, name, tuple(kind(v) for v in getattr(self, name)))
        object.__setattr__(self, "programmes", dict(self.programmes))
        object.__setattr__(self, "slower", dict(self.slower))

    def _check_programmes(self, faults: Faults) -> None:
        if not isinstance(self.programmes, Mapping) or not self.programmes:
            faults.add("programmes", self.programmes, "not a number per group", "write programmes={'all': 20}")
            faults.settle()
        for group, n in self.programmes.items():
            faults.ask(_check.whole, f"programmes[{show(group)}]", n)
        for group, ratio in self.slower.items():
            faults.ask(_check.number, f"slower[{show(group)}]", ratio, above=0)
            if group not in self.programmes:
                faults.say(f"slower: no such group as {show(group)}{_check.nearest(group, self.programmes)}")

    def _check_dates(self, faults: Faults) -> None:
        try:
            closing = date.fromisoformat(self.closing)
        except (TypeError, ValueError):
            faults.add("closing", self.closing, "not a day", "write closing='2016-12-31'")
            return
        days = window(faults, "accrual", self.accrual)
        if days is not None and days[1] >= closing:
            faults.add("accrual", self.accrual, f"goes on to the closing day, {show(self.closing)}", "end it before")

    def _check_phases(self, faults: Faults) -> None:
        phases = faults.ask(named_phases, self.scheme)
        if phases is None:
            return
        for name in ("activities", "wait", "stopping"):
            values = getattr(self, name)
            if not isinstance(values, Sequence) or len(values) != len(phases):
                faults.add(name, values, f"not one value for each of {len(phases)} phases")
                continue
            for k, value in enumerate(values):
                here = f"{name}[{k}]"
                if name == "activities":
                    faults.ask(_check.whole, here, value)
                elif name == "wait":
                    faults.ask(_check.number, here, value, above=0)
                else:
                    probability(faults, here, value, one=False)

    @property
    def phases(self) -> tuple[Any, ...]:
        """The phases in their order."""
        return named_phases(self.scheme)

    def truth(self) -> pd.DataFrame:
        """Tell what is true of every phase, were all followed until they finish or give up.

        Returns
        -------
        pandas.DataFrame
            One row a phase: phase, activities, begun and finished (the shares of programmes that do so), duration (mean
            days from its first to its last activity, if it is finished, nothing is skipped and nothing changes places;
            of a group that is not slower).
        """
        going_on = np.cumprod(1 - np.array(self.stopping))
        # An exponential wait counted up to whole days is geometric, with mean 1 / (1 - exp(-1 / wait)).
        steps = -1 / np.expm1(-1 / np.array(self.wait))
        return pd.DataFrame(
            {
                "phase": list(self.phases),
                "activities": self.activities,
                "begun": np.append(1.0, going_on[:-1]),
                "finished": going_on,
                "duration": (np.array(self.activities) - 1) * steps,
            }
        )
