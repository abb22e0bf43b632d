"""lifelines on the same spells of a Cox model, side by side with ours, where lifelines has it and has it in time."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from implstats.errors import DataError

if TYPE_CHECKING:
    from implstats.survival.hazards import CoxResult

__all__ = ["coxph"]

# lifelines' sums over clusters take minutes beyond.
MOST_ROWS = 5000


def coxph(result: CoxResult) -> pd.DataFrame:
    """Return each coefficient, and the log-likelihood, next to those of lifelines' CoxPHFitter."""
    found, call = result.spells, result.call
    for argument in ("frailty", "penalty"):
        if call[argument] is not None:
            raise DataError(f"cross_check: lifelines has no {argument}= of this kind; compare with a fit without it")
    if call["ties"] != "efron":
        raise DataError(f"cross_check: lifelines knows Efron's ties only, this is {call['ties']!r}")
    if found.delayed:
        raise DataError("cross_check: with entry= lifelines takes minutes, and its baseline is wrong")
    if result.robust is not None and len(found.exit) > MOST_ROWS:
        raise DataError(f"cross_check: with cluster= lifelines takes minutes beyond {MOST_ROWS} rows")
    scale = found.X.std(axis=0)
    frame = pd.DataFrame((found.X - found.X.mean(axis=0)) / scale, columns=[f"x{j}" for j in range(found.X.shape[1])])
    frame = frame.assign(exit=found.exit, event=result.happened, weight=found.weight)
    options: dict[str, object] = {"weights_col": "weight", "fit_options": {"precision": 1e-12}}
    if len(found.strata) > 1:
        frame, options = frame.assign(stratum=found.stratum), options | {"strata": ["stratum"]}
    if result.robust is not None:
        frame, options = frame.assign(cluster=found.cluster), options | {"cluster_col": "cluster"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lifelines import CoxPHFitter

        other = CoxPHFitter().fit(frame, "exit", "event", **options)
    error = np.sqrt(np.diag(result.vcov))
    out = pd.DataFrame(
        {
            "term": [*result.terms, "loglik"],
            "estimate": [*result.fit.beta, result.loglik],
            "std_error": [*error, np.nan],
            "engine": "lifelines CoxPHFitter",
            "estimate_other": [*(other.params_ / scale), other.log_likelihood_],
            "std_error_other": [*(other.standard_errors_ / scale), np.nan],
        }
    )
    out["difference"] = out["estimate"] - out["estimate_other"]
    return out
