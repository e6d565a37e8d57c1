"""SuperGlobal's re-ranking (Shao et al., ICCV 2023) by global descriptors alone."""

import numpy as np

NUM_EXPANDED = 10  # refined photos whose maximum is the expanded query


def refine_scores(
    query: np.ndarray, vectors: np.ndarray, k: int = 9, beta: float = 0.15, num_expanded: int = NUM_EXPANDED
) -> np.ndarray:
    """Similarities of the best photos to a query, after each photo was refined by its nearest among them.

    S1 is a refined photo's inner product with the query. The expanded query is the element-wise maximum of the refined
    photos of highest S1; S2 is the inner product with that.

    Args:
        query: [D], of unit L2 norm.
        vectors: [M, D], of unit L2 norm.
        k, beta: of ``refined_by_nearest``.
        num_expanded: photos that make the expanded query.

    Returns:
        [M] (S1 + S2) / 2.
    """
    refined = refined_by_nearest(vectors, k, beta)
    first = refined @ query
    expanded = refined[np.argsort(-first, kind="stable")[:num_expanded]].max(axis=0)
    return (first + refined @ expanded) / 2


def refined_by_nearest(vectors: np.ndarray, k: int, beta: float) -> np.ndarray:
    """Each vector x drawn to its ``k`` nearest y: (x + sum of beta s y) / (1 + sum of beta s), s = x . y.

    Other than in the authors' code negative s count as 0, and a photo's own weight of 1 is its own where another one is
    equal to it.

    Args:
        vectors: [M, D].
        k: nearest of the others, all of them where there are fewer.
        beta: weight of a neighbour.

    Returns:
        [M, D], not normalised again.
    """
    count = len(vectors)
    similarities = vectors @ vectors.T
    np.fill_diagonal(similarities, -np.inf)
    k = min(k, count - 1)
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    weights = np.zeros((count, count), vectors.dtype)
    chosen = beta * np.maximum(np.take_along_axis(similarities, nearest, axis=1), 0)
    np.put_along_axis(weights, nearest, chosen, axis=1)
    return (vectors + weights @ vectors) / (1 + weights.sum(axis=1, keepdims=True))
