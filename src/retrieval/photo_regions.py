"""The regions of index photos, whose local features are aggregated apart; a query is aggregated as a whole.

As Teichmann et al. (CVPR 2019) have it, the whole photo is always one of them. They extract the features of each box
anew, enlarged; here a region has those of the photo that lie in it.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Dict, List, Mapping, Optional, Protocol, Sequence

import numpy as np

from ..artifacts import PathLike
from ..config import RetrievalConfig
from ..features.boxes import PhotoBoxes, inside
from ..features.regions import region_grid
from ..records import LocalFeatures, Provenance
from .aggregation import Words, join_regions, sum_residuals
from .codebook import Codebook

GRID, BOXES = "grid", "boxes"


def describe_regions(retrieval: RetrievalConfig, searcher: str) -> Dict[str, Any]:
    """The settings of an index that say which regions its photos have; none where there are none."""
    kind = retrieval.regions
    if kind == GRID:
        settings: Dict[str, Any] = {"regions": kind, "region_levels": retrieval.region_levels}
    elif kind == BOXES:
        settings = {"regions": kind, "least_box_score": retrieval.least_box_score}
    else:
        return {}
    return {**settings, "region_search": True} if retrieval.region_search and searcher != "vlad" else settings


def searches_regions(settings: Mapping[str, Any]) -> bool:
    """Whether each region is an entry of the index, by the settings of that."""
    return bool(settings.get("region_search"))


class PhotoRegions:
    """The regions of some photos.

    Args:
        settings: of the index, as ``describe_regions``.
        names: of the photos.
        boxes_path: table of their boxes, for regions of boxes.

    Raises:
        UserError: as of ``PhotoBoxes``.
    """

    def __init__(self, settings: Mapping[str, Any], names: Sequence[str], boxes_path: PathLike = "") -> None:
        self._levels = settings.get("region_levels", 0)
        self._boxes: Optional[PhotoBoxes] = None
        if settings["regions"] == BOXES:
            self._boxes = PhotoBoxes(boxes_path, names, settings["least_box_score"])

    def members(self, name: str, features: LocalFeatures) -> np.ndarray:
        """[R, N] bool, which features of a photo lie in which region; the first is the whole photo.

        Raises:
            UserError: as of ``PhotoBoxes.of``.
        """
        width, height = features.image_size
        if self._boxes is not None:
            boxes = self._boxes.of(name, features.image_size)
        else:
            boxes = region_grid(height, width, self._levels)
            boxes = boxes[(boxes != (0, 0, width, height)).any(axis=1)]  # of a square photo
        whole = np.ones((1, len(features)), bool)
        return np.concatenate([whole, inside(features.keypoints, boxes)])


class Regional(Protocol):
    """An index whose photos may have regions."""

    provenance: Provenance
    regions: Optional[PhotoRegions]


def members_of(index: Regional, name: str, features: LocalFeatures) -> Optional[np.ndarray]:
    """As ``PhotoRegions.members``, of a photo that is added to an index; None where its photos have no regions."""
    if index.regions is None and "regions" in index.provenance.settings:
        raise ValueError("the regions of the photos are not known")
    return None if index.regions is None else index.regions.members(name, features)


def sums_of_regions(
    codebook: Codebook,
    features: LocalFeatures,
    assignments: int,
    pool: Optional[ThreadPoolExecutor] = None,
    members: Optional[np.ndarray] = None,
) -> List[Words]:
    """The sums of residuals of each region.

    Args:
        codebook: its words.
        features: of a photo.
        assignments: nearest words in which each descriptor counts.
        pool: threads that find them; None = this thread.
        members: [R, N] bool, which features lie in which region; None = the whole photo is the only one.
    """
    assigned = codebook.assign(features.descriptors, assignments, pool)
    if members is None:
        return [sum_residuals(features.descriptors, codebook.words, assigned)]
    return [sum_residuals(features.descriptors[rows], codebook.words, assigned[rows]) for rows in members]


def joined(sums: List[Words]) -> List[Words]:
    """The sums of the regions of a photo as those of the photo: one of them."""
    return [join_regions(sums)] if len(sums) > 1 else sums
