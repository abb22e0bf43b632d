"""Every small data set has an answer or the right refusal: whether an estimate is finite is a linear programme."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from implstats._core import cox, firth
from implstats._core.structure import AliasedError
from implstats.errors import ConvergenceError

SETTINGS = settings(derandomize=True, deadline=None, max_examples=150)


def draw(seed: int) -> tuple[np.ndarray, ...]:
    """Return 4 to 15 rows with up to three covariates of any unit, with or without ties, late entry and strata."""
    rng = np.random.default_rng(seed)
    n, p = rng.integers(4, 16), rng.integers(1, 4)
    kinds = [rng.normal(size=n) if rng.random() < 0.5 else rng.integers(0, 2, n) for _ in range(p)]
    X = np.column_stack(kinds).astype(float) * 10.0 ** rng.integers(-3, 4, p)
    exit = rng.integers(1, 9, n).astype(float) if rng.random() < 0.6 else rng.random(n) + 0.1
    late = rng.random() < 0.5
    entry = np.where(rng.random(n) < 0.3, exit * rng.random(n) * 0.9, 0.0) if late else np.zeros(n)
    event = rng.random(n) < 0.6
    event[0] = True
    stratum = rng.integers(0, 2, n) if rng.random() < 0.3 else np.zeros(n, dtype=int)
    return entry, exit, event, X, stratum


def rises_for_ever(entry: np.ndarray, exit: np.ndarray, event: np.ndarray, X: np.ndarray, stratum: np.ndarray) -> bool:
    """Return whether some v has v'x of every event as the largest at its time, and not always as large as all."""
    X = X / np.maximum(X.std(axis=0), 1e-12)
    at_risk = [(entry < exit[i]) & (exit >= exit[i]) & (stratum == stratum[i]) for i in np.flatnonzero(event)]
    above = np.vstack([X[i] - X[rows] for i, rows in zip(np.flatnonzero(event), at_risk, strict=True)])
    best = linprog(-above.sum(axis=0), A_ub=-above, b_ub=np.zeros(len(above)), bounds=[(-1, 1)] * X.shape[1])
    return bool(-best.fun > 1e-9)


@given(seed=st.integers(0, 100_000), ties=st.sampled_from(["efron", "breslow"]))
@SETTINGS
def test_an_estimate_is_finite_or_refused_and_firths_is_finite(seed: int, ties: str) -> None:
    entry, exit, event, X, stratum = draw(seed)
    model = cox.prepare(entry if entry.any() else None, exit, event, X, stratum=stratum, ties=ties)
    try:
        fit, columns = cox.fit(model), None
    except AliasedError:
        return
    except ConvergenceError as error:
        fit, columns = None, error.record.get("columns")
    assert (fit is None) == rises_for_ever(entry, exit, event, X, stratum)
    assert columns or (np.isfinite(fit.beta).all() and np.isfinite(fit.vcov).all())
    penalised = firth.fit(model)
    assert np.isfinite(penalised.beta).all()
    assert np.abs(firth.penalised_at(model, penalised.beta * model.scale)[1]).max() < 1e-6
