"""How change depends on a score: what a point of it changes, and the means and changes of patients at given scores."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from implstats import _check
from implstats.design.moderators import Moderators
from implstats.errors import DataError
from implstats.growth.cohorts import CohortModel
from implstats.results import Estimates

__all__ = ["Moderated"]

Floats = NDArray[np.float64]


class Moderated(CohortModel):
    """The questions about moderators, for a model that may have them."""

    def moderation(self, at: Any = None, *, level: float = 0.95, df: str = "auto") -> Estimates:
        """Return how much the change since the baseline differs with a score: per point, and per SD over patients.

        In the unit of the outcome, of whatever sign; the same in all cohorts. Of a category, each level less the first.

        Parameters
        ----------
        at : time or list of times, optional
            In the unit of the time column; by default every observed time after the baseline.
        level, df
            As for `means`.

        Raises
        ------
        DataError
            For a model without `moderators=`.
        """
        found, times = self._moderators(), self._times(at, later=True)
        labels, rows = [], []
        for column in found.columns:
            here = found.place(column)
            for j in range(here.start, here.stop):
                step = np.eye(len(found.centre))[j]
                ways = {"difference": 1.0} if found.levels(column) else {"per point": 1.0, "per sd": found.sd[j]}
                for quantity, size in ways.items():
                    label = {"moderator": found.encoding.names[j], "quantity": quantity}
                    labels += [label | {"time": t, "extrapolated": self._unseen(t)} for t in times]
                    codes = found.centre + size * step
                    rows.append(self._change_at(0, times, codes) - self._change_at(0, times, found.centre))
        title = f"What a score changes: difference in the change of {self.outcome} since {self._start()}"
        return self._estimates(title, labels, np.vstack(rows), df, level, tests=True)

    def moderated_means(
        self,
        at: Any = None,
        *,
        moderator: Hashable | None = None,
        values: Sequence[Any] | None = None,
        level: float = 0.95,
        df: str = "auto",
    ) -> Estimates:
        """Return the mean of every cohort, and its change since the baseline, for patients at given scores.

        Parameters
        ----------
        at : time or list of times, optional
            In the unit of the time column; by default every observed time.
        moderator : str, optional
            Column with the score, where there are several; the others are held at their mean.
        values : list of numbers, or of levels, optional
            By default the lowest score that a patient has, the mean and the highest; of a category all levels.
        level, df
            As for `means`.

        Raises
        ------
        DataError
            For a model without `moderators=`, or values that are no scores.
        """
        times = self._times(at, later=False)
        column = self._moderator(moderator)
        found = self._moderators()
        labels, rows = [], []
        for c, cohort in enumerate(self.cohorts):
            for value in self._values(column, values):
                codes = found.at(column, value)
                outside = bool(((codes < found.low) | (codes > found.high)).any())
                for quantity, answer in (("level", self._mean_at), ("change", self._change_at)):
                    seen = [t for t in times if (quantity == "level" or t != self.baseline) and not self._empty(c, t)]
                    label = {"cohort": cohort, "moderator": str(column), "value": value, "quantity": quantity}
                    labels += [label | {"time": t, "extrapolated": outside or self.extrapolated(c, t)} for t in seen]
                    rows.append(answer(c, seen, codes))
        title = f"Means of {self.outcome} and changes since {self._start()} by {column}"
        return self._estimates(title, labels, np.vstack(rows), df, level)

    def _moderators(self) -> Moderators:
        if self.design.moderators is None:
            raise DataError("moderators=None: no score was fitted; name its column in fit_growth")
        return self.design.moderators

    def _moderator(self, column: Hashable | None) -> Hashable:
        known = self._moderators().columns
        if column is None and len(known) > 1:
            raise DataError(f"moderator=None: there are {', '.join(map(_check.show, known))}; name one")
        return known[0] if column is None else _check.one_of("moderator", column, known)

    def _values(self, column: Hashable, values: Sequence[Any] | None) -> list[Any]:
        """Return the values that were asked for, checked, or the lowest, the mean and the highest."""
        found = self._moderators()
        levels, here = found.levels(column), found.place(column)
        if values is not None and (isinstance(values, str) or not isinstance(values, Sequence | np.ndarray)):
            raise DataError(f"values={_check.show(values)}: not a list of scores; write values=[2, 4]")
        if levels:
            return [_check.one_of("values", v, levels) for v in (levels if values is None else values)]
        if values is None:
            return [float(end[here][0]) for end in (found.low, found.centre, found.high)]
        return _check.at(values, "values")

    def _mean_at(self, cohort: int, times: Sequence[float], codes: Floats) -> Floats:
        n = len(times)
        scores = np.broadcast_to(codes, (n, len(codes)))
        return self.design.rows(np.full(n, cohort), np.asarray(times, dtype=float), scores=scores)

    def _change_at(self, cohort: int, times: Sequence[float], codes: Floats) -> Floats:
        return self._mean_at(cohort, times, codes) - self._mean_at(cohort, [self.baseline], codes)

    def _unseen(self, time: float) -> bool:
        return all(self.extrapolated(c, time) for c in range(len(self.cohorts)))
