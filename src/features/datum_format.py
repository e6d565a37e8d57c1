"""The reference's arrays on disk (TF DELF, datum.proto): a shape and its numbers, row by row.

Datum: 1 = shape {1: dimensions}, then 2 = float list {1: float32} or 3 = uint32 list {1: uint32}. Pair: 1, 2 = Datum.
"""

import math
from typing import Tuple

import numpy as np

from . import protobuf_wire as wire

_FLOATS = (np.float16, np.float32, np.float64)
_UNSIGNED = (np.uint8, np.uint16, np.uint32, np.uint64)
_SHAPE, _FLOAT_LIST, _UINT32_LIST, _VALUES = 1, 2, 3, 1


def serialise_datum(array: np.ndarray) -> bytes:
    """An array of floats (stored as float32) or unsigned integers (stored as uint32), any shape.

    Raises:
        ValueError: another type, or an integer that uint32 does not hold.
    """
    array = np.asarray(array)
    shape = wire.encode_bytes(_SHAPE, wire.encode_varints(1, array.shape))
    if array.dtype.type in _FLOATS:
        return shape + wire.encode_bytes(_FLOAT_LIST, wire.encode_floats(_VALUES, array.reshape(-1)))
    if array.dtype.type in _UNSIGNED:
        if array.size and int(array.max()) > np.iinfo(np.uint32).max:
            raise ValueError(f"{array.max()} is too large for uint32")
        return shape + wire.encode_bytes(_UINT32_LIST, wire.encode_varints(_VALUES, map(int, array.reshape(-1))))
    raise ValueError(f"Unsupported array type {array.dtype}: give floats or unsigned integers")


def parse_datum(data: bytes) -> np.ndarray:
    """The array of a Datum: float32, or uint32; ValueError when ``data`` is none."""
    fields = wire.parse_fields(data)
    shape = wire.integers(wire.parse_fields(b"".join(wire.messages(fields, _SHAPE))), 1)
    values: np.ndarray
    if _FLOAT_LIST in fields:
        values = wire.floats(wire.parse_fields(b"".join(wire.messages(fields, _FLOAT_LIST))), _VALUES)
    elif _UINT32_LIST in fields:
        integers = wire.integers(wire.parse_fields(b"".join(wire.messages(fields, _UINT32_LIST))), _VALUES)
        if any(not 0 <= integer <= np.iinfo(np.uint32).max for integer in integers):
            raise ValueError("a number of its list is not uint32")
        values = np.array(integers, dtype=np.uint32)
    else:
        raise ValueError("an array has neither floats nor integers")
    if min(shape, default=0) < 0 or math.prod(shape) != len(values):
        raise ValueError(f"an array of shape {shape} holds {len(values)} numbers")
    return values.reshape(shape)


def serialise_datum_pair(first: np.ndarray, second: np.ndarray) -> bytes:
    """Two arrays (errors of ``serialise_datum``)."""
    return wire.encode_bytes(1, serialise_datum(first)) + wire.encode_bytes(2, serialise_datum(second))


def parse_datum_pair(data: bytes) -> Tuple[np.ndarray, np.ndarray]:
    """The two arrays of a pair; ValueError when ``data`` is none."""
    fields = wire.parse_fields(data)
    first, second = (parse_datum(b"".join(wire.messages(fields, number))) for number in (1, 2))
    return first, second
