"""The committed tables are made of the committed results, every cell was run in full, and the command runs again."""

import json
import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import growth_table
import numpy as np
import pytest
import study
import survival_table
import table
import tools_table

HERE = Path(__file__).resolve().parent
TABLES = {"growth": growth_table, "survival": survival_table, "tools": tools_table}
REPLICATES = {"growth": 2_000, "survival": 2_000, "tools": 1_000}
CELLS = {name: {cell.name: cell for cell in family.cells()} for name, family in study.FAMILIES.items()}
families = pytest.mark.parametrize("name", study.FAMILIES)


def committed(name):
    return json.loads(study.FAMILIES[name].results.read_text(encoding="utf-8"))


@families
def test_the_committed_table_is_made_of_the_committed_results(name):
    family, results = study.FAMILIES[name], committed(name)
    assert family.table.read_text(encoding="utf-8") == family.markdown(results)
    assert family.results.read_text(encoding="utf-8") == study.written(results)


@families
def test_the_header_says_when_with_what_and_how_sure(name):
    text = " ".join(study.FAMILIES[name].markdown(committed(name)).splitlines()[:4])
    assert date.fromisoformat(re.search(r"Date (\S+);", text)[1]) >= date(2026, 1, 1)
    for package in ("python", "implstats", "numpy", "scipy", "pandas"):
        assert re.search(rf"{package} \d+\.\d+", text)
    assert f"seed {study.SEED}; {REPLICATES[name]:,} replicates" in text
    # sqrt(.95 * .05 / 2000), / 500 and / 1000.
    error = {"growth": "0.49 and 0.97", "survival": "0.49", "tools": "0.69"}
    assert f"{error[name]} percentage points" in text


@families
def test_every_cell_was_run_in_full(name):
    results = committed(name)
    assert set(results["cells"]) == set(CELLS[name])
    for cell_name, record in results["cells"].items():
        cell = CELLS[name][cell_name]
        assert record["replicates"] == cell.replicates == (500 if "bootstrap" in cell_name else REPLICATES[name])
        assert tuple(record["truths"]) == cell.truths
        for said in record["truths"].values():
            assert tuple(said["models"]) == cell.models
            for model, found in said["models"].items():
                assert tuple(found["methods"]) == cell.methods(model)
                for method, quantities in found["methods"].items():
                    assert tuple(quantities) == cell.asked(model, method)
                    for quantity in quantities.values():
                        answered = sum(quantity["sets"].values()) if name == "growth" else quantity["answered"]
                        assert answered + found["failed"] <= cell.replicates


@families
def test_every_number_outside_the_range_has_a_sentence_and_every_sentence_a_number(name):
    reasons = table.sentences(TABLES[name].REASONS)["reason"]
    found = [table.reason_of(one, reasons) for one in TABLES[name].outside(committed(name))]
    assert set(found) == set(range(len(reasons)))


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("growth", "20 + 20, drop-out"),
        ("survival", "Cox, 30 organisations, gamma frailty"),
        ("tools", "Drop-out, not at random, 100 + 100"),
    ],
)
def test_a_replicate_is_the_same_in_any_chunk(family, name):
    cell = CELLS[family][name]
    together, alone = (study.chunk(cell, "effect", range(*ends))["said"] for ends in ((3, 5), (4, 5)))
    for model in cell.models:
        np.testing.assert_array_equal(together[model][1], alone[model][0])


@families
def test_an_interrupted_run_goes_on(name, tmp_path, monkeypatch):
    family, chosen, partial, ran = study.FAMILIES[name], list(CELLS[name].values())[:2], tmp_path / "partial.json", []
    monkeypatch.setattr(study, "run_cell", lambda cell, *_: ran.append(cell.name) or {"replicates": 1.0})
    study.study(family, chosen[:1], None, 1, partial)
    again = study.study(family, chosen, None, 1, partial)
    assert ran == list(again["cells"]) == [cell.name for cell in chosen]
    # Another number of replicates is another run.
    study.study(family, chosen[:1], 7, 1, partial)
    assert len(ran) == 3


def test_cells_of_all_families_have_generators_of_their_own():
    keys = [cell.key for cells in CELLS.values() for name, cell in cells.items() if not name.endswith("bootstrap")]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--write", "--replicates", "7"], "a rough run is printed"), (["grwoth"], "no such family: grwoth; there are")],
)
def test_a_command_that_cannot_be_meant_is_refused(arguments, said, capsys):
    with pytest.raises(SystemExit):
        study.main(arguments)
    assert said in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("only", "row"),
    [
        ("complete, linear", "| 40 + 40, complete, linear | growth, linear | Kenward-Roger |"),
        ("30 + 30", "| 30 + 30 | restricted means | normal | difference |"),
        ("another line", "| another line, 100 + 100 | pattern_mixture | a line for who left | the tool | difference |"),
    ],
)
def test_the_command_prints_the_same_for_any_number_of_workers(only, row):
    source = {"PYTHONPATH": str(HERE.parents[1] / "src")}
    command = [sys.executable, str(HERE / "study.py"), "--replicates", "60", "--only", only]
    one, two = (
        subprocess.run([*command, "--workers", n], env=os.environ | source, capture_output=True, text=True, check=True)
        for n in ("1", "2")
    )
    assert one.stdout == two.stdout
    assert row in one.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("growth", "40 + 40, complete, linear"),
        ("survival", "Gray, 50 + 50, incidence alike"),
        ("tools", "Drop-out, not at random, 100 + 100"),
    ],
)
def test_the_committed_numbers_come_again(family, name):
    cell = CELLS[family][name]
    again = study.rounded(study.run_cell(cell, cell.replicates, workers=1))
    for truth, record in committed(family)["cells"][name]["truths"].items():
        for model, said in record["models"].items():
            for method, quantities in said["methods"].items():
                found = again["truths"][truth]["models"][model]["methods"][method]
                for quantity, values in quantities.items():
                    # One replicate of 2,000 may fall on the other side with another BLAS.
                    for what in ("coverage", "rejected"):
                        assert found[quantity].get(what) == pytest.approx(values.get(what), abs=0.1)
                    assert found[quantity].get("bias") == pytest.approx(values.get("bias"), abs=1e-4)
