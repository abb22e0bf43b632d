"""How every picture looks: colours, line styles, numbers, labels, panels. Nothing here changes matplotlib's settings."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, DrawingArea
from matplotlib.textpath import TextPath
from matplotlib.transforms import Transform, offset_copy
from numpy.typing import NDArray

from implstats import _check
from implstats.errors import DataError
from implstats.growth import GrowthResult

__all__ = ["Look", "looks", "save"]

# Okabe and Ito's colours, told apart by every kind of colour vision; darkest first, so that grey keeps an order.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00")
DASHES: tuple[Any, ...] = ("-", (0, (1.2, 1.4)), (0, (6, 2)), (0, (6, 1.6, 1.2, 1.6)), (0, (3, 1.4)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK = "#222222"
FAINT = "#8a8a8a"

SMALL = 8.0
NORMAL = 9.0
LINE = 11.0
"""Height of a line of small text, in points."""


@dataclass(frozen=True)
class Look:
    """Colour, line style and marker of one cohort: they differ in all three, so that grey print stays legible."""

    colour: str
    dash: Any
    marker: str


def looks(cohorts: Iterable[Any]) -> dict[Any, Look]:
    """Return the look of every cohort; the first is the reference and alone has a solid line."""
    found = {}
    for k, cohort in enumerate(cohorts):
        dash = DASHES[0] if k == 0 else DASHES[1 + (k - 1) % (len(DASHES) - 1)]
        found[cohort] = Look(COLOURS[k % len(COLOURS)], dash, MARKERS[k % len(MARKERS)])
    return found


def save(axes: Axes | NDArray[Any], *paths: str | Path, dots: int = 150) -> None:
    """Write the figure of some axes to every path, and close it; the ending of a path says its format."""
    from matplotlib import pyplot

    figure = np.ravel(np.asarray(axes, dtype=object))[0].get_figure(root=True)
    for path in paths:
        # A date in the file would make two runs of one plan differ.
        dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(Path(path).suffix.lower().lstrip("."))
        figure.savefig(path, dpi=dots, metadata=dated)
    pyplot.close(figure)


# Words and numbers ---------------------------------------------------------------------------------------------------


def literal(text: object) -> str:
    """Return text that matplotlib draws as it stands: a dollar opens no formula."""
    return str(text).replace("$", r"\$")


def wrapped(text: object, width: int) -> str:
    """Return literal text in lines of at most `width` characters."""
    lines = textwrap.wrap(" ".join(str(text).split()), width, break_on_hyphens=False) or [""]
    return literal("\n".join(lines))


def tick(value: float) -> str:
    """Write a time: 18, 4.5, -3."""
    return f"{value:.6g}".replace("-", "−")


def number(value: float) -> str:
    """Write an effect for a reader: two decimals, more only where it would vanish, powers of ten where it is huge."""
    if math.isnan(value):
        return "–"
    if not math.isfinite(value):
        return "∞" if value > 0 else "−∞"
    size = abs(value)
    if size >= 1e5 or 0 < size < 5e-5:
        text = f"{value:.2e}"
    elif size >= 1000:
        text = f"{value:.0f}"
    elif 0 < size < 0.095:
        text = f"{value:.{1 - math.floor(math.log10(size))}f}"
    else:
        text = f"{value:.2f}"
    return text.replace("-", "−")


def with_interval(estimate: float, low: float, high: float) -> str:
    """Write an estimate with its interval: 0.95 [0.71, 1.19], all with the decimals that the finest of them needs."""
    finite = [abs(v) for v in (estimate, low, high) if math.isfinite(v)]
    largest = max(finite, default=0.0)
    if largest == 0 or largest >= 1000 or largest < 1e-4:
        words = [number(v) for v in (estimate, low, high)]
    else:
        places = max(2, 1 - math.floor(math.log10(largest)))
        words = [f"{v:.{places}f}".replace("-", "−") if math.isfinite(v) else number(v) for v in (estimate, low, high)]
        words = [w[1:] if w.startswith("−") and float(w[1:]) == 0 else w for w in words]
    return f"{words[0]} [{words[1]}, {words[2]}]"


def percent(value: float) -> str:
    """Write a share as a whole percentage, without its sign."""
    return f"{100 * value:.0f}".replace("-", "−") if math.isfinite(value) else number(value)


def named(labels: Mapping[Any, str], name: Hashable) -> str:
    """Return what the reader is shown for a column or a cohort."""
    return str(labels.get(name, name))


def time_word(result: Any, labels: Mapping[Any, str]) -> str:
    """Return the name of the time axis with its unit."""
    unit = result.call.get("time_unit")
    if result.time in labels or not unit:
        return named(labels, result.time)
    return f"{result.time}, {unit} since the first visit"


def at_time(result: Any, labels: Mapping[Any, str], time: float) -> str:
    """Write one time with its unit: 'month 18', 'Months since the start of treatment: 18'."""
    word = time_word(result, labels)
    return f"{word}{': ' if ' ' in word else ' '}{tick(time)}"


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width in points of the longest line of a text."""
    font = FontProperties(weight="bold" if bold else "normal")
    widths = [
        float(TextPath((0, 0), line.replace(r"\$", "S"), size=size, prop=font).get_extents().width)
        for line in text.split("\n")
        if line.strip()
    ]
    return max(widths, default=0.0)


# Checks --------------------------------------------------------------------------------------------------------------


def label_map(labels: object) -> Mapping[Any, str]:
    """Return the labels asked for, or refuse what is not a mapping to words."""
    if labels is None:
        return {}
    faults = _check.Faults()
    if not isinstance(labels, Mapping):
        faults.add("labels", labels, "not a mapping", "write labels={'bsi': 'Symptoms (BSI, 0-4)'}")
        faults.settle()
    given: Mapping[Any, str] = labels  # type: ignore[assignment]
    for name, word in given.items():
        if not isinstance(word, str):
            faults.add(f"labels[{_check.show(name)}]", word, "not a text")
    faults.settle()
    return given


def one_growth(who: str, result: object) -> GrowthResult:
    """Return a growth result, or refuse."""
    if isinstance(result, GrowthResult):
        return result
    raise needs(who, "a growth result", result, "fit it with fit_growth")


def needs(who: str, what: str, result: object, remedy: str) -> DataError:
    """Return the complaint that a picture cannot be drawn of something."""
    return DataError(f"{who}: needs {what}, not a {type(result).__name__}; {remedy}")


def panels_of(who: str, result: object) -> dict[str, GrowthResult | str]:
    """Return outcome -> growth result, or -> why there is none."""
    if isinstance(result, GrowthResult):
        return {str(result.outcome): result}
    from implstats.study import CohortComparison

    if isinstance(result, CohortComparison):
        if not result.fits:
            raise DataError(f"{who}: no outcome of this study could be fitted; see its errors")
        return {name: result.fits.get(name, str(result.errors.get(name, ""))) for name in result.outcomes}
    remedy = "draw what fit_growth or compare_cohorts returned"
    raise needs(who, "a growth result or a study", result, remedy)


# Axes ----------------------------------------------------------------------------------------------------------------


def panels(ax: object, count: int, size: tuple[float, float], *, columns: int = 3, what: str = "panel") -> list[Axes]:
    """Return as many axes as there are panels: the caller's, or those of a fresh figure of `count` panels."""
    if ax is None:
        from matplotlib import pyplot

        wide = min(count, columns)
        tall = -(-count // wide)
        figure, grid = pyplot.subplots(
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
    """Take away the frame that says nothing, and set the size of numbers."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.tick_params(labelsize=SMALL, colors=INK)


def title(ax: Axes, text: str, width: int = 48) -> None:
    """Write a title over the left edge."""
    ax.set_title(wrapped(text, width), fontsize=NORMAL, loc="left", color=INK, pad=6)


def refuse_panel(ax: Axes, outcome: str, why: str) -> None:
    """Say in a panel why there is no picture."""
    ax.set_axis_off()
    ax.text(
        0.0, 1.0, wrapped(f"{outcome}: no model. {why}", 52), fontsize=SMALL, va="top", ha="left", color=INK,
        transform=ax.transAxes,
    )  # fmt: skip


def legend_above(ax: Axes, handles: Sequence[Any], words: Sequence[str]) -> None:
    """Put a legend over the left edge, where it hides nothing."""
    if not handles:
        return
    columns = len(words) if sum(len(w) + 8 for w in words) <= 60 else 1
    # matplotlib leaves out labels that begin with an underscore, so the words are written afterwards.
    legend = ax.legend(
        list(handles), ["x"] * len(handles), loc="lower left", bbox_to_anchor=(0.0, 1.01), borderaxespad=0.0,
        frameon=False, fontsize=SMALL, ncols=columns, handlelength=3.2, columnspacing=1.4, labelcolor=INK,
    )  # fmt: skip
    for entry, word in zip(legend.get_texts(), words, strict=True):
        entry.set_text(wrapped(word, 60))


def key(look: Look, *, width: float = 1.8) -> Line2D:
    """Return the legend's sample of a cohort."""
    return Line2D([], [], color=look.colour, linestyle=look.dash, marker=look.marker, markersize=5, linewidth=width)


def better_arrow(ax: Axes, better: str | None) -> None:
    """Draw an arrow right of the axes that points to the better end of the y axis; nothing if no end is."""
    if better is None:
        return
    up = better == "higher"
    beside = offset_copy(ax.transAxes, ax.get_figure(), x=9, y=0, units="points")  # type: ignore[arg-type]
    text = ax.text(
        1.0, 0.62 if up else 0.38, "better", transform=beside, rotation=90, fontsize=SMALL, color=INK,
        ha="center", va="top" if up else "bottom", gid="better",
    )  # fmt: skip
    text.set_in_layout(True)
    arrow = ax.annotate(
        "", xy=(1.0, 0.92 if up else 0.08), xytext=(1.0, 0.64 if up else 0.36), xycoords=beside, textcoords=beside,
        arrowprops={"arrowstyle": "-|>", "color": INK, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0},
        annotation_clip=False,
    )  # fmt: skip
    arrow.set_gid(f"better: {'up' if up else 'down'}")


def thinned(times: Sequence[float], ax: Axes, low: float, high: float, need: float) -> list[float]:
    """Return the times that can be labelled `need` points apart; the first and the last always."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    room = ax.get_position().width * figure.get_size_inches()[0] * 72 * 0.9
    span = (high - low) or 1.0
    kept = list(times[:1])
    for t in times[1:-1]:
        if (t - kept[-1]) / span * room >= need and (times[-1] - t) / span * room >= need:
            kept.append(t)
    return [*kept, *times[-1:]] if len(times) > 1 else kept


def counts_under(
    ax: Axes, times: Sequence[float], counts: Mapping[Any, Mapping[float, int]], words: Mapping[Any, str],
    seen: Mapping[Any, Look], head: str, label: str,
) -> None:  # fmt: skip
    """Write the axis label and, under it, a row of counts for every cohort, each under its time."""
    ax.set_xlabel(wrapped(label, 60), fontsize=NORMAL, color=INK, labelpad=3)
    down = 17.0 + LINE * 1.25 * (1 + ax.get_xlabel().count("\n")) + 4
    foot: Transform = ax.get_xaxis_transform()
    short = all(len(words[c]) <= 14 for c in counts)
    ax.annotate(
        head, (0, 0), xycoords="axes fraction", xytext=(-2, -down), textcoords="offset points", ha="left", va="top",
        fontsize=SMALL, color=INK, fontstyle="italic", annotation_clip=False,
    )  # fmt: skip
    for k, (cohort, row) in enumerate(counts.items()):
        y = -down - LINE * (k + 1.15)
        left = min(0.0, -6.0) - 6
        if short:
            ax.annotate(
                literal(words[cohort]), (0, 0), xycoords="axes fraction", xytext=(left, y), textcoords="offset points",
                ha="right", va="top", fontsize=SMALL, color=INK, annotation_clip=False,
            )  # fmt: skip
        else:
            area = DrawingArea(26, 8, 0, 0)
            look = seen[cohort]
            area.add_artist(Line2D([0, 26], [4, 4], color=look.colour, linestyle=look.dash, linewidth=1.6))
            area.add_artist(Line2D([13], [4], color=look.colour, marker=look.marker, markersize=4.5, linestyle=""))
            box = AnnotationBbox(
                area, (0, 0), xybox=(left, y - 1), xycoords="axes fraction", boxcoords="offset points",
                box_alignment=(1, 1), frameon=False, pad=0, annotation_clip=False,
            )  # fmt: skip
            ax.add_artist(box)
        for t in times:
            cell = ax.annotate(
                str(row.get(t, 0)), (t, 0), xycoords=foot, xytext=(0, y), textcoords="offset points", ha="center",
                va="top", fontsize=SMALL, color=INK, annotation_clip=False,
            )  # fmt: skip
            cell.set_gid(f"n: {k}")


def bar_key() -> Line2D:
    """Return the legend's sample of an error bar."""
    return Line2D([], [], color=FAINT, marker="|", markersize=9, markeredgewidth=1.3, linestyle="")


def hollow_key() -> Line2D:
    """Return the legend's sample of an observed mean."""
    return Line2D([], [], color=FAINT, marker="o", markersize=7.5, markerfacecolor="none", linestyle="")


def thin_key() -> Line2D:
    """Return the legend's sample of one patient's values."""
    return Line2D([], [], color=FAINT, linewidth=0.6)
