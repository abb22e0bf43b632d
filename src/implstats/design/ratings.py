"""Frame to ratings: who gave which item which score; one agreed value per item is no sample of raters, and refused."""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats.design.frames import codes, drop_missing, numeric, one_spelling, repeated
from implstats.errors import DataError
from implstats.results import Sample, lock

__all__ = ["COMPOSITE", "CONSENSUS", "RatingDesign", "need_frame", "one_column_each", "ratings", "scores"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# A rating that stands between two: 2/3.
COMPOSITE = re.compile(r"^\s*(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)\s*$")
CONSENSUS = (
    "one agreed value per item is no sample of raters: how far those who agreed on it had differed cannot be computed "
    "from it"
)
OWN_SCORES = "give each rater's own score, one row per item and rater"


@dataclass(frozen=True, eq=False)
class RatingDesign:
    """Ratings as read-only arrays, never the user's frame; items and raters in the order of their labels.

    Attributes
    ----------
    item, rater : (n,) codes.
    category : (n,) codes of the scores.
    items, raters : their labels.
    categories : the scores that occur, in their order, or all that the user named.
    ordered : whether their order means anything: numbers, an ordered categorical, or named by the user.
    sample : rows, and what was dropped.
    """

    item: Ints
    rater: Ints
    category: Ints
    items: tuple[Any, ...]
    raters: tuple[Any, ...]
    categories: tuple[Any, ...]
    ordered: bool
    sample: Sample

    def __post_init__(self) -> None:
        lock(tuple(getattr(self, f.name) for f in fields(self)))

    @property
    def worth(self) -> Floats:
        """Return the categories as numbers; they must be."""
        return np.array(self.categories, dtype=float)

    @property
    def numbers(self) -> bool:
        """Whether every category is a number."""
        return all(map(_is_number, self.categories))

    def counts(self) -> Floats:
        """Return how often each item was put into each category (items, categories)."""
        cell = self.item * len(self.categories) + self.category
        size = len(self.items) * len(self.categories)
        return np.bincount(cell, minlength=size).reshape(len(self.items), -1).astype(float)

    def table(self) -> Ints:
        """Return category codes (items, raters); -1 where a rater did not rate an item."""
        made = np.full((len(self.items), len(self.raters)), -1, dtype=np.intp)
        made[self.item, self.rater] = self.category
        return made

    def names(self, chosen: NDArray[np.bool_]) -> str:
        """Return the first few of some items, as a sentence names them."""
        found = [label for label, one in zip(self.items, chosen, strict=True) if one]
        return ", ".join(map(_check.show, found[:3])) + (", ..." if len(found) > 3 else "")

    def of(self, kept: NDArray[np.bool_], why: str) -> RatingDesign:
        """Return the same without some items, counted under a reason."""
        rows = kept[self.item]
        rater, raters = np.unique(self.rater[rows], return_inverse=True)
        lost = {**self.sample.dropped, why: int((~rows).sum())}
        items = tuple(label for label, stays in zip(self.items, kept, strict=True) if stays)
        return RatingDesign(
            (np.cumsum(kept) - 1)[self.item[rows]],
            np.asarray(raters, dtype=np.intp),
            self.category[rows],
            items,
            tuple(self.raters[k] for k in rater),
            self.categories,
            self.ordered,
            _sample(self.sample.given, int(rows.sum()), lost, len(items), len(rater)),
        )


def _is_number(category: Any) -> bool:
    return isinstance(category, int | float | np.number) and not isinstance(category, bool)


def need_frame(frame: object) -> None:
    """Refuse what is no frame; a result that holds agreed values is refused with the reason."""
    # By its name: the room of profiles stands above this one.
    if type(frame).__name__ == "RatingProfile":
        raise DataError(f"frame: a rating profile holds agreed values, and {CONSENSUS}; {OWN_SCORES}")
    _check.frame(frame)


def one_column_each(roles: Mapping[str, Hashable], faults: Faults) -> None:
    """Record every column that two roles name."""
    seen: dict[Hashable, str] = {}
    for argument, column in roles.items():
        if column in seen:
            faults.add(argument, column, f"is named as {seen[column]}= too", "each role has a column of its own")
        seen.setdefault(column, argument)


def ratings(
    frame: pd.DataFrame,
    *,
    item: Hashable,
    rater: Hashable | None,
    score: Hashable,
    missing: str,
    faults: Faults,
    numbers: bool = False,
    categories: Sequence[Any] | None = None,
) -> RatingDesign:
    """Return the ratings that are used; faults of arguments and data are reported together with those given.

    `numbers` asks for scores that are numbers; `categories` names all that a rater could give, in their order.
    """
    need_frame(frame)
    faults.ask(_check.one_of, "missing", missing, ("drop", "raise"))
    if rater is None:
        faults.say(f"rater=None: {CONSENSUS}; {OWN_SCORES}")
    roles = {"item": item, "rater": rater, "score": score}
    _check.columns(frame, faults, **roles)
    faults.settle()
    one_column_each(roles, faults)
    faults.settle()
    if numbers:
        frame = _with(frame, score, scores(frame, score, faults))
        faults.settle()
    masks = {f"{argument} missing": frame[column].isna().to_numpy() for argument, column in roles.items()}
    kept, dropped = drop_missing(masks, missing, frame.index)
    if not kept.any():
        faults.add("score", score, "no row has item, rater and score", ", ".join(dropped))
    faults.settle()
    used = frame.loc[kept]
    for argument, column in roles.items():
        one_spelling(used, argument, column, faults)
    faults.settle()
    by_item, by_rater = codes(used[item]), codes(used[rater])
    again = repeated(by_item.of_row, by_rater.of_row, (len(by_item.levels), len(by_rater.levels)))
    if len(again):
        where = _check.rows(used.index[again])
        faults.add("rater", rater, f"has rated an item before in {where}", "keep one row per item and rater")
    _need_several(by_item.of_row, by_rater.levels, rater, item, faults)
    category, named, ordered = _categories(used, score, categories, faults)
    faults.settle()
    return RatingDesign(
        by_item.of_row,
        by_rater.of_row,
        category,
        tuple(by_item.levels),
        tuple(by_rater.levels),
        named,
        ordered,
        _sample(len(frame), len(used), dropped, len(by_item.levels), len(by_rater.levels)),
    )


def _sample(given: int, rows: int, dropped: Mapping[str, int], items: int, raters: int) -> Sample:
    return Sample(given, rows, dropped, {"item": items, "rater": raters})


def scores(frame: pd.DataFrame, score: Hashable, faults: Faults) -> Floats:
    """Return scores as numbers; a panel's compromise such as 2/3 is refused with the reason."""
    text = frame[score].dropna().astype(str)
    between = text[text.str.match(COMPOSITE)]
    if between.empty:
        return numeric(frame, "score", score, faults)
    said = f"holds {_check.show(between.iloc[0])} ({_check.rows(between.index)}), a value between two: {CONSENSUS}"
    faults.add("score", score, said, OWN_SCORES)
    return np.full(len(frame), np.nan)


def _with(frame: pd.DataFrame, column: Hashable, values: Floats) -> pd.DataFrame:
    out = frame.copy(deep=False)
    out[column] = values
    return out


def _need_several(item: Ints, raters: Sequence[Any], rater: Hashable, name: Hashable, faults: Faults) -> None:
    most = int(np.bincount(item).max(initial=0))
    if len(raters) == 1:
        faults.add("rater", rater, f"one rater only ({_check.show(raters[0])}): {CONSENSUS}", OWN_SCORES)
    elif most < 2:
        faults.add("rater", rater, f"no item has two ratings: {CONSENSUS}", OWN_SCORES)
    if len(np.unique(item)) < 2:
        faults.add("item", name, "one item only", "agreement is judged by how far raters tell items apart")


def _categories(
    used: pd.DataFrame, score: Hashable, named: Sequence[Any] | None, faults: Faults
) -> tuple[Ints, tuple[Any, ...], bool]:
    """Return codes of the scores, what they stand for, and whether their order means anything."""
    column = used[score]
    if named is None and isinstance(column.dtype, pd.CategoricalDtype) and column.cat.ordered:
        named = list(column.cat.categories)
    coded = codes(column)
    if named is None:
        return coded.of_row, tuple(coded.levels), all(map(_is_number, coded.levels))
    if isinstance(named, str) or not isinstance(named, Sequence) or len(named) < 2:
        faults.add("categories", named, "not a list of two or more categories", "write categories=[1, 2, 3, 4, 5]")
        return coded.of_row, tuple(coded.levels), True
    place = {label: k for k, label in enumerate(named)}
    if len(place) < len(named):
        faults.add("categories", list(named), "names a category twice", "name each once, in their order")
    strange = [label for label in coded.levels if label not in place]
    if strange:
        rows = _check.rows(used.index[(column == strange[0]).to_numpy()])
        said = f"leaves out {_check.show(strange[0])} ({rows})"
        faults.add("categories", list(named), said, "name every category that a rater could give")
        return coded.of_row, tuple(coded.levels), True
    return np.array([place[label] for label in coded.levels], dtype=np.intp)[coded.of_row], tuple(named), True
