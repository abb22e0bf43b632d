"""States are stacked up to one with who is in each under them; programmes are lines, phase by phase, as dated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot
from matplotlib.axes import Axes

import implstats as ist
from implstats.errors import DataError
from implstats.phases import SCHEMES, PhaseProgress, StateOccupation
from implstats.plot.phases import phases

ROLES: dict[str, Any] = {"id": "id", "state": "is", "start": "from", "stop": "to", "next_state": "then"}
LOG: dict[str, Any] = {"programme": "programme", "phase": "phase", "activity": "activity", "date": "date"}


@pytest.fixture(scope="module")
def histories() -> pd.DataFrame:
    rows = [
        ("a", "on", 0, 3, "off", "x"),
        ("a", "off", 3, 6, None, "x"),
        ("b", "on", 0, 2, "off", "y"),
        ("b", "off", 2, 5, "on", "y"),
        ("b", "on", 5, 9, None, "y"),
        ("c", "on", 0, 4, None, "y"),
    ]
    return pd.DataFrame(rows, columns=["id", "is", "from", "to", "then", "era"])


@pytest.fixture(scope="module")
def occupation(histories: pd.DataFrame) -> StateOccupation:
    return ist.state_occupation(histories, **ROLES, states=["on", "off"])


@pytest.fixture(scope="module")
def progress() -> PhaseProgress:
    log = ist.load_example("programme_phases")
    return ist.phase_progress(log, **LOG, stopped="stopped", scheme="sic", by="group", study_end="2018-12-31")


def texts(ax: Axes) -> list[str]:
    return [t.get_text() for t in ax.texts]


def legend(ax: Axes) -> list[str]:
    found = ax.get_legend()
    assert found is not None
    return [t.get_text() for t in found.get_texts()]


def top(ax: Axes, name: str) -> tuple[Any, Any]:
    (line,) = [one for one in ax.lines if one.get_gid() == f"top: {name}"]
    return line.get_xdata(), line.get_ydata()


def test_areas_are_the_probabilities_on_top_of_each_other(occupation: StateOccupation) -> None:
    ax = phases(occupation)
    assert isinstance(ax, Axes)
    x, below = top(ax, "all, on")
    expected = occupation.tidy().query("state == 'on'")
    np.testing.assert_array_equal(x, [0, *expected["time"]])
    np.testing.assert_allclose(below, [1, *expected["estimate"]])
    np.testing.assert_allclose(top(ax, "all, off")[1], 1)
    assert legend(ax) == ["off", "on"]
    pyplot.close(ax.figure)


def test_who_is_in_each_state_stands_under_its_time(occupation: StateOccupation) -> None:
    ax = phases(occupation, times=[0, 4], labels={"time": "Years", "on": "Running"})
    assert [t.get_text() for t in ax.get_xticklabels()] == ["0", "4"]
    assert ax.get_xlabel() == "Years"
    cells = {gid: [t.get_text() for t in ax.texts if t.get_gid() == gid] for gid in ("n: 0", "n: 1")}
    assert cells == {"n: 0": ["3", "1"], "n: 1": ["0", "2"]}
    assert {"Running", "off"} <= set(texts(ax))
    bare = phases(occupation, at_risk=False)
    assert not bare.texts
    pyplot.close("all")


def test_groups_get_panels_that_end_where_their_follow_up_ends(histories: pd.DataFrame) -> None:
    axes = phases(ist.state_occupation(histories, **ROLES, by="era"), labels={"x": "Early"})
    assert [ax.get_ylabel() for ax in axes] == ["share in each state (Early)", "share in each state (y)"]
    assert [top(ax, f"{group}, on")[0].max() for ax, group in zip(axes, "xy", strict=True)] == [6, 9]
    assert axes[0].get_xlim() == axes[1].get_xlim()
    pyplot.close(axes[0].figure)


def test_many_states_with_long_names_go_by_number_under_the_axis(progress: PhaseProgress) -> None:
    roles = ROLES | {"id": "programme", "state": "state", "start": "start", "stop": "stop", "next_state": "next_state"}
    ax = phases(ist.state_occupation(progress.histories(), **roles))
    assert legend(ax)[-1] == "1 engagement"
    assert legend(ax)[0] == "9 stopped"
    assert {str(k) for k in range(1, 10)} <= set(texts(ax))
    faces = {area.get_facecolor().tobytes() for area in ax.collections}
    assert len(faces) == 9
    pyplot.close(ax.figure)


def bars(ax: Axes, phase: str) -> list[tuple[float, float]]:
    """Return where the bars of a phase begin and how long they are, from the top of the picture down."""
    found = [bar for bar in ax.patches if bar.get_gid() == f"phase: {phase}"]
    return [(bar.get_x(), bar.get_width()) for bar in sorted(found, key=lambda bar: bar.get_y())]


def test_bars_run_from_the_first_to_the_last_activity(progress: PhaseProgress) -> None:
    ax = phases(progress)
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert sorted(names) == sorted(progress.found.programmes)
    for phase in SCHEMES["sic"]:
        table = progress.tidy().query("phase == @phase").set_index("programme").loc[names]
        begun = table[table["first"].notna()]
        drawn = bars(ax, phase)
        np.testing.assert_allclose([x for x, _ in drawn], begun["first"])
        shown = [(width, own) for (_, width), own in zip(drawn, begun["duration"], strict=True)]
        assert all(width == pytest.approx(own) or (own < 0.4 and width < 0.4) for width, own in shown)
    pyplot.close(ax.figure)


def test_open_and_stopped_phases_run_on_to_their_mark(progress: PhaseProgress) -> None:
    ax = phases(progress)
    open_ = progress.tidy().query("status == 'open'")
    stops = progress.programmes()["stop"].dropna()
    for how, ends in (("open", open_["first"] + open_["so_far"]), ("stopped", stops)):
        (marks,) = [line for line in ax.lines if line.get_gid() == f"end: {how}"]
        np.testing.assert_allclose(np.sort(np.asarray(marks.get_xdata())), np.sort(ends))
        assert len(ends)
    assert legend(ax)[-2:] == ["open at the end of the study", "stopped"]
    pyplot.close(ax.figure)


def test_a_stop_between_phases_is_marked_too() -> None:
    days = ["2020-01-01", "2020-01-31", None]
    log = pd.DataFrame({"site": "a", "phase": ["x", "x", "y"], "what": list("klm"), "on": days, "end": "2020-03-01"})
    roles = {"programme": "site", "phase": "phase", "activity": "what", "date": "on", "stopped": "end"}
    ax = phases(ist.phase_progress(log, **roles, scheme=["x", "y"], unit="days"))
    (marks,) = [line for line in ax.lines if line.get_gid() == "end: stopped"]
    assert list(marks.get_xdata()) == [60]
    assert bars(ax, "x") == [(0, 30)]
    pyplot.close(ax.figure)


def test_programmes_stand_by_group_and_by_how_far_they_came(progress: PhaseProgress) -> None:
    ax = phases(progress)
    names = [t.get_text() for t in ax.get_yticklabels()]
    table = progress.programmes().set_index("programme").loc[names]
    assert table["group"].tolist() == ["alone"] * 20 + ["coached"] * 20
    places = [SCHEMES["sic"].index(phase) for phase in table["furthest"]]
    assert places[:20] == sorted(places[:20], reverse=True)
    assert [t.get_text() for t in ax.texts if t.get_gid() == "group"] == ["alone", "coached"]
    some = phases(progress, programmes=["P01", "P21"], labels={"P01": "Rivers", "engagement": "Interest"})
    assert [t.get_text() for t in some.get_yticklabels()] == ["P21", "Rivers"]
    assert legend(some)[0] == "1 Interest"
    pyplot.close("all")


def test_what_cannot_be_drawn_is_refused(occupation: StateOccupation, progress: PhaseProgress) -> None:
    with pytest.raises(
        DataError, match=r"^phases: needs a state occupation or a phase progress, not a DataFrame; draw"
    ):
        phases(progress.tidy())  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"^programmes='P99': no such programme; did you mean 'P39'\?$"):
        phases(progress, programmes=["P99"])
    with pytest.raises(DataError, match=r"^programmes: goes with a phase_progress"):
        phases(occupation, programmes=["a"])
    with pytest.raises(DataError, match=r"^times=10: outside of the follow-up, which runs from 0 to 9$"):
        phases(occupation, times=[0, 10])
    undated = pd.DataFrame({"site": ["a", "a"], "phase": ["x", "y"], "what": ["k", "l"], "done": [1, 0]})
    found = ist.phase_progress(
        undated, programme="site", phase="phase", activity="what", done="done", scheme=["x", "y"]
    )
    with pytest.raises(DataError, match=r"^phases: this phase_progress has no dates"):
        phases(found)
    nothing = undated.assign(on=pd.NaT)
    found = ist.phase_progress(nothing, programme="site", phase="phase", activity="what", date="on", scheme=["x", "y"])
    with pytest.raises(DataError, match=r"^phases: none of these programmes has done anything on a known day"):
        phases(found)
