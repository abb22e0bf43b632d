"""How a fit ended, as data."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Convergence"]


@dataclass(frozen=True, slots=True)
class Convergence:
    """The record of a fit's end.

    Attributes
    ----------
    converged : bool
        Whether the end is a certified optimum.
    boundary : bool
        Whether a variance is certified as zero or a correlation as plus or minus one.
    message : str
        The end in words.
    iterations, evaluations, restarts : int
        Optimiser steps, evaluations of the criterion, restarts from a false boundary.
    gradient : float
        Largest absolute derivative of the criterion in the scaled parameters.
    decrement : float
        Decrease of the criterion that a further Newton step would promise.
    """

    converged: bool
    boundary: bool
    message: str
    iterations: int
    evaluations: int
    restarts: int
    gradient: float
    decrement: float

    def to_dict(self) -> dict[str, Any]:
        """Return the record as a dictionary."""
        return asdict(self)
