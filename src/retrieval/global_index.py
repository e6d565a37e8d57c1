"""An index of global descriptors: one vector a photo, searched by inner product."""

import logging
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import List, Optional, Sequence, Tuple

import faiss
import numpy as np

from ..artifacts import PathLike
from ..errors import UserError, reading
from ..names import bare_name
from ..records import LocalFeatures, Provenance
from .feature_sources import FeatureSources
from .index_folder import (
    AGAIN,
    VECTORS_FILE,
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
from .votes import set_nprobe

_MORE_NEIGHBOURS = 4

logger = logging.getLogger(__name__)


@dataclass(eq=False)
class GlobalIndex:
    """The global descriptors of N photos: in faiss, and beside it where that shortens them.

    Attributes:
        faiss_index: inner-product index of N vectors; row n is photo n.
        image_names: N file names relative to the photos' folder.
        provenance: weights and encoder of the features, their settings and those of the index, SHA-256 of the files.
        sources: the photos' feature files, which may hold local features too; None where there are none.
        stored: [N, D] float32, the vectors as extracted, on disk (memory-mapped) once loaded; more rows are room for
            photos to come. None where faiss keeps them itself.
    """

    faiss_index: faiss.Index
    image_names: List[str] = field(default_factory=list)
    provenance: Provenance = field(default_factory=Provenance)
    sources: Optional[FeatureSources] = None
    stored: Optional[np.ndarray] = None

    def __post_init__(self) -> None:
        if self.stored is None and not self.is_exact:
            self.stored = np.zeros((0, self.faiss_index.d), np.float32)

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.image_names)

    @property
    def is_exact(self) -> bool:
        """Whether faiss keeps the vectors as they are, so that every photo is compared exactly."""
        return isinstance(faiss.downcast_index(self.faiss_index), faiss.IndexFlat)

    @cached_property
    def names(self) -> List[str]:
        """Names as a Ranking gives them: without extension."""
        return [bare_name(name) for name in self.image_names]

    @property
    def vectors(self) -> np.ndarray:
        """[N, D] float32, the photos' vectors as extracted; not a copy."""
        if self.stored is not None:
            return self.stored[: len(self)]
        if not len(self):
            return np.zeros((0, self.faiss_index.d), np.float32)
        return np.asarray(_Rows(self.faiss_index))

    def similarities(self, vector: np.ndarray, photos: Optional[np.ndarray] = None) -> np.ndarray:
        """Inner products float32 of a vector [D] with those of all photos, or of some [n].

        A photo's has the same bits wherever it stands, and whichever photos stand beside it, as a product of matrices
        would not have.
        """
        rows = self.vectors if photos is None else self.vectors[photos]
        return np.einsum("nd,d->n", rows, np.asarray(vector, np.float32))

    def nearest(self, vector: np.ndarray, count: int) -> Tuple[np.ndarray, np.ndarray]:
        """Photos and similarities of the ``count`` nearest that faiss finds for a vector [D], ties by number."""
        more = min(count + _MORE_NEIGHBOURS, len(self))  # which of equally near ones faiss leaves out is chance
        similarities, photos = (found[0] for found in self.faiss_index.search(np.float32(vector[None]), more))
        found = photos >= 0  # -1 = fewer found
        photos, similarities = photos[found], similarities[found]
        order = np.lexsort((photos, -similarities))[:count]
        return photos[order], similarities[order]

    def set_nprobe(self, nprobe: int) -> None:
        """As of ``votes.set_nprobe``."""
        set_nprobe(self.faiss_index, nprobe)

    def features(self, photo: int) -> LocalFeatures:
        """A photo's local features, from the feature file; UserError when that is gone or has none."""
        if self.sources is None:
            raise UserError("this index does not know its feature file; make it again with the command build_index")
        return self.sources.read(self.image_names[photo])

    def make_room(self, folder: Path, num_photos: int, num_features: int) -> None:
        """So many vectors more that faiss shortens go to the disk, to the files of an index folder."""
        if self.stored is not None:
            self.stored = make_rows(folder / VECTORS_FILE, self.stored[: len(self)], len(self) + num_photos)

    def add(self, names: Sequence[str], vectors: np.ndarray) -> None:
        """Add photos [n, D] behind the others; a trained index."""
        start, end = len(self), len(self) + len(names)
        if self.stored is not None:
            if end > len(self.stored):
                self.stored = np.concatenate([self.stored[:start], np.zeros((end - start, vectors.shape[1]))])
            self.stored[start:end] = vectors
        self.faiss_index.add(np.ascontiguousarray(vectors, np.float32))
        self.image_names = [*self.image_names, *names]
        self.__dict__.pop("names", None)


class _Rows:
    """The vectors inside an exact faiss index as an array, which keeps that index alive."""

    def __init__(self, index: faiss.Index) -> None:
        self._index, flat = index, faiss.downcast_index(index)
        place = {"data": (int(flat.get_xb()), True), "shape": (flat.ntotal, flat.d), "typestr": "<f4"}
        self.__array_interface__ = {"version": 3, **place}


def save_global_index(folder: Path, index: GlobalIndex) -> None:
    """Write an index folder; errors as of ``seal_folder``."""
    written = []
    if index.stored is not None:
        save_rows(folder / VECTORS_FILE, index.vectors)
        written = [VECTORS_FILE]
    seal_folder(folder, index, (len(index), len(index), index.faiss_index.d), written)


def load_global_index(folder: PathLike, fix: str = AGAIN) -> GlobalIndex:
    """Load an index folder; errors as of ``require_whole``, and a UserError for one of local features."""
    manifest, folder = require_whole(folder, fix), Path(folder)
    require_one_piece(folder, manifest)
    if searcher_of(manifest) != "global":
        raise UserError(f"{folder}: an index of local features, where one of global descriptors is needed; give that")
    faiss_index, stored = read_faiss(folder, fix), None
    with reading(folder, fix):
        if VECTORS_FILE in manifest.sha256:
            stored = np.load(folder / VECTORS_FILE, mmap_mode="r", allow_pickle=False)
        index = GlobalIndex(faiss_index, read_names(folder), manifest.provenance, read_sources(folder), stored)
    counts = {len(index), index.faiss_index.ntotal, len(index.vectors), manifest.num_images, manifest.num_descriptors}
    if len(counts) > 1 or index.vectors.shape[1] != index.faiss_index.d:
        raise UserError(f"{folder}: files of different indexes; {fix}")
    kind = index.provenance.settings["index_type"]
    logger.info("%s: %d photos, %d dimensions, %s", folder, len(index), index.faiss_index.d, kind)
    return index
