"""Change over time: what each cohort's mean does, how sure that is, and on how many patients it rests."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patches import Patch
from numpy.typing import NDArray

from implstats import _check
from implstats.design.time import Visits
from implstats.errors import DataError
from implstats.growth import CohortModel
from implstats.plot import parts, style

__all__ = ["trajectories"]

GRID = 121
SLIVER = 0.03
STRANDS = 150
"""Most patients of a cohort whose values are drawn; more are a carpet."""


def trajectories(
    result: Any,
    *,
    ax: Axes | Sequence[Axes] | None = None,
    at: Any = None,
    level: float | None = None,
    df: str | None = None,
    spaghetti: bool = False,
    observed: bool = False,
    labels: Mapping[Any, str] | None = None,
    min_count: int = 1,
) -> Axes | NDArray[Any]:
    """How did the mean of each cohort change, how sure is that, and how many patients does it rest on?

    The reference cohort has a solid line, the others broken ones with markers of their own. Visits (categories) are
    points with error bars; curves (linear, log, spline, ...) are lines with bands. Where a curve goes on after a
    cohort's last observed time its band is hatched and the legend says "extrapolated". Under the axis stand the
    patients seen per cohort; the arrow at the right points to the better end.

    Parameters
    ----------
    result : CohortModel or CohortComparison
        What `fit_growth` or `compare_cohorts` returned. A study gives a panel per outcome, and a panel in words for an
        outcome that could not be fitted.
    ax : matplotlib.axes.Axes, or sequence of them, optional
        Where to draw, one per panel; by default a fresh figure. Names and counts stand outside the axes, so give your
        figure `layout="constrained"`.
    at : time or list of times, optional
        Times that get a point, a tick and a count, in the unit of the time column; a curve runs from the first to the
        last of them. By default every observed time; under irregular times, five round ones.
    level : float, optional
        Level of the intervals; by default 0.95, or the study's.
    df : {"auto", "satterthwaite", "kenward-roger", "normal"}, optional
        Degrees of freedom of the intervals; by default "auto", or the study's.
    spaghetti : bool
        Whether to draw each patient's observed values as a thin line; of more than 150 patients in a cohort, 150 spread
        evenly over the order of their names.
    observed : bool
        Whether to add the observed mean of each cohort and visit, as a hollow marker.
    labels : mapping of name to str, optional
        What to write for a column or a cohort, unit included: {"bsi": "Symptoms (BSI, 0-4)", "month": "Months since
        the start", "before": "Before 2010"}. Names that the picture does not show are ignored.
    min_count : int
        Numbers of people below this are written as "<5" (if it is 5), and have no observed mean, which may be that of
        one patient; by default all are told.

    Returns
    -------
    matplotlib.axes.Axes, or an array of them for a study
        One entry a panel. The figure is `.get_figure()` of any.

    Raises
    ------
    DataError
        If the result has no cohorts to draw, or an argument cannot be.

    Notes
    -----
    Lines and intervals are those of `means`: covariates at their mean, intervals for one time at a time, not for the
    whole curve. Visits that a cohort never had are left out, not guessed. Where visits lie too close for their labels
    and counts, some have a small tick only.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> growth = ist.fit_growth(visits, outcome="bsi", time="month", patient="patient", cohort="cohort",
    ...                         reference="before", better="lower")
    >>> ax = ist.plot.trajectories(growth, labels={"bsi": "Symptom severity (BSI, 0-4)", "month": "Months"})
    >>> ax.get_ylabel(), ax.get_xlabel()
    ('Symptom severity (BSI, 0-4)', 'Months')
    """
    found = style.panels_of("trajectories", result)
    words = style.label_map(labels)
    times = None if at is None else _check.at(at)
    wide = _check.level(getattr(result, "level", 0.95) if level is None else level)
    freedom = str(getattr(result, "df", "auto")) if df is None else df
    _check.flag("spaghetti", spaghetti)
    _check.flag("observed", observed)
    least = _check.whole("min_count", min_count, least=1)
    made = {
        name: _Course(growth, times, wide, freedom) if isinstance(growth, CohortModel) else growth
        for name, growth in found.items()
    }
    cohorts = max(len(c.result.cohorts) for c in made.values() if isinstance(c, _Course))
    height = 3.7 + 0.15 * cohorts
    axes = parts.panels(ax, len(made), (5.6 if len(made) == 1 else 4.9, height), what="outcome")
    for panel, (name, course) in zip(axes, made.items(), strict=True):
        if isinstance(course, str):
            parts.refuse_panel(panel, style.named(words, name), course)
            continue
        _draw(panel, course, words, least, spaghetti=spaghetti, observed=observed)
    return axes[0] if isinstance(result, CohortModel) else parts.array_of(axes)


class _Course:
    """What is drawn of one model: its points, and its curve if it has one."""

    def __init__(self, result: CohortModel, at: list[float] | None, level: float, df: str) -> None:
        self.result, self.level = result, level
        self.visits = isinstance(result.design.shape, Visits)
        self.times = at or result.times or style.round_times(*result.time_range)
        self.low, self.high = self.times[0], self.times[-1]
        if at is None:
            self.low, self.high = result.time_range
        points = result.means(at if self.visits else self.times, level=level, df=df).tidy()
        if self.visits:
            points = points[(points["n"] > 0) & ~points["extrapolated"]]
        self.points = points
        self.curve: pd.DataFrame | None = None
        if not self.visits and self.high > self.low:
            ends = [t for t in result.last_seen.values() if self.low <= t <= self.high]
            grid = sorted({*np.linspace(self.low, self.high, GRID).tolist(), *self.times, *ends})
            curve = result.means(grid, level=level, df=df).tidy()
            # Irregular times end a little apart in every cohort; such a sliver is left out, not called extrapolated.
            end = curve["cohort"].map(result.last_seen).astype(float) if at is None else -np.inf
            sliver = curve["extrapolated"] & (self.high - end < SLIVER * (self.high - self.low))
            self.curve = curve[~sliver]

    def counts(self) -> tuple[str, dict[Any, dict[float, int]]]:
        """Return what is counted, and cohort -> time -> patients."""
        result = self.result
        if result.times:
            seen = result.sample.visits()
            table = {
                c: {float(t): int(n) for t, n in seen.loc[seen["cohort"] == c, ["time", "n"]].to_numpy()}
                for c in result.cohorts
            }
            return "patients seen", table
        last = style.last_visits(result)
        return "patients seen then or later", {c: {t: int((v >= t).sum()) for t in self.times} for c, v in last.items()}


def _draw(ax: Axes, course: _Course, words: Mapping[Any, str], least: int, *, spaghetti: bool, observed: bool) -> None:
    result = course.result
    seen = style.looks(result.cohorts)
    span = course.high - course.low
    parts.dress(ax)
    if spaghetti:
        _spaghetti(ax, result, seen)
    hatched = False
    for k, cohort in enumerate(result.cohorts):
        look = seen[cohort]
        points = course.points[course.points["cohort"] == cohort]
        # Error bars at the same visit stand beside each other, not on each other.
        beside = (k - (len(result.cohorts) - 1) / 2) * 0.012 * (span or 2.0) if course.curve is None else 0.0
        if course.curve is not None:
            curve = course.curve[course.curve["cohort"] == cohort]
            hatched |= _curve(ax, curve, look, str(cohort))
            points = points[~points["extrapolated"]]
            ax.plot(
                points["time"],
                points["estimate"],
                color=look.colour,
                marker=look.marker,
                markersize=5,
                linestyle="",
                zorder=4,
                gid=f"points: {cohort}",
            )
        else:
            x = points["time"].to_numpy(float) + beside
            y, low, high = (points[c].to_numpy(float) for c in ("estimate", "conf_low", "conf_high"))
            parts.joined(ax, x, y, low, high, look, str(cohort), "mean")
        if observed:
            _observed(ax, result, cohort, look, beside, least)
    pad = 0.05 * span if span else 1.0
    ax.set_xlim(course.low - pad, course.high + pad)
    head, seen_then = course.counts()
    counts = parts.told(seen_then, least)
    ticks = parts.thinned(course.times, ax, course.low, course.high, counts)
    ax.set_xticks(ticks, [style.tick(t) for t in ticks])
    if len(ticks) < len(course.times):
        ax.set_xticks(course.times, minor=True)
    parts.beside(ax, style.named(words, result.outcome))
    names = {c: style.named(words, c) for c in result.cohorts}
    parts.counts_under(ax, ticks, counts, names, seen, head, style.time_word(result, words))
    parts.better_arrow(ax, result.better)
    _legend(ax, course, seen, names, hatched=hatched, observed=observed, spaghetti=spaghetti)


def _curve(ax: Axes, curve: pd.DataFrame, look: style.Look, cohort: str) -> bool:
    """Draw a cohort's curve; say whether a part of it is extrapolated."""
    beyond = curve["extrapolated"].to_numpy(bool)
    for start, stop in _runs(beyond):
        # A part that is extrapolated begins where the observed one ends.
        first, last = (max(start - 1, 0), min(stop + 1, len(curve))) if beyond[start] else (start, stop)
        part = curve.iloc[first:last]
        x, y = part["time"].to_numpy(float), part["estimate"].to_numpy(float)
        low, high = part["conf_low"].to_numpy(float), part["conf_high"].to_numpy(float)
        if beyond[start]:
            ax.fill_between(
                x,
                low,
                high,
                facecolor="none",
                edgecolor=look.colour,
                hatch="////",
                linewidth=0.0,
                alpha=0.55,
                gid=f"extrapolated band: {cohort}",
            )
            ax.plot(x, y, color=look.colour, linestyle=look.dash, linewidth=1.0, gid=f"extrapolated: {cohort}")
        else:
            ax.fill_between(
                x,
                low,
                high,
                facecolor=(look.colour, 0.16),
                edgecolor=(look.colour, 0.7),
                linewidth=0.6,
                linestyle=look.dash,
                gid=f"band: {cohort}",
            )
            ax.plot(x, y, color=look.colour, linestyle=look.dash, linewidth=1.9, zorder=3, gid=f"mean: {cohort}")
    return bool(beyond.any())


def _runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return start and stop of every run of equal values."""
    cuts = [0, *(np.flatnonzero(np.diff(flags.astype(int))) + 1).tolist(), len(flags)]
    return list(itertools.pairwise(cuts))


def _spaghetti(ax: Axes, result: CohortModel, seen: Mapping[Any, style.Look]) -> None:
    rows = result.augment()
    patient, cohort, time, outcome = (str(c) for c in (result.patient, result.cohort, result.time, result.outcome))
    for name, look in seen.items():
        part = rows[rows[cohort] == name].sort_values([patient, time], kind="stable")
        ids = part[patient].unique()
        if len(ids) > STRANDS:
            part = part[part[patient].isin(ids[np.linspace(0, len(ids) - 1, STRANDS).round().astype(int)])]
        xy = part[[time, outcome]].to_numpy(float)
        cuts = np.flatnonzero(part[patient].to_numpy()[1:] != part[patient].to_numpy()[:-1]) + 1
        strands = LineCollection(
            np.split(xy, cuts),
            colors=look.colour,
            linewidths=0.5,
            alpha=max(0.06, min(0.3, 20 / (len(cuts) + 1))),
            zorder=1,
        )
        strands.set_gid(f"patients: {name}")
        ax.add_collection(strands)
    ax.autoscale_view()


def _observed(ax: Axes, result: CohortModel, cohort: Any, look: style.Look, beside: float, least: int) -> None:
    if not result.times:
        raise DataError("observed=True: times are irregular, so no visit has a mean; say spaghetti=True")
    rows = result.augment()
    seen = rows[rows[str(result.cohort)] == cohort].groupby(str(result.time))[str(result.outcome)]
    mean = seen.mean()[seen.count() >= least]
    ax.plot(
        mean.index.to_numpy(float) + beside,
        mean.to_numpy(float),
        linestyle="",
        marker=look.marker,
        markersize=8.5,
        markerfacecolor="none",
        markeredgecolor=look.colour,
        markeredgewidth=0.9,
        zorder=5,
        gid=f"observed: {cohort}",
    )


def _legend(
    ax: Axes,
    course: _Course,
    seen: Mapping[Any, style.Look],
    names: Mapping[Any, str],
    *,
    hatched: bool,
    observed: bool,
    spaghetti: bool,
) -> None:
    handles: list[Any] = [parts.key(look) for look in seen.values()]
    words = [names[c] for c in seen]
    interval = f"{100 * course.level:g} % interval"
    handles.append(parts.bar_key() if course.curve is None else Patch(facecolor=style.FAINT, alpha=0.3, linewidth=0))
    words.append(interval)
    if hatched:
        handles.append(Patch(facecolor="none", edgecolor=style.FAINT, hatch="////", linewidth=0.0))
        words.append("extrapolated beyond what was seen")
    if observed:
        handles.append(parts.hollow_key())
        words.append("observed mean")
    if spaghetti:
        handles.append(parts.thin_key())
        some = max(course.result.sample.patients.values()) > STRANDS
        words.append(f"one patient (of {STRANDS} per cohort)" if some else "one patient")
    parts.legend_above(ax, handles, words)
