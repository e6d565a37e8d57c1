"""The cells of a ResNet, built from its architecture (see `architectures.py`)."""

from mindspore import Tensor, nn, ops
from mindspore.common.initializer import Constant, Normal, XavierUniform

from ..config import ModelConfig
from .architectures import Architecture, Convolution, Unit


def convolution(layer: Convolution, bias: bool, initial: ModelConfig = ModelConfig()) -> nn.Conv2d:  # noqa: B008
    """A convolution whose bias, if any, starts at zero.

    Args:
        layer: see ``Convolution``.
        bias: whether it has one.
        initial: its kernel starts as ``kernel_init`` times ``kernel_init_gain``. BatchNorm takes the factor out of the
            output, but a step of a given length turns a shorter kernel further: a short training from scratch learns
            through it.
    """
    he_sigma = initial.kernel_init_gain * (2.0 / (layer.inputs * layer.kernel * layer.kernel)) ** 0.5
    start = Normal(he_sigma) if initial.kernel_init == "he" else XavierUniform(initial.kernel_init_gain)
    pad_mode, padding = ("same", 0) if layer.same else ("pad", layer.kernel // 2)
    return nn.Conv2d(
        layer.inputs, layer.outputs, layer.kernel, layer.stride, pad_mode, padding,
        has_bias=bias, weight_init=start, bias_init="zeros",
    )  # fmt: skip


def batch_norm(channels: int, architecture: Architecture, initial: ModelConfig, gamma: float = 1.0) -> nn.Cell:
    """BatchNorm with the architecture's epsilon; the identity where it is folded."""
    if not architecture.batch_norm:
        return nn.Identity()
    epsilon, momentum = architecture.style.epsilon, initial.batch_norm_momentum
    return nn.BatchNorm2d(channels, eps=epsilon, momentum=momentum, gamma_init=Constant(gamma))


class ResidualUnit(nn.Cell):
    """A residual unit, basic or bottleneck; the gamma of its branch's last BatchNorm starts as ``residual_gamma``."""

    def __init__(self, unit: Unit, architecture: Architecture, initial: ModelConfig) -> None:
        super().__init__()
        self.is_bottleneck = len(unit.branch) == 3
        for layer in unit.branch:
            gamma = initial.residual_gamma if layer is unit.branch[-1] else 1.0
            self._add(layer, architecture, initial, gamma)
        self.project = unit.projection is not None
        if unit.projection:
            self._add(unit.projection, architecture, initial)
        else:
            self.skip = nn.MaxPool2d(1, unit.skip) if unit.skip > 1 else nn.Identity()

    def _add(self, layer: Convolution, architecture: Architecture, initial: ModelConfig, gamma: float = 1.0) -> None:
        setattr(self, f"conv_{layer.name}", convolution(layer, architecture.convolution_bias, initial))
        setattr(self, f"bn_{layer.name}", batch_norm(layer.outputs, architecture, initial, gamma))

    def construct(self, x: Tensor) -> Tensor:
        shortcut = self.bn_shortcut(self.conv_shortcut(x)) if self.project else self.skip(x)
        x = ops.relu(self.bn_a(self.conv_a(x)))
        x = self.bn_b(self.conv_b(x))
        if self.is_bottleneck:
            x = self.bn_c(self.conv_c(ops.relu(x)))
        return ops.relu(ops.add(x, shortcut))


def stage(number: int, architecture: Architecture, initial: ModelConfig) -> nn.SequentialCell:
    """conv2, conv3, conv4 or conv5."""
    return nn.SequentialCell([ResidualUnit(unit, architecture, initial) for unit in architecture.stages[number - 2]])


class Backbone(nn.Cell):
    """conv1..conv4 and the sub-sampling, if any: an image to the map DELF takes its features from ("block3").

    ``construct``: [B, 3, H, W] float32, RGB normalised as the architecture asks -> [B, C, h, w]; resnet50 in style
    keras: C = 1024, about H / 32 rows (321 -> 10).
    """

    def __init__(self, architecture: Architecture, initial: ModelConfig = ModelConfig()) -> None:  # noqa: B008
        super().__init__()
        self.conv1 = convolution(architecture.stem, architecture.convolution_bias, initial)
        self.bn1 = batch_norm(architecture.stem.outputs, architecture, initial)
        padding = {"pad_mode": "valid"} if architecture.style.same_stem else {"pad_mode": "pad", "padding": 1}
        self.pool1 = nn.MaxPool2d(3, 2, **padding)
        self.conv2, self.conv3, self.conv4 = (stage(number, architecture, initial) for number in (2, 3, 4))
        skip = architecture.subsampling
        self.subsample = nn.MaxPool2d(1, skip, pad_mode="valid") if skip > 1 else nn.Identity()

    def construct(self, images: Tensor) -> Tensor:
        x = self.pool1(ops.relu(self.bn1(self.conv1(images))))
        return self.subsample(self.conv4(self.conv3(self.conv2(x))))
