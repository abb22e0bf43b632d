"""What must not depend on how spells are written down: order, names, reference, unit of time, splits, copies."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implstats.errors import BoundaryWarning
from implstats.survival.cox import fit_cox

FEW = settings(derandomize=True, deadline=None, max_examples=6)
SEEDS = st.integers(0, 10_000)
ROLES = {"duration": "years", "event": "stopped", "terms": ["support", "era"]}
KINDS = {
    "efron": {},
    "breslow": {"ties": "breslow"},
    "exact": {"ties": "exact"},
    "strata": {"strata": "region"},
    "cluster": {"cluster": "site"},
    "weights": {"weights": "weight"},
    "entry": {"entry": "since"},
    "everything": {"entry": "since", "strata": "region", "cluster": "site", "weights": "weight"},
    "frailty": {"frailty": "site"},
    "firth": {"penalty": "firth"},
    "ridge": {"penalty": 3.0},
}


def programmes(seed: int, n: int = 90) -> pd.DataFrame:
    """Return programmes with ties, late entry, strata, sites and weights."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "support": rng.normal(4, 1.2, n),
            "era": rng.choice(["after", "before", "during"], n),
            "region": rng.choice(["east", "west"], n),
            "site": rng.integers(0, 15, n),
            "weight": rng.uniform(0.5, 2, n),
        }
    )
    hazard = np.exp(-0.5 * (frame["support"] - 4) + 0.6 * (frame["era"] == "during") + 0.05 * frame["site"])
    years = np.ceil(8 * rng.exponential(size=n) / hazard + 1) / 4
    end = np.ceil(rng.uniform(2, 20, n)) / 4
    frame["years"], frame["stopped"] = np.minimum(years, end), (years <= end).astype(int)
    frame["since"] = np.where(rng.random(n) < 0.3, frame["years"] / 2, 0.0)
    return frame


def fit(frame: pd.DataFrame, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BoundaryWarning)
        return fit_cox(frame, **(ROLES | options))


def same(one: Any, other: Any, rel: float = 1e-7) -> None:
    """Fail where two fits of the same model differ."""
    error = np.sqrt(np.diag(one.naive_vcov))
    np.testing.assert_allclose(other.params, one.params, rtol=rel, atol=rel * error.max())
    for matrix in ("naive_vcov", "vcov"):
        a, b = getattr(one, matrix), getattr(other, matrix)
        np.testing.assert_allclose(b, a, rtol=100 * rel, atol=100 * rel * error.max() ** 2)
    assert other.loglik == pytest.approx(one.loglik, rel=rel)
    a, b = one.tests()["statistic"], other.tests()["statistic"]
    np.testing.assert_allclose(b, a, rtol=100 * rel, atol=1e-6)
    columns = ["concordance", "concordance_se", "theta"]
    np.testing.assert_allclose(other.glance()[columns], one.glance()[columns], rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=SEEDS)
@FEW
def test_order_of_the_rows(kind: str, seed: int) -> None:
    frame = programmes(seed)
    one, other = fit(frame, **KINDS[kind]), fit(frame.sample(frac=1, random_state=seed), **KINDS[kind])
    same(one, other)
    left = other.residuals()["martingale"].reindex(frame.index)
    np.testing.assert_allclose(left, one.residuals()["martingale"], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=SEEDS, factor=st.sampled_from([12.0, 1 / 3, 365.25]))
@FEW
def test_unit_of_time(kind: str, seed: int, factor: float) -> None:
    frame = programmes(seed)
    longer = frame.assign(years=frame["years"] * factor, since=frame["since"] * factor)
    one, other = fit(frame, **KINDS[kind]), fit(longer, **KINDS[kind])
    same(one, other)
    if kind not in ("exact", "firth", "ridge"):
        for transform in ("km", "log", "identity", "rank"):
            a, b = (r.proportional_hazards(transform).tidy()["statistic"] for r in (one, other))
            np.testing.assert_allclose(b, a, rtol=1e-5)


@pytest.mark.parametrize("kind", [k for k in KINDS if k != "ridge"])
@given(seed=SEEDS)
@FEW
def test_unit_and_origin_of_a_covariate(kind: str, seed: int) -> None:
    frame = programmes(seed)
    one, other = fit(frame, **KINDS[kind]), fit(frame.assign(support=1000 * frame["support"] + 1e5), **KINDS[kind])
    np.testing.assert_allclose(other.params * [1000, 1, 1], one.params, rtol=1e-5, atol=1e-7)
    assert other.loglik == pytest.approx(one.loglik, rel=1e-7)


@pytest.mark.parametrize("kind", KINDS)
@given(seed=SEEDS)
@FEW
def test_names_of_labels(kind: str, seed: int) -> None:
    frame = programmes(seed)
    words = {"after": "1 later", "before": "2 earlier", "during": "3 within"}
    other = frame.assign(
        era=frame["era"].map(words), site="site " + frame["site"].astype(str), region=frame["region"].str.upper()
    )
    same(fit(frame, **KINDS[kind]), fit(other, **KINDS[kind]))


@pytest.mark.parametrize("kind", [k for k in KINDS if k not in ("ridge", "firth")])
@given(seed=SEEDS)
@FEW
def test_another_reference_shifts_the_estimates(kind: str, seed: int) -> None:
    frame = programmes(seed)
    one = fit(frame, **KINDS[kind])
    other = fit(frame, reference={"era": "during"}, **KINDS[kind])
    assert other.tidy()["reference"].tolist() == ["", "during", "during"]
    a, b = one.params, other.params
    during = a["era[during]"]
    assert b["era[after]"] == pytest.approx(-during, rel=1e-6, abs=1e-7)
    assert b["era[before]"] == pytest.approx(a["era[before]"] - during, rel=1e-6, abs=1e-7)
    error = one.tidy().set_index("term")["std_error"]["era[during]"]
    assert other.tidy().set_index("term")["std_error"]["era[after]"] == pytest.approx(error, rel=1e-6)
    assert other.loglik == pytest.approx(one.loglik, rel=1e-9)


@pytest.mark.parametrize("kind", ["efron", "breslow", "exact", "strata", "weights", "firth", "frailty"])
@given(seed=SEEDS)
@FEW
def test_split_spells_give_the_same_fit(kind: str, seed: int) -> None:
    """A spell cut in two at some time is the same spell: nothing about who is at risk has changed."""
    frame = programmes(seed)
    rng = np.random.default_rng(seed)
    cut = np.where(rng.random(len(frame)) < 0.7, np.round(4 * frame["years"] * rng.random(len(frame))) / 4, 0.0)
    cut = np.where(cut < frame["years"], cut, 0.0)
    early = frame[cut > 0].assign(begin=0.0, years=cut[cut > 0], stopped=0)
    split = pd.concat([early, frame.assign(begin=cut)], ignore_index=True)
    one, other = fit(frame, **KINDS[kind]), fit(split, entry="begin", **KINDS[kind])
    np.testing.assert_allclose(other.params, one.params, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(other.naive_vcov, one.naive_vcov, rtol=1e-5, atol=1e-8)
    assert other.loglik == pytest.approx(one.loglik, rel=1e-8)
    assert other.glance()["concordance"][0] == pytest.approx(one.glance()["concordance"][0], rel=1e-9)
    if kind in ("efron", "strata"):
        a, b = (r.proportional_hazards("log").tidy()["statistic"] for r in (one, other))
        np.testing.assert_allclose(b, a, rtol=1e-5)


@pytest.mark.parametrize("kind", ["breslow", "strata", "entry", "firth"])
@given(seed=SEEDS)
@FEW
def test_copies_of_rows_are_weights_under_breslow(kind: str, seed: int) -> None:
    frame = programmes(seed)
    count = np.random.default_rng(seed).integers(1, 4, len(frame))
    options = KINDS[kind] | {"ties": "breslow"}
    copies = fit(frame.loc[frame.index.repeat(count)].reset_index(drop=True), **options)
    weighted = fit(frame.assign(count=count.astype(float)), weights="count", **options)
    np.testing.assert_allclose(weighted.params, copies.params, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(weighted.vcov, copies.vcov, rtol=1e-6, atol=1e-9)
    assert weighted.loglik == pytest.approx(copies.loglik, rel=1e-9)
    assert weighted.glance()["concordance"][0] == pytest.approx(copies.glance()["concordance"][0], rel=1e-9)
    profile = pd.DataFrame({"support": [4.0], "era": ["during"], "region": ["east"]})
    a, b = (r.survival_at(profile, [0.5, 1.0])[["estimate", "std_error"]] for r in (weighted, copies))
    np.testing.assert_allclose(a, b, rtol=1e-6)


@given(seed=SEEDS)
@FEW
def test_rows_that_see_no_event_change_nothing(seed: int) -> None:
    frame = programmes(seed)
    late = frame["years"].max()
    more = frame.assign(years=late + 2, since=late + 1, stopped=0, support=1000.0)
    other = pd.concat([frame.assign(since=0.0), more], ignore_index=True)
    one = fit(frame.assign(since=0.0), entry="since", cluster="site")
    same(one, fit(other, entry="since", cluster="site"))
