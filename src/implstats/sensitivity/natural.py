"""Natural change: what is retained of a treatment's effect, if some improvement would have come without treatment."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from implstats import _check
from implstats._check import Faults
from implstats.growth import CohortModel
from implstats.growth.fixed import DF
from implstats.results import Result
from implstats.sensitivity.asked import asked, numbers
from implstats.study import CohortComparison

__all__ = ["NaturalChange", "natural_change"]

UNITS = ("sd", "outcome")


@dataclass(frozen=True, eq=False, repr=False)
class NaturalChange(Result):
    """Improvement retained after an assumed untreated change is taken from both cohorts, over a range of it.

    Attributes
    ----------
    fits : mapping of outcome to MMRMResult or GrowthResult
    times : tuple of float
        When changes are compared, in the unit of the time column.
    over : tuple of float
        The natural changes that are assumed.
    sizes : mapping of outcome to float
        How many units of the outcome a natural change of 1 is: an SD, or 1.
    unit : {"sd", "outcome"}
    sd_source : str
        Whose SD.
    shares : tuple of float
        Shares retained at which the conclusion turns.
    source : str
        Where the assumption is from.
    df : str
    level : float
        The level of the printed sets.
    """

    fits: Mapping[str, CohortModel]
    times: tuple[float, ...]
    over: tuple[float, ...]
    sizes: Mapping[str, float]
    unit: str
    sd_source: str
    shares: tuple[float, ...]
    source: str
    df: str
    level: float

    @property
    def time(self) -> str:
        """The time column."""
        return str(next(iter(self.fits.values())).time)

    @property
    def cohorts(self) -> tuple[Any, ...]:
        """The cohorts, the reference first."""
        return next(iter(self.fits.values())).cohorts

    def tidy(self, *, level: float | None = None, over: Any = None) -> pd.DataFrame:  # type: ignore[override]
        """Return one row an outcome, time, cohort and natural change: what is left of both changes, and their ratio.

        `natural`, `change` and `change_reference` are in the unit of the assumption; `set` says whether the interval is
        bounded, and "none" where the reference improved no more than untreated patients would have.

        Parameters
        ----------
        level : float, optional
        over : list of numbers, optional
            Other natural changes than those asked for.
        """
        level = self.level if level is None else _check.level(level)
        values = np.array(self.over if over is None else numbers(over, "over"))
        tables = []
        for name, fit in self.fits.items():
            size = self.sizes[name]
            found = fit.retained_after(list(values * size), self.times, level=level, df=self.df)
            table = found.tidy()
            table.insert(0, "outcome", name)
            table["natural"] /= size
            table["change"], table["change_reference"] = found.change / size, found.change_reference / size
            tables.append(table)
        return pd.concat(tables, ignore_index=True)

    def turning_points(self, *, level: float | None = None) -> pd.DataFrame:
        """Return at which natural change each conclusion turns, in the unit of the assumption.

        `turn` says which: "share": up to conf_low the share lies above that of `retained`, from conf_high on below it,
        in between the data exclude neither; estimate is where the point estimate passes it. (For shares above 1, the
        other way round.) "reference": from conf_low on no bounded share can be named, at estimate the reference
        improved just as much as untreated patients would have.
        """
        level = self.level if level is None else _check.level(level)
        rows = []
        for name, fit, cohort, time, own, reference in self._contrasts():
            head = {"outcome": name, "time": time, "cohort": cohort, "reference": fit.reference}
            for share in (*self.shares, math.nan):
                ends = self._when(fit, own, reference, share, level)
                ends = {k: v / self.sizes[name] for k, v in ends.items()}
                rows.append(head | {"turn": "reference" if math.isnan(share) else "share", "retained": share} | ends)
        return pd.DataFrame(rows)

    def _contrasts(self) -> Iterator[tuple[str, CohortModel, Any, float, Any, Any]]:
        for name, fit in self.fits.items():
            improvement = fit.improvement_rows(self.times)
            for cohort, own in zip(fit.cohorts[1:], improvement[1:], strict=True):
                for k, time in enumerate(self.times):
                    yield name, fit, cohort, time, own[k], improvement[0][k]

    def _when(self, fit: CohortModel, own: Any, reference: Any, share: float, level: float) -> dict[str, float]:
        """Return the natural change at which the cohorts' changes are in a ratio, with its interval.

        a - c = share (b - c) where c = (a - share b) / (1 - share): linear in the changes. Without a share, c = b.
        """
        row = reference if math.isnan(share) else (own - share * reference) / (1 - share)
        weights = dict(zip(fit.design.names, row.tolist(), strict=True))
        found = fit.contrast(weights, level=level, df=self.df).tidy()
        return {k: float(found[k].iloc[0]) for k in ("estimate", "conf_low", "conf_high")}

    def glance(self) -> pd.DataFrame:
        """Return one row: how many values, and the range of natural changes."""
        low, high = min(self.over), max(self.over)
        return pd.DataFrame({"n": [len(self.over)], "natural_low": [low], "natural_high": [high]})

    def unit_of(self, outcome: str) -> str:
        """Return the unit of a natural change, in words."""
        if self.unit == "outcome":
            return f"units of {outcome}"
        return f"SDs of {outcome} ({self.sd_source}: {self.sizes[outcome]:.4g})"

    def header(self) -> list[str]:
        """Return what is assumed, from where, what follows for the share retained, and where conclusions turn."""
        source = f"its source: {self.source}" if self.source else "no source is named: say source="
        lines = [
            "Improvement retained if both cohorts would have improved by a natural change c without treatment: (change "
            f"of the cohort - c) / (change of the reference - c) ({100 * self.level:.10g}% Fieller sets)",
            f"the natural change is an assumption, {source}; there is no untreated group that could show it",
            "whether a cohort kept less than the reference does not depend on it, since it drops out of their "
            "difference; how large a share it kept does",
        ]
        lines += [f"{name}: c is in {self.unit_of(name)}" for name in self.fits]
        return [*lines, *self.in_words()]

    def in_words(self) -> list[str]:
        """Return one sentence an outcome, time and cohort: the share at both ends of the range, and where it turns."""
        low, high = min(self.over), max(self.over)
        ends, turns = self.tidy(over=[low, high]), self.turning_points()
        keys = ["outcome", "time", "cohort"]
        said = []
        for key, part in ends.groupby(keys, sort=False):
            values = {row["natural"]: row for row in part.to_dict("records")}
            shares = "; ".join(f"{_of(values[c])} at c = {c:.4g}" for c in dict.fromkeys((low, high)))
            own = turns[(turns[keys] == list(key)).all(axis=1)].to_dict("records")
            where = f"{key[0]} at {self.time} {_check.show(key[1])}"
            said.append(f"{where}: {key[2]} kept {shares}. {' '.join(map(_turn_in_words, own))}")
        return said


def _of(row: Mapping[Any, Any]) -> str:
    """Return a share with its set in words."""
    if row["set"] == "none":
        return "nothing that can be called a share (no improvement of the reference is left)"
    share = f"{100 * row['estimate']:.0f} %"
    if row["set"] == "bounded":
        return f"{share} ({100 * row['conf_low']:.0f} to {100 * row['conf_high']:.0f} %)"
    return f"no share that the data can name ({share} is the estimate)"


def _turn_in_words(row: Mapping[Any, Any]) -> str:
    low, high = (f"{row[k]:.2f}" for k in ("conf_low", "conf_high"))
    if row["turn"] == "reference":
        return f"From c = {low} on no bounded share can be named."
    share = "nothing" if row["retained"] == 0 else f"{100 * row['retained']:.4g} %"
    if row["retained"] == 0:
        return f"That nothing was kept is not excluded from c = {low} on; at {row['estimate']:.2f} it is the estimate."
    above, below = ("more", "less") if row["retained"] < 1 else ("less", "more")
    return f"Below c = {low} it kept {above} than {share}, beyond {high} {below}; between, neither is excluded."


def _shares(value: Any, faults: Faults) -> list[float]:
    shares = faults.ask(numbers, value, "shares") or []
    if 1.0 in shares:
        remedy = "a natural change takes the same from both, so it never makes them equal; ask for 0.5, say"
        faults.add("shares", value, "1 is no turning point", remedy)
    return shares


def natural_change(
    result: CohortComparison | CohortModel,
    *,
    over: Any,
    source: str = "",
    at: Any = None,
    unit: str = "sd",
    sd: str | float | None = None,
    shares: Any = 0,
    df: str | None = None,
    level: float = 0.95,
) -> NaturalChange:
    """How much of the treatment's effect was retained, if part of the improvement would have come without treatment?

    No group went untreated, so the improvement retained counts natural change (remission, regression to the mean) as an
    effect, in both cohorts alike. That makes the share retained look too large: where .3 SD come by themselves, true
    effects of .2 and .6 SD, a third, are seen as improvements of .5 and .9, which is .56.

    Parameters
    ----------
    result : CohortComparison, GrowthResult or MMRMResult
        What `compare_cohorts`, `fit_growth` or `fit_mmrm` returned, with the direction that is better.
    over : list of numbers
        Natural changes to assume, positive is better, from the baseline until each time; negative where untreated
        patients get worse. A picture draws the whole range between the smallest and the largest.
    source : str
        Where the assumption is from: a waiting-list trial, a cohort study. It stands in every header.
    at : time or list of times, optional
        By default the times of the study, or every visit after the baseline. An assumption that holds at 18 months need
        not hold at 36.
    unit : {"sd", "outcome"}
        What natural changes are counted in: the SD that effect sizes are divided by, or units of the outcome.
    sd : {"baseline", "reference", "model"} or float, optional
        Of a growth result: that SD. A study has its own.
    shares : number or list of numbers
        Shares retained at which a conclusion turns, for `turning_points()`: 0, nothing was retained; 0.5, half.
    df : {"satterthwaite", "kenward-roger", "normal"}, optional
        By default the study's, or "satterthwaite" ("normal" with patient_weights).
    level : float
        Level of the sets.

    Returns
    -------
    NaturalChange

    Raises
    ------
    DataError
        If the result holds no improvements of cohorts, or an argument cannot be.

    Notes
    -----
    theta(c) = (a - c) / (b - c), a and b the improvements of the cohort and of the reference; c is a constant, so their
    covariance stays, and the set is Fieller's. theta(c) = 1 only where a = b: whether less was retained does not depend
    on c, and its test is that of the difference in change. The SD is taken as known. Both cohorts are given the same c;
    cohorts from other years may have had other natural courses, which no data here can tell.

    References
    ----------
    Fieller 1954, DOI 10.1111/j.2517-6161.1954.tb00159.x.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> study = ist.compare_cohorts(visits, outcomes={"bsi": "lower"}, time="month", patient="patient",
    ...                             cohort="cohort", reference="before", at=36)
    >>> found = ist.natural_change(study, over=[0, 0.2, 0.4], source="an assumption, for illustration")
    >>> found.tidy()[["natural", "change", "change_reference", "estimate", "set"]].round(2)
       natural  change  change_reference  estimate      set
    0      0.0    0.46              1.09      0.42  bounded
    1      0.2    0.26              0.89      0.29  bounded
    2      0.4    0.06              0.69      0.08  bounded
    """
    call = {k: v for k, v in locals().items() if k != "result"}
    faults = Faults()
    given = asked("natural_change", result, sd, df, faults)
    values, turns = faults.ask(numbers, over, "over"), _shares(shares, faults)
    faults.ask(_check.one_of, "unit", unit, UNITS)
    faults.ask(_check.level, level)
    if df is not None:
        faults.ask(_check.one_of, "df", df, DF)
    if not isinstance(source, str):
        faults.add("source", source, "not a text", "say where the assumption is from")
    if unit == "sd" and given.sd == "own":
        faults.add("sd", "own", "one natural change in SDs takes one SD for both cohorts", "say unit='outcome'")
    faults.settle()
    first = next(iter(given.fits.values()))
    times = given.times if at is None else _check.at(at)
    when = tuple(sorted(set(first.changes(times, df="normal").labels["time"])))
    sizes = dict.fromkeys(given.fits, 1.0)
    if unit == "sd":
        for name, fit in given.fits.items():
            sizes[name] = float(fit.effect_sizes(when, sd=given.sd, df="normal").tidy()["sd"].iloc[0])
    words = str(given.sd) if isinstance(given.sd, str) else "given"
    return NaturalChange(
        call, given.fits, when, tuple(values), sizes, unit, words, tuple(turns), source, given.df, level
    )
