"""How well a programme was implemented, item by item: a dumbbell from one group's rating to the other's, by level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import offset_copy

from implstats.plot import parts, style
from implstats.ratings import RatingProfile

__all__ = ["ratings"]

ROW, LINE = 0.26, 0.54
"""Height of a row in inches, and what every further line of its text adds, in rows."""
WIDE = 48
"""Characters in a line of an item's text."""
MOST_COLUMNS = 3
PLOT = 3.6
"""Width of the picture itself, in inches: what stands beside it is added."""


@dataclass(frozen=True)
class _Row:
    """One line of the picture: an item, or the mean of a level; values by group."""

    text: str
    values: Mapping[Any, float]
    heading: bool
    gid: str

    @property
    def height(self) -> float:
        return 1 + LINE * self.text.count("\n") + 0.35 * self.heading


@dataclass(frozen=True)
class _Column:
    """The ratings of a group, as they are written beside the picture; its width is in points, with the gap before."""

    group: Any
    head: str
    cells: tuple[str, ...]
    width: float

    @classmethod
    def of(cls, group: Any, name: str, rows: list[_Row]) -> _Column:
        head = style.wrapped(name, 14)
        cells = tuple(_cell(row.values[group], row.heading) for row in rows)
        return cls(group, head, cells, max(style.text_width(t, style.SMALL, bold=True) for t in [head, *cells]) + 14)


def _cell(value: float, heading: bool) -> str:
    if np.isnan(value):
        return "–"
    return style.number(value) if heading else style.tick(value)


def ratings(
    result: RatingProfile, *, ax: Axes | None = None, labels: Mapping[Any, str] | None = None, numbers: bool = True
) -> Axes:
    """On which items did implementation hold, and on which did it fall, at the level of organisation, team, therapist?

    Every item is a line from one group's rating to the other's; above the items of a level stand the means of the
    level, with hollow markers.

    Parameters
    ----------
    result : RatingProfile
        What `rating_profile` returned.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a fresh figure. Items and numbers stand outside the axes, so give your figure
        `layout="constrained"`.
    labels : mapping of name to str, optional
        What to write for an item, a level or a group; and for "rating", the scale with the meaning of its ends:
        {"rating": "Rating, 1 very poor to 7 excellent", "reorg": "during"}.
    numbers : bool
        Whether to write the ratings beside the picture, of up to three groups.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DataError
        If the result is no rating profile.

    Examples
    --------
    >>> from implstats import load_example, rating_profile
    >>> from implstats.plot.ratings import ratings
    >>> table = load_example("adherence_consensus")
    >>> profile = rating_profile(table, item="item", level="level", score=["pre_reorg", "reorg"], scale=(1, 7))
    >>> ax = ratings(profile, labels={"rating": "Rating by consensus, 1 very poor to 7 excellent"})
    >>> ax.get_xlabel()
    'Rating by consensus, 1 very poor to 7 excellent'
    """
    words = style.label_map(labels)
    if not isinstance(result, RatingProfile):
        raise style.needs("ratings", "a rating profile", result, "draw what rating_profile returned")
    rows = _rows(result, words)
    edges = np.concatenate([[0.0], np.cumsum([row.height for row in rows])])
    # A heading keeps its distance from what stands above it.
    middle = [end - (row.height - 0.35 * row.heading) / 2 for end, row in zip(edges[1:], rows, strict=True)]
    names = {g: style.named(words, g) for g in result.groups}
    beside = names if numbers and len(names) <= MOST_COLUMNS else {}
    columns = [_Column.of(group, name, rows) for group, name in beside.items()]
    left = max(style.text_width(row.text, style.SMALL, bold=row.heading) for row in rows) + 16
    wide = PLOT + (left + sum(column.width for column in columns)) / 72
    (panel,) = parts.panels(ax, 1, (wide, ROW * float(edges[-1]) + 1.2))
    parts.dress(panel)
    looks = style.looks(result.groups)
    for y, row in zip(middle, rows, strict=True):
        _dumbbell(panel, float(y), row, looks)
    _rating_axis(panel, result, words)
    panel.set_ylim(float(edges[-1]) + 0.3, -0.1)
    _item_axis(panel, middle, rows, left)
    _write(panel, middle, rows, columns)
    _legend(panel, looks, list(names.values()), left, max((c.head.count("\n") + 1 for c in columns), default=0))
    return panel


def _rows(result: RatingProfile, words: Mapping[Any, str]) -> list[_Row]:
    """Return the mean of every level, each before its items."""
    table, means = result.ratings(), result.tidy()
    rows = []
    for level, own in table.groupby("level", sort=False):
        of = means[(means["quantity"] == "mean") & (means["level"] == level)]
        title = style.wrapped(style.named(words, level), WIDE)
        rows.append(_Row(title, dict(zip(of["group"], of["estimate"], strict=True)), True, f"{level}"))
        for item, values in own.groupby("item", sort=False):
            text = style.wrapped(style.named(words, item), WIDE)
            by_group = dict(zip(values["group"], values["rating"], strict=True))
            rows.append(_Row(text, by_group, False, f"{level}, {item}"))
    return rows


def _dumbbell(ax: Axes, y: float, row: _Row, looks: Mapping[Any, style.Look]) -> None:
    known = [v for v in row.values.values() if np.isfinite(v)]
    if known:
        wide = 2.6 if row.heading else 1.4
        ax.plot([min(known), max(known)], [y, y], color="#c9c9c9", linewidth=wide, zorder=1, gid=f"link: {row.gid}")
    # Where two ratings are the same, the second marker lies within the first; more than two stand a little apart.
    apart = 0.5 / (len(looks) - 1) if len(looks) > 2 else 0.0
    for k, (group, look) in enumerate(looks.items()):
        ax.plot(
            [row.values[group]],
            [y + apart * (k - (len(looks) - 1) / 2)],
            marker=look.marker,
            color=look.colour,
            markerfacecolor="white" if row.heading else look.colour,
            markeredgewidth=1.5 if row.heading else 0.8,
            markersize=6.0 if k or apart else 8.5,
            linestyle="",
            zorder=3 + k,
            clip_on=False,
            gid=f"{'mean' if row.heading else 'rating'}: {row.gid}, {group}",
        )


def _rating_axis(ax: Axes, result: RatingProfile, words: Mapping[Any, str]) -> None:
    low, high = result.scale or (float(np.nanmin(result.scores)), float(np.nanmax(result.scores)))
    edge = 0.04 * (high - low or 1.0)
    ax.set_xlim(low - edge, high + edge)
    ticks = [t for t in MaxNLocator(8, integer=True).tick_values(low, high) if low <= t <= high]
    ax.set_xticks(ticks, [style.tick(float(t)) for t in ticks])
    ax.grid(visible=True, axis="x", color="#e4e4e4", linewidth=0.6)
    ax.set_axisbelow(True)
    ends = f" ({style.tick(low)} to {style.tick(high)})" if result.scale else ""
    ax.set_xlabel(
        style.wrapped(words.get("rating", f"rating{ends}"), 70), fontsize=style.NORMAL, color=style.INK, labelpad=4
    )


def _item_axis(ax: Axes, middle: list[float], rows: list[_Row], left: float) -> None:
    """Write headings and items at the left, flush."""
    ax.set_yticks(middle, [row.text for row in rows])
    ax.tick_params(axis="y", length=0, pad=left)
    for label, row in zip(ax.get_yticklabels(), rows, strict=True):
        label.set_horizontalalignment("left")
        if row.heading:
            label.set_fontweight("bold")
    ax.spines["left"].set_visible(False)


def _write(ax: Axes, middle: list[float], rows: list[_Row], columns: list[_Column]) -> None:
    """Write each group's ratings at the right, under its name."""
    right = 0.0
    for column in columns:
        right += column.width
        placed: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "annotation_clip": False}
        placed |= {"fontsize": style.SMALL, "color": style.INK, "xytext": (right, 0)}
        placed |= {"xycoords": ax.get_yaxis_transform()}
        ax.annotate(column.head, (1.0, -0.1), va="bottom", fontweight="bold", gid="head", **placed)
        for y, row, cell in zip(middle, rows, column.cells, strict=True):
            weight = "bold" if row.heading else "normal"
            gid = f"number: {row.gid}, {column.group}"
            ax.annotate(cell, (1.0, y), va="center", fontweight=weight, gid=gid, **placed)


def _legend(ax: Axes, looks: Mapping[Any, style.Look], names: list[str], left: float, lines: int) -> None:
    """Put the legend over items and picture, and over the heads of the columns, however many lines they have."""
    keys = [Line2D([], [], color=k.colour, marker=k.marker, linestyle="", markersize=6.5) for k in looks.values()]
    keys.append(Line2D([], [], color=style.FAINT, marker="o", linestyle="", markersize=7, markerfacecolor="white"))
    parts.legend_above(ax, keys, [*names, "mean of the level"])
    figure, legend = ax.get_figure(), ax.get_legend()
    assert legend is not None
    up = style.LINE * lines + 6
    corner = offset_copy(ax.transAxes, figure, x=-left, y=up, units="points")  # type: ignore[arg-type]
    legend.set_bbox_to_anchor((0.0, 1.0), transform=corner)
