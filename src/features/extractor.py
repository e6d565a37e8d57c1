"""Local features of one photo (reference TF DELF; steps of Noh et al., ICCV 2017, section 3).

Three steps, each a function of its own because a pipeline runs them at the same time on different photos: ``prepare``
makes the inputs of the network, ``run_network`` its outputs, ``select`` the features.
"""

from dataclasses import dataclass
from typing import Callable, List, Optional, Tuple

import numpy as np

from ..config import Config
from ..errors import UserError
from ..images import clip_box
from ..records import LocalFeatures
from .keypoints import box_centres, non_max_suppression, receptive_boxes
from .pca import Pca, l2_normalise, project
from .pyramid import MIN_IMAGE_SIDE, normalise, pyramid_levels, require_affordable, resize_image

RAW_DIMENSION = 1024
# [1, 3, h, w] float32 -> feature map [rows, columns, C] and attention [rows, columns], float32; the arrays are the
# caller's to keep: a later call must not write into them
Network = Callable[[np.ndarray], Tuple[np.ndarray, np.ndarray]]
Box = Tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class ExtractionSettings:
    """How features are taken; the recipe's keys of the same names."""

    image_scales: Tuple[float, ...]
    max_feature_num: int
    score_threshold: Optional[float]
    iou_threshold: float
    max_image_size: int
    min_image_size: int
    resize_factor: float
    use_square_images: bool
    pca_dim: int
    use_whitening: bool

    @classmethod
    def from_config(cls, config: Config) -> "ExtractionSettings":
        """The recipe's values."""
        return cls(**{name: getattr(config, name) for name in cls.__dataclass_fields__})

    @property
    def sufficient_side(self) -> int:
        """Longer side that every photo is shrunk to, pixels, so that no more need be decoded; 0 = no limit."""
        limit = self.max_image_size * self.resize_factor
        return max(int(limit), 1) if limit > 0 else 0


@dataclass(frozen=True)
class Frame:
    """Where the pixels that the network sees lie in the photo.

    Attributes:
        image_size: (width, height) of the photo.
        offset: (x, y) in the photo of the cut-out's corner.
        factors: (x, y) sides after resizing / sides of the cut-out.
    """

    image_size: Tuple[int, int]
    offset: Tuple[int, int]
    factors: Tuple[float, float]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A photo ready for the network: (scale, [1, 3, h, w] float32) of each pyramid level, and where they lie."""

    levels: List[Tuple[float, np.ndarray]]
    frame: Frame


@dataclass(frozen=True, eq=False)
class LevelMaps:
    """What the network makes of a level: feature map [rows, columns, C] and attention [rows, columns]."""

    scale: float
    feature_map: np.ndarray
    attention: np.ndarray


def extract(
    image: np.ndarray, network: Network, settings: ExtractionSettings, pca: Optional[Pca] = None
) -> LocalFeatures:
    """Features of a photo [H, W, 3] uint8 RGB.

    Args:
        image: the photo.
        network: see ``Network``.
        settings: pyramid, selection and PCA.
        pca: projects the descriptors; None keeps them raw (L2-normalised, as long as the map's channels).

    Returns:
        Features, scores falling; keypoints (x, y) in pixels of ``image``, scales 1 / pyramid scale.

    Raises:
        UserError: the photo is too large for the network, which returns numbers that are not finite, or the PCA does
            not fit.
    """
    return extract_region(image, None, network, settings, pca)


def extract_region(
    image: np.ndarray,
    box: Optional[Box],
    network: Network,
    settings: ExtractionSettings,
    pca: Optional[Pca] = None,
) -> LocalFeatures:
    """Features of the part of a photo inside ``box`` (left, top, right, bottom), or of all of it when None.

    The part is cut out before any resizing; keypoints and image_size still are those of the whole photo.

    Raises:
        UserError: as ``extract``, or the box holds no pixel of the photo.
    """
    prepared = prepare(image, settings, box)
    return select(run_network(prepared, network), prepared.frame, settings, pca)


def prepare(
    image: np.ndarray,
    settings: ExtractionSettings,
    box: Optional[Box] = None,
    image_size: Optional[Tuple[int, int]] = None,
) -> Prepared:
    """Cut out, resize, normalise, and make the pyramid.

    Args:
        image: [h, w, 3] uint8 RGB.
        settings: size limits and scales.
        box: the part to cut out, pixels; None = all.
        image_size: (width, height) of the photo; needed when ``image`` is a reduced decoding of it, without a box.

    Raises:
        UserError: the box holds no pixel of the photo, or the photo is too large for the network.
    """
    width, height = image_size or image.shape[1::-1]
    left, top, right, bottom = (0, 0, width, height) if box is None else clip_box(box, width, height)
    resized, (scale_y, scale_x) = resize_image(
        image if box is None else image[top:bottom, left:right],
        settings.max_image_size,
        settings.min_image_size,
        settings.resize_factor,
        settings.use_square_images,
        (bottom - top, right - left),
    )
    levels = []
    if min(resized.shape[:2]) >= MIN_IMAGE_SIDE:
        require_affordable(*resized.shape[:2], settings.image_scales)
        levels = list(pyramid_levels(normalise(resized), settings.image_scales))
    return Prepared(levels, Frame((width, height), (left, top), (scale_x, scale_y)))


def run_network(prepared: Prepared, network: Network) -> List[LevelMaps]:
    """The network's outputs for each level of a photo."""
    return [LevelMaps(scale, *network(level)) for scale, level in prepared.levels]


def select(
    levels: List[LevelMaps], frame: Frame, settings: ExtractionSettings, pca: Optional[Pca] = None
) -> LocalFeatures:
    """Choose the cells that become features, and take their descriptors from the maps.

    Raises:
        UserError: a number of the maps is not finite, or the PCA does not fit.
    """
    cells = [_passing_cells(level, settings.score_threshold) for level in levels]
    if not sum(map(len, cells)):
        return _no_features(frame.image_size, settings.pca_dim if pca else RAW_DIMENSION)
    boxes = np.concatenate(
        [receptive_boxes(*level.attention.shape, level.scale)[own] for level, own in zip(levels, cells)]
    )
    scores = np.concatenate([level.attention.reshape(-1)[own] for level, own in zip(levels, cells)])
    scales = np.concatenate([np.full(len(own), 1 / level.scale) for level, own in zip(levels, cells)])
    kept = non_max_suppression(boxes, scores, settings.iou_threshold, settings.max_feature_num)
    raw = _gather(levels, cells, kept)
    return LocalFeatures(
        keypoints=box_centres(boxes[kept])[:, ::-1] / frame.factors + frame.offset,
        scales=scales[kept],
        scores=scores[kept],
        descriptors=l2_normalise(raw) if pca is None else project(raw, pca, settings.pca_dim, settings.use_whitening),
        image_size=frame.image_size,
    )


def _passing_cells(level: LevelMaps, score_threshold: Optional[float]) -> np.ndarray:
    """Numbers, row by row, of the cells whose score reaches the threshold."""
    scores = level.attention.reshape(-1)
    _require_finite(scores)
    return np.arange(len(scores)) if score_threshold is None else np.flatnonzero(scores >= score_threshold)


def _gather(levels: List[LevelMaps], cells: List[np.ndarray], kept: np.ndarray) -> np.ndarray:
    """Raw descriptors [N, C] of the ``kept`` positions in the concatenation of all levels' ``cells``."""
    raw = np.empty((len(kept), levels[0].feature_map.shape[2]), np.float32)
    start = 0
    for level, own in zip(levels, cells):
        here = (kept >= start) & (kept < start + len(own))
        rows, columns = np.divmod(own[kept[here] - start], level.feature_map.shape[1])
        raw[here] = level.feature_map[rows, columns]
        start += len(own)
    _require_finite(raw)
    return raw


def _require_finite(numbers: np.ndarray) -> None:
    if not np.isfinite(numbers).all():
        raise UserError("the network returns numbers that are not finite: the checkpoint's training diverged")


def _no_features(image_size: Tuple[int, int], dimension: int) -> LocalFeatures:
    empty = np.zeros(0, np.float32)
    return LocalFeatures(np.zeros((0, 2)), empty, empty, np.zeros((0, dimension)), image_size)
