"""Work in several processes: the only joblib import, keyed random generators, one BLAS thread a worker."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from importlib import import_module
from multiprocessing import current_process
from typing import Any, TypeVar

import numpy as np

from implstats import _check
from implstats.errors import DataError

__all__ = ["LostError", "apart", "finished", "generators", "one_thread", "run", "said", "seed_of", "starting"]

T = TypeVar("T")


class LostError(Exception):
    """The processes, or one of them, are gone."""


def seed_of(rng: int | np.random.Generator | None) -> int:
    """Return one number that every child generator of a call is keyed with."""
    return int(_check.generator(rng).integers(2**63))


def generators(seed: int, *key: int) -> np.random.Generator:
    """Return the generator of a piece of work, the same whichever worker does it, and in whatever order."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep the linear algebra within to one thread: small matrices are slower with several."""
    with _linear_algebra(len(sys.modules)).limit(limits=1):
        yield


@lru_cache(maxsize=1)
def _linear_algebra(modules: int) -> Any:
    """Return the loaded libraries; looking for them takes as long as a small model, and more come only with modules."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


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


def finished(
    function: Callable[..., T], tasks: Sequence[tuple[Any, ...]], workers: int, cluster: str | None = None
) -> Iterator[tuple[int, T | Exception]]:
    """Yield (k, function(*tasks[k])) as tasks end, in whatever order; a task whose process died is an Exception.

    The function must catch its own errors. When a worker dies (killed, or out of memory), those that may have been on
    it are done again, and one by one if another dies, so that a task which kills its worker takes no other with it.
    `cluster` is the address of a Dask scheduler, whose workers take the place of processes.
    """
    workers = _check.whole("workers", workers, remedy="1 does all work in this process")
    if cluster is None and workers == 1:
        with one_thread():
            yield from ((k, function(*task)) for k, task in enumerate(tasks))
        return
    left = dict(enumerate(tasks))
    # Short tasks travel together, some tenths of a second of work, until a worker dies.
    together: str | int = "auto"
    with _where(cluster):
        jobs = workers if cluster is None else -1
        while left:
            try:
                for k, result in _as_they_end(function, left, jobs, together):
                    del left[k]
                    yield k, result
            except LostError:
                alone = list(left)[: 2 * max(workers, 4)] if together == 1 else []
                for k in alone:
                    yield k, _by_itself(function, k, left.pop(k), jobs)
                together = 1


def apart(*calls: Callable[[], T]) -> list[T]:
    """Return what each call gives, made in a process of their own; if that dies, it is a LostError, and no more.

    A daemon's process may have no process of its own, so it makes the calls itself.
    """
    if current_process().daemon:
        return [call() for call in calls]
    from joblib.externals.loky import BrokenProcessPool, ProcessPoolExecutor

    # What a dying process says of itself, pages of it, is of no use to who reads the complaint.
    with ProcessPoolExecutor(max_workers=1, env={"PYTHONFAULTHANDLER": ""}) as pool:
        try:
            return [pool.submit(call).result() for call in calls]
        except BrokenProcessPool as error:
            raise LostError(str(error)) from None


@contextmanager
def starting(module: str, workers: int, cluster: str | None = None) -> Iterator[None]:
    """Let the workers of a later call start and load a module, while this process does what is within."""
    if cluster is not None or workers == 1:
        yield
        return
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=workers, return_as="generator_unordered", batch_size=1)
    loaded = pool(delayed(_load)(module) for _ in range(workers))
    try:
        yield
    finally:
        # One that died is started again by who needs it.
        with suppress(Exception):
            list(loaded)


def _load(module: str) -> None:
    import_module(module)


def _as_they_end(
    function: Callable[..., T], tasks: Mapping[int, tuple[Any, ...]], jobs: int, together: str | int
) -> Iterator[tuple[int, T]]:
    from joblib import Parallel, delayed

    pool = Parallel(n_jobs=jobs, return_as="generator_unordered", batch_size=together)
    results = pool(delayed(_numbered)(function, k, task) for k, task in list(tasks.items()))
    while True:
        try:
            found = next(results)
        except StopIteration:
            return
        except Exception as error:
            raise LostError(str(error)) from error
        yield found


def _by_itself(function: Callable[..., T], k: int, task: tuple[Any, ...], jobs: int) -> T | Exception:
    try:
        return next(_as_they_end(function, {k: task}, jobs, 1))[1]
    except LostError as error:
        return error.__cause__ if isinstance(error.__cause__, Exception) else error


def _numbered(function: Callable[..., T], k: int, task: tuple[Any, ...]) -> tuple[int, T]:
    with one_thread():
        return k, function(*task)


@contextmanager
def _where(cluster: str | None) -> Iterator[None]:
    """Let joblib hand its work to a Dask cluster, if there is one."""
    if cluster is None:
        yield
        return
    try:
        from distributed import Client
    except ImportError:
        raise DataError(f"cluster={cluster!r}: needs distributed; pip install 'implstats[cluster]'") from None
    from joblib import parallel_config

    try:
        client = Client(cluster, timeout=10)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TimeoutError) as error:
        raise DataError(f"cluster={cluster!r}: no scheduler answers there; {error}") from None
    with client, parallel_config(backend="dask"):
        yield


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
