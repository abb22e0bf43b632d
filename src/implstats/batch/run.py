"""A plan carried out: tables, results, pictures, report and manifest in one folder, or nothing at all."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import re
import secrets
import shutil
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from implstats import _check
from implstats.batch.answers import Answers
from implstats.batch.check import Checked, check_plan
from implstats.batch.plan import Plan, read_plan
from implstats.batch.report import Figure, report
from implstats.errors import ImplstatsError, PlanError
from implstats.growth import CohortModel, MMRMResult
from implstats.results import SCHEMA
from implstats.study import CohortComparison, compare_cohorts
from implstats.tables import plain

__all__ = ["Run", "carry_out", "run_plan"]

MANIFEST = "manifest.json"
KIND = "implstats results"
# Names that a file of the folder has already, or that some systems keep for themselves.
TAKEN = {"comparison", "overall", "manifest", "report", "trajectories", "effect_forest", "missingness"}
TAKEN |= {"con", "prn", "aux", "nul", *(f"{port}{k}" for port in ("com", "lpt") for k in range(1, 10))}
LEFT_BY_SYSTEMS = {".DS_Store", "Thumbs.db", "desktop.ini"}


@dataclass(frozen=True, eq=False)
class Run:
    """What a run left behind.

    Attributes
    ----------
    folder : pathlib.Path
    answers : Answers
        The results that were written.
    """

    folder: Path
    answers: Answers


def run_plan(plan: str | Path | Plan, *, out: str | Path) -> Path:
    r"""What does a whole study say, as a folder of tables, pictures and a report?

    Parameters
    ----------
    plan : str, path or Plan
        A TOML file (the bundled example explains every key), or what `read_plan` made of one.
    out : str or path
        The folder to make. One that an earlier run made is replaced; any other that is not empty is refused. It appears
        when everything is written, not before.

    Returns
    -------
    pathlib.Path
        The folder. `report.md` is for readers; `comparison.csv` has one row an outcome, time and cohort at full
        precision; OUTCOME_*.csv what each model says; `*.json` the results; `manifest.json` plan, versions and hashes.

    Raises
    ------
    PlanError
        If the plan, the data or the folder will not do, all faults together; nothing is fitted or written then.
    DataError
        If no outcome could be fitted. One that cannot be, while others can, is reported in its place.

    Examples
    --------
    >>> import tempfile
    >>> from dataclasses import replace
    >>> import implstats as ist
    >>> from implstats.batch import read_plan
    >>> from implstats.examples import example_files
    >>> plan = read_plan(example_files("reorganisation")[2])
    >>> plan = replace(plan, analysis=replace(plan.analysis, draws=20))  # fewer than an answer takes
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     done = ist.run_plan(plan, out=f"{folder}/results")
    ...     report = (done / "report.md").read_text(encoding="utf-8")
    >>> report.split("\n")[0]
    '# Outcome of treatment before and during a reorganisation'
    """
    return carry_out(plan, out=out).folder


def carry_out(plan: str | Path | Plan, *, out: str | Path) -> Run:
    """Do what `run_plan` does, and return the answers too."""
    target = _target(out)
    started = datetime.now(UTC)
    checked = check_plan(plan if isinstance(plan, Plan) else read_plan(plan))
    source = _digest(checked.plan.file)
    answers = analyse(checked)
    with _staged(target) as folder:
        figures = _draw(answers, folder)
        _write(answers, folder)
        text = report(answers, figures, versions())
        (folder / "report.md").write_text(text, encoding="utf-8", newline="\n")
        _json(folder / MANIFEST, _manifest(answers, folder, source, started))
    return Run(target, answers)


def analyse(checked: Checked) -> Answers:
    """Return every answer of a plan; an outcome without one has its reason in `failed`."""
    plan = checked.plan
    roles, asked = plan.roles, plan.analysis
    study = compare_cohorts(
        checked.frame,
        outcomes=plan.outcomes,
        time=roles.time,
        patient=roles.patient,
        cohort=roles.cohort,
        reference=roles.reference,
        at=list(asked.at),
        baseline=roles.baseline,
        model=asked.model,
        shape=asked.shape,
        adjust=asked.adjust,
        groups=asked.groups,
        margin=asked.margin,
        correction=asked.correction,
        sd=asked.sd,
        df=asked.df,
        level=asked.level,
        missing=asked.missing,
        time_unit=roles.time_unit,
    )
    overall, why = None, ""
    if len(study.fits) > 1:
        try:
            overall = study.overall(draws=asked.draws, rng=asked.seed)
        except ImplstatsError as error:
            why = str(error)
    tables = {name: _tables(study, fit) for name, fit in study.fits.items()}
    return Answers(plan, checked.frame, study, overall, why, tables, file_names(plan.outcomes))


def _tables(study: CohortComparison, fit: CohortModel) -> dict[str, pd.DataFrame]:
    at = list(study.at)
    choices: dict[str, Any] = {"level": study.level, "df": study.df}
    seen = None if fit.times and not fit.design.cells else [fit.baseline, *at]
    tables = {
        "means": fit.means(seen, **choices).tidy(),
        "contrasts": fit.contrasts(at, **choices).tidy(),
        "effect_sizes": fit.effect_sizes(at, sd=study.sd, **choices).tidy(),
        "retained": fit.retained_improvement(at, **choices).tidy(),
        "coefficients": fit.tidy(**choices),
        "variances": fit.variances(),
    }
    return tables | {"covariance": fit.covariance()} if isinstance(fit, MMRMResult) else tables


def file_names(outcomes: Sequence[str] | Mapping[str, str]) -> dict[str, str]:
    """Return outcome -> a name that is safe in a path: letters, digits, - and _, no two alike on any system."""
    found: dict[str, str] = {}
    taken = set(TAKEN)
    for outcome in outcomes:
        plainer = unicodedata.normalize("NFKD", str(outcome)).encode("ascii", "ignore").decode()
        stem = re.sub(r"[^A-Za-z0-9-]+", "_", plainer).strip("_-")[:60].rstrip("_-") or "outcome"
        name, k = stem, 1
        while name.lower() in taken:
            k += 1
            name = f"{stem}_{k}"
        taken.add(name.lower())
        found[outcome] = name
    return found


# The folder ----------------------------------------------------------------------------------------------------------


def _target(out: str | Path) -> Path:
    """Return the folder to make, or refuse one that holds anything that no earlier run of ours wrote."""
    shown = f"out={str(out)!r}"
    target = Path(out).resolve()
    above = next(folder for folder in target.parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise PlanError(f"{shown}: nothing can be written to {str(above)!r}; name another folder")
    if not target.exists():
        return target
    if not target.is_dir():
        raise PlanError(f"{shown}: a file, not a folder; name a folder that is new or empty")
    there = {file.name for file in target.iterdir()} - LEFT_BY_SYSTEMS
    ours = _earlier(target / MANIFEST)
    foreign = sorted(there if ours is None else there - ours - {MANIFEST})
    if foreign:
        named = ", ".join(foreign[: _check.SHOWN]) + (", ..." if len(foreign) > _check.SHOWN else "")
        raise PlanError(f"{shown}: holds what implstats did not write ({named}); name a folder that is new or empty")
    return target


def _earlier(manifest: Path) -> set[str] | None:
    """Return the files that an earlier run of ours wrote, None if the folder is not ours."""
    try:
        told = json.loads(manifest.read_text(encoding="utf-8"))
        return {file["name"] for file in told["files"]} if told["kind"] == KIND else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextmanager
def _staged(target: Path) -> Iterator[Path]:
    """Give a folder beside the target; it takes the target's name if all goes well, and is gone if not."""
    target.parent.mkdir(parents=True, exist_ok=True)
    mark = secrets.token_hex(4)
    folder = target.with_name(f".{target.name}.{mark}.unfinished")
    folder.mkdir()
    try:
        yield folder
        if target.exists():
            old = target.with_name(f".{target.name}.{mark}.old")
            target.rename(old)
            try:
                folder.rename(target)
            except BaseException:
                old.rename(target)
                raise
            shutil.rmtree(old)
        else:
            folder.rename(target)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


# The files -----------------------------------------------------------------------------------------------------------


def _write(answers: Answers, folder: Path) -> None:
    study = answers.study
    _csv(answers.table, folder / "comparison.csv")
    _json(folder / "comparison.json", study.to_dict())
    if answers.overall is not None:
        _csv(answers.overall.tidy(), folder / "overall.csv")
    for outcome, tables in answers.tables.items():
        name = answers.files[outcome]
        for kind, table in tables.items():
            _csv(table, folder / f"{name}_{kind}.csv")
        _json(folder / f"{name}.json", study.fits[outcome].to_dict())


def _csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a table at full precision; text that a spreadsheet would take for a formula gets a quote in front."""
    words = [c for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c].dtype)]
    tame = frame.assign(**{c: [_tame(v) for v in frame[c]] for c in words})
    tame.to_csv(path, index=False, encoding="utf-8", lineterminator="\n")


def _tame(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


def _json(path: Path, record: Mapping[str, Any]) -> None:
    text = json.dumps(plain(record), indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8", newline="\n")


def _draw(answers: Answers, folder: Path) -> list[Figure]:
    """Draw every picture as PNG and SVG; one that cannot be drawn is a reason in its place."""
    from implstats import plot
    from implstats.plot.style import save

    study, labels = answers.study, answers.labels
    # A curve may pass by what was observed, which has means where visits are at the same times for all.
    curved = any(fit.design.shape.word != "visits" for fit in study.fits.values())
    observed = curved and all(fit.times for fit in study.fits.values())
    asked: list[tuple[str, str, Any]] = [
        ("trajectories", "", lambda: plot.trajectories(study, labels=labels, df=study.df, observed=observed)),
        ("effect_forest", "", lambda: plot.effect_forest(study, labels=labels)),
        ("missingness", "", lambda: plot.missingness(study, labels=labels)),
    ]
    for outcome, fit in study.fits.items():
        name = f"residuals_{answers.files[outcome]}"
        asked.append((name, outcome, lambda fit=fit: plot.residuals(fit, labels=labels)))
    made = []
    for name, outcome, draw in asked:
        try:
            save(draw(), folder / f"{name}.png", folder / f"{name}.svg", dots=150)
            made.append(Figure(name, answers.picture(name, outcome)))
        except ImplstatsError as error:
            made.append(Figure(name, "", str(error)))
    return made


def versions() -> dict[str, str]:
    """Return what the numbers were computed with."""
    from implstats import __version__

    names = ("numpy", "scipy", "pandas", "statsmodels", "patsy", "matplotlib")
    return {"implstats": __version__, "python": platform.python_version()} | {
        name: importlib.metadata.version(name) for name in names
    }


def _digest(path: Path) -> dict[str, Any]:
    raw = path.read_bytes()
    return {"name": path.name, "bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}


def _manifest(answers: Answers, folder: Path, source: Mapping[str, Any], started: datetime) -> dict[str, Any]:
    plan, study = answers.plan, answers.study
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "started": started.isoformat(timespec="seconds"),
        "versions": versions(),
        "system": platform.platform(),
        "input": {**source, "rows": len(answers.frame), "columns": list(answers.frame.columns)},
        "plan": {"file": plan.path.name if plan.path else None, "as_read": plan.record or _spelled(plan)},
        "seed": plan.analysis.seed,
        "outcomes": {
            name: {"file": answers.files[name], "status": "failed" if name in study.errors else "done"}
            | ({"error": study.errors[name]} if name in study.errors else {})
            for name in plan.outcomes
        },
        "files": [_digest(file) for file in sorted(folder.iterdir())],
    }


def _spelled(plan: Plan) -> dict[str, Any]:
    """Return a plan that was made in Python as a file would write it."""
    told = {"title": plan.title, "note": plan.note}
    parts = {name: dict(vars(getattr(plan, name))) for name in ("data", "roles", "analysis")}
    return told | parts | {"outcomes": dict(plan.outcomes), "labels": dict(plan.labels)}
