"""The folded network against the network as trained and against plain NumPy, and the folding of one layer by hand."""

import mindspore as ms
import numpy as np
import numpy_delf as reference
import pytest
from test_delf_forward import assert_close, randomise

from src.config import Config
from src.device import set_up_device
from src.engines.mindspore_engine import ANY_SIZE, FoldedDelf, as_model, softplus
from src.model.delf import DelfNet
from src.model.folding import UNITS, fold
from src.model.resnet50 import feature_map_size


@pytest.fixture(scope="module")
def networks():
    """The network as trained and the folded one, as functions of a batch, and the float64 weights of both."""
    set_up_device("CPU", 0)
    trained = DelfNet(Config())
    weights = randomise(trained)
    trained.set_train(False)
    trained.set_inputs(ms.Tensor(shape=ANY_SIZE, dtype=ms.float32))
    return as_model(trained), as_model(FoldedDelf(fold(weights))), weights


def random_images(batch, height, width):
    return np.random.default_rng(height * width).uniform(-1, 1, (batch, 3, height, width)).astype(np.float32)


def test_a_layer_by_hand():
    weights = {
        "head.conv_a.weight": np.array([[[[3.0]]], [[[5.0]]]]),
        "head.conv_a.bias": np.array([1.0, 0.0]),
        "head.bn_a.gamma": np.array([2.0, 1.0]),
        "head.bn_a.beta": np.array([7.0, -1.0]),
        "head.bn_a.moving_mean": np.array([4.0, 0.5]),
        "head.bn_a.moving_variance": np.array([0.25 - 1e-3, 1.0 - 1e-3]),  # Keras's epsilon brings them to 1/4 and 1
        "head.conv_b.weight": np.array([[[[6.0]]]]),
        "head.conv_b.bias": np.array([8.0]),
    }
    folded = fold(weights)
    assert sorted(folded) == ["head.conv_a.bias", "head.conv_a.weight", "head.conv_b.bias", "head.conv_b.weight"]
    np.testing.assert_allclose(folded["head.conv_a.weight"].ravel(), [12, 5], rtol=1e-6)  # 3 * 2 / 0.5
    np.testing.assert_allclose(folded["head.conv_a.bias"], [(1 - 4) * 4 + 7, -0.5 - 1], rtol=1e-6)
    assert folded["head.conv_b.weight"] == 6 and folded["head.conv_b.bias"] == 8  # no BatchNorm follows


def test_units_are_those_of_resnet50():
    assert len(UNITS) == 3 + 4 + 6
    assert [name for name, stride in UNITS if stride == 2] == [
        f"backbone.{unit}" for unit in ("conv2.2", "conv3.3", "conv4.5")
    ]


@pytest.mark.parametrize("size", [(97, 129), (64, 64), (33, 48), (70, 101), (6, 5), (128, 35)])
def test_as_the_trained_network_at_odd_and_even_sides(networks, size):
    trained, folded, _ = networks
    images = random_images(2, *size)
    for found, expected in zip(folded(images), trained(images)):
        assert_close(found, expected)
    assert folded(images)[0].shape == (2, 1024, *feature_map_size(*size))


@pytest.mark.parametrize("size", [(65, 98), (66, 97)])
def test_as_plain_numpy(networks, size):
    _, folded, weights = networks
    image = random_images(1, *size)
    expected = reference.block3(image[0], weights)
    feature_map, attention = folded(image)
    assert_close(feature_map[0], expected)
    assert_close(attention[0], reference.attention(expected, weights))


def test_softplus_resolves_small_and_large_values():
    x = np.linspace(-30, 30, 1001, dtype=np.float32)
    np.testing.assert_allclose(softplus(ms.Tensor(x)).asnumpy(), np.logaddexp(0, x.astype(np.float64)), rtol=2e-5)


def test_the_same_image_gives_the_same_bits_whatever_ran_before(networks):
    """MindSpore retunes how it shares a map among threads while a process runs."""
    _, folded, _ = networks
    images = [random_images(1, *size) for size in ((97, 129), (64, 64), (70, 101))]
    first = [folded(image) for image in images]
    order = np.random.default_rng(0).integers(0, len(images), 40)
    for number in order:
        for found, expected in zip(folded(images[number]), first[number]):
            np.testing.assert_array_equal(found, expected)
