"""How every picture looks: colours, line styles, words and numbers. matplotlib's settings are left alone."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from implstats import _check
from implstats.errors import DataError
from implstats.growth import CohortModel
from implstats.study import CohortComparison

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
        words = [w[1:] if w.startswith("−") and set(w[1:]) <= set("0.") else w for w in words]
    return f"{words[0]} [{words[1]}, {words[2]}]"


def percent(value: float) -> str:
    """Write a share as a whole percentage, without its sign."""
    return f"{100 * value:.0f}".replace("-", "−") if math.isfinite(value) else number(value)


def named(labels: Mapping[Any, str], name: Hashable) -> str:
    """Return what the reader is shown for a column or a cohort."""
    return str(labels.get(name, name))


def group_names(result: Any, labels: Mapping[Any, str], groups: Iterable[Any]) -> dict[Any, str]:
    """Return what the reader is shown for each group of a survival result: a number stands after its column.

    The one group of a result without groups has no name.
    """
    by = result.call.get("by")
    if by is None:
        return dict.fromkeys(groups, "")
    return {g: labels.get(g, g if isinstance(g, str) else f"{by} {_check.show(g)}") for g in groups}


def time_word(result: Any, labels: Mapping[Any, str]) -> str:
    """Return the name of the time axis with its unit."""
    unit = result.call.get("time_unit")
    if result.time in labels or not unit:
        return named(labels, result.time)
    return f"{result.time}, {unit} since the first visit"


def at_time(result: Any, labels: Mapping[Any, str], time: float) -> str:
    """Write one time in few words: 'month 18', or '18 months' of dates; a long label would be read again and again."""
    unit, word = result.call.get("time_unit"), named(labels, result.time)
    return f"{tick(time)} {unit}" if unit else f"{result.time if ' ' in word else word} {tick(time)}"


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Return the width in points of the longest line of a text."""
    font = FontProperties(weight="bold" if bold else "normal")
    lines = [line.replace(r"\$", "S") for line in text.split("\n") if line.strip()]
    return max((_line_width(TextPath((0, 0), line, size=size, prop=font)) for line in lines), default=0.0)


def _line_width(line: TextPath) -> float:
    # Letters are widest at points of their outlines; to solve the curves between would take seven times as long.
    drawn = line.vertices[line.codes != TextPath.CLOSEPOLY, 0]
    return float(np.ptp(drawn)) if len(drawn) else 0.0


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


def needs(who: str, what: str, result: object, remedy: str) -> DataError:
    """Return the complaint that a picture cannot be drawn of something."""
    return DataError(f"{who}: needs {what}, not a {type(result).__name__}; {remedy}")


def panels_of(who: str, result: object) -> dict[str, CohortModel | str]:
    """Return outcome -> growth result, or -> why there is none."""
    if isinstance(result, CohortModel):
        return {str(result.outcome): result}
    if isinstance(result, CohortComparison):
        if not result.fits:
            raise DataError(f"{who}: no outcome of this study could be fitted; see its errors")
        return {name: result.fits.get(name, str(result.errors.get(name, ""))) for name in result.outcomes}
    remedy = "draw what fit_growth or compare_cohorts returned"
    raise needs(who, "a growth result or a study", result, remedy)


# Patients ------------------------------------------------------------------------------------------------------------


def round_times(low: float, high: float) -> list[float]:
    """Return some five round times within a range."""
    inside = [float(t) for t in MaxNLocator(5).tick_values(low, high) if low <= t <= high]
    return inside or [low, high]


def asked_times(times: Any, last: float) -> list[float]:
    """Return times within the follow-up that get a tick: those asked for, or some five round ones."""
    if times is None:
        return round_times(0.0, last)
    asked = _check.at(times, "times")
    if asked[0] < 0 or asked[-1] > last:
        wrong = asked[0] if asked[0] < 0 else asked[-1]
        raise DataError(
            f"times={_check.show(wrong)}: outside of the follow-up, which runs from 0 to {_check.show(last)}"
        )
    return asked


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2, 5, 10, 20, 50, ... within a range, or powers of ten of a long one; its ends if it holds too few."""
    powers = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) < 5 else (1,)
    found = [k * 10.0**p for p in powers for k in steps if low <= k * 10.0**p <= high]
    return found if len(found) > 1 else [low, high]


def last_visits(result: CohortModel) -> dict[Any, NDArray[np.float64]]:
    """Return cohort -> the last observed time of each of its patients."""
    rows = result.augment()
    last = rows.groupby([str(result.cohort), str(result.patient)], observed=True)[str(result.time)].max()
    of = last.index.get_level_values(0)
    return {c: last[of == c].to_numpy(float) for c in result.cohorts}


def headed(axes: Axes | NDArray[Any], words: object) -> None:
    """Write a heading over a whole figure."""
    figure = np.ravel(np.asarray(axes, dtype=object))[0].get_figure(root=True)
    figure.suptitle(wrapped(words, 60), fontsize=NORMAL, color=INK, x=0.01, ha="left", gid="heading")


# Files ---------------------------------------------------------------------------------------------------------------


def save(axes: Axes | NDArray[Any], *paths: str | Path, dots: int = 150) -> None:
    """Write the figure of some axes to every path, and close it; the ending of a path says its format."""
    from matplotlib import pyplot, rc_context

    figure = np.ravel(np.asarray(axes, dtype=object))[0].get_figure(root=True)
    for path in paths:
        # A date in the file, or parts that are named by lot, would make two runs of one plan differ.
        dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(Path(path).suffix.lower().lstrip("."))
        with rc_context({"svg.hashsalt": "implstats"}):
            figure.savefig(path, dpi=dots, metadata=dated)
    pyplot.close(figure)
