"""What models of a hazard or of a time share: profiles as columns, what a term is compared with, one kind of event."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats.design.spells import Spells
from implstats.errors import ConvergenceError, DataError
from implstats.results import intervals
from implstats.survival.hazard_words import bases

__all__ = [
    "beside",
    "log_hazards",
    "no_finite_estimate",
    "one_kind_of_event",
    "profile_rows",
    "profiles_of",
    "references",
    "same_for_everybody",
]

Floats = NDArray[np.float64]


def one_kind_of_event(found: Spells, event: Hashable | None, faults: Faults) -> None:
    """Refuse causes that compete, and data without any event, with the faults found so far."""
    if len(found.causes) > 1:
        shown = ", ".join(_check.show(c) for c in found.causes)
        remedy = "make a column of 0 and 1 for the end that counts, or use cumulative_incidence"
        faults.add("event", event, f"{len(found.causes)} causes ({shown}), and this model knows one", remedy)
    elif not (found.event > 0).any():
        faults.add("event", event, "no event in any row", "without events there is nothing to model")
    faults.settle()


def same_for_everybody(found: Spells, columns: Sequence[int]) -> DataError:
    """Return the complaint about terms that no event can tell anything about, by name."""
    wrong = ", ".join(_check.show(found.names[j]) for j in columns)
    return DataError(
        f"{wrong}: the same for everybody at risk at every event, or a linear combination of the other terms; "
        "drop it, or merge categories"
    )


def no_finite_estimate(found: Spells, events: int, error: ConvergenceError, remedy: str) -> ConvergenceError:
    """Return an engine's complaint about a likelihood that rises for ever, with its terms by name and what to do."""
    columns = error.record.get("columns")
    if columns is None:
        return error
    names = [found.names[j] for j in columns]
    counted = f"{events} event{'s' * (events != 1)}"
    return ConvergenceError(
        f"{', '.join(map(_check.show, names))}: no finite estimate{'s' * (len(names) > 1)}; with {counted} the "
        f"likelihood rises for ever, as where one group has all the events or none; {remedy}",
        {**error.record, "terms": names},
    )


def references(found: Spells) -> Mapping[str, Any]:
    """Return term -> the level that it is compared with; empty for a number or an interaction."""
    first = {} if found.encoding is None else {str(c): levels[0] for c, levels in found.encoding.levels.items()}
    first |= {f"C({column})": level for column, level in first.items()}
    return {term: first.get(base, "") if term != base else "" for term, base in bases(found.names).items()}


def profile_rows(profile: Any) -> pd.DataFrame:
    """Return one row a profile: a mapping is one profile, a frame as many as it has rows."""
    if not isinstance(profile, Mapping):
        return _check.frame(profile, "profile")
    faults = Faults()
    for column, value in profile.items():
        if pd.api.types.is_list_like(value):
            remedy = "a mapping is one profile, a DataFrame has one in each row"
            faults.add("profile", column, "several values", remedy)
    faults.settle()
    return pd.DataFrame([dict(profile)])


def profiles_of(found: Spells, profile: Any) -> tuple[pd.DataFrame, Floats]:
    """Return profiles as a frame, and their columns of the terms.

    Without one: numbers at their mean over the rows, and an equal share of every level of a category.
    """
    if profile is not None:
        frame = profile_rows(profile)
        return frame, found.rows_of(frame)
    average = np.zeros(0) if found.encoding is None else found.encoding.average()
    return pd.DataFrame(index=[0]), average[None, :]


def log_hazards(X: Floats, beta: Floats, vcov: Floats, level: float, *, ratio: bool) -> dict[str, Floats]:
    """Return the log hazard ratios X b (or hazard ratios) with standard errors and normal intervals, as columns."""
    estimate, error = X @ beta, np.sqrt(np.einsum("np,pq,nq->n", X, vcov, X))
    low, high = intervals(estimate, error, np.full(len(X), np.inf), level)
    if ratio:
        estimate, error, low, high = np.exp(estimate), np.exp(estimate) * error, np.exp(low), np.exp(high)
    return {"estimate": estimate, "std_error": error, "conf_low": low, "conf_high": high}


def beside(frame: pd.DataFrame, asked: Any, name: str, columns: Mapping[str, Any]) -> pd.DataFrame:
    """Return a table with a row for every profile and what was asked of it, the profile's own columns first."""
    out = frame.loc[frame.index.repeat(len(asked))].reset_index(drop=True)
    return out.assign(**{name: np.tile(asked, len(frame))}, **columns)
