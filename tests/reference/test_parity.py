"""The record of how near we come to other programs is that of the tests and references that stand beside it."""

from __future__ import annotations

import ast
import hashlib
import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
RECORD = json.loads((HERE / "parity.json").read_text(encoding="utf-8"))
AGAIN = "python tests/reference/parity.py --write"
# Tests that compare no numbers, or hold them between limits.
WITHOUT_NUMBERS = {
    "test_boundary_is_said_where_there_is_one",
    "test_the_matrix_is_full",
    "test_the_reference_holds_what_is_hard",
    "test_lung_medians",
    "test_published_survival",
    "test_cloglog_is_near_the_cox_model_of_the_times_behind_the_periods",
    "test_logit_is_near_the_exact_partial_likelihood_of_the_periods",
    "test_criterion_is_no_higher_than_the_reference",
}


def test_it_is_of_these_references() -> None:
    found = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for path in HERE.glob("*.json")
        if path.name != "parity.json"
    }
    assert found == RECORD["references"], AGAIN


def test_it_names_every_test() -> None:
    for file in HERE.glob("test_*_reference.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        tests = {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}
        recorded = set(RECORD["tests"][file.name])
        assert recorded <= tests, AGAIN
        assert tests - recorded <= WITHOUT_NUMBERS, f"{file.name}: {AGAIN}"


def test_the_differences_are_small() -> None:
    found = [one for tests in RECORD["tests"].values() for one in tests.values()]
    assert sum(one["values"] for one in found) > 50_000
    # Only what is known as printed differs by more than the tolerances of the references.
    apart = [test for tests in RECORD["tests"].values() for test, one in tests.items() if one.get("relative", 0) > 2e-5]
    assert apart == ["test_sas_reaches_the_same_criterion_and_covariance"]
