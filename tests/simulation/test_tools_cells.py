"""The studies that a plain comparison gets wrong know their own truth; a sentence about their errors is held here."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import study
import tools_cells
from scipy.special import expit

import implstats as ist
from implstats import _parallel

CELLS = {cell.name: cell for cell in tools_cells.cells()}
NOT_AT_RANDOM, ANOTHER_LINE, CONFOUNDED, STRADDLERS = CELLS.values()
# So large that what is wrong is so by many standard errors.
LARGE = {
    NOT_AT_RANDOM.name: {"per_cohort": 8_000},
    ANOTHER_LINE.name: {"per_cohort": 10_000},
    CONFOUNDED.name: {"patients": 10_000},
    STRADDLERS.name: {"patients": 10_000},
}


@pytest.mark.filterwarnings("ignore::implstats.BoundaryWarning")
@pytest.mark.parametrize("name", CELLS)
def test_in_a_very_large_study_the_tool_finds_the_truth_and_the_plain_comparison_does_not(name):
    cell = replace(CELLS[name], **LARGE[name])
    frame = cell.draw("effect", np.random.default_rng(11))
    for model in cell.models:
        answers, _ = cell.answer(model, frame, np.random.default_rng(12))
        for method, values in zip(cell.methods(model), answers, strict=True):
            for what in cell.asked(model, method):
                estimate, error, *_ = values[cell.quantities.index(what)]
                off = abs(estimate - cell.truth_of("effect", model)[what]) / error
                assert (off > 5) == (method in cell.naive), (method, what)
                assert (off < 3.5) == (method not in cell.naive), (method, what)


@pytest.mark.parametrize("truth", ["effect", "null"])
def test_the_true_difference_counts_those_who_left_with_their_delta(truth):
    # Everybody's last score as it would have been: delta less for who of the second cohort was not there to give it.
    cell = replace(NOT_AT_RANDOM, per_cohort=200_000)
    frame = cell.draw(truth, np.random.default_rng(3))
    last = frame[frame["month"] == 36].groupby("cohort").size() / cell.per_cohort
    assert 1 - last["during"] == pytest.approx(cell.gone(cell.gained(truth)), abs=0.004)
    assert 1 - last["before"] == pytest.approx(cell.gone(cell.improved), abs=0.004)
    gained = cell.gained(truth) - cell.delta * (1 - last["during"])
    assert gained - cell.improved == pytest.approx(cell.truth_under[truth], abs=0.002)


def test_the_true_differences_of_confounded_cohorts_are_means_over_the_patients_they_speak_of():
    severity = np.random.default_rng(5).standard_normal(2_000_000)
    e = CONFOUNDED.score(severity)
    level, more = CONFOUNDED.differs["effect"]
    for what, weight in (("all", np.ones_like(e)), ("as during", e), ("overlap", e * (1 - e))):
        said = np.average(level + more * severity, weights=weight)
        assert CONFOUNDED.truth_of("effect", "fit_mmrm")[what] == pytest.approx(said, abs=5e-4)
    assert set(CONFOUNDED.truth_of("null", "fit_mmrm").values()) == {0.0}


def test_who_straddles_the_change_and_from_when_on_it_counts():
    frame = replace(STRADDLERS, patients=3_000).draw("effect", np.random.default_rng(8))
    # Entry over 72 months, 24 of treatment: a third was in treatment on that day.
    assert STRADDLERS.counted(frame)["straddlers"] / 3_000 == pytest.approx(1 / 3, abs=0.03)
    last = frame[frame["month"] == 24]
    months = (STRADDLERS.change - last["admitted"]).dt.days / 30.4375
    after, across, before = last["score"].groupby(pd.cut(months, [-np.inf, 0, 24, np.inf]), observed=True).mean()
    assert before == pytest.approx(2 + 0.5, abs=0.05)
    assert after == pytest.approx(2 + 0.25 - 0.1, abs=0.05)
    assert before - 0.2 > across > after + 0.05


def committed(cell):
    record = json.loads(study.FAMILIES["tools"].results.read_text(encoding="utf-8"))["cells"][cell.name]
    return {truth: part["models"] for truth, part in record["truths"].items()}


def biased(cell, truth, model, method, what, by):
    """Say whether a committed bias is what it should be, to four Monte Carlo errors."""
    found = committed(cell)[truth][model]["methods"][method][what]
    return abs(found["bias"] - by) < 4 * found["bias_error"]


@pytest.mark.parametrize("truth", ["effect", "null"])
def test_the_bias_of_what_is_missing_at_random_is_delta_times_the_share_that_left(truth):
    share = NOT_AT_RANDOM.gone(NOT_AT_RANDOM.gained(truth))
    assert share == pytest.approx(0.31, abs=0.015)
    by = NOT_AT_RANDOM.delta * share
    assert biased(NOT_AT_RANDOM, truth, "fit_mmrm", "missing at random", "difference", by)
    assert biased(NOT_AT_RANDOM, truth, "tipping_point", "delta = 0", "difference", by)


def test_with_one_line_a_cohort_leavers_count_for_less_than_their_share():
    frame = replace(ANOTHER_LINE, per_cohort=10_000).draw("effect", np.random.default_rng(2))
    gained = ist.fit_growth(frame, **tools_cells.TIME).changes([36]).tidy()["estimate"].to_numpy()
    stayed, left = ANOTHER_LINE.improved["effect"].T
    lost = ANOTHER_LINE.leave - (stayed - gained) / (stayed - left)
    assert 0.04 < lost[0] < lost[1] - 0.04


@pytest.mark.parametrize("truth", ["effect", "null"])
def test_the_bias_of_confounded_cohorts_is_that_of_their_covariate_and_of_whom_they_stand_for(truth):
    severity = np.random.default_rng(6).standard_normal(2_000_000)
    e = CONFOUNDED.score(severity)
    later, before = np.average(severity, weights=e), np.average(severity, weights=1 - e)
    assert later - before == pytest.approx(0.70, abs=0.01)
    level, more = CONFOUNDED.differs[truth]
    found = level + more * later + CONFOUNDED.gain * (later - before)
    for what, true in CONFOUNDED.truth_of(truth, "fit_mmrm").items():
        for method in CONFOUNDED.naive:
            assert biased(CONFOUNDED, truth, "fit_mmrm", method, what, found - true)
    plain, adjusted = (
        committed(CONFOUNDED)[truth]["fit_mmrm"]["methods"][method]["all"] for method in CONFOUNDED.naive
    )
    assert plain["bias"] == pytest.approx(adjusted["bias"], abs=1e-6)


def test_straddlers_taken_by_their_start_hide_what_they_lost():
    level, slope = STRADDLERS.since["effect"]
    # Their change came at any time of 24 months; they are 24 of the 36 months of those who started before it.
    lost = -(level + 12 * slope)
    assert lost == pytest.approx(0.225)
    assert biased(STRADDLERS, "effect", "fit_growth", "by_start", "difference", lost * 24 / 36)
    said = committed(STRADDLERS)["effect"]["fit_growth"]["methods"]
    ratio = said["by_start, interruption="]["difference"]["sd"] / said["exclude"]["difference"]["sd"]
    assert ratio == pytest.approx(5 / 6, abs=0.04)


WEIGHTS = {
    "ate": lambda e, other: np.where(other, 1 / e, 1 / (1 - e)),
    "att": lambda e, other: np.where(other, 1, e / (1 - e)),
    "overlap": lambda e, other: np.where(other, 1 - e, e),
}


def by_hand(frame, estimand):
    """Return the weighted difference, its error with weights as known, and with their model estimated too."""
    score = frame["score"].to_numpy().reshape(-1, len(CONFOUNDED.visits))
    gained, one = score[:, -1] - score[:, 0], frame.drop_duplicates("patient")
    other, X = (one["cohort"] == "during").to_numpy(), np.column_stack([np.ones(len(one)), one["severity"]])

    def difference(b):
        w = WEIGHTS[estimand](expit(X @ b), other)
        return np.average(gained[other], weights=w[other]) - np.average(gained[~other], weights=w[~other])

    b = np.zeros(2)
    for _ in range(8):
        e = expit(X @ b)
        information = (X * (e * (1 - e))[:, None]).T @ X
        b = b + np.linalg.solve(information, X.T @ (other - e))
    w = WEIGHTS[estimand](expit(X @ b), other)
    own = np.zeros(len(w))
    for side, sign in ((other, 1), (~other, -1)):
        own[side] = sign * w[side] * (gained[side] - np.average(gained[side], weights=w[side])) / w[side].sum()
    # What another model of the cohort would change, and what each patient changes in that model.
    slope = [(difference(b + h) - difference(b - h)) / 2e-5 for h in 1e-5 * np.eye(2)]
    whole = own + (X * (other - e)[:, None]) @ np.linalg.solve(information, slope)
    return difference(b), np.sqrt(own @ own), np.sqrt(whole @ whole)


@pytest.mark.parametrize("estimand", WEIGHTS)
def test_errors_are_a_little_large_as_weights_are_taken_as_known(estimand):
    (quantity,) = committed(CONFOUNDED)["null"]["fit_mmrm"]["methods"][f"weights, {estimand}"].values()
    found = []
    for replicate in range(CONFOUNDED.replicates):
        frame = CONFOUNDED.draw("null", _parallel.generators(study.SEED, CONFOUNDED.key, 1, replicate))
        found.append(by_hand(frame, estimand))
        if replicate < 3:
            library = CONFOUNDED.weighted(frame, estimand, 36.0)
            assert library[:2] == pytest.approx(found[-1][:2], rel=1e-5)
    estimate, known, whole = np.array(found).T
    # These are the studies of the table.
    assert estimate.std(ddof=1) == pytest.approx(quantity["sd"], rel=1e-3)
    assert known.mean() == pytest.approx(quantity["mean_std_error"], rel=1e-3)
    assert known.mean() / estimate.std(ddof=1) > 1.02
    assert known.mean() / whole.mean() > 1.02
    # The error of a spread over 1,000 studies is 2.2 %.
    assert whole.mean() / estimate.std(ddof=1) == pytest.approx(1, abs=0.022)
