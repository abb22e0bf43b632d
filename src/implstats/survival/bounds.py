"""What is known of each row's time: exact, beyond the last time seen, or between two visits."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats._core.parametric import Times
from implstats.design.frames import numeric
from implstats.design.spells import SpellRoles, Spells, spells
from implstats.survival.profiles import one_kind_of_event

__all__ = ["read_bounds"]

Floats = NDArray[np.float64]


def read_bounds(
    frame: pd.DataFrame, roles: SpellRoles, lower: Hashable | None, upper: Hashable | None, missing: str, faults: Faults
) -> tuple[Spells, Times]:
    """Return the spells and what is known of their times; with an interval, the event stands at its upper end."""
    if lower is None and upper is None:
        found = spells(frame, roles, missing=missing, faults=faults)
        one_kind_of_event(found, roles.event, faults)
        end = np.log(found.exit)
        return found, _times(found, end, np.where(found.event > 0, end, np.inf))
    _check.frame(frame)
    _one_way(roles, lower, upper, faults)
    _check.columns(frame, faults, lower=lower, upper=upper)
    faults.settle()
    low, high = (numeric(frame, name, column, faults) for name, column in (("lower", lower), ("upper", upper)))
    faults.settle()
    _check_ends(frame, (lower, upper), low, high, faults)
    faults.settle()
    inside, known = f"{lower} to {upper}", f"{upper} known"
    seen = np.isfinite(high)
    made = frame.assign(**{inside: np.where(seen, high, low), known: seen.astype(int)})
    found = spells(made, replace(roles, duration=inside, event=known), missing=missing, faults=faults)
    one_kind_of_event(found, upper, faults)
    columns = [c for c in (roles.entry, roles.weights, *found.roles) if c is not None]
    used = made[columns].notna().all(axis=1).to_numpy()
    if (late := found.entry > low[used]).any():
        fault = f"after {lower} in {_check.rows(found.labels[late])}"
        faults.add("entry", roles.entry, fault, "a row that was known to be active was under observation")
    faults.settle()
    with np.errstate(divide="ignore"):
        return found, _times(found, np.log(low[used]), np.where(seen[used], np.log(high[used]), np.inf))


def _times(found: Spells, lower: Floats, upper: Floats) -> Times:
    with np.errstate(divide="ignore"):
        return Times(lower, upper, np.log(found.entry), found.weight)


def _one_way(roles: SpellRoles, lower: Any, upper: Any, faults: Faults) -> None:
    """Record a call that gives one end only, or both kinds of times."""
    for argument, value, other, given in (("lower", lower, "upper", upper), ("upper", upper, "lower", lower)):
        if value is not None and given is None:
            faults.add(argument, value, f"goes with {other}=", "last known active, and first known inactive")
    for argument, value in (("duration", roles.duration), ("event", roles.event), ("censored", roles.censored)):
        if value is not None:
            faults.add(argument, value, "lower= and upper= say when the event was", "leave it out")


def _check_ends(
    frame: pd.DataFrame, columns: tuple[Hashable | None, Hashable | None], low: Floats, high: Floats, faults: Faults
) -> None:
    """Record intervals that hold no time, and rows of which nothing is known."""
    lower, upper = columns
    still = np.isnan(high)
    for argument, column, bad, fault, remedy in (
        ("lower", lower, np.isnan(low), "missing", "0 says that it may have stopped at once"),
        ("lower", lower, low < 0, "negative", "count time from the start"),
        ("upper", upper, high <= 0, "zero or negative", "count time from the start"),
        ("upper", upper, high < low, f"before {lower}", "the first time known inactive comes after the last active"),
        ("lower", lower, still & (low == 0), f"zero, and {upper} missing", "nothing is known of these; leave them out"),
    ):
        if bad.any():
            faults.add(argument, column, f"{fault} in {_check.rows(frame.index[bad])}", remedy)
