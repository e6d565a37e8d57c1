"""The networks against a plain NumPy forward pass, with random, spatially asymmetric weights."""

import mindspore as ms
import numpy as np
import numpy_delf as reference
import pytest

from src.config import Config
from src.device import set_up_device
from src.model.delf import AttentionNet, DelfNet, JointNet, TuningNet
from src.model.resnet50 import feature_map_size


@pytest.fixture(scope="module", autouse=True)
def device():
    set_up_device("CPU", 0)


def randomise(network):
    """Give every parameter values that tell axes, signs and layers apart; return them as float64 arrays."""
    generator = np.random.default_rng(7)
    weights = {}
    for name, parameter in network.parameters_and_names():
        fan_in = np.prod(parameter.shape[1:]) if parameter.ndim > 1 else 1
        value = generator.normal(0, np.sqrt(1.0 / fan_in), parameter.shape)
        if name.endswith(("gamma", "moving_variance")):
            value = generator.uniform(0.5, 1.5, parameter.shape)
        elif parameter.ndim == 1:
            value = generator.normal(0, 0.2, parameter.shape)
        weights[name] = value.astype(np.float32).astype(np.float64)
        parameter.set_data(ms.Tensor(value.astype(np.float32)))
    return weights


def assert_close(actual, expected, tolerance=1e-4):
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("height,width", [(97, 129), (128, 96)])
def test_features_and_attention(height, width):
    network = DelfNet(Config())
    weights = randomise(network)
    network.set_train(False)
    image = np.random.default_rng(1).uniform(-1, 1, (3, height, width)).astype(np.float32)
    features, attention = (value.asnumpy()[0] for value in network(ms.Tensor(image[None])))
    expected = reference.block3(image, weights)
    assert features.shape[1:] == feature_map_size(height, width)
    assert_close(features, expected)
    assert_close(attention, reference.attention(expected, weights))


@pytest.mark.parametrize("build", [TuningNet, AttentionNet, JointNet])
def test_logits_of_each_stage(build):
    image = np.random.default_rng(2).uniform(-1, 1, (3, 65, 97)).astype(np.float32)
    network = build(Config(), 5)
    weights = randomise(network)
    network.set_train(False)
    features = reference.block3(image, weights)
    expected = {
        "descriptor": lambda: reference.tuning_logits(features, weights),
        "attention": lambda: reference.attention_logits(features, reference.attention(features, weights), weights),
    }
    for head, logits in zip(network.HEADS, network(ms.Tensor(image[None]))):
        assert_close(logits.asnumpy()[0], expected[head]())


@pytest.mark.parametrize("side,cells", [(5, 1), (36, 1), (37, 2), (224, 7), (321, 10), (512, 16), (2048, 64)])
def test_feature_map_sides_of_the_reference(side, cells):
    assert feature_map_size(side, side) == (cells, cells)


def test_descriptor_head_pools_the_whole_map():
    """The port's 7x7 pooling saw 49 of the 100 cells at 321 px; a change in the last cell must count."""
    network = TuningNet(Config(), 3)
    randomise(network)
    network.set_train(False)
    features = np.random.default_rng(3).uniform(0, 1, (1, 1024, 10, 10)).astype(np.float32)
    changed = features.copy()
    changed[..., 9, 9] += 1
    before, after = (network.descriptor_head(ms.Tensor(value)).asnumpy() for value in (features, changed))
    assert np.abs(before - after).max() > 1e-4
