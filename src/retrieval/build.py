"""Build an index folder from feature files, or add photos to one."""

import dataclasses
import logging
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Union

from ..artifacts import PathLike, build_folder_for, is_made, require_file, restore_folder, sha256_of
from ..config import RetrievalConfig
from ..errors import UserError
from ..features.feature_file import FeatureFile
from ..features.feature_set import FeatureSet, require_alike, shared_settings
from ..features.global_set import GlobalSet
from ..names import bare_name
from ..outside import read_bounded
from ..own_files import refuse_strangers
from ..records import Provenance
from .codebook import load_codebook
from .feature_sources import FeatureSources
from .index_folder import MANIFEST_FILE, Manifest, is_own, read_manifest, read_names, read_sources
from .index_kinds import KINDS, emptied, fill_index, kind_of, new_index, set_regions
from .photo_regions import BOXES
from .shard_folder import append_shards, build_shards, replace_shards
from .word_index import WORD_SEARCHERS, WORD_SETTINGS, describe_words

FeaturePaths = Union[PathLike, Sequence[PathLike]]

logger = logging.getLogger(__name__)


def build_index(
    features: FeaturePaths,
    output: PathLike,
    index_type: str = "",
    seed: int = 0,
    overwrite: bool = False,
    searcher: str = "auto",
    retrieval: Optional[RetrievalConfig] = None,
    shard_photos: int = 0,
    num_shards: int = 0,
) -> Path:
    """Index every local feature, or every global descriptor, of one or several feature files.

    The folder is made beside ``output`` and renamed when whole; an index of the same features and settings is kept.
    Memory holds the faiss index, or one shard of it, a chunk of descriptors and, before, the training sample.

    Args:
        features: feature files of the index photos, all of the same settings.
        output: index folder.
        index_type: faiss factory string; '' = chosen by size.
        seed: of the training sample of an index that needs one, and of its codebook.
        overwrite: replace an index of other features or settings.
        searcher: a choice of the key: ``votes`` of local features, these by visual words (``asmk``, ``asmk_star``,
            ``vlad``), ``global`` descriptors, or ``auto``: votes, if there are local ones.
        retrieval: codebook, aggregation and regions of the words; None = the defaults.
        shard_photos: the index is divided into shards of so many photos, at most; those of a run that was killed are
            kept. 0 = one piece.
        num_shards: in place of it, how many shards of about equal size.

    Returns:
        ``output``.

    Raises:
        UserError: unusable features, ``index_type``, codebook or boxes, or another index stands at ``output``.
    """
    output, retrieval = restore_folder(output), retrieval or RetrievalConfig()
    searcher, codebook = _choose_searcher(features, searcher), None
    if searcher in WORD_SEARCHERS and retrieval.codebook_path:
        codebook = load_codebook(retrieval.codebook_path)
    with KINDS[searcher].photos(_as_list(features)) as photos:
        if searcher in WORD_SEARCHERS:
            settings = describe_words(photos, searcher, retrieval, seed, codebook)
            wanted = _provenance(photos, settings, retrieval.boxes_path)
        else:
            wanted = describe_index(photos, index_type, seed)
        shard_photos = -(-len(photos.names) // num_shards) if num_shards else shard_photos
        described = _with_layout(wanted, shard_photos)
        if is_made(output, described, lambda folder: _read_made(folder, overwrite), overwrite, folder=True):
            return output
        refuse_strangers(output, is_own, "an index")
        if shard_photos:
            build_shards(output, photos, wanted, shard_photos, codebook, retrieval.boxes_path)
        else:
            with build_folder_for(output) as folder:
                index = new_index(photos, wanted, codebook)
                set_regions(index, photos, retrieval.boxes_path)
                index.sources = FeatureSources(output, FeatureSources.describe(photos.paths, output))
                fill_index(folder, index, photos)
    logger.info("%s: made", output)
    return output


def add_to_index(features: FeaturePaths, output: PathLike, boxes_path: PathLike = "") -> Path:
    """Add the photos of further feature files to an index; its own training and photo numbers stay.

    An index of shards gets new ones. A kill leaves the index as it was. Files that were added before are passed over.

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
        logger.info("%s: holds these photos already, but for those that were removed", output)
        return output
    with kind_of(old).photos(list(checksums)) as photos:
        _require_fitting(photos, old, manifest.dimension, output)
        refuse_strangers(output, is_own, "an index")
        there = {bare_name(name) for name in read_names(output, manifest)}
        double = next((name for name in photos.names if bare_name(name) in there), None)
        if double is not None:
            raise UserError(f"{output}: has a photo {double} already; leave it out of {photos.paths[0]}")
        boxes = _boxes_of(old.settings, boxes_path, old.sources.get("boxes", []))
        provenance = _with_sources(old, {"added": [*added, *checksums.values()], **boxes})
        if manifest.shards:
            append_shards(output, photos, provenance, manifest, boxes_path)
        else:
            with build_folder_for(output) as folder:
                index = kind_of(old).load(output)
                files = index.sources.files + FeatureSources.describe(photos.paths, output)
                index.sources, index.provenance = FeatureSources(output, files), provenance
                set_regions(index, photos, boxes_path)
                fill_index(folder, index, photos)
    logger.info("%s: %d photos added", output, len(photos.names))
    return output


def remove_from_index(names_path: PathLike, output: PathLike, boxes_path: PathLike = "") -> Path:
    """Leave photos out of an index: it, or those of its shards that hold one, is made anew from the feature files.

    Its training stays. A kill leaves the index as it was; a list that was removed before is passed over.

    Args:
        names_path: text file with the name of a photo in each line, as in the feature file, with extension or without.
        output: index folder.
        boxes_path: boxes of the photos that stay; used where those of the index have regions of boxes.

    Raises:
        UserError: no index, a name that is none of its photos, no photo would stay, or a feature file is gone.
    """
    output = restore_folder(output)
    manifest, listed = read_manifest(output), sha256_of(require_file(names_path, "remove"))
    there, gone = read_names(output, manifest), {bare_name(name) for name in _read_list(names_path)}
    removed = manifest.provenance.sources.get("removed", [])
    unknown = gone.difference(map(bare_name, there))
    if listed in removed and unknown == gone:
        logger.info("%s: these photos are removed already", output)
        return output
    if unknown:
        raise UserError(f"{names_path}: {output} has no photo {min(unknown)}; leave it out")
    stay = [name for name in there if bare_name(name) not in gone]
    if not stay:
        raise UserError(f"{names_path}: no photo would stay in {output}; delete the folder in place of that")
    provenance = _with_sources(manifest.provenance, {"removed": [*removed, listed]})
    with _photos_of(output, manifest, boxes_path) as photos:
        places = {name: place for place, name in enumerate(photos.names)}
        if manifest.shards:
            replace_shards(output, photos, provenance, manifest, set(stay), boxes_path)
        else:
            part = photos.part([places[name] for name in stay])
            with build_folder_for(output) as folder:
                index = emptied(kind_of(provenance).load(output), manifest.dimension)
                index.sources = FeatureSources(output, FeatureSources.describe(part.paths, output))
                index.provenance = provenance
                set_regions(index, part, boxes_path)
                fill_index(folder, index, part)
    logger.info("%s: %d photos removed, %d stay", output, len(there) - len(stay), len(stay))
    return output


def compact_index(output: PathLike, shard_photos: int = 0, boxes_path: PathLike = "") -> Path:
    """Divide the photos of an index of shards into shards of equal size, in the order they have.

    Args:
        output: index folder; a run that was killed goes on, and leaves the index as it was until then.
        shard_photos: photos of a shard; 0 = as before.
        boxes_path: as of ``remove_from_index``.

    Raises:
        UserError: no index, one of one piece, or a feature file is gone.
    """
    output = restore_folder(output)
    manifest = read_manifest(output)
    if not manifest.shards:
        raise UserError(f"{output}: an index of one piece: there are no shards to make alike")
    size = shard_photos or manifest.shard_photos
    counts = [shard["num_images"] for shard in manifest.shards]
    if size == manifest.shard_photos and all(count == size for count in counts[:-1]) and counts[-1] <= size:
        logger.info("%s: its shards are alike already", output)
        return output
    with _photos_of(output, manifest, boxes_path) as photos:
        places = {name: place for place, name in enumerate(photos.names)}
        part = photos.part([places[name] for name in read_names(output, manifest)])
        build_shards(output, part, manifest.provenance, size, boxes_path=boxes_path, trained=output)
    return output


def describe_index(photos: FeatureSet, index_type: str, seed: int) -> Provenance:
    """How the index of some photos is made, by votes or of global descriptors; arguments as for ``build_index``."""
    searcher = "global" if isinstance(photos, GlobalSet) else "votes"
    index_type = index_type or KINDS[searcher].choose_type(int(photos.counts.sum()), photos.dimension)
    own = {"searcher": searcher} if searcher != "votes" else {}  # as earlier versions wrote it
    return _provenance(photos, {**own, "index_type": index_type, "seed": seed})


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


def _choose_searcher(features: FeaturePaths, searcher: str) -> str:
    if searcher != "auto":
        return searcher
    with FeatureFile(_as_list(features)[0], "features") as file:
        return "votes" if not file.names or file.has_local(file.names[0]) else "global"


def _with_layout(provenance: Provenance, shard_photos: int) -> Provenance:
    """With the size of its shards, which a ranking does not depend on."""
    return dataclasses.replace(provenance, settings={**provenance.settings, "shard_photos": shard_photos})


def _with_sources(provenance: Provenance, sources: Mapping[str, Any]) -> Provenance:
    return dataclasses.replace(provenance, sources={**provenance.sources, **sources})


def _photos_of(output: Path, manifest: Manifest, boxes_path: PathLike) -> FeatureSet:
    """The photos of an index in its feature files, which must be as they were, as must be boxes that it has used."""
    sources, used = manifest.provenance.sources, _boxes_of(manifest.provenance.settings, boxes_path)
    if set(used.get("boxes", [])) - set(sources.get("boxes", [])):
        raise UserError(f"{boxes_path}: other boxes than {output} was made with; give those")
    paths = read_sources(output).paths()
    for path in paths:
        if sha256_of(path) not in [*sources["features"], *sources.get("added", [])]:
            raise UserError(f"{path}: has changed since {output} was made; bring the feature file back")
    return kind_of(manifest.provenance).photos(paths)


def _read_list(path: PathLike) -> List[str]:
    """The lines of a list of names, without the blank ones."""
    text = read_bounded(path, "remove").decode("utf-8-sig", "surrogateescape")
    names = [line.rstrip("\r") for line in text.split("\n") if line.strip()]
    if not names:
        raise UserError(f"{path}: lists no photo")
    return names


def _as_list(features: FeaturePaths) -> List[PathLike]:
    return [features] if isinstance(features, (str, Path)) else list(features)


def _read_made(folder: Path, overwrite: bool) -> Provenance:
    """How the index at ``folder`` was made; one that cannot be read may be replaced, what is no index may not."""
    if not (folder / MANIFEST_FILE).exists():
        raise UserError(f"{folder}: stands there and is no index; give another `output`")
    if overwrite:
        return Provenance()
    manifest = read_manifest(folder)
    return _with_layout(manifest.provenance, manifest.shard_photos)


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
