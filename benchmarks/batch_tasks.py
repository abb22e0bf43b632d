"""Timed tasks of batches: `python benchmarks/batch_tasks.py TASK FOLDER REPETITIONS`; prints JSON.

Every side reads the same visits.csv: patients of many sites, some of whose values are missing.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from growth_tasks import simulate
from timing import report, timed

__all__ = ["ANALYSES", "FIRST", "write_batch"]

PATIENTS, VISITS = 200, 5
# Sites whose cells a slower program does; its time is multiplied.
FIRST = {"mixedlm": 1, "answers": 5, "lmer": 20}
GROWTH = 'kind = "growth"\nat = {at}\nshape = "linear"\ndf = "kenward-roger"'
ANALYSES = {
    "growth": GROWTH,
    "mmrm": 'kind = "mmrm"\nat = {at}\ndf = "kenward-roger"',
    "drop-out": 'kind = "pattern_mixture"\nat = {last}',
}


def write_batch(
    folder: Path, *, sites: int, outcomes: int, analyses: Sequence[str], figures: str, unit: float = 1.0
) -> None:
    """Write a table of patients at sites, and the plan that analyses each outcome at each site."""
    folder.mkdir(exist_ok=True)
    patient = np.repeat(np.arange(sites * PATIENTS), VISITS)
    visits = pd.DataFrame(
        {
            "site": [f"site {k:03d}" for k in patient // PATIENTS],
            "patient": patient,
            "cohort": np.array(["before", "during"])[patient % 2],
            "month": np.tile(9.0 * np.arange(VISITS) / unit, sites * PATIENTS),
        }
    )
    names = [f"scale{k}" for k in range(outcomes)]
    for seed, name in enumerate(names):
        seen = simulate(sites * PATIENTS, shared=True, visits=VISITS, unit=unit, seed=seed)
        at = seen["patient"] * VISITS + np.rint(seen["month"] * unit / 9.0).astype(int)
        visits.loc[at, name] = seen["bsi"].round(4)
    visits.to_csv(folder / "visits.csv", index=False)
    times = {"at": [18 / unit, 36 / unit], "last": 36 / unit}
    sections = [f'title = "Many cells"\nfigures = "{figures}"', '[data]\nfile = "visits.csv"']
    sections.append(
        '[roles]\npatient = "patient"\ntime = "month"\ncohort = "cohort"\nreference = "before"\nbaseline = 0'
    )
    sections += ["[outcomes]\n" + "\n".join(f'{name} = "lower"' for name in names), '[batch]\nby = "site"']
    sections += [f'[[batch.analysis]]\nname = "{name}"\n{ANALYSES[name].format(**times)}' for name in analyses]
    (folder / "plan.toml").write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def command(workers: int, folder: Path, _repetitions: int) -> dict[str, Any]:
    """Carry out `implstats run`; the process is timed whole, by its caller."""
    from implstats.__main__ import main

    out = Path(tempfile.mkdtemp(dir=folder)) / "results"
    status = main(["run", str(folder / "plan.toml"), "--out", str(out), "--workers", str(workers)])
    cells = pd.read_csv(out / "cells.csv")
    last = cells[(cells["quantity"] == "difference") & (cells["time"] == cells["time"].max())]
    growth = last[last["analysis"] == "growth"].sort_values(["site", "outcome"])
    by = {"outcome", "site", "analysis"}
    return {
        "seconds": [],
        "status": status,
        "cells": len(cells.drop_duplicates(list(by))),
        "pictures": len(list((out / "figures").iterdir())),
        # In points of the outcome, as R has it; lower is better.
        "estimates": (-growth["estimate"] * growth["sd"]).tolist(),
        "std_errors": (growth["std_error"] * growth["sd"]).tolist(),
        "df": growth["df"].tolist(),
    }


def mixedlm(folder: Path, repetitions: int) -> dict[str, Any]:
    """Time a loop of statsmodels' MixedLM over the cells of the first sites, rows cut out before."""
    import statsmodels.formula.api as smf

    visits = pd.read_csv(folder / "visits.csv")
    parts = [rows for _, rows in visits.groupby("site")][: FIRST["mixedlm"]]
    names = [name for name in visits if name.startswith("scale")]
    cells = [(name, rows.dropna(subset=[name])) for rows in parts for name in names]

    def fit(name: str, rows: pd.DataFrame) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = smf.mixedlm(f"{name} ~ month * cohort", rows, groups=rows["patient"], re_formula="~month")
            return model.fit()

    seconds, fits = timed(lambda: [fit(*cell) for cell in cells], repetitions)
    return {"seconds": seconds, "cells": len(fits), "converged": sum(bool(one.converged) for one in fits)}


TASKS = {"one": partial(command, 1), "two": partial(command, 2), "mixedlm": mixedlm}

if __name__ == "__main__":
    report(TASKS)
