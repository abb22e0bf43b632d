"""Why an answer moved: what it was made of in two runs, data, plan and version told apart as far as that is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from implstats import _check
from implstats.batch.past import Made, PastRun, Place
from implstats.batch.store import KIND as BATCH

__all__ = [
    "BY_SD",
    "CAUSES",
    "DATA",
    "NOTHING",
    "PLAN",
    "SEVERAL",
    "UNTOLD",
    "VERSION",
    "Cause",
    "cause",
    "joint",
    "of_alone",
]

DATA, PLAN, VERSION, SEVERAL = "data", "plan", "version", "several"
NOTHING, UNTOLD = "nothing known", "cannot be told"
CAUSES = (DATA, PLAN, VERSION, SEVERAL, NOTHING, UNTOLD)
BY_SD = "rows of other sites, by the SD of all"
_LONGEST = 60


@dataclass(frozen=True)
class Cause:
    """Why something moved: one of CAUSES, and what differs, in words."""

    why: str
    reading: str


def cause(place: Place, old: PastRun, new: PastRun) -> Cause:
    """Return why a cell that both runs have moved."""
    before, after = old.made.get(place), new.made.get(place)
    if before is None or after is None:
        which = " and ".join(name for name, made in (("OLD", before), ("NEW", after)) if made is None)
        return Cause(UNTOLD, f"what it was made of is not to be read in {which}")
    return _between(before, after, old, new)


def _between(before: Made, after: Made, old: PastRun, new: PastRun) -> Cause:
    found = _differences(before, after)
    if not found:
        return Cause(NOTHING, _of_software(before, after, old, new))
    words = "; ".join(f"{why}: {what}" for why, what in found.items())
    return Cause(next(iter(found)) if len(found) == 1 else SEVERAL, words)


def _differences(old: Made, new: Made) -> dict[str, str]:
    """Return what differs in the making of an answer: data, plan, version -> in which way."""
    found: dict[str, list[str]] = {DATA: [], PLAN: [], VERSION: []}
    if old.file != new.file:
        if old.rows != new.rows:
            found[DATA].append("its rows")
        elif old.sd is not None and new.sd is not None and old.sd != new.sd:
            found[DATA].append(f"{BY_SD} ({old.sd:.4g} to {new.sd:.4g})")
    if old.read != new.read:
        found[PLAN].append(_in_words(old.read, new.read))
    if old.question != new.question:
        masked = ["which columns are masked"] if old.asked == new.asked else []
        found[PLAN] += [words] if (words := _in_words(_question(old), _question(new))) else masked
    if old.version != new.version:
        found[VERSION].append(f"{old.version} to {new.version}")
    return {why: ", ".join(what) for why, what in found.items() if what}


def _question(made: Made) -> dict[str, Any]:
    """Return what was asked; pictures are no part of it, nor is an SD that was found in the data."""
    left_out = ("figures", "sd") if made.sd is not None else ("figures",)
    return {k: v for k, v in made.asked.items() if k not in left_out}


def _in_words(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Return the keys of a plan that differ, each with both values."""
    before, after = _flat(old), _flat(new)
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    told = [f"{key} {_short(before.get(key))} to {_short(after.get(key))}" for key in keys[: _check.SHOWN]]
    more = len(keys) - _check.SHOWN
    return ", ".join(told) + (f" and {more} more" if more > 0 else "")


def _flat(record: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return a record with its inner keys as outer.inner."""
    found: dict[str, Any] = {}
    for key, value in record.items():
        name = f"{above}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return found


def _short(value: object) -> str:
    shown = "not given" if value is None else _check.show(value)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."


def _of_software(before: Made, after: Made, old: PastRun, new: PastRun) -> str:
    """Return what may have moved an answer whose data, plan and version are the same."""
    names = [name for name in {**old.versions, **new.versions} if old.versions.get(name) != new.versions.get(name)]
    changed = [f"{name} {old.versions.get(name)} to {new.versions.get(name)}" for name in names]
    head = "the same file gave other rows" if before.rows != after.rows else "same rows, plan and version"
    return f"{head}; {', '.join(changed) if changed else 'same software and system'}"


def of_alone(place: Place, here: PastRun, there: PastRun) -> Cause:
    """Return why a cell is in one run and not in the other."""
    sites = here.kind == BATCH
    kin = [made for other, made in there.made.items() if other[1 if sites else 2 :] == place[1 if sites else 2 :]]
    mine = here.made.get(place)
    if mine is None or not there.made:
        return Cause(UNTOLD, "what it was made of is not to be read")
    if not kin:
        return Cause(PLAN, "asked for in one run only")
    theirs = kin[0]
    if not sites:
        return _between(mine, theirs, here, there)
    if mine.file == theirs.file:
        return Cause(PLAN, "the same file is divided into other sites, or read otherwise")
    return Cause(DATA, "only one of the two files has rows of this site")


def joint(causes: Iterable[Cause]) -> Cause:
    """Return why something moved that rests on several cells."""
    whys = sorted({one.why for one in causes})
    if not whys:
        return Cause(NOTHING, "nothing that it rests on moved")
    return Cause(whys[0] if len(whys) == 1 else SEVERAL, f"what it rests on moved: {', '.join(whys)}")
