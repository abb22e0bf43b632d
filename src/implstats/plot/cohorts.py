"""Treatments against a change: each patient's a line in calendar time; and the estimates at true and false dates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from implstats import _check
from implstats.cohorts import CohortAssignment, PlaceboChanges
from implstats.plot import parts, style
from implstats.plot.forest import Line, forest

__all__ = ["cohorts", "placebo"]

LEFT_OUT = style.Look(style.FAINT, (0, (1, 1)), "x")
PER_PATIENT = 0.03
"""Height of a patient's line, in inches, as long as the picture stays between its least and largest height."""
LEAST, LARGEST = 3.2, 7.5
MARKED = 60
"""Most patients whose crossing of the change has a marker; more are a bar."""


def cohorts(
    result: CohortAssignment,
    *,
    ax: Axes | None = None,
    labels: Mapping[Any, str] | None = None,
) -> Axes:
    """When was each patient in treatment, and who straddles the change?

    One line a patient, from the start of treatment to its end, the first to start at the top; colour and line style are
    the cohort's. Where a treatment crosses the change there is a mark, and patients in no cohort are grey. Under the
    rule "exposure", which makes no cohorts, lines change at the change. An arrow head is a treatment without an end.

    Parameters
    ----------
    result : CohortAssignment
        What `assign_cohorts` returned.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a fresh figure, the taller the more patients there are.
    labels : mapping of name to str, optional
        What to write for a cohort, or for the columns of start and end.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DataError
        If the result is no assignment of cohorts, or an argument cannot be.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> found = ist.assign_cohorts(visits, start="admitted", end="ended", change="2010-01-01", straddlers="exclude",
    ...                            patient="patient")
    >>> ax = ist.plot.cohorts(found)
    >>> ax.get_xlabel()
    'treatment, from admitted to ended'
    """
    words = style.label_map(labels)
    if not isinstance(result, CohortAssignment):
        raise style.needs("cohorts", "cohorts by date", result, "draw what assign_cohorts returned")
    table = result.patients().sort_values(["start", "end"], kind="stable").reset_index(drop=True)
    tall = min(max(LEAST, PER_PATIENT * len(table) + 1.3), LARGEST)
    panel = parts.panels(ax, 1, (6.4, tall))[0]
    parts.dress(panel)
    handles, said = _treatments(panel, table, result, words)
    _marks(panel, table, handles, said)
    _change(panel, table)
    panel.set_ylim(len(table) - 0.2, -0.8)
    panel.set_yticks([])
    parts.beside(panel, f"{len(table)} patients, by start")
    _dates(panel, table)
    span = [style.named(words, result.call[k]) for k in ("start", "end") if result.call[k] is not None]
    panel.set_xlabel(style.wrapped("treatment, from " + " to ".join(span), 60), fontsize=style.NORMAL, color=style.INK)
    parts.legend_above(panel, handles, said)
    return panel


def _treatments(
    ax: Axes, table: pd.DataFrame, result: CohortAssignment, words: Mapping[Any, str]
) -> tuple[list[Any], list[str]]:
    """Draw the lines, and return the legend's samples and words."""
    handles, said = [], []
    for name, look, begins, stops, rows in _groups(table, result, words):
        key = Line2D([], [], color=look.colour, linestyle=look.dash, linewidth=1.8)
        if result.treatment.ends_known:
            ends = [[(a, k), (b, k)] for a, b, k in zip(_x(begins), _x(stops), rows, strict=True)]
            lines = LineCollection(ends, colors=look.colour, linestyles=[look.dash], linewidths=_width(ax, len(table)))
            lines.set_gid(f"treatments: {name}")
            ax.add_collection(lines)
        else:
            # Of treatments without ends there is the start alone.
            points: dict[str, Any] = {"color": look.colour, "linestyle": "", "marker": look.marker, "markersize": 4}
            key = Line2D([], [], **points)
            ax.plot(_x(begins), rows, gid=f"treatments: {name}", **points)
        handles.append(key)
        said.append(f"{name} ({len(rows)})")
    return handles, said


def _groups(
    table: pd.DataFrame, result: CohortAssignment, words: Mapping[Any, str]
) -> Iterator[tuple[str, style.Look, pd.Series, pd.Series, list[int]]]:
    """Yield each group of lines: its name and look, where they begin and stop, and in which rows."""
    before, during, straddling = result.names
    looks = style.looks([before, during, straddling])
    # Without ends a treatment is the day of its start.
    start, end = table["start"], table["end"].fillna(table["start"])
    if result.straddlers == "exposure":
        change = table["change_date"]
        for word, name, inside in (
            ("before the change", before, start < change),
            ("after the change", during, (end > change) | (start >= change)),
        ):
            begins, stops = (start, end.clip(upper=change)) if name == before else (start.clip(lower=change), end)
            yield word, looks[name], begins[inside], stops[inside], np.flatnonzero(inside).tolist()
        return
    for name in (before, straddling, during):
        inside = (table["cohort"] == name).to_numpy(bool)
        if inside.any():
            yield style.named(words, name), looks[name], start[inside], end[inside], np.flatnonzero(inside).tolist()
    if (out := table["cohort"].isna().to_numpy(bool)).any():
        yield "in no cohort", LEFT_OUT, start[out], end[out], np.flatnonzero(out).tolist()


def _x(days: Any) -> Any:
    """Return days as matplotlib counts them."""
    return date2num(days)  # type: ignore[no-untyped-call]


def _width(ax: Axes, count: int) -> float:
    figure = ax.get_figure(root=True)
    assert figure is not None
    tall = ax.get_position().height * figure.get_size_inches()[1] * 72
    return float(np.clip(0.7 * tall / count, 0.5, 3.0))


def _marks(ax: Axes, table: pd.DataFrame, handles: list[Any], said: list[str]) -> None:
    """Mark treatments that cross the change, and those without an end."""
    across = table[table["treatment"] == "across"]
    size = 3.5 if len(across) <= MARKED else 2.0
    marks = {
        "in treatment on both sides": (across["change_date"], "o"),
        "no end known": (table["end"][table["running"]], ">"),
    }
    for word, (days, marker) in marks.items():
        if len(days):
            look: dict[str, Any] = {"color": style.INK, "marker": marker, "linestyle": "", "markerfacecolor": "white"}
            ax.plot(_x(days), days.index, markersize=size, markeredgewidth=0.7, zorder=4, gid=word, **look)
            handles.append(Line2D([], [], markersize=5, markeredgewidth=0.7, **look))
            said.append(f"{word} ({len(days)})")


def _change(ax: Axes, table: pd.DataFrame) -> None:
    """Draw the day of the change, if it is one for all."""
    first, last = table["change_date"].min(), table["change_date"].max()
    if first < last:
        return
    ax.axvline(_x(first), color=style.INK, linewidth=1.0, zorder=3, gid="change")
    ax.annotate(
        f"change: {first:%Y-%m-%d}",
        (_x(first), 1.0),
        xycoords=ax.get_xaxis_transform(),
        xytext=(5, -2),
        textcoords="offset points",
        fontsize=style.SMALL,
        color=style.INK,
        ha="left",
        va="top",
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85},
        gid="change",
    )


def _dates(ax: Axes, table: pd.DataFrame) -> None:
    days = _x(pd.concat([table["start"], table["end"].dropna(), table["change_date"]]))
    pad = 0.03 * (days.max() - days.min()) or 1.0
    ax.set_xlim(days.min() - pad, days.max() + pad)
    where = AutoDateLocator(minticks=3, maxticks=8)  # type: ignore[no-untyped-call]
    ax.xaxis.set_major_locator(where)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(where))  # type: ignore[no-untyped-call]


def placebo(
    result: PlaceboChanges,
    *,
    ax: Axes | None = None,
    level: float | None = None,
    quantity: str | None = None,
    labels: Mapping[Any, str] | None = None,
) -> Axes:
    """Does the comparison show as much at dates on which nothing changed?

    One line a date with its interval: the true change (square), then the false ones (circles), with the patients after
    and before each. A date at which nothing could be fitted says so.

    Parameters
    ----------
    result : PlaceboChanges
        What `placebo_changes` returned.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a fresh figure, as tall as its lines need. Words stand left and right of the axes, so
        give your figure `layout="constrained"`.
    level : float, optional
        Level of the intervals; by default the result's.
    quantity : {"change", "level", "slope"}, optional
        What is drawn; by default "change", of an interruption "level".
    labels : mapping of name to str, optional
        What to write for the outcome, with its unit, and for the time column.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DataError
        If the result is not of false dates, or an argument cannot be.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> found = ist.placebo_changes(
    ...     visits, start="admitted", end="ended", change="2010-01-01", false_changes=["2006-01-01"],
    ...     straddlers="by_start", outcome="bsi", time="month", patient="patient", at=36,
    ... )
    >>> ax = ist.plot.placebo(found)
    >>> [text.get_text() for text in ax.texts if text.get_gid() == "row"]
    ['2010-01-01, the change', '2006-01-01']
    """
    words = style.label_map(labels)
    if not isinstance(result, PlaceboChanges):
        raise style.needs("placebo", "estimates at false dates", result, "draw what placebo_changes returned")
    asked = result.level if level is None else level
    table, time = result.tidy(level=asked), style.named(words, result.call["time"])
    known = list(dict.fromkeys(table["quantity"]))
    what = known[0] if quantity is None else _check.one_of("quantity", quantity, known)
    lines = []
    for _, part in table[table["quantity"] == what].groupby("time", sort=False, dropna=False):
        rows = part.to_dict("records")
        if what == "change":
            lines.append(Line(style.wrapped(f"change at {time} {style.tick(rows[0]['time'])}", 44), "outcome"))
        lines += [_date_line(row) for row in rows]
    heads = (f"estimate [{100 * asked:g} % interval]", "n after, before")
    panel = forest(ax, lines, heads, 6.8, ("number", "n"))
    outcome = style.named(words, result.call["outcome"])
    axes = {
        "change": f"change of {outcome} after minus before the date",
        "level": f"level of {outcome} from the date on",
    }
    axis = axes.get(what, f"slope of {outcome} since the date, per unit of {time}")
    panel.xaxis.set_major_locator(MaxNLocator(5))
    panel.set_xlabel(style.wrapped(axis, 60), fontsize=style.NORMAL, color=style.INK, labelpad=4)
    return panel


def _date_line(row: Mapping[Any, Any]) -> Line:
    look = style.Look(style.COLOURS[0], "-", "o") if row["placebo"] else style.Look(style.COLOURS[1], "-", "s")
    text = row["change_date"] + ("" if row["placebo"] else ", the change")
    counts = f"{row['n']}, {row['n_reference']}"
    if row["error"]:
        return Line(text, "note", columns=("no estimate", counts), depth=1)
    ends = row["estimate"], row["conf_low"], row["conf_high"]
    columns = (style.with_interval(*ends), counts)
    return Line(text, "estimate", *ends, look, columns, 1, f"{row['quantity']}: {row['change_date']}")
