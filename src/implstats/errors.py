"""What can go wrong, as types: bad data, a bad plan, a fit that did not end, a variance at zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["BoundaryWarning", "ConvergenceError", "DataError", "ImplstatsError", "PlanError"]


class ImplstatsError(Exception):
    """Base of every error that implstats raises on purpose.

    Examples
    --------
    >>> from implstats import ImplstatsError
    >>> [kind.__name__ for kind in ImplstatsError.__subclasses__()]
    ['DataError', 'PlanError', 'ConvergenceError']
    """


class DataError(ImplstatsError, ValueError):
    """An argument or the data cannot answer the question; the message names argument, value, fault and remedy.

    Examples
    --------
    >>> from implstats import DataError, load_example, survival_curves
    >>> try:
    ...     survival_curves(load_example("programmes"), duration="year", event="discontinued")
    ... except DataError as error:
    ...     print(error)
    duration='year': no such column; did you mean 'years'?
    """


class PlanError(ImplstatsError, ValueError):
    """A plan for `implstats run` cannot be carried out as it is written.

    Examples
    --------
    >>> from implstats import PlanError, run_plan
    >>> try:
    ...     run_plan("nowhere.toml", out="results")
    ... except PlanError as error:
    ...     print(error)
    plan='nowhere.toml': no such file...
    """


class ConvergenceError(ImplstatsError):
    """An optimiser ended without a certified optimum.

    Attributes
    ----------
    record : mapping
        How the fit ended: method, iterations, evaluations, gradient, reason.

    Examples
    --------
    All three that stopped were late ones, so that no finite hazard ratio fits best:

    >>> import pandas as pd
    >>> from implstats import ConvergenceError, fit_cox
    >>> frame = pd.DataFrame({"years": [1, 2, 3, 4], "stopped": [1, 1, 1, 0], "late": [1, 1, 1, 0]})
    >>> try:
    ...     fit_cox(frame, duration="years", event="stopped", terms=["late"])
    ... except ConvergenceError as error:
    ...     print(error)
    'late': no finite estimate; with 3 events the likelihood rises for ever...
    """

    def __init__(self, message: str, record: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.record: Mapping[str, Any] = dict(record or {})

    def __reduce__(self) -> tuple[type[ConvergenceError], tuple[str, dict[str, Any]]]:
        return type(self), (str(self), dict(self.record))


class BoundaryWarning(UserWarning):
    """A variance was estimated as zero, or a correlation as one, and the optimum was certified there.

    Examples
    --------
    Items that differ less than readings of one item:

    >>> import warnings
    >>> import pandas as pd
    >>> from implstats import BoundaryWarning, fit_mixed
    >>> frame = pd.DataFrame({"item": list("aabbcc"), "score": [1.0, 3.0, 1.5, 2.5, 2.0, 2.1]})
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     fit = fit_mixed(frame, formula="score ~ 1 + (1 | item)")
    >>> caught[0].category is BoundaryWarning, fit.convergence.converged
    (True, True)
    """
