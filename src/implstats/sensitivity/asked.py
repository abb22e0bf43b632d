"""What is asked: the fits of a study, or one growth result, with the SD and the degrees of freedom of their answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from implstats import _check
from implstats._check import Faults
from implstats.errors import DataError
from implstats.growth import CohortModel
from implstats.study import CohortComparison

__all__ = ["Asked", "asked", "numbers"]


@dataclass(frozen=True)
class Asked:
    """Fits by outcome, and how their effects are measured.

    Attributes
    ----------
    fits : mapping of outcome to fit.
    times : the times of a study; None of a growth result.
    sd : what effects are divided by.
    df : how degrees of freedom are found.
    """

    fits: Mapping[str, CohortModel]
    times: tuple[float, ...] | None
    sd: str | float
    df: str


def asked(who: str, result: Any, sd: Any, df: str | None, faults: Faults) -> Asked:
    """Return what a study or a growth result brings along; an SD for a study, which has its own, is a fault."""
    if isinstance(result, CohortComparison):
        if sd is not None:
            faults.add("sd", sd, "a study has its own", "say it in compare_cohorts(sd=)")
        return Asked(result.fits, tuple(result.at), result.sd, df or result.df)
    if isinstance(result, CohortModel):
        return Asked({result.outcome: result}, None, "baseline" if sd is None else sd, df or "auto")
    raise DataError(
        f"{who}: needs a study or a growth result, not a {type(result).__name__}; give what compare_cohorts, "
        "fit_growth or fit_mmrm returned"
    )


def numbers(value: Any, argument: str) -> list[float]:
    """Return one number, or several, as a sorted list of distinct ones."""
    single = isinstance(value, int | float | np.number)
    if isinstance(value, str) or not (single or isinstance(value, Iterable)):
        raise DataError(
            f"{argument}={_check.show(value)}: not a number or a list of numbers; write {argument}=[0, 0.2, 0.4]"
        )
    found = {_check.number(argument, one) for one in ([value] if single else value)}
    if not found:
        raise DataError(f"{argument}=[]: no number is named; write {argument}=[0, 0.2, 0.4]")
    return sorted(found)
