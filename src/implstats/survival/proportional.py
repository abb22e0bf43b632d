"""Do hazard ratios stay the same over time: a test for every term, and for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._core.cox import Model, State
from implstats._core.martingale import schoenfeld
from implstats._core.proportional import TRANSFORMS, ScoreTest, event_times
from implstats.design.spells import Spells
from implstats.errors import DataError
from implstats.results import Result, frozen
from implstats.survival.hazard_words import bases

__all__ = ["ProportionalHazards", "proportional"]

Floats = NDArray[np.float64]

TIME = {"km": "1 - Kaplan-Meier", "log": "the logarithm of time", "identity": "time", "rank": "the rank of time"}


@dataclass(frozen=True, eq=False, repr=False)
class ProportionalHazards(Result):
    """Score tests of a change over time of log hazard ratios, term by term and all together.

    Attributes
    ----------
    terms : tuple of str
        The terms, then "all terms".
    statistics, p_values : numpy.ndarray
    dfs : tuple of int
        Columns of each term.
    transform : str
        The scale of time on which a change would be linear.
    events : int
    columns : tuple of str
        Columns of the scaled Schoenfeld residuals.
    time, transformed : numpy.ndarray
        Time of every event, by stratum and time, and on the transformed scale, centred.
    scaled : numpy.ndarray
        Scaled Schoenfeld residuals, which scatter around the log hazard ratio at their time; (events, columns).

    Examples
    --------
    >>> from implstats import fit_cox, load_example
    >>> programmes = load_example("programmes")
    >>> cox = fit_cox(programmes, duration="years", event="discontinued", terms="era + leadership")
    >>> cox.proportional_hazards().tidy().round(3)
             term  statistic  df  p_value
    0         era      1.368   1    0.242
    1  leadership      1.318   1    0.251
    2   all terms      2.878   2    0.237
    """

    terms: tuple[str, ...]
    statistics: Floats
    dfs: tuple[int, ...]
    p_values: Floats
    transform: str
    events: int
    columns: tuple[str, ...]
    time: Floats
    transformed: Floats
    scaled: Floats

    def __post_init__(self) -> None:
        for name in ("statistics", "p_values", "time", "transformed", "scaled"):
            object.__setattr__(self, name, frozen(getattr(self, name), float))

    @property
    def statistic(self) -> float:
        """Chi-square of all terms together."""
        return float(self.statistics[-1])

    @property
    def df(self) -> int:
        """Its degrees of freedom."""
        return self.dfs[-1]

    @property
    def p_value(self) -> float:
        """Its p-value."""
        return float(self.p_values[-1])

    def tidy(self) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a term, and one for all terms: chi-square, df and p-value of no change over time."""
        columns = {"term": self.terms, "statistic": self.statistics, "df": self.dfs, "p_value": self.p_values}
        return pd.DataFrame(columns)

    def residuals(self) -> pd.DataFrame:
        """Return one row an event: its time, that on the tested scale, and scaled Schoenfeld residuals by column."""
        out = pd.DataFrame(self.scaled, columns=list(self.columns))
        out.insert(0, "time", self.time)
        out.insert(1, "transformed_time", self.transformed)
        return out

    def glance(self) -> pd.DataFrame:
        """Return one row: events, and the test of all terms."""
        found = {"events": self.events, "statistic": self.statistic, "df": self.df, "p_value": self.p_value}
        return pd.DataFrame([found])

    def header(self) -> list[str]:
        """Return what is tested, and what the answer can mean."""
        return [
            f"Do log hazard ratios change over time? Score tests of a change that is linear in {TIME[self.transform]}",
            f"{self.events} events; a small p speaks for a change, a large one says that these events do not show any; "
            "look at the residuals over time for its form",
        ]


def proportional(
    found: Spells,
    happened: NDArray[np.bool_],
    model: Model,
    state: State,
    beta: Floats,
    call: Mapping[str, Any],
    transform: str,
) -> ProportionalHazards:
    """Return the tests of a fitted model."""
    _check.one_of("transform", transform, TRANSFORMS)
    if call["ties"] == "exact":
        raise DataError("proportional_hazards: not defined for ties='exact'; fit with ties='efron'")
    if call["penalty"] is not None:
        raise DataError("proportional_hazards: a penalised fit has no score of 0 to test from; fit without penalty=")
    entry = found.entry if found.delayed else None
    g = event_times(transform, entry, found.exit, happened, model.risk.time)
    test, groups = ScoreTest(model, state, g), _columns_of_terms(found.names)
    answers = [test.test(columns) for columns in groups.values()]
    answers.append(test.test(range(len(found.names))))
    if answers[-1][1] == 0:
        raise DataError(
            "proportional_hazards: events at one time, or too few of them, say nothing of a change over time"
        )
    row, values = schoenfeld(model, state)
    inverse = np.linalg.inv(state.information) / np.outer(model.scale, model.scale)
    return ProportionalHazards(
        {"transform": transform} | dict(call),
        (*groups, "all terms"),
        np.array([a[0] for a in answers]),
        tuple(a[1] for a in answers),
        np.array([a[2] for a in answers]),
        transform,
        len(row),
        found.names,
        found.exit[row],
        model.risk.own(g),
        beta + len(row) * values @ inverse,
    )


def _columns_of_terms(names: Sequence[str]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for j, base in enumerate(bases(names).values()):
        groups.setdefault(base, []).append(j)
    return groups
