"""The reference's protobuf files: bytes as stated by its own test vectors, and what no such file is."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from src.errors import UserError
from src.features.delf_format import (
    features_as_delf,
    parse_datum,
    parse_delf,
    read_delf,
    serialise_delf,
)
from src.protobuf import message_classes, parse
from src.records import LocalFeatures
from tests.features.made_up import serialise_datum

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "delf_vectors.json"
FLOAT_DATUM = "0a040a02020212120a100000803f000000400000404000008040"  # [[1, 2], [3, 4]]
UINT32_DATUM = "0a030a01021a050a0301ac02"  # [1, 300]
ONE_FEATURE = "0a2c0a110a030a0102120a0a080000003f000000bf15000020401d0000c03f25000080402d00000000350000c842"


# The reference's messages that this project has no use for; they hold src.protobuf to its vectors all the same
OTHERS = message_classes(
    "others",
    {
        "Pair": {"first": (1, "bytes"), "second": (2, "bytes")},
        "Box": {
            **{name: (number, "float") for number, name in enumerate(("top", "left", "bottom", "right", "score"), 1)},
            "class_index": (6, "int32"),
        },
        "Boxes": {"box": (1, "repeated Box")},
    },
)


def varint(number):
    """Seven bits a byte, lowest first."""
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def field(number, value):
    """A field of bytes, or of a float32."""
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def _golden(op):
    return [entry for entry in json.loads(GOLDEN.read_text())["vectors"] if entry["area"] == "io" and entry["op"] == op]


def _arrays(inputs):
    """The arrays of a golden entry on features; long ones are described in words there."""
    if not inputs["scales"]:
        return [np.zeros((0, 2)), np.zeros(0), np.zeros((0, 0)), np.zeros(0), np.zeros(0)]
    descriptors = np.stack([np.arange(1024), np.zeros(1024), np.ones(1024), -np.ones(1024)])
    rest = [None if inputs[name] is None else np.array(inputs[name], float) for name in ("attention", "orientations")]
    return [np.arange(8.0).reshape(4, 2), np.array(inputs["scales"], float), descriptors, *rest]


def _round_trip_delf(arrays, tmp_path=None):
    locations, scales, descriptors, attention, orientations = arrays
    data = serialise_delf(locations, scales, descriptors, attention, orientations)
    if tmp_path is not None:
        (tmp_path / "a.delf").write_bytes(data)
        found = parse_delf((tmp_path / "a.delf").read_bytes())
    else:
        found = parse_delf(data)
    orientations = np.zeros(len(scales)) if orientations is None else orientations
    expected = locations, scales, descriptors, attention, orientations
    for one, other in zip(found, expected):
        assert one.dtype == np.float32 and np.array_equal(one, other)


def test_wire_bytes():
    assert serialise_datum(np.float32([[1, 2], [3, 4]])).hex() == FLOAT_DATUM
    assert serialise_datum(np.uint32([1, 300])).hex() == UINT32_DATUM
    assert parse_datum(bytes.fromhex(FLOAT_DATUM)).tolist() == [[1, 2], [3, 4]]
    assert parse_datum(bytes.fromhex(UINT32_DATUM)).tolist() == [1, 300]
    assert serialise_delf([[1.5, 2.5]], [4.0], [[0.5, -0.5]], [100.0]).hex() == ONE_FEATURE
    found = parse_delf(bytes.fromhex(ONE_FEATURE))
    assert [array.tolist() for array in found] == [[[1.5, 2.5]], [4.0], [[0.5, -0.5]], [100.0], [0.0]]


@pytest.mark.parametrize("shape", [(3, 3), (2, 3, 4), (0,), (2, 0), ()])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64"])
def test_datum_round_trip(shape, dtype):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    found = parse_datum(serialise_datum(array))
    assert found.dtype == (np.float32 if dtype.startswith("float") else np.uint32)
    assert found.shape == shape and np.array_equal(found, array)


def test_xy_here_is_yx_there(tmp_path):
    features = LocalFeatures([[2.5, 1.5]], [4.0], [100.0], [[0.6, -0.8]], (640, 480))
    arrays = parse_delf(features_as_delf(features))
    assert arrays.locations.tolist() == [[1.5, 2.5]]
    (tmp_path / "a.delf").write_bytes(features_as_delf(features))
    back = read_delf(tmp_path / "a.delf", (640, 480))
    for name in ("keypoints", "scales", "scores", "descriptors", "image_size"):
        assert np.array_equal(getattr(back, name), getattr(features, name))


@pytest.mark.skipif(not GOLDEN.exists(), reason="the golden vectors are not beside the repository")
class TestGolden:
    def test_datum(self):
        for entry in _golden("datum_serialize_parse"):
            inputs = entry["inputs"]
            if "dtype" in inputs:  # what the reference does not write
                continue
            for dtype in inputs["dtypes"]:
                array = np.arange(np.prod(inputs["shape"])).reshape(inputs["shape"]).astype(dtype)
                assert np.array_equal(parse_datum(serialise_datum(array)), array)

    def test_datum_files(self, tmp_path):
        for entry in _golden("datum_write_read_file"):
            (tmp_path / "a.datum").write_bytes(serialise_datum(np.array(entry["inputs"]["data"])))
            assert parse_datum((tmp_path / "a.datum").read_bytes()).tolist() == entry["expected"]
        for entry in _golden("datum_pair_write_read_file"):
            first, second = np.array(entry["inputs"]["data_1"]), np.array(entry["inputs"]["data_2"], np.uint32)
            pair = OTHERS["Pair"](first=serialise_datum(first), second=serialise_datum(second))
            (tmp_path / "pair").write_bytes(pair.SerializeToString())
            found = parse(OTHERS["Pair"], (tmp_path / "pair").read_bytes())
            arrays = [parse_datum(part).tolist() for part in (found.first, found.second)]
            assert arrays == [entry["expected"]["data_1"], entry["expected"]["data_2"]]

    def test_bytes(self):
        for entry in _golden("datum_serialize"):
            array = np.array(entry["inputs"]["data"], entry["inputs"]["dtype"])
            assert serialise_datum(array).hex() == entry["expected"]["hex"]
        for entry in _golden("delf_features_serialize"):
            inputs = entry["inputs"]
            arrays = [inputs[name] for name in ("locations_yx", "scales", "descriptors", "attention", "orientations")]
            assert serialise_delf(*arrays).hex() == entry["expected"]["hex"]

    def test_features(self, tmp_path):
        for entry in _golden("delf_features_roundtrip"):
            _round_trip_delf(_arrays(entry["inputs"]))
        for entry in _golden("delf_features_file_roundtrip"):
            _round_trip_delf(_arrays(entry["inputs"]), tmp_path)

    def test_boxes(self, tmp_path):
        for entry in _golden("boxes_roundtrip") + _golden("boxes_file_roundtrip"):
            count = len(entry["inputs"]["scores"])
            rows = [[*np.arange(4.0 * number, 4.0 * number + 4), float(number), number] for number in range(count)]
            names = [described.name for described in OTHERS["Box"].DESCRIPTOR.fields]
            message = OTHERS["Boxes"](box=[OTHERS["Box"](**dict(zip(names, row))) for row in rows])
            (tmp_path / "a.boxes").write_bytes(message.SerializeToString())
            found = parse(OTHERS["Boxes"], (tmp_path / "a.boxes").read_bytes()).box
            assert [[getattr(box, name) for name in names] for box in found] == rows

    def test_every_io_entry_is_among_these(self):
        entries = [entry for entry in json.loads(GOLDEN.read_text())["vectors"] if entry["area"] == "io"]
        covered = {
            "datum_serialize_parse", "datum_write_read_file", "datum_pair_write_read_file", "datum_serialize",
            "delf_features_serialize", "delf_features_roundtrip", "delf_features_file_roundtrip", "boxes_roundtrip",
            "boxes_file_roundtrip",
        }  # fmt: skip
        assert len(entries) >= 15 and {entry["op"] for entry in entries} == covered


def test_other_writers_bytes():
    unpacked = field(1, b"\x08\x02") + field(2, field(1, 1.0) + field(1, 2.0))
    assert parse_datum(unpacked).tolist() == [1, 2]
    two_chunks = field(1, b"\x0a\x01\x02") + b"".join(
        field(2, field(1, struct.pack("<f", number))) for number in (1.0, 2.0)
    )
    assert parse_datum(two_chunks).tolist() == [1, 2]
    fixed = b"\xc9\x05" + b"8 bytes." + b"\xd5\x05" + b"four"  # fields 89 and 90
    unknown = varint(99 << 3) + b"\x05" + field(98, b"abc") + fixed
    feature = bytes.fromhex(ONE_FEATURE)[2:]
    found = parse_delf(unknown + field(1, unknown + feature + unknown) + unknown)
    assert found.locations.tolist() == [[1.5, 2.5]] and found.descriptors.tolist() == [[0.5, -0.5]]


def test_every_truncation_and_many_kinds_of_damage_are_one_sentence(tmp_path):
    path = tmp_path / "a.delf"
    two = serialise_delf([[1, 2], [3, 4]], [1, 2], [[0.6, 0.8], [1, 0]], [5, 6])
    generator = np.random.default_rng(0)
    damaged = [two[:end] for end in range(1, len(two)) if end != len(two) // 2]
    damaged += [bytes(generator.integers(0, 256, 200, dtype=np.uint8)) for _ in range(200)]
    damaged += [b"\xff\xd8\xff\xe0JFIF", b"text, no features\n", b"\xff" * 20, b"\0", serialise_datum(np.ones((3, 2)))]
    damaged += [b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"]  # announces 2^63 bytes
    for data in damaged:
        path.write_bytes(data)
        with pytest.raises(UserError, match="a.delf: damaged .*; make it again"):
            read_delf(path, (10, 10))
    for position in range(len(two)):  # a flipped byte is a UserError or changes numbers only
        path.write_bytes(two[:position] + bytes([two[position] ^ 0xA5]) + two[position + 1 :])
        try:
            assert len(read_delf(path, (10, 10))) == 2
        except UserError:
            pass


def test_what_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "a.delf"
    path.write_bytes(serialise_delf([[1, 2]], [1], [[1, 0]], [1]) + serialise_delf([[1, 2]], [1], [[1, 0, 0]], [1]))
    with pytest.raises(UserError, match=r"descriptor 1 is \[3\], the first \[2\]"):
        read_delf(path, (10, 10))
    path.write_bytes(serialise_delf([[1, np.nan]], [1], [[1, 0]], [1]))
    with pytest.raises(UserError, match="not finite"):
        read_delf(path, (10, 10))
    with pytest.raises(UserError, match="none.delf: no such file"):
        read_delf(tmp_path / "none.delf", (10, 10))
    with pytest.raises(ValueError, match="not of one count"):
        serialise_delf([[1, 2]], [1], [[1, 0]], [])


def test_bytes_put_together_by_hand():
    generator = np.random.default_rng(1)
    numbers = generator.normal(size=(5, 4)).astype(np.float32)
    descriptors = generator.normal(size=(5, 200)).astype(np.float32)
    expected = b""
    for (y, x, scale, score), descriptor in zip(numbers.tolist(), descriptors):
        values = descriptor.astype("<f4").tobytes()
        datum = field(1, field(1, varint(200))) + field(2, field(1, values))
        rest = enumerate((x, y, scale, 0.0, score), 2)
        expected += field(1, field(1, datum) + b"".join(field(number, value) for number, value in rest))
    assert serialise_delf(numbers[:, :2], numbers[:, 2], descriptors, numbers[:, 3]) == expected
