"""Rows of growth models: fit_growth, fit_mixed, fit_mmrm, bootstrap and diagnose, beside lme4, nlme and statsmodels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from growth_tasks import simulate
from timing import write
from turns import in_turn, python, r, versus, whole

__all__ = ["ROWS"]

TASKS, LME4 = "growth_tasks.py", "lmer.R"
INSTEVAL = 237730.615359
# lme4 does a tenth of the refits and deletions, so that a row takes seconds; the row says so.
PART = 10
# Patients of the studies of a power curve.
SIZES = (30, 40, 50, 60, 80, 120, 160, 200, 300, 400)


def at_hundred_thousand(rounds: int, folder: Path, *, shared: bool) -> list[dict[str, Any]]:
    """Compare fit_growth with lme4, with least squares, and their memory."""
    write(folder, simulate(100_000, shared=shared))
    programs = {"implstats": lambda: python(TASKS, "fit_growth", folder), "lme4": lambda: r(LME4, "growth", folder)}
    if shared:
        programs["statsmodels ols"] = lambda: python(TASKS, "ols", folder)
    runs = in_turn(rounds, programs)
    ours, lme4 = runs["implstats"], runs["lme4"]
    times, goal = ("shared visit times", 30) if shared else ("irregular times", 6)
    fit = {"implstats": ours, "lme4": lme4}
    ratio = lme4.median / ours.median
    rows = [
        versus(
            f"100,000 patients, {times}: fit_growth with both tables, against lmer alone",
            f">= {goal} times faster",
            ratio >= goal,
            ratio,
            fit,
            criterion_above_lme4=ours.last["deviance"] - lme4.last["deviance"],
        )
    ]
    share = max(ours.peaks) / max(lme4.peaks)
    rows.append(versus(f"the same, {times}: peak memory of the process", "<= 1 times lme4's", share <= 1, share, fit))
    if shared:
        ols = runs["statsmodels ols"]
        against = {"implstats": ours, "statsmodels ols": ols}
        faster = ols.median / ours.median
        rows.append(
            versus(
                f"the same, {times}: against smf.ols of the fixed part", "> 1 times faster", faster > 1, faster, against
            )
        )
    return rows


def at_a_thousand(rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Compare fit_growth with MixedLM, in months and in years: MixedLM does not converge in months."""
    rows = []
    for unit, words in [(1.0, "months"), (12.0, "years")]:
        write(folder, simulate(1_000, shared=True, unit=unit))
        programs = {
            "implstats": lambda: python(TASKS, "fit_growth", folder, 7),
            "MixedLM": lambda: python(TASKS, "mixedlm", folder),
        }
        programs["lme4"] = lambda: r(LME4, "growth", folder, 3)
        runs = in_turn(rounds, programs)
        ours, theirs = runs["implstats"], runs["MixedLM"]
        ratio = theirs.median / ours.median
        end = "converges" if theirs.last["converged"] else "ends without converging"
        question = f"1,000 patients, time in {words}: fit_growth with both tables, against MixedLM (which {end})"
        target, met = (">= 150 times faster", ratio >= 150) if unit == 1.0 else ("for information", True)
        above = {
            "criterion_above_lme4": ours.last["deviance"] - runs["lme4"].last["deviance"],
            "criterion_above_mixedlm": ours.last["deviance"] - theirs.last["deviance"],
        }
        rows.append(versus(question, target, met, ratio, runs, **above))
    return rows


def crossed(rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Fit InstEval, 2,972 students by 1,128 lecturers, which R exports at run time."""
    r(LME4, "export", folder)
    programs = {"implstats": lambda: python(TASKS, "insteval", folder), "lme4": lambda: r(LME4, "insteval", folder)}
    runs = in_turn(max(1, rounds - 2), programs)
    ours = runs["implstats"]
    near = -1e-5 <= ours.last["deviance"] - INSTEVAL <= 1e-5
    row = versus(
        "InstEval, y ~ service + (1 | s) + (1 | d) by ML",
        f"{INSTEVAL}, in minutes",
        near and ours.median < 600,
        runs["lme4"].median / ours.median,
        runs,
        minutes=ours.median / 60,
        deviance=ours.last["deviance"],
        deviance_lme4=runs["lme4"].last["deviance"],
    )
    return [row]


def bootstrapped(rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Compare a thousand parametric refits with a hundred of bootMer's, and their standard deviations."""
    write(folder, simulate(500, shared=True))
    runs = in_turn(
        rounds,
        {"implstats": lambda: python(TASKS, "bootstrap", folder, 5), "bootMer": lambda: r(LME4, "bootstrap", folder)},
    )
    ours, lme4 = runs["implstats"], runs["bootMer"]
    ratio = PART * lme4.median / ours.median
    several = np.array(ours.last["sds"]) / np.array(lme4.last["sds"])
    chance = float(np.sqrt(sum(1 / (2 * (run.last["refits"] - 1)) for run in runs.values())))
    row = versus(
        "1,000 parametric bootstrap refits, 500 patients: bootstrap, against lme4::bootMer (100 refits, times 10)",
        ">= 50 times faster",
        ratio >= 50 and bool(np.all(np.abs(np.log(several)) < 3.5 * chance)),
        ratio,
        runs,
        note=f"bootMer did {lme4.last['refits']} refits, its seconds count {PART} times; both without the first fit",
        refits={name: run.last["refits"] for name, run in runs.items()},
        sds_over_bootmer=several.tolist(),
        sds_standard_error=chance,
    )
    return [row]


def left_out(rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Compare the refits without each of 500 patients with lmer without each of fifty."""
    write(folder, simulate(500, shared=True))
    runs = in_turn(
        rounds,
        {"implstats": lambda: python(TASKS, "influence", folder, 5), "lmer": lambda: r(LME4, "influence", folder)},
    )
    ours, lme4 = runs["implstats"], runs["lmer"]
    ratio = PART * lme4.median / ours.median
    theirs = np.array(lme4.last["estimates"])
    apart = float(np.abs(np.array(ours.last["estimates"])[: len(theirs)] - theirs).max())
    row = versus(
        "each of 500 patients left out: diagnose with influence, against lmer without each (50 of them, times 10)",
        ">= 50 times faster",
        ratio >= 50 and apart < 1e-5,
        ratio,
        runs,
        note=f"lmer did {len(theirs)} deletions, its seconds count {PART} times; both without the first fit",
        refits={name: run.last["refits"] for name, run in runs.items()},
        largest_difference_of_fixed_effects=apart,
    )
    return [row]


def power_curve(rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Compare a power curve, the whole process, with a loop over lmer, a twentieth of it."""
    write(folder, {"sizes": np.array(SIZES, dtype=np.int32)})
    runs = in_turn(
        rounds,
        {"implstats": lambda: whole(python, TASKS, "power", folder), "lmer": lambda: r(LME4, "power", folder)},
    )
    ours, lmer = runs["implstats"], runs["lmer"]
    scale = ours.last["fits"] / lmer.last["fits"]
    ratio = scale * lmer.median / ours.median
    # Both draw the same studies if lmer's estimates, on the scale of ours, have a mean of 0 and a deviation of 1.
    z = (np.array(lmer.last["estimates"]) - np.c_[ours.last["means"]]) / np.c_[ours.last["sds"]]
    alike = abs(z.mean()) < 4 / np.sqrt(z.size) and abs(z.std() - 1) < 4 / np.sqrt(2 * z.size)
    row = versus(
        "power curve of 10 sample sizes (30 to 400 patients) by 1,000 random-slope studies on two workers: the whole "
        f"process, against a loop of lmer, fixef and vcov (500 studies, times {scale:.0f})",
        ">= 30 times faster",
        ratio >= 30 and bool(alike) and scale == 20,
        ratio,
        runs,
        note=f"lmer did {lmer.last['fits']} fits, its seconds count {scale:.0f} times; both draw their studies, ours "
        "also imports, starts its workers, and has Satterthwaite's degrees of freedom and the Fieller sets",
        fits={name: run.last["fits"] for name, run in runs.items()},
        power={name: run.last["power"] for name, run in runs.items()},
        standardised_estimates_of_lmer={"mean": z.mean(), "sd": z.std()},
    )
    return [row]


def at_four_visits(rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Compare fit_mmrm with gls, and take its time where gls would take long."""
    write(folder, simulate(2_000, shared=True, visits=4))
    runs = in_turn(
        rounds, {"implstats": lambda: python(TASKS, "mmrm", folder, 7), "gls": lambda: r(LME4, "mmrm", folder)}
    )
    ours, gls = runs["implstats"], runs["gls"]
    ratio, above = gls.median / ours.median, ours.last["deviance"] - gls.last["deviance"]
    first = versus(
        "MMRM unstructured, 4 visits, 2,000 patients: fit_mmrm with its table, against nlme::gls alone",
        ">= 20 times faster",
        ratio >= 20 and abs(above) < 1e-3,
        ratio,
        runs,
        criterion_above_gls=above,
    )
    write(folder, simulate(100_000, shared=True, visits=4))
    large = in_turn(rounds, {"implstats": lambda: python(TASKS, "mmrm", folder)})
    seconds = large["implstats"].median
    second = versus(
        "the same at 100,000 patients: fit_mmrm with its table",
        "in seconds",
        seconds < 10,
        seconds / ours.median,
        large,
        seconds=seconds,
        note="the ratio is to its own time at 2,000 patients",
    )
    return [first, second]


ROWS: dict[str, Callable[[int, Path], list[dict[str, Any]]]] = {
    "thousand": at_a_thousand,
    "shared": lambda rounds, folder: at_hundred_thousand(rounds, folder, shared=True),
    "irregular": lambda rounds, folder: at_hundred_thousand(rounds, folder, shared=False),
    "insteval": crossed,
    "bootstrap": bootstrapped,
    "influence": left_out,
    "power": power_curve,
    "mmrm": at_four_visits,
}
