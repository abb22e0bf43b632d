"""Which pictures a plan draws: those of its report, none, or all there are; lines of patients on request alone."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import implstats as ist
from implstats.batch import run_plan
from implstats.batch.batch_run import carry_out_batch
from implstats.batch.cell_pictures import drawn
from implstats.batch.plan import read_plan
from implstats.errors import PlanError

Write = Callable[..., Path]
COMPARISON = """
{figures}
[data]
file = "visits.csv"
[roles]
patient = "patient"
time = "month"
cohort = "cohort"
reference = "before"
[outcomes]
bsi = "lower"
[analysis]
at = 36
model = "growth"
shape = "linear"
groups = ["therapist"]
"""
SURVIVAL = """
{figures}
[data]
file = "visits.csv"
[[survival]]
name = "Stopped"
duration = "years"
event = "discontinued"
at = 2
by = "era"
[[survival]]
name = "Causes"
duration = "years"
event = "status"
censored = "active"
at = 2
by = "era"
"""
SUMMARY = {"trajectories", "effect_forest", "missingness", "residuals_bsi"}
ALL = 'figures = "all"'
LINES = "[privacy]\nindividual_lines = true\n"
HOW = ('figures = "none"', ALL)


def pictures(folder: Path) -> set[str]:
    return {file.stem for file in folder.rglob("*.svg")}


def lines_of_patients(folder: Path) -> list[str]:
    return [file.name for file in folder.rglob("*.svg") if 'id="patients: ' in file.read_text("utf-8")]


def everything(folder: Path) -> dict[str, bytes]:
    """Return every file but the manifest, which has the time of the run."""
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != "manifest.json"]
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}


def ran(folder: Path, text: str, figures: str, table: str) -> Path:
    ist.load_example(table).to_csv(folder / "visits.csv", index=False)
    (folder / "plan.toml").write_text(text.format(figures=figures), encoding="utf-8")
    return run_plan(folder / "plan.toml", out=folder / "out")


@pytest.mark.parametrize(
    ("text", "table"), [(COMPARISON, "reorganisation"), (SURVIVAL, "programmes")], ids=["comparison", "survival"]
)
def test_a_plan_without_pictures(text: str, table: str, tmp_path: Path) -> None:
    out = ran(tmp_path, text, 'figures = "none"', table)
    assert not [file for file in out.iterdir() if file.suffix in (".png", ".svg")]
    for name in ("report.md", "report.html"):
        report = (out / name).read_text("utf-8")
        assert "<img" not in report
        assert "![" not in report
        assert "There is no picture" not in report


def test_the_pictures_of_a_comparison(tmp_path: Path) -> None:
    (one := tmp_path / "one").mkdir()
    (every := tmp_path / "all").mkdir()
    summary = ran(one, COMPARISON, "", "reorganisation")
    assert pictures(summary) == SUMMARY
    out = ran(every, COMPARISON, ALL, "reorganisation")
    assert pictures(out) == SUMMARY | {"quantiles_bsi", "coefficients_bsi", "effects_of_therapist_bsi"}
    text = (out / "report.md").read_text("utf-8")
    for name in pictures(out):
        assert f"]({name}.png)" in text
    assert lines_of_patients(summary) == lines_of_patients(out) == []


def test_lines_of_patients_are_drawn_on_request_alone(tmp_path: Path) -> None:
    out = ran(tmp_path, COMPARISON + LINES, "", "reorganisation")
    assert pictures(out) == SUMMARY
    assert lines_of_patients(out) == ["trajectories.svg"]


def test_the_pictures_of_survival(tmp_path: Path) -> None:
    out = ran(tmp_path, SURVIVAL, ALL, "programmes")
    assert {"Stopped_log_log", "Causes_stacked"} <= pictures(out)
    text = (out / "report.md").read_text("utf-8")
    assert "](Stopped_log_log.png)" in text
    assert "](Causes_stacked.png)" in text


def test_what_none_and_lines_ask_for_contradicts_itself(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=re.escape('[privacy] individual_lines=true: figures = "none" draws none')):
        ran(tmp_path, COMPARISON + LINES, 'figures = "none"', "reorganisation")


def test_figures_are_a_known_word(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="figures='some': unknown option"):
        ran(tmp_path, COMPARISON, 'figures = "some"', "reorganisation")


# Cells ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, sites: pd.DataFrame, small_text: str) -> dict[str, bytes]:
    """Return every file of a small batch whose cells have pictures, carried out in one go."""
    folder = tmp_path_factory.mktemp("whole")
    sites[sites["site"].isin(["NL", "NO"])].to_csv(folder / "visits.csv", index=False)
    (folder / "plan.toml").write_text(small_text.replace(*HOW), encoding="utf-8")
    return everything(run_plan(folder / "plan.toml", out=folder / "out"))


def test_every_cell_has_its_pictures(whole: dict[str, bytes]) -> None:
    cells = [Path(name).stem for name in whole if name.startswith("cells/")]
    assert len(cells) == 4
    for cell in cells:
        assert json.loads(whole[f"cells/{cell}.json"])["pictures"] == {"trajectories": "", "residuals": ""}
        for name in ("trajectories", "residuals"):
            assert whole[f"figures/{cell}_{name}.png"].startswith(b"\x89PNG")
            # The site stands over it, since a picture may be passed on by itself.
            site = json.loads(whole[f"cells/{cell}.json"])["asked"]["site"]
            assert f"<!-- {site} -->" in whole[f"figures/{cell}_{name}.svg"].decode()
    text = whole["report.md"].decode()
    assert text.count("| trajectories and residuals |") == 4
    assert not [name for name, content in whole.items() if name.endswith(".svg") and b'id="patients: ' in content]


def test_a_run_that_was_stopped_goes_on_to_the_same_files(
    small: Write, tmp_path: Path, whole: dict[str, bytes]
) -> None:
    plan, out = small(HOW), tmp_path / "out"

    def stop(count: int, of: int) -> None:
        if count == 2:
            raise KeyboardInterrupt

    read = read_plan(plan)
    assert read.batch is not None
    with pytest.raises(KeyboardInterrupt):
        carry_out_batch(read, read.batch, out=out, told=stop)
    first = sorted((out / "cells").iterdir())[0]
    made = first.stat().st_mtime_ns
    lost = next(file for file in (out / "figures").iterdir() if not file.name.startswith(first.stem))
    lost.unlink()
    run_plan(plan, out=out, resume=True, workers=2)
    assert everything(out) == whole
    assert first.stat().st_mtime_ns == made


def test_asking_for_fewer_takes_pictures_away(small: Write, tmp_path: Path) -> None:
    out = run_plan(small(HOW), out=tmp_path / "out")
    assert len(pictures(out)) == 8 + 2
    run_plan(small(('figures = "none"', "")), out=out, resume=True)
    assert all(name.startswith("forest_") for name in pictures(out))
    run_plan(small(), out=out, resume=True)
    assert pictures(out) == set()
    assert "pictures" not in json.loads(next((out / "cells").iterdir()).read_text("utf-8"))


def test_lines_of_patients_in_cells(small: Write, tmp_path: Path) -> None:
    out = run_plan(small(HOW, ("[data]", f"{LINES}[data]")), out=tmp_path / "out")
    assert len(lines_of_patients(out)) == 4
    assert all("_trajectories" in name for name in lines_of_patients(out))


def test_cells_of_times_have_curves_ratios_and_their_check(tmp_path: Path) -> None:
    ist.load_example("programmes").to_csv(tmp_path / "programmes.csv", index=False)
    (tmp_path / "plan.toml").write_text(
        """
figures = "all"
[data]
file = "programmes.csv"
[batch]
[[batch.analysis]]
name = "stopped"
kind = "survival"
duration = "years"
event = "discontinued"
terms = ["era", "support"]
by = "era"
[[batch.analysis]]
name = "causes"
kind = "survival"
duration = "years"
event = "status"
censored = "active"
by = "era"
[labels]
era = "Start"
""",
        encoding="utf-8",
    )
    out = run_plan(tmp_path / "plan.toml", out=tmp_path / "out")
    kinds = {re.sub(r"_[0-9a-f]{16}", "", name) for name in pictures(out)}
    stem, causes = "stopped_discontinued_all", "causes_status_all"
    assert {f"{stem}_survival", f"{stem}_ratios_1", f"{stem}_check_1"} <= kinds
    assert {f"{causes}_incidence", f"{causes}_ratios_2", f"{causes}_check_2"} <= kinds
    shown = next((out / "figures").glob(f"{stem}_*_ratios_1.svg")).read_text("utf-8")
    assert "Start" in shown


def test_what_cannot_be_drawn_is_a_reason() -> None:
    frame = ist.load_example("programmes")
    cox = ist.fit_cox(frame, duration="years", event="discontinued", terms=["era"], penalty="firth")
    asked = {"site": "NO", "level": 0.95, "min_count": 5, "figures": {"individual_lines": False, "labels": {}}}
    found, files = drawn([cox, "no result"], asked)
    assert found["ratios_1"] == ""
    assert "penalty" in found["check_1"]
    assert set(files) == {"ratios_1.png", "ratios_1.svg"}
