"""Build an index folder from feature files, or add photos to one."""

import logging
import os
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

import faiss
import numpy as np
from tqdm import tqdm

from ..artifacts import PathLike, atomic_write_json, build_folder_for, require_file, sha256_of
from ..errors import UserError
from ..names import bare_name
from . import index as layout
from .feature_set import FeatureSet, require_same_settings
from .index import PhotoIndex, load_index, read_provenance
from .index_types import choose_index_type, faiss_errors, make_index, threads_for, training_rows
from .sources import describe_sources, load_sources, save_sources

_ADD_BYTES = 2**26  # of descriptors handed to faiss at a time

logger = logging.getLogger(__name__)


def build_index(
    features: Union[PathLike, Sequence[PathLike]],
    output: PathLike,
    index_type: str = "",
    seed: int = 0,
    overwrite: bool = False,
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
    output = _restore(Path(output))
    with FeatureSet(_as_list(features)) as photos:
        provenance = describe_index(photos, index_type, seed)
        if _is_made(output, provenance, overwrite):
            return output
        with build_folder_for(output) as folder:
            save_sources(folder, describe_sources(photos.paths, output))
            write_index(folder, train_index(photos, provenance), photos, provenance)
    logger.info("%s: made", output)
    return output


def add_to_index(features: Union[PathLike, Sequence[PathLike]], output: PathLike) -> Path:
    """Add the photos of further feature files to an index; its own training and photo numbers stay.

    A kill leaves the index as it was. Files that were added before are passed over.

    Raises:
        UserError: no index at ``output``, features of other settings, or a photo that the index has already.
    """
    output = _restore(Path(output))
    old = read_provenance(output)
    checksums = {path: sha256_of(require_file(path, "features")) for path in _as_list(features)}
    checksums = {path: sha256 for path, sha256 in checksums.items() if sha256 not in old["features_sha256"]}
    if not checksums:
        logger.info("%s: holds these photos already", output)
        return output
    with FeatureSet(list(checksums)) as photos:
        _require_fitting(photos, old, output)
        with build_folder_for(output) as folder:
            index = load_index(output)
            known = set(index.names)
            double = next((name for name in photos.names if bare_name(name) in known), None)
            if double is not None:
                raise UserError(f"{output}: has a photo {double} already; leave it out of {photos.paths[0]}")
            provenance = {
                **old,
                "features_sha256": old["features_sha256"] + list(checksums.values()),
                "files_added": old["files_added"] + len(checksums),
                "num_images": old["num_images"] + len(photos.names),
                "num_descriptors": old["num_descriptors"] + int(photos.counts.sum()),
            }
            save_sources(folder, load_sources(output) + describe_sources(photos.paths, output))
            write_index(folder, index.faiss_index, photos, provenance, index)
    logger.info("%s: %d photos added", output, len(photos.names))
    return output


def describe_index(photos: FeatureSet, index_type: str, seed: int) -> Dict[str, Any]:
    """Provenance of the index of some photos; ``index_type`` and ``seed`` as for ``build_index``."""
    count = int(photos.counts.sum())
    return {
        "format_version": layout.FORMAT_VERSION,
        "features": photos.attributes,
        "features_sha256": [sha256_of(path) for path in photos.paths],
        "files_added": 0,
        "index_type": index_type or choose_index_type(count, photos.dimension),
        "seed": seed,
        "num_images": len(photos.names),
        "num_descriptors": count,
        "dimension": photos.dimension,
    }


def _as_list(features: Union[PathLike, Sequence[PathLike]]) -> List[PathLike]:
    return [features] if isinstance(features, (str, Path)) else list(features)


def _restore(output: Path) -> Path:
    """Bring back the old index of a run that was killed between moving it aside and moving the new one in."""
    aside = output.absolute().with_name(f".{output.absolute().name}.old")
    if not output.exists() and (aside / layout.PROVENANCE_FILE).exists():
        os.replace(aside, output)
    return output


def _is_made(output: Path, provenance: Dict[str, Any], overwrite: bool) -> bool:
    """Whether the wanted index stands at ``output``; UserError when something else does and may not be replaced."""
    if not output.exists():
        return False
    if not (output / layout.PROVENANCE_FILE).exists() and (output.is_file() or any(output.iterdir())):
        # Before overwrite is looked at: replacing a folder deletes it, and this one may be the user's photos.
        raise UserError(f"{output}: stands there and is no index; give another `output`")
    if overwrite or not any(output.iterdir()):
        return False
    if read_provenance(output) != provenance:
        raise UserError(f"{output}: an index of other features or settings; give `overwrite` to replace it")
    logger.info("%s: already made", output)
    return True


def _require_fitting(photos: FeatureSet, provenance: Dict[str, Any], output: Path) -> None:
    """UserError when descriptors of ``photos`` do not belong into the index."""
    require_same_settings(provenance["features"], photos.attributes, photos.paths[0], output)
    if photos.counts.any() and photos.dimension != provenance["dimension"]:
        raise UserError(
            f"{photos.paths[0]}: descriptors of {photos.dimension} dimensions, {output} has {provenance['dimension']}; "
            "extract with the same settings"
        )


def train_index(photos: FeatureSet, provenance: Dict[str, Any]) -> faiss.Index:
    """An empty faiss index, trained if its type needs it on descriptors drawn at random."""
    index = make_index(provenance["index_type"], provenance["dimension"])
    rows = training_rows(index)
    if rows:
        sample = photos.sample(rows, provenance["seed"])
        logger.info("training %s on %d descriptors", provenance["index_type"], len(sample))
        with faiss_errors(provenance["index_type"]), threads_for(index):
            index.train(sample)
    return index


def write_index(
    folder: Path,
    index: faiss.Index,
    photos: FeatureSet,
    provenance: Dict[str, Any],
    before: Optional[PhotoIndex] = None,
) -> None:
    """Add ``photos`` to ``index`` and write the files of the index folder; ``before`` = the photos in it already."""
    names, starts, end = [], np.zeros(1, np.int64), 0
    if before is not None:
        names, starts, end = before.image_names, before.image_ids.starts, len(before.keypoints)
    keypoints = np.lib.format.open_memmap(
        folder / layout.KEYPOINTS_FILE, mode="w+", dtype=np.float32, shape=(provenance["num_descriptors"], 2)
    )
    if before is not None:
        keypoints[:end] = before.keypoints
    with faiss_errors(provenance["index_type"]), threads_for(index):
        _add_photos(index, photos, keypoints[end:])
    keypoints.flush()
    try:
        faiss.write_index(index, str(folder / layout.FAISS_FILE))
    except RuntimeError as error:
        raise UserError(f"{folder}: the index cannot be written ({' '.join(str(error).split())})") from error
    np.save(folder / layout.STARTS_FILE, np.concatenate([starts, starts[-1] + np.cumsum(photos.counts)]))
    atomic_write_json(folder / layout.NAMES_FILE, names + photos.names)
    atomic_write_json(folder / layout.PROVENANCE_FILE, provenance)


def _add_photos(index: faiss.Index, photos: FeatureSet, keypoints: np.ndarray) -> None:
    """Add every photo's descriptors to ``index``, a chunk at a time, and fill ``keypoints`` [M, 2]."""
    chunk_rows = max(1, _ADD_BYTES // (4 * photos.dimension))
    waiting: List[np.ndarray] = []
    added = end = 0
    for _, features in tqdm(photos, desc="index", unit="photo", total=len(photos.names), disable=None):
        if len(features):
            keypoints[end : end + len(features)] = features.keypoints
            waiting.append(features.descriptors)
            end += len(features)
        if waiting and (end - added >= chunk_rows or end == len(keypoints)):
            index.add(np.concatenate(waiting))
            waiting.clear()
            added = end
