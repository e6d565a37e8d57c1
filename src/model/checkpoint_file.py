"""MindSpore's checkpoint files, read without MindSpore: their bytes are judged before anything is made of them.

A checkpoint is a protobuf message (`mindspore/train/checkpoint.proto`), and may end in the CRC-32 of what is before.
"""

import math
import zlib
from itertools import groupby
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

from ..artifacts import PathLike, require_file
from ..errors import UserError, reading
from ..protobuf import message_classes, parse

LARGEST_FILE = 2**31  # bytes; protobuf's own limit, and ten times the largest network with all it needs for resuming
_TYPES = (
    "Int8",
    "UInt8",
    "Int16",
    "UInt16",
    "Int32",
    "UInt32",
    "Int64",
    "UInt64",
    "Float16",
    "Float32",
    "Float64",
    "Bool",
)
_MESSAGES = message_classes(
    "checkpoint",
    {
        "Numbers": {"dims": (1, "repeated int64"), "type": (2, "string"), "content": (3, "bytes")},
        "Value": {"name": (1, "string"), "tensor": (2, "Numbers")},
        "Checkpoint": {"values": (1, "repeated Value")},
    },
)
_BEGINNING = b"\n"  # field 1, bytes
_TEXT = "str"  # type of a text, kept as NumPy keeps it
_CRC_MARK, _CRC_BYTES = b"crc_num", 10


def require_weights(path: PathLike, name: str) -> Path:
    """``path`` if it is a regular file of no absurd size; UserError otherwise. ``name`` is as of ``require_file``."""
    path = require_file(path, name)
    if path.stat().st_size > LARGEST_FILE:
        raise UserError(f"{path}: above {LARGEST_FILE >> 30} GiB, larger than any network here; give another file")
    return path


def is_checkpoint(path: PathLike) -> bool:
    """Whether a file begins as a checkpoint does."""
    with open(path, "rb") as stream:
        return stream.read(1) == _BEGINNING


def read_checkpoint(path: PathLike, fix: str) -> Dict[str, np.ndarray]:
    """The tensors of a checkpoint by name.

    Args:
        path: the file.
        fix: what to do about a damaged one; see ``reading``.

    Raises:
        UserError: no checkpoint, or a damaged one.
    """
    return read_tensors_and_texts(path, fix)[0]


def read_tensors_and_texts(path: PathLike, fix: str) -> Tuple[Dict[str, np.ndarray], Dict[str, str]]:
    """The tensors of a checkpoint by name, and its texts; tables that it may hold besides are left out.

    Arguments and errors as of ``read_checkpoint``.
    """
    path = require_weights(path, "checkpoint_path")
    with open(path, "rb") as stream:
        data = stream.read(1)
        if data != _BEGINNING:
            raise UserError(f"{path}: damaged (no checkpoint begins so); {fix}")
        data += stream.read()
    with reading(path, fix):
        values = parse(_MESSAGES["Checkpoint"], _without_crc(data)).values
        # a large tensor is written in parts, one after the other
        parts = [list(group) for _, group in groupby(values, key=lambda value: value.name)]
        tensors = {group[0].name: group for group in parts if group[0].HasField("tensor")}
        texts = {name: group for name, group in tensors.items() if group[0].tensor.type == _TEXT}
        return (
            {name: _array(name, group) for name, group in tensors.items() if name not in texts},
            {name: _content(group).decode("utf-32-le") for name, group in texts.items()},
        )


def _without_crc(data: bytes) -> bytes:
    end = len(data) - len(_CRC_MARK) - _CRC_BYTES
    if data[end : end + len(_CRC_MARK)] != _CRC_MARK or end < 0:
        return data
    if zlib.crc32(data[:end]) != int.from_bytes(data[-_CRC_BYTES:], "big"):
        raise ValueError("its checksum is another")
    return data[:end]


def _array(name: str, parts: List[Any]) -> np.ndarray:
    """The tensor of some parts; ValueError when its shape and its bytes disagree."""
    kind, shape = parts[0].tensor.type, tuple(parts[0].tensor.dims)
    shape = () if shape == (0,) else shape  # how a single number is written
    content = _content(parts)
    if kind == "BFloat16":  # the upper half of a float32
        content, kind = (np.frombuffer(content, "<u2").astype("<u4") << 16).tobytes(), "Float32"
    if kind not in _TYPES:
        raise ValueError(f"{name} is of type {kind[:20]!r}")
    dtype = np.dtype(kind.lower()).newbyteorder("<")
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(content):
        raise ValueError(f"{name} of shape {list(shape)} has {len(content)} bytes")
    return np.frombuffer(content, dtype).reshape(shape)


def _content(parts: List[Any]) -> bytes:
    return b"".join(part.tensor.content for part in parts)
