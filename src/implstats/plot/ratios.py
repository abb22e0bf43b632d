"""Hazard ratios, odds ratios and time ratios with their intervals, of one model or of several side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from implstats import _check
from implstats.errors import DataError
from implstats.plot import style
from implstats.plot.forest import Line, direction, forest, term_words
from implstats.survival import CoxResult, DiscreteHazardResult, FineGrayResult, ParametricResult
from implstats.survival.hazard_words import bases

__all__ = ["hazard_ratios"]

RATIOS = ("hazard", "time")
# What a ratio below and above 1 means.
SIDES = {
    "hazard ratio": ("lower hazard", "higher hazard"),
    "subdistribution hazard ratio": ("lower incidence", "higher incidence"),
    "odds ratio": ("lower odds", "higher odds"),
    "time ratio": ("shorter times", "longer times"),
}
HAZARDS = frozenset(["hazard ratio", "subdistribution hazard ratio"])
LINEAR = 6.0
"""A range of ratios whose ends differ by less than this factor gets evenly spaced ticks."""


def hazard_ratios(
    result: Any,
    *,
    ax: Axes | None = None,
    level: float = 0.95,
    ratio: str | None = None,
    labels: Mapping[Any, str] | None = None,
) -> Axes:
    """What goes with stopping sooner, by what ratio, and how sure is that?

    One line a term on a logarithmic scale, the ratio with its interval at the right; of a category, which level is
    compared with which. With several models, each has its own colour and marker under every term.

    Parameters
    ----------
    result : CoxResult, FineGrayResult, DiscreteHazardResult, ParametricResult, or mapping of name to these
        What `fit_cox`, `fit_fine_gray`, `fit_discrete_hazard` or `fit_parametric` returned; a mapping draws several
        models side by side: {"crude": one, "adjusted": other}.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a fresh figure, as tall as its terms need. Words stand left and right of the axes, so
        give your figure `layout="constrained"`.
    level : float
        Level of the intervals.
    ratio : {"hazard", "time"}, optional
        Of a parametric model: "time" (the default) is the factor by which times are longer; "hazard" its hazard ratio,
        which the Weibull distribution has.
    labels : mapping of name to str, optional
        What to write for a term, a column or a level: {"support": "Support (1-7)", "during": "During 2010"}.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    DataError
        If a result has no such ratios, results have ratios of different kinds, or an argument cannot be.

    Notes
    -----
    The ratio of a number is that per unit. Ratios of a Fine-Gray model are those of the subdistribution hazard: they
    order incidences, and are no ratios of risk among those still at risk. An interval too long for the picture is cut
    with an arrow head; its numbers stand at the right.

    Examples
    --------
    >>> import implstats as ist
    >>> programmes = ist.load_example("programmes")
    >>> model = ist.fit_cox(programmes, duration="years", event="discontinued", terms="era + support")
    >>> ax = ist.plot.hazard_ratios(model)
    >>> [text.get_text() for text in ax.texts if text.get_gid() == "row"]
    ['era: late against early', 'support, per unit']
    """
    words = style.label_map(labels)
    wide = _check.level(level)
    if ratio is not None:
        _check.one_of("ratio", ratio, RATIOS)
    drawn = [_ratios(name, one, wide, ratio) for name, one in _by_name(result).items()]
    kinds = list(dict.fromkeys(one.kind for one in drawn))
    if len(kinds) > 1 and not HAZARDS.issuperset(kinds):
        found = ", ".join(f"{_check.show(one.name)} has {one.kind}s" for one in drawn)
        raise DataError(f"hazard_ratios: {found}; draw ratios of one kind (ratio='hazard' for Weibull models)")
    lines = _one(drawn[0], words) if len(drawn) == 1 else _several(drawn, words)
    panel = forest(ax, lines, (f"ratio [{100 * wide:g} % interval]",), 6.4)
    _ratio_axis(panel)
    direction(panel, *SIDES[kinds[0]])
    events = {style.named(words, one.event) for one in drawn}
    label = " or ".join(kinds) + (f" of {events.pop()}" if len(events) == 1 else "")
    label = style.wrapped(f"{label} (logarithmic scale)", 60)
    panel.set_xlabel(label, fontsize=style.NORMAL, color=style.INK, labelpad=16)
    return panel


@dataclass(frozen=True)
class _Ratios:
    """The ratios of one model: term, reference, estimate, conf_low, conf_high."""

    name: str
    kind: str
    event: Any
    table: pd.DataFrame


def _by_name(result: Any) -> Mapping[str, Any]:
    if not isinstance(result, Mapping):
        return {"": result}
    if not result:
        raise DataError("hazard_ratios: an empty mapping; name at least one result")
    for name in result:
        if not isinstance(name, str):
            raise DataError(f"hazard_ratios: the name {_check.show(name)} is not a text")
    return result


def _ratios(name: str, result: Any, level: float, ratio: str | None) -> _Ratios:
    """Return the ratios that a model has, and what they are called."""
    parametric = isinstance(result, ParametricResult)
    if ratio == "time" and not parametric:
        raise DataError("ratio='time': time ratios are those of a parametric model; leave it out")
    if isinstance(result, CoxResult):
        cause = result.call["cause"]
        event = result.spells.event_name if cause is None else cause
        return _Ratios(name, "hazard ratio", event, result.tidy(level=level, hazard_ratio=True))
    if isinstance(result, FineGrayResult):
        table = result.tidy(level=level, hazard_ratio=True)
        return _Ratios(name, "subdistribution hazard ratio", result.cause, table)
    if isinstance(result, DiscreteHazardResult):
        kind = "odds ratio" if result.link == "logit" else "hazard ratio"
        table = result.tidy(level=level, **{kind.replace(" ", "_"): True})
        return _Ratios(name, kind, result.spells.event_name, table)
    if parametric:
        kind = "hazard ratio" if ratio == "hazard" else "time ratio"
        event = result.spells.event_name if ratio == "hazard" else result.spells.duration
        return _Ratios(name, kind, event, result.tidy(level=level, **{kind.replace(" ", "_"): True}))
    remedy = "draw what fit_cox, fit_fine_gray, fit_discrete_hazard or fit_parametric returned"
    raise style.needs("hazard_ratios", "a model with hazard ratios or time ratios", result, remedy)


def _one(drawn: _Ratios, words: Mapping[Any, str]) -> list[Line]:
    look = style.Look(style.COLOURS[0], "-", "o")
    return [_line(row, _against(row, words), look, row["term"]) for row in drawn.table.to_dict("records")]


def _several(drawn: list[_Ratios], words: Mapping[Any, str]) -> list[Line]:
    """Return a heading for every term that any model has, and under it a line for each that has it."""
    looks = style.looks(one.name for one in drawn)
    rows = {one.name: {row["term"]: row for row in one.table.to_dict("records")} for one in drawn}
    lines: list[Line] = []
    for term in dict.fromkeys(term for own in rows.values() for term in own):
        having = {name: own[term] for name, own in rows.items() if term in own}
        lines.append(Line(_against(next(iter(having.values())), words), "outcome"))
        for name, row in having.items():
            text = style.wrapped(style.named(words, name), 44)
            lines.append(_line(row, text, looks[name], f"{term}, {name}", depth=1))
    return lines


def _line(row: Mapping[Any, Any], text: str, look: style.Look, gid: str, depth: int = 0) -> Line:
    ends = [row["estimate"], row["conf_low"], row["conf_high"]]
    middle, left, right = (math.log(v) if v > 0 else -math.inf for v in ends)
    # Ends may lie orders of magnitude apart, so each has its own decimals.
    estimate, low, high = map(style.number, ends)
    return Line(text, "estimate", middle, left, right, look, (f"{estimate} [{low}, {high}]",), depth, gid)


def _against(row: Mapping[Any, Any], words: Mapping[Any, str]) -> str:
    """Return a term as people read it: which level against which, or per unit."""
    term, reference = str(row["term"]), row["reference"]
    if term in words or ":" in term:
        return term_words(term, words)
    if reference == "":
        return term_words(term, words) + ("" if "[" in term else ", per unit")
    base = bases([term])[term]
    level = term[len(base) + 1 : -1]
    column = base[2:-1] if base.startswith("C(") else base
    said = f"{style.named(words, column)}: {style.named(words, level)} against {style.named(words, reference)}"
    return style.wrapped(said, 44)


def _ratio_axis(ax: Axes) -> None:
    """Write ratios where the axis has their logarithms."""
    low, high = (math.exp(end) for end in ax.get_xlim())
    ticks = style.log_ticks(low, high)
    if high / low < LINEAR:
        ticks = [float(t) for t in MaxNLocator(5).tick_values(low, high) if low <= t <= high]
    # No difference is always written.
    ticks = sorted({*ticks, 1.0})
    ax.set_xticks(np.log(ticks), [style.tick(t) for t in ticks])
