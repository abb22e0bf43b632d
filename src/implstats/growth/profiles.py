"""Profile-likelihood intervals of a fitted model's standard deviations, and of the correlation of its residuals."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import linalg

from implstats import _check, _parallel
from implstats._core import profile
from implstats._core.ends import profile_ends
from implstats._core.many import climb
from implstats._core.marginal import complex_step, criterion
from implstats.errors import DataError
from implstats.growth.mmrm import MMRMResult
from implstats.growth.models import MixedResult
from implstats.growth.refits import Refits, Together, curvature

__all__ = ["with_intervals"]

Floats = NDArray[np.float64]


def with_intervals(result: MixedResult | MMRMResult, table: pd.DataFrame, level: float) -> pd.DataFrame:
    """Return a result's table of variances with conf_low and conf_high of every sd, and of AR(1)'s correlation.

    Raises
    ------
    DataError
        With several grouping factors and residuals that are not alike.
    """
    _check.level(level)
    with _parallel.one_thread():
        if isinstance(result, MixedResult) and result.design.noise.structure.plain:
            found = _of_factors(result, level)
        else:
            found = _of_patterns(result, level)
    ends = np.full((len(table), 2), np.nan)
    own = table["sd"].notna().to_numpy()
    if isinstance(result, MixedResult):
        own |= (table["group"] == "Residual").to_numpy()
    ends[own] = found
    return table.assign(conf_low=ends[:, 0], conf_high=ends[:, 1])


def _of_factors(result: MixedResult, level: float) -> Floats:
    blocks, residual = profile.intervals(result.problem, result.fit, level)
    return np.sqrt(np.vstack([*blocks, residual[None]]))


def _of_patterns(result: MixedResult | MMRMResult, level: float) -> Floats:
    road = Refits(result).road
    if road is None:
        raise DataError(
            f"level={_check.show(level)}: with several groups and residuals that are not alike, profile intervals are "
            "not computed; ask variances() without level="
        )
    data, covariance, reml = road.sums.patterns, road.covariance, result.fit.reml
    nu = data.n - data.p if reml else data.n
    model = criterion(data.C, data.counts, nu, covariance, reml=reml)
    u = climb(lambda rows, at: model(at)[:2], road.start[None], road.curvature)[0][0]
    slopes, limits = _functions(road, u)
    bent = curvature(data, covariance, u, reml)
    ends = profile_ends(data, covariance, u, bent, slopes, limits, level, reml=reml)
    variances = np.isinf(limits[:, 1])
    ends[variances] = data.scale * np.sqrt(ends[variances])
    return ends


def _functions(road: Together, u: Floats) -> tuple[Floats, Floats]:
    """Return the variances, and AR(1)'s correlation, as linear functions of phi, and the range of each."""
    count = len(road.covariance.natural(u))
    if isinstance(road.result, MMRMResult):
        structure = road.result.structure()
        diagonal = complex_step(lambda phi: np.einsum("...gvv->...gv", structure.sigmas(phi)), np.ones(count))
        slopes = diagonal.reshape(count, -1).T
        return slopes, np.tile([0.0, np.inf], (len(slopes), 1))
    assert road.mixed is not None
    rows, start = [], 0
    for q, R in zip(road.mixed.sizes, road.result.problem.Rz, strict=True):
        back = linalg.solve_triangular(R, np.eye(q))
        pairs = [(r, s) for r in range(q) for s in range(r + 1)]
        for effect in back:
            row = np.zeros(count)
            row[start : start + len(pairs)] = [effect[r] * effect[s] * (1 if r == s else 2) for r, s in pairs]
            rows.append(row)
        start += len(pairs)
    rows += list(np.eye(count)[start:])
    limits = np.tile([0.0, np.inf], (len(rows), 1))
    if not road.mixed.linear:
        limits[-1] = road.mixed.lowest, 1.0
    return np.array(rows), limits
