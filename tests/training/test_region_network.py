"""The attention of regions: numbers by hand, what trains, and that extraction reads it from the checkpoint."""

import numpy as np
import pytest
from eager import tensor
from mindspore import ops

from src.config import ModelConfig, TrainingConfig
from src.training.region_network import RegionalAttention, RegionalAttentionNet

pytestmark = pytest.mark.usefixtures("pynative")


@pytest.mark.parametrize("nonlinearity,expected", [("tanh", 2.010972), ("softplus", 1.890948)])
def test_weight_of_a_region(nonlinearity, expected):
    attention = RegionalAttention(2, nonlinearity, hidden=2)
    for parameter, value in (
        (attention.hidden.weight, [[1, 0, 0, 1], [0, 1, -1, 0]]), (attention.hidden.bias, [0, 0]),
        (attention.score.weight, [[1, -1]]), (attention.score.bias, [0.5]),
    ):  # fmt: skip
        parameter.set_data(tensor(value))
    found = attention(tensor([[[1, 0]]]), tensor([[0.5, 0.5]])).asnumpy()
    np.testing.assert_allclose(found, [[expected]], atol=1e-6)


def test_its_numbers_on_resnet101():
    assert sum(parameter.size for parameter in RegionalAttention(2048).get_parameters()) == 262273


@pytest.mark.parametrize("head", ["conv5", "block3"])
def test_nothing_trains_but_the_attention(small_resnet, head):
    network = RegionalAttentionNet(ModelConfig(architecture="resnet18"), 3, TrainingConfig(tuning_head=head), 2)
    names = {parameter.name for parameter in network.trainable_params()}
    assert names == {f"regional_attention.{layer}.{kind}" for layer in ("hidden", "score") for kind in
                     ("weight", "bias")}  # fmt: skip
    images = tensor(np.random.default_rng(0).normal(size=(2, 3, 64, 96)))
    network.set_train()
    gradients = ops.grad(lambda images: network(images)[0][:, 0].sum(), None, network.trainable_params())(images)
    assert all(np.isfinite(each.asnumpy()).all() for each in gradients) and gradients[0].asnumpy().any()
