"""Several causes that end spells: the incidence of each over time with who is at risk, or all of them stacked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from numpy.typing import NDArray

from implstats import _check
from implstats.plot import parts, style
from implstats.survival.competing import CumulativeIncidence

__all__ = ["incidence"]

# Grey print tells areas apart by these, whatever becomes of the colours.
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx", "----", "oo")
FREE = "no event yet"


def incidence(
    result: CumulativeIncidence,
    *,
    ax: Axes | Sequence[Axes] | None = None,
    stacked: bool = False,
    at_risk: bool = True,
    times: Any = None,
    level: float | None = None,
    labels: Mapping[Any, str] | None = None,
    min_count: int = 1,
) -> Axes | NDArray[Any]:
    """How likely is it that each cause has ended a spell by some time, and on how many does that rest?

    With groups, a panel for every cause and a line with its band for every group; without, one panel with a line for
    every cause. Stacked, a panel for every group: the areas of all causes on top of each other, and over them the
    share that has had no event yet.

    Parameters
    ----------
    result : CumulativeIncidence
        What `cumulative_incidence` returned.
    ax : matplotlib.axes.Axes, or a list of them, optional
        Where to draw, one for every panel; by default a fresh figure. Numbers stand outside the axes, so give your
        figure `layout="constrained"`.
    stacked : bool
        Whether to stack the causes; stacked areas have no bands.
    at_risk : bool
        Whether to write, under some times, how many are at risk just before them.
    times : list of numbers, optional
        Times that get a tick and numbers at risk; by default some five round ones.
    level : float, optional
        Level of the bands; by default the one that the result was made with.
    labels : mapping of name to str, optional
        What to write for a column, a group or a cause: {"years": "Years since the start", "merged": "Merged"}.
    min_count : int
        Numbers of people below this are written as "<5" (if it is 5); by default all are told.

    Returns
    -------
    matplotlib.axes.Axes
        An array of them where there are several panels.

    Raises
    ------
    DataError
        If the result is no cumulative incidence, or an argument cannot be.

    Notes
    -----
    Bands are for one time at a time; where an incidence is 0 it has none. A line ends where its group's follow-up ends.

    Examples
    --------
    >>> import pandas as pd
    >>> from implstats.plot.incidence import incidence
    >>> from implstats.survival.competing import cumulative_incidence
    >>> programmes = pd.DataFrame({"years": [1, 2, 2, 3, 4, 5, 5, 6],
    ...                            "status": ["stopped", "merged", "stopped", "active", "merged", "stopped", "active",
    ...                                       "active"]})
    >>> found = cumulative_incidence(programmes, duration="years", event="status", censored="active")
    >>> ax = incidence(found)
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('years', 'cumulative incidence (status)')
    """
    words = style.label_map(labels)
    if not isinstance(result, CumulativeIncidence):
        raise style.needs("incidence", "a cumulative incidence", result, "draw what cumulative_incidence returned")
    _check.flag("stacked", stacked)
    _check.flag("at_risk", at_risk)
    least = _check.whole("min_count", min_count, least=1)
    table = result.tidy(level=level)
    groups, causes = (table[column].drop_duplicates().tolist() for column in ("group", "cause"))
    shown = groups if stacked else (causes if len(groups) > 1 else [None])
    rows_under = 1 if stacked else len(groups)
    size = (5.6 if len(shown) == 1 else 4.7, 3.7 + 0.15 * rows_under * at_risk)
    axes = parts.panels(ax, len(shown), size, what="group" if stacked else "cause")
    draw = _Panel(result, words, table, style.asked_times(times, float(table["time"].max())), at_risk, least)
    highest = 1.0 if stacked else min(1.0, float(table[["estimate", "conf_high"]].max().max()))
    for panel, name in zip(axes, shown, strict=True):
        parts.dress(panel)
        panel.set_ylim(-0.02 * highest, 1.04 * highest)
        if stacked:
            draw.areas(panel, name)
        else:
            draw.lines(panel, name, result.level if level is None else level)
    return axes[0] if len(axes) == 1 else parts.array_of(axes)


class _Panel:
    """What every panel is drawn from: the result's table, its words, and the times that are written under it."""

    def __init__(
        self,
        result: CumulativeIncidence,
        words: Mapping[Any, str],
        table: pd.DataFrame,
        times: list[float],
        under: bool,
        least: int,
    ) -> None:
        self.result, self.words, self.table, self.times, self.under = result, words, table, times, under
        self.least = least
        self.last = float(table["time"].max())
        self.groups, self.causes = (table[column].drop_duplicates().tolist() for column in ("group", "cause"))
        self.names = style.group_names(result, words, self.groups)

    def lines(self, ax: Axes, cause: Any, level: float) -> None:
        """Draw one cause of all groups, or all causes of the only group, with bands."""
        over = self.groups if cause is not None else self.causes
        looks = style.looks(over)
        for name, look in looks.items():
            group, own = (name, cause) if cause is not None else (self.groups[0], name)
            _line(ax, self._rows(group, own), look, f"{group}, {own}")
        self._under(ax, self.groups, looks if cause is not None else {self.groups[0]: style.looks([0])[0]})
        what = f"of {style.named(self.words, cause)}" if cause is not None else f"({self._event()})"
        parts.beside(ax, f"cumulative incidence {what}")
        keys = [*map(parts.line_key, looks.values()), parts.band_key()]
        names = [self.names[g] for g in over] if cause is not None else [style.named(self.words, c) for c in over]
        parts.legend_above(ax, keys, [*names, f"{100 * level:g} % interval"])

    def areas(self, ax: Axes, group: Any) -> None:
        """Draw all causes of a group on top of each other, and over them the share without an event."""
        time = np.append(0.0, self._rows(group, self.causes[0])["time"])
        below, keys, names = np.zeros(len(time)), [], []
        for k, cause in enumerate(self.causes):
            share = np.append(0.0, self._rows(group, cause)["estimate"])
            look: dict[str, Any] = {"facecolor": (style.COLOURS[k % len(style.COLOURS)], 0.55)}
            look |= {"hatch": HATCHES[k % len(HATCHES)], "edgecolor": style.INK, "linewidth": 0.0}
            ax.fill_between(time, below, below + share, step="post", gid=f"area: {group}, {cause}", **look)
            below = below + share
            ax.step(time, below, where="post", color=style.INK, linewidth=0.9, gid=f"top: {group}, {cause}")
            keys.append(Patch(**look))
            names.append(style.named(self.words, cause))
        ax.fill_between(time, below, 1.0, step="post", facecolor="#f2f2f2", linewidth=0, gid=f"free: {group}")
        keys.append(Patch(facecolor="#f2f2f2", edgecolor=style.FAINT, linewidth=0.6))
        self._under(ax, [group], {group: style.looks([0])[0]})
        parts.beside(ax, f"share of spells ({self.names[group] if len(self.groups) > 1 else self._event()})")
        parts.legend_above(ax, keys[::-1], [FREE, *names[::-1]])

    def _event(self) -> str:
        return style.named(self.words, self.result.event)

    def _rows(self, group: Any, cause: Any) -> pd.DataFrame:
        rows: pd.DataFrame = self.table.loc[(self.table["group"] == group) & (self.table["cause"] == cause)]
        return rows

    def _under(self, ax: Axes, groups: Sequence[Any], looks: Mapping[Any, style.Look]) -> None:
        """Set the time axis, with who is at risk under it."""
        ax.set_xlim(-0.02 * self.last, 1.02 * self.last)
        table = self.result.at_risk(self.times)
        table = table[table["cause"] == self.causes[0]]
        table["at_risk"] = [round(n, 1) if isinstance(n, float) else n for n in table["at_risk"].tolist()]
        counts = {g: table[table["group"] == g].set_index("time")["at_risk"].to_dict() for g in groups}
        counts = parts.told(counts, self.least)
        ticks = parts.thinned(self.times, ax, *ax.get_xlim(), counts) if self.under else self.times
        ax.set_xticks(ticks, [style.tick(t) for t in ticks])
        over = style.named(self.words, self.result.duration)
        if not self.under:
            parts.under_the_axis(ax, over)
            return
        plain = {g: replace(looks[g], marker="") for g in groups}
        names = self.names if len(groups) > 1 else dict.fromkeys(groups, "")
        head = "at risk, sum of weights" if self.result.spells.weighted else "at risk"
        parts.counts_under(ax, ticks, counts, names, plain, head, over)


def _line(ax: Axes, rows: pd.DataFrame, look: style.Look, name: str) -> None:
    time, share = (np.append(0.0, rows[column]) for column in ("time", "estimate"))
    low, high = (np.append(np.nan, rows[column]) for column in ("conf_low", "conf_high"))
    parts.band(ax, time, low, high, look, name, steps=True)
    ax.step(time, share, where="post", color=look.colour, linestyle=look.dash, linewidth=1.8, gid=f"incidence: {name}")
