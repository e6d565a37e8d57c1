"""The folded network against the network as trained and against plain NumPy, and the folding of one layer by hand."""

import mindspore as ms
import numpy as np
import numpy_delf as reference
import pytest
from made_networks import assert_close, random_images, randomise, recipe_and_twin

from src.device import set_up_device
from src.engines.mindspore_engine import ANY_SIZE, FoldedNet, on_arrays, softplus
from src.model.architectures import fold
from src.model.networks import DelfNet

SLOW = pytest.mark.slow


def both(name, style):
    """The network as trained and the folded one, as functions of a batch, the float64 weights of both, and the twin."""
    set_up_device("CPU", 0)
    model, net = recipe_and_twin(name, style)
    trained = DelfNet(model)
    weights = randomise(trained)
    trained.set_train(False)
    trained.set_inputs(ms.Tensor(shape=ANY_SIZE, dtype=ms.float32))
    folded = FoldedNet(fold(weights, net.epsilon), trained.architecture)
    return on_arrays(trained), on_arrays(folded), weights, net


@pytest.fixture(scope="module")
def resnet50():
    return both("resnet50", "keras")


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
    folded = fold(weights, 1e-3)
    assert sorted(folded) == ["head.conv_a.bias", "head.conv_a.weight", "head.conv_b.bias", "head.conv_b.weight"]
    np.testing.assert_allclose(folded["head.conv_a.weight"].ravel(), [12, 5], rtol=1e-6)  # 3 * 2 / 0.5
    np.testing.assert_allclose(folded["head.conv_a.bias"], [(1 - 4) * 4 + 7, -0.5 - 1], rtol=1e-6)
    np.testing.assert_allclose(fold(weights, 1.0 + 1e-3)["head.conv_a.weight"].ravel()[1], 5 / 2**0.5, rtol=1e-6)
    assert folded["head.conv_b.weight"] == 6 and folded["head.conv_b.bias"] == 8  # no BatchNorm follows


def test_a_convolution_without_a_bias_gets_one():
    weights = {"a.conv1.weight": np.full((1, 1, 1, 1), 3.0), "a.bn1.gamma": np.array([2.0]),
               "a.bn1.beta": np.array([7.0]), "a.bn1.moving_mean": np.array([5.0]),
               "a.bn1.moving_variance": np.array([3.0])}  # fmt: skip
    folded = fold(weights, 1.0)
    assert folded["a.conv1.weight"] == 3 * 2 / 2 and folded["a.conv1.bias"] == 7 - 5


@pytest.mark.parametrize("size", [(97, 129), (64, 64), (33, 48), (70, 101), (6, 5), (128, 35)])
def test_as_the_trained_network_at_odd_and_even_sides(resnet50, size):
    trained, folded, _, _ = resnet50
    images = random_images(2, *size)
    for found, expected in zip(folded(images), trained(images)):
        assert_close(found, expected)
    assert folded(images)[0].shape == (2, 1024, *reference.block3_size(*size))


@pytest.mark.parametrize("size", [(65, 98), (66, 97)])
def test_as_plain_numpy(resnet50, size):
    _, folded, weights, net = resnet50
    assert_as_numpy(folded, weights, net, size)


def assert_as_numpy(network, weights, net, size):
    image = random_images(1, *size)
    expected = reference.block3(image[0], weights, net)
    feature_map, attention = network(image)
    assert_close(feature_map[0], expected)
    assert_close(attention[0], reference.attention(expected, weights, net))


@pytest.mark.parametrize(
    "name,style",
    [
        ("resnet18", "torchvision"),
        pytest.param("resnet18", "keras", marks=SLOW),
        pytest.param("resnet50", "torchvision", marks=SLOW),
    ],
)
def test_other_architectures_at_odd_and_even_sides(name, style):
    trained, folded, weights, net = both(name, style)
    for size in ((65, 70), (64, 101), (6, 5)):
        for found, expected in zip(folded(random_images(2, *size)), trained(random_images(2, *size))):
            assert_close(found, expected)
    assert_as_numpy(folded, weights, net, (66, 97))


def test_softplus_resolves_small_and_large_values():
    x = np.linspace(-30, 30, 1001, dtype=np.float32)
    np.testing.assert_allclose(softplus(ms.Tensor(x)).asnumpy(), np.logaddexp(0, x.astype(np.float64)), rtol=2e-5)


def test_the_same_image_gives_the_same_bits_whatever_ran_before(resnet50):
    """MindSpore retunes how it shares a map among threads while a process runs."""
    folded = resnet50[1]
    images = [random_images(1, *size) for size in ((97, 129), (64, 64), (70, 101))]
    first = [folded(image) for image in images]
    order = np.random.default_rng(0).integers(0, len(images), 40)
    for number in order:
        for found, expected in zip(folded(images[number]), first[number]):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name,style", [("resnet34", "torchvision"), ("resnet101", "keras"), ("resnet152", "torchvision")]
)
def test_deep_networks_fold(name, style):
    """Against plain NumPy with BatchNorm apart: as trained, MindSpore would compile these for minutes."""
    set_up_device("CPU", 0)
    model, net = recipe_and_twin(name, style)
    trained = DelfNet(model)
    weights = randomise(trained)
    folded = on_arrays(FoldedNet(fold(weights, net.epsilon), trained.architecture))
    assert_as_numpy(folded, weights, net, (65, 98))
