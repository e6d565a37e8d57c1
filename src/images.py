"""A photo from disk to 8-bit RGB, and the part of it inside a box."""

import logging
import os
import threading
from pathlib import Path
from typing import List, Sequence, Tuple

import numpy as np
from PIL import Image, ImageFile, ImageOps

from src.errors import UserError
from src.files import PathLike, require_folder

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MAX_PIXELS = 2**28  # 16384 x 16384: 0.8 GB as RGB
_tolerant = threading.Lock()


def load_image(path: PathLike) -> np.ndarray:
    """Read a photo as [H, W, 3] uint8 RGB, upright.

    EXIF orientation is applied, transparency laid on white, 16-bit greys scaled to 8, everything else converted as
    Pillow does. A truncated photo is used as far as it goes, with a warning. Pillow's own limit on the number of pixels
    is replaced by MAX_PIXELS, checked on the header before any pixel is decoded.

    Raises:
        UserError: the file cannot be read, is no photo, or has more than MAX_PIXELS pixels.
    """
    try:
        try:
            return _decode(path)
        except (OSError, SyntaxError) as error:
            if not _may_be_truncated(error):
                raise
        with _tolerant:
            ImageFile.LOAD_TRUNCATED_IMAGES = True
            try:
                image = _decode(path)
            finally:
                ImageFile.LOAD_TRUNCATED_IMAGES = False
        logger.warning("%s: truncated or damaged; the missing part is blank", path)
        return image
    except UserError:
        raise
    except Exception as error:  # decoders raise anything on damaged files: OSError, SyntaxError, struct.error, ...
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        if "cannot identify image file" in reason:
            reason = "not an image, or an empty file"
        raise UserError(f"{path}: cannot be read as a photo ({reason})") from error


def _may_be_truncated(error: Exception) -> bool:
    return not isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, Image.UnidentifiedImageError))


def _decode(path: PathLike) -> np.ndarray:
    Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS below takes its place
    with Image.open(path) as image:
        if image.width * image.height > MAX_PIXELS:
            limit = f"the limit is {MAX_PIXELS / 1e6:.0f} megapixels"
            raise UserError(f"{path}: {image.width} x {image.height} pixels; {limit}, shrink the photo")
        image.load()
        return _to_rgb(_upright(image))


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception as error:  # a damaged EXIF block must not cost the photo
        logger.warning("EXIF orientation ignored (%s)", error)
        return image


def _to_rgb(image: Image.Image) -> np.ndarray:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip instead of scale
        grey = np.clip(np.asarray(image).astype(np.float32) / 257.0, 0, 255)
        return np.repeat(np.rint(grey).astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("RGB"))


def list_images(folder: PathLike) -> List[str]:
    """Photos (.jpg, .jpeg, .png, .webp in any case) in ``folder`` and below, hidden ones left out.

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
            if file.lower().endswith(IMAGE_SUFFIXES) and not file.startswith("."):
                names.append((Path(parent) / file).relative_to(root).as_posix())
    if not names:
        raise UserError(f"{folder}: no photo in this folder (looked for {', '.join(IMAGE_SUFFIXES)})")
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


def crop_box(image: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """The part of ``image`` [H, W, 3] inside ``box``, (left, top, right, bottom) in its pixels, see ``clip_box``."""
    left, top, right, bottom = clip_box(box, image.shape[1], image.shape[0])
    return image[top:bottom, left:right]
