"""Intraclass correlations: how much of the variance of ratings is between the items, not the raters or chance."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from implstats import _check
from implstats._check import Faults
from implstats._core.agreement import FORMS, MeanSquares, intraclass, one_way, two_way
from implstats.design.ratings import RatingDesign, ratings
from implstats.errors import DataError
from implstats.results import Result, Sample

__all__ = ["ICC", "icc"]

MEANING = {
    "1": "one rating, whoever gave it (one-way)",
    "k": "the mean of an item's ratings, whoever gave them (one-way)",
    "A,1": "one rater's score, level included (two-way, absolute agreement)",
    "A,k": "the mean over the raters, level included (two-way, absolute agreement)",
    "C,1": "one rater's score, raters' levels left out (two-way, consistency)",
    "C,k": "the mean over the raters, raters' levels left out (two-way, consistency)",
}


@dataclass(frozen=True, eq=False, repr=False)
class ICC(Result):
    """An intraclass correlation with its F interval.

    Attributes
    ----------
    form : {"1", "k", "A,1", "A,k", "C,1", "C,k"}
    squares : MeanSquares
        Items, raters and error of the analysis of variance; of the forms "1" and "k", items and within.
    level : float
        Level of the printed interval.
    sample : Sample
    notes : tuple of str
    """

    form: str
    squares: MeanSquares
    level: float
    sample: Sample
    notes: tuple[str, ...]

    @property
    def estimate(self) -> float:
        """The coefficient."""
        return intraclass(self.form, self.squares, self.level).estimate

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return one row: the coefficient, the F test of no correlation, and the interval."""
        return self._table([self.form], level)

    def forms(self, *, level: float | None = None) -> pd.DataFrame:
        """Return every form that the same mean squares give, one row each."""
        crossed = FORMS[self.form][0]
        return self._table([form for form, kind in FORMS.items() if kind[0] == crossed], level)

    def _table(self, forms: list[str], level: float | None) -> pd.DataFrame:
        asked = self.level if level is None else _check.level(level)
        rows = []
        for form in forms:
            found = intraclass(form, self.squares, asked)
            test = {"statistic": found.statistic, "df_num": found.df_num, "df": found.df, "p_value": found.p_value}
            rows.append({"form": form, "estimate": found.estimate, **test, "conf_low": found.low})
            rows[-1]["conf_high"] = found.high
        return pd.DataFrame(rows)

    def mean_squares(self) -> pd.DataFrame:
        """Return the analysis of variance: one row a source, its degrees of freedom and mean square."""
        return _sources(self.squares)

    def glance(self) -> pd.DataFrame:
        """Return one row: the ratings that it rests on."""
        counts = {f"{unit}s": count for unit, count in self.sample.groups.items()}
        return pd.DataFrame([{"rows": self.sample.rows, **counts}])

    def header(self) -> list[str]:
        """Return which form, of what, and what a reader must know."""
        head = f"Intraclass correlation ICC({self.form}) of {self.call['score']} ({100 * self.level:.10g}% F interval)"
        return [head, MEANING[self.form], *self.notes, *self.sample.in_words()]

    def _tables(self) -> dict[str, pd.DataFrame]:
        return super()._tables() | {"mean_squares": self.mean_squares()}


def icc(
    frame: pd.DataFrame,
    *,
    item: Hashable,
    rater: Hashable | None,
    score: Hashable,
    form: str = "A,1",
    level: float = 0.95,
    missing: str = "drop",
) -> ICC:
    """How much of the variance of ratings is between the items that are rated, not between raters or by chance?

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per item and rater.
    item, rater, score : str
        Columns: what was rated (an item, a case, a team), who rated it, and the score, a number.
    form : {"A,1", "A,k", "C,1", "C,k", "1", "k"}
        What must agree. "A": the same raters rate every item, and one who is stricter disagrees (absolute agreement);
        "C": a stricter rater may agree (consistency); neither: items may have raters of their own, as members of teams
        do. "1": a single rating; "k": the mean of the ratings that an item has.
    level : float
        Level of the interval, between 0 and 1.
    missing : {"drop", "raise"}
        Rows with a missing value are dropped and counted, or an error. The forms "A" and "C" also leave out every item
        that some rater did not rate.

    Returns
    -------
    ICC
        `forms()` gives the other forms of the same layout.

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question: one agreed value per item, one item, no variance.

    Notes
    -----
    McGraw and Wong 1996, from the mean squares of items, raters and error; the same numbers serve raters drawn from
    many (their cases 1 and 2) and raters who are the only ones of interest (case 3). Intervals assume normal scores.
    An estimate below 0 is left as it is: ratings of one item then differ more than items do. Where items have
    different numbers of ratings (forms "1" and "k"), k is Searle's k0 and the interval is approximate.

    References
    ----------
    McGraw & Wong 1996, DOI 10.1037/1082-989X.1.1.30; Shrout & Fleiss 1979, DOI 10.1037/0033-2909.86.2.420.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.ratings.icc import icc
    >>> scores = {"a": [9, 6, 8, 7, 10, 6], "b": [2, 1, 4, 1, 5, 2], "c": [5, 3, 6, 2, 6, 4], "d": [8, 2, 8, 6, 9, 7]}
    >>> wide = pd.DataFrame(scores).rename_axis("case").reset_index()
    >>> long = wide.melt(id_vars="case", var_name="expert", value_name="score")  # Shrout and Fleiss' six targets
    >>> result = icc(long, item="case", rater="expert", score="score", form="A,1")
    >>> result.forms()[["form", "estimate", "conf_low", "conf_high"]].round(3)
      form  estimate  conf_low  conf_high
    0  A,1     0.290     0.019      0.761
    1  A,k     0.620     0.071      0.927
    2  C,1     0.715     0.342      0.946
    3  C,k     0.909     0.676      0.986
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    faults = Faults()
    faults.ask(_check.one_of, "form", form, list(FORMS))
    faults.ask(_check.level, level)
    found = ratings(frame, item=item, rater=rater, score=score, missing=missing, faults=faults, numbers=True)
    if len(found.categories) == 1:
        only = _check.show(found.categories[0])
        raise DataError(f"score={_check.show(score)}: every score is {only}, so there is no variance to share out")
    if FORMS[form][0]:
        found = _complete(found, rater, missing)
        squares = two_way(found.worth[found.table()])
    else:
        squares = one_way(found.item, found.worth[found.category])
    estimate = intraclass(form, squares, level).estimate
    if np.isnan(estimate):
        sources = _sources(squares)
        told = ", ".join(f"{s} {m:.4g}" for s, m in zip(sources["source"], sources["mean_square"], strict=True))
        why = "the variance that it is a share of is not positive"
        raise DataError(f"score={_check.show(score)}: ICC({form}) is not defined: {why} (mean squares: {told})")
    return ICC(call, form, squares, level, found.sample, tuple(_notes(estimate, squares, found)))


def _complete(found: RatingDesign, rater: Hashable, missing: str) -> RatingDesign:
    """Return the items that every rater has rated."""
    full = np.asarray((found.table() >= 0).all(axis=1))
    if full.all():
        return found
    remedy = "form='1' takes items with raters of their own, krippendorff_alpha takes what was rated"
    if missing == "raise":
        raise DataError(f"missing='raise': some rater did not rate {found.names(~full)}; {remedy}")
    if full.sum() < 2:
        raise DataError(f"rater={_check.show(rater)}: fewer than two items were rated by every rater; {remedy}")
    return found.of(full, "of items that some rater did not rate")


def _sources(s: MeanSquares) -> pd.DataFrame:
    rows = [("items", s.n - 1, s.items), ("raters", s.k - 1, s.raters), ("error", s.df_error, s.error)]
    if np.isnan(s.raters):
        rows = [rows[0], ("within items", s.df_error, s.error)]
    return pd.DataFrame(rows, columns=["source", "df", "mean_square"])


def _notes(estimate: float, squares: MeanSquares, found: RatingDesign) -> list[str]:
    lines = []
    count = np.bincount(found.item)
    if count.min() < count.max():
        many = f"items have {count.min()} to {count.max()} ratings (k0 = {squares.k:.4g})"
        lines.append(f"{many}: the interval is approximate")
    if estimate < 0:
        lines.append("below 0: ratings of one item differ more than items do")
    return lines
