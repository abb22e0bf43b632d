"""Each import contract, broken on purpose in a copy of the tree, is seen to fail, and it alone."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CONTRACTS = [
    contract["name"]
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
]

# Contract -> (file, line planted inside a function there). A line may break only its own contract.
PLANTED = {
    "rooms, from the ground up": ("results.py", "import implstats.growth"),
    "_core knows no pandas": ("_core/convergence.py", "import pandas"),
    "only plot draws": ("design/frames.py", "import matplotlib.pyplot"),
    "only design.rhs knows patsy": ("design/frames.py", "import patsy"),
    "only _parallel knows joblib": ("results.py", "import joblib"),
}


def _verdicts(root: Path) -> dict[str, str]:
    """Run import-linter on a tree; return contract -> KEPT or BROKEN."""
    run = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    done = subprocess.run(
        [sys.executable, "-c", run, "--config", str(root / "pyproject.toml"), "--no-cache"],
        capture_output=True,
        text=True,
        cwd=root / "src",
        check=False,
    )
    found = re.findall(r"^(.+?) (KEPT|BROKEN)\b", done.stdout, flags=re.MULTILINE)
    assert found, done.stdout + done.stderr
    assert done.returncode == int(any(verdict == "BROKEN" for _, verdict in found)), done.stdout + done.stderr
    return dict(found)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_contract_has_a_violation_to_plant() -> None:
    assert sorted(PLANTED) == sorted(CONTRACTS)


def test_the_tree_as_it_stands_keeps_every_contract(tree: Path) -> None:
    assert _verdicts(tree) == dict.fromkeys(CONTRACTS, "KEPT")


@pytest.mark.parametrize("contract", PLANTED)
def test_a_planted_violation_breaks_its_contract_and_no_other(tree: Path, contract: str) -> None:
    place, line = PLANTED[contract]
    file = tree / "src" / "implstats" / place
    file.write_text(file.read_text(encoding="utf-8") + f"\n\ndef _planted():\n    {line}\n", encoding="utf-8")
    broken = [name for name, verdict in _verdicts(tree).items() if verdict == "BROKEN"]
    assert broken == [contract]


@pytest.mark.parametrize(
    ("low", "high"),
    [("errors", "_check"), ("design", "growth"), ("growth", "study"), ("study", "plot"), ("plot", "batch")],
)
def test_a_room_that_looks_up_is_seen(tree: Path, low: str, high: str) -> None:
    base = tree / "src" / "implstats" / low
    file = base / "__init__.py" if base.is_dir() else base.with_suffix(".py")
    file.write_text(file.read_text(encoding="utf-8") + f"\n\ndef _planted():\n    import implstats.{high}\n")
    assert _verdicts(tree)["rooms, from the ground up"] == "BROKEN"
