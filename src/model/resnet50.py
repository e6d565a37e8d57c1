"""ResNet-50 v1 in the Keras layout, as DELF uses it (reference TF DELF, `training/model/resnet50.py`).

The stride of a stage sits on its first 1x1 convolution and on its shortcut, every convolution has a bias, the stem's
max-pool is VALID, and a 1x1/2 max-pool (a pure sub-sampling) follows conv4, so that conv5 runs at stride 1.
"""

from dataclasses import dataclass
from typing import Tuple

from mindspore import Tensor, nn, ops
from mindspore.common.initializer import Constant, Normal, XavierUniform

from ..config import Config

BLOCK3_CHANNELS = 1024
BLOCK4_CHANNELS = 2048


@dataclass(frozen=True)
class LayerOptions:
    """How layers are initialised and how fast BatchNorm's statistics move; the defaults are Keras's.

    Attributes:
        momentum: share of the old moving statistics that BatchNorm keeps at each step.
        init: "glorot" (uniform) or "he" (normal) kernels.
        gain: factor of the initial kernels. BatchNorm takes it out of the output, but a step of a given length turns a
            shorter kernel further: a short training from scratch learns through it.
        residual_gamma: initial gamma of the last BatchNorm of a residual branch.
    """

    momentum: float = 0.99
    init: str = "glorot"
    gain: float = 1.0
    residual_gamma: float = 1.0

    @classmethod
    def from_config(cls, config: Config) -> "LayerOptions":
        """The recipe's values."""
        return cls(config.batch_norm_momentum, config.kernel_init, config.kernel_init_gain, config.residual_gamma)


def convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    options: LayerOptions = LayerOptions(),  # noqa: B008
) -> nn.Conv2d:
    """A convolution with TF SAME padding and a zero bias."""
    he_sigma = options.gain * (2.0 / (inputs * kernel * kernel)) ** 0.5
    weight_init = Normal(he_sigma) if options.init == "he" else XavierUniform(options.gain)
    return nn.Conv2d(
        inputs, outputs, kernel, stride, pad_mode="same", has_bias=True, weight_init=weight_init, bias_init="zeros"
    )


def batch_norm(channels: int, options: LayerOptions, gamma: float = 1.0) -> nn.BatchNorm2d:
    """BatchNorm with Keras's epsilon."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=options.momentum, gamma_init=Constant(gamma))


class Bottleneck(nn.Cell):
    """1x1 -> 3x3 -> 1x1 with a shortcut, which is a projection when the unit changes the shape.

    Args:
        inputs, middle, outputs: channels.
        stride: of the first 1x1 convolution and of the projection.
        options: see ``LayerOptions``.
    """

    def __init__(self, inputs: int, middle: int, outputs: int, stride: int, options: LayerOptions) -> None:
        super().__init__()
        self.conv_a = convolution(inputs, middle, 1, stride, options)
        self.bn_a = batch_norm(middle, options)
        self.conv_b = convolution(middle, middle, 3, 1, options)
        self.bn_b = batch_norm(middle, options)
        self.conv_c = convolution(middle, outputs, 1, 1, options)
        self.bn_c = batch_norm(outputs, options, options.residual_gamma)
        self.project = inputs != outputs
        if self.project:
            self.conv_shortcut = convolution(inputs, outputs, 1, stride, options)
            self.bn_shortcut = batch_norm(outputs, options)

    def construct(self, x: Tensor) -> Tensor:
        shortcut = self.bn_shortcut(self.conv_shortcut(x)) if self.project else x
        x = ops.relu(self.bn_a(self.conv_a(x)))
        x = ops.relu(self.bn_b(self.conv_b(x)))
        return ops.relu(ops.add(self.bn_c(self.conv_c(x)), shortcut))


def stage(inputs: int, middle: int, units: int, stride: int, options: LayerOptions) -> nn.SequentialCell:
    """A stage of ``units`` bottlenecks with ``4 * middle`` output channels; the first one strides and projects."""
    outputs = 4 * middle
    first = Bottleneck(inputs, middle, outputs, stride, options)
    rest = [Bottleneck(outputs, middle, outputs, 1, options) for _ in range(units - 1)]
    return nn.SequentialCell([first, *rest])


class Backbone(nn.Cell):
    """conv1..conv4 and the sub-sampling: an image to the map DELF takes its features from ("block3").

    ``construct``: [B, 3, H, W] float32, RGB as (x - 128) / 128 -> [B, 1024, h, w], about H / 32 (321 -> 10).
    """

    def __init__(self, options: LayerOptions) -> None:
        super().__init__()
        self.conv1 = convolution(3, 64, 7, 2, options)
        self.bn1 = batch_norm(64, options)
        self.pool1 = nn.MaxPool2d(3, 2, pad_mode="valid")
        self.conv2 = stage(64, 64, 3, 1, options)
        self.conv3 = stage(256, 128, 4, 2, options)
        self.conv4 = stage(512, 256, 6, 2, options)
        self.subsample = nn.MaxPool2d(1, 2, pad_mode="valid")

    def construct(self, images: Tensor) -> Tensor:
        x = self.pool1(ops.relu(self.bn1(self.conv1(images))))
        return self.subsample(self.conv4(self.conv3(self.conv2(x))))


def conv5(options: LayerOptions) -> nn.SequentialCell:
    """The last stage, at stride 1: [B, 1024, h, w] -> [B, 2048, h, w] ("block4")."""
    return stage(BLOCK3_CHANNELS, 512, 3, 1, options)


def feature_map_size(height: int, width: int) -> Tuple[int, int]:
    """(h, w) of the map that ``Backbone`` makes of an image; the smallest usable side is 5 pixels."""

    def side(pixels: int) -> int:
        pooled = (-(-pixels // 2) - 3) // 2 + 1
        for _ in range(3):  # conv3, conv4, sub-sampling
            pooled = -(-pooled // 2)
        return pooled

    return side(height), side(width)
