"""Programmes within organisations whose hazards are known: what is drawn, and what a marginal model estimates of it."""

from __future__ import annotations

from functools import cache

import numpy as np
import pandas as pd
import scipy.optimize

# Programmes an organisation runs, over and over; years in which the study sees a programme at least and at most.
SIZES, SEEN = (1, 2, 3, 5, 9), (1.0, 9.0)
# Cumulative hazard of a programme with frailty 1 where all covariates are 0: (years / SCALE) ** SHAPE.
SCALE, SHAPE = 4.0, 1.3
# Of gamma frailty; and what hazards of a positive stable frailty are raised to.
VARIANCE, STABLE = 0.5, 0.8
FRAILTIES = ("gamma frailty", "positive stable frailty", "no frailty")


def organisations(count: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return one row a programme: half of the organisations are treated, a covariate belongs to the programme."""
    code = np.repeat(np.arange(count), rng.permutation(np.resize(SIZES, count)))
    treated = np.arange(count) < count // 2
    frame = pd.DataFrame({"organisation": code, "treatment": treated[code].astype(float)})
    frame["covariate"] = rng.integers(0, 2, len(code)).astype(float)
    return frame


def frailties(kind: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return every organisation's hazard ratio."""
    if kind == "gamma frailty":
        return rng.gamma(1 / VARIANCE, VARIANCE, count)
    return positive_stable(count, rng) if kind == "positive stable frailty" else np.ones(count)


def positive_stable(count: int, rng: np.random.Generator) -> np.ndarray:
    """Return draws with Laplace transform exp(-s ** STABLE) (Chambers, Mallows & Stuck 1976)."""
    angle, size = np.pi * rng.random(count), rng.exponential(size=count)
    first = np.sin(STABLE * angle) / np.sin(angle) ** (1 / STABLE)
    return first * (np.sin((1 - STABLE) * angle) / size) ** ((1 - STABLE) / STABLE)


def censoring(count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(*SEEN, count)


def stopped(frame: pd.DataFrame, frailty: np.ndarray, b: tuple[float, float], rng: np.random.Generator) -> pd.DataFrame:
    """Return the programmes with years until they stopped or were last seen."""
    hazard = frailty[frame["organisation"]] * np.exp(frame[["treatment", "covariate"]].to_numpy() @ b)
    years = SCALE * (rng.exponential(size=len(frame)) / hazard) ** (1 / SHAPE)
    end = censoring(len(frame), rng)
    return frame.assign(years=np.minimum(years, end), stopped=(years <= end).astype(int))


@cache
def marginal(b: tuple[float, float]) -> np.ndarray:
    """Return what Cox's model without frailty estimates where the frailty is gamma: the root of the expected score.

    Hazards over all organisations, h exp(x'b) / (1 + VARIANCE H exp(x'b)), do not stay proportional, so the root
    depends on how long programmes are seen.
    """
    X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
    first, last = SEEN
    node, weight = np.polynomial.legendre.leggauss(200)
    time = np.concatenate([first * (node + 1) / 2, first + (last - first) * (node + 1) / 2])
    width = np.concatenate([first * weight / 2, (last - first) * weight / 2])
    seen = width * np.clip((last - time) / (last - first), 0, 1)
    risk = np.exp(X @ b)[:, None]
    spread = 1 + VARIANCE * risk * (time / SCALE) ** SHAPE
    survival = spread ** (-1 / VARIANCE)
    density = survival / spread * risk * SHAPE / SCALE * (time / SCALE) ** (SHAPE - 1)

    def score(c: np.ndarray) -> np.ndarray:
        at_risk = survival * np.exp(X @ c)[:, None]
        return (density - at_risk * density.sum(axis=0) / at_risk.sum(axis=0)) @ seen @ X

    return scipy.optimize.root(score, b, tol=1e-12).x
