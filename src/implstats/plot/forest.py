"""A forest: words at the left, intervals in the middle, numbers at the right."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from implstats.plot import parts, style

__all__ = ["Line", "direction", "forest", "term_words"]

ROW = 0.235
"""Height of a line of a forest, in inches."""
WIDEST = 4.0
"""An interval longer than this many times the largest estimate is cut, with an arrow head."""


@dataclass(frozen=True)
class Line:
    """One line of a forest: a heading, or an estimate with its interval."""

    text: str
    kind: str
    estimate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    look: style.Look | None = None
    columns: tuple[str, ...] = ()
    depth: int = 0
    gid: str = ""


def forest(
    ax: Axes | None,
    lines: list[Line],
    heads: tuple[str, ...],
    width: float,
    marks: tuple[str, ...] = ("number", "retained"),
) -> Axes:
    """Draw lines from top to bottom: words at the left, intervals in the middle, numbers at the right.

    `marks` are the ids that the numbers of each column carry.
    """
    sizes = [1.0 + 0.62 * line.text.count("\n") for line in lines]
    tall = max(2.0, ROW * sum(sizes) + 1.15)
    panel = parts.panels(ax, 1, (width, tall))[0]
    parts.dress(panel)
    edges = np.concatenate([[0.0], np.cumsum(sizes)])
    middle = (edges[:-1] + edges[1:]) / 2
    low, high = _limits(lines)
    panel.set_xlim(low, high)
    panel.set_ylim(edges[-1] + 0.2, -0.4)
    panel.set_yticks([])
    panel.spines["left"].set_visible(False)
    panel.axvline(0.0, color=style.INK, linewidth=0.9, zorder=1, gid="zero")
    indent = 9.0
    label = max(
        style.text_width(line.text, style.SMALL, bold=line.kind == "outcome") + indent * line.depth
        for line in lines
        if line.kind != "note" or line.columns
    )
    for y, line in zip(middle, lines, strict=True):
        whole = line.kind == "note" and not line.columns
        panel.annotate(
            line.text,
            (0.0, y),
            xycoords=panel.get_yaxis_transform(),
            xytext=(-label - 10 + indent * line.depth, 0),
            textcoords="offset points",
            ha="left",
            va="center",
            fontsize=style.SMALL,
            color=style.INK,
            fontweight="bold" if line.kind == "outcome" else "normal",
            fontstyle="italic" if line.kind == "time" else "normal",
            annotation_clip=False,
            gid="row" if line.kind == "estimate" else line.kind,
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0} if whole else None,
        )
        if line.kind == "estimate":
            _interval(panel, line, float(y), low, high)
    _numbers(panel, lines, middle, heads, marks)
    return panel


def _limits(lines: list[Line]) -> tuple[float, float]:
    """Return the ends of the x axis: zero, every estimate, and every interval that is not absurdly long."""
    drawn = [line for line in lines if line.kind == "estimate"]
    estimates = [abs(line.estimate) for line in drawn if math.isfinite(line.estimate)]
    ends = [v for line in drawn for v in (line.low, line.high) if math.isfinite(v)]
    halves = [line.high - line.low for line in drawn if math.isfinite(line.high - line.low)]
    far = WIDEST * max([*estimates, float(np.median(halves)) if halves else 0.0, 1e-12])
    inside = [v for v in [*ends, *(line.estimate for line in drawn), 0.0] if math.isfinite(v)]
    low, high = max(min(inside), -far), min(max(inside), far)
    if high - low < 1e-12:
        low, high = -1.0, 1.0
    # Both sides of zero are visible, so that the words worse and better have room.
    span = high - low
    return min(low - 0.06 * span, -0.14 * span), max(high + 0.06 * span, 0.14 * span)


def _interval(ax: Axes, line: Line, y: float, low: float, high: float) -> None:
    assert line.look is not None
    colour = line.look.colour
    start, stop = max(line.low, low), min(line.high, high)
    ax.plot([start, stop], [y, y], color=colour, linewidth=1.6, solid_capstyle="butt", gid=f"interval: {line.gid}")
    for cut, at, marker in ((line.low < low, low, "<"), (line.high > high, high, ">")):
        if cut:
            ax.plot([at], [y], marker=marker, color=colour, markersize=6, clip_on=False, gid="cut", linestyle="")
    ax.plot(
        [line.estimate],
        [y],
        marker=line.look.marker,
        color=colour,
        markersize=6,
        linestyle="",
        zorder=3,
        gid=f"estimate: {line.gid}",
    )


def _numbers(ax: Axes, lines: list[Line], middle: NDArray[Any], heads: tuple[str, ...], marks: tuple[str, ...]) -> None:
    left = 12.0
    for k, head in enumerate(heads):
        cells = [line.columns[k] if k < len(line.columns) else "" for line in lines]
        size = max(*(style.text_width(c, style.SMALL) for c in cells), style.text_width(head, style.SMALL, bold=True))
        ax.annotate(
            head,
            (1.0, -0.1),
            xycoords=ax.get_yaxis_transform(),
            xytext=(left, 0),
            textcoords="offset points",
            ha="left",
            va="bottom",
            fontsize=style.SMALL,
            color=style.INK,
            fontweight="bold",
            annotation_clip=False,
            gid="head",
        )
        for y, line, cell in zip(middle, lines, cells, strict=True):
            if cell:
                ax.annotate(
                    cell,
                    (1.0, y),
                    xycoords=ax.get_yaxis_transform(),
                    xytext=(left, 0),
                    textcoords="offset points",
                    ha="left",
                    va="center",
                    fontsize=style.SMALL,
                    color=style.INK,
                    annotation_clip=False,
                    gid="absent" if line.kind == "note" else marks[k],
                )
        left += size + 14


def direction(ax: Axes, low: str = "worse", high: str = "better") -> None:
    """Write under the axis what lies on either side of zero."""
    for text, side, shift in ((f"← {low}", "right", -5), (f"{high} →", "left", 5)):
        ax.annotate(
            text,
            (0.0, 0.0),
            xycoords=ax.get_xaxis_transform(),
            xytext=(shift, -17),
            textcoords="offset points",
            ha=side,
            va="top",
            fontsize=style.SMALL,
            color=style.INK,
            fontstyle="italic",
            annotation_clip=False,
            gid="direction",
        )


def term_words(term: str, words: Mapping[Any, str]) -> str:
    """Return a term as people read it: 'month × cohort during' for month:cohort[during]."""
    if term in words:
        return style.wrapped(words[term], 44)
    parts, depth, start = [], 0, 0
    for k, letter in enumerate(term):
        depth += (letter in "([") - (letter in ")]")
        if letter == ":" and depth == 0:
            parts.append(term[start:k])
            start = k + 1
    parts.append(term[start:])
    said = []
    for part in parts:
        name, bracket, level = part.partition("[")
        if bracket and level.endswith("]") and "(" not in name:
            said.append(f"{style.named(words, name)} {style.named(words, level[:-1])}")
        else:
            said.append("intercept" if part == "(Intercept)" else style.named(words, part))
    return style.wrapped(" × ".join(said), 44)
