"""The index folder: a faiss index of every descriptor, and for each descriptor its photo and keypoint.

Photos that were added later stand at the end, whatever their names: ties by name follow ``PhotoIndex.name_order``.
"""

import json
import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, List, Optional, Union

import faiss
import numpy as np

from ..artifacts import PathLike, require_folder
from ..errors import UserError
from ..names import bare_name
from ..records import LocalFeatures
from .sources import FeatureSources, load_sources

FORMAT_VERSION = 2
FAISS_FILE, NAMES_FILE, STARTS_FILE, KEYPOINTS_FILE, PROVENANCE_FILE = (
    "index.faiss",
    "image_names.json",
    "starts.npy",
    "keypoints.npy",
    "index.json",
)

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


@dataclass(frozen=True, eq=False)
class PhotoIndex:
    """An index in memory; its keypoints stay on disk (memory-mapped).

    Attributes:
        faiss_index: L2 index of M descriptors; row m is descriptor m below.
        image_names: N file names relative to the photos' folder.
        image_ids: number of the photo of each descriptor, rising; an array [M] is taken too.
        keypoints: [M, 2] float32, (x, y) in pixels of the descriptor's photo.
        provenance: what the index was made from and how.
        sources: the photos' own features; None where an index has none but its own.
    """

    faiss_index: faiss.Index
    image_names: List[str]
    image_ids: Union[ImageIds, np.ndarray]
    keypoints: np.ndarray
    provenance: Dict[str, Any]
    sources: Optional[FeatureSources] = None

    def __post_init__(self) -> None:
        if not isinstance(self.image_ids, ImageIds):
            object.__setattr__(self, "image_ids", ImageIds.from_array(self.image_ids, len(self.image_names)))

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.image_names)

    @cached_property
    def names(self) -> List[str]:
        """Names as a Ranking gives them: without extension."""
        return [bare_name(name) for name in self.image_names]

    @cached_property
    def name_order(self) -> np.ndarray:
        """[N] int64, place of each photo in the order of ``names``; 0, 1, 2 ... unless photos were added later."""
        order = np.empty(len(self), np.int64)
        order[sorted(range(len(self)), key=self.names.__getitem__)] = np.arange(len(self))
        return order

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
            raise UserError("this index does not know its feature file; make it again with eval/build_index.py")
        return self.sources.read(self.image_names[photo])


def read_provenance(folder: PathLike) -> Dict[str, Any]:
    """What the index folder was made from and how; UserError when the folder is not a finished index."""
    path = require_folder(folder, "index") / PROVENANCE_FILE
    try:
        provenance = json.loads(path.read_text(encoding="utf-8"))
        version = provenance["format_version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{folder}: not an index folder ({path.name}: {error}); make one with eval/build_index.py"
        ) from error
    if version != FORMAT_VERSION:
        raise UserError(
            f"{folder}: an index of format {version}, this program reads {FORMAT_VERSION}; make it again with "
            "eval/build_index.py `overwrite`"
        )
    return provenance


def load_index(folder: PathLike) -> PhotoIndex:
    """Load an index folder; UserError when it is not one, or when its files do not belong together."""
    provenance, folder = read_provenance(folder), Path(folder)
    try:
        index = PhotoIndex(
            faiss_index=faiss.read_index(str(folder / FAISS_FILE), _READ_FLAGS),
            image_names=json.loads((folder / NAMES_FILE).read_text(encoding="utf-8")),
            image_ids=ImageIds(np.load(folder / STARTS_FILE, allow_pickle=False)),
            keypoints=np.load(folder / KEYPOINTS_FILE, mmap_mode="r", allow_pickle=False),
            provenance=provenance,
            sources=FeatureSources(folder, load_sources(folder)),
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{folder}: damaged index ({reason}); make it again with eval/build_index.py `overwrite`"
        ) from error
    counts = {index.faiss_index.ntotal, len(index.image_ids), len(index.keypoints), provenance["num_descriptors"]}
    images = {len(index), len(index.image_ids.starts) - 1, provenance["num_images"]}
    if len(counts) > 1 or len(images) > 1:
        raise UserError(f"{folder}: files of different indexes; make it again with eval/build_index.py `overwrite`")
    logger.info("%s: %d photos, %d descriptors, %s", folder, len(index), max(counts), provenance["index_type"])
    return index


def describe_size(folder: PathLike) -> str:
    """Sizes of an index folder and its bytes a descriptor, as a sentence.

    In memory while searching: the faiss index with its ids, and where each photo's descriptors start. On disk only: the
    keypoints, of which verification reads a few.
    """
    folder, provenance = Path(folder), read_provenance(folder)
    memory = sum((folder / name).stat().st_size for name in (FAISS_FILE, STARTS_FILE))
    disk = memory + sum((folder / name).stat().st_size for name in (KEYPOINTS_FILE, NAMES_FILE))
    count = provenance["num_descriptors"]
    return (
        f"{provenance['num_images']} photos, {count} descriptors, {provenance['index_type']}: "
        f"{memory / 1e6:.1f} MB in memory ({memory / max(count, 1):.2f} bytes a descriptor, ids included), "
        f"{disk / 1e6:.1f} MB on disk ({disk / max(count, 1):.2f} bytes a descriptor, keypoints included)"
    )
