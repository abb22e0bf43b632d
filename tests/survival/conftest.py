"""What the tests of fit_cox share: simulated programmes, and a fit of them by default."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats.survival.cox import fit_cox


@cache
def _programmes() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    n = 240
    frame = pd.DataFrame(
        {
            "programme": [f"p{k:03d}" for k in range(n)],
            "organisation": rng.integers(0, 40, n),
            "country": rng.choice(["DE", "NL", "UK"], n),
            "era": rng.choice(["before", "during"], n),
            "kind": rng.choice(["day", "inpatient", "outpatient"], n),
            "support": rng.normal(4, 1.2, n).round(2),
            "copies": rng.integers(1, 3, n),
        }
    )
    effect = 0.5 * (frame["era"] == "during") - 0.4 * (frame["support"] - 4) + 0.02 * frame["organisation"]
    years = rng.exponential(size=n) * 6 * np.exp(-effect)
    end = rng.uniform(1, 8, n)
    frame["years"] = np.ceil(np.minimum(years, end) * 12) / 12
    frame["stopped"] = (years <= end).astype(int)
    frame["status"] = np.where(frame["stopped"] == 1, rng.choice(["stopped", "merged"], n), "active")
    frame["since"] = np.where(rng.random(n) < 0.3, frame["years"] * 0.4, 0.0)
    return frame


class Cox:
    """Programmes in organisations of three countries, and Cox models of when they stop."""

    @property
    def frame(self) -> pd.DataFrame:
        return _programmes().copy()

    def fit(self, data: pd.DataFrame | None = None, **options: Any) -> Any:
        roles = {"duration": "years", "event": "stopped", "terms": ["era", "support"]}
        return fit_cox(self.frame if data is None else data, **(roles | options))


@pytest.fixture(scope="session")
def cox() -> Cox:
    """Return the programmes and their fits."""
    return Cox()
