"""Weights: Keras files in both namings, with spatially asymmetric kernels; checkpoints; safetensors."""

import json
import logging
import sys

import h5py
import mindspore as ms
import numpy as np
import numpy_delf as reference
import pytest

from src.config import ModelConfig
from src.device import set_up_device
from src.errors import UserError
from src.model.keras_weights import read_keras_weights
from src.model.networks import AttentionNet, DelfNet, JointNet, TuningNet
from src.model.weights import LoadReport, load_pretrained, load_weights, save_weights, write_untrained

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


def write_keras(path, naming, prefix=""):
    """Write random weights; return them under this network's names, in the file's own HWIO layout."""
    generator = np.random.default_rng(5)
    written = {}
    with h5py.File(path, "w") as file:
        for old, new, ours, kernel, channels in layers():
            kinds = ("weight", "bias") if kernel else ("gamma", "beta", "moving_mean", "moving_variance")
            for kind in kinds:
                value = generator.uniform(0.1, 1, kernel if kind == "weight" else (channels,)).astype(np.float32)
                name = f"{old}/{old}_{OLD[kind]}" if naming == "old" else f"{new}/{new}/{NEW[kind]}"
                file[prefix + name] = value
                written[f"{ours}.{kind}"] = value
    return written


def values_of(network):
    return {name: value.asnumpy() for name, value in network.parameters_and_names()}


def assert_holds(network, written):
    """Every tensor of a Keras file but the stem's, in this network's layout."""
    loaded = values_of(network)
    for name, value in written.items():
        if not name.startswith("backbone.conv1."):
            expected = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value
            np.testing.assert_array_equal(loaded[name], expected, err_msg=name)


@pytest.mark.parametrize("naming", ["old", "new"])
def test_every_tensor_lands_where_it_belongs(tmp_path, naming):
    written = write_keras(tmp_path / "weights.h5", naming)
    network = TuningNet(ModelConfig(), 4)
    report = load_pretrained(network, tmp_path / "weights.h5")
    dense = ("descriptor_head.dense.bias", "descriptor_head.dense.weight")
    assert report == LoadReport(tuple(sorted(written)), dense, (), ())
    assert_holds(network, written)


def test_whole_keras_model_is_read_without_its_optimizer(tmp_path):
    written = write_keras(tmp_path / "model.h5", "new", "model_weights/resnet50/")
    with h5py.File(tmp_path / "model.h5", "a") as file:
        file["model_weights/predictions/predictions/kernel:0"] = np.zeros((2048, 1000), np.float32)
        file["optimizer_weights/conv1_conv/kernel:0"] = np.zeros((7, 7, 3, 64), np.float32)
    network = TuningNet(ModelConfig(), 4)
    report = load_pretrained(network, tmp_path / "model.h5")
    assert report.loaded == tuple(sorted(written))
    assert report.unexpected == ("model_weights/predictions/predictions/kernel:0",)
    assert_holds(network, written)


def test_converted_stem_answers_as_the_original_does(tmp_path):
    """The Caffe stem on BGR minus mean and ours on (RGB - 128) / 128: equal away from the border."""
    written = write_keras(tmp_path / "weights.h5", "old")
    network = TuningNet(ModelConfig(), 4)
    load_pretrained(network, tmp_path / "weights.h5")
    kernel = written["backbone.conv1.weight"].transpose(3, 2, 0, 1)
    converted = network.backbone.conv1.weight.asnumpy()
    np.testing.assert_array_equal(converted, 128 * kernel[:, ::-1])  # exact: 128 is a power of two
    generator = np.random.default_rng(6)
    for height, width in ((40, 44), (41, 39)):
        rgb = generator.integers(0, 256, (3, height, width)).astype(np.float64)
        caffe = rgb[::-1] - np.array([103.939, 116.779, 123.68])[:, None, None]
        expected = reference.convolution(caffe, kernel.astype(np.float64), written["backbone.conv1.bias"], 2)
        ours = network.backbone.conv1(ms.Tensor(((rgb - 128) / 128).astype(np.float32)[None])).asnumpy()[0]
        inner = (slice(None), slice(2, -2), slice(2, -2))
        np.testing.assert_allclose(ours[inner], expected[inner], rtol=0, atol=1e-5 * np.abs(expected).max())


def test_load_stem_false_leaves_the_stem(tmp_path):
    write_keras(tmp_path / "weights.h5", "new")
    network = TuningNet(ModelConfig(), 4)
    before = network.backbone.conv1.weight.asnumpy().copy()
    load_pretrained(network, tmp_path / "weights.h5", load_stem=False)
    np.testing.assert_array_equal(network.backbone.conv1.weight.asnumpy(), before)


@pytest.mark.parametrize(
    "name,shape,message",
    [
        ("dense_1/kernel:0", (3, 3), "none of its 1 tensors"),
        ("conv2_block1_1_conv/kernel:0", (3, 3, 64, 64), r"conv2\.0\.conv_a\.weight is 64 x 64 x 3 x 3"),
        ("conv2_block1_2_conv/kernel:0", (64, 3, 3, 64), r"conv2\.0\.conv_b\.weight is"),  # axes in another order
        ("bn_conv1/gamma:0", (32,), r"bn1\.gamma is 32, "),
    ],
)
def test_files_that_do_not_fit_are_refused_and_change_nothing(tmp_path, name, shape, message):
    network = TuningNet(ModelConfig(), 4)
    before = values_of(network)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file[name] = np.ones(shape, np.float32)
        if "dense" not in name:
            file["bn_conv1/beta:0"] = np.ones(64, np.float32)
    with pytest.raises(UserError, match=message):
        load_pretrained(network, tmp_path / "other.h5")
    for name, value in values_of(network).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_damaged_files_are_refused_by_name(tmp_path):
    network = TuningNet(ModelConfig(), 4)
    with h5py.File(tmp_path / "cut.h5", "w") as file:
        file["bn_conv1/gamma:0"] = np.ones(64, np.float32)
    (tmp_path / "cut.h5").write_bytes((tmp_path / "cut.h5").read_bytes()[:1500])
    (tmp_path / "text.ckpt").write_text("not a checkpoint")
    (tmp_path / "empty.ckpt").write_bytes(b"")
    for name in ("cut.h5", "text.ckpt", "empty.ckpt"):
        with pytest.raises(UserError, match=name):
            load_pretrained(network, tmp_path / name)
    with pytest.raises(UserError, match="text.ckpt"):
        load_weights(network, tmp_path / "text.ckpt", ["backbone"])


def test_checkpoint_of_stage_tuning_in_the_other_networks(tmp_path):
    tuned = TuningNet(ModelConfig(), 4)
    save_weights(tuned, tmp_path / "tuning.ckpt")
    attention = AttentionNet(ModelConfig(), 4)
    load_weights(attention, tmp_path / "tuning.ckpt", ["backbone"])
    name = "backbone.conv4.5.conv_b.weight"
    np.testing.assert_array_equal(values_of(attention)[name], values_of(tuned)[name])
    with pytest.raises(UserError, match="holds no attention; train the second stage first"):
        load_weights(DelfNet(ModelConfig()), tmp_path / "tuning.ckpt", ["backbone", "attention"])


def test_fine_tuning_on_other_classes_drops_both_heads_and_says_so(tmp_path, caplog):
    trained = JointNet(ModelConfig(), 4)
    save_weights(trained, tmp_path / "joint.ckpt")
    network = JointNet(ModelConfig(), 7)
    before = values_of(network)
    with caplog.at_level(logging.INFO):
        report = load_pretrained(network, tmp_path / "joint.ckpt")
    assert report.head_dropped == ("attention_head", "descriptor_head")
    assert "its attention_head has 4 classes, this data set 7: the head starts anew" in caplog.text
    assert report.missing == report.unexpected == ()
    for name, value in values_of(network).items():
        expected = before if ".dense." in name else values_of(trained)
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    assert load_pretrained(JointNet(ModelConfig(), 4), tmp_path / "joint.ckpt").head_dropped == ()


def test_optimizer_state_in_a_checkpoint_is_passed_over(tmp_path, caplog):
    tensors = {"backbone.bn1.gamma": 64, "moments.backbone.bn1.gamma": 64, "global_step": 1, "learning_rate": 1, "x": 2}
    stored = [{"name": name, "data": ms.Tensor(np.ones(size, np.float32))} for name, size in tensors.items()]
    ms.save_checkpoint(stored, str(tmp_path / "state.ckpt"))
    with caplog.at_level(logging.DEBUG):
        report = load_pretrained(TuningNet(ModelConfig(), 4), tmp_path / "state.ckpt")
    assert report.loaded == ("backbone.bn1.gamma",) and report.unexpected == ("x",)
    assert "unexpected, left out: x" in caplog.text
    assert "descriptor_head.dense.weight" in report.missing and "descriptor_head.dense.weight" in caplog.text


def test_safetensors_load(tmp_path):
    save_file = pytest.importorskip("safetensors.numpy").save_file
    network = TuningNet(ModelConfig(), 4)
    kernel = np.random.default_rng(7).normal(size=(64, 3, 7, 7)).astype(np.float16)
    tensors = {"backbone.conv1.weight": kernel, "other": np.zeros(2, np.float32)}
    save_file(tensors, str(tmp_path / "weights.safetensors"))
    report = load_pretrained(network, tmp_path / "weights.safetensors", load_stem=False)  # which is about .h5 files
    assert report.loaded == ("backbone.conv1.weight",) and report.unexpected == ("other",)
    np.testing.assert_array_equal(network.backbone.conv1.weight.asnumpy(), kernel.astype(np.float32))


@pytest.mark.parametrize("kind,data", [("F32", b"cut"), ("F8_E4M3", b"ab")])
def test_damaged_safetensors_and_types_numpy_lacks_are_refused(tmp_path, kind, data):
    pytest.importorskip("safetensors")
    header = json.dumps({"a": {"dtype": kind, "shape": [2], "data_offsets": [0, 8 if kind == "F32" else 2]}}).encode()
    (tmp_path / "bad.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)
    with pytest.raises(UserError, match=r"bad\.safetensors: damaged .*; give a whole file of float32"):
        load_pretrained(TuningNet(ModelConfig(), 4), tmp_path / "bad.safetensors")


def test_without_the_safetensors_library_the_install_line_is_named(tmp_path, monkeypatch):
    header = b"{}      "
    (tmp_path / "weights.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"data")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(UserError, match=r"pip install -r requirements-extras\.txt"):
        load_pretrained(TuningNet(ModelConfig(), 4), tmp_path / "weights.safetensors")


@pytest.mark.parametrize("names,ours", [
    (("res4b22_branch2c", "conv4_block23_3_conv"), "backbone.conv4.22.conv_c"),
    (("bn4b1_branch1", "bn4b_branch1", "conv4_block2_0_bn"), "backbone.conv4.1.bn_shortcut"),
    (("res4b35_branch2b", "conv4_block36_2_conv"), "backbone.conv4.35.conv_b"),
    (("res5c_branch2a", "res5b2_branch2a", "conv5_block3_1_conv"), "descriptor_head.conv5.2.conv_a"),
    (("bn3a_branch2a", "conv3_block1_1_bn"), "backbone.conv3.0.bn_a"),
])  # fmt: skip
def test_keras_names_of_deeper_networks(tmp_path, names, ours):
    for name in names:
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file[f"{name}/{name}/beta:0"] = np.ones(3, np.float32)
            file["res4b36_branch2a/beta:0"] = np.ones(3, np.float32)  # no network has a 37th unit
        assert set(read_keras_weights(tmp_path / f"{name}.h5")) == {f"{ours}.beta", "res4b36_branch2a/beta:0"}


def test_imagenet_weights_leave_the_attention_as_it_starts(tmp_path, caplog):
    """The same numbers whichever way they are loaded: at once, as a checkpoint's, or to start training from."""
    written = write_keras(tmp_path / "imagenet.weights", "new")  # known by its content, not by its name
    ms.set_seed(5)
    network = DelfNet(ModelConfig())
    before = values_of(network)
    with caplog.at_level(logging.INFO):
        load_weights(network, tmp_path / "imagenet.weights", ["backbone", "attention"])
    assert caplog.text.count("attention, which stays untrained") == 1
    assert_holds(network, {name: value for name, value in written.items() if name.startswith("backbone")})
    for name, value in values_of(network).items():
        if name.startswith("attention"):
            np.testing.assert_array_equal(value, before[name])
    ms.set_seed(5)
    model = ModelConfig(imagenet_checkpoint=tmp_path / "imagenet.weights")
    write_untrained(model, tmp_path / "made.ckpt")
    again = DelfNet(ModelConfig())
    load_weights(again, tmp_path / "made.ckpt", ["backbone", "attention"])
    for name, value in values_of(again).items():
        np.testing.assert_array_equal(value, values_of(network)[name], err_msg=name)
    attention = AttentionNet(ModelConfig(), 4)
    load_weights(attention, tmp_path / "imagenet.weights", ["backbone"])
    name = "backbone.conv3.1.bn_b.gamma"
    np.testing.assert_array_equal(values_of(attention)[name], values_of(network)[name])


def test_load_stem_false_holds_for_a_whole_network(tmp_path):
    write_keras(tmp_path / "weights.h5", "new")
    network = DelfNet(ModelConfig())
    before = values_of(network)
    load_weights(network, tmp_path / "weights.h5", ["backbone", "attention"], load_stem=False)
    after = values_of(network)
    kept = {name for name in before if (before[name] == after[name]).all()}
    assert {name for name in kept if not name.startswith("attention.")} == {
        f"backbone.{name}" for name in ("conv1.weight", "conv1.bias", "bn1.gamma", "bn1.beta", "bn1.moving_mean",
                                        "bn1.moving_variance")
    }  # fmt: skip


def test_an_untrained_checkpoint_is_known_by_its_numbers(tmp_path, caplog):
    for seed, output in ((3, "a.ckpt"), (3, "a.ckpt"), (4, "b.ckpt")):
        ms.set_seed(seed)
        with caplog.at_level(logging.INFO):
            write_untrained(ModelConfig(), tmp_path / output)
    assert caplog.text.count("a.ckpt: already made") == 1
    with pytest.raises(UserError, match=r"a\.ckpt: made under other settings \(weights\)"):
        write_untrained(ModelConfig(), tmp_path / "a.ckpt")
    write_untrained(ModelConfig(), tmp_path / "a.ckpt", overwrite=True)
    for name in ("c", "c.bin", "c.CKPT"):  # MindSpore would write another file
        with pytest.raises(UserError, match="the name of a checkpoint ends in .ckpt; give `output` such a name"):
            write_untrained(ModelConfig(), tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.ckpt", "b.ckpt"]


@pytest.mark.parametrize(
    "own,other",
    [
        (("resnet50", "keras"), ("resnet101", "keras")),  # which holds every parameter of the first
        (("resnet18", "torchvision"), ("resnet18", "keras")),  # this too
        (("resnet50", "keras"), ("resnet18", "keras")),
        (("resnet34", "torchvision"), ("resnet50", "torchvision")),
    ],
)
def test_weights_of_another_architecture_are_told(tmp_path, own, other):
    model, foreign = (ModelConfig(architecture=name, weights_style=style) for name, style in (own, other))
    write_untrained(foreign, tmp_path / "other.ckpt")
    with pytest.raises(UserError) as caught:
        load_weights(DelfNet(model), tmp_path / "other.ckpt", ["backbone"])
    assert "other.ckpt: weights of {} in style {}, the recipe's network is {} in style {}; ".format(
        *other, *own
    ) in str(caught.value)
    assert str(caught.value).endswith("give `architecture` {} and `weights_style` {}".format(*other))
    with pytest.raises(UserError, match="give `architecture`"):
        load_pretrained(TuningNet(model, 3), tmp_path / "other.ckpt")
    load_weights(AttentionNet(foreign, 3), tmp_path / "other.ckpt", ["backbone"])
