"""What a kind of analysis must know to be repeated over sites and outcomes: keys, columns, a check, and its rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import pandas as pd

from implstats._check import Faults
from implstats.batch.kinds import Kind
from implstats.design import rhs

__all__ = ["Answer", "Repeatable", "of_terms"]


@dataclass(frozen=True)
class Answer:
    """What an analysis of one cell found.

    Attributes
    ----------
    rows : sequence of mapping
        Rows of the one table: quantity, time, cohort, estimate and the like.
    converged, boundary : bool
        How the fit ended.
    one_direction : bool
        Whether every time is the same hypothesis, as along a straight line.
    results : sequence
        What there may be pictures of.
    """

    rows: Sequence[Mapping[str, Any]]
    converged: bool = True
    boundary: bool = False
    one_direction: bool = False
    results: Sequence[Any] = ()


class Repeatable(ABC):
    """A kind of analysis; `asked` is always what a cell asks, as JSON can hold it.

    Attributes
    ----------
    keys : mapping
        Key of `[[batch.analysis]]` -> the kind of its value.
    needed : mapping
        Key that cannot be left out -> what to write.
    of_outcomes : bool
        Whether there is a cell for each of `[outcomes]`; else the analysis names its columns.
    """

    keys: Mapping[str, Kind]
    needed: Mapping[str, str] = MappingProxyType({})
    of_outcomes: bool = False

    @abstractmethod
    def outcomes(self, named: Sequence[str], options: Mapping[str, Any]) -> Sequence[str]:
        """Return what the table calls the outcomes: those of `[outcomes]`, or the column that the analysis names."""

    @abstractmethod
    def columns(
        self, asked: Mapping[str, Any], known: Sequence[Hashable], faults: Faults
    ) -> dict[str, Hashable | None]:
        """Return role -> column; what is no right-hand side is a fault."""

    @abstractmethod
    def check(self, frame: pd.DataFrame, asked: Mapping[str, Any]) -> None:
        """Raise a DataError or PlanError if the rows of a cell cannot be analysed; nothing is fitted."""

    @abstractmethod
    def answer(self, frame: pd.DataFrame, asked: Mapping[str, Any]) -> Answer:
        """Return the rows of a cell."""


def of_terms(role: str, terms: Any, known: Sequence[Hashable], faults: Faults) -> dict[str, Hashable | None]:
    """Return role[k] -> the k-th column of a right-hand side."""
    if terms is None:
        return {}
    columns = faults.ask(rhs.needed_columns, terms, known, role)
    return {f"{role}[{k}]": name for k, name in enumerate(columns or ())}
