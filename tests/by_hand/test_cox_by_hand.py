"""Cox models whose estimates are roots of small polynomials, Firth's on three rows, and E-values."""

from __future__ import annotations

import math

import pandas as pd
import pytest

from implstats.errors import ConvergenceError
from implstats.survival.cox import fit_cox

# With r = e^b. At 1 all six are at risk (three with x = 1): r / (3r + 3). At 6 four are, one of them with x = 1, and
# two have the event, one of each kind. At 9 one is left.
SIX = pd.DataFrame({"t": [1, 1, 6, 6, 8, 9], "d": [1, 0, 1, 1, 0, 1], "x": [1, 1, 1, 0, 0, 0]})


def fit(ties: str = "efron") -> object:
    return fit_cox(SIX, duration="t", event="d", terms=["x"], ties=ties)


def test_breslow_is_the_root_of_a_quadratic() -> None:
    # l = 2b - log(3r + 3) - 2 log(r + 3); its derivative 2 - r/(r + 1) - 2r/(r + 3) is 0 where r^2 - 3r - 6 = 0.
    result = fit("breslow")
    r = (3 + math.sqrt(33)) / 2
    assert result.params["x"] == pytest.approx(math.log(r), rel=1e-10)
    assert result.params["x"] == pytest.approx(1.475284915, abs=5e-10)
    assert result.loglik == pytest.approx(2 * math.log(r) - math.log(3 * r + 3) - 2 * math.log(r + 3), rel=1e-12)
    assert result.null_loglik == pytest.approx(-math.log(6) - 2 * math.log(4), rel=1e-12)
    # -l'' = r/(r + 1)^2 + 6r/(r + 3)^2.
    information = r / (r + 1) ** 2 + 6 * r / (r + 3) ** 2
    assert result.vcov.loc["x", "x"] == pytest.approx(1 / information, rel=1e-9)
    assert result.vcov.loc["x", "x"] == pytest.approx(1.576868866, abs=5e-9)


def test_efron_is_the_root_of_a_cubic() -> None:
    # The second event at 6 has half of both events' share taken off: r + 3 - (r + 1)/2 = (r + 5)/2.
    # 2 - r/(r + 1) - r/(r + 3) - r/(r + 5) = 0 where r^3 - 23 r - 30 = 0, solved by Viete's cosine.
    result = fit()
    r = 2 * math.sqrt(23 / 3) * math.cos(math.acos(15 / (23 / 3) ** 1.5) / 3)
    assert result.params["x"] == pytest.approx(math.log(r), rel=1e-10)
    assert result.params["x"] == pytest.approx(1.676857486, abs=5e-10)
    loglik = 2 * math.log(r) - math.log(3 * r + 3) - math.log(r + 3) - math.log((r + 5) / 2)
    assert result.loglik == pytest.approx(loglik, rel=1e-12)
    assert result.null_loglik == pytest.approx(-4.276666, abs=5e-7)
    information = r / (r + 1) ** 2 + 3 * r / (r + 3) ** 2 + 5 * r / (r + 5) ** 2
    assert result.vcov.loc["x", "x"] == pytest.approx(1 / information, rel=1e-9)
    assert result.vcov.loc["x", "x"] == pytest.approx(1.632301561, abs=5e-9)


def test_exact_has_no_finite_estimate() -> None:
    # Of the six pairs at 6, three hold the row with x = 1: l = 2b - 2 log(3r + 3), which rises for ever.
    with pytest.raises(
        ConvergenceError, match=r"^'x': no finite estimate; with 4 events the likelihood rises for ever"
    ):
        fit("exact")


def test_breslow_baseline_and_residuals() -> None:
    # Increments d / S0 at x = 0: 1/(3r + 3), 2/(r + 3), 1/1; a row takes r^x times what it was at risk for.
    result = fit("breslow")
    r = (3 + math.sqrt(33)) / 2
    steps = 1 / (3 * r + 3), 2 / (r + 3), 1.0
    survival = result.survival_at(pd.DataFrame({"x": [0]}), [1, 6, 9])["estimate"]
    total = [steps[0], steps[0] + steps[1], sum(steps)]
    assert survival.tolist() == pytest.approx([math.exp(-h) for h in total], rel=1e-10)
    expected = [r * total[0], r * total[0], r * total[1], total[1], total[1], total[2]]
    left = [d - e for d, e in zip(SIX["d"], expected, strict=True)]
    assert result.residuals()["martingale"].tolist() == pytest.approx(left, rel=1e-9)


def test_firth_on_three_rows() -> None:
    # All have the event, at 1, 2, 3, with x = 1, 1, 0. With p = 2r/(2r + 1) and q = r/(r + 1) the means at risk,
    # l' = 2 - p - q and I = p(1 - p) + q(1 - q), so that l' + I'/(2I) = 0 with I' = p(1-p)(1-2p) + q(1-q)(1-2q).
    rows = pd.DataFrame({"t": [1, 2, 3], "d": [1, 1, 1], "x": [1, 1, 0]})
    with pytest.raises(ConvergenceError, match="no finite estimate"):
        fit_cox(rows, duration="t", event="d", terms=["x"])
    result = fit_cox(rows, duration="t", event="d", terms=["x"], penalty="firth")
    r = math.exp(result.params["x"])
    p, q = 2 * r / (2 * r + 1), r / (r + 1)
    information = p * (1 - p) + q * (1 - q)
    slope = p * (1 - p) * (1 - 2 * p) + q * (1 - q) * (1 - 2 * q)
    assert 2 - p - q + slope / (2 * information) == pytest.approx(0, abs=1e-9)
    assert result.params["x"] == pytest.approx(1.3291038, abs=1e-7)
    assert result.tidy()["std_error"][0] == pytest.approx(1 / math.sqrt(information), rel=1e-9)
    assert result.tidy()["std_error"][0] == pytest.approx(1.92907, abs=5e-6)
    # At x = 0 in the exponent p = 2/3, q = 1/2: I = 2/9 + 1/4. Both likelihoods have log|I|/2 added.
    fall = (result.loglik + math.log(information) / 2) - (-math.log(6) + math.log(2 / 9 + 1 / 4) / 2)
    assert result.tidy()["statistic"][0] == pytest.approx(math.sqrt(2 * fall), rel=1e-8)


def test_concordance_of_three_pairs() -> None:
    # Comparable: 1 (x = 1) with the four that go on and the one censored at 1; each event at 6 with 8 and 9.
    # Higher x first: 1 has x = 1 against 1, 1, 0, 0, 0; at 6 one event has x = 1 against 0, 0, the other ties twice.
    glance = fit().glance().iloc[0]
    assert glance["concordance"] == pytest.approx((3 + 2 + 2 / 2 + 2 / 2) / 9)


@pytest.mark.parametrize(("ratio", "expected"), [(0.56, 2.350), (1 / 0.56, 2.350), (1.0, 1.0)])
def test_e_value_of_a_hazard_ratio(ratio: float, expected: float) -> None:
    # RR = (1 - .5^sqrt(HR)) / (1 - .5^sqrt(1/HR)), inverted below 1; E = RR + sqrt(RR (RR - 1)).
    from implstats._core.evalue import e_value, risk_ratio

    assert e_value(risk_ratio(ratio)) == pytest.approx(expected, abs=5e-4)


def test_e_value_of_an_interval_that_holds_one_is_one() -> None:
    row = fit().e_value().iloc[0]
    assert row["conf_low"] < 1 < row["conf_high"]
    assert row["e_value_limit"] == 1
    assert row["e_value"] > 1
