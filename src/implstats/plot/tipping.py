"""Where a conclusion turns: the answer and its interval over what is assumed of patients who left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from implstats import _check
from implstats.errors import DataError
from implstats.plot import parts, style
from implstats.sensitivity import TippingPoint

__all__ = ["tipping"]

HATCH = "////"
NULL = {"difference": 0.0, "retained": 1.0}


def tipping(
    result: TippingPoint,
    *,
    ax: Axes | None = None,
    quantity: str = "difference",
    level: float | None = None,
    labels: Mapping[Any, str] | None = None,
) -> Axes:
    """How much worse must patients have fared after they left, until the conclusion turns?

    The answer over delta with its interval as a band, a line at no difference, and an arrow at every delta where an end
    of the interval crosses it. Delta is in units of the outcome below, in SDs above. Hatched: the reference's
    improvement is not told from none, so that no share has two bounds.

    Parameters
    ----------
    result : TippingPoint
        What `tipping_point` returned.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a fresh figure.
    quantity : {"difference", "retained"}
        The difference in change, or the improvement retained.
    level : float, optional
        Level of the interval; by default the result's.
    labels : mapping of name to str, optional
        What to write for the outcome or a cohort.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DataError
        If the result is no tipping point, or an argument cannot be.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> mmrm = ist.fit_mmrm(visits, outcome="bsi", visit="month", patient="patient", cohort="cohort",
    ...                     reference="before", better="lower")
    >>> tipped = ist.tipping_point(mmrm, worse="before", imputations=10, rng=1)
    >>> ax = ist.plot.tipping(tipped)
    >>> len([text for text in ax.texts if text.get_gid() == "turn"])
    1
    """
    words = style.label_map(labels)
    if not isinstance(result, TippingPoint):
        raise style.needs("tipping", "a tipping point", result, "draw what tipping_point returned")
    _check.one_of("quantity", quantity, tuple(NULL))
    if len(result.deltas) < 2:
        raise DataError("tipping: one delta is no course; say tipping_point(deltas=[0, 0.25, 0.5])")
    wide = result.level if level is None else _check.level(level)
    table = result.tidy(level=wide)
    panel = parts.panels(ax, 1, (6.6, 4.2))[0]
    parts.dress(panel)
    others = result.cohorts[1:]
    looks = style.looks(result.cohorts)
    shown = table[table["quantity"] == quantity]
    for cohort in others:
        _course(panel, shown[shown["cohort"] == cohort], looks[cohort])
    _reach(panel, shown, NULL[quantity])
    panel.axhline(NULL[quantity], color=style.INK, linewidth=0.9)
    panel.axvline(0.0, color=style.FAINT, linewidth=0.8, linestyle=style.DASHES[1], zorder=0)
    _mark(panel, result.turns(level=wide), quantity)
    _axes(panel, result, quantity, wide, words)
    handles: list[Any] = [parts.key(looks[c]) for c in others] if len(others) > 1 else []
    names = [style.named(words, c) for c in others] if len(others) > 1 else []
    if (shown["set"] != "bounded").any():
        handles.append(Patch(facecolor="none", edgecolor=style.FAINT, hatch=HATCH))
        names.append("no share with two bounds")
    if handles:
        parts.legend_inside(panel, handles, names)
    return panel


def _course(ax: Axes, rows: pd.DataFrame, look: style.Look) -> None:
    """Draw the estimate and its interval; where that has no two ends, the whole height is hatched."""
    ax.plot(rows["delta"], rows["estimate"], color=look.colour, linestyle=look.dash, linewidth=1.8, gid="estimate")
    delta, bounded = rows["delta"].to_numpy(), (rows["set"] == "bounded").to_numpy()
    low, high = (rows[end].where(bounded) for end in ("conf_low", "conf_high"))
    ax.fill_between(delta, low, high, color=look.colour, alpha=0.16, linewidth=0, gid="interval")
    if not bounded.all():
        hatched: dict[str, Any] = {"facecolor": "none", "edgecolor": look.colour, "hatch": HATCH, "linewidth": 0}
        across = ax.get_xaxis_transform()
        ax.fill_between(delta, 0, 1, where=~bounded, transform=across, alpha=0.3, gid="unbounded", **hatched)


def _reach(ax: Axes, rows: pd.DataFrame, null: float) -> None:
    """Let the y axis hold every interval with two ends, and equality; an estimate without them may leave it."""
    inside = rows.loc[rows["set"] == "bounded", ["conf_low", "conf_high"]].to_numpy()
    low, high = inside.min(initial=null), inside.max(initial=null)
    if low < high:
        ax.set_ylim(low - 0.06 * (high - low), high + 0.06 * (high - low))


def _mark(ax: Axes, turns: pd.DataFrame, quantity: str) -> None:
    """Point at every delta where the interval begins or ceases to exclude no difference."""
    low, high = ax.get_ylim()
    above = NULL[quantity] < (low + high) / 2
    for row in turns[turns["quantity"] == quantity].to_dict("records"):
        ax.annotate(
            f"turns at {style.number(row['delta_sd'])} SD",
            (row["delta"], NULL[quantity]),
            xytext=(0, 26 if above else -34),
            textcoords="offset points",
            ha=_side(row["delta"], *ax.get_xlim()),
            fontsize=style.SMALL,
            color=style.INK,
            arrowprops={"arrowstyle": "->", "color": style.INK, "linewidth": 0.9},
            # The estimate's line may pass behind the words.
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0, "alpha": 0.85},
            gid="turn",
        )


def _side(delta: float, first: float, last: float) -> str:
    """Return how words at a delta are aligned, so that they stay inside the picture."""
    share = (delta - first) / (last - first)
    return "left" if share < 0.15 else "right" if share > 0.85 else "center"


def _axes(ax: Axes, result: TippingPoint, quantity: str, level: float, words: Mapping[Any, str]) -> None:
    outcome = style.named(words, result.outcome)
    where = " and ".join(style.named(words, c) for c in result.worse)
    below = f"delta: how much worse visits after leaving are than the model says ({outcome}), in {where}"
    ax.set_xlabel(style.wrapped(below, 72), fontsize=style.NORMAL, color=style.INK)
    reference = style.named(words, result.cohorts[0])
    what = {
        "difference": f"difference in improvement from {reference} ({outcome})",
        "retained": f"share of the improvement of {reference} that is retained",
    }[quantity]
    parts.beside(ax, f"{what}, {100 * level:g} % interval")
    ax.set_xlim(float(result.deltas.min()), float(result.deltas.max()))
    top = ax.secondary_xaxis(
        "top", functions=(lambda d: np.asarray(d) / result.sd, lambda s: np.asarray(s) * result.sd)
    )
    top.set_xlabel("delta in SDs at the baseline", fontsize=style.SMALL, color=style.INK)
    top.tick_params(labelsize=style.SMALL, colors=style.INK)
