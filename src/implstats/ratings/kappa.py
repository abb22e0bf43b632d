"""Kappa: how often raters choose the same category, beyond chance; computed by statsmodels, converted at this door."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats._core.agreement import corrected
from implstats.design.ratings import RatingDesign, ratings
from implstats.errors import DataError
from implstats.ratings.agreement import Agreement, need_variety

__all__ = ["kappa"]

Floats = NDArray[np.float64]

Made = tuple[str, float, float, float, dict[str, float], str]

WEIGHTS = (None, "linear", "quadratic")
PAIR = "of items that one of the raters did not rate"
FULL = "of items with fewer ratings than others"


def kappa(
    frame: pd.DataFrame,
    *,
    item: Hashable,
    rater: Hashable | None,
    score: Hashable,
    weights: str | None = None,
    categories: Sequence[Any] | None = None,
    level: float = 0.95,
    missing: str = "drop",
) -> Agreement:
    """How often do raters put an item into the same category, beyond what chance would give?

    Cohen's kappa of two raters, weighted if categories have an order; Fleiss' kappa of more than two.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per item and rater.
    item, rater, score : str
        Columns: what was rated, who rated it, and the category.
    weights : {None, "linear", "quadratic"}
        Of two raters, how much a disagreement counts: each the same; by the distance of the two categories; by its
        square. Distances of numbers are their differences, of other categories their places in `categories`.
    categories : list, optional
        All categories, in their order; needed with weights where the column has none.
    level : float
        Level of the interval, between 0 and 1.
    missing : {"drop", "raise"}
        Rows with a missing value are dropped and counted, or an error. Items that fewer raters rated than others are
        left out too.

    Returns
    -------
    Agreement

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question: one agreed value per item, weights without an order, ratings
        that are all the same.

    Notes
    -----
    Cohen's standard error is that of Fleiss, Cohen and Everitt 1969, its interval normal. That of Fleiss' kappa is
    over items (Gwet 2008), with t on items - 1 df. Where nearly all items fall into one category kappa is low whatever
    the agreement; `gwet_ac1` is less so.

    References
    ----------
    Cohen 1968, DOI 10.1037/h0026256; Fleiss, Cohen & Everitt 1969, DOI 10.1037/h0028106; Fleiss 1971, DOI
    10.1037/h0031619; Gwet 2008, DOI 10.1348/000711006X126600.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.ratings.kappa import kappa
    >>> pairs = [(1, 1), (1, 2), (2, 2), (3, 3), (3, 2), (4, 4), (2, 2), (4, 3), (1, 1), (3, 3)]
    >>> wide = pd.DataFrame(pairs, columns=["first", "second"]).rename_axis("case").reset_index()
    >>> long = wide.melt(id_vars="case", var_name="rater", value_name="score")
    >>> kappa(long, item="case", rater="rater", score="score", weights="quadratic").tidy().round(3)
             quantity  estimate  std_error  conf_low  conf_high
    0  weighted kappa     0.854      0.082     0.693        1.0
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    faults = Faults()
    faults.ask(_check.one_of, "weights", weights, WEIGHTS)
    faults.ask(_check.level, level)
    found = ratings(frame, item=item, rater=rater, score=score, missing=missing, faults=faults, categories=categories)
    need_variety(found, score, "kappa is not defined")
    two = len(found.raters) == 2
    if weights is not None and not two:
        said = f"{len(found.raters)} raters, and weights are for two"
        faults.add("weights", weights, said, "use krippendorff_alpha(metric='ordinal') or icc(form='A,1')")
    elif weights is not None and not found.ordered:
        faults.add("weights", weights, "the categories have no order", "name them in their order: categories=[...]")
    faults.settle()
    kept = _alike(found, rater, missing)
    need_variety(kept, score, "kappa is not defined")
    made = _cohen(kept, weights) if two else _fleiss(kept)
    name, estimate, std_error, df, parts, note = made
    return Agreement(
        call, name, estimate, std_error, df, np.zeros(0), parts, kept.categories, level, kept.sample, (note,)
    )


def _alike(found: RatingDesign, rater: Hashable, missing: str) -> RatingDesign:
    """Return the items that have as many ratings as any."""
    count = np.bincount(found.item)
    full = count == count.max()
    if full.all():
        return found
    remedy = "krippendorff_alpha and gwet_ac1 take what was rated"
    if missing == "raise":
        raise DataError(f"missing='raise': fewer ratings of {found.names(~full)} than of other items; {remedy}")
    if full.sum() < 2:
        raise DataError(f"rater={_check.show(rater)}: fewer than two items have as many ratings as any; {remedy}")
    return found.of(full, PAIR if len(found.raters) == 2 else FULL)


def _cohen(found: RatingDesign, weights: str | None) -> Made:
    from statsmodels.stats.inter_rater import cohens_kappa

    first, second = found.table().T
    q = len(found.categories)
    table = np.bincount(first * q + second, minlength=q * q).reshape(q, q)
    worth = found.worth if found.numbers else np.arange(q, dtype=float)
    share = _shares(worth, weights)
    theirs = cohens_kappa(table, weights=None if weights is None else 1 - share)
    agreement = float((share * table).sum() / table.sum())
    expected = float((share * np.outer(table.sum(axis=1), table.sum(axis=0))).sum() / table.sum() ** 2)
    parts = {"agreement": agreement, "agreement_expected": expected}
    name, note = "kappa", "Cohen's kappa of two raters; standard error of Fleiss, Cohen and Everitt (1969)"
    if weights is not None:
        name, note = "weighted kappa", f"Cohen's kappa of two raters, {weights} weights of categories' distances"
    return name, float(theirs.kappa), float(np.sqrt(max(theirs.var_kappa, 0.0))), np.inf, parts, note


def _shares(worth: Floats, weights: str | None) -> Floats:
    """Return how much of an agreement each pair of categories is."""
    if weights is None:
        return np.eye(len(worth))
    apart = np.abs(worth[:, None] - worth) / np.ptp(worth)
    return np.asarray(1 - apart ** (1 if weights == "linear" else 2))


def _fleiss(found: RatingDesign) -> Made:
    from statsmodels.stats.inter_rater import fleiss_kappa

    counts = found.counts()
    own = corrected(counts, "fleiss")
    parts = {"agreement": own.agreement, "agreement_expected": own.expected}
    note = f"Fleiss' kappa of {int(counts[0].sum())} ratings an item; standard error over items"
    return "Fleiss' kappa", float(fleiss_kappa(counts)), own.std_error, len(counts) - 1.0, parts, note
