"""How many patients or programmes a comparison takes: power and the width of intervals over sample sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check, _parallel
from implstats._check import Faults
from implstats.errors import DataError
from implstats.results import Result, frozen
from implstats.simulate.analyses import Analysis, OwnAnalysis, Quantity, cohort_analysis
from implstats.simulate.programme_scenario import ProgrammeScenario
from implstats.simulate.scenario import Scenario

__all__ = ["PowerCurve", "power"]

Floats = NDArray[np.float64]
AnyScenario = Scenario | ProgrammeScenario

CHUNK = 250


@dataclass(frozen=True, eq=False, repr=False)
class PowerCurve(Result):
    """What studies of several sizes would find, if a scenario were true.

    Attributes
    ----------
    sizes : tuple of int
        Patients (programmes) of a study, all cohorts together.
    quantities : tuple of Quantity
        What every study estimates, with its truth.
    estimate, width, found, covers : numpy.ndarray
        (sizes, quantities, replicates) what every study estimated, how wide its interval was (nan without two ends),
        whether it excluded no difference, and whether it covered the truth; nan where it could not be fitted.
    level : float
        Level of the intervals; a test is at 1 - level.
    unit : str
        "patients" or "programmes".
    """

    sizes: tuple[int, ...]
    quantities: tuple[Quantity, ...]
    estimate: Floats
    width: Floats
    found: Floats
    covers: Floats
    level: float
    unit: str

    def __post_init__(self) -> None:
        for name in ("estimate", "width", "found", "covers"):
            object.__setattr__(self, name, frozen(getattr(self, name), float))

    @property
    def replicates(self) -> int:
        """Studies of each size."""
        return int(self.found.shape[2])

    def tidy(self, *, level: float = 0.95) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a size and quantity: power with its Monte Carlo interval, width, coverage.

        Parameters
        ----------
        level : float
            Level of the Monte Carlo interval (Wilson's).
        """
        level = _check.level(level)
        return pd.DataFrame(
            {"n": size} | quantity.label() | self._row(i, k, level)
            for i, size in enumerate(self.sizes)
            for k, quantity in enumerate(self.quantities)
        )

    def _row(self, i: int, k: int, level: float) -> dict[str, Any]:
        fitted = ~np.isnan(self.found[i, k])
        hits = int(np.nansum(self.found[i, k]))
        low, high = _wilson(hits, self.replicates, level)
        return {
            "replicates": self.replicates,
            "fitted_share": float(fitted.mean()),
            "power": hits / self.replicates,
            "power_low": low,
            "power_high": high,
            "width": _over(np.median, self.width[i, k]),
            "bounded_share": float(np.isfinite(self.width[i, k]).sum() / max(1, fitted.sum())),
            "coverage": _over(np.mean, self.covers[i, k]),
            "truth": self.quantities[k].truth,
            "median_estimate": _over(np.median, self.estimate[i, k]),
        }

    def size_for(self, power: float = 0.8, *, quantity: str | None = None) -> float:
        """Return the sample size that reaches a power, between the sizes that were tried; nan if none of them does.

        Parameters
        ----------
        power : float
            Between 0 and 1.
        quantity : str, optional
            By default the first one.

        Notes
        -----
        Linear between the last size below and the first from which on all reach it: as sure as the Monte Carlo
        intervals in `tidy`.
        """
        _check.level(power, "power")
        table = self.tidy()
        known = list(dict.fromkeys(table["quantity"]))
        wanted = known[0] if quantity is None else _check.one_of("quantity", quantity, known)
        rows = table[table["quantity"] == wanted].groupby("n")["power"].min()
        n, found = rows.index.to_numpy(float), rows.to_numpy()
        short = np.flatnonzero(found < power)
        if not len(short):
            return float(n[0])
        last = int(short[-1])
        if last == len(n) - 1:
            return math.nan
        share = (power - found[last]) / (found[last + 1] - found[last])
        return float(n[last] + share * (n[last + 1] - n[last]))

    def glance(self) -> pd.DataFrame:
        """Return one row: sizes tried, studies of each, and the share that could be fitted."""
        fitted = float((~np.isnan(self.found)).mean())
        return pd.DataFrame([{"n": len(self.sizes), "replicates": self.replicates, "fitted_share": fitted}])

    def header(self) -> list[str]:
        """Return what was tried, and what counts as found."""
        return [
            f"Power: {self.replicates} studies of each of {len(self.sizes)} sizes ({self.unit}, all cohorts together)",
            f"analysis: {self.call['model']}",
            f"power: share of studies {self._found_in_words()}; a study that could not be fitted counts as none",
            "width: median of the intervals that have two ends",
        ]

    def _found_in_words(self) -> str:
        interval = f"whose {100 * self.level:g}% interval excludes"
        if self.quantities[0].cohort is not None:
            return f"{interval} no difference"
        return f"with p below {1 - self.level:.4g}, or, without a p, {interval} {_check.show(self.call['null'])}"


def _over(summary: Callable[[Floats], Any], values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(summary(known)) if len(known) else math.nan


def _wilson(count: int, total: int, level: float) -> tuple[float, float]:
    from statsmodels.stats.proportion import proportion_confint

    low, high = proportion_confint(count, total, alpha=1 - level, method="wilson")
    # Rounding leaves 1e-17 where the formula gives 0 or 1.
    return (float(low) if count else 0.0), (float(high) if count < total else 1.0)


def power(
    scenario: AnyScenario,
    *,
    n: int | Sequence[int],
    analysis: str | Callable[[pd.DataFrame], Any] = "mmrm",
    outcome: str | None = None,
    at: float | None = None,
    shape: str = "auto",
    by_cohort: bool = False,
    null: float = 0.0,
    truth: float | None = None,
    level: float = 0.95,
    replicates: int = 1000,
    rng: int | np.random.Generator | None = None,
    workers: int = 1,
    progress: bool = False,
) -> PowerCurve:
    """How many patients does it take to see the cohorts' difference, and to know the improvement retained?

    Studies of each size are drawn from the scenario and analysed; what they find is counted.

    Parameters
    ----------
    scenario : Scenario or ProgrammeScenario
        What is true; cohorts (eras) keep its proportions.
    n : int or list of int
        Sample sizes to try: patients (programmes) of a study, all cohorts together.
    analysis : {"mmrm", "growth"} or function
        "mmrm" (`fit_mmrm`, unstructured) or "growth" (`fit_growth`, random slope): the difference in change since the
        baseline with Satterthwaite's test, and the improvement retained with its Fieller set. Or a function of the
        simulated frame that returns one row (a mapping, Series or one-row table) with p_value, or conf_low and
        conf_high, and as it likes estimate.
    outcome : str, optional
        For "mmrm" and "growth": by default the scenario's first.
    at : float, optional
        The time to compare at; by default the last visit.
    shape : {"auto", "linear", "quadratic", "log", "visits"}
        Of a growth model.
    by_cohort : bool
        Whether every cohort has a covariance of its own (MMRM).
    null, truth : float
        Of a function's quantity: the value that its interval is to exclude, and the truth that it is to cover.
    level : float
        Level of the intervals; tests are at 1 - level.
    replicates : int
        Studies of each size; 1,000 tell a power of 80 % to 2.5 points.
    rng : None, int or numpy.random.Generator
        The same seed gives the same numbers, whatever the number of workers.
    workers : int
        Processes; from 2 on, a backend chosen with `joblib.parallel_config` takes their place: "dask" for a cluster.
    progress : bool
        Whether to say on the terminal how much is done and how long the rest takes.

    Returns
    -------
    PowerCurve
        `tidy()`: one row a size and quantity; `size_for(.8)`; `implstats.plot.power` draws it.

    Raises
    ------
    DataError
        Arguments or a scenario that cannot be analysed, all faults together.

    Notes
    -----
    All studies of a batch are fitted together, which is what makes thousands of them cheap; a function is called once
    a study. Power is that of this scenario: what was assumed of spread and drop-out it repeats.

    References
    ----------
    Arend & Schaefer 2019, DOI 10.1037/met0000195 (power of mixed models by simulation); Wilson 1927, DOI
    10.1080/01621459.1927.10502953.

    Examples
    --------
    >>> import implstats as ist
    >>> from implstats.simulate import REORGANISATION
    >>> from dataclasses import replace
    >>> simple = replace(REORGANISATION, therapists=0, outcomes={"bsi": replace(
    ...     REORGANISATION.outcomes["bsi"], therapist_sd=0, therapist_slope_sd=0)}, dropout=None)
    >>> curve = ist.power(simple, n=[40, 80], replicates=100, rng=1)
    >>> curve.tidy()[["n", "quantity", "replicates"]]
        n    quantity  replicates
    0  40  difference         100
    1  40    retained         100
    2  80  difference         100
    3  80    retained         100
    """
    call = {k: v for k, v in locals().items() if k != "scenario"}
    faults = Faults()
    if not isinstance(scenario, Scenario | ProgrammeScenario):
        faults.say(f"scenario: a {type(scenario).__name__} is no Scenario or ProgrammeScenario")
        faults.settle()
    sizes = [faults.ask(_check.whole, "n", size, least=4) for size in np.atleast_1d(np.asarray(n, dtype=object))]
    if not sizes:
        faults.add("n", n, "names no size", "write n=[40, 80, 160]")
    faults.ask(_check.level, level)
    faults.ask(_check.whole, "replicates", replicates, least=2)
    faults.ask(_check.flag, "progress", progress)
    faults.ask(_check.whole, "workers", workers)
    seed = faults.ask(_parallel.seed_of, rng)
    if callable(analysis):
        if truth is not None:
            faults.ask(_check.number, "truth", truth)
        planned: Analysis = OwnAnalysis(analysis, faults.ask(_check.number, "null", null), truth)
    else:
        for argument, value, unsaid in (("null", null, 0.0), ("truth", truth, None)):
            if value != unsaid:
                faults.add(
                    argument, value, "for a function's quantity", "the scenario says what is true of the cohorts"
                )
        planned = cohort_analysis(scenario, analysis, outcome, at, shape, by_cohort, faults)
    faults.settle()
    tasks = [
        (planned, _resized(scenario, size), min(CHUNK, replicates - start), level, seed, (i, start))
        for i, size in enumerate(sizes)
        for start in range(0, replicates, CHUNK)
    ]
    found = _parallel.run(_some, tasks, workers, _parallel.said("power") if progress else None)
    each = len(tasks) // len(sizes)
    whole = np.stack([np.concatenate(found[i * each : (i + 1) * each], axis=2) for i in range(len(sizes))])
    words = planned.in_words()
    return PowerCurve(
        call | {"analysis": words if callable(analysis) else analysis, "model": words},
        tuple(sizes),
        planned.quantities(),
        whole[:, 0],
        whole[:, 1],
        whole[:, 2],
        whole[:, 3],
        level,
        "patients" if isinstance(scenario, Scenario) else "programmes",
    )


def _some(
    planned: Analysis, scenario: AnyScenario, studies: int, level: float, seed: int, key: tuple[int, ...]
) -> Floats:
    """Return what some studies of one size found, (4, quantities, studies)."""
    return planned.run(scenario, studies, level, _parallel.generators(seed, *key))


def _resized(scenario: AnyScenario, size: int) -> AnyScenario:
    """Return the scenario with as many patients (programmes), its cohorts in the same proportions."""
    before = scenario.patients if isinstance(scenario, Scenario) else scenario.programmes
    shares = np.array(list(before.values()), dtype=float)
    exact = size * shares / shares.sum()
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: size - counts.sum()]] += 1
    if counts.min() < 2:
        raise DataError(
            f"n={size}: leaves a cohort fewer than two {'patients' if isinstance(scenario, Scenario) else 'programmes'}"
        )
    after = dict(zip(before, counts.tolist(), strict=True))
    return replace(scenario, patients=after) if isinstance(scenario, Scenario) else replace(scenario, programmes=after)
