"""What holds for every result: it cannot be changed, prints, is saved and read back, and names its columns."""

from __future__ import annotations

import copy
import dataclasses
import functools
import html.parser
import inspect
import json
import pickle
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from implstats.results import COLUMNS, SCHEMA
from implstats.tables import read_tables


def _public(thing: Any) -> Iterator[tuple[str, Any]]:
    for name in dir(thing):
        static = inspect.getattr_static(type(thing), name, None)
        if not name.startswith("_") and (
            isinstance(static, functools.cached_property) or not inspect.isroutine(static)
        ):
            yield name, getattr(thing, name)


def _arrays(thing: Any, path: str = "result", seen: set[int] | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """Walk public attributes, mappings and sequences; yield every numpy array met, with its path."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, np.ndarray):
        yield path, thing
    elif isinstance(thing, Mapping):
        for key, value in thing.items():
            yield from _arrays(value, f"{path}[{key!r}]", seen)
    elif isinstance(thing, list | tuple):
        for k, value in enumerate(thing):
            yield from _arrays(value, f"{path}[{k}]", seen)
    elif type(thing).__module__.startswith("implstats"):
        for name, value in _public(thing):
            yield from _arrays(value, f"{path}.{name}", seen)


def test_every_result_has_an_example(without_example: list[str]) -> None:
    assert without_example == [], "say in tests/contracts/conftest.py how to make one"


def test_it_is_a_frozen_dataclass_without_a_repr_or_equality_of_its_own_making(example: Any) -> None:
    parameters = type(example).__dataclass_params__
    assert parameters.frozen
    assert not parameters.repr, "repr=False, or the dataclass replaces the printed result"
    assert not parameters.eq, "eq=False, or comparing two results raises on their arrays"
    assert (example == pickle.loads(pickle.dumps(example))) is False
    assert isinstance(hash(example), int)


def test_nothing_can_be_set_or_deleted(example: Any) -> None:
    for name in [f.name for f in dataclasses.fields(example)] + ["brand_new"]:
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(example, name, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        delattr(example, "call")


@pytest.mark.parametrize("how", ["made", "unpickled", "copied"])
def test_arrays_are_read_only(example: Any, how: str) -> None:
    if how == "unpickled":
        example = pickle.loads(pickle.dumps(example))
    elif how == "copied":
        example = copy.deepcopy(example)
    assert [path for path, array in _arrays(example) if array.flags.writeable] == []


def test_a_table_that_is_handed_out_can_be_changed_without_changing_the_result(example: Any) -> None:
    mine = pickle.loads(pickle.dumps(example))
    printed = repr(mine)
    for name, value in [*_public(mine), ("tidy()", mine.tidy()), ("glance()", mine.glance())]:
        if isinstance(value, pd.DataFrame):
            for k, column in enumerate(value.columns):
                if value[column].dtype.kind == "f":
                    value.iloc[0, k] = -12345.5
            del value[value.columns[0]]
        elif isinstance(value, pd.Series) and value.dtype.kind == "f":
            value.iloc[0] = -12345.5
        else:
            continue
        if not name.endswith("()"):
            assert not getattr(mine, name).equals(value), f"{name} is the result's own table"
    assert repr(mine) == printed


def test_unpickling_gives_the_same_result(example: Any) -> None:
    again = pickle.loads(pickle.dumps(example))
    assert repr(again) == repr(example)
    assert again.to_dict() == example.to_dict()


def test_columns_come_from_the_list(example: Any) -> None:
    for table in (example.tidy(), example.glance()):
        assert [str(c) for c in table.columns if c not in COLUMNS] == []
        assert table.columns.is_unique


def test_rows_are_numbered_and_glance_is_one_of_them(example: Any) -> None:
    assert len(example.tidy()) > 0
    assert list(example.tidy().index) == list(range(len(example.tidy())))
    assert len(example.glance()) == 1


def test_asking_twice_gives_the_same(example: Any) -> None:
    assert_frame_equal(example.tidy(), example.tidy(), check_exact=True)


def test_header_is_sentences(example: Any) -> None:
    assert example.header()
    assert all(isinstance(line, str) and line.strip() and "\n" not in line for line in example.header())


def test_repr_is_words_and_not_an_address(example: Any) -> None:
    text = repr(example)
    assert text.strip()
    assert not re.search(r"\b0x[0-9a-f]{4,}|<[^>]+ object at", text)
    assert not text.startswith(f"{type(example).__name__}(")


def test_json_round_trip(example: Any) -> None:
    record = json.loads(json.dumps(example.to_dict(), allow_nan=False))
    assert record["schema"] == SCHEMA
    assert record["kind"] == type(example).__name__
    assert record["header"] == example.header()
    assert record["call"], "the call is not recorded"
    tables = read_tables(record)
    assert_frame_equal(tables["tidy"], example.tidy(), check_exact=True)
    assert_frame_equal(tables["glance"], example.glance(), check_exact=True)


class _Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)


def test_html_holds_no_tag_of_the_datas(hostile_example: Any) -> None:
    tags = _Tags()
    tags.feed(hostile_example._repr_html_())
    assert tags.found <= {"div", "p", "br", "table", "thead", "tbody", "tr", "th", "td"}


def test_markdown_holds_no_tag_and_every_row_has_its_cells(hostile_example: Any) -> None:
    text = hostile_example.to_markdown()
    assert "<script" not in text
    rows = [line for line in text.split("\n") if line.startswith("| ")]
    assert len(rows) > 2
    cells = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert len(cells) == 1, rows


def test_latex_escapes_what_it_must(hostile_example: Any) -> None:
    lines = hostile_example.to_latex().split("\n")
    columns = {len(re.findall(r"(?<!\\)&", line)) for line in lines if line.endswith(r"\\")}
    assert len(columns) == 1, lines
    body = "\n".join(line for line in lines if line.endswith(r"\\"))
    assert not re.search(r"(?<!\\)[%_#]|[<>|]", body), body


def test_the_terminal_shows_names_as_they_are(hostile_example: Any) -> None:
    assert "<script>" in repr(hostile_example)
    json.dumps(hostile_example.to_dict(), allow_nan=False)
