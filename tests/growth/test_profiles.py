"""variances(level=): at each end a dense likelihood, minimised by scipy over all else, has risen by the quantile."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
from scipy import stats

import implstats as ist
from implstats._core.ends import profile_ends
from implstats.errors import DataError
from implstats.growth import profiles
from implstats.growth.refits import Refits, curvature

pytestmark = pytest.mark.filterwarnings("ignore::implstats.errors.BoundaryWarning")

Floats = np.ndarray
ROLES: dict[str, Any] = {"outcome": "score", "patient": "patient", "cohort": "cohort", "reference": "before"}


def study(
    seed: int = 1, patients: int = 20, times: tuple[float, ...] = (0, 6, 12, 18), slope: float = 0.06, rho: float = 0.0
) -> pd.DataFrame:
    """Return two cohorts with drop-out; residuals are larger in one, and AR(1) by visit with a correlation of rho."""
    rng, rows = np.random.default_rng(seed), []
    for i in range(patients):
        u, e = rng.normal(size=2) * [1.0, slope], 0.0
        for t in times[: len(times) - (int(rng.integers(1, 3)) if rng.random() < 0.3 else 0)]:
            e = rho * e + np.sqrt(1 - rho**2) * rng.normal() if t else rng.normal()
            y = 8 - 0.1 * t + u[0] + u[1] * t + (0.7 if i % 2 else 1.0) * e
            rows.append((i, "during" if i % 2 else "before", float(t), y))
    return pd.DataFrame(rows, columns=["patient", "cohort", "month", "score"])


def growth(frame: pd.DataFrame, **options: Any) -> Any:
    return ist.fit_growth(frame, time="month", **(ROLES | {"shape": "linear"} | options))


def apart(frame: pd.DataFrame, **options: Any) -> Any:
    return growth(frame, residual="by_cohort", random="uncorrelated", **options)


def series(frame: pd.DataFrame) -> Any:
    return growth(frame, residual="ar1", random="intercept")


def mmrm(frame: pd.DataFrame, **options: Any) -> Any:
    return ist.fit_mmrm(frame, visit="month", **(ROLES | options))


class Dense:
    """The likelihood of every patient's V as a whole; places that were not seen are those of an identity."""

    def __init__(self, result: Any) -> None:
        design, self.reml = result.design, result.fit.reml
        patient, place = design.patient_codes, np.searchsorted(np.unique(design.t), design.t)
        shape = int(patient.max()) + 1, int(place.max()) + 1
        self.y, self.X = np.zeros(shape), np.zeros((*shape, design.X.shape[1]))
        self.y[patient, place], self.X[patient, place] = design.y, design.X
        self.seen = np.zeros(shape, dtype=bool)
        self.seen[patient, place] = True
        self.cohort = np.zeros(shape[0], dtype=int)
        self.cohort[patient] = design.cohort_codes
        self.t, self.visits, self.step = np.unique(design.t), shape[1], design.noise.step
        self.nu = len(design.y) - self.reml * design.X.shape[1]

    def deviance(self, V: Floats) -> float:
        both = self.seen[:, :, None] & self.seen[:, None, :]
        V = np.where(both, V, np.eye(self.visits))
        sign, logdet = np.linalg.slogdet(V)
        if not (sign > 0).all():
            return 1e9
        WX = np.linalg.solve(V, self.X)
        information = np.einsum("nip,niq->pq", self.X, WX)
        b = np.linalg.solve(information, np.einsum("nip,ni->p", WX, self.y))
        r = self.y - self.X @ b
        square = float(np.einsum("ni,ni->", r, np.linalg.solve(V, r[:, :, None])[:, :, 0]))
        more = np.linalg.slogdet(information)[1] if self.reml else 0.0
        return float(logdet.sum()) + square + more + self.nu * math.log(2 * math.pi)


# V from coordinates without bounds: logarithms of SDs, then tangents of correlations.
Shape = Callable[[Dense, Floats], Floats]


def random_effects(sds: Floats, correlation: float, t: Floats) -> Floats:
    Z = np.column_stack([np.ones_like(t), t])[:, : len(sds)]
    G = np.outer(sds, sds) * (np.eye(len(sds)) + correlation * (1 - np.eye(len(sds))))
    return Z @ G @ Z.T


def by_cohort(d: Dense, x: Floats) -> Floats:
    noise = np.exp(2 * x[2:4])[d.cohort, None, None] * np.eye(d.visits)
    return random_effects(np.exp(x[:2]), math.tanh(x[4]) if len(x) > 4 else 0.0, d.t) + noise


def by_visit(d: Dense, x: Floats) -> Floats:
    return np.broadcast_to(
        random_effects(np.exp(x[:1]), 0, d.t) + np.diag(np.exp(2 * x[1:])), (len(d.y), d.visits, d.visits)
    )


def ar1(d: Dense, x: Floats) -> Floats:
    gaps = np.abs(np.subtract.outer(d.t, d.t)) / d.step
    whole = np.array_equal(gaps, np.rint(gaps))
    rho = math.tanh(x[2]) if whole else (1 + math.tanh(x[2])) / 2
    one = random_effects(np.exp(x[:1]), 0, d.t) + math.exp(2 * x[1]) * rho ** (gaps.astype(int) if whole else gaps)
    return np.broadcast_to(one, (len(d.y), d.visits, d.visits))


def visits(correlation: Callable[[Dense, Floats], Floats], count: int, groups: int = 1) -> Shape:
    def V(d: Dense, x: Floats) -> Floats:
        sds, rest = np.exp(x[: -groups * count]).reshape(groups, -1), x[-groups * count :].reshape(groups, count)
        sds = np.broadcast_to(sds, (groups, d.visits))
        one = np.array([np.outer(s, s) * correlation(d, r) for s, r in zip(sds, rest, strict=True)])
        return one[d.cohort if groups > 1 else np.zeros_like(d.cohort)]

    return V


def any_correlation(d: Dense, x: Floats) -> Floats:
    root = np.eye(d.visits)
    root[np.tril_indices(d.visits, -1)] = x
    root /= np.linalg.norm(root, axis=1)[:, None]
    return root @ root.T


def powers(d: Dense, x: Floats) -> Floats:
    return math.tanh(x[0]) ** np.abs(np.subtract.outer(np.arange(d.visits), np.arange(d.visits)))


def alike(d: Dense, x: Floats) -> Floats:
    return np.eye(d.visits) + math.tanh(x[0]) * (1 - np.eye(d.visits))


# Result, V, correlations; rows of variances() are the coordinates in order, repeated where there are more.
CASES: dict[str, tuple[Callable[[], Any], Shape, int]] = {
    "by cohort": (lambda: growth(study(2), residual="by_cohort"), by_cohort, 1),
    "by cohort, correlation of one": (lambda: growth(study(5, 24, slope=0.0), residual="by_cohort"), by_cohort, 1),
    "by cohort, ml": (lambda: apart(study(2, slope=0.1), method="ml"), by_cohort, 0),
    "by cohort, no variance of slopes": (lambda: apart(study(1, 24, slope=0.0)), by_cohort, 0),
    "by visit": (lambda: growth(study(3), residual="by_visit", random="intercept"), by_visit, 0),
    "ar1": (lambda: series(study(rho=0.5)), ar1, 1),
    "ar1, fractional gaps": (lambda: series(study(2, 30, (0, 4, 10, 18), rho=0.5)), ar1, 1),
    "mmrm": (lambda: mmrm(study(4, times=(0, 6, 12))), visits(any_correlation, 3), 3),
    "mmrm, ml": (lambda: mmrm(study(4), covariance="heterogeneous-ar1", method="ml"), visits(powers, 1), 1),
    "mmrm, by cohort": (lambda: mmrm(study(7), covariance="ar1", by_cohort=True), visits(powers, 1, groups=2), 2),
    "mmrm, compound symmetry": (lambda: mmrm(study(5), covariance="compound-symmetry"), visits(alike, 1), 1),
}


def lowest(dense: Dense, V: Shape, held: int, value: float, starts: list[Floats]) -> float:
    """Return the criterion at one coordinate, minimal over the others."""

    def at(free: Floats) -> float:
        return dense.deviance(V(dense, np.insert(free, held, value)))

    ends = [scipy.optimize.minimize(at, np.delete(s, held), method="BFGS", options={"gtol": 1e-5}).fun for s in starts]
    return float(min(ends))


@pytest.mark.parametrize("name", CASES)
def test_at_every_end_the_criterion_has_risen_by_the_quantile(name: str) -> None:
    make, V, correlations = CASES[name]
    result, level = make(), 0.9
    dense, table = Dense(result), result.variances(level=level)
    rho = table["correlation"].notna() & (table["group"] == "Residual") if "correlation" in table else table["sd"] < 0
    sds = np.log(np.maximum(table.loc[table["sd"].notna(), "sd"].unique(), 0.02))
    starts = [np.r_[sds, np.full(correlations, start)] for start in (0.3, -0.3)]
    rise, crossed = float(stats.chi2.ppf(level, 1)), 0
    for k, row in table[table["sd"].notna() | rho].drop_duplicates(["sd", "conf_low"]).reset_index().iterrows():
        for end in row[["conf_low", "conf_high"]]:
            assert end >= 0 or rho.any()
            value = math.log(max(end, 1e-8)) if row["sd"] == row["sd"] else _tangent(result, end)
            above = lowest(dense, V, int(k), value, starts) - result.fit.deviance
            if end == 0:
                assert above <= rise
                continue
            assert above == pytest.approx(rise, abs=1e-4)
            crossed += 1
    assert crossed > 1


def _tangent(result: Any, rho: float) -> float:
    return math.atanh(rho if result.design.noise.structure.lowest < 0 else 2 * max(rho, 1e-9) - 1)


@pytest.mark.parametrize("random", ["slope", "intercept", "uncorrelated"])
@pytest.mark.parametrize("seed", [1, 2])
def test_residuals_that_are_alike_end_where_the_other_road_ends(random: str, seed: int) -> None:
    result = growth(study(seed), random=random)
    known = result.variances(level=0.95)
    found = profiles._of_patterns(result, 0.95)
    np.testing.assert_allclose(found, known.dropna(subset=["sd"])[["conf_low", "conf_high"]], rtol=1e-5, atol=1e-6)
    assert (known["conf_low"] <= known["sd"]).equals(known["sd"].notna())
    assert known.loc[known["sd"].isna(), ["conf_low", "conf_high"]].isna().all(axis=None)


@pytest.mark.parametrize("level", [0.5, 0.95])
def test_compound_symmetry_is_the_random_intercepts_total(level: float) -> None:
    marginal = mmrm(study(8), covariance="compound-symmetry").variances(level=level)
    result = growth(study(8), shape="visits", random="intercept")
    road: Any = Refits(result).road
    data, u = road.sums.patterns, road.start
    total = np.array([[1 / result.problem.Rz[0][0, 0] ** 2, 1.0]])
    bent = curvature(data, road.covariance, u, True)
    ends = profile_ends(data, road.covariance, u, bent, total, np.array([[0.0, np.inf]]), level, reml=True)
    for row in marginal[["conf_low", "conf_high"]].to_numpy():
        np.testing.assert_allclose(row, data.scale * np.sqrt(ends[0]), rtol=1e-5)


@pytest.mark.parametrize("seed", [0, 5, 7])
def test_a_correlation_of_zero_has_an_upper_end(seed: int) -> None:
    result = series(study(seed, 30, (0, 4, 10, 18, 25), slope=0.0))
    assert result.boundary == ["the correlation of residuals is 0"]
    table = result.variances(level=0.95)
    low, high = table[["conf_low", "conf_high"]].iloc[-1]
    assert low == 0 < high < 1
    sds = np.log(table["sd"].dropna())
    above = lowest(Dense(result), ar1, 2, _tangent(result, high), [np.r_[sds, 0.0]]) - result.fit.deviance
    assert above == pytest.approx(stats.chi2.ppf(0.95, 1), abs=1e-4)


def test_the_estimate_lies_inside_and_a_higher_level_is_wider() -> None:
    for result in (growth(study(2), residual="by_cohort"), mmrm(study(4), by_cohort=True, covariance="toeplitz")):
        narrow, wide = (result.variances(level=level).dropna(subset=["sd"]) for level in (0.5, 0.95))
        ends = [wide["conf_low"], narrow["conf_low"], wide["sd"], narrow["conf_high"], wide["conf_high"]]
        assert (np.diff(ends, axis=0) > 0).all()
        pd.testing.assert_frame_equal(wide.iloc[:, :-2], result.variances().dropna(subset=["sd"]))


def test_what_is_not_computed_is_refused() -> None:
    frame = study().assign(site=lambda f: f["patient"] % 5)
    result = ist.fit_mixed(frame, formula="score ~ month + (1 | patient) + (1 | site)", residual="by(cohort)")
    with pytest.raises(DataError) as caught:
        result.variances(level=0.9)
    assert str(caught.value) == (
        "level=0.9: with several groups and residuals that are not alike, profile intervals are not computed; "
        "ask variances() without level="
    )
    for asked in (growth(study()), mmrm(study(4))):
        with pytest.raises(DataError, match="level=95: not between 0 and 1"):
            asked.variances(level=95)
