"""The sections `[[survival]]` of a plan: what ends, when, and what is asked about it; one table for each question."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from implstats import _check
from implstats.batch import kinds
from implstats.batch.data import DATA, Data, is_there
from implstats.batch.kinds import Kind
from implstats.batch.repeatable import of_terms
from implstats.survival.cox import TIES

__all__ = ["NEEDED", "SURVIVAL", "UNITS", "Survival", "read_survival"]

UNITS = ("days", "weeks", "months", "quarters", "years")


@dataclass(frozen=True)
class Survival:
    """One survival analysis, its roles and options as the functions of `implstats.survival` take them.

    Attributes
    ----------
    name : str
        Heading in the report; its files begin with it.
    at : sequence of float
        The times at which the share without the event is told.
    causes : sequence, optional
        The causes that are modelled, where the event column holds several; by default all.
    fine_gray : bool
        Whether causes get models of their incidence beside those of their rates.
    unit : str
        What the duration counts: "years".
    words : mapping
        What sentences call the "rows", what happens to them (under "event", or under a cause), and those it has not yet
        happened to (under "still").
    """

    name: str
    data: Data
    duration: str
    event: str
    at: Sequence[float]
    causes: Sequence[Any] | None = None
    censored: Any = None
    entry: str | None = None
    id: str | None = None
    cluster: str | None = None
    strata: Sequence[str] | str | None = None
    weights: str | None = None
    by: str | None = None
    terms: Sequence[str] | str | None = None
    frailty: str | None = None
    penalty: str | float | None = None
    ties: str = "efron"
    fine_gray: bool = False
    tau: float | None = None
    reference: Mapping[str, Any] = field(default_factory=dict)
    level: float = 0.95
    missing: str = "drop"
    unit: str = ""
    words: Mapping[str, Any] = field(default_factory=dict)

    @property
    def shown(self) -> str:
        """How complaints name the section."""
        return f"[survival {self.name}]"

    def columns(self, frame: pd.DataFrame) -> dict[str, Hashable | None]:
        """Return role -> column, of what the table has."""
        single = ("duration", "event", "by", "entry", "id", "cluster", "frailty", "weights")
        found: dict[str, Hashable | None] = {k: getattr(self, k) for k in single}
        for role in ("terms", "strata"):
            found |= of_terms(role, getattr(self, role), list(frame.columns), _check.Faults())
        return found


SURVIVAL: Mapping[str, Kind] = {
    "name": kinds.text,
    **DATA,
    "duration": kinds.text,
    "event": kinds.text,
    "at": kinds.times,
    "by": kinds.text,
    "terms": kinds.terms,
    "reference": kinds.one_a_name('{ era = "before" }'),
    "censored": kinds.one,
    "causes": kinds.several,
    "fine_gray": kinds.flag,
    "entry": kinds.text,
    "id": kinds.text,
    "cluster": kinds.text,
    "frailty": kinds.text,
    "strata": kinds.terms,
    "weights": kinds.text,
    "penalty": kinds.word_or_above(0, "firth"),
    "ties": kinds.word(*TIES),
    "tau": kinds.above(0),
    "level": kinds.level,
    "missing": kinds.word("drop", "raise"),
    "unit": kinds.text,
    "words": kinds.one_a_name('{ rows = "programmes", event = "stopped", still = "still running" }'),
}
NEEDED = {
    "name": 'write what the report calls the question, as name = "Programmes that stopped"',
    "duration": "name the column with the time until the event or the end of observation",
    "event": "name the column that says whether the event was seen (1 or 0), or which one",
    "at": "name the times at which the share is asked, as at = [2, 5]",
}


def read_survival(
    given: object, folder: Path, common: Mapping[str, Any], homes: Mapping[str, str], faults: _check.Faults
) -> tuple[Survival, ...]:
    """Return the survival analyses of a plan; `common` is its section `[data]`."""
    if not isinstance(given, list) or not all(isinstance(table, dict) for table in given):
        faults.say(
            "survival: not a list of sections; write [[survival]] on a line of its own, in two pairs of brackets"
        )
        return ()
    found, names = [], set()
    for k, table in enumerate(given, start=1):
        name = table.get("name", k)
        found.append(_one(f"[survival {name}]", table, folder, common, homes, faults))
        if str(name).strip().lower() in names:
            faults.say(f"[survival {name}] name: another analysis has it too; each needs one of its own")
        names.add(str(name).strip().lower())
    return () if faults else tuple(Survival(**parts) for parts in found)


def _one(
    shown: str,
    table: Mapping[str, Any],
    folder: Path,
    common: Mapping[str, Any],
    homes: Mapping[str, str],
    faults: _check.Faults,
) -> dict[str, Any]:
    """Return what a table says, its file with what `[data]` says of all files."""
    made = kinds.section(shown, table, SURVIVAL, NEEDED, homes, faults)
    own = {key: made.pop(key) for key in DATA if key in made}
    if "file" in own:
        is_there(f"{shown} file", folder, own["file"], faults)
        format_of_all = {key: common[key] for key in ("separator", "decimal") if key in common}
        return made | {"data": Data(**format_of_all | own)}
    for key in own:
        faults.say(f"{shown} {key}: goes with a file of its own; name the file, or write it under [data]")
    if "file" not in common:
        faults.say(f'{shown} file: missing; write file = "programmes.csv" here, or under [data] for all analyses')
        return made
    return made | {"data": Data(**common)}
