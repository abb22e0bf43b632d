"""The committed table is made of the committed results, the study knows its own truth, and a part of it runs again."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

HERE = Path(__file__).resolve().parent


def load(name):
    spec = importlib.util.spec_from_file_location(f"simulation_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


study, table = load("study"), load("table")
CELLS = {cell.name: cell for cell in study.cells()}


@pytest.fixture(scope="module")
def results():
    return json.loads((HERE / "results.json").read_text(encoding="utf-8"))


def test_the_committed_table_is_made_of_the_committed_results(results):
    assert (HERE / "table.md").read_text(encoding="utf-8") == table.markdown(results)
    assert (HERE / "results.json").read_text(encoding="utf-8") == study.written(results)


def test_the_header_says_when_with_what_and_how_sure(results):
    text = " ".join(table.markdown(results).splitlines()[:4])
    assert date.fromisoformat(re.search(r"Date (\S+);", text)[1]) >= date(2026, 1, 1)
    for package in ("python", "implstats", "numpy", "scipy", "pandas"):
        assert re.search(rf"{package} \d+\.\d+", text)
    assert f"seed {study.SEED}; 2,000 replicates, with bootstrap 500 of 399 draws" in text
    # sqrt(.95 * .05 / 2000) and / 500.
    assert "0.49 and 0.97 percentage points" in text


def test_every_cell_was_run_in_full(results):
    assert set(results["cells"]) == set(CELLS)
    for name, record in results["cells"].items():
        cell = CELLS[name]
        assert record["replicates"] == cell.replicates == (500 if cell.kinds else 2_000)
        assert tuple(record["truths"]) == cell.truths
        for said in record["truths"].values():
            assert tuple(said["models"]) == cell.models
            for model in said["models"].values():
                answered = sum(model["methods"][cell.methods[0]]["level"]["sets"].values())
                assert answered + model["failed"] == cell.replicates


def test_every_number_outside_the_range_has_a_sentence_and_every_sentence_a_number(results):
    reasons = table.sentences()["reason"]
    found = [table.reason_of(one, reasons) for one in table.outside(results)]
    assert set(found) == set(range(len(reasons)))


def test_truth_of_unequal_cohorts_by_hand():
    # Variances .25 and .5625, weighted by 59 and 19: 25.4375 / 78 = .326122, SD .571071; improvements .45 and .20.
    true = CELLS["60 + 20, SD ratio 1.5, complete"].truth_of("effect")
    assert true["d before"] == pytest.approx(0.45 / 0.571071, rel=1e-6)
    assert true["difference in d"] == pytest.approx(-0.25 / 0.571071, rel=1e-6)
    assert (true["level"], true["change"]) == pytest.approx((0.25, 0.25))
    assert true["retained"] == pytest.approx(4 / 9)


@pytest.mark.parametrize("name", ["60 + 20, SD ratio 1.5, complete", "100 + 100, drop-out"])
def test_a_large_draw_approaches_the_truth(name):
    cell = replace(CELLS[name], sizes=(60_000, 40_000))
    frame = study.draw(cell, "effect", np.random.default_rng(1))
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
    key = study.zlib.crc32(cell.name.encode())
    frame = study.draw(cell, "effect", study._parallel.generators(study.SEED, key, 0, 0))
    np.testing.assert_allclose(said[[2, 3, 5]][:, [0, 2, 3]], closed_form(frame, cell.sizes), rtol=1e-6)


def test_sets_that_hold_the_truth():
    kinds = np.array(
        [study.SETS.index(word) for word in ("bounded", "bounded", "outside", "outside", "unbounded", "none")]
    )
    low = np.array([0.1, 0.6, -1.0, 0.5, -np.inf, np.nan])
    high = np.array([0.9, 0.9, 0.7, 0.8, np.inf, np.nan])
    # Two rays hold what is not between their ends: .4 lies between -1 and .7, but not between .5 and .8.
    assert study.covers(0.4, low, high, kinds).tolist() == [True, False, False, True, True, False]


def test_a_replicate_is_the_same_in_any_chunk():
    cell = CELLS["20 + 20, drop-out"]
    together, alone = (study.chunk(cell, "effect", range(*ends))["said"] for ends in ((3, 5), (4, 5)))
    for model in cell.models:
        np.testing.assert_array_equal(together[model][1], alone[model][0])


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    chosen, partial, ran = list(CELLS.values())[:2], tmp_path / "partial.json", []
    monkeypatch.setattr(study, "run_cell", lambda cell, *_: ran.append(cell.name) or {"replicates": 1.0})
    study.study(chosen[:1], None, 1, partial)
    again = study.study(chosen, None, 1, partial)
    assert ran == list(again["cells"]) == [cell.name for cell in chosen]
    # Another number of replicates is another run.
    study.study(chosen[:1], 7, 1, partial)
    assert len(ran) == 3


@pytest.mark.slow
def test_the_low_coverage_of_100_and_100_complete_is_chance(results):
    # The closed form is the library's answer here; the 14,000 replicates after those of the table cover as they should.
    cell = CELLS["100 + 100, complete"]
    asked = ("d before", "d during", "retained")
    true = np.array([cell.truth_of("effect")[what] for what in asked])
    key, held = study.zlib.crc32(cell.name.encode()), []
    for replicate in range(16_000):
        frame = study.draw(cell, "effect", study._parallel.generators(study.SEED, key, 0, replicate))
        _, low, high = closed_form(frame, cell.sizes).T
        held.append((low <= true) & (true <= high))
    first, rest = 100 * np.mean(held[:2_000], axis=0), 100 * np.mean(held[2_000:], axis=0)
    record = results["cells"][cell.name]["truths"]["effect"]["models"]["MMRM, per cohort"]
    said = [record["methods"]["satterthwaite, fieller"][what]["coverage"] for what in asked]
    assert first == pytest.approx(said, abs=0.1)
    assert (np.abs(rest - 95) < 0.75).all()


@pytest.mark.slow
def test_the_command_prints_the_same_for_any_number_of_workers():
    source = {"PYTHONPATH": str(HERE.parents[1] / "src")}
    command = [sys.executable, str(HERE / "study.py"), "--replicates", "60", "--only", "complete, linear"]
    one, two = (
        subprocess.run([*command, "--workers", n], env=os.environ | source, capture_output=True, text=True, check=True)
        for n in ("1", "2")
    )
    assert one.stdout == two.stdout
    assert "| 40 + 40, complete, linear | growth, linear | Kenward-Roger |" in one.stdout


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


@pytest.mark.slow
def test_the_committed_numbers_come_again(results):
    name = "40 + 40, complete, linear"
    cell = CELLS[name]
    again = study.rounded(study.run_cell(cell, cell.replicates, workers=1))
    for truth, record in results["cells"][name]["truths"].items():
        for method, quantities in record["models"]["growth, linear"]["methods"].items():
            found = again["truths"][truth]["models"]["growth, linear"]["methods"][method]
            for quantity, values in quantities.items():
                # One replicate of 2,000 may fall on the other side with another BLAS.
                assert found[quantity]["coverage"] == pytest.approx(values["coverage"], abs=0.1)
                assert found[quantity]["bias"] == pytest.approx(values["bias"], abs=1e-4)
