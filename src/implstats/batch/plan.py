"""A plan: which data, roles, outcomes and times; read from TOML, with every fault of the file reported together."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from implstats import _check
from implstats.errors import DataError, PlanError
from implstats.study.choice import DEFAULT_DF, MODELS

__all__ = ["Analysis", "Data", "Plan", "Roles", "read_plan"]


@dataclass(frozen=True)
class Data:
    """The section `[data]`: the table, and how to read it (as `read_data` takes it)."""

    file: str
    separator: str = ","
    decimal: str = "."
    missing_codes: Sequence[Any] | Mapping[str, Sequence[Any]] | None = None
    ranges: Mapping[str, tuple[float, float]] | None = None


@dataclass(frozen=True)
class Roles:
    """The section `[roles]`: what the columns are, as `compare_cohorts` takes them."""

    patient: str
    time: str
    cohort: str
    reference: Any
    baseline: float | str = 0
    time_unit: str | None = None


@dataclass(frozen=True)
class Analysis:
    """The section `[analysis]`: times and choices, as `compare_cohorts` takes them; draws and seed of the bootstrap."""

    at: Sequence[float]
    model: str = "auto"
    shape: str = "auto"
    adjust: Sequence[str] | str | None = None
    groups: Sequence[str] | None = None
    margin: float | None = None
    correction: str = "holm"
    sd: str | float = "baseline"
    df: str = DEFAULT_DF
    level: float = 0.95
    missing: str = "drop"
    draws: int = 999
    seed: int = 1


@dataclass(frozen=True)
class Plan:
    """What `run_plan` shall do.

    Attributes
    ----------
    data, roles, analysis : Data, Roles, Analysis
        The sections of the same names.
    outcomes : mapping
        Outcome column -> "lower" or "higher", whichever is better.
    title : str
        Heading of the report.
    note : str
        A line under the heading, for example "simulated; not the data of Bales et al. 2017".
    labels : mapping
        Column or cohort -> the words that readers see in its place.
    path : pathlib.Path, optional
        The plan's file; the data file is looked for beside it, else in the working folder.
    record : mapping
        The plan as it was written, for the manifest.
    """

    data: Data
    roles: Roles
    outcomes: Mapping[str, str]
    analysis: Analysis
    title: str = "How much of the improvement is retained"
    note: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """The data file."""
        return (self.path.parent if self.path else Path()) / self.data.file

    def label(self, name: object) -> str:
        """Return what readers see in place of a column or cohort."""
        return self.labels.get(str(name), str(name))


def read_plan(path: str | Path) -> Plan:
    """Tell what a plan asks for; every fault of the file is reported together.

    Parameters
    ----------
    path : str or path
        A TOML file in UTF-8; the bundled `reorganisation.toml` explains every key.

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
    >>> plan.outcomes, plan.analysis.at
    ({'bsi': 'lower', 'sipp': 'higher'}, [18.0, 36.0])
    """
    path = Path(path)
    record = _toml(path)
    faults = _check.Faults()
    known = {*SECTIONS, *TEXTS, *FREE}
    for name in record:
        if name not in known:
            homes = [s for s, keys in SECTIONS.items() if name in keys]
            remedy = f"; it belongs under [{homes[0]}]" if homes else _check.nearest(name, sorted(known))
            faults.say(f"{name}: unknown key{remedy}")
    texts = {name: _text(name, record[name], faults) for name in TEXTS if name in record}
    made = {name: _section(name, keys, record.get(name), faults) for name, keys in SECTIONS.items()}
    outcomes = _outcomes(record.get("outcomes"), faults)
    labels = _labels(record.get("labels", {}), faults)
    file = made["data"].get("file")
    if isinstance(file, str):
        _file(path.parent, file, faults)
    faults.settle(PlanError)
    return Plan(
        Data(**made["data"]),
        Roles(**made["roles"]),
        outcomes,
        Analysis(**made["analysis"]),
        labels=labels,
        path=path,
        record=record,
        **texts,
    )


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


def _file(folder: Path, file: str, faults: _check.Faults) -> None:
    path = folder / file
    if path.is_file():
        return
    if path.is_dir():
        faults.add("[data] file", file, "a folder, not a file")
        return
    there = sorted(f.name for f in path.parent.glob("*.[ct]sv")) if path.parent.is_dir() else []
    near = _check.nearest(path.name, there) if there else "; a relative path starts at the plan's folder"
    faults.say(f"[data] file={_check.show(file)}: no such file{near}")


# A kind takes (name as shown, value, faults) and returns the value as the plan holds it.
Kind = Callable[[str, Any, _check.Faults], Any]


def _text(name: str, value: object, faults: _check.Faults) -> Any:
    if not isinstance(value, str):
        faults.add(name, value, "not text", f'write {_key(name)} = "..."')
    elif not value.strip():
        faults.add(name, value, "empty", "write it, or leave the key out")
    return value


def _texts(name: str, value: object, faults: _check.Faults) -> Any:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        faults.add(name, value, "not a list of columns", f'write {_key(name)} = ["..."]')
    return value or None


def _terms(name: str, value: object, faults: _check.Faults) -> Any:
    return _text(name, value, faults) if isinstance(value, str) else _texts(name, value, faults)


def _times(name: str, value: object, faults: _check.Faults) -> Any:
    return _tried(faults, "[analysis] ", lambda: _check.at(value, _key(name)), value)


def _number_or_text(name: str, value: object, faults: _check.Faults) -> Any:
    if isinstance(value, str):
        return _text(name, value, faults)
    return _tried(faults, "", lambda: _check.number(name, value), value)


def _value(name: str, value: object, faults: _check.Faults) -> Any:
    if not isinstance(value, str | int | float):
        faults.add(name, value, "neither text nor a number", f'write {_key(name)} = "..."')
    return value


def _codes(name: str, value: object, faults: _check.Faults) -> Any:
    lists = list(value.values()) if isinstance(value, dict) else [value]
    if not all(isinstance(v, list) for v in lists):
        faults.add(name, value, "not a list", "write missing_codes = [999], or { bsi = [999] } for one column")
    return value


def _ranges(name: str, value: object, faults: _check.Faults) -> Any:
    pairs = value.values() if isinstance(value, dict) else [None]
    if not all(isinstance(p, list) and len(p) == 2 and all(map(_is_number, p)) for p in pairs):
        faults.add(name, value, "not two numbers a column", "write ranges = { bsi = [0, 4] }")
        return value
    return {column: tuple(pair) for column, pair in value.items()}  # type: ignore[attr-defined]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _above(bound: float) -> Kind:
    return lambda name, value, faults: _tried(faults, "", lambda: _check.number(name, value, above=bound), value)


def _whole(least: int) -> Kind:
    return lambda name, value, faults: _tried(faults, "", lambda: _check.whole(name, value, least=least), value)


def _word(*allowed: str) -> Kind:
    return lambda name, value, faults: _tried(faults, "", lambda: _check.one_of(name, value, allowed), value)


def _level(name: str, value: object, faults: _check.Faults) -> Any:
    return _tried(faults, "", lambda: _check.level(value, name), value)


def _sd(name: str, value: object, faults: _check.Faults) -> Any:
    kind = _word("baseline", "reference", "own", "model") if isinstance(value, str) else _above(0)
    return kind(name, value, faults)


def _tried(faults: _check.Faults, where: str, ask: Callable[[], Any], value: object) -> Any:
    try:
        return ask()
    except DataError as error:
        faults.say(f"{where}{error}")
        return value


def _key(name: str) -> str:
    return name.rpartition("] ")[2]


TEXTS = ("title", "note")
FREE = ("outcomes", "labels")
SECTIONS: Mapping[str, Mapping[str, Kind]] = {
    "data": {
        "file": _text,
        "separator": lambda name, value, faults: value if value == " " else _text(name, value, faults),
        "decimal": _word(".", ","),
        "missing_codes": _codes,
        "ranges": _ranges,
    },
    "roles": {
        "patient": _text,
        "time": _text,
        "cohort": _text,
        "reference": _value,
        "baseline": _number_or_text,
        "time_unit": _word("days", "weeks", "months", "years"),
    },
    "analysis": {
        "at": _times,
        "model": _word(*MODELS),
        "shape": _word("auto", "linear", "quadratic", "log", "visits"),
        "adjust": _terms,
        "groups": _texts,
        "margin": _above(0),
        "correction": _word("holm", "bonferroni", "fdr_bh", "none"),
        "sd": _sd,
        "df": _word("satterthwaite", "kenward-roger", "normal"),
        "level": _level,
        "missing": _word("drop", "raise"),
        "draws": _whole(20),
        "seed": _whole(0),
    },
}
NEEDED: Mapping[str, Mapping[str, str]] = {
    "data": {"file": 'write file = "visits.csv"'},
    "roles": {
        "patient": "name the column that tells patients apart",
        "time": "name the column with the time of the visit",
        "cohort": "name the column with the cohort",
        "reference": 'name the cohort that the others are compared with, as reference = "before"',
    },
    "analysis": {"at": "name the times to compare at, as at = [18, 36]"},
}


def _section(name: str, keys: Mapping[str, Kind], given: object, faults: _check.Faults) -> dict[str, Any]:
    if given is None:
        faults.say(f"[{name}]: missing; it needs {', '.join(NEEDED[name])}")
        return {}
    if not isinstance(given, dict):
        faults.add(name, given, "not a section", f"write [{name}] on a line of its own, and its keys below")
        return {}
    found = {}
    for key, value in given.items():
        if key not in keys:
            homes = [s for s, others in SECTIONS.items() if key in others] + (["top"] if key in TEXTS else [])
            where = {"top": "it belongs above the first section"}.get("".join(homes[:1]), "")
            remedy = f"; {where or f'it belongs under [{homes[0]}]'}" if homes else _check.nearest(key, keys)
            faults.say(f"[{name}] {key}: unknown key{remedy}")
        else:
            found[key] = keys[key](f"[{name}] {key}", value, faults)
    for key, remedy in NEEDED[name].items():
        if key not in given:
            faults.say(f"[{name}] {key}: missing; {remedy}")
    return found


def _outcomes(given: object, faults: _check.Faults) -> dict[str, str]:
    remedy = 'write for example bsi = "lower", if lower is better'
    if given is None:
        faults.say(f"[outcomes]: missing; {remedy}")
        return {}
    if not isinstance(given, dict) or not given:
        faults.add("[outcomes]", given, "names no outcome", remedy)
        return {}
    for name, better in given.items():
        if better not in ("lower", "higher"):
            faults.add(
                f"[outcomes] {name}", better, "not a direction", 'write "lower" or "higher", whichever is better'
            )
    return given


def _labels(given: object, faults: _check.Faults) -> dict[str, str]:
    if not isinstance(given, dict):
        faults.add("labels", given, "not a section", "write [labels] on a line of its own, and its keys below")
        return {}
    for name, words in given.items():
        _text(f"[labels] {name}", words, faults)
    return given
