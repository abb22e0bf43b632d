"""Sites left out one by one: each answer is that of a fit without the site."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.design.without import keep_rows
from implstats.errors import DataError
from implstats.growth.influence import left_out

ROLES = {"time": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}
NUMBERS = ["estimate", "conf_low", "conf_high"]
BSI = {"outcome": "bsi", "better": "lower"}


def growth_of(frame: pd.DataFrame, **options: Any) -> Any:
    return ist.fit_growth(frame, **(BSI | ROLES | options))


def mmrm_of(frame: pd.DataFrame, **options: Any) -> Any:
    return ist.fit_mmrm(frame, **(BSI | {("visit" if k == "time" else k): v for k, v in ROLES.items()} | options))


@pytest.fixture(scope="module")
def sites(visits: pd.DataFrame) -> pd.DataFrame:
    """Return the example with six sites that differ in level and in change, and patients' weights."""
    frame = visits.copy()
    site = frame["patient"].astype(int) % 6
    rng = np.random.default_rng(4)
    level, slope = rng.normal(0, 0.4, 6)[site], rng.normal(0, 0.015, 6)[site]
    frame["bsi"] += level + slope * frame["month"]
    frame["known"] = 1.0 + frame["month"] % 4
    frame["w"] = 0.5 + (frame["patient"].astype(int) * 7 % 11) / 10
    return frame.assign(site=[f"S{k}" for k in site])


CASES = {
    "growth, visits": (growth_of, {}),
    "growth, sites and covariates": (growth_of, {"groups": "site", "adjust": "age + sex", "shape": "linear"}),
    "growth, ar1": (growth_of, {"residual": "ar1", "random": "intercept", "shape": "linear"}),
    "growth, by cohort": (growth_of, {"residual": "by_cohort", "random": "intercept"}),
    "growth, precision": (growth_of, {"precision": "known", "random": "intercept", "shape": "linear"}),
    "growth, weighted": (growth_of, {"patient_weights": "w", "method": "ml", "shape": "linear"}),
    "mmrm, own covariance": (mmrm_of, {"by_cohort": True}),
    "mmrm, baseline column": (mmrm_of, {"covariance": "ar1", "adjust": ["age"]}),
}


@pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
@pytest.mark.parametrize("name", CASES)
def test_each_answer_is_that_of_the_frame_without_the_site(sites: pd.DataFrame, name: str) -> None:
    fit, options = CASES[name]
    found = ist.leave_one_out(fit(sites, **options), by="site", frame=sites).tidy().query("level == 'S2'")
    alone = fit(sites[sites["site"] != "S2"], **options)
    last = alone.effect_sizes(36).tidy().query("quantity == 'difference'")
    np.testing.assert_allclose(found.query("quantity == 'difference'")[NUMBERS], last[NUMBERS], rtol=2e-6)
    kept = alone.retained_improvement(36).tidy()
    np.testing.assert_allclose(found.query("quantity == 'retained'")[NUMBERS], kept[NUMBERS], rtol=2e-6)
    assert found["n"].tolist() == [sites.query("site == 'S2'")["patient"].nunique()] * 2


def test_a_design_of_all_its_rows_is_the_design(growth: Any) -> None:
    design = growth.design
    same = keep_rows(design, np.ones(len(design.y), dtype=bool))
    np.testing.assert_array_equal(same.X, design.X)
    np.testing.assert_array_equal(same.patient_codes, design.patient_codes)
    assert (same.sample, same.first_seen, same.last_seen) == (design.sample, design.first_seen, design.last_seen)


@pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")
def test_deletions_of_a_diagnosis_agree(sites: pd.DataFrame) -> None:
    growth = growth_of(sites, groups="site", shape="linear")
    (deletions,) = (one for one in left_out(growth) if one.group == "site")
    (row, reference) = (rows[0] for rows in reversed(growth.improvement_rows([36])))
    ratios = deletions.beta @ row / (deletions.beta @ reference)
    found = ist.leave_one_out(growth, by="site").tidy().query("quantity == 'retained'").iloc[1:]
    np.testing.assert_allclose(found["estimate"].to_numpy(float), ratios, rtol=1e-5)


def test_a_study_is_asked_outcome_by_outcome(study: Any, visits: pd.DataFrame) -> None:
    found = ist.leave_one_out(study, by="therapist", frame=visits)
    table = found.tidy()
    assert table.groupby("outcome", sort=False)["level"].nunique().to_dict() == {"bsi": 11, "sipp": 11}
    whole = table[(table["level"] == "") & (table["quantity"] == "difference")]
    mine = study.tidy().query("time == 36")
    np.testing.assert_allclose(whole["estimate"], mine["d_difference"], rtol=1e-12)
    np.testing.assert_allclose(whole["conf_low"], mine["d_difference_low"], rtol=1e-12)
    kept = table[(table["level"] == "") & (table["quantity"] == "retained")]
    np.testing.assert_allclose(kept["conf_high"], mine["retained_high"], rtol=1e-12)
    assert found.header()[1].startswith("bsi at month 36, during: difference in d ")


def test_the_smallest_and_the_largest_are_named(growth: Any, visits: pd.DataFrame) -> None:
    found = ist.leave_one_out(growth, by="therapist", frame=visits)
    without = found.tidy().query("quantity == 'difference' and level != ''")
    low, high = (without.loc[without["estimate"] == end(without["estimate"])].iloc[0] for end in (min, max))
    words = found.in_words()[0]
    assert (
        f"{low['estimate']:.2f} (without {low['level']}) to {high['estimate']:.2f} (without {high['level']})" in words
    )


def test_a_conclusion_that_rests_on_one_level_is_said() -> None:
    # All of the difference is in one of three sites.
    rng = np.random.default_rng(2)
    n = 90
    frame = pd.DataFrame({"patient": np.repeat(np.arange(n), 2), "month": [0, 36] * n})
    frame["cohort"] = np.where(frame["patient"] % 2, "before", "during")
    frame["site"] = np.array(["A", "B", "C"])[frame["patient"] // 2 % 3]
    worse = (frame["site"] == "C") & (frame["cohort"] == "during")
    frame["bsi"] = 2 + rng.normal(0, 0.5, 2 * n) - np.where(frame["month"] == 36, np.where(worse, -0.4, 1.0), 0)
    found = ist.leave_one_out(mmrm_of(frame), by="site", frame=frame)
    assert found.in_words()[0].endswith("its interval excludes 0, but not without C")


def test_what_leaves_a_cohort_empty_is_a_row_with_its_reason(visits: pd.DataFrame) -> None:
    frame = visits.assign(site=np.where(visits["cohort"] == "before", "old", visits["therapist"]))
    found = ist.leave_one_out(growth_of(frame), by="site", frame=frame)
    row = found.tidy().query("level == 'old'").iloc[0]
    assert row["error"] == "cohort='before': nobody is left"
    assert np.isnan(row["estimate"])
    assert found.glance()["failed"].iloc[0] == 1
    assert found.header()[-1] == "bsi without 'old': cohort='before': nobody is left"


def test_what_cannot_be_is_refused(growth: Any, study: Any, visits: pd.DataFrame, mixed: Any) -> None:
    for call, message in [
        (lambda: ist.leave_one_out(growth, by="therapist"), "by='therapist': no grouping factor of bsi ~ "),
        (lambda: ist.leave_one_out(growth, by="ward", frame=visits), "by='ward': no such column; there are"),
        (
            lambda: ist.leave_one_out(growth, by="therapist", frame=visits.reset_index(drop=True).iloc[5:]),
            "frame: its index does not tell the fitted rows apart; give the frame that was fitted",
        ),
        (
            lambda: ist.leave_one_out(growth, by="site", frame=visits.assign(site="A")),
            "by='site': one level; leaving out takes 2 to 200 (diagnose() for patients)",
        ),
        (
            lambda: ist.leave_one_out(
                growth, by="t", frame=visits.assign(t=visits["therapist"].where(visits.index > 3))
            ),
            "by='t': missing in rows 0, 1, 2 and 1 more; fill it in",
        ),
        (lambda: ist.leave_one_out(study, by="therapist", sd=1.0), "sd=1: a study has its own"),
        (lambda: ist.leave_one_out(mixed, by="therapist"), "leave_one_out: needs a study or a growth result, not a M"),
    ]:
        with pytest.raises(DataError) as caught:
            call()
        assert str(caught.value).startswith(message)


def test_patients_can_be_left_out_too(visits: pd.DataFrame) -> None:
    few = visits[visits["patient"].astype(int) % 4 == 0]
    growth = growth_of(few, shape="linear", random="intercept")
    found = ist.leave_one_out(growth, by="patient")
    assert set(found.tidy()["n"].iloc[2:]) == {1}
    assert found.glance()["n"].iloc[0] == few["patient"].nunique()


def test_a_frame_that_was_sorted_and_numbered_anew_is_refused(sites: pd.DataFrame) -> None:
    """Its index finds rows, but of other patients: every level would be somebody else's."""
    fit = growth_of(sites, shape="linear")
    other = sites.sort_values("bsi", ignore_index=True)
    with pytest.raises(DataError, match=r"^frame: by its index, 'patient' is not that of the fitted rows"):
        ist.leave_one_out(fit, by="site", frame=other)


def test_a_level_without_a_name_is_missing(sites: pd.DataFrame) -> None:
    with pytest.raises(DataError, match=r"^by='site': missing in rows .*; fill it in$"):
        ist.leave_one_out(growth_of(sites, shape="linear"), by="site", frame=sites.replace({"site": {"S0": ""}}))
