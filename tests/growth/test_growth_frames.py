"""Whatever the frame looks like: index, types, ids and order do not matter, and nobody's frame is touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError

Fit = Callable[..., Any]
Make = Callable[..., pd.DataFrame]
ROLES = {"time": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}

INDEXES: dict[str, Callable[[pd.DataFrame], pd.Index]] = {
    "text": lambda frame: pd.Index([f"row {k}" for k in range(len(frame))], name="who"),
    "not unique": lambda frame: pd.Index(np.zeros(len(frame), dtype=int)),
    "several levels": lambda frame: pd.MultiIndex.from_arrays([frame["patient"], frame["month"]], names=["p", "visit"]),
    "backwards": lambda frame: pd.RangeIndex(len(frame), 0, -1),
    "dates": lambda frame: pd.date_range("2008-01-07", periods=len(frame)),
}

KINDS: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "patient as text": lambda f: f.assign(patient="p" + f["patient"].astype(str)),
    "patient as string": lambda f: f.assign(patient=f["patient"].astype("string")),
    "patient as float": lambda f: f.assign(patient=f["patient"] / 2),
    "patient as Int64": lambda f: f.assign(patient=f["patient"].astype("Int64")),
    "patient as category": lambda f: f.assign(patient=pd.Categorical(f["patient"], categories=range(100, -1, -1))),
    "patient as date": lambda f: f.assign(patient=pd.Timestamp("1980-01-01") + pd.to_timedelta(f["patient"], unit="D")),
    "cohort as string": lambda f: f.assign(cohort=f["cohort"].astype("string")),
    "cohort as category": lambda f: f.assign(cohort=f["cohort"].astype("category")),
    "cohort with unused categories": lambda f: f.assign(
        cohort=pd.Categorical(f["cohort"], categories=["never", "during", "before", "after"])
    ),
    "time as Int64": lambda f: f.assign(month=f["month"].astype("Int64")),
    "time as float": lambda f: f.assign(month=f["month"].astype(float)),
    "time as int8": lambda f: f.assign(month=f["month"].astype("int8")),
    "outcome as Float64": lambda f: f.assign(score=f["score"].astype("Float64")),
    "outcome as object": lambda f: f.assign(score=f["score"].astype(object)),
    "outcome as numbers in text": lambda f: f.assign(score=f["score"].astype(str)),
    "covariate as Int64": lambda f: f.assign(age=f["age"].astype("Int64")),
    "covariate as string": lambda f: f.assign(sex=f["sex"].astype("string")),
    "covariate as category": lambda f: f.assign(sex=pd.Categorical(f["sex"], categories=["f", "m", "x"])),
    "covariate as boolean": lambda f: f.assign(sex=(f["sex"] == "m").astype("boolean")),
}


@pytest.fixture(scope="module")
def adjusted(study_frame: pd.DataFrame, fit: Fit) -> Any:
    return fit(study_frame, adjust=["age", "sex"])


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES.keys())
def test_augment_keeps_the_callers_index(
    study_frame: pd.DataFrame, fit: Fit, adjusted: Any, index: Callable[[pd.DataFrame], pd.Index]
) -> None:
    frame = study_frame.set_axis(index(study_frame))
    table = fit(frame, adjust=["age", "sex"]).augment()
    pd.testing.assert_index_equal(table.index, frame.index)
    np.testing.assert_allclose(table["fitted"], adjusted.augment()["fitted"])


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES.keys())
def test_augment_keeps_the_callers_index_without_the_rows_that_were_dropped(
    study_frame: pd.DataFrame, fit: Fit, index: Callable[[pd.DataFrame], pd.Index]
) -> None:
    gone = np.isin(np.arange(len(study_frame)), [3, 50, 51])
    frame = study_frame.assign(score=study_frame["score"].mask(gone)).set_axis(index(study_frame))
    table = fit(frame).augment()
    pd.testing.assert_index_equal(table.index, frame.index[~gone])
    np.testing.assert_array_equal(table["score"], frame["score"].to_numpy()[~gone])
    np.testing.assert_array_equal(table["patient"], frame["patient"].to_numpy()[~gone])


def test_augment_names_the_roles_and_adds_up(adjusted: Any) -> None:
    table = adjusted.augment()
    assert table.columns.tolist() == [
        *("patient", "cohort", "month", "score"),
        *("fitted", "fixed", "residual", "std_residual"),
    ]
    np.testing.assert_allclose(table["fitted"] + table["residual"], table["score"])
    np.testing.assert_allclose(table["residual"] / table["std_residual"], adjusted.glance()["sigma"].item())


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())
def test_the_type_of_a_column_changes_no_answer(
    study_frame: pd.DataFrame, fit: Fit, adjusted: Any, kind: Callable[[pd.DataFrame], pd.DataFrame]
) -> None:
    frame = kind(study_frame)
    result = fit(frame, adjust=["age", "sex"])
    numbers = ["estimate", "std_error", "df", "p_value"]
    np.testing.assert_allclose(result.tidy()[numbers], adjusted.tidy()[numbers], rtol=1e-6)
    np.testing.assert_allclose(result.means().tidy()["estimate"], adjusted.means().tidy()["estimate"], rtol=1e-6)
    np.testing.assert_allclose(result.predict(frame)["estimate"], adjusted.augment()["fitted"], rtol=1e-6)
    assert (result.random_effects()["std_error"] > 0).all()
    assert result.cohorts == ("before", "during")


@pytest.mark.parametrize(
    ("cohorts", "reference"),
    [((0, 1), 0), ((2, 1), 2), ((False, True), False), ((1.5, 0.5), 1.5)],
    ids=["0 and 1", "2 and 1", "truth values", "fractions"],
)
def test_cohorts_need_not_be_text(
    make: Make, fit: Fit, by_visit: Any, cohorts: tuple[Any, Any], reference: Any
) -> None:
    result = fit(make(cohorts), reference=reference)
    assert result.cohorts == cohorts
    np.testing.assert_allclose(result.tidy()["estimate"], by_visit.tidy()["estimate"], rtol=1e-7)
    assert result.contrasts(at=18).tidy()["cohort"].tolist() == [cohorts[1]] * 2


def test_nullable_values_that_are_missing_are_dropped_and_counted(study_frame: pd.DataFrame, fit: Fit) -> None:
    frame = study_frame.assign(
        score=study_frame["score"].astype("Float64").where(study_frame.index != 3),
        month=study_frame["month"].astype("Int64").where(study_frame.index != 9),
        cohort=study_frame["cohort"].astype("string").where(study_frame.index != 17),
        age=study_frame["age"].astype("Int64").where(study_frame.index != 23),
        sex=(study_frame["sex"] == "m").astype("boolean").where(study_frame.index != 29),
    )
    result = fit(frame, adjust=["age", "sex"])
    assert result.sample.dropped == {f"{name} missing": 1 for name in ("score", "month", "cohort", "age", "sex")}
    assert result.augment().index.tolist() == [k for k in range(200) if k not in (3, 9, 17, 23, 29)]


@pytest.mark.parametrize("dtype", ["string", "Int64", "category"])
def test_a_missing_id_of_any_type_is_refused(study_frame: pd.DataFrame, fit: Fit, dtype: str) -> None:
    ids = study_frame["patient"].astype(dtype).where(study_frame.index != 7)
    with pytest.raises(DataError, match="patient='patient': missing in row 7; fill the ids in"):
        fit(study_frame.assign(patient=ids))


def test_the_order_of_rows_does_not_matter(study_frame: pd.DataFrame, fit: Fit, adjusted: Any) -> None:
    shuffled = study_frame.sample(frac=1, random_state=3)
    result = fit(shuffled, adjust=["age", "sex"])
    np.testing.assert_allclose(result.tidy().iloc[:, 1:], adjusted.tidy().iloc[:, 1:], rtol=1e-5)
    np.testing.assert_allclose(result.augment()["fitted"].sort_index(), adjusted.augment()["fitted"], rtol=1e-6)
    assert result.augment().index.tolist() == shuffled.index.tolist()


def test_no_call_changes_the_frame(make: Make, fit: Fit) -> None:
    frame = make(("before", "during", "after"))
    frame["pre"] = frame["patient"].map(frame[frame["month"] == 0].set_index("patient")["score"])
    frame["day"] = pd.Timestamp("2008-01-07") + pd.to_timedelta(frame["month"], unit="D")
    frame.loc[7, "score"] = np.nan
    kept = frame.copy(deep=True)
    result = fit(frame, adjust="age * sex", random="intercept")
    result.predict(frame, interval="prediction"), result.augment(), result.effect_sizes(), repr(result)
    fit(frame, time="day", time_unit="days", shape="linear", random="intercept")
    fit(frame.query("month > 0"), baseline="pre", random="intercept")
    ist.fit_mixed(frame, formula="score ~ month + (1 | patient)").predict(frame)
    ist.compare_cohorts(frame, outcomes={"score": "lower"}, at=18, **ROLES)
    pd.testing.assert_frame_equal(frame, kept)


def test_a_later_edit_of_the_frame_changes_nothing(make: Make, fit: Fit) -> None:
    frame = make()
    result = fit(frame, adjust=["age", "sex"])
    kept = result.augment(), result.tidy()
    frame.loc[:, "score"] = 0.0
    frame.loc[:, "month"] = 99
    frame.loc[:, "patient"] = 1
    frame.loc[:, "age"] = 0
    frame.index = range(500, 700)
    pd.testing.assert_frame_equal(result.augment(), kept[0])
    pd.testing.assert_frame_equal(result.tidy(), kept[1])
    pd.testing.assert_frame_equal(fit(make(), adjust=["age", "sex"]).means().tidy(), result.means().tidy())


def test_a_later_edit_changes_nothing_at_the_general_door_either(make: Make) -> None:
    frame = make()
    result = ist.fit_mixed(frame, formula="score ~ month + age + (1 + month | patient)")
    kept = result.augment(), result.predict()
    for column in ("score", "month", "age", "patient"):
        frame.loc[:, column] = 0
    pd.testing.assert_frame_equal(result.augment(), kept[0])
    pd.testing.assert_frame_equal(result.predict(), kept[1])
    assert result.cross_check()["difference"].abs().max() < 1e-3


def test_an_array_under_the_frame_may_change_too(fit: Fit, make: Make) -> None:
    frame = make()
    values = frame["score"].to_numpy().copy()
    shared = frame.assign(score=pd.Series(values, copy=False))
    result = fit(shared)
    kept = result.augment()
    values[:] = 0.0
    pd.testing.assert_frame_equal(result.augment(), kept)


def test_what_is_handed_out_can_be_edited(make: Make, fit: Fit) -> None:
    result = fit(make())
    table = result.augment()
    table.loc[:, "patient"] = 0
    table.loc[:, "month"] = 99.0
    params = result.params
    params.iloc[0] = -1.0
    result.times.append(99.0)
    result.last_seen["before"] = 99.0
    assert result.augment()["patient"].nunique() == 50
    assert result.params.iloc[0] > 0
    assert result.times == [0, 6, 12, 18]
    assert result.last_seen["before"] == 18


@pytest.mark.parametrize("at", [np.array([6, 18]), range(6, 19, 12), pd.Series([18, 6]), (6.0, 18), [18, 6, 18]])
def test_times_come_in_any_sequence(by_visit: Any, at: Any) -> None:
    assert by_visit.means(at=at).tidy()["time"].tolist() == [6, 18, 6, 18]


def test_odd_column_names(study_frame: pd.DataFrame) -> None:
    names = {"score": "BSI total (T)", "month": "month since start", "patient": 7, "cohort": "co`hort", "age": "a.g.e"}
    result = ist.fit_growth(
        study_frame.rename(columns=names),
        outcome="BSI total (T)",
        time="month since start",
        patient=7,
        cohort="co`hort",
        reference="before",
        adjust=["a.g.e"],
    )
    assert "a.g.e" in result.params.index
    assert result.augment().columns.tolist()[:4] == ["7", "co`hort", "month since start", "BSI total (T)"]


class TestPredict:
    def test_without_new_data_it_is_augments_fitted(self, adjusted: Any) -> None:
        table = adjusted.predict()
        np.testing.assert_array_equal(table["estimate"], adjusted.augment()["fitted"])
        pd.testing.assert_index_equal(table.index, adjusted.augment().index)

    def test_the_same_rows_as_new_data_give_the_same(self, study_frame: pd.DataFrame, adjusted: Any) -> None:
        table = adjusted.predict(study_frame)
        pd.testing.assert_frame_equal(table[study_frame.columns], study_frame)
        np.testing.assert_allclose(table["estimate"], adjusted.augment()["fitted"])
        np.testing.assert_allclose(table["std_error"], adjusted.predict()["std_error"])
        assert table.columns.tolist()[-5:] == ["estimate", "std_error", "df", "conf_low", "conf_high"]

    def test_a_new_patient_gets_the_populations_mean(self, study_frame: pd.DataFrame, adjusted: Any) -> None:
        new = study_frame.head(8).assign(patient=999)
        np.testing.assert_allclose(adjusted.predict(new)["estimate"], adjusted.augment()["fixed"].head(8))

    def test_so_does_a_row_without_a_patient(self, study_frame: pd.DataFrame, adjusted: Any) -> None:
        new = study_frame.head(8)
        one, other = adjusted.predict(new.drop(columns="patient")), adjusted.predict(new.assign(patient=999))
        np.testing.assert_allclose(one["estimate"], other["estimate"])
        np.testing.assert_allclose(one["std_error"], other["std_error"])

    def test_a_new_patients_mean_is_the_marginal_mean(self, by_visit: Any) -> None:
        means = by_visit.means().tidy()
        new = means[["cohort"]].assign(month=means["time"])
        table = by_visit.predict(new)
        np.testing.assert_allclose(table["estimate"], means["estimate"])
        np.testing.assert_allclose(table["std_error"], means["std_error"])
        np.testing.assert_allclose(table["conf_low"], means["conf_low"])

    def test_a_prediction_interval_is_wider_and_more_so_for_a_new_patient(
        self, study_frame: pd.DataFrame, by_visit: Any
    ) -> None:
        known, new = study_frame.head(8), study_frame.head(8).assign(patient=999)
        sigma2 = by_visit.glance()["sigma"].item() ** 2
        inner = by_visit.predict(known)["std_error"] ** 2
        outer = by_visit.predict(known, interval="prediction")["std_error"] ** 2
        np.testing.assert_allclose(outer, inner + sigma2)
        outer_new = by_visit.predict(new, interval="prediction")["std_error"] ** 2
        G = by_visit.variances()
        mean = by_visit.predict(new)["std_error"] ** 2
        expected = mean.iloc[0] + G["variance"].iloc[0] + sigma2
        assert outer_new.iloc[0] == pytest.approx(expected)
        assert (outer_new > outer).all()

    def test_known_patients_with_new_levels_as_an_error(self, study_frame: pd.DataFrame, adjusted: Any) -> None:
        assert len(adjusted.predict(study_frame.head(4), new_levels="error")) == 4

    def test_a_curve_predicts_between_visits(self, study_frame: pd.DataFrame, by_line: Any) -> None:
        new = study_frame.head(2).assign(month=[0.0, 9.0])
        low, mid = by_line.predict(new)["estimate"]
        end = by_line.predict(study_frame.iloc[[3]])["estimate"].item()
        assert mid == pytest.approx((low + end) / 2)

    def test_any_index_and_order_of_new_rows(self, study_frame: pd.DataFrame, adjusted: Any) -> None:
        new = study_frame.sample(frac=1, random_state=1).set_axis(np.zeros(200, dtype=int))
        table = adjusted.predict(new)
        pd.testing.assert_index_equal(table.index, new.index)
        expected = adjusted.augment().set_index(["patient", "month"])["fitted"]
        found = table.set_index(["patient", "month"])["estimate"]
        np.testing.assert_allclose(found, expected.reindex(found.index))

    def test_a_site_that_is_new_counts_as_new(self, study_frame: pd.DataFrame) -> None:
        at = study_frame["site"].map(dict(zip("ABCDE", (-1.5, -0.5, 0.0, 0.7, 1.4), strict=True)))
        frame = study_frame.assign(score=study_frame["score"] + at)
        result = ist.fit_mixed(frame, formula="score ~ month * cohort + (1 + month | patient) + (1 | site)")
        new = frame.head(4).assign(patient=999)
        known, unknown = result.predict(new)["estimate"], result.predict(new.assign(site="Z"))["estimate"]
        effect = result.random_effects().query("group == 'site' and level == 'A'")["estimate"].item()
        np.testing.assert_allclose(known - unknown, effect)
