"""Rates: what is said of dispersion, zeros that no model can move, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import ConvergenceError, DataError

ROLES: dict[str, Any] = {"events": "left", "exposure": "years", "cohort": "era", "reference": "before"}


@pytest.fixture
def teams() -> pd.DataFrame:
    """Return teams whose rates differ: more spread than independent events have."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"team": range(40), "era": ["before", "during"] * 20, "years": rng.uniform(5, 25, 40)})
    rate = np.where(frame["era"] == "before", 0.1, 0.2) * rng.gamma(1.0, 1.0, 40)
    return frame.assign(left=rng.poisson(rate * frame["years"]))


def asked(frame: pd.DataFrame, **options: Any) -> Any:
    return ist.compare_rates(frame, **(ROLES | options))


def test_one_row_a_cohort_cannot_show_clustering() -> None:
    frame = pd.DataFrame({"era": ["before", "during"], "left": [4, 11], "years": [52.5, 48.0]})
    found = asked(frame)
    assert np.isnan(found.dispersion)
    assert "one row a cohort: whether events come in clusters cannot be seen" in found.header()


def test_overdispersion_is_said_and_widens(teams: pd.DataFrame) -> None:
    found, exact = asked(teams), asked(teams, method="exact")
    assert found.dispersion > 1.5
    assert any("exact intervals would be too narrow" in line for line in found.header())
    assert any("method='quasi' widens them" in line for line in exact.header())
    wide, narrow = (one.tidy()["conf_high"] - one.tidy()["conf_low"] for one in (found, exact))
    assert (wide >= narrow).all()
    assert wide.iloc[2] > 1.2 * narrow.iloc[2]


@pytest.mark.parametrize("method", ["auto", "exact", "quasi", "robust"])
def test_rows_units_and_the_reference_do_not_matter(teams: pd.DataFrame, method: str) -> None:
    more = {"cluster": "team"} if method == "robust" else {}
    one = asked(teams, method=method, **more).tidy()
    shuffled = teams.sample(frac=1, random_state=2).assign(years=lambda t: 12 * t["years"])
    other = asked(shuffled, method=method, reference="during", per=12, **more).tidy()
    columns = ["estimate", "conf_low", "conf_high"]
    np.testing.assert_allclose(one[columns].iloc[:2], other[columns].iloc[[1, 0]], rtol=1e-9)
    flipped = 1 / other[columns].iloc[2].to_numpy(float)[[0, 2, 1]]
    np.testing.assert_allclose(one[columns].iloc[2].to_numpy(float), flipped, rtol=1e-9)


def test_per_scales_rates_and_not_ratios(teams: pd.DataFrame) -> None:
    one, hundred = asked(teams).tidy(), asked(teams, per=100).tidy()
    columns = ["estimate", "conf_low", "conf_high"]
    np.testing.assert_allclose(hundred[columns].iloc[:2], 100 * one[columns].iloc[:2])
    np.testing.assert_allclose(hundred[columns].iloc[2].to_numpy(float), one[columns].iloc[2].to_numpy(float))


@pytest.mark.parametrize("method", ["auto", "quasi", "negative-binomial", "robust"])
def test_no_event_in_a_cohort_stays_exact_whatever_the_method(teams: pd.DataFrame, method: str) -> None:
    none = teams.assign(left=teams["left"].where(teams["era"] == "during", 0))
    more = {"cluster": "team"} if method == "robust" else {}
    found = asked(none, method=method, **more)
    table = found.tidy().set_index(["quantity", "cohort"])
    assert table["method"].tolist() == ["exact", found.method, "exact"]
    assert table["bounds"].tolist() == ["upper", "both", "lower"]
    assert np.isinf(table.loc[("ratio", "during"), "conf_high"])


def test_three_cohorts_and_a_missing_row(teams: pd.DataFrame) -> None:
    three = teams.assign(era=np.tile(["before", "during", "after", "after"], 10))
    three.loc[3, "left"] = np.nan
    found = asked(three, method="quasi")
    assert found.tidy()["cohort"].tolist() == ["before", "after", "during", "after", "during"]
    assert found.header()[-1] == "dropped: 1 left missing"
    assert found.glance()["rows"].iloc[0] == 39


def test_a_spread_that_is_no_more_than_poisson_has_no_negative_binomial() -> None:
    frame = pd.DataFrame({"era": ["before"] * 6 + ["during"] * 6, "left": [5, 5, 4, 6, 5, 5] * 2, "years": 10.0})
    with pytest.raises(ConvergenceError, match=r"^method='negative-binomial': rows vary no more than"):
        asked(frame, method="negative-binomial")


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"left": -1}, {}, "events='left': no count in rows 0, 1, 2 and 37 more; give whole numbers of 0 or more"),
        ({"left": 0.5}, {}, "events='left': no count in rows 0, 1, 2 and 37 more; give whole numbers of 0 or more"),
        (
            {"years": 0.0},
            {},
            "exposure='years': not above 0 in rows 0, 1, 2 and 37 more; leave out rows in which nothing could happen",
        ),
        ({"era": "before"}, {}, "cohort='era': one cohort only ('before'); a comparison takes two"),
        ({}, {"reference": "befor"}, "reference='befor': no such cohort; did you mean 'before'?"),
        (
            {},
            {"method": "robust"},
            "method='robust': nothing says which rows hang together; name the column in cluster=",
        ),
        (
            {},
            {"cluster": "team", "method": "exact"},
            "cluster='team': method='exact' does not use it; say method='robust'",
        ),
        ({"team": None}, {"cluster": "team"}, "cluster='team': every value is missing"),
        (
            {},
            {"events": "lft", "per": 0},
            "events='lft': no such column; did you mean 'left'?\nper=0: not above 0",
        ),
    ],
)
def test_what_cannot_be_is_refused(
    teams: pd.DataFrame, change: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        asked(teams.assign(**change), **options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("team", [{"before": 1, "during": 1}, {"before": 1, "during": 2}])
def test_one_cluster_in_a_cohort_tells_nothing_of_its_spread(teams: pd.DataFrame, team: dict[str, int]) -> None:
    """Residuals of a cohort add up to 0: as one cluster they would give a standard error of 0."""
    with pytest.raises(DataError, match=r"^cluster='team': 'before' has one cluster only, which shows no spread"):
        asked(teams.assign(team=teams["era"].map(team)), cluster="team")


def test_one_row_a_cohort_has_no_clusters_to_be_robust_for() -> None:
    frame = pd.DataFrame({"era": ["before", "during"], "left": [4, 11], "years": [52.5, 48.0], "team": [1, 2]})
    assert asked(frame, cluster="team").method == "exact"
    with pytest.raises(DataError, match=r"^method='robust': one row a cohort tells no variance between rows"):
        asked(frame, cluster="team", method="robust")


def test_no_event_at_all_is_exact_and_said(teams: pd.DataFrame) -> None:
    found = asked(teams.assign(left=0), method="quasi")
    assert found.tidy()["method"].unique().tolist() == ["exact"]
    assert "no event was seen: whether events come in clusters cannot be seen" in found.header()


def test_variances_between_rows_take_rows() -> None:
    frame = pd.DataFrame({"era": ["before", "during"], "left": [4, 11], "years": [52.5, 48.0]})
    with pytest.raises(DataError, match=r"^method='quasi': one row a cohort tells no variance between rows"):
        asked(frame, method="quasi")
