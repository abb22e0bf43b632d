"""Proportional subdistribution hazards (Fine & Gray 1999) in O(n p), by one scan forward and one backward.

Symbols: x a row's covariates, r = exp(x b), t the distinct times, d how many had the cause of interest then, S0 the
sum of w r over the risk set and "mean" the same sum of w r x, divided by S0. Who had another cause stays at risk with
weight w = G(t) / G(own time), G the Kaplan-Meier estimate of not yet censored just before a time. A risk set is
therefore a sum over later rows plus G(t) times a sum over earlier rows with other causes (Kawaguchi et al. 2021,
DOI 10.32614/RJ-2021-010): two cumulative sums. Ties as in Breslow and in cmprsk::crr.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from implstats._core.convergence import Convergence
from implstats._core.cox import aliased
from implstats._core.structure import AliasedError
from implstats.errors import ConvergenceError

__all__ = ["FineGray", "RiskSets", "fit", "influence", "prediction"]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
Mask = NDArray[np.bool_]

STEPS = 60
HALVINGS = 30
# What a further step promises to the log-likelihood: nothing, nothing that rounding lets pass, nothing worth a step.
PERFECT, GOOD, SETTLED = 1e-20, 1e-12, 1e-8
# A settled log-likelihood whose next step still moves log hazards this far apart has no finite optimum.
STILL_MOVING = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class RiskSets:
    """Rows sorted by time, and what each of the T distinct times needs.

    Attributes
    ----------
    order : (n,) the caller's row of each sorted row.
    Z, shift, root : (n, p) columns of mean 0, variance 1 and correlation 0; X = shift + Z root.
    own, other, censored : (n,) what ended the row.
    time, start : (T,) the distinct times, and the first row of each.
    place : (n,) the time of each row.
    d, c, Y : (T,) events of the cause, censorings, and rows at risk of them.
    G : (T,) probability of no censoring before each time.
    """

    order: Ints
    Z: Floats
    shift: Floats
    root: Floats
    own: Mask
    other: Mask
    censored: Mask
    time: Floats
    start: Ints
    place: Ints
    d: Floats
    c: Floats
    Y: Floats
    G: Floats


@dataclass(frozen=True, slots=True, eq=False)
class FineGray:
    """A fitted model.

    Attributes
    ----------
    beta, vcov : (p,) log subdistribution hazard ratios, and their robust covariance.
    information : (p, p) minus the second derivative of the log pseudo-likelihood.
    loglik, loglik_null : log pseudo-likelihood at beta and at zero.
    time, hazard : times of the cause, and the increments of the subdistribution hazard at x = sets.shift.
    moved : (n, p) influence of each row on beta, in the caller's order; vcov sums squares of its sums by cluster.
    sets : the rows, sorted.
    convergence : how the fit ended.
    """

    beta: Floats
    vcov: Floats
    information: Floats
    loglik: float
    loglik_null: float
    time: Floats
    hazard: Floats
    moved: Floats
    sets: RiskSets
    convergence: Convergence


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Risk sets at one beta of Z; r is relative to its largest.

    Attributes
    ----------
    loglik, top : log pseudo-likelihood, and the logarithm of the largest r.
    r : (n,)
    rise, mean : (T,) d / S0, and (T, p); zero at times without the cause.
    gone, gone_z : (T,) and (T, p) sums of r / G, and of z r / G, over rows that another cause ended before.
    S0 : (T,)
    """

    loglik: float
    top: float
    r: Floats
    rise: Floats
    mean: Floats
    gone: Floats
    gone_z: Floats
    S0: Floats


def fit(X: Floats, exit_: Floats, event: Ints, cluster: Ints | None = None) -> FineGray:
    """Return the maximum of the log pseudo-likelihood, with its robust covariance.

    Parameters
    ----------
    X : (n, p)
    event : (n,) 0 censored, 1 the cause of interest, 2 any other.
    cluster : (n,) codes of clusters, whose rows' influences are added before they are squared.

    Raises
    ------
    AliasedError
        Columns that are constant in every risk set, or combinations of those before them.
    ConvergenceError
        When coefficients run away; the record holds their places as `columns`.
    """
    sets = _sorted(X, exit_, event)
    null = _sums(sets, np.zeros(X.shape[1]))
    unit = np.sqrt(np.einsum("ij,ij->j", sets.root, sets.root))
    unit[unit <= 1e-14 * np.abs(sets.shift)] = 1.0
    scaled = sets.root / unit
    if columns := aliased(scaled.T @ _information(sets, null) @ scaled, float(sets.own.sum())):
        raise AliasedError("X", columns)
    beta, sums, convergence = _maximum(sets, null)
    information = _information(sets, sums)
    back = np.linalg.inv(sets.root)
    moved = np.empty_like(sets.Z)
    moved[sets.order] = sum(influence(sets, beta)) @ np.linalg.solve(information, back.T)
    total = _by_cluster(moved, cluster)
    happens = sets.d > 0
    return FineGray(
        back @ beta,
        total.T @ total,
        sets.root.T @ information @ sets.root,
        sums.loglik,
        null.loglik,
        sets.time[happens],
        sums.rise[happens] * np.exp(-sums.top),
        moved,
        sets,
        convergence,
    )


def _sorted(X: Floats, exit_: Floats, event: Ints) -> RiskSets:
    order = np.argsort(exit_, kind="stable")
    shift = X.mean(axis=0)
    Q, R = np.linalg.qr(X[order] - shift)
    time, start, place = np.unique(exit_[order], return_index=True, return_inverse=True)
    own, other, censored = (event[order] == kind for kind in (1, 2, 0))
    d, c = (np.bincount(place, mask, len(time)).astype(float) for mask in (own, censored))
    Y = len(order) - start.astype(float)
    G = np.append(1.0, np.cumprod(1 - c / Y)[:-1])
    size = np.sqrt(len(order))
    return RiskSets(order, Q * size, shift, R / size, own, other, censored, time, start, place, d, c, Y, G)


def _sums(sets: RiskSets, beta: Floats) -> _Sums:
    eta = sets.Z @ beta
    top = float(eta.max())
    r = np.exp(eta - top)
    still = np.column_stack([r, sets.Z * r[:, None]])
    later = _from_here_on(np.add.reduceat(still, sets.start, axis=0))
    left = np.where(sets.other, 1 / sets.G[sets.place], 0.0)
    gone = _until_here(np.add.reduceat(still * left[:, None], sets.start, axis=0))
    S = later + sets.G[:, None] * gone
    happens = sets.d > 0
    with np.errstate(divide="ignore", invalid="ignore"):
        rise = np.where(happens, sets.d / S[:, 0], 0.0)
        mean = np.where(happens[:, None], S[:, 1:] / S[:, :1], 0.0)
        loglik = float((eta[sets.own] - top).sum() - sets.d[happens] @ np.log(S[happens, 0]))
    return _Sums(loglik, top, r, rise, mean, gone[:, 0], gone[:, 1:], S[:, 0])


def _score(sets: RiskSets, sums: _Sums) -> Floats:
    return np.asarray(sets.Z[sets.own].sum(axis=0) - sets.d @ sums.mean)


def _information(sets: RiskSets, sums: _Sums) -> Floats:
    """Return Z' diag(hazard met) Z less the means' squares: no matrix per time is formed."""
    met = sums.r * np.cumsum(sums.rise)[sets.place]
    j = sets.place[sets.other]
    met[sets.other] += sums.r[sets.other] / sets.G[j] * _after(sets.G * sums.rise)[j]
    return np.asarray((sets.Z * met[:, None]).T @ sets.Z - (sums.mean * sets.d[:, None]).T @ sums.mean)


def _maximum(sets: RiskSets, sums: _Sums) -> tuple[Floats, _Sums, Convergence]:
    """Return beta of Z by Newton's method from zero, the risk sets there, and how it ended; stops as cox.climb does."""
    beta, evaluations, before = np.zeros(sets.Z.shape[1]), 1, np.inf
    for iteration in range(STEPS):
        score = _score(sets, sums)
        step: Floats = np.linalg.solve(_information(sets, sums), score).astype(float)
        promise = float(score @ step) / 2
        ended = (iteration, evaluations, 0, float(np.abs(score).max()), promise)
        if promise < PERFECT or (promise < GOOD and promise > before / 4):
            return beta, sums, Convergence(True, False, "converged", *ended)
        if promise < SETTLED and np.ptp(sets.Z @ step) > STILL_MOVING:
            raise _runaway(sets, step, Convergence(False, False, "a coefficient runs away", *ended))
        before = promise
        for halving in range(HALVINGS):
            further = _sums(sets, beta + step / 2**halving)
            evaluations += 1
            if further.loglik >= sums.loglik - 1e-12 * abs(sums.loglik):
                break
        beta, sums = beta + step / 2**halving, further
    record = Convergence(False, False, "no certified optimum", *ended)
    raise ConvergenceError(f"the fit did not converge after {STEPS} steps; use fewer terms", record.to_dict())


def _runaway(sets: RiskSets, step: Floats, record: Convergence) -> ConvergenceError:
    """Return the error that lists the columns whose coefficients still move, in SDs of the columns."""
    moved = np.abs(np.linalg.solve(sets.root, step)) * np.sqrt((sets.root**2).sum(axis=0))
    columns = np.flatnonzero(moved > 0.1 * moved.max()).tolist()
    said = f"the likelihood still rises while column {', '.join(map(str, columns))} runs away: no finite coefficient"
    return ConvergenceError(said, record.to_dict() | {"columns": columns})


def influence(sets: RiskSets, beta: Floats) -> tuple[Floats, Floats]:
    """Return each sorted row's part in the score, and what its censoring does to the score through G: (n, p) each.

    Fine & Gray 1999, section 3.2: eta_i is the integral of (z_i - mean) w_i dM_i; psi_i that of q / Y over the
    censoring's martingale, where q(u) adds up what the weights after u give to the score, of rows that another cause
    ended before u.
    """
    sums = _sums(sets, beta)
    i, j, other = sets.place, sets.place[sets.other], sets.other
    up, up_mean = np.cumsum(sums.rise), np.cumsum(sums.rise[:, None] * sums.mean, axis=0)
    G_rise = sets.G * sums.rise
    G_rise_mean = G_rise[:, None] * sums.mean
    eta = np.where(sets.own[:, None], sets.Z - sums.mean[i], 0.0)
    eta -= sums.r[:, None] * (sets.Z * up[i, None] - up_mean[i])
    weight = (sums.r[other] / sets.G[j])[:, None]
    eta[other] -= weight * (sets.Z[other] * _after(G_rise)[j, None] - _after(G_rise_mean)[j])
    q = sums.gone_z * _from_here_on(G_rise)[:, None] - sums.gone[:, None] * _from_here_on(G_rise_mean)
    return eta, _through_censoring(sets, q, len(sets.time))


def prediction(fit: FineGray, x: Floats, times: Floats, cluster: Ints | None = None) -> tuple[Floats, Floats]:
    """Return the cumulative subdistribution hazard at covariates x just after each time, and its standard error.

    A row moves it through the sums over risk sets, through G, and through beta; the squares are added by cluster.
    """
    sets = fit.sets
    z = np.linalg.solve(sets.root.T, x - sets.shift)
    beta = sets.root @ fit.beta
    sums = _sums(sets, beta)
    lift = np.exp(z @ beta - sums.top)
    total = lift * np.cumsum(sums.rise)
    slope = lift * np.cumsum(sums.rise[:, None] * (z - sums.mean), axis=0)
    moved = fit.moved[sets.order] @ sets.root.T
    hazard, error = np.zeros(len(times)), np.zeros(len(times))
    for k, upto in enumerate(np.searchsorted(sets.time, times, side="right")):
        if upto > 0:
            of_row = np.empty(len(moved))
            of_row[sets.order] = lift * _hazard_influence(sets, sums, int(upto)) + moved @ slope[upto - 1]
            hazard[k], error[k] = total[upto - 1], np.sqrt((_by_cluster(of_row, cluster) ** 2).sum())
    return hazard, error


def _hazard_influence(sets: RiskSets, sums: _Sums, upto: int) -> Floats:
    """Return each sorted row's influence on the sum of the first `upto` rises, at fixed beta; as in `influence`."""
    size = np.zeros(len(sets.time))
    size[:upto] = np.divide(1.0, sums.S0[:upto], out=np.zeros(upto), where=sets.d[:upto] > 0)
    fall = size * sums.rise
    i, j, other = sets.place, sets.place[sets.other], sets.other
    of_row = np.where(sets.own, size[i], 0.0) - sums.r * np.cumsum(fall)[i]
    of_row[other] -= sums.r[other] / sets.G[j] * _after(sets.G * fall)[j]
    q = sums.gone * _from_here_on(sets.G * fall)
    return np.asarray(of_row + _through_censoring(sets, q[:, None], upto)[:, 0])


def _through_censoring(sets: RiskSets, q: Floats, upto: int) -> Floats:
    """Return the integral of q / Y over each row's martingale of being censored, up to the first `upto` times."""
    share = q / sets.Y[:, None]
    share[upto:] = 0.0
    drift = np.cumsum(share * (sets.c / sets.Y)[:, None], axis=0)
    return np.asarray(np.where(sets.censored[:, None], share[sets.place], 0.0) - drift[sets.place])


def _by_cluster(of_row: Floats, cluster: Ints | None) -> Floats:
    if cluster is None:
        return of_row
    total = np.zeros((cluster.max() + 1, *of_row.shape[1:]))
    np.add.at(total, cluster, of_row)
    return total


def _from_here_on(x: Floats) -> Floats:
    return np.asarray(np.cumsum(x[::-1], axis=0)[::-1])


def _after(x: Floats) -> Floats:
    """Return the sums over all later times, this one left out."""
    return np.concatenate([_from_here_on(x)[1:], np.zeros_like(x[:1])])


def _until_here(x: Floats) -> Floats:
    """Return the sums over all earlier times, this one left out."""
    return np.concatenate([np.zeros_like(x[:1]), np.cumsum(x, axis=0)[:-1]])
