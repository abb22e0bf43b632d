"""What a published mean and range of ratings say of how far the raters agreed: the least and the most r_wg."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats._core.agreement import deviations
from implstats.design.frames import drop_missing, numeric
from implstats.design.ratings import need_frame, one_column_each
from implstats.ratings.scale import Scale, scale_of, steps_of
from implstats.results import Result, Sample, frozen

__all__ = ["WithinGroupBounds", "within_group_bounds"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class WithinGroupBounds(Result):
    """The least and the most agreement within a group that its published mean and range allow.

    Attributes
    ----------
    labels : mapping of column to tuple
        What each row is about: group, item.
    n : int
        Raters behind each row.
    mean, least, most : numpy.ndarray
        The published mean, and the least and the most r_wg.
    scale : Scale
    sample : Sample
    notes : tuple of str
    """

    labels: dict[str, tuple[Any, ...]]
    n: int
    mean: Floats
    least: Floats
    most: Floats
    scale: Scale
    sample: Sample
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("mean", "least", "most"):
            object.__setattr__(self, name, frozen(getattr(self, name), float))

    def tidy(self) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a published mean: the least and the most r_wg."""
        out = pd.DataFrame({"quantity": ["r_wg"] * len(self.mean), **self.labels, "n": self.n, "rating": self.mean})
        return out.assign(bound_low=self.least, bound_high=self.most)

    def glance(self) -> pd.DataFrame:
        """Return one row: the means that were read, and the raters behind each."""
        return pd.DataFrame({"rows": [self.sample.rows], "raters": [self.n]})

    def header(self) -> list[str]:
        """Return what the bounds are of, on which scale, and what a reader must know."""
        return [
            f"Agreement within groups of {self.n} raters: the least and the most r_wg that means and ranges allow",
            self.scale.in_words(),
            *self.notes,
            *self.sample.in_words(),
        ]


def within_group_bounds(
    frame: pd.DataFrame,
    *,
    mean: Hashable,
    low: Hashable,
    high: Hashable,
    raters: int,
    scale: tuple[float, float],
    group: Hashable | None = None,
    item: Hashable | None = None,
    decimals: int = 1,
    step: float = 1,
    null: float | None = None,
    missing: str = "drop",
) -> WithinGroupBounds:
    """How far can raters have agreed, of whom only the mean, the lowest and the highest score are published?

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per published mean.
    mean, low, high : str
        Columns: the mean as it was printed, the lowest and the highest score.
    raters : int
        How many scores are behind each mean.
    scale : (lowest, highest)
        The ends of the scale that raters had.
    group, item : str, optional
        Columns that say what a row is about.
    decimals : int
        Decimals to which means were rounded.
    step : float
        Distance of neighbouring values of the scale.
    null : float, optional
        Variance that ratings by chance would have; by default that of all values being equally likely.
    missing : {"drop", "raise"}
        Rows with a missing value are dropped and counted, or an error.

    Returns
    -------
    WithinGroupBounds

    Raises
    ------
    DataError
        If no scores on the scale have such a mean and range, with the rows.

    Notes
    -----
    Every sum of scores that rounds to the printed mean is tried, with one score at either end of the range. The others
    lie as close together as they can (the most r_wg), or at the ends (the least). The bounds hold whatever the raters
    said; they are no confidence interval. r_wg itself is explained in `within_group_agreement`.

    References
    ----------
    James, Demaree & Wolf 1984, DOI 10.1037/0021-9010.69.1.85.

    Examples
    --------
    >>> from implstats import load_example, within_group_bounds
    >>> cases = load_example("case_ratings")  # twelve experts on seven programmes
    >>> found = within_group_bounds(cases.query("statement == 'organisation'"), mean="mean", low="low", high="high",
    ...                             raters=12, scale=(1, 5), group="case", item="statement")
    >>> found.tidy()[["group", "rating", "bound_low", "bound_high"]].round(2).head(3)
      group  rating  bound_low  bound_high
    0     A     4.8       0.90        0.92
    1     B     3.8       0.47        0.83
    2     C     4.1       0.50        0.87
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    need_frame(frame)
    faults = Faults()
    faults.ask(_check.one_of, "missing", missing, ("drop", "raise"))
    faults.ask(_check.whole, "raters", raters, least=2, remedy="it is the number of scores behind each mean")
    faults.ask(_check.whole, "decimals", decimals, least=0)
    on = scale_of(scale, step, null, faults)
    published = {"mean": mean, "low": low, "high": high}
    about = {name: column for name, column in (("group", group), ("item", item)) if column is not None}
    _check.columns(frame, faults, **published, **about)
    faults.settle()
    one_column_each(published | about, faults)
    numbers = {name: numeric(frame, name, column, faults) for name, column in published.items()}
    faults.settle()
    masks = {f"{c} missing": frame[c].isna().to_numpy() for c in [*published.values(), *about.values()]}
    kept, dropped = drop_missing(masks, missing, frame.index)
    if not kept.any():
        faults.add("mean", mean, "no row has mean, lowest and highest", ", ".join(dropped))
    faults.settle()
    assert on is not None
    used = frame.loc[kept]
    given = {name: values[kept] for name, values in numbers.items()}
    steps = {name: steps_of(on, given[name], name, published[name], used.index, faults) for name in ("low", "high")}
    faults.settle()
    half = 0.5 * 10.0**-decimals / on.step
    ends = _bounds((given["mean"] - on.low) / on.step, half, steps["low"], steps["high"], raters)
    if (never := np.isnan(ends[:, 0])).any():
        said = f"no {raters} scores have the mean and range of {_check.rows(used.index[never])}"
        faults.add("mean", mean, said, "look at raters=, decimals= and scale=")
    faults.settle()
    variance = ends * on.step**2 / (raters - 1)
    return WithinGroupBounds(
        call,
        {name: tuple(used[column].tolist()) for name, column in about.items()},
        raters,
        given["mean"],
        1 - variance[:, 1] / on.chance,
        1 - variance[:, 0] / on.chance,
        on,
        Sample(len(frame), len(used), dropped),
        (f"means are taken as rounded to {decimals} decimals", "bounds of what was said, no confidence interval"),
    )


def _bounds(mean: Floats, half: float, low: Floats, high: Floats, n: int) -> Floats:
    """Return the least and the largest sum of squared deviations of n scores, all in steps; NaN where there are none.

    `half` is how far a printed mean may be from the mean.
    """
    found = np.full((len(mean), 2), np.nan)
    for row, center in enumerate(mean):
        sums = range(math.ceil(n * (center - half) - 1e-9), math.floor(n * (center + half) + 1e-9) + 1)
        ends = [deviations(n, total, int(low[row]), int(high[row])) for total in sums]
        possible = [pair for pair in ends if pair is not None]
        if possible:
            found[row] = min(least for least, _ in possible), max(most for _, most in possible)
    return found
