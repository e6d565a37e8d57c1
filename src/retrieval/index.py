"""The index folder: a faiss index of every descriptor, and for each descriptor its photo and keypoint.

Photos that were added later stand at the end, whatever their names: ties follow ``tie_order``.
"""

import hashlib
import json
import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import faiss
import numpy as np

from ..artifacts import PathLike, atomic_write_json, require_folder, sha256_of
from ..errors import UserError, reading
from ..names import bare_name
from ..records import LocalFeatures, Provenance
from ..sealed import read_sealed, write_sealed
from .feature_sources import FeatureSources

FORMAT_VERSION = 4
FAISS_FILE, NAMES_FILE, STARTS_FILE, KEYPOINTS_FILE, SOURCES_FILE, MANIFEST_FILE = _FILES = (
    "index.faiss",
    "image_names.json",
    "starts.npy",
    "keypoints.npy",
    "sources.json",
    "index.json",
)
OWN_FILES = (*_FILES, "image_ids.npy")  # the last of an older format
INDEX_FOLDER = "index"  # of a photo index
_AGAIN = "make it again with the command build_index and `overwrite`"

# Tables that faiss would make for inverted lists of short codes take 0.3 GB for 16384 lists and save no time.
_READ_FLAGS = getattr(faiss, "IO_FLAG_SKIP_PRECOMPUTE_TABLE", 0)

logger = logging.getLogger(__name__)


class ImageIds:
    """Photo number of each descriptor, rising: indexed as an array of them, at 8 bytes a photo instead of 4 each.

    Attributes:
        starts: [N + 1] int64; photo n owns descriptors ``starts[n]`` to ``starts[n + 1]``.
    """

    def __init__(self, starts: np.ndarray) -> None:
        self.starts = np.asarray(starts, np.int64)

    @classmethod
    def from_array(cls, image_ids: np.ndarray, num_images: int) -> "ImageIds":
        """From the numbers [M] spelt out."""
        return cls(np.concatenate([[0], np.cumsum(np.bincount(image_ids, minlength=num_images))]))

    def __len__(self) -> int:
        """Number of descriptors."""
        return int(self.starts[-1])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Photo numbers, int32, of some descriptors (their numbers, 0 to M - 1)."""
        return np.searchsorted(self.starts, rows, side="right").astype(np.int32) - 1


@dataclass(eq=False)
class DescriptorIndex:
    """The descriptors of N photos in memory, and their keypoints, which stay on disk (memory-mapped) once loaded.

    Attributes:
        faiss_index: L2 index of M descriptors; row m is descriptor m below.
        image_names: N file names relative to the photos' folder.
        image_ids: number of the photo of each descriptor, rising; an array [M] is taken too.
        keypoints: [M, 2] float32, (x, y) in pixels of the descriptor's photo; more rows are room for photos to come.
        provenance: weights and encoder of the features, their settings and those of the index, SHA-256 of the files.
        sources: the photos' own features; None where an index has none but its own.
    """

    faiss_index: faiss.Index
    image_names: List[str] = field(default_factory=list)
    image_ids: Union[ImageIds, np.ndarray] = field(default_factory=lambda: ImageIds(np.zeros(1)))
    keypoints: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    provenance: Provenance = field(default_factory=Provenance)
    sources: Optional[FeatureSources] = None

    def __post_init__(self) -> None:
        if not isinstance(self.image_ids, ImageIds):
            self.image_ids = ImageIds.from_array(self.image_ids, len(self.image_names))

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.image_names)

    @cached_property
    def names(self) -> List[str]:
        """Names as a Ranking gives them: without extension."""
        return [bare_name(name) for name in self.image_names]

    def rows(self, photo: int) -> slice:
        """Descriptor numbers of one photo."""
        return slice(*self.image_ids.starts[photo : photo + 2].tolist())

    def descriptors(self, photo: int) -> np.ndarray:
        """[n, D] float32, one photo's descriptors as extracted, whatever the index made of them.

        Raises:
            UserError: the index keeps none itself, and its feature file is gone or another one.
        """
        exact = faiss.downcast_index(self.faiss_index)
        if isinstance(exact, faiss.IndexFlat):
            rows = self.rows(photo)
            return exact.reconstruct_n(rows.start, rows.stop - rows.start)
        return self.features(photo).descriptors

    def features(self, photo: int) -> LocalFeatures:
        """All of one photo's features, from the feature file; UserError when that is gone or another one."""
        if self.sources is None:
            raise UserError("this index does not know its feature file; make it again with the command build_index")
        return self.sources.read(self.image_names[photo])

    def add(self, names: Sequence[str], items: Sequence[LocalFeatures]) -> None:
        """Add photos behind the others; a trained index."""
        start, counts = len(self.image_ids), [len(item) for item in items]
        end = start + sum(counts)
        if end > len(self.keypoints):
            self.keypoints = np.concatenate([self.keypoints[:start], np.zeros((end - start, 2), np.float32)])
        if end > start:
            self.keypoints[start:end] = np.concatenate([item.keypoints for item in items])
            self.faiss_index.add(np.concatenate([item.descriptors for item in items if len(item)]))
        self.image_names = [*self.image_names, *names]
        self.image_ids = ImageIds(np.concatenate([self.image_ids.starts, start + np.cumsum(counts, dtype=np.int64)]))
        self.__dict__.pop("names", None)


def tie_order(names: Sequence[str], seed: int) -> np.ndarray:
    """[N] int64, place of each photo among those of equal scores: the one rule of ties, for every query.

    Names often hold the landmark, so an order by name would rank photos of one landmark together, and a search that
    found nothing would score above chance. A photo's place follows from a checksum of the seed and its name (without
    extension): two photos stand in the same order however the photos are numbered, divided into shards or added.
    """

    def key(number: int) -> Tuple[bytes, str]:
        name = names[number]
        text = f"{seed}:{name}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=8).digest(), name

    order = np.empty(len(names), np.int64)
    order[sorted(range(len(names)), key=key)] = np.arange(len(names))
    return order


class Manifest(NamedTuple):
    """What an index folder says of itself: how it was made, its counts, and the SHA-256 of its other files."""

    provenance: Provenance
    num_images: int
    num_descriptors: int
    dimension: int
    sha256: Dict[str, str]


def read_manifest(folder: PathLike, fix: str = _AGAIN) -> Manifest:
    """The manifest of an index folder; UserError when the folder is not a finished index."""
    path = require_folder(folder, "index") / MANIFEST_FILE
    inner = Path(folder) / INDEX_FOLDER
    if not path.is_file():
        if (inner / MANIFEST_FILE).is_file():
            raise UserError(f"{folder}: a photo index; give {inner}")
        raise UserError(f"{folder}: not an index folder: no {path.name} in it; make one with the command build_index")
    values = read_sealed(path, FORMAT_VERSION, fix)
    with reading(path, fix):
        return Manifest(**{**values, "provenance": Provenance.from_json(values["provenance"])})


def save_index(folder: Path, index: DescriptorIndex) -> None:
    """Write an index folder; keypoints that are memory-mapped for writing are in it already.

    Raises:
        UserError: faiss cannot write indexes of this type. OSError: the disk is full.
    """
    keypoints = index.keypoints[: len(index.image_ids)]
    if isinstance(keypoints, np.memmap) and keypoints.mode != "r":
        keypoints.flush()
    else:
        np.save(folder / KEYPOINTS_FILE, keypoints)
    try:
        with open(folder / FAISS_FILE, "wb") as stream:  # faiss's own files lose their end on a full disk, silently
            faiss.write_index(index.faiss_index, faiss.PyCallbackIOWriter(stream.write))
    except RuntimeError as error:
        raise UserError(f"{folder}: the index cannot be written ({' '.join(str(error).split())})") from error
    np.save(folder / STARTS_FILE, index.image_ids.starts)
    atomic_write_json(folder / NAMES_FILE, index.image_names)
    atomic_write_json(folder / SOURCES_FILE, index.sources.files if index.sources else [])
    sha256 = {name: sha256_of(folder / name) for name in _FILES[:-1]}
    counts = len(index), len(index.image_ids), index.faiss_index.d
    manifest = Manifest(index.provenance.as_json(), *counts, sha256)
    write_sealed(folder / MANIFEST_FILE, FORMAT_VERSION, manifest._asdict())


def require_whole(folder: PathLike, fix: str = _AGAIN) -> Manifest:
    """The manifest of an index folder; UserError, with what to do, when it is none, or a byte of its files has changed.

    About a second for each GB.
    """
    manifest, folder = read_manifest(folder, fix), Path(folder)
    for name in _FILES[:-1]:
        if not (folder / name).is_file():
            raise UserError(f"{folder}: damaged index: no {name} in it; {fix}")
        if sha256_of(folder / name) != manifest.sha256.get(name):
            raise UserError(f"{folder / name}: damaged, or of another index (its checksum differs); {fix}")
    return manifest


def load_index(folder: PathLike, fix: str = _AGAIN) -> DescriptorIndex:
    """Load an index folder; errors as of ``require_whole``.

    All files are compared with their checksums before they are used: over damaged bytes faiss ends the process, or
    finds wrong photos.
    """
    manifest, folder = require_whole(folder, fix), Path(folder)
    try:
        faiss_index = faiss.read_index(str(folder / FAISS_FILE), _READ_FLAGS)
    except RuntimeError as error:
        fact = f"faiss {faiss.__version__} cannot read it ({' '.join(str(error).split())})"
        raise UserError(f"{folder / FAISS_FILE}: {fact}; {fix}") from error
    with reading(folder, fix):
        index = DescriptorIndex(
            faiss_index=faiss_index,
            image_names=json.loads((folder / NAMES_FILE).read_text(encoding="utf-8")),
            image_ids=ImageIds(np.load(folder / STARTS_FILE, allow_pickle=False)),
            keypoints=np.load(folder / KEYPOINTS_FILE, mmap_mode="r", allow_pickle=False),
            provenance=manifest.provenance,
            sources=FeatureSources(folder, json.loads((folder / SOURCES_FILE).read_text(encoding="utf-8"))),
        )
    counts = {index.faiss_index.ntotal, len(index.image_ids), len(index.keypoints), manifest.num_descriptors}
    images = {len(index), len(index.image_ids.starts) - 1, manifest.num_images}
    if len(counts) > 1 or len(images) > 1:
        raise UserError(f"{folder}: files of different indexes; {fix}")
    kind = index.provenance.settings["index_type"]
    logger.info("%s: %d photos, %d descriptors, %s", folder, len(index), max(counts), kind)
    return index


def describe_size(folder: PathLike) -> str:
    """Sizes of an index folder and its bytes a descriptor, as a sentence.

    In memory while searching: the faiss index with its ids, and where each photo's descriptors start. On disk only: the
    keypoints, of which verification reads a few.
    """
    folder, manifest = Path(folder), read_manifest(folder)
    memory = sum((folder / name).stat().st_size for name in (FAISS_FILE, STARTS_FILE))
    disk = memory + sum((folder / name).stat().st_size for name in (KEYPOINTS_FILE, NAMES_FILE))
    count = manifest.num_descriptors
    return (
        f"{manifest.num_images} photos, {count} descriptors, {manifest.provenance.settings['index_type']}: "
        f"{memory / 1e6:.1f} MB in memory ({memory / max(count, 1):.2f} bytes a descriptor, ids included), "
        f"{disk / 1e6:.1f} MB on disk ({disk / max(count, 1):.2f} bytes a descriptor, keypoints included)"
    )
