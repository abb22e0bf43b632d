"""Work in several processes: the only joblib import, keyed random generators, one BLAS thread a worker."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from implstats import _check

__all__ = ["generators", "one_thread", "run", "said", "seed_of"]

T = TypeVar("T")


def seed_of(rng: int | np.random.Generator | None) -> int:
    """Return one number that every child generator of a call is keyed with."""
    return int(_check.generator(rng).integers(2**63))


def generators(seed: int, *key: int) -> np.random.Generator:
    """Return the generator of a piece of work, the same whichever worker does it, and in whatever order."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep the linear algebra within to one thread: small matrices are slower with several."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1):
        yield


def run(
    function: Callable[..., T],
    tasks: Sequence[tuple[Any, ...]],
    workers: int,
    told: Callable[[int, int], None] | None = None,
) -> list[T]:
    """Return function(*task) of every task, in order, with one BLAS thread each; `told` hears how many are done."""
    workers = _check.whole("workers", workers, remedy="1 does all work in this process")
    done: list[T] = []
    for result in _each(function, tasks, workers):
        done.append(result)
        if told is not None:
            told(len(done), len(tasks))
    return done


def _each(function: Callable[..., T], tasks: Sequence[tuple[Any, ...]], workers: int) -> Iterator[T]:
    if workers == 1 or len(tasks) == 1:
        with one_thread():
            yield from (function(*task) for task in tasks)
        return
    from joblib import Parallel, delayed

    # A backend chosen with joblib.parallel_config, as a cluster's, carries the work.
    yield from Parallel(n_jobs=workers, return_as="generator")(delayed(_alone)(function, *task) for task in tasks)


def said(what: str) -> Callable[[int, int], None]:
    """Return a listener that writes to the terminal how much is done, and about how long the rest takes."""
    began = time.monotonic()

    def told(done: int, total: int) -> None:
        left = (time.monotonic() - began) / done * (total - done)
        end = f"about {left:.0f} s left" if done < total else f"{time.monotonic() - began:.0f} s"
        print(f"\r{what}: {done} of {total}, {end}   ", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return told


def _alone(function: Callable[..., T], *task: Any) -> T:
    with one_thread():
        return function(*task)
