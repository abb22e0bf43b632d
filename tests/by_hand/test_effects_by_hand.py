"""Effect sizes, improvement retained, marginal means and corrections, each derived in comments on tiny data."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.design.time import MONTH_DAYS, UNIT_DAYS

ROLES = {"outcome": "y", "time": "week", "patient": "patient", "cohort": "cohort", "reference": "before"}
T4 = 2.7764451051977987  # the .975 quantile of t with 4 df


def study(slopes: dict[str, list[float]], intercepts: dict[str, list[float]]) -> pd.DataFrame:
    """Return patients on lines of their own, with a curve (1, -2, 1) of either sign that no line sees."""
    curve = np.array([1.0, -2, 1]) / 10
    rows = []
    for cohort in intercepts:
        for i, (a, b) in enumerate(zip(intercepts[cohort], slopes[cohort], strict=True)):
            rows += [(f"{cohort}{i}", cohort, t, a + b * t + curve[t] * (-1) ** i) for t in (0, 1, 2)]
    return pd.DataFrame(rows, columns=["patient", "cohort", "week", "y"])


INTERCEPTS = {"before": [10.0, 12, 14], "during": [9.0, 12, 12]}
SLOPES = {"before": [-3.0, -2, -4], "during": [-1.0, 0, -2]}
FRAME = study(SLOPES, INTERCEPTS)
# Mean change until 2: before -6 (improvement 6), during -2 (improvement 2). Slopes have pooled variance 1, so each
# change has variance 4 x 1 / 3 = 4/3 with 4 df; the cohorts are independent.
GROWTH = ist.fit_growth(FRAME, **ROLES, shape="linear", better="lower")


def rows_of(table: pd.DataFrame) -> dict[tuple[str, str], pd.Series]:
    return {(r["quantity"], r["cohort"]): r for _, r in table.iterrows()}


def test_d_by_the_observed_sd_of_the_baseline() -> None:
    # Observed at 0: 10.1, 11.9, 14.1 and 9.1, 11.9, 12.1. Sums of squares about the means 12.0333 and 11.0333:
    # (1.9333^2 + .1333^2 + 2.0667^2) = 8.026667; (1.9333^2 + .8667^2 + 1.0667^2) = 5.626667. Pooled 13.653333 / 4.
    square = 13.653333333333333 / 4
    sd = math.sqrt(square)
    found = rows_of(GROWTH.effect_sizes([2]).tidy())
    one, two, gap = found["d", "before"], found["d", "during"], found["difference", "during"]
    assert one["sd"] == pytest.approx(sd, rel=1e-10)
    assert one["sd_source"] == "baseline"
    assert (one["estimate"], two["estimate"]) == (pytest.approx(6 / sd, rel=1e-7), pytest.approx(2 / sd, rel=1e-7))
    assert gap["estimate"] == pytest.approx(-4 / sd, rel=1e-7)
    # var(d) = var(change)/SD^2 + d^2 var(SD^2)/(4 SD^4), var(SD^2) = 2 SD^4/4: the second part is d^2 / 8.
    assert one["std_error"] == pytest.approx(math.sqrt(4 / 3 / square + 36 / square / 8), rel=1e-6)
    assert two["std_error"] == pytest.approx(math.sqrt(4 / 3 / square + 4 / square / 8), rel=1e-6)
    # The SD is common, so the difference is a d of the difference in change, -4 with variance 8/3.
    assert gap["std_error"] == pytest.approx(math.sqrt(8 / 3 / square + 16 / square / 8), rel=1e-6)
    assert gap["df"] == pytest.approx(4, rel=1e-4)
    assert one["conf_high"] == pytest.approx(one["estimate"] + T4 * one["std_error"], rel=1e-4)


def test_d_by_the_sd_of_the_reference() -> None:
    square = 8.026666666666667 / 2
    found = rows_of(GROWTH.effect_sizes([2], sd="reference").tidy())
    # 2 df: var(SD^2)/(4 SD^4) = 2/2/4 = 1/4.
    for who, change in (("before", 6.0), ("during", 2.0)):
        row = found["d", who]
        assert row["sd"] == pytest.approx(math.sqrt(square), rel=1e-10)
        assert row["estimate"] == pytest.approx(change / math.sqrt(square), rel=1e-7)
        assert row["std_error"] == pytest.approx(math.sqrt(4 / 3 / square + change**2 / square / 4), rel=1e-6)


def test_d_by_each_cohorts_own_sd() -> None:
    a, b = 8.026666666666667 / 2, 5.626666666666667 / 2
    found = rows_of(GROWTH.effect_sizes([2], sd="own").tidy())
    assert found["d", "before"]["estimate"] == pytest.approx(6 / math.sqrt(a), rel=1e-7)
    assert found["d", "during"]["estimate"] == pytest.approx(2 / math.sqrt(b), rel=1e-7)
    assert found["d", "during"]["std_error"] == pytest.approx(math.sqrt(4 / 3 / b + 4 / b / 4), rel=1e-6)
    gap = found["difference", "during"]
    assert gap["estimate"] == pytest.approx(2 / math.sqrt(b) - 6 / math.sqrt(a), rel=1e-7)
    # Two independent ds, each with its own SD.
    wanted = 4 / 3 / a + 36 / a / 4 + 4 / 3 / b + 4 / b / 4
    assert gap["std_error"] == pytest.approx(math.sqrt(wanted), rel=1e-6)


def test_d_by_a_given_sd() -> None:
    found = rows_of(GROWTH.effect_sizes([2], sd=2.5).tidy())
    row = found["d", "before"]
    assert row["estimate"] == pytest.approx(6 / 2.5, rel=1e-8)
    assert row["std_error"] == pytest.approx(math.sqrt(4 / 3) / 2.5, rel=1e-6)
    assert row["sd_source"] == "given"
    with pytest.raises(ist.DataError):
        GROWTH.effect_sizes([2], sd=0.0)


def test_d_by_the_models_sd() -> None:
    # At 0 the model's variance is G00 + s2 = 3.45 + .06. Here the mean squares say how sure it is: with lines
    # A = a_i (pooled variance 3.5 = G00 + 5/6 s2, 4 df) and s2 (6 df), G00 + s2 = 3.5 + s2/6, so
    # var = 2 x 3.5^2/4 + (1/36) 2 x .06^2/6.
    square = 3.51
    variance = 2 * 3.5**2 / 4 + 2 * 0.06**2 / 6 / 36
    row = rows_of(GROWTH.effect_sizes([2], sd="model").tidy())["d", "before"]
    assert row["sd"] == pytest.approx(math.sqrt(square), rel=1e-6)
    assert row["estimate"] == pytest.approx(6 / math.sqrt(square), rel=1e-6)
    wanted = 4 / 3 / square + 36 / square * variance / (4 * square**2)
    assert row["std_error"] == pytest.approx(math.sqrt(wanted), rel=1e-4)


def test_improvement_retained_with_a_bounded_set() -> None:
    # a = 2, b = 6, v_aa = v_bb = 4/3, v_ab = 0, t = 2.776 (4 df): t^2 4/3 = 10.278196 < 36, so bounded.
    # (36 - 10.278) th^2 - 24 th + (4 - 10.278) <= 0.
    limit = T4**2 * 4 / 3
    square, constant = 36 - limit, 4 - limit
    root = math.sqrt(144 - square * constant)
    row = GROWTH.retained_improvement([2]).tidy().iloc[0]
    assert row["set"] == "bounded"
    assert row["estimate"] == pytest.approx(1 / 3, rel=1e-7)
    assert row["df"] == pytest.approx(4, rel=1e-4)
    assert row["conf_low"] == pytest.approx((12 - root) / square, rel=1e-4)
    assert row["conf_high"] == pytest.approx((12 + root) / square, rel=1e-4)
    # Delta: var(a/b) = (v_aa + th^2 v_bb) / b^2 = (4/3)(1 + 1/9)/36 = 10/243... = .0411523.
    assert row["std_error"] == pytest.approx(math.sqrt(4 / 3 * 10 / 9 / 36), rel=1e-5)
    delta = GROWTH.retained_improvement([2], method="delta").tidy().iloc[0]
    half = T4 * math.sqrt(4 / 3 * 10 / 9 / 36)
    assert (delta["conf_low"], delta["conf_high"]) == (
        pytest.approx(1 / 3 - half, rel=1e-4),
        pytest.approx(1 / 3 + half, rel=1e-4),
    )


def test_times_as_effective_is_the_inverse() -> None:
    # b / a = 3; the divisor 2 is 2/1.1547 = 1.73 standard errors from zero, less than 2.776: the inverse set is
    # everything outside the inverses of the ends, (4 - L) th^2 - 24 th + (36 - L) <= 0 with 4 - L < 0.
    limit = T4**2 * 4 / 3
    square, constant = 4 - limit, 36 - limit
    root = math.sqrt(144 - square * constant)
    ends = sorted([(12 - root) / square, (12 + root) / square])
    result = GROWTH.retained_improvement([2], as_="times")
    row = result.tidy().iloc[0]
    assert row["estimate"] == pytest.approx(3, rel=1e-7)
    assert row["set"] == "outside"
    assert [row["conf_low"], row["conf_high"]] == pytest.approx(ends, rel=1e-4)
    kept = GROWTH.retained_improvement([2]).tidy().iloc[0]
    assert sorted([1 / kept["conf_low"], 1 / kept["conf_high"]]) == pytest.approx(ends, rel=1e-4)
    assert "exclude only the values between" in result.in_words()[0]


def test_set_that_excludes_a_middle_and_set_without_end() -> None:
    # The reference hardly changes: slopes 0, .5, 1 x -1: mean -.5, change 1, variance pooled with during's.
    # before: mean slope -.5 (SS .5), during: -5 (SS 2): pooled (0.5 + 2)/4 = .625, var(change) = 4 x .625/3 = .8333.
    shaky = study({"before": [0.0, -0.5, -1], "during": [-5.0, -4, -6]}, INTERCEPTS)
    result = ist.fit_growth(shaky, **ROLES, shape="linear", better="lower").retained_improvement([2])
    row = result.tidy().iloc[0]
    limit = T4**2 * 2.5 / 3
    # b^2 = 1 < limit = 6.42, a^2 = 100: (1 - L) th^2 - 20 th + (100 - L) <= 0 holds outside its roots.
    square, constant = 1 - limit, 100 - limit
    root = math.sqrt(100 - square * constant)
    ends = sorted([(10 - root) / square, (10 + root) / square])
    assert row["set"] == "outside"
    assert row["estimate"] == pytest.approx(10, rel=1e-7)
    assert [row["conf_low"], row["conf_high"]] == pytest.approx(ends, rel=1e-4)
    assert "too uncertain" in result.in_words()[0]
    # Neither changes to speak of: during improves .4 as well; a^2 = .16 < L, and no root is real.
    nothing = study({"before": [0.0, -0.5, -1], "during": [-0.2, 0.8, -1.2]}, INTERCEPTS)
    result = ist.fit_growth(nothing, **ROLES, shape="linear", better="lower").retained_improvement([2])
    row = result.tidy().iloc[0]
    assert row["set"] == "unbounded"
    assert (row["conf_low"], row["conf_high"]) == (-math.inf, math.inf)
    assert row["estimate"] == pytest.approx(0.4, rel=1e-6)
    assert "no value is excluded" in result.in_words()[0]


@pytest.mark.parametrize(
    ("a", "b", "v_aa", "v_ab", "v_bb", "t", "shape", "ends"),
    [
        # 4 - 1 = 3, 2, 1 - 1 = 0: 3 th^2 - 4 th <= 0.
        (1.0, 2.0, 1.0, 0.0, 1.0, 1.0, "bounded", (0.0, 4 / 3)),
        # 1 - 4 = -3, 3, 9 - 4 = 5: -3 th^2 - 6 th + 5 <= 0 outside (-6 -+ sqrt(96)) / 6.
        (3.0, 1.0, 1.0, 0.0, 1.0, 2.0, "outside", ((-6 - math.sqrt(96)) / 6, (-6 + math.sqrt(96)) / 6)),
        # 1 - 4, 1, 1 - 4: 1 - 9 < 0.
        (1.0, 1.0, 1.0, 0.0, 1.0, 2.0, "unbounded", (-math.inf, math.inf)),
        # A covariance of .5: 4 - 1 = 3, 2 - .5 = 1.5, 1 - 1 = 0: 3 th^2 - 3 th <= 0.
        (1.0, 2.0, 1.0, 0.5, 1.0, 1.0, "bounded", (0.0, 1.0)),
        # No uncertainty at all: the ratio itself.
        (3.0, 2.0, 0.0, 0.0, 0.0, 2.0, "bounded", (1.5, 1.5)),
    ],
)
def test_fiellers_set(
    a: float, b: float, v_aa: float, v_ab: float, v_bb: float, t: float, shape: str, ends: tuple[float, float]
) -> None:
    from implstats.growth.retained import fieller

    found = fieller(a, b, v_aa, v_ab, v_bb, t)
    assert found[0] == shape
    assert found[1:] == pytest.approx(ends, rel=1e-12, abs=1e-12)


def test_a_month_has_30_4375_days() -> None:
    assert MONTH_DAYS == 365.25 / 12
    assert UNIT_DAYS == {"days": 1.0, "weeks": 7.0, "months": 30.4375, "years": 365.25}
    # The first visit on any date; then 18 x 30.4375 = 547.875 days and 36 x 30.4375 = 1095.75 days later.
    first = pd.Timestamp("2012-02-29")
    rows = []
    for i, (cohort, levels) in enumerate([("before", [10, 8, 6]), ("during", [11, 9, 8])] * 3):
        start = first + pd.Timedelta(days=10 * i)
        for days, y in zip((0, 547.875, 1095.75), levels, strict=True):
            rows.append((f"p{i}", cohort, start + pd.Timedelta(days=days), y + 0.1 * ((i * 7 + days) % 5)))
    frame = pd.DataFrame(rows, columns=["patient", "cohort", "week", "y"])
    for unit, at in (("months", [18.0, 36.0]), ("days", [547.875, 1095.75]), ("years", [1.5, 3.0])):
        growth = ist.fit_growth(frame, **ROLES, time_unit=unit, random="intercept")
        assert growth.times == pytest.approx([0.0, *at], rel=1e-12)
    with pytest.raises(ist.DataError, match="time_unit"):
        ist.fit_growth(frame, **ROLES)


def test_a_baseline_column_becomes_the_visit_at_zero() -> None:
    start = FRAME[FRAME["week"] == 0].set_index("patient")["y"]
    later = FRAME[FRAME["week"] > 0].assign(pre=lambda f: f["patient"].map(start))
    growth = ist.fit_growth(later, **ROLES, baseline="pre", shape="linear", better="lower")
    assert growth.baseline == 0
    assert (growth.sample.given, growth.sample.added, growth.sample.rows) == (12, 6, 18)
    pd.testing.assert_series_equal(growth.params, GROWTH.params, rtol=1e-7)
    assert growth.fit.deviance == pytest.approx(GROWTH.fit.deviance, abs=1e-8)
    # The observed SD of the baseline is that of the column.
    row = rows_of(growth.effect_sizes([2]).tidy())["d", "before"]
    assert row["sd"] == pytest.approx(math.sqrt(13.653333333333333 / 4), rel=1e-10)
    # A patient without a value has no visit at 0, and stays.
    gap = later.assign(pre=later["pre"].where(later["patient"] != "before0"))
    less = ist.fit_growth(gap, **ROLES, baseline="pre", shape="linear")
    assert (less.sample.added, less.sample.rows, less.sample.dropped) == (6, 17, {"pre missing": 1})
    assert less.sample.patients == {"before": 3, "during": 3}


def test_marginal_means_weigh_levels_equally_and_hold_numbers_at_their_mean() -> None:
    rng = np.random.default_rng(2)
    rows = []
    for i in range(24):
        site, age = "uvw"[0 if i < 12 else 1 if i < 20 else 2], 20.0 + i
        for t in (0, 1, 2):
            rows.append((f"p{i}", ["before", "during"][i % 2], t, site, age, rng.normal() + i % 5 + t))
    frame = pd.DataFrame(rows, columns=["patient", "cohort", "week", "site", "age", "y"]).drop(index=[4, 9, 17])
    growth = ist.fit_growth(frame, **ROLES, shape="linear", adjust="site + age", random="intercept")
    b = growth.params
    # Sites u, v, w weigh 1/3 each although they hold 12, 8 and 4 patients; age is at its mean over the rows used.
    average = (b["site[v]"] + b["site[w]"]) / 3 + b["age"] * frame["age"].mean()
    table = growth.means([0, 2]).tidy().set_index(["cohort", "time"])["estimate"]
    assert table["before", 0] == pytest.approx(b["(Intercept)"] + average, rel=1e-10)
    assert table["before", 2] == pytest.approx(b["(Intercept)"] + 2 * b["week"] + average, rel=1e-10)
    during = b["(Intercept)"] + b["cohort[during]"] + 2 * (b["week"] + b["week:cohort[during]"]) + average
    assert table["during", 2] == pytest.approx(during, rel=1e-10)
    row = np.array([1, 0, 0, 1 / 3, 1 / 3, frame["age"].mean(), 0])
    names = ["(Intercept)", "week", "cohort[during]", "site[v]", "site[w]", "age", "week:cohort[during]"]
    variance = row @ growth.vcov.loc[names, names].to_numpy() @ row
    first = growth.means([0]).tidy().iloc[0]
    assert first["std_error"] == pytest.approx(math.sqrt(variance), rel=1e-10)


@pytest.fixture(scope="module")
def comparison() -> ist.CohortComparison:
    """Return three outcomes of the same patients."""
    rng = np.random.default_rng(1)
    frame = FRAME.rename(columns={"y": "one"})
    frame = pd.concat([frame.assign(patient=frame["patient"] + str(k)) for k in range(3)], ignore_index=True)
    gain = frame["week"] * np.where(frame["cohort"] == "before", 1.0, 0.4)
    frame = frame.assign(
        one=frame["one"] + rng.normal(size=len(frame)),
        two=5 + gain + rng.normal(size=len(frame)),
        three=rng.normal(size=len(frame)) - 0.1 * frame["week"],
    )
    return ist.compare_cohorts(
        frame,
        outcomes={"one": "lower", "two": "higher", "three": "lower"},
        time="week",
        patient="patient",
        cohort="cohort",
        reference="before",
        at=[1, 2],
    )


def test_holm_multiplies_the_smallest_p_by_their_number(comparison: ist.CohortComparison) -> None:
    table = comparison.tidy()
    p = table["p_value"].to_numpy()
    assert len(p) == 6
    order = np.argsort(p)
    wanted, highest = np.empty(6), 0.0
    for rank, k in enumerate(order):
        # The k-th smallest times (6 - k + 1), never less than the one before, never above 1.
        highest = max(highest, min(1.0, p[k] * (6 - rank)))
        wanted[k] = highest
    np.testing.assert_allclose(table["p_corrected"], wanted, rtol=1e-12)


def test_comparison_repeats_the_answers_of_its_models(comparison: ist.CohortComparison) -> None:
    for row in comparison.tidy().to_dict("records"):
        fit = comparison.fits[row["outcome"]]
        sign = -1 if row["better"] == "lower" else 1
        means = fit.means([0, row["time"]]).tidy().set_index(["cohort", "time"])["estimate"]
        change = {c: sign * (means[c, row["time"]] - means[c, 0]) for c in ("before", "during")}
        assert row["change"] == pytest.approx(change["during"], rel=1e-10)
        assert row["change_reference"] == pytest.approx(change["before"], rel=1e-10)
        assert row["d"] == pytest.approx(change["during"] / row["sd"], rel=1e-10)
        assert row["d_difference"] == pytest.approx(row["d"] - row["d_reference"], rel=1e-8)
        assert row["retained"] == pytest.approx(change["during"] / change["before"], rel=1e-8)
        gap = fit.contrasts([row["time"]], df=comparison.df).tidy().set_index("quantity")
        assert gap.loc["change", "estimate"] == pytest.approx(sign * (change["during"] - change["before"]), rel=1e-8)
        assert row["p_value"] == gap.loc["change", "p_value"]
        assert (row["n"], row["n_reference"]) == (9, 9)


def test_overall_is_the_mean_d_and_their_ratio(comparison: ist.CohortComparison) -> None:
    table = comparison.tidy()
    overall = comparison.overall(draws=25, rng=3)
    again = comparison.overall(draws=25, rng=3)
    np.testing.assert_array_equal(overall.draws, again.draws)
    assert not np.array_equal(overall.draws, comparison.overall(draws=25, rng=4).draws)
    found = overall.tidy().set_index(["quantity", "cohort", "time"])["estimate"]
    for t in (1, 2):
        here = table[table["time"] == t]
        assert found["d", "before", t] == pytest.approx(here["d_reference"].mean(), rel=1e-10)
        assert found["d", "during", t] == pytest.approx(here["d"].mean(), rel=1e-10)
        assert found["retained", "during", t] == pytest.approx(here["d"].mean() / here["d_reference"].mean(), rel=1e-10)


def test_overall_of_alike_patients_has_no_width() -> None:
    # Within a cohort every patient is one of many copies of the same two patients in equal numbers, and change is the
    # same for all but for the curve: with a given SD every draw's d is its cohort's mean change / SD exactly when all
    # patients of a cohort change alike. So: patient lines that differ in level only.
    rows = []
    for cohort, gain in (("before", 6.0), ("during", 3.0)):
        for i in range(8):
            level = [4.0, 7.0, 9.0, 5.0][i % 4]
            for t, part in ((0, 0.0), (1, 0.25), (2, 1.0)):
                # The same bends for everyone: visits as categories see them exactly, so no residual is left but this.
                wiggle = 0.0 if t != 1 else 0.3 * (-1) ** i
                rows.append((f"{cohort}{i}", cohort, t, 20 + level - gain * part + wiggle))
    frame = pd.DataFrame(rows, columns=["patient", "cohort", "week", "y"])
    comparison = ist.compare_cohorts(
        frame,
        outcomes={"y": "lower"},
        time="week",
        patient="patient",
        cohort="cohort",
        reference="before",
        at=[2],
        sd=3.0,
    )
    table = comparison.overall(draws=40, rng=1).tidy().set_index(["quantity", "cohort"])
    for key, value in ((("d", "before"), 2.0), (("d", "during"), 1.0), (("retained", "during"), 0.5)):
        assert table.loc[key, ["estimate", "conf_low", "conf_high"]].tolist() == pytest.approx([value] * 3, rel=1e-6)
