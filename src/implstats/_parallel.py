"""Work in several processes: the only joblib import, keyed random generators, one BLAS thread a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from implstats import _check

__all__ = ["generators", "one_thread", "run", "seed_of"]

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


def run(function: Callable[..., T], tasks: Sequence[tuple[Any, ...]], workers: int) -> list[T]:
    """Return function(*task) of every task, in order, with one BLAS thread each."""
    workers = _check.whole("workers", workers, remedy="1 does all work in this process")
    if workers == 1 or len(tasks) == 1:
        with one_thread():
            return [function(*task) for task in tasks]
    from joblib import Parallel, delayed

    return list(Parallel(n_jobs=workers)(delayed(_alone)(function, *task) for task in tasks))


def _alone(function: Callable[..., T], *task: Any) -> T:
    with one_thread():
        return function(*task)
