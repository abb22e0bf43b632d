"""What can stand right of an = sign in a plan: each kind of value as the plan holds it, or a complaint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from implstats import _check
from implstats.errors import DataError

# A kind takes (name as shown, value, faults) and returns the value as the plan holds it.
Kind = Callable[[str, Any, _check.Faults], Any]


def section(
    shown: str,
    given: Mapping[str, Any],
    keys: Mapping[str, Kind],
    needed: Mapping[str, str],
    homes: Mapping[str, str],
    faults: _check.Faults,
) -> dict[str, Any]:
    """Return the values of a section; an unknown key is sent to the section it belongs to, a missing one is asked for.

    Parameters
    ----------
    shown : str
        The section as complaints name it, `[data]`.
    needed : mapping
        Key -> what to write, of the keys that cannot be left out.
    homes : mapping
        Key -> where it belongs, of the keys of other sections.
    """
    found = {}
    for name, value in given.items():
        if name in keys:
            found[name] = keys[name](f"{shown} {name}", value, faults)
        else:
            home = f"; it belongs {homes[name]}" if name in homes else _check.nearest(name, keys)
            faults.say(f"{shown} {name}: unknown key{home}")
    for name, remedy in needed.items():
        if name not in given:
            faults.say(f"{shown} {name}: missing; {remedy}")
    return found


def text(name: str, value: object, faults: _check.Faults) -> Any:
    """Return words that are not empty."""
    if not isinstance(value, str):
        faults.add(name, value, "not text", f'write {_key(name)} = "..."')
    elif not value.strip():
        faults.add(name, value, "empty", "write it, or leave the key out")
    return value


def texts(name: str, value: object, faults: _check.Faults) -> Any:
    """Return a list of columns, None for an empty one."""
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        faults.add(name, value, "not a list of columns", f'write {_key(name)} = ["..."]')
    return value or None


def terms(name: str, value: object, faults: _check.Faults) -> Any:
    """Return a right-hand side, or a list of columns."""
    return text(name, value, faults) if isinstance(value, str) else texts(name, value, faults)


def times(name: str, value: object, faults: _check.Faults) -> Any:
    """Return sorted distinct times."""
    where = name.removesuffix(_key(name))
    return _tried(faults, where, lambda: _check.at(value, _key(name)), value)


def number_or_text(name: str, value: object, faults: _check.Faults) -> Any:
    """Return a finite number, or words."""
    if isinstance(value, str):
        return text(name, value, faults)
    return _tried(faults, "", lambda: _check.number(name, value), value)


def one(name: str, value: object, faults: _check.Faults) -> Any:
    """Return a value that a cell of a table can hold."""
    if not _is_cell(value):
        faults.add(name, value, "neither text nor a number", f'write {_key(name)} = "..."')
    return value


def several(name: str, value: object, faults: _check.Faults) -> Any:
    """Return one value or more of a column, as a list."""
    listed = value if isinstance(value, list) else [value]
    if not listed or not all(map(_is_cell, listed)):
        faults.add(name, value, "not a list of values", f'write {_key(name)} = ["..."]')
    return listed


def one_a_name(example: str) -> Kind:
    """Return the kind of a value for every name, as `{ era = "before" }`."""

    def kind(name: str, value: object, faults: _check.Faults) -> Any:
        if not isinstance(value, dict) or not all(map(_is_cell, value.values())):
            faults.add(name, value, "not a value for each name", f"write {_key(name)} = {example}")
        return value

    return kind


def codes(name: str, value: object, faults: _check.Faults) -> Any:
    """Return codes for a missing value, of all columns or by column."""
    lists = list(value.values()) if isinstance(value, dict) else [value]
    if not all(isinstance(v, list) for v in lists):
        faults.add(name, value, "not a list", "write missing_codes = [999], or { bsi = [999] } for one column")
    return value


def ranges(name: str, value: object, faults: _check.Faults) -> Any:
    """Return the lowest and highest value by column."""
    pairs = value.values() if isinstance(value, dict) else [None]
    if not all(isinstance(p, list) and len(p) == 2 and all(map(_is_number, p)) for p in pairs):
        faults.add(name, value, "not two numbers a column", "write ranges = { bsi = [0, 4] }")
        return value
    return {column: tuple(pair) for column, pair in value.items()}  # type: ignore[attr-defined]


def flag(name: str, value: object, faults: _check.Faults) -> Any:
    """Return true or false."""
    if not isinstance(value, bool):
        faults.add(name, value, "neither true nor false", f"write {_key(name)} = true")
    return value


def above(bound: float) -> Kind:
    """Return the kind of a number above a bound."""
    return lambda name, value, faults: _tried(faults, "", lambda: _check.number(name, value, above=bound), value)


def whole(least: int) -> Kind:
    """Return the kind of a whole number of at least `least`."""
    return lambda name, value, faults: _tried(faults, "", lambda: _check.whole(name, value, least=least), value)


def word(*allowed: str) -> Kind:
    """Return the kind of a word that is one of some."""
    return lambda name, value, faults: _tried(faults, "", lambda: _check.one_of(name, value, allowed), value)


def word_or_above(bound: float, *allowed: str) -> Kind:
    """Return the kind of a word that is one of some, or a number above a bound."""
    return lambda name, value, faults: (word(*allowed) if isinstance(value, str) else above(bound))(name, value, faults)


def word_or_texts(*allowed: str) -> Kind:
    """Return the kind of a word that is one of some, or a list of columns."""
    return lambda name, value, faults: (word(*allowed) if isinstance(value, str) else texts)(name, value, faults)


def level(name: str, value: object, faults: _check.Faults) -> Any:
    """Return the level of intervals."""
    return _tried(faults, "", lambda: _check.level(value, name), value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_cell(value: object) -> bool:
    return isinstance(value, str | int | float)


def _tried(faults: _check.Faults, where: str, ask: Callable[[], Any], value: object) -> Any:
    try:
        return ask()
    except DataError as error:
        faults.say(f"{where}{error}")
        return value


def _key(name: str) -> str:
    return name.rpartition("] ")[2]
