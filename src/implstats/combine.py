"""Effects of several programmes combined: their mean, how far the programmes differ, and what a next one may show."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats._check import Faults
from implstats._core import pooling
from implstats.design.frames import drop_missing, numeric
from implstats.design.ratings import one_column_each
from implstats.errors import DataError
from implstats.results import Result, Sample, frozen, intervals

__all__ = ["CombinedProgrammes", "combine_programmes"]

Floats = NDArray[np.float64]

METHODS = ("paule-mandel", "dersimonian-laird", "fixed")
INTERVALS = ("hksj", "modified-hksj", "normal")
LOPSIDED = 0.05
FEW = 5
# Paule and Mandel make the factor 1, but for rounding.
CLOSE = 0.999
_MODELS = {
    "paule-mandel": "random effects, tau^2 by Paule and Mandel",
    "dersimonian-laird": "random effects, tau^2 by DerSimonian and Laird",
    "fixed": "one common effect (tau^2 taken as 0)",
}


@dataclass(frozen=True)
class Pooled:
    """The weighted mean of programmes.

    Attributes
    ----------
    mean, std_error : the mean, and its standard error if the weights are right.
    scale : Hartung and Knapp's factor of its variance.
    weights : (k,) shares of the weights.
    """

    mean: float
    std_error: float
    scale: float
    weights: Floats


def _pooled(y: Floats, v: Floats, tau2: float) -> Pooled:
    """Return the mean under known tau^2: a common-effect mean of variances v + tau^2, as statsmodels computes it.

    statsmodels' own random effects are left alone: its DerSimonian-Laird tau^2 may be negative, and then its standard
    error is far too small.
    """
    from statsmodels.stats.meta_analysis import combine_effects

    with np.errstate(all="ignore"):
        found = combine_effects(y, v + tau2, method_re="dl")
    scale = float(found.var_hksj_fe) * float(found.w_total_fe)
    weights = np.asarray(found.weights_rel_fe, dtype=float)
    return Pooled(float(found.mean_effect_fe), float(found.sd_eff_w_fe), scale, frozen(weights))


@dataclass(frozen=True, eq=False, repr=False)
class CombinedProgrammes(Result):
    """Effects of programmes, their weighted mean, their spread, and where the effect of a next programme may lie.

    Attributes
    ----------
    names : tuple
        The programmes.
    estimate, std_error : numpy.ndarray
        One value a programme.
    effect : str
        What is estimated, for headers and pictures.
    method : str
        "paule-mandel", "dersimonian-laird" or "fixed".
    interval : str
        "hksj", "modified-hksj" or "normal".
    tau2 : float
        Variance of the programmes' true effects.
    pooled : Pooled
    level : float
    sample : Sample
    """

    names: tuple[Any, ...]
    estimate: Floats
    std_error: Floats
    effect: str
    method: str
    interval: str
    tau2: float
    pooled: Pooled
    level: float
    sample: Sample

    def __post_init__(self) -> None:
        for name in ("estimate", "std_error"):
            object.__setattr__(self, name, frozen(getattr(self, name), float))

    @property
    def _mean_error(self) -> float:
        """The standard error of the mean that its interval uses."""
        scale = {"hksj": self.pooled.scale, "modified-hksj": max(1.0, self.pooled.scale), "normal": 1.0}
        return self.pooled.std_error * math.sqrt(scale[self.interval])

    @property
    def _has_prediction(self) -> bool:
        return self.method != "fixed" and len(self.names) > 2

    def tidy(self, *, level: float | None = None) -> pd.DataFrame:  # type: ignore[override]
        """Return one row a programme, then the mean, then the prediction for a next programme.

        Programmes' own intervals are normal. The prediction (from three programmes on, with random effects) has no
        standard error of its own: its ends are those of a single programme's true effect.
        """
        level = self.level if level is None else _check.level(level)
        k = len(self.names)
        estimate = [*self.estimate, self.pooled.mean]
        error = [*self.std_error, self._mean_error]
        df = [*[math.inf] * k, math.inf if self.interval == "normal" else k - 1.0]
        weight = [*self.pooled.weights, 1.0]
        if self._has_prediction:
            estimate.append(self.pooled.mean)
            error.append(math.sqrt(self.tau2 + self._mean_error**2))
            df.append(k - 2.0)
            weight.append(math.nan)
        low, high = intervals(np.array(estimate), np.array(error), np.array(df), level)
        if self._has_prediction:
            error[-1] = math.nan
        quantity = ["programme"] * k + ["mean", "prediction"][: len(estimate) - k]
        return pd.DataFrame(
            {
                "quantity": quantity,
                "programme": pd.Series([*self.names, *[""] * (len(estimate) - k)], dtype=object),
                "estimate": estimate,
                "std_error": error,
                "df": df,
                "conf_low": low,
                "conf_high": high,
                "weight": weight,
            }
        )

    def heterogeneity(self, *, level: float | None = None) -> pd.DataFrame:
        """Return one row: Cochran's Q with its test, tau^2 and I^2 with Q-profile intervals.

        tau^2 is that of the method (Paule and Mandel's under "fixed"); its interval, and that of I^2, is the set of
        tau^2 at which the generalised Q is not extreme (Viechtbauer 2007).
        """
        level = self.level if level is None else _check.level(level)
        y, v = self.estimate, self.std_error**2
        q, df = pooling.generalised_q(0.0, y, v), len(y) - 1
        point, low, high = pooling.profile(y, v, level)
        tau2 = point if self.method == "fixed" else self.tau2
        found: dict[str, float] = {"statistic": q, "df": df, "p_value": float(special.chdtrc(df, q))}
        found |= {"tau2": tau2, "tau2_low": low, "tau2_high": high}
        found |= {"i2": pooling.share(tau2, v), "i2_low": pooling.share(low, v), "i2_high": pooling.share(high, v)}
        return pd.DataFrame({name: [value] for name, value in found.items()})

    def glance(self) -> pd.DataFrame:
        """Return one row: programmes, method, and heterogeneity."""
        head = pd.DataFrame({"n": [len(self.names)], "method": [self.method]})
        return pd.concat([head, self.heterogeneity()], axis=1)

    def header(self) -> list[str]:
        """Return what was combined how, how far programmes differ, and on how little that rests."""
        row, k = self.heterogeneity().iloc[0], len(self.names)
        p = "< .001" if row["p_value"] < 0.001 else f"= {row['p_value']:.3f}"
        lines = [
            f"{self.effect} of {k} programmes: {_MODELS[self.method]} ({100 * self.level:.10g}% intervals, of the mean "
            f"{self._interval_in_words()})",
            f"spread of true effects: tau^2 {row['tau2']:.4g} ({row['tau2_low']:.4g} to {row['tau2_high']:.4g}); I^2 "
            f"{100 * row['i2']:.0f} % ({100 * row['i2_low']:.0f} to {100 * row['i2_high']:.0f} %) of the estimates' "
            f"variance; Q({k - 1}) = {row['statistic']:.4g}, p {p}",
        ]
        if self.method == "fixed":
            lines.append("the mean is of these programmes, and says nothing of others")
        if k < FEW:
            lines.append(f"{k} programmes tell little of their spread: what tau^2 is, its interval says")
        return [*lines, *self.sample.in_words()]

    def _interval_in_words(self) -> str:
        if self.interval == "normal":
            return "normal, which are too narrow for few programmes"
        words = f"Hartung-Knapp-Sidik-Jonkman with t({len(self.names) - 1})"
        scale = self.pooled.scale
        if self.interval == "modified-hksj":
            return f"{words}, factor at least 1 ({scale:.3g} found)"
        small = ": programmes agree better than their errors let expect; interval='modified-hksj' guards against it"
        return f"{words}, factor {scale:.3g}" + (small if scale < CLOSE else "")


def _errors(frame: pd.DataFrame, y: Floats, call: Mapping[str, Any], faults: Faults) -> Floats:
    """Return standard errors: a column's, or from the ends of intervals that are symmetric on the estimates' scale."""
    if call["std_error"] is not None:
        v = numeric(frame, "std_error", call["std_error"], faults)
        bad = v <= 0
        if bad.any():
            faults.add("std_error", call["std_error"], f"not above 0 in {_check.rows(frame.index[bad])}")
        return v
    low, high = (numeric(frame, k, call[k], faults) for k in ("lower", "upper"))
    if faults:
        return low
    outside = (y < low) | (y > high) | (high <= low)
    if outside.any():
        where = _check.rows(frame.index[outside])
        faults.add("lower", call["lower"], f"with upper= it does not enclose the estimate in {where}", "check the rows")
        return np.full(len(y), np.nan)
    lopsided = np.abs(high + low - 2 * y) > LOPSIDED * (high - low)
    if lopsided.any():
        where = _check.rows(frame.index[lopsided])
        remedy = "give logarithms of ratios and of their limits"
        faults.add("lower", call["lower"], f"with upper= lopsided around the estimate in {where}", remedy)
    return np.asarray((high - low) / (2 * special.ndtri(0.5 + call["limits"] / 2)))


def _programmes(frame: pd.DataFrame, call: Mapping[str, Any]) -> tuple[tuple[Any, ...], Floats, Floats, Sample]:
    """Return names, estimates and standard errors; every fault is reported together."""
    _check.frame(frame)
    faults = Faults()
    columns = ("estimate", "std_error", "lower", "upper", "programme")
    _check.columns(frame, faults, **{k: call[k] for k in columns})
    for argument, allowed in (("method", METHODS), ("interval", INTERVALS), ("missing", ("drop", "raise"))):
        faults.ask(_check.one_of, argument, call[argument], allowed)
    for argument in ("level", "limits"):
        faults.ask(_check.level, call[argument], argument)
    if (call["lower"] is None) != (call["upper"] is None) or (call["std_error"] is None) == (call["lower"] is None):
        faults.add("std_error", call["std_error"], "standard errors or both limits are needed, not both of these")
    faults.settle()
    one_column_each({k: call[k] for k in columns if call[k] is not None}, faults)
    y = numeric(frame, "estimate", call["estimate"], faults)
    faults.settle()
    error = _errors(frame, y, call, faults)
    faults.settle()
    masks = {f"{call['estimate']} missing": np.isnan(y), "standard error missing": np.isnan(error)}
    kept, dropped = drop_missing(masks, call["missing"], frame.index)
    sample = Sample(len(frame), int(kept.sum()), dropped)
    if kept.sum() < 2:
        few = "1 programme" if kept.sum() else "0 programmes"
        raise DataError(f"estimate={_check.show(call['estimate'])}: {few}; combining takes two")
    names = pd.Series(frame.index if call["programme"] is None else frame[call["programme"]].to_numpy())[kept]
    if call["programme"] is not None and names.duplicated().any():
        twice = _check.show(names[names.duplicated()].iloc[0])
        raise DataError(
            f"programme={_check.show(call['programme'])}: {twice} has several effects, which are not independent; give "
            "one row per programme"
        )
    return tuple(names.tolist()), y[kept], error[kept], sample


def combine_programmes(
    frame: pd.DataFrame,
    *,
    estimate: Hashable,
    std_error: Hashable | None = None,
    lower: Hashable | None = None,
    upper: Hashable | None = None,
    limits: float = 0.95,
    programme: Hashable | None = None,
    effect: str = "effect",
    method: str = "paule-mandel",
    interval: str = "hksj",
    level: float = 0.95,
    missing: str = "drop",
) -> CombinedProgrammes:
    """What do several programmes show together, how far do they differ, and what may a next programme show?

    Parameters
    ----------
    frame : pandas.DataFrame
        One row per programme.
    estimate : str
        Column with the effect: a difference in d, a log hazard ratio, a log rate ratio; never a ratio itself.
    std_error : str, optional
        Column with its standard error.
    lower, upper : str, optional
        In place of it, columns with the limits of its interval, which must lie alike on both sides.
    limits : float
        The level of those limits.
    programme : str, optional
        Column with the programmes' names; by default the index.
    effect : str
        What is estimated, with its unit, for headers and pictures.
    method : {"paule-mandel", "dersimonian-laird", "fixed"}
        How the variance between programmes, tau^2, is estimated; "fixed" takes one effect to be common to all.
    interval : {"hksj", "modified-hksj", "normal"}
        Of the mean: Hartung, Knapp, Sidik and Jonkman's with t(k - 1), right also for few programmes; the same, never
        narrower than the errors alone would make it; or normal.
    level : float
        Level of the intervals.
    missing : {"drop", "raise"}
        Rows with a missing value are dropped and counted, or an error.

    Returns
    -------
    CombinedProgrammes

    Raises
    ------
    DataError
        Arguments or data that cannot answer the question, all faults together.

    Notes
    -----
    Standard errors are taken as known and estimates as independent: two effects from one programme, or two programmes
    that share patients or a control cohort, count as one. The prediction is mean +/- t(k - 2) sqrt(tau^2 + SE^2)
    (Higgins et al. 2009). That programmes differ is no explanation of why: with ten or more, a moderator can be tried.

    References
    ----------
    Veroniki et al. 2016, DOI 10.1002/jrsm.1164; IntHout et al. 2014, DOI 10.1186/1471-2288-14-25; Higgins et al. 2009,
    DOI 10.1111/j.1467-985X.2008.00552.x; Roever et al. 2015, DOI 10.1186/s12874-015-0091-1.

    Examples
    --------
    >>> import pandas as pd
    >>> import implstats as ist
    >>> effects = pd.DataFrame({"clinic": ["A", "B", "C", "D"], "d": [-0.62, -0.10, -0.35, -0.44],
    ...                         "se": [0.17, 0.21, 0.12, 0.25]})
    >>> found = ist.combine_programmes(effects, estimate="d", std_error="se", programme="clinic")
    >>> found.tidy()[["quantity", "programme", "estimate", "conf_low", "conf_high"]].round(2)
         quantity programme  estimate  conf_low  conf_high
    0   programme         A     -0.62     -0.95      -0.29
    1   programme         B     -0.10     -0.51       0.31
    2   programme         C     -0.35     -0.59      -0.11
    3   programme         D     -0.44     -0.93       0.05
    4        mean               -0.39     -0.71      -0.07
    5  prediction               -0.39     -1.00       0.23
    """
    call = {k: v for k, v in locals().items() if k != "frame"}
    names, y, error, sample = _programmes(frame, call)
    v = error**2
    tau2 = {"paule-mandel": lambda: pooling.solved(len(y) - 1, y, v), "fixed": lambda: 0.0}.get(
        method, lambda: pooling.moments(y, v)
    )()
    pooled = _pooled(y, v, tau2)
    return CombinedProgrammes(call, names, y, error, effect, method, interval, tau2, pooled, level, sample)
