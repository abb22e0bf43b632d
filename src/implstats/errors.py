"""What can go wrong, as types: bad data, a bad plan, a fit that did not end, a variance at zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["BoundaryWarning", "ConvergenceError", "DataError", "ImplstatsError", "PlanError"]


class ImplstatsError(Exception):
    """Base of every error that implstats raises on purpose."""


class DataError(ImplstatsError, ValueError):
    """An argument or the data cannot answer the question; the message names argument, value, fault and remedy."""


class PlanError(ImplstatsError, ValueError):
    """A plan for `implstats run` cannot be carried out as it is written."""


class ConvergenceError(ImplstatsError):
    """An optimiser ended without a certified optimum.

    Attributes
    ----------
    record : mapping
        How the fit ended: method, iterations, evaluations, gradient, reason.
    """

    def __init__(self, message: str, record: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.record: Mapping[str, Any] = dict(record or {})

    def __reduce__(self) -> tuple[type[ConvergenceError], tuple[str, dict[str, Any]]]:
        return type(self), (str(self), dict(self.record))


class BoundaryWarning(UserWarning):
    """A variance was estimated as zero, or a correlation as one, and the optimum was certified there."""
