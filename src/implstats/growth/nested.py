"""Which fitted model contains which, and how their likelihood ratio is distributed where the smaller one holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from implstats.growth.mmrm import MMRMResult
from implstats.growth.models import MixedResult

__all__ = ["Arrays", "Model", "inside", "mixture", "tail"]

Model = MixedResult | MMRMResult

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]

# A column belongs to a span if no more than this share of it is left over.
LEFT_OVER = 1e-6
# Which covariances of visits are special cases of which.
WITHIN = {
    "compound-symmetry": {"toeplitz", "unstructured"},
    "ar1": {"toeplitz", "heterogeneous-ar1", "unstructured"},
    "toeplitz": {"unstructured"},
    "heterogeneous-ar1": {"unstructured"},
    "unstructured": set(),
}
# Parameters that an edge adds where nothing else differs: a variance, or a variance and a correlation.
EDGES = {"variance": 1, "slope": 2}


@dataclass(frozen=True, eq=False)
class Term:
    """A random-effects term: the level of each row, and its columns."""

    codes: Ints
    Z: Floats


class Arrays:
    """What a model says of its rows, in the order that several models share; `order` names its rows in that order."""

    def __init__(self, model: Model, order: Ints) -> None:
        design, residual = model.design, model.design.noise.structure
        self.X = design.X[order]
        self.terms = [Term(t.of_row[order], t.Z[order]) for t in design.terms]
        self.boundary = model.convergence.boundary
        self.strata, self.precision = residual.strata[order], residual.precision[order]
        self.series = self.position = None
        if residual.series is not None and residual.position is not None:
            self.series, self.position = residual.series[order], residual.position[order]
            self.positive_only = residual.lowest >= 0
        self.covariance, self.by_cohort = "", False
        if isinstance(model, MMRMResult):
            self.covariance, self.by_cohort = model.covariance_word, model.by_cohort
            self.patient, self.cohort = model.design.patient_codes[order], model.design.cohort_codes[order]
            self.visit = np.unique(model.design.t[order], return_inverse=True)[1]


def mixture(small: Arrays, big: Arrays, df: int) -> tuple[int, ...] | None:
    """Return the df of the chi-square distributions that make, in equal parts, that of the likelihood ratio.

    Empty where no such mixture is known; None where `small` is no special case of `big`. Self & Liang 1987, Stram & Lee
    1994: a variance that may only be positive is left out in half of all samples, and takes the correlation with it.
    """
    if not inside(small.X, big.X):
        return None
    kinds = (
        [_visits(small, big)] if small.covariance or big.covariance else [_random(small, big), _residual(small, big)]
    )
    if None in kinds:
        return None
    more = set(kinds) - {"same"}
    # Estimates of fixed effects and of variances are independent, so a variance at zero does not matter to the first.
    if not more or (more == {"regular"} and not small.boundary):
        return (df,)
    if df == EDGES.get(kinds[0] or "", 0) and more == {kinds[0]} and not small.boundary:
        return (df - 1, df)
    return ()


def tail(statistic: float, parts: Sequence[int]) -> float:
    """Return the probability that chi-square distributions mixed in equal parts reach the statistic."""
    reached = [1.0 if statistic <= 0 else float(special.chdtrc(k, statistic)) if k else 0.0 for k in parts]
    return sum(reached) / len(reached)


def inside(A: Floats, B: Floats) -> bool:
    """Return whether the columns of A are linear combinations of those of B, which are independent."""
    Q = np.linalg.qr(B / np.linalg.norm(B, axis=0))[0]
    left = A - Q @ (Q.T @ A)
    return bool((np.linalg.norm(left, axis=0) <= LEFT_OVER * np.linalg.norm(A, axis=0)).all())


def _finer(fine: Ints, coarse: Ints) -> bool:
    """Return whether every level of the one lies within one level of the other."""
    pairs = np.unique(np.column_stack([fine, coarse]), axis=0)
    return len(pairs) == len(np.unique(fine))


def _alike(one: Ints, other: Ints) -> bool:
    return _finer(one, other) and _finer(other, one)


def _within(small: Term, big: Term) -> bool:
    return _alike(small.codes, big.codes) and inside(small.Z, big.Z)


def _random(small: Arrays, big: Arrays) -> str | None:
    """Return what the larger model's random effects add."""
    if not all(any(_within(s, b) for b in big.terms) for s in small.terms):
        return None
    kept = [(s, b) for s in small.terms for b in big.terms if s.Z.shape == b.Z.shape and _within(s, b)]
    new = [b for b in big.terms if all(b is not other for _, other in kept)]
    grown = [s for s in small.terms if all(s is not other for other, _ in kept)]
    if not new:
        return "same"
    sizes = ([s.Z.shape[1] for s in grown], [b.Z.shape[1] for b in new])
    if sizes == ([], [1]):
        return "variance"
    if sizes == ([1], [2]):
        return "slope"
    # Correlations between effects that were there before.
    return "regular" if len(new) == 1 and sum(sizes[0]) == sizes[1][0] else "unknown"


def _residual(small: Arrays, big: Arrays) -> str | None:
    """Return what the larger model's residuals add."""
    ratio = big.precision / small.precision
    if np.ptp(ratio) > LEFT_OVER * ratio.max() or not _finer(big.strata, small.strata):
        return None
    if small.series is not None and not _same_series(small, big):
        return None
    if small.series is None and big.series is not None:
        return "unknown" if big.positive_only else "regular"
    return "same" if _alike(small.strata, big.strata) else "regular"


def _same_series(small: Arrays, big: Arrays) -> bool:
    if big.series is None or not _alike(small.series, big.series):  # type: ignore[arg-type]
        return False
    apart = small.position - big.position  # type: ignore[operator]
    return all(np.ptp(apart[big.series == k]) < LEFT_OVER for k in np.unique(big.series))


def _visits(small: Arrays, big: Arrays) -> str | None:
    """Return what the covariance of the larger model's visits adds to the smaller model's."""
    if not big.covariance:
        return None
    cells = big.visit if not big.by_cohort else big.visit + (big.visit.max() + 1) * big.cohort
    if not small.covariance:
        enough = {"unstructured", *(WITHIN["compound-symmetry"] | {"compound-symmetry"} if _levels_only(small) else ())}
        return "unknown" if big.covariance in enough and _by_cell(small, big, cells) else None
    if not (_alike(small.patient, big.patient) and _alike(small.visit, big.visit)):
        return None
    if small.by_cohort and not (big.by_cohort and _alike(small.cohort, big.cohort)):
        return None
    if small.covariance == big.covariance:
        return "same" if small.by_cohort == big.by_cohort else "regular"
    return "regular" if big.covariance in WITHIN[small.covariance] else None


def _levels_only(model: Arrays) -> bool:
    """Return whether patients differ in their level only, which makes the visits' covariance compound-symmetric."""
    columns = [model.strata, model.precision, *(z for term in model.terms for z in term.Z.T)]
    return len(columns) == 3 and all(np.ptp(column) == 0 for column in columns)


def _by_cell(small: Arrays, big: Arrays, cells: Ints) -> bool:
    """Return whether patients are all that random effects vary between, by columns that visits determine."""
    columns: Sequence[Any] = [small.strata, small.precision, *(z for t in small.terms for z in t.Z.T)]
    determined = all(_finer(cells, np.unique(c, return_inverse=True)[1]) for c in columns)
    return determined and small.series is None and all(_alike(t.codes, big.patient) for t in small.terms)
