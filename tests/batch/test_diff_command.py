"""`implstats diff`: exit codes, its table, and names that mean harm; no patient is named, no file of others is lost."""

from __future__ import annotations

import csv
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats import __main__ as command
from implstats.batch import compare_runs, diff, run_plan

Rate = Callable[..., Path]
Write = Callable[..., Path]
Heard = pytest.CaptureFixture[str]
LEVEL = ("[batch]", "[batch]\nlevel = 0.8")
HOSTILE = [
    "<script>alert(1)</script>",
    '=HYPERLINK("http://a.example","b")',
    "\x1b[31mred\x1b[0m",
    "\u202eNL",
    "a\nb | c",
]


def test_exit_codes_are_those_of_diff(rated: Rate, capsys: Heard, tmp_path: Path) -> None:
    old, new = rated("old"), rated("new", LEVEL)
    assert command.main(["diff", str(old), str(old)]) == 0
    assert "nothing moved, all 6 cells are the same" in capsys.readouterr().out
    assert command.main(["diff", str(old), str(new)]) == 1
    heard = capsys.readouterr()
    assert "6 of 6 cells moved" in heard.out.replace("\n  ", " ")
    assert heard.err == ""
    assert command.main(["diff", str(old), str(tmp_path / "nowhere")]) == 2
    heard = capsys.readouterr()
    assert heard.out == ""
    assert heard.err == f"implstats: new={str(tmp_path / 'nowhere')!r}: no such folder\n"
    for tolerance in ("-1", "nan", "many"):
        assert command.main(["diff", str(old), str(new), "--tolerance", tolerance]) == 2
    assert command.main(["diff", str(old), str(new), "--tolerance", "1e3"]) == 0
    assert command.main(["diff", str(old)]) == 2


def test_what_nobody_foresaw_is_trouble_and_not_a_move(
    rated: Rate, capsys: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = rated("old")

    def broken(*given: Any, **options: Any) -> Any:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(diff, "compare_runs", broken)
    assert command.main(["diff", str(old), str(old)]) == 2
    assert "unexpected ZeroDivisionError: by zero" in capsys.readouterr().err


def test_help_names_the_exit_codes(capsys: Heard) -> None:
    assert command.main(["diff", "--help"]) == 0
    assert "exit status: 0 nothing moved, 1 something moved, 2 the two cannot be compared" in capsys.readouterr().out


def test_every_move_is_a_row_of_the_table(rated: Rate, tmp_path: Path) -> None:
    old, new, out = rated("old"), rated("new", LEVEL), tmp_path / "moves.csv"
    assert command.main(["diff", str(old), str(new), "--out", str(out)]) == 1
    found = pd.read_csv(out, keep_default_na=False, na_values=[""], float_precision="round_trip")
    expected = compare_runs(old, new).tidy()
    assert list(found.columns) == list(expected.columns)
    for name in expected.columns:
        if expected[name].dtype.kind == "f":
            np.testing.assert_array_equal(found[name].astype(float), expected[name])
        else:
            assert found[name].fillna("").tolist() == expected[name].tolist()
    # The same table may be written again; with nothing to tell it has a head alone.
    assert command.main(["diff", str(old), str(old), "--out", str(out)]) == 0
    assert len(out.read_text("utf-8").splitlines()) == 1
    assert command.main(["diff", str(old), str(new), "--out", str(out)]) == 1
    assert len(pd.read_csv(out)) == len(expected)


def test_no_other_file_is_overwritten(rated: Rate, tmp_path: Path, capsys: Heard) -> None:
    old, new = rated("old"), rated("new", LEVEL)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    wanted = {
        tmp_path / "ratings.csv": "there already, and no table of moves",
        tmp_path / "plan.toml": "there already, and no table of moves",
        new / "moves.csv": "lies in the folder of a run",
        old / "cells.csv": "lies in the folder of a run",
        tmp_path / "no" / "moves.csv": "not a file in a folder that is there",
        tmp_path: "not a file in a folder that is there",
    }
    for out, words in wanted.items():
        assert command.main(["diff", str(old), str(new), "--out", str(out)]) == 2
        assert words in capsys.readouterr().err
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


@pytest.fixture
def hostile(rated: Rate, ratings: pd.DataFrame) -> tuple[Path, Path]:
    """Return two runs whose sites and analyses have hostile names."""
    parts = [ratings[ratings["team"] == "A"].assign(team=name) for name in HOSTILE]
    name = ('name = "agreement"', 'name = "=1+1<b>"')
    return rated("old", name, data=pd.concat(parts)), rated("new", name, LEVEL, data=pd.concat(parts))


def test_hostile_names_do_nothing(hostile: tuple[Path, Path], capsys: Heard, tmp_path: Path) -> None:
    out = tmp_path / "moves.csv"
    assert command.main(["diff", *map(str, hostile), "--out", str(out)]) == 1
    heard = capsys.readouterr().out
    assert "red" in heard
    assert not [c for c in heard if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"]
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert {row[0] for row in rows[1:]} == {f"'{name}" if name[0] == "=" else name for name in HOSTILE}
    for row in rows:
        for cell in row:
            assert cell[:1] not in ("=", "+", "@", "\t", "\r"), cell
            assert cell[:1] != "-" or np.isfinite(float(cell))
    found = compare_runs(*hostile)
    assert set(found.tidy()["site"]) == set(HOSTILE)
    assert "<script" not in found._repr_html_()


def test_a_file_that_is_not_as_it_was_is_named_without_harm(hostile: tuple[Path, Path], capsys: Heard) -> None:
    for file in (hostile[0] / "cells").iterdir():
        file.write_text("{", encoding="utf-8")
    assert command.main(["diff", *map(str, hostile)]) == 1
    heard = capsys.readouterr()
    assert "OLD: not as the run left it: cells/" in heard.out
    assert heard.err == ""


def test_no_patient_is_named(small: Write, sites: pd.DataFrame, tmp_path: Path, capsys: Heard) -> None:
    people = sites[sites["site"].isin(["NL", "NO"])].copy()
    people["patient"] = "BSN-" + people["patient"].astype(str)
    people["therapist"] = "dr. Zeldenrust-" + people["therapist"]
    groups = ('shape = "linear"', 'shape = "linear"\ngroups = ["therapist"]')
    old = run_plan(small(groups, data=people), out=tmp_path / "old")
    twice = people[people["site"] == "NO"].iloc[[0]]
    new = run_plan(small(groups, data=pd.concat([people, twice])), out=tmp_path / "new")
    assert command.main(["diff", str(old), str(new), "--out", str(tmp_path / "moves.csv")]) == 1
    heard = capsys.readouterr()
    told = heard.out + heard.err + (tmp_path / "moves.csv").read_text("utf-8")
    assert "failed" in told
    for name in ("BSN-", "Zeldenrust"):
        assert name not in told
