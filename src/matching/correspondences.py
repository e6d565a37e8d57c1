"""Putative correspondences: the nearest descriptor of photo A for each descriptor of photo B (reference TF DELF)."""

from typing import Optional, Tuple

import numpy as np

from src.records import LocalFeatures, Matches

_CHUNK_ROWS = 2048  # rows of B compared at a time: bounds the distance matrix to 2048 x N_a floats


def match_descriptors(
    a: LocalFeatures,
    b: LocalFeatures,
    max_distance: float = 0.8,
    ratio: Optional[float] = None,
    mutual: bool = False,
) -> Matches:
    """Match every descriptor of B to its nearest one of A, exactly.

    Many rows of B may share a row of A, as in the reference (a tree of photo 1 asked by photo 2).

    Args:
        a: photo 1 (the index photo in retrieval), N_a features.
        b: photo 2 (the query in retrieval), N_b features.
        max_distance: L2 distance that a correspondence must stay strictly below.
        ratio: keep a correspondence only if it is nearer than ``ratio`` times the second nearest; None = no test.
        mutual: keep a correspondence only if the row of B is also the nearest one to the row of A.

    Returns:
        Matches in the order of B's rows; empty when a side has no features. Equal distances go to the lower row of A.

    Raises:
        ValueError: the descriptors of A and B differ in dimension.
    """
    if not len(a) or not len(b):
        return Matches(np.zeros((0, 2), np.int64), np.zeros(0, np.float32))
    if a.descriptors.shape[1] != b.descriptors.shape[1]:
        raise ValueError(
            f"descriptors of {a.descriptors.shape[1]} and {b.descriptors.shape[1]} dimensions do not match"
        )
    nearest, second, nearest_b = _nearest_rows(a.descriptors, b.descriptors)
    rows_b = np.arange(len(b))
    distances = np.linalg.norm(a.descriptors[nearest] - b.descriptors, axis=1)
    keep = distances < max_distance
    if ratio is not None:
        keep &= distances < ratio * second
    if mutual:
        keep &= nearest_b[nearest] == rows_b
    return Matches(np.stack([nearest, rows_b], axis=1)[keep], distances[keep])


def _nearest_rows(a: np.ndarray, b: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each row of B [N_b, D]: nearest row of A [N_a, D], second least distance; for each row of A: nearest of B."""
    nearest = np.empty(len(b), np.int64)
    second = np.full(len(b), np.inf, np.float32)
    nearest_b = np.zeros(len(a), np.int64)
    least_a = np.full(len(a), np.inf, np.float32)
    norms_a = (a**2).sum(axis=1)
    for start in range(0, len(b), _CHUNK_ROWS):
        chunk = b[start : start + _CHUNK_ROWS]
        rows = slice(start, start + len(chunk))
        squared = norms_a[None] + (chunk**2).sum(axis=1)[:, None] - 2 * chunk @ a.T
        nearest[rows] = squared.argmin(axis=1)
        if len(a) > 1:
            second[rows] = np.sqrt(np.maximum(np.partition(squared, 1, axis=1)[:, 1], 0))
        best = squared.argmin(axis=0)
        nearer = squared[best, np.arange(len(a))] < least_a
        nearest_b[nearer] = start + best[nearer]
        least_a[nearer] = squared[best, np.arange(len(a))][nearer]
    return nearest, second, nearest_b
