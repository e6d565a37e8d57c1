"""MindSpore's cells of an architecture, and the networks made of them: one for each training stage, one to extract.

A network for training names the heads that it learns through in ``HEADS`` and returns the logits of each.
"""

from typing import Sequence, Tuple

from mindspore import Tensor, nn, ops
from mindspore.common.initializer import Constant, Normal, XavierUniform, initializer

from ..config import ModelConfig, TrainingConfig
from .architectures import Architecture, Convolution, Unit, architecture_of

ATTENTION_CHANNELS = 512


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


class Attention(nn.Cell):
    """Which places of the feature map are worth a local feature (Noh et al., section 3.2): 1x1, ReLU, 1x1, softplus.

    ``construct``: block3 [B, C, h, w] -> attention [B, 1, h, w], above 0.

    Args:
        architecture: gives C, and BatchNorm's epsilon.
        initial: ``attention_init`` "glorot" (the reference) or "normal" (the MindSpore model zoo's numbers).
    """

    def __init__(self, architecture: Architecture, initial: ModelConfig = ModelConfig()) -> None:  # noqa: B008
        super().__init__()
        self.conv1 = convolution(Convolution("1", architecture.block3_channels, ATTENTION_CHANNELS, 1), bias=True)
        self.bn1 = batch_norm(ATTENTION_CHANNELS, architecture, initial)
        self.conv2 = convolution(Convolution("2", ATTENTION_CHANNELS, 1, 1), bias=True)
        if initial.attention_init == "normal":
            self._initialise_as_model_zoo()

    def _initialise_as_model_zoo(self) -> None:
        for parameter, sigma, mean in (
            (self.conv1.weight, 0.05, 0.0),
            (self.conv1.bias, 1.5, -1.0),
            (self.bn1.beta, 0.17, -0.15),
            (self.conv2.weight, 0.5, 1.0),
            (self.conv2.bias, 0.0, -0.6666),
        ):
            parameter.set_data(initializer(Normal(sigma, mean), parameter.shape, parameter.dtype))

    def logits(self, block3: Tensor) -> Tensor:
        """What the softplus is taken of, [B, 1, h, w]."""
        return self.conv2(ops.relu(self.bn1(self.conv1(block3))))

    def construct(self, block3: Tensor) -> Tensor:
        return ops.softplus(self.logits(block3))


def attended_mean(block3: Tensor, attention: Tensor) -> Tensor:
    """Spatial mean of L2-normalised features times attention: [B, C, h, w], [B, 1, h, w] -> [B, C].

    The mean divides by h * w, not by the sum of the attention (reference TF DELF); epsilon 1e-12 is TF's.
    """
    squared = ops.square(block3).sum(1, keepdims=True)
    normalised = block3 * ops.rsqrt(ops.maximum(squared, 1e-12))
    return (normalised * attention).mean((2, 3))


def _dense(inputs: int, num_classes: int) -> nn.Dense:
    return nn.Dense(inputs, num_classes, weight_init="xavier_uniform", bias_init="zeros")


class DescriptorHead(nn.Cell):
    """conv5, the mean over the whole block4 map, and a dense layer: block3 [B, C, h, w] -> logits [B, classes]."""

    def __init__(self, num_classes: int, architecture: Architecture, initial: ModelConfig) -> None:
        super().__init__()
        self.conv5 = stage(5, architecture, initial)
        self.dense = _dense(architecture.block4_channels, num_classes)

    def construct(self, block3: Tensor) -> Tensor:
        return self.dense(self.conv5(block3).mean((2, 3)))


class Block3Head(nn.Cell):
    """A dense layer on the mean of block3 [B, C, h, w] -> logits [B, classes]."""

    def __init__(self, num_classes: int, architecture: Architecture) -> None:
        super().__init__()
        self.dense = _dense(architecture.block3_channels, num_classes)

    def construct(self, block3: Tensor) -> Tensor:
        return self.dense(block3.mean((2, 3)))


class AttentionHead(nn.Cell):
    """A dense layer on the attention-pooled features: block3 [B, C, h, w], attention [B, 1, h, w] -> logits."""

    def __init__(self, num_classes: int, architecture: Architecture) -> None:
        super().__init__()
        self.dense = _dense(architecture.block3_channels, num_classes)

    def construct(self, block3: Tensor, attention: Tensor) -> Tensor:
        return self.dense(attended_mean(block3, attention))


class BackboneNet(nn.Cell):
    """What all networks have: ``architecture`` and ``backbone``."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__()
        self.architecture = architecture_of(model)
        self.backbone = Backbone(self.architecture, model)
        self.fixed = ()  # cells that are never in training mode

    def freeze(self, cells: Sequence[nn.Cell], statistics_alone: bool = False) -> None:
        """Keep cells as they are: no gradient reaches them, and BatchNorm uses and keeps its moving statistics."""
        self.fixed += tuple(cells)
        for parameter in (parameter for cell in cells for parameter in cell.get_parameters()):
            parameter.requires_grad = parameter.requires_grad and statistics_alone

    def freeze_stages(self, count: int) -> None:
        """Keep the first ``count`` of conv1, conv2, conv3 and conv4 as they are."""
        backbone = self.backbone
        stages = ([backbone.conv1, backbone.bn1], [backbone.conv2], [backbone.conv3], [backbone.conv4])
        self.freeze([cell for stage in stages[:count] for cell in stage])

    def freeze_statistics(self, cells: Sequence[nn.Cell]) -> None:
        """BatchNorm inside ``cells`` uses and keeps its moving statistics; its scale and offset train."""
        norms = [norm for cell in cells for _, norm in cell.cells_and_names() if isinstance(norm, nn.BatchNorm2d)]
        self.freeze(norms, statistics_alone=True)

    def set_train(self, mode: bool = True) -> "BackboneNet":
        """Training mode for all that is not frozen."""
        super().set_train(mode)
        for cell in self.fixed:
            cell.set_train(False)
        return self


class TuningNet(BackboneNet):
    """Stage `tuning`: images [B, 3, H, W] -> (logits [B, classes],) of the descriptor head; every parameter trains.

    ``training`` may choose a smaller head, and freeze the first stages, or the statistics of all of them.
    """

    HEADS = ("descriptor",)

    def __init__(self, model: ModelConfig, num_classes: int, training: TrainingConfig = TrainingConfig()) -> None:  # noqa: B008
        super().__init__(model)
        if training.tuning_head == "block3":
            self.descriptor_head = Block3Head(num_classes, self.architecture)
        else:
            self.descriptor_head = DescriptorHead(num_classes, self.architecture, model)
        self.freeze_stages(training.frozen_stages)
        if training.frozen_statistics:
            self.freeze_statistics([self.backbone])

    def construct(self, images: Tensor) -> Tuple[Tensor]:
        return (self.descriptor_head(self.backbone(images)),)


class AttentionNet(BackboneNet):
    """Stage `attn`: images [B, 3, H, W] -> (logits [B, classes],) of the attention head; the backbone is frozen."""

    HEADS = ("attention",)

    def __init__(self, model: ModelConfig, num_classes: int, _: TrainingConfig = TrainingConfig()) -> None:  # noqa: B008
        super().__init__(model)
        self.attention = Attention(self.architecture, model)
        self.attention_head = AttentionHead(num_classes, self.architecture)
        self.freeze([self.backbone])

    def construct(self, images: Tensor) -> Tuple[Tensor]:
        block3 = ops.stop_gradient(self.backbone(images))
        return (self.attention_head(block3, self.attention(block3)),)


class JointNet(BackboneNet):
    """Stage `joint`: images [B, 3, H, W] -> logits [B, classes] of both heads, as the reference trains them at once.

    The attention's gradient stops at block3: the backbone learns through the descriptor head alone.
    """

    HEADS = ("descriptor", "attention")

    def __init__(self, model: ModelConfig, num_classes: int, _: TrainingConfig = TrainingConfig()) -> None:  # noqa: B008
        super().__init__(model)
        self.descriptor_head = DescriptorHead(num_classes, self.architecture, model)
        self.attention = Attention(self.architecture, model)
        self.attention_head = AttentionHead(num_classes, self.architecture)

    def construct(self, images: Tensor) -> Tuple[Tensor, Tensor]:
        block3 = self.backbone(images)
        stopped = ops.stop_gradient(block3)
        return self.descriptor_head(block3), self.attention_head(stopped, self.attention(stopped))


class DelfNet(BackboneNet):
    """Extraction: images [B, 3, H, W] -> (feature map [B, C, h, w], attention [B, 1, h, w])."""

    def __init__(self, model: ModelConfig) -> None:
        super().__init__(model)
        self.attention = Attention(self.architecture, model)

    def construct(self, images: Tensor) -> Tuple[Tensor, Tensor]:
        block3 = self.backbone(images)
        return block3, self.attention(block3)
