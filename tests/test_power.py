"""Power by simulation: the same numbers for any workers, the right draws, functions of a frame, exact words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError
from implstats.simulate import PROGRAMMES, REORGANISATION
from implstats.simulate.visits import draw_studies

TRUTH = ist.OutcomeTruth(
    better="lower",
    mean=2.0,
    sd=0.5,
    residual_sd=0.3,
    slope_sd=0.008,
    d={"before": {18: 0.9, 36: 1.2}, "during": {18: 0.35, 36: 0.5}},
)
SCENARIO = ist.Scenario(
    patients={"before": 60, "during": 40},
    outcomes={"bsi": TRUTH},
    dropout=ist.DropOut(probability=0.15, per_sd=0.4),
    missed=0.04,
)


def equal(one: ist.PowerCurve, other: ist.PowerCurve) -> bool:
    return all(getattr(one, k).tobytes() == getattr(other, k).tobytes() for k in ("estimate", "width", "found"))


def test_the_same_seed_gives_the_same_bytes_whatever_the_workers() -> None:
    arguments: dict[str, Any] = {"n": [20, 30], "replicates": 300, "rng": 7}
    one = ist.power(SCENARIO, workers=1, **arguments)
    assert equal(one, ist.power(SCENARIO, workers=2, **arguments))
    assert not equal(one, ist.power(SCENARIO, workers=1, **(arguments | {"rng": 8})))


def test_what_a_size_finds_does_not_hang_on_the_others_drawn_after_it() -> None:
    alone = ist.power(SCENARIO, n=20, replicates=50, rng=3)
    both = ist.power(SCENARIO, n=[20, 60], replicates=50, rng=3)
    np.testing.assert_array_equal(alone.estimate[0], both.estimate[0])


def test_more_patients_find_more_and_know_more() -> None:
    table = ist.power(SCENARIO, n=[20, 60, 180], replicates=250, rng=1).tidy()
    for _, part in table.groupby("quantity"):
        assert part["power"].is_monotonic_increasing
        assert part["width"].is_monotonic_decreasing
        assert (part["power_low"] < part["power"]).all()


@pytest.mark.parametrize(
    "options", [{"analysis": "mmrm"}, {"analysis": "mmrm", "by_cohort": True}, {"analysis": "growth"}]
)
def test_intervals_cover_what_the_scenario_says(options: dict[str, Any]) -> None:
    """4 Monte Carlo errors around 95 %, and the median difference within its own error."""
    table = ist.power(SCENARIO, n=100, replicates=1000, rng=11, **options).tidy().set_index("quantity")
    assert table.loc["difference", "truth"] == pytest.approx(0.5 * (0.5 - 1.2))
    assert table.loc["retained", "truth"] == pytest.approx(0.5 / 1.2)
    assert ((table["coverage"] - 0.95).abs() < 4 * np.sqrt(0.95 * 0.05 / 1000)).all()
    spread = table.loc["difference", "width"] / 3.92
    assert abs(table.loc["difference", "median_estimate"] + 0.35) < 4 * 1.2533 * spread / np.sqrt(1000)


def test_without_a_difference_five_per_cent_find_one() -> None:
    null = replace(SCENARIO, outcomes={"bsi": replace(TRUTH, d={"before": {36: 0.8}, "during": {36: 0.8}})})
    found = ist.power(null, n=80, replicates=1000, rng=5).tidy()["power"]
    assert ((found - 0.05).abs() < 4 * np.sqrt(0.05 * 0.95 / 1000)).all()


def test_studies_are_drawn_as_simulate_visits_draws_them() -> None:
    """Means and variances of every cohort and visit, and who is seen, of 400 studies against 400 single ones."""
    together = draw_studies(SCENARIO, 400, np.random.default_rng(1))["bsi"]
    rows = pd.concat([ist.simulate_visits(SCENARIO, rng=k) for k in range(400)])
    for c, (name, patients) in enumerate((("before", slice(0, 60)), ("during", slice(60, 100)))):
        n = together[:, patients, 0].size
        for v, month in enumerate(SCENARIO.visits):
            one = together[:, patients, v]
            other = rows.loc[(rows["cohort"] == name) & (rows["month"] == month), "bsi"]
            seen, expected = np.isfinite(one).mean(), other.notna().sum() / n
            assert abs(seen - expected) < 5 * np.sqrt(2 * 0.25 / n), (c, v)
            assert np.nanmean(one) == pytest.approx(other.mean(), abs=5 * 0.6 * np.sqrt(2 / n))
            assert np.nanvar(one) == pytest.approx(other.var(), rel=5 * np.sqrt(4 / n))


def test_each_drawn_study_has_therapists_of_its_own() -> None:
    apart = replace(SCENARIO, therapists=2, outcomes={"bsi": replace(TRUTH, therapist_sd=0.35)}, dropout=None, missed=0)
    y = draw_studies(apart, 500, np.random.default_rng(2))["bsi"][:, :, 0]
    # Were therapists shared, study means would spread by the patients' error alone, .5^2 / 100.
    assert y.mean(axis=1).var() > 10 * 0.25 / 100


def test_cohorts_keep_their_proportions() -> None:
    seen: list[dict[str, int]] = []

    def count(frame: pd.DataFrame) -> dict[str, float]:
        seen.append(frame.groupby("cohort")["patient"].nunique().to_dict())
        return {"p_value": 0.5}

    ist.power(SCENARIO, n=[25, 51], analysis=count, replicates=2, rng=1)
    assert seen == [{"before": 15, "during": 10}] * 2 + [{"before": 31, "during": 20}] * 2


def test_a_function_of_the_frame_is_counted_by_test_or_interval() -> None:
    def own(frame: pd.DataFrame) -> pd.Series:
        fit = ist.fit_mmrm(frame, outcome="bsi", visit="month", patient="patient", cohort="cohort", reference="before")
        return fit.contrasts(at=[36]).tidy().set_index("quantity").loc["change"]

    curve = ist.power(SCENARIO, n=60, analysis=own, truth=0.35, replicates=60, rng=4)
    row = curve.tidy().iloc[0]
    assert row["quantity"] == "analysis"
    assert row["fitted_share"] == 1
    assert 0.4 < row["power"] < 0.95
    assert row["coverage"] > 0.8
    by_interval = ist.power(SCENARIO, n=60, analysis=lambda f: own(f).drop("p_value"), truth=0.35, replicates=60, rng=4)
    np.testing.assert_array_equal(curve.found, by_interval.found)


def test_programmes_are_analysed_by_a_function_and_failures_count_as_not_found() -> None:
    def cox(frame: pd.DataFrame) -> pd.Series:
        fit = ist.fit_cox(frame, duration="years", event="discontinued", terms=["leadership"], cluster="organisation")
        return fit.tidy().iloc[0]

    curve = ist.power(PROGRAMMES, n=[6, 90], analysis=cox, replicates=30, rng=2)
    small, large = curve.tidy().to_dict("records")
    assert "programmes, all cohorts together" in repr(curve)
    assert small["fitted_share"] < 1
    assert large["power"] > small["power"]


def test_size_for_lies_between_the_sizes_around_it() -> None:
    curve = ist.power(SCENARIO, n=[40, 80, 160], replicates=400, rng=9)
    table = curve.tidy().query("quantity == 'difference'")
    size = curve.size_for(0.8)
    above = table[table["n"] >= size]["power"].min()
    assert 40 < size < 160
    assert above >= 0.8 > table[table["n"] < size]["power"].max()
    assert np.isnan(curve.size_for(0.9999))
    assert curve.size_for(0.01) == 40


def test_progress_says_how_much_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    ist.power(SCENARIO, n=[20, 24], replicates=10, rng=1, progress=True)
    told = capsys.readouterr().err
    assert "power: 1 of 2, about" in told
    assert told.rstrip().endswith("s")
    assert "power: 2 of 2" in told


REFUSED: dict[str, tuple[Any, dict[str, Any], str]] = {
    "scenario": ([1], {}, "scenario: a list is no Scenario or ProgrammeScenario"),
    "therapists": (
        REORGANISATION,
        {},
        "analysis='mmrm': therapists of the scenario differ; give a function that fits what the study will, with "
        "groups='therapist'",
    ),
    "jitter": (
        replace(SCENARIO, jitter=1.0),
        {"analysis": "growth"},
        "analysis='growth': visits of the scenario are not at fixed times (jitter); give a function that fits what the "
        "study will",
    ),
    "words": (
        SCENARIO,
        {"analysis": "mmmr", "replicates": 0, "n": [3]},
        "n=3: less than 4\nreplicates=0: less than 2\nanalysis='mmmr': unknown option; did you mean 'mmrm'?",
    ),
    "programmes": (
        PROGRAMMES,
        {},
        "analysis='mmrm': not for programmes; give a function, as lambda frame: ist.fit_cox(frame, ...).tidy().iloc[0]",
    ),
    "time": (SCENARIO, {"at": 20}, "at=20: no visit of the scenario; an MMRM has means at visits only"),
    "answer": (
        SCENARIO,
        {"analysis": len},
        "analysis: returned a int; return one row: a mapping, a Series or a table of one row with p_value, or conf_low "
        "and conf_high",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_exact_words(case: str) -> None:
    scenario, options, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        ist.power(scenario, **({"n": 40, "replicates": 4, "rng": 1} | options))
    assert str(caught.value) == message


def test_a_time_at_which_nothing_has_changed_or_nobody_is_seen_is_refused() -> None:
    with pytest.raises(DataError, match=r"^at=0: not after the first visit; nothing has changed by then$"):
        ist.power(SCENARIO, n=20, at=0)
    with pytest.raises(DataError, match=r"^at=12: no visit of the scenario; say shape='linear'"):
        ist.power(SCENARIO, n=20, at=12, analysis="growth")


def test_what_is_for_functions_only_is_not_taken_in_silence() -> None:
    with pytest.raises(DataError) as caught:
        ist.power(SCENARIO, n=20, null=0.5, truth=0.2)
    assert [line.split(":")[0] for line in str(caught.value).splitlines()] == ["null=0.5", "truth=0.2"]
    with pytest.raises(DataError, match=r"^truth='much': not a number"):
        ist.power(SCENARIO, n=20, truth="much", analysis=lambda frame: {"p_value": 0.5})


def test_a_function_may_leave_numbers_out() -> None:
    found = ist.power(SCENARIO, n=20, replicates=2, rng=1, analysis=lambda frame: {"p_value": 0.01, "conf_low": None})
    assert found.tidy()["power"].item() == 1


def test_tiny_studies_that_cannot_be_fitted_are_counted_not_guessed() -> None:
    found = ist.power(SCENARIO, n=4, replicates=50, rng=1)
    assert found.glance()["fitted_share"].item() < 1
    assert np.isnan(found.width).any()


def test_the_header_says_what_counts_as_found_of_a_function() -> None:
    found = ist.power(SCENARIO, n=20, replicates=2, rng=1, null=0.5, analysis=lambda frame: {"p_value": 0.5})
    assert "with p below 0.05, or, without a p, whose 95% interval excludes 0.5;" in found.header()[2]
    assert found.tidy()["power_low"].item() == 0
