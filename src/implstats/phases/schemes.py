"""Named sequences of phases: three of a roadmap, five of Make it Happen, eight Stages of Implementation Completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from implstats import _check
from implstats.errors import DataError

__all__ = ["NOT_BEGUN", "SCHEMES", "STOPPED", "named_phases", "place_of"]

# States beside the phases that a programme can be in.
STOPPED, NOT_BEGUN = "stopped", "not begun"

# Chamberlain, Brown & Saldana 2011 name the eight. Of Make it Happen's five, the paper that describes it (DOI
# 10.1186/s43058-024-00610-y) names the first and tells what is done in the others; their names here are those verbs.
SCHEMES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mip": ("pre-implementation", "implementation", "sustainability"),
        "make-it-happen": ("onboarding", "design", "build", "train", "evaluate"),
        "sic": (
            "engagement",
            "consideration of feasibility",
            "readiness planning",
            "staff hired and trained",
            "fidelity monitoring processes in place",
            "services and consultation begin",
            "ongoing services, consultation, fidelity monitoring and feedback",
            "competency",
        ),
    }
)


def named_phases(scheme: Any) -> tuple[Any, ...]:
    """Return the phases of a scheme in their order: of a named one, or the user's own sequence."""
    if isinstance(scheme, str):
        if scheme not in SCHEMES:
            own = "or give your own phases in order, as a list"
            raise DataError(f"scheme={_check.show(scheme)}: unknown option{_check.nearest(scheme, SCHEMES)}; {own}")
        return SCHEMES[scheme]
    phases = tuple(scheme) if isinstance(scheme, Sequence) else ()
    if len(phases) < 2 or len(set(map(str, phases))) < len(phases):
        raise DataError(f"scheme={_check.show(scheme)}: not two or more different phases in their order")
    if taken := [phase for phase in phases if phase in (STOPPED, NOT_BEGUN)]:
        fault = f"{_check.show(taken[0])} is the state of programmes that are in no phase"
        raise DataError(f"scheme={_check.show(scheme)}: {fault}; rename the phase")
    return phases


def place_of(label: Any, phases: Sequence[Any]) -> int:
    """Return the place of a phase, by its name or, where phases have names, by its number from 1; -1 for neither."""
    if label in phases:
        return list(phases).index(label)
    numbered = (
        isinstance(label, int | float | np.number)
        and not isinstance(label, bool)
        and label in range(1, len(phases) + 1)
    )
    return int(label) - 1 if numbered and all(isinstance(phase, str) for phase in phases) else -1
