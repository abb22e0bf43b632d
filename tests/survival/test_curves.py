"""Kaplan-Meier curves as users meet them: tables, sentences, and what is refused in which words."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from implstats.errors import DataError
from implstats.survival.curves import survival_curves
from implstats.tables import read_tables

ROLES: dict[str, Any] = {"duration": "years", "event": "discontinued"}


def programmes(n: int = 60, seed: int = 2) -> pd.DataFrame:
    """Return programmes of two eras, started over some years and followed to one date: later ones are followed less."""
    rng = np.random.default_rng(seed)
    started = np.where(np.arange(n) % 2 == 0, rng.uniform(0, 4, n), rng.uniform(4, 8, n))
    stops = rng.exponential(6, n)
    years = np.round(np.minimum(stops, 9 - started) * 4).clip(1) / 4
    return pd.DataFrame(
        {
            "years": years,
            "discontinued": (stops <= 9 - started).astype(int),
            "era": np.where(np.arange(n) % 2 == 0, "before", "during"),
            "country": np.tile(["NL", "UK", "DE"], n // 3),
            "whole": rng.integers(1, 4, n),
            "part": rng.uniform(0.5, 2, n).round(2),
            "from": np.round(rng.uniform(0, 0.9, n) * years, 2),
        }
    )


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return programmes()


@pytest.fixture(scope="module")
def curves(frame: pd.DataFrame) -> Any:
    return survival_curves(frame, **ROLES, by="era")


def test_tidy_has_one_row_a_group_and_time(curves: Any, frame: pd.DataFrame) -> None:
    table = curves.tidy()
    assert list(table.columns) == [
        "group", "time", "at_risk", "events", "censored", "estimate", "std_error", "conf_low", "conf_high",
    ]  # fmt: skip
    wanted = frame[["era", "years"]].drop_duplicates().sort_values(["era", "years"])
    assert table[["group", "time"]].to_numpy().tolist() == wanted.to_numpy().tolist()
    assert table["events"].sum() == frame["discontinued"].sum()
    assert table["censored"].sum() == (1 - frame["discontinued"]).sum()
    assert table.dtypes[["at_risk", "events", "censored"]].tolist() == [np.int64] * 3
    assert (table.groupby("group")["estimate"].diff().dropna() <= 0).all()


def test_at_reads_the_steps_and_says_nothing_beyond_the_last_time(curves: Any) -> None:
    table = curves.tidy()
    during = table[table["group"] == "during"]
    row = during.iloc[3]
    found = curves.at([row["time"], row["time"] + 0.01, 8.5])
    found = found[found["group"] == "during"]
    assert found["estimate"].iloc[0] == found["estimate"].iloc[1] == row["estimate"]
    assert found["at_risk"].tolist()[:2] == [row["at_risk"], row["at_risk"] - row["events"] - row["censored"]]
    assert found.iloc[2][["estimate", "std_error", "conf_low", "conf_high"]].isna().all()
    assert curves.at(0)["estimate"].tolist() == [1.0, 1.0]


def test_a_curve_that_has_come_to_zero_stays_there(frame: pd.DataFrame) -> None:
    table = survival_curves(frame.assign(discontinued=1), **ROLES).at(100)
    assert table["estimate"].tolist() == [0.0]
    assert table[["std_error", "conf_low", "conf_high"]].isna().all().all()


def test_another_level_is_another_call_not_another_fit(curves: Any) -> None:
    narrow, wide = curves.tidy(level=0.5), curves.tidy(level=0.99)
    assert (narrow["conf_low"] >= wide["conf_low"]).all()
    assert narrow["estimate"].equals(wide["estimate"])
    assert curves.at(2, level=0.5)["conf_high"].iloc[0] < curves.at(2)["conf_high"].iloc[0]
    assert curves.quantile(0.3, level=0.5)["conf_low"].iloc[0] > curves.quantile(0.3)["conf_low"].iloc[0]


def test_at_risk_counts_rows_as_the_definition_does(frame: pd.DataFrame) -> None:
    for options in ({}, {"entry": "from"}, {"entry": "from", "weights": "part"}):
        table = survival_curves(frame, **ROLES, by="era", **options).at_risk([0, 1, 2.5, 9])
        weight = frame["part"] if "weights" in options else 1
        entry = frame["from"] if "entry" in options else 0 * frame["years"]
        for row in table.to_dict("records"):
            own, t = frame["era"] == row["group"], row["time"]
            inside = own & ((entry < t) | ((entry == 0) & (t == 0))) & (frame["years"] >= t)
            gone = own & (frame["years"] <= t)
            assert row["at_risk"] == pytest.approx((inside * weight).sum(), abs=1e-9)
            assert row["cumulative_events"] == pytest.approx((gone * frame["discontinued"] * weight).sum(), abs=1e-9)
            assert row["cumulative_censored"] == pytest.approx(
                (gone * (1 - frame["discontinued"]) * weight).sum(), abs=1e-9
            )


def test_the_header_counts_each_group_and_its_follow_up(curves: Any, frame: pd.DataFrame) -> None:
    text = curves.header()
    counts = frame.groupby("era")["discontinued"].agg(["size", "sum"])
    for line, (era, row) in zip(text[1:3], counts.iterrows(), strict=True):
        assert line.startswith(
            f"{era}: {row['size']} rows, {row['sum']} with the event, {row['size'] - row['sum']} cens"
        )
        assert f"longest {frame.loc[frame['era'] == era, 'years'].max():g}" in line
    assert text[0] == "Kaplan-Meier: share without the event (discontinued) over years, by era (95% log intervals)"
    assert "60 rows of 60 given" in text


def test_unequal_censoring_is_said_with_numbers(curves: Any, frame: pd.DataFrame) -> None:
    common = frame.groupby("era")["years"].max().min()
    short = (
        frame[(frame["years"] < common) & (frame["discontinued"] == 0)]["era"]
        .value_counts()
        .reindex(["before", "during"], fill_value=0)
    )
    followed = curves.follow_up().set_index("group")["estimate"]
    text = "\n".join(curves.header())
    assert f"censored before {common:g}, the last time that every group reaches: " in text
    assert f"{short['before']} of 30 in before (" in text
    assert f"{short['during']} of 30 in during (" in text
    assert (
        f"censoring is unequal (followed for {followed['before']:g} in before, {followed['during']:g} in during)"
        in text
    )


def test_equal_follow_up_is_not_called_unequal(frame: pd.DataFrame) -> None:
    half = frame[frame["era"] == "before"]
    twins = pd.concat([half, half.assign(era="during")], ignore_index=True)
    text = "\n".join(survival_curves(twins, **ROLES, by="era").header())
    assert "censored before" in text
    assert "unequal" not in text


def test_a_median_that_is_not_reached_is_said_so() -> None:
    # The last row is censored while survival is 2/3.
    frame = pd.DataFrame({"years": [1, 2, 3], "discontinued": [1, 0, 0]})
    found = survival_curves(frame, **ROLES)
    # The lower end of the band comes below a half at 1: the median lies beyond that, and nothing bounds it from above.
    assert found.quantile()["conf_low"].tolist() == [1.0]
    assert found.quantile()[["estimate", "conf_high"]].isna().all().all()
    assert "median not reached (the curve ends at 0.67), interval 1 to not reached" in found.header()[1]


def test_without_events_survival_is_one_and_the_header_says_what_that_means(frame: pd.DataFrame) -> None:
    found = survival_curves(
        frame.assign(discontinued=frame["discontinued"] * (frame["era"] == "before")), **ROLES, by="era"
    )
    assert "no event: during; survival stays 1, and its interval says nothing" in found.header()
    assert set(found.at([1, 2]).query("group == 'during'")["estimate"]) == {1.0}


def test_all_events_at_one_time_are_one_step() -> None:
    frame = pd.DataFrame({"years": [2.0] * 5, "discontinued": [1, 1, 1, 0, 0]})
    table = survival_curves(frame, **ROLES).tidy()
    assert table[["time", "at_risk", "events", "censored"]].to_numpy().tolist() == [[2, 5, 3, 2]]
    assert table["estimate"].tolist() == pytest.approx([0.4])


def test_a_risk_set_of_one_that_stops_ends_the_curve_for_later_entries() -> None:
    frame = pd.DataFrame({"years": [1, 5, 6], "discontinued": [1, 1, 0], "from": [0, 2, 2]})
    found = survival_curves(frame, **ROLES, entry="from")
    assert found.tidy()["estimate"].tolist() == [0, 0, 0]
    assert (
        "all: all who were at risk at 1 had the event, so survival is 0 from then on, and says nothing of those who "
        "entered later"
    ) in found.header()


def test_a_first_entry_after_the_start_is_said(frame: pd.DataFrame) -> None:
    late = frame.assign(start=frame["years"] / 2)
    text = "\n".join(survival_curves(late, **ROLES, entry="start").header())
    assert re.search(r"nobody is under observation before the first entry \(all at 0\.125\)", text)
    assert "rows count as at risk from their entry on" in text


def test_weights_are_said_and_fractional_ones_change_the_standard_error(frame: pd.DataFrame) -> None:
    whole = survival_curves(frame, **ROLES, weights="whole")
    part = survival_curves(frame, **ROLES, weights="part")
    assert f"sums of weights, {frame['whole'].sum()} in all" in "\n".join(whole.header())
    assert "jackknife" not in "\n".join(whole.header())
    assert "jackknife" in "\n".join(part.header())
    assert whole.tidy()["at_risk"].dtype == np.int64
    assert part.tidy()["at_risk"].dtype == float


def test_groups_named_by_numbers_are_called_by_their_column(frame: pd.DataFrame) -> None:
    found = survival_curves(frame.assign(wave=frame["whole"]), **ROLES, by="wave")
    assert [line.split(":")[0] for line in found.header()[1:4]] == ["wave 1", "wave 2", "wave 3"]
    assert found.tidy()["group"].unique().tolist() == [1, 2, 3]


def test_rows_that_miss_something_are_dropped_and_counted(frame: pd.DataFrame) -> None:
    holes = frame.copy()
    holes.loc[:2, "years"] = np.nan
    holes.loc[[2, 3], "era"] = np.nan
    found = survival_curves(holes, **ROLES, by="era")
    assert found.sample.dropped == {"years missing": 3, "era missing": 1}
    events = int(frame["discontinued"].iloc[4:].sum())
    assert found.glance().to_dict("records") == [{"rows": 56, "events": events, "censored": 56 - events}]


def test_labels_of_an_event_are_taken_with_the_label_of_none(frame: pd.DataFrame) -> None:
    labelled = frame.assign(status=np.where(frame["discontinued"] == 1, "stopped", "active"))
    found = survival_curves(labelled, duration="years", event="status", by="era", censored="active")
    assert_frame_equal(found.tidy(), survival_curves(frame, **ROLES, by="era").tidy())


@pytest.mark.parametrize(
    "options", [{}, {"entry": "from"}, {"weights": "whole"}, {"weights": "whole", "entry": "from"}]
)
def test_lifelines_agrees(frame: pd.DataFrame, options: dict[str, str]) -> None:
    # lifelines stops where an early risk set is emptied: two rows that are there from the start keep it filled.
    start = frame.assign(**{"from": frame["from"].where(frame.index > 20, 0.0)})
    table = survival_curves(start, **ROLES, by="era", **options).cross_check()
    assert len(table) > 20
    np.testing.assert_allclose(table["difference"], 0, atol=1e-12)
    inner = table["estimate"].between(0.0001, 0.9999)
    np.testing.assert_allclose(table.loc[inner, "std_error_other"], table.loc[inner, "std_error"], rtol=1e-9)


def test_asking_lifelines_leaves_numpys_settings_alone(curves: Any) -> None:
    # lifelines 0.30.3 calls numpy.seterr when it fits.
    before = np.geterr()
    curves.cross_check()
    assert np.geterr() == before


def test_what_lifelines_refuses_is_said() -> None:
    frame = pd.DataFrame({"years": [1.0, 5, 6, 7, 8], "discontinued": [1, 1, 0, 1, 0], "from": [0.0, 2, 2, 2, 2]})
    with pytest.raises(
        DataError, match=r"^cross_check: lifelines refuses all: There are too few early truncation times"
    ):
        survival_curves(frame, **ROLES, entry="from").cross_check()


def test_lifelines_is_not_loaded_for_a_curve() -> None:
    program = (
        "import sys, pandas as pd; from implstats.survival.curves import survival_curves;"
        "survival_curves(pd.DataFrame({'t': [1, 2], 'd': [1, 0]}), duration='t', event='d').tidy();"
        "print([m for m in ('lifelines', 'matplotlib', 'statsmodels') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_frame_may_change_afterwards_and_the_arrays_may_not(frame: pd.DataFrame) -> None:
    mine = frame.copy()
    found = survival_curves(mine, **ROLES, by="era", weights="part")
    before = found.tidy()
    mine["years"] = 1.0
    mine["era"] = "x"
    assert_frame_equal(found.tidy(), before)
    for result in (found, pickle.loads(pickle.dumps(found))):
        for group in result.groups:
            for curve in (group.curve, group.follow_up):
                with pytest.raises(ValueError, match="read-only"):
                    curve.survival[0] = 0
                with pytest.raises(ValueError, match="read-only"):
                    curve.influence.final[0] = 0


def test_a_result_goes_through_json(curves: Any) -> None:
    record = json.loads(json.dumps(curves.to_dict(), allow_nan=False))
    tables = read_tables(record)
    assert_frame_equal(tables["tidy"], curves.tidy(), check_exact=True)
    assert_frame_equal(tables["median"], curves.quantile(), check_exact=True)
    assert record["call"]["by"] == "era"


def test_the_printed_form_is_short(frame: pd.DataFrame) -> None:
    for scale in (0.001, 1, 365.25):
        text = repr(survival_curves(frame.assign(years=frame["years"] * scale), **ROLES, by="era"))
        table = text.split("\n\n")[1].split("\n")
        assert 9 <= len(table) <= 21, table


CAUSES = (
    "holds {}, and Kaplan-Meier knows one event: to it the other causes would be censoring; use cumulative_incidence, "
    "or make a column of 0 and 1 for the end that counts"
)
LISTED = "there are 'years', 'discontinued', 'era', 'country', 'whole', 'part', 'from'"


def status(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(status=np.where(frame["discontinued"] == 0, "active", np.tile(["merged", "stopped"], 30)))


BAD: list[tuple[str, Callable[[pd.DataFrame], Any], str]] = [
    (
        "causes",
        lambda f: survival_curves(status(f), duration="years", event="status"),
        "event='status': " + CAUSES.format("'active', 'merged', 'stopped'"),
    ),
    (
        "causes with a label of none",
        lambda f: survival_curves(status(f), duration="years", event="status", censored="active"),
        "event='status': " + CAUSES.format("'merged', 'stopped'"),
    ),
    (
        "an unknown interval and level together",
        lambda f: survival_curves(f, **ROLES, interval="loglog", level=95),
        "interval='loglog': unknown option; did you mean 'log-log'?\n"
        "level=95: not between 0 and 1; 0.95 gives 95 % intervals",
    ),
    (
        "a misspelt column",
        lambda f: survival_curves(f, duration="year", event="stopped"),
        f"duration='year': no such column; did you mean 'years'?\nevent='stopped': no such column; {LISTED}",
    ),
    (
        "negative times",
        lambda f: survival_curves(f.assign(years=-f["years"]), **ROLES),
        "duration='years': negative in rows 0, 1, 2 and 57 more; count time from the start",
    ),
    (
        "never started",
        lambda f: survival_curves(f.assign(years=f["years"].where(f.index > 0, 0)), **ROLES),
        "duration='years': zero in row 0; who never started was never at risk: count them apart",
    ),
    (
        "entry at the exit",
        lambda f: survival_curves(f.assign(start=f["years"]), **ROLES, entry="start"),
        "entry='start': not before years in rows 0, 1, 2 and 57 more; a spell ends after it starts",
    ),
    (
        "a negative time asked for",
        lambda f: survival_curves(f, **ROLES).at([-1, 2]),
        "times=-1: negative; time counts from the start",
    ),
    ("no time", lambda f: survival_curves(f, **ROLES).at_risk([]), "times=[]: no time is named; write times=[18, 36]"),
    (
        "a quantile of all",
        lambda f: survival_curves(f, **ROLES).quantile([0.5, 1]),
        "p=1: not between 0 and 1; 0.5 asks for the median",
    ),
    (
        "a quantile in words",
        lambda f: survival_curves(f, **ROLES).quantile("median"),
        "p='median': not a number; 0.5 asks for the median",
    ),
    (
        "missing, and to be raised",
        lambda f: survival_curves(f.assign(era=f["era"].where(f.index > 1)), **ROLES, by="era", missing="raise"),
        "missing='raise': era missing in rows 0, 1; drop these rows yourself or say missing='drop'",
    ),
]


@pytest.mark.parametrize(("what", "call", "message"), BAD, ids=[row[0] for row in BAD])
def test_what_cannot_be_answered_is_refused(
    frame: pd.DataFrame, what: str, call: Callable[[pd.DataFrame], Any], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        call(frame)
    assert str(caught.value) == message
