"""statsmodels on the same design, MixedLM or GLS: the only statsmodels import of the growth room."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from implstats._core.mixed import Fit
from implstats.design import Design
from implstats.errors import DataError
from implstats.growth.fixed import Fitted

__all__ = ["gls", "mixedlm"]

Floats = NDArray[np.float64]


def mixedlm(design: Design, fit: Fit) -> pd.DataFrame:
    """Return each fixed effect, and the deviance, next to MixedLM's.

    MixedLM is not invariant to units, so it sees orthonormal columns of X and Z and an outcome of SD 1.
    """
    if len({term.group for term in design.terms}) > 1:
        raise DataError("cross_check: MixedLM takes one grouping factor; this model has several")
    if design.residual != "iid" or design.noise.precision is not None:
        raise DataError("cross_check: MixedLM takes residuals that are alike and independent; these are not")
    from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

    n, p = design.X.shape
    center, scale = design.y.mean(), design.y.std()
    Rx = np.linalg.qr(design.X / np.sqrt(n), mode="r")
    blocks = [term.Z @ np.linalg.inv(np.linalg.qr(term.Z / np.sqrt(n), mode="r")) for term in design.terms]
    Z = np.column_stack(blocks)
    free = None
    if len(blocks) > 1:
        allowed = np.zeros((Z.shape[1],) * 2)
        start = 0
        for block in blocks:
            stop = start + block.shape[1]
            allowed[start:stop, start:stop] = 1
            start = stop
        free = MixedLMParams.from_components(fe_params=np.ones(p), cov_re=allowed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MixedLM((design.y - center) / scale, design.X @ np.linalg.inv(Rx), design.terms[0].of_row, exog_re=Z)
        other = model.fit(reml=fit.reml, free=free, method=["bfgs", "lbfgs", "powell"], gtol=1e-8, maxiter=500)
    back = np.linalg.inv(Rx) * scale
    # The centre is a combination of the columns of X whenever they hold a constant.
    shift = np.linalg.lstsq(design.X, np.full(n, center), rcond=None)[0]
    beta = back @ np.asarray(other.fe_params) + shift
    error = np.sqrt(np.diag(back @ np.asarray(other.cov_params())[:p, :p] @ back.T))
    degrees = n - p if fit.reml else n
    constant = 2 * degrees * np.log(scale) + (2 * np.linalg.slogdet(Rx)[1] if fit.reml else 0.0)
    deviance = -2 * other.llf + constant
    return _beside(design, fit, beta, error, deviance, "statsmodels MixedLM")


def gls(design: Design, fit: Fitted, V: Floats) -> pd.DataFrame:
    """Return each fixed effect next to statsmodels' GLS, given the estimated covariance V (n, n) of the rows."""
    from statsmodels.regression.linear_model import GLS

    n, p = design.X.shape
    other = GLS(design.y, design.X, sigma=V).fit()
    # GLS multiplies its covariance by a scale of its own, which V has already.
    error = np.asarray(other.bse) / np.sqrt(other.scale)
    residual = np.asarray(other.wresid)
    deviance = (n - p if fit.reml else n) * np.log(2 * np.pi) + np.linalg.slogdet(V)[1] + residual @ residual
    if fit.reml:
        deviance += np.linalg.slogdet(np.asarray(other.model.wexog).T @ np.asarray(other.model.wexog))[1]
    return _beside(design, fit, np.asarray(other.params), error, float(deviance), "statsmodels GLS, same covariance")


def _beside(design: Design, fit: Fitted, beta: Floats, error: Floats, deviance: float, engine: str) -> pd.DataFrame:
    out = pd.DataFrame(
        {
            "term": [*design.names, "deviance"],
            "estimate": [*fit.beta, fit.deviance],
            "std_error": [*np.sqrt(np.diag(fit.vcov)), np.nan],
            "engine": engine,
            "estimate_other": [*beta, deviance],
            "std_error_other": [*error, np.nan],
        }
    )
    out["difference"] = out["estimate"] - out["estimate_other"]
    return out
