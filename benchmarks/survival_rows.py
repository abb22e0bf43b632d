"""Rows of Cox models: fit_cox beside survival::coxph and lifelines, and the memory that it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from survival_tasks import simulate
from timing import write
from turns import Runs, in_turn, python, r, versus

__all__ = ["ROWS"]

TASKS, SURVIVAL = "survival_tasks.py", "coxph.R"
SIZE = "100,000 rows, 10 covariates"
ALL_OF_IT = "fit_cox with table, tests and concordance, against coxph's summary"
# How far answers may be apart, in standard errors (the estimates) or relative (all else); lifelines and coxph's
# frailty() stop earlier.
NEAR, NEAR_EARLY = 1e-5, 1e-4


def apart(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, float]:
    """Return how far each kind of answer is from another program's, at most."""
    error = np.array(theirs["std_errors"])
    found = {"estimates": np.abs(np.array(ours["estimates"]) - theirs["estimates"]) / error}
    for name in ("std_errors", "tests", "concordance", "loglik", "theta"):
        if name in theirs:
            found[name] = np.abs(np.divide(ours[name], theirs[name]) - 1)
    return {name: float(np.max(value)) for name, value in found.items()}


def row(question: str, times: int | None, runs: Mapping[str, Runs], near: float) -> dict[str, Any]:
    """Return the row of a comparison with the second program; it is met by speed, if asked, and by the same answers."""
    ours, theirs = runs.values()
    far, ratio = apart(ours.last, theirs.last), theirs.median / ours.median
    target = "for information" if times is None else f">= {times} times faster"
    return versus(question, target, ratio >= (times or 0) and max(far.values()) <= near, ratio, runs, apart=far)


def beside_coxph(rounds: int, folder: Path, task: str, words: str, **data: bool) -> list[dict[str, Any]]:
    """Compare fit_cox with coxph at 100,000 rows."""
    write(folder, simulate(100_000, **data))
    programs = {"implstats": lambda: python(TASKS, task, folder, 7), "coxph": lambda: r(SURVIVAL, task, folder, 5)}
    runs = in_turn(rounds, programs)
    return [row(f"{SIZE}, {words}: {ALL_OF_IT}", 3, runs, NEAR)]


def clustered(rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Compare cluster-robust fits at 100,000 rows; coxph takes minutes, and runs once."""
    write(folder, simulate(100_000))
    programs = {
        "implstats": lambda: python(TASKS, "cluster", folder, 7),
        "coxph": lambda: r(SURVIVAL, "cluster", folder),
    }
    runs = in_turn(max(1, rounds - 2), programs)
    return [row(f"{SIZE}, 1,000 clusters with robust errors: {ALL_OF_IT}", 100, runs, NEAR)]


def beside_lifelines(rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Compare fit_cox with lifelines at 10,000 rows, with late entry and with clusters.

    There nearly half of our time, that of checks and tables, does not depend on the rows; lifelines' is quadratic.
    """
    rows = []
    for task, words, size, times in [
        ("entry", "delayed entry", 10_000, 100),
        ("cluster", "1,000 clusters", 10_000, 100),
        ("cluster", "1,000 clusters", 30_000, None),
    ]:
        write(folder, simulate(size, late=task == "entry"))
        programs = {
            "implstats": lambda task=task: python(TASKS, task, folder, 15),
            "lifelines": lambda task=task: python(TASKS, f"lifelines {task}", folder),
        }
        runs = in_turn(rounds if times else 1, programs)
        question = f"{size:,} rows, {words}: fit_cox as above, against lifelines"
        rows.append(row(question, times, runs, NEAR_EARLY))
    return rows


def frail(rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Compare gamma frailty with coxph's frailty()."""
    write(folder, simulate(10_000, groups=500))
    programs = {
        "implstats": lambda: python(TASKS, "frailty", folder, 9),
        "coxph": lambda: r(SURVIVAL, "frailty", folder, 3),
    }
    runs = in_turn(rounds, programs)
    question = "gamma frailty, 10,000 rows in 500 groups: fit_cox as above, against coxph with frailty()"
    found = row(question, 5, runs, NEAR_EARLY)
    note = "by default coxph stops early: answers are compared with what it says when it goes on, untimed"
    return [found | {"note": note, "coxph_default_apart": runs["coxph"].last["stopped_early"]}]


def memory(rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Take the peak memory of whole processes at 100,000, 300,000 and 1,000,000 rows."""
    sizes, runs = (100_000, 300_000, 1_000_000), {}
    for size in sizes:
        write(folder, simulate(size))
        runs |= in_turn(rounds, {f"{size:,} rows": lambda: python(TASKS, "plain", folder)})
    peaks = [max(run.peaks) for run in runs.values()]
    kilobytes = np.diff(peaks) * 1024 / np.diff(sizes)
    linear = float(kilobytes[1] / kilobytes[0])
    first = versus(
        "memory of a further row, from 300,000 to 1,000,000 rows against from 100,000 to 300,000",
        "<= 1.1 times",
        linear <= 1.1,
        linear,
        runs,
        kilobytes_a_row=kilobytes.tolist(),
    )
    gigabytes = peaks[-1] / 1024
    second = versus(
        "1,000,000 rows, 10 covariates: peak memory of the process that reads and fits them",
        "< 4 GB",
        gigabytes < 4,
        gigabytes / 4,
        {"1,000,000 rows": runs["1,000,000 rows"]},
        gigabytes=gigabytes,
        note="the ratio is to 4 GB",
    )
    return [first, second]


ROWS: dict[str, Callable[[int, Path], list[dict[str, Any]]]] = {
    "cox": lambda rounds, folder: beside_coxph(rounds, folder, "plain", "continuous times"),
    "cox-tied": lambda rounds, folder: beside_coxph(rounds, folder, "plain", "times tied at 200 values", tied=True),
    "cox-entry": lambda rounds, folder: beside_coxph(rounds, folder, "entry", "delayed entry", late=True),
    "cox-cluster": clustered,
    "cox-lifelines": beside_lifelines,
    "cox-frailty": frail,
    "cox-memory": memory,
}
