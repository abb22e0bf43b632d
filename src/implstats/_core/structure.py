"""From rows to sufficient statistics: scaled columns, visit schedules, and who shares a random effect with whom.

Notation (Bates et al. 2015, DOI 10.18637/jss.v067.i01): y = X b + Z u + e. The grouping factor with most levels is
the first (patients); its random effects are eliminated in blocks. Every other factor is second (sites, therapists).
For each level i of the first factor, A_i = Z_i'Z_i and M_i = Z_i'[X y].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

__all__ = [
    "AliasedError",
    "Block",
    "Bucket",
    "LeastSquares",
    "Problem",
    "Second",
    "aliased",
    "compress",
    "distinct",
    "least_squares",
    "level_sums",
    "prepare",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
LeastSquares = tuple[Floats, Floats, Floats]

ALIASED = 1e-11
SMALL_PRODUCT = 20_000_000


class AliasedError(ValueError):
    """Columns that are linear combinations of those before them; `matrix` is X or the number of a block."""

    def __init__(self, matrix: str | int, columns: list[int]) -> None:
        super().__init__(f"columns {columns} of {matrix} are linear combinations of the columns before them")
        self.matrix, self.columns = matrix, columns


@dataclass(frozen=True, slots=True)
class Block:
    """One random-effects term with its own full covariance.

    Attributes
    ----------
    codes : (n,) integers, the level of each row, every level present.
    levels : number of levels.
    Z : (n, q) columns of the term.
    """

    codes: Ints
    levels: int
    Z: Floats


@dataclass(frozen=True, slots=True)
class Bucket:
    """Connected components of the second factors, of similar size, padded to one size s.

    Attributes
    ----------
    members : (c, s) column of the second factors at each place, -1 where padded.
    """

    members: Ints


@dataclass(frozen=True, slots=True)
class Second:
    """What the factors beside the first add; m columns in all, level-major within each block.

    Attributes
    ----------
    offsets : first column of each block.
    B : per coefficient of the first factor, Z_1'Z_2 (N, m), sparse unless small.
    C : Z_2'Z_2, (m, m), sparse unless small.
    R : Z_2'[X y], (m, p + 1).
    bucket, slot, place : (m,) where each column stands: its bucket, its component's place there, its own within that.
    buckets : the components.
    first_component : (N,) the component that each level of the first factor belongs to.
    component_of : (m,) the component of each column.
    """

    offsets: tuple[int, ...]
    B: tuple[Any, ...]
    C: Any
    R: Floats
    bucket: Ints
    slot: Ints
    place: Ints
    buckets: tuple[Bucket, ...]
    first_component: Ints
    component_of: Ints

    def columns(self, problem: Problem, block: int) -> slice:
        """Return where a block stands among the m columns."""
        start = self.offsets[problem.second_blocks.index(block)]
        return slice(start, start + problem.sizes[block] * problem.levels[block])


@dataclass(frozen=True, slots=True)
class Problem:
    """Everything that one evaluation of the criterion needs; its cost no longer depends on the number of rows.

    Attributes
    ----------
    n, p : rows, fixed effects.
    Rx : (p, p) upper triangle; the user's X is (orthonormal columns) @ Rx.
    beta0 : (p,) least-squares estimate on the user's scale, taken out of y.
    sizes, levels, Rz : per block, its q, its levels, and the upper triangle of its scaling.
    first, second_blocks : which blocks belong to the first factor, and which do not.
    A : (q, q, K) Z'Z of each distinct visit schedule.
    counts : (K,) levels of the first factor with that schedule, or their weight.
    schedule : (N,) schedule of each level of the first factor.
    M : (q, p + 1, N) Z'[X y] of each level of the first factor.
    Mc, schedule_c : the same, with the levels that share a schedule compressed by QR to at most q (p + 1) rows.
    T : (p + 1, p + 1) [X y]'[X y].
    second : the other factors, if there are any.
    """

    n: int
    p: int
    Rx: Floats
    beta0: Floats
    sizes: tuple[int, ...]
    levels: tuple[int, ...]
    Rz: tuple[Floats, ...]
    first: tuple[int, ...]
    second_blocks: tuple[int, ...]
    A: Floats
    counts: Floats
    schedule: Ints
    M: Floats
    Mc: Floats
    schedule_c: Ints
    T: Floats
    second: Second | None

    def columns(self, block: int) -> slice:
        """Return where a block of the first factor stands among its q coefficients."""
        before = sum(self.sizes[b] for b in self.first[: self.first.index(block)])
        return slice(before, before + self.sizes[block])


def _triangle(X: Floats) -> Floats:
    """Return R of X = Q R with positive diagonal, columns scaled first so that units cannot matter."""
    norms = np.sqrt(np.einsum("ij,ij->j", X, X))
    norms[norms == 0] = 1.0
    R = np.atleast_2d(np.linalg.qr(X / norms, mode="r"))
    return np.asarray(R * np.where(np.diag(R) < 0, -1.0, 1.0)[:, None] * norms)


def aliased(X: Floats) -> list[int]:
    """Return the columns of X that are linear combinations of the columns before them."""
    norms = np.sqrt(np.einsum("ij,ij->j", X, X))
    zero = [int(j) for j in np.flatnonzero(norms == 0)]
    R = np.atleast_2d(np.linalg.qr(X / np.where(norms == 0, 1.0, norms), mode="r"))
    found, kept = list(zero), np.zeros((R.shape[0], 0))
    for j in range(X.shape[1]):
        if j in zero:
            continue
        r = R[:, j]
        for _ in range(2):
            r = r - kept @ (kept.T @ r)
        size = float(np.linalg.norm(r))
        if size < ALIASED:
            found.append(j)
        else:
            kept = np.column_stack([kept, r / size])
    return sorted(found)


def _solve_right(X: Floats, R: Floats) -> Floats:
    """Return X R^-1."""
    inverse = scipy.linalg.solve_triangular(R, np.eye(len(R)))
    return np.asarray(X @ inverse)


def _orthonormal(X: Floats) -> tuple[Floats, Floats]:
    """Return Q and R of X = Q R; a second pass takes out what a bad condition left of the first."""
    if X.shape[1] == 0:
        return X, np.zeros((0, 0))
    R1 = _triangle(X)
    if found := aliased(R1):
        raise AliasedError("X", found)
    Q = _solve_right(X, R1)
    R2 = np.asarray(scipy.linalg.cholesky(Q.T @ Q))
    return _solve_right(Q, R2), np.asarray(R2 @ R1)


def least_squares(y: Floats, X: Floats) -> LeastSquares:
    """Return [Q, residual] (n, p + 1), R of X = Q R, and the estimates on the user's scale."""
    n, p = X.shape
    assert y.shape == (n,)
    Q, Rx = _orthonormal(X)
    fitted = Q.T @ y
    residual = y - Q @ fitted
    residual -= Q @ (Q.T @ residual)
    beta0 = scipy.linalg.solve_triangular(Rx, fitted) if p else np.zeros(0)
    return np.column_stack([Q, residual]), Rx, beta0


def distinct(A: Floats) -> tuple[Ints, Ints]:
    """Return the first level of each distinct column of A (k, N), and the index of each column's distinct one."""
    # A hash of each column, as sorting whole columns is many times slower; a collision falls back to no sharing.
    bits = np.ascontiguousarray(A).view(np.uint64)
    odd = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], dtype=np.uint64)
    key = np.zeros(A.shape[1], dtype=np.uint64)
    for j, row in enumerate(bits):
        key = (key ^ row) * odd[j % 4]
        key ^= key >> np.uint64(29)
    _, where, index = np.unique(key, return_index=True, return_inverse=True)
    if not np.array_equal(A[:, where[index]], A):
        where = index = np.arange(A.shape[1])
    return where, index


def compress(M: Floats, schedule: Ints, K: int) -> tuple[Floats, Ints]:
    """Replace the levels that share a schedule by at most q (p + 1) rows with the same sum of M (x) M."""
    q, p1, N = M.shape
    width = q * p1
    counts = np.bincount(schedule, minlength=K)
    if np.minimum(counts, width).sum() > N // 2:
        return M, schedule
    order = np.argsort(schedule, kind="stable")
    flat = np.ascontiguousarray(M.reshape(width, N).T)[order]
    ends = np.cumsum(counts)
    parts, index = [], []
    for k in range(K):
        part = flat[ends[k] - counts[k] : ends[k]]
        part = np.atleast_2d(np.linalg.qr(part, mode="r")) if len(part) > width else part
        parts.append(part)
        index.append(np.full(len(part), k))
    return np.ascontiguousarray(np.concatenate(parts).T).reshape(q, p1, -1), np.concatenate(index)


def _second(
    blocks: Sequence[Block], Zs: Sequence[Floats], which: Sequence[int], first: Block, Z1: Floats, XY: Floats
) -> Second:
    n, rows = len(XY), np.arange(len(XY))
    offsets, m, parts = [], 0, []
    for b in which:
        offsets.append(m)
        q = Zs[b].shape[1]
        for r in range(q):
            parts.append((Zs[b][:, r], rows, m + blocks[b].codes * q + r))
        m += blocks[b].levels * q
    data, i, j = (np.concatenate(v) for v in zip(*parts, strict=True))
    Z2 = sp.csr_array((data, (i, j)), shape=(n, m))
    N = first.levels
    B = tuple(
        sp.csr_array(sp.csr_array((Z1[:, r], (first.codes, rows)), shape=(N, n)) @ Z2) for r in range(Z1.shape[1])
    )
    C = sp.csr_array(Z2.T @ Z2)
    # Who meets whom is a matter of rows, not of values that may cancel.
    touch = sp.csr_array((np.ones(len(j)), (i, j)), shape=(n, m))
    meet = sp.csr_array((np.ones(n), (first.codes, rows)), shape=(N, n)) @ touch
    graph: Any = sp.block_array([[None, meet], [meet.T, touch.T @ touch]])  # type: ignore[arg-type]
    count, label = connected_components(graph, directed=False)
    first_component, component_of = label[:N].astype(np.intp), label[N:].astype(np.intp)
    sizes = np.bincount(component_of, minlength=count)
    place = np.empty(m, dtype=np.intp)
    order = np.argsort(component_of, kind="stable")
    starts = np.cumsum(sizes) - sizes
    place[order] = np.arange(m) - starts[component_of[order]]
    power = np.ceil(np.log2(np.maximum(sizes, 1))).astype(int)
    bucket_of, slot = np.zeros(count, dtype=np.intp), np.zeros(count, dtype=np.intp)
    buckets: list[Bucket] = []
    for value in np.unique(power[sizes > 0]):
        chosen = np.flatnonzero((power == value) & (sizes > 0))
        bucket_of[chosen], slot[chosen] = len(buckets), np.arange(len(chosen))
        members = np.full((len(chosen), sizes[chosen].max()), -1, dtype=np.intp)
        inside = np.isin(component_of, chosen)
        members[slot[component_of[inside]], place[inside]] = np.flatnonzero(inside)
        buckets.append(Bucket(members))
    small = N * m * m <= SMALL_PRODUCT
    return Second(
        tuple(offsets),
        tuple(b.toarray() for b in B) if small else B,
        C.toarray() if small else C,
        np.asarray(Z2.T @ XY),
        bucket_of[component_of],
        slot[component_of],
        place,
        tuple(buckets),
        first_component,
        component_of,
    )


def prepare(
    y: Floats,
    X: Floats,
    blocks: Sequence[Block],
    known: LeastSquares | None = None,
    weight: Floats | None = None,
) -> Problem:
    """Return the sufficient statistics of y (n,), X (n, p) of full column rank, and the random-effects blocks.

    `known` is `least_squares(y, X)`, from a caller who has it. With `weight` (N,), how often each level of the only
    factor counts, it is that of rows times their level's root weight.
    """
    n, p = X.shape
    assert blocks
    assert all(b.Z.shape[0] == n and b.codes.shape == (n,) for b in blocks)
    XY, Rx, beta0 = least_squares(y, X) if known is None else known
    Rz = [_triangle(b.Z) / np.sqrt(n) for b in blocks]
    for number, R in enumerate(Rz):
        if found := aliased(R):
            raise AliasedError(number, found)
    Zs = [_solve_right(b.Z, R) for b, R in zip(blocks, Rz, strict=True)]
    top = max(range(len(blocks)), key=lambda b: blocks[b].levels)
    first = [b for b in range(len(blocks)) if np.array_equal(blocks[b].codes, blocks[top].codes)]
    others = [b for b in range(len(blocks)) if b not in first]

    codes, N = blocks[top].codes, blocks[top].levels
    Z1 = Zs[top] if len(first) == 1 else np.column_stack([Zs[b] for b in first])
    sums = level_sums(codes, N)
    q = Z1.shape[1]
    A = np.empty((q, q, N))
    for r in range(q):
        for s in range(r + 1):
            A[r, s] = A[s, r] = sums(Z1[:, r] * Z1[:, s])
    M = np.empty((q, p + 1, N))
    for r in range(q):
        for c in range(p + 1):
            M[r, c] = sums(Z1[:, r] * XY[:, c])
    where, schedule = distinct(A.reshape(q * q, N))
    if len(where) > N // 2:
        where = schedule = np.arange(N)
    K = len(where)
    T = np.zeros((p + 1, p + 1))
    T[:p, :p] = np.eye(p)
    T[p, p] = XY[:, p] @ XY[:, p]
    second = _second(blocks, Zs, others, blocks[top], Z1, XY) if others else None
    Mc, schedule_c = (M, schedule) if second is not None else compress(M, schedule, K)
    return Problem(
        n,
        p,
        Rx,
        beta0,
        tuple(b.Z.shape[1] for b in blocks),
        tuple(b.levels for b in blocks),
        tuple(Rz),
        tuple(first),
        tuple(others),
        np.ascontiguousarray(A[:, :, where]),
        np.bincount(schedule, weight, K).astype(float),
        schedule,
        M,
        Mc,
        schedule_c,
        T,
        second,
    )


class level_sums:  # noqa: N801
    """Sums of a column within the levels of a factor, as a function; the rows are put in order once."""

    def __init__(self, codes: Ints, levels: int) -> None:
        self.order = None if np.all(codes[1:] >= codes[:-1]) else np.argsort(codes, kind="stable")
        counts = np.bincount(codes, minlength=levels)
        assert counts.min() > 0
        self.starts = np.cumsum(counts) - counts

    def __call__(self, column: Floats) -> Floats:
        return np.add.reduceat(column if self.order is None else column[self.order], self.starts)
