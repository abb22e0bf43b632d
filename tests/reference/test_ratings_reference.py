"""Intraclass correlations, kappa, alpha and AC1 against R: ratings.json beside this file, no R needed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats.ratings.alpha import gwet_ac1, krippendorff_alpha
from implstats.ratings.icc import icc
from implstats.ratings.kappa import kappa

REFERENCE = json.loads((Path(__file__).resolve().parent / "ratings.json").read_text(encoding="utf-8"))
ROLES = {"item": "item", "rater": "rater", "score": "score"}


def named(kind: str) -> Any:
    return pytest.mark.parametrize("case", REFERENCE["cases"][kind], ids=lambda case: str(case["name"]))


@pytest.fixture(scope="module")
def by(held: Any) -> Any:
    return held(REFERENCE["rules"])


def frame_of(case: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(case["frame"])


@named("icc")
def test_six_forms_with_their_intervals_are_psychs(case: dict[str, Any], by: Any) -> None:
    for form in ("A,1", "1"):
        result = icc(frame_of(case), **ROLES, form=form, level=case["level"])
        for row in result.forms().to_dict("records"):
            (answer,) = [a for a in case["answers"] if a["form"] == row["form"]]
            if answer["estimate"] > 1:  # a share of a variance below zero
                assert math.isnan(row["estimate"])
                assert math.isnan(row["conf_low"])
                continue
            for column in ("estimate", "statistic", "p_value"):
                by.value("fixed", row[column], answer[column])
            assert (row["df_num"], row["df"]) == (answer["df_num"], answer["df"])
            for column in ("conf_low", "conf_high"):
                by.value("quantile", row[column], answer[column])


@named("one_way")
def test_items_with_raters_of_their_own_in_different_numbers(case: dict[str, Any], by: Any) -> None:
    for answer in case["answers"]:
        result = icc(frame_of(case), **ROLES, form=answer["form"])
        by.value("fixed", result.estimate, answer["estimate"])
        assert "the interval is approximate" in repr(result)


@named("kappa")
def test_kappa_of_two_raters(case: dict[str, Any], by: Any) -> None:
    weights = None if case["weights"] == "none" else case["weights"]
    row = kappa(frame_of(case), **ROLES, weights=weights).tidy().iloc[0]
    by.value("fixed", row["estimate"], case["answer"]["estimate"])
    by.value("rate", row["std_error"], case["answer"]["std_error"])
    # Known wrong elsewhere: psych 2.2.9, of weighted kappa, and far enough off to be seen.
    off = abs(case["answer"]["psych_std_error"] / row["std_error"] - 1)
    assert (off > 0.005) == (weights is not None)


@named("alpha")
def test_alpha_over_every_pair(case: dict[str, Any], by: Any) -> None:
    result = krippendorff_alpha(frame_of(case), **ROLES, metric=case["metric"], draws=20, rng=1)
    by.value("fixed", result.estimate, case["answer"]["estimate"])
    for part, value in result.parts.items():
        by.value("fixed", value, case["answer"][part])


@named("corrected")
def test_ac1_and_fleiss_with_their_standard_errors(case: dict[str, Any], by: Any) -> None:
    if case["kind"] == "ac1":
        result = gwet_ac1(frame_of(case), **ROLES, categories=case.get("categories"))
    else:
        result = kappa(frame_of(case), **ROLES)
    by.value("fixed", result.estimate, case["answer"]["estimate"])
    if case["answer"]["std_error"] is not None:
        by.value("rate", result.std_error, case["answer"]["std_error"])


# Published digits ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def krippendorff() -> pd.DataFrame:
    (case,) = (c for c in REFERENCE["cases"]["corrected"] if c["name"] == "Gwet's table")
    return frame_of(case)


@pytest.mark.parametrize(("metric", "value"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_krippendorffs_own_example(krippendorff: pd.DataFrame, metric: str, value: float) -> None:
    # Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, sections C and D.
    assert krippendorff_alpha(krippendorff, **ROLES, metric=metric, rng=1).estimate == pytest.approx(value, abs=5e-4)


def test_gwets_table(krippendorff: pd.DataFrame) -> None:
    # Gwet 2014: AC1 .77544, standard error .14295, interval .461 to 1, agreement .81818, by chance .19032.
    result = gwet_ac1(krippendorff, **ROLES)
    row = result.tidy().iloc[0]
    assert (row["estimate"], row["std_error"]) == pytest.approx((0.77544, 0.14295), abs=5e-6)
    assert (row["conf_low"], row["conf_high"]) == pytest.approx((0.461, 1.0), abs=5e-4)
    assert list(result.parts.values()) == pytest.approx([0.8181818, 0.1903212], abs=5e-8)


@pytest.mark.parametrize(
    ("form", "value"), [("1", 0.166), ("A,1", 0.290), ("C,1", 0.715), ("k", 0.443), ("A,k", 0.620), ("C,k", 0.909)]
)
def test_shrout_and_fleiss(form: str, value: float) -> None:
    # Shrout & Fleiss 1979 print two digits, McGraw & Wong 1996 the same forms.
    frame = frame_of(REFERENCE["cases"]["icc"][0])
    assert icc(frame, **ROLES, form=form).estimate == pytest.approx(value, abs=5e-4)


def test_fleiss_own_example() -> None:
    # Fleiss 1971, as many textbooks repeat it: 10 subjects, 14 raters, kappa .210.
    counts = np.array(
        [
            [0, 0, 0, 0, 14],
            [0, 2, 6, 4, 2],
            [0, 0, 3, 5, 6],
            [0, 3, 9, 2, 0],
            [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0],
            [3, 2, 6, 3, 0],
            [2, 5, 3, 2, 2],
            [6, 5, 2, 1, 0],
            [0, 2, 2, 3, 7],
        ]
    )
    rows = [(i, c) for i, row in enumerate(counts) for c, many in enumerate(row) for _ in range(many)]
    frame = pd.DataFrame(rows, columns=["item", "score"])
    frame["rater"] = frame.groupby("item").cumcount()
    assert kappa(frame, **ROLES).estimate == pytest.approx(0.210, abs=5e-4)
