"""Local features of one photo (reference TF DELF; steps of Noh et al., ICCV 2017, section 3)."""

from dataclasses import dataclass
from typing import Callable, List, Optional, Tuple

import numpy as np

from src.config import Config
from src.errors import UserError
from src.features.keypoints import box_centres, non_max_suppression, receptive_boxes
from src.features.pca import Pca, l2_normalise, project
from src.features.pyramid import MIN_IMAGE_SIDE, normalise, pyramid_levels, resize_image
from src.images import clip_box, crop_box
from src.records import LocalFeatures

RAW_DIMENSION = 1024
# [1, 3, h, w] float32 -> feature map [rows, columns, C] and attention [rows, columns], float32
Network = Callable[[np.ndarray], Tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class ExtractionSettings:
    """How features are taken; the recipe's keys of the same names."""

    image_scales: Tuple[float, ...]
    max_feature_num: int
    score_threshold: Optional[float]
    iou_threshold: float
    max_image_size: int
    min_image_size: int
    pca_dim: int
    use_whitening: bool

    @classmethod
    def from_config(cls, config: Config) -> "ExtractionSettings":
        """The recipe's values."""
        return cls(**{name: getattr(config, name) for name in cls.__dataclass_fields__})


@dataclass(frozen=True, eq=False)
class _Cells:
    """Cells of one pyramid level that pass the threshold: raw descriptors stay in the map until selection."""

    feature_map: np.ndarray  # [rows * columns, C]
    cells: np.ndarray  # [n] row numbers of the map
    boxes: np.ndarray  # [n, 4]
    scores: np.ndarray  # [n]
    scale: float


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
        UserError: the network returns numbers that are not finite, or the PCA does not fit.
    """
    height, width = image.shape[:2]
    resized, (scale_y, scale_x) = resize_image(image, settings.max_image_size, settings.min_image_size)
    levels: List[_Cells] = []
    if min(resized.shape[:2]) >= MIN_IMAGE_SIDE:
        for scale, level in pyramid_levels(normalise(resized), settings.image_scales):
            levels.append(_pass_threshold(*network(level), scale, settings.score_threshold))
    if not sum(len(level.cells) for level in levels):
        return _no_features((width, height), settings.pca_dim if pca else RAW_DIMENSION)

    boxes = np.concatenate([level.boxes for level in levels])
    scores = np.concatenate([level.scores for level in levels])
    scales = np.concatenate([np.full(len(level.cells), 1 / level.scale) for level in levels])
    kept = non_max_suppression(boxes, scores, settings.iou_threshold, settings.max_feature_num)
    raw = _gather(levels, kept)
    return LocalFeatures(
        keypoints=box_centres(boxes[kept])[:, ::-1] / (scale_x, scale_y),
        scales=scales[kept],
        scores=scores[kept],
        descriptors=l2_normalise(raw) if pca is None else project(raw, pca, settings.pca_dim, settings.use_whitening),
        image_size=(width, height),
    )


def extract_region(
    image: np.ndarray,
    box: Optional[Tuple[float, float, float, float]],
    network: Network,
    settings: ExtractionSettings,
    pca: Optional[Pca] = None,
) -> LocalFeatures:
    """Features of the part of a photo inside ``box`` (left, top, right, bottom), or of all of it when None.

    The part is cut out before any resizing; keypoints and image_size still are those of the whole photo.

    Raises:
        UserError: as ``extract``, or the box holds no pixel of the photo.
    """
    if box is None:
        return extract(image, network, settings, pca)
    height, width = image.shape[:2]
    left, top, _, _ = clip_box(box, width, height)
    found = extract(crop_box(image, box), network, settings, pca)
    keypoints = found.keypoints + np.float32([left, top])
    return LocalFeatures(keypoints, found.scales, found.scores, found.descriptors, (width, height))


def _pass_threshold(
    feature_map: np.ndarray, attention: np.ndarray, scale: float, score_threshold: Optional[float]
) -> _Cells:
    if not (np.isfinite(feature_map).all() and np.isfinite(attention).all()):
        raise UserError("the network returns numbers that are not finite: the checkpoint's training diverged")
    rows, columns, channels = feature_map.shape
    scores = attention.reshape(-1)
    cells = np.arange(len(scores)) if score_threshold is None else np.flatnonzero(scores >= score_threshold)
    boxes = receptive_boxes(rows, columns, scale)[cells]
    return _Cells(feature_map.reshape(-1, channels), cells, boxes, scores[cells], scale)


def _gather(levels: List[_Cells], kept: np.ndarray) -> np.ndarray:
    """Raw descriptors [N, C] of the ``kept`` positions in the concatenation of all levels."""
    raw = np.empty((len(kept), levels[0].feature_map.shape[1]), np.float32)
    start = 0
    for level in levels:
        here = (kept >= start) & (kept < start + len(level.cells))
        raw[here] = level.feature_map[level.cells[kept[here] - start]]
        start += len(level.cells)
    return raw


def _no_features(image_size: Tuple[int, int], dimension: int) -> LocalFeatures:
    empty = np.zeros(0, np.float32)
    return LocalFeatures(np.zeros((0, 2)), empty, empty, np.zeros((0, dimension)), image_size)
