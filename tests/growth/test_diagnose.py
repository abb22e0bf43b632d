"""Residuals against dense algebra, influence against refits one by one, and read-outs that say what is there."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import implstats as ist
from implstats._core import prediction
from implstats.errors import DataError
from implstats.growth import readings
from implstats.growth.diagnose import diagnose

Fit = Callable[[pd.DataFrame], Any]

ROLES: dict[str, Any] = {
    "outcome": "score",
    "patient": "patient",
    "cohort": "cohort",
    "reference": "before",
    "better": "lower",
}


def _growth(frame: pd.DataFrame, **options: Any) -> Any:
    return ist.fit_growth(frame, **(ROLES | {"time": "month", "shape": "linear"} | options))


def _mmrm(frame: pd.DataFrame, **options: Any) -> Any:
    return ist.fit_mmrm(frame, **(ROLES | {"visit": "month"} | options))


@pytest.fixture(scope="module")
def few(make: Callable[..., pd.DataFrame]) -> pd.DataFrame:
    """Return two cohorts of 15 patients of whom some left early, and therapists whom patients change."""
    frame = make(each=15, seed=11)
    rng = np.random.default_rng(2)
    frame["therapist"] = rng.choice(list("PQRST"), len(frame))
    frame["score"] += frame["therapist"].map(dict(zip("PQRST", rng.normal(scale=0.6, size=5), strict=True)))
    frame["ratings"] = rng.integers(1, 5, len(frame))
    frame = frame[(frame["month"] < 12) | (rng.random(len(frame)) < 0.75)]
    return frame.set_index(np.arange(len(frame)) + 1000)


def _dense(result: Any) -> tuple[Any, Any]:
    """Return V and the residuals' R of all rows, from the printed variances."""
    design, fit = result.design, result.fit
    structure = design.noise.structure
    sd = np.sqrt(fit.sigma2 * fit.ratios[structure.strata] / structure.precision)
    correlation = np.eye(len(sd))
    if fit.rho is not None:
        same = structure.series[:, None] == structure.series
        correlation = same * float(fit.rho) ** np.abs(structure.position[:, None] - structure.position)
    R = sd[:, None] * correlation * sd
    V = R.copy()
    for term, G in zip(design.terms, fit.G, strict=True):
        V += (term.of_row[:, None] == term.of_row) * (term.Z @ G @ term.Z.T)
    return V, R


MIXED: dict[str, Fit] = {
    "growth": _growth,
    "by_cohort": lambda f: _growth(f, residual="by_cohort"),
    "ar1": lambda f: _growth(f, residual="ar1", random="intercept"),
    "precision": lambda f: _growth(f, precision="ratings"),
    "crossed": lambda f: ist.fit_mixed(f, formula="score ~ month * cohort + (1 | patient) + (1 | therapist)"),
}


@pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
@pytest.mark.parametrize("name", MIXED)
def test_conditional_residuals_are_over_their_standard_errors(name: str, few: pd.DataFrame) -> None:
    result = MIXED[name](few)
    V, R = _dense(result)
    W, X = np.linalg.inv(V), result.design.X
    P = W - W @ X @ np.linalg.inv(X.T @ W @ X) @ X.T @ W
    table = diagnose(result, influence=False).residuals()
    expected = R @ P @ result.design.y
    np.testing.assert_allclose(table["residual"], expected, atol=1e-8)
    np.testing.assert_allclose(table["student_residual"], expected / np.sqrt(np.diag(R @ P @ R)), rtol=1e-6, atol=1e-8)


def test_many_crossed_levels_leave_the_sd_of_the_model(few: pd.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "LARGEST_COMPONENT", 10)
    result = MIXED["crossed"](few)
    table = diagnose(result, influence=False).residuals()
    np.testing.assert_allclose(table["student_residual"], table["residual"] / np.sqrt(result.fit.sigma2))


@pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
@pytest.mark.parametrize("name", MIXED)
def test_marginal_residuals_are_whitened_patient_by_patient(name: str, few: pd.DataFrame) -> None:
    result = MIXED[name](few)
    V, _ = _dense(result)
    table = diagnose(result, influence=False).residuals()
    error = result.design.y - result.design.X @ result.fit.beta
    np.testing.assert_allclose(table["marginal_residual"], error)
    for _, rows in few.reset_index().groupby("patient"):
        at = rows.index.to_numpy()
        root = np.linalg.cholesky(V[np.ix_(at, at)])
        np.testing.assert_allclose(table["whitened_residual"].to_numpy()[at], np.linalg.solve(root, error[at]))


@pytest.mark.parametrize("by_cohort", [False, True])
def test_an_mmrm_whitens_with_the_covariance_of_the_visits(by_cohort: bool, few: pd.DataFrame) -> None:
    result = _mmrm(few, by_cohort=by_cohort, covariance="ar1")
    shuffled = few.sample(frac=1, random_state=3)
    table = diagnose(_mmrm(shuffled, by_cohort=by_cohort, covariance="ar1"), influence=False).residuals()
    assert list(table.index) == list(shuffled.index)
    assert not {"fitted", "residual", "student_residual"} & set(table.columns)
    covariance = result.covariance()
    fixed = result.augment()["fixed"]
    for _, rows in few.groupby("patient"):
        mine = covariance[covariance["cohort"] == (rows["cohort"].iloc[0] if by_cohort else "")]
        V = mine.pivot_table(index="time", columns="other", values="covariance").loc[rows["month"], rows["month"]]
        white = np.linalg.solve(np.linalg.cholesky(V.to_numpy()), (rows["score"] - fixed[rows.index]).to_numpy())
        np.testing.assert_allclose(table.loc[rows.index, "whitened_residual"], white, rtol=1e-5, atol=1e-7)


def test_whitened_residuals_of_the_true_model_are_white(make: Callable[..., pd.DataFrame]) -> None:
    table = diagnose(_mmrm(make(each=400)), influence=False).residuals()
    wide = table.pivot_table(index="patient", columns="month", values="whitened_residual")
    np.testing.assert_allclose(wide.cov(), np.eye(4), atol=0.03)


def _one_by_one(fit: Fit, frame: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the fixed effects of the model fitted to the frame without each level of a column."""
    return pd.DataFrame({v: fit(frame[frame[column] != v]).params for v in frame[column].unique()}).T


DELETED: dict[str, tuple[Fit, str]] = {
    "patients of a growth model": (_growth, "patient"),
    "patients of an ML fit": (lambda f: _growth(f, method="ml", random="intercept"), "patient"),
    "patients, a variance by cohort": (lambda f: _growth(f, residual="by_cohort"), "patient"),
    "patients, AR(1)": (lambda f: _growth(f, residual="ar1", random="intercept"), "patient"),
    "patients of an MMRM": (_mmrm, "patient"),
    "patients of a formula": (lambda f: ist.fit_mixed(f, formula="score ~ month + age + (1 | patient)"), "patient"),
    "patients who change therapists": (MIXED["crossed"], "patient"),
    "therapists whom patients change": (MIXED["crossed"], "therapist"),
    "therapists with a residual variance each": (
        lambda f: ist.fit_mixed(f, formula="score ~ month + (1 | therapist)", residual="by(therapist)"),
        "therapist",
    ),
    "sites of patients": (lambda f: ist.fit_mixed(f, formula="score ~ month + (1 | site / patient)"), "site"),
}


@pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
@pytest.mark.parametrize("name", DELETED)
def test_influence_is_that_of_refits_one_by_one(name: str, few: pd.DataFrame) -> None:
    fit, column = DELETED[name]
    result = fit(few)
    expected = _one_by_one(fit, few, column)
    error = np.sqrt(np.diag(result.vcov))
    found = diagnose(result)
    pulls = found.dfbetas()
    pulls = pulls[pulls["group"] == column].pivot_table(index="level", columns="term", values="dfbetas")
    pulls = pulls.loc[expected.index, list(result.params.index)]
    np.testing.assert_allclose(pulls, (result.params - expected) / error, atol=1e-5)
    change = (expected - result.params).to_numpy()
    distance = np.einsum("ij,jk,ik->i", change, np.linalg.inv(result.vcov), change) / change.shape[1]
    table = found.influence().query("group == @column").set_index("level").loc[expected.index]
    np.testing.assert_allclose(table["cooks_distance"], distance, atol=1e-5, rtol=1e-4)
    assert list(table["rows"]) == [int((few[column] == v).sum()) for v in expected.index]


@pytest.mark.parametrize("fit", [_growth, _mmrm])
def test_the_improvement_retained_is_that_without_the_patient(fit: Fit, few: pd.DataFrame) -> None:
    found = diagnose(fit(few)).retained().set_index("level")
    whole = fit(few).retained_improvement(at=18).tidy()["estimate"].iloc[0]
    for patient in few["patient"].unique()[::7]:
        without = fit(few[few["patient"] != patient]).retained_improvement(at=18).tidy()["estimate"].iloc[0]
        assert found.loc[patient, "retained"] == pytest.approx(without, abs=1e-5)
        assert found.loc[patient, "retained_change"] == pytest.approx(without - whole, abs=1e-5)
    assert set(found["time"]) == {18}


def test_no_share_is_named_where_the_reference_does_not_improve(few: pd.DataFrame) -> None:
    frame = few.copy()
    slope = _growth(frame).params["month"]
    frame.loc[frame["cohort"] == "before", "score"] -= (slope + 0.002) * frame["month"]
    found = diagnose(_growth(frame))
    table = found.dfbetas().query("term == 'month'").set_index("level")["estimate"]
    kept = found.retained().set_index("level")["retained"]
    assert kept.isna().tolist() == (table >= 0).tolist()
    assert 0 < kept.isna().sum() < len(kept)
    reading = found.tidy().query("quantity == 'improvement retained'").iloc[0]
    assert reading["n"] == kept.notna().sum()
    assert reading["reading"].endswith(f"; for {kept.isna().sum()} of 30 no share can be named")


def test_with_three_cohorts_influence_has_the_largest_change(make: Callable[..., pd.DataFrame]) -> None:
    found = diagnose(_growth(make(cohorts=("before", "during", "after"), each=10)))
    table = found.retained().pivot_table(index="level", columns="cohort", values="retained_change")
    largest = found.influence().set_index("level")["retained_change"]
    assert list(table.columns) == ["after", "during"]
    np.testing.assert_allclose(largest.loc[table.index].abs(), table.abs().max(axis=1))
    assert found.tidy()["quantity"].eq("improvement retained").sum() == 2


def test_whoever_makes_the_answer_is_named(few: pd.DataFrame) -> None:
    frame = few.copy()
    frame.loc[(frame["patient"] == 20) & (frame["month"] == 18), "score"] += 9
    frame.loc[(frame["patient"] == 20) & (frame["month"] == 12), "score"] += 6
    found = diagnose(_growth(frame))
    row = found.tidy().query('quantity == "Cook\'s distance"').iloc[0]
    assert row["marked"]
    assert "without patient 20 (" in row["reading"]
    assert any("without patient 20 (" in line for line in found.header())
    # The region whose edge the estimates reach: chi-square of p times Cook's distance.
    share = 100 * stats.chi2.cdf(4 * row["statistic"], 4)
    assert f"to the edge of their {share:.2g} % confidence region" in row["reading"]
    assert "(without 20)" in found.tidy().query("quantity == 'improvement retained'")["reading"].iloc[0]
    largest = found.tidy().query("quantity == 'largest' and kind == 'marginal residuals'").iloc[0]
    assert largest["marked"]
    assert "(patient 20)" in largest["reading"]
    worst = found.residuals()["whitened_residual"].abs()
    assert largest["reading"].startswith(f"row {worst.idxmax()} (patient 20) is {worst.max():.1f} SDs above")


def test_the_mark_of_cooks_distance_is_the_edge_of_a_ten_percent_region(few: pd.DataFrame) -> None:
    row = diagnose(_growth(few)).tidy().query('quantity == "Cook\'s distance"').iloc[0]
    assert stats.chi2.cdf(4 * row["threshold"], 4) == pytest.approx(0.10)


@pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
def test_what_cannot_be_left_out_is_missing_and_counted(few: pd.DataFrame) -> None:
    frame = few.assign(referred=(few["patient"] == 3).astype(float))
    for fit in (_growth, _mmrm):
        found = diagnose(fit(frame, adjust=["referred"]))  # type: ignore[operator]
        table = found.influence()
        assert table.loc[table["cooks_distance"].isna(), "level"].tolist() == [3]
        row = found.tidy().query('quantity == "Cook\'s distance"').iloc[0]
        assert row["n"] == len(table) - 1
        assert row["reading"].endswith("; 1 could not be left out")
    two = few.assign(site=np.where(few["patient"] % 2, "A", "B"))
    found = diagnose(ist.fit_mixed(two, formula="score ~ month + (1 | patient) + (1 | site)", method="ml"))
    assert found.influence().query("group == 'site'")["cooks_distance"].isna().all()
    assert "without any site no model can be fitted" in found.tidy()["reading"].tolist()


def _read(kind: str, values: Any) -> dict[str, readings.Reading]:
    return {r.quantity: r for r in readings.normality(kind, "residuals", np.asarray(values))}


def test_normal_values_are_not_marked_and_not_called_normal() -> None:
    values = stats.norm.ppf((np.arange(300) + 0.5) / 300)
    for reading in _read("residuals", values).values():
        assert not reading.marked
        assert "no marked" in reading.reading
        assert "was seen in 300 residuals, which does not prove" in reading.reading


@pytest.mark.parametrize(
    ("values", "quantity", "words"),
    [
        (stats.expon.ppf((np.arange(200) + 0.5) / 200), "skewness", "skewed to the right"),
        (-stats.expon.ppf((np.arange(200) + 0.5) / 200), "skewness", "skewed to the left"),
        (stats.t(3).ppf((np.arange(200) + 0.5) / 200), "excess kurtosis", "heavy tails: more far values"),
        ((np.arange(200) + 0.5) / 200, "excess kurtosis", "light tails: fewer far values"),
        (stats.expon.ppf((np.arange(200) + 0.5) / 200), "quantile correlation", "bends away from the normal"),
    ],
)
def test_departures_are_named(values: Any, quantity: str, words: str) -> None:
    reading = _read("residuals", values)[quantity]
    assert reading.marked
    assert reading.reading.startswith(words)


def test_few_values_are_said_to_be_too_few() -> None:
    found = _read("residuals", stats.norm.ppf((np.arange(12) + 0.5) / 12))
    assert not any(r.marked for r in found.values())
    assert all(r.reading.startswith("12 values are too few to tell: chance alone") for r in found.values())
    assert found["skewness"].threshold == pytest.approx(2 * math.sqrt(6 / 12))


def test_the_bars_stand_for_what_the_docstring_says() -> None:
    assert math.sqrt(8 / 32) == readings.SKEWED == stats.chi2(32).stats("s")
    assert stats.t(10).stats("k") == pytest.approx(readings.TAILS)
    rng = np.random.default_rng(1)
    heavy = [stats.probplot(rng.standard_t(5, 300))[1][2] for _ in range(200)]
    assert np.mean(heavy) == pytest.approx(readings.STRAIGHT, abs=0.004)
    x = rng.normal(size=200_000)
    low, high = x < stats.norm.ppf(1 / 3), x > stats.norm.ppf(2 / 3)
    error = rng.normal(size=len(x)) * np.exp(x * math.log(1.5) / (x[high].mean() - x[low].mean()))
    assert error[high].std() / error[low].std() == pytest.approx(1.5, abs=0.02)
    reading = readings.funnel("residuals", error, x)
    assert reading.statistic == pytest.approx(readings.FUNNEL, abs=0.01)


@pytest.mark.parametrize("n", [20, 50, 200])
def test_one_normal_sample_in_twenty_falls_below_what_chance_reaches(n: int) -> None:
    rng = np.random.default_rng(n)
    straight = np.array([stats.probplot(rng.normal(size=n))[1][2] for _ in range(1500)])
    chance = 1 - (0.6 + 0.15 * math.log(n)) / n
    assert 0.03 < np.mean(straight < chance) < 0.07
    assert _read("residuals", rng.normal(size=n))["quantile correlation"].threshold == min(0.98, chance)


@pytest.mark.parametrize(("by", "loud"), [("cohort", "during"), ("month", 18)])
def test_unequal_spread_is_found_by_cohort_and_visit(by: str, loud: Any, make: Callable[..., pd.DataFrame]) -> None:
    frame = make(each=60)
    frame["score"] += np.random.default_rng(4).normal(scale=np.where(frame[by] == loud, 1.2, 0.05))
    found = diagnose(_growth(frame, random="intercept"), influence=False)
    table, spread = found.tidy().set_index(["kind", "quantity"]), found.spread()
    for kind, column in (
        ("conditional residuals", "student_residual"),
        ("marginal residuals", "whitened_residual"),
    ):
        row = table.loc[(kind, f"SD ratio by {by}")]
        sds = found.residuals().groupby(by)[column].std()
        assert sds.idxmax() == loud
        assert row["statistic"] == pytest.approx(sds.max() / sds.min())
        assert row["marked"]
        assert row["reading"].startswith(f"unequal spread: SD {sds.max():.2f} ({by} {loud}), {sds.min():.2f} ({by} ")
        part = spread[(spread["kind"] == kind) & (spread["group"] == by)]
        np.testing.assert_allclose(part["sd"], sds)
    # A model that allows for it leaves nothing to be marked.
    allowed = diagnose(_growth(frame, random="intercept", residual=f"by_{'visit' if by == 'month' else by}"))
    assert (
        not allowed.tidy().set_index(["kind", "quantity"]).loc[("conditional residuals", f"SD ratio by {by}")]["marked"]
    )


def test_irregular_times_are_compared_in_thirds(make: Callable[..., pd.DataFrame]) -> None:
    frame = make(each=30)
    frame["month"] += np.where(frame["month"] > 0, np.random.default_rng(1).uniform(-2, 2, len(frame)), 0.0)
    spread = diagnose(_growth(frame), influence=False).spread().query("group == 'month'")
    assert len(spread) == 2 * 3
    assert spread["level"].iloc[0].startswith("0 to ")
    assert spread["n"].sum() == 2 * len(frame)
    assert spread["n"].min() > len(frame) / 4


def test_a_funnel_has_a_direction() -> None:
    rng = np.random.default_rng(8)
    x = rng.uniform(1, 3, 400)
    assert readings.funnel("r", rng.normal(size=400) * x**2, x).reading == (
        "residuals are the larger, the larger the fitted value"
    )
    assert readings.funnel("r", rng.normal(size=400) / x**2, x).reading == (
        "residuals are the larger, the smaller the fitted value"
    )
    assert "does not prove constant variance" in readings.funnel("r", rng.normal(size=400), x).reading


def test_random_effects_are_over_the_sd_of_predictions(few: pd.DataFrame) -> None:
    result = _growth(few, random="intercept")
    V, _ = _dense(result)
    W, term = np.linalg.inv(V), result.design.terms[0]
    Z = (term.of_row[:, None] == np.arange(len(term.levels))).astype(float)
    G = result.fit.G[0][0, 0]
    predicted = G * Z.T @ W @ (result.design.y - result.design.X @ result.fit.beta)
    table = diagnose(result, influence=False).random_effects()
    assert list(table["level"]) == list(term.levels)
    np.testing.assert_allclose(table["estimate"], predicted, rtol=1e-6)
    np.testing.assert_allclose(table["std_effect"], predicted / np.sqrt(np.diag(G * Z.T @ W @ Z * G)), rtol=1e-6)


def test_skewed_patients_are_seen_in_the_random_effects(make: Callable[..., pd.DataFrame]) -> None:
    frame = make(each=80)
    level = np.random.default_rng(3).exponential(2.0, 160)
    frame["score"] += level[frame["patient"] - 1]
    found = diagnose(_growth(frame), influence=False)
    row = found.tidy().query("kind == 'random effects: patient, (Intercept)' and quantity == 'skewness'").iloc[0]
    assert row["marked"]
    assert row["reading"] == "skewed to the right"
    assert any(
        line.startswith(f"random effects: patient, (Intercept): skewness {row['statistic']:.2f}, skewed to the right")
        for line in found.header()
    )


def test_an_mmrm_has_no_random_effects(few: pd.DataFrame) -> None:
    found = diagnose(_mmrm(few), influence=False)
    assert found.random_effects().empty
    assert set(found.tidy()["kind"]) == {"marginal residuals"}


def test_no_reading_says_that_an_assumption_holds(few: pd.DataFrame) -> None:
    for result in (_growth(few), _mmrm(few), MIXED["crossed"](few)):
        found = diagnose(result, influence=False)
        for text in [*found.header(), *found.tidy()["reading"]]:
            assert not {"holds", "satisfied", "confirmed", "significant"} & set(text.replace(";", " ").split())


def test_without_influence_nobody_is_left_out(few: pd.DataFrame) -> None:
    found = diagnose(_growth(few), influence=False)
    assert np.isnan(found.glance()["cooks_distance"].iloc[0])
    for ask in (found.influence, found.dfbetas, found.retained):
        with pytest.raises(DataError, match=r"^influence=False: nobody was left out; say diagnose\(result, influence"):
            ask()


def test_the_answer_needs_a_direction(few: pd.DataFrame) -> None:
    found = diagnose(_growth(few, better=None))
    assert "retained_change" not in found.influence()
    assert "improvement retained" not in set(found.tidy()["quantity"])
    with pytest.raises(DataError, match=r"^retained: asks for a growth model or MMRM with better="):
        found.retained()


def test_what_is_no_model_is_refused(few: pd.DataFrame) -> None:
    with pytest.raises(
        DataError, match=r"^diagnose: needs a growth, mixed or MMRM result, not a DataFrame; give what "
    ):
        diagnose(few)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"^influence='yes': not True or False$"):
        diagnose(_growth(few), influence="yes")  # type: ignore[arg-type]


def test_a_diagnosis_cannot_be_changed_also_after_pickling(few: pd.DataFrame) -> None:
    found = diagnose(_growth(few))
    for one in (found, pickle.loads(pickle.dumps(found))):
        for array in (one.student, one.whitened, one.deletions[0].beta, one.deletions[0].rows):
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 1
    assert repr(one) == repr(found)
