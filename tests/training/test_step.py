"""One training step against the same arithmetic in NumPy, and what the attention stage must leave alone."""

import hashlib

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.config import ModelConfig, TrainingConfig
from src.device import set_up_device
from src.model.networks import AttentionNet, JointNet, TuningNet
from src.training.schedule import linear_schedule
from src.training.step import Losses, TrainStep, clip_by_global_norm


@pytest.fixture(scope="module", autouse=True)
def device():
    set_up_device("CPU", 0)


class TinyNet(nn.Cell):
    """A dense layer on the flattened image, in place of a network whose gradients cannot be written by hand."""

    def __init__(self, head):
        super().__init__()
        self.HEADS = (head,)
        self.dense = nn.Dense(12, 3, weight_init="normal")

    def construct(self, images):
        return (self.dense(ops.reshape(images, (images.shape[0], -1))),)


def make(step, images, labels):
    """The step's figures: loss, accuracy, stop, gradient norm."""
    figures, others = step(ms.Tensor(images), ms.Tensor(labels), ms.Tensor(np.float32(0)))
    return *figures.asnumpy().mean(1).tolist(), *others.asnumpy().tolist()


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


@pytest.mark.parametrize("head,factor", [("descriptor", 1.0), ("attention", 2.5)])
def test_steps_equal_the_formulas(head, factor):
    config = TrainingConfig(clip_norm=0.3, initial_lr=0.5, max_iters=4, attention_loss_weight=2.5)
    network = TinyNet(head)
    step = TrainStep(network, config)
    step.set_train()
    weight, bias = (p.asnumpy().astype(np.float64) for p in (network.dense.weight, network.dense.bias))
    velocity = [np.zeros_like(weight), np.zeros_like(bias)]
    generator = np.random.default_rng(3)
    for number in range(4):
        images = generator.normal(size=(5, 3, 2, 2)).astype(np.float32)
        labels = generator.integers(0, 3, 5).astype(np.int32)
        loss, accuracy, stop, norm = make(step, images, labels)
        rate = 0.5 * (1 - number / 4)
        weight, bias, velocity, expected = numpy_step(
            weight, bias, velocity, images, labels, rate, config, factor
        )  # fmt: skip
        assert stop == 0
        np.testing.assert_allclose([loss, accuracy, norm], expected, rtol=1e-4)
        np.testing.assert_allclose(network.dense.weight.asnumpy(), weight, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(network.dense.bias.asnumpy(), bias, rtol=1e-4, atol=1e-6)


def test_adam_equals_its_formulas():
    """Kingma and Ba, algorithm 1, with the efficient order of its end of section 2."""
    network = TinyNet("attention")
    step = TrainStep(network, TrainingConfig(optimizer="adam", clip_norm=1e9, initial_lr=0.1, max_iters=4))
    step.set_train()
    weight = network.dense.weight.asnumpy().astype(np.float64)
    bias = network.dense.bias.asnumpy().astype(np.float64)
    first, second = np.zeros((2, 3, 13))
    generator = np.random.default_rng(3)
    for number in range(4):
        images = generator.normal(size=(5, 3, 2, 2)).astype(np.float32)
        labels = generator.integers(0, 3, 5).astype(np.int32)
        make(step, images, labels)
        flat = np.c_[images.reshape(5, -1), np.ones(5)].astype(np.float64)
        exponentials = np.exp(flat @ np.c_[weight, bias].T)
        gradient = (exponentials / exponentials.sum(1, keepdims=True) - np.eye(3)[labels]).T @ flat / 5
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        rate = 0.1 * (1 - number / 4) * np.sqrt(1 - 0.999 ** (number + 1)) / (1 - 0.9 ** (number + 1))
        moved = np.c_[weight, bias] - rate * first / (np.sqrt(second) + 1e-8)
        weight, bias = moved[:, :-1], moved[:, -1]
        np.testing.assert_allclose(network.dense.weight.asnumpy(), weight, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(network.dense.bias.asnumpy(), bias, rtol=1e-4, atol=1e-5)


def test_learning_rate_falls_linearly_and_never_below_zero():
    training = TrainingConfig(initial_lr=0.01, max_iters=500000)
    schedule = TrainStep(TinyNet("descriptor"), training).optimizer.learning_rate
    for step, rate in ((0, 0.01), (250000, 0.005), (499999, 2e-8), (500000, 0.0), (600000, 0.0)):
        made = float(schedule(ms.Tensor(step, ms.int32)).asnumpy())
        assert made == pytest.approx(rate, abs=1e-9)  # float32: 1e-7 of 0.01
        if step <= 500000:
            assert linear_schedule(training).at(step) == pytest.approx(rate, rel=1e-9)


def test_clipping_keeps_short_gradients_and_shortens_long_ones():
    gradients = (ms.Tensor([3.0, 0.0]), ms.Tensor([[4.0]]))
    kept, norm = clip_by_global_norm(gradients, 10.0)
    assert float(norm.asnumpy()) == 5.0 and kept[1].asnumpy()[0, 0] == 4.0
    clipped, norm = clip_by_global_norm(gradients, 1.0)
    assert float(norm.asnumpy()) == 5.0
    np.testing.assert_allclose([clipped[0].asnumpy()[0], clipped[1].asnumpy()[0, 0]], [0.6, 0.8], rtol=1e-6)
    clipped, norm = clip_by_global_norm(gradients, 1.0, 2.0)  # gradients of twice the loss
    assert float(norm.asnumpy()) == 2.5
    np.testing.assert_allclose([clipped[0].asnumpy()[0], clipped[1].asnumpy()[0, 0]], [0.6, 0.8], rtol=1e-6)
    kept, norm = clip_by_global_norm(gradients, 10.0, 2.0)
    np.testing.assert_allclose([kept[0].asnumpy()[0], kept[1].asnumpy()[0, 0]], [1.5, 2.0], rtol=1e-6)


def digest_of(network, name):
    digest = hashlib.sha256()
    for parameter in getattr(network, name).get_parameters():
        digest.update(parameter.asnumpy().tobytes())
    return digest.hexdigest()


def bytes_by_part(network):
    return {name: b"".join(p.asnumpy().tobytes() for p in part.get_parameters())
            for name, part in network.name_cells().items()}  # fmt: skip


def changed_parts(network, config, steps, side=65):
    """Names of the sub-networks of which a bit has moved after some steps on noise."""
    step = TrainStep(network, config)
    step.set_train()
    before = bytes_by_part(network)
    generator = np.random.default_rng(4)
    for _ in range(steps):
        images = generator.normal(size=(2, 3, side, side)).astype(np.float32)
        make(step, images, np.array([0, 3], np.int32))
    after = bytes_by_part(network)
    return {name for name in before if before[name] != after[name]}


def test_attention_stage_moves_the_attention_and_not_one_bit_of_the_backbone(small_resnet):
    config = TrainingConfig(train_state="attn", initial_lr=0.1, max_iters=20)
    network = AttentionNet(ModelConfig(architecture="resnet18", kernel_init="he"), 4)
    backbone = hashlib.sha256(bytes_by_part(network)["backbone"]).hexdigest()  # moving statistics included
    assert changed_parts(network, config, steps=20) == {"attention", "attention_head"}
    assert hashlib.sha256(bytes_by_part(network)["backbone"]).hexdigest() == backbone
    assert not hasattr(network, "descriptor_head")
    assert all(parameter.name.split(".")[0] != "backbone" for parameter in network.trainable_params())


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_tuning_keeps_what_is_frozen_and_lets_the_head_begin(optimizer):
    config = TrainingConfig(initial_lr=0.01, max_iters=9, optimizer=optimizer, tuning_head="block3", frozen_stages=3,
                            frozen_statistics=True, head_steps=2)  # fmt: skip
    network = TuningNet(ModelConfig(architecture="resnet18", kernel_init="he"), 4, config)
    step = TrainStep(network, config)
    images = np.random.default_rng(4).normal(size=(2, 3, 65, 65)).astype(np.float32)
    moved, before = [], {name: p.asnumpy().copy() for name, p in network.parameters_and_names()}
    for _ in range(3):
        step.set_train()
        make(step, images, np.array([0, 3], np.int32))
        moved.append(
            {name for name, p in network.parameters_and_names() if not np.array_equal(p.asnumpy(), before[name])}
        )
    head = {"descriptor_head.dense.weight", "descriptor_head.dense.bias"}
    assert moved[:2] == [head, head]
    learnt = {name for name in before if name.startswith("backbone.conv4.") and "moving_" not in name}
    assert moved[2] == head | learnt


def test_the_small_head_is_a_dense_layer_on_the_mean_of_block3():
    network = TuningNet(ModelConfig(architecture="resnet18"), 4, TrainingConfig(tuning_head="block3"))
    network.set_train(False)
    images = ms.Tensor(np.random.default_rng(4).normal(size=(2, 3, 65, 97)).astype(np.float32))
    dense = network.descriptor_head.dense
    expected = network.backbone(images).asnumpy().mean((2, 3)) @ dense.weight.asnumpy().T + dense.bias.asnumpy()
    np.testing.assert_allclose(network(images)[0].asnumpy(), expected, rtol=1e-4, atol=1e-5)


def test_joint_stage_stops_the_attention_loss_at_the_backbone(small_resnet):
    gradients = []
    for weight in (0.0, 1.0):
        config = TrainingConfig(train_state="joint", attention_loss_weight=weight)
        ms.set_seed(5)  # the same initial weights
        network = JointNet(ModelConfig(architecture="resnet18", kernel_init="he"), 4)
        network.set_train()
        images = np.random.default_rng(4).normal(size=(2, 3, 65, 65)).astype(np.float32)
        inputs = ms.Tensor(images), ms.Tensor(np.array([0, 3], np.int32)), ms.Tensor(np.float32(1))
        made = ops.grad(Losses(network, config), None, network.trainable_params(), has_aux=True)(*inputs)[0]
        names = [name.split(".")[0] for name, p in network.parameters_and_names() if p.requires_grad]
        gradients.append([(name, gradient.asnumpy()) for name, gradient in zip(names, made)])
    for (name, without), (_, with_attention) in zip(*gradients):
        if name in ("backbone", "descriptor_head"):
            np.testing.assert_allclose(with_attention, without, rtol=1e-5, atol=1e-6)
        else:
            assert not without.any() and (with_attention.any() or without.size == 1)
    norm_of_backbone = sum(np.square(gradient).sum() for name, gradient in gradients[0] if name == "backbone")
    assert norm_of_backbone > 1e-3
