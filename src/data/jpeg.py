"""A photo file as the JPEG bytes that go into a shard: its own where they serve, converted where not."""

import io
from pathlib import Path
from typing import Tuple

from PIL import Image, UnidentifiedImageError

from src.images import MAX_PIXELS, load_image

LARGEST_RECORD = (32 << 20) - 1024  # bytes; a MindRecord page, which a record must fit into
CONVERSION_QUALITY = 95


class UnusablePhoto(Exception):
    """A photo that cannot go into the data set; the message says why."""


def _serves(data: bytes) -> bool:
    """Decode in full (truncated data raises); True for an RGB or grey JPEG that fits a record."""
    Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS takes its place, as in src.images
    with Image.open(io.BytesIO(data)) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are too many")
        image.load()
        # MPO: a JPEG followed by further pictures, as some cameras write it; decoders read the first.
        return image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L") and len(data) <= LARGEST_RECORD


def read_as_jpeg(path: Path) -> Tuple[bytes, bool]:
    """Read and fully decode a photo; the file is only read.

    Returns:
        JPEG bytes, and whether they were converted: an RGB or grey JPEG keeps its bytes; any other kind of image (CMYK
        JPEG, PNG under a .jpg name, a file past the size of a record) becomes an upright RGB JPEG of quality 95.

    Raises:
        UnusablePhoto: missing, unreadable, corrupt, truncated, or too large.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UnusablePhoto("missing") from error
    except OSError as error:
        raise UnusablePhoto(f"cannot be read: {error.strerror}") from error
    try:
        if _serves(data):
            return data, False
        buffer = io.BytesIO()
        Image.fromarray(load_image(path)).save(buffer, "JPEG", quality=CONVERSION_QUALITY)
    except UnidentifiedImageError as error:
        raise UnusablePhoto("not an image") from error
    except Exception as error:  # Pillow's decoders raise almost anything on damaged data
        raise UnusablePhoto(f"cannot be decoded: {' '.join(str(error).split())[:120]}") from error
    if buffer.tell() > LARGEST_RECORD:
        raise UnusablePhoto(f"larger than {LARGEST_RECORD} bytes")
    return buffer.getvalue(), True
