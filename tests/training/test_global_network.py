"""Networks of global descriptors: DELG's branch, heads, what is frozen, and checkpoints that extraction reads."""

import mindspore as ms
import numpy as np
import pytest
from eager import tensor
from mindspore import ops

from src.config import Config, ModelConfig, TrainingConfig
from src.device import set_up_device
from src.engines.identity import describe_export, sealed, weights_identity
from src.engines.mindspore_engine import FoldedNet, folded_weights
from src.engines.onnx_graph import build_onnx
from src.errors import UserError
from src.features import global_settings
from src.features.encoder import load_encoder
from src.features.global_settings import decide
from src.features.local_layer import LAYER_TEXT, layer_text, local_layer
from src.model.architectures import architecture_of
from src.model.maps import Autoencoder
from src.model.networks import attended_mean
from src.model.weights import load_pretrained, save_weights
from src.training.global_network import ClassHead, DelgNet, GlobalNet, reconstruction_errors
from src.training.how_network import HowNet
from src.training.networks import Describing
from src.training.region_network import RegionalAttentionNet

KEYS = {"architecture": "resnet18", "weights_style": "torchvision"}
MODEL = ModelConfig(**KEYS)
PIXELS = np.random.default_rng(3).integers(0, 256, (64, 96, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def device(small_resnet):
    set_up_device("CPU", 0)
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=ms.GRAPH_MODE)


def randomised(network):
    """The network with numbers that tell channels apart, moving statistics too."""
    generator = np.random.default_rng(11)
    for name, parameter in network.parameters_and_names():
        value = generator.normal(0, 0.2, parameter.shape)
        if name.endswith(("gamma", "moving_variance")):
            value = generator.uniform(0.5, 1.5, parameter.shape)
        elif name.endswith("pooling.p"):
            value = generator.uniform(2, 4, parameter.shape)
        elif parameter.ndim > 1:
            value = generator.normal(0, np.prod(parameter.shape[1:]) ** -0.5, parameter.shape)
        parameter.set_data(tensor(value))
    return network.set_train(False)


def images_of(pixels):
    architecture = architecture_of(MODEL)
    values = (pixels - np.array(architecture.pixel_offset)) / np.array(architecture.pixel_scale)
    return tensor(values.transpose(2, 0, 1)[None])


def encoded(path, kind="global", **keys):
    """What extraction gives: the network in ONNX Runtime, the pooling in NumPy; no key that says how."""
    config = Config(checkpoint_path=str(path), device_target="CPU", engine="onnxruntime", **KEYS, **keys)
    encoder = load_encoder(config.run, config.model, config.extraction, kind=kind, descriptor=config.descriptor)
    return encoder.encode(PIXELS)


def extracted(path):
    return encoded(path).global_descriptor.vector


@pytest.mark.parametrize(
    "settings",
    [
        {"head": "whiten"}, {"gem_power": "channel", "head": "fc", "head_dim": 12}, {"pooling": "mac"},
        {"pooling": "rmac", "rmac_levels": 2, "layer": "block3", "head": "whiten", "head_dim": 7},
    ],
)  # fmt: skip
def test_extraction_reads_a_checkpoint_of_training(tmp_path, settings):
    pytest.importorskip("onnxruntime")
    network = randomised(GlobalNet(MODEL, **settings))
    save_weights(network, tmp_path / "net.ckpt")
    expected = network(images_of(PIXELS)).asnumpy()[0]
    assert len(expected) == network.dimension and np.linalg.norm(expected) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(extracted(tmp_path / "net.ckpt"), expected, atol=1e-5)


@pytest.mark.parametrize("head,nonlinearity", [("conv5", "softplus"), ("block3", "tanh")])
def test_extraction_reads_the_attention_of_regions(tmp_path, head, nonlinearity):
    pytest.importorskip("onnxruntime")
    network = randomised(RegionalAttentionNet(MODEL, 3, TrainingConfig(tuning_head=head), 3, nonlinearity))
    save_weights(network, tmp_path / "net.ckpt")
    expected = network(images_of(PIXELS))[-1].asnumpy()[0]
    logits = network(images_of(PIXELS))[0].asnumpy()[0]
    dense = network.descriptor_head.dense
    np.testing.assert_allclose(logits, dense.weight.asnumpy() @ expected + dense.bias.asnumpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(extracted(tmp_path / "net.ckpt"), expected / np.linalg.norm(expected), atol=1e-5)


def test_descriptors_of_any_length_are_those_of_unit_length_before_the_last_step():
    network = randomised(GlobalNet(MODEL, head="fc"))
    expected = network(images_of(PIXELS)).asnumpy()
    network.descriptor_head.is_unit = False
    found = network(images_of(PIXELS)).asnumpy()
    assert abs(np.linalg.norm(found) - 1) > 0.1
    np.testing.assert_allclose(found / np.linalg.norm(found), expected, atol=1e-6)
    np.testing.assert_allclose(Describing(network)(images_of(PIXELS)).asnumpy(), expected, atol=1e-6)


def test_a_recipe_wins_over_what_a_checkpoint_says(tmp_path):
    network = GlobalNet(MODEL, pooling="rmac", rmac_levels=2, head="fc", head_dim=5)
    save_weights(network, tmp_path / "net.ckpt")
    model = MODEL.replace(checkpoint_path=str(tmp_path / "net.ckpt"))
    found = decide(Config(pooling="gem", head="none", descriptor_layer="block3").descriptor, model)
    assert (found.descriptor.pooling, found.head, found.output) == ("gem", None, "feature_map")
    found = decide(Config().descriptor, model)
    assert (found.descriptor.pooling, found.descriptor.rmac_levels, found.output) == ("rmac", 2, "block4")
    assert found.head.linear.weight.shape == (5, 64) and not found.head.normalise_first


def test_what_extraction_cannot_use_of_a_checkpoint_is_one_sentence(tmp_path):
    model = MODEL.replace(checkpoint_path=str(tmp_path / "net.ckpt"))
    save_weights(HowNet(MODEL, 4), model.checkpoint_path)
    with pytest.raises(UserError, match="net.ckpt: HOW's network, .*; give a `pooling`"):
        decide(Config().descriptor, model)
    assert decide(Config(pooling="gem").descriptor, model).descriptor.pooling == "gem"
    network = GlobalNet(MODEL)
    network.descriptor_head._said["pooling"] = "new"
    save_weights(network, model.checkpoint_path)
    with pytest.raises(UserError, match="net.ckpt: damaged .pooling is 'new'.*; give a checkpoint of this version"):
        decide(Config().descriptor, model)


def test_an_export_carries_the_attention_of_regions(tmp_path, monkeypatch):
    save_weights(randomised(RegionalAttentionNet(MODEL, 3, levels=2)), tmp_path / "net.ckpt")
    made = decide(Config().descriptor, MODEL.replace(checkpoint_path=str(tmp_path / "net.ckpt")))
    texts = {global_settings.EXPORT_TEXT: made.as_text(), "outputs": "block4 [batch, 64, rows, columns]; float32"}
    monkeypatch.setattr(global_settings, "export_texts", lambda path: texts)
    found = decide(Config().descriptor, MODEL.replace(checkpoint_path=str(tmp_path / "net.ckpt")))
    assert found.attention.identity == made.attention.identity and found.attention.nonlinearity == "softplus"
    assert (found.descriptor.pooling, found.descriptor.rmac_levels) == ("regional_attention", 2)


def test_extraction_takes_delgs_codes_where_the_attention_on_what_is_decoded_looks(tmp_path):
    pytest.importorskip("onnxruntime")
    network = randomised(DelgNet(MODEL, 4, gem_power="fixed", head="fc"))
    path, images = tmp_path / "net.ckpt", images_of(PIXELS)
    save_weights(network, path)
    block3 = network.backbone(images)
    codes, decoded = network.autoencoder(block3)
    codes, scores = codes.asnumpy()[0].reshape(128, -1).T, network.attention(decoded).asnumpy().ravel()
    order = np.argsort(-scores)
    keys = {"image_scales": (1.0,), "max_feature_num": 1000}
    config = Config(checkpoint_path=str(path), device_target="CPU", **KEYS)
    weights, architecture = folded_weights(config.run, config.model), architecture_of(MODEL)
    texts = describe_export(weights_identity(config.run, config.model), architecture)
    layer = {LAYER_TEXT: layer_text(local_layer(str(path)))}
    (tmp_path / "net.onnx").write_bytes(sealed(build_onnx(weights, architecture), {**texts, **layer}))
    for found in (encoded(path, "both", **keys), encoded(tmp_path / "net.onnx", "local", **keys)):
        np.testing.assert_allclose(found.local.scores, scores[order], rtol=1e-4)
        expected = codes[order] / np.linalg.norm(codes[order], axis=1, keepdims=True)
        np.testing.assert_allclose(found.local.descriptors, expected, atol=1e-5)
    vector = encoded(path, "both", **keys).global_descriptor.vector
    np.testing.assert_allclose(vector, network(images)[-1].asnumpy()[0], atol=1e-5)
    folded = FoldedNet(weights, architecture)
    np.testing.assert_allclose(folded(images)[1].asnumpy().ravel(), scores, rtol=1e-4)


def test_numbers_of_the_autoencoder():
    features = tensor(np.array([[3, 4], [0, 2]]).T[None, :, None])
    autoencoder = Autoencoder(2, 1)
    for layer, weight, bias in (
        (autoencoder.encoder, [[0.6, 0.8]], [0]), (autoencoder.decoder, [[0.5], [1]], [0, -0.5]),
    ):  # fmt: skip
        layer.weight.set_data(tensor(weight)[:, :, None, None])
        layer.bias.set_data(tensor(bias))
    codes, decoded = autoencoder(features)
    np.testing.assert_allclose(codes.asnumpy().ravel(), [5, 1.6], rtol=1e-6)
    np.testing.assert_allclose(decoded.asnumpy()[0, :, 0].T, [[2.5, 4.5], [0.8, 1.1]], rtol=1e-6)
    np.testing.assert_allclose(10 * reconstruction_errors(features, decoded).asnumpy(), [4.875], rtol=1e-6)
    attention = ops.softplus(tensor([[[[0.5, -1]]]]))
    np.testing.assert_allclose(attended_mean(features, attention).asnumpy(), [[0.292223, 0.546262]], atol=1e-6)


def test_delg_stops_its_gradients_where_the_reference_does():
    network = randomised(DelgNet(MODEL, 4, gem_power="fixed", head="fc"))
    network.set_train()
    images = tensor(np.random.default_rng(5).normal(size=(2, 3, 64, 64)))
    parts = {}
    for number, name in enumerate(("descriptor", "attention", "reconstruction")):
        parameters = network.trainable_params()
        gradients = ops.grad(lambda images, place=number: ops.square(network(images)[place]).sum(), None, parameters)(
            images
        )  # fmt: skip
        moved = [
            parameter.name for parameter, each in zip(parameters, gradients) if np.abs(each.asnumpy()).max() > 1e-9
        ]
        parts[name] = {each.split(".")[0] for each in moved}
    assert parts == {
        "descriptor": {"backbone", "descriptor_head", "class_head"},
        "attention": {"autoencoder", "attention", "attention_head"},
        "reconstruction": {"autoencoder"},
    }


def test_delg_weighs_block3_by_the_attention_on_what_is_decoded():
    network = randomised(DelgNet(MODEL, 4))
    images = images_of(PIXELS)
    cosines, logits, errors, vectors = (each.asnumpy() for each in network(images))
    block3 = network.backbone(images)
    decoded = network.autoencoder(block3)[1]
    pooled = attended_mean(block3, network.attention(decoded)).asnumpy()
    dense = network.attention_head.dense
    np.testing.assert_allclose(logits, pooled @ dense.weight.asnumpy().T + dense.bias.asnumpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(errors, [np.square(block3.asnumpy() - decoded.asnumpy()).mean()], rtol=1e-5)
    weights = network.class_head.dense.weight.asnumpy()
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    np.testing.assert_allclose(cosines, vectors @ weights.T, rtol=1e-4, atol=1e-5)


def test_classes_start_anew_and_the_rest_goes_on(tmp_path):
    first = randomised(DelgNet(MODEL, 4))
    save_weights(first, tmp_path / "net.ckpt")
    second = DelgNet(MODEL, 6)
    report = load_pretrained(second, tmp_path / "net.ckpt")
    assert set(report.head_dropped) == {"attention_head", "class_head"}
    np.testing.assert_array_equal(second.descriptor_head.pooling.p.asnumpy(), first.descriptor_head.pooling.p.asnumpy())
    assert ClassHead(6, 5).dense.weight.shape == (6, 5) and len(ClassHead(6, 5).trainable_params()) == 1


def test_frozen_statistics_and_stages():
    network = randomised(GlobalNet(MODEL, head="whiten"))
    network.freeze_stages(2)
    network.freeze_statistics([network.backbone, network.descriptor_head])
    images = tensor(np.random.default_rng(6).normal(size=(2, 3, 64, 64)))
    before = network(images).asnumpy()
    np.testing.assert_array_equal(network.set_train()(images).asnumpy(), before)
    frozen = {parameter.name for parameter in network.get_parameters() if not parameter.requires_grad}
    frozen = {name for name in frozen if "moving_" not in name}
    assert frozen and all(name.startswith(("backbone.conv1.", "backbone.bn1.", "backbone.conv2.")) for name in frozen)
