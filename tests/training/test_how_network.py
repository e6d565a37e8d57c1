"""HOW: numbers by hand, a NumPy twin over two scales, the whitening that never trains."""

import numpy as np
import pytest
from eager import tensor

from src.config import Config, ModelConfig
from src.engines.identity import describe_export, sealed, weights_identity
from src.engines.mindspore_engine import folded_weights
from src.engines.onnx_graph import build_onnx
from src.features.encoder import load_encoder
from src.features.heads import Linear
from src.features.local_layer import local_outputs, local_texts
from src.model.architectures import architecture_of
from src.model.weights import save_weights
from src.training.how_network import HowNet, fit_reduction, norms, smoothed, weighted_sum

pytestmark = pytest.mark.usefixtures("pynative")


def as_map(cells):
    """Cells in a row [N, C] -> [1, C, 1, N]."""
    return tensor(np.array(cells, float).T[None, :, None])


def test_numbers_of_two_scales():
    scales = as_map([[3, 4], [0, 1]]), as_map([[6, 8]])
    weights = tuple(norms(each) for each in scales)
    np.testing.assert_allclose([each.asnumpy().max() for each in weights], [5, 10], rtol=1e-6)
    np.testing.assert_allclose(weighted_sum(scales, weights).asnumpy(), [[0.596178, 0.802852]], atol=1e-6)


def slow_smoothed(maps):
    found = np.empty_like(maps)
    for row, column in np.ndindex(maps.shape[-2:]):
        window = maps[..., max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        found[..., row, column] = window.mean((-2, -1))
    return found


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 2, 1, 4), (1, 1, 2, 1)])
def test_smoothing_leaves_out_what_is_beyond_the_border(shape):
    maps = np.random.default_rng(0).normal(size=shape)
    np.testing.assert_allclose(smoothed(tensor(maps)).asnumpy(), slow_smoothed(maps), rtol=1e-5, atol=1e-6)


def test_descriptors_equal_the_slow_twin(small_resnet):
    network = HowNet(ModelConfig(architecture="resnet18", weights_style="torchvision"), 4, (1.0, 0.5))
    network.set_train(False)
    generator = np.random.default_rng(1)
    assert not network.is_whitened
    network.set_reduction(Linear(generator.normal(size=(4, 32)), generator.normal(size=4)))
    images = generator.normal(size=(2, 3, 64, 96)).astype(np.float32)
    half = images.reshape(2, 3, 32, 2, 48, 2).mean((3, 5))  # bilinear, corners not aligned
    weight, bias = (each.asnumpy() for each in (network.reduction.weight, network.reduction.bias))
    total, largest = np.zeros((2, 4)), np.zeros(2)
    maps = [network.backbone(tensor(level)).asnumpy().astype(np.float64) for level in (images, half)]
    for level in maps:
        largest = np.maximum(largest, np.sqrt((level**2).sum(1)).max((1, 2)))
    for level in maps:
        importance = np.sqrt((level**2).sum(1)) / largest[:, None, None]
        reduced = np.einsum("dc,bchw->bdhw", weight[:, :, 0, 0], slow_smoothed(level)) + bias[:, None, None]
        total += (importance[:, None] * reduced).sum((2, 3))
    expected = total / np.linalg.norm(total, axis=1, keepdims=True)
    np.testing.assert_allclose(network(tensor(images)).asnumpy(), expected, rtol=1e-4, atol=1e-5)


def test_the_whitening_is_fitted_and_stays(small_resnet):
    network = HowNet(ModelConfig(architecture="resnet18"), 4)
    generator = np.random.default_rng(2)
    cells = (generator.normal(size=(200, 32)) @ generator.normal(size=(32, 32)) + 3).astype(np.float32)
    layer = fit_reduction(np.split(cells, [7, 100]), 4)
    network.set_reduction(layer)
    reduced = network.reduction(tensor(cells.T[None, :, None])).asnumpy()[0, :, 0].T
    np.testing.assert_allclose(reduced.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(reduced.T), np.eye(4), atol=1e-3)
    assert not any("reduction" in parameter.name for parameter in network.trainable_params())


def test_extraction_reads_a_checkpoint_and_its_export(small_resnet, tmp_path):
    pytest.importorskip("onnxruntime")
    path, keys = tmp_path / "net.ckpt", {"architecture": "resnet18", "weights_style": "torchvision", "seed": 3}
    config = Config(checkpoint_path=str(path), device_target="CPU", image_scales=(1.0,), **keys)
    network = HowNet(config.model, 4)
    network.set_train(False)
    generator = np.random.default_rng(4)
    network.set_reduction(Linear(generator.normal(size=(4, 32)), generator.normal(size=4)))
    save_weights(network, path)
    photo = generator.integers(0, 256, (64, 96, 3), dtype=np.uint8)
    architecture = architecture_of(config.model)
    pixels = (photo - np.array(architecture.pixel_offset)) / np.array(architecture.pixel_scale)
    cells, weights = network.weighed_cells(tensor(pixels.transpose(2, 0, 1)[None]))
    weights, descriptors = weights.asnumpy().ravel(), network.reduction(cells).asnumpy()[0].reshape(4, -1).T
    order = np.argsort(-weights)[:9]
    outputs = local_outputs(str(path))
    texts = {**describe_export(weights_identity(config.run, config.model), architecture, outputs)}
    content = build_onnx(folded_weights(config.run, config.model, outputs), architecture, outputs)
    (tmp_path / "net.onnx").write_bytes(sealed(content, {**texts, **local_texts(str(path))}))
    for name in ("net.ckpt", "net.onnx"):
        own = config.replace(checkpoint_path=str(tmp_path / name), engine="onnxruntime", max_feature_num=9)
        found = load_encoder(own.run, own.model, own.extraction).encode(photo).local
        np.testing.assert_allclose(found.scores, weights[order] / weights.max(), rtol=1e-4)
        np.testing.assert_allclose(found.descriptors, descriptors[order] / 2, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found.keypoints, np.stack(np.divmod(order, 6)[::-1], 1) * 16)
