"""Power curves draw the shares and widths of their table, each quantity in its own look."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import implstats as ist
from implstats import plot
from implstats.errors import DataError


@pytest.fixture(scope="module")
def curve() -> Any:
    truth = ist.OutcomeTruth(
        better="lower", mean=2.0, sd=0.5, residual_sd=0.3, d={"before": {12: 1.2}, "during": {12: 0.5}}
    )
    scenario = ist.Scenario(patients={"before": 20, "during": 20}, visits=(0, 12), outcomes={"bsi": truth})
    return ist.power(scenario, n=[12, 24, 48], replicates=60, rng=2)


@pytest.mark.parametrize(("panel", "gid"), [(0, "power"), (1, "width")])
def test_lines_are_the_table(curve: Any, panel: int, gid: str) -> None:
    lines = [line for line in plot.power(curve)[panel].lines if line.get_gid() == gid]
    table = curve.tidy()
    assert len(lines) == 2
    for line, quantity in zip(lines, ("difference", "retained"), strict=True):
        np.testing.assert_allclose(line.get_xydata(), table.loc[table["quantity"] == quantity, ["n", gid]])
    assert len({line.get_linestyle() for line in lines}) == 2


def test_the_target_is_a_line_and_bands_hold_monte_carlo_error(curve: Any) -> None:
    left, right = plot.power(curve, target=0.9, level=0.5)
    assert any(line.get_gid() is None and set(line.get_ydata()) == {0.9} for line in left.lines)
    rows = curve.tidy(level=0.5).query("quantity == 'difference'")
    band = left.collections[0].get_paths()[0].vertices
    assert set(np.round(rows["power_low"], 9)) <= set(np.round(band[:, 1], 9))
    assert right.get_ylim()[0] == 0


def test_a_target_is_a_share(curve: Any) -> None:
    with pytest.raises(DataError, match=r"^target=80: not between 0 and 1"):
        plot.power(curve, target=80)
