"""Binomial counts fitted by statsmodels' GLM, converted at this door; what would be infinite is named."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from implstats import _check
from implstats._core.convergence import Convergence
from implstats._core.structure import aliased
from implstats.design.spells import Spells
from implstats.errors import ConvergenceError, DataError
from implstats.results import frozen
from implstats.survival.periods import Baseline, PersonPeriods
from implstats.survival.separation import columns_that_run_away

__all__ = ["LINKS", "BinomialFit", "SeparatedError", "fit_binomial", "fit_counts", "hazard_of", "rate_of", "slope_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

LINKS = ("cloglog", "logit")
MOST_STEPS = 100
STEP = 1e-11
CERTAIN = 1e-10
# A hazard so near to 0 or 1 is what separation looks like on its way to infinity.
EXTREME = 1e-6


class SeparatedError(Exception):
    """Some columns tell events from non-events apart, so that no finite estimate is best."""

    def __init__(self, columns: list[int]) -> None:
        super().__init__(f"columns {columns}")
        self.columns = columns


@dataclass(frozen=True, eq=False, slots=True)
class BinomialFit:
    """A fitted model of counts.

    Attributes
    ----------
    beta : (q,) coefficients.
    vcov : (q, q) their covariance: cluster-robust where there are clusters.
    naive_vcov : (q, q) the inverse of the expected information.
    loglik : log-likelihood of the rows behind the counts, without binomial coefficients.
    convergence : how the fit ended.
    """

    beta: Floats
    vcov: Floats
    naive_vcov: Floats
    loglik: float
    convergence: Convergence

    def __post_init__(self) -> None:
        for name in ("beta", "vcov", "naive_vcov"):
            object.__setattr__(self, name, frozen(getattr(self, name), float))


def rate_of(eta: Floats, link: str) -> Floats:
    """Return -log(1 - hazard), which adds up over periods to -log of survival."""
    return np.exp(eta) if link == "cloglog" else np.logaddexp(0.0, eta)


def slope_of(eta: Floats, link: str) -> Floats:
    """Return the derivative of that rate."""
    return np.exp(eta) if link == "cloglog" else np.asarray(special.expit(eta))


def hazard_of(eta: Floats, link: str) -> Floats:
    """Return the probability of the event within a period, of those at risk in it."""
    return np.asarray(-np.expm1(-rate_of(eta, link)))


def fit_counts(found: Spells, counts: PersonPeriods, course: Baseline, link: str) -> BinomialFit:
    """Return the fit; terms that cannot be told from others, or would be infinite, are named."""
    used = np.isin(counts.period, course.periods)
    kind, over, X = counts.kind[used], course.columns(counts.period[used]), counts.X[counts.kind[used]]
    p, names = X.shape[1], (*found.names, *course.names)
    # The baseline stands first, so that it is terms that are found to repeat it.
    repeated = [(*course.names, *found.names)[j] for j in aliased(np.column_stack([over, X]))]
    if repeated:
        wrong = ", ".join(map(_check.show, repeated))
        remedy = "drop it, or merge the categories"
        raise DataError(f"{wrong}: a linear combination of the other terms and the baseline, or empty; {remedy}")
    cluster = None if counts.cluster is None else counts.cluster[kind]
    try:
        return fit_binomial(counts.events[used], counts.at_risk[used], np.column_stack([X, over]), link, cluster)
    except SeparatedError as error:
        infinite = [j for j in error.columns if j < p] or error.columns
        remedy = "merge its categories, leave it out, or use fit_cox with penalty='firth'"
        if infinite[0] >= p:
            remedy = "use a simpler baseline"
        said = ", ".join(_check.show(names[j]) for j in infinite)
        raise ConvergenceError(
            f"{said}: the likelihood is highest at an infinite estimate, since it tells events from non-events apart "
            f"(separation); {remedy}",
            {"separated": [names[j] for j in infinite]},
        ) from None
    except ConvergenceError as error:
        raise ConvergenceError(f"{found.event_name} over {found.duration}: {error}", error.record) from None


def fit_binomial(events: Floats, at_risk: Floats, X: Floats, link: str, cluster: Ints | None = None) -> BinomialFit:
    """Return the maximum of the likelihood; `cluster` (codes in increasing order) asks for the sandwich.

    Raises SeparatedError where the maximum is at infinity, ConvergenceError where it was not found.
    """
    beta, steps, ended = _by_statsmodels(events, at_risk, X, link)
    eta = X @ beta
    with np.errstate(over="ignore"):
        rate, slope = rate_of(eta, link), slope_of(eta, link)
        odds = np.expm1(rate)
    extreme = bool((np.minimum(rate, np.exp(-rate)) < EXTREME).any())
    if (not ended or extreme) and (columns := _separated(events, at_risk, X)):
        raise SeparatedError(columns)
    if not ended:
        raise ConvergenceError(f"after {steps} steps the likelihood still rose", {"iterations": steps})
    score = events * slope / odds - (at_risk - events) * slope
    vcov = _inverse(X, at_risk * slope**2 / odds)
    gradient = X.T @ score
    decrement = float(gradient @ vcov @ gradient)
    good = decrement < CERTAIN
    message = "IRLS ended at a maximum" if good else "IRLS found no maximum"
    record = Convergence(good, False, message, steps, steps, 0, float(np.abs(gradient).max()), decrement)
    if not good:
        raise ConvergenceError(f"after {steps} steps the likelihood still rose", record.to_dict())
    robust = vcov
    if cluster is not None:
        by_cluster = np.add.reduceat(score[:, None] * X, np.flatnonzero(np.diff(cluster, prepend=-1)), axis=0)
        root = by_cluster @ vcov
        robust = np.asarray(root.T @ root)
    loglik = float(events @ np.log(-np.expm1(-rate)) - (at_risk - events) @ rate)
    return BinomialFit(beta, robust, vcov, loglik, record)


def _inverse(X: Floats, weight: Floats) -> Floats:
    """Return (X' W X)^-1 by way of orthonormal columns, so that units and origins of the columns cost no digits."""
    root = np.linalg.inv(np.linalg.qr(np.sqrt(weight)[:, None] * X, mode="r"))
    return np.asarray(root @ root.T)


def _by_statsmodels(events: Floats, at_risk: Floats, X: Floats, link: str) -> tuple[Floats, int, bool]:
    """Return the coefficients, the steps taken, and whether they had ended; GLM sees orthonormal columns."""
    from statsmodels.genmod import families
    from statsmodels.genmod.generalized_linear_model import GLM

    words = {"cloglog": families.links.CLogLog, "logit": families.links.Logit}
    R = np.linalg.qr(X, mode="r")
    counts = np.column_stack([events, at_risk - events])
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            Q, family = X @ np.linalg.inv(R), families.Binomial(link=words[link]())
            # From its own start, every count's share, IRLS can leap past a maximum that one hazard for all leads to.
            alike = Q.T @ np.full(len(Q), float(family.link(events.sum() / at_risk.sum())))
            for start in (None, alike):
                found = GLM(counts, Q, family=family).fit(
                    start_params=start, maxiter=MOST_STEPS, tol_criterion="params", atol=STEP, rtol=STEP
                )
                if found.converged:
                    break
        except (ValueError, np.linalg.LinAlgError):
            return np.full(X.shape[1], np.nan), MOST_STEPS, False
    beta = np.linalg.solve(R, np.asarray(found.params))
    return beta, int(found.fit_history["iteration"]), bool(found.converged)


def _separated(events: Floats, at_risk: Floats, X: Floats) -> list[int]:
    """Return the columns of a direction in which the likelihood rises for ever, or none."""
    only, none = events >= at_risk, events == 0
    return columns_that_run_away(np.vstack([X[only], -X[none]]), X[~only & ~none])
