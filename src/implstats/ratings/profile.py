"""How well a programme was implemented, item by item and level by level: one agreed value per item and group."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats.design.frames import codes
from implstats.errors import DataError
from implstats.ratings.entries import RULES, Entries, entries
from implstats.ratings.scale import ends_of
from implstats.results import Result, Sample, frozen

__all__ = ["RatingProfile", "rating_profile"]

Floats = NDArray[np.float64]

ALL = "all levels"
FEWEST_GROUPS = 3


@dataclass(frozen=True, eq=False, repr=False)
class RatingProfile(Result):
    """Ratings of items by group, with the means of levels and their differences.

    Attributes
    ----------
    items, levels : tuple
        Item labels, and the level of each.
    groups : tuple
        The reference first.
    scores : numpy.ndarray
        (items, groups) ratings; NaN where there is none.
    composite : numpy.ndarray
        (items, groups) whether the entry stood between two values.
    rule : str
        How such an entry was read: "midpoint", "lower" or "upper".
    scale : tuple or None
        Lowest and highest value that a rating can have.
    sample : Sample
    notes : tuple of str
    """

    items: tuple[Any, ...]
    levels: tuple[Any, ...]
    groups: tuple[Any, ...]
    scores: Floats
    composite: NDArray[np.bool_]
    rule: str
    scale: tuple[float, float] | None
    sample: Sample
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("scores", "composite"):
            object.__setattr__(self, name, frozen(getattr(self, name)))

    def tidy(self) -> pd.DataFrame:  # type: ignore[override]
        """Return level means by group, then their differences from the reference, level by level and for all.

        A difference is the mean over the items that both groups have.
        """
        rows = []
        for level in [*dict.fromkeys(self.levels), ALL]:
            own = self.scores[[level in (ALL, other) for other in self.levels]]
            rows += [self._row("mean", level, g, own[:, g]) for g in range(len(self.groups))]
            rows += [self._row("difference", level, g, own[:, g] - own[:, 0]) for g in range(1, len(self.groups))]
        return pd.DataFrame(rows)

    def _row(self, quantity: str, level: Any, g: int, values: Floats) -> dict[str, Any]:
        known = values[~np.isnan(values)]
        mean = float(known.mean()) if len(known) else np.nan
        against = self.groups[0] if quantity == "difference" else ""
        row = {"quantity": quantity, "level": level, "group": self.groups[g], "reference": against}
        return row | {"n": len(known), "estimate": mean}

    def ratings(self) -> pd.DataFrame:
        """Return one row an item and group: the rating, and its difference from the reference's."""
        n, g = self.scores.shape
        out = pd.DataFrame({"level": np.repeat(np.array(self.levels, dtype=object), g)})
        out["item"] = np.repeat(np.array(self.items, dtype=object), g)
        out["group"] = list(self.groups) * n
        out["rating"] = self.scores.ravel()
        return out.assign(difference=(self.scores - self.scores[:, :1]).ravel(), composite=self.composite.ravel())

    def exposure(self, frame: pd.DataFrame, *, group: Hashable, level: Hashable | None = None) -> pd.Series:
        """Return each row's mean rating, that of its group, as a covariate for a model of outcomes.

        `fit_growth` takes it in `moderators=`, with the group in `groups=`; `fit_cox` in `terms=`, with the group in
        `cluster=`.

        Parameters
        ----------
        frame : pandas.DataFrame
            Rows of patients, visits or programmes.
        group : str
            Its column with the groups that were rated.
        level : optional
            The level whose mean is taken; by default the mean of all items.

        Returns
        -------
        pandas.Series
            Named "rating", with the frame's index.

        Raises
        ------
        DataError
            With ratings of two groups: a term of the rating is then the difference of the two groups itself.
        """
        if len(self.groups) < FEWEST_GROUPS:
            raise DataError(
                f"group={_check.show(group)}: ratings of {len(self.groups)} groups; with two, a rating is another name "
                "for the group, and a regression of outcomes on it only says again how the two differ, for whatever "
                "reason; compare the groups, and show their ratings beside the answer"
            )
        faults = Faults()
        _check.columns(_check.frame(frame), faults, group=group)
        known = list(dict.fromkeys(self.levels))
        if level is not None and level not in known:
            faults.add("level", level, f"no such level{_check.nearest(level, known)}")
        faults.settle()
        table = self.tidy()
        of = table[(table["quantity"] == "mean") & (table["level"] == (ALL if level is None else level))]
        means = dict(zip(of["group"], of["estimate"], strict=True))
        strange = [v for v in frame[group].dropna().unique() if v not in means]
        if strange:
            said = f"{_check.show(strange[0])} was not rated{_check.nearest(strange[0], means)}"
            raise DataError(f"group={_check.show(group)}: {said}")
        return frame[group].map(means).astype(float).rename("rating")

    def glance(self) -> pd.DataFrame:
        """Return one row: items and groups."""
        return pd.DataFrame({"items": [len(self.items)], "groups": [len(self.groups)], "rows": [self.sample.rows]})

    def header(self) -> list[str]:
        """Return what was rated, how entries between two values are read, and what the ratings cannot say."""
        head = f"Ratings of {len(self.items)} items in {len(self.groups)} groups"
        if self.scale:
            head += ", from " + " to ".join(_check.show(v) for v in self.scale)
        return [head, *self.notes, *self.sample.in_words()]

    def _tables(self) -> dict[str, pd.DataFrame]:
        return super()._tables() | {"ratings": self.ratings()}


def rating_profile(
    frame: pd.DataFrame,
    *,
    item: Hashable,
    level: Hashable,
    score: Hashable | Sequence[Hashable],
    group: Hashable | None = None,
    reference: Any = None,
    scale: tuple[float, float] | None = None,
    composite: str = "midpoint",
    missing: str = "drop",
) -> RatingProfile:
    """How well was each item of an implementation rated, before and during, and where did it fall most?

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per item and group, or one row per item with a column of ratings for every group.
    item, level : str
        Columns: what was rated, and what it belongs to (organisation, team, therapist).
    score : str or list of str
        Column with the ratings; or one column per group, the reference first, and no `group`.
    group : str, optional
        Column with the cohorts or programmes that were rated.
    reference : value of the column `group`, optional
        The group that the others are compared with; by default the first.
    scale : (lowest, highest), optional
        Ratings outside of it are an error.
    composite : {"midpoint", "lower", "upper", "raise"}
        How an entry such as "2/3" is read, which stands between two values: as 2.5, as 2, as 3, or not at all.
    missing : {"drop", "raise"}
        Rows with a missing value are dropped and counted, or an error.

    Returns
    -------
    RatingProfile
        `ratings()` has every item, `exposure()` a covariate where three or more programmes were rated.

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question: two values of one item and group, an entry that is no rating.

    Notes
    -----
    Means are of items, equally weighted. They have no interval: the items are all there are, not drawn from many, and
    one agreed value per item says nothing of how far those who agreed on it had differed.

    Examples
    --------
    >>> from implstats import load_example, rating_profile
    >>> table = load_example("adherence_consensus")  # 21 items, by consensus, of one programme
    >>> profile = rating_profile(table, item="item", level="level", score=["pre_reorg", "reorg"], scale=(1, 7))
    >>> means = profile.tidy().query("quantity == 'mean'")
    >>> means.pivot(index="level", columns="group", values="estimate").round(2)
    group         pre_reorg  reorg
    level
    all levels         6.14   2.45
    organisation       6.43   2.71
    team               6.09   2.27
    therapist          5.67   2.50
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    _check.frame(frame)
    faults = Faults()
    faults.ask(_check.one_of, "missing", missing, ("drop", "raise"))
    faults.ask(_check.one_of, "composite", composite, [*RULES, "raise"])
    ends = None if scale is None else ends_of(scale, faults)
    roles: dict[str, Any] = {"item": item, "level": level, "score": score, "group": group}
    found = entries(frame, **roles, composite=composite, missing=missing, faults=faults)
    value = found.table["value"].to_numpy()
    if ends is not None and (off := (value < ends[0]) | (value > ends[1])).any():
        said = f"{_check.show(value[off][0])} is not from {ends[0]:g} to {ends[1]:g} ({_check.rows(found.labels[off])})"
        faults.add("score", score, said, "mend it, or say scale=")
    if (own := (found.table["level"] == ALL).to_numpy()).any():
        said = f"{_check.show(ALL)} ({_check.rows(found.labels[own])}) is what the mean over levels is called"
        faults.add("level", level, said, "rename that level")
    again = found.table.duplicated(["level", "item", "group"]).to_numpy()
    if again.any():
        said = f"rated before in the same group in {_check.rows(found.labels[again])}"
        faults.add("item", item, said, "give one value per item and group; of several raters' scores, see icc first")
    groups = _groups(found, score if group is None else None, reference, faults)
    faults.settle()
    return _made(call, found, groups, composite, ends)


def _groups(found: Entries, named: Any, reference: Any, faults: Faults) -> tuple[Any, ...]:
    """Return the groups, the reference first: in the order of the columns that name them, or of their labels."""
    present = codes(found.table["group"]).levels
    groups = [g for g in named if g in present] if named is not None else present
    if reference is not None and reference not in groups:
        faults.add("reference", reference, f"no group has this name{_check.nearest(reference, groups)}")
    return tuple(sorted(groups, key=lambda g: reference is not None and g != reference))


def _made(
    call: dict[str, Any],
    found: Entries,
    groups: tuple[Any, ...],
    composite: str,
    ends: tuple[float, float] | None,
) -> RatingProfile:
    by_level, by_item, by_group = (codes(found.table[c], ordered=False) for c in ("level", "item", "group"))
    what = by_level.of_row * len(by_item.levels) + by_item.of_row
    rows, of_row = np.unique(what, return_inverse=True)
    column = np.array([groups.index(g) for g in by_group.levels], dtype=np.intp)[by_group.of_row]
    values, between = np.full((len(rows), len(groups)), np.nan), np.zeros((len(rows), len(groups)), dtype=bool)
    values[of_row, column] = found.table["value"]
    between[of_row, column] = found.table["composite"]
    sample = Sample(found.given, len(what), found.dropped, {"item": len(rows), "group": len(groups)})
    return RatingProfile(
        call,
        tuple(by_item.levels[k % len(by_item.levels)] for k in rows),
        tuple(by_level.levels[k // len(by_item.levels)] for k in rows),
        groups,
        values,
        between,
        composite,
        ends,
        sample,
        tuple(_notes(values, between, composite)),
    )


def _notes(values: Floats, between: NDArray[np.bool_], composite: str) -> list[str]:
    lines = []
    if between.any():
        lines.append(f"{between.sum()} entries stand between two values; each is read as {RULES[composite][1]}")
    gaps = np.isnan(values).any(axis=1).sum()
    if gaps:
        lines.append(f"{gaps} items were not rated in every group; differences are of items that both groups have")
    lines.append("means of items, without intervals: one agreed value per item has no agreement to report")
    return lines
