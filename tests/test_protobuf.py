"""Messages made from a table: their bytes by hand, what readers accept, and what they refuse."""

import struct

import pytest

from src.protobuf import message_classes, parse

CLASSES = message_classes(
    "test",
    {
        "Point": {"x": (1, "float"), "name": (2, "string")},
        "Row": {"points": (3, "repeated Point"), "sizes": (16, "repeated int64"), "raw": (4, "bytes")},
    },
)
Point, Row = CLASSES["Point"], CLASSES["Row"]


def test_bytes_by_hand():
    """A tag is number << 3 | wire type (0 varint, 2 bytes with their length, 5 four bytes), then the value."""
    row = Row(points=[Point(x=0.0), Point(x=1.5, name="é")], sizes=[3, 300, -1], raw=b"\0")
    first = b"\x0d" + struct.pack("<f", 0)  # a zero that was set is written
    second = b"\x0d" + struct.pack("<f", 1.5) + b"\x12\x02\xc3\xa9"
    sizes = b"\x03" + b"\xac\x02" + b"\xff" * 9 + b"\x01"  # packed; 300 = 0b10_0101100
    expected = b"\x1a\x05" + first + b"\x1a\x09" + second + b"\x22\x01\0" + b"\x82\x01\x0d" + sizes
    assert row.SerializeToString(deterministic=True) == expected
    assert parse(Row, expected) == row


def test_readers_take_any_order_lists_not_packed_and_unknown_fields():
    row = parse(Row, b"\x80\x01\x07" + b"\x38\x05" + b"\x1a\0" + b"\x80\x01\x08")  # sizes 7, field 7, a point, sizes 8
    assert list(row.sizes) == [7, 8] and len(row.points) == 1 and not row.HasField("raw")


@pytest.mark.parametrize("data", [b"no network", b"\x22\x05\0", b"\x80", b"\x1a\x02\x0d\0"])
def test_bytes_that_are_no_message(data):
    with pytest.raises(ValueError, match="no Row message"):
        parse(Row, data)


def test_two_tables_may_use_the_same_names():
    other = message_classes("test", {"Point": {"y": (9, "int32")}})["Point"]
    assert other(y=1).SerializeToString() == b"\x48\x01"
