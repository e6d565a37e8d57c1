"""Other libraries' weights of a ResNet: each family's names, what a file says of itself, and the network that runs."""

import logging

import mindspore as ms
import numpy as np
import numpy_delf as reference
import pytest
from made_networks import COUNTS, assert_close, random_images
from torch_files import named, ordered, plain, write_state

from src.config import ModelConfig, RunConfig
from src.device import set_up_device
from src.engines import load_network
from src.engines.identity import weights_identity
from src.errors import UserError
from src.model.foreign_head import read_head
from src.model.networks import TuningNet
from src.model.weight_files import is_foreign_file, read_weights, tensor_names
from src.model.weights import load_pretrained, load_weights

IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


def layers(depth):
    """(torchvision's name, this project's) of every layer of a ResNet of so many layers."""
    yield "conv1", "backbone.conv1"
    yield "bn1", "backbone.bn1"
    basic = depth in (18, 34)
    for stage, count in enumerate(COUNTS[f"resnet{depth}"], 1):
        owner = "descriptor_head" if stage == 4 else "backbone"
        for unit in range(count):
            theirs, ours = f"layer{stage}.{unit}", f"{owner}.conv{stage + 1}.{unit}"
            for place, letter in enumerate("ab" if basic else "abc", 1):
                yield f"{theirs}.conv{place}", f"{ours}.conv_{letter}"
                yield f"{theirs}.bn{place}", f"{ours}.bn_{letter}"
            if unit == 0 and not (basic and stage == 1):
                yield f"{theirs}.downsample.0", f"{ours}.conv_shortcut"
                yield f"{theirs}.downsample.1", f"{ours}.bn_shortcut"


TORCH = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def small_weights(depth, kinds=TORCH):
    """Tensors of a few numbers under torchvision's names, BatchNorm's by ``kinds``, and under this project's."""
    generator, theirs, ours = np.random.default_rng(depth), {}, {}
    for their_name, our_name in layers(depth):
        own_kinds = kinds if ".bn" in our_name else {"weight": "weight"}
        for our_kind, their_kind in own_kinds.items():
            value = generator.uniform(0.5, 1, (2, 1, 1, 1) if our_kind == "weight" else 2).astype(np.float32)
            theirs[f"{their_name}.{their_kind}"] = ours[f"{our_name}.{our_kind}"] = value
    return theirs, ours


def assert_equal(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("depth,old", [(18, True), (34, False), (50, True), (101, False), (152, False)])
def test_torchvision(tmp_path, depth, old):
    theirs, ours = small_weights(depth)
    theirs["bn1.num_batches_tracked"] = np.int64(5).reshape(())
    theirs["fc.weight"] = ours["fc.weight"] = np.ones((3, 2), np.float32)
    path = write_state(tmp_path / "resnet.pth", theirs, old)
    assert_equal(read_weights(path), ours)
    assert is_foreign_file(path) and tensor_names(path) == set(ours)


def test_cirtorch(tmp_path):
    """Parts by their numbers: conv1, bn1, ReLU, max-pool and the four stages."""
    theirs, ours = small_weights(50)
    numbers = {"conv1": "0", "bn1": "1", **{f"layer{stage}": str(stage + 3) for stage in (1, 2, 3, 4)}}
    renamed = {f"features.{numbers[name.split('.')[0]]}.{name.split('.', 1)[1]}": theirs[name] for name in theirs}
    head = {"pool.p": np.float32([2.9]), "whiten.weight": np.eye(2, dtype=np.float32), "whiten.bias": np.ones(2)}
    meta = {"architecture": "resnet50", "pooling": "gem", **IMAGENET,
            "Lw": {"sfm": {"ms": {"m": np.ones((2, 1)), "P": np.eye(2)}}}}  # fmt: skip
    path = write_state(tmp_path / "net.pth", {**renamed, **head}, meta=plain(meta), epoch=plain(3))
    assert_equal(read_weights(path), {**ours, **head})
    found = read_head(path)
    assert found.pooling == "gem" and found.gem_p == np.float32([2.9]) and found.fc is None
    np.testing.assert_array_equal(found.whiten[0], np.eye(2))
    np.testing.assert_array_equal(found.whitenings["sfm/ms"]["m"], np.ones((2, 1)))
    features = {name[len("features.") :]: value for name, value in renamed.items()}  # its features of Caffe's
    assert_equal(read_weights(write_state(tmp_path / "features.pth", features)), ours)


def test_dirtorch(tmp_path):
    theirs, ours = small_weights(101)
    head = {"adpool.p": np.float32([3.1]), "fc.weight": np.ones((2, 2), np.float32), "fc.bias": np.zeros(2)}
    tensors = {f"module.{name}": value for name, value in {**theirs, **head}.items()}
    arrays = {"mean_": np.ones(2), "components_": np.eye(2), "explained_variance_": np.arange(2.0), "whiten": True}
    pca = named("sklearn.decomposition.pca", "PCA") + b")\x81" + plain(arrays) + b"b"
    entries = {"model_options": plain({"arch": "resnet101_rmac", "out_dim": 2}), "preprocess": plain(IMAGENET),
               "pca": ordered({"Landmarks_clean": pca})}  # fmt: skip
    path = write_state(tmp_path / "Resnet101-AP-GeM.pt", tensors, **entries)
    assert_equal(read_weights(path), {**ours, **{f"module.{name}": value for name, value in head.items()}})
    found = read_head(path)
    assert found.pooling == "gem" and found.gem_p == np.float32([3.1]) and found.whiten is None
    np.testing.assert_array_equal(found.fc[0], np.ones((2, 2)))
    whitening = found.whitenings["Landmarks_clean"]
    assert set(whitening) == {"mean", "components", "explained_variance"}
    np.testing.assert_array_equal(whitening["explained_variance"], np.arange(2.0))
    assert read_head(write_state(tmp_path / "torchvision.pth", {**theirs, **{"fc.weight": np.ones(2)}})).fc is None


def save_ckpt(path, tensors):
    ms.save_checkpoint([{"name": name, "data": ms.Tensor(value)} for name, value in tensors.items()], str(path))
    return path


MINDSPORE = {kind: kind for kind in TORCH}


def test_mindcv(tmp_path):
    theirs, ours = small_weights(50, MINDSPORE)
    theirs = {name.replace("downsample", "down_sample"): value for name, value in theirs.items()}
    theirs["classifier.weight"] = ours["classifier.weight"] = np.ones((3, 2), np.float32)
    state = {"moments.layer1.0.bn1.gamma": np.ones(2, np.float32)}
    path = save_ckpt(tmp_path / "resnet50.ckpt", {**theirs, **state})
    assert_equal(read_weights(path), ours)
    assert is_foreign_file(path)


@pytest.mark.parametrize("depth", [18, 50])
def test_model_zoo(tmp_path, depth):
    """Its BatchNorm divides by sqrt(variance + 1e-4); with basic units only that of the units' branches does."""
    theirs, ours = small_weights(depth, MINDSPORE)
    basic = depth == 18
    theirs = {name.replace("downsample", "down_sample_layer"): value for name, value in theirs.items()}
    if basic:
        parts = (name.rsplit(".", 2) for name in theirs)
        renamed = [
            ".".join([a, f"{b}d" if b in ("bn1", "bn2") else b, c]) if a != b and a.startswith("layer") else name
            for name, (a, b, c) in zip(theirs, (p if len(p) == 3 else ("", *p) for p in parts))
        ]
        theirs = dict(zip(renamed, theirs.values()))  # fmt: skip
        assert "layer3.1.bn2d.gamma" in theirs and "bn1.gamma" in theirs
    found = read_weights(save_ckpt(tmp_path / "resnet.ckpt", theirs))
    assert set(found) == set(ours)
    for name, value in ours.items():
        epsilon = 1e-4 if not basic or ".bn_a" in name or ".bn_b" in name else 1e-5
        if name.endswith("moving_variance"):
            np.testing.assert_allclose(found[name] + 1e-5, value + epsilon, rtol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_timm_safetensors(tmp_path):
    save_file = pytest.importorskip("safetensors.numpy").save_file
    theirs, ours = small_weights(34)
    save_file({**theirs, "fc.weight": np.ones((3, 2), np.float16)}, str(tmp_path / "model.safetensors"))
    assert_equal(read_weights(tmp_path / "model.safetensors"), {**ours, "fc.weight": np.ones((3, 2), np.float16)})
    assert is_foreign_file(tmp_path / "model.safetensors")


@pytest.mark.parametrize("entries,said", [
    ({"meta": {"architecture": "vgg16"}}, "weights of vgg16, which no `architecture` is; give resnet18, "),
    ({"model_options": {"arch": "resnet22"}}, "weights of resnet22, which no"),
    ({"meta": {"architecture": "resnet101"}}, "says that it is resnet101 and holds resnet50; give another file"),
    ({"preprocess": {"mean": [0.5, 0.5, 0.5]}}, r"`mean` \[0.5, 0.5, 0.5\], `weights_style` torchvision has 0.485"),
    ({"meta": {**IMAGENET, "std": [1 / 255] * 3}}, "`std` .* `weights_style` torchvision has 0.229, 0.224, 0.225"),
    ({"meta": {"mean": "none"}}, "pixels with `mean` none"),
])  # fmt: skip
def test_files_that_contradict_themselves_or_the_table_are_refused(tmp_path, entries, said):
    theirs, _ = small_weights(50)
    programs = {name: plain(value) for name, value in entries.items()}
    with pytest.raises(UserError, match=f"net.pth: .*{said}"):
        read_weights(write_state(tmp_path / "net.pth", theirs, **programs))


def test_two_tensors_of_one_name_are_refused(tmp_path):
    tensors = {"conv1.weight": np.ones((2, 1, 1, 1)), "module.conv1.weight": np.ones((2, 1, 1, 1))}
    with pytest.raises(UserError, match="two of its tensors are backbone.conv1.weight"):
        read_weights(write_state(tmp_path / "net.pth", tensors))


def test_the_identity_of_foreign_weights_has_the_seed_of_the_attention(tmp_path):
    theirs, _ = small_weights(18)
    own = {"backbone.bn1.gamma": np.ones(2, np.float32)}
    kept = []
    for path in (write_state(tmp_path / "a.pth", theirs), save_ckpt(tmp_path / "a.ckpt", theirs),
                 save_ckpt(tmp_path / "own.ckpt", own)):  # fmt: skip
        model = ModelConfig(checkpoint_path=str(path))
        kept.append(len({weights_identity(RunConfig(seed=seed), model) for seed in (0, 1)}))
    assert kept == [2, 2, 1]


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory):
    """A recipe whose checkpoint is a .pth of full size, and its tensors under this project's names."""
    set_up_device("CPU", 0)
    model = ModelConfig(architecture="resnet18", weights_style="torchvision")
    generator, ours = np.random.default_rng(1), {}
    for name, parameter in TuningNet(model, 3).parameters_and_names():
        scale = np.sqrt(1 / np.prod(parameter.shape[1:])) if parameter.ndim > 1 else 0.2
        value = generator.normal(0, scale, parameter.shape)
        value = 1 + 0.5 * np.tanh(value) if name.endswith(("gamma", "moving_variance")) else value
        ours[name] = value.astype(np.float32)
    theirs = {}
    for their_name, our_name in layers(18):
        for our_kind, their_kind in (TORCH if ".bn" in our_name else {"weight": "weight"}).items():
            theirs[f"{their_name}.{their_kind}"] = ours[f"{our_name}.{our_kind}"]
    theirs["fc.weight"], theirs["fc.bias"] = np.zeros((1000, 512), np.float32), np.zeros(1000, np.float32)
    path = write_state(tmp_path_factory.mktemp("weights") / "resnet18.pth", theirs)
    return model.replace(checkpoint_path=str(path)), ours


def test_training_starts_from_it_and_says_what_was_loaded(resnet18, caplog):
    model, ours = resnet18
    network = TuningNet(model, 3)
    with caplog.at_level(logging.INFO):
        report = load_pretrained(network, model.checkpoint_path)
    assert report.unexpected == ("fc.bias", "fc.weight") and len(report.loaded) == 100
    assert report.missing == ("descriptor_head.dense.bias", "descriptor_head.dense.weight")
    assert (
        "resnet18.pth (PyTorch): 100 tensors loaded; 2 keep their initial values: descriptor_head.dense.bias, "
        "descriptor_head.dense.weight; 2 unexpected, left out: fc.bias, fc.weight"
    ) in caplog.text
    for name, parameter in network.parameters_and_names():
        if "dense" not in name:
            np.testing.assert_array_equal(parameter.asnumpy(), ours[name], err_msg=name)


def test_a_recipe_of_another_network_is_told_what_to_give(resnet18):
    model, _ = resnet18
    with pytest.raises(UserError, match="give `architecture` resnet18 and `weights_style` torchvision"):
        load_pretrained(TuningNet(model.replace(architecture="resnet50"), 3), model.checkpoint_path)
    with pytest.raises(UserError, match="give `architecture` resnet18 and `weights_style` torchvision"):
        load_weights(TuningNet(model.replace(weights_style="keras"), 3), model.checkpoint_path, ["backbone"])


@pytest.mark.parametrize("engine", ["onnxruntime", pytest.param("mindspore", marks=pytest.mark.slow)])
def test_extraction_runs_it(resnet18, engine, caplog):
    if engine == "onnxruntime":
        pytest.importorskip("onnx")
        pytest.importorskip(engine)
    model, ours = resnet18
    image = random_images(1, 33, 47)
    with caplog.at_level(logging.INFO):
        block3, attention = load_network(RunConfig(device_target="CPU"), model.replace(engine=engine))(image)
    assert "resnet18.pth: weights of a ResNet without an attention, which stays untrained" in caplog.text
    weights = {name: value.astype(np.float64) for name, value in ours.items()}
    assert_close(
        block3.transpose(2, 0, 1), reference.block3(image[0], weights, reference.Net(COUNTS["resnet18"], True))
    )
    assert attention.shape == block3.shape[:2] and attention.min() > 0
