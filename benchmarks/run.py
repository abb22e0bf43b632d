"""Time implstats beside lme4, nlme and statsmodels: `python benchmarks/run.py [--only ROW ...] [--rounds N]`.

Writes benchmarks/results.json and, where README.md has the two markers, a table between them; `--only` puts its rows in
the place of those that this machine measured before. R comes from Debian's r-cran-lme4, r-cran-nlme and
r-cran-jsonlite. Programs take turns within a row, one process each; ratios are of medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from tasks import simulate, write

HERE = Path(__file__).resolve().parent
README = HERE.parent / "README.md"
BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"
THREADS = dict.fromkeys(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"], "1")
INSTEVAL = 237730.615359
# lme4 does a tenth of the refits and deletions, so that a row takes seconds; the row says so.
PART = 10


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
            "deviance": self.last.get("deviance"),
        }


def process(command: list[str]) -> dict[str, Any]:
    """Run a command with one BLAS thread and return the JSON that it prints."""
    done = subprocess.run(command, env=os.environ | THREADS, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def python(task: str, folder: Path, repetitions: int = 1) -> dict[str, Any]:
    """Run a Python task."""
    return process([sys.executable, str(HERE / "tasks.py"), task, str(folder), str(repetitions)])


def r(task: str, folder: Path, repetitions: int = 1) -> dict[str, Any]:
    """Run an R task."""
    return process(["Rscript", str(HERE / "lmer.R"), task, str(folder), str(repetitions)])


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


def at_hundred_thousand(rounds: int, folder: Path, *, shared: bool) -> list[dict[str, Any]]:
    """Compare fit_growth with lme4, with least squares, and their memory."""
    write(folder, simulate(100_000, shared=shared))
    programs = {"implstats": lambda: python("fit_growth", folder), "lme4": lambda: r("growth", folder)}
    if shared:
        programs["statsmodels ols"] = lambda: python("ols", folder)
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
        programs = {"implstats": lambda: python("fit_growth", folder, 7), "MixedLM": lambda: python("mixedlm", folder)}
        programs["lme4"] = lambda: r("growth", folder, 3)
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
    r("export", folder)
    programs = {"implstats": lambda: python("insteval", folder), "lme4": lambda: r("insteval", folder)}
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
        rounds, {"implstats": lambda: python("bootstrap", folder, 5), "bootMer": lambda: r("bootstrap", folder)}
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
        rounds, {"implstats": lambda: python("influence", folder, 5), "lmer": lambda: r("influence", folder)}
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


def at_four_visits(rounds: int, folder: Path) -> list[dict[str, Any]]:
    """Compare fit_mmrm with gls, and take its time where gls would take long."""
    write(folder, simulate(2_000, shared=True, visits=4))
    runs = in_turn(rounds, {"implstats": lambda: python("mmrm", folder, 7), "gls": lambda: r("mmrm", folder)})
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
    large = in_turn(rounds, {"implstats": lambda: python("mmrm", folder)})
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


def imports(rounds: int, _folder: Path) -> list[dict[str, Any]]:
    """Compare `import implstats` with `import pandas`, whole processes."""
    runs = {"implstats": Runs("import implstats"), "pandas": Runs("import pandas")}
    for k in range(6 * rounds + 1):
        for name, run in runs.items():
            start = time.perf_counter()
            subprocess.run([sys.executable, "-c", f"import {name}"], env=os.environ | THREADS, check=True)
            if k:  # The first writes bytecode and fills the disk's cache.
                run.seconds.append(time.perf_counter() - start)
    ratio = runs["implstats"].median / runs["pandas"].median
    return [versus("import implstats, against import pandas", "<= 1 times its time", ratio <= 1, ratio, runs)]


ROWS: dict[str, Callable[[int, Path], list[dict[str, Any]]]] = {
    "import": imports,
    "thousand": at_a_thousand,
    "shared": lambda rounds, folder: at_hundred_thousand(rounds, folder, shared=True),
    "irregular": lambda rounds, folder: at_hundred_thousand(rounds, folder, shared=False),
    "insteval": crossed,
    "bootstrap": bootstrapped,
    "influence": left_out,
    "mmrm": at_four_visits,
}


def machine(folder: Path) -> dict[str, Any]:
    """Return what ran, and on what."""
    cpu = "unknown"
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((x.split(":")[1].strip() for x in info.read_text().splitlines() if x.startswith("model name")), cpu)
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    packages = ["numpy", "scipy", "pandas", "patsy", "statsmodels"]
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gigabytes": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
        "numpy_blas": f"{blas.get('name')} {blas.get('version')}",
        "blas_threads": 1,
        "r": {k: v for k, v in r("versions", folder).items() if k != "peak_megabytes"},
    }


def measured(row: Mapping[str, Any]) -> str:
    """Return what a row's table cell says: a ratio, as seconds belong to one machine, unless time was asked for."""
    if "minutes" in row:
        return f"{row['deviance']:.6f}, {row['minutes']:.1f} min"
    if "seconds" in row:
        return f"{row['seconds']:.1f} s"
    return f"{row['ratio']:.2f} times" if row["ratio"] < 10 else f"{row['ratio']:.0f} times"


def table(rows: list[dict[str, Any]], where: Mapping[str, Any]) -> str:
    """Return the rows as Markdown."""
    lines = ["| what | asked | measured |", "| :--- | :--- | ---: |"]
    for row in rows:
        missed = "" if row["met"] else " (missed)"
        lines.append(f"| {row['question']} | {row['target']} | {measured(row)}{missed} |")
    lines += [
        "",
        f"Medians of programs taking turns on one machine ({where['cpu']}, one BLAS thread each); Python "
        f"{where['python']}, numpy {where['packages']['numpy']} ({where['numpy_blas']}), statsmodels "
        f"{where['packages']['statsmodels']}; {where['r']['R']}, lme4 {where['r']['lme4']} and nlme "
        f"{where['r']['nlme']} with Debian's BLAS. Again: `python benchmarks/run.py`.",
    ]
    return "\n".join(lines)


def measured_before(where: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows that are there; of another machine they must not stand beside new ones."""
    there = json.loads((HERE / "results.json").read_text(encoding="utf-8"))
    if there["machine"] != where:
        sys.exit("results.json was measured on another machine or with other versions: run every row, or say --dry")
    return there["rows"]


def publish(rows: list[dict[str, Any]], where: Mapping[str, Any]) -> None:
    """Write results.json, and the table in README.md."""
    record = {"machine": where, "rows": rows}
    (HERE / "results.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    page = README.read_text(encoding="utf-8") if README.exists() else ""
    if BEGIN in page and END in page:
        head, rest = page.split(BEGIN, 1)
        text = f"{head}{BEGIN}\n{table(rows, where)}\n{END}{rest.split(END, 1)[1]}"
        README.write_text(text, encoding="utf-8")


def main() -> int:
    """Run the rows, write the results, and exit with 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=list(ROWS), default=list(ROWS), help="rows to run")
    parser.add_argument("--rounds", type=int, default=3, help="how often each program takes its turn")
    parser.add_argument("--dry", action="store_true", help="print, write nothing")
    options = parser.parse_args()
    rows, before = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        where = machine(folder)
        if not options.dry and set(options.only) != set(ROWS):
            before = measured_before(where)
        for key in options.only:
            print(key, file=sys.stderr, flush=True)
            rows += [{"row": key, **row} for row in ROWS[key](options.rounds, folder)]
    print(table(rows, where))
    if not options.dry:
        kept = [row for row in before if row["row"] not in options.only]
        publish(sorted(kept + rows, key=lambda row: list(ROWS).index(row["row"])), where)
    return 0 if all(row["met"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
