"""How far an answer rests on assumptions, and on whom: natural change assumed, sites left out one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from implstats import _check
from implstats.errors import DataError
from implstats.plot import parts, style
from implstats.plot.forest import Line, direction, forest
from implstats.sensitivity import LeaveOneOut, NaturalChange

__all__ = ["leave_one_out", "natural_change"]

POINTS = 201
FARTHEST = 20
"""Levels that have a line of their own: those without which the answer moves most."""
HATCH = "////"
WIDEST = (-100.0, 200.0)
"""Shares, in per cent, beyond which the picture does not go."""


def natural_change(
    result: NaturalChange,
    *,
    ax: Axes | Sequence[Axes] | None = None,
    at: float | None = None,
    level: float | None = None,
    labels: Mapping[Any, str] | None = None,
) -> NDArray[Any]:
    """How much of the treatment's effect was retained, whatever part of the improvement would have come by itself?

    A panel for each outcome: the share retained over the natural change that is assumed in both cohorts, with its
    confidence set as a band. Hatched to the edge is what a set holds that has no bound there. Grey is where the
    reference improved no more than untreated patients would have: no share is drawn. Triangles at the foot: filled,
    from here on "nothing was kept" is not excluded; hollow, from here on no bounded share can be named.

    Parameters
    ----------
    result : NaturalChange
        What `natural_change` returned; the line runs from its smallest to its largest natural change.
    ax : matplotlib.axes.Axes, or sequence of them, optional
        Where to draw, one per outcome; by default a fresh figure.
    at : time, optional
        One of the result's times; by default the last.
    level : float, optional
        Level of the sets; by default the result's.
    labels : mapping of name to str, optional
        What to write for an outcome, a cohort or the time column.

    Returns
    -------
    numpy.ndarray
        One Axes an outcome.

    Raises
    ------
    DataError
        If there is no result of natural change, or an argument cannot be.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> growth = ist.fit_growth(visits, outcome="bsi", time="month", patient="patient", cohort="cohort",
    ...                         reference="before", better="lower")
    >>> (ax,) = ist.plot.natural_change(ist.natural_change(growth, over=[0, 0.6]))
    >>> ' '.join(ax.get_ylabel().split())
    'bsi, month 36: improvement retained (% of that of before)'
    """
    words = style.label_map(labels)
    if not isinstance(result, NaturalChange):
        raise style.needs("natural_change", "a result of natural change", result, "draw what natural_change returned")
    if len(result.over) < 2:
        raise DataError("natural_change: one natural change is no course; say natural_change(over=[0, 0.3, 0.6])")
    when = result.times[-1] if at is None else _check.one_of("at", float(_check.number("at", at)), result.times)
    shown = result.level if level is None else level
    values = np.unique(np.concatenate([np.linspace(min(result.over), max(result.over), POINTS), result.over]))
    table = result.tidy(level=level, over=values).query("time == @when")
    turns = result.turning_points(level=level).query("time == @when")
    looks = style.looks(result.cohorts)
    axes = parts.panels(ax, len(result.fits), (5.2, 4.0), what="outcome")
    for panel, name in zip(axes, result.fits, strict=True):
        parts.dress(panel)
        of_outcome = table[table["outcome"] == name]
        low, high = _reach(of_outcome)
        for cohort, rows in of_outcome.groupby("cohort", sort=False):
            _course(panel, rows, looks[cohort], low, high)
        _lines(panel, values, low, high)
        _turns(panel, turns[turns["outcome"] == name], looks)
        unit = style.named(words, name) if result.unit == "outcome" else "SDs"
        source = f"; {result.source}" if result.source else ""
        panel.set_xlabel(
            style.wrapped(f"natural change assumed in both cohorts ({unit}{source})", 58),
            fontsize=style.NORMAL,
            color=style.INK,
        )
        when_said = style.at_time(next(iter(result.fits.values())), words, when)
        of = style.named(words, result.cohorts[0])
        parts.beside(panel, f"{style.named(words, name)}, {when_said}: improvement retained (% of that of {of})")
        _legend(panel, of_outcome, looks, words, shown)
    return parts.array_of(axes)


def _reach(rows: pd.DataFrame) -> tuple[float, float]:
    """Return the ends of the y axis in per cent: nothing and all of the improvement, and most of the estimates."""
    inside = rows[rows["set"] == "bounded"]
    seen = inside[["estimate", "conf_low", "conf_high"]].to_numpy(float).ravel()
    seen = 100 * seen[np.isfinite(seen)]
    low, high = (float(np.clip(end, *WIDEST)) for end in (seen.min(initial=0.0), seen.max(initial=100.0)))
    return low - 0.06 * (high - low), high + 0.06 * (high - low)


def _course(ax: Axes, rows: pd.DataFrame, look: style.Look, low: float, high: float) -> None:
    """Draw the share and its set; a set of two rays is two bands, each hatched to the edge of the axes."""
    c = rows["natural"].to_numpy(float)
    estimate, left, right = (100 * rows[k].to_numpy(float) for k in ("estimate", "conf_low", "conf_high"))
    shape = rows["set"].to_numpy()
    cohort = rows["cohort"].iloc[0]
    band: dict[str, Any] = {"color": look.colour, "alpha": 0.22, "linewidth": 0}
    ax.fill_between(c, left, right, where=shape == "bounded", gid=f"band: {cohort}", **band)
    open_ended: dict[str, Any] = {"facecolor": "none", "edgecolor": look.colour, "hatch": HATCH, "linewidth": 0}
    open_ended |= {"alpha": 0.5}
    for kind, (start, stop) in {
        "outside": (low, np.maximum(left, low)),
        "unbounded": (low, np.full(len(c), high)),
    }.items():
        if (shape == kind).any():
            ax.fill_between(c, start, stop, where=shape == kind, gid=f"open: {cohort}", **open_ended)
    if (shape == "outside").any():
        ax.fill_between(c, np.minimum(right, high), high, where=shape == "outside", gid=f"open: {cohort}", **open_ended)
    ax.fill_between(c, low, high, where=shape == "none", color=style.FAINT, alpha=0.25, linewidth=0, gid="none")
    ax.plot(c, estimate, color=look.colour, linestyle=look.dash, linewidth=1.8, gid=f"share: {cohort}")


def _turns(ax: Axes, turns: pd.DataFrame, looks: Mapping[Any, style.Look]) -> None:
    """Mark at the foot from where on nothing is excluded, and from where on no bounded share can be named."""
    first, last = ax.get_xlim()
    for row in turns[turns["conf_low"].between(first, last)].to_dict("records"):
        kind = "unbounded" if row["turn"] == "reference" else "nothing" if row["retained"] == 0 else ""
        if kind:
            mark = _mark(kind, looks[row["cohort"]].colour)
            ax.plot([row["conf_low"]], [0.0], transform=ax.get_xaxis_transform(), clip_on=False, gid=kind, **mark)


def _mark(kind: str, colour: str) -> dict[str, Any]:
    face = colour if kind == "nothing" else "white"
    return {"marker": "^", "markersize": 8, "linestyle": "", "color": colour, "markerfacecolor": face, "zorder": 4}


def _lines(ax: Axes, values: NDArray[np.float64], low: float, high: float) -> None:
    for share in (0.0, 100.0):
        ax.axhline(share, color=style.INK, linewidth=0.9, linestyle="-" if share == 0 else ":", zorder=1, gid="share")
    if values[0] < 0 < values[-1]:
        ax.axvline(0.0, color=style.FAINT, linewidth=0.9, linestyle=":", zorder=1, gid="none assumed")
    ax.set_xlim(values[0], values[-1])
    ax.set_ylim(low, high)


def _legend(
    ax: Axes, rows: pd.DataFrame, looks: Mapping[Any, style.Look], words: Mapping[Any, str], level: float
) -> None:
    """Name cohorts, bands and marks, each only if it is there."""
    cohorts = rows["cohort"].drop_duplicates().tolist()
    entries: list[tuple[Any, str]] = [
        (parts.key(style.Look(looks[c].colour, looks[c].dash, "")), style.named(words, c)) for c in cohorts
    ]
    entries.append((Patch(color=style.FAINT, alpha=0.4), f"{100 * level:g} % set"))
    if rows["set"].isin(["outside", "unbounded"]).any():
        entries.append((Patch(facecolor="none", edgecolor=style.FAINT, hatch=HATCH), "set without a bound"))
    seen = {line.get_gid() for line in ax.lines}
    for kind, text in (("nothing", "from here on 0 % is not excluded"), ("unbounded", "from here on not bounded")):
        if kind in seen:
            entries.append((Line2D([], [], **_mark(kind, style.INK)), text))
    if (rows["set"] == "none").any():
        entries.append((Patch(color=style.FAINT, alpha=0.25), "nothing left to share"))
    parts.legend_above(ax, *zip(*entries, strict=True))


def leave_one_out(
    result: LeaveOneOut,
    *,
    ax: Axes | None = None,
    quantity: str = "difference",
    level: float | None = None,
    labels: Mapping[Any, str] | None = None,
) -> Axes:
    """Does the answer rest on any one site, therapist or programme?

    For each outcome and time the answer with all (black diamond, and a broken line through the others), then without
    each level. Where there are more than twenty, those that move the answer most.

    Parameters
    ----------
    result : LeaveOneOut
        What `leave_one_out` returned.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a fresh figure, as tall as its lines need.
    quantity : {"difference", "retained"}
        The difference in d, or the improvement retained in per cent.
    level : float, optional
        Level of the intervals; by default the result's.
    labels : mapping of name to str, optional
        What to write for an outcome, a cohort, a level or the factor.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DataError
        If there is no such result, or an argument cannot be.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> growth = ist.fit_growth(visits, outcome="bsi", time="month", patient="patient", cohort="cohort",
    ...                         reference="before", better="lower")
    >>> ax = ist.plot.leave_one_out(ist.leave_one_out(growth, by="therapist", frame=visits))
    >>> [text.get_text() for text in ax.texts if text.get_gid() == "row"][:3]
    ['with all', 'without T01', 'without T02']
    """
    words = style.label_map(labels)
    if not isinstance(result, LeaveOneOut):
        raise style.needs("leave_one_out", "a result of leaving out", result, "draw what leave_one_out returned")
    _check.one_of("quantity", quantity, ("difference", "retained"))
    shown = result.level if level is None else level
    table = result.tidy(level=shown)
    table = table[(table["quantity"] == quantity) & (table["error"] == "")]
    unit = 100.0 if quantity == "retained" else 1.0
    lines: list[Line] = []
    spans: list[tuple[int, int, float]] = []
    several = len(table[["time", "cohort"]].drop_duplicates()) > 1
    for (outcome, _, cohort), part in table.groupby(["outcome", "time", "cohort"], sort=False):
        head = style.named(words, outcome)
        head += (
            f", {result.time} {style.tick(float(part['time'].iloc[0]))}, {style.named(words, cohort)}"
            if several
            else ""
        )
        lines.append(Line(style.wrapped(head, 44), "outcome"))
        first = len(lines)
        lines += _answers(part, words, unit)
        spans.append((first, len(lines), unit * float(part["estimate"].iloc[0])))
    word = {"difference": "d", "retained": "%"}[quantity]
    panel = forest(ax, lines, (f"{word} [{100 * shown:g} % interval]",), 6.4)
    edges = np.concatenate([[0.0], np.cumsum([1.0 + 0.62 * line.text.count("\n") for line in lines])])
    for first, last, whole in spans:
        ends = [edges[first], edges[last]]
        panel.plot([whole, whole], ends, color=style.INK, linestyle=style.DASHES[1], linewidth=0.9, gid="whole")
    said = {
        "difference": "difference in improvement from the reference (d, in SDs)",
        "retained": "improvement retained (%)",
    }
    pad = 16 if quantity == "difference" else 4
    panel.set_xlabel(said[quantity], fontsize=style.NORMAL, color=style.INK, labelpad=pad)
    if quantity == "difference":
        direction(panel)
    return panel


def _answers(part: pd.DataFrame, words: Mapping[Any, str], unit: float) -> list[Line]:
    whole, rest = part[part["level"] == ""], part[part["level"] != ""]
    moved = (rest["estimate"] - whole["estimate"].iloc[0]).abs().fillna(np.inf)
    kept = rest[moved.rank(ascending=False, method="first") <= FARTHEST]
    lines = [_answer(row, words, unit) for row in pd.concat([whole, kept]).to_dict("records")]
    others = len(rest) - len(kept)
    return [*lines, Line(f"{others} others move it less", "note", depth=1)] if others else lines


def _answer(row: Mapping[Any, Any], words: Mapping[Any, str], unit: float) -> Line:
    whole = row["level"] == ""
    text = "with all" if whole else f"without {style.named(words, row['level'])}"
    if math.isnan(row["estimate"]):
        return Line(style.wrapped(text, 44), "note", columns=("reference did not improve",), depth=1)
    ends = [unit * row[k] for k in ("estimate", "conf_low", "conf_high")]
    if row["set"] != "bounded":
        ends = [ends[0], -math.inf, math.inf]
    look = style.Look(style.INK, "-", "D") if whole else style.Look(style.COLOURS[0], "-", "o")
    numbers = style.with_interval(*ends)
    if row["quantity"] == "retained":
        shares = [style.percent(row[k]) for k in ("estimate", "conf_low", "conf_high")]
        numbers = f"{shares[0]} [{shares[1]}, {shares[2]}]" if row["set"] == "bounded" else f"{shares[0]}, not bounded"
    gid = f"{row['outcome']}: {row['level']}"
    estimate, low, high = ends
    return Line(style.wrapped(text, 44), "estimate", estimate, low, high, look, (numbers,), 1, gid)
