"""How far raters agree: intraclass correlations, coefficients corrected for chance, Krippendorff's alpha, r_wg."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

__all__ = [
    "FORMS",
    "Corrected",
    "Intraclass",
    "MeanSquares",
    "corrected",
    "deviations",
    "intraclass",
    "of_categories",
    "of_ranks",
    "of_scores",
    "one_way",
    "two_way",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# Form -> whether raters are told apart, whether their levels count as disagreement, and whether it is of their mean.
FORMS = {
    "1": (False, False, False),
    "k": (False, False, True),
    "A,1": (True, True, False),
    "A,k": (True, True, True),
    "C,1": (True, False, False),
    "C,k": (True, False, True),
}
# Mean squares of less than this share of the largest squared score are rounding.
ROUNDING = (64 * np.finfo(float).eps) ** 2


# Intraclass correlations ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MeanSquares:
    """The analysis of variance behind an intraclass correlation.

    Attributes
    ----------
    n, k : items, and ratings of each (where their numbers differ, the k0 of Searle 1971).
    items, raters, error : mean squares; raters is NaN where they are not told apart.
    df_error : degrees of freedom of the last; df_items are n - 1, df_raters k - 1.
    """

    n: int
    k: float
    items: float
    raters: float
    error: float
    df_error: int


@dataclass(frozen=True, slots=True)
class Intraclass:
    """One form of the coefficient.

    Attributes
    ----------
    estimate : NaN where its denominator is not positive.
    statistic : F of no correlation, on df_num and df.
    low, high : ends of the interval at the level that was asked for.
    """

    estimate: float
    statistic: float
    df_num: int
    df: int
    low: float
    high: float

    @property
    def p_value(self) -> float:
        """Return the probability of an F as large where the correlation is zero."""
        return float(special.fdtrc(self.df_num, self.df, self.statistic))


def one_way(item: Ints, score: Floats) -> MeanSquares:
    """Return mean squares between and within items, whoever rated them; codes are 0, 1, ... n - 1."""
    count = np.bincount(item).astype(float)
    centred = score - score.mean()
    mean = np.bincount(item, centred) / count
    total, n = count.sum(), len(count)
    k = (total - (count**2).sum() / total) / (n - 1)
    between = (count * (mean - centred.mean()) ** 2).sum() / (n - 1)
    within = ((centred - mean[item]) ** 2).sum() / (total - n)
    squares = _without_rounding(np.array([between, within]), score)
    return MeanSquares(n, float(k), float(squares[0]), np.nan, float(squares[1]), int(total) - n)


def two_way(table: Floats) -> MeanSquares:
    """Return mean squares of items (rows), raters (columns) and what is left, of a table without gaps."""
    n, k = table.shape
    centred = table - table.mean()
    rows, columns = centred.mean(axis=1), centred.mean(axis=0)
    rest = centred - rows[:, None] - columns
    found = [k * (rows**2).sum() / (n - 1), n * (columns**2).sum() / (k - 1), (rest**2).sum() / ((n - 1) * (k - 1))]
    items, raters, error = _without_rounding(np.array(found), table)
    return MeanSquares(n, k, float(items), float(raters), float(error), (n - 1) * (k - 1))


def _without_rounding(squares: Floats, scores: Floats) -> Floats:
    return np.where(squares < ROUNDING * np.abs(scores).max() ** 2, 0.0, squares)


def intraclass(form: str, squares: MeanSquares, level: float) -> Intraclass:
    """Return a form of McGraw & Wong 1996 with its interval.

    Both ends are the coefficient itself with the other mean squares, or that of the items, multiplied by a quantile
    of F.
    """
    s = squares
    estimate = _ratio(form, s, s.items, s.raters, s.error)
    defined = 1.0 if estimate <= 1 else np.nan
    df_items, tail = s.n - 1, (1 + level) / 2
    df_rest = _df_rest(s) if FORMS[form][1] else s.df_error
    above, below = float(special.fdtri(df_items, df_rest, tail)), float(special.fdtri(df_rest, df_items, tail))
    low = _ratio(form, s, s.items, above * s.raters, above * s.error)
    high = _ratio(form, s, below * s.items, s.raters, s.error)
    statistic = np.divide(s.items, s.error) if s.error else np.where(s.items > 0, np.inf, np.nan)
    return Intraclass(estimate, float(statistic), df_items, s.df_error, low * defined, high * defined)


def _ratio(form: str, s: MeanSquares, items: float, raters: float, error: float) -> float:
    """Return variance between items / variance of a rating (of a mean of k), from mean squares."""
    _, absolute, mean = FORMS[form]
    level = (raters - error) / s.n if absolute else 0.0
    whole = items + level if mean else items + (s.k - 1) * error + s.k * level
    return float((items - error) / whole) if whole > 0 else np.nan


def _df_rest(s: MeanSquares) -> float:
    """Return Satterthwaite's df of the mix of raters and error that absolute agreement is measured against."""
    rho = _ratio("A,1", s, s.items, s.raters, s.error)
    raters = s.k * rho / s.n * s.raters
    error = (1 + rho * (s.k - s.k / s.n - 1)) * s.error
    spread = raters**2 / (s.k - 1) + error**2 / s.df_error
    return float((raters + error) ** 2 / spread) if spread > 0 else float(s.df_error)


# Agreement beyond chance ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Corrected:
    """A coefficient (agreement - expected) / (1 - expected), with its standard error over items."""

    estimate: float
    std_error: float
    agreement: float
    expected: float


def corrected(counts: Floats, kind: str) -> Corrected:
    """Return Gwet's AC1 ("ac1") or Fleiss' kappa ("fleiss") of ratings counted by item and category.

    An item with one rating says which categories are used, not how far raters agree. The variance is that of the
    items' linearised contributions (Gwet 2008).
    """
    n, q = counts.shape
    ratings = counts.sum(axis=1)
    pairs = ratings >= 2
    shares = counts / ratings[:, None]
    agree = np.zeros(n)
    agree[pairs] = ((counts * (counts - 1)).sum(axis=1)[pairs]) / (ratings * (ratings - 1))[pairs]
    agreement = float(agree[pairs].mean())
    used = shares.mean(axis=0)
    chance = shares @ (used if kind == "fleiss" else (1 - used) / (q - 1))
    expected = float(chance.mean())
    if expected == 1:
        return Corrected(np.nan, np.nan, agreement, expected)
    estimate = (agreement - expected) / (1 - expected)
    of_item = n / pairs.sum() * (agree - expected * pairs) / (1 - expected)
    of_item = of_item - 2 * (1 - estimate) * (chance - expected) / (1 - expected)
    variance = float(((of_item - estimate) ** 2).sum()) / (n * (n - 1))
    return Corrected(estimate, float(np.sqrt(variance)), agreement, expected)


# Observed and expected disagreement; Krippendorff's alpha is 1 - their ratio ------------------------------------------
#
# In B versions of the data at once: weights (B, n) say how often each item counts. Every item has two ratings or more.


def of_categories(counts: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return how often two ratings are of different categories; counts are by item and category (n, K)."""
    ratings, used = counts.sum(axis=1), weights @ counts
    total = used.sum(axis=1)
    within = (ratings**2 - (counts**2).sum(axis=1)) / (ratings - 1)
    over = (total**2 - (used**2).sum(axis=1)) / (total - 1)
    return weights @ within / total, over / total


def of_ranks(counts: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the mean squared difference of mid-ranks, which are those among all ratings of a version."""
    ratings, used = counts.sum(axis=1), weights @ counts
    rank = np.cumsum(used, axis=1) - used / 2
    first, second = rank @ counts.T, rank**2 @ counts.T
    within = (weights * _squared(ratings, first, second)).sum(axis=1)
    total = used.sum(axis=1)
    over = _squared(total, (used * rank).sum(axis=1), (used * rank**2).sum(axis=1))
    return within / total, over / total


def of_scores(item: Ints, score: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the mean squared difference of scores; item (N,) codes, score (N,)."""
    centred = score - score.mean()
    ratings = np.bincount(item).astype(float)
    first, second = (np.bincount(item, power).astype(float) for power in (centred, centred**2))
    total = weights @ ratings
    over = _squared(total, weights @ first, weights @ second)
    return weights @ _squared(ratings, first, second) / total, over / total


def _squared(n: Floats, first: Floats, second: Floats) -> Floats:
    """Return (n times) the mean squared difference of n values, from their sum and their sum of squares."""
    return np.asarray(2 * (n * second - first**2) / (n - 1))


# What a mean and a range say of the spread --------------------------------------------------------------------------


def deviations(n: int, total: int, low: int, high: int) -> tuple[float, float] | None:
    """Return the least and the largest sum of squared deviations of n whole numbers with this sum, lowest and highest.

    None where no n numbers have all three.
    """
    if low == high:
        return (0.0, 0.0) if total == n * low else None
    rest, room = total - low - high, n - 2
    if not room * low <= rest <= room * high:
        return None
    ends, whole = low**2 + high**2, total**2 / n
    least = ends + (_even(rest, room) if room else 0)
    at_high, more = divmod(rest - room * low, high - low)
    most = ends + at_high * high**2 + (room - at_high) * low**2
    if more:
        most += (low + more) ** 2 - low**2
    return least - whole, most - whole


def _even(total: int, n: int) -> int:
    """Return the sum of squares of n whole numbers that share a total as evenly as they can."""
    each, more = divmod(total, n)
    return (n - more) * each**2 + more * (each + 1) ** 2
