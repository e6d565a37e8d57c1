"""Nearest index descriptors of a query's, by threads whose number changes nothing but the time.

Left to itself, faiss gives an exact search to one thread, and sums in an order that depends on how many there are. Here
the query is cut into pieces of one size, and each piece is searched by one thread from end to end.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Tuple

import faiss
import numpy as np

from .index_types import default_nprobe

_PIECE_ROWS = 64  # query descriptors searched at a time


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


def find_neighbours(
    index: faiss.Index, descriptors: np.ndarray, count: int, pool: ThreadPoolExecutor
) -> Tuple[np.ndarray, np.ndarray]:
    """The ``count`` nearest index descriptors of each row [R, D], nearest first.

    Returns:
        Squared L2 distances [R, count] float32 and descriptor numbers [R, count] int64, -1 where fewer were found.
    """
    descriptors = np.ascontiguousarray(descriptors, np.float32)
    pieces = [descriptors[start : start + _PIECE_ROWS] for start in range(0, len(descriptors), _PIECE_ROWS)]
    found = list(pool.map(lambda piece: index.search(piece, count), pieces))
    return tuple(np.concatenate(arrays) for arrays in zip(*found))
