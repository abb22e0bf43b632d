"""Every bundled table agrees with its dictionary, and the simulated one with its generator, byte for byte."""

import hashlib
import json
import re

import numpy as np
import pandas as pd
import pytest

from implstats.errors import DataError
from implstats.examples import describe_example, example_files, list_examples, load_example

NAMES = list_examples()["name"].tolist()
FILE_KEYS = ["name", "title", "rows", "source", "licence", "missing", "generator", "seed", "truth", "notes", "columns"]
COLUMN_KEYS = ["name", "label", "unit", "type", "levels", "missing", "range", "better"]
FROZEN = "dfeaa7f129968846a68a88eca9260f96a3782aae249d98df5a28500323deb259"


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
        if column["levels"] is not None:
            assert set(values.dropna()) <= set(column["levels"])
        if column["range"] is not None:
            low, high = column["range"] if kind != "M" else map(pd.Timestamp, column["range"])
            assert values.dropna().between(low, high).all()
        assert (column["range"] is not None) >= (kind is not None)


@pytest.mark.parametrize("name", NAMES)
def test_dictionary_text_is_plain_json(name):
    table, dictionary = example_files(name)[:2]
    text = dictionary.read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False) + "\n"
    assert b"\r" not in table.read_bytes()


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("reorganisation", "programme_phases")])
def test_published_tables_name_their_source(name):
    assert re.search(r"DOI 10\.\d{4,}/\S+", describe_example(name)["source"])


def test_reorganisation_is_frozen(tmp_path, monkeypatch):
    table = example_files("reorganisation")[0].read_bytes()
    assert hashlib.sha256(table).hexdigest() == FROZEN
    described = describe_example("reorganisation")
    assert f"rng={described['seed']}" in described["generator"]
    monkeypatch.chdir(tmp_path)
    exec(described["generator"], {})
    assert (tmp_path / "reorganisation.csv").read_bytes() == table


def test_reorganisation_says_that_it_is_simulated():
    described = describe_example("reorganisation")
    assert described["source"] == "simulated; not the data of Bales et al. 2017"
    assert described["notes"][0] == "simulated; not the data of Bales et al. 2017"


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


def test_files_of_an_example():
    names = [file.name for file in example_files("reorganisation")]
    assert names[:2] == ["reorganisation.csv", "reorganisation.json"]
    assert names[2:] in ([], ["reorganisation.toml"])


def test_unknown_name():
    with pytest.raises(DataError, match=r"^name='reorganization': no such example; did you mean 'reorganisation'\?$"):
        load_example("reorganization")
    with pytest.raises(DataError, match=r"^name=3: no such example; there are 'adherence_consensus', "):
        example_files(3)
