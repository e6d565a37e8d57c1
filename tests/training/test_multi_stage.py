"""Steps in three stages against one graph, their optimizer against its formulas, and the losses' other figures."""

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn, ops

from src.config import MetricConfig, TrainingConfig
from src.training.average_precision import average_precision_loss
from src.training.global_pooling import Gem, l2
from src.training.metric_losses import contrastive
from src.training.multi_stage import MultiStageStep
from src.training.optimizers import metric_groups
from src.training.schedule import metric_schedule
from src.training.streams import LargeBatch
from src.training.validation import mean_average_precision
from src.training.vector_losses import make_vector_loss

LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 3])


pytestmark = pytest.mark.usefixtures("pynative")


class TinyNet(nn.Cell):
    """A convolution and GeM."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, has_bias=True, weight_init="normal")
        self.pooling = Gem()

    def construct(self, images):
        return l2(self.pooling(self.conv(images)))


class OneGraph(nn.Cell):
    def __init__(self, network, loss):
        super().__init__()
        self.network = network
        self.loss = loss
        self.positives = ms.Tensor((LABELS[:, None] == LABELS).astype(np.float32))
        self.counted = ms.Tensor(np.float32([1, 1, 1, 1, 1, 1, 1, 0]))

    def construct(self, images):
        vectors = self.network(images)
        if self.loss == "ap":
            return average_precision_loss(ops.matmul(vectors, vectors.T), self.positives, counted=self.counted)
        return contrastive(vectors.reshape(2, 4, -1), 0.7)


def batch_of(images, size):
    return LargeBatch(LABELS, list("abcdefgh"), 0, lambda: (images[i : i + size] for i in range(0, 8, size)))


def step_of(network, metric, chunk_size, **training):
    training = TrainingConfig(max_iters=4, clip_norm=1e6, **training)
    groups, schedule = metric_groups(network, metric), metric_schedule(training, metric, 2)
    step = MultiStageStep(network, training, make_vector_loss(metric), chunk_size, schedule, groups)
    step.set_train()
    return step


@pytest.mark.parametrize("loss, chunk_size, right", [("ap", 2, 7), ("contrastive", 3, 2)])
def test_three_stages_give_the_gradient_of_one_graph(loss, chunk_size, right, monkeypatch):
    """The last photo is alone in its class: no query of average precision."""
    monkeypatch.setattr("src.training.vector_losses._ROWS", 3)  # three blocks of queries
    images = np.random.default_rng(5).normal(size=(8, 3, 9, 9)).astype(np.float32)
    network = TinyNet()
    step = step_of(network, MetricConfig(loss=loss, num_negatives=2), chunk_size)
    figures = step.accumulate(batch_of(images, chunk_size))
    graph = OneGraph(network, loss)
    value, expected = ops.value_and_grad(graph, None, step.state.optimizer.parameters)(ms.Tensor(images))
    assert figures[0] == pytest.approx(float(value.asnumpy()), rel=1e-5)
    assert (figures[1] * right) % 1 < 1e-9  # a share of so many
    made = np.concatenate([each.asnumpy().ravel() for each in step.backward.sums])
    wanted = np.concatenate([each.asnumpy().ravel() for each in expected])
    assert np.linalg.norm(made - wanted) < 1e-5 * np.linalg.norm(wanted) and np.abs(wanted).max() > 1e-3
    sums = [each.asnumpy().copy() for each in step.backward.sums]
    norm = float(step.update().asnumpy())
    assert norm == pytest.approx(np.sqrt(sum(np.square(each, dtype=np.float64).sum() for each in sums)), rel=1e-5)
    assert not any(each.asnumpy().any() for each in step.backward.sums)


def test_pairs_of_classes_are_anchors_and_positives():
    """B2 of the addendum; 0.3 of a vector more changes the loss as its gradient says."""
    anchors, positives = [[1, 0], [0, 2], [1, 1]], [[2, 0], [0, 1], [1, 0]]
    vectors = np.float32(np.stack([anchors, positives], axis=1).reshape(6, 2))
    labels = np.repeat([0, 1, 0], 2)
    loss = make_vector_loss(MetricConfig(loss="n_pair"))
    figures, gradient = loss(vectors, labels)
    np.testing.assert_allclose(figures, [0.735032, 1], atol=1e-6)
    for place in ((0, 0), (3, 1), (5, 0)):
        step = np.zeros_like(vectors)
        step[place] = 0.01
        change = loss(vectors + step, labels)[0][0] - loss(vectors - step, labels)[0][0]
        assert change / 0.02 == pytest.approx(gradient[place], abs=2e-4)


def test_groups_decay_weights_alone_and_turn_the_power_at_its_own_rate():
    network = TinyNet()
    metric = MetricConfig(loss="ap", weight_decay=0.5, power_rate=20, schedule="exponential", rate_decay=0.25)
    step = step_of(network, metric, 4, initial_lr=0.5, momentum=0.5)
    images = np.random.default_rng(5).normal(size=(8, 3, 9, 9)).astype(np.float32)
    weights = [network.conv.weight, network.conv.bias, network.pooling.p]
    expected = [each.asnumpy().astype(np.float64) for each in weights]
    velocity = [np.zeros_like(each) for each in expected]
    for number in range(3):
        step.accumulate(batch_of(images, 4))
        gradients = {id(p): s.asnumpy().copy() for p, s in zip(step.state.optimizer.parameters, step.backward.sums)}
        step.update()
        rate = 0.5 * (1 if number < 2 else 0.25)
        for place, (weight, decay, factor) in enumerate(zip(weights, (0.5, 0, 0), (1, 1, 20))):
            velocity[place] = 0.5 * velocity[place] + gradients[id(weight)] + decay * expected[place]
            expected[place] -= rate * factor * velocity[place]
            np.testing.assert_allclose(weight.asnumpy(), expected[place], rtol=2e-5, atol=1e-6)


def test_rates_of_every_schedule():
    training = TrainingConfig(initial_lr=0.1, max_iters=10)
    for values, rates in (
        ({"warmup_steps": 2}, [0.05, 0.09, 0.08]),
        ({"schedule": "constant", "warmup_steps": 4}, [0.025, 0.05, 0.075, 0.1, 0.1]),
        ({"schedule": "exponential", "rate_decay": 0.5}, [0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.025]),
        ({}, [0.1, 0.09]),
    ):
        schedule = metric_schedule(training, MetricConfig(**values), 3)
        cell = schedule.cell(2.0)
        for step, rate in enumerate(rates):
            assert schedule.at(step) == pytest.approx(rate)
        assert float(cell(ms.Tensor(step, ms.int32)).asnumpy()) == pytest.approx(2 * rate, rel=1e-6)


def test_map_of_held_out_photos():
    angles = np.radians([0, 10, 50, 30, 80])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    labels = np.array([0, 0, 0, 1, 2])  # the last two have no positive
    # 0 finds 10, 30, 50; 10 finds 0, 30, 50; 50 finds 30, 80, 10, 0: trapezoids over two positives
    aps = [(2 + 1 / 2 + 2 / 3) / 4, (2 + 1 / 2 + 2 / 3) / 4, (0 + 1 / 3 + 1 / 3 + 2 / 4) / 4]
    assert mean_average_precision(vectors, labels) == pytest.approx(np.mean(aps))
    assert mean_average_precision(np.ones((3, 2), np.float32), np.array([0, 1, 0])) == pytest.approx(0.25)
    assert np.isnan(mean_average_precision(vectors, np.arange(5)))
