"""An index folder of shards: made, resumed shard by shard after a kill, appended to, thinned out and made compact.

A shard is an index folder of its own, of some of the photos, in the order of their numbers; all are made from one
trained index without photos, so that together they give what one index of all photos gives. The manifest, written last,
says which shards there are: what else lies in the folder is of a run that was killed, and is deleted.
"""

import dataclasses
import logging
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import AbstractSet, Dict, Iterator, List, Optional, Sequence

from ..artifacts import PathLike, atomic_write_json, build_folder_for, digest, locked_folder, sha256_of
from ..errors import UserError
from ..features.feature_set import FeatureSet
from ..records import Provenance
from .codebook import Codebook
from .feature_sources import FeatureSources
from .index_folder import (
    MANIFEST_FILE,
    SHARD_NAME,
    SOURCES_FILE,
    TRAINED_FOLDER,
    Manifest,
    read_manifest,
    read_names,
    read_sources,
    write_manifest,
)
from .index_kinds import Index, fill_index, kind_of, new_index, set_regions
from .index_types import require_divisible

_ADD_BYTES = 2**24  # of descriptors added at a time

logger = logging.getLogger(__name__)


def build_shards(
    output: Path,
    photos: FeatureSet,
    provenance: Provenance,
    shard_photos: int,
    codebook: Optional[Codebook] = None,
    boxes_path: PathLike = "",
    trained: Optional[Path] = None,
) -> None:
    """Make an index of shards at ``output``, in place of what stands there.

    Shards are made one after the other beside it; a run that was killed goes on with the one it was at. Memory holds
    one of them.

    Args:
        output: index folder.
        photos: of the index.
        provenance: how it is made.
        shard_photos: photos of a shard.
        codebook: of an index of words; None = it is learnt.
        boxes_path: of photos with regions of boxes.
        trained: an index of shards whose training is kept; None = trained on the photos.

    Raises:
        UserError: an ``index_type`` whose shards would not find together what it finds.
    """
    with _half_made(output) as folder:
        if trained is not None:
            shutil.copytree(trained / TRAINED_FOLDER, folder / TRAINED_FOLDER, dirs_exist_ok=True)
        elif not _stands(folder / TRAINED_FOLDER, provenance):
            index = new_index(photos, provenance, codebook)
            if "index_type" in provenance.settings:
                require_divisible(provenance.settings["index_type"], index.faiss_index)
            with build_folder_for(folder / TRAINED_FOLDER) as inner:
                _save(inner, index)
        names = []
        for start in range(0, len(photos.names), shard_photos):
            part = photos.part(range(start, min(start + shard_photos, len(photos.names))))
            names.append(_shard_name(len(names)))
            _write_shard(folder / names[-1], output, folder, part, provenance, boxes_path)
        _seal(folder, provenance, names, shard_photos)
        aside = output.absolute().with_name(f".{output.name}.old")  # as of ``build_folder_for``; see ``restore_folder``
        shutil.rmtree(aside, ignore_errors=True)
        if output.exists():
            os.replace(output, aside)
        os.replace(folder, output)
    shutil.rmtree(aside, ignore_errors=True)


def append_shards(
    output: Path, photos: FeatureSet, provenance: Provenance, manifest: Manifest, boxes_path: PathLike
) -> None:
    """Add photos to an index of shards, as new ones behind the others.

    Args:
        output: index folder.
        photos: to add.
        provenance: of the index with them.
        manifest: of the index without.
        boxes_path: of photos with regions of boxes.
    """
    size, first = manifest.shard_photos, _next_number(manifest)
    ranges = [range(start, min(start + size, len(photos.names))) for start in range(0, len(photos.names), size)]
    parts = {_shard_name(number): photos.part(places) for number, places in enumerate(ranges, first)}
    _take_in(output, parts, provenance, [*manifest.shard_names, *parts], size, boxes_path)


def replace_shards(
    output: Path,
    photos: FeatureSet,
    provenance: Provenance,
    manifest: Manifest,
    stay: AbstractSet[str],
    boxes_path: PathLike,
) -> None:
    """Make those shards anew that hold photos which do not stay.

    Args:
        output: index folder.
        photos: of the index; all of them, or more.
        provenance: of the index without the others.
        manifest: of the index as it is.
        stay: names of the photos that stay.
        boxes_path: of photos with regions of boxes.
    """
    places = {name: place for place, name in enumerate(photos.names)}
    parts: Dict[str, FeatureSet] = {}
    names, number = [], _next_number(manifest)
    for shard in manifest.shard_names:
        there = read_names(output / shard)
        left = [places[name] for name in there if name in stay]
        if len(left) == len(there):
            names.append(shard)
        elif left:
            names.append(_shard_name(number + len(parts)))
            parts[names[-1]] = photos.part(left)
    _take_in(output, parts, provenance, names, manifest.shard_photos, boxes_path)


def _take_in(
    output: Path,
    parts: Dict[str, FeatureSet],
    provenance: Provenance,
    names: Sequence[str],
    shard_photos: int,
    boxes_path: PathLike,
) -> None:
    """Make shards beside an index and put them into it; ``names`` are those it has then."""
    with _half_made(output) as folder:
        for name, part in parts.items():
            _write_shard(folder / name, output, output, part, provenance, boxes_path)
        for name in parts:
            shutil.rmtree(output / name, ignore_errors=True)  # of a run that was killed
            os.replace(folder / name, output / name)
        _seal(output, provenance, names, shard_photos)
        shutil.rmtree(folder)


@contextmanager
def _half_made(output: Path) -> Iterator[Path]:
    """A hidden folder beside ``output`` that outlives a run which fails or is killed, for this process alone."""
    folder = output.absolute().with_name(f".{output.name}.shards")
    with locked_folder(folder, output):
        yield folder


def _shard_name(number: int) -> str:
    return f"shard_{number:03d}"


def _next_number(manifest: Manifest) -> int:
    return 1 + max(int(name.split("_")[1]) for name in manifest.shard_names)


def _save(folder: Path, index: Index) -> None:
    """Write an index that is trained and has no photos."""
    index.make_room(folder, 0, 0)
    kind_of(index.provenance).save(folder, index)


def _stands(folder: Path, provenance: Provenance) -> bool:
    """Whether a finished index folder is made so."""
    try:
        return folder.exists() and read_manifest(folder).provenance.same_run(provenance)
    except UserError:  # damaged, or of another version
        return False


def _write_shard(
    folder: Path, output: Path, trained: Path, photos: FeatureSet, provenance: Provenance, boxes_path: PathLike
) -> None:
    """Make one shard of the index ``output`` at ``folder``, where it does not stand already."""
    made = dataclasses.replace(provenance, sources={**provenance.sources, "photos": digest({"names": photos.names})})
    if _stands(folder, made):
        logger.info("%s: already made", folder.name)
        return
    with build_folder_for(folder) as inner:
        index = kind_of(provenance).load(trained / TRAINED_FOLDER)
        index.provenance = made
        set_regions(index, photos, boxes_path)
        files = FeatureSources.describe(photos.paths, output / folder.name)
        index.sources = FeatureSources(output / folder.name, files)
        fill_index(inner, index, photos, _ADD_BYTES)
    logger.info("%s: %d photos", folder.name, len(photos.names))


def _seal(folder: Path, provenance: Provenance, names: Sequence[str], shard_photos: int) -> None:
    """Write the manifest of an index of shards, then delete shards that are none of it."""
    manifests = [read_manifest(folder / name) for name in names]
    shards, first = [], 0
    for name, shard in zip(names, manifests):
        counts = {"num_images": shard.num_images, "num_descriptors": shard.num_descriptors}
        shards.append({"name": name, "first_image": first, **counts})
        first += shard.num_images
    atomic_write_json(folder / SOURCES_FILE, _files_of(folder, names))
    parts = [f"{name}/{MANIFEST_FILE}" for name in (TRAINED_FOLDER, *names)]
    sha256 = {name: sha256_of(folder / name) for name in (SOURCES_FILE, *parts)}
    num_descriptors = sum(shard.num_descriptors for shard in manifests)
    manifest = Manifest(provenance, first, num_descriptors, manifests[0].dimension, sha256, shards, shard_photos)
    write_manifest(folder, manifest)
    for entry in folder.iterdir():
        if SHARD_NAME.fullmatch(entry.name) and entry.name not in names:
            shutil.rmtree(entry)


def _files_of(folder: Path, names: Sequence[str]) -> List[Dict[str, object]]:
    """The feature files of some shards, each once, as seen from the index folder."""
    files = {}
    for name in names:
        for file in read_sources(folder / name).files:
            place = os.path.normpath(os.path.join(name, file["from_index"]))
            files[file["path"]] = {**file, "from_index": place}
    return list(files.values())
