"""Weight files of each format that are damaged, made to break readers, or hold numbers that no network has."""

import os

import h5py
import mindspore as ms
import numpy as np
import pytest

from src.device import set_up_device
from src.errors import UserError
from src.model.checkpoint_file import read_checkpoint
from src.model.weights import read_weights, save_weights

VARIANCE = "backbone.bn1.moving_variance"
NEW = {"backbone.conv1.weight": "conv1_conv/kernel:0", VARIANCE: "conv1_bn/moving_variance:0"}


@pytest.fixture(scope="module", autouse=True)
def device():
    set_up_device("CPU", 0)


def field(number, content):
    """A protobuf field of bytes."""
    assert len(content) < 2**14
    length = bytes([len(content) & 127 | 128, len(content) >> 7])
    return bytes([number << 3 | 2]) + length + content


def value(name, dims, kind, content):
    packed = b"".join(field(1, varint(size)) for size in [dims] if size)
    return field(1, field(1, name.encode()) + field(2, packed + field(2, kind.encode()) + field(3, content)))


def varint(sizes):
    """Packed dimensions."""
    data = b""
    for size in sizes:
        size %= 2**64
        while size > 127:
            data, size = data + bytes([size & 127 | 128]), size >> 7
        data += bytes([size])
    return data


def write(path, tensors):
    """Write arrays in the format that the suffix says."""
    if path.suffix == ".ckpt":
        ms.save_checkpoint([{"name": name, "data": ms.Tensor(array)} for name, array in tensors.items()], str(path))
    elif path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, array in tensors.items():
                file[NEW[name]] = array
    else:
        pytest.importorskip("safetensors.numpy").save_file(tensors, str(path))
    return path


@pytest.mark.parametrize("suffix", [".ckpt", ".h5", ".safetensors"])
@pytest.mark.parametrize("name,number,said", [
    ("backbone.conv1.weight", np.nan, "holds nan"), ("backbone.conv1.weight", -np.inf, "holds -inf"),
    (VARIANCE, 1e20, r"holds 1e\+20"), (VARIANCE, 0, "holds 0, and variances are above 0"),
    (VARIANCE, -0.5, "holds -0.5, and variances are above 0"), (VARIANCE, np.inf, "holds inf"),
])  # fmt: skip
def test_numbers_of_no_network_are_refused_by_file_and_parameter(tmp_path, suffix, name, number, said):
    tensors = {"backbone.conv1.weight": np.ones((64, 3, 7, 7), np.float32), VARIANCE: np.full(64, 1e-30, np.float32)}
    if suffix == ".h5":
        tensors["backbone.conv1.weight"] = np.ones((7, 7, 3, 64), np.float32)
    assert set(read_weights(write(tmp_path / f"good{suffix}", tensors))) >= set(tensors)  # tiny variances are sound
    tensors[name].reshape(-1)[3] = number
    known = name if number == number or suffix != ".h5" else "backbone.conv1"  # the stem's bias is a sum of its weights
    with pytest.raises(UserError, match=rf"bad{suffix}: {known}.* {said}; the file is damaged, or its training") as e:
        read_weights(write(tmp_path / f"bad{suffix}", tensors))
    assert str(e.value).isprintable()


def test_a_kernel_of_zeros_is_refused(tmp_path):
    path = write(tmp_path / "dead.ckpt", {"backbone.conv1.weight": np.zeros((64, 3, 7, 7), np.float32)})
    with pytest.raises(UserError, match="dead.ckpt: backbone.conv1.weight holds zeros alone; the file is damaged"):
        read_weights(path)


def test_a_checkpoint_is_read_as_mindspore_reads_it(tmp_path):
    generator = np.random.default_rng(3)
    normal = generator.normal(size=(2, 3)).astype(np.float32)
    arrays = [normal, np.float32(4), np.arange(6).reshape(3, 2), normal.astype(np.float16)]
    stored = [{"name": f"p{number}", "data": ms.Tensor(array)} for number, array in enumerate(arrays)]
    stored.append({"name": "half", "data": ms.Tensor(np.float32([0.5, -3]), ms.bfloat16)})
    for crc in (False, True):
        ms.save_checkpoint(stored, str(tmp_path / "a.ckpt"), append_dict={"step": 7, "word": "x"}, crc_check=crc)
        theirs = ms.load_checkpoint(str(tmp_path / "a.ckpt"))
        ours = read_checkpoint(tmp_path / "a.ckpt", "")
        assert set(ours) == set(theirs) - {"word"}
        for name, array in ours.items():
            expected = theirs[name].float().asnumpy() if name == "half" else theirs[name].asnumpy()
            assert array.dtype == expected.dtype
            np.testing.assert_array_equal(array, expected)


def test_the_parts_of_a_large_tensor_are_joined(tmp_path):
    numbers = np.arange(6, dtype="<f4")
    parts = [value("a", [2, 3], "Float32", numbers[start : start + 2].tobytes()) for start in (0, 2, 4)]
    (tmp_path / "a.ckpt").write_bytes(b"".join(parts) + value("b", [], "Int64", (5).to_bytes(8, "little")))
    read = read_checkpoint(tmp_path / "a.ckpt", "")
    np.testing.assert_array_equal(read["a"], numbers.reshape(2, 3))
    assert read["b"].shape == () and read["b"] == 5


@pytest.mark.parametrize("data,said", [
    (value("a", [2**40, 2**20], "Float32", b"1234"), "a of shape .* has 4 bytes"),
    (value("a", [-1], "Float32", b""), "a of shape .-1. has 0 bytes"),
    (value("a", [1] * 70, "Float32", b"1234"), "dimension"),
    (value("a", [1], "object", b"1234"), "a is of type 'object'"),
    (value("a", [1], "BFloat16", b"1"), "damaged"),
    (value("a", [1], "Float32", b"1234")[:-2], "no Checkpoint message"),
    (b"\n\xff\xff\xff\xff\x07", "no Checkpoint message"),  # a field of 2 GB
    (value("a", [1], "Float32", b"1234") + b"crc_num" + bytes(10), "its checksum is another"),
    (b"PK\x03\x04" + bytes(99), "damaged .File is not a zip file"),
    (b"\x80\x02}q\x00.", "no checkpoint begins so.; give a whole MindSpore checkpoint, Keras .h5 file, PyTorch file"),
    (b"", "damaged .no checkpoint begins so."),
])  # fmt: skip
def test_damaged_checkpoints_are_one_sentence(tmp_path, data, said):
    (tmp_path / "a.ckpt").write_bytes(data)
    with pytest.raises(UserError, match=f"a.ckpt: .*{said}") as caught:
        read_weights(tmp_path / "a.ckpt")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500


def test_own_checkpoints_know_a_changed_bit(tmp_path):
    save_weights(ms.nn.Dense(3, 4), tmp_path / "a.ckpt")
    data = bytearray((tmp_path / "a.ckpt").read_bytes())
    data[data.index(b"Float32") + 12] ^= 1  # in the numbers
    (tmp_path / "a.ckpt").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.ckpt: damaged \(its checksum is another\)"):
        read_weights(tmp_path / "a.ckpt")


def test_only_regular_files_of_a_possible_size_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.ckpt")
    (tmp_path / "zero.ckpt").symlink_to("/dev/zero")
    for name in ("pipe.ckpt", "zero.ckpt"):
        with pytest.raises(UserError, match=f"{name}: is (no file|a pipe or a device)"):
            read_weights(tmp_path / name)
    with open(tmp_path / "hole.ckpt", "wb") as stream:
        stream.truncate(2**40)
    with pytest.raises(UserError, match=r"hole\.ckpt: above 2 GiB"):
        read_weights(tmp_path / "hole.ckpt")


@pytest.mark.parametrize("length", [2**24 + 1, 2**24])
def test_a_safetensors_file_of_nothing_but_a_list_is_refused(tmp_path, length):
    pytest.importorskip("safetensors")
    with open(tmp_path / "bomb.safetensors", "wb") as stream:
        stream.write(length.to_bytes(8, "little") + b"{")
        stream.truncate(length + 100)
    with pytest.raises(UserError, match=r"bomb\.safetensors: damaged"):
        read_weights(tmp_path / "bomb.safetensors")


def _external(file, place):
    file.create_dataset(place, (64,), "f4", external=[("/dev/zero", 0, 256)])


def _virtual(file, place):
    layout = h5py.VirtualLayout((64,), "f4")
    layout[:] = h5py.VirtualSource("/dev/zero", "x", (64,))
    file.create_virtual_dataset(place, layout)


def _promise(file, place):
    file.create_dataset(place, (2**20, 2**20), "f4", chunks=(16, 16))


def _packed(file, place):
    file.create_dataset(place, data=np.zeros(2**25, np.float32), chunks=(2**22,), compression="gzip")


@pytest.mark.parametrize("change,said", [
    (_external, "conv1_bn/gamma:0 lies in another file"), (_virtual, "conv1_bn/gamma:0 lies in another file"),
    (_promise, "unpack to more than 4 times its size"), (_packed, "unpack to more than 4 times its size"),
])  # fmt: skip
def test_keras_files_that_reach_beyond_themselves_are_refused(tmp_path, change, said):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        change(file, "conv1_bn/gamma:0")
    with pytest.raises(UserError, match=rf"a\.h5: damaged \(.*{said}\); download it again"):
        read_weights(tmp_path / "a.h5")


def test_what_is_no_number_in_a_keras_file_is_passed_over(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["conv1_bn/beta:0"] = np.ones(64, np.float32)
        file["conv1_bn/gamma:0"], file["x"] = "text", h5py.Empty("f4")
        file.create_dataset("list", (2,), h5py.vlen_dtype(np.float32))
        file.create_dataset("pair", (2,), [("x", "f4"), ("y", "f4")])
        file["outside"], file["round"] = h5py.ExternalLink("/dev/zero", "x"), h5py.SoftLink("/")
        file["conv1_conv/kernel:0"] = np.ones((3, 7, 7), np.float32)  # no stem of ours, so it is not converted
    assert set(read_weights(tmp_path / "a.h5")) >= {"backbone.bn1.beta", "backbone.conv1.weight"}


def test_every_cut_and_every_changed_byte_of_a_keras_file_is_answered(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        for name in ("gamma", "beta", "moving_variance"):
            file[f"conv1_bn/{name}:0"] = np.ones(4, np.float32)
    whole, answers = path.read_bytes(), set()
    for place in range(0, len(whole), 29):
        for content in (whole[:place], whole[:place] + bytes([whole[place] ^ 0xA5]) + whole[place + 1 :]):
            path.write_bytes(content)
            try:
                read_weights(path)
            except UserError as error:
                assert str(error).isprintable() and str(error).startswith(f"{path}: ")
                answers.add("refused")
            else:
                answers.add("read")
    assert answers == {"read", "refused"}
