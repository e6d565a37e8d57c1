"""The protobuf wire format, as much of it as the reference's messages need (protobuf.dev, "Encoding").

A message is a row of fields, each a tag (number and wire type) and a value. Readers take fields in any order, skip
those they do not know, and accept a list of numbers packed or one by one.

Every function that reads raises ValueError when the bytes are no such message.
"""

from typing import Dict, Iterable, List, Sequence, Tuple, Union

import numpy as np

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
_VARINT_BITS = 64

Value = Union[int, bytes]
Fields = Dict[int, List[Tuple[int, Value]]]  # number -> (wire type, value) in the order of the message


def encode_varint(number: int) -> bytes:
    """Seven bits a byte, lowest first; a negative number as its 64-bit complement."""
    number &= (1 << _VARINT_BITS) - 1
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def encode_bytes(field: int, payload: bytes) -> bytes:
    """A field that holds bytes: a message inside the message, or a packed list."""
    return encode_varint(field << 3 | BYTES) + encode_varint(len(payload)) + payload


def encode_varint_field(field: int, number: int) -> bytes:
    """A field that holds one integer."""
    return encode_varint(field << 3 | VARINT) + encode_varint(number)


def encode_floats(field: int, values: np.ndarray) -> bytes:
    """A field that holds a packed list of float32; nothing for an empty one."""
    return encode_bytes(field, np.asarray(values, dtype="<f4").tobytes()) if np.size(values) else b""


def encode_varints(field: int, values: Iterable[int]) -> bytes:
    """A field that holds a packed list of integers; nothing for an empty one."""
    payload = b"".join(encode_varint(value) for value in values)
    return encode_bytes(field, payload) if payload else b""


def encode_float_fields(fields: Sequence[int], values: np.ndarray) -> List[bytes]:
    """For each row of ``values`` [N, F] the F fields of one float32 each, numbered ``fields`` (below 16)."""
    rows = np.zeros((len(values), len(fields)), dtype=[("tag", "u1"), ("value", "<f4")])
    rows["tag"] = np.array(fields) << 3 | FIXED32
    rows["value"] = values
    return [row.tobytes() for row in rows]


def decode_varint(data: bytes, position: int) -> Tuple[int, int]:
    """(number, position after it)."""
    number = 0
    for shift in range(0, _VARINT_BITS + 1, 7):
        if position >= len(data):
            raise ValueError("it ends in the middle of a number")
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number & (1 << _VARINT_BITS) - 1, position
    raise ValueError("a number is longer than 64 bits")


def parse_fields(data: bytes) -> Fields:
    """Every field of a message by its number."""
    found: Fields = {}
    position = 0
    while position < len(data):
        tag, position = decode_varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if number == 0:
            raise ValueError("a field has number 0")
        value: Value
        if wire_type == VARINT:
            value, position = decode_varint(data, position)
        else:
            size = _FIXED_SIZES.get(wire_type)
            if wire_type == BYTES:
                size, position = decode_varint(data, position)
            if size is None:
                raise ValueError(f"field {number} has wire type {wire_type}, which these messages never use")
            if position + size > len(data):
                raise ValueError(f"field {number} is cut off: {size} bytes announced, {len(data) - position} left")
            value, position = data[position : position + size], position + size
        found.setdefault(number, []).append((wire_type, value))
    return found


def messages(fields: Fields, number: int) -> List[bytes]:
    """Every message in the field ``number``."""
    for wire_type, _ in fields.get(number, ()):
        if wire_type != BYTES:
            raise ValueError(f"field {number} has wire type {wire_type}, a message has {BYTES}")
    return [value for _, value in fields.get(number, ())]


def floats(fields: Fields, number: int) -> np.ndarray:
    """Every float32 of the field ``number``, packed or not; empty when there is none."""
    for wire_type, value in fields.get(number, ()):
        if wire_type not in (BYTES, FIXED32) or len(value) % 4:
            raise ValueError(f"field {number} holds no float32 numbers")
    return np.frombuffer(b"".join(value for _, value in fields.get(number, ())), "<f4").astype(np.float32)


def last_float(fields: Fields, number: int) -> float:
    """The float32 of a field that is no list: the last one given, 0 when there is none."""
    values = floats(fields, number)
    return float(values[-1]) if len(values) else 0.0


def integers(fields: Fields, number: int) -> List[int]:
    """Every integer (signed, 64 bits) of the field ``number``, packed or not."""
    found: List[int] = []
    for wire_type, value in fields.get(number, ()):
        if wire_type == VARINT:
            found.append(value)
        elif wire_type == BYTES:
            position = 0
            while position < len(value):
                integer, position = decode_varint(value, position)
                found.append(integer)
        else:
            raise ValueError(f"field {number} has wire type {wire_type}, an integer has {VARINT}")
    return [integer - (1 << _VARINT_BITS) if integer >> (_VARINT_BITS - 1) else integer for integer in found]
