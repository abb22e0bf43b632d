"""What if patients who left fared worse than those like them who stayed: how much worse until the conclusion turns."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats._check import Faults
from implstats._core.imputation import Pooled, completed, pool, refit_completed
from implstats._core.marginal import ByVisit
from implstats.errors import DataError
from implstats.growth import MMRMResult
from implstats.growth.refits import curvature
from implstats.results import Result, frozen, lock
from implstats.sensitivity.asked import numbers
from implstats.sensitivity.compared import apart, combination, retained

__all__ = ["TippingPoint", "tipping_point"]

Floats = NDArray[np.float64]

FEWEST = 5
# Deltas that are tried unless others are asked for, in SDs.
SPAN, GRID = 2.0, 41
# A delta of less SDs is zero but for rounding.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False, repr=False)
class TippingPoint(Result):
    """The cohorts' difference and the improvement retained, under worse and worse outcomes after drop-out.

    Attributes
    ----------
    deltas : numpy.ndarray
        How much worse each visit after leaving is than the model says, in units of the outcome.
    sd : float
        Standard deviation at the baseline, that deltas are divided by for `delta_sd`.
    pooled : tuple of Pooled
        Every cohort's improvement at each delta, over the imputations.
    cohorts : tuple
        The cohorts, the reference first.
    worse : tuple
        The cohorts whose imputed visits are made worse.
    time : float
        The time of the comparison.
    shifted, missing : mapping of cohort to int
        Visits made worse, and all that were imputed.
    outcome : str
    imputations : int
    level : float
    """

    deltas: Floats
    sd: float
    pooled: tuple[Pooled, ...]
    cohorts: tuple[Any, ...]
    worse: tuple[Any, ...]
    time: float
    shifted: Mapping[Any, int]
    missing: Mapping[Any, int]
    outcome: str
    imputations: int
    level: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "deltas", frozen(self.deltas, float))
        lock(self.pooled)

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a delta and quantity: estimate, interval, and for the difference a test."""
        level = self.level if level is None else _check.level(level)
        rows = []
        for delta, found in zip(self.deltas, self.pooled, strict=True):
            for k, name in enumerate(self.cohorts[1:], start=1):
                label = {"delta": float(delta), "delta_sd": float(delta) / self.sd, "cohort": name}
                label |= {"reference": self.cohorts[0], "time": self.time}
                both = found.estimate, found.covariance, found.df, level
                minus = np.eye(len(self.cohorts))[k] - np.eye(len(self.cohorts))[0]
                rows.append(label | {"quantity": "difference"} | combination(minus, *both))
                rows.append(label | {"quantity": "retained"} | retained(k, *both))
        return pd.DataFrame(rows)

    def turns(self, *, level: float | None = None) -> pd.DataFrame:
        """Return where conclusions turn: one row a quantity and end, the delta at which its interval meets the null.

        Between two deltas ends are taken as straight. A quantity without a row keeps its conclusion over all deltas. A
        set holds a share of 1 just where the interval of the difference, with the set's degrees of freedom, holds 0;
        that is asked, since a set may have no ends. Where the reference did not improve, nothing is said of the share.
        """
        level = self.level if level is None else _check.level(level)
        rows = []
        for k, cohort in enumerate(self.cohorts[1:], start=1):
            for quantity in ("difference", "retained"):
                ends = np.array(
                    [apart(k, quantity, found.estimate, found.covariance, found.df, level) for found in self.pooled]
                )
                for end, away, sign in zip(("conf_low", "conf_high"), ends.T, (1, -1), strict=True):
                    excludes = sign * away > 0
                    known = ~np.isnan(away[:-1] + away[1:])
                    for i in np.flatnonzero(known & (excludes[:-1] != excludes[1:])):
                        share = away[i] / (away[i] - away[i + 1])
                        delta = float(self.deltas[i] + share * (self.deltas[i + 1] - self.deltas[i]))
                        row = {"quantity": quantity, "cohort": cohort, "end": end}
                        rows.append(row | {"delta": delta, "delta_sd": delta / self.sd})
        return pd.DataFrame(rows, columns=["quantity", "cohort", "end", "delta", "delta_sd"])

    def glance(self) -> pd.DataFrame:
        """Return one row: imputations, visits imputed and made worse, the SD, and how often a conclusion turns."""
        row = {"imputations": self.imputations, "imputed": sum(self.missing.values())}
        row |= {"shifted": sum(self.shifted.values())}
        return pd.DataFrame([row | {"sd": self.sd, "turns": len(self.turns())}])

    def header(self) -> list[str]:
        """Return what was assumed, and where the conclusion turns."""
        lost = ", ".join(f"{c} {self.shifted[c]} of {self.missing[c]}" for c in self.cohorts)
        lines = [
            f"Tipping point of {self.outcome} at {_check.show(self.time)}: visits after drop-out imputed under the "
            f"MMRM, then made worse by delta in {', '.join(map(str, self.worse))}",
            f"{self.imputations} imputations; visits made worse, of those imputed: {lost}",
            f"delta_sd is delta over the SD at the baseline, {self.sd:.4g}; a negative delta makes them better",
        ]
        return lines + self._conclusions()

    def _conclusions(self) -> list[str]:
        turns, said = self.turns(), []
        nearest = self.tidy()
        zero = nearest[nearest["delta"] == self.deltas[np.abs(self.deltas).argmin()]]
        for row in zero[zero["quantity"] == "difference"].to_dict("records"):
            mine = turns[(turns["quantity"] == "difference") & (turns["cohort"] == row["cohort"])]
            excluded = row["conf_low"] > 0 or row["conf_high"] < 0
            start = "differ" if excluded else "are not told apart"
            if abs(row["delta_sd"]) > ROUNDING:
                start += f" at a delta of {row['delta_sd']:.2f} SD"
            low, high = self.deltas[0] / self.sd, self.deltas[-1] / self.sd
            if mine.empty:
                end = f"at every delta from {low:.2f} to {high:.2f} SD"
            else:
                end = "; that turns at a delta of " + " and ".join(f"{d:.2f} SD" for d in mine["delta_sd"])
            space = "" if end.startswith(";") else " "
            said.append(f"{row['cohort']} and {row['reference']} {start} ({100 * self.level:g}% interval){space}{end}")
        return said

    def _shown(self) -> pd.DataFrame:
        table = self.tidy()
        shown = self.deltas[:: max(1, (len(self.deltas) - 1) // 8)]
        columns = ["delta", "delta_sd", "cohort", "quantity", "estimate", "std_error", "p_value"]
        return table.loc[table["delta"].isin(shown), [*columns, "conf_low", "conf_high", "set"]]

    def _tables(self) -> dict[str, pd.DataFrame]:
        return {"tidy": self.tidy(), "turns": self.turns(), "glance": self.glance()}


def tipping_point(
    result: MMRMResult,
    *,
    at: float | None = None,
    deltas: Sequence[float] | None = None,
    worse: Hashable | Sequence[Hashable] | None = None,
    imputations: int = 50,
    level: float = 0.95,
    rng: int | np.random.Generator | None = None,
) -> TippingPoint:
    """How much worse must patients have fared after they left, until the conclusion about the cohorts turns?

    Visits that were not seen are drawn from the fitted MMRM given those that were (missing at random). Those after a
    patient's last visit are then made worse by delta, the completed studies are analysed alike, and pooled by Rubin's
    rules; the same draws serve every delta.

    Parameters
    ----------
    result : MMRMResult
        What `fit_mmrm` returned, with `better=` given.
    at : float, optional
        The visit to compare at; by default the last.
    deltas : list of float, optional
        How much worse each visit after leaving is, in units of the outcome; negative is better. By default 41 values
        from 2 SD better to 2 SD worse.
    worse : cohort or list of cohorts, optional
        In which cohorts; by default in all. In one only: patients who left left for different reasons.
    imputations : int
    level : float
        Level of the intervals.
    rng : None, int or numpy.random.Generator
        The same seed gives the same draws.

    Returns
    -------
    TippingPoint
        `turns()` says where conclusions turn; `implstats.plot.tipping` draws it.

    Raises
    ------
    DataError
        Arguments or a model that cannot answer the question: nothing missing, covariates that change within a patient,
        weighted patients.

    Notes
    -----
    Visits missed in between are imputed without delta. Variances and fixed effects are drawn anew for every imputation
    from their large-sample distribution; degrees of freedom are Barnard and Rubin's, complete data having as many as
    patients less cohorts. No data can say which delta is true: it is to be judged by those who know why patients left.

    References
    ----------
    Cro et al. 2020, DOI 10.1002/sim.8569; Rubin 1987, DOI 10.1002/9780470316696; Barnard & Rubin 1999, DOI
    10.1093/biomet/86.4.948; Carpenter & Kenward 2013, DOI 10.1002/9781119942283.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> mmrm = ist.fit_mmrm(visits, outcome="bsi", visit="month", patient="patient", cohort="cohort",
    ...                     reference="before", better="lower")
    >>> tipped = ist.tipping_point(mmrm, deltas=[0, 0.25, 0.5], imputations=10, rng=1)
    >>> tipped.tidy().query("quantity == 'difference'")["delta"].tolist()
    [0.0, 0.25, 0.5]
    """
    if not isinstance(result, MMRMResult):
        raise DataError(f"tipping_point: needs an MMRM, not a {type(result).__name__}; give what fit_mmrm returned")
    result.refuse_weights("tipping_point")
    faults = Faults()
    design = result.design
    times = list(design.times)
    when = times[-1] if at is None else faults.ask(_check.number, "at", at)
    if when is not None and (when not in times or when == design.baseline):
        faults.add("at", at, f"no visit after the baseline; there are {', '.join(map(_check.show, times))}")
    whom = _cohorts(worse, design.cohorts, faults)
    given = None if deltas is None else faults.ask(numbers, deltas, "deltas")
    faults.ask(_check.whole, "imputations", imputations, least=FEWEST)
    faults.ask(_check.level, level)
    source = faults.ask(_check.generator, rng)
    faults.settle()
    sign, (sd, _) = result._sign(), result._sd("baseline", 0)
    grid = SPAN * sd * np.linspace(-1, 1, GRID) if given is None else np.array(given)
    y, X, cohort = _wide(result)
    missing = np.isnan(y)
    if not missing.any():
        raise DataError("tipping_point: no visit is missing, so nothing hangs on those who left")
    last = missing.shape[1] - 1 - np.argmax(~missing[:, ::-1], axis=1)
    after = missing & (np.arange(missing.shape[1]) > last[:, None])
    shifted = after & np.isin(cohort, [design.cohorts.index(c) for c in whom])[:, None]
    if not shifted.any():
        said = " and ".join(_check.show(c) for c in whom)
        raise DataError(f"worse={_check.show(worse)}: nobody of {said} left before the last visit; name another cohort")
    group = cohort if result.by_cohort else np.zeros(len(cohort), dtype=np.intp)
    bent = curvature(result.patterns, result.structure(), result.fit.u, result.fit.reml)
    full = completed(result.patterns, result.structure(), result.fit, bent, y, X, group, imputations, source)
    tipped = full - sign * grid[:, None, None, None] * shifted
    complete = _complete(result)
    contrasts = result.improvement_rows([float(when)])
    estimate, variance, good = refit_completed(
        tipped.reshape(-1, *y.shape),
        X,
        complete,
        group,
        result.fit.u,
        bent,
        np.vstack(contrasts),
        reml=result.fit.reml,
    )
    good = good.reshape(len(grid), imputations)
    if (good.sum(axis=1) < FEWEST).any():
        raise DataError("tipping_point: the completed studies could not be fitted; use a simpler covariance=")
    freedom = float(len(cohort) - len(design.cohorts))
    pooled = tuple(
        pool(e[keep], v[keep], freedom)
        for e, v, keep in zip(
            estimate.reshape(len(grid), imputations, -1),
            variance.reshape(len(grid), imputations, *variance.shape[1:]),
            good,
            strict=True,
        )
    )
    call = {"at": when, "deltas": grid.tolist(), "worse": list(whom), "imputations": imputations, "level": level}
    return TippingPoint(
        call | {"rng": rng if isinstance(rng, int) else None},
        grid,
        sd,
        pooled,
        design.cohorts,
        whom,
        float(when),
        {c: int(shifted[cohort == k].sum()) for k, c in enumerate(design.cohorts)},
        {c: int(missing[cohort == k].sum()) for k, c in enumerate(design.cohorts)},
        result.outcome,
        imputations,
        level,
    )


def _cohorts(worse: Any, cohorts: tuple[Any, ...], faults: Faults) -> tuple[Any, ...]:
    if worse is None:
        return cohorts
    asked = list(worse) if isinstance(worse, list | tuple) else [worse]
    for name in asked:
        if name not in cohorts:
            faults.add("worse", worse, f"no such cohort as {_check.show(name)}{_check.nearest(name, cohorts)}")
    return tuple(c for c in cohorts if c in asked)


def _wide(result: MMRMResult) -> tuple[Floats, Floats, NDArray[np.intp]]:
    """Return outcomes (N, m) with nan where not seen, columns (N, m, p) of every visit, and cohorts (N,)."""
    design = result.design
    times = np.array(design.times)
    N, m = int(design.patient_codes.max()) + 1, len(times)
    place = np.searchsorted(times, design.t)
    y, cohort = np.full((N, m), np.nan), np.zeros(N, dtype=np.intp)
    y[design.patient_codes, place] = design.y
    cohort[design.patient_codes] = design.cohort_codes
    a = len(design.average)
    start = 1 + design.shape.columns(times[:1]).shape[1] + len(design.cohorts) - 1
    given = design.X[:, start : start + a]
    covariates = np.zeros((N, a))
    covariates[design.patient_codes] = given
    changed = np.flatnonzero((covariates[design.patient_codes] != given).any(axis=1))
    if len(changed):
        raise DataError(
            f"tipping_point: a covariate changes within a patient ({_check.rows(design.labels[changed])}), so it is "
            "not known at visits that were not seen; fit without it"
        )
    X = design.rows(np.repeat(cohort, m), np.tile(times, N), np.repeat(covariates, m, axis=0))
    return y, X.reshape(N, m, -1), cohort


def _complete(result: MMRMResult) -> ByVisit:
    """Return the covariance of patients who were seen at every visit, one pattern a group."""
    here = result.structure()
    groups = np.arange(here.groups)
    return ByVisit(here.structure, here.groups, np.ones((here.groups, len(result.design.times)), dtype=bool), groups)
