"""A plan carried out: the folder holds what the study says, whole or not at all."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import implstats as ist
from implstats.batch import Plan, appendix, check_plan, comparison_run, markdown, read_plan, run_plan
from implstats.batch import run as room
from implstats.batch.folder import file_names
from implstats.errors import ConvergenceError, DataError, PlanError
from implstats.examples import example_files
from implstats.tables import read_tables

HOSTILE = ["../x", "<script>alert(1)</script>", "=HYPERLINK(1)"]


def example(folder: Path, *changes: tuple[str, str]) -> Path:
    """Put the example into a folder, with few draws and with changes of the plan's text."""
    table, _, plan = example_files("reorganisation")
    shutil.copyfile(table, folder / table.name)
    text = plan.read_text(encoding="utf-8")
    for part, put in (("draws = 999", "draws = 20"), *changes):
        assert part in text
        text = text.replace(part, put)
    (folder / "plan.toml").write_text(text, encoding="utf-8")
    return folder / "plan.toml"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path]:
    folder = tmp_path_factory.mktemp("study")
    plan = example(folder)
    return read_plan(plan), run_plan(plan, out=folder / "results")


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def differing(one: Path, other: Path) -> set[str]:
    return {name for name in names(one) if (one / name).read_bytes() != (other / name).read_bytes()}


def manifest(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def exact(path: Path, like: pd.DataFrame) -> pd.DataFrame:
    """Return a table of a run with every number as Python reads it, to the last digit."""
    read = pd.read_csv(path, dtype=str, keep_default_na=False)
    for column in like.columns:
        if like[column].dtype.kind in "fiu":
            read[column] = [float(cell) if cell else float("nan") for cell in read[column]]
        elif like[column].dtype.kind == "b":
            read[column] = read[column] == "True"
    return read


def test_every_file_is_there(done: tuple[Plan, Path]) -> None:
    kinds = ("means", "contrasts", "effect_sizes", "retained", "coefficients", "variances", "covariance")
    expected = {f"{o}_{k}.csv" for o in ("bsi", "sipp") for k in kinds} | {"bsi.json", "sipp.json"}
    expected |= {"comparison.csv", "comparison.json", "overall.csv", "manifest.json", "report.md"}
    expected |= {"report.html", *appendix.names()}
    expected |= {f"{doubt}.csv" for doubt in ("readings", "natural_change", "tipping_point", "e_values")}
    pictures = ("trajectories", "effect_forest", "missingness", "residuals_bsi", "residuals_sipp")
    expected |= {f"{p}.{ending}" for p in pictures for ending in ("png", "svg")}
    assert names(done[1]) == expected
    assert names(done[1].parent) == {"results", "plan.toml", "reorganisation.csv"}


def test_tables_are_the_studys_at_full_precision(done: tuple[Plan, Path], study: Any) -> None:
    read = exact(done[1] / "comparison.csv", study.tidy())
    pd.testing.assert_frame_equal(read, study.tidy(), check_exact=True, check_dtype=False)
    fit = study.fits["bsi"]
    contrasts = fit.contrasts([18, 36], df=study.df).tidy()
    found = {"coefficients": fit.tidy(df=study.df), "contrasts": contrasts, "covariance": fit.covariance()}
    for kind, table in found.items():
        read = exact(done[1] / f"bsi_{kind}.csv", table)
        pd.testing.assert_frame_equal(read, table, check_exact=True, check_dtype=False)


def test_json_is_the_result(done: tuple[Plan, Path], study: Any) -> None:
    record = json.loads((done[1] / "comparison.json").read_text(encoding="utf-8"))
    assert record["schema"] == 1
    pd.testing.assert_frame_equal(read_tables(record)["tidy"], study.tidy(), check_dtype=False)
    assert json.loads((done[1] / "bsi.json").read_text(encoding="utf-8"))["formula"] == study.fits["bsi"].formula


def test_the_manifest_tells_what_was_done(done: tuple[Plan, Path]) -> None:
    told = manifest(done[1])
    assert {file["name"] for file in told["files"]} == names(done[1]) - {"manifest.json"}
    for file in told["files"]:
        raw = (done[1] / file["name"]).read_bytes()
        assert (file["bytes"], file["sha256"]) == (len(raw), hashlib.sha256(raw).hexdigest())
    table = example_files("reorganisation")[0].read_bytes()
    (source,) = told["inputs"]
    assert source["sha256"] == hashlib.sha256(table).hexdigest()
    assert (source["name"], source["bytes"]) == ("reorganisation.csv", len(table))
    assert told["plan"]["as_read"] == done[0].record
    assert told["seed"] == 2017
    assert told["schema"] == 1
    assert told["versions"]["implstats"] == ist.__version__
    assert told["versions"]["pandas"] == pd.__version__
    assert {o["status"] for o in told["outcomes"].values()} == {"done"}


def test_the_report_answers_in_three_sentences(done: tuple[Plan, Path], study: Any) -> None:
    text = (done[1] / "report.md").read_text(encoding="utf-8")
    labels = {k: v for k, v in done[0].labels.items() if k != "month"}
    assert text.count("\n## ") == len(set(re.findall(r"^## .*$", text, flags=re.MULTILINE)))
    told = study.in_words(labels)
    assert f"## At the other time\n\n- {' '.join(told[3:])}\n- Over both outcomes together, at month 18" in text
    answer = text.split("## The answer\n\n")[1].split("\n\n")[0]
    assert answer == "\n".join(f"- {sentence}" for sentence in study.in_words(labels)[:3])
    for sentence in study.cannot_say(labels):
        assert f"\n- {sentence}\n" in text
    assert "\n**simulated; not the data of Bales et al. 2017**\n" in text
    assert study.methods(labels) in text
    assert "Over both outcomes together, at month 36, the mean improvement was 1.20 SD" in text
    late = ist.load_example("reorganisation").query("month == 36 and cohort == 'during'")["bsi"].mean()
    assert f"| 36 | During | 49 | 1.91 (0.07) | {late:.2f} | 0.24 [0.11, 0.36] | 0.46 [0.21, 0.71] |" in text
    assert "| Symptom severity (BSI, 0-4) | 388 | 6 | 382 | 76 | 68 |" in text
    assert "Patients seen, per outcome" not in text
    for figure in ("trajectories", "effect_forest", "missingness", "residuals_bsi", "residuals_sipp"):
        assert re.search(rf"^!\[.{{40,}}\]\({figure}\.png\)$", text, flags=re.MULTILINE), figure
    assert "doi 10.1002/pmh.1381" in text
    assert "no effect" not in text


def test_the_report_says_which_model_and_why(done: tuple[Plan, Path]) -> None:
    text = (done[1] / "report.md").read_text(encoding="utf-8")
    why = "there are three fixed visits; every cohort has a covariance of its own, as each has 20 patients or more."
    assert f"\n- Symptom severity and Personality functioning: MMRM, because {why}\n" in text
    assert f"This model was chosen because {why}" in text
    assert (
        "\n- An MMRM is a mixed model for repeated measures: every cohort has a mean of its own at every visit" in text
    )
    assert "the points stand in columns" in text
    assert "doi 10.1177/009286150804200402" in text
    for of_growth_models in ("A growth model", "upward tilt", "Laird", "Bates"):
        assert of_growth_models not in text
    assert "| bsi_covariance.csv, sipp_covariance.csv | how the visits of a patient go together |" in text


def test_pictures_are_pictures(done: tuple[Plan, Path]) -> None:
    from xml.etree import ElementTree

    from matplotlib import image

    assert image.imread(done[1] / "trajectories.png").shape[1] > 800
    assert ElementTree.parse(done[1] / "effect_forest.svg").getroot().tag.endswith("svg")


def test_the_same_seed_gives_the_same_files(done: tuple[Plan, Path], tmp_path: Path) -> None:
    again = run_plan(done[0], out=tmp_path / "again")
    assert names(again) == names(done[1])
    first, second = manifest(done[1]), manifest(again)
    assert first.pop("started")
    assert second.pop("started")
    assert first["looks"][0].pop("first") <= second["looks"][0].pop("first")
    assert first == second
    assert [
        f for f in sorted(names(again) - {"manifest.json"}) if (again / f).read_bytes() != (done[1] / f).read_bytes()
    ] == []


def test_another_seed_moves_the_draws_alone(done: tuple[Plan, Path], quick: Path, tmp_path: Path) -> None:
    asked = done[0].comparison
    assert asked is not None
    plan = replace(done[0], comparison=replace(asked, analysis=replace(asked.analysis, seed=3)), record={})
    one, other = run_plan(quick, out=tmp_path / "one"), run_plan(plan, out=tmp_path / "other")
    assert names(one) == names(other)
    told = {"report.md", "report.html", *appendix.names()}
    assert differing(other, one) == {"overall.csv", "tipping_point.csv", "manifest.json"} | told
    assert manifest(other)["plan"]["as_read"]["analysis"]["seed"] == 3


def test_no_patient_is_named(done: tuple[Plan, Path]) -> None:
    """Tables are of cohorts and models: no file has a row a patient."""
    for file in done[1].glob("*.csv"):
        table = pd.read_csv(file)
        assert len(table) < 20, file.name
        assert "patient" not in table.columns, file.name


# The folder ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a plan whose pictures are not drawn, for tests of the folder."""
    monkeypatch.setattr(room, "_draw", lambda part, folder: [])
    return example(tmp_path)


@pytest.fixture(scope="module")
def found(done: tuple[Plan, Path]) -> Any:
    """Return the answers of the example."""
    return room.analyse(check_plan(done[0]))


@pytest.fixture
def written(quick: Path, found: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a plan that is not fitted either, for tests of what is left when a step fails."""
    monkeypatch.setattr(room, "analyse", lambda checked: found)
    return quick


def test_a_foreign_folder_is_refused(quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "check_plan", lambda plan: pytest.fail("read before the folder was looked at"))
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.docx").write_text("years of work")
    with pytest.raises(PlanError) as caught:
        run_plan(quick, out=out)
    assert str(caught.value) == (
        f"out={str(out)!r}: holds what implstats did not write (thesis.docx); name a folder that is new or empty"
    )
    (out / "manifest.json").write_text('{"name": "an app", "files": [{"name": "thesis.docx"}]}')
    with pytest.raises(PlanError, match=re.escape("(manifest.json, thesis.docx)")):
        run_plan(quick, out=out)
    assert (out / "thesis.docx").read_text() == "years of work"
    with pytest.raises(
        PlanError, match=re.escape("plan.toml': a file, not a folder; name a folder that is new or empty")
    ):
        run_plan(quick, out=quick)


def test_an_older_result_is_replaced(quick: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    out.mkdir()
    run_plan(quick, out=out)
    (out / "report.md").write_text("old")
    run_plan(example(tmp_path, ('sipp = "higher"', "")), out=out)
    assert (out / "report.md").read_text(encoding="utf-8").startswith("# Outcome")
    assert not (out / "sipp.json").exists()
    (out / "remarks.txt").write_text("mine")
    with pytest.raises(PlanError, match=re.escape("did not write (remarks.txt)")):
        run_plan(quick, out=out)
    assert names(tmp_path) == {"results", "plan.toml", "reorganisation.csv"}


@pytest.mark.parametrize("broken", ["write_csv", "write_json", "report", "versions", "_manifest"])
def test_nothing_is_half_written(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    out = tmp_path / "deep" / "results"
    run_plan(written, out=out)
    before = {file.name: file.read_bytes() for file in out.iterdir()}

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room if hasattr(room, broken) else room.folders, broken, fail)
    for target in (out, tmp_path / "new"):
        with pytest.raises(OSError, match="No space left"):
            run_plan(written, out=target)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before
    assert names(tmp_path) == {"deep", "plan.toml", "reorganisation.csv"}
    assert names(out.parent) == {"results"}


def test_an_older_result_comes_back_if_the_new_one_cannot_move(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = run_plan(written, out=tmp_path / "results")
    before = names(out)
    move = Path.rename

    def stuck(self: Path, target: Path) -> Path:
        if self.name.endswith(".unfinished"):
            raise PermissionError(13, "Permission denied")
        return move(self, target)

    monkeypatch.setattr(Path, "rename", stuck)
    with pytest.raises(PermissionError):
        run_plan(written, out=out)
    assert names(out) == before
    assert names(tmp_path) == {"results", "plan.toml", "reorganisation.csv"}


def test_no_fit_no_folder(quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise DataError("no outcome could be fitted")

    monkeypatch.setattr(comparison_run, "compare_cohorts", fail)
    with pytest.raises(DataError, match="no outcome could be fitted"):
        run_plan(quick, out=tmp_path / "results")
    assert names(tmp_path) == {"plan.toml", "reorganisation.csv"}


# Outcomes ------------------------------------------------------------------------------------------------------------


def with_columns(folder: Path, **columns: Any) -> None:
    table = ist.load_example("reorganisation").assign(**columns)
    table.to_csv(folder / "reorganisation.csv", index=False)


def test_one_failed_outcome_and_the_others_stand(quick: Path, tmp_path: Path, study: Any) -> None:
    plan = example(
        quick.parent,
        ('sipp = "higher"', 'sipp = "higher"\nflat = "lower"'),
        ("[labels]", '[labels]\nflat = "A flat score"'),
    )
    with_columns(tmp_path, flat=2)
    out = run_plan(plan, out=tmp_path / "results")
    told = manifest(out)["outcomes"]
    reason = "outcome='flat': constant at 2; there is nothing to explain"
    assert told["flat"] == {"file": "flat", "status": "failed", "error": reason}
    assert told["bsi"]["status"] == "done"
    assert not list(out.glob("flat*"))
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "**Could not be analysed: A flat score.** The reasons stand below; the other outcomes stand." in text
    assert f"## A flat score\n\nCould not be analysed; the other outcomes stand. {reason}" in text
    read = pd.read_csv(out / "comparison.csv", dtype=str)
    assert read["error"].dropna().tolist() == [reason]
    assert read["d"].dropna().map(float).tolist() == study.tidy()["d"].tolist()


def test_a_model_that_stands_in_is_said(quick: Path, tmp_path: Path) -> None:
    table = ist.load_example("reorganisation")
    # Every score at month 36 is that of month 18 less a tenth: the covariance of the visits has no full rank.
    before = table["patient"].map(table[table["month"] == 18].set_index("patient")["bsi"])
    with_columns(tmp_path, bsi=table["bsi"].where(table["month"] < 36, before - 0.1))
    out = run_plan(quick, out=tmp_path / "results")
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "\n- Symptom severity: growth model (visits as categories), because an MMRM did not converge.\n" in text
    assert "Symptom severity was analysed with a linear mixed model, visits as categories by cohort" in text
    assert "This model was chosen because an MMRM did not converge. Personality functioning was analysed with a" in text
    for kind in (
        "An MMRM is",
        "A growth model is",
        "the points stand in columns",
        "upward tilt",
        "Laird",
        "Mallinckrodt",
    ):
        assert text.count(kind) == 1, kind
    assert not (out / "bsi_covariance.csv").exists()
    assert "| sipp_covariance.csv | how the visits of a patient go together |" in text
    assert pd.read_csv(out / "comparison.csv")["model"].tolist() == ["growth"] * 2 + ["mmrm"] * 2


def test_no_mean_over_outcomes_is_said(quick: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConvergenceError("overall: 12 of 20 draws could not be fitted")

    monkeypatch.setattr(ist.CohortComparison, "overall", fail)
    out = run_plan(quick, out=tmp_path / "results")
    assert not (out / "overall.csv").exists()
    text = (out / "report.md").read_text(encoding="utf-8")
    assert "There is no mean over outcomes: overall: 12 of 20 draws could not be fitted" in text


def test_a_picture_that_cannot_be_drawn_is_said(found: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise DataError("nothing to draw")

    for name in ("effect_forest", "missingness", "residuals"):
        monkeypatch.setattr(ist.plot, name, fail)
    figures = room._draw(found[0], tmp_path)
    assert names(tmp_path) == {"trajectories.png", "trajectories.svg"}
    text = room.report(Plan(), [found[0].piece(figures)], {})
    for name in ("effect_forest", "missingness", "residuals_bsi", "residuals_sipp"):
        assert f"\nThere is no picture {name}: nothing to draw\n" in text
    assert re.search(r"^!\[.{40,}\]\(trajectories\.png\)$", text, flags=re.MULTILINE)


def test_hostile_names(tmp_path: Path) -> None:
    outcomes = "\n".join(f'"{name}" = "lower"' for name in HOSTILE)
    changes = [
        ('bsi = "lower"\nsipp = "higher"', outcomes),
        ("ranges =", "# ranges ="),
        ('reference = "before"', 'reference = "=before"'),
    ]
    plan = example(tmp_path, *changes, ("seed = 2017", "margin = 0.3"))
    text = plan.read_text(encoding="utf-8").split("[labels]")[0]
    text = text.replace("during a reorg", "![x](http://x) | <b>`*during*` a reorg")
    plan.write_text(text, encoding="utf-8")
    table = ist.load_example("reorganisation")
    table["cohort"] = table["cohort"].map({"before": "=before", "during": "+during|<i>"})
    for k, name in enumerate(HOSTILE):
        table[name] = table["bsi"] * (k + 1)
    table.to_csv(tmp_path / "reorganisation.csv", index=False)
    out = run_plan(plan, out=tmp_path / "results")
    assert names(tmp_path) == {"results", "plan.toml", "reorganisation.csv"}
    assert {"x.json", "script_alert_1_script.json", "HYPERLINK_1.json", "x_means.csv"} <= names(out)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", file.name) and file.is_file() for file in out.iterdir())
    for file in out.glob("*.csv"):
        read = pd.read_csv(file, keep_default_na=False)
        words = read.select_dtypes(exclude="number").map(str)
        assert not words.map(lambda v: v[:1] in "=+@" if v else False).to_numpy().any(), file.name
    read = pd.read_csv(out / "comparison.csv")
    assert set(read["outcome"]) == {"../x", "<script>alert(1)</script>", "'=HYPERLINK(1)"}
    assert set(read["cohort"]) == {"'+during|<i>"}
    assert read["d_difference"].dtype == float
    assert read["d_difference"].max() < 0
    report = (out / "report.md").read_text(encoding="utf-8")
    assert "<script>" not in report
    assert "<b>" not in report
    assert "<i>" not in report
    assert "](http" not in report
    assert report.count("\n![") == 6
    assert "Against the margin" in report
    for block in report.split("\n\n"):
        if block.startswith("|"):
            cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.split("\n")}
            assert len(cells) == 1, block


def test_names_of_files() -> None:
    asked = [
        "bsi",
        "BSI",
        "bsi ",
        "../../etc/passwd",
        "con",
        "manifest",
        "comparison",
        "Größe",
        "抑うつ",
        "",
        "a" * 300,
        "..",
        "-rf",
    ]
    made = file_names(asked)
    assert list(made.values())[:9] == [
        "bsi", "BSI_2", "bsi_3", "etc_passwd", "con_2", "manifest_2", "comparison_2", "Groe", "outcome",
    ]  # fmt: skip
    assert len({name.lower() for name in made.values()}) == len(asked)
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name) for name in made.values())


def test_a_baseline_column_and_straight_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = ist.load_example("reorganisation")
    first = table[table["month"] == 0].set_index("patient")["bsi"]
    later = table[table["month"] > 0]
    later.assign(pre=later["patient"].map(first)).to_csv(tmp_path / "reorganisation.csv", index=False)
    changes = [('sipp = "higher"\n', ""), ("baseline = 0 ", 'baseline = "pre" '), ("at = [18, 36]", "at = [36]")]
    changes += [('shape = "auto"', 'shape = "linear"')]
    (tmp_path / "plans").mkdir()
    plan = example(tmp_path / "plans", *changes, ('file = "', 'file = "../'))
    drawn = {}
    monkeypatch.setattr("implstats.plot.style.save", lambda axes, path, *_, **__: drawn.update({path.stem: axes}))
    out = run_plan(plan, out=tmp_path / "results")
    text = (out / "report.md").read_text(encoding="utf-8")
    line = (
        "Symptom severity (BSI, 0-4) was modelled as a straight line for each cohort, and every time is read off it: "
    )
    assert f"\n{line}compare the means with the observed ones in the picture and the table.\n" in text
    assert text.count("traight lines against visits as categories: F(") == 1
    assert "\n- Straight lines against visits as categories: F(2, " in text
    observed = [str(line.get_gid()) for line in drawn["trajectories"][0].lines if "observed" in str(line.get_gid())]
    assert observed == ["observed: before", "observed: during"]
    assert "growth model (linear time), because a course over time was asked for" in text
    assert "MMRM" not in text
    assert "Improvement is the change since the value before treatment (pre) in points of the scale" in text
    assert "| Months since the start of treatment | Cohort | Patients seen | Mean (SE) | Observed mean |" in text
    assert "Added from the baseline column" in text
    # A visit that was not compared has its patients in a table of its own.
    assert "| Outcome | Cohort | month 0 | month 18 | month 36 |" in text
    # One outcome has no mean over outcomes, and nothing is said of one.
    assert "Over all" not in text
    assert "mean over outcomes" not in text
    assert "Efron" not in text
    assert not (out / "overall.csv").exists()


# Markdown ------------------------------------------------------------------------------------------------------------


def test_text_of_users_is_text() -> None:
    assert markdown.safe("a <b> & `c` [d](e)") == "a &lt;b&gt; & \\`c\\` [d]\\(e)"
    assert markdown.safe("_x_ bdi_pre *y* 2 * 3 $z$") == "\\_x\\_ bdi_pre \\*y\\* 2 * 3 \\$z\\$"
    assert markdown.said("# no heading\n\n- no list") == "\\# no heading - no list"
    assert (
        markdown.said("> no quote, p < .001, &lt; AT&T, R & D") == "&gt; no quote, p < .001, &amp;lt; AT&amp;T, R & D"
    )
    assert markdown.table([{"a|b": "c\nd|", "n": 3}]) == "| a\\|b | n |\n| :--- | ---: |\n| c d\\| | 3 |"
