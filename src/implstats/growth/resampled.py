"""Intervals from draws: percentile and BCa, for estimates of which many versions are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats.results import Result, frozen, lock

__all__ = ["INTERVALS", "Jackknife", "Resampled", "ends"]

Floats = NDArray[np.float64]

INTERVALS = ("bca", "percentile")


@dataclass(frozen=True)
class Jackknife:
    """Estimates with each patient left out.

    Attributes
    ----------
    estimates : (N, k).
    stratum : (N,) the stratum that each patient is drawn within.
    """

    estimates: Floats
    stratum: NDArray[np.intp]

    def acceleration(self) -> Floats:
        """Return how fast the standard error changes with the estimate (k,).

        Davison & Hinkley 1997, equation 5.29, DOI 10.1017/CBO9780511802843, for patients drawn within strata.
        """
        cubes, squares = np.zeros(self.estimates.shape[1]), np.zeros(self.estimates.shape[1])
        for c in np.unique(self.stratum):
            left_out = self.estimates[self.stratum == c]
            influence = (len(left_out) - 1) * (left_out.mean(axis=0) - left_out) / len(left_out)
            cubes, squares = cubes + (influence**3).sum(axis=0), squares + (influence**2).sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(squares > 0, cubes / (6 * squares**1.5), 0.0)


def ends(
    estimate: Floats, draws: Floats, jackknife: Jackknife | None, level: float, kind: str
) -> tuple[Floats, Floats]:
    """Return the ends of percentile or BCa intervals of k estimates from draws (B, k).

    Efron 1987, DOI 10.1080/01621459.1987.10478410. Quantiles are order statistics, so draws may be infinite.
    """
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    shares = np.repeat(tails[:, None], len(estimate), axis=1)
    if kind == "bca":
        assert jackknife is not None
        below = ((draws < estimate).sum(axis=0) + (draws == estimate).sum(axis=0) / 2) / len(draws)
        edge = 1 / (len(draws) + 1)
        shift = special.ndtri(np.clip(below, edge, 1 - edge))
        moved = shift + special.ndtri(tails)[:, None]
        shares = special.ndtr(shift + moved / (1 - jackknife.acceleration() * moved))
    found = [np.quantile(draws[:, j], shares[:, j], method="inverted_cdf") for j in range(len(estimate))]
    low, high = np.array(found).reshape(-1, 2).T
    return low, high


@dataclass(frozen=True, eq=False, repr=False)
class Resampled(Result):
    """Estimates with intervals from draws.

    Attributes
    ----------
    title : str
        The question that the table answers, with the unit.
    labels : mapping of column to tuple
        What each row is about.
    estimate : numpy.ndarray
        One value a row, of the data as they are.
    draws : numpy.ndarray
        (draws, rows) the same in every draw.
    jackknife : Jackknife or None
        The same with each patient left out; BCa needs it.
    interval : {"bca", "percentile"}
    level : float
    notes : tuple of str

    Examples
    --------
    >>> from implstats import bootstrap, fit_growth, load_example
    >>> growth = fit_growth(load_example("reorganisation"), outcome="bsi", better="lower", time="month",
    ...                     patient="patient", cohort="cohort", reference="before")
    >>> drawn = bootstrap(growth, n=99, rng=1).effect_sizes(at=36)
    >>> drawn.draws.shape
    (99, 3)
    >>> drawn.tidy()[["quantity", "cohort", "estimate", "conf_low", "conf_high"]].round(2)
         quantity  cohort  estimate  conf_low  conf_high
    0           d  before      1.09      0.89       1.47
    1           d  during      0.47      0.23       0.73
    2  difference  during     -0.62     -0.96      -0.33
    """

    title: str
    labels: Mapping[str, tuple[Any, ...]]
    estimate: Floats
    draws: Floats
    jackknife: Jackknife | None
    interval: str
    level: float
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("estimate", "draws"):
            object.__setattr__(self, name, frozen(getattr(self, name), float))
        lock(self.jackknife)
        object.__setattr__(self, "labels", {c: tuple(values) for c, values in dict(self.labels).items()})

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return one row an estimate; the standard error is the draws' standard deviation."""
        level = self.level if level is None else _check.level(level)
        out = pd.DataFrame(self.labels)
        out["estimate"], out["std_error"] = self.estimate, self.draws.std(axis=0, ddof=1)
        out["conf_low"], out["conf_high"] = ends(self.estimate, self.draws, self.jackknife, level, self.interval)
        return out

    def header(self) -> list[str]:
        """Return the title, how the intervals were made, and the notes."""
        name = "BCa" if self.interval == "bca" else "percentile"
        return [f"{self.title} ({100 * self.level:.10g}% {name} intervals from {len(self.draws)} draws)", *self.notes]
