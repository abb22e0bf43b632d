"""How far the raters of one group agree with each other: r_wg of single items, r_wg(j) and r*_wg(j) of several."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats.design.frames import Codes, codes, drop_missing
from implstats.design.ratings import CONSENSUS, OWN_SCORES, need_frame, one_column_each, scores
from implstats.ratings.scale import Scale, scale_of, steps_of
from implstats.results import Result, Sample, frozen

__all__ = ["WithinGroupAgreement", "within_group_agreement"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

ALL = "all"


@dataclass(frozen=True, eq=False, repr=False)
class WithinGroupAgreement(Result):
    """How much less the raters of a group differ than by chance: 1 not at all, 0 as much, below 0 more.

    Attributes
    ----------
    groups, items : tuple
        Labels.
    group, item : numpy.ndarray
        Codes of every group and item with two ratings or more.
    n, mean, variance : numpy.ndarray
        Of its ratings; the variance over n - 1.
    scale : Scale
    sample : Sample
    notes : tuple of str
    """

    groups: tuple[Any, ...]
    items: tuple[Any, ...]
    group: Ints
    item: Ints
    n: Ints
    mean: Floats
    variance: Floats
    scale: Scale
    sample: Sample
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("group", "item", "n", "mean", "variance"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    def tidy(self) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a group and item (r_wg), and two a group with several items: r_wg(j) and r*_wg(j)."""
        rows = []
        for g, group in enumerate(self.groups):
            own = np.flatnonzero(self.group == g)
            for k in own:
                row = {"quantity": "r_wg", "group": group, "item": self.items[self.item[k]], "n": int(self.n[k])}
                row |= {"rating": self.mean[k], "sd": float(np.sqrt(self.variance[k]))}
                rows.append(row | {"estimate": 1 - self.variance[k] / self.scale.chance})
            if len(own) > 1:
                rows += self._of_several(group, own)
        return pd.DataFrame(rows)

    def _of_several(self, group: Any, own: Ints) -> list[dict[str, Any]]:
        share = float(self.variance[own].mean() / self.scale.chance)
        j = len(own)
        james = j * (1 - share) / (j * (1 - share) + share) if share < 1 else 0.0
        both = {"group": group, "item": "", "n": int(self.n[own].sum()), "rating": float(self.mean[own].mean())}
        both["sd"] = float(np.sqrt(self.variance[own].mean()))
        return [{"quantity": name, **both, "estimate": r} for name, r in (("r_wg(j)", james), ("r*_wg(j)", 1 - share))]

    def glance(self) -> pd.DataFrame:
        """Return one row: the ratings that it rests on."""
        counts = {f"{unit}s": count for unit, count in self.sample.groups.items()}
        return pd.DataFrame([{"rows": self.sample.rows, **counts}])

    def header(self) -> list[str]:
        """Return what is measured, on which scale, and what a reader must know."""
        return [
            f"Agreement within groups on {self.call['score']}: 1 - variance of a group's ratings / variance by chance",
            self.scale.in_words(),
            *self.notes,
            *self.sample.in_words(),
        ]


def within_group_agreement(
    frame: pd.DataFrame,
    *,
    rater: Hashable | None,
    score: Hashable,
    scale: tuple[float, float],
    group: Hashable | None = None,
    item: Hashable | None = None,
    step: float = 1,
    null: float | None = None,
    missing: str = "drop",
) -> WithinGroupAgreement:
    """How far do the members of a group agree in what they say about it, whatever other groups say?

    Unlike an intraclass correlation it needs no differences between groups: a group whose members all give the same
    score agrees perfectly. Where only means and ranges are published, `within_group_bounds` says what they allow.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per rater, or per rater and item.
    rater, score : str
        Columns: who rated, and the score, a number.
    scale : (lowest, highest)
        The ends of the scale that raters had, not those that occur.
    group : str, optional
        Column: what the raters were asked about and judged apart: a team, an organisation, a case.
    item : str, optional
        Column: several questions to one thing; r_wg(j) takes them as parallel.
    step : float
        Distance of neighbouring values of the scale.
    null : float, optional
        Variance that ratings by chance would have; by default that of all values being equally likely.
    missing : {"drop", "raise"}
        Rows with a missing value are dropped and counted, or an error.

    Returns
    -------
    WithinGroupAgreement

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question: one agreed value per item, a score off the scale.

    Notes
    -----
    r_wg = 1 - s2 / v, s2 over n - 1 and v = step^2 (A^2 - 1) / 12 for A values. With J items and their mean variance
    m: r_wg(j) = J (1 - m/v) / (J (1 - m/v) + m/v), and 0 where m > v, as James et al. advise; r*_wg(j) = 1 - m/v
    (Lindell et al. 1999), which more items do not raise. Negative values are left as they are. Raters shy of the ends
    of a scale vary less than v without agreeing on anything: give a smaller variance as `null` to see what is left.

    References
    ----------
    James, Demaree & Wolf 1984, DOI 10.1037/0021-9010.69.1.85; Lindell, Brandt & Whitney 1999, DOI
    10.1177/01466219922031257.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.ratings.within_group import within_group_agreement
    >>> frame = pd.DataFrame({"team": list("aaaabbbb"), "member": range(8), "score": [4, 4, 5, 4, 1, 5, 2, 4]})
    >>> found = within_group_agreement(frame, group="team", rater="member", score="score", scale=(1, 5))
    >>> found.tidy()[["group", "n", "rating", "estimate"]].round(3)
      group  n  rating  estimate
    0     a  4    4.25     0.875
    1     b  4    3.00    -0.667
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    need_frame(frame)
    faults = Faults()
    faults.ask(_check.one_of, "missing", missing, ("drop", "raise"))
    on = scale_of(scale, step, null, faults)
    if rater is None:
        faults.say(f"rater=None: {CONSENSUS}; {OWN_SCORES}")
    roles = {"group": group, "item": item, "rater": rater, "score": score}
    _check.columns(frame, faults, **roles)
    faults.settle()
    named = {argument: column for argument, column in roles.items() if column is not None}
    one_column_each(named, faults)
    faults.settle()
    assert on is not None
    value = scores(frame, score, faults)
    faults.settle()
    masks = {f"{argument} missing": frame[column].isna().to_numpy() for argument, column in named.items()}
    kept, dropped = drop_missing(masks, missing, frame.index)
    used, value = frame.loc[kept], value[kept]
    steps_of(on, value, "score", score, used.index, faults)
    parts = [_coded(used, group, ALL), _coded(used, item, score), codes(used[rater])]
    again = pd.DataFrame([part.of_row for part in parts]).T.duplicated().to_numpy()
    if again.any():
        where = _check.rows(used.index[again])
        faults.add("rater", rater, f"has rated the same before in {where}", "keep one row per rater, group and item")
    faults.settle()
    return _made(call, parts, value, on, Sample(len(frame), len(used), dropped), rater)


def _coded(used: pd.DataFrame, column: Hashable | None, otherwise: Hashable) -> Codes:
    return Codes(np.zeros(len(used), dtype=np.intp), [otherwise]) if column is None else codes(used[column])


def _made(
    call: dict[str, Any], parts: list[Codes], value: Floats, scale: Scale, sample: Sample, rater: Hashable
) -> WithinGroupAgreement:
    group, item, who = parts
    cell = group.of_row * len(item.levels) + item.of_row
    cells, of_row, n = np.unique(cell, return_inverse=True, return_counts=True)
    centred = value - scale.low
    mean = np.bincount(of_row, centred) / n
    squares = np.bincount(of_row, (centred - mean[of_row]) ** 2)
    enough = n > 1
    if not enough.any():
        faults = Faults()
        faults.add("rater", rater, f"no group has two ratings of one item: {CONSENSUS}", OWN_SCORES)
        faults.settle()
    by_group, by_item = (cells // len(item.levels))[enough], (cells % len(item.levels))[enough]
    counts = {"group": len(np.unique(by_group)), "item": len(np.unique(by_item)), "rater": len(who.levels)}
    variance = squares[enough] / (n[enough] - 1)
    return WithinGroupAgreement(
        call,
        tuple(group.levels),
        tuple(item.levels),
        by_group,
        by_item,
        n[enough],
        mean[enough] + scale.low,
        variance,
        scale,
        Sample(sample.given, sample.rows, sample.dropped, counts),
        tuple(_notes(enough, variance, scale)),
    )


def _notes(enough: NDArray[np.bool_], variance: Floats, scale: Scale) -> list[str]:
    lines = []
    if (~enough).any():
        lines.append(f"{(~enough).sum()} of {len(enough)} have one rating and are left out")
    if (variance > scale.chance).any():
        more = int((variance > scale.chance).sum())
        lines.append(f"{more} of {len(variance)} vary more than by chance (below 0): their raters fall into camps")
    return lines
