"""Covariance structures: positive definite for any free parameters, and derivatives that are exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from implstats._core.covariance import STRUCTURES, Structure, between, powers, unbounded
from implstats._core.explicit import second_derivatives
from implstats._core.marginal import ByVisit, complex_step

FEW = settings(derandomize=True, deadline=None, max_examples=8)
PARAMETERS = {
    "unstructured": 10,
    "toeplitz": 4,
    "ar1": 2,
    "compound-symmetry": 2,
    "heterogeneous-ar1": 5,
}


@pytest.fixture(params=PARAMETERS)
def structure(request: pytest.FixtureRequest) -> Structure:
    """Return every structure of four visits."""
    return STRUCTURES[request.param](4)


def drawn(structure: Structure, seed: int, size: float = 1.5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(scale=size, size=PARAMETERS[structure.word])


def test_the_words() -> None:
    assert list(STRUCTURES) == list(PARAMETERS)
    assert [STRUCTURES[word].linear for word in PARAMETERS] == [True, True, False, True, False]


@pytest.mark.parametrize("seed", range(8))
def test_any_free_parameters_make_a_covariance(structure: Structure, seed: int) -> None:
    sigma = structure.matrix(structure.natural(drawn(structure, seed)))
    assert sigma.shape == (4, 4)
    assert np.array_equal(sigma, sigma.T)
    assert np.linalg.eigvalsh(sigma)[0] > 0


def test_leading_axes(structure: Structure) -> None:
    u = np.stack([drawn(structure, k) for k in range(6)]).reshape(2, 3, -1)
    many = structure.matrix(structure.natural(u))
    for j, k in np.ndindex(2, 3):
        np.testing.assert_allclose(many[j, k], structure.matrix(structure.natural(u[j, k])), rtol=1e-14)


def test_linear_in_the_natural_parameters_or_not(structure: Structure) -> None:
    one, other = (structure.natural(drawn(structure, k)) for k in (1, 2))
    both = structure.matrix(one) + structure.matrix(other)
    assert np.allclose(structure.matrix(one + other), both) == structure.linear
    assert len(one) == PARAMETERS[structure.word]


@pytest.mark.parametrize("seed", range(3))
def test_a_start_is_near_a_covariance_of_the_structure(structure: Structure, seed: int) -> None:
    sigma = structure.matrix(structure.natural(drawn(structure, seed, 0.6)))
    start = structure.matrix(structure.natural(structure.free(sigma)))
    assert np.trace(start) == pytest.approx(np.trace(sigma), rel=1e-9)
    # Towards independence, never away from it.
    assert np.linalg.norm(start - sigma) <= 0.75 * np.linalg.norm(sigma - np.diag(np.diag(sigma))) + 1e-12
    if structure.word == "unstructured":
        np.testing.assert_allclose(start, sigma, rtol=1e-12)


def test_a_start_from_any_covariance(structure: Structure) -> None:
    # Bands whose averages make no covariance: Toeplitz has to shrink them.
    sigma = np.eye(4) + 0.99 * np.outer([1, -1, 1, 1], [1, -1, 1, 1])
    start = structure.matrix(structure.natural(structure.free(sigma)))
    assert np.isfinite(start).all()
    assert np.linalg.eigvalsh(start)[0] > 1e-4


@given(seed=st.integers(0, 1000))
@FEW
def test_complex_steps_are_the_derivatives(seed: int) -> None:
    for word in PARAMETERS:
        structure = STRUCTURES[word](4)
        u = drawn(structure, seed, 0.7)

        def matrix(x: np.ndarray, structure: Structure = structure) -> np.ndarray:
            return structure.matrix(structure.natural(x))

        exact = complex_step(matrix, u)
        for j in range(len(u)):
            step = 1e-6 * np.eye(len(u))[j]
            difference = (matrix(u + step) - matrix(u - step)) / 2e-6
            np.testing.assert_allclose(exact[j], difference, atol=1e-6 * np.abs(matrix(u)).max())


def test_second_derivatives() -> None:
    # V = s2 rho^|j - k|: nothing in s2 twice, g rho^(g-1) across, and s2 g (g - 1) rho^(g-2) in rho twice.
    ar1 = STRUCTURES["ar1"](4)
    g = ar1.gaps
    for rho in (-0.7, 1e-7, 0.4, 0.95):
        bend = second_derivatives(ar1.matrix, np.array([2.5, rho]))
        np.testing.assert_allclose(bend[0, 0], 0.0, atol=1e-8)
        np.testing.assert_allclose(bend[0, 1], np.where(g > 0, g * rho ** np.maximum(g - 1, 0), 0.0), atol=1e-6)
        wanted = np.where(g > 1, 2.5 * g * (g - 1) * rho ** np.maximum(g - 2, 0), 0.0)
        np.testing.assert_allclose(bend[1, 1], wanted, atol=1e-6)
        np.testing.assert_allclose(bend[0, 1], bend[1, 0])
    for word in ("unstructured", "toeplitz", "compound-symmetry"):
        linear = STRUCTURES[word](4)
        phi = linear.natural(drawn(linear, 3))
        assert np.abs(second_derivatives(linear.matrix, phi)).max() < 1e-8


def test_whole_powers_of_a_negative_number_however_high() -> None:
    # numpy takes complex powers of 100 and more through the logarithm, where a tiny imaginary part drowns.
    gaps = np.array([[0, 1, 2, 99, 100, 101, 150, 201]])
    for rho in (-0.999, -0.8, -0.1, 0.5, 0.999):
        slope = complex_step(lambda r: powers(r[..., 0], gaps), np.array([rho]))[0]
        wanted = [[g * rho ** (g - 1) if g else 0.0 for g in gaps[0].tolist()]]
        np.testing.assert_allclose(slope, wanted, rtol=1e-10, atol=1e-300)
        np.testing.assert_allclose(powers(np.array(rho), gaps), rho**gaps, rtol=1e-12)


def test_fractional_powers_of_a_positive_number() -> None:
    gaps = np.array([[0.0, 0.5, 1.7, 30.25]])
    np.testing.assert_allclose(powers(np.array(0.6), gaps), 0.6**gaps, rtol=1e-13)
    slope = complex_step(lambda r: powers(r[..., 0], gaps), np.array([0.6]))[0]
    np.testing.assert_allclose(slope, gaps * 0.6 ** (gaps - 1), rtol=1e-12)


@given(share=st.floats(0.001, 0.999), low=st.sampled_from([-1.0, -0.5, 0.0]))
@FEW
def test_between_and_unbounded_undo_each_other(share: float, low: float) -> None:
    value = np.array(low + share * (1 - low))
    assert between(unbounded(value, low), low) == pytest.approx(value, abs=1e-12)


def test_compound_symmetry_reaches_its_lowest_correlation() -> None:
    # -1/(m - 1) makes the matrix singular, so it is never reached.
    structure = STRUCTURES["compound-symmetry"](5)
    low = structure.natural(np.array([0.0, -30.0]))
    assert low[1] == pytest.approx(-1 / 4, abs=1e-9)
    assert structure.natural(np.array([0.0, -5.0]))[1] > -1 / 4


def test_places_of_a_pattern_that_were_not_seen_are_an_identity() -> None:
    seen = np.array([[True, True, True], [True, False, True]])
    covariance = ByVisit(STRUCTURES["unstructured"](3), 2, seen, np.array([1, 0]))
    u = np.random.default_rng(1).normal(size=12)
    first, second = covariance.sigmas(covariance.natural(u))
    V = covariance.matrices(covariance.natural(u))
    np.testing.assert_allclose(V[0], second)
    np.testing.assert_allclose(V[1][np.ix_([0, 2], [0, 2])], first[np.ix_([0, 2], [0, 2])])
    assert V[1][1].tolist() == [0.0, 1.0, 0.0]
