"""Events per time at risk: by hand, as R counts and bounds them, and the same however spells are written down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.rates import confint_poisson

from implstats.errors import DataError
from implstats.reading import split_spells
from implstats.survival.curves import survival_curves

ROLES: dict[str, Any] = {"duration": "years", "event": "stopped"}
FEW = settings(derandomize=True, deadline=None, max_examples=12)
ENDS = ["estimate", "conf_low", "conf_high"]

# Six programmes; the fourth is known from 1.5 on, the last from 2 on.
SMALL = pd.DataFrame(
    {
        "years": [0.5, 1.0, 2.5, 3.0, 3.0, 4.5],
        "stopped": [1, 0, 1, 0, 1, 0],
        "since": [0.0, 0.0, 0.0, 1.5, 0.0, 2.0],
        "copies": [1, 2, 1, 1, 3, 1],
        "share": [0.5, 1.0, 2.0, 1.5, 1.0, 0.7],
    }
)


def spells(seed: int, n: int = 50) -> pd.DataFrame:
    """Return spells of two groups with ties and late entries."""
    rng = np.random.default_rng(seed)
    years = np.ceil(rng.exponential(3, n) * 4) / 4
    return pd.DataFrame(
        {
            "years": years,
            "since": np.where(rng.random(n) < 0.5, 0.0, np.floor(years * rng.uniform(0, 0.99, n) * 4) / 4),
            "stopped": (rng.random(n) < 0.6).astype(int),
            "era": np.tile(["before", "during"], n // 2),
            "copies": rng.integers(1, 4, n),
            "share": rng.uniform(0.3, 2, n),
        }
    ).query("since < years")


def test_events_and_time_at_risk_by_hand() -> None:
    # Year 1: .5 + 1 + 1 + 1. Year 2: the third and the fifth for 1 each, the fourth for .5.
    # Year 3: .5 of the third, 1 of the fourth, the fifth and the last. Years 4 and 5: the last alone, for 1 and .5.
    table = survival_curves(SMALL, **ROLES, entry="since").rates()
    assert table["start"].tolist() == [0, 1, 2, 3, 4]
    assert table["end"].tolist() == [1, 2, 3, 4, 5]
    assert table["exposure"].tolist() == [3.5, 2.5, 3.5, 1.0, 0.5]
    assert table["events"].tolist() == [1, 0, 2, 0, 0]
    # Just after 1 the fourth has not come yet, and the second has gone; just after 2 the last is there.
    assert table["at_risk"].tolist() == [4, 2, 4, 1, 1]
    np.testing.assert_allclose(table["estimate"], [1 / 3.5, 0, 2 / 3.5, 0, 0])


def test_garwoods_interval_by_hand() -> None:
    # Without events the upper end is where exp(-mean) = .025; with one, the lower end where 1 - exp(-mean) = .025.
    table = survival_curves(SMALL, **ROLES, entry="since").rates()
    assert table["conf_low"][1] == 0
    assert table["conf_high"][1] == pytest.approx(-np.log(0.025) / 2.5, rel=1e-12)
    assert table["conf_low"][0] == pytest.approx(-np.log(0.975) / 3.5, rel=1e-12)


def test_an_event_at_a_break_belongs_to_the_stretch_that_it_ends() -> None:
    frame = pd.DataFrame({"years": [1.0, 1.0, 2.0], "stopped": [1, 1, 1]})
    table = survival_curves(frame, **ROLES).rates()
    assert table["events"].tolist() == [2, 1]
    assert table["exposure"].tolist() == [3, 1]


def test_where_nobody_was_at_risk_no_rate_is_known() -> None:
    # The second era is known from 2 to 3 only.
    frame = pd.DataFrame({"years": [4.0, 3.0], "since": [0, 2], "stopped": [1, 0], "era": ["before", "during"]})
    table = survival_curves(frame, **ROLES, by="era", entry="since").rates()
    during = table[table["group"] == "during"]
    assert during["exposure"].tolist() == [0, 0, 1, 0]
    assert during["at_risk"].tolist() == [0, 0, 1, 0]
    assert during.iloc[[0, 1, 3]][ENDS].isna().all().all()
    assert during["events"].tolist() == [0, 0, 0, 0]
    assert during.iloc[2]["conf_high"] == pytest.approx(-np.log(0.025))


def test_r_counts_and_bounds_the_same() -> None:
    # survival::pyears(Surv(time, status == 2) ~ tcut(0, breaks) + sex, lung, scale = 1), and poisson.test of its cells.
    lung = pd.read_csv(Path(__file__).resolve().parents[1] / "reference" / "data" / "lung.csv")
    curves = survival_curves(lung, duration="time", event="status", censored=1, by="sex")
    table = curves.rates([0, 182.625, 365.25, 547.875, 2000])
    assert table["exposure"].tolist() == [21153.75, 10352, 4515.125, 3065.125, 15135.75, 9031.75, 4137.625, 2201.875]
    assert table["events"].tolist() == [51, 34, 14, 13, 15, 21, 8, 9]
    in_r = [
        (0.00241092004963659, 0.00179508833366617, 0.00316991461923318),
        (0.00328438948995363, 0.00227453519943704, 0.00458960510966027),
        (0.00310068934968578, 0.00169517572078306, 0.00520242986004498),
    ]
    np.testing.assert_allclose(table.loc[:2, ENDS], in_r, rtol=1e-12)


@pytest.mark.parametrize("level", [0.5, 0.95, 0.99])
def test_statsmodels_bounds_the_same(level: float) -> None:
    table = survival_curves(spells(1), **ROLES, by="era", entry="since").rates(level=level)
    seen = table[table["events"] > 0]
    ends = confint_poisson(seen["events"], seen["exposure"], method="exact-c", alpha=1 - level)
    np.testing.assert_allclose(seen[["conf_low", "conf_high"]], np.column_stack(ends), rtol=1e-10)


def test_pieces_cut_at_the_breaks_add_up_to_the_table() -> None:
    frame = spells(3)
    pieces = split_spells(frame, duration="years", event="stopped", entry="since", at=list(range(1, 30)), label="year")
    pieces["time"] = pieces["years"] - pieces["since"]
    sums = pieces.groupby(["era", "year"])[["stopped", "time"]].sum()
    table = survival_curves(frame, **ROLES, by="era", entry="since").rates()
    table = table[table["exposure"] > 0]
    assert list(zip(table["group"], table["start"], strict=True)) == sums.index.tolist()
    assert len(table) > 10
    np.testing.assert_allclose(table["exposure"], sums["time"], rtol=1e-12)
    assert table["events"].tolist() == sums["stopped"].tolist()


def test_whole_weights_are_repeated_rows() -> None:
    again = SMALL.loc[SMALL.index.repeat(SMALL["copies"])]
    one = survival_curves(SMALL, **ROLES, weights="copies").rates()
    pd.testing.assert_frame_equal(one, survival_curves(again, **ROLES).rates())
    assert one["events"].dtype == one["at_risk"].dtype == np.int64


def test_fractional_weights_have_fay_and_feuers_interval() -> None:
    # Year 3: events of weight 2 and 1, of rows of which none weighs more than 2.
    table = survival_curves(SMALL, **ROLES, weights="share").rates(level=0.9)
    events, squares, heaviest, exposure = 3.0, 5.0, 2.0, 2 * 0.5 + 1.5 + 1 + 0.7
    assert table.loc[2, ["events", "exposure"]].tolist() == [events, exposure]
    low = stats.gamma(events**2 / squares, scale=squares / events).ppf(0.05)
    more, wider = events + heaviest, squares + heaviest**2
    high = stats.gamma(more**2 / wider, scale=wider / more).ppf(0.95)
    np.testing.assert_allclose(table.loc[2, ["conf_low", "conf_high"]].astype(float), [low / exposure, high / exposure])


@given(seed=st.integers(0, 1000), factor=st.sampled_from([0.3, 0.5, 7.25]))
@FEW
def test_weights_in_another_unit_move_no_rate(seed: int, factor: float) -> None:
    frame = spells(seed)
    one, other = (
        survival_curves(f, **ROLES, entry="since", weights="share").rates()[ENDS]
        for f in (frame, frame.assign(share=frame["share"] * factor))
    )
    pd.testing.assert_frame_equal(one, other, rtol=1e-10)
    same = frame.assign(share=factor + 0.01)
    plain = survival_curves(frame, **ROLES, entry="since").rates()[ENDS]
    pd.testing.assert_frame_equal(
        survival_curves(same, **ROLES, entry="since", weights="share").rates()[ENDS], plain, rtol=1e-10
    )


@given(seed=st.integers(0, 1000), cut=st.sampled_from([0.75, 1.0, 2.5]), weights=st.sampled_from([None, "share"]))
@FEW
def test_spells_cut_in_two_are_the_same_spells(seed: int, cut: float, weights: str | None) -> None:
    frame = spells(seed)
    inside = (frame["since"] < cut) & (cut < frame["years"])
    pieces = [frame[~inside], frame[inside].assign(years=cut, stopped=0), frame[inside].assign(since=cut)]
    one, other = (
        survival_curves(f, **ROLES, by="era", entry="since", weights=weights).rates()
        for f in (frame, pd.concat(pieces, ignore_index=True))
    )
    pd.testing.assert_frame_equal(one, other, rtol=1e-10)


@given(seed=st.integers(0, 1000), unit=st.sampled_from([12.0, 365.25, 1e-3]))
@FEW
def test_in_another_unit_of_time_rates_are_per_that_unit(seed: int, unit: float) -> None:
    frame = spells(seed)
    breaks = np.arange(0, 10, 1.5)
    other = frame.assign(years=frame["years"] * unit, since=frame["since"] * unit)
    one = survival_curves(frame, **ROLES, by="era", entry="since").rates(breaks)
    two = survival_curves(other, **ROLES, by="era", entry="since").rates(breaks * unit)
    assert one["events"].tolist() == two["events"].tolist()
    np.testing.assert_allclose(two["exposure"], one["exposure"] * unit, rtol=1e-10)
    np.testing.assert_allclose(two[ENDS], one[ENDS] / unit, rtol=1e-10)


def test_a_constant_hazard_is_found_in_every_stretch() -> None:
    rng = np.random.default_rng(4)
    stops, end = rng.exponential(1 / 0.2, 40_000), rng.uniform(0, 12, 40_000)
    frame = pd.DataFrame({"years": np.minimum(stops, end), "stopped": (stops <= end).astype(int)})
    table = survival_curves(frame, **ROLES).rates(range(9), level=0.999)
    assert ((table["conf_low"] < 0.2) & (table["conf_high"] > 0.2)).all()
    assert (table["conf_high"] / table["conf_low"]).max() < 1.4


@pytest.mark.parametrize(
    ("last", "ends"),
    [
        (7.3, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (3.0, [0, 1, 2, 3]),
        (36.0, list(range(37))),
        (1000.0, [0, 250, 500, 750, 1000]),
        (1100.0, [0, 250, 500, 750, 1000, 1250]),
        (0.8, [0, 0.2, 0.4, 0.6, 0.8]),
    ],
)
def test_breaks_are_whole_units_or_round_steps(last: float, ends: list[float]) -> None:
    table = survival_curves(pd.DataFrame({"years": [last / 2, last], "stopped": [1, 0]}), **ROLES).rates()
    np.testing.assert_allclose([*table["start"][:1], *table["end"]], ends)
    assert table["exposure"].sum() == pytest.approx(1.5 * last)
    assert table["exposure"].iloc[-1] > 0


def test_the_tables_of_a_result_hold_its_rates() -> None:
    assert "rates" in survival_curves(SMALL, **ROLES).to_dict()["tables"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"breaks": [1]}, "breaks=1: one time bounds no stretch of time; write breaks=[0, 1, 2]"),
        ({"breaks": [-1, 2]}, "breaks=-1: negative; time counts from the start"),
        ({"breaks": [5, 6]}, "breaks=[5, 6]: nobody was at risk then; the last time is 4.5"),
        ({"breaks": "years"}, "breaks='years': not a time or a list of times; write breaks=[18, 36]"),
        ({"level": 95}, "level=95: not between 0 and 1; 0.95 gives 95 % intervals"),
    ],
)
def test_what_cannot_be_counted_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as caught:
        survival_curves(SMALL, **ROLES).rates(**options)
    assert str(caught.value) == message
