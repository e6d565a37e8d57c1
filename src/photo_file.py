"""Opening a photo's file: the one list of formats, and what Pillow's own limits are replaced by."""

import io
import os
import stat
import threading
from pathlib import Path
from typing import Callable, TypeVar, Union

from PIL import Image, ImageFile

from .artifacts import PathLike
from .errors import UserError, install_command

Source = Union[PathLike, bytes]  # a photo's file, or what is in it
Result = TypeVar("Result")

# All that any reader of photos opens (an MPO is a JPEG). Others of Pillow's start programs, or are no photos.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
_HEIC = ("heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1")  # brands, after which pillow-heif reads a file
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # chunks whose size Pillow limits


class _Tolerance(threading.local):
    """Pillow's switch for truncated photos, which is one for the whole process, as one for each thread."""

    on = False

    def __bool__(self) -> bool:
        return self.on


tolerance = _Tolerance()


def decode(source: Source, use: Callable[[Image.Image], Result]) -> Result:
    """What ``use`` makes of an opened photo: the one place where files of photos are opened.

    The texts of a PNG count for nothing here but its orientation: those too large for Pillow are left out.

    Raises:
        UserError: a pipe, a device or a socket.
        Exception: what Pillow raises about a damaged file.
    """
    if not isinstance(source, bytes):
        refuse_pipe(source)
    try:
        with _open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            return use(image)
    except ValueError as error:
        if "MAX_TEXT_" not in str(error):
            raise
    data = source if isinstance(source, bytes) else Path(source).read_bytes()
    with _open(io.BytesIO(_without_texts(data))) as image:
        return use(image)


def refuse_pipe(path: PathLike) -> None:
    """UserError when ``path`` is a pipe, a device or a socket: to open or read it could take for ever."""
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise UserError(f"{path}: a pipe, a device or a socket, no photo; leave it out")


def _open(file: Union[PathLike, io.BytesIO]) -> Image.Image:
    Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS takes its place
    ImageFile.LOAD_TRUNCATED_IMAGES = tolerance
    if _is_heic(file):
        _require_heic(file)
        return Image.open(file, formats=("HEIF",))
    return Image.open(file, formats=FORMATS)


def _is_heic(file: Union[PathLike, io.BytesIO]) -> bool:
    """Whether the first bytes are those of the photos of telephones that are no JPEG."""
    if isinstance(file, io.BytesIO):
        begin = file.getvalue()[:12]
    else:
        with open(file, "rb") as stream:
            begin = stream.read(12)
    return begin[4:8] == b"ftyp" and begin[8:12].decode("latin-1") in _HEIC


def _require_heic(file: Union[PathLike, io.BytesIO]) -> None:
    try:
        from pillow_heif import register_heif_opener
    except ModuleNotFoundError as error:
        name = "the bytes given" if isinstance(file, io.BytesIO) else file
        fix = f"run {install_command('extras')}"
        raise UserError(f"{name}: a HEIC photo, for which pillow_heif is not installed: {fix}") from error
    register_heif_opener()


def _without_texts(png: bytes) -> bytes:
    kept, position = [png[:8]], 8
    while position < len(png):
        end = position + 12 + int.from_bytes(png[position : position + 4], "big")
        if png[position + 4 : position + 8] not in _PNG_TEXTS:
            kept.append(png[position:end])
        position = end
    return b"".join(kept)
