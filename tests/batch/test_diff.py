"""Two runs compared: what moved, by how much, and why; nothing that is not a whole run is compared."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.batch import compare_runs, run_plan, work
from implstats.batch.folder import digest
from implstats.errors import DataError, PlanError
from implstats.results import COLUMNS

Write = Callable[..., Path]
Rate = Callable[..., Path]
ROLES: dict[str, Any] = {"item": "case", "rater": "rater", "score": "score"}


def moved_by(monkeypatch: pytest.MonkeyPatch, step: float) -> None:
    """Let every cell come out a little larger, as another machine or version may have it."""
    real = work.carry_out_cell

    def shifted(cell: Any) -> Any:
        record = real(cell)
        for row in record["rows"]:
            row["estimate"] += step
        return record

    monkeypatch.setattr(work, "carry_out_cell", shifted)


def cells(found: ist.RunComparison) -> dict[tuple[str, str], str]:
    table = found.tidy()
    return {(r["analysis"], r["site"]): r["why"] for r in table.to_dict("records")}


# What moved, and why -------------------------------------------------------------------------------------------------


def test_the_same_run_twice_has_nothing_that_moved(rated: Rate) -> None:
    found = compare_runs(rated("old"), rated("new"), tolerance=0)
    assert found.same
    assert found.tidy().empty
    assert found.header()[0].endswith("nothing moved, all 6 cells are the same")
    assert repr(found).startswith("runs '")
    assert "\n\n" not in repr(found)
    row = found.glance().iloc[0]
    assert (row["cells_old"], row["cells_new"], row["moved"]) == (6, 6, 0)


def test_changed_data_moves_the_cells_of_their_site(rated: Rate, ratings: pd.DataFrame) -> None:
    changed = ratings.copy()
    changed.loc[changed["team"] == "B", "score"] = np.random.default_rng(1).normal(4, 1, 30).round(2)
    found = compare_runs(rated("old"), rated("new", data=changed))
    assert cells(found) == {("agreement", "B"): "data", ("of the mean", "B"): "data"}
    table = found.tidy()
    assert set(table["moved"]) == {"estimate, interval"}
    assert set(table["reading"]) == {"data: its rows"}
    for side, frame in (("old", ratings), ("new", changed)):
        icc = ist.icc(frame[frame["team"] == "B"], **ROLES).tidy().iloc[0]
        for name in ("estimate", "conf_low", "conf_high"):
            assert table[f"{name}_{side}"][0] == pytest.approx(icc[name], rel=1e-12)
    one = table.iloc[0]
    half = (one["conf_high_old"] - one["conf_low_old"]) / 2
    assert one["shift"] == pytest.approx((one["estimate_new"] - one["estimate_old"]) / half, rel=1e-12)
    row = found.glance().iloc[0]
    assert (row["moved"], row["by_data"], row["by_plan"], row["appeared"]) == (2, 2, 0, 0)
    assert "why, in cells: data 2" in found.header()
    assert set(table.columns) <= set(COLUMNS)


def test_a_changed_plan_moves_the_cells_of_its_analysis(rated: Rate) -> None:
    found = compare_runs(rated("old"), rated("new", ('form = "A,k"', 'form = "C,k"')))
    assert cells(found) == {("of the mean", team): "plan" for team in "ABC"}
    assert set(found.tidy()["reading"]) == {"plan: options.form 'A,k' to 'C,k'"}
    # Another form is another quantity: one goes, one comes, and the cell stays.
    assert sorted(found.tidy()["moved"]) == ["appeared"] * 3 + ["disappeared"] * 3
    assert found.glance().loc[0, ["moved", "appeared", "disappeared"]].tolist() == [3, 0, 0]


def test_another_version_is_the_cause_only_of_what_it_moved(rated: Rate, monkeypatch: pytest.MonkeyPatch) -> None:
    old = rated("old")
    monkeypatch.setattr(ist, "__version__", "0.2.0")
    assert compare_runs(old, rated("same")).same
    moved_by(monkeypatch, 0.01)
    found = compare_runs(old, rated("new"))
    assert set(cells(found).values()) == {"version"}
    assert len(cells(found)) == 6
    assert set(found.tidy()["moved"]) == {"estimate"}
    assert set(found.tidy()["reading"]) == {"version: 0.1.0 to 0.2.0"}
    np.testing.assert_allclose(found.tidy()["estimate_new"] - found.tidy()["estimate_old"], 0.01, rtol=1e-9)


def test_several_causes_are_told_apart_where_only_one_is_at_work(rated: Rate, ratings: pd.DataFrame) -> None:
    changed = ratings.copy()
    changed.loc[changed.index[:9], "score"] += 1.5
    found = compare_runs(rated("old"), rated("new", ("[batch]", "[batch]\nlevel = 0.8"), data=changed))
    why = {site: why for (_, site), why in cells(found).items()}
    assert why == {"A": "several", "B": "plan", "C": "plan"}
    assert "data: its rows; plan: level 0.95 to 0.8" in set(found.tidy()["reading"])


def test_what_moved_without_a_known_cause_is_said_to(rated: Rate, monkeypatch: pytest.MonkeyPatch) -> None:
    old = rated("old")
    moved_by(monkeypatch, 0.001)
    new = rated("new")
    found = compare_runs(old, new)
    assert set(cells(found).values()) == {"nothing known"}
    assert set(found.tidy()["reading"]) == {"same rows, plan and version; same software and system"}
    told = json.loads((new / "manifest.json").read_text("utf-8"))
    told["versions"]["numpy"] = "9.9"
    (new / "manifest.json").write_text(json.dumps(told), encoding="utf-8")
    assert compare_runs(old, new).tidy()["reading"][0].endswith("to 9.9")


def test_the_tolerance_is_a_share_of_half_the_interval(rated: Rate, monkeypatch: pytest.MonkeyPatch) -> None:
    old = rated("old")
    moved_by(monkeypatch, 1e-8)
    new = rated("new")
    found = compare_runs(old, new)
    assert found.same
    assert "6 quantities differ by 1e-06 of half their interval's width or less: the same here" in found.header()
    table = compare_runs(old, new, tolerance=0).tidy()
    assert len(table) == 6
    share = table["shift"].abs()
    middle = float(share.median())
    assert len(compare_runs(old, new, tolerance=middle).tidy()) == (share > middle).sum()
    with pytest.raises(DataError, match=r"tolerance=-1: less than 0"):
        compare_runs(old, new, tolerance=-1)


def test_the_same_file_read_otherwise_is_a_changed_plan(rated: Rate, ratings: pd.DataFrame) -> None:
    data = ratings.copy()
    data.loc[data.index[0], "score"] = 99.0
    old = rated("old", data=data)
    new = rated("new", ('file = "ratings.csv"', 'file = "ratings.csv"\nmissing_codes = { score = [99] }'), data=data)
    found = compare_runs(old, new)
    assert {site for _, site in cells(found)} == {"A"}
    assert set(cells(found).values()) == {"plan"}
    assert found.tidy()["reading"][0].startswith("plan: missing_codes")


def test_cells_that_only_one_run_has(rated: Rate, ratings: pd.DataFrame) -> None:
    old, changed = rated("old"), ratings.copy()
    changed["team"] = changed["team"].replace({"C": "D"})
    found = compare_runs(old, rated("new", data=changed))
    table = found.tidy().set_index(["analysis", "site"])
    assert table.loc[("agreement", "C"), ["moved", "why"]].tolist() == ["disappeared", "data"]
    assert table.loc[("agreement", "D"), ["moved", "why", "status_new"]].tolist() == ["appeared", "data", "done"]
    assert found.glance().loc[0, ["moved", "appeared", "disappeared"]].tolist() == [0, 2, 2]
    renamed = compare_runs(old, rated("renamed", ('name = "agreement"', 'name = "single raters"')))
    assert set(renamed.tidy()["analysis"]) == {"agreement", "single raters"}
    assert set(renamed.tidy()["why"]) == {"plan"}
    both = ratings.assign(ward=ratings["team"] + "2")
    by = compare_runs(rated("by team", data=both), rated("by ward", ('by = "team"', 'by = "ward"'), data=both))
    assert set(by.tidy()["why"]) == {"plan"}
    assert set(by.tidy()["reading"]) == {"the same file is divided into other sites, or read otherwise"}


def test_a_cell_that_fails_now_is_one_row_with_its_reason(rated: Rate, ratings: pd.DataFrame) -> None:
    old, changed = rated("old"), ratings.copy()
    changed.loc[changed["team"] == "A", "score"] = 3.0
    found = compare_runs(old, rated("new", data=changed))
    row = found.tidy().query("analysis == 'agreement'")
    assert row[["site", "moved", "why", "status_old", "status_new"]].to_numpy().tolist() == [
        ["A", "status", "data", "done", "failed"]
    ]
    assert row["reading"].item().startswith("data: its rows; ")
    assert len(row["reading"].item()) > len("data: its rows; ")
    # What fails stands first, whatever else moved.
    assert repr(found).split("\n\n")[1].split("\n")[1].startswith("agreement, score, A")


def test_every_site_moves_with_the_sd_of_all(small: Write, sites: pd.DataFrame, tmp_path: Path) -> None:
    old = run_plan(small(), out=tmp_path / "old")
    here = sites[sites["site"].isin(["NL", "NO"])].copy()
    here.loc[here.index[(here["site"] == "NO") & (here["month"] == 0)][:3], "bsi"] += 0.5
    found = compare_runs(old, run_plan(small(data=here), out=tmp_path / "new"))
    table = found.tidy()
    assert set(table["outcome"]) == {"bsi"}
    assert set(table["why"]) == {"data"}
    assert set(table.query("site == 'NO'")["reading"]) == {"data: its rows"}
    assert table.query("site == 'NL'")["reading"].str.match(r"data: rows of other sites, by the SD of all \(0\.").all()
    assert "why, in cells: data 2; 1 of them have the rows that they had, and moved by the SD of all sites" in (
        found.header()
    )
    # A ratio of changes has no SD in it.
    assert set(table.query("site == 'NL'")["quantity"]) == {"d", "difference"}
    pooled = table.query("site == 'over all sites'")
    assert set(pooled["quantity"]) == {"difference"}
    assert pooled["reading"].tolist() == ["what it rests on moved: data"] * len(pooled)
    assert found.glance().loc[0, "moved"] == 2


def test_a_corrected_p_value_moves_with_its_family(small: Write, tmp_path: Path) -> None:
    old = run_plan(small(), out=tmp_path / "old")
    more = '\n[[batch.analysis]]\nname = "mmrm"\nkind = "mmrm"\nat = [18, 36]\n'
    both = ('shape = "linear"', f'shape = "linear"{more}')
    new = run_plan(small(both), out=tmp_path / "new")
    table = compare_runs(old, new).tidy().query("analysis == 'growth'")
    assert set(table["moved"]) == {"corrected p-value"}
    assert set(table["why"]) == {"plan"}
    assert (table["estimate_old"] == table["estimate_new"]).all()
    assert (table["p_corrected_new"] > table["p_corrected_old"]).any()
    # Where the family alone is another one, no cell is.
    alone = run_plan(small(both, ('by = "site"', 'by = "site"\nfamily = ["growth"]')), out=tmp_path / "alone")
    table = compare_runs(new, alone).tidy()
    assert set(table["moved"]) == {"corrected p-value"}
    assert set(table["why"]) == {"plan"}
    assert {"growth", "mmrm"} == set(table["analysis"])


def test_intervals_that_now_hold_0_are_named(small: Write, tmp_path: Path) -> None:
    old = run_plan(small(), out=tmp_path / "old")
    new = run_plan(small(('by = "site"', 'by = "site"\nlevel = 0.5')), out=tmp_path / "new")
    table = compare_runs(old, new).tidy().query("quantity == 'difference'")
    gained = ((table["conf_high_old"] > 0) & (table["conf_high_new"] < 0)).sum()
    assert gained > 0
    for runs, words in (((old, new), "held 0 and excludes it now"), ((new, old), "excluded 0 and holds it now")):
        lines = [line for line in compare_runs(*runs).header() if line.startswith("interval ")]
        assert len(lines) == 1
        assert lines[0].startswith(f"interval {words}: growth, ")
        assert lines[0].count("difference, during") == min(gained, 3)


# Runs of one study, and of survival -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def programmes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from implstats.examples import example_files

    folder = tmp_path_factory.mktemp("programmes")
    for file in example_files("programmes"):
        shutil.copyfile(file, folder / file.name)
    text = (folder / "programmes.toml").read_text("utf-8")
    (folder / "programmes.toml").write_text(f'figures = "none"\n{text}'.replace('figures = "summary"', "", 1))
    run_plan(folder / "programmes.toml", out=folder / "old")
    return folder


def test_survival_runs_are_compared_too(programmes: Path) -> None:
    plan, before = programmes / "programmes.toml", (programmes / "programmes.toml").read_text("utf-8")
    plan.write_text(before.replace('ties = "efron"', 'ties = "breslow"'), encoding="utf-8")
    found = compare_runs(programmes / "old", run_plan(plan, out=programmes / "new"))
    plan.write_text(before, encoding="utf-8")
    table = found.tidy()
    assert set(table["outcome"]) == {"Programmes that stopped"}
    assert set(table["analysis"]) == {"coefficients"}
    assert set(table["reading"]) == {"plan: ties 'efron' to 'breslow'"}
    old = pd.read_csv(programmes / "old" / "Programmes_that_stopped_coefficients.csv", float_precision="round_trip")
    assert set(table["estimate_old"]) <= set(old["estimate"])
    assert compare_runs(programmes / "old", programmes / "old").same


def test_a_study_is_compared_too(study_runs: tuple[Path, Path]) -> None:
    found = compare_runs(*study_runs)
    table = found.tidy()
    assert set(table["why"]) == {"data"}
    # Both outcomes have their p-values corrected together.
    assert set(table.query("outcome == 'sipp'")["moved"]) == {"corrected p-value"}
    assert {"coefficients", "comparison", "means"} <= set(table.query("outcome == 'bsi'")["analysis"])
    gap = table.query("analysis == 'comparison' and quantity == 'difference' and time == 36").iloc[0]
    for side, run in zip(("old", "new"), study_runs, strict=True):
        row = (
            pd.read_csv(run / "comparison.csv", float_precision="round_trip")
            .query("outcome == 'bsi' and time == 36")
            .iloc[0]
        )
        assert gap[f"estimate_{side}"] == row["d_difference"]
        assert gap[f"conf_low_{side}"] == row["d_difference_low"]
        assert gap[f"p_corrected_{side}"] == row["p_corrected"]
        assert gap[f"n_{side}"] == row["n"]


@pytest.fixture(scope="module")
def study_runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("study")
    visits = ist.load_example("reorganisation")
    text = """
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
[analysis]
at = [18, 36]
draws = 20
"""
    (folder / "plan.toml").write_text(text, encoding="utf-8")
    visits.to_csv(folder / "visits.csv", index=False)
    old = run_plan(folder / "plan.toml", out=folder / "old")
    visits.loc[(visits["cohort"] == "during") & (visits["month"] == 36), "bsi"] += 0.1
    visits.to_csv(folder / "visits.csv", index=False)
    return old, run_plan(folder / "plan.toml", out=folder / "new")


def test_an_outcome_of_a_study_that_fails_now_is_told(study_runs: tuple[Path, Path]) -> None:
    folder = study_runs[0].parent
    visits = ist.load_example("reorganisation").assign(sipp=2.0)
    visits.to_csv(folder / "visits.csv", index=False)
    text = (folder / "plan.toml").read_text("utf-8").replace("draws = 20", "draws = 20\nlevel = 0.9")
    (folder / "narrow.toml").write_text(text, encoding="utf-8")
    table = compare_runs(study_runs[0], run_plan(folder / "narrow.toml", out=folder / "failed")).tidy()
    row = table.query("moved == 'status'")
    assert row[["analysis", "outcome", "status_new", "why"]].to_numpy().tolist() == [
        ["comparison", "sipp", "failed", "several"]
    ]
    assert row["reading"].item().startswith("data: its rows; plan: analysis.level 0.95 to 0.9; ")
    assert "constant" in row["reading"].item()
    gone = table.query("moved == 'disappeared' and outcome == 'sipp' and quantity == ''")
    assert {"coefficients", "means"} <= set(gone["analysis"])
    # One file and one plan stand behind all outcomes: what each of the two did is not told apart.
    assert set(table.query("analysis == 'comparison' and outcome == 'bsi'")["why"]) == {"several"}


# What is no whole run -------------------------------------------------------------------------------------------------


def settled(run: Path) -> None:
    """Write the hashes of a folder's files anew, as if its run had left them so."""
    told = json.loads((run / "manifest.json").read_text("utf-8"))
    told["files"] = [{**digest(run / file["name"]), "name": file["name"]} for file in told["files"]]
    (run / "manifest.json").write_text(json.dumps(told), encoding="utf-8")


def test_a_folder_of_an_earlier_version_cannot_tell_why(rated: Rate) -> None:
    old = rated("old")
    for file in (old / "cells").iterdir():
        record = json.loads(file.read_text("utf-8"))
        del record["made_of"]
        file.write_text(json.dumps(record), encoding="utf-8")
    settled(old)
    found = compare_runs(old, rated("new", ("[batch]", "[batch]\nlevel = 0.8")))
    assert set(cells(found).values()) == {"cannot be told"}
    assert set(found.tidy()["reading"]) == {"what it was made of is not to be read in OLD"}
    assert found.glance().loc[0, "untold"] == 6


@pytest.mark.parametrize("how", ["truncated", "other bytes", "gone", "another cell"])
def test_a_broken_cell_is_told_and_the_others_are_compared(rated: Rate, how: str) -> None:
    old = rated("old")
    broken, other = sorted((old / "cells").glob("agreement_score_*.json"))[:2]
    if how == "gone":
        broken.unlink()
    else:
        content = {
            "truncated": broken.read_bytes()[:200],
            "other bytes": b"\xff\x00{",
            "another cell": other.read_bytes(),
        }
        broken.write_bytes(content[how])
    found = compare_runs(old, rated("new", ("[batch]", "[batch]\nlevel = 0.8")))
    assert cells(found) == {(a, s): "plan" for a in ("agreement", "of the mean") for s in "ABC"} | {
        ("agreement", "A"): "cannot be told"
    }
    told = f"OLD: not as the run left it: cells/{broken.name}; why such a cell moved cannot be told"
    assert told in found.header()
    assert told in compare_runs(old, old).header()[1].replace("NEW", "OLD")


def test_a_table_that_is_not_as_the_run_left_it_is_refused(rated: Rate) -> None:
    old, new = rated("old"), rated("new")
    raw = (old / "cells.csv").read_bytes()
    (old / "cells.csv").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(PlanError, match=r"^old='.*': cells\.csv is not there, or not as the run left it; run the plan"):
        compare_runs(old, new)


def test_a_run_that_was_stopped_is_refused(rated: Rate, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = rated("old")

    def stopped(cell: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(work, "carry_out_cell", stopped)
    with pytest.raises(KeyboardInterrupt):
        rated("new")
    with pytest.raises(PlanError, match=r"the run was stopped before its end; .* --resume"):
        compare_runs(old, tmp_path / "new")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "holds no run of implstats"),
        ("{", "holds no run of implstats"),
        ("[1]", "holds no run of implstats"),
        ('{"kind": "else"}', "holds no run of implstats"),
        ('{"kind": ["implstats batch"]}', "holds no run of implstats"),
        ('{"kind": "implstats batch"}', "its files do not fit together"),
        ('{"kind": "implstats batch", "files": 3, "result": {}}', "its files do not fit together"),
        ('{"kind": "implstats batch", "files": [], "result": {}}', "cells.csv is not there"),
        ('{"kind": "implstats results", "files": [{"name": "../../x.csv", "sha256": 1}], "survival": 4}', "do not fit"),
        ('{"kind": "implstats results", "files": [], "survival": {}, "parts": [1]}', "its files do not fit together"),
    ],
)
def test_what_holds_no_run_is_refused(rated: Rate, tmp_path: Path, content: str | None, words: str) -> None:
    (tmp_path / "other").mkdir()
    if content is not None:
        (tmp_path / "other" / "manifest.json").write_text(content, encoding="utf-8")
    with pytest.raises(PlanError, match=f"new='.*other': .*{re.escape(words)}"):
        compare_runs(rated("old"), tmp_path / "other")


def test_no_folder_a_file_and_runs_of_two_kinds_are_refused(rated: Rate, programmes: Path, tmp_path: Path) -> None:
    old = rated("old")
    with pytest.raises(PlanError, match=r"^old='.*nowhere': no such folder$"):
        compare_runs(tmp_path / "nowhere", old)
    with pytest.raises(PlanError, match="a file, not a folder"):
        compare_runs(old, old / "cells.csv")
    with pytest.raises(PlanError, match=r"no batch of cells, and '.*old' is one; name two of one kind"):
        compare_runs(old, programmes / "old")
    with pytest.raises(PlanError, match=r"a batch of cells, and '.*old' is none; name two of one kind"):
        compare_runs(programmes / "old", old)
