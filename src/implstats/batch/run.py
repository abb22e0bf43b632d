"""A plan carried out: tables, results, pictures, report and manifest in one folder, or nothing at all."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from implstats.batch import folder as folders
from implstats.batch.batch_run import BatchRun, Told, carry_out_batch
from implstats.batch.check import Checked, check_plan
from implstats.batch.comparison_run import compare
from implstats.batch.folder import KIND, MANIFEST, digest, file_names, folder_to_make, staged, versions
from implstats.batch.looks import Look, look_at, looks_in
from implstats.batch.made_of import fingerprint_of_rows, made_of, source_of
from implstats.batch.page import write_page
from implstats.batch.part import Figure, Part
from implstats.batch.plan import Plan, read_plan
from implstats.batch.report import report
from implstats.batch.survival_run import analyse_survival
from implstats.errors import ImplstatsError, PlanError
from implstats.results import SCHEMA
from implstats.tables import plain

__all__ = ["COMPARISON", "Run", "carry_out", "run_plan"]

COMPARISON = "comparison"
"""What the manifest calls the comparison of cohorts among the parts of a plan."""
# What stands with the file, or concerns words alone.
NO_QUESTIONS = ("name", "data", "words")


@dataclass(frozen=True, eq=False)
class Run:
    """What a run left behind.

    Attributes
    ----------
    folder : pathlib.Path
    parts : sequence of Part
        The comparison and the survival analyses that were written.
    """

    folder: Path
    parts: Sequence[Part]

    @property
    def errors(self) -> dict[str, str]:
        """What could not be analysed, and why."""
        return {name: why for part in self.parts for name, why in part.errors.items()}

    def on_screen(self) -> str:
        """Return the answers for a terminal."""
        return "\n\n".join(part.on_screen() for part in self.parts)


def run_plan(
    plan: str | Path | Plan,
    *,
    out: str | Path,
    workers: int = 1,
    resume: bool = False,
    cluster: str | None = None,
) -> Path:
    r"""What does a whole study say, as a folder of tables, pictures and a report?

    Parameters
    ----------
    plan : str, path or Plan
        A TOML file (the bundled examples explain every key), or what `read_plan` made of one: a comparison of cohorts,
        survival analyses, or both; or a batch of many cells.
    out : str or path
        The folder to make. One that an earlier run made is replaced; any other that is not empty is refused. It appears
        when everything is written, not before; of a batch, every cell is written when it is done.
    workers : int
        Processes that analyse cells; a plan without cells is done in one.
    resume : bool
        Of a batch: cells that an earlier run has done, of the same data, question and version, are not done again.
    cluster : str, optional
        Of a batch: the address of a Dask scheduler, "tcp://...", whose workers take the place of processes; takes the
        extra `cluster`.

    Returns
    -------
    pathlib.Path
        The folder. `report.html` is for readers, `report.md` the same as text; `comparison.csv` has one row an outcome,
        time and cohort at full precision; OUTCOME_*.csv and NAME_*.csv what each model and each survival analysis says;
        `*.json` the results; `manifest.json` plan, versions and hashes, and every plan that was run in the folder
        before, which the report counts. Of a batch, `cells.csv` has one row a quantity of each cell, `pooled.csv` one
        an effect over the sites, and `cells/` one file a cell. `compare_runs` compares two folders.

    Raises
    ------
    PlanError
        If the plan, the data or the folder will not do, all faults together; nothing is fitted or written then.
    DataError
        If no outcome could be fitted. One that cannot be, while others can, is reported in its place, and a cell is a
        row with its error.

    Examples
    --------
    >>> import tempfile
    >>> import implstats as ist
    >>> from implstats.examples import example_files
    >>> plan = example_files("programmes")[2]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = ist.run_plan(plan, out=f"{folder}/results")
    ...     report = (done / "report.md").read_text(encoding="utf-8")
    >>> report.split("\n")[0]
    '# Programmes that stop'
    """
    return carry_out(plan, out=out, workers=workers, resume=resume, cluster=cluster).folder


def carry_out(
    plan: str | Path | Plan,
    *,
    out: str | Path,
    workers: int = 1,
    resume: bool = False,
    cluster: str | None = None,
    told: Told | None = None,
) -> Run | BatchRun:
    """Do what `run_plan` does, and return the answers too; `told` hears how many cells are done."""
    plan = plan if isinstance(plan, Plan) else read_plan(plan)
    if plan.batch is not None:
        how: dict[str, Any] = {"workers": workers, "resume": resume, "cluster": cluster, "told": told}
        return carry_out_batch(plan, plan.batch, out=out, **how)
    for name, value in (("resume", resume), ("cluster", cluster)):
        if value:
            raise PlanError(f"{name}={value!r}: goes with a plan of many cells, which has a section [batch]")
    return _carry_out_one(plan, out)


def _carry_out_one(plan: Plan, out: str | Path) -> Run:
    """Carry out a plan that is one piece of work."""
    target = folder_to_make(out)
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    checked = check_plan(plan)
    sources = _sources(checked)
    made = _made_of(checked)
    looks = looks_in(target, _look(made, begun))
    parts = analyse(checked)
    with staged(target) as folder:
        pieces = []
        for part in parts:
            pieces.append(part.piece(_draw(part, folder)))
            for file in part.files():
                checked.plan.privacy.shown(file).write(folder)
        text = report(checked.plan, pieces, versions(), looks.in_words())
        (folder / "report.md").write_text(text, encoding="utf-8", newline="\n")
        write_page(folder, checked.plan, pieces, versions(), looks.in_words())
        about = {"started": begun, "inputs": sources, "parts": made, "looks": looks.records()}
        folders.write_json(_manifest(checked.plan, parts, folder, about), folder / MANIFEST)
    return Run(target, parts)


def analyse(checked: Checked) -> list[Part]:
    """Return every part of a plan, carried out."""
    parts: list[Part] = [] if checked.comparison is None else [compare(checked.comparison)]
    outcomes = [] if checked.comparison is None else file_names(checked.comparison.asked.outcomes).values()
    names = file_names([one.asked.name for one in checked.survival], others=outcomes)
    return parts + [analyse_survival(one, names[one.asked.name]) for one in checked.survival]


def _draw(part: Part, folder: Path) -> list[Figure]:
    """Draw every picture as PNG and SVG; one that cannot be drawn is a reason in its place."""
    from implstats.plot.style import save

    made = []
    for picture in part.to_draw():
        try:
            save(picture.draw(), folder / f"{picture.name}.png", folder / f"{picture.name}.svg", dots=150)
            made.append(Figure(picture.name, picture.words))
        except ImplstatsError as error:
            made.append(Figure(picture.name, "", str(error)))
    return made


def _sources(checked: Checked) -> list[dict[str, Any]]:
    """Return every data file with its hash, before anything is computed from it."""
    found = {}
    for part in checked.parts:
        path = checked.plan.where(part.asked.data)
        found[path] = {**digest(path), "columns": list(part.frame.columns)}
    return list(found.values())


def _made_of(checked: Checked) -> dict[str, dict[str, Any]]:
    """Return what each part asks, of which file, and what its answers are made of."""
    found = {}
    for part in checked.parts:
        asked = {k: v for k, v in plain(asdict(part.asked)).items() if k not in NO_QUESTIONS}
        source = source_of(part.asked.data, digest(checked.plan.where(part.asked.data))["sha256"])
        made = made_of(fingerprint_of_rows(part.frame), asked)
        found[getattr(part.asked, "name", COMPARISON)] = {"asked": asked, "made_of": made, "source": source}
    return found


def _look(made: Mapping[str, Any], started: str) -> Look:
    """Return what this run asks of every outcome, for the history of its folder."""
    asked = []
    for part in made.values():
        outcomes = part["asked"].get("outcomes", {"": ""})
        own = part["asked"] | {"read": part["source"]["read"]}
        asked += [own | {"outcomes": {name: better}} for name, better in outcomes.items()]
    return look_at([part["source"] for part in made.values()], asked, started=started)


def _manifest(plan: Plan, parts: Sequence[Part], folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    told = {
        "kind": KIND,
        "schema": SCHEMA,
        **about,
        "versions": versions(),
        "system": platform.platform(),
        "plan": {"file": plan.path.name if plan.path else None, "as_read": plan.record or _spelled(plan)},
        "survival": {},
    }
    for part in parts:
        record = part.record()
        told["survival"] |= record.pop("survival", {})
        told |= record
    return told | {"files": [digest(file) for file in sorted(folder.iterdir())]}


def _spelled(plan: Plan) -> dict[str, Any]:
    """Return a plan that was made in Python as a file would write it."""
    told: dict[str, Any] = {k: getattr(plan, k) for k in ("title", "note", "figures")}
    told |= {"labels": dict(plan.labels), "privacy": asdict(plan.privacy)}
    if plan.comparison is not None:
        told |= asdict(plan.comparison)
    return told | ({"survival": [asdict(one) for one in plan.survival]} if plan.survival else {})
