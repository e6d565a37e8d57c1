"""A photo file as the JPEG bytes that go into a shard: its own where they serve, converted where not."""

import io
from pathlib import Path
from typing import Tuple

from PIL import Image, ImageOps

LARGEST_RECORD = (32 << 20) - 1024  # bytes; a MindRecord page, which a record must fit into
CONVERSION_QUALITY = 95


class UnusablePhoto(Exception):
    """A photo that cannot go into the data set; the message says why."""


def _as_rgb_jpeg(image: Image.Image) -> bytes:
    """Turn upright (the new file has no EXIF), convert to RGB (16-bit grey scaled, transparency on white), encode."""
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=CONVERSION_QUALITY)
    return buffer.getvalue()


def read_as_jpeg(path: Path) -> Tuple[bytes, bool]:
    """Read and fully decode a photo; the file is only read.

    Returns:
        JPEG bytes, and whether they were converted: an RGB or grey JPEG keeps its bytes; any other kind of image (CMYK
        JPEG, PNG under a .jpg name, a file past the size of a record) becomes an RGB JPEG of quality 95.

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
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            # MPO: a JPEG followed by further pictures, as some cameras write it; decoders read the first.
            kept = image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L") and len(data) < LARGEST_RECORD
            converted = data if kept else _as_rgb_jpeg(image)
    except Image.DecompressionBombError as error:
        raise UnusablePhoto("too many pixels") from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's decoders raise on bad data
        raise UnusablePhoto(f"cannot be decoded: {' '.join(str(error).split())[:120]}") from error
    if len(converted) >= LARGEST_RECORD:
        raise UnusablePhoto(f"larger than {LARGEST_RECORD} bytes")
    return converted, not kept
