"""Votes of a query's descriptors for the photos of an index, and the correspondences they come from."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Tuple

import numpy as np

from ..records import LocalFeatures
from .index import PhotoIndex
from .neighbours import find_neighbours


@dataclass(frozen=True, eq=False)
class Votes:
    """Correspondences of one query with every photo of the index, grouped by photo.

    Attributes:
        query_rows: [C] int64, row of the query's features.
        index_rows: [C] int64, descriptor number of the index.
        distances: [C] float32, L2 distance of the two as the index knows it.
        starts: [N + 1] int64; photo n owns rows ``starts[n]`` to ``starts[n + 1]`` of the three above.
    """

    query_rows: np.ndarray
    index_rows: np.ndarray
    distances: np.ndarray
    starts: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """[N] int64, votes of each photo: query descriptors that have a neighbour in it."""
        return np.diff(self.starts)

    def correspondences(self, photo: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Query rows, index rows and distances of one photo's correspondences."""
        rows = slice(self.starts[photo], self.starts[photo + 1])
        return self.query_rows[rows], self.index_rows[rows], self.distances[rows]


def cast_votes(
    index: PhotoIndex, query: LocalFeatures, num_neighbors: int, search_distance: float, pool: ThreadPoolExecutor
) -> Votes:
    """Look up the nearest index descriptors of each query descriptor (Noh et al., section 4.4) and group them by photo.

    A query descriptor has one vote a photo, however many of its neighbours lie there: its nearest one counts, so that
    the correspondences of a pair are what 1-nearest-neighbour matching within the pair would give (reference TF DELF).

    Args:
        index: N photos.
        query: features of the query photo.
        num_neighbors: neighbours of each query descriptor, at most.
        search_distance: L2 distance that a neighbour must stay strictly below.
        pool: threads that search.

    Returns:
        The votes; none at all when query or index has no features.
    """
    num_neighbors = min(num_neighbors, index.faiss_index.ntotal)
    if not len(query) or not num_neighbors:
        nothing = np.zeros(0, np.int64)
        return Votes(nothing, nothing, np.zeros(0, np.float32), np.zeros(len(index) + 1, np.int64))
    squared, neighbours = find_neighbours(index.faiss_index, query.descriptors, num_neighbors, pool)
    hit = (neighbours >= 0) & (squared < search_distance**2)  # -1 = fewer neighbours found
    query_rows, _ = np.nonzero(hit)
    index_rows = neighbours[hit]
    photos = index.image_ids[index_rows].astype(np.int64)
    # Neighbours come nearest first: the first row of each (photo, query descriptor) pair is the one to keep.
    _, first = np.unique(photos * len(query) + query_rows, return_index=True)
    distances = np.sqrt(np.maximum(squared[hit][first], 0))  # rounding may leave a zero below 0
    starts = np.concatenate([[0], np.cumsum(np.bincount(photos[first], minlength=len(index)))])
    return Votes(query_rows[first], index_rows[first], distances, starts)
