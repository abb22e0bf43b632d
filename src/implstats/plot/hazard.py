"""Hazard over time: in which years the risk is highest, as counted in each stretch of time, or as a model has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from implstats import _check
from implstats.errors import DataError
from implstats.plot import parts, style
from implstats.survival import DiscreteHazardResult, ParametricResult, SurvivalCurves
from implstats.survival.times import at_risk as rows_at_risk
from implstats.tables import is_few

__all__ = ["hazard"]

GRID = 200
BEYOND = 2.0
"""An interval that reaches higher than so many times the highest estimate is cut, with an arrow head."""
EACH = 0.66
"""Width of the numbers under a stretch of time, in inches."""
WIDEST = 9.5
ROOM = 1.1
"""Share of the axes' width before they are laid out that numbers may take."""
UNITS = ("day", "week", "month", "quarter", "year")
AVERAGE = "mean of the rows"


def hazard(
    result: SurvivalCurves | DiscreteHazardResult | ParametricResult,
    *,
    ax: Axes | None = None,
    profile: Any = None,
    times: Any = None,
    at_risk: bool = True,
    level: float | None = None,
    per: str | None = None,
    labels: Mapping[Any, str] | None = None,
    min_count: int = 1,
) -> Axes:
    """When is the risk highest: in which years do programmes stop, among those that still run?

    Of survival curves, the events per time at risk of every group and stretch of time; of a discrete model, the chance
    of the event in each period; of a parametric model, its hazard as a line with a band. Groups and profiles differ in
    colour, line style and marker.

    Parameters
    ----------
    result : SurvivalCurves, DiscreteHazardResult or ParametricResult
        What `survival_curves`, `fit_discrete_hazard` or `fit_parametric` returned.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a fresh figure. Numbers stand outside the axes, so give your figure
        `layout="constrained"`.
    profile : mapping of column to value, or DataFrame, optional
        Of a model: whose hazard, a line for every row; by default the mean of the rows. Curves have groups instead.
    times : list of numbers, optional
        Of curves, the ends of the stretches, by default whole units of time (see `SurvivalCurves.rates`); of a discrete
        model, the periods, by default all; of a parametric one, where its line begins and ends, by default from the
        first event to the last time seen.
    at_risk : bool
        Whether to write under the axis what the hazards rest on: events and time at risk in each stretch; events and
        rows at risk in each period; rows at risk.
    level : float, optional
        Level of the intervals; by default that of the curves, or 0.95.
    per : str, optional
        What a unit of time at risk is called: "programme-year". By default from the columns of the duration and, where
        there is one, of the id.
    labels : mapping of name to str, optional
        What to write for a column, a group or a value: {"years": "Years since the start", "discontinued": "stopped"}.
    min_count : int
        Where events or rows at risk are fewer than this, "<5" (if it is 5) stands in place of what hazards rest on; by
        default all numbers are told.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DataError
        If the result is neither curves nor a model of the hazard, or an argument cannot be.

    Notes
    -----
    Intervals are for one stretch, period or time by itself: of many peaks some are chance. Those that reach beyond
    twice the highest estimate are cut, with an arrow head. Where nobody was at risk there is no point; where a free
    baseline saw nobody or everybody have the event there is no interval.

    Examples
    --------
    >>> import implstats as ist
    >>> programmes = ist.load_example("programmes")
    >>> curves = ist.survival_curves(programmes, duration="years", event="discontinued", by="era")
    >>> ax = ist.plot.hazard(curves, times=range(8), per="programme-year", labels={"discontinued": "stopped"})
    >>> ax.get_ylabel(), [label.get_text() for label in ax.get_xticklabels()][:3]
    ('stopped per programme-year', ['0–1', '1–2', '2–3'])
    """
    words = style.label_map(labels)
    _check.flag("at_risk", at_risk)
    least = _check.whole("min_count", min_count, least=1)
    wide = _check.level(getattr(result, "level", 0.95) if level is None else level)
    if per is not None and not isinstance(per, str):
        raise DataError(f"per={_check.show(per)}: not a text; write per='programme-year'")
    if isinstance(result, SurvivalCurves):
        if profile is not None:
            raise DataError(f"profile={_check.show(profile)}: curves have groups; say by= in survival_curves")
        course = _of_curves(result, times, wide, per, words, least)
    elif isinstance(result, DiscreteHazardResult):
        course = _of_periods(result, profile, times, wide, per, words, least)
    elif isinstance(result, ParametricResult):
        course = _of_times(result, profile, times, wide, per, words, least)
    else:
        remedy = "draw what survival_curves, fit_discrete_hazard or fit_parametric returned"
        raise style.needs("hazard", "survival curves, or a discrete or parametric model", result, remedy)
    wide_enough = min(max(5.6, EACH * len(course.ticks) + 1.5), WIDEST)
    (panel,) = parts.panels(ax, 1, (wide_enough, 3.7 + 0.15 * len(course.counts) * at_risk))
    parts.dress(panel)
    cut = _draw(panel, course)
    parts.beside(panel, course.label)
    _under(panel, course, style.named(words, result.spells.duration), at_risk=at_risk)
    _legend(panel, course, wide, cut=cut)
    return panel


@dataclass(frozen=True)
class _Course:
    """What is drawn.

    Attributes
    ----------
    table : line, time, estimate, conf_low, conf_high.
    names : line -> what it is called.
    ticks : time -> what is written there.
    head, counts, rows : what is counted under the axis; row -> time -> what is written; row -> what it is called.
    label : of the y axis.
    width : of a stretch or period; 0 where the hazard is a line.
    """

    table: pd.DataFrame
    names: Mapping[Any, str]
    ticks: Mapping[float, str]
    head: str
    counts: Mapping[Any, Mapping[float, Any]]
    rows: Mapping[Any, str]
    label: str
    width: float = 0.0


def _of_curves(
    curves: SurvivalCurves, breaks: Any, level: float, per: str | None, words: Mapping[Any, str], least: int
) -> _Course:
    table = curves.rates(None if breaks is None else _ends(breaks), level=level)
    table = table.assign(line=table["group"], time=(table["start"] + table["end"]) / 2)
    names = style.group_names(curves, words, table["line"].drop_duplicates())
    pairs = table.drop_duplicates("time")[["time", "start", "end"]].itertuples(index=False)
    table["cell"] = [
        _rests_on(events, exposure, least) if exposure else "–"
        for events, exposure in zip(table["events"].tolist(), table["exposure"].tolist(), strict=True)
    ]
    return _Course(
        table,
        names,
        {float(t): f"{style.tick(a)}–{style.tick(b)}" for t, a, b in pairs},
        f"events / {_exposure(curves, per)}{', sums of weights' if curves.spells.weighted else ''}",
        {name: dict(zip(rows["time"], rows["cell"], strict=True)) for name, rows in table.groupby("line", sort=False)},
        names,
        f"{style.named(words, curves.event)} per {_risk(curves, per)}",
        float((table["end"] - table["start"]).min()),
    )


def _of_periods(
    model: DiscreteHazardResult,
    profile: Any,
    times: Any,
    level: float,
    per: str | None,
    words: Mapping[Any, str],
    least: int,
) -> _Course:
    table, names = _lines(model, model.hazard(profile, times, level=level), words)
    shown = table["time"].unique().tolist()
    seen = model.at_risk().set_index("time").loc[shown]
    cells = [
        parts.few(n, least) if is_few(n, least) else _rests_on(events, n, least)
        for events, n in zip(seen["events"], seen["at_risk"], strict=True)
    ]
    weights = ", sums of weights" if model.spells.weighted else ""
    event = style.named(words, model.spells.event_name)
    return _Course(
        table,
        names,
        {float(t): style.tick(t) for t in shown},
        f"events / at risk{', all rows' if len(names) > 1 else ''}{weights}",
        {"": dict(zip(shown, cells, strict=True))},
        {"": ""},
        f"share of those at risk with the event ({event}) in each {per or _unit(model)}",
        1.0,
    )


def _of_times(
    model: ParametricResult,
    profile: Any,
    times: Any,
    level: float,
    per: str | None,
    words: Mapping[Any, str],
    least: int,
) -> _Course:
    found = model.spells
    high = float(found.exit.max())
    low = min(float(found.exit[found.event > 0].min()), high / 2)
    if times is not None:
        low, *_, high = _ends(times)
    table, names = _lines(model, model.hazard(profile, np.linspace(low, high, GRID), level=level), words)
    ticks = style.round_times(0.0 if times is None else low, high)
    at_risk = rows_at_risk(found, 0, np.array(ticks))
    counts = {t: parts.few(n, least) if is_few(n, least) else _few(n) for t, n in zip(ticks, at_risk, strict=True)}
    # Who stopped between two visits counts as at risk until the later one, and two columns name neither time nor event.
    visits = model.call["lower"] is not None
    most, event = (" at the most", "events") if visits else ("", style.named(words, found.event_name))
    return _Course(
        table,
        names,
        {t: style.tick(t) for t in ticks},
        f"at risk{most}{', all rows' if len(names) > 1 else ''}{', sum of weights' if found.weighted else ''}",
        {"": counts},
        {"": ""},
        f"hazard: {event} per {per or 'unit of time at risk' if visits else _risk(model, per)}",
    )


def _ends(times: Any) -> list[float]:
    """Return times between which a hazard is drawn; one of them bounds nothing."""
    given = _check.at(times, "times")
    if len(given) < 2:
        raise DataError(
            f"times={_check.show(given[0])}: one time is neither a stretch nor a line; write times=[0, 1, 2]"
        )
    return given


def _lines(model: Any, table: pd.DataFrame, words: Mapping[Any, str]) -> tuple[pd.DataFrame, dict[int, str]]:
    """Return a model's table with the number of each profile's line, and what it is called."""
    columns = list(table.columns[: table.columns.get_loc("time")])
    table = table.assign(line=np.arange(len(table)) // table["time"].nunique())
    first = table.drop_duplicates("line").set_index("line")[columns]
    if len(first) > 1:
        columns = [c for c in columns if len(set(first[c].astype(str))) > 1]
    names = {}
    for line in first.index:
        said = [f"{style.named(words, c)} {_value(words, first.loc[line, c])}" for c in columns]
        names[int(line)] = ", ".join(said) or (AVERAGE if model.spells.names else "")
    return table, names


def _value(words: Mapping[Any, str], value: Any) -> str:
    return words.get(value, style.tick(value) if isinstance(value, float) else str(value))


def _rests_on(events: float, over: float, least: int) -> str:
    """Write events and what they are counted over; few events would be told by the hazard times what it rests on."""
    return str(parts.few(events, least)) if is_few(events, least) else f"{_few(events)}/{_few(over)}"


def _few(value: float) -> str:
    """Write a number of rows or a time at risk in few letters."""
    return f"{value:.0f}" if value >= 10 or value == round(value) else f"{value:.1f}"


def _unit(result: Any) -> str:
    """Return what the duration counts: "year", "unit of duration"."""
    name = str(result.spells.duration)
    return next((u for u in UNITS if name.lower() in (u, f"{u}s")), f"unit of {name}")


def _risk(result: Any, per: str | None) -> str:
    """Return what a unit of time at risk is called: "programme-year", "year at risk"."""
    who = result.call.get("id")
    return per or (f"{_unit(result)} at risk" if who is None else f"{who}-{_unit(result)}")


def _exposure(result: Any, per: str | None) -> str:
    """Return what time at risk is counted in: "programme-years", "years at risk"."""
    if per is not None:
        return f"{per}s"
    return f"{_unit(result)}s at risk" if _unit(result) in UNITS else "time at risk"


def _draw(ax: Axes, course: _Course) -> bool:
    """Draw every line with its intervals; say whether any was cut."""
    table = course.table
    highest = float(table["estimate"].max())
    top = float(table[["estimate", "conf_high"]].max().max())
    top = min(top, BEYOND * highest) if highest > 0 else top
    looks, cut = style.looks(course.names), False
    for k, (line, look) in enumerate(looks.items()):
        rows = table[table["line"] == line]
        if not course.width:
            # What lies far beyond the axis is not drawn: a hazard may be infinite at the start.
            low, high = (rows[c].clip(upper=2 * top) for c in ("conf_low", "conf_high"))
            parts.band(ax, rows["time"], low, high, look, str(line))
            style_of: dict[str, Any] = {"color": look.colour, "linestyle": look.dash, "linewidth": 1.8}
            ax.plot(rows["time"], rows["estimate"], gid=f"hazard: {line}", **style_of)
            continue
        # Intervals of the same stretch stand beside each other, not on each other.
        beside = (k - (len(looks) - 1) / 2) * min(0.16, 0.6 / len(looks)) * course.width
        cut |= _points(ax, rows, look, beside, top, str(line))
    pad = 0.5 * course.width or 0.02 * float(np.ptp(table["time"]))
    first, last = (pick([*table["time"], *course.ticks]) for pick in (min, max))
    ax.set_xlim(first - pad, last + pad)
    ax.set_ylim(-0.025 * top, 1.04 * top)
    return cut


def _points(ax: Axes, rows: pd.DataFrame, look: style.Look, beside: float, top: float, name: str) -> bool:
    """Draw the estimates of stretches with their intervals; say whether any was cut."""
    x = rows["time"].to_numpy(float) + beside
    high = rows["conf_high"].to_numpy(float)
    parts.joined(ax, x, rows["estimate"], rows["conf_low"], np.minimum(high, top), look, name, "hazard")
    beyond = high > top
    arrows: dict[str, Any] = {"color": look.colour, "marker": "^", "markersize": 5, "linestyle": "", "clip_on": False}
    ax.plot(x[beyond], np.full(beyond.sum(), top), gid=f"cut: {name}", **arrows)
    return bool(beyond.any())


def _under(ax: Axes, course: _Course, label: str, *, at_risk: bool) -> None:
    """Set the time axis, with what the hazards rest on under it."""
    ticks = parts.thinned(list(course.ticks), ax, *ax.get_xlim(), {"": course.ticks}, room=ROOM)
    ax.set_xticks(ticks, [course.ticks[t] for t in ticks])
    if not at_risk:
        parts.under_the_axis(ax, label)
        return
    plain = {name: replace(look, marker="") for name, look in style.looks(course.counts).items()}
    counted = parts.thinned(ticks, ax, *ax.get_xlim(), course.counts, room=ROOM)
    parts.counts_under(ax, counted, course.counts, course.rows, plain, course.head, label)


def _legend(ax: Axes, course: _Course, level: float, *, cut: bool) -> None:
    looks = style.looks(course.names)
    key = parts.key if course.width else parts.line_key
    words = [name for name in course.names.values() if name]
    handles: list[Any] = [key(look) for look in looks.values()][: len(words)]
    handles.append(parts.bar_key() if course.width else parts.band_key())
    words.append(f"{100 * level:g} % interval")
    if cut:
        handles.append(Line2D([], [], color=style.FAINT, linestyle="", marker="^", markersize=6))
        words.append("goes on beyond the axis")
    parts.legend_above(ax, handles, words)
