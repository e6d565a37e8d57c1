"""An index of local features: a faiss index of every descriptor, and for each descriptor its photo and keypoint.

Photos that were added later stand at the end, whatever their names: ties follow ``tie_order``.
"""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import List, Optional, Sequence, Tuple, Union

import faiss
import numpy as np

from ..artifacts import PathLike
from ..errors import UserError, reading
from ..names import bare_name
from ..records import LocalFeatures, Provenance
from .feature_sources import FeatureSources
from .index_folder import (
    AGAIN,
    KEYPOINTS_FILE,
    STARTS_FILE,
    make_rows,
    read_faiss,
    read_names,
    read_sources,
    require_one_piece,
    require_whole,
    save_rows,
    seal_folder,
    searcher_of,
)
from .neighbours import ListSearch, find_neighbours, list_search_of

_MORE_NEIGHBOURS = 4  # are asked for: which of equally near ones faiss leaves out depends on the order of its work

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

    @cached_property
    def _lists(self) -> Optional[ListSearch]:
        return list_search_of(self.faiss_index)

    def nearest(
        self, descriptors: np.ndarray, count: int, within: float, pool: Optional[ThreadPoolExecutor] = None
    ) -> Tuple[np.ndarray, np.ndarray]:
        """The nearest index descriptors as of ``find_neighbours``, of equally near ones the lower number.

        Those farther than ``within``, squared, may lack.
        """
        if self._lists is not None:
            return self._lists.search(descriptors, count, within, pool)
        more = min(count + _MORE_NEIGHBOURS, self.faiss_index.ntotal)
        squared, numbers = find_neighbours(self.faiss_index, descriptors, more, pool)
        for row in np.flatnonzero((squared[:, 1:] == squared[:, :-1]).any(axis=1)).tolist():
            order = np.lexsort((numbers[row], squared[row]))
            squared[row], numbers[row] = squared[row][order], numbers[row][order]
        return squared[:, :count], numbers[:, :count]

    def points(self, photo: int) -> np.ndarray:
        """[n, 2] float32, one photo's keypoints, (x, y) in its pixels."""
        return self.keypoints[self.rows(photo)]

    def descriptors(self, photo: int) -> np.ndarray:
        """[n, D] float32, one photo's descriptors as extracted, whatever the index made of them.

        Raises:
            UserError: the index keeps none itself, and its feature file is gone or another one.
        """
        exact = faiss.downcast_index(self.faiss_index)
        if isinstance(exact, faiss.IndexFlat):
            rows = self.rows(photo)
            return exact.reconstruct_n(rows.start, rows.stop - rows.start)
        return self._own_features().read_descriptors(self.image_names[photo])

    def features(self, photo: int) -> LocalFeatures:
        """All of one photo's features, from the feature file; UserError when that is gone or another one."""
        return self._own_features().read(self.image_names[photo])

    def _own_features(self) -> FeatureSources:
        if self.sources is None:
            raise UserError("this index does not know its feature file; make it again with the command build_index")
        return self.sources

    def make_room(self, folder: Path, num_photos: int, num_features: int) -> None:
        """So many features more go to the disk, to the files of an index folder, and do not stay in memory."""
        end = len(self.image_ids)
        self.keypoints = make_rows(folder / KEYPOINTS_FILE, self.keypoints[:end], end + num_features)

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


def save_index(folder: Path, index: DescriptorIndex) -> None:
    """Write an index folder; keypoints that are memory-mapped for writing are in it already.

    Raises:
        UserError: faiss cannot write indexes of this type. OSError: the disk is full.
    """
    save_rows(folder / KEYPOINTS_FILE, index.keypoints[: len(index.image_ids)])
    np.save(folder / STARTS_FILE, index.image_ids.starts)
    counts = len(index), len(index.image_ids), index.faiss_index.d
    seal_folder(folder, index, counts, (STARTS_FILE, KEYPOINTS_FILE))


def load_index(folder: PathLike, fix: str = AGAIN) -> DescriptorIndex:
    """Load an index folder; errors as of ``require_whole``, and a UserError for one of global descriptors.

    All files are compared with their checksums before they are used: over damaged bytes faiss ends the process, or
    finds wrong photos.
    """
    manifest, folder = require_whole(folder, fix), Path(folder)
    require_one_piece(folder, manifest)
    if searcher_of(manifest) != "votes":
        what = "global descriptors" if searcher_of(manifest) == "global" else "visual words"
        raise UserError(f"{folder}: an index of {what}, where one of local features is needed; give that")
    faiss_index = read_faiss(folder, fix)
    with reading(folder, fix):
        index = DescriptorIndex(
            faiss_index=faiss_index,
            image_names=read_names(folder),
            image_ids=ImageIds(np.load(folder / STARTS_FILE, allow_pickle=False)),
            keypoints=np.load(folder / KEYPOINTS_FILE, mmap_mode="r", allow_pickle=False),
            provenance=manifest.provenance,
            sources=read_sources(folder),
        )
    counts = {index.faiss_index.ntotal, len(index.image_ids), len(index.keypoints), manifest.num_descriptors}
    images = {len(index), len(index.image_ids.starts) - 1, manifest.num_images}
    if len(counts) > 1 or len(images) > 1:
        raise UserError(f"{folder}: files of different indexes; {fix}")
    kind = index.provenance.settings["index_type"]
    logger.info("%s: %d photos, %d descriptors, %s", folder, len(index), max(counts), kind)
    return index
