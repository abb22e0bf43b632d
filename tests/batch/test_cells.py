"""A batch: its cells are what the analyses say of each site, in one table, with p-values corrected once, and pooled."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.multitest import multipletests

import implstats as ist
from implstats import __main__ as command
from implstats.batch import check_plan, read_plan, run_plan
from implstats.errors import DataError, PlanError
from implstats.results import COLUMNS

ROLES: dict[str, Any] = {"time": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}
Write = Callable[..., Path]


def table(folder: Path) -> pd.DataFrame:
    path = folder / "cells.csv"
    return pd.read_csv(path, keep_default_na=False, na_values=[""], float_precision="round_trip")


def manifest(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from implstats.examples import example_files

    return run_plan(example_files("multisite")[2], out=tmp_path_factory.mktemp("batch") / "out")


def test_the_bundled_batch_is_whole(done: Path) -> None:
    found = table(done)
    assert len(found.groupby(["site", "analysis", "outcome"])) == 6 * 5 * 2 == len(list((done / "cells").iterdir()))
    assert set(found["status"]) == {"done"}
    assert found["converged"].all()
    assert {"boundary", "warnings", "error"} <= set(found)
    assert set(found["site"]) == {"AT", "BE", "DK", "NL", "NO", "SE"}
    assert manifest(done)["result"] == {"cells": 60, "failed": 0, "errors": {}}
    assert {f["name"] for f in manifest(done)["files"]} == {
        f.relative_to(done).as_posix() for f in done.rglob("*") if f.is_file() and f.name != "manifest.json"
    }


def test_a_cell_is_what_the_analysis_says_of_the_site(done: Path, sites: pd.DataFrame) -> None:
    found, here = table(done), sites[sites["site"] == "NO"]
    sd = manifest(done)["sd"]["sipp"]
    study = ist.compare_cohorts(here, outcomes={"sipp": "higher"}, at=[18, 36], model="mmrm", sd=sd, **ROLES).tidy()
    mine = found.query("site == 'NO' and analysis == 'mmrm' and outcome == 'sipp'")
    gap = mine[mine["quantity"] == "difference"]
    for word, column in (("", "estimate"), ("_low", "conf_low"), ("_high", "conf_high")):
        np.testing.assert_array_equal(gap[column], study[f"d_difference{word}"])
    np.testing.assert_array_equal(gap["p_value"], study["p_value"])
    np.testing.assert_array_equal(gap[["n", "n_reference"]], study[["n", "n_reference"]])
    kept = mine[mine["quantity"] == "retained"]
    np.testing.assert_array_equal(kept["estimate"], study["retained"])
    mixture = ist.pattern_mixture(here, outcome="sipp", better="higher", **ROLES).tidy().set_index("quantity")
    mine = found.query("site == 'NO' and analysis == 'drop-out' and outcome == 'sipp'").set_index("quantity")
    change = mixture.loc["difference", "estimate"] / sd
    assert mine.loc["difference", "estimate"] == pytest.approx(change, rel=1e-14)
    assert mine.loc["retained", "estimate"] == mixture.loc["retained", "estimate"]


def test_one_sd_an_outcome_over_all_sites(done: Path, sites: pd.DataFrame) -> None:
    first = sites[sites["month"] == 0]
    told = manifest(done)["sd"]
    for outcome in ("bsi", "sipp"):
        parts = [first.loc[first["cohort"] == c, outcome].dropna() for c in ("before", "during")]
        square = sum(((p - p.mean()) ** 2).sum() for p in parts) / (sum(map(len, parts)) - 2)
        assert told[outcome] == pytest.approx(np.sqrt(square), rel=1e-12)
        assert set(table(done).query("outcome == @outcome")["sd"].dropna()) == {told[outcome]}
    assert "one SD an outcome, the same at every site" in (done / "report.md").read_text(encoding="utf-8")


def test_p_values_are_corrected_once_over_the_family(done: Path) -> None:
    found = table(done)
    family = found.query("analysis == 'mmrm' and quantity == 'difference'")
    assert len(family) == 6 * 2 * 2
    for column, method in (("p_holm", "holm"), ("p_fdr_bh", "fdr_bh")):
        np.testing.assert_allclose(family[column], multipletests(family["p_value"], method=method)[1], rtol=1e-12)
        assert found.drop(family.index)[column].isna().all()


def test_along_a_straight_line_all_times_are_one_hypothesis(small: Write, tmp_path: Path) -> None:
    found = table(run_plan(small(), out=tmp_path / "out")).query("quantity == 'difference'")
    once = found[found["time"] == 36]
    assert len(once) == 4
    np.testing.assert_allclose(once["p_holm"], multipletests(once["p_value"], method="holm")[1], rtol=1e-12)
    np.testing.assert_array_equal(found.loc[found["time"] == 18, "p_holm"], once["p_holm"])


def test_effects_are_pooled_over_sites(done: Path) -> None:
    found, pooled = table(done), pd.read_csv(done / "pooled.csv")
    assert len(pooled) == 2 * (2 + 2 + 1 + 4)
    rows = found.query("analysis == 'mmrm' and outcome == 'bsi' and quantity == 'difference' and time == 36")
    by_hand = ist.combine_programmes(rows, estimate="estimate", std_error="std_error", programme="site")
    mean = by_hand.tidy().set_index("quantity").loc["mean"]
    row = pooled.query("analysis == 'mmrm' and outcome == 'bsi' and time == 36").iloc[0]
    assert row["sites"] == 6
    for column in ("estimate", "std_error", "conf_low", "conf_high"):
        assert row[column] == pytest.approx(mean[column], rel=1e-12)
    told = f"the improvement of During minus that of Before was {mean['estimate']:.2f} SD ("
    assert told in (done / "report.md").read_text(encoding="utf-8")
    true = -np.mean([0.25, 0.4, 0.45, 0.6, 0.3, 0.5]) * 1.2
    assert row["conf_low"] < true < row["conf_high"]
    for outcome in ("bsi", "sipp"):
        assert (done / "figures" / f"forest_mmrm_{outcome}_during.svg").is_file()


def test_survival_and_ratings_are_cells_too(tmp_path: Path) -> None:
    programmes = ist.load_example("programmes")
    programmes.to_csv(tmp_path / "programmes.csv", index=False)
    source = np.random.default_rng(3)
    truth = source.normal(4, 1, (3, 12))
    ratings = [
        {"country": "ABC"[c], "case": f"c{i}", "rater": f"Dr. {r}", "score": truth[c, i] + source.normal(0, 0.5)}
        for c in range(3)
        for i in range(12)
        for r in ("Jansen", "Peeters", "Smit")
    ]
    scored = pd.DataFrame(ratings)
    scored.to_csv(tmp_path / "ratings.csv", index=False)
    (tmp_path / "plan.toml").write_text(
        """
[batch]
by = "country"
family = ["stopped"]
[[batch.analysis]]
name = "stopped"
kind = "survival"
file = "programmes.csv"
duration = "years"
event = "discontinued"
terms = ["era", "support"]
reference = { era = "late" }
[[batch.analysis]]
name = "agreement"
kind = "ratings"
file = "ratings.csv"
item = "case"
rater = "rater"
score = "score"
form = "A,1"
""",
        encoding="utf-8",
    )
    out = run_plan(tmp_path / "plan.toml", out=tmp_path / "out")
    found = table(out)
    assert set(found["status"]) == {"done"}
    here = programmes[programmes["country"] == "B"].assign(
        era=lambda f: pd.Categorical(f["era"], ["late", "early"]),
    )
    cox = ist.fit_cox(here, duration="years", event="discontinued", terms=["era", "support"]).tidy()
    mine = found.query("site == 'B' and analysis == 'stopped'")
    assert mine["term"].tolist() == cox["term"].tolist() == ["era[early]", "support"]
    np.testing.assert_array_equal(mine["estimate"], cox["estimate"])
    icc = ist.icc(scored[scored["country"] == "C"], item="case", rater="rater", score="score").estimate
    one = found.query("site == 'C' and analysis == 'agreement'")["estimate"].item()
    assert one == pytest.approx(icc, rel=1e-12)
    assert set(pd.read_csv(out / "pooled.csv")["term"]) == {"era[early]", "support"}
    everything = b"".join(file.read_bytes() for file in out.rglob("*") if file.is_file())
    assert b"Jansen" not in everything


def test_a_cell_that_fails_is_a_row_with_its_error_and_exit_3(
    small: Write, sites: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lone = sites[(sites["site"] == "NL") | ((sites["site"] == "NO") & (sites["cohort"] == "before"))]
    plan = small(data=lone)
    assert command.main(["check", str(plan)]) == 3
    assert "cell growth, bsi, NO: cannot be analysed: " in capsys.readouterr().out
    assert command.main(["run", str(plan), "--out", str(tmp_path / "out")]) == 3
    heard = capsys.readouterr()
    assert "2 of 4 cells have an answer; a cell is one analysis of one outcome" in heard.out
    assert "growth, bsi, NO could not be analysed" in heard.err
    assert "cells: 2 of 2" in heard.err
    found = table(tmp_path / "out").set_index("site")
    assert set(found.loc["NO", "status"]) == {"failed"}
    assert found.loc["NO", "error"].str.contains("one cohort only").all()
    assert found.loc["NL", "estimate"].notna().all()
    assert manifest(tmp_path / "out")["result"]["failed"] == 2


def test_an_unexpected_error_is_a_row_too(small: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from implstats.batch import repeated_cohorts

    fit = repeated_cohorts.fit_outcome

    def broken(frame: pd.DataFrame, outcome: str, *rest: Any) -> Any:
        if outcome == "bsi":
            raise ZeroDivisionError("by zero")
        return fit(frame, outcome, *rest)

    monkeypatch.setattr(repeated_cohorts, "fit_outcome", broken)
    found = table(run_plan(small(), out=tmp_path / "out"))
    assert set(found.query("outcome == 'bsi'")["error"]) == {
        "unexpected ZeroDivisionError: by zero; please report this"
    }
    assert set(found.query("outcome == 'sipp'")["status"]) == {"done"}


def test_nothing_runs_where_the_plan_is_wrong(small: Write, tmp_path: Path) -> None:
    plan = small(("at = [18, 36]", 'at = [18, 99]\nadjust = ["agee"]'), ('bsi = "lower"', 'bsy = "lower"'))
    with pytest.raises(PlanError) as caught:
        run_plan(plan, out=tmp_path / "out")
    assert str(caught.value).split("\n") == [
        "[batch.analysis growth] adjust='agee': no such column; did you mean 'age'?",
        "[batch.analysis growth] outcomes='bsy': no such column; did you mean 'bsi'?",
    ]
    assert not (tmp_path / "out").exists()
    assert command.main(["run", str(plan), "--out", str(tmp_path / "out")]) == 2


def test_no_cell_that_can_be_is_a_wrong_plan(small: Write, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="at=99"):
        run_plan(small(("at = [18, 36]", "at = 99"), ('shape = "linear"', 'shape = "visits"')), out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("part", "put", "words"),
    [
        ('kind = "growth"', 'kind = "grwth"', "[batch.analysis growth] kind='grwth': no such kind of analysis"),
        ('by = "site"', 'by = "side"', "by='side': no such column; did you mean 'site'?"),
        ('by = "site"', 'by = "site"\nfamily = ["mmrm"]', "[batch] family='mmrm': no such analysis"),
        ('by = "site"', 'by = "site"\nsd = { bsi = 0.5 }', "[batch] sd={'bsi': 0.5}: not one SD for every outcome"),
        ('by = "site"', 'by = "site"\nfigures = "all"', "[batch] figures: unknown key; it belongs above the first"),
        ("[batch]", "[analysis]\nat = 3\n[batch]", "analysis: does not go with [batch]; write [[batch.analysis]]"),
        ('bsi = "lower"', 'bsi = "down"', "[outcomes] bsi='down': not a direction"),
        ('name = "growth"\n', "", "[batch.analysis 1] name=None: not text"),
        ("at = [18, 36]\n", "", "[batch.analysis growth] at: missing; name the times to compare at"),
        ('shape = "linear"', 'model = "mmrm"', "[batch.analysis growth] model: unknown key"),
    ],
)
def test_faults_of_a_plan(small: Write, tmp_path: Path, part: str, put: str, words: str) -> None:
    with pytest.raises(PlanError) as caught:
        run_plan(small((part, put)), out=tmp_path / "out")
    assert words in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_check_says_what_would_be_run(bundled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["check", str(bundled)]) == 0
    said = capsys.readouterr().out
    assert "cells: 60: 5 analyses, 6 values of site" in said
    assert "analysis drop-out: pattern_mixture of multisite.csv, 12 cells" in said
    assert "d of bsi is in SDs of 0.51" in said
    checked = check_plan(read_plan(bundled))
    assert checked.batch is not None
    assert not checked.faults


def test_rows_without_a_site_are_counted(small: Write, sites: pd.DataFrame, tmp_path: Path) -> None:
    some = sites[sites["site"].isin(["NL", "NO"])].copy()
    some.loc[some["patient"].isin(sorted(some["patient"].unique())[:2]), "site"] = np.nan
    out = run_plan(small(data=some), out=tmp_path / "out")
    lost = int(some["site"].isna().sum())
    assert lost >= 5
    assert manifest(out)["rows_without_site"] == {"visits.csv": lost}
    assert f"{lost} rows of visits.csv name no site, and are in no cell." in (out / "report.md").read_text("utf-8")


def test_all_rows_together(small: Write, tmp_path: Path) -> None:
    out = run_plan(small(('by = "site"\n', "")), out=tmp_path / "out")
    assert set(table(out)["site"]) == {"all"}
    assert pd.read_csv(out / "pooled.csv").empty


def test_what_one_site_alone_has_is_not_pooled_and_said_so(small: Write, sites: pd.DataFrame, tmp_path: Path) -> None:
    some = sites[sites["site"].isin(["NL", "NO"])]
    some = some[(some["site"] == "NL") | (some["cohort"] == "before")]
    out = run_plan(small(data=some), out=tmp_path / "out")
    assert set(table(out).query("status == 'done'")["site"]) == {"NL"}
    assert pd.read_csv(out / "pooled.csv")["error"].unique().tolist() == [
        "NL alone has an answer, and pooling takes two sites"
    ]


def test_resume_and_cluster_go_with_a_batch_only(tmp_path: Path) -> None:
    from implstats.examples import example_files

    with pytest.raises(PlanError, match="resume=True: goes with a plan of many cells"):
        run_plan(example_files("programmes")[2], out=tmp_path / "out", resume=True)


def test_workers_are_a_number_and_a_plan_of_python_is_told(small: Write, tmp_path: Path) -> None:
    plan = read_plan(small())
    with pytest.raises(DataError, match="workers=0: less than 1"):
        run_plan(plan, out=tmp_path / "out", workers=0)
    assert not (tmp_path / "out").exists()
    out = run_plan(replace(plan, record={}), out=tmp_path / "out")
    assert manifest(out)["plan"]["as_read"]["analyses"][0]["options"]["shape"] == "linear"


def test_no_scheduler_is_said(small: Write, tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(DataError, match="cluster='nowhere://1': no scheduler answers there"):
        run_plan(small(), out=tmp_path / "out", cluster="nowhere://1")


def test_every_column_has_a_meaning(done: Path) -> None:
    assert set(table(done)) | set(pd.read_csv(done / "pooled.csv")) <= set(COLUMNS)
