"""Rows of batches: `implstats run` on plans of many cells, beside loops of MixedLM, lmer, and lmerTest with emmeans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from batch_tasks import ANALYSES, FIRST, write_batch
from turns import Runs, in_turn, python, r, versus, whole

__all__ = ["ROWS"]

TASKS, R = "batch_tasks.py", "batch.R"
SITES, OUTCOMES = 100, 10
CELLS = SITES * OUTCOMES
# lme4 stops a little before its optimum; so near must estimate (in standard errors), standard error and df be.
NEAR = dict.fromkeys(["estimates", "std_errors", "df"], 1e-4)


def with_a_report(rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Take the time of a plan of 300 cells with its report and a forest for every effect."""
    place = folder / "batch300"
    write_batch(place, sites=50, outcomes=2, analyses=list(ANALYSES), figures="summary")
    runs = in_turn(rounds, {"implstats": lambda: whole(python, TASKS, "two", place)})
    ours = runs["implstats"]
    seconds, done = ours.median, ours.last["status"] == 0 and ours.last["cells"] == 300
    # A forest of each outcome and analysis, as PNG and as SVG.
    drawn = ours.last["pictures"] == 2 * 2 * len(ANALYSES)
    row = versus(
        "a plan of 300 cells (50 sites of 200 patients, 2 outcomes; growth, MMRM, pattern mixture) with its report and "
        "6 forests, two workers: the whole command",
        "< 60 s",
        seconds < 60 and done and drawn,
        seconds / 60,
        runs,
        seconds=seconds,
        note="the ratio is to what was asked",
    )
    return [row]


def thousand_cells(rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Compare a plan of 1,000 cells, the whole command, with loops over some of them, and the numbers of both."""
    place = folder / "batch1000"
    write_batch(place, sites=SITES, outcomes=OUTCOMES, analyses=["growth"], figures="none")
    programs = {
        "implstats, 2 workers": lambda: whole(python, TASKS, "two", place),
        "implstats, 1 worker": lambda: whole(python, TASKS, "one", place),
        "MixedLM": lambda: python(TASKS, "mixedlm", place),
        "lmerTest, pbkrtest, emmeans": lambda: r(R, "answers", place, FIRST["answers"]),
        "lmer": lambda: r(R, "lmer", place, FIRST["lmer"]),
    }
    runs = in_turn(rounds, programs)
    two, one, mixedlm, answers, lmer = runs.values()
    apart = _apart(two, answers)
    alike = all(apart[name] < near for name, near in NEAR.items()) and two.last["cells"] == CELLS
    done = two.last["status"] == one.last["status"] == 0 and two.last["df"] == one.last["df"]
    some = mixedlm.last["cells"]
    versions = {k: v for k, v in r(R, "versions", folder).items() if k != "peak_megabytes"}
    head = "1,000 growth models of 200 patients, each with d, contrasts, improvement retained and Kenward-Roger's df: "
    ours = f"{head}the whole command on two workers, start, reading and files included"
    rows = [
        _row(f"{ours}, against a loop of MixedLM, fits alone", 100, done, two, mixedlm),
        _row(
            "the same, against a loop of lmerTest and emmeans with the same answers", 10, done and alike, two, answers
        ),
        _row("the same, against a loop of lmer alone", 3, done, two, lmer),
        _row("the same on one worker, against a loop of lmer alone", 0, done, one, lmer),
    ]
    rows[0]["note"] += f"; {mixedlm.last['converged']} of {some} converge (time is in months)"
    rows[1] |= {"largest_differences_from_r": apart, "versions": versions}
    rows[1]["note"] += "; compared with what it says when time is in years, as in months it stops early: "
    rows[1]["note"] += f"a standard error is off by {100 * answers.last['stopped_early']:.1g} %"
    return rows


def _row(question: str, goal: float, met: bool, ours: Runs, theirs: Runs) -> dict[str, Any]:
    """Return a row of a program that did some of the cells, whose time is multiplied."""
    times = CELLS / theirs.last["cells"]
    ratio = times * theirs.median / ours.median
    note = f"{theirs.program} did {theirs.last['cells']} cells, cut out before, in a warm process; its seconds count "
    said = f"{question} ({theirs.last['cells']} cells, times {times:.0f})"
    target = f">= {goal} times faster" if goal else "for information"
    runs = {"ours": ours, "theirs": theirs}
    return versus(said, target, met and ratio >= goal, ratio, runs, note=f"{note}{times:.0f} times")


def _apart(ours: Runs, theirs: Runs) -> dict[str, float]:
    """Return the largest difference between both in the cohorts' difference in change at the last time."""
    mine, other = ({name: np.array(run.last[name])[: theirs.last["cells"]] for name in NEAR} for run in (ours, theirs))
    found = {name: float(np.abs(mine[name] / other[name] - 1).max()) for name in NEAR}
    return found | {"estimates": float((np.abs(mine["estimates"] - other["estimates"]) / other["std_errors"]).max())}


ROWS: dict[str, Callable[[int, Path], list[dict[str, Any]]]] = {
    "batch": with_a_report,
    "cells": thousand_cells,
}
