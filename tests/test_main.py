"""The command: what it prints, where errors go, and its exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import implstats as ist
from implstats import __main__ as command
from implstats.examples import example_files

SOURCE = Path(ist.__file__).parent.parent


def implstats(*words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "implstats", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )


def copied(folder: Path, **changes: str) -> Path:
    """Copy the example and change its plan: `part=put` with few draws."""
    assert command.main(["example", "reorganisation", str(folder)]) == 0
    plan = folder / "reorganisation.toml"
    text = plan.read_text(encoding="utf-8").replace("draws = 999", "draws = 20")
    for part, put in changes.items():
        assert part in text
        text = text.replace(part, put)
    plan.write_text(text, encoding="utf-8")
    return plan


def test_version() -> None:
    done = implstats("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"implstats {ist.__version__}\n", "")


def test_version_and_help_load_nothing_heavy() -> None:
    code = "import sys, implstats.__main__ as m; s = [m.main(['--version']), m.main(['run', '--help'])]; "
    code += "print(s, sorted({'numpy', 'pandas', 'matplotlib', 'tomllib'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert done.stdout.split("\n")[-2] == "[0, 0] []"


def test_run_prints_the_answer_and_the_folder(tmp_path: Path, study: Any) -> None:
    copied(tmp_path)
    done = implstats("run", "reorganisation.toml", "--out", "results", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    parts = done.stdout.split("\n\n")
    labels = {"bsi": "Symptom severity (BSI, 0-4)", "sipp": "Personality functioning (SIPP, 1-4)"}
    labels |= {"before": "Before", "during": "During"}
    assert parts[:3] == study.in_words(labels)[:3]
    assert parts[3].startswith("Over both outcomes together, at month 36, the mean improvement was ")
    assert parts[4].startswith(
        "Symptom severity and Personality functioning: MMRM, because there are three fixed visits; "
    )
    assert parts[5].split("\n")[0].split("  ")[0] == "outcome"
    assert len(parts[5].split("\n")) == 5
    assert parts[6] == f"The report and everything behind it: {Path('results') / 'report.html'}\n"
    assert (tmp_path / "results" / "report.md").is_file()


def test_check_says_what_would_be_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = copied(tmp_path)
    capsys.readouterr()
    assert command.main(["check", str(plan)]) == 0
    why = "there are three fixed visits; every cohort has a covariance of its own, as each has 20 patients or more"
    assert capsys.readouterr() == (
        "Outcome of treatment before and during a reorganisation\n"
        "data: reorganisation.csv, 388 rows, 144 patients\n"
        "compared: During with Before, at month 18, 36, change since month 0\n"
        f"outcome bsi (Symptom severity (BSI, 0-4)): lower is better; MMRM, because {why}\n"
        f"outcome sipp (Personality functioning (SIPP, 1-4)): higher is better; MMRM, because {why}\n",
        "",
    )


def test_a_bad_plan_is_2_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = copied(tmp_path, **{'reference = "before"': 'reference = "befor"', "seed = 2017": "sede = 2017"})
    capsys.readouterr()
    done = implstats("run", plan, "--out", tmp_path / "results")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "implstats: [analysis] sede: unknown key; did you mean 'seed'?\n"
    assert command.main(["check", str(plan)]) == 2
    assert capsys.readouterr() == ("", done.stderr)
    assert not (tmp_path / "results").exists()


def test_several_faults_are_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = copied(tmp_path, **{"level = 0.95": "level = 95", "seed = 2017": "sede = 2017"})
    capsys.readouterr()
    assert command.main(["check", str(plan)]) == 2
    assert capsys.readouterr().err == (
        "implstats: [analysis] level=95: not between 0 and 1; 0.95 gives 95 % intervals\n"
        "           [analysis] sede: unknown key; did you mean 'seed'?\n"
    )


def test_it_is_told_how_rows_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A spreadsheet counts from 1, and the names of the columns too."""
    plan = copied(tmp_path)
    table = ist.load_example("reorganisation")
    pd.concat([table, table.iloc[[0]]]).to_csv(tmp_path / "reorganisation.csv", index=False)
    capsys.readouterr()
    assert command.main(["check", str(plan)]) == 2
    fault, rows = capsys.readouterr().err.splitlines()
    assert f"(row {len(table)})" in fault
    assert rows.strip() == command.ROWS


def test_a_failed_outcome_is_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = copied(
        tmp_path, **{'sipp = "higher"': 'flat = "higher"', "sipp = [1, 4]": "flat = [1, 4]", "sipp =": "age ="}
    )
    table = tmp_path / "reorganisation.csv"
    ist.load_example("reorganisation").assign(flat=2).to_csv(table, index=False)
    reason = "outcome='flat': constant at 2; there is nothing to explain"
    capsys.readouterr()
    assert command.main(["check", str(plan)]) == 3
    assert capsys.readouterr().out.split("\n")[-2] == f"outcome flat: cannot be fitted: {reason}"
    assert command.main(["run", str(plan), "--out", str(tmp_path / "results")]) == 3
    assert capsys.readouterr().err == f"implstats: flat could not be analysed: {reason}\n"
    assert (tmp_path / "results" / "bsi.json").is_file()


def test_a_plan_of_survival_analyses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["example", "programmes", str(tmp_path)]) == 0
    assert capsys.readouterr().out.split() == [str(file) for file in sorted(tmp_path.iterdir())]
    plan, out = tmp_path / "programmes.toml", tmp_path / "results"
    # Little is drawn: the second analysis has its tests elsewhere.
    text = plan.read_text(encoding="utf-8")
    first, rest = text.split('[[survival]]\nname = "Stopped or merged"')
    plan.write_text(first + "[labels]" + rest.split("[labels]")[1], encoding="utf-8")
    assert command.main(["check", str(plan)]) == 0
    assert capsys.readouterr() == (
        "Programmes that stop\n"
        "survival Programmes that stopped: programmes.csv, 150 of 150 rows; 75 stopped\n"
        "share without the event at 2, 5 years, by era (early (started 2001-2006), late (started 2008-2014))\n"
        "Cox model: era + training + leadership + support + barrier_organisation; 5 parameters, 15 events per "
        "parameter\n",
        "",
    )
    assert command.main(["run", str(plan), "--out", str(out)]) == 0
    told = capsys.readouterr().out.split("\n\n")
    assert told[:2] == [
        "Programmes that stopped",
        "Of 150 programmes, 75 stopped (43 of 80 in early, 32 of 70 in late); the other 75 had not when last seen.",
    ]
    assert told[-1] == f"The report and everything behind it: {out / 'report.html'}\n"
    plan.write_text(plan.read_text(encoding="utf-8").replace('by = "era"', 'by = "eras"'), encoding="utf-8")
    assert command.main(["run", str(plan), "--out", str(tmp_path / "again")]) == 2
    assert capsys.readouterr() == (
        "",
        "implstats: [survival Programmes that stopped] by='eras': no such column; did you mean 'era'?\n",
    )
    assert not (tmp_path / "again").exists()


def test_an_analysis_without_a_model_is_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["years,stopped,era", "1,1,a", "2,0,b", "3,1,a", "4,1,a", "5,0,b", "6,0,b", "7,0,b"]
    (tmp_path / "seven.csv").write_text("\n".join(rows), encoding="utf-8")
    (tmp_path / "plan.toml").write_text(
        "[privacy]\nmin_count = 1\n"
        '[[survival]]\nname = "Seven"\nfile = "seven.csv"\nduration = "years"\nevent = "stopped"\nat = [2]\n'
        'by = "era"\n',
        encoding="utf-8",
    )
    assert command.main(["run", str(tmp_path / "plan.toml"), "--out", str(tmp_path / "results")]) == 3
    out, err = capsys.readouterr()
    assert out.startswith("Seven\n\nOf 7 rows, 3 had the event (3 of 3 in a, 0 of 4 in b); ")
    assert err.startswith(
        "implstats: Seven, unadjusted Cox model could not be analysed: 'era[b]': no finite estimate; "
    )
    assert (tmp_path / "results" / "Seven_survival.png").is_file()


@pytest.mark.parametrize(
    "words", [[], ["rnu"], ["run"], ["run", "plan.toml"], ["check"], ["example", "reorganisation"]]
)
def test_bad_usage_is_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: implstats")


def test_an_unexpected_error_is_1_without_a_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from implstats.batch import run

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("division by zero")

    plan = copied(tmp_path)
    capsys.readouterr()
    monkeypatch.setattr(run, "analyse", fail)
    assert command.main(["run", str(plan), "--out", str(tmp_path / "results")]) == 1
    assert capsys.readouterr() == (
        "",
        "implstats: unexpected ZeroDivisionError: division by zero; nothing was written. Please report this\n",
    )


def test_a_folder_that_cannot_be_made_is_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = copied(tmp_path)
    capsys.readouterr()
    out = str(plan / "a" / "results")
    assert command.main(["run", str(plan), "--out", out]) == 2
    assert capsys.readouterr() == (
        "",
        f"implstats: out={out!r}: nothing can be written to {str(plan)!r}; name another folder\n",
    )


def test_a_full_disk_is_1(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from implstats.batch import run

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device", "report.md")

    plan = copied(tmp_path)
    capsys.readouterr()
    monkeypatch.setattr(run, "_draw", fail)
    assert command.main(["run", str(plan), "--out", str(tmp_path / "results")]) == 1
    assert capsys.readouterr() == ("", "implstats: report.md: No space left on device; nothing was written\n")
    assert not (tmp_path / "results").exists()


def test_example_copies_and_never_overwrites(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "a" / "b"
    assert command.main(["example", "reorganisation", str(folder)]) == 0
    files = example_files("reorganisation")
    assert [file.name for file in files] == ["reorganisation.csv", "reorganisation.json", "reorganisation.toml"]
    assert capsys.readouterr().out == "".join(f"{folder / file.name}\n" for file in files)
    for file in files:
        assert (folder / file.name).read_bytes() == file.read_bytes()
    (folder / "reorganisation.csv").unlink()
    (folder / "reorganisation.toml").write_text("mine")
    assert command.main(["example", "reorganisation", str(folder)]) == 2
    assert capsys.readouterr().err == (
        f"implstats: DIR={str(folder)!r}: reorganisation.json, reorganisation.toml there already; nothing was copied\n"
    )
    assert (folder / "reorganisation.toml").read_text() == "mine"
    assert not (folder / "reorganisation.csv").exists()
    assert command.main(["example", "reorganization", str(folder)]) == 2
    assert capsys.readouterr().err == (
        "implstats: name='reorganization': no such example; did you mean 'reorganisation'?\n"
    )
    assert command.main(["example", "cases", str(folder / "reorganisation.toml")]) == 2
    assert capsys.readouterr().err.endswith(": a file, not a folder\n")
