"""How residuals differ and hang together: by cohort, by visit, along time, and by a known precision of each row."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats._core.residual import Residual
from implstats.design.frames import Codes, numeric
from implstats.errors import DataError

__all__ = [
    "RESIDUALS",
    "ResidualTerms",
    "autoregressive",
    "by_level",
    "parse_residual",
    "precision_of",
    "with_precision",
]

Floats = NDArray[np.float64]

RESIDUALS = ("iid", "by_cohort", "by_visit", "ar1")
FEWEST = 3
WHOLE = 1e-6
MANY_STEPS = 1_000

_BY = re.compile(r"\s*by\(\s*(?P<column>[^()|]+?)\s*\)\s*")
_AR1 = re.compile(r"\s*ar1\(\s*(?P<time>[^()|]+?)\s*\|\s*(?P<group>[^()|]+?)\s*\)\s*")


@dataclass(frozen=True, eq=False)
class ResidualTerms:
    """The residuals of a design.

    Attributes
    ----------
    word : str
        As the user asked for it.
    structure : Residual
        The arrays of the engine.
    column, levels : the column whose levels have a variance each, and the levels; None and empty if alike.
    time, step : the time column of AR(1), and the gap that its correlation is of; None and nan without.
    precision : the column of known precisions, if there is one.
    """

    word: str
    structure: Residual
    column: Hashable = None
    levels: tuple[Any, ...] = ()
    time: Hashable = None
    step: float = np.nan
    precision: Hashable = None

    def names(self) -> list[str]:
        """Return the name of every stratum, "" if residuals are alike."""
        return [f"{self.column}[{_check.show(v) if not isinstance(v, str) else v}]" for v in self.levels] or [""]

    def in_words(self) -> str:
        """Return what is assumed of the residuals, empty if they are alike and independent."""
        said = []
        if self.levels:
            said.append(f"a variance for every {self.column}")
        if self.time is not None:
            said.append(f"AR(1) along {self.time}, in steps of {self.step:g}")
        if self.precision is not None:
            said.append(f"known precision {self.precision}")
        return f"residuals: {'; '.join(said)}" if said else ""

    def strata(self, values: Sequence[Any], argument: str) -> NDArray[np.intp]:
        """Return the stratum of each value of the column, refusing those that have none."""
        index = {v: k for k, v in enumerate(self.levels)}
        unknown = [v for v in values if v not in index]
        if unknown:
            raise DataError(
                f"{argument}: no residual variance is known for {self.column}={_check.show(unknown[0])}; "
                f"there are {', '.join(_check.show(v) for v in self.levels[:8])}"
            )
        return np.array([index[v] for v in values], dtype=np.intp)


def by_level(word: str, column: Hashable, coded: Codes) -> ResidualTerms:
    """Return residuals with a variance for every level."""
    counts = np.bincount(coded.of_row, minlength=len(coded.levels))
    if len(coded.levels) < 2:
        raise DataError(f"residual={_check.show(word)}: {column} has one level; say residual='iid'")
    if counts.min() < FEWEST:
        level = coded.levels[int(counts.argmin())]
        raise DataError(
            f"residual={_check.show(word)}: {column}={_check.show(level)} has {counts.min()} "
            f"row{'s' if counts.min() != 1 else ''}, too few for a variance of its own; say residual='iid'"
        )
    structure = Residual(coded.of_row, len(coded.levels), np.ones(len(coded.of_row)))
    return ResidualTerms(word, structure, column, tuple(coded.levels))


def autoregressive(
    word: str, time: Hashable, t: Floats, group: Hashable, coded: Codes, labels: pd.Index
) -> ResidualTerms:
    """Return residuals that correlate the more, the closer in time they are within a group."""
    order = np.lexsort((t, coded.of_row))
    same = np.diff(coded.of_row[order]) == 0
    gaps = np.diff(t[order])[same]
    if not len(gaps):
        raise DataError(f"residual={_check.show(word)}: no {group} has two rows; say residual='iid'")
    if gaps.min() == 0:
        row = order[1:][same][gaps == 0]
        raise DataError(
            f"residual={_check.show(word)}: two rows of one {group} at the same {time} ({_check.rows(labels[row])}); "
            "keep one row per time"
        )
    step = float(gaps.min())
    whole = np.abs(gaps / step - np.rint(gaps / step)).max() < WHOLE
    if gaps.max() > MANY_STEPS * step:
        # Two visits within a moment would make a step whose correlation is 1 to all digits.
        step, whole = float(np.median(gaps)), False
    places = (t - t.min()) / step
    if whole:
        # Series may start at odds with each other; only gaps within one count.
        start = np.full(len(coded.levels), np.inf)
        np.minimum.at(start, coded.of_row, places)
        places = np.rint(places - start[coded.of_row]).astype(np.intp)
    structure = Residual(np.zeros(len(t), dtype=np.intp), 1, np.ones(len(t)), coded.of_row, places)
    return ResidualTerms(word, structure, time=time, step=step)


def precision_of(
    frame: pd.DataFrame, column: Hashable, faults: Faults, used: NDArray[np.bool_] | None = None
) -> Floats:
    """Return each row's known precision; anything but a positive number is a fault in a row that is used."""
    values = numeric(frame, "precision", column, faults)
    bad = ~(values > 0) & (True if used is None else used)
    if not faults and bad.any():
        rows = _check.rows(frame.index[bad])
        faults.add("precision", column, f"missing, zero or negative in {rows}", "it is 1 / variance of a row's error")
    return values


def with_precision(terms: ResidualTerms, column: Hashable, values: Floats) -> ResidualTerms:
    """Return the residuals with a known precision of each row."""
    return replace(terms, structure=replace(terms.structure, precision=values), precision=column)


def parse_residual(text: str) -> tuple[str, tuple[str, ...]]:
    """Return the kind of residuals that a text asks for, and the columns that it names."""
    if text == "iid":
        return "iid", ()
    if not isinstance(text, str):
        raise DataError(f"residual={_check.show(text)}: not text; write 'iid', 'by(column)' or 'ar1(time | group)'")
    if found := _BY.fullmatch(text):
        return "by", (found["column"],)
    if found := _AR1.fullmatch(text):
        return "ar1", (found["time"], found["group"])
    raise DataError(f"residual={_check.show(text)}: not known here; write 'iid', 'by(column)' or 'ar1(time | group)'")
