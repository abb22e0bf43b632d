"""Is the model fit to be believed: residuals, random effects, and who was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats.errors import DataError
from implstats.growth import CohortModel, MixedResult
from implstats.growth.fixed import FixedEffects
from implstats.plot import parts, style
from implstats.tables import is_few

__all__ = ["missingness", "random_effects", "residuals"]

NAMED = 60
"""Most levels whose names are written beside a caterpillar."""
MANY = 2000
"""Points above which a cloud is stored as pixels, so that a vector file stays small."""
BINS = 10


def residuals(
    result: Any, *, ax: Sequence[Axes] | None = None, labels: Mapping[Any, str] | None = None
) -> NDArray[Any]:
    """Do the residuals scatter evenly around zero, and are they roughly normal?

    Left: residual against fitted value with the zero line and, broken, the mean of the residuals in up to ten groups
    of equal size; it should stay near zero, and the cloud equally wide. Right: standardised residuals against normal
    quantiles; they should lie on the line through their own quartiles.

    Parameters
    ----------
    result : MixedResult, GrowthResult or MMRMResult
        What `fit_mixed`, `fit_growth` or `fit_mmrm` returned.
    ax : sequence of two matplotlib.axes.Axes, optional
        Where to draw; by default a fresh figure of two panels.
    labels : mapping of name to str, optional
        What to write for the outcome; see `trajectories`.

    Returns
    -------
    numpy.ndarray
        The two Axes.

    Raises
    ------
    DataError
        If the result has no residuals, or an argument cannot be.

    Notes
    -----
    Residuals are those of `augment`: observed minus fitted, each patient's random effects included. These are drawn
    towards zero, so that residuals rise a little with the fitted values and spread less than the residual SD in a model
    that is right; what matters is a bend, a funnel, and stray ends. An MMRM has no random effects: its residuals are
    those around the cohort's mean at the visit, and at the right each is divided by the SD of its own visit.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> fit = ist.fit_mixed(visits, formula="bsi ~ month * cohort + (1 + month | patient)")
    >>> against_fitted, quantiles = ist.plot.residuals(fit)
    >>> against_fitted.get_ylabel()
    'residual, observed minus fitted'
    """
    words = style.label_map(labels)
    if not isinstance(result, FixedEffects):
        remedy = "draw what fit_mixed, fit_growth or fit_mmrm returned"
        raise style.needs("residuals", "a mixed or growth result or an MMRM", result, remedy)
    left, right = parts.panels(ax, 2, (4.4, 3.9))
    rows = result.augment()
    fitted, residual, standard = (rows[c].to_numpy(float) for c in ("fitted", "residual", "std_residual"))
    name = style.named(words, result.outcome)
    alpha = max(0.08, min(0.6, 150 / len(rows)))
    big = len(rows) > MANY
    cloud: dict[str, Any] = {"s": 12, "color": style.COLOURS[0], "alpha": alpha, "linewidths": 0, "rasterized": big}
    parts.dress(left)
    parts.dress(right)
    parts.title(left, "Residuals, and their mean (broken line)")
    parts.title(right, "Residuals against the normal distribution")
    left.scatter(fitted, residual, **cloud)
    left.axhline(0.0, color=style.INK, linewidth=0.9, gid="zero")
    x, y = _smooth(fitted, residual)
    left.plot(x, y, color=style.COLOURS[1], linestyle=style.DASHES[2], linewidth=1.8, gid="smooth")
    _axis_labels(left, f"fitted value of {name}", "residual, observed minus fitted")
    ordered = np.sort(standard)
    normal = special.ndtri((np.arange(1, len(ordered) + 1) - 0.5) / len(ordered))
    right.scatter(normal, ordered, **cloud)
    quartiles = np.quantile(ordered, [0.25, 0.75])
    slope = (quartiles[1] - quartiles[0]) / (2 * special.ndtri(0.75))
    ends = np.array([normal[0], normal[-1]])
    right.plot(ends, quartiles.mean() + slope * ends, color=style.INK, linewidth=0.9, gid="line")
    _axis_labels(right, "quantile of the normal distribution", "residual / residual SD")
    return parts.array_of([left, right])


def random_effects(
    result: Any,
    *,
    ax: Axes | Sequence[Axes] | None = None,
    group: str | None = None,
    level: float = 0.95,
    labels: Mapping[Any, str] | None = None,
) -> NDArray[Any]:
    """How far does each patient (site, therapist) lie from the mean of all, and how sure is that?

    A panel per random effect, its levels in order of size with intervals. Up to 60 levels are named; above that the
    names are left out and only their number is written.

    Parameters
    ----------
    result : MixedResult or GrowthResult
        What `fit_mixed` or `fit_growth` returned.
    ax : matplotlib.axes.Axes, or sequence of them, optional
        Where to draw, one per random effect; by default a fresh figure.
    group : str, optional
        The grouping factor to draw; by default all of them.
    level : float
        Level of the intervals.
    labels : mapping of name to str, optional
        What to write for a factor, an effect or a level; see `trajectories`.

    Returns
    -------
    numpy.ndarray
        One Axes a random effect, in the order of `random_effects` of the result.

    Raises
    ------
    DataError
        If there is no such group, or an argument cannot be.

    Notes
    -----
    Predictions are drawn towards zero, the more the less a level was seen: the spread is smaller than that of the true
    deviations, and two levels whose intervals overlap may still differ.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> fit = ist.fit_mixed(visits, formula="bsi ~ month * cohort + (1 + month | patient)")
    >>> [ax.get_title(loc="left") for ax in ist.plot.random_effects(fit)]
    ['patient: intercept', 'patient: effect of month']
    """
    words = style.label_map(labels)
    if not isinstance(result, MixedResult):
        remedy = "draw what fit_mixed or fit_growth returned"
        raise style.needs("random_effects", "a mixed or growth result", result, remedy)
    table = result.random_effects(level=_check.level(level))
    if group is not None:
        factors = list(dict.fromkeys(table["group"]))
        if group not in factors:
            raise DataError(f"group={_check.show(group)}: no such factor{_check.nearest(group, factors)}")
        table = table[table["group"] == group]
    split = [(str(g), str(e), part) for (g, e), part in table.groupby(["group", "effect"], sort=False)]
    levels = max(len(part) for _, _, part in split)
    tall = max(2.6, 0.175 * levels + 1.2) if levels <= NAMED else 5.2
    axes = parts.panels(ax, len(split), (4.2, tall), what="random effect")
    for panel, (factor, effect, part) in zip(axes, split, strict=True):
        _caterpillar(panel, part.sort_values("estimate", kind="stable"), words)
        constant, what = effect == "(Intercept)", style.named(words, effect)
        parts.title(panel, f"{style.named(words, factor)}: {'intercept' if constant else f'effect of {what}'}")
        unit = f"units of {style.named(words, result.outcome)}"
        if not constant:
            unit += f" per unit of {what}"
        panel.set_xlabel(
            style.wrapped(f"deviation from the mean of all ({unit}), {100 * level:g} % intervals", 46),
            fontsize=style.NORMAL,
            color=style.INK,
        )
    return parts.array_of(axes)


def missingness(
    result: Any,
    *,
    ax: Axes | Sequence[Axes] | None = None,
    labels: Mapping[Any, str] | None = None,
    min_count: int = 1,
) -> Axes | NDArray[Any]:
    """Who was seen: what share of each cohort's patients had a value at each visit?

    Patients whose outcome was recorded at a visit, in per cent of the patients of their cohort in the analysis; their
    numbers under the axis. Where times are irregular, the share of patients seen then or later, which ends at zero.

    Parameters
    ----------
    result : CohortModel or CohortComparison
        What `fit_growth` or `compare_cohorts` returned. A study gives a panel per outcome.
    ax : matplotlib.axes.Axes, or sequence of them, optional
        Where to draw, one per panel; by default a fresh figure.
    labels : mapping of name to str, optional
        What to write for a column or a cohort; see `trajectories`.
    min_count : int
        Numbers of patients below this are written as "<5" (if it is 5), and visits that fewer were seen at have no
        point, since a share of a known number gives it away; by default all are told.

    Returns
    -------
    matplotlib.axes.Axes, or an array of them for a study
        One entry a panel.

    Raises
    ------
    DataError
        If the result has no cohorts, or an argument cannot be.

    Notes
    -----
    The picture shows how many left, not why. A mixed model is right under drop-out that depends on what was observed; a
    cohort that loses more patients than another is a reason to ask whether that holds.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> growth = ist.fit_growth(visits, outcome="bsi", time="month", patient="patient", cohort="cohort",
    ...                         reference="before")
    >>> ax = ist.plot.missingness(growth)
    >>> ax.get_title(loc="left")
    'Who was seen: bsi'
    """
    found = style.panels_of("missingness", result)
    words = style.label_map(labels)
    least = _check.whole("min_count", min_count, least=1)
    fits = [g for g in found.values() if isinstance(g, CohortModel)]
    tall = 3.3 + 0.15 * max(len(g.cohorts) for g in fits)
    axes = parts.panels(ax, len(found), (5.4 if len(found) == 1 else 4.7, tall), what="outcome")
    for panel, (name, growth) in zip(axes, found.items(), strict=True):
        if isinstance(growth, str):
            parts.refuse_panel(panel, style.named(words, name), growth)
            continue
        _seen(panel, growth, words, least)
    return axes[0] if isinstance(result, CohortModel) else parts.array_of(axes)


def _axis_labels(ax: Axes, below: str, beside: str) -> None:
    ax.set_xlabel(style.wrapped(below, 44), fontsize=style.NORMAL, color=style.INK)
    parts.beside(ax, beside)


def _smooth(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of x and of y in groups of equal size along x."""
    order = np.argsort(x, kind="stable")
    groups = np.array_split(order, max(2, min(BINS, len(x) // 10)))
    return np.array([x[g].mean() for g in groups if len(g)]), np.array([y[g].mean() for g in groups if len(g)])


def _caterpillar(ax: Axes, part: pd.DataFrame, words: Mapping[Any, str]) -> None:
    parts.dress(ax)
    count = len(part)
    y = np.arange(count, dtype=float)
    estimate, low, high = (part[c].to_numpy(float) for c in ("estimate", "conf_low", "conf_high"))
    bars = LineCollection(
        [[(a, k), (b, k)] for a, b, k in zip(low, high, y, strict=True)],
        colors=style.FAINT,
        linewidths=1.2 if count <= NAMED else max(0.25, min(1.0, 120 / count)),
        rasterized=count > MANY,
    )
    bars.set_gid("intervals")
    ax.add_collection(bars)
    size = 4.0 if count <= NAMED else max(0.8, min(3.0, 430 / count))
    ax.plot(
        estimate,
        y,
        color=style.COLOURS[0],
        marker="o",
        markersize=size,
        linestyle="",
        zorder=3,
        gid="estimates",
        markeredgewidth=0,
        rasterized=count > MANY,
    )
    ax.axvline(0.0, color=style.INK, linewidth=0.9, zorder=2, gid="zero")
    reach = 1.05 * float(np.abs([low, high]).max())
    ax.set_xlim(-reach or -1.0, reach or 1.0)
    if not reach:
        ax.text(
            0.97,
            0.03,
            "all zero: so is their variance",
            transform=ax.transAxes,
            fontsize=style.SMALL,
            ha="right",
            va="bottom",
            color=style.INK,
            gid="zero variance",
        )
    ax.set_ylim(-0.8, count - 0.2)
    ax.spines["left"].set_visible(False)
    if count <= NAMED:
        names = [style.wrapped(style.named(words, v), 40) for v in part["level"]]
        ax.set_yticks(y, [n if "\n" not in n else n.split("\n")[0] + " …" for n in names])
        ax.tick_params(axis="y", length=0)
        return
    ax.set_yticks([])
    parts.beside(ax, f"{count} levels, in order of size")


def _seen(ax: Axes, growth: CohortModel, words: Mapping[Any, str], least: int) -> None:
    parts.dress(ax)
    looks = style.looks(growth.cohorts)
    low, high = growth.time_range
    started = growth.sample.patients
    names = {c: style.named(words, c) for c in growth.cohorts}
    counts: dict[Any, dict[float, int]] = {}
    if growth.times:
        times, head = growth.times, "patients seen"
        table = growth.sample.visits()
        for cohort in growth.cohorts:
            part = table[table["cohort"] == cohort]
            counts[cohort] = dict.fromkeys(times, 0) | {
                float(t): int(n) for t, n in zip(part["time"], part["n"], strict=True)
            }
            share = [_share(counts[cohort][t], started[cohort], least) for t in times]
            look = looks[cohort]
            ax.plot(
                times,
                share,
                color=look.colour,
                linestyle=look.dash,
                marker=look.marker,
                markersize=5.5,
                linewidth=1.8,
                gid=f"share: {cohort}",
                clip_on=False,
            )
    else:
        times, head = style.round_times(low, high), "patients seen then or later"
        for cohort, last in style.last_visits(growth).items():
            counts[cohort] = {t: int((last >= t).sum()) for t in times}
            left = np.sort(last)
            steps = [_share(len(left) - k, len(left), least) for k in range(len(left) + 1)]
            look = looks[cohort]
            ax.step(
                np.concatenate([[low], left]),
                steps,
                where="post",
                color=look.colour,
                linestyle=look.dash,
                linewidth=1.8,
                gid=f"share: {cohort}",
            )
            ax.plot(
                times,
                [_share(counts[cohort][t], len(left), least) for t in times],
                color=look.colour,
                linestyle="",
                marker=look.marker,
                markersize=5.5,
                gid=f"marks: {cohort}",
                clip_on=False,
            )
    pad = 0.05 * (high - low) or 1.0
    ax.set_xlim(low - pad, high + pad)
    ax.set_ylim(0, 104)
    ax.set_yticks([0, 25, 50, 75, 100], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    told = parts.told(counts, least)
    ticks = parts.thinned(times, ax, low, high, told)
    ax.set_xticks(ticks, [style.tick(t) for t in ticks])
    _axis_labels(ax, "", "share of patients seen")
    parts.title(ax, f"Who was seen: {style.named(words, growth.outcome)}")
    parts.counts_under(ax, ticks, told, names, looks, head, style.time_word(growth, words))
    handles = [parts.key(looks[c]) for c in growth.cohorts]
    parts.legend_inside(ax, handles, [f"{names[c]}: {parts.few(started[c], least)} patients" for c in growth.cohorts])


def _share(count: int, of: int, least: int) -> float:
    return float("nan") if is_few(count, least) else 100 * count / of
