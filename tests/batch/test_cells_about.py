"""What a batch's report says behind its numbers: kinds, sources, who was analysed, how fits ended, checklists."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from implstats.batch import run_plan
from implstats.batch.cells_about import MODELS, cited, how
from implstats.batch.many import KINDS
from implstats.batch.plan import read_plan
from implstats.examples import example_files

Write = Callable[..., Path]


def section(text: str, heading: str) -> str:
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_every_kind_of_analysis_has_a_sentence_and_a_source() -> None:
    assert set(MODELS) == set(KINDS)
    assert all(sources and all(": doi 10." in line for line in sources) for _, sources in MODELS.values())


def test_a_plan_cites_what_its_analyses_rest_on() -> None:
    batch = read_plan(example_files("multisite")[2]).batch
    assert batch is not None
    lines = "\n".join(cited(batch, pooled=True))
    for doi in ("10.1177/009286150804200402", "10.2307/2529876", "10.2307/2533558", "10.1002/sim.8569"):
        assert doi in lines
    assert "10.1111/j.2517-6161.1972.tb00899.x" not in lines
    assert "10.1002/jrsm.1164" not in "\n".join(cited(batch, pooled=False))
    assert [line.split(":")[0] for line in how(batch)[:-1]] == [one.name for one in batch.analyses]


def test_who_was_analysed_and_how_fits_ended(small: Write, sites: pd.DataFrame, tmp_path: Path) -> None:
    some = sites[sites["site"].isin(["NL", "NO"])]
    some = some[(some["site"] == "NL") | (some["cohort"] == "before")]
    out = run_plan(small(data=some), out=tmp_path / "out")
    text = (out / "report.md").read_text(encoding="utf-8")
    cells = pd.read_csv(out / "cells.csv")
    seen = cells.query("outcome == 'bsi' and status == 'done'")["n"]
    row = re.search(r"\| growth \| bsi \|(.*)\|", section(text, "Who was analysed"))
    assert row is not None
    told = [cell.strip() for cell in row[1].split("|")]
    assert told == ["2", "1", str(int(seen.min())), str(int(seen.max()))]
    assert "### Cells without an answer" in text
    assert "| growth | bsi | 1 of 1 | 0 of 1 | 0 of 1 |" in section(text, "Can the models be believed?")
    assert "implstats 0" in section(text, "Software")


def test_small_numbers_are_not_told(small: Write, tmp_path: Path) -> None:
    out = run_plan(small(("[batch]", "[privacy]\nmin_count = 60\n\n[batch]")), out=tmp_path / "out")
    assert "| under 60 |" in section((out / "report.md").read_text(encoding="utf-8"), "Who was analysed")


def test_checklists_point_to_sections_that_are_there(small: Write, tmp_path: Path) -> None:
    page = (run_plan(small(), out=tmp_path / "out") / "report.html").read_text(encoding="utf-8")
    lists = page.split("Checklists for a publication")[-1]
    assert "LEVEL" in lists
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", page)
    for named in ("The answer", "What these data cannot say", "Who was analysed", "Methods"):
        assert named in lists
        assert named in headings
    for other in ("Shares over time", "What if the assumptions do not hold?", "the section of each outcome"):
        assert other not in lists
