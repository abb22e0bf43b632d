"""Programs that take turns, one process each, and what a row of the results says of them."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
THREADS = dict.fromkeys(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"], "1")
# What a program answers besides its time, as results.json keeps it.
KEPT = ("deviance", "loglik", "theta", "converged")


@dataclass
class Runs:
    """What one program did over the rounds of a row."""

    program: str
    seconds: list[float] = field(default_factory=list)
    peaks: list[float] = field(default_factory=list)
    last: dict[str, Any] = field(default_factory=dict)

    def add(self, report: Mapping[str, Any]) -> None:
        """Add one process's report."""
        self.seconds += list(report["seconds"])
        self.peaks.append(report["peak_megabytes"])
        self.last = dict(report)

    @property
    def median(self) -> float:
        """Return the median seconds."""
        return statistics.median(self.seconds)

    def record(self) -> dict[str, Any]:
        """Return the runs as JSON can hold them."""
        return {
            "program": self.program,
            "seconds": {"min": min(self.seconds), "median": self.median, "max": max(self.seconds)},
            "runs": len(self.seconds),
            "peak_megabytes": max(self.peaks) if self.peaks else None,
        } | {name: self.last[name] for name in KEPT if name in self.last}


def process(command: list[str]) -> dict[str, Any]:
    """Run a command with one BLAS thread and return the JSON that it prints."""
    done = subprocess.run(command, env=os.environ | THREADS, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def python(script: str, task: str, folder: Path, repetitions: int = 1) -> dict[str, Any]:
    """Run a task of a Python script of this folder."""
    return process([sys.executable, str(HERE / script), task, str(folder), str(repetitions)])


def r(script: str, task: str, folder: Path, repetitions: int = 1) -> dict[str, Any]:
    """Run a task of an R script of this folder."""
    return process(["Rscript", str(HERE / script), task, str(folder), str(repetitions)])


def whole(program: Callable[..., dict[str, Any]], *task: Any) -> dict[str, Any]:
    """Run a task, and take the time of its process from start to end instead of that of its calls."""
    start = time.perf_counter()
    answer = program(*task)
    return answer | {"seconds": [time.perf_counter() - start]}


def in_turn(rounds: int, programs: Mapping[str, Callable[[], Mapping[str, Any]]]) -> dict[str, Runs]:
    """Let the programs take turns, `rounds` times."""
    runs = {name: Runs(name) for name in programs}
    for k in range(rounds):
        for name, call in programs.items():
            runs[name].add(call())
            print(f"  round {k + 1} {name}: {runs[name].seconds[-1]:.3f} s", file=sys.stderr, flush=True)
    return runs


def versus(
    question: str, target: str, met: bool, ratio: float, runs: Mapping[str, Runs], **more: Any
) -> dict[str, Any]:
    """Return one row of the results."""
    record = {"question": question, "target": target, "met": bool(met), "ratio": ratio}
    return record | {"programs": [k.record() for k in runs.values()]} | more
