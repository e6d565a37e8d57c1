"""The searcher of local features: each descriptor of a query votes for the photos of its nearest index descriptors."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Iterator, Optional, Sequence, Tuple

import faiss
import numpy as np

from ..config import RetrievalConfig
from ..errors import UserError
from ..records import Candidates, LocalFeatures, Matches
from .index import DescriptorIndex
from .index_folder import tie_order

_LEAST_NPROBE, _MOST_NPROBE = 16, 64


class VoteSearcher:
    """Ranks the photos of an index by votes (Noh et al., section 4.4).

    Args:
        index: photos are added to it.
        settings: the keys of the search are used.
        pool: threads that search; their number changes nothing but the time. None = this thread.
        seed: of the order of ties; see ``tie_order``.
    """

    def __init__(
        self,
        index: DescriptorIndex,
        settings: Optional[RetrievalConfig] = None,
        pool: Optional[ThreadPoolExecutor] = None,
        seed: int = 0,
    ) -> None:
        self._index, self._settings, self._pool = index, settings or RetrievalConfig(), pool
        self._index_type = index.provenance.settings.get("index_type", "")
        self._seed, self._ties = seed, np.zeros(0, np.int64)
        set_nprobe(index.faiss_index, self._settings.nprobe)

    def fit(self, sample: np.ndarray) -> None:
        """Train the index."""
        with faiss_errors(self._index_type), threads_for(self._index.faiss_index):
            self._index.faiss_index.train(sample)

    def add(self, names: Sequence[str], items: Sequence[LocalFeatures]) -> None:
        """Add photos behind the others."""
        with faiss_errors(self._index_type), threads_for(self._index.faiss_index):
            self._index.add(names, items)

    def search(self, query: LocalFeatures, k: int) -> Candidates:
        """The ``k`` photos of most votes, which are their scores; putative are the pairs of descriptors behind them."""
        settings = self._settings
        votes = cast_votes(self._index, query, settings.num_neighbors, settings.search_distance, self._pool)
        counts = votes.counts
        if len(self._ties) != len(self._index):
            self._ties = tie_order(self._index.names, self._seed)
        photos = np.lexsort((self._ties, -counts))[:k]

        def putative(photo: int) -> Matches:
            query_rows, index_rows, distances = votes.correspondences(photo)
            rows = index_rows - self._index.rows(photo).start
            return Matches(np.stack([rows, query_rows], axis=1), distances)

        return Candidates(photos, counts[photos].astype(np.float64), putative)


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
    index: DescriptorIndex,
    query: LocalFeatures,
    num_neighbors: int,
    search_distance: float,
    pool: Optional[ThreadPoolExecutor] = None,
) -> Votes:
    """Look up the nearest index descriptors of each query descriptor and group them by photo.

    A query descriptor has one vote a photo, however many of its neighbours lie there: its nearest one counts. The
    correspondences of a pair are a part of what 1-nearest-neighbour matching within the pair gives (reference TF DELF,
    ``correspondences: exact``): those of them that are among the ``num_neighbors`` nearest of the whole index. An
    approximate index may miss some of these too.

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
    squared, neighbours = index.nearest(query.descriptors, num_neighbors, search_distance**2, pool)
    hit = (neighbours >= 0) & (squared < search_distance**2)  # -1 = fewer neighbours found
    query_rows, _ = np.nonzero(hit)
    index_rows = neighbours[hit]
    photos = index.image_ids[index_rows].astype(np.int64)
    # Neighbours come nearest first: the first row of each (photo, query descriptor) pair is the one to keep.
    _, first = np.unique(photos * len(query) + query_rows, return_index=True)
    distances = np.sqrt(np.maximum(squared[hit][first], 0))  # rounding may leave a zero below 0
    starts = np.concatenate([[0], np.cumsum(np.bincount(photos[first], minlength=len(index)))])
    return Votes(query_rows[first], index_rows[first], distances, starts)


def num_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def search_pool(num_threads: int) -> ThreadPoolExecutor:
    """Threads for search and verification; 0 = one for each core."""
    return ThreadPoolExecutor(num_threads or num_cores(), initializer=faiss.omp_set_num_threads, initargs=(1,))


def set_nprobe(index: faiss.Index, nprobe: int) -> None:
    """Set how many inverted lists are searched for each descriptor, if the index has any; 0 = by their number."""
    lists = faiss.try_extract_index_ivf(index)
    if lists is not None:
        lists.nprobe = min(nprobe, lists.nlist) or default_nprobe(lists.nlist)


def default_nprobe(num_lists: int) -> int:
    """Inverted lists to search for each descriptor; faiss's own 1 loses most neighbours."""
    return min(num_lists, max(_LEAST_NPROBE, min(_MOST_NPROBE, 2 ** round(np.log2(num_lists) / 2))))


@contextmanager
def faiss_errors(index_type: str) -> Iterator[None]:
    """Turn what faiss says against an index type, while it is made, trained or filled, into a UserError."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).split(": ", 1)[-1].splitlines()[0]
        raise UserError(
            f"`index_type` {index_type}: faiss cannot make it of these descriptors ({reason}); give another, or none "
            "for the one chosen by size"
        ) from error


@contextmanager
def threads_for(index: faiss.Index) -> Iterator[None]:
    """One thread while a graph is filled, whose links depend on the order of work otherwise."""
    threads = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(1 if graph_of(index) is not None else threads)
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def graph_of(index: faiss.Index):
    """The HNSW graph inside an index, as the index itself or as what finds its inverted lists; None without one."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return graph_of(index.index)
    if isinstance(index, faiss.IndexIVF):
        return graph_of(index.quantizer)
    return index.hnsw if isinstance(index, faiss.IndexHNSW) else None
