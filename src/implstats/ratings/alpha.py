"""Agreement with gaps: Krippendorff's alpha and Gwet's AC1 take every rating there is, of any number of raters."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check, _parallel
from implstats._check import Faults
from implstats._core.agreement import corrected, of_categories, of_ranks, of_scores
from implstats.design.ratings import RatingDesign, ratings
from implstats.errors import DataError
from implstats.ratings.agreement import Agreement, need_variety

__all__ = ["gwet_ac1", "krippendorff_alpha"]

Floats = NDArray[np.float64]

METRICS = {
    "nominal": "categories are the same or they are not",
    "ordinal": "categories are as far apart as the ratings between them are many",
    "interval": "scores are as far apart as their difference",
}
BLOCK = 200
FEWEST = 20
SAME = 1e-12
SINGLE = "of items with one rating"


def krippendorff_alpha(
    frame: pd.DataFrame,
    *,
    item: Hashable,
    rater: Hashable | None,
    score: Hashable,
    metric: str,
    categories: Sequence[Any] | None = None,
    draws: int = 2000,
    rng: int | np.random.Generator | None = None,
    level: float = 0.95,
    missing: str = "drop",
) -> Agreement:
    """How far do raters agree beyond chance, where some items lack some raters and scores may have an order?

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per item and rater; ratings that were not given may be left out or missing.
    item, rater, score : str
        Columns: what was rated, who rated it, and the category or score.
    metric : {"nominal", "ordinal", "interval"}
        How far two ratings are apart: the same or not; by the number of ratings between them; by their difference.
    categories : list, optional
        All categories, in their order; "ordinal" needs it where the column has none.
    draws : int
        Draws of items with replacement for the interval.
    rng : int, numpy.random.Generator or None
        The same number gives the same interval, whatever the order of the rows.
    level : float
        Level of the interval, between 0 and 1.
    missing : {"drop", "raise"}
        Rows with a missing value are dropped and counted, or an error. Items with one rating are left out: there is
        nothing to compare it with.

    Returns
    -------
    Agreement

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question: one agreed value per item, ratings that are all the same.

    Notes
    -----
    alpha = 1 - observed / expected disagreement, both means of squared distances: between ratings of one item, each
    item weighted by its number of ratings, and between any two of all ratings. The interval takes quantiles of alpha in
    items drawn with replacement, each with all of its ratings (Zapf et al. 2016); with few items it is too narrow.

    References
    ----------
    Krippendorff 2004, DOI 10.1111/j.1468-2958.2004.tb00738.x; Hayes & Krippendorff 2007, DOI
    10.1080/19312450709336664; Zapf et al. 2016, DOI 10.1186/s12874-016-0200-9.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.ratings.alpha import krippendorff_alpha
    >>> observers = {"A": "123321412...", "B": "1233224125.3", "C": ".3332342251.", "D": "12332441251."}
    >>> wide = pd.DataFrame({name: list(given) for name, given in observers.items()}).rename_axis("unit").reset_index()
    >>> long = wide.melt(id_vars="unit", var_name="observer", value_name="value")
    >>> long["value"] = pd.to_numeric(long["value"], errors="coerce")  # Krippendorff's own example: a dot is a gap
    >>> roles = {"item": "unit", "rater": "observer", "score": "value"}
    >>> alphas = {m: krippendorff_alpha(long, **roles, metric=m, rng=1) for m in ("nominal", "ordinal", "interval")}
    >>> {metric: round(found.estimate, 3) for metric, found in alphas.items()}
    {'nominal': 0.743, 'ordinal': 0.815, 'interval': 0.849}
    """
    call = {k: v for k, v in locals().items() if k not in ("frame", "rng")}
    call["rng"] = int(rng) if isinstance(rng, int | np.integer) else rng and "Generator"
    faults = Faults()
    faults.ask(_check.one_of, "metric", metric, list(METRICS))
    faults.ask(_check.whole, "draws", draws, least=FEWEST, remedy="2000 serve 95 % intervals")
    faults.ask(_check.level, level)
    seed = faults.ask(_parallel.seed_of, rng)
    roles: dict[str, Any] = {"item": item, "rater": rater, "score": score, "missing": missing, "faults": faults}
    found = ratings(frame, **roles, numbers=metric == "interval", categories=categories)
    if metric == "ordinal" and not found.ordered:
        raise DataError("metric='ordinal': the categories have no order; name them in their order: categories=[...]")
    paired = np.bincount(found.item) >= 2
    found = found if paired.all() else found.of(paired, SINGLE)
    need_variety(found, score, "alpha is not defined")
    measure = _measure(found, metric)
    (observed,), (expected,) = measure(np.ones((1, len(found.items))))
    versions = _in_draws(measure, len(found.items), expected, draws, seed)
    said = [f"Krippendorff's alpha, {metric}: {METRICS[metric]}; interval from {len(versions)} draws of items"]
    if len(versions) < draws:
        said.append(f"in {draws - len(versions)} more draws every rating was the same")
    if rng is None:
        said.append("without rng= the interval differs a little from call to call")
    return Agreement(
        call,
        "alpha",
        float(1 - observed / expected),
        float(versions.std(ddof=1)),
        np.nan,
        versions,
        {"disagreement": float(observed), "disagreement_expected": float(expected)},
        found.categories,
        level,
        found.sample,
        tuple(said),
    )


Measure = Callable[[Floats], tuple[Floats, Floats]]


def _measure(found: RatingDesign, metric: str) -> Measure:
    """Return what gives observed and expected disagreement of versions in which items count as often as weights say."""
    if metric == "interval":
        return partial(of_scores, found.item, found.worth[found.category])
    return partial(of_ranks if metric == "ordinal" else of_categories, found.counts())


def _in_draws(measure: Measure, n: int, whole: float, draws: int, seed: int) -> Floats:
    """Return alpha in draws of n items with replacement; draws in which every rating is the same have none.

    `whole` is the expected disagreement of all items, beside which rounding is told from variety.
    """
    made = []
    for block, start in enumerate(range(0, draws, BLOCK)):
        rng = _parallel.generators(seed, block)
        weights = rng.multinomial(n, np.full(n, 1 / n), size=min(BLOCK, draws - start)).astype(float)
        observed, expected = measure(weights)
        varied = expected > SAME * whole
        made.append(1 - observed[varied] / expected[varied])
    return np.concatenate(made)


def gwet_ac1(
    frame: pd.DataFrame,
    *,
    item: Hashable,
    rater: Hashable | None,
    score: Hashable,
    categories: Sequence[Any] | None = None,
    level: float = 0.95,
    missing: str = "drop",
) -> Agreement:
    """How far do raters agree beyond chance, where nearly all items belong to one category?

    Gwet's AC1 counts as chance only agreement on items that are hard to rate, so it does not collapse, as kappa does,
    where one category is rare.

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per item and rater; ratings that were not given may be left out or missing.
    item, rater, score : str
        Columns: what was rated, who rated it, and the category.
    categories : list, optional
        All categories that a rater could give; by default those that occur. Their number enters the coefficient.
    level : float
        Level of the interval, between 0 and 1.
    missing : {"drop", "raise"}
        Rows with a missing value are dropped and counted, or an error.

    Returns
    -------
    Agreement

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question: one agreed value per item, a single category.

    Notes
    -----
    Expected agreement is sum p (1 - p) / (q - 1) over the q categories, p the mean share of an item's ratings. An item
    with one rating helps to tell p, not the agreement. The standard error is over items, raters taken as they are; the
    interval is t on items - 1 df, cut at 1. As in Gwet 2014, an item with one rating counts in the standard error as
    one without agreement: with many of them it is too large.

    References
    ----------
    Gwet 2008, DOI 10.1348/000711006X126600; Gwet 2014, Handbook of Inter-Rater Reliability, 4th ed.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.ratings.alpha import gwet_ac1
    >>> observers = {"A": "123321412...", "B": "1233224125.3", "C": ".3332342251.", "D": "12332441251."}
    >>> wide = pd.DataFrame({name: list(given) for name, given in observers.items()}).rename_axis("unit").reset_index()
    >>> long = wide.melt(id_vars="unit", var_name="observer", value_name="value")
    >>> long = long[long["value"] != "."]
    >>> gwet_ac1(long, item="unit", rater="observer", score="value").tidy().round(3)
      quantity  estimate  std_error  conf_low  conf_high
    0      AC1     0.775      0.143     0.461        1.0
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    faults = Faults()
    faults.ask(_check.level, level)
    found = ratings(frame, item=item, rater=rater, score=score, missing=missing, faults=faults, categories=categories)
    if len(found.categories) == 1:
        need_variety(found, score, "name all that could be given: categories=[...]")
    own = corrected(found.counts(), "ac1")
    parts = {"agreement": own.agreement, "agreement_expected": own.expected}
    said = [f"Gwet's AC1 with {len(found.categories)} categories; standard error over items, raters as they are"]
    if alone := int((np.bincount(found.item) == 1).sum()):
        said.append(f"{alone} items have one rating, which tells how often categories are used, and nothing else")
    df = len(found.items) - 1.0
    return Agreement(
        call,
        "AC1",
        own.estimate,
        own.std_error,
        df,
        np.zeros(0),
        parts,
        found.categories,
        level,
        found.sample,
        tuple(said),
    )
