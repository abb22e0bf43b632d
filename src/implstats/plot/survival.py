"""Time to an event: Kaplan-Meier curves with the numbers at risk under them, and whether hazards look proportional."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from implstats import _check
from implstats.errors import DataError
from implstats.plot import parts, style
from implstats.survival.curves import SurvivalCurves

__all__ = ["log_log", "survival"]


def survival(
    curves: SurvivalCurves,
    *,
    ax: Axes | None = None,
    at_risk: bool = True,
    censored: bool = True,
    times: Any = None,
    level: float | None = None,
    labels: Mapping[Any, str] | None = None,
    min_count: int = 1,
) -> Axes:
    """What share of each group is still without the event, how sure is that, and on how many does it rest?

    Steps with bands, a short upright stroke where rows are censored, and under the axis who is still at risk. The first
    group has a solid line, the others broken ones.

    Parameters
    ----------
    curves : SurvivalCurves
        What `survival_curves` returned.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a fresh figure. Numbers stand outside the axes, so give your figure
        `layout="constrained"`.
    at_risk : bool
        Whether to write, under some times, how many of each group are at risk just before them.
    censored : bool
        Whether to mark where rows are censored.
    times : list of numbers, optional
        Times that get a tick and numbers at risk; by default some five round ones.
    level : float, optional
        Level of the bands; by default the one that the curves were made with.
    labels : mapping of name to str, optional
        What to write for a column or a group, unit included: {"years": "Years since the start", "discontinued":
        "stopped", "before": "Before 2010"}.
    min_count : int
        Numbers of people below this are written as "<5" (if it is 5); by default all are told.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DataError
        If the result is no survival curves, or an argument cannot be.

    Notes
    -----
    Bands are for one time at a time, not for a whole curve. A line ends where its group's follow-up ends; where nobody
    is left, it is at zero without a band. Numbers at risk that would run into each other are left out.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.plot.survival import survival
    >>> from implstats.survival.curves import survival_curves
    >>> years = pd.DataFrame({"years": [2, 3, 4, 6, 1, 2, 2, 5], "stopped": [1, 0, 1, 0, 1, 1, 0, 1],
    ...                       "era": ["before"] * 4 + ["during"] * 4})
    >>> ax = survival(survival_curves(years, duration="years", event="stopped", by="era"))
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('years', 'share without the event (stopped)')
    """
    words = _checked("survival", curves, labels)
    _check.flag("at_risk", at_risk)
    _check.flag("censored", censored)
    table = curves.tidy(level=level)
    last = float(table["time"].max())
    asked = style.asked_times(times, last)
    groups = table["group"].drop_duplicates().tolist()
    looks = style.looks(groups)
    (panel,) = parts.panels(ax, 1, (5.6, 3.7 + 0.15 * len(groups) * at_risk))
    parts.dress(panel)
    for name, look in looks.items():
        _draw(panel, table[table["group"] == name], look, str(name), censored=censored)
    panel.set_xlim(0 - 0.02 * last, last * 1.02)
    panel.set_ylim(-0.02, 1.04)
    counts = parts.told(_counts(curves, asked), _check.whole("min_count", min_count, least=1))
    ticks = parts.thinned(asked, panel, *panel.get_xlim(), counts) if at_risk else asked
    panel.set_xticks(ticks, [style.tick(t) for t in ticks])
    parts.beside(panel, f"share without the event ({style.named(words, curves.event)})")
    names = style.group_names(curves, words, groups)
    over = style.named(words, curves.duration)
    if at_risk:
        plain = {g: replace(look, marker="") for g, look in looks.items()}
        head = "at risk, sum of weights" if curves.spells.weighted else "at risk"
        parts.counts_under(panel, ticks, counts, names, plain, head, over)
    else:
        parts.under_the_axis(panel, over)
    _legend(panel, looks, names, curves.level if level is None else level, censored and bool(table["censored"].any()))
    return panel


def log_log(curves: SurvivalCurves, *, ax: Axes | None = None, labels: Mapping[Any, str] | None = None) -> Axes:
    """Do groups' hazards keep a constant ratio over time?

    log(-log S(t)), the logarithm of the cumulative hazard, against time on a logarithmic scale. Where hazards are
    proportional the curves are a constant distance apart; where one is Weibull, it is a straight line.

    Parameters
    ----------
    curves : SurvivalCurves
        What `survival_curves` returned.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a fresh figure.
    labels : mapping of name to str, optional
        What to write for a column or a group.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DataError
        If the result is no survival curves, or none of them comes between 1 and 0.

    Notes
    -----
    The left end rests on the first few events, where curves wander most. A picture cannot show that hazards are
    proportional; it can show that they are not.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.plot.survival import log_log
    >>> from implstats.survival.curves import survival_curves
    >>> years = pd.DataFrame({"years": [2, 3, 4, 6, 1, 2, 2, 5], "stopped": [1, 0, 1, 0, 1, 1, 0, 1],
    ...                       "era": ["before"] * 4 + ["during"] * 4})
    >>> log_log(survival_curves(years, duration="years", event="stopped", by="era")).get_xscale()
    'log'
    """
    words = _checked("log_log", curves, labels)
    table = curves.tidy()
    if not table["estimate"].between(0, 1, inclusive="neither").any():
        raise DataError("log_log: no curve comes between 1 and 0, so none has a logarithm to draw")
    looks = style.looks(table["group"].drop_duplicates().tolist())
    (panel,) = parts.panels(ax, 1, (5.6, 3.9))
    panel.set_xscale("log")
    parts.dress(panel)
    panel.xaxis.set_minor_formatter(NullFormatter())
    drawn = {}
    for name, look in looks.items():
        times, logs = _log_log_of(table[table["group"] == name])
        if times:
            drawn[name] = look
            style_of: dict[str, Any] = {"color": look.colour, "linestyle": look.dash, "linewidth": 1.6}
            panel.step(times, logs, where="post", gid=f"log-log: {name}", **style_of)
    # A range of less than 2, a hazard ratio of 7, would make much of little.
    middle, half = sum(panel.get_ylim()) / 2, np.ptp(panel.get_ylim()) / 2
    panel.set_ylim(middle - max(half, 1.0), middle + max(half, 1.0))
    low, high = panel.dataLim.x0, panel.dataLim.x1
    panel.set_xlim(low / 1.08, high * 1.08)
    ticks = style.log_ticks(low, high)
    panel.set_xticks(ticks, [style.tick(t) for t in ticks])
    parts.under_the_axis(panel, f"{style.named(words, curves.duration)} (logarithmic scale)")
    parts.beside(panel, f"log(−log share without the event ({style.named(words, curves.event)}))")
    if len(looks) > 1:
        names = style.group_names(curves, words, drawn)
        parts.legend_above(panel, [parts.line_key(look) for look in drawn.values()], list(names.values()))
    return panel


def _log_log_of(rows: pd.DataFrame) -> tuple[list[float], list[float]]:
    """Return times at which a curve lies between 1 and 0, and log(-log) of it; up to the time when it falls to 0."""
    inner = rows[(rows["estimate"] > 0) & (rows["estimate"] < 1)]
    times, logs = inner["time"].tolist(), np.log(-np.log(inner["estimate"])).tolist()
    if fallen := rows.loc[rows["estimate"] == 0, "time"].tolist()[: len(times)]:
        times, logs = [*times, fallen[0]], [*logs, logs[-1]]
    return times, logs


def _checked(who: str, curves: object, labels: object) -> Mapping[Any, str]:
    words = style.label_map(labels)
    if not isinstance(curves, SurvivalCurves):
        raise style.needs(who, "survival curves", curves, "draw what survival_curves returned")
    return words


def _draw(ax: Axes, rows: pd.DataFrame, look: style.Look, name: str, *, censored: bool) -> None:
    time, share = (np.concatenate([[start], rows[c]]) for start, c in ((0.0, "time"), (1.0, "estimate")))
    # A band goes on until its line falls to zero.
    low, high = (pd.Series([1.0, *rows[c]]).ffill(limit=1).to_numpy() for c in ("conf_low", "conf_high"))
    parts.band(ax, time, low, high, look, name, steps=True)
    ax.step(time, share, where="post", color=look.colour, linestyle=look.dash, linewidth=1.8, gid=f"survival: {name}")
    left = rows[rows["censored"] > 0]
    if censored and len(left):
        ax.plot(
            left["time"],
            left["estimate"],
            linestyle="",
            marker="|",
            markersize=7,
            markeredgewidth=1.1,
            color=look.colour,
            gid=f"censored: {name}",
        )


def _counts(curves: SurvivalCurves, times: list[float]) -> dict[Any, dict[float, Any]]:
    table = curves.at_risk(times)
    table["at_risk"] = [round(n, 1) if isinstance(n, float) else n for n in table["at_risk"].tolist()]
    return {g: dict(zip(rows["time"], rows["at_risk"], strict=True)) for g, rows in table.groupby("group", sort=False)}


def _legend(ax: Axes, looks: Mapping[Any, style.Look], names: Mapping[Any, str], level: float, censored: bool) -> None:
    several = len(looks) > 1
    handles: list[Any] = [parts.line_key(look) for look in looks.values()] if several else []
    words = list(names.values()) if several else []
    handles.append(parts.band_key())
    words.append(f"{100 * level:g} % interval")
    if censored:
        handles.append(Line2D([], [], color=style.FAINT, linestyle="", marker="|", markersize=8, markeredgewidth=1.2))
        words.append("censored")
    parts.legend_above(ax, handles, words)
