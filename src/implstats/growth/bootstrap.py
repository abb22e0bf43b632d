"""The bootstrap: every answer of a growth model in draws of its patients, or of its own outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check, _parallel
from implstats._check import Faults
from implstats.errors import ConvergenceError, DataError
from implstats.growth.answers import SDS
from implstats.growth.cohorts import CohortModel
from implstats.growth.fixed import FixedEffects
from implstats.growth.mmrm import MMRMResult
from implstats.growth.models import MixedResult
from implstats.growth.refits import Draws, Refits
from implstats.growth.resampled import INTERVALS, Jackknife, Resampled
from implstats.growth.retained import Angles, RetainedImprovement
from implstats.results import Result, lock

__all__ = ["KINDS", "Bootstrap", "Versions", "bootstrap", "effect_size_draws", "patient_weights"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

KINDS = ("patients", "parametric")
BLOCK = 250
FEWEST = 20
# Above this, leaving out each patient takes longer than the draws, and BCa hardly differs from percentiles.
MOST_LEFT_OUT = 2_000


@dataclass(frozen=True)
class Versions:
    """Many fits of a model, and the spread of the outcome at the baseline in each version of the data.

    Attributes
    ----------
    draws : Draws
    squares, dfs : (B, cohorts) sum of squares around the cohort's mean at the baseline, and its df.
    """

    draws: Draws
    squares: Floats
    dfs: Floats

    def kept(self) -> Versions:
        """Return those that were fitted."""
        good = self.draws.good
        draws = Draws(*(getattr(self.draws, name)[good] for name in Draws.__slots__))
        return Versions(draws, self.squares[good], self.dfs[good])

    @staticmethod
    def together(parts: Sequence[Versions]) -> Versions:
        """Return all versions of several."""
        squares, dfs = (np.concatenate([getattr(p, name) for p in parts]) for name in ("squares", "dfs"))
        return Versions(Draws.together([p.draws for p in parts]), squares, dfs)

    def sds(self, sd: str | float) -> Floats:
        """Return what d is divided by, (B, cohorts)."""
        if not isinstance(sd, str):
            return np.full(self.squares.shape, _check.number("sd", sd, above=0))
        if sd == "model":
            return np.broadcast_to(np.sqrt(self.draws.total)[:, None], self.squares.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            if sd == "own":
                return np.sqrt(self.squares / self.dfs)
            which = slice(0, 1) if sd == "reference" else slice(None)
            pooled = self.squares[:, which].sum(axis=1) / self.dfs[:, which].sum(axis=1)
        return np.broadcast_to(np.sqrt(pooled)[:, None], self.squares.shape)


def patient_weights(stratum: Ints, draws: int, rng: np.random.Generator) -> Floats:
    """Return how often each patient is drawn (draws, N), with replacement within its stratum."""
    weights = np.zeros((draws, len(stratum)))
    for c in np.unique(stratum):
        here = np.flatnonzero(stratum == c)
        weights[:, here] = rng.multinomial(len(here), np.full(len(here), 1 / len(here)), size=draws)
    return weights


class _Baseline:
    """The outcomes at the baseline, by cohort."""

    def __init__(self, refits: Refits) -> None:
        result = refits.result
        self.rows: list[Ints] = []
        if isinstance(result, CohortModel):
            start = result.design.t == result.baseline
            self.rows = [np.flatnonzero(start & (result.design.cohort_codes == c)) for c in range(len(result.cohorts))]
        self.patients = [refits.patient_of_row[rows] for rows in self.rows]
        self.y = refits.design.y

    def weighted(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return sums of squares and df, (B, cohorts)."""
        squares, dfs = [], []
        for rows, patients in zip(self.rows, self.patients, strict=True):
            w, y = weights[:, patients], self.y[rows]
            count = w.sum(axis=1)
            mean = w @ y / np.maximum(count, 1)
            squares.append((w * (y - mean[:, None]) ** 2).sum(axis=1))
            dfs.append(count - 1)
        return _columns(squares, len(weights)), _columns(dfs, len(weights))

    def redrawn(self, outcomes: Floats) -> tuple[Floats, Floats]:
        """Return the same for other outcomes (n, B)."""
        squares = [((y := outcomes[rows]) - y.mean(axis=0)) for rows in self.rows]
        dfs = [np.full(outcomes.shape[1], len(rows) - 1.0) for rows in self.rows]
        B = outcomes.shape[1]
        return _columns([(s**2).sum(axis=0) for s in squares], B), _columns(dfs, B)


def _columns(parts: list[Floats], rows: int) -> Floats:
    return np.column_stack(parts) if parts else np.zeros((rows, 0))


def versions_of(refits: Refits, weights: Floats) -> Versions:
    """Return the fits of weighted patients."""
    return Versions(refits.weighted(weights), *_Baseline(refits).weighted(weights))


def _block(refits: Refits, kind: str, draws: int, seed: int, key: int) -> Versions:
    """Return one block of draws, the same whoever makes it."""
    rng = _parallel.generators(seed, key)
    if kind == "patients":
        return versions_of(refits, patient_weights(refits.cohort_of, draws, rng))
    outcomes = refits.simulate(draws, rng)
    return Versions(refits.redrawn(outcomes), *_Baseline(refits).redrawn(outcomes))


@dataclass(frozen=True, eq=False, repr=False)
class Bootstrap(Result):
    """A growth model in many draws: intervals for any of its answers.

    Attributes
    ----------
    result : GrowthResult, MixedResult or MMRMResult
        The model of the data as they are.
    kind : {"patients", "parametric"}
    versions : Versions
        The draws that could be fitted.
    left_out : Versions or None
        The model with each patient left out, where there are not too many.
    stratum : numpy.ndarray
        The stratum of each of those patients.
    failed : int
        Draws that could not be fitted.
    """

    result: Any
    kind: str
    versions: Versions
    left_out: Versions | None
    stratum: Ints
    failed: int

    def __post_init__(self) -> None:
        lock((self.versions, self.left_out, self.stratum))

    @property
    def default(self) -> str:
        """The interval that is made unless another is asked for."""
        return "percentile" if self.left_out is None else "bca"

    @property
    def unit(self) -> str:
        """What is drawn: the patient, or for fit_mixed the factor with most levels."""
        if isinstance(self.result, CohortModel):
            return str(self.result.patient)
        return str(max(self.result.design.terms, key=lambda term: len(term.levels)).group)

    def _interval(self, interval: str | None) -> str:
        if interval is None:
            return self.default
        _check.one_of("interval", interval, INTERVALS)
        if interval == "bca" and self.left_out is None:
            raise DataError(
                f"interval='bca': it leaves out each patient, and there are more than {MOST_LEFT_OUT}; "
                "say interval='percentile', which hardly differs then"
            )
        return interval

    def _answers(self) -> CohortModel:
        if not isinstance(self.result, CohortModel):
            raise DataError("fit_mixed knows no cohorts; ask tidy() or variances(), or fit the model with fit_growth")
        return self.result

    def _resampled(
        self,
        title: str,
        labels: Mapping[str, Sequence[Any]],
        estimate: Floats,
        draws: Floats,
        left_out: Floats | None,
        interval: str | None,
        level: float,
    ) -> Resampled:
        jackknife = None if left_out is None else Jackknife(left_out, self.stratum)
        kept = {k: tuple(v) for k, v in labels.items()}
        kind = self._interval(interval)
        return Resampled(
            {"interval": kind, "level": level},
            title,
            kept,
            estimate,
            draws,
            jackknife,
            kind,
            _check.level(level),
            tuple(self._notes),
        )

    def _linear(
        self, title: str, labels: Sequence[dict[str, Any]], rows: Floats, interval: str | None, level: float
    ) -> Resampled:
        left_out = None if self.left_out is None else self.left_out.draws.beta @ rows.T
        columns = pd.DataFrame(list(labels)).to_dict("list")
        estimate, draws = rows @ self.result.fit.beta, self.versions.draws.beta @ rows.T
        return self._resampled(
            title, {str(k): v for k, v in columns.items()}, estimate, draws, left_out, interval, level
        )

    def means(self, at: Any = None, *, interval: str | None = None, level: float = 0.95) -> Resampled:
        """Return the estimated marginal mean of every cohort at every time.

        Parameters
        ----------
        at : time or list of times, optional
        interval : {"bca", "percentile"}, optional
            By default BCa, beyond 2,000 patients percentiles.
        level : float
        """
        result = self._answers()
        title = f"Estimated marginal means of {result.outcome}"
        return self._linear(title, *result.rows_of_means(at), interval, level)

    def contrasts(self, at: Any = None, *, interval: str | None = None, level: float = 0.95) -> Resampled:
        """Return each cohort minus the reference, in level and in change; parameters are those of `means`."""
        result = self._answers()
        title = f"Cohort minus reference in {result.outcome}: level, and change"
        return self._linear(title, *result.rows_of_contrasts(at), interval, level)

    def changes(self, at: Any = None, *, interval: str | None = None, level: float = 0.95) -> Resampled:
        """Return every cohort's improvement, positive is better; parameters are those of `means`."""
        result = self._answers()
        title = f"Improvement in {result.outcome}, positive is better"
        return self._linear(title, *result.rows_of_changes(at), interval, level)

    def effect_sizes(
        self, at: Any = None, *, sd: str | float = "baseline", interval: str | None = None, level: float = 0.95
    ) -> Resampled:
        """Return d of every cohort and its difference from the reference; every draw has an SD of its own.

        Parameters
        ----------
        at, interval, level
            As for `means`.
        sd : {"baseline", "reference", "own", "model"} or float
            As in the result's effect_sizes.
        """
        result = self._answers()
        if isinstance(sd, str):
            _check.one_of("sd", sd, SDS)
        table = result.effect_sizes(at, sd=sd, df="normal")
        _, rows = result.rows_of_changes(at)
        labels = {k: v for k, v in table.labels.items() if k != "sd"}

        def in_order(versions: Versions) -> Floats:
            C = len(result.cohorts)
            change = (versions.draws.beta @ rows.T).reshape(len(versions.dfs), C, -1)
            with np.errstate(divide="ignore", invalid="ignore"):
                d = change / versions.sds(sd)[:, :, None]
                parts = [d[:, 0], *(x for c in range(1, C) for x in (d[:, c], d[:, c] - d[:, 0]))]
            return np.concatenate(parts, axis=1)

        draws = in_order(self.versions)
        if none := int((~np.isfinite(draws)).any(axis=1).sum()):
            raise DataError(
                f"sd={_check.show(sd)}: in {none} of {len(draws)} draws the patients seen at "
                f"{result.time}={_check.show(result.baseline)} are too few for an SD; say sd='model'"
            )
        left_out = None if self.left_out is None else in_order(self.left_out)
        title = f"Standardised improvement d in {result.outcome}, positive is better"
        return self._resampled(title, labels, table.estimate, draws, left_out, interval, level)

    def retained_improvement(
        self, at: Any = None, *, as_: str = "retained", interval: str | None = None, level: float = 0.95
    ) -> RetainedImprovement:
        """Return how much of the reference cohort's improvement each other cohort keeps.

        Draws in which the reference did not improve are kept: the pair of changes is taken as a direction, so that a
        set may be two rays or the whole line, as Fieller's.

        Parameters
        ----------
        at, interval, level
            As for `means`.
        as_ : {"retained", "times"}
        """
        result, kind = self._answers(), self._interval(interval)
        base = result.retained_improvement(at, as_=as_, level=level, df="normal")
        _, rows = result.rows_of_changes(at)

        def pairs(versions: Versions) -> Floats:
            change = (versions.draws.beta @ rows.T).reshape(len(versions.dfs), len(result.cohorts), -1)
            others = change[:, 1:].reshape(len(change), -1)
            reference = np.tile(change[:, 0], (1, change.shape[1] - 1))
            return np.stack([others, reference], axis=-1)

        left_out = None if self.left_out is None else pairs(self.left_out)
        angles = Angles(pairs(self.versions), left_out, self.stratum, kind)
        return base.with_draws(angles)

    def tidy(self, *, interval: str | None = None, level: float = 0.95) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a fixed effect."""
        names = [{"term": name} for name in self.result.design.names]
        return self._linear("", names, np.eye(len(names)), interval, level).tidy()

    def contrast(
        self, weights: Mapping[str, float], *, interval: str | None = None, level: float = 0.95, name: str = "contrast"
    ) -> Resampled:
        """Return one linear combination of fixed effects; weights map terms to numbers, as in the result's contrast."""
        table = self.result.contrast(weights, df="normal", name=name)
        row = np.zeros((1, len(self.result.design.names)))
        for term, weight in weights.items():
            row[0, self.result.design.names.index(term)] = weight
        return self._linear(table.title, [{"term": name}], row, interval, level)

    def variances(self, *, interval: str | None = "percentile", level: float = 0.95) -> pd.DataFrame:
        """Return the result's variances, each with its interval; of correlations that of the correlation.

        Percentiles by default: an estimate on its boundary leaves BCa nothing to correct by.
        """
        table: pd.DataFrame = self.result.variances()
        value = table["variance"]
        if "correlation" in table:
            value = value.fillna(table["correlation"])
        left_out = None if self.left_out is None else self.left_out.draws.variances
        found = self._resampled(
            "", {}, value.to_numpy(float), self.versions.draws.variances, left_out, interval, level
        ).tidy()
        return table.assign(conf_low=found["conf_low"].to_numpy(), conf_high=found["conf_high"].to_numpy())

    def glance(self) -> pd.DataFrame:
        """Return one row: draws used, and whether all could be fitted."""
        return pd.DataFrame({"n": [len(self.versions.dfs)], "converged": [self.failed == 0]})

    @cached_property
    def _notes(self) -> list[str]:
        said = []
        if self.failed:
            said.append(f"{self.failed} more draws could not be fitted")
        if self.kind == "patients":
            groups = dict.fromkeys(t.group for t in self.result.design.terms)
            others = [g for g in groups if g != self.unit and ":" not in g]
            if others:
                said.append(f"{self.unit} is drawn, {', '.join(others)} is not: which ones were met is left out")
        if self.call.get("rng") is None:
            said.append("without rng= the draws, and so the intervals, differ a little from call to call")
        return said

    def header(self) -> list[str]:
        """Return what was drawn, and how many."""
        within = ", within their cohort" if isinstance(self.result, CohortModel) else ""
        drawn = {"patients": f"levels of {self.unit} drawn with replacement{within}"}
        what = drawn.get(self.kind, "outcomes drawn from the fitted model")
        name = "BCa" if self.default == "bca" else "percentile"
        return [
            f"Bootstrap of {self.result.formula}: {len(self.versions.dfs)} draws, {what}; 95% {name} intervals",
            *self._notes,
        ]


def bootstrap(
    result: MixedResult | MMRMResult,
    *,
    n: int = 999,
    rng: int | np.random.Generator | None = None,
    kind: str = "patients",
    workers: int = 1,
) -> Bootstrap:
    """How sure are the answers of a growth model, if its own formulas are not trusted?

    Parameters
    ----------
    result : GrowthResult, MixedResult or MMRMResult
    n : int
        Draws; 999 serve 95 % intervals.
    rng : int, numpy.random.Generator or None
        The same number gives the same draws, whatever the number of workers.
    kind : {"patients", "parametric"}
        Patients drawn with replacement within their cohort, each with all of its visits, which assumes no distribution;
        or outcomes drawn from the fitted model at the visits that were made.
    workers : int
        Processes.

    Returns
    -------
    Bootstrap
        Asks like the result itself: `effect_sizes(at=)`, `retained_improvement(at=)`, `contrasts(at=)`, `tidy()`.

    Raises
    ------
    DataError
        Arguments that name nothing.
    ConvergenceError
        When fewer than half of the draws can be fitted.

    Notes
    -----
    Every draw is a full fit, its variances included. Fits of one grouping factor, and MMRM, climb together on
    sufficient statistics; with several factors each draw is fitted from its rows, and only patients are drawn. In
    simulated studies (tests/simulation/table.md) these intervals covered 91 to 95 % with 20 patients in a cohort and
    95 % with 100; the model's own, with Kenward and Roger's df, covered 95 % in both, and stay the default.

    References
    ----------
    Efron 1987, DOI 10.1080/01621459.1987.10478410; Davison & Hinkley 1997, DOI 10.1017/CBO9780511802843.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> growth = ist.fit_growth(visits, outcome="bsi", time="month", patient="patient", cohort="cohort",
    ...                         reference="before", better="lower")
    >>> boot = ist.bootstrap(growth, n=199, rng=1)
    >>> list(boot.effect_sizes(36).tidy()["quantity"])
    ['d', 'd', 'difference']
    """
    if not isinstance(result, FixedEffects):
        raise DataError(f"result: a {type(result).__name__} is not a fitted model; give what fit_growth returns")
    faults = Faults()
    n = faults.ask(_check.whole, "n", n, least=FEWEST, remedy="999 serve 95 % intervals")
    faults.ask(_check.one_of, "kind", kind, KINDS)
    faults.ask(_check.whole, "workers", workers)
    seed = faults.ask(_parallel.seed_of, rng)
    faults.settle()
    result.refuse_weights("bootstrap")
    refits = Refits(result)
    sizes = [min(BLOCK, n - start) for start in range(0, n, BLOCK)]
    parts = _parallel.run(_block, [(refits, kind, size, seed, key) for key, size in enumerate(sizes)], workers)
    every = Versions.together(parts)
    versions = every.kept()
    failed = n - len(versions.dfs)
    if failed > n / 2:
        raise ConvergenceError(f"bootstrap: {failed} of {n} draws could not be fitted; use a simpler model", {})
    left_out, stratum = None, refits.cohort_of
    if len(refits.patients) <= MOST_LEFT_OUT:
        with _parallel.one_thread():
            alone = versions_of(refits, 1.0 - np.eye(len(refits.patients)))
        left_out, stratum = alone.kept(), stratum[alone.draws.good]
    named = int(rng) if isinstance(rng, int | np.integer) else rng and "Generator"
    call = {"n": n, "rng": named, "kind": kind}
    return Bootstrap(call, result, kind, versions, left_out, stratum, failed)


def effect_size_draws(
    fits: Mapping[str, Any], at: Sequence[float], sd: str | float, draws: int, rng: np.random.Generator
) -> tuple[Floats, int]:
    """Return d of each outcome, cohort and time in draws of patients, and how many draws could not be fitted.

    A patient comes with all of its outcomes, so the outcomes' correlation is kept.

    Returns
    -------
    draws : (draws that could be fitted, outcomes, cohorts, times)
    """
    refits = [Refits(fit) for fit in fits.values()]
    stratum: dict[Any, int] = {}
    for one in refits:
        for name, c in zip(one.patients, one.cohort_of.tolist(), strict=True):
            stratum.setdefault(name, c)
    where = {name: k for k, name in enumerate(stratum)}
    weights = patient_weights(np.array(list(stratum.values())), draws, rng)
    found, good = [], np.ones(draws, dtype=bool)
    for one in refits:
        order = [where[name] for name in one.patients]
        with _parallel.one_thread(), np.errstate(divide="ignore", invalid="ignore"):
            versions = versions_of(one, weights[:, order])
        assert isinstance(one.result, CohortModel)
        change = versions.draws.beta @ one.result.rows_of_changes(list(at))[1].T
        d = change.reshape(draws, -1, len(at)) / versions.sds(sd)[:, :, None]
        good &= versions.draws.good & np.isfinite(d).all(axis=(1, 2))
        found.append(d)
    return np.stack(found, axis=1)[good], int((~good).sum())
