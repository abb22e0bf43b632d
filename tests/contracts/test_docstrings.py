"""Every public name says what it is for, and every public function shows it."""

from __future__ import annotations

import importlib
import inspect
import itertools
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

import implstats


def _modules() -> list[str]:
    found = (m.name for m in pkgutil.walk_packages(implstats.__path__, "implstats."))
    return ["implstats", *sorted(name for name in found if "._examples" not in name)]


def _names() -> list[str]:
    """Return dotted names of what users reach: names of the package and of `implstats.plot`."""
    try:
        drawn = importlib.import_module("implstats.plot").__all__
    except (ImportError, AttributeError):  # reported by the test of every module
        drawn = []
    return [*implstats._HOME, *(f"plot.{name}" for name in drawn)]


def _find(name: str) -> Any:
    return getattr(implstats.plot, name[5:]) if name.startswith("plot.") else getattr(implstats, name)


def _members(value: type) -> Iterator[tuple[str, Any]]:
    for word in dir(value):
        member = inspect.getattr_static(value, word)
        owner = next(c for c in value.__mro__ if word in vars(c))
        callable_ = inspect.isroutine(member) or isinstance(member, property | classmethod | staticmethod)
        if not word.startswith("_") and callable_ and owner.__module__.startswith("implstats"):
            yield word, member if isinstance(member, property) else getattr(value, word)


@pytest.mark.parametrize("name", _modules())
def test_every_module_has_a_docstring(name: str) -> None:
    first = (inspect.getdoc(importlib.import_module(name)) or "").strip().split("\n")[0]
    assert first, f"{name} has no docstring"


@pytest.mark.parametrize("name", _names())
def test_every_public_name_has_a_docstring(name: str) -> None:
    value = _find(name)
    text = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    assert text, f"{name} has no docstring of its own"
    assert not text.startswith(f"{name}("), f"{name} has the docstring that dataclasses make up"


@pytest.mark.parametrize("name", _names())
def test_every_public_function_tells_and_shows(name: str) -> None:
    value = _find(name)
    if inspect.isclass(value):
        return
    lines = (inspect.getdoc(value) or "").split("\n")
    sections = [heading for heading, rule in itertools.pairwise(lines) if rule and set(rule) == {"-"}]
    assert "Returns" in sections, f"{name} does not say what it returns"
    if inspect.signature(value).parameters:
        assert "Parameters" in sections, f"{name} does not say what it takes"
    assert "Examples" in sections, f"{name} has no example"
    assert any(line.startswith(">>> ") for line in lines[lines.index("Examples") :]), f"{name} has an empty example"


@pytest.mark.parametrize("name", _names())
def test_every_public_method_has_a_docstring(name: str) -> None:
    value = _find(name)
    members = _members(value) if inspect.isclass(value) else ()
    assert [f"{name}.{word}" for word, member in members if not inspect.getdoc(member)] == []
