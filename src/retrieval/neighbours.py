"""The nearest index descriptors of a query's descriptors.

Left to itself, faiss gives an exact search to one thread, and sums in an order that depends on how many there are. Here
the query is cut into pieces of one size, and each piece is searched by one thread from end to end.

Inverted lists are searched list after list, where faiss goes descriptor by descriptor: a query of a thousand
descriptors looks into each list several times, and so a list comes from memory once for all of them.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Iterable, Iterator, NamedTuple, Optional, Tuple

import faiss
import numpy as np

_PIECE_ROWS = 64  # query descriptors searched at a time
_PARTS = 16  # of the work; after 1, 2, 4 ... of them what cannot be among the nearest any more is dropped
_PIECES = 8  # of each part; threads take one after the other

_FARTHEST = np.finfo(np.float32).max / 2

_Pool = Optional[ThreadPoolExecutor]


def find_neighbours(
    index: faiss.Index, descriptors: np.ndarray, count: int, pool: _Pool = None
) -> Tuple[np.ndarray, np.ndarray]:
    """The ``count`` nearest index descriptors of each row [R, D], nearest first.

    Returns:
        Squared L2 distances [R, count] float32 and descriptor numbers [R, count] int64, -1 where fewer were found.
    """
    descriptors = np.ascontiguousarray(descriptors, np.float32)
    pieces = [descriptors[start : start + _PIECE_ROWS] for start in range(0, len(descriptors), _PIECE_ROWS)]
    found = list(_run(pool, lambda piece: index.search(piece, count), pieces))
    return tuple(np.concatenate(arrays) for arrays in zip(*found))


def _run(pool: _Pool, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterable[Any]:
    return pool.map(function, items) if pool else map(function, items)


class _Found(NamedTuple):
    """Pairs of descriptors that may be neighbours: row of the query, squared L2 distance, descriptor number; [S]."""

    rows: np.ndarray
    squared: np.ndarray
    numbers: np.ndarray

    @classmethod
    def joined(cls, parts: Iterable["_Found"]) -> "_Found":
        """All of them in one."""
        return cls(*(np.concatenate(arrays) for arrays in zip(*parts)))

    def take(self, chosen: np.ndarray) -> "_Found":
        """Some of them."""
        return _Found(*(array[chosen] for array in self))

    def places(self, num_rows: int) -> np.ndarray:
        """[S] int64, the how-manieth of its row each pair is; rows rise."""
        return np.arange(len(self.rows)) - np.searchsorted(self.rows, np.arange(num_rows))[self.rows]


_NOTHING = _Found(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.int64))


class ListSearch:
    """Searches inverted lists of whole descriptors.

    Args:
        index: trained and filled; of ``nprobe`` lists, what is set at the time of a search counts.
    """

    def __init__(self, index: faiss.IndexIVFFlat) -> None:
        self._index = index
        self._one_list = faiss.IndexIVFFlat(index.quantizer, index.d, index.nlist)  # it looks into the same lists
        self._one_list.replace_invlists(index.invlists, False)
        self._one_list.nprobe = 1

    def search(
        self, descriptors: np.ndarray, count: int, within: float = np.inf, pool: _Pool = None
    ) -> Tuple[np.ndarray, np.ndarray]:
        """The ``count`` nearest index descriptors of each row [R, D], nearest first, of equal ones the lower number.

        Args:
            descriptors: of the query.
            count: neighbours of each.
            within: squared L2 distance up to which they are looked for.
            pool: threads that search; they change nothing but the time.

        Returns:
            As of ``find_neighbours``, with the same bits as faiss's distances.
        """
        descriptors = np.ascontiguousarray(descriptors, np.float32)
        bounds = np.full(len(descriptors), min(within, _FARTHEST), np.float32)  # of what can be among the nearest
        pieces, done, found = list(self._pieces(descriptors, pool)), 0, _NOTHING
        while done < len(pieces):
            some = pieces[done : max(2 * done, _PIECES)]
            more = _run(pool, lambda piece: self._scan(descriptors, bounds, *piece), some)
            found = _Found.joined([found, *more])
            found = found.take(np.lexsort((found.numbers, found.squared, found.rows)))
            places = found.places(len(bounds))
            last = found.take(places == count - 1)
            bounds[last.rows] = last.squared
            found, done = found.take(places < count), done + len(some)
        distances = np.full((len(descriptors), count), np.inf, np.float32)
        neighbours = np.full((len(descriptors), count), -1, np.int64)
        places = found.places(len(bounds))
        distances[found.rows, places], neighbours[found.rows, places] = found.squared, found.numbers
        return distances, neighbours

    def _pieces(self, descriptors: np.ndarray, pool: _Pool) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
        """Which row looks into which list, in the order of the lists: rows [n] and lists [n] of each piece."""
        _, lists = find_neighbours(self._index.quantizer, descriptors, self._index.nprobe, pool)
        order = np.argsort(lists, axis=None, kind="stable")
        rows, lists = order // lists.shape[1], lists.ravel()[order]
        for part in np.array_split(np.arange(len(order)), _PARTS * _PIECES):
            if len(part):
                yield rows[part], lists[part]

    def _scan(self, descriptors: np.ndarray, bounds: np.ndarray, rows: np.ndarray, lists: np.ndarray) -> _Found:
        """What lies within ``bounds`` [R] in each row's list."""
        radius = np.nextafter(bounds[rows].max(), np.float32(np.inf))  # faiss wants distances below it
        starts, squared, numbers = self._one_list.range_search_preassigned(
            descriptors[rows], radius, lists[:, None], None
        )
        rows = np.repeat(rows, np.diff(starts.astype(np.int64)))
        return _Found(rows, squared, numbers).take(squared <= bounds[rows])


def list_search_of(index: faiss.Index) -> Optional[ListSearch]:
    """A search of an index list after list; None where it has no lists of whole descriptors."""
    index = faiss.downcast_index(index)
    return ListSearch(index) if type(index) is faiss.IndexIVFFlat else None
