"""Do hazard ratios change over time: scaled Schoenfeld residuals of every term, a smooth of them, and the test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats.design import NaturalSpline
from implstats.errors import DataError
from implstats.plot import parts, style
from implstats.plot.forest import term_words
from implstats.survival import CoxResult, ProportionalHazards
from implstats.survival.hazard_words import bases

__all__ = ["schoenfeld"]

Floats = NDArray[np.float64]

EVENTS_EACH = 5
"""Events that every column of the smooth needs; with fewer than two columns there is none."""
COLUMNS = 4
GRID = 120
SPACED = {"km": "spaced as 1 − Kaplan-Meier", "log": "spaced as its logarithm", "rank": "spaced as its rank"}
APART = 0.07
"""Share of the axis between two ticks, at the least."""


def schoenfeld(
    result: CoxResult | ProportionalHazards,
    *,
    ax: Axes | Sequence[Axes] | None = None,
    transform: str | None = None,
    level: float = 0.95,
    labels: Mapping[Any, str] | None = None,
) -> NDArray[Any]:
    """Does the hazard ratio of any term change over time, when, and which way?

    A panel for every column of the terms: at each event its scaled Schoenfeld residual, which scatters around the log
    hazard ratio at that time; a smooth of them with its band; and the one log hazard ratio that was fitted, as a line.
    The title has the p-value of the term's test.

    Parameters
    ----------
    result : CoxResult or ProportionalHazards
        What `fit_cox` or its `proportional_hazards` returned.
    ax : matplotlib.axes.Axes, or sequence of them, optional
        Where to draw, one per column; by default a fresh figure.
    transform : {"km", "log", "identity", "rank"}, optional
        Of a CoxResult: the scale of time of test and picture, "km" by default; see `proportional_hazards`.
    level : float
        Level of the band, for each time by itself.
    labels : mapping of name to str, optional
        What to write for a term, a column or a level.

    Returns
    -------
    numpy.ndarray
        One Axes a column of the terms.

    Raises
    ------
    DataError
        If the model has no such test (a penalty, exact ties), or an argument cannot be.

    Notes
    -----
    The smooth is a natural spline by least squares, with 4 columns or one for every 5 events: the test of a term is
    that of the same residuals against a straight line, so both look at one thing, and least squares give a band. It
    takes residuals to have one variance, where few are at risk a rough guess. A line within the band says that these
    events do not show a change, not that there is none.

    References
    ----------
    Grambsch & Therneau 1994, DOI 10.1093/biomet/81.3.515.

    Examples
    --------
    >>> import implstats as ist
    >>> programmes = ist.load_example("programmes")
    >>> model = ist.fit_cox(programmes, duration="years", event="discontinued", terms="era + support")
    >>> [ax.get_title(loc="left").splitlines() for ax in ist.plot.schoenfeld(model)]
    [['era late', 'change over time: p = 0.239'], ['support', 'change over time: p = 0.255']]
    """
    words, level = style.label_map(labels), _check.level(level)
    test, constants = _tested(result, transform)
    rows = test.residuals()
    tested = test.tidy().set_index("term")
    axes = parts.panels(ax, len(test.columns), (4.1, 3.4), what="column of the terms")
    for panel, (column, term) in zip(axes, bases(test.columns).items(), strict=True):
        parts.dress(panel)
        g, values = rows["transformed_time"].to_numpy(), rows[column].to_numpy()
        panel.scatter(g, values, s=11, color=style.FAINT, alpha=0.6, linewidths=0, gid="residuals")
        _smooth(panel, g, values, level)
        _constant(panel, constants[column])
        _time_axis(panel, rows)
        parts.under_the_axis(panel, f"{_over(test, words)}; smooth with {100 * level:g} % band", width=44)
        parts.beside(panel, "log hazard ratio (scaled Schoenfeld residuals)")
        parts.title(panel, term_words(column, words), _said(style.named(words, term), tested.loc[term]))
    return parts.array_of(axes)


def _tested(result: Any, transform: str | None) -> tuple[ProportionalHazards, Mapping[Any, float]]:
    """Return the test, and the log hazard ratio of every column that was fitted."""
    if isinstance(result, CoxResult):
        test = result.proportional_hazards() if transform is None else result.proportional_hazards(transform)
        return test, result.params.to_dict()
    if not isinstance(result, ProportionalHazards):
        raise style.needs("schoenfeld", "a Cox model or its test", result, "draw what fit_cox returned")
    if transform is not None:
        raise DataError(f"transform={_check.show(transform)}: the test has its own; draw the result of fit_cox")
    if result.call["weights"] is not None:
        raise DataError(
            "schoenfeld: the test of a weighted fit does not say what was fitted; draw what fit_cox returned"
        )
    # Residuals scatter around the coefficient, and those of a fit without weights sum to zero.
    return result, result.residuals()[list(result.columns)].mean().to_dict()


def _smooth(ax: Axes, g: Floats, values: Floats, level: float) -> None:
    """Draw a natural spline of the residuals with its band, if there are events enough."""
    columns = min(COLUMNS, len(g) // EVENTS_EACH, len(np.unique(g)))
    if columns < 2 or len(g) <= columns:
        ax.text(0.03, 0.97, "too few events for a smooth", va="top", transform=ax.transAxes, fontsize=style.SMALL)
        return
    grid = np.linspace(g.min(), g.max(), GRID)
    knots = np.quantile(np.unique(g), np.linspace(0, 1, columns))
    basis = [_basis(t, knots) for t in (g, grid)]
    q, r = np.linalg.qr(basis[0])
    at = np.linalg.solve(r.T, basis[1].T).T
    line, left = at @ (q.T @ values), values - q @ (q.T @ values)
    free = len(g) - columns
    half = special.stdtrit(free, 0.5 + level / 2) * np.sqrt(left @ left / free * (at**2).sum(axis=1))
    look = style.looks([""])[""]
    parts.band(ax, grid, line - half, line + half, look, "smooth")
    ax.plot(grid, line, color=look.colour, linewidth=1.8, gid="smooth")


def _basis(t: Floats, knots: Floats) -> Floats:
    """Return the columns of a natural spline, a straight line where there are two knots."""
    if len(knots) == 2:
        return np.column_stack([np.ones(len(t)), t])
    spline = NaturalSpline(len(knots) - 1, tuple(knots.tolist()))
    return np.column_stack([np.ones(len(t)), spline.columns(t)])


def _constant(ax: Axes, value: float) -> None:
    """Draw the log hazard ratio that was fitted, with its value at the right, and zero."""
    ax.axhline(0.0, color=style.FAINT, linewidth=0.6, zorder=0, gid="zero")
    ax.axhline(value, color=style.COLOURS[1], linestyle=style.DASHES[2], linewidth=1.4, gid="fitted")
    ax.annotate(
        f"fitted\n{style.number(value)}",
        (1.0, value),
        xycoords=ax.get_yaxis_transform(),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=style.SMALL,
        color=style.COLOURS[1],
        annotation_clip=False,
        gid="value",
    )


def _time_axis(ax: Axes, rows: pd.DataFrame) -> None:
    """Write times where the axis has them transformed."""
    when = rows[["time", "transformed_time"]].drop_duplicates().sort_values("time")
    time, g = when["time"].to_numpy(), when["transformed_time"].to_numpy()
    first, last = float(time[0]), float(time[-1])
    kept: dict[float, str] = {}
    more = style.log_ticks(first, last) if last >= 5 * first else []
    for t in sorted({*style.round_times(first, last), *more}):
        place = float(np.interp(t, time, g))
        if not kept or place - max(kept) >= APART * np.ptp(g):
            kept[place] = style.tick(t)
    ax.set_xticks(list(kept), list(kept.values()))


def _over(test: ProportionalHazards, words: Mapping[Any, str]) -> str:
    over = style.named(words, test.call["duration"])
    return f"{over} ({SPACED[test.transform]})" if test.transform in SPACED else over


def _said(term: str, test: Any) -> str:
    """Return the test of a term in few words."""
    p = "p < 0.001" if test["p_value"] < 0.001 else f"p = {test['p_value']:.3f}"
    which = f"change of {term}, {test['df']:g} df" if test["df"] > 1 else "change over time"
    return f"{which}: {p}"
