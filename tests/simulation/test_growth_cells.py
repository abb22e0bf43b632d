"""The study of growth models knows its own truth, and agrees with the closed form where there is one."""

import json
from dataclasses import replace

import growth_cells
import numpy as np
import pytest
import study
from scipy import stats

CELLS = {cell.name: cell for cell in growth_cells.cells()}


def generator(cell, replicate):
    return study._parallel.generators(study.SEED, cell.key, 0, replicate)


def test_truth_of_unequal_cohorts_by_hand():
    # Variances .25 and .5625, weighted by 59 and 19: 25.4375 / 78 = .326122, SD .571071; improvements .45 and .20.
    true = CELLS["60 + 20, SD ratio 1.5, complete"].truth_of("effect", "growth")
    assert true["d before"] == pytest.approx(0.45 / 0.571071, rel=1e-6)
    assert true["difference in d"] == pytest.approx(-0.25 / 0.571071, rel=1e-6)
    assert (true["level"], true["change"]) == pytest.approx((0.25, 0.25))
    assert true["retained"] == pytest.approx(4 / 9)


@pytest.mark.parametrize("name", ["60 + 20, SD ratio 1.5, complete", "100 + 100, drop-out"])
def test_a_large_draw_approaches_the_truth(name):
    cell = replace(CELLS[name], sizes=(60_000, 40_000))
    frame = cell.draw("effect", np.random.default_rng(1))
    at_start = frame[frame["month"] == 0].groupby("cohort")["score"].agg(["mean", "std", "size"])
    np.testing.assert_allclose(at_start["mean"], 2.0, atol=0.02)
    np.testing.assert_allclose(at_start["std"], np.array([0.5, 0.5]) * cell.spread, rtol=0.02)
    seen = frame[frame["month"] == 36].groupby("cohort").size() / at_start["size"]
    if not cell.leave:
        assert seen.tolist() == [1.0, 1.0]
        last = frame[frame["month"] == 36].groupby("cohort")["score"].mean()
        np.testing.assert_allclose(2.0 - last, [0.45, 0.20], atol=0.02)
    else:
        assert seen.between(0.65, 0.75).all()
        left = frame.groupby("patient")["month"].max() < 18
        start = frame[frame["month"] == 0].set_index("patient")["score"]
        assert start[left].mean() > start[~left].mean() + 0.2


def closed_form(frame, sizes):
    """Return d per cohort with its interval, and Fieller's set, of complete data: means, variances and t, no model."""
    wide = frame.pivot(index="patient", columns="month", values="score").to_numpy()
    parts = [wide[: sizes[0]], wide[sizes[0] :]]
    df = np.array(sizes) - 1
    square = float(df @ [part[:, 0].var(ddof=1) for part in parts] / df.sum())
    changes = [part[:, 0] - part[:, -1] for part in parts]
    change, spread = (np.array([f(c) for c in changes]) for f in (np.mean, lambda c: c.var(ddof=1) / len(c)))
    d, half = change / square**0.5, stats.t.ppf(0.975, df)
    half = half * np.sqrt(spread / square + d**2 / (2 * df.sum()))
    (b, a), (v_b, v_a), ratio = change, spread, change[1] / change[0]
    t = stats.t.ppf(0.975, (v_a + ratio**2 * v_b) ** 2 / (v_a**2 / df[1] + (ratio**2 * v_b) ** 2 / df[0]))
    ends = np.sort(np.roots([b**2 - t**2 * v_b, -2 * a * b, a**2 - t**2 * v_a]))
    return np.column_stack([[*d, ratio], [*(d - half), ends[0]], [*(d + half), ends[1]]])


def test_complete_data_give_the_closed_form():
    cell = replace(CELLS["60 + 20, SD ratio 1.5, complete"], models=("MMRM, per cohort",))
    said = study.chunk(cell, "effect", [0])["said"]["MMRM, per cohort"][0, 0]
    frame = cell.draw("effect", generator(cell, 0))
    np.testing.assert_allclose(said[[2, 3, 5]][:, [0, 2, 3]], closed_form(frame, cell.sizes), rtol=1e-6)


def test_sets_that_hold_the_truth():
    kinds = np.array(
        [growth_cells.SETS.index(word) for word in ("bounded", "bounded", "outside", "outside", "unbounded", "none")]
    )
    low = np.array([0.1, 0.6, -1.0, 0.5, -np.inf, np.nan])
    high = np.array([0.9, 0.9, 0.7, 0.8, np.inf, np.nan])
    # Two rays hold what is not between their ends: .4 lies between -1 and .7, but not between .5 and .8.
    assert growth_cells.covers(0.4, low, high, kinds).tolist() == [True, False, False, True, True, False]


@pytest.mark.slow
def test_the_low_coverage_of_100_and_100_complete_is_chance():
    # The closed form is the library's answer here; the 14,000 replicates after those of the table cover as they should.
    cell = CELLS["100 + 100, complete"]
    asked, held = ("d before", "d during", "retained"), []
    true = np.array([cell.truth_of("effect", "growth")[what] for what in asked])
    for replicate in range(16_000):
        _, low, high = closed_form(cell.draw("effect", generator(cell, replicate)), cell.sizes).T
        held.append((low <= true) & (true <= high))
    first, rest = 100 * np.mean(held[:2_000], axis=0), 100 * np.mean(held[2_000:], axis=0)
    results = json.loads(study.FAMILIES["growth"].results.read_text(encoding="utf-8"))
    record = results["cells"][cell.name]["truths"]["effect"]["models"]["MMRM, per cohort"]
    said = [record["methods"]["satterthwaite, fieller"][what]["coverage"] for what in asked]
    assert first == pytest.approx(said, abs=0.1)
    assert (np.abs(rest - 95) < 0.75).all()


@pytest.mark.slow
def test_a_small_study_covers():
    # 300 replicates: five Monte Carlo errors are 6.3 points.
    cell = CELLS["40 + 40, complete"]
    record = study.run_cell(cell, 300, workers=1)
    for truth in record["truths"].values():
        for model in truth["models"].values():
            assert model["failed"] == 0
            for quantity in model["methods"]["kenward-roger, fieller"].values():
                assert abs(quantity["coverage"] - 95) < 6.3
