"""How power and the width of intervals go with the number of patients or programmes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from implstats import _check
from implstats.plot import parts, style
from implstats.simulate import PowerCurve

__all__ = ["power"]


def power(
    result: PowerCurve,
    *,
    ax: Any = None,
    target: float = 0.8,
    level: float = 0.95,
    labels: Mapping[Any, str] | None = None,
) -> NDArray[Any]:
    """How many patients does it take, for the test and for an interval that says something?

    Left power over sample sizes with Monte Carlo bands and a dotted line at the target; right the median width of the
    intervals that have two ends.

    Parameters
    ----------
    result : PowerCurve
        What `implstats.power` returned.
    ax : two matplotlib.axes.Axes, optional
        Where to draw; by default a fresh figure.
    target : float
        The power to mark, between 0 and 1.
    level : float
        Level of the Monte Carlo bands.
    labels : mapping of name to str, optional
        What to write for a quantity or a cohort.

    Returns
    -------
    array of matplotlib.axes.Axes
        Power, and width.

    Raises
    ------
    DataError
        If the result is no power curve, or an argument cannot be.

    Examples
    --------
    >>> import implstats as ist
    >>> scenario = ist.Scenario(
    ...     patients={"before": 20, "during": 20}, visits=(0, 12),
    ...     outcomes={"bsi": ist.OutcomeTruth(better="lower", mean=2, sd=0.5, residual_sd=0.3,
    ...                                       d={"before": {12: 1.2}, "during": {12: 0.5}})})
    >>> axes = ist.plot.power(ist.power(scenario, n=[20, 40], replicates=100, rng=1))
    >>> [ax.get_xlabel() for ax in axes]
    ['patients, all cohorts together', 'patients, all cohorts together']
    """
    words = style.label_map(labels)
    if not isinstance(result, PowerCurve):
        raise style.needs("power", "a power curve", result, "draw what power returned")
    _check.level(target, "target")
    table = result.tidy(level=_check.level(level))
    left, right = parts.panels(ax, 2, (4.6, 3.4), what="panel")
    keys = [c for c in ("quantity", "cohort") if c in table]
    names = list(table[keys].drop_duplicates().itertuples(index=False, name=None))
    found = style.looks(names)
    for name in names:
        rows = table[(table[keys] == list(name)).all(axis=1)]
        look = found[name]
        draw = {"color": look.colour, "linestyle": look.dash, "marker": look.marker, "markersize": 4.5}
        left.plot(rows["n"], rows["power"], gid="power", **draw)
        left.fill_between(rows["n"], rows["power_low"], rows["power_high"], color=look.colour, alpha=0.15, linewidth=0)
        right.plot(rows["n"], rows["width"], gid="width", **draw)
    left.axhline(target, color=style.FAINT, linewidth=0.9, linestyle=style.DASHES[1], zorder=0)
    left.set_ylim(0, 1.02)
    right.set_ylim(0, 1.08 * float(np.nanmax(table["width"])) if table["width"].notna().any() else 1.0)
    for panel, what in ((left, f"power (at {1 - result.level:.3g})"), (right, _width(result))):
        parts.dress(panel)
        panel.set_xlabel(f"{result.unit}, all cohorts together", fontsize=style.NORMAL, color=style.INK)
        parts.beside(panel, what)
    _legend(left, names, found, words)
    return parts.array_of([left, right])


def _width(result: PowerCurve) -> str:
    return f"median width of {100 * result.level:g} % intervals (each in its own unit)"


def _legend(ax: Axes, names: list[Any], found: Mapping[Any, style.Look], words: Mapping[Any, str]) -> None:
    if len(names) > 1:
        texts = [", ".join(style.named(words, part) for part in name) for name in names]
        parts.legend_above(ax, [parts.key(found[name]) for name in names], texts)
