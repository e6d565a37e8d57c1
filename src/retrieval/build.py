"""Build an index folder from feature files, or add photos to one."""

import dataclasses
import logging
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence, Type, Union

from ..artifacts import PathLike, build_folder_for, is_made, require_file, restore_folder, sha256_of
from ..config import RetrievalConfig
from ..errors import UserError
from ..features.feature_file import FeatureFile
from ..features.feature_set import FeatureSet, require_alike, shared_settings
from ..features.global_set import GlobalSet
from ..names import bare_name
from ..own_files import refuse_strangers
from ..records import Provenance
from .asmk_searcher import AsmkSearcher, VladSearcher
from .codebook import Codebook, load_codebook
from .feature_sources import FeatureSources
from .global_index import GlobalIndex, load_global_index, save_global_index
from .global_searcher import GlobalSearcher
from .index import DescriptorIndex, load_index, save_index
from .index_folder import MANIFEST_FILE, is_own, read_manifest, searcher_of
from .index_types import choose_global_type, choose_index_type, make_index, make_product_index, training_rows
from .interfaces import Searcher
from .photo_regions import BOXES, PhotoRegions
from .votes import VoteSearcher
from .word_index import (
    WORD_SEARCHERS,
    WORD_SETTINGS,
    AsmkIndex,
    describe_words,
    load_asmk_index,
    load_vlad_index,
    new_vlad_index,
    rows_to_learn,
    save_asmk_index,
    save_vlad_index,
)

_ADD_BYTES = 2**26  # of descriptors added at a time

FeaturePaths = Union[PathLike, Sequence[PathLike]]
Index = Union[DescriptorIndex, GlobalIndex, AsmkIndex]

logger = logging.getLogger(__name__)


class _Kind(NamedTuple):
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


_ASMK = _Kind(
    FeatureSet,
    lambda dimension, **parts: AsmkIndex(**parts),
    rows_to_learn,
    AsmkSearcher,
    load_asmk_index,
    save_asmk_index,
)
_KINDS = {
    "votes": _Kind(
        FeatureSet,
        lambda dimension, **parts: DescriptorIndex(make_index(_type_of(parts), dimension), **parts),
        _rows_to_train,
        VoteSearcher,
        load_index,
        save_index,
        choose_index_type,
    ),
    "global": _Kind(
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
    "vlad": _Kind(FeatureSet, new_vlad_index, rows_to_learn, VladSearcher, load_vlad_index, save_vlad_index),
}


def _type_of(parts: Mapping[str, Any]) -> str:
    return parts["provenance"].settings["index_type"]


def build_index(
    features: FeaturePaths,
    output: PathLike,
    index_type: str = "",
    seed: int = 0,
    overwrite: bool = False,
    searcher: str = "auto",
    retrieval: Optional[RetrievalConfig] = None,
) -> Path:
    """Index every local feature, or every global descriptor, of one or several feature files.

    The folder is made beside ``output`` and renamed when whole; an index of the same features and settings is kept.
    Memory holds the faiss index, a chunk of descriptors and, before, the training sample.

    Args:
        features: feature files of the index photos, all of the same settings.
        output: index folder.
        index_type: faiss factory string; '' = chosen by size.
        seed: of the training sample of an index that needs one, and of its codebook.
        overwrite: replace an index of other features or settings.
        searcher: a choice of the key: ``votes`` of local features, these by visual words (``asmk``, ``asmk_star``,
            ``vlad``), ``global`` descriptors, or ``auto``: votes, if there are local ones.
        retrieval: codebook, aggregation and regions of the words; None = the defaults.

    Returns:
        ``output``.

    Raises:
        UserError: unusable features, ``index_type``, codebook or boxes, or another index stands at ``output``.
    """
    output, retrieval = restore_folder(output), retrieval or RetrievalConfig()
    searcher, codebook = _choose_searcher(features, searcher), None
    if searcher in WORD_SEARCHERS and retrieval.codebook_path:
        codebook = load_codebook(retrieval.codebook_path)
    with _KINDS[searcher].photos(_as_list(features)) as photos:
        if searcher in WORD_SEARCHERS:
            settings = describe_words(photos, searcher, retrieval, seed, codebook)
            wanted = _provenance(photos, settings, retrieval.boxes_path)
        else:
            wanted = describe_index(photos, index_type, seed)
        if is_made(output, wanted, lambda folder: _read_made(folder, overwrite), overwrite, folder=True):
            return output
        refuse_strangers(output, is_own, "an index")
        with build_folder_for(output) as folder:
            index = new_index(photos, wanted, codebook)
            _set_regions(index, photos, retrieval.boxes_path)
            index.sources = FeatureSources(output, FeatureSources.describe(photos.paths, output))
            fill_index(folder, index, photos)
    logger.info("%s: made", output)
    return output


def add_to_index(features: FeaturePaths, output: PathLike, boxes_path: PathLike = "") -> Path:
    """Add the photos of further feature files to an index; its own training and photo numbers stay.

    A kill leaves the index as it was. Files that were added before are passed over.

    Args:
        features: feature files.
        output: index folder.
        boxes_path: boxes of the photos that are added; used where those of the index have regions of boxes.

    Raises:
        UserError: no index at ``output``, features of other settings, unusable boxes, or a photo that the index has
            already.
    """
    output = restore_folder(output)
    manifest = read_manifest(output)
    old = manifest.provenance
    known, added = old.sources["features"], old.sources.get("added", [])
    checksums = {path: sha256_of(require_file(path, "features")) for path in _as_list(features)}
    checksums = {path: sha256 for path, sha256 in checksums.items() if sha256 not in [*known, *added]}
    if not checksums:
        logger.info("%s: holds these photos already", output)
        return output
    kind = _KINDS[searcher_of(manifest)]
    with kind.photos(list(checksums)) as photos:
        _require_fitting(photos, old, manifest.dimension, output)
        refuse_strangers(output, is_own, "an index")
        with build_folder_for(output) as folder:
            index = kind.load(output)
            there = set(index.names)
            double = next((name for name in photos.names if bare_name(name) in there), None)
            if double is not None:
                raise UserError(f"{output}: has a photo {double} already; leave it out of {photos.paths[0]}")
            files = index.sources.files + FeatureSources.describe(photos.paths, output)
            index.sources = FeatureSources(output, files)
            boxes = _boxes_of(old.settings, boxes_path, old.sources.get("boxes", []))
            sources = {"features": known, "added": [*added, *checksums.values()], **boxes}
            index.provenance = dataclasses.replace(old, sources=sources)
            _set_regions(index, photos, boxes_path)
            fill_index(folder, index, photos)
    logger.info("%s: %d photos added", output, len(photos.names))
    return output


def describe_index(photos: FeatureSet, index_type: str, seed: int) -> Provenance:
    """How the index of some photos is made, by votes or of global descriptors; arguments as for ``build_index``."""
    searcher = "global" if isinstance(photos, GlobalSet) else "votes"
    index_type = index_type or _KINDS[searcher].choose_type(int(photos.counts.sum()), photos.dimension)
    own = {"searcher": searcher} if searcher != "votes" else {}  # as earlier versions wrote it
    return _provenance(photos, {**own, "index_type": index_type, "seed": seed})


def _set_regions(index: Index, photos: FeatureSet, boxes_path: PathLike) -> None:
    """The regions of photos that are about to be added to an index, where its settings ask for some."""
    if "regions" in index.provenance.settings:
        index.regions = PhotoRegions(index.provenance.settings, photos.names, boxes_path)


def _boxes_of(settings: Mapping[str, Any], boxes_path: PathLike, known: Sequence[str] = ()) -> Dict[str, Any]:
    """The source that a table of boxes is, beside ``known`` ones; none where the settings ask for none."""
    if settings.get("regions") != BOXES:
        return {}
    return {"boxes": list(dict.fromkeys([*known, sha256_of(require_file(boxes_path, "boxes_path"))]))}


def _provenance(photos: FeatureSet, settings: Mapping[str, Any], boxes_path: PathLike = "") -> Provenance:
    return Provenance(
        photos.provenance.weights,
        photos.provenance.encoder,
        {**shared_settings(photos.provenance), **settings},
        {"features": [sha256_of(path) for path in photos.paths], **_boxes_of(settings, boxes_path)},
        photos.provenance.notes,
    )


def new_index(photos: FeatureSet, provenance: Provenance, codebook: Optional[Codebook] = None) -> Index:
    """An empty index, trained if its type needs it on descriptors drawn at random from ``photos``.

    Args:
        photos: of the index.
        provenance: how it is made.
        codebook: of an index of words; None = it is learnt.
    """
    kind = _KINDS[_searcher_in(provenance)]
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


def fill_index(folder: Path, index: Index, photos: FeatureSet) -> None:
    """Add ``photos`` behind those of ``index`` and write it to ``folder``.

    What faiss does not keep, keypoints or shortened descriptors, goes to the disk and does not stay in memory.
    """
    kind = _KINDS[_searcher_in(index.provenance)]
    index.make_room(folder, len(photos.names), int(photos.counts.sum()))
    searcher = kind.searcher(index)
    for names, items in photos.chunks(max(1, _ADD_BYTES // (4 * photos.dimension))):
        searcher.add(names, items)
    kind.save(folder, index)


def _choose_searcher(features: FeaturePaths, searcher: str) -> str:
    if searcher != "auto":
        return searcher
    with FeatureFile(_as_list(features)[0], "features") as file:
        return "votes" if not file.names or file.has_local(file.names[0]) else "global"


def _searcher_in(provenance: Provenance) -> str:
    return provenance.settings.get("searcher", "votes")


def _as_list(features: FeaturePaths) -> List[PathLike]:
    return [features] if isinstance(features, (str, Path)) else list(features)


def _read_made(folder: Path, overwrite: bool) -> Provenance:
    """How the index at ``folder`` was made; one that cannot be read may be replaced, what is no index may not."""
    if not (folder / MANIFEST_FILE).exists():
        raise UserError(f"{folder}: stands there and is no index; give another `output`")
    return Provenance() if overwrite else read_manifest(folder).provenance


def _require_fitting(photos: FeatureSet, index: Provenance, dimension: int, output: Path) -> None:
    """UserError when descriptors of ``photos`` do not belong into the index."""
    own = ("index_type", "seed", "searcher", *WORD_SETTINGS)
    settings = {name: value for name, value in index.settings.items() if name not in own}
    features = dataclasses.replace(index, settings=settings)
    require_alike(features, photos.provenance, photos.paths[0], output)
    if photos.counts.any() and photos.dimension != dimension:
        raise UserError(
            f"{photos.paths[0]}: descriptors of {photos.dimension} dimensions, {output} has {dimension}; "
            "extract with the same settings"
        )
