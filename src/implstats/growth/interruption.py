"""What a change of circumstances in the midst of treatment did: its level and slope, and the means with and without."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from implstats import _check
from implstats.design.interruption import Interruption
from implstats.errors import DataError
from implstats.growth.cohorts import CohortModel
from implstats.results import Estimates

__all__ = ["Interrupted"]

Floats = NDArray[np.float64]


class Interrupted(CohortModel):
    """The questions about an interruption, for a model that may have one."""

    def interruption(self, *, level: float = 0.95, df: str = "auto") -> Estimates:
        """Return what the change did within patients: to the level of the outcome, and to its slope per unit of time.

        Parameters
        ----------
        level, df
            As for `means`.

        Raises
        ------
        DataError
            For a model without `interruption=`.
        """
        met = self._met()
        rows = np.eye(len(self.design.names))[-2:]
        title = (
            f"Interruption of {self.outcome} at {met.column}: of its level, and of its slope per unit of {self.time}"
        )
        labels = [{"quantity": "level"}, {"quantity": "slope"}]
        return self._estimates(title, labels, rows, df, level, tests=True)

    def interrupted_means(self, at: Any = None, *, change: float, level: float = 0.95, df: str = "auto") -> Estimates:
        """Return means with a change of circumstances at a given time, without it, and their difference.

        Parameters
        ----------
        at : time or list of times, optional
            In the unit of the time column; by default every observed time.
        change : float
            When it comes, in the same unit: after the baseline.
        level, df
            As for `means`.

        Notes
        -----
        Of the cohorts, those whose whole treatment came after the change have no row: it could not come to them.
        """
        met, times = self._met(), self._times(at, later=False)
        when = _check.number("change", change)
        if when <= self.baseline:
            raise DataError(f"change={_check.show(when)}: not after the baseline, {_check.show(self.baseline)}")
        labels, parts = [], []
        for c, name in enumerate(self.cohorts):
            if c in met.after:
                continue
            without = self._mean_rows(c, times)
            extra = without.copy()
            extra[:, -2:] = met.columns(np.array(times), np.full(len(times), when), np.full(len(times), c))
            quantities = {"without": without, "with": extra, "difference": extra - without}
            for quantity, rows in quantities.items():
                labels += [
                    {"cohort": name, "quantity": quantity, "time": t, "change_time": when}
                    | {"extrapolated": self._beyond(c, t, when, quantity)}
                    for t in times
                ]
                parts.append(rows)
        title = f"Means of {self.outcome} with and without {met.column} at {self.time} {_check.show(when)}"
        return self._estimates(title, labels, np.vstack(parts), df, level)

    def _met(self) -> Interruption:
        if self.design.interruption is None:
            raise DataError("interruption=None: no change in treatment was fitted; name its column in fit_growth")
        return self.design.interruption

    def _beyond(self, cohort: int, time: float, when: float, quantity: str) -> bool:
        """Return whether nobody was seen that long after a change in treatment, or without it."""
        design = self.design
        since = (design.t - design.change)[~design.undisturbed & (design.change > self.baseline)]
        late = bool(time - when > since.max())
        alone = self.extrapolated(cohort, time)
        return {"without": alone, "with": late if time >= when else alone, "difference": late}[quantity]
