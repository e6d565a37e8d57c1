"""What differs between the indexes of one searcher and another's; how an index of any is trained and filled."""

import logging
from pathlib import Path
from typing import Any, Callable, Mapping, NamedTuple, Optional, Type, Union

from ..artifacts import PathLike
from ..features.feature_set import FeatureSet
from ..features.global_set import GlobalSet
from ..records import Provenance
from .asmk_searcher import AsmkSearcher, VladSearcher
from .codebook import Codebook
from .global_index import GlobalIndex, load_global_index, save_global_index
from .global_searcher import GlobalSearcher
from .index import DescriptorIndex, load_index, save_index
from .index_types import choose_global_type, choose_index_type, make_index, make_product_index, training_rows
from .interfaces import Searcher
from .photo_regions import PhotoRegions
from .votes import VoteSearcher
from .word_index import (
    AsmkIndex,
    load_asmk_index,
    load_vlad_index,
    new_vlad_index,
    rows_to_learn,
    save_asmk_index,
    save_vlad_index,
)

_ADD_BYTES = 2**26  # of descriptors added at a time

Index = Union[DescriptorIndex, GlobalIndex, AsmkIndex]

logger = logging.getLogger(__name__)


class Kind(NamedTuple):
    """What differs between the indexes of one searcher and another's."""

    photos: Type[FeatureSet]
    make: Callable[..., Index]
    rows: Callable[[Any, int], int]
    searcher: Callable[[Any], Searcher]
    load: Callable[[PathLike], Index]
    save: Callable[[Path, Any], None]
    choose_type: Optional[Callable[[int, int], str]] = None


def _rows_to_train(index: Union[DescriptorIndex, GlobalIndex], dimension: int) -> int:
    return training_rows(index.faiss_index)


_ASMK = Kind(
    FeatureSet,
    lambda dimension, **parts: AsmkIndex(**parts),
    rows_to_learn,
    AsmkSearcher,
    load_asmk_index,
    save_asmk_index,
)
KINDS = {
    "votes": Kind(
        FeatureSet,
        lambda dimension, **parts: DescriptorIndex(make_index(_type_of(parts), dimension), **parts),
        _rows_to_train,
        VoteSearcher,
        load_index,
        save_index,
        choose_index_type,
    ),
    "global": Kind(
        GlobalSet,
        lambda dimension, **parts: GlobalIndex(make_product_index(_type_of(parts), dimension), **parts),
        _rows_to_train,
        GlobalSearcher,
        load_global_index,
        save_global_index,
        choose_global_type,
    ),
    "asmk": _ASMK,
    "asmk_star": _ASMK,
    "vlad": Kind(FeatureSet, new_vlad_index, rows_to_learn, VladSearcher, load_vlad_index, save_vlad_index),
}


def _type_of(parts: Mapping[str, Any]) -> str:
    return parts["provenance"].settings["index_type"]


def kind_of(provenance: Provenance) -> Kind:
    """Of an index that is made so."""
    return KINDS[provenance.settings.get("searcher", "votes")]


def set_regions(index: Index, photos: FeatureSet, boxes_path: PathLike) -> None:
    """The regions of photos that are about to be added to an index, where its settings ask for some."""
    if "regions" in index.provenance.settings:
        index.regions = PhotoRegions(index.provenance.settings, photos.names, boxes_path)


def new_index(photos: FeatureSet, provenance: Provenance, codebook: Optional[Codebook] = None) -> Index:
    """An empty index, trained if its type needs it on descriptors drawn at random from ``photos``.

    Args:
        photos: of the index.
        provenance: how it is made.
        codebook: of an index of words; None = it is learnt.
    """
    kind = kind_of(provenance)
    index = kind.make(photos.dimension, provenance=provenance)
    if codebook is not None:
        index.codebook = codebook
    rows = kind.rows(index, photos.dimension)
    if rows:
        sample = photos.sample(rows, provenance.settings["seed"])
        what = provenance.settings.get("index_type") or f"{provenance.settings['codebook_size']} visual words"
        logger.info("training %s on %d descriptors", what, len(sample))
        kind.searcher(index).fit(sample)
    return index


def emptied(index: Index, dimension: int) -> Index:
    """An index without photos, trained as ``index`` is, which is of no use any more; of so many numbers each."""
    empty = kind_of(index.provenance).make(dimension, provenance=index.provenance)
    if hasattr(index, "codebook"):
        empty.codebook = index.codebook
    else:
        index.faiss_index.reset()
        empty.faiss_index = index.faiss_index
    return empty


def fill_index(folder: Path, index: Index, photos: FeatureSet, add_bytes: Optional[int] = None) -> None:
    """Add ``photos`` behind those of ``index`` and write it to ``folder``.

    What faiss does not keep, keypoints or shortened descriptors, goes to the disk and does not stay in memory.

    Args:
        folder: of the index.
        index: trained.
        photos: to add.
        add_bytes: of descriptors that are added at a time, and in memory twice; None = as many as are of use.
    """
    kind = kind_of(index.provenance)
    index.make_room(folder, len(photos.names), int(photos.counts.sum()))
    searcher = kind.searcher(index)
    for names, items in photos.chunks(max(1, (add_bytes or _ADD_BYTES) // (4 * photos.dimension))):
        searcher.add(names, items)
    kind.save(folder, index)
