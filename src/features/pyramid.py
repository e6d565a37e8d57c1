"""From a photo to the inputs of the network: size limits, normalisation, pyramid levels."""

from typing import Iterator, Optional, Sequence, Tuple

import cv2
import numpy as np
from PIL import Image

from ..errors import UserError

PIXEL_OFFSET = 128.0
PIXEL_SCALE = 128.0
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

    Returns:
        The photo and its scale factors (vertical, horizontal): new side / old side.

    Raises:
        ValueError: a negative resize_factor, or not three channels.
    """
    if resize_factor < 0:
        raise ValueError(f"resize_factor is {resize_factor}; it must not be negative")
    if image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image is {image.shape}, not [H, W, 3]")
    height, width = photo_sides or image.shape[:2]
    longest = max(height, width)
    maximum, minimum = max_image_size * resize_factor, min_image_size * resize_factor
    scale = 1.0
    if 0 <= maximum < longest:
        scale = maximum / longest
    elif longest < minimum:
        scale = minimum / longest
    sides = (longest, longest) if use_square_images else (height, width)
    new_height, new_width = (max(round(side * scale), 1) for side in sides)  # Python rounds halves to even
    if (new_height, new_width) != image.shape[:2]:
        image = np.array(Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BILINEAR))
    return image, (new_height / height, new_width / width)


def normalise(image: np.ndarray, offset: float = PIXEL_OFFSET, scale: float = PIXEL_SCALE) -> np.ndarray:
    """(image - offset) / scale as float32, shape kept."""
    normalised = image.astype(np.float32)
    normalised -= np.float32(offset)
    normalised /= np.float32(scale)
    return normalised


def level_size(side: int, scale: float) -> int:
    """Side of a pyramid level in pixels: the float32 product rounded half to even (reference TF DELF)."""
    return int(np.rint(np.float32(side) * np.float32(scale)))


def require_affordable(height: int, width: int, scales: Sequence[float]) -> None:
    """UserError when the largest pyramid level of a photo has more than MAX_LEVEL_PIXELS pixels."""
    scale = max(scales)
    level = level_size(width, scale), level_size(height, scale)
    if level[0] * level[1] > MAX_LEVEL_PIXELS:
        side = int(0.99 * max(height, width) * (MAX_LEVEL_PIXELS / (level[0] * level[1])) ** 0.5)
        raise UserError(
            f"its pyramid level of scale {scale:g} has {level[0]} x {level[1]} pixels, for which the network needs too "
            f"much memory; give `max_image_size` {side} or less"
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
