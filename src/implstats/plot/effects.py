"""Effects with their intervals: how much each cohort improved and how they differ, and the terms of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from implstats import _check
from implstats.errors import DataError
from implstats.growth import CohortModel
from implstats.growth.fixed import FixedEffects
from implstats.plot import style
from implstats.plot.forest import Line, direction, forest, term_words
from implstats.study import CohortComparison

__all__ = ["coefficients", "effect_forest"]

NARROW_TO_WIDE = 20.0

SCALES = ("auto", "outcome", "std_error")
SD_WORDS = {
    "baseline": "in SDs",
    "reference": "in SDs of the reference",
    "own": "in SDs of each cohort",
    "model": "in SDs of the model",
}
NOT_BOUNDED = "not bounded"


def effect_forest(
    result: Any,
    *,
    ax: Axes | None = None,
    at: Any = None,
    level: float | None = None,
    sd: str | float | None = None,
    df: str | None = None,
    retained: bool = True,
    labels: Mapping[Any, str] | None = None,
) -> Axes:
    """How much did each cohort improve, how far are they apart, and how much of the improvement is retained?

    One line an estimate, grouped by outcome and time: the standardised improvement d of every cohort (its own marker),
    and the difference of every other cohort from the reference (black diamond). Numbers with intervals stand at the
    right, beside them the improvement retained in per cent. Positive is better, whichever way the outcome runs.

    Parameters
    ----------
    result : CohortComparison, GrowthResult or MMRMResult
        What `compare_cohorts` returned; or `fit_growth`, with `better=` given.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a fresh figure, as tall as its lines need. Words stand left and right of the axes, so
        give your figure `layout="constrained"`.
    at : time or list of times, optional
        Of a study, those of its times to draw; of a growth result, any. By default all (after the baseline).
    level : float, optional
        Level of the intervals; by default 0.95, or the study's.
    sd, df : optional
        Of a growth result: the SD that improvements are divided by and how degrees of freedom are found, as in its
        `effect_sizes`; by default "baseline" and "auto". A study has its own.
    retained : bool
        Whether to write the improvement retained: "43 [21, 69] %". Where its confidence set is not an interval it says
        "not bounded"; where the reference did not improve, there is nothing to retain.
    labels : mapping of name to str, optional
        What to write for a column or a cohort; see `trajectories`. For the time column a single word; where its label
        is longer, every time is written with the column's name ("month 18").

    Returns
    -------
    matplotlib.axes.Axes
        The figure is `.get_figure()`.

    Raises
    ------
    DataError
        If the result holds no effect sizes, or an argument cannot be.

    Notes
    -----
    Intervals are of one estimate at a time. An interval too long for the picture is cut with an arrow head; its
    numbers stand at the right. A cohort without a visit at a time has no number there.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> growth = ist.fit_growth(visits, outcome="bsi", time="month", patient="patient", cohort="cohort",
    ...                         reference="before", better="lower")
    >>> ax = ist.plot.effect_forest(growth, at=36)
    >>> [text.get_text() for text in ax.texts if text.get_gid() == "number"]
    ['1.09 [0.84, 1.34]', '0.47 [0.23, 0.71]', '−0.62 [−0.94, −0.29]']
    """
    words = style.label_map(labels)
    _check.flag("retained", retained)
    wide = None if level is None else _check.level(level)
    times = None if at is None else _check.at(at)
    if isinstance(result, CohortModel):
        sd, df = "baseline" if sd is None else sd, "auto" if df is None else df
        table = _of_growth(result, times, 0.95 if wide is None else wide, sd, df)
        first = result
    elif isinstance(result, CohortComparison):
        if not result.fits:
            raise DataError("effect_forest: no outcome of this study could be fitted; see its errors")
        faults = _check.Faults()
        for argument, value in (("sd", sd), ("df", df)):
            if value is not None:
                faults.add(argument, value, "a study has its own", f"say it in compare_cohorts({argument}=)")
        faults.settle()
        table, sd = _of_study(result, times, wide), result.sd
        first = next(iter(result.fits.values()))
    else:
        remedy = "draw what compare_cohorts or fit_growth returned"
        raise style.needs("effect_forest", "a study or a growth result", result, remedy)
    lines = _effect_lines(table, first, words, retained=retained)
    shown = 100 * (wide if wide is not None else getattr(result, "level", 0.95))
    heads = (f"d [{shown:g} % interval]", "improvement retained")[: 1 + retained]
    unit = SD_WORDS.get(str(sd), f"in units of {sd}")
    axis = f"improvement since the baseline (d, {unit})"
    panel = forest(ax, lines, heads, 7.4 if retained else 6.2)
    panel.set_xlabel(style.wrapped(axis, 72), fontsize=style.NORMAL, color=style.INK, labelpad=16)
    direction(panel)
    return panel


def coefficients(
    result: Any,
    *,
    ax: Axes | None = None,
    level: float = 0.95,
    df: str = "auto",
    intercept: bool = False,
    scale: str = "auto",
    labels: Mapping[Any, str] | None = None,
) -> Axes:
    """What are the fixed effects of a model, and how sure are they?

    One line a term, the estimate with its interval in units of the outcome at the right.

    Parameters
    ----------
    result : MixedResult, GrowthResult or MMRMResult
        What `fit_mixed`, `fit_growth` or `fit_mmrm` returned.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default a fresh figure, as tall as its terms need.
    level : float
        Level of the intervals.
    df : {"auto", "satterthwaite", "kenward-roger", "normal"}
        Degrees of freedom of the intervals.
    intercept : bool
        Whether to draw the intercept as well, which is mostly far from the other terms.
    scale : {"auto", "outcome", "std_error"}
        "outcome": estimates as they are, in units of the outcome. "std_error": every estimate and interval divided by
        its own standard error, which keeps terms legible whose units differ a hundredfold (age in years beside sex),
        but lengths of two lines then cannot be compared in size. "auto": the first, unless the longest interval is
        more than 20 times the shortest. The axis says which.
    labels : mapping of name to str, optional
        What to write for a term, a column or a level; see `trajectories`.

    Returns
    -------
    matplotlib.axes.Axes
        The figure is `.get_figure()`.

    Raises
    ------
    DataError
        If the result has no terms, or an argument cannot be.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> fit = ist.fit_mixed(visits, formula="bsi ~ month * cohort + (1 + month | patient)")
    >>> ax = ist.plot.coefficients(fit, labels={"cohort": "Cohort"})
    >>> [text.get_text() for text in ax.texts if text.get_gid() == "row"]
    ['month', 'Cohort during', 'month × Cohort during']
    """
    words = style.label_map(labels)
    if not isinstance(result, FixedEffects):
        remedy = "draw what fit_mixed, fit_growth or fit_mmrm returned"
        raise style.needs("coefficients", "a mixed or growth result or an MMRM", result, remedy)
    wide = _check.level(level)
    _check.flag("intercept", intercept)
    _check.one_of("scale", scale, SCALES)
    table = result.tidy(level=wide, df=df)
    if not intercept:
        table = table[table["term"] != "(Intercept)"]
    if table.empty:
        raise DataError("coefficients: the model has no fixed effect beside the intercept; say intercept=True")
    lengths = (table["conf_high"] - table["conf_low"]).to_numpy(float)
    unequal = lengths.max() > NARROW_TO_WIDE * max(lengths.min(), 1e-300)
    by_error = scale == "std_error" or (scale == "auto" and bool(unequal))
    outcome = style.named(words, result.outcome)
    lines = []
    for row in table.to_dict("records"):
        unit = row["std_error"] if by_error else 1.0
        low, high = row["conf_low"], row["conf_high"]
        numbers = style.with_interval(row["estimate"], low, high)
        lines.append(
            Line(
                term_words(str(row["term"]), words),
                "estimate",
                row["estimate"] / unit,
                low / unit,
                high / unit,
                style.Look(style.COLOURS[0], "-", "o"),
                (numbers,),
                gid=str(row["term"]),
            )
        )
    panel = forest(ax, lines, ("estimate [interval]",), 6.4)
    intervals = f"{100 * wide:g} % intervals"
    axis = f"estimate in units of {outcome} ({intervals})"
    if by_error:
        axis = f"estimate divided by its standard error ({intervals}); numbers at the right in units of {outcome}"
    panel.set_xlabel(style.wrapped(axis, 60), fontsize=style.NORMAL, color=style.INK, labelpad=4)
    return panel


# Tables --------------------------------------------------------------------------------------------------------------


def _of_growth(result: CohortModel, at: list[float] | None, level: float, sd: str | float, df: str) -> pd.DataFrame:
    """Return outcome time cohort quantity estimate low high share share_low share_high set improved error."""
    effects = result.effect_sizes(at, sd=sd, level=level, df=df).tidy()
    kept = result.retained_improvement(at, level=level, df=df).tidy().set_index(["cohort", "time"])
    own = effects[(effects["quantity"] == "d") & (effects["cohort"] == result.reference)]
    gains = dict(zip(own["time"], own["estimate"], strict=True))
    rows = []
    for row in effects.to_dict("records"):
        cohort, time = row["cohort"], row["time"]
        made = {
            "outcome": result.outcome,
            "time": time,
            "cohort": cohort,
            "quantity": row["quantity"],
            "estimate": row["estimate"],
            "low": row["conf_low"],
            "high": row["conf_high"],
            "improved": gains[time] > 0,
            "error": "",
            "extrapolated": bool(row["extrapolated"]),
        }
        if row["quantity"] == "difference":
            share = kept.loc[(cohort, time)]
            made |= {"share": share["estimate"], "share_low": share["conf_low"], "share_high": share["conf_high"]}
            made |= {"set": share["set"]}
        rows.append(made)
    return pd.DataFrame(rows)


def _of_study(study: CohortComparison, at: list[float] | None, level: float | None) -> pd.DataFrame:
    """Return the table of `_of_growth` for every outcome."""
    for t in at or []:
        if t not in study.at:
            raise DataError(f"at={_check.show(t)}: not a time of this study; it compares {_check.show(list(study.at))}")
    rows: list[dict[str, Any]] = []
    table = study.tidy(level=level)
    for outcome, part in table.groupby("outcome", sort=False):
        why = part["error"].iloc[0]
        if why:
            rows.append({"outcome": outcome, "error": f"no model: {why}", "quantity": "error"})
            continue
        last = study.fits[str(outcome)].last_seen
        for time in sorted(part["time"].unique()):
            if at is not None and time not in at:
                continue
            for k, row in enumerate(part[part["time"] == time].to_dict("records")):
                head = {"outcome": outcome, "time": time, "improved": row["d_reference"] > 0, "error": ""}
                beyond = {c: time > last[c] for c in (row["cohort"], row["reference"])}
                for who, suffix in ((row["reference"], "_reference"), (row["cohort"], ""))[min(k, 1) :]:
                    ends = {"estimate": row[f"d{suffix}"], "low": row[f"d{suffix}_low"], "high": row[f"d{suffix}_high"]}
                    rows.append(head | ends | {"cohort": who, "quantity": "d", "extrapolated": beyond[who]})
                found = {"estimate": "d_difference", "low": "d_difference_low", "high": "d_difference_high"}
                found |= {"share": "retained", "share_low": "retained_low", "share_high": "retained_high"}
                found |= {"set": "retained_set", "cohort": "cohort"}
                gap = {"quantity": "difference", "extrapolated": row["extrapolated"]}
                rows.append(head | gap | {word: row[column] for word, column in found.items()})
    return pd.DataFrame(rows)


def _effect_lines(table: pd.DataFrame, first: CohortModel, words: Mapping[Any, str], *, retained: bool) -> list[Line]:
    seen = style.looks(first.cohorts)
    many = len(first.cohorts) > 2
    reference = style.named(words, first.reference)
    lines: list[Line] = []
    for outcome, part in table.groupby("outcome", sort=False):
        lines.append(Line(style.wrapped(style.named(words, outcome), 44), "outcome"))
        if part["quantity"].iloc[0] == "error":
            lines.append(Line(style.wrapped(part["error"].iloc[0], 70), "note", depth=1))
            continue
        for time in sorted(part["time"].unique()):
            lines.append(Line(style.wrapped(style.at_time(first, words, time), 44), "time", depth=1))
            now = part[part["time"] == time]
            for quantity in ("d", "difference"):
                for row in now[now["quantity"] == quantity].to_dict("records"):
                    cohort = style.named(words, row["cohort"])
                    text = f"{cohort}, reference" if many and row["cohort"] == first.reference else cohort
                    if quantity == "difference":
                        text = f"difference: {cohort} minus {reference}" if many else "difference"
                        text = text if len(text) <= 44 else f"difference: {cohort} minus reference"
                    lines.append(_effect_line(row, text, seen, retained=retained))
    return lines


def _effect_line(row: Mapping[str, Any], text: str, seen: Mapping[Any, style.Look], *, retained: bool) -> Line:
    difference = row["quantity"] == "difference"
    look = style.Look(style.INK, "-", "D") if difference else seen[row["cohort"]]
    if row.get("extrapolated") and not row["error"]:
        text += " (extrapolated)"
    if row["error"]:
        return Line(style.wrapped(text, 44), "note", columns=(row["error"],), depth=2)
    columns = [style.with_interval(row["estimate"], row["low"], row["high"])]
    if retained:
        columns.append(_share(row) if difference else "")
    return Line(
        style.wrapped(text, 44),
        "estimate",
        row["estimate"],
        row["low"],
        row["high"],
        look,
        tuple(columns),
        2,
        f"{row['quantity']}: {row['outcome']}, {row['cohort']}, {row['time']:g}",
    )


def _share(row: Mapping[str, Any]) -> str:
    if not row["improved"]:
        return "reference did not improve"
    share = style.percent(row["share"])
    if row["set"] != "bounded" or not (math.isfinite(row["share_low"]) and math.isfinite(row["share_high"])):
        return f"{share} %, {NOT_BOUNDED}"
    return f"{share} % [{style.percent(row['share_low'])}, {style.percent(row['share_high'])}]"
