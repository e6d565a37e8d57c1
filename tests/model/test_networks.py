"""The networks against a plain NumPy forward pass, with random, spatially asymmetric weights."""

import mindspore as ms
import numpy as np
import numpy_delf as reference
import pytest
from made_networks import assert_close, random_images, randomise, recipe_and_twin

from src.config import ModelConfig
from src.device import set_up_device
from src.model.networks import AttentionNet, DelfNet, JointNet, TuningNet

SLOW = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def device():
    set_up_device("CPU", 0)


@pytest.mark.parametrize(
    "name,style,height,width",
    [
        ("resnet50", "keras", 97, 129),
        ("resnet50", "keras", 128, 96),
        ("resnet18", "torchvision", 97, 130),
        pytest.param("resnet50", "torchvision", 128, 97, marks=SLOW),
        pytest.param("resnet34", "keras", 97, 128, marks=SLOW),
    ],
)
def test_features_and_attention(name, style, height, width):
    model, net = recipe_and_twin(name, style)
    network = DelfNet(model)
    weights = randomise(network)
    network.set_train(False)
    image = random_images(1, height, width)
    features, attention = (value.asnumpy()[0] for value in network(ms.Tensor(image)))
    expected = reference.block3(image[0], weights, net)
    if style == "keras":
        assert features.shape[1:] == reference.block3_size(height, width)
    assert_close(features, expected)
    assert_close(attention, reference.attention(expected, weights, net))


@pytest.mark.parametrize(
    "name,style",
    [
        ("resnet50", "keras"),
        ("resnet18", "torchvision"),
        pytest.param("resnet50", "torchvision", marks=SLOW),
        pytest.param("resnet18", "keras", marks=SLOW),
    ],
)
@pytest.mark.parametrize("build", [TuningNet, AttentionNet, JointNet])
def test_logits_of_each_stage(build, name, style):
    model, net = recipe_and_twin(name, style)
    image = np.random.default_rng(2).uniform(-1, 1, (3, 65, 97)).astype(np.float32)
    network = build(model, 5)
    weights = randomise(network)
    network.set_train(False)
    features = reference.block3(image, weights, net)
    attended = reference.attention(features, weights, net) if "attention.bn1.beta" in weights else None
    expected = {
        "descriptor": lambda: reference.tuning_logits(features, weights, net),
        "attention": lambda: reference.attention_logits(features, attended, weights),
    }
    for head, logits in zip(network.HEADS, network(ms.Tensor(image[None]))):
        assert_close(logits.asnumpy()[0], expected[head]())


@pytest.mark.parametrize("side,cells", [(5, 1), (36, 1), (37, 2), (224, 7), (321, 10), (512, 16), (2048, 64)])
def test_feature_map_sides_of_the_reference(side, cells):
    assert reference.block3_size(side, side) == (cells, cells)


def test_descriptor_head_pools_the_whole_map():
    """The port's 7x7 pooling saw 49 of the 100 cells at 321 px; a change in the last cell must count."""
    network = TuningNet(ModelConfig(), 3)
    randomise(network)
    network.set_train(False)
    features = np.random.default_rng(3).uniform(0, 1, (1, 1024, 10, 10)).astype(np.float32)
    changed = features.copy()
    changed[..., 9, 9] += 1
    before, after = (network.descriptor_head(ms.Tensor(value)).asnumpy() for value in (features, changed))
    assert np.abs(before - after).max() > 1e-4
