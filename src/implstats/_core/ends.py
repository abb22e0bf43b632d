"""Profile-likelihood intervals of a model's variances and correlations, all ends climbing at once.

The end of an interval is where the criterion, at its best for a given value of the parameter, has risen by a quantile
of chi-square(1). A point of that profile is the minimum of criterion + stiffness (value - aim)^2: exact at the value
where it ends, whatever the aim; the aim is moved until the rise is right.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import special

from implstats._core.many import climb
from implstats._core.marginal import Covariance, Evaluated, Patterns, complex_step, criterion

__all__ = ["profile_ends"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

Model = Callable[[Floats], tuple[Floats, Floats, Evaluated]]

STIFFNESS = 50.0
ROUNDS = 40
# How near the rise must be before a straight line leads to the end.
CLOSE = 1e-4
NOTHING = 1e-6
# In standard errors: what is less than this stands on its limit.
ON_THE_EDGE = 1e-3


def profile_ends(
    patterns: Patterns,
    covariance: Covariance,
    u: Floats,
    curvature: Floats,
    slopes: Floats,
    limits: Floats,
    level: float,
    *,
    reml: bool,
) -> Floats:
    """Return both ends (k, 2) of the intervals of k linear functions of phi; nan where no end was found.

    Parameters
    ----------
    patterns, covariance : the model; u and `curvature` are its optimum and the criterion's second derivatives there.
    slopes : (k, J) the functions: value = slopes @ phi.
    limits : (k, 2) the range of each; an end that the criterion never reaches is the limit.
    """
    nu = patterns.n - patterns.p if reml else patterns.n
    model = criterion(patterns.C, patterns.counts, nu, covariance, reml=reml)
    best = float(model(u[None])[0][0])
    wanted = float(special.chdtri(1, 1 - level))
    k = len(slopes)
    center = slopes @ covariance.natural(u)
    gradient = complex_step(covariance.natural, u) @ slopes.T
    variance = 2 * np.einsum("rk,rk->k", gradient, np.linalg.lstsq(curvature, gradient, rcond=1e-12)[0])
    spread = np.repeat(np.sqrt(np.maximum(variance, 0.0)), 2)
    which, side = np.repeat(np.arange(k), 2), np.tile([-1.0, 1.0], k)
    a = slopes[which]
    start = center[which]

    def value(where: Floats) -> Floats:
        return np.asarray(np.einsum("bj,bj->b", a, covariance.natural(where)))

    edge = np.where(side < 0, limits[which, 0], limits[which, 1])
    # A variance at zero has no standard error; how far it is lifted serves as one.
    spread = np.maximum(spread, np.abs(value(np.tile(covariance.lifted(u), (2 * k, 1))) - start))
    on_edge = np.abs(start - edge) < ON_THE_EDGE * spread
    search = _Search(start, side * spread * np.sqrt(wanted), np.sqrt(wanted))
    inner, found = np.tile(u, (2 * k, 1)), np.where(on_edge, edge, np.nan)
    for _ in range(ROUNDS):
        left = np.flatnonzero(np.isnan(found))
        if not len(left):
            break
        stiff = STIFFNESS / np.minimum(spread, np.abs(start - edge) / 4)[left] ** 2
        aim = search.aim[left]
        reached = _climbed(model, covariance, a[left], inner[left], aim, stiff, curvature)
        here = np.einsum("bj,bj->b", a[left], covariance.natural(reached))
        rise = np.sqrt(np.maximum(model(reached)[0] - best, 0.0))
        search.take(left, here, rise)
        short = rise < np.sqrt(wanted)
        # The next climb starts on this side of the end: beyond it a variance may have fallen to zero, for good.
        inner[left[short]] = reached[short]
        arrived = np.abs(rise - np.sqrt(wanted)) < CLOSE * np.sqrt(wanted)
        found[left[arrived]] = search.on_a_line(left)[arrived]
        # Far beyond the edge an aim says that it should be reached; a variance comes there slowly.
        far = side[left] * (aim - edge[left]) >= spread[left]
        close = np.maximum(NOTHING * np.abs(start - edge)[left], np.where(far, 0.01 * spread[left], 0.0))
        near = np.isfinite(edge[left]) & (np.abs(here - edge[left]) <= close)
        never = near & (rise < np.sqrt(wanted))
        found[left[never]] = edge[left[never]]
    return found.reshape(k, 2)


class _Search:
    """The aims of all ends: stretched until the rise is enough, then narrowed between the last two on either side."""

    def __init__(self, start: Floats, length: Floats, wanted: float) -> None:
        count = len(start)
        self.start, self.wanted, self.aim, self.rounds = start, wanted, start + length, 0
        # Aim, value and rise of the best point on either side of the end.
        self.inner = np.stack([start, start, np.zeros(count)])
        self.outer = np.full((3, count), np.nan)

    def take(self, rows: Ints, value: Floats, rise: Floats) -> None:
        """Take in what was found at the aims of some rows, and set their next ones."""
        self.rounds += 1
        point = np.stack([self.aim[rows], value, rise])
        short = rise < self.wanted
        self.inner[:, rows[short]], self.outer[:, rows[~short]] = point[:, short], point[:, ~short]
        inner, outer = self.inner[:, rows], self.outer[:, rows]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = (self.wanted - inner[2]) / (outer[2] - inner[2])
            share = np.clip(share, 0.02, 0.98) if self.rounds % 3 else 0.5
            between = inner[0] + share * (outer[0] - inner[0])
            longer = np.clip(1.1 * self.wanted / np.maximum(inner[2], 1e-3), 1.2, 3.0)
        further = self.start[rows] + longer * (inner[0] - self.start[rows])
        self.aim[rows] = np.where(np.isnan(outer[0]), further, between)

    def on_a_line(self, rows: Ints) -> Floats:
        """Return the value where the rise is the wanted one, on a line through the points on either side."""
        inner, outer = self.inner[:, rows], self.outer[:, rows]
        with np.errstate(invalid="ignore", divide="ignore"):
            share = (self.wanted - inner[2]) / (outer[2] - inner[2])
            onward = self.start[rows] + (inner[1] - self.start[rows]) * self.wanted / inner[2]
        return np.asarray(np.where(np.isnan(outer[1]), onward, inner[1] + share * (outer[1] - inner[1])))


def _climbed(
    model: Model, covariance: Covariance, a: Floats, start: Floats, aim: Floats, stiff: Floats, curvature: Floats
) -> Floats:
    """Return the parameters at the minimum of criterion + stiffness (value - aim)^2."""

    def at(rows: Ints, where: Floats) -> tuple[Floats, Floats]:
        with np.errstate(all="ignore"):
            value, slope, _ = model(where)
            gap = np.einsum("bj,bj->b", a[rows], covariance.natural(where)) - aim[rows]
            turn = np.einsum("rbj,bj->br", complex_step(covariance.natural, where), a[rows])
            return value + stiff[rows] * gap**2, slope + 2 * (stiff[rows] * gap)[:, None] * turn

    start = covariance.lifted(start)
    turn = np.einsum("rbj,bj->br", complex_step(covariance.natural, start), a)
    bent = curvature + 2 * stiff[:, None, None] * turn[:, :, None] * turn[:, None, :]
    return climb(at, start, bent)[0]
