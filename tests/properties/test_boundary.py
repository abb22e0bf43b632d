"""Variances at zero: certified where they are, escaped where they only look so, found where they are small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from implstats._core import mixed
from implstats._core.criterion import evaluate
from implstats._core.inference import infer
from implstats._core.structure import Block, Problem, prepare

Floats = NDArray[np.float64]
DATA = Path(__file__).resolve().parents[1] / "reference" / "data"
FEW = settings(derandomize=True, deadline=None, max_examples=5)


def study(seed: int, q: int, second: str, *, between: float = 0.0) -> tuple[Floats, Floats, list[Block]]:
    """Return patients with drop-out whose true variances are zero, but for `between` in their level."""
    rng = np.random.default_rng(seed)
    N = 14
    t = np.tile(np.arange(5.0), N)
    codes = np.repeat(np.arange(N), 5)
    kept = (rng.random(len(t)) < 0.8) | (t == 0)
    t, codes = t[kept], codes[kept]
    X = np.column_stack([np.ones(len(t)), t, codes % 2])
    blocks = [Block(codes, N, np.column_stack([t**k for k in range(q)]))]
    if second == "site":
        blocks.append(Block(codes // 4, 4, np.ones((len(t), 1))))
    if second == "site slopes":
        blocks.append(Block(codes // 4, 4, np.column_stack([np.ones(len(t)), t])))
    y = X @ [1.0, 2.0, 3.0] + rng.normal(size=len(t)) + between * rng.normal(size=N)[codes]
    return y, X, blocks


def lowest(problem: Problem, rng: np.random.Generator, reml: bool, tries: int = 200) -> float:
    """Return the lowest criterion at random points inside the parameter space, on the user's scale."""
    found = []
    for _ in range(tries):
        L = [np.tril(rng.normal(size=(q, q))) * 10 ** rng.uniform(-3, 1) for q in problem.sizes]
        found.append(evaluate(problem, L, reml=reml, gradient=False).deviance)
    return min(found) + (2 * float(np.log(np.diag(problem.Rx)).sum()) if reml else 0.0)


@pytest.mark.parametrize("q", [1, 2, 3])
@pytest.mark.parametrize("second", ["", "site", "site slopes"])
@given(seed=st.integers(0, 10_000), reml=st.booleans(), between=st.sampled_from([0.0, 0.8]))
@FEW
def test_no_point_inside_is_lower(q: int, second: str, seed: int, reml: bool, between: float) -> None:
    problem = prepare(*study(seed, q, second, between=between))
    fit = mixed.fit(problem, reml=reml)
    assert fit.convergence.converged
    assert fit.convergence.boundary == any(root.shape[1] < root.shape[0] for root in fit.L)
    assert fit.deviance <= lowest(problem, np.random.default_rng(seed), reml) + 1e-8
    # Wherever it starts, it ends in the same place.
    rng = np.random.default_rng(seed + 1)
    start = [np.tril(rng.normal(size=(k, k))) for k in problem.sizes]
    other = mixed.fit(problem, reml=reml, start=start)
    assert other.deviance == pytest.approx(fit.deviance, abs=1e-6)


@pytest.mark.parametrize("q", [1, 2, 3])
def test_certificate_at_the_boundary(q: int) -> None:
    # Karush-Kuhn-Tucker in G: D G = 0, and D is positive semidefinite across the boundary.
    seen = 0
    for seed in range(30):
        problem = prepare(*study(seed, q, ""))
        fit = mixed.fit(problem)
        root, D = fit.L[0], fit.state.D[0]
        if root.shape[1] == q:
            continue
        seen += 1
        assert np.abs(D @ root).max(initial=0.0) < 1e-3
        null = np.linalg.svd(np.column_stack([root, np.zeros((q, q))]))[0][:, root.shape[1] :]
        assert np.linalg.eigvalsh(null.T @ D @ null)[0] > -1e-4
        found = infer(problem, fit)
        for way in ("satterthwaite", "kenward-roger"):
            std_error, df = found.contrasts(np.eye(3), way)
            assert np.isfinite(std_error).all()
            assert (df > 0.9).all()
            assert (df < 1.001 * problem.n).all() or way == "kenward-roger"
    assert seen > 5


def test_oxboys_quadratic_escapes_its_false_boundary() -> None:
    frame = pd.read_csv(DATA / "oxboys.csv")
    age, height = frame["age"].to_numpy(float), frame["height"].to_numpy(float)
    X = np.column_stack([np.ones(len(frame)), age, age**2])
    codes = pd.factorize(frame["Subject"])[0].astype(np.intp)
    problem = prepare(height, X, [Block(codes, int(codes.max()) + 1, X)])
    fit = mixed.fit(problem)
    assert fit.deviance == pytest.approx(634.618855, abs=1e-5)
    # Also from the place where bounded optimisers stop (648.443): no variance of the curve.
    flat = [np.diag([1.0, 1.0, 0.0]), np.diag([1.0, 0.0, 0.0]), np.zeros((3, 3))]
    for root in flat:
        again = mixed.fit(problem, start=[root])
        assert again.deviance == pytest.approx(634.618855, abs=1e-5)


@pytest.mark.parametrize("sd", [0.05, 0.1, 0.2])
def test_a_small_true_variance_is_found(sd: float) -> None:
    rng = np.random.default_rng(12)
    N, T = 600, 12
    codes, t = np.repeat(np.arange(N), T), np.tile(np.arange(T) - 5.5, N)
    X = np.column_stack([np.ones(N * T), t])
    y = X @ [1.0, 0.5] + rng.normal(size=N)[codes] + sd * rng.normal(size=N)[codes] * t + rng.normal(size=N * T)
    fit = mixed.fit(prepare(y, X, [Block(codes, N, X)]))
    assert not fit.convergence.boundary
    assert np.sqrt(fit.G[0][1, 1]) == pytest.approx(sd, rel=0.25)
