"""The forward pass in plain NumPy, slow and obvious: the second implementation that the tests compare against."""

from dataclasses import dataclass
from typing import Dict, Optional, Tuple

import numpy as np

Weights = Dict[str, np.ndarray]


@dataclass(frozen=True)
class Net:
    """Units of conv2 to conv5, and the style of their weights."""

    counts: Tuple[int, int, int, int] = (3, 4, 6, 3)
    torchvision: bool = False

    @property
    def epsilon(self) -> float:
        return 1e-5 if self.torchvision else 1e-3


RESNET50 = Net()


def same_padding(side: int, kernel: int, stride: int) -> Tuple[int, int]:
    """TF SAME: the output has ceil(side / stride) cells and the odd pixel of padding goes after."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2


def convolution(
    x: np.ndarray, weight: np.ndarray, bias: Optional[np.ndarray], stride: int, same: bool = True
) -> np.ndarray:
    """[C, H, W] and [O, C, k, k] -> [O, h, w], padded as SAME or by half the kernel on each side."""
    kernel = weight.shape[2]
    padding = [same_padding(side, kernel, stride) if same else (kernel // 2, kernel // 2) for side in x.shape[1:]]
    x = np.pad(x, ((0, 0), *padding))
    rows, columns = (x.shape[1] - kernel) // stride + 1, (x.shape[2] - kernel) // stride + 1
    out = np.zeros((len(weight), rows, columns))
    for i in range(kernel):
        for j in range(kernel):
            window = x[:, i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]
            out += np.einsum("oc,chw->ohw", weight[:, :, i, j], window)
    return out if bias is None else out + bias[:, None, None]


def batch_norm(x: np.ndarray, weights: Weights, name: str, epsilon: float) -> np.ndarray:
    """Inference-time BatchNorm."""
    scale = weights[f"{name}.gamma"] / np.sqrt(weights[f"{name}.moving_variance"] + epsilon)
    shift = weights[f"{name}.beta"] - weights[f"{name}.moving_mean"] * scale
    return x * scale[:, None, None] + shift[:, None, None]


def conv_bn(x: np.ndarray, weights: Weights, name: str, part: str, stride: int, net: Net, same: bool = False):
    bias = weights.get(f"{name}.conv{part}.bias")
    assert (bias is None) == (net.torchvision and not name.startswith("attention"))
    x = convolution(x, weights[f"{name}.conv{part}.weight"], bias, stride, same)
    return batch_norm(x, weights, f"{name}.bn{part}", net.epsilon)


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def residual_unit(x: np.ndarray, weights: Weights, name: str, stride: int, net: Net) -> np.ndarray:
    shortcut = x
    if f"{name}.conv_shortcut.weight" in weights:
        shortcut = conv_bn(x, weights, name, "_shortcut", stride, net)
    if f"{name}.conv_c.weight" in weights:
        first, second = (1, stride) if net.torchvision else (stride, 1)
        y = relu(conv_bn(x, weights, name, "_a", first, net))
        y = relu(conv_bn(y, weights, name, "_b", second, net))
        y = conv_bn(y, weights, name, "_c", 1, net)
    else:
        y = conv_bn(relu(conv_bn(x, weights, name, "_a", stride, net)), weights, name, "_b", 1, net)
    return relu(y + shortcut)


def max_pool_valid(x: np.ndarray, kernel: int, stride: int) -> np.ndarray:
    rows, columns = (x.shape[1] - kernel) // stride + 1, (x.shape[2] - kernel) // stride + 1

    def shifted(i: int, j: int) -> np.ndarray:
        return x[:, i : i + (rows - 1) * stride + 1 : stride, j : j + (columns - 1) * stride + 1 : stride]

    return np.max([shifted(i, j) for i in range(kernel) for j in range(kernel)], axis=0)


def run_stage(x: np.ndarray, weights: Weights, name: str, units: int, stride: int, net: Net) -> np.ndarray:
    for unit in range(units):
        x = residual_unit(x, weights, f"{name}.{unit}", stride if unit == 0 else 1, net)
    return x


def block3(image: np.ndarray, weights: Weights, net: Net = RESNET50) -> np.ndarray:
    """[3, H, W] -> [C, h, w]: conv1..conv4, then, in style keras, every second row and column."""
    x = relu(conv_bn(image, weights, "backbone", "1", 2, net, same=not net.torchvision))
    if net.torchvision:
        x = np.pad(x, ((0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    x = max_pool_valid(x, 3, 2)
    for name, units, stride in zip(("conv2", "conv3", "conv4"), net.counts, (1, 2, 2)):
        x = run_stage(x, weights, f"backbone.{name}", units, stride, net)
    return x if net.torchvision else x[:, ::2, ::2]


def block3_size(height: int, width: int) -> Tuple[int, int]:
    """(h, w) of ``block3`` in style keras; the smallest usable side is 5 pixels (reference TF DELF)."""

    def side(pixels: int) -> int:
        pooled = (-(-pixels // 2) - 3) // 2 + 1
        for _ in range(3):  # conv3, conv4, sub-sampling
            pooled = -(-pooled // 2)
        return pooled

    return side(height), side(width)


def attention(features: np.ndarray, weights: Weights, net: Net = RESNET50) -> np.ndarray:
    """[C, h, w] -> [1, h, w]."""
    x = relu(conv_bn(features, weights, "attention", "1", 1, net))
    logits = convolution(x, weights["attention.conv2.weight"], weights["attention.conv2.bias"], 1)
    return np.logaddexp(0, logits)


def tuning_logits(features: np.ndarray, weights: Weights, net: Net = RESNET50) -> np.ndarray:
    stride = 2 if net.torchvision else 1  # in style keras the sub-sampling stands for it
    block4 = run_stage(features, weights, "descriptor_head.conv5", net.counts[3], stride, net)
    return weights["descriptor_head.dense.weight"] @ block4.mean((1, 2)) + weights["descriptor_head.dense.bias"]


def attention_logits(features: np.ndarray, attended: np.ndarray, weights: Weights) -> np.ndarray:
    unit = features / np.sqrt(np.maximum((features**2).sum(0, keepdims=True), 1e-12))
    pooled = (unit * attended).sum((1, 2)) / (features.shape[1] * features.shape[2])
    return weights["attention_head.dense.weight"] @ pooled + weights["attention_head.dense.bias"]
