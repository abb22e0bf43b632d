"""Many versions at once: the climb on criteria with known minima, and C of weighted and redrawn patients by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize

from implstats._core import many, marginal
from implstats._core.covariance import STRUCTURES
from implstats._core.many import Sums, batches, climb, refit
from implstats._core.marginal import ByVisit, Patterns

Floats = np.ndarray


def bowls(seed: int = 1, versions: int = 9, r: int = 3) -> tuple[Callable[..., tuple[Floats, Floats]], Floats, Floats]:
    """Return quadratic criteria, their minima and their second derivatives."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(versions, r, r))
    A = A @ np.swapaxes(A, 1, 2) + 0.5 * np.eye(r)
    lowest = rng.normal(size=(versions, r))

    def at(rows: np.ndarray, u: Floats) -> tuple[Floats, Floats]:
        off = u - lowest[rows]
        return np.einsum("bi,bij,bj->b", off, A[rows], off), 2 * np.einsum("bij,bj->bi", A[rows], off)

    return at, lowest, 2 * A


def test_one_step_leads_to_the_minimum_where_the_curvature_is_right() -> None:
    at, lowest, curvature = bowls()
    u, value, good = climb(at, np.zeros_like(lowest), curvature)
    np.testing.assert_allclose(u, lowest, atol=1e-9)
    np.testing.assert_allclose(value, 0, atol=1e-9)
    assert good.all()


@pytest.mark.parametrize("wrong", [np.eye(3), 100 * np.eye(3), np.diag([1.0, 0.1, 0.01]), -np.eye(3)])
def test_a_wrong_curvature_only_costs_steps(wrong: Floats) -> None:
    at, lowest, _ = bowls()
    u, value, good = climb(at, np.zeros_like(lowest), wrong)
    assert good.all()
    assert value.max() < 1e-8
    np.testing.assert_allclose(u, lowest, atol=1e-3)


def valley(rows: np.ndarray, u: Floats) -> tuple[Floats, Floats]:
    """Rosenbrock's function, its bend growing with the version."""
    a, bend = u.T, 10.0 * (1 + rows)
    rise = a[1] - a[0] ** 2
    slope = np.stack([-4 * bend * a[0] * rise - 2 * (1 - a[0]), 2 * bend * rise], axis=1)
    return bend * rise**2 + (1 - a[0]) ** 2, slope


def test_curved_valleys_are_followed_and_no_version_depends_on_its_company() -> None:
    start = np.random.default_rng(2).uniform(-1, 2, size=(8, 2))
    u, value, good = climb(valley, start, np.eye(2))
    assert good.all()
    assert value.max() < 1e-8
    np.testing.assert_allclose(u, 1.0, atol=1e-3)
    for b in (0, 5):
        alone = climb(lambda rows, at, b=b: valley(rows + b, at), start[b : b + 1], np.eye(2))
        np.testing.assert_array_equal(alone[0][0], u[b])
        assert alone[1][0] == value[b]


def test_what_has_no_value_or_no_minimum_is_not_good_and_stops_nobody() -> None:
    bowl = bowls(versions=3)[0]

    def at(rows: np.ndarray, u: Floats) -> tuple[Floats, Floats]:
        value, slope = bowl(rows, u)
        # The first has no value anywhere; the second falls for ever.
        value[rows == 0], slope[rows == 0] = np.inf, 0.0
        value[rows == 1], slope[rows == 1] = -u[rows == 1, 0], [-1.0, 0.0, 0.0]
        return value, slope

    _, value, good = climb(at, np.zeros((3, 3)), np.eye(3))
    assert good.tolist() == [False, False, True]
    assert value[2] < 1e-8


def test_a_cliff_shortens_the_step() -> None:
    def at(rows: np.ndarray, u: Floats) -> tuple[Floats, Floats]:
        beyond = u[:, 0] > 1.5
        return np.where(beyond, np.inf, (u[:, 0] - 1) ** 2), np.where(beyond[:, None], 0.0, 2 * (u - 1))

    u, _, good = climb(at, np.zeros((1, 1)), np.array([[0.1]]))
    assert good.all()
    assert u[0, 0] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(("total", "size"), [(10, 1), (10, 4), (1, 100), (10, 10**9), (0, 1)])
def test_batches_hold_every_version_once(total: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many, "BATCH", 12)
    parts = list(batches(total, size))
    assert [k for part in parts for k in range(total)[part]] == list(range(total))
    assert all(part.stop - part.start <= max(1, 12 // size) for part in parts)


def visits(seed: int = 3, N: int = 30, m: int = 3, p: int = 2) -> tuple[Patterns, ByVisit]:
    """Return patients with three patterns of visits."""
    rng = np.random.default_rng(seed)
    which = np.array([[True] * 3, [True, True, False], [True, False, True]])
    pattern = np.r_[0:3, rng.integers(0, 3, N - 3)]
    patient, place = np.nonzero(which[pattern])
    X = np.column_stack([np.ones(len(place)), place])
    y = X @ [1.0, 2.0] + rng.normal(size=N)[patient] + rng.normal(size=len(place))
    structure = ByVisit(STRUCTURES["unstructured"](m), 1, which, np.zeros(3, dtype=np.intp))
    return marginal.prepare(y, X, patient, place, m, pattern), structure


def by_hand(M: Floats, pattern: np.ndarray, weights: Floats) -> Floats:
    """Return C patient by patient."""
    m, p1, N = M.shape
    C = np.zeros((int(pattern.max()) + 1, m, m, p1, p1))
    for i in range(N):
        C[pattern[i]] += weights[i] * np.einsum("ac,bd->abcd", M[:, :, i], M[:, :, i])
    return C


@pytest.mark.parametrize("size", [1, 10**6])
def test_weighted_sums_are_sums_over_patients(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data, _ = visits()
    rows = np.arange(30) + 1.0
    weights = np.random.default_rng(1).uniform(0, 3, size=(4, 30))
    monkeypatch.setattr(many, "BATCH", size)
    C, counts, total = Sums(data, rows).weighted(weights)
    for b, w in enumerate(weights):
        np.testing.assert_allclose(C[b], by_hand(data.M, data.pattern, w), atol=1e-10)
        np.testing.assert_allclose(counts[b], np.bincount(data.pattern, w))
        assert total[b] == pytest.approx(w @ rows)


def test_rows_of_noise_alone_are_the_last_pattern() -> None:
    data, _ = visits()
    rng = np.random.default_rng(1)
    rest, rest_rows = rng.normal(size=(30, 3, 3)), rng.integers(0, 4, 30).astype(float)
    empty = np.zeros((1, *data.C.shape[1:]))
    data = replace(data, C=np.concatenate([data.C, empty]), counts=np.append(data.counts, 0.0))
    weights = rng.uniform(0, 3, size=(2, 30))
    C, counts, _ = Sums(data, np.ones(30), rest, rest_rows).weighted(weights)
    for b, w in enumerate(weights):
        np.testing.assert_allclose(C[b, :-1], by_hand(data.M, data.pattern, w), atol=1e-10)
        np.testing.assert_allclose(C[b, -1, 0, 0], np.einsum("n,nij->ij", w, rest))
        assert np.count_nonzero(C[b, -1]) == 9
        assert counts[b, -1] == pytest.approx(w @ rest_rows)


def test_redrawn_sums_are_those_of_the_new_outcomes() -> None:
    data, _ = visits()
    outcomes = np.random.default_rng(1).normal(size=(3, 30, 2)) * (data.M[:, :1] != 0)[:, 0, :, None]
    C = Sums(data, np.ones(30)).redrawn(outcomes, np.zeros((2, 2)), np.zeros(2))
    for b in range(2):
        M = data.M.copy()
        M[:, -1] = outcomes[:, :, b]
        np.testing.assert_allclose(C[b], by_hand(M, data.pattern, np.ones(30)), atol=1e-10)


def test_rows_of_noise_alone_take_the_rest_of_the_new_outcomes() -> None:
    data, _ = visits()
    rng = np.random.default_rng(1)
    rest = np.zeros((1, 3, 3, 3, 3))
    rest[0, 0, 0] = rng.normal(size=(3, 3))
    outcomes, xy, yy = rng.normal(size=(3, 30, 2)), rng.normal(size=(2, 2)), rng.uniform(90, 99, size=2)
    with_rest = replace(data, C=np.concatenate([data.C, rest]), counts=np.append(data.counts, 9.0))
    C = Sums(with_rest, np.ones(30), np.zeros((30, 3, 3)), np.ones(30)).redrawn(outcomes, xy, yy)
    # Together with what patients' places hold, it is all of X'y and y'y; X'X is that of the rows.
    np.testing.assert_allclose(np.einsum("bkaai->bi", C[:, :, :, :, 2, :2]), xy.T)
    np.testing.assert_allclose(np.einsum("bkaa->b", C[:, :-1, :, :, 2, 2]) + C[:, -1, 0, 0, 2, 2], yy)
    np.testing.assert_allclose(C[:, -1, 0, 0, :2, :2], np.broadcast_to(rest[0, 0, 0, :2, :2], (2, 2, 2)))
    np.testing.assert_array_equal(C[:, -1, 0, 0, :2, 2], C[:, -1, 0, 0, 2, :2])


@pytest.mark.parametrize("reml", [True, False])
def test_refits_are_where_scipy_finds_the_minimum(reml: bool) -> None:
    data, structure = visits()
    fit = marginal.fit(data, structure, structure.structure.free(np.eye(3)), reml=reml)
    weights = np.random.default_rng(4).multinomial(30, np.full(30, 1 / 30), size=3).astype(float)
    C, counts, rows = Sums(data, np.bincount(data.pattern, minlength=30)[:30].astype(float)).weighted(weights)
    nu = rows - 2 * reml
    found = refit(C, counts, nu, structure, fit.u, np.eye(6), reml=reml)
    assert found.good.all()
    for b in range(3):
        one = marginal.criterion(C[b], counts[b], nu[b], structure, reml=reml)
        end = optimize.minimize(lambda u, one=one: one(u[None])[0][0], fit.u, method="BFGS", options={"gtol": 1e-6})
        assert found.value[b] == pytest.approx(end.fun, abs=1e-7)
        np.testing.assert_allclose(found.b[b], one(end.x[None])[2].b[0], atol=1e-4)
        np.testing.assert_allclose(found.D[b], one(found.u[b][None])[2].D[0], atol=1e-8)
