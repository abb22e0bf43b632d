"""Change that depends on a score of the site: a line through what the sites' patients gained."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import implstats as ist

# Four sites with scores 1, 2, 4, 5 (mean 3), two patients each, two visits. Gains of sites: 2, 3, 6, 5.
SCORES = np.array([1.0, 2.0, 4.0, 5.0])
GAINS = np.array([2.0, 3.0, 6.0, 5.0])
# What patients gain beside their site. Within sites the rest of a visit then has variance 4 / 4 df / 2 = .5.
OWN = np.array([[1.0, -1.0], [-1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
# Starts lie on 20 + (score - 3), and off it by 6.5, -9, 1, 1.5 (sites) and 2, 1 and half the gain (patients). So made,
# starts and gains hang together as the rest of the first visit, which is in both, makes them: by -.5 within sites, and
# by -.25 between them. The model's four variances then are those of its four kinds of differences.
STARTS = 20 + (SCORES - 3 + np.array([6.5, -9, 1, 1.5]))[:, None] + np.array([[0.0], [0], [2], [1]]) * [1, -1] - OWN / 2
ROLES = {"outcome": "y", "time": "visit", "patient": "patient", "shape": "linear", "random": "intercept"}


def frame() -> pd.DataFrame:
    rows = [
        {"site": f"s{s}", "patient": f"{s}{i}", "visit": t, "score": SCORES[s]}
        | {"y": STARTS[s, i] + t * (GAINS[s] + OWN[s, i])}
        for s in range(4)
        for i in range(2)
        for t in (0, 1)
    ]
    return pd.DataFrame(rows)


def test_a_score_of_sites_is_a_line_through_their_gains() -> None:
    # sum (x - 3)(gain) = -2 x 2 - 3 + 6 + 2 x 5 = 9, sum (x - 3)^2 = 10: .9 a point; the mean gain is 4.
    # Off the line: 2 - 2.2, 3 - 3.1, 6 - 4.9, 5 - 5.8; squares .04 + .01 + 1.21 + .64 = 1.9 on 4 - 2 df, so .95 / 10.
    fit = ist.fit_growth(frame(), moderators="score", groups="site", **ROLES)
    table = fit.moderation([1]).tidy().set_index("quantity")
    assert table.loc["per point", "estimate"] == pytest.approx(0.9)
    assert table.loc["per point", "std_error"] == pytest.approx(np.sqrt(0.095), rel=1e-5)
    # Starts say a trace of the gains too, since both have the sites' variances in them.
    assert table.loc["per point", "df"] == pytest.approx(2, abs=0.01)
    # Over the eight patients the scores' squares sum to 20, on 7 df.
    assert table.loc["per sd", "estimate"] == pytest.approx(0.9 * np.sqrt(20 / 7))
    assert fit.params["visit"] == pytest.approx(4)


def test_without_the_sites_patients_are_taken_as_independent() -> None:
    # Gains of patients: around the same line 2 x 1.9 + 4 = 7.8 on 8 - 2 df, over 20.
    fit = ist.fit_growth(frame(), moderators="score", **ROLES)
    row = fit.moderation([1]).tidy().iloc[0]
    assert row["estimate"] == pytest.approx(0.9)
    assert row["std_error"] == pytest.approx(np.sqrt(7.8 / 6 / 20), rel=1e-5)
    assert row["df"] == pytest.approx(6, rel=1e-3)


def test_means_at_scores_lie_on_the_lines() -> None:
    fit = ist.fit_growth(frame(), moderators="score", groups="site", **ROLES)
    table = fit.moderated_means([0, 1], values=[1, 3, 6]).tidy()
    found = table.set_index(["quantity", "time", "value"])["estimate"].to_dict()
    expected = {("level", 0, 1): 18, ("level", 0, 3): 20, ("level", 0, 6): 23}
    expected |= {("change", 1, 1): 2.2, ("change", 1, 3): 4.0, ("change", 1, 6): 6.7}
    expected |= {("level", 1, v): expected["level", 0, v] + expected["change", 1, v] for v in (1, 3, 6)}
    assert found == pytest.approx(expected)
    assert table.groupby("value")["extrapolated"].all().to_dict() == {1: False, 3: False, 6: True}
    # Every other answer is about the mean score.
    assert fit.means([1]).tidy()["estimate"].tolist() == pytest.approx([24.0])
