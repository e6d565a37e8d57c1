"""One training step against the same arithmetic in NumPy, and what the attention stage must leave alone."""

import hashlib

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.config import Config
from src.device import set_up_device
from src.model.delf import AttentionNet
from src.training.schedule import LinearToZero
from src.training.step import TrainStep, clip_by_global_norm


@pytest.fixture(scope="module", autouse=True)
def device():
    set_up_device("CPU", 0)


class TinyNet(nn.Cell):
    """A dense layer on the flattened image, in place of a network whose gradients cannot be written by hand."""

    def __init__(self):
        super().__init__()
        self.dense = nn.Dense(12, 3, weight_init="normal")

    def construct(self, images):
        return self.dense(ops.reshape(images, (images.shape[0], -1)))


def numpy_step(weight, bias, velocity, images, labels, rate, config, factor=1.0):
    """Softmax cross-entropy, gradients, clipping to the global norm, momentum: the formulas written out."""
    flat = images.reshape(len(images), -1).astype(np.float64)
    logits = flat @ weight.T + bias
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = exponentials / exponentials.sum(1, keepdims=True)
    loss = -np.log(probabilities[np.arange(len(labels)), labels]).mean()
    accuracy = (logits.argmax(1) == labels).mean()
    error = (probabilities - np.eye(3)[labels]) / len(labels) * factor
    gradients = [error.T @ flat, error.sum(0)]
    norm = np.sqrt(sum((gradient**2).sum() for gradient in gradients))
    scale = min(1.0, config.clip_norm / norm)
    velocity = [config.momentum * v + scale * g for v, g in zip(velocity, gradients)]
    return weight - rate * velocity[0], bias - rate * velocity[1], velocity, (loss, accuracy, norm)


@pytest.mark.parametrize("state,factor", [("tuning", 1.0), ("attn", 2.5)])
def test_steps_equal_the_formulas(state, factor):
    config = Config(train_state=state, clip_norm=0.3, initial_lr=0.5, max_iters=4, attention_loss_weight=2.5)
    network = TinyNet()
    step = TrainStep(network, config)
    step.set_train()
    weight, bias = (p.asnumpy().astype(np.float64) for p in (network.dense.weight, network.dense.bias))
    velocity = [np.zeros_like(weight), np.zeros_like(bias)]
    generator = np.random.default_rng(3)
    for number in range(4):
        images = generator.normal(size=(5, 3, 2, 2)).astype(np.float32)
        labels = generator.integers(0, 3, 5).astype(np.int32)
        outputs = [float(value.asnumpy()) for value in step(ms.Tensor(images), ms.Tensor(labels))]
        rate = 0.5 * (1 - number / 4)
        weight, bias, velocity, expected = numpy_step(
            weight, bias, velocity, images, labels, rate, config, factor
        )  # fmt: skip
        np.testing.assert_allclose(outputs, expected, rtol=1e-4)
        np.testing.assert_allclose(network.dense.weight.asnumpy(), weight, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(network.dense.bias.asnumpy(), bias, rtol=1e-4, atol=1e-6)


def test_learning_rate_falls_linearly_and_never_below_zero():
    schedule = LinearToZero(0.01, 500000)
    for step, rate in ((0, 0.01), (250000, 0.005), (499999, 2e-8), (500000, 0.0), (600000, 0.0)):
        assert float(schedule(ms.Tensor(step, ms.int32)).asnumpy()) == pytest.approx(
            rate, abs=1e-9
        )  # float32: 1e-7 of 0.01


def test_clipping_keeps_short_gradients_and_shortens_long_ones():
    gradients = (ms.Tensor([3.0, 0.0]), ms.Tensor([[4.0]]))
    kept, norm = clip_by_global_norm(gradients, 10.0)
    assert float(norm.asnumpy()) == 5.0 and kept[1].asnumpy()[0, 0] == 4.0
    clipped, norm = clip_by_global_norm(gradients, 1.0)
    assert float(norm.asnumpy()) == 5.0
    np.testing.assert_allclose([clipped[0].asnumpy()[0], clipped[1].asnumpy()[0, 0]], [0.6, 0.8], rtol=1e-6)


def digest_of(network, name):
    digest = hashlib.sha256()
    for parameter in getattr(network, name).get_parameters():
        digest.update(parameter.asnumpy().tobytes())
    return digest.hexdigest()


def test_attention_stage_moves_the_attention_and_not_one_bit_of_the_backbone():
    config = Config(train_state="attn", kernel_init="he", initial_lr=0.1, max_iters=3)
    network = AttentionNet(config, 4)
    step = TrainStep(network, config)
    step.set_train()
    network.set_train()
    before = {name: digest_of(network, name) for name in ("backbone", "attention", "attention_head")}
    generator = np.random.default_rng(4)
    for _ in range(3):
        images = generator.normal(size=(2, 3, 65, 65)).astype(np.float32)
        step(ms.Tensor(images), ms.Tensor(np.array([0, 3], np.int32)))
    after = {name: digest_of(network, name) for name in before}
    assert [after[name] == before[name] for name in before] == [True, False, False]
