"""Does a likelihood rise for ever, and along which terms: a linear programme over the rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

__all__ = ["columns_that_run_away"]

Floats = NDArray[np.float64]

NOTHING = 1e-7


def columns_that_run_away(rising: Floats, level: Floats) -> list[int]:
    """Return the columns of a direction v in which no row of `rising` falls, one rises, and `level` stays; or none.

    Along such a direction a likelihood has no maximum, where rows of `rising` become ever likelier as x'v grows, and
    those of `level` ever less likely as it leaves 0 (Konis 2007).
    """
    scale = np.abs(np.vstack([rising, level])).max(axis=0)
    scale[scale == 0] = 1.0
    rising, level = rising / scale, level / scale
    equal = np.linalg.qr(level, mode="r") if len(level) else np.zeros((1, len(scale)))
    found = optimize.linprog(
        -rising.sum(axis=0),
        A_ub=-rising,
        b_ub=np.zeros(len(rising)),
        A_eq=equal,
        b_eq=np.zeros(len(equal)),
        bounds=(-1, 1),
        method="highs",
    )
    if found.x is None or float(rising.sum(axis=0) @ found.x) < NOTHING:
        return []
    return [int(j) for j in np.flatnonzero(np.abs(found.x) > NOTHING)]
