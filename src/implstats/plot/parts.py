"""The parts that pictures are made of: panels, legends, the arrow to the better end, patients under each time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, DrawingArea
from matplotlib.patches import Patch
from matplotlib.ticker import ScalarFormatter
from matplotlib.transforms import Transform, offset_copy
from numpy.typing import NDArray

from implstats.errors import DataError
from implstats.plot.style import FAINT, INK, LINE, NORMAL, SMALL, Look, literal, text_width, tick, wrapped
from implstats.tables import is_few

__all__ = ["panels"]


def panels(ax: object, count: int, size: tuple[float, float], *, columns: int = 3, what: str = "panel") -> list[Axes]:
    """Return as many axes as there are panels: the caller's, or those of a fresh figure of `count` panels."""
    if ax is None:
        from matplotlib import pyplot

        wide = 2 if count == 4 else min(count, columns)
        tall = -(-count // wide)
        _, grid = pyplot.subplots(
            tall, wide, figsize=(size[0] * wide, size[1] * tall), squeeze=False, layout="constrained"
        )
        for spare in grid.ravel()[count:]:
            spare.remove()
        return list(grid.ravel()[:count])
    given = [ax] if isinstance(ax, Axes) else ax
    if isinstance(given, np.ndarray):
        given = list(given.ravel())
    if not isinstance(given, Sequence) or isinstance(given, str) or not all(isinstance(a, Axes) for a in given):
        raise DataError(f"ax: a {type(ax).__name__} is not matplotlib Axes; take it from matplotlib.pyplot.subplots()")
    if len(given) != count:
        raise DataError(f"ax: {len(given)} Axes for {count} {what}s; give one for each {what}")
    return list(given)


def array_of(axes: Sequence[Axes]) -> NDArray[Any]:
    """Return axes as the one-dimensional array that matplotlib users know."""
    out = np.empty(len(axes), dtype=object)
    out[:] = axes
    return out


def dress(ax: Axes) -> None:
    """Take away the frame that says nothing, and set form and size of numbers."""
    for axis in (ax.xaxis, ax.yaxis):
        plain = ScalarFormatter(useOffset=False, useMathText=False)
        plain.set_scientific(False)
        axis.set_major_formatter(plain)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.tick_params(labelsize=SMALL, colors=INK)


def beside(ax: Axes, text: str) -> None:
    """Write the label of the y axis, in as many lines as the height of the axes asks for."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    tall = ax.get_position().height * figure.get_size_inches()[1] * 72 * 0.85
    ax.set_ylabel(wrapped(text, max(16, int(tall / 5.3))), fontsize=NORMAL, color=INK)


def title(ax: Axes, *sentences: str) -> None:
    """Write a title over the left edge, each sentence in as many lines as the width of the axes asks for."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    wide = ax.get_position().width * figure.get_size_inches()[0] * 72 * 1.15
    text = "\n".join(wrapped(sentence, max(20, int(wide / 5.2))) for sentence in sentences)
    ax.set_title(text, fontsize=NORMAL, loc="left", color=INK, pad=6)


def refuse_panel(ax: Axes, outcome: str, why: str) -> None:
    """Say in a panel why there is no picture."""
    ax.set_axis_off()
    ax.text(
        0.0,
        1.0,
        wrapped(f"{outcome}: no model. {why}", 52),
        fontsize=SMALL,
        va="top",
        ha="left",
        color=INK,
        transform=ax.transAxes,
    )


def legend_above(ax: Axes, handles: Sequence[Any], words: Sequence[str]) -> None:
    """Put a legend over the left edge, where it hides nothing."""
    if not handles:
        return
    figure = ax.get_figure(root=True)
    assert figure is not None
    room = ax.get_position().width * figure.get_size_inches()[0] * 72 * 1.12
    widths = [text_width(wrapped(w, 60), SMALL) + 3.2 * SMALL + 22 for w in words]
    columns = len(words) if sum(widths) <= room else max(1, min(len(words), int(room / max(widths))))
    # matplotlib leaves out labels that begin with an underscore, so the words are written afterwards.
    legend = ax.legend(
        list(handles),
        ["x"] * len(handles),
        loc="lower left",
        bbox_to_anchor=(0.0, 1.01),
        borderaxespad=0.0,
        frameon=False,
        fontsize=SMALL,
        ncols=columns,
        handlelength=3.2,
        columnspacing=1.4,
        labelcolor=INK,
    )
    for entry, word in zip(legend.get_texts(), words, strict=True):
        entry.set_text(wrapped(word, 60))


def legend_inside(ax: Axes, handles: Sequence[Any], words: Sequence[str]) -> None:
    """Put a legend into the lower left corner, for pictures whose lines run above it."""
    legend = ax.legend(
        list(handles),
        ["x"] * len(handles),
        loc="lower left",
        frameon=False,
        fontsize=SMALL,
        handlelength=3.2,
        labelcolor=INK,
    )
    for entry, word in zip(legend.get_texts(), words, strict=True):
        entry.set_text(wrapped(word, 60))


def key(look: Look) -> Line2D:
    """Return the legend's sample of a cohort."""
    return Line2D([], [], color=look.colour, linestyle=look.dash, marker=look.marker, markersize=5, linewidth=1.8)


def line_key(look: Look) -> Line2D:
    """Return the legend's sample of a line without markers."""
    return Line2D([], [], color=look.colour, linestyle=look.dash, linewidth=1.8)


def band_key() -> Patch:
    """Return the legend's sample of a band."""
    return Patch(facecolor=FAINT, alpha=0.3, linewidth=0)


def bar_key() -> Line2D:
    """Return the legend's sample of an error bar."""
    return Line2D([], [], color=FAINT, marker="|", markersize=9, markeredgewidth=1.3, linestyle="")


def hollow_key() -> Line2D:
    """Return the legend's sample of an observed mean."""
    return Line2D([], [], color=FAINT, marker="o", markersize=7.5, markerfacecolor="none", linestyle="")


def thin_key() -> Line2D:
    """Return the legend's sample of one patient's values."""
    return Line2D([], [], color=FAINT, linewidth=0.6)


def band(ax: Axes, x: Any, low: Any, high: Any, look: Look, name: str, *, steps: bool = False) -> None:
    """Draw the intervals about a line as a band with its colour and line style; where an end is missing there is none.

    Steps hold their value until the next time.
    """
    ax.fill_between(
        x,
        low,
        high,
        where=np.isfinite(low).tolist(),
        step="post" if steps else None,
        facecolor=(look.colour, 0.16),
        edgecolor=(look.colour, 0.7),
        linewidth=0.5,
        linestyle=look.dash,
        gid=f"band: {name}",
    )


def joined(ax: Axes, x: Any, y: Any, low: Any, high: Any, look: Look, name: str, what: str) -> None:
    """Draw estimates with upright intervals, joined by a line."""
    ax.vlines(x, low, high, color=look.colour, linewidth=1.3, gid=f"bars: {name}")
    ax.plot(
        x,
        y,
        color=look.colour,
        linestyle=look.dash,
        marker=look.marker,
        markersize=5.5,
        linewidth=1.8,
        zorder=4,
        gid=f"{what}: {name}",
    )


def under_the_axis(ax: Axes, label: str, width: int = 60) -> None:
    """Write the label of the x axis, in lines of at most so many letters."""
    ax.set_xlabel(wrapped(label, width), fontsize=NORMAL, color=INK)


def better_arrow(ax: Axes, better: str | None) -> None:
    """Draw an arrow right of the axes that points to the better end of the y axis; nothing if no end is."""
    if better is None:
        return
    up = better == "higher"
    beside = offset_copy(ax.transAxes, ax.get_figure(), x=9, y=0, units="points")  # type: ignore[arg-type]
    text = ax.text(
        1.0,
        0.62 if up else 0.38,
        "better",
        transform=beside,
        rotation=90,
        fontsize=SMALL,
        color=INK,
        ha="center",
        va="top" if up else "bottom",
        gid="better",
    )
    text.set_in_layout(True)
    arrow = ax.annotate(
        "",
        xy=(1.0, 0.92 if up else 0.08),
        xytext=(1.0, 0.64 if up else 0.36),
        xycoords=beside,
        textcoords=beside,
        arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0},
        annotation_clip=False,
    )
    arrow.set_gid(f"better: {'up' if up else 'down'}")


def thinned(
    times: Sequence[float],
    ax: Axes,
    low: float,
    high: float,
    counts: Mapping[Any, Mapping[float, Any]],
    *,
    room: float = 0.9,
) -> list[float]:
    """Return the times whose labels and counts do not run into each other; the first and the last always.

    They have a share `room` of the width that the axes have now: a layout that is constrained widens them later.
    """
    figure = ax.get_figure(root=True)
    assert figure is not None
    points = ax.get_position().width * figure.get_size_inches()[0] * 72 * room
    cells = [*(tick(t) for t in times), *(str(n) for row in counts.values() for n in row.values())]
    need = 8.0 + max(text_width(c, SMALL) for c in {"0" * len(c) for c in cells})
    span = (high - low) or 1.0
    kept = list(times[:1])
    for t in times[1:-1]:
        if (t - kept[-1]) / span * points >= need and (times[-1] - t) / span * points >= need:
            kept.append(t)
    return [*kept, *times[-1:]] if len(times) > 1 else kept


def told(counts: Mapping[Any, Mapping[float, Any]], least: int) -> dict[Any, dict[float, Any]]:
    """Return counts as they are written under an axis: those of 1 to `least` - 1 as "<5"."""
    return {name: {t: few(n, least) for t, n in row.items()} for name, row in counts.items()}


def few(count: Any, least: int) -> Any:
    """Return a count as a picture tells it: "<5" where it is too small."""
    return f"<{least}" if is_few(count, least) else count


def counts_under(
    ax: Axes,
    times: Sequence[float],
    counts: Mapping[Any, Mapping[float, Any]],
    words: Mapping[Any, str],
    seen: Mapping[Any, Look],
    head: str,
    label: str,
) -> None:
    """Write the axis label and, under it, a row of counts for every cohort, each under its time."""
    ax.set_xlabel(wrapped(label, 60), fontsize=NORMAL, color=INK, labelpad=3)
    down = 17.0 + LINE * 1.25 * (1 + ax.get_xlabel().count("\n")) + 4
    foot: Transform = ax.get_xaxis_transform()
    short = all(len(words[c]) <= 14 for c in counts)
    ax.annotate(
        head,
        (0, 0),
        xycoords="axes fraction",
        xytext=(-2, -down),
        textcoords="offset points",
        ha="left",
        va="top",
        fontsize=SMALL,
        color=INK,
        fontstyle="italic",
        annotation_clip=False,
    )
    for k, (cohort, row) in enumerate(counts.items()):
        y = -down - LINE * (k + 1.15)
        left = -12.0
        if short:
            ax.annotate(
                literal(words[cohort]),
                (0, 0),
                xycoords="axes fraction",
                xytext=(left, y),
                textcoords="offset points",
                ha="right",
                va="top",
                fontsize=SMALL,
                color=INK,
                annotation_clip=False,
            )
        else:
            area = DrawingArea(26, 8, 0, 0)
            look = seen[cohort]
            area.add_artist(Line2D([0, 26], [4, 4], color=look.colour, linestyle=look.dash, linewidth=1.6))
            area.add_artist(Line2D([13], [4], color=look.colour, marker=look.marker, markersize=4.5, linestyle=""))
            box = AnnotationBbox(
                area,
                (0, 0),
                xybox=(left, y + 1),
                xycoords="axes fraction",
                boxcoords="offset points",
                box_alignment=(1, 1),
                frameon=False,
                pad=0,
                annotation_clip=False,
            )
            ax.add_artist(box)
        for t in times:
            cell = ax.annotate(
                str(row.get(t, 0)),
                (t, 0),
                xycoords=foot,
                xytext=(0, y),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=SMALL,
                color=INK,
                annotation_clip=False,
            )
            cell.set_gid(f"n: {k}")
