"""Build an index folder from feature files, or add photos to one; the type of a faiss index, chosen by size."""

import dataclasses
import logging
import os
import re
from pathlib import Path
from typing import List, Sequence, Union

import faiss
import numpy as np

from ..artifacts import PathLike, build_folder_for, is_made, require_file, restore_folder, sha256_of
from ..errors import UserError
from ..features.feature_set import FeatureSet, require_alike, shared_settings
from ..names import bare_name
from ..own_files import refuse_strangers
from ..records import Provenance
from .feature_sources import FeatureSources
from .index import (
    KEYPOINTS_FILE,
    MANIFEST_FILE,
    OWN_FILES,
    DescriptorIndex,
    load_index,
    read_manifest,
    save_index,
)
from .interfaces import Searcher
from .votes import VoteSearcher, default_nprobe, faiss_errors, graph_of

_ADD_BYTES = 2**26  # of descriptors added at a time
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

FeaturePaths = Union[PathLike, Sequence[PathLike]]

logger = logging.getLogger(__name__)


def build_index(
    features: FeaturePaths, output: PathLike, index_type: str = "", seed: int = 0, overwrite: bool = False
) -> Path:
    """Index every descriptor of one or several feature files.

    The folder is made beside ``output`` and renamed when whole; an index of the same features and settings is kept.
    Memory holds the faiss index, a chunk of descriptors and, before, the training sample.

    Args:
        features: feature files of the index photos, all of the same settings.
        output: index folder.
        index_type: faiss factory string; '' = chosen by ``choose_index_type``.
        seed: of the training sample of an index that needs one.
        overwrite: replace an index of other features or settings.

    Returns:
        ``output``.

    Raises:
        UserError: unusable features or ``index_type``, or another index stands at ``output``.
    """
    output = restore_folder(output)
    with FeatureSet(_as_list(features)) as photos:
        wanted = describe_index(photos, index_type, seed)
        if is_made(output, wanted, lambda folder: _read_made(folder, overwrite), overwrite, folder=True):
            return output
        refuse_strangers(output, OWN_FILES.__contains__, "an index")
        with build_folder_for(output) as folder:
            index = new_index(photos, wanted)
            index.sources = FeatureSources(output, FeatureSources.describe(photos.paths, output))
            fill_index(folder, index, photos)
    logger.info("%s: made", output)
    return output


def add_to_index(features: FeaturePaths, output: PathLike) -> Path:
    """Add the photos of further feature files to an index; its own training and photo numbers stay.

    A kill leaves the index as it was. Files that were added before are passed over.

    Raises:
        UserError: no index at ``output``, features of other settings, or a photo that the index has already.
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
    with FeatureSet(list(checksums)) as photos:
        _require_fitting(photos, old, manifest.dimension, output)
        refuse_strangers(output, OWN_FILES.__contains__, "an index")
        with build_folder_for(output) as folder:
            index = load_index(output)
            there = set(index.names)
            double = next((name for name in photos.names if bare_name(name) in there), None)
            if double is not None:
                raise UserError(f"{output}: has a photo {double} already; leave it out of {photos.paths[0]}")
            files = index.sources.files + FeatureSources.describe(photos.paths, output)
            index.sources = FeatureSources(output, files)
            sources = {"features": known, "added": [*added, *checksums.values()]}
            index.provenance = dataclasses.replace(old, sources=sources)
            fill_index(folder, index, photos)
    logger.info("%s: %d photos added", output, len(photos.names))
    return output


def describe_index(photos: FeatureSet, index_type: str, seed: int) -> Provenance:
    """How the index of some photos is made; ``index_type`` and ``seed`` as for ``build_index``."""
    index_type = index_type or choose_index_type(int(photos.counts.sum()), photos.dimension)
    return Provenance(
        photos.provenance.weights,
        photos.provenance.encoder,
        {**shared_settings(photos.provenance), "index_type": index_type, "seed": seed},
        {"features": [sha256_of(path) for path in photos.paths]},
        photos.provenance.notes,
    )


def new_index(photos: FeatureSet, provenance: Provenance) -> DescriptorIndex:
    """An empty index, trained if its type needs it on descriptors drawn at random from ``photos``."""
    index_type = provenance.settings["index_type"]
    index = DescriptorIndex(make_index(index_type, photos.dimension), provenance=provenance)
    rows = training_rows(index.faiss_index)
    if rows:
        sample = photos.sample(rows, provenance.settings["seed"])
        logger.info("training %s on %d descriptors", index_type, len(sample))
        VoteSearcher(index).fit(sample)
    return index


def fill_index(folder: Path, index: DescriptorIndex, photos: FeatureSet) -> None:
    """Add ``photos`` behind those of ``index`` and write it to ``folder``; only their keypoints pass through memory."""
    end = len(index.image_ids)
    rows = (end + int(photos.counts.sum()), 2)
    path = folder / KEYPOINTS_FILE
    keypoints = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=rows)
    with open(path, "r+b") as stream:  # else a full disk ends the process at a write to memory (SIGBUS)
        os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    keypoints[:end] = index.keypoints[:end]
    index.keypoints = keypoints
    searcher: Searcher = VoteSearcher(index)
    for names, items in photos.chunks(max(1, _ADD_BYTES // (4 * photos.dimension))):
        searcher.add(names, items)
    save_index(folder, index)


def _as_list(features: FeaturePaths) -> List[PathLike]:
    return [features] if isinstance(features, (str, Path)) else list(features)


def _read_made(folder: Path, overwrite: bool) -> Provenance:
    """How the index at ``folder`` was made; one that cannot be read may be replaced, what is no index may not."""
    if not (folder / MANIFEST_FILE).exists():
        raise UserError(f"{folder}: stands there and is no index; give another `output`")
    return Provenance() if overwrite else read_manifest(folder).provenance


def _require_fitting(photos: FeatureSet, index: Provenance, dimension: int, output: Path) -> None:
    """UserError when descriptors of ``photos`` do not belong into the index."""
    own = ("index_type", "seed")
    settings = {name: value for name, value in index.settings.items() if name not in own}
    features = dataclasses.replace(index, settings=settings)
    require_alike(features, photos.provenance, photos.paths[0], output)
    if photos.counts.any() and photos.dimension != dimension:
        raise UserError(
            f"{photos.paths[0]}: descriptors of {photos.dimension} dimensions, {output} has {dimension}; "
            "extract with the same settings"
        )


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
    require_affordable_type(index_type)
    with faiss_errors(index_type):
        index = faiss.index_factory(dimension, index_type)
    if index.metric_type != faiss.METRIC_L2 or not keeps_distances(index):
        raise UserError(
            f"`index_type` {index_type}: its distances are not those of the descriptors, as `search_distance` "
            "needs them; give another type, such as Flat or IVF1024,PQ20"
        )
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


def training_rows(index: faiss.Index) -> int:
    """Descriptors to train the index on; 0 when it needs no training."""
    if index.is_trained:
        return 0
    lists = faiss.try_extract_index_ivf(index)
    wanted = max(_LEAST_TRAINING_POINTS, _TRAINING_POINTS_PER_LIST * (lists.nlist if lists is not None else 0))
    return min(wanted, _TRAINING_BYTES // (4 * index.d))
