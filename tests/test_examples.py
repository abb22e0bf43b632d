"""Every bundled table agrees with its dictionary, and the simulated one with its generator, byte for byte."""

import hashlib
import json
import re

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError
from implstats.examples import describe_example, example_files, list_examples, load_example

NAMES = list_examples()["name"].tolist()
FILE_KEYS = ["name", "title", "rows", "source", "licence", "missing", "generator", "seed", "truth", "notes", "columns"]
COLUMN_KEYS = ["name", "label", "unit", "type", "levels", "missing", "range", "better"]
SIMULATED = {
    "broken_reorganisation": "cdda26de9c0e2603c7aca4755e2ec4d227024350ddc6c0021f79ce41f4e2a163",
    "mended_reorganisation": "09c05903885e1660e944d9d2b2a84ca9ebba75a3e258ae1c8823878895bc2a10",
    "multisite": "760e994e36d2ab103f024a75fcb332e3bcfb65bcc162c0b0b9abdef833f061ef",
    "programme_history": "5dc3849b57a93f964195de4a1ed1c941ffaae88156a8b8c0966fc2cdc85f7635",
    "programme_phases": "a60430ba4492aa5d68c2f2b8af4aec323bc9bb1f9477bde1ee4ebeaedd474c5b",
    "programmes": "db5a7f5d53ab73d365a20f0ad0a57dad719db71a637be6f58a2629ea2bdd0190",
    "reorganisation": "dfeaa7f129968846a68a88eca9260f96a3782aae249d98df5a28500323deb259",
    "reorganisation_dropout": "8b15a85845ead297196eab4b906e13e1c607df8e14f9095406e0bd96522889c6",
}
# Its dictionary says what the columns are meant to hold; tests/test_broken_example.py has what they hold.
BROKEN = "broken_reorganisation"


def test_the_list():
    listed = list_examples()
    assert list(listed) == ["name", "rows", "what", "source"]
    assert {"reorganisation", "adherence_consensus", "case_ratings", "cases", "determinants"} <= set(NAMES)
    assert {"effect_size_ranges", "misimplementation"} <= set(NAMES)
    assert (listed["what"].str.len() > 20).all()


@pytest.mark.parametrize("name", NAMES)
def test_table_and_dictionary_agree(name):
    described = describe_example(name)
    assert list(described) == FILE_KEYS
    assert described["name"] == name
    raw = pd.read_csv(example_files(name)[0], dtype=str, keep_default_na=False)
    frame = load_example(name)
    assert len(raw) == len(frame) == described["rows"]
    assert [c["name"] for c in described["columns"]] == list(raw) == list(frame)
    for column in described["columns"]:
        assert list(column) == COLUMN_KEYS
        assert column["label"]
        assert column["better"] in (None, "lower", "higher")
        values = frame[column["name"]]
        empty = raw[column["name"]] == described["missing"]
        assert column["missing"] in (None, described["missing"])
        assert values.isna().equals(empty)
        assert not empty.any() or column["missing"] is not None
        kind = {"integer": "i", "number": "f", "date": "M"}.get(column["type"])
        assert kind == values.dtype.kind if kind else column["type"] in ("category", "text")
        if column["type"] == "integer":
            assert raw[column["name"]].str.fullmatch(r"-?\d+").all()
        if column["type"] == "date":
            assert raw[column["name"]][~empty].str.fullmatch(r"\d{4}-\d{2}-\d{2}").all()
        assert (column["levels"] is not None) >= (column["type"] == "category")
        assert (column["range"] is not None) >= (kind is not None)
        if name == BROKEN:
            continue
        if column["levels"] is not None:
            assert set(values.dropna()) <= set(column["levels"])
        if column["range"] is not None:
            low, high = column["range"] if kind != "M" else map(pd.Timestamp, column["range"])
            assert values.dropna().between(low, high).all()


@pytest.mark.parametrize("name", NAMES)
def test_dictionary_text_is_plain_json(name):
    table, dictionary = example_files(name)[:2]
    text = dictionary.read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
    assert b"\r" not in table.read_bytes()


@pytest.mark.parametrize("name", [n for n in NAMES if n not in SIMULATED])
def test_published_tables_name_their_source(name):
    assert re.search(r"DOI 10\.\d{4,}/\S+", describe_example(name)["source"])


@pytest.mark.parametrize(("name", "frozen"), SIMULATED.items())
def test_simulated_tables_are_frozen_and_their_generator_writes_them(tmp_path, monkeypatch, name, frozen):
    table = example_files(name)[0].read_bytes()
    assert hashlib.sha256(table).hexdigest() == frozen
    described = describe_example(name)
    assert f"rng={described['seed']}" in described["generator"]
    monkeypatch.chdir(tmp_path)
    exec(described["generator"], {})
    assert (tmp_path / f"{name}.csv").read_bytes() == table


@pytest.mark.parametrize("name", SIMULATED)
def test_simulated_tables_say_so_first(name):
    described = describe_example(name)
    assert described["source"].startswith("simulated; not the data of ")
    assert described["notes"][0] == described["source"]
    assert described["title"].endswith("(simulated)") or name == "reorganisation"


def test_stated_truth_is_the_scenarios_and_lies_in_the_published_ranges():
    from implstats.simulate import REORGANISATION

    stated = describe_example("reorganisation")["truth"]
    true = REORGANISATION.truth(at=[18, 36])
    ranges = load_example("effect_size_ranges").replace({"cohort": {"PRE-REORG": "before", "REORG": "during"}})
    ranges = ranges.set_index(["cohort", "month"])
    assert len(true) == 8
    for row in true.itertuples():
        assert stated["d"][row.outcome][row.cohort][f"{row.time:g}"] == row.d
        low, high = ranges.loc[(row.cohort, row.time)]
        assert low <= row.d <= high
    assert stated["sd_baseline"] == {name: t.sd for name, t in REORGANISATION.outcomes.items()}
    assert stated["improvement_retained"]["bsi"]["18"] == round(0.35 / 0.95, 4)


def test_reorganisation_is_a_study_that_can_be_analysed():
    visits = load_example("reorganisation")
    assert not visits.duplicated(["patient", "month"]).any()
    fixed = ["cohort", "admitted", "ended", "end_reason", "therapist", "age", "sex"]
    assert visits[["patient", *fixed]].drop_duplicates()["patient"].is_unique
    assert visits.groupby("cohort")["patient"].nunique().to_dict() == {"before": 76, "during": 68}
    left = visits.groupby("patient").agg({"end_reason": "first", "month": "max"})
    assert (left["month"] == 36).equals(left["end_reason"] == "completed")
    first = visits[visits["month"] == 0].set_index("patient")
    assert first[["bsi", "sipp"]].notna().all(axis=None)
    for outcome, sign in {"bsi": -1, "sipp": 1}.items():
        wide = visits.pivot_table(index="patient", columns="month", values=outcome)
        sd = np.sqrt(first.groupby("cohort")[outcome].var().mean())
        for month in (18, 36):
            d = (sign * (wide[month] - wide[0]) / sd).groupby(first["cohort"]).mean()
            true = describe_example("reorganisation")["truth"]["d"][outcome]
            assert abs(d["before"] - true["before"][str(month)]) < 0.25
            assert abs(d["during"] - true["during"][str(month)]) < 0.25


def test_stated_truth_of_the_study_through_the_change_is_the_scenarios():
    from implstats.simulate import THROUGH_CHANGE
    from implstats.simulate.through_change import WORK, WORKING

    stated = describe_example("mended_reorganisation")["truth"]
    for outcome, true in THROUGH_CHANGE.outcomes.items():
        told = {c: {float(m): d for m, d in at.items()} for c, at in stated["d"][outcome].items()}
        assert told == true.d
        assert stated["sd_baseline"][outcome] == true.sd
    assert stated["work"] == {"d": {f"{t:g}": d for t, d in WORK.items()}, "share": WORKING}


def test_the_study_through_the_change_has_patients_on_both_sides_of_it():
    visits = load_example("mended_reorganisation")
    found = ist.assign_cohorts(
        visits, start="admitted", end="ended", change="2010-01-01", straddlers="third", patient="patient"
    )
    assert (found.cohort == visits["cohort"]).all()
    assert not visits.duplicated(["patient", "month"]).any()
    first = visits[visits["month"] == 0]
    assert (first["visited"] == first["admitted"]).all()
    assert first["patient"].is_unique
    assert (visits["visited"] <= visits["ended"]).all()
    planned = visits["admitted"] + pd.to_timedelta((visits["month"] * 30.4375).round(), unit="D")
    assert (planned - visits["visited"]).dt.days.between(0, 20).all()


def test_stated_truth_of_sites_is_the_scenarios():
    from implstats.simulate import SITES

    stated = describe_example("multisite")["truth"]
    for site, scenario in SITES.items():
        for outcome, true in scenario.outcomes.items():
            told = {c: {float(m): d for m, d in at.items()} for c, at in stated["d"][outcome][site].items()}
            assert told == {c: pytest.approx(dict(at), abs=5e-5) for c, at in true.d.items()}
            assert stated["sd_baseline"][outcome] == true.sd
            share = true.d["during"][36] / true.d["before"][36]
            assert stated["improvement_retained"][site] == pytest.approx(share, abs=5e-5)


def test_sites_share_no_patient_and_no_therapist():
    visits = load_example("multisite")
    for column in ("patient", "therapist"):
        assert visits.groupby(column)["site"].nunique().max() == 1
    assert "NO" in set(visits["site"])


def test_stated_truth_of_programmes_is_the_scenarios():
    from implstats.simulate import PROGRAMMES

    true = PROGRAMMES.truth()
    for name in ("programmes", "programme_history"):
        stated = describe_example(name)["truth"]
        assert stated["hazard"] == {str(k): h for k, h in enumerate(PROGRAMMES.hazard, start=1)}
        assert sorted(stated["hazard"], key=stated["hazard"].get)[-2:] == ["2", "5"]
        assert stated["log_hazard_ratio"] == dict(zip(true["term"], true["log_hazard_ratio"], strict=True))
        assert stated["hazard_ratio"] == dict(zip(true["term"], true["hazard_ratio"].round(4), strict=True))
        for field in ("frailty_variance", "merging", "score_correlation"):
            assert stated[field] == getattr(PROGRAMMES, field)
    assert stated["restart"] == PROGRAMMES.restart
    assert stated["never_started"] == PROGRAMMES.never_started


def test_stated_truth_of_drop_out_is_the_scenarios():
    from implstats.simulate import REORGANISATION

    stated, rule = describe_example("reorganisation_dropout")["truth"], REORGANISATION.dropout
    assert stated["probability"] == rule.probability
    assert stated["odds_ratio_per_sd"] == round(np.exp(rule.per_sd), 4)


def test_programmes_are_spells_of_which_some_are_censored():
    programmes = load_example("programmes")
    assert programmes["programme"].is_unique
    assert (programmes["discontinued"] == (programmes["status"] == "stopped")).all()
    assert set(programmes["status"]) == {"active", "stopped", "merged"}
    assert programmes.groupby("organisation")["country"].nunique().max() == 1
    assert programmes["organisation"].nunique() == 39
    closing = (pd.Timestamp("2016-12-31") - programmes["started"]).dt.days / 365.25
    active = programmes["status"] == "active"
    np.testing.assert_allclose(programmes["years"][active], closing[active], atol=0.0005)
    assert (programmes["years"] <= closing + 0.0005).all()


def test_years_two_and_five_have_the_highest_risk():
    programmes = load_example("programmes")
    years, stopped = programmes["years"].to_numpy(), programmes["discontinued"].to_numpy() == 1
    rate = {
        k: (stopped & (years > k - 1) & (years <= k)).sum() / np.clip(years - (k - 1), 0, 1).sum() for k in range(1, 9)
    }
    assert sorted(rate, key=rate.get)[-2:] == [5, 2]


def test_history_tells_the_same_programmes():
    programmes, history = load_example("programmes"), load_example("programme_history")
    first = history[history["state"] == "active"].merge(programmes, on="programme", suffixes=("", "_there"))
    assert len(first) == len(programmes)
    assert (first["start"] == 0).all()
    assert (first["stop"] == first["years"]).all()
    assert (first["next_state"].replace("none", "active") == first["status"]).all()
    for column in ("country", "organisation", "era"):
        assert (first[column] == first[f"{column}_there"]).all()


def test_history_has_no_gap_and_no_spell_of_length_zero():
    history = load_example("programme_history")
    never = history["state"] == "never started"
    assert never.sum() == 8
    assert history.loc[never, ["start", "stop"]].isna().all(axis=None)
    assert set(history.loc[never, "programme"]).isdisjoint(load_example("programmes")["programme"])
    seen = history[~never]
    assert (seen["stop"] > seen["start"]).all()
    after = seen.groupby("programme").shift(-1)
    followed = after["state"].notna()
    assert (after.loc[followed, "start"] == seen.loc[followed, "stop"]).all()
    assert (after.loc[followed, "state"] == seen.loc[followed, "next_state"]).all()
    assert (seen.loc[~followed, "next_state"] == "none").all()
    assert (seen["state"] == "restarted").sum() > 10


def test_dropout_is_that_of_the_visits():
    from implstats.simulate import dropout_spells

    visits, dropout = load_example("reorganisation"), load_example("reorganisation_dropout")
    pd.testing.assert_frame_equal(dropout_spells(visits).round({"months": 2}), dropout)
    ends = visits.groupby("patient").agg({"month": "max", "end_reason": "first"}).reset_index()
    assert (ends["month"] == dropout["last_visit"]).all()
    assert (ends["end_reason"] == dropout["status"]).all()
    left = dropout[dropout["dropped_out"] == 1]
    assert (left["status"] == "dropped out").all()
    assert left["months"].between(left["last_visit"], left["next_visit"]).all()
    assert (dropout.loc[dropout["dropped_out"] == 0, "months"] == 36).all()


def test_programmes_answer_the_calls_of_the_design():
    spells = load_example("programmes")
    roles = {"duration": "years", "event": "discontinued"}
    cox = ist.fit_cox(spells, **roles, terms="era + leadership + support", cluster="organisation")
    table = cox.tidy().set_index("term")
    true = describe_example("programmes")["truth"]["log_hazard_ratio"]
    for term in ("era[late]", "leadership", "support"):
        assert abs(table.loc[term, "estimate"] - true[term]) < 3 * table.loc[term, "std_error"]
    assert ist.logrank(spells, **roles, by="era", strata="country").df == 1
    curves = ist.survival_curves(spells, **roles, by="era")
    assert curves.at([5])["group"].tolist() == ["early", "late"]
    incidence = ist.cumulative_incidence(spells, duration="years", event="status", censored="active")
    assert list(incidence.causes) == ["merged", "stopped"]


def test_drop_out_goes_into_survival_models_as_it_is():
    dropout = load_example("reorganisation_dropout")
    roles = {"duration": "months", "event": "status", "censored": "completed"}
    curves = ist.survival_curves(dropout, **roles, by="cohort").at([36]).set_index("group")
    staying = 1 - dropout.groupby("cohort")["dropped_out"].mean()
    np.testing.assert_allclose(curves["estimate"], staying.loc[curves.index], rtol=1e-12)
    incidence = ist.cumulative_incidence(dropout, **roles, by="cohort").at([36]).set_index("group")
    np.testing.assert_allclose(incidence["estimate"], 1 - curves["estimate"], rtol=1e-9)
    between = ist.fit_parametric(dropout, lower="last_visit", upper="next_visit", terms="cohort")
    exact = ist.fit_parametric(dropout, duration="months", event="dropped_out", terms="cohort")
    gap = between.tidy().set_index("term")["estimate"] - exact.tidy().set_index("term")["estimate"]
    assert abs(gap["cohort[during]"]) < 0.1


def test_files_of_an_example():
    names = [file.name for file in example_files("reorganisation")]
    assert names[:2] == ["reorganisation.csv", "reorganisation.json"]
    assert names[2:] in ([], ["reorganisation.toml"])


def test_unknown_name():
    with pytest.raises(DataError, match=r"^name='reorganization': no such example; did you mean 'reorganisation'\?$"):
        load_example("reorganization")
    with pytest.raises(DataError, match=r"^name=3: no such example; there are 'adherence_consensus', "):
        example_files(3)
