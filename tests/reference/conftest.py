"""How our tables are held to a reference's: every number under the rule that the reference file names for it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

Rules = Mapping[str, Mapping[str, Any]]


class Held:
    """Comparisons under one reference file's rules."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules

    def fault(self, rule: str, value: float, reference: float, scale: float = 0.0) -> str:
        """Return what is wrong with a value, or nothing."""
        limits = self.rules[rule]
        if rule == "criterion":
            bad = not -limits["within"] <= value - reference <= limits["below"]
        else:
            size = max(abs(reference), scale) if limits["kind"].startswith("relative") else 1.0
            bad = not abs(value - reference) <= limits["tolerance"] * size
        if not bad:
            return ""
        return f"{rule}: {value!r}, reference {reference!r}, difference {value - reference:.3g} ({limits['kind']})"

    def value(self, rule: str, value: float, reference: float, scale: float = 0.0) -> None:
        """Fail if one value is off."""
        self.all([("", self.fault(rule, value, reference, scale))])

    def all(self, faults: Iterable[tuple[str, str]]) -> None:
        """Fail with every fault, each named."""
        lines = [f"{where}: {fault}" for where, fault in faults if fault]
        assert not lines, "\n" + "\n".join(lines)

    def matrix(self, rule: str, value: Any, reference: Any, size: Any) -> None:
        """Fail if elements of a matrix are off, each beside its own size."""
        cells = zip(np.ravel(value), np.ravel(reference), np.ravel(size), strict=True)
        self.all((f"element {k}", self.fault(rule, *map(float, cell))) for k, cell in enumerate(cells))

    def table(
        self,
        got: pd.DataFrame,
        reference: pd.DataFrame,
        keys: Sequence[str],
        rules: Mapping[str, str],
        scale: Callable[[Mapping[str, Any]], float] = lambda row: float(row["std_error"]),
    ) -> None:
        """Compare each reference row with our row of the same keys; what the reference leaves out is left out."""
        assert len(reference), "an empty reference"
        mine = {tuple(row[k] for k in keys): row for row in got.to_dict("records")}
        faults = []
        for row in reference.to_dict("records"):
            where = tuple(row[k] for k in keys)
            if where not in mine:
                faults.append((str(where), f"no such row among {list(mine)}"))
                continue
            for column, rule in rules.items():
                if not math.isnan(row[column]):
                    said = self.fault(rule, float(mine[where][column]), float(row[column]), scale(row))
                    faults.append((f"{where} {column}", said))
        self.all(faults)


@pytest.fixture(scope="session")
def held() -> type[Held]:
    """Return the comparison, to be made with a file's rules."""
    return Held
