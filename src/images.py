"""A photo from disk to 8-bit RGB, and the part of it inside a box."""

import logging
import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import List, Sequence, Tuple

import numpy as np
from PIL import Image, ImageFile

from .artifacts import PathLike, require_folder
from .errors import UserError
from .names import PHOTO_SUFFIXES

logger = logging.getLogger(__name__)

MAX_PIXELS = 2**28  # 16384 x 16384: 0.8 GB as RGB
HUGE_PIXELS = 50_000_000  # above this a photo may be decoded reduced
_ORIENTATION = 0x0112  # EXIF tag
_UPRIGHT = {  # EXIF orientation -> what turns the stored photo upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


class _Tolerance(threading.local):
    """Pillow's switch for truncated photos, which is one for the whole process, as one for each thread."""

    on = False

    def __bool__(self) -> bool:
        return self.on


_tolerance = _Tolerance()
_one_huge_photo = threading.Lock()  # decoded at a time: each may take a GB


@dataclass(frozen=True, eq=False)
class LoadedPhoto:
    """A photo as it was read.

    Attributes:
        pixels: [h, w, 3] uint8 RGB, upright; fewer than ``size`` says when the photo was decoded reduced.
        size: (width, height) of the upright photo.
        orientation: EXIF orientation of the file, 1 to 8; it is applied to ``pixels``.
        truncated: the file is cut short or damaged, what is missing is blank.
    """

    pixels: np.ndarray
    size: Tuple[int, int]
    orientation: int = 1
    truncated: bool = False


def load_image(path: PathLike) -> np.ndarray:
    """All pixels of a photo, [H, W, 3] uint8 RGB, upright; see ``load_photo``."""
    return load_photo(path).pixels


def load_photo(path: PathLike, sufficient_side: int = 0) -> LoadedPhoto:
    """Read a photo.

    EXIF orientation is applied, transparency laid on white, 16-bit greys scaled to 8, everything else converted as
    Pillow does. A truncated photo is used as far as it goes, with a warning. Pillow's own limit on the number of pixels
    is replaced by MAX_PIXELS, checked on the header before any pixel is decoded.

    Args:
        path: the file; its format is told by its content, not by its name.
        sufficient_side: longer side, pixels, that the caller will shrink to anyway; 0 = every pixel is needed. Only
            photos of more than HUGE_PIXELS are then reduced, to at least twice that side: JPEG while decoding, so that
            memory is bounded by ``sufficient_side``, other formats at once after it.

    Raises:
        UserError: the file cannot be read, is no photo, or has more than MAX_PIXELS pixels.
    """
    try:
        try:
            return _decode(path, sufficient_side)
        except (OSError, SyntaxError) as error:
            if not _may_be_truncated(error):
                raise
        _tolerance.on = True
        try:
            photo = _decode(path, sufficient_side)
        finally:
            _tolerance.on = False
        logger.warning("%s: truncated or damaged; the missing part is blank", path)
        return photo
    except UserError:
        raise
    except Exception as error:  # decoders raise anything on damaged files: OSError, SyntaxError, struct.error, ...
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        if "cannot identify image file" in reason:
            reason = "not an image, or an empty file"
        raise UserError(f"{path}: cannot be read as a photo ({reason})") from error


def photo_of_image(image: Image.Image) -> LoadedPhoto:
    """A PIL image as ``load_photo`` gives a file's; UserError when it cannot be decoded."""
    try:
        return _finish(image, image.size, 0)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"a PIL image of mode {image.mode} cannot be read as a photo ({error})") from error


def _may_be_truncated(error: Exception) -> bool:
    return not isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, Image.UnidentifiedImageError))


def _decode(path: PathLike, sufficient_side: int) -> LoadedPhoto:
    Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS below takes its place
    ImageFile.LOAD_TRUNCATED_IMAGES = _tolerance
    with Image.open(path) as image:
        size = image.size
        if size[0] * size[1] > MAX_PIXELS:
            limit = f"the limit is {MAX_PIXELS / 1e6:.0f} megapixels"
            raise UserError(f"{path}: {size[0]} x {size[1]} pixels; {limit}, shrink the photo")
        if size[0] * size[1] <= HUGE_PIXELS:
            return _finish(image, size, 0)
        with _one_huge_photo:
            return _finish(image, size, 2 * sufficient_side)


def _finish(image: Image.Image, size: Tuple[int, int], least_side: int) -> LoadedPhoto:
    """Decode, reduce to no less than ``least_side`` (0 = not at all), convert and turn upright."""
    if 0 < least_side < max(size):
        image.draft(None, tuple(-(-side * least_side // max(size)) for side in size))  # does nothing but for JPEG
    image.load()
    orientation = _orientation(image)
    rgb = _to_rgb(image)
    reduction = max(rgb.size) // least_side if least_side else 1
    if reduction > 1:
        rgb = rgb.reduce(reduction)
    if orientation in _UPRIGHT:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    truncated = bool(_tolerance)
    return LoadedPhoto(np.array(rgb), size[::-1] if orientation >= 5 else size, orientation, truncated)


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception as error:  # a damaged EXIF block must not cost the photo
        logger.warning("EXIF orientation ignored (%s)", error)
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip instead of scale
        grey = np.clip(np.asarray(image), 0, 65535).astype(np.int32)
        image = Image.fromarray(((grey + 128) // 257).astype(np.uint8))  # the nearest to grey / 257
    elif image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def list_images(folder: PathLike) -> List[str]:
    """Photos, by their names (PHOTO_SUFFIXES in any case), in ``folder`` and below, hidden ones left out.

    Returns:
        Sorted paths relative to ``folder``, with '/' between folders.

    Raises:
        UserError: no such folder, or no photo in it.
    """
    root = require_folder(folder, "folder of photos")
    names = []
    for parent, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in files:
            if file.lower().endswith(PHOTO_SUFFIXES) and not file.startswith("."):
                names.append((Path(parent) / file).relative_to(root).as_posix())
    if not names:
        raise UserError(f"{folder}: no photo in this folder (looked for {', '.join(PHOTO_SUFFIXES)})")
    return sorted(names)


def clip_box(box: Sequence[float], width: int, height: int) -> Tuple[int, int, int, int]:
    """(left, top, right, bottom) rounded half to even (as the reference), then clipped to a width x height photo.

    Right and bottom are exclusive.

    Raises:
        UserError: nothing of the photo is inside.
    """
    left, top, right, bottom = (round(float(number)) for number in box)
    clipped = (max(left, 0), max(top, 0), min(right, width), min(bottom, height))
    if clipped[0] >= clipped[2] or clipped[1] >= clipped[3]:
        raise UserError(f"box {[left, top, right, bottom]} holds no pixel of the {width} x {height} photo")
    return clipped


def photo_of_array(image: np.ndarray) -> LoadedPhoto:
    """A photo given as numbers: RGB [H, W, 3] or grey [H, W], uint8, or floats from 0 to 1 or from 0 to 255.

    Floats count as 0 to 1 when none is above 1, else as 0 to 255; they are rounded to the nearest of 256 steps.

    Raises:
        UserError: another shape or type, or numbers outside the range.
    """
    shaped = image.ndim in (2, 3) and (image.ndim == 2 or image.shape[2] == 3) and image.size
    if not shaped or not (image.dtype == np.uint8 or image.dtype.kind == "f"):
        fact = f"an image is [H, W, 3] or [H, W], uint8 or float, not {list(image.shape)} {image.dtype}"
        raise UserError(f"{fact}; convert it, or give the path of its file")
    if image.dtype != np.uint8:
        if not (np.isfinite(image).all() and 0 <= image.min() and image.max() <= 255):
            raise UserError(
                "an image of floats has numbers from 0 to 1 or from 0 to 255; this one has others: scale it"
            )
        image = np.rint(image * (255.0 if image.max() <= 1 else 1.0)).astype(np.uint8)
    pixels = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
    return LoadedPhoto(np.ascontiguousarray(pixels), (pixels.shape[1], pixels.shape[0]))
