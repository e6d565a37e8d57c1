"""Putative correspondences: the nearest descriptor of photo A for each descriptor of photo B (reference TF DELF)."""

from typing import Optional, Tuple

import numpy as np

from ..records import LocalFeatures, Matches

_CHUNK_NUMBERS = 2**18  # distances looked at together: a megabyte, which stays in a processor's cache
_ROUNDING = 1e-5  # of a squared distance in float32, relative to the squared norms that it is the difference of
_TIE = 1e-9  # squared distances this near are equal: what the order of a sum changes lies far below


def match_descriptors(
    a: LocalFeatures,
    b: LocalFeatures,
    max_distance: float = 0.8,
    ratio: Optional[float] = None,
    mutual: bool = False,
) -> Matches:
    """Match every descriptor of photo B to its nearest one of photo A; see ``match_rows``."""
    return match_rows(a.descriptors, b.descriptors, max_distance, ratio, mutual)


def match_rows(
    a: np.ndarray,
    b: np.ndarray,
    max_distance: float = 0.8,
    ratio: Optional[float] = None,
    mutual: bool = False,
) -> Matches:
    """Match every row of B to its nearest one of A, exactly.

    Many rows of B may share a row of A, as in the reference (a tree of photo 1 asked by photo 2).

    Args:
        a: descriptors of photo 1 (the index photo in retrieval), [N_a, D].
        b: descriptors of photo 2 (the query in retrieval), [N_b, D].
        max_distance: L2 distance that a correspondence must stay strictly below.
        ratio: keep a correspondence only if it is nearer than ``ratio`` times the second nearest; None = no test.
        mutual: keep a correspondence only if the row of B is also the nearest one to the row of A.

    Returns:
        Matches in the order of B's rows; empty when a side has no rows. Equal distances go to the lower row.

    Raises:
        ValueError: the descriptors of A and B differ in dimension.
    """
    if not len(a) or not len(b):
        return Matches(np.zeros((0, 2), np.int64), np.zeros(0, np.float32))
    if a.shape[1] != b.shape[1]:
        raise ValueError(f"descriptors of {a.shape[1]} and {b.shape[1]} dimensions do not match")
    a, b = a.astype(np.float64), b.astype(np.float64)  # in float32, rounding would decide between equal rows
    nearest, second = _nearest_rows(a, b, ratio is not None)
    rows_b = np.arange(len(b))
    distances = np.linalg.norm(a[nearest] - b, axis=1)
    keep = distances < max_distance
    if ratio is not None:
        keep &= distances < ratio * second
    if mutual:
        keep[keep] = _nearest_rows(b, a[nearest[keep]])[0] == rows_b[keep]
    return Matches(np.stack([nearest, rows_b], axis=1)[keep], distances[keep])


def _nearest_rows(a: np.ndarray, b: np.ndarray, with_second: bool = False) -> Tuple[np.ndarray, np.ndarray]:
    """Nearest row of A for each of B, and if asked the distance of the second nearest, else inf.

    Products in float32 leave out what cannot be the nearest; what they leave, mostly one row, is compared in float64.
    """
    nearest, second = np.zeros(len(b), np.int64), np.full(len(b), np.inf)
    norms_a = (a**2).sum(axis=1)
    rows_a = np.column_stack([a, norms_a]).astype(np.float32)
    factors = np.column_stack([-2 * b, np.ones(len(b))]).astype(np.float32)
    margins = 2 * _ROUNDING * (norms_a.max() + (b**2).sum(axis=1))
    step = max(1, _CHUNK_NUMBERS // len(a))
    for rows in (slice(start, start + step) for start in range(0, len(b), step)):
        far = factors[rows] @ rows_a.T  # squared distances less the norm of B's row
        nearest[rows] = _take_least(far, margins[rows], a, b[rows])
        if with_second and len(a) > 1:
            second[rows] = np.linalg.norm(a[_take_least(far, margins[rows], a, b[rows])] - b[rows], axis=1)
    return nearest, second


def _take_least(far: np.ndarray, margins: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row of A that is nearest to each of B [R], of equal ones the first; it becomes inf in ``far`` [R, N_a].

    ``far`` are the squared distances, less a number for each row, to half of ``margins`` [R].
    """
    rows, columns = np.arange(len(b)), far.argmin(axis=1)
    least = far[rows, columns]
    far[rows, columns] = np.inf
    for row in np.flatnonzero(far.min(axis=1) <= least + margins):
        far[row, columns[row]] = least[row]
        near = np.flatnonzero(far[row] <= least[row] + margins[row])
        squared = ((a[near] - b[row]) ** 2).sum(axis=1)
        columns[row] = near[(squared <= squared.min() + _TIE).argmax()]
        far[row, columns[row]] = np.inf
    return columns
