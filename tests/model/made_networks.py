"""Networks with random, spatially asymmetric weights, and how near two outputs are."""

import mindspore as ms
import numpy as np
import numpy_delf as reference

from src.config import ModelConfig

COUNTS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3), "resnet101": (3, 4, 23, 3),
          "resnet152": (3, 8, 36, 3)}  # fmt: skip


def recipe_and_twin(name, style):
    """The recipe's section of an architecture, and what the NumPy forward pass needs to know of it."""
    model = ModelConfig(architecture=name, weights_style=style)
    return model, reference.Net(COUNTS[name], style == "torchvision")


def randomise(network):
    """Give every parameter values that tell axes, signs and layers apart; return them as float64 arrays.

    The branches of deep networks are weaker: their sums would grow until every attention is 0.
    """
    generator = np.random.default_rng(7)
    weaker = 0.3 if len(network.architecture.backbone_units) > 20 else 1.0
    weights = {}
    for name, parameter in network.parameters_and_names():
        fan_in = np.prod(parameter.shape[1:]) if parameter.ndim > 1 else 1
        value = generator.normal(0, np.sqrt(1.0 / fan_in), parameter.shape)
        if name.endswith(("gamma", "moving_variance")):
            value = generator.uniform(0.5, 1.5, parameter.shape) * (weaker if name.endswith("bn_c.gamma") else 1.0)
        elif parameter.ndim == 1:
            value = generator.normal(0, 0.2, parameter.shape)
        weights[name] = value.astype(np.float32).astype(np.float64)
        parameter.set_data(ms.Tensor(value.astype(np.float32)))
    return weights


def random_images(batch, height, width):
    return np.random.default_rng(height * width).uniform(-1, 1, (batch, 3, height, width)).astype(np.float32)


def assert_close(actual, expected, tolerance=1e-4):
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= tolerance * np.abs(expected).max()
