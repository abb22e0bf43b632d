"""A batch that is stopped, cannot write, or meets a folder that is not its own: nothing is lost, nothing is undone."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from implstats import __main__ as command
from implstats import _parallel
from implstats.batch import read_plan, run_plan, store, work
from implstats.batch.cells import cells_of
from implstats.errors import PlanError

Write = Callable[..., Path]
TABLES = ("cells.csv", "pooled.csv", "report.md", "report.html")


def cells(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (folder / "cells").glob("[!.]*.json")}


def same(one: Path, other: Path) -> None:
    assert cells(one) == cells(other)
    for name in TABLES:
        assert (one / name).read_bytes() == (other / name).read_bytes()
    for folder in (one, other):
        assert not [file for file in folder.rglob("*") if file.name.startswith(".implstats-")]


def begun(plan: Path, out: Path, *options: str, **how: Any) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "implstats", "run", str(plan), "--out", str(out), *options]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    return subprocess.Popen(words, **quiet | how)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_killed_at_random_moments_and_resumed_is_as_uninterrupted(bundled: Path, tmp_path: Path, workers: str) -> None:
    plain = run_plan(bundled, out=tmp_path / "plain")
    out, lot = tmp_path / "out", random.Random(int(workers))
    for wanted in sorted(lot.sample(range(30), 3)):
        process = begun(bundled, out, "--workers", workers, "--resume")
        while process.poll() is None and len(cells(out)) <= wanted:
            time.sleep(0.005)
        time.sleep(lot.uniform(0, 0.05))
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert all(json.loads(text)["status"] == "done" for text in cells(out).values())
    assert begun(bundled, out, "--workers", workers, "--resume").wait() == 0
    same(plain, out)


def test_resume_skips_what_is_done_and_makes_changed_data_anew(
    small: Write, sites: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    did: list[str] = []
    real = work.carry_out_cell

    def counted(cell: Any) -> Any:
        did.append(cell.in_words)
        return real(cell)

    monkeypatch.setattr(work, "carry_out_cell", counted)
    fixed = ('by = "site"', 'by = "site"\nsd = { bsi = 0.5, sipp = 0.4 }')
    out = run_plan(small(fixed), out=tmp_path / "out")
    assert len(did) == 4
    before = cells(out)
    run_plan(tmp_path / "plan.toml", out=out, resume=True)
    assert len(did) == 4
    (out / "cells" / min(before)).write_text("{", encoding="utf-8")
    run_plan(tmp_path / "plan.toml", out=out, resume=True)
    assert len(did) == 5
    assert cells(out) == before
    changed = sites[sites["site"].isin(["NL", "NO"])].copy()
    changed.loc[changed.index[changed["site"] == "NO"][0], "bsi"] += 0.25
    run_plan(small(fixed, data=changed), out=out, resume=True)
    assert did[5:] == ["growth, bsi, NO"]
    assert len(set(cells(out)) - set(before)) == 1
    assert len(cells(out)) == 4
    run_plan(small(fixed, ("[18, 36]", "36"), data=changed), out=out, resume=True)
    assert len(did) == 10
    run_plan(tmp_path / "plan.toml", out=out)
    assert len(did) == 14


def test_the_sd_of_all_sites_changes_every_cell_of_its_outcome(small: Write, sites: pd.DataFrame) -> None:
    def keys() -> dict[str, str]:
        plan = read_plan(small(data=here))
        assert plan.batch is not None
        return {cell.in_words: cell.key for cell in cells_of(plan, plan.batch).cells}

    here = sites[sites["site"].isin(["NL", "NO"])].copy()
    before = keys()
    here.loc[here.index[0], "bsi"] += 0.5
    after = keys()
    assert {name for name in after if after[name] != before[name]} == {"growth, bsi, NL", "growth, bsi, NO"}
    here["ward"] = 1
    assert keys() == after


def test_a_failed_cell_is_tried_again(small: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(work, "carry_out_cell", lambda cell: work.failed(cell, "out of luck"))
        out = run_plan(small(), out=tmp_path / "out")
    assert set(pd.read_csv(out / "cells.csv")["error"]) == {"out of luck"}
    run_plan(tmp_path / "plan.toml", out=out, resume=True)
    assert set(pd.read_csv(out / "cells.csv")["status"]) == {"done"}


def test_a_full_disk_keeps_what_is_done(
    small: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = run_plan(small(), out=tmp_path / "plain")
    real, count = store.os.replace, 0

    def full(part: Any, path: Any) -> None:
        nonlocal count
        count += 1
        if count == 4:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        real(part, path)

    out = tmp_path / "out"
    with monkeypatch.context() as small_disk:
        small_disk.setattr(store.os, "replace", full)
        assert command.main(["run", str(tmp_path / "plan.toml"), "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert "No space left on device; 2 of 4 cells are done and stay; --resume goes on" in said
    assert command.main(["run", str(tmp_path / "plan.toml"), "--out", str(out), "--resume"]) == 0
    same(plain, out)


def test_a_file_that_cannot_grow_leaves_no_half_one(small: Write, tmp_path: Path) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    out = tmp_path / "out"
    process = begun(small(), out, preexec_fn=limit, stderr=subprocess.PIPE)
    _, said = process.communicate()
    assert process.returncode == 1
    assert b"File too large; 0 of 4 cells are done and stay" in said
    assert [file for file in out.rglob("*") if file.is_file()] == []
    assert begun(tmp_path / "plan.toml", out).wait() == 0


def test_a_folder_that_cannot_be_written(
    small: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = small()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert command.main(["run", str(plan), "--out", str(tmp_path / "out")]) == 2
    assert "nothing can be written to" in capsys.readouterr().err
    monkeypatch.undo()
    assert command.main(["run", str(plan), "--out", "/proc/self/batch"]) in (1, 2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "names", [["notes.txt"], ["manifest.json"], ["cells/notes.json"], ["cells.csv", "cells/a.json"]]
)
def test_a_foreign_folder_is_refused_and_left_as_it_is(small: Write, tmp_path: Path, names: list[str]) -> None:
    out = tmp_path / "out"
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine", encoding="utf-8")
    with pytest.raises(PlanError, match="holds what no batch of implstats wrote"):
        run_plan(small(), out=out, resume=True)
    assert {
        f.relative_to(out).as_posix(): f.read_text("utf-8") for f in out.rglob("*") if f.is_file()
    } == dict.fromkeys(names, "mine")


def test_a_file_of_others_in_the_folder_of_a_batch_is_refused(small: Write, tmp_path: Path) -> None:
    out = run_plan(small(), out=tmp_path / "out")
    (out / "thesis.docx").write_text("mine", encoding="utf-8")
    with pytest.raises(PlanError, match=r"thesis\.docx"):
        run_plan(tmp_path / "plan.toml", out=out, resume=True)


def test_a_link_out_of_the_folder_is_refused(small: Write, tmp_path: Path) -> None:
    out, elsewhere = run_plan(small(), out=tmp_path / "out"), tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.rmtree(out / "cells")
    (out / "cells").symlink_to(elsewhere)
    with pytest.raises(PlanError, match="cells"):
        run_plan(tmp_path / "plan.toml", out=out, resume=True)
    assert list(elsewhere.iterdir()) == []


def test_the_folder_of_a_study_and_of_a_batch_are_not_mixed(small: Write, tmp_path: Path) -> None:
    from implstats.examples import example_files

    out = run_plan(small(), out=tmp_path / "out")
    with pytest.raises(PlanError, match="holds what implstats did not write"):
        run_plan(example_files("programmes")[2], out=out)


def test_stopped_by_its_user_says_what_stays(
    small: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = work.carry_out_cell

    def stopped(cell: Any) -> Any:
        if cell.in_words == "growth, sipp, NL":
            raise KeyboardInterrupt
        return real(cell)

    monkeypatch.setattr(work, "carry_out_cell", stopped)
    assert command.main(["run", str(small()), "--out", str(tmp_path / "out")]) == 1
    assert "stopped; 2 of 4 cells are done and stay" in capsys.readouterr().err


def test_a_cell_whose_process_died_is_a_row(small: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = _parallel.finished

    def one_lost(function: Any, *given: Any) -> Any:
        for k, record in real(function, *given):
            yield k, MemoryError("gone") if function is work.carry_out_cell and k == 0 else record

    monkeypatch.setattr(_parallel, "finished", one_lost)
    found = pd.read_csv(run_plan(small(), out=tmp_path / "out") / "cells.csv")
    assert found["error"].notna().sum() == 1
    assert "its process ended before it was done (MemoryError)" in found["error"].dropna().item()


def test_a_dask_cluster_that_loses_a_worker_gives_the_same_cells(bundled: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    plain = run_plan(bundled, out=tmp_path / "plain")
    out = tmp_path / "out"
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        process = begun(bundled, out, "--cluster", cluster.scheduler_address)
        while process.poll() is None and len(cells(out)) < 5:
            time.sleep(0.01)
        os.kill(cluster.workers[0].process.process.pid, signal.SIGKILL)
        assert process.wait() == 0
    same(plain, out)
