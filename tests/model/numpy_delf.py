"""DELF's forward pass in plain NumPy, slow and obvious: the second implementation that the tests compare against."""

from typing import Dict, Tuple

import numpy as np

Weights = Dict[str, np.ndarray]


def same_padding(side: int, kernel: int, stride: int) -> Tuple[int, int]:
    """TF SAME: the output has ceil(side / stride) cells and the odd pixel of padding goes after."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def convolution(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, stride: int) -> np.ndarray:
    """[C, H, W] and [O, C, k, k] -> [O, h, w], SAME padding."""
    kernel = weight.shape[2]
    x = np.pad(x, ((0, 0), same_padding(x.shape[1], kernel, stride), same_padding(x.shape[2], kernel, stride)))
    rows, columns = (x.shape[1] - kernel) // stride + 1, (x.shape[2] - kernel) // stride + 1
    out = np.zeros((len(weight), rows, columns))
    for i in range(kernel):
        for j in range(kernel):
            window = x[:, i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]
            out += np.einsum("oc,chw->ohw", weight[:, :, i, j], window)
    return out + bias[:, None, None]


def batch_norm(x: np.ndarray, weights: Weights, name: str) -> np.ndarray:
    """Inference-time BatchNorm with Keras's epsilon."""
    scale = weights[f"{name}.gamma"] / np.sqrt(weights[f"{name}.moving_variance"] + 1e-3)
    shift = weights[f"{name}.beta"] - weights[f"{name}.moving_mean"] * scale
    return x * scale[:, None, None] + shift[:, None, None]


def conv_bn(x: np.ndarray, weights: Weights, conv: str, bn: str, stride: int = 1) -> np.ndarray:
    return batch_norm(convolution(x, weights[f"{conv}.weight"], weights[f"{conv}.bias"], stride), weights, bn)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def bottleneck(x: np.ndarray, weights: Weights, name: str, stride: int) -> np.ndarray:
    shortcut = x
    if f"{name}.conv_shortcut.weight" in weights:
        shortcut = conv_bn(x, weights, f"{name}.conv_shortcut", f"{name}.bn_shortcut", stride)
    y = relu(conv_bn(x, weights, f"{name}.conv_a", f"{name}.bn_a", stride))
    y = relu(conv_bn(y, weights, f"{name}.conv_b", f"{name}.bn_b"))
    return relu(conv_bn(y, weights, f"{name}.conv_c", f"{name}.bn_c") + shortcut)


def max_pool_valid(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    rows, columns = (x.shape[1] - kernel) // stride + 1, (x.shape[2] - kernel) // stride + 1

    def shifted(i: int, j: int) -> np.ndarray:
        return x[:, i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]

    return np.max([shifted(i, j) for i in range(kernel) for j in range(kernel)], axis=0)


def run_stage(x: np.ndarray, weights: Weights, name: str, units: int, stride: int) -> np.ndarray:
    for unit in range(units):
        x = bottleneck(x, weights, f"{name}.{unit}", stride if unit == 0 else 1)
    return x


def block3(image: np.ndarray, weights: Weights) -> np.ndarray:
    """[3, H, W] -> [1024, h, w]: conv1..conv4, then every second row and column."""
    x = max_pool_valid(relu(conv_bn(image, weights, "backbone.conv1", "backbone.bn1", 2)), 3, 2)
    for name, units, stride in (("conv2", 3, 1), ("conv3", 4, 2), ("conv4", 6, 2)):
        x = run_stage(x, weights, f"backbone.{name}", units, stride)
    return x[:, ::2, ::2]


def attention(features: np.ndarray, weights: Weights) -> np.ndarray:
    """[1024, h, w] -> [1, h, w]."""
    x = relu(conv_bn(features, weights, "attention.conv1", "attention.bn1"))
    return np.log1p(np.exp(convolution(x, weights["attention.conv2.weight"], weights["attention.conv2.bias"], 1)))


def tuning_logits(features: np.ndarray, weights: Weights) -> np.ndarray:
    block4 = run_stage(features, weights, "descriptor_head.conv5", 3, 1)
    return weights["descriptor_head.dense.weight"] @ block4.mean((1, 2)) + weights["descriptor_head.dense.bias"]


def attention_logits(features: np.ndarray, attended: np.ndarray, weights: Weights) -> np.ndarray:
    unit = features / np.sqrt(np.maximum((features**2).sum(0, keepdims=True), 1e-12))
    pooled = (unit * attended).sum((1, 2)) / (features.shape[1] * features.shape[2])
    return weights["attention_head.dense.weight"] @ pooled + weights["attention_head.dense.bias"]
