"""The shape of change over time: columns of a time basis, each of which meets the cohorts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implstats import _check
from implstats.errors import DataError

__all__ = [
    "FIXED_VISITS",
    "MONTH_DAYS",
    "UNIT_DAYS",
    "Linear",
    "Log",
    "NaturalSpline",
    "Piecewise",
    "Quadratic",
    "Shape",
    "Visits",
    "listed",
    "resolve",
]

Floats = NDArray[np.float64]

MONTH_DAYS = 30.4375
UNIT_DAYS = {"days": 1.0, "weeks": 7.0, "months": MONTH_DAYS, "years": 365.25}
SHAPES = ("auto", "linear", "quadratic", "log", "visits")
FIXED_VISITS = 4


class Shape(ABC):
    """A time basis without a constant: the intercept is a column of its own."""

    word: str
    one_direction = False
    """Whether cohorts differ in one number, so that every time asks the same question."""

    @abstractmethod
    def columns(self, t: Floats) -> Floats:
        """Return the basis at times t (n,) as (n, k)."""

    @abstractmethod
    def names(self, time: str) -> list[str]:
        """Return the names of the columns."""

    @abstractmethod
    def formula(self, time: str) -> str:
        """Return the basis as R writes it."""

    def slope(self, t: Floats) -> Floats:
        """Return t as a random slope sees it."""
        return t

    def slope_name(self, time: str) -> str:
        """Return the name of the random slope's column."""
        return time


@dataclass(frozen=True)
class Linear(Shape):
    """A straight line."""

    word = "linear"
    one_direction = True

    def columns(self, t: Floats) -> Floats:
        return t[:, None].copy()

    def names(self, time: str) -> list[str]:
        return [time]

    def formula(self, time: str) -> str:
        return time


@dataclass(frozen=True)
class Quadratic(Shape):
    """A parabola."""

    word = "quadratic"

    def columns(self, t: Floats) -> Floats:
        return np.column_stack([t, t * t])

    def names(self, time: str) -> list[str]:
        return [time, f"{time}^2"]

    def formula(self, time: str) -> str:
        return f"({time} + I({time}^2))"


@dataclass(frozen=True)
class Log(Shape):
    """Fast change first, then slower: log(1 + t / h), h the first time after zero."""

    h: float
    word = "log"
    one_direction = True

    def columns(self, t: Floats) -> Floats:
        return self.slope(t)[:, None]

    def names(self, time: str) -> list[str]:
        return [self.formula(time)]

    def formula(self, time: str) -> str:
        return f"log(1 + {time}/{self.h:g})"

    def slope(self, t: Floats) -> Floats:
        return np.log1p(t / self.h)

    def slope_name(self, time: str) -> str:
        return self.formula(time)


@dataclass(frozen=True)
class Visits(Shape):
    """Visits as categories: a mean of its own at each of the times, the first the reference level."""

    times: tuple[float, ...]
    word = "visits"

    def columns(self, t: Floats) -> Floats:
        return np.asarray(t[:, None] == np.array(self.times[1:]), dtype=float)

    def names(self, time: str) -> list[str]:
        return [f"{time}[{_check.show(v)}]" for v in self.times[1:]]

    def formula(self, time: str) -> str:
        return f"factor({time})"


@dataclass(frozen=True)
class Piecewise(Shape):
    """Straight lines that bend at given times.

    Parameters
    ----------
    knots : sequence of float
        Times at which the slope may change, in the unit of the time column.

    Examples
    --------
    >>> import implstats as ist
    >>> ist.Piecewise([18]).knots
    (18.0,)
    """

    knots: tuple[float, ...]
    word = "piecewise linear"

    def __init__(self, knots: Sequence[float] | float) -> None:
        object.__setattr__(self, "knots", tuple(_check.at(knots, "knots")))

    def columns(self, t: Floats) -> Floats:
        return np.column_stack([t, *(np.maximum(t - k, 0.0) for k in self.knots)])

    def names(self, time: str) -> list[str]:
        return [time, *(f"{time}>{_check.show(k)}" for k in self.knots)]

    def formula(self, time: str) -> str:
        return "(" + " + ".join([time, *(f"pmax({time} - {k:g}, 0)" for k in self.knots)]) + ")"


@dataclass(frozen=True)
class NaturalSpline(Shape):
    """A smooth curve, straight beyond its outer knots (restricted cubic spline).

    Parameters
    ----------
    df : int
        Columns of the basis, 2 or more; df + 1 knots stand at quantiles of the distinct times.
    knots : sequence of float, optional
        All knots, outer ones included, instead of the quantiles.

    References
    ----------
    Harrell, Regression Modeling Strategies, 2nd ed. 2015, section 2.4.5. DOI 10.1007/978-3-319-19425-7

    Examples
    --------
    >>> import implstats as ist
    >>> ist.NaturalSpline(df=2).df
    2
    """

    df: int
    knots: tuple[float, ...] = ()
    word = "natural spline"

    def __post_init__(self) -> None:
        df = _check.whole("df", self.df, least=2, remedy="shape='linear' is the spline with df=1")
        object.__setattr__(self, "df", df)
        if self.knots:
            object.__setattr__(self, "knots", tuple(_check.at(self.knots, "knots")))
            if len(self.knots) != self.df + 1:
                raise DataError(
                    f"knots={_check.show(list(self.knots))}: a spline with df={self.df} has {self.df + 1} knots"
                )

    def columns(self, t: Floats) -> Floats:
        k = np.array(self.knots)
        width = (k[-1] - k[0]) ** 2

        def cubed(knot: float) -> Floats:
            return np.maximum(t - knot, 0.0) ** 3

        out = [t]
        for j in range(len(k) - 2):
            bend = cubed(k[j])
            bend = (
                bend - cubed(k[-2]) * (k[-1] - k[j]) / (k[-1] - k[-2]) + cubed(k[-1]) * (k[-2] - k[j]) / (k[-1] - k[-2])
            )
            out.append(bend / width)
        return np.column_stack(out)

    def names(self, time: str) -> list[str]:
        return [time, *(f"{time} spline {j}" for j in range(2, self.df + 1))]

    def formula(self, time: str) -> str:
        return f"rcs({time}, c({', '.join(f'{k:g}' for k in self.knots)}))"


def listed(times: Sequence[float]) -> str:
    """Return the first times as text."""
    return ", ".join(_check.show(v) for v in times[:8]) + (", ..." if len(times) > 8 else "")


def resolve(shape: Any, distinct: Floats, most: int = FIXED_VISITS) -> Shape:
    """Return the shape with what it takes from the data; "auto" is visits up to `most` distinct times."""
    if isinstance(shape, Piecewise | NaturalSpline):
        inner = shape.knots if isinstance(shape, Piecewise) else shape.knots[1:-1]
        outside = [k for k in inner if not distinct[0] < k < distinct[-1]]
        if outside:
            raise DataError(
                f"knots={_check.show(outside)}: not between the first and the last time, "
                f"{_check.show(distinct[0])} and {_check.show(distinct[-1])}"
            )
    if isinstance(shape, Piecewise):
        if len(shape.knots) > len(distinct) - 2:
            carried = {0: "no knot", 1: "one knot"}.get(len(distinct) - 2, f"{len(distinct) - 2} knots")
            raise DataError(
                f"knots={_check.show(list(shape.knots))}: {len(distinct)} distinct times carry at most {carried}"
            )
        return shape
    if isinstance(shape, NaturalSpline):
        if shape.knots:
            return shape
        if len(distinct) < shape.df + 1:
            raise DataError(f"df={shape.df}: {len(distinct)} distinct times carry at most df={len(distinct) - 1}")
        knots = np.quantile(distinct, np.linspace(0, 1, shape.df + 1))
        return NaturalSpline(shape.df, tuple(float(k) for k in knots))
    if not isinstance(shape, str):
        raise DataError(
            f"shape={shape!r}: not a shape; write one of {', '.join(map(repr, SHAPES))}, Piecewise or NaturalSpline"
        )
    word = _check.one_of("shape", shape, SHAPES)
    if word == "auto":
        word = "visits" if len(distinct) <= most else "linear"
    if word == "visits":
        return Visits(tuple(float(v) for v in distinct))
    if word == "log":
        if distinct[0] < 0:
            raise DataError("shape='log': there are times below zero; count time from the start of treatment")
        return Log(float(distinct[distinct > 0][0]))
    if word == "quadratic" and len(distinct) < 3:
        raise DataError("shape='quadratic': 2 distinct times carry a straight line at most; say shape='linear'")
    return Quadratic() if word == "quadratic" else Linear()
