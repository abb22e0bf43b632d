"""Made studies for the growth models: enough patients, with slopes that differ, so that no variance is at zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist

ROLES: dict[str, Any] = {
    "outcome": "score",
    "time": "month",
    "patient": "patient",
    "cohort": "cohort",
    "reference": "before",
}


def made_study(
    cohorts: tuple[Any, ...] = ("before", "during"),
    times: tuple[float, ...] = (0, 6, 12, 18),
    change: tuple[float, ...] = (-1.2, -0.6, -0.9),
    each: int = 25,
    seed: int = 5,
) -> pd.DataFrame:
    """Return one row per patient and visit; `change` is each cohort's change until the last time."""
    rng = np.random.default_rng(seed)
    n, k = each * len(cohorts), len(times)
    which = np.repeat(np.arange(len(cohorts)), each)
    share = np.tile(times, n) / max(times)
    slope = np.array(change)[which] + rng.normal(scale=0.5, size=n)
    y = (
        3
        + np.repeat(rng.normal(scale=0.7, size=n), k)
        + np.repeat(slope, k) * share
        + rng.normal(scale=0.3, size=n * k)
    )
    return pd.DataFrame(
        {
            "patient": np.repeat(np.arange(1, n + 1), k),
            "cohort": np.repeat(np.array(cohorts, dtype=object), each * k),
            "month": np.tile(times, n),
            "score": y.round(3),
            "age": np.repeat(rng.integers(20, 60, n), k),
            "sex": np.repeat(rng.choice(["f", "m"], n), k),
            "site": np.repeat(np.tile(["A", "B", "C", "D", "E"], n // 5), k),
        }
    )


@pytest.fixture(scope="session")
def make() -> Callable[..., pd.DataFrame]:
    """Return the function that makes a study."""
    return made_study


@pytest.fixture(scope="session")
def study_frame() -> pd.DataFrame:
    """Return two cohorts of 25 patients at months 0, 6, 12 and 18. Copy before changing."""
    return made_study()


@pytest.fixture(scope="session")
def fit() -> Callable[..., Any]:
    """Return fit_growth with the roles of the made studies filled in, and lower being better."""

    def fitted(frame: pd.DataFrame, **options: Any) -> Any:
        return ist.fit_growth(frame, **(ROLES | {"better": "lower"} | options))

    return fitted


@pytest.fixture(scope="session")
def by_visit(study_frame: pd.DataFrame, fit: Callable[..., Any]) -> Any:
    """Return the made study's fit with visits as categories."""
    return fit(study_frame)


@pytest.fixture(scope="session")
def by_line(study_frame: pd.DataFrame, fit: Callable[..., Any]) -> Any:
    """Return the made study's fit with straight lines."""
    return fit(study_frame, shape="linear")
