"""What a timed task needs in a process of its own: `python SCRIPT TASK FOLDER REPETITIONS`; prints JSON."""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["report", "timed", "write"]


def write(folder: Path, columns: dict[str, np.ndarray]) -> None:
    """Write each column as raw numbers, which numpy and R's readBin both read."""
    for name, values in columns.items():
        values.tofile(folder / f"{name}.bin")


def peak_megabytes() -> float:
    """Return the most memory that this process has held, as the kernel counts it."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def timed(call: Callable[[], Any], repetitions: int) -> tuple[list[float], Any]:
    """Return the seconds of each call and the last answer."""
    seconds, answer = [], None
    for _ in range(repetitions):
        start = time.perf_counter()
        answer = call()
        seconds.append(time.perf_counter() - start)
    return seconds, answer


def report(tasks: Mapping[str, Callable[[Path, int], dict[str, Any]]]) -> None:
    """Run the task that the command line asks for; print what it answers, and the memory that it took."""
    task, place, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    with contextlib.redirect_stdout(sys.stderr):
        answer = tasks[task](place, count)
    print(json.dumps(answer | {"peak_megabytes": peak_megabytes()}))
