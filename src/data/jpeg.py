"""A photo file as the JPEG bytes that go into a shard: its own where they serve, converted where not."""

import io
import re
from typing import NamedTuple, Optional, Tuple

from PIL import Image, UnidentifiedImageError

from ..errors import UserError
from ..images import MAX_PIXELS, load_image
from ..photo_file import decode, refuse_pipe

LARGEST_RECORD = (32 << 20) - 1024  # bytes; a MindRecord page, which a record must fit into
CONVERSION_QUALITY = 95

JPEG_BEGINS = b"\xff\xd8\xff"
PROGRESSIVE = 0xC2
KEPT_PROCESSES = (0xC0, 0xC1, PROGRESSIVE)  # baseline, extended and progressive, Huffman coded
FRAME_MARKERS = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
START_OF_SCAN = 0xDA
END = b"\xff\xd9"
ANY_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # but for those between the rows of a scan
# What ends the coded picture: the end marker, or a code that no scan may hold (JPEG, ITU-T T.81, table B.1).
END_OR_STRAY = re.compile(rb"\xff[\x01-\xc3\xc5-\xcf\xd8\xd9\xf0-\xfd]")
TALLEST_BLOCK_ROW = 32  # pixels: 8 times the largest vertical sampling factor
ENOUGH_CODE = 2048  # bytes of the scan, its header included


class UnusablePhoto(Exception):
    """A photo that cannot go into the data set; the message says why, the kind of fault before any colon."""


class JpegHeader(NamedTuple):
    """What a JPEG says before its coded picture, which begins at byte ``scan``; its height is at ``height_at``."""

    process: int
    precision: int
    height: int
    width: int
    channels: int
    height_at: int
    scan: int


def read_header(data: bytes) -> Optional[JpegHeader]:
    """Walk the segments up to the first scan; None when the data do not begin as a JPEG or have no such header."""
    frame = None
    position = 2 if data.startswith(JPEG_BEGINS) else len(data)
    while True:
        position = data.find(b"\xff", position)
        if position < 0 or position + 4 > len(data):
            return None
        marker = data[position + 1]
        if marker in FRAME_MARKERS and frame is None and position + 10 <= len(data):
            height, width = (int.from_bytes(data[position + at : position + at + 2], "big") for at in (5, 7))
            frame = (marker, data[position + 4], height, width, data[position + 9], position + 5)
        if marker == START_OF_SCAN:
            return JpegHeader(*frame, position) if frame else None
        if marker == 0xFF:  # fill byte
            position += 1
        else:
            position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")


def _check_sides(width: int, height: int, least_side: int) -> None:
    if min(width, height) < least_side:
        raise UnusablePhoto(f"too small: {width} x {height} pixels")
    if width * height > MAX_PIXELS:
        raise UnusablePhoto(f"too large: {width} x {height} pixels")


def _first_rows(data: bytes, header: JpegHeader) -> bytes:
    """The photo cut down to its first rows: all that a sequential JPEG has to decode to show that its tables serve."""
    height = min(header.height, TALLEST_BLOCK_ROW).to_bytes(2, "big")
    upper = data[: header.height_at] + height + data[header.height_at + 2 : header.scan + ENOUGH_CODE]
    return upper + END


def check_jpeg(data: bytes, header: JpegHeader) -> None:
    """Raise UnusablePhoto unless the picture is complete and decoders accept it.

    The markers are followed to the end of the picture, as a decoder fills what a truncated file lacks with grey. Inside
    a scan of a sequential JPEG libjpeg knows no error (it warns and goes on), so that the first rows of a picture with
    one scan tell as much as all of it; any other, whose later scans can be refused, is decoded in full, at an eighth of
    its size. For a photo of 30 kB this takes 0.4 times as long as decoding all of it at an eighth, and finds holes and
    foreign bytes that a decoder fills with grey.
    """
    end = ANY_MARKER.search(data, header.scan + 2)
    one_scan = end is not None and end.group() == END and header.process != PROGRESSIVE
    if not one_scan:
        end = END_OR_STRAY.search(data, header.scan + 2)
    if end is None:
        raise UnusablePhoto("truncated")
    if end.group() != END:
        raise UnusablePhoto(f"corrupt: marker {end.group().hex()} inside the picture")
    Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS takes its place, as in images.py
    try:
        with Image.open(io.BytesIO(_first_rows(data, header) if one_scan else data), formats=("JPEG",)) as image:
            image.draft("L", (1, 1))
            image.load()
    except Exception as error:  # Pillow's decoders raise almost anything on damaged data
        raise UnusablePhoto(f"corrupt: {' '.join(str(error).split())[:120]}") from error


def _kind(image: Image.Image, size: int) -> str:
    """What is not an RGB or grey JPEG, in words."""
    if image.format in ("JPEG", "MPO"):
        return "CMYK JPEG" if image.mode == "CMYK" else "large JPEG" if size > LARGEST_RECORD else "unusual JPEG"
    if image.mode.startswith("I"):
        return f"16 bit {image.format}"
    transparent = image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info
    return f"transparent {image.format}" if transparent else str(image.format)


def _convert(data: bytes, least_side: int) -> Tuple[bytes, str]:
    """An upright RGB JPEG of another kind of photo, and the kind."""

    def check(image: Image.Image) -> str:
        _check_sides(image.width, image.height, least_side)
        image.load()  # load_image takes truncated photos, this does not
        return _kind(image, len(data))

    try:
        kind, buffer = decode(data, check), io.BytesIO()
        Image.fromarray(load_image(data)).save(buffer, "JPEG", quality=CONVERSION_QUALITY)
    except UnusablePhoto:
        raise
    except UnidentifiedImageError as error:
        raise UnusablePhoto("not an image") from error
    except UserError as error:
        raise UnusablePhoto(f"corrupt: {error}") from error
    except Exception as error:  # Pillow's decoders raise almost anything on damaged data
        reason = " ".join(str(error).split())[:120]
        raise UnusablePhoto("truncated" if "truncated" in reason.lower() else f"corrupt: {reason}") from error
    if buffer.tell() > LARGEST_RECORD:
        raise UnusablePhoto(f"too large: {buffer.tell()} bytes as a JPEG")
    return buffer.getvalue(), kind


def read_as_jpeg(path: str, least_side: int) -> Tuple[bytes, str]:
    """Read and check a photo; the file is only read.

    Returns:
        JPEG bytes, and what they were converted from. A baseline or progressive, RGB or grey JPEG of 8 bits keeps its
        bytes, its EXIF rotation included, and gives ''. Any other kind ("CMYK JPEG", "PNG", "16 bit PNG",
        "transparent PNG", "GIF", ...) becomes an upright RGB JPEG of quality 95.

    Raises:
        UnusablePhoto: missing, unreadable, empty, not an image, truncated, corrupt, a side below ``least_side`` pixels,
            or too large.
    """
    try:
        refuse_pipe(path)
        with open(path, "rb", buffering=0) as stream:
            data = stream.read()
    except FileNotFoundError as error:
        raise UnusablePhoto("missing") from error
    except OSError as error:
        raise UnusablePhoto(f"cannot be read: {error.strerror}") from error
    except UserError as error:
        raise UnusablePhoto(f"cannot be read: {error}") from error
    except ValueError as error:  # a null byte in the name
        raise UnusablePhoto("cannot be read: no name of a file") from error
    if not data:
        raise UnusablePhoto("empty file")
    header = read_header(data)
    if header is None and data.startswith(JPEG_BEGINS):
        raise UnusablePhoto("truncated: ends before the picture")
    if header is None or header.process not in KEPT_PROCESSES or header.precision != 8 or header.channels not in (1, 3):
        return _convert(data, least_side)
    _check_sides(header.width, header.height, least_side)
    check_jpeg(data, header)
    return (data, "") if len(data) <= LARGEST_RECORD else _convert(data, least_side)
