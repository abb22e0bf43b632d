"""Time implstats beside the programs that people use: `python benchmarks/run.py [--only ROW ...] [--rounds N]`.

Writes benchmarks/results.json and, where README.md has the two markers, a table between them; `--only` puts its rows in
the place of those that this machine measured before. R comes from Debian's r-cran-lme4, r-cran-nlme, r-cran-survival
and r-cran-jsonlite; for the batches also r-cran-lmertest, r-cran-pbkrtest and r-cran-emmeans. Programs take turns
within a row, one process each; ratios are of medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import batch_rows
import growth_rows
import numpy as np
import survival_rows
from turns import HERE, THREADS, Runs, r, versus

README = HERE.parent / "README.md"
BEGIN, END = "<!-- benchmarks -->", "<!-- /benchmarks -->"


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
    **growth_rows.ROWS,
    **survival_rows.ROWS,
    **batch_rows.ROWS,
}


def machine(folder: Path) -> dict[str, Any]:
    """Return what ran, and on what."""
    cpu = "unknown"
    info = Path("/proc/cpuinfo")
    if info.exists():
        cpu = next((x.split(":")[1].strip() for x in info.read_text().splitlines() if x.startswith("model name")), cpu)
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    packages = ["numpy", "scipy", "pandas", "patsy", "statsmodels", "lifelines"]
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory_gigabytes": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in packages},
        "numpy_blas": f"{blas.get('name')} {blas.get('version')}",
        "blas_threads": 1,
        "r": {k: v for k, v in r("lmer.R", "versions", folder).items() if k != "peak_megabytes"},
    }


def measured(row: Mapping[str, Any]) -> str:
    """Return what a row's table cell says: a ratio, as seconds belong to one machine, unless time was asked for."""
    if "minutes" in row:
        return f"{row['deviance']:.6f}, {row['minutes']:.1f} min"
    if "seconds" in row:
        return f"{row['seconds']:.1f} s"
    if "gigabytes" in row:
        return f"{row['gigabytes']:.1f} GB"
    return f"{row['ratio']:.2f} times" if row["ratio"] < 10 else f"{row['ratio']:.0f} times"


def table(rows: list[dict[str, Any]], where: Mapping[str, Any]) -> str:
    """Return the rows as Markdown."""
    lines = ["| what | asked | measured |", "| :--- | :--- | ---: |"]
    for row in rows:
        missed = "" if row["met"] else " (missed)"
        question = row["question"].replace("|", r"\|")
        lines.append(f"| {question} | {row['target']} | {measured(row)}{missed} |")
    lines += [
        "",
        f"Medians of programs taking turns on one machine ({where['cpu']}, one BLAS thread each); Python "
        f"{where['python']}, numpy {where['packages']['numpy']} ({where['numpy_blas']}), statsmodels "
        f"{where['packages']['statsmodels']}, lifelines {where['packages']['lifelines']}; {where['r']['R']}, lme4 "
        f"{where['r']['lme4']}, nlme {where['r']['nlme']} and survival {where['r']['survival']} with Debian's BLAS. "
        "Again: `python benchmarks/run.py`.",
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
