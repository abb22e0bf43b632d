"""Balance tables: by hand, with weights, and the exact words of refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError

ROLES = {"cohort": "cohort", "reference": "before"}
SMALL = pd.DataFrame(
    {
        "cohort": ["before"] * 4 + ["during"] * 3,
        "age": [20.0, 30.0, 40.0, 50.0, 30.0, 40.0, 50.0],
        "sex": ["f", "f", "m", "m", "f", "f", "m"],
        "care": ["a", "b", "c", "a", "a", "b", None],
        "first": [0, 1, 1, 1, 0, 0, 1],
        "w": [1.0, 1.0, 2.0, 2.0, 3.0, 1.0, 1.0],
    }
)


def line(table: pd.DataFrame, term: str, level: str = "", weighted: bool = False) -> pd.Series:
    found = table[(table["term"] == term) & (table["level"] == level) & (table["weighted"] == weighted)]
    return found[found["cohort"] == "during"].iloc[0]


def test_numbers_and_shares_by_hand() -> None:
    table = ist.balance_table(SMALL, covariates=["age", "sex", "care", "first"], **ROLES).tidy()
    # Means 35 and 40, variances 500/3 and 100.
    age = line(table, "age")
    assert age["std_difference"] == pytest.approx(5 / np.sqrt((500 / 3 + 100) / 2))
    error = np.sqrt(1 / 3 + 1 / 4 + age["std_difference"] ** 2 / 14)
    assert age["conf_high"] - age["std_difference"] == pytest.approx(1.959963985 * error)
    # Shares of men 1/2 and 1/3: variances 1/4 and 2/9.
    assert line(table, "sex", "m")["std_difference"] == pytest.approx((1 / 3 - 1 / 2) / np.sqrt((1 / 4 + 2 / 9) / 2))
    assert line(table, "sex", "m")["count"] == pytest.approx(1)
    care = table[(table["term"] == "care") & (table["cohort"] == "during")]
    assert care["level"].tolist() == ["a", "b", "c"]
    assert care["missing"].tolist() == [1, 1, 1]
    assert care["share"].tolist() == [0.5, 0.5, 0.0]
    assert line(table, "first", "1")["share"] == pytest.approx(1 / 3)


def test_weighted_lines_by_hand() -> None:
    table = ist.balance_table(SMALL, covariates=["age"], weights="w", **ROLES).tidy()
    # Means (20 + 30 + 80 + 100) / 6 and (90 + 40 + 50) / 5, over the SDs before weighting.
    expected = (36 - 230 / 6) / np.sqrt((500 / 3 + 100) / 2)
    after = line(table, "age", weighted=True)
    assert after["std_difference"] == pytest.approx(expected)
    worth = 25 / 11, 36 / 10
    error = np.sqrt(1 / worth[0] + 1 / worth[1] + expected**2 / (2 * sum(worth)))
    assert (after["conf_high"] - after["conf_low"]) / 2 == pytest.approx(1.959963985 * error)


def test_equal_weights_change_nothing() -> None:
    one = ist.balance_table(SMALL.assign(w=7.0), covariates=["age", "sex"], weights="w", **ROLES).tidy()
    columns = ["mean", "sd", "share", "std_difference", "conf_low", "conf_high"]
    before, after = (one.loc[one["weighted"] == w, columns].to_numpy(float) for w in (False, True))
    np.testing.assert_allclose(after, before)


def test_several_rows_of_a_patient_count_once() -> None:
    rows = pd.concat([SMALL.assign(id=range(7))] * 3, ignore_index=True)
    once = ist.balance_table(SMALL, covariates=["age", "care"], **ROLES).tidy()
    often = ist.balance_table(rows, covariates=["age", "care"], patient="id", weights="w", **ROLES)
    pd.testing.assert_frame_equal(often.tidy().query("not weighted").reset_index(drop=True), once)


def test_printed_as_a_table_one() -> None:
    shown = repr(ist.balance_table(SMALL, covariates=["age", "sex", "care"], weights="w", **ROLES))
    assert "35 (12.9)" in shown
    assert "2 (50.0 %)" in shown
    assert "missing, and left out of that line: 1 care" in shown
    assert "-0.00" not in repr(ist.balance_table(SMALL.assign(age=1.0), covariates=["age"], **ROLES))


def test_swapping_the_reference_turns_the_sign() -> None:
    one = ist.balance_table(SMALL, covariates=["age", "sex"], **ROLES).tidy()
    other = ist.balance_table(SMALL, covariates=["age", "sex"], cohort="cohort", reference="during").tidy()
    np.testing.assert_allclose(one["std_difference"].dropna().to_numpy(), -other["std_difference"].dropna().to_numpy())


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "column": ({"covariates": ["agee"]}, "covariates='agee': no such column; did you mean 'age'?"),
    "none": ({"covariates": []}, "covariates=[]: no column is named; name what was known at the start"),
    "role": ({"covariates": ["cohort"]}, "covariates='cohort': has a role of its own; leave it out"),
    "weights": (
        {"covariates": ["age"], "weights": "first"},
        "weights='first': zero or negative in rows 0, 4, 5; leave these patients out",
    ),
    "index": (
        {"covariates": ["age"], "weights": pd.Series([1.0])},
        "weights: a Series with another index than the frame; give weights that were made from it",
    ),
    "changing": (
        {"covariates": ["age"], "patient": "sex"},
        "patient='sex': 'cohort' changes within a patient (rows 4, 5, 6); give the rows of one visit, as "
        "frame[frame['month'] == 0]\n"
        "patient='sex': 'age' changes within a patient (rows 1, 3, 4 and 2 more); give the rows of one visit, as "
        "frame[frame['month'] == 0]",
    ),
    "reference": (
        {"covariates": ["age"], "reference": "befor"},
        "reference='befor': no such cohort; did you mean 'before'?",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_exact_words(case: str) -> None:
    options, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        ist.balance_table(SMALL, **(ROLES | options))
    assert str(caught.value) == message


def test_missing_values_of_nullable_columns_stay_alike_within_a_patient() -> None:
    frame = pd.concat([SMALL, SMALL]).assign(patient=[*range(7)] * 2)
    frame["age"] = frame["age"].astype("Int64").mask(frame["patient"] == 2)
    frame["care"] = frame["care"].astype("string")
    table = ist.balance_table(frame, covariates=["age", "care"], patient="patient", **ROLES).tidy()
    assert table.query("term == 'age' and cohort == 'before'")["missing"].item() == 1


def test_a_covariate_that_one_cohort_lacks_has_no_difference() -> None:
    frame = SMALL.assign(age=SMALL["age"].where(SMALL["cohort"] == "during"))
    age = line(ist.balance_table(frame, covariates=["age", "sex"], **ROLES).tidy(), "age")
    assert age["mean"] == 40
    assert age[["std_difference", "conf_low", "conf_high"]].isna().all()


def test_a_number_that_is_constant_in_both_cohorts_but_differs_is_infinitely_far_apart() -> None:
    frame = SMALL.assign(age=np.where(SMALL["cohort"] == "before", 30.0, 40.0))
    age = line(ist.balance_table(frame, covariates=["age"], **ROLES).tidy(), "age")
    assert age["std_difference"] == np.inf
    assert np.isnan(age["conf_low"])


def test_the_unit_of_weights_does_not_matter() -> None:
    one, other = (
        ist.balance_table(SMALL.assign(w=scale * SMALL["w"]), covariates=["age", "sex"], weights="w", **ROLES).tidy()
        for scale in (1.0, 1e-200)
    )
    pd.testing.assert_frame_equal(one, other)


def test_lines_above_the_mark_are_counted_once_with_several_cohorts() -> None:
    frame = pd.DataFrame({"cohort": list("aabbcc"), "age": [1.0, 2.0, 11.0, 12.0, 21.0, 22.0]})
    found = ist.balance_table(frame, cohort="cohort", reference="a", covariates=["age"])
    assert found.glance()["marked"].item() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"covariates": None}, "covariates=None: no column is named; name what was known at the start"),
        ({"weights": np.ones(7)}, "weights: a ndarray; name a column, or give a Series on the frame's index"),
        (
            {"weights": pd.Series([np.nan] * 4 + [1.0] * 3)},
            "weights: nobody of 'before' has one; a comparison takes two cohorts",
        ),
        ({"weights": pd.Series([np.nan] * 7)}, "weights='weight': every value is missing"),
    ],
)
def test_covariates_and_weights_that_are_none_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        ist.balance_table(SMALL, **({"covariates": ["age"]} | options), **ROLES)
    assert str(caught.value).startswith(message)


def test_a_cohort_may_be_called_like_a_column_of_the_printed_table() -> None:
    frame = SMALL.replace({"cohort": {"before": "term", "during": "std_difference"}})
    words = repr(ist.balance_table(frame, cohort="cohort", reference="term", covariates=["age"]))
    assert "term (n 4)" in words
    assert "std_difference (n 3)" in words
    assert "35 (12.9)" in words
