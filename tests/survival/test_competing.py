"""Cumulative incidence and Gray's test as users call them: tables, words, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from implstats.errors import DataError
from implstats.survival.competing import CumulativeIncidence, cumulative_incidence
from implstats.survival.curves import survival_curves
from implstats.survival.gray import GrayTest, gray_test

ROLES = {"duration": "years", "event": "status", "censored": "active"}


def programmes() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "years": [1, 2, 3, 4, 5, 6, 2, 3, 5, 6],
            "status": ["stopped"] * 2
            + ["merged", "stopped"]
            + ["active"] * 2
            + ["merged", "active", "stopped", "active"],
            "era": ["before"] * 6 + ["during"] * 4,
            "country": ["nl", "be"] * 5,
            "since": [0, 0, 1, 0, 2, 0, 0, 1, 0, 3],
            "size": [1, 2, 1, 3, 1, 1, 2, 1, 1, 2],
            "share": [0.5, 1.5, 1, 2, 1, 1.2, 0.7, 1, 1, 2],
        }
    )


def found(**more: Any) -> CumulativeIncidence:
    return cumulative_incidence(programmes(), **(ROLES | more))


def compared(**more: Any) -> GrayTest:
    return gray_test(programmes(), **(ROLES | {"by": "era"} | more))


# Cumulative incidence ------------------------------------------------------------------------------------------------


def test_one_row_a_group_cause_and_time() -> None:
    table = found(by="era").tidy()
    assert table.columns.tolist()[:6] == ["group", "cause", "time", "at_risk", "events", "censored"]
    assert table.columns.tolist()[6:] == ["estimate", "std_error", "conf_low", "conf_high", "event_free"]
    one = table[(table["group"] == "during") & (table["cause"] == "stopped")]
    assert one["time"].tolist() == [2, 3, 5, 6]
    assert one["at_risk"].tolist() == [4, 3, 2, 1]
    assert one["events"].tolist() == [0, 0, 1, 0]
    assert one["censored"].tolist() == [0, 1, 0, 1]
    assert one["estimate"].tolist() == pytest.approx([0, 0, 3 / 8, 3 / 8], abs=1e-15)
    assert table.groupby(["group", "time"])["estimate"].sum().to_numpy() == pytest.approx(
        1 - table.groupby(["group", "time"])["event_free"].first().to_numpy(), abs=1e-15
    )


def test_at_reads_the_steps_and_says_nothing_beyond_the_last_time() -> None:
    table = found(by="era").at([0, 2.5, 5, 7])
    before = table[(table["group"] == "before") & (table["cause"] == "stopped")]
    assert before["estimate"].tolist()[:3] == pytest.approx([0, 1 / 3, 1 / 2], abs=1e-15)
    assert before.iloc[3][["estimate", "std_error", "conf_low", "conf_high", "event_free"]].isna().all()
    assert before["at_risk"].tolist() == [6, 4, 2, 0]


def test_where_nothing_can_come_any_more_the_incidence_stays() -> None:
    frame = programmes().assign(
        status=lambda d: d["status"].replace("active", "ended").where(d["years"] != 3, "active")
    )
    table = cumulative_incidence(frame, **ROLES).at([6, 60])
    assert table["event_free"].tolist() == [0] * 6
    assert table.groupby("cause")["estimate"].nunique().tolist() == [1, 1, 1]


def test_an_incidence_of_zero_has_no_interval() -> None:
    row = found().at(1).set_index("cause").loc["merged"]
    assert row["estimate"] == row["std_error"] == 0
    assert np.isnan([row["conf_low"], row["conf_high"]]).all()


@pytest.mark.parametrize("interval", ["log-log", "log", "plain", "logit", "arcsine"])
def test_intervals_are_symmetric_on_their_scale(interval: str) -> None:
    scale = {
        "log-log": lambda p: np.log(-np.log(p)),
        "log": np.log,
        "plain": lambda p: p,
        "logit": lambda p: np.log(p / (1 - p)),
        "arcsine": lambda p: np.arcsin(np.sqrt(p)),
    }[interval]
    row = found(interval=interval, level=0.5).at(4).set_index("cause").loc["stopped"]
    low, middle, high = (scale(row[k]) for k in ("conf_low", "estimate", "conf_high"))
    assert middle - low == pytest.approx(high - middle, rel=1e-12)
    step = 1e-6
    slope = (scale(row["estimate"] + step) - scale(row["estimate"] - step)) / (2 * step)
    assert high - low == pytest.approx(abs(slope) * 2 * 0.6744897501960817 * row["std_error"] * np.sign(high - low))


def test_the_level_is_asked_for_again() -> None:
    result = found()
    wide, narrow = result.at(4), result.at(4, level=0.5)
    assert (wide["conf_high"] - wide["conf_low"] > narrow["conf_high"] - narrow["conf_low"]).all()
    assert wide.equals(found(level=0.5).at(4, level=0.95))


def test_one_cause_is_one_minus_the_survival_curve() -> None:
    frame = programmes().assign(stopped=lambda d: (d["status"] == "stopped").astype(int))
    ours = cumulative_incidence(frame, duration="years", event="stopped", censored=0, by="era", entry="since")
    curve = survival_curves(frame, duration="years", event="stopped", by="era", entry="since").tidy()
    table = ours.tidy()
    assert set(table["cause"]) == {1}
    assert table["estimate"].to_numpy() == pytest.approx(1 - curve["estimate"].to_numpy(), abs=1e-15)
    assert table["at_risk"].tolist() == curve["at_risk"].tolist()
    assert not any("1 - Kaplan-Meier" in line for line in ours.header())


def test_numbers_at_risk_and_what_ended_the_others() -> None:
    table = found(by="era").at_risk([0, 2, 4])
    before = table[(table["group"] == "before") & (table["cause"] == "stopped")]
    assert before["at_risk"].tolist() == [6, 5, 3]
    assert before["cumulative_events"].tolist() == [0, 2, 3]
    during = table[(table["group"] == "during") & (table["cause"] == "merged")]
    assert during["cumulative_events"].tolist() == [0, 1, 1]
    assert during["cumulative_censored"].tolist() == [0, 0, 1]


def test_who_enters_late_is_at_risk_after_the_entry() -> None:
    table = found(entry="since").at_risk([0, 1, 2, 3.5])
    # Six enter at 0, rows 3 and 8 at 1, row 5 at 2, row 10 at 3; one leaves at 1, two at 2, two at 3.
    assert table[table["cause"] == "stopped"]["at_risk"].tolist() == [6, 6, 7, 5]


def test_whole_weights_count_rows_and_others_are_summed() -> None:
    whole, parts = found(weights="size").tidy(), found(weights="share").tidy()
    assert whole["at_risk"].dtype.kind == "i"
    assert whole["at_risk"].iloc[0] == 15
    assert parts["at_risk"].iloc[0] == pytest.approx(11.9)
    repeated = programmes().loc[np.repeat(np.arange(10), programmes()["size"])]
    again = cumulative_incidence(repeated, **ROLES).tidy()
    pd.testing.assert_frame_equal(whole, again)


def test_the_header_counts_every_group_and_says_what_kaplan_meier_would() -> None:
    lines = found(by="era").header()
    assert lines[0] == "Cumulative incidence of merged and stopped (status), over years, by era (95% log-log intervals)"
    assert lines[1].startswith("before: 6 rows, 1 merged, 3 stopped, 2 censored (33 %); followed for 5.5 (median")
    assert lines[-1] == "dropped: none"
    # During: stopping at 5 is one of two at risk; one was merged and one censored before.
    assert any("say 0.500 for 0.375 (during: stopped by 6)" in line for line in lines)
    # Before: merging at 3 is one of four; of all six it is one.
    alone = cumulative_incidence(programmes().query("era == 'before'"), **ROLES).header()
    assert any("say 0.250 for 0.167 (merged by 6)" in line for line in alone)


def test_a_group_without_a_cause_is_named() -> None:
    frame = programmes().assign(status=lambda d: d["status"].where(d["era"] == "before", "active"))
    lines = cumulative_incidence(frame, **ROLES, by="era").header()
    assert "during: nobody had merged and stopped; 0 there has no interval" in lines


def test_late_entries_and_weights_are_explained() -> None:
    lines = " ".join(found(entry="since", weights="share").header())
    assert "rows count as at risk from their entry on" in lines
    assert "infinitesimal jackknife" in lines


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"censored": None}, "censored=None: what stands for no event in 'status' is not named; name that value"),
        ({"censored": "activ"}, "censored='activ': no row of status has it; did you mean 'active'?"),
        ({"interval": "loglog"}, "interval='loglog': unknown option; did you mean 'log-log'?"),
        ({"level": 95}, "level=95: not between 0 and 1; 0.95 gives 95 % intervals"),
        ({"by": "eras"}, "by='eras': no such column; did you mean 'era'?"),
    ],
)
def test_what_is_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as raised:
        found(**more)
    assert str(raised.value).startswith(message)


def test_times_before_the_start_are_refused() -> None:
    with pytest.raises(DataError, match="times=-1: negative; time counts from the start"):
        found().at([-1, 3])


# Gray's test ---------------------------------------------------------------------------------------------------------


def test_one_row_a_cause_and_one_a_cause_and_group() -> None:
    test = compared()
    assert test.tidy()["cause"].tolist() == ["merged", "stopped"]
    assert test.tidy()["events"].tolist() == [2, 4]
    table = test.table()
    assert table["group"].tolist() == ["before", "during"] * 2
    assert table["events"].tolist() == [1, 1, 3, 1]
    sums = table.groupby("cause")[["observed", "expected"]].sum()
    assert sums["observed"].to_numpy() == pytest.approx(sums["expected"].to_numpy())
    assert test.statistic["stopped"] == test.tidy()["statistic"][1]
    assert test.df["stopped"] == 1


def test_one_cause_can_be_asked_for() -> None:
    every, one = compared(), compared(cause="stopped")
    assert one.tidy()["cause"].tolist() == ["stopped"]
    assert one.p_value["stopped"] == every.p_value["stopped"]
    assert any("not corrected" in line for line in every.header())
    assert not any("not corrected" in line for line in one.header())


def test_a_relabelled_cause_changes_its_name_only() -> None:
    frame = programmes().assign(status=lambda d: d["status"].replace("stopped", "ended"))
    other = gray_test(frame, **ROLES, by="era")
    assert other.statistic["ended"] == pytest.approx(compared().statistic["stopped"], rel=1e-12)


def test_the_header_of_a_test_counts_and_explains_its_weights() -> None:
    lines = compared(strata="country", rho=1).header()
    assert lines[0] == "Gray's test: is the cumulative incidence the same in all groups of era, within country?"
    assert lines[1] == "before: 6 rows, 1 merged, 3 stopped, 2 censored (33 %)"
    assert any("early differences count more" in line for line in lines)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"by": None}, "by=None: no groups are named; name the column with the groups to compare"),
        ({"cause": "stoped"}, "cause='stoped': no cause in status; did you mean 'stopped'?"),
        ({"rho": "high"}, "rho='high': not a number"),
        ({"strata": "era2"}, "strata='era2': no such column; did you mean 'era'?"),
    ],
)
def test_what_a_test_refuses(more: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as raised:
        compared(**more)
    assert str(raised.value).startswith(message)


def test_a_test_needs_two_groups_and_an_event() -> None:
    frame = programmes().query("era == 'before'")
    with pytest.raises(DataError, match=r"by='era': one group only \('before'\); a test compares two or more"):
        gray_test(frame, **ROLES, by="era")
    with pytest.raises(DataError, match="event='status': no event in any row; without events nothing can be compared"):
        gray_test(programmes().assign(status="active"), **ROLES, by="era")


def test_groups_that_were_never_at_risk_together_are_refused() -> None:
    frame = pd.DataFrame(
        {"years": [1, 2, 3, 4], "status": ["active", "active", "stopped", "stopped"], "era": list("aabb")}
    )
    with pytest.raises(DataError, match="cause='stopped': never were two groups at risk"):
        gray_test(frame, **ROLES, by="era")


def test_what_kaplan_meier_would_say_is_told_of_a_time_that_every_group_reaches() -> None:
    # By 9 the last of a stops, and 1 - Kaplan-Meier is 1. By 5, of merged: 1 - 3/4 x 1/2 for 1/4 + 1/2 x 1/2.
    frame = pd.DataFrame({"years": [1, 2, 4, 9, 5, 5], "era": ["a"] * 4 + ["b"] * 2})
    frame["status"] = ["merged", "stopped", "merged", "stopped", "active", "active"]
    lines = cumulative_incidence(frame, **ROLES, by="era").header()
    (said,) = (line for line in lines if line.startswith("1 - Kaplan-Meier"))
    assert "and say 0.625 for 0.500 (a: merged by 5): it answers for a world in which nothing else" in said
