"""Work in several processes: order, errors, threads of the linear algebra, and generators that know no workers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from implstats import _parallel
from implstats.errors import ConvergenceError, DataError

WORKERS = pytest.mark.parametrize("workers", [1, 2])


def blas() -> set[int]:
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


@WORKERS
def test_results_come_in_the_order_of_the_tasks(workers: int) -> None:
    def late(first: int, second: str) -> tuple[int, str]:
        # The first tasks take longest.
        sum(k * k for k in range(40_000 * (6 - first)))
        return first, second

    tasks = [(k, "abcdef"[k]) for k in range(6)]
    assert _parallel.run(late, tasks, workers) == tasks


def test_several_workers_are_several_processes() -> None:
    def where(_: int) -> int:
        sum(k * k for k in range(300_000))
        return os.getpid()

    assert set(_parallel.run(where, [(k,) for k in range(8)], 1)) == {os.getpid()}
    others = set(_parallel.run(where, [(k,) for k in range(8)], 2))
    assert os.getpid() not in others
    assert len(others) <= 2


@WORKERS
def test_within_a_task_the_linear_algebra_has_one_thread_and_outside_what_it_had(workers: int) -> None:
    def inside(_: int) -> set[int]:
        np.linalg.inv(np.eye(3))
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    before = blas()
    assert before
    assert _parallel.run(inside, [(0,), (1,)], workers) == [{1}, {1}]
    with _parallel.one_thread():
        assert blas() == {1}
    assert blas() == before


@WORKERS
@pytest.mark.parametrize(
    "error",
    [DataError("n=5: less than 20"), ConvergenceError("no end", {"iterations": 7})],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_a_task_comes_out_as_itself(workers: int, error: Exception) -> None:
    def fails(k: int, raised: Exception) -> int:
        if k == 2:
            raise raised
        return k

    with pytest.raises(type(error)) as caught:
        _parallel.run(fails, [(k, error) for k in range(4)], workers)
    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)
    assert getattr(caught.value, "record", None) == getattr(error, "record", None)


@WORKERS
def test_no_task_and_one_task(workers: int) -> None:
    assert _parallel.run(abs, [], workers) == []
    assert _parallel.run(abs, [(-3,)], workers) == [3]


@pytest.mark.parametrize(
    ("workers", "fault"),
    [(0, "less than 1"), (-1, "less than 1"), (1.5, "not a whole number"), ("2", "not a whole number")],
)
def test_workers_are_a_whole_number(workers: Any, fault: str) -> None:
    with pytest.raises(DataError) as caught:
        _parallel.run(abs, [(1,), (2,)], workers)
    assert str(caught.value) == f"workers={workers!r}: {fault}; 1 does all work in this process"


def numbers(seed: int, *key: int) -> list[float]:
    return _parallel.generators(seed, *key).random(4).tolist()


def test_a_generator_is_known_by_its_key_alone() -> None:
    assert numbers(1, 3) == numbers(1, 3)
    streams = [numbers(seed, *key) for seed in (1, 2) for key in ((), (0,), (1,), (0, 1), (1, 0), (250,))]
    assert len({tuple(stream) for stream in streams}) == 12
    # A child of a seed is numpy's spawned child of it.
    spawned = np.random.SeedSequence(1).spawn(3)[2]
    assert numbers(1, 2) == np.random.default_rng(spawned).random(4).tolist()


@WORKERS
def test_generators_are_the_same_in_every_process(workers: int) -> None:
    def drawn(key: int) -> list[float]:
        return _parallel.generators(5, key).random(4).tolist()

    assert _parallel.run(drawn, [(k,) for k in range(5)], workers) == [numbers(5, k) for k in range(5)]


def test_one_number_is_made_of_a_seed_a_generator_or_nothing() -> None:
    assert _parallel.seed_of(1) == _parallel.seed_of(1) == _parallel.seed_of(np.random.default_rng(1))
    assert _parallel.seed_of(1) != _parallel.seed_of(2)
    assert _parallel.seed_of(None) != _parallel.seed_of(None)
    moving = np.random.default_rng(1)
    assert _parallel.seed_of(moving) != _parallel.seed_of(moving)
    assert isinstance(_parallel.seed_of(1), int)
    with pytest.raises(DataError, match="rng='x'"):
        _parallel.seed_of("x")  # type: ignore[arg-type]


def test_a_task_that_kills_its_worker_takes_no_other_with_it() -> None:
    def deadly(k: int) -> int:
        if k == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return k * k

    found = dict(_parallel.finished(deadly, [(k,) for k in range(8)], 2))
    assert isinstance(found.pop(3), Exception)
    assert found == {k: k * k for k in range(8) if k != 3}


@WORKERS
def test_finished_tasks_come_with_their_number(workers: int) -> None:
    assert sorted(_parallel.finished(lambda k: -k, [(k,) for k in range(5)], workers)) == [(k, -k) for k in range(5)]


def test_a_cluster_takes_distributed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(DataError, match=r"cluster='tcp://a:1': needs distributed; pip install 'implstats\[cluster\]'"):
        list(_parallel.finished(abs, [(1,)], 1, "tcp://a:1"))


def test_workers_that_were_started_beforehand_have_the_module() -> None:
    with _parallel.starting("zipapp", 2):
        pass
    assert any(_parallel.run(lambda _: "zipapp" in sys.modules, [(k,) for k in range(8)], 2))
    assert "zipapp" not in sys.modules


def test_to_start_workers_beforehand_hides_no_error_and_adds_none() -> None:
    with pytest.raises(DataError, match="bad plan"), _parallel.starting("json", 2):
        raise DataError("bad plan")
    with _parallel.starting("there_is_no_such_module", 2):
        pass
    assert _parallel.run(abs, [(-1,), (2,)], 2) == [1, 2]


def test_what_dies_in_a_process_of_its_own_takes_nothing_with_it() -> None:
    def dies() -> int:
        os.kill(os.getpid(), signal.SIGSEGV)
        return 0

    with pytest.raises(_parallel.LostError):
        _parallel.apart(os.getpid, dies)
    first, second = _parallel.apart(os.getpid, os.getpid)
    assert first == second != os.getpid()
    with pytest.raises(ValueError, match="invalid literal"):
        _parallel.apart(partial(int, "x"))


DAEMON = """
import os
from multiprocessing import get_context

from implstats import _parallel


def own_process():
    return _parallel.apart(os.getpid) == [os.getpid()]


if __name__ == "__main__":
    with get_context("spawn").Pool(1) as pool:
        print(pool.apply(own_process))
"""


def test_a_daemon_makes_the_calls_itself(tmp_path: Path) -> None:
    script = tmp_path / "daemon.py"
    script.write_text(DAEMON, encoding="utf-8")
    here = os.environ | {"PYTHONPATH": str(Path(_parallel.__file__).parents[1])}
    done = subprocess.run([sys.executable, str(script)], env=here, capture_output=True, text=True, timeout=120)
    assert (done.stdout.strip(), done.returncode) == ("True", 0), done.stderr
