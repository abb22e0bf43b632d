"""Plans of many cells for the tests of batches: a small one of two sites, which a test changes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.batch import run_plan
from implstats.examples import example_files

SMALL = """
figures = "none"

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


@pytest.fixture(scope="session")
def small_text() -> str:
    """Return the text of a plan of two sites."""
    return SMALL


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


RATED = """
[data]
file = "ratings.csv"
[batch]
by = "team"
[[batch.analysis]]
name = "agreement"
kind = "ratings"
item = "case"
rater = "rater"
score = "score"
[[batch.analysis]]
name = "of the mean"
kind = "ratings"
item = "case"
rater = "rater"
score = "score"
form = "A,k"
"""


@pytest.fixture
def ratings() -> pd.DataFrame:
    """Return what three raters say of ten cases in each of three teams."""
    source = np.random.default_rng(8)
    truth = source.normal(4, 1, (3, 10))
    rows = [
        {"team": "ABC"[t], "case": f"c{i}", "rater": r, "score": round(truth[t, i] + source.normal(0, 0.6), 2)}
        for t in range(3)
        for i in range(10)
        for r in ("x", "y", "z")
    ]
    return pd.DataFrame(rows)


@pytest.fixture
def rated(tmp_path: Path, ratings: pd.DataFrame) -> Callable[..., Path]:
    """Return what runs a plan of raters' agreement in three teams, with changes of its text and data, in a folder."""

    def run(name: str, *changes: tuple[str, str], data: pd.DataFrame | None = None, **how: Any) -> Path:
        (ratings if data is None else data).to_csv(tmp_path / "ratings.csv", index=False)
        text = RATED
        for part, put in changes:
            assert part in text
            text = text.replace(part, put)
        (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
        return run_plan(tmp_path / "plan.toml", out=tmp_path / name, **how)

    return run
