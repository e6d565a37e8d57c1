"""HDF5 files from outside: only plain data are read, and nothing is waited for."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from src.errors import UserError
from src.hdf5 import DATASET, GROUP, member_of, open_hdf5, plain_dataset, read_attribute, read_numbers

VALUES = np.arange(6, dtype=np.float32).reshape(3, 2)


@pytest.fixture
def folder(tmp_path):
    """A folder with another file that holds a data set x, and a pipe that nobody writes to."""
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["x"] = VALUES
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


def _virtual(file, folder):
    layout = h5py.VirtualLayout((3, 2), "f4")
    layout[:] = h5py.VirtualSource(folder / "other.h5", "x", (3, 2))
    file.create_virtual_dataset("x", layout)


REFUSED = {
    "soft link": (lambda file, _: file.update(y=VALUES, x=h5py.SoftLink("/y")), "x is a link"),
    "external link": (lambda file, at: file.update(x=h5py.ExternalLink(str(at / "other.h5"), "x")), "x is a link"),
    "link to a pipe": (lambda file, at: file.update(x=h5py.ExternalLink(str(at / "pipe"), "x")), "x is a link"),
    "virtual": (_virtual, "in another file"),
    "pipe": (lambda file, at: file.create_dataset("x", (4,), "f4", external=[(at / "pipe", 0, 16)]), "in another file"),
    "device": (lambda file, _: file.create_dataset("x", (4,), "f4", external=[("/dev/zero", 0, 16)]), "another file"),
    "huge": (lambda file, _: file.create_dataset("x", (2**40,), "f4"), "not the bytes of its shape"),
    "huge in chunks": (lambda file, _: file.create_dataset("x", (2**40,), "f4", chunks=(2**20,)), "not the bytes"),
    "huge in one chunk": (
        lambda file, _: file.create_dataset("x", (5,), "f8", chunks=(2**28,), maxshape=(None,)), "not the bytes"
    ),
    "never written": (lambda file, _: file.create_dataset("x", (3, 2), "f4"), "not the bytes"),
    "compressed": (lambda file, _: file.create_dataset("x", (2**30,), "i1", compression="gzip"), "compressed"),
    "texts": (lambda file, _: file.update(x="text"), "numbers"),
    "objects": (lambda file, _: file.create_dataset("x", (2,), h5py.ref_dtype), "numbers"),
    "lists": (lambda file, _: file.create_dataset("x", (2,), h5py.vlen_dtype(np.float32)), "numbers"),
    "records": (lambda file, _: file.create_dataset("x", (2,), [("a", "f4")]), "numbers"),
    "empty": (lambda file, _: file.create_dataset("x", data=h5py.Empty("f4")), "numbers"),
    "group": (lambda file, _: file.create_group("x"), "no data set"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_only_plain_data_sets_are_read(folder, case):
    make, message = REFUSED[case]
    with h5py.File(folder / "made.h5", "w") as file:
        make(file, folder)
    with open_hdf5(folder / "made.h5") as file, pytest.raises(ValueError, match=message):
        plain_dataset(file, "x")


def test_plain_numbers(tmp_path):
    with h5py.File(tmp_path / "made.h5", "w") as file:
        file["half"], file["big"], file["none"] = VALUES.astype("f2"), VALUES.astype(">f8"), np.zeros((0, 2), "f4")
        file["twice"] = file["big"]  # a hard link
        file["one"] = np.int64(3)
        file.create_dataset("chunks", data=VALUES, chunks=(2, 2))
        file.create_group("group")
    with open_hdf5(tmp_path / "made.h5") as file:
        for name in ("half", "big", "twice", "chunks"):
            assert read_numbers(file, name).tolist() == VALUES.tolist()
        assert read_numbers(file, "none").shape == (0, 2) and read_numbers(file, "one") == 3
        assert [member_of(file, name)[0] for name in ("big", "group", "absent")] == [DATASET, GROUP, None]
        assert member_of(file, "big")[1] == member_of(file, "twice")[1] != member_of(file, "half")[1]
        with pytest.raises(KeyError):
            read_numbers(file, "absent")


def test_a_data_set_that_ends_behind_the_file(tmp_path):
    with h5py.File(tmp_path / "made.h5", "w") as file:
        file["x"] = np.arange(3, dtype=np.int32)
        file.create_dataset("y", (2**40,), "i4")
    whole = (tmp_path / "made.h5").read_bytes()
    size = (2**42).to_bytes(8, "little")
    assert whole.count(size) == 1  # in the layout of y
    (tmp_path / "made.h5").write_bytes(whole.replace(b"\xff" * 8 + size, (2048).to_bytes(8, "little") + size))
    with open_hdf5(tmp_path / "made.h5") as file, pytest.raises(ValueError, match="not the bytes|invalid dataset size"):
        read_numbers(file, "y")


def test_attributes(tmp_path):
    with h5py.File(tmp_path / "made.h5", "w") as file:
        file.attrs.update(number=1.5, whole=2, fixed=np.bytes_("x"), list=[1, 2], variable="ä")
        file.attrs.create("reference", file.ref, dtype=h5py.ref_dtype)
        file.attrs["nothing"] = h5py.Empty("f4")
    with open_hdf5(tmp_path / "made.h5") as file:
        found = [read_attribute(file, name, 7) for name in ("number", "whole", "fixed", "absent")]
        assert found == [1.5, 2, b"x", 7]
        for name in ("list", "reference", "nothing", "variable"):
            with pytest.raises(ValueError, match=f"{name} is neither a number nor a text"):
                read_attribute(file, name)


def test_a_text_that_the_library_would_look_for_for_ever(tmp_path):
    with h5py.File(tmp_path / "made.h5", "w") as file:
        file.attrs["text"] = "words"
    whole = bytearray((tmp_path / "made.h5").read_bytes())
    size = whole.index(b"GCOL") + 16 + 8  # of the first text in the heap
    assert whole[size : size + 8] == (5).to_bytes(8, "little")
    whole[size : size + 8] = (2**64 - 16).to_bytes(8, "little")  # with its header: 0 bytes to the next
    (tmp_path / "made.h5").write_bytes(whole)
    with open_hdf5(tmp_path / "made.h5") as file, pytest.raises(ValueError, match="no.* text of fixed length"):
        read_attribute(file, "text")


def test_no_hdf5_file(folder):
    (folder / "text.h5").write_text("no")
    (folder / "cut.h5").write_bytes((folder / "other.h5").read_bytes()[:1500])
    for name in ("text.h5", "cut.h5"):
        with pytest.raises(UserError, match=f"{name}: not a whole HDF5 file, or cut short; give another file"):
            open_hdf5(folder / name)


def test_a_file_that_another_program_writes(folder):
    program = "import h5py, sys; f = h5py.File(sys.argv[1], 'r+'); print(flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program, str(folder / "other.h5")], **pipes) as writer:
        writer.stdout.readline()
        with pytest.raises(UserError, match="other.h5: another program has it open for writing; close it"):
            open_hdf5(folder / "other.h5")
        writer.communicate()
    open_hdf5(folder / "other.h5").close()


def test_a_file_whose_writer_was_killed(tmp_path):
    with h5py.File(tmp_path / "open.h5", "w", libver="latest") as file:
        file["x"] = VALUES
        file.flush()
        (tmp_path / "left.h5").write_bytes((tmp_path / "open.h5").read_bytes())
    with pytest.raises(UserError, match="left.h5: the program that writes it has it open still, or was killed"):
        open_hdf5(tmp_path / "left.h5")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_rights(folder):
    (folder / "other.h5").chmod(0)
    with pytest.raises(UserError, match="other.h5: Permission denied"):
        open_hdf5(folder / "other.h5")
