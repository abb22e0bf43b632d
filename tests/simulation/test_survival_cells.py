"""The study of survival models knows its own truth: each is held to large draws, or to a closed form."""

import json
import math
from dataclasses import replace

import causes
import numpy as np
import pandas as pd
import programmes
import pytest
import study
import survival_base
import survival_cells
from scipy import stats

import implstats as ist
from implstats._core import cox, events, frailty

CELLS = {cell.name: cell for cell in survival_cells.cells()}
EFFECT = survival_base.EFFECTS["effect"]


def large(name, **changes):
    """Return one study of very many programmes."""
    cell = replace(CELLS[name], **changes)
    return cell, cell.draw("effect", np.random.default_rng(7))


@pytest.mark.parametrize("kind", programmes.FRAILTIES)
def test_cox_on_very_many_organisations_finds_its_truth(kind):
    # 10,000 organisations with 40,000 programmes; four standard errors.
    cell, frame = large(f"Cox, 100 organisations, {kind}", count=10_000)
    fit = ist.fit_cox(frame, terms=survival_base.TERMS, cluster="organisation", **survival_cells.TIMES).tidy()
    true = np.array([cell.truth_of("effect", "Cox")[term] for term in survival_base.TERMS])
    assert (np.abs(fit["estimate"] - true) < 4 * fit["std_error"]).all()
    assert (fit["std_error"] < 0.025).all()


def test_marginal_truth_without_frailty_is_the_truth_and_with_it_nearer_to_zero(monkeypatch):
    assert np.abs(programmes.marginal(EFFECT)) == pytest.approx([0.571, 0.407], abs=0.001)
    assert programmes.marginal((0.0, 0.0)) == pytest.approx([0, 0], abs=1e-9)
    monkeypatch.setattr(programmes, "VARIANCE", 1e-9)
    assert programmes.marginal.__wrapped__(EFFECT) == pytest.approx(EFFECT, abs=1e-6)


def test_positive_stable_draws_have_their_laplace_transform():
    draws = programmes.positive_stable(200_000, np.random.default_rng(1))
    for s in (0.3, 1.0, 3.0):
        assert np.exp(-s * draws).mean() == pytest.approx(math.exp(-(s**programmes.STABLE)), abs=0.004)


def test_organisations_are_treated_by_half_and_differ_in_size():
    frame = programmes.organisations(30, np.random.default_rng(1))
    sizes = frame.groupby("organisation").size()
    assert sorted(sizes) == sorted(6 * programmes.SIZES)
    assert frame.groupby("organisation")["treatment"].nunique().eq(1).all()
    assert frame.groupby("organisation")["treatment"].first().sum() == 15


def test_restricted_mean_of_exponential_times_in_closed_form():
    # The area under exp(-t / 5) up to 4 is 5 (1 - exp(-.8)).
    cell = CELLS["Restricted means, 30 + 30"]
    before = survival_cells.mean_until(4.0, survival_cells.Weibull(1.0, 5.0))
    assert before == pytest.approx(5 * (1 - math.exp(-0.8)), rel=1e-10)
    assert cell.truth_of("null", "restricted means") == {"difference": 0, "log ratio": 0, "hazards": 0}
    _, frame = large("Restricted means, 30 + 30", per_group=100_000)
    found = ist.rmst(frame, by="era", tau=4, **survival_cells.TIMES).tidy().set_index("quantity")
    true = cell.truth_of("effect", "restricted means")
    assert found.loc["difference", "estimate"] == pytest.approx(true["difference"], abs=0.03)
    assert math.log(found.loc["ratio", "estimate"]) == pytest.approx(true["log ratio"], abs=0.01)
    # Of the later group more is censored before tau.
    early = frame[(frame["years"] < 4) & (frame["stopped"] == 0)]["era"].value_counts()
    assert early["during"] > 5_000
    assert "before" not in early


def test_a_curve_is_asked_for_where_it_has_the_named_height():
    cell, frame = large("Kaplan-Meier, 40", count=100_000)
    found = cell.said("Kaplan-Meier", frame)[0]["log"]
    assert [row[0] for row in found.values()] == pytest.approx([0.9, 0.5, 0.2], abs=0.01)


def incidence(cell, truth):
    """Return the share of either group that stopped by some times, and its hazard of stopping, nothing censored."""
    out = []
    for group in ("before", "during"):
        years, cause = cell.ended(group, truth, np.random.default_rng(3))
        stops = cause == "stopped"
        share = [float((stops & (years <= t)).mean()) for t in (1, 3, 6)]
        hazard = [float((stops & (years <= t)).sum() / np.minimum(years, t).sum()) for t in (1, 3)]
        out.append((np.array(share), np.array(hazard)))
    return out


@pytest.mark.parametrize(
    ("kind", "shares", "hazards"), [("all alike", 1, 1), ("incidence alike", 1, 0), ("hazard alike", 0, 1)]
)
def test_what_is_alike_under_grays_null(kind, shares, hazards):
    cell = replace(CELLS[f"Gray, 50 + 50, {kind}"], per_group=200_000)
    (share, hazard), (later_share, later_hazard) = incidence(cell, "null")
    assert bool(np.abs(share - later_share).max() < 0.006) == bool(shares)
    assert bool(np.abs(hazard - later_hazard).max() < 0.006) == bool(hazards)
    (share, _), (later_share, _) = incidence(replace(cell, kind="all alike"), "effect")
    assert (later_share - share > 0.04).all()


def test_incidence_of_fine_and_grays_scheme():
    # 1 - (1 - p (1 - exp(-t))) ** exp(x'b), t in units of three years.
    frame = pd.DataFrame({"treatment": np.repeat([0.0, 1.0], 100_000), "covariate": 0.0})
    years, cause = causes.ended(frame, np.exp(EFFECT[0] * frame["treatment"].to_numpy()), np.random.default_rng(2))
    for t in (1.0, 4.0, np.inf):
        base = 1 - causes.STOPS * -math.expm1(-t / causes.UNIT)
        for treated, power in ((0, 1.0), (1, math.exp(EFFECT[0]))):
            found = ((cause == "stopped") & (years <= t))[frame["treatment"] == treated].mean()
            assert found == pytest.approx(1 - base**power, abs=0.006)


@pytest.mark.parametrize("changes", [{"name": "Fine-Gray, 300"}, {"name": "Fine-Gray, 100 organisations"}])
def test_fine_gray_on_very_many_programmes_finds_its_truth(changes):
    cell, frame = large(changes["name"], count=8_000)
    options = {"cluster": "organisation"} if cell.shared else {}
    fit = cell.fitted(frame, **options)
    assert (np.abs(fit["estimate"] - np.array(EFFECT)) < 4 * fit["std_error"]).all()
    assert (fit["std_error"] < 0.05).all()


def test_rows_by_t_by_hand():
    # Estimate 1, standard error .5, 10 df: t = 2, the 97.5 % point is 2.2281, the p-value .0734.
    (row,) = survival_base.rows(["b"], [1.0], [0.5], 10).values()
    assert row == pytest.approx([1, 0.5, 1 - 1.11407, 1 + 1.11407, 0.073388], abs=1e-5)
    (row,) = survival_base.rows(["b"], [1.0], [0.5]).values()
    assert row[4] == pytest.approx(2 * stats.norm.sf(2))


def test_summary_counts_answers_coverage_and_rejections_by_hand():
    nothing = float("nan")
    values = np.array(
        [
            [0.5, 0.1, 0.3, 0.7, 0.01],
            [0.9, 0.1, 0.7, 1.1, 0.20],
            [0.1, 0.1, -0.1, 0.3, 0.04],
            [0.6, 0.3, nothing, nothing, 0.06],
            [nothing] * 5,
        ]
    )
    said = CELLS["Fine-Gray, 100"].summary(values, 0.5)
    # One of four sets holds .5, one lies above, one below; the one without ends holds nothing.
    assert (said["answered"], said["coverage"], said["above"], said["below"]) == (4, 25, 25, 25)
    assert (said["rejected"], said["bias"], said["mean_std_error"]) == pytest.approx((50, 0.025, 0.15))
    only_tests = values.copy()
    only_tests[:, :4] = nothing
    assert CELLS["Fine-Gray, 100"].summary(only_tests, 0.0) == {"truth": 0.0, "answered": 4, "rejected": 50}


def test_refusals_are_counted_not_hidden():
    found = study.chunk(CELLS["Few events, 7 programmes"], "effect", range(20))
    assert 20 > found["failed"]["Cox"] > found["failed"]["Firth"]
    assert np.isnan(found["said"]["Cox"]).all(axis=(1, 2, 3)).sum() == found["failed"]["Cox"]


# Reasons that survival_reasons.toml gives ---------------------------------------------------------------------------


def committed(name):
    results = json.loads(study.FAMILIES["survival"].results.read_text(encoding="utf-8"))
    return results["cells"][name]["truths"]["null"]["models"]


def drawn(cell, replicates, truth="null"):
    """Yield studies, the same as those of the table."""
    place = study.TRUTHS.index(truth)
    for replicate in replicates:
        yield cell.draw(truth, study._parallel.generators(study.SEED, cell.key, place, replicate))


def robust(frame):
    table = ist.fit_cox(frame, terms=survival_base.TERMS, cluster="organisation", **survival_cells.TIMES).tidy()
    return table["estimate"].to_numpy(), table["std_error"].to_numpy()


def test_zero_is_the_estimated_variance_more_often_than_that_of_known_hazards_would_be():
    # The score of the variance at zero is half of sum (d - expected)^2 - d over organisations; its mean is zero.
    name = "Cox, 30 organisations, no frailty"
    below = 0
    for frame in drawn(CELLS[name], range(1_000)):
        expected = (frame["years"] / programmes.SCALE) ** programmes.SHAPE
        left = (frame["stopped"] - expected).groupby(frame["organisation"]).sum()
        below += (left**2).sum() <= frame["stopped"].sum()
    assert 0.52 < below / 1_000 < 0.62
    assert committed(name)["gamma frailty"]["boundary"] / 2_000 > 0.66


def test_coverage_of_a_curve_that_nothing_is_censored_before_follows_from_the_binomial():
    # At .9 the curve of 40 is 1 - k / 40; its log has the variance k / (40 (40 - k)).
    k = np.arange(20)
    record = json.loads(study.FAMILIES["survival"].results.read_text(encoding="utf-8"))["cells"]["Kaplan-Meier, 40"]
    said = record["truths"]["effect"]["models"]["Kaplan-Meier"]["methods"]
    exact = {}
    for interval in said:
        ends = events.intervals(1 - k / 40, np.sqrt(k / (40 * (40 - k))), interval, stats.norm.ppf(0.975))
        exact[interval] = 100 * stats.binom.pmf(k, 40, 0.1)[(ends[0] <= 0.9) & (ends[1] >= 0.9)].sum()
        # Three Monte Carlo errors.
        assert said[interval]["S = 0.9"]["coverage"] == pytest.approx(exact[interval], abs=2)
    found = [exact[interval] for interval in ("log", "log-log", "plain", "logit", "arcsine")]
    assert found == pytest.approx([91.4, 94.3, 91.4, 94.3, 90.4], abs=0.05)


@pytest.mark.slow
def test_leaving_out_every_organisation_in_turn_makes_up_for_few_of_them():
    said = []
    for frame in drawn(CELLS["Cox, 30 organisations, positive stable frailty"], range(400)):
        estimate, error = robust(frame)
        others = np.array([robust(frame[frame["organisation"] != code])[0] for code in range(30)])
        said.append([estimate, error, np.sqrt(29 / 30 * ((others - estimate) ** 2).sum(axis=0))])
    estimate, sandwich, jackknife = np.array(said).transpose(1, 0, 2)
    spread = estimate.std(axis=0)
    assert (sandwich.mean(axis=0) < 0.95 * spread).all()
    assert (jackknife.mean(axis=0) > spread).all()
    covers = 100 * (np.abs(estimate) < stats.t.ppf(0.975, 28) * jackknife).mean(axis=0)
    assert (np.abs(covers - 95) < 2.2).all()


@pytest.mark.slow
def test_a_frailty_whose_variance_is_known_covers():
    terms, outside = list(survival_base.TERMS), []
    for frame in drawn(CELLS["Cox, 30 organisations, gamma frailty"], range(1_500), "effect"):
        model = cox.prepare(None, frame["years"].to_numpy(), frame["stopped"].to_numpy() == 1, frame[terms].to_numpy())
        problem = frailty._Penalised(model, frame["organisation"].to_numpy()[model.risk.row], np.zeros(2))
        error = np.sqrt(np.diag(problem.maximise(1 / programmes.VARIANCE).inverse())) / model.scale
        outside.append(np.abs(problem.b / model.scale - EFFECT) > stats.norm.ppf(0.975) * error)
    # Two Monte Carlo errors.
    assert 100 * np.mean(outside, axis=0) == pytest.approx(5, abs=1.1)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "term"), [("positive stable frailty", "treatment"), ("no frailty", "covariate")])
def test_the_error_of_100_organisations_is_in_part_chance(kind, term):
    name, place, z = f"Cox, 100 organisations, {kind}", survival_base.TERMS.index(term), []
    for frame in drawn(CELLS[name], range(5_000)):
        estimate, error = robust(frame)
        z.append(np.abs(estimate / error))
    rejected = 100 * (np.array(z) > stats.norm.ppf(0.975))
    record = committed(name)["Cox"]["methods"]["cluster"][term]
    assert rejected[:2_000, place].mean() == pytest.approx(record["rejected"], abs=0.1)
    after = rejected[2_000:].mean(axis=0)
    assert after[place] < record["rejected"] - 1
    assert ((after > 5) & (after < 6.5)).all()


def not_yet_censored(years, censored, at):
    """Return Kaplan and Meier's estimate of who is not censored just before some times."""
    time = np.unique(years[censored])
    at_risk = (years[:, None] >= time).sum(axis=0)
    left = (censored[:, None] & (years[:, None] == time)).sum(axis=0)
    return np.append(1, np.cumprod(1 - left / at_risk))[np.searchsorted(time, at, side="left")]


def fine_gray_by_hand(frame, group):
    """Return Fine and Gray's estimates with the weights of each group's own censoring, every risk set written out."""
    X, years, status = (
        frame[list(survival_base.TERMS)].to_numpy(),
        frame["years"].to_numpy(),
        frame["status"].to_numpy(),
    )
    stopped = status == "stopped"
    times, weight = years[stopped], np.zeros((stopped.sum(), len(years)))
    for code in np.unique(group):
        own = group == code
        at_event, at_exit = (not_yet_censored(years[own], status[own] == "active", at) for at in (times, years[own]))
        gone = years[own] < times[:, None]
        weight[:, own] = np.where(gone, (status[own] == "merged") * at_event[:, None] / at_exit, 1)
    b = np.zeros(2)
    for _ in range(8):
        share = weight * np.exp(X @ b)
        share /= share.sum(axis=1, keepdims=True)
        mean = share @ X
        information = np.einsum("ki,ip,iq->pq", share, X, X) - mean.T @ mean
        b = b + np.linalg.solve(information, (X[stopped] - mean).sum(axis=0))
    return b


@pytest.mark.slow
def test_weights_of_each_groups_own_censoring_would_take_the_bias_away():
    cell, said = CELLS["Fine-Gray, 300, censoring by group"], []
    for frame in drawn(cell, range(200), "effect"):
        treatment = frame["treatment"].to_numpy()
        said.append([fine_gray_by_hand(frame, np.zeros(len(frame))), fine_gray_by_hand(frame, treatment)])
        np.testing.assert_allclose(said[-1][0], cell.fitted(frame)["estimate"], rtol=1e-6)
    common, own = np.mean(said, axis=0)
    # Monte Carlo errors are .02.
    assert common[0] < EFFECT[0] - 0.2
    assert own == pytest.approx(EFFECT, abs=0.06)
