"""What a diagnosis saw: residuals against the normal distribution, and who moves the estimates when left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats.growth import MixedResult, MMRMResult
from implstats.growth.diagnose import Diagnosis, diagnose
from implstats.plot import parts, style

__all__ = ["influence", "quantiles"]

Floats = NDArray[np.float64]

NAMED = 10
"""Levels whose names are written: those with the largest distances."""
MANY = 2000
"""Points above which a cloud is stored as pixels."""
ROW = 0.235
"""Height of a row, in inches."""


def quantiles(
    result: Any,
    *,
    ax: Axes | Sequence[Axes] | None = None,
    level: float = 0.95,
    labels: Mapping[Any, str] | None = None,
) -> NDArray[Any]:
    """Are residuals and random effects spread as a normal distribution would have them?

    A panel for each kind of residual, and for each random effect: values standardised by the model, in order, against
    normal quantiles, with the line on which they should lie and a band around it. Each point of a normal sample lies in
    the band with the given probability; of many points some lie outside.

    Parameters
    ----------
    result : GrowthResult, MixedResult, MMRMResult or Diagnosis
        What `fit_growth`, `fit_mixed`, `fit_mmrm` or `diagnose` returned.
    ax : matplotlib.axes.Axes, or sequence of them, optional
        Where to draw, one per kind; by default a fresh figure.
    level : float
        Level of the band, for each point by itself.
    labels : mapping of name to str, optional
        What to write for a factor or an effect; see `trajectories`.

    Returns
    -------
    numpy.ndarray
        One Axes for the conditional residuals (not of an MMRM), the marginal ones, and each random effect.

    Raises
    ------
    DataError
        If there is no fitted model, or an argument cannot be.

    Notes
    -----
    The k-th smallest of n uniform values has a beta distribution with parameters k and n + 1 - k; the band is its
    quantiles on the normal scale. It takes points as independent and the SD as known. Points below the line at its left
    and above it at its right are heavy tails; above it at both ends, a skew to the right.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> fit = ist.fit_mixed(visits, formula="bsi ~ month * cohort + (1 + month | patient)")
    >>> [ax.get_title(loc="left") for ax in ist.plot.quantiles(fit)]
    ['Conditional residuals (382)', 'Marginal residuals (382)', 'patient: intercept (144)', 'patient: month (144)']
    """
    words, level = style.label_map(labels), _check.level(level)
    drawn = list(_standardised(_diagnosis("quantiles", result, influence=False), words))
    axes = parts.panels(ax, len(drawn), (3.7, 3.6), what="kind of residual")
    for panel, (name, unit, values) in zip(axes, drawn, strict=True):
        _quantiles(panel, values, level)
        parts.title(panel, f"{name} ({len(values)})")
        panel.set_xlabel(
            style.wrapped(f"quantile of the normal distribution (SDs), {100 * level:g} % band", 42),
            fontsize=style.NORMAL,
            color=style.INK,
        )
        parts.beside(panel, unit)
    return parts.array_of(axes)


def influence(
    result: Any, *, ax: Axes | Sequence[Axes] | None = None, labels: Mapping[Any, str] | None = None
) -> NDArray[Any]:
    """Does any one patient (site, therapist) make the answer?

    A panel for the patients, and one for every other grouping factor: how far the fixed effects move together when one
    is left out, as Cook's distance. The ten largest are named, the others share a row. At the right, for a model of two
    cohorts that knows which direction is better: the improvement retained at the last visit without the one named.

    Parameters
    ----------
    result : GrowthResult, MixedResult, MMRMResult or Diagnosis
        What `fit_growth`, `fit_mixed`, `fit_mmrm` or `diagnose` returned.
    ax : matplotlib.axes.Axes, or sequence of them, optional
        Where to draw, one per grouping factor; by default a fresh figure.
    labels : mapping of name to str, optional
        What to write for a factor or one of its levels; see `trajectories`.

    Returns
    -------
    numpy.ndarray
        One Axes a grouping factor, the patients first.

    Raises
    ------
    DataError
        If there is no fitted model, nobody was left out, or an argument cannot be.

    Notes
    -----
    The picture names patients by their ids. The broken line is the edge of the fixed effects' 10 % confidence region
    (Cook 1977); where it lies beyond the axis, the axis says where.

    Examples
    --------
    >>> import implstats as ist
    >>> visits = ist.load_example("reorganisation")
    >>> fit = ist.fit_mixed(visits, formula="bsi ~ month * cohort + (1 + month | patient)")
    >>> (patients,) = ist.plot.influence(fit)
    >>> patients.get_title(loc="left")
    'patient: 144 left out in turn'
    """
    words = style.label_map(labels)
    diagnosis = _diagnosis("influence", result, influence=True)
    table = diagnosis.influence()
    bars = diagnosis.tidy().query('quantity == "Cook\'s distance"').set_index("kind")["threshold"]
    kept = _retained(diagnosis)
    factors = [(str(group), part) for group, part in table.groupby("group", sort=False)]
    rows = max(min(len(part), NAMED + 1) for _, part in factors)
    axes = parts.panels(ax, len(factors), (5.0, max(2.4, ROW * rows + 1.3)), what="grouping factor")
    for panel, (group, part) in zip(axes, factors, strict=True):
        _distances(panel, part, float(bars[group]), words)
        if kept is not None:
            _kept(panel, part, kept, style.at_time(diagnosis.result, words, kept["time"].iloc[0]))
        lost = int(part["cooks_distance"].isna().sum())
        told = f"{style.named(words, group)}: {len(part) - lost} left out in turn"
        parts.title(panel, told + (f", {lost} could not be" if lost else ""))
    return parts.array_of(axes)


def _diagnosis(who: str, result: Any, *, influence: bool) -> Diagnosis:
    if isinstance(result, Diagnosis):
        return result
    if not isinstance(result, MixedResult | MMRMResult):
        remedy = "draw what fit_growth, fit_mixed, fit_mmrm or diagnose returned"
        raise style.needs(who, "a fitted growth, mixed or MMRM model", result, remedy)
    return diagnose(result, influence=influence)


def _standardised(diagnosis: Diagnosis, words: Mapping[Any, str]) -> Iterator[tuple[str, str, Floats]]:
    """Yield each kind of value that should be standard normal: its name, what one is in words, and the values."""
    rows = diagnosis.residuals()
    for name, column, unit in (
        ("Conditional residuals", "student_residual", "residual / its standard error"),
        ("Marginal residuals", "whitened_residual", "whitened residual (SDs)"),
    ):
        if column in rows:
            yield name, unit, rows[column].dropna().to_numpy(float)
    for (group, effect), part in diagnosis.random_effects().groupby(["group", "effect"], sort=False):
        what = "intercept" if effect == "(Intercept)" else style.named(words, effect)
        name = f"{style.named(words, group)}: {what}"
        yield name, "predicted effect / SD of predictions", part["std_effect"].to_numpy(float)


def _quantiles(ax: Axes, values: Floats, level: float) -> None:
    parts.dress(ax)
    n, tail = len(values), (1 - level) / 2
    k = np.arange(1, n + 1)
    normal = special.ndtri((k - 0.5) / n)
    low, high = (special.ndtri(special.betaincinv(k, n + 1 - k, p)) for p in (tail, 1 - tail))
    ax.fill_between(normal, low, high, color=style.FAINT, alpha=0.3, linewidth=0, gid="band")
    ends = normal[[0, -1]]
    ax.plot(ends, ends, color=style.INK, linewidth=0.9, gid="line")
    outside = float(np.mean((np.sort(values) < low) | (np.sort(values) > high)))
    alpha = max(0.25, min(0.8, 300 / n))
    ax.scatter(normal, np.sort(values), s=12, color=style.COLOURS[0], alpha=alpha, linewidths=0, rasterized=n > MANY)
    ax.text(
        0.03,
        0.97,
        f"{100 * outside:.0f} % of points outside the band",
        transform=ax.transAxes,
        fontsize=style.SMALL,
        va="top",
        color=style.INK,
        gid="outside",
    )


def _ranked(part: pd.DataFrame) -> pd.DataFrame:
    return part.dropna(subset="cooks_distance").sort_values("cooks_distance", ascending=False, kind="stable")


def _distances(ax: Axes, part: pd.DataFrame, bar: float, words: Mapping[Any, str]) -> None:
    parts.dress(ax)
    ranked = _ranked(part)
    distance = ranked["cooks_distance"].to_numpy(float)
    top, rest = distance[:NAMED], distance[NAMED:]
    rows = np.arange(len(top))
    look: dict[str, Any] = {"color": style.COLOURS[0], "zorder": 3}
    ax.hlines(rows, 0, top, color=style.FAINT, linewidth=1.2, gid="stems")
    ax.plot(top, rows, marker="o", markersize=5, linestyle="", gid="named", **look)
    ax.plot(rest, np.full(len(rest), len(top)), marker="|", markersize=8, linestyle="", alpha=0.5, gid="others", **look)
    names = [_short(style.named(words, v)) for v in ranked["level"].head(NAMED)]
    names += [f"{len(rest)} others"] if len(rest) else []
    ax.set_yticks(np.arange(len(names)), names)
    ax.set_ylim(max(len(names), 1) - 0.4, -0.6)
    ax.tick_params(axis="y", length=0)
    reach = 1.08 * float(distance.max(initial=0.0)) or 1.0
    far = bar > 1.5 * reach
    ax.set_xlim(0, reach if far else max(reach, 1.08 * bar))
    if not far:
        ax.axvline(bar, color=style.COLOURS[1], linestyle=style.DASHES[2], linewidth=1.2, gid="bar")
    edge = f"up to {style.number(bar)}" + (", beyond the axis" if far else " (broken line)")
    ax.set_xlabel(
        style.wrapped(f"Cook's distance (no unit); 10 % confidence region of the fixed effects {edge}", 50),
        fontsize=style.NORMAL,
        color=style.INK,
    )


def _short(name: str) -> str:
    lines = style.wrapped(name, 28).split("\n")
    return lines[0] + (" …" if len(lines) > 1 else "")


def _retained(diagnosis: Diagnosis) -> pd.DataFrame | None:
    """Return the improvement retained without each level, where there is one such number."""
    influence = diagnosis.influence()
    if "retained_change" not in influence:
        return None
    table = diagnosis.retained()
    return table.set_index(["group", "level"]) if len(table) == len(influence) else None


def _kept(ax: Axes, part: pd.DataFrame, kept: pd.DataFrame, when: str) -> None:
    """Write at the right the improvement retained without each level that is named."""
    ranked = _ranked(part).head(NAMED)
    place: dict[str, Any] = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points"}
    place |= {"fontsize": style.SMALL, "color": style.INK, "annotation_clip": False, "ha": "left"}
    whole = (kept["retained"] - kept["retained_change"]).dropna()
    head = ["improvement retained", f"at {when}, without"]
    head += [f"(with all: {style.percent(whole.iloc[0])} %)"] if len(whole) else []
    text = "\n".join(style.wrapped(line, 26) for line in head)
    ax.annotate(text, (1.0, -0.6), xytext=(10, 2), va="bottom", fontweight="bold", gid="head", **place)
    for row, pair in enumerate(zip(ranked["group"], ranked["level"], strict=True)):
        share = float(kept.loc[pair, "retained"])
        cell = f"{style.percent(share)} %" if np.isfinite(share) else "–"
        ax.annotate(cell, (1.0, row), xytext=(10, 0), va="center", gid="retained", **place)
