"""lifelines on the same spells: its answers side by side with ours, converted at this door."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from implstats.design.spells import Spells
from implstats.errors import DataError

__all__ = ["kaplan_meier"]

LEVEL = 0.95


def kaplan_meier(found: Spells, table: pd.DataFrame, labels: Sequence[Any]) -> pd.DataFrame:
    """Return the shares and standard errors of a tidy table next to lifelines'.

    lifelines keeps its standard error to itself; it is read off its interval, which is symmetric in log(-log S).
    """
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        from lifelines import KaplanMeierFitter
        from lifelines.exceptions import StatError

        parts = []
        for k, label in enumerate(labels):
            own, rows = found.group == k, table[table["group"] == label]
            entry = found.entry[own] if found.delayed else None
            try:
                fitter = KaplanMeierFitter(alpha=1 - LEVEL).fit(
                    found.exit[own], found.event[own] > 0, entry=entry, weights=found.weight[own]
                )
            except StatError as error:
                raise DataError(f"cross_check: lifelines refuses {label}: {str(error).strip()}") from error
            survival = fitter.survival_function_.iloc[:, 0].reindex(rows["time"]).to_numpy()
            ends = np.log(-np.log(fitter.confidence_interval_.reindex(rows["time"]).to_numpy()))
            reach = np.abs(ends[:, 0] - ends[:, 1]) / (2 * special.ndtri(0.5 + LEVEL / 2))
            part = rows[["group", "time", "estimate", "std_error"]].assign(engine="lifelines KaplanMeierFitter")
            part["estimate_other"], part["std_error_other"] = survival, -survival * np.log(survival) * reach
            parts.append(part)
    out: pd.DataFrame = pd.concat(parts, ignore_index=True)
    out["difference"] = out["estimate"] - out["estimate_other"]
    return out
