"""The table of files in ARCHITECTURE.md is the tree, both ways."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `([^`]+)` \| (.*) \|$", PAGE, flags=re.MULTILINE)


def test_the_table_lists_every_file_and_nothing_else() -> None:
    package = ROOT / "src" / "implstats"
    tree = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    listed = {name for name, _ in ROWS}
    assert sorted(tree - listed) == [], "files without a line in ARCHITECTURE.md"
    assert sorted(listed - tree) == [], "lines in ARCHITECTURE.md without a file"


def test_every_file_has_one_line_of_words() -> None:
    names = [name for name, _ in ROWS]
    assert len(names) == len(set(names))
    assert all(len(words.split()) >= 3 for _, words in ROWS)


def test_the_words_before_the_table_fit_on_a_screen() -> None:
    assert len(PAGE.split("\n| file")[0].splitlines()) <= 25
