"""MMRM and residual structures on complete data, where means, covariances, errors and df have closed forms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist

WAYS = ["satterthwaite", "kenward-roger"]
# Four patients before, three during; visits at 0, 6 and 18.
BEFORE = np.array([[9.0, 6, 5], [7, 6, 1], [8, 3, 2], [8, 5, 4]])
DURING = np.array([[9.0, 8, 8], [6, 7, 3], [9, 6, 7]])
TIMES = (0, 6, 18)
ROLES: dict[str, Any] = {"outcome": "bsi", "patient": "patient", "cohort": "cohort", "reference": "before"}
# Means: before (8, 5, 3), during (8, 7, 6). Sums of squares and products about them:
#   before  deviations (1,1,2), (-1,1,-2), (0,-2,-1), (0,0,1): [[2, 0, 4], [0, 6, 2], [4, 2, 10]]
#   during  deviations (1,1,2), (-2,0,-3), (1,-1,1):           [[6, 0, 9], [0, 2, 1], [9, 1, 14]]
SS_BEFORE = np.array([[2.0, 0, 4], [0, 6, 2], [4, 2, 10]])
SS_DURING = np.array([[6.0, 0, 9], [0, 2, 1], [9, 1, 14]])
POOLED = (SS_BEFORE + SS_DURING) / 5


def long(before: np.ndarray, during: np.ndarray, times: tuple[int, ...] = TIMES) -> pd.DataFrame:
    rows = [
        (f"{cohort}{i}", cohort, t, y)
        for cohort, table in (("before", before), ("during", during))
        for i, row in enumerate(table)
        for t, y in zip(times, row, strict=True)
    ]
    return pd.DataFrame(rows, columns=["patient", "cohort", "month", "bsi"])


FRAME = long(BEFORE, DURING)


def mmrm(frame: pd.DataFrame = FRAME, **options: Any) -> Any:
    return ist.fit_mmrm(frame, visit="month", **(ROLES | {"better": "lower"} | options))


def growth(frame: pd.DataFrame, **options: Any) -> Any:
    return ist.fit_growth(frame, time="month", **(ROLES | {"better": "lower", "shape": "visits"} | options))


def test_sums_of_squares_of_this_file() -> None:
    for table, wanted in ((BEFORE, SS_BEFORE), (DURING, SS_DURING)):
        deviations = table - table.mean(axis=0)
        assert np.array_equal(deviations.T @ deviations, wanted)


def test_unstructured_is_cell_means_and_the_pooled_covariance() -> None:
    result = mmrm()
    assert result.means().tidy()["estimate"].tolist() == pytest.approx([8, 5, 3, 8, 7, 6], rel=1e-10)
    np.testing.assert_allclose(result.covariance()["covariance"], POOLED.ravel(), rtol=1e-6, atol=1e-7)
    assert result.variances()["sd"].tolist() == pytest.approx([math.sqrt(s / 5) for s in (8, 8, 24)], rel=1e-6)


@pytest.mark.parametrize("way", WAYS)
def test_unstructured_tests_are_t_tests_of_changes(way: str) -> None:
    result = mmrm()
    # Variance of change 0 -> 18: (8 + 24 - 2 x 13) / 5 = 6/5; the difference has 6/5 (1/4 + 1/3) = 7/10, with 5 df.
    row = result.contrasts([18], df=way).tidy().query("quantity == 'change'").iloc[0]
    assert row["estimate"] == pytest.approx(-2 - (-5), rel=1e-9)
    assert row["std_error"] == pytest.approx(math.sqrt(0.7), rel=1e-6)
    assert row["df"] == pytest.approx(5, rel=1e-5)
    assert row["statistic"] == pytest.approx(3 / math.sqrt(0.7), rel=1e-6)
    # The level at 6: variance 8/5, the difference 2 has 8/5 x 7/12 = 14/15.
    row = result.contrasts([6], df=way).tidy().query("quantity == 'level'").iloc[0]
    assert row["estimate"] == pytest.approx(2, rel=1e-9)
    assert row["std_error"] == pytest.approx(math.sqrt(14 / 15), rel=1e-6)
    assert row["df"] == pytest.approx(5, rel=1e-5)


def test_unstructured_restricted_likelihood() -> None:
    # log|V| = 7 log|S|, log|X'V^-1 X| = 3 (log 4 + log 3) - 2 log|S|, y'Py = trace of S^-1 times 5 S = 15 = n - p.
    wanted = 15 * math.log(2 * math.pi) + 5 * math.log(np.linalg.det(POOLED)) + 3 * math.log(12) + 15
    glance = mmrm().glance().iloc[0]
    assert glance["deviance"] == pytest.approx(wanted, abs=1e-8)
    # Six means, three variances, three covariances.
    assert (glance["parameters"], glance["rows"], glance["patients"]) == (12, 21, 7)
    assert glance["bic"] == pytest.approx(wanted + 12 * math.log(21), abs=1e-8)


def test_unstructured_maximum_likelihood_divides_by_patients() -> None:
    result = mmrm(method="ml")
    np.testing.assert_allclose(result.covariance()["covariance"], (POOLED * 5 / 7).ravel(), rtol=1e-6, atol=1e-7)
    S = POOLED * 5 / 7
    wanted = 21 * math.log(2 * math.pi) + 7 * math.log(np.linalg.det(S)) + 21
    assert result.fit.deviance == pytest.approx(wanted, abs=1e-8)


# A covariance of its own takes a cohort of one patient more than there are visits.
MORE = long(np.vstack([BEFORE, [[10.0, 5, 5], [6, 6, 2]]]), np.vstack([DURING, [[8.0, 5, 7], [7, 9, 5]]]))


def test_by_cohort_is_welch() -> None:
    result = mmrm(MORE, by_cohort=True)
    wide = MORE.pivot_table(index=["cohort", "patient"], columns="month", values="bsi")
    change = wide[18] - wide[0]
    v = {c: change[c].var() / len(change[c]) for c in ("before", "during")}
    row = result.contrasts([18]).tidy().query("quantity == 'change'").iloc[0]
    assert row["estimate"] == pytest.approx(change["during"].mean() - change["before"].mean(), rel=1e-8)
    assert row["std_error"] == pytest.approx(math.sqrt(v["before"] + v["during"]), rel=1e-6)
    # Welch's df, of six and five patients.
    wanted = (v["before"] + v["during"]) ** 2 / (v["before"] ** 2 / 5 + v["during"] ** 2 / 4)
    assert row["df"] == pytest.approx(wanted, rel=1e-5)
    for c in ("before", "during"):
        found = result.covariance().query("cohort == @c")["covariance"]
        np.testing.assert_allclose(found, wide.loc[c].cov().to_numpy().ravel(), rtol=1e-6, atol=1e-6)
        own = result.changes([18]).tidy().query("cohort == @c").iloc[0]
        assert own["std_error"] == pytest.approx(math.sqrt(v[c]), rel=1e-6)
        assert own["df"] == pytest.approx({"before": 5, "during": 4}[c], rel=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_compound_symmetry_is_repeated_measures_anova(way: str) -> None:
    # S has trace 40/5 = 8 and off-diagonals 0, 13/5, 3/5. Variance: mean of the diagonal, 8/3; covariance: 16/15.
    result = mmrm(covariance="compound-symmetry")
    table = result.covariance()
    assert table["covariance"][0] == pytest.approx(8 / 3, rel=1e-6)
    assert table["covariance"][1] == pytest.approx(16 / 15, rel=1e-6)
    assert table["correlation"][1] == pytest.approx(0.4, rel=1e-6)
    # A change has variance 2 (8/3 - 16/15) = 16/5, its difference 16/5 x 7/12 = 28/15, with 5 x 2 df.
    row = result.contrasts([18], df=way).tidy().query("quantity == 'change'").iloc[0]
    assert row["std_error"] == pytest.approx(math.sqrt(28 / 15), rel=1e-6)
    assert row["df"] == pytest.approx(10, rel=1e-5)


def same_answers(one: Any, other: Any, ways: list[str] = WAYS) -> None:
    assert other.fit.deviance == pytest.approx(one.fit.deviance, abs=1e-6)
    for way in ways:
        a, b = one.contrasts([6, 18], df=way).tidy(), other.contrasts([6, 18], df=way).tidy()
        np.testing.assert_allclose(b["estimate"], a["estimate"], rtol=1e-6)
        np.testing.assert_allclose(b[["std_error", "df"]], a[["std_error", "df"]], rtol=1e-5)


def test_compound_symmetry_is_a_random_intercept() -> None:
    holes = FRAME.drop([4, 8, 20])
    for frame in (FRAME, holes):
        same_answers(growth(frame, random="intercept"), mmrm(frame, covariance="compound-symmetry"))


def test_a_negative_correlation_is_more_than_a_random_intercept_can() -> None:
    turned = long(BEFORE * [1, 1, -1], DURING * [1, 1, -1])
    one = mmrm(turned, covariance="compound-symmetry")
    # Off-diagonals 0, -13/5, -3/5: covariance -16/15; no lower than -1/2 of the variance.
    assert one.covariance()["covariance"][1] == pytest.approx(-16 / 15, rel=1e-6)
    with pytest.warns(ist.BoundaryWarning, match="the variance of \\(Intercept\\) between patients is 0"):
        other = growth(turned, random="intercept")
    assert other.fit.deviance > one.fit.deviance + 0.1


def test_two_visits_have_one_correlation_whatever_its_name() -> None:
    frame = FRAME.query("month != 6")
    for group in (("toeplitz", "ar1", "compound-symmetry"), ("unstructured", "heterogeneous-ar1")):
        first, *rest = [mmrm(frame, covariance=word) for word in group]
        for other in rest:
            assert other.fit.deviance == pytest.approx(first.fit.deviance, abs=1e-8)
            a, b = first.tidy(), other.tidy()
            np.testing.assert_allclose(b[["std_error", "df"]], a[["std_error", "df"]], rtol=1e-5)
    # By hand: S = [[8, 13], [13, 24]] / 5; one variance, 16/5, and the covariance 13/5.
    table = mmrm(frame, covariance="ar1").covariance()
    assert table["covariance"].tolist() == pytest.approx([3.2, 2.6, 2.6, 3.2], rel=1e-6)
    row = mmrm(frame).contrasts([18]).tidy().query("quantity == 'change'").iloc[0]
    assert (row["std_error"], row["df"]) == pytest.approx((math.sqrt(0.7), 5), rel=1e-5)


def made(seed: int = 3, patients: int = 30) -> pd.DataFrame:
    """Return patients whose level, slope and errors at every visit all vary."""
    rng = np.random.default_rng(seed)
    u = rng.multivariate_normal([0, 0], [[2, 0], [0, 1]], patients)
    y = 5 + u[:, :1] + u[:, 1:] * [0, 1, 2] + rng.normal(size=(patients, 3)) * [0.7, 1.0, 1.3]
    return long(y[: patients // 2], y[patients // 2 :])


def test_growth_models_with_as_many_parameters_as_the_covariance_has_are_the_mmrm() -> None:
    # G of intercept and slope, and three residual variances: the six of three visits.
    frame = made()
    same_answers(mmrm(frame), growth(frame, residual="by_visit"), ["satterthwaite"])
    # An intercept and two residual variances: the three of two visits.
    two = frame.query("month != 6")
    assert growth(two, random="intercept", residual="by_visit").fit.deviance == pytest.approx(
        mmrm(two).fit.deviance, abs=1e-6
    )
    # An intercept, a residual variance and rho: the three bands of three visits a step apart.
    rng = np.random.default_rng(8)
    e = rng.normal(size=(60, 3))
    e[:, 1] += 0.6 * e[:, 0]
    e[:, 2] += 0.6 * e[:, 1]
    even = long(*np.split(e + rng.normal(size=(60, 1)), 2), times=(0, 6, 12))
    one, other = mmrm(even, covariance="toeplitz"), growth(even, random="intercept", residual="ar1")
    assert other.fit.deviance == pytest.approx(one.fit.deviance, abs=1e-6)
    np.testing.assert_allclose(other.tidy()["df"], one.tidy()["df"], rtol=1e-4)


def test_residuals_of_the_same_size_in_both_cohorts() -> None:
    # The same patients in both cohorts: two equal variances, and the estimates and errors of one.
    y = made(4).pivot_table(index="patient", columns="month", values="bsi").to_numpy()
    frame = long(y, y + np.array([0, -1, 2]))
    one, other = growth(frame, random="intercept"), growth(frame, random="intercept", residual="by_cohort")
    table = other.variances()
    assert table["effect"].tolist() == ["(Intercept)", "cohort[before]", "cohort[during]"]
    assert table["variance"][1] == pytest.approx(table["variance"][2], rel=1e-5)
    assert other.fit.deviance == pytest.approx(one.fit.deviance, abs=1e-7)
    np.testing.assert_allclose(
        other.tidy()[["estimate", "std_error"]], one.tidy()[["estimate", "std_error"]], rtol=1e-5
    )


def test_means_of_ratings_with_their_number_as_precision() -> None:
    # Three ratings at every visit: their mean, with precision 3, has the means of the nine times as many rows.
    rng = np.random.default_rng(5)
    ratings = pd.concat([made(6).assign(bsi=lambda f: f["bsi"] + rng.normal(size=len(f))) for _ in range(3)])
    mean = ratings.groupby(["patient", "cohort", "month"], as_index=False)["bsi"].mean().assign(k=3.0)
    one = growth(mean, random="intercept", precision="k")
    formula = "bsi ~ C(month) * cohort + (1 | patient)"
    raw = ist.fit_mixed(ratings, formula=formula)
    assert sorted(one.params) == pytest.approx(sorted(raw.params), rel=1e-8)
    plain = growth(mean, random="intercept")
    assert one.fit.sigma2 == pytest.approx(3 * plain.fit.sigma2, rel=1e-6)
    np.testing.assert_allclose(one.tidy().iloc[:, 1:4], plain.tidy().iloc[:, 1:4], rtol=1e-6)


def test_precision_without_a_variance_between_patients_is_weighted_least_squares() -> None:
    # Means weighted by 1 and 3: (1 x 2 + 3 x 6) / 4 = 5 and (1 x 1 + 3 x 9) / 4 = 7. Weighted squares about them:
    # 9 + 3 x 1 = 12 and 36 + 3 x 4 = 48; s2 = 60 / 2 = 30, a mean's variance 30 / 4.
    frame = pd.DataFrame({"g": ["a", "a", "b", "b"], "y": [2.0, 6, 1, 9], "k": [1.0, 3, 1, 3], "i": [1, 2, 2, 1]})
    three = pd.concat([frame, frame.assign(i=frame["i"] + 2)], ignore_index=True)
    with pytest.warns(ist.BoundaryWarning):
        result = ist.fit_mixed(three, formula="y ~ 0 + g + (1 | i)", precision="k")
    assert result.params.tolist() == pytest.approx([5, 7], rel=1e-9)
    # Every row stands twice: 120 / (8 - 2) = 20, and 20 / 8 for a mean.
    assert result.fit.sigma2 == pytest.approx(20, rel=1e-6)
    assert result.tidy()["std_error"].tolist() == pytest.approx([math.sqrt(2.5)] * 2, rel=1e-6)
