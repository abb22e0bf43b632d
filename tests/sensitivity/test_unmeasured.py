"""E-values: the limit that counts, Cox models, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError


def test_the_limit_is_the_nearer_one() -> None:
    above, below = ist.e_value(2.0, lower=1.5, upper=4.0, kind="risk_ratio"), ist.e_value(1.5, kind="risk_ratio")
    assert above.tidy()["e_value_limit"].iloc[0] == below.tidy()["e_value"].iloc[0]
    one_end = ist.e_value(2.0, lower=1.5, kind="risk_ratio").tidy()
    assert one_end["e_value_limit"].iloc[0] == below.tidy()["e_value"].iloc[0]
    crossing = ist.e_value(2.0, lower=0.9, upper=4.0, kind="risk_ratio")
    assert crossing.tidy()["e_value_limit"].iloc[0] == 1
    assert "nothing has to be explained away" in crossing.header()[-1]


def test_no_association_needs_nothing() -> None:
    assert ist.e_value(0.0, kind="d").tidy()["e_value"].iloc[0] == 1
    assert ist.e_value(1.0, kind="odds_ratio").tidy()["e_value"].iloc[0] == 1


def test_a_cox_model_says_the_same() -> None:
    frame = pd.DataFrame(
        {"years": [1.0, 2, 2, 3, 4, 5, 6, 7, 8, 9, 3, 5], "stopped": [1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 1, 1]}
    )
    frame["era"] = ["before", "during"] * 6
    cox = ist.fit_cox(frame, duration="years", event="stopped", terms=["era"])
    row = cox.e_value().iloc[0]
    ends = {"lower": row["conf_low"], "upper": row["conf_high"]}
    mine = ist.e_value(row["estimate"], **ends, kind="hazard_ratio").tidy().iloc[0]
    assert mine["e_value"] == pytest.approx(row["e_value"], rel=1e-12)
    assert mine["e_value_limit"] == pytest.approx(row["e_value_limit"], rel=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "hr"}, "kind='hr': unknown option"),
        (
            {"kind": "hazard_ratio", "estimate": -0.5},
            "estimate=-0.5: not above 0; a ratio is positive; of a logarithm give its exponential",
        ),
        ({"kind": "risk_ratio", "lower": 3.0}, "lower=3: on the wrong side of estimate=2"),
        ({"kind": "risk_ratio", "common": "yes"}, "common='yes': not True or False"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        ist.e_value(**({"estimate": 2.0} | options))
    assert str(caught.value).startswith(message)


def test_extreme_ratios_have_an_e_value_and_a_raw_difference_is_no_d() -> None:
    # (1 - .5^sqrt(HR)) / (1 - .5^sqrt(1 / HR)) goes to sqrt(HR) / ln 2.
    ratio = ist.e_value(1e100, kind="hazard_ratio").tidy()["risk_ratio"].item()
    assert ratio == pytest.approx(1e50 / np.log(2), rel=1e-12)
    with pytest.raises(DataError, match=r"^estimate=800: more than 100 standard deviations; divide it by"):
        ist.e_value(800, kind="d")
