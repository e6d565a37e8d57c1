"""From a photo to the inputs of the network, and from the cells of its feature maps to keypoints.

Boxes are [N, 4] float64 (top, left, bottom, right), pixels, continuous: the area is (bottom - top) * (right - left).
"""

from typing import Iterator, Optional, Sequence, Tuple

import cv2
import numpy as np
from PIL import Image

from ..errors import UserError
from ..model.architectures import PerChannel, ReceptiveField

MIN_IMAGE_SIDE = 10  # resized photos smaller than this have no features (reference TF DELF)
MIN_LEVEL_SIDE = 5  # least side that leaves conv4 one cell; smaller levels are skipped
MAX_LEVEL_PIXELS = 2**24  # the network takes 140 (OpenVINO) to 270 (MindSpore) bytes for each: 2.4 to 4.5 GB


def resize_image(
    image: np.ndarray,
    max_image_size: float = -1,
    min_image_size: float = -1,
    resize_factor: float = 1.0,
    use_square_images: bool = False,
    photo_sides: Optional[Tuple[int, int]] = None,
    photo_longest: int = 0,
) -> Tuple[np.ndarray, Tuple[float, float]]:
    """Bring the longer side of a photo within limits (reference TF DELF, ResizeImage), with Pillow's bilinear filter.

    Args:
        image: [H, W, 3] uint8.
        max_image_size: a longer side above this is shrunk to it, pixels; negative = no limit.
        min_image_size: a longer side below this is enlarged to it, pixels; negative = no limit.
        resize_factor: factor on both limits, >= 0.
        use_square_images: stretch to a square of the longer side.
        photo_sides: (height, width) of the photo when ``image`` is a reduced decoding of it; limits and scale factors
            are the photo's.
        photo_longest: longer side of the whole photo when ``image`` is cut out of it: it is resized as that would be;
            0 = ``image`` is the whole photo.

    Returns:
        The photo and its scale factors (vertical, horizontal): new side / old side.

    Raises:
        ValueError: a negative resize_factor, or not three channels.
    """
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.shape}, not [H, W, 3]")
    height, width = photo_sides or image.shape[:2]
    new_height, new_width = resized_sides(
        height, width, max_image_size, min_image_size, resize_factor, use_square_images, photo_longest
    )
    if (new_height, new_width) != image.shape[:2]:
        image = np.array(Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BILINEAR))
    return image, (new_height / height, new_width / width)


def resized_sides(
    height: int,
    width: int,
    max_image_size: float = -1,
    min_image_size: float = -1,
    resize_factor: float = 1.0,
    use_square_images: bool = False,
    photo_longest: int = 0,
) -> Tuple[int, int]:
    """(height, width) that ``resize_image`` gives a photo; arguments and errors are its own."""
    if resize_factor < 0:
        raise ValueError(f"resize_factor is {resize_factor}; it must not be negative")
    longest = photo_longest or max(height, width)
    maximum, minimum = max_image_size * resize_factor, min_image_size * resize_factor
    scale = 1.0
    if 0 <= maximum < longest:
        scale = maximum / longest
    elif longest < minimum:
        scale = minimum / longest
    sides = (max(height, width),) * 2 if use_square_images else (height, width)
    new_height, new_width = (max(round(side * scale), 1) for side in sides)  # Python rounds halves to even
    return new_height, new_width


def normalise(image: np.ndarray, offset: PerChannel, scale: PerChannel) -> np.ndarray:
    """(image - offset) / scale as float32, shape kept; offset and scale may differ by channel."""
    normalised = image.astype(np.float32)
    normalised -= np.float32(offset)
    normalised /= np.float32(scale)
    return normalised


def level_size(side: int, scale: float) -> int:
    """Side of a pyramid level in pixels: the float32 product rounded half to even (reference TF DELF)."""
    return int(np.rint(np.float32(side) * np.float32(scale)))


def require_affordable(
    height: int, width: int, scales: Sequence[float], photo_side: int = 0, resize_factor: float = 1.0
) -> None:
    """UserError when the largest pyramid level of a photo has more than MAX_LEVEL_PIXELS pixels.

    Args:
        height, width: of the resized photo.
        scales: of the pyramid.
        photo_side: longer side of the photo, or of its cut-out, before it was resized, 0 = it was not.
        resize_factor: side, in units of the limit that the error proposes.
    """
    scale = max(scales)
    level = level_size(width, scale), level_size(height, scale)
    if level[0] * level[1] > MAX_LEVEL_PIXELS:
        side = int(0.99 * max(height, width) * (MAX_LEVEL_PIXELS / (level[0] * level[1])) ** 0.5)
        limit = "min_image_size" if 0 < photo_side <= side else "max_image_size"  # what made it too large
        raise UserError(
            f"its pyramid level of scale {scale:g} has {level[0]} x {level[1]} pixels, for which the network needs too "
            f"much memory; give `{limit}` {max(int(side / resize_factor), 1)} or less"
        )


def pyramid_levels(image: np.ndarray, scales: Sequence[float]) -> Iterator[Tuple[float, np.ndarray]]:
    """Levels of a normalised photo [H, W, 3] float32, one at a time: (scale, [1, 3, h, w] float32).

    Bilinear with half-pixel centres and no antialiasing, as tf.image.resize; no padding. Levels with a side under
    MIN_LEVEL_SIDE are left out.
    """
    height, width = image.shape[:2]
    for scale in scales:
        size = (level_size(width, scale), level_size(height, scale))
        if min(size) < MIN_LEVEL_SIDE:
            continue
        level = image if size == (width, height) else cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        yield scale, np.ascontiguousarray(level.transpose(2, 0, 1)[None])


def receptive_boxes(height: int, width: int, scale: float, field: ReceptiveField) -> np.ndarray:
    """Receptive fields of a feature map's cells, row by row, in pixels of the photo before the pyramid.

    Args:
        height, width: of the feature map, cells.
        scale: of the pyramid level.
        field: of the network.
    """
    rows, columns = np.divmod(np.arange(height * width), width)
    corners = field.stride * np.stack([rows, columns], axis=1).astype(np.float64) - field.padding
    return np.concatenate([corners, corners + (field.size - 1)], axis=1) / scale


def box_centres(boxes: np.ndarray) -> np.ndarray:
    """Centres [N, 2] (y, x); for ResNet's receptive fields exactly stride * (row, column) / scale."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """Areas [N]."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def intersections(boxes_a: np.ndarray, boxes_b: np.ndarray) -> np.ndarray:
    """Areas [A, B] common to each pair of boxes."""
    top_left = np.maximum(boxes_a[:, None, :2], boxes_b[None, :, :2])
    bottom_right = np.minimum(boxes_a[:, None, 2:], boxes_b[None, :, 2:])
    return np.clip(bottom_right - top_left, 0, None).prod(axis=2)


def intersections_over_unions(boxes_a: np.ndarray, boxes_b: np.ndarray) -> np.ndarray:
    """IoU [A, B] of each pair of boxes; 0 where the boxes do not meet or have no area."""
    common = intersections(boxes_a, boxes_b)
    unions = box_areas(boxes_a)[:, None] + box_areas(boxes_b)[None, :] - common
    return np.divide(common, unions, out=np.zeros_like(common), where=common > 0)


def non_max_suppression(boxes: np.ndarray, scores: np.ndarray, iou_threshold: float, max_count: int) -> np.ndarray:
    """Greedy non-maximum suppression.

    Args:
        boxes: [N, 4].
        scores: [N]; equal scores go to the lower index.
        iou_threshold: a box that overlaps a kept one by more is dropped; 1 = plain top-k.
        max_count: boxes kept at most.

    Returns:
        Indices of the kept boxes, int64, scores falling.
    """
    order = np.argsort(-np.asarray(scores), kind="stable")
    if iou_threshold >= 1.0:
        return order[:max_count]
    kept = []
    while len(order) and len(kept) < max_count:
        best, order = order[0], order[1:]
        kept.append(best)
        overlaps = intersections_over_unions(boxes[best : best + 1], boxes[order])[0]
        order = order[overlaps <= iou_threshold]
    return np.array(kept, dtype=np.int64)


def interpolation(positions: np.ndarray, count: int) -> np.ndarray:
    """Linear interpolation as a matrix [N, count]: rows sum to 1, positions outside take the first or last value."""
    positions = np.clip(positions, 0, count - 1)
    return np.clip(1 - np.abs(positions[:, None] - np.arange(count)), 0, None).astype(np.float32)
