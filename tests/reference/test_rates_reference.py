"""Rates and combined effects against R: rates.json beside this file, no R needed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist

REFERENCE = json.loads((Path(__file__).resolve().parent / "rates.json").read_text(encoding="utf-8"))


def cases(kind: str) -> Any:
    found = [case for case in REFERENCE["cases"] if case["kind"] == kind]
    assert found
    return pytest.mark.parametrize("case", found, ids=lambda case: case["name"])


@pytest.fixture
def near(held: Any) -> Any:
    return held(REFERENCE["rules"])


def ends(near: Any, rule: str, row: Any, reference: list[float | None]) -> None:
    for value, said in zip((row["conf_low"], row["conf_high"]), reference, strict=True):
        if said is None:  # JSON has no infinity
            assert math.isinf(value)
        else:
            near.value(rule, value, said)


@cases("exact")
def test_exact_intervals_are_those_of_poisson_test(near: Any, case: dict[str, Any]) -> None:
    frame = pd.DataFrame({"era": ["before", "during"], "n": case["events"], "t": case["exposure"]})
    roles = {"events": "n", "exposure": "t", "cohort": "era", "reference": "before"}
    table = ist.compare_rates(frame, **roles, level=case["level"]).tidy().set_index(["quantity", "cohort"])
    ends(near, "exact", table.loc[("rate", "before")], case["reference"])
    ends(near, "exact", table.loc[("rate", "during")], case["cohort"])
    ends(near, "exact", table.loc[("ratio", "during")], case["ratio"])


@cases("spread")
@pytest.mark.parametrize(
    ("way", "method", "cluster", "rule"),
    [
        ("quasi", "quasi", None, "fixed"),
        ("team", "robust", "team", "fixed"),
        ("crossed", "auto", "crossed", "fixed"),
        ("negative", "negative-binomial", None, "differences"),
    ],
)
def test_overdispersed_ratios_are_those_of_r(
    near: Any, case: dict[str, Any], way: str, method: str, cluster: str | None, rule: str
) -> None:
    roles = {"events": "events", "exposure": "exposure", "cohort": "era", "reference": "before"}
    found = ist.compare_rates(pd.DataFrame(case["table"]), **roles, method=method, cluster=cluster)
    row = found.tidy().query("quantity == 'ratio'").iloc[0]
    near.value("fixed", found.dispersion, case["dispersion"])
    near.value(rule, row["estimate"], case[way]["ratio"])
    ends(near, rule, row, [case[way]["low"], case[way]["high"]])
    if way == "negative":
        assert found.header()[1].endswith(f"alpha {case[way]['alpha']:.4g}")


@cases("combined")
def test_combined_effects_are_those_of_metafor(near: Any, case: dict[str, Any]) -> None:
    frame = pd.DataFrame({"y": case["y"], "se": case["se"]})
    ways = {k: case[k] for k in ("method", "interval")}
    found = ist.combine_programmes(frame, estimate="y", std_error="se", **ways)
    table, spread = found.tidy(), found.heterogeneity().iloc[0]
    mean = table.query("quantity == 'mean'").iloc[0]
    near.value("fixed", mean["estimate"], case["mean"])
    near.value("fixed", mean["std_error"], case["std_error"])
    ends(near, "fixed", mean, [case["low"], case["high"]])
    weights = table.query("quantity == 'programme'")["weight"].to_numpy()
    assert weights == pytest.approx(np.array(case["weights"]), rel=REFERENCE["rules"]["fixed"]["tolerance"])
    near.value("exact", spread["statistic"], case["q"])
    for name in ("tau2", "tau2_low", "tau2_high", "i2", "i2_low", "i2_high"):
        near.value("tau2", spread[name], case[name])
    if "prediction" in case:
        ends(near, "fixed", table.query("quantity == 'prediction'").iloc[0], case["prediction"])
    else:
        assert "prediction" not in set(table["quantity"])
