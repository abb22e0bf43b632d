"""The partial likelihood of Cox's model and its optimum: Efron's, Breslow's or the exact treatment of tied events.

With r_i = exp(x_i'b), S0, S1 the sums of w r and w r x over a risk set and T0, T1 those over its own events, a step of
weight h and fraction f has the denominator S0 - f T0 and the mean (S1 - f T1) / (S0 - f T0). The information is
X' diag(w r A) X less the steps' products of means, A the running sum of h / denominator: risk sets never need a p x p
matrix of their own (Efron 1977, DOI 10.1080/01621459.1977.10480613). Sums are kept relative to S0, which may be tiny.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from implstats._core.convergence import Convergence
from implstats._core.exact import Exact, exact_blocks
from implstats._core.risk import Ints, Risk, Steps, risk_sets, tally
from implstats._core.structure import AliasedError
from implstats.errors import ConvergenceError

__all__ = ["Fit", "Model", "State", "climb", "evaluate", "fit", "inverse", "prepare", "products", "runaway", "spread"]

Floats = NDArray[np.float64]
# Log-likelihood, score and information at some coefficients.
Value = tuple[float, Floats, Floats]

NEWTON_STEPS = 60
HALVINGS = 30
# What a further step promises to the log-likelihood: nothing; so little that only rounding keeps it from nothing.
PERFECT, SETTLED = 1e-20, 1e-8
# A log-likelihood may fall by so much, relative to its size, without being lower.
ROUNDING = 1e-12
# A settled log-likelihood whose next step still moves log hazards this far apart has no finite optimum; one that moves
# them no further than this leaves the information as it is, and needs no look at where it ends.
STILL_MOVING, STANDING = 0.5, 1e-9
# Share of a column's information that must not be explained by the columns before it.
ALIASED = 1e-10


@dataclass(frozen=True, slots=True)
class Model:
    """Spells with their covariates, ready to be fitted.

    Attributes
    ----------
    risk : who is at risk when.
    ties : "efron", "breslow" or "exact".
    steps : the denominators (those of Breslow under "exact").
    X : (n, p) covariates, centred and in units of their standard deviation.
    center, scale : (p,)
    total : (p,) sum of w x over the events.
    exact : what the exact likelihood needs, None elsewhere.
    """

    risk: Risk
    ties: str
    steps: Steps
    X: Floats
    center: Floats
    scale: Floats
    total: Floats
    exact: Exact | None


@dataclass(frozen=True, slots=True)
class State:
    """The model at some coefficients.

    Attributes
    ----------
    eta, r : (n,) log hazard ratio, less the largest of the stratum, and its exponential.
    shift : (n,) what was subtracted.
    S0 : (K,) sums of w r over the risk sets.
    M, N : (K, p), (G, p) S1 / S0 of every group, and T1 / S0 of the tied ones.
    hazard, own : (K,), (G,) sums over a group's steps of h / denominator, and of h f / denominator.
    second, cross : (K,), (2, G) sums of h (S0 / denominator)^2, and of it times f and f^2.
    A : (n,) what the hazards add up to while a row is at risk, less its own share of its own tied event.
    loglik, score, information : scalar, (p,), (p, p).
    """

    eta: Floats
    r: Floats
    shift: Floats
    S0: Floats
    M: Floats
    N: Floats
    hazard: Floats
    own: Floats
    second: Floats
    cross: Floats
    A: Floats
    loglik: float
    score: Floats
    information: Floats


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted model on the user's scale.

    Attributes
    ----------
    beta, vcov : (p,), (p, p) coefficients and the inverse of the (penalised) information.
    loglik, null_loglik : log partial likelihood at beta and at zero, penalties left out.
    score : (p,) derivative at zero, and `null_information` (p, p) there, on the scaled columns.
    information : (p, p) of the partial likelihood at beta, on the scaled columns.
    convergence : how the fit ended.
    penalty : (p,) second derivative of the ridge penalty, on the scaled columns.
    """

    beta: Floats
    vcov: Floats
    loglik: float
    null_loglik: float
    score: Floats
    null_information: Floats
    information: Floats
    convergence: Convergence
    penalty: Floats

    @property
    def score_statistic(self) -> float:
        """Score test of all coefficients being zero."""
        return float(self.score @ inverse(self.null_information) @ self.score)

    @property
    def parameters(self) -> float:
        """Coefficients that are estimated; a penalty leaves less than one each."""
        if not self.penalty.any():
            return float(len(self.beta))
        return float(np.trace(self.information @ inverse(self.information + np.diag(self.penalty))))


def prepare(
    entry: Floats | None,
    exit: Floats,
    event: NDArray[np.bool_],
    X: Floats,
    *,
    weight: Floats | None = None,
    stratum: Ints | None = None,
    ties: str = "efron",
) -> Model:
    """Return spells as a model.

    Parameters
    ----------
    entry : (n,) None where every spell starts before the first event.
    exit, event : (n,) at least one event.
    X : (n, p)
    weight, stratum : (n,) ones and one stratum by default; codes 0, 1, ...
    ties : "efron", "breslow" or "exact" (weights of one only).
    """
    n = len(exit)
    ones = np.ones(n) if weight is None else weight
    one = np.zeros(n, dtype=np.intp) if stratum is None else stratum
    risk = risk_sets(entry, exit, event, ones, one)
    X = np.take(X, risk.row, axis=0)
    center = X.mean(axis=0)
    X -= center
    scale = np.sqrt(np.einsum("ij,ij->j", X, X) / len(X))
    scale[scale <= 1e-14 * np.abs(center)] = 1.0
    X /= scale
    total = (risk.weight * risk.event) @ X
    steps = risk.steps("efron" if ties == "efron" else "breslow")
    exact = exact_blocks(risk) if ties == "exact" else None
    return Model(risk, ties, steps, X, center, scale, total, exact)


def evaluate(model: Model, b: Floats, offset: Floats | None = None) -> State:
    """Return Efron's or Breslow's likelihood at b (p,), of the scaled columns; offset (n,) adds to x'b."""
    risk, steps, X = model.risk, model.steps, model.X
    eta = X @ b
    if offset is not None:
        eta += offset
    shift = risk.highest(eta)
    eta -= shift
    r = np.exp(eta)
    wr = risk.weight * r
    weighted = X * wr[:, None]
    # Far from the optimum sums may vanish; what comes of it is not finite, and no step is taken to it.
    with np.errstate(all="ignore"):
        S0, M, N = risk.sums(wr), risk.sums(weighted), np.asarray(steps.own @ weighted)
        M /= S0[:, None]
        N /= S0[steps.tied, None]
        loglik, hazard, own, second, cross = _per_group(steps, S0, steps.own @ wr)
        loglik += float((risk.weight * risk.event) @ eta)
        A = risk.seen(hazard)
        A[steps.row] -= own[steps.place]
        score = model.total - (hazard * S0) @ M + (own * S0[steps.tied]) @ N
        weighted *= A[:, None]
        information = X.T @ weighted - products(M, N, steps.tied, second, cross)
    return State(eta, r, shift, S0, M, N, hazard, own, second, cross, A, loglik, score, information)


def _per_group(steps: Steps, S0: Floats, T0: Floats) -> tuple[float, Floats, Floats, Floats, Floats]:
    """Return minus the sum of h log denominator, and the sums over each group's steps."""
    tied, h, f = steps.tied, steps.share, steps.fraction
    relative = 1 / (1 - f * (T0 / S0[tied])[steps.place])
    terms = [h * relative, h * f * relative, *(h * f**power * relative**2 for power in range(3))]
    sums = [tally(steps.place, term, len(tied)) for term in terms]
    hazard, second = steps.weight / S0, steps.weight.copy()
    hazard[tied], second[tied] = sums[0] / S0[tied], sums[2]
    loglik = float(h @ np.log(relative)) - float(steps.weight @ np.log(S0))
    return loglik, hazard, sums[1] / S0[tied], second, np.stack(sums[3:])


def products(M: Floats, N: Floats, tied: Ints, second: Floats, cross: Floats) -> Floats:
    """Return the sum over steps of h mean mean'."""
    alone = M.T @ (M * second[:, None])
    both = M[tied].T @ (N * cross[0][:, None])
    return np.asarray(alone - both - both.T + N.T @ (N * cross[1][:, None]))


def inverse(information: Floats) -> Floats:
    """Return the inverse of a positive definite matrix; LinAlgError if it is none."""
    factor = scipy.linalg.cho_factor(information, lower=True)
    return np.asarray(scipy.linalg.cho_solve(factor, np.eye(len(information))))


def value_at(model: Model, b: Floats) -> Value:
    """Return log-likelihood, score and information at b, whatever the treatment of ties."""
    if model.exact is not None:
        return model.exact.evaluate(model.X, b)
    state = evaluate(model, b)
    return state.loglik, state.score, state.information


def aliased(information: Floats, events: float) -> list[int]:
    """Return the columns without information of their own: constant in every risk set, or combinations of others."""
    size = np.sqrt(np.maximum(np.diag(information), 0.0))
    nothing = size**2 <= ALIASED * events
    C = information / np.outer(np.where(nothing, 1.0, size), np.where(nothing, 1.0, size))
    found: list[int] = []
    kept: list[int] = []
    for j in range(len(C)):
        left = 0.0 if nothing[j] else C[j, j] - C[j, kept] @ np.linalg.solve(C[np.ix_(kept, kept)], C[kept, j])
        (kept if left > ALIASED else found).append(j)
    return found


def runaway(model: Model, step: Floats, record: Convergence) -> ConvergenceError:
    """Return the complaint about coefficients without a finite optimum; its record lists them under "columns"."""
    moved = np.abs(step)
    columns = [int(j) for j in np.argsort(-moved) if moved[j] > 0.1 * moved.max()]
    named = ", ".join(str(j) for j in columns)
    return ConvergenceError(
        f"the likelihood still rises while column {named} runs away: no finite coefficient",
        {**record.to_dict(), "columns": columns},
    )


def spread(model: Model, step: Floats) -> float:
    """Return how far a step moves two log hazards (or sums of them, in exact tied sets) of one stratum apart."""
    moved = model.X @ step
    farthest = float((model.risk.highest(moved) + model.risk.highest(-moved)).max())
    return farthest * (1 if model.exact is None else model.exact.largest)


def climb(
    model: Model, value: Callable[[Floats], Value], start: Floats, first: Value | None = None
) -> tuple[Floats, Value, Convergence]:
    """Return the maximum of a concave log-likelihood by Newton steps, halved until they rise.

    A log-likelihood of Cox's form changes its curvature by at most exp(spread) along a step, so a step with a small
    spread is followed by a much smaller one; where the log-likelihood has settled and the spread is not small, there
    is no finite maximum.

    Raises
    ------
    ConvergenceError
        When a coefficient runs away (the record then lists `columns`), or no maximum is reached.
    """
    b, step, evaluations, before = start, np.ones_like(start), 0, math.inf
    record = Convergence(False, False, "not begun", 0, 0, 0, math.nan, math.nan)
    here = value(b) if first is None else first
    for iteration in range(NEWTON_STEPS):
        loglik, score, information = here
        try:
            step = inverse(information) @ score
        except np.linalg.LinAlgError:
            # Nothing is left of the information along the way that the coefficients took.
            raise runaway(model, step, _failed(record, "a coefficient runs away")) from None
        decrement = float(score @ step) / 2
        record = Convergence(
            True, False, "converged", iteration, evaluations, 0, float(np.abs(score).max(initial=0.0)), decrement
        )
        if decrement < PERFECT:
            return b, here, record
        if decrement < SETTLED:
            moving = spread(model, step)
            if moving > STILL_MOVING:
                raise runaway(model, step, _failed(record, "a coefficient runs away"))
            if moving < STANDING:
                return b + step, here, record
            if decrement > before / 4:
                return b, here, record
        before = decrement
        for halving in range(HALVINGS):
            evaluations += 1
            further = value(b + step / 2**halving)
            if further[0] >= loglik - ROUNDING * (1 + abs(loglik)) and np.isfinite(further[2]).all():
                break
        else:
            break
        b, here = b + step / 2**halving, further
    if spread(model, step) > STILL_MOVING:
        raise runaway(model, step, _failed(record, "a coefficient runs away"))
    raise ConvergenceError(
        f"the fit did not converge after {record.iterations} steps, decrement {record.decrement:.1e}; use fewer terms",
        _failed(record, "no certified optimum").to_dict(),
    )


def _failed(record: Convergence, message: str) -> Convergence:
    return Convergence(
        False, False, message, record.iterations, record.evaluations, 0, record.gradient, record.decrement
    )


def fit(model: Model, ridge: Floats | None = None) -> Fit:
    """Return the fitted model; ridge (p,) takes half the sum of ridge x beta^2, on the user's scale, off.

    Raises
    ------
    AliasedError
        Columns that are constant in every risk set, or combinations of those before them.
    ConvergenceError
        As `climb`.
    """
    p = len(model.scale)
    penalty = np.zeros(p) if ridge is None else ridge / model.scale**2

    def penalised(b: Floats) -> Value:
        loglik, score, information = value_at(model, b)
        return loglik - float(penalty @ b**2) / 2, score - penalty * b, information + np.diag(penalty)

    null = value_at(model, np.zeros(p))
    if ridge is None and (columns := aliased(null[2], float(model.steps.weight.sum()))):
        raise AliasedError("X", columns)
    start = (null[0], null[1], null[2] + np.diag(penalty))
    b, end, record = climb(model, penalised, np.zeros(p), start)
    vcov = inverse(end[2]) / np.outer(model.scale, model.scale)
    return Fit(
        beta=b / model.scale,
        vcov=vcov,
        loglik=end[0] + float(penalty @ b**2) / 2,
        null_loglik=null[0],
        score=null[1],
        null_information=null[2],
        information=end[2] - np.diag(penalty),
        convergence=record,
        penalty=penalty,
    )
