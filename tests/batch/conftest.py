"""Plans of many cells for the tests of batches: a small one of two sites, which a test changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import implstats as ist
from implstats.examples import example_files

SMALL = """
[data]
file = "visits.csv"

[roles]
patient = "patient"
time = "month"
cohort = "cohort"
reference = "before"

[outcomes]
bsi = "lower"
sipp = "higher"

[batch]
by = "site"
figures = "none"

[[batch.analysis]]
name = "growth"
kind = "growth"
at = [18, 36]
shape = "linear"
"""


@pytest.fixture(scope="session")
def sites() -> pd.DataFrame:
    """Return visits of six sites. Copy before changing."""
    return ist.load_example("multisite")


@pytest.fixture
def small(tmp_path: Path, sites: pd.DataFrame) -> Callable[..., Path]:
    """Return what writes a plan of two sites, with changes of its text, and its data."""

    def write(*changes: tuple[str, str], data: pd.DataFrame | None = None) -> Path:
        frame = sites[sites["site"].isin(["NL", "NO"])] if data is None else data
        frame.to_csv(tmp_path / "visits.csv", index=False)
        text = SMALL
        for part, put in changes:
            assert part in text
            text = text.replace(part, put)
        (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
        return tmp_path / "plan.toml"

    return write


@pytest.fixture
def bundled(tmp_path: Path) -> Path:
    """Return a copy of the bundled batch."""
    for file in example_files("multisite"):
        shutil.copyfile(file, tmp_path / file.name)
    return tmp_path / "batch.toml"
