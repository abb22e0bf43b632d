"""lifelines' parametric models on the same times, side by side with ours, where lifelines has them."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats._core.parametric import Spline
from implstats.design.spells import Spells
from implstats.errors import DataError

if TYPE_CHECKING:
    from implstats.survival.lifetimes import ParametricResult

__all__ = ["aft"]

Floats = NDArray[np.float64]

NO_END = "cross_check: lifelines' search did not come to an end on these rows"
FITTERS = {
    "weibull": "WeibullAFTFitter",
    "log-normal": "LogNormalAFTFitter",
    "log-logistic": "LogLogisticAFTFitter",
}


def aft(result: ParametricResult) -> pd.DataFrame:
    """Return every parameter, and the log-likelihood, next to those of lifelines' fitter; of a spline, the terms alone.

    lifelines sees centred columns of one standard deviation; its Weibull and log-logistic shapes are ours turned round.
    """
    found, times = result.spells, result.times
    if result.robust is not None:
        raise DataError(
            "cross_check: lifelines' robust errors know no clusters here; compare with a fit without cluster="
        )
    between = bool((np.isfinite(times.upper) & ~times.exact()).any())
    if isinstance(result.family, Spline) and (between or found.delayed):
        raise DataError(
            "cross_check: lifelines' spline takes the logarithm of a time of 0; compare a fit without these"
        )
    other, J = _fitted(result, between)
    ours = result.tidy().iloc[: len(J)]
    out = ours[["term", "estimate", "std_error"]].assign(engine=f"lifelines {type(other).__name__}")
    out["estimate_other"] = J @ other.params_.to_numpy()
    out["std_error_other"] = np.sqrt(np.diag(J @ other.variance_matrix_.to_numpy() @ J.T))
    last = {"term": "loglik", "estimate": result.loglik, "engine": f"lifelines {type(other).__name__}"}
    out = pd.concat([out, pd.DataFrame([last | {"estimate_other": other.log_likelihood_}])], ignore_index=True)
    out["difference"] = out["estimate"] - out["estimate_other"]
    return out


def _fitted(result: ParametricResult, between: bool) -> tuple[Any, Floats]:
    """Return lifelines' fit, and the matrix from its parameters to ours (of a spline, to the terms alone)."""
    found, times, family = result.spells, result.times, result.family
    scale, p = found.X.std(axis=0), len(found.names)
    names = [f"x{j}" for j in range(p)]
    frame = pd.DataFrame((found.X - result.fit.center) / scale, columns=names, index=range(len(found.X)))
    frame = frame.assign(weight=found.weight, event=found.event > 0)
    options: dict[str, Any] = {"weights_col": "weight", "fit_options": {"ftol": 1e-14}}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        import lifelines

        if isinstance(family, Spline):
            return _spline(found, family, frame.assign(exit=found.exit), names), np.eye(p, p + family.size) / scale[
                :, None
            ]
        other = getattr(lifelines, FITTERS[result.distribution])()
        if found.delayed:
            frame, options = frame.assign(entry=found.entry), options | {"entry_col": "entry"}
        try:
            if between:
                frame = frame.assign(lower=np.exp(times.lower), upper=np.exp(times.upper), event=times.exact())
                other.fit_interval_censoring(frame, "lower", "upper", event_col="event", **options)
            else:
                other.fit(frame.assign(exit=found.exit), "exit", "event", **options)
        except lifelines.exceptions.ConvergenceError:
            raise DataError(NO_END) from None
    J = np.zeros((p + 2, p + 2))
    J[:p, :p] = np.diag(1 / scale)
    J[p, :p], J[p, p] = -result.fit.center / scale, 1.0
    J[p + 1, p + 1] = 1.0 if result.distribution == "log-normal" else -1.0
    return other, J


def _spline(found: Spells, family: Spline, frame: pd.DataFrame, names: list[str]) -> Any:
    """Return lifelines' spline on the same knots, from the exponential distribution; its own start is often too far."""
    import lifelines

    shape = {f"gamma{k}_": "1" for k in range(family.size)}
    start = np.zeros(len(names) + family.size)
    start[len(names) : len(names) + 2] = -math.log(found.exit.mean()), 1.0
    other = lifelines.CRCSplineFitter(knots=list(family.knots))
    # Beside a constant of the spline, an intercept of the terms could not be told from it.
    other.fit_intercept = False
    regressors = {"beta_": " + ".join(["0", *names])} | shape
    options = {"weights_col": "weight", "initial_point": start, "fit_options": {"ftol": 1e-14}}
    try:
        return other.fit(frame, "exit", "event", regressors=regressors, **options)
    except lifelines.exceptions.ConvergenceError:
        raise DataError(NO_END) from None
