"""The tables of a report for those who write about it: LaTeX, and Word where python-docx is installed."""

from __future__ import annotations

import importlib.util
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from implstats import tables
from implstats.batch.blocks import Table, on_one_line

__all__ = ["LATEX", "WORD", "names", "write_tables"]

LATEX, WORD = "tables.tex", "tables.docx"


def names() -> dict[str, str]:
    """Return the files that `write_tables` writes here, and what they are."""
    made = {LATEX: "the tables of this report for LaTeX"}
    return made | ({WORD: "the same for Word"} if importlib.util.find_spec("docx") else {})


def write_tables(shown: Sequence[Table], folder: Path) -> None:
    """Write the tables of a report into its folder."""
    (folder / LATEX).write_text("\n".join(map(_latex, shown)), encoding="utf-8", newline="\n")
    if WORD in names():
        (folder / WORD).write_bytes(_undated(_word(shown)))


def _latex(table: Table) -> str:
    cells = [[on_one_line(cell) for cell in row] for row in table.shown()]
    frame = pd.DataFrame(cells, columns=list(map(on_one_line, table.columns)), dtype=object)
    for name, counts in zip(frame.columns, table.right, strict=True):
        if counts and frame[name].str.isdecimal().all():
            frame[name] = frame[name].astype(int)
    body = tables.to_latex(frame)
    caption = tables.latex(on_one_line(table.caption))
    return f"\\begin{{table}}[htbp]\n\\caption{{{caption}}}\n{body}\n\\end{{table}}\n"


def _word(shown: Sequence[Table]) -> bytes:
    from docx import Document

    document = Document()
    for table in shown:
        document.add_paragraph(on_one_line(table.caption), style="Caption")
        grid = document.add_table(rows=1, cols=len(table.columns), style="Table Grid")
        _fill(grid.rows[0], table.columns, table.right)
        _repeat(grid.rows[0])
        for cells in table.shown():
            _fill(grid.add_row(), cells, table.right)
        document.add_paragraph()
    made = io.BytesIO()
    document.save(made)
    return made.getvalue()


def _fill(row: Any, cells: Sequence[str], right: Sequence[bool]) -> None:
    from docx.enum.text import WD_ALIGN_PARAGRAPH

    for cell, text, counts in zip(row.cells, cells, right, strict=True):
        cell.text = on_one_line(text)
        if counts:
            cell.paragraphs[0].alignment = WD_ALIGN_PARAGRAPH.RIGHT


def _repeat(row: Any) -> None:
    """Have Word repeat a row at the top of every page of its table."""
    from docx.oxml import OxmlElement

    row._tr.get_or_add_trPr().append(OxmlElement("w:tblHeader"))


def _undated(document: bytes) -> bytes:
    """Return a Word file without the time at which it was packed, so that the same tables give the same file."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(document)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(zipfile.ZipInfo(name), old.read(name), zipfile.ZIP_DEFLATED)
    return made.getvalue()
