"""Arrays of ``.npz`` files from outside: sizes are checked before anything is allocated, and nothing is unpickled."""

import math
import os
import zipfile
from typing import Dict, Tuple

import numpy as np

from .artifacts import PathLike
from .errors import UserError, reading

_MOST_RATIO = 100  # of bytes unpacked to bytes of the file; padded names shrink 50 times, a bomb of zeros 1000 times
_ALWAYS_ALLOWED = 2**26  # bytes that may be unpacked from any file, however small


def read_arrays(path: PathLike, fix: str = "give a whole file") -> Dict[str, np.ndarray]:
    """Every array of an ``.npz`` file by its name, read-only.

    Args:
        path: a regular file.
        fix: what to do about one that is damaged or something else; see ``reading``.

    Raises:
        UserError: no such file, damaged, with objects in it, or one that unpacks to far more than it holds.
    """
    with reading(path, fix), open(path, "rb") as stream:
        start = stream.read(6)
        if not start.startswith(b"PK"):
            what = (
                "a single array (.npy), not a .npz file of named ones" if start == b"\x93NUMPY" else "not a .npz file"
            )
            raise UserError(f"{path}: {what}; {fix}")
        with zipfile.ZipFile(stream) as archive:
            _require_affordable(path, archive, os.fstat(stream.fileno()).st_size)
            return dict(_read(archive, info) for info in archive.infolist())


def _require_affordable(path: PathLike, archive: zipfile.ZipFile, size: int) -> None:
    """UserError for a file of ``size`` bytes that says it unpacks to what no honest one does."""
    unpacked = sum(info.file_size for info in archive.infolist())
    if unpacked > max(_ALWAYS_ALLOWED, _MOST_RATIO * size):
        raise UserError(f"{path}: {size} bytes that unpack to {unpacked}: a bomb, or damaged; give another file")


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Tuple[str, np.ndarray]:
    """Name and array of one member; ValueError where its header and its bytes disagree, or it holds objects."""
    name = info.filename[: -len(".npy")] if info.filename.endswith(".npy") else info.filename
    with archive.open(info) as stream:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = header(stream)
        if dtype.hasobject:
            raise ValueError(f"{name} holds Python objects")
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != info.file_size - stream.tell():
            raise ValueError(f"{name} has not the bytes of its shape {shape}")
        data = stream.read()
    array = np.frombuffer(data, dtype) if data else np.empty(0, dtype)
    return name, array.reshape(shape, order="F" if is_fortran else "C")


def from_bfloat16(halves: np.ndarray) -> np.ndarray:
    """Numbers of type bfloat16, which NumPy lacks, as float32.

    Args:
        halves: their bits as uint16 of either byte order, any shape: the upper halves of those of a float32.
    """
    return (halves.astype(np.uint32) << 16).view(np.float32)
