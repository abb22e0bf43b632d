"""The table of a comparison: one row an outcome, time and cohort, and p-values corrected over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats.growth.cohorts import CohortModel

__all__ = ["CORRECTIONS", "ORDER", "answers", "corrected", "row"]

Floats = NDArray[np.float64]

CORRECTIONS = ("holm", "bonferroni", "fdr_bh", "none")
WORSE, NOT_WORSE, UNKNOWN = "worse by more than the margin", "not worse by more than the margin", "cannot tell"


def answers(fit: CohortModel, at: Sequence[float], sd: str | float, df: str) -> dict[str, Any]:
    """Return what a row is made of: the model's means, changes, contrasts, d and improvement retained."""
    times = list(at)
    return {
        "means": fit.means([fit.baseline, *times], df=df),
        "changes": fit.changes(times, df=df),
        "contrasts": fit.contrasts(times, df=df),
        "d": fit.effect_sizes(times, sd=sd, df=df),
        "retained": fit.retained_improvement(times, df=df),
    }


def row(
    fit: CohortModel, tables: Mapping[str, pd.DataFrame], cohort: Any, t: float, margin: float | None
) -> dict[str, Any]:
    """Return one row of the comparison, from the tables of `answers`."""

    def one(table: str, **where: Any) -> pd.Series:
        frame = tables[table]
        for column, value in where.items():
            frame = frame[frame[column] == value]
        return frame.iloc[0]

    made: dict[str, Any] = {"time": t, "cohort": cohort, "reference": fit.reference}
    for who, suffix in ((cohort, ""), (fit.reference, "_reference")):
        start, then = (one("means", cohort=who, time=v) for v in (fit.baseline, t))
        change, d = one("changes", cohort=who, time=t), one("d", quantity="d", cohort=who, time=t)
        made |= {
            f"n{suffix}": int(then["n"]),
            f"baseline_mean{suffix}": start["estimate"],
            f"baseline_se{suffix}": start["std_error"],
            f"mean{suffix}": then["estimate"],
            f"mean_se{suffix}": then["std_error"],
        }
        for word, found in (("change", change), ("d", d)):
            made |= {
                f"{word}{suffix}": found["estimate"],
                f"{word}{suffix}_low": found["conf_low"],
                f"{word}{suffix}_high": found["conf_high"],
            }
    gap = one("d", quantity="difference", cohort=cohort, time=t)
    kept = one("retained", cohort=cohort, time=t)
    made |= {
        "d_difference": gap["estimate"],
        "d_difference_low": gap["conf_low"],
        "d_difference_high": gap["conf_high"],
        "p_value": one("contrasts", quantity="change", cohort=cohort, time=t)["p_value"],
        "retained": kept["estimate"],
        "retained_low": kept["conf_low"],
        "retained_high": kept["conf_high"],
        "retained_set": kept["set"],
        "sd": one("d", quantity="d", cohort=cohort, time=t)["sd"],
        "extrapolated": bool(gap["extrapolated"]),
        "sd_source": gap["sd_source"],
    }
    if margin is not None:
        made["against_margin"] = _against(gap["conf_low"], gap["conf_high"], margin)
    return made


def _against(low: float, high: float, margin: float) -> str:
    if high < -margin:
        return WORSE
    return NOT_WORSE if low > -margin else UNKNOWN


def corrected(table: pd.DataFrame, fits: Mapping[str, CohortModel], correction: str) -> Floats:
    """Return p-values corrected over hypotheses; along a straight line every time is the same hypothesis."""
    out = table["p_value"].to_numpy(dtype=float, copy=True)
    known = np.isfinite(out)
    if correction == "none" or not known.any():
        return out
    from statsmodels.stats.multitest import multipletests

    lines = [name for name, fit in fits.items() if fit.design.shape.one_direction]
    which = table.loc[known, ["outcome", "cohort", "time"]]
    which["time"] = which["time"].where(~which["outcome"].isin(lines), 0.0)
    code, _ = pd.MultiIndex.from_frame(which).factorize()
    first = np.unique(code, return_index=True)[1]
    out[known] = multipletests(out[known][first], method=correction)[1][code]
    return out


ORDER = [
    "outcome",
    "better",
    "model",
    "time",
    "cohort",
    "reference",
    "n",
    "n_reference",
    "baseline_mean",
    "baseline_se",
    "baseline_mean_reference",
    "baseline_se_reference",
    "mean",
    "mean_se",
    "mean_reference",
    "mean_se_reference",
    "change",
    "change_low",
    "change_high",
    "change_reference",
    "change_reference_low",
    "change_reference_high",
    "d",
    "d_low",
    "d_high",
    "d_reference",
    "d_reference_low",
    "d_reference_high",
    "d_difference",
    "d_difference_low",
    "d_difference_high",
    "p_value",
    "p_corrected",
    "retained",
    "retained_low",
    "retained_high",
    "retained_set",
    "sd",
    "sd_source",
    "extrapolated",
    "against_margin",
    "error",
]
