"""Sites drawn each from a scenario of its own: what is stated of a site is found there, and bad calls are refused."""

import numpy as np
import pytest

from implstats.errors import DataError
from implstats.simulate import SITES, simulate_sites


def test_a_site_has_the_effects_of_its_scenario():
    sites = {"much": SITES["AT"], "little": SITES["NL"]}
    gaps = {site: [] for site in sites}
    for seed in range(40):
        visits = simulate_sites(sites, rng=seed)
        for site, part in visits.groupby("site"):
            mean = part.groupby(["cohort", "month"])["sipp"].mean()
            change = mean.xs(36, level="month") - mean.xs(0, level="month")
            gaps[site].append((change["during"] - change["before"]) / 0.4)
    for site, scenario in sites.items():
        d = scenario.outcomes["sipp"].d
        true = d["during"][36] - d["before"][36]
        assert abs(np.mean(gaps[site]) - true) < 4 * np.std(gaps[site]) / np.sqrt(40) + 0.05


def test_the_same_seed_gives_the_same_sites_and_patients_are_numbered_through():
    one, other = (simulate_sites(SITES, rng=3, by="clinic") for _ in range(2))
    assert one.equals(other)
    assert one.columns[0] == "clinic"
    first = one.drop_duplicates("patient")
    assert first["patient"].tolist() == sorted(first["patient"])
    assert first["patient"].is_unique


def test_no_site_is_refused():
    with pytest.raises(DataError, match="sites: names no site"):
        simulate_sites({})
