"""PyTorch's files without PyTorch: what was written is read, in both layouts, and hostile files are refused."""

import zipfile

import numpy as np
import pytest
from torch_files import (
    KINDS,
    Storages,
    bfloat16,
    call,
    named,
    number,
    ordered,
    parameter,
    plain,
    row,
    storage,
    tensor,
    text,
    write_old,
    write_state,
    write_zip,
)

from src import pickle_reader
from src.errors import UserError
from src.model.torch_file import is_torch, read_torch

NUMBERS = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
LAYOUTS = {
    "no order": ("<", lambda *a: write_zip(*a)),
    "little": ("<", lambda *a: write_zip(*a, "little")),
    "big": (">", lambda *a: write_zip(*a, "big")),
    "old": ("<", write_old),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tensors_of_every_kind_come_back(tmp_path, layout):
    order, write = LAYOUTS[layout]
    storages = Storages(order)
    arrays = {code: (100 * NUMBERS).astype(code) for code in KINDS if code != "bf"}
    arrays.update(one=np.float64(3.5).reshape(()), none=np.zeros((0, 3), np.float32))
    program = ordered({code: storages.whole(array) for code, array in arrays.items()})
    halves = storages.whole(bfloat16(NUMBERS), "BFloat16")
    read = read_torch(write(tmp_path / "a.pth", ordered({"state": program, "halves": halves}), storages))
    assert is_torch(tmp_path / "a.pth") and list(read) == ["state", "halves"] and list(read["state"]) == list(arrays)
    for code, array in arrays.items():
        assert read["state"][code].dtype == array.dtype and read["state"][code].shape == array.shape
        np.testing.assert_array_equal(read["state"][code], array)
    assert read["halves"].dtype == np.float32
    np.testing.assert_array_equal(read["halves"].view(np.uint32), NUMBERS.view(np.uint32) & 0xFFFF0000)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tensors_share_storages_and_lie_in_them_as_their_strides_say(tmp_path, layout):
    order, write = LAYOUTS[layout]
    storages = Storages(order)
    shared = storages.add(NUMBERS)
    views = {
        "whole": (0, (4, 6), (6, 1), NUMBERS),
        "transposed": (0, (6, 4), (1, 6), NUMBERS.T),
        "part": (7, (3, 2), (6, 2), NUMBERS[1:, 1:5:2]),
        "column": (5, (4,), (6,), NUMBERS[:, 5]),
        "last": (23, (), (), NUMBERS[3, 5]),
        "empty": (24, (0, 2), (2, 1), np.zeros((0, 2))),
    }
    program = {name: tensor(shared, *place) for name, (*place, _) in views.items()}
    program["parameter"] = parameter(program["part"])
    program["first form"] = call("torch._utils", "_rebuild_tensor", shared, number(6), row(number(2)), row(number(1)))
    read = read_torch(write(tmp_path / "a.pt", ordered(program), storages))
    for name, (*_, expected) in views.items():
        np.testing.assert_array_equal(read[name], expected, err_msg=name)
        assert read[name].flags.c_contiguous
    np.testing.assert_array_equal(read["parameter"], read["part"])
    np.testing.assert_array_equal(read["first form"], NUMBERS[1, :2])


def test_views_of_storages_in_the_older_layout(tmp_path):
    storages = Storages()
    storages.add(NUMBERS)
    part = storage("Float", "0", 24, row(text("0v"), number(6), number(12)))
    read = read_torch(write_old(tmp_path / "a.pth", ordered({"a": tensor(part, 1, (2, 3), (6, 2))}), storages))
    np.testing.assert_array_equal(read["a"], NUMBERS[1:3, 1::2])
    past = ordered({"a": tensor(part, 6, (2, 4), (4, 1))})
    with pytest.raises(UserError, match="does not fit its storage of 12 numbers"):
        read_torch(write_old(tmp_path / "b.pth", past, storages))


def test_what_a_training_kept_is_left_out_and_plain_values_stay(tmp_path):
    storages = Storages()
    whitening = {"m": np.ones((3, 1)), "P": np.eye(3, dtype=np.float32)}
    meta = {"mean": [0.485, 0.456, 0.406], "regional": False, "Lw": {"sfm": {"ss": whitening}}}
    pca = named("sklearn.decomposition._pca", "PCA") + b")\x81" + plain({"mean_": np.arange(3.0)}) + b"b"
    entries = {
        "meta": plain(meta), "epoch": plain(np.int64(3)), "pca": ordered({"Landmarks_clean": pca}),
        "size": call("torch", "Size", row(number(2), number(3))), "device": call("torch", "device", text("cuda")),
        "optimizer": row(number(1)), "args": named("argparse", "Namespace") + b")\x81" + plain({"x": 1}) + b"b",
    }  # fmt: skip
    read = read_torch(write_zip(tmp_path / "a.pth.tar", ordered(entries), storages))
    assert set(read) == set(entries) - {"optimizer", "args"}
    assert read["epoch"] == 3 and read["size"] == [2, 3] and read["device"] == "cuda"
    assert read["meta"]["mean"] == meta["mean"] and read["meta"]["regional"] is False
    np.testing.assert_array_equal(read["meta"]["Lw"]["sfm"]["ss"]["P"], np.eye(3))
    np.testing.assert_array_equal(read["pca"]["Landmarks_clean"]["mean_"], np.arange(3.0))


FLOATS = storage("Float", "0", 24)
PLACED = {
    "past the end": (tensor(FLOATS, 1, (4, 6), (6, 1)), r"shape \[4, 6\] does not fit its storage of 24 numbers"),
    "far strides": (tensor(FLOATS, 0, (2, 2), (2**40, 1)), "does not fit its storage"),
    "absurd": (tensor(FLOATS, 0, (2**40, 2**40), (1, 1)), "does not fit its storage"),
    "repeated": (tensor(FLOATS, 0, (2**40,), (0,)), "does not fit its storage"),
    "backwards": (tensor(FLOATS, 23, (4,), (-1,)), "are no counts"),
    "below": (tensor(FLOATS, -1, (4,), (1,)), "are no counts"),
    "many sides": (tensor(FLOATS, 0, (1,) * 5000, (1,) * 5000), "are no counts"),
    "sides and strides": (tensor(FLOATS, 0, (4, 6), (6,)), "does not fit its storage"),
    "longer": (tensor(storage("Float", "0", 25), 0, (4, 6), (6, 1)), "storage of 25 numbers has 96 bytes"),
    "huge": (tensor(storage("Float", "0", 2**62), 0, (4, 6), (6, 1)), "storage of .* numbers has 96 bytes"),
    "two kinds": (row(FLOATS, tensor(storage("Half", "0", 48), 0, (4,), (1,))), "described in two ways"),
    "negative": (storage("Float", "0", -1), "length of a storage is no count"),
    "elsewhere": (tensor(storage("Float", "../../x", 24), 0, (4,), (1,)), "storage ../../x is missing"),
    "no storage": (tensor(named("torch", "FloatStorage"), 0, (4,), (1,)), "plain data do not need"),
    "complex": (storage("ComplexFloat", "0", 4), "asks for torch.ComplexFloatStorage, which"),
    "other reference": (text("storage") + b"Q", "refers to something that is no storage"),
    "called kind": (call("torch", "FloatStorage", number(10**12)), "plain data do not need"),
    "call": (call("os", "system", text("true")), "asks for os.system, which plain data do not need"),
    "evaluation": (call("builtins", "eval", text("1")), "asks for builtins.eval"),
    "module": (named("torch.nn.modules.linear", "Linear") + b")\x81", "asks for torch.nn.modules.linear.Linear"),
    "loader": (call("torch.storage", "_load_from_bytes", plain(b"x")), "asks for torch.storage._load_from_bytes"),
    "new dictionary": (named("collections", "OrderedDict") + b")\x81", "plain data do not need"),
    "built tensor": (tensor(FLOATS, 0, (4,), (1,)) + b"}b", "plain data do not need"),
    "attributes": (named("argparse", "Namespace") + b")\x81" + text("x") + b"b", "plain data do not need"),
    "extension": (b"\x82\x01", "damaged|the instruction EXT1"),
}


@pytest.mark.parametrize("case", PLACED)
def test_hostile_programs_are_refused(tmp_path, case):
    program, said = PLACED[case]
    storages = Storages()
    storages.add(NUMBERS)
    files = [write_zip(tmp_path / "a.pth", ordered({"x": program}), storages)]
    if case not in ("elsewhere", "longer", "huge"):  # which the older layout tells in its own way
        files.append(write_old(tmp_path / "b.pth", ordered({"x": program}), storages))
    for path in files:
        with pytest.raises(UserError, match=f"{path.name}: .*({said})") as caught:
            read_torch(path)
        assert str(caught.value).isprintable() and len(str(caught.value)) < 400


def test_one_storage_many_times_over_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pickle_reader, "_ALWAYS_ALLOWED", 10_000)
    storages = Storages()
    where = storages.add(np.zeros(10_000, np.float32))
    many = {str(place): b"h\x00" for place in range(300)}
    program = ordered({"first": tensor(where, 0, (10_000,), (1,)) + b"q\x00", **many})
    with pytest.raises(UserError, match="makes far more of its values than it holds"):
        read_torch(write_zip(tmp_path / "a.pth", program, storages))


def test_containers_too_deep_are_refused(tmp_path):
    with pytest.raises(UserError, match="nested too deep"):
        read_torch(write_zip(tmp_path / "a.pth", ordered({"x": b"]" * 50 + b"a" * 49}), Storages()))
    own = named("argparse", "Namespace") + b")\x81q\x01}" + text("x") + b"h\x01sb"  # which is its own attribute
    with pytest.raises(UserError, match="nested too deep"):
        read_torch(write_zip(tmp_path / "b.pth", ordered({"x": own}), Storages()))


@pytest.mark.parametrize("members,compression,said", [
    ([("../x", b"")], zipfile.ZIP_STORED, r"holds a file named '\.\./x'"),
    ([("/x", b"")], zipfile.ZIP_STORED, "holds a file named '/x'"),
    ([("a\\x", b"")], zipfile.ZIP_STORED, "holds a file named"),
    ([("other/data.pkl", b"")], zipfile.ZIP_STORED, "no data.pkl in it"),
    ([("net/byteorder", b"middle")], zipfile.ZIP_STORED, "byteorder is neither little nor big"),
    ([("net/zeros", bytes(2**20))], zipfile.ZIP_DEFLATED, "is compressed: write it without"),
])  # fmt: skip
def test_zips_that_torch_does_not_write_are_refused(tmp_path, members, compression, said):
    path = write_zip(tmp_path / "a.pth", ordered({}), Storages(), members=members, compression=compression)
    with pytest.raises(UserError, match=f"a.pth: damaged .*{said}"):
        read_torch(path)


def test_a_zip_whose_members_overlap_is_refused(tmp_path):
    path = write_state(tmp_path / "a.pth", {"a": NUMBERS, "b": NUMBERS + 1})
    data = path.read_bytes()
    name = b"net/data/"
    first, second = (data.rindex(name + key) - 46 for key in (b"0", b"1"))  # their entries in the list at the end
    moved = data[: second + 42] + data[first + 42 : first + 46] + data[second + 46 :]
    path.write_bytes(moved)
    with pytest.raises(UserError, match="a.pth: damaged"):
        read_torch(path)


@pytest.mark.parametrize("old", [False, True])
def test_every_cut_and_many_changed_bytes_are_answered(tmp_path, old):
    path = write_state(tmp_path / "a.pth", {"a": NUMBERS, "b": NUMBERS[0]}, old)
    whole, answers = path.read_bytes(), set()
    for place in range(0, len(whole), 7):
        for content in (whole[:place], whole[:place] + bytes([whole[place] ^ 0xA5]) + whole[place + 1 :]):
            path.write_bytes(content)
            try:
                read_torch(path)
            except UserError as error:
                assert str(error).isprintable() and str(error).startswith(f"{path}: ")
                answers.add("refused")
            else:
                answers.add("read")
    assert "refused" in answers


def test_what_is_no_dictionary_is_told(tmp_path):
    with pytest.raises(UserError, match="a.pth: holds a list, no network's state_dict; give"):
        read_torch(write_zip(tmp_path / "a.pth", b"]", Storages()))
    with pytest.raises(UserError, match="b.pth: damaged .*ends within a storage"):
        path = write_state(tmp_path / "b.pth", {"a": NUMBERS}, old=True)
        path.write_bytes(path.read_bytes()[:-1])
        read_torch(path)
    with pytest.raises(UserError, match=r"c.pth: damaged .*CRC"):
        path = write_state(tmp_path / "c.pth", {"a": NUMBERS})
        data = bytearray(path.read_bytes())
        data[data.index(NUMBERS.tobytes()) + 5] ^= 1
        path.write_bytes(data)
        read_torch(path)
