"""A photo from disk to 8-bit RGB, the part of it inside a box, and the photos of a folder."""

import functools
import logging
import os
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Iterator, List, Sequence, Set, Tuple

import numpy as np
from PIL import Image

from .artifacts import PathLike, require_folder
from .errors import UserError, printable
from .names import PHOTO_SUFFIXES
from .photo_file import FORMATS, Source, decode, tolerance

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
_SHOWN_KINDS = 5  # of ignored files
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


def load_image(source: Source) -> np.ndarray:
    """All pixels of a photo, [H, W, 3] uint8 RGB, upright; see ``load_photo``."""
    return load_photo(source).pixels


def load_photo(source: Source, sufficient_side: int = 0) -> LoadedPhoto:
    """Read a photo.

    EXIF orientation is applied, transparency laid on white, 16-bit greys scaled to 8, everything else converted as
    Pillow does. A truncated photo is used as far as it goes, with a warning. Pillow's own limit on the number of pixels
    is replaced by MAX_PIXELS, checked on the header before any pixel is decoded.

    Args:
        source: the file, or its bytes; the format is told by the content, not by the name.
        sufficient_side: longer side, pixels, that the caller will shrink to anyway; 0 = every pixel is needed. Only
            photos of more than HUGE_PIXELS are then reduced, to at least twice that side: JPEG while decoding, so that
            memory is bounded by ``sufficient_side``, other formats at once after it.

    Raises:
        UserError: the file cannot be read, is no photo of one of FORMATS, or has more than MAX_PIXELS pixels.
    """
    name = _name_of(source)
    with _reading(name):
        try:
            return _decode(source, sufficient_side)
        except (OSError, SyntaxError) as error:
            if not _may_be_truncated(error):
                raise
        tolerance.on = True
        try:
            photo = _decode(source, sufficient_side)
        finally:
            tolerance.on = False
        logger.warning("%s: truncated or damaged; the missing part is blank", name)
        return photo


def upright_size(source: Source) -> Tuple[int, int]:
    """(width, height) of a photo after its EXIF orientation, from its header; UserError as of ``load_photo``."""

    def size(image: Image.Image) -> Tuple[int, int]:
        return image.size[::-1] if _orientation(image) >= 5 else image.size

    with _reading(_name_of(source)):
        return decode(source, size)


def _name_of(source: Source) -> str:
    return "the bytes given" if isinstance(source, bytes) else str(source)


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Whatever a decoder raises becomes one sentence about ``name``."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # decoders raise anything on damaged files: OSError, SyntaxError, struct.error, ...
        reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
        if "cannot identify image file" in reason:
            reason = f"not an image of {', '.join(FORMATS)}, or an empty file"
        raise UserError(f"{name}: cannot be read as a photo ({reason})") from error


def photo_of_image(image: Image.Image) -> LoadedPhoto:
    """A PIL image as ``load_photo`` gives a file's; UserError when it cannot be decoded."""
    try:
        return _finish(image, image.size, 0)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"a PIL image of mode {image.mode} cannot be read as a photo ({error})") from error


def _may_be_truncated(error: Exception) -> bool:
    return not isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, Image.UnidentifiedImageError))


def _decode(source: Source, sufficient_side: int) -> LoadedPhoto:
    def use(image: Image.Image) -> LoadedPhoto:
        size = image.size
        if size[0] * size[1] > MAX_PIXELS:
            limit = f"the limit is {MAX_PIXELS / 1e6:.0f} megapixels"
            raise UserError(f"{_name_of(source)}: {size[0]} x {size[1]} pixels; {limit}, shrink the photo")
        if size[0] * size[1] <= HUGE_PIXELS:
            return _finish(image, size, 0)
        with _one_huge_photo:
            return _finish(image, size, 2 * sufficient_side)

    return decode(source, use)


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
    truncated = bool(tolerance)
    return LoadedPhoto(np.array(rgb), size[::-1] if orientation >= 5 else size, orientation, truncated)


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(_ORIENTATION, 1)
    except Exception as error:  # a damaged EXIF block must not cost the photo
        logger.warning("EXIF orientation ignored (%s)", error)
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        image = Image.fromarray(photo_of_array(np.asarray(image)).pixels)
    elif image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip instead of scale
        grey = np.clip(np.asarray(image), 0, 65535).astype(np.int32)
        image = Image.fromarray(((grey + 128) // 257).astype(np.uint8))  # the nearest to grey / 257
    elif image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def list_images(folder: PathLike) -> List[str]:
    """Photos, by their names (PHOTO_SUFFIXES in any case), in ``folder`` and below, hidden ones left out.

    Links to folders are followed, into none twice. One log line counts the other files by their kinds.

    Returns:
        Sorted paths relative to ``folder``, with '/' between folders.

    Raises:
        UserError: no such folder, or no photo in it.
    """
    root = require_folder(folder, "folder of photos")
    names: List[str] = []
    ignored: Counter = Counter()
    for name, kind in _files_below(str(root)):
        is_photo = not kind and name.lower().endswith(PHOTO_SUFFIXES)
        if is_photo:
            names.append(name)
        else:
            ignored[kind or os.path.splitext(name)[1].lower() or "without a suffix"] += 1
    if ignored:
        kinds = [f"{count} {printable(kind)}" for kind, count in ignored.most_common(_SHOWN_KINDS)]
        kinds += ["others"] if len(ignored) > _SHOWN_KINDS else []
        count = sum(ignored.values())
        _tell_once(f"{folder}: {count} {'file' if count == 1 else 'files'} ignored: {', '.join(kinds)}")
    if not names:
        raise UserError(f"{folder}: no photo in this folder (looked for {', '.join(PHOTO_SUFFIXES)})")
    return sorted(names)


def _files_below(root: str) -> Iterator[Tuple[str, str]]:
    """(name relative to ``root``, '' or what it is instead of a regular file) of all that is not hidden."""
    seen: Set[Tuple[int, int]] = set()
    folders, links = [""], []  # linked ones last: what they lead to may be listed by then
    while folders or links:
        linked = not folders
        folder = links.pop(0) if linked else folders.pop()
        try:
            found = os.stat(os.path.join(root, folder))
            if linked and (found.st_dev, found.st_ino) in seen:
                yield folder, "link to a folder listed already"
                continue
            seen.add((found.st_dev, found.st_ino))
            entries = sorted(os.scandir(os.path.join(root, folder)), key=lambda entry: entry.name)
        except OSError as error:
            logger.warning("%s: left out with all that is in it (%s)", os.path.join(root, folder), error.strerror)
            continue
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_symlink() and os.path.isdir(entry.path):
                links.append(name)
            elif entry.is_dir(follow_symlinks=False):
                (links if linked else folders).append(name)
            else:
                yield name, "" if os.path.isfile(entry.path) else "pipe, device or broken link"


@functools.cache
def _tell_once(line: str) -> None:
    """A command lists a folder several times."""
    logger.info("%s", line)


def leaves_photo(box: Sequence[float], size: Tuple[int, int]) -> bool:
    """Whether a box, rounded, reaches beyond an upright photo of ``size`` (width, height)."""
    left, top, right, bottom = (round(float(number)) for number in box)
    return left < 0 or top < 0 or right > size[0] or bottom > size[1]


def clip_box(box: Sequence[float], width: int, height: int) -> Tuple[int, int, int, int]:
    """(left, top, right, bottom) rounded half to even (as the reference), then clipped to a width x height photo.

    Right and bottom are exclusive.

    Raises:
        UserError: nothing of the photo is inside, or a side is no number.
    """
    if not np.isfinite(box).all():
        raise UserError(f"box {list(box)} holds what is no finite number; give four pixel positions")
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
