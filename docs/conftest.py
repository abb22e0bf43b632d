"""Examples of the pages run in a folder of their own, so that the files they write stay out of the project."""

from __future__ import annotations

from pathlib import Path

import pytest

# Pages are tested, not what makes them; and what is made of other files is tested where those are.
collect_ignore_glob = ["*.py", "_build", "generated", "notebooks"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
