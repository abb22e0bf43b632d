"""The scenarios of the bundled sites: one draw from them is `multisite.csv`."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pandas as pd

from implstats import _check
from implstats.errors import DataError
from implstats.simulate.reorganisation import REORGANISATION
from implstats.simulate.scenario import Scenario
from implstats.simulate.truth import DropOut
from implstats.simulate.visits import simulate_visits

__all__ = ["SITES", "simulate_sites"]

MEANS: Mapping[Hashable, float] = {"bsi": 2.3, "sipp": 2.3}
"""Where patients start: far enough from the ends of both scales that nothing has to be clipped."""
BEFORE: Mapping[Hashable, Mapping[float, float]] = {"bsi": {18: 0.95, 36: 1.2}, "sipp": {18: 1.1, 36: 1.4}}
"""What treatment did before the reorganisation, alike at every site."""


def _site(patients: tuple[int, int], retained: float) -> Scenario:
    """Return a site: its patients before and during, and the share of the improvement that it retained."""
    outcomes = {}
    for name, truth in REORGANISATION.outcomes.items():
        kept = {month: retained * d for month, d in BEFORE[name].items()}
        outcomes[name] = replace(truth, mean=MEANS[name], d={"before": BEFORE[name], "during": kept})
    cohorts: dict[Hashable, int] = dict(zip(("before", "during"), patients, strict=True))
    leaving = DropOut({"before": 0.2, "during": 0.28}, outcome="bsi", per_sd=0.5)
    return replace(REORGANISATION, patients=cohorts, outcomes=outcomes, therapists=4, dropout=leaving, admission=None)


# Six sites that were reorganised alike and kept unlike shares of the improvement; all numbers are invented. A site that
# is called NO must stay a name: some formats read it as false.
SITES: Mapping[str, Scenario] = MappingProxyType(
    {
        "AT": _site((60, 56), 0.75),
        "BE": _site((48, 52), 0.6),
        "DK": _site((72, 64), 0.55),
        "NL": _site((90, 84), 0.4),
        "NO": _site((44, 40), 0.7),
        "SE": _site((56, 60), 0.5),
    }
)


def simulate_sites(
    sites: Mapping[str, Scenario], *, rng: int | np.random.Generator | None = None, by: str = "site"
) -> pd.DataFrame:
    """Show what a study of several sites would see, each with true effects of its own.

    Parameters
    ----------
    sites : mapping of str to Scenario
        Site -> its cohorts, visits and true effects.
    rng : None, int or numpy.random.Generator
        Source of randomness: a seed gives the same patients again.
    by : str
        Name of the column with the site.

    Returns
    -------
    pandas.DataFrame
        The visits of `simulate_visits` of one site after the other, with the site in front; patients are numbered
        through, and therapists belong to their site.

    Raises
    ------
    DataError
        If there is no site, or `rng` is none of the three.

    Examples
    --------
    >>> from implstats.simulate import SITES, simulate_sites
    >>> visits = simulate_sites(SITES, rng=2016)
    >>> visits.groupby("site")["patient"].nunique().to_dict()
    {'AT': 116, 'BE': 100, 'DK': 136, 'NL': 174, 'NO': 84, 'SE': 116}
    """
    if not sites:
        raise DataError("sites: names no site; write {'A': Scenario(...)}")
    source, parts, before = _check.generator(rng), [], 0
    for site, scenario in sites.items():
        visits = simulate_visits(scenario, rng=source)
        visits.insert(0, by, site)
        visits["patient"] += before
        if "therapist" in visits:
            visits["therapist"] = f"{site}-" + visits["therapist"]
        before = int(visits["patient"].max())
        parts.append(visits)
    return pd.concat(parts, ignore_index=True)
