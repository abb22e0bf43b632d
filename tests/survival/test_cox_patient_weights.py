"""Weighted programmes in Cox models: case weights with a sandwich, and a confounded comparison put right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError
from implstats.survival.cox import fit_cox


def with_weights(frame: pd.DataFrame) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    return frame.assign(w=rng.uniform(0.3, 3, len(frame)).round(3))


def split(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the programmes with two rows each, at risk one after the other."""
    first = frame.assign(start=0.0, end=frame["years"] / 2, stopped=0)
    return pd.concat([first, frame.assign(start=frame["years"] / 2, end=frame["years"])], ignore_index=True)


@pytest.mark.parametrize("more", [{}, {"ties": "breslow"}, {"strata": "country"}, {"entry": "since"}])
def test_weights_of_rows_are_case_weights_with_a_sandwich_over_rows(cox: Any, more: dict[str, Any]) -> None:
    frame = with_weights(cox.frame).assign(row=lambda d: np.arange(len(d)))
    mine = cox.fit(frame, patient_weights="w", **more)
    other = cox.fit(frame.assign(w=frame["w"] / frame["w"].mean()), weights="w", cluster="row", **more)
    np.testing.assert_allclose(mine.params, other.params, rtol=1e-12)
    np.testing.assert_allclose(mine.vcov, other.vcov, rtol=1e-12)
    ours, theirs = mine.tests().set_index("test"), other.tests().set_index("test")
    assert list(ours.index) == ["Wald", "robust score"]
    pd.testing.assert_frame_equal(ours, theirs.loc[ours.index])
    unscaled = cox.fit(frame, weights="w", cluster="row", **more)
    np.testing.assert_allclose(mine.vcov, unscaled.vcov, rtol=1e-9)


def test_several_rows_of_an_id_have_one_sandwich(cox: Any) -> None:
    frame = with_weights(cox.frame)
    twice = {"entry": "start", "duration": "end", "id": "programme"}
    whole = cox.fit(frame, patient_weights="w")
    parts = cox.fit(split(frame), patient_weights="w", **twice)
    np.testing.assert_allclose(parts.params, whole.params, rtol=1e-8)
    np.testing.assert_allclose(parts.vcov, whole.vcov, rtol=1e-7)
    over = cox.fit(split(frame), weights="w", cluster="programme", **twice)
    np.testing.assert_allclose(parts.vcov, over.vcov, rtol=1e-8)


def test_larger_clusters_hold_what_hangs_together(cox: Any) -> None:
    frame = with_weights(cox.frame)
    mine = cox.fit(frame, patient_weights="w", cluster="organisation")
    other = cox.fit(frame, weights="w", cluster="organisation")
    np.testing.assert_allclose(mine.vcov, other.vcov, rtol=1e-9)
    assert "robust, from 40 clusters (organisation)" in repr(mine)


def test_the_sandwich_by_hand() -> None:
    # Events at 1 (x = 1, weight 3) and 2 (x = 0, weight 2); x = 1 of weight 1 outlives both. With h = e^b the score is
    # 3 (1 - 4h / (4h + 2)) - 2 h / (h + 2) = 0, so 3 (h + 2) = h (4h + 2) and 4h^2 - h - 6 = 0.
    h = (1 + np.sqrt(97)) / 8
    frame = pd.DataFrame({"t": [1.0, 2.0, 3.0], "e": [1, 1, 0], "x": [1.0, 0.0, 1.0], "w": [3.0, 2.0, 1.0]})
    fit = fit_cox(frame, duration="t", event="e", terms=["x"], patient_weights="w")
    assert fit.params["x"] == pytest.approx(np.log(h), rel=1e-9)
    p, q = 4 * h / (4 * h + 2), h / (h + 2)
    steps = 3 / (4 * h + 2), 2 / (h + 2)
    # Each row's share of the score: (x - mean) at its own event, less (x - mean) e^(xb) times the hazard's steps.
    first = (1 - p) - (1 - p) * h * steps[0]
    second = -q + p * steps[0] + q * steps[1]
    third = -(1 - p) * h * steps[0] - (1 - q) * h * steps[1]
    information = 3 * p * (1 - p) + 2 * q * (1 - q)
    variance = ((3 * first) ** 2 + (2 * second) ** 2 + third**2) / information**2
    assert fit.vcov.loc["x", "x"] == pytest.approx(variance, rel=1e-8)


def test_the_scale_of_weights_does_not_matter(cox: Any) -> None:
    frame = with_weights(cox.frame)
    one, other = (cox.fit(frame.assign(w=frame["w"] * k), patient_weights="w") for k in (1, 0.01))
    pd.testing.assert_frame_equal(one.tidy(), other.tidy(), rtol=1e-9)
    pd.testing.assert_frame_equal(one.glance(), other.glance(), rtol=1e-9)


def test_what_takes_the_likelihood_for_that_of_a_sample_is_not_given(cox: Any) -> None:
    result = cox.fit(with_weights(cox.frame), patient_weights="w")
    assert result.glance()[["aic", "likelihood_ratio", "score"]].isna().all(axis=None)
    assert "std_error_naive" not in result.tidy()
    with pytest.raises(DataError, match=r"^proportional_hazards: not defined with patient_weights=; look at residuals"):
        result.proportional_hazards()
    for ask in (result.baseline, lambda: result.survival_at(pd.DataFrame({"era": ["before"], "support": [4.0]}), 2)):
        with pytest.raises(
            DataError, match=r"^patient_weights='w': the baseline's error takes rows for whole ones, which"
        ):
            ask()
    assert result.cross_check()["difference"].abs().max() < 1e-6


def test_the_header_says_what_the_weights_leave(cox: Any) -> None:
    frame = with_weights(cox.frame)
    w = frame["w"]
    left = f"effective number {w.sum() ** 2 / (w @ w):.1f} of 240; standard errors take the weights as known"
    words = " ".join(repr(cox.fit(frame, patient_weights="w")).split())
    assert f"rows weighted by w, {left}" in words
    assert "standard errors are robust, from 240 clusters (rows)" in words
    twice = {"entry": "start", "duration": "end", "id": "programme"}
    words = " ".join(repr(cox.fit(split(frame), patient_weights="w", **twice)).split())
    assert f"programmes weighted by w, {left}" in words
    assert "robust, from 240 clusters (programme)" in words


def test_missing_weights_are_dropped_and_counted(cox: Any) -> None:
    frame = with_weights(cox.frame)
    frame.loc[frame.index[:3], "w"] = np.nan
    result = cox.fit(frame, patient_weights="w")
    assert result.sample.dropped == {"w missing": 3}
    assert result.spells.weight.mean() == pytest.approx(1)
    with pytest.raises(DataError, match=r"^missing='raise': w missing in rows 0, 1, 2"):
        cox.fit(frame, patient_weights="w", missing="raise")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no column": ({"patient_weights": "weigth"}, "patient_weights='weigth': no such column; did you mean 'weight'?"),
    "case weights": (
        {"weights": "copies"},
        "patient_weights='weight': does not go with weights: a row counts once; multiply the columns, where one holds "
        "counts",
    ),
    "frailty": (
        {"frailty": "organisation"},
        "patient_weights='weight': does not go with frailty: weighted groups have no likelihood of what they share; "
        "use cluster=",
    ),
    "ridge": (
        {"penalty": 1},
        "patient_weights='weight': does not go with penalty: weighted patients have no likelihood to penalise; leave "
        "one out",
    ),
    "firth": (
        {"penalty": "firth"},
        "patient_weights='weight': does not go with penalty: weighted patients have no likelihood to penalise; leave "
        "one out",
    ),
    "exact": (
        {"ties": "exact"},
        "ties='exact': does not go with patient_weights: a set of patients has no weight; use ties='efron'",
    ),
    "zero": (
        {"patient_weights": "zero"},
        "patient_weights='zero': zero or negative in rows 0, 1; leave these rows out",
    ),
    "within an id": (
        {"id": "pair", "entry": "since"},
        "patient_weights='weight': changes within one pair (row 1); give each one weight, in all rows",
    ),
    "text": ({"patient_weights": "country"}, "patient_weights='country': the column holds text such as"),
    "the duration": (
        {"patient_weights": "years"},
        "duration='years': is named as patient_weights= too; each role has a column of its own",
    ),
    "a term": (
        {"terms": ["era", "weight"]},
        "terms=['era', 'weight']: 'weight' is the patient_weights; leave it out of the terms",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_the_reason(cox: Any, case: str) -> None:
    options, message = REFUSED[case]
    frame = with_weights(cox.frame).rename(columns={"w": "weight"})
    frame["zero"] = np.where(np.arange(len(frame)) < 2, 0.0, 1.0)
    frame["pair"] = np.r_[0, 0, np.arange(2, len(frame))]
    frame.loc[0, ["since", "years"]] = [0.0, 1.0]
    frame.loc[1, ["since", "years"]] = [1.0, 2.0]
    with pytest.raises(DataError) as caught:
        cox.fit(frame, **({"patient_weights": "weight"} | options))
    assert message in str(caught.value)


# A confounded comparison: well-led programmes last longer, and are found in one era more often than in the other.
EFFECT = 0.6


def confounded(n: int, rng: np.random.Generator, *, randomised: bool = False) -> pd.DataFrame:
    """Return programmes whose leadership goes with both era and time to the stop; censored at 5 years."""
    leadership = rng.normal(0, 1, n)
    during = rng.random(n) < (0.5 if randomised else 1 / (1 + np.exp(1.2 * leadership)))
    hazard = 0.15 * np.exp(EFFECT * during - 0.8 * leadership)
    stop = rng.exponential(1 / hazard)
    columns = {"years": np.minimum(stop, 5), "stopped": (stop <= 5).astype(int), "leadership": leadership}
    return pd.DataFrame(columns | {"era": np.where(during, "during", "before")})


def log_ratio(frame: pd.DataFrame, **options: Any) -> pd.Series:
    fit = fit_cox(frame, duration="years", event="stopped", terms=["era"], **options)
    return fit.tidy().iloc[0]


def test_a_confounded_comparison_is_put_right() -> None:
    """The truth is the hazard ratio of the same programmes had eras been drawn by lot, below exp(.6) for all mixed."""
    rng = np.random.default_rng(12)
    truth = log_ratio(confounded(60_000, rng, randomised=True))["estimate"]
    assert 0.3 < truth < EFFECT
    naive, weighted, covered = [], [], 0
    for _ in range(60):
        frame = confounded(500, rng)
        naive.append(log_ratio(frame)["estimate"])
        found = ist.propensity_weights(frame, cohort="era", reference="before", covariates=["leadership"])
        row = log_ratio(frame.assign(weight=found.weights), patient_weights="weight")
        weighted.append(row["estimate"])
        covered += row["conf_low"] <= truth <= row["conf_high"]
    error = np.std(weighted, ddof=1) / np.sqrt(60)
    assert abs(np.mean(weighted) - truth) < 3 * error < 0.1
    assert np.mean(naive) - truth > 0.3
    # Of 60 intervals of 95 % fewer than 52 come once in some 350 times.
    assert covered >= 52


def test_from_propensity_weights_to_a_hazard_ratio_on_the_example() -> None:
    programmes = ist.load_example("programmes")
    found = ist.propensity_weights(
        programmes, cohort="era", reference="early", covariates="leadership + support + country", estimand="overlap"
    )
    result = fit_cox(
        programmes.assign(weight=found.weights),
        duration="years",
        event="discontinued",
        terms=["era"],
        patient_weights="weight",
        cluster="organisation",
    )
    row = result.tidy(hazard_ratio=True).iloc[0]
    assert row["conf_low"] < row["estimate"] < row["conf_high"]
    effective = found.weight.sum() ** 2 / (found.weight @ found.weight)
    assert f"rows weighted by weight, effective number {effective:.1f} of 150" in repr(result)


def test_barrier_scores_say_whether_there_are_programmes_enough() -> None:
    programmes = ist.load_example("programmes")
    barriers = [f"barrier_{k}" for k in ("treatment", "people", "organisation", "context", "approach")]
    roles: dict[str, Any] = {"duration": "years", "event": "discontinued", "terms": barriers}
    result = fit_cox(programmes, cluster="organisation", **roles)
    assert "75 events in 150 rows; 15 events per parameter (5 in all)" in repr(result)
    assert "below 10" not in repr(result)
    few = programmes[programmes["country"] == "B"]
    events = int(few["discontinued"].sum())
    assert f"{events / 5:.3g} events per parameter (5 in all): below 10, estimates are biased away from 0" in " ".join(
        repr(fit_cox(few, **roles)).split()
    )
    with pytest.raises(DataError, match=r"5 parameters for 4 events; use fewer terms, or penalty='firth'"):
        fit_cox(programmes[programmes["discontinued"].cumsum() <= 4], **roles)
