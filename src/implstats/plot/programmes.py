"""Effects of programmes in a forest: each with its interval, their mean, and where a next programme may lie."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from implstats.combine import CombinedProgrammes
from implstats.plot import style
from implstats.plot.forest import Line, forest

__all__ = ["programmes"]

_ALL = {"mean": style.Look(style.INK, "-", "D"), "prediction": style.Look(style.FAINT, "-", "|")}


def programmes(
    result: CombinedProgrammes,
    *,
    ax: Axes | None = None,
    level: float | None = None,
    labels: Mapping[Any, str] | None = None,
) -> Axes:
    """What did each programme show, what do they show together, and what may a next one show?

    One line a programme with its interval and its share of the weight, then the mean (black diamond), and with three
    programmes or more the interval in which the true effect of a next programme is expected (grey).

    Parameters
    ----------
    result : CombinedProgrammes
        What `combine_programmes` returned.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a fresh figure, as tall as its lines need. Words stand left and right of the axes, so
        give your figure `layout="constrained"`.
    level : float, optional
        Level of the intervals; by default the result's.
    labels : mapping of name to str, optional
        What to write for a programme, for the effect, or for the word: {"d": "difference in d", "programme": "site"}.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DataError
        If the result is not of programmes combined, or an argument cannot be.

    Examples
    --------
    >>> import pandas as pd
    >>> import implstats as ist
    >>> effects = pd.DataFrame({"clinic": ["A", "B", "C"], "d": [-0.62, -0.10, -0.35], "se": [0.17, 0.21, 0.12]})
    >>> found = ist.combine_programmes(effects, estimate="d", std_error="se", programme="clinic")
    >>> ax = ist.plot.programmes(found)
    >>> [text.get_text() for text in ax.texts if text.get_gid() == "weight"]
    ['32 %', '26 %', '42 %']
    """
    words = style.label_map(labels)
    if not isinstance(result, CombinedProgrammes):
        raise style.needs("programmes", "programmes combined", result, "draw what combine_programmes returned")
    asked = result.level if level is None else level
    one = style.named(words, "programme")
    lines = [_line(row, words, one) for row in result.tidy(level=asked).to_dict("records")]
    told = result.heterogeneity(level=asked).iloc[0]
    spread = f"spread between {one}s: tau² {style.with_interval(*(told[f'tau2{k}'] for k in ('', '_low', '_high')))}"
    lines.append(Line(spread, "note"))
    heads = (f"effect [{100 * asked:g} % interval]", "weight")
    panel = forest(ax, lines, heads, 6.8, ("number", "weight"))
    panel.set_xlabel(
        style.wrapped(style.named(words, result.effect), 60), fontsize=style.NORMAL, color=style.INK, labelpad=4
    )
    return panel


def _line(row: Mapping[Any, Any], words: Mapping[Any, str], one: str) -> Line:
    kind = row["quantity"]
    text = {"mean": "mean of all", "prediction": f"a next {one}"}.get(kind) or style.named(words, row["programme"])
    weight = f"{style.percent(row['weight'])} %" if kind == "programme" and math.isfinite(row["weight"]) else ""
    numbers = style.with_interval(row["estimate"], row["conf_low"], row["conf_high"])
    look = _ALL.get(kind, style.Look(style.COLOURS[0], "-", "s"))
    ends = row["estimate"], row["conf_low"], row["conf_high"]
    return Line(style.wrapped(text, 44), "estimate", *ends, look, (numbers, weight), gid=f"{kind}: {row['programme']}")
