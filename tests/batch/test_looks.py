"""How often data were looked at: a plan counts once for each state of the data, and the report says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from implstats.batch import compare_runs, run_plan, work
from implstats.batch.looks import Look, different, looks_of
from implstats.errors import PlanError

Rate = Callable[..., Path]
Write = Callable[..., Path]
LEVEL = ("[batch]", "[batch]\nlevel = 0.8")
ELSEWHERE = "What was run in other folders, or by other means, is not known here."
ONLY = f"No other plan was run in this folder, nor this one on other data. {ELSEWHERE}"


def looks(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text("utf-8"))["looks"]


def said(folder: Path) -> str:
    lines = (folder / "report.md").read_text("utf-8").split("\n")
    found = [line.removeprefix("- ") for line in lines if ELSEWHERE in line]
    assert len(found) == 1
    assert ELSEWHERE in (folder / "report.html").read_text("utf-8").replace("\u00a0", " ")
    return found[0]


def test_one_plan_is_one_look_however_often_it_is_run(rated: Rate) -> None:
    out = rated("out")
    assert said(out) == ONLY
    first, bytes_before = looks(out), (out / "report.html").read_bytes()
    assert len(first) == 1
    rated("out", resume=True)
    rated("out")
    assert looks(out) == first
    assert (out / "report.html").read_bytes() == bytes_before


def test_another_plan_on_the_same_data_is_another_look(rated: Rate) -> None:
    out = rated("out")
    rated("out", LEVEL, resume=True)
    assert said(out) == (
        "These data were looked at 2 times in this folder, a plan that was run again counting once: 2 plans were run "
        "on them as they are. In all 4 different analyses of an outcome were asked for; this report has 2 of them. A "
        f"plan that follows on results makes intervals and p-values promise more than they keep. {ELSEWHERE}"
    )
    rated("out", ('form = "A,k"', 'form = "C,k"'))
    assert "looked at 3 times" in said(out)
    assert "In all 5 different analyses" in said(out)
    # The first plan again: its look is known, and those after it are not forgotten.
    rated("out")
    assert len(looks(out)) == 3
    assert "looked at 3 times" in said(out)


def test_changed_data_are_another_state_of_them(rated: Rate, ratings: pd.DataFrame) -> None:
    out = rated("out")
    rated("out", data=ratings.iloc[1:], resume=True)
    assert "1 plan was run on them as they are, 1 on an earlier state of them. In all 2 different" in said(out)
    assert len({look["data"] for look in looks(out)}) == 2
    assert len({look["plan"] for look in looks(out)}) == 1


@pytest.mark.parametrize(
    "change",
    [
        ('name = "agreement"', 'name = "single raters"'),
        ("[data]", 'title = "Another"\nfigures = "none"\n[data]'),
        ("[batch]", "[privacy]\nmin_count = 8\n[batch]"),
    ],
)
def test_names_words_and_pictures_make_no_other_look(rated: Rate, change: tuple[str, str]) -> None:
    out = rated("out")
    rated("out", change)
    assert len(looks(out)) == 1
    assert said(out) == ONLY


@pytest.mark.parametrize(
    "change",
    [
        ('file = "ratings.csv"', 'file = "ratings.csv"\nmissing_codes = [0]'),
        ("[batch]", '[batch]\nfamily = ["agreement"]'),
        ('name = "agreement"', 'name = "agreement"\nform = "C,1"'),
    ],
)
def test_what_can_change_an_answer_is_another_look(rated: Rate, change: tuple[str, str]) -> None:
    out = rated("out")
    rated("out", change)
    assert len(looks(out)) == 2


def test_a_stopped_run_was_a_look_and_a_wrong_plan_was_none(rated: Rate, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(cell: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as user:
        user.setattr(work, "carry_out_cell", stopped)
        with pytest.raises(KeyboardInterrupt):
            rated("out", LEVEL)
    with pytest.raises(PlanError):
        rated("out", ('score = "score"', 'score = "scor"'))
    out = rated("out", resume=True)
    assert len(looks(out)) == 2
    assert "looked at 2 times" in said(out)


def test_a_run_that_wrote_none_down_counts_as_one_at_least(rated: Rate) -> None:
    out = rated("out")
    told = json.loads((out / "manifest.json").read_text("utf-8"))
    del told["looks"]
    (out / "manifest.json").write_text(json.dumps(told), encoding="utf-8")
    rated("out")
    assert "looked at at least 2 times" in said(out)
    assert "1 run did not write down its plan" in said(out)
    assert "In all at least 2 different analyses" in said(out)
    rated("out", resume=True)
    assert len(looks(out)) == 2


def test_two_runs_count_their_looks_together(rated: Rate) -> None:
    old, new = rated("old"), rated("new")
    rated("new", LEVEL)
    found = compare_runs(old, new)
    assert found.glance().loc[0, ["looks_old", "looks_new"]].tolist() == [1, 2]
    line = next(line for line in found.header() if line.startswith("looks at the data: "))
    assert line == (
        "looks at the data: 1 in OLD and 2 in NEW, 2 in all (a plan on the same data counts once), with 4 different "
        f"analyses of an outcome, on 1 state of the data. {ELSEWHERE}"
    )


@pytest.mark.parametrize("broken", [3, [3], [{}], [{"data": 1, "plan": 2, "analyses": 5}], [], None])
def test_a_history_that_cannot_be_read_is_one_unknown_look(broken: Any) -> None:
    assert looks_of({"looks": broken}) == (Look(),)
    assert len(different([Look(), Look()])) == 2


def test_a_study_in_its_own_folder_has_a_history_too(tmp_path: Path) -> None:
    from implstats.examples import example_files

    for file in example_files("programmes"):
        shutil.copyfile(file, tmp_path / file.name)
    text = (tmp_path / "programmes.toml").read_text("utf-8").replace('figures = "summary"', 'figures = "none"', 1)
    (tmp_path / "programmes.toml").write_text(text, encoding="utf-8")
    out = run_plan(tmp_path / "programmes.toml", out=tmp_path / "out")
    assert said(out) == ONLY
    run_plan(tmp_path / "programmes.toml", out=out)
    assert said(out) == ONLY
    (tmp_path / "programmes.toml").write_text(text.replace('ties = "efron"', 'ties = "breslow"'), encoding="utf-8")
    run_plan(tmp_path / "programmes.toml", out=out)
    assert "looked at 2 times" in said(out)
    assert "In all 3 different analyses of an outcome were asked for; this report has 2 of them." in said(out)
