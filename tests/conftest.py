"""What tests share: the bundled example is fitted once a session."""

from __future__ import annotations

from typing import Any

import pytest

import implstats as ist

ROLES = {"time": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}


@pytest.fixture(scope="session")
def visits() -> Any:
    """Return the simulated study: one row per patient and visit. Copy before changing."""
    return ist.load_example("reorganisation")


@pytest.fixture(scope="session")
def growth(visits: Any) -> Any:
    """Return a growth model of one outcome, lower being better."""
    return ist.fit_growth(visits, outcome="bsi", better="lower", shape="linear", **ROLES)


@pytest.fixture(scope="session")
def mixed(visits: Any) -> Any:
    """Return a model from a formula."""
    return ist.fit_mixed(visits, formula="bsi ~ month * cohort + (1 + month | patient)")


@pytest.fixture(scope="session")
def study(visits: Any) -> Any:
    """Return the main job: both outcomes at both times."""
    return ist.compare_cohorts(visits, outcomes={"bsi": "lower", "sipp": "higher"}, at=[18, 36], **ROLES)
