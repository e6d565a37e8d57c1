"""The two ways to fit a whitening: PCA, and pairs of descriptors that should be alike."""

import logging
from typing import Iterable, Iterator, Optional, Tuple

import numpy as np

from ..errors import UserError
from ..records import Provenance
from .whitening import MOST_POWER, Whitening

logger = logging.getLogger(__name__)

_BLOCK = 4096  # rows in double precision at a time
_LEAST_RATIO = 2  # of descriptors to the dimensions fitted on them
_ROUNDING = 1e-12  # of the mean square: more than the variance that float32 alone gives to equal descriptors
_FIRST_ALPHA = 1e-10  # as cirtorch's
_FIX = "extract more photos, or keep fewer dimensions (`dim`)"


def power_of(power: Optional[float] = None, shrinkage: Optional[float] = None) -> float:
    """The power of the variances: ``power``; half of HOW's ``shrinkage``; 0.5 where neither is given.

    Raises:
        UserError: both are given, or the power is out of range.
    """
    if power is not None and shrinkage is not None:
        raise UserError("`shrinkage` is twice `whiten_power`: give one of them")
    name, given, most = ("whiten_power", power, MOST_POWER) if shrinkage is None else ("shrinkage", shrinkage, 8.0)
    if given is not None and not 0 <= given <= most:
        raise UserError(f"`{name}` is {given:g}; it must be from 0 to {most:g}")
    return 0.5 if given is None else float(given) / (1 if shrinkage is None else 2)


def fit_pca(
    vectors: np.ndarray,
    dim: int = 0,
    power: Optional[float] = None,
    shrinkage: Optional[float] = None,
    provenance: Optional[Provenance] = None,
) -> Whitening:
    """PCA of descriptors as they are, with variances over N - 1.

    The number of largest magnitude in each component is positive, so that the result is unique.

    Args:
        vectors: [N, C].
        dim: components kept; 0 = as many as can be, at most half of N.
        power: of the variances that coordinates are divided by; 0 = rotation, 0.5 (the default) = whitening.
        shrinkage: instead, HOW's s: the power is s / 2.
        provenance: what they were made with.

    Raises:
        UserError: ``dim`` above C or half of N, or descriptors that vary in fewer directions; bad powers.
    """
    power, (count, dimension) = power_of(power, shrinkage), vectors.shape
    _require_enough(count, dimension, dim)
    mean = vectors.mean(axis=0, dtype=np.float64)
    if count < dimension:  # then this is cheaper than a C x C matrix
        _, singular, components = np.linalg.svd(vectors - mean, full_matrices=False)
        variances = singular**2 / (count - 1)
    else:
        variances, components = _eigen(_products(vectors, mean) / (count - 1))
    return _principal(mean, variances, components, count, dim, power, provenance)


def fit_pca_of_blocks(blocks: Iterable[np.ndarray], dim: int, shrinkage: Optional[float] = None) -> Whitening:
    """As ``fit_pca`` of all rows of some blocks [N, C], in the memory of one block and a C x C matrix.

    Raises:
        UserError: as of ``fit_pca``, or no block.
    """
    count, origin = 0, np.zeros(0)
    for block in blocks:
        rows = block.astype(np.float64)
        if not count:  # sums run around the mean of the first block, for the digits
            origin = rows.mean(axis=0)
            total, products = np.zeros_like(origin), np.zeros((len(origin), len(origin)))
        rows -= origin
        count += len(rows)
        total += rows.sum(axis=0)
        products += rows.T @ rows
    _require_enough(count, len(origin), dim)
    shift = total / count
    variances, components = _eigen((products - count * np.outer(shift, shift)) / (count - 1))
    return _principal(origin + shift, variances, components, count, dim, power_of(None, shrinkage))


def _require_enough(count: int, dimension: int, dim: int) -> None:
    """UserError for fewer descriptors than ``dim`` components need, or of fewer numbers."""
    if count and dim > dimension:
        raise UserError(f"`dim` is {dim}; these descriptors have {dimension} numbers")
    if max(dim, 1) > min(count // _LEAST_RATIO, dimension):
        raise UserError(f"{count} descriptors are too few for a whitening of {max(dim, 1)} dimensions: {_FIX}")


def _principal(
    mean: np.ndarray,
    variances: np.ndarray,
    components: np.ndarray,
    count: int,
    dim: int,
    power: float,
    provenance: Optional[Provenance] = None,
) -> Whitening:
    """The whitening of falling variances; UserError where fewer than ``dim`` are above rounding."""
    most = min(count // _LEAST_RATIO, len(mean))
    largest = variances[0] * max(count, len(mean)) * np.finfo(float).eps
    rank = int((variances > max(largest, _ROUNDING * (variances.sum() + mean @ mean))).sum())
    if max(dim, 1) > rank:
        raise UserError(f"the descriptors vary in {rank} directions only, too few for {max(dim, 1)} dimensions: {_FIX}")
    kept = dim or min(most, rank)
    return Whitening(mean, _signed(components[:kept]), variances[:kept], power, "pca", provenance or Provenance())


def fit_learned(
    vectors: np.ndarray,
    pairs: np.ndarray,
    dim: int = 0,
    ridge: float = 0.0,
    provenance: Optional[Provenance] = None,
) -> Whitening:
    """Learned whitening of cirtorch (Mikolajczyk & Matas; Radenovic et al.): whitens the differences within pairs.

    m = mean of the queries; S = mean of (q - p)(q - p)^T; P0 = inverse of S's lower Cholesky factor; P = U^T P0, with U
    the eigenvectors, by falling eigenvalue, of the mean of P0 (x - m)(x - m)^T P0^T over all descriptors. Where S has
    no Cholesky factor, 1e-10, 1e-9, ... is added to its diagonal until it has one.

    Args:
        vectors: [N, C].
        pairs: [M, 2] int, rows of (query, positive).
        dim: rows of P kept; 0 = all C.
        ridge: share of S's mean eigenvalue that is added to its diagonal first; cirtorch has none. With fewer pairs
            than dimensions S is singular, and without it P follows noise.
        provenance: what they were made with.

    Raises:
        UserError: ``dim`` above C, no pairs, or pairs of equal descriptors alone.
    """
    dimension = vectors.shape[1]
    if dim > dimension:
        raise UserError(f"`dim` is {dim}; these descriptors have {dimension} numbers")
    if not len(pairs):
        raise UserError("no pairs to learn from; give at least as many as the descriptors have numbers")
    if len(pairs) < dimension and not ridge:
        fact = f"{len(pairs)} pairs for descriptors of {dimension} numbers are few"
        logger.warning("%s; give more, a `ridge` such as 0.1, or `method` pca", fact)
    weights = np.bincount(pairs[:, 0], minlength=len(vectors)) / len(pairs)
    mean = sum(weights[rows] @ block for rows, block in _blocks(vectors))
    within = np.zeros((dimension, dimension))
    for start in range(0, len(pairs), _BLOCK):
        query, positive = pairs[start : start + _BLOCK].T
        block = vectors[query].astype(np.float64) - vectors[positive]
        within += block.T @ block / len(pairs)
    if not within.any():
        raise UserError("the two descriptors of every pair are equal; give pairs of different photos")
    within[np.diag_indices(dimension)] += ridge * np.trace(within) / dimension
    inverse = np.linalg.solve(_cholesky(within), np.eye(dimension))
    variances, turned = _eigen(inverse @ _products(vectors, mean) @ inverse.T / len(vectors))
    projection, kept = _signed(turned @ inverse), slice(dim or None)
    variances = np.maximum(variances, 0)
    return Whitening(mean, projection[kept], variances[kept], 0.0, "learned", provenance or Provenance())


def _cholesky(matrix: np.ndarray) -> np.ndarray:
    """Lower factor of a symmetric matrix, or of the nearest one of ``fit_learned`` that has one."""
    alpha = 0.0
    while True:
        try:
            return np.linalg.cholesky(matrix + alpha * np.eye(len(matrix)))
        except np.linalg.LinAlgError:
            alpha = alpha * 10 or _FIRST_ALPHA


def _blocks(vectors: np.ndarray) -> Iterator[Tuple[slice, np.ndarray]]:
    """Rows in double precision, some at a time, with their places."""
    for start in range(0, len(vectors), _BLOCK):
        rows = slice(start, start + _BLOCK)
        yield rows, vectors[rows].astype(np.float64)


def _products(vectors: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Sum of (x - mean)(x - mean)^T over the rows x, [C, C] float64."""
    total = np.zeros((len(mean), len(mean)))
    for _, block in _blocks(vectors):
        block -= mean
        total += block.T @ block
    return total


def _eigen(matrix: np.ndarray) -> Tuple[np.ndarray, np.ndarray]:
    """Eigenvalues of a symmetric matrix, falling, and its eigenvectors as rows."""
    values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
    return values[::-1], vectors[:, ::-1].T


def _signed(rows: np.ndarray) -> np.ndarray:
    """Rows whose number of largest magnitude is positive."""
    largest = np.abs(rows).argmax(axis=1)
    return rows * np.sign(rows[np.arange(len(rows)), largest])[:, None]
