"""How alike cohorts are: standardised differences of what was measured at the start, before and after weighting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from implstats import _check
from implstats.cohorts import BalanceTable
from implstats.cohorts.balance import MARK
from implstats.plot import parts, style

__all__ = ["balance"]

ROW = 0.27
BEFORE = style.Look(style.FAINT, "-", "o")
AFTER = style.Look(style.COLOURS[0], "-", "s")


def balance(
    result: BalanceTable,
    *,
    ax: Any = None,
    level: float = 0.95,
    labels: Mapping[Any, str] | None = None,
) -> Any:
    """How far apart are the cohorts in what was measured at the start, before and after weighting?

    A love plot: one line a covariate or level, the standardised difference from the reference as a hollow circle
    before weighting and a filled square after, with intervals; dotted lines at -.1 and .1.

    Parameters
    ----------
    result : BalanceTable
        What `balance_table` returned.
    ax : matplotlib.axes.Axes, or one per cohort beside the reference, optional
        Where to draw; by default a fresh figure, one panel a cohort.
    level : float
        Level of the intervals.
    labels : mapping of name to str, optional
        What to write for a column, a level or a cohort.

    Returns
    -------
    matplotlib.axes.Axes
        An array of them with several cohorts beside the reference.

    Raises
    ------
    DataError
        If the result is no balance table, or an argument cannot be.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> start = visits[visits["month"] == 0]
    >>> table = ist.balance_table(start, cohort="cohort", reference="before", covariates=["age", "sex", "bsi"])
    >>> ax = ist.plot.balance(table)
    >>> [tick.get_text() for tick in ax.get_yticklabels()]
    ['age', 'sex = male', 'bsi']
    """
    words = style.label_map(labels)
    if not isinstance(result, BalanceTable):
        raise style.needs("balance", "a balance table", result, "draw what balance_table returned")
    table = result.tidy(level=_check.level(level))
    rows = [_name(line.term, line.level, words) for line in result.lines]
    others = result.cohorts[1:]
    axes = parts.panels(ax, len(others), (6.2, ROW * len(rows) + 1.35), what="cohort beside the reference")
    for panel, cohort in zip(axes, others, strict=True):
        parts.dress(panel)
        for weighted, look, shift in ((False, BEFORE, -0.13), (True, AFTER, 0.13)):
            part = table[(table["cohort"] == cohort) & (table["weighted"] == weighted)]
            if len(part):
                _draw(panel, part, look, shift if result.weighted else 0.0, hollow=not weighted)
        _finish(panel, rows, f"{style.named(words, cohort)} − {style.named(words, result.cohorts[0])}", level)
        keys = [parts.hollow_key()] + (
            [parts.key(style.Look(AFTER.colour, "", AFTER.marker))] if result.weighted else []
        )
        if result.weighted:
            parts.legend_above(panel, keys, ["before weighting", "weighted"])
    return axes[0] if len(axes) == 1 else parts.array_of(axes)


def _name(term: Any, level: Any, words: Mapping[Any, str]) -> str:
    word = style.named(words, term)
    return style.literal(word if level is None else f"{word} = {style.named(words, level)}")


def _draw(ax: Axes, table: Any, look: style.Look, shift: float, *, hollow: bool) -> None:
    y = np.arange(len(table)) + shift
    ax.hlines(y, table["conf_low"], table["conf_high"], colors=look.colour, linewidth=1.2, gid="intervals")
    ax.plot(
        table["std_difference"],
        y,
        marker=look.marker,
        markersize=5.5,
        markerfacecolor="white" if hollow else look.colour,
        color=look.colour,
        linestyle="",
        zorder=3,
        gid="before" if hollow else "after",
    )


def _finish(ax: Axes, rows: list[str], what: str, level: float) -> None:
    for at, dash in ((0.0, "-"), (-MARK, style.DASHES[1]), (MARK, style.DASHES[1])):
        ax.axvline(at, color=style.INK if at == 0 else style.FAINT, linewidth=0.8, linestyle=dash, zorder=0)
    ax.set_yticks(range(len(rows)), rows)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.set_ylim(len(rows) - 0.4, -0.6)
    text = f"standardised difference, {what} (SDs, {100 * level:g} % intervals)"
    ax.set_xlabel(style.wrapped(text, 62), fontsize=style.NORMAL, color=style.INK)
