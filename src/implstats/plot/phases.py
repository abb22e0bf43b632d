"""Phases of implementation: the share of programmes in each state over time, or one line for every programme."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from implstats import _check
from implstats.errors import DataError
from implstats.phases import PhaseProgress, StateOccupation
from implstats.phases.schemes import NOT_BEGUN, STOPPED
from implstats.plot import parts, style
from implstats.plot.incidence import HATCHES

__all__ = ["phases"]

# The share of a programme's line that each phase fills, and over which the phases' middles are spread.
THICK, SPREAD = 0.3, 0.56
# Names of so many letters stand beside rows of numbers.
SHORT = 14
ENDS = {"open": ">", "stopped": "x"}
GOING = (0, (1.2, 1.2))


def phases(
    result: StateOccupation | PhaseProgress,
    *,
    ax: Axes | Sequence[Axes] | None = None,
    at_risk: bool = True,
    times: Any = None,
    programmes: Sequence[Any] | None = None,
    labels: Mapping[Any, str] | None = None,
) -> Axes | NDArray[Any]:
    """What share of programmes is in each state over time; or how did each single programme go through its phases?

    Of a `state_occupation`, a panel for every group: the probabilities of all states on top of each other, and under
    them how many are in each. Of a `phase_progress`, a line for every programme, by group and by how far it came: each
    phase from its first to its last activity, later phases further down within the line, so that overlaps can be seen.

    Parameters
    ----------
    result : StateOccupation or PhaseProgress
        What `state_occupation` or `phase_progress` (with dates) returned.
    ax : matplotlib.axes.Axes, or a list of them, optional
        Where to draw, one for every panel; by default a fresh figure. Numbers stand outside the axes, so give your
        figure `layout="constrained"`.
    at_risk : bool
        Whether to write, under some times, how many are in each state and under observation (of a state_occupation).
    times : list of numbers, optional
        Times that get a tick and numbers at risk; by default some five round ones.
    programmes : list, optional
        The programmes to draw (of a phase_progress); by default all.
    labels : mapping of name to str, optional
        What to write for a state, phase, group or programme, or for "time", the axis below: {"stopped": "Given up"}.

    Returns
    -------
    matplotlib.axes.Axes
        An array of them where there are several panels.

    Raises
    ------
    DataError
        If the result is none of these, has no dates, or an argument cannot be.

    Notes
    -----
    Stacked areas have no bands: intervals are in `at(times)`. They end where the group's follow-up ends.

    Examples
    --------
    >>> import pandas as pd
    >>> import implstats as ist
    >>> history = pd.DataFrame(
    ...     {
    ...         "programme": ["a", "b", "b", "c", "c", "d"],
    ...         "state": ["active", "active", "stopped", "active", "stopped", "active"],
    ...         "from": [0, 0, 2, 0, 3, 0],
    ...         "to": [6, 2, 6, 3, 6, 5],
    ...         "then": [None, "stopped", None, "stopped", None, None],
    ...     }
    ... )
    >>> found = ist.state_occupation(history, id="programme", state="state", start="from", stop="to", next_state="then")
    >>> ax = ist.plot.phases(found, labels={"time": "Years since the first start"})
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('Years since the first start', 'share in each state')
    """
    words = style.label_map(labels)
    _check.flag("at_risk", at_risk)
    if isinstance(result, StateOccupation):
        if programmes is not None:
            raise DataError("programmes: goes with a phase_progress; a state_occupation shows shares of all of them")
        return _occupation(result, ax, at_risk, times, words)
    if not isinstance(result, PhaseProgress):
        remedy = "draw what state_occupation or phase_progress returned"
        raise style.needs("phases", "a state occupation or a phase progress", result, remedy)
    return _progress(result, ax, times, programmes, words)


def _colours(states: Sequence[Any]) -> dict[Any, Any]:
    """Return a colour for every state; many of them from dark to light in their order, those outside of it in grey."""
    if len(states) <= len(style.COLOURS):
        return dict(zip(states, style.COLOURS, strict=False))
    outside = {state: style.FAINT for state in states if state in (STOPPED, NOT_BEGUN)}
    inside = [state for state in states if state not in outside]
    return outside | {
        state: colormaps["cividis"](x) for state, x in zip(inside, np.linspace(0, 1, len(inside)), strict=True)
    }


def _names(states: Sequence[Any], words: Mapping[Any, str]) -> tuple[dict[Any, str], dict[Any, str]]:
    """Return what states are called in the legend and in the rows under the axis: numbers there, if names are long."""
    names = {state: style.named(words, state) for state in states}
    if all(len(name) <= SHORT for name in names.values()):
        return names, names
    numbers = {state: str(k + 1) for k, state in enumerate(states)}
    return {state: f"{numbers[state]} {name}" for state, name in names.items()}, numbers


# States over time ----------------------------------------------------------------------------------------------------


def _occupation(
    result: StateOccupation, ax: Any, at_risk: bool, times: Any, words: Mapping[Any, str]
) -> Axes | NDArray[Any]:
    """Draw a panel for every group."""
    groups, states = result.groups, result.states
    names, short = _names(states, words)
    tall = 3.7 + 0.15 * len(states) * at_risk + 0.2 * len(states) * (names is not short)
    axes = parts.panels(ax, len(groups), (5.9 if len(groups) == 1 else 4.9, tall), what="group")
    last = max(float(e.time[-1]) for e in result.estimates)
    ticks = style.asked_times(times, last)
    colours = _colours(states)
    for k, (panel, group) in enumerate(zip(axes, groups, strict=True)):
        parts.dress(panel)
        panel.set_ylim(0, 1)
        panel.set_xlim(-0.02 * last, 1.02 * last)
        keys = _areas(panel, result, k, colours)
        over = words.get("time", f"time ({result.call['start']} to {result.call['stop']})")
        if at_risk:
            _under(panel, result, group, ticks, {s: style.Look(c, "-", "") for s, c in colours.items()}, short, over)
        else:
            panel.set_xticks(ticks, [style.tick(t) for t in ticks])
            parts.under_the_axis(panel, over)
        whose = f" ({style.named(words, group)})" if len(groups) > 1 else ""
        parts.beside(panel, f"share in each state{whose}")
        parts.legend_above(panel, keys[::-1], [names[s] for s in states][::-1])
    return axes[0] if len(axes) == 1 else parts.array_of(axes)


def _areas(ax: Axes, result: StateOccupation, k: int, colours: Mapping[Any, Any]) -> list[Any]:
    """Stack the probabilities of a group's states, the first one lowest; return the legend's samples."""
    own, group = result.estimates[k], result.groups[k]
    time = np.append(0.0, own.time)
    share = np.vstack([own.initial, own.probability])
    top = np.cumsum(share, axis=1)
    keys = []
    for s, state in enumerate(result.states):
        look: dict[str, Any] = {"facecolor": (colours[state], 0.55), "hatch": HATCHES[s % len(HATCHES)]}
        look |= {"edgecolor": style.INK, "linewidth": 0.0}
        ax.fill_between(time, top[:, s] - share[:, s], top[:, s], step="post", gid=f"area: {group}, {state}", **look)
        ax.step(time, top[:, s], where="post", color=style.INK, linewidth=0.8, gid=f"top: {group}, {state}")
        keys.append(Patch(**look))
    return keys


def _under(
    ax: Axes,
    result: StateOccupation,
    group: Any,
    times: list[float],
    looks: Mapping[Any, style.Look],
    names: Mapping[Any, str],
    over: str,
) -> None:
    """Set the time axis, with who is in which state under it."""
    table = result.at_risk(times)
    rows = table[table["group"] == group].groupby("state", sort=False, observed=True)
    counts = {state: own.set_index("time")["at_risk"].to_dict() for state, own in rows}
    ticks = parts.thinned(times, ax, *ax.get_xlim(), counts)
    ax.set_xticks(ticks, [style.tick(t) for t in ticks])
    parts.counts_under(ax, ticks, counts, names, looks, "in each state and under observation", over)


# Programme by programme ----------------------------------------------------------------------------------------------


def _progress(
    result: PhaseProgress, ax: Any, times: Any, programmes: Sequence[Any] | None, words: Mapping[Any, str]
) -> Axes:
    """Draw a line for every programme."""
    if not result.found.dated:
        raise DataError("phases: this phase_progress has no dates, so there is nothing to draw over time; give date=")
    order = _in_order(result, programmes)
    rows = _places(order)
    (panel,) = parts.panels(ax, 1, (7.6, 1.4 + 0.2 * len(result.phases) + 0.19 * (max(rows.values()) + 1)))
    parts.dress(panel)
    table = _with_ends(result.tidy(), order)
    last = float(np.nanmax(table[["last", "end"]]))
    colours = _colours(result.phases)
    _bars(panel, table, rows, colours, last)
    _write_rows(panel, order, rows, words)
    ticks = style.asked_times(times, last)
    panel.set_xticks(ticks, [style.tick(t) for t in ticks])
    panel.set_xlim(-0.01 * last, 1.03 * last)
    since = "its first activity" if result.call["start"] is None else result.call["start"]
    over = words.get("time", f"{result.unit} since {since}")
    parts.under_the_axis(panel, over)
    keys: list[Any] = [Patch(facecolor=colours[phase], linewidth=0) for phase in result.phases]
    keys += [
        Line2D([], [], color=style.INK, marker=m, markersize=4, linestyle=GOING, linewidth=1.1) for m in ENDS.values()
    ]
    names = [f"{k + 1} {style.named(words, phase)}" for k, phase in enumerate(result.phases)]
    parts.legend_above(panel, keys, [*names, "open at the end of the study", "stopped"])
    return panel


def _with_ends(table: pd.DataFrame, order: pd.DataFrame) -> pd.DataFrame:
    """Return the phases to draw, with how and when the furthest ended: left open, or by the programme's stop."""
    stop, furthest = (order.set_index("programme")[column] for column in ("stop", "furthest"))
    table = table[table["programme"].isin(order["programme"]) & table["first"].notna()]
    stopped = table["programme"].map(stop).where(table["phase"] == table["programme"].map(furthest))
    ended = np.where(stopped.notna(), "stopped", np.where(table["status"] == "open", "open", ""))
    end = stopped.fillna((table["first"] + table["so_far"]).where(ended == "open"))
    return table.assign(ended=ended, end=end)


def _bars(ax: Axes, table: pd.DataFrame, rows: Mapping[Any, float], colours: Mapping[Any, Any], last: float) -> None:
    """Draw every phase from its first to its last activity, and on to how it ended."""
    shift = dict(zip(colours, np.linspace(-SPREAD / 2, SPREAD / 2, len(colours)), strict=True))
    y = table["programme"].map(rows).astype(float) + table["phase"].map(shift).astype(float)
    table = table.assign(y=y)
    for phase, own in table.groupby("phase", sort=False, observed=True):
        going = own[own["end"].notna()]
        ax.hlines(going["y"], going["last"], going["end"], color=colours[phase], linewidth=1.1, linestyles=GOING)
        # A phase of one day is drawn as wide as can be seen.
        width = np.maximum(own["duration"], last / 250)
        ax.barh(own["y"], width, THICK, left=own["first"], color=colours[phase], linewidth=0, gid=f"phase: {phase}")
    for how, marker in ENDS.items():
        own = table[table["ended"] == how]
        ax.plot(own["end"], own["y"], marker, color=style.INK, markersize=4, linestyle="", gid=f"end: {how}")


def _in_order(result: PhaseProgress, programmes: Sequence[Any] | None) -> pd.DataFrame:
    """Return the programmes by group, by how far they came, and by how long that took."""
    table = result.programmes().assign(place=result.furthest)
    if programmes is not None:
        faults, known = _check.Faults(), result.found.programmes
        for name in programmes:
            if name not in known:
                faults.add("programmes", name, f"no such programme{_check.nearest(name, known)}")
        faults.settle()
        table = table[table["programme"].isin(list(programmes))]
    table = table[table["first"].notna()]
    if not len(table):
        raise DataError(
            "phases: none of these programmes has done anything on a known day, so there is nothing to draw"
        )
    groups = list(result.groups)
    table = table.assign(of=[groups.index(g) for g in table["group"]])
    return table.sort_values(["of", "place", "duration"], ascending=[True, False, True], kind="stable")


def _places(order: pd.DataFrame) -> dict[Any, float]:
    """Return the line of every programme from the top; a line is left free over every group where there are several."""
    several = len(set(order["group"])) > 1
    line, rows = 0, {}
    for _, own in order.groupby("of"):
        line += several
        for name in own["programme"]:
            rows[name] = float(line)
            line += 1
    return rows


def _write_rows(ax: Axes, order: pd.DataFrame, rows: Mapping[Any, float], words: Mapping[Any, str]) -> None:
    """Write every programme beside its line, and its group over the group's first one."""
    lines = list(rows.values())
    ax.set_ylim(max(lines) + 0.7, -0.7)
    ax.set_yticks(lines, [style.wrapped(style.named(words, name), 24) for name in rows])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    for line in lines:
        ax.axhline(line + 0.5, color=style.FAINT, linewidth=0.3, zorder=0)
    if len(set(order["group"])) > 1:
        for group, own in order.groupby("group", sort=False, observed=True):
            line = rows[own["programme"].iloc[0]] - 1
            text = style.wrapped(style.named(words, group), 60)
            ax.text(0.0, line, text, fontsize=style.SMALL, fontweight="bold", color=style.INK, va="center", gid="group")
