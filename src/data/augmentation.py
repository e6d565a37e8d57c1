"""From a JPEG to what the network is fed, a random crop for training, the whole photo for validation; and back."""

from typing import Sequence, Tuple

import cv2
import numpy as np

from ..artifacts import PathLike, atomic_path
from ..images import MAX_PIXELS
from .jpeg import read_header

ASPECT_RANGE = (3 / 4, 4 / 3)
# The reference asks that a crop cover a tenth of its object, the whole photo: crops of 8-10 % are drawn, then refused.
MIN_OBJECT_COVERED = 0.1
MAX_ATTEMPTS = 100


def decode_jpeg(data: bytes) -> np.ndarray:
    """Decode to [H, W, 3] uint8 RGB, grey photos too, upright as EXIF says; ValueError when it is no JPEG of ours."""
    header = read_header(data)
    if header is None or header.width * header.height > MAX_PIXELS:  # OpenCV would decode any format, of any size
        raise ValueError("not a readable JPEG")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        raise ValueError("not a readable JPEG")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def random_box(
    width: int, height: int, generator: np.random.Generator, min_area: float = 0.08
) -> Tuple[int, int, int, int]:
    """Draw a crop as the reference TF DELF does (``sample_distorted_bounding_box`` over the whole photo).

    The aspect ratio (width / height) is uniform in 3/4..4/3, then the crop's height is uniform between those of the
    smallest area (``min_area`` of the photo's) and the largest that fits; after 100 refused draws the whole photo is
    taken.

    Returns:
        left, top, width, height in pixels of the photo.
    """
    area = width * height
    for _ in range(MAX_ATTEMPTS):
        aspect = generator.uniform(*ASPECT_RANGE)
        tallest = min(height, round((area / aspect) ** 0.5), int((width + 0.5) / aspect))
        shortest = min(tallest, round((area * min_area / aspect) ** 0.5))
        crop_height = int(generator.integers(shortest, tallest + 1))
        crop_width = round(crop_height * aspect)
        if 0 < crop_width <= width and crop_width * crop_height >= MIN_OBJECT_COVERED * area:
            left = int(generator.integers(0, width - crop_width + 1))
            top = int(generator.integers(0, height - crop_height + 1))
            return left, top, crop_width, crop_height
    return 0, 0, width, height


def resize_area(image: np.ndarray, size: int) -> np.ndarray:
    """Resize [H, W, 3] float32 to [size, size, 3]: each new pixel is the mean of the area it covers (TF's "area")."""
    height, width = image.shape[:2]
    if (height > size) != (width > size):  # OpenCV averages areas only when both sides shrink, or both grow
        image = cv2.resize(image, (size, height), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)


def _to_network(image: np.ndarray) -> np.ndarray:
    return ((image - 128.0) / 128.0).transpose(2, 0, 1)


def random_crop(data: bytes, size: int, generator: np.random.Generator, min_area: float = 0.08) -> np.ndarray:
    """A random crop of a JPEG as [3, size, size] float32, (RGB - 128) / 128; no flip, no change of colour."""
    image = decode_jpeg(data)
    left, top, width, height = random_box(image.shape[1], image.shape[0], generator, min_area)
    return _to_network(resize_area(image[top : top + height, left : left + width].astype(np.float32), size))


def whole_photo(data: bytes, size: int) -> np.ndarray:
    """The whole photo, squeezed bilinearly into [3, size, size] float32, (RGB - 128) / 128."""
    image = decode_jpeg(data).astype(np.float32)
    return _to_network(cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR))


def draw_images(images: np.ndarray, captions: Sequence[str], path: PathLike) -> None:
    """Write what the network is fed, [B, 3, S, S] in (RGB - 128) / 128, as a PNG grid, a caption over each."""
    from matplotlib.figure import Figure

    columns = min(8, len(images))
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(2 * columns, 2.3 * rows), layout="constrained")
    for cell, axes in enumerate(np.atleast_1d(figure.subplots(rows, columns)).ravel()):
        axes.axis("off")
        if cell < len(images):
            axes.imshow(np.clip(images[cell].transpose(1, 2, 0) * 128 + 128, 0, 255).astype(np.uint8))
            axes.set_title(captions[cell], fontsize=7)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
