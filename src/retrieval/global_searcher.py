"""The searcher of global descriptors: the photos of highest inner product with a query."""

from typing import Optional, Sequence, Tuple

import faiss
import numpy as np

from ..config import RetrievalConfig
from ..records import Candidates, GlobalDescriptor, Matches
from .expansion import expand
from .global_index import GlobalIndex
from .index_folder import tie_order
from .votes import faiss_errors, threads_for

DECIMALS = 6  # of a similarity: equal vectors at different places of a matrix differ in the seventh
_MOST_FOUND = 10_000  # photos of an index that is not exact
_MOST_COMPARED = 1_000  # of them, by their own vectors
_OVERSEARCH = 4  # times as many neighbours are compared as are wanted
_BLOCK_NUMBERS = 2**24  # float32 numbers at a time

Found = Tuple[np.ndarray, np.ndarray]


class GlobalSearcher:
    """Ranks the photos of an index by their inner product with the query, which for unit vectors is the cosine.

    An index that is not exact finds 10,000 photos at most; the best 1,000 are compared by their own vectors.

    Args:
        index: photos are added to it.
        settings: ``nprobe`` is used.
        seed: of the order of ties; see ``tie_order``.
    """

    def __init__(self, index: GlobalIndex, settings: Optional[RetrievalConfig] = None, seed: int = 0) -> None:
        self.index, self._settings, self._seed = index, settings or RetrievalConfig(), seed
        self._index_type = index.provenance.settings.get("index_type", "")
        self._ties = np.zeros(0, np.int64)
        index.set_nprobe(self._settings.nprobe)

    @property
    def ties(self) -> np.ndarray:
        """[N] place of each photo among those of equal similarity."""
        if len(self._ties) != len(self.index):
            self._ties = tie_order(self.index.names, self._seed)
        return self._ties

    def fit(self, sample: np.ndarray) -> None:
        """Train the index on descriptors [R, D]."""
        with faiss_errors(self._index_type), threads_for(self.index.faiss_index):
            self.index.faiss_index.train(sample)

    def add(self, names: Sequence[str], items: Sequence[GlobalDescriptor]) -> None:
        """Add photos behind the others."""
        with faiss_errors(self._index_type), threads_for(self.index.faiss_index):
            self.index.add(names, np.stack([item.vector for item in items]))

    def search(self, query: GlobalDescriptor, k: int) -> Candidates:
        """The ``k`` most similar photos, or as many as are found; scores are similarities."""
        photos, similarities = self.find(query.vector)
        return Candidates(photos[:k], similarities[:k], no_matches)

    def find(self, vector: np.ndarray) -> Found:
        """The photos that are found for a vector [D], all of an exact index, and their similarities, falling."""
        if self.index.is_exact:
            return self._ordered(np.arange(len(self.index)), self.index.similarities(vector))
        photos, similarities = self.index.nearest(vector, min(len(self.index), _MOST_FOUND))
        best = np.sort(photos[:_MOST_COMPARED])  # on the disk one lies behind the other
        best = self._ordered(best, self.index.similarities(vector, best))
        return put_behind(best, self._ordered(photos[_MOST_COMPARED:], similarities[_MOST_COMPARED:]))

    def compare(self, photos: np.ndarray, vector: np.ndarray) -> np.ndarray:
        """Similarities [n] float64 of some photos to a vector [D], by their own vectors."""
        return np.round(self.index.similarities(vector, photos).astype(np.float64), DECIMALS)

    def neighbours(self, k: int) -> Found:
        """The nearest photos [N, K] of each photo, itself left out, nearest first, and their similarities [N, K].

        K is ``k``, or all others where there are fewer. Of an index that is not exact four times as many are compared
        by their own vectors; where it found too few, the photo itself stands with similarity 0.
        """
        count = len(self.index)
        k = min(k, count - 1)
        photos, similarities = np.zeros((count, k), np.int64), np.zeros((count, k), np.float32)
        width = count if self.index.is_exact else self._num_compared(k) * self.index.vectors.shape[1]
        step = max(1, _BLOCK_NUMBERS // width)
        for start in range(0, count if k else 0, step):
            rows = np.arange(start, min(start + step, count))
            photos[rows], similarities[rows] = self._nearest(rows, k)
        return photos, similarities

    def augmented(self, k: int, alpha: float) -> "GlobalSearcher":
        """A searcher of the same photos, each expanded by its ``k`` nearest; see ``expand``."""
        photos, similarities = self.neighbours(k)
        old, new = self.index.vectors, np.empty(self.index.vectors.shape, np.float32)
        step = max(1, _BLOCK_NUMBERS // (old.shape[1] * max(1, photos.shape[1])))
        for start in range(0, len(old), step):
            rows = slice(start, start + step)
            new[rows] = expand(old[rows], old[photos[rows]], similarities[rows], alpha)
        faiss_index = faiss.clone_index(self.index.faiss_index)
        faiss_index.reset()
        index = GlobalIndex(faiss_index, [], self.index.provenance, self.index.sources)
        if index.stored is not None:
            index.stored = new
        with faiss_errors(self._index_type), threads_for(faiss_index):
            index.add(self.index.image_names, new)
        return GlobalSearcher(index, self._settings, self._seed)

    def _num_compared(self, k: int) -> int:
        return min(len(self.index), _OVERSEARCH * (k + 1))

    def _ordered(self, photos: np.ndarray, similarities: np.ndarray) -> Found:
        similarities = np.round(similarities.astype(np.float64), DECIMALS)
        order = np.lexsort((self.ties[photos], -similarities))
        return photos[order], similarities[order]

    def _nearest(self, rows: np.ndarray, k: int) -> Found:
        """Of some photos; see ``neighbours``."""
        vectors, all_vectors = self.index.vectors[rows], self.index.vectors
        if self.index.is_exact:
            similarities = np.round(vectors @ all_vectors.T, DECIMALS)
            similarities[np.arange(len(rows)), rows] = -np.inf
            photos = _best_columns(similarities, k, self.ties)
        else:
            _, photos = self.index.faiss_index.search(np.ascontiguousarray(vectors), self._num_compared(k))
            missing = (photos < 0) | (photos == rows[:, None])
            photos = np.where(photos < 0, rows[:, None], photos)
            similarities = np.round(np.einsum("nd,nkd->nk", vectors, all_vectors[photos]), DECIMALS)
            similarities[missing] = -np.inf
            order = np.lexsort((self.ties[photos], -similarities))[:, :k]
            photos, similarities = (np.take_along_axis(each, order, axis=1) for each in (photos, similarities))
            return photos, np.where(np.isinf(similarities), 0, similarities)
        return photos, np.take_along_axis(similarities, photos, axis=1)


def _best_columns(values: np.ndarray, k: int, ties: np.ndarray) -> np.ndarray:
    """[R, k] columns of the highest values [R, N] of each row, highest first; ties by their place in ``ties`` [N]."""
    columns = np.argpartition(-values, k - 1, axis=1)[:, :k]
    chosen = np.take_along_axis(values, columns, axis=1)
    crowded = np.flatnonzero((values >= chosen.min(axis=1, keepdims=True)).sum(axis=1) > k)
    for row in crowded.tolist():  # some ties were left out, by chance
        columns[row] = np.lexsort((ties, -values[row]))[:k]
    order = np.lexsort((ties[columns], -np.take_along_axis(values, columns, axis=1)))
    return np.take_along_axis(columns, order, axis=1)


def put_behind(best: Found, rest: Found) -> Found:
    """Photos and scores of ``best``, then of ``rest``: those are lowered, all by as much, where they would not fall."""
    if len(best[1]) and len(rest[1]):
        rest = rest[0], rest[1] - max(0.0, float(rest[1][0] - best[1][-1]))
    return np.concatenate([best[0], rest[0]]), np.concatenate([best[1], rest[1]])


def no_matches(photo: int) -> Matches:
    """Of a photo that was found by its global descriptor."""
    return Matches(np.zeros((0, 2)), np.zeros(0))
