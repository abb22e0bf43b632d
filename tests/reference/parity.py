"""How near the reference tests come to other programs: `python tests/reference/parity.py [--write]`.

Runs the tests beside this file, notes every number that they compare, and lists for each test how many there are and
how far the furthest is off. With `--write` the list replaces parity.json, which the documentation shows.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

HERE = Path(__file__).resolve().parent
OUT = HERE / "parity.json"


class Noted:
    """Numbers that one test compared: how many, and the largest differences, relative and absolute."""

    def __init__(self) -> None:
        self.values = 0
        self.largest: dict[str, float] = {}

    def add(self, kind: str, value: float, reference: float, scale: float = 0.0) -> None:
        """Note a number; relative differences are to the larger of the reference and a scale that the test names."""
        if not (math.isfinite(value) and math.isfinite(reference)):
            return
        size = max(abs(reference), scale) if kind == "relative" else 1.0
        off = abs(value - reference) / size if size else abs(value - reference)
        self.values += 1
        self.largest[kind] = max(off, self.largest.get(kind, 0.0))


class Recorder:
    """A plugin of pytest that stands behind every way in which the reference tests compare numbers."""

    def __init__(self) -> None:
        self.noted: dict[tuple[str, str], Noted] = {}
        self.now = Noted()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Stand behind the comparisons that test modules and their conftest define."""
        modules = {item.module for item in session.items if isinstance(item, pytest.Function)}
        for plugin in session.config.pluginmanager.get_plugins():
            if hasattr(plugin, "Held"):
                plugin.Held.fault = self.ruled(plugin.Held.fault, lambda held: held.rules)
        for module in modules:
            if inspect.isfunction(getattr(module, "near", None)):
                module.near = self.ruled(module.near, lambda _, module=module: module.RULES)
        one_number = type(pytest.approx(1.0))
        one_number.__eq__ = self.approximate(one_number.__eq__)
        np.testing.assert_allclose = self.allclose(np.testing.assert_allclose)

    def pytest_runtest_call(self, item: pytest.Item) -> None:
        """Turn to the next test; one that runs on several cases is one test."""
        assert isinstance(item, pytest.Function)
        self.now = self.noted.setdefault((item.path.name, item.originalname), Noted())

    def ruled(self, compare: Callable[..., Any], rules: Callable[[Any], Any]) -> Callable[..., Any]:
        """Return a comparison under a named rule (a method of Held, or a function) that is noted."""

        def noting(*given: Any) -> Any:
            rule, value, reference, *scale = given[given[0].__class__.__name__ == "Held" :]
            kind = "absolute" if rules(given[0])[rule]["kind"] == "absolute" else "relative"
            for one in pairs(value, reference, *(scale or [0.0])):
                self.now.add(kind, *one)
            return compare(*given)

        return noting

    def approximate(self, compare: Callable[..., Any]) -> Callable[..., Any]:
        """Return pytest.approx's comparison, noted; one that is given only `abs` is absolute."""

        def noting(approx: Any, actual: Any) -> Any:
            if isinstance(approx.expected, int | float) and np.ndim(actual) == 0:
                kind = "absolute" if approx.abs is not None and not approx.rel else "relative"
                self.now.add(kind, float(actual), float(approx.expected))
            return compare(approx, actual)

        return noting

    def allclose(self, compare: Callable[..., Any]) -> Callable[..., Any]:
        """Return numpy's comparison of arrays, noted."""

        def noting(actual: Any, desired: Any, rtol: float = 1e-7, atol: float = 0.0, **options: Any) -> Any:
            for one in pairs(actual, desired):
                self.now.add("relative" if rtol else "absolute", *one)
            return compare(actual, desired, rtol=rtol, atol=atol, **options)

        return noting


def pairs(value: Any, reference: Any, scale: Any = 0.0) -> Iterator[tuple[float, float, float]]:
    """Yield numbers side by side, of arrays or of single numbers; a missing reference has no number."""
    if reference is None:
        return
    value, reference = np.asarray(value, dtype=float), np.asarray(reference, dtype=float)
    for one in zip(*(np.ravel(part) for part in np.broadcast_arrays(value, reference, scale)), strict=True):
        yield float(one[0]), float(one[1]), float(one[2])


def digest(path: Path) -> str:
    """Return what changes when a file does."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def record(noted: dict[tuple[str, str], Noted]) -> dict[str, Any]:
    """Return what parity.json holds: by file of tests, every test that compared numbers."""
    out: dict[str, Any] = {}
    for (file, test), one in sorted(noted.items()):
        if one.values:
            largest = {kind: float(f"{off:.1e}") for kind, off in sorted(one.largest.items())}
            out.setdefault(file, {})[test] = {"values": one.values} | largest
    references = {path.name: digest(path) for path in sorted(HERE.glob("*.json")) if path != OUT}
    return {"references": references, "tests": out}


def main() -> int:
    """Run the reference tests, print what they compared, and write it if that is asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="replace parity.json")
    write = parser.parse_args().write
    recorder = Recorder()
    tests = [str(path) for path in sorted(HERE.glob("test_*_reference.py"))]
    status = pytest.main([*tests, "-q", "-p", "no:randomly", "--no-header"], plugins=[recorder])
    found = record(recorder.noted)
    print(json.dumps(found, indent=1))
    if write and not status:
        OUT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
