"""What other programs answer wrongly, beside our answer and a truth that is worked out here without either of them.

lifelines 0.30.3 runs in these tests. R's answers (survival 3.5-3, cmprsk 2.2-11) are in elsewhere.json: no R needed.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special

from implstats.errors import ConvergenceError
from implstats.survival.competing import cumulative_incidence
from implstats.survival.cox import fit_cox
from implstats.survival.curves import survival_curves
from implstats.survival.fine_gray import fit_fine_gray
from implstats.survival.gray import gray_test
from implstats.survival.logrank import logrank
from implstats.survival.rmst import rmst

HERE = Path(__file__).resolve().parent
BY_R: dict[str, Any] = json.loads((HERE / "elsewhere.json").read_text(encoding="utf-8"))["cases"]
LUNG = {"duration": "time", "event": "status", "censored": 1}


def table(name: str) -> pd.DataFrame:
    return pd.read_csv(HERE / "data" / f"{name}.csv")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """lifelines warns of some of what it gets wrong, and sets numpy's handling of errors for good."""
    with warnings.catch_warnings(), np.errstate():
        warnings.simplefilter("ignore")
        yield


def at_events(
    X: np.ndarray, exit_: np.ndarray, event: np.ndarray, hazard: np.ndarray, entry: Any = 0.0
) -> Iterator[Any]:
    """Yield every event with the mean and the covariance of X at risk and 1 / S0, tied ones in turn as Efron has it."""
    for t in np.unique(exit_[event]):
        tied = np.flatnonzero(event & (exit_ == t))
        for k, row in enumerate(tied):
            share = hazard * ((entry < t) & (exit_ >= t))
            share[tied] *= 1 - k / len(tied)
            mean = share @ X / share.sum()
            yield t, row, mean, (share[:, None] * X).T @ X / share.sum() - np.outer(mean, mean), 1 / share.sum()


# lifelines ------------------------------------------------------------------------------------------------------------


def test_lifelines_gives_the_spread_of_lives_for_the_variance_of_their_mean() -> None:
    from lifelines import KaplanMeierFitter
    from lifelines.utils import restricted_mean_survival_time

    men = table("lung").query("sex == 1")
    row = rmst(men, **LUNG, tau=500).tidy().iloc[0]
    mean, variance = restricted_mean_survival_time(
        KaplanMeierFitter().fit(men["time"], men["status"] == 2), t=500, return_variance=True
    )
    assert row["estimate"] == pytest.approx(mean, rel=1e-9)
    assert variance == pytest.approx(27_001, abs=1)
    # The truth, from means of resampled men: a variance near 206, of which 800 draws know the root to 2.5 %.
    rng = np.random.default_rng(1)
    means = [rmst(men.iloc[rng.integers(0, len(men), len(men))], **LUNG, tau=500).mean[0] for _ in range(800)]
    assert row["std_error"] == pytest.approx(14.3546, abs=5e-5)
    assert np.std(means) == pytest.approx(row["std_error"], rel=0.1)
    assert np.sqrt(variance) > 10 * np.std(means)


def test_lifelines_baseline_counts_those_who_have_not_yet_entered() -> None:
    from lifelines import CoxPHFitter

    # Ten programmes are there from the start, and one of them stops in year 1; ninety enter in year 5.
    rng = np.random.default_rng(3)
    since = np.repeat([0.0, 5.0], [10, 90])
    years = np.concatenate([np.arange(1.0, 11), 5 + rng.exponential(4, 90).round(2) + 0.01])
    frame = pd.DataFrame({"since": since, "years": years, "stopped": 1, "x": rng.choice([-1.0, 1.0], 100)})
    profile = pd.DataFrame({"x": [0.0]})
    ours = fit_cox(frame, duration="years", event="stopped", terms=["x"], entry="since")
    hazard = np.exp(ours.params["x"] * frame["x"].to_numpy())
    events = at_events(frame[["x"]].to_numpy(), years, np.full(100, True), hazard, since)
    truth = np.exp(-sum(step for t, *_, step in events if t <= 4))
    assert ours.survival_at(profile, 4)["estimate"][0] == pytest.approx(truth, rel=1e-10)
    assert truth == pytest.approx(0.62, abs=0.05)
    other = CoxPHFitter().fit(frame, "years", "stopped", entry_col="since")
    assert other.params_["x"] == pytest.approx(ours.params["x"], abs=0.01)
    assert other.predict_survival_function(profile, times=[4]).iloc[0, 0] > 0.9


def test_lifelines_tests_proportional_hazards_by_an_approximation_far_off() -> None:
    from lifelines import CoxPHFitter
    from lifelines.statistics import proportional_hazard_test

    rossi = table("rossi")
    terms = [c for c in rossi.columns if c not in ("week", "arrest")]
    fit = fit_cox(rossi, duration="week", event="arrest", terms=terms)
    ours = fit.proportional_hazards().tidy().set_index("term")["statistic"]["age"]
    theirs = proportional_hazard_test(CoxPHFitter().fit(rossi, "week", "arrest"), rossi, time_transform="km")
    # The truth is the score test of age x g(t), g = 1 - Kaplan-Meier just before t, added to the model.
    X, week, arrest = rossi[terms].to_numpy(float), rossi["week"].to_numpy(float), rossi["arrest"].to_numpy() == 1
    curve = survival_curves(rossi, duration="week", event="arrest").tidy()
    g_at = dict(zip(curve["time"], 1 - curve["estimate"].shift(fill_value=1.0), strict=True))
    g_after = dict(zip(curve["time"], 1 - curve["estimate"], strict=True))
    age, p = terms.index("age"), len(terms)
    score, information, residuals, g = 0.0, np.zeros((p + 1, p + 1)), [], []
    for t, row, mean, covariance, _ in at_events(X, week, arrest, np.exp(X @ fit.params.to_numpy())):
        Z = np.vstack([np.eye(p), g_at[t] * np.eye(p)[age]])
        score += g_at[t] * (X[row] - mean)[age]
        information += Z @ covariance @ Z.T
        residuals.append(X[row] - mean)
        g.append(g_after[t])
    of_g = information[p, p] - information[p, :p] @ np.linalg.solve(information[:p, :p], information[:p, p])
    assert ours == pytest.approx(score**2 / of_g, rel=1e-6)
    assert ours == pytest.approx(5.97, abs=5e-3)
    # The approximation takes the covariance at risk for the same at all events, as R did before survival 3.0; its g
    # is 1 - Kaplan-Meier at t.
    off = np.array(g) - np.mean(g)
    scaled = (off @ np.array(residuals) @ fit.vcov.to_numpy())[age]
    rough = scaled**2 * len(g) / (fit.vcov.loc["age", "age"] * (off @ off))
    assert theirs.summary["test_statistic"]["age"] == pytest.approx(rough, rel=1e-3)
    assert rough == pytest.approx(11.0, abs=0.1)


def test_lifelines_log_rank_ignores_strata() -> None:
    from lifelines.statistics import logrank_test

    known = table("lung").dropna(subset="inst")
    men, women = (known[known["sex"] == s] for s in (1, 2))
    theirs = logrank_test(men["time"], women["time"], men["status"] == 2, women["status"] == 2, strata=known["inst"])
    assert theirs.test_statistic == pytest.approx(logrank(known, **LUNG, by="sex").statistic, rel=1e-9)
    # The truth, for men: over institutions and times of deaths d among n with m men, d - d m / n of each are summed.
    difference = variance = 0.0
    for _, inst in known.groupby("inst"):
        for t in inst.loc[inst["status"] == 2, "time"].unique():
            risk = inst[inst["time"] >= t]
            dead = risk[(risk["time"] == t) & (risk["status"] == 2)]
            n, d, m = len(risk), len(dead), (risk["sex"] == 1).sum()
            difference += (dead["sex"] == 1).sum() - d * m / n
            variance += d * (n - d) / max(n - 1, 1) * m * (n - m) / n**2
    ours = logrank(known, **LUNG, by="sex", strata="inst").statistic
    assert ours == pytest.approx(difference**2 / variance, rel=1e-10)
    assert ours == pytest.approx(8.524467, abs=5e-7)
    assert abs(theirs.test_statistic - ours) > 1


def test_lifelines_shakes_tied_times_before_it_counts_incidence() -> None:
    from lifelines import AalenJohansenFitter

    quarters = pd.DataFrame({"quarter": [1, 1, 1, 2, 2, 2, 3, 3], "ended": [1, 2, 0, 1, 2, 2, 0, 1]})
    ours = cumulative_incidence(quarters, duration="quarter", event="ended", censored=0).at([1, 2, 3])
    # Of 8, one each: 1/8. Then S = 6/8, of 5 at risk one and two: + 3/4 / 5. Then S = 3/4 x 2/5, of 2 one.
    steps = [Fraction(1, 8), Fraction(3, 4) / 5, Fraction(3, 4) * Fraction(2, 5) / 2]
    truth = [float(sum(steps[: k + 1])) for k in range(3)]
    assert ours.loc[ours["cause"] == 1, "estimate"].tolist() == pytest.approx(truth)
    answers = []
    for seed in range(5):
        other = AalenJohansenFitter(calculate_variance=False, seed=seed)
        other.fit(quarters["quarter"], quarters["ended"], event_of_interest=1)
        answers.append(float(other.cumulative_density_.iloc[-1, 0]))
    assert max(answers) - min(answers) > 0.05


def test_lifelines_cuts_fractional_weights_down_in_its_variance() -> None:
    # Greenwood's sum takes 3 for 3.6 at risk; with such weights the infinitesimal jackknife is right (as in survfit).
    frame = pd.DataFrame({"t": [1.0, 2, 3, 4, 5, 6], "d": [1, 1, 0, 1, 1, 0], "w": [0.7, 0.4, 1.2, 0.9, 0.5, 0.6]})
    beside = survival_curves(frame, duration="t", event="d", weights="w").cross_check().iloc[:-1]
    np.testing.assert_allclose(beside["difference"], 0, atol=1e-12)

    def survival(weights: np.ndarray) -> float:
        made = survival_curves(frame.assign(w=weights), duration="t", event="d", weights="w")
        return float(made.at(4)["estimate"].iloc[0])

    w, h = frame["w"].to_numpy(), 1e-5
    slopes = [(survival(w + h * e) - survival(w - h * e)) / (2 * h) for e in np.eye(6)]
    at_four = beside[beside["time"] == 4].iloc[0]
    assert at_four["std_error"] == pytest.approx(np.sqrt(np.sum((w * slopes) ** 2)), rel=1e-6)
    assert at_four["std_error_other"] > 1.2 * at_four["std_error"]


def test_lifelines_gives_millions_for_a_ratio_without_an_estimate() -> None:
    from lifelines import CoxPHFitter

    frame = pd.DataFrame(BY_R["monotone"]["frame"])
    assert np.exp(CoxPHFitter().fit(frame, "years", "stopped").params_["during"]) > 1e6
    the_truth_is_a_finite_penalised_estimate_or_none(frame)


# R --------------------------------------------------------------------------------------------------------------------


def the_truth_is_a_finite_penalised_estimate_or_none(frame: pd.DataFrame) -> None:
    """Fail unless a plain fit is refused; with r = e^b the likelihood r/(4r + 3) r/(3r + 3) r/(r + 3) only rises."""
    roles: dict[str, Any] = {"duration": "years", "event": "stopped", "terms": ["during"]}
    r = np.exp(np.linspace(-5, 20, 200))
    assert (np.diff(r / (4 * r + 3) * r / (3 * r + 3) * r / (r + 3)) > 0).all()
    with pytest.raises(ConvergenceError, match=r"^'during': no finite estimate; with 3 events .*penalty='firth'"):
        fit_cox(frame, **roles)
    row = fit_cox(frame, **roles, penalty="firth").tidy(hazard_ratio=True).iloc[0]
    assert 0.5 < row["conf_low"] < 1 < row["estimate"] < row["conf_high"] < 1e4


def test_coxph_and_crr_give_billions_and_certainty_for_a_ratio_without_an_estimate() -> None:
    theirs = BY_R["monotone"]
    frame = pd.DataFrame(theirs["frame"])
    assert theirs["hazard_ratio"] > 1e9
    # crr's standard error is small where the estimate runs away: z is 19 on seven rows.
    assert theirs["crr"]["estimate"] / theirs["crr"]["std_error"] > 10
    the_truth_is_a_finite_penalised_estimate_or_none(frame)
    with pytest.raises(ConvergenceError, match=r"^'during': no finite estimate; with 3 events"):
        fit_fine_gray(frame, duration="years", event="stopped", censored=0, cause=1, terms=["during"])


def test_coxph_takes_groups_of_a_frailty_for_independent_of_each_other() -> None:
    theirs, kidney = BY_R["frailty"], table("kidney")
    fit = fit_cox(kidney, duration="time", event="status", terms=["age", "sex"], frailty="id")
    # The truth: the whole penalised information, with a column for every patient's log hazard ratio.
    groups = fit.frailties()
    X = np.column_stack([kidney[["age", "sex"]], pd.get_dummies(kidney["id"])[groups["group"]]]).astype(float)
    hazard = np.exp(X[:, :2] @ fit.params.to_numpy()) * (X[:, 2:] @ groups["estimate"].to_numpy())
    events = at_events(X, kidney["time"].to_numpy(), kidney["status"].to_numpy() == 1, hazard)
    penalty = np.diag(np.append([0.0, 0.0], groups["estimate"] / fit.theta))
    truth = np.sqrt(np.diag(np.linalg.inv(sum(covariance for *_, covariance, _ in events) + penalty)))[:2]
    np.testing.assert_allclose(fit.tidy()["std_error"], truth, rtol=1e-8)
    assert (np.array(theirs["std_error_at_the_best"]) / truth - 1 > 0.015).all()


def test_coxph_stops_looking_for_the_frailtys_variance_early() -> None:
    theirs = BY_R["frailty"]
    fit = fit_cox(table("kidney"), duration="time", event="status", terms=["age", "sex"], frailty="id")
    assert fit.loglik > theirs["loglik"] + 1e-4
    assert theirs["theta"] / fit.theta - 1 > 5e-5


@pytest.mark.parametrize("cause", [1, 2])
def test_cuminc_lets_events_at_one_time_take_variance_away(cause: int) -> None:
    # Of group 0 one row is left when eight of group 1 have the cause at once: cmprsk multiplies what they add by
    # (n - d) / (n - 1), negative where n is 2.05 at risk in effect. With the eight a little apart nothing is tied, and
    # since they are of one group, their order does not matter.
    frame = pd.DataFrame(BY_R["gray"]["frame"]).astype({"end": float})
    apart = frame.assign(end=frame["end"] + np.where(frame["end"] == 3, 1e-3 * np.arange(len(frame)), 0.0))
    ours, truth = (
        gray_test(rows, duration="end", event="cause", censored=0, by="group").statistic[cause]
        for rows in (frame, apart)
    )
    theirs = BY_R["gray"]["statistic"][cause - 1]
    assert truth - 1e-12 < ours < theirs / 1.1
    if cause == 2:
        assert ours == pytest.approx(truth, rel=1e-3)


def test_survfit_has_no_interval_where_nobody_has_had_the_event() -> None:
    # At 1 one of four is censored: survival is 1, and its standard error 0, so that both ends are 1.
    four = pd.DataFrame({"years": [1, 2, 3, 4], "stopped": [0, 1, 1, 0]})
    ours = survival_curves(four, duration="years", event="stopped", interval="log-log").tidy()
    theirs = BY_R["curve"]
    assert ours["estimate"].tolist() == pytest.approx(theirs["survival"])
    assert ours[["conf_low", "conf_high"]].iloc[0].tolist() == [1, 1]
    assert theirs["low"][0] is theirs["high"][0] is None
    # From then on both are right: exp(-exp(log(-log 2/3) +- z sqrt(1/6) / log(2/3))), Greenwood's 1/(3 x 2).
    reach = special.ndtri(0.975) * np.sqrt(1 / 6) / abs(np.log(2 / 3))
    truth = [(2 / 3) ** np.exp(reach), (2 / 3) ** np.exp(-reach)]
    assert ours[["conf_low", "conf_high"]].iloc[1].tolist() == pytest.approx(truth)
    assert [theirs["low"][1], theirs["high"][1]] == pytest.approx(truth)
