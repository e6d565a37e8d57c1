"""Expansion by similar photos: of a query (average and alpha QE) and of every photo of the index (augmentation).

The formula of alpha query expansion (Radenovic et al., TPAMI 2018; dirtorch's ``--aqe`` and ``--adba``):
l2(v + sum of similarity ** alpha * neighbour); alpha 0 gives average query expansion. Other than there, similarities of
0 or less count nothing, and no photo is its own neighbour.
"""

import numpy as np


def expand(vectors: np.ndarray, neighbours: np.ndarray, similarities: np.ndarray, alpha: float) -> np.ndarray:
    """Add to each vector its neighbours, weighted.

    Args:
        vectors: [..., D], of unit L2 norm.
        neighbours: [..., k, D], of unit L2 norm.
        similarities: [..., k] inner products of the two.
        alpha: power of a similarity that is its neighbour's weight; 0 = all weights are 1.

    Returns:
        [..., D] float32 of unit L2 norm.
    """
    similarities = np.asarray(similarities, np.float64)
    weights = np.where(similarities > 0, np.maximum(similarities, 0) ** alpha, 0)
    return unit(vectors + np.einsum("...k,...kd->...d", weights, neighbours))


def unit(vectors: np.ndarray) -> np.ndarray:
    """[..., D] float32 of unit L2 norm; zeros stay zeros."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.where(norms > 0, norms, 1)).astype(np.float32)
