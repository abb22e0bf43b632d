"""Love plots draw the standardised differences of a balance table, before and after weighting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats import plot


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "cohort": list("aaaabbbbcccc"),
            "age": [20.0, 30, 40, 50, 30, 40, 50, 60, 25, 35, 45, 60],
            "sex": list("fmfmfmffmmmf"),
            "w": [1.0, 2, 1, 2, 3, 1, 1, 2, 1, 1, 2, 2],
        }
    )


def points(ax: Any, gid: str) -> np.ndarray:
    return next(np.asarray(line.get_xydata()) for line in ax.lines if line.get_gid() == gid)


def test_every_cohort_beside_the_reference_has_its_differences(frame: pd.DataFrame) -> None:
    table = ist.balance_table(frame, cohort="cohort", reference="a", covariates=["age", "sex"], weights="w")
    axes = plot.balance(table)
    assert len(axes) == 2
    for ax, cohort in zip(axes, "bc", strict=True):
        rows = table.tidy().set_index("cohort").loc[[cohort]]
        for gid, weighted in (("before", False), ("after", True)):
            drawn = points(ax, gid)
            np.testing.assert_allclose(drawn[:, 0], rows.loc[rows["weighted"] == weighted, "std_difference"])
            assert drawn[:, 1].round().tolist() == [0, 1]
        assert [tick.get_text() for tick in ax.get_yticklabels()] == ["age", "sex = m"]


def test_intervals_follow_the_level(frame: pd.DataFrame) -> None:
    two = frame[frame["cohort"] != "c"]
    table = ist.balance_table(two, cohort="cohort", reference="a", covariates=["age"])
    ax = plot.balance(table, level=0.5)
    ends = next(c for c in ax.collections if c.get_gid() == "intervals").get_segments()[0][:, 0]
    np.testing.assert_allclose(ends, table.tidy(level=0.5).query("cohort == 'b'")[["conf_low", "conf_high"]].iloc[0])
    assert "50 % intervals" in ax.get_xlabel().replace("\n", " ")


@pytest.mark.parametrize("age", [[1.0] * 4 + [2.0] * 4, [np.nan] * 4 + [2.0, 3, 4, 5]])
def test_a_difference_that_is_infinite_or_unknown_leaves_its_line_empty(frame: pd.DataFrame, age: list[float]) -> None:
    two = frame[frame["cohort"] != "c"].assign(age=age)
    ax = plot.balance(ist.balance_table(two, cohort="cohort", reference="a", covariates=["age", "sex"]))
    ax.figure.canvas.draw()
    assert np.isfinite(ax.get_xlim()).all()
    assert np.isfinite(points(ax, "before")[:, 0]).tolist() == [False, True]
