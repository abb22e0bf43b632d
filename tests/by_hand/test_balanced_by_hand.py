"""Balanced data whose mixed model has a closed form: one-way random effects, and straight lines of two cohorts."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

import implstats as ist

# Three groups of four. Means 2, 5, 8; grand mean 5; deviations within each group -1, 1, -1, 1.
# SSB = 4 (9 + 0 + 9) = 72, MSB = 72 / 2 = 36. SSW = 3 x 4 = 12, MSE = 12 / 9 = 4/3.
ONE_WAY = pd.DataFrame(
    {"group": ["a"] * 4 + ["b"] * 4 + ["c"] * 4, "y": [1.0, 3, 1, 3, 4, 6, 4, 6, 7, 9, 7, 9]},
)
# The same within, but every group has mean 5: MSB = 0 < MSE.
NO_BETWEEN = ONE_WAY.assign(y=[4.0, 6, 4, 6] * 3)


def test_one_way_variances_are_those_of_the_mean_squares() -> None:
    result = ist.fit_mixed(ONE_WAY, formula="y ~ 1 + (1 | group)")
    # s2 = MSE = 4/3; s_b2 = (MSB - MSE)/n = (36 - 4/3)/4 = 26/3.
    assert result.fit.sigma2 == pytest.approx(4 / 3, rel=1e-8)
    assert result.fit.G[0][0, 0] == pytest.approx(26 / 3, rel=1e-7)
    table = result.variances()
    assert table["variance"].tolist() == pytest.approx([26 / 3, 4 / 3], rel=1e-7)
    assert table["sd"].tolist() == pytest.approx([math.sqrt(26 / 3), math.sqrt(4 / 3)], rel=1e-7)
    assert not result.convergence.boundary


@pytest.mark.parametrize("way", ["satterthwaite", "kenward-roger"])
def test_one_way_mean_has_groups_minus_one_df(way: str) -> None:
    row = ist.fit_mixed(ONE_WAY, formula="y ~ 1 + (1 | group)").tidy(df=way).iloc[0]
    # var(mean) = MSB / 12 = 3, with the 2 df of MSB; t = 5 / sqrt 3; t_{.975, 2} = 4.302652729911275.
    assert row["estimate"] == pytest.approx(5, rel=1e-12)
    assert row["std_error"] == pytest.approx(math.sqrt(3), rel=1e-7)
    assert row["df"] == pytest.approx(2, rel=1e-6)
    assert row["statistic"] == pytest.approx(5 / math.sqrt(3), rel=1e-7)
    # With 2 df, P(|T| > t) = 1 - t / sqrt(2 + t^2), t^2 = 25/3: 1 - sqrt(25/31).
    assert row["p_value"] == pytest.approx(1 - math.sqrt(25 / 31), rel=1e-6)
    assert row["conf_low"] == pytest.approx(5 - 4.302652729911275 * math.sqrt(3), rel=1e-6)


def test_one_way_restricted_likelihood() -> None:
    # V of a group has eigenvalues s2 + 4 s_b2 = MSB = 36 (once) and s2 = 4/3 (three times).
    # log|V| = 3 log 36 + 9 log(4/3); X'V^-1X = 12 / 36; y'Py = SSB/36 + SSW/(4/3) = 2 + 9 = 11 = n - p.
    # -2 l_R = 11 log 2pi + 3 log 36 + 9 log(4/3) + log(1/3) + 11.
    wanted = 11 * math.log(2 * math.pi) + 3 * math.log(36) + 9 * math.log(4 / 3) - math.log(3) + 11
    result = ist.fit_mixed(ONE_WAY, formula="y ~ 1 + (1 | group)")
    glance = result.glance().iloc[0]
    assert glance["deviance"] == pytest.approx(wanted, abs=1e-9)
    assert result.loglik == pytest.approx(-wanted / 2, abs=1e-9)
    # Parameters: one mean, two variances.
    assert glance["parameters"] == 3
    assert glance["aic"] == pytest.approx(wanted + 6, abs=1e-9)
    assert glance["bic"] == pytest.approx(wanted + 3 * math.log(12), abs=1e-9)
    assert (glance["rows"], glance["groups"]) == (12, 3)


def test_one_way_maximum_likelihood() -> None:
    # ML: s2 = MSE still (9 df within); s2 + 4 s_b2 = SSB / 3 = 24, so s_b2 = (24 - 4/3)/4 = 17/3.
    # -2 l = 12 log 2pi + 3 log 24 + 9 log(4/3) + SSB/24 + SSW/(4/3) = ... + 3 + 9.
    result = ist.fit_mixed(ONE_WAY, formula="y ~ 1 + (1 | group)", method="ml")
    assert result.fit.sigma2 == pytest.approx(4 / 3, rel=1e-7)
    assert result.fit.G[0][0, 0] == pytest.approx(17 / 3, rel=1e-7)
    wanted = 12 * math.log(2 * math.pi) + 3 * math.log(24) + 9 * math.log(4 / 3) + 12
    assert result.fit.deviance == pytest.approx(wanted, abs=1e-9)
    # var(mean) = 24/12 = 2.
    assert result.tidy()["std_error"].iloc[0] == pytest.approx(math.sqrt(2), rel=1e-7)
    with pytest.raises(ist.DataError, match="kenward-roger"):
        result.tidy(df="kenward-roger")


def test_one_way_predictions_shrink_towards_the_mean() -> None:
    result = ist.fit_mixed(ONE_WAY, formula="y ~ 1 + (1 | group)")
    # Shrinkage factor n s_b2 / (n s_b2 + s2) = (104/3) / 36 = 26/27; deviations of the groups -3, 0, 3.
    table = result.random_effects()
    assert table["estimate"].tolist() == pytest.approx([-3 * 26 / 27, 0, 3 * 26 / 27], abs=1e-7)
    # Conditional variance s_b2 (1 - 26/27) = 26/81.
    assert table["std_error"].tolist() == pytest.approx([math.sqrt(26) / 9] * 3, rel=1e-7)
    assert table["conf_high"].iloc[2] == pytest.approx(26 / 9 + 1.959963984540054 * math.sqrt(26) / 9, rel=1e-7)
    rows = result.augment()
    assert rows["fitted"].iloc[0] == pytest.approx(5 - 26 / 9, rel=1e-7)
    assert rows["fixed"].iloc[0] == pytest.approx(5, rel=1e-12)
    assert rows["residual"].iloc[0] == pytest.approx(1 - (5 - 26 / 9), rel=1e-7)
    assert rows["std_residual"].iloc[0] == pytest.approx((26 / 9 - 4) / math.sqrt(4 / 3), rel=1e-7)


def test_one_way_prediction_errors() -> None:
    result = ist.fit_mixed(ONE_WAY, formula="y ~ 1 + (1 | group)")
    k = 26 / 27
    new = pd.DataFrame({"group": ["c", "zz"]})
    # Own group: u - u_hat + b_hat; var = s_b2 (1 - k) + var(b) (1 - k)^2 = 26/81 + 3/729.
    # A new one, confidence: var(b) = 3; prediction: 3 + s_b2 + s2 = 13.
    confidence = result.predict(new)
    assert confidence["estimate"].tolist() == pytest.approx([5 + 3 * k, 5], rel=1e-7)
    assert confidence["std_error"].tolist() == pytest.approx([math.sqrt(26 / 81 + 3 / 729), math.sqrt(3)], rel=1e-7)
    prediction = result.predict(new, interval="prediction")
    assert prediction["std_error"].iloc[0] == pytest.approx(math.sqrt(26 / 81 + 3 / 729 + 4 / 3), rel=1e-7)
    assert prediction["std_error"].iloc[1] == pytest.approx(math.sqrt(3 + 26 / 3 + 4 / 3), rel=1e-7)


def test_no_variance_between_groups_is_ordinary_least_squares() -> None:
    with pytest.warns(ist.BoundaryWarning, match="variance of .* is 0"):
        result = ist.fit_mixed(NO_BETWEEN, formula="y ~ 1 + (1 | group)")
    # s_b2 = max(0, (0 - 4/3)/4) = 0; s2 = 12 / 11; SE = sqrt(s2 / 12) = 1 / sqrt 11; df = 11.
    assert result.convergence.boundary
    assert result.fit.G[0][0, 0] == 0
    assert result.fit.sigma2 == pytest.approx(12 / 11, rel=1e-10)
    row = result.tidy().iloc[0]
    assert row["std_error"] == pytest.approx(1 / math.sqrt(11), rel=1e-9)
    assert row["df"] == pytest.approx(11, rel=1e-9)
    wanted = 11 * math.log(2 * math.pi) + 11 * math.log(12 / 11) + math.log(12) + 11
    assert result.fit.deviance == pytest.approx(wanted, abs=1e-9)
    assert np.abs(result.random_effects()[["estimate", "std_error"]]).to_numpy().max() == 0
    assert result.r2().iloc[0].tolist() == pytest.approx([0, 0], abs=1e-12)
    assert result.icc()["icc"].iloc[0] == 0


@pytest.mark.parametrize("excess", [1e-3, 1e-2, 0.5, 100.0])
def test_a_small_variance_is_not_declared_zero(excess: float) -> None:
    # Five groups of four with MSB = (1 + excess) MSE: s_b2 = excess x MSE / 4, however small.
    within = np.array([-1.0, 1, -1, 1])
    mse = 5 * 4 / 15
    shape = np.array([-2.0, -1, 0, 1, 2])
    spread = math.sqrt((1 + excess) * mse * 4 / (4 * (shape**2).sum()))
    y = np.concatenate([within + spread * s for s in shape])
    frame = pd.DataFrame({"y": y, "group": np.repeat(list("abcde"), 4)})
    result = ist.fit_mixed(frame, formula="y ~ 1 + (1 | group)")
    assert not result.convergence.boundary
    assert result.fit.G[0][0, 0] == pytest.approx(excess * mse / 4, rel=1e-4)
    assert result.tidy()["df"].iloc[0] == pytest.approx(4, rel=1e-3)


def test_a_tiny_variance_of_large_groups_is_not_declared_zero() -> None:
    # 20,000 rows a group: MSB = 3 MSE is a variance ratio of 1e-4, and its F of 3 is no zero.
    n = 20_000
    within = np.tile([-1.0, 1.0], n // 2)
    mse = 4 * n / (4 * (n - 1))
    shape = np.array([-1.5, -0.5, 0.5, 1.5])
    spread = math.sqrt(3 * mse * 3 / (n * (shape**2).sum()))
    y = np.concatenate([within + spread * s for s in shape])
    frame = pd.DataFrame({"y": y, "group": np.repeat(list("abcd"), n)})
    result = ist.fit_mixed(frame, formula="y ~ 1 + (1 | group)")
    assert not result.convergence.boundary
    assert result.fit.G[0][0, 0] == pytest.approx(2 * mse / n, rel=1e-5)
    assert result.tidy()["df"].iloc[0] == pytest.approx(3, rel=1e-4)


# Six patients, three a cohort, visits at 0, 1, 2. Each patient's line plus the same curve (1, -2, 1) x a sign, which no
# line sees: least squares per patient gives back the intercept and the slope exactly.
INTERCEPTS = {"before": [10.0, 12, 14], "during": [9.0, 12, 12]}
SLOPES = {"before": [-3.0, -2, -4], "during": [-1.0, 0, -2]}
CURVE = np.array([1.0, -2, 1]) / 10


def lines() -> pd.DataFrame:
    rows = []
    for cohort in INTERCEPTS:
        for i, (a, b) in enumerate(zip(INTERCEPTS[cohort], SLOPES[cohort], strict=True)):
            for t in (0, 1, 2):
                y = a + b * t + CURVE[t] * (-1) ** i
                rows.append((f"{cohort}{i}", cohort, t, y))
    return pd.DataFrame(rows, columns=["patient", "cohort", "week", "y"])


ROLES = {"outcome": "y", "time": "week", "patient": "patient", "cohort": "cohort", "reference": "before"}


@pytest.mark.parametrize("way", ["satterthwaite", "kenward-roger"])
def test_balanced_lines_are_means_of_the_patients_own_lines(way: str) -> None:
    growth = ist.fit_growth(lines(), **ROLES, shape="linear", better="lower")
    table = growth.tidy(df=way).set_index("term")
    # Mean intercepts 12 and 11, mean slopes -3 and -1.
    assert table["estimate"].tolist() == pytest.approx([12, -3, -1, 2], rel=1e-9)
    # Complete balanced lines: the covariance of a cohort's (intercept, slope) is the pooled sample covariance of the
    # patients' own lines / 3. Intercepts: SS 8 and 6, pooled 14 / 4 = 3.5. Slopes: SS 2 and 2, pooled 1.
    # SE(intercept) = sqrt(3.5/3), of a difference sqrt(2 x 3.5/3); slope sqrt(1/3), difference sqrt(2/3).
    wanted = [math.sqrt(3.5 / 3), math.sqrt(1 / 3), math.sqrt(7 / 3), math.sqrt(2 / 3)]
    assert table["std_error"].tolist() == pytest.approx(wanted, rel=1e-6)
    # df = patients - cohorts.
    assert table["df"].tolist() == pytest.approx([4.0] * 4, rel=1e-4)
    # Residual: curves of squared length .06 each, one df a patient: s2 = .06.
    assert growth.fit.sigma2 == pytest.approx(0.06, rel=1e-6)
    # G = pooled covariance of the lines - s2 (X'X)^-1, X'X = [[3, 3], [3, 5]], inverse [[5, -3], [-3, 3]] / 6.
    # Cross products of intercepts and slopes: (-2)(0) + 0 + 2 (-1) = -2 and (-2)(0) + 1 (1) + 1 (-1) = 0; pooled -.5.
    wanted_G = np.array([[3.5, -0.5], [-0.5, 1.0]]) - 0.06 * np.array([[5, -3], [-3, 3]]) / 6
    np.testing.assert_allclose(growth.fit.G[0], wanted_G, rtol=1e-6)


@pytest.mark.parametrize("way", ["satterthwaite", "kenward-roger"])
def test_balanced_lines_answer_questions_about_cohorts(way: str) -> None:
    growth = ist.fit_growth(lines(), **ROLES, shape="linear", better="lower")
    gap = growth.contrasts([2], df=way).tidy().set_index("quantity")
    # Change until 2 is twice the slope: difference 2 x 2, SE 2 sqrt(2/3), df 4; level -1 + 4.
    assert gap.loc["change", ["estimate", "std_error", "df"]].tolist() == pytest.approx(
        [4, 2 * math.sqrt(2 / 3), 4], rel=1e-5
    )
    # Level at 2 of each patient's line, a + 2 b: 4, 8, 6 and 7, 12, 8; SS 8 and 14, pooled 5.5, SE sqrt(2 x 5.5/3).
    assert gap.loc["level", ["estimate", "std_error", "df"]].tolist() == pytest.approx(
        [3, math.sqrt(11 / 3), 4], rel=1e-5
    )
    trends = growth.trends(df=way).tidy()
    assert trends["estimate"].tolist() == pytest.approx([-3, -1, 2], rel=1e-7)
    assert trends["std_error"].tolist() == pytest.approx([math.sqrt(1 / 3)] * 2 + [math.sqrt(2 / 3)], rel=1e-6)
    means = growth.means([0, 2], df=way).tidy()
    assert means["estimate"].tolist() == pytest.approx([12, 6, 11, 9], rel=1e-9)
    assert means["n"].tolist() == [3, 3, 3, 3]
    changes = growth.changes([2], df=way).tidy()
    assert changes["estimate"].tolist() == pytest.approx([6, 2], rel=1e-8)
    other = ist.fit_growth(lines(), **ROLES, shape="linear", better="higher").changes([2], df=way).tidy()
    assert other["estimate"].tolist() == pytest.approx([-6, -2], rel=1e-8)


def test_shares_of_variance_by_hand() -> None:
    growth = ist.fit_growth(lines(), **ROLES, shape="linear")
    G, s2 = growth.fit.G[0], growth.fit.sigma2
    # Fixed: 12, 9, 6 and 11, 10, 9, three times each: mean 9.5; squares 6.25 + .25 + 12.25 + 2.25 + .25 + .25 = 21.5;
    # sample variance 3 x 21.5 / 17.
    fixed = 3 * 21.5 / 17
    # Random: mean over t = 0, 1, 2 of G00 + 2 t G01 + t^2 G11 = G00 + 2 G01 + 5/3 G11.
    # G00 = 3.5 - .05 = 3.45, G01 = -.5 + .03 = -.47, G11 = 1 - .03 = .97.
    random = 3.45 - 0.94 + 5 / 3 * 0.97
    assert G[0, 0] + 2 * G[0, 1] + 5 / 3 * G[1, 1] == pytest.approx(random, rel=1e-6)
    total = fixed + random + 0.06
    row = growth.r2().iloc[0]
    assert row["r2_marginal"] == pytest.approx(fixed / total, rel=1e-6)
    assert row["r2_conditional"] == pytest.approx((fixed + random) / total, rel=1e-6)
    assert growth.icc()["icc"].iloc[0] == pytest.approx(random / (random + s2), rel=1e-6)
    assert growth.model_variance() == pytest.approx(3.45 + 0.06, rel=1e-6)


def test_visits_of_complete_data_have_the_raw_means() -> None:
    rng = np.random.default_rng(5)
    rows = [
        (f"{c}{i}", c, t, m + u + rng.normal())
        for c, level in (("before", [9.0, 7, 4]), ("during", [9.0, 8, 7]), ("after", [8.0, 5, 5]))
        for i, u in enumerate(rng.normal(size=5))
        for t, m in zip((0, 18, 36), level, strict=True)
    ]
    frame = pd.DataFrame(rows, columns=["patient", "cohort", "week", "y"])
    growth = ist.fit_growth(frame, **ROLES, random="intercept")
    assert growth.design.shape.word == "visits"
    raw = frame.groupby(["cohort", "week"])["y"].mean()
    table = growth.means().tidy()
    assert len(table) == 9
    for row in table.to_dict("records"):
        assert row["estimate"] == pytest.approx(raw[row["cohort"], row["time"]], rel=1e-10)
    gap = growth.contrasts([36]).tidy()
    for row in gap[gap["quantity"] == "change"].to_dict("records"):
        change = {c: raw[c, 36] - raw[c, 0] for c in (row["cohort"], "before")}
        assert row["estimate"] == pytest.approx(change[row["cohort"]] - change["before"], rel=1e-8)
        # A random intercept leaves change the residual: var = 2 x 2 s2 / 5, 3 x 4 x 2 residual df.
        assert row["std_error"] == pytest.approx(math.sqrt(4 * growth.fit.sigma2 / 5), rel=1e-7)
        assert row["df"] == pytest.approx(24, rel=1e-4)
