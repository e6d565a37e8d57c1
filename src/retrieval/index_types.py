"""The types of a faiss index, by factory string: chosen by size, made, and refused where they would mislead."""

import re

import faiss
import numpy as np

from ..errors import UserError
from .votes import default_nprobe, faiss_errors, graph_of

_EXACT_PHOTOS = 200_000  # with global descriptors; 2048 numbers of each are 1.6 GB, which a query reads in 0.3 s
_MOST_SUBVECTORS = 64  # bytes of the code of a global descriptor
_FLAT_LIMIT = 1_000_000  # descriptors; an exact search of 1000 through them takes about 5 s on two cores
_RAW_LIMIT = 50_000_000  # descriptors kept as floats; product quantisation above
# of a type given by name; above, faiss fills the memory, or its parser the stack, before it complains
_MOST_LISTS_GIVEN, _MOST_BITS, _MOST_NUMBER, _MOST_LETTERS = 2**20, 12, 4096, 100
_MOST_LISTS = 16_384  # finding the nearest of more costs more, when adding, than it saves when searching
_MOST_CODE_BYTES = 19  # with faiss's 8 bytes of id below 28 bytes a descriptor
_TRAINING_POINTS_PER_LIST = 40  # faiss wants 39 at least; time grows with it
_LEAST_TRAINING_POINTS = 65_536  # 256 for each of the 256 centroids of a product quantiser
_TRAINING_BYTES = 2**30
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


def choose_global_type(num_photos: int, dimension: int) -> str:
    """Factory string of global descriptors by size: exact up to 200,000 photos, then inverted lists of short codes."""
    if num_photos <= _EXACT_PHOTOS:
        return "Flat"
    lists = min(_MOST_LISTS, 2 ** round(np.log2(np.sqrt(num_photos))))
    subvectors = max(number for number in range(1, _MOST_SUBVECTORS + 1) if dimension % number == 0)
    return f"IVF{lists},PQ{subvectors}"


def make_index(index_type: str, dimension: int) -> faiss.Index:
    """An empty index of L2 distances with useful defaults for search.

    Args:
        index_type: faiss factory string.
        dimension: of the descriptors.

    Raises:
        UserError: faiss does not know the type, or it does not fit the dimension, or its distance is not L2.
    """
    index = _make(index_type, dimension, faiss.METRIC_L2)
    if index.metric_type != faiss.METRIC_L2 or not keeps_distances(index):
        raise UserError(
            f"`index_type` {index_type}: its distances are not those of the descriptors, as `search_distance` "
            "needs them; give another type, such as Flat or IVF1024,PQ20"
        )
    return index


def make_product_index(index_type: str, dimension: int) -> faiss.Index:
    """As ``make_index``, of inner products, which are the similarities of global descriptors."""
    index = _make(index_type, dimension, faiss.METRIC_INNER_PRODUCT)
    if index.metric_type != faiss.METRIC_INNER_PRODUCT or not _keeps_products(index):
        raise UserError(
            f"`index_type` {index_type}: its similarities are not the inner products of the descriptors; give another "
            "type, such as Flat, IVF1024,PQ64 or, in place of a PCA, OPQ64,IVF1024,PQ64"
        )
    return index


def _make(index_type: str, dimension: int, metric: int) -> faiss.Index:
    require_affordable_type(index_type)
    with faiss_errors(index_type):
        index = faiss.index_factory(dimension, index_type, metric)
    lists = faiss.try_extract_index_ivf(index)
    if lists is not None:
        if lists.nlist < 1:
            raise UserError(f"`index_type` {index_type}: {lists.nlist} inverted lists; give IVF1 or more")
        lists.nprobe = default_nprobe(lists.nlist)
    graph = graph_of(index)
    if graph is not None:
        graph.efConstruction, graph.efSearch = _EF_CONSTRUCTION, _EF_SEARCH
    return index


def require_affordable_type(index_type: str) -> None:
    """UserError for a type of absurd numbers, for which faiss would take all memory before it complains."""
    lists = [int(digits) for digits in re.findall(r"IVF0*(\d+)", index_type)]
    lists += [2 ** min(int(parts) * int(bits), 99) for parts, bits in re.findall(r"IMI(\d+)x(\d+)", index_type)]
    others = [int(digits) for digits in re.findall(r"(?<!IVF)(?<!\d)\d+", index_type)]
    bits = [int(digits) for digits in re.findall(r"x(\d+)", index_type)]
    bounds = (
        (lists, _MOST_LISTS_GIVEN),
        (others, _MOST_NUMBER),
        (bits, _MOST_BITS),
        ([len(index_type)], _MOST_LETTERS),
    )
    if any(number > most for numbers, most in bounds for number in numbers):
        fact = f"at most {_MOST_LISTS_GIVEN} lists, {_MOST_BITS} bits, and {_MOST_NUMBER} of anything else are taken"
        raise UserError(f"`index_type` {index_type[:_MOST_LETTERS]}: {fact}; give smaller numbers, or none")


def require_divisible(index_type: str, index: faiss.Index) -> None:
    """UserError for a type whose shards would not find together what one index of all photos finds.

    A graph depends on all descriptors; refinement and packed codes look at more of them the more shards there are.
    """
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        return require_divisible(index_type, index.index)
    if type(index) not in (
        faiss.IndexFlatL2, faiss.IndexFlatIP, faiss.IndexFlat, faiss.IndexPQ, faiss.IndexScalarQuantizer,
        faiss.IndexIVFFlat, faiss.IndexIVFPQ, faiss.IndexIVFScalarQuantizer,
    ):  # fmt: skip
        fact = "its shards would not find together what an index of one piece finds"
        raise UserError(f"`index_type` {index_type}: {fact}; give Flat, IVF1024,Flat or IVF1024,PQ20, or no shards")


def keeps_distances(index: faiss.Index) -> bool:
    """Whether what a search gives are squared L2 distances of the descriptors, if only nearly.

    Whitening stretches them, binary codes count bits instead.
    """
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        steps = [faiss.downcast_VectorTransform(index.chain.at(place)) for place in range(index.chain.size())]
        if any(isinstance(step, faiss.ITQTransform) or getattr(step, "eigen_power", 0) for step in steps):
            return False
        return keeps_distances(index.index)
    if isinstance(index, faiss.IndexRefine):
        return keeps_distances(index.base_index) and keeps_distances(index.refine_index)
    if isinstance(index, (faiss.IndexIDMap, faiss.IndexIDMap2)):
        return keeps_distances(index.index)
    return not isinstance(index, (faiss.IndexLSH, faiss.IndexIVFSpectralHash))


def _keeps_products(index: faiss.Index) -> bool:
    """Whether what a search gives are inner products of the descriptors, if only nearly: rotated at most."""
    index = faiss.downcast_index(index)
    if isinstance(index, faiss.IndexPreTransform):
        steps = [faiss.downcast_VectorTransform(index.chain.at(place)) for place in range(index.chain.size())]
        rotations = (faiss.OPQMatrix, faiss.RandomRotationMatrix)
        return all(isinstance(step, rotations) and step.d_out >= step.d_in for step in steps) and _keeps_products(
            index.index
        )
    return keeps_distances(index)


def training_rows(index: faiss.Index) -> int:
    """Descriptors to train the index on; 0 when it needs no training."""
    if index.is_trained:
        return 0
    lists = faiss.try_extract_index_ivf(index)
    wanted = max(_LEAST_TRAINING_POINTS, _TRAINING_POINTS_PER_LIST * (lists.nlist if lists is not None else 0))
    return min(wanted, _TRAINING_BYTES // (4 * index.d))
