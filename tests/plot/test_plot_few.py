"""Numbers of people that are too small to be told: what pictures write under their axes in place of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot

import implstats as ist
from implstats.errors import DataError

# Of the late group three are followed beyond 5 years, one of whom stops.
YEARS = pd.DataFrame(
    {
        "years": [1, 2, 2, 3, 4, 5, 6, 7, 8, 9] * 2 + [1, 2, 2, 3, 3, 4, 5, 6, 6.5, 7],
        "stopped": [1, 1, 1, 1, 1, 1, 0, 1, 0, 0] * 2 + [1, 0, 0, 1, 0, 0, 1, 1, 0, 0],
        "end": ["a", "b", "a", "b", "a", "a", "on", "b", "on", "on"] * 2 + ["a", "on", "on", "b", *["on"] * 6],
        "era": ["early"] * 20 + ["late"] * 10,
    }
)


def seen() -> Any:
    """Return a growth model of visits, of which the last had three patients of one cohort."""
    visits = ist.load_example("reorganisation")
    last = visits.index[(visits["cohort"] == "during") & (visits["month"] == 36) & visits["bsi"].notna()]
    roles = {"time": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}
    return ist.fit_growth(visits.drop(last[3:]), outcome="bsi", shape="linear", **roles)


def curves() -> Any:
    return ist.survival_curves(YEARS, duration="years", event="stopped", by="era")


def incidence() -> Any:
    return ist.cumulative_incidence(YEARS, duration="years", event="end", censored="on", by="era")


PICTURES: dict[str, tuple[Callable[..., Any], Callable[[], Any]]] = {
    "trajectories": (ist.plot.trajectories, seen),
    "missingness": (ist.plot.missingness, seen),
    "survival": (ist.plot.survival, curves),
    "incidence": (ist.plot.incidence, incidence),
    "hazard": (ist.plot.hazard, curves),
}


def counts(axes: Any) -> list[str]:
    """Return what stands under an axis, row by row."""
    found = [
        text.get_text()
        for ax in np.ravel(np.asarray(axes, dtype=object))
        for text in ax.texts
        if str(text.get_gid()).startswith("n: ")
    ]
    pyplot.close("all")
    return found


@pytest.mark.parametrize("name", PICTURES)
def test_few_are_told_as_few_and_others_as_they_are(name: str) -> None:
    draw, result = PICTURES[name]
    found = result()
    plain, told = counts(draw(found)), counts(draw(found, min_count=5))
    assert len(plain) == len(told)
    heads = [text.split("/")[0] for text in plain]
    few = [k for k, head in enumerate(heads) if head.isdigit() and 0 < int(head) < 5]
    assert few
    for k, text in enumerate(told):
        assert text == ("<5" if k in few else plain[k])


def test_a_share_that_gives_few_away_is_not_drawn() -> None:
    growth = seen()
    for least, drawn in ((1, 3), (5, 2)):
        ax = ist.plot.missingness(growth, min_count=least)
        (line,) = (line for line in ax.lines if line.get_gid() == "share: during")
        assert np.isfinite(np.asarray(line.get_ydata(), dtype=float)).sum() == drawn
        pyplot.close("all")


def test_an_observed_mean_of_few_is_not_drawn() -> None:
    growth = seen()
    for least, drawn in ((1, 3), (5, 2)):
        ax = ist.plot.trajectories(growth, observed=True, min_count=least)
        (line,) = (line for line in ax.lines if line.get_gid() == "observed: during")
        assert len(line.get_xdata()) == drawn
        pyplot.close("all")


@pytest.mark.parametrize("name", PICTURES)
def test_the_least_number_is_a_whole_one(name: str) -> None:
    draw, result = PICTURES[name]
    with pytest.raises(DataError, match="min_count=0: less than 1"):
        draw(result(), min_count=0)
    pyplot.close("all")
