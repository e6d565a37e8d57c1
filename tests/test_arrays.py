"""Files of arrays from outside: what NumPy writes is read, damage and bombs are refused before they cost memory."""

import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from src.arrays import read_arrays
from src.errors import UserError


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read(tmp_path, save):
    arrays = {
        "names": np.array(["a", "é"]), "bytes": np.array([b"a"]), "columns": np.asfortranarray(np.eye(3)[:, :2]),
        "none": np.zeros((0, 4), np.float32), "number": np.array(5), "big": np.arange(3, dtype=">i8"),
        "blank": np.array([""]),
    }  # fmt: skip
    save(tmp_path / "a.npz", **arrays)
    found = read_arrays(tmp_path / "a.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype and found[name].shape == array.shape


def member(header_of, data=b""):
    """Bytes of an .npy file: the header of an array of another shape or type, then ``data``."""
    text = repr({"descr": "<f8", "fortran_order": False, **header_of}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def write_zip(path, data, name="ranks.npy"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)


@pytest.mark.parametrize(
    "header",
    [{"shape": (10**12,)}, {"shape": (2**40, 2**40)}, {"shape": (-1,)}, {"shape": (-4, -1)}, {"shape": (3,)},
     {"shape": (4,), "descr": "|O"}, {"shape": (True, "a")}, {"shape": (4,), "descr": "<U999999999"},
     {"shape": 4}, {"shape": (4,), "descr": "nonsense"}],
)  # fmt: skip
def test_headers_that_lie_are_refused_before_memory_is_taken(tmp_path, header):
    write_zip(tmp_path / "a.npz", member(header, bytes(32)))
    tracemalloc.start()
    with pytest.raises(UserError, match=r"a\.npz: damaged \(.*\); give it again") as refused:
        read_arrays(tmp_path / "a.npz", "give it again")
    assert tracemalloc.get_traced_memory()[1] < 2**22 and "\n" not in str(refused.value)
    tracemalloc.stop()


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path):
    zeros = np.zeros(2**24, np.float64)  # 128 MB in 130 kB
    np.savez_compressed(tmp_path / "a.npz", ranks=zeros)
    tracemalloc.start()
    with pytest.raises(UserError, match=r"a\.npz: \d+ bytes that unpack to 134217856"):
        read_arrays(tmp_path / "a.npz")
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_file_is_a_sentence_wherever_the_damage_is(tmp_path, save):
    """Every byte that matters is covered by a checksum; the others change nothing that is read."""
    path = tmp_path / "a.npz"
    numbers = np.random.default_rng(0).normal(size=40)
    save(path, numbers=numbers, names=np.array(["a", "b"]))
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        try:
            found = read_arrays(path)
        except UserError as error:
            assert str(error).startswith(f"{path}: ")
        else:
            assert all(array.tobytes() in (numbers.tobytes(), "ab".encode("utf-32-le")) for array in found.values())
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError):
            read_arrays(path)


def test_a_single_array_and_a_strange_member(tmp_path):
    np.save(tmp_path / "ranks.npy", np.zeros(3))
    with pytest.raises(UserError, match=r"ranks\.npy: a single array \(\.npy\), not a \.npz file"):
        read_arrays(tmp_path / "ranks.npy")
    write_zip(tmp_path / "text.npz", b"hello", "readme.txt")
    with pytest.raises(UserError, match=r"text\.npz: damaged \("):
        read_arrays(tmp_path / "text.npz")
