"""Improvement retained: the ratio of two cohorts' changes, with the set of ratios that the data do not exclude."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats.growth.resampled import Jackknife, ends
from implstats.results import Result, by_column, frozen, intervals, lock

__all__ = ["Angles", "RetainedImprovement", "fieller"]

Floats = NDArray[np.float64]


def fieller(a: float, b: float, v_aa: float, v_ab: float, v_bb: float, t: float) -> tuple[str, float, float]:
    """Return the confidence set of a / b: its shape, and its two ends.

    The set is {theta: (b^2 - t^2 v_bb) theta^2 - 2 (ab - t^2 v_ab) theta + (a^2 - t^2 v_aa) <= 0}. It is "bounded"
    (between the ends) only if |b| exceeds t standard errors; else it is "outside" (everything up to the first end and
    from the second on) or "unbounded" (the whole line). Source: Fieller 1954, DOI 10.1111/j.2517-6161.1954.tb00159.x.
    """
    square, linear, constant = b * b - t * t * v_bb, a * b - t * t * v_ab, a * a - t * t * v_aa
    inside = linear * linear - square * constant
    # square == 0 leaves a half-line, which has no word of its own.
    if inside < 0 or square == 0:
        return "unbounded", -math.inf, math.inf
    ends = sorted([(linear - math.sqrt(inside)) / square, (linear + math.sqrt(inside)) / square])
    return ("bounded" if square > 0 else "outside"), ends[0], ends[1]


@dataclass(frozen=True, eq=False)
class Angles:
    """Draws of both changes, taken as directions: a ratio whose denominator passes zero goes on beyond infinity.

    Attributes
    ----------
    pairs : (B, rows, 2) change of the cohort and of the reference in every draw.
    left_out : (N, rows, 2) the same with each patient left out, or None.
    stratum : (N,) the stratum of each patient.
    interval : {"bca", "percentile"}
    """

    pairs: Floats
    left_out: Floats | None
    stratum: NDArray[np.intp]
    interval: str

    def sets(self, top: Floats, below: Floats, level: float, *, flip: bool) -> tuple[list[str], Floats, Floats]:
        """Return the shape and both ends of the set of every ratio top / below."""
        center = np.arctan2(top, below)

        def angle(pairs: Floats) -> Floats:
            first, second = (1, 0) if flip else (0, 1)
            turned = np.arctan2(pairs[..., first], pairs[..., second]) - center
            return np.asarray(np.mod(turned + np.pi, 2 * np.pi) - np.pi)

        jackknife = None if self.left_out is None else Jackknife(angle(self.left_out), self.stratum)
        low, high = ends(np.zeros(len(top)), angle(self.pairs), jackknife, level, self.interval)
        low, high = low + center, high + center
        quarter = np.pi / 2
        shape = np.where((low > -quarter) & (high < quarter), "bounded", "outside").astype(object)
        shape[high - low >= np.pi] = "unbounded"
        # Two rays: up to the end beyond infinity, and from the other one on.
        first, last = np.tan(low), np.tan(high)
        low = np.where(shape == "outside", np.minimum(first, last), first)
        high = np.where(shape == "outside", np.maximum(first, last), last)
        whole = shape == "unbounded"
        return shape.tolist(), np.where(whole, -np.inf, low), np.where(whole, np.inf, high)


@dataclass(frozen=True, eq=False, repr=False)
class RetainedImprovement(Result):
    """How much of the reference cohort's improvement another cohort keeps: change of the one / change of the other.

    Attributes
    ----------
    labels : mapping of column to tuple (given as one mapping a row)
        cohort, reference, time of each row.
    change, change_reference : numpy.ndarray
        Improvement since the baseline of both cohorts, positive is better, in units of the outcome.
    covariance : numpy.ndarray
        (rows, 2, 2) covariance of the two.
    df : numpy.ndarray
        Degrees of freedom of the contrast change - theta x change_reference.
    method : str
        "fieller", "delta" or "bootstrap".
    as_ : str
        "retained" (cohort / reference) or "times" (reference / cohort: times as effective).
    level : float
        The level of the printed intervals.
    time : str
        The time column, for sentences.
    draws : Angles or None
        What the bootstrap's sets are made of.

    Examples
    --------
    >>> from implstats import fit_growth, load_example
    >>> growth = fit_growth(load_example("reorganisation"), outcome="bsi", better="lower", time="month",
    ...                     patient="patient", cohort="cohort", reference="before")
    >>> print(*growth.retained_improvement(at=36).in_words())
    at month 36: during kept 43 % of the improvement of before (95% interval 21 % to 69 %).
    """

    labels: Any
    change: Floats
    change_reference: Floats
    covariance: Floats
    df: Floats
    method: str
    as_: str
    level: float
    time: str
    draws: Angles | None = None

    def __post_init__(self) -> None:
        for name in ("change", "change_reference", "covariance", "df"):
            object.__setattr__(self, name, frozen(getattr(self, name), float))
        object.__setattr__(self, "labels", by_column(self.labels))

    def with_draws(self, draws: Angles) -> RetainedImprovement:
        """Return the same ratios with sets from draws."""
        lock(draws)
        return replace(self, method="bootstrap", draws=draws, call=dict(self.call) | {"method": "bootstrap"})

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a cohort and time; `set` says whether the interval is bounded, two rays, or the whole line."""
        level = self.level if level is None else _check.level(level)
        flip = self.as_ == "times"
        top, below = (self.change_reference, self.change) if flip else (self.change, self.change_reference)
        V = self.covariance[:, ::-1, ::-1] if flip else self.covariance
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = top / below
            std_error = np.sqrt(V[:, 0, 0] - 2 * ratio * V[:, 0, 1] + ratio**2 * V[:, 1, 1]) / np.abs(below)
        low, high = intervals(ratio, std_error, self.df, level)
        shape = np.full(len(ratio), "bounded", dtype=object)
        if self.method == "fieller":
            t = intervals(np.zeros(len(ratio)), np.ones(len(ratio)), self.df, level)[1]
            for k in range(len(ratio)):
                shape[k], low[k], high[k] = fieller(top[k], below[k], V[k, 0, 0], V[k, 0, 1], V[k, 1, 1], t[k])
        if self.draws is not None:
            shape[:], low, high = self.draws.sets(top, below, level, flip=flip)
        # A share of no improvement is no share, whatever the division gives.
        none = self.change_reference <= 0 if not flip else (self.change <= 0) | (self.change_reference <= 0)
        shape[none] = "none"
        known = {"estimate": ratio, "std_error": std_error, "df": self.df, "conf_low": low, "conf_high": high}
        known |= {name: np.where(none, np.nan, values) for name, values in known.items() if name != "df"}
        return pd.DataFrame({**self.labels, **known, "set": shape})

    def header(self) -> list[str]:
        """Return what the ratio is, and what it cannot tell."""
        name = "Improvement retained: change of the cohort / change of the reference"
        if self.as_ == "times":
            name = "Times as effective: change of the reference / change of the cohort"
        way = {"fieller": "Fieller sets", "delta": "delta-method intervals"}.get(self.method, "bootstrap sets")
        return [
            f"{name} ({100 * self.level:.10g}% {way})",
            "There is no untreated group: change that would have happened without treatment counts in both.",
            *self.in_words(),
        ]

    def in_words(self) -> list[str]:
        """Return one sentence a row; a set that is unbounded or excludes a middle is said in words."""
        said = []
        changes = zip(self.change, self.change_reference, strict=True)
        for row, (change, change_reference) in zip(self.tidy().to_dict("records"), changes, strict=True):
            where = f"at {self.time} {_check.show(row['time'])}"
            where += " (extrapolated)" if row.get("extrapolated") else ""
            if change_reference <= 0:
                said.append(f"{where}: {row['reference']} did not improve, so there is nothing to keep a share of.")
                continue
            if self.as_ == "times" and change <= 0:
                said.append(f"{where}: {row['cohort']} did not improve, so there is no number of times.")
                continue
            said.append(f"{where}: {self._sentence(row)}")
        return said

    def _sentence(self, row: Mapping[Any, Any]) -> str:
        share = _ratio_words(row["estimate"], self.as_)
        ends = [_ratio_words(row[k], self.as_) for k in ("conf_low", "conf_high")]
        head = f"{row['cohort']} kept {share} of the improvement of {row['reference']}"
        if self.as_ == "times":
            head = f"{row['reference']} improved {share} as much as {row['cohort']}"
        if row["set"] == "bounded":
            return f"{head} ({100 * self.level:.10g}% interval {ends[0]} to {ends[1]})."
        if row["set"] == "outside":
            return (
                f"{head}, but the data exclude only the values between {ends[0]} and {ends[1]}: "
                "the change that it is divided by is too uncertain for an interval."
            )
        return "no share can be named, as no value is excluded: the change that it is divided by may be zero."


def _ratio_words(value: float, as_: str) -> str:
    return f"{value:.2f} times" if as_ == "times" else f"{100 * value:.0f} %"
