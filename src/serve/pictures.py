"""Small JPEGs of the collection's photos for the page: the only form in which a photo leaves the server."""

import threading
from collections import OrderedDict
from typing import Callable, Dict, Hashable, Tuple

import cv2

from ..images import load_photo
from ..photo_file import Source

SIDES: Dict[str, Tuple[int, int]] = {"tile": (320, 78), "large": (1280, 85)}  # longer side in pixels, JPEG quality
_CACHE_BYTES = 2**26


def small_jpeg(source: Source, side: int, quality: int) -> bytes:
    """A photo, or the bytes of one, as a JPEG of at most ``side`` pixels; UserError as of ``load_photo``."""
    pixels = load_photo(source, side).pixels
    height, width = pixels.shape[:2]
    factor = side / max(height, width)
    if factor < 1:
        size = max(1, round(width * factor)), max(1, round(height * factor))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


class ByteCache:
    """Keeps what was made last, up to so many bytes; several threads may use it."""

    def __init__(self, most: int = _CACHE_BYTES) -> None:
        self._most, self._bytes, self._lock = most, 0, threading.Lock()
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], bytes]) -> bytes:
        """What is kept under ``key``, else what ``make`` gives."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            self._bytes += len(made) - len(self._kept.pop(key, b""))
            self._kept[key] = made
            while self._bytes > self._most:
                self._bytes -= len(self._kept.popitem(last=False)[1])
        return made
