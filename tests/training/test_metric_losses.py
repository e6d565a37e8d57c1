"""Losses on descriptors: numbers worked out by hand, NumPy twins on random input, gradients by central differences."""

import functools

import mindspore as ms
import numpy as np
import pytest
from eager import central_differences, tensor
from mindspore import ops

from src.training import metric_losses as losses

MARGINS = {"contrastive": (0.7, 0.85, 1.25), "triplet": (0.1, 0.5, 1.25), "triplet_margin": (1.0, 0.3)}


pytestmark = pytest.mark.usefixtures("pynative")


def at_degrees(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)


def labels_of(*labels):
    return ms.Tensor(np.array(labels, np.int32))


def value(loss, *arrays):
    return float(loss(*(tensor(array) for array in arrays)).asnumpy())


TUPLE = at_degrees(0, 20, 60, 100)[None]


@pytest.mark.parametrize(
    "name,margin,expected",
    [
        ("contrastive", 0.7, 0.060307), ("contrastive", 0.85, 0.060307), ("contrastive", 1.25, 0.091557),
        ("triplet", 0.1, 0.0), ("triplet", 0.5, 0.0), ("triplet", 1.25, 0.370615), ("triplet_margin", 1.0, 0.173648),
    ],
)  # fmt: skip
def test_numbers_of_a_tuple(name, margin, expected):
    assert value(functools.partial(getattr(losses, name), margin=margin), TUPLE) == pytest.approx(expected, abs=1e-6)


def test_numbers_without_a_margin():
    assert value(losses.triplet_log_exp, TUPLE) == pytest.approx(0.342976, abs=1e-6)


def test_a_tuple_without_an_active_negative_pulls_its_positive_alone():
    gradient = ops.grad(losses.contrastive)(tensor(TUPLE), 0.7).asnumpy()[0]
    np.testing.assert_allclose(gradient[0], TUPLE[0, 0] - TUPLE[0, 1], atol=2e-6)
    np.testing.assert_allclose(gradient[1], TUPLE[0, 1] - TUPLE[0, 0], atol=2e-6)
    assert not gradient[2:].any()
    assert not ops.grad(losses.triplet)(tensor(TUPLE), 0.5).asnumpy().any()


ANCHORS, POSITIVES = [[1, 0], [0, 2], [1, 1]], [[2, 0], [0, 1], [1, 0]]


def test_numbers_of_n_pair():
    found = losses.n_pair(tensor(ANCHORS), tensor(POSITIVES), labels_of(0, 1, 0), 0.002)
    assert float(found.asnumpy()) == pytest.approx(0.735032, abs=1e-6)
    bare = losses.n_pair(tensor(ANCHORS), tensor(POSITIVES), labels_of(0, 1, 0), 0.0)
    assert float(bare.asnumpy()) == pytest.approx(0.732865, abs=1e-6)
    assert float((found - bare).asnumpy()) == pytest.approx(0.0021667, abs=1e-6)


@pytest.mark.parametrize("margin,true_logit", [(0.0, 36.2), (0.1, 33.308674), (0.15, 31.736268), (0.3, 26.559807)])
def test_numbers_of_arcface(margin, true_logit):
    logits = losses.arcface_logits(tensor([[0.8, 0.3, -0.1]]), labels_of(0), 45.25, margin).asnumpy()
    np.testing.assert_allclose(logits, [[true_logit, 13.575, -4.525]], rtol=1e-6)


def test_softmax_of_arcface():
    cosines = ms.Tensor([[0.8, 0.3, -0.1]], ms.float64)  # the loss is smaller than float32's steps at 1
    logits = losses.arcface_logits(cosines, labels_of(0), 45.25, 0.3)
    assert float(losses.softmax(logits, labels_of(0)).asnumpy()) == pytest.approx(2.294950e-6, rel=2e-5)


def test_gradient_of_arcface_near_the_class_and_at_its_ends():
    def true_logit(cosines):
        return losses.arcface_logits(cosines, labels_of(0), 45.25, 0.1)[0, 0]

    nearest = float(np.float32(1 - 1e-7))  # 1 - 1.19e-7; the slope at 1 - 1e-7 itself is 10,146
    angle = np.arccos(nearest)
    for cosine, slope in ((0.8, 51.047), (nearest, 45.25 * np.sin(angle + 0.1) / np.sin(angle))):
        gradient = ops.grad(true_logit)(tensor([[cosine, 0.3]])).asnumpy()
        np.testing.assert_allclose(gradient, [[slope, 0]], rtol=1e-4)
    for cosine in (1.0, -1.0, 1.0000001):
        assert np.isfinite(ops.grad(true_logit)(tensor([[cosine, 0.3]])).asnumpy()).all()


def test_an_angle_beyond_pi_less_the_margin_keeps_its_logit():
    edge = -np.cos(0.3)
    cosines = [[edge + 0.001, 0.0], [edge - 0.001, 0.0], [-1.0, 0.0]]
    logits = losses.arcface_logits(tensor(cosines), labels_of(0, 0, 0), 10.0, 0.3).asnumpy()[:, 0]
    turned = 10 * np.cos(np.arccos(edge + 0.001) + 0.3)
    np.testing.assert_allclose(logits, [turned, 10 * (edge - 0.001), -10], rtol=1e-5)


def slow_tuples(name, vectors, margin):
    """Loops over tuples and negatives, as cirtorch's and torch's documentation have it."""
    total, count = 0.0, 0
    for query, positive, *negatives in vectors.astype(np.float64):
        near = np.linalg.norm(query - positive + 1e-6)
        total += near**2 / 2 if name == "contrastive" else 0
        for negative in negatives:
            far = np.linalg.norm(query - negative + 1e-6)
            count += 1
            if name == "contrastive":
                total += max(0.0, margin - far) ** 2 / 2
            elif name == "triplet":
                total += max(0.0, ((query - positive) ** 2).sum() - ((query - negative) ** 2).sum() + margin)
            elif name == "triplet_margin":
                total += max(0.0, near - far + margin)
            else:
                total += np.log(1 + np.exp(near - far))
    return total / count if name in ("triplet_margin", "triplet_log_exp") else total


def slow_n_pair(anchors, positives, labels, l2_weight):
    total = 0.0
    for row, anchor in enumerate(anchors):
        logits = [anchor @ positive for positive in positives]
        own = [column for column, label in enumerate(labels) if label == labels[row]]
        for column in own:
            total -= np.log(np.exp(logits[column]) / np.exp(logits).sum()) / len(own)
    norms = (anchors**2).sum(1).mean() + (positives**2).sum(1).mean()
    return total / len(anchors) + 0.25 * l2_weight * norms


def slow_arcface(cosines, labels, scale, margin):
    total = 0.0
    for row, label in zip(cosines, labels):
        angle = np.arccos(row[label])
        logits = scale * row
        logits[label] = scale * (np.cos(angle + margin) if angle + margin <= np.pi else row[label])
        total -= np.log(np.exp(logits[label]) / np.exp(logits).sum())
    return total / len(cosines)


def units(generator, *shape):
    vectors = generator.normal(size=shape)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def of_vectors(name, margin):
    """A loss of vectors alone, as what is differentiated must be a function by name."""

    def loss(vectors):
        return getattr(losses, name)(vectors, *(() if margin is None else (margin,)))

    return loss


def cases():
    """(name, loss of tensors, its slow twin, arrays) on random input."""
    generator = np.random.default_rng(7)
    for name in ("contrastive", "triplet", "triplet_margin", "triplet_log_exp"):
        vectors = units(generator, 3, 5, 4)
        for margin in MARGINS.get(name, (None,)):
            twin = functools.partial(slow_tuples, name, margin=margin)
            yield f"{name}-{margin}", of_vectors(name, margin), twin, (vectors,)
    labels = (0, 2, 1, 2, 0)
    own = labels_of(*labels)
    pairs = (generator.normal(size=(5, 3)), generator.normal(size=(5, 3)))

    def n_pair(anchors, positives):
        return losses.n_pair(anchors, positives, own, 0.02)

    def arcface(cosines):
        return losses.softmax(losses.arcface_logits(cosines, own, 4.0, 0.4), own)

    yield "n_pair", n_pair, functools.partial(slow_n_pair, labels=labels, l2_weight=0.02), pairs
    cosines = generator.uniform(-0.95, 0.95, (5, 3))
    cosines[0, 0] = -0.97  # beyond pi - margin
    yield "arcface", arcface, functools.partial(slow_arcface, labels=labels, scale=4.0, margin=0.4), (cosines,)


CASES = {name: parts for name, *parts in cases()}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients_equal_the_slow_twin(name):
    loss, twin, arrays = CASES[name]
    tensors = [tensor(array) for array in arrays]
    found, gradients = ops.value_and_grad(loss, tuple(range(len(arrays))))(*tensors)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    assert float(found.asnumpy()) == pytest.approx(twin(*arrays), rel=1e-5)
    for place, gradient in enumerate(gradients):
        np.testing.assert_allclose(gradient.asnumpy(), central_differences(twin, arrays, place), rtol=1e-4, atol=1e-5)


def test_all_run_in_one_compiled_graph():
    vectors, own = tensor(units(np.random.default_rng(2), 3, 4, 5)), labels_of(0, 1, 0)

    def total(vectors):
        logits = losses.arcface_logits(ops.matmul(vectors[:, 0], vectors[:, 1].T), own, 8.0, 0.2)
        return (
            losses.contrastive(vectors, 0.7) + losses.triplet(vectors, 0.1) + losses.triplet_margin(vectors, 1.0)
            + losses.triplet_log_exp(vectors) + losses.n_pair(vectors[:, 0], vectors[:, 1], own)
            + losses.softmax(logits, own)
        )  # fmt: skip

    eager, eager_gradient = ops.value_and_grad(total)(vectors)
    compiled, gradient = ms.jit(ops.value_and_grad(total))(vectors)
    np.testing.assert_allclose(compiled.asnumpy(), eager.asnumpy(), rtol=1e-5)
    np.testing.assert_allclose(gradient.asnumpy(), eager_gradient.asnumpy(), rtol=1e-4, atol=1e-6)
