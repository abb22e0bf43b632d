"""Scores on which the change over time may depend: how well a programme was implemented, one value for a patient."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats.design import rhs
from implstats.design.frames import Codes, codes, first_rows, varying
from implstats.errors import DataError

__all__ = ["FEW_UNITS", "Moderators", "Rated", "crossed", "moderated"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# A group, and whether it was rated once in each cohort.
Rated = tuple[Hashable, bool]

FEW_UNITS = 10
BESIDE = "and show their ratings beside the answer"


@dataclass(frozen=True, eq=False)
class Moderators:
    """How scores are coded, and where they lie.

    Attributes
    ----------
    encoding : the coding of the columns; a category has a column for every level but the first.
    centre, sd, low, high : (k,) mean, SD and ends of every coded column over patients.
    """

    encoding: rhs.Encoding
    centre: Floats
    sd: Floats
    low: Floats
    high: Floats

    @property
    def columns(self) -> tuple[Hashable, ...]:
        """The columns that were named."""
        return self.encoding.columns

    def levels(self, column: Hashable) -> tuple[object, ...]:
        """Return a category's levels, none of a number."""
        return self.encoding.levels.get(column, ())

    def place(self, column: Hashable) -> slice:
        """Return where a column's codes stand."""
        width = [max(1, len(self.levels(c)) - 1) for c in self.columns]
        k = self.columns.index(column)
        return slice(sum(width[:k]), sum(width[: k + 1]))

    def at(self, column: Hashable, value: Any) -> Floats:
        """Return the codes of one value of a column, every other column at its mean."""
        coded = self.centre.copy()
        coded[self.place(column)] = [value == level for level in self.levels(column)[1:]] or value
        return coded

    def rows(self, coded: Floats, basis: Floats) -> Floats:
        """Return the columns of X: codes less their mean, then each times the basis of time."""
        centred = coded - self.centre
        return np.column_stack([centred, *(centred[:, [j]] * basis for j in range(len(self.centre)))])

    def names(self, basis: Sequence[str]) -> list[str]:
        """Return the names of these columns."""
        own = self.encoding.names
        return [*own, *(f"{time}:{name}" for name in own for time in basis)]

    def formula(self, course: str) -> str:
        """Return these terms as R writes them."""
        names = [str(c) for c in self.columns]
        return " + ".join([*names, *(f"{course}:{name}" for name in names)])


def moderated(
    frame: pd.DataFrame, columns: Sequence[Hashable], patients: Codes, cohorts: Codes, groups: Mapping[Hashable, Codes]
) -> tuple[Moderators, Floats, list[str], frozenset[Rated]]:
    """Return the coding of scores, their codes by row, what the header says, and which groups were rated.

    What was rated is the largest of the groups within which a score is the same, or the same in each cohort. Two of
    them, or as many as there are fixed effects between them, leave nothing to judge a score by.
    """
    values = {name: codes(frame[name]) for name in columns}
    for name in columns:
        _refuse_cohorts(name, values[name], cohorts)
    coded, _, encoding = rhs.encode(frame, list(columns), argument="moderators")
    own = coded[first_rows(patients.of_row)]
    found = Moderators(encoding, own.mean(axis=0), own.std(axis=0, ddof=1), own.min(axis=0), own.max(axis=0))
    notes: list[str] = []
    units: dict[Rated, Codes] = {(name, False): group for name, group in groups.items()}
    units |= {(name, True): crossed(group, cohorts) for name, group in groups.items()}
    rated: dict[Rated, list[Hashable]] = {}
    for name in columns:
        unit = _unit(values[name], units)
        if unit is None:
            notes.append(_of_patients(name, values[name], len(own)))
        else:
            rated.setdefault(unit, []).append(name)
            notes.append(_of_units(name, unit, len(units[unit].levels)))
    for unit, names in rated.items():
        scores = [coded[:, found.place(name)] for name in names]
        _refuse_too_few(names, unit[0], units[unit], cohorts, np.column_stack(scores))
    return found, coded, [*notes, _held(found)], frozenset(rated)


def _same_within(values: Ints, of_row: Ints) -> bool:
    return not varying(values.astype(float), of_row).any()


def _refuse_cohorts(name: Hashable, values: Codes, cohorts: Codes) -> None:
    """Refuse a score that tells nothing apart, or the cohorts alone."""
    said = f"moderators={_check.show(name)}"
    if len(values.levels) == 1:
        raise DataError(f"{said}: all patients have {_check.show(values.levels[0])}; there is nothing to compare")
    if _same_within(values.of_row, cohorts.of_row):
        raise DataError(
            f"{said}: one value for each cohort, so it is another name for the cohort, and a regression on it only "
            f"says again how cohorts differ, for whatever reason; compare the cohorts, {BESIDE}"
        )


def crossed(groups: Codes, cohorts: Codes) -> Codes:
    """Return codes of each cohort within each group; levels are pairs."""
    count = len(cohorts.levels)
    pairs, of_row = np.unique(groups.of_row * count + cohorts.of_row, return_inverse=True)
    levels = [(groups.levels[k // count], cohorts.levels[k % count]) for k in pairs]
    return Codes(of_row.astype(np.intp), levels)


def _unit(values: Codes, units: Mapping[Rated, Codes]) -> Rated | None:
    """Return what a score belongs to: the grouping factor with fewest levels within which it is the same."""
    inside = [unit for unit, coded in units.items() if _same_within(values.of_row, coded.of_row)]
    return min(inside, key=lambda unit: len(units[unit].levels), default=None)


def _refuse_too_few(names: Sequence[Hashable], unit: Hashable, units: Codes, cohorts: Codes, scores: Floats) -> None:
    """Refuse scores that leave no degree of freedom between what was rated."""
    first = first_rows(units.of_row)
    known = [np.ones((len(first), 1)), scores[first]]
    if _same_within(cohorts.of_row, units.of_row):
        known.append((cohorts.of_row[first][:, None] == np.arange(1, len(cohorts.levels))).astype(float))
    if np.linalg.matrix_rank(np.column_stack(known)) < len(first):
        return
    given = _check.show(names[0] if len(names) == 1 else list(names))
    raise DataError(
        f"moderators={given}: ratings of {len(first)} {unit}s; with so few, ratings are another name for the {unit}s; "
        f"compare these, {BESIDE}"
    )


def _of_units(name: Hashable, unit: Rated, count: int) -> str:
    of, by_cohort = unit
    words = f"{name} is a score of {count} {of}s{' by cohort' * by_cohort}, and is judged by what lies between these"
    return words + (f"; with fewer than {FEW_UNITS}, one {of} can make the answer" if count < FEW_UNITS else "")


def _of_patients(name: Hashable, values: Codes, patients: int) -> str:
    return (
        f"{name} has {len(values.levels)} values in {patients} patients, and errors take patients as independent: if "
        "it rates a site or programme, name that column as groups"
    )


def _held(found: Moderators) -> str:
    means = []
    for column in found.columns:
        here = found.place(column)
        if found.levels(column):
            means.append(f"{column} at the shares of its levels")
        else:
            means.append(f"{column} at {found.centre[here][0]:.4g} (SD {found.sd[here][0]:.3g})")
    held = ", ".join(means)
    return f"means and contrasts hold {held}, as over the patients"
