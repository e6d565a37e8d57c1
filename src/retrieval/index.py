"""The index folder: a faiss index of every descriptor, and for each descriptor its photo and keypoint."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List

import faiss
import numpy as np

from src.errors import UserError
from src.evaluation.names import bare_name
from src.files import PathLike, require_folder

FAISS_FILE, NAMES_FILE, IMAGE_IDS_FILE, KEYPOINTS_FILE, PROVENANCE_FILE = (
    "index.faiss",
    "image_names.json",
    "image_ids.npy",
    "keypoints.npy",
    "index.json",
)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class PhotoIndex:
    """An index in memory; its per-descriptor arrays stay on disk (memory-mapped).

    Attributes:
        faiss_index: L2 index of M descriptors; row m is descriptor m below.
        image_names: N file names relative to the photos' folder, in the order of the names without extension.
        image_ids: [M] int32, number of the photo of each descriptor, rising.
        keypoints: [M, 2] float32, (x, y) in pixels of the descriptor's photo.
        provenance: what the index was made from and how.
    """

    faiss_index: faiss.Index
    image_names: List[str]
    image_ids: np.ndarray
    keypoints: np.ndarray
    provenance: Dict[str, Any]

    def __len__(self) -> int:
        """Number of photos."""
        return len(self.image_names)

    @property
    def names(self) -> List[str]:
        """Names as a Ranking gives them: without extension."""
        return [bare_name(name) for name in self.image_names]


def read_provenance(folder: PathLike) -> Dict[str, Any]:
    """What the index folder was made from and how; UserError when the folder is not a finished index."""
    path = require_folder(folder, "--index") / PROVENANCE_FILE
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder}: not an index folder ({path.name}: {error}); make one with eval/build_index.py"
        ) from error


def load_index(folder: PathLike) -> PhotoIndex:
    """Load an index folder; UserError when it is not one, or when its files do not belong together."""
    provenance, folder = read_provenance(folder), Path(folder)
    try:
        index = PhotoIndex(
            faiss_index=faiss.read_index(str(folder / FAISS_FILE)),
            image_names=json.loads((folder / NAMES_FILE).read_text(encoding="utf-8")),
            image_ids=_map_array(folder / IMAGE_IDS_FILE),
            keypoints=_map_array(folder / KEYPOINTS_FILE),
            provenance=provenance,
        )
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{folder}: damaged index ({reason}); make it again with eval/build_index.py --overwrite"
        ) from error
    counts = {index.faiss_index.ntotal, len(index.image_ids), len(index.keypoints), provenance["num_descriptors"]}
    if len(counts) > 1 or len(index) != provenance["num_images"]:
        raise UserError(f"{folder}: files of different indexes; make it again with eval/build_index.py --overwrite")
    logger.info("%s: %d photos, %d descriptors, %s", folder, len(index), max(counts), provenance["index_type"])
    return index


def _map_array(path: Path) -> np.ndarray:
    return np.load(path, mmap_mode="r", allow_pickle=False)
