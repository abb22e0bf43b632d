"""Tipping points: MAR at delta 0, straight lines in delta, truth of a known MNAR drop-out, and exact words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError
from implstats.sensitivity.compared import apart

ROLES = {"outcome": "bsi", "patient": "patient", "cohort": "cohort", "reference": "before", "better": "lower"}


@pytest.fixture(scope="module")
def visits() -> pd.DataFrame:
    return ist.load_example("reorganisation")


@pytest.fixture(scope="module")
def mmrm(visits: pd.DataFrame) -> ist.MMRMResult:
    return ist.fit_mmrm(visits, visit="month", **ROLES)


@pytest.mark.parametrize("options", [{}, {"by_cohort": True}, {"adjust": ["age", "sex"], "covariance": "ar1"}])
def test_without_delta_the_answers_are_those_of_the_mmrm(visits: pd.DataFrame, options: dict[str, Any]) -> None:
    fit = ist.fit_mmrm(visits, visit="month", **ROLES, **options)
    found = ist.tipping_point(fit, deltas=[0], imputations=400, rng=3).pooled[0]
    table = fit.changes(at=[36]).tidy()
    # Monte Carlo error of a mean over 400 imputations.
    noise = np.sqrt(np.diag(found.between) / 400)
    assert (np.abs(found.estimate - table["estimate"]) < 4 * noise).all()
    np.testing.assert_allclose(np.sqrt(np.diag(found.covariance)), table["std_error"], rtol=0.08)


def test_answers_move_in_proportion_to_the_share_that_left(mmrm: ist.MMRMResult) -> None:
    """With complete saturated data a cohort's mean moves by delta x the share of its patients that left."""
    found = ist.tipping_point(mmrm, deltas=[-0.5, 0, 1], worse="during", imputations=20, rng=1)
    left = found.shifted["during"]
    last = mmrm.sample.visits().query("cohort == 'during' and time == 36")["n"].item()
    patients = mmrm.sample.patients["during"]
    gone = patients - last
    means = np.array([p.estimate for p in found.pooled])
    np.testing.assert_allclose(means[:, 0], means[1, 0], rtol=1e-9)
    slopes = (means[:, 1] - means[1, 1])[[0, 2]] / [-0.5, 1]
    np.testing.assert_allclose(slopes[0], slopes[1], rtol=1e-6)
    # One who missed the last visit but is not counted as having left cannot be: after the last there is none.
    assert slopes[0] == pytest.approx(-gone / patients, rel=1e-6)
    assert left >= gone


def test_the_direction_follows_better(visits: pd.DataFrame, mmrm: ist.MMRMResult) -> None:
    """Turned over, the outcome gives the same answers."""
    turned = ist.fit_mmrm(visits.assign(bsi=4 - visits["bsi"]), visit="month", **(ROLES | {"better": "higher"}))
    one, other = (ist.tipping_point(fit, deltas=[0, 0.4], imputations=10, rng=5) for fit in (mmrm, turned))
    gap = [p.estimate[1] - p.estimate[0] for p in one.pooled], [p.estimate[1] - p.estimate[0] for p in other.pooled]
    noise = np.sqrt(2 * one.pooled[0].between.trace() / 10)
    np.testing.assert_allclose(gap[0], gap[1], atol=4 * noise)
    assert np.diff(gap[0]) == pytest.approx(np.diff(gap[1]), rel=1e-6)


def test_the_same_seed_gives_the_same_draws(mmrm: ist.MMRMResult) -> None:
    one, again, other = (ist.tipping_point(mmrm, deltas=[0], imputations=10, rng=s) for s in (1, 1, 2))
    pd.testing.assert_frame_equal(one.tidy(), again.tidy())
    assert not one.tidy().equals(other.tidy())


def test_turns_lie_where_an_end_meets_no_difference(mmrm: ist.MMRMResult) -> None:
    found = ist.tipping_point(mmrm, worse="before", imputations=40, rng=1)
    turn = found.turns().set_index("quantity").loc["difference"]
    fine = ist.tipping_point(mmrm, worse="before", deltas=[0, turn["delta"]], imputations=40, rng=1)
    end = fine.tidy().query("quantity == 'difference'")["conf_high"].iloc[-1]
    assert abs(end) < 0.002
    assert f"that turns at a delta of {turn['delta_sd']:.2f} SD" in " ".join(repr(found).split())


def test_a_known_delta_gives_the_truth_back() -> None:
    """Patients leave for reasons unseen: their later visits are .6 worse than those of like patients who stayed."""
    rng = np.random.default_rng(8)
    n = 4000
    level = rng.normal(0, 0.4, n)
    y = {t: 2 + level - g * t / 36 + rng.normal(0, 0.3, n) for t, g in ((0, 0.0), (18, 0.8), (36, 1.0))}
    cohort = np.where(np.arange(n) % 2, "during", "before")
    gone = (rng.random(n) < 1 / (1 + np.exp(1.2 - 2 * (y[18] - 1.5)))) & (cohort == "during")
    true = {c: (y[0] - y[36] - 0.6 * gone)[cohort == c].mean() for c in ("before", "during")}
    frame = pd.concat(
        [
            pd.DataFrame(
                {"patient": np.arange(n), "cohort": cohort, "month": t, "bsi": np.where(gone & (t == 36), np.nan, v)}
            )
            for t, v in y.items()
        ]
    )
    fit = ist.fit_mmrm(frame, visit="month", **ROLES)
    found = ist.tipping_point(fit, deltas=[0, 0.6], worse="during", imputations=20, rng=1)
    gap = true["during"] - true["before"]
    naive, right = (p.estimate[1] - p.estimate[0] for p in found.pooled)
    error = np.sqrt(found.pooled[1].covariance.trace())
    assert abs(right - gap) < 3 * error
    assert abs(naive - gap) > 6 * error


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "at": ({"at": 12}, "at=12: no visit after the baseline; there are 0, 18, 36"),
    "worse": ({"worse": "durin"}, "worse='durin': no such cohort as 'durin'; did you mean 'during'?"),
    "imputations": ({"imputations": 2}, "imputations=2: less than 5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_exact_words(mmrm: ist.MMRMResult, case: str) -> None:
    options, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        ist.tipping_point(mmrm, **options)
    assert str(caught.value) == message


def test_what_cannot_be_imputed_is_refused(visits: pd.DataFrame, mmrm: ist.MMRMResult) -> None:
    whole = visits.groupby("patient").filter(lambda f: f["bsi"].notna().sum() == 3)
    with pytest.raises(DataError, match="no visit is missing, so nothing hangs on those who left"):
        ist.tipping_point(ist.fit_mmrm(whole, visit="month", **ROLES))
    aged = visits.assign(now=visits["age"] + visits["month"] / 12)
    with pytest.raises(DataError, match=r"a covariate changes within a patient \(rows .* fit without it"):
        ist.tipping_point(ist.fit_mmrm(aged, visit="month", adjust=["now"], **ROLES))
    with pytest.raises(DataError, match="needs an MMRM, not a GrowthResult; give what fit_mmrm returned"):
        ist.tipping_point(ist.fit_growth(visits, time="month", **ROLES))  # type: ignore[arg-type]


def test_a_set_without_ends_turns_where_the_difference_does(mmrm: ist.MMRMResult) -> None:
    """From some delta on the set of the share is two rays; 1 stays outside of it, so nothing turns there."""
    found = ist.tipping_point(mmrm, deltas=[-3, -1, 0, 1, 3], imputations=10, rng=1)
    table = found.tidy().query("quantity == 'retained'")
    assert table["set"].tolist() == ["bounded"] * 4 + ["outside"]
    turns = found.turns().set_index("quantity")["delta"]
    assert turns.index.tolist() == ["difference", "retained"]
    assert turns["retained"] == pytest.approx(turns["difference"], abs=0.02)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_the_difference_says_of_a_share_of_one_what_its_set_says(mmrm: ist.MMRMResult, level: float) -> None:
    found = ist.tipping_point(mmrm, deltas=[-3, -0.9, 0, 1, 3], imputations=10, rng=2)
    table = found.tidy(level=level).query("quantity == 'retained'")
    for pooled, row in zip(found.pooled, table.to_dict("records"), strict=True):
        low, high = apart(1, "retained", pooled.estimate, pooled.covariance, pooled.df, level)
        between = row["conf_low"] <= 1 <= row["conf_high"]
        assert (low <= 0 <= high) == (between if row["set"] == "bounded" else not between)


def test_the_delta_of_the_first_conclusion_is_said_unless_it_is_zero(mmrm: ist.MMRMResult) -> None:
    words = [ist.tipping_point(mmrm, deltas=d, imputations=5, rng=1).header()[-1] for d in ([-4e-16, 0.1], [0.25, 0.5])]
    assert words[0].startswith("during and before differ (95% interval)")
    assert words[1].startswith("during and before differ at a delta of 0.48 SD (95% interval)")
