"""The design of a growth model: its columns by hand, names, empty cells, rows for new questions, and its locks."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats.design.growth import growth_design
from implstats.design.time import Piecewise
from implstats.errors import DataError


def made(cohorts: tuple[str, ...] = ("before", "during"), each: int = 4) -> pd.DataFrame:
    """Return a few patients per cohort at times 0, 1 and 2."""
    n = each * len(cohorts)
    rng = np.random.default_rng(2)
    return pd.DataFrame(
        {
            "patient": np.repeat([f"p{k}" for k in range(n)], 3),
            "cohort": np.repeat(cohorts, 3 * each),
            "t": np.tile([0, 1, 2], n),
            "y": rng.normal(size=3 * n).round(2),
            "age": np.repeat(rng.integers(20, 60, n), 3),
            "sex": np.repeat(np.tile(["f", "m"], n // 2), 3),
            "site": np.repeat(np.tile(["A", "B", "C", "D"], n // 4), 3),
        }
    )


def design(frame: pd.DataFrame, **options: Any) -> Any:
    given = {
        "outcome": "y",
        "time": "t",
        "patient": "patient",
        "cohort": "cohort",
        "reference": "before",
        "baseline": 0,
        "shape": "visits",
        "adjust": None,
        "random": "slope",
        "groups": None,
        "missing": "drop",
        "time_unit": None,
    }
    return growth_design(frame, **(given | options))


def column(made_design: Any, name: str) -> np.ndarray:
    return made_design.X[:, made_design.names.index(name)]


def test_visits_by_cohort_by_hand() -> None:
    frame = made()
    d = design(frame)
    assert d.names == ("(Intercept)", "t[1]", "t[2]", "cohort[during]", "t[1]:cohort[during]", "t[2]:cohort[during]")
    during = (frame["cohort"] == "during").to_numpy()
    np.testing.assert_array_equal(column(d, "(Intercept)"), 1)
    np.testing.assert_array_equal(column(d, "t[2]"), frame["t"] == 2)
    np.testing.assert_array_equal(column(d, "cohort[during]"), during)
    np.testing.assert_array_equal(column(d, "t[2]:cohort[during]"), (frame["t"] == 2) & during)


def test_lines_by_cohort_by_hand() -> None:
    frame = made(("before", "during", "after"))
    d = design(frame, shape="linear")
    assert d.names == ("(Intercept)", "t", "cohort[after]", "cohort[during]", "t:cohort[after]", "t:cohort[during]")
    np.testing.assert_array_equal(column(d, "t:cohort[after]"), frame["t"] * (frame["cohort"] == "after"))


def test_every_column_of_a_basis_meets_every_cohort() -> None:
    d = design(made(("before", "during", "after")), shape=Piecewise([1]))
    crossed = [name for name in d.names if ":" in name]
    assert crossed == ["t:cohort[after]", "t:cohort[during]", "t>1:cohort[after]", "t>1:cohort[during]"]


def test_covariates_stand_before_the_interactions_as_r_writes_them() -> None:
    d = design(made(), shape="linear", adjust="age + sex")
    assert d.names == ("(Intercept)", "t", "cohort[during]", "age", "sex[m]", "t:cohort[during]")
    assert d.formula == "y ~ t * cohort + age + sex + (1 + t | patient)"


@pytest.mark.parametrize(("adjust", "text"), [(["age"], " + age"), ("age", " + age"), (None, ""), ([], "")])
def test_the_formula_names_the_covariates(adjust: Any, text: str) -> None:
    assert design(made(), shape="linear", adjust=adjust).formula == f"y ~ t * cohort{text} + (1 + t | patient)"


@pytest.mark.parametrize(
    ("random", "effects"),
    [
        ("intercept", [("(Intercept)",)]),
        ("slope", [("(Intercept)", "t")]),
        ("uncorrelated", [("(Intercept)",), ("t",)]),
    ],
)
def test_random_terms(random: str, effects: list[tuple[str, ...]]) -> None:
    d = design(made(), random=random)
    assert [term.effects for term in d.terms] == effects
    assert {term.group for term in d.terms} == {"patient"}
    for term in d.terms:
        assert term.Z.shape == (24, len(term.effects))


def test_the_random_slope_is_on_time_or_its_log() -> None:
    frame = made()
    np.testing.assert_array_equal(design(frame).terms[0].Z[:, 1], frame["t"])
    np.testing.assert_allclose(design(frame, shape="log").terms[0].Z[:, 1], np.log1p(frame["t"]))


def test_a_clusters_change_is_zero_at_the_baseline() -> None:
    frame = made()
    d = design(frame, groups="site", baseline=1)
    for own in d.terms[-2:]:
        assert own.effects == ("(t - 1)",)
        np.testing.assert_array_equal(own.Z[:, 0], frame["t"] - 1)


def test_a_clusters_difference_does_not_know_the_reference() -> None:
    d = design(made(("before", "during", "after")), groups="site")
    assert [(t.group, t.effects) for t in d.terms if t.group != "patient"] == [
        ("site", ("(Intercept)",)),
        ("site", ("t",)),
        ("site:cohort", ("t",)),
    ]
    assert len(d.terms[-1].levels) == 3 * len(d.terms[-2].levels)


def test_rows_for_a_question_are_those_of_the_data() -> None:
    frame = made(("before", "during", "after"))
    for shape in ("visits", "linear", "quadratic", "log", Piecewise([1])):
        d = design(frame, shape=shape)
        np.testing.assert_allclose(d.rows(d.cohort_codes, d.t), d.X)
        np.testing.assert_allclose(d.fixed_rows(frame), d.X)
        np.testing.assert_allclose(d.random_rows(frame, 0), d.terms[0].Z)


def test_rows_without_covariates_stand_at_their_means() -> None:
    frame = made()
    d = design(frame, shape="linear", adjust="age + sex")
    row = dict(zip(d.names, d.rows(np.array([1]), np.array([2.0]))[0], strict=True))
    assert row["age"] == pytest.approx(frame["age"].mean())
    assert row["sex[m]"] == pytest.approx(0.5)
    assert row["t:cohort[during]"] == 2


def test_an_empty_cell_has_no_column() -> None:
    frame = made().query("not (cohort == 'during' and t == 2)")
    d = design(frame)
    assert d.cells == {(1, 2.0)}
    assert "t[2]:cohort[during]" not in d.names
    assert np.linalg.matrix_rank(d.X) == d.X.shape[1]


def test_an_empty_cell_of_the_reference_leaves_the_others() -> None:
    frame = made(("before", "during", "after")).query("not (cohort == 'before' and t == 2)")
    d = design(frame)
    assert d.cells == {(0, 2.0)}
    assert np.linalg.matrix_rank(d.X) == d.X.shape[1]
    # Two cohorts were seen at the last time: its own column and one difference.
    assert sum(name.startswith("t[2]") for name in d.names) == 2


def test_a_cell_that_is_empty_at_the_baseline_is_refused() -> None:
    with pytest.raises(DataError, match="baseline=0: cohort 'during' has no visit at this time"):
        design(made().query("not (cohort == 'during' and t == 0)"), random="intercept")


def test_a_cell_that_is_empty_at_the_first_time_alone_is_named_as_that_time() -> None:
    with pytest.raises(DataError) as caught:
        design(made().query("not (cohort == 'during' and t == 0)"), random="intercept", baseline=1)
    assert "baseline=0" not in str(caught.value)


def test_what_it_remembers() -> None:
    frame = made().query("not (cohort == 'during' and t == 2)")
    d = design(frame)
    assert d.cohorts == ("before", "during")
    assert d.times == (0.0, 1.0, 2.0)
    assert d.last_seen == {"before": 2.0, "during": 1.0}
    assert d.sample.patients == {"before": 4, "during": 4}
    assert d.sample.seen[-1] == ("during", 2.0, 0)
    assert d.sample.groups == {"patient": 8}
    pd.testing.assert_index_equal(d.labels, frame.index)


def test_many_times_are_no_visits() -> None:
    frame = made(each=8)
    frame["t"] = frame["t"] + np.where(frame["t"] > 0, np.arange(len(frame)) / 100, 0)
    d = design(frame, shape="linear")
    assert d.times == ()
    assert d.sample.seen == ()


@pytest.mark.parametrize("how", ["made", "unpickled"])
def test_its_arrays_are_read_only(how: str) -> None:
    d = design(made(), adjust="age")
    if how == "unpickled":
        d = pickle.loads(pickle.dumps(d))
    for array in (d.y, d.X, d.t, d.cohort_codes, d.patient_codes, d.average, d.terms[0].Z, d.terms[0].of_row):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_the_callers_columns_stay_writable_and_apart() -> None:
    frame = made().astype({"t": float})
    d = design(frame)
    y, t = d.y.copy(), d.t.copy()
    frame.loc[:, ["y", "t"]] = 0.0
    frame["y"].to_numpy(copy=True)[0] = 1.0
    np.testing.assert_array_equal(d.y, y)
    np.testing.assert_array_equal(d.t, t)
    np.testing.assert_array_equal(d.roles["y"], y)
    np.testing.assert_array_equal(d.roles["t"], t)


def test_a_baseline_column_makes_one_row_a_patient_first() -> None:
    frame = made()
    pre = frame[frame["t"] == 0].set_index("patient")["y"]
    later = frame.assign(pre=frame["patient"].map(pre)).query("t > 0")
    d = design(later, baseline="pre")
    assert d.sample.added == 8
    assert d.sample.given == 16
    assert d.baseline == 0
    np.testing.assert_array_equal(d.t[:8], 0)
    np.testing.assert_array_equal(d.y[:8], pre)
    assert d.labels[:8].tolist() == later.drop_duplicates("patient").index.tolist()
