"""Thumbnails of the pages: every photo once, as a rule of the page's style sheet, within a budget of bytes."""

import base64
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Dict, Mapping, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np
from markupsafe import Markup
from tqdm import tqdm

from ..artifacts import PathLike, require_folder
from ..errors import UserError
from ..images import list_images, load_photo
from ..names import DISTRACTORS, NameTable, is_distractor

logger = logging.getLogger(__name__)

_COPY_QUALITY = 93  # of the JPEGs kept in memory, from which the thumbnails are made
_TILE_ASPECT, _MOST_CUT_OFF = 4 / 3, 0.16  # a photo fills its tile where that costs no more of it than this
MISSING, UNREADABLE = "no such photo", "cannot be read"


class ThumbnailSize(NamedTuple):
    """Longer side in pixels, and JPEG quality."""

    side: int
    quality: int

    def __str__(self) -> str:
        return f"{self.side} pixels, JPEG quality {self.quality}"


# Best first; the first with which a page fits its budget is taken.
SIZES = tuple(
    ThumbnailSize(*size) for size in ((360, 82), (320, 78), (280, 74), (240, 68), (200, 62), (160, 55), (120, 45))
)


class Thumbnail(NamedTuple):
    """A photo on a page.

    Attributes:
        style: name of its class in the style sheet; '' when there is nothing to see, see ``problem``.
        size: (width, height) of the photo itself, pixels; (4, 3) when it cannot be seen.
        problem: why it cannot be seen, or ''.
    """

    style: str
    size: Tuple[int, int]
    problem: str

    @property
    def aspect(self) -> float:
        """Width / height."""
        return self.size[0] / self.size[1]

    @property
    def fills_tile(self) -> bool:
        """Whether it may be cut to the shape of its tile."""
        return abs(self.aspect / _TILE_ASPECT - 1) < _MOST_CUT_OFF


def find_photos(folders: Sequence[PathLike], names: Sequence[str]) -> Dict[str, Optional[Path]]:
    """The file of each name, in the first of the ``folders`` that has it, or None; names may lack the extension.

    Distractors have 'distractors/' before their names in the index, but not in a folder of their own, which follows the
    first one.

    Raises:
        UserError: no such folder, no photo in it, or several of its files fit a name.
    """
    files: Dict[str, Optional[Path]] = dict.fromkeys(names)
    for place, folder in enumerate(folders):
        root = require_folder(folder, "images_path")
        paths = list_images(root)
        table = NameTable(paths)
        for name in names:
            own_name = name.split(f"{DISTRACTORS}/", 1)[-1] if place and is_distractor(name) else name
            number = table.find(own_name) if files[name] is None else None
            if number is not None:
                files[name] = root / paths[number]
    return files


def read_photos(
    files: Mapping[str, Optional[Path]], largest: ThumbnailSize = SIZES[0]
) -> Tuple[Dict[str, Thumbnail], Dict[str, np.ndarray]]:
    """Read and shrink the photos; one that is missing or cannot be read gets a ``problem`` and is logged.

    Args:
        files: by name; None = missing.
        largest: of the thumbnails that may be made of the copies.

    Returns:
        The thumbnails by name, and by style the small copies that ``style_rules`` needs.
    """
    there = [file for file in dict.fromkeys(files.values()) if file is not None]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        copies = pool.map(lambda file: _read_small(file, largest.side), there)
        read = dict(zip(there, tqdm(copies, "photos", len(there), unit="photo", disable=None)))
    styles = {file: f"p{number}" for number, file in enumerate(there)}
    thumbnails = {}
    for name, file in files.items():
        copy, size = read.get(file) or (None, (4, 3))
        problem = "" if copy is not None else MISSING if file is None else UNREADABLE
        thumbnails[name] = Thumbnail("" if problem else styles[file], size, problem)
    missing = [name for name, thumbnail in thumbnails.items() if thumbnail.problem == MISSING]
    if missing:
        logger.warning("%d photos are not in `images_path`, first %s", len(missing), missing[0])
    return thumbnails, {styles[file]: copy_and_size[0] for file, copy_and_size in read.items() if copy_and_size}


def style_rules(
    copies: Mapping[str, np.ndarray], budget: int, sizes: Sequence[ThumbnailSize] = SIZES
) -> Tuple[Markup, ThumbnailSize]:
    """The style sheet's rules that hold the thumbnails, as large and fine as ``budget`` bytes allow.

    Returns:
        The rules, and which of the ``sizes`` they have.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for size in sizes:
            encoded = list(pool.map(lambda copy, size=size: _thumbnail(copy, size), copies.values()))
            total = sum(map(len, encoded))
            if total <= budget:
                break
            logger.info("thumbnails of %s would take %.1f MB: smaller ones", size, total / 1e6)
    if total > budget:
        logger.warning("the page is larger than it should be: %.1f MB of thumbnails; show fewer results", total / 1e6)
    rules = (f".{style}{{background-image:url(data:image/jpeg;base64,{data})}}" for style, data in zip(copies, encoded))
    return Markup("\n".join(rules)), size


def _read_small(file: Path, side: int) -> Optional[Tuple[np.ndarray, Tuple[int, int]]]:
    """The photo as a fine JPEG of at most ``side`` pixels, and its own (width, height); None if unreadable."""
    try:
        photo = load_photo(file, side)
    except UserError as error:
        logger.warning("%s", error)
        return None
    small = cv2.cvtColor(_fit(photo.pixels, side), cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, _COPY_QUALITY])[1], photo.size


def _thumbnail(copy: np.ndarray, size: ThumbnailSize) -> str:
    """A thumbnail of a small copy, as base64 JPEG."""
    small = _fit(cv2.imdecode(copy, cv2.IMREAD_COLOR), size.side)
    settings = [cv2.IMWRITE_JPEG_QUALITY, size.quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1, cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    return base64.b64encode(cv2.imencode(".jpg", small, settings)[1].tobytes()).decode("ascii")


def _fit(image: np.ndarray, side: int) -> np.ndarray:
    height, width = image.shape[:2]
    factor = side / max(height, width)
    if factor >= 1:
        return image
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
