"""Pattern mixture: its average and variance by hand, one pattern's line against a fit of its own, and exact words."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError

ROLES = {
    "outcome": "bsi",
    "time": "month",
    "patient": "patient",
    "cohort": "cohort",
    "reference": "before",
    "better": "lower",
}


@pytest.fixture(scope="module")
def visits() -> pd.DataFrame:
    return ist.load_example("reorganisation")


@pytest.fixture(scope="module")
def mixture(visits: pd.DataFrame) -> ist.PatternMixture:
    return ist.pattern_mixture(visits, **ROLES)


def test_the_average_and_its_variance_by_hand(mixture: ist.PatternMixture) -> None:
    within = mixture.within()
    table = mixture.tidy().set_index(["quantity", "cohort"])
    for c, (cohort, part) in enumerate(within.groupby("cohort", sort=False)):
        share, change = part["share"].to_numpy(), part["estimate"].to_numpy()
        mean = share @ change
        V = mixture.covariance[2 * c : 2 * c + 2, 2 * c : 2 * c + 2]
        n = part["n"].sum()
        multinomial = change @ (np.diag(share) - np.outer(share, share)) @ change / n
        row = table.loc[("change", cohort)]
        assert row["estimate"] == pytest.approx(mean)
        assert row["std_error"] ** 2 == pytest.approx(share @ V @ share + multinomial)
    gap = table.loc[("change", "during"), "estimate"] - table.loc[("change", "before"), "estimate"]
    assert table.loc[("difference", "during"), "estimate"] == pytest.approx(gap)


def test_patterns_are_counted_from_the_rows(visits: pd.DataFrame, mixture: ist.PatternMixture) -> None:
    seen = visits.dropna(subset="bsi")
    last = seen.groupby("patient")["month"].max() == 36
    cohort = seen.groupby("patient")["cohort"].first()
    expected = [[((cohort == c) & (last == stayed)).sum() for stayed in (True, False)] for c in ("before", "during")]
    np.testing.assert_array_equal(mixture.counts, expected)
    once = (seen.groupby("patient").size() == 1) & ~last
    assert mixture.once == once.sum()


def test_lines_are_those_of_a_growth_model_with_a_cohort_for_each_cell(
    visits: pd.DataFrame, mixture: ist.PatternMixture
) -> None:
    seen = visits.dropna(subset="bsi")
    stays = seen["patient"].map(seen.groupby("patient")["month"].max() == 36)
    cell = seen["cohort"].astype(str) + stays.map({True: " a", False: " b"})
    fit = ist.fit_growth(
        seen.assign(cell=cell), shape="linear", **(ROLES | {"cohort": "cell", "reference": "before a"})
    )
    table = fit.changes(at=[36]).tidy().set_index("cohort")
    np.testing.assert_allclose(
        mixture.change.ravel(), table.loc[["before a", "before b", "during a", "during b"], "estimate"]
    )


def test_truth_where_those_who_leave_change_along_another_line() -> None:
    """Those who leave after month 18 change half as fast; the plain model borrows the line of those who stay."""
    rng = np.random.default_rng(3)
    n = 3000
    cohort = np.where(np.arange(n) % 2, "during", "before")
    leaves = rng.random(n) < np.where(cohort == "during", 0.5, 0.2)
    slope = np.where(leaves, 0.01, 0.03)
    level = rng.normal(2, 0.4, n)
    rows = [
        pd.DataFrame(
            {"patient": np.arange(n), "cohort": cohort, "month": t, "bsi": level - slope * t + rng.normal(0, 0.3, n)}
        )[~leaves | (t <= 18)]
        for t in (0, 9, 18, 36)
    ]
    frame = pd.concat(rows)
    true = 36 * (np.array([0.8, 0.5]) * 0.03 + np.array([0.2, 0.5]) * 0.01)
    found = ist.pattern_mixture(frame, **ROLES).tidy().query("quantity == 'change'")
    assert (np.abs(found["estimate"] - true) < 3.5 * found["std_error"]).all()
    plain = ist.fit_growth(frame, shape="linear", random="intercept", **ROLES).changes(at=[36]).tidy()
    assert plain["estimate"].iloc[1] - true[1] > 3.5 * plain["std_error"].iloc[1]


def test_refused_with_exact_words(visits: pd.DataFrame) -> None:
    whole = visits.groupby("patient").filter(lambda f: f["bsi"].notna().sum() == 3)
    with pytest.raises(DataError) as caught:
        ist.pattern_mixture(whole, **ROLES)
    assert str(caught.value) == (
        "pattern_mixture: nobody left before the last visit, so there is one pattern only; use fit_growth"
    )
    last = visits.groupby("patient")["month"].transform("max")
    few = visits[(last == 36) | (visits["cohort"] == "during")]
    with pytest.raises(DataError) as caught:
        ist.pattern_mixture(few, **ROLES)
    assert "'before': " in str(caught.value)
    assert "too few for a line of their own (5); use tipping_point" in str(caught.value)
