"""Keras weights in both namings, written here with h5py and spatially asymmetric kernels."""

import logging

import h5py
import mindspore as ms
import numpy as np
import numpy_delf as reference
import pytest

from src.config import Config
from src.device import set_up_device
from src.errors import UserError
from src.model.checkpoint import load_weights, save_weights
from src.model.delf import AttentionNet, DelfNet, TuningNet
from src.model.pretrained import load_pretrained

UNITS = {2: (64, 64, 3), 3: (256, 128, 4), 4: (512, 256, 6), 5: (1024, 512, 3)}
OLD = {"weight": "W_1:0", "bias": "b_1:0", "gamma": "gamma_1:0", "beta": "beta_1:0", "moving_mean": "running_mean_1:0",
       "moving_variance": "running_std_1:0"}  # fmt: skip
NEW = {"weight": "kernel:0", "bias": "bias:0", "gamma": "gamma:0", "beta": "beta:0", "moving_mean": "moving_mean:0",
       "moving_variance": "moving_variance:0"}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def device():
    set_up_device("CPU", 0)


def layers():
    """(old name, new name, this network's name, kernel shape HWIO or None for BatchNorm, channels)."""
    yield "conv1", "conv1_conv", "backbone.conv1", (7, 7, 3, 64), 64
    yield "bn_conv1", "conv1_bn", "backbone.bn1", None, 64
    for block, (inputs, middle, units) in UNITS.items():
        owner = "descriptor_head" if block == 5 else "backbone"
        for unit in range(units):
            first = inputs if unit == 0 else 4 * middle
            parts = [
                ("2a", 1, "a", 1, first, middle),
                ("2b", 2, "b", 3, middle, middle),
                ("2c", 3, "c", 1, middle, 4 * middle),
            ]
            if unit == 0:
                parts.append(("1", 0, "shortcut", 1, first, 4 * middle))
            for old, new, ours, kernel, into, out in parts:
                keras = f"{block}{'abcdef'[unit]}_branch{old}", f"conv{block}_block{unit + 1}_{new}"
                base = f"{owner}.conv{block}.{unit}"
                yield f"res{keras[0]}", f"{keras[1]}_conv", f"{base}.conv_{ours}", (kernel, kernel, into, out), out
                yield f"bn{keras[0]}", f"{keras[1]}_bn", f"{base}.bn_{ours}", None, out


def write_keras(path, naming):
    """Write random weights; return them under this network's names, in the file's own HWIO layout."""
    generator = np.random.default_rng(5)
    written = {}
    with h5py.File(path, "w") as file:
        for old, new, ours, kernel, channels in layers():
            kinds = ("weight", "bias") if kernel else ("gamma", "beta", "moving_mean", "moving_variance")
            for kind in kinds:
                value = generator.uniform(0.1, 1, kernel if kind == "weight" else (channels,)).astype(np.float32)
                name = f"{old}/{old}_{OLD[kind]}" if naming == "old" else f"{new}/{new}/{NEW[kind]}"
                file[name] = value
                written[f"{ours}.{kind}"] = value
    return written


@pytest.mark.parametrize("naming", ["old", "new"])
def test_every_tensor_lands_where_it_belongs(tmp_path, naming):
    written = write_keras(tmp_path / "weights.h5", naming)
    network = TuningNet(Config(), 4)
    load_pretrained(network, tmp_path / "weights.h5")
    loaded = {name: value.asnumpy() for name, value in network.parameters_and_names()}
    assert set(loaded) - set(written) == {"descriptor_head.dense.weight", "descriptor_head.dense.bias"}
    for name, value in written.items():
        if not name.startswith("backbone.conv1."):
            expected = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
            np.testing.assert_array_equal(loaded[name], expected, err_msg=name)


def test_converted_stem_answers_as_the_original_does(tmp_path):
    """The Caffe stem on BGR minus mean and ours on (RGB - 128) / 128: equal away from the border."""
    written = write_keras(tmp_path / "weights.h5", "old")
    network = TuningNet(Config(), 4)
    load_pretrained(network, tmp_path / "weights.h5")
    rgb = np.random.default_rng(6).integers(0, 256, (3, 40, 44)).astype(np.float64)
    caffe = rgb[::-1] - np.array([103.939, 116.779, 123.68])[:, None, None]
    kernel = written["backbone.conv1.weight"].transpose(3, 2, 0, 1).astype(np.float64)
    expected = reference.convolution(caffe, kernel, written["backbone.conv1.bias"], 2)
    ours = network.backbone.conv1(ms.Tensor(((rgb - 128) / 128).astype(np.float32)[None])).asnumpy()[0]
    inner = (slice(None), slice(2, -2), slice(2, -2))
    np.testing.assert_allclose(ours[inner], expected[inner], rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_load_stem_false_leaves_the_stem(tmp_path):
    write_keras(tmp_path / "weights.h5", "new")
    network = TuningNet(Config(), 4)
    before = network.backbone.conv1.weight.asnumpy().copy()
    load_pretrained(network, tmp_path / "weights.h5", load_stem=False)
    np.testing.assert_array_equal(network.backbone.conv1.weight.asnumpy(), before)


def test_files_that_do_not_fit_are_refused(tmp_path):
    network = TuningNet(Config(), 4)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["dense_1/kernel:0"] = np.zeros((3, 3))
    with pytest.raises(UserError, match="none of its 1 tensors"):
        load_pretrained(network, tmp_path / "other.h5")
    with h5py.File(tmp_path / "shape.h5", "w") as file:
        file["conv2_block1_1_conv/kernel:0"] = np.zeros((3, 3, 64, 64))
    with pytest.raises(UserError, match="conv2.0.conv_a.weight"):
        load_pretrained(network, tmp_path / "shape.h5")
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    for load in (lambda p: load_pretrained(network, p), lambda p: load_weights(network, p, ["backbone"])):
        with pytest.raises(UserError, match="text.ckpt"):
            load(tmp_path / "text.ckpt")


def test_checkpoints_of_the_stages(tmp_path, caplog):
    tuned = TuningNet(Config(), 4)
    save_weights(tuned, tmp_path / "tuning.ckpt")
    attention = AttentionNet(Config(), 4)
    load_weights(attention, tmp_path / "tuning.ckpt", ["backbone"])
    name = "backbone.conv4.5.conv_b.weight"
    values = {key: value.asnumpy() for key, value in attention.parameters_and_names()}
    np.testing.assert_array_equal(values[name], dict(tuned.parameters_and_names())[name].asnumpy())
    with pytest.raises(UserError, match="holds no attention; train the second stage first"):
        load_weights(DelfNet(Config()), tmp_path / "tuning.ckpt", ["backbone", "attention"])
    with caplog.at_level(logging.INFO):
        load_pretrained(TuningNet(Config(), 7), tmp_path / "tuning.ckpt")
    assert "4 classes, this data set 7: the head starts anew" in caplog.text
