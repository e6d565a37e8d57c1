"""Kinds of faiss index: which one for how many descriptors, and how it is made, trained and told to search."""

from contextlib import contextmanager
from typing import Iterator

import faiss
import numpy as np

from ..errors import UserError

_FLAT_LIMIT = 1_000_000  # descriptors; an exact search of 1000 through them takes about 5 s on two cores
_RAW_LIMIT = 50_000_000  # descriptors kept as floats; product quantisation above
_MOST_LISTS = 16_384  # finding the nearest of more costs more, when adding, than it saves when searching
_MOST_CODE_BYTES = 19  # with faiss's 8 bytes of id below 28 bytes a descriptor
_TRAINING_POINTS_PER_LIST = 40  # faiss wants 39 at least; time grows with it
_LEAST_TRAINING_POINTS = 65_536  # 256 for each of the 256 centroids of a product quantiser
_TRAINING_BYTES = 2**30
_LEAST_NPROBE, _MOST_NPROBE = 16, 64
_EF_CONSTRUCTION, _EF_SEARCH = 100, 128  # candidates that a graph (HNSW) keeps; faiss's 40 and 16 miss neighbours


def choose_index_type(num_descriptors: int, dimension: int) -> str:
    """Factory string by size: exact below a million descriptors, then inverted lists, then lists of short codes."""
    if num_descriptors < _FLAT_LIMIT:
        return "Flat"
    lists = min(_MOST_LISTS, 2 ** round(np.log2(4 * np.sqrt(num_descriptors))))
    if num_descriptors < _RAW_LIMIT:
        return f"IVF{lists},Flat"
    subvectors = min(_MOST_CODE_BYTES, max(1, dimension // 2))  # of two numbers each
    shortened = f"PCA{2 * subvectors}," if 1 < 2 * subvectors < dimension else ""
    return f"{shortened}IVF{lists},PQ{subvectors}"


def make_index(index_type: str, dimension: int) -> faiss.Index:
    """An empty index with useful defaults for search.

    Args:
        index_type: faiss factory string.
        dimension: of the descriptors.

    Raises:
        UserError: faiss does not know the type, or it does not fit the dimension, or its distance is not L2.
    """
    with faiss_errors(index_type):
        index = faiss.index_factory(dimension, index_type)
    if index.metric_type != faiss.METRIC_L2:
        raise UserError(f"index_type {index_type}: its distance is not L2; give another type")
    lists = faiss.try_extract_index_ivf(index)
    if lists is not None:
        lists.nprobe = default_nprobe(lists.nlist)
    graph = _graph(index)
    if graph is not None:
        graph.efConstruction, graph.efSearch = _EF_CONSTRUCTION, _EF_SEARCH
    return index


def default_nprobe(num_lists: int) -> int:
    """Inverted lists to search for each descriptor; faiss's own 1 loses most neighbours."""
    return min(num_lists, max(_LEAST_NPROBE, min(_MOST_NPROBE, 2 ** round(np.log2(num_lists) / 2))))


def training_rows(index: faiss.Index) -> int:
    """Descriptors to train the index on; 0 when it needs no training."""
    if index.is_trained:
        return 0
    lists = faiss.try_extract_index_ivf(index)
    wanted = max(_LEAST_TRAINING_POINTS, _TRAINING_POINTS_PER_LIST * (lists.nlist if lists is not None else 0))
    return min(wanted, _TRAINING_BYTES // (4 * index.d))


@contextmanager
def faiss_errors(index_type: str) -> Iterator[None]:
    """Turn what faiss says against an index type, while it is made, trained or filled, into a UserError."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error).split(": ", 1)[-1].splitlines()[0]
        raise UserError(
            f"index_type {index_type}: faiss cannot make it of these descriptors ({reason}); give another, or none for "
            "the one chosen by size"
        ) from error


@contextmanager
def threads_for(index: faiss.Index) -> Iterator[None]:
    """One thread while a graph is filled, whose links depend on the order of work otherwise."""
    threads = faiss.omp_get_max_threads()
    try:
        faiss.omp_set_num_threads(1 if _graph(index) is not None else threads)
        yield
    finally:
        faiss.omp_set_num_threads(threads)


def _graph(index: faiss.Index):
    """The HNSW graph inside an index, as the index itself or as what finds its inverted lists; None without one."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return _graph(index.index)
    if isinstance(index, faiss.IndexIVF):
        return _graph(index.quantizer)
    return index.hnsw if isinstance(index, faiss.IndexHNSW) else None
