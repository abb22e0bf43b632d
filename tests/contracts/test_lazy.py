"""`import implstats` loads nothing but itself, and every public name is there for people, tests and type checkers."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import implstats

PACKAGE = Path(implstats.__file__).parent
HEAVY = (
    "jinja2",
    "joblib",
    "lifelines",
    "matplotlib",
    "numpy",
    "pandas",
    "patsy",
    "scipy",
    "scipy.optimize",
    "statsmodels",
)


def _loaded(code: str) -> set[str]:
    """Run code in a fresh process; return the names of the modules that it left loaded."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sorted(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(PACKAGE.parent)},
    )
    return set(done.stdout.split())


def test_importing_loads_nothing_heavy() -> None:
    loaded = _loaded("import implstats")
    assert "implstats" in loaded
    assert sorted(loaded.intersection(HEAVY)) == []
    assert {name for name in loaded if name.startswith("implstats.")} == set()


def test_asking_what_there_is_loads_nothing_heavy() -> None:
    assert sorted(_loaded("import implstats; dir(implstats); implstats.__version__").intersection(HEAVY)) == []


def test_fitting_loads_no_plots_and_no_second_engine() -> None:
    loaded = _loaded("import implstats; implstats.fit_growth; implstats.compare_cohorts; implstats.load_example")
    assert sorted(loaded.intersection({"matplotlib", "lifelines", "statsmodels", "joblib", "jinja2"})) == []


@pytest.mark.parametrize("name", implstats.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(implstats, name) is not None
    assert name in dir(implstats)


def test_no_public_name_is_listed_twice() -> None:
    assert len(implstats.__all__) == len(set(implstats.__all__))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"^module 'implstats' has no attribute 'fit_magic'$"):
        _ = implstats.fit_magic


def test_the_stub_names_the_same_things_in_the_same_rooms() -> None:
    stub: dict[str, str] = {}
    for node in ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                assert alias.asname == alias.name, (
                    f"{alias.name} is not re-exported: write `import {alias.name} as {alias.name}`"
                )
                stub[alias.name] = node.module or ""
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            stub[node.target.id] = "implstats"
    rooms = {name: f"implstats.{room}" for name, room in implstats._HOME.items()}
    assert stub == {**rooms, "plot": "implstats", "__version__": "implstats"}
    assert set(stub) == set(implstats.__all__)
