"""Natural change taken from both cohorts: the arithmetic of the share, its sets, and where conclusions turn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import implstats as ist
from implstats.errors import DataError
from implstats.growth.retained import fieller

ROLES = {"visit": "month", "patient": "patient", "cohort": "cohort", "reference": "before"}


def improved(before: float, during: float, *, spread: float = 0.3, patients: int = 20) -> pd.DataFrame:
    """Return two visits of every patient; the mean improvements of the cohorts are exactly as given."""
    noise = np.linspace(-1, 1, patients)
    wave = np.cos(np.arange(patients) * 2.4)
    wave = spread * (wave - wave.mean())
    rows = []
    for cohort, change in (("before", before), ("during", during)):
        for k in range(patients):
            start = 2 + noise[k]
            rows += [(f"{cohort} {k}", cohort, 0, start), (f"{cohort} {k}", cohort, 36, start - change + wave[k])]
    return pd.DataFrame(rows, columns=["patient", "cohort", "month", "bsi"])


def fitted(frame: pd.DataFrame) -> Any:
    return ist.fit_mmrm(frame, outcome="bsi", better="lower", **ROLES)


def test_a_natural_change_of_point_three_hides_a_third_behind_56_per_cent() -> None:
    # True effects .2 and .6 SD: a third is retained. With .3 that come by themselves .5 and .9 are seen: .56. Taking
    # the .3 away again shows the third.
    found = ist.natural_change(fitted(improved(0.6 + 0.3, 0.2 + 0.3)), over=[0, 0.3], sd=1.0).tidy()
    seen, true = found["estimate"]
    assert (round(seen, 2), round(true, 2)) == (0.56, 0.33)
    assert (seen, true) == (pytest.approx(0.5 / 0.9, rel=1e-9), pytest.approx(0.2 / 0.6, rel=1e-9))
    np.testing.assert_allclose(found["change"], [0.5, 0.2], rtol=1e-9)
    np.testing.assert_allclose(found["change_reference"], [0.9, 0.6], rtol=1e-9)


def test_no_natural_change_is_the_improvement_retained(study: Any) -> None:
    at_zero = ist.natural_change(study, over=0).tidy()
    table = study.tidy()
    for mine, theirs in (("estimate", "retained"), ("conf_low", "retained_low"), ("conf_high", "retained_high")):
        np.testing.assert_allclose(at_zero[mine], table[theirs], rtol=1e-12)
    assert at_zero[["outcome", "time"]].to_numpy().tolist() == table[["outcome", "time"]].to_numpy().tolist()


def test_sets_are_fiellers_of_what_is_left() -> None:
    mmrm = fitted(improved(0.9, 0.5))
    changes = mmrm.changes(at=36).tidy()
    b, a = changes["estimate"]
    v_bb, v_aa = changes["std_error"] ** 2
    table = ist.natural_change(mmrm, over=[-0.2, 0.1, 0.4, 0.6], unit="outcome", df="normal").tidy()
    z = 1.959963984540054
    for row in table.to_dict("records"):
        c = row["natural"]
        # Cohorts share no patient, so their changes are independent.
        shape, low, high = fieller(a - c, b - c, v_aa, 0.0, v_bb, z)
        assert (row["set"], row["conf_low"], row["conf_high"]) == (
            shape,
            pytest.approx(low, rel=1e-6),
            pytest.approx(high, rel=1e-6),
        )


def test_conclusions_turn_where_the_set_meets_the_share() -> None:
    found = ist.natural_change(fitted(improved(0.9, 0.5)), over=[0, 0.5], unit="outcome", shares=[0, 0.25], df="normal")
    turns = found.turning_points().query("turn == 'share'")
    assert turns["retained"].tolist() == [0, 0.25]
    for row in turns.to_dict("records"):
        low, at, high = found.tidy(over=[row["conf_low"], row["estimate"], row["conf_high"]]).to_dict("records")
        assert low["conf_low"] == pytest.approx(row["retained"], abs=1e-9)
        assert at["estimate"] == pytest.approx(row["retained"], abs=1e-9)
        assert high["conf_high"] == pytest.approx(row["retained"], abs=1e-9)


def test_beyond_the_reference_there_is_no_share() -> None:
    found = ist.natural_change(fitted(improved(0.9, 0.5)), over=[0.95], unit="outcome", df="normal")
    end = found.turning_points().query("turn == 'reference'").iloc[0]
    assert end["estimate"] == pytest.approx(0.9, rel=1e-9)
    inside, outside = found.tidy(over=[end["conf_low"] - 1e-6, end["conf_low"] + 1e-6])["set"]
    assert (inside, outside) == ("bounded", "outside")
    row = found.tidy().iloc[0]
    assert row["set"] == "none"
    assert np.isnan(row["estimate"])
    assert "no improvement of the reference is left" in found.in_words()[0]


@pytest.mark.parametrize("spread", [0.3, 3.0])
def test_whether_less_was_kept_does_not_depend_on_it(spread: float) -> None:
    mmrm = fitted(improved(0.9, 0.5, spread=spread))
    gap = mmrm.contrasts(at=36, df="normal").tidy().query("quantity == 'change'").iloc[0]
    equal = gap["conf_low"] <= 0 <= gap["conf_high"]
    table = ist.natural_change(mmrm, over=np.linspace(-1, 0.8, 19).tolist(), unit="outcome", df="normal").tidy()
    inside = (table["conf_low"] <= 1) & (table["conf_high"] >= 1)
    outside = (table["conf_low"] >= 1) | (table["conf_high"] <= 1)
    holds = np.where(table["set"] == "outside", outside, inside | (table["set"] == "unbounded"))
    assert set(holds) == {equal}
    assert equal == (spread == 3.0)


def test_units_are_sds_of_the_study(study: Any) -> None:
    found = ist.natural_change(study, over=[0.3])
    for name, fit in study.fits.items():
        sd = fit.effect_sizes(36).tidy()["sd"].iloc[0]
        assert found.sizes[name] == pytest.approx(sd)
        direct = fit.retained_after([0.3 * sd], [36], df=study.df).tidy()
        mine = found.tidy().query("outcome == @name and time == 36")
        assert mine["estimate"].iloc[0] == pytest.approx(direct["estimate"].iloc[0])
    raw = ist.natural_change(study, over=[0.3], unit="outcome", at=36)
    assert raw.unit_of("bsi") == "units of bsi"
    assert set(raw.tidy()["time"]) == {36.0}


def test_the_header_names_the_source_or_asks_for_it(study: Any) -> None:
    told = ist.natural_change(study, over=[0, 0.3], source="waiting lists, a review").header()
    assert "its source: waiting lists, a review" in told[1]
    assert "no source is named: say source=" in ist.natural_change(study, over=[0, 0.3]).header()[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"over": "much"}, "over='much': not a number or a list of numbers; write over=[0, 0.2, 0.4]"),
        ({"over": [0], "unit": "d"}, "unit='d': unknown option; did you mean 'sd'?"),
        (
            {"over": [0], "shares": [0.5, 1]},
            "shares=[0.5, 1]: 1 is no turning point; a natural change takes the same from both, so it never makes them "
            "equal; ask for 0.5, say",
        ),
        ({"over": [0], "sd": "own"}, "sd='own': one natural change in SDs takes one SD for both cohorts; say unit="),
        ({"over": [0], "source": 3, "level": 0}, "level=0: not between 0 and 1; 0.95 gives 95 % intervals\nsource=3"),
    ],
)
def test_what_cannot_be_is_refused(growth: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        ist.natural_change(growth, **options)
    assert str(caught.value).startswith(message)


def test_a_study_keeps_its_own_sd(study: Any, mixed: Any) -> None:
    with pytest.raises(DataError, match=r"^sd=2: a study has its own; say it in compare_cohorts\(sd=\)$"):
        ist.natural_change(study, over=[0], sd=2)
    with pytest.raises(DataError, match=r"^natural_change: needs a study or a growth result, not a MixedResult; "):
        ist.natural_change(mixed, over=[0])


def test_a_share_between_nothing_and_all_is_said_in_the_header() -> None:
    found = ist.natural_change(fitted(improved(0.9, 0.5)), over=[0, 0.3], sd=1.0, shares=[0.25, 2])
    assert "it kept more than 25 %, beyond" in " ".join(found.header())
    # Twice as much is kept where untreated patients get worse: the other way round.
    assert "it kept less than 200 %, beyond" in repr(found)
