"""Programmes whose truth is known: when they start, what makes them stop, and until when they are followed."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from implstats import _check
from implstats._check import Faults, nearest, show
from implstats.simulate.parts import probability, window

__all__ = ["CENTRE", "SCORES", "ProgrammeScenario"]

SCORES = (
    "leadership",
    "support",
    "barrier_treatment",
    "barrier_people",
    "barrier_organisation",
    "barrier_context",
    "barrier_approach",
)
# Scores run from 1 to 7; the stated hazard is that of a programme with the middle score on all of them.
CENTRE = 4


@dataclass(frozen=True)
class ProgrammeScenario:
    """Programmes whose truth is known: when they start, what makes them stop, and until when they are followed.

    Parameters
    ----------
    programmes : mapping of era to int
        Programmes that start per era; the first era is the reference.
    accrual : mapping of era to pair of ISO dates
        First and last day on which programmes of an era start, every day equally likely.
    closing : ISO date
        The day on which follow-up ends for all: later eras are censored more.
    hazard : sequence of float
        Hazard of discontinuation in the first, second, ... year after the start, per year, above 0; the last one goes
        on. It is that of the reference levels, middle scores (4) and a frailty of 1.
    log_hazard_ratios : mapping
        What multiplies that hazard: for `era`, `training` and `country` a mapping of level to log hazard ratio (a level
        that is not named has 0), for `leadership`, `support` and `barrier_...` the log hazard ratio per point.
    organisations : int
        Number of organisations; every programme belongs to one of them at random.
    frailty_variance : float
        Variance of the gamma distributed hazard ratio, mean 1, that programmes of one organisation share.
    score_correlation : float
        Correlation, before rounding to points, of a score of two programmes of one organisation: 0 or more, below 1.
    merging : float
        Hazard per year of ending in a merger with another programme, the same for all and at any time.
    restart : float
        Hazard per year that a programme which has stopped starts again, with `hazard` anew from its first year.
    never_started : mapping of era to int
        Programmes that were planned but never started, besides those of `programmes`.
    countries, training : sequence of str
        Levels, the first is the reference. Countries take organisations in turn; kinds of training are equally likely.

    Raises
    ------
    DataError
        If the fields contradict each other or cannot be, all faults together.

    Notes
    -----
    With frailty z of the organisation and x the scores less 4 and the levels other than the reference, the hazard in
    the k-th year is ::

        z * hazard[k] * exp(x'b)

    Scores are binomial(6, 1/2) + 1: mean 4, standard deviation 1.22, none of them related to another or to the frailty.

    Examples
    --------
    >>> from implstats.simulate import ProgrammeScenario
    >>> scenario = ProgrammeScenario(
    ...     programmes={"early": 80, "late": 60},
    ...     accrual={"early": ("2001-01-01", "2006-12-31"), "late": ("2008-01-01", "2014-12-31")},
    ...     closing="2016-12-31",
    ...     hazard=[0.04, 0.13, 0.06, 0.05, 0.15, 0.05],
    ...     log_hazard_ratios={"era": {"late": -0.3}, "leadership": -0.25},
    ... )
    >>> scenario.truth().round(3)
             term  log_hazard_ratio  hazard_ratio
    0   era[late]             -0.30         0.741
    1  leadership             -0.25         0.779
    """

    programmes: Mapping[Hashable, int]
    accrual: Mapping[Hashable, tuple[str, str]]
    closing: str
    hazard: Sequence[float]
    log_hazard_ratios: Mapping[str, Any] = field(default_factory=dict)
    organisations: int = 40
    frailty_variance: float = 0.0
    score_correlation: float = 0.0
    merging: float = 0.0
    restart: float = 0.0
    never_started: Mapping[Hashable, int] = field(default_factory=dict)
    countries: Sequence[str] = ("A", "B", "C")
    training: Sequence[str] = ("off-site", "on-site")

    def __post_init__(self) -> None:
        faults = Faults()
        self._check_sizes(faults)
        self._check_dates(faults)
        self._check_rates(faults)
        self._check_ratios(faults)
        faults.settle()
        ratios = {k: dict(v) if isinstance(v, Mapping) else v for k, v in self.log_hazard_ratios.items()}
        kept = {
            "programmes": {era: int(n) for era, n in self.programmes.items()},
            "accrual": {era: (days[0], days[1]) for era, days in self.accrual.items()},
            "hazard": tuple(float(h) for h in self.hazard),
            "log_hazard_ratios": ratios,
            "never_started": {era: int(n) for era, n in self.never_started.items()},
            "countries": tuple(self.countries),
            "training": tuple(self.training),
        }
        for name, value in kept.items():
            object.__setattr__(self, name, value)

    def _check_sizes(self, faults: Faults) -> None:
        if not isinstance(self.programmes, Mapping) or not self.programmes:
            faults.add(
                "programmes", self.programmes, "not a number per era", "write programmes={'early': 80, 'late': 60}"
            )
            faults.settle()
        for era, n in self.programmes.items():
            faults.ask(_check.whole, f"programmes[{show(era)}]", n)
        if not isinstance(self.never_started, Mapping):
            faults.add("never_started", self.never_started, "not a number per era", "write never_started={'late': 4}")
            faults.settle()
        for era, n in self.never_started.items():
            faults.ask(_check.whole, f"never_started[{show(era)}]", n, least=0)
            _known(faults, "never_started", "era", era, self.programmes)
        faults.ask(_check.whole, "organisations", self.organisations)
        for name in ("countries", "training"):
            words = getattr(self, name)
            if isinstance(words, str) or not words or len(set(words)) < len(words):
                faults.add(name, words, "not a list of different words")
                faults.settle()

    def _check_dates(self, faults: Faults) -> None:
        try:
            closing = date.fromisoformat(self.closing)
        except (TypeError, ValueError):
            faults.add("closing", self.closing, "not a day", "write closing='2016-12-31'")
            closing = date.max
        if not isinstance(self.accrual, Mapping) or set(self.accrual) != set(self.programmes):
            faults.add("accrual", self.accrual, "not a pair of dates for every era")
            return
        for era, days in self.accrual.items():
            found = window(faults, f"accrual[{show(era)}]", days)
            if found is not None and found[1] >= closing:
                fault = f"goes on to the closing day, {show(self.closing)}"
                faults.add(f"accrual[{show(era)}]", days, fault, "end it before")

    def _check_rates(self, faults: Faults) -> None:
        if not isinstance(self.hazard, Sequence) or isinstance(self.hazard, str) or not self.hazard:
            faults.add("hazard", self.hazard, "not a hazard per year", "write hazard=[0.04, 0.13, 0.06]")
            faults.settle()
        for year, value in enumerate(self.hazard):
            faults.ask(_check.number, f"hazard[{year}]", value, above=0)
        for name in ("frailty_variance", "merging", "restart"):
            faults.ask(_check.number, name, getattr(self, name), least=0)
        probability(faults, "score_correlation", self.score_correlation, one=False)

    def _check_ratios(self, faults: Faults) -> None:
        if not isinstance(self.log_hazard_ratios, Mapping):
            remedy = "write log_hazard_ratios={'era': {'late': -0.3}, 'leadership': -0.25}"
            faults.add("log_hazard_ratios", self.log_hazard_ratios, "not a mapping", remedy)
            faults.settle()
        for name, value in self.log_hazard_ratios.items():
            here = f"log_hazard_ratios[{show(name)}]"
            if name in SCORES:
                faults.ask(_check.number, here, value)
            elif name not in self.levels:
                _known(faults, "log_hazard_ratios", "column", name, [*self.levels, *SCORES])
            elif not isinstance(value, Mapping):
                faults.add(here, value, "not a log hazard ratio per level")
            else:
                self._check_levels(faults, name, value)

    def _check_levels(self, faults: Faults, name: str, ratios: Mapping[Any, Any]) -> None:
        here, reference = f"log_hazard_ratios[{show(name)}]", self.levels[name][0]
        for level, value in ratios.items():
            _known(faults, here, "level", level, self.levels[name])
            faults.ask(_check.number, f"{here}[{show(level)}]", value)
        if ratios.get(reference, 0) != 0:
            faults.add(f"{here}[{show(reference)}]", ratios[reference], "that of the reference is 0", "leave it out")

    @property
    def levels(self) -> dict[str, tuple[Any, ...]]:
        """The levels of the categorical columns; the first of each is the reference."""
        return {"era": tuple(self.programmes), "training": tuple(self.training), "country": tuple(self.countries)}

    def truth(self) -> pd.DataFrame:
        """Tell by what every term truly multiplies the hazard of discontinuation.

        Returns
        -------
        pandas.DataFrame
            One row a term that is named in `log_hazard_ratios`: term (as `fit_cox` writes it), log_hazard_ratio,
            hazard_ratio.
        """
        terms: dict[str, float] = {}
        for name, value in self.log_hazard_ratios.items():
            if name in SCORES:
                terms[name] = float(value)
            else:
                terms |= {f"{name}[{level}]": float(value.get(level, 0)) for level in self.levels[name][1:]}
        ratios = np.array(list(terms.values()))
        return pd.DataFrame({"term": list(terms), "log_hazard_ratio": ratios, "hazard_ratio": np.exp(ratios)})

    def baseline(self, at: Sequence[float] | float) -> pd.DataFrame:
        """Tell what is true of a programme with the reference levels, middle scores and a frailty of 1.

        Parameters
        ----------
        at : float or sequence of float
            Years since the start.

        Returns
        -------
        pandas.DataFrame
            Columns time, hazard (just before that time), survival (without mergers).

        Examples
        --------
        >>> from implstats.simulate import PROGRAMMES
        >>> PROGRAMMES.baseline(at=[1, 2, 5]).round(3)
           time  hazard  survival
        0   1.0    0.04     0.961
        1   2.0    0.13     0.844
        2   5.0    0.15     0.651
        """
        times, hazard = np.asarray(_check.at(at), dtype=float), np.asarray(self.hazard)
        year = np.clip(np.ceil(times).astype(int) - 1, 0, len(hazard) - 1)
        reached = np.concatenate([[0.0], np.cumsum(hazard)])
        cumulative = reached[year] + hazard[year] * (times - year)
        return pd.DataFrame({"time": times, "hazard": hazard[year], "survival": np.exp(-cumulative)})


def _known(faults: Faults, argument: str, what: str, name: object, names: Iterable[object]) -> None:
    known = list(names)
    if name not in known:
        faults.say(f"{argument}: no such {what} as {show(name)}{nearest(name, known)}")
