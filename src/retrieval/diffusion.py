"""Diffusion of a query's similarity over the graph of nearest photos (Iscen et al., CVPR 2017; Yang et al., AAAI 2019).

The graph joins photos that are among the ``k`` nearest of each other, with the weight similarity ** 3. Of its
normalised adjacency S = D^-1/2 A D^-1/2 the equation (I - 0.99 S) f = e, e being 1 at the query, is solved by conjugate
gradients on the query and its best photos alone (truncated); degrees count edges to the others too.
"""

import inspect
from typing import Tuple

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg

ALPHA, GAMMA = 0.99, 3.0
_TOLERANCE, _ITERATIONS = 1e-6, 20
_TOLERANCE_NAME = "rtol" if "rtol" in inspect.signature(cg).parameters else "tol"  # of SciPy before 1.12


class NeighbourGraph:
    """The graph of an index's photos, which a query joins.

    Args:
        neighbours: [N, K] int, the nearest photos of each, nearest first, itself left out; K = k, or all others.
        similarities: [N, K] of unit vectors to these.
        k: neighbours of each photo, the query among them.
        gamma: power of a similarity that is an edge's weight; negative similarities count as 0.
    """

    def __init__(self, neighbours: np.ndarray, similarities: np.ndarray, k: int, gamma: float = GAMMA) -> None:
        count, found = neighbours.shape
        self._k, self._gamma = k, gamma
        rows = np.repeat(np.arange(count), found)
        directed = sparse.csr_matrix(
            (self._weights(similarities).ravel(), (rows, neighbours.ravel())), shape=(count, count)
        )
        self._edges = directed.minimum(directed.T).tocsr()
        self._degrees = np.asarray(self._edges.sum(axis=1)).ravel()
        if found < k:  # the query finds room in every list
            self._last, self._least = np.arange(count), np.full(count, -np.inf)
        else:
            self._last, self._least = neighbours[:, -1], np.float32(similarities[:, -1])
        self._last_weight = np.asarray(self._edges[np.arange(count), self._last]).ravel()

    def diffuse(self, photos: np.ndarray, similarities: np.ndarray, alpha: float = ALPHA) -> np.ndarray:
        """What reaches some photos from a query.

        Where the query is as near to one of them as that photo's last neighbour, it takes the place of that. Query and
        photo are joined where the photo is among the query's ``k`` nearest too.

        Args:
            photos: [T] int, the query's best photos; the others take no part.
            similarities: [T] of these to the query.
            alpha: of the diffusion.

        Returns:
            [T] float64, 0 or higher; 0 where no path of edges leads from the query to the photo.
        """
        similarities = np.float32(similarities)  # as those of the photos: equal ones stay equal
        enters = similarities >= self._least[photos]
        nearest = np.argsort(-similarities, kind="stable")[: self._k]
        joined = np.zeros(len(photos))
        joined[nearest] = np.where(enters[nearest], self._weights(similarities[nearest]), 0)
        edges, degrees = self._without_displaced(photos, enters)
        row = sparse.csr_matrix(joined)
        whole = sparse.bmat([[None, row], [row.T, edges]], format="csr")
        scale = sparse.diags((np.concatenate([[joined.sum()], degrees + joined]) + 1e-12) ** -0.5)
        start = np.zeros(len(photos) + 1)
        start[0] = 1
        system = sparse.identity(len(start), format="csr") - alpha * (scale @ whole @ scale)
        found, _ = cg(system, start, maxiter=_ITERATIONS, **{_TOLERANCE_NAME: _TOLERANCE})
        return np.maximum(found[1:], 0)

    def _weights(self, similarities: np.ndarray) -> np.ndarray:
        return np.maximum(similarities, 0).astype(np.float64) ** self._gamma

    def _without_displaced(self, photos: np.ndarray, enters: np.ndarray) -> Tuple[sparse.csr_matrix, np.ndarray]:
        """Edges among some photos and their degrees, less the edges to last neighbours whose place the query takes."""
        place_of = np.full(len(self._degrees), -1)
        place_of[photos] = np.arange(len(photos))
        last = np.where(enters, place_of[self._last[photos]], -1)
        outside = enters & (last < 0)
        degrees = self._degrees[photos] - np.where(outside, self._last_weight[photos], 0)
        edges = self._edges[photos][:, photos].tocoo()
        displaced = (last[edges.row] == edges.col) | (last[edges.col] == edges.row)
        degrees -= np.bincount(edges.row, np.where(displaced, edges.data, 0), len(photos))
        kept = (np.where(displaced, 0, edges.data), (edges.row, edges.col))
        return sparse.csr_matrix(kept, shape=edges.shape), degrees
