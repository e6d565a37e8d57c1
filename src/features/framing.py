"""What the network sees of a photo: the part inside a box, resized, and where its pixels lie in the photo."""

from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

import numpy as np

from ..config import ExtractionConfig
from ..images import LoadedPhoto, clip_box
from ..model.architectures import Architecture
from .pyramid import MIN_IMAGE_SIDE, normalise, pyramid_levels, require_affordable, resize_image, resized_sides

Level = Tuple[float, np.ndarray]  # scale, and the input of the network [1, 3, h, w] float32


@dataclass(frozen=True)
class Frame:
    """Where the pixels that the network sees lie in the photo.

    Attributes:
        image_size: (width, height) of the photo.
        offset: (x, y) in the photo of the cut-out's corner.
        factors: (x, y) sides after resizing / sides of the cut-out.
        resize_factor: longer side of the whole photo after resizing / before.
    """

    image_size: Tuple[int, int]
    offset: Tuple[int, int]
    factors: Tuple[float, float]
    resize_factor: float


def sufficient_side(extraction: ExtractionConfig) -> int:
    """Longer side that every photo is shrunk to, pixels; 0 = all pixels are needed."""
    limit = extraction.max_image_size * extraction.resize_factor
    return max(int(limit), 1) if limit > 0 else 0


def frame_photo(
    photo: LoadedPhoto,
    box: Optional[Sequence[float]],
    extraction: ExtractionConfig,
    scales: Sequence[float],
    as_whole: bool = True,
) -> Tuple[Optional[np.ndarray], Frame]:
    """Cut out and resize; a photo decoded reduced must come without a box.

    Args:
        photo: as it was read.
        box: (left, top, right, bottom) of what is cut out, pixels; None = the whole photo.
        extraction: gives the limits of the size.
        scales: of the pyramid that follows.
        as_whole: what is cut out is resized with the factor that the whole photo would get, so that a query keeps its
            size beside the photos of the index; otherwise as a photo of its own.

    Returns:
        [h, w, 3] uint8, None when a side would be under MIN_IMAGE_SIDE; and where it lies.

    Raises:
        UserError: the box holds no pixel of the photo, or the photo is too large for the network.
    """
    (width, height), factor = photo.size, extraction.resize_factor
    left, top, right, bottom = (0, 0, width, height) if box is None else clip_box(box, width, height)
    sides = (bottom - top, right - left)
    framed = (height, width) if as_whole else sides  # what is resized as one
    longest = max(framed)
    limits = extraction.max_image_size, extraction.min_image_size, factor, extraction.use_square_images
    wanted = resized_sides(*sides, *limits, longest)
    seen = min(wanted) >= MIN_IMAGE_SIDE
    if seen:  # checked before the photo is enlarged
        require_affordable(*wanted, scales, max(sides), factor * max(sides) / longest)
    cut = photo.pixels if box is None else photo.pixels[top:bottom, left:right]
    resized, (scale_y, scale_x) = resize_image(cut, *limits, sides, longest)
    whole = max(resized_sides(*framed, *limits))
    return resized if seen else None, Frame((width, height), (left, top), (scale_x, scale_y), whole / longest)


def levels_of(image: Optional[np.ndarray], architecture: Architecture, scales: Sequence[float]) -> List[Level]:
    """The pyramid of an image of ``frame_photo`` as the architecture takes it; none of None."""
    if image is None:
        return []
    normalised = normalise(image, architecture.pixel_offset, architecture.pixel_scale)
    return list(pyramid_levels(normalised, scales))
