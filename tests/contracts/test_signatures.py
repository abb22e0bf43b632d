"""Every public signature is in a snapshot, so that none changes by accident.

`make signatures`, or `python tests/contracts/test_signatures.py --write`, writes it anew.
"""

from __future__ import annotations

import inspect
import json
import sys
from functools import cached_property
from pathlib import Path
from typing import Any

import implstats

SNAPSHOT = Path(__file__).with_name("signatures.json")


def _signature(value: Any) -> str:
    """Write a signature from its parts, so that it reads alike on every Python version."""
    parts: list[str] = []
    starred = False
    for name, parameter in inspect.signature(value).parameters.items():
        if name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        text = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "") + name
        starred |= parameter.kind is parameter.VAR_POSITIONAL
        if parameter.annotation is not parameter.empty:
            text += f": {_annotation(parameter.annotation)}"
        if parameter.default is not parameter.empty:
            text += f" = {parameter.default!r}"
        parts.append(text)
    returned = inspect.signature(value).return_annotation
    tail = "" if returned in (inspect.Signature.empty, None, "None") else f" -> {_annotation(returned)}"
    return f"({', '.join(parts)}){tail}"


def _annotation(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _of_class(name: str, value: type) -> dict[str, str]:
    bases = ", ".join(base.__name__ for base in value.__bases__)
    made = "" if "__init__" not in vars(value) else _signature(value)
    found = {name: f"class({bases}){made}"}
    for word in sorted(dir(value)):
        if word.startswith("_") or word in dir(Exception):
            continue
        owner = next(c for c in value.__mro__ if word in vars(c))
        member = inspect.getattr_static(value, word)
        if not owner.__module__.startswith("implstats"):
            continue
        if isinstance(member, property | cached_property):
            found[f"{name}.{word}"] = "property"
        elif isinstance(member, classmethod | staticmethod) or inspect.isroutine(member):
            found[f"{name}.{word}"] = _signature(getattr(value, word))
    return found


def signatures() -> dict[str, str]:
    """Return dotted public name -> signature, methods of public classes included."""
    named = {name: getattr(implstats, name) for name in implstats.__all__ if name not in ("__version__", "plot")}
    named |= {f"plot.{name}": getattr(implstats.plot, name) for name in implstats.plot.__all__}
    found: dict[str, str] = {}
    for name, value in sorted(named.items()):
        found |= _of_class(name, value) if inspect.isclass(value) else {name: _signature(value)}
    return found


def test_no_signature_changed_by_accident() -> None:
    then, now = json.loads(SNAPSHOT.read_text(encoding="utf-8")), signatures()
    changed = [
        f"{name}\n  was: {then.get(name, 'not there')}\n  is:  {now.get(name, 'not there')}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
    assert not changed, "\n".join(
        [*changed, "If that is meant: `make signatures`, say so in CHANGELOG.md, and commit both."]
    )


def test_only_the_first_argument_is_positional() -> None:
    named = {name: getattr(implstats, name) for name in implstats.__all__ if name not in ("__version__", "plot")}
    named |= {f"plot.{name}": getattr(implstats.plot, name) for name in implstats.plot.__all__}
    # Models that are compared have no roles that could be mixed up; of two runs the old one stands first, as in `diff`.
    del named["compare_models"], named["compare_runs"]
    for name, value in named.items():
        if inspect.isfunction(value):
            kinds = [p.kind for p in inspect.signature(value).parameters.values()]
            assert all(kind is inspect.Parameter.KEYWORD_ONLY for kind in kinds[1:]), name


def test_no_default_is_shown_as_an_address() -> None:
    assert [name for name, text in signatures().items() if " at 0x" in text] == []


if __name__ == "__main__":
    if sys.argv[1:] != ["--write"]:
        raise SystemExit("usage: python tests/contracts/test_signatures.py --write")
    SNAPSHOT.write_text(json.dumps(signatures(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"{len(signatures())} signatures written to {SNAPSHOT.name}")
