"""One number over several outcomes: the mean effect size per cohort, and the share of it that is retained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats import _check
from implstats.errors import ConvergenceError
from implstats.growth.bootstrap import effect_size_draws
from implstats.growth.cohorts import CohortModel
from implstats.results import Result, frozen

__all__ = ["Overall", "overall"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, repr=False)
class Overall(Result):
    """The mean standardised improvement over the outcomes, per cohort, and the ratio of those means.

    Attributes
    ----------
    labels : mapping of column to tuple
        quantity, cohort, reference, time of each row.
    estimate : numpy.ndarray
        One value a row.
    draws : numpy.ndarray
        (draws, rows) the same in draws of patients.
    failed : int
        Draws that could not be fitted.
    outcomes : tuple of str
    level : float
    notes : tuple of str
        What the intervals leave out.

    Examples
    --------
    >>> from implstats import compare_cohorts, load_example
    >>> study = compare_cohorts(load_example("reorganisation"), outcomes={"bsi": "lower", "sipp": "higher"},
    ...                         time="month", patient="patient", cohort="cohort", reference="before", at=36)
    >>> study.overall(draws=99, rng=1).tidy()[["quantity", "cohort", "estimate", "conf_low", "conf_high"]].round(2)
       quantity  cohort  estimate  conf_low  conf_high
    0         d  before      1.20      1.05       1.44
    1         d  during      0.59      0.43       0.77
    2  retained  during      0.49      0.32       0.65
    """

    labels: Mapping[str, tuple[Any, ...]]
    estimate: Floats
    draws: Floats
    failed: int
    outcomes: tuple[str, ...]
    level: float
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("estimate", "draws"):
            object.__setattr__(self, name, frozen(getattr(self, name), float))

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a quantity, cohort and time, with percentile intervals."""
        tail = (1 - (self.level if level is None else _check.level(level))) / 2
        out = pd.DataFrame(self.labels)
        out["estimate"] = self.estimate
        out["conf_low"], out["conf_high"] = np.quantile(self.draws, [tail, 1 - tail], axis=0)
        return out

    def header(self) -> list[str]:
        """Return what is averaged, and how the intervals were made."""
        lost = f" ({self.failed} more could not be fitted)" if self.failed else ""
        lines = [
            f"Mean standardised improvement over {', '.join(self.outcomes)}, and the share of the reference's retained",
            f"{100 * self.level:.10g}% percentile intervals from {len(self.draws)} draws of patients per cohort{lost}",
        ]
        reference = [
            k
            for k, (q, c) in enumerate(zip(self.labels["quantity"], self.labels["cohort"], strict=True))
            if q == "d" and c == self.labels["reference"][k]
        ]
        none = int((self.draws[:, reference] <= 0).any(axis=1).sum())
        if none:
            lines.append(f"in {none} draws the reference did not improve; there the share retained has no meaning")
        return [*lines, *self.notes]


def overall(
    fits: Mapping[str, CohortModel],
    times: Sequence[float],
    sd: str | float,
    draws: int,
    rng: int | np.random.Generator | None,
    level: float,
) -> Overall:
    """Return the mean d over the fits per cohort, and its ratio to the reference's, in draws of patients."""
    for fit in fits.values():
        fit.refuse_weights("overall")
    draws = _check.whole("draws", draws, least=20, remedy="999 is a good number")
    found, failed = effect_size_draws(fits, times, sd, draws, _check.generator(rng))
    if len(found) < draws / 2:
        raise ConvergenceError(f"overall: {failed} of {draws} draws could not be fitted; ask the outcomes one by one")
    first = next(iter(fits.values()))
    shape = (len(first.cohorts), len(times))
    point = np.zeros(shape)
    for fit in fits.values():
        table = fit.effect_sizes(times, sd=sd, df="normal").tidy()
        point += table.loc[table["quantity"] == "d", "estimate"].to_numpy().reshape(shape) / len(fits)
    mean = found.mean(axis=1)
    cells = [("d", c, k) for c in range(shape[0]) for k in range(shape[1])]
    cells += [("retained", c, k) for c in range(1, shape[0]) for k in range(shape[1])]
    with np.errstate(divide="ignore", invalid="ignore"):
        # Where the reference did not improve there is nothing to retain a share of.
        share = np.where(point[0] > 0, point / point[0], np.nan)
        estimate = [point[c, k] if q == "d" else share[c, k] for q, c, k in cells]
        kept = np.where(np.isnan(share), np.nan, mean / mean[:, :1])
        drawn = [mean[:, c, k] if q == "d" else kept[:, c, k] for q, c, k in cells]
    labels = {
        "quantity": tuple(q for q, _, _ in cells),
        "cohort": tuple(first.cohorts[c] for _, c, _ in cells),
        "reference": (first.reference,) * len(cells),
        "time": tuple(times[k] for _, _, k in cells),
        "extrapolated": tuple(any(f.extrapolated(c, times[k]) for f in fits.values()) for _, c, k in cells),
    }
    call = {"at": list(times), "sd": sd, "draws": draws, "rng": rng if isinstance(rng, int) else None, "level": level}
    groups = dict.fromkeys(t.group for f in fits.values() for t in f.design.terms if t.group != str(f.patient))
    clusters = ", ".join(g for g in groups if ":" not in g)
    notes = (
        (f"patients are drawn, {clusters} are not: the intervals leave out which ones were met",) if clusters else ()
    )
    if rng is None:
        notes = (*notes, "without rng= the draws, and so the intervals, differ a little from call to call")
    return Overall(call, labels, np.array(estimate), np.column_stack(drawn), failed, tuple(fits), level, notes)
