"""The tree of errors, and the record that a failed fit carries."""

from __future__ import annotations

import copy
import pickle
import warnings

import pytest

from implstats import errors
from implstats.errors import BoundaryWarning, ConvergenceError, DataError, ImplstatsError, PlanError

RECORD = {"method": "reml", "iterations": 12, "reason": "the gradient did not vanish"}


@pytest.mark.parametrize("kind", [DataError, PlanError, ConvergenceError])
def test_one_base_catches_every_error(kind: type[ImplstatsError]) -> None:
    with pytest.raises(ImplstatsError, match=r"^what went wrong$"):
        raise kind("what went wrong")


@pytest.mark.parametrize("kind", [DataError, PlanError])
def test_bad_input_is_also_a_value_error(kind: type[Exception]) -> None:
    with pytest.raises(ValueError, match=r"^outcome='scor': no such column$"):
        raise kind("outcome='scor': no such column")


def test_a_fit_that_did_not_end_is_no_value_error() -> None:
    assert not issubclass(ConvergenceError, ValueError)


def test_a_record_is_carried() -> None:
    error = ConvergenceError("no optimum", RECORD)
    assert str(error) == "no optimum"
    assert error.record == RECORD


def test_without_a_record_there_is_an_empty_one() -> None:
    assert ConvergenceError("no optimum").record == {}


def test_the_record_is_a_copy() -> None:
    given = dict(RECORD)
    error = ConvergenceError("no optimum", given)
    given["iterations"] = 0
    assert error.record["iterations"] == 12


@pytest.mark.parametrize("again", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_the_record_survives_a_worker_process(again: object) -> None:
    error = again(ConvergenceError("no optimum", RECORD))  # type: ignore[operator]
    assert type(error) is ConvergenceError
    assert (str(error), error.record) == ("no optimum", RECORD)


def test_the_boundary_is_a_warning_of_the_users() -> None:
    with pytest.warns(BoundaryWarning, match=r"^variance of site is 0$"):
        warnings.warn("variance of site is 0", BoundaryWarning, stacklevel=1)
    assert issubclass(BoundaryWarning, UserWarning)
    assert not issubclass(BoundaryWarning, ImplstatsError)


def test_the_list_of_names_is_the_module() -> None:
    made_here = {n for n, v in vars(errors).items() if isinstance(v, type) and v.__module__ == errors.__name__}
    assert sorted(made_here) == errors.__all__
