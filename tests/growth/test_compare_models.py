"""Models compared: statistics by hand, each pair's distribution, refusals, and p-values under a true null."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import implstats as ist
from implstats.growth import compare
from implstats.growth.compare import compare_models
from implstats.growth.nested import Arrays, mixture, tail

WORDS = ["compound-symmetry", "ar1", "toeplitz", "heterogeneous-ar1", "unstructured"]
INSIDE = {
    ("compound-symmetry", "toeplitz"),
    ("compound-symmetry", "unstructured"),
    ("ar1", "toeplitz"),
    ("ar1", "heterogeneous-ar1"),
    ("ar1", "unstructured"),
    ("toeplitz", "unstructured"),
    ("heterogeneous-ar1", "unstructured"),
}
LINES = "score ~ month * cohort + (1 | patient)"
SLOPES = "score ~ month * cohort + (1 + month | patient)"


@dataclass
class Draws:
    deviance: np.ndarray
    good: np.ndarray


class Fake:
    """Refits whose outcomes are their number and whose deviances are made of it; the larger model gains it."""

    def __init__(self, result: Any) -> None:
        self.parameters = int(result.glance()["parameters"][0])
        self.n, self.drawn = len(result.design.y), 0

    def simulate(self, draws: int, rng: np.random.Generator) -> np.ndarray:
        numbers = np.arange(self.drawn, self.drawn + draws, dtype=float)
        self.drawn += draws
        return np.tile(numbers, (self.n, 1))

    def redrawn(self, outcomes: np.ndarray) -> Draws:
        return Draws(100.0 - outcomes[0] * (self.parameters > 6), outcomes[0] % 10 > 0)


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "Refits", Fake)


@pytest.fixture(scope="session")
def rows(study_frame: pd.DataFrame) -> pd.DataFrame:
    """Return the made study with sites that differ, visits that are late, and known precisions."""
    sites = study_frame["site"].map(dict(zip("ABCDE", (-0.9, 0.5, 1.1, -0.4, -0.3), strict=True)))
    score, late, known = study_frame["score"] + sites, study_frame["month"] > 6, 1.0 + (study_frame["age"] > 40)
    return study_frame.assign(score=score, late=late, known=known)


@pytest.fixture(scope="session")
def mixed_ml(rows: pd.DataFrame) -> Callable[..., Any]:
    return cache(lambda formula, **options: ist.fit_mixed(rows, formula=formula, **({"method": "ml"} | options)))


@pytest.fixture(scope="session")
def mmrm_ml(rows: pd.DataFrame) -> Callable[..., Any]:
    return cache(lambda word, by_cohort=False: mmrm(rows, covariance=word, by_cohort=by_cohort))


def mmrm(frame: pd.DataFrame, **options: Any) -> Any:
    roles = {"outcome": "score", "visit": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}
    return ist.fit_mmrm(frame, **roles, method="ml", **options)


def last(table: pd.DataFrame) -> pd.Series:
    return table.iloc[-1]


# --- statistics by hand


def two_visits(study_frame: pd.DataFrame) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Return two complete visits, and each cohort's sums of squares and products around its means."""
    frame = study_frame[study_frame["month"].isin([0, 18])]
    wide = frame.pivot_table(index="patient", columns="month", values="score")
    cohort = frame.drop_duplicates("patient").set_index("patient")["cohort"]
    centred = [w.to_numpy() - w.to_numpy().mean(axis=0) for _, w in wide.groupby(cohort)]
    return frame, [c.T @ c for c in centred]


def test_two_visits_with_one_variance_or_two_by_hand(study_frame: pd.DataFrame) -> None:
    # Complete data: -2 l = N log|Sigma| + a constant; one variance is the mean of the two, the covariance stays.
    frame, sums = two_visits(study_frame)
    S = sum(sums) / 50
    one = ((S[0, 0] + S[1, 1]) / 2) ** 2 - S[0, 1] ** 2
    statistic = 50 * math.log(one / np.linalg.det(S))
    fits = [mmrm(frame, covariance=word) for word in ("compound-symmetry", "unstructured")]
    row = last(compare_models(*fits).tidy())
    assert row["statistic"] == pytest.approx(statistic, abs=1e-6)
    assert row["df"] == 1
    assert row["p_value"] == pytest.approx(stats.chi2.sf(statistic, 1), rel=1e-5)
    assert row["reference_distribution"] == "chi2(1)"


def test_a_covariance_for_every_cohort_by_hand(study_frame: pd.DataFrame) -> None:
    # N log|S| - sum of N_c log|S_c|.
    frame, sums = two_visits(study_frame)
    statistic = 50 * np.linalg.slogdet(sum(sums) / 50)[1] - sum(25 * np.linalg.slogdet(s / 25)[1] for s in sums)
    fits = [mmrm(frame, by_cohort=each) for each in (True, False)]
    row = last(compare_models(*fits).tidy())
    assert row["statistic"] == pytest.approx(statistic, abs=1e-6)
    assert row["reference_distribution"] == "chi2(3)"
    assert row["p_value"] == pytest.approx(stats.chi2.sf(statistic, 3), rel=1e-5)


def test_the_table_is_made_of_the_models_own_numbers(mixed_ml: Callable[..., Any]) -> None:
    fits = [mixed_ml(SLOPES), mixed_ml(LINES), mixed_ml(f"{SLOPES} + (1 | site)")]
    result = compare_models(*fits)
    table, order = result.tidy(), [fits[1], fits[0], fits[2]]
    own = pd.concat([fit.glance() for fit in order], ignore_index=True)
    assert table["model"].tolist() == [fit.formula for fit in order]
    for word in ("parameters", "loglik", "deviance", "aic", "bic"):
        np.testing.assert_allclose(table[word], own[word], rtol=1e-12)
    assert table["df"].tolist()[1:] == [2.0, 1.0]
    assert table.loc[0, ["statistic", "df", "p_value"]].isna().all()
    assert table["reference_distribution"][0] == ""
    for k in (1, 2):
        assert table["statistic"][k] == pytest.approx(2 * (order[k].loglik - order[k - 1].loglik), abs=2e-6)
    assert result.glance().iloc[0].to_dict() == {"rows": 200, "method": "ML"}
    assert result.call["models"] == [fit.formula for fit in fits]


# --- which distribution

PAIRS = [
    (LINES, "score ~ month * cohort + age + (1 | patient)", "chi2(1)"),
    (LINES, "score ~ C(month) * cohort + (1 | patient)", "chi2(4)"),
    (LINES, f"{LINES} + (1 | site)", "mixture of chi2(0) and chi2(1)"),
    (LINES, SLOPES, "mixture of chi2(1) and chi2(2)"),
    (LINES, "score ~ month * cohort + (1 + month || patient)", "mixture of chi2(0) and chi2(1)"),
    (f"{LINES} + (1 | site)", f"{SLOPES} + (1 | site)", "mixture of chi2(1) and chi2(2)"),
    ("score ~ month * cohort + (0 + month | patient)", SLOPES, "mixture of chi2(1) and chi2(2)"),
    ("score ~ month * cohort + (1 + month || patient)", SLOPES, "chi2(1)"),
    (LINES, f"{SLOPES} + (1 | site)", "parametric bootstrap (899 draws)"),
    (LINES, "score ~ month * cohort + age + (1 + month | patient)", "parametric bootstrap (899 draws)"),
    (LINES, "score ~ month * cohort + (1 + late + month | patient)", "parametric bootstrap (899 draws)"),
    ("score ~ month * cohort + (1 | site)", LINES.replace("cohort", "cohort + age"), "not nested: criteria only"),
    ("score ~ month + age + (1 | patient)", LINES.replace("cohort", "cohort + sex"), "not nested: criteria only"),
    ("score ~ month * cohort + (1 + late | patient)", SLOPES, "not nested: criteria only"),
    (LINES, LINES.replace("month", "I(1 + 2 * month)"), "as many parameters: criteria only"),
]


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize(("small", "big", "words"), PAIRS)
@pytest.mark.filterwarnings("ignore::implstats.BoundaryWarning")
def test_every_pair_has_its_distribution(mixed_ml: Callable[..., Any], small: str, big: str, words: str) -> None:
    row = last(compare_models(mixed_ml(big), mixed_ml(small)).tidy())
    assert not mixed_ml(small).convergence.boundary
    assert row["reference_distribution"] == words
    assert math.isnan(row["p_value"]) == ("criteria" in words)
    assert math.isnan(row["statistic"]) == ("criteria" in words)


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize(
    ("small", "big", "words"),
    [
        ({}, {"residual": "by(cohort)"}, "chi2(1)"),
        ({}, {"residual": "by(month)"}, "chi2(3)"),
        ({}, {"residual": "ar1(month | patient)"}, "chi2(1)"),
        ({"precision": "known"}, {"residual": "by(cohort)", "precision": "known"}, "chi2(1)"),
        ({"precision": "known"}, {"residual": "by(cohort)"}, "not nested: criteria only"),
        ({"residual": "by(cohort)"}, {"residual": "by(month)"}, "not nested: criteria only"),
        ({"residual": "ar1(month | patient)"}, {"residual": "by(month)"}, "not nested: criteria only"),
    ],
)
def test_residuals_by_stratum_and_along_time(
    mixed_ml: Callable[..., Any], small: dict[str, str], big: dict[str, str], words: str
) -> None:
    table = compare_models(mixed_ml(LINES, **small), mixed_ml(LINES, **big)).tidy()
    assert last(table)["reference_distribution"] == words
    assert table["model"][1] == LINES + f", residual={big['residual']!r}"


@pytest.mark.usefixtures("made_up")
def test_a_correlation_that_cannot_be_negative_is_tested_by_bootstrap(make: Callable[..., pd.DataFrame]) -> None:
    frame = make(times=(0, 6, 13.5, 18))
    fits = [ist.fit_mixed(frame, formula=LINES, residual=r) for r in ("iid", "ar1(month | patient)")]
    assert last(compare_models(*fits).tidy())["reference_distribution"] == "parametric bootstrap (899 draws)"


@pytest.mark.usefixtures("made_up")
def test_a_smaller_model_with_a_variance_at_zero_is_tested_by_bootstrap_but_for_fixed_effects() -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"g": np.repeat(range(10), 6), "h": np.tile(range(6), 10), "x": rng.normal(size=60)})
    # Groups that are more alike than chance has them.
    frame["y"] = rng.normal(size=60)
    frame["y"] -= frame.groupby("g")["y"].transform("mean")
    with pytest.warns(ist.BoundaryWarning):
        small, covariate, crossed = (
            ist.fit_mixed(frame, formula=f"y ~ {rest}", method="ml")
            for rest in ("(1 | g)", "x + (1 | g)", "(1 | g) + (1 | h)")
        )
    assert small.convergence.boundary
    assert last(compare_models(small, covariate).tidy())["reference_distribution"] == "chi2(1)"
    assert last(compare_models(small, crossed).tidy())["reference_distribution"].startswith("parametric bootstrap")


@pytest.mark.parametrize(("small", "big"), list(product(product(WORDS, [False, True]), repeat=2)))
def test_covariances_of_visits_are_nested_as_their_definitions_are(
    mmrm_ml: Callable[..., Any], small: tuple[str, bool], big: tuple[str, bool]
) -> None:
    one, other = (Arrays(mmrm_ml(*of), np.arange(200)) for of in (small, big))
    nested = (small[0] == big[0] or (small[0], big[0]) in INSIDE) and small[1] <= big[1]
    assert mixture(one, other, 3) == ((3,) if nested else None)


@pytest.mark.usefixtures("made_up")
@pytest.mark.parametrize("shape", ["linear", "visits"])
@pytest.mark.parametrize(
    ("random", "word", "words"),
    [
        ("slope", "unstructured", "parametric bootstrap (899 draws)"),
        ("slope", "toeplitz", "not nested: criteria only"),
        ("intercept", "unstructured", "parametric bootstrap (899 draws)"),
        ("intercept", "toeplitz", "parametric bootstrap (899 draws)"),
        ("intercept", "heterogeneous-ar1", "not nested: criteria only"),
    ],
)
def test_random_effects_of_patients_lie_within_covariances_of_visits(
    rows: pd.DataFrame, mmrm_ml: Callable[..., Any], fit: Callable[..., Any],
    shape: str, random: str, word: str, words: str,
) -> None:  # fmt: skip
    growth = fit(rows, shape=shape, random=random, method="ml")
    assert set(compare_models(growth, mmrm_ml(word)).tidy()["reference_distribution"]) == {"", words}


def test_a_random_intercept_and_compound_symmetry_are_one_model(
    rows: pd.DataFrame, fit: Callable[..., Any], mmrm_ml: Callable[..., Any]
) -> None:
    table = compare_models(fit(rows, random="intercept", method="ml"), mmrm_ml("compound-symmetry")).tidy()
    assert table["deviance"][0] == pytest.approx(table["deviance"][1], abs=1e-6)
    assert last(table)["reference_distribution"] == "as many parameters: criteria only"


def test_sites_and_time_series_are_no_covariance_of_visits(
    mixed_ml: Callable[..., Any], mmrm_ml: Callable[..., Any]
) -> None:
    for other in (mixed_ml(f"{LINES} + (1 | site)"), mixed_ml(LINES, residual="ar1(month | patient)")):
        table = compare_models(other, mmrm_ml("unstructured")).tidy()
        assert last(table)["reference_distribution"] == "not nested: criteria only"


def test_the_tail_of_a_mixture_is_the_mean_of_its_parts() -> None:
    for x in (0.3, 2.7, 6.0):
        assert tail(x, (0, 1)) == pytest.approx(stats.chi2.sf(x, 1) / 2, rel=1e-12)
        assert tail(x, (1, 2)) == pytest.approx((stats.chi2.sf(x, 1) + stats.chi2.sf(x, 2)) / 2, rel=1e-12)
        assert tail(x, (4,)) == pytest.approx(stats.chi2.sf(x, 4), rel=1e-12)
    assert tail(0.0, (0, 1)) == tail(0.0, (1, 2)) == tail(0.0, (3,)) == 1.0


# --- rows, codings, methods


def test_the_order_of_rows_and_the_coding_of_terms_do_not_matter(study_frame: pd.DataFrame) -> None:
    def fits(frame: pd.DataFrame, month: str, method: str) -> list[Any]:
        formulas = [f.replace("month", month) for f in (LINES, SLOPES)]
        return [ist.fit_mixed(frame, formula=f, method=method) for f in formulas]

    shuffled = study_frame.sample(frac=1, random_state=2)
    for method in ("ml", "reml"):
        (small, big), (_, moved) = fits(study_frame, "month", method), fits(shuffled, "I(month / 12 - 3)", method)
        plain, recoded = compare_models(small, big), compare_models(small, moved)
        for word in ("loglik", "statistic", "p_value", "aic"):
            np.testing.assert_allclose(plain.tidy()[word], recoded.tidy()[word], rtol=1e-6)
        said = f"restricted log-likelihoods are on the coding of the fixed effects of {LINES}"
        assert (said in recoded.notes) == (method == "reml")
        assert plain.notes == ()


def test_refusals_name_the_argument_the_fault_and_the_remedy(
    study_frame: pd.DataFrame, mixed_ml: Callable[..., Any]
) -> None:
    first, reml = mixed_ml(LINES), mixed_ml(LINES, method="reml")
    fewer = ist.fit_mixed(study_frame.iloc[5:], formula=LINES, method="ml")
    logs = ist.fit_mixed(study_frame.assign(score=np.log(study_frame["score"] + 9)), formula=LINES, method="ml")
    twice = ist.fit_mixed(study_frame.set_index("patient", drop=False).iloc[:190], formula=LINES, method="ml")
    covariate = mixed_ml("score ~ month * cohort + age + (1 | patient)", method="reml")
    cases = [
        (
            (first, 3, "text"),
            "b: a int is not a fitted model; give results of fit_growth, fit_mixed or fit_mmrm\n"
            "more[0]: a str is not a fitted model; give results of fit_growth, fit_mixed or fit_mmrm",
        ),
        (
            (first, fewer),
            "b: not fitted to the rows of a (rows 0, 1, 2 and 2 more in one only); keep the rows that every model can "
            "use, and fit all to them",
        ),
        (
            (first, twice),
            "b: not fitted to the rows of a (190 rows, 200 in a, and labels that repeat); keep the rows that every "
            "model can use, and fit all to them",
        ),
        (
            (first, logs),
            "b: another outcome than in a in rows 0, 1, 2 and 197 more; likelihoods of different outcomes do not "
            "compare",
        ),
        ((first, reml), "method: a by ML, b by REML; their likelihoods do not compare, so fit all by the same"),
        (
            (reml, mixed_ml(SLOPES, method="reml"), covariate),
            "method='reml': restricted likelihoods do not compare across fixed effects, and those of more[0] are not "
            "those of a; fit all with method='ml'",
        ),
    ]
    for models, message in cases:
        with pytest.raises(ist.DataError, match=f"^{re.escape(message)}$"):
            compare_models(*models)


def test_faults_of_the_options_are_reported_together(mixed_ml: Callable[..., Any]) -> None:
    with pytest.raises(ist.DataError) as caught:
        compare_models(mixed_ml(LINES), 1, draws=9, workers=0, rng="seed")
    assert str(caught.value).splitlines() == [
        "draws=9: less than 99; 999 is a good number",
        "workers=0: less than 1",
        "rng='seed': neither a whole number of 0 or more nor a numpy Generator; rng=1 gives the same draws every time",
        "b: a int is not a fitted model; give results of fit_growth, fit_mixed or fit_mmrm",
    ]


def test_a_model_that_fits_worse_than_its_special_case_is_an_error(mixed_ml: Callable[..., Any]) -> None:
    small, big = mixed_ml(LINES), mixed_ml(SLOPES)
    worse = replace(big, fit=replace(big.fit, deviance=small.fit.deviance + 1))
    with pytest.raises(ist.ConvergenceError, match=r"fits worse than its own special case") as caught:
        compare_models(small, worse)
    assert caught.value.record["converged"] is True


# --- the bootstrap


@pytest.mark.usefixtures("made_up")
def test_the_bootstrap_counts_what_reaches_the_statistic(
    mixed_ml: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Draw k gains k, and every tenth cannot be fitted.
    small, big = mixed_ml(LINES), mixed_ml(f"{SLOPES} + (1 | site)")
    result = compare_models(small, big, draws=200, rng=5)
    row = last(result.tidy())
    reached = sum(k >= row["statistic"] for k in range(200) if k % 10)
    assert 0 < reached < 180
    assert row["p_value"] == pytest.approx((1 + reached) / 181, rel=1e-12)
    assert row["reference_distribution"] == "parametric bootstrap (180 draws)"
    assert result.notes == (f"{big.formula}: 20 of 200 draws could not be fitted",)
    assert result.call["rng"] == 5
    monkeypatch.setattr(compare, "HELD", 200 * 7)
    assert compare_models(small, big, draws=200, rng=5).tidy().equals(result.tidy())


@pytest.mark.usefixtures("made_up")
def test_a_bootstrap_that_mostly_fails_is_an_error(
    mixed_ml: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fake, "redrawn", lambda self, y: Draws(y[0], y[0] % 3 == 0))
    with pytest.raises(ist.ConvergenceError, match=r"66 of 99 draws from .* could not be fitted"):
        compare_models(mixed_ml(LINES), mixed_ml(f"{SLOPES} + (1 | site)"), draws=99)


@pytest.fixture(scope="module")
def level_only() -> pd.DataFrame:
    """Return patients who differ in their level, and in nothing else."""
    rng = np.random.default_rng(7)
    g, t = np.repeat(np.arange(60), 5), np.tile(np.arange(5.0), 60)
    y = rng.normal(size=60)[g] + rng.normal(size=300)
    return pd.DataFrame({"y": y, "g": g, "t": t, "x": rng.normal(size=60)[g]})


@pytest.fixture(scope="module")
def alike(level_only: pd.DataFrame) -> list[Any]:
    """Return the model that made them, and one with a slope and a covariate too many."""
    return [ist.fit_mixed(level_only, formula=f"y ~ {f}", method="ml") for f in ("t + (1 | g)", "t + x + (1 + t | g)")]


def test_a_bootstrap_is_near_the_mixture_that_holds_for_many_groups(alike: list[Any]) -> None:
    # A fixed effect beside a correlated slope: half chi2(2), half chi2(3). The standard error of the p-value is .02.
    row = last(compare_models(*alike, rng=1, draws=500).tidy())
    assert row["reference_distribution"] == "parametric bootstrap (500 draws)"
    asymptotic = tail(row["statistic"], (2, 3))
    assert 0.2 < asymptotic < 0.9
    assert row["p_value"] == pytest.approx(asymptotic, abs=0.08)


def test_draws_find_their_rows_in_the_order_and_coding_of_the_larger_model(level_only: pd.DataFrame) -> None:
    frame = level_only.assign(square=level_only["t"] ** 2, moved=2 * level_only["t"] - 3)
    small, big = (ist.fit_mixed(frame, formula=f"y ~ t + {random}") for random in ("(1 | g)", "(1 + t + square | g)"))
    shuffled = frame.sample(frac=1, random_state=3)
    moved = ist.fit_mixed(shuffled, formula="y ~ moved + (1 + moved + square | g)")
    plain, other = (last(compare_models(small, model, rng=3, draws=99).tidy()) for model in (big, moved))
    assert "bootstrap" in plain["reference_distribution"]
    assert other["statistic"] == pytest.approx(plain["statistic"], abs=1e-6)
    assert other["p_value"] == plain["p_value"]


def test_draws_depend_on_the_seed_and_not_on_the_workers(alike: list[Any]) -> None:
    once, shared, other = (
        compare_models(*alike, rng=rng, draws=240, workers=workers) for rng, workers in ((1, 1), (1, 2), (2, 1))
    )
    assert once.tidy().equals(shared.tidy())
    assert last(once.tidy())["p_value"] != last(other.tidy())["p_value"]
    assert once.notes == ()
    assert compare_models(*alike, draws=99).notes == (
        "without rng= the p-values of a bootstrap differ a little from call to call",
    )


# --- words and the null


def test_the_header_says_what_was_compared_and_promises_nothing(mixed_ml: Callable[..., Any]) -> None:
    result = compare_models(mixed_ml(LINES), mixed_ml(f"{LINES} + (1 | site)"))
    first, meaning, best = result.header()
    assert first == "2 models of the same 200 rows (ML), each against the row above"
    assert "a large one does not prove it" in meaning
    criteria = result.tidy().set_index("model")[["aic", "bic"]].idxmin()
    assert best == f"lowest AIC: {criteria['aic']}; lowest BIC: {criteria['bic']}"
    assert "mixture of chi2(0) and chi2(1)" in repr(result)
    apart = compare_models(mixed_ml(LINES), mixed_ml("score ~ month * cohort + (1 | site)"))
    assert len(apart.header()) == 2


@pytest.mark.filterwarnings("ignore::implstats.BoundaryWarning")
@pytest.mark.parametrize(("random", "parts"), [("(1 + t | g)", (1, 2)), ("(1 + t || g)", (0, 1))])
def test_p_values_of_a_mixture_are_about_uniform_where_the_smaller_model_holds(
    random: str, parts: tuple[int, int]
) -> None:
    rng, table = np.random.default_rng(11), []
    g, t = np.repeat(np.arange(60), 4), np.tile(np.arange(4.0), 60)
    for _ in range(120):
        frame = pd.DataFrame({"y": rng.normal(size=60)[g] + rng.normal(size=240), "g": g, "t": t})
        fits = [ist.fit_mixed(frame, formula=f"y ~ t + {r}") for r in ("(1 | g)", random)]
        table.append(last(compare_models(*fits).tidy()))
    found = pd.DataFrame(table)
    # Standard errors of the two shares: .027 and .046.
    assert 0.03 < (found["p_value"] <= 0.1).mean() < 0.17
    assert 0.39 < (found["p_value"] <= 0.5).mean() < 0.61
    # As one chi-square of all parameters it would not be.
    naive = stats.chi2.sf(found["statistic"].astype(float), parts[1])
    assert (naive <= 0.5).mean() < 0.39
