"""Tables that a batch reads and writes beside CSV: files of SPSS and Stata, and Parquet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats.batch import batch_run, run_plan
from implstats.batch.gathered import WORDS

Write = Callable[..., Path]
CODES = {"before": 1, "during": 2}


def cells(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "cells.csv", keep_default_na=False, na_values=[""], float_precision="round_trip")


def test_parquet_holds_the_same_table(small: Write, sites: pd.DataFrame, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    lone = sites[(sites["site"] == "NL") | ((sites["site"] == "NO") & (sites["cohort"] == "before"))]
    out = run_plan(small(data=lone), out=tmp_path / "out")
    text, found = cells(out), pd.read_parquet(out / "cells.parquet")
    assert list(found) == list(text)
    assert set(found["status"]) == {"done", "failed"}
    for column in found:
        if column in WORDS:
            assert found[column].dtype == "string"
            assert found[column].fillna("").tolist() == text[column].fillna("").astype(str).tolist()
        else:
            theirs = found[column].astype(object).where(found[column].notna(), np.nan).astype(float)
            np.testing.assert_array_equal(theirs, text[column].astype(float))
    assert {str(found[column].dtype) for column in ("estimate", "conf_low", "p_value")} == {"float64"}
    assert {str(found[column].dtype) for column in ("converged", "boundary")} == {"bool"}


def test_parquet_of_one_run_is_that_of_the_next(small: Write, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    first = (run_plan(small(), out=tmp_path / "a") / "cells.parquet").read_bytes()
    assert first == (run_plan(small(), out=tmp_path / "b") / "cells.parquet").read_bytes()


def test_without_the_extra_there_is_no_parquet(small: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run_plan(small(), out=tmp_path / "out") / "cells.parquet").touch()
    monkeypatch.setattr(batch_run, "find_spec", lambda name: None)
    out = run_plan(small(), out=tmp_path / "out", resume=True)
    assert not (out / "cells.parquet").exists()
    assert (out / "cells.csv").exists()


@pytest.mark.parametrize("ending", ["sav", "dta"])
def test_a_batch_of_spss_or_stata_is_that_of_text(
    small: Write, sites: pd.DataFrame, tmp_path: Path, ending: str
) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    here = sites[sites["site"].isin(["NL", "NO"])]
    text = run_plan(small(), out=tmp_path / "text")
    places = {"NL": 1, "NO": 2}
    coded = here.assign(cohort=here["cohort"].map(CODES), site=here["site"].map(places))
    about: dict[str, Any] = {
        "column_labels": {
            "bsi": "Severity of symptoms",
            "sipp": "A label that is so long that it would not fit an axis or a heading",
        },
        "variable_value_labels": {
            "cohort": {code: word for word, code in CODES.items()},
            "site": {code: word for word, code in places.items()},
        },
    }
    (pyreadstat.write_sav if ending == "sav" else pyreadstat.write_dta)(coded, tmp_path / f"visits.{ending}", **about)
    out = run_plan(small(("visits.csv", f"visits.{ending}")), out=tmp_path / ending)
    pd.testing.assert_frame_equal(cells(out), cells(text))
    report = (out / "report.md").read_text(encoding="utf-8")
    assert "Severity of symptoms (growth): over 2 sites" in report
    assert "A label that is so long" not in report
