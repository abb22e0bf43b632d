"""Cohorts that missed a visit, slopes of curves, draws that lose a visit: what may be said, and what not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import implstats as ist

ROLES = {"outcome": "y", "time": "week", "patient": "patient", "cohort": "cohort", "reference": "a"}


@pytest.fixture(scope="module")
def holes() -> pd.DataFrame:
    """Return three cohorts; a was not seen at 3, b not at 1."""
    rng = np.random.default_rng(0)
    rows = [
        (f"{c}{i}", c, t, rng.normal() + t * slope)
        for c, slope in (("a", 0.1), ("b", 0.2), ("c", 0.3))
        for i in range(10)
        for t in (0, 1, 2, 3)
        if (c, t) not in {("a", 3), ("b", 1)}
    ]
    return pd.DataFrame(rows, columns=["patient", "cohort", "week", "y"])


def test_cells_that_were_seen_have_their_raw_means(holes: pd.DataFrame) -> None:
    growth = ist.fit_growth(holes, **ROLES, better="higher", random="intercept")
    raw = holes.groupby(["cohort", "week"])["y"].mean()
    for row in growth.means([0, 2]).tidy().to_dict("records"):
        # Times 0 and 2 are complete, so a random intercept leaves the raw means only where all cells are balanced;
        # patients of one cohort share their visits, which is balanced enough.
        assert row["estimate"] == pytest.approx(raw[row["cohort"], row["time"]], rel=1e-8)
    for t in (1, 3):
        with pytest.raises(ist.DataError, match="no visit at this time"):
            growth.means([t])


def test_nothing_is_said_by_default_of_a_visit_that_a_cohort_never_had(holes: pd.DataFrame) -> None:
    growth = ist.fit_growth(holes, **ROLES, better="higher", random="intercept")
    unseen = {("a", 3.0), ("b", 1.0)}
    for method in (growth.means, growth.changes, growth.effect_sizes, growth.retained_improvement, growth.contrasts):
        try:
            table = method().tidy()
        except ist.DataError:
            continue
        said = set(zip(table["cohort"], table["time"], strict=True))
        # Either refused, or left out: a number for such a cell is the reference's, or another cohort's.
        assert not said & unseen, f"{method.__name__} gives numbers for {sorted(said & unseen)}"
        if "reference" in table and method != growth.effect_sizes:
            assert 3.0 not in set(table["time"]), f"{method.__name__} compares with a reference that was not seen"


def test_slopes_of_a_parabola_are_its_derivative() -> None:
    rng = np.random.default_rng(3)
    rows = [
        (f"p{i}", "ab"[i % 2], t, 5 - 0.4 * t + 0.01 * t * t + u[0] + 0.2 * u[1] * t + rng.normal())
        for i, u in enumerate(rng.normal(size=(20, 2)))
        for t in (0, 6, 12, 24, 36)
    ]
    frame = pd.DataFrame(rows, columns=["patient", "cohort", "week", "y"])
    growth = ist.fit_growth(frame, **ROLES, shape="quadratic")
    b = growth.params
    for t in (0, 12, 36):
        # d/dt (b1 t + b2 t^2) = b1 + 2 b2 t, at the ends as well.
        slope = b["week"] + 2 * b["week^2"] * t
        more = b["week:cohort[b]"] + 2 * b["week^2:cohort[b]"] * t
        found = growth.trends([t]).tidy()["estimate"].tolist()
        assert found == pytest.approx([slope, slope + more, more], rel=1e-7)
    row = np.zeros(6)
    row[list(b.index).index("week")] = 1
    first = growth.trends().tidy().iloc[0]
    assert first["std_error"] == pytest.approx(np.sqrt(row @ growth.vcov.to_numpy() @ row), rel=1e-7)


def test_draws_that_lose_a_visit_are_counted_not_guessed() -> None:
    rng = np.random.default_rng(3)
    rows = []
    for cohort in ("a", "b"):
        for i in range(12):
            level = rng.normal()
            for t in (0, 18, 36):
                # One patient only of b came at 36.
                if t < 36 or cohort == "a" or i == 0:
                    rows.append((f"{cohort}{i}", cohort, t, 10 - 0.05 * t + level + rng.normal()))
    frame = pd.DataFrame(rows, columns=["patient", "cohort", "week", "y"])
    comparison = ist.compare_cohorts(
        frame, outcomes={"y": "lower"}, time="week", patient="patient", cohort="cohort", reference="a", at=[36]
    )
    overall = comparison.overall(draws=150, rng=1)
    # (11/12)^12 = .352 of the draws miss that patient: 53 of 150, SD 5.8.
    assert 30 <= overall.failed <= 76
    assert len(overall.draws) == 150 - overall.failed
    d = overall.draws[:, 1]
    assert np.abs(d).max() < 10


def test_comparison_asks_for_no_slope_that_the_rows_used_cannot_carry() -> None:
    # The third visit lacks its covariate: two visits are left of each patient, so patients differ by level only.
    rng = np.random.default_rng(4)
    rows = [
        (f"p{i}", "ab"[i % 2], t, 10 - 0.1 * t + u + rng.normal(), np.nan if t == 24 else 30.0 + i % 7)
        for i, u in enumerate(rng.normal(size=30))
        for t in (0, 12, 24)
    ]
    frame = pd.DataFrame(rows, columns=["patient", "cohort", "week", "y", "age"])
    comparison = ist.compare_cohorts(
        frame,
        outcomes={"y": "lower"},
        time="week",
        patient="patient",
        cohort="cohort",
        reference="a",
        at=12,
        adjust=["age"],
        model="growth",
    )
    assert comparison.fits["y"].formula.endswith("(1 | patient)")
