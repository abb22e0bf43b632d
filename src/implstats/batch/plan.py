"""A plan: which data, and what is asked of them; read from TOML, with every fault of the file reported together."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from implstats import _check
from implstats.batch import kinds
from implstats.batch.comparison import SECTIONS, Comparison, read_comparison, section
from implstats.batch.data import Data, is_there
from implstats.batch.many import BATCH, Batch, read_batch
from implstats.batch.privacy import PRIVACY, Privacy, read_privacy
from implstats.batch.survival import SURVIVAL, Survival, read_survival
from implstats.errors import PlanError

__all__ = ["Plan", "read_plan"]

TEXTS = ("title", "note")
ON_TOP = {**dict.fromkeys(TEXTS, kinds.text), "figures": kinds.word("summary", "none", "all")}
OTHERS = ("outcomes", "survival", "batch", "labels", "privacy")
# Where a key belongs that stands in the wrong place.
HOMES = dict.fromkeys(SURVIVAL, "under [[survival]]")
HOMES |= {key: f"under [{name}]" for name in ("analysis", "roles", "data") for key in SECTIONS[name]}
HOMES |= {key: "under [batch]" for key in BATCH if key not in HOMES}
HOMES |= dict.fromkeys(ON_TOP, "above the first section")
HOMES |= dict.fromkeys(PRIVACY, "under [privacy]")


@dataclass(frozen=True)
class Plan:
    """What `run_plan` shall do.

    Attributes
    ----------
    comparison : Comparison, optional
        Cohorts that are compared in some outcomes: the sections [data], [roles], [outcomes] and [analysis].
    survival : tuple of Survival
        Analyses of times to an event: the sections [[survival]].
    batch : Batch, optional
        Analyses that every site and outcome gets: the sections [batch] and [[batch.analysis]]; then there is neither of
        the two above.
    title : str
        Heading of the report.
    note : str
        A line under the heading, for example "simulated; not the data of Bales et al. 2017".
    labels : mapping
        Column, cohort, group or cause -> the words that readers see in its place.
    figures : {"summary", "none", "all"}
        Which pictures are drawn: those that the report speaks of, none, or everything that there is a picture of, in a
        batch also of every cell. No picture has a line for a patient unless `privacy` says so.
    privacy : Privacy
        Who is not named, and which numbers are too small to be told: the section [privacy].
    path : pathlib.Path, optional
        The plan's file; data files are looked for beside it, else in the working folder.
    record : mapping
        The plan as it was written, for the manifest.
    """

    comparison: Comparison | None = None
    survival: tuple[Survival, ...] = ()
    batch: Batch | None = None
    title: str = "What the data say"
    note: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    figures: str = "summary"
    privacy: Privacy = field(default_factory=Privacy)
    path: Path | None = None
    record: Mapping[str, Any] = field(default_factory=dict)

    def where(self, data: Data) -> Path:
        """Return the path of a data file."""
        return (self.path.parent if self.path else Path()) / data.file

    def label(self, name: object) -> str:
        """Return what readers see in place of a column, cohort, group or cause."""
        return self.labels.get(str(name), str(name))


def read_plan(path: str | Path) -> Plan:
    """Tell what a plan asks for; every fault of the file is reported together.

    Parameters
    ----------
    path : str or path
        A TOML file in UTF-8. The bundled `reorganisation.toml` explains every key of a comparison of cohorts,
        `programmes.toml` those of survival analyses, and one plan may hold both; `batch.toml` those of many cells.

    Returns
    -------
    Plan

    Raises
    ------
    PlanError
        If the file is missing, not UTF-8 or not TOML, has an unknown or missing key or a value of the wrong kind, or
        names a data file that is not there. What the data say about the plan is asked by `check_plan`.

    Examples
    --------
    >>> from implstats.batch import read_plan
    >>> from implstats.examples import example_files
    >>> plan = read_plan(example_files("reorganisation")[2])
    >>> plan.comparison.outcomes, plan.comparison.analysis.at
    ({'bsi': 'lower', 'sipp': 'higher'}, [18.0, 36.0])
    """
    path = Path(path)
    record = _toml(path)
    faults = _check.Faults()
    for name in record:
        if name not in {*SECTIONS, *ON_TOP, *OTHERS}:
            known = sorted({*SECTIONS, *ON_TOP, *OTHERS})
            home = f"; it belongs {HOMES[name]}" if name in HOMES else _check.nearest(name, known)
            faults.say(f"{name}: unknown key{home}")
    common = {name: kind(name, record[name], faults) for name, kind in ON_TOP.items() if name in record}
    common["privacy"] = read_privacy(record.get("privacy", {}), common.get("figures"), HOMES, faults)
    if "batch" in record:
        return _of_many(record, path, common, faults)
    wanted = "survival" not in record or bool({"roles", "outcomes", "analysis"} & set(record))
    data = section("data", record.get("data", None if wanted else {}), HOMES, faults, optional=not wanted)
    comparison = read_comparison(record, data, HOMES, faults) if wanted else None
    is_there("[data] file", path.parent, data.get("file"), faults)
    survival: tuple[Survival, ...] = ()
    if "survival" in record:
        survival = read_survival(record["survival"], path.parent, data, HOMES, faults)
    labels = _labels(record.get("labels", {}), faults)
    faults.settle(PlanError)
    return Plan(comparison, survival, labels=labels, path=path, record=record, **common)


def _of_many(record: dict[str, Any], path: Path, common: Mapping[str, Any], faults: _check.Faults) -> Plan:
    """Return the plan of a batch."""
    for name, instead in (
        ("analysis", "[[batch.analysis]]"),
        ("survival", '[[batch.analysis]] with kind = "survival"'),
    ):
        if name in record:
            faults.say(f"{name}: does not go with [batch]; write {instead}")
    data = section("data", record.get("data", {}), HOMES, faults, optional=True)
    is_there("[data] file", path.parent, data.get("file"), faults)
    batch = read_batch(record, path.parent, data, HOMES, faults)
    labels = _labels(record.get("labels", {}), faults)
    faults.settle(PlanError)
    return Plan(batch=batch, labels=labels, path=path, record=record, **common)


def _toml(path: Path) -> dict[str, Any]:
    shown = f"plan={str(path)!r}"
    if path.is_dir():
        raise PlanError(f"{shown}: a folder, not a file; name the .toml file")
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        there = sorted(f.name for f in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        raise PlanError(f"{shown}: no such file{_check.nearest(path.name, there) if there else ''}") from None
    except OSError as error:
        raise PlanError(f"{shown}: cannot be read; {error.strerror}") from None
    try:
        text = raw.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PlanError(f"{shown}: not UTF-8 (line {line}); save the plan as UTF-8") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PlanError(f"{shown}: not TOML: {error}; compare with the plan of `implstats example`") from None


def _labels(given: object, faults: _check.Faults) -> dict[str, str]:
    if not isinstance(given, dict):
        faults.add("labels", given, "not a section", "write [labels] on a line of its own, and its keys below")
        return {}
    for name, words in given.items():
        kinds.text(f"[labels] {name}", words, faults)
    return given
