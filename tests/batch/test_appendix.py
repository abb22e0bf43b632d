"""The tables of a report for LaTeX and Word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from implstats.batch.appendix import names, write_tables
from implstats.batch.blocks import Table

SHOWN = [
    Table(
        [{"Cohort": "Before & after_50%", "Patients": 3}, {"Cohort": "\\input{x}", "Patients": 70}],
        "Seen #1",
        ("Patients",),
    ),
    Table([{"a": "b\x07c\nd", "n": 1}, {"a": "[1em] x", "n": 22}], "Second"),
]


def test_latex_has_every_table_and_no_command_of_users(tmp_path: Path) -> None:
    write_tables(SHOWN, tmp_path)
    text = (tmp_path / "tables.tex").read_text(encoding="utf-8")
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == text.count(r"\begin{tabular}") == 2
    assert r"\caption{Seen \#1}" in text
    assert r"Before \& after\_50\% & under 5 \\" in text
    assert r"\textbackslash{}input\{x\} & 70 \\" in text
    assert "{}[1em] x & 22" in text
    assert r"\begin{tabular}{lr}" in text
    known = {"begin", "end", "caption", "hline", "textbackslash"}
    assert set(re.findall(r"\\([A-Za-z]+)", text)) <= known


def test_word_has_every_table_and_repeats_its_head(tmp_path: Path) -> None:
    docx = pytest.importorskip("docx")
    write_tables(SHOWN, tmp_path)
    document = docx.Document(str(tmp_path / "tables.docx"))
    cells = [[[cell.text for cell in row.cells] for row in table.rows] for table in document.tables]
    assert cells[0] == [["Cohort", "Patients"], ["Before & after_50%", "under 5"], ["\\input{x}", "70"]]
    assert cells[1] == [["a", "n"], ["bc d", "1"], ["[1em] x", "22"]]
    assert all("w:tblHeader" in table.rows[0]._tr.xml for table in document.tables)
    assert [p.text for p in document.paragraphs if p.style.name == "Caption"] == ["Seen #1", "Second"]
    first = (tmp_path / "tables.docx").read_bytes()
    write_tables(SHOWN, tmp_path)
    assert (tmp_path / "tables.docx").read_bytes() == first


def test_without_python_docx_there_is_latex_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    write_tables(SHOWN, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["tables.tex"] == list(names())
