"""Names and cells that mean harm, and what must stay with the data: nothing executed, nothing outside, nobody named."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from implstats import __main__ as command
from implstats.batch import run_plan
from implstats.errors import PlanError

Write = Callable[..., Path]
HOSTILE = ["../x", "<script>alert(1)</script>", '=HYPERLINK("http://a.example","b")', "NO", "con", "a\nb | c", "$x_1$"]


def inside(folder: Path) -> set[str]:
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, sites: pd.DataFrame) -> Path:
    """Return the folder of a batch whose sites, cohorts, outcome and analysis have hostile names."""
    folder = tmp_path_factory.mktemp("hostile")
    here = sites[sites["site"] == "NL"]
    frame = pd.concat([here.assign(site=name, patient=here["patient"] + 1000 * k) for k, name in enumerate(HOSTILE)])
    frame["cohort"] = frame["cohort"].map({"before": "=1+1", "during": "<img src=x onerror=alert(1)>"})
    frame.rename(columns={"bsi": "../../bsi"}).to_csv(folder / "visits.csv", index=False)
    (folder / "plan.toml").write_text(
        """
title = "<script>alert(2)</script>"
[data]
file = "visits.csv"
[roles]
patient = "patient"
time = "month"
cohort = "cohort"
reference = "=1+1"
[outcomes]
"../../bsi" = "lower"
[batch]
by = "site"
[[batch.analysis]]
name = "../<b>growth</b>"
kind = "growth"
at = 36
""",
        encoding="utf-8",
    )
    before = inside(folder)
    run_plan(folder / "plan.toml", out=folder / "out")
    assert {name for name in inside(folder) - before if not name.startswith("out/")} == set()
    return folder / "out"


def test_every_file_has_a_safe_name(done: Path) -> None:
    names = inside(done)
    assert len([name for name in names if name.startswith("cells/")]) == len(HOSTILE)
    for name in names:
        assert re.fullmatch(r"((cells|figures)/)?[A-Za-z0-9_-]+\.(json|csv|parquet|md|html|png|svg)", name), name


def test_names_are_names_in_every_cell(done: Path) -> None:
    told = {json.loads(file.read_text("utf-8"))["asked"]["site"] for file in (done / "cells").iterdir()}
    assert told == set(HOSTILE)


def test_no_cell_of_the_table_is_a_formula(done: Path) -> None:
    for name in ("cells.csv", "pooled.csv"):
        with (done / name).open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                for cell in row:
                    assert cell[:1] not in ("=", "+", "@", "\t", "\r"), cell
                    assert cell[:1] != "-" or np.isfinite(float(cell)) or cell == "-inf"
    found = pd.read_csv(done / "cells.csv", keep_default_na=False)
    assert "NO" in set(found["site"])
    assert set(found["site"]) == {name if name[0] != "=" else f"'{name}" for name in HOSTILE}


def test_no_tag_is_left_in_report_and_pictures(done: Path) -> None:
    pictures = [file.read_text("utf-8") for file in (done / "figures").glob("*.svg")]
    assert pictures
    reports = [(done / f"report.{ending}").read_text("utf-8") for ending in ("md", "html")]
    for text in [*reports, *pictures]:
        for tag in ("<script", "<img", "<b>"):
            # The page has pictures of its own, which stand in it.
            assert tag not in text.replace('<img src="data:image/', "")


def test_no_patient_and_no_therapist_is_named(small: Write, sites: pd.DataFrame, tmp_path: Path) -> None:
    people = sites[sites["site"].isin(["NL", "NO"])].copy()
    people["patient"] = "BSN-" + (people["patient"] * 7919 + 100_000_000).astype(str)
    people["therapist"] = "dr. Zeldenrust-" + people["therapist"]
    twice = people[people["site"] == "NO"].iloc[[0]]
    plan = small(('shape = "linear"', 'shape = "linear"\ngroups = ["therapist"]'), data=pd.concat([people, twice]))
    out = run_plan(plan, out=tmp_path / "out")
    everything = "\n".join(file.read_bytes().decode("utf-8", "replace") for file in out.rglob("*") if file.is_file())
    assert "BSN-" not in everything
    assert "Zeldenrust" not in everything
    found = pd.read_csv(out / "cells.csv")
    assert found.loc[found["site"] == "NO", "error"].str.contains("patient").all()


def test_no_patient_is_named_on_the_screen(
    small: Write, sites: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    people = sites[sites["site"].isin(["NL", "NO"])].copy()
    people["patient"] = "BSN-" + people["patient"].astype(str)
    people.loc[people.index[(people["site"] == "NO") & (people["month"] == 18)][0], "cohort"] = "during"
    assert command.main(["run", str(small(data=people)), "--out", str(tmp_path / "out")]) == 3
    heard = capsys.readouterr()
    assert "could not be analysed" in heard.err
    assert "BSN-" not in heard.out + heard.err


def test_small_numbers_of_patients_are_left_empty(small: Write, sites: pd.DataFrame, tmp_path: Path) -> None:
    here = sites[sites["site"].isin(["NL", "NO"])]
    late = here[(here["site"] == "NO") & (here["cohort"] == "during") & (here["month"] == 36) & here["bsi"].notna()]
    few = here.drop(late.index[4:])
    out = run_plan(small(('shape = "linear"', 'shape = "visits"'), data=few), out=tmp_path / "out")
    cell = "site == 'NO' and outcome == 'bsi' and cohort == 'during'"
    rows = pd.read_csv(out / "cells.csv", keep_default_na=False, na_values=[""]).query(cell)
    assert rows.loc[rows["time"] == 36, "n"].isna().all()
    assert (rows.loc[rows["time"] == 18, "n"] >= 5).all()
    assert rows["estimate"].notna().all()
    record = json.loads(next((out / "cells").glob("growth_bsi_NO_*.json")).read_text("utf-8"))
    assert {r["n"] for r in record["rows"] if r["cohort"] == "during" and r["time"] == 36} == {None}
    asked = run_plan(
        small(('shape = "linear"', 'shape = "visits"'), ("[data]", "[privacy]\nmin_count = 1\n[data]"), data=few),
        out=tmp_path / "asked",
    )
    rows = pd.read_csv(asked / "cells.csv", keep_default_na=False, na_values=[""]).query(cell)
    assert set(rows.loc[rows["time"] == 36, "n"]) == {4}


def test_ten_thousand_columns(small: Write, sites: pd.DataFrame, tmp_path: Path) -> None:
    here = sites[(sites["site"] == "NO") & (sites["patient"] % 2 == 0)]
    wide = pd.DataFrame(1, index=here.index, columns=[f"item_{k}" for k in range(10_000)])
    out = run_plan(small(data=pd.concat([wide, here], axis=1)), out=tmp_path / "out")
    assert set(pd.read_csv(out / "cells.csv")["status"]) == {"done"}
    assert sum(file.stat().st_size for file in (out / "cells").iterdir()) < 25_000


@pytest.mark.slow
def test_200_mb_with_bad_bytes_at_the_end(small: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = small()
    with (tmp_path / "visits.csv").open("ab") as file:
        line = b"NL,1,before,NL-T01,0,1.00,2.00,30,female\n"
        for _ in range(200):
            file.write(line * (1_000_000 // len(line)))
        file.write(b"NL,1,before,\xff\xfe,0,1.00,2.00,30,female\n")
    assert command.main(["run", str(plan), "--out", str(tmp_path / "out")]) == 2
    assert "not UTF-8: byte 0xff" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_bad_bytes_are_named_by_line(small: Write, tmp_path: Path) -> None:
    plan = small()
    data = (tmp_path / "visits.csv").read_bytes().split(b"\n")
    data[7] = data[7].replace(b"NL", b"\xff\x00")
    (tmp_path / "visits.csv").write_bytes(b"\n".join(data))
    with pytest.raises(PlanError, match=r"visits\.csv'.*not UTF-8: byte 0xff .*line 8") as caught:
        run_plan(plan, out=tmp_path / "out")
    assert str(caught.value).count("not UTF-8") == 1


def test_a_file_that_brings_its_reader_down_loses_no_cell(small: Write, sites: pd.DataFrame, tmp_path: Path) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    plan = small()
    plan.write_text(plan.read_text(encoding="utf-8").replace("visits.csv", "visits.sav"), encoding="utf-8")
    pyreadstat.write_sav(sites, tmp_path / "visits.sav")
    out = run_plan(plan, out=tmp_path / "out")
    before = {name: (out / name).read_bytes() for name in inside(out)}

    def dies(file: Path, **how: object) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyreadstat, "read_sav", dies)
        with pytest.raises(PlanError, match="the process that read it died"):
            run_plan(plan, out=out, resume=True)
    assert {name: (out / name).read_bytes() for name in inside(out)} == before
