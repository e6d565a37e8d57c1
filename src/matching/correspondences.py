"""Putative correspondences: the nearest descriptor of photo A for each descriptor of photo B (reference TF DELF)."""

from typing import Optional, Tuple

import numpy as np

from ..records import LocalFeatures, Matches

_CHUNK_ROWS = 1024  # rows of B compared at a time: bounds the distance matrix to 1024 x N_a numbers
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
    nearest, second, nearest_b = _nearest_rows(a, b, ratio is not None, mutual)
    rows_b = np.arange(len(b))
    distances = np.linalg.norm(a[nearest] - b, axis=1)
    keep = distances < max_distance
    if ratio is not None:
        keep &= distances < ratio * second
    if mutual:
        keep &= nearest_b[nearest] == rows_b
    return Matches(np.stack([nearest, rows_b], axis=1)[keep], distances[keep])


def _nearest_rows(
    a: np.ndarray, b: np.ndarray, with_second: bool, with_mutual: bool
) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nearest row of A and, if asked, second least distance for each of B; if asked, nearest row of B for each of A."""
    nearest, second = np.empty(len(b), np.int64), np.full(len(b), np.inf)
    nearest_b, least_a = np.zeros(len(a), np.int64), np.full(len(a), np.inf)
    norms_a = (a**2).sum(axis=1)
    for start in range(0, len(b), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        squared = norms_a + (b[rows] ** 2).sum(axis=1)[:, None] - 2 * b[rows] @ a.T
        nearest[rows] = _first_least(squared)
        if with_second and len(a) > 1:
            second[rows] = np.sqrt(np.maximum(np.partition(squared, 1, axis=1)[:, 1], 0))
        if with_mutual:
            best = _first_least(squared.T)
            least = squared[best, np.arange(len(a))]
            nearer = least < least_a - _TIE
            nearest_b[nearer], least_a[nearer] = start + best[nearer], least[nearer]
    return nearest, second, nearest_b


def _first_least(squared: np.ndarray) -> np.ndarray:
    """Column of the least number of each row [R, C]; the first of those that tie."""
    return (squared <= squared.min(axis=1, keepdims=True) + _TIE).argmax(axis=1)
