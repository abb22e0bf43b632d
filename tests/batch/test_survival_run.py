"""Survival analyses carried out: the folder holds what the functions say, and the report says it in sentences."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import implstats as ist
from implstats.batch import appendix, check_plan, read_plan, run_plan
from implstats.batch import run as room
from implstats.batch.run import Run, carry_out
from implstats.batch.survival_words import percent, ratio
from implstats.errors import DataError
from implstats.examples import example_files
from implstats.tables import read_tables

# Ten programmes: five of "before" (three stopped), five of "during" (three stopped, one merged).
TEN = pd.DataFrame(
    {
        "programme": range(1, 11),
        "years": [1, 3, 4, 6, 8, 1, 2, 3, 5, 7],
        "stopped": [1, 0, 1, 1, 0, 1, 1, 0, 1, 0],
        "status": ["out", "on", "out", "out", "on", "out", "out", "merged", "out", "on"],
        "era": ["before"] * 5 + ["during"] * 5,
        "support": [2, 5, 3, 4, 6, 1, 3, 2, 4, 5],
    }
)
PLAN = """\
[privacy]
min_count = 1

[[survival]]
name = "S"
file = "t.csv"
duration = "years"
event = "stopped"
at = [2, 5]
"""
WORDS = 'words = { rows = "programmes", event = "stopped", still = "still running" }\n'


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def exact(path: Path, like: pd.DataFrame) -> None:
    """Compare a table of a run with a table, to the last digit."""
    kinds = {c: float for c in like.columns if like[c].dtype.kind == "f"}
    read = pd.read_csv(
        path, dtype=kinds, keep_default_na=False, na_values={c: [""] for c in kinds}, float_precision="round_trip"
    )
    pd.testing.assert_frame_equal(read, like.reset_index(drop=True), check_exact=True, check_dtype=False)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_draw", lambda part, folder: [])


def ran(folder: Path, text: str, frame: pd.DataFrame = TEN) -> Run:
    """Carry out a plan on a table."""
    frame.to_csv(folder / "t.csv", index=False)
    (folder / "plan.toml").write_text(text, encoding="utf-8")
    return carry_out(folder / "plan.toml", out=folder / "results")


def report(folder: Path) -> str:
    return (folder / "results" / "report.md").read_text(encoding="utf-8")


def answer(text: str) -> list[str]:
    """Return the sentences of the answer."""
    return re.findall(r"^- (.*)$", text.split("## The answer")[1].split("## What these data")[0], flags=re.MULTILINE)


# The bundled example -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_plan(example_files("programmes")[2], out=tmp_path_factory.mktemp("programmes") / "results")


@pytest.fixture(scope="module")
def programmes() -> pd.DataFrame:
    return ist.load_example("programmes")


TIMES = {"duration": "years", "event": "discontinued"}
ENDS = {"duration": "years", "event": "status", "censored": "active"}
TERMS = ["era", "training", "leadership", "support", "barrier_organisation"]


def test_every_file_is_there(done: Path) -> None:
    one = ["shares", "curves", "medians", "rmst", "logrank", "rates", "hazard_ratios", "coefficients"]
    one += ["proportional_hazards", "models"]
    two = ["shares", "incidence", "gray", "rates", "hazard_ratios", "coefficients", "proportional_hazards", "models"]
    expected = {f"Programmes_that_stopped_{kind}.csv" for kind in one}
    expected |= {f"Stopped_or_merged_{kind}.csv" for kind in [*two, "fine_gray"]}
    drawn = [f"Programmes_that_stopped_{kind}" for kind in ("survival", "rates", "ratios", "check")]
    drawn += [f"Stopped_or_merged_{kind}" for kind in ("incidence", "rates_1", "ratios_1", "check_1")]
    expected |= {f"{name}.{ending}" for name in drawn for ending in ("png", "svg")}
    expected |= {"Programmes_that_stopped.json", "Stopped_or_merged.json", "report.md", "manifest.json"}
    expected |= {"report.html", *appendix.names()}
    assert names(done) == expected


def test_tables_are_the_functions_at_full_precision(done: Path, programmes: pd.DataFrame) -> None:
    def there(kind: str) -> Path:
        return done / f"Programmes_that_stopped_{kind}.csv"

    curves = ist.survival_curves(programmes, **TIMES, by="era")
    exact(there("curves"), curves.tidy())
    exact(there("medians"), curves.quantile())
    exact(there("rmst"), ist.rmst(programmes, **TIMES, by="era").tidy())
    exact(there("logrank"), ist.logrank(programmes, **TIMES, by="era").tidy())
    exact(there("rates"), curves.rates())
    shares = curves.at([2, 5]).merge(curves.at_risk([2, 5]).drop(columns="at_risk"), on=["group", "time"])
    exact(there("shares"), shares)
    alone = ist.fit_cox(programmes, **TIMES, terms=["era"], cluster="organisation")
    full = ist.fit_cox(programmes, **TIMES, terms=TERMS, cluster="organisation", reference={"training": "off-site"})
    both = {"unadjusted": alone, "adjusted": full}
    stacked = pd.concat([fit.tidy().assign(model=name) for name, fit in both.items()], ignore_index=True)
    exact(there("coefficients"), stacked[["model", *full.tidy().columns]])
    stacked = pd.concat([fit.proportional_hazards().tidy().assign(model=name) for name, fit in both.items()])
    exact(there("proportional_hazards"), stacked[["model", "term", "statistic", "df", "p_value"]])


def test_causes_are_the_functions_at_full_precision(done: Path, programmes: pd.DataFrame) -> None:
    def there(kind: str) -> Path:
        return done / f"Stopped_or_merged_{kind}.csv"

    exact(there("incidence"), ist.cumulative_incidence(programmes, **ENDS, by="era").tidy())
    exact(there("gray"), ist.gray_test(programmes, **ENDS, by="era").tidy())
    terms, reference = TERMS[:4], {"training": "off-site"}
    full = ist.fit_cox(programmes, **ENDS, terms=terms, cause="stopped", reference=reference, cluster="organisation")
    ratios = pd.read_csv(there("hazard_ratios"), float_precision="round_trip")
    assert set(ratios["cause"]) == {"stopped"}
    written = ratios.loc[ratios["model"] == "adjusted", "estimate"].tolist()
    assert written == full.tidy(hazard_ratio=True)["estimate"].tolist()
    options = {"terms": terms, "cause": "stopped", "reference": reference, "cluster": "organisation"}
    incidence = ist.fit_fine_gray(programmes, **ENDS, **options).tidy(hazard_ratio=True)
    written = pd.read_csv(there("fine_gray"), float_precision="round_trip")
    assert (
        written[["estimate", "std_error"]].to_numpy().tolist()
        == incidence[["estimate", "std_error"]].to_numpy().tolist()
    )
    # The rates of a cause are those of curves in which the others are censored.
    alone = ist.survival_curves(programmes.assign(end=programmes["status"] == "stopped"), duration="years",
                                event="end", by="era")  # fmt: skip
    exact(there("rates"), alone.rates().assign(cause="stopped")[["cause", *alone.rates().columns]])


def test_json_holds_every_result(done: Path, programmes: pd.DataFrame) -> None:
    record = json.loads((done / "Programmes_that_stopped.json").read_text(encoding="utf-8"))
    curves = ist.survival_curves(programmes, **TIMES, by="era")
    pd.testing.assert_frame_equal(read_tables(record["curves"])["tidy"], curves.tidy(), check_dtype=False)
    assert [model["model"] for model in record["models"]] == ["unadjusted", "adjusted"]
    assert record["models"][1]["cox"]["kind"] == "CoxResult"
    assert record["models"][1]["check"]["kind"] == "ProportionalHazards"
    assert record["errors"] == {}


def test_the_manifest_names_analyses_and_data(done: Path) -> None:
    told = json.loads((done / "manifest.json").read_text(encoding="utf-8"))
    assert {file["name"] for file in told["files"]} == names(done) - {"manifest.json"}
    assert told["survival"] == {
        "Programmes that stopped": {"file": "Programmes_that_stopped", "status": "done"},
        "Stopped or merged": {"file": "Stopped_or_merged", "status": "done"},
    }
    assert [source["name"] for source in told["inputs"]] == ["programmes.csv"]
    assert "outcomes" not in told


def test_the_report_says_what_the_tables_say(done: Path) -> None:
    text = (done / "report.md").read_text(encoding="utf-8")
    table = pd.read_csv(done / "Programmes_that_stopped_shares.csv")
    late = table[(table["group"] == "late") & (table["time"] == 5)].iloc[0]
    share, low, high = (percent(late[k]) for k in ("estimate", "conf_low", "conf_high"))
    assert f"and {share} in late (95% interval {low} to {high}) were still running." in text
    assert f"| 5 years | late (started 2008-2014) | {late['at_risk']} | {late['cumulative_events']} | {share} " in text
    ratios = pd.read_csv(done / "Programmes_that_stopped_hazard_ratios.csv").set_index(["model", "term"])
    one, other = (ratios.loc[kind, "era[late]"] for kind in ("unadjusted", "adjusted"))
    assert (
        f"those in late stopped at {ratio(one['estimate'])} times the rate of those in early (95% interval "
        f"{ratio(one['conf_low'])} to {ratio(one['conf_high'])}); with the other 4 terms held equal, at "
        f"{ratio(other['estimate'])} times (95% interval {ratio(other['conf_low'])} to {ratio(other['conf_high'])}). "
        "Both intervals hold 1: these data do not tell which rate is higher."
    ) in text
    assert "Censoring is unequal (followed for 12.131 in early, 5.577 in late)" in text
    assert "Shares and their comparisons take programmes of one organisation for independent" in text
    for picture in ("Programmes_that_stopped_survival", "Stopped_or_merged_incidence", "Stopped_or_merged_check_1"):
        assert re.search(rf"^!\[.{{80,}}\]\({picture}\.png\)$", text, flags=re.MULTILINE), picture
    # What no analysis can say stands once, before what each cannot.
    assert text.count("taken for no different from those that were followed on") == 1
    headings = re.findall(r"^## .*$", text, flags=re.MULTILINE)
    assert len(headings) == len(set(headings))


def test_no_word_rests_on_a_p_value(done: Path) -> None:
    text = (done / "report.md").read_text(encoding="utf-8").lower()
    for word in ("significant", "no effect", "no difference", "assumption holds", "is proportional"):
        assert word not in text


def test_the_same_plan_gives_the_same_files(done: Path, tmp_path: Path) -> None:
    again = run_plan(example_files("programmes")[2], out=tmp_path / "again")
    assert names(again) == names(done)
    assert [f for f in sorted(names(done)) if (again / f).read_bytes() != (done / f).read_bytes()] == ["manifest.json"]


OPTIONS: list[dict[str, Any]] = [
    {"strata": ["training"]},
    {"entry": "entered"},
    {"weights": "weight", "cluster": "organisation"},
    {"frailty": "organisation"},
    {"ties": "breslow"},
    {"ties": "exact"},
    {"penalty": 0.5},
    {"missing": "drop", "id": "programme"},
    {"reference": {"country": "C"}},
]


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("options", OPTIONS, ids=["-".join(options) for options in OPTIONS])
def test_every_option_reaches_its_functions(tmp_path: Path, programmes: pd.DataFrame, options: dict[str, Any]) -> None:
    frame = programmes.assign(entered=programmes["years"] * (programmes["programme"] % 3) / 4)
    frame = frame.assign(weight=1 + frame["programme"] % 2)
    frame.loc[3, "leadership"] = None
    terms = ["leadership", "country"]
    text = PLAN.replace('"stopped"', '"discontinued"') + f"by = 'era'\nlevel = 0.9\nterms = {terms}\n"
    written = {k: str(v).replace("': '", "'='") if isinstance(v, dict) else repr(v) for k, v in options.items()}
    text += "".join(f"{k} = {v}\n" for k, v in written.items()).replace("{'country'=", "{country=")
    assert ran(tmp_path, text, frame).errors == {}
    out = tmp_path / "results"
    fit = ist.fit_cox(frame, **TIMES, terms=terms, **options)
    read = pd.read_csv(out / "S_coefficients.csv", float_precision="round_trip")
    columns = ["estimate", "std_error", "p_value", "conf_low", "conf_high"]
    adjusted = read.loc[read["model"] == "adjusted", columns].to_numpy()
    assert adjusted.tolist() == fit.tidy(level=0.9)[columns].to_numpy().tolist()
    common = {k: options[k] for k in ("entry", "weights") if k in options}
    curves = ist.survival_curves(frame, **TIMES, **common, by="era", level=0.9)
    exact(out / "S_curves.csv", curves.tidy())
    exact(out / "S_rmst.csv", curves.rmst().tidy())
    if "weights" not in options:
        common = {k: options[k] for k in ("entry", "strata") if k in options}
        exact(out / "S_logrank.csv", ist.logrank(frame, **TIMES, **common, by="era").tidy())


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("options", [{}, {"entry": "entered", "weights": "weight"}, {"strata": ["training"]}])
def test_every_option_reaches_the_functions_of_causes(
    tmp_path: Path, programmes: pd.DataFrame, options: dict[str, Any]
) -> None:
    frame = programmes.assign(entered=programmes["years"] * (programmes["programme"] % 3) / 4)
    frame = frame.assign(weight=1 + frame["programme"] % 2)
    text = PLAN.replace('"stopped"', '"status"') + "censored = 'active'\nby = 'era'\nlevel = 0.9\n"
    assert ran(tmp_path, text + "".join(f"{k} = {v!r}\n" for k, v in options.items()), frame).errors == {}
    out = tmp_path / "results"
    at_risk = {k: options[k] for k in ("entry", "weights") if k in options}
    exact(out / "S_incidence.csv", ist.cumulative_incidence(frame, **ENDS, **at_risk, by="era", level=0.9).tidy())
    read = pd.read_csv(out / "S_coefficients.csv", float_precision="round_trip").set_index("cause")
    for cause in ("stopped", "merged"):
        fit = ist.fit_cox(frame, **ENDS, **options, cause=cause, terms=["era"])
        assert read.loc[cause, "estimate"] == fit.tidy()["estimate"].iloc[0]
    if not at_risk:
        exact(out / "S_gray.csv", ist.gray_test(frame, **ENDS, **options, by="era").tidy())


# Small data ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("undrawn")
def test_the_answer_by_hand(tmp_path: Path) -> None:
    """Before: at 1 a fifth goes, at 4 a third of the rest. During: at 1 and 2 a fifth each, at 5 half of the rest."""
    ran(tmp_path, PLAN + 'by = "era"\ntau = 5\n' + WORDS)
    told = answer(report(tmp_path))
    assert (
        told[0]
        == "Of 10 programmes, 6 stopped (3 of 5 in before, 3 of 5 in during); the other 4 had not when last seen."
    )
    assert told[1].startswith("After 2 years, 80 % of programmes in before (95% interval ")
    assert " and 60 % in during (95% interval " in told[1]
    assert told[2].startswith("After 5 years, 53 % of programmes in before (95% interval ")
    assert " and 30 % in during (95% interval " in told[2]
    # 1 + 3 (4/5) + 1 (8/15) and 1 + 1 (4/5) + 3 (3/5).
    assert told[3].startswith("Of the first 5 years, programmes were still running for 3.93 in before (95% interval ")
    assert "; during minus before: -0.33 years (95% interval " in told[3]
    assert told[4].startswith("Among programmes still running, those in during stopped at 1.")
    assert told[4].endswith("The interval holds 1: these data do not tell which rate is higher.")
    assert "The unadjusted Cox model rests on 6 events for 1 parameter, 6 each: below 10, ratios tend" in report(
        tmp_path
    )


@pytest.mark.usefixtures("undrawn")
def test_a_plan_of_four_keys(tmp_path: Path) -> None:
    found = ran(tmp_path, PLAN)
    assert found.errors == {}
    told = answer(report(tmp_path))
    assert told[0] == "Of 10 rows, 6 had the event; the other 4 had not when last seen."
    assert told[1].startswith("After 2 years, 70 % of rows (95% interval ")
    assert len(told) == 4
    assert {"S_curves.csv", "S_rmst.csv", "S_rates.csv"} <= names(tmp_path / "results")
    assert not {"S_logrank.csv", "S_hazard_ratios.csv"} & names(tmp_path / "results")


@pytest.mark.usefixtures("undrawn")
def test_seven_programmes_get_no_infinite_ratio(tmp_path: Path) -> None:
    seven = TEN.head(7).assign(era=["a", "b", "a", "a", "b", "b", "b"], stopped=[1, 0, 1, 1, 0, 0, 0])
    found = ran(tmp_path, PLAN + 'by = "era"\n', seven)
    (why,) = found.errors.values()
    assert why.startswith("'era[b]': no finite estimate; with 3 events the likelihood rises for ever")
    assert "penalty='firth'" in why
    text = report(tmp_path)
    assert f"There is no unadjusted Cox model: {why}." in text
    assert "In b the event was not seen by then, so that its mean time has no interval" in text
    told = json.loads((tmp_path / "results" / "manifest.json").read_text(encoding="utf-8"))
    assert told["survival"]["S"] == {
        "file": "S", "status": "failed", "errors": {"unadjusted Cox model": why},
    }  # fmt: skip
    found = ran(tmp_path, PLAN + 'by = "era"\npenalty = "firth"\n', seven)
    assert found.errors == {}
    model = ist.fit_cox(seven, duration="years", event="stopped", terms=["era"], penalty="firth")
    row = model.tidy(hazard_ratio=True).iloc[0]
    ends = f"{ratio(row['conf_low'])} to {ratio(row['conf_high'])}"
    assert f"at {ratio(row['estimate'])} times the rate of those in a (95% interval {ends})" in report(tmp_path)
    assert "Firth's penalty lessens its bias away from 1." in report(tmp_path)
    assert "This cannot be checked for the unadjusted Cox model: 'era[b]': no finite estimate" in report(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_a_penalised_model_is_checked_without_its_penalty(tmp_path: Path) -> None:
    ran(tmp_path, PLAN + 'terms = ["support"]\npenalty = "firth"\n')
    plain = ist.fit_cox(TEN, duration="years", event="stopped", terms=["support"]).proportional_hazards()
    read = pd.read_csv(tmp_path / "results" / "S_proportional_hazards.csv", float_precision="round_trip")
    assert read["statistic"].tolist() == plain.tidy()["statistic"].tolist()
    assert "The check is that of the same model without its penalty." in report(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_rows_of_one_programme_are_told_as_such(tmp_path: Path) -> None:
    at_three = TEN.assign(entry=0.0)
    early = at_three[at_three["years"] > 3].assign(years=3, stopped=0)
    late = at_three[at_three["years"] > 3].assign(entry=3.0)
    split = pd.concat([at_three[at_three["years"] <= 3], early, late])
    asked = 'terms = ["support"]\nby = "era"\ntau = 5\n'
    ran(tmp_path, PLAN + asked + 'entry = "entry"\nid = "programme"\n' + WORDS, split)
    cut = report(tmp_path)
    assert "Censored before" not in cut
    ran(tmp_path, PLAN + asked + WORDS)
    assert "Censored before" in report(tmp_path)
    # Cutting rows changes no count, no share, no mean time and no ratio.
    assert answer(cut) == answer(report(tmp_path))
    again = pd.concat([split, pd.DataFrame([{**TEN.iloc[0], "entry": 1, "years": 2}])])
    ran(tmp_path, PLAN + 'entry = "entry"\nid = "programme"\n', again)
    assert answer(report(tmp_path))[0].startswith("Of 16 rows of 10 programmes, 7 had the event; the other 9 had not")


@pytest.mark.usefixtures("undrawn")
def test_weights_and_late_entries_have_no_test_of_groups_and_it_is_said(tmp_path: Path) -> None:
    frame = TEN.assign(weight=[1, 2] * 5, entered=0.5)
    found = ran(tmp_path, PLAN + 'by = "era"\nweights = "weight"\nentry = "entered"\n', frame)
    assert found.errors == {}
    assert "The log-rank test of groups is not given: a version for weights is not known here." in report(tmp_path)
    asked = (
        PLAN.replace('"stopped"', '"status"') + 'censored = "on"\nby = "era"\nentry = "entered"\npenalty = "firth"\n'
    )
    ran(tmp_path, asked, frame)
    assert "Gray's test of groups is not given: a version for late entries is not known here." in report(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_groups_that_are_numbers_are_groups(tmp_path: Path) -> None:
    frame = TEN.assign(era=[1] * 5 + [2] * 5)
    ran(tmp_path, PLAN + 'by = "era"\nterms = ["era", "support"]\n', frame)
    told = answer(report(tmp_path))
    assert "3 of 5 in era 1, 3 of 5 in era 2" in told[0]
    assert told[4].startswith("Among rows without the event, those in era 2 had the event at ")
    assert "each unit more of era" in told[6]
    ran(
        tmp_path, PLAN + 'by = "era"\nterms = ["era", "support"]\nreference = { era = 2 }\n[labels]\n1 = "old"\n', frame
    )
    told = answer(report(tmp_path))
    assert "3 of 5 in era 2, 3 of 5 in old" in told[0]
    assert "those in old had the event at " in told[4]
    assert "; with support held equal, at " in told[4]


@pytest.mark.usefixtures("undrawn")
def test_a_frailty_of_no_variance_gives_no_warning(tmp_path: Path, programmes: pd.DataFrame) -> None:
    asked = PLAN.replace('"stopped"', '"discontinued"') + 'terms = ["leadership"]\nfrailty = "country"\n'
    assert ran(tmp_path, asked, programmes).errors == {}
    assert "the hazard ratio that rows of one country share has variance 0;" in report(tmp_path).replace(".", ";")


@pytest.mark.usefixtures("undrawn")
def test_a_product_of_terms_is_no_ratio_of_groups(tmp_path: Path, programmes: pd.DataFrame) -> None:
    asked = PLAN.replace('"stopped"', '"discontinued"') + 'by = "era"\nterms = "era * leadership"\n'
    ran(tmp_path, asked, programmes)
    text = report(tmp_path)
    assert "held equal, at" not in text
    assert "The ratio of a term that stands in a product holds where the other term is 0, or its reference." in text
    assert "era late × leadership" in text


@pytest.mark.usefixtures("undrawn")
def test_few_clusters_are_said(tmp_path: Path, programmes: pd.DataFrame) -> None:
    asked = PLAN.replace('"stopped"', '"discontinued"') + 'terms = ["leadership"]\ncluster = "country"\n'
    ran(tmp_path, asked, programmes)
    assert "each: below 10" not in report(tmp_path)
    line = "Intervals of ratios rest on 3 groups of rows (country): with 50 or fewer they tend to come out too narrow."
    assert line in report(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_few_events_are_said_with_what_lessens_their_bias(tmp_path: Path) -> None:
    few = (
        "The adjusted Cox model rests on 6 events for 1 parameter, 6 each: below 10, ratios tend to lie too far from 1"
    )
    frame = TEN.assign(site=["x", "y"] * 5)
    for more, how in (("", 'penalty = "firth"'), ('cluster = "site"\n', 'penalty = "firth" in place of cluster')):
        ran(tmp_path, PLAN + 'terms = ["support"]\n' + more, frame)
        told = f"{few} and intervals are too narrow. Firth's penalty lessens that ({how} in the plan)."
        assert f"\n- {told}\n" in report(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_a_group_that_was_followed_less_is_not_told_beyond(tmp_path: Path) -> None:
    frame = TEN[~((TEN["era"] == "during") & (TEN["years"] > 3))]
    ran(tmp_path, PLAN + 'by = "era"\n' + WORDS, frame)
    told = answer(report(tmp_path))
    assert told[2].startswith("After 5 years, 53 % of programmes in before (95% interval ")
    assert told[2].endswith(") were still running.")
    assert told[3] == "Nothing can be said of during after 5 years: the follow-up is shorter."
    assert "| 5 years | during | 0 | 2 | not followed so long |" in report(tmp_path)


@pytest.mark.usefixtures("undrawn")
def test_rows_that_lack_a_covariate_are_in_the_curves(tmp_path: Path) -> None:
    frame = TEN.assign(support=[None, *TEN["support"][1:]])
    ran(tmp_path, PLAN + 'terms = ["support"]\n', frame)
    text = report(tmp_path)
    assert "| Curves | 10 | 0 | 10 |" in text
    assert "| Adjusted model | 10 | 1 | 9 |" in text


@pytest.mark.usefixtures("undrawn")
def test_what_cannot_be_computed_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise DataError("the data do not say")

    for name in ("logrank", "fit_cox"):
        monkeypatch.setattr(f"implstats.batch.survival_run.{name}", fail)
    found = ran(tmp_path, PLAN + 'by = "era"\nterms = ["support"]\n')
    assert set(found.errors) == {"S, log-rank test", "S, unadjusted Cox model", "S, adjusted Cox model"}
    text = report(tmp_path)
    assert "\n- There is no log-rank test: the data do not say.\n" in text
    assert "a version for" not in text
    assert "80 % of rows in before" in text
    assert "What goes with it" not in text


@pytest.mark.usefixtures("undrawn")
def test_hostile_names(tmp_path: Path) -> None:
    frame = TEN.rename(columns={"support": "=SUM(A1)", "era": "<b>era"})
    frame["<b>era"] = frame["<b>era"].map({"before": "=before", "during": "<script>alert(1)</script>|"})
    asked = 'by = "<b>era"\nterms = ["=SUM(A1)"]\nwords = { rows = "<i>rows" }\n'
    ran(tmp_path, PLAN.replace('"S"', '"../<u>x|"') + asked, frame)
    out = tmp_path / "results"
    assert names(tmp_path) == {"t.csv", "plan.toml", "results"}
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in names(out))
    for tag in ("<b>", "<i>", "<u>", "<script>"):
        assert tag not in report(tmp_path), tag
    for block in report(tmp_path).split("\n\n"):
        if block.startswith("|"):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.split("\n")}) == 1, block
    for file in out.glob("*.csv"):
        words = pd.read_csv(file, keep_default_na=False).select_dtypes(exclude="number").map(str)
        assert not words.map(lambda v: v[:1] in "=+@" if v else False).to_numpy().any(), file.name


# Both kinds ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("undrawn")
def test_a_plan_may_hold_both(tmp_path: Path) -> None:
    plan = example_files("reorganisation")[2]
    for name in ("reorganisation", "reorganisation_dropout"):
        shutil.copyfile(example_files(name)[0], tmp_path / f"{name}.csv")
    text = plan.read_text(encoding="utf-8").replace("draws = 999", "draws = 20")
    drop_out = """
[[survival]]
name = "bsi"
file = "reorganisation_dropout.csv"
duration = "months"
event = "dropped_out"
at = [12, 24]
by = "cohort"
terms = ["cohort", "age"]
cluster = "therapist"
words = { rows = "patients", event = "dropped out", still = "still in treatment" }
"""
    (tmp_path / "plan.toml").write_text(text + drop_out, encoding="utf-8")
    checked = check_plan(read_plan(tmp_path / "plan.toml"))
    assert checked.in_words()[-3].startswith("survival bsi: reorganisation_dropout.csv, 144 of 144 rows; ")
    out = run_plan(checked.plan, out=tmp_path / "results")
    told = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    assert [source["name"] for source in told["inputs"]] == ["reorganisation.csv", "reorganisation_dropout.csv"]
    assert told["outcomes"]["bsi"]["file"] == "bsi"
    assert told["survival"]["bsi"]["file"] == "bsi_2"
    assert {"bsi.json", "bsi_2.json", "bsi_2_curves.csv", "comparison.csv"} <= names(out)
    text = report(tmp_path)
    first, rest = text.split("## What these data cannot say")
    assert first.index("### Outcomes") < first.index("At month 36, cohort Before") < first.index("### bsi")
    assert " patients, " in first
    assert "Among patients still in treatment, those in During dropped out at " in first
    assert rest.index("\n## Outcomes\n\n### At the other time\n") < rest.index("\n## Symptom") < rest.index("\n## bsi")
