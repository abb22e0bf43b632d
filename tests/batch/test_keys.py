"""The key of a cell: rows, question and version make a cell anew, each only those that it touches; and the disk."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import implstats as ist
from implstats.batch import folder, store, work

Rate = Callable[..., Path]
EVERY = [f"{name}, score, {team}" for name in ("agreement", "of the mean") for team in "ABC"]


@pytest.fixture
def did(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the cells that are carried out, as they are."""
    done: list[str] = []
    real = work.carry_out_cell

    def counted(cell: Any) -> Any:
        done.append(cell.in_words)
        return real(cell)

    monkeypatch.setattr(work, "carry_out_cell", counted)
    return done


def records(run: Path) -> dict[str, Any]:
    found = [json.loads(file.read_text("utf-8")) for file in (run / "cells").iterdir()]
    return {", ".join(r["asked"][k] for k in ("analysis", "outcome", "site")): r for r in found}


def test_another_version_makes_every_cell_anew(rated: Rate, did: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    out = rated("out")
    assert did == EVERY
    before = records(out)
    monkeypatch.setattr(ist, "__version__", "0.2.0")
    rated("out", resume=True)
    assert did == 2 * EVERY
    after = records(out)
    for name in EVERY:
        assert after[name]["key"] != before[name]["key"]
        assert after[name]["rows"] == before[name]["rows"]
        assert after[name]["made_of"] == before[name]["made_of"] | {"version": "0.2.0"}
    assert len(after) == len(list((out / "cells").iterdir())) == 6


def test_changed_data_make_only_the_cells_of_their_site_anew(
    rated: Rate, did: list[str], ratings: pd.DataFrame
) -> None:
    before = records(rated("out"))
    changed = ratings.copy()
    changed.loc[changed.index[changed["team"] == "B"][4], "score"] += 0.5
    after = records(rated("out", data=changed, resume=True))
    assert did[6:] == ["agreement, score, B", "of the mean, score, B"]
    for name in EVERY:
        same = {k for k in before[name]["made_of"] if before[name]["made_of"][k] == after[name]["made_of"][k]}
        assert same == {"rows", "sd", "asked", "version"} - ({"rows"} if name.endswith("B") else set())


def test_a_changed_analysis_makes_only_its_own_cells_anew(rated: Rate, did: list[str]) -> None:
    before = records(rated("out"))
    after = records(rated("out", ('form = "A,k"', 'form = "C,k"'), resume=True))
    assert did[6:] == [name for name in EVERY if name.startswith("of the mean")]
    for name in EVERY:
        same = {k for k in before[name]["made_of"] if before[name]["made_of"][k] == after[name]["made_of"][k]}
        assert same == {"rows", "sd", "asked", "version"} - ({"asked"} if name.startswith("of") else set())


def test_a_site_or_an_analysis_more_leaves_the_others(rated: Rate, did: list[str], ratings: pd.DataFrame) -> None:
    rated("out")
    more = pd.concat([ratings, ratings[ratings["team"] == "A"].assign(team="D")])
    rated("out", data=more, resume=True)
    assert did[6:] == ["agreement, score, D", "of the mean, score, D"]
    third = '[[batch.analysis]]\nname = "third"\nkind = "ratings"\nitem = "case"\nrater = "rater"\nscore = "score"\n'
    rated(
        "out",
        ('[[batch.analysis]]\nname = "agreement"', f'{third}[[batch.analysis]]\nname = "agreement"'),
        data=more,
        resume=True,
    )
    assert did[8:] == [f"third, score, {team}" for team in "ABCD"]


# On the disk ----------------------------------------------------------------------------------------------------------


def test_a_file_is_on_the_disk_before_its_name_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    sync, put = os.fsync, os.replace

    def synced(opened: int) -> None:
        order.append("folder" if stat.S_ISDIR(os.fstat(opened).st_mode) else "file")
        sync(opened)

    def placed(part: Any, path: Any) -> None:
        order.append("name")
        put(part, path)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", placed)
    store.written(tmp_path / "a.txt", lambda path: store._write(path, "whole"))
    assert order == ["file", "name", "folder"]
    assert (tmp_path / "a.txt").read_text("utf-8") == "whole"
    assert list(tmp_path.iterdir()) == [tmp_path / "a.txt"]


def test_where_folders_cannot_be_waited_for_nothing_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*given: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder.os, "open", refused)
    with pytest.raises(PermissionError):
        folder.settle(tmp_path)
    monkeypatch.setattr(folder.os, "name", "nt")
    folder.settle(tmp_path)


@pytest.mark.parametrize(("code", "told"), [("EINVAL", False), ("ENOTSUP", False), ("EIO", True)])
def test_a_disk_that_knows_no_such_wait_is_no_fault_but_a_broken_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, told: bool
) -> None:
    def failing(opened: int) -> None:
        raise OSError(getattr(folder.errno, code), code)

    monkeypatch.setattr(folder.os, "fsync", failing)
    if told:
        with pytest.raises(OSError, match=code):
            folder.settle(tmp_path)
    else:
        folder.settle(tmp_path)
