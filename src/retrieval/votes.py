"""The searcher of local features: each descriptor of a query votes for the photos of its nearest index descriptors."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Iterator, List, NamedTuple, Optional, Sequence, Tuple

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
        self._last: Tuple[bytes, Any] = b"", None  # key, neighbours
        self._last_votes: Tuple[Any, Any] = b"", None
        set_nprobe(index.faiss_index, self._settings.nprobe)

    def fit(self, sample: np.ndarray) -> None:
        """Train the index."""
        with faiss_errors(self._index_type), threads_for(self._index.faiss_index):
            self._index.faiss_index.train(sample)

    def add(self, names: Sequence[str], items: Sequence[LocalFeatures]) -> None:
        """Add photos behind the others."""
        with faiss_errors(self._index_type), threads_for(self._index.faiss_index):
            self._index.add(names, items)
        self._last = self._last_votes = b"", None

    def search(self, query: LocalFeatures, k: int, shares: Optional[np.ndarray] = None) -> Candidates:
        """The ``k`` photos of most votes, or all that have one; votes are their scores.

        Args:
            query: features of the query photo.
            k: photos, at most.
            shares: of one shard of an index; see ``shares_of``. None = all that this index finds counts.

        Returns:
            Photos; putative are the pairs of descriptors behind their votes.
        """
        votes = self._votes(query, shares)
        if len(self._ties) != len(self._index):
            self._ties = tie_order(self._index.names, self._seed)
        counts = np.diff(votes.starts)
        best = np.lexsort((self._ties[votes.photos], -counts))[:k]

        def putative(photo: int) -> Matches:
            query_rows, index_rows, distances = votes.correspondences(photo)
            rows = index_rows - self._index.rows(photo).start
            return Matches(np.stack([rows, query_rows], axis=1), distances)

        return Candidates(votes.photos[best], counts[best].astype(np.float64), putative)

    def nearest(self, query: LocalFeatures) -> "Nearest":
        """How near the neighbours of each of the query's descriptors are."""
        squared, numbers = self._neighbours(query)
        hit = _hits(squared, numbers, self._settings.search_distance)
        return Nearest(hit.sum(axis=1, dtype=np.int32), squared[hit])

    def _votes(self, query: LocalFeatures, shares: Optional[np.ndarray]) -> "Votes":
        """Those of the last query are kept, as each round of a search over shards asks for them."""
        key = _key_of(query.descriptors), b"" if shares is None else _key_of(shares)
        known, found = self._last_votes
        if key != known:
            found = group(self._index, *self._neighbours(query), self._settings.search_distance, shares)
            self._last_votes = key, found
        return found

    def _neighbours(self, query: LocalFeatures) -> Tuple[np.ndarray, np.ndarray]:
        """As of ``neighbours_of``; those of the last query are kept."""
        key = _key_of(query.descriptors)
        known, found = self._last
        if key != known:
            settings = self._settings
            found = neighbours_of(self._index, query, settings.num_neighbors, settings.search_distance, self._pool)
            self._last = key, found
        return found


def _key_of(array: np.ndarray) -> bytes:
    return hashlib.blake2b(array.tobytes()).digest()


class Nearest(NamedTuple):
    """How near the neighbours of a query's R descriptors are in one shard.

    Attributes:
        counts: [R] int32, neighbours of each descriptor, at most as many as are looked up.
        squared: squared L2 distances, float32, descriptor after descriptor, nearest first.
    """

    counts: np.ndarray
    squared: np.ndarray


def shares_of(parts: Sequence[Nearest], num_neighbors: int) -> List[np.ndarray]:
    """How many of each shard's neighbours are among the nearest of all shards together.

    Of equally near ones those count that stand first, in the order of shards and of descriptors: they have the lower
    numbers.

    Args:
        parts: of each shard, in order.
        num_neighbors: that count for each of the query's descriptors, of all shards together.

    Returns:
        For each shard [R] int32: so many of its nearest neighbours of each descriptor count.
    """
    counts = np.stack([part.counts for part in parts])
    crowded = counts.sum(axis=0) > num_neighbors
    rows = [np.repeat(np.arange(len(crowded)), part.counts) for part in parts]
    shards = np.repeat(np.arange(len(parts)), [len(part.squared) for part in parts])
    rows, squared = np.concatenate(rows), np.concatenate([part.squared for part in parts])
    chosen = crowded[rows]
    rows, squared, shards = rows[chosen], squared[chosen], shards[chosen]
    order = np.lexsort((squared, rows))  # stable
    rows, shards = rows[order], shards[order]
    near = np.arange(len(rows)) - np.searchsorted(rows, rows) < num_neighbors
    kept = np.zeros_like(counts)
    np.add.at(kept, (shards[near], rows[near]), 1)
    return list(np.where(crowded, kept, counts))


@dataclass(frozen=True, eq=False)
class Votes:
    """Correspondences of one query with the photos of the index, grouped by photo.

    Attributes:
        query_rows: [C] int64, row of the query's features.
        index_rows: [C] int64, descriptor number of the index.
        distances: [C] float32, L2 distance of the two as the index knows it.
        photos: [P] int64, rising, those that have a correspondence.
        starts: [P + 1] int64; photo ``photos[p]`` owns rows ``starts[p]`` to ``starts[p + 1]`` of the first three: its
            votes are the query descriptors that have a neighbour in it.
    """

    query_rows: np.ndarray
    index_rows: np.ndarray
    distances: np.ndarray
    photos: np.ndarray
    starts: np.ndarray

    def correspondences(self, photo: int) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Query rows, index rows and distances of one photo's correspondences."""
        place = int(np.searchsorted(self.photos, photo))
        found = place < len(self.photos) and self.photos[place] == photo
        rows = slice(self.starts[place], self.starts[place + 1]) if found else slice(0)
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
    return group(index, *neighbours_of(index, query, num_neighbors, search_distance, pool), search_distance)


def neighbours_of(
    index: DescriptorIndex,
    query: LocalFeatures,
    num_neighbors: int,
    search_distance: float,
    pool: Optional[ThreadPoolExecutor] = None,
) -> Tuple[np.ndarray, np.ndarray]:
    """The nearest index descriptors as of ``DescriptorIndex.nearest``; arguments as of ``cast_votes``."""
    num_neighbors = min(num_neighbors, index.faiss_index.ntotal)
    if not len(query) or not num_neighbors:
        return np.zeros((len(query), 0), np.float32), np.zeros((len(query), 0), np.int64)
    return index.nearest(query.descriptors, num_neighbors, search_distance**2, pool)


def _hits(squared: np.ndarray, numbers: np.ndarray, search_distance: float) -> np.ndarray:
    """[R, K] bool, whether a neighbour is near enough; -1 = fewer neighbours found."""
    return (numbers >= 0) & (squared < search_distance**2)


def group(
    index: DescriptorIndex,
    squared: np.ndarray,
    numbers: np.ndarray,
    search_distance: float,
    shares: Optional[np.ndarray] = None,
) -> Votes:
    """The neighbours of a query's descriptors by photo.

    Args:
        index: where they were found.
        squared, numbers: [R, K] of ``neighbours_of``.
        search_distance: L2 distance that a neighbour must stay strictly below.
        shares: [R], how many of each descriptor's neighbours count; None = all.
    """
    hit = _hits(squared, numbers, search_distance)
    if shares is not None:
        hit &= np.arange(hit.shape[1]) < shares[:, None]
    query_rows, _ = np.nonzero(hit)
    index_rows = numbers[hit]
    photos = index.image_ids[index_rows].astype(np.int64)
    # Neighbours come nearest first: the first row of each (photo, query descriptor) pair is the one to keep.
    _, first = np.unique(photos * len(hit) + query_rows, return_index=True)
    distances = np.sqrt(np.maximum(squared[hit][first], 0))  # rounding may leave a zero below 0
    found, starts = np.unique(photos[first], return_index=True)
    return Votes(query_rows[first], index_rows[first], distances, found, np.append(starts, len(first)))


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
